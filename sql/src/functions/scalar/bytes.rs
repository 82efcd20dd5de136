//! Digests, digits and codings.

use super::super::{Function, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "md5",
        "text",
        "its MD5 digest, in hexadecimal digits",
        "md5('abc')",
    ),
    function(
        "encode",
        "bytes, 'hex' | 'base64'",
        "bytes as text",
        "encode('a', 'hex')",
    ),
    function(
        "decode",
        "text, 'hex' | 'base64'",
        "text as bytes",
        "decode('61', 'hex')",
    ),
    function(
        "sha1",
        "text",
        "its SHA-1 digest, in hexadecimal digits",
        "sha1('abc')",
    ),
    function(
        "sha224",
        "text | bytes",
        "its SHA-224 digest, in hexadecimal digits; of BYTEA as BYTEA",
        "sha224('abc')",
    ),
    function(
        "sha256",
        "text | bytes",
        "its SHA-256 digest, in hexadecimal digits; of BYTEA as BYTEA",
        "sha256('abc')",
    ),
    function(
        "sha384",
        "text | bytes",
        "its SHA-384 digest, in hexadecimal digits; of BYTEA as BYTEA",
        "sha384('abc')",
    ),
    function(
        "sha512",
        "text | bytes",
        "its SHA-512 digest, in hexadecimal digits; of BYTEA as BYTEA",
        "sha512('abc')",
    ),
    function(
        "sha2",
        "text, bits",
        "the digest of 224, 256, 384 or 512 bits, in hexadecimal digits",
        "sha2('abc', 256)",
    ),
    function("bin", "n", "its binary digits", "bin(4)"),
    function("hex", "n | text", "its hexadecimal digits", "hex(255)"),
    function(
        "unhex",
        "text",
        "the bytes of hexadecimal digits; NULL for other texts",
        "unhex('4D')",
    ),
    function("to_base64", "text | bytes", "in base 64", "to_base64('hi')"),
    function(
        "from_base64",
        "text",
        "the text of that; NULL if it is none",
        "from_base64('aGk=')",
    ),
    function(
        "convert_from",
        "bytes, 'UTF8'",
        "bytes as the text that they are",
        "convert_from(decode('6869', 'hex'), 'UTF8')",
    ),
    function(
        "convert_to",
        "text, 'UTF8'",
        "the bytes of a text",
        "convert_to('abc', 'UTF8')",
    ),
];
