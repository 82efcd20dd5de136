//! What sqlparser is told about our language: PostgreSQL's, with the words of streams.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::constructor;

/// PostgreSQL's rules (folding to lower case, operators, precedence) plus backticks, `FOR SYSTEM_TIME AS OF`, and trailing clauses that are not taken for aliases.
#[derive(Debug, Default)]
pub(crate) struct StreamDialect(PostgreSqlDialect);

impl StreamDialect {
    /// A word that begins a clause of ours, judged with the word after it: `FROM t EMIT CHANGES` has no alias
    /// `EMIT`, while `FROM t emit` has.
    fn begins_clause(parser: &Parser) -> bool {
        let Token::Word(word) = &parser.get_current_token().token else {
            return false;
        };
        if word.quote_style.is_some() {
            return false;
        }
        let next = match &parser.peek_token_ref().token {
            Token::Word(next) if next.quote_style.is_none() => next.value.to_ascii_uppercase(),
            Token::Number(..) | Token::LParen => "(".to_owned(),
            _ => return false,
        };
        match word.value.to_ascii_uppercase().as_str() {
            "EMIT" => matches!(next.as_str(), "CHANGES" | "FINAL" | "ON"),
            "GRACE" => matches!(next.as_str(), "INTERVAL" | "PERIOD"),
            "LATE" => matches!(next.as_str(), "TO" | "DROP" | "UPDATE"),
            "WITHIN" => matches!(next.as_str(), "(" | "INTERVAL"),
            "TEMPORAL" | "ASOF" => matches!(next.as_str(), "JOIN" | "LEFT" | "INNER"),
            _ => false,
        }
    }
}

impl StreamDialect {
    /// `x BETWEEN SYMMETRIC a AND b`, whichever of `a` and `b` is the lower: one of the two orders holds `x`, which is said
    /// with the operators that there are.
    fn between_symmetric(
        &self,
        parser: &mut Parser,
        x: &Expr,
        negated: bool,
    ) -> Result<Expr, ParserError> {
        let precedence = self.prec_value(Precedence::Between);
        let a = parser.parse_subexpr(precedence)?;
        parser.expect_keyword(Keyword::AND)?;
        let b = parser.parse_subexpr(precedence)?;
        let between = |low: &Expr, high: &Expr| {
            Box::new(Expr::Between {
                expr: Box::new(x.clone()),
                negated,
                low: Box::new(low.clone()),
                high: Box::new(high.clone()),
            })
        };
        Ok(Expr::Nested(Box::new(Expr::BinaryOp {
            left: between(&a, &b),
            op: if negated {
                BinaryOperator::And
            } else {
                BinaryOperator::Or
            },
            right: between(&b, &a),
        })))
    }
}

/// The sets behind GROUPING SETS: `(a, b)`, `()`, `a`, or sets of their own.
fn grouping_sets(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let sets = parser.parse_comma_separated(|parser| {
        if !parser.consume_token(&Token::LParen) {
            return Ok(vec![parser.parse_expr()?]);
        }
        if parser.consume_token(&Token::RParen) {
            return Ok(Vec::new());
        }
        let set = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        Ok(set)
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::GroupingSets(sets))
}

impl Dialect for StreamDialect {
    fn dialect(&self) -> TypeId {
        self.0.dialect()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.0.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.0.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        self.0.is_reserved_for_identifier(kw)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        ch != '`' && self.0.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.0.get_next_precedence(parser)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        self.0.prec_value(prec)
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        // Within GROUPING SETS, where sqlparser looks for names.
        if parser.parse_keywords(&[Keyword::GROUPING, Keyword::SETS]) {
            return Some(grouping_sets(parser));
        }
        if let Some(built) = constructor::prefix(parser) {
            return Some(built);
        }
        self.0.parse_prefix(parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if parser.parse_keywords(&[Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            return Some(self.between_symmetric(parser, expr, false));
        }
        if parser.parse_keywords(&[Keyword::NOT, Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            return Some(self.between_symmetric(parser, expr, true));
        }
        if let Some(told) = constructor::is_json(parser, expr) {
            return Some(told);
        }
        // sqlparser 0.62 takes all that follows for the right side, `AND …` and `OR …` too.
        let same = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            false
        } else if parser.parse_keywords(&[
            Keyword::IS,
            Keyword::NOT,
            Keyword::DISTINCT,
            Keyword::FROM,
        ]) {
            true
        } else {
            return None;
        };
        let left = Box::new(expr.clone());
        Some(parser.parse_subexpr(precedence).map(|right| {
            if same {
                Expr::IsNotDistinctFrom(left, Box::new(right))
            } else {
                Expr::IsDistinctFrom(left, Box::new(right))
            }
        }))
    }

    fn is_table_factor_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        explicit || (!Self::begins_clause(parser) && self.is_table_alias(kw, parser))
    }

    fn is_select_item_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        // ON is a name only where AS says so: SELECT 1 ON CONFLICT DO NOTHING.
        explicit
            || (*kw != Keyword::ON
                && !Self::begins_clause(parser)
                && self.is_column_alias(kw, parser))
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    /// `?`, `?|` and `?&` are operators of JSON, too: without this they begin parameters.
    fn supports_geometric_types(&self) -> bool {
        true
    }
}
