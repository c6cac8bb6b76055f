//! The types of entries: `apikeyrec`, `apikeyscp`, `apikeylst` and `cache-val`.

use crate::defrag::Server;
use crate::state;
use crate::stream::apply;
use crate::values::entry::{
    cached, of_cached, of_record, record, AnyEntry, CachedValue, EntryValue, ListValue,
    RecordValue, ScopesValue,
};
use crate::values::life::{Life, Standing};
use apikey_engine::codec::value::{
    decode, encode_cached, encode_list, encode_record, encode_scopes, Origin, Value,
};
use apikey_engine::codec::version::{OLDEST, VERSION};
use apikey_engine::entry::kind::Entry;
use host::defrag::Mover;
use host::key::data_type::DataType;
use host::key::handle::Handle;
use host::key::stream::{Digest, Load, Rewrite, Save};
use host::key::thin::Thin;
use host::{log, Level, Lock};
use std::ffi::{c_int, CStr};
use std::marker::PhantomData;

/// The version that the server keeps beside an entry: that of all that this node says
/// ([`apikey_engine::codec::version`]); the bytes of each kind have their own.
const ENCODING: c_int = VERSION as c_int;

/// The oldest that is read.
pub const OLDEST_ENCODING: c_int = OLDEST as c_int;

/// A kind of entry: each has a type of its own.
pub trait EntryKind: Sized + 'static {
    type Value: Thin + Send + ?Sized;

    const NAME: &'static CStr;

    fn handle() -> &'static Handle<Entries<Self>>;

    /// The value, where it is of this kind.
    fn decoded(value: Value) -> Option<Box<Self::Value>>;

    fn encode(value: &Self::Value, standing: Standing) -> Vec<u8>;

    /// A copy. An entry lives only where it was stored: this one is dead.
    fn copied(value: &Self::Value) -> Box<Self::Value>;

    fn life(value: &Self::Value) -> &Life;

    fn any(value: &Self::Value) -> AnyEntry<'_>;

    /// Hands over what the value has allocated.
    fn defrag(value: &mut Self::Value, to: &mut Server);
}

/// The data type of a kind of entry.
pub struct Entries<K>(PhantomData<K>);

pub static RECORDS: Handle<Entries<Records>> = Handle::new();
pub static SCOPES: Handle<Entries<Scopes>> = Handle::new();
pub static LISTS: Handle<Entries<Lists>> = Handle::new();
pub static VALUES: Handle<Entries<Values>> = Handle::new();

pub struct Records;

impl EntryKind for Records {
    type Value = RecordValue;

    const NAME: &'static CStr = c"apikeyrec";

    fn handle() -> &'static Handle<Entries<Self>> {
        &RECORDS
    }

    fn decoded(value: Value) -> Option<Box<RecordValue>> {
        match value {
            Value::Record { record, dead } => Some(of_record(&record, dead)),
            _ => None,
        }
    }

    fn encode(value: &RecordValue, standing: Standing) -> Vec<u8> {
        encode_record(&record(value), standing != Standing::Alive)
    }

    fn copied(value: &RecordValue) -> Box<RecordValue> {
        of_record(&record(value), true)
    }

    fn life(value: &RecordValue) -> &Life {
        &value.head
    }

    fn any(value: &RecordValue) -> AnyEntry<'_> {
        AnyEntry::record(value)
    }

    /// It is one allocation.
    fn defrag(_: &mut RecordValue, _: &mut Server) {}
}

pub struct Scopes;

impl EntryKind for Scopes {
    type Value = ScopesValue;

    const NAME: &'static CStr = c"apikeyscp";

    fn handle() -> &'static Handle<Entries<Self>> {
        &SCOPES
    }

    fn decoded(value: Value) -> Option<Box<ScopesValue>> {
        match value {
            Value::Scopes { decisions, dead } => Some(EntryValue::new(decisions, dead)),
            _ => None,
        }
    }

    fn encode(value: &ScopesValue, standing: Standing) -> Vec<u8> {
        encode_scopes(&value.entry, standing != Standing::Alive)
    }

    fn copied(value: &ScopesValue) -> Box<ScopesValue> {
        EntryValue::new(value.entry.clone(), true)
    }

    fn life(value: &ScopesValue) -> &Life {
        &value.life
    }

    fn any(value: &ScopesValue) -> AnyEntry<'_> {
        AnyEntry::scopes(value)
    }

    fn defrag(value: &mut ScopesValue, to: &mut Server) {
        value.entry.defrag(to);
    }
}

pub struct Lists;

impl EntryKind for Lists {
    type Value = ListValue;

    const NAME: &'static CStr = c"apikeylst";

    fn handle() -> &'static Handle<Entries<Self>> {
        &LISTS
    }

    fn decoded(value: Value) -> Option<Box<ListValue>> {
        match value {
            Value::List { list, dead } => Some(EntryValue::new(list, dead)),
            _ => None,
        }
    }

    fn encode(value: &ListValue, standing: Standing) -> Vec<u8> {
        encode_list(&value.entry, standing != Standing::Alive)
    }

    fn copied(value: &ListValue) -> Box<ListValue> {
        EntryValue::new(value.entry.clone(), true)
    }

    fn life(value: &ListValue) -> &Life {
        &value.life
    }

    fn any(value: &ListValue) -> AnyEntry<'_> {
        AnyEntry::list(value)
    }

    fn defrag(value: &mut ListValue, to: &mut Server) {
        value.entry.defrag(to);
    }
}

pub struct Values;

impl EntryKind for Values {
    type Value = CachedValue;

    // The server wants nine characters.
    const NAME: &'static CStr = c"cache-val";

    fn handle() -> &'static Handle<Entries<Self>> {
        &VALUES
    }

    fn decoded(value: Value) -> Option<Box<CachedValue>> {
        match value {
            Value::Cached { cached, dead } => Some(of_cached(&cached, dead)),
            _ => None,
        }
    }

    fn encode(value: &CachedValue, standing: Standing) -> Vec<u8> {
        let cached = cached(value);
        match standing {
            Standing::Softened if cached.outlives_soft() => {
                encode_cached(&cached.softened(), false)
            }
            standing => encode_cached(&cached, standing != Standing::Alive),
        }
    }

    fn copied(value: &CachedValue) -> Box<CachedValue> {
        of_cached(&cached(value), true)
    }

    fn life(value: &CachedValue) -> &Life {
        &value.head
    }

    fn any(value: &CachedValue) -> AnyEntry<'_> {
        AnyEntry::cached(value)
    }

    fn defrag(_: &mut CachedValue, _: &mut Server) {}
}

/// Makes something of a value of this module's, from an RDB or from what somebody sends to RESTORE.
pub(super) fn load<T>(
    lock: Lock,
    from: &mut Load,
    make: impl FnOnce(Value) -> Option<T>,
) -> Option<T> {
    let bytes = from.bytes()?;
    let origin = if state::is_loading(lock) { Origin::Server } else { Origin::Anyone };
    match decode(&bytes, origin) {
        Ok(value) => make(value),
        Err(bad) => {
            log(Level::Warning, &format!("a value can't be loaded: {}", bad.0));
            None
        }
    }
}

fn encode<K: EntryKind>(lock: Lock, value: &K::Value) -> Vec<u8> {
    K::encode(value, state::with(lock, |state| state.standing(K::life(value))))
}

impl<K: EntryKind> DataType for Entries<K> {
    type Value = K::Value;

    const NAME: &'static CStr = K::NAME;

    const ENCODING: c_int = ENCODING;

    const OLDEST_ENCODING: c_int = OLDEST_ENCODING;

    fn load(lock: Lock, from: &mut Load) -> Option<Box<K::Value>> {
        load(lock, from, K::decoded)
    }

    fn loaded(lock: Lock, value: &K::Value, database: i32, name: &[u8]) {
        state::load_entry(lock, database, name, K::any(value));
    }

    fn save(lock: Lock, value: &K::Value, into: &mut Save) {
        into.bytes(&encode::<K>(lock, value));
    }

    /// The dead as well: their names are taken, which later commands of the AOF may rest on.
    fn rewrite(lock: Lock, value: &K::Value, into: &mut Rewrite) {
        apply::rewrite(into, &encode::<K>(lock, value));
    }

    fn copy(_: Lock, value: &K::Value) -> Option<Box<K::Value>> {
        Some(K::copied(value))
    }

    fn unlinked(lock: Lock, value: &mut K::Value, name: &[u8]) {
        state::with(lock, |state| state.remove_entry(name, K::any(value)));
    }

    fn defrag(_: Lock, value: &mut K::Value, mover: &mut Mover) {
        K::defrag(value, &mut Server(mover));
    }

    fn digest(lock: Lock, value: &K::Value, into: &mut Digest) {
        into.bytes(&encode::<K>(lock, value));
    }

    fn bytes(value: &K::Value) -> usize {
        K::any(value).bytes
    }
}
