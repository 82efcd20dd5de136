//! What each record becomes: a row, printed as JSON, or a reason.

mod computed;
mod formats;
mod nested;

use arrow::array::Array;
use arrow::datatypes::{DataType, TimeUnit};
use log_api::{Records, RecordsBuilder, TopicPartition};

use super::*;
use crate::{JsonEncoder, KeyFormat};

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn column(name: &str, data_type: DataType) -> SourceColumn {
    SourceColumn {
        name: name.to_owned(),
        data_type,
        nullable: true,
        length: None,
        origin: ColumnOrigin::Value,
    }
}

fn from(mut column: SourceColumn, origin: ColumnOrigin) -> SourceColumn {
    column.origin = origin;
    column
}

fn required(mut column: SourceColumn) -> SourceColumn {
    column.nullable = false;
    column
}

fn spec(columns: Vec<SourceColumn>) -> SourceSpec {
    SourceSpec {
        topic: "flights".to_owned(),
        columns,
        checked: Vec::new(),
        key_format: KeyFormat::None,
        value_format: ValueFormat::Json {
            timestamp_unit_us: None,
        },
        mode: SourceMode::Append,
        watermark: None,
    }
}

fn records(values: &[Option<&[u8]>]) -> Records {
    let pairs: Vec<_> = values.iter().map(|value| (None, *value)).collect();
    keyed(&pairs)
}

/// Key and value of a record.
type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn keyed(pairs: &[Pair<'_>]) -> Records {
    let mut builder = RecordsBuilder::new(TopicPartition::new("flights", 3), 100);
    for (offset, (key, value)) in (100..).zip(pairs) {
        builder.push(offset, 1_357_034_400_000 + offset, *key, *value, &[]);
    }
    builder.finish()
}

fn rows(decoded: &Decoded) -> Vec<String> {
    let mut lines = Vec::new();
    JsonEncoder::new(&decoded.batch.schema()).encode_lines(&decoded.batch, &mut lines);
    String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The record's row, or its reason.
fn outcome(decoder: &mut Decoder, value: &[u8]) -> String {
    outcome_of(decoder, None, Some(value))
}

fn outcome_of(decoder: &mut Decoder, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    let decoded = decoder.decode(&keyed(&[(key, value)]));
    match (decoded.errors.as_slice(), rows(&decoded).pop()) {
        ([], Some(row)) if decoded.deleted.is_some() => format!("delete {row}"),
        ([], Some(row)) => row,
        ([], None) => format!("skipped {}", decoded.skipped),
        ([failure, ..], None) => failure.reason.clone(),
        (_, Some(row)) => panic!("both a failure and the row {row}"),
    }
}

fn check(columns: Vec<SourceColumn>, cases: &[(&str, &str)]) {
    let mut decoder = Decoder::new(&spec(columns)).unwrap();
    for (value, expected) in cases {
        assert_eq!(
            outcome(&mut decoder, value.as_bytes()),
            *expected,
            "{value}"
        );
    }
}

#[test]
fn structure() {
    check(
        vec![
            column("a", DataType::Int64),
            column("b", DataType::Utf8View),
        ],
        &[
            (r#"{"a":1,"b":"x"}"#, r#"{"a":1,"b":"x"}"#),
            (r#" { "a" : 1 , "b" : "x" } "#, r#"{"a":1,"b":"x"}"#),
            ("\t{\r\n\"b\": \"x\",\n\"a\":\t1}\n", r#"{"a":1,"b":"x"}"#),
            (r#"{}"#, r#"{"a":null,"b":null}"#),
            (r#"{ }"#, r#"{"a":null,"b":null}"#),
            (r#"{"b":null}"#, r#"{"a":null,"b":null}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"b":null}"#),
            (r#"{"a":1,"a":null}"#, r#"{"a":null,"b":null}"#),
            (
                r#"{"z":{"a":[1,{"a":"}"}],"b":"\""},"a":3}"#,
                r#"{"a":3,"b":null}"#,
            ),
            (
                r#"{"z":[],"y":{},"x":[[]],"w":-1.5e+3,"v":true,"a":4}"#,
                r#"{"a":4,"b":null}"#,
            ),
            (r#"{"\u0061":5}"#, r#"{"a":5,"b":null}"#),
            ("", "the value is empty, expected a JSON object"),
            ("  ", "the value is not a JSON object but the end"),
            ("[1]", "the value is not a JSON object but an array"),
            ("17", "the value is not a JSON object but the number 17"),
            ("null", "the value is not a JSON object but null"),
            ("a,b", "the value is not a JSON object but 'a,b'"),
            (
                "true ",
                "the value is not a JSON object but the boolean true",
            ),
            ("not json", "the value is not a JSON object but 'not json'"),
            (
                "true story",
                "the value is not a JSON object but 'true story'",
            ),
            (
                "17 apples",
                "the value is not a JSON object but '17 apples'",
            ),
            (
                r#"{"a":1"#,
                "the value is not valid JSON at byte 6: expected ',' or '}', found the end",
            ),
            (
                r#"{"a":1,}"#,
                "the value is not valid JSON at byte 7: expected a field name in quotes, found '}'",
            ),
            (
                r#"{"a" 1}"#,
                "the value is not valid JSON at byte 5: expected ':' behind the field name, found '1'",
            ),
            (
                r#"{a:1}"#,
                "the value is not valid JSON at byte 1: expected a field name in quotes, found 'a'",
            ),
            (
                r#"{"a":1} x"#,
                "the value is not valid JSON at byte 8: expected the end, found 'x'",
            ),
            (
                r#"{"a":}"#,
                "column \"a\": the value is not valid JSON at byte 5: expected a value, found '}'",
            ),
            (
                r#"{"a":01}"#,
                "column \"a\": the value is not valid JSON at byte 6: expected no digit behind a leading 0, found '1'",
            ),
            (
                r#"{"z":[1,2}"#,
                "the value is not valid JSON at byte 9: expected ',' or ']', found '}'",
            ),
            (
                r#"{"z":{"a":1]}"#,
                "the value is not valid JSON at byte 11: expected ',' or '}', found ']'",
            ),
            (
                r#"{"z":tru}"#,
                "the value is not valid JSON at byte 5: expected a value, found 't'",
            ),
            (
                r#"{"z":NaN}"#,
                "the value is not valid JSON at byte 5: expected a value, found 'N'",
            ),
            (
                r#"{"b":"x"#,
                "column \"b\": the value is not valid JSON at byte 7: expected the end of the string, found the end",
            ),
            (
                r#"{"z":"x\"#,
                "the value is not valid JSON at byte 8: expected the end of the string, found the end",
            ),
        ],
    );
}

#[test]
fn integers() {
    check(
        vec![
            column("big", DataType::Int64),
            column("small", DataType::Int8),
        ],
        &[
            (r#"{"big":-12,"small":127}"#, r#"{"big":-12,"small":127}"#),
            (r#"{"big":12.0,"small":1e2}"#, r#"{"big":12,"small":100}"#),
            (
                r#"{"big":9223372036854775807}"#,
                r#"{"big":9223372036854775807,"small":null}"#,
            ),
            (
                r#"{"big":9223372036854775808}"#,
                r#"column "big" is BIGINT, 9223372036854775808 does not fit"#,
            ),
            (
                r#"{"small":128}"#,
                r#"column "small" is TINYINT, 128 does not fit"#,
            ),
            (
                r#"{"big":12.5}"#,
                r#"column "big" is BIGINT, 12.5 is not a whole number"#,
            ),
            (
                r#"{"big":"12"}"#,
                r#"column "big" is BIGINT, found the text "12""#,
            ),
            (
                r#"{"big":true}"#,
                r#"column "big" is BIGINT, found the boolean true"#,
            ),
            (
                r#"{"big":{"x":1}}"#,
                r#"column "big" is BIGINT, found an object: declare what it is, or JSON"#,
            ),
        ],
    );
}

#[test]
fn floats_decimals_booleans() {
    check(
        vec![
            column("d", DataType::Float64),
            column("r", DataType::Float32),
            column("n", DataType::Decimal128(10, 2)),
            column("b", DataType::Boolean),
        ],
        &[
            (
                r#"{"d":0.1,"r":0.1,"n":12.345,"b":true}"#,
                r#"{"d":0.1,"r":0.1,"n":"12.35","b":true}"#,
            ),
            (
                r#"{"d":12,"r":-0.0,"n":"-7","b":false}"#,
                r#"{"d":12.0,"r":0.0,"n":"-7.00","b":false}"#,
            ),
            (r#"{"d":-0.0}"#, r#"{"d":0.0,"r":null,"n":null,"b":null}"#),
            (
                r#"{"d":"NaN","r":"-Infinity"}"#,
                r#"{"d":"NaN","r":"-Infinity","n":null,"b":null}"#,
            ),
            (
                r#"{"d":1e400}"#,
                r#"column "d" is DOUBLE, 1e400 does not fit"#,
            ),
            (r#"{"r":1e40}"#, r#"column "r" is REAL, 1e40 does not fit"#),
            (
                r#"{"d":"1.5"}"#,
                r#"column "d" is DOUBLE, found the text "1.5""#,
            ),
            (
                r#"{"n":123456789}"#,
                r#"column "n" is DECIMAL(10,2), 123456789 does not fit"#,
            ),
            (
                r#"{"n":"1,5"}"#,
                r#"column "n" is DECIMAL(10,2), found the text "1,5""#,
            ),
            (
                r#"{"b":"true"}"#,
                r#"column "b" is BOOLEAN, found the text "true""#,
            ),
            (r#"{"b":1}"#, r#"column "b" is BOOLEAN, found the number 1"#),
        ],
    );
}

#[test]
fn texts_and_bytes() {
    check(
        vec![
            column("t", DataType::Utf8View),
            column("b", DataType::BinaryView),
        ],
        &[
            (
                r#"{"t":"a text that does not fit into a view"}"#,
                r#"{"t":"a text that does not fit into a view","b":null}"#,
            ),
            (
                r#"{"t":"tab\tquote\"slash\/\\ \u00e9\ud83d\ude00"}"#,
                r#"{"t":"tab\tquote\"slash/\\ é😀","b":null}"#,
            ),
            (
                r#"{"t":"é and ü and 😀, unescaped"}"#,
                r#"{"t":"é and ü and 😀, unescaped","b":null}"#,
            ),
            (r#"{"t":"","b":""}"#, r#"{"t":"","b":""}"#),
            (r#"{"b":"AAEC/w=="}"#, r#"{"t":null,"b":"AAEC/w=="}"#),
            (r#"{"b":"AAEC/w"}"#, r#"{"t":null,"b":"AAEC/w=="}"#),
            (r#"{"b":"AAEC\/w=="}"#, r#"{"t":null,"b":"AAEC/w=="}"#),
            (
                r#"{"b":"not base64"}"#,
                r#"column "b" is BYTES, "not base64" is not base64"#,
            ),
            (
                r#"{"t":["x"]}"#,
                r#"column "t" is TEXT, found an array: declare what it is, or JSON"#,
            ),
            (
                r#"{"t":{"x":1}}"#,
                r#"column "t" is TEXT, found an object: declare what it is, or JSON"#,
            ),
            (r#"{"t":1}"#, r#"column "t" is TEXT, found the number 1"#),
            (
                r#"{"t":"\ud83d"}"#,
                r#"column "t": the value is not valid JSON at byte 6: expected a whole \u escape, found '\'"#,
            ),
            (
                r#"{"t":"\q"}"#,
                r#"column "t": the value is not valid JSON at byte 6: expected a known escape, found '\'"#,
            ),
            (
                "{\"t\":\"a\nb\"}",
                r#"column "t": the value is not valid JSON at byte 7: expected no bare control character in a string, found byte 0x0a"#,
            ),
        ],
    );
    let mut decoder = Decoder::new(&spec(vec![column("t", DataType::Utf8View)])).unwrap();
    let reason = outcome(&mut decoder, b"{\"t\":\"ab\xff\"}");
    assert_eq!(reason, "column \"t\": byte 8 of the value is not UTF-8");
}

#[test]
fn times() {
    let columns = || {
        vec![
            column("at", MICROS),
            column(
                "z",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            column("day", DataType::Date32),
        ]
    };
    check(
        columns(),
        &[
            (
                r#"{"at":"2013-01-01T10:00:00Z","z":"2013-01-01 10:00:00","day":"2013-01-01"}"#,
                r#"{"at":"2013-01-01T10:00:00","z":"2013-01-01T10:00:00Z","day":"2013-01-01"}"#,
            ),
            (
                r#"{"at":"2013-01-01T10:00:00.25+02:00"}"#,
                r#"{"at":"2013-01-01T08:00:00.25","z":null,"day":null}"#,
            ),
            (
                r#"{"at":"2013-01-01T10:00:00\u005a"}"#,
                r#"{"at":"2013-01-01T10:00:00","z":null,"day":null}"#,
            ),
            (
                r#"{"at":"yesterday"}"#,
                r#"column "at" is TIMESTAMP, "yesterday" is not an ISO 8601 time like "2013-01-01T10:00:00""#,
            ),
            (
                r#"{"day":15706}"#,
                r#"{"at":null,"z":null,"day":"2013-01-01"}"#,
            ),
            (
                r#"{"day":1357034400}"#,
                r#"column "day" is DATE, 1357034400 does not fit"#,
            ),
            (
                r#"{"day":"2013-02-30"}"#,
                r#"column "day" is DATE, "2013-02-30" is not an ISO 8601 date like "2013-01-01""#,
            ),
            (
                r#"{"z":1357034400}"#,
                r#"column "z" is TIMESTAMPTZ, found the number 1357034400: say what it counts with timestamp.unit ('s', 'ms', 'us')"#,
            ),
        ],
    );
    let mut with_unit = spec(columns());
    with_unit.value_format = ValueFormat::Json {
        timestamp_unit_us: Some(1000),
    };
    let mut decoder = Decoder::new(&with_unit).unwrap();
    let row = outcome(&mut decoder, br#"{"at":1357034400123}"#);
    assert_eq!(
        row,
        r#"{"at":"2013-01-01T10:00:00.123","z":null,"day":null}"#
    );
    let reason = outcome(&mut decoder, br#"{"at":9223372036854775807}"#);
    assert_eq!(
        reason,
        r#"column "at" is TIMESTAMP, 9223372036854775807 does not fit"#
    );
}

#[test]
fn names_match_exactly_first_and_then_in_any_case() {
    check(
        vec![
            column("depDelay", DataType::Int64),
            column("Origin", DataType::Utf8View),
        ],
        &[
            (
                r#"{"DEPDELAY":1,"origin":"EWR"}"#,
                r#"{"depDelay":1,"Origin":"EWR"}"#,
            ),
            (
                r#"{"DEPDELAY":1,"depDelay":2}"#,
                r#"{"depDelay":2,"Origin":null}"#,
            ),
            (
                r#"{"depDelay":2,"DEPDELAY":1}"#,
                r#"{"depDelay":2,"Origin":null}"#,
            ),
            (
                r#"{"depdelay":3,"DEPDELAY":4}"#,
                r#"{"depDelay":4,"Origin":null}"#,
            ),
            (
                r#"{"depDelay":null,"depdelay":4}"#,
                r#"{"depDelay":null,"Origin":null}"#,
            ),
        ],
    );
}

#[test]
fn not_null_columns_need_a_value() {
    check(
        vec![
            required(column("a", DataType::Int64)),
            column("b", DataType::Int64),
        ],
        &[
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (
                r#"{"b":1}"#,
                r#"column "a" is NOT NULL, the record has no such field"#,
            ),
            (
                r#"{"a":null}"#,
                r#"column "a" is NOT NULL, the record has null there"#,
            ),
            (r#"{"a":null,"a":1}"#, r#"{"a":1,"b":null}"#),
        ],
    );
}

#[test]
fn failures_leave_no_trace() {
    let columns = vec![
        column("t", DataType::Utf8View),
        column("n", DataType::Int64),
    ];
    let mut decoder = Decoder::new(&spec(columns)).unwrap();
    let long = "a text that does not fit into a view";
    let values = [
        format!(r#"{{"t":"{long} 1","n":1}}"#),
        format!(r#"{{"t":"{long} 2","n":"x"}}"#),
        r#"{"n":3}"#.to_owned(),
        "oops".to_owned(),
        format!(r#"{{"t":"\u0021{long}","n":5}}"#),
    ];
    let mut values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    values.insert(2, None);
    let run = records(&values);
    let decoded = decoder.decode(&run);
    assert_eq!(
        rows(&decoded),
        [
            format!(r#"{{"t":"{long} 1","n":1}}"#),
            r#"{"t":null,"n":3}"#.to_owned(),
            format!(r#"{{"t":"!{long}","n":5}}"#),
        ]
    );
    assert_eq!(decoded.rows, Some(vec![0, 3, 5]));
    assert_eq!(decoded.skipped, 1);
    let failures: Vec<_> = decoded
        .errors
        .iter()
        .map(|error| (error.row, error.offset))
        .collect();
    assert_eq!(failures, [(1, 101), (4, 104)]);
    // A part of the run names its records by their place in the whole run.
    let part = decoder.decode_range(&run, 3..6);
    assert_eq!(part.origin().values(), &[3, 5]);
    let part = decoder.decode_range(&run, 5..6);
    assert_eq!(
        (part.rows.clone(), part.origin().values().to_vec()),
        (None, vec![5])
    );
}

#[test]
fn long_texts_point_into_the_records() {
    let text = "a text that does not fit into a view";
    let value = format!(r#"{{"t":"{text}"}}"#);
    let run = records(&[Some(value.as_bytes())]);
    let mut decoder = Decoder::new(&spec(vec![column("t", DataType::Utf8View)])).unwrap();
    let decoded = decoder.decode(&run);
    let array = decoded
        .batch
        .column(0)
        .as_any()
        .downcast_ref::<arrow::array::StringViewArray>();
    let buffers = array.unwrap().data_buffers();
    let shared = run.values.data_buffers()[0].as_ptr();
    assert!(buffers.iter().any(|buffer| buffer.as_ptr() == shared));
}

#[test]
fn nesting_is_limited() {
    let mut decoder = Decoder::new(&spec(vec![column("a", DataType::Int64)])).unwrap();
    let nested = |depth: usize| {
        format!(
            r#"{{"z":{}{},"a":1}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert_eq!(outcome(&mut decoder, nested(128).as_bytes()), r#"{"a":1}"#);
    let reason = outcome(&mut decoder, nested(129).as_bytes());
    assert_eq!(reason, "the value nests deeper than 128 levels at byte 133");
    let bomb = format!(r#"{{"z":{}"#, "[".repeat(10_000_000));
    assert!(outcome(&mut decoder, bomb.as_bytes()).contains("deeper"));
}

#[test]
fn metadata_columns() {
    let columns = vec![
        from(column("p", DataType::Int32), ColumnOrigin::Partition),
        from(column("o", DataType::Int64), ColumnOrigin::Offset),
        from(column("at", MICROS), ColumnOrigin::Timestamp),
        from(column("ms", DataType::Int64), ColumnOrigin::Timestamp),
        from(
            column("trace", DataType::Utf8View),
            ColumnOrigin::Header("trace".to_owned()),
        ),
        column("a", DataType::Int64),
    ];
    let mut decoder = Decoder::new(&spec(columns)).unwrap();
    let mut builder = RecordsBuilder::new(TopicPartition::new("flights", 3), 0);
    let last: &[u8] = b"a header that does not fit into a view";
    builder.push(
        7,
        1500,
        None,
        Some(br#"{"a":1}"#),
        &[("trace", Some(b"x")), ("trace", Some(last))],
    );
    builder.push(9, -1, None, Some(br#"{"a":2}"#), &[]);
    builder.push(
        10,
        0,
        None,
        Some(br#"{"a":3}"#),
        &[("trace", Some(b"\xff"))],
    );
    let decoded = decoder.decode(&builder.finish());
    assert_eq!(
        rows(&decoded),
        [
            r#"{"p":3,"o":7,"at":"1970-01-01T00:00:01.5","ms":1500,"trace":"a header that does not fit into a view","a":1}"#,
            r#"{"p":3,"o":9,"at":null,"ms":null,"trace":null,"a":2}"#,
        ]
    );
    assert_eq!(
        decoded.errors[0].reason,
        "column \"trace\": byte 0 of the header is not UTF-8"
    );
}

#[test]
fn no_columns_still_count_rows() {
    let mut decoder = Decoder::new(&spec(Vec::new())).unwrap();
    let decoded = decoder.decode(&records(&[Some(b"{}"), Some(b"x"), Some(b"{\"a\":1}")]));
    assert_eq!((decoded.batch.num_rows(), decoded.errors.len()), (2, 1));
}

#[test]
fn more_columns_than_a_word_has_bits() {
    let columns = (0..130)
        .map(|i| column(&format!("c{i}"), DataType::Int64))
        .collect();
    let mut decoder = Decoder::new(&spec(columns)).unwrap();
    let decoded = decoder.decode(&records(&[
        Some(br#"{"c0":1,"c64":2,"c129":3}"#),
        Some(b"{}"),
    ]));
    let valid = |index: usize| decoded.batch.column(index).null_count();
    assert_eq!((valid(0), valid(1), valid(64), valid(129)), (1, 2, 1, 1));
}

fn table(key_format: KeyFormat) -> SourceSpec {
    let mut table = spec(vec![
        required(from(column("code", DataType::Utf8View), ColumnOrigin::Key)),
        required(column("name", DataType::Utf8View)),
        column("size", DataType::Int32),
    ]);
    table.key_format = key_format;
    table.mode = SourceMode::Upsert { key: vec![0] };
    table
}

#[test]
fn upsert_with_text_keys() {
    let mut decoder = Decoder::new(&table(KeyFormat::String)).unwrap();
    for (key, value, expected) in [
        (
            Some("UA"),
            Some(r#"{"name":"United","size":3}"#),
            r#"{"code":"UA","name":"United","size":3}"#,
        ),
        (
            Some("UA"),
            Some(r#"{"code":"UA","name":"U"}"#),
            r#"{"code":"UA","name":"U","size":null}"#,
        ),
        (
            Some("UA"),
            Some(r#"{"code":null,"name":"U"}"#),
            r#"{"code":"UA","name":"U","size":null}"#,
        ),
        (
            Some("UA"),
            Some(r#"{"code":"AA","name":"U"}"#),
            r#"column "code": the value has "AA", the record key something else; both must agree"#,
        ),
        (
            Some("UA"),
            Some(r#"{"size":1}"#),
            r#"column "name" is NOT NULL, the record has no such field"#,
        ),
        (
            Some("UA"),
            None,
            r#"delete {"code":"UA","name":"","size":null}"#,
        ),
        (
            Some("a key that does not fit into a view"),
            Some(r#"{"CODE":"a key that does not fit into a view","name":"x"}"#),
            r#"{"code":"a key that does not fit into a view","name":"x","size":null}"#,
        ),
        (
            None,
            Some(r#"{"code":"UA","name":"U"}"#),
            "the record has no key, which a table with a primary key needs",
        ),
        (
            None,
            None,
            "the record has no key, which a table with a primary key needs",
        ),
    ] {
        let outcome = outcome_of(
            &mut decoder,
            key.map(str::as_bytes),
            value.map(str::as_bytes),
        );
        assert_eq!(outcome, expected, "{key:?} {value:?}");
    }
    let reason = outcome_of(&mut decoder, Some(b"\xff"), Some(b"{}"));
    assert_eq!(
        reason,
        "column \"code\": byte 0 of the record key is not UTF-8"
    );
}

#[test]
fn null_is_a_key_where_the_column_may_be_null() {
    let view = |key_format| {
        let key = from(column("k", DataType::Utf8View), ColumnOrigin::Key);
        let mut view = spec(vec![key, column("n", DataType::Int64)]);
        view.key_format = key_format;
        view.mode = SourceMode::Upsert { key: vec![0] };
        Decoder::new(&view).unwrap()
    };
    for (format, null, other) in [
        (KeyFormat::String, "\0", "a"),
        (KeyFormat::Json, r#"{"k":null}"#, r#"{"k":"a"}"#),
        (KeyFormat::Json, "null", r#""a""#),
    ] {
        let mut decoder = view(format);
        for (key, value, expected) in [
            (null, Some(r#"{"k":null,"n":1}"#), r#"{"k":null,"n":1}"#),
            (null, Some(r#"{"n":1}"#), r#"{"k":null,"n":1}"#),
            (null, None, r#"delete {"k":null,"n":null}"#),
            (
                null,
                Some(r#"{"k":"a"}"#),
                r#"column "k": the value has "a", the record key something else; both must agree"#,
            ),
            (other, Some(r#"{"k":"a","n":2}"#), r#"{"k":"a","n":2}"#),
        ] {
            let value = value.map(str::as_bytes);
            let outcome = outcome_of(&mut decoder, Some(key.as_bytes()), value);
            assert_eq!(outcome, expected, "{key:?} {value:?}");
        }
    }
    let mut table = Decoder::new(&table(KeyFormat::String)).unwrap();
    assert_eq!(
        outcome_of(&mut table, Some(b"\0"), Some(br#"{"name":"U"}"#)),
        r#"column "code" is NOT NULL, the record has no such field"#
    );
}

#[test]
fn columns_that_nothing_reads_are_checked() {
    let mut spec = spec(vec![column("a", DataType::Int64)]);
    spec.checked = vec![
        required(column("b", DataType::Int16)),
        column("t", DataType::Utf8View),
        column("at", MICROS),
    ];
    let mut decoder = Decoder::new(&spec).unwrap();
    for (value, expected) in [
        (
            r#"{"a":1,"b":2,"t":"a text that is longer than a view","at":null}"#,
            r#"{"a":1}"#,
        ),
        (
            r#"{"t":"\u00e4\n","B":2,"at":"2013-01-01"}"#,
            r#"{"a":null}"#,
        ),
        (
            r#"{"a":1}"#,
            r#"column "b" is NOT NULL, the record has no such field"#,
        ),
        (
            r#"{"b":null}"#,
            r#"column "b" is NOT NULL, the record has null there"#,
        ),
        (
            r#"{"b":40000}"#,
            r#"column "b" is SMALLINT, 40000 does not fit"#,
        ),
        (
            r#"{"b":2,"t":7}"#,
            r#"column "t" is TEXT, found the number 7"#,
        ),
        (
            r#"{"b":2,"b":"x"}"#,
            r#"column "b" is SMALLINT, found the text "x""#,
        ),
        (
            r#"{"b":2,"at":"soon"}"#,
            r#"column "at" is TIMESTAMP, "soon" is not an ISO 8601 time like "2013-01-01T10:00:00""#,
        ),
    ] {
        let outcome = outcome_of(&mut decoder, None, Some(value.as_bytes()));
        assert_eq!(outcome, expected, "{value}");
    }
}

#[test]
fn upsert_with_json_keys() {
    let mut decoder = Decoder::new(&table(KeyFormat::Json)).unwrap();
    let mut pair = spec(vec![
        required(from(column("a", DataType::Int64), ColumnOrigin::Key)),
        required(from(column("b", DataType::Utf8View), ColumnOrigin::Key)),
        column("c", DataType::Int64),
    ]);
    pair.key_format = KeyFormat::Json;
    pair.mode = SourceMode::Upsert { key: vec![0, 1] };
    let mut pair = Decoder::new(&pair).unwrap();
    for (which, key, value, expected) in [
        (
            0,
            r#"{"code":"UA"}"#,
            Some(r#"{"name":"U"}"#),
            r#"{"code":"UA","name":"U","size":null}"#,
        ),
        (
            0,
            r#""UA""#,
            Some(r#"{"name":"U"}"#),
            r#"{"code":"UA","name":"U","size":null}"#,
        ),
        (
            0,
            r#"{}"#,
            Some(r#"{"code":"UA","name":"U"}"#),
            r#"{"code":"UA","name":"U","size":null}"#,
        ),
        (
            0,
            r#"null"#,
            None,
            r#"column "code" is NOT NULL, the record has no such field"#,
        ),
        (
            0,
            "UA",
            None,
            "column \"code\": the record key is not valid JSON at byte 0: expected a value, found 'U'",
        ),
        (
            0,
            "17",
            None,
            r#"column "code" is TEXT, found the number 17"#,
        ),
        (
            1,
            r#"{"b":"x","a":1}"#,
            Some(r#"{"c":3,"a":1,"b":"x"}"#),
            r#"{"a":1,"b":"x","c":3}"#,
        ),
        (
            1,
            r#"{"b":"x","a":1}"#,
            Some(r#"{"c":3,"a":2}"#),
            r#"column "a": the value has 2, the record key something else; both must agree"#,
        ),
        (
            1,
            r#"{"b":"x","a":1}"#,
            None,
            r#"delete {"a":1,"b":"x","c":null}"#,
        ),
        (
            1,
            r#"{"b":"x"}"#,
            Some(r#"{"c":3}"#),
            r#"column "a" is NOT NULL, the record has no such field"#,
        ),
        (
            1,
            r#"[1]"#,
            Some(r#"{"c":3}"#),
            "the record key is not a JSON object but an array",
        ),
    ] {
        let decoder = if which == 0 { &mut decoder } else { &mut pair };
        let outcome = outcome_of(decoder, Some(key.as_bytes()), value.map(str::as_bytes));
        assert_eq!(outcome, expected, "{key} {value:?}");
    }
}

#[test]
fn append_with_keys() {
    let mut keyed = spec(vec![
        from(column("k", DataType::Utf8View), ColumnOrigin::Key),
        column("v", DataType::Int64),
    ]);
    keyed.key_format = KeyFormat::String;
    let mut decoder = Decoder::new(&keyed).unwrap();
    assert_eq!(
        outcome_of(&mut decoder, None, Some(b"{\"v\":1}")),
        r#"{"k":null,"v":1}"#
    );
    assert_eq!(
        outcome_of(&mut decoder, None, Some(b"{\"k\":\"x\"}")),
        r#"{"k":"x","v":null}"#
    );
    assert_eq!(outcome_of(&mut decoder, Some(b"x"), None), "skipped 1");
}

#[test]
fn specs_that_cannot_be_decoded() {
    let decimal = DataType::Decimal256(50, 2);
    let error = Decoder::new(&spec(vec![column("x", decimal)])).unwrap_err();
    assert!(error.to_string().contains("column \"x\""), "{error}");
    let key = from(column("k", DataType::Int64), ColumnOrigin::Key);
    let mut wrong = spec(vec![key]);
    let error = Decoder::new(&wrong).unwrap_err().to_string();
    assert_eq!(
        error,
        "key of topic flights: column \"k\" is read from the record key, but key.format is none"
    );
    wrong.key_format = KeyFormat::String;
    let error = Decoder::new(&wrong).unwrap_err().to_string();
    assert_eq!(
        error,
        "key of topic flights: key.format string needs a TEXT column, \"k\" is BIGINT; use key.format json"
    );
}

/// A random value as JSON text.
fn random_json(random: &mut fastrand::Rng, depth: u8, out: &mut String) {
    match random.u8(0..if depth > 0 { 10 } else { 8 }) {
        0 => out.push_str("null"),
        1 => out.push_str(if random.bool() { "true" } else { "false" }),
        2 => out.push_str(&random.i64(..).to_string()),
        3 => out.push_str(&random.i16(..).to_string()),
        4 => out.push_str(&format!("{:?}", f64::from(random.i32(..)) / 1000.0)),
        5..8 => {
            let letters = [
                'a', '"', '\\', '\n', 'é', '😀', '/', '\u{1}', 'z', ' ', '{', ']', ',',
            ];
            let text: String = (0..random.usize(0..20))
                .map(|_| letters[random.usize(..letters.len())])
                .collect();
            out.push_str(&serde_json::to_string(&text).unwrap());
        }
        8 => {
            out.push('[');
            for index in 0..random.usize(0..4) {
                out.push_str(if index > 0 { " ,\t" } else { "" });
                random_json(random, depth - 1, out);
            }
            out.push(']');
        }
        _ => random_object(random, depth - 1, out),
    }
}

fn random_object(random: &mut fastrand::Rng, depth: u8, out: &mut String) {
    let names = [
        "\"int\"",
        "\"text\"",
        "\"double\"",
        "\"flag\"",
        "\"z\"",
        "\"o\\u0074her\"",
        "\"\"",
    ];
    let space = |random: &mut fastrand::Rng| ["", "", "", " ", "\n\t "][random.usize(..5)];
    out.push('{');
    for index in 0..random.usize(0..7) {
        out.push_str(if index > 0 { "," } else { "" });
        out.push_str(space(random));
        out.push_str(names[random.usize(..names.len())]);
        out.push_str(space(random));
        out.push(':');
        out.push_str(space(random));
        random_json(random, depth, out);
        out.push_str(space(random));
    }
    out.push('}');
}

/// An object's fields in order, duplicates kept.
struct Fields(Vec<(String, serde_json::Value)>);

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// What serde_json and the rules on top of this file say about a record: its row, or `None`.
fn expected(value: &[u8]) -> Option<String> {
    let Fields(fields) = serde_json::from_slice(value).ok()?;
    let mut row = serde_json::Map::new();
    for name in ["int", "text", "double", "flag"] {
        row.insert(name.to_owned(), serde_json::Value::Null);
        for (_, found) in fields
            .iter()
            .filter(|(found, _)| found.to_lowercase() == name)
        {
            let whole = |value: f64| value.fract() == 0.0 && value.abs() < 1e12;
            let fits = match name {
                _ if found.is_null() => true,
                "int" => found.is_i64() || found.as_f64().is_some_and(whole),
                "text" => found.is_string(),
                "double" => found.is_number() || matches!(found.as_str(), Some("NaN" | "Infinity")),
                _ => found.is_boolean(),
            };
            if !fits {
                return None;
            }
            let found = match (name, found.as_f64()) {
                ("double", Some(number)) => serde_json::Value::from(number + 0.0),
                ("int", Some(number)) if !found.is_i64() => serde_json::Value::from(number as i64),
                _ => found.clone(),
            };
            row.insert(name.to_owned(), found);
        }
    }
    Some(serde_json::Value::Object(row).to_string())
}

fn differential_decoder() -> Decoder {
    Decoder::new(&spec(vec![
        column("int", DataType::Int64),
        column("text", DataType::Utf8View),
        column("double", DataType::Float64),
        column("flag", DataType::Boolean),
    ]))
    .unwrap()
}

/// Compares rows as values; doubles with the tolerance that serde_json needs without its exact parser.
fn assert_same(found: &str, expected: &str, context: impl Fn() -> String) {
    let parse = |row: &str| -> serde_json::Value { serde_json::from_str(row).unwrap() };
    let (mut found, mut expected) = (parse(found), parse(expected));
    if let (Some(a), Some(b)) = (found["double"].as_f64(), expected["double"].as_f64()) {
        assert!((a - b).abs() <= a.abs() * 1e-15, "{a} {b} {}", context());
        found["double"].take();
        expected["double"].take();
    }
    assert_eq!(found, expected, "{}", context());
}

#[test]
fn random_records_are_what_serde_json_reads() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut decoder = differential_decoder();
    let (mut good, mut bad) = (0, 0);
    for _ in 0..300 {
        let texts: Vec<String> = (0..20)
            .map(|_| {
                let mut text = String::new();
                random_object(&mut random, 3, &mut text);
                text
            })
            .collect();
        let values: Vec<_> = texts.iter().map(|text| Some(text.as_bytes())).collect();
        let decoded = decoder.decode(&records(&values));
        let found = rows(&decoded);
        let mut by_record: Vec<Option<&String>> = vec![None; texts.len()];
        for (row, record) in decoded.origin().values().iter().enumerate() {
            by_record[*record as usize] = Some(&found[row]);
        }
        for (text, found) in texts.iter().zip(by_record) {
            let expected = expected(text.as_bytes());
            *(if expected.is_some() {
                &mut good
            } else {
                &mut bad
            }) += 1;
            let context = || format!("{text} (seed {seed}) {:?}", decoded.errors);
            assert_eq!(found.is_some(), expected.is_some(), "{}", context());
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_same(found, &expected, context);
            }
        }
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}

#[test]
fn damaged_records_never_panic_and_never_differ_from_serde_json() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut decoder = differential_decoder();
    for _ in 0..4000 {
        let mut text = String::new();
        random_object(&mut random, 2, &mut text);
        let mut bytes = text.into_bytes();
        for _ in 0..random.usize(1..3) {
            let at = random.usize(..bytes.len());
            match random.u8(0..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] = b"\"\\{}[]:,0-.eE \n"[random.usize(..15)],
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let decoded = decoder.decode(&records(&[Some(&bytes)]));
        assert_eq!(decoded.batch.num_rows() + decoded.errors.len(), 1);
        let expected = expected(&bytes);
        let context = || format!("{} (seed {seed})", String::from_utf8_lossy(&bytes));
        match (rows(&decoded).pop(), expected) {
            (Some(found), Some(expected)) => {
                assert_same(&found, &expected, context);
            }
            (None, Some(expected)) => panic!("{expected}: {:?} {}", decoded.errors, context()),
            // The inside of a string that nobody asked for may be damaged.
            (_, None) => {}
        }
    }
}
