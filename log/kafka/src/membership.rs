//! Members of groups: a consumer of librdkafka each, which takes part in rebalances and reads nothing.
//!
//! librdkafka holds a rebalance up until what it has revoked is given back: that is done when the next change is asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use log_api::{
    Change, GroupMember, Membership, MembershipError, MembershipOptions, TopicPartition,
};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::KafkaConfig;
use crate::error::is_connection;

/// One call to librdkafka takes so long at most, so that a handle that is dropped is not waited for long.
const POLL: Duration = Duration::from_millis(100);

/// What a rebalance has brought.
enum Event {
    Assigned(Vec<TopicPartition>),
    Revoked,
    Failed(KafkaError),
}

/// Notes rebalances while a consumer is polled.
#[derive(Default)]
struct Rebalances {
    events: Mutex<VecDeque<Event>>,
    /// The consumer is being closed, and nobody asks for changes any more.
    closing: AtomicBool,
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        share: &mut TopicPartitionList,
    ) {
        let event = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => assign(consumer, share),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if self.closing.load(Ordering::Acquire) {
                    // It is left either way.
                    let _ = consumer.unassign();
                }
                Ok(Event::Revoked)
            }
            error => Err(KafkaError::Rebalance(error.into())),
        };
        let event = event.unwrap_or_else(Event::Failed);
        self.events.lock().push_back(event);
    }
}

/// Takes a share without reading it.
fn assign(
    consumer: &BaseConsumer<Rebalances>,
    share: &mut TopicPartitionList,
) -> Result<Event, KafkaError> {
    // Where to read from is not looked for.
    share.set_all_offsets(Offset::Offset(0))?;
    consumer.assign(share)?;
    consumer.pause(share)?;
    let elements = share.elements();
    let mut partitions: Vec<TopicPartition> = elements
        .iter()
        .map(|element| TopicPartition::new(element.topic(), element.partition()))
        .collect();
    partitions.sort();
    Ok(Event::Assigned(partitions))
}

pub(crate) struct KafkaMembership {
    group: String,
    /// `None` only while it is dropped.
    consumer: Option<Arc<BaseConsumer<Rebalances>>>,
    /// What was revoked is still to be given back.
    revoking: bool,
}

impl KafkaMembership {
    pub(crate) fn open(
        config: &KafkaConfig,
        options: &MembershipOptions,
    ) -> Result<Self, MembershipError> {
        let group = options.group.clone();
        let opened = || -> Result<BaseConsumer<Rebalances>, KafkaError> {
            let config = config.member(&group, options.session);
            let consumer: BaseConsumer<Rebalances> =
                config.create_with_context(Rebalances::default())?;
            let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
            consumer.subscribe(&topics)?;
            Ok(consumer)
        };
        match opened() {
            Ok(consumer) => Ok(Self {
                group,
                consumer: Some(Arc::new(consumer)),
                revoking: false,
            }),
            Err(error) => Err(failed(&group, &error)),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&BaseConsumer<Rebalances>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, MembershipError> {
        let unavailable = |reason: String| MembershipError::Unavailable {
            group: self.group.clone(),
            reason,
        };
        let consumer = self.consumer.clone();
        let consumer = consumer.ok_or_else(|| unavailable("it has been left".to_owned()))?;
        let called = tokio::task::spawn_blocking(move || call(&consumer)).await;
        let called = called.map_err(|error| unavailable(error.to_string()))?;
        called.map_err(|error| failed(&self.group, &error))
    }
}

fn failed(group: &str, error: &KafkaError) -> MembershipError {
    let (group, reason) = (group.to_owned(), error.to_string());
    match error.rdkafka_error_code() {
        Some(code) if is_connection(code) => MembershipError::Unavailable { group, reason },
        _ => MembershipError::Refused { group, reason },
    }
}

#[async_trait]
impl Membership for KafkaMembership {
    async fn next(&mut self, wait: Duration) -> Result<Option<Change>, MembershipError> {
        if self.revoking {
            self.blocking(|consumer| consumer.unassign()).await?;
            self.revoking = false;
        }
        let deadline = Instant::now() + wait;
        // The event is taken below: a future that is dropped loses none.
        self.blocking(move |consumer| {
            while consumer.context().events.lock().is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                match consumer.poll(left.min(POLL)) {
                    // What is paused gives no record, only errors.
                    Some(Err(error)) => return Err(error),
                    _ if left.is_zero() => break,
                    _ => {}
                }
            }
            Ok(())
        })
        .await?;
        let consumer = self.consumer.as_ref();
        let event = consumer.and_then(|consumer| consumer.context().events.lock().pop_front());
        match event {
            None => Ok(None),
            Some(Event::Revoked) => {
                self.revoking = true;
                Ok(Some(Change::Revoked))
            }
            Some(Event::Failed(error)) => Err(failed(&self.group, &error)),
            Some(Event::Assigned(partitions)) => {
                // The library keeps id and generation to itself, in what its producers are given.
                let member = GroupMember::new(&self.group, "", -1);
                let metadata = consumer.and_then(|consumer| consumer.group_metadata());
                let member = match metadata {
                    Some(metadata) => member.with_handle(Arc::new(metadata)),
                    None => member,
                };
                Ok(Some(Change::Assigned { partitions, member }))
            }
        }
    }

    async fn leave(self: Box<Self>) -> Result<(), MembershipError> {
        self.blocking(|consumer| {
            consumer.context().closing.store(true, Ordering::Release);
            consumer.unsubscribe();
            Ok(())
        })
        .await
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else {
            return;
        };
        consumer.context().closing.store(true, Ordering::Release);
        // Closing it waits for the coordinator: on a thread that may.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(consumer));
        }
    }
}
