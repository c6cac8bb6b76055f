//! The open batches of a database: what the lines of each have in common, which is overdue, which is oldest.
//!
//! A *batch* is what one LEASE gave out: lines, each of which is the count of one key. What it has in
//! common, its [`Terms`], is made from the lines alone: a batch is there from its first line to its last.

use crate::usage::id::Id;
use std::collections::{BTreeMap, BTreeSet};

/// The longest time that a lease may be given: a day.
pub const MAX_LEASE_MS: i64 = 86_400_000;

/// The most lines that a batch is given: it is given out again whole, and settled whole, and both take as
/// long as it has lines. One that an earlier version has made may have more.
pub const MAX_LINES: usize = 10_000;

/// What the lines of a batch have in common. Times are epoch milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When the batch was given out first.
    pub leased_at: i64,
    /// When it is to be given out again; 0 once it was given back.
    pub deadline: i64,
}

impl Terms {
    /// Whether the batch is to be given out again. A deadline further off than two leases can be comes
    /// from a clock that was set back since.
    pub fn are_over(&self, now: i64) -> bool {
        self.deadline <= now || self.deadline > now.saturating_add(2 * MAX_LEASE_MS)
    }
}

/// The open batches of a database.
#[derive(Debug, Default)]
pub struct Batches {
    open: BTreeMap<Id, Terms>,
    by_deadline: BTreeSet<(i64, Id)>,
    by_age: BTreeSet<(i64, Id)>,
}

impl Batches {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn terms(&self, batch: Id) -> Option<Terms> {
        self.open.get(&batch).copied()
    }

    /// The open batch whose id is next, for walks.
    pub fn after(&self, batch: Option<Id>) -> Option<Id> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = batch.map_or(Unbounded, Excluded);
        self.open.range((from, Unbounded)).next().map(|(&id, _)| id)
    }

    /// A line has come. Where the others of its batch know other terms (it comes from a node, or out of
    /// a backup, where they were others), the batch is as old as the older, and due at the later.
    pub fn join(&mut self, batch: Id, terms: Terms) {
        let known = self.terms(batch);
        let joined = known.map_or(terms, |known| Terms {
            leased_at: known.leased_at.min(terms.leased_at),
            deadline: known.deadline.max(terms.deadline),
        });
        if known != Some(joined) {
            self.put(batch, joined);
        }
    }

    /// Gives an open batch another deadline; false where there is no such batch.
    pub fn set_deadline(&mut self, batch: Id, deadline: i64) -> bool {
        let Some(terms) = self.terms(batch) else { return false };
        self.put(batch, Terms { deadline, ..terms });
        true
    }

    fn put(&mut self, batch: Id, terms: Terms) {
        self.remove(batch);
        self.open.insert(batch, terms);
        self.by_deadline.insert((terms.deadline, batch));
        self.by_age.insert((terms.leased_at, batch));
    }

    /// The last line of a batch has gone.
    pub fn remove(&mut self, batch: Id) {
        if let Some(terms) = self.open.remove(&batch) {
            self.by_deadline.remove(&(terms.deadline, batch));
            self.by_age.remove(&(terms.leased_at, batch));
        }
    }

    /// A batch that is to be given out again: what was given back first, then what is overdue longest.
    pub fn overdue(&self, now: i64) -> Option<Id> {
        let ends = [self.by_deadline.first(), self.by_deadline.last()];
        let is_over = |id: &Id| self.terms(*id).is_some_and(|terms| terms.are_over(now));
        ends.into_iter().flatten().map(|&(_, id)| id).find(is_over)
    }

    /// When the oldest batch was given out first.
    pub fn oldest(&self) -> Option<i64> {
        self.by_age.first().map(|&(leased_at, _)| leased_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Id {
        Id::from_bytes(number.to_be_bytes()).unwrap()
    }

    #[test]
    fn batches_are_due_from_their_deadline_on_the_longest_overdue_first() {
        let mut batches = Batches::default();
        for (n, leased_at, deadline) in [(1, 30, 300), (2, 10, 200), (3, 20, 100)] {
            batches.join(id(n), Terms { leased_at, deadline });
        }
        assert_eq!((batches.len(), batches.oldest()), (3, Some(10)));
        assert_eq!(batches.overdue(99), None);
        assert_eq!(batches.overdue(100), Some(id(3)));
        assert_eq!(batches.overdue(1000), Some(id(3)));
        assert!(batches.set_deadline(id(3), 2000));
        assert_eq!(batches.overdue(1000), Some(id(2)));
        assert!(batches.set_deadline(id(1), 0), "given back");
        assert_eq!(batches.overdue(0), Some(id(1)));
        batches.remove(id(1));
        batches.remove(id(2));
        assert!(!batches.set_deadline(id(1), 5));
        assert_eq!((batches.overdue(1999), batches.oldest()), (None, Some(20)));
        // The clock was set back by more than a lease can last.
        assert_eq!(batches.overdue(2000 - 2 * MAX_LEASE_MS), None);
        assert_eq!(batches.overdue(1999 - 2 * MAX_LEASE_MS), Some(id(3)));
        assert_eq!(batches.after(None), Some(id(3)));
        assert_eq!(batches.after(Some(id(3))), None);
    }

    #[test]
    fn lines_that_know_other_terms_make_the_batch_older_and_due_later() {
        let mut batches = Batches::default();
        batches.join(id(1), Terms { leased_at: 10, deadline: 100 });
        batches.join(id(1), Terms { leased_at: 5, deadline: 50 });
        assert_eq!(batches.terms(id(1)), Some(Terms { leased_at: 5, deadline: 100 }));
        batches.join(id(1), Terms { leased_at: 20, deadline: 200 });
        assert_eq!(batches.terms(id(1)), Some(Terms { leased_at: 5, deadline: 200 }));
        assert_eq!((batches.len(), batches.oldest()), (1, Some(5)));
    }
}
