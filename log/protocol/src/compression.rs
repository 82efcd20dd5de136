//! The five codecs of a record batch, in the framings that Kafka's clients write and read.
//!
//! ```text
//! 0 none
//! 1 gzip    RFC 1952, several members allowed
//! 2 snappy  xerial: 82 'SNAPPY' 00, i32 version, i32 lowest compatible version, then blocks of (i32 length, raw snappy of ≤32 KiB);
//!           a raw snappy stream without that header (librdkafka's older versions, sarama) is read too
//! 3 lz4     LZ4 frame with independent blocks of 64 KiB (Kafka's reader refuses dependent ones)
//! 4 zstd    RFC 8878
//! ```
//!
//! Invariants:
//! 1. Decompression never yields more than the caller's limit, and stops as soon as it is passed.
//! 2. It allocates in step with what it has produced, or with what the input can produce at most; never by a length that the input merely claims.

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

use bytes::{Buf, Bytes};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// A zstd frame that wants a window of more than 16 MiB is refused where it is read piece by piece: no level but the "ultra" ones does.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// How a batch's records are compressed: the low three bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Code 1.
    Gzip,
    /// Code 2, in xerial's framing.
    Snappy,
    /// Code 3, an LZ4 frame.
    Lz4,
    /// Code 4 (KIP-110).
    Zstd,
}

/// Why compressed bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The content is larger than the caller allows.
    #[error("{codec} content is larger than the limit of {max} bytes")]
    TooLarge {
        /// The batch's codec.
        codec: Compression,
        /// The caller's limit.
        max: usize,
    },
    /// The bytes are not what the codec calls for.
    #[error("{codec} content is corrupt: {reason}")]
    Corrupt {
        /// The batch's codec.
        codec: Compression,
        /// The codec's own words.
        reason: String,
    },
    /// A name or a code that stands for no codec.
    #[error("unknown compression {0:?}, expected one of none, gzip, snappy, lz4, zstd")]
    Unknown(String),
}

impl Compression {
    /// All codecs, by code.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The code in a batch's attributes.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The codec of a code.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Appends `input`, compressed at the codec's default level, to `out`.
    pub fn compress(self, input: &[u8], out: &mut Vec<u8>) {
        const MEMORY: &str = "writing to memory cannot fail";
        match self {
            Self::None => out.extend_from_slice(input),
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(input).expect(MEMORY);
                encoder.finish().expect(MEMORY);
            }
            Self::Snappy => snappy::compress(input, out),
            Self::Lz4 => {
                let info = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                let mut encoder = FrameEncoder::with_frame_info(info, out);
                encoder.write_all(input).expect(MEMORY);
                encoder.finish().expect(MEMORY);
            }
            Self::Zstd => zstd_compress(input, out),
        }
    }

    /// The content of `input`, at most `max` bytes. [`Compression::None`] copies.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] beyond `max`, [`CompressionError::Corrupt`] for foreign bytes.
    pub fn decompress(self, input: &[u8], max: usize) -> Result<Bytes, CompressionError> {
        match self {
            Self::None if input.len() > max => Err(self.too_large(max)),
            Self::None => Ok(Bytes::copy_from_slice(input)),
            Self::Gzip => self.read_all(
                flate2::bufread::MultiGzDecoder::new(input),
                input.len(),
                max,
            ),
            Self::Snappy => snappy::decompress(input, max),
            Self::Lz4 => {
                self.check_end(input)?;
                self.read_all(FrameDecoder::new(input), input.len(), max)
            }
            Self::Zstd => zstd_decompress(input, max),
        }
    }

    /// Decompresses `input` as it is read. What is kept in memory does not depend on what comes out, but for [`Compression::Snappy`], whose
    /// content is at most some twenty times as long as its input; more than `max` bytes of it are refused.
    pub(crate) fn reader<'a>(
        self,
        input: &'a [u8],
        max: usize,
    ) -> Result<Box<dyn Read + 'a>, CompressionError> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Snappy => Box::new(snappy::decompress(input, max)?.reader()),
            Self::Lz4 => {
                self.check_end(input)?;
                Box::new(FrameDecoder::new(input))
            }
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input);
                let mut decoder = decoder.map_err(|error| self.corrupt(error))?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG_MAX)
                    .map_err(|error| self.corrupt(error))?;
                Box::new(decoder)
            }
        })
    }

    /// Refuses an LZ4 frame that is cut off: the decoder takes what there is, Kafka's readers refuse it.
    fn check_end(self, frame: &[u8]) -> Result<(), CompressionError> {
        match lz4_frame_bytes(frame) {
            Some(_) => Ok(()),
            None => Err(self.corrupt("the frame is cut off")),
        }
    }

    /// Reads `decoder` to its end, one byte past `max` at the most.
    fn read_all(
        self,
        decoder: impl Read,
        input_bytes: usize,
        max: usize,
    ) -> Result<Bytes, CompressionError> {
        let mut content = Vec::with_capacity(input_bytes.saturating_mul(4).min(max));
        let limit = (max as u64).saturating_add(1);
        decoder
            .take(limit)
            .read_to_end(&mut content)
            .map_err(|error| self.corrupt(error))?;
        if content.len() > max {
            Err(self.too_large(max))
        } else {
            Ok(content.into())
        }
    }

    pub(crate) fn too_large(self, max: usize) -> CompressionError {
        CompressionError::TooLarge { codec: self, max }
    }

    pub(crate) fn corrupt(self, reason: impl ToString) -> CompressionError {
        CompressionError::Corrupt {
            codec: self,
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| CompressionError::Unknown(name.to_owned()))
    }
}

/// How long an LZ4 frame is; `None` if it is not there to its end.
///
/// ```text
/// magic 4 │ flags 1 │ block size 1 │ [content size 8] │ [dictionary 4] │ checksum 1 │ { block length 4 │ block │ [checksum 4] } │ 0 4 │ [checksum 4]
/// ```
fn lz4_frame_bytes(input: &[u8]) -> Option<usize> {
    let flags = *input.get(4)?;
    let optional = |bit: u8, bytes: usize| if flags & bit == 0 { 0 } else { bytes };
    let mut at = 7 + optional(0x08, 8) + optional(0x01, 4);
    loop {
        let length = u32::from_le_bytes(*input.get(at..)?.first_chunk()?);
        at += size_of::<u32>();
        if length == 0 {
            break;
        }
        // The highest bit says that the block is not compressed.
        at += (length & 0x7fff_ffff) as usize + optional(0x10, 4);
    }
    at += optional(0x04, 4);
    (at <= input.len()).then_some(at)
}

/// A context of its own a thread: making one costs more than compressing a small batch.
fn zstd_compress(input: &[u8], out: &mut Vec<u8>) {
    use std::cell::RefCell;
    thread_local! {
        static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(
            zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).expect("the default level is valid"),
        );
    }
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(input.len()), 0);
    let written = COMPRESSOR.with_borrow_mut(|compressor| {
        compressor
            .compress_to_buffer(input, &mut out[start..])
            .expect("the output holds the bound of the input")
    });
    out.truncate(start + written);
}

/// A frame that tells its size is decoded in one step when that size is plausible; any other goes through the stream decoder.
fn zstd_decompress(input: &[u8], max: usize) -> Result<Bytes, CompressionError> {
    /// Beyond this ratio a claimed size is not believed, and memory grows with the content instead.
    const PLAUSIBLE_RATIO: usize = 64;
    const CODEC: Compression = Compression::Zstd;
    let claimed = zstd::zstd_safe::get_frame_content_size(input)
        .ok()
        .flatten();
    if let Some(claimed) = claimed.and_then(|claimed| usize::try_from(claimed).ok())
        && claimed <= max
        && claimed <= input.len().saturating_mul(PLAUSIBLE_RATIO)
        && let Ok(content) = zstd::bulk::decompress(input, claimed)
    {
        return Ok(content.into());
    }
    let decoder =
        zstd::stream::read::Decoder::with_buffer(input).map_err(|error| CODEC.corrupt(error))?;
    CODEC.read_all(decoder, input.len(), max)
}

mod snappy {
    use super::{Bytes, Compression, CompressionError};

    const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
    const HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    const BLOCK_BYTES: usize = 32 * 1024;
    /// A copy element of three bytes yields 64 at the most, so nothing true expands further than this.
    const MAX_RATIO: usize = 22;
    const CODEC: Compression = Compression::Snappy;

    pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER);
        let mut encoder = snap::raw::Encoder::new();
        for block in input.chunks(BLOCK_BYTES) {
            let length_at = out.len();
            let start = length_at + 4;
            out.resize(start + snap::raw::max_compress_len(block.len()), 0);
            let written = encoder
                .compress(block, &mut out[start..])
                .expect("the output holds the bound of the block");
            out[length_at..start].copy_from_slice(&(written as u32).to_be_bytes());
            out.truncate(start + written);
        }
    }

    pub(super) fn decompress(input: &[u8], max: usize) -> Result<Bytes, CompressionError> {
        let mut content = Vec::new();
        if !input.starts_with(MAGIC) {
            block(input, max, &mut content)?;
            return Ok(content.into());
        }
        let mut rest = input;
        while !rest.is_empty() {
            // A stream may be several ones behind each other.
            if rest.starts_with(MAGIC) {
                rest = rest
                    .get(HEADER.len()..)
                    .ok_or_else(|| CODEC.corrupt("header is cut off"))?;
                continue;
            }
            let (length, tail) = rest
                .split_first_chunk::<4>()
                .ok_or_else(|| CODEC.corrupt("block length is cut off"))?;
            let length = u32::from_be_bytes(*length) as usize;
            let (compressed, tail) = tail.split_at_checked(length).ok_or_else(|| {
                CODEC.corrupt(format!("block of {length} bytes, {} left", tail.len()))
            })?;
            block(compressed, max, &mut content)?;
            rest = tail;
        }
        Ok(content.into())
    }

    fn block(compressed: &[u8], max: usize, content: &mut Vec<u8>) -> Result<(), CompressionError> {
        let claimed =
            snap::raw::decompress_len(compressed).map_err(|error| CODEC.corrupt(error))?;
        if claimed > max - content.len() {
            return Err(CODEC.too_large(max));
        }
        if claimed > compressed.len().saturating_mul(MAX_RATIO) {
            return Err(CODEC.corrupt(format!(
                "{} bytes claim to hold {claimed}",
                compressed.len()
            )));
        }
        let start = content.len();
        content.resize(start + claimed, 0);
        let written = snap::raw::Decoder::new()
            .decompress(compressed, &mut content[start..])
            .map_err(|error| CODEC.corrupt(error))?;
        content.truncate(start + written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.compress(input, &mut out);
        out
    }

    #[test]
    fn an_lz4_frame_that_is_cut_off_anywhere_is_refused() {
        let codec = Compression::Lz4;
        let whole = compressed(codec, &[b'v'; 1000]);
        assert_eq!(lz4_frame_bytes(&whole), Some(whole.len()));
        for length in 0..whole.len() {
            let torn = &whole[..length];
            assert!(codec.decompress(torn, 10_000).is_err(), "{length} bytes");
            assert!(codec.reader(torn, 10_000).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn every_codec_round_trips() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for codec in Compression::ALL {
            assert_eq!(codec.name().parse::<Compression>().unwrap(), codec);
            assert_eq!(Compression::from_code(codec.code()), Some(codec));
            for length in [0usize, 1, 100, 32 * 1024, 32 * 1024 + 1, 300_000] {
                let input: Vec<u8> = (0..length).map(|_| random.u8(0..16)).collect();
                let out = compressed(codec, &input);
                assert_eq!(
                    &codec.decompress(&out, length).unwrap()[..],
                    &input[..],
                    "{codec} {length}"
                );
            }
        }
        assert!("brotli".parse::<Compression>().is_err());
    }

    #[test]
    fn content_beyond_the_limit_is_refused() {
        let bomb = vec![0u8; 8 << 20];
        for codec in Compression::ALL {
            let out = compressed(codec, &bomb);
            let error = codec.decompress(&out, 1 << 20).unwrap_err();
            assert_eq!(
                error,
                CompressionError::TooLarge {
                    codec,
                    max: 1 << 20
                }
            );
            assert_eq!(codec.decompress(&out, 8 << 20).unwrap().len(), 8 << 20);
        }
    }

    #[test]
    fn raw_snappy_and_joined_streams_are_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello").unwrap();
        assert_eq!(
            &Compression::Snappy.decompress(&raw, 10).unwrap()[..],
            b"hello"
        );
        let mut joined = compressed(Compression::Snappy, b"hello ");
        joined.extend(compressed(Compression::Snappy, b"again"));
        assert_eq!(
            &Compression::Snappy.decompress(&joined, 20).unwrap()[..],
            b"hello again"
        );
    }

    #[test]
    fn a_claim_of_two_gigabytes_is_not_believed() {
        // Raw snappy: uvarint length 2 GiB, then one literal.
        let claim = [0x80, 0x80, 0x80, 0x80, 0x08, 0x00, b'x'];
        assert!(Compression::Snappy.decompress(&claim, usize::MAX).is_err());
        // A zstd frame header with an 8-byte content size of 2 GiB and no block.
        let claim = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0x80, 0, 0, 0, 0];
        assert!(Compression::Zstd.decompress(&claim, usize::MAX).is_err());
    }

    #[test]
    fn foreign_bytes_never_panic() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let text: Vec<u8> = (0..2000).map(|_| random.u8(0..8)).collect();
        for codec in Compression::ALL {
            let good = compressed(codec, &text);
            for _ in 0..300 {
                let mut bytes = good.clone();
                for _ in 0..random.usize(1..4) {
                    let index = random.usize(..bytes.len());
                    bytes[index] = random.u8(..);
                }
                bytes.truncate(random.usize(..=bytes.len()));
                let _ = codec.decompress(&bytes, 1 << 16);
            }
        }
    }
}
