//! The sandbox with real guests: the examples do their work, and `evil` does no harm.
//!
//! The guests are built once for all tests, by cargo, into a target folder of their own (`THALWEG_UDF_TARGET`, or one in the
//! user's cache).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod attacks_on_functions;
mod attacks_on_transforms;
mod functions;
mod guests;
mod loading;
mod transforms;
