//! Patterns: the entries of regions whose keys fit one are killed, by a job.
//!
//! The client waits, the server does not. Fills of such keys that began before are refused from the beginning on
//! ([`apikey_engine::cache::patterns`]). The walk goes over the places of the index as there are at its beginning: what is
//! stored meanwhile was loaded after that, or is a writer's word, and may be met or not. Each slice is replicated by
//! itself. The job goes where SWAPDB takes its database, and ends with it.

use crate::invalidation;
use crate::keyspace::{self, Removed};
use crate::settings;
use crate::state;
use crate::stream::gone;
use apikey_engine::cache::glob::Pattern;
use apikey_engine::cache::value::Cached;
use apikey_engine::database::databases::SiteId;
use apikey_engine::entry::region_tag::RegionTag;
use apikey_engine::tags::segments::Place;
use host::caller::{Access, User};
use host::job::{Job, Jobs, Step};
use host::server::avoids_replica_traffic;
use host::{now, Ctx, Lock, Name, Reply, Text};
use std::time::{Duration, Instant};

/// How long the job waits while replicas are to be left alone.
const WAIT_MS: i64 = 100;

/// Places that are looked at between two looks at the clock, whose lines the processor is asked for together.
const PLACES: Place = 16;

/// The most steps of comparing the names of these, and so of one name: some tenths of a millisecond. One that takes more
/// counts as one that fits, which costs a miss.
const STEPS: usize = 1 << 16;

/// Bytes of names from which on a slice ends, so that its word is one for a buffer.
const ENOUGH_NAMES: usize = 64 << 10;

pub static WALKS: Jobs<Walk> = Jobs::new("patinval");

/// The job.
pub struct Walk {
    site: Option<SiteId>,
    next: Place,
    /// Places from here on came later.
    end: Place,
    pattern: Pattern,
    /// As it was given, for who is told.
    text: Vec<u8>,
    /// The tag of the region that alone is meant.
    region: Option<Vec<u8>>,
    /// Whose keys alone are killed; all where nobody asks who it is.
    user: Option<Vec<u8>>,
    killed: usize,
}

impl Walk {
    /// Has fills that began before refused, in the selected database, and begins a walk over its entries.
    pub fn begin(
        ctx: &mut Ctx,
        (pattern, text): (Pattern, &[u8]),
        region: Option<&[u8]>,
        user: Option<Vec<u8>>,
    ) -> Self {
        let database = ctx.database();
        let (site, end) = state::with(ctx.lock(), |state| {
            state.invalidate_pattern(pattern.clone(), region, now());
            state.stats.invalidated_patterns += 1;
            let site = state.site(database);
            let end = site.map_or(0, |site| site.database.index().items_end());
            (site.map(|site| site.id), Place::try_from(end).unwrap_or(Place::MAX))
        });
        let region = region.map(<[u8]>::to_vec);
        invalidation::of_pattern(ctx, text);
        Self { site, next: 0, end, pattern, text: text.to_vec(), region, user, killed: 0 }
    }

    /// Selects the database, wherever it is now; where it is no more, `None`.
    fn select(&self, ctx: &mut Ctx) -> Option<i32> {
        let number = state::with(ctx.lock(), |state| state.number_of(self.site?))?;
        ctx.select(number).then_some(number)
    }

    /// The names that fit of the next places.
    fn names(&mut self, lock: Lock, database: i32) -> Vec<Text> {
        let until = self.next.saturating_add(PLACES).min(self.end);
        state::with(lock, |state| {
            let Some(site) = state.site(database) else { return Vec::new() };
            let index = site.database.index();
            index.touch_names(self.next..until);
            let (mut places, mut steps) = (Vec::new(), STEPS);
            while self.next < until {
                if let Some(name) = index.name(self.next) {
                    let has_all = steps == STEPS;
                    match self.pattern.matches(name, &mut steps) {
                        Some(false) => {}
                        Some(true) => places.push(self.next),
                        // Nobody waits longer than that for one name.
                        None if has_all => places.push(self.next),
                        // It comes next, by itself.
                        None => break,
                    }
                }
                self.next += 1;
            }
            index.touch_items(places.iter().copied());
            places.iter().filter_map(|&place| index.name(place)).map(Text::new).collect()
        })
    }

    /// Kills what is a region's of these, and may be killed.
    fn kill(&mut self, ctx: &mut Ctx, names: Vec<Text>, gone: &mut Vec<Text>) {
        let may = self.user.as_deref().map(|user| {
            let names: Vec<Name> = names.iter().map(Text::name).collect();
            User::named(user).allowed(ctx, Access::Write, &names)
        });
        let region = self.region.as_deref();
        let is_meant = |cached: &Cached| {
            let tag = || RegionTag::new(cached.namespace(), cached.region());
            region.is_none_or(|region| tag().is_some_and(|tag| tag.bytes() == region))
        };
        for (nth, name) in names.into_iter().enumerate() {
            if may.as_ref().is_some_and(|may| may.get(nth) != Some(&true)) {
                continue;
            }
            match keyspace::unlink_cached(ctx, name.name(), is_meant) {
                Removed::Nothing => continue,
                Removed::Dead => {}
                Removed::Live => self.killed += 1,
            }
            gone.push(name);
        }
    }
}

impl Job for Walk {
    /// How many live entries were killed.
    type Outcome = usize;

    fn budget(&self) -> Duration {
        settings::slice_budget()
    }

    /// Each client is told of the entries that it has killed.
    fn is_the_same(&self, _: &Self) -> bool {
        false
    }

    fn slice(&mut self, ctx: &mut Ctx, until: Instant) -> Step<usize> {
        if avoids_replica_traffic(ctx.lock()) {
            return Step::Later(WAIT_MS);
        }
        if ctx.is_any_replica() {
            return Step::Done(self.killed);
        }
        let Some(database) = self.select(ctx) else { return Step::Done(self.killed) };
        let (mut gone, mut bytes) = (Vec::new(), 0);
        let before = self.killed;
        while self.next < self.end && bytes < ENOUGH_NAMES && Instant::now() < until {
            let names = self.names(ctx.lock(), database);
            bytes += names.iter().map(|name| name.name().bytes().len()).sum::<usize>();
            self.kill(ctx, names, &mut gone);
        }
        let killed = (self.killed - before) as u64;
        state::with(ctx.lock(), |state| state.stats.killed_entries += killed);
        gone::write(ctx, &gone);
        keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
        if self.next < self.end {
            return Step::More;
        }
        // Caches outside may have kept what was here until now.
        state::with(ctx.lock(), |state| state.fence.raise([]));
        invalidation::of_pattern(ctx, &self.text);
        Step::Done(self.killed)
    }

    fn reply(killed: &usize, reply: Reply) {
        reply.count(*killed);
    }
}
