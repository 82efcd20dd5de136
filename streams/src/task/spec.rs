//! What a job is asked to be.

use crate::{SinkSpec, StateManifest, StreamPlan};

/// A query that runs for good: what it is called, what it computes, where that goes.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Names the job's state, group and topics; the view's name. `[a-zA-Z0-9._-]`, at most 200 bytes, not starting
    /// with a dot.
    pub name: String,
    /// What it computes.
    pub plan: StreamPlan,
    /// Where that goes.
    pub sink: SinkSpec,
    /// What it keeps and under which numbers, as it was settled when the job was made: a plan that came of the query later
    /// takes the numbers from here, or is refused. `None`: nobody has it on record, and what lies with the state counts.
    pub manifest: Option<StateManifest>,
    /// How often the plan was given another part above what it keeps ([`StreamPlan::keeps_state_of`]): where the state is of
    /// another revision, the rows of the view are made again of it.
    pub revision: u64,
}
