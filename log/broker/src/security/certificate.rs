//! Whom a certificate names: its subject as a distinguished name in the text form of RFC 2253, as Java and so Kafka write it. PURE.
//!
//! ```text
//!  Certificate  SEQUENCE { TBSCertificate SEQUENCE { [0] version?, serial, algorithm, issuer, validity, subject, … }, … }
//!  subject      SEQUENCE of SET of SEQUENCE { OID, string }      the last comes first in the text
//! ```
//! The signature was checked before, by TLS; nothing of it is believed here but that it is DER.

/// Subject attributes with a short name; others are written as their number, with the DER of their value in hexadecimal.
const NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;

/// The subject of a certificate in DER, for example `CN=anna,O=Thalweg`; none if it is not one, or names nobody.
pub(crate) fn subject_of(certificate: &[u8]) -> Option<String> {
    let mut outer = Der(certificate).expect(SEQUENCE)?;
    let mut body = outer.expect(SEQUENCE)?;
    if body.0.first() == Some(&VERSION) {
        body.next()?;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        body.next()?;
    }
    let mut subject = body.expect(SEQUENCE)?;
    let mut parts = Vec::new();
    while !subject.0.is_empty() {
        let mut set = subject.expect(SET)?;
        let mut together = Vec::new();
        while !set.0.is_empty() {
            together.push(attribute(set.expect(SEQUENCE)?)?);
        }
        parts.push(together.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|text| !text.is_empty())
}

fn attribute(mut from: Der<'_>) -> Option<String> {
    let oid = from.expect(OID)?.0;
    let whole = from.0;
    let (tag, value) = from.next()?;
    let name = NAMES.iter().find(|(known, _)| *known == oid);
    let text = matches!(tag, UTF8 | PRINTABLE | TELETEX | IA5)
        .then(|| std::str::from_utf8(value).ok())
        .flatten();
    match (name, text) {
        (Some((_, name)), Some(text)) => Some(format!("{name}={}", escaped(text))),
        _ => {
            let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("{}=#{hex}", dotted(oid)?))
        }
    }
}

/// Characters that part a name are led by a backslash.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let is_special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=')
            || (at == 0 && matches!(c, '#' | ' '))
            || (at == last && c == ' ');
        if is_special {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// An object identifier as numbers.
fn dotted(oid: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = number.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    let first = *numbers.first()?;
    let top = (first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    for number in &numbers[1..] {
        text.push_str(&format!(".{number}"));
    }
    Some(text)
}

/// Elements that are still to be read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and what it holds.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            let bytes = length & 0x7f;
            if bytes == 0 || bytes > 4 {
                return None;
            }
            length = 0;
            for _ in 0..bytes {
                let (byte, others) = rest.split_first()?;
                length = length << 8 | usize::from(*byte);
                rest = others;
            }
        }
        if length > rest.len() {
            return None;
        }
        let (value, rest) = rest.split_at(length);
        self.0 = rest;
        Some((*tag, value))
    }

    fn expect(&mut self, wanted: u8) -> Option<Der<'a>> {
        let (tag, value) = self.next()?;
        (tag == wanted).then_some(Der(value))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(attributes: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().expect("a key");
        params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .to_vec()
    }

    #[test]
    fn the_last_part_comes_first() {
        let der = certificate(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Thalweg, Inc."),
            (DnType::CommonName, "anna"),
        ]);
        assert_eq!(
            subject_of(&der).as_deref(),
            Some("CN=anna,O=Thalweg\\, Inc.,C=DE")
        );
    }

    #[test]
    fn an_attribute_without_a_name_is_its_number() {
        let der = certificate(&[(DnType::CustomDnType(vec![1, 2, 3, 4000]), "x")]);
        assert_eq!(subject_of(&der).as_deref(), Some("1.2.3.4000=#0c0178"));
    }

    #[test]
    fn whatever_is_cut_or_changed_ends_without_a_panic() {
        let der = certificate(&[(DnType::CommonName, "anna")]);
        for end in 0..der.len() {
            subject_of(&der[..end]);
        }
        for at in 0..der.len() {
            let mut wrong = der.clone();
            wrong[at] ^= 0xff;
            subject_of(&wrong);
        }
        assert_eq!(subject_of(&certificate(&[])), None);
    }
}
