//! Reclaim: takes dead entries away, in slices from a timer, so that nobody waits for it.
//!
//! Where this node no longer trusts the entries that it has, all of them are dead at once, and replicas and
//! the AOF are told so, before anything else is stored or reclaimed: they would otherwise have them alive
//! until their UNLINKs come.
//!
//! The primary reclaims, and replicates what it took away as UNLINKs, as Redis does with expired keys. A
//! replica judges what it reads and keeps the queue, so that it can go on when it is promoted. While
//! clients are paused for a failover or a shutdown nothing may be replicated: the timer waits.

use crate::commands::dropped;
use crate::config;
use crate::ffi::{self, Ctx, Text};
use crate::guard;
use crate::keyspace::{self, Removed};
use crate::state;
use redis_module::raw;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// What the server has for others between two slices.
const PAUSE_MS: i64 = 1;

/// How long the timer waits where nothing can be done.
const WAIT_MS: i64 = 100;

/// Keys between two looks at the clock.
const KEYS_PER_LOOK: usize = 16;

/// Whether the timer runs, and the database that had the last slice.
#[derive(Default)]
pub struct Timer {
    running: bool,
    database: i32,
    /// All entries were dropped, and nobody was told yet.
    must_tell: bool,
    /// For tests of what happens in the middle of a reclaim.
    #[cfg(debug_assertions)]
    pub held: bool,
}

impl Timer {
    fn is_held(&self) -> bool {
        #[cfg(debug_assertions)]
        return self.held;
        #[cfg(not(debug_assertions))]
        return false;
    }
}

/// Kills all entries of this node, which it no longer trusts.
pub fn drop_all(ctx: Ctx) {
    state::with(|state| state.begin_era());
    all_were_dropped(ctx);
}

/// The entries of this node, which it does not trust, are dead: others have to be told.
pub fn all_were_dropped(ctx: Ctx) {
    state::with(|state| state.reclaim.must_tell = state.totals().entries() > 0);
    if must_tell_of_drop()
        && !state::with(|state| std::mem::replace(&mut state.reclaim.running, true))
    {
        // Before the next turn of the server's loop.
        start_timer(ctx, 0);
    }
}

/// Whether all entries were dropped and nobody was told yet. Until then nothing is stored: those who are
/// told later could not tell it apart.
pub fn must_tell_of_drop() -> bool {
    state::with(|state| state.reclaim.must_tell)
}

/// This node is a replica now: what it dropped is its primary's to say.
pub fn forget_drop() {
    state::with(|state| state.reclaim.must_tell = false);
}

/// Something may wait for reclaim: sets the timer, on a primary.
pub fn wake(ctx: Ctx) {
    let asleep = state::with(|state| !state.reclaim.running && state.reclaim_backlog() > 0);
    if asleep && !ctx.is_any_replica() {
        state::with(|state| state.reclaim.running = true);
        start_timer(ctx, PAUSE_MS);
    }
}

fn start_timer(ctx: Ctx, ms: i64) {
    // SAFETY: the callback takes no data.
    unsafe { ffi::start_timer(ctx, ms, Some(on_timer), null_mut()) };
}

unsafe extern "C" fn on_timer(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    // SAFETY: the server's argument, valid for this call.
    let ctx = unsafe { Ctx::new(ctx) };
    match guard::run("reclaim", Some(WAIT_MS), || slice(ctx)) {
        Some(ms) => start_timer(ctx, ms),
        None => state::with(|state| state.reclaim.running = false),
    }
}

/// Does a slice of the work. Returns in how many milliseconds the next is due, if one is.
fn slice(ctx: Ctx) -> Option<i64> {
    if ctx.is_any_replica() {
        return None;
    }
    if ffi::avoids_replica_traffic() {
        return Some(WAIT_MS);
    }
    if state::with(|state| std::mem::take(&mut state.reclaim.must_tell)) {
        ctx.replicate(dropped::NAME, &[], &[]);
        // By itself: a transaction in an AOF is lost where the default user may not run it (7.0, 8.2).
        return Some(PAUSE_MS);
    }
    let (held, database) = state::with(|state| {
        let held = state.reclaim.is_held();
        (held, state.database_to_reclaim(state.reclaim.database))
    });
    let database = database?;
    if held || !ctx.select(database) {
        return Some(WAIT_MS);
    }
    state::with(|state| state.reclaim.database = database);
    let budget = Duration::from_micros(config::RECLAIM_BUDGET_US.get().unsigned_abs());
    let until = Instant::now() + budget;
    let mut gone = Vec::new();
    let mut ended = false;
    loop {
        for _ in 0..KEYS_PER_LOOK {
            let next = state::with(|state| state.next_to_reclaim(database).map(Text::new));
            let Some(name) = next else {
                ended = true;
                break;
            };
            if keyspace::reclaim_entry(ctx, name.name()) == Removed::Dead {
                gone.push(name);
            }
        }
        if ended || Instant::now() >= until {
            break;
        }
    }
    replicate(ctx, &gone);
    Some(if ended && gone.is_empty() { WAIT_MS } else { PAUSE_MS })
}

/// Tells replicas and the AOF which keys were taken away.
fn replicate(ctx: Ctx, gone: &[Text]) {
    if !gone.is_empty() {
        let names: Vec<_> = gone.iter().map(Text::name).collect();
        ctx.replicate(c"UNLINK", &names, &[]);
    }
}
