//! Lies about a column: counts, lengths, offsets, bitmaps, errors.

use thalweg_udf::bindings::functions as bindings;
use thalweg_udf::{Argument, Batch, DataType, Fault, Results, Returned, arguments, describe};

use bindings::exports::thalweg::plugin::{meta, scalar};
use bindings::thalweg::plugin::columns::{ArrayNode, RowError};
use scalar::Output;

use crate::doom;

struct Module;

/// Only for its signature: the calls go through `Module`.
#[thalweg_udf::scalar_function]
fn evil(attack: &str) -> i64 {
    attack.len() as i64
}

/// As `evil`, with text as its result.
#[thalweg_udf::scalar_function]
fn evil_text(attack: &str) -> String {
    attack.to_owned()
}

impl meta::Guest for Module {
    fn describe() -> Vec<meta::Signature> {
        describe(&[
            thalweg_udf::Function::of::<evil>(),
            thalweg_udf::Function::of::<evil_text>(),
        ])
    }
}

impl scalar::Guest for Module {
    fn invoke(function: u32, args: Batch) -> Result<Output, Fault> {
        let _ = describe(&[]);
        let [attacks] = arguments(&args, [DataType::Utf8])?;
        let attack = (0..args.rows as usize)
            .filter_map(|row| <&str>::read(&attacks, row))
            .find(|attack| *attack != "none")
            .unwrap_or("none");
        match attack {
            "invalid-argument" => {
                return Err(Fault::InvalidArgument("the argument is not liked".into()));
            }
            "retryable" => return Err(Fault::Retryable("come back later".into())),
            "fatal" => return Err(Fault::Fatal("it is over".into())),
            _ => {}
        }
        doom::perform(attack);
        let mut output = if function == 0 {
            numbers(args.rows)
        } else {
            texts(args.rows)
        };
        lie(attack, &mut output);
        Ok(output)
    }
}

fn numbers(rows: u32) -> Output {
    let mut results = Results::new(DataType::Int64, rows);
    (0..rows).for_each(|row| i64::from(row).push(&mut results));
    output(results, rows)
}

fn texts(rows: u32) -> Output {
    let mut results = Results::new(DataType::Utf8, rows);
    (0..rows).for_each(|row| format!("row {row}").push(&mut results));
    output(results, rows)
}

fn output(results: Results, rows: u32) -> Output {
    let (nodes, buffers) = results.into_parts();
    Output {
        data: Batch {
            rows,
            nodes: vec![nodes],
            buffers,
        },
        errors: Vec::new(),
    }
}

fn lie(attack: &str, output: &mut Output) {
    let rows = output.data.rows;
    let data = &mut output.data;
    match attack {
        "rows" => data.rows += 1,
        "node-length" => data.nodes[0].length = u32::MAX,
        "null-count" => data.nodes[0].null_count = rows,
        "two-columns" => data.nodes.push(ArrayNode {
            length: rows,
            null_count: 0,
        }),
        "no-buffers" => data.buffers.clear(),
        "short-values" => data.buffers[1].truncate(3),
        "short-bitmap" => {
            data.nodes[0].null_count = 1;
            data.buffers[0] = Vec::new();
        }
        "offsets-start" => data.buffers[1][0] = 1,
        "offsets-decrease" => data.buffers[1][4..8].copy_from_slice(&i32::MAX.to_le_bytes()),
        "offsets-negative" => data.buffers[1][4..8].copy_from_slice(&(-5i32).to_le_bytes()),
        "offsets-end" => data.buffers[2].push(b'x'),
        "utf8" => data.buffers[2][0] = 0xff,
        "null-length" => {
            data.nodes[0].null_count = rows;
            data.buffers[0] = vec![0; (rows as usize).div_ceil(8)];
        }
        "bomb" => data.buffers = vec![Vec::new(), vec![0; 20 << 20]],
        "many-buffers" => data.buffers = vec![Vec::new(); 1 << 20],
        "error-row" => output.errors.push(RowError {
            row: rows,
            message: "outside".into(),
        }),
        "error-slot" => output.errors.push(RowError {
            row: 0,
            message: "with a value".into(),
        }),
        "error-order" => {
            for _ in 0..2 {
                output.errors.push(RowError {
                    row: 0,
                    message: "twice".into(),
                });
            }
        }
        "error-long" => {
            data.nodes[0].null_count = rows;
            data.buffers[0] = vec![0; (rows as usize).div_ceil(8)];
            output.errors.push(RowError {
                row: 0,
                message: "ä".repeat(1 << 20),
            });
        }
        _ => {}
    }
}

bindings::export_scalar_udf!(Module with_types_in bindings);
