//! Operators against PostgreSQL's own answers (`postgres.ndjson`: operator, document, right side, answer as text; made with
//! PostgreSQL 15), functions against what their standards say.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::util::display::array_value_to_string;
use serde_json::Value;
use streams::json_texts;

use super::function::{FUNCTIONS, JsonFunction, Kind};
use super::*;

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringViewArray::from(values.to_vec()))
}

/// The value of a function for one row.
fn value(kind: Kind, args: &[ArrayRef]) -> Result<Option<String>, String> {
    let name = FUNCTIONS
        .iter()
        .find(|(other, ..)| *other == kind)
        .unwrap()
        .1;
    let values = JsonFunction::new(kind, name)
        .values(args, 1)
        .map_err(|error| match error {
            DataFusionError::External(error) => error.to_string(),
            other => other.to_string(),
        })?;
    if let Some(texts) = json_texts(&values) {
        return Ok(values.is_valid(0).then(|| texts.value(0).to_owned()));
    }
    Ok(values
        .is_valid(0)
        .then(|| array_value_to_string(&values, 0).unwrap()))
}

#[test]
fn operators_have_the_values_of_postgresql() {
    let mut cases = 0;
    for line in include_str!("postgres.ndjson").lines() {
        let case: (String, String, String, Option<String>) = serde_json::from_str(line).unwrap();
        let (op, document, right, expected) = case;
        let kind = match op.trim_end_matches('i') {
            "->" => Kind::Get,
            "->>" => Kind::GetText,
            "#>" => Kind::Path,
            "#>>" => Kind::PathText,
            "typeof" => Kind::TypeOf,
            "?" => Kind::HasKey,
            "@>" => Kind::Contains,
            other => panic!("{other}"),
        };
        let document = documents(&texts(&[Some(&document)])).unwrap();
        let right_side: ArrayRef = if op.ends_with("i") && op != "typeof" {
            Arc::new(Int64Array::from(vec![right.parse::<i64>().unwrap()]))
        } else {
            texts(&[Some(&right)])
        };
        let args = match kind {
            Kind::TypeOf => vec![document],
            _ => vec![document, right_side],
        };
        let found = value(kind, &args).unwrap();
        // PostgreSQL's jsonb does not show the space around a document.
        assert_eq!(
            found.as_deref().map(str::trim),
            expected.as_deref().map(str::trim),
            "{line}"
        );
        cases += 1;
    }
    assert!(cases > 1_500, "{cases}");
}

#[test]
fn paths_of_other_systems() {
    let document = r#"{"user": {"name": "Zoë", "first name": "Z", "tags": ["a", {"b": 1}]}, "n": null, "o": 2.50}"#;
    let of = |kind, path| value(kind, &[texts(&[Some(document)]), texts(&[Some(path)])]);
    for (kind, path, expected) in [
        (Kind::Value, "$.user.name", Some("Zoë")),
        (Kind::Value, "lax $.user['first name']", Some("Z")),
        (Kind::Value, "strict $.\"user\".tags[0]", Some("a")),
        (Kind::Value, "$.user.tags", None),
        (Kind::Value, "$.n", None),
        (Kind::Value, "$.o", Some("2.50")),
        (Kind::Field, "$.user.tags", Some(r#"["a", {"b": 1}]"#)),
        (Kind::Field, "$.user.tags[1].b", Some("1")),
        (Kind::Field, "$.none", None),
        (Kind::Query, "$.user.tags[1]", Some(r#"{"b": 1}"#)),
        (Kind::Query, "$", Some(document)),
        (Kind::Exists, "$.n", Some("true")),
        (Kind::Exists, "$.user.x", Some("false")),
    ] {
        assert_eq!(
            of(kind, path).unwrap().as_deref(),
            expected,
            "{kind:?} {path}"
        );
    }
    for (path, reason) in [
        (
            "user",
            "JSON path 'user' is not understood: 'u' at character 1",
        ),
        (
            "$.user.*",
            "JSON path '$.user.*' is not understood: '.' at character 7",
        ),
        (
            "$.a[x]",
            "JSON path '$.a[x]' is not understood: '[' at character 4",
        ),
        (
            "$..a",
            "JSON path '$..a' is not understood: '.' at character 2",
        ),
    ] {
        let found = of(Kind::Value, path).unwrap_err();
        assert!(found.starts_with(reason), "{found}");
    }
    let no_path = value(
        Kind::Path,
        &[texts(&[Some(document)]), texts(&[Some("a,b")])],
    );
    assert_eq!(no_path.unwrap_err(), "'a,b' is no path: '{a,0,b}' is one");
}

#[test]
fn texts_that_are_no_json_are_errors_of_their_row() {
    let bad = [texts(&[Some("{\"a\":")]), texts(&[Some("a")])];
    assert_eq!(value(Kind::Get, &bad).unwrap_err(), "'{\"a\":' is not JSON");
    assert_eq!(
        value(Kind::Parse, &bad[..1]).unwrap_err(),
        "'{\"a\":' is not JSON"
    );
    assert_eq!(
        value(Kind::Valid, &bad[..1]).unwrap().as_deref(),
        Some("false")
    );
    let deep = "[".repeat(100_000);
    assert!(value(Kind::Parse, &[texts(&[Some(&deep)])]).is_err());
    assert_eq!(
        value(Kind::Get, &[texts(&[None]), texts(&[Some("a")])]).unwrap(),
        None
    );
    assert_eq!(
        value(Kind::Get, &[texts(&[Some("{}")]), texts(&[None])]).unwrap(),
        None
    );
}

#[test]
fn values_become_documents() {
    let list = make_list(&["a", "b\"c"]);
    let built = value(
        Kind::BuildObject,
        &[
            texts(&[Some("x")]),
            Arc::new(Int64Array::from(vec![7])),
            texts(&[Some("y \"")]),
            Arc::clone(&list),
            texts(&[Some("j")]),
            documents(&texts(&[Some("[1, 2]")])).unwrap(),
        ],
    );
    let built = built.unwrap().unwrap();
    assert_eq!(built, r#"{"x" : 7, "y \"" : ["a","b\"c"], "j" : [1, 2]}"#);
    assert!(serde_json::from_str::<Value>(&built).is_ok());
    assert_eq!(
        value(Kind::ToJson, &[list]).unwrap().as_deref(),
        Some(r#"["a","b\"c"]"#)
    );
    let array = value(Kind::BuildArray, &[texts(&[Some("a")]), texts(&[None])]);
    assert_eq!(array.unwrap().as_deref(), Some(r#"["a", null]"#));
}

fn make_list(values: &[&str]) -> ArrayRef {
    let mut builder = arrow::array::ListBuilder::new(arrow::array::StringViewBuilder::new());
    for value in values {
        builder.values().append_value(value);
    }
    builder.append(true);
    let list = builder.finish();
    assert_eq!(list.values().as_string_view().len(), values.len());
    Arc::new(list)
}
