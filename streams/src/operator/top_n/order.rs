//! The order of a ranking, and of OVER, as bytes.
//!
//! ```text
//! column   00 NULL that comes first · 01 + value · 02 NULL that comes last
//! value    as in a state key (`state/key.rs`); where the largest comes first, all bits flipped
//! ```
//!
//! Values end by themselves, none is the beginning of another: so flipped bytes have the opposite order.

use crate::RankOrder;
use crate::state::{Cell, Column, Physical, key};

/// Appends the place of a row: `columns` are those of `orders`, in their order.
pub(in crate::operator) fn push(
    columns: &[(Physical, Column<'_>)],
    orders: &[RankOrder],
    row: usize,
    out: &mut Vec<u8>,
) {
    for ((physical, column), order) in columns.iter().zip(orders) {
        let cell = column.cell(row);
        if matches!(cell, Cell::Null) {
            out.push(if order.nulls_first { 0 } else { 2 });
            continue;
        }
        out.push(1);
        let from = out.len();
        key::push_cell(*physical, cell, out);
        if order.descending {
            out[from..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}
