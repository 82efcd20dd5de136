//! DataFusion's accumulators in the engine: the values of a group are kept with their counts, and run through the
//! accumulator when the group has changed, each as often as it is there and in the order that the call asks for.
//!
//! What is kept are values in the engine's own encoding, and the result that was given: an upgrade of DataFusion that
//! computes another result takes the old one back as it was.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator as LibraryAccumulator, AggregateUDF};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use streams::{Accumulator, AggregateFunction, BoundCall, Fold, StartFold, replay};

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::plan) enum Argument {
    /// The same for all rows.
    Constant(ScalarValue),
    /// The next column of the engine's call, in the type that the function takes.
    Column(DataType),
}

/// An aggregate of DataFusion with its constants.
#[derive(Debug, Clone)]
pub(in crate::plan) struct LibraryAggregate {
    pub(in crate::plan) function: Arc<AggregateUDF>,
    pub(in crate::plan) arguments: Vec<Argument>,
    /// The type of its result before it is one that can be kept.
    pub(in crate::plan) returns: DataType,
    pub(in crate::plan) ignores_nulls: bool,
    /// Of WITHIN GROUP: the order of the first argument.
    pub(in crate::plan) descending: bool,
}

impl LibraryAggregate {
    fn accumulator(&self) -> BoundResult<Box<dyn LibraryAccumulator>> {
        let mut fields: Vec<FieldRef> = Vec::with_capacity(self.arguments.len());
        let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::with_capacity(self.arguments.len());
        for (place, argument) in self.arguments.iter().enumerate() {
            let name = format!("a{place}");
            let data_type = match argument {
                Argument::Constant(value) => {
                    exprs.push(Arc::new(Literal::new(value.clone())));
                    value.data_type()
                }
                Argument::Column(data_type) => {
                    exprs.push(Arc::new(Column::new(&name, place)));
                    data_type.clone()
                }
            };
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        // Values come in order: only ordered sets have to know which.
        let order_bys: Vec<PhysicalSortExpr> = match (self.descending, exprs.first()) {
            (true, Some(first)) => {
                let mut by = PhysicalSortExpr::new_default(Arc::clone(first));
                by.options.descending = true;
                vec![by]
            }
            _ => Vec::new(),
        };
        self.function.accumulator(AccumulatorArgs {
            return_field: Arc::new(Field::new("result", self.returns.clone(), true)),
            schema: &Schema::new(fields.clone()),
            ignore_nulls: self.ignores_nulls,
            order_bys: &order_bys,
            is_reversed: false,
            name: self.function.name(),
            is_distinct: false,
            exprs: &exprs,
            expr_fields: &fields,
        })
    }
}

impl AggregateFunction for LibraryAggregate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn describe(&self, arguments: &[String]) -> String {
        let mut columns = arguments.iter();
        let texts = self.arguments.iter().map(|argument| match argument {
            Argument::Constant(value) => match value {
                ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
                    format!("'{text}'")
                }
                value => value.to_string(),
            },
            Argument::Column(_) => columns.next().cloned().unwrap_or_default(),
        });
        let texts: Vec<String> = texts.collect();
        let order = if self.descending { " DESC" } else { "" };
        let nulls = if self.ignores_nulls {
            " IGNORE NULLS"
        } else {
            ""
        };
        format!("{}({}{order}){nulls}", self.name(), texts.join(", "))
    }

    fn shape(&self) -> Vec<u8> {
        let mut shape = vec![0];
        let mut text = |text: &str| {
            shape.extend_from_slice(&(text.len() as u32).to_le_bytes());
            shape.extend_from_slice(text.as_bytes());
        };
        text(self.function.name());
        for argument in &self.arguments {
            if let Argument::Constant(value) = argument {
                text(&value.to_string());
            }
        }
        shape.push(u8::from(self.ignores_nulls) | u8::from(self.descending) << 1);
        shape
    }

    fn check(&self, call: &BoundCall) -> Result<(), String> {
        let columns = self.arguments.iter();
        let columns = columns.filter(|argument| matches!(argument, Argument::Column(_)));
        if columns.count() != call.arguments.len() {
            return Err(format!("{} has another number of arguments", self.name()));
        }
        self.accumulator()
            .map_err(|error| error.strip_backtrace())
            .map(|_| ())
    }

    fn keeps_values(&self, _call: &BoundCall) -> bool {
        true
    }

    fn takes_nulls(&self) -> bool {
        true
    }

    fn build(&self, call: &BoundCall) -> Box<dyn Accumulator> {
        let start = Start {
            aggregate: self.clone(),
            output: call.output.clone(),
        };
        replay(call, Arc::new(start))
    }
}

#[derive(Debug)]
struct Start {
    aggregate: LibraryAggregate,
    output: DataType,
}

impl StartFold for Start {
    fn start(&self) -> Result<Box<dyn Fold>, String> {
        let accumulator = self.aggregate.accumulator();
        Ok(Box::new(Run {
            accumulator: accumulator.map_err(|error| error.strip_backtrace())?,
            arguments: self.aggregate.arguments.clone(),
            output: self.output.clone(),
        }))
    }
}

struct Run {
    accumulator: Box<dyn LibraryAccumulator>,
    arguments: Vec<Argument>,
    output: DataType,
}

impl Run {
    fn update(&mut self, columns: &[ArrayRef]) -> BoundResult<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut columns = columns.iter();
        let mut values = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            match argument {
                Argument::Constant(value) => values.push(value.to_array_of_size(rows)?),
                Argument::Column(data_type) => {
                    if let Some(column) = columns.next() {
                        values.push(typed(column, data_type)?);
                    }
                }
            }
        }
        self.accumulator.update_batch(&values)
    }

    fn result(&mut self) -> BoundResult<ArrayRef> {
        typed(&self.accumulator.evaluate()?.to_array()?, &self.output)
    }
}

fn typed(values: &ArrayRef, data_type: &DataType) -> BoundResult<ArrayRef> {
    if values.data_type() == data_type {
        return Ok(Arc::clone(values));
    }
    Ok(cast(values, data_type)?)
}

impl Fold for Run {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<(), String> {
        self.update(arguments)
            .map_err(|error| error.strip_backtrace())
    }

    fn result(&mut self) -> Result<ArrayRef, String> {
        self.result().map_err(|error| error.strip_backtrace())
    }
}
