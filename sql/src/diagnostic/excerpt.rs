//! The lines that a diagnostic points at, cut to the width of a terminal around what they are shown for.
//!
//! ```text
//! 1 | …rier, origin, custmer, scheduled FROM flights JOIN air…
//!   |                ^^^^^^^
//! ```
//!
//! Invariant: lines keep their numbers, and a place still stands at the character that it stood at.

use std::ops::Range;

use super::{Location, Span};

/// Stands for what is cut off.
const CUT: char = '…';
/// A line is not cut shorter than this, however narrow the terminal is.
const COLUMNS_MIN: usize = 20;

/// Cuts the lines of `sql` in which `spans` begin or end so that they fit `columns` together with their number, and
/// moves the spans along. `growth` is by how many columns a replacement makes a line longer.
pub(super) fn excerpt(sql: &str, spans: &mut [Span], columns: usize, growth: usize) -> String {
    let gutter = spans.iter().map(|span| span.end.line).max().unwrap_or(1);
    let gutter = gutter.to_string().len() + " | ".len();
    let room = columns.saturating_sub(gutter + growth).max(COLUMNS_MIN);
    let mut text = String::with_capacity(sql.len());
    for (number, line) in (1..).zip(sql.split('\n')) {
        if number > 1 {
            text.push('\n');
        }
        let chars: Vec<char> = line.chars().collect();
        match places(spans, number) {
            Some(places) if width(&chars) > room => {
                let shown = window(&chars, places, room - 2);
                text.extend((shown.start > 0).then_some(CUT));
                text.extend(&chars[shown.clone()]);
                text.extend((shown.end < chars.len()).then_some(CUT));
                for span in &mut *spans {
                    moved(&mut span.start, number, &shown);
                    moved(&mut span.end, number, &shown);
                }
            }
            _ => text.push_str(line),
        }
    }
    text
}

/// The characters of a line, from 0, that spans point at.
fn places(spans: &[Span], line: u64) -> Option<Range<usize>> {
    let ends = spans.iter().flat_map(|span| [span.start, span.end]);
    let columns = ends
        .filter(|at| at.line == line)
        .map(|at| usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX));
    let columns: Vec<usize> = columns.collect();
    Some(*columns.iter().min()?..*columns.iter().max()?)
}

/// The characters that are shown: `room` columns of them with the places in the middle, or from the first place on.
fn window(chars: &[char], places: Range<usize>, room: usize) -> Range<usize> {
    let first = places.start.min(chars.len());
    let last = places.end.clamp(first, chars.len());
    let before = room.saturating_sub(last - first) / 2;
    let end = (first.saturating_sub(before) + room).min(chars.len());
    let mut shown = end.saturating_sub(room).min(first)..end;
    // Wide characters take more room than one each.
    while width(&chars[shown.clone()]) > room && shown.len() > 1 {
        if shown.end > last || shown.start >= first {
            shown.end -= 1;
        } else {
            shown.start += 1;
        }
    }
    shown
}

fn moved(at: &mut Location, line: u64, shown: &Range<usize>) {
    if at.line == line && shown.start > 0 {
        // One for the sign in the place of what is gone.
        let gone = shown.start as u64 - 1;
        at.column = at.column.saturating_sub(gone).max(1);
    }
}

fn width(chars: &[char]) -> usize {
    let of = |char: &char| match *char as u32 {
        0x09 => 4,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x3fffd => 2,
        _ => 1,
    };
    chars.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u64, columns: Range<u64>) -> Span {
        let at = |column| Location { line, column };
        Span {
            start: at(columns.start),
            end: at(columns.end),
        }
    }

    /// What stands where the span points.
    fn pointed<'a>(text: &'a str, span: &Span) -> &'a str {
        let line = text.split('\n').nth(span.start.line as usize - 1);
        let line = line.expect("the line");
        let at = |column: u64| {
            let place = line.char_indices().nth(column as usize - 1);
            place.map_or(line.len(), |(at, _)| at)
        };
        &line[at(span.start.column)..at(span.end.column)]
    }

    #[test]
    fn the_place_stays_in_sight() {
        let filler = "some_column, ".repeat(20);
        for word in ["custmer", "größe", "名前"] {
            for before in [0, 1, 7, 40, 90, 260] {
                let head: String = filler.chars().take(before).collect();
                let line = format!("{head}{word} {filler}");
                let sql = format!("SELECT\n{line}\nFROM t");
                let from = before as u64 + 1;
                let mut spans = [span(2, from..from + word.chars().count() as u64)];
                let text = excerpt(&sql, &mut spans, 60, 0);
                assert_eq!(pointed(&text, &spans[0]), word, "{text}");
                let cut: Vec<char> = text.lines().nth(1).expect("the line").chars().collect();
                assert!(width(&cut) <= 56 && cut.contains(&CUT), "{text}");
                assert!(text.starts_with("SELECT\n") && text.ends_with("\nFROM t"));
            }
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut spans = [span(1, 8..9)];
        assert_eq!(excerpt("SELECT a", &mut spans, 60, 0), "SELECT a");
        assert_eq!(spans, [span(1, 8..9)]);
    }

    #[test]
    fn a_place_longer_than_the_line_is_shown_from_its_start() {
        let sql = format!("SELECT '{}'", "x".repeat(200));
        let mut spans = [span(1, 8..210)];
        let text = excerpt(&sql, &mut spans, 40, 0);
        assert!(text.chars().count() <= 36, "{text}");
        assert!(pointed(&text, &spans[0]).starts_with("'xxx"), "{text}");
    }

    #[test]
    fn any_span_is_no_panic() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..5_000 {
            let alphabet: Vec<char> = "a\n\t名é ".chars().collect();
            let sql: String = (0..random.usize(..200))
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let mut at = || Location {
                line: random.u64(0..5),
                column: random.u64(0..250),
            };
            let mut spans = [(); 2].map(|()| Span {
                start: at(),
                end: at(),
            });
            let columns = random.usize(..80);
            let text = excerpt(&sql, &mut spans, columns, random.usize(..30));
            let lines = text.split('\n').count();
            assert_eq!(lines, sql.split('\n').count(), "seed {seed}");
        }
    }
}
