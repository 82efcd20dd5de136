//! Record transforms as a connector's chain calls them.

use connect_sandbox::{CallError, RecordColumns, RecordError, SandboxError};

use crate::guests::{evil, route};

fn flight(origin: &str, delay: Option<i32>) -> String {
    let delay = delay.map_or("null".to_owned(), |delay| delay.to_string());
    format!(r#"{{"carrier":"UA","origin":"{origin}","dest":"IAH","dep_delay":{delay}}}"#)
}

fn option(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn flights_get_a_route_and_cancelled_ones_go_aside() {
    let mut transform = route().transform(&[]).unwrap();
    let mut input = RecordColumns::new();
    let flown = flight("EWR", Some(2));
    let cancelled = flight("LGA", None);
    input.push(
        1000,
        Some(b"UA"),
        Some(flown.as_bytes()),
        &[("trace", b"7"), ("trace", b"8")],
    );
    input.push(-1, None, Some(cancelled.as_bytes()), &[]);
    input.push(3000, Some(b"UA"), None, &[]);
    let output = transform.process("raw", 3, &input).unwrap();

    assert_eq!(output.parent, [0, 1, 2]);
    assert_eq!(output.route, [0, 1, 0]);
    assert_eq!(output.errors, []);
    let with_route = flown.replace('}', r#","route":"EWR-IAH"}"#);
    assert_eq!(output.data.value(0), Some(with_route.as_bytes()));
    assert_eq!(output.data.value(1), Some(cancelled.as_bytes()));
    assert_eq!(output.data.value(2), None);
    assert_eq!(output.data.key(0), Some(&b"UA"[..]));
    assert_eq!(output.data.key(1), None);
    let timestamps: Vec<i64> = (0..3).map(|index| output.data.timestamp(index)).collect();
    assert_eq!(timestamps, [1000, -1, 3000]);
    let headers: Vec<_> = output.data.headers(0).collect();
    assert_eq!(headers, [("trace", &b"7"[..]), ("trace", &b"8"[..])]);
    assert_eq!(output.data.headers(1).len(), 0);
}

#[test]
fn records_fail_alone() {
    let mut transform = route().transform(&[]).unwrap();
    let mut input = RecordColumns::new();
    for value in ["[]", &flight("JFK", Some(1)), "{"] {
        input.push(0, None, Some(value.as_bytes()), &[]);
    }
    let output = transform.process("raw", 0, &input).unwrap();
    assert_eq!(output.parent, [1]);
    assert_eq!(
        output.errors,
        [
            RecordError {
                index: 0,
                retryable: false,
                message: "the value is not a flight in JSON: invalid type: sequence, expected a JSON object at line 1 column 0"
                    .to_owned(),
            },
            RecordError {
                index: 2,
                retryable: false,
                message: "the value is not a flight in JSON: EOF while parsing an object at line 1 column 1".to_owned(),
            },
        ]
    );
}

#[test]
fn batches_of_any_size_come_back_whole() {
    let mut transform = route().transform(&[]).unwrap();
    for records in [0i32, 1, 8192, 8193, 20_000] {
        let mut input = RecordColumns::new();
        for index in 0..records {
            let delay = (index % 100 != 0).then_some(index);
            input.push(
                i64::from(index),
                Some(&index.to_le_bytes()),
                Some(flight("EWR", delay).as_bytes()),
                &[],
            );
        }
        let output = transform.process("raw", 0, &input).unwrap();
        assert_eq!(output.data.len(), records as usize);
        assert!(output.parent.iter().copied().eq(0..records as u32));
        assert_eq!(
            output.route.iter().filter(|&&route| route == 1).count(),
            (records as usize).div_ceil(100)
        );
        assert!(
            (0..records)
                .all(|index| output.data.key(index as usize) == Some(&index.to_le_bytes()[..]))
        );
    }
}

#[test]
fn one_record_may_be_larger_than_a_call() {
    let mut transform = route().transform(&[]).unwrap();
    let mut input = RecordColumns::new();
    let large = format!(
        r#"{{"origin":"EWR","dest":"IAH","dep_delay":1,"note":"{}"}}"#,
        "x".repeat(6 << 20)
    );
    input.push(0, None, Some(flight("LGA", Some(1)).as_bytes()), &[]);
    input.push(0, None, Some(large.as_bytes()), &[]);
    input.push(0, None, Some(flight("JFK", Some(1)).as_bytes()), &[]);
    let output = transform.process("raw", 0, &input).unwrap();
    assert_eq!(output.parent, [0, 1, 2]);
    assert!(
        output
            .data
            .value(1)
            .unwrap()
            .ends_with(br#"","route":"EWR-IAH"}"#)
    );
}

#[test]
fn configuration_reaches_the_guest() {
    let config = [option("route.field", "way"), option("origin.field", "from")];
    let mut transform = route().transform(&config).unwrap();
    let mut input = RecordColumns::new();
    input.push(
        0,
        None,
        Some(br#"{"from":"A","dest":"B","dep_delay":0}"#),
        &[],
    );
    let output = transform.process("raw", 0, &input).unwrap();
    assert_eq!(
        output.data.value(0),
        Some(&br#"{"from":"A","dest":"B","dep_delay":0,"way":"A-B"}"#[..])
    );

    let refused = route()
        .transform(&[option("route.field", "")])
        .err()
        .unwrap();
    assert!(matches!(
        refused,
        SandboxError::Call(CallError::Refused { .. })
    ));
    assert_eq!(
        refused.to_string(),
        "transform of module route.wasm refuses its input: route.field is empty: give it the name of a field, or leave it out"
    );
}

#[test]
fn missing_timestamps_are_the_parents() {
    let mut transform = evil()
        .transform(&[option("attack", "no-timestamps")])
        .unwrap();
    let mut input = RecordColumns::new();
    input.push(11, None, Some(b"a"), &[]);
    input.push(22, None, Some(b"b"), &[]);
    let output = transform.process("raw", 0, &input).unwrap();
    assert_eq!(
        (output.data.timestamp(0), output.data.timestamp(1)),
        (11, 22)
    );
}
