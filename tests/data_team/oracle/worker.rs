//! A worker of Apache Kafka Connect in a process of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for its REST interface.
const START_MAX: Duration = Duration::from_secs(300);

/// A running worker; dropped, it ends.
pub(super) struct KafkaConnect {
    /// Host and port of its REST interface.
    pub(super) rest: String,
    /// What it writes.
    log: PathBuf,
    process: Child,
}

impl KafkaConnect {
    /// Starts one with the jars of `jars` on the log at `bootstrap`.
    pub(super) fn start(
        jars: &Path,
        folder: &Path,
        bootstrap: &str,
        environment: &[(&str, String)],
    ) -> Self {
        let rest = free_port();
        let settings = format!(
            "bootstrap.servers={bootstrap}\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\n\
             offset.storage.file.filename={}\n\
             offset.flush.interval.ms=1000\n\
             listeners=http://{rest}\n\
             plugin.discovery=service_load\n\
             config.providers=env\n\
             config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n",
            folder.join("offsets").display()
        );
        let properties = folder.join("worker.properties");
        std::fs::write(&properties, settings).unwrap();
        let classes = folder.join("classes");
        let compiled = Command::new("javac")
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .arg("-d")
            .arg(&classes)
            .arg(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/data_team/oracle/AgroalConnectionProvider.java"),
            )
            .status()
            .expect("javac is installed by scripts/setup.sh test");
        assert!(
            compiled.success(),
            "the sink's connections are not compiled"
        );
        let path = folder.join("worker.log");
        let log = std::fs::File::create(&path).unwrap();
        let process = Command::new("java")
            .args([
                "-Xmx1g",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
            ])
            .arg(format!("{}:{}/*", classes.display(), jars.display()))
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .arg(&properties)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("java is installed by scripts/setup.sh test");
        let mut worker = Self {
            rest,
            log: path,
            process,
        };
        worker.await_start();
        worker
    }

    fn await_start(&mut self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(&self.rest).is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "Connect ended: {ended:?}");
            assert!(start.elapsed() < START_MAX, "Connect does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for KafkaConnect {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let errors = log
                .lines()
                .filter(|line| line.contains("ERROR") || line.starts_with("Caused by"));
            println!("{}", errors.collect::<Vec<_>>().join("\n"));
        }
        // Its folder goes with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
