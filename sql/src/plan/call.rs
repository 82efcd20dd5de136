//! Calls that are refused before they are bound, because what DataFusion would make of them has another meaning or tells
//! nothing: `sum(*)`, and `count` of several values.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DuplicateTreatment, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Query, visit_expressions,
};

use crate::diagnostic::{Code, Diagnostic, Span, Words};

/// Looks at all calls of a query.
///
/// # Errors
/// A call that its function does not take.
pub(super) fn check_calls(query: &Query, words: &Words) -> Result<(), Diagnostic> {
    let found = visit_expressions(query, |expr| {
        let SqlExpr::Function(call) = expr else {
            return ControlFlow::Continue(());
        };
        match refusal(call, words) {
            Some(diagnostic) => ControlFlow::Break(diagnostic),
            None => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break(diagnostic) => Err(diagnostic),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn refusal(call: &Function, words: &Words) -> Option<Diagnostic> {
    let [part] = call.name.0.as_slice() else {
        return None;
    };
    let ident = part.as_ident()?;
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let name = ident.value.to_lowercase();
    let refused = |message: String, help: String| {
        let place = Span::known(ident.span);
        let mut diagnostic = Diagnostic::new(Code::TypeMismatch, message).at(place);
        diagnostic.sqlstate = "42883".to_owned();
        Some(diagnostic.help(help))
    };
    // Those that stand for others are told by their own names.
    let own = match name.as_str() {
        "collect_list" => Some((
            1,
            "1 argument",
            "collect_list(x), or array_agg(x ORDER BY y)",
        )),
        "listagg" => Some((
            2,
            "2 arguments",
            "listagg(x, ','), or string_agg(x, ',' ORDER BY y)",
        )),
        _ => None,
    };
    if let Some((most, takes, help)) = own
        && !(1..=most).contains(&list.args.len())
    {
        let message = format!("{name} takes {takes}, not {}", list.args.len());
        return refused(message, help.to_owned());
    }
    if !words.calls(&name) {
        return None;
    }
    let takes_rows = |arg: &FunctionArg| {
        matches!(
            arg,
            FunctionArg::Unnamed(
                FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_)
            )
        )
    };
    if name != "count" && list.args.iter().any(takes_rows) {
        let message = format!("{name} takes a value, not *");
        return refused(message, format!("{name}(x); count(*) counts rows"));
    }
    if name == "count" && list.args.len() > 1 {
        let message = format!("count takes one value, not {}", list.args.len());
        return match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => refused(
                message,
                "a subquery tells the combinations apart: SELECT count(*) FROM (SELECT DISTINCT a, b FROM t)"
                    .to_owned(),
            ),
            _ => refused(
                message,
                "count(*) counts rows, count(x) those in which x is not NULL".to_owned(),
            ),
        };
    }
    None
}
