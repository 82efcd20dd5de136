//! The log under fire: what was acknowledged outlives kill -9 and networks that hold, cut and tear frames.
//!
//! ```text
//!  load (librdkafka: idempotent, transactional) ─▶ proxy ─▶ a broker process, which is killed
//!       └─▶ ledger ─────────────────────────── violations? ◀── what readers of committed records see
//! ```
//! Where the power is cut (power), the files lose what was not synced, too. `make soak-log` does the same for longer; a failure prints the seed that does it again.

mod child;
mod hostile;
mod ledger;
mod load;
mod power;
mod proxy;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use self::child::Process;
use self::ledger::{Ledger, Violation};
use self::load::{MOVED, PARTITIONS, Progress, SENT};
use self::proxy::{Fault, Proxy};

/// Kills and faults of a test that every change must pass.
const KILLS: usize = 5;
const FAULTS_OF_EACH: usize = 1;

/// Apis whose frames meet faults: Produce, AddPartitionsToTxn, EndTxn, TxnOffsetCommit.
const AIMED_AT: [i16; 4] = [0, 24, 26, 28];

/// A topic for batches that take more memory than their bytes.
const BOMBS: &str = "bombs";

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seed() -> u64 {
    let seed = from_environment("THALWEG_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("THALWEG_TEST_SEED={seed}");
    seed
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

async fn create_topics(address: &str) {
    create_topics_with(address, None).await;
}

/// `flush` is what an acknowledgement of the records of [`SENT`] promises.
async fn create_topics_with(address: &str, flush: Option<&str>) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()
        .expect("an admin client");
    let topics = [SENT, MOVED, BOMBS].map(|name| {
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        match flush.filter(|_| name == SENT) {
            Some(flush) => topic.set("flush", flush),
            None => topic,
        }
    });
    let made = admin.create_topics(&topics, &AdminOptions::new()).await;
    assert!(made.expect("an answer").iter().all(Result::is_ok));
}

/// Both loads against a broker at `address`, while `fire` burns; then all that is wrong.
async fn under_fire<T: Send + 'static>(
    address: &str,
    seed: u64,
    fire: impl FnOnce(&Progress) -> T + Send + 'static,
) -> (T, Ledger, Ledger) {
    let progress = Arc::new(Progress::default());
    let sender = tokio::spawn(load::idempotent(address.to_owned(), Arc::clone(&progress)));
    let (of_mover, at) = (Arc::clone(&progress), address.to_owned());
    let mover = tokio::task::spawn_blocking(move || load::transactional(&at, seed, &of_mover));
    let burning = Arc::clone(&progress);
    let burnt = tokio::task::spawn_blocking(move || {
        let burnt = fire(&burning);
        burning.stop();
        burnt
    });
    let burnt = burnt.await.expect("the fire ends");
    let sent = sender.await.expect("the load ends");
    let moved = mover.await.expect("the load ends");
    (burnt, sent, moved)
}

async fn judge(address: String, sent: Ledger, moved: Ledger) {
    let wrong = wrong(address, sent, moved).await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// All that readers see otherwise than clients were told.
async fn wrong(address: String, sent: Ledger, moved: Ledger) -> BTreeSet<Violation> {
    tokio::task::spawn_blocking(move || {
        let unknown = moved
            .transactions
            .iter()
            .filter(|(_, outcome)| *outcome == ledger::Outcome::Unknown)
            .count();
        println!(
            "{} records and {} transactions, of {unknown} of which the end is not known",
            sent.sent.len(),
            moved.transactions.len()
        );
        let mut wrong = sent.violations(&load::seen(&address, SENT));
        let seen = load::seen(&address, MOVED);
        wrong.extend(moved.violations(&seen));
        wrong.extend(ledger::offset_violation(&seen, load::offset(&address)));
        wrong
    })
    .await
    .expect("readers reach the ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_kills() {
    let seed = seed();
    let kills = from_environment("THALWEG_LOG_KILLS").map_or(KILLS, |kills| kills as usize);
    let folder = tempfile::tempdir().expect("a folder");
    let at = free_address();
    let process = Process::start(folder.path(), at, at);
    create_topics(&at.to_string()).await;
    let data = folder.path().to_owned();
    let (_process, sent, moved) = under_fire(&at.to_string(), seed, move |progress| {
        kill_again_and_again(&data, at, process, kills, seed, progress)
    })
    .await;
    judge(at.to_string(), sent, moved).await;
}

fn kill_again_and_again(
    folder: &Path,
    at: SocketAddr,
    mut process: Process,
    kills: usize,
    seed: u64,
    progress: &Progress,
) -> Process {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        progress.await_more(random.usize(1..600));
        process.kill();
        process = Process::start(folder, at, at);
    }
    progress.await_more(200);
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_network_that_holds_cuts_and_tears_frames() {
    let seed = seed();
    let times = from_environment("THALWEG_LOG_FAULTS").map_or(FAULTS_OF_EACH, |n| n as usize);
    let folder = tempfile::tempdir().expect("a folder");
    let at = free_address();
    let proxy = Proxy::before(at).await;
    let _process = Process::start(folder.path(), at, proxy.address);
    let address = proxy.address.to_string();
    create_topics(&address).await;
    let (_proxy, sent, moved) = under_fire(&address, seed, move |progress| {
        let mut faults: Vec<(i16, Fault)> = AIMED_AT
            .into_iter()
            .flat_map(|api| Fault::ALL.map(|fault| (api, fault)))
            .cycle()
            .take(times * AIMED_AT.len() * Fault::ALL.len())
            .collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut faults);
        let count = faults.len();
        for (api, fault) in faults {
            proxy.arm(api, fault);
            while proxy.is_armed() {
                progress.await_more(1);
            }
            // It goes on after it.
            progress.await_more(10);
        }
        assert_eq!(proxy.met(), count);
        progress.await_more(100);
        // The clients need it until they have ended.
        proxy
    })
    .await;
    judge(address, sent, moved).await;
}
