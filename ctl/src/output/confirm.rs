//! Asking a person before something is done that can't be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{bail, Result};

/// Asks on a terminal; elsewhere `--yes` has to be given. False: do nothing.
pub fn confirm(question: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        bail!("{question} Nobody is there to be asked: say --yes");
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
