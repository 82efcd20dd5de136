//! Write Thalweg's functions and record transforms as WASM guests.
//!
//! A scalar function is a plain Rust function with an attribute; `export_functions!` makes a module of them:
//!
//! ```ignore
//! use thalweg_udf::{export_functions, scalar_function};
//!
//! #[scalar_function]
//! fn kilometres(miles: f64) -> f64 {
//!     miles * 1.609_344
//! }
//!
//! export_functions!(kilometres);
//! ```
//!
//! A record transform is a type with [`Transform`]; [`export_transform!`] makes a module of it:
//!
//! ```ignore
//! use thalweg_udf::{Config, Emit, Record, RecordError, Transform, export_transform};
//!
//! struct DropTombstones;
//!
//! impl Transform for DropTombstones {
//!     fn open(_: &Config) -> Result<Self, String> {
//!         Ok(DropTombstones)
//!     }
//!
//!     fn process(&mut self, record: &Record<'_>, out: &mut Emit<'_>) -> Result<(), RecordError> {
//!         if record.value().is_some() {
//!             out.forward();
//!         }
//!         Ok(())
//!     }
//! }
//!
//! export_transform!(DropTombstones);
//! ```
//!
//! Build with `cargo build --release --target wasm32-unknown-unknown` and `crate-type = ["cdylib"]`. The same crate builds natively,
//! so `cargo test` calls the functions directly and [`testing::run`] drives a transform.
//!
//! A call carries a batch in packed columns (`connect/sandbox/wit/plugin.wit`); this crate writes the loops over it, and nothing
//! on the way allocates a row. A panic ends the instance; its message reaches the host's log.

#[doc(hidden)]
pub mod bindings;
mod column;
mod emit;
mod function;
pub mod log;
mod record;
mod results;
mod schema;
pub mod testing;
mod transform;

pub use column::{Argument, Column};
pub use emit::{Emit, NewRecord};
#[doc(hidden)]
pub use function::arguments;
pub use function::{Function, ScalarFunction, Signature, Volatility, describe, invoke};
pub use record::Record;
pub use results::{Results, Returned};
pub use schema::DataType;
pub use thalweg_udf_macros::scalar_function;
pub use transform::{Config, RecordError, Transform, open, process};

/// The batch of columns that a scalar function gets.
pub use bindings::functions::thalweg::plugin::columns::Batch;
/// What a whole call answers when it cannot be done.
pub use bindings::functions::thalweg::plugin::columns::Fault;
