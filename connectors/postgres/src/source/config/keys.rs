//! The keys with their defaults and what people read of them.

use connect_api::{ConfigDef, ConfigKey, ConfigType, Importance, Rule};

use crate::tls::Mode;

fn text(name: &str, default: Option<&str>, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::String, default, doc)
}

fn choice(name: &str, default: &str, choices: &'static [&'static str], doc: &str) -> ConfigKey {
    text(name, Some(default), doc).rule(Rule::OneOfIgnoringCase(choices))
}

fn flag(name: &str, default: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::Boolean, Some(default), doc)
}

/// All of them.
pub(in crate::source) fn def() -> ConfigDef {
    let keys = connection()
        .into_iter()
        .chain(slot_and_publication())
        .chain(filters())
        .chain(snapshot())
        .chain(rendering())
        .chain(records());
    keys.fold(ConfigDef::new(), ConfigDef::with)
}

fn connection() -> Vec<ConfigKey> {
    vec![
        ConfigKey::required(
            "database.hostname",
            ConfigType::String,
            "Host name or address of the PostgreSQL server.",
        )
        .rule(Rule::NotEmpty),
        ConfigKey::optional(
            "database.port",
            ConfigType::Int,
            Some("5432"),
            "Port of the server.",
        )
        .rule(Rule::Between(1, 65_535)),
        ConfigKey::required(
            "database.user",
            ConfigType::String,
            "User to connect as; has to have the right to replicate.",
        )
        .rule(Rule::NotEmpty),
        ConfigKey::optional(
            "database.password",
            ConfigType::Password,
            None,
            "The user's password.",
        )
        .importance(Importance::High),
        ConfigKey::required(
            "database.dbname",
            ConfigType::String,
            "Database whose changes are captured.",
        )
        .rule(Rule::NotEmpty),
        choice(
            "database.sslmode",
            "prefer",
            Mode::WORDS,
            "Whether connections are encrypted, as libpq has it: 'allow' and 'prefer' take what the server offers, 'require' \
             is always encrypted, 'verify-ca' looks who signed the server's certificate, 'verify-full' also whom it names.",
        ),
        text(
            "database.sslrootcert",
            None,
            "File in PEM of the certificates that sign the server's; 'system' for those that this machine trusts.",
        ),
        text(
            "database.sslcert",
            None,
            "File in PEM with the certificate of this client, where the server asks for one.",
        ),
        text(
            "database.sslkey",
            None,
            "File with its key, in PEM or PKCS #8, without a password.",
        ),
        ConfigKey::required(
            "topic.prefix",
            ConfigType::String,
            "Name of this source: first part of all its topics, and the key of its offset. Never change it.",
        )
        .rule(Rule::NotEmpty),
    ]
}

fn slot_and_publication() -> Vec<ConfigKey> {
    vec![
        choice(
            "plugin.name",
            "pgoutput",
            &["pgoutput"],
            "The server's output plugin; pgoutput is the one that every server has.",
        ),
        text(
            "slot.name",
            Some("debezium"),
            "Replication slot; made where it is missing.",
        )
        .rule(Rule::NotEmpty),
        flag(
            "slot.drop.on.stop",
            "false",
            "Drop the slot when the task stops; what changes until it starts again is then lost.",
        ),
        text(
            "slot.stream.params",
            None,
            "'proto_version=2;streaming=on' has the server send large transactions before they end (PostgreSQL 14 and later), \
             which then are kept on this machine's disk until their commit.",
        ),
        text(
            "slot.stream.folder",
            None,
            "Folder where they are kept; the system's folder of temporary files without it.",
        ),
        text(
            "publication.name",
            Some("dbz_publication"),
            "Publication that tells the server which tables to send.",
        )
        .rule(Rule::NotEmpty),
        choice(
            "publication.autocreate.mode",
            "all_tables",
            &["all_tables", "disabled", "filtered", "no_tables"],
            "A publication that is missing is made for all tables, not at all, for the tables of the filters (then it \
             is also kept up to them), or for no tables.",
        ),
        flag(
            "publish.via.partition.root",
            "false",
            "Changes of partitions come as changes of the partitioned table; for a publication that is made here.",
        ),
        ConfigKey::optional(
            "slot.lag.warn",
            ConfigType::Long,
            Some("1073741824"),
            "Once the server keeps more bytes of its log for the slot the connector warns; 0 for never.",
        )
        .rule(Rule::AtLeast(0)),
        ConfigKey::optional(
            "slot.lag.critical",
            ConfigType::Long,
            Some("10737418240"),
            "Once the server keeps more bytes of its log for the slot the connector tells of an error, and goes on; 0 for \
             never.",
        )
        .rule(Rule::AtLeast(0)),
        choice(
            "offset.mismatch.strategy",
            "trust_offset",
            &[
                "no_validation",
                "trust_offset",
                "trust_slot",
                "trust_greater_lsn",
            ],
            "What to do where the slot is ahead of the stored offset, so that changes are lost: 'trust_offset' fails, \
             the others go on from the slot with a warning.",
        ),
    ]
}

fn filters() -> Vec<ConfigKey> {
    let list = |name: &str, what: &str| {
        ConfigKey::optional(
            name,
            ConfigType::String,
            None,
            format!("Regular expressions, separated by commas, that match the whole of {what}."),
        )
    };
    vec![
        list("schema.include.list", "the schemas to capture"),
        list("schema.exclude.list", "the schemas to leave out"),
        list(
            "table.include.list",
            "schema.table of the tables to capture",
        ),
        list(
            "table.exclude.list",
            "schema.table of the tables to leave out",
        ),
        ConfigKey::optional(
            "table.discovery.interval.ms",
            ConfigType::Int,
            Some("10000"),
            "How often tables that are new and pass the filters are looked for, with publication.autocreate.mode=filtered; they are \
             captured, and read first. 0 for only at the start.",
        )
        .rule(Rule::AtLeast(0)),
        list(
            "column.include.list",
            "schema.table.column of the columns to capture",
        ),
        list(
            "column.exclude.list",
            "schema.table.column of the columns to leave out",
        ),
        list("message.prefix.include.list", "the prefixes of logical messages to capture"),
        list("message.prefix.exclude.list", "the prefixes of logical messages to leave out"),
        text(
            "message.key.columns",
            None,
            "Columns of the record's key in place of the primary key: schema.table:column,column;…",
        ),
    ]
}

fn snapshot() -> Vec<ConfigKey> {
    vec![
        choice(
            "snapshot.mode",
            "initial",
            &[
                "always",
                "initial",
                "initial_only",
                "no_data",
                "never",
                "when_needed",
            ],
            "'initial': tables are read once, then changes are streamed; 'always': at every start; 'initial_only': \
             read, then done; 'no_data' ('never'): only changes; 'when_needed': as 'initial', and again when the \
             stored position is no longer on the server.",
        ),
        text(
            "snapshot.include.collection.list",
            None,
            "Regular expressions of the captured tables that a snapshot reads; all by default.",
        ),
        text(
            "snapshot.select.statement.overrides",
            None,
            "Tables (schema.table) whose snapshot is read by the SELECT that \
             snapshot.select.statement.overrides.<schema.table> gives.",
        ),
        ConfigKey::optional(
            "snapshot.max.threads",
            ConfigType::Int,
            Some("1"),
            "Connections that read tables at the same time under one snapshot: large ones in ranges of their primary key, others \
             beside each other.",
        )
        .rule(Rule::Between(1, 64)),
    ]
}

fn rendering() -> Vec<ConfigKey> {
    vec![
        choice(
            "decimal.handling.mode",
            "precise",
            &["precise", "double", "string"],
            "How numeric and money are rendered.",
        ),
        choice(
            "time.precision.mode",
            "adaptive",
            &[
                "adaptive",
                "adaptive_time_microseconds",
                "connect",
                "isostring",
                "microseconds",
                "nanoseconds",
            ],
            "How dates and times without a zone are rendered.",
        ),
        choice(
            "infinity.handling.mode",
            "keep",
            &["keep", "clip"],
            "Dates and times without end: 'keep' has them as Debezium does; 'clip' takes the first and the last moment of the years 1 \
             to 9999 for them, which every reader knows.",
        ),
        choice(
            "numeric.special.text",
            "debezium",
            &["debezium", "postgres"],
            "What is no number, with decimal.handling.mode=string: 'debezium' has NAN, POSITIVE_INFINITY and NEGATIVE_INFINITY; \
             'postgres' NaN, Infinity and -Infinity.",
        ),
        choice(
            "interval.handling.mode",
            "numeric",
            &["numeric", "string"],
            "Intervals as microseconds or as ISO 8601.",
        ),
        choice(
            "hstore.handling.mode",
            "json",
            &["json", "map"],
            "hstore as JSON text or as a map.",
        ),
        choice(
            "binary.handling.mode",
            "bytes",
            &["bytes", "base64", "base64-url-safe", "hex"],
            "How bytea is rendered.",
        ),
        ConfigKey::optional(
            "money.fraction.digits",
            ConfigType::Int,
            Some("2"),
            "Digits of money behind the point.",
        )
        .rule(Rule::Between(0, 20)),
        flag(
            "include.unknown.datatypes",
            "false",
            "Columns of types that are not known are sent as the bytes of their text.",
        ),
        text(
            "unavailable.value.placeholder",
            Some("__debezium_unavailable_value"),
            "Stands for a large value that did not change and that the server does not send.",
        ),
    ]
}

fn records() -> Vec<ConfigKey> {
    vec![
        flag(
            "tombstones.on.delete",
            "true",
            "A delete is followed by a record without a value.",
        ),
        flag(
            "provide.transaction.metadata",
            "false",
            "Records tell their place in their transaction; begin and end go to a topic of their own.",
        ),
        text(
            "topic.transaction",
            Some("transaction"),
            "That topic is <topic.prefix>.<this>.",
        )
        .rule(Rule::NotEmpty),
        flag(
            "extended.headers.enabled",
            "true",
            "Records have headers that name connector, task and run.",
        ),
        text(
            "skipped.operations",
            Some("t"),
            "Operations that give no records: c, u, d, t separated by commas, or none.",
        ),
        flag(
            "skip.messages.without.change",
            "false",
            "An update that changed no captured column gives no record; needs REPLICA IDENTITY FULL.",
        ),
        ConfigKey::optional(
            "heartbeat.interval.ms",
            ConfigType::Int,
            Some("0"),
            "A heartbeat record at this interval; 0 for none. The slot moves without it.",
        )
        .rule(Rule::AtLeast(0)),
        text(
            "topic.heartbeat.prefix",
            Some("__debezium-heartbeat"),
            "Heartbeats go to <this>.<topic.prefix>.",
        )
        .alias(&["heartbeat.topics.prefix"])
        .rule(Rule::NotEmpty),
        text(
            "heartbeat.action.query",
            None,
            "A statement that is run with every heartbeat.",
        ),
        text(
            "signal.data.collection",
            None,
            "Table (schema.table) with the columns id, type, data, whose new rows are signals: execute-snapshot, stop-snapshot, \
             pause-snapshot, resume-snapshot, log.",
        ),
        ConfigKey::optional(
            "incremental.snapshot.chunk.size",
            ConfigType::Int,
            Some("1024"),
            "Rows that an incremental snapshot reads at a time.",
        )
        .rule(Rule::Between(1, 1_000_000)),
        ConfigKey::optional(
            "signal.enabled.channels",
            ConfigType::List,
            Some("source"),
            "Where signals come from: 'source', the table; 'kafka', the topic.",
        ),
        text(
            "signal.kafka.topic",
            None,
            "Topic of signals, with signal.enabled.channels=kafka: <topic.prefix>-signal without it. Its records have topic.prefix as \
             their key and {\"type\": …, \"data\": …} as their value.",
        ),
        ConfigKey::optional(
            "max.batch.size",
            ConfigType::Int,
            Some("2048"),
            "At most this many records at a time.",
        )
        .rule(Rule::Between(1, 1_000_000)),
    ]
}
