//! The connectors of SQL's sources and tables: SQL's side and Connect's side of the same thing.

use std::collections::BTreeSet;

use async_trait::async_trait;
use connect_api::{DeclaredColumn, DeclaredKey, DeclaredRows};
use connect_runtime::{TableError, Tables};
use sql::{
    ConnectorError, ConnectorOptions, Connectors, ListedConnector, PlannedConnector, SinkRows,
    TableFlow,
};

/// Connect's worker, as SQL asks it.
pub(crate) struct TableConnectors(pub(crate) Tables);

#[async_trait]
impl Connectors for TableConnectors {
    async fn plan(
        &self,
        name: &str,
        connector: &str,
        options: &ConnectorOptions,
    ) -> Result<PlannedConnector, ConnectorError> {
        let planned = self.0.plan(name, connector, options).await.map_err(error)?;
        let columns = planned.table.columns.into_iter();
        Ok(PlannedConnector {
            config: planned.config,
            topic: planned.table.topic,
            columns: columns
                .map(|column| (column.name, column.sql_type))
                .collect(),
            key: planned.table.key,
            notes: planned.table.notes,
        })
    }

    async fn plan_sink(
        &self,
        name: &str,
        connector: &str,
        options: &ConnectorOptions,
        rows: &SinkRows,
    ) -> Result<ConnectorOptions, ConnectorError> {
        let rows = declared(rows);
        let planned = self.0.plan_sink(name, connector, options, &rows).await;
        planned.map_err(error)
    }

    async fn look_sink(
        &self,
        name: &str,
        connector: &str,
        options: &ConnectorOptions,
        rows: &SinkRows,
    ) -> Result<Vec<String>, ConnectorError> {
        let rows = declared(rows);
        let looked = self.0.look_sink(name, connector, options, &rows).await;
        looked.map_err(error)
    }

    async fn create(&self, name: &str, config: ConnectorOptions) -> Result<(), ConnectorError> {
        self.0.create(name, config).await.map_err(error)
    }

    async fn remove(&self, name: &str) -> Result<Vec<String>, ConnectorError> {
        self.0.remove(name).await.map_err(error)
    }

    fn state(&self, name: &str) -> Option<Vec<String>> {
        self.0.state(name)
    }

    async fn flows(
        &self,
        planned: Option<&ConnectorOptions>,
        topics: &BTreeSet<String>,
    ) -> Vec<TableFlow> {
        let flows = self.0.flows(planned, topics).await.into_iter();
        flows
            .map(|flow| TableFlow {
                from: flow.from,
                to: flow.to,
                table: flow.table,
                source: flow.source,
            })
            .collect()
    }

    async fn filling(&self, name: &str) -> Option<String> {
        self.0.filling(name).await
    }

    fn list(&self) -> Vec<ListedConnector> {
        let listed = self.0.list().into_iter();
        listed
            .map(|listed| ListedConnector {
                name: listed.name,
                kind: listed.kind,
                class: listed.class,
                state: listed.state,
                tasks: listed.tasks,
                failed_tasks: listed.failed_tasks,
                error: listed.error,
            })
            .collect()
    }
}

/// Where Connect does not run: whatever is asked of it, this is why.
pub(crate) struct NoConnectors(pub(crate) String);

impl NoConnectors {
    fn refused<T>(&self) -> Result<T, ConnectorError> {
        Err(ConnectorError {
            option: None,
            message: self.0.clone(),
        })
    }
}

#[async_trait]
impl Connectors for NoConnectors {
    async fn plan(
        &self,
        _name: &str,
        _connector: &str,
        _options: &ConnectorOptions,
    ) -> Result<PlannedConnector, ConnectorError> {
        self.refused()
    }

    async fn plan_sink(
        &self,
        _name: &str,
        _connector: &str,
        _options: &ConnectorOptions,
        _rows: &SinkRows,
    ) -> Result<ConnectorOptions, ConnectorError> {
        self.refused()
    }

    async fn look_sink(
        &self,
        _name: &str,
        _connector: &str,
        _options: &ConnectorOptions,
        _rows: &SinkRows,
    ) -> Result<Vec<String>, ConnectorError> {
        self.refused()
    }

    async fn create(&self, _name: &str, _config: ConnectorOptions) -> Result<(), ConnectorError> {
        self.refused()
    }

    async fn remove(&self, _name: &str) -> Result<Vec<String>, ConnectorError> {
        self.refused()
    }

    fn state(&self, _name: &str) -> Option<Vec<String>> {
        Some(vec![self.0.clone()])
    }

    async fn flows(
        &self,
        _planned: Option<&ConnectorOptions>,
        _topics: &BTreeSet<String>,
    ) -> Vec<TableFlow> {
        Vec::new()
    }

    async fn filling(&self, _name: &str) -> Option<String> {
        None
    }

    fn list(&self) -> Vec<ListedConnector> {
        Vec::new()
    }
}

fn error(error: TableError) -> ConnectorError {
    ConnectorError {
        option: error.option,
        message: error.message,
    }
}

/// The rows of a sink as Connect declares them.
fn declared(rows: &SinkRows) -> DeclaredRows {
    DeclaredRows {
        topic: rows.topic.clone(),
        columns: (rows.columns.iter())
            .map(|(name, sql_type)| DeclaredColumn {
                name: name.clone(),
                sql_type: sql_type.clone(),
            })
            .collect(),
        key: (rows.key.iter())
            .map(|column| DeclaredKey {
                name: column.name.clone(),
                sql_type: column.sql_type.clone(),
                nullable: column.nullable,
            })
            .collect(),
    }
}
