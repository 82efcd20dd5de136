//! A broker in a process of its own, which can be killed: this test program, told to serve.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use log_broker::{Broker, BrokerConfig};
use tokio::net::TcpListener;

const FOLDER: &str = "THALWEG_CHILD_FOLDER";
const ADDRESS: &str = "THALWEG_CHILD_ADDRESS";
const ADVERTISED: &str = "THALWEG_CHILD_ADVERTISED";
const READY: &str = "the child serves";

/// A broker process; dropped, it is killed.
pub(super) struct Process(Child);

impl Process {
    /// Starts one on this folder and address, which tells its clients to connect to `advertised`; returns when it serves.
    pub(super) fn start(folder: &Path, address: SocketAddr, advertised: SocketAddr) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .args([
                "--exact",
                "fire::child::serves_where_it_is_told_to",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .env(ADDRESS, address.to_string())
            .env(ADVERTISED, advertised.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let output = child.stdout.take().expect("piped");
        let ready = BufReader::new(output)
            .lines()
            .any(|line| line.is_ok_and(|line| line.contains(READY)));
        assert!(ready, "the child ended: {:?}", child.wait());
        Self(child)
    }

    /// The number of the process.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL: no goodbye.
    pub(super) fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nothing by itself; in a child it serves until it is killed.
#[test]
fn serves_where_it_is_told_to() {
    let (Ok(folder), Ok(address), Ok(advertised)) = (
        std::env::var(FOLDER),
        std::env::var(ADDRESS),
        std::env::var(ADVERTISED),
    ) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut config = BrokerConfig::in_folder(folder);
        config.group_initial_rebalance_delay = Duration::ZERO;
        config.advertised_listeners = [(config.listeners[0].name.clone(), advertised)]
            .into_iter()
            .collect();
        let broker = Broker::open(config).expect("the folder opens, whatever ended before");
        let listener = TcpListener::bind(address)
            .await
            .expect("the address is free");
        println!("{READY}");
        let never = std::future::pending::<()>();
        broker.serve(listener, never).await.expect("it serves");
    });
}
