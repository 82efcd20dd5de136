//! What a client may do with a thing, as bits of Kafka's `AclOperation` (KIP-430). Nobody is kept from anything here, so that is all that
//! there is to do with it, as Kafka without an authorizer says.

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// Nobody asked.
const NOT_ASKED: i32 = i32::MIN;

/// With a topic.
pub(crate) fn topic(asked: bool) -> i32 {
    let operations =
        READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
    if asked { operations } else { NOT_ASKED }
}

/// With the cluster.
pub(crate) fn cluster(asked: bool) -> i32 {
    let operations = CREATE
        | ALTER
        | DESCRIBE
        | CLUSTER_ACTION
        | DESCRIBE_CONFIGS
        | ALTER_CONFIGS
        | IDEMPOTENT_WRITE;
    if asked { operations } else { NOT_ASKED }
}

/// With a group.
pub(crate) fn group(asked: bool) -> i32 {
    let operations = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
    if asked { operations } else { NOT_ASKED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_that_kafka_without_an_authorizer_tells() {
        assert_eq!(
            (topic(true), cluster(true), group(true)),
            (3576, 8096, 3400)
        );
        assert_eq!(topic(false), i32::MIN);
    }
}
