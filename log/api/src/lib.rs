//! What streams, sql and connect see of a log.
//!
//! [`Log`] has two implementations, `Embedded` (in `log-broker`, no socket) and `Kafka` (in `log-kafka`,
//! through librdkafka); both pass [`conformance`]. [`Records`] is Arrow from the moment it leaves the log.
//!
//! ```
//! use log_api::NewTopic;
//! let topic = NewTopic::new("flights", 4).with("cleanup.policy", "compact");
//! assert_eq!(topic.configs["cleanup.policy"], "compact");
//! ```

#![forbid(unsafe_code)]

pub mod conformance;
mod error;
mod log;
mod membership;
mod offset_commit;
mod records;
mod topic;

pub use error::{AdminError, ReadError, TransactionError, WriteError};
pub use log::{
    Admin, Log, PartitionProgress, PollBudget, Reader, ReaderOptions, Start, Transaction,
    TransactionOptions, Writer,
};
pub use log_protocol::{
    BatchBuilder, Compression, ProducerStamp, TopicPartition, partition_for_key,
};
pub use membership::{Change, GroupMember, Membership, MembershipError, MembershipOptions};
pub use offset_commit::{CommittedOffset, GroupDescription, OffsetCommit};
pub use records::{Headers, HeadersBuilder, Records, RecordsBuilder};
pub use topic::{NewTopic, OffsetSpec, TopicDescription};
