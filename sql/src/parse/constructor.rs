//! What is built with words of its own: `json_object(KEY k VALUE v, …)`, `json_objectagg(…)`, `MAP[k, v, …]`, and the condition
//! `x IS JSON`.

use sqlparser::ast::{
    Array, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, JsonNullClause, JsonReturningClause,
    ObjectName, UnaryOperator, Value,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed<T> = Result<T, ParserError>;

/// An expression that begins with one of these words.
pub(super) fn prefix(parser: &mut Parser) -> Option<Parsed<Expr>> {
    let opens = |sign: Token| parser.peek_nth_token_ref(1).token == sign;
    if is_next(parser, &["JSON_OBJECT", "JSON_OBJECTAGG"]) && opens(Token::LParen) {
        return Some(json_object(parser));
    }
    if is_next(parser, &["MAP"]) && opens(Token::LBracket) && has_comma(parser) {
        return Some(map(parser));
    }
    None
}

/// Whether one of these words is next, without quotes.
fn is_next(parser: &Parser, wanted: &[&str]) -> bool {
    match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => wanted
            .iter()
            .any(|wanted| word.value.eq_ignore_ascii_case(wanted)),
        _ => false,
    }
}

/// Takes a word.
fn takes(parser: &mut Parser, wanted: &str) -> bool {
    let is_it = is_next(parser, &[wanted]);
    if is_it {
        parser.next_token();
    }
    is_it
}

/// Whether there is a comma in the brackets that follow: a subscript has none.
fn has_comma(parser: &Parser) -> bool {
    let mut depth = 0_usize;
    for place in 1.. {
        match &parser.peek_nth_token_ref(place).token {
            Token::LBracket | Token::LParen | Token::LBrace => depth += 1,
            Token::RBracket | Token::RParen | Token::RBrace if depth <= 1 => return false,
            Token::RBracket | Token::RParen | Token::RBrace => depth -= 1,
            Token::Comma if depth == 1 => return true,
            Token::EOF | Token::SemiColon => return false,
            _ => {}
        }
    }
    false
}

fn call(name: Ident, args: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) -> Function {
    let arg = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
    Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(arg).collect(),
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// Names and values in turn: `[KEY] k VALUE v`, `k : v`, `k, v`.
fn json_object(parser: &mut Parser) -> Parsed<Expr> {
    let name = parser.parse_identifier()?;
    parser.expect_token(&Token::LParen)?;
    let mut args = Vec::new();
    let is_clause = |parser: &Parser| {
        let next = &parser.peek_nth_token_ref(1).token;
        let on = matches!(next, Token::Word(word) if word.keyword == Keyword::ON);
        parser.peek_token_ref().token == Token::RParen
            || is_next(parser, &["NULL", "ABSENT"]) && on
            || is_next(parser, &["RETURNING"])
    };
    if !is_clause(parser) {
        loop {
            let next = &parser.peek_nth_token_ref(1).token;
            let ends = match next {
                Token::Colon | Token::Comma | Token::RParen => true,
                Token::Word(word) => word.keyword == Keyword::VALUE,
                _ => false,
            };
            if is_next(parser, &["KEY"]) && !ends {
                parser.next_token();
            }
            args.push(parser.parse_expr()?);
            let apart = takes(parser, "VALUE")
                || parser.consume_token(&Token::Colon)
                || parser.consume_token(&Token::Comma);
            if !apart {
                return parser
                    .expected("VALUE or : behind the name of a field", parser.peek_token());
            }
            args.push(parser.parse_expr()?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    let clauses = clauses(parser)?;
    parser.expect_token(&Token::RParen)?;
    let mut object = call(name, args, clauses);
    if parser.parse_keyword(Keyword::FILTER) {
        parser.expect_token(&Token::LParen)?;
        parser.expect_keyword(Keyword::WHERE)?;
        object.filter = Some(Box::new(parser.parse_expr()?));
        parser.expect_token(&Token::RParen)?;
    }
    Ok(Expr::Function(object))
}

/// `NULL ON NULL`, `ABSENT ON NULL`, `WITHOUT UNIQUE KEYS`, `RETURNING type`.
fn clauses(parser: &mut Parser) -> Parsed<Vec<FunctionArgumentClause>> {
    let mut clauses = Vec::new();
    let absent = if parser.parse_keywords(&[Keyword::NULL, Keyword::ON, Keyword::NULL]) {
        Some(JsonNullClause::NullOnNull)
    } else if takes(parser, "ABSENT") {
        parser.expect_keyword(Keyword::ON)?;
        parser.expect_keyword(Keyword::NULL)?;
        Some(JsonNullClause::AbsentOnNull)
    } else {
        None
    };
    clauses.extend(absent.map(FunctionArgumentClause::JsonNullClause));
    any_keys(parser)?;
    if takes(parser, "RETURNING") {
        let data_type = parser.parse_data_type()?;
        let returning = JsonReturningClause { data_type };
        clauses.push(FunctionArgumentClause::JsonReturningClause(returning));
    }
    Ok(clauses)
}

/// That names may stand twice, which they may here.
fn any_keys(parser: &mut Parser) -> Parsed<()> {
    if takes(parser, "WITHOUT") {
        parser.expect_keyword(Keyword::UNIQUE)?;
        takes(parser, "KEYS");
    }
    Ok(())
}

/// Flink's: keys and values in turn.
fn map(parser: &mut Parser) -> Parsed<Expr> {
    let name = parser.parse_identifier()?;
    parser.expect_token(&Token::LBracket)?;
    let all = parser.parse_comma_separated(Parser::parse_expr)?;
    if all.len() % 2 == 1 {
        return parser.expected("a value for the last key", parser.peek_token());
    }
    parser.expect_token(&Token::RBracket)?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (place, expr) in all.into_iter().enumerate() {
        match place % 2 {
            0 => keys.push(expr),
            _ => values.push(expr),
        }
    }
    let list = |elem| Expr::Array(Array { elem, named: true });
    let args = vec![list(keys), list(values)];
    Ok(Expr::Function(call(name, args, Vec::new())))
}

/// `IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]` behind an expression, as a call of a function.
pub(super) fn is_json(parser: &mut Parser, expr: &Expr) -> Option<Parsed<Expr>> {
    let negated = parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::JSON]);
    if !negated && !parser.parse_keywords(&[Keyword::IS, Keyword::JSON]) {
        return None;
    }
    let mut args = vec![expr.clone()];
    for kind in ["VALUE", "OBJECT", "ARRAY", "SCALAR"] {
        if takes(parser, kind) {
            let kind = Value::SingleQuotedString(kind.to_owned());
            args.push(Expr::Value(kind.into()));
            break;
        }
    }
    if let Err(error) = any_keys(parser) {
        return Some(Err(error));
    }
    let told = Expr::Function(call(Ident::new("is_json"), args, Vec::new()));
    Some(Ok(match negated {
        false => told,
        true => Expr::Nested(Box::new(Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(told),
        })),
    }))
}
