//! Columns of a source that are computed from others of their row.

use std::sync::Arc;

use crate::BatchExpr;

/// How a column is computed.
#[derive(Debug, Clone)]
pub struct Computation {
    /// Gives one value a row of a batch that has the `inputs` in their order, of the column's type.
    pub expr: Arc<dyn BatchExpr>,
    /// Names of the columns of the same source that it reads; none of them is computed.
    pub inputs: Vec<String>,
    /// As its author wrote it.
    pub text: String,
}

/// What is written alike over the same columns of a source gives the same.
impl PartialEq for Computation {
    fn eq(&self, other: &Self) -> bool {
        (&self.inputs, &self.text) == (&other.inputs, &other.text)
    }
}

impl Eq for Computation {}
