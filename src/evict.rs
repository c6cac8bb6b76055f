//! Eviction: what of a region goes that holds more than it may.
//!
//! Who stores evicts a few at once, so that the command ends in bounded time; if that is not enough a job does the rest in
//! slices, on the primary, each of which is replicated by itself. What CLEAR has killed and waits for reclaim goes first.

use crate::keyspace::{self, Removed};
use crate::settings;
use crate::state;
use crate::stream::gone;
use apikey_engine::cache::policy::{Evict, Policy};
use apikey_engine::database::databases::SiteId;
use apikey_engine::entry::region_tag::RegionTag;
use host::job::{Job, Jobs, Step, PAUSE_MS};
use host::server::avoids_replica_traffic;
use host::{Ctx, Lock, Name, Reply, Text};
use std::time::{Duration, Instant};

/// Entries that one command evicts.
const AT_ONCE: usize = 8;

/// Entries of which the one is chosen that expires first.
const SAMPLES: usize = 8;

/// How long the job waits while replicas are to be left alone.
const WAIT_MS: i64 = 100;

/// Bytes of names from which on a slice ends, so that its word is one for a buffer.
const ENOUGH_NAMES: usize = 64 << 10;

static EVICTIONS: Jobs<Eviction> = Jobs::new("evict");

/// Something was stored in a region of the selected database, under this name: the entries that were evicted for it, of
/// which nobody was told yet.
pub fn after_store(ctx: &mut Ctx, (tag, policy): (&RegionTag, Policy), name: Name) -> Vec<Text> {
    let lock = ctx.lock();
    if policy.max_bytes == 0 && policy.max_entries == 0 {
        return Vec::new();
    }
    let mut evicted = Vec::new();
    let mut region =
        Bounded { tag: *tag, policy, database: ctx.database(), keep: Some(name.bytes()) };
    for _ in 0..AT_ONCE {
        if !region.is_over(lock) {
            return evicted;
        }
        match region.evict(ctx) {
            Some(name) => evicted.push(name),
            None => break,
        }
    }
    look_at(ctx, tag);
    evicted
}

/// Starts the job where a region of the selected database holds more than it may.
pub fn look_at(ctx: &mut Ctx, tag: &RegionTag) {
    let (lock, database) = (ctx.lock(), ctx.database());
    let policy = settings::policy(lock, tag);
    let region = Bounded { tag: *tag, policy, database, keep: None };
    let site = state::with(lock, |state| state.site(database).map(|site| site.id));
    if let Some(site) = site.filter(|_| region.is_over(lock) && !ctx.is_any_replica()) {
        EVICTIONS.start(ctx, Eviction { site, tag: *tag }, PAUSE_MS);
    }
}

/// The same for all regions of all databases: more of them may be set to hold less.
pub fn look_at_all(ctx: &mut Ctx) {
    let home = ctx.database();
    for (number, tag) in state::with(ctx.lock(), |state| state.all_regions()) {
        if ctx.select(number) {
            look_at(ctx, &tag);
        }
    }
    ctx.select(home);
}

/// A region that may hold so much.
struct Bounded<'a> {
    tag: RegionTag,
    policy: Policy,
    database: i32,
    /// The name of what has just been stored.
    keep: Option<&'a [u8]>,
}

impl Bounded<'_> {
    fn is_over(&self, lock: Lock) -> bool {
        state::with(lock, |state| {
            let (entries, bytes) = state.size_of_region(self.database, &self.tag);
            let exceeds = |is: u64, most: u64| most > 0 && is > most;
            exceeds(bytes, self.policy.max_bytes) || exceeds(entries, self.policy.max_entries)
        })
    }

    /// Evicts one entry; its name, or `None` where none is to be had.
    fn evict(&mut self, ctx: &mut Ctx) -> Option<Text> {
        let name = match self.policy.evict {
            Evict::Ttl => self.first_to_expire(ctx)?,
            by => state::with(ctx.lock(), |state| {
                state.victim(self.database, &self.tag, by, self.keep).map(Text::new)
            })?,
        };
        let removed = keyspace::unlink_entry(ctx, name.name());
        if removed == Removed::Live {
            state::with(ctx.lock(), |state| {
                state.count_of_region(self.database, &self.tag, |counts| counts.evicted += 1);
            });
        }
        (removed != Removed::Nothing).then_some(name)
    }

    /// Of some entries the name of the one that expires first.
    fn first_to_expire(&self, ctx: &mut Ctx) -> Option<Text> {
        let names: Vec<Text> = state::with(ctx.lock(), |state| {
            (0..SAMPLES).filter_map(|_| state.random_of_region(self.database, &self.tag)).collect()
        });
        let end = |name: &Text| {
            let key = keyspace::look(ctx, name.name());
            key.expires_at().unwrap_or(i64::MAX)
        };
        let is_kept = |name: &Text| self.keep == Some(name.name().bytes());
        names.into_iter().filter(|name| !is_kept(name)).min_by_key(end)
    }
}

/// The job.
struct Eviction {
    site: SiteId,
    tag: RegionTag,
}

impl Job for Eviction {
    type Outcome = ();

    fn budget(&self) -> Duration {
        settings::slice_budget()
    }

    fn is_the_same(&self, other: &Self) -> bool {
        self.site == other.site && self.tag.bytes() == other.tag.bytes()
    }

    fn reply((): &(), _: Reply) {}

    fn slice(&mut self, ctx: &mut Ctx, until: Instant) -> Step<()> {
        let lock = ctx.lock();
        if ctx.is_any_replica() {
            return Step::Done(());
        }
        if avoids_replica_traffic(lock) {
            return Step::Later(WAIT_MS);
        }
        let number = state::with(lock, |state| state.number_of(self.site));
        let Some(database) = number.filter(|&number| ctx.select(number)) else {
            return Step::Done(());
        };
        let policy = settings::policy(lock, &self.tag);
        let mut region = Bounded { tag: self.tag, policy, database, keep: None };
        let (mut gone, mut bytes, mut misses) = (Vec::new(), 0, 0);
        let is_over = loop {
            if !region.is_over(lock) {
                break false;
            }
            match region.evict(ctx) {
                Some(name) => {
                    bytes += name.name().bytes().len();
                    gone.push(name);
                }
                // It has expired, and the server may not remove it yet, or others come first.
                None => misses += 1,
            }
            if misses >= AT_ONCE || bytes >= ENOUGH_NAMES || Instant::now() >= until {
                break true;
            }
        };
        gone::write(ctx, &gone);
        keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
        match (is_over, gone.is_empty()) {
            (false, _) => Step::Done(()),
            (true, false) => Step::More,
            (true, true) => Step::Later(WAIT_MS),
        }
    }
}
