//! Curves that rows give beside their lines, and the SVG that they are drawn into: a panel for each
//! row, one below the other.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{anyhow, ensure, Result};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::{json, Value};

use crate::measure::Stat;
use crate::server::About;
use crate::sizes::short;

/// How something grows.
pub struct Chart {
    pub title: String,
    /// What x counts, on a logarithmic axis.
    pub x: String,
    /// What y is, with its unit.
    pub y: String,
    /// Whether y is logarithmic too; it begins at 0 if not.
    pub log_y: bool,
    /// Of different names.
    pub curves: Vec<Curve>,
}

/// One command's part of a chart.
pub struct Curve {
    pub name: String,
    /// What was measured at each x, from the least to the most.
    pub points: Vec<(u64, Stat)>,
}

impl Chart {
    fn points(&self) -> impl Iterator<Item = &(u64, Stat)> {
        self.curves.iter().flat_map(|curve| &curve.points)
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let curve = |curve: &Curve| {
            let points = curve.points.iter().map(
                |(x, y)| json!({ "x": x, "median": y.median, "least": y.least, "most": y.most }),
            );
            json!({ "name": curve.name, "points": points.collect::<Vec<_>>() })
        };
        json!({
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "curves": self.curves.iter().map(curve).collect::<Vec<_>>(),
        })
    }
}

/// Pixels of one panel.
const PANEL: (u32, u32) = (900, 520);
/// Pixels above the panels, for what it was measured on.
const HEAD: u32 = 40;
const FONT: &str = "sans-serif";
const TITLE_SIZE: u32 = 21;
const LABEL_SIZE: u32 = 16;
/// Pixels.
const DOT: i32 = 4;

/// Colours that those who see few of them can tell apart (Okabe and Ito).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Draws the charts, at least one, as an SVG.
pub fn write(path: &Path, about: &About, charts: &[Chart]) -> Result<()> {
    let size = (PANEL.0, HEAD + PANEL.1 * charts.len() as u32);
    let drawn = draw(SVGBackend::new(path, size), about, charts);
    drawn.map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw(backend: SVGBackend, about: &About, charts: &[Chart]) -> Result<()> {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, panels) = root.split_vertically(HEAD);
    let measured_on = format!("{}, {}", about.server, about.machine);
    head.draw(&Text::new(measured_on, (20, 16), (FONT, LABEL_SIZE).into_font()))?;
    for (area, chart) in panels.split_evenly((charts.len(), 1)).iter().zip(charts) {
        let least = chart.points().map(|(_, y)| y.least).fold(f64::INFINITY, f64::min);
        let most = chart.points().map(|(_, y)| y.most).fold(0.0, f64::max);
        let drawable = most.is_finite() && most > 0.0 && (least > 0.0 || !chart.log_y);
        ensure!(
            drawable,
            "{:?} has no points to draw, or some that its axes have not",
            chart.title
        );
        // Room above the curves for the names.
        if chart.log_y {
            panel(area, chart, (least / 2.0..most * 8.0).log_scale())?;
        } else {
            panel(area, chart, 0.0..most * 1.35)?;
        }
    }
    root.present()?;
    Ok(())
}

fn panel<Y>(area: &DrawingArea<SVGBackend, Shift>, chart: &Chart, y: Y) -> Result<()>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let sizes: BTreeSet<u64> = chart.points().map(|&(x, _)| x).collect();
    let sizes: Vec<f64> = sizes.into_iter().map(|x| x as f64).collect();
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, (FONT, TITLE_SIZE))
        .margin(20)
        .x_label_area_size(50)
        .y_label_area_size(75)
        .build_cartesian_2d((first / 1.3..last * 1.3).log_scale().with_key_points(sizes), y)?;
    context
        .configure_mesh()
        .x_desc(&chart.x)
        .y_desc(&chart.y)
        .x_label_formatter(&|x| short(x.round() as u64))
        .y_label_formatter(&|y| format!("{y}"))
        .label_style((FONT, LABEL_SIZE))
        .axis_desc_style((FONT, LABEL_SIZE))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (curve, color) in chart.curves.iter().zip(COLORS.iter().cycle()) {
        let line = curve.points.iter().map(|&(x, y)| (x as f64, y.median));
        context
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], color.stroke_width(3)));
        context.draw_series(line.map(|at| Circle::new(at, DOT, color.filled())))?;
        // The range, as a bar through the median.
        let ranges = curve.points.iter().map(|&(x, y)| [(x as f64, y.least), (x as f64, y.most)]);
        context.draw_series(ranges.map(|range| PathElement::new(range, color.stroke_width(1))))?;
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, LABEL_SIZE))
        .legend_area_size(30)
        .margin(12)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.4))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_svg_has_titles_axes_and_names() {
        let points = |factor: f64| {
            [1_000, 10_000, 5_000_000].map(|x| (x, Stat::of(vec![factor, factor * 1.5]))).to_vec()
        };
        let chart = |log_y| Chart {
            title: "cost & size".into(),
            x: "records".into(),
            y: "us CPU per call".into(),
            log_y,
            curves: vec![
                Curve { name: "ours".into(), points: points(0.02) },
                Curve { name: "theirs".into(), points: points(300.0) },
            ],
        };
        let about = About { server: "a server".into(), machine: "a machine".into() };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chart.svg");
        write(&path, &about, &[chart(false), chart(true)]).unwrap();
        let svg = fs::read_to_string(path).unwrap();
        for text in ["cost &amp; size", "records", "us CPU per call", "ours", "theirs", "10k"] {
            assert_eq!(svg.matches(&format!("\n{text}\n")).count(), 2, "{text:?} in {svg}");
        }
        assert!(svg.contains("a server, a machine"));
    }

    #[test]
    fn a_chart_without_points_is_an_error() {
        let about = About { server: "s".into(), machine: "m".into() };
        let chart = Chart {
            title: "t".into(),
            x: "x".into(),
            y: "y".into(),
            log_y: true,
            curves: Vec::new(),
        };
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("chart.svg"), &about, &[chart]).is_err());
    }
}
