//! `x IN (SELECT y …)` whose answer may be NULL, where NULL and false differ.
//!
//! A join tells whether a row has a match, which is true or false. That is enough where only what is true counts:
//!
//! ```text
//! WHERE b OR x IN (SELECT …)             NULL counts as false
//! WHERE b AND x NOT IN (SELECT …)        a condition of its own: a join that knows NULL
//! WHERE b OR x NOT IN (SELECT …)         refused, unless neither x nor y can be NULL
//! WHERE (x IN (SELECT …)) IS NULL        the same, and under CASE, coalesce, =, in a SELECT list
//! ```

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::trace::{Origin, origin, origin_of_expr};
use crate::diagnostic::{Code, Diagnostic, Words, translate};

/// What is asked of an expression.
#[derive(Clone, Copy)]
enum Asked {
    /// Whether it is true, or false where `negated`. `alone`: it is a condition of its own.
    Truth { negated: bool, alone: bool },
    /// What it is, NULL as well.
    Value,
}

/// Refuses what would be answered as if NULL was false.
pub(super) fn refuse_open(plan: &LogicalPlan, words: &Words) -> Result<(), Diagnostic> {
    let mut open = false;
    let walked = plan.apply_with_subqueries(|node| {
        let asked = match node {
            LogicalPlan::Filter(_) | LogicalPlan::Join(_) => Asked::Truth {
                negated: false,
                alone: true,
            },
            _ => Asked::Value,
        };
        node.apply_expressions(|expr| {
            let any = expr.exists(|expr| Ok(matches!(expr, Expr::InSubquery(_))))?;
            if any {
                open |= is_open(expr, node, asked);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    walked.map_err(|error| translate(&error, words))?;
    if !open {
        return Ok(());
    }
    let message = "IN (SELECT …) may be NULL here, and is answered as a condition of its own only";
    Err(Diagnostic::new(Code::Unsupported, message)
        .at(words.place("IN"))
        .help("use EXISTS, or IN on columns that cannot be NULL: a primary key"))
}

fn is_open(expr: &Expr, node: &LogicalPlan, asked: Asked) -> bool {
    match (expr, asked) {
        (Expr::InSubquery(test), _) => {
            let two_valued = match asked {
                Asked::Truth { negated, alone } => alone || test.negated == negated,
                Asked::Value => false,
            };
            (!two_valued && may_be_null(test, node)) || is_open(&test.expr, node, Asked::Value)
        }
        (Expr::Alias(alias), _) => is_open(&alias.expr, node, asked),
        (Expr::Not(negated_expr), Asked::Truth { negated, alone }) => {
            let asked = Asked::Truth {
                negated: !negated,
                alone,
            };
            is_open(negated_expr, node, asked)
        }
        (Expr::BinaryExpr(binary), Asked::Truth { negated, alone })
            if matches!(binary.op, Operator::And | Operator::Or) =>
        {
            // NOT (a OR b) are two conditions too.
            let splits = (binary.op == Operator::And) != negated;
            let asked = Asked::Truth {
                negated,
                alone: alone && splits,
            };
            is_open(&binary.left, node, asked) || is_open(&binary.right, node, asked)
        }
        _ => {
            let mut open = false;
            let walked = expr.apply_children(|child| {
                open |= is_open(child, node, Asked::Value);
                Ok(TreeNodeRecursion::Continue)
            });
            open || walked.is_err()
        }
    }
}

fn may_be_null(test: &InSubquery, node: &LogicalPlan) -> bool {
    let inputs = node.inputs();
    let value = test.expr.nullable(&merge_schema(&inputs)).unwrap_or(true)
        && !inputs
            .iter()
            .any(|input| is_never_null(&origin_of_expr(&test.expr, input)));
    let subquery = test.subquery.subquery.as_ref();
    let first = subquery.schema().fields().first();
    let values =
        first.is_none_or(|field| field.is_nullable()) && !is_never_null(&origin(subquery, 0));
    value || values
}

/// Whether this is a column that its relation never has NULL in.
fn is_never_null(origin: &Origin) -> bool {
    let Origin::Column(relation, place) = origin else {
        return false;
    };
    let name = relation.schema.field(*place).name();
    let mut columns = relation.columns.iter();
    columns.any(|column| &column.name == name && !column.nullable)
}
