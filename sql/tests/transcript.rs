//! Transcripts: a statement in `plan/*.sql` or `errors/*.sql`, and what it answers in the `.txt` beside it.
//!
//! `UPDATE_EXPECT=1 cargo test -p sql` rewrites what is expected.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sql::Answer;

use crate::fixture::{Fixture, SCHEMA, texts};

/// Views that the transcripts build on.
const VIEWS: &str = "
CREATE MATERIALIZED VIEW by_carrier AS
  SELECT window_start, window_end, carrier, count(*) AS flights, max(dep_delay) AS worst
  FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') GROUP BY window_start, window_end, carrier
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_as_expected() {
    transcripts("plan").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_point_at_their_cause() {
    transcripts("errors").await;
}

/// What a new user mistypes or brings along from elsewhere: more of it in `b_more.sql`, over what `a_report.sql` makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_of_the_first_hour_are_told_with_their_place() {
    transcripts("first_hour").await;
}

async fn transcripts(folder: &str) {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    fixture.run(VIEWS).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of transcripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no transcripts in {}", folder.display());
    let mut wrong = String::new();
    for file in files {
        let sql = std::fs::read_to_string(&file).expect("a transcript");
        let mut found = String::new();
        // A file holds several cases, each with a line of dashes after it.
        for case in sql.split("\n----\n") {
            let case = case.trim_end();
            let _ = writeln!(found, "{case}\n>>");
            match fixture.server.execute(case).await {
                Err(error) => {
                    let _ = writeln!(found, "{}", error.render(case, false));
                }
                Ok(answers) => {
                    for answer in answers {
                        match answer {
                            Answer::Done { message, notes } => {
                                let _ = writeln!(found, "{message} {notes:?}");
                            }
                            Answer::Rows { batches, .. } => {
                                for row in texts(&batches) {
                                    let _ = writeln!(found, "{}", row.join(" | "));
                                }
                            }
                            Answer::Changes { .. } => found.push_str("changes\n"),
                        }
                    }
                }
            }
            found.push('\n');
        }
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected, &found).expect("the expected text is written");
            continue;
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        if want != found {
            let _ = writeln!(wrong, "{}:\n{found}", file.display());
        }
    }
    assert!(
        wrong.is_empty(),
        "not as expected (UPDATE_EXPECT=1 rewrites it):\n{wrong}"
    );
}
