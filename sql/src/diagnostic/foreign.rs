//! Functions of other systems that have another name or another form here.

/// Name in lower case, and what stands for it; a bare name of ours is a replacement, anything else a sentence.
const FOREIGN: &[(&str, &str)] = &[
    ("cnt", "count"),
    ("mod", "mod(x, y): what x / y leaves; the same as x % y"),
    (
        "json_agg",
        "json_agg(x [ORDER BY …]): an array of all values",
    ),
    (
        "jsonb_agg",
        "jsonb_agg(x [ORDER BY …]): an array of all values",
    ),
    ("to_number", "CAST(text AS DECIMAL(p, s))"),
    ("todatetime", "CAST(x AS TIMESTAMP)"),
    ("collect_list", "array_agg"),
    ("collect_set", "array_agg(DISTINCT x)"),
    ("approx_count_distinct", "count(DISTINCT x)"),
    ("len", "length"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("ifnull", "coalesce"),
    ("nvl", "coalesce"),
    (
        "isnull",
        "x IS NULL is a condition; coalesce(x, y) is y where x is NULL",
    ),
    ("iff", "CASE WHEN condition THEN x ELSE y END"),
    ("iif", "CASE WHEN condition THEN x ELSE y END"),
    ("instr", "strpos"),
    ("locate", "strpos"),
    ("mid", "substr"),
    ("substring_index", "split_part"),
    ("charindex", "strpos"),
    ("getdate", "now"),
    ("sysdate", "now"),
    ("curdate", "current_date"),
    ("dateadd", "add an interval: ts + INTERVAL '1 day'"),
    ("date_add", "add an interval: ts + INTERVAL '1 day'"),
    ("date_sub", "take an interval away: ts - INTERVAL '1 day'"),
    (
        "datediff",
        "take one time from the other: a - b is an interval, EXTRACT(EPOCH FROM a - b) its seconds",
    ),
    (
        "date_diff",
        "take one time from the other: a - b is an interval, EXTRACT(EPOCH FROM a - b) its seconds",
    ),
    (
        "timestampdiff",
        "take one time from the other: EXTRACT(EPOCH FROM a - b) is the difference in seconds",
    ),
    (
        "date_format",
        "to_char(ts, 'YYYY-MM-DD HH24:MI') or strftime(ts, '%Y-%m-%d')",
    ),
    ("format_date", "to_char(ts, 'YYYY-MM-DD')"),
    ("timestamptostring", "to_char(ts, 'YYYY-MM-DD HH24:MI:SS')"),
    ("stringtotimestamp", "CAST(text AS TIMESTAMP)"),
    ("str_to_date", "CAST(text AS DATE)"),
    ("unix_timestamp", "EXTRACT(EPOCH FROM ts)"),
    ("hour", "EXTRACT(HOUR FROM ts)"),
    ("minute", "EXTRACT(MINUTE FROM ts)"),
    ("year", "EXTRACT(YEAR FROM ts)"),
    ("month", "EXTRACT(MONTH FROM ts)"),
    ("dayofweek", "EXTRACT(DOW FROM ts)"),
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
    ("json_extract", JSON),
    ("json_extract_string", JSON),
    ("json_value", JSON),
    ("json_query", JSON),
    ("json_get", JSON),
    ("json_get_str", JSON),
    ("get_json_object", JSON),
    ("extractjsonfield", JSON),
    ("group_concat", "string_agg(text, ', ')"),
    ("listagg", "string_agg(text, ', ')"),
];

const WINDOW: &str = "a window stands in FROM, and its bounds are columns: SELECT window_start, count(*) FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY window_start";

const JSON: &str = "a field of the record is a column: declare it in CREATE SOURCE by its name";

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
        assert_eq!(stands_for("len", &known), None, "there is no length here");
        assert_eq!(
            stands_for("tumble_start", &known),
            Some(Stands::Form(WINDOW))
        );
        assert_eq!(stands_for("count", &known), None);
    }
}
