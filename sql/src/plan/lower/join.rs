//! Lowers joins: keys that are computed become columns of their side, bounds on the time between rows a range, further
//! conditions are applied to what matches.
//!
//! ```text
//! a JOIN b ON a.k = b.k AND a.at < b.at AND a.x < b.x      key, range, condition
//! IN, EXISTS, NOT EXISTS, INTERSECT, EXCEPT                semi and anti joins
//! x NOT IN (SELECT y …)                                    anti join on x = y, then anti join with the rows in which
//!                                                          x or y is NULL: with one of these it is not true either
//! ON false                                                 a key that is NULL on both sides
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, NullEquality, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Cast, Expr, Join, JoinType, LogicalPlan, lit};
use streams::{
    AggregateSpec, BatchExpr, ColumnExpr, Emit, JoinKind, JoinRange, JoinSpec, LatePolicy,
    NodeKind, TumbleSpec,
};

use super::range::{Range, conjuncts, take_range};
use super::window::gives_records;
use super::{Lowering, Ordinal, Rows, TimeUse, plain_column, qualified};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::changes::{Changes, is_ambiguous, is_unique, joined};
use crate::plan::expr::CastColumn;
use crate::plan::sql_type::{settled, type_name};
use crate::plan::trace::{Origin, origin};

/// What the optimizer calls the subquery in place of a value.
const VALUE_SUBQUERY: &str = "__scalar_sq";

/// The column that a key is a cast of, to a type in which different values stay different.
fn widened<'a>(key: &'a Expr, schema: &DFSchema) -> Option<&'a Column> {
    let cast = match key {
        Expr::Alias(alias) => return widened(&alias.expr, schema),
        Expr::Cast(cast) => cast,
        _ => return None,
    };
    let column = plain_column(&cast.expr)?;
    let (_, field) = schema.qualified_field_from_column(column).ok()?;
    stays_apart(field.data_type(), cast.field.data_type()).then_some(column)
}

/// Whether all values of a type have a value of their own in another.
fn stays_apart(from: &DataType, to: &DataType) -> bool {
    let whole_digits = match from {
        DataType::Int8 => 3,
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        DataType::Int64 => 19,
        _ => i16::MAX,
    };
    match (from, to) {
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => {
            from.primitive_width() <= to.primitive_width()
        }
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DataType::Float64)
        | (DataType::Float32, DataType::Float64)
        | (DataType::Date32, DataType::Timestamp(..)) => true,
        (DataType::Decimal128(digits, scale), DataType::Decimal128(to_digits, to_scale)) => {
            let whole = |digits: u8, scale: i8| i16::from(digits) - i16::from(scale);
            scale <= to_scale && whole(*digits, *scale) <= whole(*to_digits, *to_scale)
        }
        (_, DataType::Decimal128(digits, scale)) => {
            whole_digits <= i16::from(*digits) - i16::from(*scale) && *scale >= 0
        }
        _ => false,
    }
}

/// What a join compares.
#[derive(Clone)]
struct Condition {
    /// Expressions of the left side and of the right one that are equal.
    on: Vec<(Expr, Expr)>,
    null_is_equal: bool,
    range: Option<Range>,
    closes_after: Option<i64>,
    /// What else holds.
    others: Vec<Expr>,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join, time: Option<TimeUse>) -> Result<Rows, Diagnostic> {
        let (kind, swapped) = kind_of(join.join_type);
        let (left, right) = if swapped {
            (&join.right, &join.left)
        } else {
            (&join.left, &join.right)
        };
        let mut condition = condition_of(join, swapped, left, right);
        let left_columns = left.schema().fields().len();
        let (mut left_time, mut right_time) = match time {
            Some(time) if time.column < left_columns => (Some(time), None),
            Some(time) => (None, Some(time.at(time.column - left_columns))),
            None => (None, None),
        };
        if left_time.is_none()
            && right_time.is_none()
            && let Some(times) = self.closing(&condition, left, right)
        {
            condition.closes_after = Some(self.policy.grace_us);
            self.judged = true;
            (left_time, right_time) = (Some(times.0), Some(times.1));
        }
        let left_rows = self.judged(left, left_time)?;
        let right_rows = self.judged(right, right_time)?;
        if join.null_aware {
            return self.not_in(left_rows, right_rows, right, condition);
        }
        let is_value = matches!(right.as_ref(), LogicalPlan::SubqueryAlias(alias)
            if alias.alias.table().starts_with(VALUE_SUBQUERY));
        let mark = (kind == JoinKind::Mark).then(|| join.schema.fields().len() - 1);
        let mark = mark.map(|mark| {
            let (qualifier, field) = join.schema.qualified_field(mark);
            (qualifier.cloned(), Arc::clone(field))
        });
        self.join_rows(kind, left_rows, right_rows, &condition, mark, is_value)
    }

    /// How both sides are read where a join can forget rows: the condition bounds the time between rows on both sides, and
    /// these times are what sources have their watermarks by, so that those that come too late are told.
    fn closing(
        &self,
        condition: &Condition,
        left: &LogicalPlan,
        right: &LogicalPlan,
    ) -> Option<(TimeUse, TimeUse)> {
        let range = condition.range.as_ref()?;
        if range.least.is_none() || range.most.is_none() || self.policy.late == LatePolicy::Update {
            return None;
        }
        Some((
            self.closing_time(left, &range.left)?,
            self.closing_time(right, &range.right)?,
        ))
    }

    /// How the records of `plan` are judged by their time `column`; `None`: they are no records, or that is not what they have
    /// their watermark by.
    pub(super) fn closing_time(&self, plan: &LogicalPlan, column: &Column) -> Option<TimeUse> {
        let column = plan.schema().index_of_column(column).ok()?;
        let Origin::Column(relation, place) = origin(plan, column) else {
            return None;
        };
        let is_record = relation.key.is_empty() && relation.view.is_none();
        let has_watermark = relation.times.iter().any(|time| time.column == place);
        (is_record && has_watermark && gives_records(plan)).then(|| TimeUse {
            column,
            window: TumbleSpec {
                time_column: 0,
                size_us: 1,
                offset_us: 0,
                grace_us: self.policy.grace_us,
                late: self.policy.late.clone(),
            },
        })
    }

    /// `x NOT IN (SELECT y …)`: rows for which no y is equal, and none leaves open whether it is.
    fn not_in(
        &mut self,
        left: Rows,
        right: Rows,
        subquery: &LogicalPlan,
        mut condition: Condition,
    ) -> Result<Rows, Diagnostic> {
        let value = subquery.schema().columns().into_iter().next();
        let compares = |expr: &Expr| {
            let columns = expr.column_refs();
            columns.len() == 1 && columns.into_iter().next() == value.as_ref()
        };
        let Some(place) = condition.on.iter().position(|(_, right)| compares(right)) else {
            // Nothing of the left side is compared by a key: whatever is not false excludes the row.
            let about = |expr: &Expr| {
                value
                    .as_ref()
                    .is_some_and(|value| expr.column_refs().contains(value))
            };
            if let Some(compared) = condition.others.iter_mut().find(|expr| about(expr)) {
                *compared = Expr::IsNotFalse(Box::new(compared.clone()));
            }
            return self.join_rows(JoinKind::Anti, left, right, &condition, None, false);
        };
        let left = self.join_rows(JoinKind::Anti, left, right.clone(), &condition, None, false)?;
        let (x, y) = condition.on.remove(place);
        let open = if condition.others.is_empty() {
            let (right, is_null) = self.null_values(right, &y, &mut condition)?;
            let open = x.is_null().or(is_null);
            condition.others.push(open);
            right
        } else {
            condition.others.push(x.is_null().or(y.is_null()));
            right
        };
        self.join_rows(JoinKind::Anti, left, open, &condition, None, false)
    }

    /// Whether `y` is NULL, and what is compared beside it, each once: of a large side one or two rows.
    fn null_values(
        &mut self,
        rows: Rows,
        y: &Expr,
        condition: &mut Condition,
    ) -> Result<(Rows, Expr), Diagnostic> {
        let mut exprs = Vec::new();
        let mut fields = Vec::new();
        let others = condition.on.iter().map(|(_, right)| right.clone());
        for expr in others.chain([y.clone().is_null()]) {
            let data_type = self.type_of(&expr, &rows.schema)?;
            let data_type = settled(&data_type).unwrap_or(data_type);
            exprs.push(self.compile(&expr, &rows.schema, &data_type)?);
            let name = self.hidden_name();
            fields.push((None, Arc::new(Field::new(name, data_type, true))));
        }
        let schema = self.schema(fields)?;
        let groups = exprs.len();
        let node = self.map(rows.node, exprs, schema.inner());
        let spec = AggregateSpec {
            group_by: (0..groups).collect(),
            aggregates: Vec::new(),
            window_end: None,
            emit: Emit::Changes,
        };
        let kind = NodeKind::Aggregate(spec);
        let node = self.push(Ordinal::Aggregate, vec![node], schema.inner(), kind);
        let columns = schema.columns();
        for ((_, right), column) in condition.on.iter_mut().zip(&columns) {
            *right = Expr::Column(column.clone());
        }
        let is_null = Expr::Column(columns[groups - 1].clone());
        let rows = Rows {
            node,
            schema,
            bounds: vec![None; groups],
            changes: Changes::Keyed((0..groups).collect()),
        };
        Ok((rows, is_null))
    }

    /// `mark`: the column that says whether a row has a match. `is_value`: the right side stands in place of a value.
    fn join_rows(
        &mut self,
        kind: JoinKind,
        left: Rows,
        right: Rows,
        condition: &Condition,
        mark: Option<(Option<datafusion::common::TableReference>, Arc<Field>)>,
        is_value: bool,
    ) -> Result<Rows, Diagnostic> {
        let (left_on, right_on): (Vec<&Expr>, Vec<&Expr>) = condition
            .on
            .iter()
            .map(|(left, right)| (left, right))
            .unzip();
        let planned = [qualified(&left.schema), qualified(&right.schema)];
        let (mut left, left_keys) = self.join_side(left, &left_on)?;
        let (right, right_keys) = self.join_side(right, &right_on)?;
        self.same_types(&left, &left_keys, &right, &right_keys)?;
        let mut unique = right_keys.clone();
        for key in &right_on {
            if let Some(column) = widened(key, &right.schema) {
                unique.push(self.column(&right.schema, column)?);
            }
        }
        if is_value && !is_unique(&right, &unique) {
            return Err(self.refuse(
                "a subquery in place of a value that may give several rows",
                "SELECT",
                "an aggregate gives one: (SELECT max(x) FROM …)",
            ));
        }
        if is_ambiguous(kind, &left, &right) {
            left = self.with_presence(left)?;
        }
        let pads = |port: usize| kind.pads(port);
        let mut fields = qualified(&left.schema);
        let left_count = fields.len();
        fields.extend(qualified(&right.schema));
        for (index, (_, field)) in fields.iter_mut().enumerate() {
            // A side is missing where the other one is padded.
            if pads(usize::from(index < left_count)) {
                *field = Arc::new(field.as_ref().clone().with_nullable(true));
            }
        }
        let pairs = self.schema(fields.clone())?;
        // For each column of the pair the type that expressions above were planned with.
        let mut types: Vec<DataType> = fields
            .iter()
            .map(|(_, field)| field.data_type().clone())
            .collect();
        for (from, planned) in [0, left_count].into_iter().zip(&planned) {
            for (data_type, (_, field)) in types[from..].iter_mut().zip(planned) {
                data_type.clone_from(field.data_type());
            }
        }
        let residual = match conjunction(condition.others.iter().cloned()) {
            Some(condition) => {
                let condition = self.over_settled(condition, &pairs, &types)?;
                Some(self.compile(&condition, &pairs, &DataType::Boolean)?)
            }
            None => None,
        };
        let range = match &condition.range {
            Some(range) => Some(JoinRange {
                left: self.column(&left.schema, &range.left)?,
                right: self.column(&right.schema, &range.right)?,
                least: range.least,
                most: range.most,
                closes_after: condition.closes_after,
            }),
            None => None,
        };
        let changes = joined(kind, &left, &left_keys, &right, &right_keys);
        let mut bounds = left.bounds.clone();
        let schema = if kind.pairs() {
            bounds.extend(&right.bounds);
            pairs
        } else {
            fields.truncate(left_count);
            types.truncate(left_count);
            fields.extend(mark);
            bounds.resize(fields.len(), None);
            self.schema(fields)?
        };
        let varies = residual
            .as_ref()
            .is_some_and(|residual| residual.may_vary());
        let (kept, residual) = match residual {
            Some(_) if varies && kind != JoinKind::Inner => {
                return Err(self.refuse(
                    "a function of a module that compares rows of both sides of such a join",
                    "ON",
                    "compute it in a subquery of one side, and compare what it gave",
                ));
            }
            Some(residual) if varies && !matches!(changes, Changes::Append(_)) => {
                (Some(residual), None)
            }
            residual => (None, residual),
        };
        let spec = JoinSpec {
            kind,
            left_keys,
            right_keys,
            null_is_equal: condition.null_is_equal,
            range,
            residual,
        };
        let inputs = vec![left.node, right.node];
        let node = self.push(Ordinal::Join, inputs, schema.inner(), NodeKind::Join(spec));
        let rows = Rows {
            node,
            schema,
            bounds,
            changes,
        };
        let rows = match kept {
            Some(condition) => self.filter_by(rows, condition),
            None => rows,
        };
        self.as_planned(rows, |place| types.get(place))
    }

    /// `condition` over columns that were settled, as it was planned over those of `types`.
    fn over_settled(
        &self,
        condition: Expr,
        settled: &DFSchema,
        types: &[DataType],
    ) -> Result<Expr, Diagnostic> {
        let cast = condition.transform(|expr| {
            let Expr::Column(column) = &expr else {
                return Ok(Transformed::no(expr));
            };
            let place = settled.index_of_column(column)?;
            let planned = &types[place];
            if planned == settled.field(place).data_type() {
                return Ok(Transformed::no(expr));
            }
            let cast = Cast::new(Box::new(expr), planned.clone());
            Ok(Transformed::new(
                Expr::Cast(cast),
                true,
                TreeNodeRecursion::Jump,
            ))
        });
        cast.map(|cast| cast.data)
            .map_err(|error| self.bound(&error))
    }

    pub(super) fn same_types(
        &self,
        left: &Rows,
        left_keys: &[usize],
        right: &Rows,
        right_keys: &[usize],
    ) -> Result<(), Diagnostic> {
        for (&left_key, &right_key) in left_keys.iter().zip(right_keys) {
            let left_type = left.schema.field(left_key).data_type();
            let right_type = right.schema.field(right_key).data_type();
            if left_type != right_type {
                return Err(Diagnostic::new(
                    Code::TypeMismatch,
                    format!(
                        "a JOIN compares {} with {}",
                        type_name(left_type),
                        type_name(right_type)
                    ),
                )
                .at(self.words.place("ON"))
                .help("convert one of them: CAST(x AS type)"));
            }
        }
        Ok(())
    }

    /// Rows with a column that is never NULL as a part of their key: where it is, the row is padded.
    fn with_presence(&mut self, rows: Rows) -> Result<Rows, Diagnostic> {
        let mut fields = qualified(&rows.schema);
        let column = fields.len();
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(column + 1);
        exprs.extend((0..column).map(|index| Arc::new(ColumnExpr(index)) as Arc<dyn BatchExpr>));
        exprs.push(self.compile(&lit(true), &rows.schema, &DataType::Boolean)?);
        let name = self.hidden_name();
        fields.push((None, Arc::new(Field::new(name, DataType::Boolean, false))));
        let schema = self.schema(fields)?;
        let node = self.map(rows.node, exprs, schema.inner());
        let mut bounds = rows.bounds;
        bounds.push(None);
        let changes = match rows.changes {
            Changes::Keyed(key) => Changes::Keyed([key, vec![column]].concat()),
            Changes::Append(key) => Changes::Append([key, vec![column]].concat()),
            unkeyed @ Changes::Unkeyed(_) => unkeyed,
        };
        Ok(Rows {
            node,
            schema,
            bounds,
            changes,
        })
    }

    /// One side of a join with settled columns, and where its keys are; keys that are computed become columns.
    pub(super) fn join_side(
        &mut self,
        rows: Rows,
        keys: &[&Expr],
    ) -> Result<(Rows, Vec<usize>), Diagnostic> {
        let mut fields = qualified(&rows.schema);
        let mut exprs: Vec<Arc<dyn BatchExpr>> = Vec::with_capacity(fields.len());
        let mut same = true;
        for (index, (_, field)) in fields.iter_mut().enumerate() {
            let data_type = self.settle(field)?;
            if &data_type == field.data_type() {
                exprs.push(Arc::new(ColumnExpr(index)));
            } else {
                same = false;
                let name = field.name().clone();
                exprs.push(Arc::new(CastColumn {
                    column: index,
                    data_type: data_type.clone(),
                    name,
                }));
                *field = Arc::new(field.as_ref().clone().with_data_type(data_type));
            }
        }
        let mut places = Vec::with_capacity(keys.len());
        let mut bounds = rows.bounds.clone();
        for key in keys {
            if let Some(column) = plain_column(key) {
                places.push(self.column(&rows.schema, column)?);
                continue;
            }
            same = false;
            let data_type = self.type_of(key, &rows.schema)?;
            let data_type = settled(&data_type).unwrap_or(data_type);
            exprs.push(self.compile(key, &rows.schema, &data_type)?);
            places.push(fields.len());
            bounds.push(None);
            let name = self.hidden_name();
            fields.push((None, Arc::new(Field::new(name, data_type, true))));
        }
        if same {
            return Ok((rows, places));
        }
        let schema = self.schema(fields)?;
        let node = self.map(rows.node, exprs, schema.inner());
        Ok((
            Rows {
                node,
                schema,
                bounds,
                changes: rows.changes,
            },
            places,
        ))
    }
}

/// The engine's kind of a join, and whether its sides change places.
fn kind_of(join_type: JoinType) -> (JoinKind, bool) {
    match join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::LeftMark => (JoinKind::Mark, false),
        JoinType::RightMark => (JoinKind::Mark, true),
    }
}

fn condition_of(join: &Join, swapped: bool, left: &LogicalPlan, right: &LogicalPlan) -> Condition {
    let mut others = conjuncts(join.filter.as_ref());
    let never = |expr: &Expr| {
        matches!(
            expr,
            Expr::Literal(
                ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null,
                _
            )
        )
    };
    if others.iter().any(never) {
        let null = || lit(ScalarValue::Boolean(None));
        return Condition {
            on: vec![(null(), null())],
            null_is_equal: false,
            range: None,
            closes_after: None,
            others: Vec::new(),
        };
    }
    let on = join.on.iter().cloned();
    Condition {
        on: on
            .map(|(left, right)| {
                if swapped {
                    (right, left)
                } else {
                    (left, right)
                }
            })
            .collect(),
        null_is_equal: join.null_equality == NullEquality::NullEqualsNull,
        range: take_range(&mut others, left.schema(), right.schema()),
        closes_after: None,
        others,
    }
}
