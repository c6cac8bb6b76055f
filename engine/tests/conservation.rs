//! Conservation: whatever happens to counters and batches, what was counted = what was settled, taken or
//! deleted + what is leased + what is pending, and a line comes again as it was or not at all.
//!
//! Two databases of a few counters are driven as the server's side drives them, beside nothing but sums: two of
//! one node, and then one of each of two nodes between which counters move.

use apikey_engine::clock::CLOCKS_DIFFER_MS;
use apikey_engine::database::catalog::Database;
use apikey_engine::database::items::{counter_tags_in_index, Held, PENDING};
use apikey_engine::tags::fingerprint::Fingerprints;
use apikey_engine::tags::segments::Place;
use apikey_engine::usage::batches::{Terms, MAX_LEASE_MS};
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::id::{Id, Ids};
use apikey_engine::usage::lease::Leases;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
struct Value {
    counter: Counter,
    leases: Leases,
    place: Option<Place>,
}

impl Value {
    fn held(&self) -> Held<'_> {
        Held { pending: self.counter.pending(), leases: &self.leases }
    }
}

#[derive(Default)]
struct Db {
    keys: BTreeMap<u8, Value>,
    database: Database,
}

impl Db {
    fn arrive(&mut self, of: &Fingerprints, name: u8, mut value: Value) {
        value.place = self.database.add_counter(&[name], value.held(), of);
        self.keys.insert(name, value);
    }

    fn leave(&mut self, of: &Fingerprints, name: u8) -> Option<Value> {
        let mut value = self.keys.remove(&name)?;
        value.leases.note_terms(self.database.batches());
        self.database.remove_counter(&[name], value.place, value.held(), of);
        Some(value)
    }

    fn change<T>(
        &mut self,
        of: &Fingerprints,
        name: u8,
        change: impl FnOnce(&mut Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.keys.get_mut(&name)?;
        let before = value.clone();
        let done = change(value)?;
        value.place =
            self.database.update_counter(&[name], value.place, before.held(), value.held(), of);
        Some(done)
    }

    /// The names that carry a tag, from the last on.
    fn members(&self, tag: apikey_engine::tags::fingerprint::Fingerprint) -> Vec<u8> {
        let index = self.database.index();
        let name = |at| index.name(index.member(tag, at)?).map(|name| name[0]);
        (0..index.member_count(tag)).rev().map(|at| name(at).unwrap()).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Incr {
        name: u8,
        by: i64,
    },
    Take {
        name: u8,
    },
    Lease {
        ms: i64,
        most: usize,
    },
    Redeliver {
        ms: i64,
    },
    Ack {
        nth: usize,
    },
    Nack {
        nth: usize,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Move {
        name: u8,
    },
    Delete {
        name: u8,
    },
    Select,
    Wait {
        ms: i64,
    },
    /// The clock is set, either way.
    Set {
        to: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0u8..8;
    prop_oneof![
        12 => (name(), 1i64..9).prop_map(|(name, by)| Step::Incr { name, by }),
        2 => name().prop_map(|name| Step::Take { name }),
        6 => (1i64..50, 1usize..6).prop_map(|(ms, most)| Step::Lease { ms, most }),
        4 => (1i64..50).prop_map(|ms| Step::Redeliver { ms }),
        4 => (0usize..20).prop_map(|nth| Step::Ack { nth }),
        2 => (0usize..20).prop_map(|nth| Step::Nack { nth }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Copy { from, to }),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => name().prop_map(|name| Step::Move { name }),
        2 => name().prop_map(|name| Step::Delete { name }),
        3 => Just(Step::Select),
        4 => (1i64..40).prop_map(|ms| Step::Wait { ms }),
        1 => (1i64..1 << 45).prop_map(|to| Step::Set { to }),
    ]
}

/// What was counted, and where it went.
#[derive(Default)]
struct Sums {
    counted: i64,
    taken: i64,
    settled: i64,
    deleted: i64,
}

impl Sums {
    fn delete(&mut self, value: Option<Value>) {
        if let Some(value) = value {
            self.deleted += value.counter.pending() + value.leases.count();
        }
    }
}

proptest! {
    #[test]
    fn what_was_counted_is_settled_taken_deleted_leased_or_pending(
        steps in proptest::collection::vec(step(), 0..300)
    ) {
        let of = Fingerprints::new([3; 16]);
        let (mut here, mut there) = (Db::default(), Db::default());
        let (mut ids, mut now, mut sums) = (Ids::new([9; 10]), 1000, Sums::default());
        // Each line that was ever given out, with its batch and its count; and those that are settled.
        let mut lines: BTreeMap<Id, (Id, i64)> = BTreeMap::new();
        let mut settled: BTreeSet<Id> = BTreeSet::new();
        let mut batches: Vec<Id> = Vec::new();
        for step in steps {
            match step {
                Step::Incr { name, by } => {
                    sums.counted += by;
                    let done = here.change(&of, name, |value| value.counter.incr(by, now).ok());
                    if done.is_none() {
                        let mut value = Value::default();
                        value.counter.incr(by, now).unwrap();
                        here.arrive(&of, name, value);
                    }
                }
                Step::Take { name } => {
                    let taken = here.change(&of, name, |value| Some(value.counter.take()));
                    sums.taken += taken.unwrap_or(0);
                }
                Step::Lease { ms, most } => {
                    let batch = ids.draw().unwrap();
                    batches.push(batch);
                    let terms = Terms { leased_at: now, deadline: now + ms };
                    for name in here.members(PENDING).into_iter().take(most) {
                        let line = ids.draw().unwrap();
                        let count = here.change(&of, name, |value| {
                            value.leases.lease(&mut value.counter, batch, line, terms)
                        });
                        prop_assert_eq!(lines.insert(line, (batch, count.unwrap())), None);
                    }
                }
                Step::Redeliver { ms } => {
                    while let Some(batch) = here.database.batches().overdue(now) {
                        let names = here.members(batch.fingerprint(&of));
                        prop_assert!(!names.is_empty());
                        for name in names {
                            let lease = *here.keys[&name].leases.of(batch).unwrap();
                            prop_assert_eq!(lines[&lease.line], (batch, lease.count));
                            prop_assert!(!settled.contains(&lease.line));
                        }
                        prop_assert!(here.database.give_again(batch, now + ms, now).is_some());
                    }
                    // Nothing waits for a time that a lease can't have meant.
                    let latest = now + MAX_LEASE_MS + CLOCKS_DIFFER_MS;
                    let mut open = std::iter::successors(here.database.batches().after(None), |&id| {
                        here.database.batches().after(Some(id))
                    });
                    let is_near =
                        |id| here.database.batches().terms(id).unwrap().deadline <= latest;
                    prop_assert!(open.all(is_near));
                }
                Step::Ack { nth } if nth < batches.len() => {
                    let batch = batches[nth];
                    for name in here.members(batch.fingerprint(&of)) {
                        let lease = here.change(&of, name, |value| value.leases.settle(batch));
                        let lease = lease.unwrap();
                        prop_assert!(settled.insert(lease.line));
                        sums.settled += lease.count;
                    }
                    prop_assert_eq!(here.database.batches().terms(batch), None);
                }
                Step::Nack { nth } if nth < batches.len() => {
                    here.database.set_deadline(batches[nth], 0);
                }
                Step::Ack { .. } | Step::Nack { .. } => {}
                Step::Copy { from, to } => {
                    if from != to && here.keys.contains_key(&from) {
                        sums.delete(here.leave(&of, to));
                        here.arrive(&of, to, Value::default());
                    }
                }
                Step::Rename { from, to } => {
                    if from != to && here.keys.contains_key(&from) {
                        sums.delete(here.leave(&of, to));
                        let value = here.leave(&of, from).unwrap();
                        here.arrive(&of, to, value);
                    }
                }
                Step::Move { name } => {
                    if !there.keys.contains_key(&name) {
                        if let Some(value) = here.leave(&of, name) {
                            there.arrive(&of, name, value);
                        }
                    }
                }
                Step::Delete { name } => sums.delete(here.leave(&of, name)),
                // SWAPDB is the same, since the index goes with the keys.
                Step::Select => std::mem::swap(&mut here, &mut there),
                Step::Wait { ms } => now += ms,
                Step::Set { to } => now = to,
            }

            let (mut pending, mut leased) = (0, 0);
            for db in [&here, &there] {
                let mut open = BTreeSet::new();
                let mut sum = (0, 0);
                for (&name, value) in &db.keys {
                    sum.0 += value.counter.pending();
                    sum.1 += value.leases.count();
                    open.extend(value.leases.lines().iter().map(|lease| lease.batch));
                    let mut tags = Vec::new();
                    counter_tags_in_index(value.held(), &of, &mut tags);
                    prop_assert_eq!(value.place.is_some(), !tags.is_empty());
                    if let Some(place) = value.place {
                        let checked = db.database.index().check_item(place, &[name], &tags);
                        prop_assert_eq!(checked, Ok(()));
                    }
                }
                let totals = db.database.totals();
                prop_assert_eq!((totals.pending, totals.leased), (sum.0.into(), sum.1.into()));
                prop_assert_eq!(totals.counters, db.keys.len() as u64);
                prop_assert_eq!(db.database.batches().len(), open.len());
                prop_assert!(open.iter().all(|&id| db.database.batches().terms(id).is_some()));
                prop_assert_eq!(db.database.tag_count(), 0);
                pending += sum.0;
                leased += sum.1;
            }
            let gone = sums.taken + sums.settled + sums.deleted;
            prop_assert_eq!(sums.counted, gone + leased + pending);
        }
    }
}

/// What happens to two nodes, of which one is `at`.
#[derive(Clone, Debug)]
enum Move {
    Incr {
        at: usize,
        name: u8,
    },
    Lease {
        at: usize,
        most: usize,
    },
    /// A consumer writes one of the latest deliveries, and tells all nodes.
    Ack {
        back: usize,
    },
    Nack {
        back: usize,
    },
    /// To the other node.
    Migrate {
        name: u8,
    },
    /// RESTORE in place of what was dumped.
    Restore {
        name: u8,
    },
    Wait {
        ms: i64,
    },
}

fn move_() -> impl Strategy<Value = Move> {
    let (at, name) = (0usize..2, 0u8..6);
    prop_oneof![
        8 => (at.clone(), name.clone()).prop_map(|(at, name)| Move::Incr { at, name }),
        6 => (at, 1usize..6).prop_map(|(at, most)| Move::Lease { at, most }),
        4 => (0usize..6).prop_map(|back| Move::Ack { back }),
        2 => (0usize..6).prop_map(|back| Move::Nack { back }),
        4 => name.clone().prop_map(|name| Move::Migrate { name }),
        1 => name.prop_map(|name| Move::Restore { name }),
        4 => (1i64..40).prop_map(|ms| Move::Wait { ms }),
    ]
}

/// A batch as it was given out, each line with its key and its count.
type Delivery = (Id, Vec<(Id, u8, i64)>);

struct Nodes {
    of: Fingerprints,
    dbs: [Db; 2],
    ids: [Ids; 2],
    now: i64,
}

impl Nodes {
    /// What LEASE gives out at a node.
    fn lease(&mut self, at: usize, most: usize) -> Vec<Delivery> {
        let (db, deadline) = (&mut self.dbs[at], self.now + 20);
        let mut given = Vec::new();
        while let Some(batch) = db.database.batches().overdue(self.now) {
            let names = db.members(batch.fingerprint(&self.of));
            let line = |name: u8| {
                let lease = db.keys[&name].leases.of(batch).unwrap();
                (lease.line, name, lease.count)
            };
            given.push((batch, names.into_iter().map(line).collect()));
            db.database.give_again(batch, deadline, self.now);
        }
        if given.is_empty() {
            let batch = self.ids[at].draw().unwrap();
            let terms = Terms { leased_at: self.now, deadline };
            let names = db.members(PENDING).into_iter().take(most);
            let mut lines = Vec::new();
            for name in names {
                let line = self.ids[at].draw().unwrap();
                let count = db.change(&self.of, name, |value| {
                    value.leases.lease(&mut value.counter, batch, line, terms)
                });
                lines.push((line, name, count.unwrap()));
            }
            given.push((batch, lines));
        }
        given
    }

    /// Settles a batch at all nodes; returns its lines.
    fn ack(&mut self, batch: Id) -> Vec<Id> {
        let mut settled = Vec::new();
        for db in &mut self.dbs {
            for name in db.members(batch.fingerprint(&self.of)) {
                let lease = db.change(&self.of, name, |value| value.leases.settle(batch));
                settled.extend(lease.map(|lease| lease.line));
            }
        }
        settled
    }

    fn restore(&mut self, name: u8, to: usize) {
        let from = usize::from(self.dbs[1].keys.contains_key(&name));
        if let Some(mut value) = self.dbs[from].leave(&self.of, name) {
            let before = (value.counter, value.leases.count());
            value.leases = value.leases.apart();
            assert_eq!((value.counter, value.leases.count()), before);
            self.dbs[if to == from { from } else { 1 - from }].arrive(&self.of, name, value);
        }
    }
}

proptest! {
    /// An acknowledgement that all nodes are told settles nothing that its consumer was not given, however the
    /// lines of its batch have moved meanwhile; so what is written under the ids of lines is what was counted.
    #[test]
    fn what_consumers_have_written_is_what_was_counted_though_counters_move(
        moves in proptest::collection::vec(move_(), 0..300)
    ) {
        let ids = [Ids::new([8; 10]), Ids::new([9; 10])];
        let of = Fingerprints::new([3; 16]);
        let mut nodes = Nodes { of, dbs: Default::default(), ids, now: 1000 };
        let mut counted: BTreeMap<u8, i64> = BTreeMap::new();
        let mut written: BTreeMap<Id, (u8, i64)> = BTreeMap::new();
        let mut given: Vec<Delivery> = Vec::new();
        let latest = |given: &Vec<Delivery>, back: usize| {
            given.len().checked_sub(back + 1).map(|nth| given[nth].clone())
        };
        let mut write = |lines: &[(Id, u8, i64)]| {
            for &(line, name, count) in lines {
                assert_eq!(*written.entry(line).or_insert((name, count)), (name, count));
            }
            written.clone()
        };
        for step in moves {
            match step {
                Move::Incr { at, name } => {
                    let is_there = |at: usize| nodes.dbs[at].keys.contains_key(&name);
                    let at = if is_there(0) || is_there(1) { usize::from(is_there(1)) } else { at };
                    *counted.entry(name).or_default() += 1;
                    if !is_there(at) {
                        nodes.dbs[at].arrive(&nodes.of, name, Value::default());
                    }
                    let now = nodes.now;
                    nodes.dbs[at].change(&nodes.of, name, |value| value.counter.incr(1, now).ok());
                }
                Move::Lease { at, most } => given.extend(nodes.lease(at, most)),
                Move::Ack { back } => {
                    if let Some((batch, lines)) = latest(&given, back) {
                        let written = write(&lines);
                        let settled = nodes.ack(batch);
                        prop_assert!(settled.iter().all(|line| written.contains_key(line)));
                    }
                }
                Move::Nack { back } => {
                    if let Some((batch, _)) = latest(&given, back) {
                        nodes.dbs.iter_mut().for_each(|db| {
                            db.database.set_deadline(batch, 0);
                        });
                    }
                }
                Move::Migrate { name } => nodes.restore(name, 2),
                Move::Restore { name } => {
                    nodes.restore(name, usize::from(nodes.dbs[1].keys.contains_key(&name)));
                }
                Move::Wait { ms } => nodes.now += ms,
            }
            for db in &nodes.dbs {
                let leases = || db.keys.values().flat_map(|value| value.leases.lines());
                let open: BTreeSet<Id> = leases().map(|lease| lease.batch).collect();
                prop_assert_eq!(db.database.batches().len(), open.len());
                let leased: i64 = leases().map(|lease| lease.count).sum();
                prop_assert_eq!(db.database.totals().leased, leased.into());
            }
        }
        // All that is left is handed over.
        for _ in 0..100 {
            nodes.now += 1000;
            for at in 0..2 {
                for (batch, lines) in nodes.lease(at, 100) {
                    write(&lines);
                    nodes.ack(batch);
                }
            }
        }
        let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
        for (name, count) in write(&[]).into_values() {
            *sums.entry(name).or_default() += count;
        }
        prop_assert_eq!(sums, counted);
        prop_assert!(nodes.dbs.iter().all(|db| db.database.batches().is_empty()));
    }
}
