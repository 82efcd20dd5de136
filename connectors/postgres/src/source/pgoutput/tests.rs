//! Golden bytes of every message, and what hostile bytes come to.

use super::*;

/// Bytes from hexadecimal digits; spaces are for the reader.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn text(value: &str) -> Cell {
    Cell::Text(Bytes::copy_from_slice(value.as_bytes()))
}

/// Name, bytes, what they mean.
fn golden() -> Vec<(&'static str, Bytes, Message)> {
    vec![
        (
            "begin",
            hex("42 0000000001573F60 0002A1B2C3D4E5F6 000002E5"),
            Message::Begin {
                final_lsn: Lsn(0x0157_3F60),
                commit_time: 0x0002_A1B2_C3D4_E5F6,
                xid: 0x2E5,
            },
        ),
        (
            "commit",
            hex("43 00 0000000001573F60 0000000001573F90 0002A1B2C3D4E5F6"),
            Message::Commit {
                end_lsn: Lsn(0x0157_3F90),
                commit_time: 0x0002_A1B2_C3D4_E5F6,
            },
        ),
        (
            "origin",
            hex("4F 0000000000000010 6E6F646500"),
            Message::Origin {
                lsn: Lsn(16),
                name: "node".to_owned(),
            },
        ),
        (
            "relation",
            hex(
                "52 00004002 7075626C696300 7400 64 0002 01 696400 00000017 FFFFFFFF 00 6E00 00000413 00000024",
            ),
            Message::Relation(Relation {
                oid: 0x4002,
                schema: "public".to_owned(),
                name: "t".to_owned(),
                identity: Identity::Default,
                columns: vec![
                    RelationColumn {
                        name: "id".to_owned(),
                        type_oid: 23,
                        modifier: -1,
                        is_key: true,
                    },
                    RelationColumn {
                        name: "n".to_owned(),
                        type_oid: 1043,
                        modifier: 36,
                        is_key: false,
                    },
                ],
            }),
        ),
        (
            "type",
            hex("59 00004100 7075626C696300 6D6F6F6400"),
            Message::Type,
        ),
        (
            "insert",
            hex("49 00004002 4E 0003 74 00000001 31 6E 75"),
            Message::Insert {
                relation: 0x4002,
                new: vec![text("1"), Cell::Null, Cell::Unchanged],
            },
        ),
        (
            "update without the old row",
            hex("55 00004002 4E 0001 74 00000002 C3BC"),
            Message::Update {
                relation: 0x4002,
                old: None,
                new: vec![text("ü")],
            },
        ),
        (
            "update of the key",
            hex("55 00004002 4B 0001 74 00000001 31 4E 0001 74 00000001 32"),
            Message::Update {
                relation: 0x4002,
                old: Some(Old::Key(vec![text("1")])),
                new: vec![text("2")],
            },
        ),
        (
            "update with the old row",
            hex("55 00004002 4F 0001 74 00000000 4E 0001 6E"),
            Message::Update {
                relation: 0x4002,
                old: Some(Old::Row(vec![text("")])),
                new: vec![Cell::Null],
            },
        ),
        (
            "delete by key",
            hex("44 00004002 4B 0002 74 00000001 31 6E"),
            Message::Delete {
                relation: 0x4002,
                old: Old::Key(vec![text("1"), Cell::Null]),
            },
        ),
        (
            "delete of a row",
            hex("44 00004002 4F 0001 74 00000001 31"),
            Message::Delete {
                relation: 0x4002,
                old: Old::Row(vec![text("1")]),
            },
        ),
        (
            "truncate",
            hex("54 00000002 01 00004002 00004003"),
            Message::Truncate {
                relations: vec![0x4002, 0x4003],
            },
        ),
        (
            "logical message",
            hex("4D 01 0000000000000020 7000 00000003 010203"),
            Message::Logical {
                transactional: true,
                lsn: Lsn(32),
                prefix: "p".to_owned(),
                content: Bytes::from_static(&[1, 2, 3]),
            },
        ),
    ]
}

#[test]
fn golden_bytes_of_every_message() {
    for (name, bytes, expected) in golden() {
        assert_eq!(decode(bytes).as_ref(), Ok(&expected), "{name}");
    }
}

#[test]
fn every_cut_is_an_error_and_so_is_every_byte_too_many() {
    for (name, bytes, _) in golden() {
        for length in 0..bytes.len() {
            assert!(
                decode(bytes.slice(..length)).is_err(),
                "{name}, the first {length} bytes"
            );
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(
            matches!(
                decode(longer.into()),
                Err(DecodeError::Long { bytes: 1, .. })
            ),
            "{name}"
        );
    }
}

#[test]
fn lengths_from_the_wire_allocate_nothing() {
    for hostile in [
        "49 00004002 4E 7FFF",
        "49 00004002 4E 0001 74 7FFFFFFF",
        "49 00004002 4E 0001 74 FFFFFFFF",
        "49 00004002 4E FFFF",
        "54 7FFFFFFF 00",
        "54 80000000 00",
        "4D 00 0000000000000020 7000 7FFFFFFF",
        "52 00004002 00 00 64 7FFF",
        "52 00004002 00 00 00 0000",
        "49 00004002 4E 0001 62 00000001 31",
        "5A",
        "",
    ] {
        assert!(decode(hex(hostile)).is_err(), "{hostile}");
    }
}

#[test]
fn damaged_messages_never_panic() {
    // A small generator of its own: the same numbers every time, and the seed in every message.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (below as u64)).unwrap()
    };
    let messages = golden();
    for _ in 0..50_000 {
        let (_, bytes, _) = &messages[random(messages.len())];
        let mut damaged = bytes.to_vec();
        for _ in 0..=random(3) {
            let place = random(damaged.len());
            damaged[place] = u8::try_from(random(256)).unwrap();
        }
        damaged.truncate(1 + random(damaged.len()));
        // Whatever comes out: it comes out.
        let _ = decode(damaged.into());
    }
}
