//! Settings of one request: what `SET` and the body's `settings` say.

use crate::diagnostic::{Code, Diagnostic, Span};

const SETTINGS: &[&str] = &[
    "read_your_writes",
    "auto.offset.reset",
    "statement_timeout",
    "create.wait",
];

/// Whether a snapshot query waits until the views that it reads have taken what was written before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ReadYourWrites {
    /// It shows them as they are.
    #[default]
    Off,
    /// It waits, and fails where they do not get there.
    On,
    /// It waits so many ms at most, then shows them as they are and says so.
    For(u64),
}

/// Settings that last as long as a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// Snapshot queries wait until the views that they read cover everything written before.
    pub read_your_writes: ReadYourWrites,
    /// Push queries skip what is there.
    pub from_latest: bool,
    /// Shorter limit of time for snapshot queries, ms.
    pub timeout_ms: Option<u64>,
    /// How long CREATE MATERIALIZED VIEW waits for what is there, ms; 0: not at all.
    pub create_wait_ms: Option<u64>,
}

/// A time as settings and options have it: `off`, `500ms`, `30s`; a bare number is ms.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    if text == "off" {
        return Some(0);
    }
    let (digits, unit_ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => match text.strip_suffix('s') {
            Some(digits) => (digits, 1_000),
            None => (text.as_str(), 1),
        },
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit_ms)
}

impl Session {
    /// What was set, as it is written.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let waits = match self.read_your_writes {
            ReadYourWrites::Off => "off".to_owned(),
            ReadYourWrites::On => "on".to_owned(),
            ReadYourWrites::For(ms) => format!("{ms}ms"),
        };
        let ms = |ms: Option<u64>| {
            ms.map_or_else(|| "as the server has it".to_owned(), |ms| format!("{ms}ms"))
        };
        let offset = if self.from_latest {
            "latest"
        } else {
            "earliest"
        };
        vec![
            ("read_your_writes", waits),
            ("auto.offset.reset", offset.to_owned()),
            ("statement_timeout", ms(self.timeout_ms)),
            ("create.wait", ms(self.create_wait_ms)),
        ]
    }

    /// Sets one setting.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: &str,
        name_span: Option<Span>,
        value_span: Option<Span>,
    ) -> Result<(), Diagnostic> {
        let wrong = |help: &str| {
            Diagnostic::new(Code::OptionValue, format!("{name} cannot be '{value}'"))
                .at(value_span)
                .help(help)
        };
        let value_lower = value.to_lowercase();
        match name.to_lowercase().as_str() {
            "read_your_writes" => {
                self.read_your_writes = match value_lower.as_str() {
                    "on" | "true" | "1" => ReadYourWrites::On,
                    "off" | "false" | "0" => ReadYourWrites::Off,
                    text => match duration_ms(text) {
                        Some(ms) => ReadYourWrites::For(ms),
                        None => return Err(wrong("on, off or a time: 500ms, 1s")),
                    },
                };
            }
            "auto.offset.reset" => {
                self.from_latest = match value_lower.as_str() {
                    "latest" => true,
                    "earliest" => false,
                    _ => return Err(wrong("earliest or latest")),
                };
            }
            "statement_timeout" => {
                let ms = duration_ms(&value_lower).filter(|_| value_lower.trim() != "off");
                self.timeout_ms = Some(ms.ok_or_else(|| wrong("a time: 500ms, 30s"))?);
            }
            "create.wait" => {
                let ms = duration_ms(&value_lower);
                self.create_wait_ms = Some(ms.ok_or_else(|| wrong("off or a time: 500ms, 30s"))?);
            }
            other => {
                return Err(Diagnostic::new(
                    Code::UnknownOption,
                    format!("there is no setting {name:?}"),
                )
                .at(name_span)
                .suggest_nearest(other, SETTINGS.iter().copied())
                .note(format!("settings are {}", SETTINGS.join(", "))));
            }
        }
        Ok(())
    }
}
