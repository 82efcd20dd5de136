//! Why a job prints what it prints, or nothing, in a few sentences.
//!
//! ```text
//! delays has printed nothing: it is running, but no window has closed: event time stands at 2013-01-01T10:00:00.
//! read 27004 rows; 0 late, 12 filtered out, 1 undecodable (last: "carrier" is missing at flights-2@17)
//! event time 2013-01-01T10:00:00 is held back by flights-3 (active, 12 records behind)
//! commit 7 was 0.2 s ago
//! ```

use std::fmt;
use std::time::Duration;

use log_api::TopicPartition;

use crate::job::JobStatus;
use crate::operator::iso8601;
use crate::task::JobState;
use crate::time::PartitionStatus;

/// The answer to `EXPLAIN WHY <view>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The job.
    pub job: String,
    /// Where it is in its life.
    pub state: JobState,
    /// Why it broke last.
    pub error: Option<String>,
    /// Rows read since the start.
    pub rows_in: u64,
    /// Records written to the view's topic since the start.
    pub rows_out: u64,
    /// Rows that filters removed.
    pub filtered: u64,
    /// Rows that came too late.
    pub late: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Rows that an expression failed on.
    pub failed_rows: u64,
    /// The last row that failed or could not be decoded: reason and place.
    pub last_failure: Option<String>,
    /// Event time, µs.
    pub watermark: Option<i64>,
    /// The partition that holds event time back.
    pub holder: Option<Holder>,
    /// Records that the log has and the job has not read.
    pub lag: i64,
    /// A partition whose end an open transaction hides.
    pub hidden: Option<TopicPartition>,
    /// Number of the last commit.
    pub commit: u64,
    /// How long ago it was; `None` before the first since the start.
    pub commit_age: Option<Duration>,
    /// Input partitions; 0 while the job is being opened.
    pub partitions: usize,
}

/// The partition that holds event time back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub partition: TopicPartition,
    /// Its own event time, µs; `None`: it has had no row yet.
    pub value: Option<i64>,
    /// Whether it counts as active.
    pub status: PartitionStatus,
    /// Records of it that are not read yet.
    pub lag: i64,
}

impl Why {
    pub(crate) fn new(job: &str, status: &JobStatus) -> Self {
        let holder = status
            .times
            .iter()
            .filter(|time| time.holds)
            // Of several sources the one that is furthest behind, which has not begun before all.
            .min_by_key(|time| time.value)
            .map(|time| Holder {
                partition: time.partition.clone(),
                value: time.value,
                status: time.status,
                lag: (time.high_watermark - time.position).max(0),
            });
        let hidden = status
            .partitions
            .iter()
            .find(|progress| progress.last_stable_offset < progress.high_watermark)
            .map(|progress| progress.partition.clone());
        Self {
            job: job.to_owned(),
            state: status.state,
            error: status.error.clone(),
            rows_in: status.rows_in,
            rows_out: status.rows_out,
            filtered: status.filtered,
            late: status.late,
            undecodable: status.undecodable,
            failed_rows: status.failed_rows,
            last_failure: status.last_failure.clone(),
            watermark: status.watermark,
            holder,
            lag: status
                .partitions
                .iter()
                .map(|progress| (progress.high_watermark - progress.position).max(0))
                .sum(),
            hidden,
            commit: status.commit.number,
            commit_age: status.commit_age,
            partitions: status.partitions.len(),
        }
    }

    /// The first sentence: what matters most.
    fn verdict(&self) -> String {
        let job = &self.job;
        let error = self.error.as_deref().unwrap_or("no cause is known");
        match self.state {
            JobState::Failed => return format!("{job} has failed and does nothing more: {error}"),
            JobState::Stopped => return format!("{job} is stopped"),
            JobState::Starting => return format!("{job} is starting"),
            JobState::Recovering => return format!("{job} starts over, because of: {error}"),
            JobState::Running => {}
        }
        if self.rows_out > 0 {
            return format!(
                "{job} is running and has written {} changes since it was started",
                self.rows_out
            );
        }
        let nothing = format!("{job} prints nothing new because");
        let gone = self.filtered + self.late + self.failed_rows;
        if let Some(hidden) = &self.hidden
            && self.rows_in == 0
        {
            format!("{nothing} an open transaction hides the end of {hidden}")
        } else if self.rows_in == 0 && self.undecodable > 0 {
            format!(
                "{nothing} all {} records it has read are undecodable",
                self.undecodable
            )
        } else if self.rows_in == 0 && self.commit > 0 && self.lag == 0 {
            format!("{nothing} no record has come since it was started; everything before is in")
        } else if self.rows_in == 0 && self.lag == 0 {
            format!("{nothing} its sources hold no records")
        } else if self.rows_in == 0 {
            format!(
                "{nothing} it has not read anything yet, {} records wait",
                self.lag
            )
        } else if self.filtered == self.rows_in {
            format!("{nothing} all {} rows are filtered out", self.rows_in)
        } else if self.late == self.rows_in {
            format!(
                "{nothing} all {} rows are too late for their windows",
                self.rows_in
            )
        } else if gone >= self.rows_in {
            format!(
                "{nothing} of {} rows {} are filtered out, {} too late, and {} failed",
                self.rows_in, self.filtered, self.late, self.failed_rows
            )
        } else if let Some(watermark) = self.watermark {
            format!(
                "{nothing} its rows have changed no result yet: event time stands at {}",
                iso8601(watermark)
            )
        } else {
            format!(
                "{nothing} its rows have changed no result yet (a join without a match on the other side?)"
            )
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict())?;
        write!(
            f,
            "read {} rows: {} filtered out, {} late, {} undecodable, {} failed",
            self.rows_in, self.filtered, self.late, self.undecodable, self.failed_rows
        )?;
        match &self.last_failure {
            Some(failure) => writeln!(f, " (last: {failure})")?,
            None => writeln!(f)?,
        }
        match (self.watermark, &self.holder) {
            (None, None) => {}
            (watermark, Some(holder)) => {
                let own = holder
                    .value
                    .map_or_else(|| "no event time yet".to_owned(), iso8601);
                let time = watermark.map_or_else(
                    || "event time has not begun".to_owned(),
                    |time| format!("event time {}", iso8601(time)),
                );
                writeln!(
                    f,
                    "{time}; held back by {} ({}, {own}, {} records behind)",
                    holder.partition, holder.status, holder.lag
                )?;
            }
            (Some(watermark), None) => writeln!(
                f,
                "event time {}; nothing holds it back",
                iso8601(watermark)
            )?,
        }
        if let Some(hidden) = &self.hidden {
            writeln!(
                f,
                "an open transaction hides records at the end of {hidden}"
            )?;
        }
        write!(f, "{} records behind; ", self.lag)?;
        match self.commit_age {
            Some(age) => write!(
                f,
                "commit {} was {:.1} s ago",
                self.commit,
                age.as_secs_f64()
            ),
            None if self.commit > 0 => write!(f, "commit {} was before the start", self.commit),
            None => write!(f, "no commit yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why() -> Why {
        Why {
            job: "delays".to_owned(),
            state: JobState::Running,
            error: None,
            rows_in: 0,
            rows_out: 0,
            filtered: 0,
            late: 0,
            undecodable: 0,
            failed_rows: 0,
            last_failure: None,
            watermark: None,
            holder: None,
            lag: 0,
            hidden: None,
            commit: 0,
            commit_age: None,
            partitions: 4,
        }
    }

    #[test]
    fn names_the_reason_for_silence() {
        let first = |why: &Why| why.to_string().lines().next().unwrap().to_owned();
        assert_eq!(
            first(&why()),
            "delays prints nothing new because its sources hold no records"
        );
        let filtered = Why {
            rows_in: 3,
            filtered: 3,
            ..why()
        };
        assert_eq!(
            first(&filtered),
            "delays prints nothing new because all 3 rows are filtered out"
        );
        let late = Why {
            rows_in: 3,
            late: 3,
            ..why()
        };
        assert_eq!(
            first(&late),
            "delays prints nothing new because all 3 rows are too late for their windows"
        );
        let undecodable = Why {
            undecodable: 2,
            last_failure: Some("no JSON at flights-0@1".to_owned()),
            ..why()
        };
        assert_eq!(
            first(&undecodable),
            "delays prints nothing new because all 2 records it has read are undecodable"
        );
        assert!(
            undecodable
                .to_string()
                .contains("(last: no JSON at flights-0@1)")
        );
        let failed = Why {
            state: JobState::Failed,
            error: Some("disk full".to_owned()),
            ..why()
        };
        assert_eq!(
            first(&failed),
            "delays has failed and does nothing more: disk full"
        );
    }

    #[test]
    fn names_the_partition_that_holds_event_time() {
        let why = Why {
            rows_in: 5,
            watermark: Some(1_357_034_400_000_000),
            holder: Some(Holder {
                partition: TopicPartition::new("flights", 3),
                value: Some(1_357_034_400_500_000),
                status: PartitionStatus::Active,
                lag: 12,
            }),
            lag: 12,
            commit: 7,
            commit_age: Some(Duration::from_millis(200)),
            ..why()
        };
        let text = why.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "delays prints nothing new because its rows have changed no result yet: event time stands at 2013-01-01T10:00:00"
        );
        assert_eq!(
            lines[2],
            "event time 2013-01-01T10:00:00; held back by flights-3 (active, 2013-01-01T10:00:00.500, 12 records behind)"
        );
        assert_eq!(lines[3], "12 records behind; commit 7 was 0.2 s ago");
    }
}
