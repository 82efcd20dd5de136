//! Columns of random values or sequences, as they are declared.
//!
//! | type | a value |
//! |---|---|
//! | integers | `kind = 'random'`: from `min` to `max`, both included (0 to 999); `'sequence'`: from `start` (0) on, to `end` and again |
//! | REAL, DOUBLE, DECIMAL | from `min` (0) up to `max` (1) |
//! | TEXT | `length` letters (8); a sequence's numbers |
//! | BOOLEAN | true or false |
//! | TIMESTAMP, TIMESTAMPTZ, DATE | the row's time: `start`, and `event.gap` later with each row |
//!
//! `values = 'a, b, c'` takes one of these, of any type.

use std::io::Write as _;

use arrow::datatypes::DataType;

use super::{Clock, FieldOption, Random, time_text};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::ColumnDef;

/// One column: its name as JSON, and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    name: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    /// `first` to `last`, both included.
    Integer {
        first: i64,
        last: i64,
    },
    /// `first`, and one more with each row; behind `last` from the first on again.
    Sequence {
        first: i64,
        last: i64,
        is_text: bool,
    },
    /// With so many digits behind the point.
    Number {
        least: f64,
        most: f64,
        digits: usize,
    },
    Letters(usize),
    Truth,
    Time,
    Day,
    /// One of these, as JSON.
    OneOf(Vec<String>),
}

/// The fields of a table's columns.
pub(super) fn fields(
    columns: &[(&ColumnDef, DataType)],
    options: &[FieldOption],
) -> Result<Vec<Field>, Diagnostic> {
    let is_of = |option: &FieldOption, column: &ColumnDef| {
        option.column.eq_ignore_ascii_case(&column.name.written)
    };
    let stray = options
        .iter()
        .find(|option| !columns.iter().any(|(column, _)| is_of(option, column)));
    if let Some(stray) = stray {
        let message = format!("column {:?} is not declared", stray.column);
        return Err(Diagnostic::new(Code::UnknownColumn, message).at(stray.name_span));
    }
    let field = |(column, data_type): &(&ColumnDef, DataType)| {
        let own: Vec<&FieldOption> = (options.iter())
            .filter(|option| is_of(option, column))
            .collect();
        let given = Given::read(&own)?;
        let value = value(data_type, &given).ok_or_else(|| {
            let message = format!("datagen makes no values of type {}", column.data_type);
            Diagnostic::new(Code::Unsupported, message)
                .at(column.type_span)
                .help("numbers, TEXT, BOOLEAN, TIMESTAMP and DATE work")
        })?;
        Ok(Field {
            name: json_text(&column.name.written),
            value,
        })
    };
    columns.iter().map(field).collect()
}

/// The options of one column.
#[derive(Debug, Default)]
struct Given {
    is_sequence: bool,
    least: Option<f64>,
    most: Option<f64>,
    length: Option<usize>,
    values: Vec<String>,
}

impl Given {
    fn read(options: &[&FieldOption]) -> Result<Self, Diagnostic> {
        let mut given = Self::default();
        for option in options {
            let value = &option.value;
            let wrong = |help: &str| {
                let message = format!("{} cannot be '{}'", option.what, value.value);
                Diagnostic::new(Code::OptionValue, message)
                    .at(value.span)
                    .help(help)
            };
            let number = || {
                value
                    .value
                    .trim()
                    .parse::<f64>()
                    .map_err(|_| wrong("a number"))
            };
            match option.what.as_str() {
                "kind" => {
                    given.is_sequence = match value.value.to_lowercase().as_str() {
                        "sequence" => true,
                        "random" => false,
                        _ => return Err(wrong("'random' and 'sequence' work")),
                    };
                }
                "min" | "start" => given.least = Some(number()?),
                "max" | "end" => given.most = Some(number()?),
                "length" => {
                    let length = value.value.parse().ok().filter(|length| *length <= 10_000);
                    given.length = Some(length.ok_or_else(|| wrong("at most 10000 letters"))?);
                }
                "values" => {
                    let values = value.value.split(',').map(|value| value.trim().to_owned());
                    given.values = values.collect();
                }
                // What others draw from is of no use where a row is always the same.
                "seed" => {}
                other => {
                    let message = format!("there is no option {other:?} of a column");
                    return Err(Diagnostic::new(Code::UnknownOption, message)
                        .at(option.name_span)
                        .help("there are kind, min, max, start, end, length and values"));
                }
            }
        }
        Ok(given)
    }
}

fn value(data_type: &DataType, given: &Given) -> Option<Value> {
    if !given.values.is_empty() {
        let is_text = matches!(data_type, DataType::Utf8View);
        let values = given.values.iter();
        return Some(Value::OneOf(
            values
                .map(|value| match is_text {
                    true => json_text(value),
                    false => value.clone(),
                })
                .collect(),
        ));
    }
    let (least, most) = (given.least, given.most);
    let whole = |number: f64| number as i64;
    let digits = |digits: usize| Value::Number {
        least: least.unwrap_or(0.0),
        most: most.unwrap_or(1.0),
        digits,
    };
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
            if given.is_sequence =>
        {
            Value::Sequence {
                first: whole(least.unwrap_or(0.0)),
                last: most.map_or(i64::MAX, whole),
                is_text: false,
            }
        }
        DataType::Utf8View if given.is_sequence => Value::Sequence {
            first: whole(least.unwrap_or(0.0)),
            last: most.map_or(i64::MAX, whole),
            is_text: true,
        },
        DataType::Int8 => Value::Integer {
            first: whole(least.unwrap_or(0.0)),
            last: whole(most.unwrap_or(99.0)),
        },
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Value::Integer {
            first: whole(least.unwrap_or(0.0)),
            last: whole(most.unwrap_or(999.0)),
        },
        DataType::Float32 | DataType::Float64 => digits(6),
        DataType::Decimal128(_, scale) => digits(usize::try_from(*scale).unwrap_or(0)),
        DataType::Utf8View => Value::Letters(given.length.unwrap_or(8)),
        DataType::Boolean => Value::Truth,
        DataType::Timestamp(..) => Value::Time,
        DataType::Date32 => Value::Day,
        _ => return None,
    })
}

/// Writes row `index` as JSON.
pub(super) fn write(fields: &[Field], seed: u64, index: u64, clock: Clock, out: &mut Vec<u8>) {
    let mut random = Random::of(seed, index);
    out.push(b'{');
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let value = field.value.json(index, clock, &mut random);
        // Writing to memory does not fail.
        let _ = write!(out, "{}:{value}", field.name);
    }
    out.push(b'}');
}

impl Value {
    fn json(&self, index: u64, clock: Clock, random: &mut Random) -> String {
        match self {
            Self::Integer { first, last } => {
                let count = last.abs_diff(*first).saturating_add(1);
                let step = i64::try_from(random.below(count)).unwrap_or(0);
                first.min(last).saturating_add(step).to_string()
            }
            Self::Sequence {
                first,
                last,
                is_text,
            } => {
                let count = last.abs_diff(*first).saturating_add(1);
                let number = first.wrapping_add_unsigned(index % count);
                match is_text {
                    true => format!("\"{number}\""),
                    false => number.to_string(),
                }
            }
            Self::Number {
                least,
                most,
                digits,
            } => {
                let number = least + (most - least) * random.fraction();
                format!("{number:.digits$}")
            }
            Self::Letters(count) => format!("\"{}\"", random.letters(*count)),
            Self::Truth => (random.below(2) == 1).to_string(),
            Self::Time => format!("\"{}\"", time_text(clock.at(index))),
            Self::Day => {
                let time = time_text(clock.at(index));
                format!("\"{}\"", time.split('T').next().unwrap_or_default())
            }
            Self::OneOf(values) => random.of_all(values).clone(),
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
