//! Sources that make their rows themselves: the Nexmark benchmark's, and columns of random values or sequences.
//!
//! Row `i` of a seed is always the same and needs no row before it. Record `o` of partition `p` of `n` is row `o * n + p`, so
//! that the ends of a topic's partitions tell where its generator goes on, whatever happened to it.
//!
//! Options: `connector` (`nexmark`, `datagen`), `seed`, `rows`, `rate`, `start`, `event.gap`; `type` of Nexmark;
//! `fields.<column>.{kind, min, max, start, end, length, values}` of datagen. Those of RisingWave and Flink mean the same.

mod fields;
mod nexmark;
mod random;

use arrow::datatypes::DataType;

use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{ColumnDef, Text};
use fields::Field;
use nexmark::Table;
pub(crate) use random::Random;

/// Rows a second where nothing is said: enough to see something move, little enough to be forgotten.
const RATE_DEFAULT: u64 = 1_000;
/// The first row's time where nothing is said, µs: 2015-07-15T00:00:00, Nexmark's own.
const START_US: i64 = 1_436_918_400_000_000;
/// Between the times of two rows where nothing is said, µs.
const GAP_US: i64 = 1_000;

/// How a source makes its rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generator {
    seed: u64,
    /// How many there are; `None`: they never end.
    pub rows: Option<u64>,
    /// How many a second at most; `None`: as many as can be.
    pub rate: Option<u64>,
    start_us: i64,
    gap_us: i64,
    make: Make,
}

#[derive(Debug, Clone, PartialEq)]
enum Make {
    Nexmark(Table),
    Fields(Vec<Field>),
}

/// What is common to the rows of one generator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start_us: i64,
    gap_us: i64,
}

impl Clock {
    /// The time of event `number`, µs since 1970.
    fn at(self, number: u64) -> i64 {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.start_us
            .saturating_add(number.saturating_mul(self.gap_us))
    }
}

impl Generator {
    /// Writes row `index` as JSON.
    pub(crate) fn row(&self, index: u64, out: &mut Vec<u8>) {
        let clock = Clock {
            start_us: self.start_us,
            gap_us: self.gap_us,
        };
        match &self.make {
            Make::Nexmark(table) => table.write(self.seed, index, clock, out),
            Make::Fields(fields) => fields::write(fields, self.seed, index, clock, out),
        }
    }
}

/// Whether the options name a generator.
pub(crate) fn is_generated(options: &[(Text, Text)]) -> bool {
    connector(options).is_some()
}

fn connector(options: &[(Text, Text)]) -> Option<&Text> {
    let (_, value) = options
        .iter()
        .find(|(name, _)| name.value.eq_ignore_ascii_case("connector"))?;
    let known = ["nexmark", "datagen"];
    let is_known = known
        .iter()
        .any(|known| value.value.eq_ignore_ascii_case(known));
    is_known.then_some(value)
}

/// The columns of a generator that is asked for without any: those of Nexmark. `None`: it needs them declared.
pub(crate) fn columns(
    options: &[(Text, Text)],
    has_watermark: bool,
) -> Result<Option<String>, Diagnostic> {
    let Some(name) = connector(options) else {
        return Ok(None);
    };
    if !name.value.eq_ignore_ascii_case("nexmark") {
        let message = "datagen makes the columns that are declared, and none are";
        return Err(Diagnostic::new(Code::Syntax, message)
            .at(name.span)
            .help("(id BIGINT, at TIMESTAMP, …) behind the name"));
    }
    let table = Settings::read(options)?.table;
    let time = match has_watermark {
        true => "",
        false => ", WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'",
    };
    Ok(Some(format!("{}{time}", table.columns())))
}

/// A generator, and the options that say nothing of it.
pub(crate) type Asked = (Generator, Vec<(Text, Text)>);

/// The generator that options ask for, and the options that are left.
pub(crate) fn generator(
    options: &[(Text, Text)],
    columns: &[(&ColumnDef, DataType)],
) -> Result<Option<Asked>, Diagnostic> {
    let Some(name) = connector(options) else {
        return Ok(None);
    };
    let settings = Settings::read(options)?;
    let make = if name.value.eq_ignore_ascii_case("nexmark") {
        if let Some(field) = settings.fields.first() {
            let message = "fields of nexmark are as the benchmark has them";
            return Err(Diagnostic::new(Code::UnknownOption, message).at(field.name_span));
        }
        Make::Nexmark(settings.table)
    } else {
        Make::Fields(fields::fields(columns, &settings.fields)?)
    };
    if settings.rate.is_none() && settings.rows.is_none() {
        let message = "rows as fast as can be that never end would fill the disk";
        return Err(Diagnostic::new(Code::OptionValue, message)
            .at(settings.rate_span)
            .help("rows = 1000000 says how many there are"));
    }
    let generator = Generator {
        seed: settings.seed,
        rows: settings.rows,
        rate: settings.rate,
        start_us: settings.start_us,
        gap_us: settings.gap_us,
        make,
    };
    Ok(Some((generator, settings.rest)))
}

/// One option of a column.
#[derive(Debug)]
struct FieldOption {
    column: String,
    what: String,
    value: Text,
    name_span: Option<crate::diagnostic::Span>,
}

/// The options of a generator, read.
struct Settings {
    seed: u64,
    rows: Option<u64>,
    rate: Option<u64>,
    rate_span: Option<crate::diagnostic::Span>,
    start_us: i64,
    gap_us: i64,
    table: Table,
    fields: Vec<FieldOption>,
    rest: Vec<(Text, Text)>,
}

impl Settings {
    fn read(options: &[(Text, Text)]) -> Result<Self, Diagnostic> {
        let mut settings = Self {
            seed: 0,
            rows: None,
            rate: Some(RATE_DEFAULT),
            rate_span: None,
            start_us: START_US,
            gap_us: GAP_US,
            table: Table::All,
            fields: Vec::new(),
            rest: Vec::new(),
        };
        for (name, value) in options {
            let wrong = |help: &str| {
                let message = format!("{} cannot be '{}'", name.value, value.value);
                Diagnostic::new(Code::OptionValue, message)
                    .at(value.span)
                    .help(help)
            };
            let number = || {
                value
                    .value
                    .parse::<u64>()
                    .map_err(|_| wrong("a whole number"))
            };
            let lower = name.value.to_lowercase();
            let own = lower
                .strip_prefix("nexmark.")
                .or_else(|| lower.strip_prefix("datagen."));
            let own = own.unwrap_or(&lower);
            if let Some((column, what)) = own
                .strip_prefix("fields.")
                .and_then(|own| own.rsplit_once('.'))
            {
                settings.fields.push(FieldOption {
                    column: column.to_owned(),
                    what: what.to_owned(),
                    value: value.clone(),
                    name_span: name.span,
                });
                continue;
            }
            match own.replace(['-', '_'], ".").as_str() {
                "connector" => {}
                "type" | "table.type" => {
                    settings.table = Table::named(&value.value)
                        .ok_or_else(|| wrong("'person', 'auction', 'bid' and 'all' work"))?;
                }
                "seed" => settings.seed = number()?,
                "rows" | "event.num" | "number.of.rows" => settings.rows = Some(number()?),
                "rate" | "rows.per.second" => {
                    settings.rate_span = value.span;
                    settings.rate = match value.value.to_lowercase().as_str() {
                        "max" => None,
                        _ => Some(number()?.max(1)),
                    };
                }
                "min.event.gap.in.ns" => {
                    settings.gap_us = i64::try_from(number()? / 1_000).unwrap_or(i64::MAX).max(1);
                }
                "event.gap" | "gap" => {
                    settings.gap_us = gap_us(&value.value)
                        .ok_or_else(|| wrong("a time: '100us', '10ms', '1s'"))?;
                }
                "start" => {
                    settings.start_us = start_us(&value.value)
                        .ok_or_else(|| wrong("a time: '2015-07-15T00:00:00'"))?;
                }
                _ => settings.rest.push((name.clone(), value.clone())),
            }
        }
        Ok(settings)
    }
}

fn gap_us(text: &str) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let units = [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("", 1_000)];
    let (digits, unit) = units
        .iter()
        .find_map(|(unit, us)| Some((text.strip_suffix(unit)?, us)))?;
    let count: i64 = digits.trim().parse().ok()?;
    count.checked_mul(*unit).filter(|us| *us > 0)
}

fn start_us(text: &str) -> Option<i64> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let time = formats
        .iter()
        .find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok());
    let day = || {
        chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    Some(time.or_else(day)?.and_utc().timestamp_micros())
}

/// A time as JSON has it: without digits that say nothing.
fn time_text(time_us: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(time_us) {
        Some(time) => time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        None => "1970-01-01T00:00:00".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Vec<(Text, Text)> {
        let text = |value: &str| Text {
            value: value.to_owned(),
            span: None,
        };
        options
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    fn rows(generator: &Generator, rows: std::ops::Range<u64>) -> Vec<String> {
        rows.map(|index| {
            let mut out = Vec::new();
            generator.row(index, &mut out);
            String::from_utf8(out).expect("JSON is a text")
        })
        .collect()
    }

    #[test]
    fn options_of_other_systems_mean_the_same() {
        let ours = options(&[
            ("connector", "nexmark"),
            ("type", "bid"),
            ("rows", "5"),
            ("event.gap", "1ms"),
        ]);
        let theirs = options(&[
            ("connector", "nexmark"),
            ("nexmark.table.type", "Bid"),
            ("nexmark.event.num", "5"),
            ("nexmark.min.event.gap.in.ns", "1000000"),
        ]);
        let made = |options: &[(Text, Text)]| {
            generator(options, &[])
                .expect("options")
                .expect("a generator")
                .0
        };
        assert_eq!(made(&ours), made(&theirs));
        assert_eq!(rows(&made(&ours), 0..3), rows(&made(&theirs), 0..3));
        let endless = options(&[("connector", "nexmark"), ("rate", "max")]);
        assert!(generator(&endless, &[]).is_err());
        let (_, rest) = generator(&options(&[("connector", "nexmark"), ("topic", "t")]), &[])
            .expect("options")
            .expect("a generator");
        assert_eq!(rest.len(), 1);
        assert!(
            generator(&options(&[("connector", "kafka")]), &[])
                .expect("options")
                .is_none()
        );
    }

    /// What a seed gives is part of what it promises.
    #[test]
    fn rows_of_a_seed_never_change() {
        let given = options(&[("connector", "nexmark"), ("type", "all"), ("seed", "7")]);
        let (generator, _) = generator(&given, &[])
            .expect("options")
            .expect("a generator");
        let all = rows(&generator, 0..100);
        let of_type = |number: u64| {
            let start = format!("{{\"event_type\":{number},");
            all.iter().filter(|row| row.starts_with(&start)).count()
        };
        assert_eq!([of_type(0), of_type(1), of_type(2)], [2, 6, 92]);
        let hash = all
            .iter()
            .flat_map(|row| row.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        assert_eq!(
            format!("{hash:016x}"),
            "ba18946cc8d9c9e3",
            "{}",
            all[..5].join("\n")
        );
    }
}
