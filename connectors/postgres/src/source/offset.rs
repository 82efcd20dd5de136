//! PURE: the stored offset, in Debezium's words, so that either side goes on where the other stopped.
//!
//! ```text
//! partition  {"server": "<topic.prefix>"}
//! offset     lsn_commit      end of the last transaction that is done: everything before is in the log
//!            lsn, lsn_proc   the last change that is in the log, and of which transaction (txId)
//!            ts_usec, messageType
//!            snapshot, snapshot_completed     while a snapshot is read
//!   ours     tx_messages     messages of txId that are in the log; without it `lsn` decides
//!            system_id, timeline              of the server whose log it is
//!            snapshot_request  which tables a signal asked for, while they are read
//!            incremental      how far an incremental snapshot is
//!            snapshot_scans  which rows were read under which snapshot, until the stream is past them
//! ```
//!
//! Debezium passes over the names it does not know.

use connect_api::JsonMap;
use serde_json::{Value as Json, json};

use super::incremental::Incremental;
use super::lsn::Lsn;
use super::pieces;
use super::progress::{Inside, Position};
use super::signal::Request;
use super::view::{Range, Scan};

/// Which server an offset belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// The cluster's system identifier.
    pub(super) system: String,
    /// Its timeline.
    pub(super) timeline: String,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// There is none, or it was long ago.
    None,
    /// It is being read.
    Running,
    /// It was read to its end, and nothing was streamed since.
    Completed,
}

/// A stored offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offset {
    /// Where the stream goes on.
    pub(super) position: Position,
    /// Whether a snapshot is unfinished.
    pub(super) snapshot: Snapshot,
    /// What was read under which snapshot, where that still matters.
    pub(super) scans: Vec<Scan>,
    /// What a signal asked to read; `None` for the first snapshot.
    pub(super) request: Option<Request>,
    /// How far the snapshot is that is read beside the stream.
    pub(super) incremental: Option<Incremental>,
    /// The server; `None` where Debezium stored the offset.
    pub(super) origin: Option<Origin>,
    /// When the last transaction was committed, in microseconds since 1970.
    pub(super) commit_us: i64,
}

/// The partition of a connector.
pub(super) fn partition(prefix: &str) -> JsonMap {
    let mut partition = JsonMap::new();
    partition.insert("server".to_owned(), prefix.into());
    partition
}

/// The partition of how far the topic of signals was read: `{"position": 7}`, behind the last one.
pub(super) fn mail_partition(prefix: &str, topic: &str) -> JsonMap {
    let mut partition = partition(prefix);
    partition.insert("signals".to_owned(), topic.into());
    partition
}

impl Offset {
    /// As it is stored.
    pub(super) fn to_json(&self) -> JsonMap {
        let mut map = JsonMap::new();
        let mut put = |name: &str, value: Json| drop(map.insert(name.to_owned(), value));
        let Position { end, inside } = self.position;
        let last = inside.map_or(end, |inside| inside.lsn.max(Lsn(1)));
        put("lsn_proc", last.0.into());
        put("lsn_commit", end.0.into());
        put("lsn", last.0.into());
        put(
            "txId",
            inside.map_or(Json::Null, |inside| inside.xid.into()),
        );
        put("ts_usec", self.commit_us.into());
        if let Some(messages) = inside.and_then(|inside| inside.messages) {
            put("tx_messages", messages.into());
        }
        if self.snapshot != Snapshot::None {
            put("snapshot", "INITIAL".into());
            put(
                "snapshot_completed",
                (self.snapshot == Snapshot::Completed).into(),
            );
        }
        if let Some(origin) = &self.origin {
            put("system_id", origin.system.as_str().into());
            put("timeline", origin.timeline.as_str().into());
        }
        if let Some(request) = &self.request {
            put("snapshot_request", request.to_json());
        }
        if let Some(incremental) = &self.incremental {
            put("incremental", incremental.to_json());
        }
        if !self.scans.is_empty() {
            put(
                "snapshot_scans",
                self.scans.iter().map(scan_to_json).collect(),
            );
        }
        map
    }

    /// As it was stored, by this connector or by Debezium.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_json(map: &JsonMap) -> Result<Self, String> {
        let lsn = |name: &str| -> Result<Option<Lsn>, String> {
            match map.get(name) {
                None | Some(Json::Null) => Ok(None),
                Some(value) => value
                    .as_u64()
                    .map(|lsn| Some(Lsn(lsn)))
                    .ok_or_else(|| format!("\"{name}\" is {value}, which is no position")),
            }
        };
        let (last, commit) = (lsn("lsn_proc")?.max(lsn("lsn")?), lsn("lsn_commit")?);
        let end = commit.or(last).ok_or(
            "it has neither \"lsn_commit\" nor \"lsn\": this is no offset of a PostgreSQL connector",
        )?;
        let xid = map
            .get("txId")
            .and_then(Json::as_u64)
            .map(|xid| u32::try_from(xid & 0xFFFF_FFFF).unwrap_or_default());
        let inside = match (xid, last) {
            (Some(xid), Some(last)) if commit.is_some_and(|commit| last > commit) => Some(Inside {
                xid,
                lsn: last,
                messages: map.get("tx_messages").and_then(Json::as_u64),
            }),
            // A transaction may have begun before the one in front of it ended: ours tell it by the count.
            (Some(xid), Some(last)) if map.contains_key("tx_messages") => Some(Inside {
                xid,
                lsn: last,
                messages: map.get("tx_messages").and_then(Json::as_u64),
            }),
            _ => None,
        };
        let text = |name: &str| map.get(name).and_then(Json::as_str).map(str::to_owned);
        let origin = text("system_id").map(|system| Origin {
            system,
            timeline: text("timeline").unwrap_or_default(),
        });
        let scans = match map.get("snapshot_scans") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(stored)) => {
                let no_scan =
                    |scan| format!("\"snapshot_scans\" has {scan}, which is no scan of a table");
                let scans = stored
                    .iter()
                    .map(|scan| scan_from_json(scan).ok_or_else(|| no_scan(scan)));
                let scans = scans.collect::<Result<_, _>>()?;
                // Offsets of earlier versions lack ranges.
                if stored.iter().all(|scan| scan.get("range").is_some()) {
                    scans
                } else {
                    pieces::chained(scans)
                }
            }
            Some(other) => return Err(format!("\"snapshot_scans\" is {other} and no list")),
        };
        Ok(Self {
            position: Position { end, inside },
            snapshot: snapshot(map),
            scans,
            request: map.get("snapshot_request").and_then(Request::from_json),
            incremental: map.get("incremental").and_then(Incremental::from_json),
            origin,
            commit_us: map
                .get("ts_usec")
                .and_then(Json::as_i64)
                .unwrap_or_default(),
        })
    }
}

/// Debezium's releases say it in several ways: `snapshot` is a boolean or a word, and the end of the snapshot is
/// `snapshot_completed` or `last_snapshot_record`.
fn snapshot(map: &JsonMap) -> Snapshot {
    let in_snapshot = match map.get("snapshot") {
        Some(Json::Bool(running)) => *running,
        Some(Json::String(word)) => !matches!(word.as_str(), "false" | ""),
        _ => false,
    };
    let completed = ["snapshot_completed", "last_snapshot_record"]
        .iter()
        .any(|name| map.get(*name) == Some(&Json::Bool(true)));
    match (in_snapshot, completed) {
        (false, _) => Snapshot::None,
        (true, true) => Snapshot::Completed,
        (true, false) => Snapshot::Running,
    }
}

fn scan_to_json(scan: &Scan) -> Json {
    json!({
        "schema": scan.schema,
        "table": scan.table,
        "view": scan.view,
        "high": scan.high.0,
        "range": [scan.range.behind, scan.range.to],
        "upto": scan.upto,
        "done": scan.done,
        "in_part": scan.in_part,
    })
}

fn scan_from_json(scan: &Json) -> Option<Scan> {
    let text = |name: &str| scan.get(name).and_then(Json::as_str).map(str::to_owned);
    let key = |key: Option<&Json>| match key {
        Some(Json::Array(key)) => {
            let parts = key.iter().map(|part| part.as_str().map(str::to_owned));
            parts.collect::<Option<Vec<String>>>().map(Some)
        }
        _ => Some(None),
    };
    let bound = |place: usize| key(scan.get("range").and_then(|range| range.get(place)));
    Some(Scan {
        schema: text("schema")?,
        table: text("table")?,
        view: text("view"),
        high: Lsn(scan.get("high")?.as_u64()?),
        range: Range {
            behind: bound(0)?,
            to: bound(1)?,
        },
        upto: key(scan.get("upto"))?,
        done: scan.get("done")?.as_bool()?,
        // Offsets of earlier versions lack it.
        in_part: scan.get("in_part").and_then(Json::as_bool).unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Offset, String> {
        let Json::Object(map) = serde_json::from_str(text).unwrap() else {
            panic!("{text} is no object");
        };
        Offset::from_json(&map)
    }

    #[test]
    fn what_is_stored_comes_back() {
        for (inside, snapshot) in [
            (None, Snapshot::None),
            (None, Snapshot::Running),
            (
                Some(Inside {
                    xid: 700,
                    lsn: Lsn(90),
                    messages: Some(3),
                }),
                Snapshot::Completed,
            ),
            // Before the first change, and before the end of the transaction in front.
            (
                Some(Inside {
                    xid: 700,
                    lsn: Lsn(1),
                    messages: Some(1),
                }),
                Snapshot::None,
            ),
        ] {
            let offset = Offset {
                position: Position {
                    end: Lsn(100),
                    inside,
                },
                snapshot,
                scans: vec![Scan {
                    schema: "public".to_owned(),
                    table: "t".to_owned(),
                    view: Some("5:5:".to_owned()),
                    high: Lsn(200),
                    range: Range {
                        behind: inside.map(|_| vec!["3".to_owned()]),
                        to: Some(vec!["9".to_owned(), "x".to_owned()]),
                    },
                    upto: Some(vec!["7".to_owned()]),
                    done: false,
                    in_part: snapshot == Snapshot::Running,
                }],
                request: Some(Request {
                    tables: vec!["public.t".to_owned()],
                    conditions: vec![("public.t".to_owned(), "id > 1".to_owned())],
                    incremental: true,
                }),
                incremental: Some(Incremental {
                    request: Request::default(),
                    done: vec!["public.u".to_owned()],
                    current: inside.map(|_| ("public.t".to_owned(), vec!["7".to_owned()])),
                    paused: inside.is_some(),
                }),
                origin: Some(Origin {
                    system: "7".to_owned(),
                    timeline: "1".to_owned(),
                }),
                commit_us: 42,
            };
            assert_eq!(Offset::from_json(&offset.to_json()), Ok(offset));
        }
    }

    #[test]
    fn debeziums_offsets_are_taken_over() {
        let within = parsed(
            r#"{"lsn_proc":24023128,"messageType":"INSERT","lsn_commit":24022000,"lsn":24023128,"txId":557,"ts_usec":1700000000000000}"#,
        )
        .unwrap();
        assert_eq!(
            within.position,
            Position {
                end: Lsn(24_022_000),
                inside: Some(Inside {
                    xid: 557,
                    lsn: Lsn(24_023_128),
                    messages: None
                })
            }
        );
        assert_eq!(within.snapshot, Snapshot::None);
        assert_eq!(within.origin, None);

        let behind = parsed(
            r#"{"lsn_proc":500,"lsn_commit":500,"lsn":500,"txId":557,"ts_usec":1,"transaction_id":null}"#,
        )
        .unwrap();
        assert_eq!(behind.position.end, Lsn(500));
        assert_eq!(behind.position.inside, None);

        for (text, expected) in [
            (
                r#"{"lsn":7,"snapshot":true,"last_snapshot_record":false}"#,
                Snapshot::Running,
            ),
            (
                r#"{"lsn":7,"snapshot":true,"last_snapshot_record":true}"#,
                Snapshot::Completed,
            ),
            (
                r#"{"lsn":7,"snapshot":"INITIAL","snapshot_completed":true}"#,
                Snapshot::Completed,
            ),
            (
                r#"{"lsn":7,"snapshot":"INITIAL","snapshot_completed":false}"#,
                Snapshot::Running,
            ),
            (r#"{"lsn":7}"#, Snapshot::None),
        ] {
            let offset = parsed(text).unwrap();
            assert_eq!(offset.snapshot, expected, "{text}");
            assert_eq!(offset.position.end, Lsn(7), "{text}");
        }
    }

    #[test]
    fn scans_of_earlier_versions_get_their_ranges() {
        let scan = |upto: &str, done| {
            format!(
                r#"{{"schema":"s","table":"t","view":null,"high":7,"upto":["{upto}"],"done":{done},"in_part":false}}"#
            )
        };
        let text = format!(
            r#"{{"lsn":7,"snapshot":"INITIAL","snapshot_scans":[{},{}]}}"#,
            scan("41", false),
            scan("90", false)
        );
        let ranges: Vec<(Range, bool)> = parsed(&text)
            .unwrap()
            .scans
            .into_iter()
            .map(|scan| (scan.range, scan.done))
            .collect();
        let bound = Some(vec!["41".to_owned()]);
        let (first, rest) = (
            Range {
                behind: None,
                to: bound.clone(),
            },
            Range {
                behind: bound,
                to: None,
            },
        );
        assert_eq!(ranges, [(first, true), (rest, false)]);
    }

    #[test]
    fn what_is_no_offset_is_named() {
        assert!(parsed("{}").unwrap_err().contains("lsn_commit"));
        assert!(parsed(r#"{"lsn":"0/1"}"#).unwrap_err().contains("\"lsn\""));
        assert!(
            parsed(r#"{"lsn":1,"snapshot_scans":[{}]}"#)
                .unwrap_err()
                .contains("snapshot_scans")
        );
    }
}
