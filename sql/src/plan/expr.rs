//! DataFusion's physical expressions as the engine's [`BatchExpr`]. This is the only way in which they reach a job.
//!
//! Arithmetic on integers fails on overflow instead of wrapping around, as in PostgreSQL: such a row is a row error.
//! What another part of a condition excludes is none (`guard.rs`).

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, create_physical_expr};
use streams::{BatchExpr, ExprError};

use super::function::RowErrors;
use super::guard::guarded;
use super::number::as_written;
use crate::diagnostic::{Words, translate};
use crate::stack::on_large_stack;

/// Levels of an expression that every thread's stack has room for.
const LEVELS_MAX: usize = 100;

/// An expression over the columns of a plan node.
pub(crate) struct BoundExpr {
    /// `None` only while it is dropped.
    physical: Option<Arc<dyn PhysicalExpr>>,
    /// Whether it is walked on a stack of its own: jobs run on threads that are not ours.
    high: bool,
    /// The type of the result.
    data_type: DataType,
    /// How the expression reads, for EXPLAIN.
    text: String,
    /// Whether every part is evaluated on all rows of the batch, so that a row number of an error is one of the batch.
    whole: bool,
}

impl BoundExpr {
    /// Compiles `expr` over rows of `schema`; the result is cast to `data_type` where it differs.
    pub(crate) fn compile(
        expr: &Expr,
        schema: &DFSchema,
        data_type: &DataType,
    ) -> BoundResult<Self> {
        let props = ExecutionProps::new();
        let physical =
            create_physical_expr(expr, schema, &props, &PhysicalPlanningContext::default())?;
        let physical = guarded(&checked(physical)?, schema.as_arrow())?;
        let whole = is_whole(&physical);
        let text = text(expr);
        Ok(Self {
            high: levels(&physical) > LEVELS_MAX,
            physical: Some(physical),
            data_type: data_type.clone(),
            text,
            whole,
        })
    }
}

impl Drop for BoundExpr {
    fn drop(&mut self) {
        if !self.high {
            return;
        }
        // Without a thread it stays in memory: better than to overflow the stack of this one.
        if let Some(physical) = self.physical.take().map(std::mem::ManuallyDrop::new) {
            let _ = on_large_stack(move || drop(std::mem::ManuallyDrop::into_inner(physical)));
        }
    }
}

/// The height of an expression.
fn levels(expr: &Arc<dyn PhysicalExpr>) -> usize {
    let mut highest = 0;
    let mut open = vec![(expr, 1)];
    while let Some((expr, level)) = open.pop() {
        highest = highest.max(level);
        open.extend(expr.children().into_iter().map(|child| (child, level + 1)));
    }
    highest
}

impl fmt::Debug for BoundExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl BatchExpr for BoundExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let Some(physical) = &self.physical else {
            return Err(ExprError::new(format!("{} is gone", self.text)));
        };
        let value = if self.high {
            on_large_stack(|| physical.evaluate(batch))
                .map_err(|error| ExprError::new(format!("start a thread: {error}")))?
        } else {
            physical.evaluate(batch)
        };
        let value = value.map_err(|error| self.explain(&error))?;
        let array = value
            .into_array(batch.num_rows())
            .map_err(|error| self.explain(&error))?;
        if array.data_type() == &self.data_type {
            return Ok(array);
        }
        let options = arrow::compute::CastOptions {
            safe: false,
            ..Default::default()
        };
        arrow::compute::cast_with_options(&array, &self.data_type, &options)
            .map_err(|error| self.explain(&error.into()))
    }
}

impl BoundExpr {
    fn explain(&self, error: &DataFusionError) -> ExprError {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            let rows = error.downcast_ref::<RowErrors>().or_else(|| {
                match error.downcast_ref::<DataFusionError>() {
                    Some(DataFusionError::External(inner)) => inner.downcast_ref::<RowErrors>(),
                    _ => None,
                }
            });
            if let Some(rows) = rows {
                let mut explained = ExprError::new(rows.to_string());
                if self.whole {
                    let named = |row: &connect_sandbox::RowError| {
                        (
                            row.row as usize,
                            format!("{}: {}", rows.function, row.message),
                        )
                    };
                    explained.rows = rows.rows.iter().map(named).collect();
                }
                return explained;
            }
            next = error.source();
        }
        ExprError::new(translate(error, &Words::default()).message)
    }
}

/// A column as it stands, in another type where the engine's differs from the planner's.
pub(crate) struct CastColumn {
    pub column: usize,
    pub data_type: DataType,
    pub name: String,
}

impl fmt::Debug for CastColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl BatchExpr for CastColumn {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let array = batch
            .columns()
            .get(self.column)
            .ok_or_else(|| ExprError::new(format!("column {} does not exist", self.column)))?;
        if array.data_type() == &self.data_type {
            return Ok(Arc::clone(array));
        }
        // Arrow makes this type of none, though only NULL is of it.
        if self.data_type == DataType::Null {
            return Ok(new_null_array(&DataType::Null, array.len()));
        }
        cast(array, &self.data_type).map_err(|error| ExprError::new(error.to_string()))
    }
}

/// A timestamp column moved by a fixed time.
pub(crate) struct ShiftedColumn {
    pub column: usize,
    pub shift_us: i64,
    pub name: String,
}

impl fmt::Debug for ShiftedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = super::tumble::interval_text(self.shift_us.abs());
        let sign = if self.shift_us < 0 { '-' } else { '+' };
        if self.shift_us == 0 {
            return f.write_str(&self.name);
        }
        write!(f, "{} {sign} {interval}", self.name)
    }
}

impl BatchExpr for ShiftedColumn {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        use arrow::array::AsArray;
        use arrow::datatypes::TimestampMicrosecondType;
        let array = batch
            .columns()
            .get(self.column)
            .and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| ExprError::new(format!("{} is no timestamp", self.name)))?;
        let shifted =
            array.unary::<_, TimestampMicrosecondType>(|time| time.saturating_add(self.shift_us));
        Ok(Arc::new(shifted.with_data_type(array.data_type().clone())))
    }
}

/// Makes arithmetic fail where it would wrap around.
fn checked(expr: Arc<dyn PhysicalExpr>) -> BoundResult<Arc<dyn PhysicalExpr>> {
    let rewritten = expr.transform_up(|expr| {
        let Some(binary) = expr.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(expr));
        };
        let checked = BinaryExpr::new(
            Arc::clone(binary.left()),
            *binary.op(),
            Arc::clone(binary.right()),
        )
        .with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(rewritten.data)
}

/// CASE, AND, OR and COALESCE evaluate some of their parts on a selection of the rows.
fn is_whole(expr: &Arc<dyn PhysicalExpr>) -> bool {
    use datafusion::logical_expr::Operator;
    if expr.downcast_ref::<CaseExpr>().is_some() {
        return false;
    }
    let known = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => !matches!(binary.op(), Operator::And | Operator::Or),
        None => {
            expr.downcast_ref::<Column>().is_some()
                || expr.downcast_ref::<Literal>().is_some()
                || expr.downcast_ref::<CastExpr>().is_some()
                || expr
                    .downcast_ref::<ScalarFunctionExpr>()
                    .is_some_and(|function| !function.fun().short_circuits())
        }
    };
    known && expr.children().into_iter().all(is_whole)
}

/// An expression as SQL, near enough to be read.
pub(crate) fn text(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => {
            let inner = text(&alias.expr);
            let name = pretty(&alias.name);
            if inner == name {
                inner
            } else {
                format!("{inner} AS {name}")
            }
        }
        Expr::Column(column) => pretty(&column.name),
        other => pretty(&as_written(other).to_string()),
    }
}

/// The planner's text with literals as SQL writes them: `Int64(5)` is `5`, `Utf8View("UA")` is `'UA'`.
pub(crate) fn pretty(planned: &str) -> String {
    let mut out = String::with_capacity(planned.len());
    let mut rest = planned;
    while let Some(open) = rest.find('(') {
        let name_start = rest[..open]
            .trim_end_matches(|c: char| c.is_ascii_alphanumeric())
            .len();
        let literal = matches!(
            &rest[name_start..open],
            "Int8"
                | "Int16"
                | "Int32"
                | "Int64"
                | "UInt64"
                | "Float32"
                | "Float64"
                | "Boolean"
                | "Decimal128"
                | "Utf8"
                | "Utf8View"
        );
        let inside = &rest[open + 1..];
        let text = inside.strip_prefix('"');
        let end = match text {
            Some(text) => text.find("\")").map(|end| end + 2),
            None => inside.find(')'),
        };
        // As a type it is written with a space: `Decimal128(20, 0)`.
        let literal =
            literal && end.is_some_and(|end| text.is_some() || !inside[..end].contains(' '));
        let (Some(end), true) = (end, literal) else {
            out.push_str(&rest[..=open]);
            rest = inside;
            continue;
        };
        out.push_str(&rest[..name_start]);
        match text {
            Some(text) => {
                out.push('\'');
                out.push_str(&text[..end - 2]);
                out.push('\'');
            }
            // Precision and scale of a decimal follow its number.
            None => out.push_str(inside[..end].split(',').next().unwrap_or_default()),
        }
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    out.replace("count(1)", "count(*)")
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn literals_read_as_sql() {
        assert_eq!(pretty("count(Int64(1))"), "count(*)");
        assert_eq!(
            pretty("CAST(a AS Decimal128(20, 0)) * Decimal128(-0.05,1,2)"),
            "CAST(a AS Decimal128(20, 0)) * -0.05"
        );
        assert_eq!(
            pretty("a.x = Utf8View(\"U(A)\") AND b > Float64(0.5)"),
            "a.x = 'U(A)' AND b > 0.5"
        );
        assert_eq!(
            pretty("upper(a.name) || Utf8(\"x"),
            "upper(a.name) || Utf8(\"x"
        );
        assert_eq!(pretty("f(Boolean(true), é(1)"), "f(true, é(1)");
    }
}
