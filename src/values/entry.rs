//! Entries as keys hold them: a record, scope decisions, a list.

use super::life::Life;
use apikey_engine::answers::decisions::Decisions;
use apikey_engine::answers::list::List;
use apikey_engine::entry::kind::{Entry, Kind};
use apikey_engine::record::layout::Record;
use host::WithBytes;

/// What a key of the type `apikeyrec` holds: a record's bytes behind its life, in one allocation.
pub type RecordValue = WithBytes<Life>;

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

impl<'v> AnyEntry<'v> {
    pub fn record(value: &'v RecordValue) -> Self {
        let entry = Content::Record(record(value));
        Self { entry, life: &value.head, bytes: size_of_val(value) }
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
