//! Operator scripts: rows in, changes out, commits and restarts in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::DataType::{Boolean, Float64, Int64, Utf8View};
use arrow::datatypes::Int64Type;
use log_api::{RecordsBuilder, TopicPartition};

use super::*;
use crate::state::{MemoryStore, StateStore, Tag};
use crate::test_plan::{
    FnExpr, PlanBuilder, SECOND, TIMESTAMP, changes, hundredth, last_above_one, parse,
};
use crate::{BatchExpr, ColumnExpr, Emit, ExprError, JoinKind, LatePolicy, Origin, WindowGrid};

/// A plan that is driven by hand: no log, no clock.
pub(super) struct Script {
    pub(super) plan: StreamPlan,
    memory: Memory,
    pub(super) store: Arc<MemoryStore>,
    pub(super) state: State,
    pub(super) graph: Graph,
    pub(super) effects: Effects,
    /// What each operator had emitted at the last commit: all of them are watched.
    checks: Vec<Check>,
}

impl Script {
    pub(super) fn new(plan: StreamPlan) -> Self {
        Self::with_cache(plan, 1 << 30)
    }

    pub(super) fn with_cache(plan: StreamPlan, cache_bytes: usize) -> Self {
        let store = Arc::new(MemoryStore::new(usize::MAX));
        let memory = Memory::new(cache_bytes);
        let checks = plan
            .nodes
            .iter()
            .map(|node| Check::new(node.schema.clone()));
        let mut script = Self {
            state: State::new(store.clone()),
            graph: Graph::build(&plan, &memory),
            effects: Effects::recording("errors"),
            checks: checks.collect(),
            plan,
            memory,
            store,
        };
        script.restart();
        script
    }

    pub(super) fn chunk(&mut self, node: usize, chunk: Chunk) {
        self.graph
            .push(node, chunk, &mut self.state, &mut self.effects)
            .unwrap();
    }

    /// Sends rows into a source node.
    pub(super) fn push(&mut self, node: usize, text: &str) -> &mut Self {
        let chunk = parse(&self.plan.nodes[node].schema, text);
        self.chunk(node, chunk);
        self
    }

    /// Ends the epoch; gives the changes.
    pub(super) fn end(&mut self, watermark_seconds: Option<i64>) -> Vec<String> {
        let watermark = match watermark_seconds {
            Some(seconds) => Watermark::At(seconds * SECOND),
            None => Watermark::None,
        };
        self.end_with(|_| watermark)
    }

    /// The same, with what each source node has reached.
    pub(super) fn end_with(&mut self, watermarks: impl Fn(usize) -> Watermark) -> Vec<String> {
        self.graph
            .end_epoch(watermarks, &mut self.state, &mut self.effects)
            .unwrap();
        changes(&self.effects.take_output())
    }

    pub(super) fn commit(&mut self) {
        self.graph.commit(&mut self.state).unwrap();
        let delta = self.state.take();
        self.store
            .apply(
                &delta,
                &Tag {
                    changelog_offset: 0,
                    header: Vec::new(),
                },
            )
            .unwrap();
        self.graph.after_commit();
        self.checks = self.graph.checks();
    }

    /// Forgets everything that is not in the store.
    pub(super) fn restart(&mut self) {
        self.state = State::new(self.store.clone());
        self.graph = Graph::build(&self.plan, &self.memory);
        self.graph.watch(self.checks.clone());
        self.graph.open(&self.state).unwrap();
    }

    pub(super) fn keys(&self) -> usize {
        let mut keys = 0;
        self.state
            .scan(&[], &[], crate::state::ScanOrder::Ascending, |_, _| {
                keys += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }
}

fn events(plan: &mut PlanBuilder) -> usize {
    plan.source(
        "events",
        &[("name", Utf8View), ("value", Int64), ("at", TIMESTAMP)],
        None,
    )
}

#[test]
fn map_sends_bad_rows_to_the_error_topic_and_goes_on() {
    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    plan.map(
        source,
        vec![
            ("name", Utf8View, Arc::new(ColumnExpr(0))),
            ("share", Int64, Arc::new(FnExpr(hundredth))),
        ],
    );
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 10 1\n+ b 0 2\n+ c 5 3\n+ d 0 4\n+ e ~ 5");
    assert_eq!(script.end(None), ["+ a 10", "+ c 20", "+ e ~"]);
    assert_eq!(script.effects.failed, 2);
    let records = script.effects.take_records();
    assert_eq!(records.len(), 2);
    assert_eq!(&*records[0].topic, "errors");
    assert_eq!(
        records[0].headers[0],
        ("thalweg.error.reason", b"division by zero".to_vec())
    );
    assert!(
        String::from_utf8_lossy(records[0].value.as_ref().unwrap())
            .starts_with("{name: b, value: 0")
    );
    // All rows bad: nothing flows, nothing breaks.
    script.push(source, "+ x 0 1");
    assert!(script.end(None).is_empty());
    // A row that failed when it came fails when it goes, and is not reported again.
    script.push(source, "- b 0 2\n- a 10 1");
    assert_eq!(script.end(None), ["- a 10"]);
    assert_eq!(script.effects.failed, 3);
}

/// Whether 100 / x (column 1) is above 10, guarded against 0 as a library does that computes both sides of AND for all
/// rows of a batch, but not for a single one.
fn guarded(batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let values = batch.column(1).as_primitive::<Int64Type>();
    let has_zero = values.iter().flatten().any(|x| x == 0);
    if has_zero && values.len() > 1 {
        return Err(ExprError::new("division by zero"));
    }
    let above = |x: i64| x != 0 && 100 / x > 10;
    let values = values.iter().map(|x| x.map(above));
    Ok(Arc::new(values.collect::<BooleanArray>()))
}

#[test]
fn an_expression_that_fails_on_a_batch_and_on_no_row_of_it_loses_nothing() {
    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    let filtered = plan.filter(source, guarded);
    plan.map(
        filtered,
        vec![
            ("name", Utf8View, Arc::new(ColumnExpr(0))),
            ("share", Boolean, Arc::new(FnExpr(guarded))),
        ],
    );
    let mut script = Script::new(plan.build());
    let schema = script.plan.nodes[source].schema.clone();
    script.chunk(
        source,
        parse(&schema, "+ a 0 1\n+ b 5 2\n+ c 0 3\n+ d 7 4\n+ e 50 5"),
    );
    script
        .graph
        .end_epoch(|_| Watermark::None, &mut script.state, &mut script.effects)
        .unwrap();
    let output = script.effects.take_output();
    let names: Vec<_> = output
        .iter()
        .flat_map(|chunk| chunk.batch.column(0).as_string_view().iter())
        .flatten()
        .collect();
    assert_eq!(names, ["b", "d"]);
    assert_eq!((script.effects.failed, script.effects.filtered), (0, 3));
}

/// Column 1 as it is, but how often it was asked for decides whether a row of 13 fails: the first time, not the next.
#[derive(Debug, Default)]
struct Moody(std::sync::atomic::AtomicBool);

impl BatchExpr for Moody {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let values = batch.column(1).as_primitive::<Int64Type>();
        let unlucky = values.iter().flatten().any(|x| x == 13);
        if unlucky && batch.num_rows() > 1 {
            return Err(ExprError::new("somebody is unlucky"));
        }
        if unlucky && !self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return Err(ExprError::new("deadline"));
        }
        Ok(Arc::clone(batch.column(1)))
    }

    fn may_vary(&self) -> bool {
        true
    }
}

#[test]
fn a_row_goes_as_it_came_whatever_its_expression_says_then() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], Some(vec![0]));
    plan.map(
        source,
        vec![
            ("name", Utf8View, Arc::new(ColumnExpr(0))),
            ("value", Int64, Arc::new(Moody::default())),
        ],
    );
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 1\n+ b 13\n+ c 3");
    assert_eq!(script.end(None), ["+ a 1", "+ c 3"]);
    assert_eq!(script.effects.failed, 1);
    script.commit();
    script.restart();
    // It would have a value now, but it did not come with one.
    script.push(source, "- b ~\n+ a 2");
    assert_eq!(script.end(None), ["- a 1", "+ a 2"]);
    script.push(source, "+ b 13");
    assert_eq!(script.end(None), ["+ b 13"]);
    script.push(source, "- a ~\n- b ~\n- c ~");
    assert_eq!(script.end(None), ["- a 2", "- b 13", "- c 3"]);
    script.commit();
    assert_eq!(script.keys(), 0, "nothing is kept of what is gone");
    assert_eq!(script.effects.failed, 1);
}

#[test]
fn filter_judges_each_sign_by_itself() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], Some(vec![0]));
    plan.filter(source, last_above_one);
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 1\n+ b 5\n+ c ~");
    assert_eq!(script.end(None), ["+ b 5"]);
    script.push(source, "+ a 2\n+ b 0\n+ c 9");
    assert_eq!(script.end(None), ["+ a 2", "- b 5", "+ c 9"]);
    script.push(source, "+ a 3");
    assert_eq!(script.end(None), ["- a 2", "+ a 3"]);
}

#[test]
fn upsert_turns_records_into_changes() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], Some(vec![0]));
    let plan = plan.build();
    let mut script = Script::new(plan);
    script.push(source, "+ a 1\n+ b 1\n+ a 2");
    assert_eq!(script.end(None), ["+ a 1", "+ b 1", "- a 1", "+ a 2"]);
    // The same row again says nothing.
    script.push(source, "+ a 2");
    assert!(script.end(None).is_empty());
    script.commit();
    script.restart();
    script.push(source, "- a ~\n- unknown ~\n+ b 1\n+ a 3");
    assert_eq!(script.end(None), ["- a 2", "+ a 3"]);
}

#[test]
fn tumble_adds_half_open_windows_also_before_1970() {
    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    plan.tumble(source, 10 * SECOND, LatePolicy::Drop);
    let mut script = Script::new(plan.build());
    script.push(
        source,
        "+ a 1 0\n+ b 1 9\n+ c 1 10\n+ d 1 -1\n+ e 1 -10\n+ f 1 ~",
    );
    assert_eq!(
        script.end(None),
        [
            "+ a 1 0 0 10 9.999",
            "+ b 1 9 0 10 9.999",
            "+ c 1 10 10 20 19.999",
            "+ d 1 -1 -10 0 -0.001",
            "+ e 1 -10 -10 0 -0.001",
        ]
    );
    assert_eq!(
        script.effects.failed, 1,
        "a row without event time has no window"
    );
}

/// A chunk of source records whose event time is `at`, as the source hands them out.
pub(super) fn read(schema: &arrow::datatypes::SchemaRef, text: &str, watermarks: &[i64]) -> Chunk {
    let mut chunk = parse(schema, text);
    let mut records = RecordsBuilder::new(TopicPartition::new("events", 1), 0);
    for row in 0..chunk.len() {
        records.push(
            row as i64 + 40,
            7,
            Some(b"k"),
            Some(format!("row {row}").as_bytes()),
            &[],
        );
    }
    chunk.origin = Some(Origin {
        records: Arc::new(records.finish()),
        rows: (0..chunk.len() as u32).collect::<Vec<_>>().into(),
        watermarks: Some(
            watermarks
                .iter()
                .map(|seconds| seconds.saturating_mul(SECOND))
                .collect(),
        ),
    });
    chunk
}

#[test]
fn late_rows_are_judged_row_by_row_and_leave_as_they_were_read() {
    for policy in [
        LatePolicy::To("events.late".to_owned()),
        LatePolicy::Drop,
        LatePolicy::Update,
    ] {
        let mut plan = PlanBuilder::default();
        let source = events(&mut plan);
        plan.tumble(source, 10 * SECOND, policy.clone());
        let plan = plan.build();
        let mut script = Script::new(plan);
        let schema = script.plan.nodes[source].schema.clone();
        // The first row is in time although the last one pushes event time past its window.
        let chunk = read(
            &schema,
            "+ a 1 3\n+ b 1 25\n+ c 1 9\n+ d 1 10",
            &[i64::MIN, 1, 20, 20],
        );
        script.chunk(source, chunk);
        let out: Vec<String> = script
            .end(Some(20))
            .iter()
            .map(|row| row[..3].to_owned())
            .collect();
        let records = script.effects.take_records();
        assert_eq!(script.effects.late, 2, "counted in every mode");
        match policy {
            LatePolicy::Update => assert_eq!(out, ["+ a", "+ b", "+ c", "+ d"]),
            _ => assert_eq!(out, ["+ a", "+ b"]),
        }
        if policy == LatePolicy::To("events.late".to_owned()) {
            assert_eq!(records.len(), 2);
            assert_eq!(&*records[0].topic, "events.late");
            assert_eq!(records[0].value, Some(b"row 2".to_vec()));
            assert_eq!(records[0].key, Some(b"k".to_vec()));
            assert_eq!(
                records[0].headers,
                [
                    ("thalweg.late.windows", b"1".to_vec()),
                    ("thalweg.late.watermark", b"1970-01-01T00:00:20".to_vec()),
                    ("thalweg.late.source", b"events-1@42".to_vec()),
                ]
            );
        } else {
            assert!(records.is_empty());
        }
        // What the last epoch ended with counts, also where the rows themselves know less.
        script.chunk(source, read(&schema, "+ e 1 9", &[i64::MIN]));
        assert_eq!(script.effects.late, 3);
    }
}

#[test]
fn lateness_is_told_before_a_join_and_what_a_join_brings_later_is_no_late_row() {
    let mut plan = PlanBuilder::default();
    let events = events(&mut plan);
    let judged = plan.late(
        events,
        10 * SECOND,
        LatePolicy::To("joined.late".to_owned()),
    );
    let names = plan.source(
        "names",
        &[("code", Utf8View), ("title", Utf8View)],
        Some(vec![0]),
    );
    let joined = plan.join(JoinKind::Inner, (judged, "name"), (names, "code"));
    plan.tumble(joined, 10 * SECOND, LatePolicy::Drop);
    let mut script = Script::new(plan.build());
    let schema = script.plan.nodes[events].schema.clone();
    let rows = "+ a 1 3\n+ b 2 25\n+ a 3 9\n+ a 4 ~\n+ a 5 21";
    let chunk = read(&schema, rows, &[i64::MIN, 1, 20, 20, 20]);
    script.chunk(events, chunk);
    let reached = |node| match node {
        0 => Watermark::At(20 * SECOND),
        _ => Watermark::None,
    };
    assert!(script.end_with(reached).is_empty());
    let late = script.effects.take_records();
    assert_eq!(script.effects.late, 1);
    assert_eq!(
        (&*late[0].topic, &late[0].value),
        ("joined.late", &Some(b"row 2".to_vec()))
    );
    // The other side comes when the first window is long closed, and changes later still.
    script.push(names, "+ a one");
    assert_eq!(
        script.end_with(reached),
        ["+ a 1 3 a one 0 10 9.999", "+ a 5 21 a one 20 30 29.999"]
    );
    script.push(names, "+ a two");
    assert_eq!(script.end_with(reached).len(), 4);
    assert_eq!(script.effects.late, 1);
    // A row without a time has no window, however it comes.
    assert_eq!(script.effects.failed, 2);
}

#[test]
fn a_source_that_has_not_begun_holds_the_windows_of_a_join() {
    let mut plan = PlanBuilder::default();
    let (left, right) = (events(&mut plan), events(&mut plan));
    let windows = plan.tumble(left, 10 * SECOND, LatePolicy::Drop);
    let others = plan.tumble(right, 10 * SECOND, LatePolicy::Drop);
    let joined = plan.join(JoinKind::Inner, (windows, "name"), (others, "name"));
    plan.aggregate(
        joined,
        &["window_end", "name"],
        &["count(*)"],
        Emit::OnWindowClose,
    );
    let mut script = Script::new(plan.build());
    let far = Watermark::At(1000 * SECOND);
    let reached = |other: Watermark| move |node: usize| if node == 0 { far } else { other };
    script.push(left, "+ x 1 3");
    assert!(script.end_with(reached(Watermark::Waiting)).is_empty());
    script.push(right, "+ x 1 4");
    assert!(
        script
            .end_with(reached(Watermark::At(5 * SECOND)))
            .is_empty()
    );
    script.push(right, "+ x 2 9");
    assert!(
        script
            .end_with(reached(Watermark::At(9 * SECOND)))
            .is_empty()
    );
    assert_eq!(
        script.end_with(reached(Watermark::At(10 * SECOND))),
        ["+ 10 x 2"]
    );
}

fn windowed(emit: Emit) -> (StreamPlan, usize) {
    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    let windows = plan.tumble(source, 10 * SECOND, LatePolicy::Drop);
    plan.aggregate(
        windows,
        &["window_end", "name"],
        &["count(*)", "sum(value)", "max(value)"],
        emit,
    );
    (plan.build(), source)
}

#[test]
fn windows_update_once_an_epoch_and_their_state_goes_when_they_close() {
    let (plan, source) = windowed(Emit::Changes);
    let mut script = Script::new(plan);
    script
        .push(source, "+ a 5 1\n+ b 1 2")
        .push(source, "+ a 7 3");
    assert_eq!(script.end(Some(1)), ["+ 10 a 2 12 7", "+ 10 b 1 1 1"]);
    script.commit();
    assert_eq!(script.keys(), 2);
    script.push(source, "+ a 1 4\n+ b ~ 11");
    assert_eq!(
        script.end(Some(2)),
        ["- 10 a 2 12 7", "+ 10 a 3 13 7", "+ 20 b 1 ~ ~"]
    );
    // Nothing changed, nothing said.
    assert!(script.end(Some(3)).is_empty());
    script.commit();
    script.restart();
    script.push(source, "+ a 9 5");
    assert_eq!(script.end(Some(9)), ["- 10 a 3 13 7", "+ 10 a 4 22 9"]);
    script.commit();
    assert_eq!(script.keys(), 3);
    // The first window closes: its rows stay out there, its state goes, of groups in memory and of others.
    assert!(script.end(Some(10)).is_empty());
    script.commit();
    assert_eq!(script.keys(), 1);
}

#[test]
fn windows_that_close_emit_once_also_after_a_restart() {
    let (plan, source) = windowed(Emit::OnWindowClose);
    let mut script = Script::new(plan);
    script.push(source, "+ a 5 1\n+ b 1 2\n+ a 6 12");
    assert!(script.end(Some(9)).is_empty());
    script.commit();
    script.restart();
    script.push(source, "+ a 1 3");
    let mut closed = script.end(Some(10));
    closed.sort();
    assert_eq!(closed, ["+ 10 a 2 6 5", "+ 10 b 1 1 1"]);
    script.commit();
    assert!(script.end(Some(11)).is_empty());
    assert_eq!(script.end(Some(30)), ["+ 20 a 1 6 6"]);
    script.commit();
    assert_eq!(script.keys(), 0);
}

/// These bytes are in states: a change here is a new version.
#[test]
fn state_of_a_group_golden_vector() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], None);
    plan.aggregate(
        source,
        &["name"],
        &["count(*)", "sum(value)"],
        Emit::Changes,
    );
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 5\n+ a 7");
    script.end(None);
    script.commit();
    let mut values = Vec::new();
    script
        .state
        .scan(&[], &[], crate::state::ScanOrder::Ascending, |_, value| {
            values.push(value.to_vec());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let group = [
        // version, emitted, two rows
        &[2, 1, 4][..],
        // call 0: count 2
        &[0, 1, 4],
        // call 1: 2 values, which fit, 12 together
        &[1, 3, 4, 0, 24],
    ];
    assert_eq!(values, [group.concat()]);
}

#[test]
fn an_aggregate_that_is_unknown_is_passed_over_and_a_new_one_begins() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], None);
    plan.aggregate(
        source,
        &["name"],
        &["count(*)", "max(value)", "sum(value)"],
        Emit::Changes,
    );
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 5\n+ a 7");
    assert_eq!(script.end(None), ["+ a 2 7 12"]);
    script.commit();
    // The second one goes, another one comes in its place, the others keep their names.
    let NodeKind::Aggregate(spec) = &mut script.plan.nodes[1].kind else {
        panic!("it is the last node")
    };
    spec.aggregates[1].id = 7;
    // It takes back what the other plan gave.
    script.checks.clear();
    script.restart();
    script.push(source, "+ a 1");
    assert_eq!(script.end(None), ["- a 2 ~ 12", "+ a 3 1 13"]);
}

#[test]
fn groups_that_left_memory_come_back_and_go_with_their_window() {
    let (plan, source) = windowed(Emit::Changes);
    // A cache that holds nothing over a commit.
    let mut script = Script::with_cache(plan, 1);
    script.push(source, "+ a 5 1\n+ b 1 12\n+ c 1 ~");
    assert_eq!(script.end(Some(1)), ["+ 10 a 1 5 5", "+ 20 b 1 1 1"]);
    script.commit();
    script.push(source, "+ a 7 3\n+ b 2 13");
    assert_eq!(
        script.end(Some(2)),
        [
            "- 10 a 1 5 5",
            "+ 10 a 2 12 7",
            "- 20 b 1 1 1",
            "+ 20 b 2 3 2"
        ]
    );
    script.commit();
    assert_eq!(script.keys(), 2);
    script.push(source, "+ d 1 21");
    assert_eq!(script.end(Some(10)), ["+ 30 d 1 1 1"]);
    script.commit();
    assert_eq!(script.keys(), 2, "the first window is gone");
    script.restart();
    assert!(script.end(Some(19)).is_empty());
    script.push(source, "+ b 3 14");
    assert_eq!(script.end(Some(19)), ["- 20 b 2 3 2", "+ 20 b 3 6 3"]);
    script.commit();
    assert!(script.end(Some(29)).is_empty());
    script.commit();
    assert_eq!(script.keys(), 1);
    script.push(source, "+ d 1 22\n+ e 1 33");
    assert_eq!(
        script.end(Some(30)),
        ["- 30 d 1 1 1", "+ 30 d 2 2 1", "+ 40 e 1 1 1"]
    );
    script.commit();
    assert_eq!(script.keys(), 1);
    script.end(Some(40));
    script.commit();
    assert_eq!(script.keys(), 0);
}

#[test]
fn a_group_without_rows_disappears_and_the_global_one_never() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], Some(vec![0]));
    plan.aggregate(source, &["value"], &["count(*)"], Emit::Changes);
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 1\n+ b 1\n+ c ~");
    assert_eq!(script.end(None), ["+ 1 2", "+ ~ 1"]);
    script.commit();
    script.push(source, "+ a 2\n- b ~\n- c ~");
    assert_eq!(script.end(None), ["- 1 2", "+ 2 1", "- ~ 1"]);
    script.commit();
    assert_eq!(
        script.keys(),
        2,
        "the one row of the table and the one group"
    );

    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], Some(vec![0]));
    plan.aggregate(
        source,
        &[],
        &["count(*)", "sum(value)", "avg(value)"],
        Emit::Changes,
    );
    let mut script = Script::new(plan.build());
    assert_eq!(script.end(None), ["+ 0 ~ ~"]);
    script.push(source, "+ a 1\n+ b 4");
    assert_eq!(script.end(None), ["- 0 ~ ~", "+ 2 5 2.5"]);
    script.commit();
    script.restart();
    assert!(script.end(None).is_empty(), "its row is out there already");
    script.push(source, "- a ~\n- b ~");
    assert_eq!(script.end(None), ["- 2 5 2.5", "+ 0 ~ ~"]);
}

#[test]
fn least_largest_and_distinct_survive_retraction() {
    let mut plan = PlanBuilder::default();
    let source = plan.source(
        "t",
        &[("id", Utf8View), ("name", Utf8View), ("value", Int64)],
        Some(vec![0]),
    );
    plan.aggregate(
        source,
        &["name"],
        &[
            "min(value)",
            "max(value)",
            "count(distinct value)",
            "sum(distinct value)",
            "max(id)",
        ],
        Emit::Changes,
    );
    let mut script = Script::new(plan.build());
    script.push(source, "+ 1 a 5\n+ 2 a 9\n+ 3 a 5\n+ 4 a ~\n+ 5 a -3");
    assert_eq!(script.end(None), ["+ a -3 9 3 11 5"]);
    script.commit();
    script.restart();
    script.push(source, "- 2 ~ ~\n- 5 ~ ~\n- 1 ~ ~");
    assert_eq!(script.end(None), ["- a -3 9 3 11 5", "+ a 5 5 1 5 4"]);
    script.push(source, "+ 3 a 6");
    assert_eq!(script.end(None), ["- a 5 5 1 5 4", "+ a 6 6 1 6 4"]);
    script.push(source, "- 3 ~ ~");
    assert_eq!(script.end(None), ["- a 6 6 1 6 4", "+ a ~ ~ 0 ~ 4"]);
    script.push(source, "- 4 ~ ~");
    assert_eq!(script.end(None), ["- a ~ ~ 0 ~ 4"]);
    script.commit();
    assert_eq!(script.keys(), 0, "nothing is left behind");
}

#[test]
fn sums_of_floats_do_not_drift() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("id", Utf8View), ("value", Float64)], Some(vec![0]));
    plan.aggregate(source, &[], &["sum(value)", "count(value)"], Emit::Changes);
    let mut script = Script::new(plan.build());
    let values = [0.1, 1e15, -0.3, 1e-9, 7.25, -1e15, 0.2, 123_456.789];
    for (id, value) in values.iter().enumerate() {
        script.push(source, &format!("+ {id} {value}"));
    }
    script.end(None);
    for id in (0..values.len()).filter(|id| *id != 0 && *id != 6) {
        script.push(source, &format!("- {id} ~"));
    }
    let last = script.end(None).pop().unwrap();
    assert_eq!(last, format!("+ {} 2", 0.1 + 0.2));
    script.push(source, "+ x NaN\n+ y inf");
    assert_eq!(script.end(None).pop().unwrap(), "+ NaN 4");
    script.push(source, "- x ~");
    assert_eq!(script.end(None).pop().unwrap(), "+ inf 3");
    script.push(source, "- y ~\n- 0 ~\n- 6 ~");
    assert_eq!(script.end(None).pop().unwrap(), "+ ~ 0");
}

#[test]
fn a_float_sum_comes_back_from_infinity() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("id", Utf8View), ("value", Float64)], Some(vec![0]));
    plan.aggregate(source, &[], &["sum(value)", "avg(value)"], Emit::Changes);
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 1e308\n+ b 1e308\n+ c 1");
    assert_eq!(script.end(None).pop().unwrap(), "+ inf inf");
    script.commit();
    script.restart();
    script.push(source, "- b ~");
    let half = format!("+ {} {}", 1e308, 1e308 / 2.0);
    assert_eq!(script.end(None).pop().unwrap(), half);
    script.push(source, "+ d -1e308");
    assert_eq!(
        script.end(None).pop().unwrap(),
        format!("+ 1 {}", 1.0 / 3.0)
    );
    script.push(source, "- a ~\n- d ~");
    assert_eq!(script.end(None).pop().unwrap(), "+ 1 1");
}

#[test]
fn a_sum_that_overflows_is_withheld_and_reported() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("id", Utf8View), ("value", Int64)], Some(vec![0]));
    plan.aggregate(source, &[], &["sum(value)"], Emit::Changes);
    let mut script = Script::new(plan.build());
    script.push(source, &format!("+ a {}\n+ b 1", i64::MAX - 1));
    assert_eq!(script.end(None), [format!("+ {}", i64::MAX)]);
    script.push(source, "+ c 1");
    assert_eq!(script.end(None), [format!("- {}", i64::MAX)]);
    assert_eq!(script.effects.failed, 1);
    // It is said once, however often the group changes and whatever lies between.
    script.push(source, "+ d 1");
    assert!(script.end(None).is_empty());
    script.commit();
    script.restart();
    script.push(source, "- d ~");
    assert!(script.end(None).is_empty());
    assert_eq!(script.effects.failed, 1);
    script.push(source, "- a ~");
    assert_eq!(script.end(None), ["+ 2"]);
}

fn joined(kind: JoinKind) -> (StreamPlan, usize, usize) {
    let mut plan = PlanBuilder::default();
    let flights = plan.source("flights", &[("carrier", Utf8View), ("delay", Int64)], None);
    let airlines = plan.source(
        "airlines",
        &[("code", Utf8View), ("title", Utf8View)],
        Some(vec![0]),
    );
    plan.join(kind, (flights, "carrier"), (airlines, "code"));
    (plan.build(), flights, airlines)
}

#[test]
fn join_corrects_itself_whatever_comes_first() {
    let (plan, flights, airlines) = joined(JoinKind::Inner);
    let mut script = Script::new(plan);
    script.push(flights, "+ UA 5\n+ AA 1\n+ UA 6\n+ ~ 9");
    assert!(script.end(None).is_empty());
    script.push(airlines, "+ UA United");
    assert_eq!(script.end(None), ["+ UA 5 UA United", "+ UA 6 UA United"]);
    script.commit();
    script.restart();
    script.push(flights, "+ UA 7");
    assert_eq!(script.end(None), ["+ UA 7 UA United"]);
    script.push(airlines, "+ UA Untied");
    assert_eq!(
        script.end(None),
        [
            "- UA 5 UA United",
            "- UA 6 UA United",
            "- UA 7 UA United",
            "+ UA 5 UA Untied",
            "+ UA 6 UA Untied",
            "+ UA 7 UA Untied",
        ]
    );
    script.push(airlines, "- UA ~\n+ AA American");
    assert_eq!(
        script.end(None),
        [
            "- UA 5 UA Untied",
            "- UA 6 UA Untied",
            "- UA 7 UA Untied",
            "+ AA 1 AA American"
        ]
    );
}

#[test]
fn left_join_pads_until_a_match_comes_and_after_the_last_one_goes() {
    let (plan, flights, airlines) = joined(JoinKind::Left);
    let mut script = Script::new(plan);
    script.push(flights, "+ UA 5\n+ ~ 9\n+ UA 5");
    assert_eq!(script.end(None), ["+ UA 5 ~ ~", "+ ~ 9 ~ ~", "+ UA 5 ~ ~"]);
    script.commit();
    script.restart();
    script.push(airlines, "+ UA United");
    assert_eq!(
        script.end(None),
        [
            "- UA 5 ~ ~",
            "- UA 5 ~ ~",
            "+ UA 5 UA United",
            "+ UA 5 UA United"
        ]
    );
    script.push(airlines, "- UA ~");
    assert_eq!(
        script.end(None),
        [
            "- UA 5 UA United",
            "- UA 5 UA United",
            "+ UA 5 ~ ~",
            "+ UA 5 ~ ~"
        ]
    );
}

#[test]
fn full_join_pads_both_sides_and_keeps_their_columns_in_place() {
    let (plan, flights, airlines) = joined(JoinKind::Full);
    let mut script = Script::new(plan);
    script.push(airlines, "+ UA United\n+ AA American");
    assert_eq!(script.end(None), ["+ ~ ~ UA United", "+ ~ ~ AA American"]);
    script.push(flights, "+ UA 5\n+ DL 3\n+ ~ 1");
    assert_eq!(
        script.end(None),
        [
            "- ~ ~ UA United",
            "+ UA 5 UA United",
            "+ DL 3 ~ ~",
            "+ ~ 1 ~ ~"
        ]
    );
    script.commit();
    script.restart();
    script.push(airlines, "- UA ~\n+ DL Delta");
    assert_eq!(
        script.end(None),
        [
            "- DL 3 ~ ~",
            "- UA 5 UA United",
            "+ DL 3 DL Delta",
            "+ UA 5 ~ ~"
        ]
    );
}

/// What is left of changes: rows and how often.
pub(super) fn consolidated(lines: &[String], into: &mut BTreeMap<String, i64>) {
    for line in lines {
        let (sign, row) = line.split_at(1);
        let count = into.entry(row.to_owned()).or_default();
        *count += if sign == "+" { 1 } else { -1 };
        assert!(*count >= 0, "{row} was taken back before it came");
    }
    into.retain(|_, count| *count != 0);
}

/// Rows of a table (id, name, value) and of a stream (name, x), as a program of pushes.
fn random_program(random: &mut fastrand::Rng, length: usize) -> Vec<(bool, String)> {
    let names = ["a", "b", "c", "a name that does not fit a view"];
    (0..length)
        .map(|_| {
            let name = random
                .choice(names.iter().map(|name| name.replace(' ', "_")))
                .unwrap();
            let value = if random.u8(..8) == 0 {
                "~".to_owned()
            } else {
                random.i64(-3..4).to_string()
            };
            if random.bool() {
                (true, format!("+ {name} {value}"))
            } else {
                let id = random.u8(..6);
                let delete = random.u8(..3) == 0;
                (
                    false,
                    if delete {
                        format!("- {id} ~ ~")
                    } else {
                        format!("+ {id} {name} {value}")
                    },
                )
            }
        })
        .collect()
}

/// Runs a program, cut at random, with commits, restarts and a cache that is too small, and gives what is left.
fn run_cut(
    seed: u64,
    program: &[(bool, String)],
    kind: JoinKind,
    cache_bytes: usize,
) -> BTreeMap<String, i64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut plan = PlanBuilder::default();
    let stream = plan.source("s", &[("name", Utf8View), ("x", Int64)], None);
    let table = plan.source(
        "t",
        &[("id", Utf8View), ("key", Utf8View), ("value", Int64)],
        Some(vec![0]),
    );
    let joined = plan.join(kind, (stream, "name"), (table, "key"));
    plan.aggregate(
        joined,
        &["name", "value"],
        &[
            "count(*)",
            "sum(x)",
            "min(x)",
            "max(id)",
            "count(distinct x)",
            "avg(x)",
        ],
        Emit::Changes,
    );
    let mut script = Script::with_cache(plan.build(), cache_bytes);
    let mut result = BTreeMap::new();
    let mut at = 0;
    while at < program.len() {
        // A chunk of one input: as many rows of it as lie side by side, or fewer.
        let is_stream = program[at].0;
        let most = program[at..]
            .iter()
            .take_while(|(other, _)| *other == is_stream)
            .count();
        let length = random.usize(1..=most);
        let text: Vec<&str> = program[at..at + length]
            .iter()
            .map(|(_, line)| line.as_str())
            .collect();
        script.push(if is_stream { stream } else { table }, &text.join("\n"));
        at += length;
        if random.u8(..3) == 0 {
            consolidated(&script.end(None), &mut result);
            if random.bool() {
                script.commit();
                if random.bool() {
                    script.restart();
                }
            }
        }
    }
    consolidated(&script.end(None), &mut result);
    result
}

/// The same by brute force.
fn batch_answer(program: &[(bool, String)], kind: JoinKind) -> BTreeMap<String, i64> {
    let mut stream: Vec<(String, Option<i64>)> = Vec::new();
    let mut table: BTreeMap<String, (String, Option<i64>)> = BTreeMap::new();
    for (is_stream, line) in program {
        let words: Vec<&str> = line.split_whitespace().collect();
        if *is_stream {
            stream.push((words[1].to_owned(), words[2].parse().ok()));
        } else if words[0] == "-" {
            table.remove(words[1]);
        } else {
            table.insert(
                words[1].to_owned(),
                (words[2].to_owned(), words[3].parse().ok()),
            );
        }
    }
    type Rows = Vec<(Option<i64>, Option<String>)>;
    let mut groups: BTreeMap<(Option<String>, Option<i64>), Rows> = BTreeMap::new();
    for (id, (_, value)) in table
        .iter()
        .filter(|(_, (key, _))| kind.pads(1) && stream.iter().all(|(name, _)| name != key))
    {
        groups
            .entry((None, *value))
            .or_default()
            .push((None, Some(id.clone())));
    }
    for (name, x) in &stream {
        let mut matched = false;
        for (id, (_, value)) in table.iter().filter(|(_, (key, _))| key == name) {
            groups
                .entry((Some(name.clone()), *value))
                .or_default()
                .push((*x, Some(id.clone())));
            matched = true;
        }
        if !matched && kind.pads(0) {
            groups
                .entry((Some(name.clone()), None))
                .or_default()
                .push((*x, None));
        }
    }
    let text = |value: Option<String>| value.unwrap_or_else(|| "~".to_owned());
    groups
        .into_iter()
        .map(|((name, value), rows)| {
            let xs: Vec<i64> = rows.iter().filter_map(|(x, _)| *x).collect();
            let sum = (!xs.is_empty()).then(|| xs.iter().sum::<i64>());
            let distinct: std::collections::BTreeSet<i64> = xs.iter().copied().collect();
            let row = format!(
                " {} {} {} {} {} {} {} {}",
                text(name),
                text(value.map(|value| value.to_string())),
                rows.len(),
                text(sum.map(|sum| sum.to_string())),
                text(xs.iter().min().map(|x| x.to_string())),
                text(rows.iter().filter_map(|(_, id)| id.clone()).max()),
                distinct.len(),
                text(sum.map(|sum| (sum as f64 / xs.len() as f64).to_string())),
            );
            (row, 1)
        })
        .collect()
}

#[test]
fn results_are_the_batch_answer_however_the_rows_are_cut() {
    for seed in 0..30u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let program = random_program(&mut random, 120);
        for kind in [
            JoinKind::Inner,
            JoinKind::Left,
            JoinKind::Right,
            JoinKind::Full,
        ] {
            let expected = batch_answer(&program, kind);
            for cache_bytes in [1 << 30, 300] {
                let found = run_cut(seed ^ 0x5eed, &program, kind, cache_bytes);
                assert_eq!(
                    found, expected,
                    "seed {seed}, {kind:?}, cache of {cache_bytes} bytes"
                );
            }
        }
    }
}

#[test]
fn many_matches_are_emitted_in_pieces() {
    let (plan, flights, airlines) = joined(JoinKind::Inner);
    let mut script = Script::new(plan);
    let rows: Vec<String> = (0..20_000).map(|delay| format!("+ UA {delay}")).collect();
    script.push(flights, &rows.join("\n"));
    script.push(airlines, "+ UA United");
    script
        .graph
        .end_epoch(|_| Watermark::None, &mut script.state, &mut script.effects)
        .unwrap();
    let chunks = script.effects.take_output();
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_ROWS_MAX));
    assert_eq!(chunks.iter().map(Chunk::len).sum::<usize>(), 20_000);
    script.push(airlines, "- UA ~");
    let mut left = BTreeMap::new();
    consolidated(&changes(&chunks), &mut left);
    consolidated(&script.end(None), &mut left);
    assert!(left.is_empty());
}

#[test]
fn a_row_is_repeated_for_every_window_and_late_for_some_of_them() {
    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    let grid = WindowGrid::Hop {
        slide_us: 5 * SECOND,
        size_us: 15 * SECOND,
    };
    plan.slide(source, grid, LatePolicy::To("events.late".to_owned()));
    let mut script = Script::new(plan.build());
    let schema = script.plan.nodes[source].schema.clone();
    // Windows of 12 end at 15, 20 and 25; of 3 at 5, 10 and 15.
    let chunk = read(
        &schema,
        "+ a 1 12\n+ b 1 12\n+ c 1 3\n+ d 1 ~",
        &[i64::MIN, 20, 20, 20],
    );
    script.chunk(source, chunk);
    let out = script.end(Some(20));
    let wanted = [
        "+ a 1 12 0 15 14.999",
        "+ a 1 12 5 20 19.999",
        "+ a 1 12 10 25 24.999",
        "+ b 1 12 10 25 24.999",
    ];
    assert_eq!(out, wanted);
    assert_eq!((script.effects.late, script.effects.failed), (2, 1));
    let records = script.effects.take_records();
    let windows: Vec<_> = (records.iter())
        .filter(|record| &*record.topic == "events.late")
        .map(|record| (record.value.clone().unwrap(), record.headers[0].1.clone()))
        .collect();
    let row = |number: usize, windows: &str| {
        (
            format!("row {number}").into_bytes(),
            windows.as_bytes().to_vec(),
        )
    };
    assert_eq!(windows, [row(1, "2"), row(2, "3")]);
}

#[test]
fn rows_in_the_gaps_between_windows_are_filtered_and_cumulating_ones_share_their_start() {
    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    let gaps = WindowGrid::Hop {
        slide_us: 10 * SECOND,
        size_us: 4 * SECOND,
    };
    plan.slide(source, gaps, LatePolicy::Drop);
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 1 13\n+ b 1 14\n+ c 1 -7");
    assert_eq!(
        script.end(None),
        ["+ a 1 13 10 14 13.999", "+ c 1 -7 -10 -6 -6.001"]
    );
    assert_eq!(script.effects.filtered, 1);

    let mut plan = PlanBuilder::default();
    let source = events(&mut plan);
    let grid = WindowGrid::Cumulate {
        step_us: 5 * SECOND,
        size_us: 15 * SECOND,
    };
    plan.slide(source, grid, LatePolicy::Drop);
    let mut script = Script::new(plan.build());
    script.push(source, "+ a 1 6");
    let wanted = ["+ a 1 6 0 10 9.999", "+ a 1 6 0 15 14.999"];
    assert_eq!(script.end(None), wanted);
    // What is taken back goes from every window.
    script.push(source, "- a 1 6");
    assert_eq!(script.end(None), wanted.map(|row| row.replace('+', "-")));
}

#[test]
fn aggregates_count_only_what_their_filter_lets_through() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("t", &[("name", Utf8View), ("value", Int64)], Some(vec![0]));
    let flagged = plan.map(
        source,
        vec![
            ("value", Int64, Arc::new(ColumnExpr(1))),
            ("large", Boolean, Arc::new(FnExpr(last_above_one))),
        ],
    );
    plan.aggregate(
        flagged,
        &[],
        &["count(*)", "sum(value)", "count(value)"],
        Emit::Changes,
    );
    let mut plan = plan.build();
    let NodeKind::Aggregate(spec) = &mut plan.nodes[2].kind else {
        panic!("it is the last node")
    };
    spec.aggregates[0].filter = Some(1);
    spec.aggregates[1].filter = Some(1);
    let mut script = Script::new(plan);
    script.push(source, "+ a 1\n+ b 5\n+ c ~\n+ d 7");
    assert_eq!(script.end(None), ["+ 2 12 3"]);
    script.push(source, "+ b 0\n- d ~");
    assert_eq!(script.end(None), ["- 2 12 3", "+ 0 ~ 2"]);
}
