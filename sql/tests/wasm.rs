//! WASM functions: created from a file, checked, used in views and snapshots, and still there after a restart without
//! the file.

use std::path::PathBuf;
use std::process::Command;

use crate::fixture::{Fixture, SCHEMA};

/// A module of `udf-examples`, built where all tests build the guests.
fn module(name: &str) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../udf-examples");
    let target = std::env::var_os("THALWEG_UDF_TARGET").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/thalweg/udf"),
        PathBuf::from,
    );
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-unknown-unknown",
            "--locked",
        ])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join(format!("wasm32-unknown-unknown/release/{name}.wasm"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_live_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("delay_class.wasm");
    std::fs::copy(module("delay_class"), &file).expect("the module is copied");
    let file_text = file.display().to_string();

    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    let wrong = fixture
        .refused(&format!(
            "CREATE FUNCTION delay_class(x INT) RETURNS TEXT LANGUAGE wasm AS 'file:{file_text}'"
        ))
        .await;
    assert_eq!(
        (wrong.code.as_str(), wrong.column),
        ("TW1402", Some(31)),
        "{wrong}"
    );
    let wrong = fixture
        .refused(&format!(
            "CREATE FUNCTION delay_clas LANGUAGE wasm AS 'file:{file_text}'"
        ))
        .await;
    assert_eq!(
        wrong.suggestion.expect("a suggestion").replacement,
        "delay_class"
    );
    fixture
        .run(&format!(
            "CREATE FUNCTION delay_class(x DOUBLE) RETURNS TEXT LANGUAGE wasm AS 'file:{file_text}';
             CREATE FUNCTION kilometres LANGUAGE wasm AS 'file:{file_text}';
             CREATE MATERIALIZED VIEW delays AS
               SELECT window_start, window_end, a.name, count(*) AS flights, avg(dep_delay) AS avg_delay,
                      delay_class(avg(dep_delay)) AS class
               FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') f JOIN airlines a ON f.carrier = a.carrier
               GROUP BY window_start, window_end, a.name;
             INSERT INTO airlines VALUES ('UA', 'United'), ('AA', 'American');
             INSERT INTO flights (scheduled, carrier, dep_delay, distance) VALUES
               ('2013-01-01T10:15:00Z', 'UA', 2, 1400), ('2013-01-01T10:29:00Z', 'UA', 40, 1416),
               ('2013-01-01T10:40:00Z', 'AA', NULL, 1089), ('2013-01-01T11:00:00Z', 'AA', -3, 1089)"
        ))
        .await;
    let expected = [
        [
            "2013-01-01T10:00:00",
            "2013-01-01T11:00:00",
            "American",
            "1",
            "NULL",
            "NULL",
        ],
        [
            "2013-01-01T10:00:00",
            "2013-01-01T11:00:00",
            "United",
            "2",
            "21.0",
            "late",
        ],
        [
            "2013-01-01T11:00:00",
            "2013-01-01T12:00:00",
            "American",
            "1",
            "-3.0",
            "early",
        ],
    ];
    assert_eq!(fixture.sorted("SELECT * FROM delays").await, expected);
    let kilometres = "SELECT kilometres(distance) FROM flights WHERE carrier = 'AA' LIMIT 1";
    assert_eq!(fixture.rows(kilometres).await, [["1752.575616"]]);
    assert_eq!(
        fixture.refused("DROP FUNCTION delay_class").await.code,
        "TW1106"
    );
    let failed = fixture
        .refused("SELECT delay_class(CAST('NaN' AS DOUBLE)) FROM flights")
        .await;
    assert_eq!(failed.code, "TW2001", "{failed}");
    assert!(failed.message.contains("NaN"), "{failed}");

    std::fs::remove_file(&file).expect("the file goes");
    let fixture = fixture.restart().await;
    assert_eq!(fixture.sorted("SELECT * FROM delays").await, expected);
    fixture.run("INSERT INTO flights (scheduled, carrier, dep_delay) VALUES ('2013-01-01T11:30:00Z', 'AA', 200)").await;
    assert_eq!(
        fixture.sorted("SELECT class FROM delays").await,
        [["NULL"], ["late"], ["very late"]]
    );
    assert_eq!(fixture.rows("SHOW FUNCTIONS").await.len(), 2);
}

/// The planner evaluates a constant call more than ten times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constant_that_does_not_end_takes_one_deadline() {
    let fixture = Fixture::new().await;
    let file = module("evil").display().to_string();
    fixture
        .run(&format!(
            "CREATE FUNCTION evil LANGUAGE wasm AS 'file:{file}'"
        ))
        .await;
    let started = std::time::Instant::now();
    let failed = fixture.refused("SELECT evil('spin')").await;
    assert!(failed.message.contains("ran longer"), "{failed}");
    let deadline = connect_sandbox::SandboxConfig::default().call_deadline;
    assert!(started.elapsed() < 10 * deadline, "{:?}", started.elapsed());
}

/// A guest runs against a deadline: what it said when a row came is kept until the row goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_with_what_a_guest_has_said_of_them() {
    let file = module("delay_class").display().to_string();
    let fixture = Fixture::new().await;
    fixture
        .run(&format!(
            "CREATE FUNCTION delay_class LANGUAGE wasm AS 'file:{file}';
             CREATE TABLE waits (id INTEGER PRIMARY KEY, minutes DOUBLE);
             CREATE TABLE sites (id INTEGER PRIMARY KEY, name TEXT);
             CREATE MATERIALIZED VIEW classes AS SELECT id, delay_class(minutes) AS class FROM waits WHERE delay_class(minutes) <> 'none';
             CREATE MATERIALIZED VIEW counts AS SELECT delay_class(minutes) AS class, count(*) AS n FROM waits GROUP BY 1;
             CREATE MATERIALIZED VIEW pairs AS
               SELECT w.id, s.name FROM waits w JOIN sites s ON w.id = s.id AND delay_class(w.minutes) <> s.name"
        ))
        .await;
    let steps = [
        "INSERT INTO waits VALUES (1, 1), (2, 50), (3, 500), (4, NULL)",
        "INSERT INTO sites VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO waits VALUES (1, 70), (2, 50), (3, 2)",
        "DELETE FROM waits WHERE id IN (2, 4)",
    ];
    for step in steps {
        fixture.run(step).await;
        for (view, query) in [
            (
                "classes",
                "SELECT id, delay_class(minutes) AS class FROM waits WHERE delay_class(minutes) <> 'none'",
            ),
            (
                "counts",
                "SELECT delay_class(minutes) AS class, count(*) AS n FROM waits GROUP BY 1",
            ),
            (
                "pairs",
                "SELECT w.id, s.name FROM waits w JOIN sites s ON w.id = s.id AND delay_class(w.minutes) <> s.name",
            ),
        ] {
            let streamed = fixture.sorted(&format!("SELECT * FROM {view}")).await;
            assert_eq!(streamed, fixture.sorted(query).await, "{view} after {step}");
        }
    }
    let explained = fixture.rows("EXPLAIN classes").await;
    let kept = explained
        .iter()
        .filter(|line| line[0].contains("[keeps what each row gave]"));
    assert_eq!(kept.count(), 2, "{explained:?}");
}

/// Views go on with a module that takes the place of theirs; the catalog finds its order again after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_replaced_under_its_views() {
    let file = module("delay_class").display().to_string();
    let fixture = Fixture::new().await;
    let made = fixture
        .run(&format!(
            "CREATE OR REPLACE FUNCTION delay_class LANGUAGE wasm AS 'file:{file}';
             CREATE TABLE waits (id INTEGER PRIMARY KEY, minutes DOUBLE);
             CREATE MATERIALIZED VIEW classes AS SELECT id, delay_class(minutes) AS class FROM waits;
             CREATE MATERIALIZED VIEW late AS SELECT id FROM classes WHERE class = 'late';
             INSERT INTO waits VALUES (1, 20), (2, 1)"
        ))
        .await;
    assert!(
        format!("{:?}", made[0]).contains("created function delay_class"),
        "{made:?}"
    );
    assert_eq!(fixture.rows("SELECT * FROM late").await, [["1"]]);
    let refused = fixture
        .refused(&format!(
            "CREATE FUNCTION delay_class LANGUAGE wasm AS 'file:{file}'"
        ))
        .await;
    assert!(refused.help.unwrap_or_default().contains("OR REPLACE"));
    let refused = fixture
        .refused(&format!(
            "CREATE OR REPLACE FUNCTION delay_class LANGUAGE wasm AS 'file:{}'",
            module("evil").display()
        ))
        .await;
    assert_eq!(refused.code, "TW1402", "{refused}");

    let replaced = fixture
        .run(&format!(
            "CREATE OR REPLACE FUNCTION delay_class LANGUAGE wasm AS 'file:{file}'"
        ))
        .await;
    let told = format!("{replaced:?}");
    assert!(
        told.contains("replaced function delay_class")
            && told.contains("view classes goes on with it"),
        "{told}"
    );
    fixture
        .run("INSERT INTO waits VALUES (3, 30), (1, 2)")
        .await;
    assert_eq!(fixture.rows("SELECT * FROM late").await, [["3"]]);
    let fixture = fixture.restart().await;
    fixture.run("INSERT INTO waits VALUES (4, 40)").await;
    assert_eq!(fixture.sorted("SELECT * FROM late").await, [["3"], ["4"]]);
    assert_eq!(
        fixture.refused("DROP FUNCTION delay_class").await.code,
        "TW1106"
    );
}

/// What a guest says is found where its users look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_says_is_told() {
    let file = module("evil").display().to_string();
    let fixture = Fixture::new().await;
    fixture
        .run(&format!(
            "CREATE FUNCTION evil LANGUAGE wasm AS 'file:{file}';
             CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT);
             CREATE MATERIALIZED VIEW said AS SELECT id, evil(word) AS answer FROM words"
        ))
        .await;
    let why = async |name: &str| {
        let rows = fixture.rows(&format!("EXPLAIN WHY {name}")).await;
        rows.into_iter()
            .map(|row| row.join(" "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let before = why("evil").await;
    assert!(
        before.contains("called by said\nevil has said nothing"),
        "{before}"
    );
    fixture.run("INSERT INTO words VALUES (1, 'panic')").await;
    assert!(fixture.rows("SELECT * FROM said").await.is_empty());
    let after = why("evil").await;
    assert!(after.contains("the guest gave up on purpose"), "{after}");
    let view = why("said").await;
    assert!(view.contains("function evil said "), "{view}");
}
