//! HEALTH, and the same figures in INFO.

use crate::commands::plain::PLAIN;
use crate::settings;
use crate::state;
use apikey_engine::database::databases::Figures as Sums;
use apikey_engine::report::health::{self, Status};
use apikey_engine::report::stats::{percent, LastMinute};
use host::command::spec::{Command, Spec};
use host::{now, Args, Ctx, Info, InfoOut, Lock, Reply, Result};
use std::ffi::CStr;

pub struct Health;

/// A value in the reply.
enum Figure {
    Number(u64),
    Text(String),
    List(Vec<String>),
}

impl Command for Health {
    const SPEC: Spec = Spec {
        name: c"apikey.health",
        // As INFO: it tells of all who use the server.
        dangerous: true,
        summary: c"Returns how the module fares, why, and the figures behind it.",
        tips: Some(c"request_policy:all_shards"),
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, _: Args, reply: Reply) -> Result<()> {
        let memory = Memory::read(ctx);
        let figures = Figures::read(ctx.lock());
        let (status, reasons) = figures.judge(ctx.lock(), &memory);
        let mut all = vec![
            (c"status", Figure::Text(status.name().into())),
            (c"reasons", Figure::List(reasons)),
            (c"version", Figure::Text(env!("CARGO_PKG_VERSION").into())),
        ];
        let counts =
            figures.service().into_iter().chain(figures.answers()).chain(figures.contents());
        all.extend(counts.map(|(name, number)| (name, Figure::Number(number))));
        all.extend([
            (c"used_memory", Figure::Number(memory.used)),
            (c"maxmemory", Figure::Number(memory.max)),
            (c"eviction_policy", Figure::Text(memory.policy)),
        ]);
        all.extend(figures.usage().map(|(name, number)| (name, Figure::Number(number))));

        reply.map(all.len());
        for (name, figure) in all {
            reply.bulk(name.to_bytes());
            match figure {
                Figure::Number(number) => reply.integer(clamp(number)),
                Figure::Text(text) => reply.bulk(text.as_bytes()),
                Figure::List(list) => {
                    reply.array(list.len());
                    list.iter().for_each(|text| reply.bulk(text.as_bytes()));
                }
            }
        }
        Ok(())
    }
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the server says of its memory.
struct Memory {
    used: u64,
    /// Without the buffers that the server does not count against `maxmemory`.
    counted: u64,
    max: u64,
    policy: String,
}

impl Memory {
    fn read(ctx: &Ctx) -> Self {
        ctx.server_info(c"memory", |info| {
            let used = info.number(c"used_memory");
            Self {
                used,
                counted: used.saturating_sub(info.number(c"mem_not_counted_for_evict")),
                max: info.number(c"maxmemory"),
                policy: info.text(c"maxmemory_policy").into_owned(),
            }
        })
    }
}

/// The module's own figures at one moment.
struct Figures {
    hits: u64,
    misses: u64,
    mismatches: u64,
    disabled: u64,
    expired: u64,
    forbidden: u64,
    absent_answers: u64,
    stale_fills_refused: u64,
    evicted_entries: u64,
    last_minute: LastMinute,
    databases: Sums,
    oldest_lease_ms: u64,
    overdue_lease: bool,
    lease_ahead: bool,
    redeliveries: u64,
    is_mute: bool,
    unreplicated: u64,
    untold: Option<String>,
}

type Field = (&'static CStr, u64);

impl Figures {
    fn read(lock: Lock) -> Self {
        let now = now();
        state::with(lock, |state| {
            let stats = &state.stats;
            Self {
                hits: stats.hits,
                misses: stats.misses,
                mismatches: stats.mismatches,
                disabled: stats.disabled,
                expired: stats.expired,
                forbidden: stats.forbidden,
                absent_answers: stats.absent,
                stale_fills_refused: stats.stale_fills_refused,
                evicted_entries: stats.evicted_entries,
                last_minute: stats.last_minute(now),
                databases: *state.figures(),
                oldest_lease_ms: state.oldest_lease().map_or(0, |leased_at| {
                    u64::try_from(now.saturating_sub(leased_at)).unwrap_or(0)
                }),
                overdue_lease: state.has_overdue(now),
                lease_ahead: state.has_lease_ahead(now),
                redeliveries: stats.redeliveries,
                is_mute: state.trouble.is_mute(),
                unreplicated: state.trouble.unreplicated(),
                untold: state.trouble.untold(),
            }
        })
    }

    fn hit_rate_1m(&self) -> u64 {
        percent(self.last_minute.hits, self.last_minute.misses)
    }

    fn judge(&self, lock: Lock, memory: &Memory) -> (Status, Vec<String>) {
        health::judge(&health::Figures {
            enabled: settings::ENABLED.get(),
            last_minute: self.last_minute,
            hit_rate_1m: self.hit_rate_1m(),
            min_hit_rate: settings::MIN_HIT_RATE.get().unsigned_abs(),
            used_memory: memory.counted,
            maxmemory: memory.max,
            max_memory_percent: settings::MAX_MEMORY_PERCENT.get().unsigned_abs(),
            eviction_policy: &memory.policy,
            usage_counters: self.databases.totals.counters,
            overdue_lease: self.overdue_lease,
            lease_ahead: self.lease_ahead,
            mute_channel: self.is_mute
                && settings::INVALIDATION_CHANNEL.with(lock, |c| !c.is_empty()),
            unreplicated: self.unreplicated,
            untold: self.untold.as_deref(),
        })
    }

    fn service(&self) -> [Field; 2] {
        [
            (c"enabled", settings::ENABLED.get().into()),
            (c"writes_enabled", settings::WRITES_ENABLED.get().into()),
        ]
    }

    fn answers(&self) -> [Field; 11] {
        [
            (c"hits", self.hits),
            (c"misses", self.misses),
            (c"hit_rate", percent(self.hits, self.misses)),
            (c"hit_rate_1m", self.hit_rate_1m()),
            (c"mismatches", self.mismatches),
            (c"disabled", self.disabled),
            (c"expired", self.expired),
            (c"forbidden", self.forbidden),
            (c"absent_answers", self.absent_answers),
            (c"stale_fills_refused", self.stale_fills_refused),
            (c"evicted_entries", self.evicted_entries),
        ]
    }

    fn contents(&self) -> [Field; 8] {
        let totals = &self.databases.totals;
        [
            (c"records", totals.records),
            (c"absent", totals.absent),
            (c"scopes", totals.scopes),
            (c"lists", totals.lists),
            (c"usage_counters", totals.counters),
            (c"tags", self.databases.tags as u64),
            (c"reclaim_backlog", self.databases.reclaim_backlog() as u64),
            (c"index_bytes", self.databases.index_bytes as u64),
        ]
    }

    fn usage(&self) -> [Field; 6] {
        let sum = |sum| u64::try_from(sum).unwrap_or(u64::MAX);
        [
            (c"usage_pending", sum(self.databases.totals.pending)),
            (c"usage_leased", sum(self.databases.totals.leased)),
            (c"pending_counters", self.databases.pending_counters as u64),
            (c"open_batches", self.databases.open_batches as u64),
            (c"oldest_lease_ms", self.oldest_lease_ms),
            (c"redeliveries", self.redeliveries),
        ]
    }
}

/// `INFO apikey_service`, `apikey_answers`, `apikey_contents`, `apikey_usage`.
impl Info for Health {
    fn write(lock: Lock, out: &mut InfoOut) {
        let figures = Figures::read(lock);
        let mut section = |name: &CStr, fields: &[Field]| {
            if out.section(name) {
                fields.iter().for_each(|(name, number)| out.field(name, clamp(*number)));
            }
        };
        section(c"service", &figures.service());
        section(c"answers", &figures.answers());
        section(c"contents", &figures.contents());
        section(c"usage", &figures.usage());
    }
}
