//! Keys that are not declared: those of Debezium's connector that have no effect here, and those whose names are of the user's making.

use connect_api::Undeclared;

use super::SELECT_PREFIX;

/// Keys of Debezium's connector that have no effect here; a task that starts with one says so.
const UNSUPPORTED: &[&str] = &[
    "connection.validation.timeout.ms",
    "converters",
    "custom.metric.tags",
    "custom.sanitize.pattern",
    "database.initial.statements",
    "database.query.timeout.ms",
    "database.sslfactory",
    "database.sslpassword",
    "database.tcpKeepAlive",
    "errors.max.retries",
    "event.processing.failure.handling.mode",
    "executor.shutdown.timeout.ms",
    "field.name.adjustment.mode",
    "flush.lsn.source",
    "guardrail.collections.limit.action",
    "guardrail.collections.max",
    "include.schema.comments",
    "incremental.snapshot.allow.schema.changes",
    "incremental.snapshot.watermarking.strategy",
    "lsn.flush.mode",
    "lsn.flush.timeout.action",
    "lsn.flush.timeout.ms",
    "max.queue.size",
    "max.queue.size.in.bytes",
    "legacy.snapshot.max.threads",
    "memory.management.schemas.class",
    "memory.management.tables.class",
    "notification.enabled.channels",
    "notification.sink.topic.name",
    "poll.interval.ms",
    "post.processors",
    "provide.offset.backlog.metrics",
    "query.fetch.size",
    "read.only",
    "replica.identity.autoset.values",
    "retriable.restart.connector.wait.ms",
    "sanitize.field.names",
    "schema.name.adjustment.mode",
    "schema.refresh.mode",
    "signal.kafka.bootstrap.servers",
    "signal.kafka.groupId",
    "signal.kafka.poll.timeout.ms",
    "signal.poll.interval.ms",
    "slot.failover",
    "slot.max.retries",
    "slot.retry.delay.ms",
    "snapshot.delay.ms",
    "snapshot.fetch.size",
    "snapshot.isolation.mode",
    "snapshot.lock.timeout.ms",
    "snapshot.locking.mode",
    "snapshot.locking.mode.custom.name",
    "snapshot.max.threads.multiplier",
    "snapshot.mode.custom.name",
    "snapshot.query.mode",
    "snapshot.query.mode.custom.name",
    "snapshot.tables.order.by.row.count",
    "sourceinfo.struct.maker",
    "statistics.metrics.enabled",
    "status.update.interval.ms",
    "streaming.delay.ms",
    "table.ignore.builtin",
    "topic.cache.size",
    "topic.delimiter",
    "topic.naming.strategy",
    "transaction.metadata.factory",
    "xmin.fetch.interval.ms",
];

/// Prefixes of keys that would hide data: to pass over them would publish what was to be hidden.
pub(super) const HIDING: &[&str] = &["column.mask.", "column.truncate."];

/// Prefixes of names of which Debezium's connector has many, without effect here too.
const UNSUPPORTED_PREFIXES: &[&str] = &[
    "column.propagate.",
    "datatype.propagate.",
    "driver.",
    "internal.",
    "notification.",
    "openlineage.",
    "post.processors.",
    "schema.history.",
    "signal.consumer.",
    "snapshot.mode.configuration.based.",
];

/// What becomes of a key that is not declared.
pub(in crate::source) fn undeclared(key: &str) -> Undeclared {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if begins(HIDING) || key.starts_with(SELECT_PREFIX) {
        Undeclared::Read
    } else if UNSUPPORTED.contains(&key) || begins(UNSUPPORTED_PREFIXES) {
        Undeclared::WithoutEffect
    } else {
        Undeclared::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::super::def;
    use super::*;

    #[test]
    fn keys_without_effect_are_known_and_are_none_of_ours() {
        for (key, expected) in [
            ("max.queue.size", Undeclared::WithoutEffect),
            ("driver.socketTimeout", Undeclared::WithoutEffect),
            ("column.mask.with.3.chars", Undeclared::Read),
            (
                "snapshot.select.statement.overrides.public.t",
                Undeclared::Read,
            ),
            ("slot.nmae", Undeclared::Unknown),
        ] {
            assert_eq!(undeclared(key), expected, "{key}");
        }
        for key in def().keys() {
            assert_eq!(undeclared(&key.name), Undeclared::Unknown, "{}", key.name);
        }
    }
}
