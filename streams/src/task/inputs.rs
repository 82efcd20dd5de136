//! The sources of a task, polled together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::Int8Array;
use futures::future::{FutureExt, select_all};
use log_api::{Admin, Log, PartitionProgress, Start, TopicDescription, TopicPartition};

use super::search::BadRow;
use crate::operator::Effects;
use crate::source::{Source, SourceBatch, SourceError, SourceOptions};
use crate::state::SourcePosition;
use crate::time::{PartitionTime, Watermark, WatermarkState};
use crate::worker::OpenTopic;
use crate::{Chunk, NodeKind, OperatorId, PlanNode, SourceMode, SourceSpec, StreamPlan};

/// Where sources start that have no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryStart {
    /// With everything that the topics still hold.
    Earliest,
    /// With what comes from now on. Upsert sources are read from their beginning all the same: what they hold is a
    /// table, and a table without its rows joins nothing.
    Latest,
}

/// How often the log is asked whether the topics are still as they were opened, ms.
const TOPICS_INTERVAL_MS: i64 = 5_000;

struct Input {
    node: usize,
    operator: OperatorId,
    topic: TopicDescription,
    source: Source,
}

/// See the module.
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    /// The source that is asked first where only one is.
    first: usize,
    admin: Arc<dyn Admin>,
    topics_at_ms: Option<i64>,
}

impl Inputs {
    /// Opens the sources of a plan where `restored` left them, and new partitions as `start` says.
    ///
    /// # Errors
    /// From the log; [`SourceError::MissingTopic`].
    pub(crate) async fn open(
        log: &Arc<dyn Log>,
        plan: &StreamPlan,
        restored: &[SourcePosition],
        start: QueryStart,
        options: SourceOptions,
    ) -> Result<Self, InputError> {
        let judges = |node: &PlanNode| {
            matches!(
                node.kind,
                NodeKind::Late(_) | NodeKind::Tumble(_) | NodeKind::Slide(_) | NodeKind::Session(_)
            )
        };
        let options = SourceOptions {
            judges_rows: plan.nodes.iter().any(judges),
            ..options
        };
        let mut inputs = Vec::new();
        for (node, plan_node) in plan.nodes.iter().enumerate() {
            let NodeKind::Source(spec) = &plan_node.kind else {
                continue;
            };
            let known = restored
                .iter()
                .find(|position| position.operator == plan_node.id.0);
            let topic = describe(log, &spec.topic, known).await?;
            let (assignment, watermarks) = assignment(&topic, spec, known, start);
            let source =
                Source::open(Arc::clone(log), spec, assignment, &watermarks, options).await?;
            inputs.push(Input {
                node,
                operator: plan_node.id,
                topic,
                source,
            });
        }
        Ok(Self {
            inputs,
            first: 0,
            admin: log.admin(),
            topics_at_ms: None,
        })
    }

    /// Makes failures of these rows.
    pub(crate) fn skip(&mut self, rows: &[BadRow]) {
        for input in &mut self.inputs {
            for row in rows
                .iter()
                .filter(|row| *row.partition.topic == input.topic.name)
            {
                input
                    .source
                    .skip(row.partition.partition, row.offset, &row.reason);
            }
        }
    }

    /// At most so many rows a poll from now on.
    pub(crate) fn limit_rows(&mut self, rows_max: usize) {
        for input in &mut self.inputs {
            input.source.limit_rows(rows_max);
        }
    }

    /// What can be read without waiting: of all sources, or of one, each in its turn.
    ///
    /// # Errors
    /// From the log; [`SourceError::Altered`].
    pub(crate) async fn poll(
        &mut self,
        now_ms: i64,
        one: bool,
    ) -> Result<Vec<(usize, SourceBatch)>, InputError> {
        self.check_topics(now_ms).await?;
        let mut batches = Vec::new();
        let count = self.inputs.len();
        self.first = if one { (self.first + 1) % count } else { 0 };
        for turn in 0..count {
            if one && !batches.is_empty() {
                break;
            }
            let input = &mut self.inputs[(self.first + turn) % count];
            let polled = input.source.poll(Duration::ZERO, now_ms).await?;
            batches.extend(polled.into_iter().map(|batch| (input.node, batch)));
        }
        Ok(batches)
    }

    /// A topic may get more partitions, and be made anew, while it is read; neither shows in the reader.
    async fn check_topics(&mut self, now_ms: i64) -> Result<(), InputError> {
        let asked_ms = *self.topics_at_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(asked_ms) < TOPICS_INTERVAL_MS {
            return Ok(());
        }
        self.topics_at_ms = Some(now_ms);
        for topic in self.topics() {
            // One that is gone shows in the reader.
            let Some(now) = self.admin.describe_topic(&topic.name).await? else {
                continue;
            };
            let change = if now.id != topic.id {
                "was made anew".to_owned()
            } else if now.partitions > topic.partitions {
                format!(
                    "has {} partitions now, {} are read",
                    now.partitions, topic.partitions
                )
            } else {
                continue;
            };
            let topic = topic.name;
            return Err(SourceError::Altered { topic, change }.into());
        }
        Ok(())
    }

    /// The next poll asks whether the topics are as they were opened.
    pub(crate) fn doubt_topics(&mut self) {
        self.topics_at_ms = Some(i64::MIN);
    }

    /// The topics as they were opened.
    pub(crate) fn topics(&self) -> Vec<OpenTopic> {
        let topics = self.inputs.iter().map(|Input { topic, .. }| OpenTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions,
        });
        topics.collect()
    }

    /// Waits until something can be polled, at most `wait`. Cancel safe: nothing counts as read by it.
    ///
    /// # Errors
    /// From the log.
    pub(crate) async fn wait(&mut self, wait: Duration) -> Result<(), SourceError> {
        let sources = self.inputs.iter_mut();
        let fetches = sources.map(|input| input.source.fetch(wait).boxed());
        let (fetched, _, _) = select_all(fetches).await;
        fetched
    }

    /// In how many ms the sources are to be polled again though no row comes; `None`: not before one does.
    pub(crate) fn rest_ms(&self, now_ms: i64, is_here: impl Fn(&str) -> bool) -> Option<i64> {
        let sources = self.inputs.iter();
        let rests = sources.filter_map(|input| input.source.rest_ms(now_ms, &is_here));
        rests.min()
    }

    /// Event time of each source node now.
    pub(crate) fn watermarks(&mut self, now_ms: i64) -> BTreeMap<usize, Watermark> {
        self.inputs
            .iter_mut()
            .map(|input| (input.node, input.source.watermark(now_ms)))
            .collect()
    }

    /// Whether everything that the log had was handed out.
    pub(crate) fn are_caught_up(&self) -> bool {
        self.inputs.iter().all(|input| input.source.is_caught_up())
    }

    /// How far each source is: what a commit says.
    pub(crate) fn positions(&self) -> Vec<SourcePosition> {
        self.inputs
            .iter()
            .map(|input| {
                let times = input.source.watermark_state();
                let partitions = input
                    .source
                    .positions()
                    .into_iter()
                    .map(|(partition, offset)| {
                        let time = times
                            .partitions
                            .iter()
                            .find(|(own, _)| *own == partition)
                            .map(|(_, time)| *time);
                        (partition.partition, offset, time)
                    });
                SourcePosition {
                    operator: input.operator.0,
                    topic: input.topic.name.clone(),
                    topic_id: input.topic.id,
                    event_time: times.combined,
                    partitions: partitions.collect(),
                }
            })
            .collect()
    }

    /// Undecodable records so far.
    pub(crate) fn undecodable(&self) -> u64 {
        self.inputs
            .iter()
            .map(|input| input.source.counters().undecodable)
            .sum()
    }

    /// Rows read so far.
    pub(crate) fn rows(&self) -> u64 {
        self.inputs
            .iter()
            .map(|input| input.source.counters().rows)
            .sum()
    }

    /// How far the log is ahead.
    pub(crate) fn progress(&self) -> Vec<PartitionProgress> {
        self.inputs
            .iter()
            .flat_map(|input| input.source.progress())
            .collect()
    }

    /// Event time of the partitions of all sources that have one.
    pub(crate) fn times(&self) -> Vec<PartitionTime> {
        self.inputs
            .iter()
            .flat_map(|input| input.source.partition_times())
            .collect()
    }
}

/// Tells of the records of a batch that could not be decoded.
pub(crate) fn report(batch: &SourceBatch, effects: &mut Effects) {
    for failure in &batch.failures {
        let row = failure.row as usize;
        effects.record_undecodable(&batch.origin.records, row, &failure.reason);
    }
}

/// The rows of a batch, if it has any.
pub(crate) fn chunk_of(batch: SourceBatch) -> Option<Chunk> {
    if batch.batch.num_rows() == 0 {
        return None;
    }
    let diff = batch.deleted.as_ref().map(|deleted| {
        (0..deleted.len())
            .map(|row| if deleted.value(row) { -1i8 } else { 1 })
            .collect::<Int8Array>()
    });
    Some(Chunk {
        batch: batch.batch,
        diff,
        origin: Some(batch.origin),
    })
}

/// What is committed for the group: the least position of every partition, in order.
pub(crate) fn group_positions(sources: &[SourcePosition]) -> Vec<(TopicPartition, i64)> {
    let mut least: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    for source in sources {
        let topic: Arc<str> = Arc::from(source.topic.as_str());
        for (partition, offset, _) in &source.partitions {
            let place = least
                .entry(TopicPartition::new(Arc::clone(&topic), *partition))
                .or_insert(*offset);
            *place = (*place).min(*offset);
        }
    }
    least.into_iter().collect()
}

/// Why sources could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum InputError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Admin(#[from] log_api::AdminError),
}

/// The topic of a source: the one that was read before, if any was.
async fn describe(
    log: &Arc<dyn Log>,
    name: &str,
    known: Option<&SourcePosition>,
) -> Result<TopicDescription, InputError> {
    let described = log.admin().describe_topic(name).await?;
    let topic = described.ok_or_else(|| SourceError::MissingTopic(name.to_owned()))?;
    match known.map(|known| known.topic_id) {
        Some(id) if !id.is_nil() && !topic.id.is_nil() && id != topic.id => {
            Err(SourceError::Replaced(topic.name).into())
        }
        _ => Ok(topic),
    }
}

/// Where the partitions of a source start.
fn assignment(
    topic: &TopicDescription,
    spec: &SourceSpec,
    known: Option<&SourcePosition>,
    start: QueryStart,
) -> (Vec<(TopicPartition, Start)>, WatermarkState) {
    let name: Arc<str> = Arc::from(spec.topic.as_str());
    let fresh = match (start, &spec.mode) {
        (QueryStart::Latest, SourceMode::Append) => Start::Latest,
        _ => Start::Earliest,
    };
    let mut watermarks = WatermarkState {
        combined: known.and_then(|known| known.event_time),
        partitions: Vec::new(),
    };
    let assignment = (0..topic.partitions)
        .map(|number| {
            let partition = TopicPartition::new(Arc::clone(&name), number);
            let position =
                known.and_then(|known| known.partitions.iter().find(|(own, _, _)| *own == number));
            match position {
                Some((_, offset, watermark)) => {
                    if let Some(watermark) = watermark {
                        watermarks.partitions.push((partition.clone(), *watermark));
                    }
                    (partition, Start::Offset(*offset))
                }
                None => (partition, fresh),
            }
        })
        .collect();
    (assignment, watermarks)
}
