//! Names of types: SQL's, and Arrow's in the texts of DataFusion's errors, which become SQL's.

use std::str::FromStr;

use arrow::datatypes::{DataType, FieldRef};
use streams::{JSON_FIELD, is_json};

/// SQL's name of an Arrow type.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        json if is_json(json) => "JSON".to_owned(),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => format!("{}[]", type_name(element.data_type())),
        DataType::Struct(fields) => {
            let field = |field: &FieldRef| {
                format!(
                    "{} {}",
                    name_text(field.name()),
                    type_name(field.data_type())
                )
            };
            format!(
                "STRUCT<{}>",
                fields.iter().map(field).collect::<Vec<_>>().join(", ")
            )
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) if entry.len() == 2 => {
                let (key, value) = (entry[0].data_type(), entry[1].data_type());
                format!("MAP<{}, {}>", type_name(key), type_name(value))
            }
            other => other.to_string(),
        },
        DataType::Null => "NULL".to_owned(),
        other => other.to_string(),
    }
}

/// A name as SQL reads it back.
pub(crate) fn name_text(name: &str) -> String {
    let plain = |char: char| char.is_ascii_lowercase() || char == '_' || char.is_ascii_digit();
    let starts = name.starts_with(|char: char| char.is_ascii_lowercase() || char == '_');
    if starts && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Heads of types in DataFusion's texts: Arrow's, and its own of what several of them have in common.
const HEADS: &[&str] = &[
    "Null",
    "Boolean",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float16",
    "Float32",
    "Float64",
    "Timestamp",
    "Date32",
    "Date64",
    "Date",
    "Time32",
    "Time64",
    "Time",
    "Duration",
    "Interval",
    "Binary",
    "FixedSizeBinary",
    "LargeBinary",
    "BinaryView",
    "Utf8",
    "LargeUtf8",
    "Utf8View",
    "String",
    "List",
    "ListView",
    "LargeList",
    "FixedSizeList",
    "Struct",
    "Map",
    "Dictionary",
    "Decimal",
    "Decimal32",
    "Decimal64",
    "Decimal128",
    "Decimal256",
];

/// Heads that are also words: alone they are left as they are.
const WORDS: &[&str] = &[
    "Null",
    "Date",
    "Time",
    "Timestamp",
    "Duration",
    "Interval",
    "Binary",
    "String",
    "List",
    "Struct",
    "Map",
    "Dictionary",
    "Decimal",
];

/// A text with SQL's names of the types in it, and literals as SQL writes them.
pub(crate) fn sql_types(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let found = if in_word { None } else { type_at(rest) };
        if let Some((length, name)) = found {
            out.push_str(&name);
            rest = &rest[length..];
            in_word = true;
            continue;
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
        in_word = first.is_alphanumeric() || first == '_';
    }
    out
}

/// SQL's name of the one type that `text` is.
pub(super) fn sql_type(text: &str) -> Option<String> {
    let text = text.trim();
    if let "String" | "Date" | "Time" | "Binary" | "Null" = text {
        return Some(named(text));
    }
    let (length, name) = type_at(text)?;
    (length == text.len()).then_some(name)
}

/// The types of a text, one after another.
pub(super) fn types_in(text: &str) -> Vec<String> {
    let mut types = Vec::new();
    let mut in_word = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = if in_word { None } else { type_at(rest) };
        let length = match found {
            Some((length, name)) => {
                types.push(name);
                length
            }
            None => first.len_utf8(),
        };
        in_word = rest[..length].ends_with(|char: char| char.is_alphanumeric() || char == '_');
        rest = &rest[length..];
    }
    types
}

/// The type or literal that a text begins with: how long it is, and how SQL writes it.
fn type_at(text: &str) -> Option<(usize, String)> {
    let end = text.find(|char: char| !char.is_ascii_alphanumeric());
    let head = &text[..end.unwrap_or(text.len())];
    let rest = &text[head.len()..];
    if !HEADS.contains(&head) {
        return interval(head, rest);
    }
    if rest.starts_with('_') {
        return None;
    }
    let Some(inside) = parenthesized(rest) else {
        return (!WORDS.contains(&head)).then(|| (head.len(), named(head)));
    };
    let length = head.len() + inside.len() + 2;
    let whole = &text[..length];
    let name = match DataType::from_str(whole) {
        Ok(data_type) => type_name(&data_type),
        Err(_) => match literal(head, inside) {
            Some(literal) => literal,
            None => named(whole),
        },
    };
    Some((length, name))
}

/// `IntervalMonthDayNano("IntervalMonthDayNano { months: 0, … }")`, or what stands in its quotes, as SQL has it: how long it
/// is, and the literal.
fn interval(head: &str, rest: &str) -> Option<(usize, String)> {
    if !matches!(
        head,
        "IntervalMonthDayNano" | "IntervalDayTime" | "IntervalYearMonth"
    ) {
        return None;
    }
    let inside = match parenthesized(rest) {
        Some(inside) => inside,
        None => rest.strip_prefix(" {")?.split('}').next()?,
    };
    let braces = if rest.starts_with('(') { 2 } else { 3 };
    let parts = [
        ("months: ", 1.0, "month"),
        ("days: ", 1.0, "day"),
        ("milliseconds: ", 1e3, "second"),
        ("nanoseconds: ", 1e9, "second"),
    ];
    let parts = parts.iter().filter_map(|(field, per_unit, unit)| {
        let (_, number) = inside.split_once(field)?;
        let end = number.find(|char: char| !(char.is_ascii_digit() || char == '-'));
        let number: f64 = number[..end.unwrap_or(number.len())].parse().ok()?;
        let number = number / per_unit;
        let s = if number == 1.0 { "" } else { "s" };
        (number != 0.0).then(|| format!("{number} {unit}{s}"))
    });
    let text = parts.collect::<Vec<_>>().join(" ");
    Some((
        head.len() + inside.len() + braces,
        format!("INTERVAL '{text}'"),
    ))
}

/// What stands in the parentheses that a text begins with.
fn parenthesized(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return text.get(1..at);
        }
    }
    None
}

/// `Int64(5)` is `5`, `Utf8View("UA")` is `'UA'`.
fn literal(head: &str, inside: &str) -> Option<String> {
    if let Some(text) = inside.strip_prefix('"') {
        return Some(format!("'{}'", text.strip_suffix('"')?));
    }
    let plain = matches!(head, "Boolean" | "Decimal128" | "Decimal256")
        || head.contains("Int")
        || head.contains("Float");
    // Precision and scale of a decimal follow its number.
    (plain && !inside.contains(' '))
        .then(|| inside.split(',').next().unwrap_or_default().to_owned())
}

/// A type by its name in DataFusion's texts.
fn named(text: &str) -> String {
    let head = text.split('(').next().unwrap_or(text);
    match head {
        "UInt8" | "UInt16" | "UInt32" | "UInt64" => return "BIGINT".to_owned(),
        "String" => return "TEXT".to_owned(),
        "Binary" => return "BYTEA".to_owned(),
        "List" | "ListView" | "LargeList" | "FixedSizeList" => {
            let element = text
                .split_once('(')
                .and_then(|(_, inside)| inside.strip_suffix(')'));
            let element = element.and_then(|element| {
                let element = element.rsplit(" x ").next().unwrap_or(element);
                sql_type(element.strip_prefix("non-null ").unwrap_or(element))
            });
            return match element {
                Some(element) => format!("{element}[]"),
                None => "an array".to_owned(),
            };
        }
        "Struct" if text.contains(JSON_FIELD) => return "JSON".to_owned(),
        "Struct" | "Map" | "Time" | "Interval" | "Duration" | "Timestamp" | "Date" | "Null" => {
            return match head {
                "Duration" => "INTERVAL".to_owned(),
                head => head.to_uppercase(),
            };
        }
        "Decimal" => return text.to_uppercase(),
        _ => {}
    }
    match DataType::from_str(text) {
        Ok(data_type) => type_name(&data_type),
        Err(_) => head.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_types_are_told_as_those_of_sql() {
        for (text, told) in [
            ("sum does not support Utf8View", "sum does not support TEXT"),
            (
                "Timestamp(µs) - Timestamp(ns, \"+00:00\")",
                "TIMESTAMP - TIMESTAMPTZ",
            ),
            ("List(Int64), Decimal128(3, 1)", "BIGINT[], DECIMAL(3, 1)"),
            ("List(non-null String)", "TEXT[]"),
            (
                "Struct(\"a\": Int32, \"b\": Utf8View)",
                "STRUCT<a INTEGER, b TEXT>",
            ),
            ("Interval(MonthDayNano) of UInt64", "INTERVAL of BIGINT"),
            ("Int64(5) and Utf8(\"UA\")", "5 and 'UA'"),
            ("Utf8_view MyInt64 String", "Utf8_view MyInt64 String"),
            ("List(", "List("),
            (
                "f(IntervalMonthDayNano(\"IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 3600000000000 }\")) is",
                "f(INTERVAL '1 day 3600 seconds') is",
            ),
            (
                "n: IntervalMonthDayNano { months: 2, days: 0, nanoseconds: 500000000 }!",
                "n: INTERVAL '2 months 0.5 seconds'!",
            ),
            ("IntervalMonthDayNano", "IntervalMonthDayNano"),
            (
                "avg does not support Struct([Field { name: \"arrow.json\", data_type: Utf8View }])",
                "avg does not support JSON",
            ),
        ] {
            assert_eq!(sql_types(text), told, "{text}");
        }
        assert_eq!(sql_type("String").as_deref(), Some("TEXT"));
        assert_eq!(sql_type("Int64 and"), None);
        assert_eq!(
            types_in("Int64 and Utf8View, List(Int8)"),
            ["BIGINT", "TEXT", "TINYINT[]"]
        );
    }
}
