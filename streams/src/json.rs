//! The type of JSON documents: texts that were checked, told from plain texts by their type alone.
//!
//! ```text
//! JSON   Struct { "arrow.json": Utf8View }     the field is named after Arrow's extension type
//! ```
//!
//! No function of a library gives this type by accident, and none takes it for a text: what is written without quotes
//! is always JSON. The text is kept as it came (numbers with all digits, fields in their order), as in PostgreSQL's
//! `json`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};

/// What the only field is called; no declared struct has a field of this name.
pub const JSON_FIELD: &str = "arrow.json";

static FIELDS: LazyLock<Fields> =
    LazyLock::new(|| Fields::from(vec![Field::new(JSON_FIELD, DataType::Utf8View, true)]));

/// The type of JSON documents.
pub fn json_type() -> DataType {
    DataType::Struct(FIELDS.clone())
}

/// Whether this is the type of JSON documents.
pub fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.len() == 1 && fields[0].name() == JSON_FIELD,
        _ => false,
    }
}

/// Documents out of their texts, which are JSON; NULL where the text is.
pub fn json_array(texts: StringViewArray) -> ArrayRef {
    let nulls = texts.nulls().cloned();
    Arc::new(StructArray::new(
        FIELDS.clone(),
        vec![Arc::new(texts) as ArrayRef],
        nulls,
    ))
}

/// The texts of documents, `None` for another type. Where a document is NULL its text means nothing.
pub fn json_texts(array: &ArrayRef) -> Option<&StringViewArray> {
    if !is_json(array.data_type()) {
        return None;
    }
    array.as_struct().column(0).as_string_view_opt()
}
