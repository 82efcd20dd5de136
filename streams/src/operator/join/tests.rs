//! Joins of all kinds by random programs against brute force, and what they keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::DataType::{Int64, Utf8View};
use arrow::datatypes::Int64Type;

use super::super::CHUNK_ROWS_MAX;
use super::super::tests::{Script, consolidated};
use crate::state::ScanOrder;
use crate::test_plan::{FnExpr, PlanBuilder, SECOND, TIMESTAMP};
use crate::{BatchExpr, Chunk, ExprError, JoinKind, JoinRange, JoinSpec};

const KINDS: [JoinKind; 7] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
    JoinKind::Mark,
];

/// Column x of the left side is below y of the right one.
fn x_below_y(batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
    let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().iter();
    let below = column(2).zip(column(6)).map(|(x, y)| Some(x? < y?));
    Ok(Arc::new(below.collect::<BooleanArray>()))
}

/// What is joined: rows `id name number at` on both sides.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: JoinKind,
    by_name: bool,
    null_is_equal: bool,
    range: Option<(Option<i64>, Option<i64>)>,
    residual: bool,
    append_only: [bool; 2],
}

impl Case {
    fn random(random: &mut fastrand::Rng, kind: JoinKind) -> Self {
        let bound = |random: &mut fastrand::Rng| random.bool().then(|| random.i64(-4..5));
        Self {
            kind,
            by_name: random.u8(..5) > 0,
            null_is_equal: random.u8(..4) == 0,
            range: random.bool().then(|| (bound(random), bound(random))),
            residual: random.bool(),
            append_only: [random.bool(), random.bool()],
        }
    }

    fn spec(&self) -> JoinSpec {
        let keys = if self.by_name { vec![1] } else { Vec::new() };
        let seconds = |bound: Option<i64>| bound.map(|bound| bound * SECOND);
        let residual: Arc<dyn BatchExpr> = Arc::new(FnExpr(x_below_y));
        JoinSpec {
            kind: self.kind,
            left_keys: keys.clone(),
            right_keys: keys,
            null_is_equal: self.null_is_equal,
            range: self.range.map(|(least, most)| JoinRange {
                left: 3,
                right: 3,
                least: seconds(least),
                most: seconds(most),
                closes_after: None,
            }),
            residual: self.residual.then_some(residual),
        }
    }

    fn matches(&self, left: &[String], right: &[String]) -> bool {
        let number = |cell: &String| cell.parse::<i64>().ok();
        let between = |least: Option<i64>, most: Option<i64>| {
            let (Some(left), Some(right)) = (number(&left[3]), number(&right[3])) else {
                return false;
            };
            least.is_none_or(|least| right - left >= least)
                && most.is_none_or(|most| right - left <= most)
        };
        let same_name = left[1] == right[1] && (self.null_is_equal || left[1] != "~");
        let below = || matches!((number(&left[2]), number(&right[2])), (Some(x), Some(y)) if x < y);
        (!self.by_name || same_name)
            && self.range.is_none_or(|(least, most)| between(least, most))
            && (!self.residual || below())
    }

    /// The join of all rows, by brute force.
    fn answer(&self, left: &[Vec<String>], right: &[Vec<String>]) -> BTreeMap<String, i64> {
        let mut answer = BTreeMap::new();
        let mut add = |cells: &[&[String]]| {
            let cells: Vec<&str> = cells
                .iter()
                .copied()
                .flatten()
                .map(String::as_str)
                .collect();
            *answer.entry(format!(" {}", cells.join(" "))).or_insert(0) += 1;
        };
        let nulls = vec!["~".to_owned(); 4];
        for row in left {
            let matched = right.iter().filter(|other| self.matches(row, other));
            let matched: Vec<_> = matched.collect();
            match self.kind {
                JoinKind::Semi if !matched.is_empty() => add(&[row]),
                JoinKind::Anti if matched.is_empty() => add(&[row]),
                JoinKind::Mark => add(&[row, &[(!matched.is_empty()).to_string()]]),
                JoinKind::Semi | JoinKind::Anti => {}
                kind => {
                    matched.iter().for_each(|other| add(&[row, other]));
                    if matched.is_empty() && kind.pads(0) {
                        add(&[row, &nulls]);
                    }
                }
            }
        }
        for row in right.iter().filter(|_| self.kind.pads(1)) {
            if !left.iter().any(|other| self.matches(other, row)) {
                add(&[&nulls, row]);
            }
        }
        answer
    }
}

/// Sends random rows to both sides, cut at random, with commits and restarts; what comes out is the join of what is there,
/// after every epoch.
fn run(seed: u64, case: Case, cache_bytes: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut plan = PlanBuilder::default();
    let columns = |names: [&'static str; 4]| {
        let [id, name, number, at] = names;
        [
            (id, Utf8View),
            (name, Utf8View),
            (number, Int64),
            (at, TIMESTAMP),
        ]
    };
    let source = |plan: &mut PlanBuilder, side: usize, names| {
        let key = (!case.append_only[side]).then(|| vec![0]);
        plan.source("t", &columns(names), key)
    };
    let left = source(&mut plan, 0, ["id", "name", "x", "at"]);
    let right = source(&mut plan, 1, ["id2", "name2", "y", "at2"]);
    plan.join_by(case.spec(), left, right);
    let mut script = Script::with_cache(plan.build(), cache_bytes);
    let mut rows: [Vec<Vec<String>>; 2] = Default::default();
    let mut found = BTreeMap::new();
    for _ in 0..40 {
        let side = random.usize(..2);
        let mut text = String::new();
        for _ in 0..random.usize(1..6) {
            let null_or = |random: &mut fastrand::Rng, text: String| {
                if random.u8(..8) == 0 {
                    "~".to_owned()
                } else {
                    text
                }
            };
            let id = random.u8(..7).to_string();
            let name = random.choice(["a", "b", "a_name_that_does_not_fit_a_view"]);
            let name = null_or(&mut random, name.unwrap_or_default().to_owned());
            let number = random.i64(-2..3).to_string();
            let number = null_or(&mut random, number);
            let at = random.i64(-6..7).to_string();
            let at = null_or(&mut random, at);
            let known = &mut rows[side];
            if case.append_only[side] {
                text.push_str(&format!("+ {id} {name} {number} {at}\n"));
                known.push(vec![id, name, number, at]);
                continue;
            }
            known.retain(|row| row[0] != id);
            if random.u8(..3) == 0 {
                text.push_str(&format!("- {id} ~ ~ ~\n"));
            } else {
                text.push_str(&format!("+ {id} {name} {number} {at}\n"));
                known.push(vec![id, name, number, at]);
            }
        }
        script.push([left, right][side], &text);
        if random.u8(..3) == 0 {
            consolidated(&script.end(None), &mut found);
            let answer = case.answer(&rows[0], &rows[1]);
            assert_eq!(
                found, answer,
                "seed {seed}, cache of {cache_bytes} bytes, {case:?}"
            );
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
fn every_join_is_the_join_of_what_is_there_after_every_epoch() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        for kind in KINDS {
            let case = Case::random(&mut random, kind);
            for cache_bytes in [1 << 30, 6000, 300] {
                run(seed, case, cache_bytes);
            }
        }
    }
}

fn pairs_of(case: Case) -> (PlanBuilder, usize, usize) {
    let mut plan = PlanBuilder::default();
    let key = |side: usize| (!case.append_only[side]).then(|| vec![0]);
    let columns = [
        ("id", Utf8View),
        ("name", Utf8View),
        ("x", Int64),
        ("at", TIMESTAMP),
    ];
    let left = plan.source("l", &columns, key(0));
    let right = plan.source("r", &columns, key(1));
    (plan, left, right)
}

const PLAIN: Case = Case {
    kind: JoinKind::Inner,
    by_name: true,
    null_is_equal: false,
    range: None,
    residual: false,
    append_only: [true, true],
};

#[test]
fn rows_that_can_match_nothing_any_more_are_forgotten() {
    let case = Case {
        range: Some((Some(-2), Some(3))),
        kind: JoinKind::Left,
        ..PLAIN
    };
    let (mut plan, left, right) = pairs_of(case);
    let mut spec = case.spec();
    if let Some(range) = &mut spec.range {
        range.closes_after = Some(0);
    }
    plan.join_by(spec, left, right);
    let mut script = Script::new(plan.build());
    script.push(left, "+ 1 a 0 10\n+ 2 a 0 20\n+ 3 b 0 11");
    script.push(right, "+ 4 a 0 13");
    assert_eq!(
        script.end(Some(12)),
        [
            "+ 1 a 0 10 ~ ~ ~ ~",
            "+ 2 a 0 20 ~ ~ ~ ~",
            "+ 3 b 0 11 ~ ~ ~ ~",
            "- 1 a 0 10 ~ ~ ~ ~",
            "+ 1 a 0 10 4 a 0 13"
        ]
    );
    script.commit();
    let rows = |script: &Script| {
        let mut rows = 0;
        let count = |_: &[u8], value: &[u8]| {
            rows += usize::from(value.len() > 8);
            std::ops::ControlFlow::Continue(())
        };
        script
            .state
            .scan(&[], &[], ScanOrder::Ascending, count)
            .unwrap();
        rows
    };
    assert_eq!(rows(&script), 4);
    // A right row at 14 is what the left ones at 10 and 11 could not match; one at 15 may still come.
    script.end(Some(15));
    script.commit();
    assert_eq!(
        rows(&script),
        4,
        "it is not looked for at every step of event time"
    );
    script.end(Some(17));
    script.commit();
    assert_eq!(
        rows(&script),
        1,
        "only the left row at 20 may match what comes"
    );
    script.push(right, "+ 5 a 0 18\n+ 6 b 0 19");
    assert_eq!(
        script.end(Some(18)),
        ["- 2 a 0 20 ~ ~ ~ ~", "+ 2 a 0 20 5 a 0 18"]
    );
    script.commit();
    script.restart();
    script.end(Some(100));
    script.commit();
    assert_eq!(rows(&script), 0);
}

#[test]
fn numbers_of_rows_are_counted_by_vnode_and_never_given_twice() {
    let (mut plan, left, right) = pairs_of(PLAIN);
    let node = plan.join_by(PLAIN.spec(), left, right);
    let plan = plan.build();
    let operator = plan.nodes[node].id.0;
    let mut script = Script::new(plan);
    // A state of before numbers were counted by vnode.
    let old = crate::state::key::whole(operator, "left.next");
    script.state.put(old, vec![7]);
    script.commit();
    script.restart();
    for round in 0..3 {
        script.push(left, "+ 1 a 0 1\n+ 2 b 0 1\n+ 3 a 0 1");
        script.end(None);
        script.commit();
        script.restart();
        let mut numbers: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        let (from, to) = crate::state::key::operator_range(operator);
        script
            .state
            .scan(&from, &to, ScanOrder::Ascending, |key, _| {
                if key[4] == 0 {
                    let (prefix, number) = key.split_last_chunk::<8>().unwrap();
                    let numbers = numbers.entry(prefix[2..4].to_vec()).or_default();
                    numbers.push(u64::from_be_bytes(*number));
                }
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let all: usize = numbers.values().map(Vec::len).sum();
        assert_eq!(all, 3 * (round + 1), "no row takes another one's place");
        for numbers in numbers.values() {
            assert_eq!(
                numbers[0], 7,
                "each vnode begins where the whole side had come to"
            );
        }
    }
    script.push(right, "+ 9 a 0 1");
    assert_eq!(script.end(None).len(), 6);
}

#[test]
fn all_pairs_of_a_key_come_in_pieces() {
    let (mut plan, left, right) = pairs_of(PLAIN);
    plan.join_by(PLAIN.spec(), left, right);
    let mut script = Script::new(plan.build());
    let rows =
        |count: usize| -> String { (0..count).map(|id| format!("+ {id} a 0 1\n")).collect() };
    script.push(left, &rows(300));
    script.push(right, &rows(300));
    let chunks = script.effects.take_output();
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_ROWS_MAX));
    assert_eq!(chunks.iter().map(Chunk::len).sum::<usize>(), 300 * 300);
}
