//! Where a job's output goes, and what its records there are.

use super::KeyFormat;
use crate::ValueFormat;

/// Where a job's output goes: a topic and, for a view, its own queryable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// The topic, made if it is missing.
    pub topic: String,
    /// Partitions of a topic that has to be made.
    pub partitions: i32,
    /// Output columns of the record key; they identify a row, but for [`SinkForm::Append`]. Empty: append-only output
    /// without key.
    pub key: Vec<usize>,
    /// How many of the last output columns are of the key alone.
    pub hidden: usize,
    /// How the key is written.
    pub key_format: KeyFormat,
    /// What the records are.
    pub form: SinkForm,
}

/// What the records of a sink are. Values have all columns in order, without the hidden ones; a value that is one column
/// ([`ValueFormat::Text`], [`ValueFormat::Bytes`]) is written without those of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkForm {
    /// A view's own topic, which goes with the job: JSON, the last record of a key is its row, null is none. The rows are kept
    /// in the job's state too, to be read from there.
    View,
    /// A record for each row; needs an output that takes none back. Rows of one key lie in one partition, in their order.
    Append(ValueFormat),
    /// The last record of a key is its row, null is none.
    Upsert(ValueFormat),
    /// What happened to the row of a key, in Debezium's envelope as JSON: `c`, `u`, or `d` with a null value behind it.
    Debezium,
}

impl SinkForm {
    /// Whether the job keeps its rows to be read, in a topic of its own.
    pub fn is_view(&self) -> bool {
        matches!(self, Self::View)
    }

    /// Whether every row is a record of its own, whatever its key.
    pub(crate) fn appends(&self) -> bool {
        matches!(self, Self::Append(_))
    }

    /// Whether the last record of a key is all that counts, so that a topic made for it is compacted.
    pub(crate) fn is_compacted(&self) -> bool {
        matches!(self, Self::View | Self::Upsert(_))
    }

    /// How rows are written.
    pub(crate) fn value_format(&self) -> ValueFormat {
        match self {
            Self::Append(format) | Self::Upsert(format) => format.clone(),
            Self::View | Self::Debezium => ValueFormat::Json {
                timestamp_unit_us: None,
            },
        }
    }
}
