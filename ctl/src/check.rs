//! `check`: APIKEY.CHECK on every node, in every database that has keys.
//!
//! Nodes are checked at once, the databases of one in turn: a server walks over one at a time.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use redis::Value;
use serde::Serialize;

use crate::connect::Access;
use crate::deployment::{Away, Deployment, Node};
use crate::output::{Cell, Output, Progress, Report, Style, Table, Verdict};
use crate::reading::reply;

#[derive(Args)]
pub struct Flags {
    /// How long one database of one node may take
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    wait: u64,
}

#[derive(Serialize)]
struct Check {
    differences: u64,
    databases: Vec<Compared>,
    /// Nodes, and databases of nodes, that could not be looked at.
    away: Vec<Away>,
}

/// What CHECK said of a database.
#[derive(Serialize)]
struct Compared {
    address: String,
    role: &'static str,
    database: u32,
    /// Of any type.
    keys: u64,
    /// Items of the index.
    entries: u64,
    differences: u64,
    /// The first hundred, in words.
    found: Vec<String>,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let deployment = Deployment::look(access)?;
    let patience = Duration::from_secs(flags.wait);
    let keys = deployment.up().filter_map(Node::facts).flat_map(|facts| facts.keys.values()).sum();
    let progress = Progress::of(Some(keys));
    let compared: Vec<Result<Compared, Away>> = thread::scope(|scope| {
        let nodes: Vec<_> = deployment
            .up()
            .map(|node| scope.spawn(|| of_node(node, patience, &progress)))
            .collect();
        nodes.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    progress.end();

    let mut check = Check { differences: 0, databases: Vec::new(), away: deployment.away() };
    for one in compared {
        match one {
            Ok(compared) => {
                check.differences += compared.differences;
                check.databases.push(compared);
            }
            Err(away) => check.away.push(away),
        }
    }
    output.print(&check)?;
    Ok(match (check.differences, check.away.is_empty()) {
        (1.., _) => Verdict::Wrong,
        (0, false) => Verdict::Blind,
        (0, true) => Verdict::Well,
    })
}

fn of_node(node: &Node, patience: Duration, progress: &Progress) -> Vec<Result<Compared, Away>> {
    let Some(facts) = node.facts() else { return Vec::new() };
    let compare = |database: u32| {
        let address = node.address().to_string();
        let compared = of_database(node, database, patience).map_err(|why| Away {
            address: address.clone(),
            why: format!("{why:#} (database {database})"),
        });
        let keys = facts.keys.get(&database).copied().unwrap_or(0);
        progress.advance(keys, format!("{address} database {database}"));
        compared
    };
    facts.databases().into_iter().map(compare).collect()
}

fn of_database(node: &Node, database: u32, patience: Duration) -> Result<Compared> {
    let mut link = node.connect(database)?;
    link.wait_up_to(patience)?;
    let told: Value = link.ask(&redis::cmd("APIKEY.CHECK"))?;
    let compared = read(node, database, &told);
    compared
        .with_context(|| format!("{}: APIKEY.CHECK has a reply that is not known", link.address))
}

fn read(node: &Node, database: u32, told: &Value) -> Option<Compared> {
    let fields = reply::fields(told)?;
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let number = |name: &str| u64::try_from(reply::number(field(name)?)?).ok();
    Some(Compared {
        address: node.address().to_string(),
        role: node.role(),
        database,
        keys: number("keys")?,
        entries: number("entries")?,
        differences: number("differences")?,
        found: reply::texts(field("found")?)?,
    })
}

impl Report for Check {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(&["node", "role", "database", "keys", "entries", "differences"]);
        for compared in &self.databases {
            let differences = Cell::number(compared.differences);
            table.row(vec![
                Cell::text(&compared.address),
                Cell::text(compared.role),
                Cell::number(compared.database.into()),
                Cell::number(compared.keys),
                Cell::number(compared.entries),
                if compared.differences == 0 { differences.good() } else { differences.bad() },
            ]);
        }
        let mut text = table.lines(style);
        for compared in &self.databases {
            for found in &compared.found {
                let at = format!("{} database {}", compared.address, compared.database);
                text.push_str(&format!("{at}: {}\n", style.bad(found)));
            }
        }
        if self.differences > 0 {
            text.push_str("The index differs from the keys, which is a bug of the module: please report it.\n");
        }
        text.push_str(&Away::lines(&self.away, style));
        text
    }
}
