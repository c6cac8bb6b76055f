//! The command line as a whole: which subcommands there are, and what all of them take.

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::connect::{Access, ConnectFlags};
use crate::output::{Output, Verdict};
use crate::{
    backup, check, doctor, drain, export, exporter, generate, import, nodes, plan, report, reset,
    restore, top, uninstall, warm,
};

/// The operator's program of redis-apikey.
///
/// Exit status: 0 all is well, 1 something is wrong, 2 it could not look, or was called wrongly.
#[derive(Parser)]
#[command(name = "apikeyctl", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    connect: ConnectFlags,

    /// Results as JSON, one value a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Which servers there are, and how each fares
    Nodes,
    /// Look for what is wrong with a deployment, or will be, and say what to do
    Doctor(doctor::Flags),
    /// All nodes at a glance, again and again: rates, hit rate, memory, usage, slowest commands
    Top(top::Flags),
    /// Answer Prometheus over HTTP with the figures of all nodes, until SIGTERM
    Exporter(exporter::Flags),
    /// How the cache fared in a period against what one aims at, as Markdown, JSON or a page with charts
    Report(report::Flags),
    /// What more keys will take, when that is more than there is, and when to shard
    Plan(plan::Flags),
    /// Compare the keys of every node and database with the module's index
    Check(check::Flags),
    /// Take an RDB of each primary, proved, with a manifest
    Backup(backup::Flags),
    /// Bring counts and other keys of a backup back, and none that the database has already
    Restore(restore::Flags),
    /// Empty the cache, and never a count; or switch it off and on
    Reset(reset::Flags),
    /// Write what is cached, one JSON object a line, without digests unless they are asked for
    Export(export::Flags),
    /// Hand usage counts over to PostgreSQL, or as lines of JSON: each use once, whatever dies meanwhile
    Drain(drain::Flags),
    /// Store the records of an export again
    Import(import::Flags),
    /// Take everything of the module from all nodes and their disks, so that they start without it
    Uninstall(uninstall::Flags),
    /// Fill the cache from an export of the database: one JSON object a line becomes a record
    Warm(warm::Flags),
    /// Write man pages and completions
    #[command(hide = true)]
    Generate(generate::Flags),
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<Verdict> {
    let access = Access::new(&cli.connect)?;
    let output = Output::new(cli.json);
    match cli.command {
        Command::Nodes => nodes::run(&access, &output),
        Command::Doctor(flags) => doctor::run(&access, &output, &flags),
        Command::Top(flags) => top::run(&access, &output, &flags),
        Command::Exporter(flags) => exporter::run(&access, &output, &flags),
        Command::Report(flags) => report::run(&access, &output, &flags),
        Command::Plan(flags) => plan::run(&access, &output, &flags),
        Command::Check(flags) => check::run(&access, &output, &flags),
        Command::Backup(flags) => backup::run(&access, &output, &flags),
        Command::Restore(flags) => restore::run(&access, &output, &flags),
        Command::Reset(flags) => reset::run(&access, &output, &flags),
        Command::Export(flags) => export::run(&access, &flags),
        Command::Drain(flags) => drain::run(&access, &output, &flags),
        Command::Import(flags) => import::run(&access, &output, flags),
        Command::Uninstall(flags) => uninstall::run(&access, &output, &flags),
        Command::Warm(flags) => warm::run(&access, &output, flags),
        Command::Generate(flags) => {
            generate::run(Cli::command().disable_help_subcommand(true), &flags)
        }
    }
}
