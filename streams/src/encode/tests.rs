//! Rows as bytes, and back again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StringViewArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use log_api::{RecordsBuilder, TopicPartition};

use super::*;
use crate::{ColumnOrigin, Decoder, KeyFormat, SourceColumn, SourceMode, SourceSpec, ValueFormat};

fn line(name: &str, array: ArrayRef) -> Vec<String> {
    let batch = RecordBatch::try_from_iter([(name, array)]).unwrap();
    let mut lines = Vec::new();
    JsonEncoder::new(&batch.schema()).encode_lines(&batch, &mut lines);
    String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn values(array: impl Array + 'static) -> Vec<String> {
    let lines = line("x", Arc::new(array));
    lines
        .iter()
        .map(|line| line[5..line.len() - 1].to_owned())
        .collect()
}

#[test]
fn values_of_every_type() {
    assert_eq!(
        values(Int8Array::from(vec![Some(-128), None])),
        ["-128", "null"]
    );
    assert_eq!(
        values(UInt64Array::from(vec![u64::MAX])),
        ["18446744073709551615"]
    );
    assert_eq!(
        values(BooleanArray::from(vec![true, false])),
        ["true", "false"]
    );
    assert_eq!(
        values(Float64Array::from(vec![
            12.0,
            0.1,
            1e300,
            f64::NAN,
            f64::INFINITY,
            -f64::INFINITY
        ])),
        [
            "12.0",
            "0.1",
            "1e300",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-Infinity\""
        ]
    );
    assert_eq!(
        values(Float32Array::from(vec![0.1f32, f32::NAN])),
        ["0.1", "\"NaN\""]
    );
    assert_eq!(
        values(StringArray::from(vec!["a\"b\\c\n\u{1}é😀\u{7f}", ""])),
        ["\"a\\\"b\\\\c\\n\\u0001é😀\u{7f}\"", "\"\""]
    );
    let bytes = BinaryViewArray::from_iter_values([&b"\x00\x01\x02\xff"[..], b"", b"abc"]);
    assert_eq!(values(bytes), ["\"AAEC/w==\"", "\"\"", "\"YWJj\""]);
    let decimals = Decimal128Array::from(vec![1234, -5, 0, 100]);
    let with_scale = |scale| {
        values(
            decimals
                .clone()
                .with_precision_and_scale(10, scale)
                .unwrap(),
        )
    };
    assert_eq!(
        with_scale(2),
        ["\"12.34\"", "\"-0.05\"", "\"0.00\"", "\"1.00\""]
    );
    assert_eq!(with_scale(0), ["\"1234\"", "\"-5\"", "\"0\"", "\"100\""]);
    assert_eq!(
        with_scale(-2),
        ["\"123400\"", "\"-500\"", "\"0\"", "\"10000\""]
    );
    assert_eq!(
        values(Date32Array::from(vec![0, -1, 15706, -719_529, 2_932_897])),
        [
            "\"1970-01-01\"",
            "\"1969-12-31\"",
            "\"2013-01-01\"",
            "\"-0001-12-31\"",
            "\"+10000-01-01\""
        ]
    );
}

#[test]
fn timestamps_have_as_many_digits_as_needed() {
    let micros =
        TimestampMicrosecondArray::from(vec![1_357_034_400_000_000, 1_357_034_400_250_000, -1]);
    assert_eq!(
        values(micros.clone()),
        [
            "\"2013-01-01T10:00:00\"",
            "\"2013-01-01T10:00:00.25\"",
            "\"1969-12-31T23:59:59.999999\""
        ]
    );
    let zoned = micros.with_timezone("Europe/Berlin");
    assert_eq!(values(zoned)[0], "\"2013-01-01T10:00:00Z\"");
    assert_eq!(
        values(TimestampSecondArray::from(vec![0])),
        ["\"1970-01-01T00:00:00\""]
    );
    assert_eq!(
        values(TimestampMillisecondArray::from(vec![10])),
        ["\"1970-01-01T00:00:00.01\""]
    );
    let nanos = TimestampNanosecondArray::from(vec![1]);
    assert_eq!(values(nanos), ["\"1970-01-01T00:00:00.000000001\""]);
}

#[test]
fn nested_values() {
    let lists = [Some(vec![Some(1), None]), Some(vec![]), None];
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    assert_eq!(values(list), ["[1,null]", "[]", "null"]);
    let fields = StructArray::from(vec![
        (
            Arc::new(Field::new("a \"b\"", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![1])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("c", DataType::Utf8View, true)),
            Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef,
        ),
    ]);
    assert_eq!(values(fields), [r#"{"a \"b\"":1,"c":"x"}"#]);
    let interval = arrow::array::DurationSecondArray::from(vec![90]);
    assert!(values(interval)[0].starts_with('"'), "other types are text");
}

#[test]
fn keys() {
    let batch = RecordBatch::try_from_iter([
        (
            "n",
            Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        (
            "t",
            Arc::new(StringViewArray::from(vec![Some("a\"b"), None])) as ArrayRef,
        ),
    ])
    .unwrap();
    let schema = batch.schema();
    let encode = |key: &[usize], format, row| {
        let mut out = Vec::new();
        let encoder = KeyEncoder::new(&schema, key, format).unwrap();
        let found = encoder.encode_row(batch.columns(), row, &mut out);
        found.then(|| String::from_utf8(out).unwrap())
    };
    assert_eq!(encode(&[1], KeyFormat::String, 0).as_deref(), Some("a\"b"));
    assert_eq!(encode(&[1], KeyFormat::String, 1), None);
    assert_eq!(
        encode(&[1, 0], KeyFormat::Json, 0).as_deref(),
        Some(r#"{"t":"a\"b","n":1}"#)
    );
    assert_eq!(
        encode(&[1, 0], KeyFormat::Json, 1).as_deref(),
        Some(r#"{"t":null,"n":null}"#)
    );
    assert_eq!(encode(&[], KeyFormat::Json, 0), None);
    assert_eq!(encode(&[0], KeyFormat::None, 0), None);
    let error = KeyEncoder::new(&schema, &[0], KeyFormat::String).unwrap_err();
    assert_eq!(
        error.to_string(),
        "key.format string takes a TEXT column, \"n\" is BIGINT; use key.format json"
    );
    let error = KeyEncoder::new(&schema, &[0, 1], KeyFormat::String).unwrap_err();
    assert_eq!(error, KeyEncoderError::ManyColumns(2));
    // One zero.
    let zeros = RecordBatch::try_from_iter([(
        "d",
        Arc::new(Float64Array::from(vec![0.0, -0.0, -1.5])) as ArrayRef,
    )])
    .unwrap();
    let encoder = KeyEncoder::new(&zeros.schema(), &[0], KeyFormat::Json).unwrap();
    let keys = [0, 1, 2].map(|row| {
        let mut out = Vec::new();
        encoder.encode_row(zeros.columns(), row, &mut out);
        String::from_utf8(out).unwrap()
    });
    assert_eq!(keys, [r#"{"d":0.0}"#, r#"{"d":0.0}"#, r#"{"d":-1.5}"#]);
}

/// A random batch of all types that a source may have; floats are normalised as decoding does.
fn random_batch(random: &mut fastrand::Rng, rows: usize) -> RecordBatch {
    fn many<T>(
        random: &mut fastrand::Rng,
        rows: usize,
        mut one: impl FnMut(&mut fastrand::Rng) -> T,
    ) -> Vec<Option<T>> {
        (0..rows)
            .map(|_| (random.u8(0..5) > 0).then(|| one(random)))
            .collect()
    }
    let text = |random: &mut fastrand::Rng| -> String {
        (0..random.usize(0..30))
            .map(|_| random.char('\0'..='\u{10ffff}'))
            .collect()
    };
    let double = |random: &mut fastrand::Rng| match random.u8(0..4) {
        0 => f64::from(random.i16(..)) + 0.0,
        1 => f64::NAN,
        _ => match f64::from_bits(random.u64(..)) {
            value if value.is_nan() => f64::INFINITY,
            value => value + 0.0,
        },
    };
    let single = |random: &mut fastrand::Rng| match f32::from_bits(random.u32(..)) {
        value if value.is_nan() => f32::NAN,
        value => value + 0.0,
    };
    let micros =
        |random: &mut fastrand::Rng| random.i64(-30_000_000_000_000_000..300_000_000_000_000_000);
    let bytes = |random: &mut fastrand::Rng| -> Vec<u8> {
        (0..random.usize(0..30)).map(|_| random.u8(..)).collect()
    };
    let decimal = Decimal128Array::from(many(random, rows, |random| {
        random.i128(-(10i128.pow(30)) + 1..10i128.pow(30))
    }));
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "int8",
            Arc::new(Int8Array::from(many(random, rows, |random| random.i8(..)))),
        ),
        (
            "int64",
            Arc::new(Int64Array::from(many(random, rows, |random| {
                random.i64(..)
            }))),
        ),
        (
            "single",
            Arc::new(Float32Array::from(many(random, rows, single))),
        ),
        (
            "double",
            Arc::new(Float64Array::from(many(random, rows, double))),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(many(random, rows, |random| {
                random.bool()
            }))),
        ),
        (
            "text \"q\"",
            Arc::new(StringViewArray::from_iter(many(random, rows, text))),
        ),
        (
            "bytes",
            Arc::new(BinaryViewArray::from_iter(many(random, rows, bytes))),
        ),
        (
            "day",
            Arc::new(Date32Array::from(many(random, rows, |random| {
                random.i32(-1_000_000..9_000_000)
            }))),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(many(random, rows, micros))),
        ),
        (
            "instant",
            Arc::new(
                TimestampMicrosecondArray::from(many(random, rows, micros)).with_timezone("UTC"),
            ),
        ),
        (
            "decimal",
            Arc::new(decimal.with_precision_and_scale(30, 7).unwrap()),
        ),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn what_is_encoded_is_decoded_again() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..30 {
        let batch = random_batch(&mut random, 100);
        let columns = batch
            .schema()
            .fields()
            .iter()
            .map(|field| SourceColumn {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                nullable: true,
                length: None,
                origin: ColumnOrigin::Value,
            })
            .collect();
        let spec = SourceSpec {
            topic: "t".to_owned(),
            columns,
            checked: Vec::new(),
            key_format: KeyFormat::None,
            value_format: ValueFormat::Json {
                timestamp_unit_us: None,
            },
            mode: SourceMode::Append,
            watermark: None,
        };
        let encoder = JsonEncoder::new(&batch.schema());
        let rows = encoder.rows(batch.columns());
        let mut records = RecordsBuilder::new(TopicPartition::new("t", 0), 0);
        let mut value = Vec::new();
        for row in 0..batch.num_rows() {
            value.clear();
            rows.write(row, &mut value);
            let parsed = serde_json::from_slice::<serde_json::Value>(&value);
            assert!(parsed.is_ok(), "{parsed:?} (seed {seed})");
            records.push(row as i64, 0, None, Some(&value), &[]);
        }
        let decoded = Decoder::new(&spec).unwrap().decode(&records.finish());
        assert_eq!(decoded.errors, [], "seed {seed}");
        for (index, field) in batch.schema().fields().iter().enumerate() {
            let (before, after) = (batch.column(index), decoded.batch.column(index));
            if matches!(field.data_type(), DataType::Float32 | DataType::Float64) {
                // NaN is not equal to itself.
                assert_eq!(
                    line("x", Arc::clone(before)),
                    line("x", Arc::clone(after)),
                    "seed {seed}"
                );
            } else {
                assert_eq!(before, after, "{field} (seed {seed})");
            }
        }
    }
}
