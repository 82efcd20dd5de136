//! Consumer groups with librdkafka: rebalances, committed offsets, static members.

use std::sync::mpsc;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::node::{Node, PATIENCE, next, numbered, produce, tally, text};

/// Tells how many partitions each assignment has.
struct Watcher(mpsc::Sender<usize>);

impl ClientContext for Watcher {}

impl ConsumerContext for Watcher {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            let _ = self.0.send(partitions.count());
        }
    }
}

fn member(
    node: &Node,
    group: &str,
    settings: &[(&str, &str)],
) -> (BaseConsumer<Watcher>, mpsc::Receiver<usize>) {
    let mut config = node.client();
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest");
    config
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50");
    config
        .set("heartbeat.interval.ms", "200")
        .set("session.timeout.ms", "6000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let (sender, receiver) = mpsc::channel();
    let consumer = config
        .create_with_context(Watcher(sender))
        .expect("a consumer");
    (consumer, receiver)
}

async fn fill(node: &Node, topic: &str, partitions: i32) {
    node.create_topic(topic, partitions, &[]).await;
    let producer = node.producer(&[]);
    for partition in 0..partitions {
        for n in 0..10 {
            let value = format!("{partition}-{n}");
            let record: rdkafka::producer::FutureRecord<'_, str, String> =
                rdkafka::producer::FutureRecord::to(topic)
                    .partition(partition)
                    .payload(&value);
            producer.send(record, PATIENCE).await.expect("acknowledged");
        }
    }
}

/// Polls both until their assignments have these sizes; returns what they read on the way.
fn settle(
    members: &mut [(&BaseConsumer<Watcher>, &mpsc::Receiver<usize>)],
    sizes: &[usize],
    seen: &mut Vec<String>,
) {
    let start = std::time::Instant::now();
    let mut current = vec![usize::MAX; members.len()];
    while current != sizes {
        assert!(
            start.elapsed() < PATIENCE,
            "assignments are {current:?}, wanted {sizes:?}"
        );
        for (index, (consumer, assigned)) in members.iter().enumerate() {
            if let Some(message) = consumer.poll(std::time::Duration::from_millis(20)) {
                seen.push(text(&message.expect("no error")));
            }
            while let Ok(size) = assigned.try_recv() {
                current[index] = size;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_the_partitions_and_one_takes_over() {
    let node = Node::start().await;
    fill(&node, "shared", 4).await;
    let mut seen = Vec::new();
    let (first, first_assigned) = member(&node, "g", &[]);
    first.subscribe(&["shared"]).expect("subscribed");
    settle(&mut [(&first, &first_assigned)], &[4], &mut seen);
    let (second, second_assigned) = member(&node, "g", &[]);
    second.subscribe(&["shared"]).expect("subscribed");
    settle(
        &mut [(&first, &first_assigned), (&second, &second_assigned)],
        &[2, 2],
        &mut seen,
    );
    drop(second);
    settle(&mut [(&first, &first_assigned)], &[4], &mut seen);
    // Nothing was committed, so the partitions that changed hands were read again from the start; none was missed.
    let start = std::time::Instant::now();
    while tally(seen.clone()).len() < 40 {
        assert!(start.elapsed() < PATIENCE, "{:?}", tally(seen));
        if let Some(message) = first.poll(std::time::Duration::from_millis(100)) {
            seen.push(text(&message.expect("no error")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cooperative_members_rebalance_too() {
    let node = Node::start().await;
    fill(&node, "coop", 2).await;
    let mut seen = Vec::new();
    let settings = [("partition.assignment.strategy", "cooperative-sticky")];
    let (first, first_assigned) = member(&node, "g", &settings);
    first.subscribe(&["coop"]).expect("subscribed");
    settle(&mut [(&first, &first_assigned)], &[2], &mut seen);
    let (second, second_assigned) = member(&node, "g", &settings);
    second.subscribe(&["coop"]).expect("subscribed");
    // Incremental: the first keeps one, the second is given the other.
    settle(
        &mut [(&second, &second_assigned), (&first, &first_assigned)][..1],
        &[0],
        &mut seen,
    );
    let start = std::time::Instant::now();
    while second.assignment().expect("assignment").count() != 1 {
        assert!(start.elapsed() < PATIENCE, "the second member got nothing");
        first.poll(std::time::Duration::from_millis(20));
        second.poll(std::time::Duration::from_millis(20));
    }
    assert_eq!(first.assignment().expect("assignment").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_survive_a_restart_of_client_and_broker() {
    let node = Node::start().await;
    node.create_topic("positions", 1, &[]).await;
    produce(&node.producer(&[]), "positions", &numbered("v", 10)).await;
    let (consumer, _assigned) = member(&node, "g", &[]);
    consumer.subscribe(&["positions"]).expect("subscribed");
    for expected in 0..4 {
        let message = next(&consumer);
        assert_eq!(message.offset(), expected);
        consumer
            .commit_message(&message, CommitMode::Sync)
            .expect("committed");
    }
    drop(consumer);
    let node = node.restart().await;
    let (consumer, _assigned) = member(&node, "g", &[]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition("positions", 0);
    let committed = consumer
        .committed_offsets(asked, PATIENCE)
        .expect("an answer");
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(4));
    consumer.subscribe(&["positions"]).expect("subscribed");
    assert_eq!(next(&consumer).offset(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_returns_without_a_rebalance() {
    let node = Node::start().await;
    fill(&node, "static", 2).await;
    let mut seen = Vec::new();
    let (one, one_assigned) = member(&node, "g", &[("group.instance.id", "one")]);
    one.subscribe(&["static"]).expect("subscribed");
    settle(&mut [(&one, &one_assigned)], &[2], &mut seen);
    // A static member does not leave: a successor of the same name takes its place.
    drop(one);
    let (again, again_assigned) = member(&node, "g", &[("group.instance.id", "one")]);
    again.subscribe(&["static"]).expect("subscribed");
    settle(&mut [(&again, &again_assigned)], &[2], &mut seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_and_deleted() {
    let node = Node::start().await;
    fill(&node, "listed", 1).await;
    let mut seen = Vec::new();
    let (consumer, assigned) = member(&node, "visible", &[]);
    consumer.subscribe(&["listed"]).expect("subscribed");
    settle(&mut [(&consumer, &assigned)], &[1], &mut seen);
    let groups = consumer
        .fetch_group_list(Some("visible"), PATIENCE)
        .expect("an answer");
    assert_eq!(groups.groups()[0].state(), "Stable");
    assert_eq!(groups.groups()[0].members().len(), 1);
    let admin = node.admin();
    let options = rdkafka::admin::AdminOptions::new();
    let deleted = admin
        .delete_groups(&["visible"], &options)
        .await
        .expect("an answer");
    assert!(deleted[0].is_err(), "it has a member");
    drop(consumer);
    let deleted = admin
        .delete_groups(&["visible"], &options)
        .await
        .expect("an answer");
    assert_eq!(deleted[0], Ok("visible".to_owned()));
}
