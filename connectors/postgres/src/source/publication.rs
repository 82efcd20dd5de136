//! The publication: what it sends, whether that is what the configuration asks for, and what makes it so.

use connect_api::ConnectError;

use super::catalog::{self, Published, TableEntry};
use super::config::{Autocreate, SnapshotMode, SourceConfig};
use super::health::Server;
use super::unhealthy::{Unhealthy, failed};
use super::wire::{Connection, WireError, literal, quoted, text};

/// PostgreSQL 13: partitions through their root.
const VERSION_VIA_ROOT: u32 = 130_000;
/// PostgreSQL 15: lists of columns and filters of rows in publications.
const VERSION_LISTS: u32 = 150_000;

impl Server {
    /// What the publication sends.
    pub(super) async fn published(
        &self,
        connection: &mut Connection,
        publication: &str,
    ) -> Result<Vec<Published>, ConnectError> {
        catalog::published(connection, publication, self.version >= VERSION_LISTS)
            .await
            .map_err(|error| failed("looking at the publication", error))
    }

    /// Whether the publication sends changes of partitions as those of their root.
    pub(super) async fn publishes_via_root(
        &self,
        connection: &mut Connection,
        publication: &str,
    ) -> Result<bool, ConnectError> {
        if self.version < VERSION_VIA_ROOT {
            return Ok(false);
        }
        let rows = connection
            .query(&format!(
                "SELECT pubviaroot FROM pg_publication WHERE pubname = {}",
                literal(publication)
            ))
            .await
            .map_err(|error| failed("looking at the publication", error))?;
        Ok(rows.first().is_some_and(|row| text(row, 0) == "t"))
    }

    /// Makes the publication, or brings it up to the filters, as the configuration asks.
    pub(super) async fn publication(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<(), ConnectError> {
        let name = quoted(&config.publication);
        let sql = match self
            .publication_change(connection, config, captured)
            .await?
        {
            PublicationChange::None => return Ok(()),
            PublicationChange::Missing => {
                let tables = "ALL TABLES".to_owned();
                return Err(Unhealthy::PublicationMissing { name, tables }.into());
            }
            PublicationChange::Statement(sql) => sql,
        };
        match connection.query(&sql).await {
            Ok(_) => Ok(()),
            Err(WireError::Server(error)) if error.code == "42501" => {
                Err(Unhealthy::PublicationRefused {
                    name,
                    user: quoted(&self.user),
                    statement: sql,
                    reason: error.to_string(),
                }
                .into())
            }
            // Somebody else was faster.
            Err(WireError::Server(error)) if error.code == "42710" => Ok(()),
            Err(error) => Err(failed("making the publication", error)),
        }
    }

    /// As [`Server::publication`], where a connector goes on: tables that are not sent yet are left to the discovery, which has
    /// them read too, but for the ones that are `wanted`.
    pub(super) async fn publication_again(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
        wanted: impl Fn(&TableEntry) -> bool,
    ) -> Result<(), ConnectError> {
        let name = &config.publication;
        let discovers = config.discovery.is_some()
            && config.autocreate == Autocreate::Filtered
            && config.snapshot_mode != SnapshotMode::NoData;
        // With another setting for partitions, the tables have other names there.
        if !discovers || self.publishes_via_root(connection, name).await? != config.via_root {
            return self.publication(connection, config, captured).await;
        }
        let published = self.published(connection, name).await?;
        let is_sent = |table: &TableEntry| {
            let mut published = published.iter();
            published.any(|entry| entry.table.0 == table.schema && entry.table.1 == table.name)
        };
        let mut kept = captured.to_vec();
        // One that is missing, or empty, is made for all.
        if !published.is_empty() {
            kept.retain(|table| {
                is_sent(table) || config.is_signals(&table.schema, &table.name) || wanted(table)
            });
        }
        self.publication(connection, config, &kept).await
    }

    /// What is to be done about the publication.
    async fn publication_change(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<PublicationChange, ConnectError> {
        let name = quoted(&config.publication);
        let listed = tables_of(captured);
        let found = connection
            .query(&format!(
                "SELECT puballtables FROM pg_publication WHERE pubname = {}",
                literal(&config.publication)
            ))
            .await
            .map_err(|error| failed("looking for the publication", error))?;
        if let Some(row) = found.first() {
            // One for all tables sends what is captured, and its tables cannot be set.
            let has_all = text(row, 0) == "t";
            if config.autocreate != Autocreate::Filtered || has_all || captured.is_empty() {
                return Ok(PublicationChange::None);
            }
            let published = self.published(connection, &config.publication).await?;
            return Ok(match sends_exactly(&published, captured) {
                // Setting its tables anew would drop lists of columns and filters of rows.
                true => PublicationChange::None,
                false => PublicationChange::Statement(format!(
                    "ALTER PUBLICATION {name} SET TABLE {listed}"
                )),
            });
        }
        let what = match config.autocreate {
            Autocreate::Disabled => return Ok(PublicationChange::Missing),
            Autocreate::NoTables => String::new(),
            Autocreate::Filtered if captured.is_empty() => String::new(),
            Autocreate::Filtered => format!(" FOR TABLE {listed}"),
            Autocreate::AllTables => " FOR ALL TABLES".to_owned(),
        };
        let via_root = if config.via_root && self.version >= VERSION_VIA_ROOT {
            " WITH (publish_via_partition_root = true)"
        } else {
            ""
        };
        Ok(PublicationChange::Statement(format!(
            "CREATE PUBLICATION {name}{what}{via_root}"
        )))
    }

    /// Tables that the publication sends and would not any more, once it is brought up to the filters.
    pub(super) async fn publication_loses(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<Vec<String>, ConnectError> {
        let change = self
            .publication_change(connection, config, captured)
            .await?;
        if !matches!(change, PublicationChange::Statement(_)) {
            return Ok(Vec::new());
        }
        let published = self.published(connection, &config.publication).await?;
        let stays = |entry: &&Published| {
            let mut captured = captured.iter();
            captured.any(|table| entry.table.0 == table.schema && entry.table.1 == table.name)
        };
        let lost = published.iter().filter(|entry| !stays(entry));
        let name =
            |entry: &Published| format!("{}.{}", quoted(&entry.table.0), quoted(&entry.table.1));
        Ok(lost.map(name).collect())
    }

    /// What keeps the user from making or changing the publication: `validate` asks for it, and changes nothing.
    pub(super) async fn publication_issue(
        &self,
        connection: &mut Connection,
        config: &SourceConfig,
        captured: &[TableEntry],
    ) -> Result<Option<Unhealthy>, ConnectError> {
        let name = quoted(&config.publication);
        let statement = match self
            .publication_change(connection, config, captured)
            .await?
        {
            PublicationChange::None => return Ok(None),
            PublicationChange::Missing => {
                let tables = "ALL TABLES".to_owned();
                return Ok(Some(Unhealthy::PublicationMissing { name, tables }));
            }
            PublicationChange::Statement(statement) => statement,
        };
        let rows = connection
            .query(&format!(
                "SELECT has_database_privilege(current_database(), 'CREATE'), \
                 (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
                 (SELECT pg_has_role(current_user, pubowner, 'USAGE') FROM pg_publication WHERE pubname = {})",
                literal(&config.publication)
            ))
            .await
            .map_err(|error| failed("looking for the rights to the publication", error))?;
        let row = rows.first().cloned().unwrap_or_default();
        let (creates, is_super, owns) = (text(&row, 0), text(&row, 1), text(&row, 2));
        let reason = if owns == "f" {
            "the user does not own it".to_owned()
        } else if owns.is_empty() && creates == "f" {
            format!(
                "the user may not create in database {}",
                quoted(&self.database)
            )
        } else if statement.contains(" FOR ALL TABLES") && is_super == "f" {
            "only a superuser may publish all tables".to_owned()
        } else if statement.contains(" TABLE ") {
            let owned = "pg_has_role(current_user, c.relowner, 'USAGE')";
            match self.lacking(connection, captured, owned).await?.as_slice() {
                [] => return Ok(None),
                lacking => format!("the user does not own {}", lacking.join(", ")),
            }
        } else {
            return Ok(None);
        };
        Ok(Some(Unhealthy::PublicationRefused {
            name,
            user: quoted(&self.user),
            statement,
            reason,
        }))
    }
}

/// What is to be done about a publication.
enum PublicationChange {
    /// It is as it has to be, or as somebody made it.
    None,
    /// It has to be made, and not by the connector.
    Missing,
    /// This makes or changes it.
    Statement(String),
}
fn sends_exactly(published: &[Published], captured: &[TableEntry]) -> bool {
    published.len() == captured.len()
        && captured.iter().all(|table| {
            published
                .iter()
                .any(|entry| entry.table.0 == table.schema && entry.table.1 == table.name)
        })
}

fn tables_of(captured: &[TableEntry]) -> String {
    captured
        .iter()
        .map(|table| {
            let only = if table.is_root { "" } else { "ONLY " };
            format!("{only}{}.{}", quoted(&table.schema), quoted(&table.name))
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// Says which captured tables the publication lacks: their changes never come.
pub(super) fn warn_of_unpublished(captured: &[TableEntry], published: &[Published], name: &str) {
    let lacking: Vec<TableEntry> = captured
        .iter()
        .filter(|table| {
            !published
                .iter()
                .any(|entry| entry.table.0 == table.schema && entry.table.1 == table.name)
        })
        .cloned()
        .collect();
    if !lacking.is_empty() {
        let mend = format!(
            "ALTER PUBLICATION {} ADD TABLE {};",
            quoted(name),
            tables_of(&lacking)
        );
        tracing::warn!(
            publication = name,
            mend,
            "captured tables are not in the publication: their changes are not sent"
        );
    }
}
