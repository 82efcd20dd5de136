//! Lowers a relation: a source with the columns that are asked for, its event time, and what identifies its records.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::TableScan;
use streams::{
    ColumnOrigin, NodeKind, SourceColumn, SourceMode, SourceSpec, StreamPlan, WatermarkSpec,
};

use super::{Lowering, Ordinal, Rows, TimeUse};
use crate::catalog::{Relation, TimeAttribute};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::changes::Changes;
use crate::plan::expr::ShiftedColumn;
use crate::plan::relation_source::RelationSource;

impl Lowering<'_> {
    pub(super) fn scan(
        &mut self,
        scan: &TableScan,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let Some(source) = scan.source.downcast_ref::<RelationSource>() else {
            return Err(Diagnostic::new(
                Code::Internal,
                format!("{} is no relation", scan.table_name),
            ));
        };
        let relation = &source.relation;
        let mut wanted: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..relation.schema.fields().len()).collect(),
        };
        let asked = time.and_then(|time| wanted.get(time.column).copied());
        if wanted.is_empty() && relation.key.is_empty() {
            wanted.push(cheapest(relation));
        }
        let (mut spec, _) = relation.source(&wanted);
        let schema = relation.schema_of(&spec);
        spec.watermark = watermark(relation, asked, &spec, &schema);
        let changes = match &spec.mode {
            SourceMode::Append if self.keeps_keys => Changes::Append(add_record_id(&mut spec)),
            SourceMode::Append => Changes::Append(Vec::new()),
            SourceMode::Upsert { key } => Changes::Keyed(key.clone()),
        };
        let schema = self.with_hidden_names(relation, &spec);
        let bounds = vec![None; spec.columns.len()];
        let schema = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &schema)
            .map_err(|error| self.bound(&error))?;
        let node = self.push(
            Ordinal::Source,
            Vec::new(),
            schema.inner(),
            NodeKind::Source(spec),
        );
        Ok(Rows {
            node,
            schema: Arc::new(schema),
            bounds,
            changes,
        })
    }

    /// The columns of a source; those that its relation does not show get names that nothing else has.
    fn with_hidden_names(&mut self, relation: &Relation, spec: &SourceSpec) -> SchemaRef {
        let schema = relation.schema_of(spec);
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        for field in &mut fields {
            if relation.schema.column_with_name(field.name()).is_none() {
                *field = Arc::new(field.as_ref().clone().with_name(self.hidden_name()));
            }
        }
        Arc::new(Schema::new(fields))
    }
}

/// Adds what tells one record from all others to a source; gives the places of these columns.
fn add_record_id(spec: &mut SourceSpec) -> Vec<usize> {
    let id = [
        ("__partition", DataType::Int32, ColumnOrigin::Partition),
        ("__offset", DataType::Int64, ColumnOrigin::Offset),
    ];
    let from = spec.columns.len();
    spec.columns
        .extend(id.map(|(name, data_type, origin)| SourceColumn {
            name: name.to_owned(),
            data_type,
            nullable: false,
            length: None,
            origin,
        }));
    (from..spec.columns.len()).collect()
}

/// Event time of a relation, for the column that a window reads (`asked`), or for whoever reads what comes of its rows:
/// then it counts only where a time is among the columns.
fn watermark(
    relation: &Relation,
    asked: Option<usize>,
    spec: &SourceSpec,
    schema: &SchemaRef,
) -> Option<WatermarkSpec> {
    let place = |time: &TimeAttribute| {
        let column = &relation.columns[time.column];
        spec.columns.iter().position(|other| other == column)
    };
    let mut times = relation.times.iter();
    let (time, place) = match asked {
        Some(asked) => {
            let time = times.find(|time| time.column == asked)?;
            (time, place(time)?)
        }
        None => times.find_map(|time| Some((time, place(time)?)))?,
    };
    if let Some(view) = &relation.view {
        return Some(WatermarkSpec::Job {
            name: relation.name().to_owned(),
            input: first_topic(&view.plan)?,
            // Without a window the job's event time is handed on as it is.
            shift_us: asked.map_or(0, |_| time.shift_us),
        });
    }
    Some(WatermarkSpec::Rows {
        expr: Arc::new(ShiftedColumn {
            column: place,
            shift_us: -time.delay_us,
            name: schema.field(place).name().clone(),
        }),
        idle_advance: time.idle_advance,
    })
}

/// A topic that a job reads.
fn first_topic(plan: &StreamPlan) -> Option<String> {
    plan.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Source(spec) => Some(spec.topic.clone()),
        _ => None,
    })
}

/// Rows that are only counted still need a column to be counted by.
fn cheapest(relation: &Relation) -> usize {
    let cost = |column: &SourceColumn| match column.origin {
        ColumnOrigin::Partition | ColumnOrigin::Offset | ColumnOrigin::Timestamp => 0,
        _ if column.data_type.is_primitive() => 1,
        _ => 2,
    };
    let columns = relation.columns.iter().enumerate();
    columns
        .min_by_key(|(_, column)| cost(column))
        .map_or(0, |(index, _)| index)
}
