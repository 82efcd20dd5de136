//! Plans built by hand, for the tests of this crate.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use crate::*;

pub(crate) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
pub(crate) const SECOND: i64 = 1_000_000;

/// A function as an expression.
pub(crate) struct FnExpr(pub(crate) fn(&RecordBatch) -> Result<ArrayRef, ExprError>);

impl std::fmt::Debug for FnExpr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FnExpr")
    }
}

impl BatchExpr for FnExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        (self.0)(batch)
    }
}

/// Column 0 as it is, column 1 as 100 / it: fails on 0, without saying where.
pub(crate) fn hundredth(batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let values = batch.column(1).as_primitive::<Int64Type>();
    if values.iter().flatten().any(|value| value == 0) {
        return Err(ExprError::new("division by zero"));
    }
    Ok(Arc::new(
        values
            .iter()
            .map(|value| value.map(|value| 100 / value))
            .collect::<Int64Array>(),
    ))
}

/// Whether the last column is greater than 1.
pub(crate) fn last_above_one(batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let values = batch
        .column(batch.num_columns() - 1)
        .as_primitive::<Int64Type>();
    Ok(Arc::new(
        values
            .iter()
            .map(|value| value.map(|value| value > 1))
            .collect::<BooleanArray>(),
    ))
}

/// The column named `at` less two seconds.
pub(crate) fn two_seconds_before(batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let at = batch
        .column_by_name("at")
        .expect("the source has it")
        .as_primitive::<TimestampMicrosecondType>();
    let values = at.iter().map(|value| value.map(|value| value - 2 * SECOND));
    Ok(Arc::new(values.collect::<TimestampMicrosecondArray>()))
}

pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Grows a plan node by node.
#[derive(Default)]
pub(crate) struct PlanBuilder {
    nodes: Vec<PlanNode>,
}

impl PlanBuilder {
    fn push(&mut self, inputs: Vec<usize>, schema: SchemaRef, kind: NodeKind) -> usize {
        let id = OperatorId(self.nodes.len() as u16 + 1);
        self.nodes.push(PlanNode {
            id,
            name: format!("n{}", id.0),
            inputs,
            schema,
            kind,
        });
        self.nodes.len() - 1
    }

    /// `at` two seconds back is the watermark, where there is such a column.
    pub(crate) fn source(
        &mut self,
        topic: &str,
        columns: &[(&str, DataType)],
        key: Option<Vec<usize>>,
    ) -> usize {
        let schema = schema(columns);
        let column = |(index, (name, data_type)): (usize, &(&str, DataType))| SourceColumn {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            nullable: true,
            length: None,
            origin: match &key {
                Some(key) if key.contains(&index) => ColumnOrigin::Key,
                _ => ColumnOrigin::Value,
            },
        };
        let has_time = columns.iter().any(|(name, _)| *name == "at");
        let spec = SourceSpec {
            topic: topic.to_owned(),
            columns: columns.iter().enumerate().map(column).collect(),
            checked: Vec::new(),
            key_format: if key.is_some() {
                KeyFormat::String
            } else {
                KeyFormat::None
            },
            value_format: ValueFormat::Json {
                timestamp_unit_us: Some(SECOND),
            },
            mode: key
                .clone()
                .map_or(SourceMode::Append, |key| SourceMode::Upsert { key }),
            watermark: has_time.then(|| WatermarkSpec::Rows {
                expr: Arc::new(FnExpr(two_seconds_before)),
                idle_advance: false,
            }),
        };
        self.push(vec![], schema, NodeKind::Source(spec))
    }

    pub(crate) fn schema_of(&self, node: usize) -> SchemaRef {
        self.nodes[node].schema.clone()
    }

    pub(crate) fn map(
        &mut self,
        input: usize,
        columns: Vec<(&str, DataType, Arc<dyn BatchExpr>)>,
    ) -> usize {
        let fields: Vec<(&str, DataType)> = columns
            .iter()
            .map(|(name, data_type, _)| (*name, data_type.clone()))
            .collect();
        let exprs = columns.into_iter().map(|(_, _, expr)| expr).collect();
        self.push(vec![input], schema(&fields), NodeKind::Map(exprs))
    }

    pub(crate) fn filter(
        &mut self,
        input: usize,
        expr: fn(&RecordBatch) -> Result<ArrayRef, ExprError>,
    ) -> usize {
        let schema = self.schema_of(input);
        self.push(
            vec![input],
            schema,
            NodeKind::Filter(Arc::new(FnExpr(expr))),
        )
    }

    /// Windows over the column `at`.
    pub(crate) fn tumble(&mut self, input: usize, size_us: i64, late: LatePolicy) -> usize {
        let schema = self.schema_of(input);
        let mut fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        for name in ["window_start", "window_end", "window_time"] {
            fields.push(Field::new(name, TIMESTAMP, false));
        }
        let spec = TumbleSpec {
            time_column: schema.index_of("at").unwrap(),
            size_us,
            offset_us: 0,
            grace_us: 0,
            late,
        };
        self.push(
            vec![input],
            Arc::new(Schema::new(fields)),
            NodeKind::Tumble(spec),
        )
    }

    /// Windows over the column `at` that overlap.
    pub(crate) fn slide(&mut self, input: usize, grid: WindowGrid, late: LatePolicy) -> usize {
        let schema = self.schema_of(input);
        let bounds = ["window_start", "window_end", "window_time"];
        let bounds = bounds.map(|name| Arc::new(Field::new(name, TIMESTAMP, false)));
        let fields: Vec<Arc<Field>> = schema.fields().iter().cloned().chain(bounds).collect();
        let spec = SlideSpec {
            time_column: schema.index_of("at").unwrap(),
            grid,
            offset_us: 0,
            grace_us: 0,
            late,
        };
        let schema = Arc::new(Schema::new(fields));
        self.push(vec![input], schema, NodeKind::Slide(spec))
    }

    /// Windows over the column `at` that end after a gap; the lengths are that and the grace.
    pub(crate) fn session(
        &mut self,
        input: usize,
        partition_by: &[&str],
        (gap_us, grace_us): (i64, i64),
        late: LatePolicy,
        emit: Emit,
    ) -> usize {
        let schema = self.schema_of(input);
        let bounds = ["window_start", "window_end", "window_time"];
        let bounds = bounds.map(|name| Arc::new(Field::new(name, TIMESTAMP, false)));
        let fields: Vec<Arc<Field>> = schema.fields().iter().cloned().chain(bounds).collect();
        let keys = partition_by.iter();
        let spec = SessionSpec {
            partition_by: keys.map(|name| schema.index_of(name).unwrap()).collect(),
            time_column: schema.index_of("at").unwrap(),
            gap_us,
            grace_us,
            late,
            emit,
        };
        let schema = Arc::new(Schema::new(fields));
        self.push(vec![input], schema, NodeKind::Session(spec))
    }

    /// Functions over the rows of each partition by rising `order_by`.
    pub(crate) fn over(
        &mut self,
        input: usize,
        partition_by: &[&str],
        order_by: &str,
        functions: Vec<OverFunction>,
    ) -> usize {
        let schema = self.schema_of(input);
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        fields.extend(
            functions.iter().map(|function| {
                Arc::new(Field::new(&function.name, function.output.clone(), true))
            }),
        );
        let keys = partition_by.iter();
        let spec = OverSpec {
            partition_by: keys.map(|name| schema.index_of(name).unwrap()).collect(),
            order_by: vec![RankOrder {
                column: schema.index_of(order_by).unwrap(),
                descending: false,
                nulls_first: false,
            }],
            functions,
        };
        let schema = Arc::new(Schema::new(fields));
        self.push(vec![input], schema, NodeKind::Over(spec))
    }

    /// Takes out what is late for windows over the column `at`.
    pub(crate) fn late(&mut self, input: usize, size_us: i64, late: LatePolicy) -> usize {
        let schema = self.schema_of(input);
        let spec = TumbleSpec {
            time_column: schema.index_of("at").unwrap(),
            size_us,
            offset_us: 0,
            grace_us: 0,
            late,
        };
        self.push(vec![input], schema, NodeKind::Late(spec))
    }

    pub(crate) fn join(
        &mut self,
        kind: JoinKind,
        left: (usize, &str),
        right: (usize, &str),
    ) -> usize {
        let (left_schema, right_schema) = (self.schema_of(left.0), self.schema_of(right.0));
        let fields: Vec<Field> = left_schema
            .fields()
            .iter()
            .chain(right_schema.fields())
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let spec = JoinSpec {
            kind,
            left_keys: vec![left_schema.index_of(left.1).unwrap()],
            right_keys: vec![right_schema.index_of(right.1).unwrap()],
            null_is_equal: false,
            range: None,
            residual: None,
        };
        self.push(
            vec![left.0, right.0],
            Arc::new(Schema::new(fields)),
            NodeKind::Join(spec),
        )
    }

    /// A join of any kind.
    pub(crate) fn join_by(&mut self, spec: JoinSpec, left: usize, right: usize) -> usize {
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let schemas = [self.schema_of(left), self.schema_of(right)];
        let mut fields: Vec<Field> = schemas[0].fields().iter().map(nullable).collect();
        match spec.kind {
            JoinKind::Semi | JoinKind::Anti => {}
            JoinKind::Mark => fields.push(Field::new("mark", DataType::Boolean, true)),
            _ => fields.extend(schemas[1].fields().iter().map(nullable)),
        }
        let schema = Arc::new(Schema::new(fields));
        self.push(vec![left, right], schema, NodeKind::Join(spec))
    }

    /// An as-of join.
    /// Rows between two times of theirs.
    pub(crate) fn visible(&mut self, spec: VisibleSpec, input: usize) -> usize {
        let schema = self.schema_of(input);
        self.push(vec![input], schema, NodeKind::Visible(spec))
    }

    pub(crate) fn as_of(&mut self, spec: AsOfSpec, left: usize, right: usize) -> usize {
        let schemas = [self.schema_of(left), self.schema_of(right)];
        let fields = schemas.iter().flat_map(|schema| schema.fields());
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let schema = Arc::new(Schema::new(fields.map(nullable).collect::<Vec<_>>()));
        self.push(vec![left, right], schema, NodeKind::AsOf(spec))
    }

    /// `aggregates` like `count(*)`, `sum(x)`, `count(distinct x)`; a group column `window_end` bounds the state.
    pub(crate) fn aggregate(
        &mut self,
        input: usize,
        group_by: &[&str],
        aggregates: &[&str],
        emit: Emit,
    ) -> usize {
        let schema = self.schema_of(input);
        let mut calls = Vec::new();
        for text in aggregates {
            let (function, argument) = text.trim_end_matches(')').split_once('(').unwrap();
            let distinct = argument.starts_with("distinct ");
            let argument = argument.trim_start_matches("distinct ");
            let argument = (argument != "*").then(|| schema.index_of(argument).unwrap());
            let function = match function {
                "count" => NativeAggregate::Count,
                "sum" => NativeAggregate::Sum,
                "min" => NativeAggregate::Min,
                "max" => NativeAggregate::Max,
                "avg" => NativeAggregate::Avg,
                other => panic!("no aggregate {other}"),
            };
            let output = match (
                function,
                argument.map(|argument| schema.field(argument).data_type()),
            ) {
                (NativeAggregate::Count, _) => DataType::Int64,
                (NativeAggregate::Avg, _) => DataType::Float64,
                (NativeAggregate::Sum, Some(DataType::Float64)) => DataType::Float64,
                (NativeAggregate::Sum, _) => DataType::Int64,
                (_, Some(data_type)) => data_type.clone(),
                (_, None) => panic!("{text} needs an argument"),
            };
            calls.push((
                *text,
                AggregateCall {
                    id: 0,
                    function: Arc::new(function),
                    arguments: argument.into_iter().collect(),
                    order_by: Vec::new(),
                    filter: None,
                    distinct,
                    output,
                },
            ));
        }
        self.aggregate_calls(input, group_by, calls, emit)
    }

    /// Named calls, which get their numbers here.
    pub(crate) fn aggregate_calls(
        &mut self,
        input: usize,
        group_by: &[&str],
        calls: Vec<(&str, AggregateCall)>,
        emit: Emit,
    ) -> usize {
        let schema = self.schema_of(input);
        let group_by: Vec<usize> = group_by
            .iter()
            .map(|name| schema.index_of(name).unwrap())
            .collect();
        let groups = group_by.iter().map(|&column| schema.field(column).clone());
        let results =
            (calls.iter()).map(|(name, call)| Field::new(*name, call.output.clone(), true));
        let fields: Vec<Field> = groups.chain(results).collect();
        let calls = (0..)
            .zip(calls)
            .map(|(id, (_, call))| AggregateCall { id, ..call })
            .collect();
        let window_end = group_by
            .iter()
            .position(|&column| schema.field(column).name() == "window_end");
        let spec = AggregateSpec {
            group_by,
            aggregates: calls,
            window_end,
            emit,
        };
        self.push(
            vec![input],
            Arc::new(Schema::new(fields)),
            NodeKind::Aggregate(spec),
        )
    }

    pub(crate) fn build(self) -> StreamPlan {
        let plan = StreamPlan { nodes: self.nodes };
        plan.validate().unwrap();
        plan
    }
}

/// Rows as text, one a line: sign, then the values of the columns; `~` is NULL, times are seconds.
pub(crate) fn parse(schema: &SchemaRef, text: &str) -> Chunk {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|line| !line.is_empty())
        .collect();
    let columns = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| -> ArrayRef {
            let cells = lines
                .iter()
                .map(|line| Some(line[index + 1]).filter(|cell| *cell != "~"));
            match field.data_type() {
                DataType::Utf8View => Arc::new(cells.collect::<arrow::array::StringViewArray>()),
                DataType::Int64 => Arc::new(
                    cells
                        .map(|cell| cell.map(|cell| cell.parse::<i64>().unwrap()))
                        .collect::<Int64Array>(),
                ),
                DataType::Float64 => Arc::new(
                    cells
                        .map(|cell| cell.map(|cell| cell.parse::<f64>().unwrap()))
                        .collect::<Float64Array>(),
                ),
                DataType::Timestamp(..) => Arc::new(
                    cells
                        .map(|cell| cell.map(|cell| cell.parse::<i64>().unwrap() * SECOND))
                        .collect::<TimestampMicrosecondArray>(),
                ),
                other => panic!("no text for {other}"),
            }
        });
    let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let signs: Vec<i8> = lines
        .iter()
        .map(|line| if line[0] == "+" { 1 } else { -1 })
        .collect();
    let diff = signs.contains(&-1).then(|| signs.into());
    Chunk {
        diff,
        ..Chunk::inserts(batch)
    }
}

/// The rows of a batch as [`parse`] reads them, without sign.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let cells = batch.columns().iter().map(|column| {
                if column.is_null(row) {
                    return "~".to_owned();
                }
                match column.data_type() {
                    DataType::Utf8View => column.as_string_view().value(row).to_owned(),
                    DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
                    DataType::Boolean => column.as_boolean().value(row).to_string(),
                    DataType::Float64 => column
                        .as_primitive::<arrow::datatypes::Float64Type>()
                        .value(row)
                        .to_string(),
                    DataType::Timestamp(..) => {
                        let time = column.as_primitive::<TimestampMicrosecondType>().value(row);
                        if time % SECOND == 0 {
                            (time / SECOND).to_string()
                        } else {
                            format!("{:.3}", time as f64 / SECOND as f64)
                        }
                    }
                    other => panic!("no text for {other}"),
                }
            });
            cells.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// The changes of chunks, one a line.
pub(crate) fn changes(chunks: &[Chunk]) -> Vec<String> {
    chunks
        .iter()
        .flat_map(|chunk| {
            let signed = |(row, text): (usize, String)| {
                format!("{} {text}", if chunk.sign(row) > 0 { '+' } else { '-' })
            };
            rows(&chunk.batch)
                .into_iter()
                .enumerate()
                .map(signed)
                .collect::<Vec<_>>()
        })
        .collect()
}
