//! The operator's program of redis-apikey: what stands around the module in production.
//!
//! A subcommand is a file or a folder of its own, on the same few floors: `connect` is the one way to reach servers,
//! `reading` what they say, `deployment` which of them there are, `output` how results are printed. `args.rs` has the
//! command line as a whole.
//!
//! Exit status: 0 all is well, 1 something is wrong, 2 it could not look, or was called wrongly; 130 when interrupted.

mod args;
mod backup;
mod check;
mod connect;
mod deployment;
mod doctor;
mod drain;
mod export;
mod exporter;
mod fill;
mod generate;
mod history;
mod import;
mod interrupt;
mod nodes;
mod output;
mod plan;
mod rdb;
mod reading;
mod report;
mod reset;
mod restore;
mod sample;
mod top;
mod uninstall;
mod warm;
mod watch;

use std::env;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use output::{note, COULD_NOT_LOOK};

fn main() -> ExitCode {
    forget_what_is_empty();
    let cli = Cli::parse();
    // A signal comes to the main thread, which does nothing but wait: it would break off a read that has a timeout.
    let ran = std::thread::scope(|scope| scope.spawn(|| args::run(cli)).join());
    match ran {
        Ok(Ok(verdict)) => verdict.into(),
        // Whoever reads the output has enough of it.
        Ok(Err(error)) if is_broken_pipe(&error) => ExitCode::from(COULD_NOT_LOOK),
        Ok(Err(error)) => {
            note(&format!("{error:#}"));
            ExitCode::from(COULD_NOT_LOOK)
        }
        // It has said so.
        Err(_panic) => ExitCode::from(COULD_NOT_LOOK),
    }
}

/// A variable of its own that is empty is none, as who writes compose files means it.
fn forget_what_is_empty() {
    for (name, value) in env::vars_os() {
        if value.is_empty() && name.to_string_lossy().starts_with("APIKEYCTL_") {
            env::remove_var(name);
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
