//! `top`: all nodes at a glance, again and again, with keys as htop has them; or as samples for programs.
//!
//! `poll.rs` asks, `sample.rs` and `regions.rs` make rates of it, `view.rs` is what was chosen, `keys.rs` which key does what, `draw.rs`
//! what is seen, `screen.rs` the terminal; `batch.rs` prints. `columns.rs` and `figures.rs` serve both.

mod batch;
mod columns;
mod draw;
mod figures;
mod keys;
mod poll;
mod regions;
mod sample;
mod screen;
mod view;

use std::io::{stdin, stdout, IsTerminal};
use std::time::Duration;

use anyhow::{ensure, Result};
use clap::Args;

use crate::connect::{Access, Way};
use crate::output::{Output, Verdict};
use crate::watch::Watch;

const MORE: &str = "\
F1 shows the keys; q quits. Rates are a second's, of the time between two looks; so the first of --batch comes after one.

With --batch or --json it ends with 1 where a node of the last sample is unhealthy, with 2 where one is away.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// How often the servers are asked
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    every: f64,

    /// Print samples, one after the other, for pipes and files; --json does so too
    #[arg(long, short)]
    batch: bool,

    /// So many samples, and then end; else until a signal
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    ensure!((0.1..=3600.0).contains(&flags.every), "--every must be seconds between 0.1 and 3600");
    let every = Duration::from_secs_f64(flags.every);
    let watch = Watch::silent(access.clone());
    if flags.batch || output.is_json() {
        return batch::run(watch, output, every, flags.samples);
    }
    ensure!(flags.samples.is_none(), "--samples is for --batch and --json: say one of them");
    ensure!(
        stdin().is_terminal() && stdout().is_terminal(),
        "this is no terminal: say --batch or --json for samples"
    );
    screen::run(watch, every, &name(access))
}

/// Whose nodes these are.
fn name(access: &Access) -> String {
    match access.way() {
        Way::Server { seed, .. } => seed.to_string(),
        Way::Cluster { seed } => format!("cluster of {seed}"),
        Way::Sentinel { name, .. } => name.clone(),
    }
}
