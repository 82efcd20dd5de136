//! `thalweg group`: consumer groups of any Kafka-compatible cluster: how far they are, and where they go on.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use bytes::{Buf, Bytes};
use clap::{Args, Subcommand};
use log_api::{Admin, Log, OffsetSpec, TopicPartition};
use log_protocol::api::delete_groups::DeleteGroupsRequest;
use log_protocol::api::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use log_protocol::api::list_groups::{ListGroupsRequest, ListedGroup};
use log_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use log_protocol::api::offset_fetch::OffsetFetchRequest;
use log_protocol::{ErrorCode, Response};
use serde_json::json;

use crate::cluster::{Cluster, ClusterArgs, refused, unknown};
use crate::config;
use crate::place::Place;
use crate::screen::{confirmed, line};
use crate::shell::Listing;
use crate::start;
use crate::topic::Output;

/// Arguments of `thalweg group`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg group list
  thalweg group describe billing
  thalweg group reset billing --topic orders --to earliest
  thalweg group reset billing --topic orders:0 --to 2024-05-01T10:00:00Z --dry-run")]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How to print
    #[arg(long, short = 'o', value_enum, default_value = "table", global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List groups
    List,
    /// Show where a group is in each partition, how far behind, and who reads it
    Describe {
        /// Its name
        name: String,
    },
    /// Let a group without members go on from another place
    Reset {
        /// Its name
        name: String,
        /// A topic, or one partition of it (may be repeated); without it, all that the group has read
        #[arg(long = "topic", value_name = "TOPIC[:PARTITION]")]
        topics: Vec<String>,
        /// earliest, latest, an offset, or a time (2024-05-01T10:00:00Z, or 2h for two hours ago)
        #[arg(long)]
        to: Place,
        /// Only show where it would go on
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Forget groups without members, and their offsets
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: GroupArgs) -> Result<()> {
    start::log_to_stderr();
    let GroupArgs {
        command,
        cluster: args,
        output,
    } = args;
    start::runtime()?.block_on(async move {
        let mut cluster = args.cluster().await?;
        match command {
            GroupCommand::List => list(&cluster, output).await,
            GroupCommand::Describe { name } => describe(&args, &mut cluster, output, &name).await,
            GroupCommand::Reset {
                name,
                topics,
                to,
                dry_run,
                yes,
            } => {
                let reset = Reset {
                    group: &name,
                    topics: &topics,
                    to,
                };
                reset.run(&args, &mut cluster, dry_run, yes).await
            }
            GroupCommand::Delete { names, yes } => delete(&mut cluster, names, yes).await,
        }
    })
}

async fn groups(cluster: &Cluster) -> Result<Vec<ListedGroup>> {
    let mut groups = Vec::new();
    for mut broker in cluster.all().await? {
        let Response::ListGroups(listed) = broker.call(ListGroupsRequest::default(), 5).await?
        else {
            bail!(broker.wrong_answer());
        };
        refused("groups", listed.error_code, None)?;
        groups.extend(listed.groups);
    }
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    Ok(groups)
}

async fn list(cluster: &Cluster, output: Output) -> Result<()> {
    let groups = groups(cluster).await?;
    if output == Output::Json {
        for group in groups {
            line(json!({
                "name": group.group_id,
                "state": group.group_state,
                "protocol": group.protocol_type,
            }))?;
        }
        return Ok(());
    }
    let mut rows = Listing::new(&["group", "state", "protocol"]);
    for group in groups {
        rows.add_row([group.group_id, group.group_state, group.protocol_type]);
    }
    line(rows)
}

/// Where a group is in one partition.
struct Position {
    partition: TopicPartition,
    committed: i64,
    end: Option<i64>,
    member: String,
}

async fn described(cluster: &mut Cluster, name: &str) -> Result<DescribedGroup> {
    let mut coordinator = cluster.coordinator(name).await?;
    let request = DescribeGroupsRequest {
        groups: vec![name.to_owned()],
        include_authorized_operations: false,
    };
    let Response::DescribeGroups(answer) = coordinator.call(request, 6).await? else {
        bail!(coordinator.wrong_answer());
    };
    let Some(group) = answer.groups.into_iter().next() else {
        bail!(coordinator.wrong_answer());
    };
    // A group that never was is "Dead" to older brokers.
    if group.error_code == ErrorCode::GroupIdNotFound || group.group_state == "Dead" {
        let known = groups(cluster).await?;
        let known = known.iter().map(|group| group.group_id.as_str());
        return Err(unknown("group", name, known, "group list"));
    }
    refused(
        &format!("group {name}"),
        group.error_code,
        group.error_message.clone(),
    )?;
    Ok(group)
}

/// The offsets that a group has committed.
async fn committed(cluster: &mut Cluster, name: &str) -> Result<Vec<(TopicPartition, i64)>> {
    let mut coordinator = cluster.coordinator(name).await?;
    let request = OffsetFetchRequest {
        group_id: name.to_owned(),
        topics: None,
        ..OffsetFetchRequest::default()
    };
    // From version 8 on an answer is about many groups.
    let Response::OffsetFetch(answer) = coordinator.call(request, 7).await? else {
        bail!(coordinator.wrong_answer());
    };
    refused(&format!("group {name}"), answer.error_code, None)?;
    let mut offsets = Vec::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
            refused(&format!("partition {at}"), partition.error_code, None)?;
            if partition.committed_offset >= 0 {
                offsets.push((at, partition.committed_offset));
            }
        }
    }
    offsets.sort();
    Ok(offsets)
}

async fn describe(
    args: &ClusterArgs,
    cluster: &mut Cluster,
    output: Output,
    name: &str,
) -> Result<()> {
    let group = described(cluster, name).await?;
    let mut readers = BTreeMap::new();
    for member in &group.members {
        let who = format!("{} at {}", member.client_id, member.client_host);
        for partition in assigned(member.member_assignment.clone()) {
            readers.insert(partition, who.clone());
        }
    }
    let offsets = committed(cluster, name).await?;
    let admin = args.connect().await?.admin();
    let mut positions = Vec::new();
    for (partition, committed) in offsets {
        // Of a topic that was deleted the offset stays for a while.
        let end = admin.offset(&partition, OffsetSpec::Latest).await.ok();
        positions.push(Position {
            member: readers.remove(&partition).unwrap_or_default(),
            partition,
            committed,
            end,
        });
    }
    for (partition, member) in readers {
        let end = admin.offset(&partition, OffsetSpec::Latest).await.ok();
        positions.push(Position {
            partition,
            committed: -1,
            end,
            member,
        });
    }
    print(&group, &positions, output)
}

fn print(group: &DescribedGroup, positions: &[Position], output: Output) -> Result<()> {
    let lag = |at: &Position| at.end.map(|end| (end - at.committed.max(0)).max(0));
    let offset = |at: &Position| (at.committed >= 0).then_some(at.committed);
    if output == Output::Json {
        let partitions: Vec<_> = positions
            .iter()
            .map(|at| {
                json!({
                    "topic": &*at.partition.topic,
                    "partition": at.partition.partition,
                    "offset": offset(at),
                    "end": at.end,
                    "lag": lag(at),
                    "member": at.member,
                })
            })
            .collect();
        return line(json!({
            "name": group.group_id,
            "state": group.group_state,
            "members": group.members.len(),
            "partitions": partitions,
        }));
    }
    let text = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut rows = Listing::new(&["topic", "partition", "offset", "end", "lag", "member"]);
    for at in positions {
        rows.add_row([
            at.partition.topic.to_string(),
            at.partition.partition.to_string(),
            text(offset(at)),
            text(at.end),
            text(lag(at)),
            at.member.clone(),
        ]);
    }
    let members = crate::topic::counted(
        i64::try_from(group.members.len()).unwrap_or(i64::MAX),
        "member",
    );
    line(format!(
        "group {}: {}, {members}\n{rows}",
        group.group_id, group.group_state
    ))
}

/// Partitions in a member's assignment, which clients write among themselves: i16 version, then topics with their
/// partitions (ConsumerProtocolAssignment). Of another kind of group, or cut short: none.
fn assigned(mut bytes: Bytes) -> Vec<TopicPartition> {
    let mut read = || -> Option<Vec<TopicPartition>> {
        bytes.try_get_i16().ok()?;
        let mut partitions = Vec::new();
        for _ in 0..bytes.try_get_i32().ok()? {
            let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
            if length > bytes.len() {
                return None;
            }
            let name = bytes.split_to(length);
            let name = std::str::from_utf8(&name).ok()?.to_owned();
            for _ in 0..bytes.try_get_i32().ok()? {
                let partition = bytes.try_get_i32().ok()?;
                partitions.push(TopicPartition::new(name.as_str(), partition));
            }
        }
        Some(partitions)
    };
    read().unwrap_or_default()
}

/// A group is to go on elsewhere.
struct Reset<'a> {
    group: &'a str,
    topics: &'a [String],
    to: Place,
}

impl Reset<'_> {
    async fn run(
        &self,
        args: &ClusterArgs,
        cluster: &mut Cluster,
        dry_run: bool,
        yes: bool,
    ) -> Result<()> {
        let before: BTreeMap<TopicPartition, i64> =
            committed(cluster, self.group).await?.into_iter().collect();
        let known = groups(cluster).await?;
        let known = || known.iter().map(|group| group.group_id.as_str());
        let is_new = !known().any(|name| name == self.group);
        let near = config::nearest(self.group, known()).filter(|_| is_new);
        let admin = args.connect().await?.admin();
        let partitions = self.partitions(cluster, admin.as_ref(), &before).await?;
        let mut offsets = Vec::with_capacity(partitions.len());
        let mut rows = Listing::new(&["topic", "partition", "offset", "new offset"]);
        for partition in partitions {
            let offset = self.to.offset(admin.as_ref(), &partition).await?;
            let now = before
                .get(&partition)
                .map_or_else(|| "-".to_owned(), i64::to_string);
            rows.add_row([
                partition.topic.to_string(),
                partition.partition.to_string(),
                now,
                offset.to_string(),
            ]);
            offsets.push((partition, offset));
        }
        // Whoever does not read on still gets what was asked for.
        let said = line(rows);
        if dry_run {
            return said.and_then(|()| line("nothing was changed (--dry-run)"));
        }
        let group = self.group;
        let meant = near.map_or_else(String::new, |near| format!(" (is {near} meant?)"));
        let question = match is_new {
            true => format!("There is no group {group} yet{meant}. Make it, to begin there?"),
            false => format!("Let group {group} go on there?"),
        };
        if !confirmed(&question, yes)? {
            bail!("nothing was changed");
        }
        commit(cluster, group, offsets).await?;
        let done = match is_new {
            true => format!("group {group} is new{meant} and begins there"),
            false => format!("group {group} goes on there"),
        };
        said.and_then(|()| line(done))
    }

    /// The partitions that were named, in order; all that the group has read where none was.
    async fn partitions(
        &self,
        cluster: &Cluster,
        admin: &dyn Admin,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Vec<TopicPartition>> {
        if self.topics.is_empty() {
            if before.is_empty() {
                bail!(
                    "group {} has no offsets; name a topic with --topic",
                    self.group
                );
            }
            return Ok(before.keys().cloned().collect());
        }
        let mut partitions = Vec::new();
        for named in self.topics {
            let (topic, only) = match named.rsplit_once(':') {
                Some((topic, partition)) => {
                    let Ok(partition) = partition.parse::<i32>() else {
                        bail!(
                            "--topic {named}: expected TOPIC or TOPIC:PARTITION, for example orders:0"
                        );
                    };
                    (topic, Some(partition))
                }
                None => (named.as_str(), None),
            };
            let Some(described) = admin.describe_topic(topic).await? else {
                return Err(cluster.unknown_topic(topic));
            };
            let count = described.partitions;
            match only {
                Some(partition) if !(0..count).contains(&partition) => {
                    bail!("topic {topic} has {count} partitions, 0 to {}", count - 1);
                }
                Some(partition) => partitions.push(TopicPartition::new(topic, partition)),
                None => partitions.extend((0..count).map(|at| TopicPartition::new(topic, at))),
            }
        }
        partitions.sort();
        partitions.dedup();
        Ok(partitions)
    }
}

async fn commit(
    cluster: &mut Cluster,
    group: &str,
    offsets: Vec<(TopicPartition, i64)>,
) -> Result<()> {
    let mut topics: BTreeMap<String, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, offset) in offsets {
        let of_topic = topics.entry(partition.topic.to_string()).or_default();
        of_topic.push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset,
            committed_metadata: Some(String::new()),
            ..OffsetCommitRequestPartition::default()
        });
    }
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name,
                partitions,
                ..OffsetCommitRequestTopic::default()
            })
            .collect(),
        ..OffsetCommitRequest::default()
    };
    let mut coordinator = cluster.coordinator(group).await?;
    // From version 10 on topics are named by their ids.
    let Response::OffsetCommit(answer) = coordinator.call(request, 9).await? else {
        bail!(coordinator.wrong_answer());
    };
    for topic in answer.topics {
        for partition in topic.partitions {
            // This is how a coordinator says that it has members.
            if partition.error_code == ErrorCode::UnknownMemberId {
                bail!("group {group} has members; stop its consumers first");
            }
            let what = format!("partition {}-{}", topic.name, partition.partition_index);
            refused(&what, partition.error_code, None)?;
        }
    }
    Ok(())
}

async fn delete(cluster: &mut Cluster, names: Vec<String>, yes: bool) -> Result<()> {
    let known = groups(cluster).await?;
    for name in &names {
        if !known.iter().any(|group| group.group_id == *name) {
            let known = known.iter().map(|group| group.group_id.as_str());
            return Err(unknown("group", name, known, "group list"));
        }
    }
    if !confirmed(
        &format!("Delete {} and its offsets?", names.join(", ")),
        yes,
    )? {
        bail!("nothing was deleted");
    }
    let mut said = Ok(());
    for name in names {
        let mut coordinator = cluster.coordinator(&name).await?;
        let request = DeleteGroupsRequest {
            groups_names: vec![name.clone()],
        };
        let Response::DeleteGroups(answer) = coordinator.call(request, 2).await? else {
            bail!(coordinator.wrong_answer());
        };
        for result in answer.results {
            if result.error_code == ErrorCode::NonEmptyGroup {
                bail!("group {name} has members; stop its consumers first");
            }
            refused(&format!("group {name}"), result.error_code, None)?;
        }
        said = said.and_then(|()| line(format!("deleted group {name}")));
    }
    said
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn assignments_are_read_and_foreign_ones_are_none() {
        let mut bytes = bytes::BytesMut::new();
        bytes.put_i16(1);
        bytes.put_i32(1);
        bytes.put_i16(6);
        bytes.put_slice(b"orders");
        bytes.put_i32(2);
        bytes.put_i32(0);
        bytes.put_i32(3);
        bytes.put_i32(-1);
        let whole = bytes.freeze();
        let expected = [0, 3].map(|partition| TopicPartition::new("orders", partition));
        assert_eq!(assigned(whole.clone()), expected);
        for length in 0..whole.len() - 4 {
            assert!(assigned(whole.slice(..length)).is_empty(), "{length} bytes");
        }
        assert!(assigned(Bytes::from_static(b"\0\x01\x7f\xff\xff\xff\x7f\xff")).is_empty());
    }
}
