//! The job under SIGKILL: killed at ten random points, the answers equal the batch and no row stands twice.

use std::time::Duration;

use crate::fixture::process::Server;
use crate::fixture::{block_on, flights, postgres::Postgres, truth, until};
use crate::job::sinks_agree;

/// How often the process is killed.
const KILLS: usize = 10;

#[test]
fn ten_kills_change_nothing() {
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

        let mut server = Server::start(&data);
        flights::set_up(&server, &input).await;
        for connector in flights::sinks(&file, &postgres.url()) {
            server.create_connector(connector).await;
        }
        let mut seen = 0;
        for kill in 0..KILLS {
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
            server = Server::start(&data);
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
        let server = Server::start(&data);
        let rows = server.sql("SELECT * FROM delays").await;
        truth::assert_equal("delays", &truth::normalised(&rows), &delays);
    });
}
