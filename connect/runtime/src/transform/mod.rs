//! The transform chain of a connector: steps in the order of `transforms`, each for whole batches.
//!
//! ```text
//!  batch ─▶ step a (all, or those its predicate picks) ─▶ step b ─▶ … ─▶ batch, failures
//! ```
//!
//! | `type` | does |
//! |---|---|
//! | `…Cast$Key` / `$Value` | changes the type of fields, or of the whole |
//! | `…DropHeaders`, `…InsertHeader` | removes headers, adds one |
//! | `…ExtractField$Key` / `$Value` | puts one field in place of the whole |
//! | `…Filter` | drops what its predicate picks |
//! | `…Flatten$Key` / `$Value` | makes nested fields fields of the whole |
//! | `…HeaderFrom$Key` / `$Value` | copies or moves fields to headers |
//! | `…HoistField$Key` / `$Value` | puts the whole into one field |
//! | `…InsertField$Key` / `$Value` | adds topic, partition, timestamp or a fixed text as a field |
//! | `…MaskField$Key` / `$Value` | puts empty or fixed values in place of fields' |
//! | `…RegexRouter`, `…TimestampRouter` | renames the topic |
//! | `…ReplaceField$Key` / `$Value` | keeps, drops, renames fields |
//! | `…SetSchemaMetadata$Key` / `$Value` | names the schema |
//! | `…TimestampConverter$Key` / `$Value` | makes times text, numbers, or logical types |
//! | `…ValueToKey` | makes the key of fields of the value |
//! | `io.debezium.transforms.ByLogicalTableRouter` | makes one topic of those of several tables |
//! | `io.debezium.transforms.ExtractNewRecordState` | puts the row in place of the change event |
//! | `io.debezium.transforms.HeaderToValue` | copies or moves headers to fields |
//! | `io.debezium.transforms.outbox.EventRouter` | makes events of the rows of an outbox table |
//! | `wasm`, `io.thalweg.connect.transforms.Wasm` | asks a guest |
//!
//! (`…` = `org.apache.kafka.connect.transforms.`, which may be left out.) Names, keys and meaning are Kafka's.

mod by_logical_table_router;
mod cast;
mod date_format;
mod event_router;
mod extract_field;
mod extract_new_record_state;
mod field_path;
mod fields;
mod flatten;
mod header_to_value;
mod headers;
mod hoist_field;
mod insert_field;
mod mask_field;
mod predicate;
mod regex_router;
mod replace_field;
mod set_schema_metadata;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;
mod wasm;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Record, Traced, Transform,
    TransformFailure, TransformOutput,
};
use connect_sandbox::Sandbox;

pub(crate) use predicate::{Predicate, PredicateKind};

/// Prefix of Apache's transforms and, with `predicates.`, predicates.
const APACHE: &str = "org.apache.kafka.connect.transforms.";
/// Prefix of Debezium's.
const DEBEZIUM: &str = "io.debezium.transforms.";
/// Behind it in the name of the outbox's.
const OUTBOX: &str = "outbox.";

/// Which half of a record a step works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Key,
    Value,
}

/// A kind of transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransformKind {
    ByLogicalTableRouter,
    Cast(Side),
    DropHeaders,
    EventRouter,
    ExtractField(Side),
    ExtractNewRecordState,
    Filter,
    Flatten(Side),
    HeaderFrom(Side),
    HeaderToValue,
    HoistField(Side),
    InsertField(Side),
    InsertHeader,
    MaskField(Side),
    RegexRouter,
    ReplaceField(Side),
    SetSchemaMetadata(Side),
    TimestampConverter(Side),
    TimestampRouter,
    ValueToKey,
    Wasm,
}

impl TransformKind {
    pub(crate) const ALL: [Self; 31] = [
        Self::ByLogicalTableRouter,
        Self::Cast(Side::Key),
        Self::Cast(Side::Value),
        Self::DropHeaders,
        Self::EventRouter,
        Self::ExtractField(Side::Key),
        Self::ExtractField(Side::Value),
        Self::ExtractNewRecordState,
        Self::Filter,
        Self::Flatten(Side::Key),
        Self::Flatten(Side::Value),
        Self::HeaderFrom(Side::Key),
        Self::HeaderFrom(Side::Value),
        Self::HeaderToValue,
        Self::HoistField(Side::Key),
        Self::HoistField(Side::Value),
        Self::InsertField(Side::Key),
        Self::InsertField(Side::Value),
        Self::InsertHeader,
        Self::MaskField(Side::Key),
        Self::MaskField(Side::Value),
        Self::RegexRouter,
        Self::ReplaceField(Side::Key),
        Self::ReplaceField(Side::Value),
        Self::SetSchemaMetadata(Side::Key),
        Self::SetSchemaMetadata(Side::Value),
        Self::TimestampConverter(Side::Key),
        Self::TimestampConverter(Side::Value),
        Self::TimestampRouter,
        Self::ValueToKey,
        Self::Wasm,
    ];

    /// The class name.
    pub(crate) fn class(self) -> String {
        let sided = |name: &str, side: Side| format!("{APACHE}{name}${side:?}");
        match self {
            Self::Cast(side) => sided("Cast", side),
            Self::ExtractField(side) => sided("ExtractField", side),
            Self::Flatten(side) => sided("Flatten", side),
            Self::HeaderFrom(side) => sided("HeaderFrom", side),
            Self::HoistField(side) => sided("HoistField", side),
            Self::InsertField(side) => sided("InsertField", side),
            Self::MaskField(side) => sided("MaskField", side),
            Self::ReplaceField(side) => sided("ReplaceField", side),
            Self::SetSchemaMetadata(side) => sided("SetSchemaMetadata", side),
            Self::TimestampConverter(side) => sided("TimestampConverter", side),
            Self::DropHeaders
            | Self::Filter
            | Self::InsertHeader
            | Self::RegexRouter
            | Self::TimestampRouter
            | Self::ValueToKey => format!("{APACHE}{self:?}"),
            Self::ByLogicalTableRouter | Self::ExtractNewRecordState | Self::HeaderToValue => {
                format!("{DEBEZIUM}{self:?}")
            }
            Self::EventRouter => format!("{DEBEZIUM}{OUTBOX}{self:?}"),
            Self::Wasm => "io.thalweg.connect.transforms.Wasm".to_owned(),
        }
    }

    /// By class name, with or without its package, or `wasm`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        if name == "wasm" {
            return Some(Self::Wasm);
        }
        Self::ALL.into_iter().find(|kind| {
            let class = kind.class();
            let short = class
                .strip_prefix(APACHE)
                .or_else(|| class.strip_prefix(DEBEZIUM));
            let short = short.map(|short| short.strip_prefix(OUTBOX).unwrap_or(short));
            class == name || short == Some(name)
        })
    }

    /// Its keys, below `transforms.<name>.`.
    pub(crate) fn config_def(self) -> ConfigDef {
        match self {
            Self::ByLogicalTableRouter => by_logical_table_router::def(),
            Self::Cast(_) => cast::def(),
            Self::DropHeaders => headers::drop_def(),
            Self::EventRouter => event_router::def(),
            Self::ExtractField(_) => extract_field::def(),
            Self::ExtractNewRecordState => extract_new_record_state::def(),
            Self::Filter => ConfigDef::new(),
            Self::Flatten(_) => flatten::def(),
            Self::HeaderFrom(_) => headers::from_def(),
            Self::HeaderToValue => header_to_value::def(),
            Self::HoistField(_) => hoist_field::def(),
            Self::InsertField(_) => insert_field::def(),
            Self::InsertHeader => headers::insert_def(),
            Self::MaskField(_) => mask_field::def(),
            Self::RegexRouter => regex_router::def(),
            Self::ReplaceField(_) => replace_field::def(),
            Self::SetSchemaMetadata(_) => set_schema_metadata::def(),
            Self::TimestampConverter(_) => timestamp_converter::def(),
            Self::TimestampRouter => timestamp_router::def(),
            Self::ValueToKey => value_to_key::def(),
            Self::Wasm => wasm::def(),
        }
    }

    /// Builds it; `config` holds its keys without the prefix.
    fn build(
        self,
        name: &str,
        config: &ConfigMap,
        sandbox: &Sandbox,
    ) -> Result<Box<dyn Transform>, ConnectError> {
        if self == Self::Wasm {
            return Ok(Box::new(wasm::Wasm::new(name, config, sandbox)?));
        }
        let parsed: Config = self.config_def().parse(config)?;
        let config = &parsed;
        let each: Box<dyn Each> = match self {
            Self::ByLogicalTableRouter => {
                Box::new(by_logical_table_router::ByLogicalTableRouter::new(config)?)
            }
            Self::Cast(side) => Box::new(cast::Cast::new(side, config)?),
            Self::DropHeaders => Box::new(headers::DropHeaders::new(config)),
            Self::EventRouter => Box::new(event_router::EventRouter::new(config)?),
            Self::ExtractField(side) => Box::new(extract_field::ExtractField::new(side, config)?),
            Self::ExtractNewRecordState => Box::new(
                extract_new_record_state::ExtractNewRecordState::new(config)?,
            ),
            Self::Flatten(side) => Box::new(flatten::Flatten::new(side, config)),
            Self::HeaderFrom(side) => Box::new(headers::HeaderFrom::new(side, config)?),
            Self::HeaderToValue => Box::new(header_to_value::HeaderToValue::new(config)?),
            Self::HoistField(side) => Box::new(hoist_field::HoistField::new(side, config)),
            Self::InsertField(side) => Box::new(insert_field::InsertField::new(side, config)?),
            Self::InsertHeader => Box::new(headers::InsertHeader::new(config)),
            Self::MaskField(side) => Box::new(mask_field::MaskField::new(side, config)),
            Self::RegexRouter => Box::new(regex_router::RegexRouter::new(config)?),
            Self::ReplaceField(side) => Box::new(replace_field::ReplaceField::new(side, config)?),
            Self::SetSchemaMetadata(side) => {
                Box::new(set_schema_metadata::SetSchemaMetadata::new(side, config)?)
            }
            Self::TimestampConverter(side) => {
                Box::new(timestamp_converter::TimestampConverter::new(side, config)?)
            }
            Self::TimestampRouter => Box::new(timestamp_router::TimestampRouter::new(config)?),
            Self::ValueToKey => Box::new(value_to_key::ValueToKey::new(config)),
            Self::Filter | Self::Wasm => Box::new(Drop),
        };
        Ok(Box::new(EachRecord(each)))
    }
}

/// Checks of a transform's keys that go beyond single values: expressions compile, a module loads.
pub(crate) fn check(
    kind: TransformKind,
    name: &str,
    config: &ConfigMap,
    sandbox: &Sandbox,
) -> Result<(), ConnectError> {
    kind.build(name, config, sandbox).map(|_| ())
}

/// A step that knows one record at a time.
trait Each: Send {
    /// The record transformed, or `None` to drop it.
    fn apply(&mut self, record: Record) -> Result<Option<Record>, ConnectError>;

    /// The same, for a step that looks at the record's offset (`None` in sources).
    fn apply_at(
        &mut self,
        record: Record,
        offset: Option<i64>,
    ) -> Result<Option<Record>, ConnectError> {
        let _ = offset;
        self.apply(record)
    }
}

/// [`Each`] for batches.
struct EachRecord(Box<dyn Each>);

impl Transform for EachRecord {
    fn apply(&mut self, records: Vec<Traced>) -> Result<TransformOutput, ConnectError> {
        let mut output = TransformOutput {
            records: Vec::with_capacity(records.len()),
            failures: Vec::new(),
        };
        for Traced {
            origin,
            offset,
            record,
        } in records
        {
            match self.0.apply_at(record, offset) {
                Ok(Some(record)) => output.records.push(Traced {
                    origin,
                    offset,
                    record,
                }),
                Ok(None) => {}
                Err(error) => output.failures.push(TransformFailure { origin, error }),
            }
        }
        Ok(output)
    }
}

/// `Filter`.
struct Drop;

impl Each for Drop {
    fn apply(&mut self, _: Record) -> Result<Option<Record>, ConnectError> {
        Ok(None)
    }
}

/// A step and the records it is for.
struct Step {
    transform: Box<dyn Transform>,
    predicate: Option<Arc<Predicate>>,
    negate: bool,
}

/// All steps of a connector.
pub(crate) struct Chain {
    steps: Vec<Step>,
}

/// Keys that every transform has, below `transforms.<name>.`.
pub(crate) fn common_def() -> ConfigDef {
    ConfigDef::new()
        .with(ConfigKey::optional(
            "predicate",
            ConfigType::String,
            None,
            "The alias of a predicate used to determine whether to apply this transformation.",
        ))
        .with(ConfigKey::optional(
            "negate",
            ConfigType::Boolean,
            Some("false"),
            "Whether the configured predicate should be negated.",
        ))
}

/// The entries below `prefix`, without it.
pub(crate) fn below(config: &ConfigMap, prefix: &str) -> ConfigMap {
    config
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}

/// The items of a list value, trimmed.
pub(crate) fn names(config: &ConfigMap, key: &str) -> Vec<String> {
    let value = config.get(key).map(String::as_str).unwrap_or_default();
    value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Chain {
    /// Builds the chain that `transforms` and `predicates` of a connector's configuration describe.
    ///
    /// # Errors
    /// [`ConnectError::Config`] with the full key at fault.
    pub(crate) fn build(config: &ConfigMap, sandbox: &Sandbox) -> Result<Self, ConnectError> {
        let mut steps = Vec::new();
        for name in names(config, "transforms") {
            let prefix = format!("transforms.{name}.");
            let own = below(config, &prefix);
            let type_key = format!("{prefix}type");
            let given = own.get("type").map(String::as_str).unwrap_or_default();
            let kind = TransformKind::by_name(given).ok_or_else(|| {
                ConnectError::config(&type_key, format!("{given} is no known transform"))
            })?;
            let transform = kind
                .build(&name, &own, sandbox)
                .map_err(|error| prefixed(&prefix, error))?;
            let predicate = match own.get("predicate") {
                None => None,
                Some(predicate) => Some(Arc::new(
                    Predicate::build(predicate, config).map_err(|error| prefixed("", error))?,
                )),
            };
            if kind == TransformKind::Filter && predicate.is_none() {
                return Err(ConnectError::config(
                    format!("{prefix}predicate"),
                    "Filter without a predicate would drop every record",
                ));
            }
            let negate = own
                .get("negate")
                .is_some_and(|negate| negate.trim().eq_ignore_ascii_case("true"));
            steps.push(Step {
                transform,
                predicate,
                negate,
            });
        }
        Ok(Self { steps })
    }

    /// Whether records pass unchanged.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Sends a batch through all steps.
    pub(crate) fn apply(
        &mut self,
        mut records: Vec<Traced>,
    ) -> Result<TransformOutput, ConnectError> {
        let mut failures = Vec::new();
        for step in &mut self.steps {
            if records.is_empty() {
                break;
            }
            let output = step.apply(records)?;
            records = output.records;
            failures.extend(output.failures);
        }
        Ok(TransformOutput { records, failures })
    }
}

fn prefixed(prefix: &str, error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Config { key, message } => ConnectError::Config {
            key: format!("{prefix}{key}"),
            message,
        },
        other => other,
    }
}

impl Step {
    fn apply(&mut self, records: Vec<Traced>) -> Result<TransformOutput, ConnectError> {
        let Some(predicate) = &self.predicate else {
            return self.transform.apply(records);
        };
        let (picked, others): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|traced| predicate.test(&traced.record) != self.negate);
        if picked.is_empty() {
            return Ok(TransformOutput {
                records: others,
                failures: Vec::new(),
            });
        }
        let output = self.transform.apply(picked)?;
        Ok(TransformOutput {
            records: merge(output.records, others),
            failures: output.failures,
        })
    }
}

/// Two runs, each in order of origin, as one.
fn merge(left: Vec<Traced>, right: Vec<Traced>) -> Vec<Traced> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if a.origin <= b.origin {
            left.next()
        } else {
            right.next()
        };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}
