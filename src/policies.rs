//! What is set of regions takes effect, and is told to replicas, whoever has set it.

use crate::evict;
use crate::settings::REGIONS;
use crate::stream::regions;
use apikey_engine::cache::policy::Policies;
use host::server::avoids_replica_traffic;
use host::{Ctx, Lock, Locked};
use std::cell::{Cell, RefCell};

/// What replicas were told last.
static TOLD: Locked<RefCell<Policies>> = Locked::new(RefCell::new(Policies::NONE));

/// Whether they are to be told again, since somebody is there who was not told.
static IS_OWED: Locked<Cell<bool>> = Locked::new(Cell::new(false));

/// A replica has come, or this node has replicas from now on.
pub fn tell_again(lock: Lock) {
    IS_OWED.get(lock).set(true);
}

/// CONFIG SET, or the start, may have set something else than was told, or somebody may have come. What is to be told is
/// so from a timer, as all that nobody asks for.
pub fn watch(ctx: &mut Ctx) {
    let lock = ctx.lock();
    let is_new = REGIONS.with(lock, |now| *now != *TOLD.get(lock).borrow());
    if is_new || IS_OWED.get(lock).get() {
        ctx.after(0, look);
    }
}

/// Looks whether something else is set than was told, or somebody was not told.
pub fn look(ctx: &mut Ctx) {
    let lock = ctx.lock();
    if ctx.is_any_replica() || avoids_replica_traffic(lock) {
        return;
    }
    let is_new = REGIONS.with(lock, |now| *now != *TOLD.get(lock).borrow());
    // Who comes may have some of its own, also where nothing is set here.
    if IS_OWED.get(lock).take() || is_new {
        tell(ctx);
    }
    if is_new {
        evict::look_at_all(ctx);
    }
}

fn tell(ctx: &mut Ctx) {
    let lock = ctx.lock();
    let now = REGIONS.with(lock, Policies::clone);
    regions::write(ctx, &now);
    *TOLD.get(lock).borrow_mut() = now;
}
