//! Documents that are changed, and looked at as a whole: PostgreSQL's `jsonb_set` and its kin, ksqlDB's `json_keys` and its
//! kin, and `IS JSON`. What is not changed stays as it is written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use streams::{is_json_text, json_elements, json_fields, json_string};

use super::function::type_of;
use super::path::{Step, text_array};
use crate::plan::scalar::Takes::{Bool, Document, Path, Text, TextOrInt};
use crate::plan::scalar::{Answer, Line, Value, boolean, entries, json, line, text, texts};

/// The functions.
pub(in crate::plan) const EDITS: &[Line] = &[
    line("jsonb_set", &[Document, Path, Document, Bool], json, set).optional(1),
    line(
        "jsonb_insert",
        &[Document, Path, Document, Bool],
        json,
        insert,
    )
    .optional(1),
    line("jsonb_delete_path", &[Document, Path], json, delete_path),
    line("jsonb_delete", &[Document, TextOrInt], json, delete),
    line("json_concat", &[Document, Document], json, concat).repeats(),
    line("json_strip_nulls", &[Document], json, strip_nulls),
    line("jsonb_strip_nulls", &[Document], json, strip_nulls),
    line("jsonb_pretty", &[Document], text, pretty),
    line("json_keys", &[Document], texts, keys),
    line("json_records", &[Document], entries, records),
    line("json_items", &[Document], texts, items),
    line("is_json", &[Document, Text], boolean, is_json).optional(1),
];

/// Spaces of a level of `jsonb_pretty`.
const INDENT: usize = 4;

fn document<'a>(args: &[Value<'a>], place: usize) -> Result<&'a str, String> {
    let value = args.get(place).copied().unwrap_or(Value::Null);
    value.document().map(str::trim)
}

fn flag(args: &[Value<'_>], default: bool) -> bool {
    match args.get(3) {
        Some(Value::Bool(flag)) => *flag,
        _ => default,
    }
}

/// The steps of a way; `None`: one of them is NULL.
fn steps_of(value: Option<&Value<'_>>) -> Result<Option<Vec<String>>, String> {
    let name = |step: Step| match step {
        Step::Any(name) | Step::Field(name) => name,
        Step::Element(index) => index.to_string(),
    };
    match value {
        Some(Value::Text(path)) => {
            let steps = text_array(path).map_err(|error| error.message)?;
            Ok(Some(steps.into_iter().map(name).collect()))
        }
        Some(Value::Texts(texts, from, to)) => {
            let texts = texts.iter().skip(*from).take(to - from);
            Ok(texts.map(|text| text.map(str::to_owned)).collect())
        }
        _ => Ok(None),
    }
}

fn object(fields: &[(Cow<'_, str>, Cow<'_, str>)]) -> String {
    let fields = fields.iter();
    let fields = fields.map(|(name, value)| format!("{}: {value}", quoted(name)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

fn array(elements: &[Cow<'_, str>]) -> String {
    format!("[{}]", elements.join(", "))
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

fn fields_of(document: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut fields: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in json_fields(document) {
        fields.push((name, Cow::Borrowed(value.trim())));
    }
    fields
}

fn elements_of(document: &str) -> Vec<Cow<'_, str>> {
    let elements = json_elements(document);
    elements
        .map(|element| Cow::Borrowed(element.trim()))
        .collect()
}

/// Where a step leads in an array of so many: before its first element (`Err(false)`), behind its last (`Err(true)`), or to one.
fn index(step: &str, place: usize, length: usize) -> Result<Result<usize, bool>, String> {
    let index: i64 = step.trim().parse().map_err(|_| {
        format!("'{step}', step {place} of the path, is no number, and there it is an array")
    })?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_start = if index < 0 { length + index } else { index };
    Ok(match from_start {
        index if index < 0 => Err(false),
        index if index >= length => Err(true),
        index => Ok(usize::try_from(index).unwrap_or(usize::MAX)),
    })
}

/// What is done at the end of a way.
#[derive(Clone, Copy)]
enum Edit<'a> {
    /// The value is put there; `create`: where none is, too.
    Set {
        new: &'a str,
        create: bool,
    },
    /// The value is put beside an element, or into an object that has none of its name.
    Insert {
        new: &'a str,
        after: bool,
    },
    Delete,
}

fn edited(
    document: &str,
    steps: &[String],
    place: usize,
    edit: Edit<'_>,
) -> Result<String, String> {
    let Some(step) = steps.get(place) else {
        return Ok(document.to_owned());
    };
    let last = place + 1 == steps.len();
    match type_of(document) {
        "object" => {
            let mut fields = fields_of(document);
            let found = fields.iter().rposition(|(name, _)| *name == *step);
            match (found, edit) {
                (Some(at), _) if !last => {
                    let below = edited(&fields[at].1, steps, place + 1, edit)?;
                    fields[at].1 = Cow::Owned(below);
                }
                (Some(_), Edit::Delete) => fields.retain(|(name, _)| *name != *step),
                (Some(at), Edit::Set { new, .. }) => fields[at].1 = Cow::Borrowed(new),
                (Some(_), Edit::Insert { .. }) => {
                    return Err(format!(
                        "there is a field {step} already: jsonb_set replaces it"
                    ));
                }
                (None, Edit::Set { new, create: true } | Edit::Insert { new, .. }) if last => {
                    fields.push((Cow::Borrowed(step), Cow::Borrowed(new)));
                }
                (None, _) => return Ok(document.to_owned()),
            }
            Ok(object(&fields))
        }
        "array" => {
            let mut elements = elements_of(document);
            let found = index(step, place + 1, elements.len())?;
            match (found, edit) {
                (Ok(at), _) if !last => {
                    let below = edited(&elements[at], steps, place + 1, edit)?;
                    elements[at] = Cow::Owned(below);
                }
                (Ok(at), Edit::Delete) => drop(elements.remove(at)),
                (Ok(at), Edit::Set { new, .. }) => elements[at] = Cow::Borrowed(new),
                (Ok(at), Edit::Insert { new, after }) => {
                    elements.insert(at + usize::from(after), Cow::Borrowed(new));
                }
                (Err(end), Edit::Set { new, create: true } | Edit::Insert { new, .. }) if last => {
                    let at = if end { elements.len() } else { 0 };
                    elements.insert(at, Cow::Borrowed(new));
                }
                (Err(_), _) => return Ok(document.to_owned()),
            }
            Ok(array(&elements))
        }
        _ if place > 0 => Ok(document.to_owned()),
        kind => Err(format!("a JSON {kind} has no fields or elements")),
    }
}

fn changed<'a>(args: &[Value<'a>], edit: Edit<'a>) -> Result<Answer<'a>, String> {
    let document = document(args, 0)?;
    let Some(steps) = steps_of(args.get(1))? else {
        return Ok(Answer::Null);
    };
    edited(document, &steps, 0, edit).map(Answer::text)
}

fn set<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let (new, create) = (document(args, 2)?, flag(args, true));
    changed(args, Edit::Set { new, create })
}

fn insert<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let (new, after) = (document(args, 2)?, flag(args, false));
    changed(args, Edit::Insert { new, after })
}

fn delete_path<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    changed(args, Edit::Delete)
}

/// `j - 'a'`, `j - 0`: without a field, an element, or all elements that are this text.
fn delete<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let from = document(args, 0)?;
    match (args.get(1), type_of(from)) {
        (Some(Value::Int(_)), "object") => {
            Err("an object has no elements: name its field as a text".to_owned())
        }
        (Some(Value::Int(index)), "array") => {
            let step = [index.to_string()];
            edited(from, &step, 0, Edit::Delete).map(Answer::text)
        }
        (Some(Value::Text(name)), "object") => {
            let step = [(*name).to_owned()];
            edited(from, &step, 0, Edit::Delete).map(Answer::text)
        }
        (Some(Value::Text(text)), "array") => {
            let mut elements = elements_of(from);
            elements.retain(|element| json_string(element).as_deref() != Some(*text));
            Ok(Answer::text(array(&elements)))
        }
        (_, kind) => Err(format!("a JSON {kind} has no fields or elements")),
    }
}

/// Objects into one, of whose fields the last count, arrays one behind the other; else what is no array as one of one element.
fn concat<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let documents = (0..args.len()).map(|place| document(args, place));
    let documents = documents.collect::<Result<Vec<_>, _>>()?;
    if documents
        .iter()
        .all(|document| type_of(document) == "object")
    {
        let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
        let mut values: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for (name, value) in documents.iter().flat_map(|document| fields_of(document)) {
            let at = *places.entry(name.clone()).or_insert(values.len());
            match values.get_mut(at) {
                Some(known) => known.1 = value,
                None => values.push((name, value)),
            }
        }
        return Ok(Answer::text(object(&values)));
    }
    let elements = documents
        .iter()
        .flat_map(|document| match type_of(document) {
            "array" => elements_of(document),
            _ => vec![Cow::Borrowed(*document)],
        });
    Ok(Answer::text(array(&elements.collect::<Vec<_>>())))
}

fn strip_nulls<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    Ok(Answer::text(stripped(document(args, 0)?)))
}

/// Without fields that are null, at any depth.
fn stripped(document: &str) -> String {
    match type_of(document) {
        "object" => {
            let mut fields = fields_of(document);
            fields.retain(|(_, value)| value != "null");
            for (_, value) in &mut fields {
                *value = Cow::Owned(stripped(value));
            }
            object(&fields)
        }
        "array" => {
            let elements = json_elements(document);
            let elements = elements.map(|element| Cow::Owned(stripped(element.trim())));
            array(&elements.collect::<Vec<_>>())
        }
        _ => document.to_owned(),
    }
}

fn pretty<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let mut out = String::new();
    write_pretty(document(args, 0)?, 0, &mut out);
    Ok(Answer::text(out))
}

fn write_pretty(document: &str, level: usize, out: &mut String) {
    let (open, close) = match type_of(document) {
        "object" => ('{', '}'),
        "array" => ('[', ']'),
        _ => {
            out.push_str(document);
            return;
        }
    };
    out.push(open);
    let members = fields_of(document).into_iter();
    let members = members.map(|(name, value)| (Some(name), value));
    let elements = elements_of(document).into_iter();
    let members = members.chain(elements.map(|element| (None, element)));
    for (place, (name, value)) in members.enumerate() {
        out.push_str(if place > 0 { ",\n" } else { "\n" });
        let indent = INDENT * (level + 1);
        // A text takes what is written.
        let _ = write!(out, "{:indent$}", "");
        if let Some(name) = name {
            out.push_str(&quoted(&name));
            out.push_str(": ");
        }
        write_pretty(&value, level + 1, out);
    }
    let indent = INDENT * level;
    let _ = write!(out, "\n{:indent$}{close}", "");
}

/// ksqlDB's: the names of an object's fields; NULL for anything else.
fn keys<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let document = document(args, 0)?;
    Ok(match type_of(document) {
        "object" => Answer::Texts(json_fields(document).map(|(name, _)| name).collect()),
        _ => Answer::Null,
    })
}

/// ksqlDB's: an object's fields as a map of names and JSON; NULL for anything else.
fn records<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let document = document(args, 0)?;
    if type_of(document) != "object" {
        return Ok(Answer::Null);
    }
    let mut entries: Vec<(Cow<'a, str>, Option<&'a str>)> = Vec::new();
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    for (name, value) in json_fields(document) {
        let at = *places.entry(name.clone()).or_insert(entries.len());
        match entries.get_mut(at) {
            Some(known) => known.1 = Some(value.trim()),
            None => entries.push((name, Some(value.trim()))),
        }
    }
    Ok(Answer::Entries(entries))
}

/// ksqlDB's: the elements of an array as JSON; NULL for anything else.
fn items<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let document = document(args, 0)?;
    Ok(match type_of(document) {
        "array" => Answer::Texts(elements_of(document)),
        _ => Answer::Null,
    })
}

/// `x IS JSON`, whose kind is told by a second argument.
fn is_json<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let document = match args.first() {
        Some(Value::Json(document)) => Some(*document),
        Some(Value::Text(text)) => Some(*text).filter(|text| is_json_text(text)),
        _ => return Ok(Answer::Null),
    };
    let kind = document.map(|document| type_of(document.trim()));
    let kinds = match args.get(1) {
        Some(Value::Text(kind)) => kind.to_uppercase(),
        _ => "VALUE".to_owned(),
    };
    Ok(Answer::Bool(match kinds.as_str() {
        "VALUE" => kind.is_some(),
        "OBJECT" => kind == Some("object"),
        "ARRAY" => kind == Some("array"),
        "SCALAR" => kind.is_some_and(|kind| !matches!(kind, "object" | "array")),
        other => {
            return Err(format!(
                "'{other}' is no kind of JSON: VALUE, OBJECT, ARRAY and SCALAR are"
            ));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(answer: Result<Answer<'_>, String>) -> String {
        match answer {
            Ok(Answer::Text(text)) => text.into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The answers are PostgreSQL's, whose fields are in another order.
    #[test]
    fn documents_are_changed_at_the_end_of_a_way() {
        let given = r#"{"a": [1, {"b": 2.50}], "c": null}"#;
        for (path, set_there) in [
            ("{a,0}", r#"{"a": [9, {"b": 2.50}], "c": null}"#),
            ("{a,-1,b}", r#"{"a": [1, {"b": 9}], "c": null}"#),
            ("{a,5}", r#"{"a": [1, {"b": 2.50}, 9], "c": null}"#),
            ("{a,-5}", r#"{"a": [9, 1, {"b": 2.50}], "c": null}"#),
            ("{d}", r#"{"a": [1, {"b": 2.50}], "c": null, "d": 9}"#),
            ("{d,e}", given),
            ("{c,e}", given),
            ("{}", given),
        ] {
            let args = [Value::Json(given), Value::Text(path), Value::Text("9")];
            assert_eq!(text_of(set(&args)), set_there, "{path}");
        }
        let args = [Value::Json(given), Value::Text("{a,x}"), Value::Text("9")];
        assert!(set(&args).is_err());
        let inserted = |path, after| {
            let args = [Value::Json("[1, 2]"), Value::Text(path), Value::Text("9")];
            let mut args = args.to_vec();
            args.push(Value::Bool(after));
            text_of(insert(&args))
        };
        assert_eq!(inserted("{0}", false), "[9, 1, 2]");
        assert_eq!(inserted("{-1}", true), "[1, 2, 9]");
        let deleted = |path| text_of(delete_path(&[Value::Json(given), Value::Text(path)]));
        assert_eq!(deleted("{a,1,b}"), r#"{"a": [1, {}], "c": null}"#);
        assert_eq!(deleted("{x}"), given);
        assert_eq!(
            text_of(strip_nulls(&[Value::Text(
                r#"{"a":null,"b":[null,{"c":null}]}"#
            )])),
            r#"{"b": [null, {}]}"#
        );
        let pretty = text_of(pretty(&[Value::Text(r#"{"a":[1,{}]}"#)]));
        assert_eq!(
            pretty,
            "{\n    \"a\": [\n        1,\n        {\n        }\n    ]\n}"
        );
    }

    #[test]
    fn documents_are_joined() {
        let joined = |one, other| text_of(concat(&[Value::Text(one), Value::Text(other)]));
        for (one, other, both) in [
            (r#"{"a": 1, "b": 2}"#, r#"{"b": 3}"#, r#"{"a": 1, "b": 3}"#),
            ("[1]", "[2, 3]", "[1, 2, 3]"),
            ("[1]", "2", "[1, 2]"),
            (r#"{"a": 1}"#, "[2]", r#"[{"a": 1}, 2]"#),
        ] {
            assert_eq!(joined(one, other), both);
        }
        let gone = |from, what| text_of(delete(&[Value::Json(from), what]));
        assert_eq!(gone(r#"{"a": 1, "b": 2}"#, Value::Text("a")), r#"{"b": 2}"#);
        assert_eq!(gone(r#"["a", 1, "a"]"#, Value::Text("a")), "[1]");
        assert_eq!(gone("[1, 2]", Value::Int(-1)), "[1]");
    }

    #[test]
    fn texts_are_told_from_documents() {
        let told = |text, kind| is_json(&[Value::Text(text), Value::Text(kind)]);
        for (text, kind, is_one) in [
            ("1", "VALUE", true),
            ("1", "SCALAR", true),
            ("{}", "object", true),
            ("[]", "OBJECT", false),
            ("{", "VALUE", false),
            ("", "SCALAR", false),
        ] {
            assert_eq!(told(text, kind), Ok(Answer::Bool(is_one)), "{text} {kind}");
        }
    }
}
