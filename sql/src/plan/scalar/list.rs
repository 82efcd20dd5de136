//! Elements of arrays, entries of maps, and how often values are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Builder, ListArray, MapArray, MapBuilder, MapFieldNames,
    StringViewBuilder, StructArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::sql_type::{list_type, map_type};
use crate::diagnostic::{Code, Diagnostic};

pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let kinds = [
        Kind::Element,
        Kind::Entries,
        Kind::MapUnion,
        Kind::Histogram,
    ];
    kinds.into_iter().map(|kind| {
        ScalarUDF::from(ListFunction {
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Flink's: the only element of an array.
    Element,
    /// ksqlDB's: the entries of a map as an array, by their keys if wanted.
    Entries,
    /// The entries of two maps; where both have a key the second's counts.
    MapUnion,
    /// What an aggregate is made of: how often each text is in an array.
    Histogram,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListFunction {
    kind: Kind,
    signature: Signature,
}

impl ListFunction {
    fn takes(&self, what: &str) -> DataFusionError {
        let name = self.name().trim_start_matches("__");
        DataFusionError::Plan(format!("{name} takes {what}"))
    }
}

/// The fields of a map's entries.
fn entry_of(map: &DataType) -> Option<&Fields> {
    match map {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Some(fields),
            _ => None,
        },
        _ => None,
    }
}

/// As ksqlDB names them.
fn entry_fields(entry: &Fields) -> Fields {
    let field = |name: &str, place: usize| Field::new(name, entry[place].data_type().clone(), true);
    Fields::from(vec![field("k", 0), field("v", 1)])
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Element => "element",
            Kind::Entries => "entries",
            Kind::MapUnion => "map_union",
            Kind::Histogram => "__histogram",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        match (self.kind, args) {
            (Kind::Element, [DataType::List(element)]) => {
                Ok(vec![DataType::List(Arc::clone(element))])
            }
            (
                Kind::Element,
                [DataType::LargeList(element) | DataType::FixedSizeList(element, _)],
            ) => Ok(vec![list_type(element.data_type().clone())]),
            (Kind::Element, [DataType::Null]) => Ok(vec![list_type(DataType::Null)]),
            (Kind::Element, _) => Err(self.takes("an array")),
            (Kind::Entries, [map, rest @ ..]) if entry_of(map).is_some() => match rest {
                [] => Ok(vec![map.clone()]),
                [DataType::Boolean | DataType::Null] => Ok(vec![map.clone(), DataType::Boolean]),
                _ => Err(self.takes("a map, and whether its entries are in order")),
            },
            (Kind::Entries, _) => Err(self.takes("a map, and whether its entries are in order")),
            (Kind::MapUnion, [one, other]) => match (entry_of(one), entry_of(other)) {
                (Some(entry), Some(_)) => {
                    let map = map_type(DataType::Utf8View, entry[1].data_type().clone());
                    Ok(vec![map; 2])
                }
                _ => Err(self.takes("two maps")),
            },
            (Kind::MapUnion, _) => Err(self.takes("two maps")),
            (Kind::Histogram, [_]) => Ok(vec![list_type(DataType::Utf8View)]),
            (Kind::Histogram, _) => Err(self.takes("a value")),
        }
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(match (self.kind, args) {
            (Kind::Element, [DataType::List(element)]) => element.data_type().clone(),
            (Kind::Entries, [map, ..]) => match entry_of(map) {
                Some(entry) => list_type(DataType::Struct(entry_fields(entry))),
                None => return Err(self.takes("a map")),
            },
            (Kind::MapUnion, [map, _]) => map.clone(),
            (Kind::Histogram, _) => map_type(DataType::Utf8View, DataType::Int64),
            _ => return Err(self.takes("an array")),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows));
        let arrays = arrays.collect::<BoundResult<Vec<_>>>()?;
        let values = match self.kind {
            Kind::Element => element(arrays[0].as_list())?,
            Kind::Entries => entries(arrays[0].as_map(), arrays.get(1))?,
            Kind::MapUnion => map_union(arrays[0].as_map(), arrays[1].as_map())?,
            Kind::Histogram => histogram(arrays[0].as_list())?,
        };
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?),
            false => ColumnarValue::Array(values),
        })
    }
}

fn place(offset: i32) -> usize {
    offset.unsigned_abs() as usize
}

fn element(lists: &ListArray) -> BoundResult<ArrayRef> {
    let mut places = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let length = if lists.is_valid(row) {
            lists.value_length(row)
        } else {
            0
        };
        if length > 1 {
            let message = format!("element: an array of {length} has no only element");
            let mut diagnostic =
                Diagnostic::new(Code::Row, message).help("list[1] is the first of several");
            diagnostic.sqlstate = "22023".to_owned();
            return Err(DataFusionError::External(Box::new(diagnostic)));
        }
        places.push((length == 1).then(|| place(lists.value_offsets()[row]) as u64));
    }
    Ok(take(lists.values(), &UInt64Array::from(places), None)?)
}

fn entries(maps: &MapArray, ordered: Option<&ArrayRef>) -> BoundResult<ArrayRef> {
    let keys = cast(maps.keys(), &DataType::Utf8View)?;
    let keys = keys.as_string_view();
    let ordered = ordered.map(|ordered| ordered.as_boolean());
    let mut places: Vec<u64> = Vec::with_capacity(maps.keys().len());
    let mut lengths = Vec::with_capacity(maps.len());
    for row in 0..maps.len() {
        let offsets = maps.value_offsets();
        let range = match maps.is_valid(row) {
            true => place(offsets[row])..place(offsets[row + 1]),
            false => 0..0,
        };
        lengths.push(range.len());
        let first = places.len();
        places.extend(range.map(|place| place as u64));
        if ordered.is_some_and(|ordered| ordered.is_valid(row) && ordered.value(row)) {
            places[first..].sort_by_key(|place| keys.value(*place as usize));
        }
    }
    let places = UInt64Array::from(places);
    let entry = entry_of(maps.data_type());
    let fields = entry.map(entry_fields).unwrap_or_default();
    let columns = [maps.keys(), maps.values()].map(|column| take(column, &places, None));
    let columns = columns.into_iter().collect::<Result<Vec<_>, _>>()?;
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = maps.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(
        item,
        offsets,
        Arc::new(entries),
        nulls,
    )?))
}

fn map_union(one: &MapArray, other: &MapArray) -> BoundResult<ArrayRef> {
    let keys = concat(&[one.keys().as_ref(), other.keys().as_ref()])?;
    let values = concat(&[one.values().as_ref(), other.values().as_ref()])?;
    let texts = keys.as_string_view();
    let mut places: Vec<u64> = Vec::new();
    let mut lengths = Vec::with_capacity(one.len());
    let mut nulls = Vec::with_capacity(one.len());
    for row in 0..one.len() {
        let valid = one.is_valid(row) && other.is_valid(row);
        nulls.push(valid);
        let first = places.len();
        if valid {
            let range = |map: &MapArray, before: usize| {
                let offsets = map.value_offsets();
                before + place(offsets[row])..before + place(offsets[row + 1])
            };
            let second = range(other, one.keys().len());
            let replaced: BTreeMap<&str, usize> = second
                .clone()
                .map(|place| (texts.value(place), place))
                .collect();
            let mut known = replaced.clone();
            for place in range(one, 0) {
                let by = known.remove(texts.value(place));
                places.push(by.unwrap_or(place) as u64);
            }
            // What is left are the second's own, in its order.
            let own = second.filter(|place| known.get(texts.value(*place)) == Some(place));
            places.extend(own.map(|place| place as u64));
        }
        lengths.push(places.len() - first);
    }
    let places = UInt64Array::from(places);
    let (keys, values) = (take(&keys, &places, None)?, take(&values, &places, None)?);
    let DataType::Map(entry, _) = one.data_type() else {
        return Err(DataFusionError::Internal("a map".to_owned()));
    };
    let fields = entry_of(one.data_type()).cloned().unwrap_or_default();
    let entries = StructArray::try_new(fields, vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let map = MapArray::try_new(
        Arc::clone(entry),
        offsets,
        entries,
        Some(nulls.into()),
        false,
    )?;
    Ok(Arc::new(map))
}

fn histogram(lists: &ListArray) -> BoundResult<ArrayRef> {
    let texts = lists.values().as_string_view();
    let names = MapFieldNames {
        entry: "entries".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut maps = MapBuilder::new(Some(names), StringViewBuilder::new(), Int64Builder::new());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            maps.append(false)?;
            continue;
        }
        let offsets = lists.value_offsets();
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for place in place(offsets[row])..place(offsets[row + 1]) {
            if texts.is_valid(place) {
                *counts.entry(texts.value(place)).or_default() += 1;
            }
        }
        for (text, count) in counts {
            maps.keys().append_value(text);
            maps.values().append_value(count);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, i64)]) -> MapArray {
        let names = MapFieldNames {
            entry: "entries".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        let mut maps = MapBuilder::new(Some(names), StringViewBuilder::new(), Int64Builder::new());
        for (key, value) in entries {
            maps.keys().append_value(key);
            maps.values().append_value(*value);
        }
        maps.append(true).unwrap();
        maps.finish()
    }

    #[test]
    fn of_two_maps_the_second_counts() {
        let both = map_union(&map(&[("a", 1), ("b", 2)]), &map(&[("c", 3), ("a", 4)])).unwrap();
        assert_eq!(both.as_map(), &map(&[("a", 4), ("b", 2), ("c", 3)]));
    }

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let ordered: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![true]));
        let list = entries(&map(&[("b", 2), ("a", 1)]), Some(&ordered)).unwrap();
        let entries = list.as_list::<i32>().value(0);
        let keys = entries.as_struct().column(0).as_string_view();
        assert_eq!(keys.iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
    }
}
