//! A WASM engineer's way: a new project, its first build, the function in SQL, the next build in its place.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::fixture::block_on;
use crate::fixture::process::{Server, thalweg};

/// A project that `thalweg wasm new` makes, outside of every workspace.
struct Project {
    folder: PathBuf,
    name: &'static str,
}

impl Project {
    fn new(name: &'static str, kind: &str) -> Self {
        // A place of its own that stays the same: cargo builds again only what has changed.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("wasm-projects")
            .join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        let made = thalweg()
            .args(["wasm", "new"])
            .arg(&folder)
            .args(["--kind", kind])
            .output()
            .unwrap();
        let text = said(&made);
        assert!(
            text.contains("\n  cargo build --release --target wasm32-unknown-unknown\n"),
            "{text}"
        );
        assert!(
            text.contains(&format!(
                "  thalweg wasm check target/wasm32-unknown-unknown/release/{name}.wasm"
            )),
            "{text}"
        );
        let again = thalweg()
            .args(["wasm", "new"])
            .arg(&folder)
            .output()
            .unwrap();
        assert_eq!(again.status.code(), Some(1), "nothing is overwritten");
        Self { folder, name }
    }

    /// Builds it with nothing but the crates that the machine has; returns the module.
    fn build(&self) -> PathBuf {
        let target = std::env::var_os("THALWEG_UDF_TARGET").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/thalweg/udf"),
            PathBuf::from,
        );
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--release",
                "--target",
                "wasm32-unknown-unknown",
                "--offline",
            ])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        said(&built);
        let module = target.join(format!("wasm32-unknown-unknown/release/{}.wasm", self.name));
        let kept = self.folder.join(format!("{}.wasm", self.name));
        std::fs::copy(module, &kept).unwrap();
        kept
    }

    fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.folder.join("src/lib.rs");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(text)).unwrap();
    }
}

/// What a command that must succeed has printed.
fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn check(module: &Path) -> String {
    said(
        &thalweg()
            .args(["wasm", "check"])
            .arg(module)
            .output()
            .unwrap(),
    )
}

#[test]
fn a_new_project_builds_runs_in_sql_and_is_replaced_under_its_view() {
    block_on(async {
        let project = Project::new("minutes", "function");
        let module = project.build();
        let told = check(&module);
        assert!(told.starts_with("minutes.wasm is fine: "), "{told}");
        assert!(
            told.contains("\n  delay_class(DOUBLE) RETURNS TEXT\n"),
            "{told}"
        );
        let create = told
            .lines()
            .find(|line| line.trim_start().starts_with("CREATE FUNCTION delay_class"))
            .unwrap()
            .trim();

        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server.sql(create).await;
        assert_eq!(
            server.sql("SELECT delay_class(20) AS class").await,
            [json!({"class": "late"})]
        );
        server
            .sql(
                "CREATE TABLE waits (id INTEGER PRIMARY KEY, minutes DOUBLE);
                 INSERT INTO waits VALUES (1, 20);
                 CREATE MATERIALIZED VIEW classes AS SELECT id, delay_class(minutes) AS class FROM waits",
            )
            .await;

        project.edit(|text| {
            let text = text.replace("Ok(Some(\"late\"))", "Ok(Some(\"tardy\"))");
            text.replace(
                "    let Some(minutes) = dep_delay else {",
                "    thalweg_udf::log::info(\"asked\");\n    let Some(minutes) = dep_delay else {",
            )
        });
        project.build();
        let replace = create.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
        let done = server.sql(&replace).await;
        assert_eq!(done[0]["result"], "replaced function delay_class");
        assert!(
            done[0]["notes"][1]
                .as_str()
                .unwrap()
                .starts_with("view classes goes on with it"),
            "{done:?}"
        );
        server.sql("INSERT INTO waits VALUES (2, 30)").await;
        let classes = server
            .sql("SET read_your_writes = on; SELECT * FROM classes ORDER BY id")
            .await;
        assert_eq!(
            classes[1..],
            [
                json!({"id": 1, "class": "late"}),
                json!({"id": 2, "class": "tardy"})
            ]
        );
        let why = server.sql("EXPLAIN WHY classes").await;
        let why = serde_json::to_string(&why).unwrap();
        assert!(
            why.contains("function delay_class said ") && why.contains("info: asked"),
            "{why}"
        );

        project.edit(|_| {
            "//! Another signature.
use thalweg_udf::{export_functions, scalar_function};

/// Nobody can call it as before.
#[scalar_function]
fn delay_class(minutes: i64) -> i64 {
    minutes
}

export_functions!(delay_class);
"
            .to_owned()
        });
        project.build();
        let refused = server.try_sql(&replace).await.unwrap_err();
        assert_eq!(refused["code"], "TW1106", "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains("classes") && text.contains("delay_class(BIGINT) RETURNS BIGINT"),
            "{text}"
        );
        assert_eq!(
            server.sql("SELECT delay_class(20) AS class").await,
            [json!({"class": "tardy"})]
        );
    });
}

#[test]
fn a_new_transform_builds_and_is_checked() {
    let project = Project::new("routes", "transform");
    let module = project.build();
    let told = check(&module);
    assert!(told.contains("\"transforms.t.type\": \"wasm\""), "{told}");
    let refused = thalweg()
        .args(["wasm", "check"])
        .arg(&module)
        .args(["--option", "origin.field="])
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("origin.field is empty"), "{text}");

    let wrong = project.folder.join("Cargo.toml");
    let refused = thalweg()
        .args(["wasm", "check"])
        .arg(&wrong)
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("module Cargo.toml is not a component"),
        "{text}"
    );
    let missing = thalweg()
        .args(["wasm", "check", "no.wasm"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(4));
}
