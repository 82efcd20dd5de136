//! Functions of texts that PostgreSQL has and DataFusion has not: `md5`, `format`, `quote_ident`, `quote_literal`,
//! `quote_nullable`. Their arguments are texts; what is none is cast to one.

mod format;
mod md5;

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use self::format::format;
use self::md5::md5;
use crate::diagnostic::{Code, Diagnostic};

/// Words that are no names without quotes, in PostgreSQL; in order.
const KEYWORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// The functions.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let kinds = [
        Kind::Md5,
        Kind::Format,
        Kind::QuoteIdent,
        Kind::QuoteLiteral,
        Kind::QuoteNullable,
    ];
    kinds.into_iter().map(|kind| {
        ScalarUDF::from(TextFunction {
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Md5,
    Format,
    QuoteIdent,
    QuoteLiteral,
    QuoteNullable,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextFunction {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Md5 => "md5",
            Kind::Format => "format",
            Kind::QuoteIdent => "quote_ident",
            Kind::QuoteLiteral => "quote_literal",
            Kind::QuoteNullable => "quote_nullable",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let fits = match self.kind {
            Kind::Format => !args.is_empty(),
            _ => args.len() == 1,
        };
        if !fits {
            let message = match self.kind {
                Kind::Format => "takes a pattern and the values for its places",
                _ => "takes one text",
            };
            return Err(DataFusionError::Plan(message.to_owned()));
        }
        Ok(vec![DataType::Utf8View; args.len()])
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let columns = columns
            .iter()
            .map(|column| cast(column, &DataType::Utf8View));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<_> = columns
            .iter()
            .map(|column| column.as_string_view())
            .collect();
        let rows = columns.first().map_or(0, |column| column.len());
        let mut texts = StringViewBuilder::with_capacity(rows);
        let mut values = Vec::with_capacity(columns.len());
        for row in 0..rows {
            values.clear();
            for column in &columns {
                values.push(column.is_valid(row).then(|| column.value(row)));
            }
            texts.append_option(self.kind.of(&values)?);
        }
        let texts: arrow::array::ArrayRef = Arc::new(texts.finish());
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?),
            false => ColumnarValue::Array(texts),
        })
    }
}

impl Kind {
    fn of(self, values: &[Option<&str>]) -> BoundResult<Option<String>> {
        let Some((first, others)) = values.split_first() else {
            return Ok(None);
        };
        Ok(match (self, first) {
            (Self::QuoteNullable, None) => Some("NULL".to_owned()),
            (_, None) => None,
            (Self::Md5, Some(text)) => Some(md5(text.as_bytes())),
            (Self::Format, Some(pattern)) => Some(format(pattern, others).map_err(wrong)?),
            (Self::QuoteIdent, Some(text)) => Some(name(text)),
            (Self::QuoteLiteral | Self::QuoteNullable, Some(text)) => Some(literal(text)),
        })
    }
}

fn wrong(message: String) -> DataFusionError {
    let mut diagnostic = Diagnostic::new(Code::Row, format!("format: {message}"));
    diagnostic.sqlstate = "22023".to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

/// A text as a name in SQL: in quotes, unless it can do without.
fn name(text: &str) -> String {
    let mut chars = text.chars();
    let starts = |first: char| first.is_ascii_lowercase() || first == '_';
    let goes_on = |next: char| starts(next) || next.is_ascii_digit();
    let plain = chars.next().is_some_and(starts)
        && chars.all(goes_on)
        && KEYWORDS.binary_search(&text).is_err();
    match plain {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

/// A text as a literal in SQL.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_sql_are_names_in_quotes() {
        assert!(KEYWORDS.is_sorted());
        for (text, quoted) in [("select", "\"select\""), ("a_1", "a_1"), ("Aa", "\"Aa\"")] {
            assert_eq!(name(text), quoted);
        }
    }
}
