//! Options of statements, and what they come to.

use connect_api::SourceOffset;

use super::*;

pub(super) fn map(options: &[(&str, &str)]) -> ConfigMap {
    let pairs = [
        ("database.hostname", "db"),
        ("database.user", "u"),
        ("database.dbname", "d"),
    ];
    let pairs = pairs.iter().chain(options);
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn tables_are_named_in_every_way() {
    for (options, schema, table) in [
        (&[(TABLE, "orders")] as &[_], "public", "orders"),
        (&[(TABLE, "shop.orders")], "shop", "orders"),
        (&[(TABLE, "orders"), (SCHEMA, "shop")], "shop", "orders"),
        (
            &[(TABLE, "shop.orders"), (SCHEMA, "shop")],
            "shop",
            "orders",
        ),
        (&[(TABLE, "a.b"), (SCHEMA, "shop")], "shop", "a.b"),
        (&[(TABLE, "a+b,c")], "public", "a+b,c"),
        (&[(TABLE, "CASE")], "public", "CASE"),
        (&[(TABLE, r#""CASE""#)], "public", "CASE"),
        (&[(TABLE, r#"a.b.c"#)], "a", "b.c"),
        (&[(TABLE, r#""a.b".c"#)], "a.b", "c"),
        (&[(TABLE, r#"a."b.c""#)], "a", "b.c"),
        (
            &[(TABLE, r#""Five 5"" disks""#), (SCHEMA, r#""A.b""#)],
            "A.b",
            "Five 5\" disks",
        ),
        (&[(TABLE, "five5\"")], "public", "five5\""),
    ] {
        let made = config("o", &map(options)).unwrap();
        let parsed = SourceConfig::parse(&made).unwrap();
        assert_eq!(parsed.publication, parsed.slot);
        assert!(parsed.capture.table(schema, table), "{options:?}");
        let shift = format!("{schema}.{table}");
        for (at, _) in shift.match_indices('.') {
            let (other, rest) = (&shift[..at], &shift[at + 1..]);
            let is_it = (other, rest) == (schema, table);
            assert_eq!(parsed.capture.table(other, rest), is_it, "{options:?}");
        }
        for other in [table.to_lowercase(), table.to_uppercase()] {
            let is_it = other == table;
            assert_eq!(parsed.capture.table(schema, &other), is_it, "{options:?}");
        }
    }
    for (options, key, why) in [
        (&[(TABLE, r#""t"#)] as &[_], TABLE, "not closed"),
        (&[(TABLE, r#"a.b."c""#)], TABLE, "not of the form"),
        (&[(TABLE, r#"a."b""#), (SCHEMA, "c")], TABLE, "schema.name"),
        (&[(TABLE, "t"), (SCHEMA, "\"c")], SCHEMA, "not closed"),
    ] {
        let error = config("o", &map(options)).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains(why), "{error}");
    }
}

#[test]
fn names_in_sql_that_is_told_are_quoted_where_they_have_to_be() {
    for (name, expected) in [
        ("t_1", "public.t_1"),
        ("Odd Name", "public.\"Odd Name\""),
        ("1a", "public.\"1a\""),
    ] {
        let table = TableEntry {
            oid: 1,
            schema: "public".to_owned(),
            name: name.to_owned(),
            identity: Identity::Default,
            has_key: true,
            is_root: false,
            rows: None,
        };
        assert_eq!(in_sql(&table), expected);
    }
}

#[test]
fn an_object_has_a_slot_of_its_own() {
    let made = config("Orders-2.x", &map(&[(TABLE, "t")])).unwrap();
    assert_eq!(made["slot.name"], "thalweg_orders_2_x");
    assert_eq!(made["topic.prefix"], "Orders-2.x");
    let long = config(&"x".repeat(200), &map(&[(TABLE, "t")])).unwrap();
    assert!(SourceConfig::parse(&long).is_ok());
    let own = config("o", &map(&[(TABLE, "t"), ("slot.name", "thalweg_o")])).unwrap();
    assert_eq!(own["slot.name"], "thalweg_o");
    let chosen = config("o", &map(&[(TABLE, "t"), ("slot.name", "mine")])).unwrap();
    assert_eq!(chosen["slot.name"], "mine");
}

#[test]
fn one_slot_is_known_by_all_its_names() {
    let what = |options: &[(&str, &str)]| {
        let mut all = vec![("topic.prefix", "p"), ("slot.name", "s")];
        all.extend(options);
        let uses = sole_uses(&map(&all)).into_iter();
        uses.map(|sole| sole.what).collect::<Vec<_>>()
    };
    assert_eq!(what(&[]), ["slot s of db:5432"]);
    let filtered = ("publication.autocreate.mode", "filtered");
    assert_eq!(
        what(&[filtered])[1],
        "publication dbz_publication of db:5432/d"
    );
    for options in [
        &[("database.hostname", "DB")] as &[_],
        &[("database.dbname", "other"), ("database.port", "5432")],
    ] {
        assert_eq!(what(options), what(&[]), "{options:?}");
    }
    for options in [
        &[("slot.name", "t")] as &[_],
        &[("database.port", "5433")],
        &[("database.hostname", "db2")],
    ] {
        assert_ne!(what(options), what(&[]), "{options:?}");
    }
    let here = what(&[("database.hostname", "localhost")]);
    for host in ["127.0.0.1", "::1", "LocalHost"] {
        assert_eq!(what(&[("database.hostname", host)]), here);
    }
    assert_eq!(what(&[("snapshot.mode", "initial_only")]), [""; 0]);
}

#[test]
fn a_table_is_filled_once_its_snapshot_is_stored_whole() {
    let filled = |mode: &str, offset: Option<&str>| {
        let options = [(TABLE, "t"), ("snapshot.mode", mode)];
        let offset = offset.map(|text| serde_json::from_str(text).unwrap());
        let offsets = offset.map(|offset| SourceOffset {
            partition: offset::partition("o"),
            offset,
        });
        let offsets = SourceOffsets::new(offsets.into_iter().collect());
        is_filled(&config("o", &map(&options)).unwrap(), &offsets)
    };
    let offset = |completed: bool| {
        format!(r#"{{"lsn":7,"snapshot":"INITIAL","snapshot_completed":{completed}}}"#)
    };
    assert!(!filled("initial", None));
    assert!(!filled("initial", Some(&offset(false))));
    assert!(filled("initial", Some(&offset(true))));
    assert!(filled("initial", Some(r#"{"lsn":7}"#)));
    assert!(filled("no_data", None));
}

#[test]
fn what_sql_could_not_read_is_refused() {
    for (options, key, word) in [
        (&[] as &[_], TABLE, "table.name"),
        (
            &[(TABLE, "t"), ("decimal.handling.mode", "precise")],
            "decimal.handling.mode",
            "string",
        ),
        (
            &[(TABLE, "t"), ("slot.name", "thalweg_orders")],
            "slot.name",
            "it is thalweg_o",
        ),
        (
            &[(TABLE, "t"), ("publication.name", "thalweg_orders")],
            "publication.name",
            "another object",
        ),
        (&[(TABLE, "t"), (SKIPPED, "none")], SKIPPED, "add t"),
        (
            &[(TABLE, "t"), ("value.converter", "x.AvroConverter")],
            "value.converter",
            "JsonConverter",
        ),
    ] {
        let error = config("o", &map(options)).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains(word), "{error}");
    }
    let error = config("o", &ConfigMap::new()).unwrap_err();
    assert!(error.to_string().contains("hostname"), "{error}");
}
