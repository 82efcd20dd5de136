//! DescribeLogDirs (key 35): how much each partition takes in the only folder there is, and how large its disk is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use log_protocol::ErrorCode;
use log_protocol::api::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribedLogDir, LogDirPartition, LogDirTopic,
};

use super::blocking;
use crate::authorize::{Resource, require};
use crate::quorum::Topic;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(
    ctx: &Context,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if let Err(error_code) = require(ctx, Operation::Describe, Resource::Cluster) {
        return DescribeLogDirsResponse {
            error_code,
            ..DescribeLogDirsResponse::default()
        };
    }
    let topics = match request.topics {
        None => {
            let all = ctx.services.topics.list();
            all.iter().map(|topic| described(topic, None)).collect()
        }
        Some(asked) => {
            let mut wanted: HashMap<String, HashSet<i32>> = HashMap::new();
            for one in asked {
                wanted.entry(one.topic).or_default().extend(one.partitions);
            }
            let topics = wanted.iter().filter_map(|(name, partitions)| {
                let topic: Arc<Topic> = ctx.services.topics.get(name)?;
                Some(described(&topic, Some(partitions)))
            });
            // Of what there is nothing here is not told.
            let topics = topics.filter(|topic| !topic.partitions.is_empty());
            topics.collect()
        }
    };
    let folder = ctx.services.config.data_dir.clone();
    let log_dir = folder.display().to_string();
    let sizes = blocking(move || rustix::fs::statvfs(&folder)).await;
    let (total_bytes, usable_bytes) = match sizes {
        Ok(Ok(disk)) => {
            let bytes = |blocks: u64| {
                i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX)
            };
            (bytes(disk.f_blocks), bytes(disk.f_bavail))
        }
        _ => (-1, -1),
    };
    DescribeLogDirsResponse {
        results: vec![DescribedLogDir {
            error_code: ErrorCode::None,
            log_dir,
            topics,
            total_bytes,
            usable_bytes,
            is_cordoned: false,
        }],
        ..DescribeLogDirsResponse::default()
    }
}

fn described(topic: &Topic, wanted: Option<&HashSet<i32>>) -> LogDirTopic {
    let partitions = topic.all().into_iter().filter(|partition| {
        let index = partition.id().partition;
        wanted.is_none_or(|wanted| wanted.contains(&index))
    });
    LogDirTopic {
        name: topic.name().to_string(),
        partitions: partitions
            .map(|partition| LogDirPartition {
                partition_index: partition.id().partition,
                partition_size: i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX),
                ..LogDirPartition::default()
            })
            .collect(),
    }
}
