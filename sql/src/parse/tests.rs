//! What parses, into what, and where errors point.

use super::statement::*;
use super::*;

fn parsed(sql: &str) -> Statement {
    match parse(&split_statements(sql)[0]) {
        Ok(statement) => statement,
        Err(error) => panic!("{}", error.render(sql, false)),
    }
}

fn refused(sql: &str) -> crate::Diagnostic {
    match parse(&split_statements(sql)[0]) {
        Ok(statement) => panic!("{sql} parsed: {statement:?}"),
        Err(error) => error,
    }
}

fn select_of(sql: &str) -> QueryClauses {
    match parsed(sql) {
        Statement::Select(select) => select.query,
        other => panic!("{other:?}"),
    }
}

#[test]
fn trailing_clauses_are_no_aliases() {
    for sql in [
        "SELECT * FROM t EMIT CHANGES",
        "SELECT * FROM TUMBLE(t, ts, INTERVAL '1 hour') EMIT CHANGES",
        "SELECT * FROM t AS x EMIT CHANGES",
        "SELECT a FROM t JOIN u ON t.a = u.a EMIT CHANGES",
        "SELECT a, count(*) FROM t GROUP BY a EMIT CHANGES",
        "SELECT * FROM (SELECT * FROM t) EMIT CHANGES;",
    ] {
        let query = select_of(sql);
        assert_eq!(
            query.emit.map(|emit| emit.0),
            Some(Emit::Changes { from_latest: false }),
            "{sql}"
        );
        assert!(!query.query.to_string().contains("EMIT"), "{}", query.query);
    }
    let aliased = select_of("SELECT emit.a FROM t emit");
    assert_eq!(aliased.query.to_string(), "SELECT emit.a FROM t emit");
}

#[test]
fn limit_of_a_push_query_stands_on_either_side() {
    for sql in [
        "SELECT * FROM t LIMIT 5 EMIT CHANGES",
        "SELECT * FROM t EMIT CHANGES LIMIT 5",
    ] {
        let query = select_of(sql);
        assert_eq!(query.limit, Some(5), "{sql}");
        assert!(query.query.limit_clause.is_none(), "{sql}");
    }
    assert!(
        select_of("SELECT * FROM t LIMIT 5")
            .query
            .limit_clause
            .is_some()
    );
}

#[test]
fn names_of_topics_need_no_quotes_for_dots_and_hyphens() {
    for (sql, topic) in [
        ("PRINT orders", "orders"),
        ("PRINT orders.errors FROM BEGINNING", "orders.errors"),
        ("PRINT Web-clicks.2024-05 LIMIT 3", "Web-clicks.2024-05"),
        ("PRINT v.late LIMIT 3;", "v.late"),
        ("PRINT \"v.late\" LIMIT 3", "v.late"),
        ("PRINT 'v.late'", "v.late"),
    ] {
        let Statement::Print(print) = parsed(sql) else {
            panic!("{sql} prints nothing");
        };
        assert_eq!(print.topic.value, topic, "{sql}");
        assert_eq!(print.from_beginning, sql.contains("BEGINNING"), "{sql}");
        assert_eq!(print.limit.is_some(), sql.contains("LIMIT"), "{sql}");
    }
    for sql in [
        "PRINT v .late",
        "PRINT v. late",
        "PRINT \"v\".late",
        "PRINT",
    ] {
        refused(sql);
    }
}

#[test]
fn view_takes_its_clauses_in_any_order() {
    let sql = "CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT a FROM t
               GRACE INTERVAL '1 minute' EMIT ON WINDOW CLOSE LATE TO 'rest'";
    let Statement::CreateView(view) = parsed(sql) else {
        panic!()
    };
    assert!(view.if_not_exists);
    assert_eq!(view.query.emit.unwrap().0, Emit::OnWindowClose);
    assert_eq!(view.query.late.unwrap().0, Late::To("rest".to_owned()));
    assert!(view.query.grace.is_some());
}

#[test]
fn source_takes_all_of_its_parts() {
    let sql = "CREATE SOURCE Flights (scheduled TIMESTAMP, \"Carrier\" VARCHAR KEY, dep_delay DOUBLE PRECISION,
                 WATERMARK FOR scheduled AS scheduled - INTERVAL '24 hours')
               INCLUDE timestamp AS at, header 'trace' AS trace
               WITH (topic='flights', 'value.format' = 'json', timestamp.unit = ms)
               FORMAT PLAIN ENCODE JSON";
    let Statement::CreateRelation(create) = parsed(sql) else {
        panic!()
    };
    assert_eq!(create.name.name, "flights");
    assert_eq!(create.columns[1].name.name, "Carrier");
    assert!(create.columns[1].key);
    assert_eq!(create.includes.len(), 2);
    assert_eq!(create.options[2].0.value, "timestamp.unit");
    assert_eq!(create.format.unwrap().0, Format::Plain);
    let Statement::CreateRelation(create) = parsed(
        "CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT) WITH (topic = 'airlines')",
    ) else {
        panic!()
    };
    assert!(create.table);
    assert_eq!(create.primary_key[0].name, "carrier");
}

#[test]
fn mistyped_keywords_are_named_where_they_stand() {
    for (sql, line, column, replacement) in [
        ("SELECT * FROM t WHER b = 1", 1, 17, "WHERE"),
        ("SELECT * FROM t\n GRUOP BY a", 2, 2, "GROUP"),
        ("SELECT a FORM t", 1, 10, "FROM"),
        ("SELECT a, count(*) FROM t GROUP BU a", 1, 33, "BY"),
        ("SELEC 1", 1, 1, "SELECT"),
        (
            "CREATE MATERIALZED VIEW v AS SELECT 1",
            1,
            8,
            "MATERIALIZED",
        ),
        ("CREATE SORUCE s (a INT)", 1, 8, "SOURCE"),
        ("SELECT * FROM t EMIT CHANGSE", 1, 22, "CHANGES"),
        ("SHOW TABELS", 1, 6, "TABLES"),
        ("DROP TABEL x", 1, 6, "TABLE"),
    ] {
        let error = refused(sql);
        let suggestion = error
            .suggestion
            .as_ref()
            .unwrap_or_else(|| panic!("{sql}: {error:?}"));
        assert_eq!(
            (error.line, error.column, suggestion.replacement.as_str()),
            (Some(line), Some(column), replacement),
            "{sql}: {error}"
        );
    }
}

#[test]
fn errors_of_a_later_statement_have_their_place_in_the_whole_text() {
    let sql = "SELECT 1;\n\n  SELECT * FROM t WHER a = 1;";
    let statements = split_statements(sql);
    let error = parse(&statements[1]).unwrap_err();
    assert_eq!((error.line, error.column), (Some(3), Some(19)));
}

#[test]
fn clauses_in_a_subquery_are_refused_with_a_reason() {
    let error = refused("SELECT * FROM (SELECT * FROM t EMIT CHANGES) x");
    assert_eq!(error.message, "EMIT cannot stand inside of a subquery");
    let error = refused("SELECT * FROM a TEMPORAL JOIN b ON a.x = b.x");
    assert_eq!(error.code, "TW1204");
}

#[test]
fn explain_says_of_what_it_does_not_tell() {
    for (sql, what) in [
        ("EXPLAIN DROP MATERIALIZED VIEW v CASCADE", "DROP"),
        ("EXPLAIN ALTER MATERIALIZED VIEW v PAUSE", "ALTER"),
    ] {
        let error = refused(sql);
        assert_eq!(error.message, format!("EXPLAIN of {what} is not available"));
        assert!(error.help.is_some(), "{sql}");
    }
}

#[test]
fn endless_chains_and_nesting_are_refused() {
    let sql = format!("SELECT 1{}", " + 1".repeat(50_000));
    assert_eq!(refused(&sql).code, "TW1004");
    let sql = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(refused(&sql).code, "TW1004");
    let sql = format!("SELECT {}true", "NOT ".repeat(5_000));
    assert_eq!(refused(&sql).code, "TW1004");
    let sql = format!("SELECT 1{}", " + 1".repeat(499));
    select_of(&sql);
}

/// What adds to the height of a tree counts, and what stands beside each other does not.
#[test]
fn heights_add_up_where_trees_do() {
    let columns = "a + b, ".repeat(2_000);
    for sql in [
        format!("SELECT {columns} c FROM t"),
        format!("SELECT a IS DISTINCT FROM b, {columns} c FROM t"),
        format!("SELECT a FROM t WHERE a IN ({}1)", "1, ".repeat(20_000)),
        format!(
            "INSERT INTO t VALUES {}(1 + 1, -1)",
            "(1 + 1, -1), ".repeat(20_000)
        ),
        format!("SELECT f({})", "a + b, ".repeat(2_000) + "c"),
        format!("SELECT a FROM t{}", ", t".repeat(400)),
        format!(
            "WITH {} SELECT 1",
            "a AS (SELECT a + b FROM c), ".repeat(150) + "d AS (SELECT 1)"
        ),
        format!(
            "CREATE TABLE t ({} z INT) WITH (topic = 't')",
            "a INT, ".repeat(900)
        ),
    ] {
        let statements = split_statements(&sql);
        let parsed = parse(&statements[0]);
        assert!(parsed.is_ok(), "{}: {parsed:?}", &sql[..60]);
    }
    for sql in [
        format!("SELECT a FROM t{}", ", t".repeat(600)),
        format!(
            "SELECT a, b FROM t{}",
            " UNION ALL SELECT a, b FROM t".repeat(1_100)
        ),
        format!(
            "WITH {} SELECT 1",
            "a AS (SELECT 1), ".repeat(300) + "d AS (SELECT 1)"
        ),
        format!(
            "SELECT {}1{}",
            "(".repeat(20),
            format!("{})", " + 1".repeat(60)).repeat(20)
        ),
        format!("SELECT a{}", "::INT".repeat(600)),
        format!("SELECT a{}", "[1]".repeat(600)),
        format!("SELECT a{}", " AT TIME ZONE 'UTC'".repeat(60)),
        format!("SELECT a FROM t{}", " JOIN t USING (a)".repeat(600)),
    ] {
        assert_eq!(refused(&sql).code, "TW1004", "{}", &sql[..60]);
    }
}

#[test]
fn no_text_panics() {
    let words = [
        "SELECT",
        "CREATE",
        "SOURCE",
        "(",
        ")",
        ",",
        "'x'",
        "\"y\"",
        "FROM",
        "t",
        "EMIT",
        "CHANGES",
        "WITH",
        "=",
        "1",
        "AS",
        "LATE",
        "TO",
        "GRACE",
        "INTERVAL",
        "DROP",
        "EXPLAIN",
        "WHY",
        "SET",
        "INSERT",
        "INTO",
        "VALUES",
        "DELETE",
        "MATERIALIZED",
        "VIEW",
        "WATERMARK",
        "FOR",
        "INCLUDE",
        "FUNCTION",
        "*",
        ".",
        "-",
        "SUBSCRIBE",
        "SHOW",
        "'",
        "$$",
        "KEY",
        "PRIMARY",
        "é",
    ];
    let mut state = u64::from(std::process::id());
    let seed = state;
    for _ in 0..5_000 {
        let mut sql = String::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sql.push_str(words[(state >> 33) as usize % words.len()]);
            sql.push(' ');
        }
        for statement in split_statements(&sql) {
            if let Err(error) = parse(&statement) {
                assert!(
                    error.render(&sql, false).contains(&error.code),
                    "seed {seed}: {sql}"
                );
            }
        }
    }
}
