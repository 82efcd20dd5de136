//! Tokens of one statement, and the small steps that statement parsers are made of. Errors are diagnostics with the
//! place in the text as it was sent.

use std::sync::Arc;

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location as TokenLocation, Token, TokenWithSpan, Tokenizer};

use super::dialect::StreamDialect;
use super::fetch::limit_fetched;
use super::keyword::{CLAUSES, is_keyword};
use super::operator::signs_apart;
use super::statement::{Name, Text};
use super::{asof, window};
use crate::diagnostic::{Code, Diagnostic, Lexemes, Location, Span, StatementText, nearest};

/// Operators of one expression without a comma between them. The planner's time grows with the square of it.
const OPERATORS_MAX: usize = 500;

/// How high the tree of a whole statement can become: its parts walk and drop it by recursion, on stacks that are made
/// for so much (`stack.rs`).
const HEIGHT_MAX: usize = 1_000;

/// How many operators an AT TIME ZONE counts as.
const CALL_OPERATORS: usize = 10;

/// How many levels of the tree a WITH query is at least: its plan is several nodes high.
const WITH_HEIGHT: usize = 4;

/// How deep parentheses and subqueries nest; sqlparser's own limit.
const NESTING_MAX: usize = 50;

/// A shorter word is a name, never a mistyped keyword.
const SLIP_CHARS_MIN: usize = 3;

/// `NOT NOT NOT …`: beyond its limit of nesting sqlparser takes a NOT for a name, so the row ends before.
const NOTS_MAX: usize = 25;

pub(super) type Parsed<T> = Result<T, Diagnostic>;

static DIALECT: std::sync::LazyLock<StreamDialect> =
    std::sync::LazyLock::new(StreamDialect::default);

/// A position in the tokens of a statement. White space and comments are not among them.
pub(super) struct Cursor {
    pub(super) parser: Parser<'static>,
    pub(super) tokens: Arc<[TokenWithSpan]>,
    end: Location,
}

impl Cursor {
    pub(super) fn new(statement: &StatementText<'_>) -> Parsed<Self> {
        let tokens = tokenize(statement)?;
        check_chains(&tokens)?;
        refuse_patterns(&tokens)?;
        let end = end_of(statement);
        Ok(Self::over(asof::canonical(window::canonical(tokens)), end))
    }

    /// A cursor over made-up tokens followed by what is left of this one.
    pub(super) fn prefixed(&self, prefix: Vec<TokenWithSpan>) -> Self {
        let rest = &self.tokens[self.parser.index().min(self.tokens.len())..];
        Self::over(
            prefix.into_iter().chain(rest.iter().cloned()).collect(),
            self.end,
        )
    }

    /// A cursor over made-up tokens alone.
    pub(super) fn made_up(&self, tokens: Vec<TokenWithSpan>) -> Self {
        Self::over(tokens, self.place_before().end)
    }

    /// A cursor over the tokens up to the first, outside of parentheses, at which `ends` says so of the word and the one (or
    /// the parenthesis) behind it; this one goes on there.
    pub(super) fn up_to(&mut self, ends: impl Fn(&str, &str) -> bool) -> Self {
        let from = self.parser.index().min(self.tokens.len());
        let word = |at: usize| match self.tokens.get(at).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                word.value.to_ascii_uppercase()
            }
            Some(Token::LParen) => "(".to_owned(),
            _ => String::new(),
        };
        let mut depth = 0_usize;
        let mut to = from;
        while let Some(token) = self.tokens.get(to) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::SemiColon => break,
                Token::Word(_) if depth == 0 && ends(&word(to), &word(to + 1)) => break,
                _ => {}
            }
            to += 1;
        }
        let end = self.place_of(to).start;
        let part = Self::over(self.tokens[from..to].to_vec(), end);
        (from..to).for_each(|_| self.advance());
        part
    }

    fn over(tokens: Vec<TokenWithSpan>, end: Location) -> Self {
        let parser = Parser::new(&*DIALECT)
            .with_recursion_limit(NESTING_MAX)
            .with_tokens_with_locations(tokens.clone());
        Self {
            parser,
            tokens: tokens.into(),
            end,
        }
    }

    /// From here on types are read: `ROW<` begins one that sqlparser knows as STRUCT, and `>>>` ends three. Not for where
    /// expressions may stand.
    pub(super) fn rows_are_structs(&mut self) {
        let from = self.parser.index().min(self.tokens.len());
        let mut tokens = self.tokens[..from].to_vec();
        for token in &self.tokens[from..] {
            match &token.token {
                Token::CustomBinaryOperator(ends)
                    if ends.len() > 2 && ends.bytes().all(|byte| byte == b'>') =>
                {
                    let end = TokenWithSpan::new(Token::Gt, token.span);
                    tokens.extend(std::iter::repeat_n(end, ends.len()));
                }
                _ => tokens.push(token.clone()),
            }
        }
        for at in from..tokens.len().saturating_sub(1) {
            let begins = tokens[at + 1].token == Token::Lt;
            if begins
                && let Token::Word(word) = &tokens[at].token
                && word.quote_style.is_none()
                && word.value.eq_ignore_ascii_case("ROW")
            {
                tokens[at].token = Token::make_keyword("STRUCT");
            }
        }
        let mut changed = Self::over(tokens, self.end);
        for _ in 0..from {
            changed.advance();
        }
        *self = changed;
    }

    /// Runs a parser of sqlparser's.
    pub(super) fn run<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
    ) -> Parsed<T> {
        parse(&mut self.parser).map_err(|error| self.explain(&error))
    }

    pub(super) fn query(&mut self) -> Parsed<Box<Query>> {
        let mut query = self.run(|parser| parser.parse_query())?;
        let place = |word: &str| {
            let named = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(known) if known.value.eq_ignore_ascii_case(word));
            self.tokens
                .iter()
                .find(named)
                .map(|token| token.span.into())
        };
        limit_fetched(&mut query).map_err(|error| error.at(place("FETCH")))?;
        Ok(query)
    }

    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.run(|parser| parser.parse_expr())
    }

    /// The place of the next token; the end of the statement if there is none.
    pub(super) fn place(&self) -> Span {
        self.place_of(self.parser.index())
    }

    /// The place of the token before.
    pub(super) fn place_before(&self) -> Span {
        self.place_of(self.parser.index().saturating_sub(1))
    }

    fn place_of(&self, index: usize) -> Span {
        match self.tokens.get(index) {
            Some(token) => token.span.into(),
            None => Span {
                start: self.end,
                end: self.end,
            },
        }
    }

    /// From `start` to the token before.
    pub(super) fn since(&self, start: Span) -> Span {
        start.to(self.place_before())
    }

    /// The word `ahead` tokens on, upper case; empty for quoted names and everything else.
    pub(super) fn word_ahead(&self, ahead: usize) -> String {
        match self
            .tokens
            .get(self.parser.index() + ahead)
            .map(|token| &token.token)
        {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                word.value.to_ascii_uppercase()
            }
            _ => String::new(),
        }
    }

    pub(super) fn peek(&self) -> &Token {
        self.tokens
            .get(self.parser.index())
            .map_or(&Token::EOF, |token| &token.token)
    }

    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek(), Token::EOF | Token::SemiColon)
    }

    pub(super) fn advance(&mut self) {
        self.parser.advance_token();
    }

    /// Takes these words if they are next, in order.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let fits = words
            .iter()
            .enumerate()
            .all(|(ahead, word)| self.word_ahead(ahead) == *word);
        if fits {
            words.iter().for_each(|_| self.advance());
        }
        fits
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.words(&[word]) {
            Ok(())
        } else {
            Err(self.unexpected(&[word]))
        }
    }

    pub(super) fn token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Parsed<()> {
        if self.token(token) {
            Ok(())
        } else {
            Err(self.unexpected(&[&token.to_string()]))
        }
    }

    pub(super) fn expect_end(&mut self) -> Parsed<()> {
        if self.at_end() {
            return Ok(());
        }
        let message = format!("unexpected {} after the end of the statement", self.found());
        let index = self.parser.index();
        let found = self
            .misplaced(index)
            .or_else(|| self.comma_too_many(index))
            .or_else(|| self.typo_near(index));
        Err(found.unwrap_or_else(|| {
            let diagnostic = Diagnostic::new(Code::Syntax, message).at(self.place());
            match self.word_at(index) {
                Some(word) if !is_keyword(word) => diagnostic.help(
                    "a comma is missing before it, or the statement should have ended: statements end with ;",
                ),
                _ => diagnostic,
            }
        }))
    }

    /// The next token is none of `expected`.
    pub(super) fn unexpected(&self, expected: &[&str]) -> Diagnostic {
        let message = format!("expected {}, found {}", list(expected), self.found());
        let near = match self.peek() {
            Token::Word(word) if word.quote_style.is_none() => {
                let words = expected
                    .iter()
                    .filter_map(|phrase| phrase.split(' ').next());
                nearest(&word.value, words)
            }
            _ => None,
        };
        match near {
            Some(near) => Diagnostic::new(Code::Keyword, message)
                .at(self.place())
                .suggest(near),
            None => Diagnostic::new(Code::Syntax, message).at(self.place()),
        }
    }

    /// One comma too many: before a keyword that ends a list, or at the end.
    fn comma_too_many(&self, index: usize) -> Option<Diagnostic> {
        const ENDS: &[&str] = &["FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "EMIT"];
        // The parser may have taken the keyword for a name, and failed at what follows.
        let comma = [index, index.checked_sub(1)?].into_iter().find_map(|at| {
            let ends = match self.tokens.get(at).map(|token| &token.token) {
                None | Some(Token::EOF | Token::SemiColon | Token::RParen) => true,
                Some(_) => self
                    .word_at(at)
                    .is_some_and(|word| ENDS.iter().any(|end| word.eq_ignore_ascii_case(end))),
            };
            let comma = at.checked_sub(1)?;
            let before = self.tokens.get(comma)?;
            (ends && before.token == Token::Comma).then_some(comma)
        })?;
        let next = match self.word_at(comma + 1) {
            Some(word) => format!(" before {}", word.to_uppercase()),
            None => String::new(),
        };
        Some(
            Diagnostic::new(Code::Syntax, format!("a comma too many{next}"))
                .at(self.place_of(comma))
                .help("take it away, or write what is missing behind it")
                .suggest(""),
        )
    }

    fn found(&self) -> String {
        match self.peek() {
            Token::EOF => "the end of the statement".to_owned(),
            token => token.to_string(),
        }
    }

    pub(super) fn name(&mut self, what: &str) -> Parsed<Name> {
        match self.peek() {
            Token::Word(_) => {
                let ident = self.run(|parser| parser.parse_identifier())?;
                Ok(Name::from(&ident))
            }
            _ => Err(self.unexpected(&[what])),
        }
    }

    /// All tokens with their places.
    pub(super) fn lexemes(&self) -> Lexemes {
        let mut lexemes = Lexemes::default();
        for token in self.tokens.iter() {
            let span = Span::from(token.span);
            match &token.token {
                Token::Word(word) => {
                    if word.quote_style.is_some() {
                        lexemes.quoted.push(word.value.clone());
                    }
                    lexemes.words.push((word.value.clone(), span));
                }
                Token::Number(text, _)
                | Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text) => lexemes.literals.push((text.clone(), span)),
                Token::DollarQuotedString(text) => {
                    lexemes.literals.push((text.value.clone(), span));
                }
                sign => lexemes.signs.push((sign.to_string(), span)),
            }
        }
        lexemes
    }

    /// Names in parentheses.
    pub(super) fn names(&mut self, what: &str) -> Parsed<Vec<Name>> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.token(&Token::Comma) {
            names.push(self.name(what)?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    pub(super) fn string(&mut self, what: &str) -> Parsed<Text> {
        let place = self.place();
        let value = match self.peek() {
            Token::SingleQuotedString(value) | Token::EscapedStringLiteral(value) => value.clone(),
            Token::DollarQuotedString(value) => value.value.clone(),
            _ => return Err(self.unexpected(&[what])),
        };
        self.advance();
        Ok(Text {
            value,
            span: Some(place),
        })
    }

    pub(super) fn if_not_exists(&mut self) -> bool {
        self.words(&["IF", "NOT", "EXISTS"])
    }

    /// sqlparser's error as a diagnostic: its position stands only in the message.
    fn explain(&self, error: &ParserError) -> Diagnostic {
        let text = match error {
            ParserError::RecursionLimitExceeded => {
                return too_deep().at(self.place());
            }
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        };
        let (message, location) = split_location(text);
        let index = match location {
            Some(location) => self
                .tokens
                .iter()
                .position(|token| token.span.start == location),
            None if message.ends_with("found: EOF") => Some(self.tokens.len()),
            None => None,
        };
        let index = index.unwrap_or_else(|| self.parser.index().saturating_sub(1));
        if message.starts_with("Expected: joined table")
            && let Some(inner) = self.subquery_error(index)
        {
            return inner;
        }
        let found = self
            .misplaced(index)
            .or_else(|| self.comma_too_many(index))
            .or_else(|| self.typo_near(index));
        if let Some(diagnostic) = found {
            return diagnostic;
        }
        let message = message
            .replace("Expected: ", "expected ")
            .replace("found: EOF", "found the end of the statement")
            .replace("found: ", "found ");
        Diagnostic::new(Code::Syntax, message).at(self.place_of(index))
    }

    /// What is wrong inside of the subquery around `index`: the parser of relations tries it as a query, then as a
    /// join in parentheses, and only tells why the second failed.
    fn subquery_error(&self, index: usize) -> Option<Diagnostic> {
        let before = index.min(self.tokens.len());
        let start = (0..before)
            .rev()
            .find(|&at| self.tokens[at].token == Token::LParen)?
            + 1;
        let first = self.word_at(start)?.to_ascii_uppercase();
        if !matches!(first.as_str(), "SELECT" | "WITH" | "VALUES") {
            return None;
        }
        let mut inner = Self::over(self.tokens[start..].to_vec(), self.end);
        if let Err(error) = inner.query() {
            return Some(error);
        }
        let at = inner.parser.index();
        let found = inner.misplaced(at).or_else(|| inner.typo_near(at));
        Some(found.unwrap_or_else(|| inner.unexpected(&[")"])))
    }

    /// A window as ksqlDB has it, around `index`, that says something else than lengths.
    fn foreign_window(&self, index: usize) -> Option<Diagnostic> {
        let upper = |at: usize| self.word_at(at).map(str::to_ascii_uppercase);
        let from = index.saturating_sub(3);
        let at = (from..=index).find(|&at| {
            let kind = upper(at + 1);
            upper(at).as_deref() == Some("WINDOW")
                && matches!(kind.as_deref(), Some("TUMBLING" | "HOPPING" | "SESSION"))
        })?;
        let place = self.place_of(at).to(self.place_of(at + 1));
        Some(
            Diagnostic::new(Code::Syntax, "this window's lengths are not understood")
                .at(place)
                .help("WINDOW TUMBLING (SIZE 1 HOUR), HOPPING (SIZE 1 HOUR, ADVANCE BY 5 MINUTES), SESSION (10 MINUTES), each also with GRACE PERIOD 1 DAY, behind FROM; or FROM TUMBLE(t, ts, INTERVAL '1 hour')"),
        )
    }

    /// MySQL's `LIMIT offset, count`, whose comma is at `index`.
    fn limit_of_two(&self, index: usize) -> Option<Diagnostic> {
        let is_comma = self.tokens.get(index)?.token == Token::Comma;
        let limit = self.word_at(index.checked_sub(2)?)?;
        (is_comma && limit.eq_ignore_ascii_case("LIMIT")).then(|| {
            Diagnostic::new(Code::Syntax, "LIMIT takes one number")
                .at(self.place_of(index))
                .help("LIMIT 10 OFFSET 5: ten rows, behind the first five")
        })
    }

    /// Clauses of ours that stand where they have no meaning, and those of others.
    fn misplaced(&self, index: usize) -> Option<Diagnostic> {
        if let Some(limit) = self.limit_of_two(index) {
            return Some(limit);
        }
        if let Some(window) = self.foreign_window(index) {
            return Some(window);
        }
        let word = self.word_at(index)?.to_ascii_uppercase();
        let next = self
            .word_at(index + 1)
            .map(str::to_ascii_uppercase)
            .unwrap_or_default();
        let at = self.place_of(index);
        if let Some(quantifier) = self.group_by_quantifier(index) {
            return Some(quantifier);
        }
        if matches!(word.as_str(), "ORDER" | "GROUP") && next != "BY" {
            let without = Diagnostic::new(Code::Syntax, format!("{word} without BY"));
            // `GROUP BU a`: the second word is the slip.
            return Some(
                if next.len() == 2 && strsim::osa_distance(&next, "BY") == 1 {
                    without.at(self.place_of(index + 1)).suggest("BY")
                } else {
                    without.at(at).suggest(format!("{word} BY"))
                },
            );
        }
        match (word.as_str(), next.as_str()) {
            ("EMIT", _) => Some(
                Diagnostic::new(Code::Syntax, "EMIT cannot stand inside of a subquery")
                    .at(at)
                    .help("EMIT belongs at the end of the whole query"),
            ),
            ("LATE" | "GRACE", "TO" | "DROP" | "UPDATE" | "INTERVAL") => Some(
                Diagnostic::new(Code::Syntax, format!("{word} cannot stand inside of a subquery"))
                    .at(at)
                    .help(format!("{word} belongs at the end of the whole query")),
            ),
            ("ON", "CONFLICT") => Some(
                Diagnostic::new(Code::Syntax, "ON CONFLICT stands at the end of an INSERT")
                    .at(at)
                    .help("INSERT INTO t VALUES … ON CONFLICT (key) DO NOTHING; without it the row of a key is replaced"),
            ),
            ("EXCLUDE", "CURRENT" | "TIES" | "GROUP" | "NO") => Some(
                Diagnostic::new(Code::Unsupported, "EXCLUDE of a frame is not available")
                    .at(at)
                    .help("of a sum or count take the row's own value off: sum(x) OVER (…) - x; two frames, before the row and behind it, leave it out"),
            ),
            ("WITHIN", _) => Some(
                Diagnostic::new(Code::Unsupported, "JOIN … WITHIN is not available")
                    .at(at)
                    .help("a plain JOIN keeps both sides; bound it in ON: a.ts BETWEEN b.ts - INTERVAL '1 hour' AND b.ts"),
            ),
            ("TEMPORAL" | "ASOF", "JOIN" | "LEFT") => Some(
                Diagnostic::new(Code::Unsupported, format!("{word} JOIN is not available"))
                    .at(at)
                    .help("a plain JOIN works: a change on either side corrects the result"),
            ),
            _ => None,
        }
    }

    /// `GROUP BY DISTINCT …`, whose sets fail at `index`.
    fn group_by_quantifier(&self, index: usize) -> Option<Diagnostic> {
        let before = index.checked_sub(1)?;
        let word = |back: usize| self.word_at(before.checked_sub(back)?);
        let is = |word: Option<&str>, other: &str| {
            word.is_some_and(|word| word.eq_ignore_ascii_case(other))
        };
        let quantifier = ["DISTINCT", "ALL"]
            .into_iter()
            .find(|name| is(word(0), name))?;
        (is(word(1), "BY") && is(word(2), "GROUP")).then(|| {
            let help = match quantifier {
                "ALL" => "leave ALL out: GROUP BY gives each of its sets",
                _ => "GROUPING SETS ((a, b), (a), ()) names each set once",
            };
            Diagnostic::new(
                Code::Unsupported,
                format!("GROUP BY {quantifier} is not available"),
            )
            .at(self.place_of(before))
            .help(help)
        })
    }

    /// A mistyped keyword at `index`, or before it where it was taken for an alias (`FROM t WHER a = 1` fails at `a`).
    fn typo_near(&self, index: usize) -> Option<Diagnostic> {
        let before = index
            .checked_sub(1)
            .filter(|&before| self.is_alias_place(before));
        // GROUP and ORDER without BY are left where they stand.
        let after = matches!(self.word_at(index), Some(word) if word.eq_ignore_ascii_case("group") || word.eq_ignore_ascii_case("order"));
        let after = after.then_some(index + 1);
        for candidate in before.into_iter().chain([index]).chain(after) {
            let Some(word) = self.word_at(candidate) else {
                continue;
            };
            let of_grouping = word.eq_ignore_ascii_case("sets");
            if is_keyword(word) || of_grouping || word.chars().count() < SLIP_CHARS_MIN {
                continue;
            }
            // Most short words are names: only one slip makes them keywords.
            let near = nearest(word, CLAUSES.iter().copied()).filter(|near| {
                word.chars().count() > 5
                    || strsim::osa_distance(&word.to_lowercase(), &near.to_lowercase()) <= 1
            });
            if let Some(near) = near {
                return Some(
                    Diagnostic::new(Code::Keyword, format!("{word} is not a keyword"))
                        .at(self.place_of(candidate))
                        .suggest(near),
                );
            }
        }
        None
    }

    fn word_at(&self, index: usize) -> Option<&str> {
        match &self.tokens.get(index)?.token {
            Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Whether a word at `index` follows something that may have an alias: a name, a literal, a closing parenthesis.
    fn is_alias_place(&self, index: usize) -> bool {
        let Some(before) = index
            .checked_sub(1)
            .and_then(|before| self.tokens.get(before))
        else {
            return false;
        };
        match &before.token {
            Token::Word(word) => word.quote_style.is_some() || !is_keyword(&word.value),
            Token::RParen | Token::Mul | Token::Number(..) | Token::SingleQuotedString(_) => true,
            _ => false,
        }
    }
}

/// A keyword token that stands nowhere in the text.
pub(super) fn made_up(word: &str) -> TokenWithSpan {
    TokenWithSpan::wrap(Token::make_keyword(word))
}

/// A name token with the place of `name`.
pub(super) fn made_up_name(name: &Name) -> TokenWithSpan {
    let ident = Ident::with_quote('"', name.name.clone());
    let token = Token::make_word(&ident.value, Some('"'));
    let span = name
        .span
        .map_or(sqlparser::tokenizer::Span::empty(), |span| {
            let at = |place: Location| TokenLocation::new(place.line, place.column);
            sqlparser::tokenizer::Span::new(at(span.start), at(span.end))
        });
    TokenWithSpan::new(token, span)
}

fn tokenize(statement: &StatementText<'_>) -> Parsed<Vec<TokenWithSpan>> {
    let shift = |location: &mut TokenLocation| {
        if location.line == 1 {
            location.column += statement.column - 1;
        }
        location.line += statement.line - 1;
    };
    let tokens = Tokenizer::new(&*DIALECT, statement.text).tokenize_with_location();
    let mut tokens = tokens.map_err(|error| {
        let mut location = error.location;
        shift(&mut location);
        let start = Location {
            line: location.line,
            column: location.column,
        };
        let code = if error.message.starts_with("Unterminated")
            || error.message.contains("Expected close delimiter")
            || error.message.contains("EOF")
        {
            Code::Unterminated
        } else {
            Code::Syntax
        };
        let mut message = error.message;
        if let Some(first) = message.get(..1).map(str::to_lowercase) {
            message.replace_range(..1, &first);
        }
        Diagnostic::new(code, message).at(Span { start, end: start })
    })?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    for token in &mut tokens {
        shift(&mut token.span.start);
        shift(&mut token.span.end);
    }
    Ok(signs_apart(tokens))
}

/// What a comma means where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comma {
    /// One of a list: what follows stands beside what came before.
    Beside,
    /// Between relations of a FROM: each is one more join.
    Joins,
    /// Between WITH queries: each can read the one before.
    Reads,
}

/// How high the tree is that the tokens of one pair of parentheses make, at most.
#[derive(Debug)]
struct Height {
    comma: Comma,
    /// Operators since the last comma that begins something new.
    operators: usize,
    /// The highest pair of parentheses since then.
    inner: usize,
    /// UNION, EXCEPT and INTERSECT, whose commas are those of their SELECTs.
    sets: usize,
    /// The highest of what ended at a comma.
    before: usize,
}

impl Height {
    const NONE: Self = Self {
        comma: Comma::Beside,
        operators: 0,
        inner: 0,
        sets: 0,
        before: 0,
    };

    fn now(&self) -> usize {
        self.operators + self.inner + self.sets
    }

    fn comma(&mut self) {
        match self.comma {
            Comma::Beside => {
                self.before = self.before.max(self.now());
                (self.operators, self.inner) = (0, 0);
            }
            Comma::Joins => self.operators += 1,
            Comma::Reads => self.inner += WITH_HEIGHT,
        }
    }

    /// Takes in what stood in parentheses.
    fn close(&mut self, inner: &Self) {
        let height = 1 + inner.before.max(inner.now());
        match self.comma {
            Comma::Reads => self.inner += height,
            Comma::Beside | Comma::Joins => self.inner = self.inner.max(height),
        }
    }

    /// Takes in a word outside of quotes; `before` and `next` are the words around it.
    fn word(&mut self, before: &str, word: &str, next: &str) {
        match word {
            "UNION" | "EXCEPT" | "INTERSECT" => {
                self.sets += 1;
                self.comma = Comma::Beside;
            }
            "WITH" if !matches!(next, "" | "TIME" | "ORDINALITY") => self.comma = Comma::Reads,
            "FROM" if before != "DISTINCT" => self.comma = Comma::Joins,
            "SELECT" | "VALUES" | "WHERE" | "GROUP" | "HAVING" | "WINDOW" | "ORDER" => {
                self.comma = Comma::Beside;
            }
            // A function, whose name holds those of all below it.
            "AT" => self.operators += CALL_OPERATORS,
            "AND" | "OR" | "XOR" | "JOIN" | "IS" | "COLLATE" | "LIKE" | "ILIKE" | "SIMILAR"
            | "BETWEEN" | "IN" | "ISNULL" | "NOTNULL" | "OVERLAPS" => {
                self.operators += 1;
            }
            _ => {}
        }
    }
}

/// Refuses chains like `1 + 1 + 1 + …` that sqlparser reads in a loop and others walk by recursion.
fn check_chains(tokens: &[TokenWithSpan]) -> Parsed<()> {
    let word_at = |index: usize| match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        Some(Token::Word(word)) => word.value.clone(),
        _ => String::new(),
    };
    let mut open = vec![Height::NONE];
    // Of all open parentheses but the innermost.
    let mut around = 0;
    let mut nots = 0;
    let mut before = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let at = Span::from(token.span);
        let word = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        };
        nots = if word == "NOT" { nots + 1 } else { 0 };
        if nots > NOTS_MAX {
            return Err(too_deep().at(at));
        }
        let outermost = open.len() == 1;
        let Some(last) = open.last_mut() else { break };
        match &token.token {
            Token::LParen | Token::LBracket => {
                last.operators += usize::from(token.token == Token::LBracket);
                around += last.now();
                open.push(Height::NONE);
            }
            Token::RParen | Token::RBracket if !outermost => {
                if let (Some(inner), Some(last)) = (open.pop(), open.last_mut()) {
                    around -= last.now();
                    last.close(&inner);
                }
            }
            Token::RParen | Token::RBracket => {}
            Token::Comma => last.comma(),
            Token::SemiColon => *last = Height::NONE,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            Token::Word(_) if word.is_empty() => {}
            Token::Word(_) => last.word(&before, &word, &word_at(index + 1)),
            _ => last.operators += 1,
        }
        before = word;
        let Some(last) = open.last() else { break };
        if last.operators > OPERATORS_MAX {
            let message =
                format!("an expression with more than {OPERATORS_MAX} operators in a row");
            return Err(Diagnostic::new(Code::TooLong, message)
                .at(at)
                .help("use IN (…), or split the expression"));
        }
        if around + last.now() > HEIGHT_MAX {
            let message = format!("the statement is more than {HEIGHT_MAX} operators high");
            return Err(Diagnostic::new(Code::TooLong, message)
                .at(at)
                .help("split it into views, or chain fewer operators, UNIONs and WITH queries"));
        }
    }
    Ok(())
}

/// Refuses patterns over rows, which are parsed as something else or fail far from the word that asks for them.
fn refuse_patterns(tokens: &[TokenWithSpan]) -> Parsed<()> {
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        let Token::Word(word) = &token.token else {
            continue;
        };
        let asks = word.quote_style.is_none()
            && next.token == Token::LParen
            && word.value.eq_ignore_ascii_case("MATCH_RECOGNIZE");
        if asks {
            return Err(
                Diagnostic::new(Code::Unsupported, "MATCH_RECOGNIZE is not available")
                    .at(Span::from(token.span))
                    .help("LAG and LEAD OVER (PARTITION BY k ORDER BY ts) in a subquery compare a row with those beside it; a JOIN with ts BETWEEN finds what follows within a time"),
            );
        }
    }
    Ok(())
}

fn too_deep() -> Diagnostic {
    let message = format!("the statement nests deeper than {NESTING_MAX} levels");
    Diagnostic::new(Code::TooLong, message)
}

fn end_of(statement: &StatementText<'_>) -> Location {
    let lines = statement.text.matches('\n').count() as u64;
    let last = statement
        .text
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count() as u64;
    let column = if lines == 0 {
        statement.column + last
    } else {
        last + 1
    };
    Location {
        line: statement.line + lines,
        column,
    }
}

/// Takes ` at Line: 1, Column: 22` off the end of a message.
fn split_location(text: &str) -> (&str, Option<TokenLocation>) {
    let Some(at) = text.rfind(" at Line: ") else {
        return (text, None);
    };
    let mut numbers = text[at + " at Line: ".len()..].split(", Column: ");
    let location = numbers
        .next()
        .zip(numbers.next())
        .and_then(|(line, column)| {
            Some(TokenLocation::new(line.parse().ok()?, column.parse().ok()?))
        });
    match location {
        Some(location) => (&text[..at], Some(location)),
        None => (text, None),
    }
}

/// `A`, `A or B`, `A, B or C`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => sign(one),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| sign(word)).collect();
            format!("{} or {}", first.join(", "), sign(last))
        }
    }
}

/// A sign in quotes, or it could not be told from the sentence around it.
fn sign(word: &str) -> String {
    if word.chars().all(|char| char.is_ascii_punctuation()) {
        return format!("'{word}'");
    }
    word.to_owned()
}
