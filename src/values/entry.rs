//! Entries as keys hold them: a record, scope decisions, a list, a value of a region's.

use super::life::{Life, Standing};
use apikey_engine::answers::decisions::Decisions;
use apikey_engine::answers::list::List;
use apikey_engine::cache::value::Cached;
use apikey_engine::entry::kind::{Entry, Kind, RegionOf};
use apikey_engine::record::layout::Record;
use host::WithBytes;

/// What a key of the type `apikeyrec` holds: a record's bytes behind its life, in one allocation.
pub type RecordValue = WithBytes<Life>;

/// What a key of the type `cache-val` holds, likewise.
pub type CachedValue = WithBytes<Life>;

/// What a key of the other types of entries holds.
#[derive(Debug)]
pub struct EntryValue<E> {
    pub life: Life,
    pub entry: E,
}

/// What a key of the type `apikeyscp` holds.
pub type ScopesValue = EntryValue<Decisions>;

/// What a key of the type `apikeylst` holds.
pub type ListValue = EntryValue<List>;

impl<E> EntryValue<E> {
    pub fn new(entry: E, dead: bool) -> Box<Self> {
        Box::new(Self { life: Life::new(dead), entry })
    }
}

/// The value of a record.
pub fn of_record(record: &Record, dead: bool) -> Box<RecordValue> {
    WithBytes::new(Life::new(dead), record.bytes())
}

/// The record of a value.
pub fn record(value: &RecordValue) -> Record<'_> {
    Record::stored(value.bytes())
}

/// The value of what belongs to a region.
pub fn of_cached(cached: &Cached, dead: bool) -> Box<CachedValue> {
    WithBytes::new(Life::new(dead), cached.bytes())
}

/// What that value takes.
pub fn bytes_of_cached(cached: &Cached) -> usize {
    CachedValue::size_of(cached.bytes().len())
}

/// What belongs to a region.
#[inline]
pub fn cached(value: &CachedValue) -> Cached<'_> {
    Cached::stored(value.bytes())
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
    /// And what the value takes.
    Cached(Cached<'v>, usize),
}

impl Content<'_> {
    fn as_entry(&self) -> &dyn Entry {
        match self {
            Self::Record(record) => record,
            Self::Scopes(decisions) => *decisions,
            Self::List(list) => *list,
            Self::Cached(cached, _) => cached,
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

    fn outlives_soft(&self) -> bool {
        self.as_entry().outlives_soft()
    }

    fn region(&self) -> Option<RegionOf<'_>> {
        match self {
            Self::Cached(cached, bytes) => {
                Some(RegionOf { bytes: *bytes, ..Entry::region(cached)? })
            }
            _ => None,
        }
    }
}

impl<'v> AnyEntry<'v> {
    /// Whether it is dead, where it stands so.
    pub fn is_dead(&self, standing: Standing) -> bool {
        match standing {
            Standing::Alive => false,
            Standing::Softened => !self.entry.outlives_soft(),
            Standing::Dead => true,
        }
    }

    pub fn record(value: &'v RecordValue) -> Self {
        let entry = Content::Record(record(value));
        Self { entry, life: &value.head, bytes: size_of_val(value) }
    }

    pub fn cached(value: &'v CachedValue) -> Self {
        let bytes = size_of_val(value);
        Self { entry: Content::Cached(cached(value), bytes), life: &value.head, bytes }
    }

    pub fn scopes(value: &'v ScopesValue) -> Self {
        let bytes = size_of_val(value) + value.entry.heap_bytes();
        Self { entry: Content::Scopes(&value.entry), life: &value.life, bytes }
    }

    pub fn list(value: &'v ListValue) -> Self {
        let bytes = size_of_val(value) + value.entry.heap_bytes();
        Self { entry: Content::List(&value.entry), life: &value.life, bytes }
    }
}
