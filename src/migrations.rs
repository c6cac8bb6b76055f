//! Slots that move as a whole (Valkey's CLUSTER MIGRATESLOTS), to this node and from it.
//!
//! Keys that come so are here before their slots are, and stay where the migration fails: until it ends they are what
//! the other node says. Entries come dead: this node may have been told of an invalidation before them. What is leased
//! of a counter comes [apart](apikey_engine::usage::lease::Leases::apart). Nothing is leased or taken here meanwhile,
//! but by key.
//!
//! The node that they leave is fed by what is replicated, command by command: of one without keys it passes nothing on,
//! and one with keys of several slots ends the migration. So what a command without keys changes of counters is told
//! then [counter by counter](crate::counters).
//!
//! A replica knows the same of its primary's: it is fed the same commands.

use host::slots::{slot_of, Migration, MigrationId, Migrations};
use host::{Ctx, Error, Lock, Locked, Result};
use std::cell::RefCell;

/// Those that are under way.
static OPEN: Locked<RefCell<Vec<Migration>>> = Locked::new(RefCell::new(Vec::new()));

pub struct Follower;

impl Migrations for Follower {
    fn began(ctx: &mut Ctx, migration: Migration) {
        OPEN.get(ctx.lock()).borrow_mut().push(migration);
    }

    fn ended(ctx: &mut Ctx, id: MigrationId) {
        OPEN.get(ctx.lock()).borrow_mut().retain(|open| open.id != id);
    }
}

/// The server is asked again: of what an RDB brings nobody is told.
pub fn look(ctx: &Ctx) {
    if ctx.is_in_cluster() {
        let migrations = ctx.migrations();
        *OPEN.get(ctx.lock()).borrow_mut() = migrations;
    }
}

/// Whether the slot of a key is coming.
pub fn is_coming(lock: Lock, name: &[u8]) -> bool {
    let open = OPEN.get(lock).borrow();
    let mut coming = open.iter().filter(|migration| migration.is_import).peekable();
    coming.peek().is_some()
        && slot_of(name).is_none_or(|slot| coming.any(|migration| migration.has(slot)))
}

/// Whether slots are coming.
pub fn are_coming(lock: Lock) -> bool {
    OPEN.get(lock).borrow().iter().any(|migration| migration.is_import)
}

/// Whether slots are leaving.
pub fn are_leaving(lock: Lock) -> bool {
    OPEN.get(lock).borrow().iter().any(|migration| !migration.is_import)
}

/// Refuses a command that gives out whichever counters there are while some are not yet this node's.
pub fn must_not_come(ctx: &Ctx) -> Result<()> {
    match are_coming(ctx.lock()) {
        true => Err(Error(
            "TRYAGAIN slots are coming to this node by CLUSTER MIGRATESLOTS: their counters are not yet its own".into(),
        )),
        false => Ok(()),
    }
}
