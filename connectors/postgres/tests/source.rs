//! What comes out of a database: every scenario has a database and a slot of its own, on one server.
//!
//! The rules of change data capture and where they are proven:
//!
//! | rule | scenario |
//! |---|---|
//! | hand-off from snapshot to stream | `snapshot_meets_stream`, `folded_topics_equal_the_tables` |
//! | acknowledge late | `only_what_is_committed_is_acknowledged`, `a_slow_log_keeps_the_connection` |
//! | idle advance | `a_quiet_slot_moves` |
//! | no duplicates, no jumps | `restarts_resume_exactly`, `lost_positions_are_errors` |
//! | health of slot and cluster | `lost_positions_are_errors`, `wrong_servers_and_rights_are_named` |
//! | versions and messages of pgoutput | `messages_and_truncates`, `large_transactions_are_streamed`, unit tests of the decoder |
//! | values that are not there | `identities_and_large_values` |
//! | schema changes | `columns_come_and_go`, `partitions` |
//! | publication and reconnect | `publications`, `the_connection_breaks` |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connect_api::{
    AlteredOffset, ConfigMap, ConnectError, ConnectorPlugin, OpenPartition, Poll, PollBudget,
    PutReport, Record, SinkBatch, SinkRecord, SourceOffset, SourceOffsets, SourceTask, Struct,
    Task, TaskContext, TopicPartition, Value, conformance,
};
use connector_postgres::{PostgresSink, PostgresSource};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::postgres::Postgres;

/// What a scenario waits for has to come within this.
const PATIENCE: Duration = Duration::from_secs(120);

fn new_task() -> Box<dyn SourceTask> {
    match PostgresSource.task() {
        Task::Source(task) => task,
        Task::Sink(_) => unreachable!("a source makes source tasks"),
    }
}

fn budget() -> PollBudget {
    PollBudget {
        records_max: 1000,
        bytes_max: 1 << 20,
        wait_max: Duration::from_millis(200),
    }
}

/// A database with a connector on it: what the log would hold.
struct Scenario {
    name: &'static str,
    sql: Client,
    context: TaskContext,
    offsets: Vec<SourceOffset>,
    records: Vec<Record>,
}

impl Scenario {
    async fn new(server: &Postgres, name: &'static str, more: &[(&str, &str)]) -> Self {
        server
            .client()
            .await
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let url = format!("postgresql://postgres@127.0.0.1:{}/{name}", server.port);
        let (sql, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut config = ConfigMap::new();
        for (key, value) in [
            ("database.hostname", "127.0.0.1"),
            ("database.port", &server.port.to_string()),
            ("database.user", "postgres"),
            ("database.dbname", name),
            ("topic.prefix", "p"),
            ("slot.name", name),
            ("extended.headers.enabled", "false"),
        ]
        .iter()
        .chain(more)
        {
            config.insert((*key).to_owned(), (*value).to_owned());
        }
        Self {
            name,
            sql,
            context: TaskContext {
                connector: name.to_owned(),
                task: 0,
                config,
            },
            offsets: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Another connector on the same database.
    async fn beside(&self, server: &Postgres, name: &'static str) -> Self {
        let url = format!(
            "postgresql://postgres@127.0.0.1:{}/{}",
            server.port, self.name
        );
        let (sql, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut other = Self {
            name,
            sql,
            context: self.context.clone(),
            offsets: Vec::new(),
            records: Vec::new(),
        };
        other.set("slot.name", name);
        other
    }

    fn set(&mut self, key: &str, value: &str) {
        let config = &mut self.context.config;
        config.insert(key.to_owned(), value.to_owned());
    }

    async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    async fn one(&self, sql: &str) -> String {
        self.sql.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Drops the slot once the server has noticed that its reader is gone.
    async fn drop_slot(&self) {
        let deadline = Instant::now() + PATIENCE;
        let sql = format!("SELECT pg_drop_replication_slot('{}')", self.name);
        while let Err(error) = self.sql.batch_execute(&sql).await {
            let busy = error.code() == Some(&SqlState::OBJECT_IN_USE);
            assert!(busy && Instant::now() < deadline, "{error}");
        }
    }

    async fn confirmed(&self) -> String {
        self.one(&format!(
            "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{}'",
            self.name
        ))
        .await
    }

    async fn try_start(&self) -> Result<Box<dyn SourceTask>, ConnectError> {
        let mut task = new_task();
        let stored = SourceOffsets::new(self.offsets.clone());
        task.start(self.context.clone(), stored).await?;
        Ok(task)
    }

    /// Why it cannot start, which a check tells before, too.
    async fn refused_start(&self) -> String {
        let stored = SourceOffsets::new(self.offsets.clone());
        let issues = PostgresSource
            .validate_from(&self.context.config, &stored)
            .await;
        let error = error_of(self.try_start().await);
        assert!(
            matches!(&issues[..], [issue] if error.contains(&issue.message)),
            "{issues:?}, and then {error}"
        );
        error
    }

    async fn start(&self) -> Box<dyn SourceTask> {
        self.try_start().await.unwrap()
    }

    /// One poll whose records and offsets are committed, as the runtime does; false when nothing came.
    async fn step(&mut self, task: &mut Box<dyn SourceTask>) -> bool {
        match task.poll(budget()).await.unwrap() {
            Poll::Batch {
                records, offsets, ..
            } => {
                self.records.extend(records);
                self.store(&offsets);
                task.committed(&offsets).await.unwrap();
                true
            }
            Poll::Idle => false,
            Poll::Done => panic!("a stream has no end"),
        }
    }

    fn store(&mut self, offsets: &[SourceOffset]) {
        for new in offsets {
            self.offsets.retain(|old| old.partition != new.partition);
            self.offsets.push(new.clone());
        }
    }

    /// Polls until everything that was committed so far has come: a message behind it shows.
    async fn catch_up(&mut self, task: &mut Box<dyn SourceTask>) {
        let mark = format!("mark-{}", self.records.len());
        self.run(&format!(
            "SELECT pg_logical_emit_message(true, '{mark}', '')"
        ))
        .await;
        let deadline = Instant::now() + PATIENCE;
        let is_mark = |record: &Record| {
            &*record.topic == "p.message" && json_of(&record.key)["prefix"] == json!(mark)
        };
        while !self.records.iter().any(is_mark) {
            assert!(
                Instant::now() < deadline,
                "{}: {mark} did not come",
                self.name
            );
            self.step(task).await;
        }
        self.records.retain(|record| !is_mark(record));
    }

    /// Polls until a signal's request is stored.
    async fn until_requested(&mut self, task: &mut Box<dyn SourceTask>) {
        let deadline = Instant::now() + PATIENCE;
        while !self.offsets[0].offset.contains_key("snapshot_request") {
            assert!(Instant::now() < deadline, "the signal did not come");
            self.step(task).await;
        }
    }

    /// Polls until the slot is read.
    async fn until_active(&mut self, task: &mut Box<dyn SourceTask>, slot: &str) {
        let active = format!(
            "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = '{slot}' AND active"
        );
        let deadline = Instant::now() + PATIENCE;
        while self.one(&active).await == "0" {
            assert!(Instant::now() < deadline, "slot {slot} is not read");
            self.step(task).await;
        }
    }

    /// A task that has streamed everything so far.
    async fn caught_up(&mut self) -> Box<dyn SourceTask> {
        let mut task = self.start().await;
        self.catch_up(&mut task).await;
        task
    }

    /// `topic key op before after` of the records so far, which are forgotten.
    fn shown(&mut self) -> Vec<String> {
        std::mem::take(&mut self.records)
            .iter()
            .map(shown)
            .collect()
    }
}

fn json_of(value: &Value) -> Json {
    serde_json::from_str(value.to_json().as_str()).unwrap()
}

fn shown(record: &Record) -> String {
    let (key, value) = (json_of(&record.key), json_of(&record.value));
    if value.is_null() {
        return format!("{} {key} gone", record.topic);
    }
    let op = value["op"].as_str().unwrap_or("-").to_owned();
    format!(
        "{} {key} {op} {} {}",
        record.topic, value["before"], value["after"]
    )
}

fn error_of(result: Result<Box<dyn SourceTask>, ConnectError>) -> String {
    result.err().expect("this cannot start").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn capture() {
    let server = Postgres::start_with(
        "-c wal_level=logical -c max_replication_slots=100 -c max_wal_senders=50 -c max_wal_size=64MB \
         -c min_wal_size=32MB -c logical_decoding_work_mem=64kB",
    );
    changes_without_a_snapshot(&server).await;
    snapshot_meets_stream(&server).await;
    a_table_that_is_made_while_the_slot_is(&server).await;
    snapshot_modes(&server).await;
    types_read_the_same_both_ways(&server).await;
    identities_and_large_values(&server).await;
    rows_that_cannot_be_rendered(&server).await;
    messages_and_truncates(&server).await;
    transactions_are_told(&server).await;
    large_transactions_are_streamed(&server).await;
    columns_come_and_go(&server).await;
    the_catalog_is_ahead_of_the_stream(&server).await;
    partitions(&server).await;
    filters_and_keys(&server).await;
    restarts_resume_exactly(&server).await;
    debeziums_offsets_are_taken_over(&server).await;
    only_what_is_committed_is_acknowledged(&server).await;
    a_quiet_slot_moves(&server).await;
    a_slow_log_keeps_the_connection(&server).await;
    publications(&server).await;
    the_snapshot_has_what_the_publication_sends(&server).await;
    hidden_columns(&server).await;
    slots_that_go_with_their_task(&server).await;
    signals_ask_for_tables(&server).await;
    incremental_snapshots_go_on_beside_the_stream(&server).await;
    tables_that_are_made_later_are_captured(&server).await;
    a_declared_table_is_the_one_of_its_name(&server).await;
    a_snapshot_whose_connection_breaks(&server).await;
    lost_positions_are_errors(&server).await;
    wrong_servers_and_rights_are_named(&server).await;
    progress_is_told(&server).await;
    a_snapshot_that_was_cut_goes_on(&server).await;
    tables_are_read_by_several(&server).await;
    folded_topics_equal_the_tables(&server).await;
    a_silent_connection_is_given_up(&server).await;
    source_and_sink_copy_a_table(&server).await;
    passwords(&server).await;
    the_connection_breaks(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_logical_decoding() {
    let server = Postgres::start();
    let scenario = Scenario::new(&server, "plain", &[]).await;
    let issues = PostgresSource.validate(&scenario.context.config).await;
    assert!(
        issues[0]
            .message
            .contains("ALTER SYSTEM SET wal_level = 'logical'"),
        "{issues:?}"
    );
    assert!(error_of(scenario.try_start().await).contains("[wal-level]"));
}

/// A declared table drops a slot of its own alone, and waits for nobody's without end.
#[tokio::test(flavor = "multi_thread")]
async fn declared_tables_leave_the_slots_of_others() {
    let server = &Postgres::start_with("-c wal_level=logical");
    let base = Scenario::new(server, "declared", &[]).await;
    base.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let tables = PostgresSource.tables().unwrap();
    let declared = |name: &'static str, slot: Option<&str>| {
        let mut options = ConfigMap::new();
        for (key, value) in [
            ("database.hostname", "127.0.0.1"),
            ("database.port", &server.port.to_string()),
            ("database.user", "postgres"),
            ("database.dbname", "declared"),
            ("table.include.list", "t"),
        ] {
            options.insert(key.to_owned(), value.to_owned());
        }
        options.extend(slot.map(|slot| ("slot.name".to_owned(), slot.to_owned())));
        let mut config = tables.config(name, &options).unwrap();
        config.insert("name".to_owned(), name.to_owned());
        config
    };
    let slots = "SELECT coalesce(string_agg(slot_name::text, ',' ORDER BY slot_name), '') FROM pg_replication_slots \
                 WHERE database = 'declared'";

    // One that is read is refused.
    let mut reader = base.beside(server, "reader").await;
    reader.context.config = declared("first", Some("shared"));
    let mut task = reader.start().await;
    reader.until_active(&mut task, "shared").await;
    let error = tables.table(&declared("second", Some("shared"))).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("slot.name") && error.contains("slot shared is in use"),
        "{error}"
    );

    // The own slot in use: told within the time, and left.
    let mut own = base.beside(server, "own").await;
    own.context.config = declared("own", None);
    let mut own_task = own.start().await;
    own.until_active(&mut own_task, "thalweg_own").await;
    let begun = Instant::now();
    let left = tables.remove(&declared("own", None)).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{left:?}");
    assert!(
        left.len() == 1
            && left[0].contains("slot thalweg_own is left")
            && left[0].contains("SELECT pg_drop_replication_slot('thalweg_own');"),
        "{left:?}"
    );
    own_task.stop().await;
    assert_eq!(base.one(slots).await, "shared,thalweg_own");

    // Nobody reads it: its object drops it, with the publication.
    let note = tables.table(&declared("own", None)).await.unwrap().notes;
    assert!(note[0].contains("DROP drops it"), "{note:?}");
    let left = tables.remove(&declared("own", None)).await;
    assert_eq!(left, Vec::<String>::new());

    // One whose name was chosen is left, though nobody reads it; the publication is the object's own.
    task.stop().await;
    let note = tables.table(&declared("second", Some("shared"))).await;
    let note = note.unwrap().notes;
    assert!(note[0].contains("DROP leaves it"), "{note:?}");
    let left = tables.remove(&declared("first", Some("shared"))).await;
    assert!(
        left.len() == 1 && left[0].contains("slot shared is left"),
        "{left:?}"
    );
    assert_eq!(base.one(slots).await, "shared");
    let publications = "SELECT count(*)::text FROM pg_publication";
    assert_eq!(base.one(publications).await, "0");
    base.run("SELECT pg_drop_replication_slot('shared')").await;
}

#[tokio::test]
async fn offsets_that_users_set_are_looked_at() {
    let mut config = ConfigMap::new();
    for (key, value) in [
        ("database.hostname", "nowhere"),
        ("database.user", "u"),
        ("database.dbname", "d"),
        ("topic.prefix", "p"),
    ] {
        config.insert(key.to_owned(), value.to_owned());
    }
    let alter = async |partition: Json, offset: Json| {
        let altered = AlteredOffset {
            partition: partition.as_object().unwrap().clone(),
            offset: offset.as_object().cloned(),
        };
        PostgresSource.alter_offsets(&config, &[altered]).await
    };
    let ours = json!({"server": "p"});
    assert_eq!(alter(ours.clone(), json!({"lsn": 7})).await, Ok(true));
    assert_eq!(alter(ours.clone(), Json::Null).await, Ok(true));
    for (partition, offset, why) in [
        (
            json!({"server": "q"}),
            json!({"lsn": 7}),
            r#"{"server":"p"}"#,
        ),
        (
            json!({"server": "p", "x": 1}),
            Json::Null,
            r#"{"server":"p"}"#,
        ),
        (ours.clone(), json!({"lsn": "0/7"}), "\"lsn\""),
        (ours, json!({}), "lsn_commit"),
    ] {
        let error = alter(partition, offset).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

async fn changes_without_a_snapshot(server: &Postgres) {
    let mut scenario = Scenario::new(server, "plain_changes", &[("snapshot.mode", "never")]).await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY, n text); INSERT INTO t VALUES (0, 'before')")
        .await;
    let mut task = scenario.caught_up().await;
    scenario
        .run(
            "INSERT INTO t VALUES (1, 'a'), (2, 'ü\"'); UPDATE t SET n = 'b' WHERE id = 1; \
             UPDATE t SET id = 3 WHERE id = 2; DELETE FROM t WHERE id = 1",
        )
        .await;
    scenario.catch_up(&mut task).await;
    let source = json_of(&scenario.records[0].value)["source"].clone();
    assert_eq!(source["connector"], json!("postgresql"));
    assert_eq!(source["name"], json!("p"));
    assert_eq!(source["db"], json!("plain_changes"));
    assert_eq!(
        (&source["schema"], &source["table"]),
        (&json!("public"), &json!("t"))
    );
    assert_eq!(source["snapshot"], json!("false"));
    assert!(source["txId"].is_u64() && source["lsn"].is_u64() && source["ts_ms"].is_u64());
    let moved = &scenario.records[3..6];
    assert_eq!(&*moved[0].headers[0].name.to_string(), "__debezium.newkey");
    assert_eq!(json_of(&moved[0].headers[0].value), json!({"id": 3}));
    assert_eq!(&*moved[2].headers[0].name.to_string(), "__debezium.oldkey");
    let schema = scenario.records[0].value_schema.clone().unwrap();
    assert_eq!(schema.name.as_deref(), Some("p.public.t.Envelope"));
    assert_eq!(schema.version, Some(2));
    assert_eq!(
        scenario.records[0]
            .key_schema
            .as_ref()
            .unwrap()
            .name
            .as_deref(),
        Some("p.public.t.Key")
    );
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t {"id":1} c null {"id":1,"n":"a"}"#,
            r#"p.public.t {"id":2} c null {"id":2,"n":"ü\""}"#,
            r#"p.public.t {"id":1} u null {"id":1,"n":"b"}"#,
            r#"p.public.t {"id":2} d {"id":2,"n":null} null"#,
            r#"p.public.t {"id":2} gone"#,
            r#"p.public.t {"id":3} c null {"id":3,"n":"ü\""}"#,
            r#"p.public.t {"id":1} d {"id":1,"n":null} null"#,
            r#"p.public.t {"id":1} gone"#,
        ]
    );
    task.stop().await;
}

async fn snapshot_meets_stream(server: &Postgres) {
    let mut scenario = Scenario::new(server, "hand_off", &[]).await;
    scenario
        .run(
            "CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a SELECT i, i FROM generate_series(1, 3) i; \
             CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (k text); INSERT INTO c VALUES ('x'), ('y')",
        )
        .await;
    // Open while the slot is made would hold it up; open from just behind that until after the snapshot is the case.
    let mut task = scenario.start().await;
    scenario
        .run("UPDATE a SET n = 10 WHERE id = 1; INSERT INTO b VALUES (7)")
        .await;
    scenario.catch_up(&mut task).await;
    let snapshots: Vec<Json> = scenario
        .records
        .iter()
        .map(|record| json_of(&record.value)["source"]["snapshot"].clone())
        .collect();
    assert_eq!(
        snapshots,
        [
            "first",
            "true",
            "last_in_data_collection",
            "first_in_data_collection",
            "last",
            "false",
            "false"
        ]
    );
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.a {"id":1} r null {"id":1,"n":1}"#,
            r#"p.public.a {"id":2} r null {"id":2,"n":2}"#,
            r#"p.public.a {"id":3} r null {"id":3,"n":3}"#,
            r#"p.public.c null r null {"k":"x"}"#,
            r#"p.public.c null r null {"k":"y"}"#,
            r#"p.public.a {"id":1} u null {"id":1,"n":10}"#,
            r#"p.public.b {"id":7} c null {"id":7}"#,
        ]
    );
    task.stop().await;
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown(), Vec::<String>::new(), "no second snapshot");
    task.stop().await;
}

/// The slot waits for transactions that run; what they leave is in front of it, and so in the snapshot.
async fn a_table_that_is_made_while_the_slot_is(server: &Postgres) {
    let mut scenario = Scenario::new(server, "meanwhile", &[]).await;
    let url = format!("postgresql://postgres@127.0.0.1:{}/meanwhile", server.port);
    let (other, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    other
        .batch_execute("BEGIN; CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)")
        .await
        .unwrap();
    let commit = async {
        let slots = "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'meanwhile'";
        let deadline = Instant::now() + PATIENCE;
        while scenario.one(slots).await == "0" {
            assert!(Instant::now() < deadline, "no slot is made");
        }
        other
            .batch_execute("INSERT INTO late VALUES (2); COMMIT")
            .await
            .unwrap();
    };
    let (mut task, ()) = tokio::join!(scenario.start(), commit);
    scenario.run("INSERT INTO late VALUES (3)").await;
    scenario.catch_up(&mut task).await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.late {"id":1} r null {"id":1}"#,
            r#"p.public.late {"id":2} r null {"id":2}"#,
            r#"p.public.late {"id":3} c null {"id":3}"#,
        ]
    );
    task.stop().await;
}

async fn snapshot_modes(server: &Postgres) {
    let mut scenario = Scenario::new(server, "modes", &[("snapshot.mode", "initial_only")]).await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
        .await;
    for expected in [2, 0] {
        let mut task = scenario.start().await;
        loop {
            match task.poll(budget()).await.unwrap() {
                Poll::Batch {
                    records, offsets, ..
                } => {
                    scenario.records.extend(records);
                    scenario.store(&offsets);
                }
                Poll::Idle => {}
                Poll::Done => break,
            }
        }
        task.stop().await;
        assert_eq!(scenario.shown().len(), expected);
    }
    let slots = "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'modes'";
    assert_eq!(
        scenario.one(slots).await,
        "0",
        "nothing streams, so nothing holds the log"
    );

    // Always: at every start, and what the stream still has of it is not told again.
    scenario.offsets.clear();
    scenario.set("snapshot.mode", "always");
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown().len(), 2);
    task.stop().await;
    scenario.run("INSERT INTO t VALUES (3)").await;
    let mut task = scenario.caught_up().await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t {"id":1} r null {"id":1}"#,
            r#"p.public.t {"id":2} r null {"id":2}"#,
            r#"p.public.t {"id":3} r null {"id":3}"#,
        ]
    );
    task.stop().await;

    // A SELECT of one's own, and a table that is left out of the snapshot.
    scenario.offsets.clear();
    scenario.set("snapshot.mode", "initial");
    scenario.set("snapshot.select.statement.overrides", "public.t");
    scenario.set(
        "snapshot.select.statement.overrides.public.t",
        "SELECT * FROM t WHERE id > 1;",
    );
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown().len(), 2);
    task.stop().await;
}

async fn types_read_the_same_both_ways(server: &Postgres) {
    let mut scenario =
        Scenario::new(server, "types", &[("include.unknown.datatypes", "false")]).await;
    scenario
        .run(
            "CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS citext; \
             CREATE EXTENSION IF NOT EXISTS ltree; \
             CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(10,2); \
             CREATE TABLE t (id serial PRIMARY KEY, b bool, i2 smallint, i4 int NOT NULL DEFAULT 7, i8 bigint, f4 real, \
             f8 float8, n numeric, nd numeric(10,2), pr price, m money, d date, t0 time(3), t6 time, tz timetz, \
             ts3 timestamp(3), ts timestamp, tsz timestamptz, iv interval, by bytea, b1 bit(1), b5 bit(5), vb varbit, \
             c char(4), vc varchar(9), tx text, ci citext, ip inet, ne cidr, ma macaddr, r int4range, j json, jb jsonb, \
             x xml, u uuid, lt ltree, e mood, h hstore, po point, ai int[], at text[], an numeric[], ae mood[], \
             tq tsquery, g int GENERATED ALWAYS AS (i4 + 1) STORED)",
        )
        .await;
    let insert = "INSERT INTO t (b, i2, i8, f4, f8, n, nd, pr, m, d, t0, t6, tz, ts3, ts, tsz, iv, by, b1, b5, vb, c, vc, \
         tx, ci, ip, ne, ma, r, j, jb, x, u, lt, e, h, po, ai, at, an, ae, tq) VALUES (true, -1, 9007199254740993, 1.5, \
         'NaN', 10.1111, 12.34, 99.95, 1234.11, '2016-11-10', '13:51:30.123', '24:00', '13:51:30.123789+02', \
         '2016-11-04 13:51:30.123', '2016-11-04 13:51:30.123456', '2016-11-04 13:51:30.123456+02', \
         '1 year 2 mons 3 days 04:05:06.78', '\\x010203', '1', '10101', '11', 'ab', 'v', 'it''s \\ ü', 'Ci', \
         '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '[1,5)', '{\"a\": 1}', '{\"a\": 1}', '<a/>', \
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a.b', 'ok', 'a=>1, b=>NULL', '(1,2)', '{1,NULL}', '{\"a,b\",NULL}', \
         '{1.0}', '{ok}', 'a & b')";
    scenario.run(insert).await;
    scenario.run("INSERT INTO t DEFAULT VALUES").await;
    let mut task = scenario.start().await;
    scenario.run(insert).await;
    scenario.run("INSERT INTO t DEFAULT VALUES").await;
    scenario.catch_up(&mut task).await;
    let rows: Vec<Json> = scenario
        .records
        .iter()
        .map(|record| {
            let mut row = json_of(&record.value)["after"].clone();
            row.as_object_mut().unwrap().remove("id");
            row
        })
        .collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0], rows[2], "snapshot and stream");
    assert_eq!(rows[1], rows[3], "snapshot and stream");
    let expected = r#"{
        "b": true, "i2": -1, "i4": 7, "i8": 9007199254740993, "f4": 1.5, "f8": "NaN",
        "n": {"scale": 4, "value": "AYr3"}, "nd": "BNI=", "pr": "Jws=", "m": "AeIT", "d": 17115,
        "t0": 49890123, "t6": 86400000000, "tz": "11:51:30.123789Z", "ts3": 1478267490123,
        "ts": 1478267490123456, "tsz": "2016-11-04T11:51:30.123456Z", "iv": 37091106780000,
        "by": "AQID", "b1": true, "b5": "FQ==", "vb": "Aw==", "c": "ab  ", "vc": "v", "tx": "it's \\ ü",
        "ci": "Ci", "ip": "10.0.0.1/8", "ne": "10.0.0.0/8", "ma": "08:00:2b:01:02:03", "r": "[1,5)",
        "j": "{\"a\": 1}", "jb": "{\"a\": 1}", "x": "<a/>", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "lt": "a.b", "e": "ok", "h": "{\"a\":\"1\",\"b\":null}",
        "po": {"x": 1.0, "y": 2.0, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAABA", "srid": null}, "ai": [1, null],
        "at": ["a,b", null], "an": [{"scale": 1, "value": "Cg=="}], "ae": ["ok"]
    }"#;
    assert_eq!(rows[0], serde_json::from_str::<Json>(expected).unwrap());
    let nulls = rows[1].as_object().unwrap();
    assert!(
        nulls
            .iter()
            .all(|(name, value)| (name == "i4") != value.is_null()),
        "{nulls:?}"
    );
    let schemas: Vec<_> = scenario
        .records
        .iter()
        .map(|record| record.value_schema.clone())
        .collect();
    assert_eq!(schemas[0], schemas[2], "the schema is the same too");
    task.stop().await;
}

async fn identities_and_large_values(server: &Postgres) {
    let mut scenario = Scenario::new(server, "identities", &[("snapshot.mode", "no_data")]).await;
    scenario
        .run(
            "CREATE TABLE d (id int PRIMARY KEY, n int NOT NULL, big text); ALTER TABLE d ALTER big SET STORAGE EXTERNAL; \
             CREATE TABLE f (LIKE d INCLUDING ALL); ALTER TABLE f REPLICA IDENTITY FULL; \
             CREATE TABLE i (id int PRIMARY KEY, u int NOT NULL, n int); CREATE UNIQUE INDEX iu ON i (u); \
             ALTER TABLE i REPLICA IDENTITY USING INDEX iu",
        )
        .await;
    let mut task = scenario.start().await;
    scenario
        .run(
            "INSERT INTO d VALUES (1, 1, repeat('x', 9000)); UPDATE d SET n = 2; DELETE FROM d; \
             INSERT INTO f VALUES (1, 1, repeat('y', 9000)); UPDATE f SET n = 2; UPDATE f SET id = 9; \
             INSERT INTO i VALUES (1, 10, 5); UPDATE i SET u = 11; UPDATE i SET n = 6; DELETE FROM i",
        )
        .await;
    scenario.catch_up(&mut task).await;
    let (x, y) = ("x".repeat(9000), "y".repeat(9000));
    let brief: Vec<String> = scenario
        .shown()
        .iter()
        .map(|line| line.replace(&x, "X").replace(&y, "Y"))
        .collect();
    assert_eq!(
        brief,
        [
            r#"p.public.d {"id":1} c null {"id":1,"n":1,"big":"X"}"#,
            r#"p.public.d {"id":1} u null {"id":1,"n":2,"big":"__debezium_unavailable_value"}"#,
            // Under the default identity the old row is its key; what may not be null has the nothing of its type.
            r#"p.public.d {"id":1} d {"id":1,"n":0,"big":null} null"#,
            r#"p.public.d {"id":1} gone"#,
            r#"p.public.f {"id":1} c null {"id":1,"n":1,"big":"Y"}"#,
            r#"p.public.f {"id":1} u {"id":1,"n":1,"big":"Y"} {"id":1,"n":2,"big":"Y"}"#,
            r#"p.public.f {"id":1} d {"id":1,"n":2,"big":"Y"} null"#,
            r#"p.public.f {"id":1} gone"#,
            r#"p.public.f {"id":9} c null {"id":9,"n":2,"big":"Y"}"#,
            r#"p.public.i {"id":1} c null {"id":1,"u":10,"n":5}"#,
            r#"p.public.i {"id":1} u {"id":0,"u":10,"n":null} {"id":1,"u":11,"n":5}"#,
            r#"p.public.i {"id":1} u null {"id":1,"u":11,"n":6}"#,
            r#"p.public.i {"id":0} d {"id":0,"u":11,"n":null} null"#,
            r#"p.public.i {"id":0} gone"#,
        ]
    );
    task.stop().await;
    scenario.run("ALTER TABLE d REPLICA IDENTITY NOTHING").await;
    let error = error_of(scenario.try_start().await);
    assert!(
        error.contains("[identity-nothing]") && error.contains("ALTER TABLE \"public\".\"d\""),
        "{error}"
    );
}

/// A batch ends before such a row, and goes on behind it where the runtime lets it.
async fn rows_that_cannot_be_rendered(server: &Postgres) {
    let mut scenario = Scenario::new(server, "bad_rows", &[]).await;
    let rows = "INSERT INTO t VALUES (@1, 1), (@2, 'NaN'), (@3, 3)";
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY, n numeric(5,1) NOT NULL)")
        .await;
    scenario.run(&rows.replace('@', "1")).await;
    let mut task = scenario.start().await;
    scenario.run(&rows.replace('@', "2")).await;
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 6 {
        assert!(Instant::now() < deadline, "{seen:?}");
        let Poll::Batch {
            records,
            rejected,
            offsets,
        } = task.poll(budget()).await.unwrap()
        else {
            continue;
        };
        for bad in rejected {
            assert!(
                bad.message.contains("decimal.handling.mode"),
                "{}",
                bad.message
            );
            assert_eq!(&*bad.topic, "p.public.t");
            seen.push(String::from_utf8(bad.raw.to_vec()).unwrap());
        }
        seen.extend(
            records
                .iter()
                .map(|record| record.key.to_json().to_string()),
        );
        // A run that fails at such a row begins there again.
        scenario.store(&offsets);
        drop(task);
        task = scenario.start().await;
    }
    assert_eq!(
        seen,
        [
            r#"{"id":11}"#,
            r#"{"id":"12","n":"NaN"}"#,
            r#"{"id":13}"#,
            r#"{"id":21}"#,
            r#"{"id":"22","n":"NaN"}"#,
            r#"{"id":23}"#,
        ]
    );
    task.stop().await;
}

async fn messages_and_truncates(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "messages",
        &[
            ("snapshot.mode", "no_data"),
            ("skipped.operations", "none"),
            ("message.prefix.exclude.list", "hidden.*"),
        ],
    )
    .await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE s (id int PRIMARY KEY)")
        .await;
    let mut task = scenario.start().await;
    scenario
        .run(
            "TRUNCATE t, s; SELECT pg_logical_emit_message(false, 'hidden.one', 'abc'); \
             SELECT pg_logical_emit_message(true, 'hidden.two', 'abc'); SELECT pg_logical_emit_message(false, 'lone', 'abc'); \
             SELECT pg_logical_emit_message(true, 'within', 'abc')",
        )
        .await;
    scenario.catch_up(&mut task).await;
    let messages: Vec<Json> = scenario
        .records
        .iter()
        .filter(|record| &*record.topic == "p.message")
        .map(|record| json_of(&record.value))
        .collect();
    let of = |prefix: &str| {
        let found = messages
            .iter()
            .find(|message| message["message"]["prefix"] == json!(prefix));
        found.unwrap().clone()
    };
    assert_eq!(of("lone")["message"]["content"], json!("YWJj"));
    assert_eq!(of("lone")["source"]["txId"], Json::Null);
    assert!(of("within")["source"]["txId"].is_u64());
    assert_eq!(messages.len(), 2);
    let truncated = scenario.shown();
    let truncated: Vec<&str> = truncated
        .iter()
        .map(String::as_str)
        .filter(|line| line.contains(" t "))
        .collect();
    assert_eq!(
        truncated,
        ["p.public.t null t null null", "p.public.s null t null null"]
    );
    task.stop().await;
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown(), Vec::<String>::new(), "messages come once");
    task.stop().await;
    scenario.set("skipped.operations", "t");
    let mut task = scenario.start().await;
    scenario.run("TRUNCATE t; INSERT INTO t VALUES (1)").await;
    scenario.catch_up(&mut task).await;
    assert_eq!(scenario.shown().len(), 1);
    task.stop().await;
}

async fn transactions_are_told(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "transactions",
        &[
            ("snapshot.mode", "no_data"),
            ("provide.transaction.metadata", "true"),
            ("extended.headers.enabled", "true"),
        ],
    )
    .await;
    scenario
        .run("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
        .await;
    let mut task = scenario.start().await;
    scenario
        .run("BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO a VALUES (2); COMMIT")
        .await;
    scenario.catch_up(&mut task).await;
    let value = |index: usize| json_of(&scenario.records[index].value);
    assert_eq!(&*scenario.records[0].topic, "p.transaction");
    assert_eq!(value(0)["status"], json!("BEGIN"));
    let headers: Vec<String> = scenario.records[1]
        .headers
        .iter()
        .map(|header| header.name.to_string())
        .collect();
    assert_eq!(
        headers,
        ["connectorLogicalName", "taskId", "connectorName", "runId"]
            .map(|name| format!("__debezium.context.{name}"))
    );
    assert_eq!(scenario.records[1].headers[0].value, Value::text("p"));
    let places: Vec<Json> = (1..4)
        .map(|index| {
            let place = value(index)["transaction"].clone();
            json!([place["total_order"], place["data_collection_order"]])
        })
        .collect();
    assert_eq!(places, [json!([1, 1]), json!([2, 1]), json!([3, 2])]);
    let end = value(4);
    assert_eq!(end["status"], json!("END"));
    assert_eq!(end["event_count"], json!(3));
    assert_eq!(
        end["data_collections"],
        json!([
            {"data_collection": "public.a", "event_count": 2},
            {"data_collection": "public.b", "event_count": 1}
        ])
    );
    let xid = |id: &Json| id.as_str().unwrap().split(':').next().unwrap().to_owned();
    assert_eq!(xid(&value(0)["id"]), xid(&value(1)["transaction"]["id"]));
    assert_eq!(xid(&value(0)["id"]), xid(&end["id"]));
    task.stop().await;
}

/// What streamed transactions bring is what whole ones bring: with others between them, with parts that are taken back, and
/// after restarts in the middle.
async fn large_transactions_are_streamed(server: &Postgres) {
    let more = [("snapshot.mode", "no_data"), ("max.batch.size", "700")];
    let mut whole = Scenario::new(server, "large", &more).await;
    let mut streamed = whole.beside(server, "large_streamed").await;
    streamed.set("slot.stream.params", "proto_version=2;streaming=on");
    whole
        .run("CREATE TABLE t (id int PRIMARY KEY, n int)")
        .await;
    let mut task = streamed.caught_up().await;
    drop(whole.caught_up().await);
    let rows = |from: i32| {
        format!(
            "INSERT INTO t SELECT i, i FROM generate_series({from}, {}) i;",
            from + 4_999
        )
    };
    let (one, other) = (&whole.sql, &streamed.sql);
    let run = async |client: &Client, sql: &str| client.batch_execute(sql).await.unwrap();
    run(
        one,
        &format!(
            "BEGIN; {} SAVEPOINT a; {} SAVEPOINT b; {}",
            rows(0),
            rows(10_000),
            rows(20_000)
        ),
    )
    .await;
    run(other, &format!("BEGIN; {}", rows(30_000))).await;
    run(
        one,
        "ROLLBACK TO b; UPDATE t SET n = -n WHERE id < 3; SAVEPOINT c;",
    )
    .await;
    run(one, &rows(40_000)).await;
    run(one, "ROLLBACK TO a; UPDATE t SET n = 7 WHERE id < 100;").await;
    run(other, "CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1); ALTER TABLE u ADD x text; COMMIT;").await;
    run(other, "INSERT INTO t VALUES (-1, 0)").await;
    run(one, &format!("{} COMMIT", rows(50_000))).await;
    run(other, &format!("BEGIN; {} ROLLBACK", rows(60_000))).await;
    run(other, "DELETE FROM t WHERE id > 52000").await;

    // The task ends in the middle of transactions, and the same comes again.
    for _ in 0..3 {
        while !streamed.step(&mut task).await {}
        streamed.step(&mut task).await;
        drop(task);
        task = streamed.start().await;
    }
    streamed.catch_up(&mut task).await;
    drop(whole.caught_up().await);
    let lines = |scenario: &mut Scenario| -> Vec<String> {
        let lines = scenario.shown().into_iter();
        lines
            .filter(|line| !line.starts_with("p.message"))
            .collect()
    };
    let (whole_lines, streamed_lines) = (lines(&mut whole), lines(&mut streamed));
    // Both transactions, the row between them, the deletes with their tombstones.
    let changes = 5_000 + 100 + 5_000 + 5_000 + 1 + 1 + 2 * 2_999;
    assert_eq!(whole_lines.len(), changes);
    for (place, (whole, streamed)) in whole_lines.iter().zip(&streamed_lines).enumerate() {
        assert_eq!(streamed, whole, "record {place}");
    }
    assert_eq!(streamed_lines.len(), changes);
    // It was streamed indeed.
    let deadline = Instant::now() + PATIENCE;
    let streams = "SELECT stream_txns::text FROM pg_stat_replication_slots WHERE slot_name = 'large_streamed'";
    while whole.one(streams).await == "0" {
        assert!(Instant::now() < deadline, "nothing was streamed");
    }
    drop(task);
}

async fn columns_come_and_go(server: &Postgres) {
    let mut scenario = Scenario::new(server, "ddl", &[("snapshot.mode", "no_data")]).await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY, n int)")
        .await;
    let mut task = scenario.start().await;
    for sql in [
        "INSERT INTO t VALUES (1, 1)",
        "ALTER TABLE t ADD more text",
        "INSERT INTO t VALUES (2, 2, 'x')",
        "ALTER TABLE t RENAME n TO m",
        "ALTER TABLE t ALTER m TYPE text",
        "INSERT INTO t VALUES (3, 'three', 'y')",
        "ALTER TABLE t DROP more",
        "INSERT INTO t VALUES (4, 'four')",
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER m SET NOT NULL; ALTER TABLE t ADD PRIMARY KEY (m, id)",
        "INSERT INTO t VALUES (5, 'five')",
        "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE late (id int PRIMARY KEY, e mood)",
        "INSERT INTO late VALUES (1, 'a')",
    ] {
        scenario.run(sql).await;
        scenario.catch_up(&mut task).await;
    }
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t {"id":1} c null {"id":1,"n":1}"#,
            r#"p.public.t {"id":2} c null {"id":2,"n":2,"more":"x"}"#,
            r#"p.public.t {"id":3} c null {"id":3,"m":"three","more":"y"}"#,
            r#"p.public.t {"id":4} c null {"id":4,"m":"four"}"#,
            r#"p.public.t {"m":"five","id":5} c null {"id":5,"m":"five"}"#,
            r#"p.public.late {"id":1} c null {"id":1,"e":"a"}"#,
        ]
    );
    task.stop().await;
}

/// Nobody streams while tables change: their rows are told as they were.
async fn the_catalog_is_ahead_of_the_stream(server: &Postgres) {
    let mut scenario = Scenario::new(server, "ahead", &[("snapshot.mode", "no_data")]).await;
    scenario
        .run(
            "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, n int, e mood); \
             CREATE TABLE gone (id int PRIMARY KEY)",
        )
        .await;
    let mut task = scenario.caught_up().await;
    task.stop().await;
    for sql in [
        "INSERT INTO t VALUES (1, NULL, 'a')",
        "INSERT INTO gone VALUES (1)",
        "UPDATE t SET n = 2",
        "ALTER TABLE t ALTER n SET NOT NULL; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (n)",
        "ALTER TABLE t DROP e; DROP TYPE mood; DROP TABLE gone",
        "INSERT INTO t VALUES (3, 3)",
    ] {
        scenario.run(sql).await;
    }
    let mut task = scenario.caught_up().await;
    assert_eq!(
        scenario.shown(),
        [
            // The column of the type that is gone is left out, as all of unknown types.
            r#"p.public.t {"id":1} c null {"id":1,"n":null}"#,
            r#"p.public.gone {"id":1} c null {"id":1}"#,
            r#"p.public.t {"id":1} u null {"id":1,"n":2}"#,
            r#"p.public.t {"n":3} c null {"id":3,"n":3}"#,
        ]
    );
    task.stop().await;
}

async fn partitions(server: &Postgres) {
    let mut scenario = Scenario::new(server, "parts", &[]).await;
    scenario
        .run(
            "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10); \
             CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20); INSERT INTO m VALUES (1), (11)",
        )
        .await;
    let mut task = scenario.start().await;
    scenario
        .run("INSERT INTO m VALUES (2); UPDATE m SET id = 12 WHERE id = 2")
        .await;
    scenario.catch_up(&mut task).await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.m1 {"id":1} r null {"id":1}"#,
            r#"p.public.m2 {"id":11} r null {"id":11}"#,
            r#"p.public.m1 {"id":2} c null {"id":2}"#,
            r#"p.public.m1 {"id":2} d {"id":2} null"#,
            r#"p.public.m1 {"id":2} gone"#,
            r#"p.public.m2 {"id":12} c null {"id":12}"#,
        ]
    );
    task.stop().await;
    scenario.offsets.clear();
    scenario.drop_slot().await;
    scenario.run("DROP PUBLICATION dbz_publication").await;
    scenario.set("publish.via.partition.root", "true");
    let mut task = scenario.start().await;
    scenario.run("INSERT INTO m VALUES (3)").await;
    scenario.catch_up(&mut task).await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.m {"id":1} r null {"id":1}"#,
            r#"p.public.m {"id":11} r null {"id":11}"#,
            r#"p.public.m {"id":12} r null {"id":12}"#,
            r#"p.public.m {"id":3} c null {"id":3}"#,
        ]
    );
    task.stop().await;
}

async fn filters_and_keys(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "filters",
        &[
            (
                "table.include.list",
                r"public\.t,Odd \+ Schema.Odd \+ Table",
            ),
            ("column.exclude.list", r"public\.t\.secret"),
            ("message.key.columns", r"public\.t:n,id"),
            ("publication.autocreate.mode", "filtered"),
            ("skip.messages.without.change", "true"),
        ],
    )
    .await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, n int, secret text); ALTER TABLE t REPLICA IDENTITY FULL; \
             CREATE TABLE other (id int); CREATE SCHEMA \"Odd + Schema\"; \
             CREATE TABLE \"Odd + Schema\".\"Odd + Table\" (\"Odd Id\" int PRIMARY KEY); \
             INSERT INTO t VALUES (1, 2, 's'); INSERT INTO other VALUES (1); \
             INSERT INTO \"Odd + Schema\".\"Odd + Table\" VALUES (1)",
        )
        .await;
    let mut task = scenario.start().await;
    scenario
        .run("UPDATE t SET secret = 'x'; UPDATE t SET n = 3; INSERT INTO other VALUES (2)")
        .await;
    scenario.catch_up(&mut task).await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.Odd___Schema.Odd___Table {"Odd Id":1} r null {"Odd Id":1}"#,
            r#"p.public.t {"n":2,"id":1} r null {"id":1,"n":2}"#,
            r#"p.public.t {"n":2,"id":1} d {"id":1,"n":2} null"#,
            r#"p.public.t {"n":2,"id":1} gone"#,
            r#"p.public.t {"n":3,"id":1} c null {"id":1,"n":3}"#,
        ]
    );
    let published =
        "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables";
    assert_eq!(scenario.one(published).await, "Odd + Table,t");
    task.stop().await;
    // A publication that has these tables stays as it is, its lists of columns too.
    scenario
        .run(
            "ALTER PUBLICATION dbz_publication SET TABLE t (id, n) WHERE (n > 0), \"Odd + Schema\".\"Odd + Table\"",
        )
        .await;
    let mut task = scenario.start().await;
    task.stop().await;
    let listed =
        "SELECT array_to_string(attnames, ',') FROM pg_publication_tables WHERE tablename = 't'";
    assert_eq!(scenario.one(listed).await, "id,n");
    scenario.set("table.include.list", "public.nothing");
    assert!(error_of(scenario.try_start().await).contains("[no-tables]"));
}

/// The task with everything taken out of its records that tells the time at which it ran. Where nothing is stored, the
/// slot begins anew.
struct Timeless {
    task: Box<dyn SourceTask>,
    url: String,
    /// The last record of the database has come.
    at_end: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl SourceTask for Timeless {
    async fn start(
        &mut self,
        context: TaskContext,
        offsets: SourceOffsets,
    ) -> Result<(), ConnectError> {
        if offsets.iter().next().is_none() {
            self.at_end.store(false, Ordering::Relaxed);
            let (sql, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
            tokio::spawn(connection);
            sql.batch_execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'resume'; \
                 SELECT pg_copy_logical_replication_slot('resume_base', 'resume')",
            )
            .await
            .unwrap();
        }
        self.task.start(context, offsets).await
    }

    async fn poll(&mut self, budget: PollBudget) -> Result<Poll, ConnectError> {
        // The suite waits no time for a server that needs some: the last record ends the wait, not a clock.
        // Nor does a batch end it that only moves the offset: the next one's offset lies behind it.
        let is_empty = |poll: &Poll| match poll {
            Poll::Batch { records, .. } => records.is_empty(),
            Poll::Idle | Poll::Done => true,
        };
        let mut poll = self.task.poll(budget).await?;
        while is_empty(&poll) && !self.at_end.load(Ordering::Relaxed) {
            poll = self.task.poll(budget).await?;
        }
        if let Poll::Batch { records, .. } = &mut poll {
            records.iter_mut().for_each(forget_time);
            if records.iter().any(is_last) {
                self.at_end.store(true, Ordering::Relaxed);
            }
        }
        Ok(poll)
    }

    async fn committed(&mut self, offsets: &[SourceOffset]) -> Result<(), ConnectError> {
        self.task.committed(offsets).await
    }

    async fn stop(&mut self) {
        self.task.stop().await;
    }
}

/// The row that `restarts_resume_exactly` writes last.
fn is_last(record: &Record) -> bool {
    matches!(&record.key, Value::Struct(key) if key.values() == [Value::Int32(200)])
}

fn forget_time(record: &mut Record) {
    if let Value::Struct(envelope) = &record.value {
        let named = |(field, value): (&connect_api::Field, &Value)| match &*field.name {
            "ts_ms" | "ts_us" | "ts_ns" => Value::Null,
            _ => value.clone(),
        };
        let schema = envelope.schema();
        let values = schema.fields().iter().zip(envelope.values()).map(named);
        record.value = Value::Struct(Struct::new(schema.clone(), values.collect()));
    }
}

async fn restarts_resume_exactly(server: &Postgres) {
    let scenario = Scenario::new(server, "resume", &[("snapshot.mode", "no_data")]).await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE PUBLICATION dbz_publication FOR ALL TABLES",
        )
        .await;
    scenario
        .run("SELECT pg_create_logical_replication_slot('resume_base', 'pgoutput')")
        .await;
    scenario
        .run(
            "COPY t FROM PROGRAM 'seq -f %.0f,1 1 20' WITH (FORMAT csv); BEGIN; UPDATE t SET n = 2 WHERE id < 5; \
             UPDATE t SET id = 100 WHERE id = 7; DELETE FROM t WHERE id = 9; COMMIT; \
             SELECT pg_logical_emit_message(false, 'lone', 'x'); INSERT INTO t VALUES (200, 1)",
        )
        .await;
    let url = format!("postgresql://postgres@127.0.0.1:{}/resume", server.port);
    let at_end = Arc::new(AtomicBool::new(false));
    conformance::source_resumes_exactly(
        || {
            Box::new(Timeless {
                task: new_task(),
                url: url.clone(),
                at_end: Arc::clone(&at_end),
            })
        },
        &scenario.context,
    )
    .await;
}

async fn debeziums_offsets_are_taken_over(server: &Postgres) {
    let mut scenario = Scenario::new(server, "adopted", &[]).await;
    // As Debezium leaves it: slot, publication, and the offset of the second change of a transaction.
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION dbz_publication FOR ALL TABLES",
        )
        .await;
    scenario
        .run("SELECT pg_create_logical_replication_slot('adopted', 'pgoutput')")
        .await;
    let before = scenario
        .one("SELECT (pg_current_wal_lsn() - '0/0')::text")
        .await;
    scenario
        .run("BEGIN; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (3); COMMIT")
        .await;
    let change = scenario
        .one(
            "SELECT (lsn - '0/0')::text || ' ' || xid::text FROM pg_logical_slot_peek_binary_changes('adopted', NULL, \
             NULL, 'proto_version', '1', 'publication_names', 'dbz_publication') \
             WHERE get_byte(data, 0) = ascii('I') OFFSET 1 LIMIT 1",
        )
        .await;
    let (lsn, xid) = change.split_once(' ').unwrap();
    let offset: Json = serde_json::from_str(&format!(
        r#"{{"lsn_proc":{lsn},"messageType":"INSERT","lsn_commit":{before},"lsn":{lsn},"txId":{xid},"ts_usec":1}}"#
    ))
    .unwrap();
    scenario.offsets = vec![SourceOffset {
        partition: json!({"server": "p"}).as_object().unwrap().clone(),
        offset: offset.as_object().unwrap().clone(),
    }];
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown(), [r#"p.public.t {"id":3} c null {"id":3}"#]);
    task.stop().await;
    // What is stored now, Debezium reads as well.
    let stored = &scenario.offsets[0].offset;
    for name in ["lsn", "lsn_proc", "lsn_commit"] {
        assert!(stored[name].is_u64(), "{stored:?}");
    }
}

async fn only_what_is_committed_is_acknowledged(server: &Postgres) {
    let mut scenario = Scenario::new(server, "acks", &[("snapshot.mode", "no_data")]).await;
    scenario.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut task = scenario.caught_up().await;
    task.stop().await;
    let before = scenario.confirmed().await;
    let mut task = scenario.start().await;
    scenario.run("INSERT INTO t VALUES (1)").await;
    behind_the_row(&mut task).await;
    // The stream begins anew behind the row, which is handed out and not committed.
    scenario
        .run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'acks'")
        .await;
    let deadline = Instant::now() + PATIENCE;
    while task.poll(budget()).await.is_ok() {
        assert!(Instant::now() < deadline, "the task does not notice");
    }
    assert_eq!(task.poll(budget()).await, Ok(Poll::Idle));
    // Not committed: whatever the task says at its end, the slot stays.
    task.stop().await;
    assert_eq!(scenario.confirmed().await, before);
    let mut task = scenario.start().await;
    let offsets = behind_the_row(&mut task).await;
    task.committed(&offsets).await.unwrap();
    task.stop().await;
    assert_ne!(scenario.confirmed().await, before);
}

/// Polls until a row has come, and the end of its transaction: the offsets there.
async fn behind_the_row(task: &mut Box<dyn SourceTask>) -> Vec<SourceOffset> {
    let deadline = Instant::now() + PATIENCE;
    let mut rows = 0;
    loop {
        assert!(Instant::now() < deadline, "the row did not come");
        if let Poll::Batch {
            records, offsets, ..
        } = task.poll(budget()).await.unwrap()
        {
            rows += records.len();
            if rows > 0 && offsets[0].offset["txId"].is_null() {
                return offsets;
            }
        }
    }
}

async fn a_quiet_slot_moves(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "quiet",
        &[
            ("snapshot.mode", "no_data"),
            ("heartbeat.interval.ms", "20"),
            ("heartbeat.action.query", "INSERT INTO beats VALUES (now())"),
            ("table.include.list", "public.t"),
            ("publication.autocreate.mode", "filtered"),
        ],
    )
    .await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE beats (at timestamptz)")
        .await;
    let mut task = scenario.start().await;
    scenario.step(&mut task).await;
    let before = scenario.confirmed().await;
    // Others write, our tables do not.
    scenario
        .run("CREATE TABLE noise AS SELECT generate_series(1, 1000) i")
        .await;
    let deadline = Instant::now() + PATIENCE;
    while scenario.confirmed().await == before {
        assert!(Instant::now() < deadline, "the slot stays at {before}");
        scenario.step(&mut task).await;
    }
    let beat = scenario.records.first().unwrap();
    assert_eq!(&*beat.topic, "__debezium-heartbeat.p");
    assert_eq!(json_of(&beat.key), json!({"serverName": "p"}));
    assert!(json_of(&beat.value)["ts_ms"].is_u64());
    assert_ne!(scenario.one("SELECT count(*)::text FROM beats").await, "0");
    task.stop().await;
}

async fn a_slow_log_keeps_the_connection(server: &Postgres) {
    let mut scenario = Scenario::new(server, "slow", &[("snapshot.mode", "no_data")]).await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY, pad text); ALTER DATABASE slow SET wal_sender_timeout = '1s'")
        .await;
    let mut task = scenario.caught_up().await;
    let sender = "SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = 'slow'";
    let pid = scenario.one(sender).await;
    // More than all buffers hold, and nobody takes it for longer than the server is patient.
    scenario
        .run("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i; SELECT pg_sleep(3)")
        .await;
    scenario.catch_up(&mut task).await;
    assert_eq!(scenario.shown().len(), 30_000);
    assert_eq!(scenario.one(sender).await, pid);
    task.stop().await;
}

async fn publications(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "pubs",
        &[
            ("snapshot.mode", "no_data"),
            ("publication.autocreate.mode", "disabled"),
            ("publication.name", "my pub"),
        ],
    )
    .await;
    scenario.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let error = error_of(scenario.try_start().await);
    assert!(
        error.contains("[publication-missing]") && error.contains("CREATE PUBLICATION \"my pub\""),
        "{error}"
    );
    let issues = PostgresSource.validate(&scenario.context.config).await;
    assert_eq!(issues[0].key, "publication.name");
    // Made behind the slot's back, after it.
    scenario
        .run(
            "SELECT pg_create_logical_replication_slot('pubs', 'pgoutput'); INSERT INTO t VALUES (1); \
             CREATE PUBLICATION \"my pub\" FOR TABLE t",
        )
        .await;
    let mut task = scenario.start().await;
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "no error came");
        if let Err(error) = task.poll(budget()).await {
            break error.to_string();
        }
    };
    assert!(error.contains("[publication-younger]"), "{error}");
    task.stop().await;
    scenario.drop_slot().await;
    let mut task = scenario.start().await;
    scenario.run("INSERT INTO t VALUES (2)").await;
    scenario.catch_up(&mut task).await;
    assert_eq!(scenario.shown(), [r#"p.public.t {"id":2} c null {"id":2}"#]);
    task.stop().await;
}

async fn the_snapshot_has_what_the_publication_sends(server: &Postgres) {
    let mut scenario = Scenario::new(server, "lists", &[]).await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, n int, secret text); INSERT INTO t VALUES (1, 1, 's'), (2, -1, 's'); \
             CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10); INSERT INTO m VALUES (1); \
             CREATE PUBLICATION dbz_publication FOR TABLE t (id, n) WHERE (id < 2), m \
             WITH (publish_via_partition_root = true)",
        )
        .await;
    let mut task = scenario.start().await;
    scenario
        .run("INSERT INTO t VALUES (0, 0, 's'), (3, 3, 's'); INSERT INTO m VALUES (2)")
        .await;
    scenario.catch_up(&mut task).await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.m {"id":1} r null {"id":1}"#,
            r#"p.public.t {"id":1} r null {"id":1,"n":1}"#,
            r#"p.public.t {"id":0} c null {"id":0,"n":0}"#,
            r#"p.public.m {"id":2} c null {"id":2}"#,
        ]
    );
    task.stop().await;
}

async fn hidden_columns(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "hidden",
        &[
            ("column.mask.with.3.chars", r"public\.t\.(secret|pin)"),
            ("column.truncate.to.2.chars", r"public\.t\.name"),
        ],
    )
    .await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, secret text, name varchar(9), pin int); \
             INSERT INTO t VALUES (1, 'hush', 'ümläut', 1234)",
        )
        .await;
    let mut task = scenario.start().await;
    scenario.run("INSERT INTO t VALUES (2, NULL, 'x', 1)").await;
    scenario.catch_up(&mut task).await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t {"id":1} r null {"id":1,"secret":"***","name":"üm","pin":null}"#,
            r#"p.public.t {"id":2} c null {"id":2,"secret":"***","name":"x","pin":null}"#,
        ]
    );
    task.stop().await;
    scenario.set("message.key.columns", "public.t:nmae");
    let error = error_of(scenario.try_start().await);
    assert!(
        error.starts_with("message.key.columns") && error.contains("id, secret, name, pin"),
        "{error}"
    );
}

async fn signals_ask_for_tables(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "signals",
        &[
            ("snapshot.mode", "no_data"),
            ("table.include.list", r"public\.t.*"),
            ("publication.autocreate.mode", "filtered"),
            ("signal.data.collection", "public.signals"),
        ],
    )
    .await;
    scenario
        .run(
            "CREATE TABLE signals (id text PRIMARY KEY, type text, data text); \
             CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 3) i",
        )
        .await;
    let mut task = scenario.caught_up().await;
    let signal = |id: &str, data: &str| {
        format!("INSERT INTO signals VALUES ('{id}', 'execute-snapshot', '{data}')")
    };
    // What is not understood is passed over.
    scenario
        .run("INSERT INTO signals VALUES ('x', 'no-such', '{}'), ('y', 'log', '{\"message\":\"hello\"}')")
        .await;
    scenario
        .run(&format!(
            "UPDATE t SET n = 1 WHERE id = 1; {}; UPDATE t SET n = 2 WHERE id = 1",
            signal(
                "a",
                r#"{"data-collections":["public.t"],"type":"blocking","additional-conditions":[{"data-collection":"public.t","filter":"id < 3"}]}"#
            )
        ))
        .await;
    scenario.catch_up(&mut task).await;
    let markers: Vec<Json> = scenario
        .records
        .iter()
        .map(|record| json_of(&record.value)["source"]["snapshot"].clone())
        .collect();
    assert_eq!(markers, ["false", "false", "first", "last"]);
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t {"id":1} u null {"id":1,"n":1}"#,
            r#"p.public.t {"id":1} u null {"id":1,"n":2}"#,
            r#"p.public.t {"id":1} r null {"id":1,"n":2}"#,
            r#"p.public.t {"id":2} r null {"id":2,"n":0}"#,
        ]
    );

    // A part of a table, a crash behind the signal, and changes inside and outside of the part: of what the snapshot
    // sees nobody can tell which is which, so all of them come.
    scenario
        .run(&signal(
            "part",
            r#"{"data-collections":["public.t"],"type":"blocking","additional-conditions":[{"data-collection":"public.t","filter":"id < 2"}]}"#,
        ))
        .await;
    scenario.until_requested(&mut task).await;
    drop(task);
    scenario
        .run("UPDATE t SET n = 5 WHERE id = 3; UPDATE t SET n = 6 WHERE id = 1")
        .await;
    let mut task = scenario.caught_up().await;
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t {"id":1} r null {"id":1,"n":6}"#,
            r#"p.public.t {"id":3} u null {"id":3,"n":5}"#,
            r#"p.public.t {"id":1} u null {"id":1,"n":6}"#,
        ]
    );

    // A table that is new to the connector; a crash behind the signal, and changes that the snapshot sees.
    scenario
        .run("CREATE TABLE t_new (id int PRIMARY KEY); INSERT INTO t_new VALUES (1), (2)")
        .await;
    scenario
        .run(&signal(
            "b",
            r#"{"data-collections":["public.t_.*"],"type":"blocking"}"#,
        ))
        .await;
    scenario.until_requested(&mut task).await;
    drop(task);
    scenario
        .run("INSERT INTO t_new VALUES (3); UPDATE t SET n = 9 WHERE id = 3")
        .await;
    let mut task = scenario.caught_up().await;
    let snapshot = &json_of(&scenario.records[0].value)["source"]["snapshot"];
    assert_eq!(snapshot, &json!("first"));
    assert_eq!(
        scenario.shown(),
        [
            r#"p.public.t_new {"id":1} r null {"id":1}"#,
            r#"p.public.t_new {"id":2} r null {"id":2}"#,
            r#"p.public.t_new {"id":3} r null {"id":3}"#,
            r#"p.public.t {"id":3} u null {"id":3,"n":9}"#,
        ]
    );

    // Rows that end between the signal and the snapshot went out before, and one of them comes again.
    scenario
        .run(&signal(
            "c",
            r#"{"data-collections":["public.t"],"type":"blocking"}"#,
        ))
        .await;
    scenario.until_requested(&mut task).await;
    drop(task);
    scenario
        .run(
            "UPDATE t SET n = 7 WHERE id = 3; DELETE FROM t WHERE id = 1; DELETE FROM t WHERE id = 2; \
             INSERT INTO t VALUES (2, 8)",
        )
        .await;
    let mut task = scenario.caught_up().await;
    let folded = fold(&scenario.records, "p.public.t");
    assert_eq!(folded, table_of(&scenario, "t", "id").await);
    let shown = scenario.shown();
    assert!(
        shown
            .iter()
            .any(|record| record.starts_with(r#"p.public.t {"id":1} d "#)),
        "{shown:?}"
    );
    task.stop().await;
    let mut task = scenario.caught_up().await;
    assert_eq!(
        scenario.shown(),
        Vec::<String>::new(),
        "a signal counts once"
    );
    task.stop().await;
}

/// Tables are read in chunks while the stream goes on, behind restarts too; one without a key is read while it waits.
async fn incremental_snapshots_go_on_beside_the_stream(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "beside",
        &[
            ("snapshot.mode", "no_data"),
            ("table.include.list", r"public\.t.*"),
            ("publication.autocreate.mode", "filtered"),
            ("signal.data.collection", "public.signals"),
            ("incremental.snapshot.chunk.size", "100"),
            ("max.batch.size", "60"),
        ],
    )
    .await;
    scenario
        .run(
            "CREATE TABLE signals (id serial PRIMARY KEY, type text, data text); \
             CREATE TABLE t (id int, kind text, n int, PRIMARY KEY (kind, id)); CREATE TABLE t_none (a int); \
             INSERT INTO t SELECT i, CASE WHEN i % 2 = 0 THEN 'Ä' ELSE 'b' END, 0 FROM generate_series(1, 3000) i; \
             INSERT INTO t_none VALUES (1), (2), (2)",
        )
        .await;
    let mut task = scenario.caught_up().await;
    // New to the connector, and asked for with the others.
    scenario
        .run("CREATE TABLE t_new (id int PRIMARY KEY); INSERT INTO t_new VALUES (1), (2)")
        .await;
    let signal = |kind: &str, data: &str| {
        format!("INSERT INTO signals (type, data) VALUES ('{kind}', '{data}')")
    };
    scenario
        .run(&signal(
            "execute-snapshot",
            r#"{"data-collections":["public.t.*"],"additional-conditions":[{"data-collection":"public.t_new","filter":"id <> 2"}]}"#,
        ))
        .await;
    let is_reading = |scenario: &Scenario| scenario.offsets[0].offset.contains_key("incremental");
    let deadline = Instant::now() + PATIENCE;
    while !is_reading(&scenario) {
        assert!(Instant::now() < deadline, "the signal did not come");
        scenario.step(&mut task).await;
    }
    let mut round = 0;
    while is_reading(&scenario) {
        assert!(Instant::now() < deadline, "the reading does not end");
        round += 1;
        let (old, new) = (round * 7 % 3000, 3000 + round);
        scenario
            .run(&format!(
                "UPDATE t SET n = n + 1 WHERE id % 100 = {}; DELETE FROM t WHERE id = {old}; \
                 UPDATE t SET id = {new} WHERE id = {}; INSERT INTO t VALUES ({}, 'b', 1)",
                round % 100,
                3000 - round,
                10_000 + round
            ))
            .await;
        scenario.step(&mut task).await;
        if round % 10 == 0 {
            drop(task);
            task = scenario.start().await;
        }
        if round == 15 {
            scenario.run(&signal("pause-snapshot", "{}")).await;
            // The chunk that was read before goes out behind the first mark, and in front of the second.
            scenario.catch_up(&mut task).await;
            scenario.catch_up(&mut task).await;
            let read =
                |scenario: &Scenario| scenario.offsets[0].offset["incremental"]["upto"].clone();
            let before = read(&scenario);
            scenario.catch_up(&mut task).await;
            assert_eq!(read(&scenario), before, "nothing is read meanwhile");
            scenario.run(&signal("resume-snapshot", "{}")).await;
        }
    }
    scenario.catch_up(&mut task).await;
    let folded = fold(&scenario.records, "p.public.t");
    assert_eq!(folded, table_of(&scenario, "t", "kind, id").await);
    let op = |record: &Record| {
        json_of(&record.value)["op"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let of = |topic: &str| {
        let records = scenario
            .records
            .iter()
            .filter(|record| &*record.topic == topic);
        records
            .map(|record| (op(record), record.key.to_json().to_string()))
            .collect::<Vec<_>>()
    };
    // Both went on at the same time, and no row was read twice.
    let records = of("p.public.t");
    let reads: Vec<usize> = (0..records.len())
        .filter(|at| records[*at].0 == "r")
        .collect();
    let (first, last) = (reads[0], reads[reads.len() - 1]);
    assert!(records[first..last].iter().any(|(op, _)| op == "u"));
    let mut keys: Vec<&str> = reads.iter().map(|at| records[*at].1.as_str()).collect();
    keys.sort_unstable();
    let read = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), read);
    assert_eq!(
        of("p.public.t_new"),
        [("r".to_owned(), r#"{"id":1}"#.to_owned())]
    );
    assert_eq!(of("p.public.t_none").len(), 3);
    // What is stopped is not read.
    scenario.records.clear();
    scenario
        .run(&format!(
            "BEGIN; {}; {}; COMMIT",
            signal("execute-snapshot", r#"{"data-collections":["public.t"]}"#),
            signal("stop-snapshot", "")
        ))
        .await;
    scenario.catch_up(&mut task).await;
    assert!(!is_reading(&scenario));
    assert_eq!(scenario.shown(), Vec::<String>::new());
    task.stop().await;
}

/// A table that is new, and passes the filters, needs neither a restart nor a signal.
async fn tables_that_are_made_later_are_captured(server: &Postgres) {
    for (name, mode, first) in [
        ("later", "initial", Some("r")),
        ("later_no_data", "no_data", None),
    ] {
        let mut scenario = Scenario::new(
            server,
            name,
            &[
                ("snapshot.mode", mode),
                ("table.include.list", r"public\.t.*"),
                ("publication.autocreate.mode", "filtered"),
                ("table.discovery.interval.ms", "1"),
            ],
        )
        .await;
        scenario
            .run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)")
            .await;
        let mut task = scenario.caught_up().await;
        scenario
            .run("CREATE TABLE t_later (id int PRIMARY KEY); INSERT INTO t_later VALUES (1)")
            .await;
        let deadline = Instant::now() + PATIENCE;
        let published = "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables \
                         WHERE pubname = 'dbz_publication'";
        while scenario.one(published).await != "t,t_later" {
            assert!(Instant::now() < deadline, "the table is not found");
            scenario.step(&mut task).await;
        }
        let is_reading =
            |scenario: &Scenario| scenario.offsets[0].offset.contains_key("incremental");
        while is_reading(&scenario) {
            assert!(Instant::now() < deadline, "the table is not read");
            scenario.step(&mut task).await;
        }
        scenario.run("INSERT INTO t_later VALUES (2)").await;
        scenario.catch_up(&mut task).await;
        let read = first.map(|op| format!(r#"p.public.t_later {{"id":1}} {op} null {{"id":1}}"#));
        let streamed = r#"p.public.t_later {"id":2} c null {"id":2}"#.to_owned();
        let expected: Vec<String> = read.into_iter().chain([streamed]).collect();
        assert_eq!(scenario.shown(), expected);
        task.stop().await;
        let Some(op) = first else { continue };
        // One that was made while no task ran is read, too.
        scenario
            .run("CREATE TABLE t_stopped (id int PRIMARY KEY); INSERT INTO t_stopped VALUES (1)")
            .await;
        let mut task = scenario.start().await;
        let deadline = Instant::now() + PATIENCE;
        while scenario.records.is_empty() {
            assert!(Instant::now() < deadline, "the table is not read");
            scenario.step(&mut task).await;
        }
        scenario.catch_up(&mut task).await;
        let read = format!(r#"p.public.t_stopped {{"id":1}} {op} null {{"id":1}}"#);
        assert_eq!(scenario.shown(), [read]);
        task.stop().await;
    }
}

/// What SQL declares is one table, whatever others are called, and no other is published for it.
async fn a_declared_table_is_the_one_of_its_name(server: &Postgres) {
    let mut scenario = Scenario::new(server, "named", &[]).await;
    scenario
        .run(
            "CREATE TABLE \"case\" (id int PRIMARY KEY); CREATE TABLE \"CASE\" (id int PRIMARY KEY); \
             CREATE SCHEMA \"public.v\"; CREATE TABLE \"v.t\" (id int PRIMARY KEY); \
             CREATE TABLE \"public.v\".t (id int PRIMARY KEY)",
        )
        .await;
    let tables = PostgresSource.tables().unwrap();
    let declared = |name: &str, table: &str| {
        let mut options = scenario.context.config.clone();
        for of_scenario in ["topic.prefix", "slot.name"] {
            options.remove(of_scenario);
        }
        options.insert("table.include.list".to_owned(), table.to_owned());
        options.insert("table.discovery.interval.ms".to_owned(), "1".to_owned());
        let mut config = tables.config(name, &options).unwrap();
        config.insert("name".to_owned(), name.to_owned());
        config
    };
    for (table, topic) in [
        ("case", "o.public.case"),
        ("CASE", "o.public.CASE"),
        ("public.\"v.t\"", "o.public.v.t"),
        ("\"public.v\".t", "o.public.v.t"),
    ] {
        let found = tables.table(&declared("o", table)).await.unwrap();
        assert_eq!(found.topic, topic);
    }
    let error = tables.table(&declared("o", "Case")).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("public.Case, and public.CASE is another one"),
        "{error}"
    );

    let config = declared("o", "case");
    scenario.context.config = config.clone();
    scenario.set("topic.prefix", "p");
    let mut task = scenario.caught_up().await;
    scenario
        .run(
            "CREATE TABLE \"Case\" (id int); INSERT INTO \"Case\" VALUES (1); INSERT INTO \"CASE\" VALUES (2); \
             INSERT INTO \"case\" VALUES (3)",
        )
        .await;
    // Each turn looks for new tables.
    for _ in 0..3 {
        scenario.catch_up(&mut task).await;
    }
    let published =
        "SELECT string_agg(tablename, ',') FROM pg_publication_tables WHERE pubname = 'thalweg_o'";
    assert_eq!(scenario.one(published).await, "case");
    scenario
        .run("UPDATE \"Case\" SET id = 4; DELETE FROM \"Case\"")
        .await;
    assert_eq!(
        scenario.shown(),
        [r#"p.public.case {"id":3} c null {"id":3}"#]
    );
    task.stop().await;
    assert_eq!(tables.remove(&config).await, Vec::<String>::new());

    // Lists of expressions match in any case, and say so.
    let mut scenario = Scenario::new(
        server,
        "named_by_lists",
        &[("table.include.list", r"public\.case")],
    )
    .await;
    scenario
        .run("CREATE TABLE \"case\" (id int PRIMARY KEY); CREATE TABLE \"CASE\" (id int)")
        .await;
    let mut task = scenario.caught_up().await;
    let notes = task.progress().notes;
    assert!(
        notes
            .iter()
            .any(|note| note.contains("without a primary key") && note.ends_with("\"CASE\"")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("differ by case alone")),
        "{notes:?}"
    );
    task.stop().await;
}

async fn slots_that_go_with_their_task(server: &Postgres) {
    let mut scenario = Scenario::new(server, "dropped", &[("slot.drop.on.stop", "true")]).await;
    let mut task = scenario.caught_up().await;
    let slots = "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'dropped'";
    assert_eq!(scenario.one(slots).await, "1");
    task.stop().await;
    assert_eq!(scenario.one(slots).await, "0");
}

/// The same task goes on, under another snapshot, and what changed in between comes once.
async fn a_snapshot_whose_connection_breaks(server: &Postgres) {
    let mut scenario = Scenario::new(server, "torn", &[("max.batch.size", "10")]).await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, n int, pad text); \
             INSERT INTO t SELECT i, 0, repeat('x', 1000) FROM generate_series(1, 20000) i",
        )
        .await;
    let mut task = scenario.start().await;
    scenario.step(&mut task).await;
    scenario
        .run(
            "UPDATE t SET n = 1 WHERE id % 1000 = 5; SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = 'torn' AND pid <> pg_backend_pid()",
        )
        .await;
    let deadline = Instant::now() + PATIENCE;
    let mut read_before = None;
    while scenario.records.len() < 20_000 {
        assert!(Instant::now() < deadline, "the snapshot does not go on");
        match task.poll(budget()).await {
            Ok(Poll::Batch {
                records, offsets, ..
            }) => {
                scenario.records.extend(records);
                scenario.store(&offsets);
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.retryable(), "{error}");
                assert_eq!(read_before.replace(scenario.records.len()), None, "once");
            }
        }
    }
    scenario.catch_up(&mut task).await;
    // Rows that were read before the change; the others were read behind it, and nothing of it comes again.
    let read_before = read_before.expect("the connection broke");
    let expected: Vec<String> = (5..=read_before)
        .step_by(1000)
        .map(|id| format!("{{\"id\":{id}}}"))
        .collect();
    let again: Vec<String> = scenario.records[20_000..]
        .iter()
        .map(|record| record.key.to_json().to_string())
        .collect();
    assert_eq!(again, expected);
    let folded = fold(&scenario.records, "p.public.t");
    assert_eq!(folded, table_of(&scenario, "t", "id").await);
    task.stop().await;
}

/// Passes bytes on, both ways, while it is told to.
async fn proxy(port: u16, passes: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (client, server) = (client.into_split(), server.into_split());
            for (mut from, mut to) in [(client.0, server.1), (server.0, client.1)] {
                let mut passes = passes.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = from.read(&mut buffer).await {
                        if passes.wait_for(|passes| *passes).await.is_err()
                            || to.write_all(&buffer[..length]).await.is_err()
                        {
                            break;
                        }
                    }
                });
            }
        }
    });
    own
}

async fn a_silent_connection_is_given_up(server: &Postgres) {
    let (pass, passes) = watch::channel(true);
    let port = proxy(server.port, passes).await.to_string();
    let mut scenario = Scenario::new(
        server,
        "silent",
        &[("snapshot.mode", "no_data"), ("database.port", &port)],
    )
    .await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY); ALTER DATABASE silent SET wal_sender_timeout = '1s'")
        .await;
    let mut task = scenario.caught_up().await;
    pass.send_replace(false);
    scenario.run("INSERT INTO t VALUES (1)").await;
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "the silence is not noticed");
        if let Err(error) = task.poll(budget()).await {
            break error;
        }
    };
    assert!(
        error.retryable() && error.to_string().contains("no sign of life"),
        "{error}"
    );
    pass.send_replace(true);
    recover(&mut scenario, &mut task).await;
    assert_eq!(scenario.shown(), [r#"p.public.t {"id":1} c null {"id":1}"#]);
    task.stop().await;
}

/// What the source makes of a table, the sink makes the table of.
async fn source_and_sink_copy_a_table(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "copied",
        &[
            ("table.include.list", r"public\.t"),
            ("publication.autocreate.mode", "filtered"),
        ],
    )
    .await;
    let columns = "id int PRIMARY KEY, n numeric(9,2), tx text, d date, ts timestamp, ts3 timestamp(3), tz timestamptz, \
                   ti time, t3 time(3), iv interval, b bool, j jsonb, u uuid, mo money, by bytea, bi bit(5), b1 bit(1), \
                   p point, da date[], na numeric(9,2)[], ba bytea[], ta text[], ia int[], big text NOT NULL";
    scenario
        .run(&format!(
            "CREATE TABLE t ({columns}); ALTER TABLE t ALTER big SET STORAGE EXTERNAL, ALTER ia SET STORAGE EXTERNAL; \
             INSERT INTO t SELECT i, i / -7.0, 'x' || i, '2020-01-01', '2020-01-01 01:02:03.456789', \
             '2020-01-01 01:02:03.456', '2020-01-01 01:02:03.456789+02', '01:02:03.000004', '24:00', '1 day 02:00', \
             true, '{{\"a\": 1}}', md5(i::text)::uuid, i / 3.0::numeric, decode('00ff5c', 'hex'), (i % 32)::bit(5), \
             (i % 2)::bit(1), point(i, -0.5), ARRAY['2020-01-01', NULL, 'infinity']::date[], ARRAY[1.5, -2]::numeric[], \
             ARRAY['\\x00'::bytea], ARRAY['a\"b', NULL], ARRAY(SELECT generate_series(1, 2000)), repeat(i::text, 3000) \
             FROM generate_series(1, 50) i"
        ))
        .await;
    let mut task = scenario.start().await;
    scenario
        .run(
            "UPDATE t SET tx = 'y' WHERE id < 9; DELETE FROM t WHERE id = 3; UPDATE t SET id = 100 WHERE id = 4; \
             UPDATE t SET id = 4 WHERE id = 5; UPDATE t SET id = 101, tx = 'z' WHERE id = 100; \
             INSERT INTO t (id, big) VALUES (60, '')",
        )
        .await;
    scenario.catch_up(&mut task).await;
    task.stop().await;
    let records = std::mem::take(&mut scenario.records);
    let same = |table: &str| {
        format!(
            "SELECT id, e.* FROM {table} AS x, jsonb_each(to_jsonb(x) || jsonb_build_object('iv', extract(epoch FROM iv), \
             'ia', md5(ia::text), 'big', md5(big))) AS e"
        )
    };
    for (number, schemas, at_once) in [
        (1, true, true),
        (2, true, false),
        (3, false, true),
        (4, false, false),
    ] {
        let copy = format!("copy{number}");
        scenario
            .run(&format!("CREATE TABLE {copy} ({columns})"))
            .await;
        let mut sent = records.clone();
        if !schemas {
            sent.iter_mut().for_each(forget_schemas);
        }
        write_rows(server, &copy, sent, at_once).await;
        let difference = format!(
            "SELECT coalesce(string_agg(d::text, ';'), '') FROM (({0} EXCEPT {1}) UNION ALL ({1} EXCEPT {0})) d",
            same("t"),
            same(&copy)
        );
        let difference = scenario.one(&difference).await;
        assert!(difference.is_empty(), "{copy}: {difference:.1000}");
        let rows = format!("SELECT count(*)::text FROM {copy}");
        assert_eq!(scenario.one(&rows).await, "50");
    }
}

/// A record as a converter without schemas reads it.
fn forget_schemas(record: &mut Record) {
    let plain = |value: &Value| Value::parse_json(value.to_json().as_str()).unwrap();
    (record.key, record.key_schema) = (plain(&record.key), None);
    (record.value, record.value_schema) = (plain(&record.value), None);
    for header in &mut record.headers {
        header.value = Value::String(header.value.to_json());
    }
}

/// Puts records into a table of database `copied`, in one batch or one by one.
async fn write_rows(server: &Postgres, table: &str, records: Vec<Record>, at_once: bool) {
    let Task::Sink(mut sink) = PostgresSink.task() else {
        unreachable!("a sink makes sink tasks");
    };
    let mut config = ConfigMap::new();
    for (key, value) in [
        (
            "connection.url",
            format!("postgresql://postgres@127.0.0.1:{}/copied", server.port).as_str(),
        ),
        ("insert.mode", "upsert"),
        ("primary.key.mode", "record_key"),
        ("delete.enabled", "true"),
        ("table.name.format", table),
    ] {
        config.insert(key.to_owned(), value.to_owned());
    }
    sink.start(TaskContext {
        connector: table.to_owned(),
        task: 0,
        config,
    })
    .await
    .unwrap();
    let origin = TopicPartition::new("p.public.t", 0);
    sink.open(&[OpenPartition {
        partition: origin.clone(),
        incarnation: "1".to_owned(),
    }])
    .await
    .unwrap();
    let records: Vec<SinkRecord> = records
        .into_iter()
        .zip(0..)
        .map(|(record, offset)| SinkRecord {
            record,
            origin: origin.clone(),
            offset,
        })
        .collect();
    let size = if at_once { records.len() } else { 1 };
    for records in records.chunks(size) {
        let next = records.last().map_or(0, |record| record.offset + 1);
        let batch = SinkBatch {
            records: records.to_vec(),
            positions: vec![(origin.clone(), next)],
        };
        assert_eq!(sink.put(&batch).await.unwrap(), PutReport::Taken);
    }
}

async fn passwords(server: &Postgres) {
    let mut scenario = Scenario::new(server, "locks", &[("snapshot.mode", "no_data")]).await;
    scenario
        .run(
            "SET password_encryption = 'md5'; CREATE ROLE old LOGIN SUPERUSER PASSWORD 'right'; \
             SET password_encryption = 'scram-sha-256'; CREATE ROLE new LOGIN SUPERUSER PASSWORD 'right'; \
             CREATE ROLE clear LOGIN SUPERUSER PASSWORD 'right'; CREATE ROLE out LOGIN SUPERUSER",
        )
        .await;
    let hba = scenario.one("SELECT current_setting('hba_file')").await;
    scenario
        .run(&format!(
            "COPY (VALUES ('host all,replication old all md5'), ('host all,replication new all scram-sha-256'), \
             ('host all,replication clear all password'), ('host all,replication out all reject'), \
             ('host all,replication all all trust')) TO '{hba}'"
        ))
        .await;
    scenario.run("SELECT pg_reload_conf()").await;
    scenario.set("database.user", "out");
    let deadline = Instant::now() + PATIENCE;
    // The server takes its new rules a moment later.
    while PostgresSource
        .validate(&scenario.context.config)
        .await
        .is_empty()
    {
        assert!(Instant::now() < deadline, "the new rules do not hold");
    }
    for user in ["old", "new", "clear"] {
        scenario.set("database.user", user);
        for (password, works) in [("right", true), ("wr0ng", false), ("", false)] {
            scenario.set("database.password", password);
            let issues = PostgresSource.validate(&scenario.context.config).await;
            assert_eq!(issues.is_empty(), works, "{user}: {issues:?}");
            if !works {
                assert_eq!(issues[0].key, "database.password");
                assert!(!issues[0].message.contains("wr0ng"), "{issues:?}");
            }
        }
    }
}

async fn lost_positions_are_errors(server: &Postgres) {
    let mut scenario = Scenario::new(server, "lost", &[]).await;
    scenario
        .run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await;
    let mut task = scenario.caught_up().await;
    task.stop().await;
    scenario.shown();

    // Somebody moved the slot forward.
    scenario.run("INSERT INTO t VALUES (2)").await;
    scenario
        .run("SELECT pg_replication_slot_advance('lost', pg_current_wal_lsn())")
        .await;
    let error = scenario.refused_start().await;
    assert!(error.contains("[offset-behind]"), "{error}");
    scenario.set("offset.mismatch.strategy", "trust_slot");
    let mut task = scenario.start().await;
    scenario
        .run("DELETE FROM t WHERE id > 2; INSERT INTO t VALUES (3)")
        .await;
    scenario.catch_up(&mut task).await;
    assert_eq!(scenario.shown(), [r#"p.public.t {"id":3} c null {"id":3}"#]);
    task.stop().await;
    scenario.run("DELETE FROM t WHERE id = 3").await;
    scenario
        .run("SELECT pg_replication_slot_advance('lost', pg_current_wal_lsn())")
        .await;
    scenario.set("offset.mismatch.strategy", "trust_offset");
    scenario.set("snapshot.mode", "when_needed");
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown().len(), 2, "both rows are read again");
    task.stop().await;

    // The slot is gone.
    scenario.drop_slot().await;
    scenario.set("snapshot.mode", "initial");
    let error = scenario.refused_start().await;
    assert!(error.contains("[slot-missing]"), "{error}");
    scenario.set("snapshot.mode", "when_needed");
    let mut task = scenario.caught_up().await;
    assert_eq!(scenario.shown().len(), 2);
    task.stop().await;

    // Its log is gone.
    scenario
        .run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        .await;
    scenario.run("SELECT pg_reload_conf()").await;
    let deadline = Instant::now() + PATIENCE;
    let status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'lost'";
    while scenario.one(status).await != "lost" {
        assert!(Instant::now() < deadline, "the server keeps its log");
        scenario
            .run("INSERT INTO t SELECT max(id) + 1 FROM t; SELECT pg_switch_wal()")
            .await;
        scenario.run("CHECKPOINT").await;
    }
    scenario
        .run("ALTER SYSTEM RESET max_slot_wal_keep_size")
        .await;
    scenario.run("SELECT pg_reload_conf()").await;
    scenario.set("snapshot.mode", "initial");
    let error = scenario.refused_start().await;
    assert!(error.contains("[slot-lost]"), "{error}");
    scenario.set("snapshot.mode", "when_needed");
    let mut task = scenario.caught_up().await;
    let rows = scenario.one("SELECT count(*)::text FROM t").await;
    assert_eq!(scenario.shown().len().to_string(), rows);
    task.stop().await;

    // Another cluster, another timeline.
    for (name, code) in [
        ("system_id", "[other-system]"),
        ("timeline", "[other-timeline]"),
    ] {
        let stored = scenario.offsets.clone();
        scenario.offsets[0]
            .offset
            .insert(name.to_owned(), json!("77"));
        let error = scenario.refused_start().await;
        assert!(error.contains(code), "{error}");
        scenario.offsets = stored;
    }
}

async fn wrong_servers_and_rights_are_named(server: &Postgres) {
    let mut scenario = Scenario::new(server, "rights", &[]).await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE ROLE weak LOGIN; \
             CREATE ROLE reader LOGIN REPLICATION; CREATE PUBLICATION dbz_publication FOR ALL TABLES",
        )
        .await;
    assert_eq!(
        PostgresSource.validate(&scenario.context.config).await,
        Vec::new()
    );
    scenario.set("database.user", "weak");
    let error = error_of(scenario.try_start().await);
    assert!(error.contains("[no-replication-right]"), "{error}");
    assert!(error.contains("ALTER ROLE \"weak\" REPLICATION"), "{error}");
    scenario.set("database.user", "reader");
    let mut task = scenario.start().await;
    let error = loop {
        match task.poll(budget()).await {
            Ok(polled) => assert!(matches!(polled, Poll::Idle), "{polled:?}"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.contains("[no-select-right]") && error.contains("GRANT SELECT ON \"public\".\"t\""),
        "{error}"
    );
    task.stop().await;
    scenario.run("DROP PUBLICATION dbz_publication").await;
    let error = error_of(scenario.try_start().await);
    assert!(error.contains("[publication-refused]"), "{error}");
    rights_are_looked_at_before_a_start(&mut scenario).await;

    scenario.set("database.user", "postgres");
    scenario
        .run("SELECT pg_create_logical_replication_slot('foreign_slot', 'test_decoding')")
        .await;
    scenario.set("slot.name", "foreign_slot");
    let error = error_of(scenario.try_start().await);
    assert!(error.contains("[slot-foreign]"), "{error}");
    scenario.set("database.dbname", "no_such_database");
    let error = error_of(scenario.try_start().await);
    assert!(error.starts_with("database.dbname"), "{error}");
    scenario.set("database.port", "1");
    let issues = PostgresSource.validate(&scenario.context.config).await;
    assert!(issues[0].message.contains("127.0.0.1:1"), "{issues:?}");

    // Somebody else streams.
    let mut scenario = Scenario::new(server, "busy", &[("snapshot.mode", "no_data")]).await;
    let mut first = scenario.caught_up().await;
    let mut second = scenario.start().await;
    let error = second.poll(budget()).await.unwrap_err();
    assert!(
        error.retryable() && error.to_string().contains("[slot-active]"),
        "{error}"
    );
    first.stop().await;
    second.poll(budget()).await.unwrap();
    second.stop().await;
}

/// Validation tells all that is missing at once, each with what mends it; afterwards nothing is missing.
async fn rights_are_looked_at_before_a_start(scenario: &mut Scenario) {
    let missing = async |scenario: &Scenario| -> Vec<String> {
        let issues = PostgresSource.validate(&scenario.context.config).await;
        issues.into_iter().map(|issue| issue.message).collect()
    };
    let all = missing(scenario).await;
    for part in [
        "GRANT SELECT ON \"public\".\"t\" TO \"reader\"",
        "may not create in database \"rights\"",
        "CREATE PUBLICATION \"dbz_publication\" FOR ALL TABLES",
    ] {
        assert!(
            all.iter().any(|issue| issue.contains(part)),
            "{part}: {all:?}"
        );
    }
    scenario
        .run("GRANT CREATE ON DATABASE rights TO reader; GRANT SELECT ON t TO reader")
        .await;
    let all = missing(scenario).await;
    assert!(
        all.len() == 1 && all[0].contains("only a superuser"),
        "{all:?}"
    );

    // Whoever publishes tables owns them.
    scenario.set("publication.autocreate.mode", "filtered");
    scenario.set("table.include.list", r"public\.t");
    let all = missing(scenario).await;
    assert!(
        all.len() == 1
            && all[0].contains("does not own \"public\".\"t\"")
            && all[0].contains("FOR TABLE"),
        "{all:?}"
    );
    scenario.run("ALTER TABLE t OWNER TO reader").await;
    assert_eq!(missing(scenario).await, Vec::<String>::new());
    // One that is there and lacks the table has to be the user's too.
    scenario.run("CREATE PUBLICATION dbz_publication").await;
    let all = missing(scenario).await;
    assert!(
        all.len() == 1 && all[0].contains("does not own it") && all[0].contains("SET TABLE"),
        "{all:?}"
    );
    // One for all tables sends what is captured.
    scenario
        .run("DROP PUBLICATION dbz_publication; CREATE PUBLICATION dbz_publication FOR ALL TABLES")
        .await;
    assert_eq!(missing(scenario).await, Vec::<String>::new());
    let mut task = scenario.start().await;
    task.stop().await;
    scenario.run("DROP PUBLICATION dbz_publication").await;
}

/// What status shows: the tables of a snapshot, then how far the slot is behind.
async fn progress_is_told(server: &Postgres) {
    let mut scenario = Scenario::new(server, "progress", &[("max.batch.size", "30")]).await;
    scenario
        .run(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100); CREATE TABLE u (n int); \
             ANALYZE t",
        )
        .await;
    let mut task = scenario.start().await;
    scenario.step(&mut task).await;
    let progress = task.progress();
    assert_eq!(progress.phase, Some("snapshot"));
    let table = &progress.parts[0];
    assert_eq!((&*table.name, table.rows_expected), ("public.t", Some(100)));
    assert!(table.rows >= 30 && !table.done, "{table:?}");
    assert!(
        table
            .percent()
            .is_some_and(|percent| (30..100).contains(&percent))
    );
    assert!(table.remaining().is_some());
    scenario.catch_up(&mut task).await;
    let progress = task.progress();
    assert_eq!(progress.phase, Some("streaming"));
    let names: Vec<&str> = progress.figures.iter().map(|(name, _)| *name).collect();
    for figure in ["lag_ms", "slot_lag_bytes", "slot_kept_bytes"] {
        assert!(names.contains(&figure), "{names:?}");
    }
    assert!(progress.parts.is_empty());
    task.stop().await;
}

/// A snapshot is cut after every batch, while rows before and behind the cut change: the folded topic is the table.
async fn a_snapshot_that_was_cut_goes_on(server: &Postgres) {
    let mut scenario = Scenario::new(
        server,
        "cut",
        &[("max.batch.size", "3"), ("decimal.handling.mode", "double")],
    )
    .await;
    scenario
        .run(
            "CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a SELECT i * 2, 0 FROM generate_series(1, 20) i; \
             CREATE TABLE b (x uuid, y int, n int, PRIMARY KEY (x, y)); \
             INSERT INTO b SELECT md5(i::text)::uuid, i, 0 FROM generate_series(1, 10) i; \
             CREATE TABLE c (k text PRIMARY KEY, n int); INSERT INTO c SELECT 'k' || i, 0 FROM generate_series(1, 10) i; \
             CREATE TYPE mood AS ENUM ('z', 'a'); \
             CREATE TABLE d (p numeric, b bool, m mood, c char(3), n int, PRIMARY KEY (p, b, m, c)); \
             INSERT INTO d SELECT i / 2.0, i % 2 = 0, (CASE WHEN i < 5 THEN 'z' ELSE 'a' END)::mood, i::text, 0 \
             FROM generate_series(1, 10) i; \
             CREATE TABLE e (name text COLLATE \"und-x-icu\" PRIMARY KEY, n int); \
             INSERT INTO e SELECT chr(64 + i * 3) || '''' || i || '\\', 0 FROM generate_series(1, 20) i",
        )
        .await;
    let mut round = 0;
    loop {
        let mut task = scenario.start().await;
        let small = PollBudget {
            records_max: 3,
            ..budget()
        };
        let polled = task.poll(small).await.unwrap();
        drop(task);
        let Poll::Batch {
            records, offsets, ..
        } = polled
        else {
            continue;
        };
        scenario.records.extend(records);
        scenario.store(&offsets);
        round += 1;
        scenario
            .run(&format!(
                "UPDATE a SET n = n + 1; INSERT INTO a VALUES ({round} * 2 + 1, 0), (-{round}, 0); \
                 DELETE FROM a WHERE id = 42 - {round} * 4; UPDATE a SET id = 1000 + {round} WHERE id = {round} * 4; \
                 UPDATE b SET n = n + 1; DELETE FROM b WHERE y = {round}; UPDATE c SET n = n + 1; \
                 DELETE FROM c WHERE k = 'k{round}'; UPDATE d SET n = n + 1; DELETE FROM d WHERE p = {round} / 3.0; \
                 UPDATE d SET p = p + 100 WHERE p = {round} / 4.0; UPDATE e SET n = n + 1; \
                 DELETE FROM e WHERE name LIKE '%''{round}_'"
            ))
            .await;
        if scenario.offsets[0].offset.get("snapshot_completed") == Some(&json!(true)) {
            break;
        }
        assert!(round < 200, "the snapshot does not end");
    }
    let reads = scenario.records.len();
    let mut task = scenario.caught_up().await;
    for table in ["a", "b", "c", "d", "e"] {
        let read_twice = duplicates(&scenario.records[..reads], &format!("p.public.{table}"));
        assert_eq!(read_twice, 0, "rows of table {table} are read once");
    }
    for (table, key) in [
        ("a", "id"),
        ("b", "x, y"),
        ("c", "k"),
        ("d", "p, b, m, c"),
        ("e", "name"),
    ] {
        let folded = fold(&scenario.records, &format!("p.public.{table}"));
        assert_eq!(folded, table_of(&scenario, table, key).await, "{table}");
    }
    task.stop().await;
}

/// Large tables are read in ranges beside each other, and a crash in the middle leaves all that was read.
async fn tables_are_read_by_several(server: &Postgres) {
    let more = [("snapshot.max.threads", "4"), ("max.batch.size", "1000")];
    let mut scenario = Scenario::new(server, "several", &more).await;
    scenario
        .run(
            "CREATE TABLE a (id bigint PRIMARY KEY, n int); INSERT INTO a SELECT i * 3, 0 FROM generate_series(1, 110000) i; \
             CREATE TABLE b (name text, l int, n int, PRIMARY KEY (name, l)); \
             INSERT INTO b SELECT md5(i::text), i % 7, 0 FROM generate_series(1, 52000) i; \
             CREATE TABLE c (n int); INSERT INTO c VALUES (1), (1); ALTER TABLE c REPLICA IDENTITY FULL; \
             CREATE TABLE d (id int PRIMARY KEY); CREATE TABLE e (id int PRIMARY KEY); INSERT INTO e VALUES (1); ANALYZE",
        )
        .await;
    let mut task = scenario.start().await;
    let open = |scenario: &Scenario| -> usize {
        let stored = scenario.offsets.first();
        let scans = stored.and_then(|stored| stored.offset.get("snapshot_scans")?.as_array());
        let begun = |scan: &&Json| scan["done"] == json!(false) && scan["upto"].is_array();
        scans.into_iter().flatten().filter(begun).count()
    };
    let deadline = Instant::now() + PATIENCE;
    while open(&scenario) < 3 || scenario.records.len() < 30_000 {
        assert!(
            Instant::now() < deadline,
            "one range is read behind the other"
        );
        scenario.step(&mut task).await;
    }
    drop(task);
    let before = scenario.records.len();
    scenario
        .run(
            "UPDATE a SET n = n + 1 WHERE id % 500 = 0; DELETE FROM a WHERE id % 777 = 0; \
             INSERT INTO a SELECT i * 3 + 1, 7 FROM generate_series(1, 110000, 400) i; \
             UPDATE a SET id = -id WHERE id % 4000 = 0; \
             UPDATE b SET n = n + 1 WHERE l = 3; DELETE FROM b WHERE name LIKE 'ab%'; INSERT INTO e VALUES (2)",
        )
        .await;
    let mut task = scenario.start().await;
    while scenario.offsets[0].offset.get("snapshot_completed") != Some(&json!(true)) {
        assert!(
            Instant::now() < deadline + PATIENCE,
            "the snapshot does not end"
        );
        scenario.step(&mut task).await;
    }
    let read = scenario.records.len();
    assert!(before < read);
    scenario.catch_up(&mut task).await;
    for (table, key) in [("a", "id"), ("b", "name, l"), ("e", "id")] {
        let topic = format!("p.public.{table}");
        let twice = duplicates(&scenario.records[..read], &topic);
        assert_eq!(twice, 0, "rows of table {table} are read once");
        let folded = fold(&scenario.records, &topic);
        assert!(folded == table_of(&scenario, table, key).await, "{table}");
    }
    // Of all rows one is the last, and one of each table is its first.
    let marked = |marker: &str| {
        let is_marked = |record: &&Record| json_of(&record.value)["source"]["snapshot"] == marker;
        scenario.records[before..read]
            .iter()
            .filter(is_marked)
            .count()
    };
    assert_eq!((marked("first"), marked("last")), (0, 1));
    task.stop().await;
}

fn duplicates(records: &[Record], topic: &str) -> usize {
    let mut keys: Vec<String> = records
        .iter()
        .filter(|record| &*record.topic == topic)
        .map(|record| record.key.to_json().to_string())
        .collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    all - keys.len()
}

/// What a topic's records come to: key → row.
fn fold(records: &[Record], topic: &str) -> BTreeMap<String, Json> {
    let mut rows = BTreeMap::new();
    for record in records.iter().filter(|record| &*record.topic == topic) {
        let key = json_of(&record.key).to_string();
        match json_of(&record.value)["after"].clone() {
            Json::Null => drop(rows.remove(&key)),
            row => drop(rows.insert(key, row)),
        }
    }
    rows
}

async fn table_of(scenario: &Scenario, table: &str, key: &str) -> BTreeMap<String, Json> {
    let sql = format!(
        "SELECT (SELECT to_json(k) FROM (SELECT {key}) k)::text, to_json(t)::text FROM {table} t"
    );
    let rows = scenario.sql.query(&sql, &[]).await.unwrap();
    let parse = |text: String| serde_json::from_str::<Json>(&text).unwrap();
    rows.iter()
        .map(|row| (parse(row.get(0)).to_string(), parse(row.get(1))))
        .collect()
}

/// Load, and a task that dies at random points: before and after its commits, within snapshot and stream.
async fn folded_topics_equal_the_tables(server: &Postgres) {
    let seed = std::env::var("THALWEG_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) << 20 | 0x5EED);
    println!("THALWEG_TEST_SEED={seed}");
    let mut random = Random(seed | 1);
    let mut scenario = Scenario::new(server, "load", &[]).await;
    scenario
        .run(
            "CREATE TABLE accounts (id int PRIMARY KEY, n bigint NOT NULL); \
             INSERT INTO accounts SELECT i, 0 FROM generate_series(1, 3000) i; \
             CREATE TABLE history (id bigserial PRIMARY KEY, account int, delta int)",
        )
        .await;
    let url = format!("postgresql://postgres@127.0.0.1:{}/load", server.port);
    let writers: Vec<_> = (1..=2)
        .map(|writer| {
            let url = url.clone();
            tokio::spawn(async move { write(&url, seed ^ writer).await })
        })
        .collect();
    let mut kills = 0;
    let mut task = scenario.start().await;
    let deadline = Instant::now() + PATIENCE;
    while kills < 25 || writers.iter().any(|writer| !writer.is_finished()) {
        assert!(
            Instant::now() < deadline,
            "seed {seed}: the writers do not end"
        );
        let small = PollBudget {
            records_max: 1 + random.below(400),
            bytes_max: 1 << 20,
            wait_max: Duration::from_millis(20),
        };
        let polled = match task.poll(small).await {
            Ok(polled) => polled,
            // The slot is still held by the last run: the runtime tries again.
            Err(error) if error.retryable() => continue,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let fate = random.below(12);
        if let Poll::Batch {
            records, offsets, ..
        } = polled
            && fate != 0
        {
            scenario.records.extend(records);
            scenario.store(&offsets);
            if fate != 1 {
                task.committed(&offsets).await.unwrap();
            }
        }
        if fate < 3 && kills < 25 {
            kills += 1;
            // Without a word, as a crash.
            drop(task);
            task = scenario.start().await;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    drop(task);
    let mut task = scenario.caught_up().await;
    for table in ["accounts", "history"] {
        let folded = fold(&scenario.records, &format!("p.public.{table}"));
        assert_eq!(
            folded,
            table_of(&scenario, table, "id").await,
            "seed {seed}: {table}"
        );
    }
    // Nothing twice: a row of the history is written once, so it is read or created once.
    let created = scenario
        .records
        .iter()
        .filter(|record| &*record.topic == "p.public.history")
        .count();
    let rows = scenario.one("SELECT count(*)::text FROM history").await;
    assert_eq!(created.to_string(), rows, "seed {seed}");
    // And by positions: no two changes of one row are the same.
    let mut positions: Vec<String> = scenario
        .records
        .iter()
        .map(|record| (record, json_of(&record.value)))
        .filter(|(_, value)| value["op"] == json!("u"))
        .map(|(record, value)| format!("{} {}", record.key.to_json(), value["source"]["lsn"]))
        .collect();
    let all = positions.len();
    positions.sort();
    positions.dedup();
    assert_eq!(positions.len(), all, "seed {seed}");
    task.stop().await;
}

/// What pgbench does: an account changes, and its history grows; transactions of different length overlap.
async fn write(url: &str, seed: u64) {
    let mut random = Random(seed | 1);
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..300 {
        let mut sql = String::from("BEGIN;");
        // In one order, so that writers wait and never block each other for good.
        let mut accounts: Vec<usize> = (0..=random.below(20))
            .map(|_| 1 + random.below(3000))
            .collect();
        accounts.sort_unstable();
        for account in accounts {
            let delta = random.below(100);
            sql += &format!(
                "UPDATE accounts SET n = n + {delta} WHERE id = {account}; \
                 INSERT INTO history (account, delta) VALUES ({account}, {delta});"
            );
        }
        sql += if random.below(10) == 0 {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        client.batch_execute(&sql).await.unwrap();
    }
}

/// Xorshift: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (below as u64)).unwrap()
    }
}

async fn the_connection_breaks(server: &Postgres) {
    let mut scenario = Scenario::new(server, "broken", &[("snapshot.mode", "no_data")]).await;
    scenario.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut task = scenario.caught_up().await;
    for round in 1..=3 {
        scenario
            .run(&format!("INSERT INTO t VALUES ({round})"))
            .await;
        scenario
            .run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'broken'")
            .await;
        recover(&mut scenario, &mut task).await;
    }
    server.kill();
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "the task does not notice");
        match task.poll(budget()).await {
            Ok(Poll::Batch {
                records, offsets, ..
            }) => {
                scenario.records.extend(records);
                scenario.store(&offsets);
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.retryable(), "{error}");
    server.start_again();
    let url = format!("postgresql://postgres@127.0.0.1:{}/broken", server.port);
    let (sql, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    scenario.sql = sql;
    scenario.run("INSERT INTO t VALUES (4)").await;
    recover(&mut scenario, &mut task).await;
    scenario.catch_up(&mut task).await;
    let ids: Vec<Json> = scenario
        .records
        .iter()
        .map(|record| json_of(&record.key)["id"].clone())
        .collect();
    assert_eq!(ids, [1, 2, 3, 4], "each once");
    task.stop().await;
}

/// Polls through what is worth a retry, until the stream runs again.
async fn recover(scenario: &mut Scenario, task: &mut Box<dyn SourceTask>) {
    let deadline = Instant::now() + PATIENCE;
    let before = scenario.records.len();
    while scenario.records.len() == before {
        assert!(Instant::now() < deadline, "the stream does not come back");
        match task.poll(budget()).await {
            Ok(Poll::Batch {
                records, offsets, ..
            }) => {
                scenario.records.extend(records);
                scenario.store(&offsets);
                task.committed(&offsets).await.unwrap();
            }
            Ok(_) => {}
            Err(error) => assert!(error.retryable(), "{error}"),
        }
    }
}
