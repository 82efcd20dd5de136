//! OVER: what is out there is what the functions give over all rows, however they come, change and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::DataType::{Int64, Utf8View};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};

use crate::operator::tests::Script;
use crate::test_plan::{FnExpr, PlanBuilder, SECOND, TIMESTAMP};
use crate::{
    AggregateCall, ExprError, NativeAggregate, OverFunction, OverValues, Reach, StreamPlan,
};

fn numbers(rows: &RecordBatch) -> Vec<i64> {
    let numbers = rows.column(1).as_primitive::<Int64Type>();
    numbers.values().to_vec()
}

/// The number two rows before.
fn lag(rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let numbers = numbers(rows);
    let before = |row: usize| row.checked_sub(2).map(|row| numbers[row]);
    Ok(Arc::new(
        (0..numbers.len()).map(before).collect::<Int64Array>(),
    ))
}

/// The number of the row behind.
fn lead(rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let numbers = numbers(rows);
    let behind = |row: usize| numbers.get(row + 1).copied();
    Ok(Arc::new(
        (0..numbers.len()).map(behind).collect::<Int64Array>(),
    ))
}

/// The sum of the numbers so far.
fn running(rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let mut sum = 0;
    let sums = numbers(rows).into_iter().map(|number| {
        sum += number;
        sum
    });
    Ok(Arc::new(sums.collect::<Int64Array>()))
}

/// How many rows there are of the ten seconds before, and of the same time.
fn recent(rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
    let times = times.values();
    let near = |time: &i64| {
        let near = times
            .iter()
            .filter(|other| (time - 10 * SECOND..=*time).contains(other));
        near.count() as i64
    };
    Ok(Arc::new(times.iter().map(near).collect::<Int64Array>()))
}

type Function = fn(&RecordBatch) -> Result<ArrayRef, ExprError>;

/// What is tried: each with how far it looks.
const FUNCTIONS: [(Function, Reach, Reach); 4] = [
    (lag, Reach::Rows(2), Reach::Rows(0)),
    (lead, Reach::Rows(0), Reach::Rows(1)),
    (running, Reach::All, Reach::Rows(0)),
    (recent, Reach::Time(10 * SECOND), Reach::Time(0)),
];

/// The sum of the numbers up to the same time.
fn running_with_peers(rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
    let (times, numbers) = (times.values(), numbers(rows));
    let sum = |time: &i64| -> i64 {
        let before = times
            .iter()
            .zip(&numbers)
            .filter(|(other, _)| *other <= time);
        before.map(|(_, number)| number).sum()
    };
    Ok(Arc::new(times.iter().map(sum).collect::<Int64Array>()))
}

/// Aggregates that go on from the row before, behind the others in number: each with what it computes, and whether over
/// rows of the same time.
const RUNNING: [(Function, bool); 2] = [(running_with_peers, true), (running, false)];

/// What a function computes, over all rows.
fn over_all(function: usize) -> Function {
    match function.checked_sub(FUNCTIONS.len()) {
        Some(number) => RUNNING[number].0,
        None => FUNCTIONS[function].0,
    }
}

fn values(function: usize) -> OverValues {
    if let Some(number) = function.checked_sub(FUNCTIONS.len()) {
        let call = AggregateCall {
            id: 0,
            function: Arc::new(NativeAggregate::Sum),
            arguments: vec![1],
            order_by: Vec::new(),
            filter: None,
            distinct: false,
            output: Int64,
        };
        let peers = RUNNING[number].1;
        return OverValues::Running { call, peers };
    }
    let (values, behind, ahead) = FUNCTIONS[function];
    OverValues::Around {
        values: Arc::new(FnExpr(values)),
        behind,
        ahead,
    }
}

/// Names, numbers and times: these functions for each name by time.
fn plan(functions: &[usize]) -> (StreamPlan, usize) {
    let mut plan = PlanBuilder::default();
    let columns = [("name", Utf8View), ("number", Int64), ("at", TIMESTAMP)];
    let source = plan.source("t", &columns, Some(vec![1]));
    let functions = functions.iter().map(|&function| OverFunction {
        name: format!("f{function}"),
        values: values(function),
        output: Int64,
    });
    plan.over(source, &["name"], "at", functions.collect());
    (plan.build(), source)
}

#[test]
fn values_follow_the_rows_around() {
    let (plan, source) = plan(&[1, 2]);
    let mut script = Script::new(plan);
    script.push(source, "+ a 1 10\n+ a 2 20\n+ a 3 30");
    assert_eq!(
        script.end(None),
        ["+ a 1 10 2 1", "+ a 2 20 3 3", "+ a 3 30 ~ 6"]
    );
    script.push(source, "- a 2 20");
    assert_eq!(
        script.end(None),
        [
            "- a 1 10 2 1",
            "+ a 1 10 3 1",
            "- a 2 20 3 3",
            "- a 3 30 ~ 6",
            "+ a 3 30 ~ 4"
        ]
    );
    script.push(source, "+ b 9 5\n- b 9 5");
    assert!(script.end(None).is_empty());
    script.push(source, "- a 1 10\n- a 3 30");
    assert_eq!(script.end(None), ["- a 1 10 3 1", "- a 3 30 ~ 4"]);
    script.commit();
    assert_eq!(script.keys(), 0, "nothing is kept of what is not there");
}

#[test]
fn what_is_read_is_what_functions_look_at() {
    let (plan, source) = plan(&[0, 1]);
    let mut script = Script::new(plan);
    let rows: String = (0..100)
        .map(|number| format!("+ a {number} {number}\n"))
        .collect();
    script.push(source, &rows);
    script.end(None);
    // The row behind the two before, and the two behind it, see a new one in the middle.
    script.push(source, "+ a 500 50");
    let changed = script.end(None);
    assert_eq!(changed.len(), 7, "{changed:?}");
}

thread_local! {
    /// The most rows that were handed to [`counted`].
    static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn counted(rows: &RecordBatch) -> Result<ArrayRef, ExprError> {
    READ.set(READ.get().max(rows.num_rows()));
    Ok(Arc::new(Int64Array::from(numbers(rows))))
}

#[test]
fn a_running_sum_goes_on_from_the_row_before() {
    let mut plan = PlanBuilder::default();
    let columns = [("name", Utf8View), ("number", Int64), ("at", TIMESTAMP)];
    let source = plan.source("t", &columns, None);
    let counts = OverValues::Around {
        values: Arc::new(FnExpr(counted)),
        behind: Reach::Rows(0),
        ahead: Reach::Rows(0),
    };
    let functions = [values(4), values(5), counts].into_iter().enumerate();
    let functions = functions.map(|(number, values)| OverFunction {
        name: format!("f{number}"),
        values,
        output: Int64,
    });
    plan.over(source, &["name"], "at", functions.collect());
    let mut script = Script::new(plan.build());
    let rows: String = (0..100).map(|time| format!("+ a 1 {time}\n")).collect();
    script.push(source, &rows);
    script.end(None);
    script.commit();
    script.restart();
    READ.set(0);
    script.push(source, "+ a 5 100");
    assert_eq!(script.end(None), ["+ a 5 100 105 105 5"]);
    // Its peers are read with it.
    script.push(source, "+ a 7 100");
    assert_eq!(
        script.end(None),
        [
            "- a 5 100 105 105 5",
            "+ a 5 100 112 105 5",
            "+ a 7 100 112 112 7"
        ]
    );
    assert_eq!(READ.get(), 2);
}

/// The answer over all rows of a table: numbers are its key.
fn answer(
    schema: &SchemaRef,
    table: &BTreeMap<i64, (String, i64)>,
    functions: &[usize],
) -> BTreeMap<String, i64> {
    let mut answer = BTreeMap::new();
    for name in ["a", "b"] {
        let mut rows: Vec<(i64, i64)> = (table.iter())
            .filter(|(_, (other, _))| other == name)
            .map(|(number, (_, time))| (*time, *number))
            .collect();
        rows.sort_unstable();
        let text: String = (rows.iter())
            .map(|(time, number)| format!("+ {name} {number} {time}\n"))
            .collect();
        let batch = crate::test_plan::parse(schema, &text).batch;
        let columns = functions
            .iter()
            .map(|&function| over_all(function)(&batch).unwrap());
        let columns: Vec<ArrayRef> = columns.collect();
        for (row, (time, number)) in rows.iter().enumerate() {
            let values = columns.iter().map(|column| {
                let column = column.as_primitive::<Int64Type>();
                let value = column.iter().nth(row).unwrap();
                value.map_or("~".to_owned(), |value| value.to_string())
            });
            let values: Vec<String> = values.collect();
            answer.insert(format!("{name} {number} {time} {}", values.join(" ")), 1);
        }
    }
    answer
}

#[test]
fn values_are_those_of_all_rows_however_they_come_and_go() {
    for seed in 0..400u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let sets: [&[usize]; 12] = [
            &[0],
            &[1],
            &[2],
            &[3],
            &[0, 1],
            &[0, 1, 2, 3],
            &[4],
            &[5],
            &[0, 4],
            &[5, 1],
            &[4, 3, 5],
            &[2, 4],
        ];
        let functions = sets[random.usize(..sets.len())];
        let (plan, source) = plan(functions);
        let schema = Arc::clone(&plan.nodes[source].schema);
        let mut script = Script::new(plan);
        let mut table: BTreeMap<i64, (String, i64)> = BTreeMap::new();
        let mut out: BTreeMap<String, i64> = BTreeMap::new();
        let mut committed = (table.clone(), out.clone());
        let add = |out: &mut BTreeMap<String, i64>, changes: Vec<String>| {
            for change in changes {
                let sign = if change.starts_with('+') { 1 } else { -1 };
                *out.entry(change[2..].to_owned()).or_default() += sign;
            }
            out.retain(|_, count| *count != 0);
        };
        for step in 0..50 {
            match random.u8(..9) {
                0 => {
                    add(&mut out, script.end(None));
                    script.commit();
                    committed = (table.clone(), out.clone());
                }
                1 => {
                    script.restart();
                    (table, out) = committed.clone();
                }
                2 | 3 => {
                    add(&mut out, script.end(None));
                    let wanted = answer(&schema, &table, functions);
                    assert_eq!(out, wanted, "seed {seed}, step {step}");
                }
                _ => {
                    let (name, number) = (["a", "b"][random.usize(..2)], random.i64(0..20));
                    let time = random.i64(0..40);
                    let sign = ["+", "+", "-"][random.usize(..3)];
                    script.push(source, &format!("{sign} {name} {number} {time}"));
                    match sign {
                        "+" => table.insert(number, (name.to_owned(), time)),
                        _ => table.remove(&number),
                    };
                }
            }
        }
    }
}
