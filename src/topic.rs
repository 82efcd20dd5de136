//! `thalweg topic`: topics of any Kafka-compatible cluster, Thalweg's own by default.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use log_api::{Admin, Log, OffsetSpec, TopicPartition};
use log_protocol::Response;
use log_protocol::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use log_protocol::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use log_protocol::api::delete_topics::DeleteTopicsRequest;
use log_protocol::api::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use serde_json::json;

use crate::cluster::{ANSWER_WAIT, ClusterArgs, refused};
use crate::config::{self, ConfigArgs};
use crate::exit::Failure;
use crate::screen::{confirmed, line};
use crate::shell::Listing;
use crate::start;

/// A topic among the resources that have configs.
const TOPIC_RESOURCE: i8 = 2;
/// What is done to a config.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// One JSON object a line
    Json,
}

/// Arguments of `thalweg topic`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg topic create orders --partitions 4 --config cleanup.policy=compact
  thalweg topic list
  thalweg topic describe orders
  thalweg topic path orders          the folders of its partitions
  thalweg topic alter orders --partitions 8 --config retention.ms=3600000 --unset cleanup.policy")]
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
    /// Create topics
    Create {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Number of partitions
        #[arg(long, short, default_value_t = 1, allow_negative_numbers = true)]
        partitions: i32,
        /// A config, e.g. retention.ms=3600000 (may be repeated)
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
    },
    /// Change a topic's configs, or give it more partitions
    Alter {
        /// Its name
        name: String,
        /// How many partitions there are to be; there can only be more
        #[arg(long, short, allow_negative_numbers = true)]
        partitions: Option<i32>,
        /// Set a config, e.g. retention.ms=3600000 (may be repeated)
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
        /// Take a config back to its default (may be repeated)
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
    },
    /// Show partitions, offsets and configs of a topic
    Describe {
        /// Its name
        name: String,
    },
    /// Print the folders in which a topic's partitions lie, one a line; needs no server
    Path {
        /// Its name
        name: String,
        /// The data folder; without it the one that is configured
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Delete topics and their records
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: TopicArgs) -> Result<()> {
    start::log_to_stderr();
    let TopicArgs {
        command,
        cluster,
        output,
    } = args;
    start::runtime()?.block_on(async move {
        match command {
            TopicCommand::List { internal } => list(&cluster, output, internal).await,
            TopicCommand::Create {
                names,
                partitions,
                configs,
            } => create(&cluster, names, partitions, &configs).await,
            TopicCommand::Alter {
                name,
                partitions,
                configs,
                unset,
            } => alter(&cluster, &name, partitions, &configs, &unset).await,
            TopicCommand::Describe { name } => describe(&cluster, output, &name).await,
            TopicCommand::Path { name, data } => path(output, &name, data),
            TopicCommand::Delete { names, yes } => delete(&cluster, names, yes).await,
        }
    })
}

/// Key and value of `KEY=VALUE`.
fn key_value(config: &str) -> Result<(String, String)> {
    let Some((key, value)) = config.split_once('=') else {
        bail!("--config {config}: expected KEY=VALUE, for example retention.ms=3600000");
    };
    Ok((key.to_owned(), value.to_owned()))
}

/// A number and what it counts.
pub(crate) fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn wait_ms() -> i32 {
    i32::try_from(ANSWER_WAIT.as_millis() / 2).unwrap_or(i32::MAX)
}

async fn create(
    cluster: &ClusterArgs,
    names: Vec<String>,
    partitions: i32,
    configs: &[String],
) -> Result<()> {
    let mut of_topic = Vec::with_capacity(configs.len());
    for config in configs {
        let (name, value) = key_value(config)?;
        of_topic.push(CreatableTopicConfig {
            name,
            value: Some(value),
        });
    }
    let topic = |name: String| CreatableTopic {
        name,
        num_partitions: partitions,
        replication_factor: -1,
        configs: of_topic.clone(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: names.into_iter().map(topic).collect(),
        timeout_ms: wait_ms(),
        validate_only: false,
    };
    let mut controller = cluster.cluster().await?.controller().await?;
    let Response::CreateTopics(answer) = controller.call(request, 7).await? else {
        bail!(controller.wrong_answer());
    };
    let mut said = Ok(());
    for topic in answer.topics {
        let what = format!("topic {}", topic.name);
        refused(&what, topic.error_code, topic.error_message)?;
        let partitions = counted(partitions.into(), "partition");
        said = said.and_then(|()| line(format!("created {what} with {partitions}")));
    }
    said
}

async fn alter(
    cluster: &ClusterArgs,
    name: &str,
    partitions: Option<i32>,
    configs: &[String],
    unset: &[String],
) -> Result<()> {
    if partitions.is_none() && configs.is_empty() && unset.is_empty() {
        bail!("topic {name}: say what to change with --partitions, --config or --unset");
    }
    let mut changes = Vec::with_capacity(configs.len() + unset.len());
    for config in configs {
        let (name, value) = key_value(config)?;
        changes.push(AlterableConfig {
            name,
            config_operation: SET,
            value: Some(value),
        });
    }
    changes.extend(unset.iter().map(|key| AlterableConfig {
        name: key.clone(),
        config_operation: DELETE,
        value: None,
    }));
    let cluster = cluster.cluster().await?;
    cluster.known_topic(name)?;
    let mut controller = cluster.controller().await?;
    let what = format!("topic {name}");
    // Whoever does not read on still gets all that was asked for.
    let mut said = Ok(());
    if !changes.is_empty() {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: name.to_owned(),
                configs: changes,
            }],
            validate_only: false,
        };
        let answer = controller.call(request, 1).await?;
        let Response::IncrementalAlterConfigs(answer) = answer else {
            bail!(controller.wrong_answer());
        };
        for resource in answer.responses {
            refused(&what, resource.error_code, resource.error_message)?;
        }
        said = line(format!("changed the configs of {what}"));
    }
    if let Some(partitions) = partitions {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.to_owned(),
                count: partitions,
                assignments: None,
            }],
            timeout_ms: wait_ms(),
            validate_only: false,
        };
        let Response::CreatePartitions(answer) = controller.call(request, 3).await? else {
            bail!(controller.wrong_answer());
        };
        for result in answer.results {
            refused(&what, result.error_code, result.error_message)?;
        }
        let partitions = counted(partitions.into(), "partition");
        said = said.and_then(|()| line(format!("{what} has {partitions} now")));
    }
    said
}

async fn delete(cluster: &ClusterArgs, names: Vec<String>, yes: bool) -> Result<()> {
    let cluster = cluster.cluster().await?;
    for name in &names {
        cluster.known_topic(name)?;
    }
    if !confirmed(
        &format!("Delete {} and its records?", names.join(", ")),
        yes,
    )? {
        bail!("nothing was deleted");
    }
    let mut controller = cluster.controller().await?;
    let request = DeleteTopicsRequest {
        topic_names: names,
        timeout_ms: wait_ms(),
        ..DeleteTopicsRequest::default()
    };
    // From version 6 on topics are named in another way.
    let Response::DeleteTopics(answer) = controller.call(request, 5).await? else {
        bail!(controller.wrong_answer());
    };
    let mut said = Ok(());
    for topic in answer.responses {
        let what = format!("topic {}", topic.name.unwrap_or_default());
        refused(&what, topic.error_code, topic.error_message)?;
        said = said.and_then(|()| line(format!("deleted {what}")));
    }
    said
}

/// Where a topic lies, as the log's own list in the data folder says.
fn path(output: Output, name: &str, data: Option<PathBuf>) -> Result<()> {
    let config = ConfigArgs {
        config: std::env::var_os("THALWEG_CONFIG").map(PathBuf::from),
        set: Vec::new(),
        insecure_bind: false,
        data,
    };
    let log = config.load()?.settings.data.join("log");
    let shown = log.display();
    if !log.is_dir() {
        let text = format!("there is no folder {shown}; --data names the data folder");
        return Err(Failure::NotFound(text).into());
    }
    let seen = log_broker::inspect(&log, false).with_context(|| format!("look at {shown}"))?;
    let Some(topic) = seen.topics.iter().find(|topic| topic.name == name) else {
        let names = seen.topics.iter().map(|topic| topic.name.as_str());
        let nearest = config::nearest(name, names);
        let nearest = nearest.map_or(String::new(), |near| format!(", did you mean {near}?"));
        let text = format!("topic {name} does not exist in {shown}{nearest}");
        return Err(Failure::NotFound(text).into());
    };
    for (number, partition) in topic.partitions.iter().enumerate() {
        let folder = partition.folder.display();
        match output {
            Output::Table => line(folder)?,
            Output::Json => line(json!({
                "partition": number, "folder": folder.to_string(), "bytes": partition.bytes
            }))?,
        }
    }
    Ok(())
}

async fn list(cluster: &ClusterArgs, output: Output, internal: bool) -> Result<()> {
    let mut topics = cluster.connect().await?.admin().list_topics().await?;
    topics.retain(|topic| internal || !(topic.internal || topic.name.starts_with('_')));
    if output == Output::Json {
        for topic in topics {
            line(json!({"name": topic.name, "partitions": topic.partitions}))?;
        }
        return Ok(());
    }
    let mut table = Listing::new(&["topic", "partitions"]);
    for topic in topics {
        table.add_row([topic.name, topic.partitions.to_string()]);
    }
    line(table)
}

async fn describe(cluster: &ClusterArgs, output: Output, name: &str) -> Result<()> {
    let kafka = cluster.connect().await?;
    let admin = kafka.admin();
    let Some(topic) = admin.describe_topic(name).await? else {
        bail!(cluster.cluster().await?.unknown_topic(name));
    };
    let partitions = partitions(admin.as_ref(), name, topic.partitions).await?;
    if output == Output::Json {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|(index, earliest, latest)| {
                json!({"partition": index, "earliest": earliest, "latest": latest})
            })
            .collect();
        return line(
            json!({"name": topic.name, "configs": topic.configs, "partitions": partitions}),
        );
    }
    let mut rows = Listing::new(&["partition", "earliest", "latest"]);
    for (index, earliest, latest) in partitions {
        rows.add_row([index.to_string(), earliest.to_string(), latest.to_string()]);
    }
    line(format!("topic {}\n{rows}", topic.name))?;
    for (key, value) in topic.configs {
        line(format!("{key} = {value}"))?;
    }
    Ok(())
}

/// Number, first offset and end of each partition.
async fn partitions(admin: &dyn Admin, topic: &str, count: i32) -> Result<Vec<(i32, i64, i64)>> {
    let mut partitions = Vec::new();
    for index in 0..count {
        let partition = TopicPartition::new(topic, index);
        let earliest = admin.offset(&partition, OffsetSpec::Earliest).await?;
        let latest = admin.offset(&partition, OffsetSpec::Latest).await?;
        partitions.push((index, earliest, latest));
    }
    Ok(partitions)
}
