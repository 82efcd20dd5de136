//! A broker in a process of its own, which can be killed: this test program, told to serve.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use log_broker::{Broker, BrokerConfig};
use tokio::net::TcpListener;

const FOLDER: &str = "THALWEG_CHILD_FOLDER";
const ADDRESS: &str = "THALWEG_CHILD_ADDRESS";
const ADVERTISED: &str = "THALWEG_CHILD_ADVERTISED";
const SYNCS: &str = "THALWEG_CHILD_SYNCS";
const READY: &str = "the child serves";

/// A broker process; dropped, it is killed.
pub(super) struct Process(Child);

impl Process {
    /// Starts one on this folder and address, which tells its clients to connect to `advertised`; returns when it serves.
    pub(super) fn start(folder: &Path, address: SocketAddr, advertised: SocketAddr) -> Self {
        Self::noting_syncs(folder, address, advertised, None)
    }

    /// The same; each file that it makes durable is a line of `syncs`: its inode, and how many bytes of it were on disk.
    pub(super) fn noting_syncs(
        folder: &Path,
        address: SocketAddr,
        advertised: SocketAddr,
        syncs: Option<&Path>,
    ) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        if let Some(syncs) = syncs {
            command.env(SYNCS, syncs);
        }
        let mut child = command
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

/// One write a line, so that a kill tears none.
fn note_sync(file: &File, bytes: u64) {
    static NOTES: OnceLock<File> = OnceLock::new();
    let mut notes = NOTES.get_or_init(|| {
        let path = std::env::var_os(SYNCS).expect("the child was told where");
        let opened = File::options().create(true).append(true).open(path);
        opened.expect("the notes can be written")
    });
    let inode = file.metadata().expect("it is open").ino();
    let line = format!("{inode} {bytes}\n");
    notes.write_all(line.as_bytes()).expect("noted");
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
    if std::env::var_os(SYNCS).is_some() {
        log_broker::observe_syncs(note_sync);
    }
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
