//! Watches what an operator emits: every row that it takes back was there, and its columns are those of the plan.
//!
//! It costs what the rows cost, so only who drives a plan by hand ([`crate::driver`]) has operators watched.
//!
//! Invariant: no count is ever negative, so none is at the end of an epoch either.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;

use super::effects::row_text;
use crate::Chunk;
use crate::state::row;

/// What an operator has emitted and not taken back: each row, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    schema: SchemaRef,
    rows: HashMap<Vec<u8>, u64>,
}

impl Check {
    /// Nothing was emitted yet. Rows are of `schema`.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            rows: HashMap::new(),
        }
    }

    /// Takes note of a chunk.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn emitted(&mut self, chunk: &Chunk) -> Result<(), String> {
        let types = chunk
            .batch
            .columns()
            .iter()
            .map(|column| column.data_type());
        let planned = self.schema.fields().iter().map(|field| field.data_type());
        if !types.eq(planned) {
            let found = chunk.batch.schema();
            return Err(format!(
                "it emits {found:?}, the plan says {:?}",
                self.schema
            ));
        }
        // What no state can hold is told apart by its text.
        let columns = row::columns_of(chunk.batch.columns()).ok();
        for index in 0..chunk.len() {
            let mut key = Vec::new();
            match &columns {
                Some(columns) => row::push_row(columns, index, &mut key),
                None => key.extend_from_slice(row_text(chunk, index).as_bytes()),
            }
            let count = self.rows.entry(key).or_default();
            match chunk.sign(index) {
                1 => *count += 1,
                _ if *count > 0 => *count -= 1,
                _ => {
                    let row = row_text(chunk, index);
                    return Err(format!("it takes back {row}, which is not there"));
                }
            }
        }
        self.rows.retain(|_, count| *count > 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Int64, Utf8View};

    use super::*;
    use crate::test_plan::{parse, schema};

    #[test]
    fn a_row_goes_only_after_it_came() {
        let schema = schema(&[("k", Utf8View), ("n", Int64)]);
        let mut check = Check::new(schema.clone());
        let mut emitted = |text: &str| check.emitted(&parse(&schema, text));
        assert_eq!(emitted("+ a 1\n+ a 1\n- a 1\n+ b ~"), Ok(()));
        assert_eq!(emitted("- b ~\n- a 1\n+ b 1"), Ok(()));
        for wrong in ["- a 1", "- b 1\n- b 1\n+ b 1"] {
            let error = emitted(wrong).unwrap_err();
            assert!(error.contains("which is not there"), "{error}");
        }
    }

    #[test]
    fn columns_are_those_of_the_plan() {
        let mut check = Check::new(schema(&[("k", Utf8View)]));
        let other = schema(&[("k", Int64)]);
        let error = check.emitted(&parse(&other, "+ 1")).unwrap_err();
        assert!(error.contains("the plan says"), "{error}");
    }
}
