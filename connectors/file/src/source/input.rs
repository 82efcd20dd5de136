//! The bytes of a file, decompressed where its name ends in `.gz`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use connect_api::ConnectError;
use flate2::bufread::GzDecoder;
use thiserror::Error;

/// Reading the file failed.
#[derive(Debug, Error)]
pub(super) enum InputError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(
        "holds {length} bytes but was read up to byte {position}: it was truncated or replaced. Reset the \
         connector's offsets to read it from the start"
    )]
    Shrank { length: u64, position: u64 },
    #[error("has no header line: {0}")]
    Header(String),
}

impl InputError {
    /// As the task reports it.
    pub(super) fn describe(&self, path: &Path) -> ConnectError {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                ConnectError::config("file", format!("{}: {error}", path.display()))
            }
            Self::Header(_) => ConnectError::Data(format!("{} {self}", path.display())),
            _ => ConnectError::Fatal(format!("{} {self}", path.display())),
        }
    }
}

/// An open file.
pub(super) enum Input {
    /// Read as it is, and again when it has grown.
    Plain(File),
    /// Decompressed; its end is final.
    Gzip(Box<Gzip>),
}

/// A compressed file: members one after the other. Zeros after a member are padding (tapes and block devices write
/// them), as for GNU gzip.
pub(super) struct Gzip {
    /// The member that is read; `None` after the last one.
    member: Option<GzDecoder<BufReader<File>>>,
}

impl Gzip {
    /// The member that begins behind any padding.
    fn at(mut file: BufReader<File>) -> io::Result<Self> {
        loop {
            let held = file.fill_buf()?;
            if held.is_empty() {
                return Ok(Self { member: None });
            }
            let padding = held.iter().take_while(|byte| **byte == 0).count();
            if padding < held.len() {
                file.consume(padding);
                let member = Some(GzDecoder::new(file));
                return Ok(Self { member });
            }
            file.consume(padding);
        }
    }
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else {
                return Ok(0);
            };
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if let Some(ended) = self.member.take() {
                *self = Self::at(ended.into_inner())?;
            }
        }
    }
}

impl Input {
    /// Opens the file, or `None` if it is not there yet.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, InputError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let gzip = path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("gz"));
        Ok(Some(if gzip {
            // Somebody has made it, but not written it yet.
            if file.metadata()?.len() == 0 {
                return Ok(None);
            }
            Self::Gzip(Box::new(Gzip::at(BufReader::with_capacity(1 << 16, file))?))
        } else {
            Self::Plain(file)
        }))
    }

    /// Whether the end, once seen, is final.
    pub(super) fn ends_for_good(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }

    /// Goes forward from `from` to `to`.
    pub(super) fn skip(&mut self, from: u64, to: u64) -> Result<(), InputError> {
        match self {
            Self::Plain(file) => {
                self::check_length(file, to)?;
                file.seek(SeekFrom::Start(to))?;
            }
            Self::Gzip(decoder) => {
                let skipped = io::copy(&mut decoder.by_ref().take(to - from), &mut io::sink())?;
                if skipped < to - from {
                    return Err(InputError::Shrank {
                        length: from + skipped,
                        position: to,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a plain file still holds what was read of it.
    pub(super) fn check(&self, position: u64) -> Result<(), InputError> {
        match self {
            Self::Plain(file) => check_length(file, position),
            Self::Gzip(_) => Ok(()),
        }
    }
}

fn check_length(file: &File, position: u64) -> Result<(), InputError> {
    let length = file.metadata()?.len();
    if length < position {
        return Err(InputError::Shrank { length, position });
    }
    Ok(())
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}
