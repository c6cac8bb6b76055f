//! Regions of a cache against what plain Redis does for the same: what reading and storing costs, what an entry takes, how
//! long others wait while very many are killed, and how well a bounded region chooses what it evicts.
//!
//! Values have 1 KB, and two tags: the region's, and one that ten entries share.

mod hits;
mod kills;
mod reads;
mod values;

use anyhow::Result;

use super::row::{Row, Run};
use crate::settings::Settings;
use crate::table::Line;

pub const ROW: Row = Row {
    name: "cache",
    about: "regions: GET, SET, memory, CLEAR, PATINVAL, hit rates of a Zipf trace",
    run: Run::Lines(measure),
};

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let mut lines = reads::measure(settings)?;
    lines.extend(kills::measure(settings)?);
    lines.extend(hits::measure(settings)?);
    Ok(lines)
}
