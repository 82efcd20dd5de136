//! What is told of groups: to who describes or lists them, and to who wants to know how far they have read.

use bytes::Bytes;
use log_protocol::TopicPartition;

use super::Groups;
use super::state::Phase;

/// A group as DescribeGroups shows it.
pub(crate) struct Description {
    pub(crate) phase: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberDescription>,
}

/// A member as DescribeGroups shows it.
pub(crate) struct MemberDescription {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

/// A group as ListGroups shows it.
pub(crate) struct Listing {
    pub(crate) group_id: String,
    pub(crate) protocol_type: String,
    pub(crate) phase: &'static str,
}

impl Groups {
    /// DescribeGroups; `None` for a group that does not exist.
    pub(crate) fn describe(&self, group_id: &str) -> Option<Description> {
        let mut memory = self.memory();
        self.end_what_is_due(&mut memory, group_id);
        let entry = memory.groups.get(group_id)?;
        let group = &entry.group;
        let settled = group.phase() == Phase::Stable;
        Some(Description {
            phase: group.phase().name(),
            protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
            protocol: group
                .protocol()
                .filter(|_| settled)
                .unwrap_or_default()
                .to_owned(),
            members: group
                .members()
                .map(|(member_id, member, metadata)| MemberDescription {
                    member_id: member_id.to_owned(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: if settled { metadata } else { Bytes::new() },
                    assignment: member.assignment.clone(),
                })
                .collect(),
        })
    }

    /// What all groups have committed, at most `max` offsets, in no order.
    pub(crate) fn committed(&self, max: usize) -> Vec<(String, TopicPartition, i64)> {
        let memory = self.memory();
        let groups = memory.groups.iter();
        let all = groups.flat_map(|(group_id, entry)| {
            let committed = entry.offsets.committed();
            committed.map(|(partition, offset)| (group_id.clone(), partition.clone(), offset))
        });
        all.take(max).collect()
    }

    /// ListGroups, by id.
    pub(crate) fn list(&self) -> Vec<Listing> {
        let mut memory = self.memory();
        self.end_all_that_is_due(&mut memory);
        let mut listings: Vec<Listing> = memory
            .groups
            .iter()
            .map(|(group_id, entry)| Listing {
                group_id: group_id.clone(),
                protocol_type: entry.group.protocol_type().unwrap_or_default().to_owned(),
                phase: entry.group.phase().name(),
            })
            .collect();
        listings.sort_by(|left, right| left.group_id.cmp(&right.group_id));
        listings
    }
}
