//! What ends up in the database. One server for all scenarios: starting one takes longer than they do.

use std::time::Duration;

use connect_api::{
    ConfigMap, ConnectError, ConnectorPlugin, DeclaredKey, DeclaredRows, Header, OpenPartition,
    PutReport, Record, Schema, SchemaType, SinkBatch, SinkRecord, SinkTask, Struct, Task,
    TaskContext, Text, TopicPartition, Value, conformance, logical,
};
use connector_postgres::PostgresSink;

use crate::postgres::Postgres;

fn context(server: &Postgres, connector: &str, more: &[(&str, &str)]) -> TaskContext {
    let mut config = ConfigMap::new();
    config.insert(
        "connection.url".to_owned(),
        format!("jdbc:{}", server.url()),
    );
    config.insert("insert.mode".to_owned(), "upsert".to_owned());
    config.insert("primary.key.mode".to_owned(), "record_key".to_owned());
    config.insert("delete.enabled".to_owned(), "true".to_owned());
    config.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    TaskContext {
        connector: connector.to_owned(),
        task: 0,
        config,
    }
}

fn new_task() -> Box<dyn SinkTask> {
    match PostgresSink.task() {
        Task::Sink(task) => task,
        Task::Source(_) => unreachable!("a sink makes sink tasks"),
    }
}

fn json(text: &str) -> Value {
    Value::json(Text::from(text)).unwrap()
}

/// Records of partition 0 of a topic, from an offset on: key and value as JSON text; a key without braces is text.
fn batch(topic: &str, from: i64, rows: &[(&str, &str)]) -> SinkBatch {
    let origin = TopicPartition::new(topic, 0);
    let records = rows
        .iter()
        .zip(from..)
        .map(|((key, value), offset)| {
            let key = if key.starts_with('{') {
                json(key)
            } else {
                Value::text(*key)
            };
            SinkRecord {
                record: Record::new(topic, key, json(value)),
                origin: origin.clone(),
                offset,
            }
        })
        .collect();
    SinkBatch {
        records,
        positions: vec![(origin, from + rows.len() as i64)],
    }
}

fn life(topic: &str, incarnation: &str) -> OpenPartition {
    OpenPartition {
        partition: TopicPartition::new(topic, 0),
        incarnation: incarnation.to_owned(),
    }
}

async fn open(context: &TaskContext, topic: &str) -> Box<dyn SinkTask> {
    let mut task = new_task();
    task.start(context.clone()).await.unwrap();
    task.open(&[life(topic, "1")]).await.unwrap();
    task
}

async fn put(task: &mut Box<dyn SinkTask>, batch: &SinkBatch) {
    assert_eq!(task.put(batch).await.unwrap(), PutReport::Taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything() {
    let server = Postgres::start();
    upserts_and_deletes(&server).await;
    crashes(&server).await;
    existing_tables(&server).await;
    values_are_never_cut(&server).await;
    keys_in_other_spellings(&server).await;
    arrays(&server).await;
    schemas(&server).await;
    composite_keys(&server).await;
    evolution(&server).await;
    partitioned_tables(&server).await;
    bad_rows(&server).await;
    names_limits_and_triggers(&server).await;
    keys_whose_fields_are_in_another_order(&server).await;
    keys_under_a_collation_that_ignores_case(&server).await;
    names_that_are_taken(&server).await;
    constraints_that_look_at_the_end(&server).await;
    tables_that_cannot_grow(&server).await;
    codes_of_triggers_and_generated_columns(&server).await;
    events_of_debezium(&server).await;
    rows_that_move(&server).await;
    tables_that_are_truncated(&server).await;
    fields_that_become_columns(&server).await;
    rows_of_nulls(&server).await;
    keys_with_nulls(&server).await;
    a_table_that_was_dropped(&server).await;
    columns_of_known_types(&server).await;
    tables_that_a_statement_names(&server).await;
    other_lives_of_a_topic(&server).await;
    plain_inserts(&server).await;
    updates_alone(&server).await;
    keys_of_the_place_in_the_log(&server).await;
    a_second_task_is_fenced(&server).await;
    validation(&server).await;
    passwords(&server).await;
    large_batches(&server).await;
    the_server_goes_away(&server).await;
}

async fn tables_that_are_truncated(server: &Postgres) {
    let put_row = |id: i32, n: i32| {
        let value =
            format!(r#"{{"before":null,"after":{{"id":{id},"n":{n}}},"source":{{}},"op":"c"}}"#);
        (format!(r#"{{"id":{id}}}"#), value)
    };
    let event = r#"{"before":null,"after":null,"source":{},"op":"t"}"#;
    let truncated = ("null".to_owned(), event.to_owned());
    let rows = [
        truncated.clone(),
        put_row(1, 1),
        put_row(2, 2),
        truncated,
        put_row(2, 3),
        put_row(3, 4),
    ];
    let rows: Vec<(&str, &str)> = (rows.iter().map(|(key, value)| (&**key, &**value))).collect();
    for (connector, topic, more, expected) in [
        (
            "trunc",
            "emptied",
            &[("truncate.enabled", "true")] as &[_],
            "2|3\n3|4",
        ),
        ("kept", "kept", &[], "1|1\n2|3\n3|4"),
    ] {
        let context = context(server, connector, more);
        let mut task = open(&context, topic).await;
        // A part that is refused is found on both sides of the event.
        let mut all = rows.clone();
        all.push(("{\"id\":null}", all[1].1));
        let report = task.put(&batch(topic, 0, &all)).await.unwrap();
        assert!(
            matches!(report, PutReport::Rejected(rows) if rows.len() == 1 && rows[0].index == 6)
        );
        put(&mut task, &batch(topic, 0, &rows)).await;
        let client = server.client().await;
        let sql = format!("SELECT string_agg(id || '|' || n, E'\\n' ORDER BY id) FROM {topic}");
        let found: String = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(found, expected, "{topic}");
    }
}

async fn upserts_and_deletes(server: &Postgres) {
    let context = context(server, "a", &[("primary.key.fields", "id")]);
    let mut task = open(&context, "up.serts").await;
    put(
        &mut task,
        &batch(
            "up.serts",
            0,
            &[
                ("k1", r#"{"n":1,"name":"one","ok":true}"#),
                ("k2", r#"{"n":2,"name":"two \\ ü","ok":null}"#),
                ("k1", r#"{"n":3}"#),
                ("k3", r#"{"n":4,"name":"gone"}"#),
                ("k3", "null"),
                ("k4", "null"),
                ("k2", "null"),
                ("k2", r#"{"n":5}"#),
            ],
        ),
    )
    .await;
    assert_eq!(
        server
            .rows("SELECT id, n, name, ok FROM up_serts ORDER BY id")
            .await,
        ["k1|3|one|t", "k2|5|-|-"]
    );
    put(
        &mut task,
        &batch(
            "up.serts",
            8,
            &[
                ("k1", "null"),
                ("k9", "null"),
                ("k5", r#"{"n":1.5}"#.replace("1.5", "7").as_str()),
            ],
        ),
    )
    .await;
    assert_eq!(
        server.rows("SELECT id, n FROM up_serts ORDER BY id").await,
        ["k2|5", "k5|7"]
    );
    assert_eq!(
        server
            .rows("SELECT * FROM _thalweg_offsets WHERE connector = 'a'")
            .await,
        ["a|up.serts|0|11|1"]
    );
    task.close(&[]).await.unwrap();
}

async fn crashes(server: &Postgres) {
    let batches = [
        batch("crash", 0, &[("a", r#"{"n":1}"#), ("b", r#"{"n":2}"#)]),
        batch("crash", 2, &[("a", r#"{"n":3}"#), ("b", "null")]),
        batch("crash", 4, &[("c", r#"{"n":4}"#)]),
    ];
    conformance::sink_survives_crashes(
        new_task,
        &context(server, "crash", &[("primary.key.fields", "id")]),
        &batches,
        async || server.rows("SELECT id, n FROM crash ORDER BY id").await,
        vec!["a|3".to_owned(), "c|4".to_owned()],
    )
    .await;
    // With plain inserts a row that came twice would show.
    conformance::sink_survives_crashes(
        new_task,
        &context(
            server,
            "crash-insert",
            &[
                ("insert.mode", "insert"),
                ("delete.enabled", "false"),
                ("primary.key.mode", "none"),
                ("table.name.format", "crash_insert"),
            ],
        ),
        &batches,
        async || server.rows("SELECT n FROM crash_insert ORDER BY n").await,
        vec![
            "1".to_owned(),
            "2".to_owned(),
            "3".to_owned(),
            "4".to_owned(),
        ],
    )
    .await;
}

async fn existing_tables(server: &Postgres) {
    server
        .client()
        .await
        .batch_execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.\"Typed\" (id integer PRIMARY KEY, at timestamp, zoned timestamptz, \
             day date, price numeric(10,2), raw bytea, doc jsonb, tags text[], total bigint, made_by text DEFAULT 'db')",
        )
        .await
        .unwrap();
    let context = context(
        server,
        "typed",
        &[
            ("primary.key.fields", "id"),
            ("collection.name.format", "shop.Typed"),
            ("schema.evolution", "none"),
        ],
    );
    let mut task = open(&context, "t").await;
    let value = r#"{"at":"2013-01-01T10:15:00Z","zoned":"2013-01-01T10:15:00+02:00","day":"2013-01-02","price":1.5,
        "raw":"YWI=","doc":{"a":[1]},"tags":"{x,y}","total":10.0}"#;
    put(
        &mut task,
        &batch(
            "t",
            0,
            &[
                ("7", value),
                ("8", r#"{"at":"2013-01-01T10:15:00+02:00","doc":"text"}"#),
            ],
        ),
    )
    .await;
    assert_eq!(
        server
            .rows("SET TIME ZONE 'UTC'; SELECT * FROM shop.\"Typed\" ORDER BY id")
            .await,
        [
            "7|2013-01-01 10:15:00|2013-01-01 08:15:00+00|2013-01-02|1.50|\\x6162|{\"a\": [1]}|{x,y}|10|db",
            "8|2013-01-01 08:15:00|-|-|-|-|\"text\"|-|-|db",
        ]
    );
    let error = task
        .put(&batch("t", 2, &[("9", r#"{"colour":"red"}"#)]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Config { key, message } if key == "schema.evolution"
        && message.contains("has no column colour")),
        "{error}"
    );
}

async fn values_are_never_cut(server: &Postgres) {
    server
        .client()
        .await
        .batch_execute(
            "CREATE DOMAIN code AS varchar(3); CREATE TABLE cut (id varchar(3) PRIMARY KEY, s varchar(3), c char(2), \
             b bit(3), v varbit(3), d code, a varchar(3)[], n numeric(4,1), at timestamp(0))",
        )
        .await
        .unwrap();
    let mut task = open(&context(server, "cut", &[("pk.fields", "id")]), "cut").await;
    let bad = [
        ("1", r#"{"s":"abcdef"}"#),
        ("2", r#"{"c":"xyz"}"#),
        ("3", r#"{"b":"10110"}"#),
        ("4", r#"{"v":"10110"}"#),
        ("5", r#"{"d":"abcd"}"#),
        ("6", r#"{"a":["abcd"]}"#),
        ("7", r#"{"n":12345}"#),
        ("toolong", "{}"),
    ];
    let PutReport::Rejected(rejected) = task.put(&batch("cut", 0, &bad)).await.unwrap() else {
        panic!("all are too long")
    };
    assert_eq!(rejected.len(), bad.len(), "{rejected:?}");
    assert!(
        rejected[0]
            .message
            .contains("value too long for type character varying(3)"),
        "{rejected:?}"
    );
    let good = r#"{"s":"abc","c":"x","b":"101","v":"1","d":"abc","a":["ab",null],"n":1.25,"at":"2020-01-01T00:00:00.9Z"}"#;
    put(
        &mut task,
        &batch("cut", 0, &[("1", good), ("toolong", "null")]),
    )
    .await;
    assert_eq!(
        server.rows("SELECT * FROM cut").await,
        ["1|abc|x |101|1|abc|{ab,NULL}|1.3|2020-01-01 00:00:01"]
    );
}

async fn keys_in_other_spellings(server: &Postgres) {
    for (name, column, one, other) in [
        (
            "k_uuid",
            "uuid",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("k_numeric", "numeric", "1.0", "1.00"),
        ("k_rounded", "numeric(10,1)", "1.01", "1.04"),
        (
            "k_zone",
            "timestamptz",
            "2013-01-01T10:00:00Z",
            "2013-01-01T12:00:00+02:00",
        ),
        ("k_int", "integer", "1", "01"),
        ("k_char", "char(5)", "ab", "ab  "),
    ] {
        let client = server.client().await;
        let table = format!("CREATE TABLE {name} (id {column} PRIMARY KEY, n integer, m integer)");
        client.batch_execute(&table).await.unwrap();
        let mut task = open(&context(server, name, &[("pk.fields", "id")]), name).await;
        let both = [(one, r#"{"n":1,"m":1}"#), (other, r#"{"n":2}"#)];
        put(&mut task, &batch(name, 0, &both)).await;
        let rows = async || server.rows(&format!("SELECT n, m FROM {name}")).await;
        assert_eq!(rows().await, ["2|1"], "{name}");
        put(
            &mut task,
            &batch(name, 2, &[(one, r#"{"n":3}"#), (other, "null")]),
        )
        .await;
        assert_eq!(rows().await, [""; 0], "{name}");
        put(
            &mut task,
            &batch(name, 4, &[(other, "null"), (one, r#"{"n":4}"#)]),
        )
        .await;
        assert_eq!(rows().await, ["4|-"], "{name}");
    }
}

async fn arrays(server: &Postgres) {
    server
        .client()
        .await
        .batch_execute(
            "CREATE TABLE arrays (id text PRIMARY KEY, n int[], t text[], j jsonb[], at timestamp[], d float8[])",
        )
        .await
        .unwrap();
    let mut task = open(&context(server, "arrays", &[("pk.fields", "id")]), "arrays").await;
    let value = r#"{"n":[[1,2],[3,null]],"t":["a,b","\"q\" \\",""],"j":[{"a":[1]},"s",[2]],
        "at":["2013-01-01T10:00:00+02:00"],"d":[1,1.5]}"#;
    let rows = [
        ("1", value),
        ("2", r#"{"n":[],"t":["x",{"y":1}]}"#),
        ("3", r#"{"n":["one"]}"#),
    ];
    let PutReport::Rejected(rejected) = task.put(&batch("arrays", 0, &rows)).await.unwrap() else {
        panic!("one is no integer")
    };
    assert_eq!(rejected[0].index, 2);
    put(&mut task, &batch("arrays", 0, &rows[..2])).await;
    assert_eq!(
        server
            .rows("SELECT n, t[1], t[2], cardinality(t), j[1]->'a', j[2], j[3], at, d FROM arrays ORDER BY id")
            .await,
        [
            r#"{{1,2},{3,NULL}}|a,b|"q" \|3|[1]|"s"|[2]|{"2013-01-01 08:00:00"}|{1,1.5}"#,
            r#"{}|x|{"y":1}|2|-|-|-|-|-"#,
        ]
    );
}

async fn schemas(server: &Postgres) {
    let mut decimal = Schema::new(SchemaType::Bytes).named(logical::DECIMAL);
    decimal
        .parameters
        .insert("scale".to_owned(), "2".to_owned());
    let schema = std::sync::Arc::new(Schema::structure(vec![
        ("small", Schema::new(SchemaType::Int16)),
        ("whole", Schema::new(SchemaType::Int32).optional()),
        ("real", Schema::new(SchemaType::Float32)),
        ("day", Schema::new(SchemaType::Int32).named(logical::DATE)),
        (
            "at",
            Schema::new(SchemaType::Int64).named(logical::TIMESTAMP),
        ),
        ("price", decimal),
        ("raw", Schema::new(SchemaType::Bytes)),
    ]));
    let mut rows = batch("schemas", 0, &[("k", "{}")]);
    rows.records[0].record.value_schema = Some(schema.clone());
    rows.records[0].record.value = Value::Struct(Struct::new(
        schema,
        vec![
            Value::Int16(1),
            Value::Null,
            Value::Float32(0.5),
            Value::Int32(15_706),
            Value::Int64(1_357_035_300_123),
            Value::Bytes(vec![0x04, 0xd2].into()),
            Value::Bytes("ab".into()),
        ],
    ));
    let mut task = open(
        &context(server, "schemas", &[("pk.fields", "id")]),
        "schemas",
    )
    .await;
    put(&mut task, &rows).await;
    assert_eq!(
        server.rows("SELECT * FROM schemas").await,
        ["k|1|-|0.5|2013-01-01|2013-01-01 10:15:00.123|12.34|\\x6162"]
    );
    assert_eq!(
        server
            .rows("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'schemas'::regclass AND attnum > 0 ORDER BY attnum")
            .await,
        ["text", "smallint", "integer", "real", "date", "timestamp without time zone", "numeric", "bytea"]
    );
}

async fn composite_keys(server: &Postgres) {
    let rows = [
        (
            r#"{"w":"2013-01-01T10:00:00","c":"UA"}"#,
            r#"{"w":"2013-01-01T10:00:00","c":"UA","n":1}"#,
        ),
        (r#"{"w":"2013-01-01T11:00:00","c":"UA"}"#, r#"{"n":2}"#),
        (r#"{"w":"2013-01-01T10:00:00","c":"UA"}"#, "null"),
    ];
    let mut task = open(&context(server, "composite", &[]), "composite").await;
    put(&mut task, &batch("composite", 0, &rows)).await;
    // The same keys as text: what a converter of text makes of them.
    let mut texts = batch("composite", 3, &rows[..1]);
    texts.records[0].record.key = Value::text(rows[0].0);
    put(&mut task, &texts).await;
    assert_eq!(
        server.rows("SELECT * FROM composite ORDER BY w").await,
        ["2013-01-01T10:00:00|UA|1", "2013-01-01T11:00:00|UA|2"]
    );
}

async fn evolution(server: &Postgres) {
    let mut task = open(
        &context(server, "evolution", &[("pk.fields", "id")]),
        "evolution",
    )
    .await;
    put(
        &mut task,
        &batch("evolution", 0, &[("a", r#"{"x":null,"n":1}"#)]),
    )
    .await;
    put(
        &mut task,
        &batch(
            "evolution",
            1,
            &[
                ("b", r#"{"x":"now","n":2,"y":[1]}"#),
                ("c", r#"{"n":2.5}"#.replace("2.5", "3").as_str()),
            ],
        ),
    )
    .await;
    assert_eq!(
        server
            .rows("SELECT id, n, x, y FROM evolution ORDER BY id")
            .await,
        ["a|1|-|-", "b|2|now|[1]", "c|3|-|-"]
    );
    // Somebody changes the table behind the task's back: it looks again, and the same batch goes through.
    server
        .client()
        .await
        .batch_execute("ALTER TABLE evolution DROP COLUMN y")
        .await
        .unwrap();
    let rows = batch("evolution", 3, &[("d", r#"{"n":4,"y":[2]}"#)]);
    let error = task.put(&rows).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    put(&mut task, &rows).await;
    assert_eq!(
        server.rows("SELECT y FROM evolution WHERE id = 'd'").await,
        ["[2]"]
    );
}

/// Rows go where their key says, and one that has nowhere to go is a bad row.
async fn partitioned_tables(server: &Postgres) {
    server
        .client()
        .await
        .batch_execute(
            "CREATE TABLE parted (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region); \
             CREATE TABLE parted_n PARTITION OF parted FOR VALUES IN ('n'); \
             CREATE TABLE parted_s PARTITION OF parted FOR VALUES IN ('s')",
        )
        .await
        .unwrap();
    let mut task = open(&context(server, "parted", &[]), "parted").await;
    let (n, s) = (r#"{"id":1,"region":"n"}"#, r#"{"id":1,"region":"s"}"#);
    let rows = [
        (n, r#"{"v":1}"#),
        (s, r#"{"v":2}"#),
        (n, r#"{"v":3,"w":4}"#),
    ];
    put(&mut task, &batch("parted", 0, &rows)).await;
    let parts = "SELECT tableoid::regclass, id, v, w FROM parted ORDER BY 1, 2";
    assert_eq!(
        server.rows(parts).await,
        ["parted_n|1|3|4", "parted_s|1|2|-"]
    );
    put(&mut task, &batch("parted", 3, &[(n, "null")])).await;
    assert_eq!(server.rows(parts).await, ["parted_s|1|2|-"]);
    for (key, reason) in [
        (r#"{"id":1,"region":"w"}"#, "no partition of relation"),
        (r#"{"id":1,"region":null}"#, "column \"region\" is null"),
    ] {
        let rows = [(n, r#"{"v":1}"#), (key, r#"{"v":1}"#)];
        let found = refused(&mut task, &batch("parted", 4, &rows)).await;
        let [(1, message)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(message.contains(reason), "{message}");
    }
}

async fn bad_rows(server: &Postgres) {
    server
        .client()
        .await
        .batch_execute(
            "CREATE TABLE bad (id text PRIMARY KEY, n integer CHECK (n < 100), at timestamp)",
        )
        .await
        .unwrap();
    let mut task = open(&context(server, "bad", &[("pk.fields", "id")]), "bad").await;
    let mut rows: Vec<(String, String)> = (0..40)
        .map(|n| (format!("k{n}"), format!("{{\"n\":{n}}}")))
        .collect();
    rows[3].1 = r#"{"n":"three"}"#.to_owned();
    rows[17].1 = r#"{"n":1000}"#.to_owned();
    rows[39].1 = r#"{"at":"yesterday-ish"}"#.to_owned();
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut batch = batch("bad", 0, &rows);
    let PutReport::Rejected(rejected) = task.put(&batch).await.unwrap() else {
        panic!("rows are bad")
    };
    let indexes: Vec<usize> = rejected.iter().map(|row| row.index).collect();
    assert_eq!(indexes, [3, 17, 39]);
    assert!(
        rejected[0]
            .message
            .contains("invalid input syntax for type integer: \"three\""),
        "{rejected:?}"
    );
    assert!(
        rejected[1].message.contains("violates check constraint"),
        "{rejected:?}"
    );
    assert_eq!(
        server.rows("SELECT count(*) FROM bad").await,
        ["0"],
        "nothing was applied"
    );
    for index in indexes.into_iter().rev() {
        batch.records.remove(index);
    }
    put(&mut task, &batch).await;
    assert_eq!(server.rows("SELECT count(*) FROM bad").await, ["37"]);

    for (key, value, reason) in [
        ("k", "[1]", "is an array, not an object or struct"),
        ("k", "{\"n\":\"a\\u0000b\"}", "zero character"),
    ] {
        let batch = self::batch("bad", 40, &[(key, value)]);
        let PutReport::Rejected(rejected) = task.put(&batch).await.unwrap() else {
            panic!("{value} is bad")
        };
        assert!(rejected[0].message.contains(reason), "{rejected:?}");
    }
    let mut keyless = self::batch("bad", 40, &[("k", "{}")]);
    keyless.records[0].record.key = Value::Null;
    let PutReport::Rejected(rejected) = task.put(&keyless).await.unwrap() else {
        panic!("no key")
    };
    assert!(
        rejected[0].message.contains("the record has no key"),
        "{rejected:?}"
    );
}

async fn names_limits_and_triggers(server: &Postgres) {
    server
        .client()
        .await
        .batch_execute(
            "CREATE TABLE refusing (id text PRIMARY KEY, n integer); CREATE FUNCTION no_negatives() RETURNS trigger \
             LANGUAGE plpgsql AS $$ BEGIN IF NEW.n < 0 THEN RAISE EXCEPTION 'negative'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER t BEFORE INSERT ON refusing FOR EACH ROW EXECUTE FUNCTION no_negatives()",
        )
        .await
        .unwrap();
    let mut task = open(
        &context(server, "refusing", &[("pk.fields", "id")]),
        "refusing",
    )
    .await;
    let long = format!(r#"{{"{}":1}}"#, "c".repeat(64));
    // No index takes a key of so many bytes, however they are packed.
    let mut seed = 1u64;
    let huge: String = (0..20_000)
        .map(|_| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            char::from(b'a' + u8::try_from((seed >> 33) % 26).unwrap())
        })
        .collect();
    let rows = [
        ("a", r#"{"n":1}"#),
        ("b", r#"{"":1}"#),
        ("c", r#"{"b\u0000c":1}"#),
        ("d", &long),
    ];
    let rejected = |report| match report {
        PutReport::Rejected(rows) => rows,
        PutReport::Taken => panic!("rows are bad"),
    };
    let found = rejected(task.put(&batch("refusing", 0, &rows)).await.unwrap());
    for (row, reason) in found.iter().zip([
        "an empty name",
        "a zero character in the name",
        "longer than 63 bytes",
    ]) {
        assert!(row.message.contains(reason), "{found:?}");
    }
    assert_eq!(found.len(), 3);
    let rows = [
        ("a", r#"{"n":1}"#),
        ("b", r#"{"n":-1}"#),
        (&*huge, r#"{"n":1}"#),
        ("c", r#"{"n":2,"n":3}"#),
    ];
    let found = rejected(task.put(&batch("refusing", 0, &rows)).await.unwrap());
    let indexes: Vec<usize> = found.iter().map(|row| row.index).collect();
    assert_eq!(indexes, [1, 2], "{found:?}");
    put(&mut task, &batch("refusing", 0, &[rows[0], rows[3]])).await;
    assert_eq!(
        server.rows("SELECT n FROM refusing ORDER BY id").await,
        ["1", "3"]
    );
}

/// The rows of a batch that are refused: index and message.
async fn refused(task: &mut Box<dyn SinkTask>, batch: &SinkBatch) -> Vec<(usize, String)> {
    match task.put(batch).await.unwrap() {
        PutReport::Rejected(rows) => {
            let pair = |row: connect_api::RejectedRow| (row.index, row.message);
            rows.into_iter().map(pair).collect()
        }
        PutReport::Taken => panic!("rows are bad"),
    }
}

async fn keys_whose_fields_are_in_another_order(server: &Postgres) {
    let mut task = open(&context(server, "order", &[]), "order_of").await;
    let (one, other) = (r#"{"x":1,"y":"a"}"#, r#"{"y":"a","x":1}"#);
    put(
        &mut task,
        &batch("order_of", 0, &[(one, r#"{"v":1}"#), (other, "null")]),
    )
    .await;
    let rows = async || server.rows("SELECT x, y, v FROM order_of").await;
    assert_eq!(rows().await, [""; 0]);
    let both = [(one, r#"{"v":2}"#), (other, r#"{"v":3}"#)];
    put(&mut task, &batch("order_of", 2, &both)).await;
    assert_eq!(rows().await, ["1|a|3"]);
}

async fn keys_under_a_collation_that_ignores_case(server: &Postgres) {
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             CREATE TABLE anycase (id text COLLATE ci PRIMARY KEY, n integer, m integer)",
        )
        .await
        .unwrap();
    let mut task = open(
        &context(server, "anycase", &[("pk.fields", "id")]),
        "anycase",
    )
    .await;
    let rows = async || server.rows("SELECT id, n, m FROM anycase").await;
    let two = [("Ab", r#"{"n":1,"m":1}"#), ("aB", r#"{"n":2}"#)];
    put(&mut task, &batch("anycase", 0, &two)).await;
    assert_eq!(rows().await, ["Ab|2|1"]);
    put(
        &mut task,
        &batch("anycase", 2, &[("AB", r#"{"n":3}"#), ("ab", "null")]),
    )
    .await;
    assert_eq!(rows().await, [""; 0]);
}

async fn names_that_are_taken(server: &Postgres) {
    let context = context(server, "taken", &[("pk.fields", "id")]);
    let mut task = open(&context, "system_columns").await;
    for name in ["xmin", "xmax", "cmin", "cmax", "ctid", "tableoid"] {
        let bad = format!(r#"{{"{name}":0.5}}"#);
        let rows = [("a", r#"{"n":1}"#), ("b", &*bad)];
        let found = refused(&mut task, &batch("system_columns", 0, &rows)).await;
        assert_eq!(found[0].0, 1);
        assert!(
            found[0].1.contains(&format!("the name \"{name}\"")),
            "{found:?}"
        );
    }
    let client = server.client().await;
    client
        .batch_execute("CREATE TYPE mood AS ENUM ('fine')")
        .await
        .unwrap();
    let mut task = open(&context, "mood").await;
    let found = refused(&mut task, &batch("mood", 0, &[("a", r#"{"n":1}"#)])).await;
    assert!(found[0].1.contains("42710"), "{found:?}");
}

async fn constraints_that_look_at_the_end(server: &Postgres) {
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE tree (id text PRIMARY KEY, parent text REFERENCES tree DEFERRABLE INITIALLY DEFERRED)",
        )
        .await
        .unwrap();
    let mut task = open(&context(server, "tree", &[("pk.fields", "id")]), "tree").await;
    // Children before their parents, one of them an orphan.
    let rows = [
        ("c", r#"{"parent":"b"}"#),
        ("o", r#"{"parent":"nobody"}"#),
        ("b", r#"{"parent":"a"}"#),
        ("a", r#"{"parent":null}"#),
    ];
    let found = refused(&mut task, &batch("tree", 0, &rows)).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, 1);
    assert!(
        found[0].1.contains("violates foreign key constraint"),
        "{found:?}"
    );
    assert_eq!(server.rows("SELECT count(*) FROM tree").await, ["0"]);
    let good: Vec<(&str, &str)> = [0, 2, 3].map(|row| rows[row]).into();
    put(&mut task, &batch("tree", 0, &good)).await;
    assert_eq!(
        server.rows("SELECT id, parent FROM tree ORDER BY id").await,
        ["a|-", "b|a", "c|b"]
    );
}

async fn tables_that_cannot_grow(server: &Postgres) {
    let wide = |prefix: &str, count: usize| {
        let fields: Vec<String> = (0..count).map(|n| format!("\"{prefix}{n}\":1")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let (most, more, more_still) = (wide("a", 900), wide("b", 800), wide("c", 1700));
    let rows = [
        ("1", r#"{"a0":1}"#),
        ("2", &*more_still),
        ("3", &*most),
        ("4", &*more),
        ("5", r#"{"a0":2}"#),
    ];
    let context = context(server, "wide", &[("pk.fields", "id")]);
    let mut task = open(&context, "wide").await;
    let found = refused(&mut task, &batch("wide", 0, &rows)).await;
    let indexes: Vec<usize> = found.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 3], "{:?}", found[0]);
    assert!(found[0].1.contains("1600 columns"), "{:?}", found[0]);
    assert_eq!(
        server.rows("SELECT to_regclass('wide') IS NULL").await,
        ["t"],
        "nothing is left of it"
    );
    put(&mut task, &batch("wide", 0, &[rows[0], rows[2], rows[4]])).await;
    assert_eq!(
        server.rows("SELECT id, a0 FROM wide ORDER BY id").await,
        ["1|1", "3|1", "5|2"]
    );
}

async fn codes_of_triggers_and_generated_columns(server: &Postgres) {
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE coded (id text PRIMARY KEY, n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED); \
             CREATE FUNCTION coded() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.n < 0 THEN RAISE EXCEPTION 'negative' USING ERRCODE = '45000'; END IF; \
             IF NEW.n > 9 THEN RAISE EXCEPTION 'no connection' USING ERRCODE = '08006'; END IF; \
             IF NEW.n = 0 THEN PERFORM 1 FROM not_there; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER t BEFORE INSERT ON coded FOR EACH ROW EXECUTE FUNCTION coded()",
        )
        .await
        .unwrap();
    let context = context(server, "coded", &[("pk.fields", "id")]);
    let mut task = open(&context, "coded").await;
    let rows = [
        ("a", r#"{"n":1}"#),
        ("b", r#"{"n":-1}"#),
        ("c", r#"{"twice":4}"#),
        ("d", r#"{"n":2}"#),
        ("e", r#"{"n":10}"#),
    ];
    let found = refused(&mut task, &batch("coded", 0, &rows)).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].0 == 1 && found[0].1.contains("[SQLSTATE 45000]"),
        "{found:?}"
    );
    assert!(
        found[1].0 == 2 && found[1].1.contains("[SQLSTATE 428C9]"),
        "{found:?}"
    );
    put(&mut task, &batch("coded", 0, &[rows[0], rows[3]])).await;
    // What a trigger misses will not be there the next time either.
    let error = task
        .put(&batch("coded", 2, &[("e", r#"{"n":0}"#)]))
        .await
        .unwrap_err();
    assert!(!error.retryable(), "{error}");
}

async fn events_of_debezium(server: &Postgres) {
    let mut task = open(&context(server, "events", &[]), "events").await;
    let rows = [
        (
            r#"{"id":1}"#,
            r#"{"before":null,"after":{"id":1,"name":"a","big":"text"},"source":{"db":"x"},"op":"c","ts_ms":1}"#,
        ),
        (
            r#"{"id":2}"#,
            r#"{"before":null,"after":{"id":2,"name":"b"},"source":{},"op":"r"}"#,
        ),
        (
            r#"{"id":1}"#,
            r#"{"before":{"id":1},"after":{"id":1,"name":"c","big":"__debezium_unavailable_value"},"source":{},"op":"u"}"#,
        ),
        (
            r#"{"id":2}"#,
            r#"{"before":{"id":2},"after":null,"source":{},"op":"d"}"#,
        ),
        (r#"{"id":2}"#, "null"),
        (
            r#"{"id":3}"#,
            r#"{"source":{},"before":null,"after":null,"op":"t"}"#,
        ),
    ];
    put(&mut task, &batch("events", 0, &rows)).await;
    assert_eq!(
        server.rows("SELECT id, name, big FROM events").await,
        ["1|c|text"]
    );
}

/// A row whose new key has a large value that nobody sent keeps it, whatever is in one batch with what.
async fn rows_that_move(server: &Postgres) {
    let moved = |to: &str| Header {
        name: Text::from("__debezium.newkey"),
        value: Value::text(to),
    };
    let event = |op: &str, after: &str| {
        format!(r#"{{"before":null,"after":{after},"source":{{}},"op":"{op}"}}"#)
    };
    let rows = [
        (r#"{"id":1}"#, event("c", r#"{"id":1,"n":1,"big":"one"}"#)),
        (r#"{"id":2}"#, event("c", r#"{"id":2,"n":2,"big":"two"}"#)),
        (r#"{"id":1}"#, event("d", "null")),
        (r#"{"id":1}"#, "null".to_owned()),
        (
            r#"{"id":3}"#,
            event(
                "c",
                r#"{"id":3,"n":3,"big":"__debezium_unavailable_value"}"#,
            ),
        ),
        // The old key is free again, and the new one was taken by what an earlier life left.
        (r#"{"id":1}"#, event("c", r#"{"id":1,"n":9,"big":"again"}"#)),
        (r#"{"id":1}"#, event("d", "null")),
        (
            r#"{"id":2}"#,
            event(
                "c",
                r#"{"id":2,"n":8,"big":"__debezium_unavailable_value"}"#,
            ),
        ),
        (
            r#"{"id":2}"#,
            event(
                "u",
                r#"{"id":2,"n":7,"big":"__debezium_unavailable_value"}"#,
            ),
        ),
    ];
    for (table, at_once) in [("moving_whole", true), ("moving_single", false)] {
        server
            .client()
            .await
            .batch_execute(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, n int, big text NOT NULL)"
            ))
            .await
            .unwrap();
        let context = context(server, table, &[("table.name.format", table)]);
        let mut task = open(&context, "moving").await;
        let texts: Vec<(&str, &str)> = rows.iter().map(|(key, value)| (*key, &**value)).collect();
        let mut all = batch("moving", 0, &texts);
        all.records[2].record.headers.push(moved(r#"{"id":3}"#));
        all.records[6]
            .record
            .headers
            .push(moved(r#"{"schema":{"type":"struct"},"payload":{"id":2}}"#));
        let size = if at_once { all.records.len() } else { 1 };
        for records in all.records.chunks(size) {
            let part = SinkBatch {
                records: records.to_vec(),
                positions: vec![(
                    TopicPartition::new("moving", 0),
                    records.last().unwrap().offset + 1,
                )],
            };
            put(&mut task, &part).await;
        }
        let sql = format!("SELECT id, n, big FROM {table} ORDER BY id");
        assert_eq!(server.rows(&sql).await, ["2|7|again", "3|3|one"], "{table}");
    }
}

async fn fields_that_become_columns(server: &Postgres) {
    let more = [
        ("pk.fields", "id"),
        ("fields.whitelist", "a,chosen:b,other:c,d"),
        ("field.exclude.list", "d"),
    ];
    let mut task = open(&context(server, "chosen", &more), "chosen").await;
    let value = r#"{"a":1,"b":2,"c":3,"d":4,"e":5,"xmin":"no column"}"#;
    put(&mut task, &batch("chosen", 0, &[("k", value)])).await;
    assert_eq!(
        server.rows("SELECT to_jsonb(c) FROM chosen AS c").await,
        [r#"{"a": 1, "b": 2, "id": "k"}"#]
    );
}

async fn rows_of_nulls(server: &Postgres) {
    let more = [
        ("insert.mode", "insert"),
        ("delete.enabled", "false"),
        ("primary.key.mode", "none"),
    ];
    let mut task = open(&context(server, "nulls", &more), "nulls").await;
    put(
        &mut task,
        &batch("nulls", 0, &[("", r#"{"a":null}"#), ("", r#"{"a":null}"#)]),
    )
    .await;
    put(&mut task, &batch("nulls", 2, &[("", r#"{"a":1}"#)])).await;
    assert_eq!(
        server.rows("SELECT a FROM nulls ORDER BY a").await,
        ["1", "-", "-"]
    );
}

/// NULL in a key is a value like any other, in a table that the sink makes and in one that was there.
async fn keys_with_nulls(server: &Postgres) {
    let client = server.client().await;
    let own = "CREATE TABLE own_groups (g int, k text, n int, UNIQUE (k, g))";
    client.batch_execute(own).await.unwrap();
    for topic in ["groups", "own_groups"] {
        let more = [("primary.key.nullable", "k:bigint")];
        let mut task = open(&context(server, topic, &more), topic).await;
        let total = r#"{"k":null,"g":1}"#;
        put(&mut task, &batch(topic, 0, &[(total, r#"{"n":0}"#)])).await;
        put(
            &mut task,
            &batch(
                topic,
                1,
                &[
                    (total, r#"{"n":7}"#),
                    (r#"{"k":null,"g":0}"#, r#"{"n":1}"#),
                    (r#"{"k":5,"g":0}"#, r#"{"n":5}"#),
                    (total, r#"{"n":8}"#),
                    (r#"{"k":6,"g":0}"#, r#"{"n":6}"#),
                ],
            ),
        )
        .await;
        let all = format!("SELECT k || '', g, n FROM {topic} ORDER BY k, g");
        assert_eq!(
            server.rows(&all).await,
            ["5|0|5", "6|0|6", "-|0|1", "-|1|8"]
        );
        put(
            &mut task,
            &batch(
                topic,
                6,
                &[
                    (r#"{"k":null,"g":0}"#, "null"),
                    (r#"{"k":5,"g":0}"#, "null"),
                    (total, r#"{"n":9}"#),
                ],
            ),
        )
        .await;
        assert_eq!(server.rows(&all).await, ["6|0|6", "-|1|9"]);
        let report = task
            .put(&batch(topic, 9, &[(r#"{"k":1,"g":null}"#, r#"{"n":1}"#)]))
            .await
            .unwrap();
        assert!(
            matches!(report, PutReport::Rejected(rows) if rows[0].message.contains("\"g\" is null"))
        );
    }
    let kind = "SELECT contype::text, (pg_get_constraintdef(oid) LIKE '%NULLS NOT DISTINCT%') = \
                (current_setting('server_version_num')::int >= 150000) \
                FROM pg_constraint WHERE conrelid = 'groups'::regclass";
    assert_eq!(server.rows(kind).await, ["u|t"]);
}

/// A table that somebody dropped comes back with later rows only, which the connector tells for as long as it runs.
async fn a_table_that_was_dropped(server: &Postgres) {
    let mut task = open(&context(server, "gone", &[]), "gone").await;
    put(
        &mut task,
        &batch("gone", 0, &[(r#"{"id":1}"#, r#"{"n":1}"#)]),
    )
    .await;
    assert_eq!(task.progress().notes, Vec::<String>::new());
    let client = server.client().await;
    client.batch_execute("DROP TABLE gone").await.unwrap();
    let later = batch("gone", 1, &[(r#"{"id":2}"#, r#"{"n":2}"#)]);
    // The first attempt finds that the table is not what it was.
    let first = task.put(&later).await;
    if let Err(error) = first {
        assert!(error.retryable(), "{error}");
        put(&mut task, &later).await;
    }
    assert_eq!(server.rows("SELECT id, n FROM gone").await, ["2|2"]);
    let notes = task.progress().notes;
    assert!(
        matches!(&notes[..], [note] if note.contains("\"gone\" was not there") && note.contains("lacks their rows")),
        "{notes:?}"
    );
}

/// A column that is made has the type that is said, whatever its first values show.
async fn columns_of_known_types(server: &Postgres) {
    let types = "id:integer,amount:numeric,at:timestamp,day:date,doc:jsonb,raw:bytea";
    let more = [("column.types", types)];
    let mut task = open(&context(server, "typed", &more), "typed").await;
    let first = r#"{"amount":null,"at":"2024-05-01T10:00:00.5","doc":"x","raw":"AQI=","other":1}"#;
    put(&mut task, &batch("typed", 0, &[(r#"{"id":1}"#, first)])).await;
    let later = r#"{"amount":"12.50","at":null,"day":"2024-02-29","doc":{"a":1}}"#;
    put(&mut task, &batch("typed", 1, &[(r#"{"id":2}"#, later)])).await;
    let kinds = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                 WHERE attrelid = 'typed'::regclass AND attnum > 0 ORDER BY attname";
    assert_eq!(
        server.rows(kinds).await,
        [
            "amount|numeric",
            "at|timestamp without time zone",
            "day|date",
            "doc|jsonb",
            "id|integer",
            "other|bigint",
            "raw|bytea",
        ]
    );
    let rows = "SELECT id, amount, at, day, doc, raw FROM typed ORDER BY id";
    assert_eq!(
        server.rows(rows).await,
        [
            "1|-|2024-05-01 10:00:00.5|-|\"x\"|\\x0102",
            "2|12.50|-|2024-02-29|{\"a\": 1}|-",
        ]
    );
}

/// What cannot take the rows of a statement is told before there are any.
async fn tables_that_a_statement_names(server: &Postgres) {
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE named_pk (g int, k text, n int, PRIMARY KEY (k, g)); \
             CREATE TABLE named_u (g int, k text, UNIQUE (g, k)); CREATE TABLE named_none (g int, k text, n int UNIQUE); \
             CREATE UNIQUE INDEX named_part ON named_none (g, k) WHERE n > 0",
        )
        .await
        .unwrap();
    let key = |name: &str| DeclaredKey {
        name: name.to_owned(),
        sql_type: "BIGINT".to_owned(),
        nullable: name == "k",
    };
    let rows = DeclaredRows {
        topic: "named".to_owned(),
        columns: Vec::new(),
        key: vec![key("k"), key("g")],
    };
    let null = "takes no NULL in \"k\", part of its key";
    for (options, expected) in [
        (&[("table", "named_pk")][..], Ok(Some(null))),
        (&[("table", "named_u")], Ok(None)),
        (&[("table", "named_not_yet")], Ok(None)),
        (&[("table", "named_none")], Err("ADD UNIQUE (\"g\", \"k\")")),
        (
            &[("table", "named_none"), ("insert.mode", "insert")],
            Ok(None),
        ),
        (&[("table", "nosuch.t")], Err("no schema \"nosuch\"")),
        (
            &[("table", "named_not_yet"), ("schema.evolution", "none")],
            Err("no table \"named_not_yet\""),
        ),
    ] {
        let mut given = ConfigMap::from([("connection.url".to_owned(), server.url())]);
        for (option, value) in options {
            let key = match *option {
                "table" => "collection.name.format",
                key => key,
            };
            given.insert(key.to_owned(), (*value).to_owned());
        }
        let sinks = PostgresSink.sink_tables().unwrap();
        let config = sinks.config("named", &given, &rows).unwrap();
        let looked = sinks.look(&config, &rows).await;
        match (looked, expected) {
            (Ok(notes), Ok(None)) => assert_eq!(notes, Vec::<String>::new(), "{options:?}"),
            (Ok(notes), Ok(Some(note))) => assert!(notes[0].contains(note), "{notes:?}"),
            (Err(ConnectError::Config { key, message }), Err(error)) => {
                assert!(message.contains(error), "{message}");
                assert_eq!(key, "collection.name.format");
            }
            (looked, expected) => panic!("{options:?}: {looked:?}, not {expected:?}"),
        }
    }
}

async fn other_lives_of_a_topic(server: &Postgres) {
    let context = context(server, "lives", &[("pk.fields", "id")]);
    let mut task = open(&context, "lives").await;
    put(
        &mut task,
        &batch("lives", 0, &[("a", r#"{"n":1}"#), ("b", r#"{"n":1}"#)]),
    )
    .await;
    // The topic was made anew, or its offsets were reset: its first rows are not those that are there.
    assert_eq!(task.open(&[life("lives", "2")]).await.unwrap(), [].into());
    put(&mut task, &batch("lives", 0, &[("a", r#"{"n":2}"#)])).await;
    assert_eq!(
        task.open(&[life("lives", "2")]).await.unwrap(),
        [(TopicPartition::new("lives", 0), 1)].into()
    );
    assert_eq!(
        server.rows("SELECT n FROM lives ORDER BY id").await,
        ["2", "1"]
    );
    // What a version without incarnations wrote counts.
    let client = server.client().await;
    client
        .batch_execute("ALTER TABLE _thalweg_offsets DROP COLUMN incarnation")
        .await
        .unwrap();
    assert_eq!(
        task.open(&[life("lives", "3")]).await.unwrap(),
        [(TopicPartition::new("lives", 0), 1)].into()
    );
    put(&mut task, &batch("lives", 1, &[("a", r#"{"n":3}"#)])).await;
    assert_eq!(
        server
            .rows("SELECT next_offset, incarnation FROM _thalweg_offsets WHERE connector = 'lives'")
            .await,
        ["2|3"]
    );
}

async fn plain_inserts(server: &Postgres) {
    let context = context(
        server,
        "plain",
        &[
            ("insert.mode", "insert"),
            ("pk.mode", "record_value"),
            ("primary.key.mode", "record_value"),
            ("pk.fields", "n"),
            ("delete.enabled", "false"),
        ],
    );
    let mut task = open(&context, "plain").await;
    put(
        &mut task,
        &batch(
            "plain",
            0,
            &[("a", r#"{"n":1}"#), ("a", "null"), ("a", r#"{"n":2}"#)],
        ),
    )
    .await;
    let repeated = batch(
        "plain",
        3,
        &[
            ("a", r#"{"n":3}"#),
            ("a", r#"{"n":3}"#),
            ("a", r#"{"n":1}"#),
        ],
    );
    let PutReport::Rejected(rejected) = task.put(&repeated).await.unwrap() else {
        panic!("n repeats")
    };
    assert_eq!(
        rejected.iter().map(|row| row.index).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        server.rows("SELECT n FROM plain ORDER BY n").await,
        ["1", "2"]
    );
}

/// `insert.mode=update`: rows that are there change, others are passed over, and what is but a key changes nothing.
async fn updates_alone(server: &Postgres) {
    server.rows("CREATE TABLE updated (id int PRIMARY KEY, a int, b text); INSERT INTO updated VALUES (1, 1, 'x'), (2, 2, 'y')").await;
    let context = context(server, "updates", &[("insert.mode", "update")]);
    let mut task = open(&context, "updated").await;
    let rows = [
        (r#"{"id":1}"#, r#"{"a":10}"#),
        (r#"{"id":9}"#, r#"{"a":90}"#),
        (r#"{"id":1}"#, r#"{"b":"z"}"#),
        (r#"{"id":2}"#, "{}"),
    ];
    put(&mut task, &batch("updated", 0, &rows)).await;
    assert_eq!(
        server
            .rows("SELECT id, a, b FROM updated ORDER BY id")
            .await,
        ["1|10|z", "2|2|y"]
    );
    put(&mut task, &batch("updated", 4, &[(r#"{"id":2}"#, "null")])).await;
    assert_eq!(server.rows("SELECT id FROM updated").await, ["1"]);
    task.stop().await;
}

/// `primary.key.mode=kafka`: a record that comes again is the same row.
async fn keys_of_the_place_in_the_log(server: &Postgres) {
    let more = [("primary.key.mode", "kafka"), ("delete.enabled", "false")];
    let context = context(server, "places", &more);
    let mut task = open(&context, "placed").await;
    put(
        &mut task,
        &batch("placed", 5, &[("a", r#"{"v":1}"#), ("a", r#"{"v":2}"#)]),
    )
    .await;
    let sql =
        "SELECT __connect_topic, __connect_partition, __connect_offset, v FROM placed ORDER BY 3";
    assert_eq!(server.rows(sql).await, ["placed|0|5|1", "placed|0|6|2"]);
    let key = "SELECT count(*) FROM pg_index WHERE indrelid = 'placed'::regclass AND indisprimary";
    assert_eq!(server.rows(key).await, ["1"]);
    task.stop().await;
}

async fn a_second_task_is_fenced(server: &Postgres) {
    let context = context(server, "fence", &[("pk.fields", "id")]);
    let mut first = open(&context, "fence").await;
    put(&mut first, &batch("fence", 0, &[("a", r#"{"n":1}"#)])).await;
    let mut second = open(&context, "fence").await;
    put(&mut second, &batch("fence", 1, &[("a", r#"{"n":2}"#)])).await;
    let error = first
        .put(&batch("fence", 1, &[("a", r#"{"n":9}"#)]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Fatal(message) if message.contains("another task")),
        "{error}"
    );
    assert_eq!(server.rows("SELECT n FROM fence").await, ["2"]);
}

async fn validation(server: &Postgres) {
    let mut good = context(server, "v", &[("pk.fields", "id")]).config;
    good.insert("topics".to_owned(), "a, b".to_owned());
    assert_eq!(PostgresSink.validate(&good).await, []);
    for (key, value, text) in [
        ("table.name.format", "nosuch.t", "CREATE SCHEMA \"nosuch\""),
        ("schema.evolution", "none", "there is no table \"a\""),
    ] {
        let mut config = good.clone();
        config.insert(key.to_owned(), value.to_owned());
        let issues = PostgresSink.validate(&config).await;
        assert_eq!(issues[0].key, "collection.name.format", "{issues:?}");
        assert!(issues[0].message.contains(text), "{issues:?}");
        // What a transform makes of the topics is not known yet.
        config.insert("transforms".to_owned(), "route".to_owned());
        assert_eq!(PostgresSink.validate(&config).await, []);
    }
    for (key, value, at, text) in [
        (
            "connection.url",
            "jdbc:mysql://x/y",
            "connection.url",
            "postgresql://",
        ),
        (
            "connection.url",
            "postgresql://postgres@127.0.0.1:1/x",
            "connection.url",
            "cannot connect",
        ),
        (
            "connection.url",
            server
                .url()
                .replace(
                    &format!("{}/postgres", server.port),
                    &format!("{}/nope", server.port),
                )
                .as_str(),
            "connection.url",
            "does not exist",
        ),
        (
            "primary.key.mode",
            "none",
            "primary.key.mode",
            "needs a primary key",
        ),
    ] {
        let mut config = good.clone();
        config.insert(key.to_owned(), value.to_owned());
        let issues = PostgresSink.validate(&config).await;
        assert_eq!(issues[0].key, at, "{issues:?}");
        assert!(issues[0].message.contains(text), "{issues:?}");
    }
}

/// Which key of the configuration is wrong when the server wants to know who asks.
async fn passwords(server: &Postgres) {
    let hba = server.rows("SHOW hba_file").await.remove(0);
    let sql = format!(
        "CREATE ROLE locked LOGIN PASSWORD 'right'; COPY (VALUES ('host all locked all scram-sha-256'), \
         ('host all all all trust')) TO '{hba}'"
    );
    let client = server.client().await;
    client.batch_execute(&sql).await.unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let mut config = context(server, "p", &[("pk.fields", "id")]).config;
    config.insert("connection.username".to_owned(), "locked".to_owned());
    // The server takes its new rules a moment later.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let issues = loop {
        let issues = PostgresSink.validate(&config).await;
        if !issues.is_empty() {
            break issues;
        }
        assert!(tokio::time::Instant::now() < deadline);
    };
    assert_eq!(issues[0].key, "connection.password", "{issues:?}");
    config.insert("connection.password".to_owned(), "s3cr3t".to_owned());
    let issues = PostgresSink.validate(&config).await;
    assert_eq!(issues[0].key, "connection.password", "{issues:?}");
    assert!(
        issues[0].message.contains("password authentication failed")
            && !issues[0].message.contains("s3cr3t"),
        "{issues:?}"
    );
    config.insert("connection.password".to_owned(), "right".to_owned());
    assert_eq!(PostgresSink.validate(&config).await, []);
}

async fn large_batches(server: &Postgres) {
    let mut task = open(
        &context(
            server,
            "large",
            &[("pk.fields", "id"), ("batch.size", "1000")],
        ),
        "large",
    )
    .await;
    let rows: Vec<(String, String)> = (0..10_000)
        .map(|n| {
            (
                format!("k{}", n % 9_000),
                format!("{{\"n\":{n},\"text\":\"row {n}\"}}"),
            )
        })
        .collect();
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    put(&mut task, &batch("large", 0, &rows)).await;
    assert_eq!(
        server.rows("SELECT count(*), sum(n) FROM large").await,
        [format!("9000|{}", (1000..10_000).sum::<i64>())]
    );
}

async fn the_server_goes_away(server: &Postgres) {
    let mut task = open(&context(server, "away", &[("pk.fields", "id")]), "away").await;
    put(&mut task, &batch("away", 0, &[("a", r#"{"n":1}"#)])).await;
    server.kill();
    let next = batch("away", 1, &[("a", r#"{"n":2}"#)]);
    for _ in 0..2 {
        let error = task.put(&next).await.unwrap_err();
        assert!(error.retryable(), "{error}");
    }
    server.start_again();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = task.put(&next).await {
        assert!(
            error.retryable() && tokio::time::Instant::now() < deadline,
            "{error}"
        );
    }
    assert_eq!(server.rows("SELECT n FROM away").await, ["2"]);
}
