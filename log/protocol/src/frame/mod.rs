//! Frames: a size, a header and a message, on a connection in either direction.
//!
//! ```text
//! frame            i32 size of what follows
//! request header   i16 api key, i16 api version, i32 correlation id, [1..] nullable string client id (never compact), [2..] tagged fields
//! response header  i32 correlation id, [1..] tagged fields
//! ```
//!
//! A request's version decides its header's: 2 where the version is flexible, otherwise 1. A response has 1 and 0, but for ApiVersions: its response's header is
//! always 0, because a client that asks for the first time cannot know what the broker understood.
//!
//! Invariants:
//! 1. A frame larger than the connection's limit is refused by its size alone.
//! 2. A buffer grows in step with the bytes received: at most to twice of them, or by [`READ_STEP_BYTES`].
//! 3. A request that is read takes at most [`DECODED_BYTES_MAX`] beside its frame; one that would take more is refused while it is read.
//! 4. Large byte fields of a response, and parts of files, are chunks of their own in the outgoing frame: what was put in, uncopied.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::api::message::{Form, Wire};
use crate::api::{ApiKey, Request, Response};
use crate::payload::Payload;
use crate::primitive::{DecodeError, Reader, Splice, Writer};

/// The largest frame that a broker takes by default. Kafka's `socket.request.max.bytes` is 100 MiB; no client sends more than 1 MiB unless told to.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// What the names and lists of a request may take of memory once they are read; byte fields, and so records, stay slices of the frame. A name
/// of four bytes becomes a value of sixty, and an answer of a hundred: without a bound a small frame would take much. As many as 100,000
/// partitions or topics fit into one request.
pub const DECODED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a buffer grows by at the least once a frame has begun.
pub const READ_STEP_BYTES: usize = 64 * 1024;
/// Room in which the next frame is awaited, so that small ones take one read: what an idle connection holds.
const READ_FIRST_BYTES: usize = 4 * 1024;
const SIZE_BYTES: usize = 4;

/// A frame that cannot be taken or made; the connection has no way on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The size in front is beyond the limit.
    #[error("frame of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// What the frame announces.
        size: usize,
        /// The connection's limit.
        max: usize,
    },
    /// The size in front is below zero.
    #[error("frame size {0} is negative")]
    NegativeSize(i32),
}

/// Takes the frame at the front of `buffer`, without its size; none while it is incomplete, with room made for more.
///
/// # Errors
/// If the frame's size is negative or larger than `max`.
pub fn take_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(size) = buffer.first_chunk::<SIZE_BYTES>() else {
        buffer.reserve(READ_FIRST_BYTES);
        return Ok(None);
    };
    let size = i32::from_be_bytes(*size);
    let size = usize::try_from(size).map_err(|_| FrameError::NegativeSize(size))?;
    if size > max {
        return Err(FrameError::TooLarge { size, max });
    }
    let missing = (SIZE_BYTES + size).saturating_sub(buffer.len());
    if missing > 0 {
        buffer.reserve(missing.min(buffer.len().max(READ_STEP_BYTES)));
        return Ok(None);
    }
    buffer.advance(SIZE_BYTES);
    Ok(Some(buffer.split_to(size).freeze()))
}

/// What leads a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API, as a number: the sender may speak of one that does not exist here.
    pub api_key: i16,
    /// The version of the request, and so of the response.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// The header of a request that is to be sent.
    pub fn new(
        api: ApiKey,
        api_version: i16,
        correlation_id: i32,
        client_id: Option<String>,
    ) -> Self {
        Self {
            api_key: api.code(),
            api_version,
            correlation_id,
            client_id,
        }
    }

    /// The API, if it exists here.
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_code(self.api_key)
    }

    /// Whether the request is of an API and version that exist here.
    pub fn is_supported(&self) -> bool {
        self.api().is_some_and(|api| api.supports(self.api_version))
    }

    /// Reads a header. That of an API that does not exist here is read as version 1, which every later one begins with.
    ///
    /// # Errors
    /// If the bytes do not hold a header.
    pub fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let api_key = from
            .i16()
            .map_err(|error| error.at("RequestHeader.api_key"))?;
        let api_version = from
            .i16()
            .map_err(|error| error.at("RequestHeader.api_version"))?;
        let correlation_id = from
            .i32()
            .map_err(|error| error.at("RequestHeader.correlation_id"))?;
        let client_id =
            Wire::decode(from, PLAIN).map_err(|error| error.at("RequestHeader.client_id"))?;
        let header = Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
        };
        if header.version() >= 2 {
            from.tagged_fields(|_, _| Ok(()))
                .map_err(|error| error.at("RequestHeader's tagged fields"))?;
        }
        Ok(header)
    }

    fn encode(&self, out: &mut Writer<'_>) {
        out.out().put_i16(self.api_key);
        out.out().put_i16(self.api_version);
        out.out().put_i32(self.correlation_id);
        Wire::encode(&self.client_id, out, PLAIN);
        if self.version() >= 2 {
            out.unsigned_varint(0);
        }
    }

    fn version(&self) -> i16 {
        self.api()
            .map_or(1, |api| api.request_header_version(self.api_version))
    }

    /// The version that the response is written at: an ApiVersions request of a version that does not exist is answered at 0.
    fn response_version(&self, api: ApiKey) -> i16 {
        if api == ApiKey::ApiVersions && !api.supports(self.api_version) {
            0
        } else {
            self.api_version
        }
    }
}

/// The client id keeps its plain length in every version of the header, so that it can be read whatever the version is.
const PLAIN: Form = Form {
    version: 0,
    flexible: false,
};

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not even its header: close the connection.
    #[error("malformed request header: {0}")]
    Header(#[source] DecodeError),
    /// Its API or version does not exist here. For ApiVersions, answer with
    /// [`ApiVersionsResponse::unsupported_version`](crate::api::api_versions::ApiVersionsResponse::unsupported_version); for others close the connection.
    #[error("request {} of api key {} version {} is not supported", .0.correlation_id, .0.api_key, .0.api_version)]
    Unsupported(RequestHeader),
    /// Its body: close the connection.
    #[error("malformed request {} of api key {} version {}: {error}", .header.correlation_id, .header.api_key, .header.api_version)]
    Body {
        /// What leads it.
        header: RequestHeader,
        /// What is wrong.
        #[source]
        error: DecodeError,
    },
}

/// Reads a frame that a client sent; byte fields are slices of it.
///
/// # Errors
/// See [`RequestError`]; only an unsupported ApiVersions is worth an answer.
pub fn decode_request(frame: Bytes) -> Result<(RequestHeader, Request), RequestError> {
    let mut from = Reader::within(frame, DECODED_BYTES_MAX);
    let header = RequestHeader::decode(&mut from).map_err(RequestError::Header)?;
    let Some(api) = header.api().filter(|api| api.supports(header.api_version)) else {
        return Err(RequestError::Unsupported(header));
    };
    match Request::decode(api, header.api_version, &mut from) {
        Ok(request) => Ok((header, request)),
        Err(error) => Err(RequestError::Body { header, error }),
    }
}

/// A client's frame, its size in front. The header's API must be the request's.
///
/// # Errors
/// [`FrameError::TooLarge`] beyond 2 GiB, which the size in front cannot tell.
pub fn encode_request(header: &RequestHeader, request: &Request) -> Result<Bytes, FrameError> {
    debug_assert_eq!(header.api(), Some(request.api_key()));
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    header.encode(&mut Writer::new(&mut out));
    request.encode(header.api_version, &mut out);
    let size = frame_size(out.len() - SIZE_BYTES)?;
    out[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
    Ok(out.freeze())
}

/// A broker's frame, its size in front, as chunks to be written one after the other (in one vectored write). `header` is the request's.
///
/// # Errors
/// [`FrameError::TooLarge`] beyond 2 GiB, which the size in front cannot tell.
pub fn encode_response(
    header: &RequestHeader,
    response: &Response,
) -> Result<Vec<Payload>, FrameError> {
    let api = response.api_key();
    debug_assert_eq!(header.api(), Some(api));
    let version = header.response_version(api);
    let mut out = BytesMut::with_capacity(256);
    let mut splices = Vec::new();
    out.put_i32(0);
    out.put_i32(header.correlation_id);
    if api.response_header_version(version) >= 1 {
        out.put_u8(0);
    }
    response.write(version, &mut Writer::splicing(&mut out, &mut splices));
    let spliced: usize = splices.iter().map(|splice| splice.payload.len()).sum();
    let size = frame_size(out.len() - SIZE_BYTES + spliced)?;
    out[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
    Ok(chunks(out, splices))
}

/// Reads a frame that a broker sent in answer to a request of `api` and `version`: the correlation id and the response.
///
/// # Errors
/// If the bytes do not hold such a response.
pub fn decode_response(
    api: ApiKey,
    version: i16,
    frame: Bytes,
) -> Result<(i32, Response), DecodeError> {
    let mut from = Reader::new(frame);
    let correlation_id = from
        .i32()
        .map_err(|error| error.at("ResponseHeader.correlation_id"))?;
    if api.response_header_version(version) >= 1 {
        from.tagged_fields(|_, _| Ok(()))
            .map_err(|error| error.at("ResponseHeader's tagged fields"))?;
    }
    Response::decode(api, version, &mut from).map(|response| (correlation_id, response))
}

/// Cuts the output at each splice and puts its bytes in between.
fn chunks(mut out: BytesMut, splices: Vec<Splice>) -> Vec<Payload> {
    let mut chunks = Vec::with_capacity(2 * splices.len() + 1);
    let mut cut = 0;
    for splice in splices {
        if splice.position > cut {
            chunks.push(out.split_to(splice.position - cut).freeze().into());
            cut = splice.position;
        }
        chunks.push(splice.payload);
    }
    if !out.is_empty() {
        chunks.push(out.freeze().into());
    }
    chunks
}

fn frame_size(size: usize) -> Result<i32, FrameError> {
    let max = i32::MAX as usize;
    i32::try_from(size).map_err(|_| FrameError::TooLarge { size, max })
}

#[cfg(test)]
mod tests;
