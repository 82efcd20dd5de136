//! The column types of the boundary, and the Arrow IPC schema message that names them.
//!
//! Guests do not link arrow: the message is small and its shape fixed, so it is written by hand.
//!
//! ```text
//! ff ff ff ff | length of what follows, i32, padded to 8 | flatbuffer Message
//!
//! Message  { 0 version: i16 = 4 (V5)  1 header type: u8 = 1 (Schema)  2 header: table  3 body length: i64 = 0 }
//! Schema   { 0 endianness: i16 = 0    1 fields: [table] }
//! Field    { 0 name: string  1 nullable: bool  2 type: u8  3 type: table  5 children: [] }
//! Int      { 0 bit width: i32  1 signed: bool }      FloatingPoint { 0 precision: i16 }      Utf8, Bool { }
//! ```
//!
//! Source: Arrow's `Message.fbs` and `Schema.fbs`; the flatbuffers internals page for tables and vtables.
//! Offsets to children are unsigned, so a parent is written before its children and patched.

/// A column type that functions may take and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// `BOOLEAN`, a bit a value.
    Boolean,
    /// `INTEGER`, 4 bytes a value.
    Int32,
    /// `BIGINT`, 8 bytes a value.
    Int64,
    /// `DOUBLE PRECISION`, 8 bytes a value.
    Float64,
    /// `VARCHAR`, offsets of 4 bytes and a blob of UTF-8.
    Utf8,
}

impl DataType {
    /// Bytes a value of a fixed-width type; `None` for booleans (bits) and text.
    pub(crate) fn width(self) -> Option<usize> {
        match self {
            DataType::Int32 => Some(4),
            DataType::Int64 | DataType::Float64 => Some(8),
            DataType::Boolean | DataType::Utf8 => None,
        }
    }

    /// Buffers a column of this type travels in.
    pub(crate) fn buffer_count(self) -> usize {
        if self == DataType::Utf8 { 3 } else { 2 }
    }
}

/// One field of a schema: name, type, and whether it may be null.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
}

/// The encapsulated IPC message that describes `fields`.
pub(crate) fn encode(fields: &[Field<'_>]) -> Vec<u8> {
    let mut flat = Flat { bytes: vec![0; 4] };
    let message = flat.table(&[Slot::Short(4), Slot::Byte(1), Slot::Child, Slot::Long(0)]);
    flat.patch(0, message.start);
    let schema = flat.table(&[Slot::Short(0), Slot::Child]);
    flat.patch(message.children[0], schema.start);
    let (vector, entries) = flat.vector(fields.len());
    flat.patch(schema.children[0], vector);
    for (field, entry) in fields.iter().zip(entries) {
        let start = encode_field(&mut flat, field);
        flat.patch(entry, start);
    }
    flat.align(8);

    let length = i32::try_from(flat.bytes.len()).expect("a schema of a few fields is small");
    let mut message = vec![0xff; 4];
    message.extend_from_slice(&length.to_le_bytes());
    message.append(&mut flat.bytes);
    message
}

fn encode_field(flat: &mut Flat, field: &Field<'_>) -> usize {
    let (type_id, type_slots): (u8, &[Slot]) = match field.data_type {
        DataType::Int32 => (2, &[Slot::Int(32), Slot::Byte(1)]),
        DataType::Int64 => (2, &[Slot::Int(64), Slot::Byte(1)]),
        DataType::Float64 => (3, &[Slot::Short(2)]),
        DataType::Utf8 => (5, &[]),
        DataType::Boolean => (6, &[]),
    };
    let table = flat.table(&[
        Slot::Child,
        Slot::Byte(u8::from(field.nullable)),
        Slot::Byte(type_id),
        Slot::Child,
        Slot::Absent,
        Slot::Child,
    ]);
    let name = flat.string(field.name);
    flat.patch(table.children[0], name);
    let data_type = flat.table(type_slots);
    flat.patch(table.children[1], data_type.start);
    let (children, _) = flat.vector(0);
    flat.patch(table.children[2], children);
    table.start
}

/// A flatbuffer under construction, written front to back.
struct Flat {
    bytes: Vec<u8>,
}

/// What a table's slot holds.
enum Slot {
    Absent,
    Byte(u8),
    Short(i16),
    Int(i32),
    Long(i64),
    /// An offset, patched once the child is written.
    Child,
}

/// Where a table lies and where its child offsets are, in slot order.
struct Table {
    start: usize,
    children: Vec<usize>,
}

impl Flat {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    /// Writes a vtable and the table after it, at a multiple of 8.
    fn table(&mut self, slots: &[Slot]) -> Table {
        let mut at = 4;
        let mut positions = Vec::with_capacity(slots.len());
        for slot in slots {
            let size = match slot {
                Slot::Absent => 0,
                Slot::Byte(_) => 1,
                Slot::Short(_) => 2,
                Slot::Int(_) | Slot::Child => 4,
                Slot::Long(_) => 8,
            };
            if size == 0 {
                positions.push(0);
            } else {
                at = usize::next_multiple_of(at, size);
                positions.push(at);
                at += size;
            }
        }

        self.align(2);
        let vtable = self.bytes.len();
        let vtable_size = 4 + 2 * slots.len();
        self.short(vtable_size);
        self.short(at);
        for &position in &positions {
            self.short(position);
        }
        self.align(8);
        let start = self.bytes.len();
        let back = i32::try_from(start - vtable).expect("a vtable lies just before its table");
        self.bytes.resize(start + at, 0);
        self.bytes[start..start + 4].copy_from_slice(&back.to_le_bytes());
        let mut children = Vec::new();
        for (slot, position) in slots.iter().zip(positions) {
            let position = start + position;
            match slot {
                Slot::Absent => {}
                Slot::Byte(value) => self.bytes[position] = *value,
                Slot::Short(value) => self.put(position, &value.to_le_bytes()),
                Slot::Int(value) => self.put(position, &value.to_le_bytes()),
                Slot::Long(value) => self.put(position, &value.to_le_bytes()),
                Slot::Child => children.push(position),
            }
        }
        Table { start, children }
    }

    fn vector(&mut self, length: usize) -> (usize, Vec<usize>) {
        self.align(4);
        let start = self.bytes.len();
        self.int(length);
        let entries = (0..length).map(|i| start + 4 + 4 * i).collect();
        self.bytes.resize(start + 4 + 4 * length, 0);
        (start, entries)
    }

    fn string(&mut self, text: &str) -> usize {
        self.align(4);
        let start = self.bytes.len();
        self.int(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        start
    }

    /// Makes the offset at `at` point to `target`, which lies behind it.
    fn patch(&mut self, at: usize, target: usize) {
        let distance = u32::try_from(target - at).expect("a schema of a few fields is small");
        self.put(at, &distance.to_le_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn short(&mut self, value: usize) {
        let value = u16::try_from(value).expect("a table of a few slots is small");
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn int(&mut self, value: usize) {
        let value = u32::try_from(value).expect("a schema of a few fields is small");
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_framed_and_padded() {
        let message = encode(&[Field {
            name: "delay",
            data_type: DataType::Float64,
            nullable: true,
        }]);
        assert_eq!(&message[..4], &[0xff; 4]);
        let length = u32::from_le_bytes(message[4..8].try_into().unwrap()) as usize;
        assert_eq!(length, message.len() - 8);
        assert_eq!(length % 8, 0);
        assert!(message.windows(5).any(|window| window == b"delay"));
    }

    #[test]
    fn tables_lie_at_multiples_of_eight_and_point_to_their_vtable() {
        let mut flat = Flat { bytes: vec![0; 4] };
        let table = flat.table(&[Slot::Byte(7), Slot::Long(9), Slot::Child]);
        assert_eq!(table.start % 8, 0);
        let back = i32::from_le_bytes(flat.bytes[table.start..table.start + 4].try_into().unwrap());
        let vtable = table.start - back as usize;
        assert_eq!(&flat.bytes[vtable..vtable + 4], &[10, 0, 20, 0]);
        assert_eq!(flat.bytes[table.start + 4], 7);
        assert_eq!(flat.bytes[table.start + 8], 9);
        assert_eq!(table.children, [table.start + 16]);
    }
}
