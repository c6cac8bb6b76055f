//! What was handed over, in numbers.

use serde::Serialize;

use super::batch::Batch;
use crate::output::{grouped, Report, Style};

#[derive(Default, Serialize)]
pub struct Tally {
    /// That were written and acknowledged.
    pub batches: u64,
    pub lines: u64,
    /// Lines that were not there yet; the others were written before, and not acknowledged.
    pub new_lines: u64,
    /// Of all of these lines.
    pub uses: i64,
    /// Lines that were not taken, and stay where they were.
    pub refused_lines: usize,
}

impl Tally {
    pub fn add(&mut self, batch: &Batch, new: u64) {
        self.batches += 1;
        self.lines += batch.lines.len() as u64;
        self.new_lines += new;
        let uses = batch.lines.iter().fold(0i64, |sum, line| sum.saturating_add(line.count));
        self.uses = self.uses.saturating_add(uses);
    }
}

impl Report for Tally {
    fn text(&self, style: Style) -> String {
        let mut text = format!(
            "uses: {}, lines: {} ({} new), batches: {}\n",
            grouped(u64::try_from(self.uses).unwrap_or(0)),
            grouped(self.lines),
            grouped(self.new_lines),
            grouped(self.batches),
        );
        if self.refused_lines > 0 {
            let told = format!("lines that were not taken: {}", self.refused_lines);
            text.push_str(&format!("{}\n", style.bad(told)));
        }
        text
    }
}
