//! `apikey.enabled` on every node: whether the cache answers at all.

use anyhow::Result;
use serde::Serialize;

use crate::connect::Access;
use crate::deployment::{Away, Deployment, Node};
use crate::output::{confirm, note, Cell, Output, Report, Style, Table, Verdict};
use crate::reading::{config, Health};

#[derive(Serialize)]
struct Switched {
    /// What `apikey.enabled` is to be.
    enabled: bool,
    nodes: Vec<Told>,
    away: Vec<Away>,
}

#[derive(Serialize)]
struct Told {
    address: String,
    role: &'static str,
    /// What it is by now.
    enabled: bool,
}

/// Sets it on each node that answers; one that does not is told of.
pub fn run(access: &Access, output: &Output, enabled: bool, yes: bool) -> Result<Verdict> {
    let deployment = Deployment::look(access)?;
    let nodes = deployment.up().count();
    let question = match enabled {
        true => format!("Have the cache answer again on {nodes} nodes?"),
        false => format!("Switch the cache off on {nodes} nodes, so that every key is looked up in the database?"),
    };
    if !confirm(&question, yes)? {
        note("nothing was changed");
        return Ok(Verdict::Wrong);
    }
    let mut switched = Switched { enabled, nodes: Vec::new(), away: deployment.away() };
    for node in deployment.up() {
        match set(node, enabled) {
            Ok(told) => switched.nodes.push(told),
            Err(why) => {
                let address = node.address().to_string();
                switched.away.push(Away { address, why: format!("{why:#}") });
            }
        }
    }
    output.print(&switched)?;
    let all = switched.away.is_empty() && switched.nodes.iter().all(|told| told.enabled == enabled);
    Ok(if all { Verdict::Well } else { Verdict::Wrong })
}

fn set(node: &Node, enabled: bool) -> Result<Told> {
    let mut link = node.connect(0)?;
    config::set(&mut link, "apikey.enabled", if enabled { "yes" } else { "no" })?;
    let health = Health::read(&mut link)?;
    let address = node.address().to_string();
    Ok(Told { address, role: node.role(), enabled: health.is_on("enabled") })
}

impl Report for Switched {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(&["node", "role", "apikey.enabled"]);
        for told in &self.nodes {
            let is = Cell::text(if told.enabled { "yes" } else { "no" });
            let is = if told.enabled == self.enabled { is.good() } else { is.bad() };
            table.row(vec![Cell::text(&told.address), Cell::text(told.role), is]);
        }
        let mut text = table.lines(style);
        text.push_str("It holds until a restart: CONFIG REWRITE keeps it.\n");
        let line = |away: &Away| format!("{} {}\n", style.bad("not switched:"), away.why);
        text.extend(self.away.iter().map(line));
        text
    }
}
