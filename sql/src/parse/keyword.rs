//! The words of the language: for highlighting, completion, and for telling a mistyped one.

/// Keywords that a statement may hold, upper case, in alphabetical order.
pub fn keywords() -> &'static [&'static str] {
    KEYWORDS
}

/// Words that can begin a statement.
pub(crate) const STATEMENTS: &[&str] = &[
    "CREATE", "DELETE", "DESCRIBE", "DROP", "EXPLAIN", "INSERT", "SELECT", "SET", "SHOW", "SUBSCRIBE",
    "VALUES", "WITH",
];

pub(super) const KEYWORDS: &[&str] = &[
    "ALL", "AND", "ANY", "AS", "ASC", "BETWEEN", "BIGINT", "BOOLEAN", "BY", "BYTEA", "BYTES",
    "CASE", "CAST", "CHANGES", "CLOSE", "COALESCE", "CREATE", "CROSS", "DATE", "DECIMAL",
    "DELETE", "DESC", "DESCRIBE", "DISTINCT", "DOUBLE", "DROP", "EARLIEST", "ELSE", "EMIT",
    "ENCODE", "END", "EXCEPT", "EXISTS", "EXPLAIN", "EXTRACT", "FALSE", "FILTER", "FINAL",
    "FLOAT", "FOR", "FORMAT", "FROM", "FULL", "FUNCTION", "FUNCTIONS", "GRACE", "GROUP", "HAVING",
    "HEADER", "IF", "ILIKE", "IN", "INCLUDE", "INNER", "INSERT", "INT", "INTEGER", "INTERSECT",
    "INTERVAL", "INTO", "IS", "JOBS", "JOIN", "JSON", "KEY", "LANGUAGE", "LATE", "LATEST",
    "LEFT", "LIKE", "LIMIT", "MATERIALIZED", "NOT", "NULL", "NUMERIC", "OFFSET", "ON", "OR",
    "ORDER", "OUTER", "OVER", "PARTITION", "PLAIN", "PRIMARY", "REAL", "RETURNS", "RIGHT",
    "SELECT", "SET", "SHOW", "SMALLINT", "SOURCE", "SOURCES", "SUBSCRIBE", "TABLE", "TABLES",
    "TEXT", "THEN", "TIMESTAMP", "TIMESTAMPTZ", "TO", "TOPIC", "TOPICS", "TRUE", "TUMBLE",
    "UNION", "UPDATE", "UPSERT", "USING", "VALUES", "VARCHAR", "VIEW", "VIEWS", "WASM",
    "WATERMARK", "WHEN", "WHERE", "WHY", "WINDOW", "WITH",
];

/// Whether `word` is one of ours or of sqlparser's keywords that structure a statement.
pub(super) fn is_keyword(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    KEYWORDS.binary_search(&word.as_str()).is_ok()
}

/// Keywords that stand inside of a query after an expression or a relation: what a mistyped word in the place of an
/// alias may have been meant to be.
pub(super) const CLAUSES: &[&str] = &[
    "AND", "AS", "BETWEEN", "BY", "CROSS", "DESC", "EMIT", "EXCEPT", "FROM", "FULL", "GRACE",
    "GROUP", "HAVING", "INNER", "INTERSECT", "IS", "JOIN", "LATE", "LEFT", "LIKE", "LIMIT",
    "OFFSET", "ON", "OR", "ORDER", "OUTER", "RIGHT", "UNION", "USING", "WHERE", "WITH",
    "CHANGES", "CLOSE", "FINAL", "WINDOW", "THEN", "ELSE", "END", "WHEN", "ASC", "NULL", "NOT",
    "IN", "VALUES", "SET", "INTO", "FOR", "TABLE", "VIEW", "SELECT",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_and_single() {
        assert!(KEYWORDS.is_sorted_by(|a, b| a < b));
    }
}
