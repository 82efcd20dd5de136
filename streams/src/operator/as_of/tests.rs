//! As-of joins by random programs against brute force.

use std::collections::BTreeMap;

use arrow::datatypes::DataType::{Int64, Utf8View};

use super::super::tests::{Script, consolidated};
use crate::state::ScanOrder;
use crate::test_plan::{PlanBuilder, TIMESTAMP};
use crate::{Answer, AsOfSpec, Nearest};

const NEAREST: [Nearest; 4] = [
    Nearest::AtOrBefore,
    Nearest::Before,
    Nearest::AtOrAfter,
    Nearest::After,
];

/// Rows `id name number at` on both sides, by name.
fn spec(nearest: Nearest, by_name: bool, pads: bool, answer: Answer) -> AsOfSpec {
    let keys = if by_name { vec![1] } else { Vec::new() };
    AsOfSpec {
        left_keys: keys.clone(),
        right_keys: keys,
        left_time: 3,
        right_time: 3,
        nearest,
        pads,
        answer,
    }
}

/// A row as its columns order it: NULL first, numbers as numbers.
fn ordered(row: &[String]) -> Vec<(Option<i64>, String)> {
    let cell = |(place, cell): (usize, &String)| match (place, cell.as_str()) {
        (_, "~") => (None, String::new()),
        (0 | 1, text) => (Some(0), text.to_owned()),
        (_, number) => (number.parse().ok(), String::new()),
    };
    row.iter().enumerate().map(cell).collect()
}

/// The join of all rows, by brute force.
fn answer_of(
    spec: &AsOfSpec,
    left: &[Vec<String>],
    right: &[Vec<String>],
) -> BTreeMap<String, i64> {
    let time = |row: &[String]| row[3].parse::<i64>().ok();
    let mut answer = BTreeMap::new();
    for row in left {
        let counts = |other: &&Vec<String>| {
            let same = row[1] == other[1] && row[1] != "~";
            let (Some(own), Some(theirs)) = (time(row), time(other)) else {
                return false;
            };
            let counts = match spec.nearest {
                Nearest::AtOrBefore => own >= theirs,
                Nearest::Before => own > theirs,
                Nearest::AtOrAfter => own <= theirs,
                Nearest::After => own < theirs,
            };
            counts && (spec.left_keys.is_empty() || same)
        };
        let place = |row: &&Vec<String>| (time(row), ordered(row));
        let candidates = right.iter().filter(counts);
        let matched = if spec.nearest.is_ahead() {
            candidates.min_by_key(place)
        } else {
            candidates.max_by_key(place)
        };
        let nulls = vec!["~".to_owned(); 4];
        if matched.is_none() && !spec.pads {
            continue;
        }
        let cells = row.iter().chain(matched.unwrap_or(&nulls));
        let cells: Vec<&str> = cells.map(String::as_str).collect();
        *answer.entry(format!(" {}", cells.join(" "))).or_insert(0) += 1;
    }
    answer
}

fn sides(plan: &mut PlanBuilder, append_only: [bool; 2]) -> [usize; 2] {
    let mut source = |side: usize, names: [&'static str; 4]| {
        let [id, name, number, at] = names;
        let columns = [
            (id, Utf8View),
            (name, Utf8View),
            (number, Int64),
            (at, TIMESTAMP),
        ];
        let key = (!append_only[side]).then(|| vec![0]);
        plan.source("t", &columns, key)
    };
    [
        source(0, ["id", "name", "x", "at"]),
        source(1, ["id2", "name2", "y", "at2"]),
    ]
}

/// A random row that is not of this id, or `~` for what it has not.
fn row(random: &mut fastrand::Rng) -> Vec<String> {
    let or_null = |text: String, random: &mut fastrand::Rng| match random.u8(..9) {
        0 => "~".to_owned(),
        _ => text,
    };
    let id = random.u8(..8).to_string();
    let name = random.choice(["a", "b", "a_name_that_does_not_fit_a_view"]);
    let name = or_null(name.unwrap_or_default().to_owned(), random);
    let number = or_null(random.i64(-2..3).to_string(), random);
    let at = or_null(random.i64(-6..7).to_string(), random);
    vec![id, name, number, at]
}

fn run(seed: u64, spec: &AsOfSpec, append_only: [bool; 2]) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut plan = PlanBuilder::default();
    let sources = sides(&mut plan, append_only);
    plan.as_of(spec.clone(), sources[0], sources[1]);
    let mut script = Script::new(plan.build());
    let mut rows: [Vec<Vec<String>>; 2] = Default::default();
    let mut found = BTreeMap::new();
    for _ in 0..40 {
        let side = random.usize(..2);
        let mut text = String::new();
        for _ in 0..random.usize(1..7) {
            let row = row(&mut random);
            let known = &mut rows[side];
            if append_only[side] {
                text.push_str(&format!("+ {}\n", row.join(" ")));
                known.push(row);
                continue;
            }
            known.retain(|other| other[0] != row[0]);
            if random.u8(..3) == 0 {
                text.push_str(&format!("- {} ~ ~ ~\n", row[0]));
            } else {
                text.push_str(&format!("+ {}\n", row.join(" ")));
                known.push(row);
            }
        }
        script.push(sources[side], &text);
        if random.u8(..3) == 0 {
            consolidated(&script.end(None), &mut found);
            let answer = answer_of(spec, &rows[0], &rows[1]);
            assert_eq!(found, answer, "seed {seed}, {append_only:?}, {spec:?}");
            if random.bool() {
                script.commit();
                if random.bool() {
                    script.restart();
                }
            }
        }
    }
}

#[test]
fn each_left_row_has_the_nearest_right_row_after_every_epoch() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        for nearest in NEAREST {
            let spec = spec(
                nearest,
                random.u8(..5) > 0,
                random.bool(),
                Answer::Corrected,
            );
            run(seed, &spec, [random.bool(), random.bool()]);
        }
    }
}

#[test]
fn a_row_that_waits_has_its_answer_once_event_time_has_passed_it() {
    let mut plan = PlanBuilder::default();
    let [left, right] = sides(&mut plan, [true, true]);
    let answer = Answer::AtEventTime { grace_us: 0 };
    plan.as_of(spec(Nearest::AtOrBefore, true, true, answer), left, right);
    let mut script = Script::new(plan.build());
    script.push(left, "+ 1 a 0 10\n+ 2 a 0 20\n+ 3 b 0 11");
    script.push(right, "+ 7 a 1 9");
    assert_eq!(script.end(Some(10)), [] as [&str; 0], "10 may still change");
    // The version of that very time comes last.
    script.push(right, "+ 8 a 2 10");
    script.commit();
    script.restart();
    assert_eq!(
        script.end(Some(15)),
        ["+ 1 a 0 10 8 a 2 10", "+ 3 b 0 11 ~ ~ ~ ~"]
    );
    script.push(right, "+ 9 a 3 19\n+ 5 a 4 21");
    assert_eq!(script.end(Some(30)), ["+ 2 a 0 20 9 a 3 19"]);
    script.push(right, "+ 6 a 5 31");
    script.end(Some(40));
    let mut kept = 0;
    let counted = script.state.scan(&[], &[], ScanOrder::Ascending, |key, _| {
        kept += usize::from(key[1] == 3);
        std::ops::ControlFlow::Continue(())
    });
    counted.unwrap();
    assert_eq!(
        kept, 2,
        "the last version that event time has passed, and the next"
    );
}

/// Rows by chance whose times rise, and event time by chance behind them.
#[test]
fn answers_at_event_time_are_the_join_of_what_it_has_passed() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let grace = random.i64(0..4);
        let grace_us = grace * 1_000_000;
        let answer = Answer::AtEventTime { grace_us };
        let spec = spec(Nearest::AtOrBefore, true, random.bool(), answer);
        let mut plan = PlanBuilder::default();
        let sources = sides(&mut plan, [true, true]);
        plan.as_of(spec.clone(), sources[0], sources[1]);
        let mut script = Script::new(plan.build());
        let mut rows: [Vec<Vec<String>>; 2] = Default::default();
        let mut found = BTreeMap::new();
        let mut reached = -10;
        for _ in 0..40 {
            let side = random.usize(..2);
            let mut text = String::new();
            for _ in 0..random.usize(1..7) {
                let mut row = row(&mut random);
                row[3] = (reached - grace + random.i64(0..9)).to_string();
                text.push_str(&format!("+ {}\n", row.join(" ")));
                rows[side].push(row);
            }
            script.push(sources[side], &text);
            if random.u8(..3) > 0 {
                continue;
            }
            reached += random.i64(0..5);
            consolidated(&script.end(Some(reached)), &mut found);
            // Rows whose key is NULL meet nothing, whatever comes.
            let passed = |row: &&Vec<String>| {
                row[1] == "~" || row[3].parse::<i64>().unwrap() < reached - grace
            };
            let lefts: Vec<Vec<String>> = rows[0].iter().filter(passed).cloned().collect();
            let answer = answer_of(&spec, &lefts, &rows[1]);
            assert_eq!(found, answer, "seed {seed}, {spec:?}");
            if random.bool() {
                script.commit();
                if random.bool() {
                    script.restart();
                }
            }
        }
    }
}

#[test]
fn answers_at_arrival_are_of_the_epoch_that_brings_the_row() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let spec = spec(Nearest::AtOrBefore, true, random.bool(), Answer::AtArrival);
        let mut plan = PlanBuilder::default();
        let sources = sides(&mut plan, [true, false]);
        plan.as_of(spec.clone(), sources[0], sources[1]);
        let mut script = Script::new(plan.build());
        let (mut table, mut expected, mut found) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for _ in 0..20 {
            let mut arrived: Vec<Vec<String>> = Vec::new();
            for _ in 0..random.usize(1..6) {
                let mut row = row(&mut random);
                row[3] = "0".to_owned();
                if random.bool() {
                    script.push(sources[0], &format!("+ {}\n", row.join(" ")));
                    arrived.push(row);
                    continue;
                }
                table.retain(|other: &Vec<String>| other[0] != row[0]);
                if random.u8(..3) == 0 {
                    script.push(sources[1], &format!("- {} ~ ~ ~\n", row[0]));
                } else {
                    script.push(sources[1], &format!("+ {}\n", row.join(" ")));
                    table.push(row);
                }
            }
            consolidated(&script.end(None), &mut found);
            for (row, count) in answer_of(&spec, &arrived, &table) {
                *expected.entry(row).or_insert(0) += count;
            }
            assert_eq!(found, expected, "seed {seed}, {spec:?}");
            script.commit();
            if random.bool() {
                script.restart();
            }
        }
    }
}
