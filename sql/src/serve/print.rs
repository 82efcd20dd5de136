//! PRINT: the records of a topic as they come, whatever anybody has declared of them.

use std::sync::Arc;

use super::answer::Outcome;
use super::notice::Notices;
use super::push::push;
use super::server::{Inner, StatementContext};
use crate::catalog::{Identity, Kind, bind_relation};
use crate::diagnostic::{Code, Diagnostic, Words};
use crate::parse::statement::{Emit, Print, Statement};
use crate::parse::{parse, split_statements};

/// What a topic is read as: its values, and beside them what all records have.
const STATEMENT: &str = "CREATE SOURCE printed (value TEXT) INCLUDE partition, offset, timestamp, key \
                         WITH (topic = 'printed') FORMAT PLAIN ENCODE TEXT";

impl Inner {
    /// `PRINT topic` is `SELECT * FROM topic EMIT CHANGES` over such a source.
    pub(super) async fn print(
        &self,
        print: &Print,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let topic = &print.topic.value;
        let described = self.log.admin().describe_topic(topic).await;
        if !matches!(described, Ok(Some(_))) {
            let topics = self.log.admin().list_topics().await.unwrap_or_default();
            let names = topics.iter().map(|topic| topic.name.as_str());
            let message = format!("topic {topic} does not exist");
            if let Some(relation) = self.objects().relation(topic) {
                let (kind, topic) = (relation.identity.kind, &relation.topic);
                return Err(Diagnostic::new(Code::UnknownTopic, message)
                    .at(print.topic.span)
                    .help(format!(
                        "{kind} {} reads topic {topic}: PRINT {topic}",
                        relation.name()
                    )));
            }
            return Err(Diagnostic::new(Code::UnknownTopic, message)
                .at(print.topic.span)
                .suggest_nearest(topic, names)
                .note("SHOW TOPICS lists what there is"));
        }
        let mut objects = self.objects().as_ref().clone();
        objects.insert_relation(Arc::new(self.printed(topic, context)?));
        let query = "SELECT partition, \"offset\", timestamp, key, value FROM printed EMIT CHANGES";
        let Statement::Select(mut select) = parsed(query)? else {
            return Err(Diagnostic::new(Code::Internal, "PRINT is no query"));
        };
        select.query.emit = Some((Emit::Changes { from_latest: false }, None));
        select.query.limit = print.limit;
        let from_latest = !print.from_beginning;
        let notices = Notices::default();
        push(self, &select.query, &objects, from_latest, notices, context).await
    }

    fn printed(
        &self,
        topic: &str,
        context: &StatementContext<'_>,
    ) -> Result<crate::catalog::Relation, Diagnostic> {
        let Statement::CreateRelation(create) = parsed(STATEMENT)? else {
            return Err(Diagnostic::new(Code::Internal, "PRINT has no source"));
        };
        let identity = Identity {
            id: uuid::Uuid::now_v7(),
            name: "printed".to_owned(),
            kind: Kind::Source,
            sql: String::new(),
            created_ms: context.now_ms,
            references: Vec::new(),
        };
        let bound = bind_relation(&self.library, &create, identity, &Words::default())?;
        let mut relation = bound.relation;
        topic.clone_into(&mut relation.topic);
        Ok(relation)
    }
}

fn parsed(sql: &str) -> Result<Statement, Diagnostic> {
    match split_statements(sql).first() {
        Some(text) => parse(text),
        None => Err(Diagnostic::new(Code::Internal, "PRINT has no statement")),
    }
}
