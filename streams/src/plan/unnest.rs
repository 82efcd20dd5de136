//! What becomes of lists that are taken apart.

use arrow::datatypes::{DataType, SchemaRef};

/// Repeats each row for the elements of its lists; see [`super::NodeKind::Unnest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnnestSpec {
    /// The columns of the input that are lists. In their places the output has the elements.
    pub columns: Vec<usize>,
    /// Whether a row without elements comes once, with NULLs.
    pub keeps_empty: bool,
}

impl UnnestSpec {
    /// What does not fit, in words.
    pub(super) fn check(&self, input: &SchemaRef, output: &SchemaRef) -> Result<(), String> {
        if self.columns.is_empty() {
            return Err("it takes no list apart".to_owned());
        }
        let mut types: Vec<DataType> = (input.fields().iter())
            .map(|field| field.data_type().clone())
            .collect();
        for &column in &self.columns {
            let Some(DataType::List(element)) = types.get(column) else {
                return Err(format!("column {column} is no list"));
            };
            types[column] = element.data_type().clone();
        }
        types.push(DataType::Int64);
        let found = output.fields().iter().map(|field| field.data_type());
        match types.iter().eq(found) {
            true => Ok(()),
            false => {
                Err("it gives its input's columns with elements for lists, and a place".to_owned())
            }
        }
    }
}
