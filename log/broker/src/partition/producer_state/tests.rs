//! Producer state, event by event.

use log_protocol::{BatchBuilder, Compression, ProducerStamp, control_batch};

use super::*;

fn header(
    id: i64,
    epoch: i16,
    sequence: i32,
    records: i32,
    offset: i64,
    transactional: bool,
) -> BatchHeader {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.append(1000 + offset, None, Some(b"v"), &[]);
    }
    let stamp = ProducerStamp {
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        transactional,
    };
    let mut header = BatchHeader::parse(&builder.build(stamp)).expect("built");
    header.base_offset = offset;
    header
}

fn marker(id: i64, epoch: i16, offset: i64, kind: ControlKind) -> BatchHeader {
    let mut header = BatchHeader::parse(&control_batch(kind, id, epoch, 3, 2000)).expect("built");
    header.base_offset = offset;
    header
}

fn check(states: &ProducerStates, header: &BatchHeader) -> Result<SequenceCheck, SequenceError> {
    states.check(header, AppendOrigin::Client)
}

#[test]
fn a_duplicate_in_the_window_answers_its_first_offset() {
    let mut states = ProducerStates::default();
    for n in 0..6 {
        let batch = header(1, 0, n * 2, 2, i64::from(n) * 10, false);
        assert_eq!(check(&states, &batch), Ok(SequenceCheck::Fresh));
        states.apply(&batch);
    }
    let repeated = check(&states, &header(1, 0, 2, 2, 999, false));
    assert!(matches!(
        repeated,
        Ok(SequenceCheck::Duplicate {
            base_offset: 10,
            last_offset: 11,
            ..
        })
    ));
    // The first of six left the window: not a duplicate any more, and not in order.
    assert!(check(&states, &header(1, 0, 0, 2, 999, false)).is_err());
}

#[test]
fn gaps_and_old_epochs_are_refused_and_a_new_epoch_starts_at_zero() {
    let mut states = ProducerStates::default();
    // Without state any sequence is taken (KIP-360)…
    states.apply(&header(1, 3, 40, 2, 0, false));
    assert!(check(&states, &header(1, 3, 43, 1, 2, false)).is_err());
    assert_eq!(
        check(&states, &header(1, 3, 42, 1, 2, false)),
        Ok(SequenceCheck::Fresh)
    );
    let old = check(&states, &header(1, 2, 0, 1, 2, false));
    assert_eq!(
        old,
        Err(SequenceError::OldEpoch {
            producer_id: 1,
            found: 2,
            current: 3
        })
    );
    assert!(check(&states, &header(1, 4, 7, 1, 2, false)).is_err());
    assert_eq!(
        check(&states, &header(1, 4, 0, 1, 2, false)),
        Ok(SequenceCheck::Fresh)
    );
    // …but a transaction of version 2 without state starts at 0.
    let late = header(9, 0, 4, 1, 2, true);
    assert!(
        states
            .check(&late, AppendOrigin::ClientTransactionV2)
            .is_err()
    );
    assert_eq!(
        states.check(&late, AppendOrigin::Client),
        Ok(SequenceCheck::Fresh)
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let mut states = ProducerStates::default();
    states.apply(&header(1, 0, i32::MAX, 1, 0, false));
    assert_eq!(
        check(&states, &header(1, 0, 0, 1, 1, false)),
        Ok(SequenceCheck::Fresh)
    );
    let mut states = ProducerStates::default();
    states.apply(&header(1, 0, i32::MAX, 2, 0, false));
    assert_eq!(
        check(&states, &header(1, 0, 1, 1, 2, false)),
        Ok(SequenceCheck::Fresh)
    );
}

#[test]
fn transactions_open_and_end() {
    let mut states = ProducerStates::default();
    states.apply(&header(1, 0, 0, 1, 5, true));
    states.apply(&header(2, 0, 0, 1, 6, true));
    states.apply(&header(1, 0, 1, 1, 7, true));
    assert_eq!(states.first_open(), Some(5));
    assert_eq!(
        check(&states, &header(1, 0, 2, 1, 8, false)),
        Err(SequenceError::OpenTransaction { producer_id: 1 })
    );
    let done = states.apply_marker(&marker(1, 1, 8, ControlKind::Abort), ControlKind::Abort, 3);
    let range = AbortedTransaction {
        producer_id: 1,
        first_offset: 5,
        last_offset: 8,
    };
    assert_eq!(
        done,
        Some(CompletedTransaction {
            kind: ControlKind::Abort,
            range
        })
    );
    assert_eq!(states.first_open(), Some(6));
    assert!(states.has_open(2) && !states.has_open(1));
    // The marker raised the epoch (KIP-890): the late batch of the old one is fenced, the new one counts from 0.
    assert!(matches!(
        check(&states, &header(1, 0, 2, 1, 9, true)),
        Err(SequenceError::OldEpoch { .. })
    ));
    assert!(check(&states, &header(1, 1, 2, 1, 9, true)).is_err());
    assert_eq!(
        check(&states, &header(1, 1, 0, 1, 9, true)),
        Ok(SequenceCheck::Fresh)
    );
    assert!(matches!(
        states.check_marker(1, 1, 2),
        Err(MarkerError::OldCoordinator { .. })
    ));
    assert!(matches!(
        states.check_marker(1, 0, 3),
        Err(MarkerError::OldEpoch { .. })
    ));
    assert_eq!(states.check_marker(1, 1, 3), Ok(()));
    assert_eq!(
        states.apply_marker(&marker(1, 1, 9, ControlKind::Abort), ControlKind::Abort, 3),
        None
    );
}

#[test]
fn a_snapshot_restores_the_state_and_refuses_garbage() {
    let mut states = ProducerStates::default();
    states.apply(&header(1, 0, 0, 3, 0, false));
    states.apply(&header(4, 2, 7, 1, 3, true));
    let mut bytes = Vec::new();
    states.encode(&mut bytes);
    assert_eq!(ProducerStates::decode(&mut bytes.as_slice()), Some(states));
    for cut in 0..bytes.len() {
        assert_eq!(ProducerStates::decode(&mut &bytes[..cut]), None);
    }
}

#[test]
fn silent_producers_expire_but_not_inside_a_transaction() {
    let mut states = ProducerStates::default();
    states.apply(&header(1, 0, 0, 1, 0, false));
    states.apply(&header(2, 0, 0, 1, 1, true));
    states.expire(5000);
    assert!(!states.has_open(1));
    assert_eq!(states.summaries().len(), 1);
    assert!(states.has_open(2));
}
