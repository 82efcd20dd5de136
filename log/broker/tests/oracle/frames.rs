//! Frames: headers, versions, tagged fields and lengths that no client sends, for every API.

use bytes::{BufMut, BytesMut};
use log_protocol::{ApiKey, Request, RequestHeader, encode_request};

use super::talk::Talk;

pub(super) async fn run(talk: &mut Talk) {
    versions(talk).await;
    headers(talk).await;
    bodies(talk).await;
}

/// A header by hand: the client id as bytes of its own.
fn header(api: i16, version: i16, client: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(api);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_slice(client);
    frame
}

const NO_CLIENT: &[u8] = &[0xff, 0xff];

async fn versions(talk: &mut Talk) {
    for &api in ApiKey::ALL {
        let (min, max) = api.versions();
        for version in [max + 1, i16::MAX, -1, min - 1] {
            // ApiVersions has an answer to versions of the future.
            if api == ApiKey::ApiVersions || version < -1 {
                continue;
            }
            talk.case(format!("{api} of a version that there is not"));
            let frame = header(api.code(), version, NO_CLIENT);
            talk.raw(api, version, &frame).await;
        }
    }
    for code in [-1, 4, 7, 27, 52, 58, 93, 999, i16::MAX, i16::MIN] {
        talk.case(format!("api key {code}"));
        talk.raw(ApiKey::Metadata, 0, &header(code, 0, NO_CLIENT))
            .await;
    }
}

async fn headers(talk: &mut Talk) {
    // Metadata 9 of no topics.
    let metadata = |talk_header: BytesMut| {
        let mut frame = talk_header;
        frame.put_slice(&[1, 0, 0, 0, 0]);
        frame
    };
    let cases: [(&str, &[u8]); 13] = [
        ("null", &[0xff, 0xff, 0]),
        ("empty", &[0, 0, 0]),
        ("of length -2", &[0xff, 0xfe, 0]),
        ("longer than the frame", &[0x7f, 0xff, 0]),
        ("not UTF-8", &[0, 2, 0xc3, 0x28, 0]),
        ("with a null byte", &[0, 1, 0, 0]),
        ("with a tagged field", &[0xff, 0xff, 1, 5, 2, 1, 2]),
        ("with two tagged fields", &[0xff, 0xff, 2, 5, 0, 9, 1, 1]),
        ("with tags out of order", &[0xff, 0xff, 2, 9, 0, 5, 0]),
        ("with a tag twice", &[0xff, 0xff, 2, 5, 0, 5, 0]),
        (
            "with a tagged field beyond the frame",
            &[0xff, 0xff, 1, 5, 0x7f],
        ),
        ("with more tags than there are", &[0xff, 0xff, 0x7f]),
        (
            "with a count that never ends",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
    ];
    for (name, client) in cases {
        talk.case(format!("client id {name}"));
        let frame = metadata(header(3, 9, client));
        talk.raw(ApiKey::Metadata, 9, &frame).await;
    }
    for length in 0..=9 {
        talk.case(format!("a frame of {length} bytes"));
        let frame = header(3, 9, NO_CLIENT);
        talk.raw(ApiKey::Metadata, 9, &frame[..length]).await;
    }
}

/// A small request of each API, which asks for nothing.
fn harmless(api: ApiKey, version: i16) -> Option<Vec<u8>> {
    use log_protocol::api;
    let request: Request = match api {
        ApiKey::Produce => api::produce::ProduceRequest {
            acks: 1,
            ..Default::default()
        }
        .into(),
        ApiKey::Fetch => api::fetch::FetchRequest::default().into(),
        ApiKey::ListOffsets => api::list_offsets::ListOffsetsRequest {
            replica_id: -1,
            ..Default::default()
        }
        .into(),
        ApiKey::Metadata if version > 0 => api::metadata::MetadataRequest {
            topics: Some(vec![]),
            ..Default::default()
        }
        .into(),
        ApiKey::OffsetCommit => api::offset_commit::OffsetCommitRequest {
            group_id: "frames".to_owned(),
            ..Default::default()
        }
        .into(),
        ApiKey::OffsetFetch if version < 8 => api::offset_fetch::OffsetFetchRequest {
            group_id: "frames".to_owned(),
            topics: Some(vec![]),
            ..Default::default()
        }
        .into(),
        ApiKey::OffsetFetch => api::offset_fetch::OffsetFetchRequest::default().into(),
        ApiKey::Heartbeat => api::heartbeat::HeartbeatRequest {
            group_id: "frames".to_owned(),
            ..Default::default()
        }
        .into(),
        ApiKey::JoinGroup => api::join_group::JoinGroupRequest::default().into(),
        ApiKey::SyncGroup => api::sync_group::SyncGroupRequest {
            group_id: "frames".to_owned(),
            ..Default::default()
        }
        .into(),
        ApiKey::LeaveGroup => api::leave_group::LeaveGroupRequest {
            group_id: "frames".to_owned(),
            ..Default::default()
        }
        .into(),
        ApiKey::DescribeGroups => api::describe_groups::DescribeGroupsRequest::default().into(),
        ApiKey::CreateTopics => api::create_topics::CreateTopicsRequest::default().into(),
        ApiKey::DeleteTopics => api::delete_topics::DeleteTopicsRequest::default().into(),
        ApiKey::DeleteRecords => api::delete_records::DeleteRecordsRequest::default().into(),
        ApiKey::OffsetForLeaderEpoch => api::offset_for_leader_epoch::OffsetForLeaderEpochRequest {
            replica_id: -1,
            ..Default::default()
        }
        .into(),
        ApiKey::AddOffsetsToTxn => {
            api::add_offsets_to_txn::AddOffsetsToTxnRequest::default().into()
        }
        ApiKey::EndTxn => api::end_txn::EndTxnRequest::default().into(),
        ApiKey::TxnOffsetCommit => api::txn_offset_commit::TxnOffsetCommitRequest::default().into(),
        ApiKey::AddPartitionsToTxn if version < 4 => {
            api::add_partitions_to_txn::AddPartitionsToTxnRequest::default().into()
        }
        ApiKey::DescribeConfigs => api::describe_configs::DescribeConfigsRequest::default().into(),
        ApiKey::AlterConfigs => api::alter_configs::AlterConfigsRequest::default().into(),
        ApiKey::IncrementalAlterConfigs => {
            api::incremental_alter_configs::IncrementalAlterConfigsRequest::default().into()
        }
        ApiKey::ElectLeaders => api::elect_leaders::ElectLeadersRequest::default().into(),
        ApiKey::AlterPartitionReassignments => {
            api::alter_partition_reassignments::AlterPartitionReassignmentsRequest::default().into()
        }
        ApiKey::ListPartitionReassignments => {
            api::list_partition_reassignments::ListPartitionReassignmentsRequest::default().into()
        }
        ApiKey::DescribeQuorum => api::describe_quorum::DescribeQuorumRequest::default().into(),
        ApiKey::UpdateFeatures => api::update_features::UpdateFeaturesRequest::default().into(),
        ApiKey::UnregisterBroker => {
            api::unregister_broker::UnregisterBrokerRequest::default().into()
        }
        ApiKey::CreatePartitions => {
            api::create_partitions::CreatePartitionsRequest::default().into()
        }
        ApiKey::DeleteGroups => api::delete_groups::DeleteGroupsRequest::default().into(),
        ApiKey::OffsetDelete => api::offset_delete::OffsetDeleteRequest::default().into(),
        ApiKey::AlterClientQuotas => {
            api::alter_client_quotas::AlterClientQuotasRequest::default().into()
        }
        ApiKey::DescribeProducers => {
            api::describe_producers::DescribeProducersRequest::default().into()
        }
        ApiKey::DescribeTransactions => {
            api::describe_transactions::DescribeTransactionsRequest::default().into()
        }
        ApiKey::AlterUserScramCredentials => {
            api::alter_user_scram_credentials::AlterUserScramCredentialsRequest::default().into()
        }
        ApiKey::FindCoordinator => api::find_coordinator::FindCoordinatorRequest::default().into(),
        _ => return None,
    };
    let header = RequestHeader::new(api, version, 7, None);
    let frame = encode_request(&header, &request).expect("a small request");
    Some(frame[4..].to_vec())
}

/// What is done to a sound request; `None` where it cannot be.
type Damage = fn(ApiKey, i16, Vec<u8>) -> Option<Vec<u8>>;

/// Every damage by its name.
const DAMAGES: [(&str, Damage); 9] = [
    ("as it is", |_, _, sound| Some(sound)),
    ("and more bytes", |_, _, mut sound| {
        sound.extend_from_slice(&[0, 1, 2]);
        Some(sound)
    }),
    (
        "with a tagged field that nobody knows",
        |api, version, sound| tagged(api, version, sound, &[1, 0x64, 3, 1, 2, 3]),
    ),
    ("with a tagged field cut off", |api, version, sound| {
        tagged(api, version, sound, &[1, 0x64, 9, 1])
    }),
    ("cut off by a byte", |api, version, mut sound| {
        sound.pop();
        (sound.len() >= header_bytes(api, version)).then_some(sound)
    }),
    ("its header alone", |api, version, mut sound| {
        let is_longer = sound.len() > header_bytes(api, version);
        sound.truncate(header_bytes(api, version));
        is_longer.then_some(sound)
    }),
    ("all lengths as large as they go", |api, version, sound| {
        filled(api, version, sound, &[0x7f; 40])
    }),
    ("all bytes 0xff", |api, version, sound| {
        filled(api, version, sound, &[0xff; 40])
    }),
    ("all bytes 0", |api, version, sound| {
        // Produce would ask for no answer, Metadata for all topics.
        let zero = filled(api, version, sound, &[0; 60]);
        zero.filter(|_| !matches!(api, ApiKey::Produce | ApiKey::Metadata))
    }),
];

/// The bytes of a header without a client id.
fn header_bytes(api: ApiKey, version: i16) -> usize {
    if api.is_flexible(version) { 11 } else { 10 }
}

/// With other tagged fields: header and body each end with the count of theirs.
fn tagged(api: ApiKey, version: i16, mut sound: Vec<u8>, fields: &[u8]) -> Option<Vec<u8>> {
    sound.pop();
    sound.extend_from_slice(fields);
    api.is_flexible(version).then_some(sound)
}

/// With another body.
fn filled(api: ApiKey, version: i16, mut sound: Vec<u8>, body: &[u8]) -> Option<Vec<u8>> {
    let is_longer = sound.len() > header_bytes(api, version);
    sound.truncate(header_bytes(api, version));
    sound.extend_from_slice(body);
    is_longer.then_some(sound)
}

async fn bodies(talk: &mut Talk) {
    for &api in ApiKey::ALL {
        let (min, max) = api.versions();
        for (name, damage) in DAMAGES {
            for version in min..=max {
                let damaged = harmless(api, version).and_then(|one| damage(api, version, one));
                if let Some(frame) = damaged {
                    talk.case(format!("{api}, {name}"));
                    talk.raw(api, version, &frame).await;
                }
            }
        }
    }
}
