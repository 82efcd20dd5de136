//! Which columns a record's key fills, and how it is written.

use arrow::datatypes::DataType;

use super::SourceSpecError;
use super::fault::type_name;
use crate::{KeyFormat, SourceMode, SourceSpec};

/// The record key of a NULL in a text key: a compacted topic takes no null keys, and PostgreSQL has no text with
/// this character.
pub(crate) const NULL_TEXT_KEY: &[u8] = b"\0";

/// Where key columns come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySource {
    /// Keys are not looked at.
    None,
    /// A key must be there, no column shows it.
    Required,
    /// The whole key is this column.
    Text(usize),
    /// A JSON object, or a bare value for the only column.
    Json { bare: Option<usize> },
}

impl KeySource {
    pub(super) fn new(spec: &SourceSpec, columns: &[usize]) -> Result<Self, SourceSpecError> {
        let error = |reason: String| {
            Err(SourceSpecError::Key {
                topic: spec.topic.clone(),
                reason,
            })
        };
        let upsert = matches!(spec.mode, SourceMode::Upsert { .. });
        match (spec.key_format, columns) {
            (KeyFormat::None, []) if !upsert => Ok(Self::None),
            (KeyFormat::None, []) => Ok(Self::Required),
            (KeyFormat::None, [first, ..]) => {
                let name = &spec.columns[*first].name;
                error(format!(
                    "column {name:?} is read from the record key, but key.format is none"
                ))
            }
            (_, []) => Ok(if upsert { Self::Required } else { Self::None }),
            (KeyFormat::String, [column]) => {
                let column_spec = &spec.columns[*column];
                if column_spec.data_type == DataType::Utf8View {
                    return Ok(Self::Text(*column));
                }
                let (name, found) = (&column_spec.name, type_name(&column_spec.data_type));
                error(format!(
                    "key.format string needs a TEXT column, {name:?} is {found}; use key.format json"
                ))
            }
            (KeyFormat::String, _) => error(format!(
                "key.format string needs a single key column, there are {}; use key.format json",
                columns.len()
            )),
            (KeyFormat::Json, [column]) => Ok(Self::Json {
                bare: Some(*column),
            }),
            (KeyFormat::Json, _) => Ok(Self::Json { bare: None }),
        }
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::None
    }
}
