//! How a plan runs on several tokens: where rows change the token, and in which order the parts run.
//!
//! ```text
//!  source ── tumble ──▷ aggregate ── map ──▷ sink          ▷ = exchange: a row goes to the token of its key
//!  └──── stage 0 ───┘   └── stage 1 ──┘     stage 2
//!
//!  token of a row = vnode of its key · T / 256              all rows of a key, and its state, are at one token
//! ```
//!
//! An operator that keeps something under a key takes its rows by that key. Where they lie by it already, because an
//! operator above has the same key and the columns only moved, they stay.
//!
//! Invariants:
//! 1. A stage reads only what earlier stages and itself emit: when all tokens have ended one, the inputs of the next are
//!    complete.
//! 2. With one token nothing is exchanged, and everything is stage 0.

use super::{JoinKind, NodeKind, PlanNode, SourceMode, StreamPlan};

/// How rows get from the token that emits them to the one that takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// They stay.
    Stay,
    /// To the token of these columns of the row.
    By(Vec<usize>),
    /// All to the first token: there is no key.
    First,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragments {
    /// How many tokens there are.
    pub(crate) tokens: usize,
    /// For each node and input port, how rows come in; of a source: how they come from the partitions.
    pub(crate) routes: Vec<Vec<Route>>,
    /// For each node whether it is at the first token only: what has no key is there once.
    pub(crate) at_first: Vec<bool>,
    /// How the plan's output gets to the sink.
    pub(crate) output: Route,
    /// The stage of each node.
    pub(crate) stages: Vec<usize>,
    /// The stage of the sink; the last one.
    pub(crate) output_stage: usize,
}

/// Where the rows that a node emits lie.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// At the token of the source's partition, or nowhere in particular.
    Anywhere,
    /// At the token of these columns.
    By(Vec<usize>),
    /// All at the first token.
    First,
}

impl Fragments {
    /// Cuts a plan for `tokens` tokens; its output is kept by `sink_key`.
    pub(crate) fn of(plan: &StreamPlan, sink_key: &[usize], tokens: usize) -> Self {
        let mut fragments = Self {
            tokens,
            routes: Vec::with_capacity(plan.nodes.len()),
            at_first: Vec::with_capacity(plan.nodes.len()),
            output: Route::Stay,
            stages: Vec::with_capacity(plan.nodes.len()),
            output_stage: 0,
        };
        let mut places: Vec<Place> = Vec::with_capacity(plan.nodes.len());
        for node in &plan.nodes {
            let inputs: Vec<&Place> = node.inputs.iter().map(|&input| &places[input]).collect();
            let mut routes = wanted(node);
            let is_first = matches!(node.kind, NodeKind::Constant(_));
            fragments
                .at_first
                .push(is_first || routes.contains(&Route::First));
            for (route, place) in routes.iter_mut().zip(&inputs) {
                if tokens == 1 || lies(place, route) {
                    *route = Route::Stay;
                }
            }
            if tokens == 1 {
                routes.fill(Route::Stay);
            }
            let stages = node.inputs.iter().zip(&routes).map(|(&input, route)| {
                fragments.stages[input] + usize::from(*route != Route::Stay)
            });
            let stage = stages.max().unwrap_or(0);
            let place = emitted(node, &inputs);
            fragments.stages.push(stage);
            fragments.routes.push(routes);
            places.push(place);
        }
        let last = fragments.stages.last().copied().unwrap_or(0);
        let lies_right = places
            .last()
            .is_some_and(|place| sink_key.is_empty() || lies(place, &Route::By(sink_key.to_vec())));
        if tokens > 1 && !lies_right {
            fragments.output = Route::By(sink_key.to_vec());
        }
        fragments.output_stage = last + usize::from(fragments.output != Route::Stay);
        fragments
    }
}

/// Whether rows that lie at `place` are where `route` would bring them.
fn lies(place: &Place, route: &Route) -> bool {
    match (place, route) {
        (_, Route::Stay) | (Place::First, Route::First) => true,
        (Place::By(by), Route::By(wanted)) => by == wanted,
        _ => false,
    }
}

/// How a node wants its rows, by input port; a source has one.
fn wanted(node: &PlanNode) -> Vec<Route> {
    let by = |columns: &[usize]| match columns {
        [] => Route::First,
        columns => Route::By(columns.to_vec()),
    };
    match &node.kind {
        NodeKind::Source(spec) => match &spec.mode {
            SourceMode::Append => vec![Route::Stay],
            SourceMode::Upsert { key } => vec![by(key)],
        },
        NodeKind::Join(spec) => vec![by(&spec.left_keys), by(&spec.right_keys)],
        NodeKind::AsOf(spec) => vec![by(&spec.left_keys), by(&spec.right_keys)],
        NodeKind::Aggregate(spec) => vec![by(&spec.group_by)],
        NodeKind::Session(spec) => vec![by(&spec.partition_by)],
        NodeKind::TopN(spec) => vec![by(&spec.partition_by)],
        NodeKind::Over(spec) => vec![by(&spec.partition_by)],
        kind if looks_at_single_rows(kind) => vec![Route::Stay],
        // What is not known here is right at one token.
        _ => vec![Route::First; node.inputs.len()],
    }
}

/// Whether an operator's answer to a row depends on that row alone, or on its own earlier coming.
fn looks_at_single_rows(kind: &NodeKind) -> bool {
    use NodeKind::{Expand, Filter, Late, Map, Slide, Tumble, Unnest, Visible};
    matches!(
        kind,
        Map(_) | Filter(_) | Late(_) | Tumble(_) | Slide(_) | Expand(_) | Unnest(_) | Visible(_)
    )
}

/// Where a node's rows lie, once its input came as it wanted.
fn emitted(node: &PlanNode, inputs: &[&Place]) -> Place {
    let by = |columns: Vec<usize>| match columns.is_empty() {
        true => Place::First,
        false => Place::By(columns),
    };
    match &node.kind {
        NodeKind::Source(spec) => match &spec.mode {
            SourceMode::Append => Place::Anywhere,
            SourceMode::Upsert { key } => by(key.clone()),
        },
        NodeKind::Map(exprs) => match inputs[0] {
            Place::By(columns) => {
                let moved = |column: &usize| {
                    let is_it = |expr: &std::sync::Arc<dyn crate::BatchExpr>| {
                        expr.column() == Some(*column)
                    };
                    exprs.iter().position(is_it)
                };
                let moved: Option<Vec<usize>> = columns.iter().map(moved).collect();
                moved.map_or(Place::Anywhere, Place::By)
            }
            place => place.clone(),
        },
        // A padded row has no key on the other side.
        NodeKind::Join(spec) => match spec.kind {
            JoinKind::Inner | JoinKind::Left => by(spec.left_keys.clone()),
            _ if spec.left_keys.is_empty() => Place::First,
            _ => Place::Anywhere,
        },
        NodeKind::AsOf(spec) => by(spec.left_keys.clone()),
        NodeKind::Aggregate(spec) => by((0..spec.group_by.len()).collect()),
        // They add columns behind those of their input.
        NodeKind::Session(spec) => by(spec.partition_by.clone()),
        NodeKind::TopN(spec) => by(spec.partition_by.clone()),
        NodeKind::Over(spec) => by(spec.partition_by.clone()),
        NodeKind::Unnest(spec) => match inputs[0] {
            Place::By(columns) if columns.iter().any(|column| spec.columns.contains(column)) => {
                Place::Anywhere
            }
            place => place.clone(),
        },
        // They hand on the columns that they get, in their places.
        kind if looks_at_single_rows(kind) => inputs[0].clone(),
        _ => Place::First,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP};
    use crate::{ColumnExpr, Emit, LatePolicy};
    use arrow::datatypes::DataType::{Int64, Utf8View};
    use std::sync::Arc;

    fn delays() -> PlanBuilder {
        let mut plan = PlanBuilder::default();
        let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
        let flights = plan.source("flights", &columns, None);
        let windows = plan.tumble(flights, 10 * SECOND, LatePolicy::Drop);
        let columns = [("code", Utf8View), ("title", Utf8View)];
        let airlines = plan.source("airlines", &columns, Some(vec![0]));
        let joined = plan.join(JoinKind::Inner, (windows, "carrier"), (airlines, "code"));
        let keys = ["window_end", "title"];
        plan.aggregate(joined, &keys, &["count(*)"], Emit::Changes);
        plan
    }

    #[test]
    fn rows_change_the_token_before_what_keeps_them_by_another_key() {
        let fragments = Fragments::of(&delays().build(), &[0, 1], 8);
        let by = |columns: &[usize]| Route::By(columns.to_vec());
        assert_eq!(fragments.routes[0], [Route::Stay]);
        assert_eq!(fragments.routes[2], [by(&[0])], "a table by its key");
        assert_eq!(
            fragments.routes[3],
            [by(&[0]), Route::Stay],
            "the table lies by the key of the join already"
        );
        assert!(matches!(&fragments.routes[4][0], Route::By(columns) if columns.len() == 2));
        assert_eq!(
            fragments.output,
            Route::Stay,
            "groups lie by the view's key"
        );
        assert_eq!(fragments.stages, [0, 0, 0, 1, 2]);
        assert_eq!(fragments.output_stage, 2);
    }

    #[test]
    fn one_token_is_one_stage() {
        let fragments = Fragments::of(&delays().build(), &[1], 1);
        assert!(fragments.stages.iter().all(|stage| *stage == 0));
        assert!(
            fragments
                .routes
                .iter()
                .flatten()
                .all(|route| *route == Route::Stay)
        );
        assert_eq!((fragments.output, fragments.output_stage), (Route::Stay, 0));
    }

    #[test]
    fn columns_that_move_keep_their_rows_where_they_are() {
        let mut plan = delays();
        plan.map(
            4,
            vec![
                ("n", Int64, Arc::new(ColumnExpr(2))),
                ("title", Utf8View, Arc::new(ColumnExpr(1))),
                ("end", TIMESTAMP, Arc::new(ColumnExpr(0))),
            ],
        );
        let plan = plan.build();
        assert_eq!(Fragments::of(&plan, &[2, 1], 8).output, Route::Stay);
        let other = Fragments::of(&plan, &[1], 8);
        assert_eq!(other.output, Route::By(vec![1]));
        assert_eq!(other.output_stage, 3);
    }

    #[test]
    fn what_has_no_key_is_at_the_first_token() {
        let mut plan = PlanBuilder::default();
        let rows = plan.source("flights", &[("delay", Int64)], None);
        plan.aggregate(rows, &[], &["count(*)"], Emit::Changes);
        let fragments = Fragments::of(&plan.build(), &[0], 8);
        assert_eq!(fragments.routes[1], [Route::First]);
        assert_eq!(fragments.output, Route::By(vec![0]));
        assert_eq!(fragments.at_first, [false, true]);
    }

    #[test]
    fn what_has_no_key_stays_there_over_what_has_none() {
        let mut plan = PlanBuilder::default();
        let rows = plan.source("flights", &[("delay", Int64)], None);
        let one = plan.aggregate(rows, &[], &["count(*)"], Emit::Changes);
        plan.aggregate(one, &[], &["count(*)"], Emit::Changes);
        let fragments = Fragments::of(&plan.build(), &[], 8);
        assert_eq!(fragments.routes[2], [Route::Stay]);
        assert_eq!(fragments.at_first, [false, true, true]);
    }
}
