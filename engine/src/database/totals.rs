//! How many keys of each kind a database has, and how much is pending and leased.

use crate::entry::kind::Kind;

/// Totals of a database, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub records: u64,
    /// Keys that say that there is no such API key.
    pub absent: u64,
    /// Keys that hold scope decisions.
    pub scopes: u64,
    /// Keys that hold a list of records.
    pub lists: u64,
    pub counters: u64,
    pub pending: i128,
    pub leased: i128,
}

impl Totals {
    /// Keys that hold an entry of this kind.
    pub fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Record => &mut self.records,
            Kind::Absent => &mut self.absent,
            Kind::Scopes => &mut self.scopes,
            Kind::List => &mut self.lists,
        }
    }

    /// Keys that hold an entry, live or dead.
    pub fn entries(&self) -> u64 {
        self.records + self.absent + self.scopes + self.lists
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            absent: self.absent + other.absent,
            scopes: self.scopes + other.scopes,
            lists: self.lists + other.lists,
            counters: self.counters + other.counters,
            pending: self.pending + other.pending,
            leased: self.leased + other.leased,
        }
    }
}
