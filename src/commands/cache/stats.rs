//! STATS: how regions fare.

use super::named::{self, REGION};
use super::region::{show, SHOWN};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::keyspace::{self, Slot};
use crate::settings;
use crate::state;
use crate::values::entry::cached;
use apikey_engine::cache::region::Counts;
use apikey_engine::entry::region_tag::RegionTag;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Spec};
use host::{now, Args, Ctx, Reply, Result, Text};

pub struct Stats;

/// Entries of a region, chosen at random, the oldest of which is told.
const SAMPLES: usize = 16;

impl Command for Stats {
    const SPEC: Spec = Spec {
        name: c"cache.stats",
        since: c"0.2.0",
        hides: grammar::HIDES,
        arity: -1,
        summary: c"Returns what a region of the selected database holds, what was answered of it, and what is set of it; without a name that of each region that the caller may read.",
        complexity: c"O(1) for a region, O(N) for all where N is their number",
        fixed: &[REGION_OR_ALL],
        options: named::ONLY_NAMESPACE,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        match args.get(1) {
            Some(region) => {
                let options = Options::parse(named::ONLY_NAMESPACE, args, 2, Judged::Here)?;
                let tag = named::region(region, &options)?;
                access::to_read(ctx, Text::new(tag.bytes()).name())?;
                Figures::read(ctx, &tag).reply(ctx, reply);
            }
            None => {
                let tags = readable(ctx);
                reply.array(tags.len());
                for tag in tags {
                    Figures::read(ctx, &tag).reply(ctx, reply);
                }
            }
        }
        Ok(())
    }
}

const REGION_OR_ALL: Arg = REGION.optional();

/// The regions that the caller may read.
fn readable(ctx: &mut Ctx) -> Vec<RegionTag> {
    let database = ctx.database();
    let tags: Vec<RegionTag> = state::with(ctx.lock(), |state| {
        let regions = state.site(database).map(|site| site.database.regions());
        let tags = regions.map(|regions| regions.tags()).unwrap_or_default();
        tags.iter().filter_map(|tag| Some(*regions?.get(tag)?.tag())).collect()
    });
    let texts: Vec<Text> = tags.iter().map(|tag| Text::new(tag.bytes())).collect();
    let names: Vec<_> = texts.iter().map(Text::name).collect();
    let allowed = access::readable(ctx, &names);
    tags.into_iter().zip(allowed).filter_map(|(tag, may)| may.then_some(tag)).collect()
}

struct Figures {
    tag: RegionTag,
    entries: usize,
    bytes: u64,
    dead: usize,
    counts: Counts,
    hit_rate_1m: Option<u64>,
    /// Age of the oldest of some, in milliseconds.
    oldest: Option<i64>,
}

impl Figures {
    fn read(ctx: &mut Ctx, tag: &RegionTag) -> Self {
        let (database, now) = (ctx.database(), now());
        let mut figures = Self {
            tag: *tag,
            entries: 0,
            bytes: 0,
            dead: 0,
            counts: Counts::default(),
            hit_rate_1m: None,
            oldest: None,
        };
        let samples: Vec<Text> = state::with(ctx.lock(), |state| {
            let Some(region) =
                state.site(database).and_then(|site| site.database.regions().get(tag.bytes()))
            else {
                return Vec::new();
            };
            let print = region.print;
            figures.bytes = region.bytes;
            figures.counts = region.counts;
            figures.hit_rate_1m = region.last_minute(now).hit_rate();
            figures.entries = state.member_count(database, print);
            figures.dead = figures.entries - state.uncondemned(database, print).len();
            let (from, all) = (figures.dead, figures.entries);
            let some = all.saturating_sub(from).min(SAMPLES);
            let step = (all.saturating_sub(from) / some.max(1)).max(1);
            (0..some)
                .filter_map(|nth| state.member_name(database, print, from + nth * step))
                .map(Text::new)
                .collect()
        });
        let ages =
            samples.iter().filter_map(|name| match keyspace::look(ctx, name.name()).slot() {
                Slot::Cached(value) => Some(now.saturating_sub(cached(value).stored_at()).max(0)),
                _ => None,
            });
        figures.oldest = ages.max();
        figures
    }

    fn reply(&self, ctx: &Ctx, reply: Reply) {
        let integer = |name: &str, number: u64| {
            reply.bulk(name.as_bytes());
            reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        };
        let or_nil = |name: &str, number: Option<i64>| {
            reply.bulk(name.as_bytes());
            match number {
                Some(number) => reply.integer(number),
                None => reply.nil(),
            }
        };
        let counts = &self.counts;
        let counted = [
            ("entries", self.entries as u64),
            ("bytes", self.bytes),
            ("dead", self.dead as u64),
            ("hits", counts.hits),
            ("stale", counts.stale),
            ("misses", counts.misses),
            ("waits", counts.waits),
            ("absent", counts.absent),
            ("stored", counts.stored),
            ("evicted", counts.evicted),
            ("refused_fills", counts.refused_fills),
            ("leases", counts.leases),
        ];
        reply.map(2 + counted.len() + 2 + SHOWN);
        reply.bulk(b"region");
        reply.bulk(self.tag.region());
        reply.bulk(b"namespace");
        reply.bulk(self.tag.namespace());
        counted.into_iter().for_each(|(name, number)| integer(name, number));
        or_nil("hit_rate_1m", self.hit_rate_1m.map(|rate| i64::try_from(rate).unwrap_or(100)));
        or_nil("oldest", self.oldest);
        show(&settings::policy(ctx.lock(), &self.tag), reply);
    }
}
