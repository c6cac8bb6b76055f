//! `restore`: what a backup has into servers that run: counters, and keys that are not the module's.
//!
//! Keys are stored by RESTORE, at the primary that has their slot: so it works where the AOF is on (which a server
//! reads at its start, and not the RDB), in a cluster of another size, and replicas hear of it. Entries are passed over:
//! a restored one is dead by design, as what was revoked since may be among them. What becomes of counts stands in
//! `counts.rs`.
//!
//! **What always holds.** Before the first key is stored each file was proved and read to its end, and each counter
//! was decided on. A key that is there stays as it is: so to start again after a failure does no harm, and no counter
//! that counts is touched.

mod counts;
mod source;
mod target;
mod written;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{bail, ensure, Context, Result};
use clap::Args;
use serde::Serialize;

use crate::connect::{Access, Way};
use crate::deployment::Deployment;
use crate::output::{confirm, grouped, note, Output, Progress, Report, Style, Verdict};
use crate::rdb::{payload, Contents, Item, Kind};

use counts::{Choice, Counts};
use source::Source;
use target::{Target, Weight};
use written::Written;

const MORE: &str = "\
Stop the consumers of usage first, and let applications in when it has ended: a key that is there stays as it is.

What of a backup's counts the database has by now, it can't know. In the order in which to prefer them:

    --written FILE     the database says it of each counter, and none is lost or doubled
    --counts settled   it has all of them
    --counts open      nothing was written since the backup was taken
    --counts drop      begin anew

Exit status: 0; 1 where keys were there already, or it ended early; 2 for a wrong call, and where it could not begin.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// A backup, as backup has named it; or an RDB alone
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,

    /// What becomes of counts
    #[arg(long, value_name = "CHOICE", value_enum, conflicts_with = "written")]
    counts: Option<Choice>,

    /// What the database has of each counter: {"key": "apikey:{k}:usage", "total": 300} a line
    #[arg(long, value_name = "FILE")]
    written: Option<PathBuf>,

    /// Prove the backup and say what it has, and ask no server
    #[arg(long, conflicts_with_all = ["counts", "written", "yes"])]
    verify: bool,

    /// Do not ask first
    #[arg(long)]
    yes: bool,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let source = Source::open(&flags.backup)?;
    for file in source.files.iter().filter(|file| !file.has_checksum) {
        note(&format!("{} has no checksum of its server's (rdbchecksum no)", file.path.display()));
    }
    let contents = source.contents();
    if flags.verify {
        output.print(&Verified { source, contents })?;
        return Ok(Verdict::Well);
    }
    let counts = counts(flags, &contents)?;
    let plan = plan(access, &source, &counts)?;
    let deployment = Deployment::look(access)?;
    let primaries = deployment.all_primaries()?;
    for node in &primaries {
        ensure!(
            node.facts().is_some_and(|facts| facts.module.is_some()),
            "{} has no module redis-apikey: start it with --loadmodule libapikey.so",
            node.address()
        );
    }
    let mut target = Target::connect(&primaries)?;
    let addresses: Vec<String> = primaries.iter().map(|node| node.address().to_string()).collect();
    let question = format!(
        "Restore {} counters with {} uses pending and {} leased, and {} other keys, into {}?",
        grouped(plan.counters),
        plan.pending,
        plan.leased,
        grouped(plan.other_keys),
        addresses.join(", ")
    );
    if !confirm(&question, flags.yes)? {
        note("nothing was changed");
        return Ok(Verdict::Wrong);
    }
    let progress = Progress::of(Some(plan.counters + plan.other_keys));
    let mut expired = 0;
    let ended = each(&source, &counts, |item, restored| {
        let Some((payload, weight)) = restored else {
            expired += 1;
            return Ok(());
        };
        progress.advance(1, "keys".into());
        target.put(item, &payload, weight).map_err(|why| io::Error::other(format!("{why:#}")))
    });
    let ended = ended.and_then(|()| target.end());
    progress.end();
    let Weight { counters, pending, leased, other_keys } = target.stored;
    let restored = Restored {
        counters,
        pending,
        leased,
        other_keys,
        there_already: target.there_already,
        expired,
        entries_passed_over: contents.entries,
        functions_passed_over: contents.functions,
        replicas_behind: *ended.as_ref().unwrap_or(&0),
        undone: ended.err().map(|why| format!("{why:#}")),
    };
    output.print(&restored)?;
    let is_done =
        restored.undone.is_none() && restored.there_already == 0 && restored.replicas_behind == 0;
    Ok(if is_done { Verdict::Well } else { Verdict::Wrong })
}

/// What becomes of counts, which has to be said where some are open.
fn counts(flags: &Flags, contents: &Contents) -> Result<Counts> {
    match (&flags.written, flags.counts) {
        (Some(file), _) => Ok(Counts::Written(Written::read(file)?)),
        (None, Some(choice)) => Ok(Counts::Said(choice)),
        (None, None) if contents.pending == 0 && contents.leased == 0 => {
            Ok(Counts::Said(Choice::Settled))
        }
        (None, None) => bail!(
            "{} has {} uses pending and {} leased, and the database may have them by now. Say --written FILE where it \
             can tell what it has, --counts settled where it has all, open where nothing was written since, or drop",
            flags.backup.display(),
            contents.pending,
            contents.leased
        ),
    }
}

/// Goes over what is restored: the key, and what is stored there; none where its time is over. An error changes
/// nothing before the whole was gone over once.
fn each(
    source: &Source,
    counts: &Counts,
    mut one: impl FnMut(&Item, Option<(Vec<u8>, Weight)>) -> io::Result<()>,
) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    source.each(|item, kind| {
        let is_over = item.expires.is_some_and(|expires| expires <= now);
        match kind {
            Kind::Entry => Ok(()),
            _ if is_over => one(item, None),
            Kind::Other => {
                let weight = Weight { other_keys: 1, ..Weight::default() };
                one(item, Some((payload::of_item(item), weight)))
            }
            Kind::Usage(counter, leases, account) => {
                let Some(module) = &item.module else { return Ok(()) };
                let Some(restored) = counts.restored(item, counter, leases)? else { return Ok(()) };
                let weight = Weight {
                    counters: 1,
                    pending: restored.counter.pending(),
                    leased: restored.leases.count(),
                    ..Weight::default()
                };
                one(item, Some((restored.payload(module.id, account, now), weight)))
            }
        }
    })
}

/// What would be stored.
fn plan(access: &Access, source: &Source, counts: &Counts) -> Result<Weight> {
    let is_cluster = matches!(access.way(), Way::Cluster { .. });
    let mut plan = Weight::default();
    let mut beyond = None;
    each(source, counts, |item, restored| {
        if is_cluster && item.database != 0 {
            beyond = Some(item.database);
        }
        if let Some((_, weight)) = restored {
            plan.add(&weight);
        }
        Ok(())
    })
    .context("nothing was changed")?;
    match beyond {
        Some(database) => bail!("it has keys of database {database}, and a cluster has 0 alone"),
        None => Ok(plan),
    }
}

#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    source: Source,
    contents: Contents,
}

impl Report for Verified {
    fn text(&self, _: Style) -> String {
        let Contents { counters, pending, leased, entries, other_keys, .. } = &self.contents;
        let taken_at = self.source.taken_at.as_ref();
        let taken_at = taken_at.map(|at| format!(", taken at {at}")).unwrap_or_default();
        format!(
            "{} is whole{taken_at}: {} counters with {pending} uses pending and {leased} leased, {} entries, {} other keys\n",
            self.source.path.display(),
            grouped(*counters),
            grouped(*entries),
            grouped(*other_keys)
        )
    }
}

#[derive(Serialize)]
struct Restored {
    counters: u64,
    pending: i64,
    leased: i64,
    other_keys: u64,
    /// Keys that were there, and are as they were.
    there_already: u64,
    /// Keys whose time is over.
    expired: u64,
    entries_passed_over: u64,
    functions_passed_over: u64,
    /// Replicas that have not said within five seconds that they have it, of all primaries.
    replicas_behind: u64,
    /// Why it ended early.
    undone: Option<String>,
}

impl Report for Restored {
    fn text(&self, style: Style) -> String {
        let mut text = format!(
            "restored: {} counters with {} uses pending and {} leased, {} other keys\n",
            grouped(self.counters),
            self.pending,
            self.leased,
            grouped(self.other_keys)
        );
        let mut told = |number: u64, what: &str| {
            if number > 0 {
                text.push_str(&format!("{} {what}\n", grouped(number)));
            }
        };
        told(self.entries_passed_over, "entries were passed over: they fill as they are asked for");
        told(self.expired, "keys have expired");
        told(self.functions_passed_over, "libraries of functions are not restored: FUNCTION LOAD");
        told(self.there_already, "keys were there already, and stay as they are");
        told(
            self.replicas_behind,
            "replicas have not said that they have it: should one be promoted now, start again",
        );
        if let Some(why) = &self.undone {
            text.push_str(&format!(
                "{} {why}\nWhat is restored stays: start it again when that is mended\n",
                style.bad("not done:")
            ));
        }
        text
    }
}
