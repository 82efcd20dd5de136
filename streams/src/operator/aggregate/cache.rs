//! Which groups are in memory: those in use, within a limit; the others are in the state.

use crate::state::{ScanOrder, State, StateError, key};
use std::ops::ControlFlow;

use super::Aggregate;
use super::groups::{CLOSED, SAVED, TOUCHED};

/// Groups whose window ends in here may be in the state without being in memory: what event time has passed is not
/// looked for again. Groups without a window are all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cold {
    pub(super) first_end: i64,
    pub(super) last_end: i64,
}

impl Cold {
    const ALL: Self = Self {
        first_end: i64::MIN,
        last_end: i64::MAX,
    };

    pub(super) fn holds(self, window_end: Option<i64>) -> bool {
        window_end.is_none_or(|end| (self.first_end..=self.last_end).contains(&end))
    }

    fn with(known: Option<Self>, window_end: i64) -> Self {
        let known = known.unwrap_or(Self {
            first_end: window_end,
            last_end: window_end,
        });
        Self {
            first_end: known.first_end.min(window_end),
            last_end: known.last_end.max(window_end),
        }
    }
}

impl Aggregate {
    /// Which windows the state holds groups of.
    pub(super) fn find_cold(&mut self, state: &State) -> Result<Option<Cold>, StateError> {
        if self.closes() {
            let range = self.timers.open(state)?;
            if self.closing.drops_state {
                return Ok(range.map(|(first_end, last_end)| Cold {
                    first_end,
                    last_end,
                }));
            }
        }
        let mut cold = None;
        let (from, to) = key::operator_range(self.id.0);
        state.scan(&from, &to, ScanOrder::Ascending, |_, _| {
            cold = Some(Cold::ALL);
            ControlFlow::Break(())
        })?;
        Ok(cold)
    }

    /// What is cold once any of the groups in memory may have left it.
    fn cold_with_all(&self) -> Option<Cold> {
        if !self.closing.drops_state {
            return Some(Cold::ALL);
        }
        // As in the keys: a group without a window's end lies behind all others.
        let ends = (0..self.groups.table.len() as u32)
            .map(|group| self.groups.table.window_end(group).unwrap_or(i64::MAX))
            .filter(|&end| end > self.closed_until);
        ends.fold(self.cold, |cold, end| Some(Cold::with(cold, end)))
    }

    /// Gives up groups that are of no use, and, over the limit, such as did not change in this commit.
    pub(super) fn shrink(&mut self) {
        let count = self.groups.table.len();
        let bytes = self.groups.size_bytes();
        let cache_bytes = self.memory.cache_bytes();
        let over = bytes > cache_bytes;
        if self.is_global() || !(over || self.gone * 4 > count.max(64)) {
            self.end_commit();
            return;
        }
        let bytes_each = bytes / count.max(1);
        let mut kept: Vec<u32> = (0..count as u32)
            .filter(|&group| {
                self.groups.flags[group as usize] & CLOSED == 0
                    && self.groups.rows[group as usize] > 0
            })
            .collect();
        if over && kept.len() * bytes_each > cache_bytes {
            let is_hot = |group: u32| self.groups.flags[group as usize] & TOUCHED != 0;
            let hot = kept.iter().filter(|&&group| is_hot(group)).count();
            let hot_fits = hot * bytes_each <= cache_bytes / 2;
            let (staying, leaving): (Vec<u32>, Vec<u32>) = kept
                .into_iter()
                .partition(|&group| hot_fits && is_hot(group));
            if self.closes() {
                for group in leaving {
                    debug_assert!(self.groups.flags[group as usize] & SAVED != 0);
                    self.timers.note(&self.groups.state_key(group));
                }
            }
            self.cold = self.cold_with_all();
            kept = staying;
        }
        self.groups.retain(&kept);
        self.end_commit();
        self.gone = 0;
        self.ends.clear();
        for group in 0..self.groups.table.len() as u32 {
            if let Some(end) = self.groups.table.window_end(group)
                && end > self.closed_until
            {
                self.ends.entry(end).or_default().push(group);
            }
        }
    }

    fn end_commit(&mut self) {
        let flags = self.groups.flags.iter_mut();
        flags.for_each(|flags| *flags &= !TOUCHED);
    }
}
