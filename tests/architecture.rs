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
