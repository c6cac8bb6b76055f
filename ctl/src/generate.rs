//! `generate`: the man pages, and the completions of shells, made of the command line as clap knows it. For who makes
//! a package: hidden, and without a server.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::{aot, Shell};

use crate::output::Verdict;

#[derive(Args)]
pub struct Flags {
    /// The folder that gets man/ and completions/
    #[arg(value_name = "FOLDER")]
    into: PathBuf,
}

pub fn run(mut command: Command, flags: &Flags) -> Result<Verdict> {
    let [man, completions] = ["man", "completions"].map(|name| flags.into.join(name));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        aot::generate_to(shell, &mut command, "apikeyctl", &completions)
            .with_context(|| format!("could not write into {}", completions.display()))?;
    }
    clap_mangen::generate_to(command, &man)
        .with_context(|| format!("could not write into {}", man.display()))?;
    Ok(Verdict::Well)
}
