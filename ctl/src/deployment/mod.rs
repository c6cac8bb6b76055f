//! Which servers there are, and of what role.
//!
//! [`places`] is what a cluster, Sentinels or the command line say, [`Deployment::look`] has asked each of them
//! as well. A server that can't be reached is a node too, so that whoever tells of all does not forget it.

mod cluster;
pub mod node;
pub mod place;
mod sentinel;
pub mod slots;

pub use node::{Away, Node};
pub use place::{Place, Said};

use std::thread;

use anyhow::{anyhow, ensure, Result};

use crate::connect::{Access, Way};

/// Where servers should be; of a single server that one alone, since its replicas are its own to tell. No server
/// but a cluster's seed or a Sentinel is asked.
pub fn places(access: &Access) -> Result<Vec<Place>> {
    match access.way() {
        Way::Server { seed, .. } => Ok(vec![Place::new(seed.clone(), Said::Nothing)]),
        Way::Cluster { seed } => cluster::places(access, seed),
        Way::Sentinel { name, at } => sentinel::places(access, name, at),
    }
}

/// All servers of a deployment.
pub struct Deployment {
    /// Primaries before replicas, each in the order in which they were told.
    pub nodes: Vec<Node>,
}

impl Deployment {
    /// Finds the servers and asks each what it is. An error: not even the first could be asked, or there is no
    /// server of redis-apikey's at all.
    pub fn look(access: &Access) -> Result<Self> {
        let places = places(access)?;
        let mut nodes = ask(access, places);
        if let (Way::Server { alone, .. }, [seed]) = (access.way(), nodes.as_slice()) {
            let facts = seed.state.as_ref().map_err(|why| anyhow!("{why}"))?;
            ensure!(
                *alone || !facts.is_in_cluster,
                "{} is a node of a cluster: say --cluster for all of it, or --alone for this one",
                seed.address()
            );
            if !alone {
                let replicas = facts.replicas.clone();
                let replica = |address| Place::new(address, Said::Replica);
                nodes.extend(ask(access, replicas.into_iter().map(replica).collect()));
            }
        }
        nodes.sort_by_key(|node| !node.is_primary());
        Ok(Self { nodes })
    }

    /// Asks these servers, and looks for no others.
    pub fn of(access: &Access, places: Vec<Place>) -> Self {
        let mut nodes = ask(access, places);
        nodes.sort_by_key(|node| !node.is_primary());
        Self { nodes }
    }

    /// Those that say they are primaries.
    pub fn primaries(&self) -> impl Iterator<Item = &Node> {
        self.up().filter(|node| node.is_primary())
    }

    /// Those that say they are replicas.
    pub fn replicas(&self) -> impl Iterator<Item = &Node> {
        self.up().filter(|node| !node.is_primary())
    }

    /// Those that answer.
    pub fn up(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.state.is_ok())
    }

    /// Those that could not be looked at.
    pub fn away(&self) -> Vec<Away> {
        self.nodes.iter().filter_map(Node::away).collect()
    }

    /// The primaries, of which there has to be one, and each that is known has to answer.
    pub fn all_primaries(&self) -> Result<Vec<&Node>> {
        let primaries: Vec<&Node> = self.nodes.iter().filter(|node| node.is_primary()).collect();
        if let Some(away) = primaries.iter().find_map(|node| node.away()) {
            return Err(anyhow!("{}", away.why));
        }
        if let (true, Some(node)) = (primaries.is_empty(), self.nodes.first()) {
            return Err(anyhow!("{} is a replica: say the primary's URL", node.address()));
        }
        Ok(primaries)
    }
}

/// All at once: one that does not answer keeps nobody else waiting.
fn ask(access: &Access, places: Vec<Place>) -> Vec<Node> {
    thread::scope(|scope| {
        let asking: Vec<_> = places
            .into_iter()
            .map(|place| scope.spawn(move || Node::look(access, place)))
            .collect();
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}
