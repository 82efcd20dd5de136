//! Transactions that the server streams before they end (pgoutput, protocol 2): kept on disk, and told whole once they are
//! committed, as protocol 1 tells them.
//!
//! ```text
//! S xid u32, first u8                                stream start: messages of the transaction follow
//!   I xid u32, …   U xid u32, …   R xid u32, …       as in protocol 1, with the id of their subtransaction
//! E                                                  stream stop: another transaction may come
//! A xid u32, subxid u32                              stream abort: of a subtransaction, or of all
//! c xid u32, flags u8, commit_lsn u64, end_lsn u64, commit_time i64     stream commit
//!
//! file    length u32, lsn u64, subxid u32, message without the id — one behind the other
//! commit  ──▶ B, the messages whose subtransactions were not taken back, C
//! ```
//!
//! A file has no name from the moment it is open: it goes with the process. What is in memory is one message, and for each
//! transaction the ids of its subtransactions that were taken back.
//!
//! Invariants:
//! 1. Nothing of a transaction is told before its commit; then it is told as a whole, in order.
//! 2. While one is told the items behind it wait.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::lsn::Lsn;
use super::replication::Item;

/// Bytes of a file that are written, or read, at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Length, position and subtransaction in front of each message.
const HEAD_BYTES: usize = 16;

/// Why a streamed transaction cannot be kept or told.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// The disk.
    #[error("a transaction that the server streams cannot be kept in {folder}: {source}")]
    Disk {
        folder: String,
        source: std::io::Error,
    },
    /// The server.
    #[error("the stream is not what protocol 2 has: {0}")]
    Protocol(String),
}

/// A transaction that has not ended.
struct Kept {
    file: BufWriter<File>,
    first: Lsn,
    aborted: HashSet<u32>,
}

/// A transaction that is told.
struct Told {
    file: BufReader<File>,
    aborted: HashSet<u32>,
    /// What comes next; `None` behind the last.
    next: Option<Item>,
    /// The commit, which comes behind the messages.
    commit: Option<Item>,
}

/// The streamed transactions of one connection.
pub(super) struct Spool {
    folder: PathBuf,
    kept: HashMap<u32, Kept>,
    /// Whose messages come now.
    inside: Option<u32>,
    told: Option<Told>,
}

impl Spool {
    /// Keeps transactions in files of this folder.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            kept: HashMap::new(),
            inside: None,
            told: None,
        }
    }

    /// Forgets everything: it comes again.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        (self.inside, self.told) = (None, None);
    }

    /// The item of a committed transaction that is to be told before anything else; the same until [`Spool::advance`].
    pub(super) fn peek(&self) -> Option<&Item> {
        self.told.as_ref()?.next.as_ref()
    }

    /// The item of [`Spool::peek`] was told.
    ///
    /// # Errors
    /// Where the next one cannot be read.
    pub(super) fn advance(&mut self) -> Result<(), SpoolError> {
        let Some(told) = &mut self.told else {
            return Ok(());
        };
        told.next = match read(&mut told.file, &told.aborted) {
            Ok(Some(item)) => Some(item),
            Ok(None) => told.commit.take(),
            Err(source) => return Err(disk(&self.folder, source)),
        };
        if told.next.is_none() {
            self.told = None;
        }
        Ok(())
    }

    /// Passes an item of the connection: one that is not part of a streamed transaction comes back.
    ///
    /// # Errors
    /// Where the transaction cannot be kept, or the message is none of the protocol.
    pub(super) fn pass(&mut self, item: &Item) -> Result<Option<Item>, SpoolError> {
        let Item::Message(lsn, payload) = item else {
            return Ok(Some(item.clone()));
        };
        let mut body = payload.clone();
        let tag = if body.has_remaining() {
            body.get_u8()
        } else {
            0
        };
        match (tag, self.inside) {
            (b'S', None) => {
                let xid = id(&mut body, tag)?;
                self.inside = Some(xid);
                if !self.kept.contains_key(&xid) {
                    let kept = Kept::new(&self.folder, *lsn);
                    let kept = kept.map_err(|source| disk(&self.folder, source))?;
                    self.kept.insert(xid, kept);
                }
            }
            (b'E', Some(_)) => self.inside = None,
            (b'A', None) => {
                let (xid, subxid) = (id(&mut body, tag)?, id(&mut body, tag)?);
                if xid == subxid {
                    self.kept.remove(&xid);
                } else if let Some(kept) = self.kept.get_mut(&xid) {
                    kept.aborted.insert(subxid);
                }
            }
            (b'c', None) => self.commit(*lsn, body)?,
            (_, Some(xid)) => {
                // The origin stands for the whole transaction, and has no id.
                let subxid = if tag == b'O' {
                    xid
                } else {
                    id(&mut body, tag)?
                };
                let kept = self.kept.get_mut(&xid);
                let kept =
                    kept.ok_or_else(|| wrong(tag, "is of a transaction that did not begin"))?;
                let written = kept.write(*lsn, subxid, tag, &body);
                written.map_err(|source| disk(&self.folder, source))?;
            }
            (b'E', None) => return Err(wrong(tag, "ends nothing")),
            (_, None) => return Ok(Some(item.clone())),
        }
        Ok(None)
    }

    /// A transaction is committed: from here on it is told.
    fn commit(&mut self, lsn: Lsn, mut body: Bytes) -> Result<(), SpoolError> {
        let xid = id(&mut body, b'c')?;
        if body.remaining() < 25 {
            return Err(wrong(b'c', "ends too early"));
        }
        let kept = self.kept.remove(&xid);
        let kept = kept.ok_or_else(|| wrong(b'c', "is of a transaction that did not begin"))?;
        let commit = body.clone();
        body.advance(1);
        let (commit_lsn, _end_lsn, time) = (body.get_u64(), body.get_u64(), body.get_i64());
        let mut begin = BytesMut::with_capacity(21);
        begin.put_u8(b'B');
        begin.put_u64(commit_lsn);
        begin.put_i64(time);
        begin.put_u32(xid);
        let mut end = BytesMut::with_capacity(1 + commit.len());
        end.put_u8(b'C');
        end.put(commit);
        let next = Item::Message(kept.first, begin.freeze());
        let file = kept
            .file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        let rewound = file.and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file));
        let file = rewound.map_err(|source| disk(&self.folder, source))?;
        self.told = Some(Told {
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            aborted: kept.aborted,
            next: Some(next),
            commit: Some(Item::Message(lsn, end.freeze())),
        });
        Ok(())
    }
}

impl Kept {
    fn new(folder: &Path, first: Lsn) -> std::io::Result<Self> {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("thalweg-{}-{number}.spool", std::process::id()));
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            first,
            aborted: HashSet::new(),
        })
    }

    fn write(&mut self, lsn: Lsn, subxid: u32, tag: u8, body: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(body.len() + 1).map_err(std::io::Error::other)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(&lsn.0.to_be_bytes())?;
        self.file.write_all(&subxid.to_be_bytes())?;
        self.file.write_all(&[tag])?;
        self.file.write_all(body)
    }
}

/// The next message whose subtransaction was not taken back; `None` at the end.
fn read(file: &mut BufReader<File>, aborted: &HashSet<u32>) -> std::io::Result<Option<Item>> {
    loop {
        let mut head = [0; HEAD_BYTES];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut head = &head[..];
        let (length, lsn, subxid) = (head.get_u32(), head.get_u64(), head.get_u32());
        if aborted.contains(&subxid) {
            file.seek_relative(i64::from(length))?;
            continue;
        }
        // Written by this process: the length is that of a message that was in memory.
        let mut message = vec![0; length as usize];
        file.read_exact(&mut message)?;
        return Ok(Some(Item::Message(Lsn(lsn), message.into())));
    }
}

fn id(body: &mut Bytes, tag: u8) -> Result<u32, SpoolError> {
    if body.remaining() < 4 {
        return Err(wrong(tag, "has no id of a transaction"));
    }
    Ok(body.get_u32())
}

fn wrong(tag: u8, what: &str) -> SpoolError {
    SpoolError::Protocol(format!("a message of {:?} {what}", char::from(tag)))
}

fn disk(folder: &Path, source: std::io::Error) -> SpoolError {
    SpoolError::Disk {
        folder: folder.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(lsn: u64, parts: &[&[u8]]) -> Item {
        Item::Message(Lsn(lsn), parts.concat().into())
    }

    fn start(xid: u32) -> Item {
        item(1, &[b"S", &xid.to_be_bytes(), &[1]])
    }

    fn insert(lsn: u64, subxid: u32, what: &str) -> Item {
        item(lsn, &[b"I", &subxid.to_be_bytes(), what.as_bytes()])
    }

    fn abort(xid: u32, subxid: u32) -> Item {
        item(9, &[b"A", &xid.to_be_bytes(), &subxid.to_be_bytes()])
    }

    fn commit(xid: u32) -> Item {
        item(
            50,
            &[
                b"c",
                &xid.to_be_bytes(),
                &[0],
                &40_u64.to_be_bytes(),
                &50_u64.to_be_bytes(),
                &7_i64.to_be_bytes(),
            ],
        )
    }

    /// What comes out, a line an item: its position and its message as text.
    fn told(spool: &mut Spool, items: &[Item]) -> Vec<String> {
        let shown = |item: &Item| match item {
            Item::Message(lsn, bytes) => format!("{} {}", lsn.0, String::from_utf8_lossy(bytes)),
            Item::Keepalive(lsn) => format!("keepalive {}", lsn.0),
        };
        let mut lines = Vec::new();
        for item in items {
            lines.extend(spool.pass(item).unwrap().as_ref().map(shown));
            while let Some(item) = spool.peek() {
                lines.push(shown(item));
                spool.advance().unwrap();
            }
        }
        lines
    }

    fn spool() -> Spool {
        Spool::new(std::env::temp_dir())
    }

    #[test]
    fn a_streamed_transaction_is_told_at_its_commit() {
        let mut spool = spool();
        let stop = item(3, &[b"E"]);
        let lines = told(
            &mut spool,
            &[
                item(0, &[b"B plain"]),
                start(7),
                insert(2, 7, "one"),
                item(2, &[b"O origin"]),
                stop.clone(),
                Item::Keepalive(Lsn(3)),
                // Another one between its parts.
                start(8),
                insert(4, 8, "other"),
                stop.clone(),
                start(7),
                insert(5, 70, "taken back"),
                insert(6, 71, "two"),
                stop.clone(),
                abort(7, 70),
                commit(7),
                abort(8, 8),
                item(60, &[b"C plain"]),
            ],
        );
        let begin = "1 B\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\u{7}\0\0\0\u{7}";
        let end = "50 C\0\0\0\0\0\0\0\0(\0\0\0\0\0\0\x002\0\0\0\0\0\0\0\u{7}";
        assert_eq!(
            lines,
            [
                "0 B plain",
                "keepalive 3",
                begin,
                "2 Ione",
                "2 O origin",
                "6 Itwo",
                end,
                "60 C plain"
            ]
        );
        assert!(spool.kept.is_empty() && spool.told.is_none());
    }

    #[test]
    fn what_was_kept_is_forgotten_with_its_connection() {
        let mut spool = spool();
        assert_eq!(told(&mut spool, &[start(7), insert(2, 7, "one")]), [""; 0]);
        spool.clear();
        let again = [start(7), insert(2, 7, "one"), item(3, &[b"E"]), commit(7)];
        assert_eq!(told(&mut spool, &again).len(), 3);
    }

    #[test]
    fn what_is_none_of_the_protocol_is_an_error() {
        for messages in [
            vec![commit(7)],
            vec![item(1, &[b"S", &[0, 0]])],
            vec![item(1, &[b"E"])],
            vec![start(7), item(1, &[b"I", &[0]])],
            vec![
                start(7),
                item(3, &[b"E"]),
                item(1, &[b"c", &7_u32.to_be_bytes(), &[0; 24]]),
            ],
        ] {
            let mut spool = spool();
            let (last, before) = messages.split_last().unwrap();
            told(&mut spool, before);
            let error = spool.pass(last).unwrap_err().to_string();
            assert!(error.contains("protocol 2"), "{error}");
        }
        let mut nowhere = Spool::new(PathBuf::from("/nonexistent"));
        let error = nowhere.pass(&start(7)).unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }
}
