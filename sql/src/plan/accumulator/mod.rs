//! Aggregates on both sides: the engine's in DataFusion's plans, DataFusion's in the engine's, so that a view and a
//! snapshot give the same.
//!
//! ```text
//! sum, avg, min, max            native.rs       the engine's accumulators as DataFusion's functions
//! median, mode, percentile_*    ordered_set.rs  PostgreSQL's ordered sets, for both
//! string_agg                    string_agg.rs   DataFusion's, which orders its texts itself
//! all others                    library.rs      DataFusion's accumulators, over the values that the engine keeps
//! ```

mod library;
mod native;
mod ordered_set;
mod string_agg;

use std::sync::Arc;

use datafusion::common::Result as BoundResult;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::AggregateUDF;

pub(super) use library::{Argument, LibraryAggregate};

/// Puts ours in the place of DataFusion's aggregates that differ from PostgreSQL's, and adds those that it lacks.
pub(super) fn register(state: &mut SessionState) -> BoundResult<()> {
    for name in native::NAMES {
        if let Some(function) = state.aggregate_functions().get(*name).cloned() {
            state.register_udaf(native::exact(function))?;
        }
    }
    for function in ordered_set::functions() {
        state.register_udaf(Arc::new(function))?;
    }
    if let Some(string_agg) = state.aggregate_functions().get("string_agg").cloned() {
        state.register_udaf(string_agg::ordering(string_agg))?;
    }
    for (name, alias) in [("bool_and", "every"), ("var_samp", "variance")] {
        if let Some(function) = state.aggregate_functions().get(name).cloned() {
            let named = AggregateUDF::clone(&function).with_aliases([alias]);
            state.register_udaf(Arc::new(named))?;
        }
    }
    Ok(())
}
