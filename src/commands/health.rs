//! HEALTH, and the same figures in INFO.

use crate::commands::plain::PLAIN;
use crate::settings;
use crate::state;
use crate::vouch;
use apikey_engine::minute::{percent, LastMinute};
use apikey_engine::report::health::{self, Status};
use host::command::spec::{Command, Spec};
use host::server::used_memory_ratio;
use host::{now, Args, Ctx, Info, InfoOut, Lock, Reply, Result};
use std::ffi::CStr;

pub struct Health;

/// A value in the reply.
enum Figure {
    /// Nothing where there is none.
    Number(Option<u64>),
    Text(Option<String>),
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
        let (status, reasons) = figures.judge(ctx, &memory);
        let mut all = vec![
            (c"status", Figure::Text(Some(status.name().into()))),
            (c"reasons", Figure::List(reasons)),
            (c"version", Figure::Text(Some(env!("CARGO_PKG_VERSION").into()))),
        ];
        let counts = service().into_iter().chain(figures.answers).chain(figures.contents);
        all.extend(counts.map(|(name, number)| (name, Figure::Number(number))));
        all.extend([
            (c"used_memory", Figure::Number(memory.used)),
            (c"maxmemory", Figure::Number(memory.max)),
            (c"eviction_policy", Figure::Text(memory.policy)),
        ]);
        all.extend(figures.usage.map(|(name, number)| (name, Figure::Number(number))));
        all.extend(figures.limits.map(|(name, number)| (name, Figure::Number(number))));

        reply.map(all.len());
        for (name, figure) in all {
            reply.bulk(name.to_bytes());
            match figure {
                Figure::Number(Some(number)) => reply.integer(clamp(number)),
                Figure::Text(Some(text)) => reply.bulk(text.as_bytes()),
                Figure::Number(None) | Figure::Text(None) => reply.nil(),
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
    /// Part of the limit; 0 where there is none.
    used_ratio: f32,
    is_full: bool,
    used: Option<u64>,
    /// 0 where there is no limit.
    max: Option<u64>,
    policy: Option<String>,
}

/// INFO looks at every database for what it says of memory: of more of them it is not asked.
const MANY_DATABASES: u64 = 1024;

impl Memory {
    fn read(ctx: &Ctx) -> Self {
        let used_ratio = used_memory_ratio(ctx.lock());
        let (used, max, policy) =
            if number(ctx, c"databases").is_some_and(|databases| databases > MANY_DATABASES) {
                let max = number(ctx, c"maxmemory");
                // What counts against the limit, where there is one.
                let used = max.filter(|&max| max > 0);
                let used = used.map(|max| (f64::from(used_ratio) * max as f64) as u64);
                (used, max, ctx.config(c"maxmemory-policy"))
            } else {
                ctx.server_info(c"memory", |info| {
                    let number = |field| Some(info.number(field));
                    let policy = info.text(c"maxmemory_policy").into_owned();
                    (number(c"used_memory"), number(c"maxmemory"), Some(policy))
                })
            };
        Self { used_ratio, is_full: ctx.is_over_maxmemory(), used, max, policy }
    }
}

/// A setting of the server's.
fn number(ctx: &Ctx, name: &CStr) -> Option<u64> {
    ctx.config(name)?.parse().ok()
}

/// A figure by its name; `None` where there is nothing to make it of.
type Field = (&'static CStr, Option<u64>);

fn service() -> [Field; 3] {
    [
        (c"enabled", Some(settings::ENABLED.get().into())),
        (c"writes_enabled", Some(settings::WRITES_ENABLED.get().into())),
        (c"vouches", Some(vouch::vouches(now()).into())),
    ]
}

/// The module's own figures at one moment.
struct Figures {
    answers: [Field; 22],
    contents: [Field; 11],
    usage: [Field; 9],
    limits: [Field; 5],
    last_minute: LastMinute,
    last_eviction_ms: Option<u64>,
    usage_counters: u64,
    overdue_lease: bool,
    lease_ahead: bool,
    is_mute: bool,
    unreplicated: u64,
    untold: Option<String>,
}

impl Figures {
    fn read(lock: Lock) -> Self {
        let now = now();
        state::with(lock, |state| {
            let (stats, all) = (&state.stats, state.figures());
            let last_minute = stats.last_minute(now);
            let leases = state.lease_ends();
            // Less than nothing may be pending.
            let sum = |sum: i128| Some(u64::try_from(sum.max(0)).unwrap_or(u64::MAX));
            let age = leases.map_or(0, |leases| now.saturating_sub(leases.oldest));
            Self {
                answers: [
                    (c"hits", Some(stats.hits)),
                    (c"misses", Some(stats.misses)),
                    (c"hit_rate", Some(percent(stats.hits, stats.misses).unwrap_or(0))),
                    (c"hit_rate_1m", last_minute.hit_rate()),
                    (c"valid", Some(stats.valid)),
                    (c"mismatches", Some(stats.mismatches)),
                    (c"disabled", Some(stats.disabled)),
                    (c"expired", Some(stats.expired)),
                    (c"forbidden", Some(stats.forbidden)),
                    (c"forbidden_ip", Some(stats.forbidden_ip)),
                    (c"unverified", Some(stats.unverified)),
                    (c"absent_answers", Some(stats.absent)),
                    (c"stored_entries", Some(stats.stored_entries)),
                    (c"stale_fills_refused", Some(stats.stale_fills_refused)),
                    (c"absent_refused", Some(stats.absent_refused)),
                    (c"invalidated_tags", Some(stats.invalidated_tags)),
                    (c"invalidated_keys", Some(stats.invalidated_keys)),
                    (c"written_keys", Some(stats.written_keys)),
                    (c"invalidated_patterns", Some(stats.invalidated_patterns)),
                    (c"flushes", Some(stats.flushes)),
                    (c"killed_entries", Some(stats.killed_entries)),
                    (c"evicted_entries", Some(stats.evicted_entries)),
                ],
                contents: [
                    (c"records", Some(all.totals.records)),
                    (c"absent", Some(all.totals.absent)),
                    (c"scopes", Some(all.totals.scopes)),
                    (c"lists", Some(all.totals.lists)),
                    (c"cached_values", Some(all.totals.cached)),
                    (c"cached_bytes", Some(all.cached_bytes as u64)),
                    (c"regions", Some(all.regions as u64)),
                    (c"usage_counters", Some(all.totals.counters)),
                    (c"tags", Some(all.tags as u64)),
                    (c"reclaim_backlog", Some(all.reclaim_backlog() as u64)),
                    (c"index_bytes", Some(all.index_bytes as u64)),
                ],
                usage: [
                    (c"usage_pending", sum(all.totals.pending)),
                    (c"usage_leased", sum(all.totals.leased)),
                    (c"pending_counters", Some(all.pending_counters as u64)),
                    (c"open_batches", Some(all.open_batches as u64)),
                    (c"oldest_lease_ms", Some(u64::try_from(age).unwrap_or(0))),
                    (c"redeliveries", Some(stats.redeliveries)),
                    (c"counted_uses", Some(stats.counted_uses)),
                    (c"settled_uses", Some(stats.settled_uses)),
                    (c"taken_uses", Some(stats.taken_uses)),
                ],
                limits: [
                    (c"admitted", Some(stats.admitted)),
                    (c"rate_limited", Some(stats.rate_limited)),
                    (c"usage_exceeded", Some(stats.usage_exceeded)),
                    (c"repeated_ids", Some(stats.repeated_ids)),
                    (c"ids_dropped_early", Some(stats.ids_dropped_early)),
                ],
                last_minute,
                last_eviction_ms: stats.last_eviction.map(|at| now.abs_diff(at)),
                usage_counters: all.totals.counters,
                overdue_lease: leases.is_some_and(|leases| leases.has_overdue(now)),
                lease_ahead: leases.is_some_and(|leases| leases.has_ahead(now)),
                is_mute: state.trouble.is_mute(),
                unreplicated: state.trouble.unreplicated(),
                untold: state.trouble.untold(),
            }
        })
    }

    fn judge(&self, ctx: &mut Ctx, memory: &Memory) -> (Status, Vec<String>) {
        let (writes, unproven) = vouch::look(ctx);
        health::judge(&health::Figures {
            enabled: settings::ENABLED.get(),
            last_minute: self.last_minute,
            min_hit_rate: settings::MIN_HIT_RATE.get().unsigned_abs(),
            memory_percent: (f64::from(memory.used_ratio) * 100.0) as u64,
            max_memory_percent: settings::MAX_MEMORY_PERCENT.get().unsigned_abs(),
            is_full: memory.is_full,
            last_eviction_ms: self.last_eviction_ms,
            writes,
            unproven,
            serves_when_refused: settings::SERVE_WHEN_WRITES_REFUSED.get(),
            eviction_policy: memory.policy.as_deref().unwrap_or_default(),
            usage_counters: self.usage_counters,
            overdue_lease: self.overdue_lease,
            lease_ahead: self.lease_ahead,
            mute_channel: self.is_mute
                && settings::INVALIDATION_CHANNEL.with(ctx.lock(), |c| !c.is_empty()),
            unreplicated: self.unreplicated,
            untold: self.untold.as_deref(),
        })
    }
}

/// `INFO apikey_service`, `apikey_answers`, `apikey_contents`, `apikey_usage`, `apikey_limits`.
impl Info for Health {
    fn write(lock: Lock, out: &mut InfoOut) {
        let figures = Figures::read(lock);
        let mut section = |name: &CStr, fields: &[Field]| {
            if out.section(name) {
                for &(name, number) in fields {
                    // What there is nothing to make of is left out: each line has a number.
                    if let Some(number) = number {
                        out.field(name, clamp(number));
                    }
                }
            }
        };
        section(c"service", &service());
        section(c"answers", &figures.answers);
        section(c"contents", &figures.contents);
        section(c"usage", &figures.usage);
        section(c"limits", &figures.limits);
    }
}
