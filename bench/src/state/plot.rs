//! Curves as an SVG picture: axes, a grid, a line and its name for each case. It is read on light and dark paper alike.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;
/// Told apart also by who sees no red and green.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
/// Lines of the grid, about.
const TICKS: f64 = 5.0;

/// One curve.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// By rising x.
    pub(super) points: Vec<(f64, f64)>,
}

/// A picture; y begins with 0.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) lines: &'a [Line],
}

impl Plot<'_> {
    /// The picture as a file.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_step = step(points().map(|point| point.0).fold(0.0, f64::max));
        let y_step = step(points().map(|point| point.1).fold(0.0, f64::max));
        let x_max = round_up(points().map(|point| point.0).fold(0.0, f64::max), x_step);
        let y_max = round_up(points().map(|point| point.1).fold(0.0, f64::max), y_step);
        let x_at = |x: f64| LEFT + x / x_max * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM);
        let mut svg = String::new();
        let mut line = |text: String| {
            svg.push_str(&text);
            svg.push('\n');
        };
        line(format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="#777">"##
        ));
        line(text(LEFT, TOP / 2.0, "start", self.title));
        let (right, bottom) = (x_at(x_max), y_at(0.0));
        for tick in ticks(y_max, y_step) {
            let y = y_at(tick);
            line(format!(
                r##"<path d="M{LEFT:.1} {y:.1}H{right:.1}" stroke="#7774"/>"##
            ));
            line(text(LEFT - 8.0, y + 4.0, "end", &number(tick, y_step)));
        }
        for tick in ticks(x_max, x_step) {
            let x = x_at(tick);
            line(text(x, bottom + 18.0, "middle", &number(tick, x_step)));
        }
        line(text((LEFT + right) / 2.0, HEIGHT - 8.0, "middle", self.x));
        line(text(LEFT, TOP - 4.0, "end", self.y));
        for (curve, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let mut path = String::new();
            for (number, (x, y)) in curve.points.iter().enumerate() {
                let kind = if number == 0 { 'M' } else { 'L' };
                // Writing to a text does not fail.
                let _ = write!(path, "{kind}{:.1} {:.1}", x_at(*x), y_at(*y));
            }
            line(format!(
                r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#
            ));
            if let Some((x, y)) = curve.points.last() {
                let (x, y) = (x_at(*x) + 6.0, y_at(*y) + 4.0);
                line(format!(
                    r#"<text x="{x:.1}" y="{y:.1}" fill="{colour}">{}</text>"#,
                    curve.name
                ));
            }
        }
        line("</svg>".to_owned());
        svg
    }
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#)
}

/// 1, 2 or 5 times a power of ten, so that some lines reach `most`.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf((most / TICKS).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let enough = steps.into_iter().find(|step| step * TICKS >= most);
    enough.unwrap_or(10.0 * power)
}

fn round_up(most: f64, step: f64) -> f64 {
    (most / step).ceil().max(1.0) * step
}

fn ticks(most: f64, step: f64) -> impl Iterator<Item = f64> {
    let count = (most / step).round() as u32;
    (0..=count).map(move |number| f64::from(number) * step)
}

fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(
            [0.0, 1.0, 4.0, 7.0, 19.9].map(step),
            [1.0, 0.2, 1.0, 2.0, 5.0]
        );
        assert_eq!(number(0.4, 0.2), "0.4");
        assert_eq!(number(400.0, 100.0), "400");
    }

    #[test]
    fn curves_lie_between_the_axes() {
        let plot = Plot {
            title: "a < b & c",
            x: "rows",
            y: "µs",
            lines: &[
                Line {
                    name: "one",
                    points: vec![(1.0, 2.0), (10.0, 4.0)],
                },
                Line {
                    name: "none",
                    points: Vec::new(),
                },
            ],
        };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b &amp; c"), "{svg}");
        assert!(svg.contains(r#"<path d="M120.0 176.0L624.0 "#), "{svg}");
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
