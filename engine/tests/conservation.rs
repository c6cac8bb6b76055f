//! Conservation: whatever happens to counters and batches, what was counted = what was settled, taken or
//! deleted + what is leased + what is pending, and a line comes again as it was or not at all.
//!
//! Two databases of a few counters are driven as the server's side drives them, beside nothing but sums.

use apikey_engine::database::catalog::Database;
use apikey_engine::database::items::{counter_tags_in_index, Held, PENDING};
use apikey_engine::tags::fingerprint::Fingerprints;
use apikey_engine::tags::segments::Place;
use apikey_engine::usage::batches::{Terms, CLOCKS_DIFFER_MS, MAX_LEASE_MS};
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
