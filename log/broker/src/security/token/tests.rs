//! Tokens that OpenSSL and Python have signed (`testdata/`), and what must not be let through.

use super::*;

const KEYS: &str = include_str!("testdata/keys.json");
const SIGNED: [&str; 3] = [
    include_str!("testdata/hs256.jwt"),
    include_str!("testdata/rs256.jwt"),
    include_str!("testdata/es256.jwt"),
];
const NOW_MS: i64 = 1_500_000;

fn rules() -> TokenRules {
    with(Some("https://issuer.example"), &["kafka"], "sub")
}

fn with(issuer: Option<&str>, audience: &[&str], claim: &str) -> TokenRules {
    let audience = audience.iter().map(|one| (*one).to_owned()).collect();
    let issuer = issuer.map(str::to_owned);
    TokenRules::new(KEYS, issuer, audience, claim.to_owned()).expect("keys")
}

#[test]
fn tokens_of_each_kind_of_key_let_their_user_in() {
    for token in SIGNED {
        let bearer = rules().check(token.trim(), NOW_MS).expect("sound");
        assert_eq!(bearer.user, "anna");
        assert_eq!(bearer.expires_ms, 2_000_000);
    }
}

#[test]
fn what_is_not_signed_by_a_known_key_lets_nobody_in() {
    let none = include_str!("testdata/none.jwt");
    assert_eq!(
        rules().check(none.trim(), NOW_MS),
        Err(TokenError::Signature)
    );
    let confused = include_str!("testdata/confused.jwt");
    assert_eq!(
        rules().check(confused.trim(), NOW_MS),
        Err(TokenError::Signature)
    );
    for token in SIGNED.map(str::trim) {
        // Whatever is changed in it.
        for (at, byte) in token.bytes().enumerate() {
            let mut wrong = token.as_bytes().to_vec();
            wrong[at] = if byte == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            // The last character of base64 may have bits that mean nothing; those are refused by the decoder or change nothing.
            let last = at + 1 == token.len();
            assert!(last || rules().check(&wrong, NOW_MS).is_err(), "{at}");
        }
        for end in 0..token.len() {
            assert!(rules().check(&token[..end], NOW_MS).is_err(), "{end}");
        }
    }
}

#[test]
fn time_issuer_audience_and_name_are_looked_at() {
    let token = SIGNED[0].trim();
    let skew = CLOCK_SKEW_MS;
    for (now_ms, expected) in [
        (1_000_000 - skew - 1, Err(TokenError::Time)),
        (1_000_000 - skew, Ok("anna")),
        (2_000_000 + skew - 1, Ok("anna")),
        (2_000_000 + skew, Err(TokenError::Time)),
    ] {
        let checked = rules().check(token, now_ms).map(|bearer| bearer.user);
        assert_eq!(checked.as_deref().map_err(|error| *error), expected);
    }
    let claims = Err(TokenError::Claims);
    assert_eq!(with(Some("else"), &[], "sub").check(token, NOW_MS), claims);
    assert_eq!(with(None, &["else"], "sub").check(token, NOW_MS), claims);
    assert_eq!(with(None, &[], "name").check(token, NOW_MS), claims);
    assert!(with(None, &[], "sub").check(token, NOW_MS).is_ok());
}

#[test]
fn keys_that_are_none_are_refused() {
    for keys in [
        "",
        "{}",
        r#"{"keys": []}"#,
        r#"{"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}"#,
        r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#,
        r#"{"keys": [{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}]}"#,
    ] {
        let refused = TokenRules::new(keys, None, Vec::new(), "sub".to_owned());
        let error = refused.expect_err(keys).to_string();
        assert!(
            error.starts_with("sasl.oauthbearer.jwks.endpoint.url: "),
            "{error}"
        );
    }
}
