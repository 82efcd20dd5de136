//! What a value is, what comes by chance, and where this is.

use super::super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("typeof", "x", "the type of a value", "typeof(1)"),
    function(
        "pg_typeof",
        "x",
        "the same by PostgreSQL's name",
        "pg_typeof(1)",
    ),
    function("uuid", "", "a random UUID; not in views", "uuid()"),
    function("gen_random_uuid", "", "the same", "gen_random_uuid()"),
    function(
        "rand",
        "",
        "a random number from 0 to 1, as random(); not in views",
        "rand()",
    ),
    function("version", "", "the version of this program", "version()"),
    function(
        "current_user",
        "",
        "who asks, the same for all: without parentheses",
        "current_user",
    ),
    function(
        "session_user",
        "",
        "the same: without parentheses",
        "session_user",
    ),
    function(
        "current_database",
        "",
        "the name of the database",
        "current_database()",
    ),
    function(
        "current_catalog",
        "",
        "the same: without parentheses",
        "current_catalog",
    ),
    function(
        "current_schema",
        "",
        "the schema that all objects are in",
        "current_schema()",
    ),
];
