//! From a bound logical plan to the engine's operators.
//!
//! ```text
//! TableScan → Source · Projection → Map · Filter → Filter · Tumble → Tumble
//! Join → (Map) ×2 → Join · Aggregate → (Map) → Aggregate → (Map) · SubqueryAlias → nothing
//! ```
//!
//! Invariants:
//! 1. Exhaustive: a logical node without a meaning over streams is a diagnostic, never a panic or a silent detour.
//! 2. Columns are found by name in the schema of the rows at hand, which may hold more than the logical plan asks for
//!    (the key of an upsert source, a window's end).
//! 3. An operator's id is its kind and its ordinal among that kind; where a job has state already, it keeps the ids that it
//!    has, by the operators' names: the subqueries around an operator and the relations that it reads, as the query's
//!    author wrote them. What the optimizer adds, drops or moves changes neither.
//! 4. What enters a state (joins, aggregates, the output) has a type of [`super::sql_type`]'s table.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, NullEquality, ScalarValue, TableReference,
};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, TableScan};
use datafusion::optimizer::OptimizerContext;
use streams::{
    BatchExpr, ColumnExpr, ColumnOrigin, Emit, ExprError, JoinKind, JoinSpec, LatePolicy, NodeKind,
    OperatorId, PlanNode, SourceColumn, SourceMode, SourceSpec, StreamPlan, TumbleSpec,
    WatermarkSpec,
};

use super::changes::{Changes, joined};
use super::expr::{BoundExpr, CastColumn, ShiftedColumn};
use super::function::is_module;
use super::relation_source::RelationSource;
use super::rules;
use super::sql_type::{settled, type_name};
use super::tumble::{Tumble, WINDOW_COLUMNS};
use crate::catalog::{Relation, TimeAttribute};
use crate::diagnostic::{Code, Diagnostic, Words, translate};

/// What the trailing clauses of a query say about windows.
#[derive(Debug, Clone)]
pub(crate) struct WindowPolicy {
    pub late: LatePolicy,
    pub grace_us: i64,
    pub emit: Emit,
}

/// A lowered query.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    pub plan: StreamPlan,
    pub changes: Changes,
    /// Whether a window is in it.
    pub windowed: bool,
    /// How many of its last columns only identify rows.
    pub hidden: usize,
}

/// A column that a window above reads as event time, and the window.
#[derive(Debug, Clone)]
struct TimeUse {
    column: usize,
    window: TumbleSpec,
}

impl TimeUse {
    fn at(&self, column: usize) -> Self {
        Self {
            column,
            window: self.window.clone(),
        }
    }
}

/// Which bound of which window a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowBound {
    pub window: usize,
    /// From the bound to the window's end, µs.
    pub to_end_us: i64,
}

/// The rows that a node gives.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub node: usize,
    pub schema: DFSchemaRef,
    /// For each column the bound that it is.
    pub bounds: Vec<Option<WindowBound>>,
    pub changes: Changes,
}

/// Lowers `plan`; its columns come out in its order, with settled types.
pub(crate) fn lower(
    state: &SessionState,
    plan: LogicalPlan,
    policy: WindowPolicy,
    words: &Words,
) -> Result<Lowered, Diagnostic> {
    attempt(state, plan, policy, words, false)
}

/// The same for a query whose rows need a key. One that drops what identifies them gets it behind its own columns: keys
/// that it does not select, and partition and offset of a record that has no other key.
pub(crate) fn lower_keyed(
    state: &SessionState,
    plan: LogicalPlan,
    policy: WindowPolicy,
    words: &Words,
) -> Result<Lowered, Diagnostic> {
    let lowered = attempt(state, plan.clone(), policy.clone(), words, false)?;
    match lowered.changes {
        Changes::Unkeyed(_) => attempt(state, plan, policy, words, true),
        Changes::Append(_) | Changes::Keyed(_) => Ok(lowered),
    }
}

fn attempt(
    state: &SessionState,
    plan: LogicalPlan,
    policy: WindowPolicy,
    words: &Words,
    keeps_keys: bool,
) -> Result<Lowered, Diagnostic> {
    let bound = |error: DataFusionError| translate(&error, words);
    let options = state.config_options();
    let analyzed = state
        .analyzer()
        .execute_and_check(plan, options, |_, _| {})
        .map_err(bound)?;
    let context = OptimizerContext::new_with_config_options(Arc::clone(options));
    let optimized = rules::optimizer()
        .optimize(analyzed, &context, |_, _| {})
        .map_err(bound)?;
    let emit = policy.emit;
    let mut lowering = Lowering {
        words,
        policy,
        nodes: Vec::new(),
        counts: [0; 5],
        windows: 0,
        scope: Vec::new(),
        hidden: 0,
        keeps_keys,
        emit,
    };
    let rows = lowering.lower(&optimized, None)?;
    let rows = lowering.output(rows, optimized.schema())?;
    if lowering.emit == Emit::OnWindowClose {
        return Err(Diagnostic::new(
            Code::Unsupported,
            "EMIT ON WINDOW CLOSE needs a window: no GROUP BY of this query holds window_end",
        )
        .at(words.place("EMIT"))
        .help("FROM TUMBLE(t, ts, INTERVAL '1 hour') … GROUP BY window_start, window_end"));
    }
    let plan = StreamPlan {
        nodes: lowering.nodes,
    };
    Ok(Lowered {
        plan,
        hidden: rows.bounds.len() - optimized.schema().fields().len(),
        changes: rows.changes,
        windowed: lowering.windows > 0,
    })
}

/// An expression with a function of a module in it: what it gives depends on a deadline too.
struct Guest(BoundExpr);

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl BatchExpr for Guest {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        self.0.eval(batch)
    }

    fn may_vary(&self) -> bool {
        true
    }
}

/// Kinds of operators, for ids; the discriminant times 4096 is where their numbers begin.
#[derive(Clone, Copy)]
pub(super) enum Ordinal {
    Source = 0,
    Tumble = 1,
    Join = 2,
    Aggregate = 3,
    Stateless = 4,
}

pub(super) struct Lowering<'a> {
    pub words: &'a Words,
    policy: WindowPolicy,
    nodes: Vec<PlanNode>,
    counts: [u16; 5],
    windows: usize,
    /// The names of the subqueries around what is being lowered.
    scope: Vec<String>,
    /// Columns that the query does not name: each has a name of its own in all of it.
    hidden: usize,
    /// Whether columns that identify rows are kept where the query drops them.
    keeps_keys: bool,
    /// What the topmost aggregate still has to take; `Changes` once it has.
    pub emit: Emit,
}

impl Lowering<'_> {
    pub(super) fn bound(&self, error: &DataFusionError) -> Diagnostic {
        translate(error, self.words)
    }

    /// Lowers `plan`. `time` is the column of it that a window above reads: the source below it gets the watermark, and
    /// its late rows are taken out as long as they are its records.
    fn lower(&mut self, plan: &LogicalPlan, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, time),
            LogicalPlan::SubqueryAlias(alias) => {
                self.scope.push(alias.alias.table().to_owned());
                let rows = self.lower(&alias.input, time)?;
                self.scope.pop();
                let rows = self.exactly(rows, alias.input.schema())?;
                Ok(rows.requalified(&alias.alias))
            }
            LogicalPlan::Filter(filter) => {
                let rows = self.lower(&filter.input, time)?;
                if matches!(
                    &filter.predicate,
                    Expr::Literal(ScalarValue::Boolean(Some(true)), _)
                ) {
                    return Ok(rows);
                }
                let predicate =
                    self.compile(&filter.predicate, &rows.schema, &DataType::Boolean)?;
                Ok(self.filter(rows, predicate))
            }
            LogicalPlan::Projection(projection) => {
                let below = time_below(&projection.expr, time, &projection.input);
                let rows = self.lower(&projection.input, below)?;
                self.project(rows, &projection.expr, &projection.schema)
            }
            LogicalPlan::Extension(extension) => {
                match extension.node.as_any().downcast_ref::<Tumble>() {
                    Some(tumble) => self.tumble(tumble),
                    None => Err(self.refuse(extension.node.name(), "", "")),
                }
            }
            LogicalPlan::Join(join) => {
                let left_columns = join.left.schema().fields().len();
                let (left_time, right_time) = match time {
                    Some(time) if time.column < left_columns => (Some(time), None),
                    Some(time) => (None, Some(time.at(time.column - left_columns))),
                    None => (None, None),
                };
                let left = self.judged(&join.left, left_time)?;
                let right = self.judged(&join.right, right_time)?;
                self.join(join, left, right)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let emit = std::mem::replace(&mut self.emit, Emit::Changes);
                let below = time_below(&aggregate.group_expr, time, &aggregate.input);
                let rows = self.judged(&aggregate.input, below)?;
                let (rows, emit) = self.aggregate(aggregate, rows, emit)?;
                // An aggregate without a window leaves ON WINDOW CLOSE unmet, which is reported at the end.
                if emit == Emit::OnWindowClose {
                    self.emit = emit;
                }
                Ok(rows)
            }
            other => Err(self.unsupported(other)),
        }
    }

    /// Lowers the input of an operator that makes something else of records: where they are still records, those that are
    /// late for a window further up go here.
    fn judged(&mut self, plan: &LogicalPlan, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let rows = self.lower(plan, time.clone())?;
        let Some(time) = time.filter(|_| gives_records(plan)) else {
            return Ok(rows);
        };
        let (qualifier, field) = plan.schema().qualified_field(time.column);
        let column = Column::from((qualifier, field));
        let spec = TumbleSpec {
            time_column: self.column(&rows.schema, &column)?,
            ..time.window
        };
        let schema = Arc::clone(&self.nodes[rows.node].schema);
        let kind = NodeKind::Late(spec);
        let node = self.push(Ordinal::Stateless, vec![rows.node], &schema, kind);
        Ok(Rows { node, ..rows })
    }

    fn unsupported(&self, plan: &LogicalPlan) -> Diagnostic {
        match plan {
            LogicalPlan::Sort(_) => self.refuse(
                "ORDER BY",
                "ORDER",
                "leave it out here, and order what you read: SELECT … FROM view ORDER BY …",
            ),
            LogicalPlan::Limit(_) => self.refuse(
                "LIMIT",
                "LIMIT",
                "leave it out here, and limit what you read: SELECT … FROM view LIMIT …",
            ),
            LogicalPlan::Union(_) => self.refuse(
                "UNION",
                "UNION",
                "make one view for each part, and a SELECT over both",
            ),
            LogicalPlan::Window(_) => self.refuse(
                "OVER (…)",
                "OVER",
                "GROUP BY works, and OVER in a SELECT over the view",
            ),
            LogicalPlan::Distinct(Distinct::On(_)) => {
                self.refuse("DISTINCT ON", "DISTINCT", "GROUP BY with min or max works")
            }
            LogicalPlan::Unnest(_) => self.refuse("UNNEST", "UNNEST", "columns have plain types"),
            LogicalPlan::RecursiveQuery(_) => {
                self.refuse("WITH RECURSIVE", "RECURSIVE", "a plain WITH works")
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Diagnostic::new(
                Code::NotStreaming,
                "this query reads no source, table or view, so there is nothing to follow",
            )
            .help("a plain SELECT, without EMIT CHANGES and outside of a view, answers it"),
            other => self.refuse(
                other
                    .display()
                    .to_string()
                    .split(':')
                    .next()
                    .unwrap_or_default(),
                "",
                "SELECT, JOIN, WHERE, GROUP BY, HAVING and TUMBLE work",
            ),
        }
    }

    pub(super) fn refuse(&self, what: &str, word: &str, help: &str) -> Diagnostic {
        let message = format!("{what} is not available in a query that goes on");
        Diagnostic::new(Code::NotStreaming, message)
            .at(self.words.place(word))
            .help(help)
    }

    fn scan(&mut self, scan: &TableScan, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
            return Err(Diagnostic::new(
                Code::Internal,
                format!("{} is no relation", scan.table_name),
            ));
        };
        let relation = &source.relation;
        let mut wanted: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..relation.schema.fields().len()).collect(),
        };
        let asked = time.and_then(|time| wanted.get(time.column).copied());
        if wanted.is_empty() && relation.key.is_empty() {
            wanted.push(cheapest(relation));
        }
        let (mut spec, _) = relation.source(&wanted);
        let schema = relation.schema_of(&spec);
        spec.watermark = watermark(relation, asked, &spec, &schema);
        let changes = match &spec.mode {
            SourceMode::Append if self.keeps_keys => Changes::Append(add_record_id(&mut spec)),
            SourceMode::Append => Changes::Append(Vec::new()),
            SourceMode::Upsert { key } => Changes::Keyed(key.clone()),
        };
        let schema = self.with_hidden_names(relation, &spec);
        let bounds = vec![None; spec.columns.len()];
        let schema = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &schema)
            .map_err(|error| self.bound(&error))?;
        let node = self.push(
            Ordinal::Source,
            Vec::new(),
            schema.inner(),
            NodeKind::Source(spec),
        );
        Ok(Rows {
            node,
            schema: Arc::new(schema),
            bounds,
            changes,
        })
    }

    fn hidden_name(&mut self) -> String {
        self.hidden += 1;
        format!("__key_{}", self.hidden - 1)
    }

    /// The columns of a source; those that its relation does not show get names that nothing else has.
    fn with_hidden_names(&mut self, relation: &Relation, spec: &SourceSpec) -> SchemaRef {
        let schema = relation.schema_of(spec);
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        for field in &mut fields {
            if relation.schema.column_with_name(field.name()).is_none() {
                *field = Arc::new(field.as_ref().clone().with_name(self.hidden_name()));
            }
        }
        Arc::new(Schema::new(fields))
    }

    fn tumble(&mut self, tumble: &Tumble) -> Result<Rows, Diagnostic> {
        let time = TimeUse {
            column: tumble.time_index().map_err(|error| self.bound(&error))?,
            window: TumbleSpec {
                time_column: 0,
                size_us: tumble.size_us,
                grace_us: self.policy.grace_us,
                late: self.policy.late.clone(),
            },
        };
        let window_spec = time.window.clone();
        let rows = self.lower(&tumble.input, Some(time))?;
        let time_column = self.column(&rows.schema, &tumble.time)?;
        let time_type = rows.schema.field(time_column).data_type().clone();
        let mut fields = qualified(&rows.schema);
        fields.extend(
            WINDOW_COLUMNS.map(|name| (None, Arc::new(Field::new(name, time_type.clone(), true)))),
        );
        let schema = self.schema(fields)?;
        let window = self.windows;
        self.windows += 1;
        let mut bounds = rows.bounds;
        for to_end_us in [tumble.size_us, 0, 1_000] {
            bounds.push(Some(WindowBound { window, to_end_us }));
        }
        let spec = TumbleSpec {
            time_column,
            ..window_spec
        };
        let node = self.push(
            Ordinal::Tumble,
            vec![rows.node],
            schema.inner(),
            NodeKind::Tumble(spec),
        );
        Ok(Rows {
            node,
            schema,
            bounds,
            changes: rows.changes,
        })
    }

    fn filter(&mut self, rows: Rows, predicate: Arc<dyn BatchExpr>) -> Rows {
        // The columns of its input as that names them: a projection that only renames has no node of its own.
        let schema = Arc::clone(&self.nodes[rows.node].schema);
        if predicate.may_vary() && !matches!(rows.changes, Changes::Append(_)) {
            return self.filter_by_kept(rows, predicate, &schema);
        }
        let kind = NodeKind::Filter(predicate);
        let node = self.push(Ordinal::Stateless, vec![rows.node], &schema, kind);
        Rows { node, ..rows }
    }

    /// A filter whose answer may be another one when a row is taken back: the answer becomes a column, which is kept.
    fn filter_by_kept(
        &mut self,
        rows: Rows,
        predicate: Arc<dyn BatchExpr>,
        schema: &SchemaRef,
    ) -> Rows {
        let column = |index| -> Arc<dyn BatchExpr> { Arc::new(ColumnExpr(index)) };
        let count = schema.fields().len();
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("__passes", DataType::Boolean, true)));
        let with_answer: SchemaRef = Arc::new(Schema::new(fields));
        let mut exprs: Vec<Arc<dyn BatchExpr>> = (0..count).map(column).collect();
        exprs.push(predicate);
        let answered = self.map(rows.node, exprs, &with_answer);
        let kind = NodeKind::Filter(column(count));
        let passing = self.push(Ordinal::Stateless, vec![answered], &with_answer, kind);
        let node = self.map(passing, (0..count).map(column).collect(), schema);
        Rows { node, ..rows }
    }

    fn project(
        &mut self,
        rows: Rows,
        exprs: &[Expr],
        schema: &DFSchemaRef,
    ) -> Result<Rows, Diagnostic> {
        let mut places: Vec<Option<usize>> = exprs
            .iter()
            .map(|expr| {
                plain_column(expr).and_then(|column| rows.schema.index_of_column(column).ok())
            })
            .collect();
        let mut fields = qualified(schema);
        if self.keeps_keys {
            for column in rows.changes.dropped(&places, &rows.bounds) {
                let field = rows.schema.field(column).as_ref().clone();
                fields.push((None, Arc::new(field.with_name(self.hidden_name()))));
                places.push(Some(column));
            }
        }
        let bounds = places
            .iter()
            .map(|place| place.and_then(|place| rows.bounds[place]))
            .collect();
        let changes = rows.changes.mapped(&places, &rows.bounds, &rows.schema);
        let identity = places.len() == rows.bounds.len()
            && places
                .iter()
                .enumerate()
                .all(|(index, place)| *place == Some(index));
        let mut compiled: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            compiled.push(match place {
                Some(place) => Arc::new(ColumnExpr(*place)),
                None => self.compile(&exprs[index], &rows.schema, fields[index].1.data_type())?,
            });
        }
        let schema = self.schema(fields)?;
        let node = if identity {
            rows.node
        } else {
            self.map(rows.node, compiled, schema.inner())
        };
        Ok(Rows {
            node,
            schema,
            bounds,
            changes,
        })
    }

    fn join(
        &mut self,
        join: &datafusion::logical_expr::Join,
        left: Rows,
        right: Rows,
    ) -> Result<Rows, Diagnostic> {
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            _ => return Err(self.refuse("IN (SELECT …) or EXISTS", "IN", "a JOIN works")),
        };
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err(self.refuse(
                "IS NOT DISTINCT FROM as a join condition",
                "DISTINCT",
                "a = b works",
            ));
        }
        if join.on.is_empty() {
            return Err(
                Diagnostic::new(Code::NotStreaming, "this JOIN has no equality to go by")
                    .at(self.words.place("JOIN"))
                    .help("ON a.column = b.column; further conditions may follow with AND"),
            );
        }
        let on = join.on.iter().map(|(left, right)| (left, right));
        let (left_on, right_on): (Vec<&Expr>, Vec<&Expr>) = on.unzip();
        let (left, left_keys) = self.join_side(left, &left_on)?;
        let (right, right_keys) = self.join_side(right, &right_on)?;
        for (&left_key, &right_key) in left_keys.iter().zip(&right_keys) {
            let left_type = left.schema.field(left_key).data_type();
            let right_type = right.schema.field(right_key).data_type();
            if left_type != right_type {
                return Err(Diagnostic::new(
                    Code::TypeMismatch,
                    format!(
                        "a JOIN compares {} with {}",
                        type_name(left_type),
                        type_name(right_type)
                    ),
                )
                .at(self.words.place("ON"))
                .help("convert one of them: CAST(x AS type)"));
            }
        }
        let mut fields = qualified(&left.schema);
        fields.extend(qualified(&right.schema));
        let schema = self.schema(fields)?;
        let residual = match (&join.filter, kind) {
            (None, _) => None,
            (Some(filter), JoinKind::Inner) => {
                Some(self.compile(filter, &schema, &DataType::Boolean)?)
            }
            (Some(_), _) => {
                return Err(self.refuse(
                    "a further condition in ON of an outer join",
                    "ON",
                    "put it into WHERE, or into a subquery: LEFT JOIN (SELECT … WHERE …) b ON …",
                ));
            }
        };
        let changes = joined(kind, &left, &left_keys, &right, &right_keys);
        let bounds = left.bounds.iter().chain(&right.bounds).copied().collect();
        let keeps = |residual: &Arc<dyn BatchExpr>| {
            residual.may_vary() && !matches!(changes, Changes::Append(_))
        };
        let (kept, residual) = match residual {
            Some(residual) if keeps(&residual) => (Some(residual), None),
            residual => (None, residual),
        };
        let spec = JoinSpec {
            kind,
            left_keys,
            right_keys,
            residual,
        };
        let inputs = vec![left.node, right.node];
        let node = self.push(Ordinal::Join, inputs, schema.inner(), NodeKind::Join(spec));
        let rows = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        Ok(match kept {
            Some(condition) => self.filter(rows, condition),
            None => rows,
        })
    }

    /// One side of a join with settled columns, and where its keys are; keys that are computed become columns.
    fn join_side(&mut self, rows: Rows, keys: &[&Expr]) -> Result<(Rows, Vec<usize>), Diagnostic> {
        let mut fields = qualified(&rows.schema);
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(fields.len());
        let mut same = true;
        for (index, (_, field)) in fields.iter_mut().enumerate() {
            let data_type = self.settle(field)?;
            if &data_type == field.data_type() {
                exprs.push(Arc::new(ColumnExpr(index)));
            } else {
                same = false;
                let name = field.name().clone();
                exprs.push(Arc::new(CastColumn {
                    column: index,
                    data_type: data_type.clone(),
                    name,
                }));
                *field = Arc::new(field.as_ref().clone().with_data_type(data_type));
            }
        }
        let mut places = Vec::with_capacity(keys.len());
        let mut bounds = rows.bounds.clone();
        for key in keys {
            if let Some(column) = plain_column(key) {
                places.push(self.column(&rows.schema, column)?);
                continue;
            }
            same = false;
            let data_type = self.type_of(key, &rows.schema)?;
            let data_type = settled(&data_type).unwrap_or(data_type);
            exprs.push(self.compile(key, &rows.schema, &data_type)?);
            places.push(fields.len());
            bounds.push(None);
            let name = self.hidden_name();
            fields.push((None, Arc::new(Field::new(name, data_type, true))));
        }
        if same {
            return Ok((rows, places));
        }
        let schema = self.schema(fields)?;
        let node = self.map(rows.node, exprs, schema.inner());
        Ok((
            Rows {
                node,
                schema,
                bounds,
                changes: rows.changes,
            },
            places,
        ))
    }

    /// The columns of `schema` in its order, without those that it does not ask for.
    fn exactly(&mut self, rows: Rows, schema: &DFSchemaRef) -> Result<Rows, Diagnostic> {
        if rows.schema.columns() == schema.columns() {
            return Ok(rows);
        }
        let exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        self.project(rows, &exprs, schema)
    }

    /// The columns of the whole query, in order and with settled types.
    fn output(&mut self, rows: Rows, schema: &DFSchemaRef) -> Result<Rows, Diagnostic> {
        let rows = self.exactly(rows, schema)?;
        let mut same = true;
        let mut fields = Vec::with_capacity(rows.bounds.len());
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(rows.bounds.len());
        let visible = schema.fields().len();
        for (index, field) in rows.schema.fields().iter().enumerate() {
            let data_type = self.settle(field)?;
            let plain = &data_type == field.data_type();
            same &= plain;
            let name = match index.checked_sub(visible) {
                Some(hidden) => format!("__key_{hidden}"),
                None => schema.field(index).name().clone(),
            };
            fields.push((None, Arc::new(Field::new(&name, data_type.clone(), true))));
            exprs.push(if plain {
                Arc::new(ColumnExpr(index))
            } else {
                Arc::new(CastColumn {
                    column: index,
                    data_type,
                    name,
                })
            });
        }
        let names_differ = {
            let arrow = &self.nodes[rows.node].schema;
            arrow
                .fields()
                .iter()
                .zip(&fields)
                .any(|(have, (_, want))| have.name() != want.name())
        };
        let output = self.schema(fields)?;
        let last = self
            .nodes
            .get_mut(rows.node)
            .expect("rows come from a node of this plan");
        if same && names_differ && matches!(last.kind, NodeKind::Map(_)) {
            last.schema = nullable(output.inner());
        }
        let node = if same && (!names_differ || matches!(last.kind, NodeKind::Map(_))) {
            rows.node
        } else {
            self.map(rows.node, exprs, output.inner())
        };
        Ok(Rows {
            node,
            schema: output,
            ..rows
        })
    }

    pub(super) fn settle(&self, field: &Field) -> Result<DataType, Diagnostic> {
        settled(field.data_type()).ok_or_else(|| {
            let name = field.name();
            let message = format!(
                "{name} is of type {}, which cannot be kept",
                type_name(field.data_type())
            );
            Diagnostic::new(Code::TypeMismatch, message)
                .at(self.words.place(name))
                .help("convert it: CAST(x AS TEXT), or take a part of it: EXTRACT(EPOCH FROM x)")
        })
    }

    pub(super) fn compile(
        &self,
        expr: &Expr,
        schema: &DFSchema,
        data_type: &DataType,
    ) -> Result<Arc<dyn BatchExpr>, Diagnostic> {
        use datafusion::common::tree_node::TreeNode;
        let subquery = expr.exists(|expr| {
            Ok(matches!(
                expr,
                Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::SetComparison(_)
            ))
        });
        if subquery.unwrap_or(false) {
            return Err(self.refuse("a subquery in an expression", "IN", "a JOIN works"));
        }
        let bound =
            BoundExpr::compile(expr, schema, data_type).map_err(|error| self.bound(&error))?;
        let guest = expr
            .exists(|expr| Ok(matches!(expr, Expr::ScalarFunction(call) if is_module(&call.func))));
        if guest.unwrap_or(false) {
            return Ok(Arc::new(Guest(bound)));
        }
        Ok(Arc::new(bound))
    }

    pub(super) fn type_of(&self, expr: &Expr, schema: &DFSchema) -> Result<DataType, Diagnostic> {
        use datafusion::logical_expr::ExprSchemable;
        expr.get_type(schema).map_err(|error| self.bound(&error))
    }

    pub(super) fn column(&self, schema: &DFSchema, column: &Column) -> Result<usize, Diagnostic> {
        schema
            .index_of_column(column)
            .map_err(|error| self.bound(&error))
    }

    pub(super) fn schema(
        &self,
        fields: Vec<(Option<TableReference>, Arc<Field>)>,
    ) -> Result<DFSchemaRef, Diagnostic> {
        // Unlike new_with_metadata, this takes two columns of one name: only one of them is ever asked for.
        let (qualifiers, fields): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let schema = DFSchema::from_field_specific_qualified_schema(qualifiers, &schema);
        schema.map(Arc::new).map_err(|error| self.bound(&error))
    }

    pub(super) fn map(
        &mut self,
        input: usize,
        exprs: Vec<Arc<dyn BatchExpr>>,
        schema: &SchemaRef,
    ) -> usize {
        self.push(
            Ordinal::Stateless,
            vec![input],
            schema,
            NodeKind::Map(exprs),
        )
    }

    pub(super) fn push(
        &mut self,
        ordinal: Ordinal,
        inputs: Vec<usize>,
        schema: &SchemaRef,
        kind: NodeKind,
    ) -> usize {
        let count = &mut self.counts[ordinal as usize];
        let id = OperatorId((ordinal as u16) << 12 | *count & 0x0fff);
        *count += 1;
        let name = self.name_of(&kind, &inputs);
        self.nodes.push(PlanNode {
            id,
            name,
            inputs,
            schema: nullable(schema),
            kind,
        });
        self.nodes.len() - 1
    }
}

impl Lowering<'_> {
    /// What the query itself calls an operator: the subqueries around it, and the relations that it reads.
    fn name_of(&self, kind: &NodeKind, inputs: &[usize]) -> String {
        let keeps_state = match kind {
            NodeKind::Source(_) | NodeKind::Join(_) | NodeKind::Aggregate(_) => true,
            NodeKind::Map(exprs) => exprs.iter().any(|expr| expr.may_vary()),
            NodeKind::Filter(_) | NodeKind::Late(_) | NodeKind::Tumble(_) => false,
        };
        if !keeps_state {
            return String::new();
        }
        let scope = self.scope.join(".");
        let read = match kind {
            NodeKind::Source(spec) => spec.topic.clone(),
            _ => {
                let sides = inputs.iter().map(|&input| self.sources_of(input).join(","));
                sides.collect::<Vec<_>>().join("|")
            }
        };
        let name = format!("{scope}:{read}");
        let same_kind =
            |node: &&PlanNode| std::mem::discriminant(&node.kind) == std::mem::discriminant(kind);
        let others = self.nodes.iter().filter(same_kind);
        let numbered = format!("{name}#");
        let known = others.filter(|node| node.name == name || node.name.starts_with(&numbered));
        match known.count() {
            0 => name,
            before => format!("{numbered}{}", before + 1),
        }
    }

    /// The names of the sources that a node comes of, in order.
    fn sources_of(&self, node: usize) -> Vec<String> {
        let node = &self.nodes[node];
        if let NodeKind::Source(_) = node.kind {
            return vec![node.name.clone()];
        }
        let inputs = node.inputs.iter();
        inputs.flat_map(|&input| self.sources_of(input)).collect()
    }
}

impl Rows {
    fn requalified(self, alias: &TableReference) -> Self {
        let schema = self
            .schema
            .as_ref()
            .clone()
            .replace_qualifier(alias.clone());
        Self {
            schema: Arc::new(schema),
            ..self
        }
    }
}

/// The fields of a schema with their qualifiers.
pub(super) fn qualified(schema: &DFSchema) -> Vec<(Option<TableReference>, Arc<Field>)> {
    schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
        .collect()
}

/// The column that an expression is, if it is nothing more.
pub(super) fn plain_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}

/// Adds what tells one record from all others to a source; gives the places of these columns.
fn add_record_id(spec: &mut SourceSpec) -> Vec<usize> {
    let id = [
        ("__partition", DataType::Int32, ColumnOrigin::Partition),
        ("__offset", DataType::Int64, ColumnOrigin::Offset),
    ];
    let from = spec.columns.len();
    spec.columns
        .extend(id.map(|(name, data_type, origin)| SourceColumn {
            name: name.to_owned(),
            data_type,
            nullable: false,
            origin,
        }));
    (from..spec.columns.len()).collect()
}

/// The time column in the input of `exprs`.
fn time_below(exprs: &[Expr], time: Option<TimeUse>, input: &LogicalPlan) -> Option<TimeUse> {
    let time = time?;
    let column = plain_column(exprs.get(time.column)?)?;
    let column = input.schema().index_of_column(column).ok()?;
    Some(time.at(column))
}

/// Whether the rows of `plan` are records of a topic, each as it was read.
fn gives_records(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>();
            source.is_some_and(|source| source.relation.key.is_empty())
        }
        LogicalPlan::SubqueryAlias(alias) => gives_records(&alias.input),
        LogicalPlan::Filter(filter) => gives_records(&filter.input),
        LogicalPlan::Projection(projection) => gives_records(&projection.input),
        _ => false,
    }
}

/// Event time of a relation, for the column that a window reads (`asked`), or for whoever reads what comes of its rows:
/// then it counts only where a time is among the columns.
fn watermark(
    relation: &Relation,
    asked: Option<usize>,
    spec: &SourceSpec,
    schema: &SchemaRef,
) -> Option<WatermarkSpec> {
    let place = |time: &TimeAttribute| {
        let column = &relation.columns[time.column];
        spec.columns.iter().position(|other| other == column)
    };
    let mut times = relation.times.iter();
    let (time, place) = match asked {
        Some(asked) => {
            let time = times.find(|time| time.column == asked)?;
            (time, place(time)?)
        }
        None => times.find_map(|time| Some((time, place(time)?)))?,
    };
    if let Some(view) = &relation.view {
        return Some(WatermarkSpec::Job {
            name: relation.name().to_owned(),
            input: first_topic(&view.plan)?,
            // Without a window the job's event time is handed on as it is.
            shift_us: asked.map_or(0, |_| time.shift_us),
        });
    }
    Some(WatermarkSpec::Rows {
        expr: Arc::new(ShiftedColumn {
            column: place,
            shift_us: -time.delay_us,
            name: schema.field(place).name().clone(),
        }),
        idle_advance: time.idle_advance,
    })
}

/// A topic that a job reads.
fn first_topic(plan: &StreamPlan) -> Option<String> {
    plan.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Source(spec) => Some(spec.topic.clone()),
        _ => None,
    })
}

/// Rows that are only counted still need a column to be counted by.
fn cheapest(relation: &Relation) -> usize {
    let cost = |column: &streams::SourceColumn| match column.origin {
        streams::ColumnOrigin::Partition
        | streams::ColumnOrigin::Offset
        | streams::ColumnOrigin::Timestamp => 0,
        _ if column.data_type.is_primitive() => 1,
        _ => 2,
    };
    let columns = relation.columns.iter().enumerate();
    columns
        .min_by_key(|(_, column)| cost(column))
        .map_or(0, |(index, _)| index)
}

/// Operators may pad with NULL where the planner thought none could be.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
    Arc::new(Schema::new(
        schema.fields().iter().map(field).collect::<Vec<_>>(),
    ))
}
