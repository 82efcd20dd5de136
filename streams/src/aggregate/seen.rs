//! Which values of rows that only come were seen before: those of the state that were looked up lately are in memory, and
//! asking for one of them costs no read.
//!
//! Values are in one of two generations. One that is asked for moves into the young one; where that is full, it becomes the
//! old one, and the old one is forgotten.
//!
//! Invariant: what is in memory is in the state.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// What a value takes beside its bytes, about.
const VALUE_BYTES: usize = 56;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: Generation,
    old: Generation,
    hasher: FixedState,
}

#[derive(Debug, Default)]
struct Generation {
    values: HashTable<Value>,
    bytes: usize,
}

#[derive(Debug)]
struct Value {
    hash: u64,
    group: u32,
    value: Box<[u8]>,
}

impl Seen {
    /// Takes note of a value of a group. Gives whether it is known to have been there before; otherwise the state knows.
    /// In memory are about `bytes_max` bytes.
    pub(super) fn note(&mut self, group: u32, value: &[u8], bytes_max: usize) -> bool {
        let hash = self.hash(group, value);
        if self.young.find(hash, group, value) {
            return true;
        }
        let known = self.old.take(hash, group, value);
        let is_known = known.is_some();
        self.young.insert(known.unwrap_or_else(|| Value {
            hash,
            group,
            value: value.into(),
        }));
        if self.young.bytes > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        is_known
    }

    /// Keeps only the values of these groups (rising), which become `0..kept.len()`.
    pub(super) fn retain(&mut self, kept: &[u32]) {
        for generation in [&mut self.young, &mut self.old] {
            for value in std::mem::take(generation).values {
                if let Ok(group) = kept.binary_search(&value.group) {
                    let group = group as u32;
                    let hash = self.hasher.hash_one((group, &*value.value));
                    generation.insert(Value {
                        hash,
                        group,
                        ..value
                    });
                }
            }
        }
    }

    /// What they take in memory, about.
    pub(super) fn size_bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }

    fn hash(&self, group: u32, value: &[u8]) -> u64 {
        self.hasher.hash_one((group, value))
    }
}

impl Generation {
    fn find(&self, hash: u64, group: u32, value: &[u8]) -> bool {
        self.values
            .find(hash, |other| other.is(group, value))
            .is_some()
    }

    fn take(&mut self, hash: u64, group: u32, value: &[u8]) -> Option<Value> {
        let found = self.values.find_entry(hash, |other| other.is(group, value));
        let (value, _) = found.ok()?.remove();
        self.bytes -= value.size_bytes();
        Some(value)
    }

    fn insert(&mut self, value: Value) {
        self.bytes += value.size_bytes();
        self.values
            .insert_unique(value.hash, value, |value| value.hash);
    }
}

impl Value {
    fn is(&self, group: u32, value: &[u8]) -> bool {
        self.group == group && *self.value == *value
    }

    fn size_bytes(&self) -> usize {
        self.value.len() + VALUE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_said_to_be_known_was_there() {
        for seed in 0..50u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bytes_max = random.usize(..20_000);
            let mut seen = Seen::default();
            let mut model: HashSet<(u32, Vec<u8>)> = HashSet::new();
            for _ in 0..2_000 {
                let (group, value) = (random.u32(..8), vec![random.u8(..64); 3]);
                let known = seen.note(group, &value, bytes_max);
                assert!(
                    !known || model.contains(&(group, value.clone())),
                    "seed {seed}"
                );
                model.insert((group, value));
                let most = bytes_max + 2 * (VALUE_BYTES + 3);
                assert!(seen.size_bytes() <= most, "seed {seed}");
                if random.u8(..100) == 0 {
                    let kept: Vec<u32> = (0..8).filter(|_| random.u8(..4) > 0).collect();
                    seen.retain(&kept);
                    let model_kept = std::mem::take(&mut model).into_iter();
                    model = model_kept
                        .filter_map(|(group, value)| {
                            let group = kept.binary_search(&group).ok()?;
                            Some((group as u32, value))
                        })
                        .collect();
                }
            }
        }
    }

    #[test]
    fn what_is_asked_for_often_stays() {
        let mut seen = Seen::default();
        let bytes_max = 100 * (VALUE_BYTES + 8);
        assert!(!seen.note(0, b"often", bytes_max));
        for number in 0..10_000u64 {
            assert!(!seen.note(0, &number.to_be_bytes(), bytes_max));
            assert!(seen.note(0, b"often", bytes_max), "{number}");
        }
    }
}
