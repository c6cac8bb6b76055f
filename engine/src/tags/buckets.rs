//! A hash table that grows by a few hundred entries at a time.
//!
//! It finds a place by 32 bits of hash; whose place it is its owner knows. What is looked up and absent
//! touches as a rule one line of cache, and nothing of the owner's.
//!
//! **Pages.** The table consists of pages of some hundreds of entries. Linear hashing (W. Litwin, "Linear
//! Hashing: A New Tool for File and Table Addressing", 1980) chooses the page, by the lower bits of the
//! hash: to grow, one page is added at the end and one other page, its buddy, is split into it; to
//! shrink, the last one is joined to its buddy. So no insertion ever moves more than two pages, however
//! large the table is. In the midst of a round those that are not split yet have twice as many
//! entries as the others: each page is as large as its own entries need.
//!
//! **In a page** entries are open-addressed and in the order of their hashes. An entry's home is
//! where its hash, as a fraction of all hashes, points to: the higher bits choose it. From there on it
//! stands behind those with lower hashes, without a gap, so that a search ends at a gap or at the first
//! higher hash, after about three entries at the fullest. As homes follow the order as well, a page is split,
//! joined or resized in one pass from its beginning to its end. What does not fit behind the last home
//! is appended.

use crate::defrag::Defrag;
use crate::tags::segments::{Place, Segments, NOWHERE};

/// Entries for each page, on average: more pages are added above, and joined below a half of it.
const PAGE: usize = 256;

/// Slots behind the homes of a page, for what is displaced over its end.
const TAIL: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    /// [`NOWHERE`] where there is no entry.
    place: Place,
}

const GAP: Entry = Entry { hash: 0, place: NOWHERE };

/// See the top of this file.
#[derive(Debug, Default)]
struct Page {
    slots: Vec<Entry>,
    /// The first slots, which entries have as their homes.
    homes: u32,
    len: u32,
}

impl Page {
    /// A page with these entries, which come in the order of their hashes, and room for more.
    fn build(len: usize, entries: impl Iterator<Item = Entry>) -> Self {
        if len == 0 {
            return Self::default();
        }
        // Steps as an allocator makes them.
        let wanted = len + len * 2 / 5 + 2;
        let slots = wanted.next_multiple_of((wanted.next_power_of_two() / 8).max(4));
        let homes = slots - TAIL.min(slots / 8);
        let mut page = Self { slots: Vec::with_capacity(slots), homes: homes as u32, len: 0 };
        page.slots.resize(homes, GAP);
        let mut free = 0;
        for entry in entries {
            let at = page.home(entry.hash).max(free);
            match page.slots.get_mut(at) {
                Some(slot) => *slot = entry,
                None => page.append(entry),
            }
            free = at + 1;
            page.len += 1;
        }
        page
    }

    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * u64::from(self.homes)) >> 32) as usize
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.slots.iter().copied().filter(|entry| entry.place != NOWHERE)
    }

    fn append(&mut self, entry: Entry) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(TAIL);
        }
        self.slots.push(entry);
    }

    /// The slot of the first entry with this hash that `is` the one.
    fn find(&self, hash: u32, mut is: impl FnMut(Place) -> bool) -> Option<usize> {
        let home = self.home(hash);
        for (nth, entry) in self.slots.get(home..)?.iter().enumerate() {
            if entry.place == NOWHERE || entry.hash > hash {
                return None;
            }
            if entry.hash == hash && is(entry.place) {
                return Some(home + nth);
            }
        }
        None
    }

    fn insert(&mut self, mut entry: Entry) {
        if self.len as usize >= self.slots.capacity() * 7 / 8 {
            *self = Self::build(self.len as usize + 1, self.entries());
        }
        self.len += 1;
        let home = self.home(entry.hash);
        // From the first higher hash on, all move by one up to the next gap.
        for slot in self.slots.iter_mut().skip(home) {
            if slot.place == NOWHERE || slot.hash > entry.hash {
                std::mem::swap(slot, &mut entry);
                if entry.place == NOWHERE {
                    return;
                }
            }
        }
        self.append(entry);
    }

    fn remove(&mut self, hash: u32, place: Place) -> bool {
        let Some(mut at) = self.find(hash, |other| other == place) else { return false };
        // Those that are not at home move back.
        while let Some(&next) = self.slots.get(at + 1) {
            if next.place == NOWHERE || self.home(next.hash) == at + 1 {
                break;
            }
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = next;
            }
            at += 1;
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = GAP;
        }
        self.len -= 1;
        if self.len as usize <= self.slots.capacity() / 3 {
            *self = Self::build(self.len as usize, self.entries());
        }
        true
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Entry>()
    }
}

/// Places by the hash of what stands there. One place can be there once.
#[derive(Debug, Default)]
pub struct Buckets {
    pages: Segments<Page>,
    len: usize,
    /// Bytes of all pages' slots.
    bytes: usize,
}

impl Buckets {
    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The page of a hash. With no page at all it is 0.
    fn page_of(&self, hash: u32) -> usize {
        let len = self.pages.len().max(1);
        let mask = len.next_power_of_two() - 1;
        let page = hash as usize & mask;
        if page < len {
            page
        } else {
            page & (mask >> 1)
        }
    }

    /// Reads where a search for this hash begins, for the index to have it in
    /// the cache.
    pub fn touch(&self, hash: u32) -> u32 {
        let page = self.pages.get(self.page_of(hash));
        page.and_then(|page| page.slots.get(page.home(hash))).map_or(0, |entry| entry.hash)
    }

    /// A place with this hash that `is` the one.
    pub fn find(&self, hash: u32, is: impl FnMut(Place) -> bool) -> Option<Place> {
        let page = self.pages.get(self.page_of(hash))?;
        let slot = page.find(hash, is)?;
        Some(page.slots.get(slot)?.place)
    }

    /// Adds a place, which must not be [`NOWHERE`].
    pub fn insert(&mut self, hash: u32, place: Place) {
        if self.len >= self.pages.len() * PAGE {
            self.grow();
        }
        self.len += 1;
        self.change(self.page_of(hash), |page| page.insert(Entry { hash, place }));
    }

    /// Takes a place away and returns whether it was there.
    pub fn remove(&mut self, hash: u32, place: Place) -> bool {
        if !self.change(self.page_of(hash), |page| page.remove(hash, place)).unwrap_or_default() {
            return false;
        }
        self.len -= 1;
        if self.len < self.pages.len() * PAGE / 2 {
            self.shrink();
        }
        true
    }

    /// Exchanges a place, whose hash stays, and returns whether it was there.
    pub fn exchange(&mut self, hash: u32, before: Place, now: Place) -> bool {
        self.change(self.page_of(hash), |page| {
            let slot = page.find(hash, |place| place == before)?;
            page.slots.get_mut(slot)?.place = now;
            Some(())
        })
        .flatten()
        .is_some()
    }

    /// Changes a page and counts its bytes.
    fn change<R>(&mut self, page: usize, change: impl FnOnce(&mut Page) -> R) -> Option<R> {
        let page = self.pages.get_mut(page)?;
        let before = page.bytes();
        let result = change(page);
        self.bytes = self.bytes - before + page.bytes();
        Some(result)
    }

    /// Adds a page and moves what belongs there from its buddy.
    fn grow(&mut self) {
        let added = self.pages.len();
        self.pages.push(Page::default());
        let Some(buddy) = buddy(added).and_then(|at| Some((at, self.pages.get_mut(at)?))) else {
            return;
        };
        let (at, full) = (buddy.0, std::mem::take(buddy.1));
        self.bytes -= full.bytes();
        for number in [at, added] {
            let belongs = |entry: &Entry| self.page_of(entry.hash) == number;
            let len = full.entries().filter(belongs).count();
            let page = Page::build(len, full.entries().filter(belongs));
            self.change(number, |empty| *empty = page);
        }
    }

    /// Joins the last page to its buddy; the only one goes when it is empty.
    fn shrink(&mut self) {
        let Some(buddy) = self.pages.len().checked_sub(1).and_then(buddy) else {
            if self.len == 0 {
                *self = Self::default();
            }
            return;
        };
        let Some(last) = self.pages.pop() else { return };
        self.bytes -= last.bytes();
        self.change(buddy, |page| {
            let mut all: Vec<_> = page.entries().chain(last.entries()).collect();
            all.sort_by_key(|entry| entry.hash);
            *page = Page::build(all.len(), all.into_iter());
        });
    }

    /// Hands over a page, and of what holds the pages as much as makes all of it with all pages. False where there
    /// is no such page.
    pub fn defrag_page(&mut self, nth: usize, to: &mut impl Defrag) -> bool {
        self.pages.defrag_segment(nth, to);
        self.pages.get_mut(nth).map(|page| to.vec(&mut page.slots)).is_some()
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.pages.bytes()
    }
}

/// The page without its highest bit.
fn buddy(page: usize) -> Option<usize> {
    Some(page ^ (1 << page.checked_ilog2()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// What the top of this file says.
    fn assert_in_order(buckets: &Buckets) {
        let (mut len, mut bytes) = (0, 0);
        for number in 0..buckets.pages.len() {
            let page = buckets.pages.get(number).unwrap();
            assert_eq!(page.entries().count(), page.len as usize);
            assert!(page.entries().map(|entry| entry.hash).is_sorted());
            for (at, entry) in page.slots.iter().enumerate() {
                if entry.place != NOWHERE {
                    assert_eq!(buckets.page_of(entry.hash), number);
                    let way = page.slots.get(page.home(entry.hash)..=at).expect("behind its home");
                    assert!(way.iter().all(|entry| entry.place != NOWHERE));
                }
            }
            len += page.len as usize;
            bytes += page.bytes();
        }
        assert_eq!((buckets.len, buckets.bytes), (len, bytes));
    }

    #[test]
    fn growing_moves_hashes_from_the_buddy_to_the_new_page_and_nowhere_else() {
        let mut buckets = Buckets::default();
        assert_eq!(buckets.page_of(77), 0);
        buckets.grow();
        for added in 1..100 {
            let before: Vec<_> = (0..1000).map(|hash| buckets.page_of(hash)).collect();
            buckets.grow();
            for hash in 0..1000 {
                let page = buckets.page_of(hash);
                let was = before[hash as usize];
                assert!(page == was || (page == added && Some(was) == buddy(added)), "hash {hash}");
                assert!(page < buckets.pages.len());
            }
        }
    }

    #[test]
    fn memory_follows_the_entries() {
        let mut buckets = Buckets::default();
        let hash = |n: u32| n.wrapping_mul(0x9e37_79b9) ^ (n >> 3);
        let count = 200_000;
        for n in 0..count {
            buckets.insert(hash(n), n);
            if n % 10_007 == 0 && n > 20_000 {
                let each = buckets.bytes() as f64 / f64::from(n);
                assert!((8.0..12.0).contains(&each), "{each} bytes for an entry");
            }
        }
        assert_in_order(&buckets);
        for n in 0..count {
            assert_eq!(buckets.find(hash(n), |place| place == n), Some(n));
            assert!(buckets.remove(hash(n), n));
            assert!(!buckets.remove(hash(n), n));
            let left = (count - n - 1) as usize;
            assert!(buckets.bytes() <= 40 * left + 8192, "{} for {left}", buckets.bytes());
        }
        assert_eq!((buckets.len(), buckets.bytes()), (0, 0));
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_owner() {
        for hash in [0, 7, u32::MAX] {
            let mut buckets = Buckets::default();
            for place in 0..2000 {
                buckets.insert(hash, place);
            }
            assert_in_order(&buckets);
            assert_eq!(buckets.find(hash, |place| place == 1234), Some(1234));
            assert!(buckets.exchange(hash, 1234, 5000));
            assert_eq!(buckets.find(hash, |place| place == 1234), None);
            assert_eq!(buckets.find(hash ^ 1, |_| true), None);
            for place in (0..2000).rev().filter(|&place| place != 1234) {
                assert!(buckets.remove(hash, place));
            }
            assert_in_order(&buckets);
            assert_eq!((buckets.len(), buckets.find(hash, |_| true)), (1, Some(5000)));
        }
    }

    proptest! {
        #[test]
        fn the_table_is_a_map_from_hashes_to_places(
            steps in proptest::collection::vec((0u8..8, any::<u32>(), 0u32..24), 0..3000)
        ) {
            let mut buckets = Buckets::default();
            let mut model: Vec<(u32, Place)> = Vec::new();
            let mut growing = true;
            for (nth, (which, random, shift)) in steps.into_iter().enumerate() {
                // Mostly insertions up to some size, then mostly removals; hashes of few bits meet.
                if nth % 1000 == 0 {
                    growing = nth % 2000 == 0;
                }
                if model.is_empty() || (which < 6) == growing {
                    let hash = random.rotate_left(shift) & (u32::MAX << shift);
                    buckets.insert(hash, nth as Place);
                    model.push((hash, nth as Place));
                } else {
                    let (hash, place) = model.swap_remove(random as usize % model.len());
                    prop_assert!(!buckets.remove(hash, NOWHERE - 1));
                    prop_assert!(buckets.remove(hash, place));
                    prop_assert_eq!(buckets.find(hash, |other| other == place), None);
                }
            }
            assert_in_order(&buckets);
            prop_assert_eq!(buckets.len(), model.len());
            let hashes: HashMap<u32, Vec<Place>> = model.iter().fold(HashMap::new(), |mut map, &(hash, place)| {
                map.entry(hash).or_insert_with(Vec::new).push(place);
                map
            });
            for (hash, mut places) in hashes {
                let mut seen = Vec::new();
                buckets.find(hash, |place| {
                    seen.push(place);
                    false
                });
                places.sort_unstable();
                seen.sort_unstable();
                prop_assert_eq!(seen, places);
            }
        }
    }
}
