//! What has no meaning in a query that goes on, and what is near it that has.

use datafusion::logical_expr::{Distinct, LogicalPlan};

use super::Lowering;
use crate::diagnostic::{Code, Diagnostic};

impl Lowering<'_> {
    pub(super) fn unsupported(&self, plan: &LogicalPlan) -> Diagnostic {
        match plan {
            LogicalPlan::Sort(_) => self.refuse(
                "ORDER BY",
                "ORDER",
                "leave it out here, and order what you read: SELECT … FROM view ORDER BY …",
            ),
            LogicalPlan::Limit(_) => self.refuse(
                "LIMIT",
                "LIMIT",
                "leave it out here, and limit what you read: SELECT … FROM view LIMIT …",
            ),
            LogicalPlan::Union(_) => self.refuse(
                "UNION",
                "UNION",
                "make one view for each part, and a SELECT over both",
            ),
            LogicalPlan::Window(_) => self.refuse(
                "OVER (…)",
                "OVER",
                "GROUP BY works, and OVER in a SELECT over the view",
            ),
            LogicalPlan::Distinct(Distinct::On(_)) => {
                self.refuse("DISTINCT ON", "DISTINCT", "GROUP BY with min or max works")
            }
            LogicalPlan::Unnest(_) => self.refuse("UNNEST", "UNNEST", "columns have plain types"),
            LogicalPlan::RecursiveQuery(_) => {
                self.refuse("WITH RECURSIVE", "RECURSIVE", "a plain WITH works")
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Diagnostic::new(
                Code::NotStreaming,
                "this query reads no source, table or view, so there is nothing to follow",
            )
            .help("a plain SELECT, without EMIT CHANGES and outside of a view, answers it"),
            other => self.refuse(
                other
                    .display()
                    .to_string()
                    .split(':')
                    .next()
                    .unwrap_or_default(),
                "",
                "SELECT, JOIN, WHERE, GROUP BY, HAVING and TUMBLE work",
            ),
        }
    }

    pub(in crate::plan) fn refuse(&self, what: &str, word: &str, help: &str) -> Diagnostic {
        let message = format!("{what} is not available in a query that goes on");
        Diagnostic::new(Code::NotStreaming, message)
            .at(self.words.place(word))
            .help(help)
    }
}
