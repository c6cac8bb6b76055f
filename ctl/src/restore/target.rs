//! Where keys are restored: each to the primary that has its slot, many at once.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::Cmd;

use crate::connect::Link;
use crate::deployment::slots::slot;
use crate::deployment::Node;
use crate::rdb::Item;
use crate::reading::replicas;

/// What is sent before replies are read.
const COMMANDS: usize = 100;
const BYTES: usize = 1 << 20;

/// How long a server may take for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of what a key stands for is told when it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    pub counters: u64,
    pub pending: i64,
    pub leased: i64,
    pub other_keys: u64,
}

impl Weight {
    pub fn add(&mut self, other: &Self) {
        self.counters += other.counters;
        self.pending = self.pending.saturating_add(other.pending);
        self.leased = self.leased.saturating_add(other.leased);
        self.other_keys += other.other_keys;
    }
}

/// A primary, and what waits to be sent to it.
struct Lane<'a> {
    node: &'a Node,
    link: Link,
    database: u32,
    waiting: Vec<(Cmd, Weight)>,
    bytes: usize,
}

pub struct Target<'a> {
    lanes: Vec<Lane<'a>>,
    /// What is there by now.
    pub stored: Weight,
    /// Keys that were there already, and stay as they are.
    pub there_already: u64,
}

impl<'a> Target<'a> {
    pub fn connect(primaries: &[&'a Node]) -> Result<Self> {
        let lane = |&node: &&'a Node| {
            let mut link = node.connect(0)?;
            link.wait_up_to(PATIENCE)?;
            Ok(Lane { node, link, database: 0, waiting: Vec::new(), bytes: 0 })
        };
        let lanes: Result<_> = primaries.iter().map(lane).collect();
        Ok(Self { lanes: lanes?, stored: Weight::default(), there_already: 0 })
    }

    /// Restores a key where there is none of that name.
    pub fn put(&mut self, item: &Item, payload: &[u8], weight: Weight) -> Result<()> {
        let Self { lanes, stored, there_already } = self;
        let slot = slot(&item.key);
        let owns = |lane: &&mut Lane| {
            let slots = lane.node.place.slots();
            slots.is_empty() || slots.iter().any(|range| range.contains(&slot))
        };
        let lane = lanes.iter_mut().find(owns);
        let lane = lane.with_context(|| format!("slot {slot} has no primary"))?;
        if lane.database != item.database {
            lane.flush(stored, there_already)?;
            lane.link.select(item.database)?;
            lane.database = item.database;
        }
        let mut command = redis::cmd("RESTORE");
        command.arg(&item.key).arg(item.expires.unwrap_or(0)).arg(payload).arg("ABSTTL");
        lane.bytes += payload.len();
        lane.waiting.push((command, weight));
        if lane.waiting.len() >= COMMANDS || lane.bytes >= BYTES {
            lane.flush(stored, there_already)?;
        }
        Ok(())
    }

    /// Sends what waits, and returns how many replicas have not said in time that they have it.
    pub fn end(&mut self) -> Result<u64> {
        let mut behind = 0;
        for lane in &mut self.lanes {
            lane.flush(&mut self.stored, &mut self.there_already)?;
            let replicas = lane.node.facts().map_or(0, |facts| facts.replicas.len());
            behind += replicas::behind(&mut lane.link, replicas)?;
        }
        Ok(behind)
    }
}

impl Lane<'_> {
    fn flush(&mut self, stored: &mut Weight, there_already: &mut u64) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let commands: Vec<Cmd> = waiting.iter().map(|(command, _)| command.clone()).collect();
        let mut refused = None;
        for ((command, weight), reply) in waiting.iter().zip(self.link.ask_all(&commands)?) {
            match reply {
                Ok(_) => stored.add(weight),
                Err(refusal) if refusal.code == "BUSYKEY" => *there_already += 1,
                Err(refusal) => refused = refused.or(Some((command, refusal))),
            }
        }
        match refused {
            Some((command, refusal)) => Err(self.link.refused(command, &refusal)),
            None => Ok(()),
        }
    }
}
