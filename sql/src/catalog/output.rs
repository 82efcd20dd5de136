//! From the clauses of CREATE SINK to where and how its rows are written.

use streams::KeyFormat;

use super::create::{Options, options};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::statement::{Encode, Format, Output, Text};

/// Options of a sink.
const SINK_OPTIONS: &[&str] = &[
    "topic",
    "connector",
    "partitions",
    "primary.key",
    "type",
    "key.format",
    "value.format",
    "format",
    "csv.delimiter",
    "delimiter",
    "kafka_topic",
    "primary_key",
    "key.fields",
    "key_format",
    "value_format",
];

/// What the records of a sink say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// A row each.
    Plain,
    /// The row of a key, or that it has none.
    Upsert,
    /// What happened to the row of a key.
    Debezium,
}

/// Where and how the rows of a sink are written.
#[derive(Debug)]
pub(crate) struct BoundOutput {
    /// `None`: the topic is named after the sink.
    pub topic: Option<Text>,
    pub partitions: Option<i32>,
    /// `None`: as the rows need it.
    pub format: Option<(OutputFormat, Option<Span>)>,
    pub encode: Encode,
    pub delimiter: u8,
    /// Names of the key's columns.
    pub key: Option<Text>,
    pub key_format: Option<KeyFormat>,
}

/// Binds the clauses of CREATE SINK.
pub(crate) fn bind_output(output: &Output) -> Result<BoundOutput, Diagnostic> {
    let (mut key, mut kind, mut shared) = (None, None, Vec::new());
    for (name, value) in &output.options {
        match name.value.to_lowercase().as_str() {
            "primary.key" | "primary_key" | "key.fields" => key = Some(value.clone()),
            "type" => kind = Some(kind_option(value)?),
            "connector" if !matches!(value.value.to_lowercase().as_str(), "kafka" | "thalweg") => {
                let message = format!("there is no sink to '{}'", value.value);
                return Err(Diagnostic::new(Code::OptionValue, message)
                    .at(value.span)
                    .help("a sink writes to a topic; a connector takes it from there: thalweg connect"));
            }
            known if SINK_OPTIONS.contains(&known) => shared.push((name.clone(), value.clone())),
            "bootstrap_servers" => {}
            other if other.starts_with("properties.") => {}
            other => {
                let message = format!("a sink has no option {:?}", name.value);
                let unknown = Diagnostic::new(Code::UnknownOption, message).at(name.span);
                // Those with an underscore are other spellings.
                let names = SINK_OPTIONS
                    .iter()
                    .copied()
                    .filter(|name| !name.contains('_'));
                return Err(unknown
                    .note(format!(
                        "there are {}",
                        names.collect::<Vec<_>>().join(", ")
                    ))
                    .suggest_nearest(other, SINK_OPTIONS.iter().copied()));
            }
        }
    }
    let Options {
        topic,
        partitions,
        key_format,
        encode,
        delimiter,
        ..
    } = options(&shared, false)?;
    let declared = output.format.map(|(format, span)| {
        let format = match format {
            Format::Plain => OutputFormat::Plain,
            Format::Upsert => OutputFormat::Upsert,
            Format::Debezium => OutputFormat::Debezium,
        };
        (format, span)
    });
    let format = match (declared, kind) {
        (Some((declared, span)), Some((kind, _))) if declared != kind => {
            let message = "FORMAT says something else than the option type";
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(span)
                .help("say it once"));
        }
        (declared, kind) => declared.or(kind),
    };
    let (said, encode_span) = match output.encode {
        Some((said, span)) => (Some(said), span),
        None => (None, None),
    };
    if let (Some(said), Some(option)) = (said, encode)
        && said != option
    {
        let message = "FORMAT … ENCODE says another format than the option of WITH";
        return Err(Diagnostic::new(Code::OptionValue, message)
            .at(encode_span)
            .help("say it once"));
    }
    let encode = said.or(encode).unwrap_or(Encode::Json);
    if delimiter.is_some() && encode != Encode::Csv {
        let message = "a delimiter is for CSV";
        return Err(Diagnostic::new(Code::OptionValue, message).help("FORMAT PLAIN ENCODE CSV"));
    }
    if matches!(format, Some((OutputFormat::Debezium, _))) && encode != Encode::Json {
        let message = "Debezium's envelopes are written in JSON";
        return Err(Diagnostic::new(Code::Unsupported, message)
            .at(encode_span)
            .help("FORMAT DEBEZIUM ENCODE JSON"));
    }
    Ok(BoundOutput {
        topic,
        partitions,
        format,
        encode,
        delimiter: delimiter.unwrap_or(b','),
        key,
        key_format,
    })
}

/// RisingWave's `type`.
fn kind_option(value: &Text) -> Result<(OutputFormat, Option<Span>), Diagnostic> {
    let format = match value.value.to_lowercase().as_str() {
        "append-only" | "append" | "plain" => OutputFormat::Plain,
        "upsert" => OutputFormat::Upsert,
        "debezium" => OutputFormat::Debezium,
        _ => {
            let message = format!("type cannot be '{}'", value.value);
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(value.span)
                .help("'append-only', 'upsert' and 'debezium' work"));
        }
    };
    Ok((format, value.span))
}
