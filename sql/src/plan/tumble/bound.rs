//! The bounds of the windows of a time, as functions: what windows are over bounded input.

use std::sync::Arc;

use arrow::array::builder::{ListBuilder, TimestampMicrosecondBuilder};
use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::{Result as BoundResult, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use streams::WindowGrid;

use super::interval::MILLISECOND_US;
use crate::plan::sql_type::timestamp;

/// `floor((time − offset) / size) * size + offset + shift`: a bound of the window of a time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WindowBound {
    size_us: i64,
    offset_us: i64,
    shift_us: i64,
    signature: Signature,
}

impl WindowBound {
    pub(super) fn new(size_us: i64, offset_us: i64, shift_us: i64) -> Self {
        Self {
            size_us,
            offset_us,
            shift_us,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for WindowBound {
    fn name(&self) -> &str {
        "window_bound"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or_else(timestamp))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let data_type = args.return_type().clone();
        let rows = args.number_rows;
        let Some(time) = args.args.into_iter().next() else {
            return internal_err!("window_bound without argument");
        };
        let time = time.into_array(rows)?;
        let time = time.as_primitive::<TimestampMicrosecondType>();
        let bound = |time: i64| {
            let before = time.checked_sub(self.offset_us)?.div_euclid(self.size_us);
            let start = before.checked_mul(self.size_us)?;
            start.checked_add(self.offset_us + self.shift_us)
        };
        let bounds: TimestampMicrosecondArray =
            time.iter().map(|time| time.and_then(bound)).collect();
        let bounds: ArrayRef = Arc::new(bounds.with_data_type(data_type));
        Ok(ColumnarValue::Array(bounds))
    }
}

/// What [`WindowPart`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Of a time: the ends of its windows, as a list.
    Ends,
    /// Of a window's end: its start.
    Start,
    /// Of a window's end: its last moment.
    Time,
}

/// Windows that overlap, over bounded input.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WindowPart {
    grid: WindowGrid,
    offset_us: i64,
    part: Part,
    signature: Signature,
}

impl WindowPart {
    pub(super) fn new(grid: WindowGrid, offset_us: i64, part: Part) -> Self {
        Self {
            grid,
            offset_us,
            part,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn of_end(&self, end: i64) -> i64 {
        match (self.part, self.grid) {
            (Part::Start, WindowGrid::Hop { size_us, .. }) => end.saturating_sub(size_us),
            (Part::Start, WindowGrid::Cumulate { size_us, .. }) => end
                .saturating_sub(1)
                .saturating_sub(self.offset_us)
                .div_euclid(size_us)
                .saturating_mul(size_us)
                .saturating_add(self.offset_us),
            (Part::Ends | Part::Time, _) => end.saturating_sub(MILLISECOND_US),
        }
    }
}

impl ScalarUDFImpl for WindowPart {
    fn name(&self) -> &str {
        match self.part {
            Part::Ends => "window_ends",
            Part::Start => "start_of_window",
            Part::Time => "time_of_window",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        let time = args.first().cloned().unwrap_or_else(timestamp);
        Ok(match self.part {
            Part::Ends => DataType::new_list(time, true),
            Part::Start | Part::Time => time,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let rows = args.number_rows;
        let data_type = args.return_type().clone();
        let Some(time) = args.args.into_iter().next() else {
            return internal_err!("{} without argument", self.name());
        };
        let time = time.into_array(rows)?;
        let times = time.as_primitive::<TimestampMicrosecondType>();
        let values: ArrayRef = match self.part {
            Part::Ends => {
                let values =
                    TimestampMicrosecondBuilder::new().with_data_type(time.data_type().clone());
                let mut lists = ListBuilder::new(values);
                for time in times {
                    let windows = time.map(|time| {
                        let time = time.saturating_sub(self.offset_us);
                        self.grid.windows_of(time)
                    });
                    let ends = windows.map(|windows| {
                        windows.map(|(_, end)| Some(end.saturating_add(self.offset_us)))
                    });
                    lists.append_option(ends);
                }
                Arc::new(lists.finish())
            }
            Part::Start | Part::Time => {
                let bounds: TimestampMicrosecondArray = times.unary(|end| self.of_end(end));
                Arc::new(bounds.with_data_type(data_type))
            }
        };
        Ok(ColumnarValue::Array(values))
    }
}
