//! Bytes of nested values: golden, by chance, torn at every place, and in their order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::*;
use crate::encode::JsonEncoder;
use crate::json::json_type;
use crate::state::row::{self, RowReader};
use crate::{ColumnOrigin, Decoder, KeyFormat, SourceColumn, SourceMode, SourceSpec, ValueFormat};

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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A column of these values, read as a source reads them.
fn column(data_type: &DataType, values: &[String]) -> ArrayRef {
    let spec = SourceSpec {
        topic: "t".to_owned(),
        columns: vec![SourceColumn {
            name: "v".to_owned(),
            data_type: data_type.clone(),
            nullable: true,
            length: None,
            origin: ColumnOrigin::Value,
        }],
        checked: Vec::new(),
        key_format: KeyFormat::None,
        value_format: ValueFormat::Json {
            timestamp_unit_us: None,
        },
        mode: SourceMode::Append,
        watermark: None,
    };
    let mut builder = log_api::RecordsBuilder::new(log_api::TopicPartition::new("t", 0), 0);
    for (offset, value) in values.iter().enumerate() {
        let value = format!("{{\"v\":{value}}}");
        builder.push(offset as i64, 0, None, Some(value.as_bytes()), &[]);
    }
    let decoded = Decoder::new(&spec).unwrap().decode(&builder.finish());
    assert_eq!(decoded.errors, [], "of {data_type}");
    Arc::clone(decoded.batch.column(0))
}

fn texts(array: &ArrayRef) -> Vec<String> {
    let schema = Schema::new(vec![Field::new("v", array.data_type().clone(), true)]);
    let encoder = JsonEncoder::new(&schema);
    (0..array.len())
        .map(|row| {
            let mut out = Vec::new();
            encoder.encode_row(std::slice::from_ref(array), row, &mut out);
            let text = String::from_utf8(out).unwrap();
            text["{\"v\":".len()..text.len() - 1].to_owned()
        })
        .collect()
}

/// These bytes are on disks: a change here is a new format version.
#[test]
fn golden_vectors() {
    for (data_type, value, expected) in [
        (list(DataType::Int16), "[]", "00"),
        (list(DataType::Int16), "[1,null]", "01018001010000"),
        (
            record(&[("a", DataType::Boolean), ("b", DataType::Utf8View)]),
            r#"{"b":"UA"}"#,
            "000155410001",
        ),
        (
            map(DataType::Int8),
            r#"{"b":1,"a":2}"#,
            "010161000101820101620001018100",
        ),
        (
            list(list(DataType::Boolean)),
            "[[true],null]",
            "010101010100010000",
        ),
    ] {
        let array = column(&data_type, &[value.to_owned()]);
        let (_, bytes) = encode(&array).unwrap();
        assert_eq!(hex(&bytes), expected, "{value}");
    }
    let json = column(&json_type(), &[r#"{"a": 1.50}"#.to_owned()]);
    let mut out = Vec::new();
    row::push_row(&row::columns_of(&[json]).unwrap(), 0, &mut out);
    assert_eq!(hex(&out), "01000b7b2261223a20312e35307d");
}

/// A type, and how a value of it is written as JSON.
fn random_type(random: &mut fastrand::Rng, levels: usize) -> DataType {
    match random.u8(..if levels == 0 { 6 } else { 9 }) {
        0 => DataType::Int64,
        1 => DataType::Utf8View,
        2 => DataType::Boolean,
        3 => DataType::Float64,
        4 => json_type(),
        5 => DataType::Decimal128(12, 2),
        6 => list(random_type(random, levels - 1)),
        7 => map(random_type(random, levels - 1)),
        _ => {
            let names = ["a", "b", "c"];
            let fields: Vec<_> = names[..random.usize(1..=3)]
                .iter()
                .map(|name| (*name, random_type(random, levels - 1)))
                .collect();
            record(&fields)
        }
    }
}

fn random_value(random: &mut fastrand::Rng, data_type: &DataType) -> String {
    const TEXTS: [&str; 5] = [
        r#""""#,
        r#""a""#,
        r#""\u0000""#,
        r#""ab\n""#,
        r#""Zürich, a long text""#,
    ];
    if random.u8(..6) == 0 {
        return "null".to_owned();
    }
    let mut many = |element: &dyn Fn(&mut fastrand::Rng, usize) -> String| -> String {
        let elements: Vec<_> = (0..random.usize(..4))
            .map(|at| element(random, at))
            .collect();
        elements.join(",")
    };
    match data_type {
        DataType::Boolean => random.bool().to_string(),
        DataType::Int64 => random.i64(-300..300).to_string(),
        DataType::Float64 => format!("{:?}", f64::from(random.i32(-9..9)) / 4.0),
        DataType::Decimal128(..) => format!("\"{}.50\"", random.i32(-9..9)),
        DataType::Utf8View => random.choice(TEXTS).unwrap().to_owned(),
        json if is_json(json) => random
            .choice(["[1, 2]", r#"{"x":1.0}"#, "\"t\""])
            .unwrap()
            .to_owned(),
        DataType::List(element) => {
            format!(
                "[{}]",
                many(&|random, _| random_value(random, element.data_type()))
            )
        }
        DataType::Map(entries, _) => {
            let value = children(entries.data_type())[1].data_type();
            let entry = |random: &mut fastrand::Rng, at: usize| {
                format!("\"k{at}\":{}", random_value(random, value))
            };
            format!("{{{}}}", many(&entry))
        }
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| {
                    format!(
                        "\"{}\":{}",
                        field.name(),
                        random_value(random, field.data_type())
                    )
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_written_is_read_back() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..300 {
        let data_type = random_type(&mut random, 3);
        let values: Vec<String> = (0..8)
            .map(|_| random_value(&mut random, &data_type))
            .collect();
        let array = column(&data_type, &values);
        assert_eq!(texts(&array), values, "{data_type}");
        let schema: SchemaRef =
            Arc::new(Schema::new(vec![Field::new("v", data_type.clone(), true)]));
        let columns = [array];
        let columns = row::columns_of(&columns).unwrap();
        let mut reader = RowReader::new(&schema).unwrap();
        let mut rows = Vec::new();
        for (row, value) in values.iter().enumerate() {
            let mut bytes = Vec::new();
            row::push_row(&columns, row, &mut bytes);
            reader.push(&bytes).unwrap();
            for end in 0..bytes.len() {
                // Torn values are errors, whatever they are torn off from.
                let torn = RowReader::new(&schema).unwrap().push(&bytes[..end]);
                assert!(torn.is_err(), "{data_type}: {value} at {end}");
            }
            rows.push(bytes);
        }
        let read: RecordBatch = reader.finish();
        assert_eq!(texts(read.column(0)), values, "{data_type}");
        let read = [Arc::clone(read.column(0))];
        let read = row::columns_of(&read).unwrap();
        for (row, bytes) in rows.iter().enumerate() {
            let mut again = Vec::new();
            row::push_row(&read, row, &mut again);
            assert_eq!(again, *bytes, "{data_type}: {}", values[row]);
        }
    }
}

#[test]
fn order_of_bytes_is_order_of_values() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lists: Vec<Vec<Option<i64>>> = (0..200)
        .map(|_| {
            let length = random.usize(..4);
            (0..length)
                .map(|_| random.bool().then(|| random.i64(-2..3)))
                .collect()
        })
        .collect();
    lists.sort();
    let values: Vec<String> = lists
        .iter()
        .map(|list| {
            let element = |element: &Option<i64>| {
                element.map_or("null".to_owned(), |value| value.to_string())
            };
            format!(
                "[{}]",
                list.iter().map(element).collect::<Vec<_>>().join(",")
            )
        })
        .collect();
    let array = column(&super::tests::list(DataType::Int64), &values);
    let (offsets, bytes) = encode(&array).unwrap();
    let encoded: Vec<&[u8]> = (0..array.len())
        .map(|row| &bytes[range(&offsets, row)])
        .collect();
    assert!(encoded.is_sorted(), "{values:?}");
}

#[test]
fn maps_are_equal_whatever_their_order() {
    let values = [r#"{"a":1,"b":2}"#.to_owned(), r#"{"b":2,"a":1}"#.to_owned()];
    let (offsets, bytes) = encode(&column(&map(DataType::Int64), &values)).unwrap();
    assert_eq!(bytes[range(&offsets, 0)], bytes[range(&offsets, 1)]);
}

#[test]
fn types_nest_to_a_limit() {
    let mut data_type = DataType::Int64;
    for _ in 0..NESTING_MAX {
        data_type = list(data_type);
    }
    assert!(Physical::of(&data_type).is_some());
    assert!(Physical::of(&list(data_type)).is_none());
}
