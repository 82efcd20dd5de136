//! What the catalog holds, bound: relations that a query can read, and functions that it can call.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use connect_sandbox::ScalarFunction;
use serde::{Deserialize, Serialize};
use streams::{
    ColumnOrigin, Computation, KeyFormat, SourceColumn, SourceMode, SourceSpec, ValueFormat,
};
use uuid::Uuid;

use crate::generate::Generator;
use crate::plan::ViewPlan;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Source,
    Table,
    View,
    Sink,
    Function,
}

impl Kind {
    /// The word that the catalog's records use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Table => "table",
            Self::View => "view",
            Self::Sink => "sink",
            Self::Function => "function",
        }
    }

    /// The kind of a record's word; `None` for one that this version does not know.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let kinds = [
            Self::Source,
            Self::Table,
            Self::View,
            Self::Sink,
            Self::Function,
        ];
        kinds.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::View => f.write_str("materialized view"),
            other => f.write_str(other.word()),
        }
    }
}

/// An object that another one was bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// Its identity.
    #[serde(with = "id_text")]
    pub id: Uuid,
    /// Its name at that time.
    pub name: String,
    /// For a function: the content address of its module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// An id as text.
mod id_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Uuid::parse_str(&text).map_err(serde::de::Error::custom)
    }
}

/// What all objects have.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub id: Uuid,
    pub name: String,
    pub kind: Kind,
    /// The statement as it was written.
    pub sql: String,
    /// Unix time, ms.
    pub created_ms: i64,
    pub references: Vec<Reference>,
}

/// The event time of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeAttribute {
    /// Index of the column.
    pub column: usize,
    /// How far the watermark stays behind the largest value, µs.
    pub delay_us: i64,
    /// How far this column's event time stays behind that of the job of a view, µs; 0 for a source or table.
    pub shift_us: i64,
    /// Whether event time goes on with the clock while the topic is idle.
    pub idle_advance: bool,
    /// Whether a WATERMARK clause said so.
    pub declared: bool,
}

/// The column of [`Relation::versions`] that orders records of one time: the offset.
const VERSION: &str = "__version";

/// A source, table or view: a topic with columns.
#[derive(Debug)]
pub(crate) struct Relation {
    pub identity: Identity,
    pub topic: String,
    /// Columns in order, with their declared spelling. A view may have more than `schema`: those behind it are of the key
    /// alone, and no query names them.
    pub columns: Vec<SourceColumn>,
    /// The same columns with their folded names.
    pub schema: SchemaRef,
    /// Columns whose values identify a row; empty: every record is a row of its own.
    pub key: Vec<usize>,
    pub key_format: KeyFormat,
    pub value_format: ValueFormat,
    /// Columns that are event time; the first one is meant where none is named.
    pub times: Vec<TimeAttribute>,
    /// How the rows of a view come about.
    pub view: Option<ViewPlan>,
    /// How the rows of a source that makes them come about.
    pub generator: Option<Generator>,
    /// Whether a connector of its name writes the topic.
    pub has_connector: bool,
}

impl Relation {
    pub(crate) fn name(&self) -> &str {
        &self.identity.name
    }

    /// The same topic with every record as a row of its own, and in front of its columns what orders those of one time.
    pub(crate) fn versions(&self) -> Self {
        let order = SourceColumn {
            name: VERSION.to_owned(),
            data_type: DataType::Int64,
            nullable: false,
            length: None,
            origin: ColumnOrigin::Offset,
        };
        let field = Arc::new(Field::new(VERSION, DataType::Int64, false));
        let fields = std::iter::once(field).chain(self.schema.fields().iter().cloned());
        let time = |time: &TimeAttribute| TimeAttribute {
            column: time.column + 1,
            ..*time
        };
        Self {
            identity: Identity {
                name: format!("{} FOR SYSTEM_TIME", self.name()),
                ..self.identity.clone()
            },
            topic: self.topic.clone(),
            columns: std::iter::once(order)
                .chain(self.columns.iter().cloned())
                .collect(),
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            key: Vec::new(),
            key_format: self.key_format,
            value_format: self.value_format.clone(),
            times: self.times.iter().map(time).collect(),
            view: None,
            generator: self.generator.clone(),
            has_connector: self.has_connector,
        }
    }

    /// What another object has of this one.
    pub(crate) fn reference(&self) -> Reference {
        Reference {
            id: self.identity.id,
            name: self.identity.name.clone(),
            module: None,
        }
    }

    /// Columns that can be written: those of the value and of the key, by their place.
    pub(crate) fn written(&self) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, column)| matches!(column.origin, ColumnOrigin::Value | ColumnOrigin::Key))
            .map(|(index, _)| index)
            .collect()
    }

    /// Columns of the record key; without a primary key those that are declared to be from there.
    pub(crate) fn record_key(&self) -> Vec<usize> {
        if !self.key.is_empty() {
            return self.key.clone();
        }
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, column)| column.origin == ColumnOrigin::Key)
            .map(|(index, _)| index)
            .collect()
    }

    /// A source over these columns (and those of the key and of headers, which are not parts of the value), and for
    /// each wanted column where it stands. All other columns are checked, and computed ones are computed, so that every query
    /// sees the same rows.
    pub(crate) fn source(&self, wanted: &[usize]) -> (SourceSpec, Vec<usize>) {
        let mut chosen: Vec<usize> = wanted.to_vec();
        let beside_value = self.columns.iter().enumerate().filter(|(_, column)| {
            let origin = &column.origin;
            matches!(origin, ColumnOrigin::Key | ColumnOrigin::Header(_))
        });
        let beside_value = beside_value.map(|(index, _)| index);
        let computed = self.columns.iter().enumerate().flat_map(|(index, column)| {
            let inputs = match &column.origin {
                ColumnOrigin::Computed(computation) => Some(self.inputs(computation)),
                _ => None,
            };
            let whole = inputs.map(|inputs| std::iter::once(index).chain(inputs));
            whole.into_iter().flatten()
        });
        let always = self.key.iter().copied().chain(beside_value).chain(computed);
        for column in always {
            if !chosen.contains(&column) {
                chosen.push(column);
            }
        }
        let is_checked = |index: &usize, column: &SourceColumn| {
            column.origin == ColumnOrigin::Value && !chosen.contains(index)
        };
        let place = |column: &usize| chosen.iter().position(|other| other == column);
        let key: Vec<usize> = self.key.iter().filter_map(place).collect();
        let places = wanted.iter().filter_map(place).collect();
        let mode = if key.is_empty() {
            SourceMode::Append
        } else {
            SourceMode::Upsert { key }
        };
        let spec = SourceSpec {
            topic: self.topic.clone(),
            columns: chosen
                .iter()
                .map(|&column| self.columns[column].clone())
                .collect(),
            checked: (self.columns.iter().enumerate())
                .filter(|(index, column)| is_checked(index, column))
                .map(|(_, column)| column.clone())
                .collect(),
            key_format: self.key_format,
            value_format: self.value_format.clone(),
            mode,
            watermark: None,
        };
        (spec, places)
    }

    /// The columns that a column is computed from.
    fn inputs(&self, computation: &Computation) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        let is_input = |column: &SourceColumn| {
            computation.inputs.contains(&column.name)
                && !matches!(column.origin, ColumnOrigin::Computed(_))
        };
        columns
            .filter(|(_, column)| is_input(column))
            .map(|(index, _)| index)
            .collect()
    }

    /// The folded schema of a source over `columns`.
    pub(crate) fn schema_of(&self, spec: &SourceSpec) -> SchemaRef {
        let field = |column: &SourceColumn| {
            let index = self
                .columns
                .iter()
                .position(|other| other.name == column.name);
            match index.and_then(|index| self.schema.fields().get(index)) {
                Some(field) => field.as_ref().clone(),
                None => Field::new(&column.name, column.data_type.clone(), column.nullable),
            }
        };
        Arc::new(Schema::new(
            spec.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}

/// A sink: a query that writes to a topic. Nothing reads it.
#[derive(Debug)]
pub(crate) struct Sink {
    pub identity: Identity,
    /// How its rows come about and where they go.
    pub plan: ViewPlan,
}

impl Sink {
    pub(crate) fn name(&self) -> &str {
        &self.identity.name
    }
}

/// A function from a module.
pub(crate) struct Function {
    pub identity: Identity,
    /// Content address of the module.
    pub module: String,
    pub args: Vec<DataType>,
    pub returns: DataType,
    pub scalar: Arc<ScalarFunction>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("identity", &self.identity)
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl Function {
    /// As much of the module's hash as tells it from others, for people.
    pub(crate) fn module_shown(&self) -> &str {
        self.module.get(..12).unwrap_or(&self.module)
    }

    /// `f(DOUBLE) RETURNS TEXT`.
    pub(crate) fn signature(&self) -> String {
        let args: Vec<String> = self.args.iter().map(crate::plan::type_name).collect();
        let returns = crate::plan::type_name(&self.returns);
        format!(
            "{}({}) RETURNS {returns}",
            self.identity.name,
            args.join(", ")
        )
    }
}
