//! Keys: the one file that opens them.
//!
//! It puts values under keys and takes them away, and keeps the index in step. A value leaves the
//! index in its `unlink` callback ([`crate::types`]), whoever removes its key; it enters where this
//! file stores it, and on the server's word that it has come by itself ([`arrived`]).

use crate::error::{Error, Result};
use crate::ffi::{Ctx, Held, Key, Mode, Name, Notify};
use crate::reclaim;
use crate::state;
use crate::types::{self, EntryKind};
use crate::value::{
    AnyEntry, EntryValue, Life, Link, ListValue, RecordValue, ScopesValue, Thin, UsageValue,
};
use apikey_engine::lease::{Id, Lease, Leases, Terms};
use apikey_engine::usage::Counter;

/// What stands under a name.
pub enum Slot<'k> {
    Empty,
    Record(&'k RecordValue),
    Scopes(&'k ScopesValue),
    List(&'k ListValue),
    Usage(&'k UsageValue),
    /// Something that is not this module's.
    Foreign,
}

impl<'k> Slot<'k> {
    /// The entry, of whatever kind, dead or not.
    pub fn entry(&self) -> Option<AnyEntry<'k>> {
        match self {
            Self::Record(value) => Some(value.any()),
            Self::Scopes(value) => Some(value.any()),
            Self::List(value) => Some(value.any()),
            Self::Empty | Self::Usage(_) | Self::Foreign => None,
        }
    }

    /// Where the index has the value.
    pub fn link(&self) -> Option<&'k Link> {
        match self {
            Self::Usage(value) => Some(&value.link),
            other => other.entry().map(|any| &any.life.link),
        }
    }
}

/// A name and what stands under it, open for reading or for writing.
pub struct OpenKey<'a> {
    key: Key<'a>,
    name: Name<'a>,
    ctx: Ctx<'a>,
}

pub fn open<'a>(ctx: Ctx<'a>, name: Name<'a>, mode: Mode) -> OpenKey<'a> {
    OpenKey { key: Key::open(ctx, name, mode), name, ctx }
}

/// What an open key of the server's holds.
pub fn slot<'k>(key: &'k Key) -> Slot<'k> {
    match key.held() {
        Held::Nothing => Slot::Empty,
        Held::Other => Slot::Foreign,
        // SAFETY: a value of our types was made by `into_raw` from one of that type (in this
        // file, or when it was loaded or copied), and lives as long as its key holds it, which is at
        // least as long as nobody writes through the borrowed key. All references to it are shared.
        Held::Value(of, value) => unsafe {
            if of == types::record() {
                Slot::Record(Thin::borrow(value))
            } else if of == types::usage() {
                Slot::Usage(Thin::borrow(value))
            } else if of == types::scopes() {
                Slot::Scopes(Thin::borrow(value))
            } else if of == types::list() {
                Slot::List(Thin::borrow(value))
            } else {
                Slot::Foreign
            }
        },
    }
}

impl<'a> OpenKey<'a> {
    pub fn slot(&self) -> Slot<'_> {
        slot(&self.key)
    }

    /// The entry of a kind under the name, dead or not; an error where something else is.
    pub fn entry<E: EntryKind + ?Sized>(&self) -> Result<Option<&EntryValue<E>>> {
        match self.slot() {
            Slot::Empty => Ok(None),
            slot => E::of(&slot).map(Some).ok_or(Error::WRONG_TYPE),
        }
    }

    /// The entry of a kind under the name if it is alive; an error where something else is.
    pub fn live<E: EntryKind + ?Sized>(&self) -> Result<Option<&EntryValue<E>>> {
        Ok(self.entry()?.filter(|value: &&EntryValue<E>| !is_dead(&value.life)))
    }

    /// The entry of any kind under the name if it is alive; an error where something else is.
    pub fn live_entry(&self) -> Result<Option<AnyEntry<'_>>> {
        match self.slot() {
            Slot::Empty => Ok(None),
            slot => match slot.entry() {
                Some(any) => Ok(Some(any).filter(|any| !is_dead(any.life))),
                None => Err(Error::WRONG_TYPE),
            },
        }
    }

    /// The counter under the name; an error where something else is.
    pub fn usage(&self) -> Result<Option<&UsageValue>> {
        match self.slot() {
            Slot::Empty => Ok(None),
            Slot::Usage(value) => Ok(Some(value)),
            _ => Err(Error::WRONG_TYPE),
        }
    }

    pub fn expires_at(&self) -> Option<i64> {
        self.key.expires_at()
    }

    /// Stores an entry under the name, in place of what stood there, with its expiry.
    pub fn store_entry<E: EntryKind + ?Sized>(
        &mut self,
        value: Box<EntryValue<E>>,
        expires_at: Option<i64>,
        now: i64,
    ) -> Result<()>
    where
        EntryValue<E>: Thin,
    {
        let database = self.ctx.database();
        if !state::with(|state| state.has_room(database)) {
            return Err(Error::err("the tag index is full"));
        }
        if !state::with(|state| state.is_loading) {
            value.life.stored(now);
        }
        let replaced = self.slot().entry().and_then(|old| old.life.link.place());
        state::with(|state| state.replace(database, replaced));
        let value = value.into_raw();
        // SAFETY: the value is of the type; where the server refuses it, it is ours again.
        unsafe {
            if let Err(refused) = self.key.set(E::data_type(), value) {
                state::with(|state| state.replace(database, None));
                drop(EntryValue::<E>::from_raw(value));
                return Err(refused.into());
            }
        }
        if let Some(any) = self.slot().entry() {
            enter(self.ctx, database, self.name, any);
        }
        if let Some(at) = expires_at {
            // It refuses negative times alone, and there are none.
            let _ = self.key.set_expires_at(at);
        }
        self.ctx.signal_modified(self.name);
        Ok(())
    }

    /// Stores a counter under the name, in place of what stood there, with its expiry.
    pub fn store_usage(
        &mut self,
        counter: Counter,
        leases: Leases,
        expires_at: Option<i64>,
    ) -> Result<()> {
        let database = self.ctx.database();
        if !state::with(|state| state.has_room(database)) {
            return Err(Error::err("the tag index is full"));
        }
        let value = UsageValue::new(counter, leases).into_raw();
        // SAFETY: as in `store_entry`.
        unsafe {
            if let Err(refused) = self.key.set(types::usage(), value) {
                drop(UsageValue::from_raw(value));
                return Err(refused.into());
            }
        }
        if let (Slot::Usage(value), name) = (self.slot(), self.name.bytes()) {
            state::with(|state| state.add_counter(database, name, value));
        }
        if let Some(at) = expires_at {
            // As in `store_entry`.
            let _ = self.key.set_expires_at(at);
        }
        self.ctx.signal_modified(self.name);
        Ok(())
    }

    /// Puts another count into the counter under the name, which is `value`.
    pub fn update_usage(&self, value: &UsageValue, counter: Counter) {
        let before = value.counter.replace(counter).pending();
        state::with(|state| state.pending_changed(self.name, value, before));
        self.ctx.signal_modified(self.name);
    }

    /// Moves what the counter under the name has pending into a batch, and returns how much that is;
    /// `None` where nothing is, or nothing can be.
    pub fn lease_usage(&self, batch: Id, line: Id, terms: Terms) -> Option<i64> {
        self.change_usage(|counter, leases| leases.lease(counter, batch, line, terms))
    }

    /// Takes the line that the counter under the name has in a batch away for good.
    pub fn settle_usage(&self, batch: Id) -> Option<Lease> {
        self.change_usage(|_, leases| leases.settle(batch))
    }

    fn change_usage<T>(
        &self,
        change: impl FnOnce(&mut Counter, &mut Leases) -> Option<T>,
    ) -> Option<T> {
        let Slot::Usage(value) = self.slot() else { return None };
        let mut counter = value.counter.get();
        let mut leases = value.with_leases(Leases::clone);
        let done = change(&mut counter, &mut leases)?;
        state::with(|state| state.change_counter(self.name.bytes(), value, counter, leases));
        self.ctx.signal_modified(self.name);
        Some(done)
    }
}

/// Whether an entry waits for its end: every read takes it for nothing.
pub fn is_dead(life: &Life) -> bool {
    state::with(|state| state.is_dead(life))
}

/// What became of a key that was to be removed.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Removed {
    /// There is no entry under the name, or none that is to go.
    Nothing,
    Dead,
    Live,
}

/// Removes the entry under a name of the selected database and tells of it as DEL does.
pub fn unlink_entry(ctx: Ctx, name: Name) -> Removed {
    unlink(ctx, name, Removed::Live)
}

/// Removes the entry under a name if it is dead.
pub fn reclaim_entry(ctx: Ctx, name: Name) -> Removed {
    unlink(ctx, name, Removed::Dead)
}

fn unlink(ctx: Ctx, name: Name, at_most: Removed) -> Removed {
    let mut key = Key::open(ctx, name, Mode::ReadWrite);
    let removed = match slot(&key).entry() {
        Some(any) if is_dead(any.life) => Removed::Dead,
        Some(_) => Removed::Live,
        None => Removed::Nothing,
    };
    if removed == Removed::Nothing || removed > at_most || key.unlink().is_err() {
        return Removed::Nothing;
    }
    drop(key);
    ctx.signal_modified(name);
    ctx.notify(Notify::Generic, c"del", name);
    removed
}

/// An entry has come to a name.
fn enter(ctx: Ctx, database: i32, name: Name, any: AnyEntry) {
    let life = any.life;
    state::with(|state| state.add_entry(database, name.bytes(), any));
    if life.is_stamped_dead() {
        reclaim::wake(ctx);
    }
}

/// A key has come by itself: it was loaded, renamed, copied, moved or restored. An entry that
/// was not stored here, under this name, is `dead`. What the index has already stays as it is.
pub fn arrived(ctx: Ctx, name: Name, dead: bool) {
    let key = Key::open(ctx, name, Mode::Look);
    let database = key.database(ctx);
    let slot = slot(&key);
    if slot.link().is_none_or(Link::is_set) {
        return;
    }
    if let Some(any) = slot.entry() {
        if dead {
            any.life.stamp_dead();
        }
        enter(ctx, database, name, any);
    } else if let Slot::Usage(value) = slot {
        state::with(|state| state.add_counter(database, name.bytes(), value));
    }
}
