//! What functions of OVER compute: a value for each row of the rows around it in its partition.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::{AggregateCall, BatchExpr, RankOrder};
use crate::aggregate::BoundCall;
use crate::state::is_storable;

/// Functions over the rows of each partition in one order. Emits the columns of the input, then one for each function.
#[derive(Debug, Clone)]
pub struct OverSpec {
    /// Input columns that form the partition; NULL is one. Empty: all rows are one partition.
    pub partition_by: Vec<usize>,
    /// The order within a partition. Rows that it does not tell apart are ordered by all of their columns.
    pub order_by: Vec<RankOrder>,
    /// The functions.
    pub functions: Vec<OverFunction>,
}

/// One function of OVER.
#[derive(Debug, Clone)]
pub struct OverFunction {
    /// How EXPLAIN shows it.
    pub name: String,
    /// What it gives a row.
    pub values: OverValues,
    /// Type of the result.
    pub output: DataType,
}

/// What a function of OVER gives a row.
#[derive(Debug, Clone)]
pub enum OverValues {
    /// What is computed of the rows around it.
    Around {
        /// Over neighbouring rows of one partition in their order: a value for each. For the first rows and the last ones
        /// of those it may be any where rows beyond them are missing, as far as it looks.
        values: Arc<dyn BatchExpr>,
        /// How far before a row it looks.
        behind: Reach,
        /// How far behind a row it looks.
        ahead: Reach,
    },
    /// An aggregate over all rows of the partition up to it, without an order of its own and without DISTINCT, that keeps
    /// a few numbers.
    Running {
        /// The aggregate.
        call: AggregateCall,
        /// Over the rows behind it, too, that the order does not tell apart from it.
        peers: bool,
    },
}

/// How far a function looks to one side of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// So many rows.
    Rows(u64),
    /// The rows that the order does not tell apart from it.
    Peers,
    /// The rows whose time is so near, µs: the only column of the order is a rising Timestamp(µs). 0: those of the same time.
    Time(i64),
    /// All rows.
    All,
}

impl Reach {
    /// What both look at.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rows(0), reach) | (reach, Self::Rows(0)) => reach,
            (Self::Rows(one), Self::Rows(other)) => Self::Rows(one.max(other)),
            (Self::Time(one), Self::Time(other)) => Self::Time(one.max(other)),
            (Self::Peers, reach @ (Self::Peers | Self::Time(_)))
            | (reach @ Self::Time(_), Self::Peers) => reach,
            _ => Self::All,
        }
    }
}

impl OverSpec {
    /// How far those of its functions look before a row, and behind it, that are computed of the rows around.
    pub fn reach(&self) -> (Reach, Reach) {
        let functions = self.functions.iter();
        functions.fold(
            (Reach::Rows(0), Reach::Rows(0)),
            |reach, function| match &function.values {
                OverValues::Around { behind, ahead, .. } => {
                    (reach.0.or(*behind), reach.1.or(*ahead))
                }
                OverValues::Running { .. } => reach,
            },
        )
    }

    /// Whether one of its functions goes over all rows up to each.
    pub fn runs(&self) -> bool {
        let mut functions = self.functions.iter();
        functions.any(|function| matches!(function.values, OverValues::Running { .. }))
    }

    /// What does not fit, in words.
    pub(super) fn check(&self, input: &SchemaRef, output: &SchemaRef) -> Result<(), String> {
        let columns = self.order_by.iter().map(|order| order.column);
        let columns = columns.chain(self.partition_by.iter().copied());
        for column in columns.chain(0..input.fields().len()) {
            match input.fields().get(column) {
                None => return Err(format!("column {column} does not exist")),
                Some(field) => storable(field.name(), field.data_type())?,
            }
        }
        for function in &self.functions {
            storable(&function.name, &function.output)?;
            if let OverValues::Running { call, .. } = &function.values {
                runnable(call, input).map_err(|reason| format!("{}: {reason}", function.name))?;
            }
        }
        let (behind, ahead) = self.reach();
        let by_time = [behind, ahead]
            .iter()
            .any(|reach| matches!(reach, Reach::Time(_)));
        if by_time && !self.is_by_time(input) {
            return Err("a reach in time is in the order of one rising time".to_owned());
        }
        let types = input.fields().iter().map(|field| field.data_type());
        let results = self.functions.iter().map(|function| &function.output);
        let emitted = output.fields().iter().map(|field| field.data_type());
        if !emitted.eq(types.chain(results)) {
            return Err("it emits the columns of its input and its functions".to_owned());
        }
        Ok(())
    }

    /// Whether the order is that of one rising time.
    fn is_by_time(&self, input: &SchemaRef) -> bool {
        let [order] = self.order_by.as_slice() else {
            return false;
        };
        let data_type = input.field(order.column).data_type();
        let is_time = matches!(
            data_type,
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _)
        );
        is_time && !order.descending
    }
}

/// Whether an aggregate can go over rows and on from any of them.
fn runnable(call: &AggregateCall, input: &SchemaRef) -> Result<(), String> {
    let columns = call.arguments.iter().chain(&call.filter);
    if let Some(column) = columns
        .copied()
        .find(|column| *column >= input.fields().len())
    {
        return Err(format!("column {column} does not exist"));
    }
    let bound = BoundCall::of(call, input, true);
    call.function.check(&bound)?;
    match call.distinct || !call.order_by.is_empty() || call.function.keeps_values(&bound) {
        true => Err("it keeps its values".to_owned()),
        false => Ok(()),
    }
}

fn storable(name: &str, data_type: &DataType) -> Result<(), String> {
    match is_storable(data_type) {
        true => Ok(()),
        false => Err(format!(
            "column {name} of type {data_type} cannot be kept in state"
        )),
    }
}
