//! Evaluation of batches that fail as a whole, in part, or without a row to blame.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;

/// 100 / x. Fails on a zero; also, as long as it is not alone, in a batch that holds a row of 13.
#[derive(Debug)]
struct Fragile {
    names_rows: bool,
}

impl BatchExpr for Fragile {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let values = batch.column(0).as_primitive::<Int64Type>();
        let zeros = values.values().iter().enumerate().filter(|(_, x)| **x == 0);
        let rows: Vec<(usize, String)> = zeros.map(|(row, _)| (row, "zero".to_owned())).collect();
        if !rows.is_empty() {
            return Err(ExprError {
                message: "zero".to_owned(),
                rows: if self.names_rows { rows } else { Vec::new() },
            });
        }
        if values.len() > 1 && values.values().contains(&13) {
            return Err(ExprError::new("no row of it fails"));
        }
        Ok(Arc::new(values.unary::<_, Int64Type>(|x| 100 / x)))
    }
}

fn batch(values: &[i64]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
    let column = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

#[test]
fn every_row_that_passes_alone_has_its_value_and_every_other_one_is_named() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for names_rows in [false, true] {
        for _ in 0..200 {
            let values: Vec<i64> = (0..random.usize(0..40))
                .map(|_| random.choice([0, 1, 7, 13]).unwrap())
                .collect();
            let evaluated = evaluate(&Fragile { names_rows }, &batch(&values)).unwrap();
            let bad: Vec<usize> = evaluated.bad.iter().map(|(row, _)| *row).collect();
            let zeros: Vec<usize> = (0..values.len()).filter(|&row| values[row] == 0).collect();
            assert_eq!(bad, zeros, "seed {seed}: {values:?}");
            assert!(evaluated.bad.iter().all(|(_, reason)| reason == "zero"));
            let found: Vec<i64> = match &evaluated.values {
                Some(found) => found.as_primitive::<Int64Type>().values().to_vec(),
                None => Vec::new(),
            };
            let good = values.iter().filter(|&&x| x != 0);
            let wanted: Vec<i64> = good.map(|x| 100 / x).collect();
            assert_eq!(found, wanted, "seed {seed}: {values:?}");
        }
    }
}

#[test]
fn where_all_rows_fail_there_are_no_values() {
    let evaluated = evaluate(&Fragile { names_rows: false }, &batch(&[0, 0, 0])).unwrap();
    assert!(evaluated.values.is_none());
    assert_eq!(evaluated.bad.len(), 3);
    let good = evaluated.good(3).unwrap();
    assert_eq!(good.true_count(), 0);
}
