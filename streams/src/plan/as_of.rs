//! What an as-of join computes: each row of the left input with the one row of the right input that is nearest in time.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use crate::state::{Physical, is_storable};

/// Joins each row of the left input with at most one row of the right one. Emits the columns of the left input, then those
/// of the right one.
///
/// A NULL in a key or a time matches nothing. Of several right rows at the nearest time the one counts whose columns, all of
/// them in order, are greatest, or smallest where it looks ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOfSpec {
    /// Equal columns of the left input. None: every row meets every row.
    pub left_keys: Vec<usize>,
    /// Equal columns of the right input, of the same types in the same order.
    pub right_keys: Vec<usize>,
    /// The time of a left row, Timestamp(µs).
    pub left_time: usize,
    /// The time of a right row, Timestamp(µs).
    pub right_time: usize,
    /// Which right rows count.
    pub nearest: Nearest,
    /// Whether left rows without a match come out, padded with NULLs.
    pub pads: bool,
    /// When a left row has its answer, and what becomes of it.
    pub answer: Answer,
}

/// When a left row has its answer, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// At once; it is corrected by whatever comes later, on either side.
    Corrected,
    /// Once event time has passed the row, for good. Both inputs are only added to, and none of their rows comes later than
    /// this after event time, µs: of the right rows only those are kept that a left row may still meet.
    AtEventTime {
        /// How far behind event time rows may come.
        grace_us: i64,
    },
    /// At the end of the epoch that brings the row, by the right rows that are there then, for good. The left input is only
    /// added to, and not kept.
    AtArrival,
}

impl Answer {
    /// Whether nothing that comes later changes it.
    pub fn is_final(self) -> bool {
        self != Self::Corrected
    }
}

/// Which right rows count for a left row: of those, the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nearest {
    /// `left >= right`
    AtOrBefore,
    /// `left > right`
    Before,
    /// `left <= right`
    AtOrAfter,
    /// `left < right`
    After,
}

impl Nearest {
    /// Whether it looks at right rows that are later.
    pub fn is_ahead(self) -> bool {
        matches!(self, Self::AtOrAfter | Self::After)
    }

    /// Whether a right row of the same time counts.
    pub fn takes_equal(self) -> bool {
        matches!(self, Self::AtOrBefore | Self::AtOrAfter)
    }
}

impl AsOfSpec {
    /// What does not fit, in words.
    pub(super) fn check(&self, inputs: &[&SchemaRef], output: &SchemaRef) -> Result<(), String> {
        let [left, right] = inputs else {
            return Err("it takes two inputs".to_owned());
        };
        if self.left_keys.len() != self.right_keys.len() {
            return Err("an as-of join compares as many columns left as right".to_owned());
        }
        let sides = [
            (left, &self.left_keys, self.left_time),
            (right, &self.right_keys, self.right_time),
        ];
        for (schema, keys, time) in sides {
            let columns = keys.iter().copied().chain([time]);
            if let Some(column) = { columns }.find(|&column| column >= schema.fields().len()) {
                return Err(format!("column {column} does not exist"));
            }
            if let Some(field) =
                (schema.fields().iter()).find(|field| !is_storable(field.data_type()))
            {
                return Err(format!("column {} cannot be kept in state", field.name()));
            }
            if !matches!(
                schema.field(time).data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, _)
            ) {
                return Err("an as-of join compares timestamps".to_owned());
            }
        }
        for (&of_left, &of_right) in self.left_keys.iter().zip(&self.right_keys) {
            let (one, other) = (left.field(of_left), right.field(of_right));
            if Physical::of(one.data_type()) != Physical::of(other.data_type()) {
                return Err(format!(
                    "{} and {} are of different types",
                    one.name(),
                    other.name()
                ));
            }
        }
        let types = left.fields().iter().chain(right.fields());
        let types = types.map(|field| field.data_type());
        if !types.eq(output.fields().iter().map(|field| field.data_type())) {
            return Err("an as-of join gives the columns of both inputs".to_owned());
        }
        Ok(())
    }
}
