//! Values that are one JSON object: a field a column. The fast path.

use super::Part;
use super::column::TextPlace;
use super::cursor::Cursor;
use super::layout::Layout;
use super::value::{Failed, Rows, ValueDecoder};

/// Reads JSON objects.
#[derive(Debug)]
pub(super) struct ObjectDecoder {
    pub(super) fields: Layout,
}

impl ValueDecoder for ObjectDecoder {
    #[inline]
    fn decode(
        &mut self,
        value: &[u8],
        place: TextPlace,
        rows: &mut Rows<'_>,
    ) -> Result<(), Failed> {
        let mut cursor = Cursor::new(value);
        cursor.skip_space();
        let read = rows.object(&mut self.fields, &mut cursor, place);
        let whole = read.and_then(|()| cursor.end());
        whole.map_err(|fault| (Part::Value, fault))?;
        rows.keep()
    }
}
