//! What a row is.

use anyhow::Result;

use crate::chart::Chart;
use crate::settings::Settings;
use crate::table::Line;

/// One thing that is measured.
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub run: Run,
}

/// How a row is measured.
pub enum Run {
    Lines(fn(&Settings) -> Result<Vec<Line>>),
    /// With curves that show how it grows.
    Curves(fn(&Settings) -> Result<Charted>),
}

pub type Charted = (Vec<Line>, Chart);
