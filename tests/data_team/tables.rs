//! Tables of a database declared in SQL: the statement makes the connector, tells what is wrong with it, and DROP takes
//! everything down again.

use serde_json::{Value, json};

use crate::fixture::postgres::Postgres;
use crate::fixture::process::Server;
use crate::fixture::{block_on, until};

/// `CREATE kind name WITH (connector …)` of a table of the database.
fn declare(what: &str, database: &Postgres, table: &str, more: &str) -> String {
    format!(
        "CREATE {what} WITH (connector = 'postgres-cdc', hostname = '127.0.0.1', port = {}, username = 'postgres', \
         database.name = 'postgres', table.name = '{table}'{more})",
        database.port()
    )
}

/// Slots and publications of the database.
async fn left_at(database: &Postgres) -> Vec<String> {
    let sql = "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication";
    database.rows(sql).await.unwrap()
}

async fn rows(server: &Server, sql: &str, expected: Value) {
    until(
        sql,
        || async { server.try_sql(sql).await },
        |answer| answer.as_ref().is_ok_and(|rows| json!(rows) == expected),
    )
    .await
    .unwrap();
}

#[test]
fn a_declared_table_is_captured_joined_and_taken_down() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute(
                "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, since date);
                 CREATE SCHEMA shop;
                 CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer int, amount numeric(10,2), placed timestamp(3));
                 INSERT INTO customers VALUES (1, 'Ada', '2024-02-29'), (2, 'Bob', NULL);
                 INSERT INTO shop.orders VALUES (10, 1, 12.34, '2024-05-01 10:00:00.5');",
            )
            .await
            .unwrap();
        let mut server = Server::start(&data);
        let made = server
            .sql(&declare("TABLE customers", &database, "customers", ""))
            .await;
        let said = json!(made).to_string();
        assert!(said.contains("customers.public.customers"), "{said}");
        server
            .sql(&declare(
                "SOURCE orders",
                &database,
                "shop.orders",
                ", schema.name = 'shop'",
            ))
            .await;
        server
            .sql(
                "CREATE MATERIALIZED VIEW spent AS SELECT c.name, sum(o.amount) AS amount, max(o.placed) AS last \
                 FROM orders o JOIN customers c ON c.id = o.customer GROUP BY c.name",
            )
            .await;
        rows(
            &server,
            "SELECT * FROM spent",
            json!([{"name": "Ada", "amount": "12.34", "last": "2024-05-01T10:00:00.5"}]),
        )
        .await;
        rows(
            &server,
            "SELECT id, since FROM customers ORDER BY id",
            json!([{"id": 1, "since": "2024-02-29"}, {"id": 2, "since": null}]),
        )
        .await;
        client
            .batch_execute(
                "INSERT INTO shop.orders VALUES (11, 2, 1.00, '2024-05-02'), (12, 1, 0.66, '2024-05-03');
                 UPDATE customers SET name = 'Bo' WHERE id = 2; DELETE FROM shop.orders WHERE id = 10;",
            )
            .await
            .unwrap();
        let after = json!([
            {"name": "Ada", "amount": "0.66", "last": "2024-05-03T00:00:00"},
            {"name": "Bo", "amount": "1.00", "last": "2024-05-02T00:00:00"},
        ]);
        rows(&server, "SELECT * FROM spent ORDER BY name", after.clone()).await;
        // The connectors are there after a crash, and are made once.
        server.kill();
        server = Server::start(&data);
        client
            .batch_execute("INSERT INTO shop.orders VALUES (13, 2, 1.50, '2024-05-04')")
            .await
            .unwrap();
        rows(
            &server,
            "SELECT amount FROM spent WHERE name = 'Bo'",
            json!([{"amount": "2.50"}]),
        )
        .await;
        let (_, connectors) = server.connect("GET", "/connectors", None).await;
        assert_eq!(connectors, json!(["customers", "orders"]));
        for statement in ["DESCRIBE orders", "EXPLAIN WHY orders"] {
            until(
                statement,
                || async { json!(server.sql(statement).await).to_string() },
                |told| told.contains("connector orders is RUNNING") && told.contains("streaming"),
            )
            .await;
        }
        let refused = server
            .try_sql("INSERT INTO customers VALUES (3, 'C', NULL)")
            .await;
        let refused = refused.unwrap_err()["message"].to_string();
        assert!(refused.contains("connector"), "{refused}");
        server.sql("DROP MATERIALIZED VIEW spent").await;
        server.sql("DROP SOURCE orders").await;
        assert_eq!(left_at(&database).await, ["thalweg_customers"; 2]);
        server.sql("DROP TABLE customers").await;
        assert_eq!(left_at(&database).await, [""; 0]);
        let (_, connectors) = server.connect("GET", "/connectors", None).await;
        assert_eq!(connectors, json!([]));
        // The same name begins anew: what was deleted in between is not there.
        client
            .batch_execute("DELETE FROM customers WHERE id = 1")
            .await
            .unwrap();
        server
            .sql(&declare("TABLE customers", &database, "customers", ""))
            .await;
        rows(
            &server,
            "SELECT name FROM customers",
            json!([{"name": "Bo"}]),
        )
        .await;
    });
}

#[test]
fn what_keeps_a_connector_from_working_is_told_in_the_statement() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute(
                "CREATE TABLE plain (a int); CREATE TABLE kept (id int PRIMARY KEY, n int);
                 CREATE ROLE weak LOGIN;",
            )
            .await
            .unwrap();
        let server = Server::start(folder.path());
        let weak = declare("SOURCE s", &database, "kept", "")
            .replace("username = 'postgres'", "username = 'weak'");
        let elsewhere =
            declare("SOURCE s", &database, "kept", "").replace("127.0.0.1", "127.0.0.2");
        let port = database.port().to_string();
        let nowhere =
            declare("SOURCE s", &database, "kept", "").replace("127.0.0.1", "no.such.host.invalid");
        let misnamed = declare("SOURCE s", &database, "kept", ", hostnam = 'h'");
        let missing = "CREATE SOURCE s WITH (connector = 'postgres-cdc', hostname = '127.0.0.1')";
        let unknown = "CREATE SOURCE s WITH (connector = 'oracle-cdc', hostname = 'x')";
        for (statement, at, words) in [
            (
                declare("SOURCE s", &database, "kep", ""),
                "'kep'",
                "has no table public.kep; it has public.kept, public.plain",
            ),
            (
                declare("SOURCE s", &database, "plain", ""),
                "'plain'",
                "ALTER TABLE public.plain ADD PRIMARY KEY",
            ),
            (
                declare("SOURCE s", &database, "kept", ", slot.nmae = 'x'"),
                "'x'",
                "slot.name",
            ),
            (
                declare("SOURCE s", &database, "kept", ", slot.name = 'X-1'"),
                "'X-1'",
                "lower case letters",
            ),
            (
                declare("SOURCE s", &database, "kept", ", topic = 't'"),
                "topic",
                "topic.prefix",
            ),
            (
                declare(
                    "SOURCE s",
                    &database,
                    "kept",
                    ", decimal.handling.mode = 'double'",
                ),
                "'double'",
                "leave it out",
            ),
            (
                declare("SOURCE s (id INT, m INT)", &database, "kept", ""),
                "m",
                "no column",
            ),
            (weak, "'weak'", "may not"),
            // The host is there, nobody listens at the port.
            (elsewhere, port.as_str(), "onnect"),
            (nowhere, "'no.such.host.invalid'", "onnect"),
            (misnamed, "'h'", "is hostname meant?"),
            (missing.to_owned(), "connector", "username"),
            (unknown.to_owned(), "'oracle-cdc'", "postgres-cdc"),
        ] {
            let error = server.try_sql(&statement).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(words), "{statement}\n{error:#}");
            let place = |end: &str| error["span"][end]["column"].as_u64().unwrap_or(1) as usize - 1;
            let marked = &statement[place("start")..place("end")];
            assert_eq!(marked, at, "{statement}\n{error:#}");
        }
        assert_eq!(server.sql("SHOW SOURCES").await.len(), 0);
        assert_eq!(left_at(&database).await, [""; 0]);
        let (_, connectors) = server.connect("GET", "/connectors", None).await;
        assert_eq!(connectors, json!([]));
    });
}

#[test]
fn a_slot_has_one_object() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);")
            .await
            .unwrap();
        let server = Server::start(folder.path());
        let mine = ", slot.name = 'mine', publication.name = 'mine'";
        server.sql(&declare("TABLE a", &database, "a", mine)).await;
        server
            .sql(&declare("TABLE \"x-y\"", &database, "a", ""))
            .await;
        // Stopped, it goes on with its slot later.
        let (status, _) = server.connect("PUT", "/connectors/a/stop", None).await;
        assert_eq!(status, 204);
        for (what, more, words) in [
            ("TABLE b", mine, "is connector a's"),
            (
                "TABLE b",
                ", slot.name = 'mine'",
                "choose another slot.name",
            ),
            ("TABLE b", ", publication.name = 'mine'", "'disabled'"),
            // A name of its own, which is another object's own too.
            ("TABLE x_y", "", "is connector x-y's"),
        ] {
            let statement = declare(what, &database, "b", more);
            for statement in [
                statement.clone(),
                statement.replace("127.0.0.1", "localhost"),
            ] {
                let error = server.try_sql(&statement).await.unwrap_err();
                assert!(error.to_string().contains(words), "{statement}\n{error:#}");
            }
        }
        let (_, connectors) = server.connect("GET", "/connectors", None).await;
        assert_eq!(connectors, json!(["a", "x-y"]));
        // A publication that somebody made keeps its tables.
        client
            .batch_execute("CREATE PUBLICATION theirs FOR TABLE a, b")
            .await
            .unwrap();
        let theirs = ", slot.name = 'other', publication.name = 'theirs'";
        let error = server
            .try_sql(&declare("TABLE b", &database, "b", theirs))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("sends \\\"public\\\".\\\"a\\\" too"),
            "{error:#}"
        );
        let left_alone = format!("{theirs}, publication.autocreate.mode = 'disabled'");
        server
            .sql(&declare("TABLE b", &database, "b", &left_alone))
            .await;
        rows(&server, "SELECT id FROM b", json!([{"id": 1}])).await;
        let sent = "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'theirs'";
        assert_eq!(database.rows(sent).await.unwrap(), ["2"]);
    });
}

#[test]
fn every_type_reads_in_sql_as_it_stands_in_the_table() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute(
                "CREATE TYPE mood AS ENUM ('sad', 'ok');
                 CREATE TABLE types (id int PRIMARY KEY, b boolean, s smallint, l bigint, r real, d double precision,
                   n numeric(38,10), m numeric, t text, v varchar(5), c char(3), u uuid, e mood, j jsonb, x bytea,
                   day date, clock time, at timestamp(3), zoned timestamptz, a int[], w text[], many numeric(5,1)[]);
                 INSERT INTO types VALUES (1, true, -32768, 9223372036854775807, 1.5, 0.1,
                   1234567890123456789012345678.0123456789, 1e40, 'ä\"', 'v', 'c', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
                   'ok', '{\"a\": [1]}', '\\x00ff', '0001-01-01', '24:00', '2024-05-01 10:00:00.123',
                   '2024-05-01 12:00:00.5+02', '{1,NULL,3}', '{\"a,b\",NULL}', '{1.5}');
                 INSERT INTO types (id) VALUES (2);",
            )
            .await
            .unwrap();
        let server = Server::start(folder.path());
        server
            .sql(&declare("TABLE types", &database, "types", ""))
            .await;
        let full = json!({
            "id": 1, "b": true, "s": -32768, "l": 9_223_372_036_854_775_807_i64, "r": 1.5, "d": 0.1,
            "n": "1234567890123456789012345678.0123456789", "m": "10000000000000000000000000000000000000000",
            "t": "ä\"", "v": "v", "c": "c  ", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "e": "ok", "j": "{\"a\": [1]}",
            "x": "AP8=", "day": "0001-01-01", "clock": "24:00:00", "at": "2024-05-01T10:00:00.123",
            "zoned": "2024-05-01T10:00:00.5Z", "a": [1, null, 3], "w": ["a,b", null], "many": ["1.5"],
        });
        let mut empty = full.clone();
        for (name, value) in empty.as_object_mut().unwrap() {
            *value = if name == "id" { json!(2) } else { Value::Null };
        }
        let both = json!([full, empty]);
        rows(&server, "SELECT * FROM types ORDER BY id", both.clone()).await;
        // What the stream brings reads the same.
        client
            .batch_execute("CREATE TABLE kept AS TABLE types; DELETE FROM types; INSERT INTO types TABLE kept;")
            .await
            .unwrap();
        until(
            "the stream",
            || async { json!(server.sql("EXPLAIN WHY types").await).to_string() },
            |told| told.contains("holds 8 records"),
        )
        .await;
        rows(&server, "SELECT * FROM types ORDER BY id", both).await;
    });
}

/// Times without end and before our era are values that every row has.
#[test]
fn times_without_end_read_as_the_ends_of_sqls_years() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        let filled = "INSERT INTO terms VALUES ('infinity', 'infinity', 'infinity', 'Infinity'), \
                      ('-infinity', '-infinity', '-infinity', '-Infinity'), \
                      ('0044-03-15 BC', '0044-03-15 10:00 BC', '0044-03-15 10:00+00 BC', 'NaN')";
        client
            .batch_execute(&format!(
                "CREATE TABLE terms (day date PRIMARY KEY, at timestamp(3), zoned timestamptz, n numeric); {filled};"
            ))
            .await
            .unwrap();
        let server = Server::start(folder.path());
        server
            .sql(&declare("TABLE terms", &database, "terms", ""))
            .await;
        let all = json!([
            {"day": "-0043-03-15", "at": "-0043-03-15T10:00:00", "zoned": "-0043-03-15T10:00:00Z", "n": "NaN"},
            {"day": "0001-01-01", "at": "0001-01-01T00:00:00", "zoned": "0001-01-01T00:00:00Z", "n": "-Infinity"},
            {"day": "9999-12-31", "at": "9999-12-31T23:59:59.999", "zoned": "9999-12-31T23:59:59.999999Z", "n": "Infinity"},
        ]);
        rows(&server, "SELECT * FROM terms ORDER BY day", all.clone()).await;
        // The stream, too, finds the rows by their keys.
        client
            .batch_execute(&format!("DELETE FROM terms; {filled}"))
            .await
            .unwrap();
        until(
            "the stream",
            || async { json!(server.sql("EXPLAIN WHY terms").await).to_string() },
            |told| told.contains("holds 12 records"),
        )
        .await;
        rows(&server, "SELECT * FROM terms ORDER BY day", all).await;
        let infinite =
            "SELECT count(*) AS n FROM terms WHERE n = 'Infinity' AND n::DOUBLE PRECISION > 1e300";
        rows(&server, infinite, json!([{"n": 1}])).await;
    });
}

#[test]
fn rows_that_are_still_to_be_read_are_told() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);")
            .await
            .unwrap();
        let server = Server::start(folder.path());
        // The connector waits for the table.
        let mut blocking = database.connect().await;
        let lock = blocking.transaction().await.unwrap();
        lock.batch_execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        let made = json!(server.sql(&declare("TABLE t", &database, "t", "")).await).to_string();
        assert!(made.contains("reads the rows that are there"), "{made}");
        let made = server
            .sql("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM t")
            .await;
        let why = server.sql("EXPLAIN WHY n").await;
        for told in [json!(made).to_string(), json!(why).to_string()] {
            assert!(
                told.contains("table t is without rows that its connector has still to read"),
                "{told}"
            );
        }
        for (query, so_far) in [("SELECT count(*) AS n FROM t", 0), ("SELECT n FROM n", 0)] {
            let answer = json!(server.sql(query).await);
            assert_eq!(answer[0], json!({"n": so_far}), "{answer:#}");
            let notice = answer[1]["notices"][0].to_string();
            assert!(
                notice.contains("table t is without rows that its connector has still to read"),
                "{answer:#}"
            );
        }
        lock.rollback().await.unwrap();
        for query in ["SELECT count(*) AS n FROM t", "SELECT n FROM n"] {
            rows(&server, query, json!([{"n": 1000}])).await;
        }
        // What has stopped stays as it is, which is told, too.
        let (status, _) = server.connect("PUT", "/connectors/t/stop", None).await;
        assert_eq!(status, 204);
        let stopped = || async { json!(server.sql("SELECT n FROM n").await).to_string() };
        until("the notice", stopped, |told| {
            told.contains("table t is no further than its connector, which is STOPPED")
        })
        .await;
        let made = server
            .sql("CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t")
            .await;
        let made = json!(made).to_string();
        assert!(
            made.contains("table t is no further than its connector, which is STOPPED"),
            "{made}"
        );
    });
}

/// A crash in the middle of a DROP leaves nothing that is there and does nothing.
#[test]
fn a_drop_that_a_crash_cut_off_is_finished() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute(
                "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1);",
            )
            .await
            .unwrap();
        let mut server = Server::start(folder.path());
        for statement in ["DROP SINK copy", "DROP TABLE t CASCADE"] {
            server
                .sql(&format!(
                    "{};",
                    declare("TABLE IF NOT EXISTS t", &database, "t", "")
                ))
                .await;
            server
                .sql(&format!(
                    "CREATE SINK copy AS SELECT id, n + 1 AS n FROM t WITH (connector = 'postgres', host = '127.0.0.1', \
                     port = {}, user = 'postgres', database = 'postgres', table = 'copy_of_t')",
                    database.port()
                ))
                .await;
            let copied = || async { database.rows("SELECT count(*) FROM copy_of_t").await };
            until(
                "the copy",
                copied,
                |rows| matches!(rows, Ok(rows) if *rows == ["1"]),
            )
            .await
            .unwrap();
            // The sink's task waits for the table, and the DROP for the task.
            let mut blocking = database.connect().await;
            let lock = blocking.transaction().await.unwrap();
            lock.batch_execute("LOCK TABLE copy_of_t IN ACCESS EXCLUSIVE MODE")
                .await
                .unwrap();
            client
                .batch_execute("UPDATE t SET n = n + 1")
                .await
                .unwrap();
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'copy_of_t'::regclass";
            let waits = || async { database.rows(waiting).await };
            until(
                "the task",
                waits,
                |rows| matches!(rows, Ok(rows) if *rows == ["1"]),
            )
            .await
            .unwrap();
            let state = || async {
                let (_, status) = server.connect("GET", "/connectors/copy/status", None).await;
                status["connector"]["state"].clone()
            };
            tokio::select! {
                answer = server.try_sql(statement) => panic!("it was carried out: {answer:?}"),
                _ = until("the drop", state, |state| state == "STOPPED") => {}
            }
            server.kill();
            lock.rollback().await.unwrap();
            server = Server::start(folder.path());
            let sinks = || async { json!(server.sql("SHOW SINKS").await) };
            until("no sink", sinks, |sinks| *sinks == json!([])).await;
            let (_, connectors) = server.connect("GET", "/connectors", None).await;
            let is_whole = statement.ends_with("CASCADE");
            if is_whole {
                let tables = || async { json!(server.sql("SHOW TABLES").await) };
                until("no table", tables, |tables| *tables == json!([])).await;
                assert_eq!(left_at(&database).await, [""; 0]);
            } else {
                assert_eq!(connectors, json!(["t"]));
            }
            client
                .batch_execute("DROP TABLE copy_of_t; UPDATE t SET n = 1")
                .await
                .unwrap();
        }
    });
}
