//! A value of a file as SQL: text in the type of its column, so that the server reads it as it reads every other text.

use super::super::client::Column;

/// The literal of a value for this column; `None` is NULL.
pub(super) fn literal(value: Option<&str>, column: &Column) -> String {
    let Some(text) = value else {
        return "NULL".to_owned();
    };
    let data_type = column.data_type.as_str();
    match data_type {
        "SMALLINT" | "INT" | "INTEGER" | "BIGINT" if text.parse::<i64>().is_ok() => text.to_owned(),
        "TEXT" | "VARCHAR" => quoted(text),
        "BYTEA" | "BYTES" => format!("decode({}, 'base64')", quoted(text)),
        // Also what does not fit: then the error stands here.
        _ => format!("CAST({} AS {data_type})", quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as it is, whatever its letters.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_type_of_their_column() {
        let of = |data_type: &str, text: &str| {
            let column = Column {
                name: "c".to_owned(),
                data_type: data_type.to_owned(),
            };
            literal(Some(text), &column)
        };
        assert_eq!(of("BIGINT", "-12"), "-12");
        assert_eq!(of("BIGINT", "twelve"), "CAST('twelve' AS BIGINT)");
        assert_eq!(of("TEXT", "it's"), "'it''s'");
        assert_eq!(
            of("DECIMAL(10, 2)", "1.50"),
            "CAST('1.50' AS DECIMAL(10, 2))"
        );
        assert_eq!(of("BYTEA", "YQ=="), "decode('YQ==', 'base64')");
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
    }
}
