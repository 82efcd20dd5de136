//! Functions of a row, by subject.

mod bytes;
mod condition;
mod json;
mod list;
mod number;
mod system;
mod text;
mod time;

use super::Function;

/// All of them.
pub(super) const SCALARS: &[&[Function]] = &[
    condition::FUNCTIONS,
    number::FUNCTIONS,
    text::FUNCTIONS,
    bytes::FUNCTIONS,
    time::FUNCTIONS,
    json::FUNCTIONS,
    list::FUNCTIONS,
    system::FUNCTIONS,
];
