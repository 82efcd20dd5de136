//! Rows by chance: what comes, changes and goes in each relation, in an order of which some is late.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::DataType;

use super::random::Random;
use crate::catalog::{Relation, TimeAttribute};

/// Texts that collide, and some that are numbers.
pub(super) const TEXTS: [&str; 6] = ["a", "A", "b", "ab", "", "7"];

/// 2024-01-01, µs since 1970.
const BEGIN_US: i64 = 1_704_067_200_000_000;
const SECOND_US: i64 = 1_000_000;

/// The records of a topic, in order.
pub(super) struct Topic {
    pub relation: Arc<Relation>,
    /// All columns of the relation. Of records that delete, the key counts.
    pub records: RecordBatch,
    pub deleted: BooleanArray,
}

impl Topic {
    pub(super) fn by_chance(relation: &Arc<Relation>, random: &mut Random) -> Self {
        let count = match random.below(20) {
            0 => 0,
            1 => 1,
            _ => 5 + random.below(25),
        };
        let is_table = !relation.key.is_empty();
        // NULLs and zeros are rare, so that guards and paddings mean something.
        let columns = relation.columns.iter().enumerate().map(|(index, column)| {
            let nullable = !relation.key.contains(&index);
            values(&column.data_type, count, nullable, random)
        });
        let records = RecordBatch::try_new(Arc::clone(&relation.schema), columns.collect());
        let deleted = (0..count).map(|_| Some(is_table && random.below(4) == 0));
        Self {
            relation: Arc::clone(relation),
            records: records.expect("columns are made by the schema"),
            deleted: deleted.collect(),
        }
    }

    /// What is there in the end: all records of a source, the last row of each key of a table.
    pub(super) fn content(&self) -> RecordBatch {
        if self.relation.key.is_empty() {
            return self.records.clone();
        }
        let mut last = BTreeMap::new();
        for row in 0..self.records.num_rows() {
            let key = self.relation.key.iter();
            let key: Vec<String> = key.map(|&column| self.text(column, row)).collect();
            last.insert(key, row);
        }
        let there = last.into_values().filter(|&row| !self.deleted.value(row));
        let rows: UInt32Array = there
            .map(|row| u32::try_from(row).expect("few rows"))
            .collect();
        take_record_batch(&self.records, &rows).expect("rows are inside")
    }

    /// All records that have a row, with their offsets in front: versions.
    pub(super) fn versions(&self) -> RecordBatch {
        let versions = self.relation.versions();
        let offsets = (0..self.records.num_rows()).map(|offset| offset as i64);
        let offsets: ArrayRef = Arc::new(offsets.collect::<Int64Array>());
        let columns = std::iter::once(offsets).chain(self.records.columns().iter().cloned());
        let all = RecordBatch::try_new(versions.schema, columns.collect());
        let there = arrow::compute::not(&self.deleted).expect("a mask");
        filter_record_batch(&all.expect("a column was added"), &there).expect("one length")
    }

    fn text(&self, column: usize, row: usize) -> String {
        let column = self.records.column(column);
        arrow::util::display::array_value_to_string(column, row).expect("a type that prints")
    }

    /// The records of a source that are not late for windows of `size_us`, told one by one.
    pub(super) fn in_time(&self, size_us: i64, grace_us: i64) -> RecordBatch {
        let time = self.relation.times[0];
        in_time(&self.records, time, size_us, grace_us)
    }

    /// The same of versions.
    pub(super) fn versions_in_time(&self, size_us: i64, grace_us: i64) -> RecordBatch {
        let time = self.relation.versions().times[0];
        in_time(&self.versions(), time, size_us, grace_us)
    }
}

fn in_time(rows: &RecordBatch, time: TimeAttribute, size_us: i64, grace_us: i64) -> RecordBatch {
    let times = rows.column(time.column);
    let times =
        arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampMicrosecondType>(times);
    let mut watermark = i64::MIN;
    let mut judge = |at: Option<i64>| {
        let at = at?;
        let end = at.div_euclid(size_us) * size_us + size_us;
        let in_time = end + grace_us > watermark;
        watermark = watermark.max(at - time.delay_us);
        Some(in_time)
    };
    let kept: BooleanArray = times
        .iter()
        .map(|at| Some(judge(at).unwrap_or(true)))
        .collect();
    filter_record_batch(rows, &kept).expect("the mask has the batch's length")
}

fn values(data_type: &DataType, count: usize, nullable: bool, random: &mut Random) -> ArrayRef {
    let mut clock = 0;
    let mut cells: Vec<Option<i64>> = Vec::with_capacity(count);
    for _ in 0..count {
        let null = nullable && random.below(8) == 0;
        let value = match data_type {
            DataType::Timestamp(_, _) => {
                clock += random.below(9) as i64;
                let behind = match random.below(5) {
                    0 => random.below(40) as i64,
                    _ => 0,
                };
                BEGIN_US + (clock - behind) * SECOND_US
            }
            _ => random.below(7) as i64 - 2,
        };
        cells.push((!null).then_some(value));
    }
    let cells = cells.into_iter();
    match data_type {
        DataType::Utf8View => {
            let text = |value: i64| TEXTS[usize::try_from(value + 2).unwrap_or(0) % TEXTS.len()];
            Arc::new(
                cells
                    .map(|cell| cell.map(text))
                    .collect::<StringViewArray>(),
            )
        }
        DataType::Int32 => {
            let small = |value| i32::try_from(value).expect("values are small");
            Arc::new(cells.map(|cell| cell.map(small)).collect::<Int32Array>())
        }
        DataType::Int64 => Arc::new(cells.collect::<Int64Array>()),
        DataType::Float64 => {
            let half = |value| value as f64 / 2.0;
            Arc::new(cells.map(|cell| cell.map(half)).collect::<Float64Array>())
        }
        DataType::Boolean => {
            let odd = |value: i64| value % 2 == 0;
            Arc::new(cells.map(|cell| cell.map(odd)).collect::<BooleanArray>())
        }
        DataType::Decimal128(precision, scale) => {
            let quarter = |value: i64| i128::from(value) * 25;
            let array: Decimal128Array = cells.map(|cell| cell.map(quarter)).collect();
            let array = array.with_precision_and_scale(*precision, *scale);
            Arc::new(array.expect("values are small"))
        }
        DataType::Timestamp(_, _) => Arc::new(cells.collect::<TimestampMicrosecondArray>()),
        other => panic!("no values of type {other}"),
    }
}
