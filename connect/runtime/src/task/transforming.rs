//! A batch through a task's chain of transforms, tried again as `errors.retry.timeout` says.

use std::sync::Arc;
use std::time::Instant;

use connect_api::{Traced, TransformOutput};

use super::Seat;
use super::backoff::Backoff;
use super::failure::Failure;
use super::lifecycle::Control;
use crate::definition::ErrorSettings;
use crate::transform::Chain;

/// What the chain makes of the records; `None` if the run was told to stop meanwhile.
///
/// # Errors
/// Where the whole batch fails: for good, or for now and for longer than it is to be tried.
pub(super) async fn apply(
    chain: &mut Chain,
    errors: &ErrorSettings,
    seat: &mut Seat,
    mut records: Vec<Traced>,
) -> Result<Option<TransformOutput>, Failure> {
    if chain.is_empty() {
        return Ok(Some(TransformOutput {
            records,
            failures: Vec::new(),
        }));
    }
    let deadline = errors.retry_timeout.map(|timeout| Instant::now() + timeout);
    let mut backoff = Backoff::new(errors.retry_delay_max);
    loop {
        let may_repeat = deadline.is_none_or(|deadline| Instant::now() < deadline);
        let again = may_repeat.then(|| records.clone());
        let applied = {
            let pulse = Arc::clone(&seat.pulse);
            let _call = pulse.call();
            chain.apply(records)
        };
        match (applied, again) {
            (Err(error), Some(again)) if error.retryable() => {
                seat.pause_before_retry("transform", &error, backoff.next())
                    .await;
                if seat.control() == Control::Stop {
                    return Ok(None);
                }
                records = again;
            }
            (applied, _) => {
                seat.recovered();
                return Ok(Some(applied?));
            }
        }
    }
}
