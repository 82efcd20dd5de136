//! Functions that make JSON, and the standard's clauses in them: `NULL ON NULL`, `ABSENT ON NULL`, `RETURNING`.

use sqlparser::ast::{
    DataType as SqlType, Expr as SqlExpr, Function, FunctionArgumentClause, FunctionArguments,
    JsonNullClause,
};

use super::super::postgres::call_of;
use super::write::{cast_to, renamed};
use super::{Written, exprs_of};

pub(super) const TABLE: &[Written] = &[
    ("to_json_string", as_text),
    ("json_string", as_text),
    ("row_to_json", |args| match args {
        [_] => renamed("to_json", args),
        _ => None,
    }),
    ("jsonb_path_query_first", |args| match args {
        [_, _] => renamed("json_query", args),
        _ => None,
    }),
];

/// Any value as the text of its JSON.
fn as_text(args: &[SqlExpr]) -> Option<SqlExpr> {
    let document = match args {
        [_] => renamed("to_json", args)?,
        _ => return None,
    };
    Some(call_of("json_text", vec![document]))
}

/// Names of [`constructed`].
pub(super) const CONSTRUCTORS: &[&str] = &["json_object", "json_array"];

/// `json_object(k VALUE v, …)`, whose arguments are names and values in turn by now, and `json_array(x, …)`. An object has its
/// NULLs unless `ABSENT ON NULL` is said, an array has them if `NULL ON NULL` is.
pub(super) fn constructed(name: &str, call: &Function) -> Option<SqlExpr> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    if call.over.is_some() || call.filter.is_some() || list.duplicate_treatment.is_some() {
        return None;
    }
    let args = exprs_of(&list.args)?;
    let clauses = Clauses::of(&list.clauses)?;
    let absent = match name {
        "json_object" if args.len() % 2 == 0 => clauses.absent.unwrap_or(false),
        "json_array" => clauses.absent.unwrap_or(true),
        _ => return None,
    };
    let builder = match (name, absent) {
        ("json_object", false) => "json_build_object",
        ("json_object", true) => "__json_object_absent",
        (_, false) => "json_build_array",
        (_, true) => "__json_array_absent",
    };
    Some(clauses.returned(call_of(builder, args)))
}

/// What a constructor says behind its arguments.
#[derive(Default)]
pub(super) struct Clauses {
    /// Whether what is NULL is left out, where that is said.
    pub(super) absent: Option<bool>,
    returning: Option<SqlType>,
}

impl Clauses {
    /// `None`: there is another clause, that no constructor has. ORDER BY is for those that aggregate.
    pub(super) fn of(clauses: &[FunctionArgumentClause]) -> Option<Self> {
        let mut found = Self::default();
        for clause in clauses {
            match clause {
                FunctionArgumentClause::JsonNullClause(clause) => {
                    found.absent = Some(*clause == JsonNullClause::AbsentOnNull);
                }
                FunctionArgumentClause::JsonReturningClause(returning) => {
                    found.returning = Some(returning.data_type.clone());
                }
                FunctionArgumentClause::OrderBy(_) => {}
                _ => return None,
            }
        }
        Some(found)
    }

    /// A document in the type that is asked for.
    pub(super) fn returned(self, document: SqlExpr) -> SqlExpr {
        match self.returning {
            None => document,
            Some(returning) => cast_to(document, returning),
        }
    }
}
