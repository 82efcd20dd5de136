//! Aggregates over rows that come and go, against a model that knows all rows; windows that close with more groups than
//! memory holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType::{Boolean, Int64, Utf8View};
use arrow::datatypes::Int64Type;

use crate::aggregate::{
    Accumulator, AggregateFunction, BoundCall, Fold, NativeAggregate, SortOrder, StartFold, replay,
};
use crate::operator::tests::{Script, consolidated};
use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP, parse};
use crate::{AggregateCall, Emit, LatePolicy};

/// All numbers in their order, in one text; fails where a 13 is among them.
#[derive(Debug)]
struct List;

#[derive(Default)]
struct ListFold(Vec<String>);

impl StartFold for List {
    fn start(&self) -> Result<Box<dyn Fold>, String> {
        Ok(Box::new(ListFold::default()))
    }
}

impl Fold for ListFold {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<(), String> {
        for number in arguments[0].as_primitive::<Int64Type>() {
            if number == Some(13) {
                return Err("13".to_owned());
            }
            self.0
                .push(number.map_or("~".to_owned(), |number| number.to_string()));
        }
        Ok(())
    }

    fn result(&mut self) -> Result<ArrayRef, String> {
        let text = Some(format!("[{}]", self.0.join(",")));
        Ok(Arc::new(StringViewArray::from_iter([text])))
    }
}

impl AggregateFunction for List {
    fn name(&self) -> &str {
        "list"
    }

    fn shape(&self) -> Vec<u8> {
        vec![0, 1]
    }

    fn check(&self, call: &BoundCall) -> Result<(), String> {
        (call.arguments == [Int64])
            .then_some(())
            .ok_or("numbers only".to_owned())
    }

    fn keeps_values(&self, _call: &BoundCall) -> bool {
        true
    }

    fn takes_nulls(&self) -> bool {
        true
    }

    fn build(&self, call: &BoundCall) -> Box<dyn Accumulator> {
        replay(call, Arc::new(List))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    name: String,
    value: Option<i64>,
    rank: Option<i64>,
}

fn text(value: Option<i64>) -> String {
    value.map_or("~".to_owned(), |value| value.to_string())
}

/// Name, list by rank (descending, NULLs first) and value, list of distinct values, their count and sum.
fn results(rows: &[Row]) -> BTreeMap<String, i64> {
    let names: BTreeSet<&String> = rows.iter().map(|row| &row.name).collect();
    let mut lines = BTreeMap::new();
    for name in names {
        let mut of: Vec<&Row> = rows.iter().filter(|row| row.name == *name).collect();
        if of.iter().any(|row| row.value == Some(13)) {
            // Withheld while a result does not fit.
            continue;
        }
        of.sort_by_key(|row| {
            (
                row.rank.is_some(),
                row.rank.map(std::cmp::Reverse),
                row.value,
            )
        });
        let list = |values: Vec<Option<i64>>| {
            let texts: Vec<String> = values.into_iter().map(text).collect();
            format!("[{}]", texts.join(","))
        };
        let ordered = list(of.iter().map(|row| row.value).collect());
        let distinct: BTreeSet<Option<i64>> = of.iter().map(|row| row.value).collect();
        let present: Vec<i64> = distinct.iter().copied().flatten().collect();
        let sum = (!present.is_empty()).then(|| present.iter().sum());
        let line = format!(
            " {name} {ordered} {} {} {}",
            list(distinct.into_iter().collect()),
            present.len(),
            text(sum),
        );
        lines.insert(line, 1);
    }
    lines
}

fn call(
    function: Arc<dyn AggregateFunction>,
    distinct: bool,
    output: arrow::datatypes::DataType,
) -> AggregateCall {
    AggregateCall {
        id: 0,
        function,
        arguments: vec![1],
        order_by: Vec::new(),
        filter: None,
        distinct,
        output,
    }
}

#[test]
fn values_below_groups_come_and_go_as_in_a_model() {
    for seed in 0..60u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut plan = PlanBuilder::default();
        let columns = [
            ("name", Utf8View),
            ("value", Int64),
            ("rank", Int64),
            ("id", Int64),
        ];
        // Rows that only come are kept in another way than those that go again.
        let key = random.bool().then(|| vec![3]);
        let takes_back = key.is_some();
        let source = plan.source("events", &columns, key);
        let order = SortOrder {
            descending: true,
            nulls_first: true,
        };
        let ordered = AggregateCall {
            order_by: vec![(2, order)],
            ..call(Arc::new(List), false, Utf8View)
        };
        let calls = vec![
            ("ordered", ordered),
            ("distinct", call(Arc::new(List), true, Utf8View)),
            ("count", call(Arc::new(NativeAggregate::Count), true, Int64)),
            ("sum", call(Arc::new(NativeAggregate::Sum), true, Int64)),
        ];
        plan.aggregate_calls(source, &["name"], calls, Emit::Changes);
        let cache = random.choice([0, 2000, 1 << 30]).unwrap();
        let mut script = Script::with_cache(plan.build(), cache);
        let schema = script.plan.nodes[source].schema.clone();
        let mut rows: Vec<(u32, Row)> = Vec::new();
        let mut out = BTreeMap::new();
        let mut next_id = 0;
        for _ in 0..12 {
            let mut lines = String::new();
            for _ in 0..random.usize(1..12) {
                let goes = takes_back && random.u8(..5) < 2 && !rows.is_empty();
                let (sign, (id, row)) = if goes {
                    ("-", rows.swap_remove(random.usize(..rows.len())))
                } else {
                    let number = |random: &mut fastrand::Rng| {
                        (random.u8(..6) > 0).then(|| random.i64(-3..15))
                    };
                    let row = Row {
                        name: format!("n{}", random.u8(..4)),
                        value: number(&mut random),
                        rank: number(&mut random),
                    };
                    next_id += 1;
                    rows.push((next_id, row.clone()));
                    ("+", (next_id, row))
                };
                let (value, rank) = (text(row.value), text(row.rank));
                lines.push_str(&format!("{sign} {} {value} {rank} {id}\n", row.name));
            }
            script.chunk(source, parse(&schema, &lines));
            if random.bool() {
                continue;
            }
            consolidated(&script.end(None), &mut out);
            if random.bool() {
                script.commit();
                if random.bool() {
                    script.restart();
                }
            }
        }
        consolidated(&script.end(None), &mut out);
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        assert_eq!(out, results(&rows), "seed {seed}");
    }
}

/// More groups than memory holds wait for the end of their windows, and each leaves once.
#[test]
fn windows_close_with_all_of_their_groups_wherever_these_are() {
    for seed in 0..40u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut plan = PlanBuilder::default();
        let columns = [("name", Utf8View), ("value", Int64), ("at", TIMESTAMP)];
        let source = plan.source("events", &columns, None);
        let windows = plan.tumble(source, 10 * SECOND, LatePolicy::Drop);
        let groups = &["window_end", "name"];
        let aggregates = &["count(*)", "sum(value)", "count(distinct value)"];
        plan.aggregate(windows, groups, aggregates, Emit::OnWindowClose);
        let cache = random.choice([0, 3000, 1 << 30]).unwrap();
        let mut script = Script::with_cache(plan.build(), cache);
        let mut model: BTreeMap<(i64, String), Vec<i64>> = BTreeMap::new();
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let mut out = BTreeMap::new();
        let mut now = 0;
        for _ in 0..10 {
            for _ in 0..random.usize(..60) {
                let (name, value) = (format!("n{}", random.u16(..300)), random.i64(0..4));
                let at = now + random.i64(0..40);
                script.push(source, &format!("+ {name} {value} {at}"));
                let end = (at / 10 + 1) * 10;
                model.entry((end, name)).or_default().push(value);
            }
            if random.bool() {
                now += random.i64(0..25);
            }
            let closed = model.extract_if(.., |(end, _), _| *end <= now);
            for ((end, name), values) in closed {
                let distinct: BTreeSet<&i64> = values.iter().collect();
                let (count, sum) = (values.len(), values.iter().sum::<i64>());
                expected.insert(format!(" {end} {name} {count} {sum} {}", distinct.len()), 1);
            }
            let lines = script.end(Some(now));
            assert!(
                lines.iter().all(|line| line.starts_with('+')),
                "seed {seed}"
            );
            consolidated(&lines, &mut out);
            assert_eq!(out, expected, "seed {seed}");
            if random.bool() {
                script.commit();
                if random.bool() {
                    script.restart();
                }
            }
        }
        now += 100;
        consolidated(&script.end(Some(now)), &mut out);
        script.commit();
        assert_eq!(
            script.keys(),
            0,
            "seed {seed}: state of closed windows is left"
        );
    }
}

#[test]
fn calls_that_do_not_fit_are_refused_with_their_types() {
    let bound = |arguments: Vec<arrow::datatypes::DataType>, output| BoundCall {
        arguments,
        order_by: Vec::new(),
        distinct: false,
        output,
        append_only: true,
        number: 0,
    };
    let refused = |function: NativeAggregate, call| function.check(&call).unwrap_err();
    assert_eq!(
        refused(NativeAggregate::Sum, bound(vec![Boolean], Int64)),
        "sum of Boolean cannot give Int64"
    );
    assert_eq!(
        refused(NativeAggregate::Avg, bound(vec![Int64, Int64], Int64)),
        "avg takes one argument, not 2"
    );
}
