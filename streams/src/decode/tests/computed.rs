//! Columns that are computed: of rows, of rows that fail, of deletes.

use std::sync::Arc;

use super::*;
use crate::test_plan::{FnExpr, hundredth};
use crate::{ColumnExpr, Computation};

fn computed(name: &str, expr: Arc<dyn crate::BatchExpr>, inputs: &[&str]) -> SourceColumn {
    let origin = ColumnOrigin::Computed(Computation {
        expr,
        inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        text: name.to_owned(),
    });
    from(column(name, DataType::Int64), origin)
}

/// `per` before the columns that it is computed from, which stand in another order than it names them in.
fn per() -> Vec<SourceColumn> {
    vec![
        computed("per", Arc::new(FnExpr(hundredth)), &["name", "n"]),
        column("n", DataType::Int64),
        column("name", DataType::Utf8View),
    ]
}

#[test]
fn rows_have_what_is_computed_and_those_that_fail_are_failures() {
    let mut decoder = Decoder::new(&spec(per())).unwrap();
    let decoded = decoder.decode(&records(&[
        Some(br#"{"n":4,"name":"a"}"#),
        Some(br#"{"n":0,"name":"b"}"#),
        Some(br#"{"n":"x"}"#),
        Some(br#"{"name":"c"}"#),
        Some(br#"{"n":5,"per":7}"#),
    ]));
    assert_eq!(
        rows(&decoded),
        [
            r#"{"per":25,"n":4,"name":"a"}"#,
            r#"{"per":null,"n":null,"name":"c"}"#,
            r#"{"per":20,"n":5,"name":null}"#,
        ]
    );
    assert_eq!(decoded.origin().values(), &[0, 3, 4]);
    let errors: Vec<_> = (decoded.errors.iter())
        .map(|failure| (failure.row, failure.offset, failure.reason.as_str()))
        .collect();
    assert_eq!(
        errors,
        [
            (
                1,
                101,
                r#"column "per" cannot be computed: division by zero"#
            ),
            (2, 102, r#"column "n" is BIGINT, found the text "x""#),
        ]
    );
    let none = decoder.decode(&records(&[Some(br#"{"n":0}"#)]));
    assert_eq!((rows(&none).len(), none.errors.len()), (0, 1));
}

#[test]
fn null_in_one_that_is_not_null_is_a_failure() {
    let columns = vec![
        column("n", DataType::Int64),
        required(computed("m", Arc::new(ColumnExpr(0)), &["n"])),
    ];
    let mut decoder = Decoder::new(&spec(columns)).unwrap();
    assert_eq!(outcome(&mut decoder, br#"{"n":1}"#), r#"{"n":1,"m":1}"#);
    assert_eq!(
        outcome(&mut decoder, b"{}"),
        r#"column "m" is NOT NULL, what it is computed from gives NULL"#
    );
}

#[test]
fn nothing_is_computed_of_a_delete() {
    let mut spec = table(KeyFormat::String);
    spec.columns[2].data_type = DataType::Int64;
    spec.columns.push(required(computed(
        "per",
        Arc::new(FnExpr(hundredth)),
        &["name", "size"],
    )));
    let mut decoder = Decoder::new(&spec).unwrap();
    let decoded = decoder.decode(&keyed(&[
        (Some(b"UA"), Some(br#"{"name":"United","size":4}"#)),
        (Some(b"UA"), None),
        (Some(b"B6"), Some(br#"{"name":"JetBlue","size":0}"#)),
        (Some(b"AA"), Some(br#"{"name":"American","size":50}"#)),
    ]));
    assert_eq!(
        rows(&decoded),
        [
            r#"{"code":"UA","name":"United","size":4,"per":25}"#,
            r#"{"code":"UA","name":"","size":null,"per":null}"#,
            r#"{"code":"AA","name":"American","size":50,"per":2}"#,
        ]
    );
    let deleted = decoded.deleted.as_ref().unwrap();
    assert_eq!(
        deleted.iter().flatten().collect::<Vec<_>>(),
        [false, true, false]
    );
    assert_eq!(decoded.origin().values(), &[0, 1, 3]);
    assert_eq!(decoded.errors[0].row, 2);
    let alone = decoder.decode(&keyed(&[(Some(b"UA"), None)]));
    assert_eq!((rows(&alone).len(), alone.errors.len()), (1, 0));
}

#[test]
fn what_is_read_for_it_is_part_of_the_source() {
    let columns = vec![computed("m", Arc::new(ColumnExpr(0)), &["n"])];
    let error = Decoder::new(&spec(columns)).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"values of topic flights: column "m" is computed from "n", which is not read"#
    );
}
