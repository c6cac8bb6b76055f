//! What comes to a database and goes from it, what is condemned there, and what waits for reclaim.
//!
//! The keys are the server's; whoever owns a key tells the database when it comes and goes. Under which
//! tags the index has it then says [`crate::database::items`]: an entry is an item as long as its key is
//! there, a usage counter only while it has something pending or leased. The members of [`DEAD`] are all
//! condemned.
//!
//! **Reclaim.** What is condemned waits until its key is taken away: [`Database::next_to_reclaim`]
//! comes to such items one by one. Where every entry may be dead ([`Database::sweep`]) it comes to all,
//! and whoever asks has to look at each. What was softened comes behind the condemned: of that some stays and some
//! is dead by it, which again is for whoever asks to see.

use crate::cache::policy::Evict;
use crate::cache::region::Region;
use crate::cache::regions::Regions;
use crate::cache::uses::Uses;
use crate::database::items::{counter_tags_in_index, tags_in_index, Held, DEAD};
use crate::database::totals::Totals;
use crate::defrag::Defrag;
use crate::entry::kind::{Entry, Kind};
use crate::entry::region_tag::RegionTag;
use crate::tags::defrag::DefragWalk;
use crate::tags::fingerprint::{Fingerprint, Fingerprints};
use crate::tags::index::TagIndex;
use crate::tags::segments::Place;
use crate::tags::walk::CondemnedWalk;
use crate::usage::batches::{Batches, Terms};
use crate::usage::id::Id;

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Database {
    index: TagIndex,
    totals: Totals,
    batches: Batches,
    pending_counters: usize,
    /// Changes since the start, so that a walk can tell whether something changed meanwhile.
    changes: u64,
    /// The name of the entry that left last, and the tag of its region: an eviction is told after the removal.
    last_removed: Vec<u8>,
    last_region: Vec<u8>,
    regions: Regions,
    /// When items of regions were used.
    uses: Uses,
    /// Reused for the tags of one entry.
    prints: Vec<Fingerprint>,
    /// Whether a dead entry was loaded that is not condemned yet.
    has_loaded_dead: bool,
    /// A walk over the condemned that has begun.
    walk: Option<CondemnedWalk>,
    /// Places of the index, from the first on, that a sweep has still to look at.
    to_sweep: Place,
}

/// What a walk over what may be dead has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// An item, which may be dead.
    Item(Place),
    /// Free places, as many as one call looks at.
    Free,
    End,
}

/// What an entry counts as, by which it is counted out again when it has gone.
#[derive(Clone, Debug)]
pub struct Counted {
    kind: Kind,
    /// The tag of its region, and what it takes there.
    region: Option<(RegionTag, u64)>,
}

impl Counted {
    /// An entry under a name; a dead one is of no region, since the index does not have it under that tag.
    pub fn of(entry: &dyn Entry, dead: bool, name: &[u8]) -> Self {
        let region = entry.region().filter(|_| !dead).and_then(|of| {
            Some((RegionTag::new(of.namespace, of.name)?, (of.bytes + name.len()) as u64))
        });
        Self { kind: entry.kind(), region }
    }
}

/// A region, and what its reads change beside it.
pub struct Reads<'d> {
    pub region: &'d mut Region,
    uses: &'d mut Uses,
    /// Of all regions.
    entries: usize,
}

impl Reads<'_> {
    /// A value of the region's was stored or read, which has this place.
    fn use_of(&mut self, place: Place) {
        let (tick, random) = (self.region.clock.advance(self.entries), self.region.random() as u32);
        self.uses.touch(place, tick, random);
    }

    /// A value of the region's was read, which has this name and place.
    pub fn note(&mut self, name: &[u8], place: Place, bytes: usize, now: i64) {
        self.use_of(place);
        self.region.note_read(name, bytes, now);
    }
}

impl Counted {
    /// The tag of its region, and what it takes there.
    pub fn region(&self) -> Option<(&RegionTag, u64)> {
        self.region.as_ref().map(|(tag, bytes)| (tag, *bytes))
    }
}

impl From<Kind> for Counted {
    fn from(kind: Kind) -> Self {
        Self { kind, region: None }
    }
}

/// A member of a region's tag, chosen at random.
fn random_member(index: &TagIndex, region: &mut Region) -> Option<Place> {
    let members = index.member_count(region.print) as u64;
    let position = region.random().checked_rem(members)?;
    index.member(region.print, usize::try_from(position).ok()?)
}

/// Free places that one call of [`Database::next_to_reclaim`] looks at: where most of a large database has
/// gone, there are millions between two items.
const FREE_PLACES: usize = 256;

impl Database {
    pub fn index(&self) -> &TagIndex {
        &self.index
    }

    /// Hands over allocations of the index: [`TagIndex::defrag_step`].
    pub fn defrag_step(&mut self, walk: DefragWalk, to: &mut impl Defrag) -> Option<DefragWalk> {
        self.index.defrag_step(walk, to)
    }

    /// The open batches; what has a line in one is a member of its tag ([`Id::fingerprint`]).
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Counters that have something pending.
    pub fn pending_counters(&self) -> usize {
        self.pending_counters
    }

    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Tags that an entry carries, or a dead one that waits for reclaim.
    pub fn tag_count(&self) -> usize {
        self.index.tag_count().saturating_sub(self.batches.len())
    }

    /// An entry's key has come. Returns its place, `None` when the index is full.
    pub fn add_entry(
        &mut self,
        name: &[u8],
        entry: &dyn Entry,
        dead: bool,
        of: &Fingerprints,
    ) -> Option<Place> {
        self.put_entry(name, None, entry, dead, of)
    }

    /// An entry's key is loaded: as [`Database::add_entry`], but until [`Database::settle`] nothing is asked of
    /// the database, and nothing changed, but that others are loaded.
    pub fn load_entry(
        &mut self,
        name: &[u8],
        entry: &dyn Entry,
        dead: bool,
        of: &Fingerprints,
    ) -> Option<Place> {
        let mut prints = std::mem::take(&mut self.prints);
        tags_in_index(entry, dead, of, &mut prints);
        let place = self.index.insert_later(name, &prints);
        self.prints = prints;
        self.has_loaded_dead |= dead;
        self.count_in(place, name, entry, dead, of);
        place
    }

    /// Enters what was loaded.
    pub fn settle(&mut self) {
        self.index.settle();
        if std::mem::take(&mut self.has_loaded_dead) {
            self.condemn(DEAD);
        }
    }

    /// The entry of a key, which counted as `before`, has given way to another one under the same name; `place` is
    /// what it had, and [`Database::remove_entry`] is not told of it. Its item becomes the other one's, so
    /// that a walk over a tag that both carry meets the name. Returns the place from now on, `None` when the
    /// index is full: then the item is gone.
    pub fn exchange_entry(
        &mut self,
        name: &[u8],
        place: Option<Place>,
        before: impl Into<Counted>,
        entry: &dyn Entry,
        dead: bool,
        of: &Fingerprints,
    ) -> Option<Place> {
        self.count_out(&before.into());
        self.put_entry(name, place, entry, dead, of)
    }

    /// Puts an entry into the item that its name has at `place`, or into one of its own.
    fn put_entry(
        &mut self,
        name: &[u8],
        place: Option<Place>,
        entry: &dyn Entry,
        dead: bool,
        of: &Fingerprints,
    ) -> Option<Place> {
        let mut prints = std::mem::take(&mut self.prints);
        tags_in_index(entry, dead, of, &mut prints);
        let place = match place.filter(|&place| self.index.name(place) == Some(name)) {
            Some(before) => {
                let place = self.index.replace(before, &prints);
                if place != Some(before) {
                    self.uses.forget(before);
                }
                place
            }
            None => self.index.insert(name, &prints),
        };
        self.prints = prints;
        self.count_in(place, name, entry, dead, of);
        if dead {
            self.condemn(DEAD);
        }
        place
    }

    fn count_in(
        &mut self,
        place: Option<Place>,
        name: &[u8],
        entry: &dyn Entry,
        dead: bool,
        of: &Fingerprints,
    ) {
        let Some(place) = place else { return };
        *self.totals.of(entry.kind()) += 1;
        self.changes += 1;
        if let Some(entry) = entry.region().filter(|_| !dead) {
            let entries = self.cached_entries();
            if let Some(region) = self.regions.came(entry, name.len(), of) {
                Reads { region, uses: &mut self.uses, entries }.use_of(place);
            }
        }
    }

    /// An entry's key has gone. The name is compared, so that nothing but its own item goes with it.
    pub fn remove_entry(&mut self, name: &[u8], place: Option<Place>, counted: impl Into<Counted>) {
        let counted = counted.into();
        self.remove_item(name, place);
        self.last_removed.clear();
        self.last_removed.extend_from_slice(name);
        self.last_region.clear();
        if let Some((tag, _)) = &counted.region {
            self.last_region.extend_from_slice(tag.bytes());
        }
        self.count_out(&counted);
    }

    fn count_out(&mut self, counted: &Counted) {
        let count = self.totals.of(counted.kind);
        *count = count.saturating_sub(1);
        self.changes += 1;
        if let Some((tag, bytes)) = &counted.region {
            self.regions.went(tag.bytes(), *bytes);
        }
    }

    fn cached_entries(&self) -> usize {
        usize::try_from(self.totals.cached).unwrap_or(usize::MAX)
    }

    /// What is counted of a region's reads, where there is such a region.
    pub fn reads(&mut self, tag: &[u8]) -> Option<Reads<'_>> {
        let entries = self.cached_entries();
        Some(Reads { region: self.regions.get_mut(tag)?, uses: &mut self.uses, entries })
    }

    /// The name of an entry of a region, chosen at random.
    pub fn random_of_region(&mut self, tag: &[u8]) -> Option<&[u8]> {
        let region = self.regions.get_mut(tag)?;
        let place = random_member(&self.index, region)?;
        self.index.name(place)
    }

    /// The name of the entry of a region that is to go first: a dead one, or one that was used the longest time ago, or
    /// the least often. What has the name `keep` is none.
    pub fn victim(&mut self, tag: &[u8], by: Evict, keep: Option<&[u8]>) -> Option<&[u8]> {
        let entries = self.cached_entries();
        let region = self.regions.get_mut(tag)?;
        let (index, uses) = (&self.index, &self.uses);
        if index.condemned_count(region.print) > 0 {
            // Those stand in front.
            return index.name(index.member(region.print, 0)?);
        }
        let tick = region.clock.now(entries);
        let print = region.print;
        let score = |place: Place| {
            if !index.carries(place, print) || index.name(place) == keep {
                return None;
            }
            Some(match (index.is_condemned(place), by) {
                (true, _) => u64::MAX,
                (false, Evict::Lfu) => uses.rarity(place, tick).into(),
                (false, _) => uses.idle(place, tick).into(),
            })
        };
        let mut pool = std::mem::take(&mut region.pool);
        let victim = pool.victim(|| random_member(index, region), score);
        region.pool = pool;
        index.name(victim?)
    }

    /// What is known of the regions that entries belong to.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// The same, to count what is read of them.
    pub fn regions_mut(&mut self) -> &mut Regions {
        &mut self.regions
    }

    /// The tag of the region of the entry that left last; empty where it was of none.
    pub fn last_region(&self) -> &[u8] {
        &self.last_region
    }

    /// Whether the entry that left last had this name.
    pub fn was_last_removed(&self, name: &[u8]) -> bool {
        !name.is_empty() && *self.last_removed == *name
    }

    /// Condemns the entries that carry a tag; returns how many were not by this tag before.
    pub fn condemn(&mut self, tag: Fingerprint) -> usize {
        // A walk that is among the softened comes to the condemned first.
        self.walk = self.walk.filter(|walk| !walk.is_over());
        self.index.condemn(tag)
    }

    /// Softens the entries that carry a tag and are not condemned by it; returns how many were not softened by
    /// it before. All of them will be looked at, also those that were before.
    pub fn soften(&mut self, tag: Fingerprint) -> usize {
        self.index.soften(tag)
    }

    /// Every entry may be dead.
    pub fn sweep(&mut self) {
        self.to_sweep = Place::try_from(self.index.items_end()).unwrap_or(Place::MAX);
    }

    /// Places that a sweep has still to look at.
    pub fn to_sweep(&self) -> usize {
        self.to_sweep as usize
    }

    /// Dead entries that are still there, at most: one can be condemned by several tags, and a sweep
    /// counts what it has not looked at, as do the passes over what was softened.
    pub fn reclaim_backlog(&self) -> usize {
        self.index.condemned() + self.to_sweep() + self.index.to_visit()
    }

    /// Goes on with a walk over what may be dead, after the end of which another may begin. An item may be
    /// taken away before the next call. What is softened and stays is not met again: at the end nothing but
    /// condemned items is left of the backlog.
    pub fn next_to_reclaim(&mut self) -> Next {
        for _ in 0..FREE_PLACES {
            let Some(place) = self.to_sweep.checked_sub(1) else {
                let walk = self.walk.get_or_insert_with(|| self.index.walk_condemned());
                // Once it is over it stays so, until the softened are done as well.
                let next = self.index.next_condemned(walk).or_else(|| self.index.next_softened());
                if next.is_none() {
                    self.walk = None;
                }
                return next.map_or(Next::End, Next::Item);
            };
            self.to_sweep = place;
            if self.index.name(place).is_some() {
                return Next::Item(place);
            }
        }
        Next::Free
    }

    /// Has what is read when the next keys, at most so many, are taken away in the processor's cache.
    pub fn touch_next_to_reclaim(&self, most: usize) {
        if self.to_sweep > 0 {
            let most = Place::try_from(most).unwrap_or(Place::MAX);
            self.index.touch_items((self.to_sweep.saturating_sub(most)..self.to_sweep).rev());
        } else {
            let walk = self.walk.unwrap_or_else(|| self.index.walk_condemned());
            self.index.touch_condemned(&walk, most);
        }
    }

    /// A counter's key has come, also while keys are loaded ([`Database::load_entry`]). Returns its place if it
    /// has something pending or leased and there is room.
    pub fn add_counter(&mut self, name: &[u8], now: Held, of: &Fingerprints) -> Option<Place> {
        self.totals.counters += 1;
        self.update_counter(name, None, Held::NOTHING, now, of)
    }

    /// A counter's key has gone.
    pub fn remove_counter(
        &mut self,
        name: &[u8],
        place: Option<Place>,
        before: Held,
        of: &Fingerprints,
    ) {
        self.totals.counters = self.totals.counters.saturating_sub(1);
        self.update_counter(name, place, before, Held::NOTHING, of);
    }

    /// A counter has changed. Returns its place from now on.
    pub fn update_counter(
        &mut self,
        name: &[u8],
        place: Option<Place>,
        before: Held,
        now: Held,
        of: &Fingerprints,
    ) -> Option<Place> {
        self.count_on(before.pending, now.pending);
        if now.has_tags_of(&before) {
            return place;
        }
        self.pending_counters += usize::from(now.pending > 0);
        self.pending_counters =
            self.pending_counters.saturating_sub(usize::from(before.pending > 0));
        self.totals.leased += i128::from(now.leases.count()) - i128::from(before.leases.count());
        for lease in now.leases.lines() {
            if before.leases.of(lease.batch).is_none() {
                self.batches.join(lease.batch, lease.terms);
            }
        }
        let mut prints = std::mem::take(&mut self.prints);
        counter_tags_in_index(now, of, &mut prints);
        // It comes before the old one goes, so that a tag of both has a member all the time.
        let new = if prints.is_empty() { None } else { self.index.insert(name, &prints) };
        self.prints = prints;
        self.remove_item(name, place);
        for lease in before.leases.lines() {
            let has_none = self.index.member_count(lease.batch.fingerprint(of)) == 0;
            if now.leases.of(lease.batch).is_none() && has_none {
                self.batches.remove(lease.batch);
            }
        }
        new
    }

    /// A counter that had something pending has more of it: its item is as it was.
    pub fn count_on(&mut self, before: i64, now: i64) {
        self.changes += 1;
        self.totals.pending += i128::from(now) - i128::from(before);
    }

    /// Gives an open batch another deadline; false where there is no such batch.
    pub fn set_deadline(&mut self, batch: Id, deadline: i64) -> bool {
        let is_open = self.batches.set_deadline(batch, deadline);
        self.changes += u64::from(is_open);
        is_open
    }

    /// An open batch is given out again; see [`Batches::give_again`].
    pub fn give_again(&mut self, batch: Id, deadline: i64, now: i64) -> Option<Terms> {
        self.changes += 1;
        self.batches.give_again(batch, deadline, now)
    }

    /// An open batch was given out elsewhere; see [`Batches::was_given`].
    pub fn was_given(&mut self, batch: Id, terms: Terms, now: i64) {
        self.changes += 1;
        self.batches.was_given(batch, terms, now);
    }

    fn remove_item(&mut self, name: &[u8], place: Option<Place>) {
        if let Some(place) = place.filter(|&place| self.index.name(place) == Some(name)) {
            self.index.remove(place);
            self.uses.forget(place);
        }
    }

    /// Takes the item at `place` out of the index and leaves all else: makes the index wrong. For
    /// tests that CHECK sees it.
    pub fn forget(&mut self, place: Place) {
        self.index.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::items::{PENDING, WAITING};
    use crate::record::layout::Record;
    use crate::record::sanitise::{Limits, Parts};
    use crate::tags::index::MAX_ITEM_TAGS;
    use crate::usage::batches::Terms;
    use crate::usage::counter::Counter;
    use crate::usage::id::Ids;
    use crate::usage::lease::{Leases, MAX_LEASES};

    /// The names that a walk over what may be dead comes to.
    fn to_reclaim(database: &mut Database) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        loop {
            match database.next_to_reclaim() {
                Next::Item(place) => names.push(database.index().name(place).unwrap().to_vec()),
                Next::Free => {}
                Next::End => return names,
            }
        }
    }

    #[test]
    fn one_call_looks_at_few_free_places() {
        let of = Fingerprints::new([1; 16]);
        let entry = Record::absent(b"", &[b"a"]).unwrap();
        let mut database = Database::default();
        const MANY: usize = 40_000;
        let places: Vec<_> = (0..MANY)
            .map(|n| database.add_entry(n.to_string().as_bytes(), &entry, false, &of))
            .collect();
        for (n, &place) in places.iter().enumerate().skip(1).take(MANY - 2) {
            database.remove_entry(n.to_string().as_bytes(), place, Kind::Absent);
        }
        assert_eq!(database.index().len(), 2);
        database.sweep();
        let mut seen = Vec::new();
        loop {
            let before = database.to_sweep();
            let next = database.next_to_reclaim();
            assert!(before - database.to_sweep() <= 256);
            match next {
                Next::Item(place) => seen.push(Some(place)),
                Next::Free => {}
                Next::End => break,
            }
        }
        assert_eq!(seen, [places[MANY - 1], places[0]]);
    }

    #[test]
    fn a_database_counts_what_comes_and_goes() {
        let of = Fingerprints::new([1; 16]);
        let json = br#"{"id":"k","user_id":"u","is_active":true}"#;
        let parts = Parts::sanitise(json, &Limits::STORED).unwrap();
        let record = Record::new(&parts, &[], b"", &[]).unwrap();

        let mut database = Database::default();
        let live = database.add_entry(b"live", &record, false, &of);
        let dead = database.add_entry(b"dead", &record, true, &of);
        let pending = |pending| Held { pending, leases: Leases::NONE };
        let counter = database.add_counter(b"counter", pending(5), &of);
        let idle = database.add_counter(b"idle", pending(0), &of);
        assert!(live.is_some() && dead.is_some() && counter.is_some());
        assert_eq!(idle, None);
        let nobody = Record::absent(b"", &[]).unwrap();
        let absent = database.add_entry(b"absent", &nobody, false, &of);
        assert!(absent.is_some());
        let totals = Totals { records: 2, absent: 1, counters: 2, pending: 5, ..Totals::default() };
        assert_eq!(database.totals(), totals);
        database.remove_entry(b"absent", absent, Kind::Absent);
        assert_eq!(database.tag_count(), 3);
        assert_eq!(database.index().member_count(of.of(b"apikey:user:u")), 1);

        assert_eq!(database.reclaim_backlog(), 1);
        assert_eq!(database.condemn(of.of(b"apikey:user:u")), 1);
        assert_eq!(database.reclaim_backlog(), 2);
        assert_eq!(to_reclaim(&mut database), [&b"live"[..], b"dead"]);
        database.sweep();
        let mut names = to_reclaim(&mut database);
        names.sort_unstable();
        assert_eq!(names, [&b"counter"[..], b"dead", b"dead", b"live", b"live"]);

        let counter = database.update_counter(b"counter", counter, pending(5), pending(0), &of);
        assert_eq!(counter, None);
        let idle = database.update_counter(b"idle", idle, pending(0), pending(7), &of);
        assert_eq!(database.index().member(PENDING, 0), idle);
        assert_eq!(database.pending_counters(), 1);
        database.remove_entry(b"other", dead, Kind::Record);
        assert_eq!(database.index().name(dead.unwrap()), Some(&b"dead"[..]));
        database.remove_entry(b"live", live, Kind::Record);
        assert!(database.was_last_removed(b"live"));
        database.remove_counter(b"counter", counter, pending(0), &of);
        database.remove_counter(b"idle", idle, pending(7), &of);
        assert_eq!(database.totals(), Totals::default());
        assert_eq!(database.tag_count(), 0);
    }

    /// The tags of an absent entry with these of the caller's.
    fn of_absent(of: &Fingerprints, tags: &[&[u8]]) -> Vec<Fingerprint> {
        let mut prints = Vec::new();
        tags_in_index(&Record::absent(b"", tags).unwrap(), false, of, &mut prints);
        assert_eq!(prints.len(), 1 + tags.len());
        prints
    }

    #[test]
    fn what_was_loaded_is_there_once_it_is_settled_and_the_dead_are_condemned() {
        let of = Fingerprints::new([1; 16]);
        let nobody = Record::absent(b"", &[b"a"]).unwrap();
        let mut database = Database::default();
        let pending = Held { pending: 5, leases: Leases::NONE };
        let live = database.load_entry(b"live", &nobody, false, &of).unwrap();
        let dead = database.load_entry(b"dead", &nobody, true, &of).unwrap();
        let counter = database.add_counter(b"counter", pending, &of).unwrap();
        database.settle();
        let totals = Totals { absent: 2, counters: 1, pending: 5, ..Totals::default() };
        assert_eq!(database.totals(), totals);
        assert_eq!((database.tag_count(), database.pending_counters()), (2, 1));
        assert_eq!(database.reclaim_backlog(), 1);
        let index = database.index();
        assert_eq!(index.check_item(live, b"live", &of_absent(&of, &[b"a"])), Ok(()));
        assert_eq!(index.check_item(counter, b"counter", &[PENDING]), Ok(()));
        assert!(index.is_condemned(dead) && !index.is_condemned(live));
        // What comes dead later is condemned as well.
        let another = database.load_entry(b"another", &nobody, true, &of).unwrap();
        database.settle();
        assert!(database.index().is_condemned(another));
        assert_eq!(database.reclaim_backlog(), 2);
    }

    /// The names that a walk over a tag meets from here on.
    fn walked(database: &Database, tag: Fingerprint, mut cursor: u64) -> Vec<&[u8]> {
        let (index, mut names) = (database.index(), Vec::new());
        loop {
            let (positions, next) = index.walk_step(tag, cursor, 2);
            let name = |at| index.name(index.member(tag, at).unwrap()).unwrap();
            names.extend(positions.rev().map(name));
            if next == 0 {
                return names;
            }
            cursor = next;
        }
    }

    #[test]
    fn a_walk_over_a_tag_that_both_carry_meets_an_entry_that_is_exchanged() {
        let of = Fingerprints::new([1; 16]);
        let tag = |tag: &[u8]| of.of(tag);
        let record = |tags: &[&[u8]]| Record::absent(b"", tags).unwrap();
        let mut database = Database::default();
        let (old, new) = (record(&[b"a", b"b"]), record(&[b"c", b"a"]));
        let names: [&[u8]; 4] = [b"1", b"2", b"3", b"4"];
        let places = names.map(|name| database.add_entry(name, &old, false, &of));
        // It has met two of four.
        let (positions, cursor) = database.index().walk_step(tag(b"a"), 0, 2);
        assert_eq!((positions, cursor), (2..4, 2));
        let changes = database.changes();
        let exchanged = database.exchange_entry(b"1", places[0], Kind::Absent, &new, false, &of);
        assert_eq!(exchanged, places[0]);
        assert!(database.changes() > changes);
        assert_eq!(walked(&database, tag(b"a"), cursor), [b"2", b"1"]);
        assert_eq!(walked(&database, tag(b"b"), 0).len(), 3);
        assert_eq!(walked(&database, tag(b"c"), 0), [b"1"]);
        assert!(!database.was_last_removed(b"1"), "it has not left");
        let place = exchanged.unwrap();
        let prints = of_absent(&of, &[b"a", b"c"]);
        assert_eq!(database.index().check_item(place, b"1", &prints), Ok(()));
    }

    #[test]
    fn an_exchange_counts_the_one_kind_out_and_the_other_in() {
        let of = Fingerprints::new([1; 16]);
        let json = br#"{"id":"k","user_id":"u","is_active":true}"#;
        let parts = Parts::sanitise(json, &Limits::STORED).unwrap();
        let record = Record::new(&parts, &[], b"", &[]).unwrap();
        let nobody = Record::absent(b"", &[b"a"]).unwrap();
        let mut database = Database::default();
        let place = database.add_entry(b"k", &record, false, &of);
        let place = database.exchange_entry(b"k", place, Kind::Record, &nobody, false, &of);
        assert_eq!(database.totals(), Totals { absent: 1, ..Totals::default() });
        assert_eq!((database.tag_count(), database.index().len()), (2, 1));
        // What takes the place of a condemned one is live, and what comes dead waits for its end.
        assert_eq!(database.condemn(of.of(b"a")), 1);
        let place = database.exchange_entry(b"k", place, Kind::Absent, &nobody, false, &of);
        assert!(!database.index().is_condemned(place.unwrap()));
        assert_eq!(database.reclaim_backlog(), 0);
        let place = database.exchange_entry(b"k", place, Kind::Absent, &record, true, &of);
        assert_eq!(database.totals(), Totals { records: 1, ..Totals::default() });
        assert!(database.index().is_condemned(place.unwrap()));
        assert_eq!((database.reclaim_backlog(), database.tag_count()), (1, 0));
        database.remove_entry(b"k", place, Kind::Record);
        assert!(database.was_last_removed(b"k"));
        assert!(database.index().is_empty());
        assert_eq!(database.totals(), Totals::default());
    }

    #[test]
    fn what_was_softened_is_looked_at_once_behind_the_condemned() {
        let of = Fingerprints::new([1; 16]);
        let [a, b, c] = [b"a", b"b", b"c"].map(|tag| of.of(tag));
        let mut database = Database::default();
        let mut add = |name: &[u8], tag: &[u8]| {
            let entry = Record::absent(b"", &[tag]).unwrap();
            database.add_entry(name, &entry, false, &of).unwrap()
        };
        let [a1, a2, a3] = [b"a1", b"a2", b"a3"].map(|name| add(name, b"a"));
        let [b1, c1] = [(b"b1", b"b"), (b"c1", b"c")].map(|(name, tag)| add(name, tag));
        assert_eq!((database.soften(a), database.condemn(b)), (3, 1));
        assert_eq!(database.reclaim_backlog(), 4);
        assert_eq!(database.next_to_reclaim(), Next::Item(b1));
        assert_eq!(database.next_to_reclaim(), Next::Item(a3));
        assert_eq!(database.reclaim_backlog(), 3);
        // What is condemned meanwhile comes first, and what can't be taken away keeps nobody waiting.
        assert_eq!(database.condemn(c), 1);
        let next = [(); 5].map(|()| database.next_to_reclaim());
        assert_eq!(
            next,
            [c1, b1, a2, a1].map(Next::Item).into_iter().chain([Next::End]).collect::<Vec<_>>()[..]
        );
        database.remove_entry(b"b1", Some(b1), Kind::Absent);
        database.remove_entry(b"c1", Some(c1), Kind::Absent);
        assert_eq!(database.reclaim_backlog(), 0, "all of the softened have stayed");
        assert_eq!(database.next_to_reclaim(), Next::End);
        // Softened again they are looked at again, and those that leave are not.
        assert_eq!((database.soften(a), database.reclaim_backlog()), (0, 3));
        database.remove_entry(b"a2", Some(a2), Kind::Absent);
        assert_eq!(to_reclaim(&mut database), [b"a3", b"a1"]);
        assert_eq!(database.reclaim_backlog(), 0);
        database.soften(a);
        database.sweep();
        assert_eq!(to_reclaim(&mut database), [b"a3", b"a1", b"a3", b"a1"]);
        assert_eq!((database.reclaim_backlog(), database.index().softened()), (0, 2));
        // Where nobody reclaims, as on a replica, nothing is noted of a tag that has gone.
        database.soften(a);
        database.remove_entry(b"a1", Some(a1), Kind::Absent);
        database.remove_entry(b"a3", Some(a3), Kind::Absent);
        assert_eq!((database.reclaim_backlog(), database.index().bytes()), (0, 0));
    }

    #[test]
    fn a_place_that_is_of_another_name_is_left_to_it() {
        let of = Fingerprints::new([1; 16]);
        let (old, new) =
            (Record::absent(b"", &[b"a"]).unwrap(), Record::absent(b"", &[b"b"]).unwrap());
        let mut database = Database::default();
        let other = database.add_entry(b"other", &old, false, &of);
        database.add_entry(b"gone", &old, false, &of);
        let nowhere = Some(1_000_000);
        for (name, place) in [(b"x", other), (b"y", nowhere), (b"z", None)] {
            let place = database.exchange_entry(name, place, Kind::Absent, &new, false, &of);
            let place = place.unwrap();
            assert_ne!(Some(place), other);
            assert_eq!(database.index().check_item(place, name, &of_absent(&of, &[b"b"])), Ok(()));
        }
        let other = other.unwrap();
        assert_eq!(database.index().check_item(other, b"other", &of_absent(&of, &[b"a"])), Ok(()));
        assert_eq!((database.index().len(), database.totals().absent), (5, 2));
    }

    /// Carries more tags than an item can, as though there were no room.
    struct TooMany;

    impl Entry for TooMany {
        fn kind(&self) -> Kind {
            Kind::Scopes
        }

        fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
            (0..self.tag_count()).for_each(|n| each(n.to_string().as_bytes()));
        }

        fn tag_count(&self) -> usize {
            MAX_ITEM_TAGS + 1
        }
    }

    #[test]
    fn what_finds_no_room_leaves_nothing_of_what_was_there() {
        let of = Fingerprints::new([1; 16]);
        let old = Record::absent(b"", &[b"a"]).unwrap();
        let mut database = Database::default();
        let place = database.add_entry(b"k", &old, false, &of);
        let none = database.exchange_entry(b"k", place, Kind::Absent, &TooMany, false, &of);
        assert_eq!(none, None);
        assert!(database.index().is_empty());
        assert_eq!((database.totals(), database.tag_count()), (Totals::default(), 0));
        assert_eq!(database.exchange_entry(b"k", None, Kind::Scopes, &TooMany, false, &of), None);
        assert_eq!(database.totals(), Totals::default());
        let place = database.exchange_entry(b"k", None, Kind::Scopes, &old, false, &of);
        assert!(place.is_some());
        assert_eq!(database.totals(), Totals { absent: 1, ..Totals::default() });
    }

    #[test]
    fn a_batch_is_open_from_its_first_line_to_its_last() {
        let (mut database, of) = (Database::default(), Fingerprints::new([1; 16]));
        let (mut ids, terms) = (Ids::new([7; 10]), Terms { leased_at: 10, deadline: 20 });
        let mut counter = Counter::default();
        counter.incr(5, 1).unwrap();
        let before = Held { pending: 5, leases: Leases::NONE };
        let [a, b] = [b"a", b"b"].map(|name| database.add_counter(name, before, &of));

        let batch = ids.draw().unwrap();
        let mut leases = Leases::default();
        leases.lease(&mut counter, batch, ids.draw().unwrap(), terms).unwrap();
        let leased = Held { pending: 0, leases: &leases };
        let a = database.update_counter(b"a", a, before, leased, &of);
        let b = database.update_counter(b"b", b, before, leased, &of);
        let tag = batch.fingerprint(&of);
        assert_eq!([0, 1].map(|at| database.index().member(tag, at)), [a, b]);
        assert_eq!((database.pending_counters(), database.tag_count()), (0, 0));
        assert_eq!(database.totals(), Totals { counters: 2, leased: 10, ..Totals::default() });
        assert!(database.set_deadline(batch, 30));

        let settled = Held { pending: 0, leases: Leases::NONE };
        assert_eq!(database.update_counter(b"a", a, leased, settled, &of), None);
        assert_eq!(database.batches().terms(batch).map(|terms| terms.deadline), Some(30));
        database.remove_counter(b"b", b, leased, &of);
        assert!(database.batches().is_empty() && !database.set_deadline(batch, 30));
        assert_eq!(database.totals(), Totals { counters: 1, ..Totals::default() });
        assert!(database.index().is_empty());
    }

    #[test]
    fn what_cannot_be_leased_is_apart_from_what_can() {
        let (mut database, of) = (Database::default(), Fingerprints::new([1; 16]));
        let (mut ids, terms) = (Ids::new([7; 10]), Terms { leased_at: 10, deadline: 20 });
        let (mut counter, mut leases) = (Counter::default(), Leases::default());
        for _ in 0..MAX_LEASES {
            counter.incr(1, 1).unwrap();
            let [batch, line] = [ids.draw(), ids.draw()].map(Option::unwrap);
            leases.lease(&mut counter, batch, line, terms).unwrap();
        }
        let full = Held { pending: 1, leases: &leases };
        let place = database.add_counter(b"c", full, &of);
        let members =
            |database: &Database| [PENDING, WAITING].map(|tag| database.index().member_count(tag));
        assert_eq!(members(&database), [0, 1]);
        assert_eq!((database.pending_counters(), database.tag_count()), (1, 0));
        let mut fewer = leases.clone();
        fewer.settle(leases.lines()[0].batch).unwrap();
        let now = Held { pending: 1, leases: &fewer };
        database.update_counter(b"c", place, full, now, &of).unwrap();
        assert_eq!(members(&database), [1, 0]);
        assert_eq!(database.batches().len(), MAX_LEASES - 1);
    }
}
