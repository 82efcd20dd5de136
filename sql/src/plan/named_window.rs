//! The names of a WINDOW clause, written out: `OVER w`, `OVER (w ROWS …)` and windows that build on others, wherever a
//! function stands. DataFusion's binder knows the first of these in a SELECT list, and passes over the others in silence.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, NamedWindowExpr, Query, Select, SetExpr, VisitMut, VisitorMut, WindowSpec,
    WindowType, visit_expressions_mut,
};

use crate::diagnostic::{Code, Diagnostic, Span};

/// Writes the names of windows out, in `query` and all queries inside of it.
///
/// # Errors
/// A name that the SELECT does not define, and a window that says again what the one that it builds on says.
pub(super) fn write_out_windows(query: &mut Query) -> Result<(), Diagnostic> {
    match query.visit(&mut Queries) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Queries;

impl VisitorMut for Queries {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match in_query(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn in_query(query: &mut Query) -> Result<(), Diagnostic> {
    in_set(&mut query.body)?;
    if let SetExpr::Select(select) = query.body.as_ref() {
        let known = definitions(select)?;
        return in_exprs(&mut query.order_by, &known);
    }
    Ok(())
}

fn in_set(body: &mut SetExpr) -> Result<(), Diagnostic> {
    match body {
        SetExpr::Select(select) => {
            let known = definitions(select)?;
            in_exprs(&mut select.projection, &known)?;
            in_exprs(&mut select.qualify, &known)
        }
        SetExpr::SetOperation { left, right, .. } => {
            in_set(left)?;
            in_set(right)
        }
        _ => Ok(()),
    }
}

/// The windows that a SELECT names, each with all that it builds on.
fn definitions(select: &Select) -> Result<Vec<(Ident, WindowSpec)>, Diagnostic> {
    let mut known: Vec<(Ident, WindowSpec)> = Vec::with_capacity(select.named_window.len());
    for definition in &select.named_window {
        let window = match &definition.1 {
            NamedWindowExpr::NamedWindow(name) => find(name, &known)?.clone(),
            NamedWindowExpr::WindowSpec(window) => whole(window, &known)?,
        };
        known.push((definition.0.clone(), window));
    }
    Ok(known)
}

fn in_exprs(exprs: &mut impl VisitMut, known: &[(Ident, WindowSpec)]) -> Result<(), Diagnostic> {
    let written = visit_expressions_mut(exprs, |expr| {
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let window = match &function.over {
            Some(WindowType::NamedWindow(name)) => find(name, known).cloned(),
            Some(WindowType::WindowSpec(window)) => whole(window, known),
            None => return ControlFlow::Continue(()),
        };
        match window {
            Ok(window) => {
                function.over = Some(WindowType::WindowSpec(window));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match written {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn find<'k>(name: &Ident, known: &'k [(Ident, WindowSpec)]) -> Result<&'k WindowSpec, Diagnostic> {
    let text = |name: &Ident| match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    let found = known.iter().find(|(other, _)| text(other) == text(name));
    found.map(|(_, window)| window).ok_or_else(|| {
        let names = known.iter().map(|(name, _)| name.value.as_str());
        let message = format!("there is no window {name}");
        Diagnostic::new(Code::UnknownRelation, message)
            .at(Span::known(name.span))
            .help("name it behind FROM and WHERE: WINDOW w AS (PARTITION BY k ORDER BY ts)")
            .suggest_nearest(&name.value, names)
    })
}

/// A window with what it builds on.
fn whole(window: &WindowSpec, known: &[(Ident, WindowSpec)]) -> Result<WindowSpec, Diagnostic> {
    let Some(name) = &window.window_name else {
        return Ok(window.clone());
    };
    let base = find(name, known)?;
    let again = |what: &str| {
        let message = format!("a window that builds on {name} says {what} again");
        let help = "it takes the partition and the order from there, and may add an order where there is none, and a frame";
        Err(Diagnostic::new(Code::Syntax, message)
            .at(Span::known(name.span))
            .help(help))
    };
    if !window.partition_by.is_empty() {
        return again("PARTITION BY");
    }
    if !window.order_by.is_empty() && !base.order_by.is_empty() {
        return again("ORDER BY");
    }
    if base.window_frame.is_some() {
        let message = format!("{name} has a frame, so no other window can build on it");
        return Err(Diagnostic::new(Code::Syntax, message).at(Span::known(name.span)));
    }
    let order_by = match window.order_by.is_empty() {
        true => base.order_by.clone(),
        false => window.order_by.clone(),
    };
    Ok(WindowSpec {
        window_name: None,
        partition_by: base.partition_by.clone(),
        order_by,
        window_frame: window.window_frame.clone(),
    })
}
