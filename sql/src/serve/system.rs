//! What the tables of the server hold at the moment that a statement begins to read them.
//!
//! A row is a list of cells in the order of the table's columns (`plan/system.rs`), so that each table is one function here.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use streams::{JobStatus, MemoryBudget, MemoryUser, StreamPlan};

use super::connector::without_passwords;
use super::server::Inner;
use super::session::Session;
use super::tell::{form_name, key_of, names};
use crate::catalog::{Identity, Kind, Objects, Relation};
use crate::connectors::ListedConnector;
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{
    CATALOG, OWNER, SCHEMA, SystemTable, SystemType, ViewPlan, explain, time_text, type_name,
};

/// One value.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// µs since 1970.
    Time(i64),
}

pub(super) type Row = Vec<Cell>;

/// Number of the schema that all objects are in, as in PostgreSQL.
const SCHEMA_OID: i64 = 2200;
/// Number of the first object; those below are PostgreSQL's own.
const FIRST_OID: i64 = 16_384;
/// Numbers of the types that PostgreSQL has too.
const TYPES: &[(&str, i64)] = &[
    ("bool", 16),
    ("bytea", 17),
    ("int8", 20),
    ("int2", 21),
    ("int4", 23),
    ("text", 25),
    ("json", 114),
    ("float4", 700),
    ("float8", 701),
    ("date", 1082),
    ("time", 1083),
    ("timestamp", 1114),
    ("timestamptz", 1184),
    ("numeric", 1700),
];

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn maybe(text: Option<String>) -> Cell {
    text.map_or(Cell::Null, Cell::Text)
}

fn count(count: u64) -> Cell {
    Cell::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn number(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

impl Inner {
    /// The rows of a table of the server's.
    pub(super) async fn system_rows(
        &self,
        table: &'static SystemTable,
        session: &Session,
    ) -> Result<RecordBatch, Diagnostic> {
        let objects = self.objects();
        let rows = match (table.schema, table.name) {
            ("information_schema", "columns") => information_columns(&objects),
            ("information_schema", "schemata") => {
                [SCHEMA, "sys", "information_schema", "pg_catalog"]
                    .map(|schema| vec![text(CATALOG), text(schema), text(OWNER)])
                    .into()
            }
            ("information_schema", "tables") => information_tables(&objects),
            ("information_schema", "views") => {
                let row = |view: &Arc<Relation>| {
                    let [catalog, schema] = [CATALOG, SCHEMA].map(text);
                    vec![catalog, schema, text(view.name()), text(&view.identity.sql)]
                };
                objects.of_kind(Kind::View).map(row).collect()
            }
            ("pg_catalog", "pg_attribute") => pg_attribute(&objects),
            ("pg_catalog", "pg_class") => pg_class(&objects),
            ("pg_catalog", "pg_matviews") => {
                let row = |view: &Arc<Relation>| {
                    let filled = Cell::Bool(self.filling(view.name()).is_none());
                    let [schema, name, owner] = [SCHEMA, view.name(), OWNER].map(text);
                    vec![schema, name, owner, filled, text(&view.identity.sql)]
                };
                objects.of_kind(Kind::View).map(row).collect()
            }
            ("pg_catalog", "pg_namespace") => vec![
                vec![Cell::Int(11), text("pg_catalog")],
                vec![Cell::Int(SCHEMA_OID), text(SCHEMA)],
            ],
            ("pg_catalog", "pg_tables") => {
                let relations = objects.relations();
                let tables = relations.filter(|relation| relation.view.is_none());
                let row = |table: &Arc<Relation>| [SCHEMA, table.name(), OWNER].map(text).into();
                tables.map(row).collect()
            }
            ("pg_catalog", "pg_type") => {
                let row =
                    |(name, oid): &(&str, i64)| vec![Cell::Int(*oid), text(*name), Cell::Int(11)];
                TYPES.iter().map(row).collect()
            }
            ("sys", "columns") => sys_columns(&objects),
            ("sys", "connectors") => {
                let listed = self.connectors.get().map(|connectors| connectors.list());
                let row = |listed: ListedConnector| {
                    vec![
                        text(listed.name),
                        text(listed.kind),
                        text(listed.class),
                        text(listed.state),
                        Cell::Int(number(listed.tasks)),
                        Cell::Int(number(listed.failed_tasks)),
                        maybe(listed.error),
                    ]
                };
                listed.into_iter().flatten().map(row).collect()
            }
            ("sys", "errors") => self.with_jobs(&objects, |identity, _, status| {
                vec![
                    text(&identity.name),
                    count(status.undecodable),
                    count(status.failed_rows),
                    text(format!("{}.errors", identity.name)),
                    maybe(status.last_failure.clone()),
                ]
            }),
            ("sys", "functions") => {
                let functions = objects.functions();
                let row = |function: &Arc<crate::catalog::Function>| {
                    vec![
                        text(&function.identity.name),
                        text(function.signature()),
                        text(&function.module),
                    ]
                };
                functions.map(row).collect()
            }
            ("sys", "groups") => self.sys_groups().await?,
            ("sys", "jobs") => self.sys_jobs(&objects),
            ("sys", "late_rows") => self.with_jobs(&objects, |identity, plan, status| {
                let topic = match plan.late() {
                    Some(streams::LatePolicy::To(topic)) => text(topic),
                    _ => Cell::Null,
                };
                vec![
                    text(&identity.name),
                    count(status.late),
                    topic,
                    maybe(status.last_late.clone()),
                ]
            }),
            ("sys", "memory") => sys_memory(&self.engine.memory()),
            ("sys", "operators") => self.sys_operators(&objects),
            ("sys", "settings") => self.sys_settings(session),
            ("sys", "sinks") => sys_sinks(&objects),
            ("sys", "sources") => relations(&objects, Kind::Source),
            ("sys", "tables") => relations(&objects, Kind::Table),
            ("sys", "topics") => self.sys_topics().await?,
            ("sys", "views") => relations(&objects, Kind::View),
            ("sys", "watermarks") => self.sys_watermarks(&objects),
            _ => {
                let message = format!("{} has no rows", table.full_name());
                return Err(Diagnostic::new(Code::Internal, message));
            }
        };
        batch(table, &rows)
    }

    /// A row for every job that runs.
    fn with_jobs(
        &self,
        objects: &Objects,
        row: impl Fn(&Identity, &ViewPlan, &JobStatus) -> Row,
    ) -> Vec<Row> {
        let rows = jobs(objects).into_iter().filter_map(|(identity, plan)| {
            let status = self.jobs.status(&identity.name)?;
            Some(row(identity, plan, &status))
        });
        rows.collect()
    }

    fn sys_jobs(&self, objects: &Objects) -> Vec<Row> {
        let idle = self.idle_sinks();
        let row = |(identity, _): (&Identity, &ViewPlan)| {
            let name = identity.name.as_str();
            let why = self.jobs.why(name).into_iter().next();
            let Some(status) = self.jobs.status(name) else {
                let mut row = vec![
                    text(name),
                    text(identity.kind.word()),
                    text(self.jobs.state(name)),
                ];
                row.resize(10, Cell::Null);
                row.push(maybe(why));
                return row;
            };
            let lag: i64 = (status.times.iter())
                .map(|time| (time.last_stable_offset - time.position).max(0))
                .sum();
            let age = status.commit_age.map(|age| age.as_millis());
            // `FAILED: why`, `STOPPED: …` of a connector.
            let (state, error) = match idle.get(name).and_then(|idle| idle.split_once(": ")) {
                Some((state, why)) => (text(state), text(why)),
                None => (text(status.state.to_string()), maybe(status.error.clone())),
            };
            vec![
                text(name),
                text(identity.kind.word()),
                state,
                error,
                count(status.rows_in),
                count(status.rows_out),
                Cell::Int(lag),
                status.watermark.map_or(Cell::Null, Cell::Time),
                count(status.commit.number),
                age.map_or(Cell::Null, |age| {
                    Cell::Int(i64::try_from(age).unwrap_or(i64::MAX))
                }),
                maybe(why),
            ]
        };
        jobs(objects).into_iter().map(row).collect()
    }

    fn sys_operators(&self, objects: &Objects) -> Vec<Row> {
        let rows = jobs(objects).into_iter().flat_map(|(identity, plan)| {
            let status = self.jobs.status(&identity.name);
            let figures = status.map(|status| status.operators).unwrap_or_default();
            operators(&plan.plan)
                .into_iter()
                .enumerate()
                .map(move |(place, (node, line))| {
                    let mut row = vec![text(&identity.name), Cell::Int(number(place)), text(line)];
                    match figures.get(node) {
                        Some(figures) => row.extend([
                            count(figures.rows_in),
                            count(figures.rows_out),
                            Cell::Double(figures.busy.as_secs_f64() * 1e3),
                        ]),
                        None => row.extend([Cell::Null, Cell::Null, Cell::Null]),
                    }
                    row
                })
        });
        rows.collect()
    }

    fn sys_watermarks(&self, objects: &Objects) -> Vec<Row> {
        let rows = self.with_jobs(objects, |identity, _, _| vec![text(&identity.name)]);
        let rows = rows.into_iter().flat_map(|row| {
            let [Cell::Text(name)] = row.as_slice() else {
                return Vec::new();
            };
            let status = self.jobs.status(name);
            let times = status.map(|status| status.times).unwrap_or_default();
            let row = |time: streams::PartitionTime| {
                vec![
                    text(name),
                    text(time.partition.topic.to_string()),
                    Cell::Int(time.partition.partition.into()),
                    time.value.map_or(Cell::Null, Cell::Time),
                    text(time.status.to_string()),
                    Cell::Bool(time.holds),
                    Cell::Int(time.position),
                    Cell::Int(time.last_stable_offset),
                ]
            };
            times.into_iter().map(row).collect()
        });
        rows.collect()
    }

    /// Those of SQL, and those of this session.
    fn sys_settings(&self, session: &Session) -> Vec<Row> {
        let config = serde_json::to_value(&self.config).unwrap_or_default();
        let of_server = config
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let value = match value {
                    serde_json::Value::String(value) => value.clone(),
                    value => value.to_string(),
                };
                vec![text(format!("sql.{name}")), text(value)]
            });
        let of_session =
            (session.settings().into_iter()).map(|(name, value)| vec![text(name), text(value)]);
        of_session.chain(of_server).collect()
    }

    async fn sys_topics(&self) -> Result<Vec<Row>, Diagnostic> {
        let topics = self.log.admin().list_topics().await;
        let topics = topics.map_err(|error| Diagnostic::new(Code::Log, error.to_string()))?;
        let rows = topics.into_iter().map(|topic| {
            let policy = topic.configs.get("cleanup.policy").cloned();
            vec![
                text(topic.name),
                Cell::Int(topic.partitions.into()),
                maybe(policy),
                Cell::Bool(topic.internal),
            ]
        });
        Ok(rows.collect())
    }
}

/// All that runs, or should.
fn jobs(objects: &Objects) -> Vec<(&Identity, &ViewPlan)> {
    let views = objects.relations().filter_map(|relation| {
        let plan = relation.view.as_ref()?;
        Some((&relation.identity, plan))
    });
    let sinks = objects.sinks().map(|sink| (&sink.identity, &sink.plan));
    views.chain(sinks).collect()
}

/// The operators of a plan as EXPLAIN has them, each with its place in the plan.
fn operators(plan: &StreamPlan) -> Vec<(usize, String)> {
    let lines = explain(plan);
    order(plan).into_iter().zip(lines).collect()
}

/// The nodes of a plan in the order in which EXPLAIN tells of them: a consumer, then its inputs.
pub(super) fn order(plan: &StreamPlan) -> Vec<usize> {
    let mut order = Vec::with_capacity(plan.nodes.len());
    let mut next: Vec<usize> = plan.nodes.len().checked_sub(1).into_iter().collect();
    while let Some(node) = next.pop() {
        order.push(node);
        next.extend(plan.nodes[node].inputs.iter().rev());
    }
    order
}

fn created(identity: &Identity) -> Cell {
    Cell::Time(identity.created_ms.saturating_mul(1000))
}

fn relations(objects: &Objects, kind: Kind) -> Vec<Row> {
    let row = |relation: &Arc<Relation>| {
        let time = relation.times.first();
        vec![
            text(relation.name()),
            text(&relation.topic),
            text(names(relation, relation.key.iter().copied())),
            maybe(time.map(|time| time_text(relation, time))),
            created(&relation.identity),
            text(without_passwords(&relation.identity.sql)),
        ]
    };
    objects.of_kind(kind).map(row).collect()
}

fn sys_sinks(objects: &Objects) -> Vec<Row> {
    let row = |sink: &Arc<crate::catalog::Sink>| {
        vec![
            text(sink.name()),
            text(&sink.plan.sink.topic),
            text(form_name(&sink.plan.sink.form)),
            text(key_of(sink)),
            created(&sink.identity),
            text(without_passwords(&sink.identity.sql)),
        ]
    };
    objects.sinks().map(row).collect()
}

fn sys_columns(objects: &Objects) -> Vec<Row> {
    let rows = objects.relations().flat_map(|relation| {
        let fields = relation.schema.fields().iter().enumerate();
        fields.map(|(place, field)| {
            vec![
                text(relation.name()),
                Cell::Int(number(place + 1)),
                text(field.name()),
                text(type_name(field.data_type())),
                Cell::Bool(relation.key.contains(&place)),
            ]
        })
    });
    rows.collect()
}

/// Whether a column may be NULL: one that is declared otherwise may not, nor one of a table's key.
fn is_nullable(relation: &Relation, column: usize) -> bool {
    let is_key = relation.view.is_none() && relation.key.contains(&column);
    relation.columns[column].nullable && !is_key
}

fn information_columns(objects: &Objects) -> Vec<Row> {
    let rows = objects.relations().flat_map(|relation| {
        let fields = relation.schema.fields().iter().enumerate();
        fields.map(|(place, field)| {
            let nullable = if is_nullable(relation, place) {
                "YES"
            } else {
                "NO"
            };
            let [catalog, schema] = [CATALOG, SCHEMA].map(text);
            vec![
                catalog,
                schema,
                text(relation.name()),
                text(field.name()),
                Cell::Int(number(place + 1)),
                Cell::Null,
                text(nullable),
                text(type_name(field.data_type()).to_lowercase()),
            ]
        })
    });
    rows.collect()
}

fn information_tables(objects: &Objects) -> Vec<Row> {
    let row = |relation: &Arc<Relation>| {
        let kind = match relation.identity.kind {
            Kind::View => "MATERIALIZED VIEW",
            Kind::Source => "SOURCE",
            _ => "BASE TABLE",
        };
        [CATALOG, SCHEMA, relation.name(), kind].map(text).into()
    };
    objects.relations().map(row).collect()
}

/// What each user of memory may hold of `memory.limit`, and holds; of clients the log itself counts what they hold.
fn sys_memory(budget: &MemoryBudget) -> Vec<Row> {
    let bytes = |bytes: usize| Cell::Int(number(bytes));
    let row = |user: MemoryUser| {
        let (used, peak) = match user {
            MemoryUser::Clients => (Cell::Null, Cell::Null),
            _ => (bytes(budget.used(user)), bytes(budget.peak(user))),
        };
        vec![text(user.name()), bytes(budget.share(user)), used, peak]
    };
    MemoryUser::ALL.map(row).into()
}

fn pg_class(objects: &Objects) -> Vec<Row> {
    let row = |(place, relation): (usize, &Arc<Relation>)| {
        let kind = match relation.identity.kind {
            Kind::View => "m",
            Kind::Source => "f",
            _ => "r",
        };
        vec![
            Cell::Int(FIRST_OID + number(place)),
            text(relation.name()),
            Cell::Int(SCHEMA_OID),
            text(kind),
            Cell::Int(number(relation.schema.fields().len())),
        ]
    };
    objects.relations().enumerate().map(row).collect()
}

fn pg_attribute(objects: &Objects) -> Vec<Row> {
    let rows = objects
        .relations()
        .enumerate()
        .flat_map(|(place, relation)| {
            let fields = relation.schema.fields().iter().enumerate();
            fields.map(move |(column, field)| {
                vec![
                    Cell::Int(FIRST_OID + number(place)),
                    text(field.name()),
                    Cell::Int(type_oid(&type_name(field.data_type()))),
                    Cell::Int(number(column + 1)),
                    Cell::Int(-1),
                    Cell::Bool(!is_nullable(relation, column)),
                    Cell::Bool(false),
                ]
            })
        });
    rows.collect()
}

/// The number that PostgreSQL gives a type; what it does not have is shown as text.
fn type_oid(name: &str) -> i64 {
    let word = name.split('(').next().unwrap_or(name).to_uppercase();
    let pg_name = match word.as_str() {
        "BOOLEAN" => "bool",
        "TINYINT" | "SMALLINT" => "int2",
        "INT" | "INTEGER" => "int4",
        "BIGINT" => "int8",
        "REAL" => "float4",
        "DOUBLE" | "DOUBLE PRECISION" => "float8",
        "DECIMAL" | "NUMERIC" => "numeric",
        "BYTEA" => "bytea",
        "DATE" => "date",
        "TIME" => "time",
        "TIMESTAMP" => "timestamp",
        "TIMESTAMPTZ" => "timestamptz",
        "JSON" => "json",
        _ => "text",
    };
    let known = TYPES.iter().find(|(name, _)| *name == pg_name);
    known.map_or(25, |(_, oid)| *oid)
}

/// Rows as the table's columns.
fn batch(table: &SystemTable, rows: &[Row]) -> Result<RecordBatch, Diagnostic> {
    let columns = table
        .columns
        .iter()
        .enumerate()
        .map(|(place, (_, data_type))| {
            let cells = rows
                .iter()
                .map(move |row| row.get(place).unwrap_or(&Cell::Null));
            let column: ArrayRef = match data_type {
                SystemType::Text => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Text(text) => Some(text.as_str()),
                            _ => None,
                        })
                        .collect::<StringViewArray>(),
                ),
                SystemType::Int => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Int(number) => Some(*number),
                            _ => None,
                        })
                        .collect::<Int64Array>(),
                ),
                SystemType::Double => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Double(number) => Some(*number),
                            _ => None,
                        })
                        .collect::<Float64Array>(),
                ),
                SystemType::Bool => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Bool(is) => Some(*is),
                            _ => None,
                        })
                        .collect::<BooleanArray>(),
                ),
                SystemType::Time => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Time(time) => Some(*time),
                            _ => None,
                        })
                        .collect::<TimestampMicrosecondArray>(),
                ),
            };
            column
        });
    let columns: Vec<ArrayRef> = columns.collect();
    RecordBatch::try_new(table.arrow_schema(), columns)
        .map_err(|error| Diagnostic::new(Code::Internal, error.to_string()))
}
