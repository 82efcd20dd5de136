//! The keys that every connector has, in the order in which Kafka's `validate` returns them, and the JSON of a key.

use connect_api::{
    ConfigDef, ConfigKey, ConfigType, ConnectorKind, ConnectorPlugin, Importance, Rule, Width,
};
use serde_json::{Value as Json, json};

use crate::converter::{ConverterKind, SIMPLE_HEADERS};
use crate::transform::{PredicateKind, TransformKind};

const COMMON: &str = "Common";
const TRANSFORMS: &str = "Transforms";
const PREDICATES: &str = "Predicates";
const ERRORS: &str = "Error Handling";
const TOPICS: &str = "Topic Creation";
const EXACTLY_ONCE: &str = "Exactly Once Support";

/// Keys of Kafka Connect that this worker accepts without effect: `validate` warns of them by name.
pub(super) const UNSUPPORTED: &[&str] = &[
    "connector.plugin.version",
    "key.converter.plugin.version",
    "value.converter.plugin.version",
    "header.converter.plugin.version",
    "offsets.storage.topic",
];

/// Prefixes that some part claims whole: their keys are checked by that part, or belong to clients of a log.
pub(super) const PREFIXES: &[&str] = &[
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "transforms.",
    "predicates.",
    "topic.creation.",
    "producer.override.",
    "consumer.override.",
    "admin.override.",
];

/// The keys of all connectors of a kind.
pub(super) fn common(kind: ConnectorKind) -> ConfigDef {
    let def = ConfigDef::new()
        .with(
            ConfigKey::required("name", ConfigType::String, "Globally unique name to use for this connector.")
                .rule(Rule::NotEmpty)
                .group(COMMON)
                .width(Width::Medium)
                .display("Connector name"),
        )
        .with(
            ConfigKey::required(
                "connector.class",
                ConfigType::String,
                "Name or alias of the class for this connector, e.g. \
                 \"org.apache.kafka.connect.file.FileStreamSinkConnector\" or \"FileStreamSink\".",
            )
            .group(COMMON)
            .width(Width::Long)
            .display("Connector class"),
        )
        .with(
            ConfigKey::optional("tasks.max", ConfigType::Int, Some("1"), "Maximum number of tasks to use for this connector.")
                .rule(Rule::Between(1, 10_000))
                .importance(Importance::High)
                .group(COMMON)
                .width(Width::Short)
                .display("Tasks max"),
        )
        .with(
            ConfigKey::optional(
                "tasks.max.enforce",
                ConfigType::Boolean,
                Some("true"),
                "Whether to enforce that the tasks.max property is respected by the connector.",
            )
            .importance(Importance::Low)
            .group(COMMON)
            .width(Width::Short)
            .display("Enforce tasks max"),
        )
        .with(class("key.converter", "Converter of keys; the worker's where none is named.", COMMON, "Key converter class"))
        .with(class("value.converter", "Converter of values; the worker's where none is named.", COMMON, "Value converter class"))
        .with(
            ConfigKey::optional(
                "header.converter",
                ConfigType::Class,
                Some(SIMPLE_HEADERS),
                "Converter of header values. Text and bytes are kept as they are, other values are written as JSON; or one of the converters of keys and values.",
            )
            .importance(Importance::Low)
            .group(COMMON)
            .width(Width::Short)
            .display("Header converter class"),
        )
        .with(
            ConfigKey::optional("transforms", ConfigType::List, Some(""), "Aliases for the transformations to be applied to records.")
                .importance(Importance::Low)
                .group(TRANSFORMS)
                .width(Width::Long)
                .display("Transforms"),
        )
        .with(
            ConfigKey::optional("predicates", ConfigType::List, Some(""), "Aliases for the predicates used by transformations.")
                .importance(Importance::Low)
                .group(PREDICATES)
                .width(Width::Long)
                .display("Predicates"),
        )
        .with(
            ConfigKey::optional(
                "config.action.reload",
                ConfigType::String,
                Some("restart"),
                "The action that Connect should take on the connector when changes in external configuration providers \
                 result in a change in the connector's configuration properties.",
            )
            .rule(Rule::OneOf(&["none", "restart"]))
            .importance(Importance::Low)
            .group(COMMON)
            .width(Width::Medium)
            .display("Reload Action"),
        );
    let def = errors(def);
    match kind {
        ConnectorKind::Source => source(def),
        ConnectorKind::Sink => sink(def),
    }
}

fn class(name: &str, documentation: &str, group: &str, display: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::Class, None, documentation)
        .importance(Importance::Low)
        .group(group)
        .width(Width::Short)
        .display(display)
}

fn errors(def: ConfigDef) -> ConfigDef {
    let key = |name: &str, kind, default: &str, documentation: &str, display: &str| {
        ConfigKey::optional(name, kind, Some(default), documentation)
            .group(ERRORS)
            .width(Width::Medium)
            .display(display)
    };
    def.with(key(
        "errors.retry.timeout",
        ConfigType::Long,
        "0",
        "The maximum duration in milliseconds that a failed operation will be reattempted. The default is 0, which means no retries will be attempted. Use -1 for infinite retries.",
        "Retry Timeout for Errors",
    ))
    .with(
        key(
            "errors.retry.delay.max.ms",
            ConfigType::Long,
            "60000",
            "The maximum duration in milliseconds between consecutive retry attempts.",
            "Maximum Delay Between Retries for Errors",
        )
        .rule(Rule::AtLeast(1)),
    )
    .with(
        key(
            "errors.tolerance",
            ConfigType::String,
            "none",
            "Behavior for tolerating errors during connector operation. 'none' is the default value and signals that any error will result in an immediate connector task failure; 'all' changes the behavior to skip over problematic records.",
            "Error Tolerance",
        )
        .rule(Rule::OneOf(&["none", "all"]))
        .width(Width::Short),
    )
    .with(
        key(
            "errors.log.enable",
            ConfigType::Boolean,
            "false",
            "If true, write each error and the details of the failed operation and problematic record to the Connect application log.",
            "Log Errors",
        )
        .width(Width::Short),
    )
    .with(
        key(
            "errors.log.include.messages",
            ConfigType::Boolean,
            "false",
            "Whether to include in the log the Connect record that resulted in a failure.",
            "Log Error Details",
        )
        .width(Width::Short),
    )
    .with(key(
        "errors.deadletterqueue.topic.name",
        ConfigType::String,
        "",
        "The name of the topic to be used as the dead letter queue (DLQ) for messages that result in an error when processed by this connector, or its transformations or converters. Blank: no messages are recorded in a DLQ. Here source connectors have one too.",
        "Dead Letter Queue Topic Name",
    ))
    .with(key(
        "errors.deadletterqueue.topic.replication.factor",
        ConfigType::Int,
        "3",
        "Replication factor used to create the dead letter queue topic when it doesn't already exist. A single node keeps one copy whatever it says.",
        "Dead Letter Queue Topic Replication Factor",
    ))
    .with(key(
        "errors.deadletterqueue.context.headers.enable",
        ConfigType::Boolean,
        "false",
        "If true, add headers containing error context to the messages written to the dead letter queue; their keys start with __connect.errors.",
        "Enable Error Context Headers",
    ))
}

fn source(def: ConfigDef) -> ConfigDef {
    def.with(
        ConfigKey::optional(
            "topic.creation.groups",
            ConfigType::List,
            Some(""),
            "Groups of configurations for topics created by source connectors: topic.creation.<group>.include and .exclude name the topics, .partitions and configurations of topics what they are made with.",
        )
        .importance(Importance::Low)
        .group(TOPICS)
        .width(Width::Long)
        .display("Topic Creation Groups"),
    )
    .with(
        ConfigKey::optional(
            "exactly.once.support",
            ConfigType::String,
            Some("requested"),
            "'requested' and 'required' mean the same here: records and offsets are one transaction.",
        )
        .rule(Rule::OneOfIgnoringCase(&["requested", "required"]))
        .group(EXACTLY_ONCE)
        .width(Width::Short)
        .display("Exactly once support"),
    )
    .with(
        ConfigKey::optional(
            "transaction.boundary",
            ConfigType::String,
            Some("poll"),
            "'poll': what a connector gives at once is a transaction; 'interval': what comes within transaction.boundary.interval.ms. \
             No connector here has boundaries of its own, as 'connector' asks for. Without the key the interval decides.",
        )
        .rule(Rule::OneOfIgnoringCase(&["poll", "interval", "connector"]))
        .group(EXACTLY_ONCE)
        .width(Width::Short)
        .display("Transaction Boundary"),
    )
    .with(
        ConfigKey::optional(
            "transaction.boundary.interval.ms",
            ConfigType::Long,
            None,
            "How long records may wait for the end of their transaction (milliseconds); the worker's where none is given.",
        )
        .rule(Rule::AtLeast(0))
        .importance(Importance::Low)
        .group(EXACTLY_ONCE)
        .width(Width::Short)
        .display("Transaction boundary interval"),
    )
    .with(
        ConfigKey::optional(
            "offsets.storage.topic",
            ConfigType::String,
            None,
            "Recognised, not supported: offsets are kept in the worker's topic.",
        )
        .importance(Importance::Low)
        .group("offsets.topic")
        .display("Offsets topic"),
    )
}

fn sink(def: ConfigDef) -> ConfigDef {
    def.with(
        ConfigKey::optional("topics", ConfigType::List, Some(""), "List of topics to consume, separated by commas.")
            .importance(Importance::High)
            .group(COMMON)
            .width(Width::Long)
            .display("Topics"),
    )
    .with(
        ConfigKey::optional(
            "topics.regex",
            ConfigType::String,
            Some(""),
            "Regular expression giving topics to consume. Only one of topics or topics.regex should be specified.",
        )
        .importance(Importance::High)
        .group(COMMON)
        .width(Width::Long)
        .display("Topics regex"),
    )
}

/// Common keys and the connector's own, as `GET /connector-plugins/{p}/config` lists them.
pub(crate) fn key_infos(name: &str, plugins: &super::Plugins) -> Option<Vec<Json>> {
    let list = |def: &ConfigDef| {
        def.keys()
            .iter()
            .enumerate()
            .map(|(order, key)| key_json(key, order))
            .collect()
    };
    if let Some(connector) = plugins.connector(name) {
        return Some(list(&whole(&**connector)));
    }
    let def = ConverterKind::by_name(name)
        .map(ConverterKind::config_def)
        .or_else(|| TransformKind::by_name(name).map(TransformKind::config_def))
        .or_else(|| PredicateKind::by_name(name).map(PredicateKind::config_def))?;
    Some(list(&def))
}

/// Common keys, then the connector's own.
pub(crate) fn whole(connector: &dyn ConnectorPlugin) -> ConfigDef {
    connector
        .config_def()
        .keys()
        .iter()
        .fold(common(connector.kind()), |def, key| {
            // A connector may declare a common key again, to give it other words; its declaration is left out here.
            if def.key(&key.name).is_some() {
                def
            } else {
                def.with(key.clone())
            }
        })
}

/// `ConfigKeyInfo`.
pub(super) fn key_json(key: &ConfigKey, order: usize) -> Json {
    json!({
        "name": key.name,
        "type": key.kind.as_str(),
        "required": key.required,
        "default_value": key.default,
        "importance": key.importance.as_str(),
        "documentation": key.documentation,
        "group": key.group,
        "width": key.width.as_str(),
        "display_name": key.display_name,
        "dependents": [],
        "order_in_group": order + 1,
    })
}
