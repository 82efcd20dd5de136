//! ALTER SOURCE | TABLE … RENAME TO: the same topic by another name. The statement that made it is kept with the new name,
//! and says which topic it is over where that was called as the object was.
//!
//! Views and sinks that read it hold its name in their text, so they are in the way.

use std::sync::Arc;

use super::answer::Outcome;
use super::ddl::{catalog_error, record};
use super::infer::{byte_of, parsed};
use super::server::{Inner, StatementContext};
use crate::catalog::{Identity, Relation, bind_relation};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::split_statements;
use crate::parse::statement::Name;
use crate::plan::name_text;

impl Inner {
    /// Gives a source or table another name. The caller holds the lock of statements that change the catalog.
    pub(super) async fn rename(
        &self,
        identity: &Identity,
        to: &Name,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let (kind, old) = (identity.kind, identity.name.as_str());
        let objects = self.objects();
        let Some(relation) = objects.relation(old) else {
            return Err(Diagnostic::new(
                Code::Internal,
                format!("{old} is no relation"),
            ));
        };
        let users = objects.dependents(identity.id);
        if !users.is_empty() {
            let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
            let message = format!("{kind} {old} is used by {}", names.join(", "));
            return Err(Diagnostic::new(Code::InUse, message)
                .at(to.span)
                .help(format!(
                    "their queries name it: CREATE another {kind} over topic {} beside it",
                    relation.topic
                )));
        }
        if relation.has_connector || relation.generator.is_some() {
            let message = format!("what fills {kind} {old} is known by its name");
            return Err(Diagnostic::new(Code::Unsupported, message)
                .at(to.span)
                .help("DROP it, and CREATE it by the new name"));
        }
        self.taken(to, kind, false)
            .map_err(|error| match error.code == Code::Exists.number() {
                true => error.help("choose another name, or DROP what has this one"),
                false => error,
            })?;
        let sql = renamed(relation, to)?;
        let identity = Identity {
            name: to.name.clone(),
            sql,
            ..identity.clone()
        };
        let create = parsed(&identity.sql)?;
        let bound = bind_relation(&self.library, &create, identity, &context.words);
        let relation = Arc::new(bound.map_err(Diagnostic::without_place)?.relation);
        let stored = record(&relation.identity, None);
        let put = self.store.put(relation.identity.id, &stored).await;
        put.map_err(catalog_error)?;
        let topic = relation.topic.clone();
        self.change_objects(|objects| {
            objects.remove(kind, old);
            objects.insert_relation(relation);
        });
        Ok(Outcome::Done {
            message: format!("renamed {kind} {old} to {}", to.name),
            notes: vec![format!("its topic is {topic}, as before")],
        })
    }
}

/// The statement that made `relation`, with the new name and the topic that it is over.
fn renamed(relation: &Relation, to: &Name) -> Result<String, Diagnostic> {
    let statements = split_statements(&relation.identity.sql);
    let unreadable = || {
        let message = format!("the statement that made {} has no name", relation.name());
        Diagnostic::new(Code::Internal, message)
    };
    let text = statements.first().ok_or_else(unreadable)?;
    let create = parsed(text.text)?;
    let whole = split_statements(text.text);
    let whole = whole.first().ok_or_else(unreadable)?;
    let place = create.name.span.ok_or_else(unreadable)?;
    let mut sql = whole.text.to_owned();
    let names_topic = create
        .options
        .iter()
        .any(|(name, _)| ["topic", "kafka_topic"].contains(&name.value.to_lowercase().as_str()));
    if !names_topic {
        let topic = format!("topic = '{}'", relation.topic.replace('\'', "''"));
        match create.options.first().and_then(|(name, _)| name.span) {
            Some(first) => sql.insert_str(byte_of(whole, first.start), &format!("{topic}, ")),
            // On a line of its own: the last one may end with a comment.
            None => sql = format!("{}\nWITH ({topic})", sql.trim_end()),
        }
    }
    let name = byte_of(whole, place.start)..byte_of(whole, place.end);
    sql.replace_range(name, &name_text(&to.name));
    Ok(sql)
}
