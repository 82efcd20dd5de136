//! The cluster: who is in it, what it speaks, quotas, passwords, rules, and folders.

use log_protocol::ApiKey;
use log_protocol::api::alter_client_quotas::{
    AlterClientQuotasRequest, AlterQuotaEntity, AlterQuotaEntry, AlterQuotaOp,
};
use log_protocol::api::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, ScramDeletion, ScramUpsertion,
};
use log_protocol::api::api_versions::ApiVersionsRequest;
use log_protocol::api::create_acls::{AclCreation, CreateAclsRequest};
use log_protocol::api::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use log_protocol::api::describe_acls::DescribeAclsRequest;
use log_protocol::api::describe_client_quotas::{DescribeClientQuotasRequest, QuotaComponent};
use log_protocol::api::describe_cluster::DescribeClusterRequest;
use log_protocol::api::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use log_protocol::api::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, ScramUserName,
};
use log_protocol::api::list_config_resources::ListConfigResourcesRequest;
use log_protocol::api::sasl_authenticate::SaslAuthenticateRequest;
use log_protocol::api::sasl_handshake::SaslHandshakeRequest;

use super::talk::Talk;

/// Topics, and partitions of each.
type Named<'a> = &'a [(&'a str, &'a [i32])];

pub(super) async fn run(talk: &mut Talk) {
    brokers(talk).await;
    quotas(talk).await;
    passwords(talk).await;
    rules(talk).await;
    folders(talk).await;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "", "none"] {
        let request = |_| SaslHandshakeRequest {
            mechanism: mechanism.to_owned(),
        };
        talk.versions(format!("handshake for {mechanism:?}"), 0..=1, request)
            .await;
    }
    talk.versions("a token without a handshake", 0..=2, |_| {
        SaslAuthenticateRequest::default()
    })
    .await;
}

async fn brokers(talk: &mut Talk) {
    for endpoint_type in [0, 1, 2, 3, -1] {
        for fenced in [false, true] {
            let request = |_| DescribeClusterRequest {
                include_cluster_authorized_operations: fenced,
                endpoint_type,
                include_fenced_brokers: fenced,
            };
            talk.versions(
                format!("cluster by endpoint {endpoint_type}, fenced {fenced}"),
                0..=2,
                request,
            )
            .await;
        }
    }
    for (name, software, version) in [
        ("nothing", "", ""),
        ("a blank", "a b", "1"),
        ("a dash first", "-a", "1"),
        ("an odd version", "a", "1 2"),
        ("dots and dashes", "a.b-c", "1.0-x"),
    ] {
        talk.case(format!("versions, software is {name}"));
        let request = ApiVersionsRequest {
            client_software_name: software.to_owned(),
            client_software_version: version.to_owned(),
        };
        // What a broker speaks is not what is compared here.
        let answer = talk.quiet(3, request.clone()).await;
        talk.note_text(3, format!("{:?}", error_of_versions(&answer)));
    }
    for version in 0..=4 {
        let answer = talk
            .quiet(
                version,
                ApiVersionsRequest {
                    client_software_name: "a".to_owned(),
                    client_software_version: "1".to_owned(),
                },
            )
            .await;
        talk.case("versions of what is served here");
        talk.note_text(version, served(&answer));
    }
    for types in [
        &[] as &[i8],
        &[2],
        &[4],
        &[2, 4],
        &[16],
        &[32],
        &[0],
        &[127],
        &[-1],
        &[8],
    ] {
        let request = ListConfigResourcesRequest {
            resource_types: types.to_vec(),
        };
        if types.is_empty() || types.contains(&2) || types.contains(&4) || types.contains(&8) {
            // Topics come and go; the brokers are those of the cluster.
            continue;
        }
        talk.one(format!("config resources of types {types:?}"), 1, request)
            .await;
    }
    talk.one(
        "config resources, first version",
        0,
        ListConfigResourcesRequest::default(),
    )
    .await;
}

fn error_of_versions(answer: &log_protocol::Response) -> log_protocol::ErrorCode {
    match answer {
        log_protocol::Response::ApiVersions(answer) => answer.error_code,
        other => panic!("{other:?}"),
    }
}

/// The ranges of the APIs that exist here, as the other broker has them.
fn served(answer: &log_protocol::Response) -> String {
    let log_protocol::Response::ApiVersions(answer) = answer else {
        panic!("{answer:?}");
    };
    let ranges = ApiKey::ALL.iter().map(|api| {
        let found = answer.api_keys.iter().find(|one| one.api_key == api.code());
        found.map_or_else(
            || format!("{api} none"),
            |one| format!("{api} {}-{}", one.min_version, one.max_version),
        )
    });
    ranges.collect::<Vec<_>>().join(", ")
}

async fn quotas(talk: &mut Talk) {
    let alter =
        |entity: &[(&str, Option<&str>)], key: &str, value, remove| AlterClientQuotasRequest {
            entries: vec![AlterQuotaEntry {
                entity: entity
                    .iter()
                    .map(|(kind, name)| AlterQuotaEntity {
                        entity_type: (*kind).to_owned(),
                        entity_name: name.map(str::to_owned),
                    })
                    .collect(),
                ops: vec![AlterQuotaOp {
                    key: key.to_owned(),
                    value,
                    remove,
                }],
            }],
            validate_only: false,
        };
    let user: &[(&str, Option<&str>)] = &[("user", Some("quota-user"))];
    for (name, request) in [
        ("a user", alter(user, "producer_byte_rate", 1e9, false)),
        (
            "all users",
            alter(&[("user", None)], "consumer_byte_rate", 1e12, false),
        ),
        (
            "a client of a user",
            alter(
                &[("user", Some("quota-user")), ("client-id", Some("c"))],
                "request_percentage",
                500.0,
                false,
            ),
        ),
        (
            "half a percent",
            alter(user, "request_percentage", 0.5, false),
        ),
        (
            "half a byte",
            alter(user, "producer_byte_rate", 10.5, false),
        ),
        ("nothing", alter(user, "producer_byte_rate", 0.0, false)),
        (
            "less than nothing",
            alter(user, "producer_byte_rate", -1.0, false),
        ),
        (
            "no number",
            alter(user, "producer_byte_rate", f64::NAN, false),
        ),
        (
            "without end",
            alter(user, "producer_byte_rate", f64::INFINITY, false),
        ),
        ("an unknown key", alter(user, "no_such_key", 1.0, false)),
        ("an empty key", alter(user, "", 1.0, false)),
        (
            "an unknown entity",
            alter(&[("somebody", Some("x"))], "producer_byte_rate", 1.0, false),
        ),
        ("no entity", alter(&[], "producer_byte_rate", 1.0, false)),
        (
            "an entity twice",
            alter(
                &[("user", Some("a")), ("user", Some("b"))],
                "producer_byte_rate",
                1.0,
                false,
            ),
        ),
        (
            "an empty name",
            alter(&[("user", Some(""))], "producer_byte_rate", 1.0, false),
        ),
        (
            "an address",
            alter(
                &[("ip", Some("127.0.0.9"))],
                "connection_creation_rate",
                5000.0,
                false,
            ),
        ),
        (
            "no address",
            alter(
                &[("ip", Some("not an address"))],
                "connection_creation_rate",
                5000.0,
                false,
            ),
        ),
        (
            "an address and a user",
            alter(
                &[("ip", Some("127.0.0.9")), ("user", Some("a"))],
                "connection_creation_rate",
                5000.0,
                false,
            ),
        ),
        (
            "bytes of an address",
            alter(
                &[("ip", Some("127.0.0.9"))],
                "producer_byte_rate",
                5000.0,
                false,
            ),
        ),
        (
            "connections of a user",
            alter(user, "connection_creation_rate", 5000.0, false),
        ),
        (
            "controller mutations",
            alter(user, "controller_mutation_rate", 5000.0, false),
        ),
        (
            "what is not there, removed",
            alter(&[("user", Some("nobody"))], "producer_byte_rate", 0.0, true),
        ),
        (
            "an unknown key, removed",
            alter(user, "no_such_key", 0.0, true),
        ),
    ] {
        talk.versions(format!("quota of {name}"), 0..=1, |_| request.clone())
            .await;
    }
    let mut twice = alter(user, "producer_byte_rate", 1e9, false);
    twice.entries.push(twice.entries[0].clone());
    talk.one("a quota twice", 1, twice).await;
    talk.one("no quotas", 1, AlterClientQuotasRequest::default())
        .await;
    let component = |kind: &str, match_type, name: Option<&str>| QuotaComponent {
        entity_type: kind.to_owned(),
        match_type,
        match_name: name.map(str::to_owned),
    };
    for (name, components, strict) in [
        ("all", vec![], false),
        (
            "a user",
            vec![component("user", 0, Some("quota-user"))],
            false,
        ),
        (
            "a user alone",
            vec![component("user", 0, Some("quota-user"))],
            true,
        ),
        ("all users", vec![component("user", 1, None)], false),
        ("any user", vec![component("user", 2, None)], false),
        ("any user alone", vec![component("user", 2, None)], true),
        (
            "a user without name",
            vec![component("user", 0, None)],
            false,
        ),
        (
            "all users, by name",
            vec![component("user", 1, Some("x"))],
            false,
        ),
        (
            "any user, by name",
            vec![component("user", 2, Some("x"))],
            false,
        ),
        ("another match", vec![component("user", 3, None)], false),
        (
            "an unknown entity",
            vec![component("somebody", 0, Some("x"))],
            false,
        ),
        ("an empty entity", vec![component("", 0, Some("x"))], false),
        (
            "a user twice",
            vec![component("user", 2, None), component("user", 2, None)],
            false,
        ),
        (
            "addresses and users",
            vec![component("ip", 2, None), component("user", 2, None)],
            false,
        ),
        ("any address", vec![component("ip", 2, None)], false),
        ("all addresses", vec![component("ip", 1, None)], false),
        ("nobody", vec![component("user", 0, Some("nobody"))], false),
    ] {
        let request = |_| DescribeClientQuotasRequest {
            components: components.clone(),
            strict,
        };
        talk.versions(format!("quotas of {name}"), 0..=1, request)
            .await;
    }
}

async fn passwords(talk: &mut Talk) {
    let describe = |users: Option<&[&str]>| DescribeUserScramCredentialsRequest {
        users: users.map(|users| {
            users
                .iter()
                .map(|name| ScramUserName {
                    name: (*name).to_owned(),
                })
                .collect()
        }),
    };
    talk.one("passwords before there are any", 0, describe(None))
        .await;
    let upsert = |name: &str, mechanism, iterations| ScramUpsertion {
        name: name.to_owned(),
        mechanism,
        iterations,
        salt: vec![7; 20].into(),
        salted_password: vec![9; if mechanism == 2 { 64 } else { 32 }].into(),
    };
    let delete = |name: &str, mechanism| ScramDeletion {
        name: name.to_owned(),
        mechanism,
    };
    let alter = |upsertions: Vec<ScramUpsertion>, deletions: Vec<ScramDeletion>| {
        AlterUserScramCredentialsRequest {
            deletions,
            upsertions,
        }
    };
    for (name, request) in [
        ("a user", alter(vec![upsert("u", 1, 4096)], vec![])),
        (
            "another mechanism",
            alter(vec![upsert("u", 2, 8192)], vec![]),
        ),
        ("mechanism 0", alter(vec![upsert("u", 0, 4096)], vec![])),
        ("mechanism 3", alter(vec![upsert("u", 3, 4096)], vec![])),
        ("no name", alter(vec![upsert("", 1, 4096)], vec![])),
        ("few iterations", alter(vec![upsert("u", 1, 4095)], vec![])),
        ("no iterations", alter(vec![upsert("u", 1, 0)], vec![])),
        ("-1 iterations", alter(vec![upsert("u", 1, -1)], vec![])),
        ("as many as go", alter(vec![upsert("u", 1, 16384)], vec![])),
        (
            "too many iterations",
            alter(vec![upsert("u", 1, 16385)], vec![]),
        ),
        (
            "a user twice",
            alter(vec![upsert("u", 1, 4096), upsert("u", 1, 4096)], vec![]),
        ),
        (
            "both mechanisms",
            alter(vec![upsert("v", 1, 4096), upsert("v", 2, 4096)], vec![]),
        ),
        (
            "in and out",
            alter(vec![upsert("u", 1, 4096)], vec![delete("u", 1)]),
        ),
        (
            "in and out by another",
            alter(vec![upsert("u", 1, 4096)], vec![delete("u", 2)]),
        ),
        ("nobody, out", alter(vec![], vec![delete("nobody", 1)])),
        ("no name, out", alter(vec![], vec![delete("", 1)])),
        ("mechanism 0, out", alter(vec![], vec![delete("u", 0)])),
        (
            "twice out",
            alter(vec![], vec![delete("v", 1), delete("v", 1)]),
        ),
        ("nothing", alter(vec![], vec![])),
        (
            "good beside bad",
            alter(vec![upsert("w", 1, 4096), upsert("x", 1, 1)], vec![]),
        ),
    ] {
        talk.one(format!("password of {name}"), 0, request).await;
    }
    for (name, users) in [
        ("all", None),
        ("an empty list", Some(&[] as &[&str])),
        ("a user", Some(&["v"])),
        ("nobody", Some(&["nobody"])),
        ("no name", Some(&[""])),
        ("a user twice", Some(&["v", "v"])),
        ("some", Some(&["v", "nobody", "w"])),
    ] {
        talk.one(format!("passwords of {name}"), 0, describe(users))
            .await;
    }
}

/// Without anybody who decides about rules.
async fn rules(talk: &mut Talk) {
    let rule = AclCreation {
        resource_type: 2,
        resource_name: "t".to_owned(),
        principal: "User:u".to_owned(),
        host: "*".to_owned(),
        operation: 3,
        permission_type: 3,
        ..AclCreation::default()
    };
    talk.versions("a rule", 1..=3, |_| CreateAclsRequest {
        creations: vec![rule.clone()],
    })
    .await;
    talk.versions("no rules", 1..=3, |_| CreateAclsRequest::default())
        .await;
    let any = DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..DescribeAclsRequest::default()
    };
    talk.versions("all rules", 1..=3, |version| DescribeAclsRequest {
        pattern_type_filter: if version == 0 { 3 } else { 1 },
        ..any.clone()
    })
    .await;
    let filter = DeleteAclsFilter {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..DeleteAclsFilter::default()
    };
    talk.versions("rules, deleted", 1..=3, |_| DeleteAclsRequest {
        filters: vec![filter.clone()],
    })
    .await;
}

async fn folders(talk: &mut Talk) {
    talk.topic("in-a-folder", 2, &[]).await;
    let ask = |topics: &[(&str, &[i32])]| DescribeLogDirsRequest {
        topics: Some(
            topics
                .iter()
                .map(|(topic, partitions)| DescribableLogDirTopic {
                    topic: (*topic).to_owned(),
                    partitions: partitions.to_vec(),
                })
                .collect(),
        ),
    };
    let cases: [(&str, Named<'_>); 7] = [
        ("a topic", &[("in-a-folder", &[0, 1])]),
        ("a partition", &[("in-a-folder", &[1])]),
        ("a partition twice", &[("in-a-folder", &[1, 1])]),
        ("partition 9", &[("in-a-folder", &[9])]),
        ("no partitions", &[("in-a-folder", &[])]),
        ("nowhere", &[("nowhere", &[0])]),
        ("nothing", &[]),
    ];
    for (name, topics) in cases {
        talk.versions(format!("folders of {name}"), 1..=5, |_| ask(topics))
            .await;
    }
}
