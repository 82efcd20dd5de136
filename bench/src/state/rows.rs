//! The rows of each case, written to their topics with a Kafka client.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{Case, StateArgs};

/// Rows look the same in every run.
const SEED: u64 = 7;
/// Regions of the join.
const REGIONS: u64 = 100;
/// Clicks of a key, on average.
const CLICKS: u64 = 8;
/// Event time between two clicks of one key, on average, ms: some sessions go on, others end.
const CLICK_MS: u64 = 8_000;
/// A client that hears nothing for so long gives up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Odd, so that numbers times it, cut to a power of two, are all different.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes the topics of a case and fills them; gives how many rows there are.
pub(super) fn write(address: &str, case: Case, args: &StateArgs) -> Result<u64> {
    let mut writer = Writer::new(address)?;
    for topic in case.topics() {
        writer.make(topic)?;
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    match case {
        Case::Groups => {
            for number in 0..args.keys {
                let (new, known) = (spread(number), spread(random.u64(..=number)));
                for key in [new, known] {
                    let v = random.u64(..1000);
                    writer.send("events", &format!(r#"{{"k":{key},"v":{v}}}"#))?;
                }
            }
        }
        Case::Join => {
            for number in 0..args.keys {
                let (id, region) = (spread(number), random.u64(..REGIONS));
                writer.send("places", &format!(r#"{{"id":{id},"region":{region}}}"#))?;
                if number % 2 == 0 {
                    let (place, v) = (spread(random.u64(..=number)), random.u64(..1000));
                    writer.send("visits", &format!(r#"{{"place":{place},"v":{v}}}"#))?;
                }
            }
        }
        Case::Sessions => {
            for number in 0..args.session_keys * CLICKS {
                let key = random.u64(..args.session_keys);
                let ts = number * CLICK_MS / args.session_keys;
                writer.send("clicks", &format!(r#"{{"k":{key},"ts":{ts}}}"#))?;
            }
        }
    }
    writer.finish()
}

/// Keys that follow each other lie apart.
fn spread(number: u64) -> u64 {
    number.wrapping_mul(SPREAD) & (u64::MAX >> 16)
}

struct Writer {
    producer: BaseProducer,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    rows: u64,
}

impl Writer {
    fn new(address: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address);
        let admin = config.create()?;
        let producer = config
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            .set("compression.type", "lz4")
            .create()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            producer,
            admin,
            runtime,
            rows: 0,
        })
    }

    /// A topic of one partition, which keeps all records.
    fn make(&self, name: &str) -> Result<()> {
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let options = AdminOptions::new();
        let created = self.admin.create_topics([&topic], &options);
        for created in self.runtime.block_on(created)? {
            created.map_err(|(topic, code)| anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    fn send(&mut self, topic: &str, value: &str) -> Result<()> {
        self.rows += 1;
        loop {
            let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(value);
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    fn finish(self) -> Result<u64> {
        let flushed = self.producer.flush(SILENCE_MAX);
        flushed.context("the server takes no more rows")?;
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_all_different() {
        let keys: HashSet<u64> = (0..100_000).map(spread).collect();
        assert_eq!(keys.len(), 100_000);
    }
}
