//! What others have and DataFusion has not, written by what both have, before the binder sees it: PostgreSQL's functions,
//! Flink's, ksqlDB's. A table a noun; the functions that no others make are in `scalar/` and `json/`.

mod aggregate;
mod json;
mod list;
mod number;
mod text;
mod time;
mod unwritten;
mod write;

use sqlparser::ast::{
    BinaryOperator, DataType as SqlType, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Value, ValueWithSpan,
};

use self::write::{case, cast_to, compared, nested, null, text, text_of};
use super::postgres::{call_of, function};

pub(super) use self::unwritten::register;
pub(super) use self::write::{first_match, number};

/// A function's name, and how a call with these arguments is written; `None`: it takes no such arguments, or itself does.
type Written = (&'static str, fn(&[SqlExpr]) -> Option<SqlExpr>);

const TABLES: &[&[Written]] = &[
    text::TABLE,
    list::TABLE,
    number::TABLE,
    time::TABLE,
    json::TABLE,
];

/// Arguments by their names, in the order in which the function has them.
const NAMED: &[(&str, &[&str])] = &[
    (
        "make_interval",
        &["years", "months", "weeks", "days", "hours", "mins", "secs"],
    ),
    (
        "make_timestamp",
        &["year", "month", "mday", "hour", "min", "sec"],
    ),
    (
        "make_timestamptz",
        &["year", "month", "mday", "hour", "min", "sec", "timezone"],
    ),
];

/// Names of all functions that are written by others, for some of their arguments at least.
fn names() -> impl Iterator<Item = &'static str> {
    let plain = TABLES.iter().flat_map(|table| table.iter());
    let plain = plain.map(|(name, _)| *name);
    plain
        .chain(aggregate::names())
        .chain(json::CONSTRUCTORS.iter().copied())
}

/// A call of a function that others have, by what there is: `mod(a, b)` is `a % b`, `json_agg(x)` is `to_json(array_agg(x))`.
pub(super) fn by_others(call: &Function) -> Option<SqlExpr> {
    let [part] = call.name.0.as_slice() else {
        return None;
    };
    let name = part.as_ident()?.value.to_lowercase();
    if json::CONSTRUCTORS.contains(&name.as_str()) {
        return json::constructed(&name, call);
    }
    if let Some(aggregate) = aggregate::aggregate(&name, call) {
        return Some(aggregate);
    }
    let args = plain_args(call)?;
    let (args, placed) = match exprs_of(args) {
        Some(args) => (args, false),
        None => (in_place(&name, args)?, true),
    };
    let mut all = TABLES.iter().flat_map(|table| table.iter());
    let written = all.find(|(known, _)| *known == name);
    let written = written.and_then(|(_, written)| written(&args));
    match (written, placed) {
        (None, true) => Some(call_of(&name, args)),
        (written, _) => written,
    }
}

/// The arguments of a call that has nothing but these.
fn plain_args(call: &Function) -> Option<&[FunctionArg]> {
    let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
    match &call.args {
        FunctionArguments::None => plain.then_some(&[]),
        FunctionArguments::List(list) => {
            let plain = plain && list.clauses.is_empty() && list.duplicate_treatment.is_none();
            plain.then_some(list.args.as_slice())
        }
        FunctionArguments::Subquery(_) => None,
    }
}

/// Arguments without names.
fn exprs_of(args: &[FunctionArg]) -> Option<Vec<SqlExpr>> {
    let args = args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    args.collect()
}

/// Arguments with names, `days => 1`, in the order of the function; what is not given is 0.
fn in_place(name: &str, args: &[FunctionArg]) -> Option<Vec<SqlExpr>> {
    let (_, names) = NAMED.iter().find(|(known, _)| *known == name)?;
    let mut placed: Vec<Option<SqlExpr>> = vec![None; names.len()];
    for (place, arg) in args.iter().enumerate() {
        let (place, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (place, expr),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => {
                let name = name.value.to_lowercase();
                (names.iter().position(|known| *known == name)?, expr)
            }
            _ => return None,
        };
        let slot = placed.get_mut(place)?;
        if slot.replace(expr.clone()).is_some() {
            return None;
        }
    }
    if name != "make_interval" {
        // All are needed, but the zone at the end.
        while placed.last() == Some(&None) {
            placed.pop();
        }
        return placed.into_iter().collect();
    }
    let placed = placed.into_iter();
    Some(
        placed
            .map(|arg| arg.unwrap_or_else(|| number("0")))
            .collect(),
    )
}

/// `(a, b) OVERLAPS (c, d)`: whether two spans of time have an instant in common; of each the ends come in any order, and the
/// second may be a length.
pub(super) fn overlap(left: &SqlExpr, right: &SqlExpr) -> Option<SqlExpr> {
    let ends = |span: &SqlExpr| {
        let SqlExpr::Tuple(ends) = span else {
            return None;
        };
        let [from, to] = ends.as_slice() else {
            return None;
        };
        let to = match to {
            SqlExpr::Interval(_)
            | SqlExpr::Cast {
                data_type: SqlType::Interval { .. },
                ..
            } => SqlExpr::BinaryOp {
                left: Box::new(from.clone()),
                op: BinaryOperator::Plus,
                right: Box::new(to.clone()),
            },
            to => to.clone(),
        };
        let is_null = |end: &SqlExpr| SqlExpr::IsNull(Box::new(nested(end.clone())));
        let open = compared(&is_null(from), BinaryOperator::Or, &is_null(&to));
        let last = function("greatest", [from, &to]);
        Some([
            function("least", [from, &to]),
            case(vec![(open, null())], Some(last)),
        ])
    };
    let [[from, to], [other_from, other_to]] = [ends(left)?, ends(right)?];
    let less = |left: &SqlExpr, right: &SqlExpr| compared(left, BinaryOperator::Lt, right);
    // No span ends before it begins: that is there for the NULL that an open end makes of it.
    let either = |one: SqlExpr, other: SqlExpr| compared(&one, BinaryOperator::Or, &other);
    let later = either(less(&from, &other_to), less(&to, &from));
    let earlier = either(less(&other_from, &to), less(&other_to, &other_from));
    let closed = |from, to| compared(to, BinaryOperator::GtEq, from);
    let both = compared(
        &closed(&from, &to),
        BinaryOperator::And,
        &closed(&other_from, &other_to),
    );
    let same = compared(&from, BinaryOperator::Eq, &other_from);
    let cases = vec![
        (less(&other_from, &from), later),
        (less(&from, &other_from), earlier),
        (same, both),
    ];
    Some(nested(case(cases, None)))
}

/// `ts`, if a unit of time begins there, or the next time that one does: Calcite's `CEIL(ts TO unit)`.
pub(super) fn ceiling(time: &SqlExpr, unit: &str) -> SqlExpr {
    let start = function("date_trunc", [&text(unit), time]);
    let length = cast_to(
        text(&format!("1 {unit}")),
        SqlType::Interval {
            fields: None,
            precision: None,
        },
    );
    let next = compared(&start, BinaryOperator::Plus, &length);
    let begins = compared(&start, BinaryOperator::Eq, time);
    nested(case(vec![(begins, start)], Some(next)))
}

/// An interval that is written in the standards' forms, by units. `None`: it is not.
///
/// ```text
/// 1 day 12:30:00     1 day 12 hours 30 minutes 00 seconds
/// P1Y2M3DT4H5M6S     1 years 2 months 3 days 4 hours 5 minutes 6 seconds
/// 1-2                1 years 2 months
/// 1 month - 1 day    1 month -1 day
/// 1 day ago          -1 day
/// 1 03:04:05         1 days 03 hours 04 minutes 05 seconds
/// ```
pub(super) fn by_units(interval: &str) -> Option<String> {
    iso_interval(interval.trim())
        .or_else(|| years_and_months(interval.trim()))
        .or_else(|| match with_signs(interval) {
            Some(signed) => Some(without_clock(&signed).unwrap_or(signed)),
            None => without_clock(interval),
        })
}

/// An interval whose signs stand at their numbers, and whose numbers have units. `None`: it is written so.
fn with_signs(interval: &str) -> Option<String> {
    let mut words = interval.split_whitespace().peekable();
    let mut changed = words.next_if_eq(&"@").is_some();
    let mut signed: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        let word = match word {
            "+" | "-" => {
                changed = true;
                let number = words.next()?;
                number
                    .starts_with(|first: char| first.is_ascii_digit())
                    .then(|| format!("{word}{number}"))?
            }
            word => word.to_owned(),
        };
        let before_clock = words.peek().is_some_and(|next| next.contains(':'));
        let is_days = before_clock && word.parse::<i64>().is_ok();
        signed.push(word);
        if is_days {
            changed = true;
            signed.push("days".to_owned());
        }
    }
    if signed.len() > 1 && signed.last()?.eq_ignore_ascii_case("ago") {
        changed = true;
        signed.pop();
        for word in &mut signed {
            *word = match word.as_bytes() {
                [b'-', ..] => word[1..].to_owned(),
                [b'+', ..] => format!("-{}", &word[1..]),
                [b'0'..=b'9', ..] => format!("-{word}"),
                _ => continue,
            };
        }
    }
    changed.then(|| signed.join(" "))
}

/// Of ISO 8601, with designators.
fn iso_interval(interval: &str) -> Option<String> {
    let mut rest = interval.strip_prefix('P')?;
    let mut in_day = false;
    let mut units = Vec::new();
    while !rest.is_empty() {
        if let (false, Some(of_day)) = (in_day, rest.strip_prefix('T')) {
            (in_day, rest) = (true, of_day);
            continue;
        }
        let end = rest.find(|char: char| char.is_ascii_alphabetic())?;
        let (number, designator) = rest.split_at(end);
        let number = number.replace(',', ".");
        number.parse::<f64>().ok()?;
        let unit = match (designator.chars().next()?, in_day) {
            ('Y', false) => "years",
            ('M', false) => "months",
            ('W', false) => "weeks",
            ('D', false) => "days",
            ('H', true) => "hours",
            ('M', true) => "minutes",
            ('S', true) => "seconds",
            _ => return None,
        };
        units.push(format!("{number} {unit}"));
        rest = &designator[1..];
    }
    (!units.is_empty()).then(|| units.join(" "))
}

/// Of SQL: years and months, with one sign.
fn years_and_months(interval: &str) -> Option<String> {
    let (sign, plain) = match interval.strip_prefix('-') {
        Some(plain) => ("-", plain),
        None => ("", interval.strip_prefix('+').unwrap_or(interval)),
    };
    let (years, months) = plain.split_once('-')?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(years) && is_number(months))
        .then(|| format!("{sign}{years} years {sign}{months} months"))
}

/// An interval with `12:30:00` in it, without. `None`: there is none.
fn without_clock(interval: &str) -> Option<String> {
    let mut found = false;
    let words = interval.split_whitespace().map(|word| {
        if !word.contains(':') {
            return Some(word.to_owned());
        }
        found = true;
        let (sign, clock) = match word.strip_prefix('-') {
            Some(clock) => ("-", clock),
            None => ("", word.strip_prefix('+').unwrap_or(word)),
        };
        let parts: Vec<&str> = clock.split(':').collect();
        let is_number = |part: &&str| {
            let digits = part.bytes().filter(|byte| *byte != b'.');
            part.bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_digit())
                && digits.clone().all(|byte| byte.is_ascii_digit())
                && part.len() - digits.count() <= 1
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_number) {
            return None;
        }
        let units = ["hours", "minutes", "seconds"];
        let parts = parts.iter().zip(units);
        let parts = parts.map(|(number, unit)| format!("{sign}{number} {unit}"));
        Some(parts.collect::<Vec<_>>().join(" "))
    });
    let words = words.collect::<Option<Vec<String>>>()?;
    found.then(|| words.join(" "))
}

/// Writes the pattern of a LIKE with an escape of its own with the backslash, the only one that DataFusion knows.
pub(super) fn escape_by_backslash(pattern: &mut SqlExpr, escape: &mut Option<ValueWithSpan>) {
    let sign = match escape.as_ref().map(|escape| &escape.value) {
        Some(Value::SingleQuotedString(sign)) => sign.clone(),
        _ => return,
    };
    let (Some(written), true) = (text_of(pattern), sign.chars().count() <= 1 && sign != "\\")
    else {
        return;
    };
    let mut out = String::new();
    let mut escaped = false;
    for char in written.chars() {
        if !escaped && sign.starts_with(char) {
            escaped = true;
            continue;
        }
        if escaped || char == '\\' {
            out.push('\\');
        }
        out.push(char);
        escaped = false;
    }
    *pattern = text(&out);
    *escape = None;
}

/// Whether a list is written here, or computed: between columns `&&` may also be C's AND.
pub(super) fn is_list(expr: &SqlExpr) -> bool {
    matches!(
        expr,
        SqlExpr::Array(_) | SqlExpr::Cast { .. } | SqlExpr::Function(_)
    )
}

pub(super) fn is_text(expr: &SqlExpr) -> bool {
    text_of(expr).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_in_intervals_are_hours_minutes_and_seconds() {
        for (text, written) in [
            (
                "1 day 12:30:00",
                Some("1 day 12 hours 30 minutes 00 seconds"),
            ),
            ("-01:02:03.5", Some("-01 hours -02 minutes -03.5 seconds")),
            ("+2:05", Some("2 hours 05 minutes")),
            ("1 day", None),
            ("1:2:3:4", None),
            ("a:b", None),
            ("12:", None),
            (
                "P1Y2M3DT4H5M6.5S",
                Some("1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds"),
            ),
            ("PT-5M", Some("-5 minutes")),
            ("P5", None),
            ("P1H", None),
            ("1-2", Some("1 years 2 months")),
            ("-1-2", Some("-1 years -2 months")),
            ("1-2-3", None),
            ("1 month - 1 day", Some("1 month -1 day")),
            ("1 month -1 day", None),
            ("1 month -", None),
            ("1 - day", None),
            ("1 day - 2:05 ago", Some("-1 day 2 hours 05 minutes")),
            ("@ 1 minute", Some("1 minute")),
            ("1 day ago", Some("-1 day")),
            ("ago", None),
            ("1 03:04:05", Some("1 days 03 hours 04 minutes 05 seconds")),
        ] {
            assert_eq!(by_units(text).as_deref(), written, "{text}");
        }
    }
}
