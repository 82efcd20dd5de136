//! The members of documents as lists: the elements of an array, the names and values of an object's fields. In FROM, and in
//! a SELECT list, they are rows (`set_returning.rs`).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use streams::{is_json, json_array, json_elements, json_fields, json_type};

use super::function::{Documents, as_text, type_of};
use super::is_text;
use crate::diagnostic::{Code, Diagnostic};

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Members {
    Elements,
    ElementTexts,
    Names,
    Values,
    ValueTexts,
}

/// Every function: what it lists, and its name.
pub(super) const FUNCTIONS: &[(Members, &str)] = &[
    (Members::Elements, "json_array_elements"),
    (Members::ElementTexts, "json_array_elements_text"),
    (Members::Names, "json_object_keys"),
    (Members::Values, "json_object_values"),
    (Members::ValueTexts, "json_object_values_text"),
];

/// One function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonMembers {
    members: Members,
    name: &'static str,
    signature: Signature,
}

impl JsonMembers {
    pub(super) fn new(members: Members, name: &'static str) -> Self {
        Self {
            members,
            name,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn element(&self) -> DataType {
        match self.members {
            Members::Elements | Members::Values => json_type(),
            _ => DataType::Utf8View,
        }
    }

    /// The members of a document.
    ///
    /// # Errors
    /// It has none of this kind.
    fn of<'a>(&self, document: &'a str) -> BoundResult<Vec<Option<Cow<'a, str>>>> {
        let text = |value: &'a str| as_text(value.trim());
        let json = |value: &'a str| Some(Cow::Borrowed(value.trim()));
        let of_array = matches!(self.members, Members::Elements | Members::ElementTexts);
        let wanted = if of_array { "array" } else { "object" };
        if type_of(document) != wanted {
            let message = format!(
                "{} takes a JSON {wanted}, not a JSON {}",
                self.name,
                type_of(document)
            );
            let mut diagnostic = Diagnostic::new(Code::Row, message);
            diagnostic.sqlstate = "22023".to_owned();
            return Err(DataFusionError::External(Box::new(diagnostic)));
        }
        Ok(match self.members {
            Members::Elements => json_elements(document).map(json).collect(),
            Members::ElementTexts => json_elements(document).map(text).collect(),
            Members::Names => json_fields(document).map(|(name, _)| Some(name)).collect(),
            Members::Values => json_fields(document)
                .map(|(_, value)| json(value))
                .collect(),
            Members::ValueTexts => json_fields(document)
                .map(|(_, value)| text(value))
                .collect(),
        })
    }

    fn lists(&self, documents: &ArrayRef) -> BoundResult<ArrayRef> {
        let read = Documents::new(documents)?;
        let mut texts = StringViewBuilder::new();
        let mut lengths = Vec::with_capacity(documents.len());
        let mut valid = Vec::with_capacity(documents.len());
        for row in 0..documents.len() {
            let document = read.get(row)?;
            valid.push(document.is_some());
            let members = document.map(|document| self.of(document)).transpose()?;
            let members = members.unwrap_or_default();
            lengths.push(members.len());
            members
                .into_iter()
                .for_each(|member| texts.append_option(member));
        }
        let texts = texts.finish();
        let values: ArrayRef = match is_json(&self.element()) {
            true => json_array(texts),
            false => Arc::new(texts),
        };
        let element = Arc::new(Field::new_list_field(self.element(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = NullBuffer::from(valid);
        let lists = ListArray::try_new(element, offsets, values, Some(nulls))?;
        Ok(Arc::new(lists))
    }
}

impl ScalarUDFImpl for JsonMembers {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        match args {
            [json] if is_json(json) => Ok(vec![json.clone()]),
            [text] if is_text(text) || text == &DataType::Null => Ok(vec![DataType::Utf8View]),
            _ => Err(DataFusionError::Plan(format!("{} takes JSON", self.name))),
        }
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        let element = Field::new_list_field(self.element(), true);
        Ok(DataType::List(Arc::new(element)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(documents)] => Ok(ColumnarValue::Array(self.lists(documents)?)),
            [ColumnarValue::Scalar(document)] => {
                let lists = self.lists(&document.to_array()?)?;
                let list = ScalarValue::try_from_array(&lists, 0)?;
                Ok(ColumnarValue::Scalar(list))
            }
            _ => Err(DataFusionError::Plan(format!("{} takes JSON", self.name))),
        }
    }
}
