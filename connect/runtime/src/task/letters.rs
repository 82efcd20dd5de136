//! The dead-letter topic of a sink task: made and opened with the first letter.

use std::sync::Arc;

use log_api::{BatchBuilder, Compression, Log, NewTopic, TopicPartition, WriteError, Writer};

use super::dead_letter::{DeadLetter, message_bytes_max};
use super::failure::Failure;
use crate::store::ensure_topic;

/// Letters are not cut to less than this.
const LETTER_BYTES_MIN: usize = 16 << 10;

/// Writes dead letters in order.
pub(super) struct Letters {
    topic: String,
    writer: Option<Arc<dyn Writer>>,
    message_bytes_max: usize,
}

impl Letters {
    pub(super) fn to(topic: String) -> Self {
        Self {
            topic,
            writer: None,
            message_bytes_max: usize::MAX,
        }
    }

    /// Writes letters; they are on disk when this returns.
    pub(super) async fn write(
        &mut self,
        log: &dyn Log,
        letters: Vec<DeadLetter>,
    ) -> Result<(), Failure> {
        if letters.is_empty() {
            return Ok(());
        }
        let writer = self.writer(log).await?;
        let partition = TopicPartition::new(&*self.topic, 0);
        for letter in letters {
            self.append(&*writer, &partition, letter).await?;
        }
        Ok(writer.sync(&[partition]).await?)
    }

    async fn writer(&mut self, log: &dyn Log) -> Result<Arc<dyn Writer>, Failure> {
        if let Some(writer) = &self.writer {
            return Ok(Arc::clone(writer));
        }
        let described = ensure_topic(&*log.admin(), NewTopic::new(&*self.topic, 1)).await?;
        self.message_bytes_max = message_bytes_max(&described);
        let writer = log.writer().await?;
        Ok(Arc::clone(self.writer.insert(writer)))
    }

    async fn append(
        &mut self,
        writer: &dyn Writer,
        partition: &TopicPartition,
        letter: DeadLetter,
    ) -> Result<(), Failure> {
        loop {
            let letter = letter.clone().fit(self.message_bytes_max);
            let headers: Vec<(&str, Option<&[u8]>)> = letter
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            let mut batch = BatchBuilder::new(Compression::None);
            batch.append(
                crate::now_ms(),
                letter.key.as_deref(),
                letter.value.as_deref(),
                &headers,
            );
            match writer.append(partition, batch).await {
                // The limit is the broker's, and less than the topic tells.
                Err(WriteError::TooLarge { .. }) if self.message_bytes_max > LETTER_BYTES_MIN => {
                    self.message_bytes_max /= 2;
                }
                written => return Ok(written.map(drop)?),
            }
        }
    }
}
