//! Which field of an object goes where, and in which order fields are likely to come.
//!
//! ```text
//! record 1   {"scheduled":…,"carrier":…,"flight":…}     names are looked up, and remembered in their order
//! record 2   {"scheduled":…,"carrier":…,"flight":…}     one comparison of bytes a name
//! ```
//!
//! Invariants:
//! 1. The remembered order only saves lookups: the result for a name never depends on it.
//! 2. It holds at most [`STEPS_MAX`] names of at most [`STEP_NAME_MAX`] bytes; further names are looked up each time.

use std::collections::HashMap;

use super::cursor::{Cursor, unescape};
use super::fault::Fault;

/// How many names are remembered.
const STEPS_MAX: usize = 128;
/// Longer names are not remembered.
const STEP_NAME_MAX: usize = 256;

/// What happens to a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It is of no interest.
    Skip,
    /// It is this column's value.
    Store(u16),
    /// It is this column's value, unless the record has the column's exact spelling too.
    StoreLoose(u16),
    /// It must agree with this column, which the record key gives.
    Agree(u16),
    /// It must agree with this column, unless the record has the column's exact spelling too.
    AgreeLoose(u16),
    /// It must fit this column, which nothing reads.
    Check(u16),
    /// It must fit this column, unless the record has the column's exact spelling too.
    CheckLoose(u16),
}

/// What a column wants of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Store,
    Agree,
    Check,
}

/// The names of one kind of object.
#[derive(Debug, Default)]
pub(super) struct Layout {
    exact: HashMap<Box<str>, Target>,
    /// By lower-case name.
    loose: HashMap<String, Target>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    /// The name with its quotes and the colon, as it stands in the JSON text.
    name: Box<[u8]>,
    target: Target,
    /// The first eight bytes of the name (fewer, if it is shorter), and which bits of them count.
    front: u64,
    front_mask: u64,
    /// The last eight bytes of a name that is longer than that.
    back: u64,
}

impl Step {
    fn new(quoted: &[u8], target: Target) -> Self {
        let mut name = quoted.to_vec();
        name.push(b':');
        let (mut front, mut mask) = ([0; 8], [0; 8]);
        let short = name.len().min(8);
        front[..short].copy_from_slice(&name[..short]);
        mask[..short].fill(0xff);
        Self {
            front: u64::from_le_bytes(front),
            front_mask: u64::from_le_bytes(mask),
            back: name
                .last_chunk::<8>()
                .map_or(0, |back| u64::from_le_bytes(*back)),
            name: name.into(),
            target,
        }
    }

    /// Whether the name stands at the front of `bytes`: two loads for all but long names.
    #[inline(always)]
    fn stands_in(&self, bytes: &[u8]) -> bool {
        let Some(front) = bytes.first_chunk::<8>() else {
            return bytes.starts_with(&self.name);
        };
        if (u64::from_le_bytes(*front) ^ self.front) & self.front_mask != 0 {
            return false;
        }
        let length = self.name.len();
        if length <= 8 {
            return true;
        }
        let Some(back) = bytes.get(length - 8..).and_then(<[u8]>::first_chunk::<8>) else {
            return false;
        };
        u64::from_le_bytes(*back) == self.back
            && (length <= 16 || bytes[8..length - 8] == self.name[8..length - 8])
    }
}

impl Layout {
    /// Adds a field whose value `column` wants. The first of two equal names counts.
    pub(super) fn add(&mut self, name: &str, column: u16, wanted: Use) {
        let (exact, loose) = match wanted {
            Use::Store => (Target::Store(column), Target::StoreLoose(column)),
            Use::Agree => (Target::Agree(column), Target::AgreeLoose(column)),
            Use::Check => (Target::Check(column), Target::CheckLoose(column)),
        };
        self.exact.entry(name.into()).or_insert(exact);
        self.loose.entry(name.to_lowercase()).or_insert(loose);
    }

    /// Reads the field name that stands here and the colon behind it; `step` counts the fields of the record.
    #[inline(always)]
    pub(super) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        step: &mut usize,
    ) -> Result<Target, Fault> {
        if let Some(expected) = self.steps.get(*step)
            && let Some(rest) = cursor.bytes.get(cursor.at..)
            && expected.stands_in(rest)
        {
            cursor.at += expected.name.len();
            *step += 1;
            cursor.skip_space();
            return Ok(expected.target);
        }
        self.search(cursor, step)
    }

    #[inline(never)]
    fn search(&mut self, cursor: &mut Cursor<'_>, step: &mut usize) -> Result<Target, Fault> {
        if cursor.peek() != b'"' {
            return Err(Fault::syntax(cursor.at, "a field name in quotes"));
        }
        let span = cursor.string()?;
        cursor.colon()?;
        let quoted = &cursor.bytes[span.start - 1..=span.end];
        let is_known = |step: &Step| step.name[..step.name.len() - 1] == *quoted;
        if let Some(known) = self.steps.iter().position(is_known) {
            *step = known + 1;
            return Ok(self.steps[known].target);
        }
        let raw = &cursor.bytes[span.start..span.end];
        let mut unescaped = Vec::new();
        let name = if span.escaped {
            unescape(raw, span.start, &mut unescaped)?;
            &unescaped
        } else {
            raw
        };
        let name = std::str::from_utf8(name)
            .map_err(|error| Fault::not_utf8(span.start + error.valid_up_to()))?;
        let target = self.target(name);
        if self.steps.len() < STEPS_MAX && quoted.len() <= STEP_NAME_MAX {
            let at = (*step).min(self.steps.len());
            self.steps.insert(at, Step::new(quoted, target));
            *step = at + 1;
        }
        Ok(target)
    }

    fn target(&self, name: &str) -> Target {
        if let Some(target) = self.exact.get(name) {
            return *target;
        }
        self.loose
            .get(&name.to_lowercase())
            .copied()
            .unwrap_or(Target::Skip)
    }
}
