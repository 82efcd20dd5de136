//! Rows that an operator gives again, out of its state, where what stands behind it is another than before.

use std::ops::ControlFlow;

use super::figures::Call;
use super::{Context, Emitter, Graph, Node, OperatorError};
use crate::Watermark;
use crate::sink::Sink;
use crate::state::{ScanOrder, State, StateError};

/// Entries of the state that are read at once.
const ENTRIES_MAX: usize = 4096;

/// A key and its value.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

/// The first entries of the state from `from` on and before `to`; `from` is then behind them.
pub(super) fn next_entries(
    state: &State,
    from: &mut Vec<u8>,
    to: &[u8],
) -> Result<Vec<Entry>, StateError> {
    let mut entries: Vec<Entry> = Vec::new();
    state.scan(from, to, ScanOrder::Ascending, |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        match entries.len() {
            ENTRIES_MAX => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    if let Some((last, _)) = entries.last() {
        from.clone_from(last);
        from.push(0);
    }
    Ok(entries)
}

impl Node {
    fn replay(
        &mut self,
        downstream: &mut [Node],
        base: usize,
        context: &mut Context<'_>,
    ) -> Result<(), OperatorError> {
        let mut out = Emitter {
            downstream,
            base,
            consumers: &self.consumers,
            is_output: self.is_output,
            call: Call::begin(),
            check: self.check.as_mut().map(|check| (check, self.id)),
        };
        let replayed = self.operator.replay(context, &mut out);
        out.call.end(0, &mut self.figures);
        replayed
    }
}

impl Graph {
    /// Has operator `node` give its rows again, to those behind it and into `sink`, as [`Graph::push_into`] does.
    pub(crate) fn replay(
        &mut self,
        node: usize,
        state: &mut State,
        effects: &mut super::Effects,
        sink: Option<&mut Sink>,
    ) -> Result<(), OperatorError> {
        let (before, after) = self.nodes.split_at_mut(node + 1);
        let giver = before.last_mut().expect("who gives rows is a node");
        giver.replay(
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
}
