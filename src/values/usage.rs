//! Usage counters as keys hold them.

use super::life::Link;
use apikey_engine::defrag::Defrag;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;

/// What a key of the type `apikeyuse` holds.
pub struct UsageValue {
    pub counter: Counter,
    /// None where nothing is leased, which is what most counters have.
    leases: Option<Box<Leases>>,
    pub link: Link,
}

const _: () = assert!(size_of::<UsageValue>() <= 48);

impl UsageValue {
    pub fn new(counter: Counter, leases: Leases) -> Box<Self> {
        let mut value = Self { counter, leases: None, link: Link::default() };
        value.set_leases(leases);
        Box::new(value)
    }

    pub fn leases(&self) -> &Leases {
        self.leases.as_deref().unwrap_or(Leases::NONE)
    }

    pub fn set_leases(&mut self, leases: Leases) {
        self.leases = (!leases.is_empty()).then(|| Box::new(leases));
    }

    /// Hands over what the value has allocated.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        if let Some(leases) = &mut self.leases {
            to.boxed(leases);
            leases.defrag(to);
        }
    }

    /// That the value takes.
    pub fn bytes(&self) -> usize {
        let leases = match &self.leases {
            None => 0,
            Some(leases) => size_of::<Leases>() + leases.heap_bytes(),
        };
        size_of_val(self) + leases
    }
}
