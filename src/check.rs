//! CHECK: compares the keyspace and the index of the selected database.
//!
//! It is a job: the client waits and the server doesn't. Each comparison
//! is made at one moment, of one key with its item or one item with its key, so that what changes
//! between two slices is no difference. The walk has five parts:
//!
//! 1. every item of the index: is there a key that says it is this item? If not, it is a *suspect*: on
//!    a replica an expired key can't be opened though it is there until the primary says so.
//! 2. every member of every tag: is it in the tag by its own account?
//! 3. every open batch: has it a line?
//! 4. every key (SCAN's guarantees): has the index got it, with its tags, and its leases their batches?
//!    A suspect that is met here is none any more.
//! 5. every suspect that is left: is it still in the index? Then it is a difference.
//!
//! Where nothing changed in the database from beginning to end, the totals are compared as well, of each region too; a walk over
//! keys whose table is being resized can meet one twice, so it is repeated before they are said to differ.
//! Where the index was replaced meanwhile (FLUSHDB, SWAPDB), all begins again.

use crate::keyspace::{self, Slot};
use crate::migrations;
use crate::state;
use crate::values::entry::AnyEntry;
use apikey_engine::database::catalog::Counted;
use apikey_engine::database::databases::SiteId;
use apikey_engine::database::items::{counter_tags_in_index, tags_in_index, Held};
use apikey_engine::database::totals::Totals;
use apikey_engine::entry::kind::Entry;
use apikey_engine::tags::segments::Place;
use apikey_engine::usage::id::Id;
use host::job::{Job, Jobs, Step};
use host::key::walk::Walk;
use host::{Ctx, Key, Lock, Reply, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a slice may take.
const SLICE: Duration = Duration::from_micros(500);

/// Differences that are told in words.
const MAX_FOUND: usize = 100;

/// How often a walk begins again.
const MAX_RESTARTS: u32 = 10;

/// How often the keys are walked again for the totals.
const MAX_RESCANS: u32 = 10;

pub static CHECKS: Jobs<Comparison> = Jobs::new("check");

/// What was found.
pub struct Outcome {
    keys: u64,
    entries: u64,
    differences: u64,
    found: Vec<String>,
}

impl Job for Comparison {
    type Outcome = Outcome;

    fn budget(&self) -> Duration {
        SLICE
    }

    fn is_the_same(&self, other: &Self) -> bool {
        self.database == other.database
    }

    fn slice(&mut self, ctx: &mut Ctx, until: Instant) -> Step<Outcome> {
        if !ctx.select(self.database) {
            self.differ("the database can't be selected".into());
        } else if !self.go_on(ctx, until) {
            return Step::More;
        }
        Step::Done(Outcome {
            keys: self.keys,
            entries: self.entries,
            differences: self.differences,
            found: std::mem::take(&mut self.found),
        })
    }

    fn reply(outcome: &Outcome, reply: Reply) {
        reply.map(4);
        for (name, number) in [
            ("keys", outcome.keys),
            ("entries", outcome.entries),
            ("differences", outcome.differences),
        ] {
            reply.bulk(name.as_bytes());
            reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        reply.bulk(b"found");
        reply.array(outcome.found.len());
        outcome.found.iter().for_each(|text| reply.bulk(text.as_bytes()));
    }
}

enum Part {
    Items { next: Place },
    Tags { next: Place, position: usize },
    Batches { after: Option<Id> },
    Keys(Walk),
    Suspects,
    Done,
}

/// The job.
pub struct Comparison {
    database: i32,
    site: Option<SiteId>,
    changes: u64,
    totals: Totals,
    part: Part,
    restarts: u32,
    rescans: u32,
    keys: u64,
    seen: Totals,
    /// Entries and bytes, by the tag of their region.
    regions: BTreeMap<Vec<u8>, (u64, u64)>,
    entries: u64,
    differences: u64,
    found: Vec<String>,
    /// In a tree, since a table of many would stop the server as it grows.
    suspects: BTreeMap<Vec<u8>, Place>,
}

impl Comparison {
    pub fn begin(lock: Lock, database: i32) -> Self {
        let (site, changes, totals) = state::with(lock, |state| match state.site(database) {
            Some(site) => (Some(site.id), site.database.changes(), site.database.totals()),
            None => (None, 0, Totals::default()),
        });
        Self {
            database,
            site,
            changes,
            totals,
            part: Part::Items { next: 0 },
            restarts: 0,
            rescans: 0,
            keys: 0,
            seen: Totals::default(),
            regions: BTreeMap::new(),
            entries: 0,
            differences: 0,
            found: Vec::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// Walks on until the time or the work is over; true for the latter.
    fn go_on(&mut self, ctx: &mut Ctx, until: Instant) -> bool {
        let lock = ctx.lock();
        let site = state::with(lock, |state| state.site(self.database).map(|site| site.id));
        if site != self.site && !matches!(self.part, Part::Done) {
            if self.restarts == MAX_RESTARTS {
                self.differ("the database was emptied or exchanged again and again".into());
                return true;
            }
            let restarts = self.restarts + 1;
            *self = Self { restarts, ..Self::begin(lock, self.database) };
        }
        while Instant::now() < until {
            match &mut self.part {
                Part::Items { next } => {
                    let place = *next;
                    *next += 1;
                    if !self.item(ctx, place) {
                        self.part = Part::Tags { next: 0, position: 0 };
                    }
                }
                Part::Tags { next, position } => {
                    let (place, from) = (*next, *position);
                    if !self.members(lock, place, from) {
                        self.part = Part::Batches { after: None };
                    }
                }
                Part::Batches { after } => {
                    let after = *after;
                    if !self.batch(lock, after) {
                        let Some(walk) = Walk::new() else {
                            self.differ("no cursor to be had for the keys".into());
                            return true;
                        };
                        self.part = Part::Keys(walk);
                    }
                }
                Part::Keys(_) => {
                    let Part::Keys(mut walk) = std::mem::replace(&mut self.part, Part::Done) else {
                        return true;
                    };
                    let each = &mut |name: &[u8], key: &Key| {
                        self.key(lock, name, keyspace::slot(key));
                    };
                    if walk.step(ctx, each) {
                        self.part = Part::Keys(walk);
                    } else {
                        self.part = Part::Suspects;
                    }
                }
                Part::Suspects => match self.suspects.pop_first() {
                    Some((name, place)) => self.suspect(lock, &name, place),
                    None => self.finish(lock),
                },
                Part::Done => return true,
            }
        }
        matches!(self.part, Part::Done)
    }

    fn differ(&mut self, what: String) {
        self.differences += 1;
        if self.found.len() < MAX_FOUND {
            self.found.push(what);
        }
    }

    /// Looks at the item at a place; false behind the last one.
    fn item(&mut self, ctx: &mut Ctx, place: Place) -> bool {
        let name = state::with(ctx.lock(), |state| {
            let index = state.site(self.database)?.database.index();
            if place as usize >= index.items_end() {
                return None;
            }
            Some(index.name(place).map(<[u8]>::to_vec))
        });
        let Some(name) = name else { return false };
        let Some(name) = name else { return true };
        self.entries += 1;
        let text = Text::new(&name);
        let key = keyspace::look(ctx, text.name());
        let is_it = key
            .slot()
            .link()
            .is_some_and(|link| Some(link.site()) == self.site && link.place() == Some(place));
        drop(key);
        if !is_it {
            self.suspects.insert(name, place);
        }
        true
    }

    /// Looks at members of the tag at a place; false behind the last tag.
    fn members(&mut self, lock: Lock, place: Place, from: usize) -> bool {
        const MEMBERS: usize = 256;
        let looked = state::with(lock, |state| {
            let index = state.site(self.database)?.database.index();
            ((place as usize) < index.tags_end()).then(|| index.check_tag(place, from, MEMBERS))
        });
        let Some((seen, wrong)) = looked else { return false };
        wrong.into_iter().for_each(|what| self.differ(what));
        if let Part::Tags { next, position } = &mut self.part {
            if seen == MEMBERS {
                *position += seen;
            } else {
                (*next, *position) = (place + 1, 0);
            }
        }
        true
    }

    /// Looks at the open batch after another; false behind the last.
    fn batch(&mut self, lock: Lock, after: Option<Id>) -> bool {
        let looked = state::with(lock, |state| {
            let database = &state.site(self.database)?.database;
            let batch = database.batches().after(after)?;
            let tag = batch.fingerprint(&state.fingerprints);
            Some((batch, database.index().member_count(tag)))
        });
        let Some((batch, lines)) = looked else { return false };
        if lines == 0 {
            self.differ(format!("batch {}: no counter has a line of it", batch.to_hex()));
        }
        self.part = Part::Batches { after: Some(batch) };
        true
    }

    /// Looks at a key.
    fn key(&mut self, lock: Lock, name: &[u8], slot: Slot) {
        self.keys += 1;
        let (link, prints, needs_item) = match (slot.entry(), slot) {
            (Some(AnyEntry { entry, life, .. }), _) => {
                let mut prints = Vec::new();
                state::with(lock, |state| {
                    tags_in_index(&entry, life.is_stamped_dead(), &state.fingerprints, &mut prints);
                });
                *self.seen.of(entry.kind()) += 1;
                if let Some((tag, bytes)) =
                    Counted::of(&entry, life.is_stamped_dead(), name).region()
                {
                    let seen = self.regions.entry(tag.bytes().to_vec()).or_default();
                    *seen = (seen.0 + 1, seen.1 + bytes);
                }
                // The index can't have what the entry does not name.
                let (named, carried) = (prints.len(), entry.tag_count());
                if !life.is_stamped_dead() && named != carried {
                    let shown = name.escape_ascii();
                    self.differ(format!("key {shown}: it names {named} of its {carried} tags"));
                }
                (&life.link, prints, true)
            }
            (None, Slot::Usage(value)) => {
                let (pending, leases) = (value.counter.pending(), value.leases());
                let mut prints = Vec::new();
                let unknown = state::with(lock, |state| {
                    let held = Held { pending, leases };
                    counter_tags_in_index(held, &state.fingerprints, &mut prints);
                    let mut batches = leases.lines().iter().map(|lease| lease.batch);
                    batches.find(|&batch| state.terms(self.database, batch).is_none())
                });
                if let Some(batch) = unknown {
                    let (shown, batch) = (name.escape_ascii(), batch.to_hex());
                    self.differ(format!("key {shown}: its batch {batch} is not open"));
                }
                self.seen.counters += 1;
                self.seen.pending += i128::from(pending);
                self.seen.leased += i128::from(leases.count());
                let needs_item = !prints.is_empty();
                (&value.link, prints, needs_item)
            }
            (None, _) => return,
        };
        let shown = name.escape_ascii();
        if Some(link.site()) != self.site {
            self.differ(format!("key {shown}: the index of this database does not know it"));
            return;
        }
        let outcome = match (link.place(), needs_item) {
            (None, false) => return,
            (None, true) => Err("the index does not have it".to_string()),
            (Some(_), false) => {
                Err("the index has it, and nothing is pending or leased".to_string())
            }
            (Some(place), true) => {
                if self.suspects.get(name) == Some(&place) {
                    self.suspects.remove(name);
                }
                state::with(lock, |state| match state.site(self.database) {
                    Some(site) => site.database.index().check_item(place, name, &prints),
                    None => Err("the database has no index".to_string()),
                })
            }
        };
        if let Err(what) = outcome {
            self.differ(format!("key {shown}: {what}"));
        }
    }

    /// Looks whether an item that no key says to be is still there.
    fn suspect(&mut self, lock: Lock, name: &[u8], place: Place) {
        let is_there =
            state::with(lock, |state| state.item_name(self.database, place) == Some(name));
        if is_there {
            self.differ(format!("index: {} has no key that says so", name.escape_ascii()));
        }
    }

    fn finish(&mut self, lock: Lock) {
        self.part = Part::Done;
        let unchanged = state::with(lock, |state| match state.site(self.database) {
            Some(site) => site.database.changes() == self.changes,
            None => true,
        });
        // SCAN leaves keys out whose slots are coming.
        let known = self.known_regions(lock);
        let differs = self.seen != self.totals || self.regions != known;
        if unchanged && differs && !migrations::are_coming(lock) {
            if self.differences == 0 && self.rescans < MAX_RESCANS {
                if let Some(walk) = Walk::new() {
                    self.rescans += 1;
                    (self.keys, self.seen) = (0, Totals::default());
                    self.regions.clear();
                    self.part = Part::Keys(walk);
                    return;
                }
            }
            if self.seen != self.totals {
                self.differ(format!(
                    "totals: {:?} in the keys, {:?} known",
                    self.seen, self.totals
                ));
            }
            let of = |regions: &BTreeMap<Vec<u8>, (u64, u64)>, tag: &[u8]| {
                regions.get(tag).copied().unwrap_or_default()
            };
            let tags: BTreeSet<&Vec<u8>> = self.regions.keys().chain(known.keys()).collect();
            let wrong: Vec<String> = tags
                .into_iter()
                .filter(|tag| of(&self.regions, tag) != of(&known, tag))
                .map(|tag| {
                    let (seen, known) = (of(&self.regions, tag), of(&known, tag));
                    let tag = tag.escape_ascii();
                    format!("region {tag}: {seen:?} entries and bytes in the keys, {known:?} known")
                })
                .collect();
            wrong.into_iter().for_each(|what| self.differ(what));
        }
    }

    /// Entries and bytes of the regions that have some, as they are counted.
    fn known_regions(&self, lock: Lock) -> BTreeMap<Vec<u8>, (u64, u64)> {
        state::with(lock, |state| {
            let Some(site) = state.site(self.database) else { return BTreeMap::new() };
            let (regions, index) = (site.database.regions(), site.database.index());
            let known = |tag: Box<[u8]>| {
                let region = regions.get(&tag)?;
                let entries = index.member_count(region.print) as u64;
                (entries > 0 || region.bytes > 0)
                    .then_some((tag.into_vec(), (entries, region.bytes)))
            };
            regions.tags().into_iter().filter_map(known).collect()
        })
    }
}
