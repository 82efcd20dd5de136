//! Files as relations: `SELECT … FROM 'flights.ndjson.gz'`, read once, from the first line to the last.
//!
//! ```text
//! name ── below `sql.files_dir`? ── format by its ending ── columns from the first rows ── a relation of this statement
//! ```
//!
//! The server reads them with its own rights, for whoever may send it a statement: every program of this machine, whoever
//! runs it. So it reads nothing but what lies below the folder that its settings open, and none is open by itself. What is
//! elsewhere is not told from what does not exist.
//!
//! Invariants:
//! 1. Links are followed before a path is judged.
//! 2. The same decoders read a file and a topic, so that the same values mean the same, and what cannot be read is told.

mod lines;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::infer::Kind as FieldKind;
use super::server::{Inner, StatementContext};
use crate::catalog::{Identity, Kind, Objects, Relation, bind_relation};
use crate::diagnostic::{Code, Diagnostic, Words};
use crate::parse::statement::Statement;
use crate::parse::{parse, split_statements};
use crate::plan::name_text;
use lines::Lines;
pub(super) use table::FileTable;

/// Rows that are looked at for the columns.
const SAMPLE_ROWS: usize = 10_000;

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

/// What a file's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// An object a line.
    Json,
    /// A line of names, then a row a line; in quotes a row may go on.
    Csv(u8),
}

/// A file that a statement may read.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: PathBuf,
    packing: Packing,
    format: Format,
}

/// The files of a statement: as relations beside those of the catalog, and where their rows are.
pub(super) struct Files {
    pub objects: Arc<Objects>,
    pub files: HashMap<String, File>,
    /// Why those cannot be read that look like files.
    refused: Vec<(String, Diagnostic)>,
}

impl Files {
    /// The error of a statement that names a file which cannot be read is about that file.
    pub(super) fn explain(&self, error: Diagnostic) -> Diagnostic {
        let named =
            |(name, _): &&(String, Diagnostic)| error.message.contains(&format!("{name:?}"));
        match self.refused.iter().find(named) {
            Some((_, refused)) if error.code == Code::UnknownRelation.number() => refused.clone(),
            _ => error,
        }
    }
}

/// Packing and format of a file by its name; `None`: it is no file that is read.
fn format_of(name: &str) -> Option<(Packing, Format)> {
    let lower = name.to_lowercase();
    let (rest, packing) = match (lower.strip_suffix(".gz"), lower.strip_suffix(".zst")) {
        (Some(rest), _) => (rest, Packing::Gzip),
        (None, Some(rest)) => (rest, Packing::Zstd),
        (None, None) => (lower.as_str(), Packing::None),
    };
    let format = match rest.rsplit_once('.')?.1 {
        "ndjson" | "jsonl" | "json" => Format::Json,
        "csv" => Format::Csv(b','),
        "tsv" => Format::Csv(b'\t'),
        _ => return None,
    };
    Some((packing, format))
}

impl Inner {
    /// The files among the texts of a statement, with their columns.
    pub(super) async fn files(&self, context: &StatementContext<'_>) -> Files {
        let catalog = self.objects();
        let mut found = Files {
            objects: Arc::clone(&catalog),
            files: HashMap::new(),
            refused: Vec::new(),
        };
        for (name, span) in context.words.texts() {
            let is_known = catalog.relation(name).is_some() || found.files.contains_key(name);
            if is_known || !(format_of(name).is_some() || name.ends_with(".parquet")) {
                continue;
            }
            match self.file(name).await {
                Ok((file, relation)) => {
                    let mut objects = found.objects.as_ref().clone();
                    objects.insert_relation(Arc::new(relation));
                    found.objects = Arc::new(objects);
                    found.files.insert(name.to_owned(), file);
                }
                // It may be a text like any other.
                Err(error) => found.refused.push((name.to_owned(), error.at(*span))),
            }
        }
        found
    }

    async fn file(&self, name: &str) -> Result<(File, Relation), Diagnostic> {
        let Some((packing, format)) = format_of(name) else {
            let message = format!("'{name}' is in a format that is not read");
            return Err(Diagnostic::new(Code::Unsupported, message)
                .help(".ndjson, .json and .csv are, with .gz or .zst behind"));
        };
        let folder = PathBuf::from(&self.config.files_dir);
        if folder.as_os_str() == "off" {
            let message = format!("'{name}' is not read: no folder of files is open to statements");
            return Err(Diagnostic::new(Code::Unsupported, message)
                .help("sql.files_dir in the server's settings names one"));
        }
        let asked = name.to_owned();
        let sampled = tokio::task::spawn_blocking(move || {
            let file = File {
                path: allowed(&folder, &asked)?,
                packing,
                format,
            };
            let columns = columns(&file, &asked)?;
            Ok::<_, Diagnostic>((file, columns))
        });
        let (file, columns) = match sampled.await {
            Ok(sampled) => sampled?,
            Err(error) => return Err(Diagnostic::new(Code::Internal, error.to_string())),
        };
        Ok((file, self.file_relation(name, format, &columns)?))
    }

    /// A source with these columns, as if it were declared.
    fn file_relation(
        &self,
        name: &str,
        format: Format,
        columns: &str,
    ) -> Result<Relation, Diagnostic> {
        let encode = match format {
            Format::Json => "JSON",
            Format::Csv(b'\t') => "CSV (delimiter = '\\t')",
            Format::Csv(_) => "CSV",
        };
        let sql = format!("CREATE SOURCE file ({columns}) FORMAT PLAIN ENCODE {encode}");
        let statements = split_statements(&sql);
        let parsed = statements.first().map(parse).transpose()?;
        let Some(Statement::CreateRelation(create)) = parsed else {
            return Err(Diagnostic::new(Code::Internal, "a file is no source"));
        };
        let identity = Identity {
            id: Uuid::now_v7(),
            name: "file".to_owned(),
            kind: Kind::Source,
            sql: String::new(),
            created_ms: 0,
            references: Vec::new(),
        };
        let bound = bind_relation(&self.library, &create, identity, &Words::default());
        let mut relation = bound.map_err(|error| wrong(name, &error.message))?.relation;
        relation.identity.name = name.to_owned();
        relation.topic = name.to_owned();
        Ok(relation)
    }
}

/// The path of a file below the folder that is open.
fn allowed(folder: &Path, name: &str) -> Result<PathBuf, Diagnostic> {
    let none = || {
        let message = format!("there is no file '{name}' in the folder that is open to statements");
        Diagnostic::new(Code::UnknownRelation, message).help(format!(
            "that is {} (sql.files_dir); a name is looked up from there",
            folder.display()
        ))
    };
    let folder = folder.canonicalize().map_err(|_| none())?;
    let path = folder.join(name).canonicalize().map_err(|_| none())?;
    if !path.starts_with(&folder) || !path.is_file() {
        return Err(none());
    }
    Ok(path)
}

fn wrong(name: &str, reason: &str) -> Diagnostic {
    Diagnostic::new(Code::Row, format!("file '{name}' cannot be read: {reason}"))
}

/// The columns of a file as they would be declared: `name TYPE, …`.
fn columns(file: &File, name: &str) -> Result<String, Diagnostic> {
    let mut lines = Lines::open(file).map_err(|error| wrong(name, &error))?;
    let found = match file.format {
        Format::Json => {
            let mut found = FieldKind::Unknown;
            for _ in 0..SAMPLE_ROWS {
                let Some(line) = lines.next().map_err(|error| wrong(name, &error))? else {
                    break;
                };
                if let Ok(row @ Value::Object(_)) = serde_json::from_slice(line) {
                    found = found.merged(FieldKind::of_row(&row));
                }
            }
            match found {
                FieldKind::Struct(fields) => fields,
                _ => return Err(wrong(name, "it has no JSON objects, one a line")),
            }
        }
        Format::Csv(delimiter) => {
            let header = lines.next().map_err(|error| wrong(name, &error))?;
            let names = header
                .map(|header| cells(header, delimiter))
                .unwrap_or_default();
            if names.is_empty() || names.iter().any(Option::is_none) {
                return Err(wrong(name, "its first line does not name its columns"));
            }
            let mut kinds = vec![FieldKind::Unknown; names.len()];
            for _ in 0..SAMPLE_ROWS {
                let Some(line) = lines.next().map_err(|error| wrong(name, &error))? else {
                    break;
                };
                for (kind, cell) in kinds.iter_mut().zip(cells(line, delimiter)) {
                    let known = std::mem::replace(kind, FieldKind::Unknown);
                    // What differs is a text: a cell is no JSON.
                    *kind = match known.merged(cell_kind(cell)) {
                        FieldKind::Json => FieldKind::Text,
                        kind => kind,
                    };
                }
            }
            let kinds = kinds.into_iter().map(|kind| match kind {
                FieldKind::Unknown => FieldKind::Text,
                kind => kind,
            });
            names.into_iter().flatten().zip(kinds).collect()
        }
    };
    let column = |(name, kind): &(String, FieldKind)| format!("{} {}", name_text(name), kind.sql());
    Ok(found.iter().map(column).collect::<Vec<_>>().join(", "))
}

/// The cells of a line; an empty one without quotes is NULL.
fn cells(line: &[u8], delimiter: u8) -> Vec<Option<String>> {
    let mut cells = Vec::new();
    let (mut cell, mut quoted, mut was_quoted) = (Vec::new(), false, false);
    let mut bytes = line.iter().copied().peekable();
    let mut end = |cell: &mut Vec<u8>, was_quoted: &mut bool| {
        let text = String::from_utf8_lossy(cell).into_owned();
        cells.push((*was_quoted || !text.is_empty()).then_some(text));
        cell.clear();
        *was_quoted = false;
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                cell.push(b'"');
            }
            b'"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            byte if byte == delimiter && !quoted => end(&mut cell, &mut was_quoted),
            byte => cell.push(byte),
        }
    }
    end(&mut cell, &mut was_quoted);
    cells
}

/// What a cell may be; `007` and `+1` are texts.
fn cell_kind(cell: Option<String>) -> FieldKind {
    let Some(cell) = cell else {
        return FieldKind::Unknown;
    };
    match serde_json::from_str::<Value>(&cell) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => FieldKind::of_row(&value),
        _ => FieldKind::of_row(&Value::String(cell)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_a_file_is_read() {
        for (name, format) in [
            ("a.ndjson", Some((Packing::None, Format::Json))),
            ("x/b.JSON.GZ", Some((Packing::Gzip, Format::Json))),
            ("c.csv.zst", Some((Packing::Zstd, Format::Csv(b',')))),
            ("d.tsv", Some((Packing::None, Format::Csv(b'\t')))),
            ("e.parquet", None),
            ("csv", None),
            ("2024-05-01", None),
        ] {
            assert_eq!(format_of(name), format, "{name}");
        }
    }

    #[test]
    fn only_what_lies_below_the_folder_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = folder.path().join("open");
        std::fs::create_dir(&open).expect("a folder");
        std::fs::write(open.join("a.csv"), "x\n1\n").expect("a file");
        std::fs::write(folder.path().join("b.csv"), "x\n1\n").expect("a file");
        std::os::unix::fs::symlink(folder.path().join("b.csv"), open.join("link.csv"))
            .expect("a link");
        assert!(allowed(&open, "a.csv").is_ok());
        let whole = open.join("a.csv");
        assert!(allowed(&open, whole.to_str().expect("a text")).is_ok());
        let outside = folder.path().join("b.csv");
        let mut refused = Vec::new();
        for name in [
            "../b.csv",
            "link.csv",
            outside.to_str().expect("a text"),
            "none.csv",
            ".",
            "/etc/passwd",
        ] {
            let error = allowed(&open, name).expect_err(name);
            refused.push(error.message.replace(name, "…"));
        }
        refused.dedup();
        assert_eq!(
            refused.len(),
            1,
            "what is elsewhere is not told from what is not there: {refused:?}"
        );
    }

    #[test]
    fn cells_are_told_from_each_other() {
        let texts = |line: &str| {
            let cells = cells(line.as_bytes(), b',');
            cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "NULL".to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(r#"1,,"","a, ""b""",x"#),
            ["1", "NULL", "", r#"a, "b""#, "x"]
        );
        let kinds = [
            "1",
            "1.5",
            "007",
            "true",
            "2024-05-01",
            "2024-05-01T10:00:00",
            "x",
        ]
        .map(|cell| cell_kind(Some(cell.to_owned())).sql());
        assert_eq!(
            kinds,
            [
                "BIGINT",
                "DOUBLE",
                "TEXT",
                "BOOLEAN",
                "DATE",
                "TIMESTAMP",
                "TEXT"
            ]
        );
    }
}
