//! The commit under fire: whatever breaks at whatever point, what readers see is what an undisturbed run leaves.
//!
//! | point | how |
//! |---|---|
//! | before the transaction ends | the log aborts, or fences; or the task is dropped in the middle |
//! | the answer is lost | the transaction is committed, or is not |
//! | after the transaction, before the store | the store fails; or the task is dropped, and the store with it |
//! | after both | the store comes back as an older flush left it, empty, or from a future that the log has lost |

mod refresh;
mod room;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::recovery::manifest_key;
use super::*;
use crate::memory::MemoryBudget;
use crate::source::SourceOptions;
use crate::state::{Delta, MemoryStore, ScanOrder, StateError, StateRead, StateStore, Tag, Visit};
use crate::test_log::{CommitFault, MemoryLog, StoredRecord};
use crate::test_plan::{FnExpr, PlanBuilder, SECOND, TIMESTAMP, rows};
use crate::view::ViewSnapshot;
use crate::{
    Emit, ExprError, JoinKind, KeyFormat, LatePolicy, NodeKind, OperatorId, OverFunction,
    OverValues, Reach, SinkForm, SinkSpec, StateManifest, StreamPlan, WatermarkSpec,
};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::DataType::{Int64, Utf8View};
use arrow::datatypes::Int64Type;

/// A store that can fail, and that knows what a crash would leave of it.
struct FaultyStore {
    content: MemoryStore,
    fails: AtomicBool,
}

impl FaultyStore {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            content: MemoryStore::new(usize::MAX),
            fails: AtomicBool::new(false),
        })
    }

    /// What is on disk if everything is flushed now.
    fn copy(&self) -> Arc<Self> {
        let copy = Self::new();
        let mut delta = Delta::default();
        self.content
            .scan(&[], &[], ScanOrder::Ascending, &mut |key, value| {
                delta.entries.push((key.to_vec(), Some(value.to_vec())));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        if let Some(tag) = self.content.tag().unwrap() {
            copy.content.apply(&delta, &tag).unwrap();
        }
        copy
    }
}

impl StateRead for FaultyStore {
    fn tag(&self) -> Result<Option<Tag>, StateError> {
        self.content.tag()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.content.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        self.content.scan(from, to, order, visit)
    }
}

impl StateStore for FaultyStore {
    fn apply(&self, delta: &Delta, tag: &Tag) -> Result<(), StateError> {
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(StateError::Storage {
                place: "disk".to_owned(),
                reason: "no space left".to_owned(),
            });
        }
        self.content.apply(delta, tag)
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        self.content.snapshot()
    }

    fn flush(&self) -> Result<(), StateError> {
        Ok(())
    }
}

/// The stores of all tokens.
struct Disk(Vec<Arc<FaultyStore>>);

impl Disk {
    fn new(tokens: usize) -> Self {
        Self((0..tokens).map(|_| FaultyStore::new()).collect())
    }

    /// What is on disk if everything is flushed now.
    fn copy(&self) -> Self {
        Self(self.0.iter().map(|store| store.copy()).collect())
    }

    fn stores(&self) -> Vec<Arc<dyn StateStore>> {
        let stores = self.0.iter();
        stores
            .map(|store| Arc::clone(store) as Arc<dyn StateStore>)
            .collect()
    }
}

/// A job on a log in memory, with a clock that only the test moves.
struct Rig {
    log: MemoryLog,
    environment: Environment,
    disk: Disk,
    task: Option<Box<Task>>,
    now_ms: i64,
}

/// A task that waits so long has nothing to do, ms.
const IDLE_MS: i64 = 200;
const ID: &str = "thalweg.delays.w";

impl Rig {
    fn new(plan: StreamPlan) -> Self {
        Self::with_tokens(plan, 1, 1)
    }

    /// A job of so many tokens, which reads so many partitions.
    fn with_tokens(plan: StreamPlan, tokens: usize, partitions: i32) -> Self {
        let log = MemoryLog::new();
        log.create("flights", partitions);
        log.create("airlines", 2);
        let spec = JobSpec {
            name: "delays".to_owned(),
            plan,
            sink: SinkSpec {
                topic: "delays".to_owned(),
                partitions: 3,
                key: vec![0, 1],
                hidden: 0,
                key_format: KeyFormat::Json,
                form: SinkForm::View,
            },
            manifest: None,
            revision: 0,
        };
        let environment = Environment {
            log: log.shared(),
            spec: Arc::new(spec),
            tokens: tokens as i32,
            names: Names::new("delays", "w"),
            commit_interval: Duration::from_millis(100),
            dirty_bytes_max: 1 << 20,
            cache_bytes: 1 << 20,
            source: SourceOptions {
                rows_max: 7,
                ..SourceOptions::default()
            },
            shared: Arc::new(Shared::new("delays")),
            search: Arc::default(),
            pace: Arc::default(),
            budget: MemoryBudget::unlimited(),
            stop: Arc::default(),
            wakes: Arc::default(),
            wake: Arc::default(),
            snapshots: None,
        };
        Self {
            log,
            environment,
            disk: Disk::new(tokens),
            task: None,
            now_ms: 1_000,
        }
    }

    async fn open(&mut self) -> Result<(), TaskError> {
        loop {
            self.environment.create_topics().await?;
            let stores = self.disk.stores();
            let (alive, _) = crate::worker::Alive::new();
            let (environment, id) = (self.environment.clone(), uuid::Uuid::nil());
            match Task::open(environment, stores, id, alive, self.now_ms).await? {
                Opened::Task(task) => {
                    self.task = Some(task);
                    return Ok(());
                }
                Opened::Discard { token, .. } => self.disk.0[token] = FaultyStore::new(),
            }
        }
    }

    /// Runs until there is nothing more to do.
    async fn settle(&mut self) -> Result<(), TaskError> {
        if self.task.is_none() {
            self.open().await?;
        }
        loop {
            let task = self.task.as_mut().unwrap();
            match task.turn(self.now_ms).await? {
                Turn::Busy | Turn::Committed => self.now_ms += 1,
                Turn::Idle(IDLE_MS..) => return Ok(()),
                Turn::Idle(wait_ms) => self.now_ms += wait_ms,
            }
        }
    }

    /// As the job's thread does: whatever breaks, open again.
    async fn survive(&mut self) {
        for _ in 0..20 {
            match self.settle().await {
                Ok(()) => return,
                Err(error) => {
                    assert!(
                        matches!(error.event(), Event::Broke | Event::Fenced),
                        "{error}"
                    );
                    self.task = None;
                    if error.spoils_store() {
                        self.disk = Disk::new(self.disk.0.len());
                    }
                }
            }
        }
        panic!("the job does not come back");
    }

    /// The rows of the view, sorted.
    fn view(&self) -> Vec<String> {
        let schema = self.environment.spec.plan.schema().clone();
        let reads = self.disk.0.iter().map(|store| store.snapshot()).collect();
        let snapshot = ViewSnapshot::new(reads, schema, Default::default());
        let mut view: Vec<String> = snapshot
            .batches()
            .flat_map(|batch| rows(&batch.unwrap()))
            .collect();
        view.sort();
        view
    }

    /// The view's topic after compaction.
    fn topic(&self) -> BTreeMap<String, String> {
        let mut topic = BTreeMap::new();
        for record in self.log.committed_records("delays") {
            let key = String::from_utf8(record.key.unwrap()).unwrap();
            match record.value {
                Some(value) => topic.insert(key, String::from_utf8(value).unwrap()),
                None => topic.remove(&key),
            };
        }
        topic
    }

    /// Everything that a reader of committed records ends up with.
    fn seen(&self) -> Seen {
        Seen {
            view: self.view(),
            topic: self.topic(),
            late: self
                .log
                .committed_records("delays.late")
                .iter()
                .map(source_of)
                .collect(),
            errors: self
                .log
                .committed_records("delays.errors")
                .iter()
                .map(source_of)
                .collect(),
            offsets: self
                .log
                .group_offsets("thalweg.delays")
                .into_iter()
                .map(|(at, (offset, _))| (at, offset))
                .collect(),
        }
    }

    fn flight(&self, carrier: &str, delay: i64, at: i64) {
        let value = format!(r#"{{"carrier":"{carrier}","delay":{delay},"at":{at}}}"#);
        self.log.push("flights", 0, None, Some(&value));
    }

    fn airline(&self, code: &str, title: Option<&str>) {
        let value = title.map(|title| format!(r#"{{"title":"{title}"}}"#));
        let partition = i32::from(code.as_bytes()[0] % 2);
        self.log
            .push("airlines", partition, Some(code), value.as_deref());
    }
}

fn source_of(record: &StoredRecord) -> String {
    let source = record
        .headers
        .iter()
        .find(|(name, _)| name.ends_with(".source"))
        .unwrap();
    String::from_utf8(source.1.clone().unwrap()).unwrap()
}

#[derive(Debug, PartialEq)]
struct Seen {
    view: Vec<String>,
    topic: BTreeMap<String, String>,
    late: Vec<String>,
    errors: Vec<String>,
    offsets: BTreeMap<String, i64>,
}

/// Flights by window and airline: everything that has state, in one plan.
fn delays() -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let flights = plan.source(
        "flights",
        &[("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)],
        None,
    );
    let windows = plan.tumble(
        flights,
        10 * SECOND,
        LatePolicy::To("delays.late".to_owned()),
    );
    let airlines = plan.source(
        "airlines",
        &[("code", Utf8View), ("title", Utf8View)],
        Some(vec![0]),
    );
    let joined = plan.join(JoinKind::Left, (windows, "carrier"), (airlines, "code"));
    plan.aggregate(
        joined,
        &["window_end", "title"],
        &[
            "count(*)",
            "sum(delay)",
            "max(delay)",
            "count(distinct carrier)",
        ],
        Emit::Changes,
    );
    plan.build()
}

#[tokio::test]
async fn a_state_is_read_with_the_rows_that_there_are_over_no_input() {
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let flights = plan.source("flights", &columns, None);
    plan.aggregate(flights, &[], &["count(*)"], Emit::Changes);
    let plan = plan.build();
    for tokens in [1, 3] {
        let mut rig = Rig::with_tokens(plan.clone(), tokens, 1);
        let spec = Arc::make_mut(&mut rig.environment.spec);
        spec.sink.key = vec![0];
        let shared = Arc::clone(&rig.environment.shared);
        let let_go = rig.log.hold_next_commit(ID);
        {
            let mut opening = std::pin::pin!(rig.open());
            for _ in 0..100 {
                let waits = futures::poll!(&mut opening).is_pending();
                assert!(waits, "open before the total over no rows is committed");
                tokio::task::yield_now().await;
            }
            assert!(
                shared.snapshot().is_err(),
                "there is nothing to be read yet"
            );
            let_go.notify_one();
            opening.await.unwrap();
        }
        let snapshot = shared.snapshot().unwrap();
        assert_eq!(snapshot.commit().number, 1);
        assert_eq!(rig.view(), ["0"]);
        // It comes once: not again with rows, and not after a restart.
        rig.flight("UA", 5, 1);
        rig.settle().await.unwrap();
        rig.task = None;
        rig.open().await.unwrap();
        assert_eq!(rig.view(), ["1"]);
        assert_eq!(rig.topic().len(), 1);
    }
}

#[tokio::test]
async fn event_time_is_committed_with_the_offsets() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 30);
    rig.settle().await.unwrap();
    let event_time = |rig: &Rig| {
        let offsets = rig.log.group_offsets("thalweg.delays");
        offsets["flights-0"].1.clone()
    };
    assert_eq!(event_time(&rig), "event-time 28000000");
    rig.flight("UA", 5, 35);
    rig.settle().await.unwrap();
    assert_eq!(event_time(&rig), "event-time 33000000");
}

#[tokio::test]
async fn event_time_that_moves_alone_is_committed_once_a_second_at_most() {
    let mut plan = delays();
    let NodeKind::Source(source) = &mut plan.nodes[0].kind else {
        panic!("flights come first")
    };
    let Some(WatermarkSpec::Rows { idle_advance, .. }) = &mut source.watermark else {
        panic!("flights have event time")
    };
    *idle_advance = true;
    let mut rig = Rig::new(plan);
    rig.flight("UA", 5, 30);
    rig.settle().await.unwrap();
    let blocks = |rig: &Rig| rig.log.committed_records("_thalweg.delays.changelog").len();
    let before = blocks(&rig);
    for _ in 0..50 {
        rig.now_ms += 200;
        rig.task.as_mut().unwrap().turn(rig.now_ms).await.unwrap();
    }
    // Ten seconds, of which the first is the grace.
    let commits = blocks(&rig) - before;
    assert!((5..=10).contains(&commits), "{commits} commits");
    let offsets = rig.log.group_offsets("thalweg.delays");
    let committed = &offsets["flights-0"].1;
    let reached: i64 = committed["event-time ".len()..].parse().unwrap();
    assert!(reached > 35 * SECOND, "{committed}");
}

/// What happens in the outside world, in order.
#[derive(Debug, Clone)]
enum Step {
    Flight(&'static str, i64, i64),
    Airline(&'static str, Option<&'static str>),
    Garbage,
}

fn random_steps(random: &mut fastrand::Rng, length: usize) -> Vec<Step> {
    let carriers = ["UA", "AA", "B6"];
    let titles = ["United", "American", "Blue", "Untied"];
    let mut time = 0;
    (0..length)
        .map(|_| {
            let carrier = random.choice(carriers).unwrap();
            match random.u8(..10) {
                0 => Step::Airline(carrier, random.choice(titles)),
                1 => Step::Airline(carrier, None),
                2 => Step::Garbage,
                _ => {
                    time += random.i64(0..3);
                    Step::Flight(carrier, random.i64(-5..60), time - random.i64(0..20))
                }
            }
        })
        .collect()
}

fn happen(rig: &Rig, step: &Step) {
    match step {
        Step::Flight(carrier, delay, at) => rig.flight(carrier, *delay, *at),
        Step::Airline(code, title) => rig.airline(code, *title),
        Step::Garbage => {
            rig.log.push("flights", 0, None, Some("{no json"));
        }
    }
}

#[tokio::test]
async fn a_job_reads_computes_and_commits() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.flight("UA", 7, 2);
    rig.flight("AA", 1, 3);
    rig.airline("UA", Some("United"));
    rig.log.push("flights", 0, None, Some("{no json"));
    rig.settle().await.unwrap();
    assert_eq!(rig.view(), ["10 United 2 12 7 1", "10 ~ 1 1 1 1"]);
    assert_eq!(
        rig.topic().into_iter().collect::<Vec<_>>(),
        [
            (
                r#"{"window_end":"1970-01-01T00:00:10","title":"United"}"#.to_owned(),
                r#"{"window_end":"1970-01-01T00:00:10","title":"United","count(*)":2,"sum(delay)":12,"max(delay)":7,"count(distinct carrier)":1}"#.to_owned()
            ),
            (
                r#"{"window_end":"1970-01-01T00:00:10","title":null}"#.to_owned(),
                r#"{"window_end":"1970-01-01T00:00:10","title":null,"count(*)":1,"sum(delay)":1,"max(delay)":1,"count(distinct carrier)":1}"#.to_owned()
            ),
        ]
    );
    // An airline that comes late corrects what is there, and the group without a name goes.
    rig.airline("AA", Some("American"));
    rig.settle().await.unwrap();
    assert_eq!(rig.view(), ["10 American 1 1 1 1", "10 United 2 12 7 1"]);
    assert_eq!(rig.topic().len(), 2);
    assert_eq!(rig.seen().errors, ["flights-0@3"]);
    assert_eq!(rig.seen().offsets["flights-0"], 4);
}

#[tokio::test]
async fn nothing_moved_nothing_is_written() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    let before = rig.log.committed_records("_thalweg.delays.changelog").len();
    for _ in 0..50 {
        rig.now_ms += 500;
        rig.settle().await.unwrap();
    }
    assert_eq!(
        rig.log.committed_records("_thalweg.delays.changelog").len(),
        before
    );
}

#[tokio::test]
async fn rows_that_change_nothing_still_move_the_position() {
    let mut rig = Rig::new(delays());
    rig.log.push("flights", 0, None, Some("{no json"));
    rig.settle().await.unwrap();
    assert_eq!(rig.seen().offsets["flights-0"], 1);
    rig.task = None;
    rig.settle().await.unwrap();
    assert_eq!(rig.seen().errors, ["flights-0@0"], "not reported twice");
}

/// Runs the steps with something broken between any two of them, and gives what readers see.
async fn run_broken(seed: u64, steps: &[Step], tokens: usize) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::with_tokens(delays(), tokens, 1);
    let mut flushed = rig.disk.copy();
    for step in steps {
        happen(&rig, step);
        match random.u8(..12) {
            0 => rig.log.fail_next_commit(ID, CommitFault::Aborted),
            1 => rig.log.fail_next_commit(ID, CommitFault::UnknownApplied),
            2 => rig.log.fail_next_commit(ID, CommitFault::UnknownLost),
            3 => rig.log.fail_next_commit(ID, CommitFault::Fenced),
            // Some tokens have the commit, this one and those after it do not.
            4 => {
                let token = random.usize(..tokens);
                rig.disk.0[token].fails.store(true, Ordering::SeqCst);
            }
            // Crash between commits; the store is as the last flush left it.
            5 => {
                rig.task = None;
                rig.disk = flushed.copy();
            }
            // Crash, and one token was flushed later than the others.
            9 => {
                rig.task = None;
                let token = random.usize(..tokens);
                let later = rig.disk.0[token].copy();
                rig.disk = flushed.copy();
                rig.disk.0[token] = later;
            }
            // Crash, and the disk is gone.
            6 => {
                rig.task = None;
                rig.disk = Disk::new(tokens);
                flushed = rig.disk.copy();
            }
            // Crash in the middle of an epoch: rows were read, nothing was committed.
            7 => {
                if let Some(task) = &mut rig.task {
                    let _ = task.turn(rig.now_ms).await;
                }
                rig.task = None;
            }
            8 => flushed = rig.disk.copy(),
            _ => {}
        }
        if random.bool() {
            rig.survive().await;
        }
    }
    rig.survive().await;
    // A pending fault is for a commit that never came.
    rig.task = None;
    rig.survive().await;
    rig.seen()
}

#[tokio::test]
async fn whatever_breaks_readers_see_an_undisturbed_run() {
    let (mut late, mut errors) = (0, 0);
    for seed in 0..20u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let steps = random_steps(&mut random, 60);
        let mut rig = Rig::new(delays());
        steps.iter().for_each(|step| happen(&rig, step));
        rig.settle().await.unwrap();
        let mut expected = rig.seen();
        assert!(!expected.view.is_empty());
        late += expected.late.len();
        errors += expected.errors.len();
        // Order among late rows and errors is that of their source; both topics have one partition.
        expected.late.sort();
        expected.errors.sort();
        for tokens in [1, 8] {
            let mut found = run_broken(seed, &steps, tokens).await;
            found.late.sort();
            found.errors.sort();
            assert_eq!(found, expected, "seed {seed}, {tokens} tokens");
            let topic_rows = found.topic.len();
            assert_eq!(
                found.view.len(),
                topic_rows,
                "view and topic agree, seed {seed}, {tokens} tokens"
            );
        }
    }
    assert!(
        late > 0 && errors > 0,
        "the steps make late rows and errors"
    );
}

/// What a job of so many tokens makes of rows in four partitions, cut and stopped anywhere.
async fn run_cut(plan: StreamPlan, seed: u64, tokens: usize) -> Seen {
    let mut rig = Rig::with_tokens(plan, tokens, 4);
    // The rows are the same for all, how they are cut is not.
    let mut rows = fastrand::Rng::with_seed(seed);
    let mut cuts = fastrand::Rng::with_seed(seed * 1_000 + tokens as u64);
    rig.environment.source.rows_max = cuts.usize(1..40);
    for _ in 0..200 {
        let carrier = format!("C{}", rows.u8(..20));
        if rows.u8(..4) == 0 {
            let title = format!("T{}", rows.u8(..6));
            rig.airline(&carrier, rows.bool().then_some(title.as_str()));
        } else {
            let (delay, at) = (rows.i64(-9..60), rows.i64(0..30));
            let value = format!(r#"{{"carrier":"{carrier}","delay":{delay},"at":{at}}}"#);
            rig.log.push("flights", rows.i32(0..4), None, Some(&value));
        }
        match cuts.u8(..20) {
            0 => rig.task = None,
            1..4 => rig.survive().await,
            _ => {}
        }
    }
    rig.survive().await;
    rig.seen()
}

/// [`delays`], with nothing that depends on the order among partitions: late rows count.
fn delays_of_any_order(kind: JoinKind) -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let flights = plan.source("flights", &columns, None);
    let windows = plan.tumble(flights, 10 * SECOND, LatePolicy::Update);
    let columns = [("code", Utf8View), ("title", Utf8View)];
    let airlines = plan.source("airlines", &columns, Some(vec![0]));
    let joined = plan.join(kind, (windows, "carrier"), (airlines, "code"));
    let aggregates = [
        "count(*)",
        "sum(delay)",
        "max(delay)",
        "count(distinct carrier)",
    ];
    let keys = ["window_end", "title"];
    plan.aggregate(joined, &keys, &aggregates, Emit::Changes);
    plan.build()
}

/// Sessions of each carrier, likewise.
fn sessions_of_any_order() -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let flights = plan.source("flights", &columns, None);
    let lengths = (SECOND, 0);
    let sessions = plan.session(
        flights,
        &["carrier"],
        lengths,
        LatePolicy::Update,
        Emit::Changes,
    );
    let keys = ["window_end", "carrier"];
    let aggregates = ["count(*)", "sum(delay)", "min(delay)"];
    plan.aggregate(sessions, &keys, &aggregates, Emit::Changes);
    plan.build()
}

/// How much later each flight is than the one before, added up.
fn steps_of_any_order() -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)];
    let flights = plan.source("flights", &columns, None);
    let before = |rows: &RecordBatch| -> Result<ArrayRef, ExprError> {
        let delays = rows.column(1).as_primitive::<Int64Type>();
        let before = (0..delays.len()).map(|row| row.checked_sub(1).map(|row| delays.value(row)));
        Ok(Arc::new(before.collect::<Int64Array>()))
    };
    let function = OverFunction {
        name: "before".to_owned(),
        values: OverValues::Around {
            values: Arc::new(FnExpr(before)),
            behind: Reach::Rows(1),
            ahead: Reach::Rows(0),
        },
        output: Int64,
    };
    let steps = plan.over(flights, &["carrier"], "at", vec![function]);
    let aggregates = ["count(*)", "sum(before)", "max(before)"];
    plan.aggregate(steps, &["at", "carrier"], &aggregates, Emit::Changes);
    plan.build()
}

#[tokio::test]
async fn what_a_job_makes_does_not_depend_on_its_tokens() {
    let plans: [fn() -> StreamPlan; 5] = [
        || delays_of_any_order(JoinKind::Inner),
        || delays_of_any_order(JoinKind::Left),
        || delays_of_any_order(JoinKind::Full),
        sessions_of_any_order,
        steps_of_any_order,
    ];
    for seed in 0..6 {
        for (number, plan) in plans.iter().enumerate() {
            let one = run_cut(plan(), seed, 1).await;
            assert!(!one.view.is_empty());
            for tokens in [2, 8] {
                let many = run_cut(plan(), seed, tokens).await;
                assert_eq!(many, one, "seed {seed}, plan {number}, {tokens} tokens");
            }
        }
    }
}

/// A group without a key is there before any row, and once; so is one over it.
#[tokio::test]
async fn a_global_group_is_at_one_token() {
    for (nested, before, after) in [(false, "0 ~", "21 21"), (true, "1", "1")] {
        let mut seen = Vec::new();
        for tokens in [1, 8] {
            let mut plan = PlanBuilder::default();
            let columns = [("carrier", Utf8View), ("delay", Int64)];
            let flights = plan.source("flights", &columns, None);
            let keys = ["carrier", "delay"];
            let groups = plan.aggregate(flights, &keys, &["count(*)"], Emit::Changes);
            let sums = ["count(*)", "sum(delay)"];
            let all = plan.aggregate(groups, &[], &sums, Emit::Changes);
            if nested {
                plan.aggregate(all, &[], &["count(*)"], Emit::Changes);
            }
            let mut rig = Rig::with_tokens(plan.build(), tokens, 4);
            let mut spec = (*rig.environment.spec).clone();
            spec.sink.key = vec![0];
            rig.environment.spec = Arc::new(spec);
            rig.settle().await.unwrap();
            assert_eq!(rig.view(), [before], "{tokens} tokens");
            for number in 0..40 {
                let value = format!(r#"{{"carrier":"C{}","delay":{}}}"#, number % 7, number % 3);
                rig.log.push("flights", number % 4, None, Some(&value));
            }
            rig.settle().await.unwrap();
            assert_eq!(rig.view(), [after], "{tokens} tokens");
            seen.push(rig.topic());
        }
        assert_eq!(seen[0], seen[1]);
    }
}

/// The number of tokens belongs to the job: another setting is for jobs to come.
#[tokio::test]
async fn a_job_keeps_its_tokens() {
    let mut rig = Rig::with_tokens(delays(), 4, 1);
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    let view = rig.view();
    rig.task = None;
    rig.environment.tokens = 1;
    let changelog = rig.environment.changelog().await.unwrap();
    assert_eq!(changelog.ranges.len(), 4);
    rig.flight("UA", 6, 1);
    rig.settle().await.unwrap();
    assert_eq!(
        (view, rig.view()),
        (
            vec!["10 ~ 1 5 5 1".to_owned()],
            vec!["10 ~ 2 11 6 1".to_owned()]
        )
    );
}

#[tokio::test]
async fn tokens_that_do_not_end_with_one_commit_are_refused() {
    let mut rig = Rig::with_tokens(delays(), 2, 1);
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    rig.task = None;
    let tag = rig.disk.0[0].tag().unwrap().unwrap();
    let (_, header) = crate::state::BlockHeader::decode(&tag.header).unwrap();
    let ahead = Tag {
        header: header.encode(7),
        ..tag
    };
    rig.disk.0[0].apply(&Delta::default(), &ahead).unwrap();
    let error = rig.settle().await.unwrap_err();
    assert!(error.to_string().contains("ends with commit"), "{error}");
    assert_eq!(error.event(), Event::Died);
}

#[tokio::test]
async fn each_point_of_the_commit_can_break() {
    let faults = [
        CommitFault::Aborted,
        CommitFault::UnknownApplied,
        CommitFault::UnknownLost,
        CommitFault::Fenced,
    ];
    for fault in faults.into_iter().map(Some).chain([None]) {
        let mut rig = Rig::new(delays());
        rig.airline("UA", Some("United"));
        rig.flight("UA", 5, 1);
        rig.settle().await.unwrap();
        rig.flight("UA", 6, 2);
        match fault {
            Some(fault) => rig.log.fail_next_commit(ID, fault),
            None => rig.disk.0[0].fails.store(true, Ordering::SeqCst),
        }
        let error = rig.settle().await.unwrap_err();
        let task = rig.task.take();
        assert_eq!(error.spoils_store(), fault.is_none(), "{error}");
        if error.spoils_store() {
            rig.disk = Disk::new(1);
        }
        drop(task);
        rig.settle().await.unwrap();
        assert_eq!(rig.view(), ["10 United 2 11 6 1"], "{fault:?}");
        assert_eq!(rig.seen().offsets["flights-0"], 2);
    }
}

#[tokio::test]
async fn a_store_from_a_lost_future_is_discarded() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    rig.task = None;
    let header = rig.disk.0[0].tag().unwrap().unwrap().header;
    let entries = vec![(b"\x00\x09\x00\x00junk".to_vec(), Some(vec![1]))];
    rig.disk.0[0]
        .apply(
            &Delta { entries },
            &Tag {
                changelog_offset: 1_000,
                header,
            },
        )
        .unwrap();
    rig.settle().await.unwrap();
    assert_eq!(rig.view(), ["10 ~ 1 5 5 1"]);
    assert_eq!(rig.disk.0[0].get(b"\x00\x09\x00\x00junk").unwrap(), None);
}

#[tokio::test]
async fn a_group_that_was_changed_from_outside_is_refused() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    rig.task = None;
    let partition = log_api::TopicPartition::new("flights", 0);
    let offset = log_api::OffsetCommit {
        partition,
        offset: 0,
        metadata: String::new(),
    };
    rig.log
        .shared()
        .admin()
        .commit_offsets("thalweg.delays", vec![offset])
        .await
        .unwrap();
    let error = rig.settle().await.unwrap_err();
    assert!(
        matches!(&error, TaskError::Mismatch { changelog: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("has committed 0"), "{error}");
    assert_eq!(error.event(), Event::Died);
}

#[tokio::test]
async fn offsets_that_have_expired_are_committed_again() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.airline("UA", Some("United"));
    rig.settle().await.unwrap();
    let offsets = rig.seen().offsets;
    rig.task = None;
    let log = rig.log.shared();
    log.admin().delete_group("thalweg.delays").await.unwrap();
    rig.settle().await.unwrap();
    rig.now_ms += 24 * 60 * 60 * 1_000;
    rig.settle().await.unwrap();
    assert_eq!(rig.seen().offsets, offsets);
    assert_eq!(rig.view(), ["10 United 1 5 5 1"]);
}

#[tokio::test]
async fn partitions_that_were_added_are_read_from_their_beginning() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    let log = rig.log.shared();
    log.admin().create_partitions("flights", 2).await.unwrap();
    let value = r#"{"carrier":"UA","delay":7,"at":2}"#;
    rig.log.push("flights", 1, None, Some(value));
    rig.now_ms += 5_000;
    let error = rig.settle().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "topic flights has 2 partitions now, 1 are read: reading has to start over"
    );
    rig.task = None;
    rig.survive().await;
    assert_eq!(rig.view(), ["10 ~ 2 12 7 1"]);
}

#[tokio::test]
async fn a_topic_for_row_errors_that_was_deleted_is_made_again() {
    let mut rig = Rig::new(delays());
    rig.log.push("flights", 0, None, Some("{no json"));
    rig.settle().await.unwrap();
    let log = rig.log.shared();
    log.admin().delete_topic("delays.errors").await.unwrap();
    rig.log.push("flights", 0, None, Some("{no json"));
    rig.survive().await;
    assert_eq!(rig.seen().errors, ["flights-0@1"]);
}

#[tokio::test]
async fn rows_too_large_for_the_state_are_errors_and_the_rest_flows() {
    let mut rig = Rig::new(delays());
    rig.environment.source.rows_max = 8192;
    let large = "x".repeat(crate::state::ENTRY_BYTES_MAX);
    for number in 0..400 {
        rig.flight(if number == 200 { &large } else { "UA" }, 1, 1);
    }
    rig.airline("UA", Some(&large));
    rig.survive().await;
    let mut errors = rig.seen().errors;
    errors.sort();
    assert_eq!(errors, ["airlines-1@0", "flights-0@200"]);
    assert_eq!(rig.view(), ["10 ~ 399 399 1 1"]);
}

#[tokio::test]
async fn a_row_too_large_for_the_topic_replaces_the_one_before() {
    let mut plan = PlanBuilder::default();
    let columns = [("code", Utf8View), ("title", Utf8View)];
    plan.source("airlines", &columns, Some(vec![0]));
    let mut rig = Rig::new(plan.build());
    let mut spec = (*rig.environment.spec).clone();
    spec.sink.key = vec![0];
    rig.environment.spec = Arc::new(spec);
    let topic = log_api::NewTopic::new("delays", 3).with("max.message.bytes", "1000");
    rig.log.shared().admin().create_topic(topic).await.unwrap();
    rig.airline("UA", Some("United"));
    rig.settle().await.unwrap();
    assert_eq!(rig.topic().len(), 1);
    rig.airline("UA", Some(&"x".repeat(1000)));
    rig.settle().await.unwrap();
    assert_eq!(rig.topic().len(), 0, "a tombstone");
    assert_eq!(rig.log.committed_records("delays.errors").len(), 1);
}

#[tokio::test]
async fn another_plan_does_not_take_over_the_state() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    rig.task = None;
    let mut plan = PlanBuilder::default();
    let flights = plan.source(
        "flights",
        &[("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)],
        None,
    );
    plan.aggregate(flights, &["carrier", "delay"], &["count(*)"], Emit::Changes);
    let spec = JobSpec {
        plan: plan.build(),
        ..(*rig.environment.spec).clone()
    };
    rig.environment.spec = Arc::new(spec);
    let error = rig.settle().await.unwrap_err();
    assert!(matches!(error, TaskError::PlanChanged { .. }), "{error}");
}

/// The query of [`delays`], planned with other numbers.
fn renumbered() -> StreamPlan {
    let mut plan = delays();
    for (place, node) in plan.nodes.iter_mut().enumerate() {
        node.id = OperatorId(40 - place as u16);
    }
    plan
}

#[tokio::test]
async fn numbers_come_from_the_record_of_the_job_with_state_and_without() {
    let mut rig = Rig::new(renumbered());
    let spec = &rig.environment.spec;
    let settled = StateManifest::of(&delays(), &spec.sink);
    rig.environment.spec = Arc::new(JobSpec {
        manifest: Some(settled.clone()),
        ..(**spec).clone()
    });
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    let written = rig.disk.0[0].get(&manifest_key()).unwrap().unwrap();
    assert_eq!(StateManifest::decode(&written).unwrap(), settled);
    rig.task = None;
    rig.flight("UA", 9, 2);
    rig.settle().await.unwrap();
    assert_eq!(rig.view(), ["10 ~ 2 14 9 1"]);
}

#[tokio::test]
async fn a_state_other_than_the_one_on_record_is_refused() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.settle().await.unwrap();
    rig.task = None;
    let spec = &rig.environment.spec;
    rig.environment.spec = Arc::new(JobSpec {
        manifest: Some(StateManifest::of(&renumbered(), &spec.sink)),
        ..(**spec).clone()
    });
    let error = rig.settle().await.unwrap_err();
    assert!(
        error.to_string().starts_with(
            "the view's state was kept by another plan of this query (the state is not the one on record for the view: operator #"
        ),
        "{error}"
    );
    assert_eq!(error.event(), Event::Died);
}

#[tokio::test]
async fn large_commits_are_split_and_replayed() {
    let mut rig = Rig::new(delays());
    rig.environment.source.rows_max = 8192;
    rig.environment.dirty_bytes_max = 64 << 20;
    let title = "t".repeat(500);
    for number in 0..3000 {
        rig.log.push(
            "airlines",
            number % 2,
            Some(&format!("A{number}")),
            Some(&format!(r#"{{"title":"{title}{number}"}}"#)),
        );
        rig.flight(&format!("A{number}"), 1, 1);
    }
    rig.settle().await.unwrap();
    assert_eq!(rig.view().len(), 3000);
    let expected = rig.view();
    let blocks = rig.log.committed_records("_thalweg.delays.changelog").len();
    assert!(blocks > 3, "{blocks} blocks");
    rig.task = None;
    rig.disk = Disk::new(1);
    rig.settle().await.unwrap();
    assert_eq!(rig.view(), expected);
}

#[tokio::test]
async fn windows_stay_closed_over_a_restart() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.flight("UA", 5, 30);
    rig.settle().await.unwrap();
    rig.task = None;
    rig.flight("UA", 5, 2);
    rig.settle().await.unwrap();
    assert_eq!(rig.seen().late, ["flights-0@2"]);
    assert_eq!(rig.view(), ["10 ~ 1 5 5 1", "40 ~ 1 5 5 1"]);
}

#[tokio::test]
async fn a_missing_topic_is_waited_for() {
    let mut plan = PlanBuilder::default();
    let source = plan.source("later", &[("carrier", Utf8View), ("delay", Int64)], None);
    plan.aggregate(source, &["carrier", "delay"], &["count(*)"], Emit::Changes);
    let mut rig = Rig::new(plan.build());
    let error = rig.settle().await.unwrap_err();
    assert_eq!(error.to_string(), "topic later does not exist");
    assert_eq!(error.event(), Event::Broke);
    rig.log.create("later", 1);
    rig.log
        .push("later", 0, None, Some(r#"{"carrier":"UA","delay":1}"#));
    rig.settle().await.unwrap();
    assert_eq!(rig.view(), ["UA 1 1"]);
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_refused() {
    let mut rig = Rig::new(delays());
    rig.flight("UA", 5, 1);
    rig.flight("UA", 5, 2);
    rig.settle().await.unwrap();
    rig.task = None;
    rig.log
        .shared()
        .admin()
        .delete_topic("flights")
        .await
        .unwrap();
    rig.log.create("flights", 1);
    for _ in 0..5 {
        rig.flight("UA", 5, 1);
    }
    let error = rig.settle().await.unwrap_err();
    assert_eq!(error.event(), Event::Died);
    assert_eq!(
        error.to_string(),
        "topic flights was deleted and made anew since it was read; drop the view and make it again"
    );
}
