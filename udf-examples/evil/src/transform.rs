//! Lies about records: counts, offsets, headers, parents, routes, errors.

use std::cell::RefCell;

use thalweg_udf::Fault;
use thalweg_udf::bindings::transforms as bindings;

use bindings::exports::thalweg::plugin::transform::{Guest, Output};
use bindings::thalweg::plugin::records::{Batch, RecordError};

use crate::doom;

struct Module;

#[derive(Default)]
struct Plan {
    attack: String,
    when: String,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

impl Guest for Module {
    fn open(config: Vec<(String, String)>) -> Result<(), Fault> {
        let _ = thalweg_udf::describe(&[]);
        for (name, value) in config {
            match name.as_str() {
                "attack" => PLAN.with_borrow_mut(|plan| plan.attack = value),
                "when" => PLAN.with_borrow_mut(|plan| plan.when = value),
                "attack.open" if value == "refuse" => {
                    return Err(Fault::InvalidArgument("attack.open says to refuse".into()));
                }
                "attack.open" => drop(doom::perform(&value)),
                _ => {}
            }
        }
        Ok(())
    }

    fn process(_topic: String, _partition: i32, input: Batch) -> Result<Output, Fault> {
        PLAN.with_borrow(|plan| {
            let when = plan.when.as_bytes();
            let attacks =
                when.is_empty() || input.values.windows(when.len()).any(|part| part == when);
            let attack = if attacks {
                plan.attack.as_str()
            } else {
                "none"
            };
            match attack {
                "retryable" => return Err(Fault::Retryable("come back later".into())),
                "fatal" => return Err(Fault::Fatal("it is over".into())),
                _ => {}
            }
            doom::perform(attack);
            let mut output = Output {
                parent: (0..input.count).collect(),
                data: input,
                route: Vec::new(),
                errors: Vec::new(),
            };
            lie(attack, &mut output);
            Ok(output)
        })
    }

    fn close() {
        if PLAN.with_borrow(|plan| plan.attack == "spin-close") {
            doom::perform("spin");
        }
    }
}

fn lie(attack: &str, output: &mut Output) {
    let data = &mut output.data;
    let count = data.count;
    match attack {
        "count" => data.count += 1,
        "timestamps" => data.timestamps.push(0),
        "no-timestamps" => data.timestamps.clear(),
        "key-offsets" => drop(data.key_offsets.pop()),
        "value-offsets-decrease" => data.value_offsets[1] = u32::MAX,
        "value-offsets-end" => data.values.push(b'x'),
        "null-length" => data.value_nulls = vec![0; (count as usize).div_ceil(8)],
        "short-bitmap" => data.value_nulls = vec![0xff; (count as usize).div_ceil(8) + 1],
        "header-counts" => data.header_counts = vec![u32::MAX; count as usize],
        "header-utf8" => {
            data.header_counts = vec![0; count as usize];
            data.header_counts[0] = 1;
            data.header_offsets = vec![0, 1, 1];
            data.headers = vec![0xff];
        }
        "parent" => output.parent[0] = count,
        "parent-count" => drop(output.parent.pop()),
        "route-count" => output.route = vec![0; count as usize + 1],
        "error-index" => {
            output.errors.push(RecordError {
                index: count,
                retryable: false,
                message: "outside".into(),
            });
        }
        "error-long" => {
            let message = "ä".repeat(1 << 20);
            output.errors.push(RecordError {
                index: 0,
                retryable: true,
                message,
            });
        }
        "bomb" => {
            data.values = vec![0; 20 << 20];
            *data
                .value_offsets
                .last_mut()
                .expect("offsets have a first entry") = 20 << 20;
        }
        _ => {}
    }
}

bindings::export_record_transform!(Module with_types_in bindings);
