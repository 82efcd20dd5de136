//! Which task: the connector that it belongs to, and its number.

/// A task of a connector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId {
    pub(crate) connector: String,
    pub(crate) task: u32,
}
