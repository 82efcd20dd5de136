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
    let output = chain(entries)?.apply(vec![Traced {
        origin: 0,
        offset: Some(41),
        record,
    }])?;
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
    ("transforms.a.offset.field", "offset"),
    ("transforms.a.static.field", "from"),
    ("transforms.a.static.value", "file"),
];

#[test]
fn insert_field_with_and_without_schema() {
    assert_eq!(
        shown(INSERT, json(r#"{"a":1}"#)),
        r#"flights null {"a":1,"topic":"flights","offset":41,"at":5,"from":"file"}"#
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
            ("offset", true),
            ("from", true)
        ]
    );
    assert_eq!(records[0].value.field("from"), Some(&Value::text("file")));
    let mut in_a_source = chain(INSERT).unwrap();
    let traced = Traced {
        origin: 0,
        offset: None,
        record: json("{}"),
    };
    let failures = in_a_source.apply(vec![traced]).unwrap().failures;
    assert!(
        failures[0]
            .error
            .to_string()
            .contains("Only SinkRecord supported")
    );
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
            Traced {
                origin,
                offset: None,
                record,
            }
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

/// One step named `a`, with these keys below it.
fn step(kind: &str, keys: &[(&str, &str)], record: Record) -> Result<Vec<Record>, ConnectError> {
    let keys = keys
        .iter()
        .map(|(key, value)| (format!("transforms.a.{key}"), (*value).to_owned()));
    let config = [("transforms", "a"), ("transforms.a.type", kind)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .chain(keys)
        .collect();
    let output = Chain::build(&config, &sandbox())?.apply(vec![Traced {
        origin: 0,
        offset: Some(41),
        record,
    }])?;
    match output.failures.into_iter().next() {
        Some(failure) => Err(failure.error),
        None => Ok(output
            .records
            .into_iter()
            .map(|traced| traced.record)
            .collect()),
    }
}

/// The value that a step makes of a schemaless one.
fn value_of(kind: &str, keys: &[(&str, &str)], text: &str) -> String {
    match step(kind, keys, json(text)) {
        Ok(records) => records[0].value.to_json().to_string(),
        Err(error) => error.to_string(),
    }
}

/// A struct of one field.
fn of_one(schema: Schema, value: Value) -> Record {
    let schema = Arc::new(Schema::structure(vec![("f", schema)]).named("row"));
    let mut record = Record::new("rows", Value::Null, Value::Null);
    record.value_schema = Some(Arc::clone(&schema));
    record.value = Value::Struct(Struct::new(schema, vec![value]));
    record
}

/// Schema and value of the field of such a struct.
fn one_of(records: Vec<Record>) -> (Schema, Value) {
    let schema = records[0].value_schema.as_ref().unwrap();
    let Value::Struct(structure) = &records[0].value else {
        panic!("a struct, not {:?}", records[0].value)
    };
    (
        (*schema.fields()[0].schema).clone(),
        structure.values()[0].clone(),
    )
}

#[test]
fn casts_are_javas() {
    let cast = |spec: &str, text: &str| value_of("Cast$Value", &[("spec", spec)], text);
    assert_eq!(
        cast(
            "a:int8,b:int32,c:string,d:boolean,e:float64,f:int64,g:string",
            r#"{"a":300,"b":1e10,"c":1.5,"d":"TRUE","e":"2.5","f":true,"g":12345678901234567890123,"h":null}"#
        ),
        r#"{"a":44,"b":2147483647,"c":"1.5","d":true,"e":2.5,"f":1,"g":"12345678901234567890123","h":null}"#
    );
    assert_eq!(cast("int32", r#""12""#), "12");
    assert!(cast("a:int8", r#"{"a":"300"}"#).contains("field a: Value (\"300\") was out of range"));
    assert!(cast("a:int8", r#"{"a":[1]}"#).contains("Unexpected type in Cast transformation"));
    assert!(cast("a:bytes", "{}").contains("does not support casting to bytes"));
    assert!(cast("int8,a:int8", "{}").contains("may ONLY specify a single cast"));

    let mut schema = Schema::new(SchemaType::String).optional();
    schema.default = Some(Value::text("7"));
    let keys = [("spec", "f:int16")];
    let (made, value) =
        one_of(step("Cast$Value", &keys, of_one(schema.clone(), Value::Null)).unwrap());
    assert_eq!(
        (made.kind, made.optional, made.default),
        (SchemaType::Int16, true, Some(Value::Int16(7)))
    );
    assert_eq!(value, Value::Int16(7), "the default stands for null");
    let keys = [("spec", "f:int16"), ("replace.null.with.default", "false")];
    let (_, value) = one_of(step("Cast$Value", &keys, of_one(schema, Value::Null)).unwrap());
    assert_eq!(value, Value::Null);
    let at = Schema::new(SchemaType::Int64).named(connect_api::logical::TIMESTAMP);
    let record = of_one(at, Value::Int64(1_357_095_845_678));
    let (_, value) = one_of(step("Cast$Value", &[("spec", "f:string")], record).unwrap());
    assert_eq!(value, Value::text("2013-01-02T03:04:05.678Z"));
}

#[test]
fn masks_are_empty_or_fixed() {
    let mask = |keys: &[(&str, &str)], text: &str| value_of("MaskField$Value", keys, text);
    let fields = ("fields", "s,n,d,b,l,m,z");
    assert_eq!(
        mask(
            &[fields],
            r#"{"s":"x","n":5,"d":1.5,"b":true,"l":[1],"m":{"a":1},"z":null,"k":1}"#
        ),
        r#"{"s":"","n":0,"d":0.0,"b":false,"l":[],"m":{},"z":null,"k":1}"#
    );
    assert_eq!(
        mask(
            &[fields, ("replacement", "9")],
            r#"{"s":"x","n":5,"d":1.5,"k":1}"#
        ),
        r#"{"s":"9","n":9,"d":9.0,"k":1}"#
    );
    let replaced = |text| mask(&[fields, ("replacement", "xxx")], text);
    assert!(replaced(r#"{"n":5}"#).contains("field n: Unable to convert xxx"));
    assert!(replaced(r#"{"b":true}"#).contains("with custom replacement"));
}

#[test]
fn nested_fields_become_flat() {
    let flat = |keys: &[(&str, &str)], text: &str| value_of("Flatten$Value", keys, text);
    assert_eq!(
        flat(&[], r#"{"a":{"b":{"c":1},"d":[{"x":1}]},"e":null,"f":{}}"#),
        r#"{"a.b.c":1,"a.d":[{"x":1}],"e":null}"#
    );
    assert_eq!(
        flat(&[("delimiter", "_")], r#"{"a":{"b":1}}"#),
        r#"{"a_b":1}"#
    );
    let inner = Schema::structure(vec![("x", Schema::new(SchemaType::Int32))]).optional();
    let records = step("Flatten$Value", &[], of_one(inner, Value::Null)).unwrap();
    let schema = records[0].value_schema.clone().unwrap();
    assert_eq!(
        (&*schema.fields()[0].name, schema.name.as_deref()),
        ("f.x", Some("row"))
    );
    let (made, value) = one_of(records);
    assert!(
        made.optional && value.is_null(),
        "what is within an optional struct is optional"
    );
}

#[test]
fn times_are_converted() {
    let convert =
        |keys: &[(&str, &str)], text: &str| value_of("TimestampConverter$Value", keys, text);
    let to = |target: &'static str| ("target.type", target);
    let format = ("format", "yyyy-MM-dd HH:mm:ss");
    assert_eq!(
        convert(
            &[to("unix"), format, ("field", "at")],
            r#"{"at":"2013-01-02 03:04:05","n":1}"#
        ),
        r#"{"at":1357095845000,"n":1}"#
    );
    assert_eq!(
        convert(
            &[to("string"), format, ("unix.precision", "microseconds")],
            "1357095845678901"
        ),
        "\"2013-01-02 03:04:05\""
    );
    assert_eq!(convert(&[to("Date")], "-1"), "-1");
    assert_eq!(convert(&[to("Time")], "86400001"), "1");
    assert_eq!(
        convert(&[to("unix"), ("field", "at")], r#"{"n":1}"#),
        r#"{"n":1}"#
    );
    assert!(convert(&[to("string")], "1").contains("requires format option"));
    assert!(convert(&[to("unix"), ("field", "at")], r#"{"at":"x"}"#).contains("needs its format"));
    assert!(
        convert(&[to("unix")], "1.5").contains("does not correspond to a known timestamp type")
    );
    let date = Schema::new(SchemaType::Int32)
        .named(connect_api::logical::DATE)
        .optional();
    let keys = [to("Timestamp"), ("field", "f")];
    let (made, value) = one_of(
        step(
            "TimestampConverter$Value",
            &keys,
            of_one(date, Value::Int32(1)),
        )
        .unwrap(),
    );
    assert_eq!(made.name.as_deref(), Some(connect_api::logical::TIMESTAMP));
    assert!(made.optional);
    assert_eq!(value, Value::Int64(86_400_000));

    let route = |keys: &[(&str, &str)]| {
        let mut record = json("1");
        record.timestamp = Some(1_357_095_845_678);
        step("TimestampRouter", keys, record).unwrap()[0]
            .topic
            .to_string()
    };
    assert_eq!(route(&[]), "flights-20130102");
    assert_eq!(
        route(&[
            ("topic.format", "${timestamp}.${topic}"),
            ("timestamp.format", "yyyy-MM")
        ]),
        "2013-01.flights"
    );
}

#[test]
fn schemas_and_headers_are_set() {
    let keys = [("schema.name", "n"), ("schema.version", "3")];
    let records = step("SetSchemaMetadata$Value", &keys, structured()).unwrap();
    let schema = records[0].value_schema.as_ref().unwrap();
    assert_eq!(
        (schema.name.as_deref(), schema.version),
        (Some("n"), Some(3))
    );
    assert!(matches!(&records[0].value, Value::Struct(structure) if structure.schema() == schema));
    assert!(value_of("SetSchemaMetadata$Value", &keys, "{}").contains("Schema required"));

    let headers = |records: Vec<Record>| -> Vec<String> {
        let shown =
            |header: &connect_api::Header| format!("{}={}", header.name, header.value.to_json());
        records[0].headers.iter().map(shown).collect()
    };
    let insert = [("header", "h"), ("value.literal", "v")];
    let mut record = step("InsertHeader", &insert, json(r#"{"a":1,"b":"x","c":2}"#))
        .unwrap()
        .remove(0);
    record = step("InsertHeader", &insert, record).unwrap().remove(0);
    let from = [
        ("fields", "a,b,no"),
        ("headers", "x,y,z"),
        ("operation", "move"),
    ];
    let records = step("HeaderFrom$Value", &from, record).unwrap();
    assert_eq!(records[0].value.to_json().as_str(), r#"{"c":2}"#);
    let dropped = step("DropHeaders", &[("headers", "h,z")], records[0].clone()).unwrap();
    assert_eq!(
        headers(records),
        ["h=\"v\"", "h=\"v\"", "x=1", "y=\"x\"", "z=null"]
    );
    assert_eq!(headers(dropped), ["x=1", "y=\"x\""]);
    let copy = [("fields", "a"), ("headers", "x"), ("operation", "copy")];
    assert_eq!(
        value_of("HeaderFrom$Value", &copy, r#"{"a":1}"#),
        r#"{"a":1}"#
    );
    let uneven = [("fields", "a,b"), ("headers", "x"), ("operation", "copy")];
    assert!(value_of("HeaderFrom$Value", &uneven, "{}").contains("same number of elements"));
}

#[test]
fn rows_come_out_of_debeziums_events() {
    let create = r#"{"before":null,"after":{"id":1,"n":"a"},"source":{"table":"t","lsn":7},"op":"c","ts_ms":5}"#;
    let delete = r#"{"before":{"id":1,"n":"a"},"after":null,"source":{"table":"t","lsn":8},"op":"d","ts_ms":6}"#;
    let kind = "io.debezium.transforms.ExtractNewRecordState";
    let shown = |keys: &[(&str, &str)], record: Record| -> String {
        let records = step(kind, keys, record).unwrap();
        let one = |record: &Record| record.value.to_json().to_string();
        records.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    let tombstone = || Record::new("flights", Value::Null, Value::Null);
    assert_eq!(shown(&[], json(create)), r#"{"id":1,"n":"a"}"#);
    assert_eq!(shown(&[], json(r#"{"id":1}"#)), r#"{"id":1}"#, "no event");
    assert_eq!(
        shown(&[], json(r#"{"source":{},"before":null,"op":"t"}"#)),
        ""
    );
    let rewritten = r#"{"id":1,"n":"a","__deleted":"true"}"#;
    for (keys, of_delete, of_tombstone) in [
        (&[][..], "", "null"),
        (&[("delete.tombstone.handling.mode", "drop")], "", ""),
        (
            &[("delete.tombstone.handling.mode", "rewrite")],
            rewritten,
            "",
        ),
        (
            &[("delete.tombstone.handling.mode", "rewrite-with-tombstone")],
            rewritten,
            "null",
        ),
        (
            &[("delete.tombstone.handling.mode", "delete-to-tombstone")],
            "null",
            "",
        ),
        (&[("drop.tombstones", "false")], "", "null"),
        (&[("delete.handling.mode", "rewrite")], rewritten, ""),
        (
            &[
                ("drop.tombstones", "false"),
                ("delete.handling.mode", "none"),
            ],
            "null",
            "null",
        ),
    ] {
        assert_eq!(shown(keys, json(delete)), of_delete, "{keys:?}");
        assert_eq!(shown(keys, tombstone()), of_tombstone, "{keys:?}");
    }
    let keys = [
        ("add.fields", "op,table,source.lsn:place,before.n"),
        ("add.headers", "op,ts_ms"),
        ("add.headers.prefix", "h_"),
        ("delete.tombstone.handling.mode", "rewrite"),
        ("route.by.field", "n"),
    ];
    let records = step(kind, &keys, json(create)).unwrap();
    assert_eq!(
        records[0].value.to_json().as_str(),
        r#"{"id":1,"n":"a","__op":"c","__table":"t","__place":7,"__before_n":null,"__deleted":"false"}"#
    );
    assert_eq!(&*records[0].topic, "a");
    let headers: Vec<(String, String)> = records[0]
        .headers
        .iter()
        .map(|header| (header.name.to_string(), header.value.to_json().to_string()))
        .collect();
    let expected = [("h_op", "\"c\""), ("h_ts_ms", "5")];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn nested_fields_are_extracted_and_defaults_stand_for_null() {
    let nested = |field: &str| {
        let keys = [("field", field), ("field.syntax.version", "V2")];
        value_of(
            "ExtractField$Value",
            &keys,
            r#"{"a":{"b.c":{"d":1}},"a.x":2,"n":null}"#,
        )
    };
    assert_eq!(nested("a.`b.c`.d"), "1");
    assert_eq!(nested("n.d"), "null");
    assert_eq!(nested("a.no.d"), "null");
    assert_eq!(
        value_of("ExtractField$Value", &[("field", "a.x")], r#"{"a.x":2}"#),
        "2"
    );
    let mut schema = Schema::new(SchemaType::Int32).optional();
    schema.default = Some(Value::Int32(7));
    for (kind, keys) in [
        ("ExtractField$Value", &[("field", "f")][..]),
        ("ReplaceField$Value", &[("exclude", "x")]),
        ("InsertField$Value", &[("topic.field", "t")]),
    ] {
        let records = step(kind, keys, of_one(schema.clone(), Value::Null)).unwrap();
        let value = records[0]
            .value
            .field("f")
            .unwrap_or(&records[0].value)
            .clone();
        assert_eq!(value, Value::Int32(7), "{kind}");
        let keys = [keys, &[("replace.null.with.default", "false")]].concat();
        let records = step(kind, &keys, of_one(schema.clone(), Value::Null)).unwrap();
        let value = records[0]
            .value
            .field("f")
            .unwrap_or(&records[0].value)
            .clone();
        assert_eq!(value, Value::Null, "{kind}");
    }
}
