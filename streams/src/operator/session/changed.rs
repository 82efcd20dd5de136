//! What an epoch has changed in a partition, where rows leave as they come.

use std::collections::BTreeMap;

use super::index::Session;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Sessions as they were before, and are not any more: last times by first ones.
    pub(super) old: BTreeMap<i64, i64>,
    /// Sessions as they are now, and were not before.
    pub(super) new: BTreeMap<i64, i64>,
    /// How many more of a row there are.
    pub(super) rows: BTreeMap<Vec<u8>, i64>,
}

impl Changed {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn replace(&mut self, gone: &[Session], come: &[Session]) {
        for session in gone {
            if self.new.get(&session.start) == Some(&session.last) {
                self.new.remove(&session.start);
            } else {
                self.old.insert(session.start, session.last);
            }
        }
        let come = come.iter().map(|session| (session.start, session.last));
        self.new.extend(come);
    }

    /// There are so many more of a row.
    pub(super) fn count(&mut self, row: &[u8], more: i64) {
        match self.rows.get_mut(row) {
            Some(known) => *known += more,
            None => {
                self.rows.insert(row.to_vec(), more);
            }
        }
    }

    /// Takes out what is as it was.
    pub(super) fn settle(&mut self) {
        let new = &mut self.new;
        self.old
            .retain(|start, last| match new.get(start) == Some(last) {
                true => {
                    new.remove(start);
                    false
                }
                false => true,
            });
        self.rows.retain(|_, more| *more != 0);
    }

    /// Whether a time lies in a session that was or is another one.
    pub(super) fn moves(&self, time: i64) -> bool {
        around(&self.old, time) || around(&self.new, time)
    }
}

/// Whether a time lies in one of these sessions.
fn around(sessions: &BTreeMap<i64, i64>, time: i64) -> bool {
    let before = sessions.range(..=time).next_back();
    before.is_some_and(|(_, last)| *last >= time)
}
