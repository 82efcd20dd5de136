//! How much a client may take: limits by user and client id, and how long one that took more has to wait (KIP-13, KIP-55, KIP-219). PURE.
//!
//! ```text
//!  which limit                                   user u, client c · user u, any client · user u
//!  (the first that there is, for each key)       any user, client c · any user, any client · any user
//!                                                client c · any client
//!  how long    a bucket fills at the limit's rate, up to what comes in a second; a request takes what it cost;
//!              what is missing afterwards is waited for, and until then nothing more of that client is begun, whatever the connection
//! ```
//! A limit of a default (`any …`) holds for each that has none of its own, by itself. Kafka averages over ten seconds instead of one.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Longest wait that a client is told of at once. What it owes beyond that is waited for when its next request comes.
pub(crate) const THROTTLE_MS_MAX: i64 = 3_600_000;

/// What comes in so long may be taken at once.
const BURST_SECONDS: f64 = 1.0;

/// Clients that are remembered; beyond it those that owe nothing are forgotten.
const BUCKETS_MAX: usize = 10_000;

/// What is limited, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuotaKey {
    /// Bytes of produce requests a second.
    ProducerByteRate,
    /// Bytes of fetch responses a second.
    ConsumerByteRate,
    /// Time of one thread, in percent.
    RequestPercentage,
}

impl QuotaKey {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [
        Self::ProducerByteRate,
        Self::ConsumerByteRate,
        Self::RequestPercentage,
    ];

    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
        }
    }

    /// Whether only whole numbers are limits.
    pub(crate) fn is_whole(self) -> bool {
        self != Self::RequestPercentage
    }
}

/// A limit: a number above zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rate(f64);

// It is a number: one that is none is not taken.
impl Eq for Rate {}

impl Rate {
    /// If it is one.
    pub(crate) fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(Self(value))
    }

    /// The number.
    pub(crate) fn value(self) -> f64 {
        self.0
    }
}

/// One of a kind, or whoever has no limits of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whom {
    /// Whoever has none of their own.
    Default,
    /// The one of this name.
    Named(String),
}

/// Whom limits are about; at least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotaEntity {
    /// A user; `None`: whatever the user.
    pub(crate) user: Option<Whom>,
    /// A client id; `None`: whatever the client.
    pub(crate) client: Option<Whom>,
}

/// The limits as of one moment.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    by_entity: HashMap<QuotaEntity, BTreeMap<QuotaKey, Rate>>,
}

/// A limit that holds for a client, and with whom it shares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    rate: Rate,
    key: QuotaKey,
    /// The user and the client id that count together.
    shared_by: (Option<String>, Option<String>),
}

impl Quotas {
    /// Of these.
    pub(crate) fn of(limits: &[(QuotaEntity, BTreeMap<QuotaKey, Rate>)]) -> Self {
        Self {
            by_entity: limits.iter().cloned().collect(),
        }
    }

    /// Whether nobody is limited.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// The limit that holds for this client.
    pub(crate) fn limit(&self, key: QuotaKey, user: &str, client: &str) -> Option<Limit> {
        if self.is_empty() {
            return None;
        }
        let this_user = || Some(Whom::Named(user.to_owned()));
        let this_client = || Some(Whom::Named(client.to_owned()));
        let candidates = [
            (this_user(), this_client()),
            (this_user(), Some(Whom::Default)),
            (this_user(), None),
            (Some(Whom::Default), this_client()),
            (Some(Whom::Default), Some(Whom::Default)),
            (Some(Whom::Default), None),
            (None, this_client()),
            (None, Some(Whom::Default)),
        ];
        candidates.into_iter().find_map(|(of_user, of_client)| {
            let shared_by = (
                of_user.is_some().then(|| user.to_owned()),
                of_client.is_some().then(|| client.to_owned()),
            );
            let entity = QuotaEntity {
                user: of_user,
                client: of_client,
            };
            let rate = *self.by_entity.get(&entity)?.get(&key)?;
            Some(Limit {
                rate,
                key,
                shared_by,
            })
        })
    }
}

type BucketKey = (QuotaKey, (Option<String>, Option<String>));

/// What one client may still take.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at_ms: i64,
}

/// What all clients took lately.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    buckets: Mutex<HashMap<BucketKey, Bucket>>,
}

impl Meters {
    /// Counts what a request cost; returns for how many ms its client is to be held back.
    pub(crate) fn take(&self, limit: Limit, cost: f64, now_ms: i64) -> i64 {
        let rate = limit.rate.value();
        let most = rate * BURST_SECONDS;
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX {
            // What is owed is not forgotten; who owes nothing begins anew with a full bucket, which theirs is or nearly is.
            buckets.retain(|_, bucket| bucket.left < 0.0);
        }
        let bucket = buckets
            .entry((limit.key, limit.shared_by))
            .or_insert(Bucket {
                left: most,
                at_ms: now_ms,
            });
        let seconds = (now_ms - bucket.at_ms).max(0) as f64 / 1000.0;
        bucket.left = (bucket.left + seconds * rate).min(most) - cost;
        bucket.at_ms = bucket.at_ms.max(now_ms);
        owed_ms(bucket.left, rate)
    }

    /// For how many ms the client is still to be held back for what it took before.
    pub(crate) fn owed(&self, limit: &Limit, now_ms: i64) -> i64 {
        let rate = limit.rate.value();
        let buckets = self.buckets.lock();
        let bucket = buckets.get(&(limit.key, limit.shared_by.clone()));
        bucket.map_or(0, |bucket| {
            let seconds = (now_ms - bucket.at_ms).max(0) as f64 / 1000.0;
            owed_ms(bucket.left + seconds * rate, rate)
        })
    }
}

/// How long it takes until as much has come as is missing.
fn owed_ms(left: f64, rate: f64) -> i64 {
    if left >= 0.0 {
        return 0;
    }
    ((-left / rate * 1000.0).ceil() as i64).min(THROTTLE_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<Whom> {
        Some(Whom::Named(name.to_owned()))
    }

    fn quotas(entities: &[(Option<Whom>, Option<Whom>, f64)]) -> Quotas {
        let limits: Vec<_> = entities
            .iter()
            .map(|(user, client, rate)| {
                let entity = QuotaEntity {
                    user: user.clone(),
                    client: client.clone(),
                };
                let rate = Rate::new(*rate).expect("above zero");
                (entity, BTreeMap::from([(QuotaKey::ProducerByteRate, rate)]))
            })
            .collect();
        Quotas::of(&limits)
    }

    #[test]
    fn the_nearest_limit_holds() {
        let all = [
            (named("u"), named("c"), 1.0),
            (named("u"), Some(Whom::Default), 2.0),
            (named("u"), None, 3.0),
            (Some(Whom::Default), named("c"), 4.0),
            (Some(Whom::Default), Some(Whom::Default), 5.0),
            (Some(Whom::Default), None, 6.0),
            (None, named("c"), 7.0),
            (None, Some(Whom::Default), 8.0),
        ];
        for first in 0..all.len() {
            let quotas = quotas(&all[first..]);
            let limit = quotas.limit(QuotaKey::ProducerByteRate, "u", "c");
            assert_eq!(limit.expect("one holds").rate.value(), all[first].2);
            assert_eq!(quotas.limit(QuotaKey::ConsumerByteRate, "u", "c"), None);
        }
        let of_others = quotas(&[(named("u"), None, 3.0)]);
        assert_eq!(of_others.limit(QuotaKey::ProducerByteRate, "v", "c"), None);
    }

    #[test]
    fn who_takes_more_waits_until_it_is_paid() {
        let quotas = quotas(&[(Some(Whom::Default), None, 1000.0)]);
        let meters = Meters::default();
        let take = |user: &str, cost: f64, now_ms: i64| {
            let limit = quotas.limit(QuotaKey::ProducerByteRate, user, "c");
            meters.take(limit.expect("one holds"), cost, now_ms)
        };
        assert_eq!(take("u", 1000.0, 0), 0, "a second's worth at once");
        assert_eq!(take("u", 500.0, 0), 500);
        assert_eq!(take("v", 500.0, 0), 0, "each has their own");
        assert_eq!(take("u", 0.0, 500), 0, "paid by waiting");
        assert_eq!(take("u", 1.0, 500), 1);
        assert_eq!(take("u", 1e10, 500), THROTTLE_MS_MAX);
        assert_eq!(take("u", 0.0, 500 + THROTTLE_MS_MAX), THROTTLE_MS_MAX);
        // A clock that goes back pays nobody.
        assert_eq!(take("v", 1000.0, -5000), 500);
    }

    #[test]
    fn what_is_owed_is_owed_whoever_asks_and_costs_nothing_to_ask() {
        let quotas = quotas(&[(Some(Whom::Default), None, 1000.0)]);
        let meters = Meters::default();
        let limit = |user: &str| {
            let limit = quotas.limit(QuotaKey::ProducerByteRate, user, "c");
            limit.expect("one holds")
        };
        assert_eq!(meters.owed(&limit("u"), 0), 0);
        assert_eq!(meters.take(limit("u"), 6000.0, 0), 5000);
        assert_eq!(meters.owed(&limit("u"), 0), 5000);
        assert_eq!(meters.owed(&limit("u"), 4999), 1);
        assert_eq!(meters.owed(&limit("u"), 5000), 0);
        assert_eq!(meters.owed(&limit("v"), 0), 0);
    }

    #[test]
    fn rates_are_numbers_above_zero() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::new(value), None);
        }
    }
}
