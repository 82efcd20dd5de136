//! Views whose query is another one above what their job keeps.

use log_api::{Admin, TopicPartition};

use super::*;
use crate::test_plan::last_above_one;

/// The largest delay and the number of flights of each carrier; `filters`: of those with more than one.
fn counts(filters: bool) -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64)];
    let flights = plan.source("flights", &columns, None);
    let aggregates = ["max(delay)", "count(*)"];
    let groups = plan.aggregate(flights, &["carrier"], &aggregates, Emit::Changes);
    if filters {
        plan.filter(groups, last_above_one);
    }
    plan.build()
}

/// A table as it is, or what of it is above one.
fn table(filters: bool) -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let columns = [("code", Utf8View), ("size", Int64)];
    let airlines = plan.source("airlines", &columns, Some(vec![0]));
    if filters {
        plan.filter(airlines, last_above_one);
    }
    plan.build()
}

fn rig(plan: StreamPlan, tokens: usize) -> Rig {
    let mut rig = Rig::with_tokens(plan, tokens, 1);
    let spec = (*rig.environment.spec).clone();
    rig.environment.spec = Arc::new(JobSpec {
        sink: SinkSpec {
            key: vec![0],
            ..spec.sink.clone()
        },
        ..spec
    });
    rig
}

impl Rig {
    /// The same job by another plan, when it is opened the next time.
    fn replace(&mut self, plan: StreamPlan, revision: u64) {
        self.task = None;
        assert!(plan.keeps_state_of(&self.environment.spec.plan));
        self.environment.spec = Arc::new(JobSpec {
            plan,
            revision,
            ..(*self.environment.spec).clone()
        });
    }

    /// Takes away what was read.
    async fn trim(&self, topic: &str, partition: i32) {
        let partition = TopicPartition::new(topic, partition);
        let end = i64::MAX;
        self.log
            .delete_records(vec![(partition, end)])
            .await
            .unwrap();
    }

    fn written(&self) -> usize {
        self.log.committed_records("delays").len()
    }
}

#[tokio::test]
async fn rows_are_made_again_of_groups_whatever_breaks() {
    let faults = [
        CommitFault::Aborted,
        CommitFault::UnknownApplied,
        CommitFault::UnknownLost,
        CommitFault::Fenced,
    ];
    for fault in std::iter::once(None).chain(faults.map(Some)) {
        for tokens in [1, 4] {
            let mut rig = rig(counts(false), tokens);
            for (carrier, delay) in [("UA", 3), ("AA", 1), ("UA", 9), ("B6", 4)] {
                rig.flight(carrier, delay, 1);
            }
            rig.survive().await;
            assert_eq!(rig.view(), ["AA 1 1", "B6 4 1", "UA 9 2"]);
            let before = rig.written();
            rig.trim("flights", 0).await;

            rig.replace(counts(true), 1);
            if let Some(fault) = fault {
                rig.log.fail_next_commit(ID, fault);
            }
            rig.survive().await;
            assert_eq!(rig.view(), ["UA 9 2"], "{fault:?}, {tokens} tokens");
            assert_eq!(rig.topic().len(), 1);
            // What is as it was is not written again.
            assert_eq!(rig.written() - before, 2, "{fault:?}, {tokens} tokens");

            rig.flight("AA", 7, 1);
            rig.survive().await;
            assert_eq!(rig.view(), ["AA 7 2", "UA 9 2"]);
            rig.trim("flights", 0).await;

            // The other way, out of the changelog alone.
            rig.replace(counts(false), 2);
            rig.disk = Disk::new(tokens);
            rig.survive().await;
            assert_eq!(rig.view(), ["AA 7 2", "B6 4 1", "UA 9 2"]);
            assert_eq!(rig.topic().len(), 3);
            let written = rig.written();
            rig.task = None;
            rig.survive().await;
            assert_eq!(rig.written(), written, "once is enough");
        }
    }
}

#[tokio::test]
async fn rows_are_made_again_of_a_table() {
    let mut rig = rig(table(true), 1);
    for (code, size) in [("UA", 3), ("AA", 1)] {
        let value = format!(r#"{{"size":{size}}}"#);
        rig.log.push("airlines", 0, Some(code), Some(&value));
    }
    rig.survive().await;
    assert_eq!(rig.view(), ["UA 3"]);
    rig.trim("airlines", 0).await;
    rig.replace(table(false), 1);
    rig.survive().await;
    assert_eq!(rig.view(), ["AA 1", "UA 3"]);
}

#[tokio::test]
async fn a_view_that_has_not_begun_has_nothing_to_make_again() {
    let mut rig = rig(counts(false), 1);
    rig.replace(counts(true), 1);
    rig.flight("UA", 3, 1);
    rig.flight("UA", 4, 1);
    rig.survive().await;
    assert_eq!(rig.view(), ["UA 4 2"]);
}
