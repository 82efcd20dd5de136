//! Callers over HTTP: the same users, tokens and rules as on the socket.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log_broker::{Action, Object};
use log_protocol::Response;
use log_protocol::api::create_acls::CreateAclsRequest;

use crate::security::{allow, bearer, log_in, node};

/// Where they call from.
const HOST: &str = "127.0.0.1";

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_by_their_password_and_may_what_the_rules_say() {
    let node = node("SASL_PLAINTEXT", |_| {}).await;
    let guard = node.broker.guard();
    assert!(guard.takes_passwords() && !guard.takes_tokens());
    let anna = guard.caller(&basic("anna", "anna's password"), HOST).await;
    let anna = anna.expect("known");
    let right = basic("bert", "bert's password");
    let bert = guard.caller(&right, HOST).await.expect("known");
    assert_eq!(bert.to_string(), "User:bert");
    let again = guard.clone().caller(&right, HOST).await;
    assert_eq!(again.as_ref(), Ok(&bert), "remembered");
    for wrong in [
        basic("bert", "anna's password"),
        basic("bert", ""),
        basic("nobody", "bert's password"),
        basic("", ""),
        basic("bert\0bert's password", ""),
        "Basic !".to_owned(),
        "Bearer a.b.c".to_owned(),
        "Digest x".to_owned(),
        String::new(),
    ] {
        assert!(guard.caller(&wrong, HOST).await.is_err(), "{wrong}");
    }
    let orders = Object::Topic("orders");
    assert!(guard.may(&anna, Action::Alter, Object::Cluster), "super");
    assert!(!guard.may(&bert, Action::Read, orders));
    let mut wire = log_in(&node, "anna").await;
    let creations = vec![allow(2, "orders", "bert", 3)];
    let answer = wire.ask(3, 1, CreateAclsRequest { creations }).await;
    assert!(matches!(answer, Response::CreateAcls(_)));
    assert!(guard.may(&bert, Action::Read, orders) && guard.may(&bert, Action::Describe, orders));
    assert!(!guard.may(&bert, Action::Write, orders));
    assert!(!guard.may(&bert, Action::Read, Object::Topic("orders2")));
    assert!(!guard.may(&bert, Action::Describe, Object::Cluster));
    // What was remembered under the rules before is looked at again.
    assert_eq!(guard.caller(&right, HOST).await, Ok(bert));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_by_their_token_until_it_expires() {
    let keys = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/security/token/testdata/keys.json"
    );
    let node = node("SASL_PLAINTEXT", |config| {
        config.security.mechanisms = vec!["OAUTHBEARER".to_owned()];
        config.security.tokens.keys = keys.to_owned();
        config.authentication_failure_delay = Duration::ZERO;
    })
    .await;
    let guard = node.broker.guard();
    assert!(guard.takes_tokens() && !guard.takes_passwords());
    let header = |seconds: i64| {
        let message = String::from_utf8(bearer("anna", seconds)).expect("text");
        let token = message.split("Bearer ").nth(1).expect("a token");
        format!("bearer {}", token.trim_end_matches('\u{1}'))
    };
    let anna = guard.caller(&header(3600), HOST).await.expect("known");
    assert_eq!(anna.to_string(), "User:anna");
    assert!(guard.caller(&header(-100), HOST).await.is_err());
    let password = basic("anna", "anna's password");
    assert!(guard.caller(&password, HOST).await.is_err());
}
