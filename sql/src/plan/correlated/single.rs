//! `(SELECT u.name FROM u WHERE u.id = t.id)`: a subquery in the place of a value, of which nothing tells that it has one row at
//! most. Its value is the greatest one of its rows, and where there are several the row of the query around has none.
//!
//! ```text
//! (SELECT x FROM … )   →   (SELECT single_value(max(x), count(*)) FROM …)
//! ```

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Column, DataFusionError, Result as BoundResult};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::diagnostic::{Code, Diagnostic};

/// A subquery of one column as one of one row. `None`: its values have no order, so no greatest one.
pub(super) fn single(rows: &LogicalPlan, state: &SessionState) -> BoundResult<Option<LogicalPlan>> {
    let [field] = rows.schema().fields().as_ref() else {
        return Ok(None);
    };
    let aggregate = |name: &str| state.aggregate_functions().get(name);
    let (Some(max), Some(count), false) = (
        aggregate("max"),
        aggregate("count"),
        field.data_type().is_nested(),
    ) else {
        return Ok(None);
    };
    let value = Expr::Column(Column::from(rows.schema().qualified_field(0)));
    let [most, number] = ["__most", "__rows"].map(Column::new_unqualified);
    let calls = [
        max.call(vec![value]).alias(&most.name),
        count.call(vec![lit(1_i64)]).alias(&number.name),
    ];
    let single = ScalarUDF::from(SingleValue::default())
        .call(vec![Expr::Column(most), Expr::Column(number)]);
    LogicalPlanBuilder::from(rows.clone())
        .aggregate(Vec::<Expr>::new(), calls)?
        .project([single.alias(field.name())])?
        .build()
        .map(Some)
}

/// The first argument, where the second one, a number of rows, is 1 at most.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl Default for SingleValue {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let [value, rows] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        let rows = rows.to_array(args.number_rows)?;
        let rows = arrow::compute::cast(&rows, &DataType::Int64)?;
        let rows = rows.as_primitive::<Int64Type>();
        let most = rows.iter().flatten().max();
        if let Some(most) = most.filter(|most| *most > 1) {
            let message = format!("a subquery in the place of a value has {most} rows");
            let mut diagnostic = Diagnostic::new(Code::Row, message)
                .help("an aggregate has one, and so has ORDER BY … LIMIT 1");
            diagnostic.sqlstate = "21000".to_owned();
            return Err(DataFusionError::External(Box::new(diagnostic)));
        }
        Ok(value.clone())
    }
}
