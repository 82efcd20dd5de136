//! Session windows: what is out there, what is late, and what is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType::{Int64, Utf8View};

use crate::operator::tests::{Script, read};
use crate::state::{MemoryStore, State};
use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP};
use crate::{Emit, LatePolicy, Watermark};

const GAP: i64 = 10;

/// Names, numbers and times, in sessions for each name.
fn script(key: Option<Vec<usize>>, emit: Emit, grace: i64) -> (Script, usize) {
    script_within(1 << 30, key, emit, grace)
}

/// The same, with so much memory for partitions.
fn script_within(
    cache_bytes: usize,
    key: Option<Vec<usize>>,
    emit: Emit,
    grace: i64,
) -> (Script, usize) {
    let mut plan = PlanBuilder::default();
    let columns = [("name", Utf8View), ("number", Int64), ("at", TIMESTAMP)];
    let source = plan.source("t", &columns, key);
    let late = LatePolicy::To("late".to_owned());
    plan.session(
        source,
        &["name"],
        (GAP * SECOND, grace * SECOND),
        late,
        emit,
    );
    (Script::with_cache(plan.build(), cache_bytes), source)
}

/// Memory for all partitions, for none, and for about one.
const CACHES: [usize; 3] = [1 << 30, 0, 700];

/// Sends records before each of which event time was there.
fn send(script: &mut Script, source: usize, rows: &str, watermarks: &[i64]) {
    let chunk = read(&script.plan.nodes[source].schema, rows, watermarks);
    script.chunk(source, chunk);
}

#[test]
fn rows_a_gap_apart_are_of_one_session_and_rows_between_two_make_them_one() {
    let (mut script, source) = script(None, Emit::Changes, 0);
    send(
        &mut script,
        source,
        "+ a 1 0\n+ a 2 10\n+ a 3 21\n+ b 4 5",
        &[0; 4],
    );
    assert_eq!(
        script.end(Some(0)),
        [
            "+ a 1 0 0 20 19.999",
            "+ a 2 10 0 20 19.999",
            "+ a 3 21 21 31 30.999",
            "+ b 4 5 5 15 14.999"
        ]
    );
    send(&mut script, source, "+ a 5 15", &[0]);
    assert_eq!(
        script.end(Some(0)),
        [
            "- a 1 0 0 20 19.999",
            "- a 2 10 0 20 19.999",
            "- a 3 21 21 31 30.999",
            "+ a 1 0 0 31 30.999",
            "+ a 2 10 0 31 30.999",
            "+ a 5 15 0 31 30.999",
            "+ a 3 21 0 31 30.999"
        ]
    );
    // A row that changes no bounds moves no other one.
    send(&mut script, source, "+ a 6 15", &[0]);
    assert_eq!(script.end(Some(0)), ["+ a 6 15 0 31 30.999"]);
}

#[test]
fn a_row_that_goes_splits_its_session() {
    let (mut script, source) = script(Some(vec![1]), Emit::Changes, 0);
    script.push(source, "+ a 1 0\n+ a 2 8\n+ a 3 16");
    assert_eq!(script.end(None).len(), 3);
    script.push(source, "- a 2 8");
    assert_eq!(
        script.end(None),
        [
            "- a 1 0 0 26 25.999",
            "- a 3 16 0 26 25.999",
            "- a 2 8 0 26 25.999",
            "+ a 1 0 0 10 9.999",
            "+ a 3 16 16 26 25.999"
        ]
    );
    script.push(source, "- a 1 0\n- a 3 16");
    script.end(None);
    assert_eq!(script.keys(), 0, "nothing is kept of what is not there");
}

#[test]
fn rows_that_are_held_back_leave_once_and_what_touches_them_then_is_late() {
    let (mut script, source) = script(None, Emit::OnWindowClose, 0);
    send(&mut script, source, "+ a 1 0\n+ a 2 5", &[0, 0]);
    assert!(script.end(Some(14)).is_empty());
    script.commit();
    script.restart();
    assert_eq!(
        script.end(Some(15)),
        ["+ a 1 0 0 15 14.999", "+ a 2 5 0 15 14.999"]
    );
    // Its own session would be open still; that which it touches has left.
    send(&mut script, source, "+ a 3 14\n+ a 4 16", &[15, 15]);
    assert!(script.end(Some(25)).is_empty());
    assert_eq!(script.effects.late, 1);
    assert_eq!(script.end(Some(26)), ["+ a 4 16 16 26 25.999"]);
    script.end_with(|_| Watermark::End);
    script.commit();
    assert_eq!(script.keys(), 0);
}

#[test]
fn a_row_inside_a_session_that_is_open_is_not_late_however_old() {
    let (mut script, source) = script(None, Emit::Changes, 0);
    send(&mut script, source, "+ a 1 0\n+ a 2 10\n+ a 3 20", &[0; 3]);
    script.end(Some(25));
    send(&mut script, source, "+ a 4 3\n+ b 5 3", &[25, 25]);
    assert_eq!(script.end(Some(25)), ["+ a 4 3 0 30 29.999"]);
    assert_eq!(script.effects.late, 1);
    let late = script.effects.take_records();
    assert_eq!(late.len(), 1);
    assert_eq!(&*late[0].topic, "late");
}

#[test]
fn a_row_right_before_a_session_that_is_open_is_not_late_however_old() {
    for emit in [Emit::Changes, Emit::OnWindowClose] {
        let (mut script, source) = script(None, emit, 0);
        send(&mut script, source, "+ a 1 20\n+ a 2 30", &[5, 25]);
        script.end(Some(25));
        // Each would begin a session that has closed by now; the second is taken because the first was.
        send(&mut script, source, "+ a 3 12\n+ a 4 3", &[25, 25]);
        script.end(Some(25));
        assert_eq!(script.effects.late, 0);
        // When the session began this one would have been late by itself: what it touches may be forgotten.
        send(&mut script, source, "+ a 5 -5", &[25]);
        script.end(Some(25));
        assert_eq!(script.effects.late, 1);
        let mut out = BTreeMap::new();
        send(&mut script, source, "+ a 6 31", &[25]);
        add(&mut out, script.end_with(|_| Watermark::End));
        let last = out.into_keys().next_back().unwrap_or_default();
        assert_eq!(last, "a 6 31 3 41 40.999");
        script.commit();
        assert_eq!(script.keys(), 0);
    }
}

#[test]
fn a_row_that_would_join_a_session_that_has_closed_is_late() {
    for emit in [Emit::Changes, Emit::OnWindowClose] {
        let (mut script, source) = script(None, emit, 0);
        send(
            &mut script,
            source,
            "+ a 1 0\n+ a 2 18\n+ a 3 26",
            &[-5, 5, 5],
        );
        // The first session has ended so long ago that its rows are forgotten.
        script.end(Some(25));
        script.commit();
        script.restart();
        send(&mut script, source, "+ a 4 9\n+ a 5 11", &[25, 25]);
        script.end(Some(25));
        assert_eq!(script.effects.late, 1, "it lies between both");
        assert_eq!(script.end(Some(25)), Vec::<String>::new());
        script.end_with(|_| Watermark::End);
        script.commit();
        assert_eq!(script.keys(), 0);
    }
}

/// Sessions as they were made: first and last times, and floors.
type Made = BTreeMap<String, Vec<(i64, i64, i64)>>;

/// Puts a time into the sessions of a name, unless it comes too late for them.
fn takes(
    made: &mut Vec<(i64, i64, i64)>,
    time: i64,
    (watermark, grace): (i64, i64),
    holds: bool,
) -> bool {
    let is_closed = |last: i64| last + GAP + grace <= watermark;
    let touches = |(start, last, _): &(i64, i64, i64)| last + GAP >= time && start - GAP <= time;
    let mut touched: Vec<_> = made.iter().copied().filter(touches).collect();
    touched.sort_unstable();
    let joins_closed = touched.iter().any(|(_, last, _)| is_closed(*last));
    let is_taken = (touched.iter())
        .any(|(start, last, floor)| (*start..=*last).contains(&time) || *floor < time);
    let is_late = match is_closed(time) {
        true => joins_closed || !is_taken,
        false => holds && joins_closed,
    };
    if is_late {
        return false;
    }
    let floor = match touched.first() {
        Some((start, last, _)) if is_closed(*last) => *start,
        Some((_, _, floor)) => *floor,
        None => watermark - GAP - grace,
    };
    let start = touched
        .iter()
        .map(|(start, _, _)| *start)
        .fold(time, i64::min);
    let last = touched
        .iter()
        .map(|(_, last, _)| *last)
        .fold(time, i64::max);
    made.retain(|session| !touched.contains(session));
    made.push((start, last, floor));
    true
}

/// What is there of each name: times with numbers.
type Rows = BTreeMap<String, Vec<(i64, i64)>>;

/// The sessions of rows: first and last times.
fn sessions(rows: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut times: Vec<i64> = rows.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    let mut sessions: Vec<(i64, i64)> = Vec::new();
    for time in times {
        match sessions.last_mut() {
            Some((_, last)) if time - *last <= GAP => *last = time,
            _ => sessions.push((time, time)),
        }
    }
    sessions
}

/// The rows with their sessions; `closed`: only of those that have closed by then.
fn answer(rows: &Rows, closed: Option<i64>) -> BTreeMap<String, i64> {
    let mut answer = BTreeMap::new();
    for (name, rows) in rows {
        for (start, last) in sessions(rows) {
            let end = last + GAP;
            if closed.is_some_and(|until| end > until) {
                continue;
            }
            for (time, number) in rows
                .iter()
                .filter(|(time, _)| (start..=last).contains(time))
            {
                let last_instant = (end * 1000 - 1) as f64 / 1000.0;
                let text = format!("{name} {number} {time} {start} {end} {last_instant}");
                *answer.entry(text).or_default() += 1;
            }
        }
    }
    answer
}

fn add(counts: &mut BTreeMap<String, i64>, changes: Vec<String>) {
    for change in changes {
        let sign = if change.starts_with('+') { 1 } else { -1 };
        *counts.entry(change[2..].to_owned()).or_default() += sign;
    }
    counts.retain(|_, count| *count != 0);
}

#[test]
fn sessions_are_those_of_the_rows_that_are_not_late_however_they_are_cut() {
    for seed in 0..400u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let emit = [Emit::Changes, Emit::OnWindowClose][random.usize(..2)];
        let holds = emit == Emit::OnWindowClose;
        let grace = [0, 0, 6][random.usize(..3)];
        let cache_bytes = CACHES[random.usize(..3)];
        let (mut script, source) = script_within(cache_bytes, None, emit, grace);
        let (mut rows, mut made, mut late) = (Rows::new(), Made::new(), 0);
        let (mut clock, mut watermark) = (0, -5);
        let mut out = BTreeMap::new();
        let mut committed = (
            rows.clone(),
            made.clone(),
            watermark,
            clock,
            out.clone(),
            late,
        );
        for step in 0..60 {
            match random.u8(..8) {
                0 => {
                    add(&mut out, script.end(Some(watermark)));
                    script.commit();
                    committed = (
                        rows.clone(),
                        made.clone(),
                        watermark,
                        clock,
                        out.clone(),
                        late,
                    );
                }
                1 if random.u8(..3) == 0 => {
                    script.restart();
                    (rows, made, watermark, clock, out, late) = committed.clone();
                    script.effects.late = late;
                    // A task goes on with the event time that was committed.
                    add(&mut out, script.end(Some(watermark)));
                }
                2 | 3 => {
                    add(&mut out, script.end(Some(watermark)));
                    let closed = holds.then_some(watermark - grace);
                    assert_eq!(out, answer(&rows, closed), "seed {seed}, step {step}");
                    assert_eq!(script.effects.late, late, "seed {seed}, step {step}");
                }
                _ => {
                    let (mut text, mut before) = (String::new(), Vec::new());
                    for _ in 0..1 + random.usize(..4) {
                        clock += random.i64(0..9);
                        let behind = [0, 0, random.i64(0..45)][random.usize(..3)];
                        let time = clock - behind;
                        let name = ["a", "b"][random.usize(..2)].to_owned();
                        let number = random.i64(0..3);
                        text.push_str(&format!("+ {name} {number} {time}\n"));
                        before.push(watermark);
                        let sessions = made.entry(name.clone()).or_default();
                        match takes(sessions, time, (watermark, grace), holds) {
                            true => rows.entry(name).or_default().push((time, number)),
                            false => late += 1,
                        }
                        watermark = watermark.max(time - 5);
                    }
                    send(&mut script, source, &text, &before);
                }
            }
        }
        add(&mut out, script.end_with(|_| Watermark::End));
        assert_eq!(out, answer(&rows, None), "seed {seed}");
        script.commit();
        assert_eq!(
            script.keys(),
            0,
            "seed {seed}: what is kept of closed sessions"
        );
    }
}

#[test]
fn sessions_of_a_table_are_those_of_its_rows() {
    for seed in 0..300u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let cache_bytes = CACHES[random.usize(..3)];
        let key = Some(vec![1]);
        let (mut script, source) = script_within(cache_bytes, key, Emit::Changes, 0);
        let mut table: BTreeMap<i64, (String, i64)> = BTreeMap::new();
        let mut out = BTreeMap::new();
        let mut committed = (table.clone(), out.clone());
        for step in 0..60 {
            match random.u8(..9) {
                0 => {
                    add(&mut out, script.end(None));
                    script.commit();
                    committed = (table.clone(), out.clone());
                }
                1 => {
                    script.restart();
                    (table, out) = committed.clone();
                }
                2 | 3 => {
                    add(&mut out, script.end(None));
                    let mut rows = Rows::new();
                    for (number, (name, time)) in &table {
                        rows.entry(name.clone()).or_default().push((*time, *number));
                    }
                    assert_eq!(out, answer(&rows, None), "seed {seed}, step {step}");
                }
                _ => {
                    let (name, number) = (["a", "b"][random.usize(..2)], random.i64(0..12));
                    let time = random.i64(0..60);
                    let sign = ["+", "+", "-"][random.usize(..3)];
                    script.push(source, &format!("{sign} {name} {number} {time}"));
                    match sign {
                        "+" => table.insert(number, (name.to_owned(), time)),
                        _ => table.remove(&number),
                    };
                }
            }
        }
    }
}

#[test]
fn partitions_in_use_are_not_read_again_and_idle_ones_make_room() {
    let (mut script, source) = script_within(4_000, None, Emit::Changes, 0);
    send(&mut script, source, "+ a 1 0\n+ a 2 5", &[0, 0]);
    script.end(Some(0));
    script.commit();
    // What is in memory is all that is known of it here.
    let store = script.state.store().clone();
    script.state = State::new(Arc::new(MemoryStore::new(usize::MAX)));
    send(&mut script, source, "+ a 3 9", &[0]);
    let moved = [
        "- a 1 0 0 15 14.999",
        "- a 2 5 0 15 14.999",
        "+ a 1 0 0 19 18.999",
        "+ a 2 5 0 19 18.999",
        "+ a 3 9 0 19 18.999",
    ];
    assert_eq!(script.end(Some(0)), moved);
    script.commit();
    // A partition of many rows drives it out, and is given up itself.
    script.state = State::new(store);
    let rows: String = (0..50).map(|number| format!("+ b {number} 0\n")).collect();
    send(&mut script, source, &rows, &[0; 50]);
    assert_eq!(script.end(Some(0)).len(), 50);
    assert!(script.graph.size_bytes() > 4_000);
    script.commit();
    assert!(script.graph.size_bytes() < 4_000);
    send(&mut script, source, "+ a 4 9", &[0]);
    assert_eq!(script.end(Some(0)), ["+ a 4 9 0 19 18.999"]);
}

#[test]
fn a_session_of_many_rows_moves_in_pieces_wherever_it_is() {
    CACHES.into_iter().for_each(moves_in_pieces);
}

fn moves_in_pieces(cache_bytes: usize) {
    let (mut script, source) = script_within(cache_bytes, None, Emit::Changes, 0);
    let rows: String = (0..9_000)
        .map(|number| format!("+ a {number} 0\n"))
        .collect();
    send(&mut script, source, &rows, &vec![0; 9_000]);
    assert_eq!(script.end(Some(0)).len(), 9_000);
    script.commit();
    send(&mut script, source, "+ a 1 5", &[0]);
    assert_eq!(script.end(Some(0)).len(), 18_001);
    script.commit();
    script.end_with(|_| Watermark::End);
    script.commit();
    assert_eq!(script.keys(), 0);
}
