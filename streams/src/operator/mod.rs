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
//! themselves (writing late rows, reporting row errors) they leave in [`Effects`]. The graph looks at the clock to tell how
//! long each computes (`figures.rs`).
//!
//! Invariants:
//! 1. An operator never emits −1 for a row that it has not emitted with +1.
//! 2. Results at the end of an epoch do not depend on how its rows were cut into chunks.
//! 3. Watermarks that a node sees never fall.

mod aggregate;
mod as_of;
mod check;
mod constant;
mod effects;
mod expand;
mod figures;
mod filter;
mod join;
mod late;
mod map;
mod memo;
mod over;
mod pass;
mod replay;
mod session;
mod slide;
mod top_n;
mod tumble;
mod unnest;
mod upsert;
mod visible;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub(crate) use crate::error::OperatorError;
pub(crate) use check::Check;
pub(crate) use effects::{Cancel, Effects, SideRecord};
use figures::Call;
pub use figures::OperatorFigures;
pub(crate) use late::iso8601;

use crate::plan::{Fragments, Route};
use crate::sink::Sink;
use crate::state::State;
use crate::{Chunk, EdgeProperties, NodeKind, OperatorId, SourceMode, StreamPlan, Watermark};

/// Rows that an operator emits at once, at most: what a join fans out is cut here.
pub(crate) const CHUNK_ROWS_MAX: usize = 8192;

/// What operators work on and leave behind.
pub(crate) struct Context<'a> {
    /// The task's state.
    pub(crate) state: &'a mut State,
    /// Late rows, row errors, counters; the plan's output where nobody takes it at once.
    pub(crate) effects: &'a mut Effects,
    /// Who takes the plan's output as it comes.
    sink: Option<&'a mut Sink>,
    /// Event time of the input of the running operator, as of the last end of an epoch.
    pub(crate) watermark: Watermark,
}

impl Context<'_> {
    /// Gives up where that was asked for, or where what waits for a commit has outgrown its room: called before every chunk.
    fn check(&self) -> Result<(), OperatorError> {
        self.effects.check_cancelled()?;
        let in_sink = self.sink.as_ref().map_or(0, |sink| sink.pending_bytes());
        self.effects.check_room(self.state.dirty_bytes() + in_sink)
    }
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

    /// Emits every row that is out there once more, right after [`Operator::open`]: whoever stands behind it has none of them.
    /// Only those do that [`StreamPlan::replayed`] names.
    fn replay(
        &mut self,
        _context: &mut Context<'_>,
        _out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

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

    /// When the clock gives it something to do next, µs since 1970; `None`: nothing waits for the clock.
    fn due_us(&self) -> Option<i64> {
        None
    }

    /// About how many bytes [`Operator::on_commit`] will write.
    fn dirty_bytes(&self) -> usize {
        0
    }

    /// About how many bytes it holds in memory.
    fn size_bytes(&self) -> usize {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    node: usize,
    port: usize,
    /// Rows may have to go to another token.
    is_exchange: bool,
}

struct Node {
    id: OperatorId,
    operator: Box<dyn Operator>,
    inputs: Vec<usize>,
    consumers: Vec<Edge>,
    is_output: bool,
    /// See [`Fragments`].
    stage: usize,
    /// Its output is made again of state below it: see [`StreamPlan::replayed`].
    is_remade: bool,
    watermark: Watermark,
    figures: OperatorFigures,
    /// Who watches what it emits, if anybody does.
    check: Option<Check>,
}

/// Hands chunks to whoever comes after an operator.
pub(crate) struct Emitter<'a> {
    /// The nodes behind the running one.
    downstream: &'a mut [Node],
    /// Index in the graph of the first of them.
    base: usize,
    consumers: &'a [Edge],
    is_output: bool,
    call: Call,
    check: Option<(&'a mut Check, OperatorId)>,
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
        context.check()?;
        if let Some((check, operator)) = &mut self.check {
            let operator = *operator;
            check
                .emitted(&chunk)
                .map_err(|reason| OperatorError::Inconsistent { operator, reason })?;
        }
        let (rows, began) = (chunk.len(), Instant::now());
        let passed = self.pass_on(chunk, context);
        self.call.emitted(rows, began);
        passed
    }

    fn pass_on(&mut self, chunk: Chunk, context: &mut Context<'_>) -> Result<(), OperatorError> {
        let own_watermark = context.watermark;
        for edge in self.consumers {
            if edge.is_exchange {
                context.effects.send(edge.node, edge.port, chunk.clone());
                continue;
            }
            let (before, after) = self.downstream.split_at_mut(edge.node - self.base + 1);
            let node = before
                .last_mut()
                .expect("an edge leads to a node further down");
            node.take(edge.port, chunk.clone(), after, edge.node + 1, context)?;
        }
        context.watermark = own_watermark;
        if !self.is_output {
            return Ok(());
        }
        match &mut context.sink {
            Some(sink) => sink.absorb(chunk),
            None => {
                context.effects.output(chunk);
                Ok(())
            }
        }
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
            call: Call::begin(),
            check: self.check.as_mut().map(|check| (check, self.id)),
        };
        let rows = chunk.len();
        let before = context.effects.set_remade(self.is_remade);
        let taken = self.operator.on_chunk(port, chunk, context, &mut out);
        context.effects.set_remade(before);
        out.call.end(rows, &mut self.figures);
        taken
    }
}

/// A plan's operators, connected.
pub(crate) struct Graph {
    nodes: Vec<Node>,
    is_replayed: bool,
}

/// Limits of what operators keep in memory; clones share them, and they may change.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    cache_bytes: Arc<AtomicUsize>,
}

impl Memory {
    /// One operator keeps so many bytes of state that is also on disk.
    pub(crate) fn new(cache_bytes: usize) -> Self {
        Self {
            cache_bytes: Arc::new(AtomicUsize::new(cache_bytes)),
        }
    }

    /// Bytes that one operator keeps of state that is also on disk.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache_bytes.load(Ordering::Relaxed)
    }

    /// From now on it is so many.
    pub(crate) fn set_cache_bytes(&self, cache_bytes: usize) {
        self.cache_bytes.store(cache_bytes, Ordering::Relaxed);
    }
}

impl Graph {
    /// Builds the operators of a plan that was found valid.
    pub(crate) fn build(plan: &StreamPlan, memory: &Memory) -> Self {
        Self::build_token(plan, memory, &Fragments::of(plan, &[], 1), 0)
    }

    /// Builds the operators of one token.
    pub(crate) fn build_token(
        plan: &StreamPlan,
        memory: &Memory,
        fragments: &Fragments,
        token: usize,
    ) -> Self {
        let properties = plan.properties();
        let replayed = plan.replayed();
        let mut nodes: Vec<Node> = Vec::with_capacity(plan.nodes.len());
        for (index, node) in plan.nodes.iter().enumerate() {
            let input = |port: usize| properties[node.inputs[port]];
            let schema_of = |port: usize| &plan.nodes[node.inputs[port]].schema;
            // A group without a key exists once, and speaks though no row comes.
            let is_elsewhere = token > 0 && fragments.at_first[index];
            let operator: Box<dyn Operator> = match &node.kind {
                _ if is_elsewhere => Box::new(pass::Pass),
                NodeKind::Source(spec) => match &spec.mode {
                    SourceMode::Append => Box::new(pass::Pass),
                    SourceMode::Upsert { key } => {
                        Box::new(upsert::Upsert::new(node.id, &node.schema, key, memory))
                    }
                },
                NodeKind::Map(exprs) if node.kind.keeps_results(input(0)) => {
                    Box::new(memo::Memo::new(node.id, exprs.clone(), node.schema.clone()))
                }
                NodeKind::Map(exprs) => {
                    Box::new(map::Map::new(node.id, exprs.clone(), node.schema.clone()))
                }
                NodeKind::Filter(expr) => Box::new(filter::Filter::new(node.id, Arc::clone(expr))),
                NodeKind::Late(spec) => Box::new(late::Late::new(node.id, spec)),
                NodeKind::Expand(spec) => {
                    Box::new(expand::Expand::new(node.id, spec, node.schema.clone()))
                }
                NodeKind::Visible(spec) => {
                    Box::new(visible::Visible::new(node.id, spec, &node.schema))
                }
                NodeKind::Unnest(spec) => {
                    Box::new(unnest::Unnest::new(node.id, spec, node.schema.clone()))
                }
                NodeKind::Slide(spec) => {
                    Box::new(slide::Slide::new(node.id, spec, node.schema.clone()))
                }
                NodeKind::Tumble(spec) => {
                    Box::new(tumble::Tumble::new(node.id, spec, node.schema.clone()))
                }
                NodeKind::Session(spec) => Box::new(session::Sessions::new(
                    node.id,
                    spec,
                    schema_of(0),
                    &node.schema,
                    input(0),
                    memory,
                )),
                NodeKind::Join(spec) => Box::new(join::Join::new(
                    node.id,
                    spec,
                    [schema_of(0), schema_of(1)],
                    [input(0).append_only, input(1).append_only],
                    &node.schema,
                    memory,
                )),
                NodeKind::AsOf(spec) => Box::new(as_of::AsOf::new(
                    node.id,
                    spec,
                    schema_of(0),
                    schema_of(1),
                    &node.schema,
                )),
                NodeKind::Constant(rows) => Box::new(constant::Constant::new(node.id, rows)),
                NodeKind::Union => Box::new(pass::Pass),
                NodeKind::TopN(spec) => Box::new(top_n::TopN::new(
                    node.id,
                    spec,
                    schema_of(0),
                    &node.schema,
                    input(0).append_only,
                    memory,
                )),
                NodeKind::Over(spec) => {
                    Box::new(over::Over::new(node.id, spec, schema_of(0), &node.schema))
                }
                NodeKind::Aggregate(spec) => Box::new(aggregate::Aggregate::new(
                    node.id,
                    spec,
                    schema_of(0),
                    &node.schema,
                    input(0).append_only,
                    aggregate::Closing {
                        grace_us: grace_above(plan, &properties, index),
                        drops_state: input(0).closes_windows(),
                    },
                    memory,
                )),
            };
            for (port, &input) in node.inputs.iter().enumerate() {
                nodes[input].consumers.push(Edge {
                    node: index,
                    port,
                    is_exchange: fragments.routes[index][port] != Route::Stay,
                });
            }
            nodes.push(Node {
                id: node.id,
                operator,
                inputs: node.inputs.clone(),
                consumers: Vec::new(),
                is_output: index + 1 == plan.nodes.len(),
                stage: fragments.stages[index],
                // Above what is replayed there is one way to the output.
                is_remade: replayed.is_some_and(|replayed| index > replayed),
                watermark: Watermark::None,
                figures: OperatorFigures::none(node.id),
                check: None,
            });
        }
        Self {
            nodes,
            is_replayed: replayed.is_some(),
        }
    }

    /// Whether the rows of the output can be made again of the state.
    pub(crate) fn is_replayed(&self) -> bool {
        self.is_replayed
    }

    /// Has every operator watched from now on: `checks` says of each node what it has emitted so far.
    pub(crate) fn watch(&mut self, checks: Vec<Check>) {
        for (node, check) in self.nodes.iter_mut().zip(checks) {
            node.check = Some(check);
        }
    }

    /// What each operator has emitted, where they are watched.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let checks = self.nodes.iter();
        checks.filter_map(|node| node.check.clone()).collect()
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
        self.push_into((node, 0), chunk, state, effects, None)
    }

    /// Sends a chunk through from an input of a node on. The plan's output goes into `sink`, if there is one, chunk by chunk:
    /// however many rows one brings forth, they are not all there at once.
    pub(crate) fn push_into(
        &mut self,
        (node, port): (usize, usize),
        chunk: Chunk,
        state: &mut State,
        effects: &mut Effects,
        sink: Option<&mut Sink>,
    ) -> Result<(), OperatorError> {
        let (before, after) = self.nodes.split_at_mut(node + 1);
        let taker = before.last_mut().expect("who takes a chunk is a node");
        taker.take(
            port,
            chunk,
            after,
            node + 1,
            &mut Context {
                state,
                effects,
                sink,
                watermark: Watermark::None,
            },
        )
    }

    /// Ends an epoch: `watermarks` gives each source node's.
    pub(crate) fn end_epoch(
        &mut self,
        watermarks: impl Fn(usize) -> Watermark,
        state: &mut State,
        effects: &mut Effects,
    ) -> Result<(), OperatorError> {
        let last = self.nodes.iter().map(|node| node.stage).max();
        (0..=last.unwrap_or(0))
            .try_for_each(|stage| self.end_stage(stage, &watermarks, state, effects, None))
    }

    /// Ends an epoch for the nodes of one stage; the stages before have ended it. All tokens have the same event time, so
    /// that of a node whose input comes from others is known here too.
    pub(crate) fn end_stage(
        &mut self,
        stage: usize,
        watermarks: impl Fn(usize) -> Watermark,
        state: &mut State,
        effects: &mut Effects,
        mut sink: Option<&mut Sink>,
    ) -> Result<(), OperatorError> {
        for index in 0..self.nodes.len() {
            if self.nodes[index].stage != stage {
                continue;
            }
            effects.check_cancelled()?;
            let reached = if self.nodes[index].inputs.is_empty() {
                watermarks(index)
            } else {
                let nodes = &self.nodes;
                let inputs = nodes[index].inputs.iter();
                Watermark::least(inputs.map(|&input| nodes[input].watermark))
            };
            let (before, after) = self.nodes.split_at_mut(index + 1);
            let node = before.last_mut().expect("index is inside");
            node.watermark = node.watermark.max(reached);
            let mut out = Emitter {
                downstream: after,
                base: index + 1,
                consumers: &node.consumers,
                is_output: node.is_output,
                call: Call::begin(),
                check: node.check.as_mut().map(|check| (check, node.id)),
            };
            let mut context = Context {
                state,
                effects,
                sink: sink.as_deref_mut(),
                watermark: node.watermark,
            };
            let ended = node.operator.on_epoch_end(&mut context, &mut out);
            out.call.end(0, &mut node.figures);
            ended?;
        }
        Ok(())
    }

    /// What each operator has done, in the order of the plan's nodes.
    pub(crate) fn figures(&self) -> impl Iterator<Item = OperatorFigures> {
        self.nodes.iter().map(|node| node.figures)
    }

    /// Event time of the output, as of the last end of an epoch.
    pub(crate) fn watermark(&self) -> Watermark {
        let output = self.nodes.last();
        output.map_or(Watermark::None, |output| output.watermark)
    }

    /// When the clock gives an operator something to do next, µs since 1970.
    pub(crate) fn due_us(&self) -> Option<i64> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|node| node.operator.due_us()).min()
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

    /// About how many bytes the operators hold in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        let nodes = self.nodes.iter();
        nodes.map(|node| node.operator.size_bytes()).sum()
    }
}

/// The longest grace of the windows that feed node `index`, µs.
fn grace_above(plan: &StreamPlan, properties: &[EdgeProperties], index: usize) -> i64 {
    let node = &plan.nodes[index];
    let own = match &node.kind {
        NodeKind::Tumble(spec) => spec.grace_us,
        NodeKind::Slide(spec) => spec.grace_us,
        // A session may change for a while after its end.
        NodeKind::Session(spec) => properties[index].closed_after_us.unwrap_or(spec.grace_us),
        _ => 0,
    };
    node.inputs
        .iter()
        .map(|&input| grace_above(plan, properties, input))
        .fold(own, i64::max)
}
