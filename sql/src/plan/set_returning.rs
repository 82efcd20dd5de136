//! Functions that give rows, as lists that are taken apart: `generate_series(1, 3)`, `json_each(j)`, `string_to_table(t, ',')`.
//!
//! ```text
//! FROM json_each(t.j) AS f              →   FROM UNNEST(json_object_keys(t.j), json_object_values(t.j)) AS f (key, value)
//! SELECT generate_series(1, 3) * 2      →   SELECT unnest(generate_series(1, 3)) * 2
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    Select, SelectItem, TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
    visit_expressions,
};

use super::by_others::number;
use super::postgres::call_of;

/// Functions whose names begin so take a list as such.
const OF_LISTS: &[&str] = &["array", "list", "cardinality", "make_array", "flatten"];

/// What a function that gives rows takes apart.
struct Lists {
    lists: Vec<SqlExpr>,
    /// Names of its columns. None: a single one is named as the function is.
    columns: &'static [&'static str],
}

impl Lists {
    /// `None`: the function gives a value.
    fn of(name: &str, args: &[SqlExpr]) -> Option<Self> {
        let name = name.to_lowercase();
        let call = |name: &str| vec![call_of(name, args.to_vec())];
        let plain = |lists| {
            Some(Self {
                lists,
                columns: &[],
            })
        };
        let name = match name.strip_prefix("jsonb_") {
            Some(rest) => format!("json_{rest}"),
            None => name,
        };
        match (name.as_str(), args) {
            ("generate_series", [_, ..]) => plain(call("generate_series")),
            ("generate_subscripts", [list, dimension]) => {
                let length = call_of("array_length", vec![list.clone(), dimension.clone()]);
                plain(vec![call_of("generate_series", vec![number("1"), length])])
            }
            ("unnest", [_, ..]) => plain(args.to_vec()),
            ("string_to_table", [_, _] | [_, _, _]) => plain(call("string_to_array")),
            ("regexp_split_to_table", [_, _] | [_, _, _]) => plain(call("regexp_split_to_array")),
            ("json_object_keys", [_]) => plain(call("json_object_keys")),
            ("json_array_elements" | "json_array_elements_text", [_]) => Some(Self {
                lists: call(&name),
                columns: &["value"],
            }),
            ("json_each", [_]) => Some(Self {
                lists: [call("json_object_keys"), call("json_object_values")].concat(),
                columns: &["key", "value"],
            }),
            ("json_each_text", [_]) => Some(Self {
                lists: [call("json_object_keys"), call("json_object_values_text")].concat(),
                columns: &["key", "value"],
            }),
            _ => None,
        }
    }

    fn of_call(call: &Function) -> Option<(String, Self)> {
        let FunctionArguments::List(list) = &call.args else {
            return None;
        };
        if call.over.is_some() || call.filter.is_some() || !list.clauses.is_empty() {
            return None;
        }
        let name = name_of(call);
        let lists = Self::of(&name, &values(&list.args)?)?;
        Some((name, lists))
    }
}

fn name_of(call: &Function) -> String {
    call.name.to_string().to_lowercase()
}

fn values(args: &[FunctionArg]) -> Option<Vec<SqlExpr>> {
    let args = args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    args.collect()
}

/// Takes the functions in SELECT lists and in FROM apart, in `query` and all queries inside of it.
pub(super) fn functions_of_rows(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Functions);
}

struct Functions;

impl VisitorMut for Functions {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { expr, .. } => take_apart(expr),
                SelectItem::UnnamedExpr(expr) => {
                    let name = match &*expr {
                        SqlExpr::Function(call) => Lists::of_call(call).map(|(name, _)| name),
                        _ => None,
                    };
                    take_apart(expr);
                    if let Some(name) = name {
                        let (expr, alias) = (expr.clone(), Ident::new(name));
                        *item = SelectItem::ExprWithAlias { expr, alias };
                    }
                }
                _ => {}
            }
        }
        let names_value = names_value(select);
        for from in &mut select.from {
            let joined = from.joins.iter_mut().map(|join| &mut join.relation);
            for factor in std::iter::once(&mut from.relation).chain(joined) {
                if let Some(lists) = in_from(factor, names_value) {
                    *factor = lists;
                }
            }
        }
        ControlFlow::Continue(())
    }

    // Those in parentheses with joins.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let Some(lists) = in_from(factor, true) {
            *factor = lists;
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query names a column `value`: the elements of `json_array_elements(…) AS e` are called so, or `e`.
fn names_value(select: &Select) -> bool {
    let is_it = |name: &Ident| name.value.eq_ignore_ascii_case("value");
    let found = visit_expressions(select, |expr| {
        let named = match expr {
            SqlExpr::Identifier(name) => is_it(name),
            SqlExpr::CompoundIdentifier(parts) => parts.last().is_some_and(is_it),
            _ => false,
        };
        match named {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

/// A function in FROM as the lists that it takes apart.
fn in_from(factor: &TableFactor, names_value: bool) -> Option<TableFactor> {
    let (name, args, alias, with_ordinality) = match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            with_ordinality,
            ..
        } => (name, &args.args, alias, *with_ordinality),
        TableFactor::Function {
            name,
            args,
            alias,
            with_ordinality,
            ..
        } => (name, args, alias, *with_ordinality),
        _ => return None,
    };
    let name = name.to_string();
    let Lists { lists, columns } = Lists::of(&name, &values(args)?)?;
    let mut alias = alias.clone().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(name.to_lowercase()),
        columns: Vec::new(),
        at: None,
    });
    let by_relation = columns.len() == 1 && !names_value;
    if alias.columns.is_empty() && !by_relation {
        let column = |name: &&str| TableAliasColumnDef {
            name: Ident::new(*name),
            data_type: None,
        };
        alias.columns = columns.iter().map(column).collect();
    }
    Some(TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: lists,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality,
    })
}

/// Takes the functions of rows in an expression apart that stand there as values.
fn take_apart(expr: &mut SqlExpr) {
    match expr {
        SqlExpr::Function(call) => {
            let name = name_of(call);
            if name == "unnest" {
                return;
            }
            if let Some((_, Lists { lists, .. })) = Lists::of_call(call) {
                if let [list] = lists.as_slice() {
                    *expr = call_of("unnest", vec![list.clone()]);
                }
                return;
            }
            let plain = call.over.is_none() && call.filter.is_none();
            if !plain || OF_LISTS.iter().any(|start| name.starts_with(start)) {
                return;
            }
            if let FunctionArguments::List(list) = &mut call.args {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                        take_apart(arg);
                    }
                }
            }
        }
        SqlExpr::BinaryOp { left, right, .. } => {
            take_apart(left);
            take_apart(right);
        }
        SqlExpr::UnaryOp { expr, .. }
        | SqlExpr::Nested(expr)
        | SqlExpr::Cast { expr, .. }
        | SqlExpr::Extract { expr, .. } => take_apart(expr),
        _ => {}
    }
}
