//! Frames as clients send them, and damaged ones.

use super::*;
use crate::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::api::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::error_code::ErrorCode;
use crate::payload::Payload;

fn joined(chunks: &[Payload]) -> Bytes {
    let chunks: Vec<_> = chunks.iter().filter_map(Payload::bytes).collect();
    let bytes: Vec<&[u8]> = chunks.iter().map(|chunk| &chunk[..]).collect();
    bytes.concat().into()
}

#[test]
fn frames_are_taken_as_they_arrive() {
    let mut buffer = BytesMut::new();
    for byte in [0, 0, 0, 3, 1, 2] {
        assert_eq!(take_frame(&mut buffer, 10), Ok(None));
        buffer.put_u8(byte);
    }
    buffer.extend_from_slice(&[3, 0, 0]);
    assert_eq!(
        take_frame(&mut buffer, 10),
        Ok(Some(Bytes::from_static(&[1, 2, 3])))
    );
    assert_eq!(take_frame(&mut buffer, 10), Ok(None));
    assert_eq!(&buffer[..], [0, 0]);
}

#[test]
fn a_frame_beyond_the_limit_is_refused_by_its_size() {
    let mut buffer = BytesMut::from(&[0x7f, 0xff, 0xff, 0xff][..]);
    assert_eq!(
        take_frame(&mut buffer, 100),
        Err(FrameError::TooLarge {
            size: 0x7fff_ffff,
            max: 100
        })
    );
    assert!(take_frame(&mut buffer, usize::MAX).unwrap().is_none());
    assert!(
        buffer.capacity() <= 2 * READ_STEP_BYTES,
        "{}",
        buffer.capacity()
    );
    let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
    assert_eq!(
        take_frame(&mut buffer, 100),
        Err(FrameError::NegativeSize(-1))
    );
}

#[test]
fn a_request_takes_no_more_memory_than_it_may_however_small_its_names_are() {
    use crate::api::metadata::{MetadataRequest, MetadataRequestTopic};
    use crate::primitive::DecodeCause;
    let naming = |count: usize| {
        let topic = |n: usize| MetadataRequestTopic {
            name: Some(format!("{n:x}")),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: Some((0..count).map(topic).collect()),
            ..MetadataRequest::default()
        };
        let header = RequestHeader::new(ApiKey::Metadata, 1, 1, None);
        let frame = encode_request(&header, &request.into()).expect("a small request");
        decode_request(frame.slice(SIZE_BYTES..))
    };
    assert!(naming(100_000).is_ok());
    match naming(200_000) {
        Err(RequestError::Body { error, .. }) => {
            let max = DECODED_BYTES_MAX;
            assert_eq!(error.cause, DecodeCause::TooMuch { max });
        }
        other => panic!("{:?}", other.map(|(header, _)| header)),
    }
}

#[test]
fn requests_round_trip() {
    for version in 0..=4 {
        let request = ApiVersionsRequest {
            client_software_name: if version >= 3 {
                "librdkafka".into()
            } else {
                String::new()
            },
            ..Default::default()
        };
        let header = RequestHeader::new(ApiKey::ApiVersions, version, 7, Some("kcat".into()));
        let mut frame =
            BytesMut::from(&encode_request(&header, &request.clone().into()).unwrap()[..]);
        let frame = take_frame(&mut frame, 1000).unwrap().unwrap();
        assert_eq!(
            decode_request(frame),
            Ok((header, Request::ApiVersions(request)))
        );
    }
}

/// Trap 1: the response to ApiVersions has header 0 in every version, and one of an unknown version is answered at 0 with the range.
#[test]
fn an_unknown_version_of_api_versions_is_answered_at_zero() {
    let mut frame = BytesMut::new();
    frame.put_i16(18);
    frame.put_i16(99);
    frame.put_i32(5);
    frame.put_i16(-1);
    frame.put_slice(&[0, 1, 2, 3]);
    let Err(RequestError::Unsupported(header)) = decode_request(frame.freeze()) else {
        panic!()
    };
    let refusal = ApiVersionsResponse::unsupported_version();
    let answer = joined(&encode_response(&header, &refusal.into()).unwrap());
    assert_eq!(
        &answer[..],
        [
            0, 0, 0, 16, 0, 0, 0, 5, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4
        ]
    );

    let header = RequestHeader::new(ApiKey::ApiVersions, 3, 5, None);
    let advertised = ApiVersionsResponse::advertise(ApiKey::ALL);
    let answer = joined(&encode_response(&header, &advertised.into()).unwrap());
    let (correlation_id, response) =
        decode_response(ApiKey::ApiVersions, 3, answer.slice(4..)).unwrap();
    assert_eq!(correlation_id, 5);
    let Response::ApiVersions(response) = response else {
        panic!()
    };
    assert_eq!(response.error_code, ErrorCode::None);
    let produce = &response.api_keys[0];
    assert_eq!(
        (produce.api_key, produce.min_version, produce.max_version),
        (0, 0, 13)
    );
}

#[test]
fn versions_that_do_not_exist_are_unsupported() {
    for (key, version) in [(0i16, 2i16), (0, 14), (4, 0), (-1, 0), (1, -5)] {
        let mut frame = BytesMut::new();
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_slice(&[0, 0, 0, 1, 0xff, 0xff, 0]);
        let result = decode_request(frame.freeze());
        assert!(
            matches!(result, Err(RequestError::Unsupported(_))),
            "{key} {version}: {result:?}"
        );
    }
    assert!(matches!(
        decode_request(Bytes::from_static(&[0, 1, 0])),
        Err(RequestError::Header(_))
    ));
}

/// Records go out as the bytes that were put in, and what is written reads the same as if they had been copied.
#[test]
fn records_are_spliced_into_a_response() {
    let large = Bytes::from(vec![7u8; 100_000]);
    let small = Bytes::from_static(b"small");
    let partition = |index, records: &Bytes| PartitionData {
        partition_index: index,
        records: Some(records.clone().into()),
        ..Default::default()
    };
    let response = Response::Fetch(FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: vec![
                partition(0, &large),
                partition(1, &small),
                partition(2, &large),
            ],
            ..Default::default()
        }],
        ..Default::default()
    });
    for version in [4, 11, 12, 18] {
        let header = RequestHeader::new(ApiKey::Fetch, version, 1, None);
        let chunks = encode_response(&header, &response).unwrap();
        assert_eq!(
            chunks
                .iter()
                .filter_map(Payload::bytes)
                .filter(|chunk| chunk.as_ptr() == large.as_ptr())
                .count(),
            2
        );
        let mut frame = BytesMut::from(&joined(&chunks)[..]);
        let frame = take_frame(&mut frame, 1 << 20).unwrap().unwrap();
        let mut copied = BytesMut::new();
        response.encode(version, &mut copied);
        assert!(frame.ends_with(&copied));
        assert_eq!(
            decode_response(ApiKey::Fetch, version, frame),
            Ok((1, response.clone()))
        );
    }
}

#[test]
fn foreign_frames_never_panic() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20_000 {
        let mut frame: Vec<u8> = (0..random.usize(..80)).map(|_| random.u8(..)).collect();
        if frame.len() > 4 {
            frame[..4].copy_from_slice(&[0, random.u8(..61), 0, random.u8(..14)]);
        }
        let _ = decode_request(frame.into());
    }
}

#[test]
fn an_answer_that_no_size_can_tell_is_an_error() {
    let records = Bytes::from(vec![0; 1 << 20]);
    let partition = PartitionData {
        records: Some(records.into()),
        ..PartitionData::default()
    };
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: vec![partition; 2048],
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    };
    let header = RequestHeader::new(ApiKey::Fetch, 12, 1, None);
    let refused = encode_response(&header, &response.into());
    assert!(
        matches!(refused, Err(FrameError::TooLarge { size, .. }) if size > i32::MAX as usize),
        "{refused:?}"
    );
}
