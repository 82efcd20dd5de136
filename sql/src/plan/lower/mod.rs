//! From a bound logical plan to the engine's operators.
//!
//! ```text
//! TableScan → Source · Projection → Map · Filter → Filter, (Map) → Visible → Map · Tumble → Tumble
//! Session → (Map) → Session · Join → (Map) ×2 → Join · Aggregate → (Map) → Aggregate → (Map) · SubqueryAlias → nothing
//! Unnest → Unnest · Values → Constant · AsOf → (Map) ×2 → AsOf · Union → (Map) ×n → Union · Window, Sort with Limit → (Map) → TopN → (Map) · Window → (Map) → Over → (Map)
//! ```
//!
//! A node is a file: a new operator adds its own, and a line to `Lowering::lower`.
//!
//! Invariants:
//! 1. Exhaustive: a logical node without a meaning over streams is a diagnostic, never a panic or a silent detour.
//! 2. Columns are found by name in the schema of the rows at hand, which may hold more than the logical plan asks for
//!    (the key of an upsert source, a window's end).
//! 3. An operator's id is its kind and its ordinal among that kind; where a job has state already, it keeps the ids that it
//!    has, by the operators' names: the subqueries around an operator and the relations that it reads, as the query's
//!    author wrote them. What the optimizer adds, drops or moves changes neither.
//! 4. What enters a state (joins, aggregates, the output) has a type of [`super::sql_type`]'s table.

mod as_of;
mod constant;
mod filter;
mod join;
mod name;
mod over;
mod project;
mod range;
mod rank;
mod refuse;
mod running;
mod scan;
mod session;
#[cfg(test)]
mod tests;
mod union;
mod unnest;
mod window;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, DFSchema, DFSchemaRef, DataFusionError, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Aggregate, Expr, Extension, LogicalPlan};
use datafusion::optimizer::OptimizerContext;
use streams::{BatchExpr, Emit, ExprError, LatePolicy, NodeKind, OperatorId, PlanNode, StreamPlan};

use super::as_of::AsOf;
use super::changes::Changes;
use super::expr::BoundExpr;
use super::function::is_module;
use super::rules;
use super::session::Session;
use super::sql_type::{settled, type_name};
use super::tumble::Tumble;
use crate::diagnostic::{Code, Diagnostic, Words, sql_types, translate};
pub(super) use window::WindowBound;
use window::{TimeUse, time_below};

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
    /// Whether rows may come too late for it.
    pub judged: bool,
    /// How many of its last columns only identify rows.
    pub hidden: usize,
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
    let context = OptimizerContext::new_with_config_options(joining(options));
    let optimized = rules::optimizer()
        .optimize(analyzed, &context, |_, _| {})
        .map_err(bound)?;
    let emit = policy.emit;
    let mut lowering = Lowering {
        words,
        policy,
        nodes: Vec::new(),
        counts: [0; 11],
        windows: 0,
        judged: false,
        scope: Vec::new(),
        asked: None,
        hidden: 0,
        keeps_keys,
        emit,
        held: Emit::Changes,
    };
    let rows = lowering.lower(&optimized, None)?;
    if !lowering.reads_topics() {
        return Err(lowering.unsupported(&optimized));
    }
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
        judged: lowering.judged || lowering.windows > 0,
    })
}

/// A field and the relation that it is known under.
type QualifiedField = (Option<TableReference>, Arc<Field>);

/// The options for plans in which subqueries become joins: nothing else evaluates them.
fn joining(options: &Arc<ConfigOptions>) -> Arc<ConfigOptions> {
    let mut options = options.as_ref().clone();
    options
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    Arc::new(options)
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
    TopN = 5,
    AsOf = 6,
    Constant = 7,
    Session = 8,
    Over = 9,
    Visible = 10,
}

pub(super) struct Lowering<'a> {
    pub words: &'a Words,
    policy: WindowPolicy,
    pub nodes: Vec<PlanNode>,
    counts: [u16; 11],
    windows: usize,
    /// Whether a join forgets rows, so that some come too late.
    judged: bool,
    /// The names of the subqueries around what is being lowered.
    scope: Vec<String>,
    /// What a condition or LIMIT asks of the ranking or order right below it.
    asked: Option<rank::Asked>,
    /// Columns that the query does not name: each has a name of its own in all of it.
    hidden: usize,
    /// Whether columns that identify rows are kept where the query drops them.
    keeps_keys: bool,
    /// What the topmost aggregate still has to take; `Changes` once it has.
    pub emit: Emit,
    /// What it has taken, for the windows below it.
    held: Emit,
}

impl Lowering<'_> {
    pub(super) fn bound(&self, error: &DataFusionError) -> Diagnostic {
        translate(error, self.words)
    }

    /// Lowers `plan`: a line a node. `time` is the column of it that a window above reads: the source below it gets the
    /// watermark, and its late rows are taken out as long as they are its records.
    fn lower(&mut self, plan: &LogicalPlan, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, time),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias, time),
            LogicalPlan::Filter(filter) => self.filter(filter, time),
            LogicalPlan::Projection(projection) => self.projection(projection, time),
            LogicalPlan::Join(join) => self.join(join, time),
            LogicalPlan::Aggregate(aggregate) => self.group(aggregate, time),
            LogicalPlan::Union(union) => self.union(union, time),
            LogicalPlan::Window(window) => self.window_functions(window, time),
            LogicalPlan::Sort(sort) => self.sort(sort, time),
            LogicalPlan::Limit(limit) => self.limit(limit, time),
            LogicalPlan::Extension(extension) => self.extension(extension, time),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, time),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => self.one_row(),
            other => Err(self.unsupported(other)),
        }
    }

    /// Nodes of our own.
    fn extension(
        &mut self,
        extension: &Extension,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let node = extension.node.as_any();
        if let Some(tumble) = node.downcast_ref::<Tumble>() {
            return self.tumble(tumble);
        }
        if let Some(join) = node.downcast_ref::<AsOf>() {
            return self.as_of(join, time);
        }
        if let Some(session) = node.downcast_ref::<Session>() {
            return self.session(session);
        }
        Err(self.refuse(extension.node.name(), "", ""))
    }

    fn group(&mut self, aggregate: &Aggregate, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let emit = std::mem::replace(&mut self.emit, Emit::Changes);
        if emit == Emit::OnWindowClose {
            self.held = emit;
        }
        let below = time_below(&aggregate.group_expr, time, &aggregate.input);
        let rows = self.judged(&aggregate.input, below)?;
        let (rows, emit) = self.aggregate(aggregate, rows, emit)?;
        // An aggregate without a window leaves ON WINDOW CLOSE unmet, which is reported at the end.
        if emit == Emit::OnWindowClose {
            self.emit = emit;
        }
        Ok(rows)
    }

    fn hidden_name(&mut self) -> String {
        self.hidden += 1;
        format!("__key_{}", self.hidden - 1)
    }

    pub(super) fn settle(&self, field: &Field) -> Result<DataType, Diagnostic> {
        settled(field.data_type()).ok_or_else(|| {
            let (what, words) = named(field.name());
            let message = format!(
                "{what} is of type {}, which cannot be kept",
                type_name(field.data_type())
            );
            let place = words.iter().find_map(|word| self.words.place(word));
            Diagnostic::new(Code::TypeMismatch, message)
                .at(place)
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

/// What a field is called in an error, and the words of the statement at which it may stand.
fn named(field: &str) -> (String, [String; 3]) {
    let text = sql_types(field);
    let head = text.split(['(', ' ']).next().unwrap_or_default().to_owned();
    let what = if field.starts_with("__") {
        "a value".to_owned()
    } else if text[head.len()..].starts_with('(') {
        format!("{head}(…)")
    } else {
        text
    };
    (what, [field.to_owned(), head, "INTERVAL".to_owned()])
}

/// Operators may pad with NULL where the planner thought none could be.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
    Arc::new(Schema::new(
        schema.fields().iter().map(field).collect::<Vec<_>>(),
    ))
}
