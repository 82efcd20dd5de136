//! PURE. Over which connection a producer speaks now: what still arrives on one that it has left is refused.
//!
//! ```text
//!  connection 4   AddPartitions ─ Produce ─ EndTxn ····· held in the network ····▶ refused: it would end transaction 2
//!  connection 9                    EndTxn again ─ AddPartitions ─ Produce …        transaction 2, the same epoch
//! ```
//! A client of the first generation keeps its epoch through many transactions, so its late requests look like those of the transaction that
//! is open now (KIP-890 tells of it, and mends it for clients of the second generation only). But such a client repeats a request over
//! a new connection only after it has given up the old one, so a newer connection that speaks for the same epoch makes everything that comes
//! over an older one a thing of the past.
//!
//! Clients keep connections of their own to the leader, to the coordinator and to the group's coordinator, though all of them may be one
//! broker: each [`Channel`] is looked at by itself.

use super::state::Producer;

/// What a client may use a connection of its own for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Produce.
    Records,
    /// AddPartitionsToTxn, AddOffsetsToTxn, EndTxn.
    Transaction,
    /// TxnOffsetCommit.
    Offsets,
}

/// The newest connections of one transactional id's producer; they are numbered in the order in which they were accepted.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    producer: Option<Producer>,
    newest: [u64; 3],
}

impl Speakers {
    /// Whether `producer`, the current one of its id, may be heard over this connection; then older ones are left behind.
    pub(super) fn hear(&mut self, producer: Producer, channel: Channel, connection: u64) -> bool {
        if self.producer != Some(producer) {
            // A raised epoch fences what came before, whichever connection it comes over.
            *self = Self {
                producer: Some(producer),
                ..Self::default()
            };
        }
        let newest = &mut self.newest[channel as usize];
        let is_current = connection >= *newest;
        *newest = connection.max(*newest);
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_connection_leaves_older_ones_behind_in_its_own_channel_and_epoch() {
        let mut speakers = Speakers::default();
        let first = Producer { id: 7, epoch: 0 };
        assert!(speakers.hear(first, Channel::Transaction, 4));
        assert!(speakers.hear(first, Channel::Records, 3));
        assert!(speakers.hear(first, Channel::Transaction, 9));
        assert!(!speakers.hear(first, Channel::Transaction, 4));
        assert!(speakers.hear(first, Channel::Transaction, 9));
        assert!(speakers.hear(first, Channel::Records, 3));
        assert!(speakers.hear(first, Channel::Offsets, 1));
        let raised = Producer { id: 7, epoch: 1 };
        assert!(speakers.hear(raised, Channel::Transaction, 4));
    }
}
