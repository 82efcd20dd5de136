//! Who connects and what they may do: SASL, TLS, rules of access, quotas, on the socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use log_broker::{BrokerConfig, ClientAuth, Secret, TlsConfig, parse_advertised, parse_listeners};
use log_protocol::api::add_offsets_to_txn::AddOffsetsToTxnRequest;
use log_protocol::api::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use log_protocol::api::alter_client_quotas::{
    AlterClientQuotasRequest, AlterQuotaEntity, AlterQuotaEntry, AlterQuotaOp,
};
use log_protocol::api::alter_configs::{AlterConfigsRequest, AlterConfigsResource};
use log_protocol::api::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use log_protocol::api::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, ScramDeletion, ScramUpsertion,
};
use log_protocol::api::api_versions::ApiVersionsRequest;
use log_protocol::api::create_acls::{AclCreation, CreateAclsRequest};
use log_protocol::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use log_protocol::api::create_topics::{CreatableTopic, CreateTopicsRequest};
use log_protocol::api::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use log_protocol::api::delete_groups::DeleteGroupsRequest;
use log_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use log_protocol::api::delete_topics::DeleteTopicsRequest;
use log_protocol::api::describe_acls::DescribeAclsRequest;
use log_protocol::api::describe_client_quotas::DescribeClientQuotasRequest;
use log_protocol::api::describe_quorum::DescribeQuorumRequest;
use log_protocol::api::elect_leaders::ElectLeadersRequest;
use log_protocol::api::list_partition_reassignments::ListPartitionReassignmentsRequest;
use log_protocol::api::unregister_broker::UnregisterBrokerRequest;
use log_protocol::api::update_features::UpdateFeaturesRequest;

use log_protocol::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use log_protocol::api::describe_groups::DescribeGroupsRequest;
use log_protocol::api::describe_log_dirs::DescribeLogDirsRequest;
use log_protocol::api::describe_producers::{DescribeProducersRequest, DescribeProducersTopic};
use log_protocol::api::describe_topic_partitions::{DescribeTopicPartitionsRequest, TopicName};
use log_protocol::api::describe_transactions::DescribeTransactionsRequest;
use log_protocol::api::describe_user_scram_credentials::DescribeUserScramCredentialsRequest;
use log_protocol::api::end_txn::EndTxnRequest;
use log_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use log_protocol::api::find_coordinator::FindCoordinatorRequest;
use log_protocol::api::heartbeat::HeartbeatRequest;
use log_protocol::api::incremental_alter_configs::{
    AlterConfigsResource as IncrementalResource, IncrementalAlterConfigsRequest,
};
use log_protocol::api::init_producer_id::InitProducerIdRequest;
use log_protocol::api::join_group::JoinGroupRequest;
use log_protocol::api::leave_group::LeaveGroupRequest;
use log_protocol::api::list_config_resources::ListConfigResourcesRequest;
use log_protocol::api::list_groups::ListGroupsRequest;
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::list_transactions::ListTransactionsRequest;
use log_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use log_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use log_protocol::api::offset_delete::OffsetDeleteRequest;
use log_protocol::api::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use log_protocol::api::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use log_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use log_protocol::api::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use log_protocol::api::sasl_handshake::SaslHandshakeRequest;
use log_protocol::api::sync_group::SyncGroupRequest;
use log_protocol::api::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use log_protocol::{
    ApiKey, BatchBuilder, Compression, ErrorCode, ProducerStamp, Request, Response,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::node::{Node, PATIENCE, consume, numbered};
use crate::wire::Wire;

/// A broker whose listener is of this protocol, with users anna (who may everything), bert and clara.
pub(super) async fn node(protocol: &str, change: impl FnOnce(&mut BrokerConfig)) -> Node {
    Node::with(|config| {
        let listeners = format!("{protocol}://127.0.0.1:0");
        config.listeners = parse_listeners(&listeners, "").expect("a listener");
        let users = ["anna", "bert", "clara"].map(|user| {
            let password = Secret(format!("{user}'s password"));
            (user.to_owned(), password)
        });
        config.security.users = BTreeMap::from(users);
        config.security.super_users = vec!["User:anna".to_owned()];
        config.authentication_failure_delay = Duration::ZERO;
        change(config);
    })
    .await
}

async fn handshake<S>(wire: &mut Wire<S>, mechanism: &str) -> (ErrorCode, Vec<String>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mechanism = mechanism.to_owned();
    match wire.ask(1, 1, SaslHandshakeRequest { mechanism }).await {
        Response::SaslHandshake(answer) => (answer.error_code, answer.mechanisms),
        other => panic!("{other:?}"),
    }
}

async fn token<S>(wire: &mut Wire<S>, token: &[u8]) -> SaslAuthenticateResponse
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let auth_bytes = Bytes::copy_from_slice(token);
    let request = SaslAuthenticateRequest { auth_bytes };
    match wire.ask(2, 2, request).await {
        Response::SaslAuthenticate(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn plain(user: &str) -> Vec<u8> {
    format!("\0{user}\0{user}'s password").into_bytes()
}

/// A connection of this user.
pub(super) async fn log_in(node: &Node, user: &str) -> Wire {
    let mut wire = Wire::connect(node.address).await;
    assert_eq!(handshake(&mut wire, "PLAIN").await.0, ErrorCode::None);
    let answer = token(&mut wire, &plain(user)).await;
    assert_eq!(answer.error_code, ErrorCode::None, "{answer:?}");
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_to_who_has_not_said_who_they_are() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    // What each request is matters not: it is not even decoded.
    for api in ApiKey::ALL {
        let (_, version) = api.versions();
        let mut wire = Wire::connect(node.address).await;
        let mut frame = 10i32.to_be_bytes().to_vec();
        frame.extend(api.code().to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(1i32.to_be_bytes());
        frame.extend((-1i16).to_be_bytes());
        wire.send(&frame).await;
        if *api == ApiKey::ApiVersions {
            continue;
        }
        assert_eq!(wire.receive().await, None, "{api}");
    }
    let mut wire = Wire::connect(node.address).await;
    for version in 0..=4 {
        let answer = wire.ask(version, 1, ApiVersionsRequest::default()).await;
        assert!(matches!(answer, Response::ApiVersions(_)));
    }
    // A frame of 16 KiB and a byte ends the connection by its size alone.
    wire.send(&(16 * 1024 + 1i32).to_be_bytes()).await;
    assert_eq!(wire.receive().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_user_that_does_not_exist_look_the_same() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut told = BTreeSet::new();
    for attempt in [
        &b"\0anna\0bert's password"[..],
        b"\0nobody\0anna's password",
    ] {
        let mut wire = Wire::connect(node.address).await;
        handshake(&mut wire, "PLAIN").await;
        let answer = token(&mut wire, attempt).await;
        assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
        told.insert(answer.error_message);
        assert_eq!(wire.receive().await, None, "the connection ends");
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mechanism_that_is_not_offered_ends_the_connection_with_what_is() {
    let only_scram = |config: &mut BrokerConfig| {
        config.security.mechanisms = vec!["SCRAM-SHA-512".to_owned()];
    };
    let node = node("SASL_PLAINTEXT", only_scram).await;
    let mut wire = Wire::connect(node.address).await;
    let (error, offered) = handshake(&mut wire, "PLAIN").await;
    assert_eq!(error, ErrorCode::UnsupportedSaslMechanism);
    assert_eq!(offered, ["SCRAM-SHA-512"]);
    assert_eq!(wire.receive().await, None);
    // A token without a handshake is none.
    let mut wire = Wire::connect(node.address).await;
    let answer = token(&mut wire, &plain("anna")).await;
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
    assert_eq!(wire.receive().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_after_a_handshake_of_version_0_are_frames_by_themselves() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut wire = Wire::connect(node.address).await;
    let mechanism = "PLAIN".to_owned();
    wire.ask(0, 1, SaslHandshakeRequest { mechanism }).await;
    let token = plain("anna");
    let size = i32::try_from(token.len()).expect("small");
    wire.send(&[&size.to_be_bytes()[..], &token].concat()).await;
    assert_eq!(wire.receive().await, Some(Bytes::new()));
    let answer = wire.ask(9, 2, MetadataRequest::default()).await;
    assert!(matches!(answer, Response::Metadata(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_who_they_are_in_time_is_cut_off_and_few_may_try_at_once() {
    let node = node("SASL_PLAINTEXT", |config| {
        config.authentication_max = Duration::from_millis(300);
        config.connections_unauthenticated_max = 1;
    })
    .await;
    let anna = log_in(&node, "anna").await;
    let mut silent = Wire::connect(node.address).await;
    silent.ask(3, 1, ApiVersionsRequest::default()).await;
    let mut refused = Wire::connect(node.address).await;
    assert_eq!(refused.receive().await, None, "one at a time");
    assert_eq!(silent.receive().await, None, "too late");
    // Who is known has as long as they like, and makes room for others.
    let mut anna = anna;
    anna.ask(9, 1, MetadataRequest::default()).await;
    log_in(&node, "bert").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_changed_kept_and_removed() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut anna = log_in(&node, "anna").await;
    let alter = |deletions, upsertions| AlterUserScramCredentialsRequest {
        deletions,
        upsertions,
    };
    let upsertion = |name: &str, password: &[u8], iterations: i32| {
        let mut salted = [0; 32];
        let rounds = u32::try_from(iterations).unwrap_or(1);
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, b"salt", rounds, &mut salted);
        ScramUpsertion {
            name: name.to_owned(),
            mechanism: 1,
            iterations,
            salt: Bytes::from_static(b"salt"),
            salted_password: Bytes::copy_from_slice(&salted),
        }
    };
    let set = vec![
        upsertion("dora", b"new", 4096),
        upsertion("emil", b"weak", 10),
        upsertion("fred", b"twice", 4096),
        upsertion("fred", b"twice", 4096),
    ];
    let remove = vec![ScramDeletion {
        name: "gina".to_owned(),
        mechanism: 1,
    }];
    let Response::AlterUserScramCredentials(answer) = anna.ask(0, 1, alter(remove, set)).await
    else {
        panic!("another api answered");
    };
    let errors: Vec<(&str, ErrorCode)> = answer
        .results
        .iter()
        .map(|one| (one.user.as_str(), one.error_code))
        .collect();
    assert_eq!(
        errors,
        [
            ("dora", ErrorCode::None),
            ("emil", ErrorCode::UnacceptableCredential),
            ("fred", ErrorCode::DuplicateResource),
            ("gina", ErrorCode::ResourceNotFound),
        ]
    );
    drop(anna);

    // They outlive the broker.
    let folder = node.close().await;
    let node = Node::open(folder, |config| {
        config.listeners = parse_listeners("SASL_PLAINTEXT://127.0.0.1:0", "").expect("sound");
        config.security.super_users = vec!["User:dora".to_owned()];
    })
    .await;
    let mut dora = Wire::connect(node.address).await;
    handshake(&mut dora, "PLAIN").await;
    let answer = token(&mut dora, b"\0dora\0new").await;
    assert_eq!(answer.error_code, ErrorCode::None);
    let describe = DescribeUserScramCredentialsRequest { users: None };
    let Response::DescribeUserScramCredentials(known) = dora.ask(0, 1, describe).await else {
        panic!("another api answered");
    };
    assert_eq!(known.results.len(), 1);
    let info = &known.results[0].credential_infos[0];
    assert_eq!((info.mechanism, info.iterations), (1, 4096));
    let remove = vec![ScramDeletion {
        name: "dora".to_owned(),
        mechanism: 1,
    }];
    dora.ask(0, 2, alter(remove, Vec::new())).await;
    let mut wire = Wire::connect(node.address).await;
    handshake(&mut wire, "PLAIN").await;
    let answer = token(&mut wire, b"\0dora\0new").await;
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafka_with_a_password_produces_and_reads_as_without() {
    let mut node = node("SASL_PLAINTEXT", |_| {}).await;
    node.says = vec![
        ("security.protocol", "SASL_PLAINTEXT".to_owned()),
        ("sasl.mechanism", "PLAIN".to_owned()),
        ("sasl.username", "anna".to_owned()),
        ("sasl.password", "anna's password".to_owned()),
    ];
    node.create_topic("t", 1, &[]).await;
    let values = numbered("v", 100);
    let producer = node.producer(&[("enable.idempotence", "true")]);
    crate::node::produce(&producer, "t", &values).await;
    let read = consume(&node.consumer("t", 1, &[]), 100);
    assert_eq!(read, (0i64..).zip(values).collect::<Vec<_>>());
}

/// A token for `user` that holds for so long, signed with the shared key of the broker's own tests.
pub(super) fn bearer(user: &str, seconds: i64) -> Vec<u8> {
    let secret: Vec<u8> = (0..32).collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let expires = i64::try_from(now.as_secs()).expect("soon") + seconds;
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"HS256"}"#.to_owned());
    let claims = part(format!(r#"{{"sub":"{user}","exp":{expires}}}"#));
    let signed = format!("{header}.{claims}");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).expect("any key will do");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("n,,\u{1}auth=Bearer {signed}.{signature}\u{1}\u{1}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_is_let_in_until_the_token_expires_and_may_bring_another() {
    let keys = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/security/token/testdata/keys.json"
    );
    let node = node("SASL_PLAINTEXT", |config| {
        config.security.mechanisms = vec!["OAUTHBEARER".to_owned()];
        config.security.tokens.keys = keys.to_owned();
    })
    .await;
    let mut wire = Wire::connect(node.address).await;
    handshake(&mut wire, "OAUTHBEARER").await;
    let answer = token(&mut wire, &bearer("anna", 3600)).await;
    assert_eq!(answer.error_code, ErrorCode::None, "{answer:?}");
    let lifetime = answer.session_lifetime_ms;
    assert!((3_500_000..=3_600_000).contains(&lifetime), "{lifetime}");
    let answer = wire.ask(9, 1, MetadataRequest::default()).await;
    assert!(matches!(answer, Response::Metadata(_)));
    // Anew, as the same; nobody becomes somebody else on the way.
    handshake(&mut wire, "OAUTHBEARER").await;
    let answer = token(&mut wire, &bearer("anna", 7200)).await;
    assert!(answer.session_lifetime_ms > lifetime);
    handshake(&mut wire, "OAUTHBEARER").await;
    token(&mut wire, &bearer("bert", 7200)).await;
    assert_eq!(wire.receive().await, None);
    // Expired but within what clocks may be apart: let in, and cut off with the next request.
    let mut wire = Wire::connect(node.address).await;
    handshake(&mut wire, "OAUTHBEARER").await;
    let answer = token(&mut wire, &bearer("anna", -5)).await;
    assert_eq!(answer.error_code, ErrorCode::None);
    assert_eq!(answer.session_lifetime_ms, 1);
    // The clock of the broker has to go on by that millisecond.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2) {
        tokio::task::yield_now().await;
    }
    let mut frame = 10i32.to_be_bytes().to_vec();
    frame.extend([0, 18, 0, 0, 0, 0, 0, 1, 255, 255]);
    wire.send(&frame).await;
    assert_eq!(wire.receive().await, None);
    let mut wire = Wire::connect(node.address).await;
    handshake(&mut wire, "OAUTHBEARER").await;
    let answer = token(&mut wire, &bearer("anna", -100)).await;
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
}

/// Certificates of one authority: a server's, and clients'.
pub(crate) struct Authority {
    key: KeyPair,
    params: CertificateParams,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { key, params, pem }
    }

    /// Certificate and key of somebody, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn tls(&self, client_auth: ClientAuth) -> TlsConfig {
        let (certificate_chain, key) = self.issue("broker");
        TlsConfig {
            certificate_chain,
            key: Secret(key),
            trusted: self.pem.clone(),
            client_auth,
        }
    }

    /// A connection that believes this authority, of a client with or without a certificate.
    async fn connect(
        &self,
        node: &Node,
        client: Option<&str>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM");
        roots.add(root).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (certificate, key) = self.issue(name);
                let chain =
                    vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("sound")
            }
        };
        let socket = TcpStream::connect(node.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_requests_and_large_answers_come_whole() {
    let authority = Authority::new();
    let node = node("SASL_SSL", |config| {
        config.security.tls = authority.tls(ClientAuth::None);
    })
    .await;
    let stream = authority.connect(&node, None).await.expect("TLS");
    let mut wire = Wire::over(stream);
    handshake(&mut wire, "PLAIN").await;
    let answer = token(&mut wire, &plain("anna")).await;
    assert_eq!(answer.error_code, ErrorCode::None);
    create_topic(&mut wire, "big").await;
    let mut batch = BatchBuilder::new(Compression::None);
    let value = vec![7; 900_000];
    batch.append(0, None, Some(&value), &[]);
    let produced = wire
        .ask(9, 1, produce("big", None, batch.build(ProducerStamp::NONE)))
        .await;
    let Response::Produce(produced) = produced else {
        panic!("another api answered");
    };
    let partition = &produced.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, ErrorCode::None);
    let Response::Fetch(fetched) = wire.ask(12, 2, fetch("big")).await else {
        panic!("another api answered");
    };
    let records = fetched.responses[0].partitions[0].records.as_ref();
    assert!(records.is_some_and(|records| records.len() > 900_000));
    // Who speaks in the clear to it is cut off.
    let mut clear = Wire::connect(node.address).await;
    clear
        .send(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255])
        .await;
    while clear.receive_bytes().await > 0 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_who_a_client_is() {
    let authority = Authority::new();
    let node = node("SSL", |config| {
        config.security.tls = authority.tls(ClientAuth::Required);
        config.security.super_users = vec!["User:CN=anna".to_owned()];
    })
    .await;
    let names_of = |answer: Response| match answer {
        Response::ListGroups(answer) => answer.error_code,
        other => panic!("{other:?}"),
    };
    for (client, expected) in [
        ("anna", ErrorCode::None),
        ("bert", ErrorCode::ClusterAuthorizationFailed),
    ] {
        let stream = authority.connect(&node, Some(client)).await.expect("TLS");
        let mut wire = Wire::over(stream);
        let answer = wire.ask(3, 1, ListGroupsRequest::default()).await;
        assert_eq!(names_of(answer), ErrorCode::None);
        let request = DescribeLogDirsRequest { topics: None };
        let Response::DescribeLogDirs(answer) = wire.ask(4, 2, request).await else {
            panic!("another api answered");
        };
        assert_eq!(answer.error_code, expected, "{client}");
    }
    // Without a certificate, or with one of somebody else's, nobody gets in.
    let stranger = Authority::new();
    let strange = Authority {
        pem: authority.pem.clone(),
        ..stranger
    };
    // With TLS 1.3 a client learns of it with the first answer.
    let attempts = [
        authority.connect(&node, None).await,
        strange.connect(&node, Some("anna")).await,
    ];
    for stream in attempts.into_iter().flatten() {
        let mut wire = Wire::over(stream);
        // Whether it is still taken matters not.
        let _ = wire
            .try_send(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255])
            .await;
        assert_eq!(wire.receive().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_listener_are_told_its_address() {
    let node = Node::with(|config| {
        config.listeners = parse_listeners("PLAINTEXT://127.0.0.1:0", "").expect("sound");
        config.advertised_listeners =
            parse_advertised("PLAINTEXT://broker.example:1234").expect("sound");
    })
    .await;
    let mut wire = Wire::connect(node.address).await;
    let Response::Metadata(answer) = wire.ask(9, 1, MetadataRequest::default()).await else {
        panic!("another api answered");
    };
    let broker = &answer.brokers[0];
    assert_eq!(
        (broker.host.as_str(), broker.port),
        ("broker.example", 1234)
    );
    // Nobody asks who connects, so a handshake has no place.
    let mut wire = Wire::connect(node.address).await;
    let (error, _) = handshake(&mut wire, "PLAIN").await;
    assert_eq!(error, ErrorCode::IllegalSaslState);
}

async fn create_topic<S>(wire: &mut Wire<S>, name: &str)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let request = CreateTopicsRequest {
        topics: vec![creatable(name)],
        ..CreateTopicsRequest::default()
    };
    let Response::CreateTopics(answer) = wire.ask(7, 1, request).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.topics[0].error_code, ErrorCode::None, "{answer:?}");
}

fn creatable(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    }
}

fn produce(topic: &str, transactional_id: Option<&str>, batch: Bytes) -> ProduceRequest {
    ProduceRequest {
        transactional_id: transactional_id.map(str::to_owned),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(batch),
            }],
            ..TopicProduceData::default()
        }],
    }
}

fn fetch(topic: &str) -> FetchRequest {
    FetchRequest {
        max_bytes: 10_000_000,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 10_000_000,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn batch(value: &[u8]) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.append(0, None, Some(value), &[]);
    batch.build(ProducerStamp::NONE)
}

/// What nobody may, asked of each API: the version to ask in, and the request. A new API has no row here, and the test does not compile.
fn forbidden(api: ApiKey) -> Option<(i16, Request)> {
    let t = || "secret".to_owned();
    let request: Request = match api {
        // Answered to everyone: what the broker speaks, who one is, and where the broker is.
        ApiKey::ApiVersions
        | ApiKey::SaslHandshake
        | ApiKey::SaslAuthenticate
        | ApiKey::DescribeCluster => return None,
        ApiKey::Produce => return Some((9, produce("secret", None, batch(b"x")).into())),
        ApiKey::Fetch => return Some((12, fetch("secret").into())),
        ApiKey::ListOffsets => ListOffsetsRequest {
            topics: vec![ListOffsetsTopic {
                name: t(),
                partitions: vec![ListOffsetsPartition::default()],
            }],
            ..ListOffsetsRequest::default()
        }
        .into(),
        ApiKey::Metadata => MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(t()),
                ..MetadataRequestTopic::default()
            }]),
            ..MetadataRequest::default()
        }
        .into(),
        ApiKey::OffsetCommit => {
            let request = OffsetCommitRequest {
                group_id: t(),
                topics: vec![OffsetCommitRequestTopic {
                    name: t(),
                    partitions: vec![OffsetCommitRequestPartition::default()],
                    ..OffsetCommitRequestTopic::default()
                }],
                ..OffsetCommitRequest::default()
            };
            return Some((8, request.into()));
        }
        ApiKey::OffsetFetch => {
            let request = OffsetFetchRequest {
                group_id: t(),
                topics: Some(vec![OffsetFetchRequestTopic {
                    name: t(),
                    partition_indexes: vec![0],
                }]),
                ..OffsetFetchRequest::default()
            };
            return Some((7, request.into()));
        }
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest {
                key: t(),
                ..FindCoordinatorRequest::default()
            };
            return Some((3, request.into()));
        }
        ApiKey::JoinGroup => JoinGroupRequest {
            group_id: t(),
            ..JoinGroupRequest::default()
        }
        .into(),
        ApiKey::Heartbeat => HeartbeatRequest {
            group_id: t(),
            ..HeartbeatRequest::default()
        }
        .into(),
        ApiKey::LeaveGroup => LeaveGroupRequest {
            group_id: t(),
            ..LeaveGroupRequest::default()
        }
        .into(),
        ApiKey::SyncGroup => SyncGroupRequest {
            group_id: t(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            ..SyncGroupRequest::default()
        }
        .into(),
        ApiKey::DescribeGroups => DescribeGroupsRequest {
            groups: vec![t()],
            ..DescribeGroupsRequest::default()
        }
        .into(),
        ApiKey::ListGroups => ListGroupsRequest::default().into(),
        ApiKey::CreateTopics => CreateTopicsRequest {
            topics: vec![creatable("another")],
            ..CreateTopicsRequest::default()
        }
        .into(),
        ApiKey::DeleteTopics => {
            let request = DeleteTopicsRequest {
                topic_names: vec![t()],
                ..DeleteTopicsRequest::default()
            };
            return Some((5, request.into()));
        }
        ApiKey::DeleteRecords => DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: t(),
                partitions: vec![DeleteRecordsPartition::default()],
            }],
            ..DeleteRecordsRequest::default()
        }
        .into(),
        ApiKey::InitProducerId => InitProducerIdRequest {
            transactional_id: Some(t()),
            transaction_timeout_ms: 1000,
            ..InitProducerIdRequest::default()
        }
        .into(),
        ApiKey::OffsetForLeaderEpoch => OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: t(),
                partitions: vec![OffsetForLeaderPartition::default()],
            }],
            ..OffsetForLeaderEpochRequest::default()
        }
        .into(),
        ApiKey::AddPartitionsToTxn => {
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: t(),
                v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                    name: t(),
                    partitions: vec![0],
                }],
                ..AddPartitionsToTxnRequest::default()
            };
            return Some((3, request.into()));
        }
        ApiKey::AddOffsetsToTxn => AddOffsetsToTxnRequest {
            transactional_id: t(),
            group_id: t(),
            ..AddOffsetsToTxnRequest::default()
        }
        .into(),
        ApiKey::EndTxn => EndTxnRequest {
            transactional_id: t(),
            ..EndTxnRequest::default()
        }
        .into(),
        ApiKey::TxnOffsetCommit => TxnOffsetCommitRequest {
            transactional_id: t(),
            group_id: t(),
            topics: vec![TxnOffsetCommitRequestTopic {
                name: t(),
                partitions: vec![TxnOffsetCommitRequestPartition::default()],
            }],
            ..TxnOffsetCommitRequest::default()
        }
        .into(),
        ApiKey::DescribeAcls => DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..DescribeAclsRequest::default()
        }
        .into(),
        ApiKey::CreateAcls => CreateAclsRequest {
            creations: vec![allow(2, "secret", "bert", 3)],
        }
        .into(),
        ApiKey::DeleteAcls => DeleteAclsRequest {
            filters: vec![every_acl()],
        }
        .into(),
        ApiKey::DescribeConfigs => DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 2,
                resource_name: t(),
                ..DescribeConfigsResource::default()
            }],
            ..DescribeConfigsRequest::default()
        }
        .into(),
        ApiKey::AlterConfigs => AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 2,
                resource_name: t(),
                ..AlterConfigsResource::default()
            }],
            ..AlterConfigsRequest::default()
        }
        .into(),
        ApiKey::DescribeLogDirs => DescribeLogDirsRequest { topics: None }.into(),
        ApiKey::CreatePartitions => CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: t(),
                count: 2,
                ..CreatePartitionsTopic::default()
            }],
            ..CreatePartitionsRequest::default()
        }
        .into(),
        ApiKey::DeleteGroups => DeleteGroupsRequest {
            groups_names: vec![t()],
        }
        .into(),
        ApiKey::IncrementalAlterConfigs => IncrementalAlterConfigsRequest {
            resources: vec![IncrementalResource {
                resource_type: 2,
                resource_name: t(),
                ..IncrementalResource::default()
            }],
            ..IncrementalAlterConfigsRequest::default()
        }
        .into(),
        ApiKey::OffsetDelete => OffsetDeleteRequest {
            group_id: t(),
            ..OffsetDeleteRequest::default()
        }
        .into(),
        ApiKey::DescribeClientQuotas => DescribeClientQuotasRequest::default().into(),
        ApiKey::AlterClientQuotas => quota("bert", "producer_byte_rate", 1.0).into(),
        ApiKey::DescribeUserScramCredentials => {
            DescribeUserScramCredentialsRequest { users: None }.into()
        }
        ApiKey::AlterUserScramCredentials => AlterUserScramCredentialsRequest {
            deletions: vec![ScramDeletion {
                name: "anna".to_owned(),
                mechanism: 1,
            }],
            upsertions: Vec::new(),
        }
        .into(),
        ApiKey::DescribeProducers => DescribeProducersRequest {
            topics: vec![DescribeProducersTopic {
                name: t(),
                partition_indexes: vec![0],
            }],
        }
        .into(),
        ApiKey::DescribeTransactions => DescribeTransactionsRequest {
            transactional_ids: vec![t()],
        }
        .into(),
        ApiKey::ListTransactions => ListTransactionsRequest::default().into(),
        ApiKey::ElectLeaders => ElectLeadersRequest {
            topic_partitions: Some(vec![]),
            ..ElectLeadersRequest::default()
        }
        .into(),
        ApiKey::AlterPartitionReassignments => AlterPartitionReassignmentsRequest::default().into(),
        ApiKey::ListPartitionReassignments => ListPartitionReassignmentsRequest::default().into(),
        ApiKey::DescribeQuorum => DescribeQuorumRequest::default().into(),
        ApiKey::UpdateFeatures => UpdateFeaturesRequest::default().into(),
        ApiKey::UnregisterBroker => UnregisterBrokerRequest::default().into(),
        ApiKey::ListConfigResources => ListConfigResourcesRequest::default().into(),
        ApiKey::DescribeTopicPartitions => DescribeTopicPartitionsRequest {
            topics: vec![TopicName { name: t() }],
            ..DescribeTopicPartitionsRequest::default()
        }
        .into(),
    };
    Some((api.versions().1, request))
}

/// User `user` may do `operation` with the resource.
pub(super) fn allow(resource_type: i8, name: &str, user: &str, operation: i8) -> AclCreation {
    AclCreation {
        resource_type,
        resource_name: name.to_owned(),
        principal: format!("User:{user}"),
        host: "*".to_owned(),
        operation,
        permission_type: 3,
        ..AclCreation::default()
    }
}

fn every_acl() -> DeleteAclsFilter {
    DeleteAclsFilter {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..DeleteAclsFilter::default()
    }
}

fn quota(user: &str, key: &str, value: f64) -> AlterClientQuotasRequest {
    AlterClientQuotasRequest {
        entries: vec![AlterQuotaEntry {
            entity: vec![AlterQuotaEntity {
                entity_type: "user".to_owned(),
                entity_name: Some(user.to_owned()),
            }],
            ops: vec![AlterQuotaOp {
                key: key.to_owned(),
                value,
                remove: false,
            }],
        }],
        validate_only: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_api_refuses_who_may_nothing() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut anna = log_in(&node, "anna").await;
    create_topic(&mut anna, "secret").await;
    for api in ApiKey::ALL {
        let Some((version, request)) = forbidden(*api) else {
            continue;
        };
        let mut bert = log_in(&node, "bert").await;
        let answer = format!("{:?}", bert.ask(version, 1, request).await);
        // Lists leave out what may not be seen; all else says so.
        let is_list = matches!(api, ApiKey::ListGroups | ApiKey::ListTransactions);
        assert!(
            is_list || answer.contains("AuthorizationFailed"),
            "{api}: {answer}"
        );
        for told in ["topic_id: 0", "leader_id: 1"] {
            let nil = "topic_id: 00000000-0000-0000-0000-000000000000";
            assert!(!answer.replace(nil, "").contains(told), "{api}: {answer}");
        }
    }
    // Nothing of it was done.
    let Response::Metadata(answer) = anna.ask(9, 1, MetadataRequest::default()).await else {
        panic!("another api answered");
    };
    let names: Vec<_> = answer
        .topics
        .iter()
        .filter_map(|topic| topic.name.clone())
        .collect();
    assert!(names.contains(&"secret".to_owned()), "{names:?}");
    assert!(!names.contains(&"another".to_owned()), "{names:?}");
    let Response::DescribeAcls(answer) = anna
        .ask(3, 2, forbidden(ApiKey::DescribeAcls).expect("a row").1)
        .await
    else {
        panic!("another api answered");
    };
    assert_eq!(answer.error_code, ErrorCode::None);
    assert!(answer.resources.is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_access_are_added_obeyed_kept_and_removed() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut anna = log_in(&node, "anna").await;
    create_topic(&mut anna, "orders-1").await;
    let mut bert = log_in(&node, "bert").await;
    let error_of = |answer: Response| match answer {
        Response::Produce(answer) => answer.responses[0].partition_responses[0].error_code,
        other => panic!("{other:?}"),
    };
    let write = || produce("orders-1", None, batch(b"x"));
    let refused = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(error_of(bert.ask(9, 1, write()).await), refused);

    let prefixed = AclCreation {
        resource_pattern_type: 4,
        ..allow(2, "orders-", "bert", 4)
    };
    let odd = AclCreation {
        principal: "bert".to_owned(),
        ..allow(2, "orders-1", "bert", 4)
    };
    let create = CreateAclsRequest {
        creations: vec![prefixed, odd],
    };
    let Response::CreateAcls(answer) = anna.ask(3, 2, create).await else {
        panic!("another api answered");
    };
    let errors: Vec<_> = answer.results.iter().map(|one| one.error_code).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::InvalidRequest]);
    assert_eq!(error_of(bert.ask(9, 2, write()).await), ErrorCode::None);
    // To write is to see, not to read.
    let Response::Fetch(answer) = bert.ask(12, 3, fetch("orders-1")).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.responses[0].partitions[0].error_code, refused);
    let Response::Metadata(answer) = bert.ask(9, 4, MetadataRequest::default()).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.topics.len(), 1);
    drop((anna, bert));

    let folder = node.close().await;
    let node = Node::open(folder, |config| {
        config.listeners = parse_listeners("SASL_PLAINTEXT://127.0.0.1:0", "").expect("sound");
        let users = ["anna", "bert"].map(|user| {
            let password = Secret(format!("{user}'s password"));
            (user.to_owned(), password)
        });
        config.security.users = BTreeMap::from(users);
        config.security.super_users = vec!["User:anna".to_owned()];
    })
    .await;
    let mut bert = log_in(&node, "bert").await;
    assert_eq!(error_of(bert.ask(9, 1, write()).await), ErrorCode::None);
    let mut anna = log_in(&node, "anna").await;
    let delete = DeleteAclsRequest {
        filters: vec![every_acl()],
    };
    let Response::DeleteAcls(answer) = anna.ask(3, 1, delete).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.filter_results[0].matching_acls.len(), 1);
    assert_eq!(error_of(bert.ask(9, 2, write()).await), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_rules_are_not_looked_at_and_cannot_be_made() {
    let node = Node::start().await;
    let mut wire = Wire::connect(node.address).await;
    let create = CreateAclsRequest {
        creations: vec![allow(2, "t", "bert", 3)],
    };
    let Response::CreateAcls(answer) = wire.ask(3, 1, create).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.results[0].error_code, ErrorCode::SecurityDisabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_more_than_their_quota_is_told_and_held_back() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut anna = log_in(&node, "anna").await;
    create_topic(&mut anna, "t").await;
    let set = |key: &str, value| quota("anna", key, value);
    let Response::AlterClientQuotas(answer) =
        anna.ask(1, 1, set("producer_byte_rate", 20_000.0)).await
    else {
        panic!("another api answered");
    };
    assert_eq!(answer.entries[0].error_code, ErrorCode::None, "{answer:?}");
    for (key, value) in [("nothing", 1.0), ("producer_byte_rate", 0.0)] {
        let Response::AlterClientQuotas(answer) = anna.ask(1, 2, set(key, value)).await else {
            panic!("another api answered");
        };
        assert_eq!(answer.entries[0].error_code, ErrorCode::InvalidRequest);
    }
    let throttle = |answer: Response| match answer {
        Response::Produce(answer) => answer.throttle_time_ms,
        other => panic!("{other:?}"),
    };
    let began = Instant::now();
    let first = anna
        .ask(9, 3, produce("t", None, batch(&[7; 26_000])))
        .await;
    let told = throttle(first);
    assert!(
        (250..=400).contains(&told),
        "{told} ms for 6 KB too much at 20 KB/s"
    );
    // The next answer comes no sooner than that.
    anna.ask(3, 4, ApiVersionsRequest::default()).await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(told.try_into().expect("positive")));
    assert!(waited < PATIENCE);
    // Nor does another connection of hers get around it, however small its request is.
    let began = Instant::now();
    let told = throttle(
        anna.ask(9, 6, produce("t", None, batch(&[7; 30_000])))
            .await,
    );
    let mut again = log_in(&node, "anna").await;
    again.ask(9, 1, produce("t", None, batch(&[7; 10]))).await;
    let waited = began.elapsed();
    assert!(told > 0 && waited >= Duration::from_millis(told.try_into().expect("positive")));
    // Others are not concerned.
    let mut clara = log_in(&node, "clara").await;
    let answer = clara.ask(3, 1, ApiVersionsRequest::default()).await;
    assert!(matches!(answer, Response::ApiVersions(_)));
    let Response::DescribeClientQuotas(answer) =
        anna.ask(1, 5, DescribeClientQuotasRequest::default()).await
    else {
        panic!("another api answered");
    };
    let entries = answer.entries.expect("entries");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].values[0].key, "producer_byte_rate");
    assert_eq!(entries[0].values[0].value, 20_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_described_to_who_may_see_it() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let mut anna = log_in(&node, "anna").await;
    for name in ["a", "b", "c"] {
        create_topic(&mut anna, name).await;
    }
    let Response::DescribeLogDirs(dirs) = anna
        .ask(5, 1, DescribeLogDirsRequest { topics: None })
        .await
    else {
        panic!("another api answered");
    };
    assert!(dirs.results[0].total_bytes > 0);
    assert!(dirs.results[0].topics.iter().any(|topic| topic.name == "a"));
    let page = |cursor| DescribeTopicPartitionsRequest {
        topics: ["c", "a", "b"]
            .map(|name| TopicName {
                name: name.to_owned(),
            })
            .into(),
        response_partition_limit: 2,
        cursor,
    };
    let Response::DescribeTopicPartitions(first) = anna.ask(0, 2, page(None)).await else {
        panic!("another api answered");
    };
    let cursor = first.next_cursor.clone().expect("there is more");
    assert_eq!((first.topics.len(), cursor.topic_name.as_str()), (2, "c"));
    let Response::DescribeTopicPartitions(last) = anna.ask(0, 3, page(Some(cursor))).await else {
        panic!("another api answered");
    };
    assert_eq!((last.topics.len(), last.next_cursor), (1, None));

    let init = InitProducerIdRequest {
        transactional_id: Some("tx".to_owned()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let Response::InitProducerId(producer) = anna.ask(4, 4, init).await else {
        panic!("another api answered");
    };
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "tx".to_owned(),
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: "a".to_owned(),
            partitions: vec![0],
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    anna.ask(3, 5, add).await;
    let describe = DescribeTransactionsRequest {
        transactional_ids: vec!["tx".to_owned(), "none".to_owned()],
    };
    let Response::DescribeTransactions(answer) = anna.ask(0, 6, describe).await else {
        panic!("another api answered");
    };
    let tx = &answer.transaction_states[0];
    assert_eq!(tx.transaction_state, "Ongoing");
    assert_eq!(tx.topics[0].topic, "a");
    let none = &answer.transaction_states[1];
    assert_eq!(none.error_code, ErrorCode::TransactionalIdNotFound);
    let list = ListTransactionsRequest {
        state_filters: vec!["Ongoing".to_owned(), "Odd".to_owned()],
        ..ListTransactionsRequest::default()
    };
    let Response::ListTransactions(answer) = anna.ask(1, 7, list).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.unknown_state_filters, ["Odd"]);
    assert_eq!(answer.transaction_states.len(), 1);
    let Response::ListConfigResources(answer) =
        anna.ask(1, 8, ListConfigResourcesRequest::default()).await
    else {
        panic!("another api answered");
    };
    assert!(
        answer
            .config_resources
            .iter()
            .any(|one| one.resource_name == "c")
    );
}
