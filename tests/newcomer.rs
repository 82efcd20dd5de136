//! Three newcomers at a terminal, an analyst, a WASM engineer and a data team, each on the way that README.md and the
//! guides describe: at 60, 80 and 200 columns, every screen as it is in `tests/screens/`.
//!
//! `INSTA_UPDATE=always cargo test -p thalweg --test main -- newcomer` writes the screens anew; look at what changed.

use serde_json::Value;

use crate::fixture::process::{Server, server_command};
use crate::fixture::terminal::Terminal;
use crate::fixture::{block_on, until};
use crate::readme;

/// Somebody at a terminal, and what they have seen.
struct Visit {
    terminal: Terminal,
    server: Server,
    seen: String,
    _folder: tempfile::TempDir,
}

impl Visit {
    fn new(columns: u16) -> Self {
        // A path of one length on every machine, so that lines end where they do here.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        // Relative paths are looked for in the server's folder.
        let mut command = server_command(&folder.path().join("data"));
        command.current_dir(folder.path());
        let server = Server::from_command(command);
        let terminal = Terminal::open(folder.path(), columns, &server);
        Self {
            terminal,
            server,
            seen: String::new(),
            _folder: folder,
        }
    }

    /// The commands of a block of README.md, one after another.
    fn door(&mut self, name: &str) {
        let block = readme::block(name)
            .replace("127.0.0.1:9092", &self.server.kafka)
            .replace("127.0.0.1:8083", &self.server.connect);
        for line in block.lines().filter(|line| !line.is_empty()) {
            self.terminal.run(line);
        }
    }

    fn scene(&mut self, title: &str) {
        let scene = self.terminal.scene(title);
        self.seen.push_str(&scene);
        self.terminal.clear();
    }

    /// Lines for `thalweg sql`, each with what its answer says.
    fn asks(&mut self, title: &str, lines: &[(&str, &str)]) {
        for (line, wanted) in lines {
            self.terminal.ask(line, wanted);
        }
        self.scene(title);
    }

    fn opens_the_shell(&mut self) {
        self.terminal.text("thalweg sql");
        self.terminal.press("Enter");
        self.terminal
            .until("the shell", |screen| screen.ends_with("\nthalweg>"));
        self.scene("the shell");
    }

    fn screens(self, name: &str, columns: u16) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("screens");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let seen = self.seen;
        settings.bind(|| insta::assert_snapshot!(format!("{name}-{columns}"), seen));
    }
}

fn analyst(columns: u16) {
    let mut visit = Visit::new(columns);
    visit.door("sql");
    visit.scene("README.md: SQL");
    visit.opens_the_shell();
    visit.asks(
        "what is there",
        &[
            ("\\d", "views"),
            ("\\d orders", "(3 rows)"),
            ("\\l", "rows)"),
        ],
    );
    visit.asks(
        "a mistake",
        &[("SELECT custmer FROM orders;", "did you mean customer?")],
    );
    let long = "SELECT id, customer, amount, id + 1 AS next, upper(customer) AS upper, round(amuont, 2) AS r, \
                customer || '!' AS loud FROM orders WHERE amount > 1 ORDER BY id;";
    visit.asks(
        "a mistake in a long line",
        &[(long, "did you mean amount?")],
    );

    visit
        .terminal
        .text("SELECT customer FROM orders WHERE id = 1");
    visit.terminal.press("Enter");
    visit.terminal.until("the way out", |screen| {
        screen.ends_with(";> ; runs it, \\r drops it")
    });
    let waiting = visit.terminal.scene("a forgotten semicolon");
    visit.seen.push_str(&waiting);
    visit.terminal.text("\\d orders");
    visit.terminal.press("Enter");
    visit
        .terminal
        .until("the statement is still there", |screen| {
            screen.contains("(3 rows)") && screen.ends_with(";> ; runs it, \\r drops it")
        });
    visit.terminal.ask(";", "(1 row)");
    visit.scene("it goes on");
    visit.asks(
        "reading on",
        &[
            ("SELECT * FROM spent ORDER BY customer;", "(2 rows)"),
            ("EXPLAIN WHY spent;", "spent"),
            (
                "EXPLAIN SELECT customer, count(*) FROM orders GROUP BY customer EMIT CHANGES;",
                "orders",
            ),
            ("\\x", "is on"),
            ("SELECT * FROM orders WHERE id = 2;", "(1 row)"),
            ("\\x", "is off"),
        ],
    );
    visit.asks(
        "jobs and topics",
        &[
            ("SHOW JOBS;", "row)"),
            ("SHOW TOPICS;", "rows)"),
            ("\\df trunc", "date_trunc"),
        ],
    );
    visit.asks("help", &[("\\?", "leave (also Ctrl-D)")]);
    visit.asks(
        "help for a statement",
        &[
            ("\\h create mat", "for example"),
            ("\\h count", "SELECT count(*)"),
            ("\\h TW1101", "TW1101"),
        ],
    );
    visit.terminal.text("SELECT * FROM spent EMIT CHANGES;");
    visit.terminal.press("Enter");
    visit
        .terminal
        .until("the live table", |screen| screen.contains("2 changes"));
    visit.terminal.press("C-c");
    visit
        .terminal
        .until("the prompt", |screen| screen.ends_with("\nthalweg>"));
    visit.scene("a live table, left");
    visit.asks(
        "rows out and in",
        &[
            ("\\copy orders to 'orders.csv'", "copied 3 rows"),
            (
                "\\copy (SELECT id + 10 AS id, customer, amount FROM orders) to more.json",
                "copied 3 rows",
            ),
            ("\\copy orders from more.json", "copied 3 rows"),
            ("SELECT count(*) AS n FROM orders;", "(1 row)"),
        ],
    );
    visit.screens("analyst", columns);
}

fn engineer(columns: u16) {
    let mut visit = Visit::new(columns);
    visit.door("wasm");
    visit.scene("README.md: WASM");
    visit.opens_the_shell();
    visit.asks(
        "functions",
        &[
            ("SHOW FUNCTIONS;", "(1 row)"),
            ("\\d delay_class", "(2 rows)"),
            ("SHOW CREATE delay_class;", "LANGUAGE"),
        ],
    );
    visit.asks(
        "mistakes",
        &[
            ("SELECT delay_clas(3);", "did you mean"),
            ("SELECT delay_class('soon');", "TW1201"),
            (
                "CREATE FUNCTION other(x BIGINT) RETURNS TEXT LANGUAGE wasm AS 'file:other.wasm';",
                "TW1401",
            ),
            ("DROP FUNCTION delay_clas;", "there is no function"),
        ],
    );
    visit.screens("engineer", columns);
}

fn data_team(columns: u16) {
    let mut visit = Visit::new(columns);
    visit.door("connect");
    visit.scene("README.md: Connect");
    for name in ["in", "out"] {
        let path = format!("/connectors/{name}/status");
        let status = || visit.server.connect("GET", &path, None);
        let running = |status: &(u16, Value)| status.1["tasks"][0]["state"] == "RUNNING";
        block_on(until(name, status, running));
    }
    for command in [
        "thalweg connect list",
        "thalweg connect plugins",
        "thalweg connect statsu in",
        "thalweg connect status inn",
    ] {
        visit.terminal.run(command);
    }
    visit.scene("thalweg connect");
    for command in [
        "thalweg topic list",
        "thalweg topic describe numbers",
        "thalweg topic describe nubmers",
        "thalweg consume numbers --last 1",
    ] {
        visit.terminal.run(command);
    }
    visit.scene("thalweg topic");
    visit.opens_the_shell();
    visit.asks(
        "from the topic to rows",
        &[
            ("SELECT * FROM numbers;", "CREATE SOURCE"),
            ("EXPLAIN WHY numbers;", "numbers"),
            ("CREATE SOURCE numbers WITH (topic = 'numbers');", "numbers"),
            ("SELECT * FROM numbers ORDER BY n;", "(2 rows)"),
        ],
    );
    visit.screens("data-team", columns);
}

#[test]
fn what_is_typed_ahead_is_carried_out() {
    let mut visit = Visit::new(80);
    visit.opens_the_shell();
    let lines = [
        "\\! sleep 1",
        "SELECT 'one' AS a;",
        "SELECT 'two'",
        "AS b;",
        "\\timing",
    ];
    for line in lines {
        visit.terminal.text(line);
        visit.terminal.press("Enter");
    }
    visit.terminal.until("all of them", |screen| {
        let answers = ["│ one │", "│ two │"];
        answers.iter().all(|answer| screen.contains(answer))
            && screen.ends_with("timing is on\nthalweg>")
    });
}

#[test]
fn an_analyst_at_60_columns() {
    analyst(60);
}

#[test]
fn an_analyst_at_80_columns() {
    analyst(80);
}

#[test]
fn an_analyst_at_200_columns() {
    analyst(200);
}

#[test]
fn an_engineer_at_60_columns() {
    engineer(60);
}

#[test]
fn an_engineer_at_80_columns() {
    engineer(80);
}

#[test]
fn an_engineer_at_200_columns() {
    engineer(200);
}

#[test]
fn a_data_team_at_60_columns() {
    data_team(60);
}

#[test]
fn a_data_team_at_80_columns() {
    data_team(80);
}

#[test]
fn a_data_team_at_200_columns() {
    data_team(200);
}
