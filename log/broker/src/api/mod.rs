//! One file an API of Kafka's protocol: a request in, a response out. `mod.rs` is the table.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use log_protocol::{ErrorCode, Request, Response};
use uuid::Uuid;

use crate::authorize::{Resource, authorize};
use crate::coordinator::txn::Channel;
use crate::coordinator::txn::state::Producer;
use crate::security::acl::Operation;
use crate::services::Context;
use crate::storage::Partition;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_user_scram_credentials;
mod api_versions;
mod authorized;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
pub(crate) mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
pub(crate) mod produce;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;

/// Answers one request, whatever it came through. JoinGroup, SyncGroup and Fetch may wait; dropping the future gives up the wait, and
/// what was already begun on disk still comes to its end.
pub(crate) async fn handle(ctx: &Context, request: Request) -> Response {
    match request {
        // The two hot ones are not boxed.
        Request::Produce(it) => produce::handle(ctx, it).await.into(),
        Request::Fetch(it) => fetch::handle(ctx, it).await.into(),
        other => Box::pin(dispatch(ctx, other)).await,
    }
}

async fn dispatch(ctx: &Context, request: Request) -> Response {
    match request {
        Request::Produce(it) => produce::handle(ctx, it).await.into(),
        Request::Fetch(it) => fetch::handle(ctx, it).await.into(),
        Request::ListOffsets(it) => list_offsets::handle(ctx, it).await.into(),
        Request::Metadata(it) => metadata::handle(ctx, it).await.into(),
        Request::OffsetCommit(it) => offset_commit::handle(ctx, it).await.into(),
        Request::OffsetFetch(it) => offset_fetch::handle(ctx, it).await.into(),
        Request::FindCoordinator(it) => find_coordinator::handle(ctx, it).into(),
        Request::JoinGroup(it) => join_group::handle(ctx, it).await.into(),
        Request::Heartbeat(it) => heartbeat::handle(ctx, it).into(),
        Request::LeaveGroup(it) => leave_group::handle(ctx, it).into(),
        Request::SyncGroup(it) => sync_group::handle(ctx, it).await.into(),
        Request::DescribeGroups(it) => describe_groups::handle(ctx, it).into(),
        Request::ListGroups(it) => list_groups::handle(ctx, it).into(),
        Request::ApiVersions(it) => api_versions::handle(ctx, it).into(),
        Request::CreateTopics(it) => create_topics::handle(ctx, it).await.into(),
        Request::DeleteTopics(it) => delete_topics::handle(ctx, it).await.into(),
        Request::DeleteRecords(it) => delete_records::handle(ctx, it).await.into(),
        Request::InitProducerId(it) => init_producer_id::handle(ctx, it).await.into(),
        Request::OffsetForLeaderEpoch(it) => offset_for_leader_epoch::handle(ctx, it).into(),
        Request::AddPartitionsToTxn(it) => add_partitions_to_txn::handle(ctx, it).await.into(),
        Request::AddOffsetsToTxn(it) => add_offsets_to_txn::handle(ctx, it).await.into(),
        Request::EndTxn(it) => end_txn::handle(ctx, it).await.into(),
        Request::TxnOffsetCommit(it) => txn_offset_commit::handle(ctx, it).await.into(),
        Request::DescribeConfigs(it) => describe_configs::handle(ctx, it).into(),
        Request::AlterConfigs(it) => alter_configs::handle(ctx, it).await.into(),
        Request::CreatePartitions(it) => create_partitions::handle(ctx, it).await.into(),
        Request::DeleteGroups(it) => delete_groups::handle(ctx, it).await.into(),
        Request::IncrementalAlterConfigs(it) => {
            incremental_alter_configs::handle(ctx, it).await.into()
        }
        Request::OffsetDelete(it) => offset_delete::handle(ctx, it).await.into(),
        Request::ElectLeaders(it) => elect_leaders::handle(ctx, it).into(),
        Request::AlterPartitionReassignments(it) => {
            alter_partition_reassignments::handle(ctx, it).into()
        }
        Request::ListPartitionReassignments(it) => {
            list_partition_reassignments::handle(ctx, it).into()
        }
        Request::DescribeQuorum(it) => describe_quorum::handle(ctx, it).into(),
        Request::UpdateFeatures(it) => update_features::handle(ctx, it).into(),
        Request::UnregisterBroker(it) => unregister_broker::handle(ctx, it).into(),
        Request::AlterClientQuotas(it) => alter_client_quotas::handle(ctx, it).await.into(),
        Request::AlterUserScramCredentials(it) => {
            alter_user_scram_credentials::handle(ctx, it).await.into()
        }
        Request::CreateAcls(it) => create_acls::handle(ctx, it).await.into(),
        Request::DeleteAcls(it) => delete_acls::handle(ctx, it).await.into(),
        Request::DescribeAcls(it) => describe_acls::handle(ctx, it).into(),
        Request::DescribeClientQuotas(it) => describe_client_quotas::handle(ctx, it).into(),
        Request::DescribeLogDirs(it) => describe_log_dirs::handle(ctx, it).await.into(),
        Request::DescribeProducers(it) => describe_producers::handle(ctx, it).into(),
        Request::DescribeTopicPartitions(it) => describe_topic_partitions::handle(ctx, it).into(),
        Request::DescribeTransactions(it) => describe_transactions::handle(ctx, it).into(),
        Request::DescribeUserScramCredentials(it) => {
            describe_user_scram_credentials::handle(ctx, it).into()
        }
        Request::ListConfigResources(it) => list_config_resources::handle(ctx, it).into(),
        Request::ListTransactions(it) => list_transactions::handle(ctx, it).into(),
        Request::SaslAuthenticate(it) => sasl_authenticate::handle(ctx, it).into(),
        Request::SaslHandshake(it) => sasl_handshake::handle(ctx, it).into(),
        Request::DescribeCluster(it) => describe_cluster::handle(ctx, it).into(),
    }
}

/// Whether the producer that speaks in this request has gone on over a newer connection: the request was held up on its way and belongs to
/// an earlier transaction.
pub(crate) fn is_left_behind(ctx: &Context, request: &Request) -> bool {
    let producer = |id, epoch| Producer { id, epoch };
    let (id, producer, channel) = match request {
        Request::Produce(it) => match (&it.transactional_id, produce::transactional_producer(it)) {
            (Some(id), Some(producer)) => (id, producer, Channel::Records),
            _ => return false,
        },
        // From version 4 on brokers speak for producers of others.
        Request::AddPartitionsToTxn(it) if ctx.api_version < 4 => (
            &it.v3_and_below_transactional_id,
            producer(it.v3_and_below_producer_id, it.v3_and_below_producer_epoch),
            Channel::Transaction,
        ),
        Request::AddOffsetsToTxn(it) => (
            &it.transactional_id,
            producer(it.producer_id, it.producer_epoch),
            Channel::Transaction,
        ),
        Request::EndTxn(it) => (
            &it.transactional_id,
            producer(it.producer_id, it.producer_epoch),
            Channel::Transaction,
        ),
        Request::TxnOffsetCommit(it) => (
            &it.transactional_id,
            producer(it.producer_id, it.producer_epoch),
            Channel::Offsets,
        ),
        _ => return false,
    };
    // Who may not use the id is refused by the handler; here it would speak for its owner.
    if !authorize(ctx, Operation::Write, Resource::TransactionalId(id)) {
        return false;
    }
    let transactions = &ctx.services.transactions;
    !transactions.may_hear(id, producer, channel, ctx.connection)
}

/// `isolation_level` of Fetch and ListOffsets: 1 = read_committed.
pub(crate) fn is_read_committed(isolation_level: i8) -> bool {
    isolation_level == 1
}

/// Compares the leader epoch that a client knows, −1 if it does not say, with the partition's (KIP-320).
pub(crate) fn check_leader_epoch(known: i32, current: i32) -> Result<(), ErrorCode> {
    match known {
        known if known < 0 || known == current => Ok(()),
        known if known < current => Err(ErrorCode::FencedLeaderEpoch),
        _ => Err(ErrorCode::UnknownLeaderEpoch),
    }
}

/// The same where only −1 means that the client does not say.
pub(crate) fn check_leader_epoch_or_none(known: i32, current: i32) -> Result<(), ErrorCode> {
    match known {
        -1 => Ok(()),
        known if known < current => Err(ErrorCode::FencedLeaderEpoch),
        known => check_leader_epoch(known, current),
    }
}

/// Names of one request, some of which may come more than once.
pub(crate) struct Repeated<T> {
    /// How often each comes; none once it was answered.
    counts: HashMap<T, usize>,
}

impl<T: Eq + Hash> Repeated<T> {
    /// Of these names.
    pub(crate) fn of(names: impl Iterator<Item = T>) -> Self {
        let mut counts = HashMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        Self { counts }
    }

    /// Whether the name comes more than once.
    pub(crate) fn is_repeated(&self, name: &T) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 1)
    }

    /// Whether the name comes again; `None` if it was asked for before. Who asks answers it once.
    pub(crate) fn first_time(&mut self, name: &T) -> Option<bool> {
        self.counts.remove(name).map(|count| count > 1)
    }
}

/// What an answer has told. What a request names again is told again, as Kafka does, but only so often: an answer may be a thousand times as
/// long as a name.
pub(crate) struct Answered<T> {
    once: HashSet<T>,
    repeats_left: usize,
}

/// How many names of one request are answered that were answered before.
const REPEATS_MAX: usize = 100;

impl<T> Default for Answered<T> {
    fn default() -> Self {
        Self {
            once: HashSet::new(),
            repeats_left: REPEATS_MAX,
        }
    }
}

impl<T: Eq + Hash> Answered<T> {
    /// Whether there is still an answer to this name; counts it.
    pub(crate) fn may_answer(&mut self, name: T) -> bool {
        if self.once.insert(name) {
            return true;
        }
        let may = self.repeats_left > 0;
        self.repeats_left = self.repeats_left.saturating_sub(1);
        may
    }
}

/// The partition, if the request has not named it before.
pub(crate) fn once(
    named: &mut HashSet<(Uuid, i32)>,
    topic: Uuid,
    partition: Arc<Partition>,
) -> Result<Arc<Partition>, ErrorCode> {
    if named.insert((topic, partition.id().partition)) {
        Ok(partition)
    } else {
        Err(ErrorCode::InvalidRequest)
    }
}

/// Whether it can be the name of a group that has members.
pub(crate) fn check_group_id(group_id: &str) -> Result<(), ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    Ok(())
}

/// Whether a change of topics may take any time at all: what waits for the controller in Kafka is given up without.
pub(crate) fn check_time(timeout_ms: i32) -> Result<(), (ErrorCode, String)> {
    if timeout_ms > 0 {
        return Ok(());
    }
    let message = format!("there is no time for it in {timeout_ms} ms");
    Err((ErrorCode::RequestTimedOut, message))
}

/// Runs what waits for the disk on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorCode> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ErrorCode::UnknownServerError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_answered_again_but_not_for_ever() {
        let mut answered = Answered::default();
        let asked = (0..1000).filter(|_| answered.may_answer("same"));
        assert_eq!(asked.count(), 1 + REPEATS_MAX);
        assert!(answered.may_answer("another"));
    }
}
