//! Functions of times: PostgreSQL's, Flink's and ksqlDB's. Patterns of Flink and ksqlDB are Java's.

use sqlparser::ast::{BinaryOperator, DataType as SqlType, Expr as SqlExpr, Value};

use super::super::postgres::{call_of, function};
use super::super::time_pattern::{TIME_BY_JAVA, TIME_BY_PATTERN};
use super::Written;
use super::write::{
    bigint, cast_to, compared, instant, integer, negated, null, number, text, text_of, timestamp,
};

pub(super) const TABLE: &[Written] = &[
    ("age", age),
    ("to_timestamp", to_timestamp),
    ("to_date", to_date),
    ("date_format", date_format),
    ("from_unixtime", from_unixtime),
    ("unix_timestamp", unix_timestamp),
    ("date_trunc", date_trunc),
    ("year", |args| part("year", args)),
    ("quarter", |args| part("quarter", args)),
    ("month", |args| part("month", args)),
    ("week", |args| part("week", args)),
    ("dayofyear", |args| part("doy", args)),
    ("dayofmonth", |args| part("day", args)),
    ("dayofweek", day_of_week),
    ("hour", |args| part("hour", args)),
    ("minute", |args| part("minute", args)),
    ("second", second),
    ("timestampdiff", difference),
    ("timestampadd", |args| moved(args, true)),
    ("timestampsub", |args| moved(args, false)),
    ("dateadd", |args| moved(args, true)),
    ("datesub", |args| moved(args, false)),
    ("timeadd", |args| moved(args, true)),
    ("timesub", |args| moved(args, false)),
    ("date_add", |args| added(args, BinaryOperator::Plus)),
    ("date_sub", |args| added(args, BinaryOperator::Minus)),
    ("datediff", days_between),
    ("localtimestamp", |args| now(args, timestamp())),
    ("localtime", |args| {
        now(
            args,
            SqlType::Time(None, sqlparser::ast::TimezoneInfo::None),
        )
    }),
    ("convert_tz", convert_tz),
    ("format_timestamp", format_time),
    ("format_date", format_plain),
    ("format_time", format_plain),
    ("parse_timestamp", parse_in_zone),
    ("parse_date", |args| parsed(args, SqlType::Date)),
    ("parse_time", |args| {
        parsed(
            args,
            SqlType::Time(None, sqlparser::ast::TimezoneInfo::None),
        )
    }),
    ("timestamptostring", ms_to_text),
    ("stringtotimestamp", text_to_ms),
    ("datetostring", days_to_text),
    ("stringtodate", text_to_days),
    ("unix_date", unix_date),
    ("make_timestamptz", make_timestamptz),
];

/// A unit of time by its word: `DAY`, `days`, `SQL_TSI_DAY`.
fn unit_of(expr: &SqlExpr) -> Option<String> {
    let word = match expr {
        SqlExpr::Identifier(ident) => ident.value.to_lowercase(),
        expr => text_of(expr)?.to_lowercase(),
    };
    let word = word.strip_prefix("sql_tsi_").unwrap_or(&word);
    let unit = word.strip_suffix('s').unwrap_or(word);
    let units = [
        "year",
        "quarter",
        "month",
        "week",
        "day",
        "hour",
        "minute",
        "second",
        "millisecond",
        "microsecond",
    ];
    units.contains(&unit).then(|| unit.to_owned())
}

/// Seconds of units that have always as many; what is less is counted in seconds, too.
fn seconds_of(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "microsecond" | "millisecond" | "second" => "1",
        "minute" => "60",
        "hour" => "3600",
        "day" => "86400",
        "week" => "604800",
        _ => return None,
    })
}

fn age(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [time] = args else {
        return None;
    };
    let today = cast_to(call_of("current_date", Vec::new()), timestamp());
    Some(function("age", [&today, time]))
}

/// Whether a pattern is Java's, and says other things than PostgreSQL's would: there are months and minutes in it by their
/// letters alone.
fn is_java(pattern: &str) -> bool {
    let has = |letters: &str| pattern.contains(letters);
    has("yy") && has("MM") && (has("mm") || has("HH")) && !has("HH24") && !has("HH12") && !has("MI")
}

fn to_timestamp(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern] = args else {
        return None;
    };
    match text_of(pattern)? {
        pattern if pattern.contains('%') => None,
        java if is_java(java) => Some(function(TIME_BY_JAVA, [value, pattern])),
        _ => Some(function(TIME_BY_PATTERN, [value, pattern])),
    }
}

fn to_date(args: &[SqlExpr]) -> Option<SqlExpr> {
    Some(cast_to(to_timestamp(args)?, SqlType::Date))
}

fn date_format(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [time, pattern] = args else {
        return None;
    };
    let is_c = text_of(pattern)?.contains('%');
    is_c.then(|| function("strftime", [time, pattern]))
}

fn from_unixtime(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [seconds, pattern] = args else {
        return None;
    };
    let time = call_of("from_unixtime", vec![seconds.clone()]);
    Some(function("date_format", [&time, pattern]))
}

/// Whole seconds since 1970.
fn unix_timestamp(args: &[SqlExpr]) -> Option<SqlExpr> {
    let time = match args {
        [] => call_of("now", Vec::new()),
        [time] => cast_to(time.clone(), timestamp()),
        [value, pattern] => function(TIME_BY_JAVA, [value, pattern]),
        _ => return None,
    };
    let seconds = function("date_part", [&text("epoch"), &time]);
    Some(cast_to(call_of("floor", vec![seconds]), bigint()))
}

fn date_trunc(args: &[SqlExpr]) -> Option<SqlExpr> {
    if let [SqlExpr::Value(unit), _, ..] = args
        && unit.value == Value::Null
    {
        return Some(cast_to(null(), timestamp()));
    }
    let [unit, time, zone] = args else {
        return None;
    };
    let there = function("timezone", [zone, time]);
    let start = function("date_trunc", [unit, &there]);
    Some(function("timezone", [zone, &start]))
}

fn part(field: &str, args: &[SqlExpr]) -> Option<SqlExpr> {
    match args {
        [time] => Some(function("date_part", [&text(field), time])),
        _ => None,
    }
}

/// From Sunday, which is 1.
fn day_of_week(args: &[SqlExpr]) -> Option<SqlExpr> {
    let from_zero = part("dow", args)?;
    let day = compared(&from_zero, BinaryOperator::Plus, &number("1"));
    Some(cast_to(day, integer()))
}

/// Without what is behind the point.
fn second(args: &[SqlExpr]) -> Option<SqlExpr> {
    let seconds = part("second", args)?;
    Some(cast_to(call_of("floor", vec![seconds]), integer()))
}

/// Whole units from one time to another.
fn difference(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [unit, from, to] = args else {
        return None;
    };
    let unit = unit_of(unit)?;
    let Some(seconds) = seconds_of(&unit) else {
        let months = match unit.as_str() {
            "month" => "1",
            "quarter" => "3",
            _ => "12",
        };
        return Some(months_between(from, to, months));
    };
    let time = |time: &SqlExpr| cast_to(time.clone(), timestamp());
    let between = compared(&time(to), BinaryOperator::Minus, &time(from));
    let between = function("date_part", [&text("epoch"), &between]);
    // A float counts each second exactly, and the µs of it once they are whole.
    let all = |each: &str| {
        let many = compared(&between, BinaryOperator::Multiply, &number(each));
        cast_to(call_of("round", vec![many]), bigint())
    };
    Some(match unit.as_str() {
        "microsecond" => all("1000000"),
        "millisecond" => compared(&all("1000000"), BinaryOperator::Divide, &number("1000")),
        _ => {
            let units = compared(&between, BinaryOperator::Divide, &number(seconds));
            cast_to(call_of("trunc", vec![units]), bigint())
        }
    })
}

/// How many times so many whole months lie between two times.
fn months_between(from: &SqlExpr, to: &SqlExpr, months: &str) -> SqlExpr {
    let age = function("age", [to, from]);
    let part = |unit: &str| function("date_part", [&text(unit), &age]);
    let years = compared(&part("year"), BinaryOperator::Multiply, &number("12"));
    let all = compared(&years, BinaryOperator::Plus, &part("month"));
    let times = compared(&all, BinaryOperator::Divide, &number(months));
    cast_to(call_of("trunc", vec![times]), bigint())
}

/// `dateadd(unit, n, time)` and its kin.
fn moved(args: &[SqlExpr], forth: bool) -> Option<SqlExpr> {
    let [unit, count, time] = args else {
        return None;
    };
    let unit = unit_of(unit)?;
    let name = match unit.as_str() {
        "year" | "quarter" | "month" | "week" | "day" => "timestampadd",
        _ => "__timestampadd",
    };
    let count = match forth {
        true => count.clone(),
        false => negated(count),
    };
    Some(call_of(name, vec![text(&unit), count, time.clone()]))
}

/// `date_add(time, n)`, of days, or by an interval that is written so.
fn added(args: &[SqlExpr], op: BinaryOperator) -> Option<SqlExpr> {
    let forth = op == BinaryOperator::Plus;
    match args {
        [time, length] if is_interval(length) => Some(compared(time, op, length)),
        [time, days] => moved(&[text("day"), days.clone(), time.clone()], forth),
        args => moved(args, forth),
    }
}

fn is_interval(expr: &SqlExpr) -> bool {
    match expr {
        SqlExpr::Interval(_) => true,
        SqlExpr::Cast { data_type, .. } => matches!(data_type, SqlType::Interval { .. }),
        SqlExpr::Nested(inner) => is_interval(inner),
        SqlExpr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            name == "make_interval" || name.starts_with("justify_")
        }
        _ => false,
    }
}

/// `datediff(later, earlier)`: days.
fn days_between(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [later, earlier] = args else {
        return None;
    };
    let [later, earlier] = [later, earlier].map(|time| cast_to(time.clone(), SqlType::Date));
    Some(compared(&later, BinaryOperator::Minus, &earlier))
}

fn now(args: &[SqlExpr], to: SqlType) -> Option<SqlExpr> {
    args.is_empty()
        .then(|| cast_to(call_of("now", Vec::new()), to))
}

/// The clock's time in one zone as that in another.
fn convert_tz(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [time, from, to] = args else {
        return None;
    };
    let time = cast_to(time.clone(), timestamp());
    let instant = function("timezone", [from, &time]);
    Some(function("timezone", [to, &instant]))
}

fn format_plain(args: &[SqlExpr]) -> Option<SqlExpr> {
    match args {
        [time, pattern] => Some(function("date_format", [time, pattern])),
        _ => None,
    }
}

/// With a third argument as the clock of that zone has it.
fn format_time(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [time, pattern, zone] = args else {
        return format_plain(args);
    };
    let instant = cast_to(time.clone(), instant());
    let there = function("timezone", [zone, &instant]);
    Some(function("date_format", [&there, pattern]))
}

/// With a third argument the clock of that zone, as that of UTC. Two are what the function takes itself.
fn parse_in_zone(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern, zone] = args else {
        return None;
    };
    let time = function(TIME_BY_JAVA, [value, pattern]);
    let instant = function("timezone", [zone, &time]);
    Some(function("timezone", [&text("UTC"), &instant]))
}

fn parsed(args: &[SqlExpr], to: SqlType) -> Option<SqlExpr> {
    match args {
        [value, pattern] => Some(cast_to(function(TIME_BY_JAVA, [value, pattern]), to)),
        _ => None,
    }
}

/// `timestamptostring(ms, pattern [, zone])`.
fn ms_to_text(args: &[SqlExpr]) -> Option<SqlExpr> {
    let (ms, others) = args.split_first()?;
    let time = call_of("to_timestamp_millis", vec![ms.clone()]);
    let mut args = vec![time];
    args.extend(others.iter().cloned());
    format_time(&args)
}

/// `stringtotimestamp(text, pattern [, zone])`: ms since 1970.
fn text_to_ms(args: &[SqlExpr]) -> Option<SqlExpr> {
    let time = match args {
        [value, pattern] => function(TIME_BY_JAVA, [value, pattern]),
        args => parse_in_zone(args)?,
    };
    let seconds = function("date_part", [&text("epoch"), &time]);
    let ms = compared(&seconds, BinaryOperator::Multiply, &number("1000"));
    Some(cast_to(call_of("round", vec![ms]), bigint()))
}

/// `datetostring(days, pattern)`: of the date so many days after 1970-01-01.
fn days_to_text(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [days, pattern] = args else {
        return None;
    };
    let date = call_of("from_days", vec![days.clone()]);
    Some(function("date_format", [&date, pattern]))
}

/// `stringtodate(text, pattern)`: days since 1970.
fn text_to_days(args: &[SqlExpr]) -> Option<SqlExpr> {
    unix_date(&[parsed(args, SqlType::Date)?])
}

/// Days since 1970.
fn unix_date(args: &[SqlExpr]) -> Option<SqlExpr> {
    let date = match args {
        [] => call_of("current_date", Vec::new()),
        [time] => cast_to(time.clone(), SqlType::Date),
        _ => return None,
    };
    let first = cast_to(text("1970-01-01"), SqlType::Date);
    let days = compared(&date, BinaryOperator::Minus, &first);
    Some(cast_to(days, integer()))
}

/// An instant by the clock of a zone, of UTC without one.
fn make_timestamptz(args: &[SqlExpr]) -> Option<SqlExpr> {
    let (fields, zone) = match args {
        [fields @ .., zone] if fields.len() == 6 => (fields, zone.clone()),
        fields if fields.len() == 6 => (fields, text("UTC")),
        _ => return None,
    };
    let time = call_of("make_timestamp", fields.to_vec());
    Some(function("timezone", [&zone, &time]))
}
