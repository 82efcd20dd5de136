//! What has no meaning in a query that goes on, and what is near it that has.

use datafusion::logical_expr::LogicalPlan;

use super::super::value_subquery::open_reference;
use super::Lowering;
use crate::diagnostic::{Code, Diagnostic};

impl Lowering<'_> {
    pub(super) fn unsupported(&self, plan: &LogicalPlan) -> Diagnostic {
        match plan {
            LogicalPlan::RecursiveQuery(_) => {
                self.refuse("WITH RECURSIVE", "RECURSIVE", "a plain WITH works")
            }
            _ if !self.reads_topics() => Diagnostic::new(
                Code::NotStreaming,
                "this query reads no source, table or view, so there is nothing to follow",
            )
            .help("a plain SELECT, without EMIT CHANGES and outside of a view, answers it"),
            LogicalPlan::Subquery(_) if let Ok(Some(open)) = open_reference(plan, self.words) => {
                open
            }
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
