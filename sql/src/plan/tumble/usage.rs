//! How a window function is called: its arguments by place and by name, and the windows that its lengths make.

use datafusion::common::{DataFusionError, Result as BoundResult};
use sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments};
use streams::WindowGrid;

use super::interval::interval_text;
use super::refused;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::PARTITION_BY;

/// Windows that a row lies in, at most.
const WINDOWS_MAX: i64 = 10_000;

/// How a window function is called.
pub(super) struct Usage {
    pub(super) name: &'static str,
    /// Flink's names of its arguments, in order.
    arguments: &'static [&'static str],
    example: &'static str,
}

impl Usage {
    pub(super) fn of(function: &str) -> Self {
        match function {
            "hop" => Self {
                name: "HOP",
                arguments: &["data", "timecol", "slide", "size"],
                example: "HOP(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour'): the slide, then the size",
            },
            "cumulate" => Self {
                name: "CUMULATE",
                arguments: &["data", "timecol", "step", "size"],
                example: "CUMULATE(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour'): the step, then the size",
            },
            "session" => Self {
                name: "SESSION",
                arguments: &["data", "timecol", "gap"],
                example: "SESSION(t, ts, INTERVAL '10 minutes', PARTITION BY k): the gap that ends a session, and its keys",
            },
            _ => Self {
                name: "TUMBLE",
                arguments: &["data", "timecol", "size"],
                example: "TUMBLE(t, ts, INTERVAL '1 hour')",
            },
        }
    }

    pub(super) fn wrong(&self, span: Option<Span>) -> DataFusionError {
        let lengths = match self.arguments.len() {
            3 => "an interval",
            _ => "two intervals",
        };
        let message = format!(
            "{} takes a relation, its time column and {lengths}",
            self.name
        );
        refused(
            Diagnostic::new(Code::Syntax, message)
                .at(span)
                .help(self.example),
        )
    }

    /// The keys of a session, where they are named, and the other arguments. The parser writes PARTITION BY as an argument
    /// with a name.
    pub(super) fn keys(&self, args: &[FunctionArg]) -> (Option<Vec<SqlExpr>>, Vec<FunctionArg>) {
        let mut keys = None;
        let mut others = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } if self.name == "SESSION" && name.value == PARTITION_BY => {
                    keys = Some(match expr {
                        SqlExpr::Tuple(exprs) => exprs.clone(),
                        SqlExpr::Nested(expr) => vec![expr.as_ref().clone()],
                        expr => vec![expr.clone()],
                    });
                }
                arg => others.push(arg.clone()),
            }
        }
        (keys, others)
    }

    /// The arguments in order, whether they are named or not, and the offset behind them.
    pub(super) fn arguments(
        &self,
        args: &[FunctionArg],
        span: Option<Span>,
    ) -> BoundResult<(Vec<SqlExpr>, Option<SqlExpr>)> {
        let with_offset = usize::from(self.name != "SESSION");
        let mut found: Vec<Option<SqlExpr>> = vec![None; self.arguments.len() + with_offset];
        for (place, arg) in args.iter().enumerate() {
            let (place, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(place), expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } => {
                    let name = name.value.to_lowercase();
                    let mut names = self.arguments.iter().chain(&["offset"]);
                    let place = names.position(|other| *other == name);
                    (place, expr)
                }
                _ => return Err(self.wrong(span)),
            };
            let slot = place.and_then(|place| found.get_mut(place));
            match slot.filter(|slot| slot.is_none()) {
                Some(slot) => *slot = Some(descriptor(expr)),
                None => return Err(self.wrong(span)),
            }
        }
        let offset = found.split_off(self.arguments.len()).pop().flatten();
        let found: Option<Vec<SqlExpr>> = found.into_iter().collect();
        let found = found.ok_or_else(|| self.wrong(span))?;
        Ok((found, offset))
    }

    /// The size of its windows, and how they overlap.
    pub(super) fn grid(
        &self,
        lengths_us: &[i64],
        span: Option<Span>,
    ) -> BoundResult<(i64, Option<WindowGrid>)> {
        let (step_us, size_us) = match *lengths_us {
            [size_us] => return Ok((size_us, None)),
            [step_us, size_us] => (step_us, size_us),
            _ => return Err(self.wrong(span)),
        };
        let wrong = |message: String| {
            let diagnostic = Diagnostic::new(Code::Syntax, message).at(span);
            Err(refused(diagnostic.help(self.example)))
        };
        let [step, size] = [step_us, size_us].map(interval_text);
        let grid = if self.name == "HOP" {
            WindowGrid::Hop {
                slide_us: step_us,
                size_us,
            }
        } else {
            if size_us % step_us != 0 {
                return wrong(format!("steps of {step} do not make up {size}"));
            }
            WindowGrid::Cumulate { step_us, size_us }
        };
        if grid.windows_max() > WINDOWS_MAX {
            return wrong(format!(
                "a row would lie in {} windows, at most {WINDOWS_MAX} are possible: {step} in {size}",
                grid.windows_max()
            ));
        }
        Ok((size_us, Some(grid)))
    }
}

/// What Flink writes as `DESCRIPTOR(ts)`.
fn descriptor(expr: &SqlExpr) -> SqlExpr {
    if let SqlExpr::Function(function) = expr
        && function.name.to_string().eq_ignore_ascii_case("descriptor")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
    {
        return column.clone();
    }
    expr.clone()
}
