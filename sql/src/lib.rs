//! Streaming SQL: parse, bind, plan, lower, serve.
//!
//! ```text
//! text → statement split, own parser around sqlparser → DataFusion's binder and logical rules
//!      → lowering to streams' operators (views, EMIT CHANGES)  |  a bounded DataFusion plan (snapshots)
//!      → catalog record → job
//! ```
//!
//! [`Server`] holds the catalog and the running views, and answers `POST /v1/query`. [`Diagnostic`] is what every
//! error is, with its place in the text; [`split_statements`], [`is_complete`] and [`keywords`] serve a shell.
//! DataFusion's types do not leave this crate. [`Caller`] says what who sends a statement may do.
//!
//! ```
//! let statements = sql::split_statements("SELECT 1; SELECT ';'");
//! assert_eq!(statements.len(), 2);
//! assert!(!statements[1].complete);
//! ```

mod caller;
mod catalog;
mod config;
mod connectors;
mod diagnostic;
mod functions;
mod generate;
mod parse;
mod plan;
mod serve;
mod stack;

pub use caller::{Caller, Guarded, Right};
pub use config::SqlConfig;
pub use connectors::{
    ConnectorError, ConnectorOptions, Connectors, ListedConnector, PlannedConnector, SinkKey,
    SinkRows, TableFlow,
};
pub use diagnostic::{Diagnostic, Location, Severity, Span, StatementText, Suggestion, type_name};
pub use functions::{Function, functions};
pub use parse::{Unended, is_complete, keywords, setting, split_statements, unended};
pub use serve::{Answer, AnswerColumn, Change, ChangeStream, OpenError, Server, unavailable};
