//! Values as keys hold them: what the engine made, and where the index has it.
//!
//! A value belongs to its key; the server frees it, perhaps on another thread, where nothing but the
//! value itself may be touched. All else happens under the server's global lock, and through shared
//! references: what changes is in cells.

use apikey_engine::decisions::Decisions;
use apikey_engine::entry::{Entry, Kind};
use apikey_engine::lease::Leases;
use apikey_engine::list::List;
use apikey_engine::record::Record;
use apikey_engine::segments::Place;
use apikey_engine::usage::Counter;
use std::alloc::{alloc, handle_alloc_error, Layout};
use std::cell::Cell;
use std::ffi::c_void;

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
    fn new(dead: bool) -> Self {
        let era = if dead { NEVER } else { Era::MAX };
        Self { link: Link::default(), era: Cell::new(era), stored_at: Cell::new(0) }
    }

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
#[repr(C)]
pub struct EntryValue<E: ?Sized> {
    pub life: Life,
    pub entry: E,
}

/// A record as it is stored: its bytes behind their number, so that one allocation has all of it and a
/// pointer of one word is enough to find it.
#[derive(Debug)]
#[repr(C)]
pub struct StoredRecord {
    len: u32,
    bytes: [u8],
}

impl StoredRecord {
    pub fn record(&self) -> Record<'_> {
        Record::stored(&self.bytes)
    }
}

/// What a key of the type `apikeyrec` holds.
pub type RecordValue = EntryValue<StoredRecord>;

/// What a key of the type `apikeyscp` holds.
pub type ScopesValue = EntryValue<Decisions>;

/// What a key of the type `apikeylst` holds.
pub type ListValue = EntryValue<List>;

/// All of a [`RecordValue`] but the bytes.
#[repr(C)]
struct RecordFront {
    life: Life,
    len: u32,
}

impl RecordValue {
    pub fn of(record: &Record, dead: bool) -> Box<Self> {
        let bytes = record.bytes();
        // A record has a few megabytes at most.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let bytes = bytes.get(..len as usize).unwrap_or_default();
        let size = size_of::<RecordFront>() + bytes.len();
        let Ok(layout) = Layout::from_size_align(size, align_of::<RecordFront>()) else {
            panic!("a record is larger than memory");
        };
        let layout = layout.pad_to_align();
        // SAFETY: the layout is that of this type with so many bytes: both structures are C's, the front
        // has the type's alignment and no padding behind it. All of it is written before it is used. The
        // number of bytes is the fat pointer's second half, for a structure that ends with them.
        unsafe {
            let start = alloc(layout);
            if start.is_null() {
                handle_alloc_error(layout);
            }
            start.cast::<RecordFront>().write(RecordFront { life: Life::new(dead), len });
            let behind = start.add(size_of::<RecordFront>());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), behind, bytes.len());
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, bytes.len()) as *mut Self)
        }
    }

    /// # Safety
    /// A pointer that [`Thin::into_raw`] made of such a value.
    unsafe fn fat(value: *const c_void) -> *const Self {
        // Not by a reference to the front, which would be to the front alone.
        let len = (&raw const (*value.cast::<RecordFront>()).len).read();
        std::ptr::slice_from_raw_parts(value.cast::<u8>(), len as usize) as *const Self
    }
}

const _: () = assert!(size_of::<RecordFront>() == 20 && align_of::<RecordFront>() == 4);

/// A value as its key has it: by a pointer of one word.
pub trait Thin {
    fn into_raw(self: Box<Self>) -> *mut c_void;

    /// # Safety
    /// A pointer that `into_raw` made of a value of this type, which lives for `'v`.
    unsafe fn borrow<'v>(value: *const c_void) -> &'v Self;

    /// # Safety
    /// A pointer that `into_raw` made of a value of this type, and that nobody uses afterwards.
    unsafe fn from_raw(value: *mut c_void) -> Box<Self>;
}

impl Thin for RecordValue {
    fn into_raw(self: Box<Self>) -> *mut c_void {
        Box::into_raw(self).cast()
    }

    unsafe fn borrow<'v>(value: *const c_void) -> &'v Self {
        &*Self::fat(value)
    }

    unsafe fn from_raw(value: *mut c_void) -> Box<Self> {
        Box::from_raw(Self::fat(value).cast_mut())
    }
}

impl<E> Thin for EntryValue<E> {
    fn into_raw(self: Box<Self>) -> *mut c_void {
        Box::into_raw(self).cast()
    }

    unsafe fn borrow<'v>(value: *const c_void) -> &'v Self {
        &*value.cast()
    }

    unsafe fn from_raw(value: *mut c_void) -> Box<Self> {
        Box::from_raw(value.cast())
    }
}

impl Thin for UsageValue {
    fn into_raw(self: Box<Self>) -> *mut c_void {
        Box::into_raw(self).cast()
    }

    unsafe fn borrow<'v>(value: *const c_void) -> &'v Self {
        &*value.cast()
    }

    unsafe fn from_raw(value: *mut c_void) -> Box<Self> {
        Box::from_raw(value.cast())
    }
}

impl<E> EntryValue<E> {
    pub fn new(entry: E, dead: bool) -> Box<Self> {
        Box::new(Self { life: Life::new(dead), entry })
    }
}

/// An entry of whatever kind.
pub struct AnyEntry<'v> {
    pub entry: Content<'v>,
    pub life: &'v Life,
    /// That the value takes.
    pub bytes: usize,
}

/// What an entry holds.
pub enum Content<'v> {
    Record(Record<'v>),
    Scopes(&'v Decisions),
    List(&'v List),
}

impl Content<'_> {
    fn as_entry(&self) -> &dyn Entry {
        match self {
            Self::Record(record) => record,
            Self::Scopes(decisions) => *decisions,
            Self::List(list) => *list,
        }
    }
}

impl Entry for Content<'_> {
    fn kind(&self) -> Kind {
        self.as_entry().kind()
    }

    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        self.as_entry().each_tag(each);
    }

    fn tag_count(&self) -> usize {
        self.as_entry().tag_count()
    }
}

impl RecordValue {
    pub fn any(&self) -> AnyEntry<'_> {
        let entry = Content::Record(self.entry.record());
        AnyEntry { entry, life: &self.life, bytes: size_of_val(self) }
    }
}

impl ScopesValue {
    pub fn any(&self) -> AnyEntry<'_> {
        let bytes = size_of_val(self) + self.entry.heap_bytes();
        AnyEntry { entry: Content::Scopes(&self.entry), life: &self.life, bytes }
    }
}

impl ListValue {
    pub fn any(&self) -> AnyEntry<'_> {
        let bytes = size_of_val(self) + self.entry.heap_bytes();
        AnyEntry { entry: Content::List(&self.entry), life: &self.life, bytes }
    }
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
    pub fn new(counter: Counter, leases: Leases) -> Box<Self> {
        let value =
            Self { counter: Cell::new(counter), leases: Cell::default(), link: Link::default() };
        value.set_leases(leases);
        Box::new(value)
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

    /// That the value takes.
    pub fn bytes(&self) -> usize {
        let leases = self.with_leases(|leases| match leases.is_empty() {
            true => 0,
            false => size_of::<Leases>() + leases.heap_bytes(),
        });
        size_of_val(self) + leases
    }
}
