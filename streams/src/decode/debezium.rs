//! Values in Debezium's envelope, as changes of the rows that they tell of.
//!
//! ```text
//! {"before": {…} | null, "after": {…} | null, "op": "c", "source": {…}, …}
//! {"schema": {…}, "payload": {the same}}                                        with the converter's schemas
//!
//! op c, r    the row of the key is `after`                op d    the key has no row any more
//! op u       so, and where `before` has another key, that key has no row any more
//! op m       a message: nothing                           op t    undecodable: no key tells which rows go
//! ```
//!
//! A large value that did not change is not in the record: the connector writes a text that stands for it. A row with it in
//! a column that is read is undecodable, because that text would take the place of the value.
//!
//! The record key has the key columns, itself perhaps with a schema around it. Follows
//! <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events>.

use memchr::memmem;

use super::Part;
use super::column::TextPlace;
use super::cursor::Cursor;
use super::fault::Fault;
use super::layout::{Layout, Target};
use super::value::{Failed, Rows, ValueDecoder};

/// What stands for a value that the connector does not have, as a whole value of JSON (in the text of another value its
/// quotes are escaped), in base64, and as a list of numbers.
const UNAVAILABLE: [&[u8]; 3] = [
    br#""__debezium_unavailable_value""#,
    br#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
    b"[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
];

/// Whether there is a value in the text that the connector does not have.
fn has_unavailable(text: &[u8]) -> bool {
    let mut spellings = UNAVAILABLE.iter();
    spellings.any(|spelling| memmem::find(text, spelling).is_some())
}

/// Reads envelopes.
#[derive(Debug)]
pub(super) struct DebeziumDecoder {
    /// Fields of the row.
    pub(super) row: Layout,
    /// Fields of its key alone.
    pub(super) key: Layout,
    /// Columns of the key.
    pub(super) key_columns: Vec<usize>,
}

/// Where the parts of an envelope begin.
#[derive(Debug, Default)]
struct Envelope {
    before: Option<usize>,
    after: Option<usize>,
    op: Option<u8>,
    /// Of an object with a schema: what it is the schema of.
    payload: Option<usize>,
    has_schema: bool,
    /// Its `payload` is null.
    nothing: bool,
}

impl ValueDecoder for DebeziumDecoder {
    const ROWS_MAX: usize = 2;

    fn decode(
        &mut self,
        value: &[u8],
        place: TextPlace,
        rows: &mut Rows<'_>,
    ) -> Result<(), Failed> {
        let wrong = |fault: Fault| (Part::Value, fault);
        let mut cursor = Cursor::new(value);
        cursor.skip_space();
        let mut envelope = Envelope::read(&mut cursor).map_err(wrong)?;
        cursor.end().map_err(wrong)?;
        if envelope.op.is_none() && envelope.nothing {
            return rows.delete();
        }
        if let (None, Some(payload)) = (envelope.op, envelope.payload) {
            cursor.at = payload;
            envelope = Envelope::read(&mut cursor).map_err(wrong)?;
        }
        match envelope.op {
            Some(b'c' | b'r' | b'u') => {
                let Some(after) = envelope.after else {
                    return Err(wrong(Fault::says(
                        0,
                        "the envelope has no row in \"after\"",
                    )));
                };
                cursor.at = after;
                if has_unavailable(value) {
                    self.check_available(cursor).map_err(wrong)?;
                }
                let read = rows.object(&mut self.row, &mut cursor, place);
                read.map_err(wrong)?;
                rows.keep()?;
                match envelope.before {
                    Some(before) if envelope.op == Some(b'u') => {
                        cursor.at = before;
                        self.old_key(&mut cursor, rows)
                    }
                    _ => Ok(()),
                }
            }
            Some(b'd') => rows.delete(),
            Some(b'm') => Ok(()),
            Some(b't') => Err(wrong(Fault::says(
                0,
                "the table was truncated where it comes from, and no key tells which rows are gone",
            ))),
            Some(_) => Err(wrong(Fault::says(
                0,
                "the envelope's \"op\" is none of c, r, u, d, t and m",
            ))),
            None => Err(wrong(Fault::says(
                0,
                "the value is no envelope of Debezium: it has no \"op\" (FORMAT UPSERT reads plain rows)",
            ))),
        }
    }
}

impl DebeziumDecoder {
    /// That every column that is read has a value in the row that begins here.
    #[cold]
    fn check_available(&mut self, mut cursor: Cursor<'_>) -> Result<(), Fault> {
        let mut step = 0;
        if !cursor.take(b'{') {
            return Ok(());
        }
        cursor.skip_space();
        while cursor.peek() != b'}' {
            let target = self.row.next(&mut cursor, &mut step)?;
            let start = cursor.at;
            cursor.skip_value()?;
            if target != Target::Skip && has_unavailable(&cursor.bytes[start..cursor.at]) {
                return Err(Fault::says(
                    start,
                    "a large value did not change, and the connector did not get it: ALTER TABLE … REPLICA IDENTITY FULL \
                     where the table is",
                ));
            }
            cursor.skip_space();
            if !cursor.take(b',') {
                break;
            }
            cursor.skip_space();
        }
        Ok(())
    }

    /// Deletes the row of the key that an updated row had before, if it is another one.
    fn old_key(&mut self, cursor: &mut Cursor<'_>, rows: &mut Rows<'_>) -> Result<(), Failed> {
        let read = rows.object(&mut self.key, cursor, TextPlace::Copied);
        read.map_err(|fault| (Part::Value, fault))?;
        if rows.has(&self.key_columns) && !rows.same_as_before(&self.key_columns) {
            return rows.delete();
        }
        rows.discard();
        Ok(())
    }
}

impl Envelope {
    /// Looks through the object that begins here. All of it is checked as JSON as far as its structure goes.
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Fault> {
        let mut envelope = Self::default();
        if !cursor.take(b'{') {
            return Err(Fault::not_an_object(cursor.at));
        }
        cursor.skip_space();
        if cursor.take(b'}') {
            return Ok(envelope);
        }
        loop {
            if cursor.peek() != b'"' {
                return Err(Fault::syntax(cursor.at, "a field name in quotes"));
            }
            let name = cursor.string()?;
            cursor.colon()?;
            let at = cursor.at;
            let object = cursor.peek() == b'{';
            match &cursor.bytes[name.start..name.end] {
                b"before" => envelope.before = object.then_some(at),
                b"after" => envelope.after = object.then_some(at),
                b"payload" => {
                    envelope.payload = (cursor.peek() != b'n').then_some(at);
                    envelope.nothing = cursor.peek() == b'n';
                }
                b"schema" => envelope.has_schema = true,
                b"op" => {
                    envelope.op = match cursor.bytes.get(at..at + 3) {
                        Some([b'"', op, b'"']) => Some(*op),
                        _ => Some(b'?'),
                    };
                }
                _ => {}
            }
            cursor.skip_value()?;
            cursor.skip_space();
            if cursor.take(b',') {
                cursor.skip_space();
            } else if cursor.take(b'}') {
                envelope.nothing &= envelope.has_schema;
                return Ok(envelope);
            } else {
                return Err(Fault::syntax(cursor.at, "',' or '}'"));
            }
        }
    }
}

/// Where the key itself begins in a record key that may have a schema around it: at 0 where it has none.
pub(super) fn key_payload(key: &[u8]) -> usize {
    let mut cursor = Cursor::new(key);
    cursor.skip_space();
    match Envelope::read(&mut cursor) {
        Ok(envelope) if envelope.has_schema => envelope.payload.unwrap_or(0),
        _ => 0,
    }
}
