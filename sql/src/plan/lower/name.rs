//! What operators are called: by these names a job finds their state again.

use streams::{NodeKind, PlanNode};

use super::Lowering;

impl Lowering<'_> {
    /// What the query itself calls an operator: the subqueries around it, and the relations that it reads.
    pub(super) fn name_of(&self, kind: &NodeKind, inputs: &[usize]) -> String {
        let keeps_state = match kind {
            NodeKind::Source(_)
            | NodeKind::Join(_)
            | NodeKind::Aggregate(_)
            | NodeKind::TopN(_)
            | NodeKind::AsOf(_)
            | NodeKind::Constant(_)
            | NodeKind::Over(_)
            | NodeKind::Session(_)
            | NodeKind::Visible(_) => true,
            NodeKind::Map(exprs) => exprs.iter().any(|expr| expr.may_vary()),
            NodeKind::Filter(_)
            | NodeKind::Late(_)
            | NodeKind::Tumble(_)
            | NodeKind::Union
            | NodeKind::Slide(_)
            | NodeKind::Expand(_)
            | NodeKind::Unnest(_) => false,
        };
        if !keeps_state {
            return String::new();
        }
        let scope = self.scope.join(".");
        let read = match kind {
            NodeKind::Source(spec) => spec.topic.clone(),
            _ => {
                let sides = inputs.iter().map(|&input| self.sources_of(input).join(","));
                sides.collect::<Vec<_>>().join("|")
            }
        };
        let name = format!("{scope}:{read}");
        let same_kind =
            |node: &&PlanNode| std::mem::discriminant(&node.kind) == std::mem::discriminant(kind);
        let others = self.nodes.iter().filter(same_kind);
        let numbered = format!("{name}#");
        let known = others.filter(|node| node.name == name || node.name.starts_with(&numbered));
        match known.count() {
            0 => name,
            before => format!("{numbered}{}", before + 1),
        }
    }

    /// The names of the sources that a node comes of, in order.
    fn sources_of(&self, node: usize) -> Vec<String> {
        let node = &self.nodes[node];
        if let NodeKind::Source(_) = node.kind {
            return vec![node.name.clone()];
        }
        let inputs = node.inputs.iter();
        inputs.flat_map(|&input| self.sources_of(input)).collect()
    }
}
