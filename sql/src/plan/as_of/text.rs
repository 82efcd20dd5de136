//! As-of joins in the text: each becomes a join with a marked condition, before anything is bound.
//!
//! The mark stands in ON. A join with USING has none, so there it stands in WHERE, with a column of the right side that tells
//! which join it is of.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::{Result as BoundResult, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select,
    Spanned, TableFactor, TableVersion, TableWithJoins, Value, VisitMut, VisitorMut,
};

use crate::diagnostic::{Code, Diagnostic, Span, Words};
use crate::parse::{IN_ON, IN_ON_LEFT};
use crate::plan::using::name_of;

/// `__match_condition(a.ts >= b.ts)`. `TRUE`: the comparison is among those of ON, or is `>=` of the last column of USING.
pub(super) const MATCH: &str = "__match_condition";
/// `__system_time(a.ts)`: the version of that time.
pub(super) const SYSTEM_TIME: &str = "__system_time";
/// `__arrival(TRUE)`: the row that is there.
pub(super) const ARRIVAL: &str = "__arrival";

type Refused<T> = Result<T, Box<Diagnostic>>;

/// Writes as-of joins as joins with a marked condition, in `query` and all queries inside of it.
///
/// # Errors
/// Joins that have no such meaning.
pub(in crate::plan) fn mark_joins(query: &mut Query, words: &Words) -> Result<(), Diagnostic> {
    match query.visit(&mut Joins { words }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Joins<'a> {
    words: &'a Words,
}

impl VisitorMut for Joins<'_> {
    type Break = Box<Diagnostic>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let mut conditions = Vec::new();
        for from in &mut select.from {
            if let Err(error) = self.mark(from, &mut conditions) {
                return ControlFlow::Break(error);
            }
        }
        for condition in conditions {
            select.selection = Some(match select.selection.take() {
                Some(others) => both(others, condition),
                None => condition,
            });
        }
        ControlFlow::Continue(())
    }
}

impl Joins<'_> {
    /// Marks the joins of one item of FROM; what has to stand in WHERE goes to `conditions`.
    fn mark(&self, from: &mut TableWithJoins, conditions: &mut Vec<SqlExpr>) -> Refused<()> {
        if version(&from.relation).is_some() {
            let message = "FOR SYSTEM_TIME AS OF belongs to the right side of a JOIN";
            return Err(self.refused(message, &from.relation));
        }
        self.inside(&mut from.relation, conditions)?;
        for join in &mut from.joins {
            self.inside(&mut join.relation, conditions)?;
            self.mark_join(join, conditions)?;
        }
        Ok(())
    }

    fn inside(&self, relation: &mut TableFactor, conditions: &mut Vec<SqlExpr>) -> Refused<()> {
        match relation {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.mark(table_with_joins, conditions),
            _ => Ok(()),
        }
    }

    fn mark_join(&self, join: &mut Join, conditions: &mut Vec<SqlExpr>) -> Refused<()> {
        let Some(found) = self.found(join)? else {
            return Ok(());
        };
        if let TableFactor::Table { version, .. } = &mut join.relation {
            *version = None;
        }
        let constraint = match found.constraint {
            JoinConstraint::On(on) => {
                let on = SqlExpr::Nested(Box::new(on));
                JoinConstraint::On(both(on, call(found.mark, vec![found.argument])))
            }
            JoinConstraint::None => JoinConstraint::On(call(found.mark, vec![found.argument])),
            JoinConstraint::Using(names) => {
                let of_right = names.last().and_then(|name| name.0.last()?.as_ident());
                let (Some(column), Some(right)) = (of_right, name_of(&join.relation)) else {
                    let message = "USING of an as-of join needs a name for its right side";
                    return Err(self.refused(message, &join.relation));
                };
                let column = SqlExpr::CompoundIdentifier(vec![right, column.clone()]);
                conditions.push(call(found.mark, vec![found.argument, column]));
                JoinConstraint::Using(names)
            }
            JoinConstraint::Natural => {
                let message = "NATURAL does not go with an as-of join";
                return Err(self.refused(message, &join.relation));
            }
        };
        join.join_operator = match found.pads {
            true => JoinOperator::LeftOuter(constraint),
            false => JoinOperator::Inner(constraint),
        };
        Ok(())
    }

    /// What kind of as-of join this is, if it is one.
    fn found(&self, join: &Join) -> Refused<Option<Found>> {
        let Some(version) = version(&join.relation) else {
            return Ok(match &join.join_operator {
                JoinOperator::AsOf {
                    match_condition,
                    constraint,
                } => Some(Found::nearest(match_condition, constraint)),
                _ => None,
            });
        };
        let TableVersion::ForSystemTimeAsOf(time) = version else {
            let message = format!("{version} is not available");
            return Err(self.refused(&message, &join.relation));
        };
        let (pads, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (false, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                (true, constraint)
            }
            _ => {
                let message = "FOR SYSTEM_TIME AS OF stands in a JOIN or a LEFT JOIN";
                return Err(self.refused(message, &join.relation));
            }
        };
        let (mark, argument) = match is_arrival(time) {
            true => (ARRIVAL, truth()),
            false => (SYSTEM_TIME, time.clone()),
        };
        Ok(Some(Found {
            mark,
            argument,
            pads,
            constraint: constraint.clone(),
        }))
    }

    fn refused(&self, message: &str, relation: &TableFactor) -> Box<Diagnostic> {
        let place = self.words.place("SYSTEM_TIME");
        let place = place.or_else(|| Span::known(relation.span()));
        let refused = Diagnostic::new(Code::Unsupported, message).at(place);
        Box::new(refused.help("FROM f JOIN t FOR SYSTEM_TIME AS OF f.ts ON f.k = t.k"))
    }
}

/// An as-of join as it is written.
struct Found {
    mark: &'static str,
    argument: SqlExpr,
    pads: bool,
    constraint: JoinConstraint,
}

impl Found {
    fn nearest(condition: &SqlExpr, constraint: &JoinConstraint) -> Self {
        let (argument, pads) = match condition {
            SqlExpr::Identifier(name) if name.value == IN_ON => (truth(), false),
            SqlExpr::Identifier(name) if name.value == IN_ON_LEFT => (truth(), true),
            condition => (condition.clone(), true),
        };
        Self {
            mark: MATCH,
            argument,
            pads,
            constraint: constraint.clone(),
        }
    }
}

fn version(relation: &TableFactor) -> Option<&TableVersion> {
    match relation {
        TableFactor::Table { version, .. } => version.as_ref(),
        _ => None,
    }
}

fn is_arrival(time: &SqlExpr) -> bool {
    matches!(time, SqlExpr::Function(function)
        if function.name.to_string().eq_ignore_ascii_case("proctime"))
}

fn truth() -> SqlExpr {
    SqlExpr::Value(Value::Boolean(true).with_empty_span())
}

fn both(left: SqlExpr, right: SqlExpr) -> SqlExpr {
    SqlExpr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    }
}

fn call(name: &str, args: Vec<SqlExpr>) -> SqlExpr {
    let arg = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(arg).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The functions that mark; nothing evaluates them.
pub(in crate::plan) fn marks() -> [ScalarUDF; 3] {
    [MATCH, SYSTEM_TIME, ARRIVAL].map(|name| {
        ScalarUDF::from(Mark {
            name,
            signature: Signature::variadic_any(Volatility::Immutable),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        internal_err!("{} is for the planner", self.name)
    }
}
