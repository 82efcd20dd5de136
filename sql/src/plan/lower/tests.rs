//! Names of operators: what a job finds its state by.

use uuid::Uuid;

use super::*;
use crate::catalog::{Identity, Kind, Objects, bind_relation};
use crate::parse::statement::Statement;
use crate::parse::{parse, split_statements, words};
use crate::plan::{Library, view};

const SOURCES: &str = "
CREATE SOURCE flights (at TIMESTAMP, k TEXT, x INT, WATERMARK FOR at AS at) WITH (partitions = 1);
CREATE TABLE airlines (k TEXT PRIMARY KEY, name TEXT);
";

/// The operators of a view over the sources that keep something.
fn operators(query: &str) -> Vec<String> {
    let library = Library::new();
    let mut objects = Objects::default();
    let sql = format!("{SOURCES} CREATE MATERIALIZED VIEW v AS {query}");
    for text in split_statements(&sql) {
        let words = Words::new(words(&text), Vec::new());
        let identity = |name: &str, kind| Identity {
            id: Uuid::nil(),
            name: name.to_owned(),
            kind,
            sql: String::new(),
            created_ms: 0,
            references: Vec::new(),
        };
        match parse(&text).unwrap() {
            Statement::CreateRelation(create) => {
                let identity = identity(&create.name.name, Kind::Table);
                let bound = bind_relation(&library, &create, identity, &words).unwrap();
                objects.insert_relation(Arc::new(bound.relation));
            }
            Statement::CreateView(create) => {
                let identity = identity("v", Kind::View);
                let view = view(&library, &objects, identity, &create.query, 1, &words).unwrap();
                let plan = view.view.unwrap().plan;
                let names = plan.nodes.into_iter().map(|node| node.name);
                return names.filter(|name| !name.is_empty()).collect();
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no view")
}

/// These names are in the states of views: another one makes a view fail.
#[test]
fn operators_are_named_by_what_the_author_wrote() {
    let query = "SELECT d.name, count(*) AS n FROM (SELECT f.k, a.name FROM flights f JOIN airlines a ON f.k = a.k) d
                 JOIN airlines b ON d.name = b.name JOIN airlines ON d.k = airlines.k GROUP BY d.name";
    let wanted = [
        "d.f:flights",
        "d.a:airlines",
        "d:d.f:flights|d.a:airlines",
        "b:airlines",
        ":d.f:flights,d.a:airlines|b:airlines",
        ":airlines",
        ":d.f:flights,d.a:airlines,b:airlines|:airlines",
        ":d.f:flights,d.a:airlines,b:airlines,:airlines",
    ];
    assert_eq!(operators(query), wanted);
    // What keeps nothing changes no name.
    let filtered = query.replace(
        " GROUP BY",
        " WHERE d.k <> 'UA' AND b.k IS NOT NULL GROUP BY",
    );
    assert_eq!(operators(&filtered), wanted);
}

#[test]
fn operators_of_one_name_are_counted() {
    let query = "SELECT DISTINCT n FROM (SELECT count(*) AS n FROM flights GROUP BY k)";
    let names = operators(query);
    assert_eq!(names, [":flights", "::flights", "::flights#2"]);
}
