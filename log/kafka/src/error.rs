//! librdkafka's errors in the words of `log_api`.

use log_api::{AdminError, ReadError, TopicPartition, TransactionError, WriteError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use thiserror::Error;

/// A client could not even be made: a property that librdkafka refuses.
#[derive(Debug, Clone, Error)]
#[error("cannot make a Kafka client for {servers}: {reason}")]
pub struct ConnectError {
    /// The bootstrap servers.
    pub servers: String,
    /// librdkafka's words.
    pub reason: String,
}

pub(crate) fn is_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::Resolve
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::MessageTimedOut
    )
}

pub(crate) fn admin(topic: &str, error: &KafkaError) -> AdminError {
    match error.rdkafka_error_code() {
        Some(code) => admin_code(topic, code),
        None => AdminError::Refused(error.to_string()),
    }
}

pub(crate) fn admin_code(topic: &str, code: RDKafkaErrorCode) -> AdminError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAlreadyExists => AdminError::TopicExists(topic.to_owned()),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            AdminError::UnknownTopic(topic.to_owned())
        }
        Code::InvalidTopic => AdminError::InvalidTopic {
            name: topic.to_owned(),
            reason: "only a-z, A-Z, 0-9, '.', '_' and '-', at most 249".to_owned(),
        },
        Code::InvalidConfig => AdminError::InvalidConfig {
            topic: topic.to_owned(),
            reason: "the cluster refuses one of its configs".to_owned(),
        },
        code if is_connection(code) => AdminError::Unavailable(code.to_string()),
        code => AdminError::Refused(format!("topic {topic}: {code}")),
    }
}

pub(crate) fn read(partition: &TopicPartition, error: &KafkaError) -> ReadError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic) => {
            ReadError::UnknownPartition(partition.clone())
        }
        _ => ReadError::Unavailable(error.to_string()),
    }
}

/// A fetch of a partition from `position` on.
pub(crate) fn fetch(partition: &TopicPartition, position: i64, error: &KafkaError) -> ReadError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::InvalidMessage | Code::BadMessage) => ReadError::Corrupt {
            partition: partition.clone(),
            offset: position,
            reason: "what is stored there is damaged; the broker's log says more".to_owned(),
        },
        _ => ReadError::Unavailable(error.to_string()),
    }
}

pub(crate) fn write(partition: &TopicPartition, bytes: usize, error: &KafkaError) -> WriteError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic) => {
            WriteError::UnknownPartition(partition.clone())
        }
        Some(Code::MessageSizeTooLarge) => WriteError::TooLarge {
            partition: partition.clone(),
            bytes,
        },
        Some(Code::InvalidRecord | Code::InvalidMessage | Code::InvalidTimestamp) => {
            WriteError::Invalid {
                partition: partition.clone(),
                reason: error.to_string(),
            }
        }
        _ => WriteError::Unavailable(error.to_string()),
    }
}

/// Whether the error says that another owner took the id over.
pub(crate) fn is_fenced(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fenced
                | Code::ProducerFenced
                | Code::InvalidProducerEpoch
                | Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::FencedInstanceId
        )
    )
}

pub(crate) fn transaction(id: &str, error: &KafkaError) -> TransactionError {
    if is_fenced(error) {
        TransactionError::Fenced(id.to_owned())
    } else {
        TransactionError::Aborted(format!("transactional id {id}: {error}"))
    }
}
