//! Whether this node vouches: a key is VALID only where it could be revoked.
//!
//! While the server refuses writes (MISCONF, NOREPLICAS) it refuses invalidations too, and a primary that was
//! stopped and goes on may have been replaced, so that keys were revoked elsewhere. Then each read is a miss, with a
//! token that every fill refuses, and the application asks its database; unless `serve-when-writes-refused` says
//! otherwise. What decides stands in [`apikey_engine::vouch`]; here the server is looked at, ten times a second,
//! by what INFO and CONFIG say on every server.
//!
//! **A read pays for none of it**: it compares the time, which it knows anyway, with the time in which the last look
//! is good. So the first command after a stop is judged right, though it comes before any timer does. A look can't
//! be left to it: to be believed again something has to be said in the stream, which a read must not do.

use crate::settings;
use crate::state;
use crate::stream::version;
use apikey_engine::vouch::{Span, Stream, Writes};
use host::{now, Ctx};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// Between two looks.
const PAUSE_MS: i64 = 100;

/// The time in which this node vouches: [`Span`].
static FROM: AtomicI64 = AtomicI64::new(Span::ALWAYS.from);
static UNTIL: AtomicI64 = AtomicI64::new(Span::ALWAYS.until);

/// Whether this node vouches for what it has.
#[inline]
pub fn vouches(now: i64) -> bool {
    (FROM.load(Relaxed) <= now && now <= UNTIL.load(Relaxed))
        || settings::SERVE_WHEN_WRITES_REFUSED.get()
}

/// Whether reads are answered by what is stored: else each is a miss.
#[inline]
pub fn serves(now: i64) -> bool {
    settings::ENABLED.get() && vouches(now)
}

/// The looks are to begin, unless they have.
pub fn begin(ctx: &mut Ctx) {
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
    if !HAS_BEGUN.swap(true, Relaxed) {
        watch(ctx);
    }
}

/// Looks at the server, now and from now on. By a timer and not by the cron, which may be as slow as once a second.
fn watch(ctx: &mut Ctx) {
    // First: a bug in a look must not be the end of looking.
    ctx.after(PAUSE_MS, watch);
    look(ctx);
}

/// Looks at the server; returns what it says of its writes, and whether this node does not know whether it was
/// replaced.
pub fn look(ctx: &mut Ctx) -> (Writes, bool) {
    // Before anything is asked: an answer of before a stop is not good after it.
    let now = now();
    let (lock, writes) = (ctx.lock(), writes(ctx));
    let mut vouch = state::with(lock, |state| std::mem::take(&mut state.vouch));
    let look = vouch.look(now, &writes, || stream(ctx));
    let is_unproven = vouch.is_unproven();
    state::with(lock, |state| state.vouch = vouch);
    FROM.store(look.span.from, Relaxed);
    UNTIL.store(look.span.until, Relaxed);
    if look.was_stopped {
        // Whatever it is, replicas acknowledge it: this they know already.
        version::announce(ctx);
    }
    (writes, is_unproven)
}

/// What the server says of its writes.
fn writes(ctx: &Ctx) -> Writes {
    let (save_failed, aof_failed) = ctx.server_info(c"persistence", |info| {
        let failed = |field| info.text(field) == "err";
        let has_aof = info.number(c"aof_enabled") != 0;
        (failed(c"rdb_last_bgsave_status"), has_aof && failed(c"aof_last_write_status"))
    });
    let good_replicas = ctx.server_info(c"replication", |info| {
        let text = info.text(c"min_slaves_good_slaves");
        text.parse().ok()
    });
    // Where it can't be known (`rename-command`) a failed save stops writes, as it does by default.
    let is = |name: &CStr, held: fn(&str) -> bool| ctx.config(name).is_none_or(|v| held(&v));
    let min_replicas = || ctx.config(c"min-replicas-to-write")?.parse().ok();
    Writes {
        is_primary: !ctx.is_replica(),
        save_failed,
        stops_where_save_failed: save_failed
            && is(c"save", |points| !points.is_empty())
            && is(c"stop-writes-on-bgsave-error", |value| value == "yes"),
        aof_failed,
        good_replicas,
        // Of none in touch it is known that they are too few.
        min_replicas: good_replicas.and_then(|_: u64| min_replicas()).unwrap_or(1),
    }
}

/// Where the stream stands, and how far replicas have acknowledged it.
fn stream(ctx: &Ctx) -> Stream {
    ctx.server_info(c"replication", |info| {
        let replicas = (0..info.number(c"connected_slaves")).filter_map(|n| {
            let name = CString::new(format!("slave{n}")).ok()?;
            let line = info.text(&name);
            let field = |name: &str| line.split(',').find_map(|field| field.strip_prefix(name));
            field("state=").filter(|&state| state == "online")?;
            field("offset=")?.parse().ok()
        });
        Stream { offset: info.number(c"master_repl_offset"), acknowledged: replicas.collect() }
    })
}
