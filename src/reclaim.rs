//! Reclaim: takes dead entries away, in slices, so that nobody waits for it.
//!
//! The primary reclaims, and replicates what it took away, as Redis does with expired keys. A replica judges
//! what it reads and keeps the queue, so that it can go on when it is promoted. While clients are paused for
//! a failover or a shutdown nothing may be replicated: the job waits.
//!
//! Who makes something dead says so in the state, and [`look`], at the end of each command and event, starts
//! the job. Where all entries died at once ([`crate::trust`]) it says so first.

use crate::keyspace::{self, Removed};
use crate::settings;
use crate::state;
use crate::stream::{dropped, gone};
use apikey_engine::database::catalog::Next;
use host::job::{Job, Jobs, Step, PAUSE_MS};
use host::server::avoids_replica_traffic;
use host::{Ctx, Reply, Text};
use std::time::{Duration, Instant};

/// How long the job waits where nothing can be done.
const WAIT_MS: i64 = 100;

/// The part of a slice that is left for telling of what was taken away: 1 / so much.
const TELLING: u32 = 8;

/// Steps of a walk between two looks at the clock, whose lines the processor is asked for together.
const STEPS_PER_LOOK: usize = 16;

/// Bytes of names from which on a slice ends, so that its word is one for a buffer.
const ENOUGH_NAMES: usize = 64 << 10;

static RECLAIM: Jobs<Reclaim> = Jobs::new("reclaim");

/// Starts the job, on a primary, if there may be work for it.
pub fn look(ctx: &mut Ctx) {
    let (has_work, owes_word) = state::take_work_for_reclaim(ctx.lock());
    if has_work && (owes_word || !ctx.is_any_replica()) {
        // A word that is owed goes out before the next turn of the server's loop.
        RECLAIM.start(ctx, Reclaim::default(), if owes_word { 0 } else { PAUSE_MS });
    }
}

/// The job.
#[derive(Default)]
struct Reclaim {
    /// That had the last slice.
    database: i32,
}

impl Job for Reclaim {
    type Outcome = ();

    fn budget(&self) -> Duration {
        settings::slice_budget()
    }

    fn is_the_same(&self, _: &Self) -> bool {
        true
    }

    fn reply((): &(), _: Reply) {}

    fn slice(&mut self, ctx: &mut Ctx, until: Instant) -> Step<()> {
        if ctx.is_any_replica() {
            return Step::Done(());
        }
        if avoids_replica_traffic(ctx.lock()) {
            return Step::Later(WAIT_MS);
        }
        let lock = ctx.lock();
        if state::with(lock, |state| state.trust.take_word()) {
            // By itself: a transaction in an AOF is lost where the default user may not run it (7.0, 8.2).
            dropped::write(ctx);
            return Step::More;
        }
        let until = until.checked_sub(self.budget() / TELLING).unwrap_or(until);
        loop {
            let database = state::with(lock, |state| state.database_to_reclaim(self.database));
            let Some(database) = database else { return Step::Done(()) };
            if is_held() || !ctx.select(database) {
                return Step::Later(WAIT_MS);
            }
            self.database = database;
            let (ended, gone) = reclaim(ctx, database, until);
            // Once in a slice, since twice would be a transaction: see above.
            if !gone.is_empty() {
                gone::write(ctx, &gone);
                keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
                return Step::More;
            }
            if ended && state::with(lock, |state| state.has_dead(database)) {
                return Step::Later(WAIT_MS);
            }
            if Instant::now() >= until {
                return Step::More;
            }
        }
    }
}

/// Takes dead entries of the selected database away until the time is over, or a walk over what may be dead; true
/// for the latter.
fn reclaim(ctx: &mut Ctx, database: i32, until: Instant) -> (bool, Vec<Text>) {
    let lock = ctx.lock();
    let mut gone = Vec::new();
    let mut bytes = 0;
    loop {
        state::with(lock, |state| state.touch_next_to_reclaim(database, STEPS_PER_LOOK));
        for _ in 0..STEPS_PER_LOOK {
            let name = state::with(lock, |state| match state.next_to_reclaim(database) {
                Next::Item(place) => Some(state.item_name(database, place).map(Text::new)),
                Next::Free => Some(None),
                Next::End => None,
            });
            let Some(name) = name else { return (true, gone) };
            let Some(name) = name else { continue };
            if keyspace::reclaim_entry(ctx, name.name()) == Removed::Dead {
                bytes += name.name().bytes().len();
                gone.push(name);
                if bytes >= ENOUGH_NAMES {
                    return (false, gone);
                }
            }
        }
        if Instant::now() >= until {
            return (false, gone);
        }
    }
}

/// For tests of what happens in the middle of a reclaim, or of an ACK in slices.
#[cfg(debug_assertions)]
static HELD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[cfg(debug_assertions)]
pub fn hold(held: bool) {
    HELD.store(held, std::sync::atomic::Ordering::Relaxed);
}

pub fn is_held() -> bool {
    #[cfg(debug_assertions)]
    return HELD.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(debug_assertions))]
    return false;
}
