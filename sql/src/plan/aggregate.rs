//! Lowering of GROUP BY: group columns and arguments become columns, then one aggregation, then its types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{
    AggregateFunction as AggregateExpr, GroupingSet as SetsOf, NullTreatment,
};
use streams::{
    AggregateCall, AggregateSpec, BatchExpr, ColumnExpr, Emit, ExpandSpec, GroupingSet,
    NativeAggregate, NodeKind, SortOrder,
};

use super::accumulator::{Argument, LibraryAggregate};
use super::changes::Changes;
use super::expr::ShiftedColumn;
use super::lower::{Lowering, Ordinal, Rows, WindowBound, plain_column, qualified};
use super::sql_type::{settled, type_name};
use crate::diagnostic::{Code, Diagnostic};

/// The name of a window's end that the query itself does not group by.
const HIDDEN_WINDOW_END: &str = "__window_end";

/// What the optimizer calls the constant, among the groups of a subquery, by which it sees whether that gave a row.
const PRESENT: &str = "__always_true";

/// Aggregates that take one row of many: without an order it may be any.
const FIRST_OF: &[&str] = &["first_value", "last_value", "nth_value"];

/// As in PostgreSQL: each column more doubles the groups.
pub(super) const CUBE_COLUMNS_MAX: usize = 12;

/// What the engine computes itself.
pub(super) fn native(name: &str) -> Option<NativeAggregate> {
    Some(match name {
        "count" => NativeAggregate::Count,
        "sum" => NativeAggregate::Sum,
        "min" => NativeAggregate::Min,
        "max" => NativeAggregate::Max,
        "avg" => NativeAggregate::Avg,
        _ => return None,
    })
}

/// The columns that go into an aggregation.
struct Inputs {
    exprs: Vec<Arc<dyn BatchExpr>>,
    fields: Vec<Field>,
    /// What each one computes, to share it among calls; `None` for a hidden one.
    known: Vec<Option<(Expr, DataType)>>,
    /// The column of the input that each one is, if it is nothing more.
    places: Vec<Option<usize>>,
}

/// What rows are grouped by.
struct GroupBy<'a> {
    exprs: Vec<&'a Expr>,
    /// With GROUPING SETS, ROLLUP or CUBE: which of them each set groups by.
    sets: Option<Vec<GroupingSet>>,
}

impl<'a> GroupBy<'a> {
    fn of(aggregate: &'a datafusion::logical_expr::Aggregate) -> Self {
        let [Expr::GroupingSet(of)] = aggregate.group_expr.as_slice() else {
            return Self {
                exprs: aggregate.group_expr.iter().collect(),
                sets: None,
            };
        };
        let exprs = of.distinct_expr();
        let lists: Vec<Vec<&Expr>> = match of {
            SetsOf::GroupingSets(lists) => lists.iter().map(|list| list.iter().collect()).collect(),
            SetsOf::Rollup(list) => (0..=list.len())
                .rev()
                .map(|count| list[..count].iter().collect())
                .collect(),
            SetsOf::Cube(list) => (0..1usize << list.len())
                .map(|bits| {
                    let chosen = list.iter().enumerate();
                    let chosen = chosen.filter(|(place, _)| bits >> place & 1 == 1);
                    chosen.map(|(_, expr)| expr).collect()
                })
                .collect(),
        };
        let mut sets: Vec<GroupingSet> = Vec::with_capacity(lists.len());
        for list in lists {
            let kept: Vec<bool> = exprs.iter().map(|expr| list.contains(expr)).collect();
            // As `grouping()` reads it: a bit for each column that is left out, the last one lowest; above them how often
            // the same set came before.
            let left_out = kept
                .iter()
                .fold(0, |bits, kept| bits << 1 | i64::from(!kept));
            let before = sets.iter().filter(|set| set.kept == kept).count() as i64;
            sets.push(GroupingSet {
                number: left_out | before << exprs.len(),
                kept,
            });
        }
        Self {
            exprs,
            sets: Some(sets),
        }
    }

    /// The numbers of the sets that group by nothing.
    fn totals(&self) -> Vec<i64> {
        let sets = self.sets.iter().flatten();
        let totals = sets.filter(|set| !set.kept.contains(&true));
        totals.map(|set| set.number).collect()
    }

    /// Whether all sets group by nothing.
    fn has_only_totals(&self) -> bool {
        let mut sets = self.sets.iter().flatten();
        self.sets.is_some() && sets.all(|set| !set.kept.contains(&true))
    }

    /// The sets that group by something; `None`: there is no talk of sets.
    fn without_totals(&self) -> Option<Vec<GroupingSet>> {
        let sets = self.sets.as_ref()?.iter();
        let sets = sets.filter(|set| set.kept.contains(&true));
        Some(sets.cloned().collect())
    }

    /// Columns of the result that tell the groups apart.
    fn columns(&self) -> usize {
        self.exprs.len() + usize::from(self.sets.is_some())
    }

    /// Whether all rows are grouped by this expression.
    fn always_has(&self, place: usize) -> bool {
        let mut sets = self.sets.iter().flatten();
        sets.all(|set| set.kept[place])
    }
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
        if let [Expr::GroupingSet(SetsOf::Cube(columns))] = aggregate.group_expr.as_slice()
            && columns.len() > CUBE_COLUMNS_MAX
        {
            let what = format!("CUBE of {} columns", columns.len());
            let help = format!("at most {CUBE_COLUMNS_MAX} work");
            return Err(self.refuse(&what, "CUBE", &help));
        }
        let by = GroupBy::of(aggregate);
        for (expr, field) in by.exprs.iter().zip(aggregate.schema.fields()) {
            let data_type = self.settle(field)?;
            let bound = match plain_column(expr) {
                Some(column) => rows.bounds[self.column(&rows.schema, column)?],
                None => None,
            };
            self.add_group(&mut inputs, expr, data_type, field.name(), &rows)?;
            bounds.push(bound.filter(|_| by.always_has(bounds.len())));
        }
        if by.sets.is_some() {
            bounds.push(None);
        }
        let window_end = self.window_end(&mut inputs, &mut bounds, &by.exprs, &rows)?;
        let groups = bounds.len();
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        let declared = &aggregate.schema.fields()[by.columns()..];
        for (number, (expr, field)) in (0..).zip(aggregate.aggr_expr.iter().zip(declared)) {
            calls.push(AggregateCall {
                id: number,
                ..self.call(&mut inputs, expr, field, &rows)?
            });
        }

        let group_inputs = groups - usize::from(by.sets.is_some());
        let input = self.aggregate_input(rows.node, inputs, group_inputs, &mut calls);
        let fields = self.output_fields(aggregate, by.columns(), groups, &calls)?;
        let schema = self.schema(fields)?;
        let (unmet, emit) = match (emit, window_end) {
            (Emit::OnWindowClose, None) => (Emit::OnWindowClose, Emit::Changes),
            (emit, _) => (Emit::Changes, emit),
        };
        let totals = by.totals();
        let mut branches = Vec::with_capacity(1 + totals.len());
        if !by.has_only_totals() {
            let input = match by.without_totals() {
                Some(sets) => self.expand(input.clone(), &sets, by.exprs.len())?,
                None => input.clone(),
            };
            let spec = AggregateSpec {
                group_by: input.1,
                aggregates: calls.clone(),
                window_end,
                emit,
            };
            branches.push(self.push(
                Ordinal::Aggregate,
                vec![input.0],
                schema.inner(),
                NodeKind::Aggregate(spec),
            ));
        }
        for number in totals {
            branches.push(self.total(input.0, &calls, number, &schema)?);
        }
        let node = match branches.as_slice() {
            [branch] => *branch,
            _ => {
                let kind = NodeKind::Union;
                self.push(Ordinal::Stateless, branches, schema.inner(), kind)
            }
        };
        bounds.resize(schema.fields().len(), None);
        // A constant tells no groups apart.
        let tells = |column: &usize| schema.field(*column).name() != PRESENT;
        let key = (0..by.columns()).filter(tells).collect();
        let rows = Rows {
            node,
            schema,
            bounds,
            changes: Changes::Keyed(key),
        };
        let hidden = groups - by.columns();
        Ok((self.planned_types(rows, aggregate, groups, hidden)?, unmet))
    }

    /// The row of the grouping set `()` with this number, in the columns of `schema`: the aggregates over all rows, a row
    /// even where there are none.
    fn total(
        &mut self,
        input: usize,
        calls: &[AggregateCall],
        number: i64,
        schema: &DFSchemaRef,
    ) -> Result<usize, Diagnostic> {
        let groups = schema.fields().len() - calls.len();
        let results = qualified(schema).split_off(groups);
        let results = self.schema(results)?;
        let spec = AggregateSpec {
            group_by: Vec::new(),
            aggregates: calls.to_vec(),
            window_end: None,
            emit: Emit::Changes,
        };
        let node = self.push(
            Ordinal::Aggregate,
            vec![input],
            results.inner(),
            NodeKind::Aggregate(spec),
        );
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate().take(groups) {
            let value = match place + 1 == groups {
                true => ScalarValue::Int64(Some(number)),
                false => ScalarValue::Null,
            };
            let value = Expr::Literal(value, None);
            exprs.push(self.compile(&value, &results, field.data_type())?);
        }
        let columns =
            (0..calls.len()).map(|column| -> Arc<dyn BatchExpr> { Arc::new(ColumnExpr(column)) });
        exprs.extend(columns);
        Ok(self.map(node, exprs, schema.inner()))
    }

    /// Repeats the rows for each grouping set. Gives the node, and where its group columns are: the first `exprs` of
    /// them, the number of the set, and the others.
    fn expand(
        &mut self,
        (node, columns): (usize, Vec<usize>),
        sets: &[GroupingSet],
        exprs: usize,
    ) -> Result<(usize, Vec<usize>), Diagnostic> {
        let input = Arc::clone(&self.nodes[node].schema);
        let (copied, others) = columns.split_at(exprs);
        let before = input.fields().len();
        let copies = (copied.iter().enumerate()).map(|(number, &column)| {
            let field = input.field(column).as_ref().clone();
            Arc::new(field.with_name(format!("__set_{number}")))
        });
        let number = Arc::new(Field::new("__set", DataType::Int64, true));
        let fields: Vec<Arc<Field>> = (input.fields().iter().cloned())
            .chain(copies)
            .chain([number])
            .collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let spec = ExpandSpec {
            columns: copied.to_vec(),
            sets: sets.to_vec(),
        };
        let kind = NodeKind::Expand(spec);
        let node = self.push(Ordinal::Stateless, vec![node], &schema, kind);
        let groups = (before..=before + exprs).chain(others.iter().copied());
        Ok((node, groups.collect()))
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
        exprs: &[&Expr],
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
        let Some(column) = plain_column(exprs[place]) else {
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
        let output = self.settle(field)?;
        let mut bound = match native(call.func.name()) {
            Some(function) => self.native_call(inputs, call, function, output, rows)?,
            None => self.library_call(inputs, call, field, output, rows)?,
        };
        bound.filter = match &call.params.filter {
            Some(filter) => Some(self.input(inputs, filter, DataType::Boolean, rows)?),
            None => None,
        };
        Ok(bound)
    }

    fn native_call(
        &self,
        inputs: &mut Inputs,
        call: &AggregateExpr,
        function: NativeAggregate,
        output: DataType,
        rows: &Rows,
    ) -> Result<AggregateCall, Diagnostic> {
        let argument = match self.argument(call, function, &output, rows)? {
            Some((expr, data_type)) => Some(self.input(inputs, &expr, data_type, rows)?),
            None => None,
        };
        let is_extreme = matches!(function, NativeAggregate::Min | NativeAggregate::Max);
        Ok(AggregateCall {
            id: 0,
            function: Arc::new(function),
            arguments: argument.into_iter().collect(),
            // In no order is such a result another one.
            order_by: Vec::new(),
            filter: None,
            distinct: call.params.distinct && !is_extreme,
            output,
        })
    }

    /// A call of an aggregate that the engine computes by keeping its values.
    fn library_call(
        &self,
        inputs: &mut Inputs,
        call: &AggregateExpr,
        field: &Field,
        output: DataType,
        rows: &Rows,
    ) -> Result<AggregateCall, Diagnostic> {
        let (name, params) = (call.func.name(), &call.params);
        let is_ordered_set = call.func.supports_within_group_clause();
        if FIRST_OF.contains(&name) && params.order_by.is_empty() {
            return Err(self.refuse(
                &format!("{name} without an order"),
                name,
                &format!("{name}(x ORDER BY ts)"),
            ));
        }
        let no_column = (params.args.iter()).all(|arg| matches!(arg, Expr::Literal(..)));
        let mut arguments = Vec::with_capacity(params.args.len());
        let mut columns = Vec::new();
        for (place, arg) in params.args.iter().enumerate() {
            match arg {
                // Rows are counted by the values of a column.
                Expr::Literal(value, _) if !(no_column && place == 0) => {
                    arguments.push(Argument::Constant(value.clone()));
                }
                arg => {
                    let data_type = self.type_of(arg, &rows.schema)?;
                    columns.push(self.kept_input(inputs, call, arg, &data_type, rows)?);
                    arguments.push(Argument::Column(data_type));
                }
            }
        }
        let mut order_by = Vec::new();
        for sort in params.order_by.iter().filter(|_| !is_ordered_set) {
            if params.distinct && !params.args.contains(&sort.expr) {
                let message = format!("{name}(DISTINCT …) is ordered by what it does not take");
                // It may be written for another.
                let place = self.words.place(name);
                let place = place.or_else(|| self.words.place(self.words.first_call()?));
                return Err(Diagnostic::new(Code::TypeMismatch, message)
                    .at(place)
                    .help("with DISTINCT, ORDER BY takes the arguments themselves"));
            }
            let data_type = self.type_of(&sort.expr, &rows.schema)?;
            let column = self.kept_input(inputs, call, &sort.expr, &data_type, rows)?;
            let order = SortOrder {
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            };
            order_by.push((column, order));
        }
        let descending = params.order_by.first().is_some_and(|sort| !sort.asc);
        let function = LibraryAggregate {
            function: Arc::clone(&call.func),
            arguments,
            returns: field.data_type().clone(),
            ignores_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            descending: is_ordered_set && descending,
        };
        Ok(AggregateCall {
            id: 0,
            function: Arc::new(function),
            arguments: columns,
            order_by,
            filter: None,
            distinct: params.distinct,
            output,
        })
    }

    /// The input column that computes what an aggregate keeps.
    fn kept_input(
        &self,
        inputs: &mut Inputs,
        call: &AggregateExpr,
        expr: &Expr,
        data_type: &DataType,
        rows: &Rows,
    ) -> Result<usize, Diagnostic> {
        let kept = settled(data_type).ok_or_else(|| self.takes_no(call, data_type))?;
        self.input(inputs, expr, kept, rows)
    }

    fn takes_no(&self, call: &AggregateExpr, data_type: &DataType) -> Diagnostic {
        let message = format!("{} takes no {}", call.func.name(), type_name(data_type));
        Diagnostic::new(Code::TypeMismatch, message).at(self.words.place(call.func.name()))
    }

    /// The argument and the type in which the engine takes it; `None` for rows that are only counted.
    pub(super) fn argument(
        &self,
        call: &AggregateExpr,
        function: NativeAggregate,
        output: &DataType,
        rows: &Rows,
    ) -> Result<Option<(Expr, DataType)>, Diagnostic> {
        let argument = match call.params.args.as_slice() {
            [] if function == NativeAggregate::Count => return Ok(None),
            [Expr::Literal(value, _)]
                if function == NativeAggregate::Count
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
        let wanted = match function {
            NativeAggregate::Count => {
                settled(&data_type).ok_or_else(|| self.takes_no(call, &data_type))?
            }
            NativeAggregate::Min | NativeAggregate::Max | NativeAggregate::Sum => output.clone(),
            NativeAggregate::Avg => match settled(&data_type) {
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
            let places = call.arguments.iter_mut();
            let orders = call.order_by.iter_mut().map(|(column, _)| column);
            places
                .chain(orders)
                .for_each(|place| *place = columns[*place]);
            call.filter = call.filter.map(|filter| columns[filter]);
        }
        (node, columns[..groups].to_vec())
    }

    fn output_fields(
        &self,
        aggregate: &datafusion::logical_expr::Aggregate,
        columns: usize,
        groups: usize,
        calls: &[AggregateCall],
    ) -> Result<Vec<QualifiedField>, Diagnostic> {
        let planned = qualified(&aggregate.schema);
        let (group_fields, call_fields) = planned.split_at(columns);
        let mut fields = Vec::with_capacity(planned.len() + 1);
        for (qualifier, field) in group_fields {
            let is_set = field.name() == datafusion::logical_expr::Aggregate::INTERNAL_GROUPING_ID;
            let data_type = match is_set {
                true => DataType::Int64,
                false => self.settle(field)?,
            };
            fields.push((
                qualifier.clone(),
                Arc::new(Field::new(field.name(), data_type, true)),
            ));
        }
        if groups > columns {
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
        hidden: usize,
    ) -> Result<Rows, Diagnostic> {
        let planned = aggregate.schema.fields();
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
