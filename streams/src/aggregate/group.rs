//! Groups: from group columns to dense numbers.
//!
//! ```text
//! key of a row, in words of 64 bits        integers, dates, times, floats, booleans   1 word
//!                                          decimals                                   2 words
//!                                          text of ≤ 12 bytes   [length u32][bytes]    2 words, as in an Arrow view
//!                                          longer text          [length u32][4 bytes][hash of all]
//!                                          NULLs                1 word for all columns, a bit each (if any can be NULL)
//! ```
//!
//! Keys are built column by column, hashed and compared word by word; only long text is compared by its bytes. That
//! covers every type with one path, which costs some ten nanoseconds a row.
//!
//! Invariants:
//! 1. Groups are numbered `0..len()` without gaps; only [`GroupTable::retain`] renumbers them.
//! 2. Equal keys have equal words (floats are canonical), so NULL, NaN and −0.0 form one group each.

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, ToByteSlice};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::Columns;
use crate::state::{
    Cell, Column, ColumnBuilder, Physical, Values, canonical_f32, canonical_f64, key,
};

/// Text up to this many bytes lies in the words themselves.
const SHORT_BYTES_MAX: usize = 12;
/// Rows whose keys are built at once: they stay in the first-level cache.
const BLOCK_ROWS: usize = 1024;
/// Group columns that one null word can speak of.
pub(crate) const GROUP_COLUMNS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct GroupTable {
    operator: u16,
    parts: Vec<Part>,
    /// Words of a key.
    width: usize,
    /// Where the null bits are, if any column can be NULL.
    null_word: Option<usize>,
    /// Which part is the window's end.
    window: Option<usize>,
    table: HashTable<u32>,
    words: Vec<u64>,
    hashes: Vec<u64>,
    /// For each part that is text, for each group: its bytes if they are long.
    texts: Vec<Vec<Box<[u8]>>>,
    /// The first word of each part that is text.
    text_words: Vec<usize>,
    text_bytes: usize,
    block: Vec<u64>,
}

/// One group column.
#[derive(Debug)]
struct Part {
    data_type: DataType,
    physical: Physical,
    /// Its first word.
    word: usize,
    /// Its place in `texts`.
    text: Option<usize>,
}

/// What a call of [`GroupTable::intern`] found.
#[derive(Debug, Default)]
pub(crate) struct Interned {
    /// The group of each row.
    pub(crate) groups: Vec<u32>,
    /// How many groups there were before.
    pub(crate) known: usize,
}

const K: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(K);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
fn hash_words(words: &[u64]) -> u64 {
    mix(
        words.iter().fold(K, |hash, &word| mix(hash, word)),
        0x5851_f42d_4c95_7f2d,
    )
}

/// The two words of a text.
#[inline]
fn text_words(text: &[u8]) -> [u64; 2] {
    let mut bytes = [0u8; 16];
    bytes[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
    if text.len() <= SHORT_BYTES_MAX {
        bytes[4..4 + text.len()].copy_from_slice(text);
    } else {
        bytes[4..8].copy_from_slice(&text[..4]);
        bytes[8..].copy_from_slice(&FixedState::default().hash_one(text).to_le_bytes());
    }
    let view = u128::from_le_bytes(bytes);
    [view as u64, (view >> 64) as u64]
}

impl GroupTable {
    /// An empty table for group columns of these types (with whether they can be NULL). `window` is the place of a
    /// window's end among them.
    pub(crate) fn new(operator: u16, columns: &[(DataType, bool)], window: Option<usize>) -> Self {
        let mut parts = Vec::with_capacity(columns.len());
        let (mut width, mut texts) = (0, 0);
        for (data_type, _) in columns {
            let physical = Physical::of(data_type).unwrap_or(Physical::Null);
            let text = (physical == Physical::Bytes).then_some(texts);
            texts += usize::from(text.is_some());
            parts.push(Part {
                data_type: data_type.clone(),
                physical,
                word: width,
                text,
            });
            width += if matches!(physical, Physical::Bytes | Physical::I128) {
                2
            } else {
                1
            };
        }
        let text_words = parts
            .iter()
            .filter(|part| part.text.is_some())
            .map(|part: &Part| part.word)
            .collect();
        let nullable = columns
            .iter()
            .any(|(data_type, nullable)| *nullable || *data_type == DataType::Null);
        let null_word = nullable.then_some(width);
        Self {
            operator,
            parts,
            width: width + usize::from(nullable),
            null_word,
            window,
            table: HashTable::new(),
            words: Vec::new(),
            hashes: Vec::new(),
            texts: vec![Vec::new(); texts],
            text_words,
            text_bytes: 0,
            block: Vec::new(),
        }
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes that all groups take, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.len() * (self.width * 8 + 8 + 8 + self.texts.len() * 16) + self.text_bytes
    }

    /// Numbers the groups of a chunk's rows. New groups get the numbers from [`Interned::known`] on.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], rows: usize) -> Interned {
        let known = self.len();
        let mut groups = Vec::with_capacity(rows);
        if self.parts.is_empty() {
            // The one global group.
            if known == 0 {
                self.hashes.push(0);
            }
            groups.resize(rows, 0);
            return Interned { groups, known };
        }
        self.for_blocks(columns, rows, |table, block, columns, from| {
            table.find_block(block, columns, from, &mut groups);
        });
        Interned { groups, known }
    }

    /// The groups of these rows, where there are such groups.
    pub(crate) fn find_all(&mut self, columns: &[ArrayRef], rows: usize) -> Vec<Option<u32>> {
        let mut found = Vec::with_capacity(rows);
        self.for_blocks(columns, rows, |table, block, columns, from| {
            for (row, key) in block.chunks_exact(table.width).enumerate() {
                let hash = hash_words(key);
                let is_short = table.is_short(key);
                found.push(table.get(hash, key, is_short, columns, from + row));
            }
        });
        found
    }

    /// Hands the keys of rows to `visit`, in blocks, with the row that a block begins with.
    fn for_blocks(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        mut visit: impl FnMut(&mut Self, &[u64], &[Column<'_>], usize),
    ) {
        let columns: Vec<Column<'_>> = columns.iter().filter_map(Column::of).collect();
        assert_eq!(
            columns.len(),
            self.parts.len(),
            "a plan with other group columns is refused"
        );
        let mut block = std::mem::take(&mut self.block);
        for from in (0..rows).step_by(BLOCK_ROWS) {
            let length = BLOCK_ROWS.min(rows - from);
            block.clear();
            block.resize(length * self.width, 0);
            for (number, (part, column)) in self.parts.iter().zip(&columns).enumerate() {
                let width = self.width;
                fill(part, column, from, width, &mut block);
                if let (Some(null_word), Some(nulls)) = (self.null_word, column.nulls) {
                    set_nulls(part, number, nulls, from, width, null_word, &mut block);
                } else if let (Some(null_word), Values::Null) = (self.null_word, &column.values) {
                    block
                        .chunks_exact_mut(width)
                        .for_each(|key| key[null_word] |= 1 << number);
                }
            }
            visit(self, &block, &columns, from);
        }
        self.block = block;
    }

    fn find_block(
        &mut self,
        block: &[u64],
        columns: &[Column<'_>],
        from: usize,
        groups: &mut Vec<u32>,
    ) {
        let width = self.width;
        let mut previous: Option<(&[u64], u32)> = None;
        for (row, key) in block.chunks_exact(width).enumerate() {
            // Neighbours often share their group.
            if let Some((previous_key, group)) = previous
                && previous_key == key
            {
                groups.push(group);
                continue;
            }
            let is_short = self.is_short(key);
            let group = self.find(key, is_short, columns, from + row);
            groups.push(group);
            previous = is_short.then_some((key, group));
        }
    }

    /// Whether the words are the whole key.
    #[inline]
    fn is_short(&self, key: &[u64]) -> bool {
        self.text_words
            .iter()
            .all(|&word| key[word] as u32 as usize <= SHORT_BYTES_MAX)
    }

    /// The long texts of a row, with their place.
    fn long_texts<'a>(
        &'a self,
        key: &'a [u64],
        columns: &'a [Column<'_>],
        row: usize,
    ) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.parts
            .iter()
            .zip(columns)
            .filter_map(move |(part, column)| {
                let place = part.text?;
                if key[part.word] as u32 as usize <= SHORT_BYTES_MAX {
                    return None;
                }
                match column.cell(row) {
                    Cell::Bytes(text) => Some((place, text)),
                    _ => None,
                }
            })
    }

    #[inline]
    fn find(&mut self, key: &[u64], is_short: bool, columns: &[Column<'_>], row: usize) -> u32 {
        let hash = hash_words(key);
        match self.get(hash, key, is_short, columns, row) {
            Some(group) => group,
            None => self.insert(hash, key, columns, row),
        }
    }

    #[inline]
    fn get(
        &self,
        hash: u64,
        key: &[u64],
        is_short: bool,
        columns: &[Column<'_>],
        row: usize,
    ) -> Option<u32> {
        let width = self.width;
        let found = self.table.find(hash, |&group| {
            let at = group as usize * width;
            &self.words[at..at + width] == key
                && (is_short
                    || self
                        .long_texts(key, columns, row)
                        .all(|(place, text)| *self.texts[place][group as usize] == *text))
        });
        found.copied()
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: &[u64], columns: &[Column<'_>], row: usize) -> u32 {
        let group = u32::try_from(self.len()).expect("groups are dropped long before 2^32 of them");
        let long: Vec<(usize, Box<[u8]>)> = self
            .long_texts(key, columns, row)
            .map(|(place, text)| (place, text.into()))
            .collect();
        for texts in &mut self.texts {
            texts.push(Box::default());
        }
        for (place, text) in long {
            self.text_bytes += text.len();
            self.texts[place][group as usize] = text;
        }
        self.words.extend_from_slice(key);
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.table
            .insert_unique(hash, group, |&group| hashes[group as usize]);
        group
    }

    fn cell(&self, group: u32, part: &Part, number: usize) -> Cell<'_> {
        let at = group as usize * self.width;
        let key = &self.words[at..at + self.width];
        if self
            .null_word
            .is_some_and(|null_word| key[null_word] >> number & 1 == 1)
        {
            return Cell::Null;
        }
        let word = key[part.word];
        match part.physical {
            Physical::Null => Cell::Null,
            Physical::Bool => Cell::Bool(word != 0),
            Physical::I8 | Physical::I16 | Physical::I32 | Physical::I64 => Cell::Int(word as i64),
            Physical::I128 => {
                Cell::Wide((u128::from(word) | u128::from(key[part.word + 1]) << 64) as i128)
            }
            Physical::U8 | Physical::U16 | Physical::U32 | Physical::U64 => Cell::UInt(word),
            Physical::F32 => Cell::F32(f32::from_bits(word as u32)),
            Physical::F64 => Cell::F64(f64::from_bits(word)),
            Physical::Bytes => {
                let length = word as u32 as usize;
                match part.text {
                    Some(place) if length > SHORT_BYTES_MAX => {
                        Cell::Bytes(&self.texts[place][group as usize])
                    }
                    _ => Cell::Bytes(&key[part.word..part.word + 2].to_byte_slice()[4..4 + length]),
                }
            }
        }
    }

    /// The group columns of these groups.
    pub(crate) fn columns(&self, groups: &[u32]) -> Columns {
        let column = |(number, part): (usize, &Part)| -> ArrayRef {
            let mut builder = ColumnBuilder::new(&part.data_type, groups.len())
                .expect("a plan with another type is refused");
            for &group in groups {
                builder
                    .push(self.cell(group, part, number))
                    .expect("words were made from values of this type");
            }
            builder.finish()
        };
        self.parts.iter().enumerate().map(column).collect()
    }

    /// The end of a group's window, µs.
    pub(crate) fn window_end(&self, group: u32) -> Option<i64> {
        let number = self.window?;
        match self.cell(group, &self.parts[number], number) {
            Cell::Int(end) => Some(end),
            _ => None,
        }
    }

    /// Appends the state key of a group: operator, vnode, window end, group columns (see `state/key.rs`).
    pub(crate) fn state_key(&self, group: u32, out: &mut Vec<u8>) {
        let mut encoded = Vec::with_capacity(48);
        for (number, part) in self.parts.iter().enumerate() {
            key::push_cell(part.physical, self.cell(group, part, number), &mut encoded);
        }
        key::start(self.operator, &encoded, out);
        if self.window.is_some() {
            // A group without a window's end never closes: it lies behind all others.
            key::push_i64(self.window_end(group).unwrap_or(i64::MAX), out);
        }
        out.extend_from_slice(&encoded);
    }

    /// Keeps only these groups (rising), which become `0..kept.len()`.
    pub(crate) fn retain(&mut self, kept: &[u32]) {
        let width = self.width;
        for (to, &from) in kept.iter().enumerate() {
            let from = from as usize * width;
            self.words.copy_within(from..from + width, to * width);
        }
        self.words.truncate(kept.len() * width);
        super::retain_at(&mut self.hashes, kept);
        self.text_bytes = 0;
        for texts in &mut self.texts {
            super::retain_at(texts, kept);
            self.text_bytes += texts.iter().map(|text| text.len()).sum::<usize>();
        }
        self.table = HashTable::with_capacity(kept.len());
        if self.parts.is_empty() {
            return;
        }
        let hashes = &self.hashes;
        for (group, &hash) in hashes.iter().enumerate() {
            self.table
                .insert_unique(hash, group as u32, |&group| hashes[group as usize]);
        }
    }
}

/// Writes a column's words into the keys of rows `from..`.
fn fill(part: &Part, column: &Column<'_>, from: usize, width: usize, block: &mut [u64]) {
    let word = part.word;
    let keys = block.chunks_exact_mut(width);
    macro_rules! each {
        ($values:expr, $to_word:expr) => {{
            for (key, &value) in keys.zip(&$values[from..]) {
                key[word] = $to_word(value);
            }
        }};
    }
    match &column.values {
        Values::Null => {}
        Values::Bool(values) => {
            for (row, key) in keys.enumerate() {
                key[word] = u64::from(values.value(from + row));
            }
        }
        Values::I8(values) => each!(values, |value: i8| i64::from(value) as u64),
        Values::I16(values) => each!(values, |value: i16| i64::from(value) as u64),
        Values::I32(values) => each!(values, |value: i32| i64::from(value) as u64),
        Values::I64(values) => each!(values, |value: i64| value as u64),
        Values::U8(values) => each!(values, |value: u8| u64::from(value)),
        Values::U16(values) => each!(values, |value: u16| u64::from(value)),
        Values::U32(values) => each!(values, |value: u32| u64::from(value)),
        Values::U64(values) => each!(values, |value: u64| value),
        Values::F32(values) => each!(values, |value: f32| u64::from(
            canonical_f32(value).to_bits()
        )),
        Values::F64(values) => each!(values, |value: f64| canonical_f64(value).to_bits()),
        Values::I128(values) => {
            for (key, &value) in keys.zip(&values[from..]) {
                key[word] = value as u64;
                key[word + 1] = (value >> 64) as u64;
            }
        }
        Values::Utf8View(values) => fill_views(
            values.views(),
            |row| values.value(row).as_bytes(),
            from,
            word,
            keys,
        ),
        Values::BinaryView(values) => {
            fill_views(values.views(), |row| values.value(row), from, word, keys)
        }
        Values::Plain(offsets, data) => {
            for (row, key) in keys.enumerate() {
                let row = from + row;
                let words = text_words(&data[offsets[row] as usize..offsets[row + 1] as usize]);
                key[word..word + 2].copy_from_slice(&words);
            }
        }
    }
}

fn fill_views<'a>(
    views: &[u128],
    value: impl Fn(usize) -> &'a [u8],
    from: usize,
    word: usize,
    keys: std::slice::ChunksExactMut<'_, u64>,
) {
    for (row, (key, &view)) in keys.zip(&views[from..]).enumerate() {
        if view as u32 as usize <= SHORT_BYTES_MAX {
            key[word] = view as u64;
            key[word + 1] = (view >> 64) as u64;
        } else {
            key[word..word + 2].copy_from_slice(&text_words(value(from + row)));
        }
    }
}

/// Clears the words of NULLs and sets their bits.
fn set_nulls(
    part: &Part,
    number: usize,
    nulls: &NullBuffer,
    from: usize,
    width: usize,
    null_word: usize,
    block: &mut [u64],
) {
    let words = if matches!(part.physical, Physical::Bytes | Physical::I128) {
        2
    } else {
        1
    };
    for (row, key) in block.chunks_exact_mut(width).enumerate() {
        if nulls.is_null(from + row) {
            key[part.word..part.word + words].fill(0);
            key[null_word] |= 1 << number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, Int32Array, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn groups_are_numbered_as_a_map_would() {
        for seed in 0..30u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let types = [
                (DataType::Utf8View, true),
                (DataType::Int32, true),
                (DataType::Decimal128(20, 2), true),
                (DataType::Float64, true),
                (DataType::Utf8, true),
            ];
            let mut table = GroupTable::new(1, &types, None);
            let mut model: HashMap<String, u32> = HashMap::new();
            for _ in 0..4 {
                let rows = random.usize(1..3000);
                let texts = [
                    "",
                    "UA",
                    "twelve bytes",
                    "thirteen byte",
                    "a text that is long 1",
                    "a text that is long 2",
                ];
                let pick = |random: &mut fastrand::Rng| {
                    random.choice(texts).filter(|_| random.u8(..5) > 0)
                };
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(
                        (0..rows)
                            .map(|_| pick(&mut random))
                            .collect::<StringViewArray>(),
                    ),
                    Arc::new(
                        (0..rows)
                            .map(|_| random.bool().then(|| random.i32(-2..2)))
                            .collect::<Int32Array>(),
                    ),
                    Arc::new(
                        (0..rows)
                            .map(|_| random.bool().then(|| i128::from(random.i8(-1..2)) << 70))
                            .collect::<Decimal128Array>()
                            .with_precision_and_scale(20, 2)
                            .unwrap(),
                    ),
                    Arc::new(
                        (0..rows)
                            .map(|_| random.choice([0.0, -0.0, 1.5, f64::NAN]))
                            .collect::<Float64Array>(),
                    ),
                    Arc::new(
                        (0..rows)
                            .map(|_| pick(&mut random))
                            .collect::<StringArray>(),
                    ),
                ];
                let interned = table.intern(&columns, rows);
                let opened: Vec<Column<'_>> = columns
                    .iter()
                    .map(|array| Column::of(array).unwrap())
                    .collect();
                for (row, &group) in interned.groups.iter().enumerate() {
                    let key = opened
                        .iter()
                        .map(|column| format!("{:?}", column.cell(row)))
                        .collect::<String>();
                    let next = model.len() as u32;
                    assert_eq!(
                        *model.entry(key).or_insert(next),
                        group,
                        "seed {seed}, row {row}"
                    );
                }
                assert_eq!(table.len(), model.len());
                // Reading groups back and interning them again changes nothing.
                let all: Vec<u32> = (0..table.len() as u32).collect();
                let columns = table.columns(&all);
                let count = table.len();
                assert_eq!(table.intern(&columns, count).groups, all, "seed {seed}");
            }
            let kept: Vec<u32> = (0..table.len() as u32)
                .filter(|group| group % 3 != 0)
                .collect();
            let columns = table.columns(&kept);
            table.retain(&kept);
            let found = table.intern(&columns, kept.len());
            assert_eq!(
                found.groups,
                (0..kept.len() as u32).collect::<Vec<_>>(),
                "seed {seed}"
            );
            assert_eq!(table.len(), kept.len());
        }
    }

    #[test]
    fn state_keys_begin_with_operator_vnode_and_window() {
        use arrow::array::TimestampMicrosecondArray;
        use arrow::datatypes::TimeUnit;
        let types = [
            (DataType::Timestamp(TimeUnit::Microsecond, None), false),
            (DataType::Utf8View, false),
        ];
        let mut table = GroupTable::new(3, &types, Some(0));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 5])),
            Arc::new(StringViewArray::from(vec!["UA", "UA"])),
        ];
        table.intern(&columns, 2);
        let mut key = Vec::new();
        table.state_key(0, &mut key);
        assert_eq!(key[..2], [0, 3]);
        assert_eq!(key[4..12], [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(table.window_end(1), Some(5));
        let mut later = Vec::new();
        table.state_key(1, &mut later);
        assert!(later[4..] > key[4..]);
    }
}
