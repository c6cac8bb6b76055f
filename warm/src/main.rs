//! Fills the cache from an export of the database: one JSON object a line becomes one SETVAL.
//!
//! The order is what makes it safe. Each primary gives a token (`node.rs`), then the export begins
//! (`lines.rs`), then its rows are stored under the tokens: a row that was revoked or changed after its
//! primary gave the token is refused by the server, however old the export's snapshot is.
//!
//! A line is read and turned into a command (`recipe.rs`, with `pattern.rs` and `row.rs`), goes into the
//! pipeline of the primary that has the key's slot (`cluster.rs`), and what became of it is counted
//! (`tally.rs`). A bad line is reported and stops nothing. Nothing is kept between runs: it can be
//! interrupted and started again, since storing a record twice is storing it.
//!
//! Exit status: 0, 1 where a line was bad or the run failed, 2 for a wrong call, 130 when interrupted.

mod args;
mod cluster;
mod lines;
mod node;
mod pattern;
mod progress;
mod recipe;
mod row;
mod run;
mod tally;

use std::process::ExitCode;

use args::Request;

fn main() -> ExitCode {
    let settings = match args::parse() {
        Ok(Request::Run(settings)) => settings,
        Ok(Request::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("warm: {error:#} (see --help)");
            return ExitCode::from(2);
        }
    };
    // A signal comes to the main thread, which does nothing but wait: it would break off a read that has a timeout.
    let ran = std::thread::scope(|scope| scope.spawn(|| run::run(&settings)).join());
    match ran {
        Ok(Ok(status)) => ExitCode::from(status),
        Ok(Err(error)) => {
            eprintln!("warm: {error:#}");
            ExitCode::FAILURE
        }
        // It has said so.
        Err(_panic) => ExitCode::FAILURE,
    }
}
