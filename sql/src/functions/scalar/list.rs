//! Functions of arrays and maps.

use super::super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "cardinality",
        "array",
        "elements of an array",
        "cardinality(ARRAY[1, 2])",
    ),
    function(
        "array_length",
        "array, 1",
        "the same, NULL for none",
        "array_length(ARRAY[1, 2], 1)",
    ),
    function(
        "array_upper",
        "array, 1",
        "as array_length",
        "array_upper(ARRAY[1, 2], 1)",
    ),
    function(
        "array_lower",
        "array, 1",
        "1, NULL for none",
        "array_lower(ARRAY[1, 2], 1)",
    ),
    function(
        "array_remove",
        "array, x",
        "without all that are x",
        "array_remove(ARRAY[1, 2, 1], 1)",
    ),
    function(
        "array_replace",
        "array, x, y",
        "with y for every x",
        "array_replace(ARRAY[1, 2, 1], 1, 9)",
    ),
    function(
        "array_prepend",
        "x, array | array, x",
        "with an element before; the second order is Flink's",
        "array_prepend(1, ARRAY[2])",
    ),
    function(
        "array_fill",
        "x, ARRAY[n]",
        "n times x",
        "array_fill(0, ARRAY[3])",
    ),
    function(
        "slice",
        "array, from, to",
        "the elements from one place to another",
        "slice(ARRAY[1, 2, 3], 1, 2)",
    ),
    function(
        "array_dims",
        "array",
        "its bounds as a text",
        "array_dims(ARRAY[1, 2])",
    ),
    function(
        "trim_array",
        "array, n",
        "without the last n",
        "trim_array(ARRAY[1, 2, 3], 1)",
    ),
    function(
        "element",
        "array",
        "its only element; several are an error",
        "element(ARRAY[1])",
    ),
    function(
        "map",
        "keys, values",
        "a map of two arrays; MAP[k, v, …] is one of keys and values in turn",
        "map(ARRAY['a', 'b'], ARRAY[1, 2])",
    ),
    function(
        "map_from_arrays",
        "keys, values",
        "as map",
        "map_from_arrays(ARRAY['a'], ARRAY[1])",
    ),
    function(
        "as_map",
        "keys, values",
        "as map",
        "as_map(ARRAY['a'], ARRAY[1])",
    ),
    function(
        "map_union",
        "map, map",
        "the entries of both; the second counts where both have a key",
        "map_union(MAP['a', 1, 'b', 2], MAP['b', 3])",
    ),
    function(
        "entries",
        "map [, ordered]",
        "its entries k and v as an array, by their keys if wanted",
        "entries(MAP['b', 1, 'a', 2], true)",
    ),
    function(
        "array_position",
        "array, x [, from]",
        "where x first is, from 1",
        "array_position(ARRAY[1, 2], 2)",
    ),
];
