//! The catalog: what was created, by name. Kept in the compacted topic `_thalweg.catalog`, replayed at start.
//!
//! ```text
//! _thalweg.catalog   key: object id       value: JSON {version, kind, name, sql, dialect, created, references, …}
//! _thalweg.modules   key: SHA-256 (hex)   value: the bytes of a WASM module
//! ```
//!
//! The statement as it was written is the truth; plans are made from it again at every start. Never a serialized
//! DataFusion plan.

mod computed;
mod create;
mod function;
mod object;
mod objects;
mod options;
mod output;
mod record;
mod store;

pub(crate) use create::bind_relation;
pub(crate) use function::{FunctionModule, bind_function};
pub(crate) use object::{Function, Identity, Kind, Reference, Relation, Sink, TimeAttribute};
pub(crate) use objects::Objects;
pub(crate) use options::{connector, is_own_option};
pub(crate) use output::{
    BoundOutput, OutputFormat, bind_output, is_own_sink_option, sink_connector,
};
pub(crate) use record::{CatalogRecord, VERSION as RECORD_VERSION};
pub(crate) use store::{CatalogStore, MODULE_BYTES_MAX, StoreError};
