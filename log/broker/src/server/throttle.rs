//! What a request costs its client, against the client's quotas.
//!
//! ```text
//!  produce_byte_rate    bytes of the request        consumer_byte_rate   bytes of records in the answer
//!  request_percentage   time that threads worked on it: waits, for records or for the disk, are not its fault
//! ```
//! What a client took too much is waited for twice: on the connection that took it, after its answer; and on every connection of the same
//! client, before a request of the same kind is begun. Otherwise many connections, or new ones, would take more than one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

use log_protocol::api::fetch::FetchResponse;
use log_protocol::{ApiKey, Response};

use crate::clock::steady_ms;
use crate::security::quota::QuotaKey;
use crate::services::Context;

/// Runs `work`, and measures how long it is worked on.
pub(super) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = pin!(work);
    let mut spent = Duration::ZERO;
    let done = poll_fn(|cx| {
        let began = Instant::now();
        let polled = work.as_mut().poll(cx);
        spent += began.elapsed();
        polled
    })
    .await;
    (done, spent)
}

/// Counts what was asked and answered; returns for how many ms the client is to be held back.
pub(super) fn charge(
    ctx: &Context,
    produced_bytes: Option<usize>,
    response: &Response,
    spent: Duration,
) -> i64 {
    let security = ctx.services.topics.security();
    if security.quotas.is_empty() {
        return 0;
    }
    let now = steady_ms();
    let take = |key, cost: f64| {
        let limit = security
            .quotas
            .limit(key, ctx.principal.name(), &ctx.client_id);
        limit.map_or(0, |limit| ctx.services.access.meters.take(limit, cost, now))
    };
    let of_bytes = match (produced_bytes, response) {
        (Some(bytes), _) => take(QuotaKey::ProducerByteRate, bytes as f64),
        (None, Response::Fetch(fetched)) => {
            take(QuotaKey::ConsumerByteRate, record_bytes(fetched) as f64)
        }
        _ => 0,
    };
    // Percent of a second.
    let of_time = take(QuotaKey::RequestPercentage, spent.as_secs_f64() * 100.0);
    of_bytes.max(of_time)
}

/// For how many ms a request of this api and client is not to be begun, for what the client took before.
pub(super) fn owed(ctx: &Context, api: i16, client_id: &str) -> i64 {
    let security = ctx.services.topics.security();
    if security.quotas.is_empty() {
        return 0;
    }
    let of_bytes = match ApiKey::from_code(api) {
        Some(ApiKey::Produce) => Some(QuotaKey::ProducerByteRate),
        Some(ApiKey::Fetch) => Some(QuotaKey::ConsumerByteRate),
        _ => None,
    };
    let now = steady_ms();
    let keys = of_bytes.into_iter().chain([QuotaKey::RequestPercentage]);
    let limits = keys.filter_map(|key| security.quotas.limit(key, ctx.principal.name(), client_id));
    let owed = limits.map(|limit| ctx.services.access.meters.owed(&limit, now));
    owed.max().unwrap_or(0)
}

fn record_bytes(fetched: &FetchResponse) -> usize {
    let topics = fetched.responses.iter();
    let partitions = topics.flat_map(|topic| &topic.partitions);
    let records = partitions.filter_map(|partition| partition.records.as_ref());
    records.map(log_protocol::Payload::len).sum()
}
