//! PURE: signals: rows of the signal table, or messages of the signal topic, that ask for something, as Debezium's do.
//!
//! ```text
//! id, type, data
//! 'ad-hoc-1', 'execute-snapshot',
//!   '{"data-collections": ["public.t"], "type": "blocking",
//!     "additional-conditions": [{"data-collection": "public.t", "filter": "id < 100"}]}'
//! ```
//!
//! `execute-snapshot` reads tables again, or for the first time: `incremental` (the default) in chunks while the stream goes
//! on, `blocking` while it waits. `pause-snapshot`, `resume-snapshot` and `stop-snapshot` (of the tables that it names, or of
//! all) are for incremental ones. `log` writes its message to the program's log.

use serde_json::{Value as Json, json};

use super::filter::Patterns;
use super::pgoutput::{Cell, Tuple};
use super::view::Scan;

/// What signals may ask for.
const KINDS: [&str; 5] = [
    "execute-snapshot",
    "stop-snapshot",
    "pause-snapshot",
    "resume-snapshot",
    "log",
];

/// What a signal asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// Read these tables.
    Read(Request),
    /// Read these no longer, or none where it names none.
    Stop(Vec<String>),
    /// Read nothing for now.
    Pause,
    /// Go on.
    Resume,
    /// Write this to the log.
    Log(String),
}

/// Tables that are to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// Expressions of `schema.table`.
    pub(super) tables: Vec<String>,
    /// Conditions in SQL by `schema.table`; rows that meet one of a table's are read.
    pub(super) conditions: Vec<(String, String)>,
    /// Whether rows are marked as incremental.
    pub(super) incremental: bool,
}

/// What a new row of the signal table asks for.
///
/// # Errors
/// Why it asks for nothing that is known.
pub(super) fn signal(row: &Tuple) -> Result<Signal, String> {
    let column = |place: usize| match row.get(place) {
        Some(Cell::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    of(&column(1), &column(2))
}

/// What a message of the signal topic asks for: `{"type": "…", "data": {…}}`.
///
/// # Errors
/// Why it asks for nothing that is known.
pub(super) fn message(value: &[u8]) -> Result<Signal, String> {
    let value: Json =
        serde_json::from_slice(value).map_err(|error| format!("it is no JSON ({error})"))?;
    let kind = value.get("type").and_then(Json::as_str).unwrap_or_default();
    let data = match value.get("data") {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(data) => data.to_string(),
    };
    of(kind, &data)
}

fn of(kind: &str, data: &str) -> Result<Signal, String> {
    // Debezium takes these without data.
    let bare = matches!(kind, "stop-snapshot" | "pause-snapshot" | "resume-snapshot");
    let data = if bare && data.trim().is_empty() {
        "{}"
    } else {
        data
    };
    if !KINDS.contains(&kind) {
        return Err(format!(
            "its type \"{kind}\" is not supported; there are {}",
            KINDS.join(", ")
        ));
    }
    let data: Json = serde_json::from_str(data)
        .map_err(|error| format!("its data is no JSON ({error}): {data}"))?;
    if bare
        && data
            .get("type")
            .and_then(Json::as_str)
            .is_some_and(|of| !of.eq_ignore_ascii_case("incremental"))
    {
        return Err(format!("{kind} is for incremental snapshots"));
    }
    match kind {
        "execute-snapshot" => Request::of_signal(&data).map(Signal::Read),
        "stop-snapshot" => tables_of(&data).map(Signal::Stop),
        "pause-snapshot" => Ok(Signal::Pause),
        "resume-snapshot" => Ok(Signal::Resume),
        _ => Ok(Signal::Log(
            data.get("message")
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned(),
        )),
    }
}

fn list(value: &Json, name: &str) -> Vec<Json> {
    let found = value.get(name).and_then(Json::as_array);
    found.cloned().unwrap_or_default()
}

/// The expressions under "data-collections".
fn tables_of(data: &Json) -> Result<Vec<String>, String> {
    let tables: Vec<String> = list(data, "data-collections")
        .iter()
        .filter_map(|table| table.as_str().map(str::to_owned))
        .collect();
    Patterns::parse("data-collections", &tables.join(",")).map_err(|error| error.to_string())?;
    Ok(tables)
}

impl Request {
    fn of_signal(data: &Json) -> Result<Self, String> {
        let text = |value: &Json, name: &str| {
            value
                .get(name)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let tables = tables_of(data)?;
        if tables.is_empty() {
            return Err("its data names no table under \"data-collections\"".to_owned());
        }
        let incremental = match text(data, "type").to_ascii_lowercase().as_str() {
            "blocking" => false,
            "" | "incremental" => true,
            other => {
                return Err(format!(
                    "its type of snapshot \"{other}\" is not known; there are blocking and incremental"
                ));
            }
        };
        let conditions = list(data, "additional-conditions")
            .iter()
            .map(|condition| {
                (
                    text(condition, "data-collection"),
                    text(condition, "filter"),
                )
            })
            .filter(|(table, filter)| !table.is_empty() && !filter.is_empty())
            .collect();
        Ok(Self {
            tables,
            conditions,
            incremental,
        })
    }

    /// These tables whole, beside the stream.
    pub(super) fn of_tables(names: &[String]) -> Self {
        let exactly = |name: &String| regex::escape(name).replace(',', "\\,");
        Self {
            tables: names.iter().map(exactly).collect(),
            conditions: Vec::new(),
            incremental: true,
        }
    }

    /// This and another one as one: what either asks for is read, so that a table that one of them asks for without a
    /// condition is read whole.
    pub(super) fn and(mut self, mut other: Self) -> Self {
        let (here, there) = (self.clone(), other.clone());
        self.conditions
            .retain(|(table, _)| !there.asks_whole(table));
        other
            .conditions
            .retain(|(table, _)| !here.asks_whole(table));
        self.tables.extend(other.tables);
        self.conditions.extend(other.conditions);
        self.incremental = self.incremental && other.incremental;
        self
    }

    /// Whether a table is asked for.
    pub(super) fn names(&self, schema: &str, table: &str) -> bool {
        self.asks(&format!("{schema}.{table}"))
    }

    /// Whether what was read so far says nothing once this is read: an earlier reading in part, and a whole one unless
    /// this reads in part only.
    pub(super) fn supersedes(&self, scan: &Scan) -> bool {
        let whole = self.condition(&scan.schema, &scan.table).is_none();
        self.names(&scan.schema, &scan.table) && (whole || scan.in_part)
    }

    /// The same of a table's full name.
    pub(super) fn asks(&self, name: &str) -> bool {
        Patterns::parse("data-collections", &self.tables.join(","))
            .is_ok_and(|patterns| patterns.matches(name))
    }

    fn asks_whole(&self, name: &str) -> bool {
        self.asks(name) && !self.conditions.iter().any(|(table, _)| table == name)
    }

    /// The condition of a table's rows.
    pub(super) fn condition(&self, schema: &str, table: &str) -> Option<String> {
        let name = format!("{schema}.{table}");
        let conditions: Vec<&str> = self
            .conditions
            .iter()
            .filter(|(table, _)| *table == name)
            .map(|(_, condition)| condition.as_str())
            .collect();
        match conditions.as_slice() {
            [] => None,
            [one] => Some((*one).to_owned()),
            several => Some(format!("({})", several.join(") OR ("))),
        }
    }

    /// As it is stored.
    pub(super) fn to_json(&self) -> Json {
        json!({
            "tables": self.tables,
            "conditions": self.conditions,
            "incremental": self.incremental,
        })
    }

    /// As it was stored.
    pub(super) fn from_json(json: &Json) -> Option<Self> {
        let text = |value: &Json| value.as_str().map(str::to_owned);
        let tables = json.get("tables")?.as_array()?;
        let conditions = json.get("conditions")?.as_array()?;
        Some(Self {
            tables: tables.iter().map(text).collect::<Option<_>>()?,
            conditions: conditions
                .iter()
                .map(|pair| text(pair.get(0)?).zip(text(pair.get(1)?)))
                .collect::<Option<_>>()?,
            incremental: json.get("incremental")?.as_bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::lsn::Lsn;
    use crate::source::view::Range;

    fn row(kind: &str, data: &str) -> Tuple {
        ["1", kind, data]
            .map(|text| Cell::Text(text.to_owned().into()))
            .into()
    }

    #[test]
    fn what_signals_ask_for() {
        let asked = signal(&row(
            "execute-snapshot",
            r#"{"data-collections":["public\\.t","s.(a|b)"],"type":"BLOCKING",
                "additional-conditions":[{"data-collection":"public.t","filter":"id < 100"}]}"#,
        ));
        let Ok(Signal::Read(request)) = asked else {
            panic!("{asked:?}");
        };
        assert!(request.names("public", "t") && request.names("s", "b"));
        assert!(!request.names("public", "t2"));
        assert_eq!(
            request.condition("public", "t").as_deref(),
            Some("id < 100")
        );
        assert!(!request.incremental);
        assert_eq!(
            Request::from_json(&request.to_json()),
            Some(request.clone())
        );
        assert_eq!(
            signal(&row("log", r#"{"message":"hello"}"#)),
            Ok(Signal::Log("hello".to_owned()))
        );
        for (kind, data, expected) in [
            ("pause-snapshot", "", Signal::Pause),
            ("resume-snapshot", "{}", Signal::Resume),
            ("stop-snapshot", "", Signal::Stop(Vec::new())),
            (
                "stop-snapshot",
                r#"{"data-collections":["s.t"],"type":"incremental"}"#,
                Signal::Stop(vec!["s.t".to_owned()]),
            ),
        ] {
            assert_eq!(signal(&row(kind, data)), Ok(expected));
        }
        let more = Request {
            tables: vec!["x.y".to_owned()],
            incremental: true,
            ..Request::default()
        };
        let both = request.and(more);
        assert!(both.names("x", "y") && both.names("public", "t") && !both.incremental);
    }

    #[test]
    fn a_message_asks_for_the_same_as_a_row() {
        let asked = message(br#"{"type":"execute-snapshot","data":{"data-collections":["public.t"],"type":"blocking"}}"#);
        let Ok(Signal::Read(request)) = asked else {
            panic!("{asked:?}");
        };
        assert!(request.names("public", "t") && !request.incremental);
        assert_eq!(
            message(br#"{"id":"1","type":"pause-snapshot"}"#),
            Ok(Signal::Pause)
        );
        let text = br#"{"type":"log","data":"{\"message\":\"hello\"}"}"#;
        assert_eq!(message(text), Ok(Signal::Log("hello".to_owned())));
        for (text, why) in [("x", "no JSON"), ("{}", "type \"\""), ("[]", "type \"\"")] {
            let error = message(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn two_requests_read_what_either_asks_for() {
        let asked = |tables: &[&str], conditions: &[(&str, &str)]| Request {
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            conditions: conditions
                .iter()
                .map(|(table, filter)| ((*table).to_owned(), (*filter).to_owned()))
                .collect(),
            incremental: true,
        };
        let condition = |request: &Request| request.condition("s", "t");
        let few = asked(&["s.t"], &[("s.t", "id < 5")]);
        let more = asked(&["s.*"], &[("s.t", "id = 7 AND n > 0")]);
        let whole = asked(&["s.(t|u)"], &[]);
        let elsewhere = asked(&["s.u"], &[]);
        assert_eq!(
            condition(&few.clone().and(more.clone())).as_deref(),
            Some("(id < 5) OR (id = 7 AND n > 0)")
        );
        assert_eq!(condition(&few.clone().and(whole.clone())), None);
        assert_eq!(condition(&whole.clone().and(few.clone())), None);
        // Once whole it stays so.
        assert_eq!(condition(&few.clone().and(whole).and(more)), None);
        assert_eq!(condition(&few.and(elsewhere)).as_deref(), Some("id < 5"));
    }

    #[test]
    fn what_reads_in_part_leaves_what_was_read_whole() {
        let request = Request {
            tables: vec!["s.t".to_owned(), "s.u".to_owned()],
            conditions: vec![("s.t".to_owned(), "id < 5".to_owned())],
            incremental: true,
        };
        let scan = |table: &str, in_part| Scan {
            schema: "s".to_owned(),
            table: table.to_owned(),
            view: None,
            high: Lsn(0),
            range: Range::default(),
            upto: None,
            done: true,
            in_part,
        };
        for (table, in_part, superseded) in [
            ("t", false, false),
            ("t", true, true),
            ("u", false, true),
            ("u", true, true),
            ("v", false, false),
            ("v", true, false),
        ] {
            assert_eq!(
                request.supersedes(&scan(table, in_part)),
                superseded,
                "{table} {in_part}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_says_why() {
        for (kind, data, why) in [
            ("execute-snapshot", "{", "no JSON"),
            ("execute-snapshot", "{}", "data-collections"),
            (
                "execute-snapshot",
                r#"{"data-collections":["("]}"#,
                "regular expression",
            ),
            (
                "execute-snapshot",
                r#"{"data-collections":["t"],"type":"x"}"#,
                "\"x\"",
            ),
            ("pause-snapshots", "{}", "pause-snapshots"),
            ("stop-snapshot", r#"{"type":"blocking"}"#, "incremental"),
            (
                "stop-snapshot",
                r#"{"data-collections":["("]}"#,
                "regular expression",
            ),
        ] {
            let error = signal(&row(kind, data)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(signal(&Vec::new()).is_err());
    }
}
