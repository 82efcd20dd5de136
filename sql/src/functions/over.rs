//! Functions of OVER. The examples are about `orders` of README.md.

use super::{Function, function};

/// Besides these every aggregate works.
pub(super) const OVER: &[Function] = &[
    function(
        "row_number",
        ") OVER ([PARTITION BY k] ORDER BY x",
        "numbers of the rows, from 1",
        "row_number() OVER (ORDER BY amount)",
    ),
    function(
        "rank",
        ") OVER ([PARTITION BY k] ORDER BY x",
        "numbers, of which equal rows share one; the next is as many further",
        "rank() OVER (ORDER BY customer)",
    ),
    function(
        "dense_rank",
        ") OVER ([PARTITION BY k] ORDER BY x",
        "the same without gaps",
        "dense_rank() OVER (ORDER BY customer)",
    ),
    function(
        "percent_rank",
        ") OVER ([PARTITION BY k] ORDER BY x",
        "the rank as a fraction from 0 to 1",
        "percent_rank() OVER (ORDER BY amount)",
    ),
    function(
        "cume_dist",
        ") OVER ([PARTITION BY k] ORDER BY x",
        "which fraction of the rows is not behind it",
        "cume_dist() OVER (ORDER BY amount)",
    ),
    function(
        "ntile",
        "n) OVER ([PARTITION BY k] ORDER BY x",
        "in which of n parts of one size the row lies",
        "ntile(2) OVER (ORDER BY amount)",
    ),
    function(
        "lag",
        "x [, n [, default]]) OVER ([PARTITION BY k] ORDER BY x",
        "x of the row n rows before, 1 if nothing is said",
        "lag(amount) OVER (PARTITION BY customer ORDER BY id)",
    ),
    function(
        "lead",
        "x [, n [, default]]) OVER ([PARTITION BY k] ORDER BY x",
        "x of the row n rows behind",
        "lead(amount, 1, 0) OVER (ORDER BY id)",
    ),
    function(
        "first_value",
        "x) OVER ([PARTITION BY k] ORDER BY x",
        "x of the first row of the frame",
        "first_value(amount) OVER (PARTITION BY customer ORDER BY id)",
    ),
    function(
        "last_value",
        "x) OVER ([PARTITION BY k] ORDER BY x",
        "x of the last row of the frame",
        "last_value(amount) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
    ),
    function(
        "nth_value",
        "x, n) OVER ([PARTITION BY k] ORDER BY x",
        "x of the n-th row of the frame",
        "nth_value(amount, 2) OVER (ORDER BY id)",
    ),
];
