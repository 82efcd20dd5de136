//! Settings of one request: what `SET` and the body's `settings` say.

use crate::diagnostic::{Code, Diagnostic, Span};

const SETTINGS: &[&str] = &["read_your_writes", "auto.offset.reset", "statement_timeout"];

/// Settings that last as long as a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// Snapshot queries wait until the views that they read cover everything written before.
    pub read_your_writes: bool,
    /// Push queries skip what is there.
    pub from_latest: bool,
    /// Shorter limit of time for snapshot queries, ms.
    pub timeout_ms: Option<u64>,
}

impl Session {
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
                    "on" | "true" | "1" => true,
                    "off" | "false" | "0" => false,
                    _ => return Err(wrong("on or off")),
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
                let digits = value_lower.trim_end_matches("ms").trim_end_matches('s');
                let unit_ms = if value_lower.ends_with('s') && !value_lower.ends_with("ms") {
                    1_000
                } else {
                    1
                };
                let count: Option<u64> = digits.trim().parse().ok();
                let ms = count.and_then(|count| count.checked_mul(unit_ms));
                self.timeout_ms = Some(ms.ok_or_else(|| wrong("a time: 500ms, 30s"))?);
            }
            other => {
                return Err(Diagnostic::new(
                    Code::UnknownOption,
                    format!("there is no setting {name:?}"),
                )
                .at(name_span)
                .suggest_nearest(other, SETTINGS.iter().copied()));
            }
        }
        Ok(())
    }
}
