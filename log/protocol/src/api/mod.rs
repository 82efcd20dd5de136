//! The APIs: which exist, in which versions, and their requests and responses.
//!
//! One file an API, each a description in the form that `message.rs` explains; the table at the end ties them together.

#[macro_use]
pub(crate) mod message;

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod unregister_broker;
pub mod update_features;

use crate::primitive::{DecodeError, Reader, Writer};

impl ApiKey {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether that version can be read and written.
    pub fn supports(self, version: i16) -> bool {
        let (min, max) = self.versions();
        (min..=max).contains(&version)
    }

    /// The range to tell clients. It is that of [`versions`](Self::versions), but for Produce, whose versions 0–2 are advertised and refused: librdkafka before
    /// 2.8 does not compress otherwise (KAFKA-18659).
    pub fn advertised_versions(self) -> (i16, i16) {
        let (min, max) = self.versions();
        if self == Self::Produce {
            (0, max)
        } else {
            (min, max)
        }
    }

    /// Whether that version has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The version of a request's header: 2 from the first flexible version on, before that 1.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of a response's header: 1 from the first flexible version on, before that, and for ApiVersions always, 0.
    pub fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && self != Self::ApiVersions {
            1
        } else {
            0
        }
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

message! {
    apis {
        /// Append record batches.
        Produce = 0: produce::{ProduceRequest, ProduceResponse},
        /// Read record batches.
        Fetch = 1: fetch::{FetchRequest, FetchResponse},
        /// Find the offset for a time.
        ListOffsets = 2: list_offsets::{ListOffsetsRequest, ListOffsetsResponse},
        /// Learn of brokers, topics and leaders.
        Metadata = 3: metadata::{MetadataRequest, MetadataResponse},
        /// Store a group's offsets.
        OffsetCommit = 8: offset_commit::{OffsetCommitRequest, OffsetCommitResponse},
        /// Read a group's offsets.
        OffsetFetch = 9: offset_fetch::{OffsetFetchRequest, OffsetFetchResponse},
        /// Find who keeps a group or a transaction.
        FindCoordinator = 10: find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse},
        /// Enter a round of the classic group protocol.
        JoinGroup = 11: join_group::{JoinGroupRequest, JoinGroupResponse},
        /// Stay in a group.
        Heartbeat = 12: heartbeat::{HeartbeatRequest, HeartbeatResponse},
        /// Leave a group.
        LeaveGroup = 13: leave_group::{LeaveGroupRequest, LeaveGroupResponse},
        /// Hand out a generation's assignment.
        SyncGroup = 14: sync_group::{SyncGroupRequest, SyncGroupResponse},
        /// Describe groups and their members.
        DescribeGroups = 15: describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse},
        /// List a broker's groups.
        ListGroups = 16: list_groups::{ListGroupsRequest, ListGroupsResponse},
        /// Agree on how to say who one is.
        SaslHandshake = 17: sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse},
        /// Learn which APIs a broker speaks.
        ApiVersions = 18: api_versions::{ApiVersionsRequest, ApiVersionsResponse},
        /// Make topics.
        CreateTopics = 19: create_topics::{CreateTopicsRequest, CreateTopicsResponse},
        /// Remove topics.
        DeleteTopics = 20: delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse},
        /// Move the start of a partition.
        DeleteRecords = 21: delete_records::{DeleteRecordsRequest, DeleteRecordsResponse},
        /// Become an idempotent or transactional producer.
        InitProducerId = 22: init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
        /// Find where a leader epoch ended.
        OffsetForLeaderEpoch = 23: offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse},
        /// Take partitions into a transaction.
        AddPartitionsToTxn = 24: add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse},
        /// Take a group's offsets into a transaction.
        AddOffsetsToTxn = 25: add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse},
        /// Commit or abort a transaction.
        EndTxn = 26: end_txn::{EndTxnRequest, EndTxnResponse},
        /// Store a group's offsets in a transaction.
        TxnOffsetCommit = 28: txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse},
        /// Read rules of access.
        DescribeAcls = 29: describe_acls::{DescribeAclsRequest, DescribeAclsResponse},
        /// Add rules of access.
        CreateAcls = 30: create_acls::{CreateAclsRequest, CreateAclsResponse},
        /// Remove rules of access.
        DeleteAcls = 31: delete_acls::{DeleteAclsRequest, DeleteAclsResponse},
        /// Read configurations.
        DescribeConfigs = 32: describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse},
        /// Replace configurations.
        AlterConfigs = 33: alter_configs::{AlterConfigsRequest, AlterConfigsResponse},
        /// Learn what folders hold.
        DescribeLogDirs = 35: describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse},
        /// Say who one is.
        SaslAuthenticate = 36: sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse},
        /// Give topics more partitions.
        CreatePartitions = 37: create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse},
        /// Remove empty groups.
        DeleteGroups = 42: delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse},
        /// Have partitions led by another replica.
        ElectLeaders = 43: elect_leaders::{ElectLeadersRequest, ElectLeadersResponse},
        /// Change single keys of configurations.
        IncrementalAlterConfigs = 44: incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse},
        /// Move partitions to other brokers.
        AlterPartitionReassignments = 45: alter_partition_reassignments::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse},
        /// Learn which partitions are being moved.
        ListPartitionReassignments = 46: list_partition_reassignments::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse},
        /// Forget a group's offsets.
        OffsetDelete = 47: offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse},
        /// Read quotas.
        DescribeClientQuotas = 48: describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse},
        /// Change quotas.
        AlterClientQuotas = 49: alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse},
        /// Learn who has a password.
        DescribeUserScramCredentials = 50: describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse},
        /// Change passwords.
        AlterUserScramCredentials = 51: alter_user_scram_credentials::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse},
        /// Learn who keeps the metadata.
        DescribeQuorum = 55: describe_quorum::{DescribeQuorumRequest, DescribeQuorumResponse},
        /// Change what the cluster has agreed to speak.
        UpdateFeatures = 57: update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse},
        /// Learn of the brokers of a cluster.
        DescribeCluster = 60: describe_cluster::{DescribeClusterRequest, DescribeClusterResponse},
        /// Learn who writes to partitions.
        DescribeProducers = 61: describe_producers::{DescribeProducersRequest, DescribeProducersResponse},
        /// Take a broker out of the cluster.
        UnregisterBroker = 64: unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse},
        /// Learn the state of transactions.
        DescribeTransactions = 65: describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse},
        /// Learn which transactions there are.
        ListTransactions = 66: list_transactions::{ListTransactionsRequest, ListTransactionsResponse},
        /// Learn what has configs.
        ListConfigResources = 74: list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse},
        /// Learn of topics, page by page.
        DescribeTopicPartitions = 75: describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse},
    }
}

#[cfg(test)]
mod tests;
