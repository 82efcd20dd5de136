//! Ways into a document: a list of steps, written as PostgreSQL's `{a,0,b}` or as a JSON path `$.a[0].b`.

use streams::{json_element, json_field};

use crate::diagnostic::{Code, Diagnostic};

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A field of an object; of an array the element of that number.
    Any(String),
    /// A field of an object.
    Field(String),
    /// An element of an array.
    Element(i64),
}

/// The part of `document` that the steps lead to.
pub(super) fn follow<'a>(document: &'a str, steps: &[Step]) -> Option<&'a str> {
    let down = |document: &'a str, step: &Step| match step {
        Step::Field(name) => json_field(document, name),
        Step::Element(index) => json_element(document, *index),
        Step::Any(name) => match document.trim_start().starts_with('[') {
            true => json_element(document, name.trim().parse().ok()?),
            false => json_field(document, name),
        },
    };
    steps.iter().try_fold(document.trim(), down)
}

/// The steps of `$.a."b c"['d'][0]`, perhaps behind `lax` or `strict`.
///
/// # Errors
/// What stands at the first place that is not understood.
pub(super) fn json_path(text: &str) -> Result<Vec<Step>, Diagnostic> {
    let wrong = |rest: &str| {
        let at = text.chars().count() - rest.chars().count() + 1;
        let found = rest
            .chars()
            .next()
            .map_or("the end".to_owned(), |char| format!("'{char}'"));
        Diagnostic::new(
            Code::Row,
            format!("JSON path '{text}' is not understood: {found} at character {at}"),
        )
        .help("a path is $.field, $.field[0], $['field name'] and so on")
    };
    let mut rest = text.trim();
    for mode in ["lax ", "strict "] {
        rest = rest.strip_prefix(mode).unwrap_or(rest).trim_start();
    }
    rest = rest.strip_prefix('$').ok_or_else(|| wrong(rest))?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = step(rest).ok_or_else(|| wrong(rest))?;
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn step(rest: &str) -> Option<(Step, &str)> {
    if let Some(name) = rest.strip_prefix('.') {
        if let Some(quoted) = name.strip_prefix('"') {
            let (name, after) = quoted.split_once('"')?;
            return Some((Step::Field(name.to_owned()), after));
        }
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        let plain = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '$' | '@');
        let known = !name.is_empty() && name.chars().all(plain);
        return known.then(|| (Step::Field(name.to_owned()), after));
    }
    let inside = rest.strip_prefix('[')?.trim_start();
    if let Some(quote @ ('\'' | '"')) = inside.chars().next() {
        let (name, after) = inside[1..].split_once(quote)?;
        let after = after.trim_start().strip_prefix(']')?;
        return Some((Step::Field(name.to_owned()), after));
    }
    let (index, after) = inside.split_once(']')?;
    let index = index.trim().parse().ok().filter(|index| *index >= 0)?;
    Some((Step::Element(index), after))
}

/// The steps of PostgreSQL's text of an array, `{a,0,"b c"}`.
///
/// # Errors
/// A text that is no such array.
pub(super) fn text_array(text: &str) -> Result<Vec<Step>, Diagnostic> {
    let wrong = || {
        Diagnostic::new(
            Code::Row,
            format!("'{text}' is no path: '{{a,0,b}}' is one"),
        )
    };
    let inside = text
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inside.ok_or_else(wrong)?.trim();
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = unquote(quoted).ok_or_else(wrong)?;
            steps.push(Step::Any(name));
            after.trim_start()
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.trim().is_empty() || name.contains(['{', '}', '"']) {
                return Err(wrong());
            }
            steps.push(Step::Any(name.trim().to_owned()));
            after
        };
        rest = match after.strip_prefix(',') {
            Some(next) if next.trim().is_empty() => return Err(wrong()),
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Err(wrong()),
        };
    }
    Ok(steps)
}

/// A name up to its closing quote, and what follows; `\` stands before a quote or another `\`.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((name, &text[at + 1..])),
            '\\' => name.push(chars.next()?.1),
            other => name.push(other),
        }
    }
    None
}
