//! What is new after restarts anywhere, what is acknowledged and when, and what a quiet stream does.

use super::*;

/// A committed transaction: id, positions of its changes, where its commit record begins and ends.
struct Transaction {
    xid: u32,
    changes: Vec<u64>,
    commit: (u64, u64),
}

fn log() -> Vec<Transaction> {
    let transaction = |xid, changes: &[u64], commit| Transaction {
        xid,
        changes: changes.to_vec(),
        commit,
    };
    vec![
        // Rows of one COPY share their position.
        transaction(7, &[10, 12, 12, 12, 14], (20, 24)),
        // Began before the first ended.
        transaction(5, &[11, 13, 30], (40, 44)),
        transaction(9, &[50], (60, 64)),
        transaction(10, &[52, 54], (70, 74)),
    ]
}

/// Streams what the server sends from `progress.start()` on, at most `most` messages; returns the new changes as
/// (xid, number within the transaction) and the position behind each.
fn stream(progress: &mut Progress, most: usize) -> Vec<(u32, usize, Position)> {
    let mut new = Vec::new();
    let mut sent = 0;
    for transaction in log() {
        // The server passes over what was committed before the start.
        if Lsn(transaction.commit.0) < progress.acknowledged() {
            continue;
        }
        let mut next = || {
            sent += 1;
            sent <= most
        };
        if !next() {
            return new;
        }
        progress.begin(Lsn(transaction.commit.0), transaction.xid);
        for (number, lsn) in transaction.changes.iter().enumerate() {
            if !next() {
                return new;
            }
            if progress.event(Lsn(*lsn)) == Verdict::New {
                new.push((transaction.xid, number, progress.position()));
            }
        }
        if !next() {
            return new;
        }
        progress.commit(Lsn(transaction.commit.1));
    }
    new
}

/// A stream that resumes at a position that is in the log.
fn resumed(position: Position, now_ms: u64) -> Progress {
    Progress::new(position, position.end, now_ms)
}

fn all() -> Vec<(u32, usize)> {
    let mut progress = resumed(Position::default(), 0);
    names(&stream(&mut progress, usize::MAX))
}

fn names(changes: &[(u32, usize, Position)]) -> Vec<(u32, usize)> {
    changes
        .iter()
        .map(|(xid, number, _)| (*xid, *number))
        .collect()
}

#[test]
fn a_restart_behind_any_message_hands_out_the_rest_and_nothing_twice() {
    let expected = all();
    assert_eq!(expected.len(), 11);
    for cut in 0..20 {
        for again in 0..20 {
            // A new task with the position that went out with the last record, twice.
            let mut seen = Vec::new();
            let mut position = Position::default();
            for most in [cut, again, usize::MAX] {
                let mut progress = resumed(position, 0);
                let new = stream(&mut progress, most);
                seen.extend(names(&new));
                position = new.last().map_or(position, |(_, _, behind)| *behind);
            }
            assert_eq!(seen, expected, "cut after {cut}, then after {again}");
        }
    }
}

#[test]
fn a_reconnect_behind_any_message_hands_out_the_rest_and_nothing_twice() {
    let expected = all();
    for cut in 0..20 {
        let mut progress = resumed(Position::default(), 0);
        let new = stream(&mut progress, cut);
        let mut seen = names(&new);
        if let Some((_, _, behind)) = new.last() {
            progress.offered(*behind, 0);
        }
        progress.reconnect();
        seen.extend(names(&stream(&mut progress, usize::MAX)));
        assert_eq!(seen, expected, "cut after {cut}");
    }
}

#[test]
fn the_offset_of_debezium_tells_only_the_position_of_the_change() {
    let mut progress = resumed(
        Position {
            end: Lsn(24),
            inside: Some(Inside {
                xid: 5,
                lsn: Lsn(13),
                messages: None,
            }),
        },
        0,
    );
    assert_eq!(
        names(&stream(&mut progress, usize::MAX)),
        [(5, 2), (9, 0), (10, 0), (10, 1)]
    );
}

#[test]
fn only_what_is_stored_is_acknowledged() {
    let mut progress = resumed(Position::default(), 0);
    stream(&mut progress, usize::MAX);
    progress.keepalive(Lsn(90));
    assert_eq!(progress.acknowledged(), Lsn(0));
    assert_eq!(progress.committed(Lsn(24)), Lsn(24));
    // A later answer about an earlier commit takes nothing back.
    assert_eq!(progress.committed(Lsn(0)), Lsn(24));
    assert_eq!(progress.acknowledged(), Lsn(24));
}

#[test]
fn a_stream_that_resumes_ahead_of_the_log_acknowledges_only_what_the_log_has() {
    let ahead = Position {
        end: Lsn(44),
        inside: None,
    };
    let mut progress = Progress::new(ahead, Lsn(24), 0);
    assert_eq!(progress.start(), Lsn(44));
    assert_eq!(progress.acknowledged(), Lsn(24));
    progress.reconnect();
    assert_eq!(progress.acknowledged(), Lsn(24));
    assert_eq!(progress.committed(Lsn(44)), Lsn(44));
    // A slot that was made anew begins behind what an earlier one had acknowledged.
    let progress = Progress::new(ahead, Lsn(90), 0);
    assert_eq!(progress.acknowledged(), Lsn(44));
}

#[test]
fn a_quiet_stream_moves_only_between_transactions_and_not_too_often() {
    let mut progress = resumed(Position::default(), 0);
    progress.keepalive(Lsn(100));
    assert_eq!(progress.quiet(QUIET_MS - 1), None);
    let moved = progress.quiet(QUIET_MS).unwrap();
    assert_eq!(moved.end, Lsn(100));
    assert_eq!(progress.acknowledged(), Lsn(0), "it is not stored yet");
    assert_eq!(progress.committed(moved.end), Lsn(100));
    assert_eq!(progress.quiet(9 * QUIET_MS), None, "it did not move");

    progress.begin(Lsn(150), 3);
    progress.keepalive(Lsn(140));
    assert_eq!(progress.position().end, Lsn(100), "a transaction is open");
    progress.event(Lsn(120));
    progress.offered(progress.position(), 9 * QUIET_MS);
    assert_eq!(progress.quiet(99 * QUIET_MS), None, "a transaction is open");
    progress.commit(Lsn(160));
    // Its records went out: the end of the transaction is due at once.
    assert_eq!(
        progress.quiet(9 * QUIET_MS),
        Some(Position {
            end: Lsn(160),
            inside: None
        })
    );
}

#[test]
fn a_keepalive_does_not_forget_the_transaction_that_is_to_come_again() {
    let half = Position {
        end: Lsn(24),
        inside: Some(Inside {
            xid: 5,
            lsn: Lsn(13),
            messages: Some(3),
        }),
    };
    let mut progress = resumed(half, 0);
    progress.keepalive(Lsn(35));
    assert_eq!(progress.position(), half, "it is not quiet yet");
    assert_eq!(progress.quiet(QUIET_MS).unwrap().end, Lsn(35));
    let mut progress = resumed(progress.position(), 0);
    assert_eq!(
        names(&stream(&mut progress, usize::MAX)),
        [(5, 2), (9, 0), (10, 0), (10, 1)]
    );
}

#[test]
fn messages_outside_of_transactions_come_once() {
    let mut progress = resumed(
        Position {
            end: Lsn(10),
            inside: None,
        },
        0,
    );
    assert_eq!(progress.lone(Lsn(9)), Verdict::Known);
    assert_eq!(progress.lone(Lsn(10)), Verdict::New);
    let mut again = resumed(progress.position(), 0);
    assert_eq!(again.lone(Lsn(10)), Verdict::Known);
    assert_eq!(again.lone(Lsn(11)), Verdict::New);
}
