//! Push queries: a dataflow of their own that lasts as long as somebody reads it.
//!
//! Over a view it reads the view's topic as an upsert source: what the view holds comes first, then its changes. What it
//! does not show is told before the first change; what it leaves out itself, as it goes on: at the first, and whenever
//! that has doubled, so that a topic of bad records does not drown the good ones.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use streams::{ChunkStream, QueryLosses, QueryStart};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Changes, Outcome};
use super::notice::{Notices, plural};
use super::server::{Inner, StatementContext};
use crate::catalog::Objects;
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::QueryClauses;
use crate::plan::follow;

/// A query that is being read.
struct Open {
    chunks: ChunkStream,
    /// Changes until its LIMIT.
    left: Option<usize>,
    notices: Notices,
    /// How much of what it left out was told.
    told: u64,
    /// Its place among the push queries.
    _slot: OwnedSemaphorePermit,
}

impl Open {
    /// Says what was left out, if there is enough of it that is new.
    fn tell(&mut self, at_end: bool) {
        let losses = self.chunks.losses();
        let count = losses.count();
        let enough = if at_end {
            self.told + 1
        } else {
            (self.told * 2).max(1)
        };
        if count >= enough {
            self.told = count;
            self.notices.say(lost(&losses));
        }
    }
}

/// What a push query has left out.
fn lost(losses: &QueryLosses) -> Diagnostic {
    let reasons = [
        (losses.undecodable, "record", "could not be read"),
        (losses.failed_rows, "row", "failed"),
        (losses.late, "row", "came too late"),
    ];
    let reasons = reasons.iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> = reasons
        .map(|(count, what, how)| format!("{} {how}", plural(*count, what)))
        .collect();
    let last = match &losses.last_failure {
        Some(last) => format!(" (last: {last})"),
        None => String::new(),
    };
    let message = format!("left out so far: {}{last}", parts.join(", "));
    Diagnostic::warning(Code::LeftOut, message).help(
        "a materialized view keeps what it leaves out in the topics <view>.errors and <view>.late",
    )
}

/// Starts a push query; it ends when its changes are dropped, after `LIMIT` of them, or by an error.
pub(super) async fn push(
    inner: &Inner,
    clauses: &QueryClauses,
    objects: &Objects,
    from_latest: bool,
    notices: Notices,
    context: &StatementContext<'_>,
) -> Result<Outcome, Diagnostic> {
    let Ok(slot) = Arc::clone(&inner.push_queries).try_acquire_owned() else {
        let message = format!("{} push queries run already", inner.config.push_queries_max);
        return Err(Diagnostic::new(Code::Limit, message)
            .help("end one of them, or raise sql.push_queries_max"));
    };
    let plan = follow(&inner.library, objects, clauses, &context.words)?;
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
    let open = Open {
        chunks,
        left,
        notices: notices.clone(),
        told: 0,
        _slot: slot,
    };
    let changes: Changes = stream::unfold(Some(open), move |open| async move {
        let mut open = open?;
        if open.left == Some(0) {
            return None;
        }
        match open.chunks.next().await {
            None => {
                open.tell(true);
                None
            }
            Some(Err(error)) => Some((Err(failed(error)), None)),
            Some(Ok(chunk)) => {
                let rows = open.left.map_or(chunk.len(), |left| left.min(chunk.len()));
                let batch = chunk.batch.slice(0, rows);
                let diff = chunk.diff.map(|diff| diff.slice(0, rows));
                open.left = open.left.map(|left| left - rows);
                open.tell(open.left == Some(0));
                Some((Ok((batch, diff)), Some(open)))
            }
        }
    })
    .boxed();
    Ok(Outcome::Changes {
        schema,
        changes,
        notices,
    })
}
