//! Sources and tables that a connector fills: the connector is planned before the object is made, runs while it is there, and
//! goes with it.
//!
//! ```text
//! CREATE SOURCE s WITH (connector = 'postgres-cdc', table.name = 'orders', …)
//!   plan     ──▶ CREATE SOURCE s (id INT, …, PRIMARY KEY (id)) WITH (topic = 's.public.orders', connector = …, …) FORMAT
//!                DEBEZIUM ENCODE JSON        the statement that the catalog keeps: it is bound again without the connector
//!   record   ──▶ the catalog: from here on the object is there
//!   create   ──▶ the connector; a server that dies before makes it when it starts
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::warn;

use super::connected_sink::idle;
use super::ddl::invalid_topic;
use super::infer::{Completed, byte_of, parsed};
use super::notice::Notices;
use super::server::{Inner, StatementContext};
use crate::catalog::{Kind, Objects, Relation, connector, is_own_option};
use crate::connectors::{ConnectorError, ConnectorOptions, Connectors, PlannedConnector};
use crate::diagnostic::{Code, Diagnostic, StatementText};
use crate::parse::statement::{CreateRelation, CreateSink, Format, Statement, Text};
use crate::parse::{parse, split_statements};
use crate::plan::name_text;

/// A statement whose connector may be made.
pub(super) struct Planned {
    /// The statement with what the connector told.
    pub completed: Completed,
    /// The configuration of the connector.
    pub config: ConnectorOptions,
}

impl Inner {
    /// Plans the connector of a statement; `None` where it has none.
    pub(super) async fn planned(
        &self,
        create: &CreateRelation,
        context: &StatementContext<'_>,
    ) -> Result<Option<Planned>, Diagnostic> {
        let Some(connector) = connector(create) else {
            return Ok(None);
        };
        let connectors = self
            .connectors()
            .map_err(|error| error.at(connector.span))?;
        let is_topic = |(name, _): &&(Text, Text)| {
            ["topic", "kafka_topic"].contains(&name.value.to_lowercase().as_str())
        };
        if let Some((name, _)) = create.options.iter().find(is_topic) {
            let message = "the connector names the topic that it writes";
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(name.span)
                .help("leave topic out; topic.prefix sets its first part"));
        }
        if let Some((format, span)) = &create.format
            && *format != Format::Debezium
        {
            let message = "the connector writes changes in Debezium's envelope";
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(*span)
                .help("FORMAT DEBEZIUM ENCODE JSON, or leave it out"));
        }
        let options = connector_options(create);
        let plan = connectors
            .plan(&create.name.name, &connector.value, &options)
            .await
            .map_err(|error| diagnostic(error, create))?;
        check_columns(create, &plan)?;
        let sql = whole_statement(create, context, &plan);
        let create = parsed(&sql)?;
        let shown: Vec<&str> = plan.columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut notes = vec![format!(
            "connector {} reads columns {} into topic {}",
            create.name.name,
            shown.join(", "),
            plan.topic
        )];
        notes.extend(plan.notes);
        let completed = Completed { create, sql, notes };
        Ok(Some(Planned {
            completed,
            config: plan.config,
        }))
    }

    /// The connectors of this server.
    pub(super) fn connectors(&self) -> Result<&Arc<dyn Connectors>, Diagnostic> {
        self.connectors.get().ok_or_else(|| {
            let message = "this server runs no connectors";
            Diagnostic::new(Code::Connector, message)
                .help("sources are topics: leave connector out, or say 'kafka'")
        })
    }

    /// Makes the connectors that a server which died did not come to.
    pub(super) async fn complete_connectors(&self) {
        let Some(connectors) = self.connectors.get() else {
            return;
        };
        let _one_at_a_time = self.ddl.lock().await;
        self.finish_drops().await;
        let objects = self.objects();
        for relation in objects
            .relations()
            .filter(|relation| relation.has_connector)
        {
            let name = relation.name();
            if connectors.state(name).is_some() {
                continue;
            }
            if let Err(error) = again(&**connectors, relation).await {
                warn!(name, %error, "the connector of an object is not there, and cannot be made: DROP the object and CREATE it again");
            }
        }
        self.complete_sinks().await;
    }

    /// Makes the planned connector of an object.
    pub(super) async fn create_connector(
        &self,
        name: &str,
        config: ConnectorOptions,
    ) -> Result<(), Diagnostic> {
        let created = self.connectors()?.create(name, config).await;
        created.map_err(|error| Diagnostic::new(Code::Connector, error.message))
    }

    /// Takes the connector of an object down, and says what is left.
    pub(super) async fn remove_connector(&self, name: &str) -> Result<Vec<String>, Diagnostic> {
        let removed = self.connectors()?.remove(name).await;
        removed.map_err(|error| Diagnostic::new(Code::Connector, error.message))
    }

    /// That the topic of a connector is its own: what is there already would be taken for rows of the table.
    pub(super) async fn check_own_topic(&self, relation: &Relation) -> Result<(), Diagnostic> {
        let described = self.log.admin().describe_topic(&relation.topic).await;
        let described = described.map_err(|error| invalid_topic(&error, None))?;
        if described.is_none() {
            return Ok(());
        }
        let topic = &relation.topic;
        let message = format!("the connector writes to topic {topic}, and that exists already");
        Err(Diagnostic::new(Code::Exists, message).help(format!(
            "choose another topic.prefix, or read what is there: WITH (topic = '{topic}') FORMAT DEBEZIUM ENCODE JSON"
        )))
    }

    /// Takes down what fills a source or table, and its topic where nobody else reads it.
    pub(super) async fn drop_connector(
        &self,
        relation: &Relation,
        objects: &Objects,
    ) -> Result<Vec<String>, Diagnostic> {
        let mut notes = self.remove_connector(relation.name()).await?;
        let others = objects.relations().filter(|other| {
            other.topic == relation.topic && other.identity.id != relation.identity.id
        });
        let others: Vec<&str> = others.map(|other| other.name()).collect();
        let topic = &relation.topic;
        if others.is_empty() {
            self.delete_topic(topic).await?;
        } else {
            let readers = others.join(", ");
            notes.push(format!("topic {topic} is left for {readers}"));
        }
        Ok(notes)
    }

    /// Says what lacks of the rows of captured tables that these relations come from.
    pub(super) async fn connector_notices(&self, relations: &[Arc<Relation>], notices: &Notices) {
        for notice in self.lacking(relations).await {
            notices.say(notice);
        }
    }

    /// What a view is without, as long as captured tables below it are, a sentence each.
    pub(super) async fn lacks_of_captured(&self, view: &Arc<Relation>) -> Vec<String> {
        let lacking = self.lacking(std::slice::from_ref(view)).await.into_iter();
        let sentence = |notice: Diagnostic| match notice.help {
            Some(help) => format!("{}; {help}", notice.message),
            None => notice.message,
        };
        lacking.map(sentence).collect()
    }

    /// What lacks of the rows of captured tables that these relations come from: what their connectors have still to read, and what
    /// comes later where they have stopped.
    async fn lacking(&self, relations: &[Arc<Relation>]) -> Vec<Diagnostic> {
        let mut lacking = Vec::new();
        let Some(connectors) = self.connectors.get() else {
            return lacking;
        };
        let captured = self.captured_below(relations);
        if captured.is_empty() {
            return lacking;
        }
        let listed = connectors.list();
        for (name, kind) in captured {
            if let Some((state, why)) = idle(&name, &listed) {
                let message = format!(
                    "{kind} {name} is no further than its connector, which is {state}: {why}"
                );
                let help = format!("EXPLAIN WHY {name} says more");
                lacking.push(Diagnostic::warning(Code::LeftOut, message).help(help));
            }
            if let Some(filling) = connectors.filling(&name).await {
                let message = format!(
                    "{kind} {name} is without rows that its connector has still to read: {filling}"
                );
                let help = format!("EXPLAIN WHY {name} says how far it is");
                lacking.push(Diagnostic::warning(Code::Filling, message).help(help));
            }
        }
        lacking
    }

    /// The captured sources and tables among relations and what these come from, by name.
    fn captured_below(&self, relations: &[Arc<Relation>]) -> BTreeMap<String, Kind> {
        let objects = self.objects();
        let mut seen = BTreeSet::new();
        let mut captured = BTreeMap::new();
        let mut next = relations.to_vec();
        while let Some(relation) = next.pop() {
            if !seen.insert(relation.identity.id) {
                continue;
            }
            if relation.has_connector {
                captured.insert(relation.name().to_owned(), relation.identity.kind);
            }
            let references = relation.identity.references.iter();
            next.extend(references.filter_map(|read| objects.relation(&read.name).cloned()));
        }
        captured
    }

    /// How the connector of an object is.
    pub(super) fn connector_state(&self, relation: &Relation) -> Vec<String> {
        let connectors = self.connectors.get().filter(|_| relation.has_connector);
        let Some(connectors) = connectors else {
            return Vec::new();
        };
        let name = relation.name();
        connectors.state(name).unwrap_or_else(|| {
            vec![format!(
                "connector {name} is not there: DROP {name} and CREATE it again"
            )]
        })
    }
}

/// The statement that made a sink; `None` for another one.
pub(super) fn sink_made_by(sql: &str) -> Option<Box<CreateSink>> {
    match parse(split_statements(sql).first()?) {
        Ok(Statement::CreateSink(create)) => Some(create),
        _ => None,
    }
}

/// The statement that made a source or table; `None` for another one.
pub(super) fn made_by(sql: &str) -> Option<Box<CreateRelation>> {
    match parse(split_statements(sql).first()?) {
        Ok(Statement::CreateRelation(create)) => Some(create),
        _ => None,
    }
}

/// A statement without the passwords in its options.
pub(super) fn without_passwords(sql: &str) -> String {
    let of_sink = || sink_made_by(sql).map(|create| create.output.options);
    let options = made_by(sql).map(|create| create.options).or_else(of_sink);
    let Some(options) = options else {
        return sql.to_owned();
    };
    let text = StatementText {
        text: sql,
        offset: 0,
        line: 1,
        column: 1,
        complete: true,
    };
    let mut shown = sql.to_owned();
    for (name, value) in options.iter().rev() {
        let is_password = name.value.to_lowercase().ends_with("password");
        let is_placeholder = value.value.starts_with("${") && value.value.ends_with('}');
        if let Some(span) = value.span.filter(|_| is_password && !is_placeholder) {
            let (start, end) = (byte_of(&text, span.start), byte_of(&text, span.end));
            shown.replace_range(start..end, "'********'");
        }
    }
    shown
}

async fn again(connectors: &dyn Connectors, relation: &Relation) -> Result<(), ConnectorError> {
    let Some(create) = made_by(&relation.identity.sql) else {
        return Ok(());
    };
    let Some(connector) = connector(&create) else {
        return Ok(());
    };
    let name = relation.name();
    let options = connector_options(&create);
    let plan = connectors.plan(name, &connector.value, &options).await?;
    connectors.create(name, plan.config).await
}

/// The options that are not SQL's own.
fn connector_options(create: &CreateRelation) -> ConnectorOptions {
    let options = create.options.iter();
    options
        .map(|(name, value)| (name.value.to_lowercase(), value.value.clone()))
        .filter(|(name, _)| !is_own_option(name))
        .collect()
}

/// That the columns that were declared are there.
fn check_columns(create: &CreateRelation, plan: &PlannedConnector) -> Result<(), Diagnostic> {
    for column in &create.columns {
        let name = &column.name;
        let known = || plan.columns.iter().map(|(known, _)| known.as_str());
        if !known().any(|known| known.eq_ignore_ascii_case(&name.name)) {
            let message = format!("the table has no column {:?}", name.name);
            return Err(Diagnostic::new(Code::UnknownColumn, message)
                .at(name.span)
                .suggest_nearest(&name.name, known()));
        }
        let near: Vec<&str> = known()
            .filter(|known| known.eq_ignore_ascii_case(&name.name))
            .collect();
        let is_one = name.written == name.name && near.contains(&name.name.as_str());
        if near.len() > 1 && !is_one {
            let quoted: Vec<String> = near.iter().map(|known| name_text(known)).collect();
            let message = format!(
                "column {} is ambiguous: the table has {}, which differ by case",
                name.written,
                quoted.join(", ")
            );
            return Err(Diagnostic::new(Code::UnknownColumn, message)
                .at(name.span)
                .help("write the one that is meant as it stands here"));
        }
    }
    if let Some(key) = create.primary_key.first() {
        let declared = create.primary_key.iter().map(|key| key.name.to_lowercase());
        let keys = plan.key.iter().map(|key| key.to_lowercase());
        if !declared.eq(keys) {
            let message = "the primary key is that of the table";
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(key.span)
                .help(format!(
                    "PRIMARY KEY ({}), or leave it out",
                    plan.key.join(", ")
                )));
        }
    }
    Ok(())
}

/// The statement with columns, key, topic and format.
fn whole_statement(
    create: &CreateRelation,
    context: &StatementContext<'_>,
    plan: &PlannedConnector,
) -> String {
    let mut inserted: Vec<(usize, String)> = Vec::new();
    let text = context.text;
    if let Some((place, opened)) = create.columns_at {
        let mut elements = Vec::new();
        if create.columns.is_empty() {
            let columns = plan.columns.iter();
            elements.extend(columns.map(|(name, kind)| format!("{} {kind}", name_text(name))));
        }
        if create.primary_key.is_empty() {
            let key: Vec<String> = plan.key.iter().map(|name| name_text(name)).collect();
            elements.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        let elements = elements.join(", ");
        inserted.push(match (opened, elements.is_empty()) {
            (_, true) => (0, String::new()),
            (true, false) => (byte_of(text, place.start) + 1, format!("{elements}, ")),
            (false, false) => (byte_of(text, place.end), format!(" ({elements})")),
        });
    }
    if let Some(span) = create.options.first().and_then(|(name, _)| name.span) {
        let topic = plan.topic.replace('\'', "''");
        inserted.push((byte_of(text, span.start), format!("topic = '{topic}', ")));
    }
    if create.format.is_none() {
        let end = text
            .text
            .trim_end_matches(|char: char| char == ';' || char.is_whitespace());
        inserted.push((end.len(), " FORMAT DEBEZIUM ENCODE JSON".to_owned()));
    }
    let mut sql = text.text.to_owned();
    inserted.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (at, words) in inserted {
        sql.insert_str(at, &words);
    }
    sql
}

/// An error at the option that it speaks of.
fn diagnostic(error: ConnectorError, create: &CreateRelation) -> Diagnostic {
    let option = error.option.as_deref();
    let place = create
        .options
        .iter()
        .find(|(name, _)| Some(name.value.to_lowercase().as_str()) == option)
        .or_else(|| {
            let mut options = create.options.iter();
            options.find(|(name, _)| name.value.eq_ignore_ascii_case("connector"))
        });
    let span = place.and_then(|(name, value)| match option {
        Some(_) => value.span,
        None => name.span,
    });
    Diagnostic::new(Code::Connector, error.message).at(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let sql = "CREATE SOURCE s (id INT PRIMARY KEY) WITH (connector = 'postgres-cdc', password = 'se''cret',\n \
                   database.sslpassword = x, topic = 't') FORMAT DEBEZIUM ENCODE JSON";
        assert_eq!(
            without_passwords(sql),
            "CREATE SOURCE s (id INT PRIMARY KEY) WITH (connector = 'postgres-cdc', password = '********',\n \
             database.sslpassword = '********', topic = 't') FORMAT DEBEZIUM ENCODE JSON"
        );
        assert_eq!(
            without_passwords(
                "CREATE SINK s FROM v WITH (connector = 'postgres', password = 'secret')"
            ),
            "CREATE SINK s FROM v WITH (connector = 'postgres', password = '********')"
        );
        for shown in [
            "CREATE SOURCE s (id INT) WITH (connector = 'postgres-cdc', password = '${env:PASSWORD}')",
            "CREATE MATERIALIZED VIEW v AS SELECT 'password' AS p FROM t",
        ] {
            assert_eq!(without_passwords(shown), shown);
        }
    }

    #[test]
    fn a_column_whose_name_differs_by_case_alone_is_written_as_it_is() {
        let column = |name: &str| (name.to_owned(), "INT".to_owned());
        let plan = |columns: &[&str]| PlannedConnector {
            config: ConnectorOptions::new(),
            topic: "s.public.o".to_owned(),
            columns: columns.iter().map(|name| column(name)).collect(),
            key: vec!["id".to_owned()],
            notes: Vec::new(),
        };
        let checked = |declared: &str, plan: &PlannedConnector| {
            let sql = format!("CREATE TABLE s (id INT, {declared} INT) WITH (connector = 'c')");
            check_columns(&made_by(&sql).expect("a table"), plan)
        };
        let both = plan(&["id", "n", "N"]);
        for declared in ["n", "\"n\"", "\"N\""] {
            assert!(checked(declared, &both).is_ok(), "{declared}");
        }
        // SQL reads it as n, and the record's field N has the same spelling.
        let refused = checked("N", &both).expect_err("ambiguous");
        assert!(
            refused.message.contains("the table has n, \"N\""),
            "{}",
            refused.message
        );
        assert!(checked("nn", &plan(&["id", "nN", "NN"])).is_err());
        assert!(checked("N", &plan(&["id", "n"])).is_ok());
        assert!(checked("n", &plan(&["id", "N"])).is_ok());
    }

    #[test]
    fn a_statement_is_completed_with_what_the_connector_tells() {
        let plan = PlannedConnector {
            config: ConnectorOptions::new(),
            topic: "s.public.o".to_owned(),
            columns: vec![
                ("id".to_owned(), "INT".to_owned()),
                ("Two words".to_owned(), "TEXT".to_owned()),
            ],
            key: vec!["id".to_owned()],
            notes: Vec::new(),
        };
        let with = "WITH (connector = 'c', table.name = 'o')";
        let completed = "WITH (topic = 's.public.o', connector = 'c', table.name = 'o') FORMAT DEBEZIUM ENCODE JSON";
        for (written, expected) in [
            (
                "CREATE SOURCE s",
                "CREATE SOURCE s (id INT, \"Two words\" TEXT, PRIMARY KEY (id))",
            ),
            (
                "CREATE TABLE s (WATERMARK FOR at AS at)",
                "CREATE TABLE s (id INT, \"Two words\" TEXT, PRIMARY KEY (id), WATERMARK FOR at AS at)",
            ),
            (
                "CREATE SOURCE s (id BIGINT)",
                "CREATE SOURCE s (PRIMARY KEY (id), id BIGINT)",
            ),
            (
                "CREATE SOURCE s (id BIGINT PRIMARY KEY)",
                "CREATE SOURCE s (id BIGINT PRIMARY KEY)",
            ),
        ] {
            let sql = format!("{written} {with} ;");
            let statements = split_statements(&sql);
            let text = &statements[0];
            let context = StatementContext {
                text,
                words: crate::diagnostic::Words::new(crate::parse::words(text), Vec::new()),
                now_ms: 0,
            };
            let create = made_by(&sql).expect("a source");
            let whole = whole_statement(&create, &context, &plan);
            let whole = whole.trim_end_matches([' ', ';']);
            assert_eq!(whole, format!("{expected} {completed}"));
            assert!(parsed(whole).is_ok(), "{whole}");
        }
    }
}
