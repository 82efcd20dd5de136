//! Formats beside plain JSON: Debezium's envelopes, CSV, whole values, headers.

use super::*;
use crate::encode::ValueEncoder;
use crate::json::json_type;

fn debezium() -> SourceSpec {
    let mut spec = table(KeyFormat::Json);
    spec.value_format = ValueFormat::Debezium {
        timestamp_unit_us: Some(1),
    };
    spec
}

/// All that a record gives: rows and deletes in order, or the reason.
fn changes(decoder: &mut Decoder, key: Option<&str>, value: Option<&str>) -> Vec<String> {
    let decoded = decoder.decode(&keyed(&[(
        key.map(str::as_bytes),
        value.map(str::as_bytes),
    )]));
    let mut lines: Vec<String> = rows(&decoded)
        .into_iter()
        .enumerate()
        .map(|(row, text)| match &decoded.deleted {
            Some(deleted) if deleted.value(row) => format!("- {text}"),
            _ => format!("+ {text}"),
        })
        .collect();
    assert!(decoded.origin().values().iter().all(|record| *record == 0));
    lines.extend(decoded.errors.into_iter().map(|failure| failure.reason));
    lines
}

#[test]
fn envelopes_become_changes_of_their_rows() {
    let mut decoder = Decoder::new(&debezium()).unwrap();
    let row = r#"{"code":"UA","name":"United","size":3}"#;
    let source = r#""source":{"lsn":1,"x":[{}]},"ts_ms":7"#;
    let key = r#"{"code":"UA"}"#;
    let wrapped_key = r#"{"schema":{"type":"struct","fields":[]},"payload":{"code":"UA"}}"#;
    for op in ["c", "r"] {
        let value = format!(r#"{{"before":null,"after":{row},{source},"op":"{op}"}}"#);
        assert_eq!(
            changes(&mut decoder, Some(key), Some(&value)),
            [format!("+ {row}")]
        );
        let wrapped = format!(r#"{{"schema":{{"type":"struct"}},"payload":{value}}}"#);
        let found = changes(&mut decoder, Some(wrapped_key), Some(&wrapped));
        assert_eq!(found, [format!("+ {row}")]);
    }
    // The row before is of no interest while its key stays.
    for before in [
        "null",
        r#"{"code":"UA","name":"?","size":1}"#,
        r#"{"name":"?"}"#,
    ] {
        let value = format!(r#"{{"op":"u","before":{before},"after":{row},{source}}}"#);
        let found = changes(&mut decoder, Some(key), Some(&value));
        assert_eq!(found, [format!("+ {row}")], "{before}");
    }
    let moved = format!(r#"{{"op":"u","before":{{"code":"XX","name":"x"}},"after":{row}}}"#);
    assert_eq!(
        changes(&mut decoder, Some(key), Some(&moved)),
        [
            format!("+ {row}"),
            r#"- {"code":"XX","name":"","size":null}"#.to_owned()
        ]
    );
    let gone = r#"- {"code":"UA","name":"","size":null}"#;
    let delete = format!(r#"{{"op":"d","before":{row},"after":null,{source}}}"#);
    assert_eq!(changes(&mut decoder, Some(key), Some(&delete)), [gone]);
    assert_eq!(changes(&mut decoder, Some(key), None), [gone]);
    let nothing = r#"{"schema":null,"payload":null}"#;
    assert_eq!(
        changes(&mut decoder, Some(wrapped_key), Some(nothing)),
        [gone]
    );
    let message = r#"{"op":"m","message":{"prefix":"p","content":"x"}}"#;
    assert_eq!(changes(&mut decoder, Some(key), Some(message)), [""; 0]);
    for (value, reason) in [
        (
            r#"{"op":"t","before":null,"after":null}"#,
            "the table was truncated where it comes from, and no key tells which rows are gone (byte 0 of the value)",
        ),
        (
            row,
            r#"the value is no envelope of Debezium: it has no "op" (FORMAT UPSERT reads plain rows) (byte 0 of the value)"#,
        ),
        (
            r#"{"op":"c","before":null,"after":null}"#,
            r#"the envelope has no row in "after" (byte 0 of the value)"#,
        ),
        (
            r#"{"op":"q","after":{}}"#,
            r#"the envelope's "op" is none of c, r, u, d, t and m (byte 0 of the value)"#,
        ),
        (
            r#"{"op":"c","after":{"code":"AA","name":"x"}}"#,
            r#"column "code": the value has "AA", the record key something else; both must agree"#,
        ),
        (
            r#"{"op":"u","before":null,"after":{"code":"UA","name":"__debezium_unavailable_value","size":1}}"#,
            "a large value did not change, and the connector did not get it: ALTER TABLE … REPLICA IDENTITY FULL where the \
             table is (byte 52 of the value)",
        ),
        (
            r#"{"op":"u","after":{"code":"UA","name":"x"},"before":{"code":7}}"#,
            r#"column "code" is TEXT, found the number 7"#,
        ),
    ] {
        assert_eq!(changes(&mut decoder, Some(key), Some(value)), [reason]);
    }
    // What nobody reads may be unavailable, and a text may speak of it.
    for after in [
        r#"{"code":"UA","name":"United","size":3,"note":"__debezium_unavailable_value"}"#,
        r#"{"note":["__debezium_unavailable_value"],"code":"UA","name":"United","size":3}"#,
    ] {
        let value = format!(r#"{{"op":"u","before":null,"after":{after}}}"#);
        let found = changes(&mut decoder, Some(key), Some(&value));
        assert_eq!(found, [format!("+ {row}")], "{after}");
    }
    let no_key = changes(&mut decoder, None, Some(&delete));
    assert_eq!(
        no_key,
        ["the record has no key, which a table with a primary key needs"]
    );
}

/// A record that gives two rows, one that gives none and one that fails leave the rows around them as they are.
#[test]
fn rows_of_envelopes_know_their_records() {
    let mut decoder = Decoder::new(&debezium()).unwrap();
    let put = |code: &str, before: &str| {
        format!(r#"{{"op":"u","before":{before},"after":{{"code":"{code}","name":"{code}"}}}}"#)
    };
    let values = [
        put("a", "null"),
        put("b", r#"{"code":"old"}"#),
        r#"{"op":"m"}"#.to_owned(),
        "{".to_owned(),
        put("c", r#"{"code":7}"#),
        put("d", "null"),
    ];
    let keys: Vec<String> = ["a", "b", "", "x", "c", "d"]
        .iter()
        .map(|code| format!(r#"{{"code":"{code}"}}"#))
        .collect();
    let pairs: Vec<_> = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| (Some(key.as_bytes()), Some(value.as_bytes())))
        .collect();
    let decoded = decoder.decode(&keyed(&pairs));
    assert_eq!(decoded.origin().values(), &[0, 1, 1, 5]);
    let deleted = decoded.deleted.as_ref().unwrap();
    let deleted: Vec<bool> = (0..4).map(|row| deleted.value(row)).collect();
    assert_eq!(deleted, [false, false, true, false]);
    let codes: Vec<String> = rows(&decoded)
        .iter()
        .map(|row| row[9..12].to_owned())
        .collect();
    assert_eq!(codes, ["a\",", "b\",", "old", "d\","]);
    assert_eq!((decoded.errors.len(), decoded.skipped), (2, 1));
}

#[test]
fn lines_of_csv() {
    let mut csv = spec(vec![
        column("size", DataType::Int32),
        column("code", DataType::Utf8View),
        column("at", MICROS),
        column("tags", json_type()),
    ]);
    csv.checked = vec![column("rate", DataType::Float64)];
    let names = ["code", "rate", "size", "at", "tags"].map(str::to_owned);
    csv.value_format = ValueFormat::Csv {
        columns: names.to_vec().into(),
        delimiter: b';',
        timestamp_unit_us: Some(1_000_000),
    };
    let mut decoder = Decoder::new(&csv).unwrap();
    for (line, expected) in [
        (
            "a,b;1.5;-3;2024-05-01 10:00;[1, 2]\r\n",
            r#"{"size":-3,"code":"a,b","at":"2024-05-01T10:00:00","tags":[1, 2]}"#,
        ),
        (
            "\"x;\"\"y\"\"\";;\"7\";60;\"{\"\"a\"\":1}\"",
            r#"{"size":7,"code":"x;\"y\"","at":"1970-01-01T00:01:00","tags":{"a":1}}"#,
        ),
        ("\"\"", r#"{"size":null,"code":"","at":null,"tags":null}"#),
        ("", r#"{"size":null,"code":null,"at":null,"tags":null}"#),
        (";NaN", r#"{"size":null,"code":null,"at":null,"tags":null}"#),
        (";x", r#"column "rate" is DOUBLE, x does not fit"#),
        (
            ";;1.5",
            r#"column "size" is INT, 1.5 is not a whole number"#,
        ),
        (
            ";;3000000000",
            r#"column "size" is INT, 3000000000 does not fit"#,
        ),
        (
            "a;;;;;b",
            "the line has more cells than there are columns (byte 6 of the value)",
        ),
        (
            "\"a",
            "a quote that the line begins has no end (byte 0 of the value)",
        ),
        (
            "\"a\"b;",
            "a cell of the line goes on behind its quotes (byte 3 of the value)",
        ),
    ] {
        assert_eq!(outcome(&mut decoder, line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn whole_values() {
    let of = |data_type, format| {
        let mut whole = spec(vec![column("v", data_type)]);
        whole.value_format = format;
        Decoder::new(&whole)
    };
    let mut text = of(DataType::Utf8View, ValueFormat::Text).unwrap();
    assert_eq!(outcome(&mut text, b"{\"a\""), r#"{"v":"{\"a\""}"#);
    assert_eq!(
        outcome(&mut text, b"\xff"),
        "column \"v\": byte 0 of the value is not UTF-8"
    );
    let mut number = of(DataType::Int64, ValueFormat::Text).unwrap();
    assert_eq!(outcome(&mut number, b"42"), r#"{"v":42}"#);
    assert_eq!(
        outcome(&mut number, b"4x"),
        "column \"v\" is BIGINT, 4x does not fit"
    );
    let mut bytes = of(DataType::BinaryView, ValueFormat::Bytes).unwrap();
    assert_eq!(outcome(&mut bytes, b"\xff\0"), r#"{"v":"/wA="}"#);
    let error = of(DataType::Int64, ValueFormat::Bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "values of topic flights: bytes are read as BYTES or TEXT, column \"v\" is BIGINT"
    );
    let mut envelopes = spec(vec![column("v", DataType::Int64)]);
    envelopes.value_format = ValueFormat::Debezium {
        timestamp_unit_us: None,
    };
    let error = Decoder::new(&envelopes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "values of topic flights: FORMAT DEBEZIUM needs a primary key"
    );
}

#[test]
fn all_headers_are_one_document() {
    let mut decoder = Decoder::new(&spec(vec![from(
        column("h", json_type()),
        ColumnOrigin::Headers,
    )]))
    .unwrap();
    let mut builder = RecordsBuilder::new(TopicPartition::new("flights", 3), 0);
    let headers: [(&str, Option<&[u8]>); 2] = [("a", Some(b"x\"y")), ("a", None)];
    builder.push(0, 0, None, Some(b"{}"), &headers);
    builder.push(1, 0, None, Some(b"{}"), &[]);
    let decoded = decoder.decode(&builder.finish());
    let expected = [
        r#"{"h":[{"key":"a","value":"x\"y"},{"key":"a","value":null}]}"#,
        r#"{"h":[]}"#,
    ];
    assert_eq!(rows(&decoded), expected);
}

/// What an INSERT writes is what a SELECT reads.
#[test]
fn what_a_format_writes_it_reads_back() {
    let texts = [
        Some("a;b"),
        Some(""),
        None,
        Some("\"q\"\n"),
        Some("{\"x\":1}"),
    ];
    let array: arrow::array::ArrayRef =
        Arc::new(arrow::array::StringViewArray::from(texts.to_vec()));
    let numbers: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![
        Some(1),
        None,
        Some(-7),
        Some(0),
        Some(9),
    ]));
    let mut csv = spec(vec![
        column("t", DataType::Utf8View),
        column("n", DataType::Int64),
    ]);
    csv.value_format = ValueFormat::Csv {
        columns: vec!["t".to_owned(), "n".to_owned()].into(),
        delimiter: b';',
        timestamp_unit_us: None,
    };
    let mut decoder = Decoder::new(&csv).unwrap();
    let encoder = ValueEncoder::new(decoder.schema(), &csv.value_format).unwrap();
    let columns = [array, numbers];
    let values: Vec<Vec<u8>> = (0..texts.len())
        .map(|row| {
            let mut value = Vec::new();
            assert!(encoder.rows(&columns).write(row, &mut value));
            value
        })
        .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    let decoded = decoder.decode(&records(&values));
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.batch.column(0).to_data(), columns[0].to_data());
    assert_eq!(decoded.batch.column(1).to_data(), columns[1].to_data());
}
