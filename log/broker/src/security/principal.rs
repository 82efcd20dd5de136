//! Whom a connection was authenticated as.

use std::fmt;
use std::sync::Arc;

/// The only kind of principal there is.
const USER: &str = "User";

/// Whom a connection was authenticated as, in Kafka's words `User:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Principal {
    name: Arc<str>,
}

impl Principal {
    /// A user of this name.
    pub(crate) fn user(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// Whoever comes through a listener that asks nobody who they are.
    pub(crate) fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The name behind `User:`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{USER}:{}", self.name)
    }
}
