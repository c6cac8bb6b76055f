//! How many keys of each kind a database has, and how much is pending and leased.

use crate::entry::kind::Kind;

/// How many absent keys there may be beside any number of other entries, where memory is not short.
const FREE_ABSENT: u64 = 10_000;

/// Of so many entries one may be an absent key.
const ENTRIES_PER_ABSENT: u64 = 10;

/// How many absent keys a node may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAbsent {
    /// A tenth of all entries, or 10,000 if that is more.
    Share,
    /// As many as there are: memory is short, and what somebody guesses at would push out what is in use.
    NoMore,
    Count(u64),
}

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
    /// Keys that hold a value of a region's.
    pub cached: u64,
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
            Kind::Cached => &mut self.cached,
        }
    }

    /// Keys that hold an entry of an API key, live or dead.
    pub fn entries(&self) -> u64 {
        self.records + self.absent + self.scopes + self.lists
    }

    /// Whether there may be an absent key under a name; it is one more unless the name holds one already.
    pub fn may_hold_absent(&self, is_one_more: bool, most: MaxAbsent) -> bool {
        let most = match most {
            MaxAbsent::Share => (self.entries() / ENTRIES_PER_ABSENT).max(FREE_ABSENT),
            MaxAbsent::NoMore => self.absent,
            MaxAbsent::Count(count) => count,
        };
        self.absent + u64::from(is_one_more) <= most
    }

    /// Puts `now` in the stead of `before`, which is part of the sum.
    pub(super) fn exchange(&mut self, before: &Self, now: &Self) {
        self.records = self.records + now.records - before.records;
        self.absent = self.absent + now.absent - before.absent;
        self.scopes = self.scopes + now.scopes - before.scopes;
        self.lists = self.lists + now.lists - before.lists;
        self.cached = self.cached + now.cached - before.cached;
        self.counters = self.counters + now.counters - before.counters;
        self.pending += now.pending - before.pending;
        self.leased += now.leased - before.leased;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keys_are_bounded_by_a_number_or_by_a_share_of_all_entries() {
        for (records, absent, most, holds) in [
            (0, 9_999, MaxAbsent::Share, true),
            (0, 10_000, MaxAbsent::Share, false),
            (500_000, 10_000, MaxAbsent::Share, true),
            (90_000, 10_000, MaxAbsent::Share, false),
            (90_011, 10_000, MaxAbsent::Share, true),
            (500_000, 0, MaxAbsent::NoMore, false),
            (500_000, 9, MaxAbsent::NoMore, false),
            (5, 0, MaxAbsent::Count(0), false),
            (5, 0, MaxAbsent::Count(1), true),
            (5, 1, MaxAbsent::Count(1), false),
        ] {
            let totals = Totals { records, absent, ..Totals::default() };
            assert_eq!(totals.may_hold_absent(true, most), holds, "{absent} of {totals:?}");
        }
        // In the stead of one that is there, unless there are too many.
        for (absent, holds) in [(1, true), (2, true), (3, false)] {
            let totals = Totals { absent, ..Totals::default() };
            assert_eq!(totals.may_hold_absent(false, MaxAbsent::Count(2)), holds);
            assert!(totals.may_hold_absent(false, MaxAbsent::NoMore));
        }
    }
}
