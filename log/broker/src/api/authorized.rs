//! What a client may do with a thing, as bits of Kafka's `AclOperation` (KIP-430): all that there is to do with it where no rules of access
//! are looked at, and what the rules allow where they are.

use crate::authorize::{Resource, authorize};
use crate::security::acl::Operation::{
    self, Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs,
    IdempotentWrite, Read, Write,
};
use crate::services::Context;

const OF_TOPICS: [Operation; 8] = [
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    DescribeConfigs,
    AlterConfigs,
];

const OF_GROUPS: [Operation; 5] = [Read, Delete, Describe, DescribeConfigs, AlterConfigs];

const OF_CLUSTER: [Operation; 7] = [
    Create,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
];

/// Nobody asked.
const NOT_ASKED: i32 = i32::MIN;

/// With a topic.
pub(crate) fn topic(ctx: &Context, asked: bool, name: &str) -> i32 {
    told(asked, || bits(ctx, &OF_TOPICS, Resource::Topic(name)))
}

/// With a group.
pub(crate) fn group(ctx: &Context, asked: bool, name: &str) -> i32 {
    told(asked, || bits(ctx, &OF_GROUPS, Resource::Group(name)))
}

/// With the cluster; nothing is told to those who may not see it.
pub(crate) fn cluster(ctx: &Context, asked: bool) -> i32 {
    told(asked, || {
        if authorize(ctx, Describe, Resource::Cluster) {
            bits(ctx, &OF_CLUSTER, Resource::Cluster)
        } else {
            0
        }
    })
}

fn told(asked: bool, operations: impl FnOnce() -> i32) -> i32 {
    if asked { operations() } else { NOT_ASKED }
}

fn bits(ctx: &Context, operations: &[Operation], resource: Resource<'_>) -> i32 {
    let allowed = operations
        .iter()
        .filter(|operation| authorize(ctx, **operation, resource));
    sum(allowed)
}

fn sum<'a>(operations: impl Iterator<Item = &'a Operation>) -> i32 {
    operations.fold(0, |bits, operation| bits | 1 << *operation as i8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_that_kafka_without_an_authorizer_tells() {
        let all = [
            sum(OF_TOPICS.iter()),
            sum(OF_CLUSTER.iter()),
            sum(OF_GROUPS.iter()),
        ];
        assert_eq!(all, [3576, 8096, 3400]);
    }
}
