//! Tables of every width.

use serde_json::json;

use super::*;

fn table(columns: &[Column], rows: &[Row], push: bool) -> Table {
    fitted(columns, rows, push, None).table
}

fn column(name: &str, data_type: &str) -> Column {
    Column {
        name: name.into(),
        data_type: data_type.into(),
    }
}

fn row(values: Vec<Value>) -> Row {
    Row { diff: None, values }
}

fn widest(text: &str) -> usize {
    text.lines().map(width).max().unwrap_or(0)
}

#[test]
fn a_table_aligns_numbers_to_the_right() {
    let columns = [column("name", "TEXT"), column("n", "BIGINT")];
    let rows = [
        row(vec![json!("a"), json!(1)]),
        row(vec![json!("bb"), json!(10)]),
    ];
    let text = table(&columns, &rows, false).to_string();
    assert!(text.contains("│ a       1 │"), "{text}");
    assert!(text.contains("│ bb     10 │"), "{text}");
}

#[test]
fn points_stand_below_one_another() {
    let columns = [column("avg", "DOUBLE PRECISION")];
    let rows = [json!(10.0), json!(54.3871), json!(null), json!(-0.5)];
    let rows = rows.map(|value| row(vec![value]));
    let text = table(&columns, &rows, false).to_string();
    for line in ["│ 10      │", "│ 54.3871 │", "│         │", "│ -0.5    │"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// Any table, at any width from 40 columns on.
#[test]
fn no_line_is_wider_than_the_terminal() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let types = ["TEXT", "BIGINT", "DOUBLE PRECISION", "TIMESTAMP", "JSON"];
    let words = [
        "",
        "a",
        "größe",
        "日本語の文字列です",
        "two\nlines",
        "x\u{301}y",
        "🛫 left",
    ];
    for round in 0..400 {
        let columns: Vec<Column> = (0..random.usize(1..24))
            .map(|index| {
                let name = words[random.usize(..words.len())].repeat(random.usize(1..8));
                column(
                    &format!("{name}{index}"),
                    types[random.usize(..types.len())],
                )
            })
            .collect();
        let push = random.bool();
        let rows: Vec<Row> = (0..random.usize(..6))
            .map(|_| Row {
                diff: push.then_some(if random.bool() { 1 } else { -1 }),
                values: columns
                    .iter()
                    .map(|_| match random.u8(..4) {
                        0 => json!(random.i64(..)),
                        1 => json!("2024-05-01T10:00:00.123456"),
                        2 => Value::Null,
                        _ => json!(words[random.usize(..words.len())].repeat(random.usize(..20))),
                    })
                    .collect(),
            })
            .collect();
        for wide in [40, 60, 80, 133, 200] {
            let fitted = fitted(&columns, &rows, push, Some(wide));
            let text = fitted.table.to_string();
            assert!(
                widest(&text) <= wide,
                "seed {seed}, round {round}: {} > {wide}\n{text}",
                widest(&text)
            );
            assert!(
                fitted.left_out < columns.len() + usize::from(push),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn long_texts_are_cut_before_numbers_and_times() {
    let columns = [
        column("window_start", "TIMESTAMP"),
        column("name", "TEXT"),
        column("flights", "BIGINT"),
    ];
    let rows = [row(vec![
        json!("2013-01-04T12:00:00"),
        json!("ExpressJet Airlines Inc., a regional one"),
        json!(1234),
    ])];
    let fitted = fitted(&columns, &rows, false, Some(56));
    assert_eq!(fitted.left_out, 0);
    let text = fitted.table.to_string();
    assert!(text.contains("2013-01-04 12:00:00"), "{text}");
    assert!(text.contains("ExpressJet Airlines…"), "{text}");
    assert!(text.contains("1234"), "{text}");
}

#[test]
fn a_column_that_fits_is_shown_where_its_neighbour_does_not() {
    let columns = [
        column("window_start", "TIMESTAMP"),
        column("window_end", "TIMESTAMP"),
        column("name", "TEXT"),
        column("flights", "BIGINT"),
        column("avg_delay", "DOUBLE"),
    ];
    let time = json!("2013-01-04T12:00:00");
    let rows = [row(vec![
        time.clone(),
        time,
        json!("ExpressJet Airlines Inc."),
        json!(5),
        json!(14.25),
    ])];
    let fitted = fitted(&columns, &rows, false, Some(60));
    let text = fitted.table.to_string();
    assert_eq!(fitted.left_out, 2, "{text}");
    assert!(text.contains("flights") && text.contains("14.25"), "{text}");
}

#[test]
fn columns_without_room_are_left_out_in_the_middle() {
    let columns: Vec<Column> = (0..9)
        .map(|index| column(&format!("column_{index}"), "BIGINT"))
        .collect();
    let rows = [row((0..9)
        .map(|index| json!(1_000_000_000_i64 + index))
        .collect())];
    let fitted = fitted(&columns, &rows, false, Some(60));
    let text = fitted.table.to_string();
    assert_eq!(fitted.left_out, 5, "{text}");
    assert!(
        text.contains("column_0") && text.contains("column_1"),
        "{text}"
    );
    assert!(text.contains("column_8") && text.contains(" … "), "{text}");
}

#[test]
fn a_listing_of_a_command_fits_too() {
    let mut listing = Listing::new(&["topic", "partition", "offset", "end", "lag", "member"]);
    for partition in 0..3 {
        let name = "a-topic-with-a-long-name".repeat(3);
        let member = "a-client-with-a-name at /127.0.0.1";
        let cells = [name.as_str(), "0", "-", "1234567", "12", member].map(str::to_owned);
        listing.add_row(cells);
        for wide in [40, 60, 80, 200] {
            let text = listing.text(Some(wide));
            assert!(widest(&text) <= wide, "{partition}, {wide}:\n{text}");
        }
    }
    let text = listing.text(None);
    assert!(
        text.contains("        -   1234567    12   a-client"),
        "{text}"
    );
    assert!(
        listing.text(Some(40)).contains("-o json has"),
        "{}",
        listing.text(Some(40))
    );
}

#[test]
fn a_record_is_shown_whole_below_the_other() {
    let columns = [column("name", "TEXT"), column("n", "BIGINT")];
    let rows = [
        row(vec![json!("a\nb"), json!(1)]),
        row(vec![Value::Null, json!(2)]),
    ];
    assert_eq!(
        expanded(&columns, &rows, 1),
        "─[ 1 ]─\nname │ a\n     │ b\nn    │ 1\n─[ 2 ]─\nname │ \nn    │ 2\n"
    );
}

#[test]
fn prose_goes_on_below_its_beginning() {
    let text = "└─ source orders topic orders: id, customer, amount; upsert by id";
    assert_eq!(
        wrapped(text, 40),
        "└─ source orders topic orders: id,\n     customer, amount; upsert by id\n"
    );
    assert_eq!(wrapped("short", 40), "short\n");
}

#[test]
fn cells_read_well() {
    assert_eq!(cell(&json!("2013-01-01T10:00:00")), "2013-01-01 10:00:00");
    assert_eq!(cell(&json!("Thursday")), "Thursday");
    assert_eq!(cell(&json!(12.0)), "12");
    assert_eq!(cell(&json!(0.123456)), "0.1235");
    assert_eq!(cell(&Value::Null), "");
    assert_eq!(cell(&json!(1e300)), "1e300");
    assert_eq!(cell(&json!(0.00001234)), "1.234e-5");
    assert_eq!(cell(&json!("\u{1b}[31mred")), "\\u{1b}[31mred");
}
