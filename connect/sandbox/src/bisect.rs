//! Finds the rows of a batch on which a guest fails, by halving.
//!
//! ```text
//! 0..8 fails ─┬ 0..4 works
//!             └ 4..8 fails ─┬ 4..6 fails ─┬ 4..5 works
//!                           │             └ 5..6 fails: row 5 is poison
//!                           └ 6..8 works
//! ```
//!
//! Only for calls without memory between them. One poison row costs about 2·log2(rows) calls; a panic and a new instance take some
//! 50 µs. A part of a batch gets its share of the deadline (at least a sixteenth), so an endless loop is found within about four
//! deadlines instead of one a level. A single row always gets the whole deadline: none is called poison for being slow among others.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::CallError;

/// The search ends after this many deadlines, whatever is left.
const DEADLINES_MAX: u32 = 8;
/// Smallest share of the deadline.
const SHARE_MIN: u32 = 16;

/// How a call on a part of a batch ended.
pub(crate) struct Attempt<T> {
    pub(crate) result: Result<T, CallError>,
    /// The instance had done nothing before, so that the failure is not an earlier call's.
    pub(crate) fresh: bool,
}

/// What the parts of a batch gave, in order.
pub(crate) struct Parts<T> {
    /// Rows and result of each call that worked; ascending, without overlap.
    pub(crate) done: Vec<(Range<usize>, T)>,
    /// Rows that fail by themselves; ascending.
    pub(crate) poison: Vec<(usize, CallError)>,
}

/// Runs `call` on all `rows`, and on ever smaller parts where it traps.
///
/// # Errors
/// The first failure that is no trap; [`CallError::TooManyTraps`] when the search takes too long.
pub(crate) fn run<T>(
    callee: &str,
    rows: Range<usize>,
    deadline: Duration,
    mut call: impl FnMut(Range<usize>, Duration) -> Attempt<T>,
) -> Result<Parts<T>, CallError> {
    let started = Instant::now();
    let mut parts = Parts {
        done: Vec::new(),
        poison: Vec::new(),
    };
    let total = rows.len();
    // The first part is on top.
    let mut waiting = vec![rows];
    while let Some(part) = waiting.pop() {
        let attempt = call(part.clone(), share(deadline, part.len(), total));
        let error = match attempt.result {
            Ok(value) => {
                parts.done.push((part, value));
                continue;
            }
            Err(error) if error.is_trap() => error,
            Err(error) => return Err(error),
        };
        let retry = !attempt.fresh && !matches!(error, CallError::Deadline { .. });
        if part.len() > 1 {
            let middle = part.start + part.len() / 2;
            waiting.push(middle..part.end);
            waiting.push(part.start..middle);
        } else if retry {
            // The next call has a new instance.
            waiting.push(part);
        } else {
            parts.poison.push((part.start, error.clone()));
        }
        let spent = started.elapsed();
        if !waiting.is_empty() && spent > deadline * DEADLINES_MAX {
            return Err(CallError::TooManyTraps {
                callee: callee.to_owned(),
                failed: parts.poison.len(),
                rows: total,
                spent,
                last: Box::new(error),
            });
        }
    }
    Ok(parts)
}

fn share(deadline: Duration, rows: usize, total: usize) -> Duration {
    if rows == 1 || rows == total {
        return deadline;
    }
    deadline
        .mul_f64(rows as f64 / total as f64)
        .max(deadline / SHARE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(1);

    fn trap() -> CallError {
        CallError::Trap {
            callee: "f".to_owned(),
            reason: "boom".to_owned(),
        }
    }

    /// Runs a guest that traps on `poison` over `rows` rows; the parts that worked, the rows found, and the number of calls.
    fn search(rows: usize, poison: &[usize]) -> (Vec<Range<usize>>, Vec<usize>, usize) {
        let mut calls = 0;
        let parts = run("f", 0..rows, DEADLINE, |part, _| {
            calls += 1;
            let fails = poison.iter().any(|row| part.contains(row));
            Attempt {
                result: if fails { Err(trap()) } else { Ok(()) },
                fresh: true,
            }
        })
        .unwrap();
        let done = parts.done.into_iter().map(|(part, ())| part).collect();
        (
            done,
            parts.poison.into_iter().map(|(row, _)| row).collect(),
            calls,
        )
    }

    #[test]
    fn every_row_is_done_or_poison() {
        for poison in [&[][..], &[0], &[999], &[3, 4, 500], &[7, 8]] {
            let (done, found, _) = search(1000, poison);
            assert_eq!(found, poison);
            let mut rows: Vec<usize> = done.into_iter().flatten().chain(found).collect();
            rows.sort_unstable();
            assert_eq!(rows, (0..1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_poison_row_costs_two_calls_a_level() {
        assert_eq!(search(1024, &[77]).2, 21);
    }

    #[test]
    fn a_trap_of_a_used_instance_is_tried_again() {
        let mut calls = 0;
        let parts = run("f", 0..1, DEADLINE, |_, _| {
            calls += 1;
            if calls == 1 {
                Attempt {
                    result: Err(trap()),
                    fresh: false,
                }
            } else {
                Attempt {
                    result: Ok(()),
                    fresh: true,
                }
            }
        })
        .unwrap();
        assert_eq!((calls, parts.done.len(), parts.poison.len()), (2, 1, 0));
    }

    #[test]
    fn a_fault_ends_the_search() {
        let result = run("f", 0..8, DEADLINE, |_, _| Attempt::<()> {
            result: Err(CallError::Fatal {
                callee: "f".to_owned(),
                message: "no".to_owned(),
            }),
            fresh: true,
        });
        assert!(matches!(result, Err(CallError::Fatal { .. })));
    }

    #[test]
    fn parts_get_a_share_and_single_rows_all() {
        assert_eq!(share(DEADLINE, 1024, 1024), DEADLINE);
        assert_eq!(share(DEADLINE, 512, 1024), DEADLINE / 2);
        assert_eq!(share(DEADLINE, 2, 1024), DEADLINE / 16);
        assert_eq!(share(DEADLINE, 1, 1024), DEADLINE);
    }

    #[test]
    fn a_search_that_takes_too_long_is_given_up() {
        let result = run("f", 0..1024, Duration::ZERO, |_, _| Attempt::<()> {
            result: Err(trap()),
            fresh: true,
        });
        assert!(matches!(
            result,
            Err(CallError::TooManyTraps { rows: 1024, .. })
        ));
    }
}
