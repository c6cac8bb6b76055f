//! Killing all that is cached: records, absent keys, decisions, lists and values of regions, in each database, under
//! each namespace.
//!
//! The tags of a kind kill all entries of it that were stored without NS, in constant time. Nobody knows which
//! namespaces there are, so the keys of the module's types are walked over, and the tags of each that is still alive
//! say its namespace, which is then killed the same way; or its region, which is a tag. What lives on even so, and was there before, an index that is
//! broken has lost: it is removed by its name. A counter is never touched: it carries no tag.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use redis::{Cmd, Value};
use serde::Serialize;

use crate::connect::{Access, Link};
use crate::deployment::{Away, Deployment, Node};
use crate::output::{
    confirm, grouped, note, Cell, Output, Progress, Report, Style, Table, Verdict,
};
use crate::reading::{keys, replicas, reply, Health};

/// The tags of the kinds, without namespace.
const KINDS: [&str; 4] =
    ["apikey:kind:record", "apikey:kind:absent", "apikey:kind:scopes", "apikey:kind:list"];

/// The first tag of a value of a region's, behind its namespace.
const REGION: &[u8] = b"cache:region:";

/// The most tags of one call.
const TAGS: usize = 500;

/// How much less than it is DESCRIBE may say of an age.
const ROUNDED: Duration = Duration::from_secs(1);

#[derive(Default, Serialize)]
pub struct Emptied {
    pub killed: u64,
    databases: Vec<Told>,
    /// Replicas that have not said within five seconds that they have it, of all primaries.
    pub replicas_behind: u64,
    /// Primaries that could not be emptied, or not in whole.
    undone: Vec<Away>,
}

#[derive(Serialize)]
struct Told {
    address: String,
    database: u32,
    /// As TAGINVAL says it: an upper bound.
    killed: u64,
    /// Under which something was stored; the empty one is not told.
    namespaces: Vec<String>,
    /// Of which something was there, behind their namespaces.
    regions: Vec<String>,
}

/// All primaries have to answer before anything is done.
pub fn run(access: &Access, output: &Output, yes: bool) -> Result<Verdict> {
    let deployment = Deployment::look(access)?;
    let primaries = deployment.all_primaries()?;
    let mut entries = 0;
    for node in &primaries {
        entries += Health::read(&mut node.connect(0)?)?.entries();
    }
    let addresses: Vec<String> = primaries.iter().map(|node| node.address().to_string()).collect();
    let question = format!(
        "Kill all {} cached entries of {}, in all databases? Counts stay.",
        grouped(entries),
        addresses.join(", ")
    );
    if !confirm(&question, yes)? {
        note("nothing was changed");
        return Ok(Verdict::Wrong);
    }
    let progress = Progress::of(None);
    let mut emptied = Emptied::default();
    for node in primaries {
        if let Err(why) = empty(node, &mut emptied, &progress) {
            let address = node.address().to_string();
            emptied.undone.push(Away { address, why: format!("{why:#}") });
        }
    }
    progress.end();
    output.print(&emptied)?;
    let is_done = emptied.replicas_behind == 0 && emptied.undone.is_empty();
    Ok(if is_done { Verdict::Well } else { Verdict::Wrong })
}

/// Kills all that one primary has cached.
pub fn empty(node: &Node, emptied: &mut Emptied, progress: &Progress) -> Result<()> {
    let Some(facts) = node.facts() else { return Ok(()) };
    let mut link = node.connect(0)?;
    link.wait_up_to(Duration::from_secs(60))?;
    for database in facts.databases() {
        link.select(database)?;
        let address = node.address().to_string();
        let (namespaces, regions) = (Vec::new(), Vec::new());
        let mut told = Told { address, database, killed: 0, namespaces, regions };
        let outcome = kill_all(&mut link, &mut told, progress);
        // What was killed before it failed is dead.
        emptied.killed += told.killed;
        emptied.databases.push(told);
        outcome?;
    }
    emptied.replicas_behind += replicas::behind(&mut link, facts.replicas.len())?;
    Ok(())
}

/// In the selected database: what has no namespace, and then what the walk finds.
fn kill_all(link: &mut Link, told: &mut Told, progress: &Progress) -> Result<()> {
    let begun = Instant::now();
    told.killed += kill(link, &KINDS.map(|tag| tag.as_bytes().to_vec()))?;
    keys::ENTRIES.iter().try_for_each(|kind| scan(link, kind, begun, told, progress))
}

/// On this node alone: each primary is told by itself.
fn kill(link: &mut Link, tags: &[Vec<u8>]) -> Result<u64> {
    let killed: i64 = link.ask(redis::cmd("APIKEY.TAGINVALNODE").arg(tags))?;
    Ok(u64::try_from(killed).unwrap_or(0))
}

/// Walks over the keys of a type, and kills what still lives under the namespaces that it finds, or by name.
fn scan(
    link: &mut Link,
    of_type: &str,
    begun: Instant,
    told: &mut Told,
    progress: &Progress,
) -> Result<()> {
    keys::walk(link, of_type, |link, keys| {
        let living = living(link, of_type, keys)?;
        progress.advance(keys.len() as u64, format!("keys, {} killed", grouped(told.killed)));
        for some in living.namespaces.into_iter().collect::<Vec<_>>().chunks(TAGS / KINDS.len()) {
            let tags = some.iter().flat_map(|namespace| {
                KINDS.map(|kind| [namespace.as_slice(), kind.as_bytes()].concat())
            });
            told.killed += kill(link, &tags.collect::<Vec<_>>())?;
            told.namespaces
                .extend(some.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        for some in living.regions.into_iter().collect::<Vec<_>>().chunks(TAGS) {
            told.killed += kill(link, some)?;
            told.regions.extend(some.iter().map(|tag| region(tag)));
        }
        told.killed += kill_by_name(link, &living.keys, begun)?;
        Ok(())
    })
}

/// The name of a region behind its namespace.
fn region(tag: &[u8]) -> String {
    let at = tag.windows(REGION.len()).position(|part| part == REGION).unwrap_or(tag.len());
    let (namespace, name) = tag.split_at_checked(at).unwrap_or((tag, b""));
    String::from_utf8_lossy(&[namespace, name.strip_prefix(REGION).unwrap_or(name)].concat()).into()
}

/// Removes those of the keys that live and were stored before: what came since is a new entry, but for the last second.
fn kill_by_name(link: &mut Link, keys: &[&Vec<u8>], begun: Instant) -> Result<u64> {
    let described = each(link, "APIKEY.DESCRIBE", keys)?;
    let since = begun.elapsed().saturating_sub(ROUNDED).as_millis();
    let is_old = |told: &Value| {
        let Some(fields) = reply::fields(told) else { return false };
        let number = |name: &str| {
            let field = fields.iter().find(|(field, _)| field == name);
            field.and_then(|(_, value)| reply::number(value))
        };
        // Of what was loaded nobody knows the age.
        let age = number("age").map(|age| u128::try_from(age).unwrap_or(0));
        number("live") == Some(1) && age.is_none_or(|age| age >= since)
    };
    let old = described.iter().filter(|(_, told)| is_old(told)).map(|(key, _)| *key);
    let removed = each(link, "APIKEY.INVAL", &old.collect::<Vec<_>>())?;
    let counts = removed.iter().filter_map(|(_, removed)| reply::number(removed));
    Ok(counts.filter_map(|count| u64::try_from(count).ok()).sum())
}

/// What a command says of each of the keys, without those that hold something else by now, or whose slot has left.
fn each<'a>(
    link: &mut Link,
    name: &str,
    keys: &[&'a Vec<u8>],
) -> Result<Vec<(&'a Vec<u8>, Value)>> {
    let command = |key: &&Vec<u8>| {
        let mut command = redis::cmd(name);
        command.arg(*key);
        command
    };
    let commands: Vec<Cmd> = keys.iter().map(command).collect();
    let mut told = Vec::new();
    for ((command, key), reply) in commands.iter().zip(keys).zip(link.ask_all(&commands)?) {
        match reply {
            Ok(value) => told.push((*key, value)),
            Err(refusal) if matches!(refusal.code.as_str(), "WRONGTYPE" | "MOVED" | "ASK") => {}
            Err(refusal) => return Err(link.refused(command, &refusal)),
        }
    }
    Ok(told)
}

/// What of some keys is alive.
#[derive(Default)]
struct Living<'a> {
    keys: Vec<&'a Vec<u8>>,
    namespaces: BTreeSet<Vec<u8>>,
    /// Tags of regions.
    regions: BTreeSet<Vec<u8>>,
}

/// (What is stored without a namespace since is a new entry.)
fn living<'a>(link: &mut Link, of_type: &str, keys: &'a [Vec<u8>]) -> Result<Living<'a>> {
    let mut living = Living::default();
    for (key, tags) in each(link, "APIKEY.TAGS", &keys.iter().collect::<Vec<_>>())? {
        let tags = reply::items(&tags).context("APIKEY.TAGS has a reply that is not known")?;
        if !tags.is_empty() {
            living.keys.push(key);
        }
        if of_type == keys::CACHED {
            living.regions.extend(tags.first().and_then(reply::bytes).map(<[u8]>::to_vec));
            continue;
        }
        // An id can end like a kind: what is then taken for a namespace has no entries that are not to die.
        let namespaces = tags
            .iter()
            .filter_map(reply::bytes)
            .filter_map(|tag| KINDS.iter().find_map(|kind| tag.strip_suffix(kind.as_bytes())));
        let namespaces = namespaces.filter(|namespace| !namespace.is_empty());
        living.namespaces.extend(namespaces.map(<[u8]>::to_vec));
    }
    Ok(living)
}

impl Report for Emptied {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(&["node", "database", "killed", "namespaces", "regions"]);
        for told in &self.databases {
            table.row(vec![
                Cell::text(&told.address),
                Cell::number(told.database.into()),
                Cell::number(told.killed),
                Cell::text(told.namespaces.join(" ")),
                Cell::text(told.regions.join(" ")),
            ]);
        }
        let mut text = table.lines(style);
        text.push_str(&format!(
            "{} entries are dead; counts are as they were.\n",
            grouped(self.killed)
        ));
        if self.replicas_behind > 0 {
            let told = format!(
                "{} replicas have not said that they have it: should one be promoted now, start again\n",
                self.replicas_behind
            );
            text.push_str(&style.warn(told));
        }
        let line = |away: &Away| format!("{} {}\n", style.bad("not emptied:"), away.why);
        text.extend(self.undone.iter().map(line));
        text
    }
}
