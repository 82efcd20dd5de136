//! Operators and the graph that they form.
//!
//! ```text
//!   chunk ──▶ node ──▶ node ──┬─▶ node ──▶ output
//!                             └─▶ node ──▶ …            depth first: a chunk has left the graph when `push` returns
//!   end of epoch: every node in order: its watermark is the least of its inputs'; it emits what it has held back
//!   commit: every node writes what changed into the task's `State`
//! ```
//!
//! Operators are synchronous, single-threaded and vectorized. They do no I/O and know no clock; what they cannot do
//! themselves (writing late rows, reporting row errors) they leave in [`Effects`].
//!
//! Invariants:
//! 1. An operator never emits −1 for a row that it has not emitted with +1.
//! 2. Results at the end of an epoch do not depend on how its rows were cut into chunks.
//! 3. Watermarks that a node sees never fall.

mod aggregate;
mod effects;
mod filter;
mod join;
mod map;
mod pass;
mod tumble;
mod upsert;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::error::ArrowError;
use thiserror::Error;

pub(crate) use effects::{Effects, SideRecord};
pub(crate) use tumble::iso8601;

use crate::state::{State, StateError};
use crate::{Chunk, LatePolicy, NodeKind, OperatorId, SourceMode, StreamPlan};

/// Rows that an operator emits at once, at most: what a join fans out is cut here.
pub(crate) const CHUNK_ROWS_MAX: usize = 8192;

/// Why an operator gave up. None of these is worth a retry with the same input, but for a store that failed.
#[derive(Debug, Clone, Error)]
pub enum OperatorError {
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A row was taken back that was never there: an operator or the state is broken.
    #[error("operator {operator}: {reason}")]
    Inconsistent {
        /// Which operator.
        operator: OperatorId,
        /// What does not add up.
        reason: String,
    },
    /// Columns are not what the plan says.
    #[error("operator {operator}: columns do not fit the plan: {reason}")]
    Columns {
        /// Which operator.
        operator: OperatorId,
        /// The difference.
        reason: String,
    },
}

impl OperatorError {
    pub(crate) fn columns(operator: OperatorId, error: &ArrowError) -> Self {
        Self::Columns {
            operator,
            reason: error.to_string(),
        }
    }
}

/// What operators work on and leave behind.
pub(crate) struct Context<'a> {
    /// The task's state.
    pub(crate) state: &'a mut State,
    /// Late rows, row errors, counters, the plan's output.
    pub(crate) effects: &'a mut Effects,
    /// Event time that the input of the running operator has reached, µs.
    pub(crate) watermark: Option<i64>,
}

/// One operator of a running plan.
pub(crate) trait Operator: Send {
    /// Reads what it needs before the first chunk.
    fn open(&mut self, _state: &State) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Takes a chunk of input `port`.
    fn on_chunk(
        &mut self,
        port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError>;

    /// Emits what was held back; event time has reached `context.watermark`.
    fn on_epoch_end(
        &mut self,
        _context: &mut Context<'_>,
        _out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Writes what changed since the last commit into the state.
    fn on_commit(&mut self, _state: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The commit is done: everything is clean, memory may be given back.
    fn after_commit(&mut self) {}

    /// About how many bytes [`Operator::on_commit`] will write.
    fn dirty_bytes(&self) -> usize {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    node: usize,
    port: usize,
}

struct Node {
    operator: Box<dyn Operator>,
    inputs: Vec<usize>,
    consumers: Vec<Edge>,
    is_output: bool,
    watermark: Option<i64>,
}

/// Hands chunks to whoever comes after an operator.
pub(crate) struct Emitter<'a> {
    /// The nodes behind the running one.
    downstream: &'a mut [Node],
    /// Index in the graph of the first of them.
    base: usize,
    consumers: &'a [Edge],
    is_output: bool,
}

impl Emitter<'_> {
    /// Emits a chunk; everything behind has dealt with it when this returns.
    pub(crate) fn emit(
        &mut self,
        chunk: Chunk,
        context: &mut Context<'_>,
    ) -> Result<(), OperatorError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let own_watermark = context.watermark;
        for edge in self.consumers {
            let (before, after) = self.downstream.split_at_mut(edge.node - self.base + 1);
            let node = before
                .last_mut()
                .expect("an edge leads to a node further down");
            node.take(edge.port, chunk.clone(), after, edge.node + 1, context)?;
        }
        context.watermark = own_watermark;
        if self.is_output {
            context.effects.output(chunk);
        }
        Ok(())
    }
}

impl Node {
    fn take(
        &mut self,
        port: usize,
        chunk: Chunk,
        downstream: &mut [Node],
        base: usize,
        context: &mut Context<'_>,
    ) -> Result<(), OperatorError> {
        context.watermark = self.watermark;
        let mut out = Emitter {
            downstream,
            base,
            consumers: &self.consumers,
            is_output: self.is_output,
        };
        self.operator.on_chunk(port, chunk, context, &mut out)
    }
}

/// A plan's operators, connected.
pub(crate) struct Graph {
    nodes: Vec<Node>,
}

/// Limits of what operators keep in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Bytes that one operator keeps of state that is also on disk.
    pub(crate) cache_bytes: usize,
}

/// What is known about the rows that a node emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Properties {
    /// Never a −1.
    append_only: bool,
    /// No row comes for a window that event time has left behind by more than this (µs); `None`: nothing is known.
    closed_after: Option<i64>,
}

impl Graph {
    /// Builds the operators of a plan that was found valid.
    pub(crate) fn build(plan: &StreamPlan, memory: Memory) -> Self {
        let mut properties: Vec<Properties> = Vec::with_capacity(plan.nodes.len());
        let mut nodes: Vec<Node> = Vec::with_capacity(plan.nodes.len());
        for (index, node) in plan.nodes.iter().enumerate() {
            let inputs: Vec<Properties> =
                node.inputs.iter().map(|&input| properties[input]).collect();
            let schema_of = |input: usize| &plan.nodes[node.inputs[input]].schema;
            let unchanged = |inputs: &[Properties]| inputs.first().copied();
            let (operator, emits): (Box<dyn Operator>, Properties) = match &node.kind {
                NodeKind::Source(spec) => {
                    let append_only = spec.mode == SourceMode::Append;
                    let operator: Box<dyn Operator> = match &spec.mode {
                        SourceMode::Append => Box::new(pass::Pass),
                        SourceMode::Upsert { key } => {
                            Box::new(upsert::Upsert::new(node.id, &node.schema, key, memory))
                        }
                    };
                    (
                        operator,
                        Properties {
                            append_only,
                            closed_after: None,
                        },
                    )
                }
                NodeKind::Map(exprs) => (
                    Box::new(map::Map::new(node.id, exprs.clone(), node.schema.clone())),
                    unchanged(&inputs).expect("a map has one input"),
                ),
                NodeKind::Filter(expr) => (
                    Box::new(filter::Filter::new(node.id, Arc::clone(expr))),
                    unchanged(&inputs).expect("a filter has one input"),
                ),
                NodeKind::Tumble(spec) => {
                    let closed_after = (spec.late != LatePolicy::Update).then_some(spec.grace_us);
                    let emits = Properties {
                        append_only: inputs[0].append_only,
                        closed_after,
                    };
                    (
                        Box::new(tumble::Tumble::new(
                            node.id,
                            spec.clone(),
                            node.schema.clone(),
                        )),
                        emits,
                    )
                }
                NodeKind::Join(spec) => {
                    let append_only = inputs.iter().all(|input| input.append_only)
                        && spec.kind == crate::JoinKind::Inner;
                    let operator = join::Join::new(
                        node.id,
                        spec,
                        [schema_of(0), schema_of(1)],
                        [inputs[0].append_only, inputs[1].append_only],
                        &node.schema,
                        memory,
                    );
                    (
                        Box::new(operator),
                        Properties {
                            append_only,
                            closed_after: None,
                        },
                    )
                }
                NodeKind::Aggregate(spec) => {
                    let grace_us = inputs[0]
                        .closed_after
                        .unwrap_or_else(|| grace_above(plan, index));
                    let closes = inputs[0].append_only && inputs[0].closed_after.is_some();
                    let operator = aggregate::Aggregate::new(
                        node.id,
                        spec,
                        schema_of(0),
                        &node.schema,
                        inputs[0].append_only,
                        aggregate::Closing {
                            grace_us,
                            drops_state: closes,
                        },
                        memory,
                    );
                    (
                        Box::new(operator),
                        Properties {
                            append_only: false,
                            closed_after: None,
                        },
                    )
                }
            };
            for (port, &input) in node.inputs.iter().enumerate() {
                nodes[input].consumers.push(Edge { node: index, port });
            }
            properties.push(emits);
            nodes.push(Node {
                operator,
                inputs: node.inputs.clone(),
                consumers: Vec::new(),
                is_output: index + 1 == plan.nodes.len(),
                watermark: None,
            });
        }
        Self { nodes }
    }

    /// Lets every operator read what it needs.
    pub(crate) fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        self.nodes
            .iter_mut()
            .try_for_each(|node| node.operator.open(state))
    }

    /// Sends a chunk of source node `node` through.
    pub(crate) fn push(
        &mut self,
        node: usize,
        chunk: Chunk,
        state: &mut State,
        effects: &mut Effects,
    ) -> Result<(), OperatorError> {
        let (before, after) = self.nodes.split_at_mut(node + 1);
        let source = before.last_mut().expect("a source is a node");
        source.take(
            0,
            chunk,
            after,
            node + 1,
            &mut Context {
                state,
                effects,
                watermark: None,
            },
        )
    }

    /// Ends an epoch: `watermarks` gives each source node's, where it has one.
    pub(crate) fn end_epoch(
        &mut self,
        watermarks: impl Fn(usize) -> Option<i64>,
        state: &mut State,
        effects: &mut Effects,
    ) -> Result<(), OperatorError> {
        for index in 0..self.nodes.len() {
            let reached = if self.nodes[index].inputs.is_empty() {
                watermarks(index)
            } else {
                let nodes = &self.nodes;
                nodes[index]
                    .inputs
                    .iter()
                    .filter_map(|&input| nodes[input].watermark)
                    .min()
            };
            let (before, after) = self.nodes.split_at_mut(index + 1);
            let node = before.last_mut().expect("index is inside");
            node.watermark = node.watermark.max(reached);
            let mut out = Emitter {
                downstream: after,
                base: index + 1,
                consumers: &node.consumers,
                is_output: node.is_output,
            };
            let mut context = Context {
                state,
                effects,
                watermark: node.watermark,
            };
            node.operator.on_epoch_end(&mut context, &mut out)?;
        }
        Ok(())
    }

    /// Lets every operator write what changed since the last commit.
    pub(crate) fn commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        self.nodes
            .iter_mut()
            .try_for_each(|node| node.operator.on_commit(state))
    }

    /// Tells every operator that its state is clean.
    pub(crate) fn after_commit(&mut self) {
        self.nodes
            .iter_mut()
            .for_each(|node| node.operator.after_commit());
    }

    /// About how many bytes the next commit writes.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.nodes
            .iter()
            .map(|node| node.operator.dirty_bytes())
            .sum()
    }
}

/// The longest grace of the windows that feed node `index`, µs.
fn grace_above(plan: &StreamPlan, index: usize) -> i64 {
    let node = &plan.nodes[index];
    let own = match &node.kind {
        NodeKind::Tumble(spec) => spec.grace_us,
        _ => 0,
    };
    node.inputs
        .iter()
        .map(|&input| grace_above(plan, input))
        .fold(own, i64::max)
}
