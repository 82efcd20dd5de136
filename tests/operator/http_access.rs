//! SQL and Connect over HTTP for those alone who say who they are, with curl.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::clients::python;
use crate::fixture::process::thalweg;
use crate::fixture::secured::{PASSWORD, Secured, USER};

/// A user of the configuration, who may what rules say.
const ANNA: &str = "anna:reads";

/// Calls one surface of a server, as somebody.
struct Caller<'a> {
    authority: &'a Path,
    base: String,
    who: Option<String>,
}

/// Status, headers, body.
type Answer = (u16, String, String);

impl Caller<'_> {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--max-time", "60", "-X", method, "--cacert"])
            .arg(self.authority)
            .args(["-H", "Content-Type: application/json"]);
        if let Some(who) = &self.who {
            curl.args(["-u", who]);
        }
        if let Some(body) = body {
            curl.args(["-d", &body.to_string()]);
        }
        let output = curl
            .arg(format!("{}{path}", self.base))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{path}: {error}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    fn sql(&self, sql: &str) -> (u16, String) {
        let (status, _, body) = self.call("POST", "/v1/query", Some(&json!({ "sql": sql })));
        (status, body)
    }

    /// The statement is refused for want of this.
    fn lacks(&self, sql: &str, right: &str) {
        let (status, body) = self.sql(sql);
        let expected = format!("User:anna lacks the right {right}");
        assert!(status == 403 && body.contains(&expected), "{sql}: {body}");
    }

    fn done(&self, sql: &str) -> String {
        let (status, body) = self.sql(sql);
        assert_eq!(status, 200, "{sql}: {body}");
        assert!(!body.contains("\"error\""), "{sql}: {body}");
        body
    }
}

fn callers<'a>(
    secured: &'a Secured,
    surface: &str,
    protocol: &str,
    who: &[Option<&str>],
) -> Vec<Caller<'a>> {
    let scheme = match protocol {
        "SASL_SSL" => "https",
        _ => "http",
    };
    let listeners = &secured.server.addresses[format!("{surface}_listeners")];
    let address = listeners[protocol].as_str().unwrap();
    let caller = |who: &Option<&str>| Caller {
        authority: &secured.authority,
        base: format!("{scheme}://{address}"),
        who: who.map(str::to_owned),
    };
    who.iter().map(caller).collect()
}

#[test]
fn sql_and_connect_are_for_those_who_say_who_they_are_and_may() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    let admin = format!("{USER}:{PASSWORD}");
    let who = [None, Some("anna:guesses"), Some(ANNA), Some(&*admin)];
    let [nobody, guesser, anna, admin] = &callers(&secured, "http", "SASL_SSL", &who)[..] else {
        panic!("four callers");
    };
    for topic in ["orders", "secrets"] {
        admin.done(&format!(
            "CREATE TABLE {topic} (k TEXT PRIMARY KEY, n BIGINT) WITH (topic = '{topic}')"
        ));
        admin.done(&format!("INSERT INTO {topic} VALUES ('a', 1), ('b', 2)"));
    }
    let says = secured.librdkafka("SCRAM-SHA-256");
    assert_eq!(python("rules.py", &secured.server, &says), "rules 3\n");

    // Who it is.
    for stranger in [nobody, guesser] {
        for path in ["/v1/catalog", "/v1/filling", "/metrics", "/"] {
            let (status, head, body) = stranger.get(path);
            assert_eq!(status, 401, "{path}: {body}");
            assert!(head.contains("www-authenticate: basic realm="), "{head}");
        }
        let (status, body) = stranger.sql("SELECT 1");
        assert!(status == 401 && body.contains("TW2007"), "{body}");
    }
    assert_eq!(nobody.get("/healthz").0, 200);
    assert_eq!(nobody.get("/readyz").0, 200);

    // On this machine it is found by its folder, and tells nothing else to the nameless.
    let data = folder.path().join("data").canonicalize().unwrap();
    let whose = format!("/v1/server?data={}", data.display());
    let (status, _, body) = nobody.get(&whose);
    assert_eq!((status, body), (200, json!({ "data": data }).to_string()));
    for path in ["/v1/server", "/v1/server?data=/tmp"] {
        let (status, _, body) = nobody.get(path);
        assert_eq!((status, &*body), (404, ""), "{path}");
    }
    assert_eq!(guesser.get(&whose).0, 401);
    assert_eq!(anna.get(&whose).0, 403);
    assert!(admin.get("/v1/server").2.contains("\"pid\":"));

    // What she may.
    assert_eq!(anna.done("SELECT sum(n) AS s FROM orders"), "{\"s\":3}\n");
    anna.done("SELECT 1");
    anna.done("CREATE MATERIALIZED VIEW mine AS SELECT count(*) AS c FROM orders");
    assert_eq!(anna.done("SELECT c FROM mine"), "{\"c\":2}\n");
    anna.done("EXPLAIN SELECT * FROM orders");
    anna.done("DESCRIBE orders");

    // What she may not, in whatever way it is asked.
    for read in [
        "SELECT * FROM secrets",
        "SELECT * FROM public.secrets",
        "SELECT * FROM SECRETS AS orders",
        "SELECT k FROM orders WHERE n IN (SELECT n FROM secrets)",
        "SELECT (SELECT max(n) FROM secrets) AS m",
        "SELECT o.k FROM orders o JOIN secrets s ON o.k = s.k",
        "WITH x AS (SELECT * FROM secrets) SELECT * FROM x",
        "SELECT k FROM orders UNION ALL SELECT k FROM secrets",
        "SELECT k FROM orders o, LATERAL (SELECT n FROM secrets s WHERE s.k = o.k) x",
        "SELECT * FROM secrets EMIT CHANGES LIMIT 1",
        "EXPLAIN SELECT * FROM secrets",
        "CREATE MATERIALIZED VIEW mine2 AS SELECT count(*) AS c FROM secrets",
        "PRINT 'secrets' FROM BEGINNING LIMIT 1",
    ] {
        anna.lacks(read, "READ on topic secrets");
    }
    anna.lacks(
        "INSERT INTO orders VALUES ('c', 3)",
        "WRITE on topic orders",
    );
    anna.lacks("UPDATE orders SET n = 0", "WRITE on topic orders");
    anna.lacks("DELETE FROM orders", "WRITE on topic orders");
    anna.lacks("DROP TABLE orders", "DELETE on topic orders");
    anna.lacks(
        "CREATE TABLE others (k TEXT PRIMARY KEY) WITH (topic = 'others')",
        "CREATE on topic others",
    );
    anna.lacks(
        "CREATE SOURCE mine3 (k TEXT) WITH (topic = 'secrets')",
        "CREATE on topic secrets",
    );
    anna.lacks(
        "CREATE TABLE mine4 WITH (connector = 'postgres', url = 'postgres://a@b/c', table = 'd')",
        "ALTER on the cluster",
    );
    anna.lacks(
        "CREATE FUNCTION f LANGUAGE wasm AS 'file:/etc/passwd'",
        "ALTER on the cluster",
    );
    anna.lacks("DESCRIBE secrets", "DESCRIBE on topic secrets");
    anna.lacks("EXPLAIN WHY secrets", "DESCRIBE on topic secrets");
    anna.lacks("SHOW TOPICS", "DESCRIBE on the cluster");
    anna.lacks(
        "SELECT * FROM information_schema.tables",
        "DESCRIBE on the cluster",
    );
    let (_, _, catalog) = anna.get("/v1/catalog");
    assert!(
        catalog.contains("orders") && !catalog.contains("secrets"),
        "{catalog}"
    );
    assert_eq!(anna.get("/metrics").0, 403);
    assert_eq!(admin.get("/metrics").0, 200);
    admin.done("SHOW TOPICS");
    admin.done("DROP MATERIALIZED VIEW mine");

    // Connect, too.
    let rest = callers(&secured, "connect", "SASL_SSL", &who);
    let statuses = |method, path, body: Option<&Value>| -> Vec<u16> {
        let answers = rest.iter().map(|caller| caller.call(method, path, body).0);
        answers.collect()
    };
    assert_eq!(statuses("GET", "/connectors", None), [401, 401, 403, 200]);
    let config = json!({ "connector.class": "FileStreamSource", "topic": "lines",
        "file": folder.path().join("lines") });
    let path = "/connectors/lines/config";
    assert_eq!(statuses("PUT", path, Some(&config)), [401, 401, 403, 201]);
    assert_eq!(
        statuses("DELETE", "/connectors/lines", None),
        [401, 401, 403, 204]
    );
    let (_, _, body) = rest[2].get("/connectors");
    assert!(
        body.contains("lacks the right DESCRIBE on the cluster"),
        "{body}"
    );
}

#[test]
fn the_shell_says_who_it_is_and_listeners_of_this_machine_ask_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path());
    let asked = secured.server.addresses["http_listeners"]["SASL_PLAINTEXT"].clone();
    let shell = |server: &str, more: &[&str]| {
        let mut command = thalweg();
        command.args([
            "sql",
            "--server",
            server,
            "-c",
            "SELECT 1 AS one",
            "-o",
            "json",
        ]);
        let output = command.args(more).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            output.status.code(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let asked = asked.as_str().unwrap();
    let (code, told) = shell(asked, &["--user", ANNA]);
    assert_eq!((code, &*told), (Some(0), "{\"one\":1}\n"));
    let (code, told) = shell(asked, &[]);
    assert!(code == Some(1) && told.contains("asks who calls"), "{told}");
    let (code, told) = shell(asked, &["--user", "anna:guesses"]);
    assert!(
        code == Some(1) && told.contains("password is wrong"),
        "{told}"
    );
    let (code, told) = shell(asked, &["--user", "anna"]);
    assert!(
        code == Some(1) && told.contains("THALWEG_PASSWORD"),
        "{told}"
    );
    let (code, told) = shell("https://127.0.0.1:1", &[]);
    assert!(code == Some(1) && told.contains("without TLS"), "{told}");
    let (code, told) = shell(&secured.server.http, &[]);
    assert_eq!((code, &*told), (Some(0), "{\"one\":1}\n"));

    let connect = secured.server.addresses["connect_listeners"]["SASL_PLAINTEXT"].clone();
    let list = |who: &str| {
        let mut command = thalweg();
        command.args(["connect", "list", "--server", connect.as_str().unwrap()]);
        command.args(["--user", who]).output().unwrap()
    };
    assert!(list(&format!("{USER}:{PASSWORD}")).status.success());
    let refused = list(ANNA);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("lacks the right DESCRIBE"), "{told}");
}
