//! Commands of the shell: what begins with a backslash, as in psql.

use std::path::PathBuf;

use sql::Unended;

use super::copy::Copy;
use super::output::Output;
use super::table::hanging;

/// A command, what follows it, what it does: help, completion and the list of names are this table.
pub(crate) const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "\\d",
        "[NAME]",
        "sources, tables and views; the columns of one",
    ),
    ("\\ds", "", "sources"),
    ("\\dt", "", "tables"),
    ("\\dv", "", "views and their state"),
    (
        "\\dj",
        "",
        "jobs: running queries, and why they print nothing",
    ),
    ("\\df", "[TEXT]", "functions, those with this text"),
    ("\\l", "", "topics of the log"),
    ("\\why", "VIEW", "why a view prints what it prints"),
    ("\\x", "[on|off]", "one column below the other"),
    ("\\mode", "table|json|csv", "how rows are printed"),
    (
        "\\rows",
        "N|all",
        "how many rows of a long answer are shown",
    ),
    ("\\more", "", "the last answer, whole, in $PAGER (or less)"),
    (
        "\\o",
        "[FILE]",
        "answers go to this file; without one, to the screen again",
    ),
    ("\\i", "FILE", "run the statements of a file"),
    (
        "\\e",
        "[FILE]",
        "edit the last statement, or a file, in $EDITOR and run it",
    ),
    (
        "\\copy",
        "TABLE to|from 'FILE' [csv|json]",
        "rows into a file or out of it; (SELECT …) to 'FILE', too",
    ),
    (
        "\\g",
        "",
        "run what was typed so far, or the last statement again",
    ),
    (
        "\\r",
        "",
        "drop the statement that is open (also \\reset, Ctrl-C)",
    ),
    (
        "\\watch",
        "[SECONDS]",
        "run the last statement again and again until Ctrl-C",
    ),
    ("\\timing", "[on|off]", "show how long statements take"),
    ("\\!", "[COMMAND]", "a command of the system, or its shell"),
    (
        "\\h",
        "[WORD]",
        "how a statement is written: \\h SELECT; of a function, \\h count; what a code means, \\h TW1101",
    ),
    ("\\?", "", "this list"),
    ("\\q", "", "leave (also Ctrl-D)"),
];

/// Columns of a command and what it takes, in the list.
const HEAD_COLUMNS: usize = 20;

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing to do.
    Empty,
    /// Statements.
    Sql(String),
    /// Statements of the shell's own, whose answers have this title.
    Show(Vec<(&'static str, String)>),
    /// Functions whose name or meaning holds this.
    Functions(String),
    /// Turn expanded rows on or off; without a word, the other way.
    Expanded(Option<bool>),
    /// Turn times on or off; without a word, the other way.
    Timing(Option<bool>),
    /// The form of rows.
    Mode(Output),
    /// Rows shown of an answer; `None`: all.
    Rows(Option<usize>),
    /// The last answer in a pager.
    More,
    /// Where answers go.
    Out(Option<PathBuf>),
    /// A file's statements.
    Include(PathBuf),
    /// Edit, then run.
    Edit(Option<PathBuf>),
    /// Rows into a file or out of it.
    Copy(Copy),
    /// Run what stands before it, or the last statement.
    Go,
    /// Drop what stands before it.
    Reset,
    /// A statement (the last one without) every so many ms.
    Watch(Option<String>, u64),
    /// A command of the system; empty: its shell.
    System(String),
    /// How something is written, or what a code means.
    Help(String),
    /// The commands.
    Commands,
    /// Leave.
    Quit,
    /// Not understood, and why.
    Wrong(String),
}

/// Reads a line, or several of one statement.
pub(crate) fn parse(text: &str) -> Line {
    let text = text.trim();
    let bare = text.trim_end_matches(';').trim_end();
    if !text.starts_with('\\') {
        if let Some((sql, rest)) = text.rsplit_once("\\watch")
            && !rest.contains('\'')
        {
            return watch(Some(sql.trim_end_matches([';', ' ', '\n'])), rest);
        }
        return match bare {
            "" => Line::Empty,
            "quit" | "exit" => Line::Quit,
            "help" => Line::Commands,
            _ => Line::Sql(text.to_owned()),
        };
    }
    if let Some(system) = text.strip_prefix("\\!") {
        return Line::System(system.trim().to_owned());
    }
    let (command, argument) = match bare.split_once(char::is_whitespace) {
        Some((command, argument)) => (command, argument.trim()),
        None => (bare, ""),
    };
    let path = || (!argument.is_empty()).then(|| PathBuf::from(argument));
    let known = COMMANDS.iter().find(|(name, ..)| *name == command);
    if let Some((_, takes, _)) = known {
        if takes.is_empty() && !argument.is_empty() {
            return Line::Wrong(format!("{command} takes nothing, not {argument}"));
        }
        if !takes.is_empty() && !takes.starts_with('[') && argument.is_empty() {
            return Line::Wrong(format!("{command} needs {takes}"));
        }
    }
    let show = |title, sql: String| Line::Show(vec![(title, sql)]);
    match command {
        "\\q" => Line::Quit,
        "\\?" => Line::Commands,
        "\\h" => Line::Help(argument.to_owned()),
        "\\d" if argument.is_empty() => Line::Show(vec![
            ("sources", "SHOW SOURCES".to_owned()),
            ("tables", "SHOW TABLES".to_owned()),
            ("views", "SHOW VIEWS".to_owned()),
        ]),
        "\\d" => show("", format!("DESCRIBE {argument}")),
        "\\ds" => show("sources", "SHOW SOURCES".to_owned()),
        "\\dt" => show("tables", "SHOW TABLES".to_owned()),
        "\\dv" => show("views", "SHOW VIEWS".to_owned()),
        "\\dj" => show("jobs", "SHOW JOBS".to_owned()),
        "\\df" => Line::Functions(argument.to_owned()),
        "\\l" => show("topics", "SHOW TOPICS".to_owned()),
        "\\why" => show("", format!("EXPLAIN WHY {argument}")),
        "\\x" => switch(command, argument, Line::Expanded),
        "\\timing" => switch(command, argument, Line::Timing),
        "\\mode" => match argument {
            "table" => Line::Mode(Output::Table),
            "json" => Line::Mode(Output::Json),
            "csv" => Line::Mode(Output::Csv),
            other => Line::Wrong(format!("\\mode is table, json or csv, not {other}")),
        },
        "\\rows" => match argument.parse() {
            _ if argument == "all" => Line::Rows(None),
            Ok(rows) if rows > 0 => Line::Rows(Some(rows)),
            _ => Line::Wrong(format!("\\rows is a number from 1 or all, not {argument}")),
        },
        "\\more" => Line::More,
        "\\o" => Line::Out(path()),
        "\\i" => Line::Include(PathBuf::from(argument)),
        "\\e" => Line::Edit(path()),
        "\\g" => Line::Go,
        "\\r" | "\\reset" => Line::Reset,
        "\\copy" => argument.parse().map_or_else(Line::Wrong, Line::Copy),
        "\\watch" => watch(None, argument),
        other => {
            let names = COMMANDS.iter().map(|(name, ..)| *name);
            let nearest = crate::config::nearest(other, names);
            let nearest = nearest.map(|name| format!(", did you mean {name}?"));
            Line::Wrong(format!(
                "there is no command {other}{}; \\? lists them",
                nearest.unwrap_or_default()
            ))
        }
    }
}

/// A command on the last line of a statement that is open: the statement, and the command. Inside of a text that is not
/// closed only `\r` is one.
pub(crate) fn amid(text: &str) -> Option<(&str, &str)> {
    let (before, last) = text.trim_end().rsplit_once('\n')?;
    let command = last.trim();
    if !command.starts_with('\\') || command.starts_with("\\watch") {
        return None;
    }
    let open = sql::unended(before);
    let here = open == Unended::Statement || (open != Unended::Nothing && drops(command));
    here.then_some((before, command))
}

/// Whether a command amid a statement leaves the statement open.
pub(crate) fn keeps(command: &str) -> bool {
    !drops(command) && !matches!(parse(command), Line::Go)
}

fn drops(command: &str) -> bool {
    matches!(command, "\\r" | "\\reset")
}

/// Whether a line can be run as it stands; the editor reads on while not.
pub(crate) fn is_complete(text: &str) -> bool {
    let text = text.trim();
    matches!(text, "" | "quit" | "exit" | "help")
        || text.starts_with('\\')
        || sql::is_complete(text)
        || amid(text).is_some()
        || matches!(parse(text), Line::Watch(..) | Line::Wrong(_))
}

/// The commands as a list, within `columns`.
pub(crate) fn help(columns: usize) -> String {
    let head = |name: &str, takes: &str| format!("{name} {takes}").trim_end().to_owned();
    let mut text = String::new();
    for (name, takes, what) in COMMANDS {
        let head = head(name, takes);
        let line = if head.chars().count() > HEAD_COLUMNS {
            // What it does stands below.
            text += &hanging(&head, 2, columns);
            text.push('\n');
            format!("{:HEAD_COLUMNS$}  {what}", "")
        } else {
            format!("{head:HEAD_COLUMNS$}  {what}")
        };
        text += &hanging(&line, HEAD_COLUMNS + 2, columns);
        text.push('\n');
    }
    let end = "SELECT … ends; SELECT … EMIT CHANGES follows live until Ctrl-C. Tab completes, Ctrl-R searches.";
    text + &hanging(end, 0, columns)
}

fn switch(command: &str, argument: &str, line: impl Fn(Option<bool>) -> Line) -> Line {
    match argument {
        "" => line(None),
        "on" => line(Some(true)),
        "off" => line(Some(false)),
        other => Line::Wrong(format!("{command} is on or off, not {other}")),
    }
}

/// Seconds between two runs; psql's default is 2.
fn watch(sql: Option<&str>, seconds: &str) -> Line {
    let seconds = match seconds.trim().trim_end_matches(';') {
        "" => Some(2.0),
        text => text.parse::<f64>().ok(),
    };
    match seconds.filter(|seconds| (0.1..=86_400.0).contains(seconds)) {
        Some(seconds) => Line::Watch(sql.map(str::to_owned), (seconds * 1e3) as u64),
        None => Line::Wrong("\\watch takes seconds, from 0.1 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_list_is_understood() {
        for (name, takes, _) in COMMANDS {
            let argument = match *takes {
                "[on|off]" => "on",
                "table|json|csv" => "csv",
                "N|all" => "all",
                "[SECONDS]" => "1",
                "TABLE to|from 'FILE' [csv|json]" => "t to 'f.csv'",
                "" => "",
                _ => "x",
            };
            let line = parse(&format!("{name} {argument}"));
            assert!(
                !matches!(line, Line::Wrong(_) | Line::Sql(_)),
                "{name}: {line:?}"
            );
            assert!(help(80).contains(name));
            assert!(is_complete(name), "{name}");
        }
    }

    #[test]
    fn the_list_fits_the_screen() {
        for columns in [40, 60, 80, 200] {
            let widest = help(columns).lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns), "{columns}:\n{}", help(columns));
        }
    }

    #[test]
    fn the_guide_lists_the_commands() {
        let mut expected = String::new();
        for (name, takes, what) in COMMANDS {
            let head = format!("{name} {takes}").replace('|', "\\|");
            expected += &format!("| `{}` | {what} |\n", head.trim_end());
        }
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/command-line.md");
        let guide = std::fs::read_to_string(guide).expect("the guide");
        assert!(
            guide.contains(&expected),
            "docs/command-line.md should hold\n{expected}"
        );
    }

    #[test]
    fn wrong_commands_say_what_would_be_right() {
        let wrong = |text: &str| match parse(text) {
            Line::Wrong(why) => why,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(
            wrong("\\whi v"),
            "there is no command \\whi, did you mean \\why?; \\? lists them"
        );
        assert_eq!(wrong("\\why"), "\\why needs VIEW");
        assert_eq!(wrong("\\dt x"), "\\dt takes nothing, not x");
        assert_eq!(wrong("\\x maybe"), "\\x is on or off, not maybe");
        assert_eq!(parse("\\!ls -l;"), Line::System("ls -l;".to_owned()));
        assert_eq!(wrong("\\rows 0"), "\\rows is a number from 1 or all, not 0");
        assert_eq!(
            wrong("\\watch 0"),
            "\\watch takes seconds, from 0.1 to 86400"
        );
    }

    #[test]
    fn a_statement_can_end_in_watch() {
        let watch = Line::Watch(Some("SELECT 1".to_owned()), 500);
        assert_eq!(parse("SELECT 1 \\watch 0.5"), watch);
        assert_eq!(parse("SELECT 1;\n\\watch 0.5;"), watch);
        assert!(is_complete("SELECT 1 \\watch"));
        assert!(matches!(parse("SELECT '\\watch'"), Line::Sql(_)));
        assert_eq!(parse("\\watch"), Line::Watch(None, 2000));
    }

    #[test]
    fn a_command_amid_a_statement_is_one() {
        assert_eq!(amid("SELECT 1\n\\r"), Some(("SELECT 1", "\\r")));
        assert_eq!(amid("SELECT\n1\n \\d t \n"), Some(("SELECT\n1", "\\d t")));
        assert_eq!(amid("SELECT 'a\n\\r"), Some(("SELECT 'a", "\\r")));
        assert_eq!(amid("SELECT 'a\n\\d"), None);
        assert_eq!(amid("SELECT 1\n\\watch 5"), None);
        assert_eq!(amid("SELECT 1;\n\\x"), None);
        assert_eq!(amid("\\x"), None);
        assert!(is_complete("SELECT 'a\n\\reset") && !is_complete("SELECT 'a\n\\d"));
        assert!(keeps("\\d t") && !keeps("\\g") && !keeps("\\reset"));
    }

    #[test]
    fn names_reach_the_statement_as_they_are() {
        let described = vec![("", "DESCRIBE \"My View\"".to_owned())];
        assert_eq!(parse("\\d \"My View\";"), Line::Show(described));
    }
}
