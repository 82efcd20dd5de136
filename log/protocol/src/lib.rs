//! Kafka's bytes to values and back: frames, record batches, one file per API.
//!
//! Nothing here does I/O, knows a broker, or believes a length from the wire. From the outside in:
//!
//! 1. a connection's bytes become frames ([`take_frame`]), and frames a header and a [`Request`] ([`decode_request`]); a [`Response`] goes the other way
//!    ([`encode_response`]). Clients have the same for the other direction;
//! 2. the requests and responses are in [`api`], one file an API;
//! 3. the records in them are [`Bytes`](bytes::Bytes) that hold one [`Batch`] behind the other ([`batches`]); a [`BatchBuilder`] makes one;
//! 4. a batch's records are read where they are ([`RecordIter`]).
//!
//! ```
//! use log_protocol::{Batch, BatchBuilder, Compression, ProducerStamp, patch};
//!
//! let mut builder = BatchBuilder::new(Compression::Zstd);
//! builder.append(1_357_016_400_000, Some(b"UA"), Some(b"{\"dep_delay\":2}"), &[("source", Some(b"file"))]);
//! let mut bytes = builder.build(ProducerStamp::NONE).to_vec();
//!
//! patch(&mut bytes, 42, 0); // what the leader does on append
//! let batch = Batch::parse(&bytes.into())?;
//! batch.validate()?;
//! let record = batch.records(1 << 20)?.next().expect("one record")?;
//! assert_eq!((record.offset, record.key.as_deref()), (42, Some(&b"UA"[..])));
//! # Ok::<(), log_protocol::BatchError>(())
//! ```
#![forbid(unsafe_code)]

pub mod api;
mod batch;
mod compression;
mod error_code;
mod frame;
mod ids;
mod murmur2;
mod payload;
mod primitive;
mod record;
mod scan;

pub use api::{ApiKey, Request, Response};
pub use batch::{
    BATCH_HEADER_BYTES, Batch, BatchBuilder, BatchError, BatchHeader, BatchIter, ControlKind,
    ControlRecord, ProducerStamp, TimestampType, batches, control_batch, patch, patch_create_time,
    patch_log_append_time,
};
pub use compression::{Compression, CompressionError};
pub use error_code::ErrorCode;
pub use frame::{
    DECODED_BYTES_MAX, DEFAULT_MAX_FRAME_BYTES, FrameError, READ_STEP_BYTES, RequestError,
    RequestHeader, decode_request, decode_response, encode_request, encode_response, take_frame,
};
pub use ids::{BrokerId, LeaderEpoch, ProducerId, TopicPartition};
pub use murmur2::{murmur2, partition_for_key};
pub use payload::{FileRange, Payload};
pub use primitive::{DecodeCause, DecodeError, Reader, Writer};
pub use record::{Header, HeaderIter, Headers, Record, RecordIter, RecordSpan};
pub use scan::{RecordFacts, RecordScan};
