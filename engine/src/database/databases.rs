//! All databases of a node: found by number and by id, summed up, and which of them has something to do.
//!
//! A database that has, or had, keys of ours stands in a *site*, whose id it keeps when SWAPDB gives it
//! another number. Others cost nothing, whatever the highest number is.
//!
//! **Cost.** Nothing here walks over the databases. What a database says of itself ([`Figures`]) is noted
//! with its site, and each change ([`Databases::change`] and its kin) puts the difference into the sums. What is
//! asked for the soonest, the oldest or the next of all stands in ordered sets. A site is found by its id
//! in a table that grows a page at a time.
//!
//! **Sweeps.** That every entry may be dead ([`Databases::sweep`]) is a number, which a site compares
//! with its own when it is changed or looked at for reclaim next. Until then all its places are to be swept, and
//! the sums say so.

use crate::database::catalog::{Database, Reads};
use crate::database::totals::Totals;
use crate::defrag::Defrag;
use crate::entry::region_tag::RegionTag;
use crate::tags::buckets::Buckets;
use crate::tags::defrag::DefragWalk;
use crate::tags::fingerprint::Fingerprints;
use crate::tags::segments::{Place, Slab};
use crate::usage::batches::Ends;
use std::collections::{BTreeMap, BTreeSet};

/// The number of a site: no two that are there have the same, and one is not given again before all
/// others were. 0 is none.
pub type SiteId = u32;

/// What is known of a database, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub totals: Totals,
    /// Counters that have something pending.
    pub pending_counters: usize,
    pub open_batches: usize,
    /// Tags that have an entry.
    pub tags: usize,
    pub index_bytes: usize,
    pub regions: usize,
    /// What entries of regions take.
    pub cached_bytes: usize,
    /// Places that a sweep looks at.
    places: usize,
    /// Those that it has still to look at.
    to_sweep: usize,
    condemned: usize,
    /// Softened members that are still to be looked at.
    to_visit: usize,
}

impl Figures {
    fn of(database: &Database) -> Self {
        Self {
            totals: database.totals(),
            pending_counters: database.pending_counters(),
            open_batches: database.batches().len(),
            tags: database.tag_count(),
            index_bytes: database.index().bytes(),
            regions: database.regions().len(),
            cached_bytes: database.regions().bytes() as usize,
            places: database.index().items_end(),
            to_sweep: database.to_sweep(),
            condemned: database.index().condemned(),
            to_visit: database.index().to_visit(),
        }
    }

    /// Dead entries that are still there, at most: one can be condemned by several tags, and a sweep
    /// counts what it has not looked at, as do the passes over what was softened.
    pub fn reclaim_backlog(&self) -> usize {
        self.condemned + self.to_sweep + self.to_visit
    }

    /// How much there is to free.
    fn size(&self) -> usize {
        self.places + self.open_batches
    }

    /// Puts `now` in the stead of `before`, which is part of the sum.
    fn exchange(&mut self, before: &Self, now: &Self) {
        let one = |sum: &mut usize, before: usize, now: usize| *sum = *sum + now - before;
        self.totals.exchange(&before.totals, &now.totals);
        one(&mut self.pending_counters, before.pending_counters, now.pending_counters);
        one(&mut self.open_batches, before.open_batches, now.open_batches);
        one(&mut self.tags, before.tags, now.tags);
        one(&mut self.index_bytes, before.index_bytes, now.index_bytes);
        one(&mut self.regions, before.regions, now.regions);
        one(&mut self.cached_bytes, before.cached_bytes, now.cached_bytes);
        one(&mut self.places, before.places, now.places);
        one(&mut self.to_sweep, before.to_sweep, now.to_sweep);
        one(&mut self.condemned, before.condemned, now.condemned);
        one(&mut self.to_visit, before.to_visit, now.to_visit);
    }
}

/// A database and what is noted of it.
#[derive(Debug)]
pub struct Site {
    pub id: SiteId,
    pub database: Database,
    /// The number that the database has now.
    pub number: i32,
    noted: Figures,
    ends: Option<Ends>,
    /// Changes of the batches when `ends` was noted.
    batch_changes: u64,
    /// The latest sweep that it knows of.
    sweep: u64,
    /// What stands before its number in [`Databases::to_reclaim`].
    standing: Option<u64>,
}

/// Where a walk over all that defragmentation may move is: a database, and a place in its index.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefragPlace {
    number: i32,
    walk: DefragWalk,
}

/// Something waits for reclaim.
const WAITS: u64 = 0;

impl Site {
    fn standing(&self) -> Option<u64> {
        if self.noted.reclaim_backlog() > 0 {
            Some(WAITS)
        } else {
            (self.noted.places > 0).then_some(self.sweep)
        }
    }
}

/// See the top of this file.
#[derive(Debug)]
pub struct Databases {
    sites: Slab<Box<Site>>,
    by_id: Buckets,
    by_number: BTreeMap<i32, Place>,
    last_id: SiteId,
    sums: Figures,
    /// Sweeps so far, and one.
    sweep: u64,
    /// Sites that have items, by number: behind [`WAITS`] those where something waits, behind the latest
    /// sweep that it knows of any other.
    to_reclaim: BTreeSet<(u64, i32)>,
    /// The [`Ends`] of each site that has an open batch: deadlines, when its latest was given out last, when
    /// its oldest was given out first.
    deadlines: BTreeSet<(i64, SiteId)>,
    given: BTreeSet<(i64, SiteId)>,
    oldest: BTreeSet<(i64, SiteId)>,
    /// What [`Databases::put_aside`] has put aside.
    aside: Option<Box<Databases>>,
}

impl Default for Databases {
    fn default() -> Self {
        Self {
            sites: Slab::default(),
            by_id: Buckets::default(),
            by_number: BTreeMap::new(),
            last_id: 0,
            sums: Figures::default(),
            sweep: WAITS + 1,
            to_reclaim: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            given: BTreeSet::new(),
            oldest: BTreeSet::new(),
            aside: None,
        }
    }
}

/// Databases that are there no more. To free large ones takes a second for some million entries; they share
/// nothing with anyone.
#[derive(Debug, Default)]
pub struct Gone {
    /// As it is dropped.
    _all: (Option<Box<Site>>, Option<Box<Databases>>),
    size: usize,
}

impl Gone {
    /// Items and batches, or a few more.
    pub fn size(&self) -> usize {
        self.size
    }

    fn of(databases: Box<Databases>) -> Self {
        let size = databases.sums.size() + databases.sites.len();
        Self { _all: (None, Some(databases)), size }
    }
}

/// Equal for equal ids alone, and spread over all numbers.
fn hash(id: SiteId) -> u32 {
    id.wrapping_mul(0x9e37_79b1)
}

impl Databases {
    /// The site of a database, if it has one.
    pub fn get(&self, number: i32) -> Option<&Site> {
        self.sites.get(*self.by_number.get(&number)?).map(|site| &**site)
    }

    pub fn by_id(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(self.place(id)?).map(|site| &**site)
    }

    fn place(&self, id: SiteId) -> Option<Place> {
        self.by_id.find(hash(id), |_| true)
    }

    /// Lends a region of a database, where there is one, or room for it: for what is counted of it, nothing that
    /// [`Figures`] tell. A database gets a site where it has none: what is read of it is counted before anything is
    /// stored.
    pub fn with_region<T>(
        &mut self,
        number: i32,
        tag: &RegionTag,
        of: &Fingerprints,
        body: impl FnOnce(&mut Reads) -> T,
    ) -> Option<T> {
        let place = self.place_or_make(number)?;
        if let Some(mut reads) = self.sites.get_mut(place)?.database.reads(tag.bytes()) {
            return Some(body(&mut reads));
        }
        // How many there are is told.
        self.change_at(place, |database| database.regions_mut().find(tag, of).map(drop));
        self.sites.get_mut(place)?.database.reads(tag.bytes()).as_mut().map(body)
    }

    fn place_or_make(&mut self, number: i32) -> Option<Place> {
        match self.by_number.get(&number) {
            Some(&place) => Some(place),
            None => self.make(number),
        }
    }

    /// The id of a database, which gets a site where it has none; `None` where there are as many as there can be.
    pub fn id_or_make(&mut self, number: i32) -> Option<SiteId> {
        let place = self.place_or_make(number)?;
        Some(self.sites.get(place)?.id)
    }

    /// A database, for what is counted of its regions.
    pub fn uncounted(&mut self, number: i32) -> Option<&mut Database> {
        let place = *self.by_number.get(&number)?;
        self.sites.get_mut(place).map(|site| &mut site.database)
    }

    /// The numbers of the databases that have a site.
    pub fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        self.by_number.keys().copied()
    }

    /// All databases together.
    pub fn sums(&self) -> &Figures {
        &self.sums
    }

    /// Changes a database that has a site.
    pub fn change<T>(&mut self, number: i32, change: impl FnOnce(&mut Database) -> T) -> Option<T> {
        self.change_at(*self.by_number.get(&number)?, change)
    }

    /// Changes the database of a site.
    pub fn change_by_id<T>(
        &mut self,
        id: SiteId,
        change: impl FnOnce(&mut Database) -> T,
    ) -> Option<T> {
        self.change_at(self.place(id)?, change)
    }

    /// Changes a database, which gets a site where it has none; `None` where there are as many as there
    /// can be.
    pub fn change_or_make<T>(
        &mut self,
        number: i32,
        change: impl FnOnce(&mut Database) -> T,
    ) -> Option<(SiteId, T)> {
        let place = self.place_or_make(number)?;
        let done = self.change_at(place, change)?;
        Some((self.sites.get(place)?.id, done))
    }

    fn make(&mut self, number: i32) -> Option<Place> {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            if self.place(self.last_id).is_none() {
                break;
            }
        }
        let place = self.sites.insert(Box::new(Site {
            id: self.last_id,
            database: Database::default(),
            number,
            noted: Figures::default(),
            ends: None,
            batch_changes: 0,
            sweep: self.sweep,
            standing: None,
        }))?;
        self.by_id.insert(hash(self.last_id), place);
        self.by_number.insert(number, place);
        Some(place)
    }

    fn change_at<T>(&mut self, place: Place, change: impl FnOnce(&mut Database) -> T) -> Option<T> {
        let site = self.sites.get_mut(place)?;
        if site.sweep != self.sweep {
            site.sweep = self.sweep;
            site.database.sweep();
            // As the sums have it since the sweep began.
            site.noted.to_sweep = site.noted.places;
        }
        let done = change(&mut site.database);
        let now = Figures::of(&site.database);
        let before = std::mem::replace(&mut site.noted, now);
        self.sums.exchange(&before, &now);
        if site.batch_changes != site.database.batches().changes() {
            self.note_ends(place);
        }
        self.note_standing(place);
        Some(done)
    }

    fn note_ends(&mut self, place: Place) {
        let Some(site) = self.sites.get_mut(place) else { return };
        let batches = site.database.batches();
        site.batch_changes = batches.changes();
        let now = batches.ends();
        let before = std::mem::replace(&mut site.ends, now);
        if let Some(ends) = before {
            for deadline in ends.deadlines {
                self.deadlines.remove(&(deadline, site.id));
            }
            self.given.remove(&(ends.given, site.id));
            self.oldest.remove(&(ends.oldest, site.id));
        }
        if let Some(ends) = now {
            self.deadlines.extend(ends.deadlines.map(|at| (at, site.id)));
            self.given.insert((ends.given, site.id));
            self.oldest.insert((ends.oldest, site.id));
        }
    }

    fn note_standing(&mut self, place: Place) {
        let Some(site) = self.sites.get_mut(place) else { return };
        let now = site.standing();
        if site.standing == now {
            return;
        }
        if let Some(before) = std::mem::replace(&mut site.standing, now) {
            self.to_reclaim.remove(&(before, site.number));
        }
        if let Some(now) = now {
            self.to_reclaim.insert((now, site.number));
        }
    }

    /// A counter that had something pending has more of it, or less: [`Database::count_on`].
    pub fn count_on(&mut self, id: SiteId, before: i64, now: i64) {
        let site = self.place(id).and_then(|place| self.sites.get_mut(place));
        if let Some(site) = site {
            site.database.count_on(before, now);
            let pending = site.database.totals().pending;
            self.sums.totals.pending += pending - site.noted.totals.pending;
            site.noted.totals.pending = pending;
        }
    }

    /// The ends of all open batches.
    pub fn ends(&self) -> Option<Ends> {
        Some(Ends {
            deadlines: [self.deadlines.first()?.0, self.deadlines.last()?.0],
            given: self.given.last()?.0,
            oldest: self.oldest.first()?.0,
        })
    }

    /// Hands over allocations of an index: [`Database::defrag_step`]; returns where to go on, `None` behind the
    /// last.
    pub fn defrag_step(&mut self, from: DefragPlace, to: &mut impl Defrag) -> Option<DefragPlace> {
        let (&number, &place) = self.by_number.range(from.number..).next()?;
        let walk = if number == from.number { from.walk } else { DefragWalk::default() };
        let database = &mut self.sites.get_mut(place)?.database;
        match database.defrag_step(walk, to) {
            Some(walk) => Some(DefragPlace { number, walk }),
            None => Some(DefragPlace { number: number.checked_add(1)?, ..DefragPlace::default() }),
        }
    }

    /// Every entry of every database may be dead: [`Database::sweep`].
    pub fn sweep(&mut self) {
        self.sweep += 1;
        self.sums.to_sweep = self.sums.places;
    }

    /// The number of a database where something waits for reclaim: of several the next after `last`.
    pub fn next_to_reclaim(&mut self, last: i32) -> Option<i32> {
        // Each time one that the latest sweep has not come to joins the others.
        let unswept = (WAITS + 1, i32::MIN)..(self.sweep, i32::MIN);
        if let Some(&(_, number)) = self.to_reclaim.range(unswept).next() {
            self.change(number, |_| ());
        }
        let behind = (WAITS, last.saturating_add(1))..(WAITS + 1, i32::MIN);
        let next = self.to_reclaim.range(behind).next().or_else(|| self.to_reclaim.first());
        next.filter(|(standing, _)| *standing == WAITS).map(|&(_, number)| number)
    }

    /// Two databases have exchanged their keys.
    pub fn swap(&mut self, first: i32, second: i32) {
        let both =
            [(first, second), (second, first)].map(|(from, to)| (self.by_number.remove(&from), to));
        for (place, _) in both {
            if let Some(site) = place.and_then(|place| self.sites.get_mut(place)) {
                if let Some(standing) = site.standing.take() {
                    self.to_reclaim.remove(&(standing, site.number));
                }
            }
        }
        for (place, number) in both {
            let Some(place) = place else { continue };
            self.by_number.insert(number, place);
            if let Some(site) = self.sites.get_mut(place) {
                site.number = number;
            }
            self.note_standing(place);
        }
    }

    /// A database is emptied, or all of them.
    pub fn flush(&mut self, database: Option<i32>) -> Gone {
        match database {
            Some(number) => self.flush_one(number).unwrap_or_default(),
            None => Gone::of(Box::new(self.take())),
        }
    }

    fn flush_one(&mut self, number: i32) -> Option<Gone> {
        let place = self.by_number.remove(&number)?;
        let site = self.sites.get_mut(place)?;
        let size = site.noted.size();
        // What it leaves of itself is nothing.
        let database = std::mem::take(&mut site.database);
        self.change_at(place, |_| ());
        let mut site = self.sites.remove(place)?;
        self.by_id.remove(hash(site.id), place);
        site.database = database;
        Some(Gone { _all: (Some(site), None), size })
    }

    /// All that is there; in its stead there is nothing, with other ids.
    fn take(&mut self) -> Self {
        let nothing = Self { last_id: self.last_id, sweep: self.sweep, ..Self::default() };
        let aside = self.aside.take();
        let all = std::mem::replace(self, nothing);
        self.aside = aside;
        all
    }

    /// All keys are put aside while others are loaded.
    pub fn put_aside(&mut self) {
        self.aside = Some(Box::new(self.take()));
    }

    /// The load failed: what was put aside is back.
    pub fn take_back(&mut self) -> Gone {
        let Some(mut aside) = self.aside.take() else { return Gone::default() };
        aside.last_id = self.last_id;
        if aside.sweep != self.sweep {
            aside.sweep = self.sweep;
            aside.sums.to_sweep = aside.sums.places;
        }
        Gone::of(Box::new(std::mem::replace(self, *aside)))
    }

    /// The load is done: what was put aside is going.
    pub fn drop_aside(&mut self) -> Gone {
        self.aside.take().map(Gone::of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::Evict;
    use crate::cache::region::Answer;
    use crate::cache::value::{Cached, Parts};
    use crate::clock::CLOCKS_DIFFER_MS;
    use crate::database::catalog::{Counted, Next};
    use crate::database::items::Held;
    use crate::entry::kind::Kind;
    use crate::record::layout::Record;
    use crate::tags::index::Standing;
    use crate::usage::batches::{Batches, Terms};
    use crate::usage::counter::Counter;
    use crate::usage::id::Id;
    use crate::usage::lease::Leases;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Numbers of databases, far apart.
    const NUMBERS: [i32; 4] = [0, 1, 70_000, 99_999];

    #[derive(Clone, Debug)]
    enum Step {
        Store { db: usize, name: u8, dead: bool },
        Cache { db: usize, name: u8, region: u8, len: usize, dead: bool },
        ReadRegion { db: usize, region: u8 },
        Evict { db: usize, region: u8 },
        Remove { db: usize, name: u8 },
        Condemn { db: usize },
        Soften { db: usize },
        Count { db: usize, name: u8, by: i64 },
        Lease { db: usize, name: u8, batch: u8, leased_at: i64, deadline: i64 },
        Settle { db: usize, name: u8, batch: u8 },
        SetDeadline { db: usize, batch: u8, deadline: i64 },
        Reclaim { steps: u8 },
        Sweep,
        Swap { first: usize, second: usize },
        Flush { db: Option<usize> },
        Load { fails: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        let (db, name, batch, time) = (0..NUMBERS.len(), 0u8..6, 1u8..5, 0..100i64);
        prop_oneof![
            8 => (db.clone(), name.clone(), 0..10u8)
                .prop_map(|(db, name, dead)| Step::Store { db, name, dead: dead == 0 }),
            8 => (db.clone(), name.clone(), 0..3u8, 0..40usize, 0..10u8).prop_map(
                |(db, name, region, len, dead)| {
                    Step::Cache { db, name, region, len, dead: dead == 0 }
                }
            ),
            2 => (db.clone(), 0..4u8).prop_map(|(db, region)| Step::ReadRegion { db, region }),
            2 => (db.clone(), 0..3u8).prop_map(|(db, region)| Step::Evict { db, region }),
            4 => (db.clone(), name.clone()).prop_map(|(db, name)| Step::Remove { db, name }),
            2 => db.clone().prop_map(|db| Step::Condemn { db }),
            2 => db.clone().prop_map(|db| Step::Soften { db }),
            6 => (db.clone(), name.clone(), 1..5i64)
                .prop_map(|(db, name, by)| Step::Count { db, name, by }),
            4 => (db.clone(), name.clone(), batch.clone(), time.clone(), time.clone()).prop_map(
                |(db, name, batch, leased_at, deadline)| {
                    Step::Lease { db, name, batch, leased_at, deadline }
                }
            ),
            2 => (db.clone(), name, batch.clone())
                .prop_map(|(db, name, batch)| Step::Settle { db, name, batch }),
            2 => (db.clone(), batch, time)
                .prop_map(|(db, batch, deadline)| Step::SetDeadline { db, batch, deadline }),
            3 => any::<u8>().prop_map(|steps| Step::Reclaim { steps }),
            1 => Just(Step::Sweep),
            2 => (db.clone(), db.clone()).prop_map(|(first, second)| Step::Swap { first, second }),
            1 => proptest::option::of(db).prop_map(|db| Step::Flush { db }),
            1 => any::<bool>().prop_map(|fails| Step::Load { fails }),
        ]
    }

    /// A key, as the server has it.
    #[derive(Clone, Default)]
    struct Value {
        site: SiteId,
        place: Option<Place>,
        /// `None` for an entry.
        counter: Option<(Counter, Leases)>,
        /// A value of a region's, and whether it came dead.
        cached: Option<(Cached<'static>, bool)>,
    }

    impl Value {
        fn counted(&self, name: u8) -> Counted {
            match &self.cached {
                Some((cached, dead)) => Counted::of(cached, *dead, &[name]),
                None => Kind::Absent.into(),
            }
        }

        fn held(&self) -> Held<'_> {
            self.counter.as_ref().map_or(
                Held { pending: 0, leases: Leases::NONE },
                |(counter, leases)| Held { pending: counter.pending(), leases },
            )
        }
    }

    /// The keys of all databases, and what should be known of them.
    struct Node {
        all: Databases,
        keys: [HashMap<u8, Value>; NUMBERS.len()],
        of: Fingerprints,
        given: Vec<SiteId>,
    }

    fn id(batch: u8) -> Id {
        Id::from_bytes(u128::from(batch).to_be_bytes()).unwrap()
    }

    impl Node {
        fn remove(&mut self, db: usize, name: u8) {
            let Some(value) = self.keys[db].remove(&name) else { return };
            self.all.change_by_id(value.site, |database| match &value.counter {
                None => database.remove_entry(&[name], value.place, value.counted(name)),
                Some(_) => database.remove_counter(&[name], value.place, value.held(), &self.of),
            });
        }

        /// Changes a counter, which is made where there is none.
        fn change(&mut self, db: usize, name: u8, change: impl FnOnce(&mut Counter, &mut Leases)) {
            if self.keys[db].get(&name).is_none_or(|value| value.counter.is_none()) {
                self.remove(db, name);
                let mut value = Value { counter: Some(Default::default()), ..Value::default() };
                let add =
                    |database: &mut Database| database.add_counter(&[name], value.held(), &self.of);
                (value.site, value.place) = self.all.change_or_make(NUMBERS[db], add).unwrap();
                self.keys[db].insert(name, value);
            }
            let value = self.keys[db].get_mut(&name).unwrap();
            let before = value.clone();
            let (counter, leases) = value.counter.as_mut().unwrap();
            change(counter, leases);
            let (was, is) = (before.held(), value.held());
            if was.pending > 0 && is.pending > 0 && was.leases == is.leases {
                self.all.count_on(value.site, was.pending, is.pending);
            } else {
                let update = |database: &mut Database| {
                    database.update_counter(&[name], before.place, was, is, &self.of)
                };
                let place = self.all.change_by_id(value.site, update).unwrap();
                self.keys[db].get_mut(&name).unwrap().place = place;
            }
        }

        fn run(&mut self, step: Step) {
            match step {
                Step::Store { db, name, dead } => {
                    self.remove(db, name);
                    let entry = Record::absent(b"", &[b"a", &[name % 2]]).unwrap();
                    let add = |database: &mut Database| {
                        database.add_entry(&[name], &entry, dead, &self.of)
                    };
                    let (site, place) = self.all.change_or_make(NUMBERS[db], add).unwrap();
                    self.keys[db].insert(name, Value { site, place, ..Value::default() });
                }
                Step::Cache { db, name, region, len, dead } => {
                    let parts = Parts {
                        value: Some(&[b'v'; 40][..len]),
                        region: &[region],
                        namespace: b"",
                        label: b"",
                        stored_at: 0,
                        grace: i64::from(name % 2),
                    };
                    let cached = Cached::new(&parts, &[b"a", &[name % 2]]).unwrap();
                    if self.keys[db].get(&name).is_some_and(|value| value.counter.is_some()) {
                        self.remove(db, name);
                    }
                    let put = |database: &mut Database| match self.keys[db].get(&name) {
                        Some(old) => {
                            let counted = old.counted(name);
                            let of = &self.of;
                            database.exchange_entry(&[name], old.place, counted, &cached, dead, of)
                        }
                        None => database.add_entry(&[name], &cached, dead, &self.of),
                    };
                    let (site, place) = self.all.change_or_make(NUMBERS[db], put).unwrap();
                    let cached = Some((cached, dead));
                    self.keys[db].insert(name, Value { site, place, counter: None, cached });
                }
                Step::ReadRegion { db, region } => {
                    let tag = RegionTag::new(b"", &[region]).unwrap();
                    let count = |reads: &mut Reads| reads.region.count(Answer::Miss, 0);
                    self.all.with_region(NUMBERS[db], &tag, &self.of, count);
                }
                Step::Evict { db, region } => {
                    let tag = RegionTag::new(b"", &[region]).unwrap();
                    let victim = self.all.uncounted(NUMBERS[db]).and_then(|database| {
                        database.victim(tag.bytes(), Evict::Lru, None).map(|name| name[0])
                    });
                    let of_region = |value: &Value| {
                        let cached = value.cached.as_ref().filter(|(_, dead)| !dead);
                        cached.is_some_and(|(cached, _)| cached.is_of(b"", &[region]))
                    };
                    let any = self.keys[db].values().any(of_region);
                    assert_eq!(victim.is_some(), any);
                    if let Some(name) = victim {
                        assert!(of_region(&self.keys[db][&name]));
                        self.remove(db, name);
                    }
                }
                Step::Remove { db, name } => self.remove(db, name),
                Step::Condemn { db } => {
                    let tag = self.of.of(b"a");
                    self.all.change(NUMBERS[db], |database| database.condemn(tag));
                }
                Step::Soften { db } => {
                    let tag = self.of.of(b"a");
                    self.all.change(NUMBERS[db], |database| database.soften(tag));
                }
                Step::Count { db, name, by } => {
                    self.change(db, name, |counter, _| {
                        let _ = counter.incr(by, 1);
                    });
                }
                Step::Lease { db, name, batch, leased_at, deadline } => {
                    self.change(db, name, |counter, leases| {
                        leases.lease(
                            counter,
                            id(batch),
                            id(batch + 100),
                            Terms { leased_at, deadline },
                        );
                    });
                }
                Step::Settle { db, name, batch } => {
                    self.change(db, name, |_, leases| {
                        let _ = leases.settle(id(batch));
                    });
                }
                Step::SetDeadline { db, batch, deadline } => {
                    let set = |database: &mut Database| database.set_deadline(id(batch), deadline);
                    self.all.change(NUMBERS[db], set);
                }
                Step::Reclaim { steps } => {
                    let mut last = 0;
                    for _ in 0..steps {
                        let Some(number) = self.all.next_to_reclaim(last) else { break };
                        last = number;
                        let next = self.all.change(number, Database::next_to_reclaim);
                        if let Some(Next::Item(place)) = next {
                            let db = NUMBERS.iter().position(|&n| n == number).unwrap();
                            let index = self.all.get(number).unwrap().database.index();
                            let name = index.name(place).unwrap()[0];
                            // Some are dead by being softened, as those without a grace.
                            let weakest = [Standing::Softened, Standing::Condemned];
                            if index.standing(place) >= weakest[usize::from(name % 2)] {
                                self.remove(db, name);
                            }
                        }
                    }
                }
                Step::Sweep => self.all.sweep(),
                Step::Swap { first, second } => {
                    self.all.swap(NUMBERS[first], NUMBERS[second]);
                    self.keys.swap(first, second);
                }
                Step::Flush { db } => {
                    self.all.flush(db.map(|db| NUMBERS[db]));
                    match db {
                        Some(db) => self.keys[db].clear(),
                        None => self.keys.iter_mut().for_each(HashMap::clear),
                    }
                }
                Step::Load { fails } => {
                    let before = std::mem::take(&mut self.keys);
                    self.all.put_aside();
                    self.run(Step::Store { db: 1, name: 1, dead: true });
                    self.run(Step::Sweep);
                    self.note_ids();
                    if fails {
                        self.all.take_back();
                        self.keys = before;
                    } else {
                        self.all.drop_aside();
                    }
                }
            }
            self.note_ids();
        }

        /// An id stays with its site and is never given to another.
        fn note_ids(&mut self) {
            let mut ids: Vec<_> =
                NUMBERS.iter().filter_map(|&n| Some(self.all.get(n)?.id)).collect();
            ids.retain(|id| !self.given.contains(id));
            assert!(ids.iter().all(|&id| id > self.given.last().copied().unwrap_or(0)));
            self.given.extend(ids);
        }

        fn sites(&self) -> impl Iterator<Item = (i32, &Site)> {
            NUMBERS.iter().filter_map(|&number| Some((number, self.all.get(number)?)))
        }

        /// What regions hold is what their entries take, with their names.
        fn assert_regions(&self) {
            for (number, site) in self.sites() {
                let db = NUMBERS.iter().position(|&n| n == number).unwrap();
                let mut bytes: HashMap<Vec<u8>, u64> = HashMap::new();
                for value in self.keys[db].values() {
                    let Some((cached, false)) = &value.cached else { continue };
                    let taken = cached.bytes().len() as u64 + 1;
                    *bytes.entry(cached.region().to_vec()).or_default() += taken;
                }
                let regions = site.database.regions();
                assert_eq!(regions.bytes(), bytes.values().sum::<u64>());
                for region in 0..4 {
                    let tag = RegionTag::new(b"", &[region]).unwrap();
                    let known = regions.get(tag.bytes()).map_or(0, |region| region.bytes);
                    assert_eq!(known, bytes.get(&[region][..]).copied().unwrap_or(0));
                }
            }
        }

        /// What a walk over all databases finds.
        fn assert_as_walked(&self) {
            let all = &self.all;
            let (mut sums, mut backlog) = (Figures::default(), 0);
            for (_, site) in self.sites() {
                let mut now = Figures::of(&site.database);
                backlog += site.database.reclaim_backlog();
                if site.sweep != all.sweep {
                    backlog = backlog + now.places - now.to_sweep;
                    now.to_sweep = now.places;
                }
                sums.exchange(&Figures::default(), &now);
            }
            assert_eq!(*all.sums(), sums);
            self.assert_regions();
            assert_eq!(sums.reclaim_backlog(), backlog);
            let pending = self.keys.iter().flat_map(HashMap::values).map(|v| v.held().pending);
            assert_eq!(sums.totals.pending, pending.map(i128::from).sum::<i128>());
            let batches = || self.sites().map(|(_, site)| site.database.batches());
            let ends = all.ends();
            // The clock was set back for the last.
            for now in [0, 50, 99, 100, 50 - CLOCKS_DIFFER_MS] {
                let has_ahead = |ends: &Ends| ends.has_ahead(now);
                let overdue = batches().any(|b| b.overdue(now).is_some());
                assert_eq!(ends.is_some_and(|ends| ends.has_overdue(now)), overdue);
                let ahead = batches().filter_map(Batches::ends).any(|ends| has_ahead(&ends));
                assert_eq!(ends.as_ref().is_some_and(has_ahead), ahead);
            }
            let oldest = batches().filter_map(Batches::ends).map(|ends| ends.oldest).min();
            assert_eq!(ends.map(|ends| ends.oldest), oldest);
            for (number, site) in self.sites() {
                assert_eq!((site.number, site.standing()), (number, site.standing));
                assert_eq!(all.by_id(site.id).map(|found| found.number), Some(number));
            }
            let known = self.sites().filter_map(|(n, site)| Some((site.standing?, n)));
            assert_eq!(all.to_reclaim, known.collect());
            assert_eq!(all.sites.len(), self.sites().count());
        }
    }

    proptest! {
        #[test]
        fn what_is_known_of_all_databases_is_what_a_walk_over_them_finds(
            steps in proptest::collection::vec(step(), 0..150)
        ) {
            let mut node = Node {
                all: Databases::default(),
                keys: Default::default(),
                of: Fingerprints::new([1; 16]),
                given: Vec::new(),
            };
            for step in steps {
                node.run(step);
                node.assert_as_walked();
            }
            // Each with something to reclaim has its turn, a swept one as well.
            node.run(Step::Sweep);
            for _ in 0..1000 {
                node.run(Step::Reclaim { steps: 1 });
            }
            prop_assert_eq!(node.all.sums().reclaim_backlog(), 0);
            node.run(Step::Flush { db: None });
            prop_assert_eq!(*node.all.sums(), Figures::default());
            prop_assert!(node.all.to_reclaim.is_empty() && node.all.by_id.is_empty());
            prop_assert_eq!(node.all.ends(), None);
        }
    }

    #[test]
    fn those_with_something_to_reclaim_have_their_turns() {
        let (mut all, of) = (Databases::default(), Fingerprints::new([1; 16]));
        let entry = Record::absent(b"", &[b"a"]).unwrap();
        for number in [5, 9, 99_999] {
            let add = |database: &mut Database| database.add_entry(b"k", &entry, false, &of);
            all.change_or_make(number, add).unwrap();
        }
        assert_eq!(all.next_to_reclaim(0), None);
        for number in [5, 99_999] {
            all.change(number, |database| database.condemn(of.of(b"a")));
        }
        let mut turns = |from| all.next_to_reclaim(from);
        assert_eq!(
            [0, 5, 50, 99_999].map(&mut turns),
            [Some(5), Some(99_999), Some(99_999), Some(5)]
        );
        all.sweep();
        // The sweep comes to one more each time.
        let turns: Vec<_> = (0..6)
            .scan(0, |last, _| {
                *last = all.next_to_reclaim(*last)?;
                Some(*last)
            })
            .collect();
        assert_eq!(turns, [5, 9, 99_999, 5, 9, 99_999]);
        assert_eq!(all.get(4).map(|site| site.id), None);
    }

    #[test]
    fn one_that_was_softened_has_its_turns_until_all_of_it_was_looked_at_though_it_stays() {
        let (mut all, of) = (Databases::default(), Fingerprints::new([1; 16]));
        let entry = Record::absent(b"", &[b"a"]).unwrap();
        for number in [5, 9] {
            for name in [b"k", b"l"] {
                let add = |database: &mut Database| database.add_entry(name, &entry, false, &of);
                all.change_or_make(number, add).unwrap();
            }
        }
        assert_eq!(all.change(9, |database| database.soften(of.of(b"a"))), Some(2));
        for left in [2, 1] {
            assert_eq!(all.sums().reclaim_backlog(), left);
            assert_eq!(all.next_to_reclaim(0), Some(9));
            let next = all.change(9, Database::next_to_reclaim);
            assert!(matches!(next, Some(Next::Item(_))));
        }
        assert_eq!((all.next_to_reclaim(0), all.sums().reclaim_backlog()), (None, 0));
        assert_eq!(all.get(9).map(|site| site.database.index().softened()), Some(2));
    }
}
