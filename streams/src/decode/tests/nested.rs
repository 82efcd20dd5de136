//! Lists, structs, maps and JSON documents; their parts.

use arrow::datatypes::Fields;

use super::*;
use crate::json::json_type;

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

fn record(fields: &[(&str, DataType)]) -> DataType {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    DataType::Struct(fields.iter().map(field).collect::<Fields>())
}

fn map(value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8View, false),
        Field::new("value", value, true),
    ]);
    let entries = Field::new("entries", DataType::Struct(entries), false);
    DataType::Map(Arc::new(entries), false)
}

#[test]
fn nested_columns() {
    let user = record(&[
        ("name", DataType::Utf8View),
        ("Tags", list(DataType::Utf8View)),
    ]);
    check(
        vec![
            column("user", user),
            column("counts", map(DataType::Int32)),
            column("grid", list(list(DataType::Float64))),
            column("at", DataType::Time64(TimeUnit::Microsecond)),
        ],
        &[
            (
                r#"{"user":{"name":"Zoë","tags":["a",null,"\u00e9, a long text"],"x":{"y":[1]}},"counts":{"b":1,"a":null}}"#,
                r#"{"user":{"name":"Zoë","Tags":["a",null,"é, a long text"]},"counts":{"b":1,"a":null},"grid":null,"at":null}"#,
            ),
            (
                r#"{"grid":[[1,2.5],[],null,[null]],"at":"10:00:00.5","user":{}}"#,
                r#"{"user":{"name":null,"Tags":null},"counts":null,"grid":[[1.0,2.5],[],null,[null]],"at":"10:00:00.5"}"#,
            ),
            // The last of two fields counts, and the last of two keys.
            (
                r#"{"user":{"name":"a","tags":[]},"user":{"tags":["b"],"Tags":["c"],"tags":["d"]},"counts":{"a":1,"b":2,"a":3},"grid":[[1]],"grid":[[2]]}"#,
                r#"{"user":{"name":null,"Tags":["c"]},"counts":{"b":2,"a":3},"grid":[[2.0]],"at":null}"#,
            ),
            (
                r#"{"user":{"name":"a"},"user":null,"grid":[[1]],"grid":null}"#,
                r#"{"user":null,"counts":null,"grid":null,"at":null}"#,
            ),
            (
                r#"{"user":{"name":{}}}"#,
                r#"column "user" is STRUCT<name TEXT, Tags TEXT[]>, found an object: declare what it is, or JSON"#,
            ),
            (
                r#"{"user":"a"}"#,
                r#"column "user" is STRUCT<name TEXT, Tags TEXT[]>, found the text "a""#,
            ),
            (
                r#"{"counts":{"a":"x"}}"#,
                r#"column "counts" is MAP<TEXT, INT>, found the text "x""#,
            ),
            (
                r#"{"grid":[[1],[x]]}"#,
                "column \"grid\": the value is not valid JSON at byte 14: expected a value, found 'x'",
            ),
            (
                r#"{"grid":[[1]"#,
                "column \"grid\": the value is not valid JSON at byte 12: expected ',' or ']', found the end",
            ),
            (
                r#"{"at":"25:00"}"#,
                r#"column "at" is TIME, "25:00" is not a time of day like "10:00:00""#,
            ),
        ],
    );
}

#[test]
fn documents_are_kept_as_they_came() {
    check(
        vec![column("j", json_type()), column("n", DataType::Int64)],
        &[
            (
                r#"{"j": {"b" : 1.50, "a":[1e400, "\u0000\n"]} ,"n":1}"#,
                r#"{"j":{"b" : 1.50, "a":[1e400, "\u0000\n"]},"n":1}"#,
            ),
            (r#"{"j":"text"}"#, r#"{"j":"text","n":null}"#),
            (r#"{"j":true}"#, r#"{"j":true,"n":null}"#),
            (r#"{"j":null}"#, r#"{"j":null,"n":null}"#),
            (
                r#"{"j":{"a":"\ud800"}}"#,
                "column \"j\": the value is not valid JSON at byte 11: expected a whole \\u escape, found '\\'",
            ),
            (
                "{\"j\":[\"a\tb\"]}",
                "column \"j\": the value is not valid JSON at byte 8: expected no bare control character in a string, found byte 0x09",
            ),
            (
                r#"{"j":[01]}"#,
                "column \"j\": the value is not valid JSON at byte 7: expected no digit behind a leading 0, found '1'",
            ),
        ],
    );
    let deep = format!("{{\"j\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let mut decoder = Decoder::new(&spec(vec![column("j", json_type())])).unwrap();
    assert_eq!(
        outcome(&mut decoder, deep.as_bytes()),
        "the value nests deeper than 128 levels at byte 133"
    );
}

/// A small text must not become much memory: an empty object in a list is as many cells as its struct has fields.
#[test]
fn lists_end_at_a_number_of_cells() {
    let names: Vec<String> = (0..1000).map(|field| format!("f{field}")).collect();
    let fields: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), DataType::Int64))
        .collect();
    let mut decoder = Decoder::new(&spec(vec![column("l", list(record(&fields)))])).unwrap();
    let of = |elements: usize| format!("{{\"l\":[{}{{}}]}}", "{},".repeat(elements - 1));
    let decoded = decoder.decode(&records(&[Some(of(1000).as_bytes())]));
    assert_eq!(decoded.errors, []);
    let reason = outcome(&mut decoder, of(2000).as_bytes());
    assert!(
        reason.ends_with("a list or map has too many elements at byte 3150"),
        "{reason}"
    );
}

fn random_text(random: &mut fastrand::Rng) -> String {
    const PARTS: [&str; 22] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "1",
        "-0.5e-3",
        "true",
        "false",
        "null",
        " ",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"é\"",
        "\"\\x\"",
        "01",
        "\"",
        "\u{1}",
    ];
    (0..random.usize(1..12))
        .map(|_| *random.choice(&PARTS).unwrap())
        .collect()
}

fn random_value(random: &mut fastrand::Rng, levels: usize) -> serde_json::Value {
    use serde_json::{Value, json};
    match random.u8(..if levels == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.i32(-9..9)),
        3 => json!(f64::from(random.i32(-99..99)) / 8.0),
        4 => json!(random.choice(["", "a", "é\n\"\\", "\u{0}"]).unwrap()),
        5 => (0..random.usize(..4))
            .map(|_| random_value(random, levels - 1))
            .collect(),
        _ => Value::Object(
            (0..random.usize(..4))
                .map(|at| {
                    (
                        ["a", "b", "é\"", "0"][at].to_owned(),
                        random_value(random, levels - 1),
                    )
                })
                .collect(),
        ),
    }
}

#[test]
fn what_is_json_is_what_serde_json_takes() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20_000 {
        let text = random_text(&mut random);
        // A number that no float holds is JSON all the same.
        let taken = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => true,
            Err(error) => error.to_string().starts_with("number out of range"),
        };
        assert_eq!(is_json_text(&text), taken, "{text:?}");
    }
}

#[test]
fn parts_are_those_that_serde_json_finds() {
    use serde_json::Value;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..3_000 {
        let value = random_value(&mut random, 3);
        let text = if random.bool() {
            value.to_string()
        } else {
            serde_json::to_string_pretty(&value).unwrap()
        };
        assert!(is_json_text(&text));
        let read =
            |part: Option<&str>| part.map(|part| serde_json::from_str::<Value>(part).unwrap());
        for name in ["a", "é\"", "0", "none"] {
            assert_eq!(
                read(json_field(&text, name)),
                value.get(name).cloned(),
                "{text}"
            );
        }
        let elements = value.as_array().map_or(&[][..], Vec::as_slice);
        for index in -5..5_i64 {
            let at = if index < 0 {
                index + elements.len() as i64
            } else {
                index
            };
            let expected = usize::try_from(at).ok().and_then(|at| elements.get(at));
            assert_eq!(
                read(json_element(&text, index)),
                expected.cloned(),
                "{text}"
            );
        }
        assert_eq!(json_string(&text).as_deref(), value.as_str(), "{text}");
        assert_eq!(json_elements(&text).count(), elements.len());
        let fields = value.as_object().map_or(0, serde_json::Map::len);
        assert_eq!(json_fields(&text).count(), fields, "{text}");
    }
}
