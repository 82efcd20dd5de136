//! Scalar functions over Arrow arrays: instances in a pool, batches in parts, poison rows found and told.
//!
//! 1. Arguments are cast to the signature's types; a column of one row in a batch of many is a constant.
//! 2. For a strict function rows with a null argument are taken out; they are null in the result.
//! 3. The rest goes in parts of at most 8192 rows and about 4 MiB.
//! 4. The parts' results are checked, joined, and the rows of step 2 put back.

mod arguments;
mod column;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use arrow::compute::concat;
use arrow::error::ArrowError;
use parking_lot::Mutex;

use crate::bisect::{self, Attempt, Parts};
use crate::error::{CallError, brief};
use crate::instance::{Instance, function};
use crate::log::GuestMessage;
use crate::module::{FunctionSignature, Loaded};
use crate::wire::{self, BatchRef, Fault};

use arguments::{Arguments, Packed};

/// Most rows of one call.
const ROWS_MAX: usize = 8192;
/// Bytes of arguments at which a batch is cut; a single row may have more.
const BYTES_MAX: usize = 4 << 20;
/// Fewest rows that a call is cut to on account of their bytes.
const ROWS_MIN: usize = 16;
/// Instances kept for the next call. More than this many calls at once make instances that are dropped after use.
const IDLE_MAX: usize = 16;

pub(crate) type ScalarArguments<'a> = (u32, BatchRef<'a>);
pub(crate) type ScalarReturn = (Result<wire::ScalarOutput, Fault>,);

/// A function of a module, ready to be called from any thread. Clones share the pool of instances.
#[derive(Clone)]
pub struct ScalarFunction {
    inner: Arc<Inner>,
}

struct Inner {
    module: Arc<Loaded>,
    index: usize,
    callee: String,
    idle: Mutex<Vec<Instance>>,
    /// Held during a call if the function is not parallel-safe.
    alone: Mutex<()>,
}

/// The result of a batch.
#[derive(Clone, Debug)]
pub struct ScalarOutput {
    /// As many values as the batch has rows, of the signature's type.
    pub values: ArrayRef,
    /// Rows that failed by themselves, ascending; their values are null.
    pub errors: Vec<RowError>,
}

/// One row's failure: by the guest's own word, or because it trapped on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Which row of the batch.
    pub row: u32,
    /// What is wrong, at most 1 KiB.
    pub message: String,
}

impl ScalarFunction {
    pub(crate) fn new(module: Arc<Loaded>, index: usize) -> ScalarFunction {
        let name = &module.functions()[index].name;
        let callee = format!("function {name} of module {}", module.name);
        let idle = Mutex::new(Vec::new());
        let inner = Inner {
            module,
            index,
            callee,
            idle,
            alone: Mutex::new(()),
        };
        ScalarFunction {
            inner: Arc::new(inner),
        }
    }

    /// What the module says of it.
    pub fn signature(&self) -> &FunctionSignature {
        &self.inner.module.functions()[self.inner.index]
    }

    /// What the instances of its module have said lately, the oldest first.
    pub fn said(&self) -> Vec<GuestMessage> {
        self.inner.module.said()
    }

    /// Calls it on a batch of `rows` rows.
    ///
    /// `args` has an array an argument, of `rows` rows or of one row (a constant), of the signature's type or one that casts to it
    /// (views, dictionaries, narrower numbers). Takes up to the call deadline, and up to eight of them (for each 8192 rows or
    /// 4 MiB) if rows trap: those come back as errors with a message that names the trap.
    ///
    /// # Errors
    /// [`CallError::Arguments`]; a fault of the guest for the whole batch; [`CallError::TooManyTraps`].
    ///
    /// # Panics
    /// When `rows` passes 2^32.
    pub fn invoke(&self, args: &[ArrayRef], rows: usize) -> Result<ScalarOutput, CallError> {
        let inner = &*self.inner;
        let signature = self.signature();
        let refuse = |reason: String| CallError::Arguments {
            callee: inner.callee.clone(),
            reason,
        };
        let arguments = Arguments::new(signature, args, rows).map_err(refuse)?;
        let _alone = (!signature.parallel_safe).then(|| inner.alone.lock());

        let asked = arguments.rows();
        let cut = rows_a_call(asked, arguments.bytes());
        let mut values = Vec::new();
        let mut errors = Vec::new();
        let mut start = 0;
        while start < asked {
            let part = start..(start + cut).min(asked);
            start = part.end;
            let deadline = inner.module.shared.config.call_deadline;
            let found = bisect::run(&inner.callee, part, deadline, |rows, limit| {
                inner.attempt(&arguments, rows, limit)
            })?;
            self.gather(found, &mut values, &mut errors);
        }

        let data_type = signature.returns.data_type();
        let joined = match values.as_slice() {
            [] => Ok(new_empty_array(data_type)),
            [one] => Ok(Arc::clone(one)),
            many => concat(
                &many
                    .iter()
                    .map(|array| &**array)
                    .collect::<Vec<&dyn Array>>(),
            ),
        };
        let values = joined
            .and_then(|values| arguments.scatter(values))
            .map_err(|error| inner.broken(&error))?;
        for error in &mut errors {
            error.row = arguments.original(error.row);
        }
        Ok(ScalarOutput { values, errors })
    }

    /// Adds the results of the parts of one call to those of the whole batch, in row order.
    fn gather(
        &self,
        found: Parts<ScalarOutput>,
        values: &mut Vec<ArrayRef>,
        errors: &mut Vec<RowError>,
    ) {
        let mut pieces: Vec<(usize, ArrayRef, Vec<RowError>)> = Vec::new();
        for (rows, output) in found.done {
            pieces.push((rows.start, output.values, output.errors));
        }
        for (row, error) in found.poison {
            let message = brief(error.to_string());
            let null = new_null_array(self.signature().returns.data_type(), 1);
            pieces.push((row, null, vec![RowError { row: 0, message }]));
        }
        pieces.sort_by_key(|(start, _, _)| *start);
        for (start, array, own) in pieces {
            values.push(array);
            errors.extend(own.into_iter().map(|error| RowError {
                row: count(start) + error.row,
                ..error
            }));
        }
    }
}

impl Inner {
    /// One call on a part of the batch. An instance that trapped is dropped, any other goes back to the pool.
    fn attempt(
        &self,
        arguments: &Arguments,
        rows: Range<usize>,
        limit: Duration,
    ) -> Attempt<ScalarOutput> {
        let idle = self.idle.lock().pop();
        let started = match idle {
            Some(instance) => Ok(instance),
            None => self.module.instantiate(&self.callee),
        };
        let mut instance = match started {
            Ok(instance) => instance,
            Err(error) => {
                self.module.count(&error);
                return Attempt {
                    result: Err(error),
                    fresh: true,
                };
            }
        };
        let fresh = !instance.used;
        let result = self.call(&mut instance, arguments, rows, limit);
        match &result {
            Err(error) if error.is_trap() => self.module.count(error),
            _ => {
                let mut idle = self.idle.lock();
                if idle.len() < IDLE_MAX {
                    idle.push(instance);
                }
            }
        }
        Attempt { result, fresh }
    }

    fn call(
        &self,
        instance: &mut Instance,
        arguments: &Arguments,
        rows: Range<usize>,
        limit: Duration,
    ) -> Result<ScalarOutput, CallError> {
        let callee = &self.callee;
        let invoke = self
            .module
            .invoke
            .expect("a module with functions has invoke");
        let number = count(self.index);
        let length = rows.len();
        let packed = Packed::new(arguments, rows).map_err(|reason| CallError::Arguments {
            callee: callee.clone(),
            reason,
        })?;
        let (result,) = instance.call(callee, limit, |store, instance| {
            let buffers = packed.buffers();
            let batch = BatchRef {
                rows: count(length),
                nodes: packed.nodes(),
                buffers: &buffers,
            };
            function::<ScalarArguments<'_>, ScalarReturn>(store, instance, invoke)?
                .call(store, (number, batch))
        })?;
        let output = result.map_err(|fault| CallError::from_fault(callee, fault))?;
        let config = &self.module.shared.config;
        let bytes: usize = output.data.buffers.iter().map(Vec::len).sum();
        if bytes > config.output_bytes_max {
            let limit = config.output_bytes_max;
            return Err(CallError::OutputSize {
                callee: callee.clone(),
                limit,
            });
        }
        let data_type = self.module.functions()[self.index].returns.data_type();
        column::check(output, data_type, length).map_err(|reason| CallError::Output {
            callee: callee.clone(),
            reason,
        })
    }

    fn broken(&self, error: &ArrowError) -> CallError {
        CallError::Output {
            callee: self.callee.clone(),
            reason: error.to_string(),
        }
    }
}

fn rows_a_call(rows: usize, bytes: usize) -> usize {
    let by_bytes = if bytes > BYTES_MAX {
        (rows as u128 * BYTES_MAX as u128 / bytes as u128) as usize
    } else {
        ROWS_MAX
    };
    by_bytes.clamp(ROWS_MIN, ROWS_MAX)
}

fn count(value: usize) -> u32 {
    u32::try_from(value).expect("a batch has at most 2^32 rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_by_rows_and_bytes() {
        assert_eq!(rows_a_call(100, 800), 8192);
        assert_eq!(rows_a_call(100_000, 16 << 20), 8192);
        assert_eq!(rows_a_call(1000, 40 << 20), 100);
        assert_eq!(rows_a_call(4, 1 << 40), 16);
    }
}
