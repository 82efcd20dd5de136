//! What tells whether two configurations mean the same database, and two names the same table: what the servers say, and the
//! names of hosts where they say nothing.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use connect_api::{ServerIdentity, ServerTable};

/// How long all that is asked of one server may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a name server may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// A row of texts.
pub(crate) type TextRow = Vec<Option<String>>;

/// Asks for what a server is and does with a name: its run, whether it follows, its database, the schema of new tables.
pub(crate) const SERVER: &str = "SELECT to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || ' ' || \
                                 current_setting('port'), pg_is_in_recovery()::text, \
                                 (SELECT oid::text FROM pg_database WHERE datname = current_database()), current_schema()::text";

/// Asks for what a server has in common with its copies; not everybody may know.
pub(crate) const SYSTEM: &str = "SELECT system_identifier::text FROM pg_control_system()";

/// PURE: the server that answered so.
pub(crate) fn identity(server: &TextRow, system: Option<&TextRow>) -> Option<ServerIdentity> {
    let text = |column: usize| server.get(column)?.clone();
    Some(ServerIdentity {
        system: system
            .and_then(|row| row.first()?.clone())
            .unwrap_or_default(),
        run: text(0)?,
        follows: text(1)? == "true",
        database: text(2)?.parse().ok()?,
    })
}

/// Asks for the table of a name, quoted as a literal, and for all whose rows a write to it may change: partitions and heirs, and
/// what views read and rules write. Of a view the tables of its conditions are among them, which nobody can tell from outside.
pub(crate) fn reached(name: &str) -> String {
    format!(
        "WITH RECURSIVE edges(above, below) AS (SELECT inhparent, inhrelid FROM pg_inherits UNION ALL \
         SELECT r.ev_class, d.refobjid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass \
         AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass), \
         reached(oid) AS (SELECT to_regclass({name})::oid UNION \
         SELECT e.below FROM reached r JOIN edges e ON e.above = r.oid) \
         SELECT c.oid::text, n.nspname::text, (c.oid = to_regclass({name}))::text \
         FROM reached r JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
    )
}

/// PURE: the table that was asked for, and its schema, if it is there.
pub(crate) fn table(server: ServerIdentity, rows: &[TextRow]) -> (ServerTable, Option<String>) {
    let text = |row: &TextRow, column: usize| row.get(column)?.clone();
    let tables: BTreeSet<u32> = (rows.iter())
        .filter_map(|row| text(row, 0)?.parse().ok())
        .collect();
    let mut itself = (rows.iter()).filter(|row| text(row, 2).as_deref() == Some("true"));
    let schema = itself.next().and_then(|row| text(row, 1));
    (ServerTable { server, tables }, schema)
}

/// Asks for all partitions of partitioned tables: the number of the table, and that of a part of it.
pub(crate) const PARTS: &str = "WITH RECURSIVE parts(root, part) AS (SELECT i.inhparent, i.inhrelid FROM pg_inherits i \
                                JOIN pg_class c ON c.oid = i.inhparent WHERE c.relkind = 'p' UNION \
                                SELECT p.root, i.inhrelid FROM parts p JOIN pg_inherits i ON i.inhparent = p.part) \
                                SELECT root::text, part::text FROM parts";

/// The server at an address. The names that this machine has for itself are one; those that a name server knows are not looked up.
pub(crate) fn server(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    let host = match host.trim_matches(['[', ']']) {
        "127.0.0.1" | "::1" => "localhost",
        host => host,
    };
    format!("{host}:{port}")
}

/// As [`server`], with the names that a name server, or this machine, has for this machine.
pub(crate) async fn server_looked_up(host: &str, port: u16) -> String {
    let bare = host.trim_matches(['[', ']']);
    let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((bare, port)));
    let is_here = match looked_up.await {
        Ok(Ok(mut found)) => found.any(|address| {
            // What can be listened at is this machine's.
            address.ip().is_loopback() || UdpSocket::bind((address.ip(), 0)).is_ok()
        }),
        Ok(Err(_)) | Err(_) => false,
    };
    match is_here {
        true => server("localhost", port),
        false => server(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_this_machine_has_one_name() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "::1", "[::1]"] {
            assert_eq!(server(host, 1), "localhost:1");
        }
        assert_eq!(server("DB.example", 5432), "db.example:5432");
    }

    #[tokio::test]
    async fn addresses_of_this_machine_are_one() {
        for host in ["127.0.0.1", "127.1.2.3", "0.0.0.0"] {
            assert_eq!(server_looked_up(host, 1).await, "localhost:1", "{host}");
        }
        // A reserved address is nobody's.
        assert_eq!(server_looked_up("240.0.0.1", 1).await, "240.0.0.1:1");
    }

    #[test]
    fn answers_are_read() {
        let row = |texts: &[Option<&str>]| -> TextRow {
            texts.iter().map(|text| text.map(str::to_owned)).collect()
        };
        let server = row(&[
            Some("monday 5432"),
            Some("false"),
            Some("5"),
            Some("public"),
        ]);
        let known = identity(&server, Some(&row(&[Some("7")]))).unwrap();
        assert_eq!((known.system.as_str(), known.database), ("7", 5));
        assert_eq!(identity(&server, None).unwrap().system, "");
        assert_eq!(identity(&row(&[None, None, None, None]), None), None);
        let rows = [
            row(&[Some("10"), Some("s"), Some("true")]),
            row(&[Some("11"), Some("t"), Some("false")]),
        ];
        let (found, schema) = table(known.clone(), &rows);
        assert_eq!(found.tables, BTreeSet::from([10, 11]));
        assert_eq!(schema.as_deref(), Some("s"));
        let (none, schema) = table(known, &[]);
        assert!(none.tables.is_empty() && schema.is_none());
    }
}
