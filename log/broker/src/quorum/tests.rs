//! Topics through restarts, crashes and refusals.

use bytes::Bytes;
use log_protocol::{BatchBuilder, Compression, ErrorCode, ProducerStamp};

use super::*;
use crate::partition::AppendOrigin;
use crate::storage::{Isolation, Partition};

const NOW: i64 = 1_700_000_000_000;

fn open(folder: &Path) -> Topics {
    Topics::open(folder, StorageOptions::default()).expect("open")
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(NOW, Some(b"k"), Some(b"v"), &[]);
    builder.build(ProducerStamp::NONE)
}

fn put(partition: &Partition) -> i64 {
    partition
        .append(batch(), AppendOrigin::Client, NOW)
        .expect("append")
        .base_offset
}

#[test]
fn topics_and_records_come_back_after_a_clean_close() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    assert_eq!(topics.start_kind(), StartKind::Fresh);
    let cluster = topics.cluster_id().to_owned();
    assert_eq!(cluster.len(), 22);
    let topic = topics
        .create("orders", 3, &configs(&[("retention.ms", "5")]), false)
        .expect("create");
    topics
        .create(
            "__state",
            50,
            &configs(&[("cleanup.policy", "compact"), ("flush", "sync")]),
            true,
        )
        .expect("create");
    let id = topic.id();
    assert_eq!(put(&topic.partition(1).expect("partition")), 0);
    topics.grow("orders", 5).expect("grow");
    put(&topic.partition(4).expect("new partition"));
    let changes = [
        ("retention.ms".to_owned(), None),
        ("segment.ms".to_owned(), Some("77".to_owned())),
    ];
    topics.alter("orders", &changes).expect("alter");
    assert_eq!(
        topic.partition(0).expect("partition").config().segment_ms,
        77
    );
    let producer = topics.next_producer_id().expect("id");
    topics.close().expect("close");
    assert!(topics.create("late", 1, &BTreeMap::new(), false).is_err());
    drop(topics);
    drop(topic);

    let topics = open(folder.path());
    assert_eq!(
        (topics.start_kind(), topics.cluster_id()),
        (StartKind::Clean, cluster.as_str())
    );
    let topic = topics.get("orders").expect("there");
    assert_eq!(
        (topic.id(), topic.partitions(), topic.is_internal()),
        (id, 5, false)
    );
    assert_eq!(topics.by_id(id).expect("there").name(), topic.name());
    assert_eq!(topic.set_configs(), configs(&[("segment.ms", "77")]));
    let partition = topic.partition(1).expect("partition");
    assert_eq!(
        (partition.high_watermark(), partition.leader_epoch()),
        (1, 0)
    );
    assert_eq!(partition.synced_offset(), 1);
    assert!(topics.get("__state").expect("there").is_internal());
    assert_eq!(
        topics
            .list()
            .iter()
            .map(|topic| topic.name().to_string())
            .collect::<Vec<_>>(),
        ["__state", "orders"]
    );
    assert!(topics.next_producer_id().expect("id") > producer);
}

#[test]
fn a_crash_raises_the_leader_epoch_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics
        .create("orders", 1, &BTreeMap::new(), false)
        .expect("create");
    for _ in 0..10 {
        put(&topic.partition(0).expect("partition"));
    }
    // As kill -9 does: nothing is closed, the page cache stays.
    drop((topics, topic));
    let topics = open(folder.path());
    assert_eq!(topics.start_kind(), StartKind::ProcessCrash);
    let partition = topics
        .get("orders")
        .expect("there")
        .partition(0)
        .expect("partition");
    assert_eq!(
        (partition.high_watermark(), partition.leader_epoch()),
        (10, 1)
    );
    assert_eq!(partition.end_offset_for_epoch(0), (0, 10));
    // A topic that is made later begins with epoch 0.
    let young = topics
        .create("young", 1, &BTreeMap::new(), false)
        .expect("create");
    assert_eq!(young.partition(0).expect("partition").leader_epoch(), 0);
    drop((topics, partition, young));
    let topics = open(folder.path());
    let epoch = |name: &str| {
        topics
            .get(name)
            .expect("there")
            .partition(0)
            .expect("partition")
            .leader_epoch()
    };
    assert_eq!((epoch("orders"), epoch("young")), (2, 1));
}

#[test]
fn a_folder_is_looked_at_from_outside() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    for (name, partitions) in [("orders", 2), ("clicks", 1), ("gone", 1)] {
        let topic = topics.create(name, partitions, &BTreeMap::new(), false);
        let topic = topic.expect("create");
        for _ in 0..3 {
            put(&topic.partition(0).expect("partition"));
        }
    }
    topics.delete("gone").expect("delete");
    let id = topics.get("orders").expect("there").id().simple();
    topics.close().expect("close");
    let names = fs::read_to_string(folder.path().join("names")).expect("the list");
    let lines: Vec<&str> = names.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{names}");
    assert_eq!(lines[1], format!("orders\tpartitions/{id}-*"));

    let look = |records| inspect(folder.path(), records).expect("looked at");
    let seen = look(true);
    let names: Vec<_> = seen
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .collect();
    assert_eq!(names, ["clicks", "orders"]);
    assert!(seen.unclaimed.is_empty() && seen.torn_bytes == 0);
    let orders = &seen.topics[1].partitions;
    assert_eq!((orders.len(), &orders[0].damage), (2, &None));
    assert!(orders[0].bytes > orders[1].bytes);

    // A bit of the first batch turns; the last batch is cut off after the log was closed, or as by a crash before its first checkpoint.
    let segment = orders[0].folder.join("00000000000000000000.log");
    let whole = fs::read(&segment).expect("read");
    let mut wrong = whole.clone();
    wrong[65] ^= 1;
    fs::write(&segment, &wrong).expect("write");
    assert_eq!(look(false).topics[1].partitions[0].damage, None);
    let damage = look(true).topics[1].partitions[0].damage.clone();
    let damage = damage.expect("told");
    assert!(
        damage.starts_with("00000000000000000000.log: byte 0, offset 0: "),
        "{damage}"
    );
    fs::write(&segment, &whole[..whole.len() - 5]).expect("write");
    let damage = look(false).topics[1].partitions[0].damage.clone();
    let damage = damage.expect("told");
    assert!(damage.contains("0.log has "), "{damage}");
    assert!(damage.contains("below offset 3 were on disk"), "{damage}");
    fs::remove_file(orders[0].folder.join("checkpoint")).expect("removed");
    assert_eq!(look(false).topics[1].partitions[0].damage, None);
    let damage = look(true).topics[1].partitions[0].damage.clone();
    let damage = damage.expect("told");
    assert!(damage.contains("the log ends at offset 2"), "{damage}");
    fs::remove_file(folder.path().join("ends")).expect("removed");
    assert_eq!(look(true).topics[1].partitions[0].damage, None);

    let stranger = folder
        .path()
        .join(format!("partitions/{}-0", Uuid::new_v4().simple()));
    fs::create_dir(&stranger).expect("made");
    let seen = look(false);
    assert_eq!(seen.unclaimed, [stranger]);
    let path = folder.path().join("metadata.log");
    let mut list = fs::read(&path).expect("read");
    list.truncate(list.len() - 3);
    fs::write(&path, &list).expect("write");
    assert!(look(false).torn_bytes > 0);
    list[20] ^= 1;
    fs::write(&path, &list).expect("write");
    assert!(inspect(folder.path(), false).is_err());
}

#[test]
fn a_partition_that_lost_its_files_is_offline_until_they_are_back() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics.create("orders", 2, &BTreeMap::new(), false);
    let topic = topic.expect("create");
    for _ in 0..3 {
        put(&topic.partition(0).expect("partition"));
    }
    let files = topic.partition(0).expect("partition").folder().to_owned();
    topics.close().expect("close");
    drop((topics, topic));
    let aside = folder.path().join("aside");
    fs::rename(&files, &aside).expect("moved");

    // Twice, so that what is known survives a stop without the files.
    for _ in 0..2 {
        let damage = inspect(folder.path(), false).expect("looked at").topics[0].partitions[0]
            .damage
            .clone();
        assert!(damage.expect("told").contains("is missing"));
        let topics = open(folder.path());
        let offline = topics.offline();
        assert_eq!(offline.len(), 1, "{offline:?}");
        let text = offline[0].to_string();
        assert!(text.contains("orders-0") && text.contains("below offset 3"));
        let topic = topics.get("orders").expect("there");
        let lost = topic.partition(0).expect("partition");
        let read = lost.read(0, 100, Isolation::ReadUncommitted);
        let code = read.map(|_| ()).expect_err("offline").code();
        assert_eq!(code, ErrorCode::KafkaStorageError);
        let appended = lost.append(batch(), AppendOrigin::Client, NOW);
        assert_eq!(
            appended.expect_err("offline").code(),
            ErrorCode::KafkaStorageError
        );
        put(&topic.partition(1).expect("the other serves"));
        topics.close().expect("close");
    }
    assert!(!files.exists(), "nothing was made in its place");

    fs::rename(&aside, &files).expect("moved back");
    let topics = open(folder.path());
    assert_eq!(topics.offline(), []);
    let partition = topics.get("orders").expect("there").partition(0);
    assert_eq!(put(&partition.expect("partition")), 3);
    topics.close().expect("close");
    drop(topics);

    fs::remove_dir_all(&files).expect("removed");
    fs::create_dir(&files).expect("made");
    fs::write(files.join("accept-loss"), "").expect("written");
    let topics = open(folder.path());
    assert_eq!(topics.offline(), []);
    let partition = topics.get("orders").expect("there").partition(0);
    let partition = partition.expect("partition");
    assert_eq!((partition.log_start_offset(), put(&partition)), (4, 4));
}

#[test]
fn deleted_records_stay_deleted_though_the_checkpoint_is_lost() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics.create("orders", 1, &BTreeMap::new(), false);
    let partition = topic.expect("create").partition(0).expect("partition");
    for _ in 0..3 {
        put(&partition);
    }
    assert_eq!(partition.delete_records(2), Ok(2));
    let checkpoint = partition.folder().join("checkpoint");
    topics.close().expect("close");
    drop((topics, partition));
    fs::remove_file(checkpoint).expect("removed");
    let topics = open(folder.path());
    let partition = topics.get("orders").expect("there").partition(0);
    let partition = partition.expect("partition");
    assert_eq!(
        (partition.log_start_offset(), partition.high_watermark()),
        (2, 3)
    );
    topics.close().expect("close");
}

#[test]
fn folders_that_were_exchanged_serve_nobody_elses_records() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let made = ["orders", "clicks"].map(|name| {
        let topic = topics.create(name, 1, &BTreeMap::new(), false);
        let partition = topic.expect("create").partition(0).expect("partition");
        put(&partition);
        partition.folder().to_owned()
    });
    topics.close().expect("close");
    drop(topics);
    let exchange = || {
        let aside = folder.path().join("aside");
        fs::rename(&made[0], &aside).expect("moved");
        fs::rename(&made[1], &made[0]).expect("moved");
        fs::rename(&aside, &made[1]).expect("moved");
    };
    exchange();
    for topic in inspect(folder.path(), false).expect("looked at").topics {
        let damage = topic.partitions[0].damage.clone().expect("told");
        assert!(damage.contains("holds the records of"), "{damage}");
    }
    let topics = open(folder.path());
    assert_eq!(topics.offline().len(), 2);
    topics.close().expect("close");
    drop(topics);
    exchange();
    let topics = open(folder.path());
    assert_eq!(topics.offline(), []);
    topics.close().expect("close");
    drop(topics);
    // Whoever means it says so.
    fs::remove_dir_all(&made[0]).expect("removed");
    fs::rename(&made[1], &made[0]).expect("moved");
    fs::remove_file(made[0].join("partition")).expect("removed");
    let topics = open(folder.path());
    assert_eq!(topics.offline().len(), 1);
    let orders = topics.get("orders").expect("there").partition(0);
    assert_eq!(put(&orders.expect("partition")), 1);
}

#[test]
fn a_topic_created_anew_does_not_find_old_records() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let old = topics
        .create("orders", 1, &BTreeMap::new(), false)
        .expect("create");
    let partition = old.partition(0).expect("partition");
    put(&partition);
    topics.delete("orders").expect("delete");
    assert!(topics.get("orders").is_none() && topics.by_id(old.id()).is_none());
    assert!(partition.read(0, 10, Isolation::ReadCommitted).is_err());
    assert_eq!(
        topics.delete("orders"),
        Err(TopicError::Unknown("orders".to_owned()))
    );
    let new = topics
        .create("orders", 1, &BTreeMap::new(), false)
        .expect("create");
    assert_ne!(new.id(), old.id());
    assert_eq!(new.partition(0).expect("partition").high_watermark(), 0);
    drop((topics, old, new, partition));
    // What the deletion left is removed at the next start.
    let topics = open(folder.path());
    topics.close().expect("close");
    assert_eq!(
        fs::read_dir(folder.path().join("partitions"))
            .expect("list")
            .count(),
        0
    );
}

#[test]
fn refusals_name_the_topic_and_change_nothing() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let none = BTreeMap::new();
    topics.create("orders", 2, &none, false).expect("create");
    let code = |result: Result<Arc<Topic>, TopicError>| result.expect_err("refused").code();
    assert_eq!(
        code(topics.create("orders", 2, &none, false)),
        ErrorCode::TopicAlreadyExists
    );
    assert_eq!(
        code(topics.create("a/b", 2, &none, false)),
        ErrorCode::InvalidTopicException
    );
    assert_eq!(
        code(topics.create("x", 0, &none, false)),
        ErrorCode::InvalidPartitions
    );
    assert_eq!(
        code(topics.create("x", i32::MAX, &none, false)),
        ErrorCode::InvalidPartitions
    );
    assert_eq!(
        code(topics.create("x", 1, &configs(&[("colour", "red")]), false)),
        ErrorCode::InvalidConfig
    );
    assert_eq!(
        topics.grow("orders", 2).expect_err("no rise").code(),
        ErrorCode::InvalidPartitions
    );
    let wrong = [("retention.ms".to_owned(), Some("x".to_owned()))];
    assert_eq!(
        topics.alter("orders", &wrong).expect_err("wrong").code(),
        ErrorCode::InvalidConfig
    );
    assert_eq!(
        topics
            .check_alter("nope", &wrong)
            .expect_err("unknown")
            .code(),
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(topics.list().len(), 1);
    assert!(
        topics
            .get("orders")
            .expect("there")
            .set_configs()
            .is_empty()
    );
}

#[test]
fn producer_ids_are_never_given_twice() {
    let folder = tempfile::tempdir().expect("tempdir");
    let mut last = -1;
    for _ in 0..3 {
        let topics = open(folder.path());
        for _ in 0..1500 {
            let id = topics.next_producer_id().expect("id");
            assert!(id > last);
            last = id;
        }
    }
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let error = Topics::open(folder.path(), StorageOptions::default()).expect_err("locked");
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    drop(topics);
    open(folder.path());
}

#[test]
fn a_folder_that_was_closed_can_be_opened_though_somebody_still_reads() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics
        .create("orders", 1, &BTreeMap::new(), false)
        .expect("create");
    topics.close().expect("closed");
    let again = open(folder.path());
    assert!(again.get("orders").is_some());
    let refused = topics.create("late", 1, &BTreeMap::new(), false);
    assert!(
        matches!(refused, Err(TopicError::Offline(_))),
        "{refused:?}"
    );
    drop(topic);
}

#[test]
fn names_that_differ_in_dots_and_underscores_alone_collide() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let create = |name| topics.create(name, 1, &BTreeMap::new(), false);
    create("a.b_c").expect("create");
    let refused = create("a_b.c").expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "topic a_b.c collides with topic a.b_c: names must differ in more than '.' and '_'"
    );
    create("a-b_c").expect("another name");
    topics.delete("a.b_c").expect("delete");
    create("a_b.c").expect("the name is free");
}

#[test]
fn maintenance_syncs_in_the_background() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics
        .create("orders", 1, &BTreeMap::new(), false)
        .expect("create");
    let partition = topic.partition(0).expect("partition");
    put(&partition);
    topics.maintain(NOW + 100);
    topics.maintain(NOW + 400);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    runtime.block_on(partition.sync()).expect("sync");
    assert_eq!(partition.synced_offset(), 1);
    topics.close().expect("close");
    topics.close().expect("twice is fine");
}

fn folders(folder: &Path) -> usize {
    fs::read_dir(folder.join("partitions"))
        .expect("list")
        .count()
}

#[test]
fn folders_that_no_record_deletes_are_left() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics
        .create("orders", 1, &BTreeMap::new(), false)
        .expect("create");
    put(&topic.partition(0).expect("partition"));
    drop((topics, topic));
    // The metadata is another's, or lost.
    let metadata = folder.path().join("metadata.log");
    let own = fs::read(&metadata).expect("read");
    let other = tempfile::tempdir().expect("tempdir");
    drop(open(other.path()));
    fs::copy(other.path().join("metadata.log"), &metadata).expect("copy");
    let topics = open(folder.path());
    assert!(topics.list().is_empty());
    topics.close().expect("close");
    drop(topics);
    assert_eq!(folders(folder.path()), 1);
    fs::remove_file(&metadata).expect("remove");
    let error = Topics::open(folder.path(), StorageOptions::default()).expect_err("refused");
    assert!(
        error.to_string().contains("there are partitions"),
        "{error}"
    );
    fs::write(&metadata, own).expect("write");
    assert!(open(folder.path()).get("orders").is_some());
}

#[test]
fn a_damaged_partition_is_offline_and_the_rest_serves() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    let topic = topics
        .create("orders", 3, &BTreeMap::new(), false)
        .expect("create");
    for partition in topic.all() {
        put(&partition);
        put(&partition);
    }
    topics.close().expect("close");
    let name = format!("{}-1", topic.id().simple());
    drop((topics, topic));
    let path = folder.path().join("partitions").join(name);
    let file = path.join("00000000000000000000.log");
    let sound = fs::read(&file).expect("read");
    let mut wrong = sound.clone();
    wrong[16] = 9;
    fs::write(&file, &wrong).expect("write");
    for ending in ["index", "timeindex"] {
        fs::remove_file(path.join(format!("00000000000000000000.{ending}"))).expect("remove");
    }

    let topics = open(folder.path());
    let topic = topics.get("orders").expect("there");
    let damaged = topic.partition(1).expect("partition");
    let refused = damaged
        .append(batch(), AppendOrigin::Client, NOW)
        .expect_err("offline");
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    let refused = damaged
        .read(0, 10, Isolation::ReadCommitted)
        .expect_err("offline");
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    let offline = topics.offline();
    assert_eq!(offline.len(), 1);
    let reason = offline[0].to_string();
    assert!(
        reason.contains("orders-1") && reason.contains("00000000000000000000.log"),
        "{reason}"
    );
    for healthy in [0, 2] {
        assert_eq!(put(&topic.partition(healthy).expect("partition")), 2);
    }
    topics.close().expect("close");
    drop((topics, topic, damaged));

    fs::write(&file, sound).expect("write");
    let topics = open(folder.path());
    assert!(topics.start_kind().is_unclean());
    let topic = topics.get("orders").expect("there");
    let ends = topic
        .all()
        .iter()
        .map(|one| one.high_watermark())
        .collect::<Vec<_>>();
    assert_eq!(ends, [3, 2, 3]);
}

#[test]
fn metadata_that_lost_topics_which_were_written_to_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("tempdir");
    let topics = open(folder.path());
    for name in ["orders", "clicks", "empty"] {
        let topic = topics.create(name, 1, &BTreeMap::new(), false);
        let topic = topic.expect("create");
        if name != "empty" {
            put(&topic.partition(0).expect("partition"));
        }
    }
    let id = topics.get("clicks").expect("there").id().simple();
    topics.close().expect("close");
    drop(topics);
    let path = folder.path().join("metadata.log");
    let whole = fs::read(&path).expect("read");
    let needle = id.to_string();
    // Ids are written with or without hyphens.
    let text = String::from_utf8_lossy(&whole).replace('-', "");
    assert!(text.contains(&needle));
    let refused = |named: &str| {
        let before = fs::read(&path).ok();
        let told = Topics::open(folder.path(), StorageOptions::default())
            .map(|_| ())
            .expect_err(named)
            .to_string();
        assert!(told.contains(named), "{told}");
        assert_eq!(fs::read(&path).ok(), before, "{told}");
        if before.is_some() {
            let seen = inspect(folder.path(), false).expect_err(named).to_string();
            assert!(seen.contains("metadata.log is corrupt"), "{seen}");
        }
    };
    let at = |name: &str| {
        let name = format!("\"{name}\"");
        let found = whole
            .windows(name.len())
            .position(|part| part == name.as_bytes());
        found.expect("its record")
    };
    fs::write(&path, &whole[..at("clicks")]).expect("cut");
    refused(&format!("partitions/{id}-*"));
    fs::write(&path, &whole[..8]).expect("cut");
    refused("there are partitions");
    fs::write(&path, "").expect("emptied");
    refused("there are partitions");
    fs::remove_file(&path).expect("removed");
    refused("there are partitions");
    assert!(!path.exists(), "nothing was made in its place");
    // A record that was never acted upon is cut off as before.
    fs::write(&path, &whole[..at("empty")]).expect("cut");
    let topics = open(folder.path());
    assert!(topics.get("empty").is_none() && topics.get("clicks").is_some());
}
