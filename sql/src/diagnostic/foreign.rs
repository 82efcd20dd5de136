//! Functions of other systems that have another name or another form here.

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
    ("charindex", "strpos"),
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
}
