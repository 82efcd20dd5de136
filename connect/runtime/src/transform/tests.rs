//! Each step on schemaless and schema'd records; predicates; the chain's order.

use std::sync::Arc;

use connect_api::{Schema, SchemaType, Struct, Text, Value};
use connect_sandbox::SandboxConfig;

use super::*;

fn sandbox() -> Sandbox {
    Sandbox::new(SandboxConfig::default()).unwrap()
}

fn chain(entries: &[(&str, &str)]) -> Result<Chain, ConnectError> {
    let config = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Chain::build(&config, &sandbox())
}

fn run(entries: &[(&str, &str)], record: Record) -> Result<Vec<Record>, ConnectError> {
    let output = chain(entries)?.apply(vec![Traced { origin: 0, record }])?;
    match output.failures.into_iter().next() {
        Some(failure) => Err(failure.error),
        None => Ok(output
            .records
            .into_iter()
            .map(|traced| traced.record)
            .collect()),
    }
}

fn json(text: &str) -> Record {
    let mut record = Record::new(
        "flights",
        Value::Null,
        Value::json(Text::from(text)).unwrap(),
    );
    record.timestamp = Some(5);
    record
}

fn structured() -> Record {
    let schema = Arc::new(Schema::structure(vec![
        ("id", Schema::new(SchemaType::Int64)),
        ("name", Schema::new(SchemaType::String).optional()),
    ]));
    let mut record = Record::new("rows", Value::Null, Value::Null);
    record.value_schema = Some(Arc::clone(&schema));
    record.value = Value::Struct(Struct::new(schema, vec![Value::Int64(1), Value::text("a")]));
    record
}

/// Topic, key and value of the one record that comes out.
fn shown(entries: &[(&str, &str)], record: Record) -> String {
    let records = run(entries, record).unwrap();
    let [record] = records.as_slice() else {
        panic!("one record comes out, not {records:?}")
    };
    format!(
        "{} {} {}",
        record.topic,
        record.key.to_json(),
        record.value.to_json()
    )
}

const INSERT: &[(&str, &str)] = &[
    ("transforms", "a"),
    (
        "transforms.a.type",
        "org.apache.kafka.connect.transforms.InsertField$Value",
    ),
    ("transforms.a.topic.field", "topic!"),
    ("transforms.a.timestamp.field", "at"),
    ("transforms.a.static.field", "from"),
    ("transforms.a.static.value", "file"),
];

#[test]
fn insert_field_with_and_without_schema() {
    assert_eq!(
        shown(INSERT, json(r#"{"a":1}"#)),
        r#"flights null {"a":1,"topic":"flights","at":5,"from":"file"}"#
    );
    let records = run(INSERT, structured()).unwrap();
    let schema = records[0].value_schema.as_ref().unwrap();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| (&*field.name, field.schema.optional))
        .collect();
    assert_eq!(
        fields,
        [
            ("id", false),
            ("name", true),
            ("topic", false),
            ("from", true)
        ]
    );
    assert_eq!(records[0].value.field("from"), Some(&Value::text("file")));
    let tombstone = Record::new("flights", Value::Null, Value::Null);
    assert_eq!(run(INSERT, tombstone.clone()).unwrap(), [tombstone]);
}

#[test]
fn replace_extract_hoist_and_value_to_key() {
    let replace = [
        ("transforms", "a"),
        ("transforms.a.type", "ReplaceField$Value"),
        ("transforms.a.exclude", "b"),
        ("transforms.a.renames", "a:x"),
    ];
    assert_eq!(
        shown(&replace, json(r#"{"a":1,"b":2,"c":3}"#)),
        r#"flights null {"x":1,"c":3}"#
    );
    let extract = [
        ("transforms", "a"),
        ("transforms.a.type", "ExtractField$Value"),
        ("transforms.a.field", "name"),
    ];
    assert_eq!(shown(&extract, structured()), "rows null \"a\"");
    assert_eq!(shown(&extract, json(r#"{"a":1}"#)), "flights null null");
    let hoist = [
        ("transforms", "a"),
        ("transforms.a.type", "HoistField$Value"),
        ("transforms.a.field", "row"),
    ];
    assert_eq!(
        shown(&hoist, json(r#"{"a":1}"#)),
        r#"flights null {"row":{"a":1}}"#
    );
    assert!(run(&hoist, structured()).unwrap()[0].value_schema.is_some());
    let key = [
        ("transforms", "k,e"),
        ("transforms.k.type", "ValueToKey"),
        ("transforms.k.fields", "b"),
        ("transforms.e.type", "ExtractField$Key"),
        ("transforms.e.field", "b"),
    ];
    assert_eq!(
        shown(&key, json(r#"{"a":1,"b":"k"}"#)),
        r#"flights "k" {"a":1,"b":"k"}"#
    );
    let error = run(&key, json(r#"{"a":1}"#)).unwrap_err();
    assert_eq!(
        error,
        ConnectError::Data("Field does not exist: b".to_owned())
    );
    let error = run(&replace, json("[1]")).unwrap_err().to_string();
    assert!(
        error.contains("Only Struct or Map objects supported for [field replacement]"),
        "{error}"
    );
}

#[test]
fn router_and_filter_by_predicate() {
    let router = [
        ("transforms", "r"),
        ("transforms.r.type", "RegexRouter"),
        ("transforms.r.regex", "(fli)(.*)"),
        ("transforms.r.replacement", "$2_$1x"),
    ];
    assert_eq!(shown(&router, json("1")), "ghts_flix null 1");
    assert_eq!(
        run(&router, structured()).unwrap()[0].topic.as_ref(),
        "rows"
    );
    let filter = |negate: &'static str| {
        [
            ("transforms", "f"),
            ("transforms.f.type", "Filter"),
            ("transforms.f.predicate", "p"),
            ("transforms.f.negate", negate),
            ("predicates", "p"),
            (
                "predicates.p.type",
                "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone",
            ),
        ]
    };
    assert_eq!(run(&filter("false"), json("1")).unwrap().len(), 1);
    assert_eq!(run(&filter("true"), json("1")).unwrap().len(), 0);
}

#[test]
fn a_predicate_keeps_the_order_of_records() {
    let mut chain = chain(&[
        ("transforms", "a"),
        ("transforms.a.type", "InsertField$Value"),
        ("transforms.a.static.field", "x"),
        ("transforms.a.static.value", "y"),
        ("transforms.a.predicate", "p"),
        ("predicates", "p"),
        ("predicates.p.type", "TopicNameMatches"),
        ("predicates.p.pattern", "b.*"),
    ])
    .unwrap();
    let records = ["a1", "b1", "a2", "b2", "b3"]
        .iter()
        .zip(0..)
        .map(|(topic, origin)| {
            let mut record = json("{}");
            record.topic = (*topic).into();
            Traced { origin, record }
        })
        .collect();
    let output = chain.apply(records).unwrap();
    let shown: Vec<String> = output
        .records
        .iter()
        .map(|traced| format!("{}{}", traced.record.topic, traced.record.value.to_json()))
        .collect();
    assert_eq!(
        shown,
        [
            "a1{}",
            r#"b1{"x":"y"}"#,
            "a2{}",
            r#"b2{"x":"y"}"#,
            r#"b3{"x":"y"}"#
        ]
    );
}

#[test]
fn wrong_chains_name_the_full_key() {
    for (entries, key) in [
        (
            &[("transforms", "a"), ("transforms.a.type", "Nope")][..],
            "transforms.a.type",
        ),
        (
            &[
                ("transforms", "a"),
                ("transforms.a.type", "InsertField$Value"),
            ][..],
            "transforms.a.topic.field",
        ),
        (
            &[("transforms", "a"), ("transforms.a.type", "Filter")][..],
            "transforms.a.predicate",
        ),
        (
            &[
                ("transforms", "a"),
                ("transforms.a.type", "wasm"),
                ("transforms.a.module", "file:/nowhere.wasm"),
            ][..],
            "transforms.a.module",
        ),
        (
            &[
                ("transforms", "a"),
                ("transforms.a.type", "RegexRouter"),
                ("transforms.a.regex", "("),
                ("transforms.a.replacement", "x"),
            ][..],
            "transforms.a.regex",
        ),
    ] {
        match chain(entries).err() {
            Some(ConnectError::Config { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}
