//! The transform on single flights, natively.

use thalweg_udf::testing::{Outcome, run};

use super::Route;

const FLOWN: &str = r#"{"scheduled":"2013-01-01T10:15:00Z","carrier":"UA","flight":1545,"tailnum":"N14228","origin":"EWR","dest":"IAH","dep_delay":2,"arr_delay":11,"air_time":227,"distance":1400}"#;
const CANCELLED: &str =
    r#"{"carrier":"AA","origin":"LGA","dest":"ORD","dep_delay":null,"arr_delay":null}"#;

fn transform(config: &[(&str, &str)], values: &[&str]) -> Outcome {
    let records: Vec<(Option<&[u8]>, Option<&[u8]>)> = values
        .iter()
        .map(|value| (Some(&b"UA"[..]), Some(value.as_bytes())))
        .collect();
    run::<Route>(config, &records).unwrap()
}

fn text(outcome: &Outcome, index: usize) -> &str {
    std::str::from_utf8(outcome.records[index].value.as_deref().unwrap()).unwrap()
}

#[test]
fn flown_gets_its_route_and_cancelled_goes_aside_untouched() {
    let outcome = transform(&[], &[FLOWN, CANCELLED]);
    let routes: Vec<u8> = outcome.records.iter().map(|record| record.route).collect();
    assert_eq!(routes, [0, 1]);
    assert_eq!(
        text(&outcome, 0),
        FLOWN.replace('}', r#","route":"EWR-IAH"}"#)
    );
    assert_eq!(text(&outcome, 1), CANCELLED);
    assert_eq!(outcome.records[0].key.as_deref(), Some(&b"UA"[..]));
    assert!(outcome.errors.is_empty());
}

#[test]
fn bad_records_fail_alone() {
    let values = [
        "[1,2]",
        "{\"origin\":",
        r#"{"origin":"EWR","dest":"IAH"}"#,
        r#"{"origin":null,"dest":"IAH","dep_delay":3}"#,
        r#"{"origin":7,"dest":"IAH","dep_delay":3}"#,
        r#"{"origin":"EWR","dest":"IAH","dep_delay":3,"route":"x"}"#,
        FLOWN,
    ];
    let outcome = transform(&[], &values);
    assert_eq!(outcome.records.len(), 1);
    let messages: Vec<&str> = outcome
        .errors
        .iter()
        .map(|(_, message)| message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "the value is not a flight in JSON: invalid type: sequence, expected a JSON object at line 1 column 0",
            "the value is not a flight in JSON: EOF while parsing a value at line 1 column 10",
            "the value is not a flight in JSON: it has no field dep_delay at line 1 column 29",
            "the flight has no origin",
            "the value is not a flight in JSON: invalid type: integer `7`, expected text at line 1 column 11",
            "the value is not a flight in JSON: it already has a field route at line 1 column 50",
        ]
    );
}

#[test]
fn escapes_and_spaces_survive() {
    let value = "{ \"origin\" : \"E\\\"R\", \"dest\":\"I}H\", \"dep_delay\": 1.5 }  ";
    let outcome = transform(&[], &[value]);
    assert_eq!(
        text(&outcome, 0),
        "{ \"origin\" : \"E\\\"R\", \"dest\":\"I}H\", \"dep_delay\": 1.5,\"route\":\"E\\\"R-I}H\"}"
    );
}

#[test]
fn field_names_are_configurable() {
    let config = [
        ("origin.field", "from"),
        ("dest.field", "to"),
        ("delay.field", "late"),
        ("route.field", "way"),
    ];
    let outcome = transform(&config, &[r#"{"from":"A","to":"B","late":0}"#]);
    assert_eq!(
        text(&outcome, 0),
        r#"{"from":"A","to":"B","late":0,"way":"A-B"}"#
    );
    assert!(run::<Route>(&[("route.field", "")], &[]).is_err());
}

#[test]
fn tombstones_pass() {
    let outcome = run::<Route>(&[], &[(Some(b"UA"), None)]).unwrap();
    assert_eq!(outcome.records.len(), 1);
    assert_eq!(outcome.records[0].value, None);
}
