//! The layers inside the broker: which of its folders and files may use which. What a row names stands above it, so there is no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Module → the modules of this crate that it may use, each of them in a row above.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("memory", &[]),
    ("security", &[]),
    ("config", &["security"]),
    ("access", &["config", "security"]),
    ("topic_config", &[]),
    ("partition", &["topic_config"]),
    ("storage", &["partition", "topic_config"]),
    ("error", &["config", "storage"]),
    ("quorum", &["error", "security", "storage", "topic_config"]),
    (
        "coordinator",
        &["clock", "error", "partition", "quorum", "storage"],
    ),
    ("upkeep", &["clock", "quorum"]),
    (
        "services",
        &[
            "access",
            "config",
            "coordinator",
            "memory",
            "quorum",
            "security",
            "upkeep",
        ],
    ),
    ("authorize", &["security", "services"]),
    (
        "guard",
        &["access", "authorize", "clock", "security", "services"],
    ),
    (
        "api",
        &[
            "access",
            "authorize",
            "clock",
            "config",
            "coordinator",
            "partition",
            "quorum",
            "security",
            "services",
            "storage",
            "topic_config",
        ],
    ),
    (
        "embedded",
        &[
            "api",
            "clock",
            "config",
            "coordinator",
            "partition",
            "quorum",
            "services",
            "storage",
        ],
    ),
    (
        "server",
        &[
            "access", "api", "clock", "config", "memory", "security", "services", "storage",
        ],
    ),
    (
        "broker",
        &[
            "access",
            "clock",
            "config",
            "coordinator",
            "embedded",
            "error",
            "guard",
            "memory",
            "quorum",
            "server",
            "services",
            "storage",
            "upkeep",
        ],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "tests") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_none_or(|name| name != "tests.rs")
        {
            found.push(path);
        }
    }
}

/// What each module names of the others.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&root).expect("a source");
        let first = inside.iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source that can be read");
        // Tests stand last in a file, and may use what they like.
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let names = code.match_indices("crate::").map(|(at, prefix)| {
            let rest = &code[at + prefix.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            rest[..end.unwrap_or(rest.len())].to_owned()
        });
        let others =
            names.filter(|name| *name != module && name.chars().all(|c| !c.is_uppercase()));
        used.entry(module.clone())
            .or_default()
            .extend(others.filter(|name| !name.is_empty()));
    }
    used
}

#[test]
fn modules_use_only_those_that_their_layer_may() {
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    for (module, names) in used() {
        let allowed = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("module {module} has no row in the table of layers"));
        for name in names {
            assert!(
                allowed.contains(&name.as_str()),
                "{module} uses {name}, which its row in the table of layers does not name"
            );
        }
    }
}

#[test]
fn the_table_has_no_circle() {
    let mut above = BTreeSet::new();
    for (module, allowed) in LAYERS {
        for name in *allowed {
            assert!(above.contains(name), "{name} must stand above {module}");
        }
        above.insert(*module);
    }
}
