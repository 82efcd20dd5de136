//! Windows as others write them, turned into ours before anything parses them. Every token keeps its place in the text.
//!
//! ```text
//! Flink    TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), …))              TUMBLE(t, DESCRIPTOR(ts), …)
//!          SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), gap)   SESSION(t, DESCRIPTOR(ts), gap, partition_by => (k))
//! ours     SESSION(t, ts, gap, PARTITION BY k, l)                 SESSION(t, ts, gap, partition_by => (k, l))
//! ksqlDB   FROM t a WINDOW HOPPING (SIZE 1 HOUR, ADVANCE BY 5 MINUTES, GRACE PERIOD 1 DAY) …
//!                                                                 FROM HOP(t, __event_time, INTERVAL '5 MINUTES',
//!                                                                      INTERVAL '1 HOUR') a … GRACE INTERVAL '1 DAY'
//! ```
//!
//! What does not look like one of these stays as it is, for the parser to judge. What ksqlDB groups by besides is added later
//! (`plan/group_window.rs`), known by the name of the time.

use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The argument of SESSION that holds its keys.
pub(crate) const PARTITION_BY: &str = "partition_by";
/// Stands for the event time of the relation before it, where the text names none.
pub(crate) const EVENT_TIME: &str = "__event_time";

const FUNCTIONS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];
const UNITS: [&str; 5] = ["DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND"];

/// What a parenthesis belongs to.
enum Open {
    /// Anything else.
    Other,
    /// `TABLE(` around a window function: it is left out.
    Around,
    /// A window function, and the keys that it has named so far.
    Window(Option<Vec<TokenWithSpan>>),
}

/// See the module.
pub(super) fn canonical(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_foreign = |token: &TokenWithSpan| {
        matches!(
            word(Some(token)).as_str(),
            "TUMBLE" | "HOP" | "CUMULATE" | "SESSION" | "TUMBLING" | "HOPPING"
        )
    };
    if !tokens.iter().any(is_foreign) {
        return tokens;
    }
    let mut writer = Writer {
        out: Vec::with_capacity(tokens.len() + 8),
        open: Vec::new(),
        grace: Vec::new(),
    };
    let mut at = 0;
    while at < tokens.len() {
        at += writer.take(&tokens[at..]);
    }
    writer.finish()
}

/// The word that a token is, upper case; empty for quoted names and everything else.
pub(super) fn word(token: Option<&TokenWithSpan>) -> String {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

fn is(token: Option<&TokenWithSpan>, sign: &Token) -> bool {
    token.is_some_and(|token| token.token == *sign)
}

/// A token of ours in the place of `like`.
fn instead(like: &TokenWithSpan, token: Token) -> TokenWithSpan {
    TokenWithSpan::new(token, like.span)
}

/// The tokens up to the end of the parenthesis that is open before them, without it.
fn inside(tokens: &[TokenWithSpan]) -> Option<&[TokenWithSpan]> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some(&tokens[..at]),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    None
}

struct Writer {
    out: Vec<TokenWithSpan>,
    open: Vec<Open>,
    /// What goes behind the end of the statement.
    grace: Vec<TokenWithSpan>,
}

impl Writer {
    /// Takes what `tokens` begin with; gives how many that were.
    fn take(&mut self, tokens: &[TokenWithSpan]) -> usize {
        let first = &tokens[0];
        match first.token {
            Token::LParen => {
                let function = word(self.out.last());
                self.open
                    .push(match FUNCTIONS.contains(&function.as_str()) {
                        true => Open::Window(None),
                        false => Open::Other,
                    });
            }
            Token::RParen => match self.open.pop() {
                Some(Open::Around) => return 1,
                Some(Open::Window(Some(keys))) => self.name_keys(first, keys),
                _ => {}
            },
            Token::Word(_) => {
                if let Some(taken) = self.foreign(tokens) {
                    return taken;
                }
            }
            _ => {}
        }
        self.out.push(first.clone());
        1
    }

    /// The same for words that others write.
    fn foreign(&mut self, tokens: &[TokenWithSpan]) -> Option<usize> {
        let (first, second) = (word(tokens.first()), word(tokens.get(1)));
        match first.as_str() {
            "TABLE" if is(tokens.get(1), &Token::LParen) => {
                let follows = matches!(word(self.out.last()).as_str(), "FROM" | "JOIN" | "LATERAL")
                    || is(self.out.last(), &Token::Comma);
                let around = FUNCTIONS.contains(&word(tokens.get(2)).as_str())
                    && is(tokens.get(3), &Token::LParen);
                if follows && around {
                    self.open.push(Open::Around);
                    return Some(2);
                }
                None
            }
            "TABLE" if matches!(self.open.last(), Some(Open::Window(_))) => {
                let begins = is(self.out.last(), &Token::LParen)
                    || is(self.out.last(), &Token::RArrow)
                    || is(self.out.last(), &Token::Comma);
                begins.then_some(1)
            }
            "PARTITION" if second == "BY" => self.partition(tokens),
            "WINDOW" => {
                let function = match second.as_str() {
                    "TUMBLING" => "TUMBLE",
                    "HOPPING" => "HOP",
                    "SESSION" => "SESSION",
                    _ => return None,
                };
                self.ksql(function, tokens)
            }
            _ => None,
        }
    }

    /// `PARTITION BY` among the arguments of a window.
    fn partition(&mut self, tokens: &[TokenWithSpan]) -> Option<usize> {
        if !matches!(self.open.last(), Some(Open::Window(None))) {
            return None;
        }
        let rest = tokens.get(2..)?;
        let all = inside(rest)?;
        let keys = if is(self.out.last(), &Token::Comma) {
            // The last argument: all that follow are keys.
            self.out.pop();
            all
        } else if is(rest.first(), &Token::LParen) {
            &rest[..inside(&rest[1..])?.len() + 2]
        } else {
            let comma = all.iter().position(|token| token.token == Token::Comma);
            &all[..comma.unwrap_or(all.len())]
        };
        let taken = 2 + keys.len();
        if let Some(Open::Window(named)) = self.open.last_mut() {
            *named = Some(keys.to_vec());
        }
        Some(taken)
    }

    fn name_keys(&mut self, at: &TokenWithSpan, keys: Vec<TokenWithSpan>) {
        let begin = keys.first().cloned().unwrap_or_else(|| at.clone());
        let in_parentheses = is(keys.first(), &Token::LParen);
        self.out.push(instead(&begin, Token::Comma));
        let name = Token::make_word(PARTITION_BY, None);
        self.out.push(instead(&begin, name));
        self.out.push(instead(&begin, Token::RArrow));
        if !in_parentheses {
            self.out.push(instead(&begin, Token::LParen));
        }
        self.out.extend(keys);
        if !in_parentheses {
            self.out.push(instead(at, Token::RParen));
        }
    }

    /// `WINDOW TUMBLING (SIZE 1 HOUR, …)` behind the relations of FROM: the first of them is the one in windows.
    fn ksql(&mut self, function: &str, tokens: &[TokenWithSpan]) -> Option<usize> {
        if !is(tokens.get(2), &Token::LParen) {
            return None;
        }
        let settings = inside(&tokens[3..])?;
        let lengths = Lengths::read(function, settings)?;
        let (from, end) = self.relation()?;
        let at = &tokens[1];
        let tail = self.out.split_off(end);
        let relation = self.out.split_off(from);
        self.out.push(instead(at, Token::make_word(function, None)));
        self.out.push(instead(at, Token::LParen));
        self.out.extend(relation);
        self.out.push(instead(at, Token::Comma));
        self.out
            .push(instead(at, Token::make_word(EVENT_TIME, None)));
        for length in lengths.arguments {
            self.out.push(instead(at, Token::Comma));
            self.interval(at, length);
        }
        self.out.push(instead(at, Token::RParen));
        self.out.extend(tail);
        if let Some(grace) = lengths.grace {
            let before = std::mem::take(&mut self.out);
            self.out.push(instead(at, Token::make_keyword("GRACE")));
            self.interval(at, grace);
            self.grace = std::mem::replace(&mut self.out, before);
        }
        Some(3 + settings.len() + 1)
    }

    fn interval(&mut self, at: &TokenWithSpan, length: String) {
        self.out.push(instead(at, Token::make_keyword("INTERVAL")));
        self.out
            .push(instead(at, Token::SingleQuotedString(length)));
    }

    /// Where the first relation behind the last FROM of this level stands.
    fn relation(&self) -> Option<(usize, usize)> {
        let mut depth = 0;
        for at in (0..self.out.len()).rev() {
            match self.out[at].token {
                Token::RParen => depth += 1,
                Token::LParen if depth == 0 => return None,
                Token::LParen => depth -= 1,
                Token::Word(_) if depth == 0 && word(self.out.get(at)) == "FROM" => {
                    let from = at + 1;
                    let name = matches!(self.out.get(from)?.token, Token::Word(_));
                    let end = match name {
                        true => from + 1,
                        false => from + 1 + inside(&self.out[from + 1..])?.len() + 1,
                    };
                    return Some((from, end));
                }
                _ => {}
            }
        }
        None
    }

    fn finish(mut self) -> Vec<TokenWithSpan> {
        let ends = |token: &TokenWithSpan| matches!(token.token, Token::SemiColon | Token::EOF);
        let end = self.out.iter().position(ends).unwrap_or(self.out.len());
        self.out.splice(end..end, self.grace);
        self.out
    }
}

/// The lengths of a window as ksqlDB has them.
struct Lengths {
    /// In the order of our function.
    arguments: Vec<String>,
    grace: Option<String>,
}

impl Lengths {
    fn read(function: &str, settings: &[TokenWithSpan]) -> Option<Self> {
        let (mut size, mut advance, mut grace) = (None, None, None);
        for setting in settings.split(|token| token.token == Token::Comma) {
            let first = word(setting.first());
            let (words, slot) = match first.as_str() {
                "SIZE" if function != "SESSION" => (1, &mut size),
                "ADVANCE" if function == "HOP" => (2, &mut advance),
                "GRACE" => (2, &mut grace),
                "RETENTION" => {
                    length(setting.get(1..)?)?;
                    continue;
                }
                _ if function == "SESSION" => (0, &mut size),
                _ => return None,
            };
            let found = length(setting.get(words..)?)?;
            if slot.replace(found).is_some() {
                return None;
            }
        }
        let arguments = match function {
            "HOP" => vec![advance?, size?],
            _ => vec![size?],
        };
        Some(Self { arguments, grace })
    }
}

/// `5 MINUTES`.
fn length(tokens: &[TokenWithSpan]) -> Option<String> {
    let [number, unit] = tokens else { return None };
    let Token::Number(number, _) = &number.token else {
        return None;
    };
    let unit = word(Some(unit));
    let singular = unit.strip_suffix('S').unwrap_or(&unit);
    UNITS
        .contains(&singular)
        .then(|| format!("{number} {unit}"))
}
