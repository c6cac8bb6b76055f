//! `nodes`: which servers there are, and how each fares.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value as Json;

use crate::connect::Access;
use crate::deployment::{Away, Deployment, Node};
use crate::output::{grouped, Cell, Output, Report, Style, Table, Verdict};
use crate::reading::{Facts, Health, Role, Server};

#[derive(Serialize)]
struct Nodes {
    primaries: usize,
    replicas: usize,
    nodes: Vec<Told>,
    away: Vec<Away>,
}

/// What is told of a server that answers.
#[derive(Serialize)]
struct Told {
    address: String,
    role: &'static str,
    run_id: String,
    server: Server,
    uptime_seconds: Option<u64>,
    /// The module's version; none where it is not loaded, or the user may not ask.
    module: Option<String>,
    status: Option<String>,
    /// Why the status is what it is, or is not known.
    reasons: Vec<String>,
    entries: Option<u64>,
    /// Of each database that has some.
    keys: BTreeMap<u32, u64>,
    /// First and last of each range, in a cluster.
    slots: Vec<(u16, u16)>,
    /// All that HEALTH has.
    health: Option<Json>,
}

pub fn run(access: &Access, output: &Output) -> Result<Verdict> {
    let deployment = Deployment::look(access)?;
    let told = deployment.up().filter_map(|node| Some(tell(node, node.facts()?)));
    let nodes = Nodes {
        primaries: deployment.primaries().count(),
        replicas: deployment.replicas().count(),
        nodes: told.collect(),
        away: deployment.away(),
    };
    output.print(&nodes)?;
    let is_wrong = |told: &Told| told.status.as_deref().is_none_or(|status| status == "unhealthy");
    Ok(match (nodes.nodes.iter().any(is_wrong), nodes.away.is_empty()) {
        (true, _) => Verdict::Wrong,
        (false, false) => Verdict::Blind,
        (false, true) => Verdict::Well,
    })
}

fn tell(node: &Node, facts: &Facts) -> Told {
    let health = node.connect(0).and_then(|mut link| Health::read(&mut link));
    let mut reasons = match &health {
        Ok(health) => health.reasons(),
        Err(_) if facts.module.is_none() => {
            vec!["it has no module redis-apikey: start it with --loadmodule libapikey.so".into()]
        }
        Err(why) => {
            let why = format!("{why:#}");
            // Which node it is stands before each reason.
            let of_node = format!("{}: ", node.address());
            vec![why.strip_prefix(&of_node).unwrap_or(&why).to_string()]
        }
    };
    if let Role::Replica { of, is_linked: false } = &facts.role {
        reasons.push(format!(
            "it does not hear of its primary {of}: see that this is up, and masterauth"
        ));
    }
    if node.place.member.as_ref().is_some_and(|member| member.is_failing) {
        reasons.push("the cluster takes it for failed".into());
    }
    let health = health.ok();
    Told {
        address: node.address().to_string(),
        role: node.role(),
        run_id: facts.run_id.clone(),
        server: facts.server.clone(),
        uptime_seconds: facts.info.number("uptime_in_seconds"),
        module: health.as_ref().map(Health::version),
        status: health.as_ref().map(Health::status),
        entries: health.as_ref().map(Health::entries),
        reasons,
        keys: facts.keys.clone(),
        slots: node.place.slots().iter().map(|range| (*range.start(), *range.end())).collect(),
        health: health.as_ref().map(Health::json),
    }
}

impl Report for Nodes {
    fn text(&self, style: Style) -> String {
        let mut table =
            Table::new(&["node", "role", "server", "module", "status", "entries", "keys"]);
        for told in &self.nodes {
            let status = Cell::text(told.status.as_deref().unwrap_or("unknown"));
            let status = match told.status.as_deref() {
                Some("healthy") => status.good(),
                Some("degraded") => status.warn(),
                _ => status.bad(),
            };
            let keys =
                told.keys.iter().map(|(database, keys)| format!("db{database} {}", grouped(*keys)));
            table.row(vec![
                Cell::text(&told.address),
                Cell::text(told.role),
                Cell::text(format!("{} {}", told.server.name, told.server.version)),
                told.module.as_ref().map_or_else(|| Cell::text("-").dim(), Cell::text),
                status,
                Cell::number(told.entries.unwrap_or(0)),
                Cell::text(keys.collect::<Vec<_>>().join(", ")),
            ]);
        }
        let mut text = table.lines(style);
        for told in &self.nodes {
            for reason in &told.reasons {
                text.push_str(&format!("{}: {}\n", told.address, style.warn(reason)));
            }
        }
        text.push_str(&format!("primaries: {}, replicas: {}\n", self.primaries, self.replicas));
        text.push_str(&Away::lines(&self.away, style));
        text
    }
}
