//! What `evil` can do as a record transform: fail its own records, and nothing else.

use std::time::Instant;

use connect_sandbox::{CallError, RecordColumns, Transform};

use crate::guests::{DEADLINE, evil};

const PREFIX: &str = "transform of module evil.wasm ";

fn transform(config: &[(&str, &str)]) -> Transform {
    let config: Vec<_> = config
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    evil().transform(&config).unwrap()
}

fn records(values: &[&str]) -> RecordColumns {
    let mut records = RecordColumns::new();
    for value in values {
        records.push(0, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    records
}

/// Runs `attack` on the third of five records; the message of that record, the others going through.
fn poison(attack: &str) -> String {
    let mut transform = transform(&[("attack", attack), ("when", "poison")]);
    let input = records(&["one", "two", "poison", "four", "five"]);
    let output = transform.process("t", 0, &input).unwrap();
    let values: Vec<&[u8]> = (0..output.data.len())
        .map(|index| output.data.value(index).unwrap())
        .collect();
    assert_eq!(values, [&b"one"[..], b"two", b"four", b"five"], "{attack}");
    assert_eq!(output.parent, [0, 1, 3, 4]);
    assert_eq!(output.errors.len(), 1);
    assert_eq!(
        (output.errors[0].index, output.errors[0].retryable),
        (2, false)
    );
    let message = &output.errors[0].message;
    message
        .strip_prefix(PREFIX)
        .unwrap_or_else(|| panic!("{message}"))
        .to_owned()
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let started = Instant::now();
    assert_eq!(
        poison("spin"),
        "ran longer than 500ms; look for a loop that does not end, or raise wasm.call_deadline_ms"
    );
    assert!(started.elapsed() < DEADLINE * 12, "{:?}", started.elapsed());
}

#[test]
fn memory_and_traps_are_told() {
    for attack in ["allocate", "grow"] {
        let message = poison(attack);
        assert!(
            message.ends_with(" bytes of memory, at most 67108864 are allowed; keep less at once, or raise wasm.memory_bytes_max"),
            "{message}"
        );
    }
    let message = poison("panic");
    assert!(
        message.starts_with("trapped: panicked at evil/src/doom.rs:"),
        "{message}"
    );
    assert_eq!(
        poison("trap"),
        "trapped: wasm `unreachable` instruction executed"
    );
    assert_eq!(
        poison("bomb"),
        "returned more than 16777216 bytes; return less a record, or raise wasm.output_bytes_max"
    );
}

#[test]
fn lies_about_records_are_refused() {
    let attacks = [
        "count",
        "timestamps",
        "key-offsets",
        "value-offsets-decrease",
        "value-offsets-end",
        "null-length",
        "short-bitmap",
        "header-counts",
        "header-utf8",
        "parent",
        "parent-count",
        "route-count",
        "error-index",
    ];
    let rules = attacks.map(|attack| {
        let message = poison(attack);
        message
            .strip_prefix("returned what the contract forbids: ")
            .and_then(|rest| rest.strip_suffix("; the module is broken"))
            .unwrap_or_else(|| panic!("{attack}: {message}"))
            .to_owned()
    });
    assert_eq!(
        rules,
        [
            "1 parents for 2 records",
            "2 timestamps for 1 records",
            "keys have 1 offsets for 1 items",
            "values have offsets that end with 4294967295 over 6 bytes",
            "values have offsets that end with 6 over 7 bytes",
            "values have bytes in null 0",
            "values have a validity bitmap of 2 bytes for 1 records",
            "headers have 1 offsets for 4294967295 headers",
            "headers have a name that is not UTF-8 in header 0",
            "parent 1 of 1 input records",
            "0 parents for 1 records",
            "2 routes for 1 records",
            "an error of record 1 of 1",
        ]
    );
}

#[test]
fn poison_records_are_found_among_thousands() {
    let mut transform = transform(&[("attack", "trap"), ("when", "poison")]);
    let mut input = RecordColumns::new();
    for index in 0..10_000 {
        let value = if index % 3000 == 17 {
            "poison".to_owned()
        } else {
            format!("record {index}")
        };
        input.push(index, None, Some(value.as_bytes()), &[]);
    }
    let output = transform.process("t", 0, &input).unwrap();
    let failed: Vec<u32> = output.errors.iter().map(|error| error.index).collect();
    assert_eq!(failed, [17, 3017, 6017, 9017]);
    assert_eq!(output.data.len(), 9_996);
    assert!(output.parent.is_sorted());
    assert!(output.parent.iter().all(|parent| !failed.contains(parent)));
}

#[test]
fn faults_end_the_call_and_not_the_transform() {
    let mut retryable = transform(&[("attack", "retryable"), ("when", "poison")]);
    let error = retryable
        .process("t", 0, &records(&["poison"]))
        .unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(
        error.to_string(),
        format!("{PREFIX}failed for now: come back later")
    );
    assert_eq!(
        retryable
            .process("t", 0, &records(&["fine"]))
            .unwrap()
            .data
            .len(),
        1
    );

    let mut fatal = transform(&[("attack", "fatal")]);
    let error = fatal.process("t", 0, &records(&["any"])).unwrap_err();
    assert!(matches!(error, CallError::Fatal { .. }));
}

#[test]
fn attacks_while_opening_and_closing_end_in_time() {
    let open = |attack: &str| {
        let config = [("attack.open".to_owned(), attack.to_owned())];
        evil().transform(&config).err().unwrap().to_string()
    };
    let started = Instant::now();
    assert_eq!(
        open("spin"),
        format!(
            "{PREFIX}ran longer than 500ms; look for a loop that does not end, or raise wasm.call_deadline_ms"
        )
    );
    assert!(open("panic").contains(" the guest gave up on purpose"));
    assert_eq!(
        open("refuse"),
        format!("{PREFIX}refuses its input: attack.open says to refuse")
    );
    drop(transform(&[("attack", "spin-close")]));
    assert!(started.elapsed() < DEADLINE * 8, "{:?}", started.elapsed());
}

#[test]
fn long_messages_are_cut() {
    let mut transform = transform(&[("attack", "error-long")]);
    let output = transform.process("t", 0, &records(&["any"])).unwrap();
    assert!(output.errors[0].retryable);
    assert_eq!(output.errors[0].message, "ä".repeat(512));
}
