//! Kafka's rules, one by one, and against a judge that reads all of them each time.

use super::*;

fn acl(name: &str, principal: &str, operation: Operation, permission: Permission) -> Acl {
    let (pattern, name) = match name.strip_suffix('…') {
        Some(prefix) => (Pattern::Prefixed, prefix),
        None => (Pattern::Literal, name),
    };
    Acl {
        kind: ResourceKind::Topic,
        pattern,
        name: name.to_owned(),
        principal: format!("User:{principal}"),
        host: "*".to_owned(),
        operation,
        permission,
    }
}

fn decide(acls: &[Acl], user: &str, operation: Operation, topic: &str) -> Option<bool> {
    let principal = Principal::user(user);
    Rules::of(acls).decide(
        &principal,
        "10.0.0.1",
        operation,
        (ResourceKind::Topic, topic),
    )
}

use Operation::{All, Alter, AlterConfigs, Describe, DescribeConfigs, Read, Write};
use Permission::{Allow, Deny};

#[test]
fn a_denial_wins_over_any_allowance() {
    let acls = [
        acl("*", "*", All, Allow),
        acl("pay…", "anna", Write, Deny),
        acl("payments", "anna", Write, Allow),
    ];
    assert_eq!(decide(&acls, "anna", Write, "payments"), Some(false));
    assert_eq!(decide(&acls, "anna", Read, "payments"), Some(true));
    assert_eq!(decide(&acls, "bert", Write, "payments"), Some(true));
    assert_eq!(decide(&acls, "anna", Write, "orders"), Some(true));
}

#[test]
fn rules_about_others_keep_everyone_else_out_and_no_rules_say_nothing() {
    let acls = [acl("orders", "anna", Read, Allow)];
    assert_eq!(decide(&acls, "bert", Read, "orders"), Some(false));
    assert_eq!(decide(&acls, "bert", Read, "other"), None);
    assert_eq!(decide(&acls, "bert", Read, "orders2"), None, "literal");
}

#[test]
fn who_may_use_a_thing_may_see_it_but_a_denial_denies_only_itself() {
    for operation in [Read, Write, Alter, Operation::Delete] {
        let acls = [acl("t", "anna", operation, Allow)];
        assert_eq!(decide(&acls, "anna", Describe, "t"), Some(true));
        let acls = [acl("t", "anna", operation, Deny), acl("t", "*", All, Allow)];
        assert_eq!(decide(&acls, "anna", Describe, "t"), Some(true));
    }
    let acls = [acl("t", "anna", AlterConfigs, Allow)];
    assert_eq!(decide(&acls, "anna", DescribeConfigs, "t"), Some(true));
    assert_eq!(decide(&acls, "anna", Describe, "t"), Some(false));
    let acls = [acl("t", "anna", Describe, Deny), acl("t", "*", All, Allow)];
    assert_eq!(decide(&acls, "anna", Read, "t"), Some(true));
}

#[test]
fn hosts_are_compared() {
    let mut one = acl("t", "anna", Read, Allow);
    one.host = "10.0.0.2".to_owned();
    assert_eq!(decide(&[one.clone()], "anna", Read, "t"), Some(false));
    one.host = "10.0.0.1".to_owned();
    assert_eq!(decide(&[one], "anna", Read, "t"), Some(true));
}

#[test]
fn the_index_decides_as_reading_every_rule_does() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let names = ["a", "ab", "abc", "b", "é", "éa", "*"];
    let operations = [All, Read, Write, Describe, Alter];
    for _ in 0..2000 {
        let acls: Vec<Acl> = (0..random.usize(..6))
            .map(|_| {
                let mut name = names[random.usize(..names.len())].to_owned();
                if random.bool() {
                    name.push('…');
                }
                let user = ["anna", "bert", "*"][random.usize(..3)];
                let operation = operations[random.usize(..operations.len())];
                acl(
                    &name,
                    user,
                    operation,
                    if random.bool() { Allow } else { Deny },
                )
            })
            .collect();
        let user = ["anna", "bert"][random.usize(..2)];
        let operation = operations[random.usize(..operations.len())];
        let topic = names[random.usize(..names.len() - 1)];
        let about: Vec<&Acl> = acls
            .iter()
            .filter(|acl| match acl.pattern {
                Pattern::Literal => acl.name == topic || acl.name == "*",
                Pattern::Prefixed => topic.starts_with(&acl.name),
            })
            .collect();
        let mine = about
            .iter()
            .filter(|acl| acl.principal == "User:*" || acl.principal == format!("User:{user}"));
        let denied = mine
            .clone()
            .any(|acl| acl.permission == Deny && acl.operation.denies(operation));
        let allowed = mine
            .clone()
            .any(|acl| acl.permission == Allow && acl.operation.allows(operation));
        let expected = (!about.is_empty()).then_some(!denied && allowed);
        assert_eq!(
            decide(&acls, user, operation, topic),
            expected,
            "{user} {operation:?} {topic}: {acls:?}"
        );
    }
}

#[test]
fn some_topic_is_enough_unless_all_that_is_allowed_is_denied() {
    let some = |acls: &[Acl]| {
        let principal = Principal::user("anna");
        Rules::of(acls).decide_for_some(&principal, "10.0.0.1", Write, ResourceKind::Topic)
    };
    assert!(!some(&[]));
    assert!(some(&[acl("t", "anna", Write, Allow)]));
    assert!(!some(&[acl("t", "bert", Write, Allow)]));
    assert!(!some(&[
        acl("t", "anna", Write, Allow),
        acl("t", "anna", All, Deny)
    ]));
    assert!(!some(&[
        acl("ab…", "anna", Write, Allow),
        acl("a…", "anna", Write, Deny)
    ]));
    assert!(some(&[
        acl("a…", "anna", Write, Allow),
        acl("ab…", "anna", Write, Deny)
    ]));
    assert!(!some(&[
        acl("*", "anna", Write, Allow),
        acl("*", "anna", Write, Deny)
    ]));
}

#[test]
fn filters_find_by_name_by_match_and_by_anything() {
    let acls = [
        acl("orders", "anna", Read, Allow),
        acl("ord…", "anna", Read, Allow),
        acl("*", "bert", Read, Deny),
    ];
    let any = AclFilter {
        kind: None,
        pattern: PatternFilter::Any,
        name: None,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    };
    let found = |filter: &AclFilter| acls.iter().filter(|acl| filter.matches(acl)).count();
    assert_eq!(found(&any), 3);
    let named = |pattern, name: &str| AclFilter {
        pattern,
        name: Some(name.to_owned()),
        ..any.clone()
    };
    assert_eq!(found(&named(PatternFilter::Match, "orders")), 3);
    assert_eq!(found(&named(PatternFilter::Any, "orders")), 1);
    assert_eq!(
        found(&named(PatternFilter::Only(Pattern::Prefixed), "ord")),
        1
    );
    assert_eq!(
        found(&named(PatternFilter::Only(Pattern::Literal), "ord")),
        0
    );
    let denied = AclFilter {
        permission: Some(Deny),
        ..any
    };
    assert_eq!(found(&denied), 1);
}

#[test]
fn addresses_are_the_same_in_every_spelling() {
    for (spelled, canonical) in [
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::FFFF:10.0.0.7", "10.0.0.7"),
        ("2001:DB8::0A", "2001:db8::a"),
        ("*", "*"),
    ] {
        assert_eq!(canonical_host(spelled).as_deref(), Some(canonical));
        let acl = Acl {
            host: spelled.to_owned(),
            ..acl("orders", "eve", Read, Allow)
        };
        let rules = Rules::of(std::slice::from_ref(&acl));
        let eve = Principal::user("eve");
        let about = (ResourceKind::Topic, "orders");
        assert_eq!(rules.decide(&eve, canonical, Read, about), Some(true));
    }
    for unknown in ["", "localhost", "10.0.0.0/8"] {
        assert_eq!(canonical_host(unknown), None, "{unknown}");
    }
}
