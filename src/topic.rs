//! `thalweg topic`: topics of any Kafka-compatible cluster, Thalweg's own by default.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use log_api::{Admin, AdminError, Log, NewTopic, OffsetSpec, TopicPartition};
use log_kafka::{Kafka, KafkaConfig};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::exit::Failure;
use crate::start;

/// How long to try to reach a cluster before saying that nothing answers.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Which cluster a command speaks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Address of a broker
    #[arg(
        long,
        short = 'b',
        visible_alias = "server",
        value_name = "HOST:PORT",
        global = true,
        default_value = "127.0.0.1:9092",
        env = "KAFKA_BOOTSTRAP_SERVERS"
    )]
    pub bootstrap_servers: String,
}

impl ClusterArgs {
    /// Connects, or says that nothing answers there.
    pub(crate) async fn connect(&self) -> Result<Kafka> {
        let nobody = || {
            Failure::Server(format!(
                "nothing answers at {}; start it with `thalweg server`, or name another with --bootstrap-servers",
                self.bootstrap_servers
            ))
        };
        // The client library tries for long and does not say that every address refused.
        let addresses = self.bootstrap_servers.split(',');
        let sockets = addresses.map(|address| Box::pin(TcpStream::connect(address.trim())));
        let open = futures::future::select_ok(sockets);
        if !matches!(timeout(CONNECT_WAIT, open).await, Ok(Ok(_))) {
            bail!(nobody());
        }
        let config = KafkaConfig::new(&self.bootstrap_servers);
        let kafka = Kafka::connect(config)
            .with_context(|| format!("cannot use {}", self.bootstrap_servers))?;
        match timeout(CONNECT_WAIT, kafka.admin().list_topics()).await {
            Ok(Ok(_)) => Ok(kafka),
            Ok(Err(AdminError::Unavailable(_))) | Err(_) => bail!(nobody()),
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Arguments of `thalweg topic`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg topic create orders --partitions 4 --config cleanup.policy=compact
  thalweg topic list
  thalweg topic describe orders")]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How to print
    #[arg(long, short = 'o', value_enum, default_value = "table", global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// List topics
    List {
        /// Also the topics that the system keeps for itself
        #[arg(long)]
        internal: bool,
    },
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// Number of partitions
        #[arg(long, short, default_value_t = 1)]
        partitions: i32,
        /// A config, e.g. retention.ms=3600000 (may be repeated)
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
    },
    /// Show partitions, offsets and configs of a topic
    Describe {
        /// Its name
        name: String,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        name: String,
    },
}

/// Runs the command.
pub(crate) fn run(args: TopicArgs) -> Result<()> {
    start::log_to_stderr();
    start::runtime()?.block_on(async move {
        let admin = args.cluster.connect().await?.admin();
        match args.command {
            TopicCommand::List { internal } => list(admin, args.output, internal).await,
            TopicCommand::Create {
                name,
                partitions,
                configs,
            } => create(admin, name, partitions, configs).await,
            TopicCommand::Describe { name } => describe(admin, args.output, &name).await,
            TopicCommand::Delete { name } => {
                admin.delete_topic(&name).await.map_err(not_found)?;
                println!("deleted topic {name}");
                Ok(())
            }
        }
    })
}

fn not_found(error: AdminError) -> anyhow::Error {
    match error {
        AdminError::UnknownTopic(_) => Failure::NotFound(error.to_string()).into(),
        error => error.into(),
    }
}

async fn create(
    admin: Arc<dyn Admin>,
    name: String,
    partitions: i32,
    configs: Vec<String>,
) -> Result<()> {
    let mut topic = NewTopic::new(&name, partitions);
    for config in &configs {
        let Some((key, value)) = config.split_once('=') else {
            bail!("--config {config}: expected KEY=VALUE, for example retention.ms=3600000");
        };
        topic = topic.with(key, value);
    }
    admin.create_topic(topic).await?;
    println!(
        "created topic {name} with {partitions} partition{}",
        if partitions == 1 { "" } else { "s" }
    );
    Ok(())
}

async fn list(admin: Arc<dyn Admin>, output: Output, internal: bool) -> Result<()> {
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| internal || !(topic.internal || topic.name.starts_with('_')));
    match output {
        Output::Json => {
            for topic in topics {
                println!(
                    "{}",
                    json!({"name": topic.name, "partitions": topic.partitions})
                );
            }
        }
        Output::Table => {
            let mut table = table(&["topic", "partitions"]);
            for topic in topics {
                table.add_row([topic.name, topic.partitions.to_string()]);
            }
            println!("{table}");
        }
    }
    Ok(())
}

async fn describe(admin: Arc<dyn Admin>, output: Output, name: &str) -> Result<()> {
    let topic = admin
        .describe_topic(name)
        .await?
        .ok_or_else(|| Failure::NotFound(AdminError::UnknownTopic(name.to_owned()).to_string()))?;
    let mut partitions = Vec::new();
    for index in 0..topic.partitions {
        let partition = TopicPartition::new(name, index);
        let earliest = admin.offset(&partition, OffsetSpec::Earliest).await?;
        let latest = admin.offset(&partition, OffsetSpec::Latest).await?;
        partitions.push((index, earliest, latest));
    }
    match output {
        Output::Json => {
            let partitions: Vec<_> = partitions
                .iter()
                .map(|(index, earliest, latest)| {
                    json!({"partition": index, "earliest": earliest, "latest": latest})
                })
                .collect();
            println!(
                "{}",
                json!({"name": topic.name, "configs": topic.configs, "partitions": partitions})
            );
        }
        Output::Table => {
            let mut rows = table(&["partition", "earliest", "latest"]);
            for (index, earliest, latest) in partitions {
                rows.add_row([index.to_string(), earliest.to_string(), latest.to_string()]);
            }
            println!("topic {}\n{rows}", topic.name);
            for (key, value) in topic.configs {
                println!("{key} = {value}");
            }
        }
    }
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(header.to_vec());
    table
}
