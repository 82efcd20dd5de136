//! PURE: messages of the `pgoutput` plugin, protocol version 1, from bytes.
//!
//! ```text
//! B  final_lsn u64, commit_time i64, xid u32                     begin
//! C  flags u8, commit_lsn u64, end_lsn u64, commit_time i64      commit
//! O  lsn u64, name str                                           origin of the transaction
//! R  oid u32, schema str, name str, identity u8, count i16, count × (flags u8, name str, type u32, modifier i32)
//! Y  oid u32, schema str, name str                               type
//! I  oid u32, 'N' tuple                                          insert
//! U  oid u32, ['K' tuple | 'O' tuple], 'N' tuple                 update
//! D  oid u32, 'K' tuple | 'O' tuple                              delete
//! T  count i32, flags u8, count × oid u32                        truncate
//! M  flags u8, lsn u64, prefix str, length i32, bytes            logical message
//!
//! tuple  count i16, count × ('n' | 'u' | 't' length i32 bytes | 'b' length i32 bytes)
//! str    bytes up to a zero
//! ```
//!
//! Numbers are big-endian, times microseconds since 2000-01-01 UTC.
//!
//! Invariants:
//! 1. Whatever the bytes are, decoding ends with a message or an error, and allocates at most in proportion to them.
//! 2. A message is taken whole: bytes that are left over are an error.

use bytes::Bytes;
use thiserror::Error;

use super::lsn::Lsn;

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum DecodeError {
    /// The message ends before its fields do.
    #[error("a message of {tag:?} ends within its {field}")]
    Short {
        /// The message's letter.
        tag: char,
        /// What was being read.
        field: &'static str,
    },
    /// A field has a value that the protocol does not know.
    #[error("a message of {tag:?} has {found} as its {field}")]
    Unknown {
        /// The message's letter.
        tag: char,
        /// What was being read.
        field: &'static str,
        /// What stands there.
        found: i64,
    },
    /// There is more than the message.
    #[error("a message of {tag:?} is followed by {bytes} bytes that do not belong to it")]
    Long {
        /// The message's letter.
        tag: char,
        /// How many there are.
        bytes: usize,
    },
}

/// One column of a row as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// NULL, or not part of what was sent.
    Null,
    /// A large value that did not change, and that the log does not hold (TOAST).
    Unchanged,
    /// The value as the type's output function prints it.
    Text(Bytes),
}

/// The columns of a row in the order of the relation.
pub(super) type Tuple = Vec<Cell>;

/// The old row of an update or delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Old {
    /// Columns of the replica identity only; the others are null.
    Key(Tuple),
    /// The whole row (`REPLICA IDENTITY FULL`).
    Row(Tuple),
}

impl Old {
    /// Its columns.
    pub(super) fn tuple(&self) -> &Tuple {
        match self {
            Self::Key(tuple) | Self::Row(tuple) => tuple,
        }
    }
}

/// How much of an old row the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The primary key.
    Default,
    /// Nothing: updates and deletes fail at the database.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of an index.
    Index,
}

/// A column as the relation message tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationColumn {
    /// Its name.
    pub(super) name: String,
    /// Oid of its type.
    pub(super) type_oid: u32,
    /// The type's modifier, -1 for none.
    pub(super) modifier: i32,
    /// Whether it is part of the replica identity.
    pub(super) is_key: bool,
}

/// What later messages mean by a relation's oid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// The table's oid.
    pub(super) oid: u32,
    /// Its schema.
    pub(super) schema: String,
    /// Its name.
    pub(super) name: String,
    /// Its replica identity.
    pub(super) identity: Identity,
    /// Its columns, those that are published.
    pub(super) columns: Vec<RelationColumn>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// A transaction begins; all of it follows, because it is committed.
    Begin {
        /// Where its commit record begins.
        final_lsn: Lsn,
        /// When it was committed.
        commit_time: i64,
        /// Its id.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// Where the commit record ends.
        end_lsn: Lsn,
        /// When it was committed.
        commit_time: i64,
    },
    /// The transaction came from another server.
    Origin {
        /// Where it was committed there.
        lsn: Lsn,
        /// Name of the replication origin.
        name: String,
    },
    /// A table as it is from here on.
    Relation(Relation),
    /// A type that is not built in.
    Type,
    /// A new row.
    Insert {
        /// Oid of the table.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// Oid of the table.
        relation: u32,
        /// What is told of the old row: nothing where the identity did not change and is not FULL.
        old: Option<Old>,
        /// The new row.
        new: Tuple,
    },
    /// A row that is gone.
    Delete {
        /// Oid of the table.
        relation: u32,
        /// What is told of it.
        old: Old,
    },
    /// Tables that were emptied.
    Truncate {
        /// Their oids.
        relations: Vec<u32>,
    },
    /// What `pg_logical_emit_message` wrote.
    Logical {
        /// Whether it belongs to the transaction around it.
        transactional: bool,
        /// Where it begins.
        lsn: Lsn,
        /// Its prefix.
        prefix: String,
        /// Its content.
        content: Bytes,
    },
}

/// Decodes one message.
pub(super) fn decode(bytes: Bytes) -> Result<Message, DecodeError> {
    let mut input = Input {
        tag: '?',
        rest: bytes,
    };
    let tag = input.u8("letter")?;
    input.tag = char::from(tag);
    let message = match tag {
        b'B' => Message::Begin {
            final_lsn: Lsn(input.u64("final position")?),
            commit_time: input.i64("time")?,
            xid: input.u32("transaction id")?,
        },
        b'C' => {
            input.u8("flags")?;
            input.u64("commit position")?;
            Message::Commit {
                end_lsn: Lsn(input.u64("end position")?),
                commit_time: input.i64("time")?,
            }
        }
        b'O' => Message::Origin {
            lsn: Lsn(input.u64("position")?),
            name: input.text("name")?,
        },
        b'R' => Message::Relation(relation(&mut input)?),
        b'Y' => {
            input.u32("oid")?;
            input.text("schema")?;
            input.text("name")?;
            Message::Type
        }
        b'I' => {
            let relation = input.u32("relation")?;
            input.expect(b'N')?;
            Message::Insert {
                relation,
                new: tuple(&mut input)?,
            }
        }
        b'U' => {
            let relation = input.u32("relation")?;
            let mut kind = input.u8("kind of tuple")?;
            let mut old = None;
            if kind != b'N' {
                old = Some(old_row(&mut input, kind)?);
                kind = input.u8("kind of tuple")?;
            }
            if kind != b'N' {
                return Err(input.unknown("kind of tuple", i64::from(kind)));
            }
            Message::Update {
                relation,
                old,
                new: tuple(&mut input)?,
            }
        }
        b'D' => {
            let relation = input.u32("relation")?;
            let kind = input.u8("kind of tuple")?;
            Message::Delete {
                relation,
                old: old_row(&mut input, kind)?,
            }
        }
        b'T' => {
            let count = input.count32("number of relations")?;
            input.u8("flags")?;
            let mut relations = Vec::with_capacity(count.min(input.rest.len() / 4));
            for _ in 0..count {
                relations.push(input.u32("relation")?);
            }
            Message::Truncate { relations }
        }
        b'M' => {
            let flags = input.u8("flags")?;
            let lsn = Lsn(input.u64("position")?);
            let prefix = input.text("prefix")?;
            let length = input.count32("length")?;
            Message::Logical {
                transactional: flags & 1 != 0,
                lsn,
                prefix,
                content: input.bytes(length, "content")?,
            }
        }
        other => return Err(input.unknown("letter", i64::from(other))),
    };
    if input.rest.is_empty() {
        Ok(message)
    } else {
        Err(DecodeError::Long {
            tag: input.tag,
            bytes: input.rest.len(),
        })
    }
}

fn relation(input: &mut Input) -> Result<Relation, DecodeError> {
    let oid = input.u32("oid")?;
    let schema = input.text("schema")?;
    let name = input.text("name")?;
    let identity = match input.u8("replica identity")? {
        b'd' => Identity::Default,
        b'n' => Identity::Nothing,
        b'f' => Identity::Full,
        b'i' => Identity::Index,
        other => return Err(input.unknown("replica identity", i64::from(other))),
    };
    let count = input.count16("number of columns")?;
    let mut columns = Vec::with_capacity(count.min(input.rest.len() / 10));
    for _ in 0..count {
        columns.push(RelationColumn {
            is_key: input.u8("flags of a column")? & 1 != 0,
            name: input.text("name of a column")?,
            type_oid: input.u32("type of a column")?,
            modifier: input.i32("modifier of a column")?,
        });
    }
    Ok(Relation {
        oid,
        schema: if schema.is_empty() {
            "pg_catalog".to_owned()
        } else {
            schema
        },
        name,
        identity,
        columns,
    })
}

fn old_row(input: &mut Input, kind: u8) -> Result<Old, DecodeError> {
    match kind {
        b'K' => Ok(Old::Key(tuple(input)?)),
        b'O' => Ok(Old::Row(tuple(input)?)),
        other => Err(input.unknown("kind of tuple", i64::from(other))),
    }
}

fn tuple(input: &mut Input) -> Result<Tuple, DecodeError> {
    let count = input.count16("number of columns")?;
    let mut cells = Vec::with_capacity(count.min(input.rest.len()));
    for _ in 0..count {
        cells.push(match input.u8("kind of column")? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = input.count32("length of a column")?;
                Cell::Text(input.bytes(length, "column")?)
            }
            // Binary was not asked for.
            other => return Err(input.unknown("kind of column", i64::from(other))),
        });
    }
    Ok(cells)
}

struct Input {
    tag: char,
    rest: Bytes,
}

impl Input {
    fn short(&self, field: &'static str) -> DecodeError {
        DecodeError::Short {
            tag: self.tag,
            field,
        }
    }

    fn unknown(&self, field: &'static str, found: i64) -> DecodeError {
        DecodeError::Unknown {
            tag: self.tag,
            field,
            found,
        }
    }

    fn bytes(&mut self, length: usize, field: &'static str) -> Result<Bytes, DecodeError> {
        if self.rest.len() < length {
            return Err(self.short(field));
        }
        Ok(self.rest.split_to(length))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes(N, field)?;
        <[u8; N]>::try_from(&bytes[..]).map_err(|_| self.short(field))
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(field)?))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    fn count16(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let count = i16::from_be_bytes(self.array(field)?);
        usize::try_from(count).map_err(|_| self.unknown(field, i64::from(count)))
    }

    fn count32(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.i32(field)?;
        usize::try_from(count).map_err(|_| self.unknown(field, i64::from(count)))
    }

    fn expect(&mut self, letter: u8) -> Result<(), DecodeError> {
        let found = self.u8("kind of tuple")?;
        if found == letter {
            Ok(())
        } else {
            Err(self.unknown("kind of tuple", i64::from(found)))
        }
    }

    /// Text up to a zero. Names that are not UTF-8 cannot come from a connection that asked for UTF-8; should one, its
    /// odd characters are replaced.
    fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| self.short(field))?;
        let text = self.bytes(end, field)?;
        self.u8(field)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests;
