//! PURE. Decides what becomes of a transactional id; the shell writes what is decided and only then takes it as the new state.
//!
//! ```text
//!                add partitions              end                    all markers written
//!  Empty ──────────────────────▶ Ongoing ─────────▶ PrepareCommit ─────────────────────▶ CompleteCommit ─┐
//!                                 ▲  │ end, timeout,                                                     │
//!                                 │  │ id taken over                                                     │
//!                                 │  └────────────▶ PrepareAbort ──────────────────────▶ CompleteAbort ──┤
//!                                 └──────────────────────── add partitions ──────────────────────────────┘
//! ```
//! Two generations of the protocol: in the first a producer keeps its epoch through many transactions; in the second (KIP-890) every end
//! raises it, so a late request of an earlier transaction is fenced instead of landing in the next one.
//!
//! Invariants:
//! 1. The producer epoch only rises while the producer id stays; a new id begins at 0.
//! 2. A decision (Prepare…) is never taken back: the same end may be asked for again, the other one never.
//! 3. What the coordinator aborts by itself raises the epoch, so that the owner learns of it.
//! 4. The owner of a transaction that was aborted for its age, for a power loss, or because the owner itself began anew, may go on: the
//!    epoch before is remembered, and whoever still bears it is told the raised one. After a takeover it is not: that owner is fenced for
//!    good.

use log_protocol::{ErrorCode, TopicPartition};

use super::record::{Phase, TransactionRecord};

/// The last epoch that a client is given; beyond it a new producer id begins at 0. One more is kept for fencing.
const PRODUCER_EPOCH_MAX: i16 = i16::MAX - 1;

/// What to do about an InitProducerId.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Initialization {
    /// A retry: the current id and epoch are the answer.
    Already,
    /// Write this; its id and epoch are the answer.
    Write(TransactionRecord),
    /// A transaction is open, of the previous owner or of this one before it failed: write this, finish the abort, then ask again.
    AbortFirst(TransactionRecord),
}

/// What to do about new partitions of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Addition {
    /// They all are in it already.
    Already,
    /// Write this.
    Write(TransactionRecord),
}

/// What to do about the end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A retry of an end that is done, or an end of nothing.
    Already,
    /// Write this, then the markers, then what [`complete`] says.
    Prepare(TransactionRecord),
}

/// The producer that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// InitProducerId. `expected` is what the client believes to own (version 3 on); `fresh_producer_id` is used if an id is needed.
pub(crate) fn initialize(
    current: Option<&TransactionRecord>,
    expected: Option<Producer>,
    timeout_ms: i32,
    fresh_producer_id: i64,
    now: i64,
) -> Result<Initialization, ErrorCode> {
    let Some(current) = current else {
        return Ok(Initialization::Write(TransactionRecord {
            producer_id: fresh_producer_id,
            producer_epoch: 0,
            last_epoch: -1,
            previous_producer_id: -1,
            timeout_ms,
            phase: Phase::Empty,
            partitions: Default::default(),
            last_update_ms: now,
            start_ms: -1,
            client_version: 0,
        }));
    };
    let is_current = |producer: Producer| {
        producer.id == current.producer_id && producer.epoch == current.producer_epoch
    };
    let is_retry = |producer: Producer| {
        let rotated = producer.id == current.previous_producer_id && current.producer_epoch == 0;
        (producer.id == current.producer_id || rotated)
            && current.last_epoch >= 0
            && producer.epoch == current.last_epoch
    };
    match (current.phase, expected) {
        (Phase::PrepareCommit | Phase::PrepareAbort, _) => Err(ErrorCode::ConcurrentTransactions),
        (Phase::Ongoing, Some(expected)) if !is_current(expected) => Err(ErrorCode::ProducerFenced),
        (Phase::Ongoing, Some(_)) => Ok(Initialization::AbortFirst(raised_abort(current, now))),
        (Phase::Ongoing, None) => Ok(Initialization::AbortFirst(fenced_abort(current, now))),
        (_, Some(expected))
            if is_retry(expected) && current.producer_epoch <= PRODUCER_EPOCH_MAX =>
        {
            Ok(Initialization::Already)
        }
        // A retry whose raised epoch is the one kept for fencing goes on with a fresh producer id.
        (_, Some(expected)) if !is_current(expected) && !is_retry(expected) => {
            Err(ErrorCode::ProducerFenced)
        }
        (_, expected) => {
            let mut next = TransactionRecord {
                timeout_ms,
                phase: Phase::Empty,
                partitions: Default::default(),
                last_update_ms: now,
                start_ms: -1,
                // Without an expected epoch this is a takeover: the previous owner must not pass as a retry.
                last_epoch: expected.map_or(-1, |expected| expected.epoch),
                ..current.clone()
            };
            if current.producer_epoch >= PRODUCER_EPOCH_MAX {
                next.previous_producer_id = current.producer_id;
                next.producer_id = fresh_producer_id;
                next.producer_epoch = 0;
            } else {
                next.producer_epoch = current.producer_epoch + 1;
            }
            Ok(Initialization::Write(next))
        }
    }
}

/// AddPartitionsToTxn, AddOffsetsToTxn, and the implicit additions of the second generation.
pub(crate) fn add_partitions(
    current: &TransactionRecord,
    producer: Producer,
    partitions: &[TopicPartition],
    client_version: i16,
    now: i64,
) -> Result<Addition, ErrorCode> {
    check_owner(current, producer)?;
    match current.phase {
        Phase::PrepareCommit | Phase::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
        Phase::Ongoing
            if partitions
                .iter()
                .all(|one| current.partitions.contains(one)) =>
        {
            Ok(Addition::Already)
        }
        phase => {
            let mut next = current.clone();
            if phase != Phase::Ongoing {
                next.phase = Phase::Ongoing;
                next.start_ms = now;
                next.partitions.clear();
            }
            next.partitions.extend(partitions.iter().cloned());
            next.last_update_ms = now;
            next.client_version = client_version;
            Ok(Addition::Write(next))
        }
    }
}

/// Whether a transactional batch of this producer may go to `partition` now.
pub(crate) fn verify(
    current: &TransactionRecord,
    producer: Producer,
    partition: &TopicPartition,
) -> Result<(), ErrorCode> {
    check_owner(current, producer)?;
    match current.phase {
        Phase::PrepareCommit | Phase::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
        Phase::Ongoing if current.partitions.contains(partition) => Ok(()),
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

/// EndTxn. `raise_epoch` is set for the second generation (version 5 on).
pub(crate) fn end(
    current: &TransactionRecord,
    producer: Producer,
    commit: bool,
    raise_epoch: bool,
    now: i64,
) -> Result<Ending, ErrorCode> {
    let is_retry = raise_epoch && {
        let same_id = producer.id == current.producer_id
            && current.last_epoch >= 0
            && producer.epoch == current.last_epoch
            && producer.epoch + 1 == current.producer_epoch;
        let rotated = producer.id == current.previous_producer_id
            && producer.epoch >= PRODUCER_EPOCH_MAX - 1
            && current.producer_epoch == 0;
        same_id || rotated
    };
    if !is_retry {
        check_owner(current, producer)?;
    }
    match (current.phase, commit) {
        (Phase::Ongoing, _) if is_retry => Err(ErrorCode::ProducerFenced),
        (Phase::Ongoing, _) => Ok(Ending::Prepare(prepared(current, commit, raise_epoch, now))),
        (Phase::PrepareCommit, true) | (Phase::PrepareAbort, false) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        (Phase::PrepareCommit, false) | (Phase::PrepareAbort, true) => {
            Err(ErrorCode::InvalidTxnState)
        }
        (Phase::CompleteCommit, true) | (Phase::CompleteAbort, false)
            if is_retry || !raise_epoch =>
        {
            Ok(Ending::Already)
        }
        // An abort of nothing: in the second generation it still raises the epoch, which fences late writes.
        (Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort, false)
            if raise_epoch && !is_retry =>
        {
            Ok(Ending::Prepare(prepared(current, false, true, now)))
        }
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

/// The state after all markers are written. `fresh_producer_id` is used when the epochs of the id are used up.
pub(crate) fn complete(
    current: &TransactionRecord,
    fresh_producer_id: i64,
    now: i64,
) -> TransactionRecord {
    let mut next = current.clone();
    next.phase = match current.phase {
        Phase::PrepareCommit => Phase::CompleteCommit,
        _ => Phase::CompleteAbort,
    };
    next.partitions.clear();
    next.start_ms = -1;
    next.last_update_ms = now;
    if current.client_version >= 2 && current.producer_epoch >= PRODUCER_EPOCH_MAX {
        next.previous_producer_id = current.producer_id;
        next.producer_id = fresh_producer_id;
        next.producer_epoch = 0;
    }
    next
}

/// Whether [`initialize`] and [`complete`] need a fresh producer id.
pub(crate) fn needs_producer_id(current: Option<&TransactionRecord>) -> bool {
    current.is_none_or(|current| current.producer_epoch >= PRODUCER_EPOCH_MAX)
}

/// The abort of a transaction that has been open for too long.
pub(crate) fn abort_if_expired(current: &TransactionRecord, now: i64) -> Option<TransactionRecord> {
    let expired = current.phase == Phase::Ongoing
        && current
            .start_ms
            .saturating_add(i64::from(current.timeout_ms))
            <= now;
    expired.then(|| raised_abort(current, now))
}

/// What becomes of an id after a power loss: an abort of what is open, or may have been. What was decided stands (`None`): nothing that
/// came after it was there yet.
pub(crate) fn after_power_loss(current: &TransactionRecord, now: i64) -> Option<TransactionRecord> {
    match current.phase {
        Phase::PrepareCommit | Phase::PrepareAbort => None,
        Phase::Ongoing | Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort => {
            Some(raised_abort(current, now))
        }
    }
}

fn check_owner(current: &TransactionRecord, producer: Producer) -> Result<(), ErrorCode> {
    if producer.id != current.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if producer.epoch != current.producer_epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(())
}

fn prepared(
    current: &TransactionRecord,
    commit: bool,
    raise_epoch: bool,
    now: i64,
) -> TransactionRecord {
    let mut next = current.clone();
    next.phase = if commit {
        Phase::PrepareCommit
    } else {
        Phase::PrepareAbort
    };
    next.last_update_ms = now;
    if current.phase != Phase::Ongoing {
        next.partitions.clear();
    }
    if raise_epoch {
        next.last_epoch = current.producer_epoch;
        next.producer_epoch = current.producer_epoch.saturating_add(1);
        next.client_version = 2;
    }
    next
}

/// An abort that the coordinator decides: the epoch rises whatever protocol the client speaks, and its owner may learn the new one.
fn raised_abort(current: &TransactionRecord, now: i64) -> TransactionRecord {
    TransactionRecord {
        client_version: current.client_version,
        ..prepared(current, false, true, now)
    }
}

/// The abort of a takeover: the previous owner must not pass as a retry.
fn fenced_abort(current: &TransactionRecord, now: i64) -> TransactionRecord {
    TransactionRecord {
        last_epoch: -1,
        ..raised_abort(current, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P0: Producer = Producer { id: 7, epoch: 0 };

    fn partition(id: i32) -> TopicPartition {
        TopicPartition::new("t", id)
    }

    fn fresh() -> TransactionRecord {
        match initialize(None, None, 1000, 7, 0).unwrap() {
            Initialization::Write(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn ongoing(version: i16) -> TransactionRecord {
        match add_partitions(&fresh(), P0, &[partition(0)], version, 10).unwrap() {
            Addition::Write(record) => record,
            Addition::Already => panic!("nothing was added"),
        }
    }

    fn prepared_end(
        record: &TransactionRecord,
        producer: Producer,
        commit: bool,
        raise: bool,
    ) -> TransactionRecord {
        match end(record, producer, commit, raise, 20).unwrap() {
            Ending::Prepare(record) => record,
            Ending::Already => panic!("nothing was ended"),
        }
    }

    #[test]
    fn the_first_generation_keeps_its_epoch() {
        let record = ongoing(0);
        let record = complete(&prepared_end(&record, P0, true, false), 8, 30);
        assert_eq!(
            (record.phase, record.producer_epoch),
            (Phase::CompleteCommit, 0)
        );
        assert_eq!(end(&record, P0, true, false, 40), Ok(Ending::Already));
        assert_eq!(
            end(&record, P0, false, false, 40),
            Err(ErrorCode::InvalidTxnState)
        );
    }

    #[test]
    fn the_second_generation_raises_its_epoch_and_fences_late_requests() {
        let record = complete(&prepared_end(&ongoing(2), P0, true, true), 8, 30);
        assert_eq!(record.producer_epoch, 1);
        assert_eq!(
            end(&record, P0, true, true, 40),
            Ok(Ending::Already),
            "a retry"
        );
        assert_eq!(
            end(&record, P0, false, true, 40),
            Err(ErrorCode::InvalidTxnState)
        );
        assert_eq!(
            add_partitions(&record, P0, &[partition(1)], 2, 40),
            Err(ErrorCode::ProducerFenced)
        );
        let next = Producer { id: 7, epoch: 1 };
        let Addition::Write(record) =
            add_partitions(&record, next, &[partition(1)], 2, 40).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            end(&record, P0, true, true, 50),
            Err(ErrorCode::ProducerFenced),
            "the late end"
        );
    }

    #[test]
    fn an_abort_of_nothing_raises_the_epoch_in_the_second_generation_only() {
        let record = prepared_end(&fresh(), P0, false, true);
        assert_eq!(
            (record.phase, record.producer_epoch),
            (Phase::PrepareAbort, 1)
        );
        assert_eq!(
            end(&fresh(), P0, false, false, 0),
            Err(ErrorCode::InvalidTxnState)
        );
    }

    #[test]
    fn a_takeover_aborts_first_and_fences() {
        let record = ongoing(0);
        let Initialization::AbortFirst(aborting) =
            initialize(Some(&record), None, 1000, 8, 20).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (aborting.phase, aborting.producer_epoch),
            (Phase::PrepareAbort, 1)
        );
        assert_eq!(
            initialize(Some(&aborting), None, 1000, 8, 20),
            Err(ErrorCode::ConcurrentTransactions)
        );
        let aborted = complete(&aborting, 8, 30);
        let Initialization::Write(taken) = initialize(Some(&aborted), None, 1000, 8, 30).unwrap()
        else {
            panic!()
        };
        assert_eq!((taken.producer_id, taken.producer_epoch), (7, 2));
        assert_eq!(
            end(&taken, P0, true, false, 40),
            Err(ErrorCode::ProducerFenced)
        );
        assert_eq!(
            initialize(Some(&taken), Some(P0), 1000, 8, 40),
            Err(ErrorCode::ProducerFenced)
        );
    }

    #[test]
    fn a_retry_of_a_bump_gets_the_same_answer() {
        let Initialization::Write(bumped) =
            initialize(Some(&fresh()), Some(P0), 1000, 8, 1).unwrap()
        else {
            panic!()
        };
        assert_eq!(bumped.producer_epoch, 1);
        assert_eq!(
            initialize(Some(&bumped), Some(P0), 1000, 8, 2),
            Ok(Initialization::Already)
        );
    }

    #[test]
    fn used_up_epochs_give_a_new_producer_id() {
        let mut record = fresh();
        record.producer_epoch = PRODUCER_EPOCH_MAX;
        assert!(needs_producer_id(Some(&record)));
        let Initialization::Write(next) = initialize(Some(&record), None, 1000, 8, 1).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (
                next.producer_id,
                next.producer_epoch,
                next.previous_producer_id
            ),
            (8, 0, 7)
        );
    }

    #[test]
    fn a_transaction_expires_at_its_timeout() {
        let record = ongoing(0);
        assert_eq!(abort_if_expired(&record, 1009), None);
        let aborting = abort_if_expired(&record, 1010).unwrap();
        assert_eq!(
            (aborting.phase, aborting.producer_epoch),
            (Phase::PrepareAbort, 1)
        );
        assert_eq!(abort_if_expired(&aborting, 5000), None);
    }

    #[test]
    fn a_producer_goes_on_after_its_transaction_timed_out() {
        let aborted = complete(&abort_if_expired(&ongoing(2), 1010).unwrap(), 8, 1020);
        assert_eq!(
            (aborted.phase, aborted.producer_epoch),
            (Phase::CompleteAbort, 1)
        );
        assert_eq!(
            initialize(Some(&aborted), Some(P0), 1000, 8, 1030),
            Ok(Initialization::Already),
            "epoch 1 is the answer"
        );
        assert_eq!(end(&aborted, P0, false, true, 1030), Ok(Ending::Already));
        assert_eq!(
            end(&aborted, P0, true, true, 1030),
            Err(ErrorCode::InvalidTxnState),
            "what was aborted cannot be committed"
        );
        // Its late frames stay out, and a takeover fences it for good.
        assert_eq!(
            add_partitions(&aborted, P0, &[partition(1)], 2, 1030),
            Err(ErrorCode::ProducerFenced)
        );
        let Initialization::Write(taken) = initialize(Some(&aborted), None, 1000, 8, 1030).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            initialize(Some(&taken), Some(P0), 1000, 8, 1040),
            Err(ErrorCode::ProducerFenced)
        );
    }

    #[test]
    fn after_a_power_loss_no_end_is_taken_for_that_of_the_transaction_before() {
        for client_version in [0, 2] {
            let raises = client_version == 2;
            let committed = prepared_end(&ongoing(client_version), P0, true, raises);
            assert_eq!(after_power_loss(&committed, 30), None, "it is decided");
            let committed = complete(&committed, 8, 30);
            let owner = Producer {
                id: 7,
                epoch: committed.producer_epoch,
            };
            // The owner has begun another one, of which nothing is left.
            let aborting = after_power_loss(&committed, 40).unwrap();
            let aborted = complete(&aborting, 8, 40);
            assert_eq!(aborted.phase, Phase::CompleteAbort);
            let refused = match raises {
                true => ErrorCode::InvalidTxnState,
                false => ErrorCode::ProducerFenced,
            };
            assert_eq!(end(&aborted, owner, true, raises, 50), Err(refused));
            assert_eq!(
                add_partitions(&aborted, owner, &[partition(1)], client_version, 50),
                Err(ErrorCode::ProducerFenced),
                "half of it does not begin once more"
            );
            assert_eq!(
                initialize(Some(&aborted), Some(owner), 1000, 8, 50),
                Ok(Initialization::Already)
            );
        }
        let aborting = after_power_loss(&ongoing(0), 20).unwrap();
        assert_eq!(
            (aborting.phase, aborting.producer_epoch),
            (Phase::PrepareAbort, 1)
        );
        assert_eq!(aborting.partitions.len(), 1);
    }

    #[test]
    fn a_producer_that_begins_anew_gets_the_same_epoch_however_often_it_asks() {
        let Initialization::AbortFirst(aborting) =
            initialize(Some(&ongoing(0)), Some(P0), 1000, 8, 20).unwrap()
        else {
            panic!()
        };
        let aborted = complete(&aborting, 8, 30);
        assert_eq!(aborted.producer_epoch, 1);
        for _ in 0..2 {
            assert_eq!(
                initialize(Some(&aborted), Some(P0), 1000, 8, 40),
                Ok(Initialization::Already)
            );
        }
    }

    #[test]
    fn the_epoch_that_is_kept_for_fencing_is_given_to_nobody() {
        let mut record = ongoing(0);
        record.producer_epoch = PRODUCER_EPOCH_MAX;
        let owner = Producer {
            id: 7,
            epoch: PRODUCER_EPOCH_MAX,
        };
        let aborted = complete(&abort_if_expired(&record, 1010).unwrap(), 8, 1020);
        assert_eq!(aborted.producer_epoch, i16::MAX);
        let Initialization::Write(next) =
            initialize(Some(&aborted), Some(owner), 1000, 8, 1030).unwrap()
        else {
            panic!()
        };
        assert_eq!((next.producer_id, next.producer_epoch), (8, 0));
        assert_eq!(
            initialize(Some(&next), Some(owner), 1000, 9, 1040),
            Ok(Initialization::Already)
        );
    }

    #[test]
    fn only_added_partitions_verify() {
        let record = ongoing(0);
        assert_eq!(verify(&record, P0, &partition(0)), Ok(()));
        assert_eq!(
            verify(&record, P0, &partition(1)),
            Err(ErrorCode::InvalidTxnState)
        );
        let zombie = Producer { id: 7, epoch: -1 };
        assert_eq!(
            verify(&record, zombie, &partition(0)),
            Err(ErrorCode::ProducerFenced)
        );
    }

    #[test]
    fn a_decision_is_never_taken_back() {
        let record = prepared_end(&ongoing(0), P0, true, false);
        assert_eq!(
            end(&record, P0, false, false, 9),
            Err(ErrorCode::InvalidTxnState)
        );
        assert_eq!(
            end(&record, P0, true, false, 9),
            Err(ErrorCode::ConcurrentTransactions)
        );
        assert_eq!(complete(&record, 8, 9).phase, Phase::CompleteCommit);
    }
}
