//! Which names are used most, counted in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient
//! Computation of Frequent and Top-k Elements in Data Streams", 2005), with weights.
//!
//! So many names have a counter as there is room for. A name that has none takes over the least counter, with
//! its count, and adds its own.
//!
//! **What always holds,** until [`Top::age`] is called. An estimate is at least the true count, and at most
//! [`Top::error_bound`] above it; each name whose true count is more than that bound has a counter.
//!
//! **What it costs.** It runs at every read, so a name that has a counter is one hash, one lookup and one addition: the
//! heap that finds the least counter is not told of it. What the heap has of a counter may therefore be too
//! little, never too much, and is put right when the counter comes to the top: a name without counter
//! pays for it. Names stand in the counters alone, and their room is used again.

use ahash::RandomState;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bytes of a name; a longer one is not counted.
pub const MAX_NAME_BYTES: usize = 512;

/// Counters for one region.
pub const DEFAULT_CAPACITY: usize = 512;

#[derive(Debug)]
struct Counter {
    hash: u64,
    count: u64,
    name: Vec<u8>,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Top {
    hashes: RandomState,
    counters: Vec<Counter>,
    capacity: usize,
    /// Places in `counters`, by their names.
    places: HashTable<u32>,
    /// Each place, with its count or one that it had.
    least: BinaryHeap<Reverse<(u64, u32)>>,
    total: u64,
}

impl Default for Top {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl Top {
    /// So many counters, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            hashes: RandomState::new(),
            counters: Vec::new(),
            capacity: capacity.clamp(1, 1 << 20),
            places: HashTable::new(),
            least: BinaryHeap::new(),
            total: 0,
        }
    }

    /// Counts a use of a name.
    pub fn add(&mut self, name: &[u8], weight: u64) {
        if name.len() > MAX_NAME_BYTES || weight == 0 {
            return;
        }
        self.total = self.total.saturating_add(weight);
        let hash = self.hashes.hash_one(name);
        let counters = &mut self.counters;
        let is_name = |place: &u32| {
            counters.get(*place as usize).is_some_and(|it| it.hash == hash && it.name == name)
        };
        let found = self.places.find(hash, is_name).copied();
        if let Some(counter) = found.and_then(|place| counters.get_mut(place as usize)) {
            counter.count = counter.count.saturating_add(weight);
            return;
        }
        if counters.len() < self.capacity {
            let place = counters.len() as u32;
            counters.push(Counter { hash, count: weight, name: name.to_vec() });
            self.least.push(Reverse((weight, place)));
            self.insert(hash, place);
        } else {
            self.replace_least(hash, name, weight);
        }
    }

    fn insert(&mut self, hash: u64, place: u32) {
        let counters = &self.counters;
        self.places.insert_unique(hash, place, |place| {
            counters.get(*place as usize).map_or(0, |counter| counter.hash)
        });
    }

    /// The least counter becomes another name's.
    fn replace_least(&mut self, hash: u64, name: &[u8], weight: u64) {
        let Some(place) = self.least() else { return };
        let Some(counter) = self.counters.get_mut(place as usize) else { return };
        if let Ok(old) = self.places.find_entry(counter.hash, |it| *it == place) {
            old.remove();
        }
        counter.hash = hash;
        counter.count = counter.count.saturating_add(weight);
        counter.name.clear();
        counter.name.extend_from_slice(name);
        self.insert(hash, place);
    }

    /// Puts right what the heap has of those at its top, until the first is the least.
    fn least(&mut self) -> Option<u32> {
        loop {
            let mut first = self.least.peek_mut()?;
            let Reverse((known, place)) = *first;
            let count = self.counters.get(place as usize)?.count;
            if count == known {
                return Some(place);
            }
            *first = Reverse((count, place));
        }
    }

    /// So many names with their estimates, the largest first.
    pub fn top(&self, count: usize) -> Vec<(Vec<u8>, u64)> {
        let mut all: Vec<&Counter> = self.counters.iter().filter(|it| it.count > 0).collect();
        all.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        all.into_iter().take(count).map(|counter| (counter.name.clone(), counter.count)).collect()
    }

    /// The sum of all that was added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// By how much an estimate is too high at most.
    pub fn error_bound(&self) -> u64 {
        self.total / self.capacity as u64
    }

    /// Halves all counts, so that what was used once comes to its end. Rounds down: an estimate may then be
    /// too low, by less than one.
    pub fn age(&mut self) {
        self.total /= 2;
        self.counters.iter_mut().for_each(|counter| counter.count /= 2);
        let all = self.counters.iter().zip(0u32..);
        self.least = all.map(|(counter, place)| Reverse((counter.count, place))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::trace::{Random, Zipf};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn names(top: &Top, count: usize) -> Vec<(String, u64)> {
        let all = top.top(count).into_iter();
        all.map(|(name, count)| (String::from_utf8(name).unwrap(), count)).collect()
    }

    #[test]
    fn a_name_takes_over_the_least_counter() {
        let mut top = Top::new(2);
        for name in ["a", "a", "a", "b", "a", "b"] {
            top.add(name.as_bytes(), 1);
        }
        assert_eq!(names(&top, 9), [("a".into(), 4), ("b".into(), 2)]);
        top.add(b"c", 1);
        assert_eq!(names(&top, 9), [("a".into(), 4), ("c".into(), 3)]);
        top.add(b"b", 2);
        assert_eq!(names(&top, 9), [("b".into(), 5), ("a".into(), 4)]);
        assert_eq!(names(&top, 1), [("b".into(), 5)]);
        assert_eq!((top.total(), top.error_bound()), (9, 4));
    }

    #[test]
    fn age_halves_and_what_is_not_used_goes() {
        let mut top = Top::new(3);
        top.add(b"a", 9);
        top.add(b"b", 4);
        top.add(b"c", 1);
        top.age();
        assert_eq!(names(&top, 9), [("a".into(), 4), ("b".into(), 2)]);
        assert_eq!(top.total(), 7);
        top.add(b"d", 1);
        assert_eq!(names(&top, 9), [("a".into(), 4), ("b".into(), 2), ("d".into(), 1)]);
        top.add(b"e", 5);
        assert_eq!(names(&top, 9), [("e".into(), 6), ("a".into(), 4), ("b".into(), 2)]);
    }

    #[test]
    fn a_name_that_is_too_long_is_not_counted() {
        let mut top = Top::new(3);
        top.add(&[b'n'; MAX_NAME_BYTES + 1], 1);
        top.add(b"a", 0);
        assert_eq!((top.top(9), top.total()), (vec![], 0));
        top.add(&[b'n'; MAX_NAME_BYTES], 1);
        top.add(b"n", u64::MAX);
        top.add(b"n", u64::MAX);
        assert_eq!((top.top(1), top.total()), (vec![(b"n".to_vec(), u64::MAX)], u64::MAX));
    }

    /// What the paper promises of a trace whose true counts are known.
    fn holds(top: &Top, counts: &HashMap<Vec<u8>, u64>) {
        assert_eq!(top.total(), counts.values().sum::<u64>());
        let all: HashMap<_, _> = top.top(usize::MAX).into_iter().collect();
        for (name, &estimate) in &all {
            let count = counts.get(name).copied().unwrap_or(0);
            assert!(count <= estimate && estimate <= count + top.error_bound());
        }
        for (name, &count) in counts {
            assert!(count <= top.error_bound() || all.contains_key(name));
        }
    }

    #[test]
    fn estimates_of_a_trace_are_within_the_bound() {
        // As long as a test may take that is not optimised.
        let draws = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
        for weighted in [false, true] {
            let mut zipf = Zipf::new(100_000, 1);
            let mut random = Random(2);
            let mut top = Top::default();
            let mut counts = HashMap::new();
            for _ in 0..draws {
                let name = format!("key:{}", zipf.draw()).into_bytes();
                let weight = if weighted { random.below(2_000) as u64 } else { 1 };
                top.add(&name, weight);
                *counts.entry(name).or_insert(0) += weight;
            }
            holds(&top, &counts);
            assert_eq!(top.counters.len(), DEFAULT_CAPACITY);
            assert_eq!(names(&top, 1)[0].0, "key:0");
        }
    }

    proptest! {
        #[test]
        fn the_heap_never_has_too_much_and_finds_the_least(
            capacity in 1..8usize,
            uses in proptest::collection::vec((0..12u8, 0..5u64), 0..200),
        ) {
            let mut top = Top::new(capacity);
            let mut counts = HashMap::new();
            for (name, weight) in uses {
                let least = top.counters.iter().map(|it| it.count).min();
                let known = top.top(usize::MAX).iter().any(|(it, _)| *it == [name]);
                let is_full = top.counters.len() == capacity;
                top.add(&[name], weight);
                *counts.entry(vec![name]).or_insert(0) += weight;
                if is_full && !known && weight > 0 {
                    let all: HashMap<_, _> = top.top(usize::MAX).into_iter().collect();
                    prop_assert_eq!(all.get(&[name][..]).copied(), least.map(|it| it + weight));
                }
                prop_assert_eq!(top.least.len(), top.counters.len());
                prop_assert_eq!(top.places.len(), top.counters.len());
                for Reverse((known, place)) in &top.least {
                    prop_assert!(*known <= top.counters[*place as usize].count);
                }
            }
            let sum: u64 = top.counters.iter().map(|counter| counter.count).sum();
            prop_assert_eq!(sum, top.total());
            holds(&top, &counts);
        }
    }

    /// `cargo test --release -p apikey-engine nanoseconds -- --ignored --nocapture`
    #[test]
    #[ignore = "measures; in release only"]
    fn nanoseconds_of_a_use() {
        let mut zipf = Zipf::new(100_000, 1);
        let trace: Vec<_> = (0..1_000_000).map(|_| format!("key:{:08}", zipf.draw())).collect();
        let time = |what: &str, top: &mut Top, trace: &[&str]| {
            let start = std::time::Instant::now();
            trace.iter().for_each(|name| top.add(name.as_bytes(), 1));
            println!("{what}: {:.0} ns", start.elapsed().as_nanos() as f64 / trace.len() as f64);
        };
        let all: Vec<&str> = trace.iter().map(String::as_str).collect();
        let hot: Vec<&str> = all.iter().copied().filter(|name| *name < "key:00000300").collect();
        let cold: Vec<&str> = all.iter().copied().filter(|name| *name > "key:00001000").collect();
        time("all names", &mut Top::default(), &all);
        let mut top = Top::default();
        hot.iter().for_each(|name| top.add(name.as_bytes(), 1));
        time("names with a counter", &mut top, &hot);
        time("names that are seldom", &mut top, &cold);
    }
}
