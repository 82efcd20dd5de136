//! Lowering of GROUP BY: group columns and arguments become columns, then one aggregation, then its types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use streams::{
    AggregateCall, AggregateFunction, AggregateSpec, BatchExpr, ColumnExpr, Emit, NodeKind,
};

use super::changes::Changes;
use super::expr::ShiftedColumn;
use super::lower::{Lowering, Ordinal, Rows, WindowBound, plain_column, qualified};
use super::sql_type::{settled, type_name};
use crate::diagnostic::{Code, Diagnostic};

/// The name of a window's end that the query itself does not group by.
const HIDDEN_WINDOW_END: &str = "__window_end";

/// The columns that go into an aggregation.
struct Inputs {
    exprs: Vec<Arc<dyn BatchExpr>>,
    fields: Vec<Field>,
    /// What each one computes, to share it among calls; `None` for a hidden one.
    known: Vec<Option<(Expr, DataType)>>,
    /// The column of the input that each one is, if it is nothing more.
    places: Vec<Option<usize>>,
}

/// A column and the relation that it is known under.
type QualifiedField = (Option<datafusion::common::TableReference>, Arc<Field>);

impl Inputs {
    fn push(
        &mut self,
        (expr, place): (Arc<dyn BatchExpr>, Option<usize>),
        field: Field,
        known: Option<(Expr, DataType)>,
    ) {
        self.exprs.push(expr);
        self.places.push(place);
        self.fields.push(field);
        self.known.push(known);
    }
}

impl Lowering<'_> {
    /// Lowers an aggregation. Gives back `emit` as it is if no window made use of it.
    pub(super) fn aggregate(
        &mut self,
        aggregate: &datafusion::logical_expr::Aggregate,
        rows: Rows,
        emit: Emit,
    ) -> Result<(Rows, Emit), Diagnostic> {
        let mut inputs = Inputs {
            exprs: Vec::new(),
            fields: Vec::new(),
            known: Vec::new(),
            places: Vec::new(),
        };
        let mut bounds: Vec<Option<WindowBound>> = Vec::new();
        for (expr, field) in aggregate.group_expr.iter().zip(aggregate.schema.fields()) {
            if matches!(expr, Expr::GroupingSet(_)) {
                return Err(self.refuse(
                    "GROUPING SETS, ROLLUP or CUBE",
                    "GROUP",
                    "GROUP BY a, b works",
                ));
            }
            let data_type = self.settle(field)?;
            let bound = match plain_column(expr) {
                Some(column) => rows.bounds[self.column(&rows.schema, column)?],
                None => None,
            };
            self.add_group(&mut inputs, expr, data_type, field.name(), &rows)?;
            bounds.push(bound);
        }
        let window_end = self.window_end(&mut inputs, &mut bounds, aggregate, &rows)?;
        let groups = inputs.exprs.len();
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        let declared = &aggregate.schema.fields()[aggregate.group_expr.len()..];
        for (number, (expr, field)) in (0..).zip(aggregate.aggr_expr.iter().zip(declared)) {
            calls.push(AggregateCall {
                id: number,
                ..self.call(&mut inputs, expr, field, &rows)?
            });
        }

        let input = self.aggregate_input(rows.node, inputs, groups, &mut calls);
        let fields = self.output_fields(aggregate, groups, &bounds, &calls)?;
        let schema = self.schema(fields)?;
        let (unmet, emit) = match (emit, window_end) {
            (Emit::OnWindowClose, None) => (Emit::OnWindowClose, Emit::Changes),
            (emit, _) => (Emit::Changes, emit),
        };
        let spec = AggregateSpec {
            group_by: input.1,
            aggregates: calls,
            window_end,
            emit,
        };
        let node = self.push(
            Ordinal::Aggregate,
            vec![input.0],
            schema.inner(),
            NodeKind::Aggregate(spec),
        );
        bounds.resize(schema.fields().len(), None);
        let key = (0..aggregate.group_expr.len()).collect();
        let rows = Rows {
            node,
            schema,
            bounds,
            changes: Changes::Keyed(key),
        };
        Ok((self.planned_types(rows, aggregate, groups)?, unmet))
    }

    fn add_group(
        &self,
        inputs: &mut Inputs,
        expr: &Expr,
        data_type: DataType,
        name: &str,
        rows: &Rows,
    ) -> Result<(), Diagnostic> {
        let compiled = self.input_expr(expr, &data_type, rows)?;
        let field = Field::new(name, data_type.clone(), true);
        inputs.push(compiled, field, Some((expr.clone(), data_type)));
        Ok(())
    }

    fn input_expr(
        &self,
        expr: &Expr,
        data_type: &DataType,
        rows: &Rows,
    ) -> Result<(Arc<dyn BatchExpr>, Option<usize>), Diagnostic> {
        if let Some(column) = plain_column(expr) {
            let place = self.column(&rows.schema, column)?;
            if rows.schema.field(place).data_type() == data_type {
                return Ok((Arc::new(ColumnExpr(place)), Some(place)));
            }
        }
        Ok((self.compile(expr, &rows.schema, data_type)?, None))
    }

    /// Where the group holds a window's end; where it holds only another bound, the end is added unseen: it is the
    /// same for all rows of a group.
    fn window_end(
        &self,
        inputs: &mut Inputs,
        bounds: &mut Vec<Option<WindowBound>>,
        aggregate: &datafusion::logical_expr::Aggregate,
        rows: &Rows,
    ) -> Result<Option<usize>, Diagnostic> {
        let end = bounds
            .iter()
            .position(|bound| bound.is_some_and(WindowBound::is_end));
        if end.is_some() {
            return Ok(end);
        }
        let Some((place, bound, to_end_us)) =
            bounds.iter().enumerate().find_map(|(place, bound)| {
                bound.and_then(|bound| Some((place, bound, bound.to_end_us?)))
            })
        else {
            return Ok(None);
        };
        let Some(column) = plain_column(&aggregate.group_expr[place]) else {
            return Ok(None);
        };
        let column = self.column(&rows.schema, column)?;
        let field = rows.schema.field(column);
        let end: Arc<dyn BatchExpr> = Arc::new(ShiftedColumn {
            column,
            shift_us: to_end_us,
            name: field.name().clone(),
        });
        let hidden = Field::new(HIDDEN_WINDOW_END, field.data_type().clone(), true);
        inputs.push((end, None), hidden, None);
        bounds.push(Some(WindowBound {
            to_end_us: Some(0),
            ..bound
        }));
        Ok(Some(bounds.len() - 1))
    }

    fn call(
        &self,
        inputs: &mut Inputs,
        expr: &Expr,
        field: &Field,
        rows: &Rows,
    ) -> Result<AggregateCall, Diagnostic> {
        let call = match expr {
            Expr::Alias(alias) => return self.call(inputs, &alias.expr, field, rows),
            Expr::AggregateFunction(call) => call,
            other => {
                return Err(Diagnostic::new(
                    Code::Internal,
                    format!("{other} is no aggregate"),
                ));
            }
        };
        let name = call.func.name();
        let function = match name {
            "count" => AggregateFunction::Count,
            "sum" => AggregateFunction::Sum,
            "min" => AggregateFunction::Min,
            "max" => AggregateFunction::Max,
            "avg" => AggregateFunction::Avg,
            _ => {
                return Err(self.refuse(
                    &format!("the aggregate {name}"),
                    name,
                    "count, sum, min, max and avg work, with DISTINCT and FILTER too",
                ));
            }
        };
        if !call.params.order_by.is_empty() || call.params.null_treatment.is_some() {
            return Err(self.refuse("an order inside of an aggregate", name, "leave it out"));
        }
        let output = self.settle(field)?;
        let argument = match self.argument(call, function, &output, rows)? {
            Some((expr, data_type)) => Some(self.input(inputs, &expr, data_type, rows)?),
            None => None,
        };
        let filter = match &call.params.filter {
            Some(filter) => Some(self.input(inputs, filter, DataType::Boolean, rows)?),
            None => None,
        };
        let distinct = call.params.distinct
            && !matches!(function, AggregateFunction::Min | AggregateFunction::Max);
        Ok(AggregateCall {
            id: 0,
            function,
            argument,
            filter,
            distinct,
            output,
        })
    }

    /// The argument and the type in which the engine takes it; `None` for rows that are only counted.
    fn argument(
        &self,
        call: &AggregateExpr,
        function: AggregateFunction,
        output: &DataType,
        rows: &Rows,
    ) -> Result<Option<(Expr, DataType)>, Diagnostic> {
        let argument = match call.params.args.as_slice() {
            [] if function == AggregateFunction::Count => return Ok(None),
            [Expr::Literal(value, _)]
                if function == AggregateFunction::Count
                    && !call.params.distinct
                    && !value.is_null() =>
            {
                return Ok(None);
            }
            [argument] => argument,
            _ => {
                let name = call.func.name();
                return Err(self.refuse(
                    &format!("{name} of several arguments"),
                    name,
                    "one argument works",
                ));
            }
        };
        let data_type = self.type_of(argument, &rows.schema)?;
        let unsettled = || {
            let message = format!("{} takes no {}", call.func.name(), type_name(&data_type));
            Diagnostic::new(Code::TypeMismatch, message).at(self.words.place(call.func.name()))
        };
        let wanted = match function {
            AggregateFunction::Count => settled(&data_type).ok_or_else(unsettled)?,
            AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::Sum => {
                output.clone()
            }
            AggregateFunction::Avg => match settled(&data_type) {
                Some(decimal @ DataType::Decimal128(_, _)) => decimal,
                _ => DataType::Float64,
            },
        };
        Ok(Some((argument.clone(), wanted)))
    }

    /// The input column that computes `expr`, made if there is none.
    fn input(
        &self,
        inputs: &mut Inputs,
        expr: &Expr,
        data_type: DataType,
        rows: &Rows,
    ) -> Result<usize, Diagnostic> {
        let same = |known: &Option<(Expr, DataType)>| {
            known
                .as_ref()
                .is_some_and(|(other, other_type)| other == expr && *other_type == data_type)
        };
        if let Some(place) = inputs.known.iter().position(same) {
            return Ok(place);
        }
        let compiled = self.input_expr(expr, &data_type, rows)?;
        let field = Field::new(super::expr::text(expr), data_type.clone(), true);
        inputs.push(compiled, field, Some((expr.clone(), data_type)));
        Ok(inputs.exprs.len() - 1)
    }

    /// The node to aggregate over and its group columns. Without a Map where all inputs are columns already.
    fn aggregate_input(
        &mut self,
        node: usize,
        inputs: Inputs,
        groups: usize,
        calls: &mut [AggregateCall],
    ) -> (usize, Vec<usize>) {
        if inputs.exprs.is_empty() {
            return (node, Vec::new());
        }
        let columns: Option<Vec<usize>> = inputs.places.iter().copied().collect();
        let Some(columns) = columns else {
            let schema = Arc::new(arrow::datatypes::Schema::new(inputs.fields));
            return (self.map(node, inputs.exprs, &schema), (0..groups).collect());
        };
        for call in calls {
            call.argument = call.argument.map(|argument| columns[argument]);
            call.filter = call.filter.map(|filter| columns[filter]);
        }
        (node, columns[..groups].to_vec())
    }

    fn output_fields(
        &self,
        aggregate: &datafusion::logical_expr::Aggregate,
        groups: usize,
        bounds: &[Option<WindowBound>],
        calls: &[AggregateCall],
    ) -> Result<Vec<QualifiedField>, Diagnostic> {
        let planned = qualified(&aggregate.schema);
        let (group_fields, call_fields) = planned.split_at(aggregate.group_expr.len());
        let mut fields = Vec::with_capacity(planned.len() + 1);
        for (qualifier, field) in group_fields {
            let data_type = self.settle(field)?;
            fields.push((
                qualifier.clone(),
                Arc::new(Field::new(field.name(), data_type, true)),
            ));
        }
        if groups > group_fields.len() && bounds.len() == groups {
            let time_type = super::sql_type::timestamp();
            fields.push((
                None,
                Arc::new(Field::new(HIDDEN_WINDOW_END, time_type, true)),
            ));
        }
        for ((qualifier, field), call) in call_fields.iter().zip(calls) {
            let field = Field::new(field.name(), call.output.clone(), true);
            fields.push((qualifier.clone(), Arc::new(field)));
        }
        Ok(fields)
    }

    /// Casts back to the types that the expressions above were planned with, where they differ.
    fn planned_types(
        &mut self,
        rows: Rows,
        aggregate: &datafusion::logical_expr::Aggregate,
        groups: usize,
    ) -> Result<Rows, Diagnostic> {
        let planned = aggregate.schema.fields();
        let hidden = groups - aggregate.group_expr.len();
        let mut fields = qualified(&rows.schema);
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(fields.len());
        let mut same = true;
        for (index, (_, field)) in fields.iter_mut().enumerate() {
            let planned = match index {
                index if index < groups - hidden => Some(&planned[index]),
                index if index < groups => None,
                index => Some(&planned[index - hidden]),
            };
            match planned {
                Some(planned) if planned.data_type() != field.data_type() => {
                    same = false;
                    exprs.push(Arc::new(super::expr::CastColumn {
                        column: index,
                        data_type: planned.data_type().clone(),
                        name: field.name().clone(),
                    }));
                    *field = Arc::clone(planned);
                }
                _ => exprs.push(Arc::new(ColumnExpr(index))),
            }
        }
        if same {
            return Ok(rows);
        }
        let schema = self.schema(fields)?;
        let node = self.map(rows.node, exprs, schema.inner());
        Ok(Rows {
            node,
            schema,
            ..rows
        })
    }
}
