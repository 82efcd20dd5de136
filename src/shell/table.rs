//! Rows as a table that fits the terminal, or one record below the other.
//!
//! ```text
//! wide enough           all columns whole
//! else                  long texts are cut with …, the widest first, down to TEXT_MIN; numbers and times stay whole
//! still too wide        columns in the middle are left out; one column … stands for them
//! ```
//!
//! Invariant: with a width, no line is wider than it.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::client::{Column, Row};
use crate::screen;

/// A text column is cut down to this before a column is left out.
const TEXT_MIN: usize = 12;
/// Border, and space on both sides of every cell.
const BORDER: usize = 1;
const BETWEEN: usize = 3;
/// Stands for what is left out.
const CUT: &str = "…";

/// A table, and how many columns it has no room for.
pub(crate) struct Fitted {
    /// The table.
    pub table: Table,
    /// Columns that are left out.
    pub left_out: usize,
}

/// A table of these rows that is at most `width` columns wide; with `push`, the sign of a change leads.
pub(crate) fn fitted(columns: &[Column], rows: &[Row], push: bool, width: Option<usize>) -> Fitted {
    let mut grid = Grid::new(columns, rows, push);
    let left_out = width.map_or(0, |width| grid.fit(width));
    Fitted {
        table: grid.table(),
        left_out,
    }
}

/// A table of texts, as commands print it: within the terminal, numbers to the right.
pub(crate) struct Listing {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Listing {
    /// An empty one.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a cell a column.
    pub(crate) fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn text(&self, width: Option<usize>) -> String {
        let columns = self.names.iter().enumerate().map(|(index, name)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let cells: Vec<String> = cells.map(|cell| visible(cell)).collect();
            let number = |cell: &String| cell == "-" || cell.parse::<f64>().is_ok();
            let numbers = !cells.is_empty() && cells.iter().all(number);
            GridColumn {
                cells: std::iter::once(name.clone()).chain(cells).collect(),
                to_the_right: numbers,
                whole: numbers,
            }
        });
        let mut grid = Grid {
            columns: columns.collect(),
            rows: self.rows.len(),
        };
        let left_out = width.map_or(0, |width| grid.fit(width));
        let note = match left_out {
            0 => return grid.table().to_string(),
            1 => "(1 column has no room; -o json has it)".to_owned(),
            _ => format!("({left_out} columns have no room; -o json has them)"),
        };
        let note = hanging(&note, 1, width.unwrap_or(usize::MAX));
        format!("{}\n{note}", grid.table())
    }
}

impl std::fmt::Display for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text(screen::columns()))
    }
}

/// Cells as text, column by column.
struct Grid {
    columns: Vec<GridColumn>,
    rows: usize,
}

struct GridColumn {
    /// The header first.
    cells: Vec<String>,
    to_the_right: bool,
    /// What must not be cut short of need: numbers, times.
    whole: bool,
}

impl GridColumn {
    /// At least one: the table gives an empty column as much.
    fn widest(&self) -> usize {
        let cells = self.cells.iter().map(|cell| width(cell));
        cells.max().unwrap_or(0).max(1)
    }

    fn least(&self) -> usize {
        let whole = if self.whole {
            let cells = self.cells.iter().skip(1);
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        } else {
            0
        };
        whole.max(self.widest().min(TEXT_MIN))
    }

    fn cut_to(&mut self, columns: usize) {
        for cell in &mut self.cells {
            *cell = cut(cell, columns);
        }
    }
}

impl Grid {
    fn new(columns: &[Column], rows: &[Row], push: bool) -> Self {
        let sign = push.then(|| {
            let signs = rows.iter().map(|row| match row.diff {
                Some(diff) if diff < 0 => "-".to_owned(),
                _ => "+".to_owned(),
            });
            GridColumn {
                cells: std::iter::once(String::new()).chain(signs).collect(),
                to_the_right: false,
                whole: true,
            }
        });
        let columns = columns.iter().enumerate().map(|(index, column)| {
            let values = rows.iter().map(|row| row.values.get(index));
            let cells = values.map(|value| cell(value.unwrap_or(&Value::Null)));
            let mut cells: Vec<String> = cells.collect();
            let number = is_number(&column.data_type);
            if number {
                align_points(&mut cells);
            }
            GridColumn {
                cells: std::iter::once(visible(&column.name))
                    .chain(cells)
                    .collect(),
                to_the_right: number,
                whole: number || is_time(&column.data_type),
            }
        });
        Self {
            columns: sign.into_iter().chain(columns).collect(),
            rows: rows.len(),
        }
    }

    /// Cuts cells and leaves columns out until it fits; returns how many are left out.
    fn fit(&mut self, width: usize) -> usize {
        let room = |columns: usize| width.saturating_sub(BORDER + BETWEEN * columns);
        for column in &mut self.columns {
            for cell in &mut column.cells {
                if cell.contains(['\n', '\r']) {
                    *cell = cell.replace("\r\n", "↵").replace(['\n', '\r'], "↵");
                }
            }
        }
        let least: Vec<usize> = self.columns.iter().map(GridColumn::least).collect();
        let mut left_out = 0;
        if least.iter().sum::<usize>() > room(least.len()) {
            left_out = self.leave_out(&least, room(1).max(1), width);
        }
        self.shrink(room(self.columns.len()).max(1));
        left_out
    }

    /// Keeps columns, from both ends, for which there is room, the first in any case.
    fn leave_out(&mut self, least: &[usize], room: usize, width: usize) -> usize {
        let count = least.len();
        let from_both_ends = (0..count).map(|index| {
            if index % 2 == 0 {
                index / 2
            } else {
                count - 1 - index / 2
            }
        });
        let mut used = BORDER + width_of(CUT) + BETWEEN;
        let mut keep = Vec::new();
        for index in from_both_ends {
            let needed = least[index].min(room) + BETWEEN;
            if !keep.is_empty() && used + needed > width {
                continue;
            }
            used += needed;
            keep.push(index);
        }
        if keep.len() == count {
            return 0;
        }
        keep.sort_unstable();
        let gap = (1..keep.len()).find(|&at| keep[at] != keep[at - 1] + 1);
        let mut all: Vec<Option<GridColumn>> = self.columns.drain(..).map(Some).collect();
        for (at, index) in keep.iter().enumerate() {
            if Some(at) == gap {
                self.columns.push(ellipsis(self.rows));
            }
            self.columns.extend(all[*index].take());
        }
        if gap.is_none() {
            self.columns.push(ellipsis(self.rows));
        }
        count - keep.len()
    }

    /// Cuts the widest columns until the cells of a line take no more than `room`.
    fn shrink(&mut self, room: usize) {
        let widest = self.columns.iter().map(GridColumn::widest);
        let mut widths: Vec<usize> = widest.map(|widest| widest.min(room)).collect();
        let least: Vec<usize> = self.columns.iter().map(GridColumn::least).collect();
        while widths.iter().sum::<usize>() > room {
            // First what may be cut, then whatever is widest.
            let above = |at: &usize| widths[*at] > least[*at];
            let all = || 0..widths.len();
            let Some(at) = all()
                .filter(above)
                .max_by_key(|at| widths[*at])
                .or_else(|| all().max_by_key(|at| widths[*at]))
                .filter(|at| widths[*at] > 1)
            else {
                break;
            };
            widths[at] -= 1;
        }
        for (column, width) in self.columns.iter_mut().zip(widths) {
            column.cut_to(width);
        }
    }

    fn table(self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        let line = |index: usize| self.columns.iter().map(move |column| &column.cells[index]);
        table.set_header(line(0));
        for row in 0..self.rows {
            table.add_row(line(row + 1));
        }
        for (index, column) in self.columns.iter().enumerate() {
            if column.to_the_right
                && let Some(column) = table.column_mut(index)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn ellipsis(rows: usize) -> GridColumn {
    GridColumn {
        cells: vec![CUT.to_owned(); rows + 1],
        to_the_right: false,
        whole: true,
    }
}

/// One record below the other, a line a column; `first` is the number of the first.
pub(crate) fn expanded(columns: &[Column], rows: &[Row], first: usize) -> String {
    let names: Vec<String> = columns.iter().map(|column| visible(&column.name)).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let sign = match row.diff {
            Some(diff) if diff < 0 => " -",
            Some(_) => " +",
            None => "",
        };
        text += &format!("─[ {}{sign} ]─\n", first + index);
        for (name, value) in names.iter().zip(&row.values) {
            let padding = " ".repeat(widest - width(name));
            let below = format!("\n{} │ ", " ".repeat(widest));
            text += &format!("{name}{padding} │ {}\n", cell(value).replace('\n', &below));
        }
    }
    text
}

/// Prose or a plan within `columns`: a long line goes on below, indented.
pub(crate) fn wrapped(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let drawn = |c: char| c.is_whitespace() || "├└─│".contains(c);
        let indent = line.chars().take_while(|c| drawn(*c)).count() + 2;
        out += &hanging(line, indent, columns);
        out.push('\n');
    }
    out
}

/// A line within `columns`; what does not fit goes on below, after `indent` spaces.
pub(crate) fn hanging(line: &str, indent: usize, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for (index, word) in line.split(' ').enumerate() {
        let needed = width(word) + usize::from(index > 0);
        if used > indent && used + needed > columns {
            out += "\n";
            out += &" ".repeat(indent);
            used = indent;
        } else if index > 0 {
            out.push(' ');
            used += 1;
        }
        out += word;
        used += width(word);
    }
    out
}

fn is_number(data_type: &str) -> bool {
    let name = data_type.to_ascii_lowercase();
    ["int", "double", "real", "float", "decimal", "numeric"]
        .iter()
        .any(|part| name.contains(part))
}

fn is_time(data_type: &str) -> bool {
    let name = data_type.to_ascii_lowercase();
    ["time", "date"].iter().any(|part| name.starts_with(part))
}

/// A value as people read it: text bare, NULL as nothing, floats short, control characters (which could drive the terminal) shown.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if is_timestamp(text) => text.replacen('T', " ", 1),
        Value::String(text) => visible(text),
        Value::Number(number) if number.is_f64() => float(number.as_f64().unwrap_or_default()),
        other => visible(&other.to_string()),
    }
}

/// Puts the points of numbers below one another, where some have digits behind it.
fn align_points(cells: &mut [String]) {
    let behind = |cell: &str| cell.find(['.', 'e']).map_or(0, |at| cell.len() - at);
    let most = cells.iter().map(|cell| behind(cell)).max().unwrap_or(0);
    for cell in cells.iter_mut().filter(|cell| !cell.is_empty()) {
        let missing = most - behind(cell);
        cell.extend(std::iter::repeat_n(' ', missing));
    }
}

/// At most four digits after the point; in powers of ten where that would be long or say nothing.
fn float(value: f64) -> String {
    let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        return trimmed(&format!("{value:.4}"));
    }
    let text = format!("{value:.4e}");
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
        None => text,
    }
}

/// The text without characters that could drive the terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
}

/// The text in at most `columns`, its end cut off with `…` if it must be.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width_of(CUT));
    let mut out = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += width_of_char(character);
        if used > room {
            break;
        }
        out.push(character);
    }
    out + CUT
}

/// Columns that the widest line of a text takes in a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.split('\n').map(width_of).max().unwrap_or(0)
}

fn width_of(line: &str) -> usize {
    line.chars().map(width_of_char).sum()
}

/// Nothing for marks that combine, two for East Asian wide characters and pictographs (Unicode TR 11), else one.
fn width_of_char(character: char) -> usize {
    match character as u32 {
        0x0300..=0x036f
        | 0x0483..=0x0489
        | 0x0591..=0x05bd
        | 0x064b..=0x065f
        | 0x0e34..=0x0e3a
        | 0x200b..=0x200f
        | 0x20d0..=0x20f0
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xfeff => 0,
        0x1100..=0x115f
        | 0x231a..=0x231b
        | 0x23e9..=0x23ec
        | 0x2614..=0x2615
        | 0x2648..=0x2653
        | 0x26a1
        | 0x2705
        | 0x274c
        | 0x2753..=0x2755
        | 0x2757
        | 0x2795..=0x2797
        | 0x2b1b..=0x2b1c
        | 0x2b50
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97c
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
