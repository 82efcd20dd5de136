//! Why a job prints what it prints, or nothing, in a few sentences.
//!
//! ```text
//! delays is running and has written 31 changes; 5 rows came too late (topic delays.late), 1 could not be read (topic delays.errors)
//! read 27004 rows: 12 filtered out, 5 late, 1 undecodable, 0 failed
//! last left out: "carrier" is missing at flights-2@17
//! last late: flights-0@9: its window closed at 2013-01-01T10:00:00, event time was 2013-01-01T10:00:02
//! event time 2013-01-01T10:00:00; held back by flights-3 (active, 2013-01-01T09:59:50, 12 records behind)
//! a window closes when event time gets to its end
//! 12 records behind; commit 7 was 0.2 s ago
//! ```
//!
//! Invariant: it says what is known and never guesses. What is not known yet is said to be unknown.

use std::fmt;
use std::time::Duration;

use log_api::TopicPartition;

use crate::operator::iso8601;
use crate::plan::{Emit, JoinKind, LatePolicy, NodeKind, StreamPlan};
use crate::task::JobState;
use crate::task::{JobSpec, JobStatus};
use crate::time::PartitionStatus;

/// A batch that takes longer than this is worth a word.
const AT_WORK_MIN: Duration = Duration::from_secs(1);

/// The answer to `EXPLAIN WHY <view>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The job.
    pub job: String,
    /// Where it is in its life.
    pub state: JobState,
    /// Why it broke last.
    pub error: Option<String>,
    /// Rows read since the job was made.
    pub rows_in: u64,
    /// Records written to the view's topic.
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
    /// The last row that came too late: its place and its window.
    pub last_late: Option<String>,
    /// Rows that were read and are not committed yet.
    pub uncommitted: u64,
    /// Rows that the operators are at work on, and for how long.
    pub at_work: Option<(u64, Duration)>,
    /// What the query does with rows, as far as it explains silence.
    pub query: Query,
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
    /// Input partitions; 0 while nothing is known of them.
    pub partitions: usize,
}

/// What of a query explains that it is silent, and where it puts what it leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Where rows go that could not be read or computed.
    pub errors_topic: String,
    /// Where late rows go; `None`: nowhere.
    pub late_topic: Option<String>,
    /// Late rows are let in.
    pub late_updates: bool,
    /// How long its windows take rows after their end, µs, if rows leave when a window closes.
    pub closes: Option<i64>,
    /// It has a join that shows matches only.
    pub inner_join: bool,
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

impl Query {
    fn of(plan: &StreamPlan, errors_topic: &str) -> Self {
        let mut query = Self {
            errors_topic: errors_topic.to_owned(),
            ..Self::default()
        };
        let mut grace_us: Option<i64> = None;
        let mut on_close = false;
        for node in &plan.nodes {
            match &node.kind {
                NodeKind::Tumble(spec) | NodeKind::Late(spec) => {
                    query.windows(&spec.late);
                    grace_us = Some(spec.grace_us);
                }
                NodeKind::Slide(spec) => {
                    query.windows(&spec.late);
                    grace_us = Some(spec.grace_us);
                }
                NodeKind::Session(spec) => {
                    query.windows(&spec.late);
                    grace_us = Some(spec.grace_us);
                }
                NodeKind::Join(join) => query.inner_join |= join.kind == JoinKind::Inner,
                NodeKind::Aggregate(spec) => on_close |= spec.emit == Emit::OnWindowClose,
                _ => {}
            }
        }
        query.closes = grace_us.filter(|_| on_close);
        query
    }

    /// There are windows that treat late rows so.
    fn windows(&mut self, late: &LatePolicy) {
        self.late_updates |= *late == LatePolicy::Update;
        if let LatePolicy::To(topic) = late {
            self.late_topic = Some(topic.clone());
        }
    }
}

impl Why {
    pub(crate) fn new(spec: &JobSpec, errors_topic: &str, status: &JobStatus) -> Self {
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
            job: spec.name.clone(),
            state: status.state,
            error: status.error.clone(),
            rows_in: status.rows_in,
            rows_out: status.rows_out,
            filtered: status.filtered,
            late: status.late,
            undecodable: status.undecodable,
            failed_rows: status.failed_rows,
            last_failure: status.last_failure.clone(),
            last_late: status.last_late.clone(),
            uncommitted: status.uncommitted,
            at_work: status.at_work,
            query: Query::of(&spec.plan, errors_topic),
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

    /// What was left out of the view, and where it is: `5 rows came too late (topic v.late)`; `None`: nothing.
    pub fn left_out(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.late > 0 && !self.query.late_updates {
            let place = match &self.query.late_topic {
                Some(topic) => format!("topic {topic}"),
                None => "dropped".to_owned(),
            };
            parts.push(format!("{} came too late ({place})", rows(self.late)));
        }
        let errors = &self.query.errors_topic;
        let reasons = [
            (self.undecodable, "record", "could not be read"),
            (self.failed_rows, "row", "failed"),
        ];
        for (count, what, how) in reasons.into_iter().filter(|(count, ..)| *count > 0) {
            parts.push(format!("{} {how} (topic {errors})", counted(count, what)));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The first sentence: what matters most.
    pub fn verdict(&self) -> String {
        let job = &self.job;
        let error = self.error.as_deref().unwrap_or("no cause is known");
        let left_out = match self.left_out() {
            Some(left_out) => format!("; {left_out}"),
            None => String::new(),
        };
        match self.state {
            JobState::Failed => return format!("{job} has failed and does nothing more: {error}"),
            JobState::Stopped => return format!("{job} is stopped"),
            JobState::Starting => return format!("{job} is starting"),
            JobState::Recovering => return format!("{job} starts over, because of: {error}"),
            JobState::Running => {}
        }
        if let Some((at_work, long)) = self.at_work.filter(|(_, long)| *long >= AT_WORK_MIN) {
            return format!(
                "{job} has been computing on {} for {} s: a function or a join takes long{left_out}",
                rows(at_work),
                long.as_secs()
            );
        }
        if self.rows_out > 0 {
            let changes = counted(self.rows_out, "change");
            return format!("{job} is running and has written {changes}{left_out}");
        }
        format!("{job} prints nothing because {}{left_out}", self.silence())
    }

    /// Why nothing was written so far.
    fn silence(&self) -> String {
        let gone = self.filtered + self.late + self.failed_rows;
        let all = |count: u64| match count {
            1 => "the only row".to_owned(),
            count => format!("all {count} rows"),
        };
        let be = |count: u64| if count == 1 { "is" } else { "are" };
        if self.rows_in == 0 {
            if let Some(hidden) = &self.hidden {
                return format!("an open transaction hides the end of {hidden}");
            }
            return match (self.undecodable, self.lag) {
                (1, _) => "the only record that it has read is undecodable".to_owned(),
                (2.., _) => format!(
                    "all {} records that it has read are undecodable",
                    self.undecodable
                ),
                (0, _) if self.at_work.is_some() || self.partitions == 0 => {
                    "it is reading its first records".to_owned()
                }
                (0, ..=0) => "its sources hold no records".to_owned(),
                (0, lag) => format!(
                    "it has not read anything yet, {} wait",
                    counted(lag.unsigned_abs(), "record")
                ),
            };
        }
        if self.filtered == self.rows_in {
            let rows = self.rows_in;
            return format!("{} {} filtered out", all(rows), be(rows));
        }
        if self.late == self.rows_in {
            let rows = self.rows_in;
            let (is, their) = (
                be(rows),
                if rows == 1 {
                    "its window"
                } else {
                    "their windows"
                },
            );
            return format!("{} {is} too late for {their}", all(rows));
        }
        if gone >= self.rows_in {
            return format!(
                "of {} {} filtered out, {} too late, and {} failed",
                rows(self.rows_in),
                self.filtered,
                self.late,
                self.failed_rows
            );
        }
        if self.uncommitted > 0 {
            let (uncommitted, all) = (self.uncommitted, self.rows_in);
            return format!("its rows are not committed yet ({uncommitted} of {all})");
        }
        match (self.query.closes, self.watermark) {
            (Some(_), None) => return "no window has closed: event time has not begun".to_owned(),
            (Some(_), Some(watermark)) => {
                let time = iso8601(watermark);
                return format!("no window with rows has closed: event time stands at {time}");
            }
            (None, _) => {}
        }
        let rest = "its rows have changed no result";
        if self.query.inner_join {
            return format!("{rest}: no row has a match on the other side of the join");
        }
        rest.to_owned()
    }

    /// When windows close, where rows leave when their window closes. Which of them hold rows is not known here.
    fn next_close(&self) -> Option<String> {
        let grace_us = self.query.closes?;
        self.watermark?;
        Some(match grace_us {
            0 => "a window closes when event time gets to its end".to_owned(),
            us => format!(
                "a window closes when event time is {} past its end",
                length(us)
            ),
        })
    }
}

/// A number and what it counts.
fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// `40 s`, `1500 ms`.
fn length(us: i64) -> String {
    match us {
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us if us % 1000 == 0 => format!("{} ms", us / 1000),
        us => format!("{us} µs"),
    }
}

fn rows(count: u64) -> String {
    counted(count, "row")
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict())?;
        writeln!(
            f,
            "read {}: {} filtered out, {} late, {} undecodable, {} failed",
            rows(self.rows_in),
            self.filtered,
            self.late,
            self.undecodable,
            self.failed_rows
        )?;
        if let Some(failure) = &self.last_failure {
            writeln!(f, "last left out: {failure}")?;
        }
        if let Some(late) = &self.last_late {
            writeln!(f, "last late: {late}")?;
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
                let behind = counted(holder.lag.unsigned_abs(), "record");
                writeln!(
                    f,
                    "{time}; held back by {} ({}, {own}, {behind} behind)",
                    holder.partition, holder.status
                )?;
            }
            (Some(watermark), None) => writeln!(
                f,
                "event time {}; nothing holds it back",
                iso8601(watermark)
            )?,
        }
        if let Some(close) = self.next_close() {
            writeln!(f, "{close}")?;
        }
        if let Some(hidden) = &self.hidden {
            writeln!(
                f,
                "an open transaction hides records at the end of {hidden}"
            )?;
        }
        write!(f, "{} behind; ", counted(self.lag.unsigned_abs(), "record"))?;
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
            last_late: None,
            uncommitted: 0,
            at_work: None,
            query: Query {
                errors_topic: "delays.errors".to_owned(),
                late_topic: Some("delays.late".to_owned()),
                ..Query::default()
            },
            watermark: None,
            holder: None,
            lag: 0,
            hidden: None,
            commit: 0,
            commit_age: None,
            partitions: 4,
        }
    }

    fn first(why: &Why) -> String {
        why.to_string().lines().next().unwrap().to_owned()
    }

    #[test]
    fn names_the_reason_for_silence() {
        let says = |why: Why, expected: &str| {
            assert_eq!(
                first(&why),
                format!("delays prints nothing because {expected}")
            );
        };
        says(why(), "its sources hold no records");
        let filtered = Why {
            rows_in: 3,
            filtered: 3,
            ..why()
        };
        says(filtered, "all 3 rows are filtered out");
        let late = Why {
            rows_in: 3,
            late: 3,
            ..why()
        };
        says(
            late,
            "all 3 rows are too late for their windows; 3 rows came too late (topic delays.late)",
        );
        let undecodable = Why {
            undecodable: 2,
            last_failure: Some("no JSON at flights-0@1".to_owned()),
            ..why()
        };
        assert!(
            (undecodable.to_string()).contains("\nlast left out: no JSON at flights-0@1\n"),
            "{undecodable}"
        );
        says(
            undecodable,
            "all 2 records that it has read are undecodable; 2 records could not be read (topic delays.errors)",
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
    fn what_is_not_known_is_not_guessed() {
        let unknown = Why {
            partitions: 0,
            ..why()
        };
        assert!(first(&unknown).ends_with("it is reading its first records"));
        let at_work = Why {
            at_work: Some((20, Duration::from_secs(12))),
            ..why()
        };
        assert_eq!(
            first(&at_work),
            "delays has been computing on 20 rows for 12 s: a function or a join takes long"
        );
        let rest = Why {
            rows_in: 1,
            ..why()
        };
        assert!(first(&rest).ends_with("its rows have changed no result"));
        let uncommitted = Why {
            rows_in: 1,
            uncommitted: 1,
            ..why()
        };
        assert!(first(&uncommitted).ends_with("its rows are not committed yet (1 of 1)"));
        let mut joins = rest.clone();
        joins.query.inner_join = true;
        assert!(first(&joins).ends_with("no row has a match on the other side of the join"));
        let mut closes = rest;
        closes.query.closes = Some(0);
        assert!(first(&closes).ends_with("no window has closed: event time has not begun"));
    }

    #[test]
    fn rows_that_were_left_out_reach_the_first_line() {
        let mut some = Why {
            rows_in: 6,
            rows_out: 1,
            late: 5,
            undecodable: 3,
            failed_rows: 1,
            last_late: Some("s-0@2: its window closed".to_owned()),
            ..why()
        };
        assert_eq!(
            first(&some),
            "delays is running and has written 1 change; 5 rows came too late (topic delays.late), \
             3 records could not be read (topic delays.errors), 1 row failed (topic delays.errors)"
        );
        assert!(
            some.to_string()
                .contains("\nlast late: s-0@2: its window closed\n")
        );
        some.query.late_topic = None;
        assert!(first(&some).contains("5 rows came too late (dropped), "));
        some.query.late_updates = true;
        assert!(!first(&some).contains("late"));
    }

    #[test]
    fn says_when_windows_close() {
        let mut why = Why {
            rows_in: 1,
            watermark: Some(1_714_557_633_000_000),
            ..why()
        };
        why.query.closes = Some(0);
        let text = why.to_string();
        let at_end = "\na window closes when event time gets to its end\n";
        assert!(text.contains(at_end), "{text}");
        why.query.closes = Some(40_000_000);
        let text = why.to_string();
        let after = "\na window closes when event time is 40 s past its end\n";
        assert!(text.contains(after), "{text}");
        why.watermark = None;
        assert!(!why.to_string().contains("closes when"));
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
            lines[2],
            "event time 2013-01-01T10:00:00; held back by flights-3 (active, 2013-01-01T10:00:00.500, 12 records behind)"
        );
        assert_eq!(lines[3], "12 records behind; commit 7 was 0.2 s ago");
    }
}
