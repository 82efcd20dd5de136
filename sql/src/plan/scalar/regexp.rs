//! `regexp_extract_all(text, pattern [, group])`, Flink's: a list of all that a pattern, or a group of it, matches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::functions::regex::compile_regex;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::sql_type::list_type;
use super::super::time_text::is_text;
use super::BYTES_MAX;
use crate::diagnostic::{Code, Diagnostic};

const NAME: &str = "regexp_extract_all";

pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    std::iter::once(ScalarUDF::from(ExtractAll {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExtractAll {
    signature: Signature,
}

impl ScalarUDFImpl for ExtractAll {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let texts = args.iter().take(2);
        let texts = texts.filter(|arg| is_text(arg) || **arg == DataType::Null);
        let group = args.iter().skip(2);
        let group = group.filter(|arg| arg.is_integer() || **arg == DataType::Null);
        if !(2..=3).contains(&args.len()) || texts.count() + group.count() < args.len() {
            let message =
                format!("{NAME} takes a text, a pattern, and the number of a group if wanted");
            return Err(DataFusionError::Plan(message));
        }
        let types = [DataType::Utf8View, DataType::Utf8View, DataType::Int64];
        Ok(types.into_iter().take(args.len()).collect())
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(list_type(DataType::Utf8View))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows));
        let lists = lists(&arrays.collect::<BoundResult<Vec<_>>>()?)?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?),
            false => ColumnarValue::Array(lists),
        })
    }
}

fn wrong(message: String, sqlstate: &str) -> DataFusionError {
    let mut diagnostic = Diagnostic::new(Code::Row, message);
    diagnostic.sqlstate = sqlstate.to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

fn lists(args: &[ArrayRef]) -> BoundResult<ArrayRef> {
    let (texts, patterns) = (args[0].as_string_view(), args[1].as_string_view());
    let groups = args.get(2).map(|groups| groups.as_primitive::<Int64Type>());
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    let mut lists = ListBuilder::new(StringViewBuilder::new()).with_field(item);
    let mut known = None;
    let mut bytes = 0;
    for row in 0..texts.len() {
        let given = args.iter().all(|arg| arg.is_valid(row));
        if !given {
            lists.append(false);
            continue;
        }
        let pattern = patterns.value(row);
        let regex = match &mut known {
            Some((last, regex)) if *last == pattern => regex,
            known => {
                let regex = compile_regex(pattern, None);
                let regex = regex
                    .map_err(|_| wrong(format!("'{pattern}' is no regular expression"), "2201B"))?;
                &mut known.insert((pattern, regex)).1
            }
        };
        // Without a group in it the whole pattern is the first.
        let last = regex.captures_len() - 1;
        let group = match groups {
            Some(groups) => usize::try_from(groups.value(row)).ok(),
            None => Some(last.min(1)),
        };
        let group = group.filter(|group| *group <= last).ok_or_else(|| {
            let message = format!("{NAME}: '{pattern}' has the groups 0 to {last}");
            wrong(message, "22023")
        })?;
        for found in regex.captures_iter(texts.value(row)) {
            let text = found.get(group).map(|text| text.as_str());
            bytes += text.map_or(1, str::len);
            lists.values().append_option(text);
        }
        if bytes > BYTES_MAX {
            return Err(wrong(
                format!("{NAME} of {bytes} bytes is too long"),
                "54000",
            ));
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}
