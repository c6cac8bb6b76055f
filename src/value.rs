//! Values as keys hold them: what the engine made, and where the index has it.
//!
//! A value belongs to its key; the server frees it, perhaps on another thread, where nothing but the
//! value itself may be touched. All else happens under the server's global lock, and through shared
//! references: what changes is in cells.

use apikey_engine::decisions::Decisions;
use apikey_engine::entry::Entry;
use apikey_engine::lease::Leases;
use apikey_engine::list::List;
use apikey_engine::record::Record;
use apikey_engine::segments::Place;
use apikey_engine::usage::Counter;
use std::cell::Cell;

/// The number of a [`crate::state::Region`], which is never given twice. 0 is none.
pub type RegionId = u32;

/// Where the index has a value. The database's number would not do: SWAPDB exchanges it.
#[derive(Debug, Default)]
pub struct Link {
    region: Cell<RegionId>,
    place: Cell<Option<NonMaxPlace>>,
}

/// A place + 1, so that `Option` costs nothing: the highest place is never used.
type NonMaxPlace = std::num::NonZeroU32;

impl Link {
    pub fn set(&self, region: RegionId, place: Option<Place>) {
        self.region.set(region);
        self.place.set(place.and_then(|place| NonMaxPlace::new(place.wrapping_add(1))));
    }

    pub fn clear(&self) {
        self.set(0, None);
    }

    /// Whether the index has the value.
    pub fn is_set(&self) -> bool {
        self.region.get() != 0
    }

    pub fn region(&self) -> RegionId {
        self.region.get()
    }

    pub fn place(&self) -> Option<Place> {
        self.place.get().map(|place| place.get() - 1)
    }
}

/// Counts how often all entries of a node have died at once; see [`crate::state::State::begin_era`].
pub type Era = u32;

/// Before all eras: the value is stamped dead.
const NEVER: Era = 0;

/// Where an entry lives, and whether it does.
#[derive(Debug)]
pub struct Life {
    pub link: Link,
    /// The one in which the value came to its name.
    era: Cell<Era>,
    /// Epoch seconds, until 2106; 0 is not known: the value was loaded. Each node has its own.
    stored_at: Cell<u32>,
}

impl Life {
    /// Notes that the value is stored now (epoch milliseconds).
    pub fn stored(&self, now: i64) {
        self.stored_at.set(u32::try_from(now.div_euclid(1000)).unwrap_or(0));
    }

    /// When the value was stored, in epoch milliseconds, to the second; `None` where that is not known.
    pub fn stored_at(&self) -> Option<i64> {
        Some(self.stored_at.get()).filter(|&at| at != 0).map(|at| i64::from(at) * 1000)
    }

    /// Whether the value is stamped dead. It can be dead without: [`crate::state::State::is_dead`].
    pub fn is_stamped_dead(&self) -> bool {
        self.era.get() == NEVER
    }

    /// There is no way back.
    pub fn stamp_dead(&self) {
        self.era.set(NEVER);
    }

    pub fn era(&self) -> Era {
        self.era.get()
    }

    /// The value has come to a name.
    pub fn enter(&self, era: Era) {
        if !self.is_stamped_dead() {
            self.era.set(era);
        }
    }
}

/// What a key holds that can be invalidated: an entry of one of the kinds.
#[derive(Debug)]
pub struct EntryValue<E> {
    pub entry: E,
    pub life: Life,
}

/// What a key of the type `apikeyrec` holds.
pub type RecordValue = EntryValue<Record>;

/// What a key of the type `apikeyscp` holds.
pub type ScopesValue = EntryValue<Decisions>;

/// What a key of the type `apikeylst` holds.
pub type ListValue = EntryValue<List>;

/// Allocators round up: one more byte would cost 16.
const _: () = assert!(size_of::<RecordValue>() <= 32);

impl<E: Entry> EntryValue<E> {
    pub fn new(entry: E, dead: bool) -> Self {
        let era = if dead { NEVER } else { Era::MAX };
        let (link, stored_at) = (Link::default(), Cell::new(0));
        Self { entry, life: Life { link, era: Cell::new(era), stored_at } }
    }

    pub fn any(&self) -> AnyEntry<'_> {
        AnyEntry { entry: &self.entry, life: &self.life }
    }
}

/// An entry of whatever kind.
#[derive(Clone, Copy)]
pub struct AnyEntry<'v> {
    pub entry: &'v dyn Entry,
    pub life: &'v Life,
}

/// What a key of the type `apikeyuse` holds.
pub struct UsageValue {
    pub counter: Cell<Counter>,
    /// None where nothing is leased, which is what most counters have.
    leases: Cell<Option<Box<Leases>>>,
    pub link: Link,
}

const _: () = assert!(size_of::<UsageValue>() <= 48);

impl UsageValue {
    pub fn new(counter: Counter, leases: Leases) -> Self {
        let value =
            Self { counter: Cell::new(counter), leases: Cell::default(), link: Link::default() };
        value.set_leases(leases);
        value
    }

    /// Lends a copy of the leases.
    pub fn with_leases<T>(&self, body: impl FnOnce(&Leases) -> T) -> T {
        // SAFETY: one thread at a time has the value (see the top of this file), and nobody can write
        // while it is copied. Looking must write nothing: a child that saves would have to copy the
        // page of each counter.
        body(&unsafe { (*self.leases.as_ptr()).as_deref().cloned() }.unwrap_or_default())
    }

    pub fn set_leases(&self, leases: Leases) {
        self.leases.set((!leases.is_empty()).then(|| Box::new(leases)));
    }

    /// Bytes that the value has allocated beside itself.
    pub fn heap_bytes(&self) -> usize {
        self.with_leases(|leases| match leases.is_empty() {
            true => 0,
            false => size_of::<Leases>() + leases.heap_bytes(),
        })
    }
}
