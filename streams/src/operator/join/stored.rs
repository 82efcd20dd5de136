//! How the rows of a side lie in the state.
//!
//! ```text
//! [operator][vnode][side u8][key] + [time i64, where a range is asked for] +
//!     [number u64 BE]  → [degree varint, where it is kept][row]       a side that never takes rows back
//!     [row]            → [count varint][degree varint, where …]       any other
//! [operator][vnode][2 + side]    → [varint]     numbers below it may have been given
//! [operator][whole]"left.used"   → []           the side has had rows
//! ```
//!
//! Numbers are counted by vnode, so that two tasks with vnodes of their own never give one twice; they are reserved in
//! blocks, and those of a block that a crash left unused stay unused. A state of before that counted by side
//! (`"left.next"`) goes on above its last number.

use super::bucket::Kept;
use crate::OperatorId;
use crate::state::StateError;
use crate::state::row::{push_varint, read_varint};

/// The start of a place: times in their order.
pub(super) fn place_of_time(time: i64) -> [u8; 8] {
    ((time as u64) ^ (1 << 63)).to_be_bytes()
}

/// What all state keys of a vnode begin with.
pub(super) fn vnode_prefix(operator: OperatorId, vnode: u16, side: u8) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(64);
    prefix.extend_from_slice(&operator.0.to_be_bytes());
    prefix.extend_from_slice(&vnode.to_be_bytes());
    prefix.push(side);
    prefix
}

/// A row as its value holds it.
pub(super) fn decoded(
    mut value: &[u8],
    append_only: bool,
    degrees: bool,
) -> Result<Kept, StateError> {
    let count = if append_only {
        1
    } else {
        read_varint(&mut value)?
    };
    let degree = if degrees { read_varint(&mut value)? } else { 0 };
    Ok(Kept {
        row: value.into(),
        count,
        degree,
        stored: true,
        changed: false,
    })
}

/// The value of a row.
pub(super) fn encoded(kept: &Kept, append_only: bool, degrees: bool) -> Vec<u8> {
    let mut value = Vec::with_capacity(kept.row.len() + 4);
    if !append_only {
        push_varint(kept.count, &mut value);
    }
    if degrees {
        push_varint(kept.degree, &mut value);
    }
    value.extend_from_slice(&kept.row);
    value
}
