//! Rankings: what is out there, and what is kept.

use std::sync::Arc;

use arrow::datatypes::DataType::{Int64, Utf8View};
use arrow::datatypes::{Field, Schema};

use crate::operator::{Effects, Graph, Memory};
use crate::state::{MemoryStore, ScanOrder, State, Tag};
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
    memory: Memory,
    graph: Graph,
    state: State,
    effects: Effects,
}

impl Run {
    fn of(plan: StreamPlan) -> Self {
        Self::within(plan, 0)
    }

    /// With so many bytes at hand.
    fn within(plan: StreamPlan, cache_bytes: usize) -> Self {
        let memory = Memory::new(cache_bytes);
        Self {
            graph: Graph::build(&plan, &memory),
            plan,
            memory,
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

    fn commit(&mut self) {
        self.graph.commit(&mut self.state).unwrap();
        let tag = Tag {
            changelog_offset: 0,
            header: Vec::new(),
        };
        let delta = self.state.take();
        self.state.store().apply(&delta, &tag).unwrap();
        self.graph.after_commit();
    }

    /// Begins again with what is committed.
    fn restart(&mut self) {
        self.graph = Graph::build(&self.plan, &self.memory);
        self.graph.open(&self.state).unwrap();
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
    run.commit();
    assert_eq!(run.keys(), 3);
    assert_eq!(
        run.epoch("+ a 9\n+ a 2"),
        ["- a 5 1", "- a 3 2", "+ a 9 1", "+ a 5 2"]
    );
    // Equal rows are there twice; what says nothing new says nothing.
    assert_eq!(run.epoch("+ a 9"), ["- a 5 2", "+ a 9 2"]);
    assert!(run.epoch("+ a 4\n+ a 9").is_empty());
    run.commit();
    assert_eq!(run.keys(), 2);
}

/// The rows with the asked ranks, of rows that came, as a batch would have them.
fn batch(rows: &[(char, i64)], spec: &TopNSpec) -> Vec<String> {
    let mut rows = rows.to_vec();
    rows.sort_unstable_by_key(|&(name, value)| (std::cmp::Reverse(value), name));
    let mut ranked = Vec::new();
    for (index, &(name, value)) in rows.iter().enumerate() {
        let is_peer = |other: &&(char, i64)| spec.partition_by.is_empty() || other.0 == name;
        let before: Vec<i64> = rows[..index]
            .iter()
            .filter(is_peer)
            .map(|row| row.1)
            .collect();
        let larger = before.iter().filter(|&&other| other > value);
        let rank = match spec.rank {
            Rank::RowNumber => before.len(),
            Rank::Rank => larger.count(),
            Rank::DenseRank => larger.collect::<std::collections::BTreeSet<_>>().len(),
        } as u64
            + 1;
        if spec.ranks.contains(&rank) {
            ranked.push(format!("{name} {value} {rank}"));
        }
    }
    ranked.sort_unstable();
    ranked
}

#[test]
fn rows_that_only_come_are_ranked_as_a_batch_would() {
    for seed in 0..300u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rank = random.choice([Rank::RowNumber, Rank::Rank, Rank::DenseRank]);
        let first = random.u64(1..4);
        let ranks = first..first + random.u64(0..4);
        // The third keeps some partitions and gives up others, the last has its rows in the state alone.
        let cache_bytes = random.choice([0, usize::MAX, 800]).unwrap_or_default();
        let ranks = if random.u8(..8) == 0 {
            1..u64::MAX
        } else {
            ranks
        };
        let plan = plan(None, rank.unwrap_or(Rank::Rank), ranks);
        let NodeKind::TopN(spec) = plan.nodes[1].kind.clone() else {
            unreachable!("the plan has two nodes");
        };
        let mut run = Run::within(plan, cache_bytes);
        let (mut came, mut committed) = (Vec::new(), Vec::new());
        let (mut out, mut out_committed): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for step in 0..40 {
            let rows: Vec<(char, i64)> = (0..random.usize(..6))
                .map(|_| (random.char('a'..='d'), random.i64(..6)))
                .collect();
            let text: Vec<String> = rows
                .iter()
                .map(|(name, value)| format!("+ {name} {value}"))
                .collect();
            came.extend(rows);
            for change in run.epoch(&text.join("\n")) {
                let (sign, row) = change.split_once(' ').unwrap();
                match sign {
                    "+" => out.push(row.to_owned()),
                    _ => {
                        let place = out.iter().position(|other| other == row);
                        out.swap_remove(place.expect("what goes was there"));
                    }
                }
            }
            out.sort_unstable();
            assert_eq!(
                out,
                batch(&came, &spec),
                "seed {seed}, step {step}, {spec:?}"
            );
            match random.u8(..4) {
                0 => {
                    run.commit();
                    (committed, out_committed) = (came.clone(), out.clone());
                }
                // Stopped without a commit: what came since is forgotten.
                1 => {
                    run.state.take();
                    run.restart();
                    (came, out) = (committed.clone(), out_committed.clone());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_is_not_written_any_more_leaves_the_state_as_it_should_be() {
    let mut run = Run::within(plan(None, Rank::RowNumber, 1..3), usize::MAX);
    for rows in [
        "+ a 1\n+ a 2",
        "+ a 3",
        "+ a 3",
        "+ b 1\n+ a 2",
        "+ a 4\n+ a 5",
    ] {
        run.epoch(rows);
        run.commit();
    }
    // The two best of one name, the only one of the other.
    assert_eq!(run.keys(), 3);
    run.restart();
    assert_eq!(
        run.epoch("+ a 6"),
        ["- a 5 1", "- a 4 2", "+ a 6 1", "+ a 5 2"]
    );
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
