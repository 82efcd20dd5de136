//! The built-in functions: for completion, `\df`, errors about calls, and the guide; a test runs every example.

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it answers.
    pub what: &'static str,
    /// A call; `None` where only a query of a relation shows it (aggregates).
    pub example: Option<&'static str>,
}

const fn scalar(
    name: &'static str,
    takes: &'static str,
    what: &'static str,
    example: &'static str,
) -> Function {
    Function {
        name,
        takes,
        what,
        example: Some(example),
    }
}

const fn aggregate(name: &'static str, takes: &'static str, what: &'static str) -> Function {
    Function {
        name,
        takes,
        what,
        example: None,
    }
}

/// The functions that people look for, by subject. Aggregates are those that views can keep.
pub const FUNCTIONS: &[Function] = &[
    aggregate(
        "count",
        "* | [DISTINCT] x",
        "rows, or values that are not NULL",
    ),
    aggregate("sum", "x", "the sum"),
    aggregate("min", "x", "the least value"),
    aggregate("max", "x", "the greatest value"),
    aggregate(
        "avg",
        "x",
        "the mean; of DECIMAL with 16 digits behind the point where there is room for them",
    ),
    aggregate("bool_and", "b", "whether all are true"),
    aggregate("every", "b", "whether all are true"),
    aggregate("bool_or", "b", "whether any is true"),
    aggregate("bit_and", "x", "bits that all have"),
    aggregate("bit_or", "x", "bits that any has"),
    aggregate("bit_xor", "x", "bits that an odd number of them has"),
    aggregate(
        "string_agg",
        "text, delimiter ORDER BY …",
        "the texts, joined in that order; without ORDER BY in any",
    ),
    aggregate(
        "first_value",
        "x ORDER BY …",
        "the value of the first row; views ask for the order",
    ),
    aggregate("last_value", "x ORDER BY …", "the value of the last row"),
    aggregate("nth_value", "x, n ORDER BY …", "the value of the n-th row"),
    aggregate("stddev", "x", "standard deviation of a sample"),
    aggregate("stddev_pop", "x", "standard deviation of all"),
    aggregate("var_samp", "x", "variance of a sample"),
    aggregate("variance", "x", "variance of a sample"),
    aggregate("var_pop", "x", "variance of all"),
    aggregate("covar_samp", "y, x", "covariance of a sample"),
    aggregate("covar_pop", "y, x", "covariance of all"),
    aggregate("corr", "y, x", "correlation"),
    aggregate(
        "regr_slope",
        "y, x",
        "the slope of the line through the points",
    ),
    aggregate("regr_intercept", "y, x", "where that line meets x = 0"),
    aggregate("regr_r2", "y, x", "the square of the correlation"),
    aggregate("regr_count", "y, x", "points"),
    aggregate("regr_avgx", "y, x", "the mean of x"),
    aggregate("regr_avgy", "y, x", "the mean of y"),
    aggregate("regr_sxx", "y, x", "squared distances of x from its mean"),
    aggregate("regr_syy", "y, x", "squared distances of y from its mean"),
    aggregate("regr_sxy", "y, x", "products of both distances"),
    aggregate(
        "median",
        "x",
        "the value at half of the way, between its neighbours",
    ),
    aggregate(
        "percentile_cont",
        "f) WITHIN GROUP (ORDER BY x",
        "the value at the fraction f of the way, between its neighbours",
    ),
    aggregate(
        "percentile_disc",
        "f) WITHIN GROUP (ORDER BY x",
        "the first value that the fraction f of all does not pass",
    ),
    aggregate(
        "mode",
        ") WITHIN GROUP (ORDER BY x",
        "the most frequent value",
    ),
    aggregate("approx_distinct", "x", "about how many values there are"),
    scalar(
        "coalesce",
        "x, …",
        "the first that is not NULL",
        "coalesce(NULL, 1)",
    ),
    scalar(
        "nullif",
        "x, y",
        "NULL where both are equal, else x",
        "nullif(1, 1)",
    ),
    scalar("greatest", "x, …", "the greatest value", "greatest(1, 2)"),
    scalar("least", "x, …", "the least value", "least(1, 2)"),
    scalar("abs", "x", "without its sign", "abs(-1)"),
    scalar("round", "x [, digits]", "rounded", "round(2.345, 2)"),
    scalar("ceil", "x", "the next integer above", "ceil(1.2)"),
    scalar("floor", "x", "the next integer below", "floor(1.8)"),
    scalar(
        "trunc",
        "x",
        "without what is behind the point",
        "trunc(1.8)",
    ),
    scalar("mod", "x, y", "what x / y leaves", "mod(7, 3)"),
    scalar("sign", "x", "-1, 0 or 1", "sign(-3)"),
    scalar("power", "x, y", "x to the power of y", "power(2, 10)"),
    scalar("sqrt", "x", "square root", "sqrt(16)"),
    scalar("exp", "x", "e to the power of x", "exp(1)"),
    scalar("ln", "x", "natural logarithm", "ln(10)"),
    scalar("log10", "x", "logarithm to base 10", "log10(100)"),
    scalar("lower", "text", "in lower case", "lower('A')"),
    scalar("upper", "text", "in upper case", "upper('a')"),
    scalar(
        "initcap",
        "text",
        "each word with a capital",
        "initcap('new york')",
    ),
    scalar("length", "text", "characters", "length('abc')"),
    scalar("octet_length", "text", "bytes", "octet_length('é')"),
    scalar(
        "substr",
        "text, from [, length]",
        "a part, counted from 1",
        "substr('abcdef', 2, 3)",
    ),
    scalar(
        "left",
        "text, n",
        "the first n characters",
        "left('abc', 2)",
    ),
    scalar(
        "right",
        "text, n",
        "the last n characters",
        "right('abc', 2)",
    ),
    scalar("trim", "text", "without spaces at both ends", "trim(' a ')"),
    scalar(
        "ltrim",
        "text",
        "without spaces at its start",
        "ltrim(' a')",
    ),
    scalar("rtrim", "text", "without spaces at its end", "rtrim('a ')"),
    scalar(
        "lpad",
        "text, length [, fill]",
        "filled at the left",
        "lpad('7', 3, '0')",
    ),
    scalar(
        "rpad",
        "text, length [, fill]",
        "filled at the right",
        "rpad('a', 3)",
    ),
    scalar(
        "replace",
        "text, from, to",
        "every from as to",
        "replace('a-b', '-', '+')",
    ),
    scalar("reverse", "text", "from its end", "reverse('abc')"),
    scalar("repeat", "text, n", "n times", "repeat('ab', 2)"),
    scalar(
        "strpos",
        "text, part",
        "where a part begins, from 1; 0 without",
        "strpos('abc', 'b')",
    ),
    scalar(
        "starts_with",
        "text, part",
        "whether it begins so",
        "starts_with('abc', 'a')",
    ),
    scalar(
        "split_part",
        "text, at, n",
        "the n-th part",
        "split_part('a,b', ',', 2)",
    ),
    scalar(
        "concat",
        "x, …",
        "one behind the other; NULL is nothing",
        "concat('a', 1)",
    ),
    scalar(
        "concat_ws",
        "between, x, …",
        "the same with something between",
        "concat_ws('-', 'a', 'b')",
    ),
    scalar("chr", "n", "the character of a number", "chr(65)"),
    scalar(
        "ascii",
        "text",
        "the number of its first character",
        "ascii('A')",
    ),
    scalar(
        "regexp_replace",
        "text, pattern, to [, flags]",
        "matches replaced",
        "regexp_replace('a1b2', '[0-9]', '', 'g')",
    ),
    scalar(
        "regexp_like",
        "text, pattern",
        "whether it matches",
        "regexp_like('abc', '^a')",
    ),
    scalar(
        "date_trunc",
        "'unit', ts",
        "the start of the unit",
        "date_trunc('hour', TIMESTAMP '2024-05-01 10:20:30')",
    ),
    scalar(
        "date_part",
        "'unit', ts",
        "a part as a number",
        "date_part('hour', TIMESTAMP '2024-05-01 10:20:30')",
    ),
    scalar(
        "date_bin",
        "interval, ts, origin",
        "the start of the interval it lies in",
        "date_bin(INTERVAL '15 minutes', TIMESTAMP '2024-05-01 10:20:30', TIMESTAMP '2024-01-01 00:00:00')",
    ),
    scalar(
        "to_char",
        "ts, 'pattern'",
        "a time by PostgreSQL's patterns",
        "to_char(TIMESTAMP '2024-05-01 10:20:30', 'YYYY-MM-DD HH24:MI')",
    ),
    scalar(
        "strftime",
        "ts, 'pattern'",
        "a time by C's patterns",
        "strftime(TIMESTAMP '2024-05-01 10:20:30', '%Y-%m-%d')",
    ),
    scalar(
        "to_timestamp",
        "seconds | text",
        "a time",
        "to_timestamp(1714557630)",
    ),
    scalar(
        "to_timestamp_millis",
        "ms",
        "a time from ms since 1970",
        "to_timestamp_millis(1714557630000)",
    ),
    scalar(
        "from_unixtime",
        "seconds",
        "a time from seconds since 1970",
        "from_unixtime(1714557630)",
    ),
    scalar(
        "encode",
        "bytes, 'hex' | 'base64'",
        "bytes as text",
        "encode('a', 'hex')",
    ),
    scalar(
        "decode",
        "text, 'hex' | 'base64'",
        "text as bytes",
        "decode('61', 'hex')",
    ),
    scalar(
        "json_extract_path",
        "j, name, …",
        "a part of a JSON document by names",
        "json_extract_path('{\"a\": {\"b\": 1}}', 'a', 'b')",
    ),
    scalar(
        "json_extract_path_text",
        "j, name, …",
        "the same as text",
        "json_extract_path_text('{\"a\": {\"b\": 1}}', 'a', 'b')",
    ),
    scalar(
        "json_value",
        "j, path",
        "a scalar as text by a JSON path; NULL for an object or array",
        "json_value('{\"a\": [1]}', '$.a[0]')",
    ),
    scalar(
        "json_query",
        "j, path",
        "the part as JSON",
        "json_query('{\"a\": [1]}', '$.a')",
    ),
    scalar(
        "json_exists",
        "j, path",
        "whether there is such a part",
        "json_exists('{\"a\": [1]}', '$.a')",
    ),
    scalar(
        "extractjsonfield",
        "text, path",
        "as in ksqlDB: the part as text",
        "extractjsonfield('{\"a\": {\"b\": 1}}', '$.a')",
    ),
    scalar(
        "json_array_length",
        "j",
        "elements of a JSON array",
        "json_array_length('[1, 2]')",
    ),
    scalar(
        "json_typeof",
        "j",
        "object, array, string, number, boolean or null",
        "json_typeof('[]')",
    ),
    scalar("to_json", "x", "any value as JSON", "to_json(ARRAY[1, 2])"),
    scalar(
        "json_build_object",
        "name, x, …",
        "an object",
        "json_build_object('a', 1)",
    ),
    scalar(
        "json_build_array",
        "x, …",
        "an array",
        "json_build_array(1, 'a')",
    ),
    scalar(
        "cardinality",
        "array",
        "elements of an array",
        "cardinality(ARRAY[1, 2])",
    ),
    scalar(
        "array_length",
        "array, 1",
        "the same, NULL for none",
        "array_length(ARRAY[1, 2], 1)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_lists_the_functions() {
        let mut expected = String::new();
        for function in FUNCTIONS {
            let takes = function.takes.replace('|', "\\|");
            let example = function.example.map(|call| format!("`{call}` "));
            expected += &format!(
                "| `{}({takes})` | {} | {}|\n",
                function.name,
                function.what,
                example.unwrap_or_default()
            );
        }
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        let guide = std::fs::read_to_string(guide).expect("the reference");
        assert!(
            guide.contains(&expected),
            "docs/reference.md should hold\n{expected}"
        );
    }
}
