//! `generate_series(from, to, step)`, and `range`, which leaves the end out: numbers, days and times, one behind the other.
//!
//! ```text
//! numbers   i64                        + i64
//! days      days since 1970            + months and days
//! times     µs since 1970              + months, days and µs, in the zone of the times
//! ```
//!
//! Each value is the one before it and a step, as in PostgreSQL: a month behind 31 January is 29 February, and a month
//! behind that 29 March.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, IntervalMonthDayNanoArray, ListArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::diagnostic::{Code, Diagnostic};

/// Their names, and whether the end belongs to them.
const NAMES: [(&str, bool); 2] = [("generate_series", true), ("range", false)];

const DAY_NS: i128 = 86_400_000_000_000;
/// As PostgreSQL compares intervals.
const MONTH_NS: i128 = 30 * DAY_NS;

/// What the functions that give series are called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// `generate_series` or `range`: takes what DataFusion's takes, and gives times in µs, of all years.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesFunction {
    function: ScalarUDF,
    signature: Signature,
}

impl SeriesFunction {
    /// In the place of these functions.
    pub(super) fn over(function: ScalarUDF) -> Self {
        let signature = function.signature().clone();
        Self {
            function,
            signature,
        }
    }
}

impl ScalarUDFImpl for SeriesFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        self.function.coerce_types(args)
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        let untyped = args.iter().any(DataType::is_null);
        let Some(kind) = args.first().filter(|_| !untyped).and_then(Kind::of) else {
            return self.function.return_type(args);
        };
        Ok(DataType::List(kind.element()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        if args.args.iter().any(|arg| arg.data_type().is_null()) {
            return Ok(ColumnarValue::Scalar(ScalarValue::Null));
        }
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows));
        let arrays = arrays.collect::<BoundResult<Vec<_>>>()?;
        let bounds = Bounds::of(self.name(), &arrays)?;
        let mut lists = Lists::of(&bounds.kind);
        for row in 0..rows {
            match bounds.series(row)? {
                Some(mut series) => lists.push(&mut series, usize::MAX),
                None => lists.push_null(),
            }
        }
        let lists = lists.finish()?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?),
            false => ColumnarValue::Array(lists),
        })
    }
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Day,
    /// With the name of a zone.
    Time(Option<Arc<str>>),
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Date32 | DataType::Date64 => Some(Self::Day),
            DataType::Timestamp(_, zone) => Some(Self::Time(zone.clone())),
            integer if integer.is_integer() => Some(Self::Number),
            _ => None,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Number => DataType::Int64,
            Self::Day => DataType::Date32,
            Self::Time(zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        }
    }

    fn element(&self) -> FieldRef {
        Arc::new(Field::new_list_field(self.data_type(), true))
    }

    /// A column of bounds as numbers: days and µs since 1970.
    fn numbers(&self, column: &ArrayRef) -> BoundResult<Int64Array> {
        let column = cast(column, &self.data_type())?;
        let column = match self {
            Self::Day => cast(&column, &DataType::Int32)?,
            _ => column,
        };
        Ok(cast(&column, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .clone())
    }

    fn values(&self, numbers: Vec<i64>) -> ArrayRef {
        match self {
            Self::Number => Arc::new(Int64Array::from(numbers)),
            Self::Day => {
                let day = |number| i32::try_from(number).unwrap_or(i32::MAX);
                Arc::new(Date32Array::from_iter_values(numbers.into_iter().map(day)))
            }
            Self::Time(zone) => {
                let times = TimestampMicrosecondArray::from(numbers);
                Arc::new(times.with_timezone_opt(zone.clone()))
            }
        }
    }
}

/// The arguments of a column of series.
pub(super) struct Bounds {
    name: String,
    pub kind: Kind,
    from: Option<Int64Array>,
    to: Int64Array,
    steps: Steps,
    zone: Tz,
    includes_end: bool,
}

enum Steps {
    One,
    Numbers(Int64Array),
    Intervals(IntervalMonthDayNanoArray),
}

impl Bounds {
    /// Of the arguments of a call.
    pub(super) fn of(name: &str, args: &[ArrayRef]) -> BoundResult<Self> {
        let Some(kind) = args.first().and_then(|first| Kind::of(first.data_type())) else {
            return internal_err!("{name} of no numbers and no times");
        };
        let (from, to, step) = match args {
            [to] => (None, to, None),
            [from, to] => (Some(from), to, None),
            [from, to, step] => (Some(from), to, Some(step)),
            _ => return internal_err!("{name} takes one to three arguments"),
        };
        let steps = match step {
            None => Steps::One,
            Some(step) if kind == Kind::Number => Steps::Numbers(kind.numbers(step)?),
            Some(step) => {
                let interval = DataType::Interval(IntervalUnit::MonthDayNano);
                let step = cast(step, &interval)?;
                Steps::Intervals(step.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
        };
        let zone = match &kind {
            Kind::Time(Some(zone)) => Tz::from_str(zone)?,
            _ => Tz::from_str("+00:00")?,
        };
        Ok(Self {
            from: from.map(|from| kind.numbers(from)).transpose()?,
            to: kind.numbers(to)?,
            name: name.to_owned(),
            kind,
            steps,
            zone,
            includes_end: NAMES.contains(&(name, true)),
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.to.len()
    }

    /// The series of a row. `None`: NULL is among its arguments.
    ///
    /// # Errors
    /// A step that leads nowhere.
    pub(super) fn series(&self, row: usize) -> BoundResult<Option<Series>> {
        let number = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let from = match &self.from {
            None => Some(0),
            Some(from) => number(from),
        };
        let step = match &self.steps {
            Steps::One => Some(Step::Number(1)),
            Steps::Numbers(steps) => number(steps).map(Step::Number),
            Steps::Intervals(steps) => (steps.is_valid(row)).then(|| Step::of(steps.value(row))),
        };
        let (Some(from), Some(to), Some(step)) = (from, number(&self.to), step) else {
            return Ok(None);
        };
        let size = step.size();
        if size == 0 {
            let message = format!("{}: a step of zero leads nowhere", self.name);
            return Err(external(refused(message)));
        }
        let (is_days, part_ns) = (self.kind == Kind::Day, step.part_of_day_ns());
        if is_days && part_ns != 0 {
            let message = format!("{}: days have steps of whole days", self.name);
            let help = format!(
                "of times it takes hours, too: {}(CAST(a AS TIMESTAMP), CAST(b AS TIMESTAMP), INTERVAL '12 hours')",
                self.name
            );
            return Err(external(refused(message).help(help)));
        }
        let mut series = Series {
            next: Some(from),
            to,
            step,
            is_back: size < 0,
            is_days,
            zone: self.zone,
            includes_end: self.includes_end,
        };
        series.end_behind_last();
        Ok(Some(series))
    }

    /// How many values the series of a row has, nearly; none where it is NULL or wrong.
    pub(super) fn count(&self, row: usize) -> i128 {
        let Ok(Some(series)) = self.series(row) else {
            return 0;
        };
        let Some(from) = series.next else {
            return 0;
        };
        let unit_ns = match self.kind {
            Kind::Number => 1,
            Kind::Day => DAY_NS,
            Kind::Time(_) => 1_000,
        };
        let distance = (i128::from(series.to) - i128::from(from)) * unit_ns;
        distance / series.step.size() + 1
    }
}

fn refused(message: String) -> Diagnostic {
    let mut refused = Diagnostic::new(Code::Row, message);
    refused.sqlstate = "22023".to_owned();
    refused
}

fn external(diagnostic: Diagnostic) -> DataFusionError {
    DataFusionError::External(Box::new(diagnostic))
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Number(i64),
    Interval(IntervalMonthDayNano),
}

impl Step {
    fn of(interval: IntervalMonthDayNano) -> Self {
        Self::Interval(interval)
    }

    /// As a number, or in nearly so many ns.
    fn size(self) -> i128 {
        match self {
            Self::Number(number) => i128::from(number),
            Self::Interval(interval) => {
                i128::from(interval.months) * MONTH_NS
                    + i128::from(interval.days) * DAY_NS
                    + i128::from(interval.nanoseconds)
            }
        }
    }

    fn part_of_day_ns(self) -> i64 {
        match self {
            Self::Number(_) => 0,
            Self::Interval(interval) => interval.nanoseconds,
        }
    }
}

/// Values one behind the other, as numbers of their kind.
#[derive(Debug, Clone)]
pub(super) struct Series {
    next: Option<i64>,
    to: i64,
    step: Step,
    is_back: bool,
    is_days: bool,
    zone: Tz,
    includes_end: bool,
}

impl Series {
    /// Whether it has no more values.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    fn end_behind_last(&mut self) {
        let Some(next) = self.next else { return };
        let is_behind = match self.is_back {
            true => next < self.to,
            false => next > self.to,
        };
        if is_behind || next == self.to && !self.includes_end {
            self.next = None;
        }
    }

    fn behind(&self, value: i64) -> Option<i64> {
        match self.step {
            Step::Number(step) => value.checked_add(step),
            Step::Interval(step) if self.is_days => {
                let day = i32::try_from(value).ok()?;
                Date32Type::add_month_day_nano_opt(day, step).map(i64::from)
            }
            Step::Interval(step) => {
                TimestampMicrosecondType::add_month_day_nano(value, step, self.zone)
            }
        }
    }
}

impl Iterator for Series {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let value = self.next?;
        // Behind the last value that there can be nothing follows, and nothing behind a step that leads nowhere from here.
        self.next = self.behind(value).filter(|next| match self.is_back {
            true => *next < value,
            false => *next > value,
        });
        self.end_behind_last();
        Some(value)
    }
}

/// A column of lists that grows.
pub(super) struct Lists {
    kind: Kind,
    values: Vec<i64>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Lists {
    pub(super) fn of(kind: &Kind) -> Self {
        Self {
            kind: kind.clone(),
            values: Vec::new(),
            lengths: Vec::new(),
            valid: Vec::new(),
        }
    }

    /// A list of up to so many of the next values.
    pub(super) fn push(&mut self, series: &mut Series, values_max: usize) {
        let before = self.values.len();
        self.values.extend(series.by_ref().take(values_max));
        self.lengths.push(self.values.len() - before);
        self.valid.push(true);
    }

    pub(super) fn push_null(&mut self) {
        self.lengths.push(0);
        self.valid.push(false);
    }

    /// Values and lists in all.
    pub(super) fn size(&self) -> usize {
        self.values.len() + self.lengths.len()
    }

    pub(super) fn finish(self) -> BoundResult<ArrayRef> {
        let lists = ListArray::try_new(
            self.kind.element(),
            OffsetBuffer::from_lengths(self.lengths),
            self.kind.values(self.values),
            Some(NullBuffer::from(self.valid)),
        )?;
        Ok(Arc::new(lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(name: &str, args: &[ArrayRef]) -> Vec<i64> {
        let bounds = Bounds::of(name, args).unwrap();
        bounds.series(0).unwrap().unwrap().collect()
    }

    fn numbers(name: &str, numbers: &[i64]) -> Vec<i64> {
        let columns = numbers.iter().map(|&number| {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
            column
        });
        counted(name, &columns.collect::<Vec<_>>())
    }

    #[test]
    fn numbers_go_up_and_down_to_their_end_and_no_further() {
        assert_eq!(numbers("generate_series", &[1, 3]), [1, 2, 3]);
        assert_eq!(numbers("range", &[3]), [0, 1, 2]);
        assert_eq!(numbers("range", &[1, 1]), [0; 0]);
        assert_eq!(numbers("generate_series", &[1, 1]), [1]);
        assert_eq!(numbers("generate_series", &[3, 1]), [0; 0]);
        assert_eq!(numbers("generate_series", &[5, 0, -2]), [5, 3, 1]);
        assert_eq!(numbers("range", &[5, 1, -2]), [5, 3]);
        let last = i64::MAX;
        assert_eq!(
            numbers("generate_series", &[last - 1, last]),
            [last - 1, last]
        );
    }

    #[test]
    fn months_are_added_to_the_value_before_in_every_year() {
        let day = |text: &str| -> ArrayRef {
            let day: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![text]));
            cast(&day, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap()
        };
        let month: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
            IntervalMonthDayNano::new(1, 0, 0),
        ]));
        let args = [day("3024-01-31"), day("3024-04-01"), month];
        let wanted = [day("3024-01-31"), day("3024-02-29"), day("3024-03-29")];
        let wanted = wanted.map(|day| Kind::Time(None).numbers(&day).unwrap().value(0));
        assert_eq!(counted("generate_series", &args), wanted);
    }

    #[test]
    fn a_step_that_leads_nowhere_is_refused() {
        let one = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
        let zero: ArrayRef = Arc::new(Int64Array::from(vec![0]));
        let bounds = Bounds::of("generate_series", &[one(), one(), zero]).unwrap();
        let error = bounds.series(0).unwrap_err().to_string();
        assert!(error.contains("a step of zero"), "{error}");
    }
}
