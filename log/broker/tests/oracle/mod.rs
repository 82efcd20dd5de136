//! The same bytes to Apache Kafka and to this broker: their answers are the same, but for `answers/differences.txt`.
//!
//! ```text
//!  cases (one file an area) ─▶ talk ─┬─▶ this broker ─▶ show ─┐
//!                                    └─▶ Apache Kafka ─▶ show ─┴─▶ equal?
//! ```
//! `answers/` keeps what Kafka 4.3 answered, so that a comparison needs no Java, and the differences as they are known. `make test-oracle`
//! starts Kafka and writes both anew: look at what has changed. Kinds of differences that are meant:
//!
//! | here | why |
//! |---|---|
//! | names that come again are answered a hundred times more, not for ever | an answer may be a thousand times as long as a name |
//! | unknown operations and numbers are InvalidRequest, InvalidPartitions, InvalidRecord | Kafka has UnknownServerError for its own exceptions, or no answer |
//! | the records of a batch follow each other without gaps; what lies behind a compressed stream is refused | what is acknowledged can be read by everybody |
//! | a transactional batch has a producer, staged offsets a transaction | Kafka lets readers see the former at once, and keeps the latter for ever |
//! | `segment.bytes` may be 1 KiB, `flush` is a config, brokers have none that change while they run | small devices; see docs |
//! | both passwords of a user may be set by one request | Kafka's documentation does it, its broker refuses it |
//! | a quota is a number; there are none of addresses and controllers | a limit that is not kept is not taken |
//! | requests that are refused make no group; who has never joined leaves without a rebalance | nothing has changed |
//! | a static member that comes back with another subscription has the group assigned anew | Kafka leaves it without its new topics until the next round |
//! | a read goes on behind the end of a segment | it spares a round trip |
//! | no fetch sessions, no coordinators of share groups, no configs of groups, metrics and loggers | they do not exist here |
//!
//! What differs otherwise is open.

mod batch;
mod brokers;
mod cluster;
mod configs;
mod fetch;
mod frames;
mod groups;
mod kafka;
mod list_offsets;
mod offsets;
mod produce;
mod show;
mod talk;
mod topics;
mod transactions;
mod transcript;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::kafka::Kafka;
use self::talk::{Line, Talk};
use crate::node::Node;

/// Names the folder of Kafka's jars, for a comparison with the real one.
const JARS: &str = "THALWEG_ORACLE_JARS";

/// Has the differences written anew, without Kafka.
const WRITE: &str = "THALWEG_ORACLE_WRITE";

/// All conversations with one broker, by area; `take` gets each as it ends.
async fn converse(address: SocketAddr, mut take: impl FnMut(&'static str, Vec<Line>)) {
    // Kafka makes the topics of its coordinators when somebody asks for one of them.
    let mut first = Talk::with(address);
    Box::pin(offsets::await_coordinator(&mut first)).await;
    Box::pin(transactions::await_transactions(&mut first)).await;
    macro_rules! areas {
        ($($area:ident),+) => {$(
            let mut talk = Talk::with(address);
            Box::pin($area::run(&mut talk)).await;
            take(stringify!($area), talk.lines);
        )+};
    }
    areas!(
        cluster,
        brokers,
        topics,
        configs,
        produce,
        fetch,
        list_offsets,
        offsets,
        transactions,
        frames,
        groups
    );
}

fn kept(area: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/answers");
    folder.join(format!("{area}.txt"))
}

/// Asks Kafka, and keeps what it answers now.
async fn ask_kafka(jars: PathBuf) {
    let kafka = Kafka::start(&jars);
    let keep = |area, lines: Vec<Line>| {
        let text = transcript::write(&lines);
        std::fs::write(kept(area), text).expect("answers are kept");
    };
    converse(kafka.address, keep).await;
}

/// Where the two differ, a paragraph each.
fn differences(area: &str, ours: &[Line], theirs: &[Line]) -> Vec<String> {
    let asked = |lines: &[Line]| -> Vec<(String, i16)> {
        let lines = lines.iter();
        lines.map(|one| (one.case.clone(), one.version)).collect()
    };
    if asked(ours) != asked(theirs) {
        return vec![format!("{area}: Kafka was asked other questions")];
    }
    let pairs = ours.iter().zip(theirs);
    pairs
        .filter(|(ours, theirs)| ours.answer != theirs.answer)
        .map(|(ours, theirs)| {
            let (case, version) = (&ours.case, ours.version);
            let (kafka, here) = (&theirs.answer, &ours.answer);
            format!("{area}: {case}, {version}\n  Kafka: {kafka}\n  here:  {here}")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_kafka_but_for_the_differences_that_are_known() {
    let jars = std::env::var_os(JARS);
    let is_new = jars.is_some();
    if let Some(jars) = jars {
        ask_kafka(jars.into()).await;
    }
    let node = Node::with(|config| config.group_initial_rebalance_delay = Duration::ZERO).await;
    let (mut count, mut differ) = (0, Vec::new());
    let compare = |area, lines: Vec<Line>| {
        let text = std::fs::read_to_string(kept(area)).expect("answers of Kafka are kept");
        count += lines.len();
        differ.extend(differences(area, &lines, &transcript::read(&text)));
    };
    converse(node.address, compare).await;
    println!("{} of {count} answers differ", differ.len());
    let now = differ.join("\n") + "\n";
    if is_new || std::env::var_os(WRITE).is_some() {
        std::fs::write(kept("differences"), &now).expect("differences are kept");
    }
    let known = std::fs::read_to_string(kept("differences")).expect("differences are kept");
    let is_known = |line: &&str| known.contains(*line);
    let new: Vec<&str> = now.lines().filter(|line| !is_known(line)).collect();
    assert!(
        known == now,
        "the differences are not those that are known; new lines:\n{}",
        new.join("\n")
    );
}
