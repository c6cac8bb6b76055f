//! What was read of a node, before anything is made of it: the checks are functions of this alone.

use std::time::SystemTime;

use crate::connect::Address;
use crate::deployment::{Place, Said};
use crate::reading::{Config, Facts, Health, Info, Region};

use super::clock::Clock;
use super::kernel::Kernel;

/// A command that tells whether the module is there, for who may not ask INFO.
pub const ONE_OF_ITS: &str = "APIKEY.VALIDATE";

/// Of what could not be read, or does not exist there, there is none.
#[derive(Clone)]
pub struct Seen {
    pub place: Place,
    /// Why nobody gets in.
    pub unreachable: Option<String>,
    /// Whether it is loading its data.
    pub is_loading: bool,
    pub facts: Option<Facts>,
    pub health: Option<Health>,
    /// Of all databases, where the server evicts nothing; none where the user may not ask.
    pub regions: Option<Vec<Region>>,
    /// Those of the server that are asked for, and the module's.
    pub settings: Option<Config>,
    /// Commands that it does not know, of those that were looked for.
    pub without: Vec<&'static str>,
    /// What CLUSTER INFO says.
    pub cluster: Option<Info>,
    pub clock: Option<Clock>,
    /// When the certificate that it shows ends.
    pub certificate_ends: Option<SystemTime>,
    pub kernel: Option<Kernel>,
    /// What the user may not look at, as sentences.
    pub unseen: Vec<String>,
}

impl Seen {
    /// Nothing is known of it yet.
    pub fn of(place: Place) -> Self {
        Self {
            place,
            unreachable: None,
            is_loading: false,
            facts: None,
            health: None,
            regions: None,
            settings: None,
            without: Vec::new(),
            cluster: None,
            clock: None,
            certificate_ends: None,
            kernel: None,
            unseen: Vec::new(),
        }
    }

    pub fn address(&self) -> &Address {
        &self.place.address
    }

    /// As it says itself; where it says nothing, as others say, and else yes.
    pub fn is_primary(&self) -> bool {
        match &self.facts {
            Some(facts) => facts.is_primary(),
            None => self.place.said != Said::Replica,
        }
    }

    pub fn has_module(&self) -> bool {
        !self.without.contains(&ONE_OF_ITS)
    }

    /// A line of INFO.
    pub fn info(&self, name: &str) -> Option<&str> {
        self.facts.as_ref()?.info.text(name)
    }

    /// A setting, `apikey.trust-loaded`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.text(name)
    }

    pub fn has_counters(&self) -> bool {
        let counters = self.health.as_ref().and_then(|health| health.number("usage_counters"));
        counters.is_some_and(|counters| counters > 0)
    }
}

/// Nodes as unit tests want them.
#[cfg(test)]
impl Seen {
    /// A node that can be reached, at `a:PORT`, and says this in INFO.
    pub fn saying(port: u16, info: &str) -> Self {
        let place = Place::new(Address::tcp("a", port), Said::Nothing);
        let facts = Some(Facts::of(Info::parse(info)));
        Self { facts, ..Self::of(place) }
    }

    pub fn with_settings(self, settings: &[(&str, &str)]) -> Self {
        Self {
            settings: Some(Config::of(
                settings.iter().map(|(name, value)| (name.to_string(), value.to_string())),
            )),
            ..self
        }
    }

    /// HEALTH with numbers, and reasons.
    pub fn with_health(self, numbers: &[(&str, i64)], reasons: &[&str]) -> Self {
        use redis::Value;
        let text = |text: &str| Value::BulkString(text.into());
        let reasons = Value::Array(reasons.iter().map(|reason| text(reason)).collect());
        let mut fields = vec![text("reasons"), reasons, text("version"), text("0.1.0")];
        fields.extend(numbers.iter().flat_map(|(name, number)| [text(name), Value::Int(*number)]));
        Self { health: Health::of(&Value::Array(fields)), ..self }
    }
}
