//! Columns that are computed: from `c AS expression` to what a source evaluates for each of its rows.
//!
//! ```text
//! expression ── SELECT expression FROM the relation without such columns ── source ── map ── map
//!                                                                            │         └──────┴── the expression
//!                                                                            └── columns that it is computed from
//! ```
//!
//! It means what it means in a query, because it is bound and lowered as one.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use sqlparser::ast::{Expr as SqlExpr, Query, SelectItem, SetExpr, visit_expressions};
use streams::{
    BatchExpr, ColumnOrigin, Computation, Emit, ExprError, KeyFormat, LatePolicy, NodeKind,
    SourceColumn, StreamPlan, ValueFormat,
};

use super::binder::{Library, refuse_volatile};
use super::declared::{Declaration, as_column};
use super::lower::{WindowPolicy, lower};
use super::sql_type::settled;
use crate::catalog::{Identity, Objects, Relation};
use crate::diagnostic::{Code, Diagnostic, StatementText, Words, name_text, translate};
use crate::parse::parse;
use crate::parse::statement::{ComputedDef, Name, Statement};

/// PostgreSQL's SQLSTATE for an expression that no generated column may have.
const INVALID_DEFINITION: &str = "42P17";

/// A column as its definition alone tells it.
pub(crate) struct ComputedColumn<'a> {
    pub definition: &'a ComputedDef,
    /// Type and length where they are declared.
    pub declared: Option<SourceColumn>,
    /// Names of all computed columns of the relation.
    pub others: &'a [ComputedDef],
}

impl ComputedColumn<'_> {
    /// The column of the relation `identity` whose other columns are these, by their folded names.
    pub(crate) fn bound(
        &self,
        library: &Library,
        identity: &Identity,
        columns: &[(String, SourceColumn)],
        words: &Words,
    ) -> Result<SourceColumn, Diagnostic> {
        let definition = self.definition;
        self.check_parts(&identity.name, columns)?;
        let base = base(identity, columns);
        let query = self.query(&base)?;
        let mut objects = Objects::default();
        objects.insert_relation(Arc::new(base));
        let bound = library.bind(&query, &objects, words)?;
        self.check_rows(&bound.plan)?;
        refuse_volatile(&bound.plan, words).map_err(|error| self.is_volatile(error))?;
        let plan = match &self.declared {
            Some(declared) => as_declared(bound.plan, declared, words)?,
            None => bound.plan,
        };
        let policy = WindowPolicy {
            late: LatePolicy::Drop,
            grace_us: 0,
            emit: Emit::Changes,
        };
        let plan = lower(&library.state, plan, policy, words)?.plan;
        let data_type = plan.schema().field(0).data_type().clone();
        let (expr, inputs) = self.chain(plan)?;
        Ok(SourceColumn {
            name: definition.name.written.clone(),
            data_type,
            nullable: definition.nullable,
            length: self.declared.as_ref().and_then(|column| column.length),
            origin: ColumnOrigin::Computed(Computation {
                expr: Arc::new(expr),
                inputs,
                text: definition.expr.to_string(),
            }),
        })
    }

    /// Refuses subqueries and other computed columns, in PostgreSQL's words.
    fn check_parts(
        &self,
        relation: &str,
        columns: &[(String, SourceColumn)],
    ) -> Result<(), Diagnostic> {
        let is_column = |name: &str| columns.iter().any(|(column, _)| column == name);
        let is_computed = |name: &Name| {
            let known = self.others.iter().any(|other| other.name.name == name.name);
            known && !is_column(&name.name)
        };
        let found = visit_expressions(&self.definition.expr, |expr| match expr {
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
                let message = "cannot use subquery in column generation expression";
                ControlFlow::Break(
                    Diagnostic::new(Code::Unsupported, message).at(self.definition.span),
                )
            }
            SqlExpr::Identifier(ident) if is_computed(&Name::from(ident)) => {
                ControlFlow::Break(self.is_of_computed(&Name::from(ident)))
            }
            SqlExpr::CompoundIdentifier(parts) => match parts.as_slice() {
                [of, column]
                    if Name::from(of).name == relation && is_computed(&Name::from(column)) =>
                {
                    ControlFlow::Break(self.is_of_computed(&Name::from(column)))
                }
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        });
        match found {
            ControlFlow::Break(refused) => Err(refused.help(IN_A_VIEW)),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn is_of_computed(&self, name: &Name) -> Diagnostic {
        let message = format!(
            "cannot use generated column {:?} in column generation expression",
            name.name
        );
        let mut refused = Diagnostic::new(Code::Unsupported, message).at(name.span);
        refused.sqlstate = INVALID_DEFINITION.to_owned();
        refused.note("a computed column is computed from columns of the record")
    }

    fn is_volatile(&self, error: Diagnostic) -> Diagnostic {
        let mut refused = Diagnostic::new(Code::Volatile, "generation expression is not immutable")
            .at(error.span.or(self.definition.span))
            .note(error.message)
            .help("for the time of a record: INCLUDE timestamp AS c");
        refused.sqlstate = INVALID_DEFINITION.to_owned();
        refused
    }

    /// Refuses what is not computed from one row alone, in PostgreSQL's words.
    fn check_rows(&self, plan: &LogicalPlan) -> Result<(), Diagnostic> {
        let mut found = None;
        let walked = plan.apply_with_subqueries(|node| {
            found = match node {
                LogicalPlan::Aggregate(_) => Some("aggregate functions are"),
                LogicalPlan::Window(_) => Some("window functions are"),
                LogicalPlan::Unnest(_) => Some("set-returning functions are"),
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            Ok(TreeNodeRecursion::Stop)
        });
        let Some(what) = found.or(walked.err().map(|_| "such parts are")) else {
            return Ok(());
        };
        let message = format!("{what} not allowed in column generation expressions");
        Err(Diagnostic::new(Code::Unsupported, message)
            .at(self.definition.span)
            .help(IN_A_VIEW))
    }

    /// `SELECT expression FROM relation`.
    fn query(&self, base: &Relation) -> Result<Query, Diagnostic> {
        let text = format!(
            "SELECT NULL AS {} FROM {}",
            name_text(&self.definition.name.name),
            name_text(base.identity.name.as_str())
        );
        let statement = StatementText {
            text: &text,
            offset: 0,
            line: 1,
            column: 1,
            complete: true,
        };
        let broken = || Diagnostic::new(Code::Internal, format!("not a query: {text}"));
        let Statement::Select(select) = parse(&statement)? else {
            return Err(broken());
        };
        let mut query = *select.query.query;
        let SetExpr::Select(select) = query.body.as_mut() else {
            return Err(broken());
        };
        let Some(SelectItem::ExprWithAlias { expr, .. }) = select.projection.first_mut() else {
            return Err(broken());
        };
        *expr = self.definition.expr.clone();
        Ok(query)
    }

    /// The expression that a plan of one source and maps is, and the columns that it reads.
    fn chain(&self, plan: StreamPlan) -> Result<(Chain, Vec<String>), Diagnostic> {
        let refused = || {
            let name = &self.definition.name.written;
            let message =
                format!("column {name} is not computed from the columns of its row alone");
            Diagnostic::new(Code::Unsupported, message)
                .at(self.definition.span)
                .help(IN_A_VIEW)
        };
        let mut nodes = plan.nodes.into_iter();
        let Some((NodeKind::Source(spec), input)) =
            nodes.next().map(|node| (node.kind, node.schema))
        else {
            return Err(refused());
        };
        let mut steps = Vec::new();
        for node in nodes {
            let NodeKind::Map(exprs) = node.kind else {
                return Err(refused());
            };
            steps.push((exprs, node.schema));
        }
        let inputs = spec.columns.into_iter().map(|column| column.name);
        Ok((Chain { input, steps }, inputs.collect()))
    }
}

/// What else there is.
const IN_A_VIEW: &str =
    "compute it in a view: CREATE MATERIALIZED VIEW v AS SELECT *, … AS c FROM …";

/// The relation without what is computed, as far as a query of it needs it.
fn base(identity: &Identity, columns: &[(String, SourceColumn)]) -> Relation {
    let fields = columns
        .iter()
        .map(|(name, column)| arrow::datatypes::Field::new(name, column.data_type.clone(), true));
    Relation {
        identity: identity.clone(),
        topic: identity.name.clone(),
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        columns: columns.iter().map(|(_, column)| column.clone()).collect(),
        key: Vec::new(),
        key_format: KeyFormat::None,
        value_format: ValueFormat::Json {
            timestamp_unit_us: None,
        },
        times: Vec::new(),
        view: None,
        generator: None,
        has_connector: false,
    }
}

/// The plan's only column as it is declared: of its type, and no longer than it may be.
fn as_declared(
    plan: LogicalPlan,
    declared: &SourceColumn,
    words: &Words,
) -> Result<LogicalPlan, Diagnostic> {
    let fail = |error| translate(&error, words);
    let value = plan.schema().columns().into_iter().next().map(Expr::Column);
    let Some(value) = value else {
        return Err(Diagnostic::new(Code::Internal, "a query without columns"));
    };
    let is_type = settled(plan.schema().field(0).data_type()).as_ref() == Some(&declared.data_type);
    let value = match is_type {
        true => value,
        false => cast(value, declared.data_type.clone()),
    };
    let value = as_column(value, Declaration::of_column(declared, false), false);
    let plan = LogicalPlanBuilder::from(plan)
        .project([value.alias("c")])
        .map_err(fail)?;
    plan.build().map_err(fail)
}

/// Maps one after another: the only column of the last one.
struct Chain {
    input: SchemaRef,
    steps: Vec<(Vec<Arc<dyn BatchExpr>>, SchemaRef)>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.steps.iter().map(|(exprs, _)| exprs))
            .finish()
    }
}

impl BatchExpr for Chain {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let wrong = |error: arrow::error::ArrowError| ExprError::new(error.to_string());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let named = |schema: &SchemaRef, columns| {
            RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(wrong)
        };
        let mut rows = named(&self.input, batch.columns().to_vec())?;
        for (exprs, schema) in &self.steps {
            let columns = exprs.iter().map(|expr| expr.eval(&rows));
            rows = named(schema, columns.collect::<Result<_, _>>()?)?;
        }
        let value = rows.columns().first().cloned();
        value.ok_or_else(|| ExprError::new("a row without columns"))
    }
}
