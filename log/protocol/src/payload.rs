//! Records on their way out: bytes in memory, or a part of a file that goes to the socket without passing through here.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

/// Bytes of a message. What is read is always [`Payload::Bytes`].
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// At hand.
    Bytes(Bytes),
    /// In a file.
    File(FileRange),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub struct FileRange {
    /// Open for reading.
    pub file: Arc<File>,
    /// Where the part begins, bytes.
    pub position: u64,
    /// Its length in bytes.
    pub length: usize,
}

impl Payload {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(range) => range.length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are at hand.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl PartialEq for FileRange {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && (self.position, self.length) == (other.position, other.length)
    }
}
