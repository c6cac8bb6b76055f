//! A server of the deployment, after it was asked what it is.

use anyhow::{anyhow, Result};
use serde::Serialize;

use super::place::{Place, Said};
use crate::connect::{Access, Address, Link, Wire};
use crate::output::Style;
use crate::reading::Facts;

/// A server, or why there is none where one should be.
pub struct Node {
    pub place: Place,
    /// What it says of itself; or, as a sentence with what to do, why it says nothing.
    pub state: Result<Facts, String>,
    access: Access,
}

/// A node that could not be looked at, as results tell it.
#[derive(Clone, Debug, Serialize)]
pub struct Away {
    pub address: String,
    pub why: String,
}

impl Away {
    /// For a person: a line for each.
    pub fn lines(away: &[Self], style: Style) -> String {
        let line = |away: &Self| format!("{} {}\n", style.bad("not looked at:"), away.why);
        away.iter().map(line).collect()
    }
}

impl Node {
    /// Connects, and asks.
    pub(super) fn look(access: &Access, place: Place) -> Self {
        let facts = access.link(&place.address, 0).and_then(|mut link| Facts::read(&mut link));
        let state = facts.map_err(|why| format!("{why:#}"));
        Self { place, state, access: access.clone() }
    }

    pub fn address(&self) -> &Address {
        &self.place.address
    }

    /// What it says of itself, where it does.
    pub fn facts(&self) -> Option<&Facts> {
        self.state.as_ref().ok()
    }

    /// As it says itself; where it says nothing, as others say.
    pub fn is_primary(&self) -> bool {
        match self.facts() {
            Some(facts) => facts.is_primary(),
            None => self.place.said == Said::Primary,
        }
    }

    /// `primary`, `replica`, or `unknown` where nobody says.
    pub fn role(&self) -> &'static str {
        match (self.is_primary(), self.facts().is_none() && self.place.said == Said::Nothing) {
            (true, _) => "primary",
            (false, true) => "unknown",
            (false, false) => "replica",
        }
    }

    /// A new connection, with this database selected. What takes a server longer than a moment wants
    /// [`Link::wait_up_to`].
    pub fn connect(&self, database: u32) -> Result<Link> {
        match &self.state {
            Ok(_) => self.access.link(&self.place.address, database),
            Err(why) => Err(anyhow!("{why}")),
        }
    }

    /// The same, to read what is no reply.
    pub fn wire(&self) -> Result<Wire> {
        self.access.wire(&self.place.address)
    }

    /// Why it could not be looked at, if so.
    pub fn away(&self) -> Option<Away> {
        let why = self.state.as_ref().err()?;
        Some(Away { address: self.address().to_string(), why: why.clone() })
    }
}
