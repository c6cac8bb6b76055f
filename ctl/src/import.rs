//! `import`: stores the records of an export again, under tokens, as `warm` does with a table's rows.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::connect::Access;
use crate::export::line::Line;
use crate::fill::{self, Fill, Job, Recipe, Source};
use crate::output::{Output, Verdict};

const MORE: &str = "\
An export is as old as it is: A KEY THAT WAS REVOKED SINCE IT WAS WRITTEN IS CACHED AS IT WAS, until the time at which
its entry would have expired. So import right away, from a command that is started once this server has given its tokens:

    apikeyctl import --url redis://new -- apikeyctl export --url redis://old --digests

and invalidate at both until applications have moved. Records alone are stored: absent keys, decisions and lists
fill as they are asked for. Without --digests in the export records have none, and are UNVERIFIED.

Exit status: 0; 1 where a line was bad or it ended early; 2 for a wrong call, and where it could not begin; 130 when
interrupted.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// What export wrote; - is the standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// A command that exports: it is started once the tokens are there
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Leave keys alone that have a live record
    #[arg(long)]
    if_absent: bool,
}

pub fn run(access: &Access, output: &Output, flags: Flags) -> Result<Verdict> {
    let Flags { file, command, if_absent } = flags;
    let source = Source::new(file, command)?;
    let recipe = OfEntries { if_absent };
    fill::run(
        access,
        output,
        &Job { name: "import", source, recipe: &recipe, if_absent, unfenced: false },
    )
}

struct OfEntries {
    if_absent: bool,
}

impl Recipe for OfEntries {
    fn read(&self, line: &[u8]) -> Result<Option<Fill>, String> {
        // Not the library's own words: they may quote the record.
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| format!("it is no line of an export (column {})", error.column()))?;
        if line.kind != "record" {
            return Ok(None);
        }
        let record = line.record.ok_or("it has no record")?;
        let mut command = redis::cmd("APIKEY.SETVAL");
        command.arg(&line.key).arg(record.get());
        if let Some(expires) = line.expires {
            command.arg("PXAT").arg(expires);
        }
        for digest in &line.digests {
            command.arg("DIGEST").arg(&digest.digest);
            if let Some(until) = digest.until {
                command.arg("UNTIL").arg(until);
            }
        }
        if !line.namespace.is_empty() {
            command.arg("NS").arg(&line.namespace);
        }
        if !line.tags.is_empty() {
            command.arg("TAGS").arg(line.tags.len()).arg(&line.tags);
        }
        if self.if_absent {
            command.arg("NX");
        }
        Ok(Some(Fill { key: line.key.into_bytes(), command }))
    }
}
