//! A statement and where it stands in the text that it was cut from.

/// One statement of a text, without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementText<'a> {
    /// The statement, trimmed of white space at both ends; comments inside of it are kept.
    pub text: &'a str,
    /// Where `text` starts in the whole, in bytes.
    pub offset: usize,
    /// Line of its first character in the whole text, from 1.
    pub line: u64,
    /// Column of its first character, in characters, from 1.
    pub column: u64,
    /// Whether a semicolon ended it.
    pub complete: bool,
}
