//! One object as the catalog's topic holds it: versioned JSON.
//!
//! | field | meaning |
//! |---|---|
//! | `version` | of this layout; 1 |
//! | `kind` | `source`, `table`, `view`, `sink`, `function` |
//! | `name` | folded |
//! | `sql`, `dialect` | the statement as it was written, and how to read it |
//! | `created` | Unix time, ms |
//! | `references` | what its names meant: `{id, name, module?}` each |
//! | `module` | of a function: SHA-256 of its module |
//! | `paused` | of a view or sink: whether it stands still until it is resumed |
//! | `dropping` | a DROP of it, and of all that depends on it, has begun and is to be finished |
//! | `state` | of a view: what its job keeps, and under which numbers (`streams::StateManifest::to_text`) |
//! | `revision` | of a view: how often it was given a query that makes its rows of the same state |
//!
//! A record with a higher version or an unknown kind is kept in the topic and skipped with a warning, so that an older
//! program starts beside it. Unknown fields are ignored.

use serde::{Deserialize, Serialize};

use super::object::Reference;

/// The layout that this version writes.
pub(crate) const VERSION: u32 = 1;

/// A catalog record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatalogRecord {
    pub version: u32,
    pub kind: String,
    pub name: String,
    pub sql: String,
    #[serde(default = "canonical")]
    pub dialect: String,
    pub created: i64,
    #[serde(default)]
    pub references: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropping: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "is_first")]
    pub revision: u64,
}

fn is_first(revision: &u64) -> bool {
    *revision == 0
}

fn canonical() -> String {
    CatalogRecord::DIALECT.to_owned()
}

impl CatalogRecord {
    /// The canonical dialect's name.
    pub(crate) const DIALECT: &'static str = "thalweg";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout of version 1: what is written today must be read for ever.
    #[test]
    fn version_1_is_read() {
        let json = r#"{"version":1,"kind":"view","name":"v","sql":"CREATE MATERIALIZED VIEW v AS SELECT 1",
            "dialect":"thalweg","created":1700000000000,
            "references":[{"id":"018bcfe5-6800-7000-8000-000000000000","name":"t"}],"later":{"x":1}}"#;
        let record: CatalogRecord = serde_json::from_str(json).expect("version 1");
        assert_eq!((record.version, record.kind.as_str()), (VERSION, "view"));
        assert_eq!(record.references[0].name, "t");
    }
}
