//! Reads the imports of every crate of the workspace, and fails on one that runs back up.
//!
//! `floors.txt` in the root says from the bottom up where each file stands (`order.rs`). Cargo tells
//! which crates there are and what they depend on (`packages.rs`). From a crate's root its modules
//! are followed to their files (`modules.rs`), all but what only tests compile (`conditional.rs`), and
//! of each file every path is read that leads to another (`imports.rs`). `rules.rs` compares.
//!
//! Not seen: macros that are in scope by `#[macro_use]`, modules that a macro declares, paths that a
//! macro puts together or that stand in strings, and what a glob brings in (the glob itself is seen).
//!
//! Exit status: 0, 1 where something does not hold or could not be read, 2 for a wrong call.

mod conditional;
mod imports;
mod list;
mod modules;
mod order;
mod packages;
mod rules;

use std::process::ExitCode;

use anyhow::Result;

const HELP: &str = "\
usage: cargo run -p apikey-floors [-- --list]

Checks that every file of the workspace imports only files on lower floors, as floors.txt has them.

  --list   print each crate's floors, its files with their lines, and its longest file
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.join(" ").as_str() {
        "" => check(),
        "--list" => list(),
        "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("floors: unknown arguments\n{HELP}");
            Ok(ExitCode::from(2))
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("floors: {error:#}");
        ExitCode::FAILURE
    })
}

fn check() -> Result<ExitCode> {
    let (workspace, order) = read()?;
    let faults = rules::faults(&workspace, &order);
    for fault in &faults {
        println!("{fault}");
    }
    if !faults.is_empty() {
        println!("{} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" });
        return Ok(ExitCode::FAILURE);
    }
    println!("{}: every import leads down", list::counts(&workspace, &order));
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<ExitCode> {
    let (workspace, order) = read()?;
    print!("{}", list::text(&workspace, &order));
    Ok(ExitCode::SUCCESS)
}

fn read() -> Result<(Vec<modules::Crate>, order::Order)> {
    let (root, packages) = packages::read()?;
    let order = order::read(&root.join(order::FILE))?;
    let crates = packages.into_iter().map(|package| modules::read(&root, package));
    Ok((crates.collect::<Result<_>>()?, order))
}
