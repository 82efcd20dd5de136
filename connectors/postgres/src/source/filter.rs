//! Which tables and columns are captured, by Debezium's lists of regular expressions.
//!
//! An expression matches the whole of `schema`, `schema.table` or `schema.table.column`, in any case. A comma within
//! an expression is written `\,`. A name that is one table's alone, in its own case, is an expression of [`exactly`].

use connect_api::ConnectError;
use regex::{Regex, RegexBuilder};

/// Schemas of the database itself.
const SYSTEM: &[&str] = &["pg_catalog", "information_schema", "pg_toast"];

/// A list of expressions.
#[derive(Debug, Clone, Default)]
pub(super) struct Patterns(Vec<Regex>);

impl Patterns {
    /// The expressions of the value of `key`.
    ///
    /// # Errors
    /// An expression that is none; look-around, which Java's have, is not known.
    pub(super) fn parse(key: &str, value: &str) -> Result<Self, ConnectError> {
        split(value)
            .iter()
            .map(|pattern| one(key, pattern))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether one of them matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

fn one(key: &str, pattern: &str) -> Result<Regex, ConnectError> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .case_insensitive(true)
        .build()
        .map_err(|_| {
            ConnectError::config(
                key,
                format!("\"{pattern}\" is no regular expression (look-around is not known)"),
            )
        })
}

/// The expression of a list that matches this name alone, in its own case.
pub(super) fn exactly(name: &str) -> String {
    format!("(?-i:{})", regex::escape(name).replace(',', "\\,"))
}

/// The name of an expression that [`exactly`] made; `None` for another one.
pub(super) fn exact_name(pattern: &str) -> Option<String> {
    let escaped = pattern.strip_prefix("(?-i:")?.strip_suffix(')')?;
    let (mut name, mut letters) = (String::new(), escaped.chars());
    while let Some(letter) = letters.next() {
        name.push(match letter {
            '\\' => letters.next()?,
            letter => letter,
        });
    }
    Some(name)
}

/// The items of a list whose commas may be escaped.
fn split(value: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let last = items.len() - 1;
        match c {
            ',' => items.push(String::new()),
            '\\' if chars.next_if_eq(&',').is_some() => items[last].push(','),
            c => items[last].push(c),
        }
    }
    items
        .iter()
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

/// Include or exclude, or neither.
#[derive(Debug, Clone, Default)]
pub(super) enum Filter {
    /// Everything.
    #[default]
    All,
    /// What matches.
    Only(Patterns),
    /// What does not match.
    Not(Patterns),
}

impl Filter {
    /// From the values of an include list and an exclude list.
    ///
    /// # Errors
    /// Both are given, or an expression is none.
    pub(super) fn parse(
        name: &str,
        include: Option<&str>,
        exclude: Option<&str>,
    ) -> Result<Self, ConnectError> {
        let given = |value: Option<&str>| value.is_some_and(|value| !value.trim().is_empty());
        let (include_key, exclude_key) = (
            format!("{name}.include.list"),
            format!("{name}.exclude.list"),
        );
        match (include, exclude) {
            (include, exclude) if given(include) && given(exclude) => Err(ConnectError::config(
                exclude_key,
                format!("{include_key} is given too: leave one of them out"),
            )),
            (Some(include), _) if given(Some(include)) => {
                Patterns::parse(&include_key, include).map(Self::Only)
            }
            (_, Some(exclude)) if given(Some(exclude)) => {
                Patterns::parse(&exclude_key, exclude).map(Self::Not)
            }
            _ => Ok(Self::All),
        }
    }

    /// Whether this name passes.
    pub(super) fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.matches(name),
            Self::Not(patterns) => !patterns.matches(name),
        }
    }

    /// Whether everything passes.
    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// What becomes of a column that is not to be read by everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    /// As many asterisks, whatever the value is.
    Stars(usize),
    /// The value's first characters.
    Cut(usize),
}

impl Mask {
    /// The mask of a key `column.mask.with.N.chars` or `column.truncate.to.N.chars`.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        let number = |key: &str| key.strip_suffix(".chars")?.parse().ok();
        if let Some(rest) = key.strip_prefix("column.mask.with.") {
            return number(rest).map(Self::Stars);
        }
        number(key.strip_prefix("column.truncate.to.")?).map(Self::Cut)
    }

    /// What is shown of a text.
    pub(super) fn apply(self, text: &str) -> String {
        match self {
            Self::Stars(length) => "*".repeat(length),
            Self::Cut(length) => text.chars().take(length).collect(),
        }
    }
}

/// The three filters, the keys that are chosen by hand, and the tables of the snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Capture {
    /// Of schemas.
    pub(super) schemas: Filter,
    /// Of `schema.table`.
    pub(super) tables: Filter,
    /// Of `schema.table.column`.
    pub(super) columns: Filter,
    /// Of the prefixes of logical messages.
    pub(super) messages: Filter,
    /// Expressions of tables with the columns of their key.
    pub(super) keys: Vec<(Patterns, Vec<String>)>,
    /// Expressions of columns (`schema.table.column`) that are masked.
    pub(super) masks: Vec<(Patterns, Mask)>,
    /// Of the tables that a snapshot reads.
    pub(super) snapshot: Filter,
}

impl Capture {
    /// Whether changes of this table are captured.
    pub(super) fn table(&self, schema: &str, table: &str) -> bool {
        !SYSTEM.contains(&schema)
            && !schema.starts_with("pg_temp")
            // Each batch of a sink changes it, and it means nothing to others.
            && table != crate::OFFSETS_TABLE
            && self.schemas.takes(schema)
            && self.tables.takes(&format!("{schema}.{table}"))
    }

    /// Whether a column of a captured table is.
    pub(super) fn column(&self, schema: &str, table: &str, column: &str) -> bool {
        self.columns.is_all() || self.columns.takes(&format!("{schema}.{table}.{column}"))
    }

    /// What becomes of a column's values.
    pub(super) fn mask(&self, schema: &str, table: &str, column: &str) -> Option<Mask> {
        let name = format!("{schema}.{table}.{column}");
        let mask = self
            .masks
            .iter()
            .find(|(columns, _)| columns.matches(&name));
        mask.map(|(_, mask)| *mask)
    }

    /// The key that was chosen for a table.
    pub(super) fn key(&self, schema: &str, table: &str) -> Option<&[String]> {
        let name = format!("{schema}.{table}");
        self.keys
            .iter()
            .find(|(tables, _)| tables.matches(&name))
            .map(|(_, columns)| columns.as_slice())
    }

    /// `message.key.columns`: `schema.table:a,b;other.(.*):id`.
    ///
    /// # Errors
    /// An entry without a colon or without columns.
    pub(super) fn parse_keys(value: &str) -> Result<Vec<(Patterns, Vec<String>)>, ConnectError> {
        const KEY: &str = "message.key.columns";
        value
            .split(';')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let wrong = || {
                    ConnectError::config(
                        KEY,
                        format!("\"{entry}\" is not of the form schema.table:column,column"),
                    )
                };
                let (table, columns) = entry.rsplit_once(':').ok_or_else(wrong)?;
                let columns = split(columns);
                if columns.is_empty() {
                    return Err(wrong());
                }
                Ok((Patterns(vec![one(KEY, table.trim())?]), columns))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_whole_names_in_any_case() {
        let capture = Capture {
            schemas: Filter::parse("schema", None, Some("audit")).unwrap(),
            tables: Filter::parse("table", Some(r"public\.orders, shop.(a|b)"), None).unwrap(),
            columns: Filter::parse("column", None, Some(r".*\.secret")).unwrap(),
            ..Capture::default()
        };
        assert!(capture.table("public", "orders"));
        assert!(capture.table("PUBLIC", "Orders"));
        assert!(!capture.table("public", "orders2"));
        assert!(capture.table("shop", "b"));
        assert!(!capture.table("audit", "orders"));
        assert!(!Capture::default().table("pg_catalog", "pg_class"));
        // Nor what sinks keep beside their rows, also where the lists take it.
        assert!(!Capture::default().table("public", "_thalweg_offsets"));
        let all = Capture {
            tables: Filter::parse("table", Some(r"public\..*"), None).unwrap(),
            ..Capture::default()
        };
        assert!(all.table("public", "offsets") && !all.table("public", "_thalweg_offsets"));
        assert!(capture.column("public", "orders", "id"));
        assert!(!capture.column("public", "orders", "secret"));
    }

    #[test]
    fn a_name_is_matched_by_itself_alone() {
        for name in [
            "case", "CASE", r"a+b,c\", r"\,", "(?i)x", " s p ", "x.*", "é#~-&",
        ] {
            let pattern = exactly(name);
            assert_eq!(exact_name(&pattern).as_deref(), Some(name));
            let patterns = Patterns::parse("table.include.list", &pattern).unwrap();
            assert!(patterns.matches(name), "{pattern}");
            for other in ["case ", "CAse", "a+b", "xy", "s p", "X", "É#~-&", ","] {
                assert!(!patterns.matches(other), "{pattern} matches {other}");
            }
        }
        assert_eq!(exact_name(r"public\.t"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        assert!(Filter::parse("table", Some("a"), Some("b")).is_err());
        assert!(Filter::parse("table", Some("("), None).is_err());
        assert!(Filter::parse("table", Some(" "), Some("b")).is_ok());
        assert!(Capture::parse_keys("public.t").is_err());
        assert!(Capture::parse_keys("public.t:").is_err());
    }

    #[test]
    fn masks_show_what_they_are_told_to() {
        assert_eq!(
            Mask::of_key("column.mask.with.3.chars"),
            Some(Mask::Stars(3))
        );
        assert_eq!(
            Mask::of_key("column.truncate.to.0.chars"),
            Some(Mask::Cut(0))
        );
        assert_eq!(Mask::of_key("column.mask.hash.SHA-256.with.salt.x"), None);
        assert_eq!(Mask::of_key("column.mask.with.-1.chars"), None);
        assert_eq!(Mask::Stars(3).apply("secret"), "***");
        assert_eq!(Mask::Cut(2).apply("ümläut"), "üm");
    }

    #[test]
    fn commas_may_be_escaped() {
        assert_eq!(split(r"a{1\,2}, b"), ["a{1,2}", "b"]);
    }

    #[test]
    fn keys_by_hand() {
        let capture = Capture {
            keys: Capture::parse_keys("public.t:a,b;shop.(.*):id").unwrap(),
            ..Capture::default()
        };
        assert_eq!(capture.key("public", "t").unwrap(), ["a", "b"]);
        assert_eq!(capture.key("shop", "x").unwrap(), ["id"]);
        assert_eq!(capture.key("public", "x"), None);
    }
}
