//! The tokens of a job in this process, and the exchange of rows between them.
//!
//! ```text
//! rows of a turn ─▶ token 0 ─ stage 0 ─┐         ┌─ stage 1 ─┐         ┌─ sink
//!                   token 1 ─ stage 0 ─┼─ barrier┼─ stage 1 ─┼─ barrier┼─ sink
//!                   token 2 ─ stage 0 ─┘    ▲    └─ stage 1 ─┘    ▲    └─ sink
//!                                           └─ rows go to the token of their key
//! ```
//!
//! A token has operators, state and a sink of its own, and shares nothing. The tokens work through a stage at the same time, each on
//! a thread of the pool; what they send each other is handed over when all are done with it. So every barrier is aligned, what
//! a turn has read has left all operators when the turn ends, and a commit binds all tokens.
//!
//! Invariants:
//! 1. Between turns nothing is on its way.
//! 2. What a token sends to another one arrives in the order in which it was sent.
//! 3. With one token nothing is copied and no thread is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use log_api::{BatchBuilder, TopicPartition};

use super::exchange::{Inbox, Outbox, Port, send};
use crate::Chunk;
use crate::operator::{Effects, Graph, OperatorError, OperatorFigures, SideRecord};
use crate::plan::{Fragments, Route};
use crate::sink::Sink;
use crate::state::{State, StateStore};
use crate::time::Watermark;
use crate::worker::{Alive, compute};

/// One token: see the module.
pub(super) struct Token {
    number: usize,
    pub(super) fragments: Arc<Fragments>,
    pub(super) graph: Graph,
    pub(super) state: State,
    pub(super) effects: Effects,
    pub(super) sink: Sink,
    inbox: Inbox,
}

/// What a token has for a commit, besides what has changed in its state.
pub(super) struct Share {
    pub(super) outputs: Vec<(TopicPartition, BatchBuilder)>,
    pub(super) side: Vec<SideRecord>,
}

impl Token {
    pub(super) fn new(
        number: usize,
        fragments: Arc<Fragments>,
        graph: Graph,
        state: State,
        effects: Effects,
        sink: Sink,
    ) -> Self {
        Self {
            number,
            inbox: vec![Vec::new(); fragments.output_stage + 1],
            fragments,
            graph,
            state,
            effects,
            sink,
        }
    }

    /// Works through one stage; with `ends`, which is event time of the sources, an epoch ends there.
    fn run(
        &mut self,
        stage: usize,
        ends: Option<&BTreeMap<usize, Watermark>>,
    ) -> Result<Outbox, OperatorError> {
        let fragments = Arc::clone(&self.fragments);
        let mut outbox = Outbox::new();
        for (port, chunk) in std::mem::take(&mut self.inbox[stage]) {
            match port {
                Port::Sink => self.sink.absorb(chunk)?,
                Port::Node(node, port) => self.graph.push_into(
                    (node, port),
                    chunk,
                    &mut self.state,
                    &mut self.effects,
                    (fragments.output == Route::Stay).then_some(&mut self.sink),
                )?,
            }
        }
        if let Some(reached) = ends {
            self.graph.end_stage(
                stage,
                |node| reached.get(&node).copied().unwrap_or_default(),
                &mut self.state,
                &mut self.effects,
                (fragments.output == Route::Stay).then_some(&mut self.sink),
            )?;
        }
        for chunk in self.effects.take_output() {
            send(
                &fragments.output,
                fragments.tokens,
                Port::Sink,
                chunk,
                &mut outbox,
            )?;
        }
        for sent in self.effects.take_sent() {
            let route = &fragments.routes[sent.node][sent.port];
            let port = Port::Node(sent.node, sent.port);
            send(route, fragments.tokens, port, sent.chunk, &mut outbox)?;
        }
        Ok(outbox)
    }

    /// Gives what it has for a commit.
    fn share(&mut self, now_ms: i64) -> Result<Share, OperatorError> {
        self.graph.commit(&mut self.state)?;
        let before = self.effects.set_remade(self.graph.is_replayed());
        let outputs = self.sink.finish(&mut self.state, &mut self.effects, now_ms);
        self.effects.set_remade(before);
        Ok(Share {
            outputs,
            side: self.effects.take_records(),
        })
    }

    fn dirty_bytes(&self) -> usize {
        self.state.dirty_bytes()
            + self.sink.pending_bytes()
            + self.effects.record_bytes()
            + self.graph.dirty_bytes()
    }

    /// About how many bytes it holds in memory.
    fn size_bytes(&self) -> usize {
        self.state.dirty_bytes()
            + self.sink.pending_bytes()
            + self.effects.record_bytes()
            + self.graph.size_bytes()
    }

    fn has_work(&self) -> bool {
        self.sink.has_pending()
            || self.state.dirty_bytes() > 0
            || self.effects.record_bytes() > 0
            || self.graph.dirty_bytes() > 0
    }
}

/// All tokens of a job.
pub(super) struct Tokens {
    fragments: Arc<Fragments>,
    /// By number. Empty only for good: where the task was given up while they were at work.
    tokens: Vec<Token>,
    /// Held by every token at work: it has its store as long as that lasts.
    alive: Alive,
}

impl Tokens {
    pub(super) fn new(fragments: Arc<Fragments>, tokens: Vec<Token>, alive: Alive) -> Self {
        Self {
            fragments,
            tokens,
            alive,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Token> {
        self.tokens.iter_mut()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.fragments.tokens
    }

    /// The token that reads this partition of a topic.
    pub(super) fn of_partition(&mut self, partition: i32) -> &mut Token {
        let number = partition.unsigned_abs() as usize % self.tokens.len();
        &mut self.tokens[number]
    }

    /// Takes rows of source node `node`, read from this partition, for the next [`Tokens::run`].
    ///
    /// # Errors
    /// Columns that do not fit the plan.
    pub(super) fn take(
        &mut self,
        node: usize,
        partition: i32,
        chunk: Chunk,
    ) -> Result<(), OperatorError> {
        let fragments = Arc::clone(&self.fragments);
        let port = Port::Node(node, 0);
        match &fragments.routes[node][0] {
            Route::Stay => self.of_partition(partition).inbox[0].push((port, chunk)),
            route => {
                let mut outbox = Outbox::new();
                send(route, fragments.tokens, port, chunk, &mut outbox)?;
                self.deliver(outbox);
            }
        }
        Ok(())
    }

    fn deliver(&mut self, outbox: Outbox) {
        for (to, port, chunk) in outbox {
            let stage = match port {
                Port::Node(node, _) => self.fragments.stages[node],
                Port::Sink => self.fragments.output_stage,
            };
            self.tokens[to].inbox[stage].push((port, chunk));
        }
    }

    /// Sends what was taken through all stages; with `ends` an epoch ends, event time of the sources is this. `is_long`: it
    /// is known to take long.
    ///
    /// # Errors
    /// From operators.
    pub(super) async fn run(
        &mut self,
        ends: Option<&BTreeMap<usize, Watermark>>,
        is_long: bool,
    ) -> Result<(), OperatorError> {
        let ends = ends.cloned().map(Arc::new);
        for stage in 0..=self.fragments.output_stage {
            let has_work = |token: &Token| ends.is_some() || !token.inbox[stage].is_empty();
            let ends = ends.clone();
            let work = move |token: &mut Token| token.run(stage, ends.as_deref());
            for outbox in self.each(has_work, work, is_long).await? {
                self.deliver(outbox);
            }
        }
        Ok(())
    }

    /// Tells all tokens what the clock is, µs since 1970.
    pub(super) fn set_clock_us(&mut self, clock_us: i64) {
        self.iter_mut()
            .for_each(|token| token.effects.set_clock_us(clock_us));
    }

    /// When the clock gives an operator something to do next, µs since 1970.
    pub(super) fn due_us(&self) -> Option<i64> {
        self.iter().filter_map(|token| token.graph.due_us()).min()
    }

    /// What every token has for a commit, by number.
    ///
    /// # Errors
    /// From operators.
    pub(super) async fn shares(
        &mut self,
        now_ms: i64,
        is_long: bool,
    ) -> Result<Vec<Share>, OperatorError> {
        self.each(|_| true, move |token| token.share(now_ms), is_long)
            .await
    }

    /// Has the tokens that `has_work` names work at the same time; gives what they return in their order.
    async fn each<R: Send + 'static>(
        &mut self,
        has_work: impl Fn(&Token) -> bool,
        work: impl Fn(&mut Token) -> Result<R, OperatorError> + Clone + Send + 'static,
        is_long: bool,
    ) -> Result<Vec<R>, OperatorError> {
        let busy = self.tokens.iter().filter(|token| has_work(token)).count();
        if busy <= 1 {
            let mut busy = self.tokens.iter_mut().filter(|token| has_work(token));
            return compute(is_long, || {
                busy.try_fold(Vec::new(), |mut all, token| {
                    all.push(work(token)?);
                    Ok(all)
                })
            });
        }
        let (busy, mut idle): (Vec<Token>, Vec<Token>) = std::mem::take(&mut self.tokens)
            .into_iter()
            .partition(|token| has_work(token));
        let running = busy.into_iter().map(|mut token| {
            let (work, alive) = (work.clone(), self.alive.clone());
            tokio::spawn(async move {
                let done = compute(is_long, || work(&mut token));
                (token, done, alive)
            })
        });
        // All of them are on their way before the first is waited for.
        let running: Vec<_> = running.collect();
        let mut all = Vec::with_capacity(running.len());
        for running in running {
            let (token, done, _) = match running.await {
                Ok(ended) => ended,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The threads are going away.
                    Err(_) => return Err(OperatorError::Cancelled),
                },
            };
            idle.push(token);
            all.push(done);
        }
        idle.sort_unstable_by_key(|token| token.number);
        self.tokens = idle;
        all.into_iter().collect()
    }

    /// Tells the operators that their state is clean.
    pub(super) fn after_commit(&mut self) {
        self.iter_mut().for_each(|token| token.graph.after_commit());
    }

    /// What each operator has done, over all tokens, in the order of the plan's nodes.
    pub(super) fn figures(&self) -> Vec<OperatorFigures> {
        let mut tokens = self.iter();
        let first = tokens.next().map(|token| token.graph.figures().collect());
        tokens.fold(
            first.unwrap_or_default(),
            |all: Vec<OperatorFigures>, token| {
                let pairs = all.into_iter().zip(token.graph.figures());
                pairs.map(|(all, one)| all.plus(one)).collect()
            },
        )
    }

    /// Event time of the output; all tokens have the same.
    pub(super) fn watermark(&self) -> Watermark {
        let first = self.tokens.first();
        first.map_or(Watermark::None, |token| token.graph.watermark())
    }

    /// About how many bytes the next commit writes.
    pub(super) fn dirty_bytes(&self) -> usize {
        self.iter().map(Token::dirty_bytes).sum()
    }

    /// About how many bytes they hold in memory, between turns.
    pub(super) fn size_bytes(&self) -> usize {
        self.iter().map(Token::size_bytes).sum()
    }

    /// So many bytes may wait for a commit from now on.
    pub(super) fn set_room(&mut self, bytes: usize) {
        let each = bytes / self.tokens.len().max(1);
        self.iter_mut()
            .for_each(|token| token.effects.set_room(each));
    }

    /// Whether there is something for a commit.
    pub(super) fn has_work(&self) -> bool {
        self.iter().any(Token::has_work)
    }

    /// The stores, by token.
    pub(super) fn stores(&self) -> impl Iterator<Item = &Arc<dyn StateStore>> {
        self.iter().map(|token| token.state.store())
    }
}
