//! What a statement that writes gives for each column: DEFAULT is what the column has without a value, NULL, or what it is
//! computed from.
//!
//! ```text
//! INSERT INTO t (a, c) VALUES (1, DEFAULT)     c is computed:  INSERT INTO t (a) VALUES (1)
//! UPDATE t SET c = DEFAULT, b = DEFAULT        c is computed:  UPDATE t SET b = NULL
//! ```

use sqlparser::ast::{Expr, Query, SetExpr, Value, Values};
use streams::ColumnOrigin;

use super::insert::{Target, refuse_computed};
use crate::catalog::Relation;
use crate::diagnostic::Diagnostic;
use crate::parse::statement::{Insert, Name};

/// The query of an INSERT without what it gives for computed columns, and the places of the columns that it gives.
///
/// # Errors
/// A column that there is not, or a value for one that is computed.
pub(super) fn given(
    insert: &Insert,
    relation: &Relation,
) -> Result<(Box<Query>, Vec<usize>), Diagnostic> {
    let mut query = insert.query.query.clone();
    let SetExpr::Values(values) = &mut *query.body else {
        return Ok((query, Target::places(relation, &insert.columns)?));
    };
    let computed: Vec<usize> = match insert.columns.as_slice() {
        [] => computed_of_all(values, relation),
        names => {
            let named = names.iter().enumerate();
            let computed = named.filter(|(_, name)| is_computed(relation, name));
            computed.map(|(place, _)| place).collect()
        }
    };
    let only_defaults =
        |place: &usize| (values.rows.iter()).all(|row| row.get(*place).is_some_and(is_default));
    let left_out: Vec<usize> = computed.into_iter().filter(only_defaults).collect();
    let is_left_out = |place: usize| left_out.contains(&place);
    for row in &mut values.rows {
        let mut place = 0..;
        row.content
            .retain(|_| !place.next().is_some_and(is_left_out));
        row.content.iter_mut().for_each(default_is_null);
    }
    let names = insert.columns.iter().enumerate();
    let names = names.filter(|(place, _)| !is_left_out(*place));
    let names: Vec<Name> = names.map(|(_, name)| name.clone()).collect();
    if names.is_empty() && !insert.columns.is_empty() {
        // Every column that it names is computed.
        refuse_computed(relation, &insert.columns, |column| {
            format!("nothing is given but what column {column:?} is computed to")
        })?;
    }
    Ok((query, Target::places(relation, &names)?))
}

/// Where computed columns stand in rows that give something for every column.
fn computed_of_all(values: &Values, relation: &Relation) -> Vec<usize> {
    let declared = relation.columns.iter().map(|column| &column.origin);
    let declared = declared.filter(|origin| {
        matches!(
            origin,
            ColumnOrigin::Value | ColumnOrigin::Key | ColumnOrigin::Computed(_)
        )
    });
    let declared: Vec<_> = declared.collect();
    if values.rows.iter().any(|row| row.len() != declared.len()) {
        return Vec::new();
    }
    let places = declared.into_iter().enumerate();
    let places = places.filter(|(_, origin)| matches!(origin, ColumnOrigin::Computed(_)));
    places.map(|(place, _)| place).collect()
}

/// What is set, without computed columns that are set to what they are anyway.
pub(super) fn set(relation: &Relation, assignments: &[(Name, Expr)]) -> Vec<(Name, Expr)> {
    let kept = assignments
        .iter()
        .filter(|(name, value)| !(is_default(value) && is_computed(relation, name)));
    let mut kept: Vec<(Name, Expr)> = kept.cloned().collect();
    for (_, value) in &mut kept {
        default_is_null(value);
    }
    kept
}

fn is_computed(relation: &Relation, name: &Name) -> bool {
    let place = relation.schema.index_of(&name.name).ok();
    let column = place.and_then(|place| relation.columns.get(place));
    column.is_some_and(|column| matches!(column.origin, ColumnOrigin::Computed(_)))
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

/// Columns have no defaults of their own.
fn default_is_null(value: &mut Expr) {
    if let Expr::Identifier(word) = value
        && word.quote_style.is_none()
        && word.value.eq_ignore_ascii_case("default")
    {
        *value = Expr::Value(Value::Null.with_span(word.span));
    }
}
