//! `reset`: empties the cache alone, and never a count; or switches it off and on.
//!
//! `entries.rs` kills what is cached, `switch.rs` is `apikey.enabled`. Both ask first.

mod entries;
mod switch;

pub use entries::{empty, Emptied};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::connect::Access;
use crate::output::{Output, Verdict};

#[derive(Args)]
pub struct Flags {
    /// Do not empty it: have applications ask their database alone (apikey.enabled no on every node), or no longer
    #[arg(long, value_name = "on|off")]
    database_only: Option<Switch>,

    /// Do not ask first
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    match flags.database_only {
        None => entries::run(access, output, flags.yes),
        Some(switch) => switch::run(access, output, switch == Switch::Off, flags.yes),
    }
}
