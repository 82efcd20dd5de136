//! A relation of the catalog as DataFusion's binder sees it: a name with a schema. Nothing can be read from it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::TableSource;

use crate::catalog::Relation;

/// Stands for a relation in bound plans, streaming or not.
pub(crate) struct RelationSource {
    pub relation: Arc<Relation>,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }
}

impl fmt::Debug for RelationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelationSource({})", self.relation.name())
    }
}
