//! `uninstall`: what has to happen so that servers start without the module, which no server unloads, since it has
//! data types.
//!
//! Entries die as `reset` kills them, counters are removed that have nothing to hand over (`counters.rs`), and what is
//! on disk is written anew (`disk.rs`), since a server ends at the first value or command there that it does not know.
//! Lines of the configuration are told (`left.rs`).
//!
//! **What always holds.** Nothing is changed before all nodes have answered and no count is in the way. A count goes
//! lost by `--give-up-counts` alone. A node is called ready where nobody has called the module since its files were
//! begun.

mod counters;
mod disk;
mod left;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};
use clap::Args;
use serde::Serialize;

use crate::connect::Access;
use crate::deployment::{Away, Deployment, Node};
use crate::output::{
    confirm, grouped, note, Cell, Output, Progress, Report, Style, Table, Verdict,
};
use crate::reading::{config, Health};
use crate::reset;

use left::Left;

#[derive(Args)]
pub struct Flags {
    /// Remove counters that have counts which nobody has settled: these are lost
    #[arg(long)]
    give_up_counts: bool,

    /// Do not ask first
    #[arg(long)]
    yes: bool,

    /// How long the removal, the AOF's rewrite and the RDB's save may take a node, each
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    wait: u64,
}

#[derive(Serialize)]
struct Uninstalled {
    entries: u64,
    counters: u64,
    /// Uses that were counted and are lost.
    given_up: u64,
    /// Those that start without the module once what is left has been done.
    ready: Vec<Ready>,
    /// Nodes that are not to be started without it, and why.
    undone: Vec<Away>,
}

#[derive(Serialize)]
struct Ready {
    address: String,
    role: &'static str,
    /// Whether it keeps an AOF, which then has been rewritten. (An RDB is written in any case.)
    aof: bool,
    left: Left,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let deployment = Deployment::look(access)?;
    deployment.all_primaries()?;
    if let Some(away) = deployment.away().first() {
        bail!("{}; nothing was changed: all nodes have to be prepared at once", away.why);
    }
    let has_module = |node: &&Node| node.facts().is_some_and(|facts| facts.module.is_some());
    let nodes: Vec<&Node> = deployment.up().filter(has_module).collect();
    let primaries: Vec<&Node> = deployment.primaries().filter(has_module).collect();
    ensure!(!nodes.is_empty(), "no node has the module: there is nothing to do");
    let (mut entries, mut unsettled) = (0, 0);
    for node in &primaries {
        let health = Health::read(&mut node.connect(0)?)?;
        entries += health.entries();
        unsettled += health.unsettled();
    }
    if unsettled > 0 && !flags.give_up_counts {
        note(&format!(
            "nothing was changed: {} counted uses are not settled: have them drained (docs/usage.md), or say \
             --give-up-counts",
            grouped(unsettled)
        ));
        return Ok(Verdict::Wrong);
    }
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    let lost = match unsettled {
        0 => String::new(),
        _ => format!(" and {} counted uses", grouped(unsettled)),
    };
    let question = format!(
        "Switch the cache off for good, and remove its {} entries, all counters{lost} from {}? No application may call \
         it any more.",
        grouped(entries),
        addresses.join(", ")
    );
    if !confirm(&question, flags.yes)? {
        note("nothing was changed");
        return Ok(Verdict::Wrong);
    }
    for node in &nodes {
        switch_off(node)?;
    }
    let done = prepare(&nodes, &primaries, flags, unsettled);
    output.print(&done)?;
    Ok(if done.undone.is_empty() { Verdict::Well } else { Verdict::Wrong })
}

/// Nothing is stored from here on.
fn switch_off(node: &Node) -> Result<()> {
    let is_old = |version: &str| version.starts_with("6.");
    match node.facts().map(|facts| &facts.server) {
        Some(server) if server.name == "redis" && is_old(&server.version) => Ok(()),
        _ => config::set(&mut node.connect(0)?, "apikey.enabled", "no"),
    }
}

fn prepare(nodes: &[&Node], primaries: &[&Node], flags: &Flags, given_up: u64) -> Uninstalled {
    let mut done =
        Uninstalled { entries: 0, counters: 0, given_up, ready: Vec::new(), undone: Vec::new() };
    let progress = Progress::of(None);
    let patience = Duration::from_secs(flags.wait);
    for node in primaries {
        if let Err(why) = remove(node, flags.give_up_counts, patience, &mut done, &progress) {
            done.undone.push(away(node, &why));
        }
    }
    // A replica has what its primary has, so nothing is ready before all of that is gone.
    if done.undone.is_empty() {
        let finished: Vec<(&Node, Result<Ready>)> = thread::scope(|scope| {
            let finishing: Vec<_> =
                nodes.iter().map(|node| scope.spawn(|| (*node, finish(node, patience)))).collect();
            finishing.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for (node, finished) in finished {
            match finished {
                Ok(ready) => done.ready.push(ready),
                Err(why) => done.undone.push(away(node, &why)),
            }
        }
    }
    progress.end();
    done
}

fn away(node: &Node, why: &anyhow::Error) -> Away {
    Away { address: node.address().to_string(), why: format!("{why:#}") }
}

/// Has everything of the module removed at a primary, in all its databases.
fn remove(
    node: &Node,
    give_up_counts: bool,
    patience: Duration,
    done: &mut Uninstalled,
    progress: &Progress,
) -> Result<()> {
    let mut emptied = reset::Emptied::default();
    reset::empty(node, &mut emptied, progress)?;
    done.entries += emptied.killed;
    let mut link = node.connect(0)?;
    link.wait_up_to(Duration::from_secs(60))?;
    for database in node.facts().map(|facts| facts.databases()).unwrap_or_default() {
        link.select(database)?;
        done.counters += counters::remove(&mut link, give_up_counts)?;
    }
    is_empty(node, patience)
}

/// Waits until a node has nothing of the module in memory: dead entries are removed bit by bit.
fn is_empty(node: &Node, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    let mut link = node.connect(0)?;
    loop {
        let health = Health::read(&mut link)?;
        let address = node.address();
        let (entries, counters, unsettled) =
            (health.entries(), health.counters(), health.unsettled());
        if (entries, counters) == (0, 0) {
            return Ok(());
        }
        // Removed they are not by themselves. (A replica hears of it in a moment.)
        ensure!(
            counters == 0 || !node.is_primary(),
            "{address}: {} counters came meanwhile, or have counted ({} uses): stop what counts, have them drained, \
             and start again",
            grouped(counters),
            grouped(unsettled)
        );
        ensure!(
            Instant::now() < until,
            "{address}: {} entries and {} counters are still there: stop what stores, and start again",
            grouped(entries),
            grouped(counters)
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Has a node's files written anew, where nothing of the module is left in it.
fn finish(node: &Node, patience: Duration) -> Result<Ready> {
    is_empty(node, patience)?;
    let mut link = node.connect(0)?;
    let before = Health::read(&mut link)?;
    let aof = disk::rewrite_aof(&mut link, patience)?;
    disk::save_rdb(&mut link, patience)?;
    let after = Health::read(&mut link)?;
    let calls = CHANGES.iter().filter(|name| before.number(name) != after.number(name));
    let calls: Vec<&str> = calls.copied().collect();
    ensure!(
        calls.is_empty(),
        "{}: it is still called ({} have risen), and its AOF may have that: stop what calls it, and start again",
        node.address(),
        calls.join(", ")
    );
    is_empty(node, patience)?;
    let address = node.address().to_string();
    let left = match node.facts() {
        Some(facts) => Left::read(&mut link, facts)?,
        None => bail!("{address} says nothing of itself"),
    };
    Ok(Ready { address, role: node.role(), aof, left })
}

/// Figures of HEALTH that rise with commands which an AOF has, whether they found something or not.
const CHANGES: [&str; 7] = [
    "stored_entries",
    "written_keys",
    "invalidated_keys",
    "invalidated_tags",
    "counted_uses",
    "settled_uses",
    "taken_uses",
];

impl Report for Uninstalled {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(&["node", "role", "AOF", "RDB"]);
        for ready in &self.ready {
            let aof = if ready.aof { Cell::text("rewritten") } else { Cell::text("none").dim() };
            table.row(vec![
                Cell::text(&ready.address),
                Cell::text(ready.role),
                aof,
                Cell::text("saved"),
            ]);
        }
        let mut text = if self.ready.is_empty() { String::new() } else { table.lines(style) };
        text.push_str(&format!(
            "{} entries and {} counters are gone; {} counted uses were given up.\n",
            grouped(self.entries),
            grouped(self.counters),
            grouped(self.given_up)
        ));
        for ready in &self.ready {
            let lines = ready.left.lines();
            text.extend(lines.iter().map(|line| format!("{}: {line}\n", ready.address)));
        }
        if !self.ready.is_empty() {
            text.push_str(
                "Then restart each. Until then no command of the module may be called: the AOF would have it, and the \
                 server not start.\n",
            );
        }
        let line = |away: &Away| format!("{} {}\n", style.bad("not ready:"), away.why);
        text.extend(self.undone.iter().map(line));
        text
    }
}
