//! What a view holds at its last commit, for whoever reads it while the job goes on.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use log_api::TopicPartition;
use tokio::sync::Notify;

use crate::state::row::RowReader;
use crate::state::{Column, Physical, ScanOrder, StateError, StateRead, VIEW, key};

/// Rows of one batch of a snapshot.
const BATCH_ROWS: usize = 8192;

/// Which commit something is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitInfo {
    /// Number of the commit, from 1; 0 before the first.
    pub number: u64,
    /// The next offset to be read of every input partition: all records before it are in. Before the first commit,
    /// where the job starts.
    pub positions: Vec<(TopicPartition, i64)>,
}

impl CommitInfo {
    /// Whether everything before these positions is in; partitions that are no input do not matter.
    pub fn covers(&self, positions: &[(TopicPartition, i64)]) -> bool {
        positions.iter().all(|(partition, offset)| {
            self.positions
                .iter()
                .find(|(own, _)| own == partition)
                .is_none_or(|(_, reached)| reached >= offset)
        })
    }
}

/// The rows of a view, all of one commit. Holds on to that state until it is dropped; does not hold up the job.
pub struct ViewSnapshot {
    /// The state of every token.
    reads: Vec<Arc<dyn StateRead>>,
    schema: SchemaRef,
    commit: CommitInfo,
    /// Wakes the job, which looks whether its state is damaged.
    wake: Option<Arc<Notify>>,
}

impl std::fmt::Debug for ViewSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewSnapshot")
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

impl ViewSnapshot {
    pub(crate) fn new(
        reads: Vec<Arc<dyn StateRead>>,
        schema: SchemaRef,
        commit: CommitInfo,
    ) -> Self {
        Self {
            reads,
            schema,
            commit,
            wake: None,
        }
    }

    /// The same, and the job is woken where reading fails.
    pub(crate) fn telling(mut self, wake: Arc<Notify>) -> Self {
        self.wake = Some(wake);
        self
    }

    /// The view's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The commit that this is the state of.
    pub fn commit(&self) -> &CommitInfo {
        &self.commit
    }

    /// The rows of these keys, as far as they are there: `key` holds each column of the view's key, a row a key. Reads only
    /// them; may touch the disk.
    ///
    /// # Errors
    /// From the store; columns of other types than the key's find nothing.
    pub fn rows_of(&self, key: &[ArrayRef]) -> Result<RecordBatch, StateError> {
        let columns = key.iter().map(|array| {
            let physical = Physical::of(array.data_type());
            physical.zip(Column::of(array))
        });
        let columns = columns.collect::<Option<Vec<_>>>();
        let columns = columns.ok_or_else(|| StateError::Corrupt {
            what: "key of a view",
            reason: "a column is of a type that no key has".to_owned(),
        })?;
        let rows = key.first().map_or(0, |column| column.len());
        let mut cells = Vec::new();
        let encoded = (0..rows).map(|row| {
            cells.clear();
            key::push_row(&columns, row, &mut cells);
            let mut state_key = Vec::with_capacity(cells.len() + 4);
            key::start(VIEW, &cells, &mut state_key);
            state_key.extend_from_slice(&cells);
            state_key
        });
        let mut keys: Vec<Vec<u8>> = encoded.collect();
        keys.sort_unstable();
        keys.dedup();
        let mut reader = RowReader::new(&self.schema)?;
        for read in &self.reads {
            let rows = read.get_many(&keys);
            let rows = rows.inspect_err(|_| tell(self.wake.as_deref()))?;
            for row in rows.into_iter().flatten() {
                reader.push(&row)?;
            }
        }
        Ok(reader.finish())
    }

    /// The rows, in batches of at most 8192, in no order that means something (without a key: in the order of output).
    /// Reading may touch the disk: on an async thread use a blocking one for large views.
    pub fn batches(&self) -> ViewBatches {
        let (from, to) = key::operator_range(VIEW);
        ViewBatches {
            reads: self.reads.clone().into_iter(),
            reading: None,
            schema: self.schema.clone(),
            from,
            to,
            wake: self.wake.clone(),
        }
    }
}

/// See [`ViewSnapshot::batches`].
pub struct ViewBatches {
    /// The tokens that were not read yet.
    reads: std::vec::IntoIter<Arc<dyn StateRead>>,
    /// The one that is read, and where to go on.
    reading: Option<(Arc<dyn StateRead>, Vec<u8>)>,
    schema: SchemaRef,
    from: Vec<u8>,
    to: Vec<u8>,
    wake: Option<Arc<Notify>>,
}

/// Wakes the job after a failure.
fn tell(wake: Option<&Notify>) {
    if let Some(wake) = wake {
        wake.notify_one();
    }
}

impl std::fmt::Debug for ViewBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.reading.as_ref().map(|(_, place)| place);
        f.debug_struct("ViewBatches")
            .field("from", &place)
            .finish_non_exhaustive()
    }
}

impl ViewBatches {
    /// A batch of one token from a place on.
    fn read_batch(
        &mut self,
        read: Arc<dyn StateRead>,
        from: &[u8],
    ) -> Result<RecordBatch, StateError> {
        let mut reader = RowReader::new(&self.schema)?;
        let mut failed = None;
        let mut rest = None;
        read.scan(
            from,
            &self.to,
            ScanOrder::Ascending,
            &mut |state_key, value| {
                if reader.len() == BATCH_ROWS {
                    rest = Some(state_key.to_vec());
                    return ControlFlow::Break(());
                }
                match reader.push(value) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )?;
        self.reading = rest.map(|rest| (read, rest));
        match failed {
            Some(error) => Err(error),
            None => Ok(reader.finish()),
        }
    }
}

impl Iterator for ViewBatches {
    type Item = Result<RecordBatch, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (read, from) = match self.reading.take() {
                Some(reading) => reading,
                None => (self.reads.next()?, self.from.clone()),
            };
            match self.read_batch(read, &from) {
                Ok(batch) if batch.num_rows() == 0 => {}
                batch => {
                    return Some(batch.inspect_err(|_| tell(self.wake.as_deref())));
                }
            }
        }
    }
}
