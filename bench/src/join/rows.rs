//! The rows, the same in every run, and what both sides answer.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::JoinArgs;

/// How many regions there are.
const REGIONS: u64 = 50;
/// Bytes of the field that no query asks for: it fills a fact to about 100 bytes.
const NOTE_BYTES: usize = 60;

/// Region, count, sum.
pub(super) type Answer = (String, i64, i64);

/// Makes facts like `{"k":4711,"v":-1234,"note":"…"}` and places like `{"id":4711,"region":"region-07"}`.
pub(super) struct Rows {
    records: u64,
    table_rows: u64,
    moves: u64,
}

/// The file of the facts in a folder.
pub(super) fn facts_file(folder: &Path) -> PathBuf {
    folder.join("facts.json")
}

/// The file of the places as they are in the end.
pub(super) fn places_file(folder: &Path) -> PathBuf {
    folder.join("places.json")
}

impl Rows {
    pub(super) fn new(args: &JoinArgs, table_rows: u64) -> Self {
        Self {
            records: args.records,
            table_rows,
            moves: table_rows * args.moves_per_mille / 1000,
        }
    }

    /// How many places move.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    /// The facts, one after the other: key and row.
    pub(super) fn facts(&self) -> impl Iterator<Item = (u64, String)> {
        let mut random = fastrand::Rng::with_seed(42);
        let text: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(1 << 16)
            .collect();
        let table_rows = self.table_rows;
        (0..self.records).map(move |_| {
            let key = random.u64(..table_rows);
            let value = random.i64(-100_000..100_000);
            let from = random.usize(..text.len() - NOTE_BYTES);
            let note = &text[from..from + NOTE_BYTES];
            let row = format!("{{\"k\":{key},\"v\":{value},\"note\":\"{note}\"}}");
            (key, row)
        })
    }

    /// The places as they are first: key and row.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, String)> {
        (0..self.table_rows).map(|id| (id, place(id, id % REGIONS)))
    }

    /// Those that move, as they are then.
    pub(super) fn moved(&self) -> impl Iterator<Item = (u64, String)> {
        (0..self.moves).map(|id| (id, place(id, (id + 7) % REGIONS)))
    }

    /// Writes the places as they are in the end.
    pub(super) fn write_places(&self, folder: &Path) -> Result<()> {
        let file = File::create(places_file(folder))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        let stay = self.places().skip(usize::try_from(self.moves)?);
        for (_, row) in self.moved().chain(stay) {
            writeln!(file, "{row}")?;
        }
        file.into_inner().context("write the file")?.sync_all()?;
        Ok(())
    }
}

fn place(id: u64, region: u64) -> String {
    let mut row = String::with_capacity(48);
    // Writing to a String cannot fail.
    let _ = write!(row, "{{\"id\":{id},\"region\":\"region-{region:02}\"}}");
    row
}

/// The named columns as answers, added to `answers`.
pub(super) fn read_answers(batch: &RecordBatch, answers: &mut Vec<Answer>) -> Result<()> {
    let column = |name: &str, data_type: &DataType| {
        let column = batch
            .column_by_name(name)
            .with_context(|| format!("no column {name}"))?;
        cast(column, data_type).with_context(|| format!("column {name}"))
    };
    let regions = column("region", &DataType::Utf8)?;
    let (counts, sums) = (
        column("n", &DataType::Int64)?,
        column("total", &DataType::Int64)?,
    );
    let regions = regions.as_string::<i32>();
    let [counts, sums] = [&counts, &sums].map(|array| array.as_primitive::<Int64Type>());
    answers.extend((0..batch.num_rows()).map(|row| {
        let region = regions.value(row).to_owned();
        (region, counts.value(row), sums.value(row))
    }));
    Ok(())
}
