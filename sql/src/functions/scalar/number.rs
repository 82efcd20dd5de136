//! Functions of numbers.

use super::super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", "x", "without its sign", "abs(-1)"),
    function("round", "x [, digits]", "rounded", "round(2.345, 2)"),
    function("ceil", "x", "the next integer above", "ceil(1.2)"),
    function("floor", "x", "the next integer below", "floor(1.8)"),
    function(
        "trunc",
        "x",
        "without what is behind the point",
        "trunc(1.8)",
    ),
    function("mod", "x, y", "what x / y leaves", "mod(7, 3)"),
    function("div", "x, y", "the integer part of x / y", "div(7, 2)"),
    function("sign", "x", "-1, 0 or 1", "sign(-3)"),
    function("power", "x, y", "x to the power of y", "power(2, 10)"),
    function("sqrt", "x", "square root", "sqrt(16)"),
    function("exp", "x", "e to the power of x", "exp(1)"),
    function("ln", "x", "natural logarithm", "ln(10)"),
    function("log10", "x", "logarithm to base 10", "log10(100)"),
    function(
        "truncate",
        "x [, digits]",
        "as trunc",
        "truncate(42.324, 2)",
    ),
    function("e", "", "the base of the natural logarithm", "e()"),
    function(
        "width_bucket",
        "x, low, high, n",
        "in which of n equal parts x lies, from 1; 0 before them, n + 1 behind",
        "width_bucket(5, 0, 10, 5)",
    ),
    function(
        "to_number",
        "text, 'pattern'",
        "a number read by PostgreSQL's pattern, which is a constant",
        "to_number('1,234.5', '9,999.9')",
    ),
    function(
        "geo_distance",
        "latitude, longitude, latitude, longitude [, 'KM' | 'MI']",
        "how far two places on the earth are apart",
        "geo_distance(37.4133, -122.1162, 37.7749, -122.4194)",
    ),
    function("ceiling", "x", "as ceil", "ceiling(1.2)"),
];
