//! An aggregate over rows that are all there: what a snapshot query computes is what a view over the same rows holds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray};
use arrow::buffer::BooleanBuffer;

use super::{Accumulator, AggregateFunction, BoundCall, GroupTable, Input, SubState};
use crate::OperatorId;
use crate::error::OperatorError;
use crate::state::{MemoryStore, State, StateError};

/// The groups of one aggregate of a query that ends. Groups are numbered by the caller.
pub struct BatchAggregate {
    function: Arc<dyn AggregateFunction>,
    call: BoundCall,
    accumulator: Box<dyn Accumulator>,
    groups: usize,
    // A native aggregate over rows that are only added keeps nothing below its groups.
    state: State,
    table: GroupTable,
}

impl BatchAggregate {
    /// No groups; `None` where the function keeps values below its groups, or takes no such call.
    pub fn new(function: Arc<dyn AggregateFunction>, call: BoundCall) -> Option<Self> {
        let possible = function.check(&call).is_ok() && !function.keeps_values(&call);
        possible.then(|| Self::start(function, call))
    }

    fn start(function: Arc<dyn AggregateFunction>, call: BoundCall) -> Self {
        Self {
            accumulator: function.build(&call),
            function,
            call,
            groups: 0,
            state: State::new(Arc::new(MemoryStore::new(usize::MAX))),
            table: GroupTable::new(0, &[], None),
        }
    }

    /// The same aggregate without groups.
    pub fn fresh(&self) -> Self {
        Self::start(Arc::clone(&self.function), self.call.clone())
    }

    /// Makes room for groups `0..groups`.
    pub fn resize(&mut self, groups: usize) {
        self.groups = self.groups.max(groups);
        self.accumulator.resize(self.groups);
    }

    /// Adds rows: the group and the argument of each. A row counts where `filter` is true and its argument is not NULL.
    ///
    /// # Errors
    /// From the accumulator.
    pub fn update(
        &mut self,
        groups: &[u32],
        argument: &ArrayRef,
        filter: Option<&BooleanArray>,
    ) -> Result<(), OperatorError> {
        let present = argument.logical_nulls().map(|nulls| nulls.inner().clone());
        let passing = filter.map(|filter| match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        });
        let mask: Option<BooleanBuffer> = match (present, passing) {
            (Some(present), Some(passing)) => Some(&present & &passing),
            (present, passing) => present.or(passing),
        };
        let input = Input {
            groups,
            arguments: std::slice::from_ref(argument),
            order_by: &[],
            signs: None,
            mask,
        };
        let mut below = SubState {
            state: &mut self.state,
            groups: &self.table,
            operator: OperatorId(0),
            cache_bytes: 0,
        };
        self.accumulator.update(&input, &mut below)
    }

    /// The results of the first `count` groups; `None` in place of a result that does not fit its type.
    pub fn results(&self, count: usize) -> Option<ArrayRef> {
        let groups: Vec<u32> = (0..count as u32).collect();
        let mut overflowed = Vec::new();
        let results = self.accumulator.evaluate(&groups, &mut overflowed);
        overflowed.is_empty().then_some(results)
    }

    /// The state of the first `count` groups, for [`BatchAggregate::merge`].
    pub fn save(&self, count: usize) -> BinaryArray {
        let states = (0..count).map(|group| {
            let mut bytes = Vec::new();
            self.accumulator.save(group, &mut bytes);
            Some(bytes)
        });
        states.collect()
    }

    /// Adds what was saved: the group and the state of each.
    ///
    /// # Errors
    /// [`StateError::Corrupt`].
    pub fn merge(&mut self, groups: &[u32], states: &BinaryArray) -> Result<(), StateError> {
        for (&group, mut state) in groups.iter().zip(states.iter().flatten()) {
            self.accumulator.merge(group as usize, &mut state)?;
        }
        Ok(())
    }

    /// Forgets the first `count` groups; the others move up.
    pub fn forget(&mut self, count: usize) {
        let kept: Vec<u32> = (count as u32..self.groups as u32).collect();
        self.accumulator.retain(&kept);
        self.groups = kept.len();
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }

    /// What all groups take, about.
    pub fn size_bytes(&self) -> usize {
        self.accumulator.size_bytes()
    }
}
