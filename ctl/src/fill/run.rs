//! A run from its tokens to its summary.

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::lines::{self, Chunk, Input, Source};
use super::node::Run;
use super::primaries::Primaries;
use super::recipe::Recipe;
use super::tally::Tally;
use crate::connect::Access;
use crate::output::{note, Output, Progress, Verdict};

const INTERRUPTED: i32 = 130;

/// How often it is seen that somebody wants it to end.
const PATIENCE: Duration = Duration::from_millis(100);

static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// What is to be stored, and how.
pub struct Job<'a> {
    /// The subcommand.
    pub name: &'a str,
    pub source: Source,
    pub recipe: &'a dyn Recipe,
    /// Whether the recipe's commands have NX.
    pub if_absent: bool,
    pub unfenced: bool,
}

/// Stores, and says what became of it. An error: it could not begin.
pub fn run(access: &Access, output: &Output, job: &Job) -> Result<Verdict> {
    ctrlc::set_handler(|| {
        // The second time it ends whatever it waits for.
        if INTERRUPT.swap(true, SeqCst) {
            std::process::exit(INTERRUPTED);
        }
    })
    .context("could not take over Ctrl-C")?;
    // The tokens first, then the export: see mod.rs.
    let mut primaries = Primaries::connect(access)?;
    let begun = SystemTime::now();
    let mut input = lines::open(&job.source, job.recipe.longest())?;
    if let (Source::File(path), Some(written)) = (&job.source, input.written) {
        if written < begun && !job.unfenced {
            warn_of_older_file(job.name, path);
        }
    }

    let progress = Progress::of_bytes(input.length);
    let mut tally = Tally::default();
    let outcome = pump(job, &mut primaries, &input, &mut tally, &progress);
    let export = end_export(input.export.take(), outcome.is_ok());
    let took = progress.took();
    say_reports(&mut tally, &progress);
    progress.end();

    let refused = primaries.nodes.iter().map(|node| node.refused).sum();
    let switched_off = match &outcome {
        // Replies may still be open there.
        Err(_) => None,
        Ok(()) if refused == 0 => None,
        Ok(()) => primaries.nodes.iter_mut().find_map(|node| node.is_switched_off()),
    };
    let why = switched_off.unwrap_or(
        "their token was older than apikey.token-ttl-ms, or they were revoked or written since it was taken",
    );
    let mut summary = tally.summary(took.as_secs_f64(), refused, why);
    summary.interrupted = outcome.is_ok() && INTERRUPT.load(SeqCst);
    output.print(&summary)?;
    if summary.interrupted {
        return Ok(Verdict::Interrupted);
    }
    if let Err(error) = outcome.and(export) {
        note(&format!("{error:#}"));
        return Ok(Verdict::Wrong);
    }
    Ok(if tally.bad > 0 { Verdict::Wrong } else { Verdict::Well })
}

fn warn_of_older_file(name: &str, path: &Path) {
    note(&format!(
        "{} was written before the token was taken: a key that was revoked since then is cached as it \
         was, until its TTL is over. `{name} .. -- COMMAND` exports after the token (see --help)",
        path.display()
    ));
}

/// Stores what comes until it ends, or somebody wants it to.
fn pump(
    job: &Job,
    primaries: &mut Primaries,
    input: &Input,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<()> {
    let ttl = match job.unfenced {
        true => None,
        false => primaries.nodes.first_mut().and_then(|node| node.token_ttl()),
    };
    let mut is_old = false;
    let mut number = 0;
    while !INTERRUPT.load(SeqCst) {
        match input.chunks.recv_timeout(PATIENCE) {
            Ok(chunk) => {
                let chunk = chunk.context("could not read the records")?;
                store(job, primaries, &chunk, &mut number, tally)?;
                let rate = tally.lines as f64 / progress.took().as_secs_f64().max(0.001);
                let bad =
                    if tally.bad > 0 { format!(", {} bad", tally.bad) } else { String::new() };
                let message = format!("{} lines, {rate:.0}/s{bad}", tally.lines);
                progress.advance(chunk.read as u64, message);
            }
            // Nothing comes: what became of the latest is told now.
            Err(RecvTimeoutError::Timeout) => finish(primaries, tally)?,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        say_reports(tally, progress);
        let age = primaries.nodes.first().map(|node| node.token_age());
        if let (Some(ttl), Some(age), false) = (ttl, age, is_old) {
            is_old = age > ttl;
            if is_old {
                progress.say(&format!(
                    "the token is older than apikey.token-ttl-ms ({}) now, and refused: CONFIG SET \
                     apikey.token-ttl-ms 600000 lets it hold for longer, at once",
                    ttl.as_millis()
                ));
            }
        }
    }
    finish(primaries, tally)
}

fn store(
    job: &Job,
    primaries: &mut Primaries,
    chunk: &Chunk,
    number: &mut u64,
    tally: &mut Tally,
) -> Result<()> {
    for line in lines::lines(&chunk.bytes) {
        *number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        tally.lines += 1;
        if line.len() > job.recipe.longest() {
            tally.bad(*number, "it is longer than what may be stored");
            continue;
        }
        match job.recipe.read(line) {
            Ok(None) => tally.passed_over += 1,
            Ok(Some(fill)) => {
                let (unfenced, if_absent) = (job.unfenced, job.if_absent);
                let mut run = Run { unfenced, if_absent, tally };
                primaries.of(&fill.key)?.push(fill, *number, &mut run)?;
            }
            Err(why) => tally.bad(*number, &why),
        }
    }
    primaries.nodes.iter_mut().try_for_each(|node| node.send(tally))
}

fn finish(primaries: &mut Primaries, tally: &mut Tally) -> Result<()> {
    primaries.nodes.iter_mut().try_for_each(|node| node.finish(tally))
}

fn say_reports(tally: &mut Tally, progress: &Progress) {
    tally.reports.drain(..).for_each(|report| progress.say(&report));
}

/// Waits for the export, whose rows are not all there where it failed; one that is not wanted any more is
/// ended.
fn end_export(export: Option<Child>, has_ended: bool) -> Result<()> {
    let Some(mut export) = export else { return Ok(()) };
    if !has_ended || INTERRUPT.load(SeqCst) {
        // It may have ended by itself.
        let _ = export.kill();
        export.wait()?;
        return Ok(());
    }
    let status = export.wait()?;
    anyhow::ensure!(status.success(), "the export failed ({status}): rows may be missing");
    Ok(())
}
