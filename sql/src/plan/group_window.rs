//! Windows that stand in GROUP BY, as in Flink's older SQL, and those that ksqlDB groups by without saying so: both become
//! windows in FROM.
//!
//! ```text
//! Flink    FROM t GROUP BY HOP(ts, slide, size), k       FROM HOP(t, ts, slide, size) GROUP BY window_start, window_end, k
//!          HOP_START(ts, …), HOP_END, HOP_ROWTIME        window_start, window_end, window_time
//! ksqlDB   FROM HOP(t, __event_time, …) GROUP BY k       … GROUP BY k, window_start, window_end      (see `parse/window.rs`)
//!          WINDOWSTART, WINDOWEND                        window_start, window_end
//! ```
//!
//! Both filter before they put rows into windows: of a session, WHERE goes into a subquery below it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, Spanned, TableAlias, TableFactor,
    TableFunctionArgs, VisitMut, VisitorMut, visit_expressions_mut,
};

use super::tumble::WINDOW_COLUMNS;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::EVENT_TIME;

const FUNCTIONS: [&str; 3] = ["tumble", "hop", "session"];

/// Rewrites windows in GROUP BY, in `query` and all queries inside of it.
///
/// # Errors
/// A window of which it is not clear which relation it is of, or two of them.
pub(super) fn windows_in_from(query: &mut Query) -> Result<(), Diagnostic> {
    match query.visit(&mut Queries) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Queries;

impl VisitorMut for Queries {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match in_set(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn in_set(body: &mut SetExpr) -> Result<(), Diagnostic> {
    match body {
        SetExpr::Select(select) => in_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            in_set(left)?;
            in_set(right)
        }
        _ => Ok(()),
    }
}

fn in_select(select: &mut Select) -> Result<(), Diagnostic> {
    if select.from.iter().any(|from| names_no_time(&from.relation)) {
        return ksql(select);
    }
    flink(select)
}

/// Whether it is a window of which the text does not name the time.
fn names_no_time(relation: &TableFactor) -> bool {
    let TableFactor::Table {
        args: Some(args), ..
    } = relation
    else {
        return false;
    };
    args.args.iter().any(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) => {
            name.value == EVENT_TIME
        }
        _ => false,
    })
}

fn ksql(select: &mut Select) -> Result<(), Diagnostic> {
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by
        && !exprs.is_empty()
    {
        let [start, end, _] = WINDOW_COLUMNS;
        exprs.extend([start, end].map(column));
    }
    let replaced = |name: &Ident| {
        let plain = name.quote_style.is_none();
        match name.value.to_ascii_lowercase().as_str() {
            "windowstart" if plain => Some(WINDOW_COLUMNS[0]),
            "windowend" if plain => Some(WINDOW_COLUMNS[1]),
            _ => None,
        }
    };
    let mut rename = |expr: &mut Expr| {
        let name = match expr {
            Expr::Identifier(name) => replaced(name),
            Expr::CompoundIdentifier(parts) => parts.last().and_then(replaced),
            _ => None,
        };
        if let Some(name) = name {
            *expr = column(name);
        }
        ControlFlow::<()>::Continue(())
    };
    let _ = visit_expressions_mut(&mut select.projection, &mut rename);
    let _ = visit_expressions_mut(&mut select.group_by, &mut rename);
    let _ = visit_expressions_mut(&mut select.having, &mut rename);
    filter_below(select);
    Ok(())
}

fn column(name: &str) -> Expr {
    Expr::Identifier(Ident::new(name))
}

/// The call that an expression is, if it is one of a window: `tumble`, `hop` or `session`, and its suffix.
fn window_call(expr: &Expr) -> Option<(&Function, String, String)> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let name = function.name.to_string().to_ascii_lowercase();
    let (window, suffix) = name.split_once('_').unwrap_or((&name, ""));
    let known = FUNCTIONS.contains(&window)
        && matches!(suffix, "" | "start" | "end" | "rowtime" | "proctime");
    known.then(|| (function, window.to_owned(), suffix.to_owned()))
}

fn expressions(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let exprs = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    exprs.collect()
}

fn flink(select: &mut Select) -> Result<(), Diagnostic> {
    let GroupByExpr::Expressions(exprs, _) = &mut select.group_by else {
        return Ok(());
    };
    let is_window = |expr: &Expr| {
        let call = window_call(expr);
        call.is_some_and(|(_, _, suffix)| suffix.is_empty())
    };
    let windows: Vec<Expr> = exprs
        .iter()
        .filter(|expr| is_window(expr))
        .cloned()
        .collect();
    let Some(first) = windows.first() else {
        return Ok(());
    };
    let refuse = |expr: &Expr, message: &str| {
        Diagnostic::new(Code::Unsupported, message)
            .at(Span::known(expr.span()))
            .help("a window stands in FROM: FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY window_start, window_end")
    };
    if let Some(second) = windows.get(1) {
        return Err(refuse(second, "a second window in one GROUP BY"));
    }
    let Some((function, window, _)) = window_call(first) else {
        return Ok(());
    };
    let arguments = expressions(function).filter(|arguments| arguments.len() > 1);
    let Some(arguments) = arguments else {
        return Err(refuse(
            first,
            "a window in GROUP BY takes a time and its lengths",
        ));
    };
    let [start, end, _] = WINDOW_COLUMNS;
    let others = exprs.iter().filter(|expr| !is_window(expr)).cloned();
    *exprs = [start, end].map(column).into_iter().chain(others).collect();
    let mut wrong = None;
    let mut replace = |expr: &mut Expr| {
        let Some((function, other, suffix)) = window_call(expr) else {
            return ControlFlow::<()>::Continue(());
        };
        if suffix.is_empty() || other != window {
            return ControlFlow::Continue(());
        }
        if expressions(function).is_some_and(|other| same(&other, &arguments)) {
            let place = match suffix.as_str() {
                "start" => 0,
                "end" => 1,
                "rowtime" => 2,
                _ => {
                    wrong = Some(refuse(expr, "windows by the clock are not available"));
                    return ControlFlow::Break(());
                }
            };
            *expr = column(WINDOW_COLUMNS[place]);
            return ControlFlow::Continue(());
        }
        wrong = Some(refuse(
            expr,
            "a bound of a window that GROUP BY does not have",
        ));
        ControlFlow::Break(())
    };
    name_bounds(&mut select.projection);
    let _ = visit_expressions_mut(&mut select.projection, &mut replace);
    let _ = visit_expressions_mut(&mut select.having, &mut replace);
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let relation = relation_of(select, &arguments[0])
        .ok_or_else(|| refuse(first, "it is not clear which relation the window is of"))?;
    put_in_window(relation, &window, arguments);
    filter_below(select);
    Ok(())
}

/// Whether two calls say the same, however they are written.
fn same(one: &[Expr], other: &[Expr]) -> bool {
    let texts = |exprs: &[Expr]| -> Vec<String> {
        (exprs.iter())
            .map(|expr| expr.to_string().to_lowercase())
            .collect()
    };
    texts(one) == texts(other)
}

/// Bounds that are selected without a name keep that of their call: `TUMBLE_START` is `tumble_start`.
fn name_bounds(projection: &mut [SelectItem]) {
    for item in projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some((_, window, suffix)) = window_call(expr)
            && !suffix.is_empty()
        {
            let alias = Ident::new(format!("{window}_{suffix}"));
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
    }
}

/// The relation that the time of a window is of: the only one, or that which the time names.
fn relation_of<'s>(select: &'s mut Select, time: &Expr) -> Option<&'s mut TableFactor> {
    let mut relations: Vec<&mut TableFactor> = Vec::new();
    for from in &mut select.from {
        relations.push(&mut from.relation);
        relations.extend(from.joins.iter_mut().map(|join| &mut join.relation));
    }
    if relations.len() == 1 {
        return relations.pop();
    }
    let Expr::CompoundIdentifier(parts) = time else {
        return None;
    };
    let qualifier = parts.first()?.value.to_lowercase();
    relations.into_iter().find(|relation| match relation {
        TableFactor::Table { name, alias, .. } => {
            let known = match alias {
                Some(alias) => alias.name.value.clone(),
                None => name.to_string(),
            };
            known.to_lowercase() == qualifier
        }
        TableFactor::Derived {
            alias: Some(alias), ..
        } => alias.name.value.to_lowercase() == qualifier,
        _ => false,
    })
}

/// `t AS a` becomes `HOP(t, ts, …) AS a`.
fn put_in_window(relation: &mut TableFactor, window: &str, mut arguments: Vec<Expr>) {
    // Within the function the relation has its own name.
    if let Expr::CompoundIdentifier(parts) = &arguments[0]
        && let Some(last) = parts.last()
    {
        arguments[0] = Expr::Identifier(last.clone());
    }
    let (input, alias) = match relation {
        TableFactor::Table { name, alias, .. } => {
            let parts = name.0.iter().filter_map(|part| part.as_ident().cloned());
            let parts: Vec<Ident> = parts.collect();
            (Expr::CompoundIdentifier(parts), alias.take())
        }
        TableFactor::Derived {
            subquery, alias, ..
        } => (Expr::Subquery(subquery.clone()), alias.take()),
        _ => return,
    };
    let arguments = std::iter::once(input).chain(arguments);
    let mut called = named(vec![Ident::new(window)], alias);
    if let TableFactor::Table { args, .. } = &mut called {
        *args = Some(TableFunctionArgs {
            args: arguments.map(argument).collect(),
            settings: None,
        });
    }
    *relation = called;
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

/// Puts WHERE below a session: rows that are filtered out hold none together.
fn filter_below(select: &mut Select) {
    let [from] = select.from.as_slice() else {
        return;
    };
    let TableFactor::Table {
        name,
        args: Some(args),
        ..
    } = &from.relation
    else {
        return;
    };
    if !name.to_string().eq_ignore_ascii_case("session") || !from.joins.is_empty() {
        return;
    }
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(input))) = args.args.first() else {
        return;
    };
    let Some(selection) = select.selection.take() else {
        return;
    };
    let mut inner = select.from.clone();
    for from in &mut inner {
        let alias = match &from.relation {
            TableFactor::Table { alias, .. } => alias.clone(),
            _ => None,
        };
        from.relation = match input.clone() {
            Expr::Subquery(subquery) => TableFactor::Derived {
                lateral: false,
                subquery,
                alias,
                sample: None,
            },
            Expr::Identifier(name) => named(vec![name], alias),
            Expr::CompoundIdentifier(parts) => named(parts, alias),
            _ => {
                select.selection = Some(selection);
                return;
            }
        };
    }
    let filtered = Select {
        distinct: None,
        projection: vec![SelectItem::Wildcard(Default::default())],
        from: inner,
        selection: Some(selection),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        ..select.clone()
    };
    let subquery = Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(filtered))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    if let Some(TableFactor::Table {
        args: Some(args), ..
    }) = select.from.first_mut().map(|from| &mut from.relation)
        && let Some(first) = args.args.first_mut()
    {
        *first = argument(Expr::Subquery(Box::new(subquery)));
    }
}

fn named(parts: Vec<Ident>, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(parts),
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
