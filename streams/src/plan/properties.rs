//! What is known of the rows on every edge of a plan: one answer for the operators, the sink, EXPLAIN and notes.

use super::{Answer, JoinKind, LatePolicy, NodeKind, PlanNode, SourceMode, StreamPlan};

/// What is known of the rows that a node emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeProperties {
    /// Never a −1.
    pub append_only: bool,
    /// Every row is a record of a source, which can be late and goes out as it was read.
    pub source_rows: bool,
    /// No row comes for a window that event time has left behind by more than this, µs, and none of it goes; `None`: any may.
    pub closed_after_us: Option<i64>,
}

impl EdgeProperties {
    /// Whether groups of these rows are of no use any more once their window is closed.
    pub fn closes_windows(&self) -> bool {
        self.closed_after_us.is_some()
    }
}

/// See [`StreamPlan::properties`].
pub(super) fn properties(plan: &StreamPlan) -> Vec<EdgeProperties> {
    let mut known: Vec<EdgeProperties> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let inputs: Vec<EdgeProperties> = node.inputs.iter().map(|&input| known[input]).collect();
        known.push(emitted(node, &inputs));
    }
    known
}

/// Rows that a window has judged, where they can be late.
fn windowed(input: EdgeProperties, late: &LatePolicy, grace_us: i64) -> EdgeProperties {
    let judges = input.source_rows && *late != LatePolicy::Update;
    EdgeProperties {
        // Or they were judged before they were repeated.
        closed_after_us: judges.then_some(grace_us).or(input.closed_after_us),
        ..input
    }
}

fn emitted(node: &PlanNode, inputs: &[EdgeProperties]) -> EdgeProperties {
    let append_only = inputs.iter().all(|input| input.append_only);
    match &node.kind {
        NodeKind::Source(spec) => EdgeProperties {
            append_only: spec.mode == SourceMode::Append,
            source_rows: spec.mode == SourceMode::Append,
            closed_after_us: None,
        },
        NodeKind::Map(_) | NodeKind::Filter(_) | NodeKind::Expand(_) => inputs[0],
        NodeKind::Late(spec) => windowed(inputs[0], &spec.late, spec.grace_us),
        // What goes when its time is over may be of a window that is closed.
        NodeKind::Visible(spec) => EdgeProperties {
            append_only: append_only && spec.until.is_empty(),
            source_rows: false,
            closed_after_us: None,
        },
        // A row is a part of a record.
        NodeKind::Unnest(_) => EdgeProperties {
            source_rows: false,
            ..inputs[0]
        },
        NodeKind::Tumble(spec) => windowed(inputs[0], &spec.late, spec.grace_us),
        NodeKind::Slide(spec) => windowed(inputs[0], &spec.late, spec.grace_us),
        NodeKind::Session(spec) => EdgeProperties {
            append_only: spec.holds(inputs[0]),
            source_rows: false,
            closed_after_us: spec.closed_after_us(inputs[0]),
        },
        // A row that waited for its match comes whenever that does.
        NodeKind::Join(spec) => EdgeProperties {
            append_only: append_only && matches!(spec.kind, JoinKind::Inner | JoinKind::Semi),
            source_rows: false,
            closed_after_us: None,
        },
        NodeKind::Constant(_) => EdgeProperties {
            append_only: true,
            source_rows: false,
            closed_after_us: None,
        },
        NodeKind::AsOf(spec) => EdgeProperties {
            append_only: spec.answer.is_final() && inputs[0].append_only,
            source_rows: false,
            // What waits comes out right behind event time.
            closed_after_us: match spec.answer {
                Answer::AtEventTime { grace_us } => Some(grace_us),
                Answer::Corrected | Answer::AtArrival => None,
            },
        },
        NodeKind::Union => EdgeProperties {
            append_only,
            source_rows: inputs.iter().all(|input| input.source_rows),
            // Closed is what is closed to all of them.
            closed_after_us: inputs
                .iter()
                .map(|input| input.closed_after_us)
                .reduce(|one, other| Some(one?.max(other?)))
                .flatten(),
        },
        NodeKind::Aggregate(_) | NodeKind::TopN(_) | NodeKind::Over(_) => EdgeProperties {
            append_only: false,
            source_rows: false,
            closed_after_us: None,
        },
    }
}
