//! Every operator and every function with values of each type: whatever is refused says so in the words of SQL, where it
//! stands, in a snapshot and in a view. `STEP=1` tries all of it, `FIND=text` what holds a text, and shows the answers.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use uuid::Uuid;

use super::{Library, assign, bounded, guard_plan, view};
use crate::catalog::{Identity, Kind, Objects, Relation, bind_relation};
use crate::diagnostic::{Diagnostic, Words, translate};
use crate::parse::statement::Statement;
use crate::parse::{parse, split_statements, words};

const TABLE: &str = "
CREATE TABLE t (t TEXT PRIMARY KEY, i BIGINT, s INTEGER, d DOUBLE, n DECIMAL(10, 2), b BOOLEAN, at TIMESTAMP, day DATE,
                clock TIME, instant TIMESTAMPTZ, raw BYTEA, j JSON, tags TEXT[], st STRUCT<a INT>, m MAP<TEXT, INT>)";

/// A value of each type; columns are those of [`TABLE`].
const VALUES: &[&str] = &[
    "t",
    "i",
    "s",
    "d",
    "n",
    "b",
    "at",
    "day",
    "clock",
    "instant",
    "raw",
    "j",
    "tags",
    "st",
    "m",
    "INTERVAL '1 hour'",
    "NULL",
    "'x'",
    "5",
];

/// Those of them that are put beside each other.
const BESIDE: &[&str] = &[
    "t",
    "i",
    "n",
    "b",
    "at",
    "raw",
    "j",
    "tags",
    "INTERVAL '1 hour'",
    "'x'",
];

const PREFIX: &[&str] = &[
    "NOT {}",
    "-{}",
    "+{}",
    "~{}",
    "{} IS TRUE",
    "{}[1]",
    "{}['a']",
    "({}).a",
    "EXTRACT(hour FROM {})",
    "{} AT TIME ZONE 'UTC'",
    "CAST({} AS BIGINT)",
    "CAST({} AS BOOLEAN)",
    "CAST({} AS DATE)",
    "CAST({} AS TIMESTAMP)",
    "CAST({} AS TIME)",
    "CAST({} AS BYTEA)",
    "CAST({} AS JSON)",
    "CAST({} AS TEXT[])",
    "CAST({} AS INTERVAL)",
    "CAST({} AS STRUCT<a INT>)",
    "CAST({} AS VARCHAR(2))",
    "CAST({} AS DECIMAL(5, 2))",
    "{} LIKE 5",
    "5 LIKE {}",
    "{} IN ('u1')",
    "{} IN (1, 'a')",
    "{} BETWEEN 1 AND 'a'",
    "CASE WHEN {} THEN 1 END",
    "CASE {} WHEN 5 THEN 1 END",
    "sum({}) FILTER (WHERE {})",
    "sum({}) OVER (ORDER BY {})",
    "lag({}, {}) OVER (ORDER BY t)",
    "sum(i) OVER (ORDER BY {} RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "ntile({}) OVER (ORDER BY t)",
    "count(DISTINCT {}, {})",
    "percentile_cont({}) WITHIN GROUP (ORDER BY {})",
    "mode() WITHIN GROUP (ORDER BY {})",
    "string_agg({}, {} ORDER BY t)",
    "nth_value({}, {} ORDER BY t)",
    "array_agg({} ORDER BY {})",
];

const INFIX: &[&str] = &[
    "{} + {}",
    "{} - {}",
    "{} * {}",
    "{} / {}",
    "{} % {}",
    "{} ^ {}",
    "{} = {}",
    "{} <> {}",
    "{} < {}",
    "{} >= {}",
    "{} || {}",
    "{} & {}",
    "{} | {}",
    "{} # {}",
    "{} << {}",
    "{} >> {}",
    "{} ~ {}",
    "{} !~* {}",
    "{} LIKE {}",
    "{} NOT ILIKE {}",
    "{} SIMILAR TO {}",
    "{} AND {}",
    "{} OR {}",
    "{} IS DISTINCT FROM {}",
    "{} @> {}",
    "{} <@ {}",
    "{} -> {}",
    "{} ->> {}",
    "{} #> {}",
    "{} #>> {}",
    "{} ? {}",
    "{} BETWEEN {} AND 5",
    "{} IN ({})",
    "{} IN ({}, NULL)",
    "{} IN (SELECT {} FROM t AS u)",
    "{} = ANY (SELECT {} FROM t AS u)",
    "(SELECT max({}) FROM t AS u) = {}",
    "CASE WHEN b THEN {} ELSE {} END",
    "CASE {} WHEN {} THEN 1 END",
    "{} AT TIME ZONE {}",
    "position({} IN {})",
    "substring({} FROM {})",
    "overlay({} PLACING {} FROM 1)",
    "trim({} FROM {})",
    "({}, 1) = ({}, 1)",
    "ARRAY[{}, {}]",
];

const WHOLE: &[&str] = &[
    "SELECT t FROM t WHERE {}",
    "SELECT count(*) FROM t HAVING {}",
    "SELECT t FROM t ORDER BY {} LIMIT 1",
    "SELECT t FROM t LIMIT {}",
    "SELECT t FROM t ORDER BY t LIMIT 1 OFFSET {}",
    "SELECT {} AS x FROM t GROUP BY {}",
    "SELECT t.t FROM t JOIN t AS u ON {}",
    "SELECT t FROM t UNION ALL SELECT {} FROM t",
    "SELECT a.t FROM t AS a JOIN t AS b ON a.i = b.{}",
    "SELECT i FROM t EXCEPT SELECT {} FROM t",
    "SELECT sum(*) FROM t WHERE {} IS NULL",
];

/// What no message may hold.
const FOREIGN: &[&str] = &[
    "Arrow",
    "DataFusion",
    "datafusion",
    "DataType",
    "Utf8",
    "Int64",
    "Int32",
    "UInt",
    "Float64",
    "Decimal128",
    "Timestamp(",
    "List(",
    "Struct(",
    "Map(",
    "Boolean",
    "BinaryView",
    "MonthDayNano",
    "Signature",
    "signature",
    "coerc",
    "Coerc",
    "Some(",
    "None",
    "Ident",
    "Expr",
    "expr ",
    "Scalar",
    "downcast",
    "nternal",
    "bug",
    "user-defined",
    "::",
    "Array",
    "plan",
    "kernel",
    "lambda",
    "UDF",
    "udf",
    "Error",
    "Exact(",
    "explicit type casts",
    " nullable",
    "{ ",
    "not implemented",
    "unwrap",
    "Invalid",
    "Failed",
];

struct Trial {
    library: Library,
    objects: Objects,
    relation: Arc<Relation>,
    names: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

impl Trial {
    fn new() -> Self {
        let library = Library::new();
        let text = split_statements(TABLE).remove(0);
        let Statement::CreateRelation(create) = parse(&text).unwrap() else {
            panic!("no relation");
        };
        let words = Words::new(words(&text), Vec::new());
        let bound = bind_relation(&library, &create, identity("t", Kind::Table), &words).unwrap();
        let relation = Arc::new(bound.relation);
        let mut objects = Objects::default();
        objects.insert_relation(Arc::clone(&relation));
        let names = library.function_names(&objects);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        Self {
            library,
            objects,
            relation,
            names,
            runtime,
        }
    }

    /// One row with a value in each column that a text can be made of.
    fn row(&self) -> RecordBatch {
        let schema = &self.relation.schema;
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let column = |field: &Field| {
            let text = match field.name().as_str() {
                "t" => "abc",
                "b" => "true",
                "at" | "instant" => "2024-05-01T10:20:30",
                "day" => "2024-05-01",
                "clock" => "10:20:30",
                "j" => "{\"a\": 1}",
                _ => "2",
            };
            let texts: arrow::array::ArrayRef =
                Arc::new(arrow::array::StringViewArray::from(vec![text]));
            match field.data_type().is_nested() && field.name() != "j" {
                true => new_null_array(field.data_type(), 1),
                false => assign(&texts, field.data_type()).unwrap(),
            }
        };
        let columns = fields.iter().map(column).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn words(&self, text: &crate::diagnostic::StatementText<'_>) -> Words {
        Words::new(words(text), self.names.clone()).with_calls(Arc::clone(&self.library.calls))
    }

    fn snapshot(&self, sql: &str, row: &RecordBatch) -> Result<(), Diagnostic> {
        let text = split_statements(sql).remove(0);
        let words = self.words(&text);
        let Statement::Select(query) = parse(&text)? else {
            panic!("{sql} is no query");
        };
        let bound = self
            .library
            .bind(&query.query.query, &self.objects, &words)?;
        let table = MemTable::try_new(row.schema(), vec![vec![row.clone()]]).unwrap();
        let table: Arc<dyn TableProvider> = Arc::new(table);
        let providers = HashMap::from([("t".to_owned(), table)]);
        let state = &self.library.state;
        let run = async {
            let plan = guard_plan(state.optimize(&bounded(bound.plan, &providers)?)?)?;
            let planner = Arc::clone(state.query_planner());
            let physical = planner.create_physical_plan(&plan, state).await?;
            datafusion::physical_plan::collect(physical, state.task_ctx()).await
        };
        let done = self.runtime.block_on(run);
        done.map(drop).map_err(|error| translate(&error, &words))
    }

    fn view(&self, sql: &str) -> Result<(), Diagnostic> {
        let text = split_statements(sql).remove(0);
        let words = self.words(&text);
        let Statement::Select(query) = parse(&text)? else {
            panic!("{sql} is no query");
        };
        let identity = identity("v", Kind::View);
        view(
            &self.library,
            &self.objects,
            identity,
            &query.query,
            1,
            &words,
        )
        .map(drop)
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

/// A pattern with values in the place of `{}`, one after another.
fn filled(pattern: &str, values: &[&str]) -> String {
    let mut out = String::new();
    for (place, part) in pattern.split("{}").enumerate() {
        if place > 0 {
            out.push_str(values[(place - 1) % values.len()]);
        }
        out.push_str(part);
    }
    out
}

fn cases(names: &[String]) -> Vec<String> {
    let mut cases = Vec::new();
    let item = |expr: &str| format!("SELECT {expr} AS x FROM t");
    for value in VALUES {
        cases.extend(
            PREFIX
                .iter()
                .map(|pattern| item(&filled(pattern, &[value]))),
        );
        cases.extend(WHOLE.iter().map(|pattern| filled(pattern, &[value])));
    }
    for left in BESIDE {
        for right in BESIDE {
            cases.extend(
                INFIX
                    .iter()
                    .map(|pattern| item(&filled(pattern, &[left, right]))),
            );
        }
    }
    for (place, name) in names.iter().enumerate() {
        // It makes millions of rows of a large number.
        if matches!(
            name.as_str(),
            "range" | "generate_series" | "repeat" | "unnest"
        ) || name.starts_with("__")
        {
            continue;
        }
        cases.push(item(&format!("{name}()")));
        cases.push(item(&format!("{name}(*)")));
        for (at, value) in VALUES.iter().enumerate() {
            let other = VALUES[(at + place) % VALUES.len()];
            cases.push(item(&format!("{name}({value})")));
            cases.push(item(&format!("{name}({value}, {other})")));
            cases.push(item(&format!("{name}({value}, {other}, {value})")));
            cases.push(item(&format!("{name}({value}) OVER (ORDER BY t)")));
        }
    }
    cases
}

#[test]
fn what_is_refused_is_told_in_the_words_of_sql() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<usize>().unwrap())
    };
    let find = std::env::var("FIND").ok();
    let step = if find.is_some() {
        1
    } else {
        number("STEP").unwrap_or(23)
    };
    let trial = Trial::new();
    let row = trial.row();
    let mut wrong = Vec::new();
    let mut told = BTreeSet::new();
    let mut refused = 0;
    let (mut tried, mut seen) = (0, BTreeSet::new());
    for case in cases(&trial.names).into_iter().step_by(step) {
        if find
            .as_ref()
            .is_some_and(|text| !case.contains(text.as_str()))
        {
            continue;
        }
        tried += 1;
        let caught = |run: &dyn Fn() -> Result<(), Diagnostic>| catch_unwind(AssertUnwindSafe(run));
        for (way, done) in [
            ("snapshot", caught(&|| trial.snapshot(&case, &row))),
            ("view", caught(&|| trial.view(&case))),
        ] {
            let error = match done {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => {
                    wrong.push(format!("{way} panics: {case}"));
                    continue;
                }
            };
            refused += 1;
            if find.is_some() {
                println!("{way}\n{}\n", error.render(&case, false));
            }
            // A name that the statement has is no foreign word.
            let is_foreign =
                |word: &&&str| error.message.contains(**word) && !case.contains(**word);
            let foreign = FOREIGN.iter().find(is_foreign);
            // What depends on the row has its place only where its value stands in the statement.
            let place = error.span.is_some() || error.code == "TW2001";
            if foreign.is_none() && place {
                told.insert(error.message);
                continue;
            }
            let kind = format!("{foreign:?} {place} {way} {}", error.message);
            if seen.insert(kind) {
                let what = foreign.map_or("no place", |word| word);
                wrong.push(format!(
                    "{way}, {what}: {case}\n  {} {}",
                    error.code, error.message
                ));
            }
        }
    }
    if std::env::var("SHOW").is_ok() {
        for message in &told {
            println!("{message}");
        }
    }
    println!("{tried} tried, {refused} refused");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        find.is_some() || refused > tried / 4,
        "{tried} tried, {refused} refused"
    );
}
