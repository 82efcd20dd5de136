//! Names of operators, what a job finds its state by; and which columns tell a window.

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

/// An end tells its window, and with it any other bound that does; a start that windows of several lengths share does not.
#[test]
fn only_bounds_that_tell_their_window_stand_for_it() {
    let bound = |window, to_end_us| WindowBound { window, to_end_us };
    let (end, time, start) = (bound(0, Some(0)), bound(0, Some(1_000)), bound(0, None));
    assert!(end.is_end() && !time.is_end() && !start.is_end());
    assert!(end.tells(time) && time.tells(end));
    assert!(!end.tells(start) && !start.tells(end) && !start.tells(start));
    assert!(!end.tells(bound(1, Some(0))));

    let fields = ["window_start", "window_end", "n"];
    let fields = fields.map(|name| (None, Arc::new(Field::new(name, DataType::Int64, true))));
    let schema = DFSchema::new_with_metadata(fields.to_vec(), Default::default()).unwrap();
    let keyed = Changes::Keyed(vec![0, 1]);
    let of_any_length = [Some(start), Some(end), None];
    let of_one_length = [Some(bound(0, Some(60))), Some(end), None];
    let start_alone = [Some(0), Some(2)];
    assert_eq!(
        keyed.mapped(&start_alone, &of_one_length, &schema),
        Changes::Keyed(vec![0])
    );
    assert_eq!(
        keyed.mapped(&start_alone, &of_any_length, &schema),
        Changes::Unkeyed("window_end identifies its rows but is not selected".to_owned())
    );
    assert_eq!(keyed.dropped(&start_alone, &of_any_length), [1]);
}
