//! `sum(x)`: integers and decimals exactly in 128 bits, floats in double-double; NULL over nothing.
//!
//! A float sum is an unevaluated pair `high + low` (Knuth's two-sum, renormalised), good for about 106 bits: adding and
//! taking back in any order gives what adding the rest gives, to the last of the 53 bits that are shown, unless
//! magnitudes differ by more than 2^50. NaN and infinities are counted apart, because they could not be taken back.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use hashbrown::HashMap;

use super::{Accumulator, Input, SubState, nullable, retain_at};
use crate::operator::OperatorError;
use crate::state::StateError;
use crate::state::row::{push_varint, push_zigzag, read_exact, read_varint, read_zigzag};

/// The accumulator for sums of `input` that give `output`.
pub(super) fn of(input: &DataType, output: &DataType) -> Box<dyn Accumulator> {
    if input.is_floating() {
        Box::new(FloatSum::default())
    } else {
        Box::new(ExactSum {
            totals: ExactTotals::default(),
            output: output.clone(),
        })
    }
}

/// Sums and counts of integers or decimals.
#[derive(Debug, Default)]
pub(super) struct ExactTotals {
    pub(super) sums: Vec<i128>,
    pub(super) counts: Vec<i64>,
}

impl ExactTotals {
    pub(super) fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) {
        let Some(values) = input.values else { return };
        match values.data_type() {
            DataType::Int8 => self.add(input, values.as_primitive::<Int8Type>().values()),
            DataType::Int16 => self.add(input, values.as_primitive::<Int16Type>().values()),
            DataType::Int32 => self.add(input, values.as_primitive::<Int32Type>().values()),
            DataType::Int64 => self.add(input, values.as_primitive::<Int64Type>().values()),
            DataType::UInt8 => self.add(input, values.as_primitive::<UInt8Type>().values()),
            DataType::UInt16 => self.add(input, values.as_primitive::<UInt16Type>().values()),
            DataType::UInt32 => self.add(input, values.as_primitive::<UInt32Type>().values()),
            DataType::UInt64 => self.add(input, values.as_primitive::<UInt64Type>().values()),
            DataType::Decimal128(..) => {
                self.add(input, values.as_primitive::<Decimal128Type>().values())
            }
            other => debug_assert!(false, "a plan with a sum of {other} is refused"),
        }
    }

    fn add<N: Copy + Into<i128>>(&mut self, input: &Input<'_>, values: &[N]) {
        let (sums, counts) = (self.sums.as_mut_slice(), self.counts.as_mut_slice());
        input.for_each(|row, group, sign| {
            let value: i128 = values[row].into();
            sums[group] = sums[group].wrapping_add(if sign < 0 {
                value.wrapping_neg()
            } else {
                value
            });
            counts[group] += sign;
        });
    }

    pub(super) fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_zigzag(self.counts[group], out);
        let sum = self.sums[group];
        match i64::try_from(sum) {
            Ok(sum) => {
                out.push(0);
                push_zigzag(sum, out);
            }
            Err(_) => {
                out.push(1);
                out.extend_from_slice(&sum.to_le_bytes());
            }
        }
    }

    pub(super) fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.counts[group] = read_zigzag(bytes)?;
        self.sums[group] = match read_exact(1, bytes)? {
            [0] => i128::from(read_zigzag(bytes)?),
            _ => i128::from_le_bytes(
                read_exact(16, bytes)?
                    .try_into()
                    .expect("16 bytes were read"),
            ),
        };
        Ok(())
    }

    pub(super) fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.sums, kept);
        retain_at(&mut self.counts, kept);
    }
}

/// The largest magnitude that a decimal of this precision holds.
pub(super) fn decimal_limit(precision: u8) -> i128 {
    10i128
        .checked_pow(u32::from(precision))
        .map_or(i128::MAX, |limit| limit - 1)
}

/// See [`of`].
#[derive(Debug)]
struct ExactSum {
    totals: ExactTotals,
    output: DataType,
}

impl Accumulator for ExactSum {
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups);
    }

    fn update(
        &mut self,
        input: &Input<'_>,
        _below: &mut SubState<'_>,
    ) -> Result<(), OperatorError> {
        self.totals.update(input);
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> ArrayRef {
        let mut results = groups.iter().enumerate().map(|(position, &group)| {
            let (sum, count) = (
                self.totals.sums[group as usize],
                self.totals.counts[group as usize],
            );
            (position, (count > 0).then_some(sum))
        });
        let mut fitting = |fits: &dyn Fn(i128) -> bool| -> Vec<Option<i128>> {
            results
                .by_ref()
                .map(|(position, sum)| match sum {
                    Some(sum) if !fits(sum) => {
                        overflowed.push(position);
                        None
                    }
                    sum => sum,
                })
                .collect()
        };
        match &self.output {
            DataType::Decimal128(precision, _) => {
                let limit = decimal_limit(*precision);
                let sums = fitting(&|sum| sum.unsigned_abs() <= limit.unsigned_abs());
                nullable(&self.output, sums.into_iter())
            }
            DataType::UInt64 => {
                let sums = fitting(&|sum| u64::try_from(sum).is_ok());
                nullable(
                    &self.output,
                    sums.into_iter().map(|sum| sum.map(|sum| sum as u64)),
                )
            }
            _ => {
                let sums = fitting(&|sum| i64::try_from(sum).is_ok());
                nullable(
                    &DataType::Int64,
                    sums.into_iter().map(|sum| sum.map(|sum| sum as i64)),
                )
            }
        }
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        self.totals.save(group, out);
    }

    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.totals.load(group, bytes)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.totals.retain(kept);
    }

    fn group_bytes(&self) -> usize {
        24
    }
}

/// Sums and counts of floats.
#[derive(Debug, Default)]
pub(super) struct FloatTotals {
    high: Vec<f64>,
    low: Vec<f64>,
    pub(super) counts: Vec<i64>,
    /// How often a group has NaN, +∞ and −∞; few groups have any.
    specials: HashMap<u32, [i64; 3], foldhash::fast::RandomState>,
}

/// `a + b` exactly, as the rounded sum and what rounding lost (Knuth).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_rounded = sum - a;
    let a_rounded = sum - b_rounded;
    (sum, (a - a_rounded) + (b - b_rounded))
}

impl FloatTotals {
    pub(super) fn resize(&mut self, groups: usize) {
        self.high.resize(groups, 0.0);
        self.low.resize(groups, 0.0);
        self.counts.resize(groups, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) {
        let Some(values) = input.values else { return };
        match values.data_type() {
            DataType::Float32 => {
                let values = values.as_primitive::<Float32Type>().values();
                self.add(input, |row| f64::from(values[row]));
            }
            DataType::Float64 => {
                let values = values.as_primitive::<Float64Type>().values();
                self.add(input, |row| values[row]);
            }
            other => debug_assert!(false, "a plan with a float sum of {other} is refused"),
        }
    }

    #[inline]
    fn add(&mut self, input: &Input<'_>, value_of: impl Fn(usize) -> f64) {
        let (high, low, counts) = (
            self.high.as_mut_slice(),
            self.low.as_mut_slice(),
            self.counts.as_mut_slice(),
        );
        let specials = &mut self.specials;
        input.for_each(|row, group, sign| {
            let value = value_of(row);
            counts[group] += sign;
            if value.is_finite() {
                let (sum, lost) = two_sum(high[group], if sign < 0 { -value } else { value });
                let low_sum = low[group] + lost;
                let (sum, lost) = two_sum(sum, low_sum);
                high[group] = sum;
                // A sum beyond the range of floats is infinite; what it lost would be NaN.
                low[group] = if sum.is_finite() { lost } else { 0.0 };
                if counts[group] == 0 {
                    high[group] = 0.0;
                    low[group] = 0.0;
                }
            } else {
                let kind = if value.is_nan() {
                    0
                } else {
                    1 + usize::from(value < 0.0)
                };
                specials.entry(group as u32).or_default()[kind] += sign;
            }
        });
    }

    pub(super) fn sum(&self, group: usize) -> f64 {
        match self.specials.get(&(group as u32)) {
            Some([nans, _, _]) if *nans > 0 => f64::NAN,
            Some([_, plus, minus]) if *plus > 0 && *minus > 0 => f64::NAN,
            Some([_, plus, _]) if *plus > 0 => f64::INFINITY,
            Some([_, _, minus]) if *minus > 0 => f64::NEG_INFINITY,
            // Adding zero keeps −0.0 out of results: it would not equal 0.0 in bytes.
            _ => self.high[group] + self.low[group] + 0.0,
        }
    }

    pub(super) fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_zigzag(self.counts[group], out);
        out.extend_from_slice(&self.high[group].to_le_bytes());
        out.extend_from_slice(&self.low[group].to_le_bytes());
        match self.specials.get(&(group as u32)) {
            Some(counts) if counts.iter().any(|&count| count != 0) => {
                push_varint(1, out);
                counts.iter().for_each(|&count| push_zigzag(count, out));
            }
            _ => push_varint(0, out),
        }
    }

    pub(super) fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        const WIDTH: &str = "8 bytes were read";
        self.counts[group] = read_zigzag(bytes)?;
        self.high[group] = f64::from_le_bytes(read_exact(8, bytes)?.try_into().expect(WIDTH));
        self.low[group] = f64::from_le_bytes(read_exact(8, bytes)?.try_into().expect(WIDTH));
        if read_varint(bytes)? != 0 {
            let counts = [
                read_zigzag(bytes)?,
                read_zigzag(bytes)?,
                read_zigzag(bytes)?,
            ];
            self.specials.insert(group as u32, counts);
        }
        Ok(())
    }

    pub(super) fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.high, kept);
        retain_at(&mut self.low, kept);
        retain_at(&mut self.counts, kept);
        if !self.specials.is_empty() {
            let old = std::mem::take(&mut self.specials);
            let moved = kept
                .iter()
                .enumerate()
                .filter_map(|(to, from)| Some((to as u32, *old.get(from)?)));
            self.specials = moved.collect();
        }
    }
}

/// See [`of`].
#[derive(Debug, Default)]
struct FloatSum {
    totals: FloatTotals,
}

impl Accumulator for FloatSum {
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups);
    }

    fn update(
        &mut self,
        input: &Input<'_>,
        _below: &mut SubState<'_>,
    ) -> Result<(), OperatorError> {
        self.totals.update(input);
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        let sums = groups.iter().map(|&group| {
            let group = group as usize;
            (self.totals.counts[group] > 0).then(|| self.totals.sum(group))
        });
        nullable(&DataType::Float64, sums)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        self.totals.save(group, out);
    }

    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.totals.load(group, bytes)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.totals.retain(kept);
    }

    fn group_bytes(&self) -> usize {
        24
    }
}
