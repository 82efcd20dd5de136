//! Jobs whose rows bring forth more than memory holds, measured by what the budget has counted.

use super::*;
use crate::memory::MemoryUser;

/// Jobs get a quarter.
const LIMIT: usize = 16 << 20;
const ROWS_MAX: usize = 8192;

/// A job without a key under `budget`.
fn rig(plan: StreamPlan, key: Vec<usize>, budget: &MemoryBudget) -> Rig {
    let mut rig = Rig::new(plan);
    let spec = (*rig.environment.spec).clone();
    rig.environment.spec = Arc::new(JobSpec {
        sink: SinkSpec {
            key_format: if key.is_empty() {
                KeyFormat::None
            } else {
                KeyFormat::Json
            },
            key,
            ..spec.sink.clone()
        },
        ..spec
    });
    rig.environment.source.rows_max = ROWS_MAX;
    rig.environment.dirty_bytes_max = 64 << 20;
    rig.environment.cache_bytes = 64 << 20;
    rig.environment.budget = budget.clone();
    rig
}

fn view_rows(rig: &Rig) -> usize {
    let schema = rig.environment.spec.plan.schema().clone();
    let reads = rig.disk.0.iter().map(|store| store.snapshot()).collect();
    let snapshot = ViewSnapshot::new(reads, schema, Default::default());
    let batches = snapshot.batches();
    batches.map(|batch| batch.unwrap().num_rows()).sum()
}

fn pairs() -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let left = plan.source("flights", &columns, None);
    let right = plan.source("flights", &columns, None);
    plan.join(JoinKind::Inner, (left, "carrier"), (right, "carrier"));
    plan.build()
}

/// Every row meets every other one.
async fn fan_out(budget: &MemoryBudget) -> (Rig, usize) {
    const FLIGHTS: i64 = 250;
    let mut rig = rig(pairs(), Vec::new(), budget);
    for number in 0..FLIGHTS {
        rig.flight("UA", number, number);
    }
    rig.survive().await;
    assert_eq!(view_rows(&rig) as i64, FLIGHTS * FLIGHTS);
    (rig, budget.peak(MemoryUser::Jobs))
}

#[tokio::test]
async fn what_a_join_fans_out_stays_within_the_limit() {
    let unlimited = MemoryBudget::unlimited();
    let (_, peak) = fan_out(&unlimited).await;
    let budget = MemoryBudget::new(LIMIT);
    let share = budget.share(MemoryUser::Jobs);
    assert!(peak > share, "{peak} bytes are too few to say anything");
    let (mut rig, peak) = fan_out(&budget).await;
    assert!(peak <= share, "{peak} bytes, of {share}");
    let pieces = rig.environment.pace.lock().rows();
    assert!(pieces.is_some_and(|rows| rows < 250), "{pieces:?}");
    // Nothing is held for a job that is gone.
    rig.task = None;
    assert_eq!(budget.used(MemoryUser::Jobs), 0);
}

#[tokio::test]
async fn a_row_that_brings_forth_more_than_there_is_room_for_ends_the_job() {
    let budget = MemoryBudget::new(LIMIT);
    let mut plan = PlanBuilder::default();
    let flights = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let left = plan.source("flights", &flights, None);
    let airlines = [("code", Utf8View), ("title", Utf8View)];
    let right = plan.source("airlines", &airlines, None);
    plan.join(JoinKind::Inner, (left, "carrier"), (right, "code"));
    let mut rig = rig(plan.build(), Vec::new(), &budget);
    for number in 0..60_000 {
        rig.flight("UA", number, number);
    }
    rig.settle().await.unwrap();
    rig.log
        .push("airlines", 0, None, Some(r#"{"code":"UA","title":"U"}"#));
    let error = loop {
        match rig.settle().await.unwrap_err() {
            error if error.event() == Event::Broke => rig.task = None,
            error => break error,
        }
    };
    assert_eq!(error.event(), Event::Died);
    assert_eq!(
        error.to_string(),
        "what was read since the last commit (1 rows) brings forth more than the 4194304 bytes of memory that there is room \
         for; raise memory.limit, or join on a condition that fewer rows meet"
    );
}

#[tokio::test]
async fn groups_beyond_memory_stay_within_the_limit() {
    const GROUPS: i64 = 100_000;
    let budget = MemoryBudget::new(LIMIT);
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let flights = plan.source("flights", &columns, None);
    let calls = ["count(*)", "sum(delay)", "max(delay)"];
    plan.aggregate(flights, &["carrier"], &calls, Emit::Changes);
    let mut rig = rig(plan.build(), vec![0], &budget);
    for number in 0..GROUPS {
        rig.flight(&format!("a carrier with number {number}"), number, number);
    }
    rig.survive().await;
    // Groups that have left memory come back.
    rig.flight("a carrier with number 7", 1, 1);
    rig.survive().await;
    assert_eq!(view_rows(&rig) as i64, GROUPS);
    let (peak, share) = (
        budget.peak(MemoryUser::Jobs),
        budget.share(MemoryUser::Jobs),
    );
    assert!(peak <= share, "{peak} bytes, of {share}");
    assert!(GROUPS as usize * 60 > share, "all of them would not fit");
}
