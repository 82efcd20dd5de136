//! Encrypted connections to a real server, of the source and of the sink.
//!
//! | user | may connect |
//! |---|---|
//! | `sealed` | encrypted |
//! | `plain` | in the clear |
//! | `proven` | encrypted, with a certificate that the server's authority signed |

use std::fs;
use std::time::{Duration, Instant};

use connect_api::{ConfigMap, ConnectorPlugin, Poll, PollBudget, SourceOffsets, Task, TaskContext};
use connector_postgres::{PostgresSink, PostgresSource};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::postgres::{Postgres, Seal};

/// Everything has to come within this.
const PATIENCE: Duration = Duration::from_secs(60);

fn named(name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    // Of the same name as its authority a certificate would look as if it had signed itself.
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name, Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate for a name, and its key, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let params = named(name, vec![name.to_owned()]);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server that offers encryption, and the files of its clients.
struct Site {
    server: Postgres,
    files: TempDir,
}

impl Site {
    fn new() -> Self {
        let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
        let (certificate, key) = authority.sign("localhost");
        let hba = "local all all trust\nhost all postgres all trust\n\
                   hostssl all sealed all trust\nhostnossl all plain all trust\n\
                   hostssl all proven all trust clientcert=verify-ca\n\
                   hostssl replication all all trust\n";
        let server = Postgres::start_sealed(
            "-c wal_level=logical",
            &Seal {
                certificate: certificate.clone(),
                key,
                authority: authority.0.pem(),
                hba: hba.to_owned(),
            },
        );
        let files = tempfile::tempdir().unwrap();
        let (client, client_key) = authority.sign("proven");
        let (stray, stray_key) = stranger.sign("proven");
        for (name, text) in [
            ("root", authority.0.pem()),
            ("server", certificate),
            ("stranger", stranger.0.pem()),
            ("client", client),
            ("client.key", client_key),
            ("stray", stray),
            ("stray.key", stray_key),
        ] {
            fs::write(files.path().join(name), text).unwrap();
        }
        Self { server, files }
    }

    fn file(&self, name: &str) -> String {
        let path = self.files.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    fn source(&self, host: &str, user: &str, more: &[(&str, &str)]) -> ConfigMap {
        let mut config = ConfigMap::new();
        for (key, value) in [
            ("database.hostname", host),
            ("database.port", &self.server.port.to_string()),
            ("database.user", user),
            ("database.dbname", "postgres"),
            ("topic.prefix", "p"),
            ("slot.name", "sealed"),
        ] {
            config.insert(key.to_owned(), value.to_owned());
        }
        for (key, value) in more {
            config.insert(format!("database.{key}"), (*value).to_owned());
        }
        config
    }

    fn sink(&self, host: &str, user: &str, more: &[(&str, &str)]) -> ConfigMap {
        let query: Vec<String> = more
            .iter()
            .map(|(key, value)| format!("&{key}={value}"))
            .collect();
        let url = format!(
            "jdbc:postgresql://{host}:{}/postgres?user={user}{}",
            self.server.port,
            query.concat()
        );
        [("connection.url".to_owned(), url)].into()
    }

    /// What both connectors say to the same parameters; nothing where they connect.
    async fn issues(&self, host: &str, user: &str, more: &[(&str, &str)]) -> [Option<String>; 2] {
        let source = PostgresSource
            .validate(&self.source(host, user, more))
            .await;
        let sink = PostgresSink.validate(&self.sink(host, user, more)).await;
        [source, sink].map(|issues| {
            let first = issues.into_iter().next()?;
            Some(format!("{}: {}", first.key, first.message))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted() {
    let site = Site::new();
    let sql = site.server.client().await;
    sql.batch_execute(
        "CREATE ROLE sealed LOGIN SUPERUSER; CREATE ROLE plain LOGIN SUPERUSER; CREATE ROLE proven LOGIN SUPERUSER; \
         CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)",
    )
    .await
    .unwrap();
    what_each_mode_gets(&site).await;
    certificates_that_are_not_trusted(&site).await;
    certificates_of_clients(&site).await;
    changes_come_encrypted(&site).await;
}

async fn what_each_mode_gets(site: &Site) {
    for (user, mode, refused) in [
        ("sealed", "disable", Some("pg_hba.conf")),
        ("sealed", "allow", None),
        ("sealed", "prefer", None),
        ("sealed", "require", None),
        ("plain", "disable", None),
        ("plain", "allow", None),
        ("plain", "prefer", None),
        ("plain", "require", Some("pg_hba.conf")),
    ] {
        for issue in site.issues("localhost", user, &[("sslmode", mode)]).await {
            match refused {
                None => assert_eq!(issue, None, "{user} {mode}"),
                Some(why) => {
                    let issue = issue.unwrap_or_else(|| panic!("{user} connects with {mode}"));
                    assert!(issue.contains(why), "{user} {mode}: {issue}");
                }
            }
        }
    }
}

async fn certificates_that_are_not_trusted(site: &Site) {
    let (root, own, stranger) = (
        site.file("root"),
        site.file("server"),
        site.file("stranger"),
    );
    for (host, mode, file, good) in [
        ("localhost", "verify-full", &root, true),
        ("localhost", "verify-full", &own, true),
        ("localhost", "verify-ca", &root, true),
        // The certificate names another host.
        ("127.0.0.1", "verify-ca", &root, true),
        ("127.0.0.1", "verify-full", &root, false),
        ("127.0.0.1", "verify-full", &own, false),
        ("localhost", "verify-ca", &stranger, false),
        ("localhost", "verify-full", &stranger, false),
        // As in libpq: who names the authority wants it looked at.
        ("localhost", "require", &stranger, false),
        ("localhost", "require", &root, true),
    ] {
        let more = [("sslmode", mode), ("sslrootcert", file.as_str())];
        for issue in site.issues(host, "sealed", &more).await {
            match (good, issue) {
                (true, issue) => assert_eq!(issue, None, "{host} {mode} {file}"),
                (false, Some(issue)) => {
                    assert!(issue.contains("the certificate of"), "{issue}");
                }
                (false, None) => panic!("{host} {mode} {file} connects"),
            }
        }
    }
}

async fn certificates_of_clients(site: &Site) {
    let (root, client, key) = (
        site.file("root"),
        site.file("client"),
        site.file("client.key"),
    );
    let with = [
        ("sslmode", "verify-full"),
        ("sslrootcert", root.as_str()),
        ("sslcert", client.as_str()),
        ("sslkey", key.as_str()),
    ];
    assert_eq!(
        site.issues("localhost", "proven", &with).await,
        [None, None]
    );
    for issue in site.issues("localhost", "proven", &with[..2]).await {
        assert!(
            issue.is_some(),
            "the server takes a client without a certificate"
        );
    }
    // One of somebody else is refused for good, not tried again and again.
    let (own, server_key) = (site.file("stray"), site.file("stray.key"));
    let strange = [
        ("sslmode", "require"),
        ("sslcert", own.as_str()),
        ("sslkey", server_key.as_str()),
    ];
    for issue in site.issues("localhost", "proven", &strange).await {
        let issue = issue.unwrap();
        assert!(
            issue.contains("another certificate of the client"),
            "{issue}"
        );
        assert!(
            issue.starts_with("database.sslmode") || issue.starts_with("connection.url"),
            "{issue}"
        );
    }
    let swapped = [
        ("sslmode", "require"),
        ("sslcert", key.as_str()),
        ("sslkey", client.as_str()),
    ];
    for issue in site.issues("localhost", "proven", &swapped).await {
        let issue = issue.unwrap();
        assert!(
            issue.contains("sslcert") || issue.contains("PEM"),
            "{issue}"
        );
    }
}

/// Rows of a snapshot and changes; the server sees none of its connections in the clear.
async fn changes_come_encrypted(site: &Site) {
    let root = site.file("root");
    let more = [("sslmode", "verify-full"), ("sslrootcert", root.as_str())];
    let Task::Source(mut task) = PostgresSource.task() else {
        unreachable!("a source makes source tasks");
    };
    task.start(
        TaskContext {
            connector: "sealed".to_owned(),
            task: 0,
            config: site.source("localhost", "sealed", &more),
        },
        SourceOffsets::default(),
    )
    .await
    .unwrap();
    let sql = site.server.client().await;
    sql.batch_execute("INSERT INTO t SELECT generate_series(2, 3000)")
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut rows = 0;
    while rows < 3000 {
        assert!(Instant::now() < deadline, "{rows} rows came");
        let budget = PollBudget {
            records_max: 500,
            bytes_max: 1 << 20,
            wait_max: Duration::from_millis(200),
        };
        if let Poll::Batch {
            records, offsets, ..
        } = task.poll(budget).await.unwrap()
        {
            rows += records.len();
            task.committed(&offsets).await.unwrap();
        }
    }
    let seen = site
        .server
        .rows(
            "SELECT bool_and(s.ssl), count(*) > 0 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
             WHERE a.usename = 'sealed'",
        )
        .await;
    assert_eq!(seen, ["t|t"]);
    task.stop().await;
}
