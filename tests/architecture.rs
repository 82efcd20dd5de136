//! What is structure, not taste: the edges between crates, the purity of PURE modules, and that every module says
//! what it owns. A new edge is a design change: its reason belongs into ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crate → the crates of ours that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("log-protocol", &[]),
    ("log-api", &["log-protocol"]),
    ("log-kafka", &["log-api", "log-protocol"]),
    ("log-broker", &["log-api", "log-protocol"]),
    ("streams", &["log-api"]),
    ("connect-api", &["log-api"]),
    ("connect-sandbox", &[]),
    (
        "connect-runtime",
        &["connect-api", "connect-sandbox", "log-api"],
    ),
    ("connector-file", &["connect-api"]),
    ("connector-postgres", &["connect-api"]),
    ("sql", &["connect-sandbox", "log-api", "streams"]),
];

/// Library → the only crates that may use it.
const HOMES: &[(&str, &[&str])] = &[
    ("datafusion", &["sql"]),
    ("sqlparser", &["sql"]),
    ("wasmtime", &["connect-sandbox"]),
    ("rdkafka", &["log-kafka"]),
    ("rocksdb", &["streams"]),
    ("tokio-postgres", &["connector-postgres"]),
];

/// The folders of a crate, from the lowest on: a module uses its own level and those before it.
const LAYERS: &[(&str, &[&[&str]])] = &[
    (
        "streams",
        &[
            &["chunk", "expr", "time", "json", "memory"],
            &["state"],
            &["plan"],
            &["error"],
            &["aggregate", "decode", "encode", "tally"],
            &["operator", "sink"],
            &["source", "scan", "view"],
            &["worker"],
            &["task"],
            &["job", "query", "why"],
            &["engine"],
            &["driver"],
        ],
    ),
    (
        "sql",
        &[
            &[
                "caller",
                "config",
                "connectors",
                "stack",
                "diagnostic",
                "functions",
            ],
            &["parse"],
            &["generate"],
            &["catalog"],
            &["plan"],
            &["serve"],
        ],
    ),
    (
        "connect/runtime",
        &[
            &["config", "secrets", "supervisor", "loggers", "store"],
            &["converter"],
            &["transform"],
            &["definition"],
            &["task"],
            &["herder"],
            &["worker"],
            &["rest"],
        ],
    ),
];

/// What still looks up: (crate, from, to). It may only become less.
const LOOKS_UP: &[(&str, &str, &str)] =
    &[("sql", "catalog", "plan"), ("streams", "plan", "aggregate")];

/// What a PURE module never names.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net",
    "Instant::now",
    "SystemTime::now",
    "fastrand",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every crate's manifest but the root's and the benchmarks', which use everything.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let root_manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let root_manifest: toml::Table = root_manifest.parse().unwrap();
    let members = root_manifest["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| member.as_str().unwrap())
        .filter(|member| *member != "." && *member != "bench")
        .map(|member| {
            let text = std::fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
            let manifest: toml::Table = text.parse().unwrap();
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            let used = manifest["dependencies"]
                .as_table()
                .unwrap()
                .keys()
                .cloned()
                .collect();
            (name, used)
        })
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let manifests = manifests();
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        manifests
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        ours
    );
    for (name, allowed) in EDGES {
        let used: BTreeSet<&str> = manifests[*name]
            .iter()
            .map(String::as_str)
            .filter(|used| ours.contains(used))
            .collect();
        let forbidden: Vec<_> = used.iter().filter(|used| !allowed.contains(used)).collect();
        assert!(forbidden.is_empty(), "{name} must not use {forbidden:?}");
    }
}

#[test]
fn libraries_stay_in_their_homes() {
    for (library, homes) in HOMES {
        for (name, used) in manifests() {
            assert!(
                !used.contains(*library) || homes.contains(&name.as_str()),
                "{name} must not use {library}"
            );
        }
    }
}

#[test]
fn every_module_says_what_it_owns() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 100, "found only {} files", files.len());
    let silent: Vec<_> = files
        .iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().starts_with("//!"))
        .collect();
    assert!(
        silent.is_empty(),
        "modules that do not say what they own: {silent:#?}"
    );
}

#[test]
fn pure_modules_have_no_clock_no_disk_no_network_no_chance() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut pure = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let header: String = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        if !header.contains("PURE") || path.ends_with("tests/architecture.rs") {
            continue;
        }
        pure += 1;
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for word in IMPURE {
                assert!(
                    !line.contains(word),
                    "{}: a PURE module uses {word}: {line}",
                    path.display()
                );
            }
        }
    }
    assert!(pure >= 5, "only {pure} modules are marked PURE");
}

/// Where a name of a crate's root is defined, by the root's text.
fn definitions(root: &str) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut modules = BTreeSet::new();
    for line in root.lines() {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        if let Some(name) = line.strip_prefix("mod ") {
            modules.insert(word(name));
        }
    }
    let mut names = BTreeMap::new();
    for part in root.split("pub use ").skip(1) {
        let module = word(part);
        let exported = part.split(';').next().unwrap_or_default();
        for name in exported.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            if !name.is_empty() && name != module {
                names.insert(name.to_owned(), module.clone());
            }
        }
    }
    (modules, names)
}

/// The first names behind every `crate::` of a text, those in braces too.
fn used(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let mut depth = 0_usize;
        let mut name = String::new();
        let mut is_first = true;
        for c in part.chars() {
            match c {
                '{' => depth += 1,
                c if (c.is_alphanumeric() || c == '_') && is_first && depth <= 1 => name.push(c),
                c => {
                    if !name.is_empty() {
                        found.push(std::mem::take(&mut name));
                        is_first = false;
                    }
                    match c {
                        ',' if depth == 1 => is_first = true,
                        '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
        found.extend((!name.is_empty()).then_some(name));
    }
    found
}

/// (from, to) of all folders of a crate that use another one, outside of tests.
fn uses(of: &str) -> BTreeSet<(String, String)> {
    let folder = root().join(of).join("src");
    let lib = std::fs::read_to_string(folder.join("lib.rs")).unwrap();
    let (modules, names) = definitions(&lib);
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut found = BTreeSet::new();
    for path in files {
        let place = path.strip_prefix(&folder).unwrap();
        let parts: Vec<String> = place
            .iter()
            .map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned())
            .collect();
        let is_test =
            |part: &String| part == "tests" || part == "differential" || part.starts_with("test_");
        if parts[0] == "lib" || parts.iter().any(is_test) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: Vec<&str> = code.lines().filter(is_code).collect();
        for name in used(&code.join("\n")) {
            let to = match modules.contains(&name) {
                true => Some(&name),
                false => names.get(&name),
            };
            if let Some(to) = to.filter(|to| **to != parts[0]) {
                found.insert((parts[0].clone(), to.clone()));
            }
        }
    }
    found
}

#[test]
fn folders_use_only_what_lies_below_them() {
    let mut up = BTreeSet::new();
    for (of, layers) in LAYERS {
        let level = |name: &str| layers.iter().position(|layer| layer.contains(&name));
        for (from, to) in uses(of) {
            let levels = (level(&from), level(&to));
            let (Some(from_level), Some(to_level)) = levels else {
                panic!("{of}: {from} or {to} has no place among the layers");
            };
            if to_level > from_level {
                up.insert((*of, from, to));
            }
        }
    }
    let known: BTreeSet<(&str, String, String)> = LOOKS_UP
        .iter()
        .map(|(of, from, to)| (*of, (*from).to_owned(), (*to).to_owned()))
        .collect();
    let new: Vec<_> = up.difference(&known).collect();
    assert!(new.is_empty(), "these look up: {new:?}");
    let gone: Vec<_> = known.difference(&up).collect();
    assert!(
        gone.is_empty(),
        "these need no exception any more: {gone:?}"
    );
}

#[test]
fn names_behind_the_root_are_found_in_all_spellings() {
    let text = "use crate::{Chunk, state::{row, key}, time::Watermark};\nlet x = crate::plan::y(crate::BatchExpr);";
    assert_eq!(used(text), ["Chunk", "state", "time", "plan", "BatchExpr"]);
    let (modules, names) =
        definitions("mod a;\npub mod b;\npub use a::{One, Two as Three};\npub use b::Four;\n");
    assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(names["Four"], "b");
    assert_eq!(names["One"], "a");
}
