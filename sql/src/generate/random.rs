//! Numbers that look like chance and are the same every time: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
//! Number Generators, OOPSLA 2014), begun anew for every row.

/// The numbers of one row.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Those of row `index` of a seed.
    pub(crate) fn of(seed: u64, index: u64) -> Self {
        let mut seeds = Self(seed);
        let mut rows = Self(seeds.next() ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self(rows.next())
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A fraction, 0 ≤ x < 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of these.
    pub(crate) fn of_all<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = self.below(all.len() as u64);
        &all[usize::try_from(place).unwrap_or(0)]
    }

    /// So many letters.
    pub(crate) fn letters(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap_or(0)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_come_again() {
        let numbers = |seed, index| {
            let mut random = Random::of(seed, index);
            (0..1_000).map(|_| random.below(10)).collect::<Vec<u64>>()
        };
        let first = numbers(1, 2);
        assert_eq!(first, numbers(1, 2));
        assert_ne!(first, numbers(1, 3));
        assert_ne!(first, numbers(2, 2));
        for digit in 0..10 {
            let count = first.iter().filter(|number| **number == digit).count();
            assert!((50..150).contains(&count), "{digit}: {count}");
        }
        assert_eq!(Random::of(0, 0).below(0), 0);
    }
}
