//! Who sends a statement, as SQL asks it: whether it may do what the statement does.
//!
//! SQL knows no users and no rules; whoever serves it to people that it knows by name implements [`Caller`]. A statement without a
//! caller is the operator's own, and may everything.
//!
//! | statement | needs |
//! |---|---|
//! | SELECT, EXPLAIN of a query, PRINT | READ on the topics of the relations that it names; of a view its own topic, not those that it reads |
//! | … FROM information_schema, pg_catalog, sys; SHOW | DESCRIBE on the cluster |
//! | … FROM a file | ALTER on the cluster |
//! | DESCRIBE, SHOW CREATE, EXPLAIN of an object | DESCRIBE on its topic |
//! | INSERT | WRITE on the topic, and READ on what its query reads |
//! | UPDATE, DELETE | READ and WRITE on the topic |
//! | CREATE SOURCE, TABLE | CREATE and READ on the topic |
//! | CREATE MATERIALIZED VIEW | READ on what it reads, CREATE on its topic; to replace one ALTER on that |
//! | CREATE SINK | READ on what it reads, CREATE and WRITE on its topic |
//! | ALTER | ALTER on the topic of the object |
//! | DROP | DELETE on the topic of the object; with CASCADE on those of all that read it |
//! | … with a connector, … FUNCTION | ALTER on the cluster, too |

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read records.
    Read,
    /// Write records.
    Write,
    /// Make it.
    Create,
    /// Remove it.
    Delete,
    /// Change it.
    Alter,
    /// See that it is there, and how it is.
    Describe,
}

impl Right {
    /// As rules of access name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Alter => "ALTER",
            Self::Describe => "DESCRIBE",
        }
    }
}

/// With what it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded<'a> {
    /// A topic, whether it exists or not.
    Topic(&'a str),
    /// All of it.
    Cluster,
}

/// Somebody who sends statements. One that is in the extensions of a request as `Arc<dyn Caller>` has sent that.
pub trait Caller: Send + Sync {
    /// As rules of access name it, `User:anna`.
    fn name(&self) -> String;

    /// Whether it may do that. Asked several times a statement; must not wait.
    fn may(&self, right: Right, with: Guarded<'_>) -> bool;
}
