//! CHECK: compares the keyspace and the index of the selected database.
//!
//! It walks in slices from a timer, so that the client waits and the server doesn't. Each comparison
//! is made at one moment, of one key with its item or one item with its key, so that what changes
//! between two slices is no difference. The walk has four parts:
//!
//! 1. every item of the index: is there a key that says it is this item? If not, it is a *suspect*: on
//!    a replica an expired key can't be opened though it is there until the primary says so.
//! 2. every member of every tag: is it in the tag by its own account?
//! 3. every open batch: has it a line?
//! 4. every key (SCAN's guarantees): has the index got it, with its tags, and its leases their batches?
//!    A suspect that is met here is none any more.
//!
//! Suspects that are left at the end, and are still in the index, are differences. Where nothing
//! changed in the database from beginning to end, the totals are compared as well; a walk over keys
//! whose table is being resized can meet one twice, so it is repeated before they are said to differ.
//! Where the index was replaced meanwhile (FLUSHDB, SWAPDB), all begins again.

use crate::command::{Command, Keys, Spec};
use crate::error::{Error, Result};
use crate::ffi::{self, Args, BlockedClient, Ctx, Mode, Name, Scan, Text};
use crate::guard;
use crate::keyspace::{self, Slot};
use crate::state;
use crate::value::{AnyEntry, RegionId};
use apikey_engine::database::{counter_tags_in_index, tags_in_index, Held, Totals};
use apikey_engine::entry::Entry;
use apikey_engine::lease::Id;
use apikey_engine::segments::Place;
use redis_module::raw;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

pub struct Check;

impl Command for Check {
    const SPEC: Spec = Spec {
        name: c"apikey.check",
        alias: None,
        flags: "readonly admin",
        dangerous: true,
        secret: false,
        arity: 1,
        keys: Keys::None,
        summary: c"Compares the keys of the selected database with the module's index and tells what differs.",
        complexity: c"O(N) where N is the number of keys of the database, in slices",
        tips: Some(c"request_policy:all_shards"),
        args: &[],
    };

    fn run(ctx: Ctx, _: Args) -> Result<()> {
        if ctx.denies_blocking() {
            return Err(Error::err("apikey.check can't run in MULTI or in a script: it waits"));
        }
        let Some(walk) = Walk::begin(ctx.database()) else {
            return Err(Error::err("no cursor to be had"));
        };
        // SAFETY: `unblock` below gives a box of a Walk, which is what these take it for, and the
        // timer gets a box of a Job.
        unsafe {
            let client = BlockedClient::block(ctx, Some(reply), free_walk);
            let job = Box::into_raw(Box::new(Job { walk, client }));
            ffi::start_timer(ctx, 0, Some(go_on), job.cast());
        }
        Ok(())
    }
}

/// How long a slice may take, and how long the server has for others between two.
const SLICE: Duration = Duration::from_micros(500);
const PAUSE_MS: i64 = 1;

/// Differences that are told in words.
const MAX_FOUND: usize = 100;

/// How often a walk begins again.
const MAX_RESTARTS: u32 = 10;

/// How often the keys are walked again for the totals.
const MAX_RESCANS: u32 = 10;

struct Job {
    walk: Walk,
    client: BlockedClient,
}

enum Part {
    Items { next: Place },
    Tags { next: Place, position: usize },
    Batches { after: Option<Id> },
    Keys(Scan),
    Done,
}

struct Walk {
    database: i32,
    region: Option<RegionId>,
    changes: u64,
    totals: Totals,
    part: Part,
    restarts: u32,
    rescans: u32,
    keys: u64,
    seen: Totals,
    entries: u64,
    differences: u64,
    found: Vec<String>,
    suspects: HashMap<Vec<u8>, Place>,
}

unsafe extern "C" fn go_on(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    // SAFETY: `data` is the box that `run`, or the slice before, gave to the timer.
    let mut job = unsafe { Box::from_raw(data.cast::<Job>()) };
    // SAFETY: the server's argument, valid for this call.
    let ctx = unsafe { Ctx::new(ctx) };
    let slice = guard::run("check", None, || Some(job.walk.slice(ctx, Instant::now() + SLICE)));
    let done = slice.unwrap_or_else(|| {
        job.walk.differ("the walk was stopped by an internal error; the log has its place".into());
        true
    });
    // SAFETY: see `run`.
    unsafe {
        if done {
            let Job { walk, client } = *job;
            client.unblock(Box::into_raw(Box::new(walk)).cast());
        } else {
            ffi::start_timer(ctx, PAUSE_MS, Some(go_on), Box::into_raw(job).cast());
        }
    }
}

unsafe extern "C" fn free_walk(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
    // SAFETY: the box that `go_on` gave to `unblock`.
    guard::run("check", (), || unsafe { drop(Box::from_raw(data.cast::<Walk>())) });
}

unsafe extern "C" fn reply(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    guard::run("check", (), || {
        // SAFETY: the server's context, and the box that `go_on` gave to `unblock`.
        let (ctx, walk) = unsafe {
            let ctx = Ctx::new(ctx);
            (ctx, &*ffi::blocked_data(ctx).cast::<Walk>())
        };
        ctx.reply_map(4);
        for (name, number) in
            [("keys", walk.keys), ("entries", walk.entries), ("differences", walk.differences)]
        {
            ctx.reply_bulk(name.as_bytes());
            ctx.reply_integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        ctx.reply_bulk(b"found");
        ctx.reply_array(walk.found.len());
        walk.found.iter().for_each(|text| ctx.reply_bulk(text.as_bytes()));
    });
    raw::REDISMODULE_OK as c_int
}

impl Walk {
    fn begin(database: i32) -> Option<Self> {
        let (region, changes, totals) = state::with(|state| match state.region(database) {
            Some(region) => (Some(region.id), region.database.changes(), region.database.totals()),
            None => (None, 0, Totals::default()),
        });
        Some(Self {
            database,
            region,
            changes,
            totals,
            part: Part::Items { next: 0 },
            restarts: 0,
            rescans: 0,
            keys: 0,
            seen: Totals::default(),
            entries: 0,
            differences: 0,
            found: Vec::new(),
            suspects: HashMap::new(),
        })
    }

    /// Walks on until the time or the work is over; true for the latter.
    fn slice(&mut self, ctx: Ctx, until: Instant) -> bool {
        let region = state::with(|state| state.region(self.database).map(|region| region.id));
        if region != self.region && !matches!(self.part, Part::Done) {
            if self.restarts == MAX_RESTARTS {
                self.differ("the database was emptied or exchanged again and again".into());
                return true;
            }
            let restarts = self.restarts + 1;
            if let Some(again) = Self::begin(self.database) {
                *self = Self { restarts, ..again };
            }
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
                    if !self.members(place, from) {
                        self.part = Part::Batches { after: None };
                    }
                }
                Part::Batches { after } => {
                    let after = *after;
                    if !self.batch(after) {
                        let Some(scan) = Scan::new() else {
                            self.differ("no cursor to be had for the keys".into());
                            return true;
                        };
                        self.part = Part::Keys(scan);
                    }
                }
                Part::Keys(_) => {
                    let Part::Keys(mut scan) = std::mem::replace(&mut self.part, Part::Done) else {
                        return true;
                    };
                    if scan.step(ctx, &mut |name, key| self.key(name, keyspace::slot(&key))) {
                        self.part = Part::Keys(scan);
                    } else {
                        self.finish();
                    }
                }
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
    fn item(&mut self, ctx: Ctx, place: Place) -> bool {
        let name = state::with(|state| {
            let index = state.region(self.database)?.database.index();
            if place as usize >= index.items_end() {
                return None;
            }
            Some(index.name(place).map(<[u8]>::to_vec))
        });
        let Some(name) = name else { return false };
        let Some(name) = name else { return true };
        self.entries += 1;
        let text = Text::new(&name);
        let key = keyspace::open(ctx, text.name(), Mode::Look);
        let is_it = key
            .slot()
            .link()
            .is_some_and(|link| Some(link.region()) == self.region && link.place() == Some(place));
        drop(key);
        if !is_it {
            self.suspects.insert(name, place);
        }
        true
    }

    /// Looks at members of the tag at a place; false behind the last tag.
    fn members(&mut self, place: Place, from: usize) -> bool {
        const MEMBERS: usize = 256;
        let looked = state::with(|state| {
            let index = state.region(self.database)?.database.index();
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
    fn batch(&mut self, after: Option<Id>) -> bool {
        let looked = state::with(|state| {
            let database = &state.region(self.database)?.database;
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
    fn key(&mut self, name: Name, slot: Slot) {
        self.keys += 1;
        let name = name.bytes();
        let (link, prints, needs_item) = match (slot.entry(), slot) {
            (Some(AnyEntry { entry, life, .. }), _) => {
                let mut prints = Vec::new();
                state::with(|state| {
                    tags_in_index(&entry, life.is_stamped_dead(), &state.fingerprints, &mut prints);
                });
                *self.seen.of(entry.kind()) += 1;
                (&life.link, prints, true)
            }
            (None, Slot::Usage(value)) => {
                let pending = value.counter.get().pending();
                let (prints, leased, unknown) = value.with_leases(|leases| {
                    let mut prints = Vec::new();
                    let held = Held { pending, leases };
                    let unknown = state::with(|state| {
                        counter_tags_in_index(held, &state.fingerprints, &mut prints);
                        let mut lines = leases.lines().iter();
                        lines
                            .find(|lease| state.terms(self.database, lease.batch).is_none())
                            .map(|lease| lease.batch)
                    });
                    (prints, leases.count(), unknown)
                });
                if let Some(batch) = unknown {
                    let (shown, batch) = (name.escape_ascii(), batch.to_hex());
                    self.differ(format!("key {shown}: its batch {batch} is not open"));
                }
                self.seen.counters += 1;
                self.seen.pending += i128::from(pending);
                self.seen.leased += i128::from(leased);
                let needs_item = !prints.is_empty();
                (&value.link, prints, needs_item)
            }
            (None, _) => return,
        };
        let shown = name.escape_ascii();
        if Some(link.region()) != self.region {
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
                state::with(|state| match state.region(self.database) {
                    Some(region) => region.database.index().check_item(place, name, &prints),
                    None => Err("the database has no index".to_string()),
                })
            }
        };
        if let Err(what) = outcome {
            self.differ(format!("key {shown}: {what}"));
        }
    }

    fn finish(&mut self) {
        for (name, place) in std::mem::take(&mut self.suspects) {
            let still = state::with(|state| {
                let region = state.region(self.database)?;
                Some(region.database.index().name(place)? == name)
            });
            if still == Some(true) {
                self.differ(format!("index: {} has no key that says so", name.escape_ascii()));
            }
        }
        let unchanged = state::with(|state| match state.region(self.database) {
            Some(region) => region.database.changes() == self.changes,
            None => true,
        });
        if unchanged && self.seen != self.totals {
            if self.differences == 0 && self.rescans < MAX_RESCANS {
                if let Some(scan) = Scan::new() {
                    self.rescans += 1;
                    (self.keys, self.seen) = (0, Totals::default());
                    self.part = Part::Keys(scan);
                    return;
                }
            }
            self.differ(format!("totals: {:?} in the keys, {:?} known", self.seen, self.totals));
        }
    }
}
