//! What a statement answers: a word, rows that end, or changes that go on.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Serialize};

use super::notice::Notices;
use crate::diagnostic::Diagnostic;
use crate::plan::type_name;

/// One column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerColumn {
    /// Its name.
    pub name: String,
    /// SQL's name of its type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// One change of a push query's result.
#[derive(Debug, Clone)]
pub struct Change {
    /// +1: the row is there now; −1: it no longer is.
    pub diff: i8,
    /// The row, in a batch of one row or more, at `row`.
    pub batch: RecordBatch,
    /// Which row of the batch.
    pub row: usize,
}

/// Batches of changes: a sign a row, `None` where all are +1.
pub(crate) type Changes = Pin<
    Box<
        dyn Stream<Item = Result<(RecordBatch, Option<arrow::array::Int8Array>), Diagnostic>>
            + Send,
    >,
>;

/// Batches of rows.
pub(crate) type Rows = Pin<Box<dyn Stream<Item = Result<RecordBatch, Diagnostic>> + Send>>;

/// The changes of a push query, until it is dropped or ends.
pub struct ChangeStream {
    changes: Changes,
    notices: Notices,
}

impl std::fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeStream").finish_non_exhaustive()
    }
}

impl ChangeStream {
    /// What the changes do not show, and was not told before: to be asked before the first of them, and whenever a batch
    /// came, which has no changes where it is only to be told.
    pub fn notices(&self) -> Vec<Diagnostic> {
        self.notices.take()
    }

    /// The next changes, one batch of them; `None` at the end. Dropping the future loses none.
    ///
    /// # Errors
    /// The query failed; nothing follows.
    pub async fn next(&mut self) -> Option<Result<Vec<Change>, Diagnostic>> {
        let next = self.changes.next().await?;
        Some(next.map(|(batch, diff)| {
            let change = |row| Change {
                diff: diff.as_ref().map_or(1, |diff| diff.value(row)),
                batch: batch.clone(),
                row,
            };
            (0..batch.num_rows()).map(change).collect()
        }))
    }
}

/// The answer of one statement, in this process.
#[derive(Debug)]
pub enum Answer {
    /// It was carried out.
    Done {
        /// What was done: `created materialized view delays`.
        message: String,
        /// What there is to know about it.
        notes: Vec<String>,
    },
    /// Rows, all of them.
    Rows {
        /// Their columns.
        columns: Vec<AnswerColumn>,
        /// The rows.
        batches: Vec<RecordBatch>,
        /// What they do not show: records that could not be read, views that are behind.
        notices: Vec<Diagnostic>,
    },
    /// A push query: changes that go on.
    Changes {
        /// Columns of its rows.
        columns: Vec<AnswerColumn>,
        /// The changes.
        changes: ChangeStream,
    },
}

/// The same, with rows that are still to come.
pub(crate) enum Outcome {
    Done {
        message: String,
        notes: Vec<String>,
    },
    Rows {
        schema: SchemaRef,
        rows: Rows,
        /// Complete once the rows have ended.
        notices: Notices,
    },
    Changes {
        schema: SchemaRef,
        changes: Changes,
        /// What there is to say before the first change, and between them.
        notices: Notices,
    },
}

impl Outcome {
    pub(crate) fn done(message: impl Into<String>) -> Self {
        Self::Done {
            message: message.into(),
            notes: Vec::new(),
        }
    }

    /// A table of texts.
    pub(crate) fn table(names: &[&str], table: Vec<Vec<Option<String>>>) -> Self {
        let field = |name: &&str| Field::new(*name, DataType::Utf8View, true);
        let schema = Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()));
        let column = |index: usize| {
            let cells = table.iter().map(|row| row.get(index).cloned().flatten());
            Arc::new(cells.collect::<StringViewArray>()) as ArrayRef
        };
        let columns = (0..names.len()).map(column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
            .expect("columns are of one length and of the schema's type");
        Self::Rows {
            schema,
            rows: stream::iter([Ok(batch)]).boxed(),
            notices: Notices::default(),
        }
    }

    /// Lines of text as rows of one column.
    pub(crate) fn lines(name: &str, lines: impl IntoIterator<Item = String>) -> Self {
        Self::table(
            &[name],
            lines.into_iter().map(|line| vec![Some(line)]).collect(),
        )
    }

    /// With all rows read.
    pub(crate) async fn collect(self) -> Result<Answer, Diagnostic> {
        match self {
            Self::Done { message, notes } => Ok(Answer::Done { message, notes }),
            Self::Rows {
                schema,
                mut rows,
                notices,
            } => {
                let mut batches = Vec::new();
                while let Some(batch) = rows.next().await {
                    batches.push(batch?);
                }
                Ok(Answer::Rows {
                    columns: columns(&schema),
                    batches,
                    notices: notices.take(),
                })
            }
            Self::Changes {
                schema,
                changes,
                notices,
            } => {
                let changes = ChangeStream { changes, notices };
                Ok(Answer::Changes {
                    columns: columns(&schema),
                    changes,
                })
            }
        }
    }
}

/// The columns of a schema as an answer names them.
pub(crate) fn columns(schema: &Schema) -> Vec<AnswerColumn> {
    let column = |field: &Arc<Field>| AnswerColumn {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}
