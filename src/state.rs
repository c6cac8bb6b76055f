//! What the module knows beside the keys: an index for each database, the fence, and its counts of
//! answers.
//!
//! It belongs to whoever holds the server's lock. [`with`] lends it for the time of a closure. No call into
//! the server that opens or removes keys, or notifies, belongs into that: it could come back here.
//!
//! **Loading.** Keys that an RDB brings are entered into the index some hundreds at a time
//! ([`Database::load_entry`]). [`with`] enters what waits before it lends the state, so that nobody ever sees
//! it otherwise: neither a command behind an AOF's preamble, nor a removal, nor the end of the load or what
//! undoes one that fails. The few functions that are called for each key that is loaded get on without.

use crate::settings;
use crate::trouble::Trouble;
use crate::trust::Trust;
use crate::values::entry::AnyEntry;
use crate::values::life::{Life, Standing};
use crate::values::usage::UsageValue;
use apikey_engine::cache::glob::Pattern;
use apikey_engine::cache::leases::{Asked, KeyHash, Leases as Loads};
use apikey_engine::cache::patterns::Patterns;
use apikey_engine::cache::policy::Evict;
use apikey_engine::cache::region::{Answer, Counts};
use apikey_engine::codec::version;
use apikey_engine::database::catalog::{Counted, Database, Next, Reads};
use apikey_engine::database::databases::{Databases, DefragPlace, Figures, Gone, Site, SiteId};
use apikey_engine::database::items::{tags_in_index, Held};
use apikey_engine::database::totals::MaxAbsent;
use apikey_engine::defrag::Defrag;
use apikey_engine::entry::kind::Entry;
use apikey_engine::entry::region_tag::RegionTag;
use apikey_engine::invalidation::fence::{Fence, Token};
use apikey_engine::limits::known::Known;
use apikey_engine::record::layout::Record;
use apikey_engine::report::refusals::Refusals;
use apikey_engine::report::stats::Stats;
use apikey_engine::tags::fingerprint::{Fingerprint, Fingerprints};
use apikey_engine::tags::index;
use apikey_engine::tags::segments::Place;
use apikey_engine::usage::batches::{Ends, Terms};
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::id::{Id, Ids};
use apikey_engine::usage::lease::Leases;
use apikey_engine::vouch::Vouch;
use host::server::random_bytes;
use host::{Lock, Locked, Name, Text};
use smallvec::SmallVec;
use std::cell::{OnceCell, RefCell};
use std::ops::Range;

/// Who loads what is missing.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Who asked, with this token.
    Mine(Token),
    /// Another: to be asked again after so many milliseconds.
    Anothers(i64),
}

pub struct State {
    pub fingerprints: Fingerprints,
    pub fence: Fence,
    /// What [`crate::patinval`] has invalidated.
    pub patterns: Patterns,
    /// Who loads what is missing of regions.
    pub loads: Loads,
    pub stats: Stats,
    /// The latest refused validations, for LOG.
    pub refusals: Refusals,
    /// Limits that counters hold.
    pub known: Known,
    /// Ids of batches and lines.
    ids: Ids,
    databases: Databases,
    /// The number of the database of which loaded entries wait to be entered.
    unsettled: Option<i32>,
    pub trust: Trust,
    pub trouble: Trouble,
    pub vouch: Vouch,
    /// Whether something was made dead, or told to be, since [`crate::reclaim`] looked last.
    has_work_for_reclaim: bool,
    /// How far the indices are handed over for defragmentation.
    defrag: DefragPlace,
    /// For what commands make in passing, so that they need not ask the allocator.
    memory: SmallVec<[Vec<u8>; 4]>,
}

static STATE: Locked<OnceCell<RefCell<State>>> = Locked::new(OnceCell::new());

/// Makes the state, once the settings are known, so that no command has to wait for it.
pub fn create(lock: Lock) {
    with(lock, |_| ());
}

/// Lends the state; see the top of this file.
pub fn with<T>(lock: Lock, body: impl FnOnce(&mut State) -> T) -> T {
    unsettled(lock, |state| {
        if state.unsettled.is_some() {
            state.settle();
        }
        body(state)
    })
}

/// Lends the state with what waits to be entered: for the functions below that read nothing of an index.
fn unsettled<T>(lock: Lock, body: impl FnOnce(&mut State) -> T) -> T {
    let state = STATE.get(lock).get_or_init(|| RefCell::new(State::new()));
    body(&mut state.borrow_mut())
}

/// Lends memory that was used before, for bytes to be put together in.
pub fn with_bytes<T>(lock: Lock, body: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut bytes = unsettled(lock, |state| state.memory());
    bytes.clear();
    let result = body(&mut bytes);
    unsettled(lock, |state| state.give_back(bytes));
    result
}

/// Lends a record's JSON.
pub fn with_json<T>(lock: Lock, record: &Record, body: impl FnOnce(&[u8]) -> T) -> T {
    with_bytes(lock, |json| {
        record.write_json(json);
        body(json)
    })
}

/// Whether what clients give is stored now.
pub fn fills_are_stored(lock: Lock) -> bool {
    settings::ENABLED.get()
        && settings::WRITES_ENABLED.get()
        && !with(lock, |state| state.trust.owes_word())
}

/// Whether what comes is loaded.
pub fn is_loading(lock: Lock) -> bool {
    unsettled(lock, |state| state.trust.is_loading())
}

/// Whether what comes is loaded, and dead since it is not trusted.
pub fn comes_dead(lock: Lock) -> bool {
    unsettled(lock, |state| state.trust.distrusts_what_comes())
}

/// An entry of a key was loaded.
pub fn load_entry(lock: Lock, number: i32, name: &[u8], any: AnyEntry) {
    unsettled(lock, |state| {
        if state.trust.distrusts_what_comes() {
            any.life.stamp_dead();
        }
        if state.unsettled != Some(number) {
            state.settle();
            state.unsettled = Some(number);
        }
        state.enter(number, any, |database, entry, dead, of| {
            database.load_entry(name, entry, dead, of)
        });
    });
}

/// A counter was loaded.
pub fn load_counter(lock: Lock, number: i32, name: &[u8], value: &UsageValue) {
    unsettled(lock, |state| state.add_counter(number, name, value));
}

/// Whether there may be work for [`crate::reclaim`], which takes care of it, and whether others have to be told
/// first. It can wait for the end of a load.
pub fn take_work_for_reclaim(lock: Lock) -> (bool, bool) {
    unsettled(lock, |state| {
        let has_work = !state.trust.is_loading() && std::mem::take(&mut state.has_work_for_reclaim);
        (has_work, state.trust.owes_word())
    })
}

fn random_run() -> u64 {
    u64::from_ne_bytes(random_bytes())
}

impl State {
    fn new() -> Self {
        Self {
            fingerprints: Fingerprints::new(random_bytes()),
            fence: Fence::new(random_run(), settings::FENCE_SLOTS.size()),
            patterns: Patterns::default(),
            loads: Loads::new(settings::LEASE_SLOTS.size()),
            stats: Stats::default(),
            refusals: Refusals::default(),
            known: Known::default(),
            ids: Ids::new(random_bytes()),
            databases: Databases::default(),
            unsettled: None,
            trust: Trust::default(),
            trouble: Trouble::default(),
            vouch: Vouch::default(),
            has_work_for_reclaim: false,
            defrag: Default::default(),
            memory: SmallVec::new(),
        }
    }

    /// Memory that was used before: to be given back.
    pub fn memory(&mut self) -> Vec<u8> {
        self.memory.pop().unwrap_or_default()
    }

    pub fn give_back(&mut self, memory: Vec<u8>) {
        const KEPT: usize = 64 << 10;
        if memory.capacity() <= KEPT && self.memory.len() < self.memory.inline_size() {
            self.memory.push(memory);
        }
    }

    pub fn site(&self, number: i32) -> Option<&Site> {
        self.databases.get(number)
    }

    /// The number that the database of a site has now.
    pub fn number_of(&self, id: SiteId) -> Option<i32> {
        self.databases.by_id(id).map(|site| site.number)
    }

    /// All databases together.
    pub fn figures(&self) -> &Figures {
        self.databases.sums()
    }

    /// The ends of the open batches of all databases.
    pub fn lease_ends(&self) -> Option<Ends> {
        self.databases.ends()
    }

    /// Hands over some of what the indices have allocated, and goes on behind it the next time; false at the end
    /// of all.
    pub fn defrag_step(&mut self, to: &mut impl Defrag) -> bool {
        let next = self.databases.defrag_step(self.defrag, to);
        self.defrag = next.unwrap_or_default();
        next.is_some()
    }

    /// Whether the index of a database finds room for another key.
    pub fn has_room(&self, number: i32) -> bool {
        self.site(number).is_none_or(|site| site.database.index().has_room())
    }

    /// Enters the loaded entries that wait for it.
    #[cold]
    fn settle(&mut self) {
        if let Some(number) = self.unsettled.take() {
            self.databases.change(number, Database::settle);
        }
    }

    /// An entry has come to a name.
    pub fn add_entry(&mut self, number: i32, name: &[u8], any: AnyEntry) {
        self.enter(number, any, |database, entry, dead, of| {
            database.add_entry(name, entry, dead, of)
        });
    }

    /// An entry has come to a name in place of another of some kind, which stood at `place` of the index and
    /// whose link was [taken](Self::take_over).
    pub fn exchange_entry(
        &mut self,
        number: i32,
        name: &[u8],
        (before, place): (Counted, Option<Place>),
        any: AnyEntry,
    ) {
        self.enter(number, any, |database, entry, dead, of| {
            database.exchange_entry(name, place, before, entry, dead, of)
        });
    }

    fn enter(
        &mut self,
        number: i32,
        AnyEntry { entry, life, .. }: AnyEntry,
        store: impl FnOnce(&mut Database, &dyn Entry, bool, &Fingerprints) -> Option<Place>,
    ) {
        let of = self.fingerprints.clone();
        life.enter(self.trust.era());
        let is_dead = life.is_stamped_dead();
        self.has_work_for_reclaim |= is_dead;
        let stored =
            self.databases.change_or_make(number, |database| store(database, &entry, is_dead, &of));
        let (site, place) = stored.unwrap_or_default();
        life.link.set(site, place);
        if place.is_none() {
            // No room: no invalidation would find it.
            life.stamp_dead();
        }
    }

    /// What has become of an entry by invalidations: a dead one every read takes for nothing.
    pub fn standing(&self, life: &Life) -> Standing {
        if life.era() < self.trust.oldest_alive() {
            return Standing::Dead;
        }
        // What the index does not have no invalidation would find.
        match (self.databases.by_id(life.link.site()), life.link.place()) {
            (Some(site), Some(place)) => match site.database.index().standing(place) {
                index::Standing::Alive => Standing::Alive,
                index::Standing::Softened => Standing::Softened,
                index::Standing::Condemned => Standing::Dead,
            },
            _ => Standing::Dead,
        }
    }

    /// Kills all entries that there are. They wait for reclaim.
    pub fn begin_era(&mut self) {
        self.trust.begin_era();
        self.has_work_for_reclaim = true;
        self.databases.sweep();
    }

    /// A command of the primary's, or of an AOF, was an error: what is here may be what it was to take away.
    pub fn cannot_replay(&mut self, command: &str, why: &str) {
        self.trouble.unreplayed(command, why);
        self.begin_era();
    }

    /// What comes from the primary from now on is of this version.
    pub fn follow(&mut self, version: i64) {
        let unread = version::unread(version);
        if unread.is_some() || self.trust.is_lost() {
            self.begin_era();
        }
        self.trust.set_lost(unread.is_some());
        self.trouble.follows(unread);
    }

    /// What this node has is given to it anew, or is its own to say from now on; whether it was lost.
    pub fn follow_nobody(&mut self) -> bool {
        let was_lost = self.trust.is_lost();
        if was_lost {
            self.begin_era();
        }
        self.trust.set_lost(false);
        self.trouble.begin_anew();
        was_lost
    }

    /// Has the entries of a database that carry a tag be stale, where they can be; returns how many were not before.
    pub fn soften(&mut self, number: i32, tag: Fingerprint) -> usize {
        let softened = self.databases.change(number, |database| database.soften(tag)).unwrap_or(0);
        self.has_work_for_reclaim |= softened > 0;
        softened
    }

    /// Condemns the entries of a database that carry a tag; returns how many were not before.
    pub fn condemn(&mut self, number: i32, tag: Fingerprint) -> usize {
        let condemned = self.databases.change(number, |database| database.condemn(tag));
        let condemned = condemned.unwrap_or(0);
        self.has_work_for_reclaim |= condemned > 0;
        condemned
    }

    /// All entries of this node died without a word: if there are any, others have to be told.
    pub fn owe_word(&mut self) {
        let had_entries = self.figures().totals.entries() > 0;
        self.trust.owe_word(had_entries);
        self.has_work_for_reclaim |= had_entries;
    }

    /// There may be something to reclaim, or to be told of it.
    pub fn tell_reclaim(&mut self) {
        self.has_work_for_reclaim = true;
    }

    /// The number of a database where something waits for reclaim: of several the next after `last`.
    pub fn database_to_reclaim(&mut self, last: i32) -> Option<i32> {
        self.databases.next_to_reclaim(last)
    }

    /// Whether something waits for reclaim in a database.
    pub fn has_dead(&self, number: i32) -> bool {
        self.site(number).is_some_and(|site| site.database.reclaim_backlog() > 0)
    }

    /// What is next for reclaim in a database; see [`Database::next_to_reclaim`].
    pub fn next_to_reclaim(&mut self, number: i32) -> Next {
        self.databases.change(number, Database::next_to_reclaim).unwrap_or(Next::End)
    }

    /// The name of the item at a place of a database's index.
    pub fn item_name(&self, number: i32, place: Place) -> Option<&[u8]> {
        self.site(number)?.database.index().name(place)
    }

    /// See [`Database::touch_next_to_reclaim`].
    pub fn touch_next_to_reclaim(&self, number: i32, most: usize) {
        if let Some(site) = self.site(number) {
            site.database.touch_next_to_reclaim(most);
        }
    }

    /// An entry's key has gone; the value goes with it, or to another name, where it is dead.
    pub fn remove_entry(&mut self, name: &[u8], AnyEntry { entry, life, .. }: AnyEntry) {
        if entry.region().is_some() && self.standing(life) == Standing::Dead {
            // What has killed it has ended the lease of its key; nobody can tell once it has gone.
            if let Some(number) = self.number_of(life.link.site()) {
                self.end_load(number, name);
            }
        }
        self.databases.change_by_id(life.link.site(), |database| {
            let counted = Counted::of(&entry, life.is_stamped_dead(), name);
            database.remove_entry(name, life.link.place(), counted);
        });
        life.link.clear();
        life.stamp_dead();
    }

    /// A counter has come to a name.
    pub fn add_counter(&mut self, number: i32, name: &[u8], value: &UsageValue) {
        let of = self.fingerprints.clone();
        let mut ids = value.leases().lines().iter().flat_map(|lease| [lease.batch, lease.line]);
        if ids.any(|id| self.ids.is_to_come(id)) {
            // Someone has made it up, and it would be given twice.
            self.ids = Ids::new(random_bytes());
        }
        let added = self
            .databases
            .change_or_make(number, |database| database.add_counter(name, held(value), &of));
        if let Some((site, place)) = added {
            value.link.set(site, place);
        }
    }

    /// A counter's key has gone; the value goes with it, or to another name.
    pub fn remove_counter(&mut self, name: &[u8], value: &mut UsageValue) {
        // Where the value comes to, it tells the terms.
        value.set_leases(self.leases(value));
        let of = self.fingerprints.clone();
        self.databases.change_by_id(value.link.site(), |database| {
            database.remove_counter(name, value.link.place(), held(value), &of);
        });
        value.link.clear();
    }

    /// Puts another count into a counter.
    pub fn count(&mut self, name: Name, value: &mut UsageValue, counter: Counter) {
        let before = std::mem::replace(&mut value.counter, counter).pending();
        let now = counter.pending();
        let id = value.link.site();
        if before > 0 && now > 0 {
            self.databases.count_on(id, before, now);
            return;
        }
        let of = self.fingerprints.clone();
        let held = |pending| Held { pending, leases: value.leases() };
        let (before, now) = (held(before), held(now));
        let place = self.databases.change_by_id(id, |database| {
            database.update_counter(name.bytes(), value.link.place(), before, now, &of)
        });
        if let Some(place) = place {
            value.link.set(id, place);
        }
    }

    /// Puts other counts and leases into a counter.
    pub fn change_counter(
        &mut self,
        name: &[u8],
        value: &mut UsageValue,
        counter: Counter,
        leases: Leases,
    ) {
        let of = self.fingerprints.clone();
        let id = value.link.site();
        let now = Held { pending: counter.pending(), leases: &leases };
        let place = self.databases.change_by_id(id, |database| {
            database.update_counter(name, value.link.place(), held(value), now, &of)
        });
        if let Some(place) = place {
            value.link.set(id, place);
        }
        value.counter = counter;
        value.set_leases(leases);
    }

    /// The leases of a counter with the terms that their batches have now.
    pub fn leases(&self, value: &UsageValue) -> Leases {
        let mut leases = value.leases().clone();
        if let Some(site) = self.databases.by_id(value.link.site()) {
            leases.note_terms(site.database.batches());
        }
        leases
    }

    /// An id that was never given.
    pub fn new_id(&mut self) -> Option<Id> {
        self.ids.draw().or_else(|| {
            self.ids = Ids::new(random_bytes());
            self.ids.draw()
        })
    }

    /// The terms of an open batch of a database.
    pub fn terms(&self, number: i32, batch: Id) -> Option<Terms> {
        self.site(number)?.database.batches().terms(batch)
    }

    /// Gives an open batch another deadline; false where there is no such batch.
    pub fn set_deadline(&mut self, number: i32, batch: Id, deadline: i64) -> bool {
        let is_open = |database: &mut Database| database.set_deadline(batch, deadline);
        self.databases.change(number, is_open).unwrap_or(false)
    }

    /// A batch of a database that is to be given out again, and is so until the deadline: its id and its terms
    /// from now on.
    pub fn give_again(&mut self, number: i32, deadline: i64, now: i64) -> Option<(Id, Terms)> {
        let give = |database: &mut Database| {
            let batch = database.batches().overdue(now)?;
            Some((batch, database.give_again(batch, deadline, now)?))
        };
        self.databases.change(number, give)?
    }

    /// An open batch of a database was given out elsewhere.
    pub fn was_given(&mut self, number: i32, batch: Id, terms: Terms, now: i64) {
        self.databases.change(number, |database| database.was_given(batch, terms, now));
    }

    /// The name of a tag's member at a position of its list.
    pub fn member_name(&self, number: i32, tag: Fingerprint, position: usize) -> Option<&[u8]> {
        let index = self.site(number)?.database.index();
        index.name(index.member(tag, position)?)
    }

    pub fn member_count(&self, number: i32, tag: Fingerprint) -> usize {
        self.site(number).map_or(0, |site| site.database.index().member_count(tag))
    }

    /// The positions of a tag's members that it has not condemned: they stand behind those that it has.
    pub fn uncondemned(&self, number: i32, tag: Fingerprint) -> Range<usize> {
        self.site(number).map_or(0..0, |site| {
            let index = site.database.index();
            index.condemned_count(tag)..index.member_count(tag)
        })
    }

    /// The next positions of a walk over a tag's members, and its next cursor; see
    /// [`TagIndex::walk_step`](apikey_engine::tags::index::TagIndex::walk_step).
    pub fn walk_step(
        &self,
        number: i32,
        tag: Fingerprint,
        cursor: u64,
        most: usize,
    ) -> (Range<usize>, u64) {
        self.site(number)
            .map_or((0..0, 0), |site| site.database.index().walk_step(tag, cursor, most))
    }

    /// Makes the index wrong, for tests.
    #[cfg(debug_assertions)]
    pub fn forget(&mut self, number: i32, place: Place) {
        self.databases.change(number, |database| database.forget(place));
    }

    /// This node was promoted, or has become a replica: tokens of before are refused, and ids are of
    /// another run.
    pub fn begin_run(&mut self) {
        self.fence.begin_run(random_run());
        self.ids = Ids::new(random_bytes());
    }

    /// Keys or tags of these names were invalidated or written: fills that began before are refused.
    pub fn raise_fence<'a>(&mut self, names: impl IntoIterator<Item = &'a [u8]>) {
        let of = &self.fingerprints;
        self.fence.raise(names.into_iter().map(|name| of.of(name)));
    }

    /// Whether a fill may store an entry under a name; a refusal is counted.
    pub fn accepts_fill(
        &mut self,
        token: &Token,
        name: &[u8],
        entry: &dyn Entry,
        now: i64,
    ) -> bool {
        let mut names = Vec::new();
        tags_in_index(entry, false, &self.fingerprints, &mut names);
        names.push(self.fingerprints.of(name));
        let accepted = self.fence.accepts(token, names, now, settings::TOKEN_TTL_MS.get())
            && self.accepts_by_patterns(token, name, entry);
        if !accepted {
            self.stats.stale_fills_refused += 1;
        }
        accepted
    }

    fn accepts_by_patterns(&self, token: &Token, name: &[u8], entry: &dyn Entry) -> bool {
        self.patterns.is_empty()
            || entry.region().is_none_or(|of| {
                let tag = RegionTag::new(of.namespace, of.name);
                let tag = tag.as_ref().map_or(&b""[..], RegionTag::bytes);
                self.patterns.accept(token.number(), name, tag)
            })
    }

    /// The names of a database that fit a pattern are invalidated, of one region or of all.
    pub fn invalidate_pattern(&mut self, pattern: Pattern, region: Option<&[u8]>, now: i64) {
        self.fence.raise([]);
        let number = self.fence.current();
        let (region, ttl) = (region.unwrap_or_default(), settings::TOKEN_TTL_MS.get());
        if let Some(number) = self.patterns.invalidated(pattern, region, number, now, ttl) {
            self.fence.refuse_before(number);
        }
    }

    /// Counts something of a region of a database, where there is one, or room for it.
    pub fn count_of_region(
        &mut self,
        number: i32,
        tag: &RegionTag,
        count: impl FnOnce(&mut Counts),
    ) {
        let count = |reads: &mut Reads| count(&mut reads.region.counts);
        self.databases.with_region(number, tag, &self.fingerprints, count);
    }

    /// An answer was given of a region's; with a value: its name, its life and how many bytes it has.
    pub fn answered(
        &mut self,
        number: i32,
        tag: &RegionTag,
        answer: Answer,
        read: Option<(&[u8], &Life, usize)>,
        now: i64,
    ) {
        self.databases.with_region(number, tag, &self.fingerprints, |reads| {
            reads.region.count(answer, now);
            if let Some((name, place, bytes)) =
                read.and_then(|(name, life, bytes)| Some((name, life.link.place()?, bytes)))
            {
                reads.note(name, place, bytes, now);
            }
        });
    }

    /// Whether a value of a region's finds room among the regions of a database.
    pub fn has_room_for_region(&self, number: i32, tag: &RegionTag) -> bool {
        self.site(number).is_none_or(|site| site.database.regions().has_room(tag.bytes()))
    }

    /// The server has evicted a key of this name.
    pub fn was_evicted(&mut self, number: i32, name: &[u8]) {
        let Some(database) = self.databases.uncounted(number) else { return };
        if !database.was_last_removed(name) {
            return;
        }
        self.stats.evicted_entries += 1;
        let tag = database.last_region().to_vec();
        if let Some(region) = database.regions_mut().get_mut(&tag) {
            region.counts.evicted += 1;
        }
    }

    /// How many entries a region has, and what they take.
    pub fn size_of_region(&self, number: i32, tag: &RegionTag) -> (u64, u64) {
        let database = self.site(number).map(|site| &site.database);
        let size = database.and_then(|database| {
            let region = database.regions().get(tag.bytes())?;
            Some((database.index().member_count(region.print) as u64, region.bytes))
        });
        size.unwrap_or_default()
    }

    /// The name of the entry of a region that is to go first.
    pub fn victim(
        &mut self,
        number: i32,
        tag: &RegionTag,
        by: Evict,
        keep: Option<&[u8]>,
    ) -> Option<&[u8]> {
        self.databases.uncounted(number)?.victim(tag.bytes(), by, keep)
    }

    /// The name of an entry of a region, chosen at random.
    pub fn random_of_region(&mut self, number: i32, tag: &RegionTag) -> Option<Text> {
        self.databases.uncounted(number)?.random_of_region(tag.bytes()).map(Text::new)
    }

    /// All regions, each with the number of its database.
    pub fn all_regions(&self) -> Vec<(i32, RegionTag)> {
        let of = |number: i32| {
            let regions = self.site(number).map(|site| site.database.regions());
            let tags = regions.map(|regions| regions.tags()).unwrap_or_default();
            tags.into_iter().filter_map(move |tag| Some((number, *regions?.get(&tag)?.tag())))
        };
        self.databases.numbers().flat_map(of).collect()
    }

    /// A key of a database, as leases know it: one that SWAPDB moves takes its leases along.
    fn key_hash(site: Option<SiteId>, name: Fingerprint) -> KeyHash {
        name.wide_hash().wrapping_add(site.unwrap_or_default().into())
    }

    /// The same, where there may be no lease at all.
    fn key_of_load(&self, number: i32, name: &[u8]) -> Option<KeyHash> {
        let site = self.site(number).map(|site| site.id);
        (!self.loads.is_empty()).then(|| Self::key_hash(site, self.fingerprints.of(name)))
    }

    /// A reader would load what a key of a region's is to hold: the lease is its own, or another has it. What stands
    /// there, dead or alive, says by which other tags a lease has ended.
    pub fn ask_to_load(
        &mut self,
        number: i32,
        name: &[u8],
        (tag, there): (&RegionTag, Option<&dyn Entry>),
        lease_ms: i64,
        now: i64,
    ) -> Load {
        let token = self.fence.token(now);
        if lease_ms == 0 {
            return Load::Mine(token);
        }
        let key = Self::key_hash(self.databases.id_or_make(number), self.fingerprints.of(name));
        let prints = self.prints_of_load(name, tag, there);
        let (fence, patterns) = (&self.fence, &self.patterns);
        let is_open =
            |token: &Token| is_load_open((fence, patterns), token, name, tag, &prints, now);
        match self.loads.ask(key, token, now, lease_ms, is_open) {
            Asked::Wait(ms) => Load::Anothers(ms),
            Asked::Given => {
                self.count_of_region(number, tag, |counts| counts.leases += 1);
                Load::Mine(token)
            }
        }
    }

    /// Something was stored under a key: nobody waits for who loads it any more.
    pub fn end_load(&mut self, number: i32, name: &[u8]) {
        if let Some(key) = self.key_of_load(number, name) {
            self.loads.end(key);
        }
    }

    /// Who loads what a key is to hold gives that back, and others wait a while; false where it was not theirs, or is
    /// theirs no more since the key, its region, or another tag of what stands there was invalidated.
    pub fn give_load_back(
        &mut self,
        number: i32,
        name: &[u8],
        (tag, there): (&RegionTag, Option<&dyn Entry>),
        token: &Token,
        (now, pause_ms): (i64, i64),
    ) -> bool {
        let Some(key) = self.key_of_load(number, name) else { return false };
        let prints = self.prints_of_load(name, tag, there);
        is_load_open((&self.fence, &self.patterns), token, name, tag, &prints, now)
            && self.loads.give_back(key, token, now, pause_ms)
    }

    /// Who loads what a key is to hold has come, and it is not stored: nobody waits for that any more.
    pub fn drop_load(&mut self, number: i32, name: &[u8], token: &Token, now: i64) {
        if let Some(key) = self.key_of_load(number, name) {
            self.loads.give_back(key, token, now, 0);
        }
    }

    /// What ends the lease of a key, when it is invalidated: the key, its region, and what else what stands there carries.
    fn prints_of_load(
        &self,
        name: &[u8],
        tag: &RegionTag,
        there: Option<&dyn Entry>,
    ) -> SmallVec<[Fingerprint; 8]> {
        let of = &self.fingerprints;
        let mut prints = SmallVec::from_slice(&[of.of(name), of.of(tag.bytes())]);
        if let Some(entry) = there {
            entry.each_tag(&mut |tag| prints.push(of.of(tag)));
        }
        prints
    }

    /// Whether there may be an absent key under a name, which is one more unless the name holds one; a refusal
    /// is counted.
    pub fn accepts_absent(&mut self, is_one_more: bool, memory_is_short: bool) -> bool {
        let most = match u64::try_from(settings::MAX_ABSENT.get()) {
            Ok(count) => MaxAbsent::Count(count),
            Err(_) if memory_is_short => MaxAbsent::NoMore,
            Err(_) => MaxAbsent::Share,
        };
        let accepted = self.figures().totals.may_hold_absent(is_one_more, most);
        self.stats.absent_refused += u64::from(!accepted);
        accepted
    }

    /// All keys of a database, or of all, are going, without a word for each. Fills that began before are
    /// refused.
    pub fn flush(&mut self, database: Option<i32>) {
        self.fence.raise_all();
        discard(self.databases.flush(database));
    }

    /// Two databases have exchanged their keys.
    pub fn swap(&mut self, first: i32, second: i32) {
        self.databases.swap(first, second);
    }

    /// All keys are put aside while others are loaded (6.2).
    pub fn put_aside(&mut self) {
        self.databases.put_aside();
    }

    /// The load failed: what was put aside is back.
    pub fn take_back(&mut self) {
        discard(self.databases.take_back());
    }

    /// The load is done: what was put aside is going.
    pub fn drop_aside(&mut self) {
        discard(self.databases.drop_aside());
    }
}

/// Whether nothing that ends a lease was invalidated since its token was given, however long ago that is.
fn is_load_open(
    (fence, patterns): (&Fence, &Patterns),
    token: &Token,
    name: &[u8],
    tag: &RegionTag,
    prints: &[Fingerprint],
    now: i64,
) -> bool {
    fence.accepts(token, prints.iter().copied(), now, i64::MAX)
        && patterns.accept(token.number(), name, tag.bytes())
}

fn held(value: &UsageValue) -> Held<'_> {
    Held { pending: value.counter.pending(), leases: value.leases() }
}

/// Frees databases; large ones on a thread of their own.
fn discard(gone: Gone) {
    const LARGE: usize = 1000;
    if gone.size() > LARGE {
        // Where no thread can be had the closure is dropped here, and they with it.
        let _ = std::thread::Builder::new().name("apikey-discard".into()).spawn(move || drop(gone));
    }
}
