//! A place in the bytes of one JSON text, and the moves over it: white space, strings, numbers, whole values.
//!
//! ```text
//! {"carrier":"UA","dep_delay":2,"route":{"from":"EWR"}}
//!            ▲ string()       ▲ number()  ▲ skip_value(): brackets on a bit stack, no recursion
//! ```
//!
//! Strings are looked through eight bytes at a time; the same pass tells whether there is an escape, a control
//! character or a byte beyond ASCII, so that the plain case needs no second look.
//!
//! Invariants:
//! 1. `at` never passes the end of the bytes.
//! 2. No input makes a move panic, recurse or allocate.
//! 3. A skipped value is checked as far as its structure goes; the inside of a skipped string is not. A checked value
//!    ([`Cursor::check_value`]) is JSON throughout: its strings are UTF-8, and their escapes stand for letters.

use super::fault::Fault;

/// How deep a value that is passed over may nest; deeper ones make the record undecodable (serde_json has the
/// same limit).
pub(super) const DEPTH_MAX: u32 = 128;

/// Eight times the same byte.
const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The top bit of every byte that is zero; bytes behind the first such one may be marked wrongly.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(1)) & !word & repeat(0x80)
}

/// A string between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// First byte.
    pub(super) start: usize,
    /// One past the last byte (the closing quote).
    pub(super) end: usize,
    /// Whether there is a backslash.
    pub(super) escaped: bool,
    /// Whether all bytes are ASCII.
    pub(super) ascii: bool,
}

/// A place in one JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// All of the text.
    pub(super) bytes: &'a [u8],
    /// The next byte.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte; 0 at the end, which no JSON token begins with.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        match self.bytes.get(self.at) {
            Some(byte) => *byte,
            None => 0,
        }
    }

    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        if self.peek() <= b' ' {
            self.skip_space_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn skip_space_slow(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Steps over `byte`, if it is the next one.
    #[inline(always)]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Steps over `literal`, which must stand here.
    pub(super) fn literal(&mut self, literal: &'static [u8]) -> Result<(), Fault> {
        match self.bytes.get(self.at..) {
            Some(rest) if rest.starts_with(literal) => {
                self.at += literal.len();
                Ok(())
            }
            _ => Err(Fault::syntax(self.at, "a value")),
        }
    }

    /// Steps over a string whose opening quote is the next byte.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Span, Fault> {
        let start = self.at + 1;
        let mut at = start;
        let (mut escaped, mut beyond) = (false, 0u64);
        loop {
            let Some(chunk) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) else {
                return self.string_end(start, at, escaped, beyond == 0);
            };
            let word = u64::from_le_bytes(*chunk);
            let quote = zero_bytes(word ^ repeat(b'"'));
            let backslash = zero_bytes(word ^ repeat(b'\\'));
            // A control character: below 0x20, and not beyond ASCII.
            let control = word.wrapping_sub(repeat(0x20)) & !word & repeat(0x80);
            let stop = quote | backslash | control;
            if stop == 0 {
                beyond |= word & repeat(0x80);
                at += 8;
                continue;
            }
            // The lowest mark is always true; what stands behind it may not be.
            let length = (stop.trailing_zeros() / 8) as usize;
            let before = (1u64 << (length * 8)).wrapping_sub(1);
            beyond |= word & repeat(0x80) & before;
            at += length;
            match chunk[length] {
                b'"' => {
                    self.at = at + 1;
                    return Ok(Span {
                        start,
                        end: at,
                        escaped,
                        ascii: beyond == 0,
                    });
                }
                b'\\' => {
                    escaped = true;
                    at += 2;
                }
                _ => return Err(Fault::syntax(at, "no bare control character in a string")),
            }
        }
    }

    /// The last bytes of the text, one at a time.
    fn string_end(
        &mut self,
        start: usize,
        mut at: usize,
        mut escaped: bool,
        mut ascii: bool,
    ) -> Result<Span, Fault> {
        loop {
            match self.bytes.get(at) {
                None => return Err(Fault::syntax(self.bytes.len(), "the end of the string")),
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Span {
                        start,
                        end: at,
                        escaped,
                        ascii,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(0..0x20) => {
                    return Err(Fault::syntax(at, "no bare control character in a string"));
                }
                Some(byte) => {
                    ascii &= byte.is_ascii();
                    at += 1;
                }
            }
        }
    }

    /// Steps over a string of no interest.
    #[inline]
    fn skip_string(&mut self) -> Result<(), Fault> {
        let mut at = self.at + 1;
        // Short strings end within a few words; long ones are worth the vector search.
        for _ in 0..4 {
            let Some(chunk) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) else {
                break;
            };
            let word = u64::from_le_bytes(*chunk);
            let stop = zero_bytes(word ^ repeat(b'"')) | zero_bytes(word ^ repeat(b'\\'));
            if stop == 0 {
                at += 8;
                continue;
            }
            at += (stop.trailing_zeros() / 8) as usize;
            if self.bytes.get(at) == Some(&b'"') {
                self.at = at + 1;
                return Ok(());
            }
            at += 2;
        }
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                None => return Err(Fault::syntax(self.bytes.len(), "the end of the string")),
                Some(length) if rest[length] == b'"' => {
                    self.at = at + length + 1;
                    return Ok(());
                }
                Some(length) => at += length + 2,
            }
        }
    }

    /// Steps over a number and returns its bytes; checks JSON's grammar.
    pub(super) fn number(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if self.peek().is_ascii_digit() {
                return Err(Fault::syntax(self.at, "no digit behind a leading 0"));
            }
        } else if self.digits() == 0 {
            return Err(Fault::syntax(self.at, "a digit"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(Fault::syntax(self.at, "a digit behind the point"));
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(Fault::syntax(self.at, "a digit of the exponent"));
            }
        }
        Ok(&self.bytes[start..self.at])
    }

    /// Steps over a number of no interest: a plain whole one at once, any other by the grammar.
    #[inline]
    fn skip_number(&mut self) -> Result<(), Fault> {
        let mut at = self.at + usize::from(self.peek() == b'-');
        let first = at;
        while let Some(b'0'..=b'9') = self.bytes.get(at) {
            at += 1;
        }
        let next = self.bytes.get(at);
        let leading_zero = at - first > 1 && self.bytes[first] == b'0';
        if at == first || leading_zero || matches!(next, Some(b'.' | b'e' | b'E')) {
            return self.number().map(|_| ());
        }
        self.at = at;
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    /// Steps over one value of any kind.
    #[inline]
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        self.pass_value::<false>()
    }

    /// Steps over one value of any kind and looks at every byte of it: what lies behind is JSON.
    pub(super) fn check_value(&mut self) -> Result<(), Fault> {
        self.pass_value::<true>()
    }

    #[inline]
    fn pass_value<const CHECK: bool>(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.pass_string::<CHECK>(),
            b'-' | b'0'..=b'9' => self.skip_number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'{' | b'[' => self.pass_nested::<CHECK>(),
            _ => Err(Fault::syntax(self.at, "a value")),
        }
    }

    /// Steps over an object or array. One bit a level says which of the two it is.
    fn pass_nested<const CHECK: bool>(&mut self) -> Result<(), Fault> {
        let (mut objects, mut depth) = (0u128, 0u32);
        loop {
            // A value begins here.
            self.skip_space();
            let open = self.peek();
            if open == b'{' || open == b'[' {
                if depth == DEPTH_MAX {
                    return Err(Fault::too_deep(self.at));
                }
                self.at += 1;
                depth += 1;
                objects = (objects << 1) | u128::from(open == b'{');
                self.skip_space();
                if !self.take(if open == b'{' { b'}' } else { b']' }) {
                    if open == b'{' {
                        self.pass_name::<CHECK>()?;
                    }
                    continue;
                }
                depth -= 1;
                objects >>= 1;
            } else {
                self.pass_value::<CHECK>()?;
            }
            // A value has ended: a comma, or brackets close.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.skip_space();
                let in_object = objects & 1 == 1;
                if self.take(b',') {
                    if in_object {
                        self.skip_space();
                        self.pass_name::<CHECK>()?;
                    }
                    break;
                }
                if !self.take(if in_object { b'}' } else { b']' }) {
                    let expected = if in_object {
                        "',' or '}'"
                    } else {
                        "',' or ']'"
                    };
                    return Err(Fault::syntax(self.at, expected));
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Steps over a field's name and its colon.
    fn pass_name<const CHECK: bool>(&mut self) -> Result<(), Fault> {
        if self.peek() != b'"' {
            return Err(Fault::syntax(self.at, "a field name in quotes"));
        }
        self.pass_string::<CHECK>()?;
        self.colon()
    }

    #[inline(always)]
    fn pass_string<const CHECK: bool>(&mut self) -> Result<(), Fault> {
        if CHECK {
            self.check_string()
        } else {
            self.skip_string()
        }
    }

    /// Steps over a string that stands for a text.
    fn check_string(&mut self) -> Result<(), Fault> {
        let span = self.string()?;
        let raw = &self.bytes[span.start..span.end];
        if !span.ascii {
            std::str::from_utf8(raw)
                .map_err(|error| Fault::not_utf8(span.start + error.valid_up_to()))?;
        }
        let mut at = 0;
        while span.escaped
            && let Some(plain) = memchr::memchr(b'\\', &raw[at..])
        {
            at += plain;
            at += escape(raw, at, span.start)?.1;
        }
        Ok(())
    }

    /// Steps over the colon behind a field's name, and the space around it.
    #[inline(always)]
    pub(super) fn colon(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if !self.take(b':') {
            return Err(Fault::syntax(self.at, "':' behind the field name"));
        }
        self.skip_space();
        Ok(())
    }

    /// Nothing but white space may follow.
    #[inline(always)]
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        self.skip_space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(Fault::syntax(self.at, "the end"))
        }
    }
}

/// Whether the bytes are one JSON value, and nothing else but white space.
pub(crate) fn is_json_text(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    cursor.skip_space();
    cursor.check_value().and_then(|()| cursor.end()).is_ok()
}

/// The text that the inside of a JSON string of ours stands for.
pub(crate) fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    // Only a string that we did not write could fail.
    let _ = unescape(raw, 0, &mut text);
    text
}

/// Writes the text that an escaped string stands for behind `out`; `raw` lies at `start` in its JSON text.
///
/// # Errors
/// An escape that JSON does not know, half of a surrogate pair, or bytes that are not UTF-8.
pub(super) fn unescape(raw: &[u8], start: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut at = 0;
    while at < raw.len() {
        let plain = memchr::memchr(b'\\', &raw[at..]).unwrap_or(raw.len() - at);
        let text = std::str::from_utf8(&raw[at..at + plain])
            .map_err(|error| Fault::not_utf8(start + at + error.valid_up_to()))?;
        out.extend_from_slice(text.as_bytes());
        at += plain;
        if at == raw.len() {
            break;
        }
        let (letter, length) = escape(raw, at, start)?;
        at += length;
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
}

/// The letter of the escape that begins at `at`, and how many bytes it takes.
fn escape(raw: &[u8], at: usize, start: usize) -> Result<(char, usize), Fault> {
    let letter = match raw.get(at + 1) {
        Some(letter @ (b'"' | b'\\' | b'/')) => char::from(*letter),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let (letter, length) = unicode(&raw[at + 2..])
                .ok_or_else(|| Fault::syntax(start + at, "a whole \\u escape"))?;
            return Ok((letter, length + 2));
        }
        _ => return Err(Fault::syntax(start + at, "a known escape")),
    };
    Ok((letter, 2))
}

/// The letter of a `\u` escape (or of a surrogate pair of them) and how many bytes it takes behind the `\u`.
fn unicode(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex4(rest)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    let second = hex4(rest.get(4..)?.strip_prefix(b"\\u")?)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let letter = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Some((char::from_u32(letter)?, 10))
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>()?.iter().try_fold(0, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value * 16 + digit)
    })
}
