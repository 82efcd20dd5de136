//! Produce: what a batch may be, where it may go, and in which order.

use bytes::Bytes;
use log_protocol::api::init_producer_id::InitProducerIdRequest;
use log_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use log_protocol::{BatchBuilder, Compression, ErrorCode, ProducerStamp, Response};
use uuid::Uuid;

use super::batch::{TIME_MS, at, damaged, edited, plain, records, resealed, stamp};
use super::talk::Talk;

/// A batch for a partition of a topic, by name and id: the version chooses.
pub(super) fn to(topic: &str, id: Uuid, index: i32, records: Option<Bytes>) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 5000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            topic_id: id,
            partition_data: vec![PartitionProduceData { index, records }],
        }],
        ..ProduceRequest::default()
    }
}

pub(super) async fn run(talk: &mut Talk) {
    addresses(talk).await;
    unsound_batches(talk).await;
    unsound_records(talk).await;
    codecs(talk).await;
    rules_of_topics(talk).await;
    sequences(talk).await;
    transactional_requests(talk).await;
}

async fn addresses(talk: &mut Talk) {
    let id = talk.topic("p", 2, &[]).await;
    let good = |_| to("p", id, 0, Some(plain()));
    talk.versions("good", 3..=13, good).await;
    for acks in [2, -2, 127] {
        let request = |_| ProduceRequest {
            acks,
            ..to("p", id, 0, Some(plain()))
        };
        talk.versions(format!("acks {acks}"), 3..=13, request).await;
    }
    for timeout_ms in [0, -1, i32::MAX] {
        let request = ProduceRequest {
            timeout_ms,
            acks: 1,
            ..to("p", id, 0, Some(plain()))
        };
        talk.one(format!("timeout {timeout_ms}"), 9, request).await;
    }
    for index in [2, -1, i32::MAX, i32::MIN] {
        let request = |_| to("p", id, index, Some(plain()));
        talk.versions(format!("partition {index}"), 3..=13, request)
            .await;
    }
    let long = "n".repeat(300);
    let limit = "n".repeat(249);
    for name in [
        "nowhere",
        "",
        ".",
        "..",
        "a/b",
        "ü",
        "__consumer_offsets",
        &long,
        &limit,
    ] {
        let label = name
            .get(..1)
            .filter(|_| name.len() > 200)
            .map_or(name.to_owned(), |one| format!("{one} times {}", name.len()));
        let request = |_| to(name, Uuid::nil(), 0, Some(plain()));
        talk.versions(format!("topic {label:?}"), 3..=13, request)
            .await;
    }
    let unknown = to("p", Uuid::from_u128(7), 0, Some(plain()));
    talk.one("a name and an unknown id", 13, unknown).await;

    let mut twice = to("p", id, 0, Some(plain()));
    let again = twice.topic_data[0].partition_data[0].clone();
    twice.topic_data[0].partition_data.push(again);
    talk.versions("a partition twice", 3..=13, |_| twice.clone())
        .await;
    let mut twice = to("p", id, 0, Some(plain()));
    twice
        .topic_data
        .push(to("p", id, 1, Some(plain())).topic_data.remove(0));
    talk.versions("a topic twice", 3..=13, |_| twice.clone())
        .await;
    let mut mixed = to("p", id, 0, Some(plain()));
    mixed.topic_data[0]
        .partition_data
        .push(PartitionProduceData {
            index: 9,
            records: Some(plain()),
        });
    mixed.topic_data.push(
        to("nowhere", Uuid::nil(), 0, Some(plain()))
            .topic_data
            .remove(0),
    );
    talk.versions("good beside bad", 3..=13, |_| mixed.clone())
        .await;

    let mut empty = to("p", id, 0, None);
    empty.topic_data.clear();
    talk.versions("no topics", 3..=13, |_| empty.clone()).await;
    let mut empty = to("p", id, 0, None);
    empty.topic_data[0].partition_data.clear();
    talk.versions("no partitions", 3..=13, |_| empty.clone())
        .await;
    talk.one("null records", 9, to("p", id, 0, None)).await;
    talk.versions("empty records", 3..=13, |_| {
        to("p", id, 0, Some(Bytes::new()))
    })
    .await;

    for (name, request) in [
        ("acks 0", to("p", id, 0, Some(plain()))),
        ("acks 0 to nowhere", to("nowhere", id, 0, Some(plain()))),
        (
            "acks 0 and a bad batch",
            to("p", id, 0, Some(damaged(&plain(), 40, &[1]))),
        ),
        ("acks 0 and no topics", ProduceRequest::default()),
    ] {
        talk.case(name);
        talk.silent(9, ProduceRequest { acks: 0, ..request }).await;
    }
}

/// A sound batch and its header's fields, one wrong each.
async fn unsound_batches(talk: &mut Talk) {
    let id = talk.topic("unsound", 1, &[]).await;
    let good = plain();
    let with = |place, bytes: &[u8]| edited(&good, place, bytes);
    let mut two = good.to_vec();
    two.extend_from_slice(&good);
    let mut trailing = good.to_vec();
    trailing.extend_from_slice(&[0; 7]);
    let mut garbage = good.to_vec();
    garbage.extend_from_slice(&[9; 80]);
    let cases: Vec<(&str, Bytes)> = vec![
        ("cut off at 10", good.slice(..10)),
        ("cut off at 40", good.slice(..40)),
        ("cut off at 61", good.slice(..61)),
        ("cut off by one", good.slice(..good.len() - 1)),
        ("magic 0", damaged(&good, 16, &[0])),
        ("magic 1", damaged(&good, 16, &[1])),
        ("magic 3", damaged(&good, 16, &[3])),
        ("magic -1", damaged(&good, 16, &[0xff])),
        ("crc", damaged(&good, 17, &[1, 2, 3, 4])),
        (
            "content behind its crc",
            damaged(&good, good.len() - 1, &[0x7f]),
        ),
        ("length 0", damaged(&good, 8, &0i32.to_be_bytes())),
        ("length -1", damaged(&good, 8, &(-1i32).to_be_bytes())),
        (
            "length of 2 GiB",
            damaged(&good, 8, &i32::MAX.to_be_bytes()),
        ),
        (
            "length of a header",
            damaged(&good, 8, &49i32.to_be_bytes()),
        ),
        ("two batches", two.into()),
        ("seven more bytes", trailing.into()),
        ("eighty more bytes", garbage.into()),
        ("base offset 77", damaged(&good, 0, &77i64.to_be_bytes())),
        ("base offset -1", damaged(&good, 0, &(-1i64).to_be_bytes())),
        ("leader epoch 9", damaged(&good, 12, &9i32.to_be_bytes())),
        ("codec 5", with(21, &[0, 5])),
        ("codec 7", with(21, &[0, 7])),
        ("append time said by the client", with(21, &[0, 8])),
        ("transactional of nobody", with(21, &[0, 0x10])),
        ("control", with(21, &[0, 0x20])),
        ("delete horizon", with(21, &[0, 0x40])),
        ("unknown attribute 0x80", with(21, &[0, 0x80])),
        ("unknown attribute 0x4000", with(21, &[0x40, 0])),
        ("last offset delta 0 of two", with(23, &0i32.to_be_bytes())),
        ("last offset delta 5 of two", with(23, &5i32.to_be_bytes())),
        ("last offset delta -1", with(23, &(-1i32).to_be_bytes())),
        ("count 0", with(57, &0i32.to_be_bytes())),
        ("count -1", with(57, &(-1i32).to_be_bytes())),
        ("count 1 of two", with(57, &1i32.to_be_bytes())),
        (
            "count and delta of three, two are there",
            edited(&with(23, &2i32.to_be_bytes()), 57, &3i32.to_be_bytes()),
        ),
        (
            "count and delta of one, two are there",
            edited(&with(23, &0i32.to_be_bytes()), 57, &1i32.to_be_bytes()),
        ),
        (
            "count and delta of 2^31",
            edited(
                &with(23, &(i32::MAX - 1).to_be_bytes()),
                57,
                &i32::MAX.to_be_bytes(),
            ),
        ),
        (
            "no records",
            edited(&resealed(good[..61].to_vec()), 57, &0i32.to_be_bytes()),
        ),
        ("base time -1", with(27, &(-1i64).to_be_bytes())),
        ("base time -2", with(27, &(-2i64).to_be_bytes())),
        (
            "largest time that lies",
            with(35, &(TIME_MS + 5000).to_be_bytes()),
        ),
        ("largest time -1", with(35, &(-1i64).to_be_bytes())),
        ("a producer without epoch", with(43, &5i64.to_be_bytes())),
        (
            "a producer without sequence",
            edited(&with(43, &5i64.to_be_bytes()), 51, &0i16.to_be_bytes()),
        ),
        ("a sequence of nobody", with(53, &0i32.to_be_bytes())),
        ("an epoch of nobody", with(51, &3i16.to_be_bytes())),
        ("producer -2", with(43, &(-2i64).to_be_bytes())),
    ];
    for (name, batch) in cases {
        for version in [3, 8, 13] {
            talk.one(name, version, to("unsound", id, 0, Some(batch.clone())))
                .await;
        }
    }
}

/// One record `k=v`: bytes 61 on are length 8, attributes, time delta, offset delta, key length 1, k, value length 1, v, headers 0.
async fn unsound_records(talk: &mut Talk) {
    let id = talk.topic("records", 1, &[]).await;
    let good = at(TIME_MS);
    let with = |place: usize, byte: u8| edited(&good, 61 + place, &[byte]);
    let longer = |bytes: &[u8]| {
        let mut batch = good.to_vec();
        batch.extend_from_slice(bytes);
        resealed(batch)
    };
    // Zigzag: 1 is -1, 2 is 1.
    let cases: Vec<(&str, Bytes)> = vec![
        ("record attributes", with(1, 0x55)),
        ("time delta -1", with(2, 1)),
        ("offset delta 1", with(3, 2)),
        ("offset delta -1", with(3, 1)),
        (
            "null key",
            resealed({
                let mut batch = good.to_vec();
                batch.remove(61 + 5);
                batch[61 + 4] = 1;
                batch[61] = 14;
                batch
            }),
        ),
        ("key length -2", with(4, 3)),
        ("key length 60", with(4, 120)),
        ("value length -2", with(6, 3)),
        ("value length 0", with(6, 0)),
        ("value length 60", with(6, 120)),
        ("headers -1", with(8, 1)),
        ("headers 1, none there", with(8, 2)),
        ("headers of 2^31", with(8, 0x7e)),
        ("record length 0", with(0, 0)),
        ("record length -1", with(0, 1)),
        ("record length too small", with(0, 14)),
        ("record length too large", with(0, 60)),
        (
            "a length that never ends",
            edited(&longer(&[0xff; 4]), 61, &[0xff; 10]),
        ),
        ("a byte behind the records", longer(&[0])),
        ("a record more than counted", longer(&good[61..])),
    ];
    for (name, batch) in cases {
        talk.one(name, 9, to("records", id, 0, Some(batch))).await;
    }
    let mut header = BatchBuilder::new(Compression::None);
    header.append(
        TIME_MS,
        None,
        None,
        &[("h", None), ("h", Some(b"x")), ("", Some(b""))],
    );
    let header = header.build(ProducerStamp::NONE);
    talk.one(
        "headers, null and empty and twice",
        9,
        to("records", id, 0, Some(header.clone())),
    )
    .await;
    let mut gap = records(2, Compression::None, ProducerStamp::NONE).to_vec();
    let second = 61 + 11;
    assert_eq!(gap[second + 3], 2, "the offset delta of the second record");
    gap[second + 3] = 6;
    talk.one(
        "offsets with a gap",
        9,
        to("records", id, 0, Some(resealed(gap))),
    )
    .await;
}

async fn codecs(talk: &mut Talk) {
    for codec in Compression::ALL {
        let topic = format!("codec-{codec}");
        let id = talk.topic(&topic, 1, &[]).await;
        let batch = records(20, codec, ProducerStamp::NONE);
        let request = |_| to(&topic, id, 0, Some(batch.clone()));
        talk.versions(format!("{codec}"), 6..=8, request).await;
        let torn = resealed(batch[..batch.len() - 3].to_vec());
        talk.one(format!("{codec}, torn"), 9, to(&topic, id, 0, Some(torn)))
            .await;
        let mut more = batch.to_vec();
        more.extend_from_slice(&[1, 2, 3]);
        talk.one(
            format!("{codec}, and more"),
            9,
            to(&topic, id, 0, Some(resealed(more))),
        )
        .await;
        let garbage = edited(&plain(), 21, &codec.code().to_be_bytes());
        talk.one(
            format!("{codec}, but plain"),
            9,
            to(&topic, id, 0, Some(garbage)),
        )
        .await;
        let empty = edited(&resealed(batch[..61].to_vec()), 57, &20i32.to_be_bytes());
        talk.one(
            format!("{codec}, nothing"),
            9,
            to(&topic, id, 0, Some(empty)),
        )
        .await;
        let few = edited(
            &edited(&batch, 23, &20i32.to_be_bytes()),
            57,
            &21i32.to_be_bytes(),
        );
        talk.one(
            format!("{codec}, one less than counted"),
            9,
            to(&topic, id, 0, Some(few)),
        )
        .await;
        let many = edited(
            &edited(&batch, 23, &18i32.to_be_bytes()),
            57,
            &19i32.to_be_bytes(),
        );
        talk.one(
            format!("{codec}, one more than counted"),
            9,
            to(&topic, id, 0, Some(many)),
        )
        .await;
    }
}

async fn rules_of_topics(talk: &mut Talk) {
    let compact = talk
        .topic("compact", 1, &[("cleanup.policy", "compact")])
        .await;
    let small = talk
        .topic("small", 1, &[("max.message.bytes", "200")])
        .await;
    let stamped = talk
        .topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let strict = talk
        .topic(
            "strict",
            1,
            &[
                ("message.timestamp.before.max.ms", "1000"),
                ("message.timestamp.after.max.ms", "1000"),
            ],
        )
        .await;
    let plain_codec = talk
        .topic("recoded", 1, &[("compression.type", "gzip")])
        .await;
    let open = talk.topic("open", 1, &[]).await;
    let keyless = |codec| {
        let mut batch = BatchBuilder::new(codec);
        batch.append(TIME_MS, Some(b"k"), None, &[]);
        batch.append(TIME_MS, None, Some(b"v"), &[]);
        batch.append(TIME_MS, None, Some(b"w"), &[]);
        batch.build(ProducerStamp::NONE)
    };
    let refused = keyless(Compression::None);
    talk.versions("no key on a compacted topic", 3..=13, |_| {
        to("compact", compact, 0, Some(refused.clone()))
    })
    .await;
    talk.one(
        "no key, compressed",
        9,
        to("compact", compact, 0, Some(keyless(Compression::Gzip))),
    )
    .await;
    talk.one("a tombstone", 9, to("compact", compact, 0, Some(plain())))
        .await;
    let large = records(20, Compression::None, ProducerStamp::NONE);
    talk.versions("too large", 3..=13, |_| {
        to("small", small, 0, Some(large.clone()))
    })
    .await;
    talk.one("just small enough", 9, to("small", small, 0, Some(plain())))
        .await;
    for (name, time) in [
        ("of old", TIME_MS),
        ("without time", -1),
        ("of 1970", 0),
        ("before 1970", -5),
        ("of the far future", 9_000_000_000_000),
        ("of the end of time", i64::MAX),
    ] {
        for (topic, id) in [("stamped", stamped), ("strict", strict), ("open", open)] {
            for version in [7, 9] {
                talk.one(
                    format!("{topic}, {name}"),
                    version,
                    to(topic, id, 0, Some(at(time))),
                )
                .await;
            }
        }
    }
    talk.one(
        "stamped, with the bit set",
        9,
        to("stamped", stamped, 0, Some(edited(&plain(), 21, &[0, 8]))),
    )
    .await;
    talk.one("recoded", 9, to("recoded", plain_codec, 0, Some(plain())))
        .await;
}

/// An id for an idempotent producer.
async fn producer(talk: &mut Talk) -> i64 {
    let init = InitProducerIdRequest {
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    for _ in 0..100_000 {
        if let Response::InitProducerId(made) = talk.quiet(4, init.clone()).await
            && made.error_code == ErrorCode::None
        {
            return made.producer_id;
        }
        // Kafka asks its controller for ids first.
        tokio::task::yield_now().await;
    }
    panic!("there is no producer id");
}

async fn sequences(talk: &mut Talk) {
    let topic = talk.topic("sequences", 1, &[]).await;
    let send = |id, epoch, sequence, count| {
        let batch = records(count, Compression::None, stamp(id, epoch, sequence, false));
        to("sequences", topic, 0, Some(batch))
    };
    let id = producer(talk).await;
    talk.case("a sequence goes on");
    for (epoch, sequence, count) in [
        (0, 0, 2),
        (0, 0, 2),
        (0, 2, 2),
        (0, 0, 2),
        (0, 0, 1),
        (0, 1, 1),
        (0, 5, 1),
        (0, 3, 1),
        (0, 4, 1),
        (0, 5, 1),
        (0, 6, 1),
        (0, 7, 1),
        (0, 8, 1),
        (0, 0, 2),
        (0, 4, 1),
        (0, 8, 1),
        (1, 9, 1),
        (1, 0, 1),
        (1, 0, 1),
        (0, 9, 1),
        (0, 0, 2),
        (3, 0, 1),
        (i16::MAX, 0, 1),
    ] {
        talk.ask(9, send(id, epoch, sequence, count)).await;
    }
    let id = producer(talk).await;
    talk.case("without state any sequence begins");
    for sequence in [77, 78, 77, 80, 0] {
        talk.ask(9, send(id, 0, sequence, 1)).await;
    }
    let id = producer(talk).await;
    talk.case("a sequence wraps");
    for (sequence, count) in [
        (i32::MAX - 1, 2),
        (0, 1),
        (i32::MAX - 1, 2),
        (i32::MAX, 1),
        (1, 1),
    ] {
        talk.ask(9, send(id, 0, sequence, count)).await;
    }
    let id = producer(talk).await;
    talk.case("a sequence wraps within a batch");
    for (sequence, count) in [(i32::MAX, 3), (2, 1), (i32::MAX, 3)] {
        talk.ask(9, send(id, 0, sequence, count)).await;
    }
    let id = producer(talk).await;
    talk.case("an epoch that was never given");
    talk.ask(9, send(id, 7, 0, 1)).await;
    talk.ask(9, send(id, 6, 1, 1)).await;
    talk.one("a producer that was never made", 9, send(1 << 40, 0, 0, 1))
        .await;
    talk.one("epoch -2", 9, send(1 << 41, -2, 0, 1)).await;
    talk.one("sequence -2", 9, send(1 << 42, 0, -2, 1)).await;
    let mut last = records(2, Compression::None, stamp(1 << 43, 0, 0, false)).to_vec();
    last[53..57].copy_from_slice(&i32::MIN.to_be_bytes());
    talk.one(
        "the smallest sequence",
        9,
        to("sequences", topic, 0, Some(resealed(last))),
    )
    .await;
}

async fn transactional_requests(talk: &mut Talk) {
    let topic = talk.topic("in-transactions", 1, &[]).await;
    let send = |transactional_id: Option<&str>, batch| ProduceRequest {
        transactional_id: transactional_id.map(str::to_owned),
        ..to("in-transactions", topic, 0, Some(batch))
    };
    let open = records(1, Compression::None, stamp(1 << 44, 0, 0, true));
    for (name, id, batch) in [
        (
            "a transactional id and a batch that is not",
            Some("t"),
            plain(),
        ),
        ("an unknown transactional id", Some("t"), open.clone()),
        ("a transactional batch without an id", None, open.clone()),
        ("an empty transactional id", Some(""), open),
    ] {
        talk.versions(name, 3..=13, |_| send(id, batch.clone()))
            .await;
    }
}
