//! Why a run ends: the class that decides about a restart, and the trace that status shows.

use connect_api::ConnectError;
use log_api::{AdminError, ReadError, TransactionError, WriteError};

use crate::store::StoreError;
use crate::supervisor::FailureClass;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: FailureClass,
    pub(super) trace: String,
}

fn class(retryable: bool) -> FailureClass {
    if retryable {
        FailureClass::Transient
    } else {
        FailureClass::Fatal
    }
}

fn connect_exception(message: impl std::fmt::Display) -> String {
    format!("org.apache.kafka.connect.errors.ConnectException: {message}")
}

impl Failure {
    pub(super) fn fatal(message: impl std::fmt::Display) -> Self {
        Self {
            class: FailureClass::Fatal,
            trace: connect_exception(message),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let class = match &error {
            ConnectError::Transient(_) => FailureClass::Transient,
            ConnectError::Data(_) => FailureClass::Data,
            ConnectError::Config { .. } => FailureClass::Config,
            ConnectError::Fatal(_) => FailureClass::Fatal,
        };
        Self {
            class,
            trace: error.trace(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            class: class(error.retryable()),
            trace: connect_exception(error),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self {
            class: class(error.retryable()),
            trace: connect_exception(error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self {
            class: class(error.retryable()),
            trace: connect_exception(error),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        // A disk that failed may be replaced, a topic that is gone made again: both are worth another start.
        let retryable = !matches!(
            error,
            WriteError::TooLarge { .. } | WriteError::Invalid { .. }
        );
        Self {
            class: class(retryable),
            trace: connect_exception(error),
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Fenced(_) => Self {
                class: FailureClass::Fatal,
                trace: format!(
                    "org.apache.kafka.common.errors.ProducerFencedException: {error}; another worker runs this task"
                ),
            },
            // The next run opens the id again and finds in the offsets how it ended.
            TransactionError::Unknown(_) | TransactionError::Aborted(_) => Self {
                class: FailureClass::Transient,
                trace: connect_exception(error),
            },
            TransactionError::Write(error) => error.into(),
        }
    }
}
