//! Every message in every version against a second codec.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};

use super::message::Random;
use super::*;

const ROUNDS: usize = 12;

fn random() -> Random {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    Random {
        numbers: fastrand::Rng::with_seed(seed),
        nulls: false,
    }
}

/// Bytes of ours, read and written again by the second codec. None if it refuses them: it knows in which versions every nullable field may be null, we of requests alone.
fn through_the_second_codec<T: Decodable + Encodable + Message>(
    bytes: &Bytes,
    version: i16,
) -> Option<BytesMut> {
    let mut rest = bytes.clone();
    let message = T::decode(&mut rest, version).ok()?;
    assert!(
        rest.is_empty(),
        "the second codec leaves {} bytes",
        rest.len()
    );
    let mut again = BytesMut::new();
    message.encode(&mut again, version).ok()?;
    Some(again)
}

fn knows<T: Message>(version: i16) -> bool {
    (T::VERSIONS.min..=T::VERSIONS.max).contains(&version)
}

fn check<Q, A>(api: ApiKey, random: &mut Random)
where
    Q: Decodable + Encodable + Message,
    A: Decodable + Encodable + Message,
{
    let (min, max) = api.versions();
    for version in min..=max {
        for round in 0..ROUNDS {
            random.nulls = round % 2 == 1;
            let what = format!("{api} {version}, nulls {}", random.nulls);

            let request = Request::random(api, version, random);
            let mut bytes = BytesMut::new();
            request.encode(version, &mut bytes);
            let bytes = bytes.freeze();
            let mut from = Reader::new(bytes.clone());
            assert_eq!(
                Request::decode(api, version, &mut from).as_ref(),
                Ok(&request),
                "{what}"
            );
            assert_eq!(from.remaining(), 0, "{what}");
            if knows::<Q>(version) {
                let again = through_the_second_codec::<Q>(&bytes, version);
                assert!(
                    again.is_some() || random.nulls && version < max,
                    "{what}: {request:?}"
                );
                assert!(
                    again.is_none_or(|again| again == bytes),
                    "{what}: {request:?}"
                );
            }

            let response = Response::random(api, version, random);
            let mut bytes = BytesMut::new();
            response.encode(version, &mut bytes);
            let bytes = bytes.freeze();
            let mut from = Reader::new(bytes.clone());
            assert_eq!(
                Response::decode(api, version, &mut from).as_ref(),
                Ok(&response),
                "{what}"
            );
            assert_eq!(from.remaining(), 0, "{what}");
            if knows::<A>(version) {
                let again = through_the_second_codec::<A>(&bytes, version);
                assert!(
                    again.is_some() || random.nulls && version < max,
                    "{what}: {response:?}"
                );
                assert!(
                    again.is_none_or(|again| again == bytes),
                    "{what}: {response:?}"
                );
            }
        }
    }
}

#[test]
fn agrees_with_the_second_codec() {
    let mut random = random();
    check::<theirs::ProduceRequest, theirs::ProduceResponse>(ApiKey::Produce, &mut random);
    check::<theirs::FetchRequest, theirs::FetchResponse>(ApiKey::Fetch, &mut random);
    check::<theirs::ListOffsetsRequest, theirs::ListOffsetsResponse>(
        ApiKey::ListOffsets,
        &mut random,
    );
    check::<theirs::MetadataRequest, theirs::MetadataResponse>(ApiKey::Metadata, &mut random);
    check::<theirs::OffsetCommitRequest, theirs::OffsetCommitResponse>(
        ApiKey::OffsetCommit,
        &mut random,
    );
    check::<theirs::OffsetFetchRequest, theirs::OffsetFetchResponse>(
        ApiKey::OffsetFetch,
        &mut random,
    );
    check::<theirs::FindCoordinatorRequest, theirs::FindCoordinatorResponse>(
        ApiKey::FindCoordinator,
        &mut random,
    );
    check::<theirs::JoinGroupRequest, theirs::JoinGroupResponse>(ApiKey::JoinGroup, &mut random);
    check::<theirs::HeartbeatRequest, theirs::HeartbeatResponse>(ApiKey::Heartbeat, &mut random);
    check::<theirs::LeaveGroupRequest, theirs::LeaveGroupResponse>(ApiKey::LeaveGroup, &mut random);
    check::<theirs::SyncGroupRequest, theirs::SyncGroupResponse>(ApiKey::SyncGroup, &mut random);
    check::<theirs::DescribeGroupsRequest, theirs::DescribeGroupsResponse>(
        ApiKey::DescribeGroups,
        &mut random,
    );
    check::<theirs::ListGroupsRequest, theirs::ListGroupsResponse>(ApiKey::ListGroups, &mut random);
    check::<theirs::ApiVersionsRequest, theirs::ApiVersionsResponse>(
        ApiKey::ApiVersions,
        &mut random,
    );
    check::<theirs::CreateTopicsRequest, theirs::CreateTopicsResponse>(
        ApiKey::CreateTopics,
        &mut random,
    );
    check::<theirs::DeleteTopicsRequest, theirs::DeleteTopicsResponse>(
        ApiKey::DeleteTopics,
        &mut random,
    );
    check::<theirs::DeleteRecordsRequest, theirs::DeleteRecordsResponse>(
        ApiKey::DeleteRecords,
        &mut random,
    );
    check::<theirs::InitProducerIdRequest, theirs::InitProducerIdResponse>(
        ApiKey::InitProducerId,
        &mut random,
    );
    check::<theirs::OffsetForLeaderEpochRequest, theirs::OffsetForLeaderEpochResponse>(
        ApiKey::OffsetForLeaderEpoch,
        &mut random,
    );
    check::<theirs::AddPartitionsToTxnRequest, theirs::AddPartitionsToTxnResponse>(
        ApiKey::AddPartitionsToTxn,
        &mut random,
    );
    check::<theirs::AddOffsetsToTxnRequest, theirs::AddOffsetsToTxnResponse>(
        ApiKey::AddOffsetsToTxn,
        &mut random,
    );
    check::<theirs::EndTxnRequest, theirs::EndTxnResponse>(ApiKey::EndTxn, &mut random);
    check::<theirs::TxnOffsetCommitRequest, theirs::TxnOffsetCommitResponse>(
        ApiKey::TxnOffsetCommit,
        &mut random,
    );
    check::<theirs::DescribeConfigsRequest, theirs::DescribeConfigsResponse>(
        ApiKey::DescribeConfigs,
        &mut random,
    );
    check::<theirs::AlterConfigsRequest, theirs::AlterConfigsResponse>(
        ApiKey::AlterConfigs,
        &mut random,
    );
    check::<theirs::CreatePartitionsRequest, theirs::CreatePartitionsResponse>(
        ApiKey::CreatePartitions,
        &mut random,
    );
    check::<theirs::DeleteGroupsRequest, theirs::DeleteGroupsResponse>(
        ApiKey::DeleteGroups,
        &mut random,
    );
    check::<theirs::IncrementalAlterConfigsRequest, theirs::IncrementalAlterConfigsResponse>(
        ApiKey::IncrementalAlterConfigs,
        &mut random,
    );
    check::<theirs::OffsetDeleteRequest, theirs::OffsetDeleteResponse>(
        ApiKey::OffsetDelete,
        &mut random,
    );
    check::<theirs::DescribeClusterRequest, theirs::DescribeClusterResponse>(
        ApiKey::DescribeCluster,
        &mut random,
    );
    check::<theirs::SaslHandshakeRequest, theirs::SaslHandshakeResponse>(
        ApiKey::SaslHandshake,
        &mut random,
    );
    check::<theirs::DescribeAclsRequest, theirs::DescribeAclsResponse>(
        ApiKey::DescribeAcls,
        &mut random,
    );
    check::<theirs::CreateAclsRequest, theirs::CreateAclsResponse>(ApiKey::CreateAcls, &mut random);
    check::<theirs::DeleteAclsRequest, theirs::DeleteAclsResponse>(ApiKey::DeleteAcls, &mut random);
    check::<theirs::DescribeLogDirsRequest, theirs::DescribeLogDirsResponse>(
        ApiKey::DescribeLogDirs,
        &mut random,
    );
    check::<theirs::SaslAuthenticateRequest, theirs::SaslAuthenticateResponse>(
        ApiKey::SaslAuthenticate,
        &mut random,
    );
    check::<theirs::DescribeClientQuotasRequest, theirs::DescribeClientQuotasResponse>(
        ApiKey::DescribeClientQuotas,
        &mut random,
    );
    check::<theirs::AlterClientQuotasRequest, theirs::AlterClientQuotasResponse>(
        ApiKey::AlterClientQuotas,
        &mut random,
    );
    check::<
        theirs::DescribeUserScramCredentialsRequest,
        theirs::DescribeUserScramCredentialsResponse,
    >(ApiKey::DescribeUserScramCredentials, &mut random);
    check::<theirs::AlterUserScramCredentialsRequest, theirs::AlterUserScramCredentialsResponse>(
        ApiKey::AlterUserScramCredentials,
        &mut random,
    );
    check::<theirs::DescribeProducersRequest, theirs::DescribeProducersResponse>(
        ApiKey::DescribeProducers,
        &mut random,
    );
    check::<theirs::DescribeTransactionsRequest, theirs::DescribeTransactionsResponse>(
        ApiKey::DescribeTransactions,
        &mut random,
    );
    check::<theirs::ListTransactionsRequest, theirs::ListTransactionsResponse>(
        ApiKey::ListTransactions,
        &mut random,
    );
    check::<theirs::ListConfigResourcesRequest, theirs::ListConfigResourcesResponse>(
        ApiKey::ListConfigResources,
        &mut random,
    );
    check::<theirs::ElectLeadersRequest, theirs::ElectLeadersResponse>(
        ApiKey::ElectLeaders,
        &mut random,
    );
    check::<theirs::AlterPartitionReassignmentsRequest, theirs::AlterPartitionReassignmentsResponse>(
        ApiKey::AlterPartitionReassignments,
        &mut random,
    );
    check::<theirs::ListPartitionReassignmentsRequest, theirs::ListPartitionReassignmentsResponse>(
        ApiKey::ListPartitionReassignments,
        &mut random,
    );
    check::<theirs::DescribeQuorumRequest, theirs::DescribeQuorumResponse>(
        ApiKey::DescribeQuorum,
        &mut random,
    );
    check::<theirs::UpdateFeaturesRequest, theirs::UpdateFeaturesResponse>(
        ApiKey::UpdateFeatures,
        &mut random,
    );
    check::<theirs::UnregisterBrokerRequest, theirs::UnregisterBrokerResponse>(
        ApiKey::UnregisterBroker,
        &mut random,
    );
    check::<theirs::DescribeTopicPartitionsRequest, theirs::DescribeTopicPartitionsResponse>(
        ApiKey::DescribeTopicPartitions,
        &mut random,
    );
}

#[test]
fn the_table_is_kafkas() {
    // Key, lowest, highest, flexible from: of a Kafka 4.3.0 broker.
    let kafka = [
        (0, 0, 13, 9),
        (1, 4, 18, 12),
        (2, 1, 11, 6),
        (3, 0, 13, 9),
        (8, 2, 10, 8),
        (9, 1, 10, 6),
        (10, 0, 6, 3),
        (11, 0, 9, 6),
        (12, 0, 4, 4),
        (13, 0, 5, 4),
        (14, 0, 5, 4),
        (15, 0, 6, 5),
        (16, 0, 5, 3),
        (17, 0, 1, 2),
        (18, 0, 4, 3),
        (19, 2, 7, 5),
        (20, 1, 6, 4),
        (21, 0, 2, 2),
        (22, 0, 5, 2),
        (23, 2, 4, 4),
        (24, 0, 5, 3),
        (25, 0, 4, 3),
        (26, 0, 5, 3),
        (28, 0, 5, 3),
        (29, 1, 3, 2),
        (30, 1, 3, 2),
        (31, 1, 3, 2),
        (32, 1, 4, 4),
        (33, 0, 2, 2),
        (35, 1, 5, 2),
        (36, 0, 2, 2),
        (37, 0, 3, 2),
        (42, 0, 2, 2),
        (43, 0, 2, 2),
        (44, 0, 1, 1),
        (45, 0, 1, 0),
        (46, 0, 0, 0),
        (47, 0, 0, 1),
        (48, 0, 1, 1),
        (49, 0, 1, 1),
        (50, 0, 0, 0),
        (51, 0, 0, 0),
        (55, 0, 2, 0),
        (57, 0, 2, 0),
        (60, 0, 2, 0),
        (61, 0, 0, 0),
        (64, 0, 0, 0),
        (65, 0, 0, 0),
        // 2 there, which finds ids by a pattern.
        (66, 0, 2, 0),
        (74, 0, 1, 0),
        (75, 0, 0, 0),
    ];
    let ours: Vec<_> = ApiKey::ALL
        .iter()
        .map(|api| {
            (
                api.code(),
                api.advertised_versions().0,
                api.advertised_versions().1,
                api.flexible_from(),
            )
        })
        .collect();
    assert_eq!(ours, kafka);
    assert!(!ApiKey::Produce.supports(2));
    assert_eq!(ApiKey::from_code(4), None);
}

/// Truncated and changed messages are refused or read as something else; nothing panics.
#[test]
fn foreign_bytes_never_panic() {
    let mut random = random();
    for &api in ApiKey::ALL {
        let (min, max) = api.versions();
        for version in min..=max {
            for _ in 0..ROUNDS {
                random.nulls = true;
                let mut bytes = BytesMut::new();
                Request::random(api, version, &mut random).encode(version, &mut bytes);
                let _ =
                    Request::decode(api, version, &mut Reader::new(damaged(&bytes, &mut random)));
                bytes.clear();
                Response::random(api, version, &mut random).encode(version, &mut bytes);
                let _ =
                    Response::decode(api, version, &mut Reader::new(damaged(&bytes, &mut random)));
                let noise: Bytes = (0..64).map(|_| random.numbers.u8(..)).collect();
                let _ = Request::decode(api, version, &mut Reader::new(noise));
            }
        }
        assert!(Request::decode(api, max + 1, &mut Reader::new(Bytes::new())).is_err());
        assert!(Response::decode(api, -1, &mut Reader::new(Bytes::new())).is_err());
    }
}

fn damaged(bytes: &BytesMut, random: &mut Random) -> Bytes {
    let mut bytes = bytes.clone();
    for _ in 0..random.numbers.usize(..4) {
        if !bytes.is_empty() {
            let index = random.numbers.usize(..bytes.len());
            bytes[index] = if random.numbers.bool() {
                0xff
            } else {
                random.numbers.u8(..)
            };
        }
    }
    bytes.truncate(random.numbers.usize(..=bytes.len()));
    bytes.freeze()
}

/// Every prefix of a message is refused with the field at which it ends.
#[test]
fn a_truncated_message_names_its_field() {
    let request = metadata::MetadataRequest {
        topics: Some(vec![metadata::MetadataRequestTopic {
            name: Some("flights".into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let mut bytes = BytesMut::new();
    request.encode(12, &mut bytes);
    let bytes = bytes.freeze();
    for length in 0..bytes.len() {
        let error = metadata::MetadataRequest::decode(&mut Reader::new(bytes.slice(..length)), 12)
            .unwrap_err();
        assert!(error.at.starts_with("MetadataRequest"), "{error}");
    }
}

#[test]
fn two_gigabytes_are_not_allocated_on_somebodys_word() {
    // Metadata 1: an array of 2^31 - 1 topics.
    let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']);
    let error = metadata::MetadataRequest::decode(&mut Reader::new(bytes), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "MetadataRequest.topics: 2147483647 elements announced, 3 bytes left"
    );
    // Metadata 9: the same, compact.
    let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]);
    assert!(metadata::MetadataRequest::decode(&mut Reader::new(bytes), 9).is_err());
    // Produce 3: records of 2^31 - 1 bytes.
    let mut bytes = BytesMut::from(
        &[
            0xff, 0xff, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1,
        ][..],
    );
    bytes.extend_from_slice(&[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
    let error = produce::ProduceRequest::decode(&mut Reader::new(bytes.freeze()), 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "PartitionProduceData.records: 2147483647 bytes needed, 0 left"
    );
}

/// A text that no plain string can hold is cut at a character.
#[test]
fn long_plain_strings_are_cut() {
    let response = delete_groups::DeleteGroupsResponse {
        results: vec![delete_groups::DeletableGroupResult {
            group_id: "ü".repeat(20_000),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut bytes = BytesMut::new();
    response.encode(1, &mut bytes);
    let read =
        delete_groups::DeleteGroupsResponse::decode(&mut Reader::new(bytes.freeze()), 1).unwrap();
    assert_eq!(read.results[0].group_id.len(), i16::MAX as usize - 1);
}

/// The versions that the second codec does not know yet, as kafka-python 3.0 writes them.
#[test]
fn golden_bytes_of_the_newest_versions() {
    let topic_id = uuid::Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let commit = offset_commit::OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 4,
        member_id: "m".into(),
        topics: vec![offset_commit::OffsetCommitRequestTopic {
            topic_id,
            partitions: vec![offset_commit::OffsetCommitRequestPartition {
                partition_index: 1,
                committed_offset: 77,
                committed_leader_epoch: 3,
                committed_metadata: Some("x".into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    golden_request(
        commit,
        10,
        "026700000004026d00020102030405060708090a0b0c0d0e0f100200000001000000000000004d000000030278000000",
    );
    let group = |id: &str, member_id: Option<&str>, member_epoch, topics| {
        offset_fetch::OffsetFetchRequestGroup {
            group_id: id.into(),
            member_id: member_id.map(Into::into),
            member_epoch,
            topics,
        }
    };
    let topics = vec![offset_fetch::OffsetFetchRequestTopics {
        topic_id,
        partition_indexes: vec![1, 2],
        ..Default::default()
    }];
    let fetch = offset_fetch::OffsetFetchRequest {
        groups: vec![
            group("g", None, -1, Some(topics)),
            group("h", Some("m"), 5, None),
        ],
        require_stable: true,
        ..Default::default()
    };
    golden_request(
        fetch,
        10,
        "03026700ffffffff020102030405060708090a0b0c0d0e0f1003000000010000000200000268026d0000000500000100",
    );
    let list = list_offsets::ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![list_offsets::ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![list_offsets::ListOffsetsPartition {
                partition_index: 1,
                current_leader_epoch: 2,
                timestamp: -6,
            }],
        }],
        timeout_ms: 500,
    };
    golden_request(
        list,
        11,
        "ffffffff01020274020000000100000002fffffffffffffffa0000000001f400",
    );

    let committed = offset_commit::OffsetCommitResponse {
        topics: vec![offset_commit::OffsetCommitResponseTopic {
            topic_id,
            partitions: vec![offset_commit::OffsetCommitResponsePartition {
                partition_index: 1,
                error_code: crate::ErrorCode::UnknownTopicId,
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    golden_response(
        committed,
        10,
        "00000000020102030405060708090a0b0c0d0e0f1002000000010064000000",
    );
    let fetched = offset_fetch::OffsetFetchResponse {
        throttle_time_ms: 9,
        groups: vec![offset_fetch::OffsetFetchResponseGroup {
            group_id: "g".into(),
            topics: vec![offset_fetch::OffsetFetchResponseTopics {
                topic_id,
                partitions: vec![offset_fetch::OffsetFetchResponsePartitions {
                    partition_index: 1,
                    committed_offset: 77,
                    committed_leader_epoch: 3,
                    metadata: Some("x".into()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    golden_response(
        fetched,
        10,
        "00000009020267020102030405060708090a0b0c0d0e0f100200000001000000000000004d0000000302780000000000000000",
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn golden_request(request: impl Into<Request>, version: i16, golden: &str) {
    let mut bytes = BytesMut::new();
    request.into().encode(version, &mut bytes);
    assert_eq!(hex(&bytes), golden);
}

fn golden_response(response: impl Into<Response>, version: i16, golden: &str) {
    let mut bytes = BytesMut::new();
    response.into().encode(version, &mut bytes);
    assert_eq!(hex(&bytes), golden);
}
