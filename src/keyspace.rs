//! Keys: the one file that opens them.
//!
//! It puts values under keys and takes them away, and keeps the index in step. A value leaves the
//! index in its `unlinked` method ([`crate::types`]), whoever removes its key; it enters where this
//! file stores it, when it was loaded (its `loaded` method), and on the server's word that it has come by itself
//! ([`arrived`]).

use crate::migrations;
use crate::state;
use crate::types::entries::{EntryKind, LISTS, RECORDS, SCOPES, VALUES};
use crate::types::usage::USAGE;
use crate::values::entry::{cached, AnyEntry, CachedValue, ListValue, RecordValue, ScopesValue};
use crate::values::life::{Life, Link, Standing};
use crate::values::usage::UsageValue;
use apikey_engine::cache::value::Cached;
use apikey_engine::database::catalog::Counted;
use apikey_engine::limits::account::Account;
use apikey_engine::report::stats::add_uses;
use apikey_engine::usage::batches::Terms;
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::id::Id;
use apikey_engine::usage::lease::{Lease, Leases};
use host::changes::Class;
use host::{Ctx, Error, Held, Key, KeyMut, Lock, Name, Result};

/// What stands under a name.
pub enum Slot<'k> {
    Empty,
    Record(&'k RecordValue),
    Scopes(&'k ScopesValue),
    List(&'k ListValue),
    Cached(&'k CachedValue),
    Usage(&'k UsageValue),
    /// Something that is not this module's.
    Foreign,
}

impl<'k> Slot<'k> {
    /// The entry, of whatever kind, dead or not.
    pub fn entry(&self) -> Option<AnyEntry<'k>> {
        match self {
            Self::Record(value) => Some(AnyEntry::record(value)),
            Self::Scopes(value) => Some(AnyEntry::scopes(value)),
            Self::List(value) => Some(AnyEntry::list(value)),
            Self::Cached(value) => Some(AnyEntry::cached(value)),
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

/// What an open key of the server's holds.
pub fn slot<'k>(key: &'k Key) -> Slot<'k> {
    let value = match key.held() {
        Held::Nothing => return Slot::Empty,
        Held::Other => return Slot::Foreign,
        Held::Value(value) => value,
    };
    if let Some(value) = value.of(&RECORDS) {
        Slot::Record(value)
    } else if let Some(value) = value.of(&VALUES) {
        Slot::Cached(value)
    } else if let Some(value) = value.of(&USAGE) {
        Slot::Usage(value)
    } else if let Some(value) = value.of(&SCOPES) {
        Slot::Scopes(value)
    } else if let Some(value) = value.of(&LISTS) {
        Slot::List(value)
    } else {
        Slot::Foreign
    }
}

/// A name and what stands under it, open for reading, or for writing too.
pub struct OpenKey<'k, K = Key<'k>> {
    key: K,
    name: Name<'k>,
    lock: Lock<'k>,
}

/// Opens a key for reading.
pub fn read<'k>(ctx: &'k mut Ctx, name: Name<'k>) -> OpenKey<'k> {
    let lock = ctx.lock();
    OpenKey { key: ctx.open(name), name, lock }
}

/// Opens a key for reading, and leaves its idle time and frequency, by which the server evicts, as they are.
pub fn look<'k>(ctx: &'k mut Ctx, name: Name<'k>) -> OpenKey<'k> {
    let lock = ctx.lock();
    OpenKey { key: ctx.look(name), name, lock }
}

/// Opens a key for reading and writing.
pub fn write<'k>(ctx: &'k mut Ctx, name: Name<'k>) -> OpenKey<'k, KeyMut<'k>> {
    let lock = ctx.lock();
    OpenKey { key: ctx.open_mut(name), name, lock }
}

impl<'k, K: AsRef<Key<'k>>> OpenKey<'k, K> {
    pub fn slot(&self) -> Slot<'_> {
        slot(self.key.as_ref())
    }

    /// The context, to ask the server by.
    pub fn ctx(&self) -> &Ctx<'k> {
        self.key.as_ref().ctx()
    }

    /// The entry of a kind under the name, dead or not; an error where something else is.
    pub fn entry<E: EntryKind>(&self) -> Result<Option<&E::Value>> {
        self.key.as_ref().get(E::handle())
    }

    /// The entry of a kind under the name if it is alive; an error where something else is.
    pub fn live<E: EntryKind>(&self) -> Result<Option<&E::Value>> {
        let lives = |value: &&E::Value| match standing(self.lock, E::life(value)) {
            Standing::Alive => true,
            standing => !E::any(value).is_dead(standing),
        };
        Ok(self.entry::<E>()?.filter(lives))
    }

    /// The entry of any kind under the name if it is alive; an error where something else is.
    pub fn live_entry(&self) -> Result<Option<AnyEntry<'_>>> {
        match self.slot() {
            Slot::Empty => Ok(None),
            slot => match slot.entry() {
                Some(any) => Ok(Some(any).filter(|any| !is_dead(self.lock, any))),
                None => Err(Error::WRONG_TYPE),
            },
        }
    }

    /// The counter under the name; an error where something else is.
    pub fn usage(&self) -> Result<Option<&UsageValue>> {
        self.key.as_ref().get(&USAGE)
    }

    pub fn expires_at(&self) -> Option<i64> {
        self.key.as_ref().expires_at()
    }
}

impl<'k> OpenKey<'k, KeyMut<'k>> {
    /// Stores an entry under the name, in place of what stood there, with its expiry.
    pub fn store_entry<E: EntryKind>(
        &mut self,
        value: Box<E::Value>,
        expires_at: Option<i64>,
        now: i64,
    ) -> Result<()> {
        let database = self.key.ctx().database();
        let (has_room, is_loading) =
            state::with(self.lock, |state| (state.has_room(database), state.trust.is_loading()));
        if !has_room {
            return Err(Error::err("the tag index is full"));
        }
        if !is_loading {
            E::life(&value).stored(now);
        }
        if migrations::is_coming(self.lock, self.name.bytes()) {
            E::life(&value).stamp_dead();
        }
        // The old entry's place in the index is taken over before the server lets go of the entry, which
        // then has none to leave: a walk over a tag that both carry meets the name all the time.
        let taken = self.slot().entry().map(|old| {
            let link = &old.life.link;
            let (site, place) = (link.site(), link.place());
            link.clear();
            let is_stamped = old.life.is_stamped_dead();
            (site, place, Counted::of(&old.entry, is_stamped, self.name.bytes()))
        });
        if let Err(refused) = self.key.set(E::handle(), value, expires_at) {
            if let (Some((site, place, _)), Some(link)) = (taken, self.slot().link()) {
                link.set(site, place);
            }
            return Err(refused.into());
        }
        if let Some(any) = self.slot().entry() {
            let name = self.name.bytes();
            state::with(self.lock, |state| {
                state.stats.stored_entries += u64::from(!is_loading);
                match taken {
                    Some((1.., place, before)) => {
                        state.exchange_entry(database, name, (before, place), any);
                    }
                    _ => state.add_entry(database, name, any),
                }
            });
        }
        self.key.signal_modified();
        Ok(())
    }

    /// Stores a counter under the name, in place of what stood there, with its expiry.
    pub fn store_usage(
        &mut self,
        counter: Counter,
        leases: Leases,
        mut account: Account,
        expires_at: Option<i64>,
    ) -> Result<()> {
        let database = self.key.ctx().database();
        if !state::with(self.lock, |state| state.has_room(database)) {
            return Err(Error::err("the tag index is full"));
        }
        let leases = match migrations::is_coming(self.lock, self.name.bytes()) {
            true => leases.apart(),
            false => leases,
        };
        state::with(self.lock, |state| account.share(&mut state.known));
        self.key.set(&USAGE, UsageValue::new(counter, leases, account), expires_at)?;
        if let Slot::Usage(value) = self.slot() {
            let name = self.name.bytes();
            state::with(self.lock, |state| state.add_counter(database, name, value));
        }
        self.key.signal_modified();
        Ok(())
    }

    /// Puts another count into the counter under the name, where `change` makes one; returns what it does, or
    /// `None` where no counter is. An error where something else is.
    pub fn count<T>(
        &mut self,
        change: impl FnOnce(&mut Counter) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.key.get_mut(&USAGE)? else { return Ok(None) };
        let mut counter = value.counter;
        let done = change(&mut counter)?;
        if counter != value.counter {
            state::with(self.lock, |state| state.count(self.name, value, counter));
            self.key.signal_modified();
        }
        Ok(Some(done))
    }

    /// Decides what becomes of the counter under the name, a new one where nothing is, and puts that; returns what else
    /// was decided. An error where something else is.
    pub fn change<T>(
        &mut self,
        decide: impl FnOnce(&Counter, &Account) -> Result<(Option<Change>, T)>,
    ) -> Result<T> {
        let Some(value) = self.key.get_mut(&USAGE)? else {
            let (change, done) = decide(&Counter::default(), Account::NONE)?;
            if let Some(change) = change {
                let (counter, mut account) = (change.counter, Account::default());
                change.put(&mut account);
                self.store_usage(counter, Leases::default(), account, None)?;
            }
            return Ok(done);
        };
        let (change, done) = decide(&value.counter, value.account())?;
        if let Some(change) = change {
            let counter = change.counter;
            if !change.is_of_counts() {
                change.put(value.account_mut());
            }
            if counter != value.counter {
                state::with(self.lock, |state| state.count(self.name, value, counter));
            }
            self.key.signal_modified();
        }
        Ok(done)
    }

    /// Moves what the counter under the name has pending into a batch, and returns how much that is, and when the
    /// counter was used last; `None` where nothing is, or nothing can be.
    pub fn lease_usage(&mut self, batch: Id, line: Id, terms: Terms) -> Option<(i64, i64)> {
        self.change_usage(|counter, leases| {
            let count = leases.lease(counter, batch, line, terms)?;
            Some((count, counter.last_used_at()))
        })
    }

    /// Takes the line that the counter under the name has in a batch away for good.
    pub fn settle_usage(&mut self, batch: Id) -> Option<Lease> {
        let line = self.change_usage(|_, leases| leases.settle(batch))?;
        state::with(self.lock, |state| add_uses(&mut state.stats.settled_uses, line.count));
        Some(line)
    }

    /// Removes the entry under the name, if it is dead, or if it may be live.
    fn unlink(self, at_most: Removed) -> Removed {
        let removed = match self.slot().entry() {
            Some(any) if is_dead(self.lock, &any) => Removed::Dead,
            Some(_) => Removed::Live,
            None => Removed::Nothing,
        };
        let is_to_go = removed != Removed::Nothing && removed <= at_most;
        if is_to_go && self.key.unlink() {
            removed
        } else {
            Removed::Nothing
        }
    }

    fn change_usage<T>(
        &mut self,
        change: impl FnOnce(&mut Counter, &mut Leases) -> Option<T>,
    ) -> Option<T> {
        let value = self.key.get_mut(&USAGE).ok().flatten()?;
        let mut counter = value.counter;
        let mut leases = value.leases().clone();
        let done = change(&mut counter, &mut leases)?;
        let name = self.name.bytes();
        state::with(self.lock, |state| state.change_counter(name, value, counter, leases));
        self.key.signal_modified();
        Some(done)
    }
}

/// Whether an entry waits for its end: every read takes it for nothing.
pub fn is_dead(lock: Lock, any: &AnyEntry) -> bool {
    any.is_dead(standing(lock, any.life))
}

/// What has become of an entry by invalidations.
pub fn standing(lock: Lock, life: &Life) -> Standing {
    state::with(lock, |state| state.standing(life))
}

/// What became of a key that was to be removed.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Removed {
    /// There is no entry under the name, or none that is to go.
    Nothing,
    Dead,
    Live,
}

/// Removes the entry under a name of the selected database. Nobody is [told](tell_of_removed) yet.
pub fn unlink_entry(ctx: &mut Ctx, name: Name) -> Removed {
    write(ctx, name).unlink(Removed::Live)
}

/// The same, if the entry is dead.
pub fn reclaim_entry(ctx: &mut Ctx, name: Name) -> Removed {
    write(ctx, name).unlink(Removed::Dead)
}

/// Removes what is under a name of the selected database, if it is a value of a region's of which `is` says so. Nobody is told yet.
pub fn unlink_cached(ctx: &mut Ctx, name: Name, is: impl FnOnce(&Cached) -> bool) -> Removed {
    let key = write(ctx, name);
    match key.slot() {
        Slot::Cached(value) if is(&cached(value)) => key.unlink(Removed::Live),
        _ => Removed::Nothing,
    }
}

/// Tells of entries that were removed, as DEL does. Another module may write then, which replicas and the AOF
/// have to get behind the removal: so that has been replicated before.
pub fn tell_of_removed<'n>(ctx: &mut Ctx, names: impl IntoIterator<Item = Name<'n>>) {
    for name in names {
        ctx.notify(Class::Generic, c"del", name);
    }
}

/// How a key has come by itself. An entry that was not stored here, under this name, is dead unless it was loaded.
#[derive(Clone, Copy, PartialEq)]
pub enum Coming {
    Loaded,
    /// From another name or database of this node: renamed, copied or moved.
    FromHere,
    /// From anywhere: what is leased of a counter comes [apart](Leases::apart).
    Restored,
}

/// A key has come by itself. What the index has already stays as it is.
pub fn arrived(ctx: &mut Ctx, name: Name, coming: Coming) {
    let lock = ctx.lock();
    let key = ctx.look(name);
    let database = key.database();
    let slot = slot(&key);
    if slot.link().is_none_or(Link::is_set) {
        return;
    }
    match (slot.entry(), slot, coming) {
        (Some(any), _, Coming::Loaded) => {
            state::load_entry(lock, database, name.bytes(), any);
        }
        (Some(any), _, Coming::FromHere | Coming::Restored) => {
            any.life.stamp_dead();
            state::with(lock, |state| state.add_entry(database, name.bytes(), any));
        }
        (None, Slot::Usage(value), Coming::Loaded) => {
            state::load_counter(lock, database, name.bytes(), value);
        }
        (None, Slot::Usage(value), Coming::Restored) if !value.leases().is_empty() => {
            drop(key);
            let mut key = ctx.open_mut(name);
            if let Ok(Some(value)) = key.get_mut(&USAGE) {
                value.set_leases(value.leases().apart());
                state::with(lock, |state| state.add_counter(database, name.bytes(), value));
            }
        }
        (None, Slot::Usage(value), Coming::FromHere | Coming::Restored) => {
            state::with(lock, |state| state.add_counter(database, name.bytes(), value));
        }
        _ => {}
    }
}
