//! What came out: a table for people, JSON for machines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{json, Value};

use crate::chart::Chart;
use crate::measure::{Rounds, Stat};
use crate::server::About;
use crate::settings::Settings;

/// One side of a line: what was done and what it took.
pub struct Figure {
    pub what: String,
    pub value: Stat,
    pub per_second: Option<f64>,
}

/// How ours is judged against the alternative.
#[derive(Clone, Copy, PartialEq)]
pub enum Judged {
    /// Ours over the alternative's.
    Ratio,
    /// Ours less the alternative's, in the line's unit.
    Difference,
    /// Ours by itself, in the line's unit: the alternative stands beside it.
    Ours,
}

/// One line of the table.
pub struct Line {
    pub row: &'static str,
    /// The unit of both figures, as in "us CPU".
    pub unit: &'static str,
    pub ours: Figure,
    pub alternative: Figure,
    pub judged: Judged,
    pub result: Stat,
    /// The most that the result's median may be; none for a line that is there to compare with.
    pub goal: Option<f64>,
}

impl Line {
    /// A line of CPU time per call, out of rounds, with the most that the ratio may be.
    pub fn cpu(
        row: &'static str,
        ours: String,
        alternative: String,
        rounds: &Rounds,
        goal: f64,
    ) -> Line {
        Line { goal: Some(goal), ..Line::beside(row, ours, alternative, rounds) }
    }

    /// The same to compare with, without a goal.
    pub fn beside(row: &'static str, ours: String, alternative: String, rounds: &Rounds) -> Line {
        let (ours_rate, alternative_rate) = rounds.per_second();
        Line {
            row,
            unit: "us CPU",
            ours: Figure { what: ours, value: rounds.ours(), per_second: Some(ours_rate) },
            alternative: Figure {
                what: alternative,
                value: rounds.alternative(),
                per_second: Some(alternative_rate),
            },
            judged: Judged::Ratio,
            result: rounds.ratio(),
            goal: None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.goal {
            None => "",
            Some(goal) if self.result.median <= goal => "ok",
            Some(_) => "over",
        }
    }

    fn cells(&self) -> [String; 8] {
        let (result, spread, goal) = match self.judged {
            Judged::Ratio => (
                format!("{:.2}x", self.result.median),
                format!("{:.2}..{:.2}", self.result.least, self.result.most),
                self.goal.map(|goal| format!("<= {goal:.2}x")),
            ),
            Judged::Difference => (
                format!("{:+.1}", self.result.median),
                format!("{:+.1}..{:+.1}", self.result.least, self.result.most),
                self.goal.map(|goal| format!("<= {goal:+.1}")),
            ),
            Judged::Ours => (
                number(self.result.median),
                format!("{}..{}", number(self.result.least), number(self.result.most)),
                self.goal.map(|goal| format!("<= {}", number(goal))),
            ),
        };
        let spread = if self.result.least == self.result.most { "-".into() } else { spread };
        [
            self.row.into(),
            format!("{} | {}", self.ours.what, self.alternative.what),
            figure(&self.ours, self.unit),
            figure(&self.alternative, self.unit),
            result,
            spread,
            goal.unwrap_or("-".into()),
            self.verdict().into(),
        ]
    }

    fn json(&self) -> Value {
        let side = |figure: &Figure| {
            json!({
                "what": figure.what,
                "median": figure.value.median,
                "least": figure.value.least,
                "most": figure.value.most,
                "per_second": figure.per_second,
            })
        };
        json!({
            "row": self.row,
            "unit": self.unit,
            "ours": side(&self.ours),
            "alternative": side(&self.alternative),
            "judged": match self.judged {
                Judged::Ratio => "ratio",
                Judged::Difference => "difference",
                Judged::Ours => "ours",
            },
            "result": {
                "median": self.result.median,
                "least": self.result.least,
                "most": self.result.most,
            },
            "goal": self.goal,
            "verdict": self.verdict(),
        })
    }
}

fn figure(figure: &Figure, unit: &str) -> String {
    let value = number(figure.value.median);
    match figure.per_second {
        Some(rate) => format!("{value} {unit}, {:.0}k/s", rate / 1e3),
        None => format!("{value} {unit}"),
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The table, with what it was measured on above it.
pub fn text(about: &About, lines: &[Line]) -> String {
    const HEAD: [&str; 8] =
        ["row", "ours | alternative", "ours", "alternative", "result", "spread", "goal", ""];
    let mut cells = vec![HEAD.map(String::from)];
    cells.extend(lines.iter().map(Line::cells));
    let mut widths = [0; 8];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = format!("{}, {}\n\n", about.server, about.machine);
    for row in &cells {
        let padded: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The same for machines, every figure in full.
pub fn write_json(
    path: &Path,
    about: &About,
    settings: &Settings,
    lines: &[Line],
    charts: &[Chart],
) -> Result<()> {
    let all = json!({
        "server": about.server,
        "machine": about.machine,
        "rounds": settings.rounds,
        "entries": settings.entries,
        "lines": lines.iter().map(Line::json).collect::<Vec<_>>(),
        "charts": charts.iter().map(Chart::json).collect::<Vec<_>>(),
    });
    fs::write(path, format!("{all:#}\n")).with_context(|| path.display().to_string())
}
