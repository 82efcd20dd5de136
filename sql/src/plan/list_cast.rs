//! CAST to an array: of an array its values are cast as values are, a text is read as PostgreSQL writes arrays, `{1,NULL,"a b"}`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringViewArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::as_text::{is_written, texts};
use super::number::assign;
use super::time_text::is_text;
use crate::diagnostic::{Code, Diagnostic};

/// Puts the cast in the place of DataFusion's.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    let Expr::Cast(cast) = expr else {
        return Ok(Transformed::no(expr));
    };
    let to = cast.field.data_type();
    let from = cast.expr.get_type(schema)?;
    let differs = matches!(from, DataType::List(_)) && from != *to;
    if !matches!(to, DataType::List(_)) || !(differs || is_text(&from)) {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    let function = ListCast::new(to.clone(), false);
    Ok(Transformed::yes(
        ScalarUDF::from(function).call(vec![*cast.expr]),
    ))
}

/// A list as one of texts, as its values are shown: `t` and `f` for booleans.
pub(super) fn shown(list: Expr) -> Expr {
    let element = Field::new_list_field(DataType::Utf8View, true);
    let function = ListCast::new(DataType::List(Arc::new(element)), true);
    ScalarUDF::from(function).call(vec![list])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListCast {
    to: DataType,
    /// Whether texts are what is shown, not what a cast gives.
    is_shown: bool,
    signature: Signature,
}

impl ListCast {
    fn new(to: DataType, is_shown: bool) -> Self {
        Self {
            to,
            is_shown,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ListCast {
    fn name(&self) -> &str {
        "list_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("one argument".to_owned()));
        };
        Ok(match value {
            ColumnarValue::Array(values) => {
                ColumnarValue::Array(lists(values, &self.to, self.is_shown)?)
            }
            ColumnarValue::Scalar(value) => {
                let list = lists(&value.to_array()?, &self.to, self.is_shown)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&list, 0)?)
            }
        })
    }
}

fn lists(values: &ArrayRef, to: &DataType, is_shown: bool) -> BoundResult<ArrayRef> {
    let DataType::List(element) = to else {
        return value_of(values, to, is_shown);
    };
    let read;
    let values = match values.data_type() {
        DataType::List(_) => values.as_list::<i32>(),
        from if is_text(from) => {
            read = read_lists(values)?;
            &read
        }
        _ => return assign(values, to),
    };
    let elements = lists(values.values(), element.data_type(), is_shown)?;
    let (offsets, nulls) = (values.offsets().clone(), values.nulls().cloned());
    let lists = ListArray::try_new(Arc::clone(element), offsets, elements, nulls)?;
    Ok(Arc::new(lists))
}

fn value_of(values: &ArrayRef, to: &DataType, is_shown: bool) -> BoundResult<ArrayRef> {
    let texts = match values.data_type() {
        _ if !is_text(to) => return assign(values, to),
        DataType::Boolean if is_shown => {
            let letters = values.as_boolean().iter();
            let letters = letters.map(|value| value.map(|value| if value { "t" } else { "f" }));
            let letters: ArrayRef = Arc::new(letters.collect::<StringViewArray>());
            letters
        }
        from if is_written(from) => texts(values)?,
        _ => return assign(values, to),
    };
    Ok(cast(&texts, to)?)
}

/// Texts as lists of texts.
fn read_lists(texts: &ArrayRef) -> BoundResult<ListArray> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    let mut values = StringViewBuilder::new();
    let mut lengths = Vec::with_capacity(texts.len());
    for text in texts {
        let read = match text {
            Some(text) => elements(text).ok_or_else(|| unreadable(text))?,
            None => Vec::new(),
        };
        lengths.push(read.len());
        for value in read {
            values.append_option(value);
        }
    }
    let element = Arc::new(Field::new_list_field(DataType::Utf8View, true));
    let nulls: Option<NullBuffer> = texts.nulls().cloned();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(
        element,
        offsets,
        Arc::new(values.finish()),
        nulls,
    )?)
}

fn unreadable(text: &str) -> DataFusionError {
    let message = format!("'{text}' is no array of one dimension");
    let mut diagnostic = Diagnostic::new(Code::Row, message)
        .help("a text is read as an array where it is '{a,NULL,\"b c\"}'; others are ARRAY[a, b]");
    diagnostic.sqlstate = "22P02".to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

/// The values of an array that is written out. `None`: it is none.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inside.trim().is_empty() {
        return Some(elements);
    }
    let mut chars = inside.chars().peekable();
    loop {
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(chars.next()?),
                    char => value.push(char),
                }
            }
            while chars.next_if(|char| char.is_whitespace()).is_some() {}
            elements.push(Some(value));
        } else {
            let mut escaped = false;
            while let Some(char) = chars.next_if(|char| *char != ',') {
                match char {
                    '{' | '}' | '"' => return None,
                    '\\' => {
                        value.push(chars.next()?);
                        escaped = true;
                    }
                    char => value.push(char),
                }
            }
            let value = value.trim_end();
            if value.is_empty() {
                return None;
            }
            let is_null = !escaped && value.eq_ignore_ascii_case("null");
            elements.push((!is_null).then(|| value.to_owned()));
        }
        match chars.next() {
            Some(',') => {}
            Some(_) => return None,
            None => return Some(elements),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_postgresql_writes_them() {
        let some = |text: &str| Some(text.to_owned());
        for (text, values) in [
            ("{}", Some(vec![])),
            ("{a,\"b c\",NULL}", Some(vec![some("a"), some("b c"), None])),
            (" { 1 , \"NULL\" } ", Some(vec![some("1"), some("NULL")])),
            ("{\"a\\\"b\",c\\,d}", Some(vec![some("a\"b"), some("c,d")])),
            ("a", None),
            ("{a,}", None),
            ("{{a},{b}}", None),
            ("{\"a}", None),
            ("{\"a\"b}", None),
        ] {
            assert_eq!(elements(text), values, "{text}");
        }
    }
}
