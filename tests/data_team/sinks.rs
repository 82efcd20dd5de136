//! Rows of SQL in a table of a database: one statement makes the job and the connector, and takes both down again.

use serde_json::json;

use crate::fixture::postgres::Postgres;
use crate::fixture::process::Server;
use crate::fixture::{block_on, until};

async fn table(database: &Postgres, sql: &str, expected: &[&str]) {
    let rows = || async { database.rows(sql).await.unwrap_or_default() };
    until(sql, rows, |rows| *rows == expected).await;
}

#[test]
fn a_view_is_kept_in_a_table_until_its_sink_is_dropped() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let database = Postgres::start().await;
        let client = database.connect().await;
        client
            .batch_execute("CREATE TABLE totals (city text PRIMARY KEY, n bigint, amount numeric(10,2), last date)")
            .await
            .unwrap();
        let mut server = Server::start(&data);
        server
            .sql(
                "CREATE TABLE trips (id BIGINT PRIMARY KEY, city TEXT, amount DECIMAL(10,2), day DATE); \
                 CREATE MATERIALIZED VIEW by_city AS \
                 SELECT city, count(*) AS n, sum(amount) AS amount, max(day) AS last FROM trips GROUP BY city",
            )
            .await;
        let options = format!(
            "host = '127.0.0.1', port = {}, user = 'postgres', database = 'postgres'",
            database.port()
        );
        let wrong = format!(
            "CREATE SINK s FROM by_city WITH (connector = 'postgres', {options}, tabel = 'totals')"
        );
        let error = server.try_sql(&wrong).await.unwrap_err();
        assert!(
            error["message"].as_str().unwrap().contains("tabel"),
            "{error}"
        );
        let made = server
            .sql(&format!(
                "CREATE SINK s FROM by_city WITH (connector = 'postgres', {options}, table = 'totals', password = 'secret')"
            ))
            .await;
        assert!(
            json!(made)
                .to_string()
                .contains("connector s takes the rows"),
            "{made:?}"
        );
        let refused = "takes no NULL in \\\"city\\\"";
        assert!(json!(made).to_string().contains(refused), "{made:?}");
        assert!(!json!(made).to_string().contains("of before"), "{made:?}");
        server
            .sql("INSERT INTO trips VALUES (1, 'Ulm', 1.50, '2024-05-01'), (2, 'Ulm', 2.00, '2024-05-02'), (3, 'Bonn', 3.00, NULL)")
            .await;
        let all = "SELECT city, n, amount, last FROM totals ORDER BY city";
        table(&database, all, &["Bonn|1|3.00|", "Ulm|2|3.50|2024-05-02"]).await;
        server.kill();
        server = Server::start(&data);
        server.sql("DELETE FROM trips WHERE id = 3").await;
        server
            .sql("INSERT INTO trips VALUES (4, 'Ulm', 0.25, '2024-04-01')")
            .await;
        table(&database, all, &["Ulm|3|3.75|2024-05-02"]).await;
        let shown = json!(server.sql("SHOW CREATE SINK s").await).to_string();
        assert!(!shown.contains("secret"), "{shown}");
        let described = json!(server.sql("DESCRIBE s").await).to_string();
        assert!(described.contains("connector s is RUNNING"), "{described}");
        // A group of NULL and the total are rows like any other.
        server
            .sql(&format!(
                "CREATE SINK rolled AS SELECT city, sum(amount) AS amount FROM trips GROUP BY ROLLUP (city) \
                 WITH (connector = 'postgres', {options})"
            ))
            .await;
        server
            .sql("INSERT INTO trips VALUES (5, NULL, 1.00, NULL)")
            .await;
        let all = "SELECT city, amount::numeric(10,2) FROM rolled ORDER BY city, amount";
        table(&database, all, &["Ulm|3.75", "|1.00", "|4.75"]).await;
        // One that cannot work says why: the rows of NULL do not fit the table's primary key.
        let why = || async { json!(server.sql("EXPLAIN WHY s").await).to_string() };
        until("the cause", why, |why| why.contains("null value in column")).await;
        let listed = "SELECT name, kind, state, failed_tasks FROM sys.connectors ORDER BY name";
        let listed = json!(server.sql(listed).await);
        assert_eq!(
            listed,
            json!([
                {"name": "rolled", "kind": "sink", "state": "RUNNING", "failed_tasks": 0},
                {"name": "s", "kind": "sink", "state": "RUNNING", "failed_tasks": 1},
            ])
        );
        server.sql("DELETE FROM trips WHERE id = 5").await;
        server.sql("DROP SINK rolled").await;
        // Rows that only come are inserted.
        server
            .sql(&format!(
                "CREATE SOURCE raw (a BIGINT, b TEXT); \
                 CREATE SINK lines AS SELECT a, b FROM raw WITH (connector = 'jdbc', url = '{}')",
                database.url()
            ))
            .await;
        server
            .sql("INSERT INTO raw VALUES (1, 'x'), (1, 'x')")
            .await;
        table(&database, "SELECT a, b FROM lines", &["1|x", "1|x"]).await;
        server.sql("DROP SINK s").await;
        server.sql("DROP SINK lines").await;
        // The topic stays: of its rows another sink tells.
        let lines = format!(
            "CREATE SINK lines AS SELECT a + 1 AS a, b FROM raw WITH (connector = 'jdbc', url = '{}')",
            database.url()
        );
        let made = json!(server.sql(&lines).await).to_string();
        assert!(made.contains("its records of before (up to "), "{made}");
        server.sql("DROP SINK lines").await;
        assert_eq!(
            server.connect("GET", "/connectors", None).await,
            (200, json!([]))
        );
    });
}
