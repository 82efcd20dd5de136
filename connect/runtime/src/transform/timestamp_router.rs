//! TimestampRouter: puts the record's time into the topic's name.

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record};

use super::Each;
use super::date_format::DateFormat;

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::optional(
            "topic.format",
            ConfigType::String,
            Some("${topic}-${timestamp}"),
            "Format string which can contain ${topic} and ${timestamp} as placeholders for the topic and timestamp, \
             respectively.",
        ))
        .with(ConfigKey::optional(
            "timestamp.format",
            ConfigType::String,
            Some("yyyyMMdd"),
            "Format string for the timestamp that is compatible with java.text.SimpleDateFormat.",
        ))
}

pub(super) struct TimestampRouter {
    topic: String,
    timestamp: DateFormat,
}

impl TimestampRouter {
    pub(super) fn new(config: &Config) -> Result<Self, ConnectError> {
        let timestamp = DateFormat::parse(config.string("timestamp.format"))
            .map_err(|reason| ConnectError::config("timestamp.format", reason))?;
        Ok(Self {
            topic: config.string("topic.format").to_owned(),
            timestamp,
        })
    }
}

impl Each for TimestampRouter {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let Some(ms) = record.timestamp else {
            return Err(ConnectError::Data(
                "Timestamp missing on record: the source gave it none".to_owned(),
            ));
        };
        let timestamp = self.timestamp.print(ms).map_err(ConnectError::Data)?;
        let topic = self.topic.replace("${topic}", &record.topic);
        record.topic = topic.replace("${timestamp}", &timestamp).into();
        Ok(Some(record))
    }
}
