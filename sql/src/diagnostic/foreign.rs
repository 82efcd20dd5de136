//! Functions and types of other systems that have another name or another form here.

/// Name in lower case, and what stands for it; a bare name of ours is a replacement, anything else a sentence.
const FOREIGN: &[(&str, &str)] = &[
    ("cnt", "count"),
    ("todatetime", "CAST(x AS TIMESTAMP)"),
    ("approx_count_distinct", "count(DISTINCT x)"),
    ("ifnull", "coalesce"),
    ("nvl", "coalesce"),
    (
        "isnull",
        "x IS NULL is a condition; coalesce(x, y) is y where x is NULL",
    ),
    ("iff", "CASE WHEN condition THEN x ELSE y END"),
    ("iif", "CASE WHEN condition THEN x ELSE y END"),
    ("mid", "substr"),
    ("substring_index", "split_part"),
    ("charindex", "strpos(text, part): the text stands first"),
    ("getdate", "now"),
    ("sysdate", "now"),
    ("curdate", "current_date"),
    (
        "date_diff",
        "take one time from the other: a - b is an interval, EXTRACT(EPOCH FROM a - b) its seconds",
    ),
    ("str_to_date", "CAST(text AS DATE)"),
    ("tumble_start", WINDOW),
    ("tumble_end", WINDOW),
    ("tumble_rowtime", WINDOW),
    ("tumble_proctime", WINDOW),
    ("hop_start", WINDOW),
    ("hop_end", WINDOW),
    ("session_start", WINDOW),
    ("session_end", WINDOW),
    ("windowstart", WINDOW),
    ("windowend", WINDOW),
    ("time_bucket", WINDOW),
    ("json_extract_string", JSON),
    ("get_json_object", JSON),
    ("group_concat", "string_agg(text, ', ')"),
    ("earliest_by_offset", FIRST),
    ("latest_by_offset", FIRST),
    ("attr", FIRST),
    ("timestamp_trunc", TRUNC),
    ("datetime_trunc", TRUNC),
    ("tostartofsecond", TRUNC),
    ("tostartofminute", TRUNC),
    ("tostartofhour", TRUNC),
    ("tostartofday", TRUNC),
    ("tostartofweek", TRUNC),
    ("tostartofmonth", TRUNC),
    ("tostartofquarter", TRUNC),
    ("tostartofyear", TRUNC),
    ("tostartofinterval", BIN),
    ("tostartoffiveminutes", BIN),
    ("tostartoffifteenminutes", BIN),
    ("time_slice", BIN),
    ("toint32", "CAST(x AS INTEGER)"),
    ("toint64", "CAST(x AS BIGINT)"),
    ("tofloat64", "CAST(x AS DOUBLE PRECISION)"),
    ("tostring", "CAST(x AS TEXT)"),
    ("todate", "CAST(x AS DATE)"),
    ("parse_json", "CAST(x AS JSON)"),
    (
        "parse_timestamp",
        "to_timestamp(text), or CAST(text AS TIMESTAMP)",
    ),
    ("formatdatetime", "to_char(ts, 'YYYY-MM-DD')"),
    ("try_to_number", "TRY_CAST(x AS DECIMAL)"),
    ("cast", "CAST(x AS type)"),
    ("in", "IN stands behind a value: x IN (1, 2)"),
    ("like", "LIKE stands behind a value: x LIKE 'a%'"),
    (
        "between",
        "BETWEEN stands behind a value: x BETWEEN 1 AND 2",
    ),
    ("safe_divide", "x / nullif(y, 0)"),
    ("div0", "coalesce(x / nullif(y, 0), 0)"),
    ("zeroifnull", "coalesce(x, 0)"),
    ("nvl2", "CASE WHEN x IS NOT NULL THEN a ELSE b END"),
    ("multiif", "CASE WHEN a THEN x WHEN b THEN y ELSE z END"),
    ("countif", "count(*) FILTER (WHERE condition)"),
    ("count_if", "count(*) FILTER (WHERE condition)"),
    ("sumif", "sum(x) FILTER (WHERE condition)"),
    ("avgif", "avg(x) FILTER (WHERE condition)"),
    ("uniq", "count(DISTINCT x)"),
    ("uniqexact", "count(DISTINCT x)"),
    (
        "argmax",
        "last_value(x ORDER BY y): x of the row whose y is greatest",
    ),
    (
        "argmin",
        "first_value(x ORDER BY y): x of the row whose y is least",
    ),
    (
        "arg_max",
        "last_value(x ORDER BY y): x of the row whose y is greatest",
    ),
    (
        "arg_min",
        "first_value(x ORDER BY y): x of the row whose y is least",
    ),
    (
        "max_by",
        "last_value(x ORDER BY y): x of the row whose y is greatest",
    ),
    (
        "min_by",
        "first_value(x ORDER BY y): x of the row whose y is least",
    ),
    ("grouparray", "array_agg"),
    ("quantile", "percentile_cont(0.9) WITHIN GROUP (ORDER BY x)"),
    ("explode", "unnest(list), also in FROM"),
    ("flatten", "unnest(list), also in FROM"),
    ("generate_array", "generate_series"),
    (
        "regexp_matches",
        "regexp_extract_all(text, pattern) is an array of all matches, regexp_match(text, pattern) one of the groups of the first",
    ),
    (
        "json_object_keys",
        "json_keys(j) is an array of the names, unnest(json_keys(j)) makes rows of it",
    ),
    (
        "jsonb_object_keys",
        "json_keys(j) is an array of the names, unnest(json_keys(j)) makes rows of it",
    ),
    (
        "proctime",
        "now() in a condition; for the time of a record: INCLUDE timestamp AS c",
    ),
    (
        "current_watermark",
        "SELECT * FROM sys.watermarks tells how far event time is",
    ),
];

const WINDOW: &str = "a window stands in FROM, and its bounds are columns: SELECT window_start, count(*) FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY window_start";

const FIRST: &str = "say by what: first_value(x ORDER BY ts), last_value(x ORDER BY ts); INCLUDE offset AS c has the order of the log as a column";

const JSON: &str = "a field of the record is a column: declare it in CREATE SOURCE by its name";

const TRUNC: &str = "date_trunc('hour', ts)";

const BIN: &str = "date_bin(INTERVAL '5 minutes', ts)";

/// Types of other systems in upper case, and what stands for them.
const TYPES: &[(&str, &str)] = &[
    (
        "INT8",
        "TINYINT, SMALLINT, INTEGER and BIGINT have 1, 2, 4 and 8 bytes",
    ),
    ("INT16", "SMALLINT"),
    ("INT32", "INTEGER"),
    ("INT64", "BIGINT"),
    ("UINT8", "SMALLINT"),
    ("UINT16", "INTEGER"),
    ("UINT32", "BIGINT"),
    ("UINT64", "BIGINT, or DECIMAL(20, 0)"),
    ("FLOAT32", "REAL"),
    ("FLOAT64", "DOUBLE PRECISION"),
    ("NUMBER", "DECIMAL(p, s), or BIGINT"),
    ("BIGNUMERIC", "DECIMAL(38, s)"),
    ("MONEY", "DECIMAL(18, 2)"),
    ("STRING", "TEXT"),
    ("VARCHAR2", "TEXT, or VARCHAR(n)"),
    ("NVARCHAR", "TEXT, or VARCHAR(n)"),
    ("CLOB", "TEXT"),
    ("FIXEDSTRING", "TEXT, or VARCHAR(n)"),
    ("LOWCARDINALITY", "TEXT"),
    ("ENUM", "TEXT"),
    ("ENUM8", "TEXT"),
    ("UUID", "TEXT"),
    ("VARIANT", "JSON"),
    ("OBJECT", "JSON, or STRUCT<a TEXT, …>"),
    ("SUPER", "JSON"),
    ("HSTORE", "JSON, or MAP<TEXT, TEXT>"),
    ("DATETIME", "TIMESTAMP"),
    ("DATETIME64", "TIMESTAMP"),
    ("TIMESTAMP_LTZ", "TIMESTAMPTZ"),
    ("TIMESTAMP_NTZ", "TIMESTAMP"),
    ("TIMESTAMP_TZ", "TIMESTAMPTZ"),
    ("BLOB", "BYTEA"),
    ("RAW", "BYTEA"),
    ("BIT", "BOOLEAN"),
    (
        "NULLABLE",
        "each column may be NULL, if it is not declared NOT NULL",
    ),
    ("SERIAL", "BIGINT: who writes gives the numbers"),
    ("BIGSERIAL", "BIGINT: who writes gives the numbers"),
];

/// What stands for a type of another system: `INT64`, `Nullable(String)`.
pub(crate) fn type_stands_for(name: &str) -> Option<&'static str> {
    let head = name.split(['(', '<']).next().unwrap_or(name).trim();
    let found = |(known, _): &&(&str, &str)| known.eq_ignore_ascii_case(head);
    TYPES.iter().find(found).map(|(_, stands)| *stands)
}

/// What stands for a function of another system.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Another name.
    Name(&'static str),
    /// Another form.
    Form(&'static str),
}

/// What stands for `name`, if there is something by that name elsewhere. `known`: the functions that there are.
pub(super) fn stands_for(name: &str, known: &[String]) -> Option<Stands> {
    let lower = name.to_lowercase();
    let (_, stands) = FOREIGN.iter().find(|(other, _)| *other == lower)?;
    let is_name = stands
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match (is_name, *stands == JSON) {
        (true, _) => Some(Stands::Name(stands)).filter(|_| known.iter().any(|name| name == stands)),
        // Where there are functions of JSON by now, the nearest of them says more.
        (false, true) if known.iter().any(|name| name.starts_with("json")) => None,
        (false, _) => Some(Stands::Form(stands)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_replacement_and_a_form_a_sentence() {
        let known = ["count".to_owned()];
        assert_eq!(stands_for("CNT", &known), Some(Stands::Name("count")));
        assert_eq!(stands_for("mid", &known), None, "there is no substr here");
        assert_eq!(
            stands_for("tumble_start", &known),
            Some(Stands::Form(WINDOW))
        );
        assert_eq!(stands_for("count", &known), None);
    }

    #[test]
    fn a_type_is_known_by_its_head() {
        assert_eq!(
            type_stands_for("Nullable(Int64)"),
            type_stands_for("NULLABLE")
        );
        assert_eq!(type_stands_for("int64"), Some("BIGINT"));
        assert_eq!(type_stands_for("TEXT"), None);
    }
}
