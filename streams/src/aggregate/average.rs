//! `avg(x)`: the sum, kept as `sum` keeps it, over the count; NULL over nothing.
//!
//! Integers and floats give Float64. Decimals give a decimal of the scale that the plan says, rounded half away from
//! zero, as PostgreSQL does.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, i256};

use super::sum::{ExactTotals, FloatTotals, decimal_limit};
use super::{Accumulator, Input, SubState, nullable};
use crate::error::OperatorError;
use crate::state::StateError;

/// The accumulator for averages of `input` that give `output`.
pub(super) fn of(input: &DataType, output: &DataType) -> Box<dyn Accumulator> {
    if input.is_floating() {
        return Box::new(FloatAverage::default());
    }
    let digits = match (input, output) {
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => {
            to.saturating_sub(*from).unsigned_abs()
        }
        _ => 0,
    };
    Box::new(ExactAverage {
        totals: ExactTotals::default(),
        output: output.clone(),
        factor: i256::from_i128(10).wrapping_pow(u32::from(digits)),
    })
}

#[derive(Debug)]
struct ExactAverage {
    totals: ExactTotals,
    output: DataType,
    /// 10 to the power of the digits that the result has more than the input.
    factor: i256,
}

/// `sum · factor / count`, rounded half away from zero; `None` where it does not fit.
fn divided(sum: i128, factor: i256, count: i64) -> Option<i128> {
    let scaled = i256::from_i128(sum).checked_mul(factor)?;
    let count = i256::from_i128(i128::from(count));
    let (quotient, remainder) = (scaled.checked_div(count)?, scaled.checked_rem(count)?);
    let away = if remainder.wrapping_abs().wrapping_mul(i256::from_i128(2)) >= count {
        scaled.signum()
    } else {
        i256::ZERO
    };
    quotient.wrapping_add(away).to_i128()
}

impl Accumulator for ExactAverage {
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
        let totals = groups.iter().map(|&group| {
            (
                self.totals.sum(group as usize),
                self.totals.counts[group as usize],
            )
        });
        let DataType::Decimal128(precision, _) = &self.output else {
            // Sums of integers always fit.
            let averages = totals.map(|(sum, count)| {
                sum.filter(|_| count > 0)
                    .map(|sum| sum as f64 / count as f64)
            });
            return nullable(&DataType::Float64, averages);
        };
        let limit = decimal_limit(*precision).unsigned_abs();
        let averages = totals.enumerate().map(|(position, (sum, count))| {
            if count <= 0 {
                return None;
            }
            let average = sum
                .and_then(|sum| divided(sum, self.factor, count))
                .filter(|average| average.unsigned_abs() <= limit);
            if average.is_none() {
                overflowed.push(position);
            }
            average
        });
        nullable(&self.output, averages)
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

#[derive(Debug, Default)]
struct FloatAverage {
    totals: FloatTotals,
}

impl Accumulator for FloatAverage {
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
        let averages = groups.iter().map(|&group| {
            let group = group as usize;
            let count = self.totals.counts[group];
            (count > 0).then(|| self.totals.sum(group) / count as f64)
        });
        nullable(&DataType::Float64, averages)
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::i256;

    use super::divided;

    #[test]
    fn rounds_half_away_from_zero() {
        let divided = |sum, factor, count| divided(sum, i256::from_i128(factor), count);
        assert_eq!(divided(5, 10, 4), Some(13));
        assert_eq!(divided(-5, 10, 4), Some(-13));
        assert_eq!(divided(1, 1, 3), Some(0));
        assert_eq!(divided(2, 1, 3), Some(1));
        assert_eq!(divided(i128::MAX, 10, 1), None);
        assert_eq!(divided(i128::MAX, 10, 10), Some(i128::MAX));
    }
}
