//! From a query to a plan: bind, optimize, lower. DataFusion's types stay in here and in `serve/pull.rs`.
//!
//! ```text
//! Query ── binder ── LogicalPlan ──┬── lower ── StreamPlan          a view, EMIT CHANGES
//!                                  └── bounded ── ExecutionPlan     a snapshot (serve/pull.rs)
//! ```
//!
//! Our adapters to DataFusion, the files to look at when its version changes: `accumulator/`, `age.rs`, `binder.rs`,
//! `as_of/`, `clock.rs`, `correlated/`, `declared.rs`, `domain.rs`, `expr.rs`, `first_row.rs`, `function.rs`, `guard.rs`, `json/`, `list_cast.rs`, `list_nulls.rs`, `list_of_rows.rs`, `long_value.rs`, `metered.rs`, `metered_over.rs`, `number.rs`, `relation_source.rs`, `rewrite.rs`, `row_value.rs`, `rules.rs`, `scalar/`, `series.rs`, `series_pieces.rs`, `session.rs`, `similar.rs`, `sliding.rs`,
//! `sql_type.rs`, `text/`, `time.rs`, `time_java.rs`, `time_part.rs`, `time_pattern.rs`, `time_text.rs`, `time_zone.rs`, `to_char.rs`, `tumble/`, `uniform.rs`, `unnest.rs`,
//! `using.rs`, `value_subquery.rs`, `values_of_row.rs`, `yielding.rs`.

mod accumulator;
mod age;
mod aggregate;
mod any_of;
mod as_of;
mod as_text;
mod binder;
mod bounded;
mod by_others;
mod call;
mod changes;
mod clock;
mod computed;
mod correlated;
mod declared;
#[cfg(test)]
mod differential;
mod distinct_on;
mod domain;
mod empty_group;
mod explain;
mod expr;
mod filters_down;
mod first_row;
mod function;
mod group_window;
mod grouped;
mod guard;
mod interval_times;
mod json;
mod lateral_rows;
mod list_cast;
mod list_nulls;
mod list_of_rows;
mod long_value;
mod lower;
mod membership;
mod metered;
mod metered_over;
mod named_window;
mod number;
mod number_text;
mod postgres;
mod recursion;
mod relation_source;
mod rewrite;
mod row;
mod row_value;
mod rules;
mod scalar;
mod series;
mod series_pieces;
mod session;
mod set_all;
mod set_bound;
mod set_returning;
mod similar;
mod sink;
mod sliding;
mod sql_type;
mod system;
mod text;
mod time;
mod time_java;
mod time_part;
mod time_pattern;
mod time_text;
mod time_zone;
mod to_char;
mod trace;
mod tumble;
mod uniform;
mod unnest;
mod using;
mod value_subquery;
mod values_of_row;
mod view;
#[cfg(test)]
mod wrong_types;
mod yielding;

pub(crate) use as_text::{is_written, texts as written};
pub(crate) use binder::{BoundQuery, Library};
pub(crate) use bounded::bounded;
pub(crate) use computed::ComputedColumn;
pub(crate) use declared::Declaration;
pub(crate) use explain::{explain, key_format_name};
pub(crate) use guard::guard_plan;
pub(crate) use long_value::made_late;
pub(crate) use metered::{Meter, batch_bytes, metered};
pub(crate) use number::assign;
pub(crate) use postgres::{LENGTH_MAX, by_place, floats_in, length_of};
pub(crate) use sink::{insert_sink, sink};
pub(crate) use sql_type::{arrow_type, settled, timestamp};
pub(crate) use system::{CATALOG, OWNER, SCHEMA, SystemTable, SystemType};
pub(crate) use tumble::interval_text;
pub(crate) use value_subquery::without_open_subqueries;
pub(crate) use view::{ViewPlan, default_key_format, follow, interval, time_text, view};
pub(crate) use yielding::WhileRead;

pub(crate) use crate::diagnostic::{name_text, type_name};
