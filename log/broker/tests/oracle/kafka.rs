//! A broker of Apache Kafka in a process of its own: one node, which is its own controller.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for the start of a broker.
const START_MAX: Duration = Duration::from_secs(120);

/// A running broker; dropped, it ends.
pub(super) struct Kafka {
    pub(super) address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Kafka {
    /// Formats a folder and starts a broker on it, with the jars of `jars`.
    pub(super) fn start(jars: &Path) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let (address, controller) = (free_port(), free_port());
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n\
             socket.request.max.bytes=16777216\n",
            folder.path().join("data").display()
        );
        let properties = folder.path().join("server.properties");
        std::fs::write(&properties, settings).expect("settings");
        let java = || {
            let mut command = Command::new("java");
            command.args([
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
            ]);
            command.arg(format!("{}/*", jars.display()));
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command
        };
        let formatted = java()
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "AAAAAAAAAAAAAAAAAAAAAQ",
                "-c",
            ])
            .arg(&properties)
            .status()
            .expect("java starts");
        assert!(formatted.success(), "the folder is not formatted");
        let process = java()
            .arg("kafka.Kafka")
            .arg(&properties)
            .spawn()
            .expect("java starts");
        let mut kafka = Self {
            address,
            process,
            _folder: folder,
        };
        kafka.await_start();
        kafka
    }

    fn await_start(&mut self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("a child");
            assert!(ended.is_none(), "Kafka ended: {ended:?}");
            assert!(start.elapsed() < START_MAX, "Kafka does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Its folder goes with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}
