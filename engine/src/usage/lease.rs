//! Leases: what a counter has handed over and nobody has settled yet, and the batches that they form.
//!
//! A *batch* is what one LEASE gave out: lines, each of which is the count of one key. A counter holds
//! its own lines as its [`Leases`], so that they go where it goes. What a whole batch has in common,
//! its [`Terms`], stands in the [`Batches`] of the database and is made from the lines alone: a batch
//! is there from its first line to its last.
//!
//! **Ids.** A batch and a line have ids of one sequence: 80 bits that are drawn at random for each run of
//! a node (its start, and each change of its role), then 48 that count. So no id is ever given twice,
//! on any node. None is zero.
//!
//! **What always holds.** A counter has at most one line of a batch, at most [`MAX_LEASES`] of all, and
//! each has a count of at least 1.

use crate::entry::tag_names::MAX_TAG_BYTES;
use crate::tags::fingerprint::{Fingerprint, Fingerprints};
use crate::usage::counter::Counter;
use std::collections::{BTreeMap, BTreeSet};

/// The longest time that a lease may be given: a day.
pub const MAX_LEASE_MS: i64 = 86_400_000;

/// The most batches that may hold a line of one counter. What such a counter counts waits until one
/// of them is settled. Few, since each change of a counter costs the index as much as it has.
pub const MAX_LEASES: usize = 8;

/// The id of a batch or of a line; written as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u128);

impl Id {
    /// `None` for zero, which is no id.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let number = u128::from_be_bytes(bytes);
        (number != 0).then_some(Self(number))
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads 32 hex digits; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The decoder takes a prefix 0x as well.
        (text.len() == 32).then_some(())?;
        Self::from_bytes(const_hex::decode_to_array(text).ok()?)
    }

    pub fn to_hex(self) -> String {
        const_hex::encode(self.to_bytes())
    }

    /// Stands for the batch in the index. Its name is longer than a tag may be, so that none has it.
    pub fn fingerprint(self, of: &Fingerprints) -> Fingerprint {
        let mut name = [0; MAX_TAG_BYTES + 16];
        if let Some(head) = name.first_chunk_mut() {
            *head = self.to_bytes();
        }
        of.of(&name)
    }
}

/// Gives ids out.
#[derive(Debug)]
pub struct Ids {
    run: u128,
    given: u64,
}

const COUNTED_BITS: u32 = 48;

impl Ids {
    /// `run` has to be random: no other run of any node may have it.
    pub fn new(run: [u8; 10]) -> Self {
        let run = run.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte));
        Self { run: run << COUNTED_BITS, given: 0 }
    }

    /// The next id; `None` when this run has given all it has, which takes nine years at a million
    /// a second.
    pub fn draw(&mut self) -> Option<Id> {
        let number = self.given + 1;
        if number >> COUNTED_BITS != 0 {
            return None;
        }
        self.given = number;
        Some(Id(self.run | u128::from(number)))
    }
}

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

/// A line of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub batch: Id,
    pub line: Id,
    pub count: i64,
    /// Those that the counter brings along where it comes to: while a database has it, the terms of the
    /// batch are what [`Batches`] says.
    pub terms: Terms,
}

/// The lines of one counter, in the order in which they were leased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    lines: Vec<Lease>,
}

impl Leases {
    pub const NONE: &'static Self = &Self { lines: Vec::new() };

    /// Puts the leases of a counter together; `None` where they can't be that.
    pub fn from_parts(counter: &Counter, lines: Vec<Lease>) -> Option<Self> {
        if lines.len() > MAX_LEASES {
            return None;
        }
        let mut all = counter.pending();
        for (nth, lease) in lines.iter().enumerate() {
            let is_new = lines.iter().take(nth).all(|other| other.batch != lease.batch);
            if !is_new || lease.count < 1 || lease.terms.leased_at < 0 || lease.terms.deadline < 0 {
                return None;
            }
            all = all.checked_add(lease.count)?;
        }
        (all <= counter.total()).then_some(Self { lines })
    }

    pub fn lines(&self) -> &[Lease] {
        &self.lines
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the counter can't be leased again before something is settled.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LEASES
    }

    /// The sum of all lines.
    pub fn count(&self) -> i64 {
        self.lines.iter().map(|lease| lease.count).sum()
    }

    pub fn of(&self, batch: Id) -> Option<&Lease> {
        self.lines.iter().find(|lease| lease.batch == batch)
    }

    /// Moves what is pending into a batch and returns how much that is; `None` where nothing is, or
    /// nothing can be.
    pub fn lease(
        &mut self,
        counter: &mut Counter,
        batch: Id,
        line: Id,
        terms: Terms,
    ) -> Option<i64> {
        if counter.pending() == 0 || self.is_full() || self.of(batch).is_some() {
            return None;
        }
        let count = counter.take();
        self.lines.push(Lease { batch, line, count, terms });
        Some(count)
    }

    /// Takes the line of a batch away for good.
    pub fn settle(&mut self, batch: Id) -> Option<Lease> {
        let at = self.lines.iter().position(|lease| lease.batch == batch)?;
        Some(self.lines.remove(at))
    }

    /// Bytes that the lines have allocated.
    pub fn heap_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Lease>()
    }

    /// Notes the terms that the batches have now.
    pub fn note_terms(&mut self, batches: &Batches) {
        for lease in &mut self.lines {
            lease.terms = batches.terms(lease.batch).unwrap_or(lease.terms);
        }
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

    const TERMS: Terms = Terms { leased_at: 10, deadline: 20 };

    #[test]
    fn ids_never_repeat_within_a_run_and_are_read_as_they_were_written() {
        let mut ids = Ids::new([0xab; 10]);
        let first = ids.draw().unwrap();
        assert_eq!(first.to_hex(), "abababababababababab000000000001");
        assert_eq!(Id::parse(first.to_hex().as_bytes()), Some(first));
        assert_eq!(Id::parse(first.to_hex().to_uppercase().as_bytes()), Some(first));
        assert_eq!(Id::from_bytes(first.to_bytes()), Some(first));
        assert_eq!(ids.draw().unwrap().to_hex(), "abababababababababab000000000002");
        for none in ["", "0x", "12", "x", &"g".repeat(32), &"1".repeat(33), &"0".repeat(32)] {
            assert_eq!(Id::parse(none.as_bytes()), None, "{none}");
        }
        let prefixed = format!("0x{}", first.to_hex());
        assert_eq!(Id::parse(prefixed.as_bytes()), None);
        ids.given = (1 << COUNTED_BITS) - 2;
        assert_eq!(ids.draw().unwrap().to_hex(), "ababababababababababffffffffffff");
        assert_eq!(ids.draw(), None);
        assert_eq!(ids.draw(), None);
    }

    #[test]
    fn a_lease_moves_what_is_pending_and_settling_ends_it() {
        let (mut counter, mut leases) = (Counter::default(), Leases::default());
        assert_eq!(leases.lease(&mut counter, id(1), id(2), TERMS), None);
        counter.incr(5, 1).unwrap();
        assert_eq!(leases.lease(&mut counter, id(1), id(2), TERMS), Some(5));
        counter.incr(7, 1).unwrap();
        assert_eq!(leases.lease(&mut counter, id(1), id(3), TERMS), None, "it has a line there");
        assert_eq!(leases.lease(&mut counter, id(4), id(3), TERMS), Some(7));
        assert_eq!((counter.pending(), leases.count(), counter.total()), (0, 12, 12));
        assert_eq!(leases.settle(id(1)).map(|lease| lease.count), Some(5));
        assert_eq!(leases.settle(id(1)), None);
        assert_eq!((leases.count(), counter.total()), (7, 12));
    }

    #[test]
    fn a_counter_in_the_most_batches_keeps_its_pending() {
        let (mut counter, mut leases) = (Counter::default(), Leases::default());
        for n in 1..=MAX_LEASES as u128 {
            counter.incr(1, 1).unwrap();
            assert_eq!(leases.lease(&mut counter, id(n), id(n + 1000), TERMS), Some(1));
        }
        counter.incr(1, 1).unwrap();
        assert_eq!(leases.lease(&mut counter, id(999), id(998), TERMS), None);
        assert_eq!((counter.pending(), leases.count()), (1, MAX_LEASES as i64));
        assert!(Leases::from_parts(&counter, leases.lines().to_vec()).is_some());
        leases.settle(id(7));
        assert_eq!(leases.lease(&mut counter, id(999), id(998), TERMS), Some(1));
    }

    #[test]
    fn leases_that_no_counter_has_are_refused() {
        let counter = Counter::from_parts(1, 10, 1, 1).unwrap();
        let line = |batch, count| Lease { batch: id(batch), line: id(9), count, terms: TERMS };
        let fits = |lines: &[Lease]| Leases::from_parts(&counter, lines.to_vec()).is_some();
        assert!(fits(&[]));
        assert!(fits(&[line(1, 4), line(2, 5)]));
        assert!(!fits(&[line(1, 4), line(2, 6)]), "more than was counted");
        assert!(!fits(&[line(1, i64::MAX), line(2, i64::MAX)]), "more than 64 bits");
        assert!(!fits(&[line(1, 4), line(1, 5)]), "twice the same batch");
        assert!(!fits(&[line(1, 0)]) && !fits(&[line(1, -1)]));
        let with = |terms| fits(&[Lease { terms, ..line(1, 1) }]);
        assert!(with(Terms { leased_at: 0, deadline: 0 }));
        assert!(!with(Terms { leased_at: -1, ..TERMS }) && !with(Terms { deadline: -1, ..TERMS }));
        let many: Vec<Lease> = (1..=9).map(|batch| line(batch, 1)).collect();
        let counter = Counter::from_parts(0, 100, 1, 1).unwrap();
        assert!(Leases::from_parts(&counter, many[..8].to_vec()).is_some());
        assert!(Leases::from_parts(&counter, many).is_none());
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
