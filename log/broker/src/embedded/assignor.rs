//! PURE. Who gets which partitions, and how subscriptions and assignments are written.
//!
//! ```text
//! subscription  [version i16 = 0][n i32] n × [topic: length i16, UTF-8][user data: i32 = -1, none]
//! assignment    [version i16 = 0][n i32] n × ([topic: length i16, UTF-8][m i32] m × [partition i32])[user data: i32 = -1]
//! ```
//!
//! Kafka's ConsumerProtocolSubscription and ConsumerProtocolAssignment; what later versions add stands behind and is passed
//! over. By range: of each topic every member that reads it gets neighbours, the first ones one more where they do not go
//! round (Kafka's RangeAssignor).

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use log_protocol::TopicPartition;

/// The shares of all members, by topic and partition.
pub(super) fn range(
    subscriptions: &BTreeMap<String, Vec<String>>,
    partitions: impl Fn(&str) -> i32,
) -> BTreeMap<String, Vec<TopicPartition>> {
    let none = |member: &String| (member.clone(), Vec::new());
    let mut shares: BTreeMap<_, _> = subscriptions.keys().map(none).collect();
    let topics: BTreeSet<&String> = subscriptions.values().flatten().collect();
    for topic in topics {
        let readers: Vec<&String> = subscriptions
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| member)
            .collect();
        let count = i32::try_from(readers.len()).unwrap_or(i32::MAX).max(1);
        let all = partitions(topic).max(0);
        let (each, more) = (all / count, all % count);
        let mut next = 0;
        for (number, member) in (0..).zip(readers) {
            let end = next + each + i32::from(number < more);
            let share: &mut Vec<TopicPartition> = shares.entry(member.clone()).or_default();
            share.extend((next..end).map(|one| TopicPartition::new(topic.as_str(), one)));
            next = end;
        }
    }
    shares
}

pub(super) fn encode_subscription(topics: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_count(topics.len(), &mut out);
    topics.iter().for_each(|topic| put_text(topic, &mut out));
    out.put_i32(-1);
    out.freeze()
}

/// The topics; `None` for what cannot be read.
pub(super) fn decode_subscription(mut bytes: &[u8]) -> Option<Vec<String>> {
    bytes.try_get_i16().ok()?;
    let count = bytes.try_get_i32().ok()?;
    (0..count).map(|_| text(&mut bytes)).collect()
}

pub(super) fn encode_assignment(share: &[TopicPartition]) -> Bytes {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for one in share {
        let numbers = by_topic.entry(&*one.topic).or_default();
        numbers.push(one.partition);
    }
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_count(by_topic.len(), &mut out);
    for (topic, numbers) in by_topic {
        put_text(topic, &mut out);
        put_count(numbers.len(), &mut out);
        numbers.into_iter().for_each(|number| out.put_i32(number));
    }
    out.put_i32(-1);
    out.freeze()
}

/// The partitions in order; nothing is an empty share. `None` for what cannot be read.
pub(super) fn decode_assignment(mut bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let mut share = Vec::new();
    if bytes.is_empty() {
        return Some(share);
    }
    bytes.try_get_i16().ok()?;
    for _ in 0..bytes.try_get_i32().ok()? {
        let topic = text(&mut bytes)?;
        for _ in 0..bytes.try_get_i32().ok()? {
            let number = bytes.try_get_i32().ok()?;
            share.push(TopicPartition::new(topic.as_str(), number));
        }
    }
    share.sort();
    Some(share)
}

fn put_count(count: usize, out: &mut BytesMut) {
    out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

fn put_text(text: &str, out: &mut BytesMut) {
    // Topics have 249 characters at most.
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.put_slice(text.as_bytes());
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(topic: &str, numbers: std::ops::Range<i32>) -> Vec<TopicPartition> {
        numbers.map(|one| TopicPartition::new(topic, one)).collect()
    }

    #[test]
    fn neighbours_go_to_who_reads_the_topic() {
        let reads = |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect();
        let subscriptions = BTreeMap::from([
            ("a".to_owned(), reads(&["x", "y"])),
            ("b".to_owned(), reads(&["x"])),
            ("c".to_owned(), reads(&["x", "gone"])),
            ("d".to_owned(), Vec::new()),
        ]);
        let counts = |topic: &str| if topic == "gone" { 0 } else { 5 };
        let shares = range(&subscriptions, counts);
        let of_a = [partitions("x", 0..2), partitions("y", 0..5)].concat();
        assert_eq!(shares["a"], of_a);
        assert_eq!(shares["b"], partitions("x", 2..4));
        assert_eq!(shares["c"], partitions("x", 4..5));
        assert_eq!(shares["d"], []);
    }

    /// Bytes as Kafka's clients write and read them.
    #[test]
    fn golden_vectors() {
        let subscription = encode_subscription(&["ab".to_owned()]);
        let expected = [0, 0, 0, 0, 0, 1, 0, 2, b'a', b'b', 255, 255, 255, 255];
        assert_eq!(subscription, expected.as_slice());
        assert_eq!(
            decode_subscription(&subscription),
            Some(vec!["ab".to_owned()])
        );
        let share = partitions("ab", 1..3);
        let assignment = encode_assignment(&share);
        let expected = [
            0, 0, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 255, 255, 255,
            255,
        ];
        assert_eq!(assignment, expected.as_slice());
        assert_eq!(decode_assignment(&assignment), Some(share));
        assert_eq!(decode_assignment(&[]), Some(Vec::new()));
        for length in 1..assignment.len() - 4 {
            assert_eq!(
                decode_assignment(&assignment[..length]),
                None,
                "{length} bytes"
            );
        }
    }
}
