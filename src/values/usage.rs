//! Usage counters as keys hold them.

use super::life::Link;
use apikey_engine::defrag::Defrag;
use apikey_engine::limits::account::Account;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;

/// What a key of the type `apikeyuse` holds.
pub struct UsageValue {
    pub counter: Counter,
    /// None where nothing is leased and no limit was taken from, as of most counters.
    more: Option<Box<More>>,
    pub link: Link,
}

#[derive(Default)]
struct More {
    leases: Leases,
    account: Account,
}

const _: () = assert!(size_of::<UsageValue>() <= 48);

impl UsageValue {
    pub fn new(counter: Counter, leases: Leases, account: Account) -> Box<Self> {
        let mut value = Self { counter, more: None, link: Link::default() };
        value.set_leases(leases);
        if !account.is_empty() {
            value.more.get_or_insert_default().account = account;
        }
        Box::new(value)
    }

    pub fn leases(&self) -> &Leases {
        self.more.as_ref().map_or(Leases::NONE, |more| &more.leases)
    }

    pub fn set_leases(&mut self, leases: Leases) {
        match &mut self.more {
            Some(more) if leases.is_empty() && more.account.is_empty() => self.more = None,
            Some(more) => more.leases = leases,
            None if leases.is_empty() => {}
            None => self.more.get_or_insert_default().leases = leases,
        }
    }

    pub fn account(&self) -> &Account {
        self.more.as_ref().map_or(Account::NONE, |more| &more.account)
    }

    pub fn account_mut(&mut self) -> &mut Account {
        &mut self.more.get_or_insert_default().account
    }

    /// Hands over what the value has allocated.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        if let Some(more) = &mut self.more {
            to.boxed(more);
            more.leases.defrag(to);
            more.account.defrag(to);
        }
    }

    /// That the value takes.
    pub fn bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            size_of::<More>() + more.leases.heap_bytes() + more.account.heap_bytes()
        });
        size_of_val(self) + more
    }
}
