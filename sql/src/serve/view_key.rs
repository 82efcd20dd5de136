//! Which rows of a view a condition can be true for, told by their key: a look into the state instead of all of it.
//!
//! `k = 1`, `k IN (1, 2)` and both of several columns, joined by AND, name keys where they name every column of the key. The
//! condition itself is applied to what is found, so that what is named here may be more, never less.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::catalog::Relation;

/// Keys that are looked up at most; for more the view is read.
const KEYS_MAX: usize = 10_000;

/// A column of the key, and the values that a condition leaves it.
type Named = (usize, Vec<ScalarValue>);

/// Whether a condition says which values a column of the key has.
pub(super) fn names_key(relation: &Relation, filter: &Expr) -> bool {
    named(relation, filter).is_some()
}

/// The keys that the conditions leave: each column of the key, a row a key. `None`: they do not name them.
pub(super) fn keys(relation: &Relation, filters: &[Expr]) -> BoundResult<Option<Vec<ArrayRef>>> {
    let named: Vec<Named> = filters
        .iter()
        .filter_map(|filter| named(relation, filter))
        .collect();
    let mut rows: Vec<Vec<ScalarValue>> = vec![Vec::new()];
    for column in &relation.key {
        let of_column = named.iter().filter(|(of, _)| of == column);
        // Where several conditions name a column, the shortest list says enough.
        let Some((_, values)) = of_column.min_by_key(|(_, values)| values.len()) else {
            return Ok(None);
        };
        if rows.len().saturating_mul(values.len()) > KEYS_MAX {
            return Ok(None);
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                values.iter().map(|value| {
                    let mut row = row.clone();
                    row.push(value.clone());
                    row
                })
            })
            .collect();
    }
    if relation.key.is_empty() {
        return Ok(None);
    }
    let columns = relation.key.iter().enumerate().map(|(place, &column)| {
        if rows.is_empty() {
            let data_type = relation.columns[column].data_type.clone();
            return Ok(arrow::array::new_empty_array(&data_type));
        }
        ScalarValue::iter_to_array(rows.iter().map(|row| row[place].clone()))
    });
    columns.collect::<BoundResult<Vec<_>>>().map(Some)
}

fn named(relation: &Relation, filter: &Expr) -> Option<Named> {
    let (column, values): (&Expr, Vec<&Expr>) = match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (left.as_ref(), right.as_ref()) {
            (column @ Expr::Column(_), value) | (value, column @ Expr::Column(_)) => {
                (column, vec![value])
            }
            _ => return None,
        },
        Expr::InList(list) if !list.negated => (&list.expr, list.list.iter().collect()),
        _ => return None,
    };
    let Expr::Column(column) = column else {
        return None;
    };
    let column = relation.schema.index_of(&column.name).ok()?;
    let data_type = &relation.columns[column].data_type;
    // Two floats of one value may be written in two ways.
    if !relation.key.contains(&column) || data_type.is_floating() {
        return None;
    }
    let mut known: Vec<ScalarValue> = Vec::with_capacity(values.len());
    for value in values {
        let Expr::Literal(value, _) = value else {
            return None;
        };
        // NULL equals nothing.
        if value.is_null() {
            continue;
        }
        let value = exactly(value, data_type)?;
        if !known.contains(&value) {
            known.push(value);
        }
    }
    Some((column, known))
}

/// The value in a column's type, if it is the same there.
fn exactly(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
    let from = value.data_type();
    if &from == data_type {
        return Some(value.clone());
    }
    let there = value.cast_to(data_type).ok()?;
    let back = there.cast_to(&from).ok()?;
    (!there.is_null() && &back == value).then_some(there)
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;
    use datafusion::prelude::{col, lit};
    use uuid::Uuid;

    use super::*;
    use crate::catalog::{Identity, Kind, bind_relation};
    use crate::diagnostic::Words;
    use crate::parse::statement::Statement;
    use crate::parse::{parse, split_statements};
    use crate::plan::Library;

    fn relation() -> Relation {
        let text = "CREATE TABLE t (n INT, k TEXT, x INT, d DOUBLE, PRIMARY KEY (k, n))";
        let statements = split_statements(text);
        let Ok(Statement::CreateRelation(create)) = parse(&statements[0]) else {
            panic!("it is a table");
        };
        let identity = Identity {
            id: Uuid::nil(),
            name: "t".to_owned(),
            kind: Kind::Table,
            sql: String::new(),
            created_ms: 0,
            references: Vec::new(),
        };
        let bound = bind_relation(&Library::new(), &create, identity, &Words::default());
        bound.unwrap().relation
    }

    fn looked_up(filters: &[Expr]) -> Option<Vec<String>> {
        let keys = keys(&relation(), filters).unwrap()?;
        let rows = (0..keys[0].len()).map(|row| {
            let cells = keys
                .iter()
                .map(|column| array_value_to_string(column, row).unwrap());
            cells.collect::<Vec<_>>().join(" ")
        });
        Some(rows.collect())
    }

    #[test]
    fn keys_are_looked_up_where_every_column_is_named() {
        let text = |text: &str| lit(ScalarValue::Utf8View(Some(text.to_owned())));
        let k = col("k").eq(text("a"));
        let n = lit(7_i32).eq(col("n"));
        let both = looked_up(&[n.clone(), k.clone()]).unwrap();
        let order: Vec<&str> = match relation().key.as_slice() {
            [0, 1] => vec!["7 a"],
            _ => vec!["a 7"],
        };
        assert_eq!(both, order);
        assert_eq!(looked_up(std::slice::from_ref(&k)), None);
        assert_eq!(looked_up(&[k.clone(), col("n").gt(lit(7_i32))]), None);
        assert_eq!(looked_up(&[k.clone(), col("x").eq(lit(7_i32))]), None);
        let several = col("n").in_list(
            vec![
                lit(1_i64),
                lit(ScalarValue::Int32(None)),
                lit(2_i64),
                lit(1_i64),
            ],
            false,
        );
        assert_eq!(looked_up(&[k.clone(), several.clone()]).unwrap().len(), 2);
        // The shorter list of two.
        assert_eq!(
            looked_up(&[several.clone(), k.clone(), n]).unwrap().len(),
            1
        );
        assert_eq!(
            looked_up(&[k.clone(), col("n").in_list(vec![lit(1)], true)]),
            None
        );
        // No number of the column is 1.5, and NULL is none.
        assert_eq!(looked_up(&[k.clone(), col("n").eq(lit(1.5))]), None);
        let nothing = col("n").eq(lit(ScalarValue::Int32(None)));
        assert_eq!(looked_up(&[k, nothing]), Some(Vec::new()));
    }

    #[test]
    fn more_keys_than_the_limit_are_read_with_the_view() {
        let text = |n: usize| lit(ScalarValue::Utf8View(Some(n.to_string())));
        let many = |count: usize| col("k").in_list((0..count).map(text).collect(), false);
        let n = col("n").in_list(vec![lit(1_i32), lit(2_i32)], false);
        assert!(looked_up(&[many(KEYS_MAX / 2), n.clone()]).is_some());
        assert!(looked_up(&[many(KEYS_MAX / 2 + 1), n]).is_none());
    }
}
