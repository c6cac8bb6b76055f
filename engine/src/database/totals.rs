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

    /// Puts `now` in the stead of `before`, which is part of the sum.
    pub(super) fn exchange(&mut self, before: &Self, now: &Self) {
        self.records = self.records + now.records - before.records;
        self.absent = self.absent + now.absent - before.absent;
        self.scopes = self.scopes + now.scopes - before.scopes;
        self.lists = self.lists + now.lists - before.lists;
        self.counters = self.counters + now.counters - before.counters;
        self.pending += now.pending - before.pending;
        self.leased += now.leased - before.leased;
    }
}
