//! State in memory: for ad-hoc push queries and tests.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Delta, ScanOrder, StateError, StateRead, StateStore, Tag, Visit};

/// A [`StateStore`] without a disk. A snapshot costs nothing until the next delta, which then copies.
#[derive(Debug)]
pub struct MemoryStore {
    content: RwLock<Content>,
    /// Keys and values together; a delta beyond it is refused.
    limit_bytes: usize,
}

#[derive(Debug, Clone, Default)]
struct Content {
    entries: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
    bytes: usize,
    tag: Option<Tag>,
}

#[derive(Debug)]
struct MemorySnapshot(Content);

impl MemoryStore {
    /// An empty store that holds at most `limit_bytes` of keys and values.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            content: RwLock::default(),
            limit_bytes,
        }
    }

    /// Keys and values together, bytes.
    pub fn size_bytes(&self) -> usize {
        self.content.read().bytes
    }
}

fn scan(
    entries: &BTreeMap<Vec<u8>, Vec<u8>>,
    from: &[u8],
    to: &[u8],
    order: ScanOrder,
    visit: &mut Visit<'_>,
) {
    if !to.is_empty() && from >= to {
        return;
    }
    let end = if to.is_empty() {
        Bound::Unbounded
    } else {
        Bound::Excluded(to)
    };
    let range = entries.range::<[u8], _>((Bound::Included(from), end));
    let mut step = |(key, value): (&Vec<u8>, &Vec<u8>)| visit(key, value);
    let _: ControlFlow<()> = match order {
        ScanOrder::Ascending => range.into_iter().try_for_each(&mut step),
        ScanOrder::Descending => range.into_iter().rev().try_for_each(&mut step),
    };
}

impl StateRead for MemorySnapshot {
    fn tag(&self) -> Result<Option<Tag>, StateError> {
        Ok(self.0.tag.clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.entries.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        scan(&self.0.entries, from, to, order, visit);
        Ok(())
    }
}

impl StateRead for MemoryStore {
    fn tag(&self) -> Result<Option<Tag>, StateError> {
        Ok(self.content.read().tag.clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.content.read().entries.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        scan(&self.content.read().entries, from, to, order, visit);
        Ok(())
    }
}

impl StateStore for MemoryStore {
    fn apply(&self, delta: &Delta, tag: &Tag) -> Result<(), StateError> {
        let mut content = self.content.write();
        let content = &mut *content;
        let entries = Arc::make_mut(&mut content.entries);
        for (key, value) in &delta.entries {
            let (added, old) = match value {
                Some(value) => (
                    key.len() + value.len(),
                    entries.insert(key.clone(), value.clone()),
                ),
                None => (0, entries.remove(key)),
            };
            content.bytes =
                (content.bytes + added).saturating_sub(old.map_or(0, |old| key.len() + old.len()));
        }
        content.tag = Some(tag.clone());
        if content.bytes > self.limit_bytes {
            return Err(StateError::TooLarge {
                limit_bytes: self.limit_bytes,
            });
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        Arc::new(MemorySnapshot(self.content.read().clone()))
    }

    fn flush(&self) -> Result<(), StateError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_conformance_suite() {
        super::super::conformance::run(&mut |_| Arc::new(MemoryStore::new(usize::MAX)), false);
    }

    #[test]
    fn refuses_to_outgrow_its_limit() {
        let store = MemoryStore::new(10);
        let tag = Tag {
            changelog_offset: 0,
            header: Vec::new(),
        };
        let put = |value: usize| Delta {
            entries: vec![(b"k".to_vec(), Some(vec![0; value]))],
        };
        store.apply(&put(9), &tag).unwrap();
        store.apply(&put(5), &tag).unwrap();
        assert_eq!(
            store.apply(&put(10), &tag),
            Err(StateError::TooLarge { limit_bytes: 10 })
        );
    }
}
