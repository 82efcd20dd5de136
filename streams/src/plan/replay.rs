//! Plans that differ only above what they keep.
//!
//! ```text
//! source ── … ── aggregate ── filter ── map ── (output)
//!                    │          └────────┴── may be others: the rows of the output are made again of those of the aggregate
//!                    └── gives all of its rows again, out of its state
//! ```

use super::{Emit, NodeKind, PlanNode, SourceMode, StreamPlan};

impl StreamPlan {
    /// The operator of whose rows each row of the output is made, if it can give all of its rows again: a table, or groups none
    /// of which is forgotten while its row is out there.
    pub(crate) fn replayed(&self) -> Option<usize> {
        let properties = self.properties();
        let mut index = self.nodes.len().checked_sub(1)?;
        loop {
            let node = &self.nodes[index];
            match &node.kind {
                NodeKind::Filter(_) => {}
                NodeKind::Map(_) if !node.kind.keeps_results(properties[node.inputs[0]]) => {}
                NodeKind::Source(spec) => {
                    let is_table = matches!(spec.mode, SourceMode::Upsert { .. });
                    return is_table.then_some(index);
                }
                NodeKind::Aggregate(spec) => {
                    let keeps_all = spec.window_end.is_none()
                        && spec.emit == Emit::Changes
                        && !spec.group_by.is_empty();
                    return keeps_all.then_some(index);
                }
                _ => return None,
            }
            index = *node.inputs.first()?;
        }
    }

    /// Whether this plan keeps what `old` keeps, and its output can be made of that, so that nothing has to be read again.
    pub fn keeps_state_of(&self, old: &Self) -> bool {
        match (self.replayed(), old.replayed()) {
            (Some(own), Some(olds)) => {
                own == olds && nameless(&self.nodes[..=own]) == nameless(&old.nodes[..=olds])
            }
            _ => false,
        }
    }
}

/// All of these nodes but what the query around them calls them.
fn nameless(nodes: &[PlanNode]) -> String {
    let nodes = nodes.iter().map(|node| PlanNode {
        name: String::new(),
        ..node.clone()
    });
    format!("{:?}", nodes.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Int64, Utf8View};

    use super::*;
    use crate::test_plan::{PlanBuilder, last_above_one};

    fn plan(aggregates: &[&str], filters: bool) -> StreamPlan {
        let mut plan = PlanBuilder::default();
        let flights = plan.source("flights", &[("carrier", Utf8View), ("delay", Int64)], None);
        let groups = plan.aggregate(flights, &["carrier"], aggregates, Emit::Changes);
        if filters {
            plan.filter(groups, last_above_one);
        }
        plan.build()
    }

    #[test]
    fn what_lies_above_the_state_may_differ() {
        let old = plan(&["count(*)"], false);
        assert_eq!(old.replayed(), Some(1));
        assert!(plan(&["count(*)"], true).keeps_state_of(&old));
        assert!(!plan(&["max(delay)"], true).keeps_state_of(&old));
        let mut elsewhere = plan(&["count(*)"], true);
        elsewhere.nodes[1].name = "in a subquery".to_owned();
        assert!(elsewhere.keeps_state_of(&old));
    }

    #[test]
    fn rows_that_are_not_kept_are_not_given_again() {
        let mut stream = PlanBuilder::default();
        stream.source("flights", &[("delay", Int64)], None);
        assert_eq!(stream.build().replayed(), None);
        let mut table = PlanBuilder::default();
        table.source("t", &[("k", Utf8View), ("n", Int64)], Some(vec![0]));
        assert_eq!(table.build().replayed(), Some(0));
    }
}
