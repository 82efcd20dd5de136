//! Why a record cannot be decoded: small while it travels, words when it arrives.
//!
//! Invariants:
//! 1. Making a [`Fault`] allocates nothing; the text is made once, for the record that is given up.
//! 2. A text quotes at most [`QUOTE_MAX`] bytes of foreign data.

use arrow::datatypes::DataType;

use crate::TextLength;
use crate::json::is_json;
use crate::state::children;

/// How much of an offending value a reason quotes.
const QUOTE_MAX: usize = 40;

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    kind: FaultKind,
    /// The byte of the JSON text where it shows.
    at: usize,
    /// The column that the value was for.
    column: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    Syntax { expected: &'static str },
    TooDeep,
    NotUtf8,
    NotAnObject,
    WrongType,
    DoesNotFit,
    NotAnInteger,
    NotATime,
    NotADate,
    NotAClock,
    NotBase64,
    IntegerTime,
    TooLong(TextLength),
    Missing,
    Null,
    KeyDiffers,
    NoKey,
    NoHeader,
    NoTimestamp,
    Size,
    TooMany,
    Says(&'static str),
}

impl Fault {
    #[cold]
    pub(super) fn syntax(at: usize, expected: &'static str) -> Self {
        Self::new(FaultKind::Syntax { expected }, at)
    }

    pub(super) fn too_deep(at: usize) -> Self {
        Self::new(FaultKind::TooDeep, at)
    }

    pub(super) fn not_utf8(at: usize) -> Self {
        Self::new(FaultKind::NotUtf8, at)
    }

    pub(super) fn not_an_object(at: usize) -> Self {
        Self::new(FaultKind::NotAnObject, at)
    }

    #[cold]
    pub(super) fn wrong_type(at: usize) -> Self {
        Self::new(FaultKind::WrongType, at)
    }

    #[cold]
    pub(super) fn does_not_fit(at: usize) -> Self {
        Self::new(FaultKind::DoesNotFit, at)
    }

    #[cold]
    pub(super) fn not_an_integer(at: usize) -> Self {
        Self::new(FaultKind::NotAnInteger, at)
    }

    #[cold]
    pub(super) fn not_a_time(at: usize) -> Self {
        Self::new(FaultKind::NotATime, at)
    }

    #[cold]
    pub(super) fn not_a_date(at: usize) -> Self {
        Self::new(FaultKind::NotADate, at)
    }

    #[cold]
    pub(super) fn not_a_clock(at: usize) -> Self {
        Self::new(FaultKind::NotAClock, at)
    }

    #[cold]
    pub(super) fn too_many(at: usize) -> Self {
        Self::new(FaultKind::TooMany, at)
    }

    #[cold]
    pub(super) fn not_base64(at: usize) -> Self {
        Self::new(FaultKind::NotBase64, at)
    }

    #[cold]
    pub(super) fn integer_time(at: usize) -> Self {
        Self::new(FaultKind::IntegerTime, at)
    }

    #[cold]
    pub(super) fn too_long(at: usize, length: TextLength) -> Self {
        Self::new(FaultKind::TooLong(length), at)
    }

    /// A NOT NULL column that no field gave a value.
    pub(super) fn missing(column: usize) -> Self {
        Self::new(FaultKind::Missing, 0).of(column)
    }

    /// A NOT NULL column whose field is null.
    pub(super) fn null(at: usize) -> Self {
        Self::new(FaultKind::Null, at)
    }

    pub(super) fn key_differs(at: usize) -> Self {
        Self::new(FaultKind::KeyDiffers, at)
    }

    pub(super) fn no_key() -> Self {
        Self::new(FaultKind::NoKey, 0)
    }

    pub(super) fn no_header() -> Self {
        Self::new(FaultKind::NoHeader, 0)
    }

    pub(super) fn no_timestamp() -> Self {
        Self::new(FaultKind::NoTimestamp, 0)
    }

    pub(super) fn size() -> Self {
        Self::new(FaultKind::Size, 0)
    }

    /// What a format has to say.
    #[cold]
    pub(super) fn says(at: usize, what: &'static str) -> Self {
        Self::new(FaultKind::Says(what), at)
    }

    /// The same, found in a text that begins so many bytes further on.
    pub(super) fn moved(mut self, by: usize) -> Self {
        self.at += by;
        self
    }

    /// Outside of JSON a text that is no JSON is one that does not fit.
    pub(super) fn or_does_not_fit(self) -> Self {
        match self.kind {
            FaultKind::Syntax { .. } | FaultKind::WrongType => Self::does_not_fit(0),
            _ => self,
        }
    }

    /// Names the column, unless one is named already.
    #[cold]
    pub(super) fn of(mut self, column: usize) -> Self {
        self.column = self.column.or(Some(column));
        self
    }

    fn new(kind: FaultKind, at: usize) -> Self {
        Self {
            kind,
            at,
            column: None,
        }
    }

    /// The reason in words. `text` is the JSON text (value or key, as `part` says) that it was found in.
    #[cold]
    pub(super) fn reason<'a>(
        &self,
        text: &[u8],
        part: &str,
        column: impl Fn(usize) -> (&'a str, &'a DataType),
    ) -> String {
        let found = || describe(text, self.at);
        let (name, data_type) = match self.column.map(column) {
            Some((name, data_type)) => (format!("column {name:?}"), type_name(data_type)),
            None => ("the record".to_owned(), String::new()),
        };
        match self.kind {
            FaultKind::Syntax { expected } => {
                let place = byte_words(text, self.at);
                let whose = self.column.map(|_| format!("{name}: ")).unwrap_or_default();
                format!(
                    "{whose}the {part} is not valid JSON at byte {}: expected {expected}, found {place}",
                    self.at
                )
            }
            FaultKind::TooDeep => format!(
                "the {part} nests deeper than {} levels at byte {}",
                super::cursor::DEPTH_MAX,
                self.at
            ),
            FaultKind::NotUtf8 => match self.column {
                Some(_) => format!("{name}: byte {} of the {part} is not UTF-8", self.at),
                None => format!("byte {} of the {part} is not UTF-8", self.at),
            },
            FaultKind::NotAnObject if text.is_empty() => {
                format!("the {part} is empty, expected a JSON object")
            }
            FaultKind::NotAnObject => {
                format!(
                    "the {part} is not a JSON object but {}",
                    describe_whole(text, self.at)
                )
            }
            FaultKind::WrongType => {
                let nested = matches!(text.get(self.at), Some(b'{' | b'['));
                let help = if nested {
                    ": declare what it is, or JSON"
                } else {
                    ""
                };
                format!("{name} is {data_type}, found {}{help}", found())
            }
            FaultKind::DoesNotFit => {
                format!(
                    "{name} is {data_type}, {} does not fit",
                    token(text, self.at)
                )
            }
            FaultKind::NotAnInteger => {
                format!(
                    "{name} is {data_type}, {} is not a whole number",
                    token(text, self.at)
                )
            }
            FaultKind::NotATime => format!(
                "{name} is {data_type}, {} is not an ISO 8601 time like \"2013-01-01T10:00:00\"",
                token(text, self.at)
            ),
            FaultKind::NotADate => format!(
                "{name} is DATE, {} is not an ISO 8601 date like \"2013-01-01\"",
                token(text, self.at)
            ),
            FaultKind::NotAClock => format!(
                "{name} is {data_type}, {} is not a time of day like \"10:00:00\"",
                token(text, self.at)
            ),
            FaultKind::Says(what) => format!("{what} (byte {} of the {part})", self.at),
            FaultKind::TooMany => format!(
                "{name} is {data_type}, a list or map has too many elements at byte {}",
                self.at
            ),
            FaultKind::NotBase64 => {
                format!(
                    "{name} is {data_type}, {} is not base64",
                    token(text, self.at)
                )
            }
            FaultKind::IntegerTime => format!(
                "{name} is {data_type}, found the number {}: say what it counts with timestamp.unit ('s', 'ms', 'us')",
                token(text, self.at)
            ),
            FaultKind::TooLong(length) => {
                format!("{name} is {length}, {} is longer", token(text, self.at))
            }
            FaultKind::Missing => format!("{name} is NOT NULL, the record has no such field"),
            FaultKind::Null => format!("{name} is NOT NULL, the record has null there"),
            FaultKind::KeyDiffers => format!(
                "{name}: the value has {}, the record key something else; both must agree",
                token(text, self.at)
            ),
            FaultKind::NoKey => {
                "the record has no key, which a table with a primary key needs".to_owned()
            }
            FaultKind::NoHeader => format!("{name} is NOT NULL, the record has no such header"),
            FaultKind::NoTimestamp => format!("{name} is NOT NULL, the record has no timestamp"),
            FaultKind::Size => "the record's texts take more than 4 GiB".to_owned(),
        }
    }
}

/// A type in SQL's words.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8View => "TEXT".to_owned(),
        DataType::BinaryView => "BYTES".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".to_owned(),
        DataType::Time64(_) => "TIME".to_owned(),
        json if is_json(json) => "JSON".to_owned(),
        DataType::List(element) => format!("{}[]", type_name(element.data_type())),
        DataType::Struct(fields) => {
            let field = |field: &arrow::datatypes::FieldRef| {
                format!("{} {}", field.name(), type_name(field.data_type()))
            };
            format!(
                "STRUCT<{}>",
                fields.iter().map(field).collect::<Vec<_>>().join(", ")
            )
        }
        DataType::Map(entries, _) => match children(entries.data_type()) {
            [key, value] => {
                let (key, value) = (type_name(key.data_type()), type_name(value.data_type()));
                format!("MAP<{key}, {value}>")
            }
            _ => data_type.to_string(),
        },
        other => other.to_string(),
    }
}

/// The value at this byte, by its kind.
fn describe(text: &[u8], at: usize) -> String {
    match text.get(at) {
        Some(b'"') => format!("the text {}", token(text, at)),
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        Some(b't' | b'f') if matches!(token(text, at).as_str(), "true" | "false") => {
            format!("the boolean {}", token(text, at))
        }
        Some(b'n') if token(text, at) == "null" => "null".to_owned(),
        Some(b'-' | b'0'..=b'9') => format!("the number {}", token(text, at)),
        _ => byte_words(text, at),
    }
}

/// What stands in the place of an object, up to the end: a value of JSON by its kind, anything else as it is written.
fn describe_whole(text: &[u8], at: usize) -> String {
    let rest = text.get(at..).unwrap_or_default().trim_ascii_end();
    match rest.first() {
        Some(b'"' | b'{' | b'[') | None => return describe(text, at),
        Some(b' '..=b'~') => {}
        Some(_) => return byte_words(text, at),
    }
    let word = std::str::from_utf8(rest).unwrap_or_default();
    if matches!(word, "true" | "false" | "null") || word.parse::<f64>().is_ok_and(f64::is_finite) {
        return describe(rest, 0);
    }
    let cut = &rest[..rest.len().min(QUOTE_MAX)];
    let more = if cut.len() < rest.len() { "…" } else { "" };
    let quoted = String::from_utf8_lossy(cut);
    // Line breaks and the like would break the line that this is in.
    let line: String = (quoted.chars())
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    format!("'{line}{more}'")
}

/// The token at this byte as it is written, cut after [`QUOTE_MAX`] bytes.
fn token(text: &[u8], at: usize) -> String {
    let rest = text.get(at..).unwrap_or_default();
    let length = if rest.first() == Some(&b'"') {
        memchr::memchr(b'"', &rest[1..]).map_or(rest.len(), |end| end + 2)
    } else {
        rest.iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
            .unwrap_or(rest.len())
    };
    if length <= QUOTE_MAX {
        return String::from_utf8_lossy(&rest[..length]).into_owned();
    }
    format!("{}…", String::from_utf8_lossy(&rest[..QUOTE_MAX]))
}

/// The byte itself.
fn byte_words(text: &[u8], at: usize) -> String {
    match text.get(at) {
        None => "the end".to_owned(),
        Some(byte @ b' '..=b'~') => format!("'{}'", char::from(*byte)),
        Some(byte) => format!("byte 0x{byte:02x}"),
    }
}
