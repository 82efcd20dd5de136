//! What `evil` can do as a scalar function: fail its own rows, and nothing else.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use arrow::datatypes::Int64Type;
use connect_sandbox::CallError;

use crate::guests::{DEADLINE, delay_class, evil};

fn batch(attacks: &[&str]) -> [ArrayRef; 1] {
    [Arc::new(StringArray::from(attacks.to_vec()))]
}

/// Runs `attack` in the second of three rows; the message of that row, the others being well.
fn poison(function: &str, attack: &str) -> String {
    let function = evil().scalar(function).unwrap();
    let output = function
        .invoke(&batch(&["none", attack, "none"]), 3)
        .unwrap();
    assert_eq!(output.values.len(), 3);
    let valid: Vec<bool> = (0..3).map(|row| output.values.is_valid(row)).collect();
    assert_eq!(valid, [true, false, true], "{attack}");
    assert_eq!(output.errors.len(), 1, "{attack}: {:?}", output.errors);
    assert_eq!(output.errors[0].row, 1);
    output.errors[0].message.clone()
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    let started = Instant::now();
    let message = poison("evil", "spin");
    assert_eq!(
        message,
        "function evil of module evil.wasm ran longer than 500ms; look for a loop that does not end, or raise wasm.call_deadline_ms"
    );
    // The batch, one half of it, the row by itself; and a busy machine.
    assert!(started.elapsed() >= DEADLINE);
    assert!(started.elapsed() < DEADLINE * 12, "{:?}", started.elapsed());
}

#[test]
fn a_batch_of_endless_loops_is_given_up() {
    let function = evil().scalar("evil").unwrap();
    let started = Instant::now();
    let error = function.invoke(&batch(&["spin"; 1000]), 1000).unwrap_err();
    assert!(
        matches!(error, CallError::TooManyTraps { rows: 1000, .. }),
        "{error}"
    );
    assert!(started.elapsed() < DEADLINE * 20, "{:?}", started.elapsed());
    // And the function is as good as before.
    assert!(function.invoke(&batch(&["none"]), 1).is_ok());
}

#[test]
fn memory_is_refused_beyond_the_limit() {
    for attack in ["allocate", "grow"] {
        let message = poison("evil", attack);
        let (before, rest) = message.split_once(" wanted ").expect(&message);
        assert_eq!(before, "function evil of module evil.wasm");
        let (wanted, after) = rest.split_once(' ').unwrap();
        assert!(wanted.parse::<u64>().unwrap() > 64 << 20);
        assert_eq!(
            after,
            "bytes of memory, at most 67108864 are allowed; keep less at once, or raise wasm.memory_bytes_max"
        );
    }
}

#[test]
fn traps_say_what_happened() {
    let message = poison("evil", "panic");
    assert!(
        message.starts_with(
            "function evil of module evil.wasm trapped: panicked at evil/src/doom.rs:"
        ),
        "{message}"
    );
    assert!(
        message.ends_with(" the guest gave up on purpose"),
        "{message}"
    );
    assert_eq!(
        poison("evil", "trap"),
        "function evil of module evil.wasm trapped: wasm `unreachable` instruction executed"
    );
    assert_eq!(
        poison("evil", "recurse"),
        "function evil of module evil.wasm trapped: access outside of its memory (endless recursion ends like this, too)"
    );
}

#[test]
fn lies_about_columns_are_refused() {
    let rule = |function: &str, attack: &str| {
        let message = poison(function, attack);
        message
            .strip_prefix(&format!(
                "function {function} of module evil.wasm returned what the contract forbids: "
            ))
            .and_then(|rest| rest.strip_suffix("; the module is broken"))
            .unwrap_or_else(|| panic!("{attack}: {message}"))
            .to_owned()
    };
    let numbers = [
        "rows",
        "node-length",
        "null-count",
        "two-columns",
        "no-buffers",
        "short-values",
        "short-bitmap",
        "error-row",
        "error-slot",
    ];
    assert_eq!(
        numbers.map(|attack| rule("evil", attack)),
        [
            "2 rows for 1 rows of arguments",
            "a column of 4294967295 rows in a batch of 1",
            "1 nulls and no validity bitmap",
            "2 columns, one was expected",
            "a column without buffers",
            "3 bytes of values where 1 rows take 8",
            "1 nulls and no validity bitmap",
            "an error of row 1 of 1",
            "a value in row 0, which has an error",
        ]
    );
    let texts = [
        "offsets-start",
        "offsets-decrease",
        "offsets-negative",
        "offsets-end",
        "null-length",
    ];
    assert_eq!(
        texts.map(|attack| rule("evil_text", attack)),
        [
            "offsets that start with 1",
            "offsets that end with 2147483647 over 5 bytes",
            "offsets that decrease after row 0",
            "offsets that end with 5 over 6 bytes",
            "bytes in null 0",
        ]
    );
    let utf8 = rule("evil_text", "utf8");
    assert!(utf8.starts_with("a column that is not Utf8: "), "{utf8}");
}

#[test]
fn outputs_beyond_the_limit_are_refused() {
    // The second is small in the guest and large in the host.
    for attack in ["bomb", "many-buffers"] {
        assert_eq!(
            poison("evil", attack),
            "function evil of module evil.wasm returned more than 16777216 bytes; return less a record, or raise wasm.output_bytes_max"
        );
    }
}

#[test]
fn long_messages_are_cut() {
    let function = evil().scalar("evil").unwrap();
    let output = function.invoke(&batch(&["error-long"]), 1).unwrap();
    assert_eq!(output.errors[0].message, "ä".repeat(512));
}

#[test]
fn a_flood_of_messages_is_no_failure() {
    let function = evil().scalar("evil").unwrap();
    let output = function.invoke(&batch(&["flood", "none"]), 2).unwrap();
    assert!(output.errors.is_empty());
}

#[test]
fn faults_end_the_call_and_not_the_instance() {
    let function = evil().scalar("evil").unwrap();
    let fault = |attack: &str| function.invoke(&batch(&["none", attack]), 2).unwrap_err();
    assert_eq!(
        fault("invalid-argument").to_string(),
        "function evil of module evil.wasm refuses its input: the argument is not liked"
    );
    let retryable = fault("retryable");
    assert!(retryable.is_retryable());
    assert_eq!(
        retryable.to_string(),
        "function evil of module evil.wasm failed for now: come back later"
    );
    let fatal = fault("fatal");
    assert!(!fatal.is_retryable());
    assert_eq!(
        fatal.to_string(),
        "function evil of module evil.wasm failed: it is over"
    );
}

#[test]
fn poison_rows_are_found_among_thousands() {
    let function = evil().scalar("evil").unwrap();
    let rows = 10_000;
    let attacks: Vec<&str> = (0..rows)
        .map(|row| {
            if row == 4321 || row == 9999 {
                "trap"
            } else {
                "none"
            }
        })
        .collect();
    let output = function.invoke(&batch(&attacks), rows).unwrap();
    let failed: Vec<u32> = output.errors.iter().map(|error| error.row).collect();
    assert_eq!(failed, [4321, 9999]);
    let values = output.values.as_primitive::<Int64Type>();
    assert_eq!((values.len(), values.null_count()), (rows, 2));
    assert!(values.is_null(4321) && values.is_null(9999));
}

#[test]
fn others_go_on_beside_an_attack() {
    std::thread::scope(|scope| {
        for attack in ["spin", "allocate", "panic", "recurse"] {
            scope.spawn(move || poison("evil", attack));
        }
        let function = delay_class().scalar("delay_class").unwrap();
        let delays: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 100]));
        for _ in 0..200 {
            let output = function.invoke(&[Arc::clone(&delays)], 100).unwrap();
            assert!(output.errors.is_empty());
        }
    });
}
