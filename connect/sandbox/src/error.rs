//! What can go wrong when a module is loaded, and when a guest is called.

use std::time::Duration;

use thiserror::Error;

use crate::wire::Fault;

/// Why a module was not loaded, or has no such function or transform.
#[derive(Clone, Debug, Error)]
pub enum SandboxError {
    /// The engine could not be set up on this machine or with this configuration.
    #[error("the WASM engine does not start: {reason}")]
    Engine {
        /// What wasmtime says.
        reason: String,
    },
    /// Larger than any module we take.
    #[error(
        "module {module} has {bytes} bytes, at most {limit} are allowed; strip it or build it without debug information"
    )]
    Size {
        /// The module's name.
        module: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not WASM, damaged, or WASM of another kind.
    #[error(
        "module {module} is not a component: {reason}; build it with the SDK for wasm32-unknown-unknown"
    )]
    Format {
        /// The module's name.
        module: String,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// It wants to reach something outside.
    #[error(
        "module {module} imports {import}, and guests get nothing but {allowed}; build it for wasm32-unknown-unknown, without files, network, clock and environment"
    )]
    Import {
        /// The module's name.
        module: String,
        /// The import that was refused.
        import: String,
        /// The one that is allowed.
        allowed: &'static str,
    },
    /// It exports neither functions nor a transform of the contract's version.
    #[error(
        "module {module} exports neither functions nor a transform of thalweg:plugin@0.1.0: {found}; use export_functions! or export_transform! of the SDK"
    )]
    World {
        /// The module's name.
        module: String,
        /// What it does export.
        found: String,
    },
    /// An export has another type than the contract says, or the signatures are not acceptable.
    #[error("module {module} breaks the contract: {reason}; build it with the SDK of this version")]
    Contract {
        /// The module's name.
        module: String,
        /// What is wrong.
        reason: String,
    },
    /// No function of this name.
    #[error("module {module} has no function {function}; it has {known}")]
    Function {
        /// The module's name.
        module: String,
        /// What was asked for.
        function: String,
        /// The functions that it has.
        known: String,
    },
    /// It has functions only.
    #[error("module {module} has no record transform; it has {known}")]
    Transform {
        /// The module's name.
        module: String,
        /// What it has instead.
        known: String,
    },
    /// The guest was called to load it and failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a call into a guest gave no result. `callee` reads "function f of module m" or "transform of module m".
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// It did not return in time.
    #[error(
        "{callee} ran longer than {limit:?}; look for a loop that does not end, or raise wasm.call_deadline_ms"
    )]
    Deadline {
        /// Who was called.
        callee: String,
        /// The time it had.
        limit: Duration,
    },
    /// It wanted more memory than it may have.
    #[error(
        "{callee} wanted {wanted} bytes of memory, at most {limit} are allowed; keep less at once, or raise wasm.memory_bytes_max"
    )]
    Memory {
        /// Who was called.
        callee: String,
        /// All memory it would have had.
        wanted: usize,
        /// The limit.
        limit: usize,
    },
    /// It returned more than may be copied out of it at once.
    #[error(
        "{callee} returned more than {limit} bytes; return less a record, or raise wasm.output_bytes_max"
    )]
    OutputSize {
        /// Who was called.
        callee: String,
        /// The limit.
        limit: usize,
    },
    /// What it returned is not what the contract allows.
    #[error("{callee} returned what the contract forbids: {reason}; the module is broken")]
    Output {
        /// Who was called.
        callee: String,
        /// Which rule it broke.
        reason: String,
    },
    /// It panicked or did what WASM forbids.
    #[error("{callee} trapped: {reason}")]
    Trap {
        /// Who was called.
        callee: String,
        /// The panic's message if there is one, else the kind of trap.
        reason: String,
    },
    /// So many rows of one batch trapped, or so slowly, that the search for them was given up.
    #[error(
        "{callee} failed on {failed} of {rows} rows within {spent:?} and was given up; the last failure: {last}"
    )]
    TooManyTraps {
        /// Who was called.
        callee: String,
        /// Rows that failed until then.
        failed: usize,
        /// Rows of the batch.
        rows: usize,
        /// The time it took.
        spent: Duration,
        /// The failure of the last one.
        last: Box<CallError>,
    },
    /// The caller's columns do not fit the signature; the guest was not asked.
    #[error("{callee} cannot take these arguments: {reason}")]
    Arguments {
        /// Who was to be called.
        callee: String,
        /// What does not fit.
        reason: String,
    },
    /// The guest refused its arguments or configuration. Never worth a retry.
    #[error("{callee} refuses its input: {message}")]
    Refused {
        /// Who was called.
        callee: String,
        /// What the guest says.
        message: String,
    },
    /// The guest failed and says that the same batch may work later.
    #[error("{callee} failed for now: {message}")]
    Retryable {
        /// Who was called.
        callee: String,
        /// What the guest says.
        message: String,
    },
    /// The guest failed for good.
    #[error("{callee} failed: {message}")]
    Fatal {
        /// Who was called.
        callee: String,
        /// What the guest says.
        message: String,
    },
}

impl CallError {
    /// Whether the same batch may succeed later, as the guest says.
    pub fn is_retryable(&self) -> bool {
        matches!(self, CallError::Retryable { .. })
    }

    /// Whether the guest misbehaved: its instance is gone, and another one may do better on a part of the batch.
    pub(crate) fn is_trap(&self) -> bool {
        self.trap_class().is_some()
    }

    /// The label under which traps are counted.
    pub(crate) fn trap_class(&self) -> Option<&'static str> {
        match self {
            CallError::Deadline { .. } => Some("deadline"),
            CallError::Memory { .. } => Some("memory"),
            CallError::OutputSize { .. } | CallError::Output { .. } => Some("output"),
            CallError::Trap { .. } => Some("trap"),
            CallError::TooManyTraps { .. }
            | CallError::Arguments { .. }
            | CallError::Refused { .. }
            | CallError::Retryable { .. }
            | CallError::Fatal { .. } => None,
        }
    }

    pub(crate) fn from_fault(callee: &str, fault: Fault) -> CallError {
        let callee = callee.to_owned();
        match fault {
            Fault::InvalidArgument(text) => CallError::Refused {
                callee,
                message: brief(text),
            },
            Fault::Retryable(text) => CallError::Retryable {
                callee,
                message: brief(text),
            },
            Fault::Fatal(text) => CallError::Fatal {
                callee,
                message: brief(text),
            },
        }
    }
}

/// Longest message of a guest that the host keeps.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024;

/// A guest's message on one line, cut to [`MESSAGE_BYTES_MAX`] at a character's boundary.
pub(crate) fn brief(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.shrink_to_fit();
    }
    if message.contains(char::is_control) {
        message = message.replace(char::is_control, " ");
    }
    message
}
