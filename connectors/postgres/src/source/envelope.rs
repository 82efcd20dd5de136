//! PURE: records in Debezium's envelope.
//!
//! ```text
//! insert    key            c  after
//! update    key            u  before (FULL) after
//! its key   old key        d  before, header __debezium.newkey      then old key, no value, too  then new key  c  after
//! delete    key            d  before                                then key, no value
//! snapshot  key            r  after
//! truncate  no key         t
//! message   {"prefix"}     m  topic <prefix>.message
//! ```

use std::sync::Arc;

use bytes::Bytes;
use connect_api::{Field, Header, Record, Schema, SchemaType, Struct, Text, Value};

use super::lsn::Lsn;
use super::pgoutput::{Old, Tuple};
use super::render::{self, Rendering};
use super::table::{BadValue, Table, transaction_block};

/// Where and when a change was made.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// When its transaction was committed, in microseconds since 1970; of a snapshot, when that began.
    pub(super) at_us: i64,
    /// `true`, `first`, …, `false` for a change of the stream.
    pub(super) snapshot: &'static str,
    /// End of the transaction before.
    pub(super) last_commit: Option<Lsn>,
    /// Position of the change.
    pub(super) lsn: Lsn,
    /// Its transaction.
    pub(super) xid: Option<u32>,
    /// The server where it was made, if that is another one: name and position.
    pub(super) replicated: Option<(String, Lsn)>,
}

/// The place of a change in its transaction.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `xid:lsn`.
    pub(super) id: String,
    /// Among all changes, from 1.
    pub(super) total_order: i64,
    /// Among those of its table, from 1.
    pub(super) table_order: i64,
}

impl Place {
    /// That of the event behind it, of the same table.
    fn next(&self) -> Self {
        Self {
            id: self.id.clone(),
            total_order: self.total_order + 1,
            table_order: self.table_order + 1,
        }
    }
}

/// What all records of a task share.
pub(super) struct Envelopes {
    /// Version, connector, name and database: the same in every record.
    version: Value,
    connector: Value,
    name: Value,
    database: Value,
    rendering: Rendering,
    tombstones: bool,
    headers: Vec<Header>,
    source: Arc<Schema>,
    transaction: Arc<Schema>,
    message_key: Arc<Schema>,
    message: Arc<Schema>,
    message_topic: Arc<str>,
}

/// A row that changed.
pub(super) enum Change {
    /// It was read by a snapshot.
    Read(Tuple),
    /// It is new.
    Create(Tuple),
    /// It changed.
    Update {
        /// What is told of it as it was.
        old: Option<Old>,
        /// As it is.
        new: Tuple,
    },
    /// It is gone.
    Delete(Old),
}

impl Envelopes {
    /// Records of this source; `headers` go on every record.
    pub(super) fn new(
        prefix: &str,
        database: &str,
        rendering: Rendering,
        tombstones: bool,
        headers: Vec<Header>,
    ) -> Self {
        let source = Arc::new(source_schema());
        let transaction = Arc::new(transaction_block());
        Self {
            message_key: Arc::new(message_key_schema()),
            message: Arc::new(message_schema(&source, rendering.binary_schema())),
            message_topic: format!("{prefix}.message").into(),
            version: Value::text(env!("CARGO_PKG_VERSION")),
            connector: Value::text("postgresql"),
            name: Value::text(prefix),
            database: Value::text(database),
            rendering,
            tombstones,
            headers,
            source,
            transaction,
        }
    }

    /// Schema of the block `source`.
    pub(super) fn source_schema(&self) -> &Arc<Schema> {
        &self.source
    }

    /// How values are rendered.
    pub(super) fn rendering(&self) -> &Rendering {
        &self.rendering
    }

    /// The records of a change.
    ///
    /// # Errors
    /// A value that cannot be rendered.
    pub(super) fn change(
        &self,
        table: &Table,
        change: &Change,
        origin: &Origin,
        place: Option<&Place>,
        now_ns: i64,
    ) -> Result<Vec<Record>, BadValue> {
        let with = &self.rendering;
        let envelope =
            |before, after, op| self.envelope(table, [before, after], op, origin, place, now_ns);
        let record = |key: Value, value: Value| self.record(table, key, value);
        Ok(match change {
            Change::Read(row) => vec![record(
                table.key(with, row)?,
                envelope(Value::Null, table.row(with, row)?, "r"),
            )],
            Change::Create(row) => vec![record(
                table.key(with, row)?,
                envelope(Value::Null, table.row(with, row)?, "c"),
            )],
            Change::Delete(old) => {
                let key = table.key(with, old.tuple())?;
                let before = table.row(with, old.tuple())?;
                let mut records = vec![record(key.clone(), envelope(before, Value::Null, "d"))];
                records.extend(self.tombstone(table, key));
                records
            }
            Change::Update { old, new } => {
                let mut new = new.clone();
                table.complete(&mut new, old.as_ref());
                let key = table.key(with, &new)?;
                let after = table.row(with, &new)?;
                let before = match old {
                    Some(old) => table.row(with, old.tuple())?,
                    None => Value::Null,
                };
                let old_cells = old.as_ref().map(|old| table.old_key_cells(old, &new));
                match old_cells.filter(|cells| table.key_differs(cells, &new)) {
                    None => vec![record(key, envelope(before, after, "u"))],
                    Some(cells) => {
                        let old_key = table.key(with, &cells)?;
                        let header = |name: &str, key: &Value| Header {
                            name: Text::from(name),
                            value: key.clone(),
                        };
                        let gone = record(old_key.clone(), envelope(before, Value::Null, "d"));
                        let moved = header("__debezium.newkey", &key);
                        let next = place.map(Place::next);
                        let came = [Value::Null, after];
                        let came = self.envelope(table, came, "c", origin, next.as_ref(), now_ns);
                        let mut come = record(key, came);
                        come.headers
                            .insert(0, header("__debezium.oldkey", &old_key));
                        let mut records = vec![gone];
                        records.extend(self.tombstone(table, old_key));
                        for record in &mut records {
                            record.headers.insert(0, moved.clone());
                        }
                        records.push(come);
                        records
                    }
                }
            }
        })
    }

    /// The record of a table that was emptied.
    pub(super) fn truncate(
        &self,
        table: &Table,
        origin: &Origin,
        place: Option<&Place>,
        now_ns: i64,
    ) -> Record {
        let value = self.envelope(
            table,
            [Value::Null, Value::Null],
            "t",
            origin,
            place,
            now_ns,
        );
        Record {
            key_schema: None,
            ..self.record(table, Value::Null, value)
        }
    }

    /// The record of a logical message, which has no headers: they are of changes.
    pub(super) fn message(
        &self,
        prefix: &str,
        content: Bytes,
        origin: &Origin,
        place: Option<&Place>,
        now_ns: i64,
    ) -> Record {
        let key = Struct::new(Arc::clone(&self.message_key), vec![Value::text(prefix)]);
        let body_schema = field_schema(&self.message, "message");
        let body = Struct::new(
            body_schema,
            vec![Value::text(prefix), self.rendering.binary(&content)],
        );
        let values = vec![
            Value::text("m"),
            Value::Int64(now_ns / 1_000_000),
            self.source("", "", origin),
            self.place(place),
            Value::Struct(body),
        ];
        Record {
            key_schema: Some(Arc::clone(&self.message_key)),
            value_schema: Some(Arc::clone(&self.message)),
            ..Record::new(
                Arc::clone(&self.message_topic),
                Value::Struct(key),
                Value::Struct(Struct::new(Arc::clone(&self.message), values)),
            )
        }
    }

    fn record(&self, table: &Table, key: Value, value: Value) -> Record {
        Record {
            key_schema: table.key_schema(),
            value_schema: Some(Arc::clone(&table.envelope)),
            headers: self.headers.clone(),
            ..Record::new(Arc::clone(&table.topic), key, value)
        }
    }

    fn tombstone(&self, table: &Table, key: Value) -> Option<Record> {
        // Without a key there is nothing to erase.
        (self.tombstones && !key.is_null()).then(|| Record {
            value_schema: None,
            ..self.record(table, key, Value::Null)
        })
    }

    fn envelope(
        &self,
        table: &Table,
        [before, after]: [Value; 2],
        op: &str,
        origin: &Origin,
        place: Option<&Place>,
        now_ns: i64,
    ) -> Value {
        let values = vec![
            before,
            after,
            self.source(&table.schema, &table.name, origin),
            self.place(place),
            Value::text(op),
            Value::Int64(now_ns / 1_000_000),
            Value::Int64(now_ns / 1000),
            Value::Int64(now_ns),
        ];
        Value::Struct(Struct::new(Arc::clone(&table.envelope), values))
    }

    fn source(&self, schema: &str, table: &str, origin: &Origin) -> Value {
        let position = |lsn: Lsn| i64::try_from(lsn.0).unwrap_or(i64::MAX);
        let sequence = match origin.last_commit {
            Some(commit) => format!("[\"{}\",\"{}\"]", commit.0, origin.lsn.0),
            None => format!("[null,\"{}\"]", origin.lsn.0),
        };
        let replicated = origin.replicated.as_ref();
        let values = vec![
            self.version.clone(),
            self.connector.clone(),
            self.name.clone(),
            Value::Int64(origin.at_us.div_euclid(1000)),
            // The default, which a converter may leave out.
            match origin.snapshot {
                "false" => Value::Null,
                word => Value::text(word),
            },
            self.database.clone(),
            Value::text(sequence),
            Value::Int64(origin.at_us),
            Value::Int64(origin.at_us.saturating_mul(1000)),
            Value::text(schema),
            Value::text(table),
            origin
                .xid
                .map_or(Value::Null, |xid| Value::Int64(i64::from(xid))),
            Value::Int64(position(origin.lsn)),
            Value::Null,
            replicated.map_or(Value::Null, |(name, _)| Value::text(name.as_str())),
            replicated.map_or(Value::Null, |(_, lsn)| Value::Int64(position(*lsn))),
        ];
        Value::Struct(Struct::new(Arc::clone(&self.source), values))
    }

    fn place(&self, place: Option<&Place>) -> Value {
        place.map_or(Value::Null, |place| {
            let values = vec![
                Value::text(place.id.as_str()),
                Value::Int64(place.total_order),
                Value::Int64(place.table_order),
            ];
            Value::Struct(Struct::new(Arc::clone(&self.transaction), values))
        })
    }
}

/// Records of the topic that tells where transactions begin and end.
pub(super) struct TransactionTopic {
    topic: Arc<str>,
    key: Arc<Schema>,
    value: Arc<Schema>,
    table: Arc<Schema>,
}

impl TransactionTopic {
    /// The topic of this name.
    pub(super) fn new(topic: &str) -> Self {
        let optional = |kind| Schema::new(kind).optional();
        let table = render::named(
            Schema::structure(vec![
                ("data_collection", Schema::new(SchemaType::String)),
                ("event_count", Schema::new(SchemaType::Int64)),
            ])
            .kind,
            "event.collection",
        );
        let table = Arc::new(table);
        let key = Schema::structure(vec![("id", Schema::new(SchemaType::String))]);
        let value = Schema::structure(vec![
            ("status", Schema::new(SchemaType::String)),
            ("id", Schema::new(SchemaType::String)),
            ("event_count", optional(SchemaType::Int64)),
            (
                "data_collections",
                optional(SchemaType::Array(Arc::clone(&table))),
            ),
            ("ts_ms", Schema::new(SchemaType::Int64)),
        ]);
        Self {
            topic: topic.into(),
            key: Arc::new(render::named(
                key.kind,
                "io.debezium.connector.common.TransactionMetadataKey",
            )),
            value: Arc::new(render::named(
                value.kind,
                "io.debezium.connector.common.TransactionMetadataValue",
            )),
            table,
        }
    }

    /// A transaction begins, or with `counts` (changes in all and of each table) ends.
    pub(super) fn record(
        &self,
        id: &str,
        counts: Option<(i64, &[(String, i64)])>,
        at_ms: i64,
    ) -> Record {
        let collection = |(table, count): &(String, i64)| {
            let values = vec![Value::text(table.as_str()), Value::Int64(*count)];
            Value::Struct(Struct::new(Arc::clone(&self.table), values))
        };
        let values = vec![
            Value::text(if counts.is_some() { "END" } else { "BEGIN" }),
            Value::text(id),
            counts.map_or(Value::Null, |(all, _)| Value::Int64(all)),
            counts.map_or(Value::Null, |(_, tables)| {
                Value::Array(tables.iter().map(collection).collect())
            }),
            Value::Int64(at_ms),
        ];
        let key = Struct::new(Arc::clone(&self.key), vec![Value::text(id)]);
        Record {
            key_schema: Some(Arc::clone(&self.key)),
            value_schema: Some(Arc::clone(&self.value)),
            ..Record::new(
                Arc::clone(&self.topic),
                Value::Struct(key),
                Value::Struct(Struct::new(Arc::clone(&self.value), values)),
            )
        }
    }
}

/// A heartbeat.
pub(super) fn heartbeat(topic: &str, prefix: &str, now_ms: i64) -> Record {
    let schema = |field: &str, kind, name: &str| {
        let fields = Schema::structure(vec![(field, Schema::new(kind))]);
        Arc::new(render::named(
            fields.kind,
            &format!("io.debezium.connector.common.{name}"),
        ))
    };
    let key = schema("serverName", SchemaType::String, "ServerNameKey");
    let value = schema("ts_ms", SchemaType::Int64, "Heartbeat");
    Record {
        key_schema: Some(Arc::clone(&key)),
        value_schema: Some(Arc::clone(&value)),
        ..Record::new(
            topic,
            Value::Struct(Struct::new(key, vec![Value::text(prefix)])),
            Value::Struct(Struct::new(value, vec![Value::Int64(now_ms)])),
        )
    }
}

fn source_schema() -> Schema {
    let text = || Schema::new(SchemaType::String);
    let number = || Schema::new(SchemaType::Int64);
    let mut snapshot = render::named(SchemaType::String, "io.debezium.data.Enum").optional();
    snapshot.default = Some(Value::text("false"));
    snapshot.parameters.insert(
        "allowed".to_owned(),
        "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"
            .to_owned(),
    );
    let fields = Schema::structure(vec![
        ("version", text()),
        ("connector", text()),
        ("name", text()),
        ("ts_ms", number()),
        ("snapshot", snapshot),
        ("db", text()),
        ("sequence", text().optional()),
        ("ts_us", number().optional()),
        ("ts_ns", number().optional()),
        ("schema", text()),
        ("table", text()),
        ("txId", number().optional()),
        ("lsn", number().optional()),
        ("xmin", number().optional()),
        ("origin", text().optional()),
        ("origin_lsn", number().optional()),
    ]);
    render::named(fields.kind, "io.debezium.connector.postgresql.Source")
}

fn message_key_schema() -> Schema {
    let fields = Schema::structure(vec![("prefix", Schema::new(SchemaType::String).optional())]);
    render::named(fields.kind, "io.debezium.connector.postgresql.MessageKey")
}

fn message_schema(source: &Arc<Schema>, content: Schema) -> Schema {
    let body = Schema::structure(vec![
        ("prefix", Schema::new(SchemaType::String).optional()),
        ("content", content.optional()),
    ]);
    let body = render::named(body.kind, "io.debezium.connector.postgresql.Message");
    let fields = [
        ("op", Arc::new(Schema::new(SchemaType::String))),
        ("ts_ms", Arc::new(Schema::new(SchemaType::Int64).optional())),
        ("source", Arc::clone(source)),
        ("transaction", Arc::new(transaction_block().optional())),
        ("message", Arc::new(body)),
    ]
    .map(|(name, schema)| Field {
        name: name.into(),
        schema,
    });
    render::named(
        SchemaType::Struct(fields.into()),
        "io.debezium.connector.postgresql.MessageValue",
    )
}

fn field_schema(schema: &Arc<Schema>, name: &str) -> Arc<Schema> {
    let field = schema.fields().iter().find(|field| &*field.name == name);
    field.map_or_else(|| Arc::clone(schema), |field| Arc::clone(&field.schema))
}
