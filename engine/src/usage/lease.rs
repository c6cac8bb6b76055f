//! Leases: what a counter has handed over and nobody has settled yet.
//!
//! A counter holds its own lines of the batches as its [`Leases`], so that they go where it goes. Within a node
//! they stay in their batches. What comes from elsewhere (a moved slot, a backup) comes
//! [apart](Leases::apart): who was given the batch there was not given the line by this node, or no more, and
//! settles what it was given.
//!
//! **What always holds.** A counter has at most one line of a batch, at most [`MAX_LEASES`] of all, each with
//! an id of its own and a count of at least 1.

use crate::defrag::Defrag;
use crate::usage::batches::{Batches, Terms};
use crate::usage::counter::Counter;
use crate::usage::id::Id;

/// The most batches that may hold a line of one counter. What such a counter counts waits until one
/// of them is settled. Few, since each change of a counter costs the index as much as it has.
pub const MAX_LEASES: usize = 8;

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
            let differs = |other: &Lease| other.batch != lease.batch && other.line != lease.line;
            let is_new = lines.iter().take(nth).all(differs);
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
        if counter.pending() <= 0 || self.is_full() || self.of(batch).is_some() {
            return None;
        }
        let count = counter.take();
        // As many as there are: most have one.
        self.lines.reserve_exact(1);
        self.lines.push(Lease { batch, line, count, terms });
        Some(count)
    }

    /// The same lines, each in a batch of its own, with the terms that it has: who has been given it is likely to
    /// be still at work, and it is given out again when that should be over.
    pub fn apart(&self) -> Self {
        let alone = |line: &Lease| Lease { batch: line.line.batch_of_line(), ..*line };
        Self { lines: self.lines.iter().map(alone).collect() }
    }

    /// Takes the line of a batch away for good.
    pub fn settle(&mut self, batch: Id) -> Option<Lease> {
        let at = self.lines.iter().position(|lease| lease.batch == batch)?;
        let lease = self.lines.remove(at);
        self.lines.shrink_to_fit();
        Some(lease)
    }

    /// Bytes that the lines have allocated.
    pub fn heap_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Lease>()
    }

    /// Hands them over.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        to.vec(&mut self.lines);
    }

    /// Notes the terms that the batches have now.
    pub fn note_terms(&mut self, batches: &Batches) {
        for lease in &mut self.lines {
            lease.terms = batches.terms(lease.batch).unwrap_or(lease.terms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::tests::Counting;

    fn id(number: u128) -> Id {
        Id::from_bytes(number.to_be_bytes()).unwrap()
    }

    const TERMS: Terms = Terms { leased_at: 10, deadline: 20 };

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
    fn leases_take_memory_for_as_many_lines_as_they_are() {
        let (mut counter, mut leases) = (Counter::default(), Leases::default());
        for n in 1..=3 {
            counter.incr(1, 1).unwrap();
            leases.lease(&mut counter, id(n), id(n + 1000), TERMS);
            assert_eq!(leases.heap_bytes(), n as usize * size_of::<Lease>());
            let (before, mut to) = (leases.clone(), Counting::default());
            leases.defrag(&mut to);
            assert_eq!((to.bytes, &leases), (leases.heap_bytes(), &before));
        }
        leases.settle(id(2));
        assert_eq!(leases.heap_bytes(), 2 * size_of::<Lease>());
    }

    #[test]
    fn lines_that_are_set_apart_stay_what_they_are_in_batches_of_their_own() {
        let counter = Counter::from_parts(0, 10, 1, 1).unwrap();
        let line = |n| Lease { batch: id(n), line: id(n + 100), count: n as i64, terms: TERMS };
        // The third stands in the batch that the first is going to have.
        let third = Lease { batch: id(101).batch_of_line(), ..line(3) };
        let leases = Leases::from_parts(&counter, vec![line(1), line(2), third]).unwrap();
        let apart = leases.apart();
        assert!(Leases::from_parts(&counter, apart.lines().to_vec()).is_some());
        for (before, now) in leases.lines().iter().zip(apart.lines()) {
            assert_eq!(*now, Lease { batch: before.line.batch_of_line(), ..*before });
        }
        assert_eq!((apart.apart(), apart.heap_bytes()), (apart.clone(), 3 * size_of::<Lease>()));
        assert!(leases
            .lines()
            .iter()
            .all(|line| apart.of(line.batch).is_none() || line.batch == third.batch));
    }

    #[test]
    fn leases_that_no_counter_has_are_refused() {
        let counter = Counter::from_parts(1, 10, 1, 1).unwrap();
        let line = |batch, count| {
            let line = id(batch + 100);
            Lease { batch: id(batch), line, count, terms: TERMS }
        };
        let fits = |lines: &[Lease]| Leases::from_parts(&counter, lines.to_vec()).is_some();
        assert!(fits(&[]));
        assert!(fits(&[line(1, 4), line(2, 5)]));
        assert!(!fits(&[line(1, 4), line(2, 6)]), "more than was counted");
        assert!(!fits(&[line(1, i64::MAX), line(2, i64::MAX)]), "more than 64 bits");
        assert!(!fits(&[line(1, 4), Lease { line: id(9), ..line(1, 5) }]), "twice the same batch");
        let same = Lease { line: id(101), ..line(2, 5) };
        assert!(!fits(&[line(1, 4), same]), "twice the same line: one would be counted once");
        assert!(!fits(&[line(1, 0)]) && !fits(&[line(1, -1)]));
        let with = |terms| fits(&[Lease { terms, ..line(1, 1) }]);
        assert!(with(Terms { leased_at: 0, deadline: 0 }));
        assert!(!with(Terms { leased_at: -1, ..TERMS }) && !with(Terms { deadline: -1, ..TERMS }));
        let many: Vec<Lease> = (1..=9).map(|batch| line(batch, 1)).collect();
        let counter = Counter::from_parts(0, 100, 1, 1).unwrap();
        assert!(Leases::from_parts(&counter, many[..8].to_vec()).is_some());
        assert!(Leases::from_parts(&counter, many).is_none());
    }
}
