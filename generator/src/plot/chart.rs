//! Small charts in a grid, as SVG: a row for each zone, a column for each metric with an axis of its own.
//!
//! Paths are written in tenths of a pixel with relative steps, which keeps a week of forty charts below 300 kB. A value
//! beyond the axis, whose range is that of the normal values, is drawn at the edge as a triangle that points to it.

use std::fmt::Write;

use super::scale::Scale;

const LEFT: usize = 150;
const TOP: usize = 108;
const BOTTOM: usize = 36;
const RIGHT: usize = 16;
/// Size of a chart, and the distance to the next; the numbers of the axis stand between.
const WIDTH: usize = 218;
const HEIGHT: usize = 74;
const ACROSS: usize = WIDTH + 42;
const DOWN: usize = HEIGHT + 14;
/// Colours of the columns, in turn: dark on white, and distinct for red-green colour-blind readers.
const COLORS: [&str; 6] = ["#b45309", "#0369a1", "#4d7c0f", "#6d28d9", "#0f766e", "#475569"];
const MARK: &str = "#dc2626";
/// Width of a weekday's name.
const NAME_WIDTH: f64 = 22.0;
/// Units of a path per pixel.
const FINE: f64 = 10.0;

/// A reading's value at a share of the chart's width.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// 0 at the left edge, 1 at the right one.
    pub at: f64,
    pub value: Option<f64>,
    /// Whether it is anomalous.
    pub is_marked: bool,
}

/// One metric of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// From left to right.
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub title: String,
    /// Names of the days, and whether they are at the weekend.
    pub days: Vec<(String, bool)>,
    /// Zones.
    pub rows: Vec<String>,
    /// Metrics with their units.
    pub columns: Vec<String>,
    /// By row and column.
    pub charts: Vec<Vec<Chart>>,
}

impl Picture {
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = self.draw(&mut svg);
        svg
    }

    fn draw(&self, svg: &mut String) -> std::fmt::Result {
        let width = LEFT + self.columns.len() * ACROSS + RIGHT - (ACROSS - WIDTH);
        let height = TOP + self.rows.len() * DOWN + BOTTOM;
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif\" fill=\"#334155\">"
        )?;
        writeln!(svg, "<title>{}</title>", escaped(&self.title))?;
        writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
        writeln!(
            svg,
            "<text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"600\" fill=\"#0f172a\">{}</text>",
            escaped(&self.title)
        )?;
        legend(svg)?;
        for (column, name) in self.columns.iter().enumerate() {
            let x = LEFT + column * ACROSS;
            writeln!(
                svg,
                "<text x=\"{x}\" y=\"{}\" font-size=\"13\" font-weight=\"600\" fill=\"{}\">{}</text>",
                TOP - 10,
                COLORS[column % COLORS.len()],
                escaped(name)
            )?;
        }
        for (row, zone) in self.rows.iter().enumerate() {
            let y = TOP + row * DOWN + HEIGHT / 2 + 4;
            writeln!(svg, "<text x=\"16\" y=\"{y}\" font-size=\"12\">{}</text>", escaped(zone))?;
        }
        for column in 0..self.columns.len() {
            let normal = self.charts.iter().flat_map(|row| &row[column].points);
            let scale = Scale::of(normal.filter(|point| !point.is_marked).filter_map(|point| point.value));
            for row in 0..self.rows.len() {
                self.panel(svg, row, column, &scale)?;
            }
            self.day_names(svg, column)?;
        }
        svg.push_str("</svg>\n");
        Ok(())
    }

    fn panel(&self, svg: &mut String, row: usize, column: usize, scale: &Scale) -> std::fmt::Result {
        let (x, y) = (LEFT + column * ACROSS, TOP + row * DOWN);
        let day_width = WIDTH as f64 / self.days.len() as f64;
        writeln!(svg, "<g transform=\"translate({x},{y})\">")?;
        for (day, _) in self.days.iter().enumerate().filter(|(_, (_, is_weekend))| *is_weekend) {
            let left = day as f64 * day_width;
            writeln!(
                svg,
                "<rect x=\"{left:.1}\" width=\"{day_width:.1}\" height=\"{HEIGHT}\" fill=\"#f1f5f9\"/>"
            )?;
        }
        svg.push_str("<path fill=\"none\" stroke=\"#e2e8f0\" d=\"");
        for day in 1..self.days.len() {
            write!(svg, "M{:.1} 0V{HEIGHT}", day as f64 * day_width)?;
        }
        for tick in &scale.ticks {
            write!(svg, "M0 {:.1}H{WIDTH}", (1.0 - scale.place(*tick)) * HEIGHT as f64)?;
        }
        writeln!(svg, "\"/><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#cbd5e1\"/>")?;
        for tick in &scale.ticks {
            writeln!(
                svg,
                "<text x=\"-5\" y=\"{:.1}\" font-size=\"9\" text-anchor=\"end\" fill=\"#64748b\">{tick}</text>",
                (1.0 - scale.place(*tick)) * HEIGHT as f64 + 3.0
            )?;
        }
        svg.push_str("<g transform=\"scale(.1)\">");
        let chart = &self.charts[row][column];
        line(svg, &chart.points, scale, COLORS[column % COLORS.len()])?;
        marks(svg, &chart.points, scale)?;
        writeln!(svg, "</g></g>")
    }

    fn day_names(&self, svg: &mut String, column: usize) -> std::fmt::Result {
        let day_width = WIDTH as f64 / self.days.len() as f64;
        let y = TOP + self.rows.len() * DOWN;
        for (day, (name, _)) in self.days.iter().enumerate() {
            let x = (LEFT + column * ACROSS) as f64 + (day as f64 + 0.5) * day_width;
            let name = if day_width >= NAME_WIDTH { name } else { &name[..1] };
            writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" font-size=\"9\" text-anchor=\"middle\" fill=\"#64748b\">{name}</text>"
            )?;
        }
        Ok(())
    }
}

/// Place in tenths of a pixel, held to the chart.
fn place(point: &Point, value: f64, scale: &Scale) -> (i64, i64) {
    let down = (1.0 - scale.place(value)).clamp(0.0, 1.0);
    ((point.at * WIDTH as f64 * FINE).round() as i64, (down * HEIGHT as f64 * FINE).round() as i64)
}

fn line(svg: &mut String, points: &[Point], scale: &Scale, color: &str) -> std::fmt::Result {
    write!(svg, "<path fill=\"none\" stroke=\"{color}\" stroke-width=\"9\" stroke-linejoin=\"round\" d=\"")?;
    let mut before: Option<(i64, i64)> = None;
    for point in points {
        let Some(value) = point.value else {
            before = None;
            continue;
        };
        if !(0.0..=1.0).contains(&scale.place(value)) {
            continue;
        }
        let (x, y) = place(point, value, scale);
        match before {
            None => write!(svg, "M{x} {y}l")?,
            // A minus sign parts numbers as well as a space.
            Some((x_before, y_before)) => {
                write!(svg, "{}{}", spaced(x - x_before), spaced(y - y_before))?;
            }
        }
        before = Some((x, y));
    }
    writeln!(svg, "\"/>")
}

fn spaced(step: i64) -> String {
    if step < 0 { step.to_string() } else { format!(" {step}") }
}

fn marks(svg: &mut String, points: &[Point], scale: &Scale) -> std::fmt::Result {
    let mut path = String::new();
    let mut dots = String::new();
    for point in points.iter().filter(|point| point.is_marked) {
        let Some(value) = point.value else {
            let x = (point.at * WIDTH as f64 * FINE).round() as i64;
            write!(path, "M{x} {}v-60h-9v60z", (HEIGHT as f64 * FINE) as i64)?;
            continue;
        };
        let (x, y) = place(point, value, scale);
        match scale.place(value) {
            above if above > 1.0 => write!(path, "M{x} {y}l-26 46h52z")?,
            below if below < 0.0 => write!(path, "M{x} {y}l-26-46h52z")?,
            _ => write!(dots, "M{x} {y}h0")?,
        }
    }
    write!(svg, "<path fill=\"{MARK}\" d=\"{path}\"/>")?;
    // A line of no length with round ends is a dot.
    write!(
        svg,
        "<path fill=\"none\" stroke=\"{MARK}\" stroke-width=\"34\" stroke-linecap=\"round\" d=\"{dots}\"/>"
    )
}

fn legend(svg: &mut String) -> std::fmt::Result {
    writeln!(
        svg,
        "<g font-size=\"12\"><circle cx=\"20\" cy=\"56\" r=\"2.6\" fill=\"{MARK}\"/><text x=\"29\" y=\"60\">anomalous \
         reading</text><path d=\"M164 51.5l-4 7h8z\" fill=\"{MARK}\"/><text x=\"174\" y=\"60\">anomalous, beyond the \
         axis</text><path d=\"M366 60v-8h-1.6v8z\" fill=\"{MARK}\"/><text x=\"374\" y=\"60\">no value</text>\
         <rect x=\"446\" y=\"50\" width=\"16\" height=\"11\" fill=\"#e2e8f0\"/><text x=\"470\" y=\"60\">weekend</text></g>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
