//! What a connector may fail with: four classes that decide what happens next.
//!
//! | class | the runtime then |
//! |---|---|
//! | transient | tries the same call again with backoff; the task stays RUNNING |
//! | data | this record cannot be taken: dead letter where tolerated, else the task fails |
//! | config | the task fails and names the key; no restart can help |
//! | fatal | the task fails with the reason |

use thiserror::Error;

/// A failed call of a connector, task, converter or transform.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ConnectError {
    /// The outside world is away (connection refused, timeout, lock): the same call may succeed later.
    #[error("{0}")]
    Transient(String),
    /// A record is not what it has to be; the same call fails again for ever.
    #[error("{0}")]
    Data(String),
    /// A configuration value cannot work.
    #[error("{key}: {message}")]
    Config {
        /// The key at fault.
        key: String,
        /// What is wrong with its value, and what would be right.
        message: String,
    },
    /// Anything else that no retry repairs.
    #[error("{0}")]
    Fatal(String),
}

impl ConnectError {
    /// A configuration error of `key`.
    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            key: key.into(),
            message: message.into(),
        }
    }

    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// The name of Kafka Connect's exception of the same meaning, for traces and dead-letter headers.
    pub fn java_class(&self) -> &'static str {
        match self {
            Self::Transient(_) => "org.apache.kafka.connect.errors.RetriableException",
            Self::Data(_) => "org.apache.kafka.connect.errors.DataException",
            Self::Config { .. } => "org.apache.kafka.common.config.ConfigException",
            Self::Fatal(_) => "org.apache.kafka.connect.errors.ConnectException",
        }
    }

    /// As Java prints an exception: class, colon, message. Stands first in the `trace` of a failed task.
    pub fn trace(&self) -> String {
        format!("{}: {self}", self.java_class())
    }
}
