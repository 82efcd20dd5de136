//! Source and sink against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(unreachable_pub, reason = "modules of one test binary")]

mod pages;
mod postgres;
mod sink;
mod source;
mod tls;
