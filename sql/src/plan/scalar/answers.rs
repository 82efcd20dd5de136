//! What functions of a row give, as a column of their type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Float64Builder, Int32Array, Int64Builder,
    IntervalMonthDayNanoBuilder, ListBuilder, MapBuilder, MapFieldNames, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result as BoundResult;
use streams::{is_json, json_array};

use super::Answer;

/// A column of answers that grows.
pub(super) struct Answers {
    kind: Kind,
    /// Of all texts so far.
    pub(super) bytes: usize,
}

enum Kind {
    Text(StringViewBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Bytes(BinaryViewBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Texts(ListBuilder<StringViewBuilder>),
    Entries(Box<MapBuilder<StringViewBuilder, StringViewBuilder>>),
}

impl Answers {
    pub(super) fn of(to: &DataType) -> Self {
        let kind = match to {
            DataType::Utf8View => Kind::Text(StringViewBuilder::new()),
            json if is_json(json) => Kind::Text(StringViewBuilder::new()),
            DataType::Float64 => Kind::Float(Float64Builder::new()),
            DataType::Boolean => Kind::Bool(BooleanBuilder::new()),
            DataType::BinaryView => Kind::Bytes(BinaryViewBuilder::new()),
            DataType::Interval(_) => Kind::Interval(IntervalMonthDayNanoBuilder::new()),
            DataType::List(_) => Kind::Texts(ListBuilder::new(StringViewBuilder::new())),
            DataType::Map(..) => {
                let names = MapFieldNames {
                    entry: "entries".to_owned(),
                    key: "key".to_owned(),
                    value: "value".to_owned(),
                };
                let (keys, values) = (StringViewBuilder::new(), StringViewBuilder::new());
                Kind::Entries(Box::new(MapBuilder::new(Some(names), keys, values)))
            }
            _ => Kind::Int(Int64Builder::new()),
        };
        Self { kind, bytes: 0 }
    }

    pub(super) fn push(&mut self, answer: Answer<'_>) -> BoundResult<()> {
        match (&mut self.kind, answer) {
            (Kind::Text(texts), Answer::Text(text)) => {
                self.bytes += text.len();
                texts.append_value(text);
            }
            (Kind::Text(texts), _) => texts.append_null(),
            (Kind::Int(numbers), Answer::Int(number)) => numbers.append_value(number),
            (Kind::Int(numbers), _) => numbers.append_null(),
            (Kind::Float(numbers), Answer::Float(number)) => numbers.append_value(number),
            (Kind::Float(numbers), _) => numbers.append_null(),
            (Kind::Bool(bools), Answer::Bool(bool)) => bools.append_value(bool),
            (Kind::Bool(bools), _) => bools.append_null(),
            (Kind::Bytes(all), Answer::Bytes(bytes)) => {
                self.bytes += bytes.len();
                all.append_value(bytes);
            }
            (Kind::Bytes(all), _) => all.append_null(),
            (Kind::Interval(all), Answer::Interval(interval)) => all.append_value(interval),
            (Kind::Interval(all), _) => all.append_null(),
            (Kind::Texts(lists), Answer::Texts(texts)) => {
                for text in texts {
                    self.bytes += text.len();
                    lists.values().append_value(text);
                }
                lists.append(true);
            }
            (Kind::Texts(lists), _) => lists.append(false),
            (Kind::Entries(maps), Answer::Entries(entries)) => {
                for (key, value) in entries {
                    self.bytes += key.len() + value.map_or(0, str::len);
                    maps.keys().append_value(&key);
                    maps.values().append_option(value);
                }
                maps.append(true)?;
            }
            (Kind::Entries(maps), _) => maps.append(false)?,
        }
        Ok(())
    }

    pub(super) fn finish(self, to: &DataType) -> BoundResult<ArrayRef> {
        let answers: ArrayRef = match self.kind {
            Kind::Text(mut texts) if is_json(to) => json_array(texts.finish()),
            Kind::Text(mut texts) => Arc::new(texts.finish()),
            Kind::Int(mut numbers) => {
                let numbers = numbers.finish();
                match to {
                    DataType::Date32 => {
                        let days = numbers.iter();
                        let days = days.map(|days| days.and_then(|days| i32::try_from(days).ok()));
                        cast(&days.collect::<Int32Array>(), to)?
                    }
                    to => cast(&numbers, to)?,
                }
            }
            Kind::Float(mut numbers) => Arc::new(numbers.finish()),
            Kind::Bool(mut bools) => Arc::new(bools.finish()),
            Kind::Bytes(mut all) => Arc::new(all.finish()),
            Kind::Interval(mut all) => Arc::new(all.finish()),
            Kind::Texts(lists) => {
                let item = Arc::new(Field::new("item", DataType::Utf8View, true));
                Arc::new(lists.with_field(item).finish())
            }
            Kind::Entries(mut maps) => Arc::new(maps.finish()),
        };
        Ok(answers)
    }
}
