//! Fetch (key 1): batches as they lie on disk, from the one that holds the asked offset on; waits while there is too little.
//!
//! ```text
//!  read all ─▶ enough, or an error? ── yes ─▶ answer
//!      │ no: only how much it was is kept
//!      ▼
//!  subscribe to every partition ─▶ count what is new ─▶ enough, an error, or late? ── yes ─▶ read all ─▶ answer
//!                                     ▲                        │ no
//!                                     └─ an end of a partition moved ◀─┘ (append, high watermark, last stable offset, deletion)
//! ```
//! Subscribing before counting means that nothing is missed in between. Fetch sessions (KIP-227) are not kept: the answer's session id is
//! 0, which makes clients send full requests.
//!
//! Invariants:
//! 1. The first partition with something readable answers with at least one batch, whatever the limits.
//! 2. A read_committed answer ends at the last stable offset and lists the aborted transactions in its range.
//! 3. A partition is read once, however often the request names it, and not at all once there is no room left.
//! 4. A fetch that waits holds no records, and reads none twice to know when there are enough.
//! 5. While answers wait for slow readers up to the limit, none is made; then it has at most a part of the room, which is its own before
//!    anything is read.
//! 6. What is asked for at the least is never more than what may be answered.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use log_protocol::api::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use log_protocol::{ErrorCode, Payload};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{check_leader_epoch, is_read_committed};
use crate::authorize::{Resource, require};
use crate::partition::LogEnds;
use crate::quorum::Topic;
use crate::security::acl::Operation;
use crate::services::Context;
use crate::storage::{Fetched, Isolation, Partition};

/// Longest wait that a client may ask for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Partitions between two looks at whether others want the thread, and whether the client is still there.
const YIELD_EVERY: usize = 16;

/// From this version on topics go by id.
const TOPIC_IDS_FROM: i16 = 13;

/// From this version on an answer has an error of its own.
const ERRORS_FROM: i16 = 7;

/// From this version on an answer may say where a partition is led.
const LEADERS_FROM: i16 = 16;

/// Epochs of a session that asks for everything: of none, and of a new one.
const FINAL_EPOCH: i32 = -1;
const INITIAL_EPOCH: i32 = 0;

/// A partition of the request, found or not.
struct Slot {
    asked: FetchPartition,
    found: Result<Arc<Partition>, ErrorCode>,
    /// Whether there is such a partition, and the client may read it.
    is_there: bool,
    /// The partition's, if there is one.
    leader_epoch: i32,
}

/// What a request asks for, each partition once: of one that comes twice the last counts, at the place of the first.
struct Asked {
    topics: Vec<(String, Uuid)>,
    /// With the number of its topic.
    partitions: Vec<(usize, FetchPartition)>,
}

impl Asked {
    fn of(named: Vec<FetchTopic>) -> Self {
        let mut asked = Self {
            topics: Vec::with_capacity(named.len()),
            partitions: Vec::new(),
        };
        let mut numbers: HashMap<(String, Uuid), usize> = HashMap::new();
        let mut places: HashMap<(usize, i32), usize> = HashMap::new();
        // A topic without partitions has no answer, and a request that waits keeps nothing of it.
        for topic in named.into_iter().filter(|one| !one.partitions.is_empty()) {
            let header = (topic.topic, topic.topic_id);
            let number = *numbers.entry(header).or_insert_with_key(|header| {
                asked.topics.push(header.clone());
                asked.topics.len() - 1
            });
            for partition in topic.partitions {
                match places.entry((number, partition.partition)) {
                    Entry::Occupied(place) => asked.partitions[*place.get()].1 = partition,
                    Entry::Vacant(place) => {
                        place.insert(asked.partitions.len());
                        asked.partitions.push((number, partition));
                    }
                }
            }
        }
        asked
    }

    /// Looks for the partitions. In the order in which they are answered: those that there are, unknown topics, what else is refused.
    fn find(
        self,
        ctx: &Context,
        refused_as_whole: Option<ErrorCode>,
    ) -> (Vec<(String, Uuid)>, Vec<Vec<Slot>>) {
        let topics = self.topics.iter();
        let found: Vec<_> = topics.map(|(name, id)| find(ctx, name, *id)).collect();
        let slots = self.partitions.into_iter().map(|(number, asked)| {
            let topic = found[number].as_ref().map_err(|error| *error);
            let partition = topic.and_then(|topic| {
                let partition = topic.partition(asked.partition);
                partition.ok_or(ErrorCode::UnknownTopicOrPartition)
            });
            let slot = Slot {
                asked,
                leader_epoch: partition.as_ref().map_or(-1, |one| one.leader_epoch()),
                is_there: partition.is_ok(),
                found: partition.and_then(|one| refused_as_whole.map_or(Ok(one), Err)),
            };
            (number, slot)
        });
        let mut slots: Vec<(usize, Slot)> = slots.collect();
        slots.sort_by_key(|(_, slot)| match slot.found {
            _ if slot.is_there => 0,
            Err(ErrorCode::UnknownTopicId) => 1,
            _ => 2,
        });
        let mut headers = Vec::new();
        let mut grouped: Vec<Vec<Slot>> = Vec::new();
        let mut previous = None;
        for (number, slot) in slots {
            match grouped.last_mut() {
                Some(group) if previous == Some(number) => group.push(slot),
                _ => {
                    headers.push(self.topics[number].clone());
                    grouped.push(vec![slot]);
                }
            }
            previous = Some(number);
        }
        (headers, grouped)
    }
}

/// What one look at all partitions gave.
struct Look {
    answers: Vec<Vec<PartitionData>>,
    /// Of each partition, in the order of the answers.
    read: Vec<Read>,
    bytes: usize,
    /// Something that the client must learn at once.
    urgent: bool,
    /// There is no room for what is left.
    full: bool,
}

/// How far a partition was read, and how much that was.
#[derive(Clone, Copy)]
struct Read {
    next_offset: i64,
    bytes: usize,
}

pub(crate) async fn handle(ctx: &Context, request: FetchRequest) -> FetchResponse {
    // None is kept. One may be asked for, and left, all the same: the answer says that there is none.
    let begins_or_ends = matches!(request.session_epoch, FINAL_EPOCH | INITIAL_EPOCH);
    if !begins_or_ends {
        let error_code = ErrorCode::FetchSessionIdNotFound;
        return FetchResponse {
            error_code,
            ..FetchResponse::default()
        };
    }
    // There are no followers here, and no levels of isolation but two.
    let refused_as_whole = if replica_of(&request) >= 0 {
        Some(ErrorCode::NotLeaderOrFollower)
    } else if !matches!(request.isolation_level, 0 | 1) {
        Some(ErrorCode::UnknownServerError)
    } else {
        None
    };
    let error_code = match refused_as_whole {
        Some(error @ ErrorCode::UnknownServerError) if ctx.api_version >= ERRORS_FROM => error,
        _ => ErrorCode::None,
    };
    if error_code != ErrorCode::None && ctx.api_version >= TOPIC_IDS_FROM {
        return FetchResponse {
            error_code,
            ..FetchResponse::default()
        };
    }
    let asked = Asked::of(request.topics);
    let (headers, slots) = asked.find(ctx, refused_as_whole);
    let limits = Limits {
        committed: is_read_committed(request.isolation_level),
        is_unknown_isolation: !matches!(request.isolation_level, 0 | 1),
        bytes_max: usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(ctx.services.config.fetch_bytes_max)
            // As much as an answer may take when it is alone.
            .min(ctx.services.config.response_bytes_max),
        node_id: ctx.services.config.node_id,
        is_negative: request.max_bytes < 0,
        tells_leaders: ctx.api_version >= LEADERS_FROM,
        sends_files: ctx.sends_files,
    };
    let bytes_min = usize::try_from(request.min_bytes)
        .unwrap_or(0)
        .min(limits.bytes_max.max(1));
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let answers = look_until(ctx, &slots, limits, bytes_min, wait).await;
    let responses = headers
        .into_iter()
        .zip(answers)
        .map(|((topic, topic_id), partitions)| FetchableTopicResponse {
            topic,
            topic_id,
            partitions,
        })
        .collect();
    FetchResponse {
        error_code,
        responses,
        ..FetchResponse::default()
    }
}

/// The follower that asks, below zero for a consumer.
fn replica_of(request: &FetchRequest) -> i32 {
    request.replica_id.max(request.replica_state.replica_id)
}

/// The topic that a request names, by id from version 13 on, if it may be read.
fn find(ctx: &Context, name: &str, id: Uuid) -> Result<Arc<Topic>, ErrorCode> {
    if ctx.api_version >= TOPIC_IDS_FROM {
        let topic = ctx.services.topics.by_id(id);
        let topic = topic.ok_or(ErrorCode::UnknownTopicId)?;
        require(ctx, Operation::Read, Resource::Topic(topic.name()))?;
        return Ok(topic);
    }
    require(ctx, Operation::Read, Resource::Topic(name))?;
    let topic = ctx.services.topics.get(name);
    topic.ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// Looks until there is enough to answer, or until `wait` is over.
async fn look_until(
    ctx: &Context,
    slots: &[Vec<Slot>],
    mut limits: Limits,
    bytes_min: usize,
    wait: Duration,
) -> Vec<Vec<PartitionData>> {
    let partitions = || {
        slots
            .iter()
            .flatten()
            .filter_map(|slot| slot.found.as_ref().ok())
    };
    let asked = limits.bytes_max;
    let reserve = || {
        let max = ctx.services.config.response_bytes_max;
        ctx.services.responding.reserve(max, asked)
    };
    // Others count what is being read until it is counted among the answers that wait.
    let room = reserve().await;
    limits.bytes_max = room.bytes();
    let bytes_min = bytes_min.min(limits.bytes_max.max(1));
    let first = look(slots, &limits).await;
    if wait.is_zero() || first.is_enough(bytes_min) || partitions().next().is_none() {
        return first.answers;
    }
    let (mut read, mut bytes) = (first.read, first.bytes);
    drop(first.answers);
    drop(room);
    let deadline = Instant::now() + wait;
    let mut watches: Vec<watch::Receiver<LogEnds>> = partitions().map(|one| one.watch()).collect();
    loop {
        match count_new(slots, &limits, &mut read).await {
            Ok(new) => bytes += new,
            Err(_) => break,
        }
        if bytes >= bytes_min {
            break;
        }
        if timeout_at(deadline, any_change(&mut watches))
            .await
            .is_err()
        {
            break;
        }
    }
    let room = reserve().await;
    limits.bytes_max = room.bytes();
    look(slots, &limits).await.answers
}

impl Look {
    fn is_enough(&self, bytes_min: usize) -> bool {
        self.urgent || self.full || self.bytes >= bytes_min
    }
}

/// Reads what came behind the last look, and tells how much it was.
///
/// # Errors
/// What the client must learn at once.
async fn count_new(
    slots: &[Vec<Slot>],
    limits: &Limits,
    read: &mut [Read],
) -> Result<usize, ErrorCode> {
    let mut new = 0;
    for (number, (slot, read)) in slots.iter().flatten().zip(read).enumerate() {
        if number % YIELD_EVERY == YIELD_EVERY - 1 {
            tokio::task::yield_now().await;
        }
        let partition = slot.found.as_ref().map_err(|error| *error)?;
        check(partition, &slot.asked)?;
        let wanted = limits.wanted(&slot.asked).saturating_sub(read.bytes);
        if wanted == 0 {
            continue;
        }
        let fetched = partition
            .read_to_send(read.next_offset, wanted, limits.isolation())
            .map_err(|error| error.code())?;
        read.next_offset = fetched.next_offset;
        read.bytes += fetched.records.len();
        new += fetched.records.len();
    }
    Ok(new)
}

/// Waits until an end of any of these partitions moves.
pub(crate) async fn any_change(watches: &mut [watch::Receiver<LogEnds>]) {
    if let [watch] = watches {
        if watch.changed().await.is_err() {
            // The partition is gone for good; the deadline of the caller ends the wait.
            std::future::pending::<()>().await;
        }
        return;
    }
    let mut changes: FuturesUnordered<_> =
        watches.iter_mut().map(|watch| watch.changed()).collect();
    while let Some(changed) = changes.next().await {
        if changed.is_ok() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

struct Limits {
    committed: bool,
    bytes_max: usize,
    node_id: i32,
    /// The client asked for fewer than no bytes.
    is_negative: bool,
    /// The client asked for a level of isolation that there is not.
    is_unknown_isolation: bool,
    /// Whether an answer may say where a partition is led.
    tells_leaders: bool,
    /// Whether the connection sends parts of files.
    sends_files: bool,
}

impl Limits {
    fn isolation(&self) -> Isolation {
        if self.committed {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        }
    }

    /// Bytes that a partition may answer with if it is the only one.
    fn wanted(&self, asked: &FetchPartition) -> usize {
        usize::try_from(asked.partition_max_bytes)
            .unwrap_or(0)
            .min(self.bytes_max)
    }
}

async fn look(slots: &[Vec<Slot>], limits: &Limits) -> Look {
    let mut look = Look {
        answers: Vec::with_capacity(slots.len()),
        read: Vec::new(),
        bytes: 0,
        urgent: false,
        full: false,
    };
    let mut looked = 0;
    for topic in slots {
        let mut answers = Vec::with_capacity(topic.len());
        for slot in topic {
            looked += 1;
            if looked % YIELD_EVERY == 0 {
                tokio::task::yield_now().await;
            }
            let answer = match &slot.found {
                Ok(partition) => read(partition, &slot.asked, limits, &mut look),
                Err(error) => Err(*error),
            };
            if answer.is_err() {
                look.urgent = true;
            }
            answers.push(answer.unwrap_or_else(|error| refused(slot, error, limits)));
        }
        look.answers.push(answers);
    }
    look
}

fn check(partition: &Partition, asked: &FetchPartition) -> Result<(), ErrorCode> {
    check_leader_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    partition.check_readable().map_err(|error| error.code())
}

fn read(
    partition: &Partition,
    asked: &FetchPartition,
    limits: &Limits,
    look: &mut Look,
) -> Result<PartitionData, ErrorCode> {
    check(partition, asked)?;
    let mut answer = PartitionData {
        partition_index: asked.partition,
        ..PartitionData::default()
    };
    if let Some(diverging) = diverging_epoch(partition, asked)? {
        look.urgent = true;
        let ends = partition.ends();
        answer.high_watermark = ends.high_watermark;
        answer.last_stable_offset = ends.last_stable;
        answer.log_start_offset = ends.log_start;
        answer.diverging_epoch = diverging;
        answer.records = Some(Payload::default());
        return Ok(answer);
    }
    let is_negative = limits.is_negative || asked.partition_max_bytes < 0;
    if is_negative && asked.fetch_offset < partition.ends().high_watermark {
        return Err(ErrorCode::UnknownServerError);
    }
    let room = limits.bytes_max.saturating_sub(look.bytes);
    let wanted = limits.wanted(asked).min(room);
    let (from, isolation) = (asked.fetch_offset, limits.isolation());
    let fetched = if look.full {
        partition.read_nothing(from)
    } else if limits.sends_files {
        partition.read_to_send(from, wanted, isolation)
    } else {
        let read = partition.read(from, wanted, isolation);
        read.map(Fetched::into_payload)
    };
    let mut fetched = fetched.map_err(|error| error.code())?;
    // A read gives one batch at least; only the first partition may go beyond the limit with it.
    if look.bytes > 0 && fetched.records.len() > room {
        fetched.records = Payload::default();
        fetched.aborted.clear();
        look.full = true;
    }
    look.read.push(Read {
        next_offset: fetched.next_offset,
        bytes: fetched.records.len(),
    });
    look.bytes += fetched.records.len();
    look.full |= look.bytes >= limits.bytes_max && look.bytes > 0;
    answer.high_watermark = fetched.high_watermark;
    answer.last_stable_offset = fetched.last_stable_offset;
    answer.log_start_offset = fetched.log_start_offset;
    answer.aborted_transactions = limits.committed.then(|| {
        fetched
            .aborted
            .iter()
            .map(|aborted| AbortedTransaction {
                producer_id: aborted.producer_id,
                first_offset: aborted.first_offset,
            })
            .collect()
    });
    answer.records = Some(fetched.records);
    Ok(answer)
}

/// Where the client's log and ours part, if they do (KIP-595): it read records of an epoch that ended earlier here.
///
/// # Errors
/// [`ErrorCode::OffsetOutOfRange`] if it knows an epoch that never was.
fn diverging_epoch(
    partition: &Partition,
    asked: &FetchPartition,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if asked.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let (epoch, end_offset) = partition.end_offset_for_epoch(asked.last_fetched_epoch);
    if epoch < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let diverges = epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset;
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset }))
}

fn refused(slot: &Slot, error_code: ErrorCode, limits: &Limits) -> PartitionData {
    let mut answer = PartitionData {
        partition_index: slot.asked.partition,
        error_code,
        high_watermark: -1,
        aborted_transactions: (!slot.is_there || limits.is_unknown_isolation).then(Vec::new),
        records: Some(Payload::default()),
        ..PartitionData::default()
    };
    let is_elsewhere = matches!(
        error_code,
        ErrorCode::FencedLeaderEpoch | ErrorCode::NotLeaderOrFollower
    );
    if is_elsewhere && limits.tells_leaders {
        answer.current_leader = LeaderIdAndEpoch {
            leader_id: limits.node_id,
            leader_epoch: slot.leader_epoch,
        };
    }
    answer
}
