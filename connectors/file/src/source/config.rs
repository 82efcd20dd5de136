//! Keys of the file source.

use std::path::PathBuf;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, FieldIssue, Importance,
    Rule, Width,
};

/// How lines become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFormat {
    Line,
    Ndjson,
    Csv,
}

/// The keys, typed.
#[derive(Debug, Clone)]
pub(super) struct SourceConfig {
    pub(super) file: PathBuf,
    pub(super) topic: String,
    pub(super) batch_size: usize,
    pub(super) format: LineFormat,
    pub(super) key_field: Option<String>,
    pub(super) line_bytes_max: usize,
}

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::required(
                "file",
                ConfigType::String,
                "File to read, followed as it grows. A name that ends in .gz is decompressed and read to its end.",
            )
            .rule(Rule::NotEmpty)
            .width(Width::Long),
        )
        .with(
            ConfigKey::required("topic", ConfigType::String, "The topic to publish data to.")
                .rule(Rule::NotEmpty),
        )
        .with(
            ConfigKey::optional(
                "batch.size",
                ConfigType::Int,
                Some("2000"),
                "The maximum number of records the source task can read from the file each time it is polled.",
            )
            .rule(Rule::Between(1, 100_000))
            .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional(
                "format",
                ConfigType::String,
                Some("line"),
                "How a line becomes a record: 'line' is its text; 'ndjson' one JSON document a line, checked; 'csv' \
                 has names in its first line and becomes JSON objects whose values are strings.",
            )
            .rule(Rule::OneOf(&["line", "ndjson", "csv"])),
        )
        .with(
            ConfigKey::optional(
                "key.field",
                ConfigType::String,
                None,
                "Field whose value, as text, becomes the record's key; with format 'ndjson' or 'csv'.",
            )
            .rule(Rule::NotEmpty),
        )
        .with(
            ConfigKey::optional(
                "max.line.bytes",
                ConfigType::Int,
                Some("1048576"),
                "A longer line is a data error; bounds the memory that a file without newlines can take.",
            )
            .rule(Rule::Between(1, 64 << 20))
            .importance(Importance::Low),
        )
}

/// What single values cannot show.
pub(super) fn issues(config: &ConfigMap) -> Vec<FieldIssue> {
    match SourceConfig::parse(config) {
        Ok(parsed) if parsed.file.is_dir() => vec![FieldIssue {
            key: "file".to_owned(),
            message: format!("{} is a folder; name a file", parsed.file.display()),
        }],
        Ok(_) => Vec::new(),
        Err(ConnectError::Config { key, message }) => vec![FieldIssue { key, message }],
        Err(error) => vec![FieldIssue {
            key: "file".to_owned(),
            message: error.to_string(),
        }],
    }
}

impl SourceConfig {
    pub(super) fn parse(map: &ConfigMap) -> Result<Self, ConnectError> {
        let config: Config = def().parse(map)?;
        let format = match config.string("format") {
            "ndjson" => LineFormat::Ndjson,
            "csv" => LineFormat::Csv,
            _ => LineFormat::Line,
        };
        let key_field = config.get("key.field").map(str::to_owned);
        if key_field.is_some() && format == LineFormat::Line {
            return Err(ConnectError::config(
                "key.field",
                "lines of format 'line' have no fields; set format to ndjson or csv",
            ));
        }
        Ok(Self {
            file: PathBuf::from(config.string("file")),
            topic: config.string("topic").to_owned(),
            batch_size: config.count("batch.size"),
            format,
            key_field,
            line_bytes_max: config.count("max.line.bytes"),
        })
    }
}
