//! Statements and their answers: the server, snapshot and push queries, DDL, writes, and the HTTP API.

mod alter;
mod analyze;
mod answer;
mod backlog;
mod caller;
mod conflict;
mod connected_sink;
mod connector;
mod ddl;
mod drop;
mod files;
mod function;
mod generators;
mod http;
mod infer;
mod insert;
mod jobs;
mod notice;
mod print;
mod pull;
mod push;
mod queries;
mod query_memory;
mod replace;
mod server;
mod session;
mod sink;
mod spelling;
mod system;
mod tell;
mod view_key;
mod view_table;
mod why;
mod write;

pub use answer::{Answer, AnswerColumn, Change, ChangeStream};
pub use server::{OpenError, Server};
