//! A `thalweg server` of its own process and folder, on free ports.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::Place;
use crate::machine;

/// A server that is not ready by then never will be.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long a graceful stop may take.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A server that serves. Dropping it kills the process and removes its folder.
pub(crate) struct Server {
    child: Child,
    /// Its data, removed with it.
    _folder: tempfile::TempDir,
    /// Where Kafka clients connect.
    pub(crate) kafka: String,
    /// Where SQL is asked.
    http: String,
    program: PathBuf,
    /// When the process was started.
    pub(crate) spawned: Instant,
    /// From then until it said that everything serves.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts a server on an empty folder and waits until it is ready.
    ///
    /// # Errors
    /// There is no program, or it does not come up.
    pub(crate) fn start(place: &Place) -> Result<Self> {
        Self::start_on(place, None)
    }

    /// As [`Server::start`], with other settings (`memory.limit=512MiB`).
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn start_with(place: &Place, settings: &[&str]) -> Result<Self> {
        Self::start_as(place, None, settings)
    }

    /// As [`Server::start`], on one core alone where that is given.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn start_on(place: &Place, core: Option<usize>) -> Result<Self> {
        Self::start_as(place, core, &[])
    }

    fn start_as(place: &Place, core: Option<usize>, settings: &[&str]) -> Result<Self> {
        let program = program(place)?;
        let folder = place.folder()?;
        let spawned = Instant::now();
        let mut child = machine::command_on(program.as_os_str(), core)
            .args(["server", "--data"])
            .arg(folder.path())
            .args(["--set", "kafka.listen=127.0.0.1:0"])
            .args(["--set", "connect.listen=127.0.0.1:0"])
            .args(["--set", "http.listen=127.0.0.1:0"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .args(["--ready-file", "/dev/stdout"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("its standard output is a pipe")?;
        let mut server = Self {
            child,
            _folder: folder,
            kafka: String::new(),
            http: String::new(),
            program,
            spawned,
            ready_after: Duration::ZERO,
        };
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            for read in BufReader::new(stdout).lines() {
                // Nobody listens after the first line; the pipe is drained all the same.
                let _ = line.send((Instant::now(), read));
            }
        });
        let Ok((ready, text)) = lines.recv_timeout(READY_WAIT) else {
            bail!(
                "{} was not ready within {} s",
                server.program.display(),
                READY_WAIT.as_secs()
            );
        };
        let text = text?;
        let addresses: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("ready line {text:?}"))?;
        let address = |of: &str| {
            let address = addresses[of].as_str().map(str::to_owned);
            address.with_context(|| format!("no address of {of} in {text:?}"))
        };
        server.kafka = address("kafka")?;
        server.http = address("http")?;
        server.ready_after = ready.duration_since(spawned);
        Ok(server)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The rows that a statement, or the last of several, gives.
    ///
    /// # Errors
    /// In the server's words.
    pub(crate) fn sql(&self, text: &str) -> Result<Vec<serde_json::Value>> {
        let answer = Command::new(&self.program)
            .args(["sql", "--server", &format!("http://{}", self.http)])
            .args(["-o", "json", "-c", text])
            .output()
            .with_context(|| format!("start {}", self.program.display()))?;
        if !answer.status.success() {
            bail!("{text}: {}", String::from_utf8_lossy(&answer.stderr));
        }
        let lines = String::from_utf8(answer.stdout)?;
        let rows = lines.lines().map(serde_json::from_str);
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Asks it to stop and gives how long that took.
    ///
    /// # Errors
    /// It does not stop, or with a failure.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has an id")?, Signal::TERM)?;
        while asked.elapsed() < STOP_WAIT {
            if let Some(status) = self.child.try_wait()? {
                let took = asked.elapsed();
                if !status.success() {
                    bail!("the server stopped with {status}");
                }
                return Ok(took);
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("the server did not stop within {} s", STOP_WAIT.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(place: &Place) -> Result<PathBuf> {
    let program = match &place.thalweg {
        Some(given) => given.clone(),
        None => std::env::current_exe()?.with_file_name("thalweg"),
    };
    if !program.exists() {
        bail!(
            "{} is not there; build it (cargo build --release --bin thalweg) or name it with --thalweg FILE",
            program.display()
        );
    }
    Ok(program)
}
