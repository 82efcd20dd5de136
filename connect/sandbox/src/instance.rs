//! One instance of a module: a store of its own, the calls into it, and the reading of how they end.
//!
//! ```text
//! instance() ── call: deadline set, notes cleared ──> Ok: used again
//!                                                 ──> Err: the instance must be dropped
//! ```

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{InstancePre, TypedFunc};
use wasmtime::{Store, Trap};

use crate::error::CallError;
use crate::limits::Limiter;
use crate::log::GuestLog;
use crate::sandbox::Shared;
use crate::ticker::Ticker;

/// Room above the output limit for what is not the batch itself: nodes, error rows, short messages.
const OUTPUT_SLACK: usize = 64 << 10;

/// What a store carries for its guest.
pub(crate) struct Guest {
    limiter: Limiter,
    pub(crate) log: Arc<GuestLog>,
    /// The last message of level error in the running call.
    pub(crate) last_error: Option<String>,
}

/// A running guest.
pub(crate) struct Instance {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: wasmtime::component::Instance,
    shared: Arc<Shared>,
    /// Whether a call has succeeded in it: a failure may then come from what that call left behind.
    pub(crate) used: bool,
}

/// A function of a guest, by its place in the component.
pub(crate) type Export = wasmtime::component::ComponentExportIndex;

impl Instance {
    /// Starts an instance within `deadline`.
    ///
    /// # Errors
    /// Any trap of [`CallError`]: a start function may do what a call may.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        pre: &InstancePre<Guest>,
        log: &Arc<GuestLog>,
        callee: &str,
    ) -> Result<Instance, CallError> {
        let config = &shared.config;
        let guest = Guest {
            limiter: Limiter::new(config.memory_bytes_max),
            log: Arc::clone(log),
            last_error: None,
        };
        let mut store = Store::new(&shared.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(config.output_bytes_max.saturating_add(OUTPUT_SLACK));
        store.epoch_deadline_trap();
        store.set_epoch_deadline(Ticker::ticks(config.call_deadline));
        let ticking = shared.ticker.begin();
        let result = pre.instantiate(&mut store);
        drop(ticking);
        match result {
            Ok(instance) => Ok(Instance {
                store,
                instance,
                shared: Arc::clone(shared),
                used: false,
            }),
            Err(error) => {
                let limit = config.call_deadline;
                Err(read_failure(
                    &error,
                    store.data_mut(),
                    callee,
                    limit,
                    config.output_bytes_max,
                ))
            }
        }
    }

    /// Calls into the guest. `run` looks up the function and calls it, nothing else.
    ///
    /// # Errors
    /// Any trap of [`CallError`]. The instance is then lost: drop it.
    pub(crate) fn call<R>(
        &mut self,
        callee: &str,
        limit: Duration,
        run: impl FnOnce(&mut Store<Guest>, &wasmtime::component::Instance) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        self.store.data_mut().last_error = None;
        self.store.set_epoch_deadline(Ticker::ticks(limit));
        let ticking = self.shared.ticker.begin();
        let result = run(&mut self.store, &self.instance);
        drop(ticking);
        match result {
            Ok(value) => {
                self.used = true;
                Ok(value)
            }
            Err(error) => {
                let output_max = self.shared.config.output_bytes_max;
                Err(read_failure(
                    &error,
                    self.store.data_mut(),
                    callee,
                    limit,
                    output_max,
                ))
            }
        }
    }
}

/// The typed function behind `export`. Checking the types costs some hundred nanoseconds, once a batch.
pub(crate) fn function<P, R>(
    store: &mut Store<Guest>,
    instance: &wasmtime::component::Instance,
    export: Export,
) -> wasmtime::Result<TypedFunc<P, R>>
where
    P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
    R: wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
{
    instance.get_typed_func(store, export)
}

/// What wasmtime's error means, with the notes that limiter and log left.
fn read_failure(
    error: &wasmtime::Error,
    guest: &mut Guest,
    callee: &str,
    limit: Duration,
    output_max: usize,
) -> CallError {
    let callee = callee.to_owned();
    if let Some(wanted) = guest.limiter.refused {
        return CallError::Memory {
            callee,
            wanted,
            limit: guest.limiter.memory_bytes_max(),
        };
    }
    let root = error.root_cause();
    let trap = error
        .downcast_ref::<Trap>()
        .or_else(|| root.downcast_ref::<Trap>());
    match trap {
        Some(Trap::Interrupt) => CallError::Deadline { callee, limit },
        Some(trap) => {
            let reason = guest.last_error.take().unwrap_or_else(|| describe(*trap));
            CallError::Trap { callee, reason }
        }
        None => {
            let reason = root.to_string();
            // wasmtime keeps the type of this error to itself.
            if reason.contains("fuel allocated for hostcalls") {
                CallError::OutputSize {
                    callee,
                    limit: output_max,
                }
            } else {
                CallError::Output { callee, reason }
            }
        }
    }
}

fn describe(trap: Trap) -> String {
    match trap {
        // Rust keeps its stack below its data, so that running over its end is an access out of bounds.
        Trap::MemoryOutOfBounds => {
            "access outside of its memory (endless recursion ends like this, too)".to_owned()
        }
        Trap::StackOverflow => "endless recursion".to_owned(),
        other => {
            let text = other.to_string();
            text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
        }
    }
}
