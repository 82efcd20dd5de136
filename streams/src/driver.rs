//! Drives a plan by hand: rows in, changes out, commits and restarts in between. No log, no clock, no threads, so that
//! whoever makes plans can try thousands of them, each cut as it likes.
//!
//! ```text
//! read(source, rows) … ─▶ end_epoch ─▶ changes     any number of these
//! commit                                           what is kept from here on survives
//! restart                                          everything since the last commit is as if it had not been
//! ```
//!
//! Every operator is watched: one that takes back what it did not give, or gives other columns than planned, is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int8Array, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use log_api::{RecordsBuilder, TopicPartition};

use crate::expr::evaluate;
use crate::operator::{Check, Effects, Graph, Memory, OperatorError};
use crate::plan::{Fragments, NodeKind, Route, SourceSpec, StreamPlan, WatermarkSpec};
use crate::state::{MemoryStore, State, StateStore, Tag};
use crate::task::{Inbox, Outbox, Port, send};
use crate::time::{IdleOptions, Watermark, WatermarkState, WatermarkTracker};
use crate::{Chunk, Origin};

/// A running plan.
pub struct Driver {
    plan: StreamPlan,
    fragments: Fragments,
    memory: Memory,
    parts: Vec<Part>,
    /// The token that takes the next rows of a source that lie by no key.
    next: usize,
    /// Event time of each source node that has any.
    times: BTreeMap<usize, WatermarkTracker>,
    committed: BTreeMap<usize, WatermarkState>,
}

/// A token: the operators and the state of a part of the keys.
struct Part {
    store: Arc<MemoryStore>,
    state: State,
    graph: Graph,
    effects: Effects,
    inbox: Inbox,
    /// What its operators had emitted at the last commit.
    checks: Vec<Check>,
}

impl Driver {
    /// Starts a plan on so many tokens, whose operators keep so many bytes each of what they also have in their state.
    ///
    /// # Errors
    /// From operators.
    ///
    /// # Panics
    /// If the plan is not valid, and without tokens.
    pub fn new(plan: StreamPlan, tokens: usize, cache_bytes: usize) -> Result<Self, OperatorError> {
        plan.validate().expect("a plan that runs is valid");
        assert!(tokens > 0, "somebody has to run the plan");
        let fragments = Fragments::of(&plan, &[], tokens);
        let memory = Memory::new(cache_bytes);
        let part = |token| {
            let store = Arc::new(MemoryStore::new(usize::MAX));
            let checks = plan.nodes.iter();
            Part {
                state: State::new(store.clone()),
                store,
                graph: Graph::build_token(&plan, &memory, &fragments, token),
                effects: Effects::recording("errors"),
                inbox: Inbox::new(),
                checks: checks.map(|node| Check::new(node.schema.clone())).collect(),
            }
        };
        let mut driver = Self {
            parts: (0..tokens).map(part).collect(),
            fragments,
            memory,
            next: 0,
            times: BTreeMap::new(),
            plan,
            committed: BTreeMap::new(),
        };
        driver.restart()?;
        Ok(driver)
    }

    /// The plan.
    pub fn plan(&self) -> &StreamPlan {
        &self.plan
    }

    /// Rows of a source of one partition, in their order. `deleted`: of an upsert source, the rows that only say which key
    /// is gone.
    ///
    /// # Errors
    /// From operators, and what is wrong with what they emit.
    ///
    /// # Panics
    /// If `node` is no source of the plan.
    pub fn read(
        &mut self,
        node: usize,
        rows: RecordBatch,
        deleted: Option<&BooleanArray>,
    ) -> Result<(), OperatorError> {
        let NodeKind::Source(spec) = &self.plan.nodes[node].kind else {
            panic!("node {node} is no source");
        };
        let watermarks = match self.times.get_mut(&node) {
            Some(times) => row_watermarks(spec, times, &rows)?,
            None => None,
        };
        let count = u32::try_from(rows.num_rows()).expect("a batch has fewer rows than 2^32");
        let mut records = RecordsBuilder::new(TopicPartition::new(spec.topic.as_str(), 0), 0);
        for offset in 0..i64::from(count) {
            records.push(offset, 0, None, None, &[]);
        }
        let sign = |deleted| if deleted { -1i8 } else { 1 };
        let chunk = Chunk {
            batch: rows,
            diff: deleted.map(|deleted| deleted.values().iter().map(sign).collect::<Int8Array>()),
            origin: Some(Origin {
                records: Arc::new(records.finish()),
                rows: (0..count).collect::<Vec<_>>().into(),
                watermarks,
            }),
        };
        let port = Port::Node(node, 0);
        match &self.fragments.routes[node][0] {
            Route::Stay => {
                self.parts[self.next].inbox[0].push((port, chunk));
                self.next = (self.next + 1) % self.parts.len();
            }
            route => {
                let mut outbox = Outbox::new();
                send(route, self.parts.len(), port, chunk, &mut outbox)?;
                self.deliver(outbox);
            }
        }
        self.run(None::<fn(usize) -> Watermark>)
    }

    /// Ends an epoch; gives the changes of the plan's output since the last one.
    ///
    /// # Errors
    /// From operators, and what is wrong with what they emit.
    pub fn end_epoch(&mut self) -> Result<Vec<Chunk>, OperatorError> {
        let mut reached: BTreeMap<usize, Watermark> = BTreeMap::new();
        for (&node, times) in &mut self.times {
            let time = times.watermark(0).map_or(Watermark::Waiting, Watermark::At);
            reached.insert(node, time);
        }
        self.end_at(|node| reached.get(&node).copied().unwrap_or_default())
    }

    /// Ends the last epoch: no row is expected any more.
    ///
    /// # Errors
    /// From operators, and what is wrong with what they emit.
    pub fn finish(&mut self) -> Result<Vec<Chunk>, OperatorError> {
        let timed: Vec<usize> = self.times.keys().copied().collect();
        self.end_at(|node| match timed.contains(&node) {
            true => Watermark::End,
            false => Watermark::None,
        })
    }

    fn end_at(
        &mut self,
        watermarks: impl Fn(usize) -> Watermark,
    ) -> Result<Vec<Chunk>, OperatorError> {
        self.run(Some(watermarks))?;
        let parts = self.parts.iter_mut();
        Ok(parts.flat_map(|part| part.effects.take_output()).collect())
    }

    /// Sends what was read through all stages; with `ends` an epoch ends there.
    fn run(&mut self, ends: Option<impl Fn(usize) -> Watermark>) -> Result<(), OperatorError> {
        for stage in 0..=self.fragments.output_stage {
            let mut outbox = Outbox::new();
            for part in &mut self.parts {
                part.run(stage, ends.as_ref())?;
                for sent in part.effects.take_sent() {
                    let route = &self.fragments.routes[sent.node][sent.port];
                    let port = Port::Node(sent.node, sent.port);
                    send(route, self.fragments.tokens, port, sent.chunk, &mut outbox)?;
                }
            }
            self.deliver(outbox);
        }
        Ok(())
    }

    fn deliver(&mut self, outbox: Outbox) {
        for (to, port, chunk) in outbox {
            let stage = match port {
                Port::Node(node, _) => self.fragments.stages[node],
                Port::Sink => self.fragments.output_stage,
            };
            self.parts[to].inbox[stage].push((port, chunk));
        }
    }

    /// Commits. An epoch has to have ended before.
    ///
    /// # Errors
    /// From operators.
    pub fn commit(&mut self) -> Result<(), OperatorError> {
        self.parts.iter_mut().try_for_each(Part::commit)?;
        let times = self.times.iter();
        self.committed = times.map(|(&node, time)| (node, time.state())).collect();
        Ok(())
    }

    /// Forgets everything since the last commit, as after a crash: the rows that were read since then come again.
    ///
    /// # Errors
    /// From operators.
    pub fn restart(&mut self) -> Result<(), OperatorError> {
        self.times = trackers(&self.plan, &self.committed);
        for (token, part) in self.parts.iter_mut().enumerate() {
            part.inbox = vec![Vec::new(); self.fragments.output_stage + 1];
            part.graph = Graph::build_token(&self.plan, &self.memory, &self.fragments, token);
            part.restart()?;
        }
        Ok(())
    }

    /// Rows that came too late for their window, so far.
    pub fn late(&self) -> u64 {
        self.parts.iter().map(|part| part.effects.late).sum()
    }

    /// Rows that an expression failed on, so far.
    pub fn failed(&self) -> u64 {
        self.parts.iter().map(|part| part.effects.failed).sum()
    }
}

impl Part {
    fn run(
        &mut self,
        stage: usize,
        ends: Option<&impl Fn(usize) -> Watermark>,
    ) -> Result<(), OperatorError> {
        let (state, effects) = (&mut self.state, &mut self.effects);
        for (port, chunk) in std::mem::take(&mut self.inbox[stage]) {
            match port {
                Port::Sink => effects.output(chunk),
                Port::Node(node, port) => {
                    let place = (node, port);
                    self.graph.push_into(place, chunk, state, effects, None)?;
                }
            }
        }
        match ends {
            Some(ends) => self.graph.end_stage(stage, ends, state, effects, None),
            None => Ok(()),
        }
    }

    fn commit(&mut self) -> Result<(), OperatorError> {
        self.graph.commit(&mut self.state)?;
        let tag = Tag {
            changelog_offset: 0,
            header: Vec::new(),
        };
        self.store.apply(&self.state.take(), &tag)?;
        self.graph.after_commit();
        self.checks = self.graph.checks();
        Ok(())
    }

    fn restart(&mut self) -> Result<(), OperatorError> {
        self.state = State::new(self.store.clone());
        self.effects.take_output();
        self.effects.take_sent();
        self.graph.watch(self.checks.clone());
        self.graph.open(&self.state)
    }
}

/// The event time of each source that tells its own.
fn trackers(
    plan: &StreamPlan,
    known: &BTreeMap<usize, WatermarkState>,
) -> BTreeMap<usize, WatermarkTracker> {
    let timed = plan.nodes.iter().enumerate().filter_map(|(node, kind)| {
        let NodeKind::Source(spec) = &kind.kind else {
            return None;
        };
        let Some(WatermarkSpec::Rows { .. }) = &spec.watermark else {
            return None;
        };
        let partition = TopicPartition::new(spec.topic.as_str(), 0);
        let restored = known.get(&node).cloned().unwrap_or_default();
        let tracker = WatermarkTracker::new([partition], &restored, IdleOptions::default());
        Some((node, tracker))
    });
    timed.collect()
}

/// What each row is judged by: event time as the rows before it have left it.
fn row_watermarks(
    spec: &SourceSpec,
    times: &mut WatermarkTracker,
    rows: &RecordBatch,
) -> Result<Option<Arc<[i64]>>, OperatorError> {
    let Some(WatermarkSpec::Rows { expr, .. }) = &spec.watermark else {
        return Ok(None);
    };
    let operator = crate::OperatorId(0);
    let evaluated = evaluate(expr.as_ref(), rows);
    let evaluated = evaluated.map_err(|error| OperatorError::columns(operator, &error))?;
    let values = evaluated.values.as_ref();
    let values = values.and_then(|values| values.as_primitive_opt::<TimestampMicrosecondType>());
    let Some(values) = values.filter(|values| values.len() == rows.num_rows()) else {
        return Err(OperatorError::Columns {
            operator,
            reason: format!("the watermark of {} is no time of every row", spec.topic),
        });
    };
    let time = times.observe(0, values.clone(), 0);
    Ok(Some(time.row_watermarks().into()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Int64, Utf8View};

    use super::*;
    use crate::test_plan::{PlanBuilder, TIMESTAMP, changes, parse};
    use crate::{Emit, LatePolicy, TumbleSpec};

    const SECOND: i64 = 1_000_000;

    /// Names, values and times in windows of ten seconds; what is late is dropped.
    fn windowed() -> StreamPlan {
        let mut plan = PlanBuilder::default();
        let columns = [("name", Utf8View), ("value", Int64), ("at", TIMESTAMP)];
        let source = plan.source("events", &columns, None);
        plan.tumble(source, 10 * SECOND, LatePolicy::Drop);
        plan.build()
    }

    #[test]
    fn what_was_not_committed_comes_again() {
        let plan = windowed();
        let schema = plan.nodes[0].schema.clone();
        let mut driver = Driver::new(plan, 1, 0).unwrap();
        let rows = |text: &str| parse(&schema, text).batch;
        driver.read(0, rows("+ a 1 25"), None).unwrap();
        assert_eq!(changes(&driver.end_epoch().unwrap()).len(), 1);
        driver.commit().unwrap();
        // 35 less the two seconds of the source's watermark closes the window of 25.
        driver.read(0, rows("+ b 1 35\n+ c 1 26"), None).unwrap();
        assert_eq!(changes(&driver.end_epoch().unwrap()).len(), 1);
        assert_eq!(driver.late(), 1);
        driver.restart().unwrap();
        driver.read(0, rows("+ d 1 26"), None).unwrap();
        assert_eq!(changes(&driver.end_epoch().unwrap()).len(), 1);
        assert_eq!((driver.late(), driver.failed()), (1, 0));
    }

    #[test]
    fn rows_of_a_key_meet_on_any_number_of_tokens() {
        let mut plan = PlanBuilder::default();
        let source = plan.source("events", &[("name", Utf8View), ("value", Int64)], None);
        plan.aggregate(source, &["name"], &["sum(value)"], Emit::Changes);
        let plan = plan.build();
        let schema = plan.nodes[0].schema.clone();
        for tokens in [1, 2, 8] {
            let mut driver = Driver::new(plan.clone(), tokens, 0).unwrap();
            let mut sums = Vec::new();
            for text in ["+ a 1\n+ b 1\n+ c 1", "+ a 2\n+ c 5", "+ d 1\n+ a 3"] {
                driver.read(0, parse(&schema, text).batch, None).unwrap();
                sums.extend(changes(&driver.end_epoch().unwrap()));
                driver.commit().unwrap();
                driver.restart().unwrap();
            }
            sums.sort();
            let expected = [
                "+ a 1", "+ a 3", "+ a 6", "+ b 1", "+ c 1", "+ c 6", "+ d 1", "- a 1", "- a 3",
                "- c 1",
            ];
            assert_eq!(sums, expected, "{tokens} tokens");
        }
    }

    #[test]
    #[should_panic(expected = "a plan that runs is valid")]
    fn a_plan_that_cannot_run_is_refused() {
        let mut plan = windowed();
        plan.nodes[1].kind = NodeKind::Tumble(TumbleSpec {
            time_column: 0,
            size_us: SECOND,
            offset_us: 0,
            grace_us: 0,
            late: LatePolicy::Drop,
        });
        let _ = Driver::new(plan, 1, 0);
    }
}
