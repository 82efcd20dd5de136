//! What comes for a source task by a topic of the log: read between its polls, and handed over in order.

use std::time::{Duration, Instant};

use bytes::Bytes;
use connect_api::{Mail, Mailbox};
use log_api::{NewTopic, OffsetSpec, PollBudget, Reader, ReaderOptions, Start, TopicPartition};

use super::Environment;
use super::failure::Failure;
use crate::store::ensure_topic;

/// Between looks at the topic.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes that a look takes at the most.
const LOOK_BYTES_MAX: usize = 1 << 20;

/// The mailbox of a task.
pub(super) struct Post {
    reader: Box<dyn Reader>,
    looked: Option<Instant>,
}

impl Post {
    /// Opens a mailbox; a topic that is missing is made, with the one partition that is read.
    pub(super) async fn open(environment: &Environment, mailbox: Mailbox) -> Result<Self, Failure> {
        let admin = environment.log.admin();
        ensure_topic(&*admin, NewTopic::new(&*mailbox.topic, 1)).await?;
        let partition = TopicPartition::new(&*mailbox.topic, 0);
        // What is gone, or lies in another life of the topic, is read from its start.
        let first = admin.offset(&partition, OffsetSpec::Earliest).await?;
        let end = admin.offset(&partition, OffsetSpec::LastStable).await?;
        let known = mailbox
            .position
            .filter(|position| (first..=end).contains(position));
        let start = Start::Offset(known.unwrap_or(first));
        let log = &environment.log;
        let reader = log.reader(ReaderOptions::default(), vec![(partition, start)]);
        Ok(Self {
            reader: reader.await?,
            looked: None,
        })
    }

    /// What has come since, if it is time to look.
    pub(super) async fn take(&mut self) -> Result<Vec<Mail>, Failure> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(Vec::new());
        }
        self.looked = Some(Instant::now());
        let budget = PollBudget {
            bytes_max: LOOK_BYTES_MAX,
            wait_max: Duration::ZERO,
        };
        let mut mail = Vec::new();
        for records in self.reader.poll(budget).await? {
            let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
            mail.extend((0..records.len()).map(|row| Mail {
                offset: records.offsets.value(row),
                key: bytes(records.key(row)),
                value: bytes(records.value(row)),
            }));
        }
        Ok(mail)
    }
}
