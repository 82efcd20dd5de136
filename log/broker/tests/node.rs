//! A broker on a free port and a temporary folder, and librdkafka clients for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use log_broker::{Broker, BrokerConfig};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for anything; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running broker.
pub(crate) struct Node {
    folder: TempDir,
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
    /// What its clients of librdkafka say beside its address.
    pub(crate) says: Vec<(&'static str, String)>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::open(TempDir::new().expect("a temporary folder"), |_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::open(TempDir::new().expect("a temporary folder"), change).await
    }

    pub(crate) async fn open(folder: TempDir, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = BrokerConfig::in_folder(folder.path());
        change(&mut config);
        let broker = Broker::open(config).expect("the broker opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let server = broker.clone();
        let serving = tokio::spawn(async move {
            server
                .serve(listener, stopped)
                .await
                .expect("serving ends well");
        });
        Self {
            folder,
            broker,
            address,
            says: Vec::new(),
            stop,
            serving,
        }
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Closes the broker and opens its folder again.
    pub(crate) async fn restart(self) -> Self {
        Self::open(self.close().await, |_| {}).await
    }

    pub(crate) async fn close(self) -> TempDir {
        let Self {
            folder,
            broker,
            stop,
            serving,
            ..
        } = self;
        stop.send(()).expect("the server runs");
        serving.await.expect("the server ends");
        broker.close().await.expect("the broker closes");
        folder
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string());
        config.set("broker.address.family", "v4");
        for (key, value) in &self.says {
            config.set(*key, value);
        }
        config
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    pub(crate) async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let results = self
            .admin()
            .create_topics([&topic], &AdminOptions::new())
            .await
            .expect("an answer");
        assert_eq!(results, [Ok(name.to_owned())]);
    }

    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = self.client();
        config.set("linger.ms", "0");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().expect("a producer")
    }

    /// A consumer that reads `partitions` of `topic` from the start.
    pub(crate) fn consumer(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> BaseConsumer {
        let mut config = self.client();
        config
            .set("group.id", "reader")
            .set("enable.auto.commit", "false");
        config
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "50");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("a sound offset");
        }
        consumer.assign(&assignment).expect("an assignment");
        consumer
    }
}

/// Sends values without keys to partition 0 and waits for all acknowledgements; returns the offsets.
pub(crate) async fn produce(producer: &FutureProducer, topic: &str, values: &[String]) -> Vec<i64> {
    let sends = values.iter().map(|value| {
        let record: FutureRecord<'_, (), String> =
            FutureRecord::to(topic).partition(0).payload(value);
        producer.send(record, PATIENCE)
    });
    futures::future::join_all(sends)
        .await
        .into_iter()
        .map(|outcome| outcome.expect("acknowledged").offset)
        .collect()
}

/// The next `count` messages as (offset, value).
pub(crate) fn consume(consumer: &BaseConsumer, count: usize) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let message = next(consumer);
        seen.push((message.offset(), text(&message)));
    }
    seen
}

/// The next message. A poll also ends, without one, when it handled an event such as a rebalance.
pub(crate) fn next<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> BorrowedMessage<'_> {
    let start = Instant::now();
    loop {
        if let Some(message) = consumer.poll(PATIENCE) {
            return message.expect("no error");
        }
        assert!(start.elapsed() < PATIENCE, "no message in time");
    }
}

pub(crate) fn text(message: &BorrowedMessage<'_>) -> String {
    String::from_utf8(message.payload().unwrap_or_default().to_vec()).expect("text")
}

pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// Values that were consumed, sorted, with how often each came.
pub(crate) fn tally(values: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for value in values {
        *tally.entry(value).or_default() += 1;
    }
    tally
}
