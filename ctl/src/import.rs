//! `import`: stores the records and the values of regions of an export again, under tokens, as `warm` does with a table's
//! rows.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use redis::Cmd;

use crate::connect::Access;
use crate::export::line::Line;
use crate::fill::{self, Fill, Job, Recipe, Source, LONGEST_OF_REGIONS};
use crate::output::{Output, Verdict};

const MORE: &str = "\
An export is as old as it is: A KEY THAT WAS REVOKED SINCE IT WAS WRITTEN IS CACHED AS IT WAS, until the time at which
its entry would have expired. So import right away, from a command that is started once this server has given its tokens:

    apikeyctl import --url redis://new -- apikeyctl export --url redis://old --digests

and invalidate at both until applications have moved. Records and values of regions are stored: absent keys, decisions
and lists fill as they are asked for. Without --digests in the export records have none, and are UNVERIFIED.

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

    /// Leave keys alone that have a live record, or a value of the same region
    #[arg(long)]
    if_absent: bool,

    /// Store what is of this region, and no more; may be given again
    #[arg(long, value_name = "REGION")]
    region: Vec<String>,

    /// The regions' namespace
    #[arg(long, value_name = "NAMESPACE", requires = "region")]
    ns: Option<String>,
}

pub fn run(access: &Access, output: &Output, flags: Flags) -> Result<Verdict> {
    let Flags { file, command, if_absent, region, ns } = flags;
    let source = Source::new(file, command)?;
    let recipe = OfEntries { if_absent, regions: region, namespace: ns.unwrap_or_default() };
    fill::run(
        access,
        output,
        &Job { name: "import", source, recipe: &recipe, if_absent, unfenced: false },
    )
}

struct OfEntries {
    if_absent: bool,
    /// Empty: records, and values of all regions.
    regions: Vec<String>,
    namespace: String,
}

impl Recipe for OfEntries {
    fn read(&self, line: &[u8]) -> Result<Option<Fill>, String> {
        // Not the library's own words: they may quote the record.
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| format!("it is no line of an export (column {})", error.column()))?;
        match line.kind.as_str() {
            "record" if self.regions.is_empty() => self.record(line).map(Some),
            "cache" => self.cached(line),
            _ => Ok(None),
        }
    }

    fn longest(&self) -> usize {
        LONGEST_OF_REGIONS
    }
}

impl OfEntries {
    fn record(&self, line: Line) -> Result<Fill, String> {
        let record = line.record.as_ref().ok_or("it has no record")?;
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
        Ok(self.finish(line, command))
    }

    /// None where it is of another region, or the knowledge that there is nothing.
    fn cached(&self, line: Line) -> Result<Option<Fill>, String> {
        let cached = line.cached.as_ref().ok_or("it has no region")?;
        let is_wanted = self.regions.is_empty()
            || self.regions.contains(&cached.region) && self.namespace == line.namespace;
        if !is_wanted {
            return Ok(None);
        }
        let Some(value) = cached.bytes()? else { return Ok(None) };
        let mut command = redis::cmd("CACHE.SET");
        command.arg(&line.key).arg(&cached.region).arg(&*value);
        if let Some(expires) = line.expires {
            // Until when it is fresh, which may be over.
            command.arg("PXAT").arg(expires.saturating_sub(cached.grace).max(1));
            command.arg("GRACE").arg(cached.grace);
        }
        if let Some(label) = &cached.label {
            command.arg("LABEL").arg(label);
        }
        Ok(Some(self.finish(line, command)))
    }

    fn finish(&self, line: Line, mut command: Cmd) -> Fill {
        if !line.namespace.is_empty() {
            command.arg("NS").arg(&line.namespace);
        }
        if !line.tags.is_empty() {
            command.arg("TAGS").arg(line.tags.len()).arg(&line.tags);
        }
        if self.if_absent {
            command.arg("NX");
        }
        Fill { key: line.key.into_bytes(), command }
    }
}
