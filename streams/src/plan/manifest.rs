//! What the state of a plan looks like, written down where the plan is settled (a view's record in the catalog) and with the
//! state: a plan that keeps anything else cannot use it. PURE.
//!
//! ```text
//! manifest  [version u8 = 1][n varint] n × operator, by rising number
//! operator  [number varint][kind u8][n varint] n × field
//! field     [tag varint][length varint, bytes]            see shape.rs; tags of a kind rise
//! ```
//!
//! Operators are known by their names, which come from the query's text; the numbers under which they keep their state are
//! given once, and [`StateManifest::adopted`] finds them again. Nothing here is the text that a library prints of its types.
//!
//! Invariants:
//! 1. Equal manifests mean that every byte of one state is read alike by both plans.
//! 2. A manifest of an unknown version, and a kind or field that is unknown, is a difference, never a match.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;

use super::shape::{KEY, NAME, ROW, SINK, StateShape, all_types, field_name, kind, numbers, shape};
use super::{EdgeProperties, OperatorId, SinkSpec, StreamPlan};
use crate::state::row::{push_bytes, push_varint, read_bytes, read_varint};
use crate::state::{StateError, VIEW};

const VERSION: u8 = 1;

/// What the operators of a plan keep, and under which numbers: see the module.
///
/// ```
/// # fn check(plan: &streams::StreamPlan, sink: &streams::SinkSpec) {
/// let manifest = streams::StateManifest::of(plan, sink);
/// assert_eq!(streams::StateManifest::from_text(&manifest.to_text()), Ok(manifest));
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateManifest {
    operators: BTreeMap<u16, StateShape>,
}

impl StateManifest {
    /// What `plan` keeps, and its output.
    pub fn of(plan: &StreamPlan, sink: &SinkSpec) -> Self {
        let properties = plan.properties();
        let mut operators = BTreeMap::new();
        for node in &plan.nodes {
            let inputs: Vec<(&SchemaRef, EdgeProperties)> = node
                .inputs
                .iter()
                .map(|&input| (&plan.nodes[input].schema, properties[input]))
                .collect();
            if let Some(shape) = shape(node, &inputs) {
                operators.insert(node.id.0, shape);
            }
        }
        let schema = plan.schema();
        let fields = [(KEY, numbers(&sink.key)), (ROW, all_types(schema))];
        operators.insert(VIEW, StateShape::new(SINK, fields));
        Self { operators }
    }

    /// `plan` with the numbers that its operators had when this was written. One that is not known gets a number that no
    /// other has.
    pub(crate) fn adopted(&self, plan: &StreamPlan) -> StreamPlan {
        let properties = plan.properties();
        let mut plan = plan.clone();
        let mut taken: BTreeSet<u16> = self.operators.keys().copied().collect();
        for node in &mut plan.nodes {
            let inputs: Vec<EdgeProperties> =
                node.inputs.iter().map(|&input| properties[input]).collect();
            let Some(kind) = kind(&node.kind, &inputs) else {
                taken.insert(node.id.0);
                continue;
            };
            let known = self.operators.iter().find(|(_, shape)| {
                let name = shape.fields.get(&NAME).map(Vec::as_slice);
                shape.kind == kind && name == Some(node.name.as_bytes())
            });
            let unused = || (0..u16::MAX).find(|number| !taken.contains(number));
            if let Some(number) = known.map(|(number, _)| *number).or_else(unused) {
                taken.insert(number);
                node.id = OperatorId(number);
            }
        }
        plan
    }

    /// The same state, of operators that `new` calls otherwise than `old` does, node by node.
    #[must_use]
    pub fn renamed(&self, old: &StreamPlan, new: &StreamPlan) -> Self {
        let properties = old.properties();
        let mut renamed = self.clone();
        for shape in renamed.operators.values_mut() {
            let pair = old.nodes.iter().zip(&new.nodes).find(|(node, _)| {
                let inputs: Vec<EdgeProperties> =
                    node.inputs.iter().map(|&input| properties[input]).collect();
                let is_kind = kind(&node.kind, &inputs) == Some(shape.kind);
                let name = shape.fields.get(&NAME).map(Vec::as_slice);
                is_kind && name == Some(node.name.as_bytes())
            });
            if let Some((_, node)) = pair {
                shape.fields.insert(NAME, node.name.as_bytes().to_vec());
            }
        }
        renamed
    }

    /// The same state, by the names that operators of these numbers have in `other`.
    pub(crate) fn named_as(&self, other: &Self) -> Self {
        let mut named = self.clone();
        for (number, shape) in &mut named.operators {
            let other = other.operators.get(number);
            let name = other.and_then(|other| other.fields.get(&NAME));
            if let Some(name) = name.filter(|_| shape.fields.contains_key(&NAME)) {
                shape.fields.insert(NAME, name.clone());
            }
        }
        named
    }

    /// The bytes of it as hexadecimal text, for records that are text.
    pub fn to_text(&self) -> String {
        let bytes = self.encode();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`StateManifest::to_text`] wrote.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], also for a version that is not known.
    pub fn from_text(text: &str) -> Result<Self, StateError> {
        let digits = |pair: &[u8]| match pair {
            &[high, low] => {
                let value = |digit: u8| char::from(digit).to_digit(16);
                u8::try_from(value(high)? * 16 + value(low)?).ok()
            }
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
        let bytes = bytes.ok_or_else(|| StateError::Corrupt {
            what: "state manifest",
            reason: "its text is no hexadecimal".to_owned(),
        })?;
        Self::decode(&bytes)
    }

    /// See the module.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        push_varint(self.operators.len() as u64, &mut out);
        for (operator, shape) in &self.operators {
            push_varint(u64::from(*operator), &mut out);
            out.push(shape.kind);
            push_varint(shape.fields.len() as u64, &mut out);
            for (tag, value) in &shape.fields {
                push_varint(*tag, &mut out);
                push_bytes(value, &mut out);
            }
        }
        out
    }

    /// Reads what [`StateManifest::encode`] wrote.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], also for a version that is not known.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, StateError> {
        let corrupt = |reason: String| StateError::Corrupt {
            what: "state manifest",
            reason,
        };
        let bytes = &mut bytes;
        let byte = |bytes: &mut &[u8]| {
            let (&byte, rest) = bytes
                .split_first()
                .ok_or_else(|| corrupt("it ends too early".to_owned()))?;
            *bytes = rest;
            Ok::<u8, StateError>(byte)
        };
        let version = byte(bytes)?;
        if version != VERSION {
            return Err(corrupt(format!(
                "it has version {version}, this program knows {VERSION}"
            )));
        }
        let mut operators = BTreeMap::new();
        for _ in 0..read_varint(bytes)? {
            let operator = u16::try_from(read_varint(bytes)?)
                .map_err(|_| corrupt("an operator's number is too large".to_owned()))?;
            let kind = byte(bytes)?;
            let mut fields = BTreeMap::new();
            for _ in 0..read_varint(bytes)? {
                let tag = read_varint(bytes)?;
                fields.insert(tag, read_bytes(bytes)?.to_vec());
            }
            operators.insert(operator, StateShape { kind, fields });
        }
        Ok(Self { operators })
    }

    /// The first difference to what `plan` keeps, in words; `None`: the state is of use to it.
    pub(crate) fn difference(&self, plan: &Self) -> Option<String> {
        for (operator, kept) in &self.operators {
            let name = OperatorId(*operator);
            match plan.operators.get(operator) {
                None => return Some(format!("operator {name}, {}, is gone", kept.name())),
                Some(planned) if planned.kind != kept.kind => {
                    let (kept, planned) = (kept.name(), planned.name());
                    return Some(format!("operator {name} was {kept} and is {planned}"));
                }
                Some(planned) => {
                    let tags = kept.fields.keys().chain(planned.fields.keys());
                    let differs = |tag: &&u64| kept.fields.get(tag) != planned.fields.get(tag);
                    if let Some(tag) = tags.filter(differs).min() {
                        let (kind, field) = (kept.name(), field_name(*tag));
                        return Some(format!("operator {name}, {kind}, has {field}"));
                    }
                }
            }
        }
        let added = |operator: &&u16| !self.operators.contains_key(operator);
        let added = plan.operators.keys().find(added)?;
        let name = plan.operators[added].name();
        Some(format!("operator {}, {name}, is new", OperatorId(*added)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Int64, Utf8View};

    use super::*;
    use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP};
    use crate::{Emit, JoinKind, KeyFormat, LatePolicy, SinkForm};

    fn plan(aggregates: &[&str], with_filter: bool) -> StreamPlan {
        let mut plan = PlanBuilder::default();
        let flights = plan.source(
            "flights",
            &[("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)],
            None,
        );
        let windows = plan.tumble(flights, 10 * SECOND, LatePolicy::Drop);
        let airlines = plan.source(
            "airlines",
            &[("code", Utf8View), ("title", Utf8View)],
            Some(vec![0]),
        );
        let joined = plan.join(JoinKind::Left, (windows, "carrier"), (airlines, "code"));
        let groups = &["window_end", "title"];
        plan.aggregate(joined, groups, aggregates, Emit::Changes);
        if with_filter {
            plan.filter(4, crate::test_plan::last_above_one);
        }
        plan.build()
    }

    fn manifest(plan: &StreamPlan) -> StateManifest {
        let sink = SinkSpec {
            topic: "delays".to_owned(),
            partitions: 3,
            key: vec![0, 1],
            hidden: 0,
            key_format: KeyFormat::Json,
            form: SinkForm::View,
        };
        StateManifest::of(plan, &sink)
    }

    /// These bytes are in logs: a change here is a new version.
    #[test]
    fn golden_vector() {
        let found = manifest(&plan(&["count(*)", "max(delay)"], false));
        let hex: String = found
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let wanted = [
            "0105",
            // #1, a source: topic, name
            "010102",
            "0107",
            "666c6967687473",
            "09026e31",
            // #3, a table: topic, key, row, name
            "030204",
            "0108",
            "6169726c696e6573",
            "0202",
            "010c",
            "0303",
            "020c0c",
            "09026e33",
            // #4, a join: keys and rows of both sides, how they are kept, padding, name
            "040307",
            "0202",
            "010c",
            "030f",
            "060c05130200130200130200130200",
            "0402",
            "010c",
            "0503",
            "020c0c",
            "0602",
            "0001",
            "0802",
            "0100",
            "09026e34",
            // #5, an aggregation: groups, window, emission, name, calls
            "050406",
            "0205",
            "021302000c",
            "0702",
            "0100",
            "0801",
            "00",
            "09026e35",
            "4006",
            "010000000005",
            "4107",
            "04000100010505",
            // the view: key, row
            "feff0305",
            "02",
            "0203",
            "020001",
            "0307",
            "041302000c0505",
        ];
        assert_eq!(hex, wanted.concat());
        assert_eq!(StateManifest::decode(&found.encode()).unwrap(), found);
    }

    #[test]
    fn what_keeps_nothing_does_not_matter() {
        let before = manifest(&plan(&["count(*)"], false));
        let after = manifest(&plan(&["count(*)"], true));
        assert_eq!(before.difference(&after), None);
    }

    #[test]
    fn operators_find_the_numbers_that_they_had() {
        let before = plan(&["count(*)"], false);
        let kept = manifest(&before);
        // Another plan of the same query: other numbers, another order.
        let mut after = plan(&["count(*)"], true);
        for (place, node) in after.nodes.iter_mut().enumerate() {
            node.id = OperatorId(20 - place as u16);
        }
        let adopted = kept.adopted(&after);
        assert_eq!(kept.difference(&manifest(&adopted)), None);
        adopted.validate().unwrap();
        let ids = |plan: &StreamPlan| plan.nodes.iter().map(|node| node.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&adopted)[2..5], ids(&before)[2..5]);
        // What the query calls otherwise is something else, and takes nobody's number.
        after.nodes[2].name = "others".to_owned();
        let adopted = kept.adopted(&after);
        adopted.validate().unwrap();
        assert_eq!(
            kept.difference(&manifest(&adopted)).unwrap(),
            "operator #3, a table, is gone"
        );
    }

    #[test]
    fn operators_keep_their_numbers_by_other_names() {
        let before = plan(&["count(*)"], false);
        let kept = manifest(&before);
        let mut after = before.clone();
        for node in &mut after.nodes {
            node.name = format!("q.{}", node.name);
            node.id = OperatorId(node.id.0 + 20);
        }
        let renamed = kept.renamed(&before, &after);
        let adopted = renamed.adopted(&after);
        assert_eq!(renamed.difference(&manifest(&adopted)), None);
        assert!(kept.difference(&renamed).is_some());
        assert_eq!(kept.named_as(&renamed), renamed);
        assert_eq!(renamed.named_as(&kept), kept);
    }

    #[test]
    fn the_first_difference_is_named() {
        let before = manifest(&plan(&["count(*)", "max(delay)"], false));
        let other = |aggregates: &[&str]| before.difference(&manifest(&plan(aggregates, false)));
        assert_eq!(
            other(&["count(*)", "min(delay)"]).unwrap(),
            "operator #5, an aggregation, has another aggregate 2"
        );
        assert_eq!(
            other(&["count(*)"]).unwrap(),
            "operator #5, an aggregation, has another aggregate 2"
        );
        let mut fewer = before.clone();
        fewer.operators.remove(&3);
        assert_eq!(
            before.difference(&fewer).unwrap(),
            "operator #3, a table, is gone"
        );
        assert_eq!(
            fewer.difference(&before).unwrap(),
            "operator #3, a table, is new"
        );
        let mut newer = before.encode();
        newer[0] = 2;
        assert!(StateManifest::decode(&newer).is_err());
    }
}
