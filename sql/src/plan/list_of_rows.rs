//! `ARRAY(SELECT x FROM … ORDER BY y)`: the values of a subquery as a list, an empty one where it has no rows.
//!
//! ```text
//! ARRAY(SELECT x … ORDER BY y LIMIT n)
//! →  (SELECT list_or_empty(array_agg(__value ORDER BY __order_0))
//!       FROM (SELECT x, y … ORDER BY y LIMIT n) AS __list (__value, __order_0))
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArgumentClause, FunctionArguments, Ident, OrderByExpr, OrderByKind,
    Query, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// The name of the function.
const LIST_OR_EMPTY: &str = "list_or_empty";
/// The names of what the subquery gives.
const VALUE: &str = "__value";
const ORDER: &str = "__order_";

/// Writes such lists by aggregates, in `query` and all queries inside of it.
pub(super) fn lists_of_rows(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Lists);
}

struct Lists;

impl VisitorMut for Lists {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if let SqlExpr::Function(call) = expr
            && let FunctionArguments::Subquery(rows) = &call.args
            && call.name.to_string().eq_ignore_ascii_case("array")
        {
            *expr = SqlExpr::Subquery(Box::new(aggregated(rows.as_ref().clone())));
        }
        ControlFlow::Continue(())
    }
}

/// The query of the list of what `rows` gives.
fn aggregated(mut rows: Query) -> Query {
    let order = ordered(&mut rows);
    let places = (0..order.len()).filter(|place| !is_value(&order[*place].expr));
    let names = places.map(|place| format!(", {ORDER}{place}"));
    let names: String = names.collect();
    let text = format!(
        "SELECT {LIST_OR_EMPTY}(array_agg({VALUE})) FROM (SELECT 1) AS __list ({VALUE}{names})"
    );
    let parser = Parser::new(&GenericDialect {}).try_with_sql(&text);
    let mut parser = parser.expect("the text is of known words");
    let mut query = parser.parse_query().expect("the text is a query");
    let SetExpr::Select(select) = &mut *query.body else {
        return *query;
    };
    for from in &mut select.from {
        if let TableFactor::Derived { subquery, .. } = &mut from.relation {
            **subquery = rows.clone();
        }
    }
    if order.is_empty() {
        return *query;
    }
    for item in &mut select.projection {
        let _: ControlFlow<()> = item.visit(&mut InOrder(&order));
    }
    *query
}

/// Puts an order into `array_agg(…)`.
struct InOrder<'a>(&'a [OrderByExpr]);

impl VisitorMut for InOrder<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if let SqlExpr::Function(call) = expr
            && call.name.to_string() == "array_agg"
            && let FunctionArguments::List(list) = &mut call.args
        {
            let order = FunctionArgumentClause::OrderBy(self.0.to_vec());
            list.clauses = vec![order];
        }
        ControlFlow::Continue(())
    }
}

fn column(name: String) -> SqlExpr {
    SqlExpr::Identifier(Ident::new(name))
}

fn is_value(expr: &SqlExpr) -> bool {
    matches!(expr, SqlExpr::Identifier(name) if name.value == VALUE)
}

/// The order of the rows over the columns of the list, which `rows` gets for it.
fn ordered(rows: &mut Query) -> Vec<OrderByExpr> {
    let keys = match rows.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.clone(),
        _ => return Vec::new(),
    };
    let is_cut = rows.limit_clause.is_some() || rows.fetch.is_some();
    if !is_cut {
        rows.order_by = None;
    }
    let SetExpr::Select(select) = &mut *rows.body else {
        // Of what several queries give together there is one column, which alone can order it.
        return keys.into_iter().map(by_value).collect();
    };
    let (first, alias) = match select.projection.first() {
        Some(SelectItem::UnnamedExpr(expr)) => (expr.clone(), None),
        Some(SelectItem::ExprWithAlias { expr, alias }) => (expr.clone(), Some(alias.clone())),
        _ => return Vec::new(),
    };
    let is_first = |key: &SqlExpr| match key {
        SqlExpr::Value(value) => matches!(&value.value, Value::Number(..)),
        SqlExpr::Identifier(name) if alias.as_ref() == Some(name) => true,
        key => *key == first,
    };
    let is_distinct = select.distinct.is_some();
    let mut further = Vec::new();
    let order = keys.into_iter().enumerate().map(|(place, key)| {
        if is_distinct || is_first(&key.expr) {
            return by_value(key);
        }
        let name = format!("{ORDER}{place}");
        further.push(SelectItem::ExprWithAlias {
            expr: key.expr.clone(),
            alias: Ident::new(name.clone()),
        });
        OrderByExpr {
            expr: column(name),
            ..key
        }
    });
    let order: Vec<OrderByExpr> = order.collect();
    select.projection.extend(further);
    order
}

fn by_value(key: OrderByExpr) -> OrderByExpr {
    OrderByExpr {
        expr: column(VALUE.to_owned()),
        ..key
    }
}

/// A list, an empty one in the place of NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ListOrEmpty {
    signature: Signature,
}

impl Default for ListOrEmpty {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ListOrEmpty {
    fn name(&self) -> &str {
        LIST_OR_EMPTY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        match args {
            [list @ DataType::List(_)] => Ok(list.clone()),
            _ => Err(DataFusionError::Internal("a list is expected".to_owned())),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(lists)] => Ok(ColumnarValue::Array(without_nulls(lists)?)),
            [ColumnarValue::Scalar(list)] => {
                let list = without_nulls(&list.to_array()?)?;
                let list = ScalarValue::try_from_array(&list, 0)?;
                Ok(ColumnarValue::Scalar(list))
            }
            _ => Err(DataFusionError::Internal("one list is expected".to_owned())),
        }
    }
}

fn without_nulls(lists: &ArrayRef) -> BoundResult<ArrayRef> {
    let Some(lists) = lists.as_list_opt::<i32>() else {
        return Err(DataFusionError::Internal("a list is expected".to_owned()));
    };
    let DataType::List(element) = lists.data_type() else {
        return Err(DataFusionError::Internal("a list is expected".to_owned()));
    };
    // Behind a NULL there may be elements.
    let lengths = (0..lists.len()).map(|row| match lists.is_valid(row) {
        true => lists.value(row).len(),
        false => 0,
    });
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let kept: Vec<ArrayRef> = (0..lists.len())
        .filter(|row| lists.is_valid(*row))
        .map(|row| lists.value(row))
        .collect();
    let kept: Vec<&dyn Array> = kept.iter().map(AsRef::as_ref).collect();
    let values = match kept.is_empty() {
        true => arrow::array::new_empty_array(element.data_type()),
        false => arrow::compute::concat(&kept)?,
    };
    let lists = ListArray::try_new(Arc::clone(element), offsets, values, None)?;
    Ok(Arc::new(lists))
}
