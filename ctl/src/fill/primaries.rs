//! Which primary has a key: the one server, or in a cluster the one that has the key's slot.
//!
//! The map of slots is read once. A token is its primary's, and nothing orders the invalidations of two:
//! where slots move meanwhile the run ends and has to be started again.

use anyhow::{ensure, Context, Result};

use super::node::Node;
use crate::connect::{Access, Way};
use crate::deployment::slots::{slot, SLOTS};
use crate::deployment::{places, Said};

pub struct Primaries {
    pub nodes: Vec<Node>,
    /// The place in `nodes` of each slot's primary; empty where there is one server for all.
    by_slot: Vec<Option<usize>>,
}

impl Primaries {
    /// Connects, and takes a token from each.
    pub fn connect(access: &Access) -> Result<Self> {
        let mut all = places(access)?;
        all.retain(|place| place.said != Said::Replica);
        if !matches!(access.way(), Way::Cluster { .. }) {
            let place = all.first().context("no primary is known")?;
            // Any key will do.
            let node = Node::connect(access, &place.address, "apikeyctl")?;
            return Ok(Self { nodes: vec![node], by_slot: Vec::new() });
        }
        all.retain(|place| !place.slots().is_empty());
        let mut by_slot = vec![None; usize::from(SLOTS)];
        for (number, place) in all.iter().enumerate() {
            for range in place.slots() {
                let (first, last) = (usize::from(*range.start()), usize::from(*range.end()));
                by_slot.get_mut(first..=last).context("a slot beyond 16383")?.fill(Some(number));
            }
        }
        ensure!(by_slot.iter().all(Option::is_some), "the cluster has slots without a primary");
        let mut nodes = Vec::new();
        for (number, place) in all.iter().enumerate() {
            // A token is asked for by a key; this one is the primary's.
            let key = (0u32..).map(|number| format!("apikeyctl:{number}"));
            let is_its = |key: &String| owner(&by_slot, key.as_bytes()) == Some(number);
            let key = { key }.find(is_its).context("no key of its slots")?;
            nodes.push(Node::connect(access, &place.address, &key)?);
        }
        Ok(Self { nodes, by_slot })
    }

    pub fn of(&mut self, key: &[u8]) -> Result<&mut Node> {
        let place = match self.by_slot.is_empty() {
            true => 0,
            false => owner(&self.by_slot, key).context("a slot without a primary")?,
        };
        self.nodes.get_mut(place).context("no primary")
    }
}

fn owner(by_slot: &[Option<usize>], key: &[u8]) -> Option<usize> {
    by_slot.get(usize::from(slot(key))).copied().flatten()
}
