//! JSON in expressions: PostgreSQL's operators and functions, and those that users of other systems look for.
//!
//! ```text
//! j -> 'a'    j -> 0     json_get          j #> '{a,b}'    json_extract_path         j ->> …, j #>> …   …_text
//! j['a'], j.a            the same as ->    CAST(t AS JSON) json_parse: checked       CAST(j AS t)       json_scalar
//! json_array_elements, json_each, json_object_keys          lists of members, rows in FROM (members.rs)
//! json_value, json_query, json_exists(j, '$.a[0]')         extractjsonfield(t, '$.a')  (ksqlDB)
//! j #- '{a}', j - 'a'     jsonb_delete…     j || k          json_concat       jsonb_set, jsonb_insert, …  edit.rs
//! ```
//!
//! A document is the text that came (PostgreSQL's `json`): parts are slices of it. Where a document is asked for a TEXT may
//! stand too; it is checked then, and a row whose text is no JSON is a row error.

mod edit;
mod function;
mod members;
mod path;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, DFSchema, DataFusionError, Result as BoundResult, ScalarValue, TableReference,
};
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr as SqlExpr, FunctionArguments, ObjectNamePart, Query, Value,
    visit_expressions_mut,
};
use streams::{is_json, is_json_text, json_array};

pub(super) use self::edit::EDITS;
use self::function::{FUNCTIONS, JsonFunction, Kind};
use self::members::JsonMembers;
use super::scalar;
use crate::diagnostic::{Code, Diagnostic};

/// Makes the functions known.
pub(super) fn register(state: &mut SessionState) -> BoundResult<()> {
    for (kind, name, aliases) in FUNCTIONS {
        let function = ScalarUDF::from(JsonFunction::new(*kind, name));
        state.register_udf(Arc::new(function.with_aliases(aliases.iter().copied())))?;
    }
    for (members, name) in members::FUNCTIONS {
        state.register_udf(Arc::new(ScalarUDF::from(JsonMembers::new(*members, name))))?;
    }
    Ok(())
}

fn call(kind: Kind, args: Vec<Expr>) -> Expr {
    let named = FUNCTIONS.iter().find(|(other, ..)| *other == kind);
    let name = named.map_or("json", |(_, name, _)| name);
    ScalarUDF::from(JsonFunction::new(kind, name)).call(args)
}

fn is_json_expr(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema)
        .is_ok_and(|data_type| is_json(&data_type))
}

/// Casts from and to JSON as the functions that they are. Changes one node whose children are changed already.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    check_order(&expr, schema)?;
    let Expr::Cast(mut cast) = expr else {
        return Ok(Transformed::no(expr));
    };
    let to_json = is_json(cast.field.data_type());
    match (is_json_expr(&cast.expr, schema), to_json) {
        (true, true) => Ok(Transformed::yes(*cast.expr)),
        (false, true) => Ok(Transformed::yes(call(Kind::Parse, vec![*cast.expr]))),
        (true, false) => {
            let text = is_text(cast.field.data_type());
            let kind = if text { Kind::Text } else { Kind::Scalar };
            cast.expr = Box::new(call(kind, vec![*cast.expr]));
            Ok(Transformed::yes(Expr::Cast(cast)))
        }
        (false, false) => Ok(Transformed::no(Expr::Cast(cast))),
    }
}

/// Documents have no least and no greatest one, as in PostgreSQL.
fn check_order(expr: &Expr, schema: &DFSchema) -> BoundResult<()> {
    let (name, args) = match expr {
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => (call.fun.name(), &call.params.args),
        Expr::ScalarFunction(call) => (call.func.name(), &call.args),
        _ => return Ok(()),
    };
    let ordered = matches!(name, "min" | "max" | "greatest" | "least");
    let document = args.iter().find(|arg| is_json_expr(arg, schema));
    match document.filter(|_| ordered) {
        Some(document) => {
            let data_type = document.get_type(schema)?;
            Err(DataFusionError::Plan(format!(
                "No function matches the given name and argument types '{name}({data_type})'."
            )))
        }
        None => Ok(()),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Values for a column of JSON: documents as they are, texts once they are checked.
///
/// # Errors
/// A text that is no JSON, values of another type.
pub(crate) fn documents(values: &ArrayRef) -> BoundResult<ArrayRef> {
    if is_json(values.data_type()) {
        return Ok(Arc::clone(values));
    }
    if !is_text(values.data_type()) && values.data_type() != &DataType::Null {
        return Err(DataFusionError::Plan(format!(
            "{} is no JSON: to_json(…) makes it JSON",
            super::type_name(values.data_type())
        )));
    }
    let texts = cast(values, &DataType::Utf8View)?;
    let texts = texts
        .as_any()
        .downcast_ref::<StringViewArray>()
        .cloned()
        .unwrap_or_else(|| StringViewArray::new_null(values.len()));
    for row in 0..texts.len() {
        if texts.is_valid(row) {
            check(texts.value(row))?;
        }
    }
    Ok(json_array(texts))
}

/// Writes the dots of `(s).a` and of `list[1].a` as DataFusion's binder takes them, with the name in quotes. Those of `t.s.a`
/// it finds its way through by itself.
pub(super) fn name_dots(query: &mut Query) {
    let _: ControlFlow<()> = visit_expressions_mut(query, |expr| {
        if let SqlExpr::CompoundFieldAccess { root, access_chain } = expr {
            word_as_name(root);
            let is_name = |expr: &SqlExpr| {
                matches!(
                    expr,
                    SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)
                )
            };
            let mut behind = !is_name(root);
            for access in access_chain {
                if let AccessExpr::Dot(name) = access {
                    word_as_name(name);
                }
                match access {
                    AccessExpr::Dot(name) if behind => {
                        if let SqlExpr::Identifier(ident) = name {
                            let text = match ident.quote_style {
                                Some(_) => ident.value.clone(),
                                None => ident.value.to_lowercase(),
                            };
                            *name = SqlExpr::Value(Value::SingleQuotedString(text).into());
                        }
                    }
                    AccessExpr::Dot(_) => {}
                    AccessExpr::Subscript(_) => behind = true,
                }
            }
        }
        ControlFlow::Continue(())
    });
}

/// `user.name`: in front of a dot or behind one, what PostgreSQL has as a function without parentheses is a name.
fn word_as_name(expr: &mut SqlExpr) {
    if let SqlExpr::Function(function) = &*expr
        && matches!(function.args, FunctionArguments::None)
        && let Some(ident) = function.name.0.last().and_then(ObjectNamePart::as_ident)
    {
        *expr = SqlExpr::Identifier(ident.clone());
    }
}

/// How much of a bad document an error quotes.
const QUOTE_CHARS_MAX: usize = 40;

fn check(text: &str) -> BoundResult<()> {
    if is_json_text(text) {
        return Ok(());
    }
    let mut quoted: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    let mut error = Diagnostic::new(Code::Row, format!("'{quoted}' is not JSON"));
    error.sqlstate = "22P02".to_owned();
    Err(DataFusionError::External(Box::new(error)))
}

/// The function of an operator that gives a document changed.
fn edit_of(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<&'static str> {
    let documents = [&expr.left, &expr.right].map(|side| is_json_expr(side, schema));
    match (&expr.op, documents) {
        (BinaryOperator::HashMinus, _) => Some("jsonb_delete_path"),
        (BinaryOperator::Minus, [true, false]) => Some("jsonb_delete"),
        (BinaryOperator::StringConcat, [true, true]) => Some("json_concat"),
        _ => None,
    }
}

/// JSON's operators. Comes before DataFusion's planners, which take a document for a struct.
#[derive(Debug)]
pub(super) struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> BoundResult<PlannerResult<RawBinaryExpr>> {
        let kind = match expr.op {
            BinaryOperator::Arrow => Kind::Get,
            BinaryOperator::LongArrow => Kind::GetText,
            BinaryOperator::HashArrow => Kind::Path,
            BinaryOperator::HashLongArrow => Kind::PathText,
            BinaryOperator::Question => Kind::HasKey,
            BinaryOperator::QuestionPipe => Kind::HasAny,
            BinaryOperator::QuestionAnd => Kind::HasAll,
            BinaryOperator::AtArrow if is_json_expr(&expr.left, schema) => Kind::Contains,
            BinaryOperator::ArrowAt if is_json_expr(&expr.right, schema) => {
                let args = vec![expr.right, expr.left];
                return Ok(PlannerResult::Planned(call(Kind::Contains, args)));
            }
            _ => {
                let Some(name) = edit_of(&expr, schema) else {
                    return Ok(PlannerResult::Original(expr));
                };
                let args = vec![expr.left, expr.right];
                return Ok(match scalar::call(name, args) {
                    Some(edited) => PlannerResult::Planned(edited),
                    None => return Err(DataFusionError::Internal(format!("no {name}"))),
                });
            }
        };
        Ok(PlannerResult::Planned(call(
            kind,
            vec![expr.left, expr.right],
        )))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> BoundResult<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::NamedStructField { name } = &expr.field_access
            && let Ok(DataType::Map(entries, _)) = expr.expr.get_type(schema)
            && let DataType::Struct(entry) = entries.data_type()
            && let Some(Some(key)) = name.try_as_str()
        {
            // DataFusion compares keys with the literal as it is.
            let key = ScalarValue::Utf8View(Some(key.to_owned()));
            let key = match entry.first() {
                Some(keys) => key.cast_to(keys.data_type())?,
                None => key,
            };
            let key = Expr::Literal(key, None);
            let value = get_field().call(vec![expr.expr, key]);
            return Ok(PlannerResult::Planned(value));
        }
        if !is_json_expr(&expr.expr, schema) {
            return Ok(PlannerResult::Original(expr));
        }
        let step = match expr.field_access {
            GetFieldAccess::NamedStructField { name } => Expr::Literal(name, None),
            GetFieldAccess::ListIndex { key } => *key,
            GetFieldAccess::ListRange { .. } => {
                return Err(DataFusionError::Plan(
                    "a JSON document has no slices: j -> 0 is its first element".to_owned(),
                ));
            }
        };
        Ok(PlannerResult::Planned(call(
            Kind::Get,
            vec![expr.expr, step],
        )))
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> BoundResult<PlannerResult<Vec<Expr>>> {
        if !is_json(field.data_type()) {
            return Ok(PlannerResult::Original(Vec::new()));
        }
        let column = Expr::Column(Column::from((qualifier, field)));
        let steps = nested_names.iter();
        Ok(PlannerResult::Planned(
            steps.fold(column, |document, name| {
                call(Kind::Get, vec![document, lit(name.clone())])
            }),
        ))
    }
}
