//! The cells of a text or bytes column while it is filled, and the array that they become.
//!
//! ```text
//! text     view (length, prefix, buffer, offset)
//!            buffer 0      strings that had to be unescaped, decoded or copied
//!            buffer 1 + n  buffer n of the fetched records: nothing is copied
//! ```
//!
//! Invariant: a view of a text column was checked to be UTF-8 and lies inside its buffer.

use arrow::array::{StringViewArray, make_view};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};

use super::column::TextPlace;
use super::cursor::{Span, unescape};
use super::fault::Fault;
use crate::TextLength;

/// Views of at most this many bytes hold the bytes themselves.
pub(super) const INLINE_MAX: usize = 12;

/// The views of a text or bytes column and the bytes of its own that they need.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) views: Vec<u128>,
    pub(super) own: Vec<u8>,
    /// Whether a view points into the records' buffers.
    pub(super) shares: bool,
    /// Of a text column that has a length.
    pub(super) length: Option<TextLength>,
}

impl Views {
    /// Sets the row to a string of the JSON text.
    #[inline(always)]
    pub(super) fn text(
        &mut self,
        row: usize,
        json: &[u8],
        span: Span,
        place: TextPlace,
    ) -> Result<(), Fault> {
        let raw = &json[span.start..span.end];
        if span.escaped {
            return self.text_escaped(row, raw, span.start);
        }
        if !span.ascii {
            std::str::from_utf8(raw)
                .map_err(|error| Fault::not_utf8(span.start + error.valid_up_to()))?;
        }
        if self.length.is_some() {
            return self.text_of_length(row, raw, span.start, place);
        }
        self.set_raw(row, raw, span.start, place)
    }

    /// [`Views::text`] of a column whose texts have a length; `raw` is UTF-8 without escapes.
    #[inline(never)]
    fn text_of_length(
        &mut self,
        row: usize,
        raw: &[u8],
        start: usize,
        place: TextPlace,
    ) -> Result<(), Fault> {
        let text = std::str::from_utf8(raw).map_err(|_| Fault::not_utf8(start))?;
        // The place of a text is that of its quote.
        let text = self.fit(text, start.saturating_sub(1))?;
        self.set_raw(row, text.as_bytes(), start, place)
    }

    /// The text as the column has it; `at` is where it stands in the JSON text.
    pub(super) fn fit<'a>(&self, text: &'a str, at: usize) -> Result<&'a str, Fault> {
        match self.length {
            None => Ok(text),
            Some(length) => length.fit(text).ok_or_else(|| Fault::too_long(at, length)),
        }
    }

    /// Sets the row to these bytes, which lie at `start` in the JSON text.
    #[inline(always)]
    pub(super) fn set_raw(
        &mut self,
        row: usize,
        raw: &[u8],
        start: usize,
        place: TextPlace,
    ) -> Result<(), Fault> {
        if raw.len() <= INLINE_MAX {
            self.views[row] = make_view(raw, 0, 0);
            return Ok(());
        }
        match place {
            TextPlace::Shared { buffer, offset } => {
                // The whole record lies inside its buffer, whose offsets are 32 bits wide.
                self.views[row] = make_view(raw, buffer + 1, offset + start as u32);
                self.shares = true;
                Ok(())
            }
            TextPlace::Copied => self.set_copied(row, raw),
        }
    }

    #[cold]
    #[inline(never)]
    fn text_escaped(&mut self, row: usize, raw: &[u8], start: usize) -> Result<(), Fault> {
        let from = self.own.len();
        unescape(raw, start, &mut self.own)?;
        if self.length.is_some() {
            let text =
                std::str::from_utf8(&self.own[from..]).map_err(|_| Fault::not_utf8(start))?;
            let fits = self.fit(text, start.saturating_sub(1)).map(str::len);
            match fits {
                Ok(bytes) => self.own.truncate(from + bytes),
                Err(fault) => {
                    self.own.truncate(from);
                    return Err(fault);
                }
            }
        }
        self.set_own(row, from)
    }

    pub(super) fn set_copied(&mut self, row: usize, bytes: &[u8]) -> Result<(), Fault> {
        let from = self.own.len();
        self.own.extend_from_slice(bytes);
        self.set_own(row, from)
    }

    /// Sets the row to what was written to the own bytes since `from`.
    pub(super) fn set_own(&mut self, row: usize, from: usize) -> Result<(), Fault> {
        let bytes = &self.own[from..];
        if u32::try_from(self.own.len()).is_err() {
            return Err(Fault::size());
        }
        self.views[row] = make_view(bytes, 0, from as u32);
        if bytes.len() <= INLINE_MAX {
            self.own.truncate(from);
        }
        Ok(())
    }

    /// The bytes of a row that does not point into the records' buffers.
    pub(super) fn own_bytes<'a>(
        &'a self,
        row: usize,
        inline: &'a mut [u8; INLINE_MAX],
    ) -> &'a [u8] {
        let view = self.views[row];
        let length = view as u32 as usize;
        if length <= INLINE_MAX {
            inline.copy_from_slice(&view.to_le_bytes()[4..]);
            return &inline[..length];
        }
        let offset = (view >> 96) as u32 as usize;
        &self.own[offset..offset + length]
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        buffers: &[Buffer],
    ) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        let own = std::mem::take(&mut self.own);
        let mut all = Vec::new();
        if self.shares {
            all.reserve_exact(buffers.len() + 1);
            all.push(Buffer::from_vec(own));
            all.extend_from_slice(buffers);
        } else if !own.is_empty() {
            all.push(Buffer::from_vec(own));
        }
        (take(&mut self.views, rows), all)
    }
}

/// A text column out of checked views.
pub(super) fn text_array(
    views: ScalarBuffer<u128>,
    buffers: Vec<Buffer>,
    nulls: Option<NullBuffer>,
) -> StringViewArray {
    if cfg!(debug_assertions) {
        return StringViewArray::try_new(views, buffers, nulls)
            .expect("views are UTF-8 and lie inside their buffers by the invariant");
    }
    #[expect(
        unsafe_code,
        reason = "the checked constructor reads every string a second time"
    )]
    // SAFETY: every view was made by `Views::text`, `set_copied` or `text_escaped` out of bytes that they had checked
    // to be UTF-8, at the place where those bytes lie in `buffers` (the invariant); a view that was never set is the
    // empty string. Debug builds check all of it.
    unsafe {
        StringViewArray::new_unchecked(views, buffers, nulls)
    }
}

/// The first `rows` of these values; none are left.
pub(super) fn take<T: arrow::datatypes::ArrowNativeType>(
    values: &mut Vec<T>,
    rows: usize,
) -> ScalarBuffer<T> {
    let mut values = std::mem::take(values);
    values.truncate(rows);
    ScalarBuffer::from(values)
}
