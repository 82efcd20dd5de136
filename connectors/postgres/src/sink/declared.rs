//! A table as SQL declares it for a sink: `CREATE SINK name FROM view WITH (connector = 'postgres', …)`.
//!
//! ```text
//! url, or host, port, database      ──▶  connection.url
//! user, password                    ──▶  connection.username, connection.password
//! table, schema                     ──▶  collection.name.format; the object's own name without it
//! ```
//! Rows with a key are upserted and deleted by it, others inserted.

use connect_api::{ConfigMap, ConnectError, DeclaredKey, DeclaredRows};

use super::config::{InsertMode, KeyMode, SinkConfig};
use super::failure::Failure;
use super::row::quote;
use super::session::Session;
use super::table;

const URL: &str = "connection.url";
const TABLE: &str = "collection.name.format";
/// Parts of the URL, which are no keys of the connector.
const HOST: &str = "host";
const PORT: &str = "port";
const DATABASE: &str = "database";
const SSLMODE: &str = "sslmode";
const SCHEMA: &str = "schema";

/// Names that RisingWave, Flink and people have for keys.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("url", URL),
    ("jdbc.url", URL),
    ("host", HOST),
    ("hostname", HOST),
    ("port", PORT),
    ("database", DATABASE),
    ("database.name", DATABASE),
    ("database-name", DATABASE),
    ("dbname", DATABASE),
    ("sslmode", SSLMODE),
    ("ssl.mode", SSLMODE),
    ("user", "connection.username"),
    ("username", "connection.username"),
    ("password", "connection.password"),
    ("table", TABLE),
    ("table.name", TABLE),
    ("table-name", TABLE),
    ("schema", SCHEMA),
    ("schema.name", SCHEMA),
    ("schema-name", SCHEMA),
];

/// The configuration of the connector behind the object `name`.
pub(super) fn config(
    name: &str,
    options: &ConfigMap,
    rows: &DeclaredRows,
) -> Result<ConfigMap, ConnectError> {
    let mut config = options.clone();
    let url = url(&mut config)?;
    config.insert(URL.to_owned(), url);
    let table = table(name, &mut config);
    config.insert(TABLE.to_owned(), table);
    let json = "org.apache.kafka.connect.json.JsonConverter";
    let is_keyed = !rows.key.is_empty();
    let (mode, key_mode) = match is_keyed {
        true => ("upsert", "record_key"),
        false => ("insert", "none"),
    };
    let deletes = is_keyed.to_string();
    for (key, value) in [
        ("topics", rows.topic.as_str()),
        ("key.converter", json),
        ("key.converter.schemas.enable", "false"),
        ("value.converter", json),
        ("value.converter.schemas.enable", "false"),
        ("primary.key.mode", key_mode),
    ] {
        if let Some(given) = config.insert(key.to_owned(), value.to_owned()) {
            let message =
                format!("is {value} where SQL writes the topic, not {given}: leave it out");
            return Err(ConnectError::config(key, message));
        }
    }
    let nullable = rows.key.iter().filter(|column| column.nullable);
    // A name with a comma cannot stand in a list.
    let nullable = nullable.filter(|column| !column.name.contains(','));
    let nullable: Vec<String> = nullable
        .map(|column| {
            let kind = type_of_column(&column.sql_type).unwrap_or("text");
            format!("{}:{kind}", column.name)
        })
        .collect();
    // Transforms may make something else of them.
    let is_whole = !config.contains_key("transforms");
    let columns = rows.columns.iter();
    let columns = columns.filter(|column| is_whole && !column.name.contains(','));
    let typed = columns.filter_map(|column| {
        let kind = type_of_column(&column.sql_type)?;
        Some(format!("{}:{kind}", column.name))
    });
    let typed: Vec<String> = typed.collect();
    for (key, columns) in [("primary.key.nullable", nullable), ("column.types", typed)] {
        if !columns.is_empty() {
            config
                .entry(key.to_owned())
                .or_insert_with(|| columns.join(","));
        }
    }
    for (key, value) in [("insert.mode", mode), ("delete.enabled", &deletes)] {
        config
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    Ok(config)
}

/// What the table, if it is there, does not take of the rows; an error where it takes none.
pub(super) async fn look(map: &ConfigMap, rows: &DeclaredRows) -> Result<Vec<String>, Failure> {
    let config = SinkConfig::parse(map)?;
    let session = Session::connect(&config).await?;
    let name = config.table_of(&rows.topic);
    let mut keys: Vec<&DeclaredKey> = rows.key.iter().collect();
    let columns = |keys: &[&DeclaredKey]| -> Vec<String> {
        let name = |key: &&DeclaredKey| match config.lower_case {
            true => key.name.to_lowercase(),
            false => key.name.clone(),
        };
        let mut names: Vec<String> = keys.iter().map(name).collect();
        names.sort();
        names
    };
    let shown = |columns: &[String]| {
        let quoted: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        quoted.join(", ")
    };
    if !table::is_there(&session, &config, &name).await? {
        return Ok(Vec::new());
    }
    let is_renamed = map.contains_key("transforms");
    if !is_renamed {
        let wanted = wanted(&config, rows);
        if let Some(message) = table::cannot_get(&session, &config, &name, &wanted).await? {
            return Err(ConnectError::config(TABLE, message).into());
        }
    }
    // Columns that are chosen, or renamed on the way, are not these.
    let is_keyed =
        (config.insert_mode, config.key_mode) == (InsertMode::Upsert, KeyMode::RecordKey);
    if !is_keyed || !config.key_fields.is_empty() || is_renamed {
        return Ok(Vec::new());
    }
    let all = columns(&keys);
    if !table::is_unique(&session, &name, &all).await? {
        let message = format!(
            "table {} has no unique constraint on the key of the rows, so that none can be found again: ALTER TABLE {} ADD UNIQUE \
             ({})",
            name.quoted(),
            name.quoted(),
            shown(&all)
        );
        return Err(ConnectError::config(TABLE, message).into());
    }
    keys.retain(|key| {
        let mut nullable = config.nullable_keys.iter();
        nullable.any(|(name, _)| *name == key.name)
    });
    let refusing = table::refusing_null(&session, &name, &columns(&keys)).await?;
    if refusing.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "table {} takes no NULL in {}, part of its key, and rows of the query may have one there: the first of them stops the \
         connector (a UNIQUE constraint in place of the PRIMARY KEY, and columns without NOT NULL, take it; or the query \
         leaves it out with WHERE … IS NOT NULL)",
        name.quoted(),
        shown(&refusing)
    )])
}

/// The columns that the rows will have in the table.
fn wanted(config: &SinkConfig, rows: &DeclaredRows) -> Vec<String> {
    let values = rows.columns.iter().map(|column| column.name.as_str());
    let values = values.filter(|name| config.fields.take(&rows.topic, name));
    let is_key = |name: &&str| {
        config.key_fields.is_empty() || config.key_fields.iter().any(|key| key == name)
    };
    let is_keyed = config.key_mode == KeyMode::RecordKey;
    let keys =
        (rows.key.iter().map(|key| key.name.as_str())).filter(|name| is_keyed && is_key(name));
    let mut wanted: Vec<String> = values.chain(keys).map(str::to_owned).collect();
    if config.lower_case {
        wanted
            .iter_mut()
            .for_each(|name| *name = name.to_lowercase());
    }
    wanted.sort();
    wanted.dedup();
    wanted
}

/// The type of a new column for a type of SQL; `None` where the values have to show it.
fn type_of_column(sql_type: &str) -> Option<&'static str> {
    let word = match sql_type.split_once('(') {
        Some((word, rest)) if rest.ends_with(')') => word,
        _ => sql_type,
    };
    Some(match word {
        "BOOLEAN" => "boolean",
        "TINYINT" | "SMALLINT" => "smallint",
        "INT" | "INTEGER" => "integer",
        "BIGINT" => "bigint",
        "REAL" => "real",
        "DOUBLE" => "double precision",
        "DECIMAL" | "NUMERIC" => "numeric",
        "TEXT" => "text",
        "BYTEA" => "bytea",
        "DATE" => "date",
        "TIME" => "time",
        "TIMESTAMP" => "timestamp",
        "TIMESTAMPTZ" => "timestamptz",
        "JSON" => "jsonb",
        _ => return None,
    })
}

/// The URL, given whole or in parts.
fn url(config: &mut ConfigMap) -> Result<String, ConnectError> {
    let mut part = |key: &str| config.remove(key).map(|value| value.trim().to_owned());
    let (host, port, database, mode) = (part(HOST), part(PORT), part(DATABASE), part(SSLMODE));
    if let Some(url) = part(URL) {
        let parts = [
            (HOST, host),
            (PORT, port),
            (DATABASE, database),
            (SSLMODE, mode),
        ];
        return match parts.into_iter().find(|(_, given)| given.is_some()) {
            None => Ok(url),
            Some((key, _)) => Err(ConnectError::config(
                key,
                "is a part of the URL, which is given too: say it there",
            )),
        };
    }
    let missing = |key: &str, option: &str| {
        let message =
            format!("the option {option} is missing, or url = 'postgresql://host/database'");
        ConnectError::config(key, message)
    };
    let host = host.ok_or_else(|| missing(HOST, "host = '…'"))?;
    let database = database.ok_or_else(|| missing(DATABASE, "database = '…'"))?;
    for (key, value) in [(HOST, &host), (DATABASE, &database)] {
        if value.is_empty() || value.contains(['/', '?', '@', '%', '#', ' ']) {
            let message = format!(
                "\"{value}\" has letters that a URL needs escaped: give the whole as url = '…'"
            );
            return Err(ConnectError::config(key, message));
        }
    }
    // An IPv6 address has colons of its own.
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host,
    };
    let port = port.unwrap_or_else(|| "5432".to_owned());
    let mode = mode.map_or(String::new(), |mode| format!("?sslmode={mode}"));
    Ok(format!("postgresql://{host}:{port}/{database}{mode}"))
}

/// The name of the table.
fn table(name: &str, config: &mut ConfigMap) -> String {
    let (schema, table) = (config.remove(SCHEMA), config.remove(TABLE));
    match (schema, table) {
        // Dots and quotes mean what they mean in the connector's key.
        (None, Some(table)) => table,
        (None, None) => quote(name),
        (Some(schema), table) => {
            let table = table.unwrap_or_else(|| name.to_owned());
            let table = if table.starts_with('"') {
                table
            } else {
                quote(&table)
            };
            format!("{}.{table}", quote(&schema))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use connect_api::DeclaredColumn;

    use super::*;

    pub(in crate::sink) fn of(options: &[(&str, &str)], key: &[&str]) -> Result<ConfigMap, String> {
        let options: ConfigMap = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let column = |name: &str, sql_type: &str| DeclaredColumn {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
        };
        let rows = DeclaredRows {
            topic: "t".to_owned(),
            columns: vec![
                column("n", "BIGINT"),
                column("at", "TIMESTAMPTZ"),
                column("sum", "DECIMAL(38, 2)"),
                column("tags", "TEXT[]"),
                column("pair", "STRUCT<a DECIMAL(1, 0)>"),
                column("a,b", "DATE"),
            ],
            key: (key.iter())
                .map(|key| DeclaredKey {
                    name: (*key).to_owned(),
                    sql_type: "DECIMAL(10,2)".to_owned(),
                    nullable: *key == "b",
                })
                .collect(),
        };
        config("Totals", &options, &rows).map_err(|error| error.to_string())
    }

    #[test]
    fn options_become_a_configuration_that_works() {
        for (options, key, url, table, mode) in [
            (
                &[("host", "db"), ("database", "shop")][..],
                &["id"][..],
                "postgresql://db:5432/shop",
                "\"Totals\"",
                "upsert",
            ),
            (
                &[(URL, "jdbc:postgresql://db/shop"), (TABLE, "a.b")],
                &[],
                "jdbc:postgresql://db/shop",
                "a.b",
                "insert",
            ),
            (
                &[
                    ("host", "::1"),
                    ("port", "1"),
                    ("database", "d"),
                    ("sslmode", "require"),
                    ("schema", "s"),
                    (TABLE, "t"),
                ],
                &["a", "b"],
                "postgresql://[::1]:1/d?sslmode=require",
                "\"s\".\"t\"",
                "upsert",
            ),
        ] {
            let config = of(options, key).unwrap();
            assert_eq!(config[URL], url);
            assert_eq!(config[TABLE], table);
            assert_eq!(config["insert.mode"], mode);
            assert_eq!(config["delete.enabled"], (!key.is_empty()).to_string());
            let nullable = config.get("primary.key.nullable").map(String::as_str);
            assert_eq!(nullable, key.contains(&"b").then_some("b:numeric"));
            assert_eq!(
                config["column.types"],
                "n:bigint,at:timestamptz,sum:numeric"
            );
            SinkConfig::parse(&config).unwrap();
        }
    }

    #[test]
    fn what_is_missing_or_said_twice_is_named() {
        for (options, why) in [
            (&[][..], "host"),
            (&[("host", "h")], "database"),
            (
                &[(URL, "postgresql://h/d"), ("port", "1")],
                "port: is a part of the URL",
            ),
            (&[("host", "h"), ("database", "a b")], "url = "),
            (
                &[(URL, "postgresql://h/d"), ("topics", "other")],
                "topics: is t",
            ),
        ] {
            let error = of(options, &["id"]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
