//! The example of RFC 7677, its twin for SHA-512, and what must not be let through.

use super::*;

const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

fn challenge(mechanism: ScramMechanism, salt: &str, nonce: &str) -> Challenge {
    let salt = BASE64.decode(salt).expect("base64");
    let credential = ScramCredential::of_password(mechanism, b"pencil", salt);
    let first = ClientFirst::read(FIRST).expect("sound");
    Challenge::new(mechanism, credential, first, nonce)
}

fn rfc_7677() -> Challenge {
    challenge(
        ScramMechanism::Sha256,
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    )
}

const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

#[test]
fn the_example_of_rfc_7677() {
    let challenge = rfc_7677();
    assert_eq!(
        challenge.message(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    assert_eq!(
        challenge.finish(LAST.as_bytes()).as_deref(),
        Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    );
}

/// Values of Python's hashlib and hmac.
#[test]
fn the_same_with_sha_512() {
    let challenge = challenge(
        ScramMechanism::Sha512,
        "Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=",
        "02431b08-2f0b-4bba-a9d1-95d0a1e6f1a3",
    );
    let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO02431b08-2f0b-4bba-a9d1-95d0a1e6f1a3,\
                p=rYPXwO2yjn6nJp3adE7/WgNHPqZJxAJt09U2xGpD36pEuPabP9dSpw85dN7DrH3/pKn6HT5xExw4zXBB1FYL2g==";
    assert_eq!(
        challenge.finish(last.as_bytes()).as_deref(),
        Ok(
            "v=qGFPzihV9pMVODrME9WNybLNag3uM8wm+LmcIOArH6dF+Czb9z8+sJCSgjDSAtgourgQKCEd4MIYd3/KtjWMuQ=="
        )
    );
}

#[test]
fn nobody_has_the_shape_that_most_have() {
    let shape = |salt_bytes, iterations| Shape {
        salt_bytes,
        iterations,
    };
    let (rare, common) = (shape(64, 8192), shape(100, 10_000));
    assert_eq!(Shape::most_common([].into_iter()), Shape::OWN);
    let shapes = [rare, common, common, Shape::OWN];
    assert_eq!(Shape::most_common(shapes.into_iter()), common);
    assert_eq!(Shape::most_common([common, rare].into_iter()), rare);
    let of = |user| ScramCredential::of_nobody(ScramMechanism::Sha256, b"secret", user, common);
    assert_eq!(of("anna").shape(), common);
    assert_ne!(of("anna").salt, of("bert").salt);
    assert_eq!(of("anna").salt, of("anna").salt);
}

#[test]
fn a_proof_for_another_nonce_channel_or_password_is_refused() {
    let finish = |last: String| rfc_7677().finish(last.as_bytes());
    // The whole exchange again, against another nonce of the server.
    let other = challenge(
        ScramMechanism::Sha256,
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "another",
    );
    assert!(matches!(
        other.finish(LAST.as_bytes()),
        Err(ScramError::Malformed(_))
    ));
    // The client's part of the nonce alone.
    let short = LAST.replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "");
    assert!(finish(short).is_err());
    let channel = LAST.replace("c=biws", "c=eSws");
    assert!(matches!(finish(channel), Err(ScramError::Malformed(_))));
    let proof = LAST.replace("p=dHz", "p=dHy");
    assert_eq!(finish(proof), Err(ScramError::Refused));
    let empty = LAST.split(",p=").next().expect("split").to_owned() + ",p=";
    assert!(finish(empty).is_err());
}

/// The client's last message with this nonce, by who knows the password.
fn last_with(challenge: &Challenge, nonce: &str) -> String {
    let mechanism = challenge.mechanism;
    let salt = &challenge.credential.salt;
    let salted = mechanism.salted(b"pencil", salt, ITERATIONS);
    let client_key = mechanism.hmac(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={nonce}");
    let (first, second) = (&challenge.first.bare, challenge.message());
    let signed = format!("{first},{second},{without_proof}");
    let signature = mechanism.hmac(&mechanism.hash(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key
        .iter()
        .zip(&signature)
        .map(|(a, b)| a ^ b)
        .collect();
    format!("{without_proof},p={}", BASE64.encode(proof))
}

#[test]
fn a_client_may_repeat_its_own_part_of_the_nonce_but_not_leave_out_the_servers() {
    let challenge = rfc_7677();
    let (ours, theirs) = ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "rOprNGfwEbeRWgbNEkqO");
    let finish = |nonce: String| challenge.finish(last_with(&challenge, &nonce).as_bytes());
    assert!(finish(format!("{theirs}{ours}")).is_ok());
    assert!(finish(format!("{theirs}{theirs}{ours}")).is_ok());
    for wrong in [
        theirs.to_owned(),
        ours.to_owned(),
        format!("{theirs}{ours}x"),
        format!("{ours}{theirs}"),
    ] {
        assert!(finish(wrong).is_err());
    }
}

#[test]
fn a_user_that_does_not_exist_gets_the_same_salt_each_time_and_never_in() {
    let of = |user| ScramCredential::of_nobody(ScramMechanism::Sha256, b"secret", user, Shape::OWN);
    assert_eq!(of("a"), of("a"));
    assert_ne!(of("a"), of("b"));
    assert!(!of("a").fits(ScramMechanism::Sha256, b""));
    let first = ClientFirst::read(FIRST).expect("sound");
    let challenge = Challenge::new(ScramMechanism::Sha256, of("user"), first, "x");
    let nonce = "r=rOprNGfwEbeRWgbNEkqOx";
    let proof = BASE64.encode([0; 32]);
    let last = format!("c=biws,{nonce},p={proof}");
    assert_eq!(
        challenge.finish(last.as_bytes()),
        Err(ScramError::Refused),
        "as with a wrong password"
    );
}

#[test]
fn what_is_no_first_message_is_refused() {
    for token in [
        &b""[..],
        b"n",
        b"n,,",
        b"n,,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=us=er,r=abc",
        b"p=tls-unique,,n=user,r=abc",
        b"n,a=root,n=user,r=abc",
        b"n,,n=user,r=a\x01c",
        b"n,,n=user,r=abc,tokenauth=true",
        b"\xff\xfe",
    ] {
        assert!(ClientFirst::read(token).is_err(), "{token:?}");
    }
    let escaped = ClientFirst::read(b"y,a=a=2Cb=3D,n=a=2Cb=3D,r=abc").expect("sound");
    assert_eq!(escaped.user, "a,b=");
}

#[test]
fn a_credential_says_nothing_of_its_keys() {
    let credential =
        ScramCredential::of_password(ScramMechanism::Sha256, b"pencil", b"salt".to_vec());
    assert!(credential.fits(ScramMechanism::Sha256, b"pencil"));
    assert!(!credential.fits(ScramMechanism::Sha256, b"pen"));
    assert_eq!(
        format!("{credential:?}"),
        "ScramCredential { iterations: 4096, .. }"
    );
}
