//! Lowers aggregates of OVER over all rows up to each (`sum(x) OVER (ORDER BY ts)`): the engine goes on with them from row
//! to row.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Cast, Expr, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use streams::{AggregateCall, NativeAggregate, OverValues};

use super::{Lowering, Rows};
use crate::diagnostic::Diagnostic;
use crate::plan::aggregate::native;
use crate::plan::sql_type::settled;

/// Such an aggregate, and what it reads of a row.
pub(super) struct RunningCall {
    function: NativeAggregate,
    argument: Option<Expr>,
    filter: Option<Expr>,
    /// Over rows behind, too, that the order does not tell apart.
    peers: bool,
}

impl RunningCall {
    /// What has to be columns.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Expr> {
        self.argument.iter().chain(&self.filter)
    }

    /// The call, with the columns that its inputs have become.
    pub(super) fn over(&self, columns: &[usize], output: DataType) -> OverValues {
        let mut columns = columns.iter().copied();
        OverValues::Running {
            call: AggregateCall {
                id: 0,
                function: Arc::new(self.function),
                arguments: (self.argument.iter().zip(&mut columns))
                    .map(|(_, column)| column)
                    .collect(),
                order_by: Vec::new(),
                filter: self.filter.as_ref().and_then(|_| columns.next()),
                distinct: false,
                output,
            },
            peers: self.peers,
        }
    }
}

impl Lowering<'_> {
    /// The call as one that goes on from row to row; `None`: it looks at other rows, or keeps them.
    pub(super) fn running(
        &self,
        call: &WindowFunction,
        output: &DataType,
        rows: &Rows,
    ) -> Result<Option<RunningCall>, Diagnostic> {
        let WindowFunctionDefinition::AggregateUDF(of) = &call.fun else {
            return Ok(None);
        };
        let params = &call.params;
        let frame = &params.window_frame;
        let from_first = matches!(
            &frame.start_bound,
            WindowFrameBound::Preceding(value) if value.is_null()
        );
        let to_this = matches!(frame.end_bound, WindowFrameBound::CurrentRow);
        let Some(function) = native(of.name())
            .filter(|_| from_first && to_this && !params.distinct && !params.order_by.is_empty())
        else {
            return Ok(None);
        };
        let aggregate = AggregateFunction::new_udf(
            Arc::clone(of),
            params.args.clone(),
            false,
            params.filter.clone(),
            Vec::new(),
            params.null_treatment,
        );
        let argument = self.argument(&aggregate, function, output, rows)?;
        let argument = match argument {
            Some((argument, wanted)) => {
                let data_type = self.type_of(&argument, &rows.schema)?;
                Some(match settled(&data_type).as_ref() == Some(&wanted) {
                    true => argument,
                    false => Expr::Cast(Cast::new(Box::new(argument), wanted)),
                })
            }
            None => None,
        };
        Ok(Some(RunningCall {
            function,
            argument,
            filter: params.filter.as_deref().cloned(),
            peers: frame.units != WindowFrameUnits::Rows,
        }))
    }
}
