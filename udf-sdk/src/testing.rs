//! Runs a transform natively, as the host would: for `cargo test` in a guest's crate.

use std::cell::RefCell;

use crate::Fault;
use crate::bindings::transforms::exports::thalweg::plugin::transform::Output;
use crate::emit::{empty_batch, push_slot};
use crate::record::Record;
use crate::transform::{Transform, open, process};

/// What came out of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The output records, in order.
    pub records: Vec<OutputRecord>,
    /// Input index and message of each failed record.
    pub errors: Vec<(u32, String)>,
}

/// One output record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// The input record it came from.
    pub parent: u32,
    /// Number of its topic.
    pub route: u8,
    /// The key, if any.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Key and value of an input record; no value is a tombstone.
pub type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Opens `T` with `config` and runs keys and values through it, as one batch of partition 0 of topic `test`.
///
/// # Errors
/// The fault of `open` or `process`.
pub fn run<T: Transform>(
    config: &[(&str, &str)],
    records: &[KeyValue<'_>],
) -> Result<Outcome, Fault> {
    let mut batch = empty_batch();
    batch.count = u32::try_from(records.len()).expect("a test's batch is small");
    batch.key_offsets.push(0);
    batch.value_offsets.push(0);
    for (index, (key, value)) in records.iter().enumerate() {
        batch.timestamps.push(-1);
        push_slot(
            *key,
            index,
            &mut batch.key_offsets,
            &mut batch.key_nulls,
            &mut batch.keys,
        );
        push_slot(
            *value,
            index,
            &mut batch.value_offsets,
            &mut batch.value_nulls,
            &mut batch.values,
        );
    }
    let instance = RefCell::new(None::<T>);
    let config = config
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    open(&instance, config)?;
    Ok(outcome(&process(&instance, "test", 0, &batch)?))
}

fn outcome(output: &Output) -> Outcome {
    let records = (0..output.data.count as usize)
        .map(|index| {
            let record = Record {
                batch: &output.data,
                index,
                first_header: 0,
                topic: "test",
                partition: 0,
            };
            OutputRecord {
                parent: output.parent[index],
                route: output.route.get(index).copied().unwrap_or(0),
                key: record.key().map(<[u8]>::to_vec),
                value: record.value().map(<[u8]>::to_vec),
            }
        })
        .collect();
    let errors = output
        .errors
        .iter()
        .map(|error| (error.index, error.message.clone()))
        .collect();
    Outcome { records, errors }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Emit, RecordError};

    /// Emits each value twice; fails on `bad` after emitting; drops tombstones.
    struct Twice;

    impl Transform for Twice {
        fn open(config: &Config) -> Result<Self, String> {
            match config.get("refuse") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(Twice),
            }
        }

        fn process(&mut self, record: &Record<'_>, out: &mut Emit<'_>) -> Result<(), RecordError> {
            let Some(value) = record.value() else {
                return Ok(());
            };
            out.forward();
            out.emit_to(1, None, Some(value));
            if value == b"bad" {
                Err("it is bad".into())
            } else {
                Ok(())
            }
        }
    }

    #[test]
    fn outputs_before_an_error_are_withdrawn() {
        let records: [(Option<&[u8]>, Option<&[u8]>); 4] = [
            (Some(b"k"), Some(b"one")),
            (Some(b"k"), Some(b"bad")),
            (Some(b"k"), None),
            (None, Some(b"two")),
        ];
        let outcome = run::<Twice>(&[], &records).unwrap();
        let flat: Vec<(u32, u8, bool, &[u8])> = outcome
            .records
            .iter()
            .map(|record| {
                (
                    record.parent,
                    record.route,
                    record.key.is_some(),
                    record.value.as_deref().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            flat,
            [
                (0, 0, true, &b"one"[..]),
                (0, 1, false, b"one"),
                (3, 0, false, b"two"),
                (3, 1, false, b"two")
            ]
        );
        assert_eq!(outcome.errors, [(1, "it is bad".to_owned())]);
    }

    #[test]
    fn refused_configuration_is_an_invalid_argument() {
        let fault = run::<Twice>(&[("refuse", "not today")], &[]).unwrap_err();
        assert!(matches!(fault, Fault::InvalidArgument(text) if text == "not today"));
    }
}
