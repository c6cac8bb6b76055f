//! What is set of regions takes effect, and is told to replicas, whoever has set it.

use crate::evict;
use crate::settings::REGIONS;
use crate::stream::regions;
use apikey_engine::cache::policy::Policies;
use host::server::avoids_replica_traffic;
use host::{Ctx, Lock, Locked};
use std::cell::RefCell;

/// How long a primary waits that may say nothing now.
const WAIT_MS: i64 = 100;

/// What replicas were told last.
static TOLD: Locked<RefCell<Policies>> = Locked::new(RefCell::new(Policies::NONE));

/// CONFIG SET, or the start, may have set something else than was told.
pub fn watch(ctx: &mut Ctx) {
    if !is_told(ctx.lock()) {
        ctx.after(0, look);
    }
}

fn is_told(lock: Lock) -> bool {
    REGIONS.with(lock, |now| *now == *TOLD.get(lock).borrow())
}

/// Looks whether something else is set than was told.
pub fn look(ctx: &mut Ctx) {
    let lock = ctx.lock();
    if is_told(lock) || ctx.is_any_replica() || avoids_replica_traffic(lock) {
        return;
    }
    tell(ctx);
    evict::look_at_all(ctx);
}

/// Tells replicas again as soon as the server has done what it is at: one of them is new.
pub fn announce(ctx: &mut Ctx) {
    ctx.after(0, announce_now);
}

fn announce_now(ctx: &mut Ctx) {
    if ctx.is_any_replica() || REGIONS.with(ctx.lock(), Policies::is_empty) {
        return;
    }
    match avoids_replica_traffic(ctx.lock()) {
        true => ctx.after(WAIT_MS, announce_now),
        false => tell(ctx),
    }
}

fn tell(ctx: &mut Ctx) {
    let lock = ctx.lock();
    let now = REGIONS.with(lock, Policies::clone);
    regions::write(ctx, &now);
    *TOLD.get(lock).borrow_mut() = now;
}
