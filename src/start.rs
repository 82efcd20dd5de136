//! Wires the roles together in one process, and takes them down in the reverse order.
//!
//! ```text
//!  listeners (bound first: a taken port fails before anything is opened)
//!  broker ── Embedded ──┬── engine ── sql server ── http: /v1/query /metrics /healthz /readyz
//!                       └── connect worker ───────── connect: REST
//!                             └ makes the connectors of SQL's sources and tables
//! ```
//! SQL or Connect whose topics cannot be read does not run, and says why wherever it is asked; the others serve.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use connect_api::ConnectorPlugin;
use connect_runtime::{ConnectConfig, ConnectWorker, StartError};
use connect_sandbox::{Sandbox, SandboxConfig};
use log_api::Log;
use log_broker::{Broker, BrokerConfig};
use serde::Serialize;
use streams::{Engine, EngineConfig, MemoryBudget};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;

use crate::config::{LogFormat, LogSettings, Settings};
use crate::connectors::{NoConnectors, TableConnectors};
use crate::exit::Failure;
use crate::figures;
use crate::health::{self, Readiness};
use crate::http_access::Surface;
use crate::http_listeners::{self, HttpListener};
use crate::http_pages::{Pages, until};
use crate::listeners;
use crate::log_levels::{self, Reload};
use crate::memory;
use crate::open_files;
use crate::presence::{self, Presence};
use crate::screen;

/// Where everything serves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Addresses {
    /// The Kafka protocol: the first of its listeners.
    pub kafka: SocketAddr,
    /// All of them, by name.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// Connect's REST interface: its first listener that is not encrypted, if there is one.
    pub connect: SocketAddr,
    /// All of them, by protocol.
    pub connect_listeners: BTreeMap<String, SocketAddr>,
    /// SQL, health, metrics: the same.
    pub http: SocketAddr,
    /// All of them, by protocol.
    pub http_listeners: BTreeMap<String, SocketAddr>,
}

/// A process that serves all roles.
pub(crate) struct Running {
    /// The addresses as bound.
    pub addresses: Addresses,
    data: PathBuf,
    readiness: Readiness,
    shutdown: watch::Sender<bool>,
    servers: tokio::sync::Mutex<JoinSet<Result<()>>>,
    broker: Broker,
    engine: Engine,
    sql: Role<sql::Server>,
    connect: Role<ConnectWorker>,
}

/// What serves, or why it does not.
type Role<T> = Result<T, String>;

impl Running {
    /// Opens the data folder and serves; returns once everything does.
    pub(crate) async fn start(settings: Settings) -> Result<Self> {
        open_files::take();
        check_state_folder(&engine_config(&settings).state_dir)?;
        let broker_config = listeners::broker_config(&settings.kafka, settings.insecure_bind)?;
        let sockets = bind_kafka(&settings, &broker_config).await?;
        let listeners = local_addresses(&sockets)?;
        let kafka = kafka_address(&sockets)?;
        let connect_sockets = bind_http("connect", settings.connect_listeners()?).await?;
        let http_sockets = bind_http("http", settings.http_listeners()?).await?;
        let addresses = Addresses {
            kafka,
            listeners,
            connect: nearest_address(&connect_sockets)?,
            connect_listeners: http_listeners::addresses(&connect_sockets)?,
            http: nearest_address(&http_sockets)?,
            http_listeners: http_listeners::addresses(&http_sockets)?,
        };

        // First of all, because whoever counts looks the recorder up when it starts.
        let recorder = figures::install_recorder();
        let budget = memory::budget(settings.memory.limit_bytes()?);
        let broker = open_broker(&settings, broker_config, &budget).await?;
        let log: Arc<dyn Log> = Arc::new(broker.embedded());
        let engine = Engine::with_memory(engine_config(&settings), Arc::clone(&log), budget)?;
        let sandbox = Arc::new(Sandbox::new(sandbox_config(&settings))?);
        let opened = sql::Server::open(
            settings.sql.clone(),
            Arc::clone(&log),
            engine.clone(),
            Arc::clone(&sandbox),
        );
        let sql = match opened.await {
            Ok(server) => Ok(server),
            Err(error @ sql::OpenError::Catalog(_)) => Err(not_running("SQL", &error)),
            Err(error) => return Err(error.into()),
        };
        let connect_config = ConnectConfig {
            worker_id: addresses.connect.to_string(),
            cluster_id: broker.cluster_id().to_owned(),
            ..ConnectConfig::default()
        };
        let connect = start_connect(connect_config, log, sandbox).await?;
        if let Ok(sql) = &sql {
            sql.attach(match &connect {
                Ok(worker) => Arc::new(TableConnectors(worker.tables())),
                Err(reason) => Arc::new(NoConnectors(reason.clone())),
            });
        }

        let readiness = Readiness::default();
        let (shutdown, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        for (name, socket) in sockets {
            let broker = broker.clone();
            let stopped = stopped.clone();
            servers.spawn(async move {
                let served = broker.serve_as(&name, socket, until(stopped)).await;
                served.with_context(|| format!("kafka listener {name}"))
            });
        }
        let presence = Presence::new(&settings.data, &addresses);
        let down = [sql.as_ref().err(), connect.as_ref().err()];
        let pages = match &sql {
            Ok(sql) => sql.router(),
            Err(reason) => sql::unavailable(reason),
        };
        let pages = pages.merge(health::router(
            readiness.clone(),
            down.into_iter().flatten().cloned().collect(),
            recorder,
            engine.clone(),
            broker.clone(),
            presence.clone(),
        ));
        let rest = match &connect {
            Ok(worker) => worker.router(),
            Err(reason) => connect_runtime::unavailable(reason),
        };
        let all = [
            (Surface::Connect, connect_sockets, rest),
            (Surface::Sql, http_sockets, pages),
        ];
        for (surface, sockets, router) in all {
            for (HttpListener { protocol, .. }, socket) in sockets {
                let router = router.clone();
                let pages = Pages {
                    surface,
                    protocol,
                    router,
                };
                servers.spawn(pages.serve(socket, &broker, stopped.clone())?);
            }
        }
        readiness.set(true);
        presence.leave_note(&settings.data);
        Ok(Self {
            addresses,
            data: settings.data,
            readiness,
            shutdown,
            servers: tokio::sync::Mutex::new(servers),
            broker,
            engine,
            sql,
            connect,
        })
    }

    /// Resolves when a listener fails while the process should serve.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        match self.servers.lock().await.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow!("a listener ended: {error}"),
            Some(Ok(Ok(()))) | None => anyhow!("a listener ended"),
        }
    }

    /// Stops taking work, commits, flushes, and marks the data folder as cleanly closed.
    pub(crate) async fn stop(self) -> Result<()> {
        self.readiness.set(false);
        presence::remove_note(&self.data);
        if let Ok(connect) = self.connect {
            connect.stop().await;
        }
        if let Ok(sql) = &self.sql {
            sql.shutdown().await;
        }
        self.engine.shutdown().await;
        // Nobody listens any more where all listeners ended already.
        let _ = self.shutdown.send(true);
        let mut servers = self.servers.into_inner();
        while servers.join_next().await.is_some() {}
        self.broker.close().await.context("close the log")
    }
}

/// Where the state of jobs is to lie. Made when the first job starts, so only what is in its way is told.
fn check_state_folder(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        let text = format!(
            "{} is a file, and the state of jobs lies in a folder of that name; move it away and start again: the state is rebuilt from the log",
            folder.display()
        );
        return Err(Failure::Server(text).into());
    }
    Ok(())
}

async fn start_connect(
    config: ConnectConfig,
    log: Arc<dyn Log>,
    sandbox: Arc<Sandbox>,
) -> Result<Role<ConnectWorker>> {
    let plugins: Vec<Arc<dyn ConnectorPlugin>> = vec![
        Arc::new(connector_file::FileSource),
        Arc::new(connector_file::FileSink),
        Arc::new(connector_postgres::PostgresSink),
        Arc::new(connector_postgres::PostgresSource),
    ];
    match ConnectWorker::start(config, log, sandbox, plugins).await {
        Ok(worker) => {
            if let Some(levels) = log_levels::levels() {
                worker.attach_log(levels);
            }
            Ok(Ok(worker))
        }
        Err(error @ StartError::Store(_)) => Ok(Err(not_running("Connect", &error))),
        Err(error) => Err(error.into()),
    }
}

/// Tells that a role does not run; what it would need may come back with a restart.
fn not_running(role: &str, error: &dyn std::error::Error) -> String {
    let reason = format!("{role} does not run: {error}");
    error!(role, %error, "does not run, the others serve");
    reason
}

/// The sockets of all listeners of the Kafka protocol, by name.
async fn bind_kafka(
    settings: &Settings,
    config: &BrokerConfig,
) -> Result<Vec<(String, TcpListener)>> {
    let mut sockets = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        let socket = if settings.kafka.listeners.is_empty() {
            bind("kafka.listen", settings.kafka.listen).await?
        } else {
            let at = (listener.host.as_str(), listener.port);
            TcpListener::bind(at).await.map_err(|error| {
                Failure::Server(format!("kafka.listeners = {listener}: {error}"))
            })?
        };
        sockets.push((listener.name.clone(), socket));
    }
    Ok(sockets)
}

fn local_addresses(sockets: &[(String, TcpListener)]) -> Result<BTreeMap<String, SocketAddr>> {
    let addresses = sockets.iter();
    addresses
        .map(|(name, socket)| Ok((name.clone(), socket.local_addr()?)))
        .collect()
}

fn kafka_address(sockets: &[(String, TcpListener)]) -> Result<SocketAddr> {
    let (_, first) = sockets
        .first()
        .context("the Kafka protocol has no listener")?;
    Ok(first.local_addr()?)
}

async fn open_broker(
    settings: &Settings,
    config: BrokerConfig,
    budget: &MemoryBudget,
) -> Result<Broker> {
    let kafka = &settings.kafka;
    let (requests, responses) = memory::client_bytes(
        budget,
        kafka.queued_request_bytes_max,
        kafka.response_bytes_max,
    );
    let config = BrokerConfig {
        data_dir: settings.data.join("log"),
        auto_create_topics: settings.kafka.auto_create_topics,
        num_partitions: settings.kafka.num_partitions,
        request_bytes_max: settings.kafka.request_bytes_max,
        queued_request_bytes_max: requests,
        response_bytes_max: responses,
        connection_idle_max: Duration::from_millis(settings.kafka.connection_idle_ms_max),
        group_initial_rebalance_delay: Duration::from_millis(settings.kafka.rebalance_delay_ms),
        ..config
    };
    let opened = tokio::task::spawn_blocking(move || Broker::open(config))
        .await
        .context("open the log")?;
    let error = match opened {
        Ok(broker) => return Ok(broker),
        Err(error) => error,
    };
    let mut text = error.to_string();
    if let Some(holder) = presence::holder(&settings.data).await {
        text += &format!(
            "; it serves at {}, and `thalweg sql --data {}` speaks to it",
            holder.http,
            settings.data.display()
        );
    }
    Err(Failure::Server(text).into())
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let streams = &settings.streams;
    EngineConfig {
        state_dir: settings.data.join("streams"),
        worker: streams.worker.clone(),
        commit_interval: Duration::from_millis(streams.commit_interval_ms),
        threads: streams.threads,
        tokens: streams.tokens,
        snapshot_dir: streams.snapshot_dir(),
        snapshot_bytes: streams.snapshot_bytes,
        commit_bytes: streams.commit_bytes,
        operator_cache_bytes: streams.operator_cache_bytes,
        cache_bytes: streams.cache_bytes,
        write_buffer_bytes: streams.write_buffer_bytes,
        query_state_bytes: streams.query_state_bytes,
        epoch_rows: streams.epoch_rows,
        fetch_bytes: streams.fetch_bytes,
        idle_grace_ms: streams.idle_grace_ms,
    }
}

/// The limits of guests, as they are set.
pub(crate) fn sandbox_config(settings: &Settings) -> SandboxConfig {
    SandboxConfig {
        memory_bytes_max: settings.wasm.memory_bytes_max,
        call_deadline: Duration::from_millis(settings.wasm.call_deadline_ms),
        output_bytes_max: settings.wasm.output_bytes_max,
        ..SandboxConfig::default()
    }
}

/// The sockets of SQL or of Connect.
async fn bind_http(
    section: &str,
    listeners: Vec<HttpListener>,
) -> Result<Vec<(HttpListener, TcpListener)>> {
    let mut sockets = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let key = format!("{section}.listen");
        sockets.push((listener, bind(&key, listener.address).await?));
    }
    Ok(sockets)
}

fn nearest_address(sockets: &[(HttpListener, TcpListener)]) -> Result<SocketAddr> {
    let listeners: Vec<_> = sockets.iter().map(|(listener, _)| *listener).collect();
    let nearest = http_listeners::nearest(&listeners);
    let found = sockets.iter().find(|(one, _)| Some(*one) == nearest);
    let (_, socket) = found.context("there is no listener of HTTP")?;
    Ok(socket.local_addr()?)
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let text = if error.kind() == std::io::ErrorKind::AddrInUse {
            format!(
                "{key} = {address}: the port is taken by another program; stop it or choose another \
                 with --set {key}=127.0.0.1:PORT"
            )
        } else {
            format!("{key} = {address}: {error}")
        };
        Failure::Server(text).into()
    })
}

/// The runtime of a process that serves.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("thalweg")
        .build()
        .context("start the runtime")
}

/// Logs to standard error as the configuration has it.
///
/// # Errors
/// If the level is not one that the log understands.
pub(crate) fn log_as(settings: &LogSettings) -> Result<()> {
    // What is set for one run goes before what is set for good.
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.level.clone());
    let directives = format!("{QUIET},{level}");
    let filter = tracing_subscriber::EnvFilter::try_new(&directives)
        .with_context(|| format!("log.level = {level:?} is not valid, for example info"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Where standard error cannot be written (a full disk, a pipe whose reader has gone) nothing more is said of it: that would panic.
        .log_internal_errors(false)
        // A file that standard error was sent to is read by programs too.
        .with_ansi(std::io::stderr().is_terminal() && screen::color_wanted());
    // A second call (the shell that starts a server in its own process) changes nothing.
    let (set, reload): (_, Reload) = match settings.format {
        LogFormat::Text => {
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            // A filter that is not put in front leaves the one that is there.
            (
                log.try_init(),
                Box::new(move |filter| drop(handle.reload(filter))),
            )
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            (
                log.try_init(),
                Box::new(move |filter| drop(handle.reload(filter))),
            )
        }
    };
    if set.is_ok() {
        log_levels::keep(directives, reload);
    }
    Ok(())
}

/// Logs to standard error with the default level, for commands without a configuration.
pub(crate) fn log_to_stderr() {
    // The defaults are valid; RUST_LOG may not be, which is no reason not to run.
    let _ = log_as(&LogSettings::default());
}

/// The client library tells of lost connections itself; its log repeats that. A level that names it wins.
const QUIET: &str = "librdkafka=off,rdkafka=off";
