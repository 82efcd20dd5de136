//! What a view holds is what batch DataFusion gives over the same rows: for queries, rows, cuts, commits, restarts and
//! tokens by chance. `SEEDS=n` tries so many, `SEED=n` one of them, and says what it does; `QUERY='SELECT …'` has its own query.
//!
//! ```text
//! seed ─▶ query ──┬── view ── 1 or 8 tokens, rows in pieces, restarts ─▶ changes added up ──┐
//!      └▶ rows ───┤                                                                         ├─ equal
//!                 └── bounded ── DataFusion over all rows, late ones left out ──────────────┘
//! ```
//!
//! Besides, no operator takes back what it did not give, and what identifies the rows of a view does.

mod grammar;
mod random;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::common::Result as BoundResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlan;
use streams::{Chunk, ColumnOrigin, Driver, NodeKind, SourceMode, SourceSpec};
use uuid::Uuid;

use self::random::Random;
use self::rows::Topic;
use super::as_of::{AsOf, Meets};
use super::relation_source::RelationSource;
use super::trace::{Origin, origin};
use super::tumble::Tumble;
use super::{Library, bounded, guard_plan, interval, view};
use crate::catalog::{Identity, Kind, Objects, Relation, bind_relation};
use crate::diagnostic::{Code, Diagnostic, Words};
use crate::parse::statement::{CreateView, Late, Statement};
use crate::parse::{parse, split_statements, words};

/// How many seeds are tried where `SEEDS` does not say.
const SEEDS: u64 = 2_000;
/// Of so many one is about joins with one row, and one about lists.
const FAMILIES: u64 = 9;
/// Where they begin.
const FIRST: u64 = 1;

/// What became of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// So it should.
    Equal,
    /// Both are empty.
    Empty,
    /// The query is none that can go on.
    Refused,
    /// The query fails on a row, so there is no answer to compare with.
    Fails,
}

/// A row of texts, and how often it is there.
type Counts = BTreeMap<Vec<String>, i64>;

#[test]
fn views_hold_the_batch_answer_whatever_the_query() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let query = std::env::var("QUERY").ok();
    let library = Library::new();
    let relations = relations(&library);
    let seeds = match number("SEED") {
        Some(seed) => seed..=seed,
        None => FIRST..=FIRST + number("SEEDS").unwrap_or(SEEDS) - 1,
    };
    let (next, last) = (AtomicU64::new(*seeds.start()), *seeds.end());
    let tell = seeds.start() == seeds.end();
    let work = || {
        let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
        let mut wrong = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last || wrong.len() >= 5 {
                return (outcomes, wrong);
            }
            let mut trial = Trial::new(seed, &library, &relations, tell);
            if let Some(query) = &query {
                trial.sql.clone_from(query);
            }
            match trial.run() {
                Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Err(reason) => wrong.push(format!("SEED={seed}: {reason}")),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut outcomes, mut wrong) = (BTreeMap::new(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let builder = std::thread::Builder::new().stack_size(64 << 20);
                builder.spawn_scoped(scope, work).unwrap()
            })
            .collect();
        for worker in workers {
            let (counts, reasons) = worker.join().unwrap();
            for (outcome, count) in counts {
                *outcomes.entry(outcome).or_insert(0) += count;
            }
            wrong.extend(reasons);
        }
    });
    println!("{outcomes:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let of = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
    let all: u64 = outcomes.values().sum();
    if all >= 100 && query.is_none() {
        let compared = of(Outcome::Equal);
        assert!(compared * 2 > all, "too few say anything: {outcomes:?}");
        let failing = of(Outcome::Fails);
        assert!(failing * 20 < all, "too many fail: {outcomes:?}");
    }
}

/// Queries that once had another answer, over rows by chance.
const ONCE_WRONG: &[&str] = &[
    // A condition that is never true went below an aggregation that always has a row.
    "SELECT q.n AS n FROM (SELECT count(*) AS n FROM shops) AS q WHERE NOT (1.5 < 2.5)",
    "SELECT count(*) AS n FROM shops HAVING NULL",
    // Groups that are nothing but NULL failed on every row.
    "SELECT r.k AS k, NULL AS nothing, count(*) AS n FROM users AS r GROUP BY r.k, NULL",
    "SELECT CASE WHEN r.b THEN NULL END AS nothing, max(r.x) AS x FROM clicks AS r GROUP BY CASE WHEN r.b THEN NULL END",
    // The sides of an outer join, and conditions that keep rows from what fails on them.
    "SELECT r.k AS k, s.k AS shop, s.p AS p FROM clicks AS r RIGHT JOIN shops AS s ON r.k = s.k",
    "SELECT r.x AS x, r.y AS y FROM users AS r WHERE r.x <> 0 AND r.y / r.x > 0",
    "SELECT r.x AS x, CASE WHEN r.x = 0 THEN false ELSE r.y / r.x > 0 END AS b FROM clicks AS r",
    "SELECT window_end AS e, s.k AS k, count(*) AS n FROM TUMBLE((SELECT r.k, r.at FROM clicks AS r JOIN users AS u ON r.k = u.k), at, INTERVAL '10 seconds') AS s GROUP BY window_end, s.k",
];

#[test]
fn what_was_wrong_once_is_right() {
    let library = Library::new();
    let relations = relations(&library);
    for query in ONCE_WRONG {
        for seed in 1..=12 {
            let mut trial = Trial::new(seed, &library, &relations, false);
            trial.sql = (*query).to_owned();
            let outcome = trial
                .run()
                .unwrap_or_else(|reason| panic!("{seed}: {reason}"));
            let compared = matches!(outcome, Outcome::Equal | Outcome::Empty);
            assert!(compared, "{query}: {outcome:?}");
        }
    }
}

fn identity(name: &str, kind: Kind) -> Identity {
    Identity {
        id: Uuid::nil(),
        name: name.to_owned(),
        kind,
        sql: String::new(),
        created_ms: 0,
        references: Vec::new(),
    }
}

fn relations(library: &Library) -> Vec<Arc<Relation>> {
    let statements = split_statements(grammar::SCHEMA).into_iter().map(|text| {
        let words = Words::new(words(&text), Vec::new());
        let Statement::CreateRelation(create) = parse(&text).unwrap() else {
            panic!("{text:?} makes no relation");
        };
        let identity = identity(&create.name.name, Kind::Table);
        Arc::new(
            bind_relation(library, &create, identity, &words)
                .unwrap()
                .relation,
        )
    });
    statements.collect()
}

/// One seed.
struct Trial<'a> {
    library: &'a Library,
    random: Random,
    objects: Objects,
    topics: Vec<Topic>,
    /// The view's query.
    sql: String,
    tell: bool,
}

impl<'a> Trial<'a> {
    fn new(seed: u64, library: &'a Library, relations: &[Arc<Relation>], tell: bool) -> Self {
        let mut random = Random::new(seed);
        let sql = match seed % FAMILIES {
            0 => grammar::as_of_view(&mut random),
            1 => grammar::unnest_view(&mut random),
            _ => grammar::view(&mut random),
        };
        let mut objects = Objects::default();
        let mut topics = Vec::new();
        for relation in relations {
            objects.insert_relation(Arc::clone(relation));
            topics.push(Topic::by_chance(relation, &mut random));
        }
        Self {
            library,
            random,
            objects,
            topics,
            sql,
            tell,
        }
    }

    fn run(&mut self) -> Result<Outcome, String> {
        let text = format!("CREATE MATERIALIZED VIEW v AS {}", self.sql);
        if self.tell {
            println!("{text}");
        }
        let statements = split_statements(&text);
        let words = Words::new(words(&statements[0]), Vec::new());
        let in_query = |reason: String| format!("{text}\n{reason}");
        let parsed = parse(&statements[0]);
        let parsed = parsed.map_err(|error| in_query(error.render(&text, false)))?;
        let Statement::CreateView(create) = parsed else {
            return Err(in_query("is no view".to_owned()));
        };
        let identity = identity("v", Kind::View);
        let planned = view(
            self.library,
            &self.objects,
            identity,
            &create.query,
            1,
            &words,
        );
        let relation = match planned {
            Ok(relation) => relation,
            Err(refusal) if is_refusal(&refusal) => return Ok(Outcome::Refused),
            Err(error) => return Err(in_query(error.render(&text, false))),
        };
        let batch = self.batch(&create, &words, &relation.schema);
        let streamed = self.streamed(&relation).map_err(in_query)?;
        let batch = match batch {
            Ok(batch) => batch,
            Err(failure) if is_failure(&failure) => return Ok(Outcome::Fails),
            Err(error) => return Err(in_query(format!("in batch: {error}"))),
        };
        if streamed == batch {
            return Ok(match batch.is_empty() {
                true => Outcome::Empty,
                false => Outcome::Equal,
            });
        }
        let less = |a: &Counts, b: &Counts| -> Vec<String> {
            let rows = a.iter().filter(|(row, count)| b.get(*row) != Some(count));
            let rows = rows.map(|(row, count)| format!("  {count} x {row:?}"));
            rows.take(10).collect()
        };
        Err(in_query(format!(
            "streamed, not in batch:\n{}\nin batch, not streamed:\n{}",
            less(&streamed, &batch).join("\n"),
            less(&batch, &streamed).join("\n")
        )))
    }

    /// The answer over all rows at once.
    fn batch(
        &self,
        create: &CreateView,
        words: &Words,
        schema: &SchemaRef,
    ) -> Result<Counts, String> {
        let text = |error: &Diagnostic| error.message.clone();
        let bound = self
            .library
            .bind(&create.query.query, &self.objects, words)
            .map_err(|error| text(&error))?;
        let grace_us = match &create.query.grace {
            Some((grace, span)) => {
                interval(self.library, grace, *span, words).map_err(|error| text(&error))?
            }
            None => 0,
        };
        let judges = !matches!(create.query.late, Some((Late::Update, _)));
        let plan = match judges {
            true => self.without_late_rows(bound.plan, grace_us),
            false => bound.plan,
        };
        let providers = self.topics.iter().map(|topic| {
            let name = topic.relation.name().to_owned();
            (name, table(&topic.relation, topic.content()))
        });
        let mut providers: HashMap<String, Arc<dyn TableProvider>> = providers.collect();
        for topic in &self.topics {
            let versions = topic.relation.versions();
            let name = versions.name().to_owned();
            providers.insert(name, table(&versions, topic.versions()));
        }
        let state = &self.library.state;
        let run = async {
            let plan: LogicalPlan = guard_plan(state.optimize(&bounded(plan, &providers)?)?)?;
            let planner = Arc::clone(state.query_planner());
            let physical = planner.create_physical_plan(&plan, state).await?;
            datafusion::physical_plan::collect(physical, state.task_ctx()).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().map_err(|error| error.to_string())?;
        let batches = runtime.block_on(run).map_err(|error| error.to_string())?;
        let mut counts = Counts::new();
        for batch in batches {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| cast(column, field.data_type()));
            let columns: Vec<ArrayRef> = columns
                .collect::<Result<_, _>>()
                .map_err(|e| e.to_string())?;
            for row in texts(&columns, batch.num_rows()) {
                *counts.entry(row).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// The plan, with windows over the rows of their source that come in time.
    fn without_late_rows(&self, plan: LogicalPlan, grace_us: i64) -> LogicalPlan {
        let replaced = plan.transform_up(|node| {
            let LogicalPlan::Extension(extension) = &node else {
                return Ok(Transformed::no(node));
            };
            let any = extension.node.as_any();
            let (inputs, size_us) = if let Some(tumble) = any.downcast_ref::<Tumble>() {
                let is_time = matches!(
                    origin(&tumble.input, tumble.time_index()?),
                    Origin::Column(..)
                );
                (vec![&tumble.input], is_time.then_some(tumble.size_us))
            } else if let Some(join) = any.downcast_ref::<AsOf>() {
                let settles = join.meets == Meets::Version;
                (vec![&join.left, &join.right], settles.then_some(1))
            } else {
                return Ok(Transformed::no(node));
            };
            let Some(size_us) = size_us else {
                return Ok(Transformed::no(node));
            };
            let inputs = inputs.into_iter().map(|input| {
                let input = input.as_ref().clone();
                self.with_records_in_time(input, size_us, grace_us)
            });
            let inputs = inputs.collect::<BoundResult<Vec<_>>>()?;
            let node = node.with_new_exprs(node.expressions(), inputs)?;
            Ok(Transformed::yes(node))
        });
        replaced.expect("scans keep their columns").data
    }

    /// `plan` over the records that are not late for windows of `size_us`.
    fn with_records_in_time(
        &self,
        plan: LogicalPlan,
        size_us: i64,
        grace_us: i64,
    ) -> BoundResult<LogicalPlan> {
        let replaced = plan.transform_down(|node| {
            let LogicalPlan::TableScan(mut scan) = node else {
                return Ok(Transformed::no(node));
            };
            let source = scan.source.downcast_ref::<RelationSource>();
            let relation = source.map(|source| Arc::clone(&source.relation));
            let relation = relation.filter(|relation| relation.key.is_empty());
            if let Some(relation) = relation {
                let mut topics = self.topics.iter();
                let topic = topics.find(|topic| topic.relation.topic == relation.topic);
                let topic = topic.expect("a query reads what there is");
                let rows = match topic.relation.name() == relation.name() {
                    true => topic.in_time(size_us, grace_us),
                    false => topic.versions_in_time(size_us, grace_us),
                };
                scan.source = provider_as_source(table(&relation, rows));
            }
            Ok(Transformed::no(LogicalPlan::TableScan(scan)))
        })?;
        Ok(replaced.data)
    }

    /// What changes add up to, with rows cut, commits and restarts by chance.
    fn streamed(&mut self, relation: &Relation) -> Result<Counts, String> {
        let planned = relation.view.as_ref().expect("it is a view");
        if self.tell {
            println!("{}", super::explain(&planned.plan).join("\n"));
        }
        let key = if planned.sink.key.is_empty() {
            None
        } else {
            Some(planned.sink.key.as_slice())
        };
        let text = |error: streams::OperatorError| error.to_string();
        let cache_bytes = [0, 1 << 20][self.random.below(2)];
        let tokens = [1, 8][self.random.below(2)];
        if self.tell {
            println!("{tokens} tokens, {cache_bytes} bytes each");
        }
        let driver = Driver::new(planned.plan.clone(), tokens, cache_bytes);
        let mut driver = driver.map_err(text)?;
        let sources: Vec<Reading> = Reading::of(relation, &self.topics);
        let mut places = vec![0; sources.len()];
        let mut counts = Counts::new();
        let mut committed = (places.clone(), counts.clone());
        let mut restarts = 0;
        loop {
            let open: Vec<usize> = (0..sources.len())
                .filter(|&source| places[source] < sources[source].length)
                .collect();
            let choice = self.random.below(10);
            match choice {
                0 => add(&mut counts, driver.end_epoch().map_err(text)?, key)?,
                1 => {
                    add(&mut counts, driver.end_epoch().map_err(text)?, key)?;
                    driver.commit().map_err(text)?;
                    committed = (places.clone(), counts.clone());
                }
                2 if restarts < 3 => {
                    restarts += 1;
                    driver.restart().map_err(text)?;
                    (places, counts) = committed.clone();
                }
                _ if open.is_empty() => break,
                _ => {
                    let source = *self.random.pick(&open);
                    let from = places[source];
                    let reading = &sources[source];
                    let rows = (1 + self.random.below(8)).min(reading.length - from);
                    let topic = &self.topics[reading.topic];
                    let schema = &driver.plan().nodes[reading.node].schema;
                    let chunk = records(topic, &reading.spec, schema, from, rows);
                    let deleted = topic.deleted.slice(from, rows);
                    match reading.spec.mode {
                        SourceMode::Upsert { .. } => {
                            driver.read(reading.node, chunk, Some(&deleted))
                        }
                        // A record without a value is no row.
                        SourceMode::Append => {
                            let there = not(&deleted).expect("a mask");
                            let chunk = filter_record_batch(&chunk, &there).expect("one length");
                            driver.read(reading.node, chunk, None)
                        }
                    }
                    .map_err(text)?;
                    places[source] += rows;
                }
            }
        }
        add(&mut counts, driver.end_epoch().map_err(text)?, key)?;
        add(&mut counts, driver.finish().map_err(text)?, key)?;
        driver.commit().map_err(text)?;
        if self.tell {
            println!("{} late, {} failed", driver.late(), driver.failed());
        }
        let visible = relation.schema.fields().len();
        let mut shown = Counts::new();
        for (mut row, count) in counts {
            row.truncate(visible);
            *shown.entry(row).or_default() += count;
        }
        Ok(shown)
    }
}

/// A source of a plan, and the topic that it reads.
struct Reading {
    node: usize,
    spec: SourceSpec,
    topic: usize,
    length: usize,
}

impl Reading {
    fn of(view: &Relation, topics: &[Topic]) -> Vec<Self> {
        let planned = view.view.as_ref().expect("it is a view");
        let nodes = planned.plan.nodes.iter().enumerate();
        let sources = nodes.filter_map(|(node, planned)| {
            let NodeKind::Source(spec) = &planned.kind else {
                return None;
            };
            let topic = topics
                .iter()
                .position(|topic| topic.relation.topic == spec.topic);
            let topic = topic.expect("a view reads what there is");
            Some(Self {
                node,
                spec: spec.clone(),
                topic,
                length: topics[topic].records.num_rows(),
            })
        });
        sources.collect()
    }
}

/// Whether a view is refused for what it asks, as it may be.
fn is_refusal(error: &Diagnostic) -> bool {
    let refusals = [Code::NoKey, Code::NotStreaming, Code::Unsupported];
    refusals.iter().any(|code| code.number() == error.code) || is_failure(&error.message)
}

/// Whether an expression fails on values, as it may: the grammar divides, and multiplies without end.
fn is_failure(message: &str) -> bool {
    let failures = [
        "division by zero",
        "Divide by zero",
        "overflow",
        "out of range",
    ];
    let message = message.to_lowercase();
    failures
        .iter()
        .any(|failure| message.contains(&failure.to_lowercase()))
}

fn table(relation: &Relation, rows: RecordBatch) -> Arc<dyn TableProvider> {
    let table = MemTable::try_new(Arc::clone(&relation.schema), vec![vec![rows]]);
    Arc::new(table.expect("rows are of the relation"))
}

/// Records of a topic as a source of the plan reads them.
fn records(
    topic: &Topic,
    spec: &SourceSpec,
    schema: &SchemaRef,
    from: usize,
    rows: usize,
) -> RecordBatch {
    let columns = spec.columns.iter().map(|column| -> ArrayRef {
        match column.origin {
            ColumnOrigin::Partition => Arc::new(Int32Array::from(vec![0; rows])),
            ColumnOrigin::Offset => {
                let offsets = (from..from + rows).map(|offset| offset as i64);
                Arc::new(offsets.collect::<Int64Array>())
            }
            _ => {
                let mut columns = topic.relation.columns.iter();
                let place = columns.position(|other| other.name == column.name);
                let place = place.expect("a source reads columns of its relation");
                topic.records.column(place).slice(from, rows)
            }
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("columns are of the plan")
}

/// Adds changes up. After an epoch nothing is there less than never, and no two rows have one key.
fn add(counts: &mut Counts, chunks: Vec<Chunk>, key: Option<&[usize]>) -> Result<(), String> {
    for chunk in chunks {
        let rows = texts(chunk.batch.columns(), chunk.len());
        for (index, row) in rows.into_iter().enumerate() {
            *counts.entry(row).or_default() += i64::from(chunk.sign(index));
        }
    }
    counts.retain(|_, count| *count != 0);
    if let Some((row, count)) = counts.iter().find(|(_, count)| **count < 0) {
        return Err(format!("after an epoch {row:?} is there {count} times"));
    }
    let Some(key) = key else { return Ok(()) };
    let mut known: HashMap<Vec<&String>, &Vec<String>> = HashMap::new();
    for (row, count) in &*counts {
        let other = known.insert(key.iter().map(|&column| &row[column]).collect(), row);
        if *count > 1 || other.is_some() {
            return Err(format!(
                "columns {key:?} do not identify {row:?}, {other:?}"
            ));
        }
    }
    Ok(())
}

fn texts(columns: &[ArrayRef], rows: usize) -> Vec<Vec<String>> {
    let format = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &format).expect("a type that prints"))
        .collect();
    let row = |row| {
        columns
            .iter()
            .map(|column| column.value(row).to_string())
            .collect()
    };
    (0..rows).map(row).collect()
}
