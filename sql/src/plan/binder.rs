//! Names to objects: the catalog as DataFusion's `ContextProvider`, and from a parsed query to a bound logical plan.
//!
//! The same bound plan is lowered to a streaming plan or turned into a bounded one, so a query means the same in both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, Volatility, WindowUDF,
};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use parking_lot::Mutex;
use sqlparser::ast::{Expr as SqlExpr, Query, Statement as SqlStatement};

use super::accumulator;
use super::age::Age;
use super::any_of::compare_with_lists;
use super::as_of::{as_of_joins, mark_joins, marks};
use super::by_others;
use super::call::check_calls;
use super::clock::{NAMES, is_solved};
use super::correlated::answered;
use super::distinct_on::limited_in_order;
use super::domain::{self, Domain};
use super::empty_group::plain_groups;
use super::first_row::first_rows;
use super::function::scalar_udf;
use super::group_window::windows_in_from;
use super::grouped::sets_of_columns;
use super::json::{self, JsonOperators};
use super::lateral_rows::lateral_rows;
use super::list_nulls::{self, ListNulls};
use super::list_of_rows::{ListOrEmpty, lists_of_rows};
use super::long_value::{self, LongValue};
use super::membership::closed;
use super::named_window::write_out_windows;
use super::postgres::{name_items, rewrite_exprs};
use super::recursion::check_recursion;
use super::relation_source::RelationSource;
use super::rewrite::Meaning;
use super::row::compare_columns;
use super::row_value::Row;
use super::scalar;
use super::series::{self, SeriesFunction};
use super::session::keyed_by_groups;
use super::set_all::counted;
use super::set_bound::bounds_of_sets;
use super::set_returning::functions_of_rows;
use super::sql_type::Types;
use super::system::{SystemSource, SystemTable, TABLES};
use super::text;
use super::time::DatesMove;
use super::time_pattern::TimeByPattern;
use super::time_zone::AtTimeZone;
use super::to_char::ToChar;
use super::tumble::WindowPlanner;
use super::uniform;
use super::unnest::{name_elements, unnest_joins};
use super::using::merge_columns;
use super::value_subquery::ValueSubqueries;
use super::values_of_row::values_as_queries;
use crate::catalog::{Objects, Reference, Relation};
use crate::diagnostic::{Call, Code, Diagnostic, Words, translate};

/// A bound query and what it was bound to.
#[derive(Debug)]
pub(crate) struct BoundQuery {
    pub plan: LogicalPlan,
    /// Relations and functions, each once, by name.
    pub references: Vec<Reference>,
    /// The relations that it reads.
    pub relations: Vec<Arc<Relation>>,
    /// The tables of the server's that it reads.
    pub system: Vec<&'static SystemTable>,
}

/// DataFusion's library of functions and rules, set up once.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) state: SessionState,
    /// DataFusion's functions and how they are called, by each of their names.
    pub(crate) calls: Arc<HashMap<String, Call>>,
}

impl Library {
    pub(crate) fn new() -> Self {
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(8_192)
            .with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.collect_spans = true;
        options.sql_parser.map_string_types_to_utf8view = true;
        options.sql_parser.parse_float_as_decimal = true;
        // An ORDER BY in a subquery under a LIMIT loses its LIMIT otherwise.
        options.sql_parser.enable_subquery_sort_elimination = false;
        options.execution.time_zone = Some("UTC".to_owned());
        let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(Meaning)];
        rules.extend(Analyzer::new().rules);
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(JsonOperators)];
        planners.extend(SessionStateDefaults::default_expr_planners());
        let mut state = SessionStateBuilder::new_with_default_features()
            .with_expr_planners(planners)
            .with_config(config)
            .with_relation_planners(vec![Arc::new(WindowPlanner)])
            .with_type_planner(Arc::new(Types))
            .with_analyzer_rules(rules)
            .with_optimizer_rules(optimizer_rules())
            .build();
        postgres_functions(&mut state).expect("functions can be replaced");
        let calls = Arc::new(documented_calls(&state));
        Self { state, calls }
    }

    /// Names of all functions, own and built in.
    pub(crate) fn function_names(&self, objects: &Objects) -> Vec<String> {
        let state = &self.state;
        let mut names: Vec<String> = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys())
            .cloned()
            .chain(
                objects
                    .functions()
                    .map(|function| function.identity.name.clone()),
            )
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Binds a query against the catalog.
    pub(crate) fn bind(
        &self,
        query: &Query,
        objects: &Objects,
        words: &Words,
    ) -> Result<BoundQuery, Diagnostic> {
        let scope = Scope::new(&self.state, objects);
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        let planner = SqlToRel::new_with_options(&scope, options);
        check_calls(query, words)?;
        check_recursion(query, objects)?;
        let mut query = query.clone();
        windows_in_from(&mut query)?;
        write_out_windows(&mut query)?;
        name_items(&mut query);
        lists_of_rows(&mut query);
        functions_of_rows(&mut query);
        values_as_queries(&mut query);
        rewrite_exprs(&mut query, |name| objects.function(name).is_some());
        compare_with_lists(&mut query);
        plain_groups(&mut query, |name| {
            self.state.aggregate_functions().contains_key(name)
        })
        .map_err(|error| error.at(words.place("GROUP")))?;
        json::name_dots(&mut query);
        compare_columns(&mut query, words)?;
        name_elements(&mut query);
        mark_joins(&mut query, words)?;
        merge_columns(&mut query, words)?;
        let plan = planner
            .sql_statement_to_plan(SqlStatement::Query(Box::new(query)))
            .map_err(|error| translate(&error, words))?;
        let plan = counted(plan)
            .and_then(as_of_joins)
            .and_then(unnest_joins)
            .and_then(limited_in_order)
            .and_then(first_rows)
            .and_then(lateral_rows)
            .and_then(sets_of_columns)
            .and_then(|plan| bounds_of_sets(plan, &self.state))
            .and_then(|plan| answered(plan, &self.state))
            .and_then(closed)
            .map_err(|error| translate(&error, words))?;
        let plan = keyed_by_groups(plan, words).map_err(|error| translate(&error, words))?;
        check_unique(&plan, words)?;
        let mut relations = scope.relations.into_inner();
        add_versions(&plan, &mut relations).map_err(|error| translate(&error, words))?;
        Ok(BoundQuery {
            plan,
            references: scope.used.into_inner().into_values().collect(),
            relations: relations.into_values().collect(),
            system: scope.system.into_inner().into_iter().collect(),
        })
    }
}

impl Library {
    /// Binds an expression that stands alone, over rows of `schema`.
    pub(crate) fn bind_expr(
        &self,
        expr: &SqlExpr,
        schema: &DFSchema,
        words: &Words,
    ) -> Result<Expr, Diagnostic> {
        let objects = Objects::default();
        let scope = Scope::new(&self.state, &objects);
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        SqlToRel::new_with_options(&scope, options)
            .sql_to_expr(expr.clone(), schema, &mut PlannerContext::new())
            .map_err(|error| translate(&error, words))
    }
}

/// DataFusion's rules for what is read once. One is left out: of groups that follow from others it makes columns of one
/// name, and refuses the query (`GROUP BY x, CAST(x AS TEXT)`). Ours stands before the one that makes joins of subqueries.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| rule.name() != "eliminate_group_by_constant");
    let joins = "decorrelate_predicate_subquery";
    let place = rules.iter().position(|rule| rule.name() == joins);
    rules.insert(place.unwrap_or(0), Arc::new(ValueSubqueries));
    rules
}

/// Further names of functions whose answer changes by itself, which are told of by the name that is called.
const NAMED_OTHERWISE: &[(&str, &[&str])] = &[
    ("uuid", &["gen_random_uuid"]),
    ("random", &["rand"]),
    ("array_dims", &["__list_lengths"]),
    (
        "now",
        &[
            "clock_timestamp",
            "statement_timestamp",
            "transaction_timestamp",
            "current_row_timestamp",
        ],
    ),
];

/// Puts PostgreSQL's functions in the place of DataFusion's that differ; its own `to_char` stays as `strftime`.
fn postgres_functions(state: &mut SessionState) -> BoundResult<()> {
    if let Some(strftime) = state.scalar_functions().get("to_char").cloned() {
        state.register_udf(Arc::new(
            strftime.as_ref().clone().with_aliases(["strftime"]),
        ))?;
    }
    if let Some(signum) = state.scalar_functions().get("signum").cloned() {
        let sign = signum.as_ref().clone().with_aliases(["sign"]);
        state.register_udf(Arc::new(sign))?;
    }
    state.register_expr_planner(Arc::new(DatesMove))?;
    state.register_udf(Arc::new(ScalarUDF::from(ToChar::default())))?;
    state.register_udf(Arc::new(ScalarUDF::from(ToChar::java())))?;
    state.register_udf(Arc::new(ScalarUDF::from(TimeByPattern::default())))?;
    state.register_udf(Arc::new(ScalarUDF::from(Age::default())))?;
    for function in text::functions().chain(scalar::functions()) {
        state.register_udf(Arc::new(function))?;
    }
    scalar::register_prepend(state)?;
    state.register_udf(Arc::new(ScalarUDF::from(TimeByPattern::java())))?;
    for (name, aliases) in NAMED_OTHERWISE {
        if let Some(function) = state.scalar_functions().get(*name).cloned() {
            let named = function
                .as_ref()
                .clone()
                .with_aliases(aliases.iter().copied());
            state.register_udf(Arc::new(named))?;
        }
    }
    state.register_udf(Arc::new(ScalarUDF::from(AtTimeZone::default())))?;
    state.register_udf(Arc::new(ScalarUDF::from(Row::default())))?;
    state.register_udf(Arc::new(ScalarUDF::from(ListOrEmpty::default())))?;
    for mark in marks() {
        state.register_udf(Arc::new(mark))?;
    }
    json::register(state)?;
    for name in series::names() {
        if let Some(function) = state.scalar_functions().get(name).cloned() {
            let function = SeriesFunction::over(function.as_ref().clone());
            state.register_udf(Arc::new(ScalarUDF::from(function)))?;
        }
    }
    for name in long_value::NAMES {
        if let Some(function) = state.scalar_functions().get(*name).cloned() {
            let function = LongValue::new(function.as_ref().clone());
            state.register_udf(Arc::new(ScalarUDF::from(function)))?;
        }
    }
    for name in domain::NAMES {
        if let Some(function) = state.scalar_functions().get(*name).cloned() {
            let function = Domain::new(function.as_ref().clone());
            state.register_udf(Arc::new(ScalarUDF::from(function)))?;
        }
    }
    for name in list_nulls::NAMES {
        if let Some(function) = state.scalar_functions().get(*name).cloned() {
            let function = ListNulls::new(function.as_ref().clone());
            state.register_udf(Arc::new(ScalarUDF::from(function)))?;
        }
    }
    for name in uniform::NAMES {
        if let Some(function) = state.scalar_functions().get(*name).cloned() {
            let uniform = uniform::Uniform::new(function.as_ref().clone());
            state.register_udf(Arc::new(ScalarUDF::from(uniform)))?;
        }
    }
    accumulator::register(state)?;
    by_others::register(state)
}

/// Adds the relations that stand for the versions of others.
fn add_versions(
    plan: &LogicalPlan,
    relations: &mut BTreeMap<String, Arc<Relation>>,
) -> BoundResult<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = scan.source.downcast_ref::<RelationSource>()
        {
            let relation = &source.relation;
            relations
                .entry(relation.name().to_owned())
                .or_insert_with(|| Arc::clone(relation));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Rows go out as JSON objects, so names are unique.
fn check_unique(plan: &LogicalPlan, words: &Words) -> Result<(), Diagnostic> {
    let fields = plan.schema().fields();
    for (index, field) in fields.iter().enumerate() {
        if fields
            .iter()
            .take(index)
            .any(|other| other.name() == field.name())
        {
            let message = format!("two columns are named {:?}", field.name());
            return Err(Diagnostic::new(Code::DuplicateColumn, message)
                .at(words.place(field.name()))
                .help("give one of them another name with AS, or list the columns instead of *"));
        }
    }
    Ok(())
}

/// The functions as DataFusion names and documents them.
fn documented_calls(state: &SessionState) -> HashMap<String, Call> {
    let scalars = state.scalar_functions().iter();
    let scalars = scalars.map(|(name, udf)| (name, udf.name(), udf.documentation()));
    let aggregates = state.aggregate_functions().iter();
    let aggregates = aggregates.map(|(name, udf)| (name, udf.name(), udf.documentation()));
    let windows = state.window_functions().iter();
    let windows = windows.map(|(name, udf)| (name, udf.name(), udf.documentation()));
    let all = scalars.chain(aggregates).chain(windows);
    let calls = all.map(|(name, own_name, documentation)| {
        let form = documentation.and_then(|text| text.syntax_example.lines().next());
        let call = Call {
            name: own_name.to_owned(),
            form: form.unwrap_or_default().trim().to_owned(),
        };
        (name.clone(), call)
    });
    calls.collect()
}

/// Refuses functions whose answer changes by itself: in a job they would stand still, or undo what they never did.
pub(crate) fn refuse_volatile(plan: &LogicalPlan, words: &Words) -> Result<(), Diagnostic> {
    let mut found: Option<String> = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr {
                    let name = call.func.name();
                    let is_volatile = call.func.signature().volatility == Volatility::Volatile;
                    if NAMES.contains(&name) || is_volatile && !is_solved(name) {
                        found = Some(name.to_owned());
                        return Ok(TreeNodeRecursion::Stop);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(|error| translate(&error, words))?;
    let Some(name) = found else { return Ok(()) };
    let mut aliases = NAMES.iter();
    let place = aliases.find_map(|alias| words.place(&name).or_else(|| words.place(alias)));
    // It may be called by another of its names.
    let written = [
        "unix_timestamp",
        "localtimestamp",
        "localtime",
        "unix_date",
        "age",
    ];
    let written = written.iter().find(|name| words.place(name).is_some());
    let called = words.called_in(&name).filter(|_| place.is_none());
    let called = called.or_else(|| {
        written
            .filter(|_| place.is_none())
            .map(|name| (*name).to_owned())
    });
    let place = place.or_else(|| words.place(called.as_ref()?));
    let called = called.unwrap_or_else(|| name.clone());
    let help = match NAMES.contains(&name.as_str()) {
        true => {
            "a view may compare it with a time in WHERE: ts > now() - INTERVAL '1 hour'; elsewhere use it in a SELECT over the view; for the time of a record: INCLUDE timestamp AS c"
        }
        false => "use it in a SELECT over the view",
    };
    let message = format!(
        "{called}() has another answer each time, so a query that goes on cannot keep it true"
    );
    Err(Diagnostic::new(Code::Volatile, message)
        .at(place)
        .help(help))
}

struct Scope<'a> {
    state: &'a SessionState,
    objects: &'a Objects,
    type_planner: Arc<Types>,
    used: Mutex<BTreeMap<String, Reference>>,
    relations: Mutex<BTreeMap<String, Arc<Relation>>>,
    system: Mutex<BTreeSet<&'static SystemTable>>,
    functions: Mutex<HashMap<String, Arc<ScalarUDF>>>,
}

impl<'a> Scope<'a> {
    fn new(state: &'a SessionState, objects: &'a Objects) -> Self {
        Self {
            state,
            objects,
            type_planner: Arc::new(Types),
            used: Mutex::new(BTreeMap::new()),
            relations: Mutex::new(BTreeMap::new()),
            system: Mutex::new(BTreeSet::new()),
            functions: Mutex::new(HashMap::new()),
        }
    }

    fn unknown(&self, schema: Option<&str>, name: &str) -> DataFusionError {
        if let Some(schema) = schema {
            let of_schema = TABLES.iter().filter(|table| table.schema == schema);
            let names: Vec<&str> = of_schema.map(|table| table.name).collect();
            let message = format!("there is no table {name:?} in {schema}");
            let unknown = Diagnostic::new(Code::UnknownRelation, message);
            return DataFusionError::External(Box::new(match names.is_empty() {
                true => unknown.help("objects have no schema: leave it out; sys, information_schema and pg_catalog tell of the server"),
                false => unknown
                    .help(format!("it has {}", names.join(", ")))
                    .suggest_nearest(name, names),
            }));
        }
        let message = format!("there is no source, table or view {name:?}");
        let names = self.objects.relations().map(|relation| relation.name());
        let mut diagnostic =
            Diagnostic::new(Code::UnknownRelation, message).suggest_nearest(name, names);
        let is_file = [
            ".json", ".ndjson", ".jsonl", ".csv", ".tsv", ".gz", ".zst", ".parquet",
        ];
        if is_file.iter().any(|end| name.ends_with(end)) {
            diagnostic = diagnostic.help("a SELECT reads files of the folder that sql.files_dir opens; INSERT INTO t SELECT … puts their rows into a topic, which a query that goes on can follow");
        }
        if diagnostic.help.is_none() {
            diagnostic =
                diagnostic.help("SHOW SOURCES, SHOW TABLES and SHOW VIEWS list what there is");
        }
        DataFusionError::External(Box::new(diagnostic))
    }
}

impl ContextProvider for Scope<'_> {
    fn get_table_source(&self, name: TableReference) -> BoundResult<Arc<dyn TableSource>> {
        let schema = name.schema().filter(|schema| *schema != "public");
        let relation = match schema {
            Some(_) => None,
            None => self.objects.relation(name.table()),
        };
        let Some(relation) = relation else {
            let Some(table) = SystemTable::find(schema, name.table()) else {
                return Err(self.unknown(schema, name.table()));
            };
            self.system.lock().insert(table);
            return Ok(Arc::new(SystemSource::new(table)));
        };
        let reference = Reference {
            id: relation.identity.id,
            name: relation.name().to_owned(),
            module: None,
        };
        self.used
            .lock()
            .insert(format!("r:{}", relation.name()), reference);
        self.relations
            .lock()
            .insert(relation.name().to_owned(), Arc::clone(relation));
        Ok(Arc::new(RelationSource {
            relation: Arc::clone(relation),
        }))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.type_planner) as Arc<dyn TypePlanner>)
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: SchemaRef,
    ) -> BoundResult<Arc<dyn TableSource>> {
        let rows = CteWorkTable::new(name, schema);
        Ok(provider_as_source(Arc::new(rows)))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let Some(function) = self.objects.function(name) else {
            return self.state.scalar_functions().get(name).cloned();
        };
        let reference = Reference {
            id: function.identity.id,
            name: function.identity.name.clone(),
            module: Some(function.module.clone()),
        };
        self.used.lock().insert(format!("f:{name}"), reference);
        let mut known = self.functions.lock();
        let udf = known
            .entry(name.to_owned())
            .or_insert_with(|| scalar_udf(Arc::clone(function)));
        Some(Arc::clone(udf))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state
            .higher_order_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
