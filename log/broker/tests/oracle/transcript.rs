//! Answers as they are kept in `answers/`: one entry a case and range of versions with the same answer.
//!
//! ```text
//! acks 2, 9-13: {responses=[…]}
//!   [a further line of the same answer]
//! ```

use std::fmt::Write;
use std::ops::RangeInclusive;

use super::talk::Line;

/// Writes the lines of one conversation.
pub(super) fn write(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut rest = lines;
    while let Some((first, mut after)) = rest.split_first() {
        let mut last = first.version;
        while let Some((next, behind)) = after.split_first()
            && next.case == first.case
            && next.answer == first.answer
            && Some(next.version) == last.checked_add(1)
        {
            last = next.version;
            after = behind;
        }
        let _ = write!(text, "{}, {}", first.case, first.version);
        if last > first.version {
            let _ = write!(text, "-{last}");
        }
        let _ = writeln!(text, ": {}", first.answer);
        rest = after;
    }
    text
}

/// Reads what [`write`] wrote.
pub(super) fn read(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut entry = 0;
    for line in text.lines() {
        if line.starts_with(' ') {
            for one in &mut lines[entry..] {
                one.answer.push('\n');
                one.answer.push_str(line);
            }
            continue;
        }
        entry = lines.len();
        let mut ends = line.match_indices(": ").map(|(at, _)| at);
        let found = ends.find_map(|at| {
            let (case, versions) = line[..at].rsplit_once(", ")?;
            Some((case, versions_of(versions)?, &line[at + 2..]))
        });
        let (case, versions, answer) = found.expect("an entry has versions and an answer");
        for version in versions {
            lines.push(Line {
                case: case.to_owned(),
                version,
                answer: answer.to_owned(),
            });
        }
    }
    lines
}

/// Of `3` or `3-9`.
fn versions_of(text: &str) -> Option<RangeInclusive<i16>> {
    if let Ok(version) = text.parse() {
        return Some(version..=version);
    }
    // The first may be below zero itself.
    let (middle, _) = text.char_indices().skip(1).find(|(_, one)| *one == '-')?;
    let (first, last) = (&text[..middle], &text[middle + 1..]);
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[test]
fn what_is_written_is_read_again() {
    let line = |case: &str, version, answer: &str| Line {
        case: case.to_owned(),
        version,
        answer: answer.to_owned(),
    };
    let lines = [
        line("a, b", 3, "{x=\"y: z\"}"),
        line("a, b", 4, "{x=\"y: z\"}"),
        line("a, b", 5, "[\n  {}\n  {}]"),
        line("c (2)", 0, "closed"),
        line("d: 1, e: f", -1, "closed"),
        line("d: 1, e: f", 0, "closed"),
        line("e", i16::MAX, "closed"),
        line("e", i16::MIN, "closed"),
    ];
    let text = write(&lines);
    assert!(text.starts_with("a, b, 3-4: "), "{text}");
    assert_eq!(read(&text), lines);
}
