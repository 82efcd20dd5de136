//! Timers: which keys of an operator are due, where its keys begin with a time.
//!
//! ```text
//! [operator u16][vnode u16][time i64, sign flipped, BE] …        due once event time has reached the time
//! ```
//!
//! The keys are the timers: nothing is written beside them, and nothing waits in memory but the lowest time of each
//! vnode. A step of event time reads only the vnodes in which something is due.
//!
//! Invariants:
//! 1. `lowest[vnode]` is never above the lowest time of the keys there that were told by [`Timers::note`] or found by
//!    [`Timers::open`], and not taken since.
//! 2. Keys are taken in order, each once, unless they are noted again.

use std::ops::ControlFlow;

use super::{ScanOrder, State, StateError, key, prefix_end};

/// No key is due, ever.
const NEVER: i64 = i64::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct Timers {
    operator: u16,
    /// By vnode.
    lowest: Vec<i64>,
    /// Where to go on: the first vnode that was not read to its end, and the key to begin with.
    cursor: Option<(u16, Vec<u8>)>,
}

/// A key that is due, and its value.
pub(crate) type Due = (Vec<u8>, Vec<u8>);

/// The time at the head of a state key.
fn time_of(state_key: &[u8]) -> Option<i64> {
    let time: &[u8; 8] = state_key.get(4..)?.first_chunk()?;
    Some((u64::from_be_bytes(*time) ^ (1 << 63)) as i64)
}

impl Timers {
    /// No timers.
    pub(crate) fn new(operator: u16) -> Self {
        Self {
            operator,
            lowest: vec![NEVER; key::VNODES as usize],
            cursor: None,
        }
    }

    fn prefix(&self, vnode: u16) -> Vec<u8> {
        let mut prefix = self.operator.to_be_bytes().to_vec();
        prefix.extend_from_slice(&vnode.to_be_bytes());
        prefix
    }

    /// Finds the timers that the state holds: two reads a vnode, once. Gives the lowest and the highest time.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn open(&mut self, state: &State) -> Result<Option<(i64, i64)>, StateError> {
        let mut range: Option<(i64, i64)> = None;
        for vnode in 0..key::VNODES as u16 {
            let prefix = self.prefix(vnode);
            for order in [ScanOrder::Ascending, ScanOrder::Descending] {
                let mut found = None;
                state.scan_prefix(&prefix, order, |state_key, _| {
                    found = time_of(state_key);
                    ControlFlow::Break(())
                })?;
                let Some(time) = found else { break };
                if order == ScanOrder::Ascending {
                    self.lowest[usize::from(vnode)] = time;
                }
                let (low, high) = range.unwrap_or((time, time));
                range = Some((low.min(time), high.max(time)));
            }
        }
        Ok(range)
    }

    /// Tells of a key that is in the state, or will be.
    pub(crate) fn note(&mut self, state_key: &[u8]) {
        let vnode = state_key.get(2..4).and_then(|vnode| vnode.first_chunk());
        let (Some(vnode), Some(time)) = (vnode, time_of(state_key)) else {
            return;
        };
        let lowest = self.lowest.get_mut(usize::from(u16::from_be_bytes(*vnode)));
        if let Some(lowest) = lowest {
            *lowest = time.min(*lowest);
        }
    }

    /// The lowest time of all keys; `None`: there are none.
    pub(crate) fn lowest(&self) -> Option<i64> {
        let lowest = self.lowest.iter().copied().min();
        lowest.filter(|&lowest| lowest != NEVER)
    }

    /// Takes up to `limit` keys whose time is `until` or before; fewer: there are no more. Whoever deletes them does so
    /// before the next call.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn take_due(
        &mut self,
        until: i64,
        limit: usize,
        state: &State,
    ) -> Result<Vec<Due>, StateError> {
        let mut due: Vec<Due> = Vec::new();
        let (first, mut from) = match self.cursor.take() {
            Some((vnode, from)) => (vnode, Some(from)),
            None => (0, None),
        };
        for vnode in first..key::VNODES as u16 {
            let lowest = self.lowest[usize::from(vnode)];
            let from = from.take();
            if lowest > until || lowest == NEVER {
                continue;
            }
            let prefix = self.prefix(vnode);
            let from = from.unwrap_or_else(|| {
                let mut from = prefix.clone();
                key::push_i64(lowest, &mut from);
                from
            });
            let mut next = NEVER;
            let mut rest = None;
            state.scan(
                &from,
                &prefix_end(&prefix),
                ScanOrder::Ascending,
                |state_key, value| {
                    match time_of(state_key) {
                        Some(time) if time <= until && due.len() < limit => {
                            due.push((state_key.to_vec(), value.to_vec()));
                            return ControlFlow::Continue(());
                        }
                        Some(time) if time <= until => rest = Some(state_key.to_vec()),
                        time => next = time.unwrap_or(NEVER),
                    }
                    ControlFlow::Break(())
                },
            )?;
            if let Some(rest) = rest {
                self.cursor = Some((vnode, rest));
                return Ok(due);
            }
            self.lowest[usize::from(vnode)] = next;
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::{MemoryStore, StateStore, Tag};
    use super::*;

    fn timer(vnode: u16, time: i64, name: u8) -> Vec<u8> {
        let mut state_key = vec![0, 7];
        state_key.extend_from_slice(&vnode.to_be_bytes());
        key::push_i64(time, &mut state_key);
        state_key.push(name);
        state_key
    }

    #[test]
    fn keys_are_due_once_and_in_time_as_in_a_model() {
        for seed in 0..100u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let store = Arc::new(MemoryStore::new(usize::MAX));
            let mut state = State::new(store.clone());
            let mut timers = Timers::new(7);
            let mut model: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
            let mut now = -50;
            for step in 0..60i64 {
                for _ in 0..random.usize(..20) {
                    let time = now + random.i64(1..40);
                    let state_key = timer(random.u16(..256), time, random.u8(..3));
                    state.put(state_key.clone(), vec![1]);
                    timers.note(&state_key);
                    model.insert(state_key, time);
                }
                // Of another operator, and of this one as a whole: never due.
                state.put(vec![0, 8, 0, 0, 0], vec![1]);
                state.put(key::whole(7, "counter"), vec![1]);
                match random.u8(..6) {
                    0 => {
                        let delta = state.take();
                        let tag = Tag {
                            changelog_offset: step,
                            header: Vec::new(),
                        };
                        store.apply(&delta, &tag).unwrap();
                        timers = Timers::new(7);
                        let range = timers.open(&state).unwrap();
                        let times = || model.values().copied();
                        assert_eq!(range, times().min().zip(times().max()), "seed {seed}");
                    }
                    1 => now += random.i64(0..25),
                    _ => {}
                }
                assert!(timers.lowest() <= model.values().copied().min() || model.is_empty());
                let limit = random.usize(1..6);
                let mut taken = Vec::new();
                loop {
                    let due = timers.take_due(now, limit, &state).unwrap();
                    let count = due.len();
                    for (state_key, _) in due {
                        if random.bool() {
                            state.delete(state_key.clone());
                        }
                        taken.push(state_key);
                    }
                    if count < limit {
                        break;
                    }
                }
                for state_key in &taken {
                    state.delete(state_key.clone());
                }
                let due: Vec<Vec<u8>> = model
                    .extract_if(.., |_, time| *time <= now)
                    .map(|(state_key, _)| state_key)
                    .collect();
                assert_eq!(taken, due, "seed {seed}, step {step}");
            }
        }
    }
}
