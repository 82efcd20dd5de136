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
use crate::plan::{NodeKind, SourceSpec, StreamPlan, WatermarkSpec};
use crate::state::{MemoryStore, State, StateStore, Tag};
use crate::time::{IdleOptions, Watermark, WatermarkState, WatermarkTracker};
use crate::{Chunk, Origin};

/// A running plan.
pub struct Driver {
    plan: StreamPlan,
    memory: Memory,
    store: Arc<MemoryStore>,
    state: State,
    graph: Graph,
    effects: Effects,
    /// Event time of each source node that has any.
    times: BTreeMap<usize, WatermarkTracker>,
    committed: Committed,
}

/// What a restart goes back to, beside the store.
struct Committed {
    times: BTreeMap<usize, WatermarkState>,
    checks: Vec<Check>,
}

impl Driver {
    /// Starts a plan whose operators keep so many bytes each of what they also have in their state.
    ///
    /// # Errors
    /// From operators.
    ///
    /// # Panics
    /// If the plan is not valid.
    pub fn new(plan: StreamPlan, cache_bytes: usize) -> Result<Self, OperatorError> {
        plan.validate().expect("a plan that runs is valid");
        let store = Arc::new(MemoryStore::new(usize::MAX));
        let memory = Memory::new(cache_bytes);
        let checks = plan
            .nodes
            .iter()
            .map(|node| Check::new(node.schema.clone()));
        let graph = Graph::build(&plan, &memory);
        let committed = Committed {
            times: BTreeMap::new(),
            checks: checks.collect(),
        };
        let mut driver = Self {
            state: State::new(store.clone()),
            graph,
            effects: Effects::recording("errors"),
            times: trackers(&plan, &committed.times),
            plan,
            memory,
            store,
            committed,
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
        self.graph
            .push(node, chunk, &mut self.state, &mut self.effects)
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
        self.graph
            .end_epoch(watermarks, &mut self.state, &mut self.effects)?;
        Ok(self.effects.take_output())
    }

    /// Commits. An epoch has to have ended before.
    ///
    /// # Errors
    /// From operators.
    pub fn commit(&mut self) -> Result<(), OperatorError> {
        self.graph.commit(&mut self.state)?;
        let tag = Tag {
            changelog_offset: 0,
            header: Vec::new(),
        };
        self.store.apply(&self.state.take(), &tag)?;
        self.graph.after_commit();
        let times = self.times.iter();
        self.committed = Committed {
            times: times.map(|(&node, time)| (node, time.state())).collect(),
            checks: self.graph.checks(),
        };
        Ok(())
    }

    /// Forgets everything since the last commit, as after a crash: the rows that were read since then come again.
    ///
    /// # Errors
    /// From operators.
    pub fn restart(&mut self) -> Result<(), OperatorError> {
        self.state = State::new(self.store.clone());
        self.effects.take_output();
        self.times = trackers(&self.plan, &self.committed.times);
        self.graph = Graph::build(&self.plan, &self.memory);
        self.graph.watch(self.committed.checks.clone());
        self.graph.open(&self.state)
    }

    /// Rows that came too late for their window, so far.
    pub fn late(&self) -> u64 {
        self.effects.late
    }

    /// Rows that an expression failed on, so far.
    pub fn failed(&self) -> u64 {
        self.effects.failed
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
    use crate::{LatePolicy, TumbleSpec};

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
        let mut driver = Driver::new(plan, 0).unwrap();
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
    #[should_panic(expected = "a plan that runs is valid")]
    fn a_plan_that_cannot_run_is_refused() {
        let mut plan = windowed();
        plan.nodes[1].kind = NodeKind::Tumble(TumbleSpec {
            time_column: 0,
            size_us: SECOND,
            grace_us: 0,
            late: LatePolicy::Drop,
        });
        let _ = Driver::new(plan, 0);
    }
}
