//! Functions of lists in which NULL is no value: no NULL of a list is equal to another, as in PostgreSQL.
//!
//! ```text
//! a && b        array_has_any(a, b): of b without its NULLs
//! a @> b        array_has_all(a, b): false where b has a NULL
//! array_remove_all(a, NULL)         a without its NULLs
//! a[-1]         NULL: places are counted from 1
//! ```
//!
//! Everything else is the function that was there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::compute::{and, cast, filter};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Functions that are taken so.
pub(super) const NAMES: &[&str] = &[
    "array_has_any",
    "array_has_all",
    "array_remove_all",
    "array_element",
];

/// Puts the functions in the place of those that operators are: `@>` and `<@`.
pub(super) fn rewrite(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(mut call)
            if NAMES.contains(&call.func.name())
                && call.func.inner().downcast_ref::<ListNulls>().is_none() =>
        {
            let function = ListNulls::new(call.func.as_ref().clone());
            call.func = Arc::new(ScalarUDF::from(function));
            Transformed::yes(Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    }
}

/// A function whose lists have no NULLs in the sense above.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ListNulls {
    function: ScalarUDF,
}

impl ListNulls {
    pub(super) fn new(function: ScalarUDF) -> Self {
        Self { function }
    }
}

impl ScalarUDFImpl for ListNulls {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        self.function.coerce_types(args)
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        self.function.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> BoundResult<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        if self.name() == "array_element" {
            if let Some(place) = args.args.get_mut(1) {
                *place = from_the_front(place)?;
            }
            return self.function.invoke_with_args(args);
        }
        if self.name() == "array_remove_all" {
            let nothing = match args.args.get(1) {
                Some(ColumnarValue::Scalar(value)) => value.is_null(),
                _ => false,
            };
            let list = args.args.first().map(without_nulls).transpose()?.flatten();
            return match list.filter(|_| nothing) {
                Some((list, _)) => Ok(list),
                None => self.function.invoke_with_args(args),
            };
        }
        let stripped = args.args.get(1).map(without_nulls).transpose()?.flatten();
        let Some((list, whole)) = stripped else {
            return self.function.invoke_with_args(args);
        };
        let is_all = self.name() == "array_has_all";
        args.args[1] = list;
        let rows = args.number_rows;
        let found = self.function.invoke_with_args(args)?;
        if !is_all {
            return Ok(found);
        }
        let is_scalar = matches!(found, ColumnarValue::Scalar(_)) && whole.len() == 1;
        let found = found.into_array(if is_scalar { 1 } else { rows })?;
        let whole = match whole.len() == found.len() {
            true => whole,
            false => BooleanArray::from(vec![whole.value(0); found.len()]),
        };
        let both: ArrayRef = Arc::new(and(found.as_boolean(), &whole)?);
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&both, 0)?),
            false => ColumnarValue::Array(both),
        })
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> BoundResult<ExprSimplifyResult> {
        self.function.simplify(args, info)
    }
}

/// Places of elements, of which none is counted from the end.
fn from_the_front(places: &ColumnarValue) -> BoundResult<ColumnarValue> {
    if places.data_type().is_null() {
        return Ok(places.clone());
    }
    let (array, is_scalar) = match places {
        ColumnarValue::Array(places) => (Arc::clone(places), false),
        ColumnarValue::Scalar(place) => (place.to_array()?, true),
    };
    let numbers = cast(&array, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let numbers: ArrayRef = Arc::new(numbers.unary::<_, Int64Type>(|place| place.max(0)));
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&numbers, 0)?),
        false => ColumnarValue::Array(numbers),
    })
}

/// Lists without their NULLs, and which of them had none. `None`: they are no lists with NULLs.
fn without_nulls(lists: &ColumnarValue) -> BoundResult<Option<(ColumnarValue, BooleanArray)>> {
    let (array, is_scalar) = match lists {
        ColumnarValue::Array(lists) => (Arc::clone(lists), false),
        ColumnarValue::Scalar(list) => (list.to_array()?, true),
    };
    let Some(lists) = array.as_list_opt::<i32>() else {
        return Ok(None);
    };
    let values = lists.values();
    let Some(nulls) = values
        .logical_nulls()
        .filter(|nulls| nulls.null_count() > 0)
    else {
        return Ok(None);
    };
    let DataType::List(element) = lists.data_type() else {
        return Ok(None);
    };
    let offsets = lists.value_offsets();
    let place = |row: usize| usize::try_from(offsets[row]).unwrap_or(0);
    let (first, last) = (place(0), place(lists.len()));
    let range = |row: usize| place(row)..place(row + 1);
    let known = |row: usize| range(row).filter(|place| nulls.is_valid(*place)).count();
    let lengths: Vec<usize> = (0..lists.len()).map(known).collect();
    let whole = (0..lists.len()).map(|row| lengths[row] == range(row).len());
    let whole = BooleanArray::from(whole.collect::<Vec<bool>>());
    let valid = BooleanBuffer::collect_bool(last - first, |place| nulls.is_valid(first + place));
    let kept = filter(
        &values.slice(first, last - first),
        &BooleanArray::new(valid, None),
    )?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let stripped = ListArray::try_new(Arc::clone(element), offsets, kept, lists.nulls().cloned())?;
    let stripped: ArrayRef = Arc::new(stripped);
    Ok(Some(match is_scalar {
        true => (
            ColumnarValue::Scalar(ScalarValue::try_from_array(&stripped, 0)?),
            whole,
        ),
        false => (ColumnarValue::Array(stripped), whole),
    }))
}
