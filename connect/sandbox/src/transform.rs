//! Record transforms: batches of records through one instance, with poison records found and told.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::bisect::{self, Attempt};
use crate::error::{CallError, brief};
use crate::instance::{Instance, function};
use crate::module::{Loaded, TransformExports};
use crate::record::RecordColumns;
use crate::wire::{self, Fault, RecordsRef};

/// Records and bytes of one call; larger batches go in parts, so that they fit a guest's memory.
const RECORDS_MAX: usize = 8192;
const BYTES_MAX: usize = 4 << 20;
/// Time for a guest to say goodbye when its transform is dropped.
const CLOSE_LIMIT: Duration = Duration::from_millis(100);

pub(crate) type OpenArguments<'a> = (&'a [(String, String)],);
pub(crate) type OpenReturn = (Result<(), Fault>,);
pub(crate) type ProcessArguments<'a> = (&'a str, i32, RecordsRef<'a>);
pub(crate) type ProcessReturn = (Result<wire::TransformOutput, Fault>,);
pub(crate) type CloseArguments = ();

/// An opened transform: one instance, replaced when it traps.
pub struct Transform {
    module: Arc<Loaded>,
    exports: TransformExports,
    config: Vec<(String, String)>,
    callee: String,
    instance: Option<Instance>,
}

/// What came out of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransformOutput {
    /// The output records.
    pub data: RecordColumns,
    /// The input record that each output record came from, ascending.
    pub parent: Vec<u32>,
    /// The number of each output record's topic; empty = all 0. The guest chose it: check it against the topics there are.
    pub route: Vec<u8>,
    /// Input records that failed by themselves, ascending: by the guest's own word, or because it trapped on them.
    pub errors: Vec<RecordError>,
}

/// One input record's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Which input record.
    pub index: u32,
    /// Whether the record may be offered again. Never true after a trap.
    pub retryable: bool,
    /// What is wrong, at most 1 KiB.
    pub message: String,
}

impl Transform {
    pub(crate) fn open(
        module: Arc<Loaded>,
        exports: TransformExports,
        config: Vec<(String, String)>,
    ) -> Result<Transform, CallError> {
        let callee = format!("transform of module {}", module.name);
        let mut transform = Transform {
            module,
            exports,
            config,
            callee,
            instance: None,
        };
        transform.instance = Some(transform.start()?);
        Ok(transform)
    }

    /// Runs a batch, all of one topic and partition, in log order.
    ///
    /// Takes up to the call deadline, and up to eight of them (for each 8192 records or 4 MiB) if records trap. Such records come
    /// back as errors with a message that names the trap; the rest of the batch goes through. Nothing is remembered between calls.
    ///
    /// # Errors
    /// A fault of the guest for the whole batch; [`CallError::TooManyTraps`]; or the failure of a new instance to open. The
    /// transform stays usable: the next call starts a new instance.
    pub fn process(
        &mut self,
        topic: &str,
        partition: i32,
        input: &RecordColumns,
    ) -> Result<TransformOutput, CallError> {
        let mut pieces = Vec::new();
        let mut errors = Vec::new();
        for part in parts(input) {
            let deadline = self.module.shared.config.call_deadline;
            let callee = self.callee.clone();
            let found = bisect::run(&callee, part, deadline, |rows, limit| {
                self.attempt(topic, partition, input, rows, limit)
            })?;
            pieces.extend(found.done);
            errors.extend(found.poison.into_iter().map(|(index, error)| RecordError {
                index: count(index),
                retryable: false,
                message: brief(error.to_string()),
            }));
        }
        Ok(join(pieces, errors))
    }

    /// One call on a part of the batch. After a trap the instance is gone.
    fn attempt(
        &mut self,
        topic: &str,
        partition: i32,
        input: &RecordColumns,
        rows: Range<usize>,
        limit: Duration,
    ) -> Attempt<TransformOutput> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => match self.start() {
                Ok(instance) => instance,
                // Opening failed, so no part of the batch has a chance.
                Err(error) => {
                    return Attempt {
                        result: Err(for_good(error)),
                        fresh: true,
                    };
                }
            },
        };
        let fresh = !instance.used;
        let result = self.call(&mut instance, topic, partition, input, rows, limit);
        match &result {
            Err(error) if error.is_trap() => self.module.count(error),
            _ => self.instance = Some(instance),
        }
        Attempt { result, fresh }
    }

    fn call(
        &self,
        instance: &mut Instance,
        topic: &str,
        partition: i32,
        input: &RecordColumns,
        rows: Range<usize>,
        limit: Duration,
    ) -> Result<TransformOutput, CallError> {
        let copied;
        let part = if rows.len() == input.len() {
            input
        } else {
            let mut part = RecordColumns::with_capacity(rows.len(), 0);
            part.extend(input, rows);
            copied = part;
            &copied
        };
        let (result,) = instance.call(&self.callee, limit, |store, instance| {
            let process = self.exports.process;
            function::<ProcessArguments<'_>, ProcessReturn>(store, instance, process)?
                .call(store, (topic, partition, part.to_wire()))
        })?;
        let output = result.map_err(|fault| CallError::from_fault(&self.callee, fault))?;
        check(output, part, self.module.shared.config.output_bytes_max).map_err(|violation| {
            let callee = self.callee.clone();
            match violation {
                Violation::Rule(reason) => CallError::Output { callee, reason },
                Violation::Size(limit) => CallError::OutputSize { callee, limit },
            }
        })
    }

    /// A new instance, opened.
    fn start(&self) -> Result<Instance, CallError> {
        let callee = &self.callee;
        let limit = self.module.shared.config.call_deadline;
        let opened = self.module.instantiate(callee).and_then(|mut instance| {
            let (result,) = instance.call(callee, limit, |store, instance| {
                function::<OpenArguments<'_>, OpenReturn>(store, instance, self.exports.open)?
                    .call(store, (&self.config,))
            })?;
            result.map_err(|fault| CallError::from_fault(callee, fault))?;
            // Opening is part of being new.
            instance.used = false;
            Ok(instance)
        });
        opened.inspect_err(|error| self.module.count(error))
    }
}

impl Drop for Transform {
    fn drop(&mut self) {
        let Some(mut instance) = self.instance.take() else {
            return;
        };
        let closed = instance.call(&self.callee, CLOSE_LIMIT, |store, instance| {
            function::<CloseArguments, ()>(store, instance, self.exports.close)?.call(store, ())
        });
        if let Err(error) = closed {
            self.module.count(&error);
            tracing::debug!(module = &*self.module.name, %error, "a transform did not close");
        }
    }
}

/// Which promise of the contract an output breaks.
enum Violation {
    Rule(String),
    Size(usize),
}

impl From<String> for Violation {
    fn from(reason: String) -> Violation {
        Violation::Rule(reason)
    }
}

/// Checks everything a guest returned for `input`, and makes it ours.
fn check(
    output: wire::TransformOutput,
    input: &RecordColumns,
    output_bytes_max: usize,
) -> Result<TransformOutput, Violation> {
    let records = output.data.count as usize;
    let inputs = input.len();
    let parent = output.parent;
    if parent.len() != records {
        return Err(format!("{} parents for {records} records", parent.len()).into());
    }
    if let Some(&outside) = parent.iter().find(|&&parent| parent as usize >= inputs) {
        return Err(format!("parent {outside} of {inputs} input records").into());
    }
    if let Some(at) = parent.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(format!("parents that decrease after record {at}").into());
    }
    if !output.route.is_empty() && output.route.len() != records {
        return Err(format!("{} routes for {records} records", output.route.len()).into());
    }
    if let Some(error) = output
        .errors
        .iter()
        .find(|error| error.index as usize >= inputs)
    {
        return Err(format!("an error of record {} of {inputs}", error.index).into());
    }
    let data =
        RecordColumns::from_wire(output.data, |index| input.timestamp(parent[index] as usize))?;
    if data.bytes() > output_bytes_max {
        return Err(Violation::Size(output_bytes_max));
    }
    let mut errors: Vec<RecordError> = output
        .errors
        .into_iter()
        .map(|error| RecordError {
            index: error.index,
            retryable: error.retryable,
            message: brief(error.message),
        })
        .collect();
    errors.sort_by_key(|error| error.index);
    errors.dedup_by_key(|error| error.index);
    Ok(TransformOutput {
        data,
        parent,
        route: output.route,
        errors,
    })
}

/// The parts of a batch that go in one call each.
fn parts(input: &RecordColumns) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    if input.len() <= RECORDS_MAX && input.bytes() <= BYTES_MAX {
        parts.push(0..input.len());
        return parts;
    }
    let mut start = 0;
    let mut bytes = 0;
    for index in 0..input.len() {
        let own = input.key(index).map_or(0, <[u8]>::len)
            + input.value(index).map_or(0, <[u8]>::len)
            + input
                .headers(index)
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        if index > start && (bytes + own > BYTES_MAX || index - start == RECORDS_MAX) {
            parts.push(start..index);
            start = index;
            bytes = 0;
        }
        bytes += own;
    }
    parts.push(start..input.len());
    parts
}

/// Puts the outputs of the parts together, in the input's order.
fn join(
    mut pieces: Vec<(Range<usize>, TransformOutput)>,
    poison: Vec<RecordError>,
) -> TransformOutput {
    if pieces.len() == 1 && poison.is_empty() && pieces[0].0.start == 0 {
        return pieces.remove(0).1;
    }
    let routed = pieces.iter().any(|(_, piece)| !piece.route.is_empty());
    let mut all = TransformOutput {
        errors: poison,
        ..TransformOutput::default()
    };
    for (rows, piece) in pieces {
        let start = count(rows.start);
        let records = piece.data.len();
        all.data.extend(&piece.data, 0..records);
        all.parent
            .extend(piece.parent.iter().map(|parent| start + parent));
        if routed && piece.route.is_empty() {
            all.route.resize(all.route.len() + records, 0);
        }
        all.route.extend(piece.route);
        all.errors
            .extend(piece.errors.into_iter().map(|error| RecordError {
                index: start + error.index,
                ..error
            }));
    }
    all.errors.sort_by_key(|error| error.index);
    all
}

/// A failure to open, which is no record's fault: told as it is, and no reason to search.
fn for_good(error: CallError) -> CallError {
    if !error.is_trap() {
        return error;
    }
    let message = format!("it does not open: {error}");
    match error {
        CallError::Deadline { callee, .. }
        | CallError::Memory { callee, .. }
        | CallError::OutputSize { callee, .. }
        | CallError::Output { callee, .. }
        | CallError::Trap { callee, .. } => CallError::Fatal { callee, message },
        other => other,
    }
}

fn count(value: usize) -> u32 {
    u32::try_from(value).expect("RecordColumns holds at most 2^32 records")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(values: &[&[u8]]) -> RecordColumns {
        let mut input = RecordColumns::new();
        for value in values {
            input.push(1, None, Some(value), &[]);
        }
        input
    }

    fn output(parent: &[u32]) -> wire::TransformOutput {
        let len = parent.len();
        wire::TransformOutput {
            data: wire::Records {
                count: len as u32,
                key_offsets: vec![0; len + 1],
                value_offsets: vec![0; len + 1],
                ..wire::Records::default()
            },
            parent: parent.to_vec(),
            route: Vec::new(),
            errors: Vec::new(),
        }
    }

    #[test]
    fn parents_ascend() {
        let input = input(&[b"a", b"b", b"c"]);
        assert!(check(output(&[0, 0, 2, 2]), &input, 100).is_ok());
        let Err(Violation::Rule(reason)) = check(output(&[0, 2, 1]), &input, 100) else {
            panic!("taken");
        };
        assert_eq!(reason, "parents that decrease after record 1");
    }

    #[test]
    fn errors_are_ordered_and_one_a_record() {
        let mut output = output(&[]);
        output.errors = [2, 0, 2]
            .map(|index| wire::RecordError {
                index,
                retryable: false,
                message: "no".to_owned(),
            })
            .into();
        let Ok(checked) = check(output, &input(&[b"a", b"b", b"c"]), 100) else {
            panic!("refused")
        };
        let indices: Vec<u32> = checked.errors.iter().map(|error| error.index).collect();
        assert_eq!(indices, [0, 2]);
    }

    #[test]
    fn batches_are_cut_by_records_and_bytes() {
        let small = input(&vec![&b"x"[..]; 20_000]);
        assert_eq!(parts(&small), [0..8192, 8192..16_384, 16_384..20_000]);
        let large = vec![b'x'; 3 << 20];
        let mixed = input(&[b"a", &large, &large, b"b", b"c"]);
        assert_eq!(parts(&mixed), [0..2, 2..5]);
        let empty = parts(&input(&[]));
        assert_eq!((empty.len(), empty[0].len()), (1, 0));
    }

    #[test]
    fn joined_parts_keep_order_routes_and_indices() {
        let piece = |route: &[u8], errors: &[u32]| TransformOutput {
            data: input(&[b"x"]),
            parent: vec![1],
            route: route.to_vec(),
            errors: errors
                .iter()
                .map(|&index| RecordError {
                    index,
                    retryable: true,
                    message: String::new(),
                })
                .collect(),
        };
        let poison = RecordError {
            index: 4,
            retryable: false,
            message: String::new(),
        };
        let joined = join(
            vec![(0..4, piece(&[], &[3])), (5..9, piece(&[2], &[0]))],
            vec![poison],
        );
        assert_eq!(joined.parent, [1, 6]);
        assert_eq!(joined.route, [0, 2]);
        let indices: Vec<u32> = joined.errors.iter().map(|error| error.index).collect();
        assert_eq!(indices, [3, 4, 5]);
    }
}
