//! Measures redis-apikey beside what a user of plain Redis does for the same work.
//!
//! Each row (`rows/`) starts servers of its own on free loopback ports (`server.rs`), fills them with
//! the same made-up API keys (`workload.rs`), runs our command and the alternative in turns, several
//! rounds (`measure.rs`), and gives the median and the spread. Cost is the CPU time of the server's main
//! thread, which holds on a machine that others use too; throughput stands beside it. Every reply is
//! looked at (`pipeline.rs`), so that a benchmark of errors is impossible. `table.rs` prints what came
//! out and writes it for machines; `chart.rs` draws how it grows.
//!
//! What several rows share: the ways to verify a key (`verify/`), usage counters (`counters.rs`), and
//! the sizes that something grows through (`sizes.rs`).
//!
//! It says `ok` or `over` and always exits with 0 when it could measure: it is not a test.

mod args;
mod chart;
mod counters;
mod measure;
mod pinger;
mod pipeline;
mod processors;
mod rows;
mod server;
mod settings;
mod sizes;
mod stolen;
mod table;
mod verify;
mod workload;

use std::process::ExitCode;

use args::Request;
use rows::Run;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("apikey-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let (settings, rows) = match args::parse()? {
        Request::Help => {
            print!("{}", args::help());
            return Ok(());
        }
        Request::Run(settings, rows) => (settings, rows),
    };
    let about = server::describe(&settings)?;
    let (mut lines, mut charts) = (Vec::new(), Vec::new());
    for row in rows {
        eprintln!("{}: {}", row.name, row.about);
        match row.run {
            Run::Lines(measure) => lines.extend(measure(&settings)?),
            Run::Curves(measure) => {
                let (measured, chart) = measure(&settings)?;
                lines.extend(measured);
                charts.push(chart);
            }
        }
    }
    print!("{}", table::text(&about, &lines));
    if let Some(path) = &settings.json {
        table::write_json(path, &about, &settings, &lines, &charts)?;
    }
    match &settings.chart {
        Some(path) if charts.is_empty() => {
            eprintln!("no row that ran has curves: {} is not written", path.display());
        }
        Some(path) => chart::write(path, &about, &charts)?,
        None => {}
    }
    Ok(())
}
