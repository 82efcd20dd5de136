//! What the database's errors mean to the runtime.

use std::error::Error;
use std::io;

use connect_api::ConnectError;
use tokio_postgres::error::{DbError, SqlState};

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
        match error.as_db_error() {
            Some(database) => of_database(database),
            None => of_client(&error),
        }
    }
}

/// A definition that failed. Two tasks that make the same thing at once: the loser looks again.
pub(super) fn of_definition(error: tokio_postgres::Error) -> Failure {
    let lost = error.code().is_some_and(|code| {
        [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_COLUMN,
            SqlState::DUPLICATE_OBJECT,
        ]
        .contains(code)
    });
    match Failure::from(error) {
        Failure::Rows(message) | Failure::Other(ConnectError::Fatal(message)) if lost => {
            ConnectError::Transient(message).into()
        }
        other => other,
    }
}

/// A connection that was not made.
pub(super) fn of_connecting(error: tokio_postgres::Error) -> ConnectError {
    match Failure::from(error) {
        Failure::Other(ConnectError::Transient(message)) => {
            ConnectError::Transient(format!("cannot connect: {message}"))
        }
        // Answers that are not PostgreSQL's.
        Failure::Rows(message) => ConnectError::config("connection.url", message),
        // The server asks for what the client does not have.
        Failure::Other(ConnectError::Fatal(message)) if !message.contains("SQLSTATE") => {
            ConnectError::config("connection.password", message)
        }
        other => other.into(),
    }
}

fn of_client(error: &tokio_postgres::Error) -> Failure {
    let message = format!("PostgreSQL: {}", chain(error));
    let line = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    match line {
        // What was to be sent is wrong (a zero character in a name), not the line.
        Some(line) if line.kind() == io::ErrorKind::InvalidInput => Failure::Rows(message),
        Some(_) => ConnectError::Transient(message).into(),
        None if error.is_closed() => ConnectError::Transient(message).into(),
        None => ConnectError::Fatal(message).into(),
    }
}

fn of_database(database: &DbError) -> Failure {
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
            Failure::TableChanged(message)
        }
        // Values, constraints, limits (of an index' entry, say), and what triggers raise.
        (Some("22" | "23" | "54" | "P0"), _) => Failure::Rows(message),
        (_, code) if *code == SqlState::DATATYPE_MISMATCH || *code == SqlState::CANNOT_COERCE => {
            Failure::Rows(message)
        }
        (Some("08" | "40" | "53" | "55" | "57" | "58"), _) => {
            ConnectError::Transient(message).into()
        }
        (_, code) if *code == SqlState::INVALID_PASSWORD => {
            ConnectError::config("connection.password", message).into()
        }
        (Some("28"), _) => ConnectError::config("connection.username", message).into(),
        (_, code) if *code == SqlState::INVALID_CATALOG_NAME => {
            ConnectError::config("connection.url", message).into()
        }
        (_, code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => ConnectError::config(
            "connection.username",
            format!("{message}; grant the right to this user"),
        )
        .into(),
        (_, code) if *code == SqlState::INVALID_COLUMN_REFERENCE => ConnectError::config(
            "primary.key.fields",
            format!(
                "{message}; an upsert needs a primary key or unique index on exactly these columns"
            ),
        )
        .into(),
        _ => ConnectError::Fatal(message).into(),
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
