//! Keys of the sink: Debezium's JDBC sink's, with Confluent's and Aiven's names as aliases.

use connect_api::{
    ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Importance, Rule, Width,
};

use super::cell::Decimals;
use super::row::{TableFormat, column_issue};
use super::url;
use crate::tls::Encryption;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertMode {
    Insert,
    Upsert,
}

/// Where the primary key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyMode {
    None,
    RecordKey,
    RecordValue,
}

/// Which fields of a value become columns.
#[derive(Debug, Clone, Default)]
pub(super) struct FieldLists {
    /// Only these, if there are any.
    include: Vec<(Option<String>, String)>,
    exclude: Vec<(Option<String>, String)>,
}

impl FieldLists {
    /// Whether a field of a topic's values becomes a column.
    pub(super) fn take(&self, topic: &str, field: &str) -> bool {
        let listed = |list: &[(Option<String>, String)]| {
            list.iter()
                .any(|(of, name)| name == field && of.as_deref().is_none_or(|of| of == topic))
        };
        (self.include.is_empty() || listed(&self.include)) && !listed(&self.exclude)
    }
}

/// Items `field` or `topic:field`.
fn fields_of(items: Vec<String>) -> Vec<(Option<String>, String)> {
    items
        .into_iter()
        .map(|item| match item.split_once(':') {
            Some((topic, field)) => (Some(topic.trim().to_owned()), field.trim().to_owned()),
            None => (None, item),
        })
        .collect()
}

/// The keys, typed.
#[derive(Debug, Clone)]
pub(super) struct SinkConfig {
    pub(super) connection: tokio_postgres::Config,
    pub(super) encryption: Encryption,
    pub(super) insert_mode: InsertMode,
    pub(super) key_mode: KeyMode,
    pub(super) key_fields: Vec<String>,
    pub(super) delete_enabled: bool,
    pub(super) truncate_enabled: bool,
    pub(super) evolve: bool,
    pub(super) table_format: TableFormat,
    pub(super) fields: FieldLists,
    pub(super) batch_size: usize,
    pub(super) decimals: Decimals,
}

pub(super) fn def() -> ConfigDef {
    connection(ConfigDef::new())
        .with(
            ConfigKey::optional(
                "insert.mode",
                ConfigType::String,
                Some("insert"),
                "'insert' adds a row for each record; 'upsert' inserts or updates the row of the record's primary key.",
            )
            .rule(Rule::OneOf(&["insert", "upsert"]))
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "primary.key.mode",
                ConfigType::String,
                Some("none"),
                "Where the primary key comes from: 'record_key', 'record_value', or 'none'.",
            )
            .rule(Rule::OneOf(&["none", "record_key", "record_value"]))
            .alias(&["pk.mode"])
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "primary.key.fields",
                ConfigType::List,
                None,
                "Columns of the primary key. A key that is a single value needs one name; without it, all fields of a \
                 structured key are taken. 'record_value' needs them.",
            )
            .alias(&["pk.fields"])
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "delete.enabled",
                ConfigType::Boolean,
                Some("false"),
                "A record without a value deletes the row of its key; needs primary.key.mode=record_key. Otherwise \
                 such records are passed over.",
            )
            .importance(Importance::Medium),
        )
        .with(
            ConfigKey::optional(
                "truncate.enabled",
                ConfigType::Boolean,
                Some("false"),
                "An event that its table was truncated empties the table here. It stands in order among the changes where the \
                 topic has one partition.",
            )
            .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional(
                "schema.evolution",
                ConfigType::String,
                None,
                "'basic' makes missing tables and adds missing columns; 'none' does not. The default is 'basic', or \
                 what auto.create says.",
            )
            .rule(Rule::OneOf(&["none", "basic"])),
        )
        .with(
            ConfigKey::optional("auto.create", ConfigType::Boolean, None, "Confluent's name for schema.evolution=basic.")
                .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional("auto.evolve", ConfigType::Boolean, None, "Confluent's name for schema.evolution=basic.")
                .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional(
                "collection.name.format",
                ConfigType::String,
                Some("${topic}"),
                "Name of the table; ${topic} stands for the topic, whose dots become underscores. Dots in the format \
                 separate schema and table, or the database that is connected to, schema and table.",
            )
            .alias(&["table.name.format"])
            .rule(Rule::NotEmpty),
        )
        .with(
            ConfigKey::optional(
                "field.include.list",
                ConfigType::List,
                None,
                "Fields of the value that become columns, as field or topic:field; all without it. Those of the primary \
                 key always do.",
            )
            .alias(&["fields.whitelist"]),
        )
        .with(ConfigKey::optional(
            "field.exclude.list",
            ConfigType::List,
            None,
            "Fields of the value that become no columns, as field or topic:field.",
        ))
        .with(
            ConfigKey::optional(
                "decimal.handling.mode",
                ConfigType::String,
                None,
                "How change events without schemas have decimals: 'precise' (base64) or 'string', as the source's key of \
                 this name says. Without it each text shows what it is; one that may be both is refused.",
            )
            .rule(Rule::OneOf(&["precise", "string"]))
            .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional("batch.size", ConfigType::Int, Some("2000"), "At most this many rows in one statement.")
                .rule(Rule::Between(1, 100_000))
                .importance(Importance::Low),
        )
}

fn connection(def: ConfigDef) -> ConfigDef {
    def.with(
        ConfigKey::required(
            "connection.url",
            ConfigType::String,
            "jdbc:postgresql://host:port/database or postgresql://user@host:port/database; sslmode, sslrootcert, sslcert and \
             sslkey may follow behind a question mark.",
        )
        .rule(Rule::NotEmpty)
        .width(Width::Long),
    )
    .with(
        ConfigKey::optional(
            "connection.username",
            ConfigType::String,
            None,
            "User to connect as.",
        )
        .alias(&["connection.user"])
        .importance(Importance::High),
    )
    .with(
        ConfigKey::optional(
            "connection.password",
            ConfigType::Password,
            None,
            "The user's password.",
        )
        .importance(Importance::High),
    )
}

impl SinkConfig {
    pub(super) fn parse(map: &ConfigMap) -> Result<Self, ConnectError> {
        let config = def().parse(map)?;
        let (mut connection, encryption) = url::parse(config.string("connection.url"))
            .map_err(|reason| ConnectError::config("connection.url", reason))?;
        if let Some(user) = config.get("connection.username") {
            connection.user(user);
        }
        if let Some(password) = config.get("connection.password") {
            connection.password(password);
        }
        let insert_mode = match config.string("insert.mode") {
            "upsert" => InsertMode::Upsert,
            _ => InsertMode::Insert,
        };
        let key_mode = match config.string("primary.key.mode") {
            "record_key" => KeyMode::RecordKey,
            "record_value" => KeyMode::RecordValue,
            _ => KeyMode::None,
        };
        let key_fields = config.list("primary.key.fields");
        if let Some(issue) = key_fields.iter().find_map(|field| column_issue(field)) {
            let message = format!("a column cannot have {issue}");
            return Err(ConnectError::config("primary.key.fields", message));
        }
        let delete_enabled = config.boolean("delete.enabled");
        let asked = |key: &str| config.get(key).map(|_| config.boolean(key));
        let evolve = match config.get("schema.evolution") {
            Some(evolution) => evolution == "basic",
            None => match (asked("auto.create"), asked("auto.evolve")) {
                (None, None) => true,
                (create, evolve) => create.unwrap_or(false) || evolve.unwrap_or(false),
            },
        };
        if insert_mode == InsertMode::Upsert && key_mode == KeyMode::None {
            return Err(ConnectError::config(
                "primary.key.mode",
                "insert.mode=upsert needs a primary key: set record_key or record_value",
            ));
        }
        if key_mode == KeyMode::RecordValue && key_fields.is_empty() {
            return Err(ConnectError::config(
                "primary.key.fields",
                "primary.key.mode=record_value needs the names of the key's fields",
            ));
        }
        if delete_enabled && key_mode != KeyMode::RecordKey {
            return Err(ConnectError::config(
                "delete.enabled",
                "deletes need primary.key.mode=record_key: a record without a value has only its key",
            ));
        }
        let format = config.string("collection.name.format");
        let table_format = TableFormat::parse(format, connection.get_dbname())
            .map_err(|reason| ConnectError::config("collection.name.format", reason))?;
        Ok(Self {
            connection,
            encryption,
            insert_mode,
            key_mode,
            key_fields,
            delete_enabled,
            truncate_enabled: config.boolean("truncate.enabled"),
            evolve,
            table_format,
            fields: FieldLists {
                include: fields_of(config.list("field.include.list")),
                exclude: fields_of(config.list("field.exclude.list")),
            },
            batch_size: config.count("batch.size"),
            decimals: match config.get("decimal.handling.mode") {
                Some("precise") => Decimals::Precise,
                Some(_) => Decimals::Text,
                None => Decimals::Unsaid,
            },
        })
    }
}
