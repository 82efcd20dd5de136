//! One decoded batch on its way into a job.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute;
use arrow::datatypes::TimestampMicrosecondType;
use log_api::Records;

use super::SourceError;
use crate::decode::{Decoded, RowFailure};
use crate::expr::evaluate;
use crate::time::EventTime;
use crate::{BatchExpr, Origin};

/// Rows of one partition, in offset order.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// Which partition, as an index into the source's assignment.
    pub partition: usize,
    /// The rows and the records they were decoded from.
    pub batch: RecordBatch,
    /// For each row its record: `origin.records` is the whole fetched run, other batches share it.
    pub origin: Origin,
    /// Rows that delete their key: of these only the key columns mean something. `None`: there is none.
    pub deleted: Option<BooleanArray>,
    /// Records that cannot be decoded, in order; indexes into `origin.records`.
    pub failures: Vec<RowFailure>,
    /// Records without a value in an append-only topic.
    pub skipped: usize,
    /// The watermark before, in and after the batch; `None` where the spec has no event time.
    pub event_time: Option<EventTime>,
    /// The partition's position once this batch is processed.
    pub next_offset: i64,
}

impl SourceBatch {
    pub(super) fn new(
        partition: usize,
        records: Arc<Records>,
        decoded: Decoded,
        next_offset: i64,
    ) -> Self {
        Self {
            partition,
            origin: Origin {
                records,
                rows: decoded.origin(),
                watermarks: None,
            },
            batch: decoded.batch,
            deleted: decoded.deleted,
            failures: decoded.errors,
            skipped: decoded.skipped,
            event_time: None,
            next_offset,
        }
    }

    /// Takes over what the batch did to event time, and what each row is judged by, if rows are.
    pub(super) fn set_event_time(&mut self, time: EventTime, judges_rows: bool) {
        if judges_rows {
            self.origin.watermarks = Some(self.record_watermarks(&time.row_watermarks()));
        }
        self.event_time = Some(time);
    }

    /// The watermark in force at each record of the run, out of that at each row of this batch.
    fn record_watermarks(&self, rows: &[i64]) -> Arc<[i64]> {
        let records = self.origin.records.len();
        let mut watermarks = Vec::with_capacity(records);
        for (record, watermark) in self.origin.rows.values().iter().zip(rows) {
            // Records before it that became no row did not move event time.
            watermarks.resize(*record as usize + 1, *watermark);
        }
        watermarks.resize(records, rows.last().copied().unwrap_or(i64::MIN));
        watermarks.into()
    }

    /// The watermark expression's value of each row, NULL for deletes. A row for which it fails becomes a failure.
    pub(super) fn watermark_values(
        &mut self,
        watermark: &dyn BatchExpr,
        topic: &str,
    ) -> Result<TimestampMicrosecondArray, SourceError> {
        let error = |reason| SourceError::Watermark {
            topic: topic.to_owned(),
            reason,
        };
        let evaluated = evaluate(watermark, &self.batch);
        let evaluated = evaluated.map_err(|failed| error(failed.to_string()))?;
        if let Some(good) = evaluated.good(self.batch.num_rows()) {
            let mut faults: Vec<Option<String>> = vec![None; good.len()];
            for (row, reason) in &evaluated.bad {
                faults[*row] = Some(format!("the watermark expression failed: {reason}"));
            }
            self.take_out(faults);
        }
        let Some(values) = evaluated.values else {
            return Ok(TimestampMicrosecondArray::new_null(0));
        };
        let found = values.data_type().clone();
        let values: &TimestampMicrosecondArray = values
            .as_primitive_opt::<TimestampMicrosecondType>()
            .filter(|values| values.len() == self.batch.num_rows())
            .ok_or_else(|| error(format!("the expression gives {found}, not a time")))?;
        let Some(deleted) = &self.deleted else {
            return Ok(values.clone());
        };
        let masked: ArrayRef =
            compute::nullif(values, deleted).map_err(|failed| error(failed.to_string()))?;
        Ok(masked.as_primitive().clone())
    }

    /// Makes failures of these records: partition, offset, reason.
    pub(super) fn skip(&mut self, skips: &[(i32, i64, String)]) {
        let records = &self.origin.records;
        let rows = self.origin.rows.values();
        let faults: Vec<Option<String>> = rows
            .iter()
            .map(|&row| {
                let at = (
                    records.partition.partition,
                    records.offsets.value(row as usize),
                );
                let skip = skips.iter().find(|skip| (skip.0, skip.1) == at)?;
                Some(skip.2.clone())
            })
            .collect();
        self.take_out(faults);
    }

    /// Moves the rows that have a fault to the failures.
    #[cold]
    fn take_out(&mut self, faults: Vec<Option<String>>) {
        let keep: Vec<bool> = faults.iter().map(Option::is_none).collect();
        for (row, reason) in faults.into_iter().enumerate() {
            let Some(reason) = reason else {
                continue;
            };
            let record = self.origin.rows.value(row);
            self.failures.push(RowFailure {
                row: record,
                offset: self.origin.records.offsets.value(record as usize),
                reason,
            });
        }
        self.failures.sort_by_key(|failure| failure.row);
        let keep = BooleanArray::from(keep);
        let same = "the mask has the batch's length";
        self.batch = compute::filter_record_batch(&self.batch, &keep).expect(same);
        let rows = compute::filter(&self.origin.rows, &keep).expect(same);
        self.origin.rows = rows.as_primitive().clone();
        if let Some(deleted) = &self.deleted {
            let deleted = compute::filter(deleted, &keep).expect(same);
            self.deleted = Some(deleted.as_boolean().clone());
        }
    }
}
