//! The suite that every [`Log`] passes, one function a rule of [`crate::Log`]'s module.
//!
//! ```no_run
//! # async fn check(log: std::sync::Arc<dyn log_api::Log>) {
//! log_api::conformance::run(log.as_ref()).await; // panics with the rule that does not hold
//! # }
//! ```
//!
//! Topics are named after their rule, so the suite runs once against a log.

use std::time::Duration;

use crate::{
    AdminError, BatchBuilder, Change, Compression, GroupMember, Log, Membership, MembershipOptions,
    NewTopic, OffsetCommit, OffsetSpec, PollBudget, ReadError, Reader, ReaderOptions, Start,
    TopicPartition, Transaction, TransactionError, TransactionOptions, WriteError,
};

/// One poll waits this long at most; a rule that needs longer is broken.
const WAIT: Duration = Duration::from_secs(5);
/// Polls until a rule gives up.
const POLLS_MAX: usize = 200;

/// Runs every rule.
///
/// # Panics
/// When a rule does not hold.
pub async fn run(log: &dyn Log) {
    topics_are_created_listed_and_deleted(log).await;
    records_come_back_in_order_with_everything(log).await;
    every_codec_reads_the_same(log).await;
    a_waiting_poll_wakes(log).await;
    seek_and_pause(log).await;
    out_of_range_is_an_error(log).await;
    offsets_are_found_by_time_and_trimmed(log).await;
    only_committed_transactions_show(log).await;
    a_second_owner_fences_the_first(log).await;
    offsets_and_records_commit_together(log).await;
    plain_offset_commits_come_back(log).await;
    members_share_partitions_and_past_ones_are_fenced(log).await;
    what_does_not_exist_is_named(log).await;
}

async fn topic(log: &dyn Log, name: &str, partitions: i32) -> TopicPartition {
    log.admin()
        .create_topic(NewTopic::new(name, partitions))
        .await
        .unwrap_or_else(|error| panic!("create {name}: {error}"));
    TopicPartition::new(name, 0)
}

fn batch(records: &[(&str, &str)]) -> BatchBuilder {
    let mut batch = BatchBuilder::new(Compression::None);
    for (index, (key, value)) in records.iter().enumerate() {
        batch.append(
            1_000 + index as i64,
            Some(key.as_bytes()),
            Some(value.as_bytes()),
            &[],
        );
    }
    batch
}

async fn append(log: &dyn Log, partition: &TopicPartition, records: &[(&str, &str)]) -> i64 {
    let writer = log.writer().await.expect("a writer");
    writer
        .append(partition, batch(records))
        .await
        .expect("the append is acknowledged")
}

async fn reader(log: &dyn Log, partition: &TopicPartition, start: Start) -> Box<dyn Reader> {
    log.reader(ReaderOptions::default(), vec![(partition.clone(), start)])
        .await
        .expect("a reader of a partition that exists")
}

/// All values from `start` until the reader is caught up.
async fn values(log: &dyn Log, partition: &TopicPartition, start: Start) -> Vec<String> {
    let mut reader = reader(log, partition, start).await;
    let mut values = Vec::new();
    for _ in 0..POLLS_MAX {
        read_into(&mut values, reader.as_mut(), Duration::from_millis(100)).await;
        let progress = reader.progress().await.expect("progress");
        if progress
            .iter()
            .all(|partition| partition.position >= partition.last_stable_offset)
        {
            return values;
        }
    }
    panic!("{partition}: the position never reaches the last stable offset; read {values:?}");
}

async fn read_into(values: &mut Vec<String>, reader: &mut dyn Reader, wait_max: Duration) {
    let budget = PollBudget {
        bytes_max: 1 << 20,
        wait_max,
    };
    for records in reader.poll(budget).await.expect("a poll") {
        for row in 0..records.len() {
            let value = records.value(row).expect("these records have values");
            values.push(String::from_utf8(value.to_vec()).expect("these values are text"));
        }
        assert!(records.next_offset > records.offsets.values().last().copied().unwrap_or(-1));
    }
}

async fn open(log: &dyn Log, id: &str) -> Box<dyn Transaction> {
    let options = TransactionOptions {
        transactional_id: id.to_owned(),
        timeout: Duration::from_secs(30),
    };
    log.transaction(options)
        .await
        .expect("the transactional id opens")
}

async fn topics_are_created_listed_and_deleted(log: &dyn Log) {
    let admin = log.admin();
    let new = NewTopic::new("c-topics", 2).with("cleanup.policy", "compact");
    admin.create_topic(new.clone()).await.expect("created");
    assert_eq!(
        admin.create_topic(new).await,
        Err(AdminError::TopicExists("c-topics".to_owned())),
        "a topic is created once"
    );
    let described = admin
        .describe_topic("c-topics")
        .await
        .expect("described")
        .expect("there");
    assert_eq!(described.partitions, 2);
    assert_eq!(
        described.configs.get("cleanup.policy").map(String::as_str),
        Some("compact")
    );
    admin.create_partitions("c-topics", 3).await.expect("grown");
    let listed = admin.list_topics().await.expect("listed");
    let found = listed
        .iter()
        .find(|topic| topic.name == "c-topics")
        .expect("in the list");
    assert_eq!(found.partitions, 3);
    admin.delete_topic("c-topics").await.expect("deleted");
    assert_eq!(admin.describe_topic("c-topics").await, Ok(None));
    assert_eq!(
        admin.delete_topic("c-topics").await,
        Err(AdminError::UnknownTopic("c-topics".to_owned()))
    );
}

async fn records_come_back_in_order_with_everything(log: &dyn Log) {
    let partition = topic(log, "c-order", 1).await;
    let mut first = BatchBuilder::new(Compression::None);
    first.append(5, None, Some(b"no key"), &[]);
    first.append(6, Some(b"gone"), None, &[("h", Some(b"1")), ("h", None)]);
    let writer = log.writer().await.expect("a writer");
    assert_eq!(writer.append(&partition, first).await, Ok(0));
    let long = "a value that is longer than what a view holds inline";
    assert_eq!(
        writer.append(&partition, batch(&[("k", long)])).await,
        Ok(2)
    );
    writer
        .sync(std::slice::from_ref(&partition))
        .await
        .expect("synced");

    let mut reader = reader(log, &partition, Start::Earliest).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let budget = PollBudget {
            bytes_max: 1 << 20,
            wait_max: WAIT,
        };
        let polled = reader.poll(budget).await.expect("a poll");
        assert!(
            !polled.is_empty(),
            "three records were acknowledged, {} are read",
            seen.len()
        );
        for records in polled {
            for row in 0..records.len() {
                let headers: Vec<(String, Option<Vec<u8>>)> = records
                    .headers(row)
                    .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                    .collect();
                seen.push((
                    records.offsets.value(row),
                    records.timestamps.value(row),
                    records.key(row).map(<[u8]>::to_vec),
                    records.value(row).map(<[u8]>::to_vec),
                    headers,
                ));
            }
        }
    }
    let headers = vec![
        ("h".to_owned(), Some(b"1".to_vec())),
        ("h".to_owned(), None),
    ];
    assert_eq!(seen[0], (0, 5, None, Some(b"no key".to_vec()), Vec::new()));
    assert_eq!(seen[1], (1, 6, Some(b"gone".to_vec()), None, headers));
    assert_eq!(
        seen[2],
        (2, 1_000, Some(b"k".to_vec()), Some(long.into()), Vec::new())
    );
}

async fn every_codec_reads_the_same(log: &dyn Log) {
    let partition = topic(log, "c-codecs", 1).await;
    let writer = log.writer().await.expect("a writer");
    let mut expected = Vec::new();
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let mut batch = BatchBuilder::new(codec);
        for index in 0..100 {
            let value = format!("{codec:?} {index}, repeated, repeated, repeated");
            batch.append(index, None, Some(value.as_bytes()), &[]);
            expected.push(value);
        }
        writer.append(&partition, batch).await.expect("appended");
    }
    assert_eq!(values(log, &partition, Start::Earliest).await, expected);
}

async fn a_waiting_poll_wakes(log: &dyn Log) {
    let partition = topic(log, "c-wakes", 1).await;
    let mut reader = reader(log, &partition, Start::Latest).await;
    let budget = PollBudget {
        bytes_max: 1 << 20,
        wait_max: WAIT,
    };
    let (polled, _) = tokio::join!(
        reader.poll(budget),
        append(log, &partition, &[("k", "woken")])
    );
    let records = polled.expect("a poll");
    assert_eq!(
        records.iter().map(crate::Records::len).sum::<usize>(),
        1,
        "woken by the append"
    );
}

async fn seek_and_pause(log: &dyn Log) {
    let partition = topic(log, "c-seek", 1).await;
    append(log, &partition, &[("a", "0"), ("b", "1"), ("c", "2")]).await;
    let mut reader = reader(log, &partition, Start::Offset(2)).await;
    let mut read = Vec::new();
    read_into(&mut read, reader.as_mut(), WAIT).await;
    assert_eq!(read, ["2"], "a reader starts inside of a batch");
    reader
        .seek(&partition, Start::Offset(1))
        .await
        .expect("a seek");
    reader.pause(std::slice::from_ref(&partition), true);
    read.clear();
    read_into(&mut read, reader.as_mut(), Duration::from_millis(50)).await;
    assert!(read.is_empty(), "a paused partition gives nothing");
    reader.pause(std::slice::from_ref(&partition), false);
    read_into(&mut read, reader.as_mut(), WAIT).await;
    assert_eq!(read, ["1", "2"]);
}

async fn out_of_range_is_an_error(log: &dyn Log) {
    let partition = topic(log, "c-range", 1).await;
    append(log, &partition, &[("a", "0")]).await;
    let asked = vec![(partition.clone(), Start::Offset(99))];
    let refused = match log.reader(ReaderOptions::default(), asked).await {
        Ok(mut reader) => {
            let budget = PollBudget {
                bytes_max: 1 << 20,
                wait_max: WAIT,
            };
            reader.poll(budget).await.map(|records| records.len())
        }
        Err(error) => Err(error),
    };
    let expected = ReadError::OffsetOutOfRange {
        partition,
        position: 99,
        start: 0,
        end: 1,
    };
    assert_eq!(
        refused,
        Err(expected),
        "a position beyond the end is never reset"
    );
}

async fn offsets_are_found_by_time_and_trimmed(log: &dyn Log) {
    let partition = topic(log, "c-times", 1).await;
    append(log, &partition, &[("a", "0"), ("b", "1"), ("c", "2")]).await;
    let admin = log.admin();
    let at = async |spec| admin.offset(&partition, spec).await.expect("an offset");
    assert_eq!(at(OffsetSpec::Earliest).await, 0);
    assert_eq!(at(OffsetSpec::Latest).await, 3);
    assert_eq!(at(OffsetSpec::LastStable).await, 3);
    assert_eq!(at(OffsetSpec::Timestamp(1_001)).await, 1);
    assert_eq!(
        at(OffsetSpec::Timestamp(9_999)).await,
        3,
        "nothing that late: the end"
    );
    admin
        .delete_records(vec![(partition.clone(), 2)])
        .await
        .expect("trimmed");
    assert_eq!(at(OffsetSpec::Earliest).await, 2);
    assert_eq!(values(log, &partition, Start::Earliest).await, ["2"]);
}

async fn only_committed_transactions_show(log: &dyn Log) {
    let partition = topic(log, "c-visible", 1).await;
    let mut transaction = open(log, "c-visible").await;
    assert_eq!(
        transaction.commit().await,
        Ok(Vec::new()),
        "an empty transaction is nothing"
    );
    transaction
        .append(&partition, batch(&[("a", "aborted")]))
        .await
        .expect("appended");
    transaction.abort().await.expect("aborted");
    transaction
        .append(&partition, batch(&[("a", "one"), ("b", "two")]))
        .await
        .expect("appended");
    transaction
        .append(&partition, batch(&[("c", "three")]))
        .await
        .expect("appended");
    let first_offsets = transaction.commit().await.expect("committed");
    assert_eq!(first_offsets.len(), 2);
    assert_eq!(
        first_offsets[1],
        first_offsets[0] + 2,
        "offsets of each append, in order"
    );
    append(log, &partition, &[("d", "plain")]).await;
    let all = ["one", "two", "three", "plain"];
    assert_eq!(values(log, &partition, Start::Earliest).await, all);
    assert_eq!(
        values(log, &partition, Start::Offset(first_offsets[1])).await,
        all[2..]
    );
}

async fn a_second_owner_fences_the_first(log: &dyn Log) {
    let partition = topic(log, "c-fence", 1).await;
    let mut first = open(log, "c-fence").await;
    first
        .append(&partition, batch(&[("a", "zombie")]))
        .await
        .expect("appended");
    let mut second = open(log, "c-fence").await;
    let refused = match first
        .append(&partition, batch(&[("a", "zombie again")]))
        .await
    {
        Ok(()) => first.commit().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(refused, Err(TransactionError::Fenced("c-fence".to_owned())));
    second
        .append(&partition, batch(&[("b", "owner")]))
        .await
        .expect("appended");
    second.commit().await.expect("committed");
    assert_eq!(values(log, &partition, Start::Earliest).await, ["owner"]);
}

async fn offsets_and_records_commit_together(log: &dyn Log) {
    let partition = topic(log, "c-together", 1).await;
    let mut transaction = open(log, "c-together").await;
    let commit = |offset| {
        vec![OffsetCommit {
            partition: partition.clone(),
            offset,
            metadata: format!("m{offset}"),
        }]
    };
    let committed = async || {
        let asked = std::slice::from_ref(&partition);
        let mut found = log
            .admin()
            .committed("c-group", asked)
            .await
            .expect("committed offsets");
        let found = found.pop().expect("one partition was asked");
        (found.offset, found.metadata)
    };
    assert_eq!(committed().await, (None, String::new()));
    transaction
        .append(&partition, batch(&[("a", "x")]))
        .await
        .expect("appended");
    transaction
        .commit_offsets("c-group", commit(7))
        .await
        .expect("added");
    transaction
        .commit_offsets("c-group", commit(8))
        .await
        .expect("the last value wins");
    transaction.commit().await.expect("committed");
    assert_eq!(committed().await, (Some(8), "m8".to_owned()));
    transaction
        .append(&partition, batch(&[("a", "y")]))
        .await
        .expect("appended");
    transaction
        .commit_offsets("c-group", commit(9))
        .await
        .expect("added");
    transaction.abort().await.expect("aborted");
    assert_eq!(committed().await, (Some(8), "m8".to_owned()));
    assert_eq!(values(log, &partition, Start::Earliest).await, ["x"]);
}

async fn plain_offset_commits_come_back(log: &dyn Log) {
    let partition = topic(log, "c-plain", 1).await;
    let admin = log.admin();
    let asked = std::slice::from_ref(&partition);
    let commit = OffsetCommit {
        partition: partition.clone(),
        offset: 3,
        metadata: "why".to_owned(),
    };
    admin
        .commit_offsets("c-plain", vec![commit])
        .await
        .expect("committed");
    let found = admin
        .committed("c-plain", asked)
        .await
        .expect("committed offsets");
    assert_eq!(
        (found[0].offset, found[0].metadata.as_str()),
        (Some(3), "why")
    );
    let groups = admin.groups().await.expect("groups");
    let group = groups.iter().find(|group| group.name == "c-plain");
    let group = group.expect("a group that has committed is listed");
    assert_eq!(group.state, "Empty");
    assert_eq!(group.offsets, [(partition.clone(), 3)]);
    assert!(groups.is_sorted_by_key(|group| &group.name));
    admin.delete_group("c-plain").await.expect("deleted");
    let groups = admin.groups().await.expect("groups");
    assert!(groups.iter().all(|group| group.name != "c-plain"));
    admin
        .delete_group("c-plain")
        .await
        .expect("a group that never was is fine");
    let found = admin
        .committed("c-plain", asked)
        .await
        .expect("committed offsets");
    assert_eq!(found[0].offset, None);
}

/// The next change of a member.
async fn change(member: &mut dyn Membership) -> Change {
    for _ in 0..POLLS_MAX {
        let next = member.next(Duration::from_millis(100)).await;
        if let Some(change) = next.expect("a member of the group") {
            return change;
        }
    }
    panic!("nothing becomes of a member");
}

/// The numbers of the partitions that a member gets next, and who it is then.
async fn assigned(member: &mut dyn Membership) -> (Vec<i32>, GroupMember) {
    match change(member).await {
        Change::Assigned { partitions, member } => {
            let numbers = partitions.iter().map(|one| one.partition);
            (numbers.collect(), member)
        }
        Change::Revoked => panic!("a share is revoked before there is one"),
    }
}

async fn revoked(member: &mut dyn Membership) {
    let change = change(member).await;
    assert!(
        matches!(change, Change::Revoked),
        "{change:?} before the share was revoked"
    );
}

async fn members_share_partitions_and_past_ones_are_fenced(log: &dyn Log) {
    let partition = topic(log, "c-members", 4).await;
    let join = async || {
        let options = MembershipOptions {
            group: "c-members".to_owned(),
            topics: vec!["c-members".to_owned()],
            session: Duration::from_secs(6),
        };
        log.membership(options)
            .await
            .expect("a member of the group")
    };
    let commit = async |id: &str, member: &GroupMember, offset| {
        let mut transaction = open(log, id).await;
        let commit = OffsetCommit {
            partition: partition.clone(),
            offset,
            metadata: String::new(),
        };
        match transaction.commit_offsets_of(member, vec![commit]).await {
            Ok(()) => transaction.commit().await.map(drop),
            Err(error) => Err(error),
        }
    };
    let mut first = join().await;
    let (numbers, alone) = assigned(first.as_mut()).await;
    assert_eq!(numbers, [0, 1, 2, 3], "who is alone has everything");
    assert_eq!(commit("c-members-1", &alone, 1).await, Ok(()));

    let mut second = join().await;
    let gives_way = async {
        revoked(first.as_mut()).await;
        let last = commit("c-members-1", &alone, 2).await;
        assert_eq!(
            last,
            Ok(()),
            "what was done before is committed after the revocation"
        );
        assigned(first.as_mut()).await
    };
    let ((own, now), (others, other)) = tokio::join!(gives_way, assigned(second.as_mut()));
    assert_eq!((own.len(), others.len()), (2, 2), "shares of two members");
    let mut all = [own, others].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3], "every partition belongs to one of them");

    let fenced = Err(TransactionError::Fenced("c-members-2".to_owned()));
    let past = commit("c-members-2", &alone, 3).await;
    assert_eq!(past, fenced, "a member of a generation that is past");
    assert_eq!(commit("c-members-1", &now, 4).await, Ok(()));
    assert_eq!(commit("c-members-3", &other, 5).await, Ok(()));
    let committed = log.admin().committed("c-members", &[partition]).await;
    assert_eq!(committed.expect("committed offsets")[0].offset, Some(5));

    second.leave().await.expect("left");
    revoked(first.as_mut()).await;
    let (numbers, _) = assigned(first.as_mut()).await;
    assert_eq!(
        numbers,
        [0, 1, 2, 3],
        "what a member leaves goes to the others"
    );
}

async fn what_does_not_exist_is_named(log: &dyn Log) {
    let partition = TopicPartition::new("c-nowhere", 0);
    let asked = vec![(partition.clone(), Start::Earliest)];
    match log.reader(ReaderOptions::default(), asked).await {
        Err(error) => assert_eq!(error, ReadError::UnknownPartition(partition)),
        Ok(_) => panic!("a reader of a partition that does not exist"),
    }
    let partition = topic(log, "c-large", 1).await;
    let value = vec![b'x'; 4 << 20];
    let mut large = BatchBuilder::new(Compression::None);
    large.append(0, None, Some(&value), &[]);
    let writer = log.writer().await.expect("a writer");
    match writer.append(&partition, large).await {
        Err(WriteError::TooLarge {
            partition: named,
            bytes,
        }) => {
            assert_eq!(named, partition);
            assert!(bytes >= value.len());
        }
        other => panic!("a batch over max.message.bytes is refused as too large, not {other:?}"),
    }
}
