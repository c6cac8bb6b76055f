//! What became of the lines, and how it is told.

use std::fmt::Write;
use std::time::Duration;

/// So many bad lines are told one by one.
const SHOWN: u64 = 10;

#[derive(Default)]
pub struct Tally {
    /// Lines that were read, empty ones left out.
    pub lines: u64,
    pub stored: u64,
    /// Keys that had a live record (NX).
    pub there_already: u64,
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
    pub fn summary(&self, took: Duration, refused: u64, why: &str) -> String {
        let seconds = took.as_secs_f64();
        let rate = self.lines as f64 / seconds.max(0.001);
        let mut text = format!("{} lines in {seconds:.1} s, {rate:.0} a second\n", self.lines);
        let mut row = |name: &str, number: u64, note: &str| {
            // Writing to memory can't fail.
            let _ = writeln!(text, "  {name:<14}{number:>12}  {note}").map(|()| {
                text.truncate(text.trim_end().len());
                text.push('\n');
            });
        };
        row("stored", self.stored, "");
        row("there already", self.there_already, "");
        row("refused", refused, if refused > 0 { why } else { "" });
        row("bad", self.bad, "");
        text
    }
}
