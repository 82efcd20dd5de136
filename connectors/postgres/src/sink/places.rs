//! Which tables the records of topics go to, by name and by what their servers say.

use connect_api::{ConfigMap, TablePlace};
use tokio::task::JoinSet;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::config::Host;

use super::config::SinkConfig;
use super::row::TableName;
use super::session::Session;
use crate::place::{self, ASK_TIMEOUT, TextRow};

/// The port where none is named.
const PORT_OF_POSTGRES: u16 = 5432;

/// The tables of one connection, by their places among all that are asked for.
struct Wanted {
    config: SinkConfig,
    tables: Vec<(usize, TableName)>,
}

/// The tables that rows of topics may go to, a list for each.
pub(super) async fn places(taken: &[(&ConfigMap, &str)]) -> Vec<Vec<TablePlace>> {
    let mut places = vec![Vec::new(); taken.len()];
    let mut wanted: Vec<Wanted> = Vec::new();
    for (number, (map, topic)) in taken.iter().enumerate() {
        let Ok(config) = SinkConfig::parse(map) else {
            continue;
        };
        let name = config.table_of(topic);
        places[number] = by_name(&config, &name).await;
        let same = |other: &&mut Wanted| other.config.connection == config.connection;
        match wanted.iter_mut().find(same) {
            Some(other) => other.tables.push((number, name)),
            None => wanted.push(Wanted {
                config,
                tables: vec![(number, name)],
            }),
        }
    }
    let mut asked = JoinSet::new();
    for wanted in wanted {
        asked.spawn(async move {
            let said = tokio::time::timeout(ASK_TIMEOUT, ask(&wanted)).await;
            said.ok().flatten().unwrap_or_default()
        });
    }
    for (number, said) in asked.join_all().await.into_iter().flatten() {
        for place in &mut places[number] {
            place.said = Some(said.table.clone());
            place.schemas.clone_from(&said.schemas);
        }
    }
    places
}

/// What a server says of a table.
struct Said {
    table: connect_api::ServerTable,
    /// The schema that it is in, or will be made in.
    schemas: Vec<String>,
}

async fn ask(wanted: &Wanted) -> Option<Vec<(usize, Said)>> {
    let session = Session::connect(&wanted.config).await.ok()?;
    let server = texts(&session, place::SERVER).await?;
    // Not everybody may know it.
    let system = texts(&session, place::SYSTEM).await.unwrap_or_default();
    let server = server.first()?;
    let identity = place::identity(server, system.first())?;
    let mut said = Vec::new();
    for (number, name) in &wanted.tables {
        let literal = format!("'{}'", name.quoted().replace('\'', "''"));
        let rows = texts(&session, &place::reached(&literal)).await?;
        let (table, schema) = place::table(identity.clone(), &rows);
        let new = || name.schema.clone().or_else(|| server.get(3)?.clone());
        let schemas = schema.or_else(new).into_iter().collect();
        said.push((*number, Said { table, schemas }));
    }
    Some(said)
}

/// The rows of a question as texts; `None` where the server does not answer it.
async fn texts(session: &Session, sql: &str) -> Option<Vec<TextRow>> {
    let messages = session.client.simple_query(sql).await.ok()?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let columns = 0..row.len();
            Some(
                columns
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            )
        }
        _ => None,
    });
    Some(rows.collect())
}

/// A table by the names of its hosts.
async fn by_name(config: &SinkConfig, name: &TableName) -> Vec<TablePlace> {
    let TableName { schema, table } = name.clone();
    let connection = &config.connection;
    let schemas = schema.map_or_else(|| search_path(connection), |schema| vec![schema]);
    let database = connection.get_dbname().or_else(|| connection.get_user());
    let database = database.unwrap_or_default();
    let ports = connection.get_ports();
    let mut places = Vec::new();
    for (number, host) in connection.get_hosts().iter().enumerate() {
        let host = match host {
            Host::Tcp(host) => host,
            // A socket of this machine.
            Host::Unix(_) => "localhost",
        };
        let port = ports.get(number).or(ports.first()).copied();
        let server = place::server_looked_up(host, port.unwrap_or(PORT_OF_POSTGRES)).await;
        places.push(TablePlace {
            database: format!("{server}/{database}"),
            schemas: schemas.clone(),
            table: table.clone(),
            said: None,
        });
    }
    places
}

/// Where a name without a schema is looked for.
fn search_path(connection: &tokio_postgres::Config) -> Vec<String> {
    let given = connection.get_options().unwrap_or_default();
    if let Some((_, path)) = given.split_once("search_path=") {
        return path.split(',').map(|name| name.trim().to_owned()).collect();
    }
    let user = connection.get_user().map(str::to_owned);
    user.into_iter().chain(["public".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::declared::tests::of;
    use super::*;

    #[tokio::test]
    async fn a_table_has_its_place_whatever_names_it() {
        let place = async |options: &[(&str, &str)]| {
            let map = of(options, &["id"]).unwrap();
            let config = SinkConfig::parse(&map).unwrap();
            let places = by_name(&config, &config.table_of("t")).await;
            let [place] = &places[..] else {
                panic!("one server");
            };
            format!(
                "{} {} {}",
                place.database,
                place.schemas.join("|"),
                place.table
            )
        };
        let shop = [
            ("host", "127.0.0.1"),
            ("port", "5433"),
            ("database", "shop"),
        ];
        let with = |more: &[(&'static str, &'static str)]| [&shop[..], more].concat();
        assert_eq!(
            place(&with(&[("connection.username", "me")])).await,
            "localhost:5433/shop me|public Totals"
        );
        assert_eq!(
            place(&with(&[
                ("schema", "s"),
                ("collection.name.format", "Odd.Name")
            ]))
            .await,
            "localhost:5433/shop s Odd.Name"
        );
        let url = "jdbc:postgresql://240.0.0.7/shop?user=me&currentSchema=a,b";
        assert_eq!(
            place(&[
                ("connection.url", url),
                ("collection.name.format", "T"),
                ("quote.identifiers", "false")
            ])
            .await,
            "240.0.0.7:5432/shop a|b t"
        );
    }
}
