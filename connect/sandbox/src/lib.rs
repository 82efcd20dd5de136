//! Runs WASM guests: scalar functions for SQL and record transforms for Connect, under limits that hold whatever the guest does.
//!
//! A [`Sandbox`] loads a [`Module`] from the bytes of a component, or of a core module that describes its component. From a module
//! come [`ScalarFunction`]s over Arrow arrays and [`Transform`]s over [`RecordColumns`]. The contract with guests is
//! `wit/plugin.wit`; `udf-sdk/` is the other side of it. wasmtime's types do not leave this crate.
//!
//! ```text
//! caller ── arrays, records ──> pack ──> instance (memory, deadline, output limits) ──> check ──> arrays, records
//!                                            │ trap: the store is dropped, a new instance made,
//!                                            └ and the batch halved until the poison records are known
//! ```
//!
//! Invariants:
//! 1. A call into a guest ends within its deadline and a few ticks of 5 ms.
//! 2. A guest's memory stays under its limit, and so does what the host copies out of it in one call.
//! 3. Nothing a guest returned becomes an array or a record before it is checked.
//! 4. A store in which something trapped is never entered again.
//! 5. A guest can reach its host's log and nothing else.
//!
//! All calls are synchronous and may take up to their deadline (a batch with poison records: a few times that), so they belong on
//! blocking threads.
//!
//! ```no_run
//! use connect_sandbox::{Sandbox, SandboxConfig};
//!
//! let sandbox = Sandbox::new(SandboxConfig::default())?;
//! let module = sandbox.load("delay_class.wasm", &std::fs::read("delay_class.wasm")?)?;
//! for function in module.functions() {
//!     println!("{} takes {} arguments", function.name, function.args.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod bisect;
mod component;
mod error;
mod instance;
mod limits;
mod log;
mod module;
mod record;
mod sandbox;
mod scalar;
mod schema;
mod ticker;
mod transform;
mod wire;

pub use error::{CallError, SandboxError};
pub use log::GuestMessage;
pub use module::{FunctionSignature, Module, Volatility};
pub use record::{Headers, RecordColumns};
pub use sandbox::{Sandbox, SandboxConfig};
pub use scalar::{RowError, ScalarFunction, ScalarOutput};
pub use transform::{RecordError, Transform, TransformOutput};
