//! Charts as SVG, to stand in a page. Their colours are names for those of the page's style sheet, which has them for
//! light and for dark: each stands for what [`COLOURS`] says.

use anyhow::Result;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::output::grouped;

const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
const AXIS: RGBColor = RGBColor(0x77, 0x77, 0x77);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// That those who see few colours can tell apart (Okabe and Ito).
const SERIES: [RGBColor; 2] = [RGBColor(0x00, 0x72, 0xb2), RGBColor(0xd5, 0x5e, 0x00)];

/// Each colour of a chart, and the variable of the style sheet that it is drawn with.
pub const COLOURS: [(&str, &str); 5] = [
    ("#111111", "--ink"),
    ("#777777", "--axis"),
    ("#dddddd", "--grid"),
    ("#0072b2", "--first"),
    ("#d55e00", "--second"),
];

const FONT: &str = "sans-serif";
/// Pixels.
const SIZE: u32 = 18;
const WIDTH: u32 = 640;
const HEIGHT: u32 = 290;
const BAR: u32 = 30;
const LABELS: u32 = 170;

/// One line of a chart.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// Lines over the seconds of a period; `most` is where y ends at least.
pub fn lines(unit: &str, lines: &[Line], most: f64) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let end = points().map(|(x, _)| *x).fold(0.001, f64::max);
    let top = points().map(|(_, y)| *y).fold(most, f64::max);
    let top = if top > most { top * 1.15 } else { top }.max(1e-9);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(50)
            .y_label_area_size(84)
            .build_cartesian_2d(0.0..end, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .x_desc("seconds")
            .y_desc(unit)
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| short(*x, end))
            .y_label_formatter(&|y| short(*y, top))
            .label_style((FONT, SIZE).into_font().color(&INK))
            .axis_desc_style((FONT, SIZE).into_font().color(&INK))
            .draw()?;
        for (line, colour) in lines.iter().zip(SERIES.iter().cycle()) {
            let colour = *colour;
            chart.draw_series(LineSeries::new(
                line.points.iter().copied(),
                colour.stroke_width(2),
            ))?;
            // A line of one point is none.
            chart.draw_series(line.points.iter().map(|at| Circle::new(*at, 2, colour.filled())))?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// A bar for each, from the top down, with its value as text.
pub fn bars(unit: &str, bars: &[(String, f64, String)]) -> Result<String> {
    let count = u32::try_from(bars.len()).unwrap_or(1).max(1);
    let top = bars.iter().map(|(_, value, _)| *value).fold(0.0, f64::max).max(1e-9);
    let mut svg = String::new();
    {
        let height = count.saturating_mul(BAR).saturating_add(76);
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        // The last one is among them.
        let rows = 0..i32::try_from(count - 1).unwrap_or(0);
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(50)
            .y_label_area_size(LABELS)
            // Room for the text behind the longest.
            .build_cartesian_2d(0.0..top * 1.4, rows.into_segmented())?;
        let name = |place: &SegmentValue<i32>| match place {
            SegmentValue::CenterOf(place) => name(bars, *place),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .x_desc(unit)
            .x_labels(6)
            .y_labels(bars.len())
            .x_label_formatter(&|x| short(*x, top))
            .y_label_formatter(&name)
            .label_style((FONT, SIZE).into_font().color(&INK))
            .axis_desc_style((FONT, SIZE).into_font().color(&INK))
            .draw()?;
        for (place, (_, value, text)) in (0i32..).zip(bars.iter().rev()) {
            let (low, high) =
                (SegmentValue::Exact(place), SegmentValue::Exact(place.saturating_add(1)));
            let mut bar = Rectangle::new([(0.0, low), (*value, high)], SERIES[0].filled());
            bar.set_margin(4, 4, 0, 0);
            chart.draw_series([bar])?;
            let style =
                (FONT, SIZE).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
            let at = (*value, SegmentValue::CenterOf(place));
            chart.draw_series([EmptyElement::at(at) + Text::new(text.clone(), (6, 0), style)])?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// The bar at a place from below.
fn name(bars: &[(String, f64, String)], place: i32) -> String {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    bars.iter().rev().nth(place).map(|(name, ..)| name.clone()).unwrap_or_default()
}

/// A number of an axis that ends there.
fn short(value: f64, end: f64) -> String {
    match end {
        ..1.0 => format!("{value:.2}"),
        ..10.0 => format!("{value:.1}"),
        ..100_000.0 => grouped(value.max(0.0).round() as u64),
        ..1e8 => format!("{}k", grouped((value.max(0.0) / 1e3).round() as u64)),
        _ => format!("{}M", grouped((value.max(0.0) / 1e6).round() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_axes_its_names_and_no_colour_but_those_of_the_page() {
        let line = |name, factor: f64| Line {
            name,
            points: (1..10).map(|x| (f64::from(x), f64::from(x) * factor)).collect(),
        };
        let drawn =
            lines("a second", &[line("hits", 1000.0), line("misses", 10.0)], 0.0).expect("an SVG");
        assert!(drawn.contains("\na second\n") && drawn.contains("\nseconds\n"), "{drawn}");
        let bar = |name: &str, value: f64| (name.to_string(), value, format!("{value} x"));
        let barred = bars("calls", &[bar("VALID", 7.0), bar("a<b", 3.0)]).expect("an SVG");
        for text in ["VALID", "a&lt;b", "7 x", "calls"] {
            assert!(barred.contains(&format!("\n{text}\n")), "{text}: {barred}");
        }
        for svg in [drawn, barred] {
            for attribute in ["fill=\"#", "stroke=\"#"] {
                for colour in svg.split(attribute).skip(1).filter_map(|rest| rest.get(..6)) {
                    let colour = format!("#{}", colour.to_lowercase());
                    assert!(COLOURS.iter().any(|(known, _)| *known == colour), "{colour}: {svg}");
                }
            }
        }
        assert!(bars("none", &[]).is_ok() && lines("none", &[], 0.0).is_ok());
    }
}
