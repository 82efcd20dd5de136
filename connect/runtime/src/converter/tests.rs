//! Round trips and the exact bytes of each converter.

use std::sync::Arc;

use ::bytes::Bytes;
use connect_api::{ConfigMap, Schema, SchemaType, Struct, Text, Value, logical};

use super::*;

fn json(config: &[(&str, &str)]) -> Box<dyn Converter> {
    let config: ConfigMap = config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    ConverterKind::Json.build(&config).unwrap()
}

fn written(
    converter: &mut Box<dyn Converter>,
    schema: Option<&Arc<Schema>>,
    value: &Value,
) -> String {
    String::from_utf8(converter.to_bytes(schema, value).unwrap().unwrap().to_vec()).unwrap()
}

fn row_schema() -> Arc<Schema> {
    let mut limit = Schema::new(SchemaType::Int32).optional();
    limit.default = Some(Value::Int32(7));
    let mut amount = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
    amount.version = Some(1);
    amount.parameters.insert("scale".to_owned(), "2".to_owned());
    let mut schema = Schema::structure(vec![
        ("id", Schema::new(SchemaType::Int64)),
        ("name", Schema::new(SchemaType::String).optional()),
        ("limit", limit),
        ("amount", amount),
        (
            "tags",
            Schema::new(SchemaType::Array(Arc::new(Schema::new(SchemaType::String)))),
        ),
        (
            "scores",
            Schema::new(SchemaType::Map(
                Arc::new(Schema::new(SchemaType::String)),
                Arc::new(Schema::new(SchemaType::Float64)),
            )),
        ),
        ("day", Schema::new(SchemaType::Int32).named(logical::DATE)),
    ]);
    schema.name = Some("row".into());
    Arc::new(schema)
}

fn row(schema: &Arc<Schema>) -> Value {
    Value::Struct(Struct::new(
        Arc::clone(schema),
        vec![
            Value::Int64(1),
            Value::Null,
            Value::Int32(9),
            Value::Bytes(Bytes::from_static(&[0x04, 0xd2])),
            Value::Array(vec![Value::text("a"), Value::text("b")]),
            Value::Map(vec![(Value::text("x"), Value::Float64(0.5))]),
            Value::Int32(19_000),
        ],
    ))
}

#[test]
fn json_with_schemas_is_kafkas_envelope_and_reads_back() {
    let mut converter = json(&[]);
    let schema = row_schema();
    let value = row(&schema);
    let text = written(&mut converter, Some(&schema), &value);
    assert_eq!(
        text,
        "{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"int64\",\"optional\":false,\"field\":\"id\"},\
         {\"type\":\"string\",\"optional\":true,\"field\":\"name\"},\
         {\"type\":\"int32\",\"optional\":true,\"default\":7,\"field\":\"limit\"},\
         {\"type\":\"bytes\",\"optional\":false,\"name\":\"org.apache.kafka.connect.data.Decimal\",\"version\":1,\
         \"parameters\":{\"scale\":\"2\"},\"field\":\"amount\"},\
         {\"type\":\"array\",\"items\":{\"type\":\"string\",\"optional\":false},\"optional\":false,\"field\":\"tags\"},\
         {\"type\":\"map\",\"keys\":{\"type\":\"string\",\"optional\":false},\
         \"values\":{\"type\":\"double\",\"optional\":false},\"optional\":false,\"field\":\"scores\"},\
         {\"type\":\"int32\",\"optional\":false,\"name\":\"org.apache.kafka.connect.data.Date\",\"field\":\"day\"}],\
         \"optional\":false,\"name\":\"row\"},\
         \"payload\":{\"id\":1,\"name\":null,\"limit\":9,\"amount\":\"BNI=\",\"tags\":[\"a\",\"b\"],\
         \"scores\":{\"x\":0.5},\"day\":19000}}"
    );
    let (read_schema, read) = converter.to_value(Some(text.into())).unwrap();
    assert_eq!(read_schema.as_deref(), Some(&*schema));
    assert_eq!(read, value);
}

#[test]
fn json_decimals_may_be_numbers_and_nulls_print_defaults() {
    let schema = row_schema();
    let Value::Struct(full) = row(&schema) else {
        unreachable!("a row is a struct")
    };
    let mut values = full.into_values();
    values[2] = Value::Null;
    let value = Value::Struct(Struct::new(Arc::clone(&schema), values));
    let mut numeric = json(&[("schemas.enable", "false"), ("decimal.format", "NUMERIC")]);
    let text = written(&mut numeric, Some(&schema), &value);
    assert!(text.contains("\"limit\":7,\"amount\":12.34"), "{text}");
    let mut exact = json(&[
        ("schemas.enable", "false"),
        ("replace.null.with.default", "false"),
    ]);
    assert!(written(&mut exact, Some(&schema), &value).contains("\"limit\":null"));
    let envelope = format!(
        "{{\"schema\":{},\"payload\":{{\"id\":1,\"amount\":-1.5,\"tags\":[],\"scores\":{{}},\"day\":1}}}}",
        super::json::schema_to_json(&schema, JsonStyle::default())
    );
    let (_, read) = json(&[]).to_value(Some(envelope.into())).unwrap();
    assert_eq!(
        read.field("amount"),
        Some(&Value::Bytes(Bytes::from_static(&[0xff, 0x6a])))
    );
    assert_eq!(read.field("limit"), Some(&Value::Int32(7)));
}

#[test]
fn a_default_in_place_of_a_null_is_written_as_its_schema_says() {
    let mut amount = Schema::new(SchemaType::Bytes)
        .named(logical::DECIMAL)
        .optional();
    amount.parameters.insert("scale".to_owned(), "2".to_owned());
    amount.default = Some(Value::Bytes(Bytes::from_static(&[0x04, 0xd2])));
    let schema = Arc::new(Schema::structure(vec![("amount", amount)]));
    let value = Value::Struct(Struct::new(Arc::clone(&schema), vec![Value::Null]));
    for (format, expected) in [("NUMERIC", "12.34"), ("BASE64", "\"BNI=\"")] {
        let mut converter = json(&[("schemas.enable", "false"), ("decimal.format", format)]);
        let text = written(&mut converter, Some(&schema), &value);
        assert_eq!(text, format!("{{\"amount\":{expected}}}"));
    }
}

#[test]
fn json_without_schemas_passes_text_through() {
    let mut converter = json(&[("schemas.enable", "false")]);
    let text = r#"{"a": [1, 2.50], "b": null}"#;
    let (schema, value) = converter.to_value(Some(Bytes::from(text))).unwrap();
    assert!(schema.is_none());
    assert_eq!(value, Value::Json(Text::from(text)));
    assert_eq!(written(&mut converter, None, &value), text);
    assert_eq!(
        converter.to_value(Some("null".into())).unwrap().1,
        Value::Null
    );
    assert_eq!(converter.to_bytes(None, &Value::Null).unwrap(), None);
    let error = converter.to_value(Some("{\"a\":".into())).unwrap_err();
    assert!(
        matches!(error, connect_api::ConnectError::Data(_)),
        "{error}"
    );
    assert!(
        converter
            .to_value(Some(Bytes::from_static(b"\xff")))
            .is_err()
    );
}

#[test]
fn json_with_schemas_of_schemaless_values() {
    let mut converter = json(&[]);
    assert_eq!(
        written(&mut converter, None, &Value::Json(Text::from("{\"a\":1}"))),
        "{\"schema\":null,\"payload\":{\"a\":1}}"
    );
    assert_eq!(converter.to_bytes(None, &Value::Null).unwrap(), None);
    let error = converter
        .to_value(Some("{\"a\":1}".into()))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("JsonConverter with schemas.enable requires \"schema\" and \"payload\""),
        "{error}"
    );
    for bad in [
        r#"{"schema":{"type":"int8"},"payload":300}"#,
        r#"{"schema":{"type":"int32"},"payload":null}"#,
        r#"{"schema":{"type":"what"},"payload":1}"#,
        r#"{"schema":{"type":"struct"},"payload":{}}"#,
        r#"{"schema":{"type":"array"},"payload":[]}"#,
    ] {
        assert!(converter.to_value(Some(bad.into())).is_err(), "{bad}");
    }
    let deep = format!(
        "{{\"schema\":{}{{\"type\":\"int8\"}}{},\"payload\":1}}",
        "{\"type\":\"array\",\"items\":".repeat(100),
        "}".repeat(100)
    );
    assert!(converter.to_value(Some(deep.into())).is_err());
}

#[test]
fn strings_and_bytes() {
    let mut string = ConverterKind::String.build(&ConfigMap::new()).unwrap();
    assert_eq!(
        string.to_bytes(None, &Value::Int64(7)).unwrap().unwrap(),
        "7"
    );
    assert_eq!(
        string.to_bytes(None, &Value::text("é")).unwrap().unwrap(),
        "é"
    );
    assert_eq!(
        string.to_value(Some("x".into())).unwrap().1,
        Value::text("x")
    );
    assert!(string.to_value(Some(Bytes::from_static(b"\xff"))).is_err());
    let mut bytes = ConverterKind::Bytes.build(&ConfigMap::new()).unwrap();
    assert_eq!(
        bytes
            .to_bytes(None, &Value::Bytes("x".into()))
            .unwrap()
            .unwrap(),
        "x"
    );
    assert!(bytes.to_bytes(None, &Value::Int64(7)).is_err());
    assert_eq!(
        ConverterKind::by_name("JsonConverter"),
        Some(ConverterKind::Json)
    );
    assert_eq!(ConverterKind::by_name("Json"), Some(ConverterKind::Json));
    assert_eq!(ConverterKind::by_name("Avro"), None);
}

#[test]
fn single_values_are_javas_bytes() {
    for (name, value, bytes) in [
        ("BooleanConverter", Value::Boolean(true), &[1_u8][..]),
        ("ShortConverter", Value::Int16(-2), &[0xff, 0xfe]),
        ("IntegerConverter", Value::Int32(258), &[0, 0, 1, 2]),
        ("LongConverter", Value::Int64(-1), &[0xff; 8]),
        ("FloatConverter", Value::Float32(1.0), &[0x3f, 0x80, 0, 0]),
        (
            "DoubleConverter",
            Value::Float64(-2.0),
            &[0xc0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ] {
        let kind = ConverterKind::by_name(name).unwrap();
        let mut converter = kind.build(&ConfigMap::new()).unwrap();
        let written = converter.to_bytes(None, &value).unwrap();
        assert_eq!(written.as_deref(), Some(bytes), "{name}");
        let (schema, read) = converter.to_value(written).unwrap();
        assert_eq!(read, value, "{name}");
        assert!(schema.unwrap().optional, "{name}");
        assert_eq!(converter.to_bytes(None, &Value::Null).unwrap(), None);
        assert_eq!(converter.to_value(None).unwrap().1, Value::Null);
        // Neither other values nor other lengths are guessed at.
        let error = converter.to_bytes(None, &Value::text("1")).unwrap_err();
        assert!(error.to_string().contains("JsonConverter"), "{error}");
        let error = converter
            .to_value(Some(Bytes::from_static(b"abc")))
            .unwrap_err();
        assert!(error.to_string().contains("3 bytes"), "{error}");
    }
    let mut short = ConverterKind::Short.build(&ConfigMap::new()).unwrap();
    let number = Value::Json(Text::from("7"));
    assert_eq!(
        short.to_bytes(None, &number).unwrap().as_deref(),
        Some(&[0, 7][..])
    );
    assert!(
        short
            .to_bytes(None, &Value::Json(Text::from("70000")))
            .is_err()
    );
}
