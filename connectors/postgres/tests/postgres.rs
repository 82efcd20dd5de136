//! A PostgreSQL server of a test's own: made in a temporary folder, on a free port of 127.0.0.1, stopped and removed
//! when dropped.
//!
//! PostgreSQL refuses to run as root: then its programs run as user `postgres` (through `setpriv`), and the folder is
//! that user's. Its programs are looked for in `PG_BIN`, in Debian's folders, and in `PATH`.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Attempts at a free port: another program may take it before the server does.
const PORTS_TRIED_MAX: usize = 5;

/// What a server needs to offer encryption, in PEM, and who may connect.
pub struct Seal {
    /// Its certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Who signs certificates of clients.
    pub authority: String,
    /// `pg_hba.conf`.
    pub hba: String,
}

/// A running server.
pub struct Postgres {
    folder: TempDir,
    bin: PathBuf,
    owner: Option<(u32, u32)>,
    settings: String,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Postgres {
    /// Makes and starts a server; returns once it takes connections.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// As [`Postgres::start`], with further settings: `-c name=value`.
    pub fn start_with(settings: &str) -> Self {
        let mut server = Self::made(settings);
        server.run_at_a_free_port();
        server
    }

    /// As [`Postgres::start_with`]; connections may be encrypted.
    pub fn start_sealed(settings: &str, seal: &Seal) -> Self {
        let mut server = Self::made(settings);
        for (name, text) in [
            ("server.crt", &seal.certificate),
            ("server.key", &seal.key),
            ("root.crt", &seal.authority),
            ("pg_hba.conf", &seal.hba),
        ] {
            let path = Path::new(&server.data()).join(name);
            std::fs::write(&path, text).expect("the folder can be written");
            // The server takes no key that others may read.
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
            if let Some((uid, gid)) = server.owner {
                chown(&path, Some(uid), Some(gid)).expect("root may give files away");
            }
        }
        server.settings += " -c ssl=on -c ssl_ca_file=root.crt";
        server.run_at_a_free_port();
        server
    }

    fn made(settings: &str) -> Self {
        let bin = bin_folder();
        let folder = tempfile::Builder::new()
            .prefix("pg-")
            .tempdir()
            .expect("a temporary folder");
        let root = folder.path().metadata().expect("the folder is there").uid() == 0;
        let owner =
            root.then(|| user("postgres").expect("user postgres, since root may not run a server"));
        if let Some((uid, gid)) = owner {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may give folders away");
        }
        let server = Self {
            folder,
            bin,
            owner,
            settings: settings.to_owned(),
            port: 0,
        };
        let data = server.data();
        server.must(
            "initdb",
            &[
                "-D",
                &data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ],
        );
        server
    }

    fn run_at_a_free_port(&mut self) {
        let started = (0..PORTS_TRIED_MAX).any(|_| self.try_start());
        assert!(started, "PostgreSQL did not start: {}", self.log());
    }

    /// Stops the server at once, as a crash would.
    pub fn kill(&self) {
        self.must(
            "pg_ctl",
            &["-D", &self.data(), "-m", "immediate", "-w", "stop"],
        );
    }

    /// Starts it again on the same port.
    pub fn start_again(&self) {
        let output = self.launch(self.port);
        assert!(
            output.status.success(),
            "PostgreSQL did not start again: {}",
            self.log()
        );
    }

    /// `postgresql://…` of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// A connection of its own, for looking at what is there.
    pub async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls)
            .await
            .expect("the server runs");
        // Ends with the client.
        tokio::spawn(connection);
        client
    }

    /// The rows of a query, one text a row, columns separated by `|`, NULL as `-`.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let messages = self
            .client()
            .await
            .simple_query(sql)
            .await
            .expect("the query is right");
        messages
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    let columns: Vec<&str> = (0..row.len())
                        .map(|column| row.get(column).unwrap_or("-"))
                        .collect();
                    Some(columns.join("|"))
                }
                _ => None,
            })
            .collect()
    }

    fn try_start(&mut self) -> bool {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        self.port = free.expect("a free port").port();
        self.launch(self.port).status.success()
    }

    fn launch(&self, port: u16) -> Output {
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' -c fsync=off \
             -c max_connections=30 -c shared_buffers=16MB {}",
            self.folder.path().display(),
            self.settings
        );
        let log = self.folder.path().join("log");
        let log = log.to_str().expect("temporary folders have plain names");
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-w", "-l", log, "-o", &options, "start"],
        )
    }

    fn data(&self) -> String {
        self.folder
            .path()
            .join("data")
            .to_str()
            .expect("temporary folders have plain names")
            .to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn must(&self, program: &str, arguments: &[&str]) {
        let output = self.run(program, arguments);
        assert!(
            output.status.success(),
            "{program}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let program = self.bin.join(program);
        let mut command = match self.owner {
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command
                    .args([
                        format!("--reuid={uid}"),
                        format!("--regid={gid}"),
                        "--clear-groups".to_owned(),
                    ])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        // A server that inherits pipes would keep them open.
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(std::process::Stdio::null());
        if arguments.contains(&"start") {
            let status = command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status()
                .expect("the program is there");
            return Output {
                status,
                stdout: Vec::new(),
                stderr: Vec::new(),
            };
        }
        command.output().expect("the program is there")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be stopped already.
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-m", "immediate", "-w", "stop"],
        );
    }
}

/// The folder that holds `initdb`.
fn bin_folder() -> PathBuf {
    let given = std::env::var_os("PG_BIN").map(PathBuf::from);
    let debian = (12..=18)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = given
        .into_iter()
        .chain(debian)
        .chain(std::env::split_paths(&path));
    all.find(|folder| folder.join("initdb").is_file())
        .expect("PostgreSQL's initdb; install postgresql")
}

/// User and group of a name.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    let fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let fields = fields
        .into_iter()
        .find(|fields| fields.first() == Some(&name))?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}
