//! Settings of the SQL server.

use serde::{Deserialize, Serialize};

/// Limits and defaults of SQL. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqlConfig {
    /// Longest statement, bytes. A longer one is refused before it is read. 256 KiB: far more than anyone writes.
    pub statement_bytes_max: usize,
    /// Most rows that one snapshot query answers with; it ends with an error after them.
    pub rows_max: usize,
    /// Most bytes of rows that one snapshot query answers with.
    pub answer_bytes_max: usize,
    /// Memory that one snapshot query may use, bytes; all of them together keep to their part of the process's memory.
    pub memory_bytes_max: usize,
    /// Longest time that a snapshot query may take, ms.
    pub query_timeout_ms: u64,
    /// How long CREATE MATERIALIZED VIEW waits until what its sources hold is read, ms; 0: not at all. Where that takes
    /// longer it goes on by itself. `SET create.wait` and `WITH (wait = …)` say otherwise.
    pub create_wait_ms: u64,
    /// Most rows that one INSERT or DELETE writes.
    pub insert_rows_max: usize,
    /// Partitions of a topic that CREATE TABLE or CREATE MATERIALIZED VIEW makes, where the statement does not say.
    pub partitions: i32,
    /// Push queries that may run at once; each is a dataflow of its own.
    pub push_queries_max: usize,
    /// The folder whose files a SELECT may read, for whoever may send a statement; `off`, the default: none. Links do not lead
    /// out of it.
    pub files_dir: String,
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            statement_bytes_max: 256 << 10,
            rows_max: 1_000_000,
            answer_bytes_max: 1 << 30,
            memory_bytes_max: 1 << 30,
            query_timeout_ms: 300_000,
            create_wait_ms: 10_000,
            insert_rows_max: 1_000_000,
            partitions: 4,
            push_queries_max: 64,
            files_dir: "off".to_owned(),
        }
    }
}
