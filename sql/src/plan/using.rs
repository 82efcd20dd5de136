//! Columns that RIGHT and FULL joins merge: `a FULL JOIN b USING (k)` has one `k`, which is `COALESCE(a.k, b.k)`; of a RIGHT
//! join it is that of the right side. DataFusion's binder takes the left one, so such a `k` is written out before it looks.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Query,
    ReplaceSelectElement, ReplaceSelectItem, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, VisitMut, VisitorMut,
};

use crate::diagnostic::{Code, Diagnostic, Words};

/// Writes merged columns out, in `query` and all queries inside of it.
///
/// # Errors
/// A column of which the text alone does not tell the relation.
pub(super) fn merge_columns(query: &mut Query, words: &Words) -> Result<(), Diagnostic> {
    match query.visit(&mut Queries { words }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Queries<'a> {
    words: &'a Words,
}

impl VisitorMut for Queries<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match in_set(&mut query.body, self.words) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn in_set(body: &mut SetExpr, words: &Words) -> Result<(), Diagnostic> {
    match body {
        SetExpr::Select(select) => in_select(select, words),
        SetExpr::SetOperation { left, right, .. } => {
            in_set(left, words)?;
            in_set(right, words)
        }
        _ => Ok(()),
    }
}

/// A column that a USING names.
struct Merged {
    name: Ident,
    value: SqlExpr,
    /// It is not simply the column of the left side.
    differs: bool,
}

fn in_select(select: &mut Select, words: &Words) -> Result<(), Diagnostic> {
    let mut merged = Vec::new();
    for from in &select.from {
        merge(from, &mut merged, words)?;
    }
    merged.retain(|column| column.differs);
    if merged.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(SqlExpr::Identifier(name)) => {
                if let Some(column) = find(&merged, name) {
                    *item = SelectItem::ExprWithAlias {
                        expr: column.value.clone(),
                        alias: name.clone(),
                    };
                }
            }
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                write_out(expr, &merged);
            }
            SelectItem::Wildcard(options) if options.opt_replace.is_none() => {
                let element = |column: &Merged| {
                    Box::new(ReplaceSelectElement {
                        expr: column.value.clone(),
                        column_name: column.name.clone(),
                        as_keyword: true,
                    })
                };
                options.opt_replace = Some(ReplaceSelectItem {
                    items: merged.iter().map(element).collect(),
                });
            }
            _ => {}
        }
    }
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
        exprs.iter_mut().for_each(|expr| write_out(expr, &merged));
    }
    let conditions = [
        &mut select.selection,
        &mut select.having,
        &mut select.qualify,
    ];
    for condition in conditions.into_iter().flatten() {
        write_out(condition, &merged);
    }
    Ok(())
}

fn find<'a>(merged: &'a [Merged], name: &Ident) -> Option<&'a Merged> {
    merged.iter().find(|column| same(&column.name, name))
}

fn same(one: &Ident, other: &Ident) -> bool {
    let folded = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    folded(one) == folded(other)
}

/// Follows the joins of one item of FROM.
fn merge(from: &TableWithJoins, merged: &mut Vec<Merged>, words: &Words) -> Result<(), Diagnostic> {
    let mut relations = vec![name_of(&from.relation)];
    let first = merged.len();
    for join in &from.joins {
        let (constraint, right, full) = match &join.join_operator {
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                (constraint, true, false)
            }
            JoinOperator::FullOuter(constraint) => (constraint, false, true),
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => (constraint, false, false),
            _ => {
                relations.push(name_of(&join.relation));
                continue;
            }
        };
        let names: Vec<Ident> = match constraint {
            JoinConstraint::Using(names) => names
                .iter()
                .filter_map(|name| name.0.last()?.as_ident().cloned())
                .collect(),
            JoinConstraint::Natural if right || full => {
                return Err(Diagnostic::new(
                    Code::Unsupported,
                    "NATURAL with a RIGHT or FULL join is not available",
                )
                .at(words.place("NATURAL"))
                .help("name the columns: … FULL JOIN b USING (k)"));
            }
            _ => Vec::new(),
        };
        let other = name_of(&join.relation);
        for name in names {
            let known = merged[first..]
                .iter()
                .position(|column| same(&column.name, &name));
            let left = match (known, relations.as_slice()) {
                (Some(place), _) => Some(merged[first + place].value.clone()),
                (None, [Some(relation)]) => Some(column(relation, &name)),
                _ => None,
            };
            let own = other.as_ref().map(|relation| column(relation, &name));
            let was_known = known.is_some_and(|place| merged[first + place].differs);
            let value = match (left, own) {
                (Some(left), Some(own)) if full => coalesce(left, own),
                (_, Some(own)) if right => own,
                (Some(left), _) if !full && !right => left,
                _ if !full && !right => continue,
                _ => {
                    let message =
                        format!("USING ({name}) of this join does not tell whose {name} it is");
                    return Err(Diagnostic::new(Code::Unsupported, message)
                        .at(words.place("USING"))
                        .help(format!(
                            "name both: ON a.{name} = b.{name}, and COALESCE(a.{name}, b.{name})"
                        )));
                }
            };
            let column = Merged {
                name,
                value,
                differs: was_known || right || full,
            };
            match known {
                Some(place) => merged[first + place] = column,
                None => merged.push(column),
            }
        }
        relations.push(other);
    }
    Ok(())
}

/// What a relation is called where it is used.
pub(super) fn name_of(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        }
        | TableFactor::TableFunction {
            alias: Some(alias), ..
        }
        | TableFactor::Function {
            alias: Some(alias), ..
        } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

fn column(relation: &Ident, name: &Ident) -> SqlExpr {
    SqlExpr::CompoundIdentifier(vec![relation.clone(), name.clone()])
}

fn coalesce(left: SqlExpr, right: SqlExpr) -> SqlExpr {
    let arg = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new("coalesce")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![arg(left), arg(right)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Writes merged columns out in an expression; queries inside of it have names of their own.
fn write_out(expr: &mut SqlExpr, merged: &[Merged]) {
    let _: ControlFlow<()> = expr.visit(&mut Names { merged, depth: 0 });
}

struct Names<'a> {
    merged: &'a [Merged],
    /// How many queries lie around.
    depth: usize,
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    // After what is inside: what is written out is not looked at again.
    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if self.depth == 0
            && let SqlExpr::Identifier(name) = expr
            && let Some(column) = find(self.merged, name)
        {
            *expr = column.value.clone();
        }
        ControlFlow::Continue(())
    }
}
