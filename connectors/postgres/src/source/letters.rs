//! PURE: signals that come by a topic of the log: what they ask for, and how far the topic was read.
//!
//! How far it was read is stored with what became of a signal, as an offset of its own. So a signal that came while tables
//! were being read waits, and one that came before a crash comes again.

use connect_api::{AlteredOffset, ConnectError, Mail, Mailbox, SourceOffset, SourceOffsets};
use serde_json::{Value as Json, json};

use super::config::SourceConfig;
use super::offset;
use super::signal::{self, Signal};

/// The topic of a task's signals.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Topic, and the name of this source: the key of what is for it.
    topic: Option<(String, String)>,
    /// Behind what was stored.
    position: Option<i64>,
    /// What is to be done.
    waiting: Vec<Signal>,
    /// Behind what came; `None` where nothing did since.
    behind: Option<i64>,
}

impl Letters {
    /// Those of a configuration, from the stored offset on.
    pub(super) fn begin(config: &SourceConfig, offsets: &SourceOffsets) -> Self {
        let Some(topic) = config.signal_topic.clone() else {
            return Self::default();
        };
        let stored = offsets.get(&offset::mail_partition(&config.prefix, &topic));
        Self {
            position: stored.and_then(|offset| offset.get("position")?.as_i64()),
            topic: Some((topic, config.prefix.clone())),
            ..Self::default()
        }
    }

    /// Where they come from.
    pub(super) fn mailbox(&self) -> Option<Mailbox> {
        let (topic, _) = self.topic.as_ref()?;
        Some(Mailbox {
            topic: topic.clone(),
            position: self.position,
        })
    }

    /// Takes what came. What is for others, or not understood, is passed over.
    pub(super) fn take(&mut self, mail: Vec<Mail>) {
        let Some((_, prefix)) = &self.topic else {
            return;
        };
        for mail in mail {
            self.behind = Some(mail.offset + 1);
            if mail.key.as_deref() != Some(prefix.as_bytes()) {
                continue;
            }
            match signal::message(mail.value.as_deref().unwrap_or_default()) {
                Ok(signal) => self.waiting.push(signal),
                Err(reason) => {
                    tracing::warn!(offset = mail.offset, reason, "a signal is passed over");
                }
            }
        }
    }

    /// What is to be done, and how far the topic is read then.
    pub(super) fn next(&mut self) -> Option<(Vec<Signal>, SourceOffset)> {
        let (topic, prefix) = self.topic.as_ref()?;
        let behind = self.behind.take()?;
        let Json::Object(offset) = json!({ "position": behind }) else {
            return None;
        };
        let told = SourceOffset {
            partition: offset::mail_partition(prefix, topic),
            offset,
        };
        Some((std::mem::take(&mut self.waiting), told))
    }
}

/// That an offset which a user sets is one of the topic.
pub(super) fn check(altered: &AlteredOffset) -> Result<(), ConnectError> {
    let position = |offset: &connect_api::JsonMap| {
        let position = offset.get("position").and_then(Json::as_i64);
        position.is_some_and(|position| position >= 0)
    };
    match &altered.offset {
        Some(offset) if !position(offset) => Err(ConnectError::Data(
            "the offset of the topic of signals needs a \"position\" from 0 on".to_owned(),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use connect_api::ConfigMap;

    use super::*;

    fn config() -> SourceConfig {
        let keys = [
            ("database.hostname", "h"),
            ("database.user", "u"),
            ("database.dbname", "d"),
            ("topic.prefix", "shop"),
            ("signal.enabled.channels", "source,kafka"),
        ];
        let map: ConfigMap = keys
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        SourceConfig::parse(&map).unwrap()
    }

    fn mail(offset: i64, key: &str, value: &str) -> Mail {
        Mail {
            offset,
            key: Some(key.to_owned().into()),
            value: Some(value.to_owned().into()),
        }
    }

    #[test]
    fn signals_are_told_once_with_how_far_the_topic_was_read() {
        let mut letters = Letters::begin(&config(), &SourceOffsets::default());
        let mailbox = letters.mailbox().unwrap();
        assert_eq!(
            (mailbox.topic.as_str(), mailbox.position),
            ("shop-signal", None)
        );
        assert!(letters.next().is_none());
        letters.take(vec![
            mail(4, "other", r#"{"type":"pause-snapshot"}"#),
            mail(5, "shop", r#"{"type":"pause-snapshot"}"#),
            mail(7, "shop", "no signal"),
        ]);
        let (signals, told) = letters.next().unwrap();
        assert_eq!(signals, [Signal::Pause]);
        assert_eq!(told.offset["position"], 8);
        assert!(letters.next().is_none());
        assert!(config().letters(&told.partition));
        let again = Letters::begin(&config(), &SourceOffsets::new(vec![told]));
        assert_eq!(again.mailbox().unwrap().position, Some(8));
    }
}
