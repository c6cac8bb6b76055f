//! The primaries, wherever they are by now: a failover gives a place to another, a cluster gets new ones.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::primary::Primary;
use crate::connect::{Access, Address, Way};
use crate::deployment::{self, Place, Said};

/// How often it is asked who they are, where nothing has failed.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Primaries {
    pub nodes: Vec<Primary>,
    /// Every node of the cluster, as they were told last: its seed may be the one that has gone.
    known: Vec<Address>,
    looked: Option<Instant>,
}

impl Primaries {
    /// Asks again at the next turn.
    pub fn look_again(&mut self) {
        self.looked = None;
    }

    /// Finds out who they are, where it is time for that. Those that are still what they were keep their connections.
    pub fn find(&mut self, access: &Access) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let places = self.places(access)?;
        self.known = places.iter().map(|place| place.address.clone()).collect();
        let primaries = places.into_iter().filter(|place| place.said != Said::Replica);
        let addresses: Vec<Address> = primaries.map(|place| place.address).collect();
        self.nodes.retain(|node| addresses.contains(&node.address));
        for address in addresses {
            if !self.nodes.iter().any(|node| node.address == address) {
                self.nodes.push(Primary::new(address));
            }
        }
        Ok(())
    }

    fn places(&self, access: &Access) -> Result<Vec<Place>> {
        let told = deployment::places(access);
        let (Err(_), Way::Cluster { seed }) = (&told, access.way()) else { return told };
        let others = self.known.iter().filter(|known| *known != seed);
        let mut told_by = others.map(|other| deployment::places(&access.by_node(other.clone())));
        told_by.find_map(Result::ok).map_or(told, Ok)
    }
}
