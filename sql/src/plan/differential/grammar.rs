//! Queries by chance: a grammar over sources, tables, windows, joins, aggregates and expressions of every type.
//!
//! Every query is right in itself: what it names exists and has the type that is needed. It may still be refused, as a view
//! that nothing identifies the rows of, and it may fail on a row (an overflow, a division by zero), more often behind a
//! guard than not.

use super::random::Random;

/// What is there to read.
pub(super) const SCHEMA: &str = "
CREATE SOURCE clicks (k TEXT, x INT, y BIGINT, d DOUBLE, b BOOLEAN, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds')
  WITH (partitions = 1);
CREATE SOURCE sales (k TEXT, x INT, p DECIMAL(10, 2), at TIMESTAMP, WATERMARK FOR at AS at) WITH (partitions = 1);
CREATE TABLE users (x INT PRIMARY KEY, k TEXT, y BIGINT, d DOUBLE);
CREATE TABLE shops (k TEXT PRIMARY KEY, x INT, p DECIMAL(10, 2));
CREATE TABLE rates (k TEXT PRIMARY KEY, p DECIMAL(10, 2), x INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '3 seconds')
  WITH (partitions = 1);
";

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Int,
    Big,
    Double,
    Decimal,
    Bool,
    Time,
}

use Type::{Big, Bool, Decimal, Double, Int, Text, Time};

/// The relations and their columns.
const RELATIONS: [(&str, &[(&str, Type)]); 4] = [
    (
        "clicks",
        &[
            ("k", Text),
            ("x", Int),
            ("y", Big),
            ("d", Double),
            ("b", Bool),
            ("at", Time),
        ],
    ),
    (
        "sales",
        &[("k", Text), ("x", Int), ("p", Decimal), ("at", Time)],
    ),
    (
        "users",
        &[("x", Int), ("k", Text), ("y", Big), ("d", Double)],
    ),
    ("shops", &[("k", Text), ("x", Int), ("p", Decimal)]),
];

/// A table whose records are versions.
const RATES: &[(&str, Type)] = &[("k", Text), ("p", Decimal), ("x", Int), ("at", Time)];

#[derive(Debug, Clone)]
struct Column {
    /// As it is named in the query around it.
    sql: String,
    of: Type,
}

/// Something to select from.
#[derive(Debug, Clone)]
struct Relation {
    sql: String,
    columns: Vec<Column>,
    /// Whether it has a window's bounds.
    windowed: bool,
}

/// A query, and what it gives: names and types.
struct Query {
    sql: String,
    columns: Vec<(String, Type)>,
    windowed: bool,
    /// Whether event time settles the answers of a join.
    is_temporal: bool,
}

/// Writes queries.
pub(super) struct Grammar<'a> {
    random: &'a mut Random,
    names: usize,
    /// Whether rows are in sessions somewhere: which of them are late only the stream knows.
    has_sessions: bool,
}

/// A view's query with its trailing clauses.
pub(super) fn view(random: &mut Random) -> String {
    let mut grammar = Grammar {
        random,
        names: 0,
        has_sessions: false,
    };
    let query = match grammar.random.below(13) {
        0 => grammar.limited(),
        1 => grammar.ranked(true),
        2 => grammar.first_of_each(),
        3 => grammar.union(),
        4 => grammar.over(),
        _ => grammar.query(2),
    };
    let clauses = match grammar.random.below(6) {
        0 if grammar.has_sessions && query.windowed => " EMIT ON WINDOW CLOSE LATE UPDATE",
        _ if grammar.has_sessions => " LATE UPDATE",
        0 if query.windowed => " EMIT ON WINDOW CLOSE",
        1 if query.windowed => " LATE UPDATE",
        2 if query.windowed => " GRACE INTERVAL '4 seconds'",
        _ => "",
    };
    format!("{}{clauses}", query.sql)
}

/// A view's query over rows that are joined with one row each: a version, or the nearest in time.
pub(super) fn as_of_view(random: &mut Random) -> String {
    let mut grammar = Grammar {
        random,
        names: 0,
        has_sessions: false,
    };
    let query = grammar.as_of();
    let late = ["", " LATE UPDATE", " GRACE INTERVAL '4 seconds'"];
    let clauses = match grammar.random.below(5) {
        clause @ 0..3 if query.is_temporal => late[clause],
        3 if query.windowed => " EMIT ON WINDOW CLOSE",
        _ => "",
    };
    format!("{}{clauses}", query.sql)
}

/// A view's query over the elements of lists.
pub(super) fn unnest_view(random: &mut Random) -> String {
    let mut grammar = Grammar {
        random,
        names: 0,
        has_sessions: false,
    };
    let query = grammar.elements();
    let clauses = match grammar.random.below(3) {
        0 if query.windowed => " EMIT ON WINDOW CLOSE",
        1 if query.windowed => " GRACE INTERVAL '4 seconds'",
        _ => "",
    };
    format!("{}{clauses}", query.sql)
}

impl Grammar<'_> {
    fn name(&mut self, letter: &str) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    fn query(&mut self, depth: usize) -> Query {
        let from = self.relation(depth);
        let filter = match self.random.below(6) {
            0 => format!(" WHERE {}", self.expr(Bool, &from.columns, 2)),
            1 => format!(" WHERE {}", self.guard(&from.columns)),
            _ => String::new(),
        };
        if from.windowed || self.random.below(2) == 0 {
            self.grouped(&from, &filter)
        } else {
            self.projected(&from, &filter)
        }
    }

    /// Columns of the input and expressions over them.
    fn projected(&mut self, from: &Relation, filter: &str) -> Query {
        let mut items = Vec::new();
        let mut columns = Vec::new();
        let count = 1 + self.random.below(4);
        for _ in 0..count {
            let (sql, of) = if self.random.below(3) > 0 {
                let column = self.random.pick(&from.columns).clone();
                (column.sql, column.of)
            } else {
                let of = self.any_type();
                (self.expr(of, &from.columns, 2), of)
            };
            let name = self.name("c");
            items.push(format!("{sql} AS {name}"));
            columns.push((name, of));
        }
        let distinct = if self.random.below(8) == 0 {
            "DISTINCT "
        } else {
            ""
        };
        let (items, from_sql) = (items.join(", "), &from.sql);
        Query {
            sql: format!("SELECT {distinct}{items} FROM {from_sql}{filter}"),
            columns,
            windowed: false,
            is_temporal: false,
        }
    }

    fn grouped(&mut self, from: &Relation, filter: &str) -> Query {
        let mut items = Vec::new();
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        if from.windowed {
            let bounds: &[&str] = match self.random.below(3) {
                0 => &["window_start"],
                1 => &["window_end"],
                _ => &["window_start", "window_end"],
            };
            for bound in bounds {
                groups.push(((*bound).to_owned(), Time));
            }
        }
        for _ in 0..self.random.below(3) {
            let of = self.any_type();
            let group = if self.random.below(3) > 0 {
                let column = self.random.pick(&from.columns).clone();
                (column.sql, column.of)
            } else {
                (self.expr(of, &from.columns, 1), of)
            };
            // A number would be the place of a column.
            if group.0.parse::<f64>().is_err() {
                groups.push(group);
            }
        }
        for (sql, of) in &groups {
            let name = self.name("c");
            items.push(format!("{sql} AS {name}"));
            columns.push((name, *of));
        }
        for _ in 0..=self.random.below(3) {
            let (sql, of) = self.aggregate(&from.columns);
            let name = self.name("c");
            items.push(format!("{sql} AS {name}"));
            columns.push((name, of));
        }
        // Some groups are not selected.
        if groups.len() > 1 && self.random.below(5) == 0 {
            items.remove(0);
            columns.remove(0);
        }
        let mut sql = format!("SELECT {} FROM {}{filter}", items.join(", "), from.sql);
        if !groups.is_empty() {
            let groups: Vec<String> = groups.into_iter().map(|(sql, _)| sql).collect();
            sql.push_str(&format!(" GROUP BY {}", groups.join(", ")));
        }
        match self.random.below(8) {
            0 => {
                let (aggregate, of) = self.aggregate(&from.columns);
                let compared = self.compared(&aggregate, of);
                sql.push_str(&format!(" HAVING {compared}"));
            }
            1 => {
                let divided = format!("sum({})", self.expr(Int, &from.columns, 1));
                let divisor = format!("count({})", self.expr(Text, &from.columns, 1));
                let guarded = self.guarded(&divided, &divisor);
                sql.push_str(&format!(" HAVING {guarded}"));
            }
            _ => {}
        }
        Query {
            sql,
            columns,
            windowed: from.windowed,
            is_temporal: false,
        }
    }

    fn relation(&mut self, depth: usize) -> Relation {
        match self.random.below(8) {
            0 | 1 if depth > 0 => self.join(depth - 1),
            2 if depth > 0 => self.subquery(depth - 1),
            3 | 4 => self.window(depth),
            5 if depth > 0 => {
                let query = match self.random.below(5) {
                    0 => self.union(),
                    1 => self.ranked(false),
                    2 => self.limited(),
                    3 => self.over(),
                    _ => self.first_of_each(),
                };
                self.aliased(query)
            }
            _ => self.plain(),
        }
    }

    fn plain(&mut self) -> Relation {
        let (name, columns) = *self.random.pick(&RELATIONS);
        self.named(name, columns)
    }

    fn named(&mut self, relation: &str, columns: &[(&str, Type)]) -> Relation {
        let alias = self.name("r");
        let column = |(name, of): &(&str, Type)| Column {
            sql: format!("{alias}.{name}"),
            of: *of,
        };
        Relation {
            columns: columns.iter().map(column).collect(),
            sql: format!("{relation} AS {alias}"),
            windowed: false,
        }
    }

    fn subquery(&mut self, depth: usize) -> Relation {
        let query = self.query(depth);
        self.aliased(query)
    }

    fn aliased(&mut self, query: Query) -> Relation {
        let alias = self.name("q");
        let column = |(name, of): &(String, Type)| Column {
            sql: format!("{alias}.{name}"),
            of: *of,
        };
        Relation {
            columns: query.columns.iter().map(column).collect(),
            sql: format!("({}) AS {alias}", query.sql),
            windowed: false,
        }
    }

    /// Two or three SELECTs of the same types.
    fn union(&mut self) -> Query {
        let count = 1 + self.random.below(3);
        let types: Vec<Type> = (0..count).map(|_| self.any_type()).collect();
        let names: Vec<String> = types.iter().map(|_| self.name("c")).collect();
        let mut branches = Vec::new();
        for _ in 0..2 + self.random.below(2) {
            let from = match self.random.below(4) {
                0 => self.join(0),
                _ => self.plain(),
            };
            let items: Vec<String> = types
                .iter()
                .zip(&names)
                .map(|(of, name)| format!("{} AS {name}", self.expr(*of, &from.columns, 1)))
                .collect();
            branches.push(format!("SELECT {} FROM {}", items.join(", "), from.sql));
        }
        let how = [" UNION ALL ", " UNION ALL ", " UNION "][self.random.below(3)];
        Query {
            sql: branches.join(how),
            columns: names.into_iter().zip(types).collect(),
            windowed: false,
            is_temporal: false,
        }
    }

    /// All columns, some of them first: an order that leaves only equal rows apart.
    fn total_order(&mut self, columns: &[Column]) -> String {
        let first = self.random.pick(columns).clone();
        let mut order = vec![self.directed(&first)];
        for column in columns {
            order.push(self.directed(column));
        }
        order.join(", ")
    }

    fn directed(&mut self, column: &Column) -> String {
        let direction = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"][self.random.below(4)];
        format!("{}{direction}", column.sql)
    }

    fn columns_of(&mut self, from: &Relation) -> (String, Vec<(String, Type)>) {
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for column in &from.columns {
            let name = self.name("c");
            items.push(format!("{} AS {name}", column.sql));
            columns.push((name, column.of));
        }
        (items.join(", "), columns)
    }

    fn limited(&mut self) -> Query {
        let from = match self.random.below(3) {
            0 => self.join(0),
            _ => self.plain(),
        };
        let (items, columns) = self.columns_of(&from);
        let order = self.total_order(&from.columns);
        let limit = 1 + self.random.below(5);
        let offset = match self.random.below(3) {
            0 => format!(" OFFSET {}", self.random.below(4)),
            _ => String::new(),
        };
        Query {
            sql: format!(
                "SELECT {items} FROM {} ORDER BY {order} LIMIT {limit}{offset}",
                from.sql
            ),
            columns,
            windowed: false,
            is_temporal: false,
        }
    }

    /// Rows with their rank in a partition, sometimes only those of some ranks.
    fn ranked(&mut self, qualify: bool) -> Query {
        let from = match self.random.below(3) {
            0 => self.join(0),
            _ => self.plain(),
        };
        let (items, mut columns) = self.columns_of(&from);
        let function = ["row_number", "row_number", "rank", "dense_rank"][self.random.below(4)];
        let order = match function {
            "row_number" => self.total_order(&from.columns),
            _ => {
                let column = self.random.pick(&from.columns).clone();
                self.directed(&column)
            }
        };
        let partition = match self.random.below(4) {
            0 => String::new(),
            _ => format!("PARTITION BY {} ", self.random.pick(&from.columns).sql),
        };
        let name = self.name("c");
        columns.push((name.clone(), Big));
        let over = format!("{function}() OVER ({partition}ORDER BY {order})");
        let number = 1 + self.random.below(3);
        let condition = match self.random.below(5) {
            0 => format!("{name} = {number}"),
            1 => format!("{name} BETWEEN 2 AND {}", number + 1),
            2 => format!("{number} >= {name}"),
            3 => format!("{name} < {number} OR {name} = 4"),
            _ => format!("{name} <= {number}"),
        };
        let (from, inner) = (&from.sql, self.name("q"));
        let sql = match self.random.below(4) {
            0 => format!("SELECT {items}, {over} AS {name} FROM {from}"),
            1 if qualify => {
                format!("SELECT {items}, {over} AS {name} FROM {from} QUALIFY {condition}")
            }
            2 => {
                columns.pop();
                let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                let names = names.join(", ");
                format!(
                    "SELECT {names} FROM (SELECT {items}, {over} AS {name} FROM {from}) AS {inner} WHERE {condition}"
                )
            }
            _ => format!(
                "SELECT * FROM (SELECT {items}, {over} AS {name} FROM {from}) AS {inner} WHERE {condition}"
            ),
        };
        Query {
            sql,
            columns,
            windowed: false,
            is_temporal: false,
        }
    }

    /// Rows with what functions give of those around them.
    fn over(&mut self) -> Query {
        let from = match self.random.below(3) {
            0 => self.join(0),
            _ => self.plain(),
        };
        let (items, mut columns) = self.columns_of(&from);
        let mut items = vec![items];
        for _ in 0..1 + self.random.below(3) {
            let (sql, of) = self.over_function(&from.columns);
            let name = self.name("c");
            items.push(format!("{sql} AS {name}"));
            columns.push((name, of));
        }
        Query {
            sql: format!("SELECT {} FROM {}", items.join(", "), from.sql),
            columns,
            windowed: false,
            is_temporal: false,
        }
    }

    fn over_function(&mut self, columns: &[Column]) -> (String, Type) {
        let partition = match self.random.below(4) {
            0 => String::new(),
            _ => format!("PARTITION BY {} ", self.random.pick(columns).sql),
        };
        let order = self.total_order(columns);
        let column = self.random.pick(columns).clone();
        let (name, of) = match self.random.below(3) {
            0 => ("count(*)".to_owned(), Big),
            1 => (format!("sum({})", self.expr(Int, columns, 1)), Big),
            _ => {
                let of = [Text, Int, Big, Time][self.random.below(4)];
                let name = ["min", "max"][self.random.below(2)];
                (format!("{name}({})", self.expr(of, columns, 1)), of)
            }
        };
        let times: Vec<&Column> = columns.iter().filter(|column| column.of == Time).collect();
        match self.random.below(7) {
            0 | 1 => {
                let name = ["lag", "lead"][self.random.below(2)];
                let rows = 1 + self.random.below(3);
                (
                    format!(
                        "{name}({}, {rows}) OVER ({partition}ORDER BY {order})",
                        column.sql
                    ),
                    column.of,
                )
            }
            2 => {
                let name = ["first_value", "last_value"][self.random.below(2)];
                let frame = self.frame();
                (
                    format!(
                        "{name}({}) OVER ({partition}ORDER BY {order} {frame})",
                        column.sql
                    ),
                    column.of,
                )
            }
            3 => {
                let frame = self.frame();
                (
                    format!("{name} OVER ({partition}ORDER BY {order} {frame})"),
                    of,
                )
            }
            4 if !times.is_empty() => {
                let time = self.random.pick(&times).sql.clone();
                let frame = [
                    "INTERVAL '10 seconds' PRECEDING AND CURRENT ROW",
                    "CURRENT ROW AND INTERVAL '5 seconds' FOLLOWING",
                    "INTERVAL '9 seconds' PRECEDING AND INTERVAL '3 seconds' PRECEDING",
                ][self.random.below(3)];
                (
                    format!("{name} OVER ({partition}ORDER BY {time} RANGE BETWEEN {frame})"),
                    of,
                )
            }
            // Rows that the order does not tell apart have the same value.
            5 => (
                format!("{name} OVER ({partition}ORDER BY {})", column.sql),
                of,
            ),
            _ => (format!("{name} OVER ({partition})"), of),
        }
    }

    fn frame(&mut self) -> &'static str {
        [
            "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING",
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            "ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING",
        ][self.random.below(5)]
    }

    fn first_of_each(&mut self) -> Query {
        let from = self.plain();
        let (items, columns) = self.columns_of(&from);
        let on = self.random.pick(&from.columns).sql.clone();
        let order = self.total_order(&from.columns);
        Query {
            sql: format!(
                "SELECT DISTINCT ON ({on}) {items} FROM {} ORDER BY {on}, {order}",
                from.sql
            ),
            columns,
            windowed: false,
            is_temporal: false,
        }
    }

    /// A source in windows, sometimes by way of a filter, a projection or a join.
    fn window(&mut self, depth: usize) -> Relation {
        let (name, columns) = RELATIONS[self.random.below(2)];
        let size = ["10 seconds", "7 seconds", "1 minute"][self.random.below(3)];
        let inner = self.named(name, columns);
        let alias = self.name("w");
        let (input, columns) = match self.random.below(5) {
            4 => {
                let input = "(SELECT k, x, at FROM clicks UNION ALL SELECT k, x, at FROM sales)";
                (
                    input.to_owned(),
                    vec![("k", Text), ("x", Int), ("at", Time)],
                )
            }
            0 => {
                let filter = self.expr(Bool, &inner.columns, 2);
                let input = format!("(SELECT * FROM {} WHERE {filter})", inner.sql);
                (input, columns.to_vec())
            }
            1 if depth > 0 => {
                let other = self.named("users", RELATIONS[2].1);
                let kind = ["JOIN", "LEFT JOIN"][self.random.below(2)];
                let (left, right) = (&inner.columns[0].sql, &other.columns[1].sql);
                let (x, d) = (&inner.columns[1].sql, &other.columns[3].sql);
                let at = &inner.columns[inner.columns.len() - 1].sql;
                let (inner, other) = (&inner.sql, &other.sql);
                let input = format!(
                    "(SELECT {left} AS k, {x} AS x, {d} AS d, {at} AS at FROM {inner} {kind} {other} ON {left} = {right})"
                );
                (
                    input,
                    vec![("k", Text), ("x", Int), ("d", Double), ("at", Time)],
                )
            }
            _ => (name.to_owned(), columns.to_vec()),
        };
        let column = |(name, of): &(&str, Type)| Column {
            sql: format!("{alias}.{name}"),
            of: *of,
        };
        let sql = match self.random.below(8) {
            0 => format!("SESSION({input}, at, INTERVAL '{size}', PARTITION BY k) AS {alias}"),
            1 => format!("SESSION({input}, at, INTERVAL '5 seconds') AS {alias}"),
            _ => format!("TUMBLE({input}, at, INTERVAL '{size}') AS {alias}"),
        };
        self.has_sessions |= sql.starts_with("SESSION");
        Relation {
            columns: columns.iter().map(column).collect(),
            sql,
            windowed: true,
        }
    }

    fn as_of(&mut self) -> Query {
        let (name, columns) = RELATIONS[self.random.below(2)];
        let left = self.named(name, columns);
        let right = self.name("r");
        let of_right = RATES.iter().map(|(name, of)| Column {
            sql: format!("{right}.{name}"),
            of: *of,
        });
        let (k, at) = (
            left.columns[0].sql.clone(),
            left.columns[left.columns.len() - 1].sql.clone(),
        );
        let left_sql = &left.sql;
        let outer = ["", "LEFT "][self.random.below(2)];
        let is_temporal = self.random.below(3) > 0;
        let from = match (is_temporal, self.random.below(4)) {
            (true, 0) => format!(
                "{left_sql} {outer}JOIN rates FOR SYSTEM_TIME AS OF {at} AS {right} USING (k)"
            ),
            (true, _) => format!(
                "{left_sql} {outer}JOIN rates FOR SYSTEM_TIME AS OF {at} AS {right} ON {k} = {right}.k"
            ),
            (false, 0) => format!("{left_sql} ASOF {outer}JOIN rates AS {right} USING (k, at)"),
            (false, 1) => format!(
                "{left_sql} ASOF {outer}JOIN rates AS {right} MATCH_CONDITION ({at} >= {right}.at) USING (k)"
            ),
            (false, _) => {
                let how = ["<=", "<", ">", ">="][self.random.below(4)];
                format!(
                    "{left_sql} ASOF {outer}JOIN rates AS {right} ON {k} = {right}.k AND {at} {how} {right}.at"
                )
            }
        };
        let columns: Vec<Column> = left.columns.iter().cloned().chain(of_right).collect();
        let mut relation = Relation {
            sql: from,
            columns,
            windowed: false,
        };
        if self.random.below(3) == 0 {
            relation = self.in_windows(&relation, &at);
        }
        let filter = match self.random.below(4) {
            0 => format!(" WHERE {}", self.expr(Bool, &relation.columns, 2)),
            _ => String::new(),
        };
        let query = match relation.windowed || self.random.below(3) == 0 {
            true => self.grouped(&relation, &filter),
            false => self.projected(&relation, &filter),
        };
        Query {
            is_temporal,
            ..query
        }
    }

    fn elements(&mut self) -> Query {
        let from = match self.random.below(4) {
            0 => self.join(0),
            _ => self.plain(),
        };
        let (list, of) = self.list(&from.columns);
        if self.random.below(4) == 0 {
            let (items, mut columns) = self.columns_of(&from);
            let name = self.name("c");
            columns.push((name.clone(), of));
            return Query {
                sql: format!("SELECT {items}, unnest({list}) AS {name} FROM {}", from.sql),
                columns,
                windowed: false,
                is_temporal: false,
            };
        }
        let alias = self.name("u");
        let mut columns = from.columns.clone();
        columns.push(Column {
            sql: format!("{alias}.e"),
            of,
        });
        let (with, names) = match self.random.below(3) {
            0 => {
                columns.push(Column {
                    sql: format!("{alias}.n"),
                    of: Big,
                });
                (" WITH ORDINALITY", "e, n")
            }
            _ => ("", "e"),
        };
        let (join, on) = [("CROSS JOIN", ""), ("LEFT JOIN", " ON true")][self.random.below(2)];
        let mut relation = Relation {
            sql: format!(
                "{} {join} UNNEST({list}){with} AS {alias} ({names}){on}",
                from.sql
            ),
            columns,
            windowed: false,
        };
        let at = from
            .columns
            .iter()
            .rev()
            .find(|column| column.sql.ends_with(".at"));
        let is_source = from.sql.starts_with("clicks") || from.sql.starts_with("sales");
        if let (Some(at), true, 0) = (at, is_source, self.random.below(3)) {
            let at = at.sql.clone();
            if !from.sql.contains("JOIN") {
                relation = self.in_windows(&relation, &at);
            }
        }
        let filter = match self.random.below(4) {
            0 => format!(" WHERE {}", self.expr(Bool, &relation.columns, 2)),
            _ => String::new(),
        };
        match relation.windowed || self.random.below(3) == 0 {
            true => self.grouped(&relation, &filter),
            false => self.projected(&relation, &filter),
        }
    }

    /// A list of a row, sometimes NULL or without elements.
    fn list(&mut self, columns: &[Column]) -> (String, Type) {
        let of = [Int, Text, Big][self.random.below(3)];
        let a = self.expr(of, columns, 1);
        let list = match self.random.below(3) {
            0 => format!("ARRAY[{a}]"),
            1 => format!("ARRAY[{a}, {}, {a}]", self.expr(of, columns, 1)),
            _ => format!("ARRAY[{a}, NULL]"),
        };
        let condition = self.expr(Bool, columns, 1);
        let list = match self.random.below(4) {
            0 => format!("CASE WHEN {condition} THEN {list} END"),
            1 => format!("array_remove({list}, {})", self.literal(of)),
            _ => list,
        };
        (list, of)
    }

    /// All rows of a relation in windows of one of its times.
    fn in_windows(&mut self, from: &Relation, at: &str) -> Relation {
        let (items, columns) = self.columns_of(from);
        let alias = self.name("w");
        let sql = format!(
            "TUMBLE((SELECT {items}, {at} AS at FROM {}), at, INTERVAL '10 seconds') AS {alias}",
            from.sql
        );
        let column = |(name, of): &(String, Type)| Column {
            sql: format!("{alias}.{name}"),
            of: *of,
        };
        Relation {
            columns: columns.iter().map(column).collect(),
            sql,
            windowed: true,
        }
    }

    fn join(&mut self, depth: usize) -> Relation {
        let left = match self.random.below(3) {
            0 => self.relation(depth),
            _ => self.plain(),
        };
        let right = match self.random.below(4) {
            0 if depth > 0 => self.subquery(depth - 1),
            _ => self.plain(),
        };
        let kind = ["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][self.random.below(5)];
        let on = self.join_condition(&left, &right, kind == "JOIN");
        let mut columns = left.columns.clone();
        columns.extend(right.columns.iter().cloned());
        Relation {
            sql: format!("{} {kind} {} ON {on}", left.sql, right.sql),
            // The window's bounds are there, but a RIGHT or FULL JOIN may pad them.
            windowed: left.windowed && matches!(kind, "JOIN" | "LEFT JOIN"),
            columns,
        }
    }

    fn join_condition(&mut self, left: &Relation, right: &Relation, inner: bool) -> String {
        let mut pairs = Vec::new();
        for a in &left.columns {
            for b in &right.columns {
                if a.of == b.of && matches!(a.of, Text | Int | Big | Decimal | Time) {
                    pairs.push((a.clone(), b.clone()));
                }
            }
        }
        if pairs.is_empty() {
            let (a, b) = (&left.columns[0].sql, &right.columns[0].sql);
            return format!("CAST({a} AS TEXT) = CAST({b} AS TEXT)");
        }
        let (a, b) = self.random.pick(&pairs).clone();
        let mut on = match self.random.below(5) {
            0 if a.of == Text => format!("upper({}) = upper({})", a.sql, b.sql),
            1 if a.of == Int => format!("{} + 1 = {} + 1", a.sql, b.sql),
            _ => format!("{} = {}", a.sql, b.sql),
        };
        if self.random.below(6) == 0 {
            let all: Vec<Column> = left.columns.iter().chain(&right.columns).cloned().collect();
            on.push_str(&format!(" AND {}", self.guard(&all)));
        } else if self.random.below(4) == 0 {
            let (a, b) = self.random.pick(&pairs).clone();
            let how = if inner {
                ["=", "<", "<>"][self.random.below(3)]
            } else {
                "="
            };
            on.push_str(&format!(" AND {} {how} {}", a.sql, b.sql));
        }
        on
    }

    fn aggregate(&mut self, columns: &[Column]) -> (String, Type) {
        let (sql, of) = match self.random.below(7) {
            0 | 1 => ("count(*)".to_owned(), Big),
            2 => {
                let of = self.any_type();
                let distinct = ["", "DISTINCT "][self.random.below(2)];
                (
                    format!("count({distinct}{})", self.expr(of, columns, 1)),
                    Big,
                )
            }
            3 => match self.random.below(3) {
                0 => {
                    let guarded = self.guard(columns);
                    (format!("count(CASE WHEN {guarded} THEN 1 END)"), Big)
                }
                _ => (format!("sum({})", self.expr(Int, columns, 1)), Big),
            },
            4 => {
                let of = [Double, Decimal][self.random.below(2)];
                (format!("sum({})", self.expr(of, columns, 1)), of)
            }
            5 => (format!("avg({})", self.expr(Double, columns, 1)), Double),
            _ => {
                let of = [Text, Int, Big, Double, Decimal, Time][self.random.below(6)];
                let name = ["min", "max"][self.random.below(2)];
                (format!("{name}({})", self.expr(of, columns, 1)), of)
            }
        };
        if self.random.below(6) == 0 {
            let filter = match self.random.below(3) {
                0 => self.guard(columns),
                _ => self.expr(Bool, columns, 1),
            };
            return (format!("{sql} FILTER (WHERE {filter})"), of);
        }
        (sql, of)
    }

    fn any_type(&mut self) -> Type {
        *self
            .random
            .pick(&[Text, Text, Int, Int, Big, Double, Decimal, Bool, Time])
    }

    /// A condition over columns that fails on rows which another part of it excludes.
    fn guard(&mut self, columns: &[Column]) -> String {
        let of = [Int, Int, Big][self.random.below(3)];
        let (a, b) = (self.expr(of, columns, 1), self.expr(of, columns, 1));
        self.guarded(&a, &b)
    }

    /// A condition over `a / b` that keeps rows of which `b` is 0 from the division.
    fn guarded(&mut self, a: &str, b: &str) -> String {
        let number = self.random.below(3);
        match self.random.below(8) {
            0 => format!("({b} <> 0 AND {a} / {b} > {number})"),
            1 => format!("({a} / {b} > {number} AND {b} <> 0)"),
            2 => format!("({b} = 0 OR {a} % {b} = {number})"),
            3 => format!("(NOT ({b} = 0 OR {a} / {b} <= {number}))"),
            4 => format!("CASE WHEN {b} = 0 THEN false ELSE {a} / {b} > {number} END"),
            5 => format!("CASE WHEN {b} <> 0 THEN {a} / {b} > {number} ELSE {a} IS NULL END"),
            6 => format!("(coalesce({b}, 0) <> 0 AND {a} / {b} > {number})"),
            _ => format!("(coalesce({a} / nullif({b}, 0), {number}) >= 1)"),
        }
    }

    /// A comparison of an expression with a constant.
    fn compared(&mut self, sql: &str, of: Type) -> String {
        let literal = self.literal(of);
        let how = ["=", "<>", "<", "<=", ">", ">="][self.random.below(6)];
        format!("{sql} {how} {literal}")
    }

    fn literal(&mut self, of: Type) -> String {
        let small = self.random.below(7) as i64 - 2;
        match of {
            Text => format!("'{}'", self.random.pick(&super::rows::TEXTS)),
            Int | Big => small.to_string(),
            Double => format!("CAST({small}.5 AS DOUBLE)"),
            Decimal => format!("{small}.25"),
            Bool => (*self.random.pick(&["true", "false", "NULL"])).to_owned(),
            Time => format!("TIMESTAMP '2024-01-01 00:00:{:02}'", self.random.below(60)),
        }
    }

    fn expr(&mut self, of: Type, columns: &[Column], depth: usize) -> String {
        let fitting: Vec<&Column> = columns.iter().filter(|column| column.of == of).collect();
        let choice = self.random.below(6);
        if depth == 0 || choice == 0 {
            return match fitting.is_empty() {
                false if self.random.below(4) > 0 => self.random.pick(&fitting).sql.clone(),
                _ => self.literal(of),
            };
        }
        if choice == 1 {
            let condition = self.expr(Bool, columns, depth - 1);
            let (a, b) = (
                self.expr(of, columns, depth - 1),
                self.expr(of, columns, depth - 1),
            );
            return match self.random.below(3) {
                0 => format!("coalesce({a}, {b})"),
                1 => format!("CASE WHEN {condition} THEN {a} END"),
                _ => format!("CASE WHEN {condition} THEN {a} ELSE {b} END"),
            };
        }
        match of {
            Text => self.text(columns, depth),
            Int | Big => self.integer(of, columns, depth),
            Double | Decimal => {
                let (a, b) = (
                    self.expr(of, columns, depth - 1),
                    self.expr(of, columns, depth - 1),
                );
                let how = ["+", "-"][self.random.below(2)];
                format!("({a} {how} {b})")
            }
            Bool => self.condition(columns, depth),
            Time => {
                let a = self.expr(Time, columns, depth - 1);
                match self.random.below(3) {
                    0 => format!("date_trunc('minute', {a})"),
                    1 => format!("({a} - INTERVAL '90 seconds')"),
                    _ => format!("({a} + INTERVAL '1 day')"),
                }
            }
        }
    }

    fn text(&mut self, columns: &[Column], depth: usize) -> String {
        let a = self.expr(Text, columns, depth - 1);
        match self.random.below(5) {
            0 => format!("upper({a})"),
            1 => format!("({a} || {})", self.expr(Text, columns, depth - 1)),
            2 => format!("substring({a}, 1, 1)"),
            3 => format!("CAST({} AS TEXT)", self.expr(Int, columns, depth - 1)),
            _ => format!("nullif({a}, {})", self.literal(Text)),
        }
    }

    fn integer(&mut self, of: Type, columns: &[Column], depth: usize) -> String {
        let (a, b) = (
            self.expr(of, columns, depth - 1),
            self.expr(of, columns, depth - 1),
        );
        match self.random.below(8) {
            0 => format!("({a} + {b})"),
            1 => format!("({a} - {b})"),
            2 => format!("({a} * {b})"),
            3 => format!("({a} / nullif({b}, 0))"),
            4 => format!("CASE WHEN {b} <> 0 THEN {a} / {b} END"),
            5 => format!("CASE WHEN {b} = 0 THEN 0 ELSE {a} % {b} END"),
            6 => format!("coalesce({a}, {b} / 0)"),
            _ => format!("abs({a})"),
        }
    }

    fn condition(&mut self, columns: &[Column], depth: usize) -> String {
        let of = [Text, Int, Int, Big, Double, Decimal, Time][self.random.below(7)];
        let a = self.expr(of, columns, depth - 1);
        match self.random.below(12) {
            0 => {
                let (a, b) = (
                    self.expr(Bool, columns, depth - 1),
                    self.expr(Bool, columns, depth - 1),
                );
                let how = ["AND", "OR"][self.random.below(2)];
                format!("({a} {how} {b})")
            }
            1 => format!("(NOT {})", self.expr(Bool, columns, depth - 1)),
            2 => format!("({a} IS NULL)"),
            3 => format!(
                "({a} IS DISTINCT FROM {})",
                self.expr(of, columns, depth - 1)
            ),
            4 => format!("({a} IN ({}, {}))", self.literal(of), self.literal(of)),
            5 => format!(
                "({a} BETWEEN {} AND {})",
                self.literal(of),
                self.literal(of)
            ),
            6 | 7 => {
                let (a, b) = (
                    self.expr(Int, columns, depth - 1),
                    self.expr(Int, columns, depth - 1),
                );
                self.guarded(&a, &b)
            }
            8 => format!("({})", self.compared(&a, of)),
            9 => format!("({} LIKE '%a%')", self.expr(Text, columns, depth - 1)),
            _ => {
                let how = ["=", "<>", "<", ">="][self.random.below(4)];
                format!("({a} {how} {})", self.expr(of, columns, depth - 1))
            }
        }
    }
}
