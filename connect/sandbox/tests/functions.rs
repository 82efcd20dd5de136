//! Scalar functions as a SQL engine calls them.

use std::sync::Arc;
use std::thread;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Float64Type};
use connect_sandbox::{CallError, Volatility};

use crate::guests::{delay_class, evil};

#[test]
fn signatures_are_what_the_guest_declares() {
    let functions = delay_class().functions();
    let names: Vec<&str> = functions
        .iter()
        .map(|function| function.name.as_str())
        .collect();
    assert_eq!(names, ["delay_class", "kilometres"]);
    let class = &functions[0];
    assert_eq!(
        class.args,
        [Field::new("dep_delay", DataType::Float64, true)]
    );
    assert_eq!(
        class.returns,
        Field::new("delay_class", DataType::Utf8, true)
    );
    assert_eq!(class.volatility, Volatility::Immutable);
    assert!(class.parallel_safe);
    assert!(!class.strict);
    let kilometres = &functions[1];
    assert_eq!(
        kilometres.args,
        [Field::new("miles", DataType::Float64, false)]
    );
    assert!(kilometres.strict);
    assert!(!delay_class().is_transform());
}

#[test]
fn delays_have_classes_and_null_has_none() {
    let function = delay_class().scalar("delay_class").unwrap();
    let delays = Float64Array::from(vec![Some(-3.0), Some(0.0), None, Some(59.5), Some(1e9)]);
    let output = function.invoke(&[Arc::new(delays)], 5).unwrap();
    let expected = vec![
        Some("early"),
        Some("on time"),
        None,
        Some("late"),
        Some("very late"),
    ];
    assert_eq!(
        output.values.as_string::<i32>(),
        &StringArray::from(expected)
    );
    assert!(output.errors.is_empty());
}

#[test]
fn a_row_fails_alone() {
    let function = delay_class().scalar("delay_class").unwrap();
    let delays = Float64Array::from(vec![1.0, f64::NAN, 20.0]);
    let output = function.invoke(&[Arc::new(delays)], 3).unwrap();
    let expected = vec![Some("on time"), None, Some("late")];
    assert_eq!(
        output.values.as_string::<i32>(),
        &StringArray::from(expected)
    );
    assert_eq!(output.errors.len(), 1);
    assert_eq!(output.errors[0].row, 1);
    assert_eq!(
        output.errors[0].message,
        "a delay of NaN minutes has no class"
    );
}

#[test]
fn other_types_are_cast_and_constants_are_one_row() {
    let function = delay_class().scalar("delay_class").unwrap();
    let integers: ArrayRef = Arc::new(Int32Array::from(vec![-1, 30]));
    let output = function.invoke(&[integers], 2).unwrap();
    assert_eq!(
        output.values.as_string::<i32>(),
        &StringArray::from(vec!["early", "late"])
    );

    let constant: ArrayRef = Arc::new(Int64Array::from(vec![70]));
    let output = function.invoke(&[constant], 4).unwrap();
    assert_eq!(
        output.values.as_string::<i32>(),
        &StringArray::from(vec!["very late"; 4])
    );

    let echo = evil().scalar("evil_text").unwrap();
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["none"; 3]));
    let output = echo.invoke(&[views], 3).unwrap();
    assert_eq!(
        output.values.as_string::<i32>(),
        &StringArray::from(vec!["row 0", "row 1", "row 2"])
    );
}

#[test]
fn batches_of_any_size_come_back_whole() {
    let function = delay_class().scalar("delay_class").unwrap();
    let kilometres = delay_class().scalar("kilometres").unwrap();
    for rows in [0, 1, 7, 8, 9, 8192, 8193, 30_000] {
        let delays = Float64Array::from_iter((0..rows).map(|row| match row % 3 {
            0 => None,
            1 => Some(-1.0),
            _ => Some(row as f64),
        }));
        let output = function.invoke(&[Arc::new(delays.clone())], rows).unwrap();
        let classes = output.values.as_string::<i32>();
        assert_eq!(
            (classes.len(), classes.null_count()),
            (rows, rows.div_ceil(3))
        );
        for row in (0..rows).step_by(1000) {
            let class = classes.is_valid(row).then(|| classes.value(row));
            assert_eq!(class.is_none(), row % 3 == 0);
            assert_eq!(class == Some("early"), row % 3 == 1);
        }

        // A slice that starts inside a byte of the bitmap; strict, so nulls never reach the guest.
        let miles = delays.slice(rows / 2, rows - rows / 2);
        let output = kilometres
            .invoke(&[Arc::new(miles.clone())], miles.len())
            .unwrap();
        let result = output.values.as_primitive::<Float64Type>();
        assert_eq!(result.len(), miles.len());
        for row in 0..miles.len() {
            assert_eq!(result.is_null(row), miles.is_null(row));
            if miles.is_valid(row) {
                assert_eq!(result.value(row), miles.value(row) * 1.609_344);
            }
        }
    }
}

#[test]
fn wrong_arguments_never_reach_the_guest() {
    let function = delay_class().scalar("delay_class").unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["soon"]));
    let error = function.invoke(&[text], 1).unwrap_err();
    assert!(matches!(error, CallError::Arguments { .. }));
    assert_eq!(
        error.to_string(),
        "function delay_class of module delay_class.wasm cannot take these arguments: dep_delay is Utf8 and cannot become \
         Float64: Cast error: Cannot cast string 'soon' to value of Float64 type"
    );
    let error = function.invoke(&[], 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "function delay_class of module delay_class.wasm cannot take these arguments: it takes 1 and got 0"
    );
}

#[test]
fn many_threads_call_one_function() {
    let function = delay_class().scalar("delay_class").unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let function = function.clone();
            scope.spawn(move || {
                let delays: ArrayRef =
                    Arc::new(Float64Array::from(vec![f64::from(thread) * 10.0; 1000]));
                let expected = if thread < 2 {
                    "on time"
                } else if thread < 6 {
                    "late"
                } else {
                    "very late"
                };
                for _ in 0..20 {
                    let output = function.invoke(&[Arc::clone(&delays)], 1000).unwrap();
                    assert!(
                        output
                            .values
                            .as_string::<i32>()
                            .iter()
                            .all(|class| class == Some(expected))
                    );
                }
            });
        }
    });
}
