//! The open batches of a database: what the lines of each have in common, which is overdue, which is oldest.
//!
//! A *batch* is what one LEASE gave out: lines, each of which is the count of one key. What it has in
//! common, its [`Terms`], is made from the lines alone: a batch is there from its first line to its last.

use crate::clock::CLOCKS_DIFFER_MS;
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

#[derive(Clone, Copy, Debug)]
struct Open {
    terms: Terms,
    /// When the batch was given out last, as far as this node knows.
    given_at: i64,
}

/// Whether the clock was set back since a batch of this deadline was given out.
fn is_ahead(given_at: i64, deadline: i64, now: i64) -> bool {
    let latest = now.saturating_add(CLOCKS_DIFFER_MS);
    given_at > latest || deadline > latest.saturating_add(MAX_LEASE_MS)
}

impl Open {
    fn is_ahead(&self, now: i64) -> bool {
        is_ahead(self.given_at, self.terms.deadline, now)
    }

    /// Whether the batch is to be given out again. One whose deadline a clock that was set back would take
    /// long to reach is.
    fn is_over(&self, now: i64) -> bool {
        self.terms.deadline <= now || self.is_ahead(now)
    }
}

/// The open batches of a database.
#[derive(Debug, Default)]
pub struct Batches {
    open: BTreeMap<Id, Open>,
    by_deadline: BTreeSet<(i64, Id)>,
    by_given: BTreeSet<(i64, Id)>,
    by_age: BTreeSet<(i64, Id)>,
    /// Of any of them, since the start.
    changes: u64,
}

/// Of open batches, be it of several databases, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub deadlines: [i64; 2],
    /// When the latest was given out last.
    pub given: i64,
    /// When the oldest was given out first.
    pub oldest: i64,
}

impl Ends {
    /// Whether a batch is to be given out again.
    pub fn has_overdue(&self, now: i64) -> bool {
        let [soonest, _] = self.deadlines;
        soonest <= now || self.has_ahead(now)
    }

    /// Whether a batch was given out by a clock that was set back since.
    pub fn has_ahead(&self, now: i64) -> bool {
        let [_, latest] = self.deadlines;
        is_ahead(self.given, latest, now)
    }
}

impl Batches {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn terms(&self, batch: Id) -> Option<Terms> {
        self.open.get(&batch).map(|open| open.terms)
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
        let Some(&Open { terms: known, given_at }) = self.open.get(&batch) else {
            self.put(batch, Open { terms, given_at: terms.leased_at });
            return;
        };
        let joined = Terms {
            leased_at: known.leased_at.min(terms.leased_at),
            deadline: known.deadline.max(terms.deadline),
        };
        if known != joined {
            self.put(batch, Open { terms: joined, given_at });
        }
    }

    /// Gives an open batch another deadline; false where there is no such batch.
    pub fn set_deadline(&mut self, batch: Id, deadline: i64) -> bool {
        let Some(&Open { terms, given_at }) = self.open.get(&batch) else { return false };
        self.put(batch, Open { terms: Terms { deadline, ..terms }, given_at });
        true
    }

    /// An open batch is given out again; returns its terms from now on. It was not given out first at a time
    /// that is still to come.
    pub fn give_again(&mut self, batch: Id, deadline: i64, now: i64) -> Option<Terms> {
        let leased_at = self.terms(batch)?.leased_at.min(now);
        let terms = Terms { leased_at, deadline };
        self.put(batch, Open { terms, given_at: now });
        Some(terms)
    }

    /// An open batch was given out elsewhere, under these terms.
    pub fn was_given(&mut self, batch: Id, terms: Terms, now: i64) {
        if self.open.contains_key(&batch) {
            self.put(batch, Open { terms, given_at: now.max(terms.leased_at) });
        }
    }

    fn put(&mut self, batch: Id, open: Open) {
        self.remove(batch);
        self.changes += 1;
        self.open.insert(batch, open);
        self.by_deadline.insert((open.terms.deadline, batch));
        self.by_given.insert((open.given_at, batch));
        self.by_age.insert((open.terms.leased_at, batch));
    }

    /// The last line of a batch has gone.
    pub fn remove(&mut self, batch: Id) {
        if let Some(Open { terms, given_at }) = self.open.remove(&batch) {
            self.changes += 1;
            self.by_deadline.remove(&(terms.deadline, batch));
            self.by_given.remove(&(given_at, batch));
            self.by_age.remove(&(terms.leased_at, batch));
        }
    }

    /// A batch that is to be given out again: what was given back first, then what is overdue longest.
    pub fn overdue(&self, now: i64) -> Option<Id> {
        let ends = [self.by_deadline.first(), self.by_deadline.last(), self.by_given.last()];
        let mut ids = ends.into_iter().flatten().map(|&(_, id)| id);
        ids.find(|id| self.open.get(id).is_some_and(|open| open.is_over(now)))
    }

    pub fn ends(&self) -> Option<Ends> {
        Some(Ends {
            deadlines: [self.by_deadline.first()?.0, self.by_deadline.last()?.0],
            given: self.by_given.last()?.0,
            oldest: self.by_age.first()?.0,
        })
    }

    /// How often one has come, gone, or got other terms.
    pub fn changes(&self) -> u64 {
        self.changes
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
        let ends = |deadlines, given, oldest| Some(Ends { deadlines, given, oldest });
        assert_eq!((batches.len(), batches.ends()), (3, ends([100, 300], 30, 10)));
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
        assert_eq!((batches.overdue(1999), batches.ends()), (None, ends([2000; 2], 20, 20)));
        assert_eq!(batches.after(None), Some(id(3)));
        assert_eq!(batches.after(Some(id(3))), None);
    }

    fn is_ahead(batches: &Batches, now: i64) -> bool {
        batches.ends().is_some_and(|ends| ends.has_ahead(now))
    }

    const YEAR_MS: i64 = 365 * 86_400_000;

    #[test]
    fn a_batch_that_a_clock_has_given_out_which_was_set_back_since_is_over() {
        for back in [CLOCKS_DIFFER_MS + 1, 3_600_000, MAX_LEASE_MS, YEAR_MS, 40 * YEAR_MS] {
            let ahead = 50 * YEAR_MS;
            let now = ahead - back;
            let terms = |at, ms| Terms { leased_at: at, deadline: at + ms };
            for ms in [1, 30_000, MAX_LEASE_MS] {
                // Given out first while it was ahead, here or before a restart.
                let mut batches = Batches::default();
                batches.join(id(1), terms(ahead, ms));
                assert!(batches.overdue(ahead).is_none() && !is_ahead(&batches, ahead));
                assert!(is_ahead(&batches, now));
                assert_eq!(batches.overdue(now), Some(id(1)), "{ms} back by {back}");
                // Once, and it is no older than that.
                let again = batches.give_again(id(1), now + ms, now);
                assert_eq!(again, Some(terms(now, ms)));
                assert!(batches.overdue(now).is_none() && !is_ahead(&batches, now));
                assert_eq!(batches.ends().map(|ends| ends.oldest), Some(now));
                assert_eq!(batches.overdue(now + ms), Some(id(1)));
                // Given out again while it was ahead.
                assert!(batches.give_again(id(1), ahead + ms, ahead).is_some());
                assert!(batches.overdue(ahead).is_none());
                assert_eq!((is_ahead(&batches, now), batches.overdue(now)), (true, Some(id(1))));
                // And elsewhere: a replica knows when it was told.
                batches.was_given(id(1), terms(now, ms + back), ahead);
                assert_eq!(batches.overdue(now), Some(id(1)));
                batches.was_given(id(1), terms(now, ms), now);
                assert!(batches.overdue(now).is_none() && !is_ahead(&batches, now));
            }
        }
        let mut batches = Batches::default();
        batches.was_given(id(1), Terms { leased_at: 1, deadline: 2 }, 1);
        assert!(batches.is_empty() && batches.give_again(id(1), 2, 1).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_ends_no_lease() {
        let mut batches = Batches::default();
        let at = YEAR_MS;
        batches.join(id(1), Terms { leased_at: at, deadline: at + MAX_LEASE_MS });
        assert_eq!(batches.overdue(at - CLOCKS_DIFFER_MS), None);
        assert_eq!(batches.overdue(at - CLOCKS_DIFFER_MS - 1), Some(id(1)));
        // Nor does any time that a counter may bring along do harm.
        for (n, time) in [(2, 0), (3, i64::MAX)] {
            batches.join(id(n), Terms { leased_at: time, deadline: time });
        }
        for now in [1, at, i64::MAX] {
            let mut seen = 0;
            while let Some(batch) = batches.overdue(now) {
                let deadline = now.saturating_add(1000);
                if now < i64::MAX {
                    assert!(batches.give_again(batch, deadline, now).is_some());
                } else {
                    batches.remove(batch);
                }
                seen += 1;
                assert!(seen <= 3, "each comes once");
            }
        }
    }

    #[test]
    fn lines_that_know_other_terms_make_the_batch_older_and_due_later() {
        let mut batches = Batches::default();
        batches.join(id(1), Terms { leased_at: 10, deadline: 100 });
        batches.join(id(1), Terms { leased_at: 5, deadline: 50 });
        assert_eq!(batches.terms(id(1)), Some(Terms { leased_at: 5, deadline: 100 }));
        batches.join(id(1), Terms { leased_at: 20, deadline: 200 });
        assert_eq!(batches.terms(id(1)), Some(Terms { leased_at: 5, deadline: 200 }));
        assert_eq!(batches.ends().map(|ends| ends.oldest), Some(5));
        assert_eq!(batches.len(), 1);
    }
}
