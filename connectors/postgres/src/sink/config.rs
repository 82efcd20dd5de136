//! Keys of the sink: Debezium's JDBC sink's, with Confluent's and Aiven's names as aliases.

use connect_api::{
    ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Importance, Rule, Undeclared, Width,
};

use super::cell::{Decimals, Kind};
use super::row::{TableFormat, TableName, column_issue};
use super::url;
use crate::tls::Encryption;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertMode {
    Insert,
    Upsert,
    /// Rows that are there change; others are passed over.
    Update,
}

/// Where the primary key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyMode {
    None,
    /// The record's place in the log.
    Kafka,
    RecordKey,
    RecordValue,
    RecordHeader,
}

/// Columns of a record's place in the log.
const PLACE: [&str; 3] = ["__connect_topic", "__connect_partition", "__connect_offset"];

/// Keys of Debezium's, Confluent's and Aiven's sinks that have no effect here; a check names them.
const WITHOUT_EFFECT: &[&str] = &[
    "cloud.events.schema.name.pattern",
    "collection.naming.strategy",
    "collection.table.format",
    "column.naming.strategy",
    "connection.attempts",
    "connection.backoff.ms",
    "connection.pool.acquire_increment",
    "connection.pool.max_size",
    "connection.pool.min_size",
    "connection.pool.timeout",
    "connection.provider",
    "connection.restart.on.errors",
    "database.time_zone",
    "date.timezone",
    "db.timezone",
    "dialect.name",
    "dialect.postgres.postgis.schema",
    "dialect.postgres.unnest.insert.enabled",
    "dialect.sqlserver.identity.insert",
    "flush.max.retries",
    "flush.retry.delay.ms",
    "max.retries",
    "mssql.use.merge.holdlock",
    "retry.backoff.ms",
    "table.naming.strategy",
    "table.types",
    "trim.sensitive.log",
    "use.reduction.buffer",
    "use.time.zone",
];

/// Prefixes of names of which these sinks have many.
const WITHOUT_EFFECT_PREFIXES: &[&str] = &["column.naming.strategy.", "hibernate.", "openlineage."];

/// What becomes of a key that is not declared.
pub(super) fn undeclared(key: &str) -> Undeclared {
    let begins = |prefix: &&str| key.starts_with(prefix);
    match WITHOUT_EFFECT.contains(&key) || WITHOUT_EFFECT_PREFIXES.iter().any(begins) {
        true => Undeclared::WithoutEffect,
        false => Undeclared::Unknown,
    }
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
    /// Columns of the record key that may be null, with the types of new columns.
    pub(super) nullable_keys: Vec<(String, Kind)>,
    /// Columns whose types are known before their values.
    pub(super) column_types: Vec<(String, Kind)>,
    pub(super) delete_enabled: bool,
    pub(super) truncate_enabled: bool,
    pub(super) evolve: bool,
    pub(super) table_format: TableFormat,
    pub(super) fields: FieldLists,
    /// Names become lower case.
    pub(super) lower_case: bool,
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
                "'insert' adds a row for each record; 'upsert' inserts or updates the row of the record's primary key; 'update' \
                 only updates it where it is there.",
            )
            .rule(Rule::OneOf(&["insert", "upsert", "update"]))
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "primary.key.mode",
                ConfigType::String,
                Some("none"),
                "Where the primary key comes from: 'record_key', 'record_value', 'record_header', 'kafka' (topic, partition and \
                 offset), or 'none'.",
            )
            .rule(Rule::OneOf(&["none", "kafka", "record_key", "record_value", "record_header"]))
            .alias(&["pk.mode"])
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "primary.key.fields",
                ConfigType::List,
                None,
                "Columns of the primary key. A key that is a single value needs one name; without it, all fields of a \
                 structured key are taken. 'record_value' and 'record_header' need them; for 'kafka' they are three names in \
                 place of __connect_topic, __connect_partition and __connect_offset.",
            )
            .alias(&["pk.fields"])
            .importance(Importance::High),
        )
        .with(
            ConfigKey::optional(
                "primary.key.nullable",
                ConfigType::List,
                None,
                "Columns of the record key that may be null, as column:type (types as in column.types): null is a value like any other. A table that is made has a unique constraint on the key then, because \
                 no primary key takes a null.",
            )
            .importance(Importance::Low),
        )
        .with(
            ConfigKey::optional(
                "column.types",
                ConfigType::List,
                None,
                "Types of columns that are made here, as column:type (boolean, smallint, integer, bigint, real, double precision, \
                 numeric, text, bytea, date, time, timestamp, timestamptz, jsonb). A column that is not named has the type that \
                 its first values show.",
            )
            .importance(Importance::Low),
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
            ConfigKey::optional(
                "quote.identifiers",
                ConfigType::String,
                Some("true"),
                "Names of tables and columns are as they come; with 'false' (or 'never') in lower case, as PostgreSQL reads names \
                 without quotes.",
            )
            .rule(Rule::OneOfIgnoringCase(&["true", "false", "always", "never"]))
            .alias(&["quote.sql.identifiers", "sql.quote.identifiers"])
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
    /// Whether a row is found by a key that has NULLs in it.
    pub(super) fn takes_null_keys(&self) -> bool {
        let by_key = (self.insert_mode, self.key_mode) == (InsertMode::Upsert, KeyMode::RecordKey);
        by_key && !self.nullable_keys.is_empty()
    }

    /// The table of a topic's rows.
    pub(super) fn table_of(&self, topic: &str) -> TableName {
        let mut name = self.table_format.name(topic);
        if self.lower_case {
            name.schema = name.schema.map(|schema| schema.to_lowercase());
            name.table = name.table.to_lowercase();
        }
        name
    }

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
            "update" => InsertMode::Update,
            _ => InsertMode::Insert,
        };
        let key_mode = match config.string("primary.key.mode") {
            "record_key" => KeyMode::RecordKey,
            "record_value" => KeyMode::RecordValue,
            "record_header" => KeyMode::RecordHeader,
            "kafka" => KeyMode::Kafka,
            _ => KeyMode::None,
        };
        let mut key_fields = config.list("primary.key.fields");
        if key_mode == KeyMode::Kafka && key_fields.is_empty() {
            key_fields = PLACE.map(str::to_owned).into();
        }
        if let Some(issue) = key_fields.iter().find_map(|field| column_issue(field)) {
            let message = format!("a column cannot have {issue}");
            return Err(ConnectError::config("primary.key.fields", message));
        }
        let typed = |key: &str| {
            let columns = config.list(key);
            let columns = columns.iter().map(|column| {
                let (name, kind) = column.rsplit_once(':')?;
                Some((name.trim().to_owned(), Kind::named(kind.trim())?))
            });
            columns.collect::<Option<Vec<_>>>().ok_or_else(|| {
                let message = format!(
                    "takes column:type, where the type is one of {}",
                    Kind::names()
                );
                ConnectError::config(key, message)
            })
        };
        let (nullable_keys, mut column_types) =
            (typed("primary.key.nullable")?, typed("column.types")?);
        let quotes = config.string("quote.identifiers").to_ascii_lowercase();
        let lower_case = matches!(quotes.as_str(), "false" | "never");
        if lower_case {
            for (name, _) in &mut column_types {
                *name = name.to_lowercase();
            }
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
        let mode = config.string("insert.mode");
        if insert_mode != InsertMode::Insert && key_mode == KeyMode::None {
            return Err(ConnectError::config(
                "primary.key.mode",
                format!("insert.mode={mode} needs a primary key: set record_key or record_value"),
            ));
        }
        let mode = config.string("primary.key.mode");
        let named = matches!(key_mode, KeyMode::RecordValue | KeyMode::RecordHeader);
        if named && key_fields.is_empty() {
            return Err(ConnectError::config(
                "primary.key.fields",
                format!("primary.key.mode={mode} needs the names of the key's fields"),
            ));
        }
        if key_mode == KeyMode::Kafka && key_fields.len() != PLACE.len() {
            return Err(ConnectError::config(
                "primary.key.fields",
                "primary.key.mode=kafka takes three names: of the topic's column, the partition's and the offset's",
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
            nullable_keys,
            column_types,
            delete_enabled,
            truncate_enabled: config.boolean("truncate.enabled"),
            evolve,
            table_format,
            fields: FieldLists {
                include: fields_of(config.list("field.include.list")),
                exclude: fields_of(config.list("field.exclude.list")),
            },
            lower_case,
            batch_size: config.count("batch.size"),
            decimals: match config.get("decimal.handling.mode") {
                Some("precise") => Decimals::Precise,
                Some(_) => Decimals::Text,
                None => Decimals::Unsaid,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)]) -> SinkConfig {
        let mut map: ConfigMap = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        map.entry("connection.url".to_owned())
            .or_insert_with(|| "jdbc:postgresql://db/d".to_owned());
        SinkConfig::parse(&map).unwrap()
    }

    /// What a configuration means, without its passwords.
    fn meaning(pairs: &[(&str, &str)]) -> String {
        format!("{:?}", parsed(pairs))
    }

    #[test]
    fn keys_of_all_three_sinks_mean_the_same() {
        let key = ("primary.key.mode", "record_key");
        for (debezium, others) in [
            (
                ("connection.username", "u"),
                &[("connection.user", "u")] as &[_],
            ),
            (key, &[("pk.mode", "record_key")]),
            (("primary.key.fields", "a,b"), &[("pk.fields", "a,b")]),
            (
                ("collection.name.format", "s.${topic}"),
                &[("table.name.format", "s.${topic}")],
            ),
            (
                ("field.include.list", "a,t:b"),
                &[("fields.whitelist", "a,t:b")],
            ),
            (
                ("schema.evolution", "basic"),
                &[("auto.create", "true"), ("auto.evolve", "true")],
            ),
            (
                ("schema.evolution", "none"),
                &[("auto.create", "false"), ("auto.evolve", "false")],
            ),
            (
                ("quote.identifiers", "false"),
                &[
                    ("quote.sql.identifiers", "never"),
                    ("sql.quote.identifiers", "false"),
                ],
            ),
            (
                ("connection.url", "jdbc:postgresql://h:7/d"),
                &[
                    ("connection.url", "postgresql://h:7/d"),
                    ("connection.url", "jdbc:postgresql://h:7/d?sslmode=prefer"),
                ],
            ),
        ] {
            for other in others {
                assert_eq!(meaning(&[*other]), meaning(&[debezium]), "{other:?}");
            }
        }
    }

    #[test]
    fn every_key_does_something() {
        let key = ("primary.key.mode", "record_key");
        for (value, more) in [
            (("insert.mode", "upsert"), &[key] as &[_]),
            (("insert.mode", "update"), &[key]),
            (key, &[]),
            (("primary.key.mode", "kafka"), &[]),
            (
                ("primary.key.mode", "record_value"),
                &[("primary.key.fields", "a")],
            ),
            (
                ("primary.key.mode", "record_header"),
                &[("primary.key.fields", "a")],
            ),
            (("primary.key.fields", "a"), &[key]),
            (("delete.enabled", "true"), &[key]),
            (("truncate.enabled", "true"), &[]),
            (("schema.evolution", "none"), &[]),
            (("collection.name.format", "t"), &[]),
            (("batch.size", "7"), &[]),
            (("field.include.list", "a"), &[]),
            (("field.exclude.list", "a"), &[]),
            (("decimal.handling.mode", "precise"), &[]),
            (("connection.username", "u"), &[]),
            (("connection.password", "p"), &[]),
        ] {
            let with: Vec<(&str, &str)> = more.iter().copied().chain([value]).collect();
            let (with, without) = (parsed(&with), parsed(more));
            let is_same = format!("{with:?}") == format!("{without:?}")
                && with.connection.get_password() == without.connection.get_password();
            assert!(!is_same, "{value:?}");
        }
        // Rows of a batch are always reduced to the last one a key: the key has nothing to choose.
        for key in ["use.reduction.buffer", "max.retries", "db.timezone"] {
            assert_eq!(undeclared(key), Undeclared::WithoutEffect, "{key}");
        }
        assert_eq!(undeclared("primary.key.field"), Undeclared::Unknown);
    }
}
