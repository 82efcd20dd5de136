//! A table that is read in chunks while it changes, by chance: what goes out is the table, whatever is seen when, and however
//! often the reading begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use connect_api::{ConfigMap, PollBudget, Record};

use super::*;
use crate::source::assemble::{Assembler, Mark};
use crate::source::catalog::ColumnEntry;
use crate::source::config::SourceConfig;
use crate::source::envelope::Envelopes;
use crate::source::kind::Types;
use crate::source::pgoutput::{Cell, Identity, Message, Old, RelationColumn};
use crate::source::progress::Position;
use crate::source::table::Shapes;

const TABLE: u32 = 9;
const KEYS: u64 = 24;
const FIRST_XID: u32 = 100;

struct Chance(u64);

impl Chance {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[derive(Clone)]
enum Write {
    Put(u64, u32),
    Move(u64, u64, u32),
    Delete(u64),
    Truncate,
}

/// The database: a log of commits, each seen by others from some time on.
#[derive(Default)]
struct Database {
    commits: Vec<Vec<Write>>,
    hidden: BTreeSet<usize>,
    initial: BTreeMap<u64, u32>,
}

impl Database {
    fn xid(commit: usize) -> u32 {
        FIRST_XID + u32::try_from(commit).unwrap()
    }

    fn lsn(commit: usize) -> u64 {
        1000 + 100 * commit as u64
    }

    fn rows(&self, seen: impl Fn(usize) -> bool) -> BTreeMap<u64, u32> {
        let mut rows = self.initial.clone();
        let commits = self.commits.iter().enumerate();
        for write in commits
            .filter(|(commit, _)| seen(*commit))
            .flat_map(|(_, writes)| writes)
        {
            match *write {
                Write::Put(key, n) => drop(rows.insert(key, n)),
                Write::Move(from, to, n) => {
                    rows.remove(&from);
                    rows.insert(to, n);
                }
                Write::Delete(key) => drop(rows.remove(&key)),
                Write::Truncate => rows.clear(),
            }
        }
        rows
    }

    /// A transaction that touches no row whose last change is not seen yet: its lock is held until then.
    fn commit(&mut self, chance: &mut Chance) {
        let locked: BTreeSet<u64> = self
            .hidden
            .iter()
            .flat_map(|commit| &self.commits[*commit])
            .flat_map(|write| match *write {
                Write::Put(key, _) | Write::Delete(key) => vec![key],
                Write::Move(from, to, _) => vec![from, to],
                Write::Truncate => (0..KEYS).collect(),
            })
            .collect();
        let mut rows = self.rows(|_| true);
        let mut writes = Vec::new();
        for _ in 0..=chance.below(3) {
            let (key, to) = (chance.below(KEYS), chance.below(KEYS));
            let n = u32::try_from(self.commits.len() * 10 + writes.len()).unwrap();
            if locked.contains(&key) || locked.contains(&to) {
                continue;
            }
            let write = match chance.below(12) {
                0 if locked.is_empty() => Write::Truncate,
                1..=3 if rows.contains_key(&key) => Write::Delete(key),
                4..=6 if rows.contains_key(&key) && !rows.contains_key(&to) => {
                    Write::Move(key, to, n)
                }
                _ => Write::Put(key, n),
            };
            match write {
                Write::Truncate => rows.clear(),
                Write::Delete(key) => drop(rows.remove(&key)),
                Write::Move(from, to, n) => {
                    rows.remove(&from);
                    rows.insert(to, n);
                }
                Write::Put(key, n) => drop(rows.insert(key, n)),
            }
            writes.push(write);
        }
        if chance.below(3) == 0 {
            self.hidden.insert(self.commits.len());
        }
        self.commits.push(writes);
    }

    fn view(&self) -> View {
        let next = Self::xid(self.commits.len());
        let hidden: Vec<u32> = self
            .hidden
            .iter()
            .map(|commit| Self::xid(*commit))
            .collect();
        let first = hidden.first().copied().unwrap_or(next);
        let hidden: Vec<String> = hidden.iter().map(u32::to_string).collect();
        format!("{first}:{next}:{}", hidden.join(","))
            .parse()
            .unwrap()
    }
}

fn cells(key: u64, n: u32) -> Tuple {
    [key.to_string(), n.to_string()]
        .map(|text| Cell::Text(Bytes::from(text)))
        .into()
}

fn column(name: &str, key_place: Option<usize>) -> ColumnEntry {
    ColumnEntry {
        column: RelationColumn {
            name: name.to_owned(),
            type_oid: 23,
            modifier: -1,
            is_key: key_place.is_some(),
        },
        not_null: false,
        default: None,
        key_place,
    }
}

fn stream() -> (Assembler, Arc<Table>) {
    let settings: ConfigMap = [
        ("database.hostname", "h"),
        ("database.user", "u"),
        ("database.dbname", "d"),
        ("topic.prefix", "p"),
        ("skipped.operations", "none"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let config = Arc::new(SourceConfig::parse(&settings).unwrap());
    let rendering = config.rendering.clone();
    let envelopes = Arc::new(Envelopes::new("p", "d", rendering, true, Vec::new()));
    let shapes = Shapes {
        prefix: "p",
        capture: &config.capture,
        rendering: &config.rendering,
        types: &Types::new(),
        source: envelopes.source_schema(),
    };
    let columns = [column("id", Some(0)), column("n", None)];
    let table = Arc::new(Table::new(&shapes, "s", "t", Identity::Default, &columns));
    let begin = Mark {
        position: Position {
            end: Lsn(900),
            inside: None,
        },
        ..Mark::default()
    };
    let mut assembler = Assembler::new(config, envelopes, begin, Vec::new(), 0);
    assembler.relation(TABLE, Some(Arc::clone(&table)));
    (assembler, table)
}

fn deliver(assembler: &mut Assembler, commit: usize, writes: &[Write]) {
    let lsn = Database::lsn(commit);
    let mut messages = vec![Message::Begin {
        final_lsn: Lsn(lsn),
        commit_time: 0,
        xid: Database::xid(commit),
    }];
    messages.extend(writes.iter().map(|write| match *write {
        Write::Put(key, n) => Message::Update {
            relation: TABLE,
            old: None,
            new: cells(key, n),
        },
        Write::Move(from, to, n) => Message::Update {
            relation: TABLE,
            old: Some(Old::Key(vec![cells(from, 0)[0].clone(), Cell::Null])),
            new: cells(to, n),
        },
        Write::Delete(key) => Message::Delete {
            relation: TABLE,
            old: Old::Key(vec![cells(key, 0)[0].clone(), Cell::Null]),
        },
        Write::Truncate => Message::Truncate {
            relations: vec![TABLE],
        },
    }));
    messages.push(Message::Commit {
        end_lsn: Lsn(lsn + 10),
        commit_time: 0,
    });
    for message in messages {
        assembler.message(Lsn(lsn - 50), message, 0).unwrap();
    }
}

/// What the topic says of the table, and how far the reading is.
struct Reader {
    rows: BTreeMap<u64, u32>,
    incremental: Option<Incremental>,
}

impl Reader {
    fn take(&mut self, assembler: &mut Assembler, records_max: usize) {
        let budget = PollBudget {
            records_max,
            bytes_max: usize::MAX,
            wait_max: Duration::ZERO,
        };
        while let Some(taken) = assembler.take(budget, 0) {
            for record in &taken.records {
                self.fold(record);
            }
            for step in &taken.steps {
                if let Some(incremental) = &mut self.incremental {
                    incremental.step(step);
                }
            }
            if self
                .incremental
                .as_ref()
                .is_some_and(|of| !of.done.is_empty())
            {
                self.incremental = None;
            }
        }
    }

    fn fold(&mut self, record: &Record) {
        let json = |value: &connect_api::Value| -> Json {
            serde_json::from_str(value.to_json().as_str()).unwrap()
        };
        let (key, value) = (json(&record.key), json(&record.value));
        let number = |json: &Json| json.as_u64().unwrap();
        match value["op"].as_str() {
            Some("t") => self.rows.clear(),
            Some("d") => drop(self.rows.remove(&number(&key["id"]))),
            Some(_) => {
                let n = u32::try_from(number(&value["after"]["n"])).unwrap();
                self.rows.insert(number(&key["id"]), n);
            }
            None => {}
        }
    }
}

fn run(seed: u64) {
    let mut chance = Chance(seed | 1);
    let mut database = Database::default();
    for key in 0..KEYS {
        if chance.below(2) == 0 {
            database.initial.insert(key, 1);
        }
    }
    let (mut assembler, table) = stream();
    let mut reader = Reader {
        rows: BTreeMap::new(),
        incremental: Some(Incremental::new(Request::default())),
    };
    let mut delivered = 0;
    for step in 0.. {
        let more = step < 60;
        match chance.below(6) {
            0 if more => database.commit(&mut chance),
            1 if delivered < database.commits.len() => {
                deliver(&mut assembler, delivered, &database.commits[delivered]);
                delivered += 1;
            }
            2 => {
                database.hidden.pop_first();
            }
            3 if assembler.has_room_for_chunk() => {
                if let Some(incremental) = &reader.incremental {
                    let behind = incremental.behind("s.t");
                    let behind: Option<u64> = behind.map(|key| key[0].parse().unwrap());
                    let rows = database.rows(|commit| !database.hidden.contains(&commit));
                    let rows = rows
                        .into_iter()
                        .filter(|(key, _)| behind.is_none_or(|behind| *key > behind));
                    let size = 1 + chance.below(6) as usize;
                    let rows: Vec<Tuple> = rows.take(size).map(|(key, n)| cells(key, n)).collect();
                    let ends = rows.len() < size;
                    let high = Lsn(Database::lsn(database.commits.len()) - 60);
                    let seen = (database.view(), high, 0);
                    let chunk = Chunk::new(Arc::clone(&table), seen, rows, ends);
                    // Whether it is read again is up to the assembler.
                    let _ = assembler.take_chunk(chunk, 0);
                }
            }
            4 if delivered == database.commits.len() => {
                assembler.keepalive(Lsn(Database::lsn(delivered) - 20), 0);
            }
            _ => reader.take(&mut assembler, 1 + chance.below(5) as usize),
        }
        if !more && reader.incremental.is_none() && delivered == database.commits.len() {
            break;
        }
        assert!(step < 10_000, "seed {seed}: the reading does not end");
    }
    reader.take(&mut assembler, 100);
    assert_eq!(reader.rows, database.rows(|_| true), "seed {seed}");
}

#[test]
fn what_goes_out_is_the_table() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let base = since.as_nanos() as u64;
    for seed in (1..=300).chain(base..base + 300) {
        run(seed);
    }
}

#[test]
fn how_far_it_is_comes_back() {
    let request = Request {
        tables: vec!["s.*".to_owned()],
        conditions: vec![("s.t".to_owned(), "id < 5".to_owned())],
        incremental: true,
    };
    let mut incremental = Incremental::new(request.clone());
    let same = |incremental: &Incremental| {
        let stored = incremental.to_json();
        assert_eq!(Incremental::from_json(&stored).as_ref(), Some(incremental));
    };
    same(&incremental);
    incremental.step(&Step::Upto("s.t".to_owned(), vec!["7".to_owned()]));
    assert_eq!(incremental.behind("s.t"), Some(&["7".to_owned()][..]));
    assert_eq!(incremental.behind("s.u"), None);
    same(&incremental);
    incremental.step(&Step::Done("s.t".to_owned()));
    incremental.step(&Step::Upto("s.u".to_owned(), vec!["1".to_owned()]));
    same(&incremental);
    // Asked for again, a table is read from its beginning.
    let again = incremental.clone().and(Request {
        tables: vec!["s.u".to_owned()],
        ..request
    });
    assert_eq!((again.done.len(), again.current), (1, None));
    let all = ["s.t", "s.u", "s.v"].map(str::to_owned);
    let stopped = incremental.clone().without(&["s.u".to_owned()], &all);
    assert_eq!(
        stopped.map(|left| left.done),
        Some(vec!["s.t".to_owned(), "s.u".to_owned()])
    );
    assert_eq!(incremental.without(&[], &all), None);
}
