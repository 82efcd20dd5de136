//! PURE. What `__consumer_offsets` holds, byte for byte as Kafka writes it, so that Kafka's formatters read it.
//!
//! ```text
//! key    i16 version   0, 1 = offset: string group, string topic, i32 partition
//!                      2    = group:  string group
//! offset i16 version 3: i64 offset, i32 leader epoch, string metadata, i64 commit timestamp (ms)
//!            version 1: i64 offset, string metadata, i64 commit timestamp, i64 expire timestamp
//!            version 0, 2: i64 offset, string metadata, i64 commit timestamp
//!            version 4: as 3, flexible (compact string, tagged fields)
//! group  i16 version 3: string protocol type, i32 generation, nullable string protocol, nullable string leader,
//!                       i64 state since (ms), [ string member, nullable string instance, string client, string host,
//!                       i32 rebalance timeout, i32 session timeout, bytes subscription, bytes assignment ]
//! ```
//! A null value is a tombstone. Written: keys 1 and 2, values 3. Read: keys 0 to 2, offsets 0 to 4, groups 0 to 3.
//!
//! Follows `OffsetCommitKey/Value.json` and `GroupMetadataKey/Value.json` of Kafka 4.3's group coordinator.

use bytes::{BufMut, Bytes, BytesMut};
use log_protocol::{DecodeError, Reader, TopicPartition, Writer};

/// A key of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// An offset of a group.
    Offset(String, TopicPartition),
    /// A group.
    Group(String),
    /// Something that a newer version wrote; it is kept and not understood.
    Unknown(i16),
}

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetRecord {
    pub(crate) offset: i64,
    /// Leader epoch of the last record read, −1 if the client did not say.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) commit_timestamp_ms: i64,
}

/// A group with its members, as of its last completed rebalance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupRecord {
    pub(crate) protocol_type: String,
    pub(crate) generation: i32,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) state_since_ms: i64,
    pub(crate) members: Vec<MemberRecord>,
}

/// One member of a [`GroupRecord`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberRecord {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

impl Key {
    /// Reads a key.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        Ok(match reader.i16()? {
            0 | 1 => {
                let group = text(&mut reader, false)?;
                let topic = text(&mut reader, false)?;
                Self::Offset(group, TopicPartition::new(topic, reader.i32()?))
            }
            2 => Self::Group(text(&mut reader, false)?),
            version => Self::Unknown(version),
        })
    }

    /// The key of an offset.
    pub(crate) fn offset(group: &str, partition: &TopicPartition) -> Bytes {
        let mut out = BytesMut::with_capacity(10 + group.len() + partition.topic.len());
        out.put_i16(1);
        put_text(&mut out, Some(group));
        put_text(&mut out, Some(&partition.topic));
        out.put_i32(partition.partition);
        out.freeze()
    }

    /// The key of a group.
    pub(crate) fn group(group: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(4 + group.len());
        out.put_i16(2);
        put_text(&mut out, Some(group));
        out.freeze()
    }
}

impl OffsetRecord {
    /// Reads a value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let version = reader.i16()?;
        let offset = reader.i64()?;
        let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
        let metadata = text(&mut reader, version >= 4)?;
        let commit_timestamp_ms = reader.i64()?;
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
        })
    }

    /// Writes version 3.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(24 + self.metadata.len());
        out.put_i16(3);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        put_text(&mut out, Some(&self.metadata));
        out.put_i64(self.commit_timestamp_ms);
        out.freeze()
    }
}

impl GroupRecord {
    /// Reads a value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let version = reader.i16()?;
        let protocol_type = text(&mut reader, false)?;
        let generation = reader.i32()?;
        let protocol = nullable_text(&mut reader, false)?;
        let leader = nullable_text(&mut reader, false)?;
        let state_since_ms = if version >= 2 { reader.i64()? } else { -1 };
        let mut members = Vec::new();
        for _ in 0..reader.array_length(false)?.unwrap_or(0) {
            members.push(MemberRecord::decode(&mut reader, version)?);
        }
        Ok(Self {
            protocol_type,
            generation,
            protocol,
            leader,
            state_since_ms,
            members,
        })
    }

    /// Writes version 3.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(3);
        put_text(&mut out, Some(&self.protocol_type));
        out.put_i32(self.generation);
        put_text(&mut out, self.protocol.as_deref());
        put_text(&mut out, self.leader.as_deref());
        out.put_i64(self.state_since_ms);
        Writer::new(&mut out).length(Some(self.members.len()), false);
        for member in &self.members {
            put_text(&mut out, Some(&member.member_id));
            put_text(&mut out, member.instance_id.as_deref());
            put_text(&mut out, Some(&member.client_id));
            put_text(&mut out, Some(&member.client_host));
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.freeze()
    }
}

impl MemberRecord {
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let member_id = text(reader, false)?;
        let instance_id = if version >= 3 {
            nullable_text(reader, false)?
        } else {
            None
        };
        let client_id = text(reader, false)?;
        let client_host = text(reader, false)?;
        let rebalance_timeout_ms = if version >= 1 {
            Some(reader.i32()?)
        } else {
            None
        };
        let session_timeout_ms = reader.i32()?;
        Ok(Self {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: byte_field(reader)?,
            assignment: byte_field(reader)?,
        })
    }
}

fn text(reader: &mut Reader, flexible: bool) -> Result<String, DecodeError> {
    Ok(nullable_text(reader, flexible)?.unwrap_or_default())
}

fn nullable_text(reader: &mut Reader, flexible: bool) -> Result<Option<String>, DecodeError> {
    reader
        .string_length(flexible)?
        .map(|length| reader.text(length))
        .transpose()
}

fn byte_field(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    Ok(reader
        .bytes_length(false)?
        .map(|length| reader.slice(length))
        .transpose()?
        .unwrap_or_default())
}

fn put_text(out: &mut BytesMut, value: Option<&str>) {
    // Plain strings are at most i16::MAX long on the way in, and they come from there.
    let value = value.map(|text| &text.as_bytes()[..text.len().min(i16::MAX as usize)]);
    Writer::new(out).string_length(value.map(<[u8]>::len), false);
    out.put_slice(value.unwrap_or_default());
}

fn put_bytes(out: &mut BytesMut, value: &Bytes) {
    Writer::new(out).length(Some(value.len()), false);
    out.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_written_as_kafka_writes_it() {
        let partition = TopicPartition::new("t", 7);
        assert_eq!(
            Key::offset("g", &partition).as_ref(),
            b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x07"
        );
        let record = OffsetRecord {
            offset: 258,
            leader_epoch: 1,
            metadata: "m".into(),
            commit_timestamp_ms: 5,
        };
        let bytes = record.encode();
        assert_eq!(
            bytes.as_ref(),
            b"\x00\x03\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x05"
        );
        assert_eq!(OffsetRecord::decode(&bytes).unwrap(), record);
        assert_eq!(
            Key::decode(&Key::offset("g", &partition)).unwrap(),
            Key::Offset("g".into(), partition)
        );
    }

    #[test]
    fn a_group_round_trips() {
        let record = GroupRecord {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("a".into()),
            state_since_ms: 9,
            members: vec![MemberRecord {
                member_id: "a".into(),
                instance_id: None,
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout_ms: 1,
                session_timeout_ms: 2,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"as"),
            }],
        };
        assert_eq!(GroupRecord::decode(&record.encode()).unwrap(), record);
        assert_eq!(
            Key::decode(&Key::group("g")).unwrap(),
            Key::Group("g".into())
        );
    }

    #[test]
    fn cut_off_records_are_errors() {
        let bytes = Key::offset("group", &TopicPartition::new("topic", 1));
        for length in 0..bytes.len() {
            assert!(Key::decode(&bytes[..length]).is_err());
        }
    }
}
