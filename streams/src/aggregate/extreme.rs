//! `min(x)` and `max(x)` over input that never takes a row back: the best value so far; NULL over nothing.
//!
//! Order is PostgreSQL's: NaN is larger than every number, text goes by bytes, false before true.

use arrow::array::ArrayRef;
use arrow::datatypes::{ArrowNativeType, DataType};

use super::{Accumulator, Input, SubState, nullable, retain_at};
use crate::operator::OperatorError;
use crate::state::row::{push_bytes, push_varint, read_bytes, read_exact, read_varint};
use crate::state::{
    Column, ColumnBuilder, Physical, StateError, Values, canonical_f32, canonical_f64, key,
};

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
            best: Vec::new(),
            data_type: data_type.clone(),
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
        let column = input.values.and_then(Column::of);
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

    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.seen[group] = read_varint(bytes)? != 0;
        if self.seen[group] {
            let value = read_exact(size_of::<N>(), bytes)?;
            let Ok(value) = N::Bytes::try_from(value) else {
                unreachable!("as many bytes were read")
            };
            self.best[group] = N::from_bytes(value);
        }
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.best, kept);
        retain_at(&mut self.seen, kept);
    }

    fn group_bytes(&self) -> usize {
        size_of::<N>() + 1
    }
}

/// For strings, binary values and booleans: the best value in the encoding of keys, whose order is theirs.
#[derive(Debug)]
struct EncodedExtreme {
    best: Vec<Option<Box<[u8]>>>,
    data_type: DataType,
    physical: Physical,
    largest: bool,
}

/// A column of values in the encoding of keys.
pub(super) fn decoded<'a>(
    data_type: &DataType,
    physical: Physical,
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> ArrayRef {
    let mut builder =
        ColumnBuilder::new(data_type, 16).expect("a plan with another type is refused");
    for value in values {
        match value {
            None => builder.push_null(),
            Some(mut bytes) => {
                // State that does not decode was refused when it was loaded.
                if key::read_cell(physical, &mut bytes, |cell| builder.push(cell)).is_err() {
                    builder.push_null();
                }
            }
        }
    }
    builder.finish()
}

impl Accumulator for EncodedExtreme {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn update(
        &mut self,
        input: &Input<'_>,
        _below: &mut SubState<'_>,
    ) -> Result<(), OperatorError> {
        let Some(column) = input.values.and_then(Column::of) else {
            return Ok(());
        };
        let mut encoded = Vec::new();
        input.for_each(|row, group, _| {
            encoded.clear();
            key::push_cell(self.physical, column.cell(row), &mut encoded);
            let better = match &self.best[group] {
                None => true,
                Some(best) if self.largest => **best < *encoded,
                Some(best) => *encoded < **best,
            };
            if better {
                self.best[group] = Some(encoded.as_slice().into());
            }
        });
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        let values = groups
            .iter()
            .map(|&group| self.best[group as usize].as_deref());
        decoded(&self.data_type, self.physical, values)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_bytes(self.best[group].as_deref().unwrap_or_default(), out);
    }

    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        let value = read_bytes(bytes)?;
        self.best[group] = loaded(self.physical, value)?;
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.best, kept);
    }

    fn group_bytes(&self) -> usize {
        48
    }
}

/// Checks an encoded value that comes from disk; empty stands for none.
pub(super) fn loaded(physical: Physical, value: &[u8]) -> Result<Option<Box<[u8]>>, StateError> {
    if value.is_empty() {
        return Ok(None);
    }
    key::read_cell(physical, &mut &*value, |_| Ok(()))?;
    Ok(Some(value.into()))
}
