//! What the running commit has changed, in front of a store: operators read their own writes.
//!
//! Invariants:
//! 1. A key in `dirty` hides the store's value; `None` there means deleted.
//! 2. [`State::take`] leaves nothing dirty; whoever takes the delta applies it to the store before the next read, or
//!    drops the whole state.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{Delta, ScanOrder, StateError, StateStore, prefix_end};

/// The state of a task, as its operators see it.
pub(crate) struct State {
    store: Arc<dyn StateStore>,
    dirty: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Changes that nobody reads before they are taken: no tree is needed for them.
    last: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    dirty_bytes: usize,
}

impl State {
    /// Nothing dirty, in front of `store`.
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            dirty: BTreeMap::new(),
            last: Vec::new(),
            dirty_bytes: 0,
        }
    }

    /// About how many bytes the next delta has.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// The store behind.
    pub(crate) fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// The value of a key.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match self.dirty.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.store.get(key),
        }
    }

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        if self.dirty.is_empty() {
            return self.store.get_many(keys);
        }
        let cold: Vec<Vec<u8>> = keys
            .iter()
            .filter(|key| !self.dirty.contains_key(*key))
            .cloned()
            .collect();
        let mut found = self.store.get_many(&cold)?.into_iter();
        Ok(keys
            .iter()
            .map(|key| match self.dirty.get(key) {
                Some(value) => value.clone(),
                None => found.next().flatten(),
            })
            .collect())
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.dirty_bytes += key.len() + value.len() + 16;
        self.dirty.insert(key, Some(value));
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.dirty_bytes += key.len() + 16;
        self.dirty.insert(key, None);
    }

    /// Visits all entries whose key starts with `prefix`, in order.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn scan_prefix(
        &self,
        prefix: &[u8],
        order: ScanOrder,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        self.scan(prefix, &prefix_end(prefix), order, visit)
    }

    /// Visits the entries below each of `prefixes`, in order; `Break` goes on with the next prefix. The prefixes rise, and
    /// none begins with another.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn scan_prefixes(
        &self,
        prefixes: &[&[u8]],
        mut visit: impl FnMut(usize, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let is_dirty = |prefix: &[u8]| {
            let mut from = self
                .dirty
                .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
            from.next().is_some_and(|(key, _)| key.starts_with(prefix))
        };
        let mut clean: Vec<&[u8]> = Vec::with_capacity(prefixes.len());
        let mut indexes: Vec<usize> = Vec::with_capacity(prefixes.len());
        for (index, prefix) in prefixes.iter().enumerate() {
            if is_dirty(prefix) {
                self.scan_prefix(prefix, ScanOrder::Ascending, |key, value| {
                    visit(index, key, value)
                })?;
            } else {
                clean.push(prefix);
                indexes.push(index);
            }
        }
        self.store.scan_prefixes(&clean, &mut |index, key, value| {
            visit(indexes[index], key, value)
        })
    }

    /// Visits all entries with `from <= key < to` in order (`to` empty: without an end).
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        if !to.is_empty() && from >= to {
            return Ok(());
        }
        let bound = if to.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(to)
        };
        let range = self.dirty.range::<[u8], _>((Bound::Included(from), bound));
        match order {
            ScanOrder::Ascending => self.merge(range.peekable(), from, to, order, &mut visit),
            ScanOrder::Descending => {
                self.merge(range.rev().peekable(), from, to, order, &mut visit)
            }
        }
    }

    fn merge<'a>(
        &self,
        mut dirty: std::iter::Peekable<impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>>,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let mut ended = false;
        let before = |left: &[u8], right: &[u8]| match order {
            ScanOrder::Ascending => left < right,
            ScanOrder::Descending => left > right,
        };
        self.store.scan(from, to, order, &mut |key, value| {
            let flow = (|| {
                while let Some((dirty_key, dirty_value)) =
                    dirty.next_if(|(dirty_key, _)| before(dirty_key, key))
                {
                    if let Some(dirty_value) = dirty_value {
                        visit(dirty_key, dirty_value)?;
                    }
                }
                match dirty.next_if(|(dirty_key, _)| dirty_key.as_slice() == key) {
                    Some((_, None)) => ControlFlow::Continue(()),
                    Some((_, Some(dirty_value))) => visit(key, dirty_value),
                    None => visit(key, value),
                }
            })();
            ended = flow.is_break();
            flow
        })?;
        if !ended {
            for (key, value) in dirty {
                if let Some(value) = value
                    && visit(key, value).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The first or last key (without `prefix`) and value below a prefix.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn edge(
        &self,
        prefix: &[u8],
        order: ScanOrder,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let mut edge = None;
        self.scan_prefix(prefix, order, |key, _| {
            edge = Some(key[prefix.len()..].to_vec());
            ControlFlow::Break(())
        })?;
        Ok(edge)
    }

    /// Sets a key that is not read any more before [`State::take`]; wins over what was put before.
    pub(crate) fn put_last(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.dirty_bytes += key.len() + value.len() + 16;
        self.last.push((key, Some(value)));
    }

    /// Removes a key that is not read any more before [`State::take`]; wins over what was put before.
    pub(crate) fn delete_last(&mut self, key: Vec<u8>) {
        self.dirty_bytes += key.len() + 16;
        self.last.push((key, None));
    }

    /// Everything that changed since the last call, ordered by key.
    pub(crate) fn take(&mut self) -> Delta {
        self.dirty_bytes = 0;
        let mut entries = std::mem::take(&mut self.last);
        // Stable, and turned round: of one key the latest comes first, and what was read before comes after.
        entries.reverse();
        entries.extend(std::mem::take(&mut self.dirty));
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        entries.dedup_by(|later, first| later.0 == first.0);
        Delta { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryStore, Tag};
    use super::*;

    #[test]
    fn what_is_put_last_wins() {
        let mut state = State::new(Arc::new(MemoryStore::new(usize::MAX)));
        state.put(b"b".to_vec(), b"1".to_vec());
        state.put(b"a".to_vec(), b"1".to_vec());
        state.put_last(b"b".to_vec(), b"2".to_vec());
        state.put_last(b"b".to_vec(), b"3".to_vec());
        state.delete_last(b"0".to_vec());
        let taken = state.take().entries;
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"0", None), (b"a", Some(b"1")), (b"b", Some(b"3"))];
        assert_eq!(taken.len(), 3);
        for ((key, value), (expected_key, expected_value)) in taken.iter().zip(expected) {
            assert_eq!(
                (key.as_slice(), value.as_deref()),
                (expected_key, expected_value)
            );
        }
        assert!(state.take().entries.is_empty());
    }

    #[test]
    fn dirty_entries_hide_the_store_in_both_directions() {
        for seed in 0..50u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let store = Arc::new(MemoryStore::new(usize::MAX));
            let mut state = State::new(store.clone());
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for step in 0..300 {
                let key = vec![random.u8(..3), random.u8(..12)];
                if random.u8(..3) == 0 {
                    state.delete(key.clone());
                    model.remove(&key);
                } else {
                    let value = vec![random.u8(..)];
                    state.put(key.clone(), value.clone());
                    model.insert(key, value);
                }
                if random.u8(..40) == 0 {
                    let delta = state.take();
                    store
                        .apply(
                            &delta,
                            &Tag {
                                changelog_offset: step,
                                header: Vec::new(),
                            },
                        )
                        .unwrap();
                }
                let prefix = [random.u8(..3)];
                let mut expected: Vec<_> = model
                    .iter()
                    .filter(|(key, _)| key.starts_with(&prefix))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                for order in [ScanOrder::Ascending, ScanOrder::Descending] {
                    let mut seen = Vec::new();
                    state
                        .scan_prefix(&prefix, order, |key, value| {
                            seen.push((key.to_vec(), value.to_vec()));
                            ControlFlow::Continue(())
                        })
                        .unwrap();
                    assert_eq!(seen, expected, "seed {seed}, step {step}, {order:?}");
                    let edge = state.edge(&prefix, order).unwrap();
                    assert_eq!(
                        edge,
                        expected.first().map(|(key, _)| key[1..].to_vec()),
                        "seed {seed}"
                    );
                    expected.reverse();
                }
                let probe = vec![vec![0, 1], vec![2, 3], vec![1, 11]];
                let values: Vec<_> = probe.iter().map(|key| model.get(key).cloned()).collect();
                assert_eq!(state.get_many(&probe).unwrap(), values, "seed {seed}");
            }
        }
    }
}
