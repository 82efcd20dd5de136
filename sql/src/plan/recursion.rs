//! WITH queries that read themselves, and are not written as what may: told before the binder looks for a table.

use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Ident, ObjectName, Query, SetExpr, SetOperator, Visit, visit_relations};

use crate::catalog::Objects;
use crate::diagnostic::{Code, Diagnostic, Span};

/// Looks at the WITH queries of a statement.
///
/// # Errors
/// One that reads itself without RECURSIVE, or otherwise than behind a UNION.
pub(super) fn check_recursion(query: &Query, objects: &Objects) -> Result<(), Diagnostic> {
    let Some(with) = &query.with else {
        return Ok(());
    };
    for cte in &with.cte_tables {
        let name = folded(&cte.alias.name);
        if !reads(cte.query.as_ref(), &name) {
            continue;
        }
        if !with.recursive {
            // Without RECURSIVE it is another one, where there is another one.
            if objects.relation(&name).is_some() {
                continue;
            }
            let message = format!("{name} reads itself, and is not RECURSIVE");
            return Err(refused(cte, Code::UnknownRelation, message));
        }
        match cte.query.body.as_ref() {
            SetExpr::SetOperation {
                op: SetOperator::Union,
                left,
                ..
            } if !reads(left.as_ref(), &name) => {}
            SetExpr::SetOperation {
                op: SetOperator::Union,
                ..
            } => {
                let message = format!("the first rows of {name} would come from itself");
                return Err(refused(cte, Code::Unsupported, message));
            }
            _ => {
                let message = format!("{name} reads itself, and is no UNION");
                return Err(refused(cte, Code::Unsupported, message));
            }
        }
    }
    Ok(())
}

fn refused(cte: &Cte, code: Code, message: String) -> Diagnostic {
    let name = &cte.alias.name;
    let help = format!(
        "WITH RECURSIVE {name} AS (SELECT … UNION ALL SELECT … FROM {name} …): the first query gives the first rows, the second, which alone reads {name}, those that follow"
    );
    Diagnostic::new(code, message)
        .at(Span::known(name.span))
        .help(help)
}

fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// Whether a relation of this name is read.
fn reads(query: &impl Visit, name: &str) -> bool {
    let is_it = |relation: &ObjectName| match relation.0.as_slice() {
        [part] => part.as_ident().is_some_and(|ident| folded(ident) == name),
        _ => false,
    };
    let found = visit_relations(query, |relation| match is_it(relation) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}
