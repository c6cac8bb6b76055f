//! A place where a server should be, as a cluster, a Sentinel or the command line says, before it was asked.

use std::ops::RangeInclusive;

use crate::connect::Address;

/// What a place is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Primary,
    Replica,
    /// Nobody has said; the server itself knows.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: Address,
    pub said: Said,
    /// Its part of a cluster.
    pub member: Option<Member>,
}

/// What a cluster says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// The id of its primary, where it is a replica.
    pub primary: Option<String>,
    /// What it owns; empty for a replica.
    pub slots: Vec<RangeInclusive<u16>>,
    /// Whether the node that was asked takes it for failed, or suspects it.
    pub is_failing: bool,
}

impl Place {
    pub fn new(address: Address, said: Said) -> Self {
        Self { address, said, member: None }
    }

    /// The slots that it owns.
    pub fn slots(&self) -> &[RangeInclusive<u16>] {
        self.member.as_ref().map_or(&[], |member| &member.slots)
    }
}
