//! The lines of a file, unpacked as they are read.
//!
//! Limit: [`LINE_BYTES_MAX`] of a line, beyond which a file is refused; nothing else of it is held in memory.

use std::fs;
use std::io::{BufRead, BufReader, Read};

use super::{File, Format, Packing};

/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Lines one after another; those of white space alone are passed over.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    in_quotes: bool,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn open(file: &File) -> Result<Self, String> {
        let opened = fs::File::open(&file.path).map_err(|error| error.to_string())?;
        let packed = BufReader::with_capacity(BUFFER_BYTES, opened);
        let unpacked: Box<dyn Read + Send> = match file.packing {
            Packing::None => Box::new(packed),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Packing::Zstd => {
                let decoder = zstd::Decoder::with_buffer(packed);
                Box::new(decoder.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self {
            reader: Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked)),
            in_quotes: matches!(file.format, Format::Csv(_)),
            line: Vec::new(),
        })
    }

    /// The next line without its end; `None`: there is none.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, String> {
        loop {
            self.line.clear();
            loop {
                let left = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len()) as u64;
                let mut part = (&mut self.reader).take(left);
                let read = part.read_until(b'\n', &mut self.line);
                let read = read.map_err(|error| error.to_string())?;
                if self.line.len() > LINE_BYTES_MAX {
                    return Err(format!("a line has more than {LINE_BYTES_MAX} bytes"));
                }
                let quotes = self.line.iter().filter(|byte| **byte == b'"').count();
                let goes_on = self.in_quotes && quotes % 2 == 1 && read > 0;
                if !goes_on {
                    break;
                }
            }
            if self.line.is_empty() {
                return Ok(None);
            }
            while self
                .line
                .last()
                .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
            {
                self.line.pop();
            }
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(&self.line));
            }
        }
    }
}
