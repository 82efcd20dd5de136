//! What the sources of a view held when its job began: until that is read, the view is still being filled.
//!
//! ```text
//! from ──────── commit ─────── to ┊ written since: an ordinary lag, of which nobody is told
//!      read so far
//! ```
//!
//! Invariant: a view has a backlog only until a commit covers it; it never comes back.

use std::collections::BTreeMap;

use log_api::TopicPartition;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use streams::CommitInfo;

use super::notice::plural;
use crate::diagnostic::{Code, Diagnostic};

/// Backlogs by the name of their view.
#[derive(Debug, Default)]
pub(crate) struct Backlogs(RwLock<BTreeMap<String, Backlog>>);

/// From where to where a view has to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog {
    from: Vec<(TopicPartition, i64)>,
    to: Vec<(TopicPartition, i64)>,
}

/// How far a view is that is still being filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filling {
    /// The view.
    pub view: String,
    /// Records of the backlog that are in.
    pub read: u64,
    /// Records of the backlog.
    pub records: u64,
}

impl Backlog {
    /// Between where a job stands and the ends of its inputs.
    pub(crate) fn new(start: &CommitInfo, ends: Vec<(TopicPartition, i64)>) -> Self {
        Self {
            from: start.positions.clone(),
            to: ends,
        }
    }

    /// Whether everything is in. Before the first commit a state names no positions.
    fn is_in(&self, commit: &CommitInfo) -> bool {
        self.to.iter().all(|(partition, end)| {
            match place(&commit.positions, partition) {
                Some(at) => at >= *end,
                // What a commit does not name is no input.
                None if commit.number > 0 => true,
                None => place(&self.from, partition).unwrap_or(0) >= *end,
            }
        })
    }

    fn filling(&self, view: &str, commit: &CommitInfo) -> Filling {
        let (mut read, mut records) = (0, 0);
        for (partition, end) in &self.to {
            let from = place(&self.from, partition).unwrap_or(0).min(*end);
            let at = place(&commit.positions, partition).unwrap_or(from);
            records += end - from;
            read += at.clamp(from, *end) - from;
        }
        Filling {
            view: view.to_owned(),
            read: read.unsigned_abs(),
            records: records.unsigned_abs(),
        }
    }
}

fn place(places: &[(TopicPartition, i64)], wanted: &TopicPartition) -> Option<i64> {
    let found = places.iter().find(|(partition, _)| partition == wanted);
    found.map(|(_, offset)| *offset)
}

impl Filling {
    /// Per cent, rounded down: 100 is said when all is in.
    pub(crate) fn percent(&self) -> u64 {
        match self.records {
            0 => 100,
            records => {
                u64::try_from(u128::from(self.read) * 100 / u128::from(records)).unwrap_or(100)
            }
        }
    }

    /// `1200 of 20000 records, 6 %`.
    pub(crate) fn text(&self) -> String {
        let records = plural(self.records, "record");
        format!("{} of {records}, {} %", self.read, self.percent())
    }

    pub(crate) fn notice(&self) -> Diagnostic {
        let message = format!(
            "view {} is still reading what its sources held when it began: {}",
            self.view,
            self.text()
        );
        Diagnostic::warning(Code::Filling, message)
            .help(format!("EXPLAIN WHY {} says how far it is", self.view))
    }
}

impl Backlogs {
    /// A view begins.
    pub(crate) fn begin(&self, view: &str, backlog: Backlog) {
        self.0.write().insert(view.to_owned(), backlog);
    }

    /// A view is gone.
    pub(crate) fn forget(&self, view: &str) {
        self.0.write().remove(view);
    }

    /// How far a view is that stands at `commit`; `None`: everything is in.
    pub(crate) fn filling(&self, view: &str, commit: &CommitInfo) -> Option<Filling> {
        let backlog = self.0.read().get(view).cloned()?;
        if backlog.is_in(commit) {
            self.forget(view);
            return None;
        }
        Some(backlog.filling(view, commit))
    }

    /// The ends that a view has to reach.
    pub(crate) fn ends(&self, view: &str) -> Option<Vec<(TopicPartition, i64)>> {
        self.0.read().get(view).map(|backlog| backlog.to.clone())
    }

    /// The views that may still be reading.
    pub(crate) fn views(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offsets: &[i64]) -> Vec<(TopicPartition, i64)> {
        let place = |(number, offset): (usize, &i64)| {
            let number = i32::try_from(number).expect("few");
            (TopicPartition::new("t", number), *offset)
        };
        offsets.iter().enumerate().map(place).collect()
    }

    fn commit(offsets: &[i64]) -> CommitInfo {
        CommitInfo {
            number: 1,
            positions: at(offsets),
        }
    }

    #[test]
    fn a_view_is_behind_until_what_was_there_is_in() {
        let backlogs = Backlogs::default();
        backlogs.begin("v", Backlog::new(&commit(&[10, 0]), at(&[30, 20])));
        let filling = backlogs
            .filling("v", &commit(&[20, 0]))
            .expect("half of one");
        assert_eq!((filling.read, filling.records), (10, 40));
        assert_eq!(filling.text(), "10 of 40 records, 25 %");
        // What one partition has beyond its end is not the other's.
        let filling = backlogs
            .filling("v", &commit(&[99, 0]))
            .expect("one is left");
        assert_eq!((filling.read, filling.percent()), (20, 50));
        assert_eq!(backlogs.filling("v", &commit(&[30, 20])), None);
        assert_eq!(
            backlogs.filling("v", &commit(&[0, 0])),
            None,
            "it never comes back"
        );
    }

    #[test]
    fn before_the_first_commit_nothing_is_in() {
        let backlogs = Backlogs::default();
        backlogs.begin("v", Backlog::new(&commit(&[0]), at(&[5])));
        let none = CommitInfo::default();
        assert_eq!(
            backlogs.filling("v", &none).map(|filling| filling.read),
            Some(0)
        );
        // A topic that the plan does not read after all is in no commit.
        let other = CommitInfo {
            number: 1,
            positions: Vec::new(),
        };
        assert_eq!(backlogs.filling("v", &other), None);
    }

    #[test]
    fn nothing_there_is_nothing_to_wait_for() {
        let backlogs = Backlogs::default();
        backlogs.begin("v", Backlog::new(&commit(&[0]), Vec::new()));
        assert_eq!(backlogs.filling("v", &commit(&[0])), None);
        assert_eq!(backlogs.filling("w", &commit(&[0])), None);
    }
}
