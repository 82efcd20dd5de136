//! INSERT and DELETE: rows become records of the table's topic.
//!
//! A record's value has the declared columns in the table's value format, in JSON with their declared spelling; its key is
//! the primary key in the table's key format. Deleting writes a record without a value. All records of a statement become visible
//! together or not at all: more than one batch of them is one transaction. A row that another producer wrote keeps the
//! spelling and the partition of its key ([`Spellings`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::stream::StreamExt;
use log_api::{
    BatchBuilder, Compression, Log, TopicPartition, Transaction, TransactionError,
    TransactionOptions, partition_for_key,
};
use streams::{ColumnOrigin, KeyEncoder, ValueEncoder, ValueFormat};
use tokio::sync::OwnedMutexGuard;

use super::answer::Rows;
use super::computable::check_computed;
use super::ddl::{internal_topic, is_internal};
use super::spelling::{Place, Places, Spellings};
use crate::catalog::{Kind, Relation};
use crate::diagnostic::{Code, Diagnostic, Words, translate, translate_arrow};
use crate::parse::statement::Name;
use crate::plan::{Declaration, assign, type_name};

/// A batch is sent once it has about this many bytes.
const BATCH_BYTES: usize = 512 << 10;

/// The transactional id of statements that write.
const TRANSACTIONAL_ID: &str = "thalweg.sql.writes";

/// How long a transaction of ours may stay without an end, if the server dies in the middle.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The transaction of statements that write, one after another. `None` until it is opened, and after an error.
pub(crate) type Writes = Arc<tokio::sync::Mutex<Option<Box<dyn Transaction>>>>;

/// What becomes of rows of one statement that have the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// The last one stays.
    Last,
    /// The first one is written, and no other.
    First,
    /// Nothing is written.
    Refused,
}

/// Where an INSERT or DELETE writes to.
pub(crate) struct Target<'a> {
    pub relation: &'a Relation,
    pub log: &'a Arc<dyn Log>,
    pub writes: &'a Writes,
    pub spellings: &'a Spellings,
    pub rows_max: usize,
    pub now_ms: i64,
}

impl Target<'_> {
    /// Refuses what is not written to by hand.
    pub(crate) fn check(relation: &Relation, name: &Name) -> Result<(), Diagnostic> {
        if relation.identity.kind == Kind::View {
            let message = format!(
                "{} is a materialized view: its query fills it",
                name.written
            );
            return Err(Diagnostic::new(Code::WrongKind, message)
                .at(name.span)
                .help("write to the tables that it reads"));
        }
        if relation.generator.is_some() {
            let message = format!("{} makes its rows itself", name.written);
            return Err(Diagnostic::new(Code::WrongKind, message)
                .at(name.span)
                .help("write to a table or source of your own"));
        }
        if relation.has_connector {
            let message = format!(
                "the rows of {} are those of the table that its connector reads",
                name.written
            );
            return Err(Diagnostic::new(Code::WrongKind, message)
                .at(name.span)
                .help("write to that table"));
        }
        if is_internal(&relation.topic) {
            return Err(internal_topic(&relation.topic).at(name.span));
        }
        Ok(())
    }

    /// The places of the named columns, or of all that can be written.
    pub(crate) fn columns(&self, names: &[Name]) -> Result<Vec<usize>, Diagnostic> {
        Self::places(self.relation, names)
    }

    /// The same of any relation.
    pub(crate) fn places(relation: &Relation, names: &[Name]) -> Result<Vec<usize>, Diagnostic> {
        let written = relation.written();
        if names.is_empty() {
            return Ok(written);
        }
        refuse_computed(relation, names, |column| {
            format!("cannot insert a non-DEFAULT value into column {column:?}")
        })?;
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let fields = relation.schema.fields();
            let place = fields.iter().position(|field| *field.name() == name.name);
            let place = place
                .filter(|place| written.contains(place))
                .ok_or_else(|| {
                    let message = format!(
                        "{} has no column {:?} to write to",
                        relation.name(),
                        name.name
                    );
                    let known = written.iter().map(|&column| fields[column].name().as_str());
                    Diagnostic::new(Code::UnknownColumn, message)
                        .at(name.span)
                        .suggest_nearest(&name.name, known)
                })?;
            if places.contains(&place) {
                let message = format!("column {:?} is named twice", name.name);
                return Err(Diagnostic::new(Code::DuplicateColumn, message).at(name.span));
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Refuses rows that have another number of columns than are written.
    pub(crate) fn check_width(places: &[usize], columns: usize) -> Result<(), Diagnostic> {
        if columns == places.len() {
            return Ok(());
        }
        let wanted = match places.len() {
            1 => "1 column is".to_owned(),
            many => format!("{many} columns are"),
        };
        let message = format!("{wanted} to be written, each row has {columns}");
        Err(Diagnostic::new(Code::Syntax, message))
    }

    /// Which of the places are columns of floats.
    pub(crate) fn floats(&self, places: &[usize]) -> Vec<bool> {
        let columns = &self.relation.columns;
        let float = |&place: &usize| columns[place].data_type.is_floating();
        places.iter().map(float).collect()
    }

    /// Writes all `rows`, whose columns go to `places`. Gives back how many were written.
    pub(crate) async fn insert(
        &self,
        schema: SchemaRef,
        rows: Rows,
        places: &[usize],
        twice: Twice,
    ) -> Result<usize, Diagnostic> {
        Self::check_width(places, schema.fields().len())?;
        let batch = self.collect(&schema, rows).await?;
        let written = self.relation.written();
        let value_schema = Schema::new(
            written
                .iter()
                .map(|&column| {
                    let column = &self.relation.columns[column];
                    Field::new(&column.name, column.data_type.clone(), true)
                })
                .collect::<Vec<_>>(),
        );
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(written.len());
        for &column in &written {
            columns.push(self.column(&batch, column, places)?);
        }
        check_computed(self.relation, &written, &columns, batch.num_rows())?;
        let key: Vec<usize> = self.key_places(&written);
        let keys = self.key_encoder(&value_schema, &key)?;
        let whole = matches!(
            self.relation.value_format,
            ValueFormat::Text | ValueFormat::Bytes
        );
        // A value that is one column is written without the key.
        let in_value = |place: &usize| {
            !whole || self.relation.columns[written[*place]].origin == ColumnOrigin::Value
        };
        let in_value: Vec<usize> = (0..written.len()).filter(in_value).collect();
        let value_fields = value_schema.project(&in_value);
        let value_fields = value_fields.map_err(|error| translate_arrow(&error.to_string()))?;
        let value_columns: Vec<ArrayRef> = in_value
            .iter()
            .map(|&place| Arc::clone(&columns[place]))
            .collect();
        let values = ValueEncoder::new(&value_fields, &self.relation.value_format)
            .map_err(|error| Diagnostic::new(Code::Unsupported, error.to_string()))?;
        let mut records = Records::open(self, true).await?;
        let mut count = 0;
        {
            let (keys, values) = (keys.rows(&columns), values.rows(&value_columns));
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let mut known: HashSet<Vec<u8>> = HashSet::new();
            for row in 0..batch.num_rows() {
                key.clear();
                value.clear();
                let has_key = keys.write(row, &mut key);
                if twice != Twice::Last && !known.insert(key.clone()) {
                    if twice == Twice::First {
                        continue;
                    }
                    let message = "two rows of the statement have the same key";
                    let mut diagnostic = Diagnostic::new(Code::Row, message);
                    diagnostic.sqlstate = "21000".to_owned();
                    return Err(diagnostic.help("ON CONFLICT DO UPDATE changes a row once"));
                }
                if !values.write(row, &mut value) {
                    let message = "a value that is one column cannot be NULL";
                    return Err(Diagnostic::new(Code::Row, message));
                }
                records.insert(has_key.then_some(key.as_slice()), &value);
                count += 1;
            }
        }
        records.send().await?;
        Ok(count)
    }

    /// Deletes the keys of all `rows`, which have the relation's columns.
    pub(crate) async fn delete(&self, schema: SchemaRef, rows: Rows) -> Result<usize, Diagnostic> {
        let batch = self.collect(&schema, rows).await?;
        let declared = Schema::new(
            self.relation
                .columns
                .iter()
                .map(|column| Field::new(&column.name, column.data_type.clone(), true))
                .collect::<Vec<_>>(),
        );
        let keys = self.key_encoder(&declared, &self.relation.key)?;
        let mut records = Records::open(self, false).await?;
        {
            let keys = keys.rows(batch.columns());
            let mut key = Vec::new();
            for row in 0..batch.num_rows() {
                key.clear();
                if keys.write(row, &mut key) {
                    records.delete(&key);
                }
            }
        }
        records.send().await?;
        Ok(batch.num_rows())
    }

    /// The record key's columns by their place among the written ones.
    fn key_places(&self, written: &[usize]) -> Vec<usize> {
        let key = self.relation.record_key();
        key.iter()
            .filter_map(|column| written.iter().position(|other| other == column))
            .collect()
    }

    fn key_encoder(&self, schema: &Schema, key: &[usize]) -> Result<KeyEncoder, Diagnostic> {
        KeyEncoder::new(schema, key, self.relation.key_format)
            .map_err(|error| Diagnostic::new(Code::OptionValue, error.to_string()))
    }

    async fn collect(&self, schema: &SchemaRef, mut rows: Rows) -> Result<RecordBatch, Diagnostic> {
        let mut batches = Vec::new();
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            count += batch.num_rows();
            if count > self.rows_max {
                let message = format!("more than {} rows in one statement", self.rows_max);
                return Err(Diagnostic::new(Code::Limit, message)
                    .help("write them in parts, or raise sql.insert_rows_max"));
            }
            batches.push(batch);
        }
        concat_batches(schema, &batches).map_err(|error| translate_arrow(&error.to_string()))
    }

    /// The values of a column, cast to its type; NULL where the statement does not give it.
    fn column(
        &self,
        batch: &RecordBatch,
        column: usize,
        places: &[usize],
    ) -> Result<ArrayRef, Diagnostic> {
        let declared = &self.relation.columns[column];
        let values = match places.iter().position(|&place| place == column) {
            None => new_null_array(&declared.data_type, batch.num_rows()),
            Some(index) => {
                let given = batch.column(index);
                assign(given, &declared.data_type).map_err(|error| {
                    let mut cause = translate(&error, &Words::default());
                    let data_type = type_name(&declared.data_type);
                    cause.message = format!(
                        "column {} is of type {data_type}: {}",
                        declared.name, cause.message
                    );
                    cause
                })?
            }
        };
        Declaration::of(self.relation, column).held(&values)
    }
}

/// Refuses to write what is computed, in PostgreSQL's words.
pub(super) fn refuse_computed(
    relation: &Relation,
    names: &[Name],
    message: impl Fn(&str) -> String,
) -> Result<(), Diagnostic> {
    let is_computed = |name: &&Name| {
        let place = relation.schema.index_of(&name.name).ok();
        let column = place.and_then(|place| relation.columns.get(place));
        column.is_some_and(|column| matches!(column.origin, ColumnOrigin::Computed(_)))
    };
    let Some(name) = names.iter().find(is_computed) else {
        return Ok(());
    };
    let mut refused = Diagnostic::new(Code::WrongKind, message(&name.name)).at(name.span);
    refused.sqlstate = "428C9".to_owned();
    Err(refused
        .note(format!("column {:?} is a generated column", name.name))
        .help("leave it out, or give DEFAULT: it is computed where rows are read"))
}

/// That a statement sets what is computed.
pub(super) fn only_to_default(column: &str) -> String {
    format!("column {column:?} can only be updated to DEFAULT")
}

/// Batches on their way to the partitions of a topic. Bounded by the rows of one statement.
struct Records<'a> {
    target: &'a Target<'a>,
    writer: Arc<dyn log_api::Writer>,
    /// Full batches and their partitions.
    full: Vec<(usize, BatchBuilder)>,
    /// The batch of each partition that still grows.
    growing: Vec<BatchBuilder>,
    /// The partition of records without a key: one after another, a batch each.
    next: usize,
    /// Where keys of others lie; `None` where rows have no key.
    places: Option<OwnedMutexGuard<Places>>,
}

impl<'a> Records<'a> {
    async fn open(target: &'a Target<'a>, inserts: bool) -> Result<Self, Diagnostic> {
        let topic = &target.relation.topic;
        let described = target.log.admin().describe_topic(topic).await;
        let described = described.map_err(|error| Diagnostic::new(Code::Log, error.to_string()))?;
        let Some(described) = described else {
            return Err(Diagnostic::new(
                Code::UnknownTopic,
                format!("topic {topic} does not exist"),
            ));
        };
        let places = if target.relation.key.is_empty() {
            None
        } else {
            let learned = target
                .spellings
                .learn(target.log, target.relation, &described, inserts);
            Some(learned.await?)
        };
        let writer = target.log.writer().await;
        let writer = writer.map_err(|error| Diagnostic::new(Code::Log, error.to_string()))?;
        let partitions = usize::try_from(described.partitions).unwrap_or(1).max(1);
        let growing = vec![BatchBuilder::new(Compression::None); partitions];
        let next = usize::try_from(target.now_ms).unwrap_or(0) % partitions;
        Ok(Self {
            target,
            writer,
            full: Vec::new(),
            growing,
            next,
            places,
        })
    }

    /// Writes a row, over the records that its key has.
    fn insert(&mut self, key: Option<&[u8]>, value: &[u8]) {
        let Some(key) = key else {
            return self.add(self.next, None, Some(value));
        };
        let places = self.places_of(key);
        if places.is_empty() {
            self.add(self.partition_of(key), Some(key), Some(value));
        }
        for place in places {
            let partition = usize::try_from(place.partition).unwrap_or(0);
            self.add(partition, Some(&place.key), Some(value));
        }
    }

    /// Deletes a row: all records that its key has.
    fn delete(&mut self, key: &[u8]) {
        self.add(self.partition_of(key), Some(key), None);
        for place in self.places_of(key) {
            let partition = usize::try_from(place.partition).unwrap_or(0);
            self.add(partition, Some(&place.key), None);
        }
    }

    fn places_of(&self, key: &[u8]) -> Vec<Place> {
        let places = self.places.as_ref().map(|places| places.of(key).to_vec());
        places.unwrap_or_default()
    }

    fn partition_of(&self, key: &[u8]) -> usize {
        let partitions = i32::try_from(self.growing.len()).unwrap_or(i32::MAX);
        usize::try_from(partition_for_key(key, partitions)).unwrap_or(0)
    }

    fn add(&mut self, partition: usize, key: Option<&[u8]>, value: Option<&[u8]>) {
        let batch = &mut self.growing[partition];
        let row_bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        // A row that fits its topic alone must not make a batch that does not.
        if !batch.is_empty() && batch.size_bytes() + row_bytes > BATCH_BYTES {
            let full = std::mem::replace(batch, BatchBuilder::new(Compression::None));
            self.full.push((partition, full));
            self.next = (self.next + 1) % self.growing.len();
        }
        self.growing[partition].append(self.target.now_ms, key, value, &[]);
    }

    async fn send(self) -> Result<(), Diagnostic> {
        let growing = self.growing.into_iter().enumerate();
        let mut batches: Vec<(TopicPartition, BatchBuilder)> = (self.full.into_iter())
            .chain(growing)
            .filter(|(_, batch)| !batch.is_empty())
            .map(|(partition, batch)| {
                let number = i32::try_from(partition).unwrap_or(0);
                let topic = self.target.relation.topic.as_str();
                (TopicPartition::new(topic, number), batch)
            })
            .collect();
        match (batches.pop(), batches.is_empty()) {
            (None, _) => Ok(()),
            (Some((partition, batch)), true) => {
                let sent = self.writer.append(&partition, batch).await;
                sent.map(drop).map_err(|error| log_error(&error))
            }
            (Some(last), false) => {
                batches.push(last);
                let (log, writes) = (Arc::clone(self.target.log), Arc::clone(self.target.writes));
                // On a task of its own: a client that goes away leaves no transaction open.
                let sent = tokio::spawn(send_together(log, writes, batches)).await;
                sent.unwrap_or_else(|error| Err(log_error(&error)))
            }
        }
    }
}

async fn send_together(
    log: Arc<dyn Log>,
    writes: Writes,
    batches: Vec<(TopicPartition, BatchBuilder)>,
) -> Result<(), Diagnostic> {
    let mut writes = writes.lock().await;
    let mut transaction = match writes.take() {
        Some(transaction) => transaction,
        None => {
            let options = TransactionOptions {
                transactional_id: TRANSACTIONAL_ID.to_owned(),
                timeout: TRANSACTION_TIMEOUT,
            };
            let opened = log.transaction(options).await;
            opened.map_err(|error| log_error(&error))?
        }
    };
    let mut written = Ok(());
    for (partition, batch) in batches {
        if written.is_ok() {
            written = transaction.append(&partition, batch).await;
        }
    }
    if written.is_ok() {
        written = transaction.commit().await.map(drop);
    }
    match written {
        Ok(()) => {
            *writes = Some(transaction);
            Ok(())
        }
        Err(error @ TransactionError::Unknown(_)) => Err(log_error(&error)
            .help("read the table to see whether the rows are there, before you repeat it")),
        Err(error) => {
            // What this does not end, the next statement ends when it opens the id again.
            let _ = transaction.abort().await;
            Err(log_error(&error).note("none of the rows was written"))
        }
    }
}

fn log_error(error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic::new(Code::Log, error.to_string())
}
