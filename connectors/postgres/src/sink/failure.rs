//! What the database's errors mean to the runtime.

use connect_api::ConnectError;
use tokio_postgres::error::SqlState;

/// An error of the database, classified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The values of a row: find the row.
    #[error("{0}")]
    Rows(String),
    /// Not the same as when the table was looked at: look again.
    #[error("{0}")]
    TableChanged(String),
    #[error(transparent)]
    Other(#[from] ConnectError),
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rows(message) => Self::Data(message),
            Failure::TableChanged(message) => Self::Transient(message),
            Failure::Other(error) => error,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            // The connection broke, or a value could not even be sent.
            return ConnectError::Transient(format!("PostgreSQL: {}", chain(&error))).into();
        };
        let mut message = database.message().to_owned();
        if let Some(detail) = database.detail() {
            message = format!("{message}: {detail}");
        }
        if let Some(hint) = database.hint() {
            message = format!("{message} ({hint})");
        }
        let code = database.code();
        let message = format!("{message} [SQLSTATE {}]", code.code());
        match (code.code().get(..2), code) {
            (_, code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN => {
                Self::TableChanged(message)
            }
            (Some("22" | "23"), _) => Self::Rows(message),
            (_, code) if *code == SqlState::DATATYPE_MISMATCH || *code == SqlState::CANNOT_COERCE => {
                Self::Rows(message)
            }
            (Some("08" | "40" | "53" | "55" | "57" | "58"), _) => ConnectError::Transient(message).into(),
            (Some("28"), _) => ConnectError::config("connection.username", message).into(),
            (_, code) if *code == SqlState::INVALID_CATALOG_NAME => {
                ConnectError::config("connection.url", message).into()
            }
            (_, code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                ConnectError::config("connection.username", format!("{message}; grant the right to this user")).into()
            }
            (_, code) if *code == SqlState::INVALID_COLUMN_REFERENCE => ConnectError::config(
                "primary.key.fields",
                format!("{message}; an upsert needs a primary key or unique index on exactly these columns"),
            )
            .into(),
            _ => ConnectError::Fatal(message).into(),
        }
    }
}

/// The error and what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
