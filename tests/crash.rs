//! The job under SIGKILL: killed at random points, with one token and with several, the answers equal the batch and no row
//! stands twice.

use std::path::Path;
use std::time::Duration;

use crate::fixture::process::{Server, server_command};
use crate::fixture::{block_on, flights, postgres::Postgres, truth, until};
use crate::job::sinks_agree;

#[test]
fn ten_kills_change_nothing() {
    killed(1, 10);
}

#[test]
fn kills_of_jobs_of_eight_tokens_change_nothing() {
    killed(8, 4);
}

/// A server whose new jobs have so many tokens.
fn start(data: &Path, tokens: usize) -> Server {
    let mut command = server_command(data);
    command.args(["--set", &format!("streams.tokens={tokens}")]);
    Server::from_command(command)
}

/// Kills the process so often while its jobs work.
fn killed(tokens: usize, kills: usize) {
    let seed = std::env::var("THALWEG_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("THALWEG_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let postgres = Postgres::start().await;
        let file = folder.path().join("delays.ndjson");
        let input = flights::year();
        let departed = flights::departed(&input);

        let mut server = start(&data, tokens);
        flights::set_up(&server, &input).await;
        for connector in flights::sinks(&file, &postgres.url()) {
            server.create_connector(connector).await;
        }
        let mut seen = 0;
        for kill in 0..kills {
            let count = || async {
                let rows = server.sql("SELECT sum(flights) AS n FROM origins").await;
                rows[0]["n"].as_u64().unwrap_or(0)
            };
            let more = |now: &u64| *now > seen || *now == departed;
            seen = until("progress", count, more).await;
            // The random point: after some progress, then some more milliseconds of it.
            let pause = Duration::from_millis(random.u64(0..300));
            tokio::time::timeout(pause, std::future::pending::<()>())
                .await
                .unwrap_err();
            server.kill();
            server = start(&data, tokens);
            println!("kill {kill}: {seen} flights and {pause:?} later");
        }
        flights::wait_for_views(&server, departed).await;
        let delays = truth::datafusion(&input, &truth::delays()).await;
        let origins = truth::datafusion(&input, &truth::origins()).await;
        let rows = server.sql("SELECT * FROM delays").await;
        truth::assert_equal("delays", &truth::normalised(&rows), &delays);
        let rows = server.sql("SELECT * FROM origins").await;
        truth::assert_equal("origins", &truth::normalised(&rows), &origins);
        let flown = server.sql("SELECT count(*) AS n FROM flights").await;
        assert_eq!(
            flown[0]["n"].as_u64(),
            Some(departed),
            "a flight was lost or stands twice"
        );
        sinks_agree(&postgres, &file, &delays).await;

        // A graceful stop and another start give the same answer too.
        let (status, took) = server.terminate();
        assert!(status.success(), "{status}");
        println!("graceful stop took {took:?}");
        let server = start(&data, tokens);
        let rows = server.sql("SELECT * FROM delays").await;
        truth::assert_equal("delays", &truth::normalised(&rows), &delays);
    });
}
