//! Functions of conditions and NULL.

use super::super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "coalesce",
        "x, …",
        "the first that is not NULL",
        "coalesce(NULL, 1)",
    ),
    function(
        "nullif",
        "x, y",
        "NULL where both are equal, else x",
        "nullif(1, 1)",
    ),
    function("greatest", "x, …", "the greatest value", "greatest(1, 2)"),
    function("least", "x, …", "the least value", "least(1, 2)"),
    function(
        "if",
        "condition, x, y",
        "x where it holds, else y",
        "if(1 > 2, 'a', 'b')",
    ),
    function(
        "num_nulls",
        "x, …",
        "how many are NULL",
        "num_nulls(1, NULL)",
    ),
    function(
        "num_nonnulls",
        "x, …",
        "how many are not",
        "num_nonnulls(1, NULL)",
    ),
];
