//! ReplaceField: keeps, drops and renames fields.

use std::collections::HashMap;
use std::sync::Arc;

use connect_api::{Config, ConfigDef, ConfigKey, ConfigType, ConnectError, Record};

use super::fields::{Fields, null_key, or_default, put, take};
use super::{Each, Side};

pub(super) fn def() -> ConfigDef {
    ConfigDef::new()
        .with(
            ConfigKey::optional(
                "exclude",
                ConfigType::List,
                Some(""),
                "Fields to exclude. This takes precedence over the fields to include.",
            )
            .alias(&["blacklist"]),
        )
        .with(
            ConfigKey::optional(
                "include",
                ConfigType::List,
                Some(""),
                "Fields to include. If specified, only these fields will be used.",
            )
            .alias(&["whitelist"]),
        )
        .with(ConfigKey::optional(
            "renames",
            ConfigType::List,
            Some(""),
            "Field rename mappings: old:new pairs separated by commas.",
        ))
        .with(null_key())
}

pub(super) struct ReplaceField {
    side: Side,
    exclude: Vec<String>,
    include: Vec<String>,
    renames: HashMap<String, Arc<str>>,
    null_as_default: bool,
}

impl ReplaceField {
    pub(super) fn new(side: Side, config: &Config) -> Result<Self, ConnectError> {
        let renames = config
            .list("renames")
            .iter()
            .map(|pair| match pair.split_once(':') {
                Some((old, new)) => Ok((old.trim().to_owned(), new.trim().into())),
                None => Err(ConnectError::config(
                    "renames",
                    format!("Invalid rename mapping: {pair}"),
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            side,
            exclude: config.list("exclude"),
            include: config.list("include"),
            renames,
            null_as_default: config.boolean("replace.null.with.default"),
        })
    }

    fn keeps(&self, name: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|listed| listed == name);
        !listed(&self.exclude) && (self.include.is_empty() || listed(&self.include))
    }
}

impl Each for ReplaceField {
    fn apply(&mut self, mut record: Record) -> Result<Option<Record>, ConnectError> {
        let (schema, value) = take(&mut record, self.side);
        if value.is_null() {
            put(&mut record, self.side, schema, value);
            return Ok(Some(record));
        }
        let fields = Fields::of(value, "field replacement")?;
        let mut kept = Fields::empty(&fields);
        for (name, schema, value) in fields.entries {
            if self.keeps(&name) {
                let name = self.renames.get(&*name).cloned().unwrap_or(name);
                let value = or_default(schema.as_deref(), value, self.null_as_default);
                kept.entries.push((name, schema, value));
            }
        }
        let (schema, value) = kept.into_value();
        put(&mut record, self.side, schema, value);
        Ok(Some(record))
    }
}
