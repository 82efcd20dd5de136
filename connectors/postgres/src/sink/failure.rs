//! What the database's errors mean to the runtime.

use std::error::Error;
use std::io;

use connect_api::ConnectError;
use tokio_postgres::error::{DbError, SqlState};

use crate::tls::{self, HandshakeError};

/// An error of the database, classified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The values of a row: find the row.
    #[error("{0}")]
    Rows(String),
    /// The values of a row, found by a constraint that looks when the transaction ends: a row behind it may mend it.
    #[error("{0}")]
    Deferred(String),
    /// Something of the name of a new table or column is there already: another task's, or of another kind.
    #[error("{0}")]
    NameTaken(String),
    /// Not the same as when the table was looked at: look again.
    #[error("{0}")]
    TableChanged(String),
    #[error(transparent)]
    Other(#[from] ConnectError),
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rows(message) | Failure::Deferred(message) | Failure::NameTaken(message) => {
                Self::Data(message)
            }
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

/// A definition that failed.
pub(super) fn of_definition(error: tokio_postgres::Error) -> Failure {
    let taken = error.code().is_some_and(|code| {
        [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_COLUMN,
            SqlState::DUPLICATE_OBJECT,
        ]
        .contains(code)
    });
    match Failure::from(error) {
        Failure::Rows(message) | Failure::Other(ConnectError::Fatal(message)) if taken => {
            Failure::NameTaken(message)
        }
        other => other,
    }
}

/// What tokio-postgres says of a server that answers the request for encryption with no.
const NO_TLS: &str = "server does not support TLS";

/// Whether a connection failed because it was to be encrypted.
pub(super) fn is_of_encryption(error: &tokio_postgres::Error) -> bool {
    let cause = error.source();
    cause.is_some_and(|cause| cause.is::<HandshakeError>() || cause.to_string() == NO_TLS)
}

/// A database that is being copied, moved or dropped, or that somebody keeps connections from.
const NOT_NOW: &str = "[SQLSTATE 55000]";

/// A connection that was not made.
pub(super) fn of_connecting(error: tokio_postgres::Error) -> ConnectError {
    match Failure::from(error) {
        Failure::Other(ConnectError::Transient(message)) => {
            ConnectError::Transient(format!("cannot connect: {message}"))
        }
        // It takes no connections for now.
        Failure::Other(ConnectError::Fatal(message)) if message.contains(NOT_NOW) => {
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
    match error.source().map(|cause| cause.downcast_ref()) {
        Some(Some(HandshakeError::Refused(reason))) => {
            return ConnectError::config("connection.url", reason).into();
        }
        Some(Some(HandshakeError::Line(_))) => {
            return ConnectError::Transient(format!("PostgreSQL: {}", chain(error))).into();
        }
        _ if is_of_encryption(error) => {
            let message = "the server offers no encryption, and sslmode asks for it: set ssl = on at the server, or \
                           sslmode=prefer within a trusted network";
            return ConnectError::config("connection.url", message).into();
        }
        _ => {}
    }
    let message = format!("PostgreSQL: {}", chain(error));
    let line = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    if let Some(issue) = line.and_then(tls::refused_client) {
        return ConnectError::config("connection.url", issue.to_string()).into();
    }
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
    // "PL/pgSQL function f() line 3 at RAISE": whatever its code, it is about the row.
    let raised = database
        .where_()
        .and_then(|place| place.lines().next())
        .is_some_and(|place| place.contains("RAISE"));
    let missing = *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN;
    match (code.code().get(..2), code) {
        // Except for the codes that ask to try again.
        (class, _) if raised && class != Some("40") => Failure::Rows(message),
        // What a trigger's function misses is not there the next time either.
        _ if missing && database.where_().is_some() => ConnectError::Fatal(message).into(),
        _ if missing => Failure::TableChanged(message),
        (Some(class), _) if is_of_rows(class) => Failure::Rows(message),
        _ if ROW_CODES.contains(&code.code()) => Failure::Rows(message),
        (Some("08" | "40" | "53" | "57" | "58"), _) => ConnectError::Transient(message).into(),
        _ if TRANSIENT_CODES.contains(&code.code()) => ConnectError::Transient(message).into(),
        (Some("3F"), _) => ConnectError::config("collection.name.format", message).into(),
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

/// Codes of other classes that are about values: a type that does not fit, no such cast, a generated column.
const ROW_CODES: [&str; 3] = ["42804", "42846", "428C9"];

/// Codes of other classes that pass: a table or row that is locked, a server that is a standby for now, and
/// transactions that it ended because they took too long.
const TRANSIENT_CODES: [&str; 5] = ["55006", "55P03", "25006", "25P03", "25P04"];

/// Classes of PostgreSQL's own errors that are not about the values of a row.
const OTHER_CLASSES: [&str; 29] = [
    "03", "08", "0A", "0B", "0F", "0L", "0P", "0Z", "24", "25", "26", "28", "2B", "2D", "2F", "34",
    "3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "XX",
];

/// Values, constraints, limits (of an index' entry, say), conditions of views, and what triggers raise: under codes of
/// PostgreSQL or of their own.
fn is_of_rows(class: &str) -> bool {
    !OTHER_CLASSES.contains(&class)
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
