//! Every row of the type map, in every mode, with its extreme values.

use super::*;

fn rendering() -> Rendering {
    Rendering {
        decimal: DecimalMode::Precise,
        time: TimeMode::Adaptive,
        clip_infinity: false,
        plain_specials: false,
        interval_text: false,
        hstore_map: false,
        binary: BinaryMode::Bytes,
        money_digits: 2,
        unknown: false,
        placeholder: "__debezium_unavailable_value".to_owned(),
    }
}

/// A value as JSON, as a consumer sees it, and the name of its schema.
fn shown(rendering: &Rendering, kind: &Kind, text: &str) -> (String, String) {
    let schema = rendering.schema(kind).unwrap();
    let value = rendering.value(kind, text).unwrap();
    let name = schema
        .name
        .as_deref()
        .unwrap_or_else(|| schema.kind.json_name());
    (value.to_json().to_string(), name.to_owned())
}

#[test]
fn the_type_map() {
    let limits = Kind::Numeric(Some((10, 2)));
    for (kind, text, json, name) in [
        (Kind::Boolean, "t", "true", "boolean"),
        (Kind::Boolean, "1", "true", "boolean"),
        (Kind::Int16, "-32768", "-32768", "int16"),
        (Kind::Int32, "2147483647", "2147483647", "int32"),
        (
            Kind::Int64,
            "-9223372036854775808",
            "-9223372036854775808",
            "int64",
        ),
        (Kind::Float32, "NaN", "\"NaN\"", "float"),
        (Kind::Float64, "-Infinity", "\"-Infinity\"", "double"),
        (
            Kind::Float64,
            "0.30000000000000004",
            "0.30000000000000004",
            "double",
        ),
        (limits.clone(), "12.34", "\"BNI=\"", logical::DECIMAL),
        (limits, "NaN", "null", logical::DECIMAL),
        (
            Kind::Numeric(None),
            "10.1111",
            "{\"scale\":4,\"value\":\"AYr3\"}",
            "io.debezium.data.VariableScaleDecimal",
        ),
        (Kind::Money, "$1,234.11", "\"AeIT\"", logical::DECIMAL),
        (Kind::Money, "-$0.01", "\"/w==\"", logical::DECIMAL),
        (Kind::Date, "2016-11-10", "17115", "io.debezium.time.Date"),
        (
            Kind::Date,
            "infinity",
            "-2147472692",
            "io.debezium.time.Date",
        ),
        (
            Kind::Date,
            "-infinity",
            "-2147472691",
            "io.debezium.time.Date",
        ),
        (
            Kind::Time(3),
            "13:51:30.123",
            "49890123",
            "io.debezium.time.Time",
        ),
        (
            Kind::Time(6),
            "24:00:00",
            "86400000000",
            "io.debezium.time.MicroTime",
        ),
        (
            Kind::Timestamp(3),
            "1969-12-31 23:59:59.999",
            "-1",
            "io.debezium.time.Timestamp",
        ),
        (
            Kind::Timestamp(6),
            "2016-11-04 13:51:30.123456",
            "1478267490123456",
            "io.debezium.time.MicroTimestamp",
        ),
        (
            Kind::Timestamp(6),
            "infinity",
            "9223372036825200000",
            "io.debezium.time.MicroTimestamp",
        ),
        (
            Kind::Timestamp(3),
            "-infinity",
            "-9223372036832400000",
            "io.debezium.time.Timestamp",
        ),
        (
            Kind::TimestampTz(6),
            "2016-11-04 13:51:30.123456+02",
            "\"2016-11-04T11:51:30.123456Z\"",
            "io.debezium.time.ZonedTimestamp",
        ),
        (
            Kind::TimestampTz(6),
            "infinity",
            "\"infinity\"",
            "io.debezium.time.ZonedTimestamp",
        ),
        (
            Kind::TimeTz(6),
            "13:51:30.123789+02",
            "\"11:51:30.123789Z\"",
            "io.debezium.time.ZonedTime",
        ),
        (
            Kind::Interval,
            "P1Y2M3DT4H5M6.78S",
            "37091106780000",
            "io.debezium.time.MicroDuration",
        ),
        (Kind::Bytes, "\\x010203", "\"AQID\"", "bytes"),
        (
            Kind::Bits(Some(2)),
            "11",
            "\"Aw==\"",
            "io.debezium.data.Bits",
        ),
        (
            Kind::Bits(None),
            "100000000",
            "\"AAE=\"",
            "io.debezium.data.Bits",
        ),
        (
            Kind::Bits(Some(11)),
            "00000000101",
            "\"BQ==\"",
            "io.debezium.data.Bits",
        ),
        (Kind::Bits(None), "000", "\"\"", "io.debezium.data.Bits"),
        (Kind::Text, "padded  ", "\"padded  \"", "string"),
        (
            Kind::Named("Json"),
            "{\"a\": 1}",
            "\"{\\\"a\\\": 1}\"",
            "io.debezium.data.Json",
        ),
        (
            Kind::Enum("a,b".to_owned()),
            "b",
            "\"b\"",
            "io.debezium.data.Enum",
        ),
        (
            Kind::Hstore,
            "\"a\"=>\"1\", \"b\"=>NULL",
            "\"{\\\"a\\\":\\\"1\\\",\\\"b\\\":null}\"",
            "io.debezium.data.Json",
        ),
        (
            Kind::Point,
            "(1,-2.5)",
            "{\"x\":1.0,\"y\":-2.5,\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAATA\",\"srid\":null}",
            "io.debezium.data.geometry.Point",
        ),
        (
            Kind::Array(Box::new(Kind::Int32)),
            "{1,NULL,-3}",
            "[1,null,-3]",
            "array",
        ),
        (
            Kind::Array(Box::new(Kind::Numeric(None))),
            "{1.0}",
            "[{\"scale\":1,\"value\":\"Cg==\"}]",
            "array",
        ),
    ] {
        assert_eq!(
            shown(&rendering(), &kind, text),
            (json.to_owned(), name.to_owned()),
            "{kind:?} {text}"
        );
    }
    assert_eq!(rendering().schema(&Kind::Unknown), None);
}

#[test]
fn other_modes() {
    let decimal = |mode| Rendering {
        decimal: mode,
        ..rendering()
    };
    let limits = Kind::Numeric(Some((10, 4)));
    let text = decimal(DecimalMode::String);
    assert_eq!(shown(&text, &limits, "22.2200").0, "\"22.2200\"");
    assert_eq!(shown(&text, &limits, "NaN").0, "\"NAN\"");
    assert_eq!(shown(&text, &limits, "Infinity").0, "\"POSITIVE_INFINITY\"");
    assert_eq!(
        shown(&text, &limits, "-Infinity").0,
        "\"NEGATIVE_INFINITY\""
    );
    let plain = Rendering {
        plain_specials: true,
        ..text
    };
    for special in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(shown(&plain, &limits, special).0, format!("\"{special}\""));
    }
    let double = decimal(DecimalMode::Double);
    assert_eq!(shown(&double, &limits, "22.2200").0, "22.22");
    assert_eq!(shown(&double, &Kind::Money, "$1.50").0, "1.5");

    let time = |mode| Rendering {
        time: mode,
        ..rendering()
    };
    let day = (Kind::Date, "2016-11-10");
    let clock = (Kind::Time(3), "13:51:30.123");
    let instant = (Kind::Timestamp(3), "2016-11-04 13:51:30.123");
    for (mode, dates, times, instants) in [
        (
            TimeMode::AdaptiveTimeMicroseconds,
            ("17115", "io.debezium.time.Date"),
            ("49890123000", "io.debezium.time.MicroTime"),
            ("1478267490123", "io.debezium.time.Timestamp"),
        ),
        (
            TimeMode::Connect,
            ("17115", logical::DATE),
            ("49890123", logical::TIME),
            ("1478267490123", logical::TIMESTAMP),
        ),
        (
            TimeMode::IsoString,
            ("\"2016-11-10Z\"", "io.debezium.time.IsoDate"),
            ("\"13:51:30.123Z\"", "io.debezium.time.IsoTime"),
            (
                "\"2016-11-04T13:51:30.123Z\"",
                "io.debezium.time.IsoTimestamp",
            ),
        ),
        (
            TimeMode::Microseconds,
            ("17115", "io.debezium.time.Date"),
            ("49890123000", "io.debezium.time.MicroTime"),
            ("1478267490123000", "io.debezium.time.MicroTimestamp"),
        ),
        (
            TimeMode::Nanoseconds,
            ("17115", "io.debezium.time.Date"),
            ("49890123000000", "io.debezium.time.NanoTime"),
            ("1478267490123000000", "io.debezium.time.NanoTimestamp"),
        ),
    ] {
        let pair = |(json, name): (&str, &str)| (json.to_owned(), name.to_owned());
        let with = time(mode);
        assert_eq!(shown(&with, &day.0, day.1), pair(dates), "{mode:?}");
        assert_eq!(shown(&with, &clock.0, clock.1), pair(times), "{mode:?}");
        assert_eq!(
            shown(&with, &instant.0, instant.1),
            pair(instants),
            "{mode:?}"
        );
    }

    let interval = Rendering {
        interval_text: true,
        ..rendering()
    };
    assert_eq!(
        shown(&interval, &Kind::Interval, "P1Y2M3DT4H5M6.78S"),
        (
            "\"P1Y2M3DT4H5M6.78S\"".to_owned(),
            "io.debezium.time.Interval".to_owned()
        )
    );
    let hstore = Rendering {
        hstore_map: true,
        ..rendering()
    };
    assert_eq!(
        shown(&hstore, &Kind::Hstore, "\"a\"=>\"1\", \"b\"=>NULL").0,
        "{\"a\":\"1\",\"b\":null}"
    );
    for (mode, expected) in [
        (BinaryMode::Base64, "\"+/8=\""),
        (BinaryMode::Base64UrlSafe, "\"-_8=\""),
        (BinaryMode::Hex, "\"fbff\""),
    ] {
        let binary = Rendering {
            binary: mode,
            ..rendering()
        };
        assert_eq!(shown(&binary, &Kind::Bytes, "\\xfbff").0, expected);
        // What is not known is bytes, too.
        let unknown = Rendering {
            unknown: true,
            ..binary
        };
        assert_eq!(shown(&unknown, &Kind::Unknown, "a").1, "string");
    }
    // What does not fit is null, and what has no end the end of the numbers.
    let nanos = time(TimeMode::Nanoseconds);
    for (text, expected) in [
        ("0001-01-01 00:00:00", "null"),
        ("9999-12-31 23:59:59", "null"),
        ("infinity", "9223372036854775807"),
        ("-infinity", "-9223372036854775808"),
    ] {
        assert_eq!(shown(&nanos, &Kind::Timestamp(6), text).0, expected);
    }
    let clipped = Rendering {
        clip_infinity: true,
        ..time(TimeMode::IsoString)
    };
    for (kind, text, expected) in [
        (Kind::Date, "infinity", "\"9999-12-31Z\""),
        (Kind::Date, "-infinity", "\"0001-01-01Z\""),
        (Kind::Date, "0044-03-15 BC", "\"-0043-03-15Z\""),
        (
            Kind::Timestamp(3),
            "infinity",
            "\"9999-12-31T23:59:59.999Z\"",
        ),
        (
            Kind::TimestampTz(6),
            "infinity",
            "\"9999-12-31T23:59:59.999999Z\"",
        ),
        (
            Kind::TimestampTz(6),
            "-infinity",
            "\"0001-01-01T00:00:00.000000Z\"",
        ),
    ] {
        assert_eq!(shown(&clipped, &kind, text).0, expected, "{kind:?} {text}");
    }
    let connect = time(TimeMode::Connect);
    assert_eq!(
        shown(&connect, &Kind::Timestamp(6), "infinity").0,
        "9223372036825200"
    );
    let iso = time(TimeMode::IsoString);
    for (kind, text, expected) in [
        (Kind::Time(6), "03:04:05", "\"03:04:05Z\""),
        (Kind::Time(6), "03:04:05.5", "\"03:04:05.5Z\""),
        (
            Kind::Timestamp(6),
            "2020-01-02 03:04:00",
            "\"2020-01-02T03:04:00Z\"",
        ),
        (Kind::TimeTz(6), "00:00:00-12", "\"12:00:00Z\""),
    ] {
        assert_eq!(shown(&iso, &kind, text).0, expected);
    }
    let unknown = Rendering {
        unknown: true,
        ..rendering()
    };
    assert_eq!(shown(&unknown, &Kind::Unknown, "a").0, "\"YQ==\"");
}

#[test]
fn decimals_tell_scale_and_precision() {
    let schema = rendering().schema(&Kind::Numeric(Some((10, 2)))).unwrap();
    assert_eq!(schema.version, Some(1));
    assert_eq!(schema.parameters["scale"], "2");
    assert_eq!(schema.parameters["connect.decimal.precision"], "10");
}

#[test]
fn texts_that_are_no_values_are_errors() {
    for (kind, text) in [
        (Kind::Boolean, "maybe"),
        (Kind::Int16, "32768"),
        (Kind::Date, "today"),
        (Kind::Bytes, "\\x0"),
        (Kind::Bytes, "raw"),
        (Kind::Bits(None), "102"),
        (Kind::Point, "1,2"),
        (Kind::Array(Box::new(Kind::Int32)), "{x}"),
    ] {
        assert!(rendering().value(&kind, text).is_err(), "{kind:?} {text}");
    }
}

#[test]
fn unavailable_values_say_so_in_their_own_type() {
    let with = rendering();
    let shown = |kind: &Kind| {
        let schema = with.schema(kind).unwrap().optional();
        with.unavailable(&schema).to_json().to_string()
    };
    assert_eq!(shown(&Kind::Text), "\"__debezium_unavailable_value\"");
    assert_eq!(
        shown(&Kind::Array(Box::new(Kind::Text))),
        "[\"__debezium_unavailable_value\"]"
    );
    assert_eq!(
        shown(&Kind::Bytes),
        format!("\"{}\"", STANDARD.encode("__debezium_unavailable_value"))
    );
    assert_eq!(shown(&Kind::Numeric(None)), "null");
}

#[test]
fn defaults_that_are_constants() {
    let with = rendering();
    let default = |kind: &Kind, expression| {
        default_value(&with, kind, expression).map(|value| value.to_json().to_string())
    };
    for (kind, expression, expected) in [
        (Kind::Int32, "nextval('t_id_seq'::regclass)", Some("0")),
        (Kind::Int32, "7", Some("7")),
        (Kind::Int32, "'-7'::integer", Some("-7")),
        (Kind::Boolean, "true", Some("true")),
        (Kind::Text, "'it''s'::text", Some("\"it's\"")),
        (Kind::Text, "'a'::character varying", Some("\"a\"")),
        (
            Kind::TimestampTz(6),
            "'2020-01-01 00:00:00+00'::timestamp with time zone",
            Some("\"2020-01-01T00:00:00.000000Z\""),
        ),
        (Kind::Text, "NULL::text", None),
        (Kind::Text, "('a'::text || 'b'::text)", None),
        (Kind::Text, "'a'::text || lower('b')", None),
        (
            Kind::TimestampTz(6),
            "now()",
            Some("\"1970-01-01T00:00:00.000000Z\""),
        ),
        (Kind::Text, "upper('x'::text)", Some("\"\"")),
        (
            Kind::Array(Box::new(Kind::Int32)),
            "'{1,2}'::integer[]",
            None,
        ),
        (Kind::Bytes, "'\\x01'::bytea", None),
        (Kind::Numeric(None), "1.25", None),
        (Kind::Int32, "(1 + 2)", None),
    ] {
        assert_eq!(
            default(&kind, expression).as_deref(),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn decimals_that_are_defaults_have_all_their_digits() {
    let text = Rendering {
        decimal: DecimalMode::String,
        ..rendering()
    };
    let default = |scale, expression| {
        let value = default_value(&text, &Kind::Numeric(Some((9, scale))), expression);
        value.map(|value| value.to_json().to_string())
    };
    assert_eq!(default(2, "12.3").as_deref(), Some("\"12.30\""));
    assert_eq!(default(2, "'-1'::integer").as_deref(), Some("\"-1.00\""));
    assert_eq!(default(0, "7").as_deref(), Some("\"7\""));
}

#[test]
fn hostile_texts_are_values_or_errors() {
    // The same numbers every time: a failure names the text.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (below as u64)).unwrap()
    };
    let texts = [
        "12.34",
        "-0001",
        "NaN",
        "Infinity",
        "-infinity",
        "$1,234.11",
        "0001-12-31 BC",
        "2016-11-04 13:51:30.123456+02",
        "24:00:00",
        "23:59:60",
        "P1Y2M-3DT4H5M6.78S",
        "\\x0102",
        "101",
        "{1,NULL,{\"a\"}}",
        "[0:1]={a,b}",
        "\"a\"=>\"1\", \"b\"=>NULL",
        "(1.5,-2)",
        "9223372036854775807",
        "294276-12-31 23:59:59.999999",
        "ü",
    ];
    let element = Box::new(Kind::Timestamp(6));
    let kinds = [
        Kind::Boolean,
        Kind::Int16,
        Kind::Int64,
        Kind::Float64,
        Kind::Numeric(Some((10, 2))),
        Kind::Numeric(None),
        Kind::Money,
        Kind::Date,
        Kind::Time(6),
        Kind::TimeTz(6),
        Kind::Timestamp(3),
        Kind::TimestampTz(6),
        Kind::Interval,
        Kind::Bytes,
        Kind::Bits(Some(3)),
        Kind::Hstore,
        Kind::Point,
        Kind::Array(element),
        Kind::Unknown,
    ];
    let modes = [
        TimeMode::Adaptive,
        TimeMode::Nanoseconds,
        TimeMode::IsoString,
    ];
    for _ in 0..5_000 {
        let mut text: Vec<char> = texts[random(texts.len())].chars().collect();
        for _ in 0..random(4) {
            let place = random(text.len());
            match random(3) {
                0 => text[place] = texts[random(texts.len())].chars().next().unwrap(),
                1 => text.insert(place, char::from(u8::try_from(32 + random(95)).unwrap())),
                _ => drop(text.splice(place..place, "99999999999999999999".chars())),
            }
        }
        let text: String = text.into_iter().collect();
        let with = Rendering {
            time: modes[random(modes.len())],
            unknown: true,
            ..rendering()
        };
        for kind in &kinds {
            let rendered = std::panic::catch_unwind(|| with.value(kind, &text));
            assert!(rendered.is_ok(), "{kind:?} panics at {text:?}");
            let default = std::panic::catch_unwind(|| default_value(&with, kind, &text));
            assert!(default.is_ok(), "{kind:?} panics at default {text:?}");
        }
    }
}
