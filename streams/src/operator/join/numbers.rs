//! The running numbers under which a side keeps rows that are never taken back.

use super::stored::vnode_prefix;
use crate::OperatorId;
use crate::state::row::{push_varint, read_varint};
use crate::state::{State, StateError, key};

/// So many numbers of a vnode are reserved at a time.
const NUMBERS_RESERVED: u64 = 1 << 16;

/// The running numbers of a side, by vnode.
#[derive(Default)]
pub(super) struct Numbers {
    /// By vnode: the next one, and where the reserved ones end.
    known: Vec<Option<(u64, u64)>>,
    /// Vnodes whose reservation the state lacks.
    changed: Vec<u16>,
    /// The first one of a vnode of which the state knows nothing.
    pub(super) floor: u64,
}

impl Numbers {
    /// The next number of a vnode.
    ///
    /// # Errors
    /// From the state.
    pub(super) fn next(
        &mut self,
        state: &State,
        operator: OperatorId,
        side: u8,
        vnode: u16,
    ) -> Result<u64, StateError> {
        self.known.resize(key::VNODES as usize, None);
        let known = &mut self.known[usize::from(vnode)];
        let (next, reserved) = match *known {
            Some(known) => known,
            None => match state.get(&vnode_prefix(operator, vnode, side + 2))? {
                Some(value) => {
                    let reserved = read_varint(&mut value.as_slice())?;
                    (reserved, reserved)
                }
                None => (self.floor, self.floor),
            },
        };
        let reserved = if next == reserved {
            self.changed.push(vnode);
            reserved + NUMBERS_RESERVED
        } else {
            reserved
        };
        *known = Some((next + 1, reserved));
        Ok(next)
    }

    /// Writes what was reserved.
    pub(super) fn commit(&mut self, state: &mut State, operator: OperatorId, side: u8) {
        for vnode in std::mem::take(&mut self.changed) {
            if let Some((_, reserved)) = self.known[usize::from(vnode)] {
                let mut value = Vec::new();
                push_varint(reserved, &mut value);
                state.put(vnode_prefix(operator, vnode, side + 2), value);
            }
        }
    }
}
