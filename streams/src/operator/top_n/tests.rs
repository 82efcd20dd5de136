//! Rankings: what is out there, and what is kept.

use std::sync::Arc;

use arrow::datatypes::DataType::{Int64, Utf8View};
use arrow::datatypes::{Field, Schema};

use crate::operator::{Effects, Graph, Memory};
use crate::state::{MemoryStore, ScanOrder, State};
use crate::test_plan::{PlanBuilder, changes, parse, schema};
use crate::{NodeKind, Rank, RankOrder, StreamPlan, TopNSpec, Watermark};

/// Names and values, ranked by falling value for each name. `key`: of an upsert source.
fn plan(key: Option<Vec<usize>>, rank: Rank, ranks: std::ops::Range<u64>) -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], key);
    let mut plan = plan.build();
    let mut fields: Vec<Field> = schema(&[("name", Utf8View), ("value", Int64)])
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields.push(Field::new("rank", Int64, true));
    let mut node = plan.nodes[source].clone();
    node.id = crate::OperatorId(9);
    node.inputs = vec![source];
    node.schema = Arc::new(Schema::new(fields));
    node.kind = NodeKind::TopN(TopNSpec {
        partition_by: if rank == Rank::DenseRank {
            vec![]
        } else {
            vec![0]
        },
        order_by: vec![RankOrder {
            column: 1,
            descending: true,
            nulls_first: false,
        }],
        rank,
        ranks,
    });
    plan.nodes.push(node);
    plan.validate().unwrap();
    plan
}

struct Run {
    plan: StreamPlan,
    graph: Graph,
    state: State,
    effects: Effects,
}

impl Run {
    fn of(plan: StreamPlan) -> Self {
        Self {
            graph: Graph::build(&plan, &Memory::new(0)),
            plan,
            state: State::new(Arc::new(MemoryStore::new(usize::MAX))),
            effects: Effects::counting(),
        }
    }

    /// The changes of an epoch with these rows.
    fn epoch(&mut self, rows: &str) -> Vec<String> {
        let (state, effects) = (&mut self.state, &mut self.effects);
        if !rows.is_empty() {
            let chunk = parse(&self.plan.nodes[0].schema, rows);
            self.graph.push(0, chunk, state, effects).unwrap();
        }
        let ended = self.graph.end_epoch(|_| Watermark::None, state, effects);
        ended.unwrap();
        changes(&self.effects.take_output())
    }

    fn keys(&self) -> usize {
        let mut keys = 0;
        let counted = self.state.scan(&[], &[], ScanOrder::Ascending, |_, _| {
            keys += 1;
            std::ops::ControlFlow::Continue(())
        });
        counted.unwrap();
        keys
    }
}

#[test]
fn of_rows_that_only_come_those_behind_the_last_rank_are_not_kept() {
    let mut run = Run::of(plan(None, Rank::RowNumber, 1..3));
    assert_eq!(
        run.epoch("+ a 1\n+ a 5\n+ a 3\n+ b ~"),
        ["+ a 5 1", "+ a 3 2", "+ b ~ 1"]
    );
    assert_eq!(run.keys(), 3);
    assert_eq!(
        run.epoch("+ a 9\n+ a 2"),
        ["- a 5 1", "- a 3 2", "+ a 9 1", "+ a 5 2"]
    );
    // Equal rows are there twice; what says nothing new says nothing.
    assert_eq!(run.epoch("+ a 9"), ["- a 5 2", "+ a 9 2"]);
    assert!(run.epoch("+ a 4\n+ a 9").is_empty());
    assert_eq!(run.keys(), 2);
}

#[test]
fn rows_that_go_let_others_up() {
    let mut run = Run::of(plan(Some(vec![0]), Rank::DenseRank, 1..3));
    assert_eq!(
        run.epoch("+ a 5\n+ b 5\n+ c 3\n+ d 1"),
        ["+ a 5 1", "+ b 5 1", "+ c 3 2"]
    );
    assert_eq!(
        run.epoch("- b ~\n- a ~"),
        ["- a 5 1", "- b 5 1", "- c 3 2", "+ c 3 1", "+ d 1 2"]
    );
    assert_eq!(
        run.epoch("+ c 1"),
        ["- c 3 1", "- d 1 2", "+ c 1 1", "+ d 1 1"]
    );
}

#[test]
fn ranks_leave_room_for_those_before() {
    let mut run = Run::of(plan(None, Rank::Rank, 2..4));
    assert!(run.epoch("+ a 5").is_empty());
    assert_eq!(run.epoch("+ a 5\n+ a 4"), ["+ a 4 3"]);
    assert_eq!(run.epoch("+ a 6"), ["- a 4 3", "+ a 5 2", "+ a 5 2"]);
}
