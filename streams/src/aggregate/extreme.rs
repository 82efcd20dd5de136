//! `min(x)` and `max(x)` over input that never takes a row back: the best value so far; NULL over nothing.
//!
//! Order is PostgreSQL's: NaN is larger than every number, text goes by bytes, false before true.

use arrow::array::ArrayRef;
use arrow::datatypes::{ArrowNativeType, DataType};

use super::encoded::EncodedValues;
use super::{Accumulator, Input, SubState, nullable, retain_at};
use crate::error::OperatorError;
use crate::state::row::{push_varint, read_exact, read_varint};
use crate::state::{Column, Physical, StateError, Values, canonical_f32, canonical_f64, key};

/// The accumulator for the largest (or smallest) value of a type.
pub(super) fn of(data_type: &DataType, largest: bool) -> Box<dyn Accumulator> {
    match Physical::of(data_type) {
        Some(Physical::I8) => fixed::<i8>(data_type, largest),
        Some(Physical::I16) => fixed::<i16>(data_type, largest),
        Some(Physical::I32) => fixed::<i32>(data_type, largest),
        Some(Physical::I64) => fixed::<i64>(data_type, largest),
        Some(Physical::I128) => fixed::<i128>(data_type, largest),
        Some(Physical::U8) => fixed::<u8>(data_type, largest),
        Some(Physical::U16) => fixed::<u16>(data_type, largest),
        Some(Physical::U32) => fixed::<u32>(data_type, largest),
        Some(Physical::U64) => fixed::<u64>(data_type, largest),
        Some(Physical::F32) => fixed::<f32>(data_type, largest),
        Some(Physical::F64) => fixed::<f64>(data_type, largest),
        physical => Box::new(EncodedExtreme {
            best: EncodedValues::new(data_type, None),
            physical: physical.unwrap_or(Physical::Null),
            largest,
        }),
    }
}

/// A fixed-width value that has an order.
trait Ordered: ArrowNativeType {
    /// How it is saved.
    type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;
    /// Whether `self` comes before `other`.
    fn before(self, other: Self) -> bool;
    fn canonical(self) -> Self;
    fn slice<'a>(values: &Values<'a>) -> Option<&'a [Self]>;
    fn to_bytes(self) -> Self::Bytes;
    fn from_bytes(bytes: Self::Bytes) -> Self;
}

macro_rules! ordered {
    ($($native:ty, $variant:ident, $before:expr, $canonical:expr;)*) => {$(
        impl Ordered for $native {
            type Bytes = [u8; size_of::<$native>()];
            #[inline]
            fn before(self, other: Self) -> bool {
                let before: fn(Self, Self) -> bool = $before;
                before(self, other)
            }
            #[inline]
            fn canonical(self) -> Self {
                let canonical: fn(Self) -> Self = $canonical;
                canonical(self)
            }
            fn slice<'a>(values: &Values<'a>) -> Option<&'a [Self]> {
                if let Values::$variant(values) = values { Some(values) } else { None }
            }
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }
            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
        }
    )*};
}

ordered! {
    i8, I8, |a, b| a < b, |a| a;
    i16, I16, |a, b| a < b, |a| a;
    i32, I32, |a, b| a < b, |a| a;
    i64, I64, |a, b| a < b, |a| a;
    i128, I128, |a, b| a < b, |a| a;
    u8, U8, |a, b| a < b, |a| a;
    u16, U16, |a, b| a < b, |a| a;
    u32, U32, |a, b| a < b, |a| a;
    u64, U64, |a, b| a < b, |a| a;
    f32, F32, |a, b| a < b || (b.is_nan() && !a.is_nan()), canonical_f32;
    f64, F64, |a, b| a < b || (b.is_nan() && !a.is_nan()), canonical_f64;
}

fn fixed<N: Ordered>(data_type: &DataType, largest: bool) -> Box<dyn Accumulator> {
    Box::new(FixedExtreme::<N> {
        best: Vec::new(),
        seen: Vec::new(),
        data_type: data_type.clone(),
        largest,
    })
}

#[derive(Debug)]
struct FixedExtreme<N> {
    best: Vec<N>,
    seen: Vec<bool>,
    data_type: DataType,
    largest: bool,
}

impl<N: Ordered> FixedExtreme<N> {
    #[inline]
    fn take(&mut self, input: &Input<'_>, values: &[N], better: impl Fn(N, N) -> bool) {
        let (best, seen) = (self.best.as_mut_slice(), self.seen.as_mut_slice());
        input.for_each(|row, group, _| {
            let value = values[row];
            if !seen[group] || better(value, best[group]) {
                best[group] = value.canonical();
                seen[group] = true;
            }
        });
    }
}

impl<N: Ordered> Accumulator for FixedExtreme<N> {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, N::default());
        self.seen.resize(groups, false);
    }

    fn update(
        &mut self,
        input: &Input<'_>,
        _below: &mut SubState<'_>,
    ) -> Result<(), OperatorError> {
        let column = input.argument().and_then(Column::of);
        let Some(values) = column.as_ref().and_then(|column| N::slice(&column.values)) else {
            return Ok(());
        };
        if self.largest {
            self.take(input, values, |new, old| old.before(new));
        } else {
            self.take(input, values, |new, old| new.before(old));
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        let results = groups
            .iter()
            .map(|&group| self.seen[group as usize].then(|| self.best[group as usize]));
        nullable(&self.data_type, results)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_varint(u64::from(self.seen[group]), out);
        if self.seen[group] {
            out.extend_from_slice(self.best[group].to_bytes().as_ref());
        }
    }

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        if read_varint(bytes)? == 0 {
            return Ok(());
        }
        let value = read_exact(size_of::<N>(), bytes)?;
        let Ok(value) = N::Bytes::try_from(value) else {
            unreachable!("as many bytes were read")
        };
        let (value, best) = (N::from_bytes(value), self.best[group]);
        let better = if self.largest {
            best.before(value)
        } else {
            value.before(best)
        };
        if !self.seen[group] || better {
            self.best[group] = value;
            self.seen[group] = true;
        }
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.best, kept);
        retain_at(&mut self.seen, kept);
    }

    fn size_bytes(&self) -> usize {
        self.seen.len() * (size_of::<N>() + 1)
    }
}

/// For strings, binary values and booleans: the best value in the encoding of keys, whose order is theirs.
#[derive(Debug)]
struct EncodedExtreme {
    best: EncodedValues,
    physical: Physical,
    largest: bool,
}

impl Accumulator for EncodedExtreme {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups);
    }

    fn update(
        &mut self,
        input: &Input<'_>,
        _below: &mut SubState<'_>,
    ) -> Result<(), OperatorError> {
        let Some(column) = input.argument().and_then(Column::of) else {
            return Ok(());
        };
        let mut encoded = Vec::new();
        input.for_each(|row, group, _| {
            encoded.clear();
            key::push_cell(self.physical, column.cell(row), &mut encoded);
            self.best.improve(group, &encoded, self.largest);
        });
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        self.best.column(groups)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        self.best.save(group, out);
    }

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        if let Some(value) = self.best.read(bytes)? {
            self.best.improve(group, &value, self.largest);
        }
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        self.best.retain(kept);
    }

    fn size_bytes(&self) -> usize {
        self.best.size_bytes()
    }
}
