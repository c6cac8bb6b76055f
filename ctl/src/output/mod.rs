//! What a run prints: for a person, or as JSON for a program.
//!
//! **What always holds.** The standard output has the result and nothing else, and with `--json` one JSON value a
//! line; notes, progress, questions and errors go to the standard error. Colour and bars are for terminals.

pub mod confirm;
pub mod note;
pub mod progress;
pub mod standing;
pub mod style;
pub mod table;
pub mod verdict;

pub use confirm::confirm;
pub use note::note;
pub use progress::Progress;
pub use standing::Standing;
pub use style::Style;
pub use table::{grouped, Cell, Table};
pub use verdict::{Verdict, COULD_NOT_LOOK};

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// A result that can be printed both ways.
pub trait Report: Serialize {
    /// For a person: whole lines.
    fn text(&self, style: Style) -> String;
}

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    style: Style,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json, style: Style::of_stdout() }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn print(&self, report: &impl Report) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string(report)? + "\n",
            false => report.text(self.style),
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }
}
