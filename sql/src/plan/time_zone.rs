//! `ts AT TIME ZONE zone`, as the function `timezone(zone, ts)` that PostgreSQL makes of it: an instant becomes the
//! clock's time in the zone, a clock's time becomes the instant.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::sql_type::{UTC, timestamp};
use crate::diagnostic::{Code, Diagnostic};

/// Longer than any clock is ever set forward.
const GAP_MAX: TimeDelta = TimeDelta::hours(26);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AtTimeZone {
    signature: Signature,
}

impl Default for AtTimeZone {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let [zone, time] = args else {
            return Err(DataFusionError::Plan("takes a zone and a time".to_owned()));
        };
        if !matches!(
            zone,
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null
        ) {
            return Err(DataFusionError::Plan("a time zone is a text".to_owned()));
        }
        let time = match time {
            DataType::Timestamp(_, None) => timestamp(),
            // As in PostgreSQL, what may be either is an instant.
            DataType::Timestamp(_, Some(_))
            | DataType::Date32
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::Null => instant(),
            _ => {
                return Err(DataFusionError::Plan(
                    "takes a TIMESTAMP or TIMESTAMPTZ".to_owned(),
                ));
            }
        };
        Ok(vec![DataType::Utf8View, time])
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(match args {
            [_, DataType::Timestamp(_, None)] => instant(),
            _ => timestamp(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = convert(&arrays[0], &arrays[1])?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &times, 0,
            )?));
        }
        Ok(ColumnarValue::Array(times))
    }
}

fn convert(zones: &ArrayRef, times: &ArrayRef) -> BoundResult<ArrayRef> {
    let to_instant = matches!(times.data_type(), DataType::Timestamp(_, None));
    let zones = zones.as_string_view();
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let mut out = PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(times.len());
    let mut known: Option<(&str, Tz)> = None;
    for row in 0..times.len() {
        let time = DateTime::from_timestamp_micros(times.value(row));
        let Some(time) = time.filter(|_| times.is_valid(row) && zones.is_valid(row)) else {
            out.append_null();
            continue;
        };
        let name = zones.value(row);
        let zone = match known {
            Some((last, zone)) if last == name => zone,
            _ => parse(name)?,
        };
        known = Some((name, zone));
        let time = time.naive_utc();
        let moved = if to_instant {
            time.checked_sub_signed(before(zone, time))
        } else {
            time.checked_add_signed(ahead(zone.offset_from_utc_datetime(&time)))
        };
        out.append_option(moved.map(|moved| moved.and_utc().timestamp_micros()));
    }
    let zone: Option<Arc<str>> = to_instant.then(|| UTC.into());
    Ok(Arc::new(out.finish().with_timezone_opt(zone)))
}

/// How far the clock of the zone `name` is ahead of UTC at its time `local`.
pub(super) fn ahead_at(name: &str, local: NaiveDateTime) -> Option<TimeDelta> {
    parse(name).ok().map(|zone| before(zone, local))
}

/// How far the clock is before UTC at its time `local`. A time that comes twice is the second one (standard time); one
/// that is skipped counts as if the clock had not been set yet.
fn before(zone: Tz, local: NaiveDateTime) -> TimeDelta {
    let known = |local| match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => Some(ahead(offset)),
        LocalResult::None => None,
    };
    known(local)
        .or_else(|| local.checked_sub_signed(GAP_MAX).and_then(known))
        .unwrap_or_default()
}

fn ahead(offset: impl Offset) -> TimeDelta {
    TimeDelta::seconds(i64::from(offset.fix().local_minus_utc()))
}

/// A name of the zone database, or an offset, which counts to the west as in POSIX.
fn parse(name: &str) -> BoundResult<Tz> {
    let turned = match name.as_bytes().first() {
        Some(b'+') => name.replacen('+', "-", 1),
        Some(b'-') => name.replacen('-', "+", 1),
        _ => name.to_owned(),
    };
    turned.parse().map_err(|_| {
        let message = format!("there is no time zone '{name}'");
        let mut diagnostic =
            Diagnostic::new(Code::Row, message).help("a name like 'Europe/Amsterdam' or 'UTC'");
        diagnostic.sqlstate = "22023".to_owned();
        DataFusionError::External(Box::new(diagnostic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_set_forward_and_back() {
        let zone = parse("Europe/Amsterdam").expect("a zone");
        for (local, hours) in [
            ("2013-01-01T12:00:00", 1),
            ("2013-07-01T12:00:00", 2),
            ("2013-03-31T02:30:00", 1),
            ("2013-10-27T02:30:00", 1),
        ] {
            let at: NaiveDateTime = local.parse().expect("a time");
            assert_eq!(before(zone, at), TimeDelta::hours(hours), "{local}");
        }
        assert!(parse("Mars/Phobos").is_err());
    }
}
