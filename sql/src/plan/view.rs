//! Plans of queries that go on: of a view, with its topic and key, and of a push query.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::Expr as SqlExpr;
use streams::{
    ColumnOrigin, Emit, KeyFormat, LatePolicy, NodeKind, SinkForm, SinkSpec, SourceColumn,
    StateManifest, StreamPlan, ValueFormat,
};

use super::binder::{BoundQuery, Library, refuse_volatile};
use super::changes::Changes;
use super::clock::solved;
use super::lower::{Lowered, WindowPolicy, lower, lower_keyed};
use super::trace::{Origin, origin};
use super::tumble::{interval_text, interval_us};
use crate::catalog::{Identity, Objects, Relation, TimeAttribute};
use crate::diagnostic::{Code, Diagnostic, Span, Words, translate};
use crate::parse::statement::{Emit as EmitClause, Late, QueryClauses};

/// How the rows of a view come about and where they go.
#[derive(Debug, Clone)]
pub(crate) struct ViewPlan {
    pub plan: StreamPlan,
    pub sink: SinkSpec,
    /// What its job keeps, and under which numbers: as it was settled when the view was made. `None`: its record in the
    /// catalog is of before that stood there.
    pub manifest: Option<StateManifest>,
    /// How often its query was replaced by one that makes its rows of the same state.
    pub revision: u64,
    pub emit: Emit,
    pub windowed: bool,
}

impl ViewPlan {
    /// Where late rows go; `None`: nothing that comes can be late.
    pub(crate) fn late(&self) -> Option<&LatePolicy> {
        let properties = self.plan.properties();
        self.plan.nodes.iter().find_map(|node| match &node.kind {
            NodeKind::Late(spec) => Some(&spec.late),
            NodeKind::Tumble(spec) if properties[node.inputs[0]].source_rows => Some(&spec.late),
            NodeKind::Slide(spec) if properties[node.inputs[0]].source_rows => Some(&spec.late),
            NodeKind::Session(spec) if properties[node.inputs[0]].source_rows => Some(&spec.late),
            _ => None,
        })
    }

    /// Whether rows that appeared when their window closed may still change.
    pub(crate) fn corrects_closed_windows(&self) -> bool {
        let properties = self.plan.properties();
        self.plan.nodes.iter().any(|node| match &node.kind {
            NodeKind::Aggregate(spec) => {
                spec.emit == Emit::OnWindowClose && !properties[node.inputs[0]].closes_windows()
            }
            _ => false,
        })
    }
}

/// A query that runs for good, planned; where its rows go is another matter.
pub(super) struct Planned {
    pub bound: BoundQuery,
    pub lowered: Lowered,
    pub emit: Emit,
    grace_us: i64,
}

/// Plans a query for object `name`, whose late rows go to a topic named after it unless it says otherwise. `shape` makes of
/// its plan what the object needs.
pub(super) fn planned(
    library: &Library,
    objects: &Objects,
    name: &str,
    clauses: &QueryClauses,
    shape: impl FnOnce(LogicalPlan) -> Result<LogicalPlan, Diagnostic>,
    words: &Words,
) -> Result<Planned, Diagnostic> {
    let mut bound = bind(library, objects, clauses, words)?;
    bound.plan = solved(bound.plan).map_err(|error| translate(&error, words))?;
    refuse_volatile(&bound.plan, words)?;
    bound.plan = shape(bound.plan)?;
    let late = match &clauses.late {
        Some((Late::To(topic), _)) => LatePolicy::To(topic.clone()),
        Some((Late::Drop, _)) => LatePolicy::Drop,
        Some((Late::Update, _)) => LatePolicy::Update,
        None => LatePolicy::To(format!("{name}.late")),
    };
    let emit = match clauses.emit {
        Some((EmitClause::OnWindowClose, _)) => Emit::OnWindowClose,
        Some((EmitClause::Changes { from_latest: true }, span)) => {
            return Err(Diagnostic::new(
                Code::Unsupported,
                "what runs for good reads from the start: FROM LATEST is for push queries",
            )
            .at(span)
            .help("leave FROM LATEST out"));
        }
        _ => Emit::Changes,
    };
    let policy = WindowPolicy {
        late,
        grace_us: grace(library, clauses, words)?,
        emit,
    };
    let grace_us = policy.grace_us;
    let lowered = lower_keyed(&library.state, bound.plan.clone(), policy, words)?;
    check_window_clauses(clauses, &lowered)?;
    Ok(Planned {
        bound,
        lowered,
        emit,
        grace_us,
    })
}

/// Plans a view. `partitions` is for its topic, if that has to be made.
pub(crate) fn view(
    library: &Library,
    objects: &Objects,
    identity: Identity,
    clauses: &QueryClauses,
    partitions: i32,
    words: &Words,
) -> Result<Relation, Diagnostic> {
    let name = identity.name.clone();
    let Planned {
        bound,
        lowered,
        emit,
        grace_us,
    } = planned(library, objects, &name, clauses, Ok, words)?;
    let all = Arc::clone(lowered.plan.schema());
    let visible = all.fields().len() - lowered.hidden;
    let key = view_key(&lowered.changes, visible, clauses, &name)?;
    let key_format = default_key_format(key.iter().map(|&column| all.field(column).data_type()));
    let schema = Schema::new(
        all.fields()
            .iter()
            .take(visible)
            .cloned()
            .collect::<Vec<_>>(),
    );
    let columns = all
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| SourceColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: true,
            length: None,
            origin: if key.contains(&index) {
                ColumnOrigin::Key
            } else {
                ColumnOrigin::Value
            },
        })
        .collect();
    let sink = SinkSpec {
        topic: name.clone(),
        partitions,
        key: key.clone(),
        hidden: lowered.hidden,
        key_format,
        form: SinkForm::View,
    };
    Ok(Relation {
        topic: name,
        columns,
        times: times(&bound.plan, grace_us),
        schema: Arc::new(schema),
        key,
        key_format,
        value_format: ValueFormat::Json {
            timestamp_unit_us: None,
        },
        has_connector: false,
        view: Some(ViewPlan {
            manifest: Some(StateManifest::of(&lowered.plan, &sink)),
            revision: 0,
            plan: lowered.plan,
            sink,
            emit,
            windowed: lowered.windowed,
        }),
        generator: None,
        identity: Identity {
            references: bound.references,
            ..identity
        },
    })
}

/// Plans a push query.
pub(crate) fn follow(
    library: &Library,
    objects: &Objects,
    clauses: &QueryClauses,
    words: &Words,
) -> Result<StreamPlan, Diagnostic> {
    let bound = bind(library, objects, clauses, words)?;
    refuse_volatile(&bound.plan, words)?;
    let late = match &clauses.late {
        Some((Late::To(_), span)) => {
            return Err(Diagnostic::new(Code::Unsupported, "LATE TO is for views")
                .at(*span)
                .help("LATE DROP and LATE UPDATE work here"));
        }
        Some((Late::Update, _)) => LatePolicy::Update,
        Some((Late::Drop, _)) | None => LatePolicy::Drop,
    };
    let emit = match clauses.emit {
        Some((EmitClause::OnWindowClose, _)) => Emit::OnWindowClose,
        _ => Emit::Changes,
    };
    let policy = WindowPolicy {
        late,
        grace_us: grace(library, clauses, words)?,
        emit,
    };
    let lowered = lower(&library.state, bound.plan, policy, words)?;
    check_window_clauses(clauses, &lowered)?;
    Ok(lowered.plan)
}

fn bind(
    library: &Library,
    objects: &Objects,
    clauses: &QueryClauses,
    words: &Words,
) -> Result<BoundQuery, Diagnostic> {
    let bound = library.bind(&clauses.query, objects, words)?;
    if let Some(table) = bound.system.first() {
        let message = format!(
            "{} tells of the server as it is, so a query that goes on cannot keep it true",
            table.full_name()
        );
        return Err(Diagnostic::new(Code::NotStreaming, message)
            .at(words.place(table.name))
            .help("SELECT reads it, as often as it is sent"));
    }
    Ok(bound)
}

fn check_window_clauses(clauses: &QueryClauses, lowered: &Lowered) -> Result<(), Diagnostic> {
    if lowered.judged {
        return Ok(());
    }
    let late = clauses.late.as_ref().map(|(_, span)| ("LATE", *span));
    let grace = clauses.grace.as_ref().map(|(_, span)| ("GRACE", *span));
    match late.or(grace) {
        Some((clause, span)) => Err(Diagnostic::new(
            Code::Unsupported,
            format!("{clause} has no meaning without a window, or a join that event time bounds"),
        )
        .at(span)
        .help("leave it out, or read FROM TUMBLE(t, ts, INTERVAL '1 hour')")),
        None => Ok(()),
    }
}

fn grace(library: &Library, clauses: &QueryClauses, words: &Words) -> Result<i64, Diagnostic> {
    match &clauses.grace {
        Some((expr, span)) => interval(library, expr, *span, words),
        None => Ok(0),
    }
}

/// The length of an interval literal, µs.
pub(crate) fn interval(
    library: &Library,
    expr: &SqlExpr,
    span: Option<Span>,
    words: &Words,
) -> Result<i64, Diagnostic> {
    let bound = bind_expr(library, expr, words)?;
    interval_us(&bound).filter(|&us| us >= 0).ok_or_else(|| {
        Diagnostic::new(Code::Syntax, format!("{expr} is no fixed length of time"))
            .at(span)
            .help("an interval of days and less: INTERVAL '1 hour'")
    })
}

fn bind_expr(
    library: &Library,
    expr: &SqlExpr,
    words: &Words,
) -> Result<datafusion::logical_expr::Expr, Diagnostic> {
    library.bind_expr(expr, &DFSchema::empty(), words)
}

pub(super) fn view_key(
    changes: &Changes,
    columns: usize,
    clauses: &QueryClauses,
    name: &str,
) -> Result<Vec<usize>, Diagnostic> {
    match changes {
        Changes::Append(_) => Ok(Vec::new()),
        // At most one row: all of it identifies it.
        Changes::Keyed(key) if key.is_empty() => Ok((0..columns).collect()),
        Changes::Keyed(key) => Ok(key.clone()),
        Changes::Unkeyed(reason) => {
            let start = clauses.span.map(|span| Span {
                start: span.start,
                end: span.start,
            });
            Err(Diagnostic::new(
                Code::NoKey,
                format!("the rows of {name} change, but nothing identifies them: {reason}"),
            )
            .at(start)
            .help("select all GROUP BY columns and primary keys, or aggregate"))
        }
    }
}

/// `string` for a single character column, `json` otherwise.
pub(crate) fn default_key_format<'a>(
    types: impl IntoIterator<Item = &'a arrow::datatypes::DataType>,
) -> KeyFormat {
    let mut types = types.into_iter();
    match (types.next(), types.next()) {
        (None, _) => KeyFormat::None,
        (Some(arrow::datatypes::DataType::Utf8View), None) => KeyFormat::String,
        _ => KeyFormat::Json,
    }
}

/// Which columns of a view are event time: times of its inputs passed through, and bounds of windows (which come as
/// much later as a window is long).
fn times(plan: &LogicalPlan, grace_us: i64) -> Vec<TimeAttribute> {
    let time_of = |relation: &Relation, column: usize| {
        let mut times = relation.times.iter();
        times.find(|time| time.column == column).copied()
    };
    let mut times = Vec::new();
    for column in 0..plan.schema().fields().len() {
        let time = match origin(plan, column) {
            Origin::Column(relation, place) => time_of(&relation, place),
            Origin::Window { size_us, time } => match *time {
                Origin::Column(relation, place) => {
                    time_of(&relation, place).map(|time| TimeAttribute {
                        delay_us: time.delay_us + size_us + grace_us,
                        shift_us: size_us + grace_us,
                        ..time
                    })
                }
                _ => None,
            },
            Origin::Computed => None,
        };
        times.extend(time.map(|time| TimeAttribute {
            column,
            declared: true,
            ..time
        }));
    }
    times
}

/// `scheduled, 24 hours behind` for EXPLAIN and DESCRIBE.
pub(crate) fn time_text(relation: &Relation, time: &TimeAttribute) -> String {
    let name = relation.schema.field(time.column).name();
    if time.delay_us == 0 {
        return format!("{name}, without delay");
    }
    format!("{name}, {} behind", interval_text(time.delay_us))
}
