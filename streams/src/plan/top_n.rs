//! What a ranking computes: the rows of each partition in an order, numbered, and which numbers go on.

use std::ops::Range;

use arrow::datatypes::{DataType, SchemaRef};

use crate::state::is_storable;

/// Ranks the rows of each partition. Emits the columns of the input, then the rank, Int64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopNSpec {
    /// Input columns that form the partition; NULL is one. Empty: all rows are one partition.
    pub partition_by: Vec<usize>,
    /// The order within a partition. Rows that it does not tell apart are ordered by all of their columns.
    pub order_by: Vec<RankOrder>,
    /// How rows that the order does not tell apart are numbered.
    pub rank: Rank,
    /// Which ranks go on; they begin with 1.
    pub ranks: Range<u64>,
}

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankOrder {
    /// The input column.
    pub column: usize,
    /// Whether the largest comes first.
    pub descending: bool,
    /// Whether NULL comes before all values, whatever their order.
    pub nulls_first: bool,
}

/// How rows that an order does not tell apart are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Each has a number of its own.
    RowNumber,
    /// One number for all of them, and as many are left out behind it.
    Rank,
    /// One number for all of them, and the next one follows.
    DenseRank,
}

impl TopNSpec {
    /// Whether ranks beyond some number are never of use: then no more rows than that are kept of what is only added.
    pub fn is_bounded(&self) -> bool {
        self.ranks.end < u64::MAX
    }

    /// What does not fit, in words.
    pub(super) fn check(&self, input: &SchemaRef, output: &SchemaRef) -> Result<(), String> {
        let columns = self.order_by.iter().map(|order| order.column);
        let columns = columns.chain(self.partition_by.iter().copied());
        for column in columns.chain(0..input.fields().len()) {
            let Some(field) = input.fields().get(column) else {
                return Err(format!("column {column} does not exist"));
            };
            if !is_storable(field.data_type()) {
                let (name, data_type) = (field.name(), field.data_type());
                return Err(format!(
                    "column {name} of type {data_type} cannot be kept in state"
                ));
            }
        }
        if self.ranks.start == 0 {
            return Err("ranks begin with 1".to_owned());
        }
        let types = input.fields().iter().map(|field| field.data_type());
        let emitted = output.fields().iter().map(|field| field.data_type());
        if !emitted.eq(types.chain([&DataType::Int64])) {
            return Err("it emits the columns of its input and a rank".to_owned());
        }
        Ok(())
    }
}
