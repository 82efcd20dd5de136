//! Push queries: a dataflow of their own that lasts as long as somebody reads it.
//!
//! Over a view it reads the view's topic as an upsert source: what the view holds comes first, then its changes.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use streams::QueryStart;

use super::answer::{Changes, Outcome};
use super::server::{Inner, StatementContext};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::QueryClauses;
use crate::plan::follow;

/// Starts a push query; it ends when its changes are dropped, after `LIMIT` of them, or by an error.
pub(super) async fn push(
    inner: &Inner,
    clauses: &QueryClauses,
    from_latest: bool,
    context: &StatementContext<'_>,
) -> Result<Outcome, Diagnostic> {
    let Ok(slot) = Arc::clone(&inner.push_queries).try_acquire_owned() else {
        let message = format!("{} push queries run already", inner.config.push_queries_max);
        return Err(Diagnostic::new(Code::Limit, message)
            .help("end one of them, or raise sql.push_queries_max"));
    };
    let plan = follow(&inner.library, &inner.objects(), clauses, &context.words)?;
    let schema = Arc::clone(plan.schema());
    let start = if from_latest {
        QueryStart::Latest
    } else {
        QueryStart::Earliest
    };
    let failed = |error: streams::EngineError| Diagnostic::new(Code::Engine, error.to_string());
    let chunks = inner.engine.query(plan, start);
    let left = clauses
        .limit
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let changes: Changes = stream::unfold(Some((chunks, left, slot)), move |open| async move {
        let (mut chunks, left, slot) = open?;
        if left == Some(0) {
            return None;
        }
        match chunks.next().await? {
            Err(error) => Some((Err(failed(error)), None)),
            Ok(chunk) => {
                let rows = left.map_or(chunk.len(), |left| left.min(chunk.len()));
                let batch = chunk.batch.slice(0, rows);
                let diff = chunk.diff.map(|diff| diff.slice(0, rows));
                let left = left.map(|left| left - rows);
                Some((Ok((batch, diff)), Some((chunks, left, slot))))
            }
        }
    })
    .boxed();
    Ok(Outcome::Changes { schema, changes })
}
