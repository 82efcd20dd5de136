//! EXPLAIN ANALYZE: what the operators of a running view or sink have done since its job was opened, and what they keep.
//!
//! ```text
//! aggregate #4.0 by town: count(*) AS n  [keeps one row a group]
//!       1200 rows in (40/s), 30 out; 12.5 ms; keeps 3 entries, 96 bytes
//! └─ source #0.0 topic orders: …
//!          1200 rows in (40/s), 1200 out; 3.1 ms; keeps 1200 entries, 51.2 kB
//! ```

use std::time::Duration;

use streams::{NodeKind, OperatorFigures, StateSize, StreamPlan};

use super::answer::Outcome;
use super::server::Inner;
use super::system::order;
use crate::catalog::Objects;
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::Name;
use crate::plan::explain;

impl Inner {
    pub(super) async fn analyze(&self, name: &Name) -> Result<Outcome, Diagnostic> {
        let objects = self.objects();
        let view = objects
            .relation(&name.name)
            .and_then(|relation| relation.view.as_ref());
        let sink = objects.sink(&name.name).map(|sink| &sink.plan);
        let Some(plan) = view.or(sink) else {
            let views = objects
                .relations()
                .filter(|relation| relation.view.is_some());
            let names = views.map(|view| view.name());
            let message = format!("there is no view or sink {:?} that runs", name.name);
            return Err(Diagnostic::new(Code::UnknownRelation, message)
                .at(name.span)
                .suggest_nearest(&name.name, names)
                .note("EXPLAIN shows the plan of a query"));
        };
        let Some(job) = self.jobs.running(&name.name) else {
            return Ok(Outcome::lines("plan", [self.jobs.state(&name.name)]));
        };
        let status = job.status();
        // It may read a good part of a large state.
        let sizes = tokio::task::spawn_blocking(move || job.state_sizes());
        let sizes = match sizes.await {
            Ok(Ok(sizes)) => sizes,
            Ok(Err(error)) => return Err(Diagnostic::new(Code::Engine, error.to_string())),
            Err(error) => return Err(Diagnostic::new(Code::Internal, error.to_string())),
        };
        let whole = status.running_for.unwrap_or_default();
        let mut lines = Vec::new();
        for (node, line) in order(&plan.plan).into_iter().zip(explain(&plan.plan)) {
            let indent: String = (line.chars())
                .take_while(|char| !char.is_alphanumeric())
                .map(|char| {
                    if char == '│' || char == '├' {
                        '│'
                    } else {
                        ' '
                    }
                })
                .collect();
            lines.push(line);
            if let Some(figures) = status.operators.get(node) {
                let size = sizes.iter().find(|size| size.operator == Some(figures.id));
                lines.push(format!("{indent}   {}", told(figures, size, whole)));
            }
        }
        if let Some(size) = sizes
            .iter()
            .find(|size| size.operator.is_none() && size.entries > 0)
        {
            lines.push(format!("the view {}", kept(size)));
        }
        lines.push(match status.watermark {
            Some(time) => format!("event time {}", super::why::time_text(time)),
            None => no_event_time(&plan.plan, &objects),
        });
        lines.push(format!(
            "{}; open for {:.1} s, commit {}",
            status.state,
            whole.as_secs_f64(),
            status.commit.number
        ));
        Ok(Outcome::lines("plan", lines))
    }
}

/// Why there is none.
fn no_event_time(plan: &StreamPlan, objects: &Objects) -> String {
    let sources = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(source) => Some(source),
        _ => None,
    });
    let mut unread = Vec::new();
    for source in sources {
        if source.watermark.is_some() {
            return "event time has not begun".to_owned();
        }
        let read = objects
            .relations()
            .find(|relation| relation.topic == source.topic);
        unread.extend(read.and_then(|relation| {
            let time = relation.times.first()?;
            let column = &relation.columns[time.column].name;
            Some(format!("{column} of {}", relation.name()))
        }));
    }
    unread.sort_unstable();
    unread.dedup();
    if unread.is_empty() {
        return "no event time: what it reads declares none (WATERMARK FOR)".to_owned();
    }
    format!(
        "no event time: the query does not read {}",
        unread.join(", ")
    )
}

fn told(figures: &OperatorFigures, size: Option<&StateSize>, whole: Duration) -> String {
    let rate = match whole.as_secs_f64() {
        seconds if seconds > 0.0 => figures.rows_in as f64 / seconds,
        _ => 0.0,
    };
    let mut text = format!(
        "{} rows in ({rate:.0}/s), {} out; {:.1} ms",
        figures.rows_in,
        figures.rows_out,
        figures.busy.as_secs_f64() * 1e3
    );
    if let Some(size) = size.filter(|size| size.entries > 0) {
        text.push_str(&format!("; {}", kept(size)));
    }
    text
}

fn kept(size: &StateSize) -> String {
    let more = if size.entries >= StateSize::ENTRIES_MAX {
        "more than "
    } else {
        ""
    };
    format!(
        "keeps {more}{} entries, {}",
        size.entries,
        bytes_text(size.bytes)
    )
}

/// `96 bytes`, `51.2 kB`.
fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_their_unit() {
        let texts = [0, 999, 1_000, 51_249, 2_500_000, 3_000_000_000].map(bytes_text);
        assert_eq!(
            texts,
            [
                "0 bytes",
                "999 bytes",
                "1.0 kB",
                "51.2 kB",
                "2.5 MB",
                "3.0 GB"
            ]
        );
    }
}
