//! Between which times of the clock a row is there.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use crate::state::is_storable;

/// Lets rows through while the clock is between times of theirs; see [`super::NodeKind::Visible`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleSpec {
    /// A row is there from all of these columns on, Timestamp(µs).
    pub from: Vec<usize>,
    /// And goes at the first of these, Timestamp(µs).
    pub until: Vec<usize>,
}

impl VisibleSpec {
    /// What does not fit, in words.
    pub(super) fn check(&self, input: &SchemaRef, output: &SchemaRef) -> Result<(), String> {
        if input.fields() != output.fields() {
            return Err("waiting for the clock does not change columns".to_owned());
        }
        if self.from.is_empty() && self.until.is_empty() {
            return Err("it waits for no time".to_owned());
        }
        for &column in self.from.iter().chain(&self.until) {
            let data_type = input.fields().get(column).map(|field| field.data_type());
            if data_type != Some(&DataType::Timestamp(TimeUnit::Microsecond, None)) {
                return Err(format!("column {column} is no time of the clock"));
            }
        }
        match (input.fields().iter()).find(|field| !is_storable(field.data_type())) {
            Some(field) => Err(format!("column {} cannot be kept in state", field.name())),
            None => Ok(()),
        }
    }
}
