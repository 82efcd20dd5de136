//! The functions behind JSON's operators and names: one row of the table each, one value a row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Int32Builder, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use streams::{
    JsonEncoder, is_json, json_array, json_elements, json_field, json_string, json_texts, json_type,
};

use super::path::{Step, follow, json_path, text_array};
use super::{check, documents, is_text};

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Get,
    GetText,
    Path,
    PathText,
    PathOf,
    PathTextOf,
    Value,
    Query,
    Exists,
    Field,
    HasKey,
    HasAny,
    HasAll,
    Contains,
    ArrayLength,
    TypeOf,
    Valid,
    Parse,
    Text,
    Scalar,
    ToJson,
    BuildObject,
    BuildArray,
    /// The same without what is NULL.
    ObjectOfThere,
    ArrayOfThere,
    /// A name and a value, as they stand in an object.
    ObjectField,
}

/// Every function: what it does, its name and further names.
pub(super) const FUNCTIONS: &[(Kind, &str, &[&str])] = &[
    (
        Kind::Get,
        "json_get",
        &["json_object_field", "json_array_element"],
    ),
    (Kind::GetText, "json_get_text", &["json_get_str"]),
    (Kind::Path, "json_path", &[]),
    (Kind::PathText, "json_path_text", &[]),
    (Kind::PathOf, "json_extract_path", &["jsonb_extract_path"]),
    (
        Kind::PathTextOf,
        "json_extract_path_text",
        &["jsonb_extract_path_text"],
    ),
    (Kind::Value, "json_value", &[]),
    (Kind::Query, "json_query", &["json_extract"]),
    (Kind::Exists, "json_exists", &["jsonb_path_exists"]),
    (Kind::Field, "extractjsonfield", &[]),
    (Kind::HasKey, "jsonb_exists", &["json_has_key"]),
    (Kind::HasAny, "jsonb_exists_any", &[]),
    (Kind::HasAll, "jsonb_exists_all", &[]),
    (Kind::Contains, "jsonb_contains", &["json_contains"]),
    (
        Kind::ArrayLength,
        "json_array_length",
        &["jsonb_array_length"],
    ),
    (Kind::TypeOf, "json_typeof", &["jsonb_typeof"]),
    (Kind::Valid, "is_json_string", &["json_valid"]),
    (Kind::Parse, "json_parse", &["json", "parse_json"]),
    (Kind::Text, "json_text", &[]),
    (Kind::Scalar, "json_scalar", &[]),
    (Kind::ToJson, "to_json", &["to_jsonb"]),
    (
        Kind::BuildObject,
        "json_build_object",
        &["jsonb_build_object"],
    ),
    (Kind::BuildArray, "json_build_array", &["jsonb_build_array"]),
    (Kind::ObjectOfThere, "__json_object_absent", &[]),
    (Kind::ArrayOfThere, "__json_array_absent", &[]),
    (Kind::ObjectField, "__json_field", &[]),
];

/// One function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonFunction {
    kind: Kind,
    name: &'static str,
    signature: Signature,
}

impl JsonFunction {
    pub(super) fn new(kind: Kind, name: &'static str) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self {
            kind,
            name,
            signature,
        }
    }

    fn takes(&self, what: &str) -> DataFusionError {
        // Some stand for one that is called.
        let name = match self.kind {
            Kind::ObjectField => "json_objectagg",
            _ => self.name,
        };
        DataFusionError::Plan(format!("{name} takes {what}"))
    }

    /// The type for a document: what is a text stays one, and is checked row by row.
    fn document(&self, data_type: &DataType) -> BoundResult<DataType> {
        match data_type {
            json if is_json(json) => Ok(json.clone()),
            text if is_text(text) => Ok(DataType::Utf8View),
            DataType::Null => Ok(DataType::Utf8View),
            other => Err(self.takes(&format!(
                "JSON first, not {}",
                crate::plan::type_name(other)
            ))),
        }
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let text = |data_type: &DataType| is_text(data_type) || *data_type == DataType::Null;
        match (self.kind, args) {
            (Kind::Get | Kind::GetText, [document, step]) => {
                let step = match step {
                    step if text(step) => DataType::Utf8View,
                    step if step.is_integer() => DataType::Int64,
                    _ => return Err(self.takes("the name of a field or the number of an element")),
                };
                Ok(vec![self.document(document)?, step])
            }
            (Kind::HasAny | Kind::HasAll, [document, keys]) => match keys {
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                    let item = Field::new("item", DataType::Utf8View, true);
                    Ok(vec![
                        self.document(document)?,
                        DataType::List(Arc::new(item)),
                    ])
                }
                _ => Err(self.takes("JSON and an array of names: ARRAY['a', 'b']")),
            },
            (Kind::Path | Kind::PathText, [document, path]) => {
                let path = match path {
                    path if text(path) => DataType::Utf8View,
                    DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                        let item = Field::new("item", DataType::Utf8View, true);
                        DataType::List(Arc::new(item))
                    }
                    _ => return Err(self.takes("a path like '{a,0,b}'")),
                };
                Ok(vec![self.document(document)?, path])
            }
            (Kind::PathOf | Kind::PathTextOf, [document, steps @ ..]) if !steps.is_empty() => {
                let mut types = vec![self.document(document)?];
                types.extend(steps.iter().map(|_| DataType::Utf8View));
                Ok(types)
            }
            (Kind::Contains, [document, part]) => {
                Ok(vec![self.document(document)?, self.document(part)?])
            }
            (
                Kind::Value | Kind::Query | Kind::Exists | Kind::Field | Kind::HasKey,
                [document, path],
            ) if text(path) => Ok(vec![self.document(document)?, DataType::Utf8View]),
            (
                Kind::ArrayLength | Kind::TypeOf | Kind::Parse | Kind::Text | Kind::Scalar,
                [document],
            ) => Ok(vec![self.document(document)?]),
            (Kind::Valid, [value]) if text(value) => Ok(vec![DataType::Utf8View]),
            (Kind::ToJson, [value]) => Ok(vec![value.clone()]),
            (Kind::BuildArray | Kind::ArrayOfThere, values) => Ok(values.to_vec()),
            (Kind::ObjectField, [_, value]) => Ok(vec![DataType::Utf8View, value.clone()]),
            (Kind::BuildObject | Kind::ObjectOfThere, values) if values.len() % 2 == 0 => {
                let value = |(index, value): (usize, &DataType)| match index % 2 {
                    0 => DataType::Utf8View,
                    _ => value.clone(),
                };
                Ok(values.iter().enumerate().map(value).collect())
            }
            (Kind::BuildObject | Kind::ObjectOfThere | Kind::ObjectField, _) => {
                Err(self.takes("a name and a value in turn"))
            }
            (Kind::Get | Kind::GetText, _) => Err(self.takes("JSON and a name or number")),
            (Kind::Contains, _) => Err(self.takes("two JSON documents")),
            (Kind::Parse | Kind::Valid, _) => Err(self.takes("a TEXT")),
            (Kind::ArrayLength | Kind::TypeOf | Kind::Text | Kind::Scalar, _) => {
                Err(self.takes("JSON"))
            }
            (Kind::ToJson, _) => Err(self.takes("a value")),
            _ => Err(self.takes("JSON and a path, a TEXT like '$.a[0]'")),
        }
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(match self.kind {
            Kind::Get
            | Kind::Path
            | Kind::PathOf
            | Kind::Query
            | Kind::Parse
            | Kind::ToJson
            | Kind::BuildObject
            | Kind::BuildArray
            | Kind::ObjectOfThere
            | Kind::ArrayOfThere => json_type(),
            Kind::Exists
            | Kind::HasKey
            | Kind::HasAny
            | Kind::HasAll
            | Kind::Contains
            | Kind::Valid => DataType::Boolean,
            Kind::ArrayLength => DataType::Int32,
            _ => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let constant = (args.args.iter()).all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<BoundResult<Vec<_>>>()?;
        let values = self.values(&arrays, rows)?;
        if constant {
            let value = ScalarValue::try_from_array(&values, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(values))
    }
}

impl JsonFunction {
    pub(super) fn values(&self, args: &[ArrayRef], rows: usize) -> BoundResult<ArrayRef> {
        match self.kind {
            Kind::Parse => documents(&args[0]),
            Kind::Valid => {
                let texts = args[0].as_string_view();
                let valid = texts.iter().map(|text| text.map(streams::is_json_text));
                Ok(Arc::new(valid.collect::<arrow::array::BooleanArray>()))
            }
            Kind::ToJson => each_text(rows, true, |row| {
                Ok(args[0]
                    .is_valid(row)
                    .then(|| Cow::Owned(written(&args[0], row))))
            }),
            Kind::BuildArray | Kind::ArrayOfThere => each_text(rows, true, |row| {
                let all = self.kind == Kind::BuildArray;
                let values = args.iter().filter(|value| all || is_there(value, row));
                let values: Vec<String> = values.map(|value| written(value, row)).collect();
                Ok(Some(Cow::Owned(format!("[{}]", values.join(", ")))))
            }),
            Kind::BuildObject | Kind::ObjectOfThere => each_text(rows, true, |row| {
                build_object(args, row, self.kind == Kind::BuildObject).map(Some)
            }),
            Kind::ObjectField => each_text(rows, false, |row| {
                field(&args[0], &args[1], row).map(|field| Some(Cow::Owned(field)))
            }),
            _ => self.of_documents(&Documents::new(&args[0])?, &args[1..], rows),
        }
    }

    /// Functions of a document and a way into it.
    fn of_documents(
        &self,
        documents: &Documents<'_>,
        args: &[ArrayRef],
        rows: usize,
    ) -> BoundResult<ArrayRef> {
        let mut paths = Paths::new(self.kind, args);
        let mut part = |row: usize| -> BoundResult<Option<&str>> {
            let Some(document) = documents.get(row)? else {
                return Ok(None);
            };
            let steps = paths.of(row)?;
            Ok(steps.and_then(|steps| follow(document, steps)))
        };
        match self.kind {
            Kind::Get | Kind::Path | Kind::PathOf => {
                each_text(rows, true, |row| Ok(part(row)?.map(Cow::Borrowed)))
            }
            Kind::GetText | Kind::PathText | Kind::PathTextOf | Kind::Field | Kind::Scalar => {
                each_text(rows, false, |row| Ok(part(row)?.and_then(as_text)))
            }
            Kind::Value => each_text(rows, false, |row| {
                Ok(part(row)?
                    .filter(|value| !value.starts_with(['{', '[']))
                    .and_then(as_text))
            }),
            Kind::Query => each_text(rows, true, |row| Ok(part(row)?.map(Cow::Borrowed))),
            Kind::Text => each_text(rows, false, |row| Ok(part(row)?.map(Cow::Borrowed))),
            Kind::TypeOf => each_text(rows, false, |row| {
                Ok(part(row)?.map(|value| Cow::Borrowed(type_of(value))))
            }),
            Kind::Exists => each_bool(rows, |row| match documents.get(row)? {
                None => Ok(None),
                Some(_) => Ok(Some(part(row)?.is_some())),
            }),
            Kind::HasKey => {
                let keys = args[0].as_string_view();
                each_bool(rows, |row| {
                    let document = documents.get(row)?.filter(|_| keys.is_valid(row));
                    Ok(document.map(|document| has_key(document, keys.value(row))))
                })
            }
            Kind::HasAny | Kind::HasAll => {
                let lists = args[0].as_list::<i32>();
                each_bool(rows, |row| {
                    let Some(document) = documents.get(row)?.filter(|_| lists.is_valid(row)) else {
                        return Ok(None);
                    };
                    let names = lists.value(row);
                    // A name that is NULL is asked for by nobody.
                    let mut names = names.as_string_view().iter().flatten();
                    Ok(Some(match self.kind {
                        Kind::HasAny => names.any(|name| has_key(document, name)),
                        _ => names.all(|name| has_key(document, name)),
                    }))
                })
            }
            Kind::Contains => {
                let parts = Documents::new(&args[0])?;
                each_bool(rows, |row| match (documents.get(row)?, parts.get(row)?) {
                    (Some(document), Some(part)) => contains(document, part).map(Some),
                    _ => Ok(None),
                })
            }
            _ => {
                let mut lengths = Int32Builder::with_capacity(rows);
                for row in 0..rows {
                    lengths.append_option(documents.get(row)?.map(array_length).transpose()?);
                }
                Ok(Arc::new(lengths.finish()))
            }
        }
    }
}

/// The documents of a column.
pub(super) struct Documents<'a> {
    array: &'a ArrayRef,
    texts: &'a StringViewArray,
    /// They are texts that nobody has checked.
    unchecked: bool,
}

impl<'a> Documents<'a> {
    pub(super) fn new(array: &'a ArrayRef) -> BoundResult<Self> {
        let json = json_texts(array);
        let texts = json.or_else(|| array.as_string_view_opt()).ok_or_else(|| {
            let found = crate::plan::type_name(array.data_type());
            DataFusionError::Plan(format!("{found} is no JSON"))
        })?;
        Ok(Self {
            array,
            texts,
            unchecked: json.is_none(),
        })
    }

    pub(super) fn get(&self, row: usize) -> BoundResult<Option<&'a str>> {
        if self.array.is_null(row) || self.texts.is_null(row) {
            return Ok(None);
        }
        let text = self.texts.value(row);
        if self.unchecked {
            check(text)?;
        }
        Ok(Some(text))
    }
}

/// The ways into the documents, row by row. A way that stays the same is read once.
struct Paths<'a> {
    kind: Kind,
    args: &'a [ArrayRef],
    known: Option<(String, Vec<Step>)>,
    steps: Vec<Step>,
}

impl<'a> Paths<'a> {
    fn new(kind: Kind, args: &'a [ArrayRef]) -> Self {
        Self {
            kind,
            args,
            known: None,
            steps: Vec::new(),
        }
    }

    /// The steps of a row; `None` where one of them is NULL.
    fn of(&mut self, row: usize) -> BoundResult<Option<&[Step]>> {
        if self.args.iter().any(|arg| arg.is_null(row)) {
            return Ok(None);
        }
        match self.kind {
            Kind::Get | Kind::GetText => {
                let step = match self.args[0].data_type() {
                    DataType::Int64 => {
                        Step::Element(self.args[0].as_primitive::<Int64Type>().value(row))
                    }
                    _ => Step::Field(self.args[0].as_string_view().value(row).to_owned()),
                };
                self.steps = vec![step];
            }
            Kind::PathOf | Kind::PathTextOf => {
                let step = |arg: &ArrayRef| Step::Any(arg.as_string_view().value(row).to_owned());
                self.steps = self.args.iter().map(step).collect();
            }
            Kind::Path | Kind::PathText
                if matches!(self.args[0].data_type(), DataType::List(_)) =>
            {
                let names = self.args[0].as_list::<i32>().value(row);
                if names.null_count() > 0 {
                    return Ok(None);
                }
                let names = names.as_string_view().iter().flatten();
                self.steps = names.map(|name| Step::Any(name.to_owned())).collect();
            }
            Kind::Path
            | Kind::PathText
            | Kind::Value
            | Kind::Query
            | Kind::Exists
            | Kind::Field => {
                let text = self.args[0].as_string_view().value(row);
                if self.known.as_ref().is_none_or(|(known, _)| known != text) {
                    let steps = match self.kind {
                        Kind::Path | Kind::PathText => text_array(text),
                        _ => json_path(text),
                    };
                    let steps =
                        steps.map_err(|error| DataFusionError::External(Box::new(error)))?;
                    self.known = Some((text.to_owned(), steps));
                }
                return Ok(self.known.as_ref().map(|(_, steps)| steps.as_slice()));
            }
            _ => {}
        }
        Ok(Some(&self.steps))
    }
}

/// Texts, or documents, row by row.
fn each_text<'a>(
    rows: usize,
    json: bool,
    mut value: impl FnMut(usize) -> BoundResult<Option<Cow<'a, str>>>,
) -> BoundResult<ArrayRef> {
    let mut texts = StringViewBuilder::with_capacity(rows);
    for row in 0..rows {
        texts.append_option(value(row)?);
    }
    let texts = texts.finish();
    Ok(if json {
        json_array(texts)
    } else {
        Arc::new(texts)
    })
}

fn each_bool(
    rows: usize,
    mut value: impl FnMut(usize) -> BoundResult<Option<bool>>,
) -> BoundResult<ArrayRef> {
    let mut values = BooleanBuilder::with_capacity(rows);
    for row in 0..rows {
        values.append_option(value(row)?);
    }
    Ok(Arc::new(values.finish()))
}

/// What `->>` gives: a string without its quotes, NULL for JSON's null, anything else as it is written.
pub(super) fn as_text(value: &str) -> Option<Cow<'_, str>> {
    match value {
        "null" => None,
        value => Some(json_string(value).unwrap_or(Cow::Borrowed(value))),
    }
}

pub(super) fn type_of(value: &str) -> &'static str {
    match value.trim_start().bytes().next() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// Whether an object has the field, an array the string.
fn has_key(document: &str, key: &str) -> bool {
    match type_of(document) {
        "object" => json_field(document, key).is_some(),
        "array" => {
            json_elements(document).any(|element| json_string(element).as_deref() == Some(key))
        }
        _ => json_string(document).as_deref() == Some(key),
    }
}

fn array_length(document: &str) -> BoundResult<i32> {
    if type_of(document) != "array" {
        let message = format!("a JSON {} has no length as an array", type_of(document));
        let mut error = crate::diagnostic::Diagnostic::new(crate::diagnostic::Code::Row, message);
        error.sqlstate = "22023".to_owned();
        return Err(DataFusionError::External(Box::new(error)));
    }
    Ok(i32::try_from(json_elements(document).count()).unwrap_or(i32::MAX))
}

/// Whether all that `part` says is said in `document` too, as PostgreSQL's `@>` has it.
fn contains(document: &str, part: &str) -> BoundResult<bool> {
    let read = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| DataFusionError::Execution(format!("read JSON: {error}")))
    };
    let (document, part) = (read(document)?, read(part)?);
    // An array may stand for a value that it has, at the top alone.
    let element = document
        .as_array()
        .filter(|_| !part.is_array() && !part.is_object());
    Ok(element.is_some_and(|elements| elements.contains(&part)) || within(&document, &part))
}

fn within(document: &serde_json::Value, part: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (document, part) {
        (Value::Object(fields), Value::Object(parts)) => parts.iter().all(|(name, part)| {
            let field = fields.get(name);
            field.is_some_and(|field| within(field, part))
        }),
        (Value::Array(elements), Value::Array(parts)) => parts
            .iter()
            .all(|part| elements.iter().any(|element| within(element, part))),
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        (document, part) => document == part,
    }
}

/// A value as JSON.
fn written(array: &ArrayRef, row: usize) -> String {
    let field = Field::new("", array.data_type().clone(), true);
    let encoder = JsonEncoder::new(&Schema::new(vec![field]));
    let mut object = Vec::new();
    encoder.encode_row(std::slice::from_ref(array), row, &mut object);
    let object = String::from_utf8_lossy(&object);
    let value = object
        .strip_prefix("{\"\":")
        .and_then(|rest| rest.strip_suffix('}'));
    let value = value.unwrap_or("null");
    // Numbers that are written as texts, to be read anywhere, are numbers here.
    match array.data_type() {
        DataType::Decimal128(..) => value.trim_matches('"').to_owned(),
        _ => value.to_owned(),
    }
}

/// An object of names and values in turn; `all`: with those that are NULL.
fn build_object<'a>(args: &[ArrayRef], row: usize, all: bool) -> BoundResult<Cow<'a, str>> {
    let mut object = String::from("{");
    let pairs = args.chunks_exact(2);
    for pair in pairs.filter(|pair| all || is_there(&pair[1], row)) {
        if object.len() > 1 {
            object.push_str(", ");
        }
        object.push_str(&field(&pair[0], &pair[1], row)?);
    }
    object.push('}');
    Ok(Cow::Owned(object))
}

/// Whether a value is not NULL; those of no type are, without a mark.
fn is_there(value: &ArrayRef, row: usize) -> bool {
    *value.data_type() != DataType::Null && value.is_valid(row)
}

fn field(name: &ArrayRef, value: &ArrayRef, row: usize) -> BoundResult<String> {
    if !is_there(name, row) {
        return Err(DataFusionError::External(Box::new(
            crate::diagnostic::Diagnostic::new(
                crate::diagnostic::Code::Row,
                "a field's name cannot be NULL",
            ),
        )));
    }
    Ok(format!("{} : {}", written(name, row), written(value, row)))
}
