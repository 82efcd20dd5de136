//! Tables that tell of the server itself: `sys.*`, and what tools expect in `information_schema` and `pg_catalog`. Here is
//! which there are; what they hold when a statement reads them is put behind them by whoever serves.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::logical_expr::TableSource;

/// The catalog's name, as tools of PostgreSQL ask for it.
pub(crate) const CATALOG: &str = "dev";
/// The schema that all objects are in.
pub(crate) const SCHEMA: &str = "public";
/// Who owns everything.
pub(crate) const OWNER: &str = "root";

/// A table of the server's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SystemTable {
    /// `sys`, `information_schema` or `pg_catalog`.
    pub schema: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, SystemType)],
}

/// The types that its columns have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SystemType {
    /// TEXT.
    Text,
    /// BIGINT.
    Int,
    /// DOUBLE.
    Double,
    /// BOOLEAN.
    Bool,
    /// TIMESTAMP.
    Time,
}

use SystemType::{Bool, Double, Int, Text, Time};

/// All of them, by schema and name.
pub(crate) const TABLES: &[SystemTable] = &[
    SystemTable {
        schema: "information_schema",
        name: "columns",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("column_name", Text),
            ("ordinal_position", Int),
            ("column_default", Text),
            ("is_nullable", Text),
            ("data_type", Text),
        ],
    },
    SystemTable {
        schema: "information_schema",
        name: "schemata",
        columns: &[
            ("catalog_name", Text),
            ("schema_name", Text),
            ("schema_owner", Text),
        ],
    },
    SystemTable {
        schema: "information_schema",
        name: "tables",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("table_type", Text),
        ],
    },
    SystemTable {
        schema: "information_schema",
        name: "views",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("view_definition", Text),
        ],
    },
    SystemTable {
        schema: "pg_catalog",
        name: "pg_attribute",
        columns: &[
            ("attrelid", Int),
            ("attname", Text),
            ("atttypid", Int),
            ("attnum", Int),
            ("atttypmod", Int),
            ("attnotnull", Bool),
            ("attisdropped", Bool),
        ],
    },
    SystemTable {
        schema: "pg_catalog",
        name: "pg_class",
        columns: &[
            ("oid", Int),
            ("relname", Text),
            ("relnamespace", Int),
            ("relkind", Text),
            ("relnatts", Int),
        ],
    },
    SystemTable {
        schema: "pg_catalog",
        name: "pg_matviews",
        columns: &[
            ("schemaname", Text),
            ("matviewname", Text),
            ("matviewowner", Text),
            ("ispopulated", Bool),
            ("definition", Text),
        ],
    },
    SystemTable {
        schema: "pg_catalog",
        name: "pg_namespace",
        columns: &[("oid", Int), ("nspname", Text)],
    },
    SystemTable {
        schema: "pg_catalog",
        name: "pg_tables",
        columns: &[
            ("schemaname", Text),
            ("tablename", Text),
            ("tableowner", Text),
        ],
    },
    SystemTable {
        schema: "pg_catalog",
        name: "pg_type",
        columns: &[("oid", Int), ("typname", Text), ("typnamespace", Int)],
    },
    SystemTable {
        schema: "sys",
        name: "columns",
        columns: &[
            ("relation", Text),
            ("position", Int),
            ("name", Text),
            ("type", Text),
            ("is_key", Bool),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "connectors",
        columns: &[
            ("name", Text),
            ("kind", Text),
            ("class", Text),
            ("state", Text),
            ("tasks", Int),
            ("failed_tasks", Int),
            ("error", Text),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "errors",
        columns: &[
            ("job", Text),
            ("undecodable", Int),
            ("failed", Int),
            ("topic", Text),
            ("last", Text),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "functions",
        columns: &[("name", Text), ("signature", Text), ("module", Text)],
    },
    SystemTable {
        schema: "sys",
        name: "groups",
        columns: &[
            ("name", Text),
            ("state", Text),
            ("topic", Text),
            ("partition", Int),
            ("committed", Int),
            ("end", Int),
            ("lag", Int),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "jobs",
        columns: &[
            ("name", Text),
            ("kind", Text),
            ("state", Text),
            ("error", Text),
            ("rows_in", Int),
            ("rows_out", Int),
            ("lag", Int),
            ("watermark", Time),
            ("commits", Int),
            ("commit_age_ms", Int),
            ("why", Text),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "late_rows",
        columns: &[
            ("job", Text),
            ("rows", Int),
            ("topic", Text),
            ("last", Text),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "memory",
        columns: &[
            ("name", Text),
            ("share_bytes", Int),
            ("used_bytes", Int),
            ("peak_bytes", Int),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "operators",
        columns: &[
            ("job", Text),
            ("position", Int),
            ("operator", Text),
            ("rows_in", Int),
            ("rows_out", Int),
            ("busy_ms", Double),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "settings",
        columns: &[("name", Text), ("value", Text)],
    },
    SystemTable {
        schema: "sys",
        name: "sinks",
        columns: &[
            ("name", Text),
            ("topic", Text),
            ("format", Text),
            ("key", Text),
            ("created", Time),
            ("sql", Text),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "sources",
        columns: RELATION,
    },
    SystemTable {
        schema: "sys",
        name: "tables",
        columns: RELATION,
    },
    SystemTable {
        schema: "sys",
        name: "topics",
        columns: &[
            ("name", Text),
            ("partitions", Int),
            ("cleanup_policy", Text),
            ("internal", Bool),
        ],
    },
    SystemTable {
        schema: "sys",
        name: "views",
        columns: RELATION,
    },
    SystemTable {
        schema: "sys",
        name: "watermarks",
        columns: &[
            ("job", Text),
            ("topic", Text),
            ("partition", Int),
            ("watermark", Time),
            ("status", Text),
            ("holds", Bool),
            ("position", Int),
            ("end", Int),
        ],
    },
];

/// Columns of sources, tables and views.
const RELATION: &[(&str, SystemType)] = &[
    ("name", Text),
    ("topic", Text),
    ("key", Text),
    ("event_time", Text),
    ("created", Time),
    ("sql", Text),
];

impl SystemTable {
    /// The table of this name; without a schema it is one of `pg_catalog`, as in PostgreSQL.
    pub(crate) fn find(schema: Option<&str>, name: &str) -> Option<&'static Self> {
        let schema = schema.unwrap_or("pg_catalog");
        let mut tables = TABLES.iter();
        tables.find(|table| table.schema == schema && table.name == name)
    }

    /// Its name with that of its schema.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Its columns in Arrow's types.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        let field = |(name, data_type): &(&str, SystemType)| {
            let data_type = match data_type {
                Text => DataType::Utf8View,
                Int => DataType::Int64,
                Double => DataType::Float64,
                Bool => DataType::Boolean,
                Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            };
            Field::new(*name, data_type, true)
        };
        Arc::new(Schema::new(
            self.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}

/// Stands for such a table in bound plans.
pub(crate) struct SystemSource {
    pub table: &'static SystemTable,
    schema: SchemaRef,
}

impl SystemSource {
    pub(crate) fn new(table: &'static SystemTable) -> Self {
        Self {
            table,
            schema: table.arrow_schema(),
        }
    }
}

impl TableSource for SystemSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl fmt::Debug for SystemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemSource({})", self.table.full_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_single() {
        assert!(TABLES.is_sorted_by(|a, b| (a.schema, a.name) < (b.schema, b.name)));
    }
}
