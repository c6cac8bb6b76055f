//! What became of the lines, and how it is told.

use std::fmt::Write;

use serde::Serialize;

use crate::output::{Report, Style};

/// So many bad lines are told one by one.
const SHOWN: u64 = 10;

#[derive(Default)]
pub struct Tally {
    /// Lines that were read, empty ones left out.
    pub lines: u64,
    pub stored: u64,
    /// Keys that had a live record (NX).
    pub there_already: u64,
    /// Lines of a kind that is not stored.
    pub passed_over: u64,
    pub bad: u64,
    /// What is to be said of bad lines.
    pub reports: Vec<String>,
}

impl Tally {
    pub fn bad(&mut self, line: u64, why: &str) {
        self.bad += 1;
        match self.bad {
            1..=SHOWN => self.reports.push(format!("line {line}: {why}")),
            n if n == SHOWN + 1 => {
                self.reports.push("more bad lines are counted and not shown".into())
            }
            _ => {}
        }
    }

    /// The summary; `refused` is how many fills the server refused, and why.
    pub fn summary(&self, seconds: f64, refused: u64, why: &str) -> Summary {
        Summary {
            lines: self.lines,
            stored: self.stored,
            there_already: self.there_already,
            refused,
            refused_because: (refused > 0).then(|| why.to_string()),
            passed_over: self.passed_over,
            bad: self.bad,
            seconds,
            interrupted: false,
        }
    }
}

/// What became of a run.
#[derive(Serialize)]
pub struct Summary {
    pub lines: u64,
    pub stored: u64,
    pub there_already: u64,
    pub refused: u64,
    pub refused_because: Option<String>,
    pub passed_over: u64,
    pub bad: u64,
    pub seconds: f64,
    pub interrupted: bool,
}

impl Report for Summary {
    fn text(&self, style: Style) -> String {
        let rate = self.lines as f64 / self.seconds.max(0.001);
        let mut text =
            format!("{} lines in {:.1} s, {rate:.0} a second\n", self.lines, self.seconds);
        let mut row = |name: &str, number: u64, note: &str| {
            // Writing to memory can't fail.
            let _ = writeln!(text, "  {name:<14}{number:>12}  {note}").map(|()| {
                text.truncate(text.trim_end().len());
                text.push('\n');
            });
        };
        row("stored", self.stored, "");
        row("there already", self.there_already, "");
        row("refused", self.refused, self.refused_because.as_deref().unwrap_or_default());
        if self.passed_over > 0 {
            row(
                "passed over",
                self.passed_over,
                "not to be stored: they fill as they are asked for",
            );
        }
        row("bad", self.bad, "");
        if self.interrupted {
            text.push_str(
                &style
                    .warn("interrupted: what was stored stays; start it again, with a new export"),
            );
            text.push('\n');
        }
        text
    }
}
