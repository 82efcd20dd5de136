//! Aggregates of others by those that there are, whose results can be taken back like theirs.

use sqlparser::ast::{
    BinaryOperator, DataType as SqlType, DuplicateTreatment, Expr as SqlExpr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, OrderByExpr, OrderByOptions,
};

use super::super::postgres::call_of;
use super::exprs_of;
use super::json::Clauses;
use super::write::{cast_to, compared, nested, number, text};

/// A name, and how a call of it is written otherwise.
type Written = (&'static str, fn(&Call<'_>) -> Option<SqlExpr>);

const TABLE: &[Written] = &[
    ("json_agg", json_list),
    ("jsonb_agg", json_list),
    ("json_arrayagg", json_array),
    ("json_objectagg", json_object),
    ("json_object_agg", json_object),
    ("jsonb_object_agg", json_object),
    ("listagg", texts),
    ("collect_list", |call| call.of_one("array_agg")),
    ("collect_set", |call| {
        let mut list = call.function("array_agg", call.args.clone());
        distinct(&mut list);
        (call.args.len() == 1).then_some(SqlExpr::Function(list))
    }),
    ("count_distinct", |call| {
        let mut count = call.function("count", call.args.clone());
        distinct(&mut count);
        (call.args.len() == 1).then_some(SqlExpr::Function(count))
    }),
    ("correlation", |call| {
        let all = call.function("corr", call.args.clone());
        (call.args.len() == 2).then_some(SqlExpr::Function(all))
    }),
    ("topk", |call| top(call, false)),
    ("topkdistinct", |call| top(call, true)),
    ("histogram", histogram),
    ("percentile", percentile),
];

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// A call of an aggregate by another, if it is one of those.
pub(super) fn aggregate(name: &str, call: &Function) -> Option<SqlExpr> {
    let (_, written) = TABLE.iter().find(|(known, _)| *known == name)?;
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let args = exprs_of(&list.args).filter(|args| !args.is_empty())?;
    written(&Call { call, list, args })
}

/// A call, and what stands in its parentheses.
struct Call<'a> {
    call: &'a Function,
    list: &'a FunctionArgumentList,
    args: Vec<SqlExpr>,
}

impl Call<'_> {
    /// The same call of another function with other arguments.
    fn function(&self, name: &str, args: Vec<SqlExpr>) -> Function {
        let arg = |arg: SqlExpr| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
        let mut list = self.list.clone();
        list.args = args.into_iter().map(arg).collect();
        // Those of JSON are for what makes a document of the result.
        list.clauses.retain(|clause| {
            !matches!(
                clause,
                FunctionArgumentClause::JsonNullClause(_)
                    | FunctionArgumentClause::JsonReturningClause(_)
            )
        });
        let span = self.call.name.0.first().and_then(|part| part.as_ident());
        let ident = match span {
            Some(ident) => Ident::with_span(ident.span, name),
            None => Ident::new(name),
        };
        Function {
            name: ObjectName::from(vec![ident]),
            args: FunctionArguments::List(list),
            ..self.call.clone()
        }
    }

    fn of_one(&self, name: &str) -> Option<SqlExpr> {
        let function = self.function(name, self.args.clone());
        (self.args.len() == 1).then_some(SqlExpr::Function(function))
    }
}

fn distinct(call: &mut Function) {
    if let FunctionArguments::List(list) = &mut call.args {
        list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
    }
}

/// Lets only rows count in which a value is there.
fn only_there(call: &mut Function, value: &SqlExpr) {
    let there = SqlExpr::IsNotNull(Box::new(nested(value.clone())));
    let filter = match call.filter.take() {
        Some(filter) => compared(&filter, BinaryOperator::And, &there),
        None => there,
    };
    call.filter = Some(Box::new(filter));
}

/// Orders its rows, if the call does not say how itself.
fn ordered(call: &mut Function, expr: &SqlExpr, descending: bool) {
    let FunctionArguments::List(list) = &mut call.args else {
        return;
    };
    let is_order =
        |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
    if list.clauses.iter().any(is_order) {
        return;
    }
    let by = OrderByExpr {
        expr: expr.clone(),
        options: OrderByOptions {
            asc: Some(!descending),
            nulls_first: Some(false),
        },
        with_fill: None,
    };
    list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
}

fn json_list(call: &Call<'_>) -> Option<SqlExpr> {
    Some(call_of("to_json", vec![call.of_one("array_agg")?]))
}

/// The standard's: without the NULLs, if it does not say NULL ON NULL.
fn json_array(call: &Call<'_>) -> Option<SqlExpr> {
    let [value] = call.args.as_slice() else {
        return None;
    };
    let clauses = Clauses::of(&call.list.clauses)?;
    let mut list = call.function("array_agg", call.args.clone());
    if clauses.absent.unwrap_or(true) {
        only_there(&mut list, value);
    }
    let document = call_of("to_json", vec![SqlExpr::Function(list)]);
    Some(clauses.returned(document))
}

/// The fields as texts, joined; in the order of the texts, so that a view and a query give the same.
fn json_object(call: &Call<'_>) -> Option<SqlExpr> {
    let [_, value] = call.args.as_slice() else {
        return None;
    };
    let clauses = Clauses::of(&call.list.clauses)?;
    let field = call_of("__json_field", call.args.clone());
    let mut fields = call.function("string_agg", vec![field.clone(), text(", ")]);
    ordered(&mut fields, &field, false);
    if clauses.absent.unwrap_or(false) {
        only_there(&mut fields, value);
    }
    let join = |left: SqlExpr, right: SqlExpr| SqlExpr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::StringConcat,
        right: Box::new(right),
    };
    let text = join(join(text("{ "), SqlExpr::Function(fields)), text(" }"));
    let document = call_of("json_parse", vec![nested(text)]);
    Some(clauses.returned(document))
}

/// Flink's LISTAGG: between the texts is a comma, if it does not say what.
fn texts(call: &Call<'_>) -> Option<SqlExpr> {
    let mut args = call.args.clone();
    if args.len() == 1 {
        args.push(text(","));
    }
    let mut texts = call.function("string_agg", args);
    if let FunctionArguments::List(list) = &mut texts.args
        && !texts.within_group.is_empty()
    {
        let order = std::mem::take(&mut texts.within_group);
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    Some(SqlExpr::Function(texts))
}

/// ksqlDB's: the greatest values, or of those that differ.
fn top(call: &Call<'_>, apart: bool) -> Option<SqlExpr> {
    let [value, count] = call.args.as_slice() else {
        return None;
    };
    let mut list = call.function("array_agg", vec![value.clone()]);
    ordered(&mut list, value, true);
    only_there(&mut list, value);
    if apart {
        distinct(&mut list);
    }
    let list = SqlExpr::Function(list);
    Some(call_of(
        "array_slice",
        vec![list, number("1"), count.clone()],
    ))
}

/// ksqlDB's: how often each value is there, by its text.
fn histogram(call: &Call<'_>) -> Option<SqlExpr> {
    let [value] = call.args.as_slice() else {
        return None;
    };
    let value = cast_to(value.clone(), SqlType::Text);
    let list = call.function("array_agg", vec![value]);
    Some(call_of("__histogram", vec![SqlExpr::Function(list)]))
}

/// Flink's: the value at a fraction of the way, between its neighbours.
fn percentile(call: &Call<'_>) -> Option<SqlExpr> {
    let [value, fraction] = call.args.as_slice() else {
        return None;
    };
    let mut percentile = call.function("percentile_cont", vec![fraction.clone()]);
    percentile.within_group = vec![OrderByExpr {
        expr: value.clone(),
        options: OrderByOptions::default(),
        with_fill: None,
    }];
    Some(SqlExpr::Function(percentile))
}
