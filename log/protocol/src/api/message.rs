//! How a message is declared, and what each type of field looks like on the wire.
//!
//! [`message!`] reads a struct as Kafka's schemas describe it and generates the struct, its `Default`, and both directions of its codec:
//!
//! ```text
//! message! {
//!     /// Doc of the message.                                        versions that exist; the first one with compact lengths and tagged fields
//!     pub struct ExampleRequest: versions 0..=5, flexible 3 {
//!         /// Present in every version, null allowed.
//!         group: Option<String>,
//!         /// Present from version 2 on; -1 where it is absent.
//!         timeout_ms: i32 [2..] = -1,
//!         /// Present up to version 4.
//!         name: String [0..=4],
//!         /// A tagged field: written only where it is not the default.
//!         leader: ExampleLeader [4.., tag 0],
//!     }
//!
//!     /// A struct inside; it is encoded at the version of the message around it.
//!     pub struct ExampleLeader { id: i32 = -1, }
//! }
//! ```
//!
//! `Option` makes a field nullable in every version; `[0.., null 10..]` refuses null before version 10 on reading. What is written is the sender's business.
//! A field that the version lacks keeps its default on reading and is left out on writing. Unknown tagged fields are passed over.
//!
//! Its second form, `apis { … }`, is the table of APIs: it generates [`ApiKey`](super::ApiKey), [`Request`](super::Request) and [`Response`](super::Response).
//!
//! Invariants:
//! 1. Tags of one struct are declared in rising order: it is how they are written. They are read in any.
//! 2. Decoding allocates in step with the bytes it has read.

use bytes::{BufMut, Bytes};
use uuid::Uuid;

use crate::error_code::ErrorCode;
use crate::payload::Payload;
use crate::primitive::{DecodeCause, DecodeError, Reader, Writer};

/// What the smallest text takes of memory.
const TEXT_BYTES_MIN: usize = 16;

/// What decides the form of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// The version of the message.
    pub(crate) version: i16,
    /// Whether that version has compact lengths and tagged fields.
    pub(crate) flexible: bool,
}

/// A type that a field can have.
pub(crate) trait Wire: Sized {
    fn encode(&self, out: &mut Writer<'_>, form: Form);

    fn decode(from: &mut Reader, form: Form) -> Result<Self, DecodeError>;

    /// A nullable value. Structs are led by a byte, -1 for null and 1 for a value; types with a length use theirs.
    fn encode_option(value: Option<&Self>, out: &mut Writer<'_>, form: Form) {
        match value {
            None => out.out().put_i8(-1),
            Some(value) => {
                out.out().put_i8(1);
                value.encode(out, form);
            }
        }
    }

    fn decode_option(from: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        if from.i8()? < 0 {
            Ok(None)
        } else {
            Self::decode(from, form).map(Some)
        }
    }

    /// Whether it stands for no value.
    fn is_null(&self) -> bool {
        false
    }

    /// Says for how many ms a quota held the request back, where the message has room for it.
    fn set_throttle_ms(&mut self, _ms: i32) {}

    /// A value for the tests: what the form has is random, the rest is default.
    #[cfg(test)]
    fn random(random: &mut Random, form: Form) -> Self;
}

/// Where the tests' values come from.
#[cfg(test)]
pub(crate) struct Random {
    pub(crate) numbers: fastrand::Rng,
    /// Whether nullable fields may be null.
    pub(crate) nulls: bool,
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut Writer<'_>, form: Form) {
        T::encode_option(self.as_ref(), out, form);
    }

    fn decode(from: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        T::decode_option(from, form)
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }

    #[cfg(test)]
    fn random(random: &mut Random, form: Form) -> Self {
        (!random.nulls || random.numbers.bool()).then(|| T::random(random, form))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, out: &mut Writer<'_>, form: Form) {
        Self::encode_option(Some(self), out, form);
    }

    fn decode(from: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::decode_option(from, form)?.ok_or_else(null)
    }

    fn encode_option(value: Option<&Self>, out: &mut Writer<'_>, form: Form) {
        out.length(value.map(Vec::len), form.flexible);
        for item in value.into_iter().flatten() {
            item.encode(out, form);
        }
    }

    fn decode_option(from: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        let Some(count) = from.array_length(form.flexible)? else {
            return Ok(None);
        };
        // The count is the sender's claim: what is reserved up front takes no more memory than the bytes that are left.
        let affordable = from.remaining() / size_of::<T>().max(1) + 1;
        let mut items = Vec::with_capacity(count.min(affordable));
        for _ in 0..count {
            from.take_memory(size_of::<T>())?;
            items.push(T::decode(from, form)?);
        }
        Ok(Some(items))
    }

    #[cfg(test)]
    fn random(random: &mut Random, form: Form) -> Self {
        (0..random.numbers.usize(..4))
            .map(|_| T::random(random, form))
            .collect()
    }
}

impl Wire for String {
    fn encode(&self, out: &mut Writer<'_>, form: Form) {
        Self::encode_option(Some(self), out, form);
    }

    fn decode(from: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::decode_option(from, form)?.ok_or_else(null)
    }

    /// What is too long for a plain string can only be a message, or a name that a flexible version brought in; it is cut.
    fn encode_option(value: Option<&Self>, out: &mut Writer<'_>, form: Form) {
        out.string(value.map(String::as_str), form.flexible);
    }

    fn decode_option(from: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        let Some(length) = from.string_length(form.flexible)? else {
            return Ok(None);
        };
        from.take_memory(length.max(TEXT_BYTES_MIN))?;
        let text = from.text(length)?;
        // What is no text takes more room than it had.
        from.take_memory(text.len() - length.min(text.len()))?;
        Ok(Some(text))
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        (0..random.numbers.usize(..12))
            .map(|_| random.numbers.alphanumeric())
            .collect()
    }
}

impl Wire for Payload {
    fn encode(&self, out: &mut Writer<'_>, form: Form) {
        Self::encode_option(Some(self), out, form);
    }

    fn decode(from: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Bytes::decode(from, form).map(Self::Bytes)
    }

    fn encode_option(value: Option<&Self>, out: &mut Writer<'_>, form: Form) {
        out.length(value.map(Self::len), form.flexible);
        if let Some(payload) = value {
            out.payload(payload);
        }
    }

    fn decode_option(from: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::decode_option(from, form)?.map(Self::Bytes))
    }

    #[cfg(test)]
    fn random(random: &mut Random, form: Form) -> Self {
        Self::Bytes(Bytes::random(random, form))
    }
}

impl Wire for Bytes {
    fn encode(&self, out: &mut Writer<'_>, form: Form) {
        Self::encode_option(Some(self), out, form);
    }

    fn decode(from: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::decode_option(from, form)?.ok_or_else(null)
    }

    fn encode_option(value: Option<&Self>, out: &mut Writer<'_>, form: Form) {
        out.length(value.map(Bytes::len), form.flexible);
        if let Some(bytes) = value {
            out.bytes(bytes);
        }
    }

    fn decode_option(from: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        from.bytes_length(form.flexible)?
            .map(|length| from.slice(length))
            .transpose()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        (0..random.numbers.usize(..40))
            .map(|_| random.numbers.u8(..))
            .collect()
    }
}

impl Wire for bool {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_u8(u8::from(*self));
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        Ok(from.i8()? != 0)
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        random.numbers.bool()
    }
}

impl Wire for i8 {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_i8(*self);
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        from.i8()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        random.numbers.i8(..)
    }
}

impl Wire for i16 {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_i16(*self);
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        from.i16()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        random.numbers.i16(..)
    }
}

impl Wire for i32 {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_i32(*self);
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        from.i32()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        random.numbers.i32(..)
    }
}

impl Wire for i64 {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_i64(*self);
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        from.i64()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        random.numbers.i64(..)
    }
}

impl Wire for f64 {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_f64(*self);
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        from.f64()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        random.numbers.f64()
    }
}

impl Wire for Uuid {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_slice(self.as_bytes());
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        from.uuid()
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        Self::from_u128(random.numbers.u128(..))
    }
}

impl Wire for ErrorCode {
    fn encode(&self, out: &mut Writer<'_>, _: Form) {
        out.out().put_i16(self.code());
    }

    fn decode(from: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        Ok(Self::from_code(from.i16()?))
    }

    #[cfg(test)]
    fn random(random: &mut Random, _: Form) -> Self {
        Self::from_code(random.numbers.i16(-1..134))
    }
}

/// The value, if it is one or `nullable` says that there may be none.
pub(crate) fn present<T: Wire>(value: T, nullable: bool) -> Result<T, DecodeError> {
    if nullable || !value.is_null() {
        Ok(value)
    } else {
        Err(null())
    }
}

fn null() -> DecodeError {
    DecodeCause::Null.into()
}

/// Refuses a version that the message does not have.
pub(crate) fn check_version(
    at: &'static str,
    version: i16,
    min: i16,
    max: i16,
) -> Result<(), DecodeError> {
    if (min..=max).contains(&version) {
        return Ok(());
    }
    Err(DecodeError {
        at,
        cause: DecodeCause::Version { version, min, max },
    })
}

macro_rules! message {
    // Several structs: the first form, see the module's documentation.
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident $(: versions $min:literal ..= $max:literal, flexible $flexible:literal)? {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty $([$($rule:tt)*])? $(= $default:expr)?, )*
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: message!(@default $($default)?), )* }
            }
        }

        impl $crate::api::message::Wire for $name {
            fn encode(&self, out: &mut $crate::primitive::Writer<'_>, form: $crate::api::message::Form) {
                $(
                    if message!(@tag $([$($rule)*])?).is_none() && message!(@present form $([$($rule)*])?) {
                        $crate::api::message::Wire::encode(&self.$field, out, form);
                    }
                )*
                if form.flexible {
                    let tagged: &[bool] = &[$({
                        let default: $type = message!(@default $($default)?);
                        message!(@tag $([$($rule)*])?).is_some()
                            && message!(@present form $([$($rule)*])?)
                            && self.$field != default
                    },)*];
                    out.unsigned_varint(tagged.iter().filter(|set| **set).count() as u32);
                    let mut tagged = tagged.iter();
                    $(
                        if let (Some(true), Some(tag)) = (tagged.next(), message!(@tag $([$($rule)*])?)) {
                            out.tagged_field(tag, |out| $crate::api::message::Wire::encode(&self.$field, out, form));
                        }
                    )*
                }
            }

            fn decode(
                from: &mut $crate::primitive::Reader,
                form: $crate::api::message::Form,
            ) -> Result<Self, $crate::primitive::DecodeError> {
                let mut value = Self::default();
                $(
                    if message!(@tag $([$($rule)*])?).is_none() && message!(@present form $([$($rule)*])?) {
                        value.$field = $crate::api::message::Wire::decode(from, form)
                            .and_then(|read| $crate::api::message::present(read, message!(@nullable form $([$($rule)*])?)))
                            .map_err(|error| error.at(concat!(stringify!($name), ".", stringify!($field))))?;
                    }
                )*
                if form.flexible {
                    from.tagged_fields(|tag, from| {
                        $(
                            if message!(@tag $([$($rule)*])?) == Some(tag) && message!(@present form $([$($rule)*])?) {
                                value.$field = $crate::api::message::Wire::decode(from, form)
                                    .map_err(|error| error.at(concat!(stringify!($name), ".", stringify!($field))))?;
                            }
                        )*
                        let _ = (tag, from);
                        Ok(())
                    })
                    .map_err(|error| error.at(concat!(stringify!($name), "'s tagged fields")))?;
                }
                Ok(value)
            }

            $( message!(@throttle $field); )*

            #[cfg(test)]
            fn random(random: &mut $crate::api::message::Random, form: $crate::api::message::Form) -> Self {
                let mut value = Self::default();
                $(
                    if message!(@present form $([$($rule)*])?)
                        && (message!(@tag $([$($rule)*])?).is_none() || random.numbers.bool())
                    {
                        let nulls = random.nulls;
                        random.nulls &= message!(@nullable form $([$($rule)*])?);
                        value.$field = $crate::api::message::Wire::random(random, form);
                        random.nulls = nulls;
                    }
                )*
                value
            }
        }

        $(
            impl $name {
                /// The lowest and the highest version.
                pub const VERSIONS: (i16, i16) = ($min, $max);
                /// The first version with compact lengths and tagged fields.
                pub const FLEXIBLE_FROM: i16 = $flexible;

                /// Appends the message to `out`, as `version` has it.
                pub fn encode(&self, version: i16, out: &mut bytes::BytesMut) {
                    self.write(version, &mut $crate::primitive::Writer::new(out));
                }

                /// Reads the message from the front of `from`.
                ///
                /// # Errors
                /// If the version is not one of [`VERSIONS`](Self::VERSIONS), or the bytes do not hold the message.
                pub fn decode(
                    from: &mut $crate::primitive::Reader,
                    version: i16,
                ) -> Result<Self, $crate::primitive::DecodeError> {
                    $crate::api::message::check_version(stringify!($name), version, $min, $max)?;
                    $crate::api::message::Wire::decode(from, Self::form(version))
                }

                pub(crate) fn write(&self, version: i16, out: &mut $crate::primitive::Writer<'_>) {
                    $crate::api::message::Wire::encode(self, out, Self::form(version));
                }

                pub(crate) fn form(version: i16) -> $crate::api::message::Form {
                    $crate::api::message::Form { version, flexible: version >= $flexible }
                }
            }
        )?
    )+};

    // The table of APIs: the second form.
    (apis { $(
        $(#[$doc:meta])*
        $api:ident = $code:literal : $module:ident :: { $request:ident, $response:ident },
    )+ }) => {
        /// The APIs that exist here, by Kafka's numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey { $( $(#[$doc])* $api = $code, )+ }

        impl ApiKey {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$api),+];

            /// The API of a number.
            pub fn from_code(code: i16) -> Option<Self> {
                match code { $( $code => Some(Self::$api), )+ _ => None }
            }

            /// Kafka's name for it.
            pub fn name(self) -> &'static str {
                match self { $( Self::$api => stringify!($api), )+ }
            }

            /// The lowest and the highest version that can be read and written.
            pub fn versions(self) -> (i16, i16) {
                match self { $( Self::$api => $module::$request::VERSIONS, )+ }
            }

            /// The first version with compact lengths and tagged fields.
            pub fn flexible_from(self) -> i16 {
                match self { $( Self::$api => $module::$request::FLEXIBLE_FROM, )+ }
            }
        }

        /// What a client asks.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request { $( $(#[$doc])* $api($module::$request), )+ }

        impl Request {
            /// Which API it belongs to.
            pub fn api_key(&self) -> ApiKey {
                match self { $( Self::$api(_) => ApiKey::$api, )+ }
            }

            /// Appends the request to `out`, without a header.
            pub fn encode(&self, version: i16, out: &mut bytes::BytesMut) {
                match self { $( Self::$api(message) => message.encode(version, out), )+ }
            }

            /// Reads a request from the front of `from`, behind its header.
            ///
            /// # Errors
            /// If the API has no such version, or the bytes do not hold the request.
            pub fn decode(api: ApiKey, version: i16, from: &mut Reader) -> Result<Self, DecodeError> {
                match api { $( ApiKey::$api => $module::$request::decode(from, version).map(Self::$api), )+ }
            }

            #[cfg(test)]
            pub(crate) fn random(api: ApiKey, version: i16, random: &mut message::Random) -> Self {
                use message::Wire;
                match api { $( ApiKey::$api => Self::$api(Wire::random(random, $module::$request::form(version))), )+ }
            }
        }

        /// What a broker answers.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Response { $( $(#[$doc])* $api($module::$response), )+ }

        impl Response {
            /// Which API it belongs to.
            pub fn api_key(&self) -> ApiKey {
                match self { $( Self::$api(_) => ApiKey::$api, )+ }
            }

            /// Appends the response to `out`, without a header.
            pub fn encode(&self, version: i16, out: &mut bytes::BytesMut) {
                self.write(version, &mut Writer::new(out));
            }

            /// Reads a response from the front of `from`, behind its header.
            ///
            /// # Errors
            /// If the API has no such version, or the bytes do not hold the response.
            pub fn decode(api: ApiKey, version: i16, from: &mut Reader) -> Result<Self, DecodeError> {
                match api { $( ApiKey::$api => $module::$response::decode(from, version).map(Self::$api), )+ }
            }

            #[cfg(test)]
            pub(crate) fn random(api: ApiKey, version: i16, random: &mut message::Random) -> Self {
                use message::Wire;
                match api { $( ApiKey::$api => Self::$api(Wire::random(random, $module::$response::form(version))), )+ }
            }

            /// Says for how many ms a quota held the request back; a response without room for that stays as it is.
            pub fn set_throttle_ms(&mut self, ms: i32) {
                match self { $( Self::$api(message) => message::Wire::set_throttle_ms(message, ms), )+ }
            }

            pub(crate) fn write(&self, version: i16, out: &mut Writer<'_>) {
                match self { $( Self::$api(message) => message.write(version, out), )+ }
            }
        }

        $(
            impl From<$module::$request> for Request {
                fn from(message: $module::$request) -> Self {
                    Self::$api(message)
                }
            }

            impl From<$module::$response> for Response {
                fn from(message: $module::$response) -> Self {
                    Self::$api(message)
                }
            }
        )+
    };

    (@throttle throttle_time_ms) => {
        fn set_throttle_ms(&mut self, ms: i32) {
            self.throttle_time_ms = ms;
        }
    };
    (@throttle $field:ident) => {};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@tag) => { None::<u32> };
    (@tag [$versions:expr]) => { None::<u32> };
    (@tag [$versions:expr, tag $tag:literal]) => { Some::<u32>($tag) };
    (@tag [$versions:expr, null $null:expr]) => { None::<u32> };
    (@nullable $form:ident [$versions:expr, null $null:expr]) => { ($null).contains(&$form.version) };
    (@nullable $form:ident $([$($rule:tt)*])?) => { true };
    (@present $form:ident) => { true };
    (@present $form:ident [$versions:expr]) => { ($versions).contains(&$form.version) };
    (@present $form:ident [$versions:expr, null $null:expr]) => { ($versions).contains(&$form.version) };
    (@present $form:ident [$versions:expr, tag $tag:literal]) => { ($versions).contains(&$form.version) };
}
