//! What an answer does not show: records that could not be read, views that are behind, keys that lie in two places.
//!
//! ```text
//! scans and views that a query reads ──▶ Notices ──▶ told once the rows have ended: last line, foot of the table
//! ```
//!
//! Invariant: a notice never changes what the rows are; an answer without notices is whole.

use std::sync::Arc;

use parking_lot::Mutex;
use streams::{ScanReport, ScanReportHandle};

use crate::diagnostic::{Code, Diagnostic};

/// Notices of one answer. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    said: Vec<Diagnostic>,
    scans: Vec<(String, ScanReportHandle)>,
}

impl Notices {
    /// Something that is known already.
    pub(crate) fn say(&self, notice: Diagnostic) {
        self.0.lock().said.push(notice);
    }

    /// A scan of `relation` begins, whose report is read when the answer ends.
    pub(crate) fn scan(&self, relation: &str, report: ScanReportHandle) {
        self.0.lock().scans.push((relation.to_owned(), report));
    }

    /// All of them, each once.
    pub(crate) fn take(&self) -> Vec<Diagnostic> {
        let noted = std::mem::take(&mut *self.0.lock());
        let mut notices = noted.said;
        for (relation, report) in noted.scans {
            notices.extend(scanned(&relation, &report.get()));
        }
        let mut told: Vec<Diagnostic> = Vec::new();
        for notice in notices {
            // A relation that is read twice is told of once.
            if !told.contains(&notice) {
                told.push(notice);
            }
        }
        told
    }
}

/// What there is to say of a scan.
pub(crate) fn scanned(relation: &str, report: &ScanReport) -> Vec<Diagnostic> {
    let mut notices = Vec::new();
    if let Some((partition, offset, reason)) = &report.first_failure {
        let (bad, all) = (report.undecodable, report.records);
        let message = match all {
            1 => format!("the only record of {relation} could not be read"),
            all => format!("{bad} of {all} records of {relation} could not be read"),
        };
        let first = if bad == 1 { "" } else { "first: " };
        let message = format!("{message} ({first}{reason} at {partition}@{offset})");
        notices.push(
            Diagnostic::warning(Code::LeftOut, message)
                .help(format!("EXPLAIN WHY {relation} says more")),
        );
    }
    if report.skipped > 0 {
        let records = plural(report.skipped, "record");
        let message = format!("{records} of {relation} without a value passed over");
        notices.push(Diagnostic::warning(Code::LeftOut, message).help(
            "a table (PRIMARY KEY), where the last record of a key counts, takes them as deletions",
        ));
    }
    if let Some((key, partitions)) = &report.scattered_key {
        let [one, other] = partitions;
        let lie = if report.scattered == 1 { "lies" } else { "lie" };
        let message = format!(
            "{} of {relation} {lie} in more than one partition, where it is not known which record is newer (last: {key} in {one} and {other})",
            plural(report.scattered, "key")
        );
        notices.push(Diagnostic::warning(Code::Scattered, message).help(
            "let all producers choose partitions alike: Kafka's murmur2 (kcat: -X topic.partitioner=murmur2_random)",
        ));
    }
    notices
}

/// `1 record`, `2 records`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}
