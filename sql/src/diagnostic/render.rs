//! A diagnostic as text, with the statement and a caret, in the form of rustc's own.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::excerpt::excerpt;
use super::{Diagnostic, Location, Severity, Span};

/// What may stand in front of a text: `warning[TW1234]: `.
const LABEL_COLUMNS: usize = 17;

impl Diagnostic {
    /// The diagnostic with the lines of `sql` that it points at, as wide as they are. `sql` is the text as it was sent;
    /// with `color`, ANSI escapes are used.
    pub fn render(&self, sql: &str, color: bool) -> String {
        self.render_within(sql, color, None)
    }

    /// The same in at most `columns`: texts go on below, of long lines the part around the place is shown.
    pub fn render_within(&self, sql: &str, color: bool, columns: Option<usize>) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let room = columns.map(|columns| columns.saturating_sub(LABEL_COLUMNS));
        let clean = |text: &String| {
            let text = annotate_snippets::normalize_untrusted_str(text);
            wrapped(&text, room.unwrap_or(usize::MAX))
        };
        let message = clean(&self.message);
        let notes: Vec<String> = self.notes.iter().map(clean).collect();
        let help = self.help.as_ref().map(clean);
        let replacement = self.suggestion.as_ref();
        let replacement =
            replacement.map(|fix| annotate_snippets::normalize_untrusted_str(&fix.replacement));
        let fix = self.suggestion.as_ref().map(|fix| fix.span);
        let (shown, fixed) = match columns {
            Some(columns) => (
                cut(sql, self.span, columns, 0),
                cut(
                    sql,
                    fix,
                    columns,
                    replacement.as_deref().map_or(0, str::len),
                ),
            ),
            None => ((sql.to_owned(), self.span), (sql.to_owned(), fix)),
        };

        let title = level.primary_title(message.as_str()).id(self.code.as_str());
        let mut group = Group::with_title(title);
        if let Some(span) = shown.1.and_then(|span| byte_range(&shown.0, span)) {
            group = group.element(
                Snippet::source(shown.0.as_str()).annotation(AnnotationKind::Primary.span(span)),
            );
        }
        for note in &notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        let mut report = Vec::with_capacity(2);
        match (help.as_deref(), fixed.1.zip(replacement.as_deref())) {
            (Some(help), Some((span, replacement))) => {
                report.push(group);
                let mut group = Group::with_title(Level::HELP.secondary_title(help));
                if let Some(span) = byte_range(&fixed.0, span) {
                    group = group.element(
                        Snippet::source(fixed.0.as_str()).patch(Patch::new(span, replacement)),
                    );
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
        // What is too long was cut above, in one way for both excerpts.
        renderer.term_width(usize::MAX / 2).render(&report)
    }
}

/// The text with the lines around a span cut to `columns`, and where the span is then.
fn cut(sql: &str, span: Option<Span>, columns: usize, growth: usize) -> (String, Option<Span>) {
    let Some(span) = span else {
        return (String::new(), None);
    };
    let mut spans = [span];
    let text = excerpt(sql, &mut spans, columns, growth);
    let [span] = spans;
    (text, Some(span))
}

/// A text in lines of at most `columns`, broken between words.
fn wrapped(text: &str, columns: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut used = 0;
    for (index, word) in text.split(' ').enumerate() {
        let needed = word.chars().count();
        if index > 0 && used + 1 + needed > columns && used > 0 {
            out.push('\n');
            used = 0;
        } else if index > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used = match word.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => used + needed,
        };
    }
    out
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
    fn nothing_is_wider_than_the_terminal() {
        let start = Location {
            line: 1,
            column: 208,
        };
        let end = Location {
            line: 1,
            column: 215,
        };
        let columns = "a_column, another_column, ".repeat(8);
        let sql = format!(
            "SELECT {}custmer FROM orders JOIN {columns}",
            &columns[..200]
        );
        let diagnostic = Diagnostic::new(Code::UnknownColumn, "column \"custmer\" does not exist")
            .at(Span { start, end })
            .suggest("customer");
        for wide in [40, 60, 80, 200] {
            let text = diagnostic.render_within(&sql, false, Some(wide));
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(wide), "{wide}:\n{text}");
            assert_eq!(text.matches("custmer").count(), 2, "{text}");
            assert!(text.contains("^^^^^^^") && text.contains('+'), "{text}");
        }
        let text = diagnostic.render(&sql, false);
        assert!(text.contains(&sql), "{text}");
        let long = Diagnostic::new(Code::Syntax, "word ".repeat(60)).help("more words ".repeat(30));
        let text = long.render_within("", false, Some(60));
        assert!(
            text.lines().all(|line| line.chars().count() <= 60),
            "{text}"
        );
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
