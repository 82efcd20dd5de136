//! A broker of Apache Kafka in a process of its own, as the peer of the log: one node, which is its own controller.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Place;
use crate::machine;

/// A broker that does not listen by then never will.
const START_WAIT: Duration = Duration::from_secs(120);
/// Its heap, which it gets whole at the start, as in production.
const HEAP: [&str; 2] = ["-Xms1g", "-Xmx1g"];

/// A broker that serves. Dropping it kills the process and removes its folder.
pub(crate) struct Kafka {
    child: Child,
    /// Its data, removed with it.
    _folder: tempfile::TempDir,
    /// Where clients connect.
    pub(crate) address: String,
    /// When the process was started.
    pub(crate) spawned: Instant,
}

impl Kafka {
    /// Formats an empty folder and starts a broker on it with the jars of a folder, with Kafka's own defaults.
    ///
    /// # Errors
    /// There is no Java, or the broker does not come up.
    pub(crate) fn start(place: &Place, jars: &Path, core: Option<usize>) -> Result<Self> {
        let folder = place.kafka_folder()?;
        let (address, controller) = (free_port()?, free_port()?);
        let settings = folder.path().join("server.properties");
        std::fs::write(
            &settings,
            format!(
                "process.roles=broker,controller\n\
                 node.id=1\n\
                 controller.quorum.voters=1@{controller}\n\
                 listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
                 advertised.listeners=PLAINTEXT://{address}\n\
                 controller.listener.names=CONTROLLER\n\
                 listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
                 log.dirs={}\n\
                 offsets.topic.replication.factor=1\n\
                 transaction.state.log.replication.factor=1\n\
                 transaction.state.log.min.isr=1\n",
                folder.path().join("data").display()
            ),
        )?;
        let class_path = format!("{}/*", jars.display());
        let java = |core| {
            let mut command = machine::command_on("java".as_ref(), core);
            command
                .args(HEAP)
                .args(["-cp", &class_path])
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            command
        };
        let formatted = java(None)
            .args(["kafka.tools.StorageTool", "format"])
            .args(["-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"])
            .arg(&settings)
            .status()
            .context("start java")?;
        if !formatted.success() {
            bail!(
                "Kafka's StorageTool with the jars of {} ended with {formatted}",
                jars.display()
            );
        }
        let spawned = Instant::now();
        let child = java(core)
            .arg("kafka.Kafka")
            .arg(&settings)
            .spawn()
            .context("start java")?;
        let mut kafka = Self {
            child,
            _folder: folder,
            address: address.to_string(),
            spawned,
        };
        while TcpStream::connect(address).is_err() {
            if let Some(status) = kafka.child.try_wait()? {
                bail!("Kafka ended with {status}");
            }
            if spawned.elapsed() > START_WAIT {
                bail!("Kafka does not listen after {} s", START_WAIT.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(kafka)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
