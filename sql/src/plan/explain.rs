//! How a plan reads: one line an operator, inputs below their consumer, with what it keeps and what bounds that.
//!
//! ```text
//! map window_start, n
//! └─ aggregate #3.0 by window_start, window_end: count(*) AS n  [keeps one row a group until its window has closed]
//!    └─ tumble #1.0 on scheduled by 1 hour …
//!       └─ source flights …
//! ```

use arrow::datatypes::Schema;
use streams::{
    AggregateCall, AggregateSpec, Answer, AsOfSpec, EdgeProperties, Emit, JoinKind, JoinRange,
    JoinSpec, KeyFormat, LatePolicy, Nearest, NodeKind, OperatorId, OverSpec, PlanNode, Rank,
    Reach, SessionSpec, SourceMode, SourceSpec, StreamPlan, TopNSpec, WatermarkSpec, WindowGrid,
};

use super::expr::pretty;
use super::tumble::interval_text;

/// The operators of `plan` as lines.
pub(crate) fn explain(plan: &StreamPlan) -> Vec<String> {
    let mut lines = Vec::new();
    let known = Known {
        plan,
        properties: plan.properties(),
    };
    if let Some(last) = plan.nodes.len().checked_sub(1) {
        tree(&known, last, "", "", &mut lines);
    }
    lines
}

/// A plan, and what is known of the rows on its edges.
struct Known<'a> {
    plan: &'a StreamPlan,
    properties: Vec<EdgeProperties>,
}

fn tree(known: &Known<'_>, node: usize, first: &str, rest: &str, lines: &mut Vec<String>) {
    let node = &known.plan.nodes[node];
    lines.push(format!("{first}{}", line(known, node)));
    let last = node.inputs.len().saturating_sub(1);
    for (index, &input) in node.inputs.iter().enumerate() {
        let (branch, trunk) = if index == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        tree(
            known,
            input,
            &format!("{rest}{branch}"),
            &format!("{rest}{trunk}"),
            lines,
        );
    }
}

fn line(known: &Known<'_>, node: &PlanNode) -> String {
    let input = |index: usize| -> &Schema { &known.plan.nodes[node.inputs[index]].schema };
    let rows = |index: usize| known.properties[node.inputs[index]];
    let id = operator(node.id);
    match &node.kind {
        NodeKind::Source(spec) => source(&id, spec),
        NodeKind::Map(exprs) => {
            let columns = exprs.iter().zip(node.schema.fields()).map(|(expr, field)| {
                let text = format!("{expr:?}");
                let text = match column_number(&text) {
                    Some(column) => pretty(input(0).field(column).name()),
                    None => text,
                };
                let name = pretty(field.name());
                let alias = format!(" AS {name}");
                if text == name || text.ends_with(&alias) {
                    text
                } else {
                    format!("{text}{alias}")
                }
            });
            let kept = if node.kind.keeps_results(rows(0)) {
                "  [keeps what each row gave]"
            } else {
                ""
            };
            format!("map {}{kept}", columns.collect::<Vec<_>>().join(", "))
        }
        NodeKind::Filter(predicate) => format!("filter {predicate:?}"),
        NodeKind::Late(spec) => {
            let time = input(0).field(spec.time_column).name();
            let by = match spec.size_us {
                // The time itself: no window takes the row.
                ..=1 => String::new(),
                size_us => format!(" by {}", lasting(interval_text(size_us), spec.grace_us)),
            };
            format!("judge {time}{by}{}", late(&spec.late))
        }
        NodeKind::Tumble(spec) => {
            let time = input(0).field(spec.time_column).name();
            // Of other rows nothing is late.
            let late = if rows(0).source_rows {
                late(&spec.late)
            } else {
                String::new()
            };
            let window = format!("{}{}", interval_text(spec.size_us), offset(spec.offset_us));
            let window = lasting(window, spec.grace_us);
            format!("tumble {id} on {time} by {window}{late}")
        }
        NodeKind::Expand(spec) => {
            let name = |column: usize| input(0).field(column).name().as_str();
            let sets = spec.sets.iter().map(|set| {
                let kept = spec
                    .columns
                    .iter()
                    .zip(&set.kept)
                    .filter(|(_, kept)| **kept);
                let names: Vec<&str> = kept.map(|(&column, _)| name(column)).collect();
                format!("({})", names.join(", "))
            });
            format!("repeat for {}", sets.collect::<Vec<_>>().join(", "))
        }
        NodeKind::Visible(spec) => {
            let names = |columns: &[usize]| -> Vec<String> {
                let names = columns.iter().map(|&column| input(0).field(column).name());
                names.map(|name| pretty(name)).collect()
            };
            let from = names(&spec.from)
                .into_iter()
                .map(|name| format!("from {name}"));
            let until = names(&spec.until)
                .into_iter()
                .map(|name| format!("until {name}"));
            let times: Vec<String> = from.chain(until).collect();
            format!(
                "visible {id} {}  [keeps rows that have still to come or to go]",
                times.join(", ")
            )
        }
        NodeKind::Unnest(spec) => {
            let lists: Vec<String> = (spec.columns.iter())
                .map(|&column| pretty(input(0).field(column).name()))
                .collect();
            let kept = match spec.keeps_empty {
                true => ", or once",
                false => "",
            };
            format!("repeat for each element of {}{kept}", lists.join(", "))
        }
        NodeKind::Slide(spec) => {
            let time = input(0).field(spec.time_column).name();
            let late = if rows(0).source_rows {
                late(&spec.late)
            } else {
                String::new()
            };
            let (name, windows) = match spec.grid {
                WindowGrid::Hop { slide_us, size_us } => (
                    "hop",
                    format!(
                        "by {} of {}",
                        interval_text(slide_us),
                        interval_text(size_us)
                    ),
                ),
                WindowGrid::Cumulate { step_us, size_us } => (
                    "cumulate",
                    format!(
                        "by {} to {}",
                        interval_text(step_us),
                        interval_text(size_us)
                    ),
                ),
            };
            format!(
                "{name} {id} on {time} {}{late}",
                lasting(windows + &offset(spec.offset_us), spec.grace_us)
            )
        }
        NodeKind::Session(spec) => session(&id, spec, input(0), rows(0)),
        NodeKind::Join(spec) => join(&id, spec, input(0), input(1)),
        NodeKind::Aggregate(spec) => aggregate(&id, spec, input(0), rows(0)),
        NodeKind::Constant(rows) => match rows.num_rows() {
            1 => "a constant row".to_owned(),
            rows => format!("{rows} constant rows"),
        },
        NodeKind::Union => "union".to_owned(),
        NodeKind::TopN(spec) => ranking(&id, spec, input(0), rows(0)),
        NodeKind::AsOf(spec) => as_of(&id, spec, input(0), input(1)),
        NodeKind::Over(spec) => over(&id, spec, input(0)),
    }
}

fn session(id: &str, spec: &SessionSpec, input: &Schema, rows: EdgeProperties) -> String {
    let name = |column: usize| pretty(input.field(column).name());
    let late = match rows.source_rows {
        true => late(&spec.late),
        false => String::new(),
    };
    let by = match spec.partition_by.as_slice() {
        [] => String::new(),
        columns => {
            let names: Vec<String> = columns.iter().copied().map(name).collect();
            format!(" for each {}", names.join(", "))
        }
    };
    let kept = match (spec.holds(rows), spec.judges(rows)) {
        (true, _) => "keeps rows until their session has closed, then they leave",
        (false, true) => "keeps rows until no other can join their session",
        (false, false) => "keeps all rows: nothing bounds them",
    };
    format!(
        "session {id} on {}{by}, ends after {}{late}  [{kept}]",
        name(spec.time_column),
        lasting(interval_text(spec.gap_us), spec.grace_us),
    )
}

/// Windows and their grace.
fn lasting(windows: String, grace_us: i64) -> String {
    if grace_us == 0 {
        return windows;
    }
    format!("{windows}, grace {}", interval_text(grace_us))
}

fn late(late: &LatePolicy) -> String {
    match late {
        LatePolicy::To(topic) => format!("; late rows go to {topic}"),
        LatePolicy::Drop => "; late rows are dropped and counted".to_owned(),
        LatePolicy::Update => "; late rows still update".to_owned(),
    }
}

fn source(id: &str, spec: &SourceSpec) -> String {
    let names: Vec<&str> = spec
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let mut text = format!("source {id} topic {}: {}", spec.topic, names.join(", "));
    match &spec.mode {
        SourceMode::Append => text.push_str("; append-only"),
        SourceMode::Upsert { key } => {
            let key: Vec<&str> = key
                .iter()
                .filter_map(|column| names.get(*column).copied())
                .collect();
            text.push_str(&format!("; upsert by {}", key.join(", ")));
        }
    }
    match &spec.watermark {
        Some(WatermarkSpec::Rows { expr, idle_advance }) => {
            text.push_str(&format!("; watermark {expr:?}"));
            if *idle_advance {
                text.push_str(", goes on with the clock while idle");
            }
        }
        Some(WatermarkSpec::Job { name, shift_us, .. }) => {
            text.push_str(&format!("; event time as {name} has committed it"));
            if *shift_us > 0 {
                text.push_str(&format!(" - {}", interval_text(*shift_us)));
            }
        }
        None => {}
    }
    if let SourceMode::Upsert { .. } = spec.mode {
        text.push_str("  [keeps one row a key]");
    }
    text
}

fn join(id: &str, spec: &JoinSpec, left: &Schema, right: &Schema) -> String {
    let kind = match spec.kind {
        JoinKind::Inner => "join",
        JoinKind::Left => "left join",
        JoinKind::Right => "right join",
        JoinKind::Full => "full join",
        JoinKind::Semi => "semi join",
        JoinKind::Anti => "anti join",
        JoinKind::Mark => "mark join",
    };
    let equals = if spec.null_is_equal { "is" } else { "=" };
    let keys = spec.left_keys.iter().zip(&spec.right_keys);
    let mut on: Vec<String> = keys
        .map(|(&left_key, &right_key)| {
            let (left, right) = (left.field(left_key).name(), right.field(right_key).name());
            format!("{} {equals} {}", pretty(left), pretty(right))
        })
        .collect();
    on.extend(spec.range.as_ref().map(|range| between(range, left, right)));
    let mut text = format!("{kind} {id}");
    if !on.is_empty() {
        text.push_str(&format!(" on {}", on.join(" and ")));
    }
    if let Some(residual) = &spec.residual {
        text.push_str(&format!(", where {residual:?}"));
    }
    if spec.left_keys.is_empty() && spec.range.is_none() {
        text.push_str("; meets every row with every row");
    }
    text.push_str(match &spec.range {
        Some(range) if range.closes_after.is_some() => {
            "  [keeps rows of both sides until event time has passed all that they can match]"
        }
        Some(_) => "  [keeps all rows of both sides, by time: nothing bounds them]",
        None => "  [keeps all rows of both sides: nothing bounds them]",
    });
    text
}

/// What bounds the time between rows: `w.time > f.at - 1 hour and w.time <= f.at`.
fn between(range: &JoinRange, left: &Schema, right: &Schema) -> String {
    let (left, right) = (
        left.field(range.left).name(),
        right.field(range.right).name(),
    );
    let moved = |by: i64| match by {
        0 => left.clone(),
        1.. => format!("{left} + {}", interval_text(by)),
        _ => format!("{left} - {}", interval_text(by.saturating_neg())),
    };
    // A bound that its neighbour excludes: `>` reads better than 59 minutes and 59.999999 seconds.
    let bound = |bound: i64, neighbour: i64, closed: &str, open: &str| {
        let is_open = bound % 1000 != 0 && neighbour % 1000 == 0;
        let (sign, by) = if is_open {
            (open, neighbour)
        } else {
            (closed, bound)
        };
        format!("{right} {sign} {}", moved(by))
    };
    let least = range
        .least
        .map(|least| bound(least, least.saturating_sub(1), ">=", ">"));
    let most = range
        .most
        .map(|most| bound(most, most.saturating_add(1), "<=", "<"));
    let bounds: Vec<String> = least.into_iter().chain(most).collect();
    bounds.join(" and ")
}

fn aggregate(id: &str, spec: &AggregateSpec, input: &Schema, rows: EdgeProperties) -> String {
    let groups: Vec<&str> = spec
        .group_by
        .iter()
        .map(|&column| input.field(column).name().as_str())
        .collect();
    let calls: Vec<String> = spec
        .aggregates
        .iter()
        .map(|call| aggregate_call(call, input))
        .collect();
    let mut text = format!("aggregate {id}");
    if !groups.is_empty() {
        text.push_str(&format!(" by {}", groups.join(", ")));
    }
    if !calls.is_empty() {
        text.push_str(&format!(": {}", calls.join(", ")));
    }
    if spec.emit == Emit::OnWindowClose {
        text.push_str("; emits when the window closes");
    }
    text.push_str(match (spec.group_by.is_empty(), spec.window_end) {
        (true, _) => "  [keeps one row]",
        (false, Some(_)) if rows.closes_windows() => {
            "  [keeps one row a group until its window has closed]"
        }
        (false, _) => "  [keeps one row a group]",
    });
    text
}

fn aggregate_call(call: &AggregateCall, input: &Schema) -> String {
    let name = |column: usize| input.field(column).name().clone();
    let mut arguments: Vec<String> = call.arguments.iter().copied().map(name).collect();
    if let Some(first) = arguments.first_mut().filter(|_| call.distinct) {
        first.insert_str(0, "DISTINCT ");
    }
    let order: Vec<String> = (call.order_by.iter())
        .map(|(column, order)| {
            let descending = if order.descending { " DESC" } else { "" };
            format!("{}{descending}", name(*column))
        })
        .collect();
    if let Some(last) = arguments.last_mut().filter(|_| !order.is_empty()) {
        last.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    let mut text = call.function.describe(&arguments);
    if let Some(filter) = call.filter {
        text.push_str(&format!(" FILTER (WHERE {})", input.field(filter).name()));
    }
    text
}

fn as_of(id: &str, spec: &AsOfSpec, left: &Schema, right: &Schema) -> String {
    let pair = |(left_column, right_column): (usize, usize), sign: &str| {
        format!(
            "{} {sign} {}",
            pretty(left.field(left_column).name()),
            pretty(right.field(right_column).name())
        )
    };
    let keys = spec.left_keys.iter().zip(&spec.right_keys);
    let keys = keys.map(|(&left_key, &right_key)| pair((left_key, right_key), "="));
    let sign = match spec.nearest {
        Nearest::AtOrBefore => ">=",
        Nearest::Before => ">",
        Nearest::AtOrAfter => "<=",
        Nearest::After => "<",
    };
    let times = match spec.answer {
        Answer::AtArrival => None,
        _ => Some(pair((spec.left_time, spec.right_time), sign)),
    };
    let on: Vec<String> = keys.chain(times).collect();
    let join = match spec.answer {
        Answer::AtArrival => "lookup",
        _ => "as-of join",
    };
    let kind = if spec.pads {
        format!("left {join}")
    } else {
        join.to_owned()
    };
    let kept = match spec.answer {
        Answer::AtEventTime { .. } => {
            "  [keeps rows until event time has passed them, and the last one of each key on the right]"
        }
        Answer::Corrected => "  [keeps all rows of both sides: nothing bounds them]",
        Answer::AtArrival => "  [keeps all rows of the right side: nothing bounds them]",
    };
    format!("{kind} {id} on {}{kept}", on.join(" AND "))
}

fn ranking(id: &str, spec: &TopNSpec, input: &Schema, rows: EdgeProperties) -> String {
    let name = |column: usize| pretty(input.field(column).name());
    let rank = match spec.rank {
        Rank::RowNumber => "row number",
        Rank::Rank => "rank",
        Rank::DenseRank => "dense rank",
    };
    let ranks = match (spec.ranks.start, spec.ranks.end) {
        (1, u64::MAX) => String::new(),
        (start, u64::MAX) => format!(" from {start} on"),
        (start, end) => format!(" {start} to {}", end.saturating_sub(1)),
    };
    let mut text = format!("{rank}{ranks} {id}");
    if !spec.partition_by.is_empty() {
        let by: Vec<String> = spec
            .partition_by
            .iter()
            .map(|&column| name(column))
            .collect();
        text.push_str(&format!(" for each {}", by.join(", ")));
    }
    if !spec.order_by.is_empty() {
        let by = spec.order_by.iter().map(|by| {
            let descending = if by.descending { " descending" } else { "" };
            format!("{}{descending}", name(by.column))
        });
        text.push_str(&format!(" by {}", by.collect::<Vec<_>>().join(", ")));
    }
    text.push_str(match rows.append_only && spec.is_bounded() {
        true => "  [keeps the rows up to the last rank]",
        false => "  [keeps all rows: nothing bounds them]",
    });
    text
}

/// Where windows begin, if that is not the epoch.
fn offset(offset_us: i64) -> String {
    match offset_us {
        0 => String::new(),
        _ => format!(" from {} on", interval_text(offset_us)),
    }
}

fn over(id: &str, spec: &OverSpec, input: &Schema) -> String {
    let functions: Vec<&str> = spec.functions.iter().map(|f| f.name.as_str()).collect();
    let mut text = format!("over {id}");
    let names = |columns: &mut dyn Iterator<Item = usize>| -> String {
        let names = columns.map(|column| pretty(input.field(column).name()));
        names.collect::<Vec<_>>().join(", ")
    };
    if !spec.partition_by.is_empty() {
        let by = names(&mut spec.partition_by.iter().copied());
        text.push_str(&format!(" for each {by}"));
    }
    if !spec.order_by.is_empty() {
        let by = names(&mut spec.order_by.iter().map(|by| by.column));
        text.push_str(&format!(" by {by}"));
    }
    let (behind, ahead) = spec.reach();
    let reads = match (behind == Reach::All || ahead == Reach::All, spec.runs()) {
        (true, _) => "; a change reads its partition",
        (false, true) => "; a change reads the rows behind it",
        (false, false) => "; a change reads the rows around it",
    };
    format!(
        "{text}: {}{reads}  [keeps all rows: nothing bounds them]",
        functions.join(", ")
    )
}

/// `#kind.ordinal`.
fn operator(id: OperatorId) -> String {
    format!("#{}.{}", id.0 >> 12, id.0 & 0x0fff)
}

/// The number in the text of the engine's plain column expression.
fn column_number(text: &str) -> Option<usize> {
    text.strip_prefix("ColumnExpr(")?
        .strip_suffix(')')?
        .parse()
        .ok()
}

/// `json`, `string` or `none`.
pub(crate) fn key_format_name(format: KeyFormat) -> &'static str {
    match format {
        KeyFormat::None => "none",
        KeyFormat::String => "string",
        KeyFormat::Json => "json",
    }
}
