//! A diagnostic as text, with the statement and a caret, in the form of rustc's own.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::{Diagnostic, Location, Severity, Span};

impl Diagnostic {
    /// The diagnostic with the lines of `sql` that it points at. `sql` is the text as it was sent; with `color`,
    /// ANSI escapes are used.
    pub fn render(&self, sql: &str, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let clean = annotate_snippets::normalize_untrusted_str;
        let message = clean(&self.message);
        let notes: Vec<String> = self.notes.iter().map(|note| clean(note)).collect();
        let help = self.help.as_deref().map(clean);
        let replacement = self.suggestion.as_ref().map(|fix| clean(&fix.replacement));

        let title = level.primary_title(message.as_str()).id(self.code.as_str());
        let mut group = Group::with_title(title);
        if let Some(span) = self.span.and_then(|span| byte_range(sql, span)) {
            group =
                group.element(Snippet::source(sql).annotation(AnnotationKind::Primary.span(span)));
        }
        for note in &notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        let mut report = Vec::with_capacity(2);
        let fix = self.suggestion.as_ref().zip(replacement.as_deref());
        match (help.as_deref(), fix) {
            (Some(help), Some((fix, replacement))) => {
                report.push(group);
                let mut group = Group::with_title(Level::HELP.secondary_title(help));
                if let Some(span) = byte_range(sql, fix.span) {
                    group =
                        group.element(Snippet::source(sql).patch(Patch::new(span, replacement)));
                }
                report.push(group);
            }
            (Some(help), None) => report.push(group.element(Level::HELP.message(help))),
            (None, _) => report.push(group),
        }
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&report)
    }
}

/// Bytes of `sql` that `span` means; `None` if it lies outside. Never empty, so that there is something to mark.
fn byte_range(sql: &str, span: Span) -> Option<Range<usize>> {
    let start = byte_offset(sql, span.start)?;
    let end = byte_offset(sql, span.end).unwrap_or(sql.len()).max(start);
    if end > start {
        return Some(start..end);
    }
    match sql[start..].chars().next() {
        Some(next) if next != '\n' => Some(start..start + next.len_utf8()),
        _ => Some(start..start),
    }
}

fn byte_offset(sql: &str, location: Location) -> Option<usize> {
    let line_index = usize::try_from(location.line.checked_sub(1)?).ok()?;
    let column_index = usize::try_from(location.column.checked_sub(1)?).ok()?;
    let mut start = 0;
    for _ in 0..line_index {
        start += sql[start..].find('\n')? + 1;
    }
    let line = &sql[start..];
    let line = &line[..line.find('\n').unwrap_or(line.len())];
    let inside = line.char_indices().nth(column_index).map(|(at, _)| at);
    Some(start + inside.unwrap_or(line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    #[test]
    fn caret_counts_characters_not_bytes() {
        let sql = "SELECT 'übung',\n  carier FROM t";
        let start = Location { line: 2, column: 3 };
        let end = Location { line: 2, column: 9 };
        let text = Diagnostic::new(Code::UnknownColumn, "column \"carier\" does not exist")
            .at(Span { start, end })
            .suggest("carrier")
            .render(sql, false);
        assert!(text.contains("2 |   carier FROM t\n  |   ^^^^^^"), "{text}");
        assert!(text.contains("error[TW1102]"), "{text}");
        assert!(text.contains("did you mean carrier?"), "{text}");
    }

    #[test]
    fn span_outside_of_the_text_is_no_panic() {
        let start = Location {
            line: 9,
            column: 90,
        };
        let text = Diagnostic::new(Code::Syntax, "x")
            .at(Span { start, end: start })
            .render("a", false);
        assert!(text.contains("error[TW1001]: x"), "{text}");
    }
}
