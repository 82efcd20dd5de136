//! Rows that come and go with the clock, by random programs against what is there by their times.

use std::collections::BTreeMap;

use arrow::datatypes::DataType::Utf8View;

use super::super::tests::{Script, consolidated};
use crate::VisibleSpec;
use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP};

fn plan(plan: &mut PlanBuilder, spec: VisibleSpec, key: Option<Vec<usize>>) -> usize {
    let columns = [("id", Utf8View), ("since", TIMESTAMP), ("till", TIMESTAMP)];
    let source = plan.source("t", &columns, key);
    plan.visible(spec, source);
    source
}

fn time(random: &mut fastrand::Rng) -> String {
    match random.u8(..9) {
        0 => "~".to_owned(),
        _ => random.i64(0..30).to_string(),
    }
}

/// The rows of `table` that are there at `now`.
fn there(spec: &VisibleSpec, table: &[Vec<String>], now: i64) -> BTreeMap<String, i64> {
    let is_there = |row: &&Vec<String>| {
        let time = |column: &usize| row[*column].parse::<i64>().ok();
        let from = spec
            .from
            .iter()
            .all(|column| time(column).is_some_and(|from| from <= now));
        let until = spec
            .until
            .iter()
            .all(|column| time(column).is_some_and(|until| now < until));
        from && until
    };
    let mut rows = BTreeMap::new();
    for row in table.iter().filter(is_there) {
        *rows.entry(format!(" {}", row.join(" "))).or_insert(0) += 1;
    }
    rows
}

#[test]
fn rows_are_there_between_their_times() {
    for seed in 0..120 {
        let mut random = fastrand::Rng::with_seed(seed);
        let spec = match random.u8(..3) {
            0 => VisibleSpec {
                from: vec![1],
                until: vec![2],
            },
            1 => VisibleSpec {
                from: vec![1],
                until: Vec::new(),
            },
            _ => VisibleSpec {
                from: Vec::new(),
                until: vec![2],
            },
        };
        let is_table = random.bool();
        let mut builder = PlanBuilder::default();
        let source = plan(&mut builder, spec.clone(), is_table.then(|| vec![0]));
        let mut script = Script::new(builder.build());
        let (mut table, mut found, mut now) = (Vec::<Vec<String>>::new(), BTreeMap::new(), 0);
        for _ in 0..30 {
            script.effects.set_clock_us(now * SECOND);
            for _ in 0..random.usize(..4) {
                let id = random.u8(..6).to_string();
                if is_table {
                    table.retain(|row| row[0] != id);
                }
                if is_table && random.u8(..3) == 0 {
                    script.push(source, &format!("- {id} ~ ~\n"));
                    continue;
                }
                let row = vec![id, time(&mut random), time(&mut random)];
                script.push(source, &format!("+ {}\n", row.join(" ")));
                table.push(row);
            }
            consolidated(&script.end(None), &mut found);
            assert_eq!(
                found,
                there(&spec, &table, now),
                "seed {seed} at {now}, {spec:?}"
            );
            if random.bool() {
                script.commit();
                if random.bool() {
                    script.restart();
                }
            }
            now += random.i64(0..4);
        }
    }
}

#[test]
fn nothing_is_kept_of_what_has_gone_and_the_clock_does_not_go_back() {
    let spec = VisibleSpec {
        from: Vec::new(),
        until: vec![2],
    };
    let mut builder = PlanBuilder::default();
    let source = plan(&mut builder, spec, None);
    let mut script = Script::new(builder.build());
    script.effects.set_clock_us(5 * SECOND);
    script.push(source, "+ a 0 4\n+ b 0 10\n+ c 0 20\n");
    assert_eq!(script.end(None), ["+ b 0 10", "+ c 0 20"]);
    script.commit();
    assert_eq!(script.graph.due_us(), Some(10 * SECOND));
    script.effects.set_clock_us(12 * SECOND);
    assert_eq!(script.end(None), ["- b 0 10"]);
    script.commit();
    script.restart();
    // A clock that was set back.
    script.effects.set_clock_us(6 * SECOND);
    script.push(source, "+ d 0 11\n");
    assert_eq!(script.end(None), [] as [&str; 0]);
    script.effects.set_clock_us(20 * SECOND);
    assert_eq!(script.end(None), ["- c 0 20"]);
    script.commit();
    assert_eq!(script.graph.due_us(), None);
    assert_eq!(script.keys(), 1, "the clock alone");
}
