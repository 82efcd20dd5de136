//! Kafka's error codes: number, name, message, and whether a client should try again.
//!
//! Numbers and meaning follow `org.apache.kafka.common.protocol.Errors` of Kafka 4.3. Codes are contiguous from -1, so one table indexed by `code + 1` holds all.

use std::fmt;

/// What a broker says about a request or a part of it.
///
/// [`ErrorCode::None`] is success. A number that this version does not know reads as [`ErrorCode::UnknownServerError`], as in Kafka's own clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(i16)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The server experienced an unexpected error when processing the request.
    UnknownServerError = -1,
    #[default]
    /// No error.
    None = 0,
    /// The requested offset is not within the range of offsets maintained by the server.
    OffsetOutOfRange = 1,
    /// The message failed its CRC check, exceeds the valid size, has no key in a compacted topic, or is otherwise corrupt.
    CorruptMessage = 2,
    /// This server does not host this topic-partition.
    UnknownTopicOrPartition = 3,
    /// The requested fetch size is invalid.
    InvalidFetchSize = 4,
    /// The partition has no leader: an election is under way.
    LeaderNotAvailable = 5,
    /// This broker is not the current leader of the partition, or not a replica of it.
    NotLeaderOrFollower = 6,
    /// The request timed out.
    RequestTimedOut = 7,
    /// The broker is not available.
    BrokerNotAvailable = 8,
    /// The replica is not available for the requested topic-partition.
    ReplicaNotAvailable = 9,
    /// The request included a message larger than the max message size the server will accept.
    MessageTooLarge = 10,
    /// The controller moved to another broker.
    StaleControllerEpoch = 11,
    /// The metadata field of the offset request was too large.
    OffsetMetadataTooLarge = 12,
    /// The server disconnected before a response was received.
    NetworkException = 13,
    /// The coordinator is loading and hence can't process requests.
    CoordinatorLoadInProgress = 14,
    /// The coordinator is not available.
    CoordinatorNotAvailable = 15,
    /// This is not the correct coordinator.
    NotCoordinator = 16,
    /// The request attempted to perform an operation on an invalid topic.
    InvalidTopicException = 17,
    /// The request included message batch larger than the configured segment size on the server.
    RecordListTooLarge = 18,
    /// Messages are rejected since there are fewer in-sync replicas than required.
    NotEnoughReplicas = 19,
    /// Messages are written to the log, but to fewer in-sync replicas than required.
    NotEnoughReplicasAfterAppend = 20,
    /// Produce request specified an invalid value for required acks.
    InvalidRequiredAcks = 21,
    /// Specified group generation id is not valid.
    IllegalGeneration = 22,
    /// The member's protocols do not agree with those of the group's members, or it brought no protocol.
    InconsistentGroupProtocol = 23,
    /// The configured groupId is invalid.
    InvalidGroupId = 24,
    /// The coordinator is not aware of this member.
    UnknownMemberId = 25,
    /// The session timeout is outside group.min.session.timeout.ms..group.max.session.timeout.ms.
    InvalidSessionTimeout = 26,
    /// The group is rebalancing, so a rejoin is needed.
    RebalanceInProgress = 27,
    /// The committing offset data size is not valid.
    InvalidCommitOffsetSize = 28,
    /// Topic authorization failed.
    TopicAuthorizationFailed = 29,
    /// Group authorization failed.
    GroupAuthorizationFailed = 30,
    /// Cluster authorization failed.
    ClusterAuthorizationFailed = 31,
    /// The timestamp of the message is out of acceptable range.
    InvalidTimestamp = 32,
    /// The broker does not support the requested SASL mechanism.
    UnsupportedSaslMechanism = 33,
    /// Request is not valid given the current SASL state.
    IllegalSaslState = 34,
    /// The version of API is not supported.
    UnsupportedVersion = 35,
    /// Topic with this name already exists.
    TopicAlreadyExists = 36,
    /// Number of partitions is below 1.
    InvalidPartitions = 37,
    /// Replication factor is below 1 or larger than the number of available brokers.
    InvalidReplicationFactor = 38,
    /// Replica assignment is invalid.
    InvalidReplicaAssignment = 39,
    /// Configuration is invalid.
    InvalidConfig = 40,
    /// This is not the correct controller for this cluster.
    NotController = 41,
    /// The request is malformed or was sent to an incompatible broker.
    InvalidRequest = 42,
    /// The message format version on the broker does not support the request.
    UnsupportedForMessageFormat = 43,
    /// Request parameters do not satisfy the configured policy.
    PolicyViolation = 44,
    /// The broker received an out of order sequence number.
    OutOfOrderSequenceNumber = 45,
    /// The broker received a duplicate sequence number.
    DuplicateSequenceNumber = 46,
    /// Producer attempted to produce with an old epoch.
    InvalidProducerEpoch = 47,
    /// The producer attempted a transactional operation in an invalid state.
    InvalidTxnState = 48,
    /// The producer used a producer id that is not assigned to its transactional id.
    InvalidProducerIdMapping = 49,
    /// The transaction timeout is larger than transaction.max.timeout.ms.
    InvalidTransactionTimeout = 50,
    /// Another operation on the same transaction is under way.
    ConcurrentTransactions = 51,
    /// The transaction coordinator that sent the marker is no longer the current one for this producer.
    TransactionCoordinatorFenced = 52,
    /// Transactional Id authorization failed.
    TransactionalIdAuthorizationFailed = 53,
    /// Security features are disabled.
    SecurityDisabled = 54,
    /// The broker did not attempt this operation, because others of its batch failed.
    OperationNotAttempted = 55,
    /// Disk error when trying to access log file on the disk.
    KafkaStorageError = 56,
    /// The user-specified log directory is not found in the broker config.
    LogDirNotFound = 57,
    /// SASL Authentication failed.
    SaslAuthenticationFailed = 58,
    /// The broker knows nothing of this producer id; its records may have been deleted by retention.
    UnknownProducerId = 59,
    /// A partition reassignment is in progress.
    ReassignmentInProgress = 60,
    /// Delegation Token feature is not enabled.
    DelegationTokenAuthDisabled = 61,
    /// Delegation Token is not found on server.
    DelegationTokenNotFound = 62,
    /// Specified Principal is not valid Owner/Renewer.
    DelegationTokenOwnerMismatch = 63,
    /// Delegation token requests are not allowed on plaintext, one-way TLS or token-authenticated channels.
    DelegationTokenRequestNotAllowed = 64,
    /// Delegation Token authorization failed.
    DelegationTokenAuthorizationFailed = 65,
    /// Delegation Token is expired.
    DelegationTokenExpired = 66,
    /// Supplied principalType is not supported.
    InvalidPrincipalType = 67,
    /// The group is not empty.
    NonEmptyGroup = 68,
    /// The group id does not exist.
    GroupIdNotFound = 69,
    /// The fetch session ID was not found.
    FetchSessionIdNotFound = 70,
    /// The fetch session epoch is invalid.
    InvalidFetchSessionEpoch = 71,
    /// There is no listener on the leader broker that matches the listener on which metadata request was processed.
    ListenerNotFound = 72,
    /// Topic deletion is disabled.
    TopicDeletionDisabled = 73,
    /// The leader epoch in the request is older than the epoch on the broker.
    FencedLeaderEpoch = 74,
    /// The leader epoch in the request is newer than the epoch on the broker.
    UnknownLeaderEpoch = 75,
    /// The requesting client does not support the compression type of given partition.
    UnsupportedCompressionType = 76,
    /// Broker epoch has changed.
    StaleBrokerEpoch = 77,
    /// The high watermark has not caught up after a leader election, so offsets may not be monotonic yet.
    OffsetNotAvailable = 78,
    /// The group member needs to have a valid member id before actually entering a consumer group.
    MemberIdRequired = 79,
    /// The preferred leader was not available.
    PreferredLeaderNotAvailable = 80,
    /// The consumer group has reached its max size.
    GroupMaxSizeReached = 81,
    /// Another member with the same group.instance.id has registered with a different member id.
    FencedInstanceId = 82,
    /// Eligible topic partition leaders are not available.
    EligibleLeadersNotAvailable = 83,
    /// Leader election not needed for topic partition.
    ElectionNotNeeded = 84,
    /// No partition reassignment is in progress.
    NoReassignmentInProgress = 85,
    /// Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.
    GroupSubscribedToTopic = 86,
    /// This record has failed the validation on broker and hence will be rejected.
    InvalidRecord = 87,
    /// There are unstable offsets that need to be cleared.
    UnstableOffsetCommit = 88,
    /// The throttling quota has been exceeded.
    ThrottlingQuotaExceeded = 89,
    /// There is a newer producer with the same transactionalId which fences the current one.
    ProducerFenced = 90,
    /// A request illegally referred to a resource that does not exist.
    ResourceNotFound = 91,
    /// A request illegally referred to the same resource twice.
    DuplicateResource = 92,
    /// Requested credential would not meet criteria for acceptability.
    UnacceptableCredential = 93,
    /// Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters.
    InconsistentVoterSet = 94,
    /// The given update version was invalid.
    InvalidUpdateVersion = 95,
    /// Unable to update finalized features due to an unexpected server error.
    FeatureUpdateFailed = 96,
    /// The principal of a forwarded request could not be read.
    PrincipalDeserializationFailure = 97,
    /// Requested snapshot was not found.
    SnapshotNotFound = 98,
    /// Requested position is not greater than or equal to zero, and less than the size of the snapshot.
    PositionOutOfRange = 99,
    /// This server does not host this topic ID.
    UnknownTopicId = 100,
    /// This broker ID is already in use.
    DuplicateBrokerRegistration = 101,
    /// The given broker ID was not registered.
    BrokerIdNotRegistered = 102,
    /// The log's topic ID did not match the topic ID in the request.
    InconsistentTopicId = 103,
    /// The clusterId in the request does not match that found on the server.
    InconsistentClusterId = 104,
    /// The transactionalId could not be found.
    TransactionalIdNotFound = 105,
    /// The fetch session encountered inconsistent topic ID usage.
    FetchSessionTopicIdError = 106,
    /// The new ISR contains at least one ineligible replica.
    IneligibleReplica = 107,
    /// The AlterPartition request successfully updated the partition state but the leader has changed.
    NewLeaderElected = 108,
    /// The requested offset is moved to tiered storage.
    OffsetMovedToTieredStorage = 109,
    /// The member epoch is fenced: the member must give up its partitions and rejoin.
    FencedMemberEpoch = 110,
    /// The instance ID is still used by another member in the consumer group. That member must leave first.
    UnreleasedInstanceId = 111,
    /// The group does not support the assignor or its version.
    UnsupportedAssignor = 112,
    /// The member epoch is stale: retry after the next heartbeat's epoch.
    StaleMemberEpoch = 113,
    /// The request was sent to an endpoint of the wrong type.
    MismatchedEndpointType = 114,
    /// This endpoint type is not supported yet.
    UnsupportedEndpointType = 115,
    /// This controller ID is not known.
    UnknownControllerId = 116,
    /// Client sent a push telemetry request with an invalid or outdated subscription ID.
    UnknownSubscriptionId = 117,
    /// Client sent a push telemetry request larger than the maximum size the broker will accept.
    TelemetryTooLarge = 118,
    /// The controller has considered the broker registration to be invalid.
    InvalidRegistration = 119,
    /// The transaction failed: abort it to go on with this transactional id.
    TransactionAbortable = 120,
    /// The record state is invalid. The acknowledgement of delivery could not be completed.
    InvalidRecordState = 121,
    /// The share session was not found.
    ShareSessionNotFound = 122,
    /// The share session epoch is invalid.
    InvalidShareSessionEpoch = 123,
    /// The share coordinator rejected the request because the share-group state epoch did not match.
    FencedStateEpoch = 124,
    /// The voter key doesn't match the receiving replica's key.
    InvalidVoterKey = 125,
    /// The voter is already part of the set of voters.
    DuplicateVoter = 126,
    /// The voter is not part of the set of voters.
    VoterNotFound = 127,
    /// The regular expression is not valid.
    InvalidRegularExpression = 128,
    /// Client metadata is stale, client should rebootstrap to obtain new metadata.
    RebootstrapRequired = 129,
    /// The supplied topology is invalid.
    StreamsInvalidTopology = 130,
    /// The supplied topology epoch is invalid.
    StreamsInvalidTopologyEpoch = 131,
    /// The supplied topology epoch is outdated.
    StreamsTopologyFenced = 132,
    /// The limit of share sessions has been reached.
    ShareSessionLimitReached = 133,
}

struct Row {
    error: ErrorCode,
    name: &'static str,
    retriable: bool,
    message: &'static str,
}

const fn row(error: ErrorCode, name: &'static str, retriable: bool, message: &'static str) -> Row {
    Row {
        error,
        name,
        retriable,
        message,
    }
}

#[rustfmt::skip]
static TABLE: [Row; 135] = [
    row(ErrorCode::UnknownServerError, "UNKNOWN_SERVER_ERROR", false, "The server experienced an unexpected error when processing the request."),
    row(ErrorCode::None, "NONE", false, "No error."),
    row(ErrorCode::OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", false, "The requested offset is not within the range of offsets maintained by the server."),
    row(ErrorCode::CorruptMessage, "CORRUPT_MESSAGE", true, "The message failed its CRC check, exceeds the valid size, has no key in a compacted topic, or is otherwise corrupt."),
    row(ErrorCode::UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", true, "This server does not host this topic-partition."),
    row(ErrorCode::InvalidFetchSize, "INVALID_FETCH_SIZE", false, "The requested fetch size is invalid."),
    row(ErrorCode::LeaderNotAvailable, "LEADER_NOT_AVAILABLE", true, "The partition has no leader: an election is under way."),
    row(ErrorCode::NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER", true, "This broker is not the current leader of the partition, or not a replica of it."),
    row(ErrorCode::RequestTimedOut, "REQUEST_TIMED_OUT", true, "The request timed out."),
    row(ErrorCode::BrokerNotAvailable, "BROKER_NOT_AVAILABLE", false, "The broker is not available."),
    row(ErrorCode::ReplicaNotAvailable, "REPLICA_NOT_AVAILABLE", true, "The replica is not available for the requested topic-partition."),
    row(ErrorCode::MessageTooLarge, "MESSAGE_TOO_LARGE", false, "The request included a message larger than the max message size the server will accept."),
    row(ErrorCode::StaleControllerEpoch, "STALE_CONTROLLER_EPOCH", false, "The controller moved to another broker."),
    row(ErrorCode::OffsetMetadataTooLarge, "OFFSET_METADATA_TOO_LARGE", false, "The metadata field of the offset request was too large."),
    row(ErrorCode::NetworkException, "NETWORK_EXCEPTION", true, "The server disconnected before a response was received."),
    row(ErrorCode::CoordinatorLoadInProgress, "COORDINATOR_LOAD_IN_PROGRESS", true, "The coordinator is loading and hence can't process requests."),
    row(ErrorCode::CoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE", true, "The coordinator is not available."),
    row(ErrorCode::NotCoordinator, "NOT_COORDINATOR", true, "This is not the correct coordinator."),
    row(ErrorCode::InvalidTopicException, "INVALID_TOPIC_EXCEPTION", false, "The request attempted to perform an operation on an invalid topic."),
    row(ErrorCode::RecordListTooLarge, "RECORD_LIST_TOO_LARGE", false, "The request included message batch larger than the configured segment size on the server."),
    row(ErrorCode::NotEnoughReplicas, "NOT_ENOUGH_REPLICAS", true, "Messages are rejected since there are fewer in-sync replicas than required."),
    row(ErrorCode::NotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, "Messages are written to the log, but to fewer in-sync replicas than required."),
    row(ErrorCode::InvalidRequiredAcks, "INVALID_REQUIRED_ACKS", false, "Produce request specified an invalid value for required acks."),
    row(ErrorCode::IllegalGeneration, "ILLEGAL_GENERATION", false, "Specified group generation id is not valid."),
    row(ErrorCode::InconsistentGroupProtocol, "INCONSISTENT_GROUP_PROTOCOL", false, "The member's protocols do not agree with those of the group's members, or it brought no protocol."),
    row(ErrorCode::InvalidGroupId, "INVALID_GROUP_ID", false, "The configured groupId is invalid."),
    row(ErrorCode::UnknownMemberId, "UNKNOWN_MEMBER_ID", false, "The coordinator is not aware of this member."),
    row(ErrorCode::InvalidSessionTimeout, "INVALID_SESSION_TIMEOUT", false, "The session timeout is outside group.min.session.timeout.ms..group.max.session.timeout.ms."),
    row(ErrorCode::RebalanceInProgress, "REBALANCE_IN_PROGRESS", false, "The group is rebalancing, so a rejoin is needed."),
    row(ErrorCode::InvalidCommitOffsetSize, "INVALID_COMMIT_OFFSET_SIZE", false, "The committing offset data size is not valid."),
    row(ErrorCode::TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED", false, "Topic authorization failed."),
    row(ErrorCode::GroupAuthorizationFailed, "GROUP_AUTHORIZATION_FAILED", false, "Group authorization failed."),
    row(ErrorCode::ClusterAuthorizationFailed, "CLUSTER_AUTHORIZATION_FAILED", false, "Cluster authorization failed."),
    row(ErrorCode::InvalidTimestamp, "INVALID_TIMESTAMP", false, "The timestamp of the message is out of acceptable range."),
    row(ErrorCode::UnsupportedSaslMechanism, "UNSUPPORTED_SASL_MECHANISM", false, "The broker does not support the requested SASL mechanism."),
    row(ErrorCode::IllegalSaslState, "ILLEGAL_SASL_STATE", false, "Request is not valid given the current SASL state."),
    row(ErrorCode::UnsupportedVersion, "UNSUPPORTED_VERSION", false, "The version of API is not supported."),
    row(ErrorCode::TopicAlreadyExists, "TOPIC_ALREADY_EXISTS", false, "Topic with this name already exists."),
    row(ErrorCode::InvalidPartitions, "INVALID_PARTITIONS", false, "Number of partitions is below 1."),
    row(ErrorCode::InvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", false, "Replication factor is below 1 or larger than the number of available brokers."),
    row(ErrorCode::InvalidReplicaAssignment, "INVALID_REPLICA_ASSIGNMENT", false, "Replica assignment is invalid."),
    row(ErrorCode::InvalidConfig, "INVALID_CONFIG", false, "Configuration is invalid."),
    row(ErrorCode::NotController, "NOT_CONTROLLER", true, "This is not the correct controller for this cluster."),
    row(ErrorCode::InvalidRequest, "INVALID_REQUEST", false, "The request is malformed or was sent to an incompatible broker."),
    row(ErrorCode::UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false, "The message format version on the broker does not support the request."),
    row(ErrorCode::PolicyViolation, "POLICY_VIOLATION", false, "Request parameters do not satisfy the configured policy."),
    row(ErrorCode::OutOfOrderSequenceNumber, "OUT_OF_ORDER_SEQUENCE_NUMBER", false, "The broker received an out of order sequence number."),
    row(ErrorCode::DuplicateSequenceNumber, "DUPLICATE_SEQUENCE_NUMBER", false, "The broker received a duplicate sequence number."),
    row(ErrorCode::InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", false, "Producer attempted to produce with an old epoch."),
    row(ErrorCode::InvalidTxnState, "INVALID_TXN_STATE", false, "The producer attempted a transactional operation in an invalid state."),
    row(ErrorCode::InvalidProducerIdMapping, "INVALID_PRODUCER_ID_MAPPING", false, "The producer used a producer id that is not assigned to its transactional id."),
    row(ErrorCode::InvalidTransactionTimeout, "INVALID_TRANSACTION_TIMEOUT", false, "The transaction timeout is larger than transaction.max.timeout.ms."),
    row(ErrorCode::ConcurrentTransactions, "CONCURRENT_TRANSACTIONS", false, "Another operation on the same transaction is under way."),
    row(ErrorCode::TransactionCoordinatorFenced, "TRANSACTION_COORDINATOR_FENCED", false, "The transaction coordinator that sent the marker is no longer the current one for this producer."),
    row(ErrorCode::TransactionalIdAuthorizationFailed, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, "Transactional Id authorization failed."),
    row(ErrorCode::SecurityDisabled, "SECURITY_DISABLED", false, "Security features are disabled."),
    row(ErrorCode::OperationNotAttempted, "OPERATION_NOT_ATTEMPTED", false, "The broker did not attempt this operation, because others of its batch failed."),
    row(ErrorCode::KafkaStorageError, "KAFKA_STORAGE_ERROR", true, "Disk error when trying to access log file on the disk."),
    row(ErrorCode::LogDirNotFound, "LOG_DIR_NOT_FOUND", false, "The user-specified log directory is not found in the broker config."),
    row(ErrorCode::SaslAuthenticationFailed, "SASL_AUTHENTICATION_FAILED", false, "SASL Authentication failed."),
    row(ErrorCode::UnknownProducerId, "UNKNOWN_PRODUCER_ID", false, "The broker knows nothing of this producer id; its records may have been deleted by retention."),
    row(ErrorCode::ReassignmentInProgress, "REASSIGNMENT_IN_PROGRESS", false, "A partition reassignment is in progress."),
    row(ErrorCode::DelegationTokenAuthDisabled, "DELEGATION_TOKEN_AUTH_DISABLED", false, "Delegation Token feature is not enabled."),
    row(ErrorCode::DelegationTokenNotFound, "DELEGATION_TOKEN_NOT_FOUND", false, "Delegation Token is not found on server."),
    row(ErrorCode::DelegationTokenOwnerMismatch, "DELEGATION_TOKEN_OWNER_MISMATCH", false, "Specified Principal is not valid Owner/Renewer."),
    row(ErrorCode::DelegationTokenRequestNotAllowed, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, "Delegation token requests are not allowed on plaintext, one-way TLS or token-authenticated channels."),
    row(ErrorCode::DelegationTokenAuthorizationFailed, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, "Delegation Token authorization failed."),
    row(ErrorCode::DelegationTokenExpired, "DELEGATION_TOKEN_EXPIRED", false, "Delegation Token is expired."),
    row(ErrorCode::InvalidPrincipalType, "INVALID_PRINCIPAL_TYPE", false, "Supplied principalType is not supported."),
    row(ErrorCode::NonEmptyGroup, "NON_EMPTY_GROUP", false, "The group is not empty."),
    row(ErrorCode::GroupIdNotFound, "GROUP_ID_NOT_FOUND", false, "The group id does not exist."),
    row(ErrorCode::FetchSessionIdNotFound, "FETCH_SESSION_ID_NOT_FOUND", true, "The fetch session ID was not found."),
    row(ErrorCode::InvalidFetchSessionEpoch, "INVALID_FETCH_SESSION_EPOCH", true, "The fetch session epoch is invalid."),
    row(ErrorCode::ListenerNotFound, "LISTENER_NOT_FOUND", true, "There is no listener on the leader broker that matches the listener on which metadata request was processed."),
    row(ErrorCode::TopicDeletionDisabled, "TOPIC_DELETION_DISABLED", false, "Topic deletion is disabled."),
    row(ErrorCode::FencedLeaderEpoch, "FENCED_LEADER_EPOCH", true, "The leader epoch in the request is older than the epoch on the broker."),
    row(ErrorCode::UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", true, "The leader epoch in the request is newer than the epoch on the broker."),
    row(ErrorCode::UnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE", false, "The requesting client does not support the compression type of given partition."),
    row(ErrorCode::StaleBrokerEpoch, "STALE_BROKER_EPOCH", false, "Broker epoch has changed."),
    row(ErrorCode::OffsetNotAvailable, "OFFSET_NOT_AVAILABLE", true, "The high watermark has not caught up after a leader election, so offsets may not be monotonic yet."),
    row(ErrorCode::MemberIdRequired, "MEMBER_ID_REQUIRED", false, "The group member needs to have a valid member id before actually entering a consumer group."),
    row(ErrorCode::PreferredLeaderNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE", true, "The preferred leader was not available."),
    row(ErrorCode::GroupMaxSizeReached, "GROUP_MAX_SIZE_REACHED", false, "The consumer group has reached its max size."),
    row(ErrorCode::FencedInstanceId, "FENCED_INSTANCE_ID", false, "Another member with the same group.instance.id has registered with a different member id."),
    row(ErrorCode::EligibleLeadersNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE", true, "Eligible topic partition leaders are not available."),
    row(ErrorCode::ElectionNotNeeded, "ELECTION_NOT_NEEDED", true, "Leader election not needed for topic partition."),
    row(ErrorCode::NoReassignmentInProgress, "NO_REASSIGNMENT_IN_PROGRESS", false, "No partition reassignment is in progress."),
    row(ErrorCode::GroupSubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC", false, "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."),
    row(ErrorCode::InvalidRecord, "INVALID_RECORD", false, "This record has failed the validation on broker and hence will be rejected."),
    row(ErrorCode::UnstableOffsetCommit, "UNSTABLE_OFFSET_COMMIT", true, "There are unstable offsets that need to be cleared."),
    row(ErrorCode::ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED", true, "The throttling quota has been exceeded."),
    row(ErrorCode::ProducerFenced, "PRODUCER_FENCED", false, "There is a newer producer with the same transactionalId which fences the current one."),
    row(ErrorCode::ResourceNotFound, "RESOURCE_NOT_FOUND", false, "A request illegally referred to a resource that does not exist."),
    row(ErrorCode::DuplicateResource, "DUPLICATE_RESOURCE", false, "A request illegally referred to the same resource twice."),
    row(ErrorCode::UnacceptableCredential, "UNACCEPTABLE_CREDENTIAL", false, "Requested credential would not meet criteria for acceptability."),
    row(ErrorCode::InconsistentVoterSet, "INCONSISTENT_VOTER_SET", false, "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters."),
    row(ErrorCode::InvalidUpdateVersion, "INVALID_UPDATE_VERSION", false, "The given update version was invalid."),
    row(ErrorCode::FeatureUpdateFailed, "FEATURE_UPDATE_FAILED", false, "Unable to update finalized features due to an unexpected server error."),
    row(ErrorCode::PrincipalDeserializationFailure, "PRINCIPAL_DESERIALIZATION_FAILURE", false, "The principal of a forwarded request could not be read."),
    row(ErrorCode::SnapshotNotFound, "SNAPSHOT_NOT_FOUND", false, "Requested snapshot was not found."),
    row(ErrorCode::PositionOutOfRange, "POSITION_OUT_OF_RANGE", false, "Requested position is not greater than or equal to zero, and less than the size of the snapshot."),
    row(ErrorCode::UnknownTopicId, "UNKNOWN_TOPIC_ID", true, "This server does not host this topic ID."),
    row(ErrorCode::DuplicateBrokerRegistration, "DUPLICATE_BROKER_REGISTRATION", false, "This broker ID is already in use."),
    row(ErrorCode::BrokerIdNotRegistered, "BROKER_ID_NOT_REGISTERED", false, "The given broker ID was not registered."),
    row(ErrorCode::InconsistentTopicId, "INCONSISTENT_TOPIC_ID", true, "The log's topic ID did not match the topic ID in the request."),
    row(ErrorCode::InconsistentClusterId, "INCONSISTENT_CLUSTER_ID", false, "The clusterId in the request does not match that found on the server."),
    row(ErrorCode::TransactionalIdNotFound, "TRANSACTIONAL_ID_NOT_FOUND", false, "The transactionalId could not be found."),
    row(ErrorCode::FetchSessionTopicIdError, "FETCH_SESSION_TOPIC_ID_ERROR", true, "The fetch session encountered inconsistent topic ID usage."),
    row(ErrorCode::IneligibleReplica, "INELIGIBLE_REPLICA", false, "The new ISR contains at least one ineligible replica."),
    row(ErrorCode::NewLeaderElected, "NEW_LEADER_ELECTED", false, "The AlterPartition request successfully updated the partition state but the leader has changed."),
    row(ErrorCode::OffsetMovedToTieredStorage, "OFFSET_MOVED_TO_TIERED_STORAGE", false, "The requested offset is moved to tiered storage."),
    row(ErrorCode::FencedMemberEpoch, "FENCED_MEMBER_EPOCH", false, "The member epoch is fenced: the member must give up its partitions and rejoin."),
    row(ErrorCode::UnreleasedInstanceId, "UNRELEASED_INSTANCE_ID", false, "The instance ID is still used by another member in the consumer group. That member must leave first."),
    row(ErrorCode::UnsupportedAssignor, "UNSUPPORTED_ASSIGNOR", false, "The group does not support the assignor or its version."),
    row(ErrorCode::StaleMemberEpoch, "STALE_MEMBER_EPOCH", false, "The member epoch is stale: retry after the next heartbeat's epoch."),
    row(ErrorCode::MismatchedEndpointType, "MISMATCHED_ENDPOINT_TYPE", false, "The request was sent to an endpoint of the wrong type."),
    row(ErrorCode::UnsupportedEndpointType, "UNSUPPORTED_ENDPOINT_TYPE", false, "This endpoint type is not supported yet."),
    row(ErrorCode::UnknownControllerId, "UNKNOWN_CONTROLLER_ID", false, "This controller ID is not known."),
    row(ErrorCode::UnknownSubscriptionId, "UNKNOWN_SUBSCRIPTION_ID", false, "Client sent a push telemetry request with an invalid or outdated subscription ID."),
    row(ErrorCode::TelemetryTooLarge, "TELEMETRY_TOO_LARGE", false, "Client sent a push telemetry request larger than the maximum size the broker will accept."),
    row(ErrorCode::InvalidRegistration, "INVALID_REGISTRATION", false, "The controller has considered the broker registration to be invalid."),
    row(ErrorCode::TransactionAbortable, "TRANSACTION_ABORTABLE", false, "The transaction failed: abort it to go on with this transactional id."),
    row(ErrorCode::InvalidRecordState, "INVALID_RECORD_STATE", false, "The record state is invalid. The acknowledgement of delivery could not be completed."),
    row(ErrorCode::ShareSessionNotFound, "SHARE_SESSION_NOT_FOUND", true, "The share session was not found."),
    row(ErrorCode::InvalidShareSessionEpoch, "INVALID_SHARE_SESSION_EPOCH", true, "The share session epoch is invalid."),
    row(ErrorCode::FencedStateEpoch, "FENCED_STATE_EPOCH", false, "The share coordinator rejected the request because the share-group state epoch did not match."),
    row(ErrorCode::InvalidVoterKey, "INVALID_VOTER_KEY", false, "The voter key doesn't match the receiving replica's key."),
    row(ErrorCode::DuplicateVoter, "DUPLICATE_VOTER", false, "The voter is already part of the set of voters."),
    row(ErrorCode::VoterNotFound, "VOTER_NOT_FOUND", false, "The voter is not part of the set of voters."),
    row(ErrorCode::InvalidRegularExpression, "INVALID_REGULAR_EXPRESSION", false, "The regular expression is not valid."),
    row(ErrorCode::RebootstrapRequired, "REBOOTSTRAP_REQUIRED", false, "Client metadata is stale, client should rebootstrap to obtain new metadata."),
    row(ErrorCode::StreamsInvalidTopology, "STREAMS_INVALID_TOPOLOGY", false, "The supplied topology is invalid."),
    row(ErrorCode::StreamsInvalidTopologyEpoch, "STREAMS_INVALID_TOPOLOGY_EPOCH", false, "The supplied topology epoch is invalid."),
    row(ErrorCode::StreamsTopologyFenced, "STREAMS_TOPOLOGY_FENCED", false, "The supplied topology epoch is outdated."),
    row(ErrorCode::ShareSessionLimitReached, "SHARE_SESSION_LIMIT_REACHED", true, "The limit of share sessions has been reached."),
];

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Reads the number on the wire; one that is not known is [`ErrorCode::UnknownServerError`].
    pub fn from_code(code: i16) -> Self {
        let index = usize::try_from(i32::from(code) + 1).unwrap_or(0);
        TABLE
            .get(index)
            .map_or(Self::UnknownServerError, |row| row.error)
    }

    /// Kafka's name for it, for logs and tools: `NOT_LEADER_OR_FOLLOWER`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it means, in one sentence.
    pub fn message(self) -> &'static str {
        self.row().message
    }

    /// Whether the same request may succeed later, perhaps at another broker (Kafka's `RetriableException`).
    pub fn retriable(self) -> bool {
        self.row().retriable
    }

    /// Whether this is an error at all.
    pub fn is_error(self) -> bool {
        self != Self::None
    }

    fn row(self) -> &'static Row {
        &TABLE[(self.code() + 1) as usize]
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error.code()
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        Self::from_code(code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.message())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_indexed_by_code() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.error.code(), index as i16 - 1);
            assert_eq!(ErrorCode::from_code(row.error.code()), row.error);
        }
        assert_eq!(
            ErrorCode::from_code(i16::MIN),
            ErrorCode::UnknownServerError
        );
        assert_eq!(
            ErrorCode::from_code(i16::MAX),
            ErrorCode::UnknownServerError
        );
        assert_eq!(
            ErrorCode::NotLeaderOrFollower.name(),
            "NOT_LEADER_OR_FOLLOWER"
        );
    }

    /// The second codec names and classifies each code as we do.
    #[test]
    fn agrees_with_the_second_codec() {
        for row in &TABLE {
            let Some(theirs) = kafka_protocol::ResponseError::try_from_code(row.error.code())
            else {
                assert_eq!(row.error, ErrorCode::None);
                continue;
            };
            assert_eq!(theirs.is_retriable(), row.retriable, "{}", row.name);
            assert_eq!(format!("{theirs:?}"), format!("{:?}", row.error));
        }
    }
}
