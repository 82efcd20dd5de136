//! INSERT, UPDATE and DELETE: each finds its rows with a query of its own and writes them through a [`Target`].

use sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, Spanned};

use super::answer::Outcome;
use super::conflict::resolved;
use super::given::{given, set};
use super::insert::{Target, Twice, only_to_default, refuse_computed};
use super::notice::Notices;
use super::server::{Inner, StatementContext};
use super::session::Session;
use crate::catalog::{Kind, Objects, Relation};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::statement::{Delete, Insert, Update};
use crate::plan::{by_place, floats_in};

impl Inner {
    /// INSERT: once what the query gives now, or with EMIT CHANGES whatever it gives.
    pub(super) async fn insert(
        &self,
        insert: &Insert,
        session: &Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        let relation = self.target(&objects, &insert.table)?;
        let target = self.writes(relation, context);
        if insert.query.emit.is_some() {
            if let Some(conflict) = &insert.conflict {
                let message = "ON CONFLICT is for an INSERT that ends";
                return Err(Diagnostic::new(Code::Unsupported, message)
                    .at(conflict.span)
                    .help("with EMIT CHANGES the row of a key is replaced"));
            }
            return self.insert_on(insert, context).await;
        }
        let clauses = [
            ("LATE", insert.query.late.as_ref().map(|(_, span)| *span)),
            ("GRACE", insert.query.grace.as_ref().map(|(_, span)| *span)),
        ];
        if let Some((clause, span)) = clauses
            .into_iter()
            .find_map(|(clause, span)| Some((clause, span?)))
        {
            let message = format!("{clause} is for queries that go on");
            return Err(Diagnostic::new(Code::Unsupported, message).at(span).help(
                "leave it out, or add EMIT CHANGES: then a sink of its own writes the rows",
            ));
        }
        let (mut query, places) = given(insert, relation)?;
        floats_in(&mut query, &target.floats(&places));
        by_place(&mut query);
        let (mut places, mut twice) = (places, Twice::Last);
        // What is there must not change between reading and writing.
        let mut one_at_a_time = None;
        if let Some(conflict) = &insert.conflict {
            let bound = self.library.bind(&query, &objects, &context.words)?;
            let width = bound.plan.schema().fields().len();
            Target::check_width(&places, width).map_err(|error| {
                let place = place_of_row(&error, insert, context);
                error.at(place)
            })?;
            let alias = insert.alias.as_ref();
            let resolved = resolved(conflict, &target, alias, *query, &places)?;
            (query, places) = (Box::new(resolved.query), resolved.places);
            twice = resolved.twice;
            one_at_a_time = Some(self.updates.lock().await);
        }
        let selected = self.pull(&query, session, context).await?;
        let Outcome::Rows {
            schema,
            rows,
            notices,
        } = selected
        else {
            return Err(Diagnostic::new(Code::Internal, "a query without rows"));
        };
        let written = target.insert(schema, rows, &places, twice).await;
        drop(one_at_a_time);
        let count = written.map_err(|error| {
            let place = place_of_row(&error, insert, context);
            error.at(place)
        })?;
        let message = format!("inserted {count} {}", plural_rows(count));
        Ok(with_notices(message, &notices))
    }

    /// UPDATE: reads the rows with what they are set to, and writes them over what is there.
    pub(super) async fn update(
        &self,
        update: &Update,
        session: &Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        let relation = self.target(&objects, &update.table)?;
        if relation.key.is_empty() {
            let message = format!(
                "{} has no primary key, so its rows cannot be changed",
                update.table.name
            );
            return Err(Diagnostic::new(Code::NoKey, message).at(update.table.span));
        }
        let target = self.writes(relation, context);
        let query = updated(update, relation, &target)?;
        // Another UPDATE between reading and writing would be lost.
        let _one_at_a_time = self.updates.lock().await;
        let selected = self.pull(&query, session, context).await?;
        let Outcome::Rows {
            schema,
            rows,
            notices,
        } = selected
        else {
            return Err(Diagnostic::new(Code::Internal, "a query without rows"));
        };
        let written = target
            .insert(schema, rows, &relation.written(), Twice::Last)
            .await;
        let count = written.map_err(|error| {
            let place = error
                .span
                .or_else(|| context.words.quoted_in(&error.message));
            error.at(place.or(update.table.span))
        })?;
        let message = format!("updated {count} {}", plural_rows(count));
        Ok(with_notices(message, &notices))
    }

    /// DELETE.
    pub(super) async fn delete(
        &self,
        delete: &Delete,
        session: &Session,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        let relation = self.target(&objects, &delete.table)?;
        if relation.key.is_empty() {
            let message = format!(
                "{} has no primary key, so its rows cannot be deleted",
                delete.table.name
            );
            return Err(Diagnostic::new(Code::NoKey, message).at(delete.table.span));
        }
        let target = self.writes(relation, context);
        let selected = self.pull(&delete.query, session, context).await?;
        let Outcome::Rows {
            schema,
            rows,
            notices,
        } = selected
        else {
            return Err(Diagnostic::new(Code::Internal, "a query without rows"));
        };
        let count = target.delete(schema, rows).await?;
        let message = format!("deleted {count} {}", plural_rows(count));
        Ok(with_notices(message, &notices))
    }

    pub(super) fn target<'a>(
        &self,
        objects: &'a Objects,
        name: &crate::parse::statement::Name,
    ) -> Result<&'a Relation, Diagnostic> {
        let Some(relation) = objects.relation(&name.name) else {
            return Err(super::ddl::unknown(name, Kind::Table, objects));
        };
        Target::check(relation, name)?;
        Ok(relation)
    }

    pub(super) fn writes<'a>(
        &'a self,
        relation: &'a Relation,
        context: &StatementContext<'_>,
    ) -> Target<'a> {
        Target {
            relation,
            log: &self.log,
            writes: &self.writes,
            spellings: &self.spellings,
            rows_max: self.config.insert_rows_max,
            now_ms: context.now_ms,
        }
    }
}

/// `SELECT * FROM t WHERE c` with what the columns are set to in the place of `*`.
fn updated(update: &Update, relation: &Relation, target: &Target<'_>) -> Result<Query, Diagnostic> {
    let assignments = set(relation, &update.assignments);
    let names: Vec<_> = assignments.iter().map(|(name, _)| name.clone()).collect();
    refuse_computed(relation, &names, only_to_default)?;
    let changed = match names.as_slice() {
        [] => Vec::new(),
        names => target.columns(names)?,
    };
    let at_key = names
        .iter()
        .zip(&changed)
        .find(|(_, column)| relation.key.contains(column));
    if let Some((name, _)) = at_key {
        let message = format!(
            "{} is of the primary key: a row keeps its key",
            name.written
        );
        return Err(Diagnostic::new(Code::Unsupported, message)
            .at(name.span)
            .help("INSERT the row with its new key, and DELETE the old one"));
    }
    let items = relation.written().into_iter().map(|column| {
        let name = Ident::with_quote('"', relation.schema.field(column).name());
        let expr = match changed.iter().position(|place| *place == column) {
            Some(index) => assignments[index].1.clone(),
            None => Expr::Identifier(name.clone()),
        };
        SelectItem::ExprWithAlias { expr, alias: name }
    });
    let mut query = update.query.as_ref().clone();
    match &mut *query.body {
        SetExpr::Select(select) => select.projection = items.collect(),
        _ => return Err(Diagnostic::new(Code::Internal, "UPDATE reads no table")),
    }
    Ok(query)
}

/// Where an error of an INSERT stands: at what it quotes, at the row that has too many or too few values, at the table.
fn place_of_row(
    error: &Diagnostic,
    insert: &Insert,
    context: &StatementContext<'_>,
) -> Option<Span> {
    if error.span.is_some() {
        return error.span;
    }
    let quoted = context.words.quoted_in(&error.message);
    let null = || {
        context
            .words
            .only_null()
            .filter(|_| error.sqlstate == "23502")
    };
    let row = || match &*insert.query.query.body {
        SetExpr::Values(values) if error.sqlstate == "42601" => {
            let row = values.rows.first()?;
            let spans: Vec<_> = row
                .iter()
                .filter_map(|value| Span::known(value.span()))
                .collect();
            Some(spans.first()?.to(*spans.last()?))
        }
        _ => None,
    };
    quoted.or_else(null).or_else(row).or(insert.table.span)
}

/// A statement that was carried out over what could be read.
fn with_notices(message: String, notices: &Notices) -> Outcome {
    let notes = notices.take().into_iter().map(|notice| notice.message);
    Outcome::Done {
        message,
        notes: notes.collect(),
    }
}

fn plural_rows(count: usize) -> &'static str {
    if count == 1 { "row" } else { "rows" }
}
