//! `sum(x)`: integers and decimals exactly in 128 bits, floats in double-double; NULL over nothing.
//!
//! A float sum is an unevaluated pair `high + low` (Knuth's two-sum, renormalised), good for about 106 bits: adding and
//! taking back in any order gives what adding the rest gives, to the last of the 53 bits that are shown, unless
//! magnitudes differ by more than 2^50. What could not be taken back is kept apart: NaN and infinities are counted, and
//! values from [`LARGE`] on, whose sum may be infinite, have a pair of their own, scaled down.
//!
//! State of a group, exact: count (zigzag), then `0` and the sum as zigzag, or `1` and 16 bytes LE, or `2`, 16 bytes LE
//! and how often 2^128 comes on top (zigzag). Floats: count, high, low (8 bytes LE each), then `0`, or `1` and the
//! counts of NaN, +∞, −∞ (zigzag), or `2`, these, and of the large values their count (zigzag), high and low.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use hashbrown::HashMap;

use super::{Accumulator, Input, SubState, nullable, retain_at};
use crate::error::OperatorError;
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
    /// Modulo 2^128.
    sums: Vec<i128>,
    pub(super) counts: Vec<i64>,
    /// How often 2^128 comes on top; only sums of wide decimals get there.
    carries: HashMap<u32, i64, foldhash::fast::RandomState>,
}

impl ExactTotals {
    pub(super) fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) {
        let Some(values) = input.argument() else {
            return;
        };
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
        let carries = &mut self.carries;
        input.for_each(|row, group, sign| {
            let value: i128 = values[row].into();
            let value = if sign < 0 {
                value.wrapping_neg()
            } else {
                value
            };
            add_exactly(sums, carries, group, value);
            counts[group] += sign;
        });
    }

    /// The sum; `None` where it needs more than 128 bits.
    pub(super) fn sum(&self, group: usize) -> Option<i128> {
        (self.carry(group) == 0).then(|| self.sums[group])
    }

    fn carry(&self, group: usize) -> i64 {
        let carry = self.carries.get(&(group as u32));
        carry.copied().unwrap_or(0)
    }

    pub(super) fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_zigzag(self.counts[group], out);
        let sum = self.sums[group];
        match (i64::try_from(sum), self.carry(group)) {
            (Ok(sum), 0) => {
                out.push(0);
                push_zigzag(sum, out);
            }
            (Err(_), 0) => {
                out.push(1);
                out.extend_from_slice(&sum.to_le_bytes());
            }
            (_, carry) => {
                out.push(2);
                out.extend_from_slice(&sum.to_le_bytes());
                push_zigzag(carry, out);
            }
        }
    }

    pub(super) fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.counts[group] += read_zigzag(bytes)?;
        let form = read_exact(1, bytes)?;
        let sum = match form {
            [0] => i128::from(read_zigzag(bytes)?),
            _ => i128::from_le_bytes(
                read_exact(16, bytes)?
                    .try_into()
                    .expect("16 bytes were read"),
            ),
        };
        add_exactly(&mut self.sums, &mut self.carries, group, sum);
        if form == [2] {
            *self.carries.entry(group as u32).or_default() += read_zigzag(bytes)?;
        }
        Ok(())
    }

    pub(super) fn size_bytes(&self) -> usize {
        24 * self.counts.len() + 16 * self.carries.len()
    }

    pub(super) fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.sums, kept);
        retain_at(&mut self.counts, kept);
        retain_keys(&mut self.carries, kept);
    }
}

/// Adds a value to the sum of a group.
#[inline]
fn add_exactly(
    sums: &mut [i128],
    carries: &mut HashMap<u32, i64, foldhash::fast::RandomState>,
    group: usize,
    value: i128,
) {
    let (sum, carried) = sums[group].overflowing_add(value);
    sums[group] = sum;
    if carried {
        carry_over(carries, group, value);
    }
}

#[cold]
fn carry_over(
    carries: &mut HashMap<u32, i64, foldhash::fast::RandomState>,
    group: usize,
    value: i128,
) {
    *carries.entry(group as u32).or_default() += if value < 0 { -1 } else { 1 };
}

/// Keeps the entries of groups `kept`, which become `0..kept.len()`.
fn retain_keys<V: Copy>(map: &mut HashMap<u32, V, foldhash::fast::RandomState>, kept: &[u32]) {
    if !map.is_empty() {
        let old = std::mem::take(map);
        let moved = kept
            .iter()
            .enumerate()
            .filter_map(|(to, from)| Some((to as u32, *old.get(from)?)));
        *map = moved.collect();
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
        let mut fitting = |fits: &dyn Fn(i128) -> bool| -> Vec<Option<i128>> {
            let results = groups.iter().enumerate().map(|(position, &group)| {
                if self.totals.counts[group as usize] <= 0 {
                    return None;
                }
                let sum = self.totals.sum(group as usize).filter(|&sum| fits(sum));
                if sum.is_none() {
                    overflowed.push(position);
                }
                sum
            });
            results.collect()
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

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.totals.merge(group, bytes)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.totals.retain(kept);
    }

    fn size_bytes(&self) -> usize {
        self.totals.size_bytes()
    }
}

/// Magnitudes from here on (2^900) are summed apart, times [`LARGE_SCALE`]: no count of rows overflows either sum.
const LARGE: f64 = f64::from_bits((1023 + 900) << 52);
/// 2^-128, exact for every large value.
const LARGE_SCALE: f64 = f64::from_bits((1023 - 128) << 52);

/// Sums and counts of floats.
#[derive(Debug, Default)]
pub(super) struct FloatTotals {
    high: Vec<f64>,
    low: Vec<f64>,
    pub(super) counts: Vec<i64>,
    /// The values of a group that are kept apart; few groups have any.
    apart: HashMap<u32, Apart, foldhash::fast::RandomState>,
}

/// Values that a plain sum could not take back.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Apart {
    /// How often there is NaN, +∞ and −∞.
    specials: [i64; 3],
    /// How many large values there are, and their scaled sum.
    large: i64,
    high: f64,
    low: f64,
}

impl Apart {
    #[cold]
    fn add(&mut self, value: f64, sign: i64) {
        if value.is_finite() {
            let value = value * LARGE_SCALE;
            add_to(
                &mut self.high,
                &mut self.low,
                if sign < 0 { -value } else { value },
            );
            self.large += sign;
            if self.large == 0 {
                (self.high, self.low) = (0.0, 0.0);
            }
        } else {
            let kind = if value.is_nan() {
                0
            } else {
                1 + usize::from(value < 0.0)
            };
            self.specials[kind] += sign;
        }
    }

    /// The sum together with the other values'.
    fn sum(&self, high: f64, low: f64) -> f64 {
        match self.specials {
            [nans, _, _] if nans > 0 => f64::NAN,
            [_, plus, minus] if plus > 0 && minus > 0 => f64::NAN,
            [_, plus, _] if plus > 0 => f64::INFINITY,
            [_, _, minus] if minus > 0 => f64::NEG_INFINITY,
            _ => {
                let large = self.high / LARGE_SCALE;
                if large.is_infinite() {
                    return large;
                }
                let (sum, lost) = two_sum(large, high);
                sum + (lost + (self.low / LARGE_SCALE + low))
            }
        }
    }
}

/// `a + b` exactly, as the rounded sum and what rounding lost (Knuth).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_rounded = sum - a;
    let a_rounded = sum - b_rounded;
    (sum, (a - a_rounded) + (b - b_rounded))
}

/// Adds a value to a pair.
#[inline]
fn add_to(high: &mut f64, low: &mut f64, value: f64) {
    let (sum, lost) = two_sum(*high, value);
    (*high, *low) = two_sum(sum, *low + lost);
}

impl FloatTotals {
    pub(super) fn resize(&mut self, groups: usize) {
        self.high.resize(groups, 0.0);
        self.low.resize(groups, 0.0);
        self.counts.resize(groups, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) {
        let Some(values) = input.argument() else {
            return;
        };
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
        let apart = &mut self.apart;
        input.for_each(|row, group, sign| {
            let value = value_of(row);
            counts[group] += sign;
            if value.abs() < LARGE {
                let value = if sign < 0 { -value } else { value };
                add_to(&mut high[group], &mut low[group], value);
            } else {
                apart.entry(group as u32).or_default().add(value, sign);
            }
            if counts[group] == 0 {
                high[group] = 0.0;
                low[group] = 0.0;
            }
        });
    }

    pub(super) fn sum(&self, group: usize) -> f64 {
        let (high, low) = (self.high[group], self.low[group]);
        let sum = match self.apart.get(&(group as u32)) {
            Some(apart) => apart.sum(high, low),
            None => high + low,
        };
        // Adding zero keeps −0.0 out of results: it would not equal 0.0 in bytes.
        sum + 0.0
    }

    pub(super) fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_zigzag(self.counts[group], out);
        out.extend_from_slice(&self.high[group].to_le_bytes());
        out.extend_from_slice(&self.low[group].to_le_bytes());
        let apart = self.apart.get(&(group as u32)).copied();
        let apart = apart.unwrap_or_default();
        if apart == Apart::default() {
            push_varint(0, out);
            return;
        }
        push_varint(if apart.large == 0 { 1 } else { 2 }, out);
        apart
            .specials
            .iter()
            .for_each(|&count| push_zigzag(count, out));
        if apart.large != 0 {
            push_zigzag(apart.large, out);
            out.extend_from_slice(&apart.high.to_le_bytes());
            out.extend_from_slice(&apart.low.to_le_bytes());
        }
    }

    pub(super) fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.counts[group] += read_zigzag(bytes)?;
        let (high, low) = (read_float(bytes)?, read_float(bytes)?);
        add_to(&mut self.high[group], &mut self.low[group], high);
        add_to(&mut self.high[group], &mut self.low[group], low);
        let form = read_varint(bytes)?;
        if form == 0 {
            return Ok(());
        }
        let apart = self.apart.entry(group as u32).or_default();
        for count in &mut apart.specials {
            *count += read_zigzag(bytes)?;
        }
        if form == 2 {
            apart.large += read_zigzag(bytes)?;
            let (high, low) = (read_float(bytes)?, read_float(bytes)?);
            add_to(&mut apart.high, &mut apart.low, high);
            add_to(&mut apart.high, &mut apart.low, low);
        }
        Ok(())
    }

    pub(super) fn size_bytes(&self) -> usize {
        24 * self.counts.len() + size_of::<Apart>() * self.apart.len()
    }

    pub(super) fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.high, kept);
        retain_at(&mut self.low, kept);
        retain_at(&mut self.counts, kept);
        retain_keys(&mut self.apart, kept);
    }
}

fn read_float(bytes: &mut &[u8]) -> Result<f64, StateError> {
    let eight = read_exact(8, bytes)?.try_into();
    Ok(f64::from_le_bytes(eight.expect("8 bytes were read")))
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

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.totals.merge(group, bytes)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.totals.retain(kept);
    }

    fn size_bytes(&self) -> usize {
        self.totals.size_bytes()
    }
}
