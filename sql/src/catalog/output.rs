//! From the clauses of CREATE SINK to where and how its rows are written.

use streams::KeyFormat;

use super::options::{Options, is_topic_itself, options};
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
    let connected = sink_connector(output).is_some();
    for (name, value) in &output.options {
        match name.value.to_lowercase().as_str() {
            "primary.key" | "primary_key" | "key.fields" => key = Some(value.clone()),
            "type" => kind = Some(kind_option(value)?),
            "connector" => {}
            known if SINK_OPTIONS.contains(&known) => shared.push((name.clone(), value.clone())),
            // What is not SQL's own is the connector's.
            _ if connected => {}
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
    let bound = BoundOutput {
        topic,
        partitions,
        format,
        encode,
        delimiter: delimiter.unwrap_or(b','),
        key,
        key_format,
    };
    match connected {
        true => for_connector(bound, encode_span),
        false => Ok(bound),
    }
}

/// The connector that takes the rows of a sink from its topic, unless the topic itself is meant.
pub(crate) fn sink_connector(output: &Output) -> Option<&Text> {
    let mut options = output.options.iter();
    let (_, value) = options.find(|(name, _)| name.value.eq_ignore_ascii_case("connector"))?;
    (!is_topic_itself(&value.value)).then_some(value)
}

/// Whether an option of a sink is not its connector's.
pub(crate) fn is_own_sink_option(name: &str) -> bool {
    SINK_OPTIONS.contains(&name)
}

/// A connector gets JSON rows under keys that are objects.
fn for_connector(bound: BoundOutput, encode_span: Option<Span>) -> Result<BoundOutput, Diagnostic> {
    let refused = |span: Option<Span>, message: &str| {
        let refused = Diagnostic::new(Code::OptionValue, message).at(span);
        Err(refused.help("leave it out: the connector gets what it needs"))
    };
    if let Some((OutputFormat::Debezium, span)) = bound.format {
        return refused(span, "a connector takes rows, not Debezium's envelopes");
    }
    if bound.encode != Encode::Json {
        return refused(encode_span, "a connector takes rows in JSON");
    }
    if bound
        .key_format
        .is_some_and(|format| format != KeyFormat::Json)
    {
        return refused(None, "a connector takes keys in JSON");
    }
    Ok(BoundOutput {
        key_format: Some(KeyFormat::Json),
        ..bound
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
