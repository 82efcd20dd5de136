//! `text SIMILAR TO pattern`: SQL's patterns as regular expressions, which DataFusion takes them for as they stand.
//!
//! | pattern | matches |
//! |---|---|
//! | `%` `_` | any text · any character |
//! | `\|` `*` `+` `?` `{m,n}` `(…)` `[…]` | as in a regular expression |
//! | `\x` | `x`, whatever that is |
//! | anything else | itself |
//!
//! The whole text has to match. In brackets only `\` has a meaning of its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Like, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

/// Makes the comparison one with a regular expression.
pub(super) fn rewrite(expr: Expr) -> Transformed<Expr> {
    let Expr::SimilarTo(Like {
        negated,
        expr,
        pattern,
        escape_char,
        ..
    }) = expr
    else {
        return Transformed::no(expr);
    };
    let escape = escape_char.unwrap_or('\\');
    let known = match &*pattern {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    let regex = match known {
        Some(pattern) => {
            let regex = ScalarValue::Utf8View(Some(regular_expression(pattern, escape)));
            Expr::Literal(regex, None)
        }
        None => {
            let signature = Signature::exact(vec![DataType::Utf8View], Volatility::Immutable);
            ScalarUDF::from(SimilarPattern { escape, signature }).call(vec![*pattern])
        }
    };
    let operator = if negated {
        Operator::RegexNotMatch
    } else {
        Operator::RegexMatch
    };
    Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
        expr,
        operator,
        Box::new(regex),
    )))
}

fn regular_expression(pattern: &str, escape: char) -> String {
    let mut regex = String::from("^(?s:");
    let literal = |char: char, regex: &mut String| {
        if !char.is_alphanumeric() && char.is_ascii() && !char.is_ascii_whitespace() {
            regex.push('\\');
        }
        regex.push(char);
    };
    let mut chars = pattern.chars().peekable();
    let mut brackets = false;
    while let Some(char) = chars.next() {
        match char {
            char if char == escape => match chars.next() {
                Some(next) => literal(next, &mut regex),
                None => literal(char, &mut regex),
            },
            // A class by name stands in brackets of its own.
            '[' if brackets && chars.peek() == Some(&':') => {
                regex.push('[');
                for char in chars.by_ref() {
                    regex.push(char);
                    if char == ']' {
                        break;
                    }
                }
            }
            ']' if brackets => {
                regex.push(']');
                brackets = false;
            }
            '^' | '-' if brackets => regex.push(char),
            _ if brackets => literal(char, &mut regex),
            '[' => {
                regex.push('[');
                brackets = true;
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' | ',' => regex.push(char),
            _ => literal(char, &mut regex),
        }
    }
    regex.push_str(")$");
    regex
}

/// A pattern that is no constant as a regular expression.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SimilarPattern {
    escape: char,
    signature: Signature,
}

impl ScalarUDFImpl for SimilarPattern {
    fn name(&self) -> &str {
        "similar_pattern"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let patterns = arrays[0].as_string_view();
        let regex =
            |pattern: Option<&str>| pattern.map(|pattern| regular_expression(pattern, self.escape));
        let regexes: StringViewArray = patterns.iter().map(regex).collect();
        Ok(ColumnarValue::Array(Arc::new(regexes) as ArrayRef))
    }
}

#[cfg(test)]
mod tests {
    use super::regular_expression;

    #[test]
    fn patterns_become_regular_expressions() {
        for (pattern, regex) in [
            ("a%", "^(?s:a.*)$"),
            ("a.c", "^(?s:a\\.c)$"),
            ("(a|b)_{2,3}", "^(?s:(a|b).{2,3})$"),
            ("\\%^$", "^(?s:\\%\\^\\$)$"),
            ("[^a-c%.[:digit:]]+", "^(?s:[^a-c\\%\\.[:digit:]]+)$"),
            ("é a", "^(?s:é a)$"),
        ] {
            assert_eq!(regular_expression(pattern, '\\'), regex, "{pattern}");
        }
        assert_eq!(regular_expression("a#%#", '#'), "^(?s:a\\%\\#)$");
    }
}
