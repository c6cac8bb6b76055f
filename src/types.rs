//! The native data types `apikeyrec`, `apikeyscp`, `apikeylst` and `apikeyuse`: how the server saves, loads, copies and frees
//! their values.
//!
//! Version 3 of the methods, which all supported servers know. `unlink` sees every removal of one key
//! and finds the value's place in the index by the value itself. `free` may run
//! on another thread and touches nothing but the value.

use crate::ffi::{log, Ctx, DataType, Digest, Io, Level, Name, Refused};
use crate::guard;
use crate::keyspace::Slot;
use crate::state;
use crate::value::{
    AnyEntry, EntryValue, ListValue, RecordValue, ScopesValue, StoredRecord, Thin, UsageValue,
};
use apikey_engine::codec::{self, Origin, Value};
use apikey_engine::decisions::Decisions;
use apikey_engine::lease::Leases;
use apikey_engine::list::List;
use apikey_engine::usage::Counter;
use redis_module::raw;
use std::ffi::{c_int, c_void, CStr};
use std::ptr::null_mut;
use std::sync::OnceLock;

const RECORD_NAME: &CStr = c"apikeyrec";
const SCOPES_NAME: &CStr = c"apikeyscp";
const LIST_NAME: &CStr = c"apikeylst";
const USAGE_NAME: &CStr = c"apikeyuse";

/// The version of the encoding that the server keeps beside a value; the codec has its own.
const ENCODING: c_int = 1;

static RECORD: OnceLock<DataType> = OnceLock::new();
static SCOPES: OnceLock<DataType> = OnceLock::new();
static LIST: OnceLock<DataType> = OnceLock::new();
static USAGE: OnceLock<DataType> = OnceLock::new();

/// The type of records. Called only when the module is loaded.
pub fn record() -> DataType {
    *RECORD.get().unwrap_or_else(|| panic!("no data types before the load"))
}

/// The type of scope decisions.
pub fn scopes() -> DataType {
    *SCOPES.get().unwrap_or_else(|| panic!("no data types before the load"))
}

/// The type of lists.
pub fn list() -> DataType {
    *LIST.get().unwrap_or_else(|| panic!("no data types before the load"))
}

/// The type of usage counters.
pub fn usage() -> DataType {
    *USAGE.get().unwrap_or_else(|| panic!("no data types before the load"))
}

pub fn create(ctx: Ctx) -> Result<(), Refused> {
    create_one::<RecordValue>(ctx, RECORD_NAME, &RECORD)?;
    create_one::<ScopesValue>(ctx, SCOPES_NAME, &SCOPES)?;
    create_one::<ListValue>(ctx, LIST_NAME, &LIST)?;
    create_one::<UsageValue>(ctx, USAGE_NAME, &USAGE)
}

fn create_one<K: Kind + ?Sized>(
    ctx: Ctx,
    name: &CStr,
    into: &OnceLock<DataType>,
) -> Result<(), Refused> {
    let created = DataType::create(ctx, name, ENCODING, &mut methods::<K>())?;
    into.set(created).map_err(|_| Refused)
}

/// What the types do in their own ways.
trait Kind: Thin {
    fn decoded(value: Value) -> Option<Box<Self>>;
    fn encode(&self) -> Vec<u8>;
    fn copied(&self) -> Box<Self>;
    /// The key of this name has gone.
    fn unlink(&self, name: &[u8]);
    fn digest(&self, digest: Digest);
    fn bytes(&self) -> usize;
}

/// A kind of entry: each has a type of its own.
pub trait EntryKind {
    fn data_type() -> DataType;

    /// The value of this kind in a slot.
    fn of<'k>(slot: &Slot<'k>) -> Option<&'k EntryValue<Self>>;

    fn decoded(value: Value) -> Option<Box<EntryValue<Self>>>;

    fn encode(&self, dead: bool) -> Vec<u8>;

    /// A copy. An entry lives only where it was stored: this one is dead.
    fn copied(&self) -> Box<EntryValue<Self>>;

    fn any(value: &EntryValue<Self>) -> AnyEntry<'_>;
}

impl EntryKind for StoredRecord {
    fn data_type() -> DataType {
        record()
    }

    fn of<'k>(slot: &Slot<'k>) -> Option<&'k RecordValue> {
        match slot {
            Slot::Record(value) => Some(value),
            _ => None,
        }
    }

    fn decoded(value: Value) -> Option<Box<RecordValue>> {
        match value {
            Value::Record { record, dead } => Some(RecordValue::of(&record, dead)),
            _ => None,
        }
    }

    fn encode(&self, dead: bool) -> Vec<u8> {
        codec::encode_record(&self.record(), dead)
    }

    fn copied(&self) -> Box<RecordValue> {
        RecordValue::of(&self.record(), true)
    }

    fn any(value: &RecordValue) -> AnyEntry<'_> {
        value.any()
    }
}

impl EntryKind for Decisions {
    fn data_type() -> DataType {
        scopes()
    }

    fn of<'k>(slot: &Slot<'k>) -> Option<&'k ScopesValue> {
        match slot {
            Slot::Scopes(value) => Some(value),
            _ => None,
        }
    }

    fn decoded(value: Value) -> Option<Box<ScopesValue>> {
        match value {
            Value::Scopes { decisions, dead } => Some(EntryValue::new(decisions, dead)),
            _ => None,
        }
    }

    fn encode(&self, dead: bool) -> Vec<u8> {
        codec::encode_scopes(self, dead)
    }

    fn copied(&self) -> Box<ScopesValue> {
        EntryValue::new(self.clone(), true)
    }

    fn any(value: &ScopesValue) -> AnyEntry<'_> {
        value.any()
    }
}

impl EntryKind for List {
    fn data_type() -> DataType {
        list()
    }

    fn of<'k>(slot: &Slot<'k>) -> Option<&'k ListValue> {
        match slot {
            Slot::List(value) => Some(value),
            _ => None,
        }
    }

    fn decoded(value: Value) -> Option<Box<ListValue>> {
        match value {
            Value::List { list, dead } => Some(EntryValue::new(list, dead)),
            _ => None,
        }
    }

    fn encode(&self, dead: bool) -> Vec<u8> {
        codec::encode_list(self, dead)
    }

    fn copied(&self) -> Box<ListValue> {
        EntryValue::new(self.clone(), true)
    }

    fn any(value: &ListValue) -> AnyEntry<'_> {
        value.any()
    }
}

impl<E: EntryKind + ?Sized> Kind for EntryValue<E>
where
    Self: Thin,
{
    fn decoded(value: Value) -> Option<Box<Self>> {
        E::decoded(value)
    }

    fn encode(&self) -> Vec<u8> {
        self.entry.encode(state::with(|state| state.is_dead(&self.life)))
    }

    fn copied(&self) -> Box<Self> {
        self.entry.copied()
    }

    fn unlink(&self, name: &[u8]) {
        state::with(|state| state.remove_entry(name, E::any(self)));
    }

    fn digest(&self, digest: Digest) {
        digest.add(&self.encode());
    }

    fn bytes(&self) -> usize {
        E::any(self).bytes
    }
}

impl Kind for UsageValue {
    fn decoded(value: Value) -> Option<Box<Self>> {
        match value {
            Value::Usage(counter, leases) => Some(Self::new(counter, leases)),
            _ => None,
        }
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_usage(&self.counter.get(), &state::with(|state| state.leases(self)))
    }

    fn copied(&self) -> Box<Self> {
        // What was counted was counted once: the copy begins with nothing.
        Self::new(Counter::default(), Leases::default())
    }

    fn unlink(&self, name: &[u8]) {
        state::with(|state| state.remove_counter(name, self));
    }

    fn digest(&self, digest: Digest) {
        // Not last_used_at: each node has it by its own clock.
        let counter = self.counter.get();
        digest.add_number(counter.pending());
        digest.add_number(counter.total());
        digest.add_number(counter.first_used_at());
        for lease in state::with(|state| state.leases(self)).lines() {
            digest.add(&lease.batch.to_bytes());
            digest.add(&lease.line.to_bytes());
            digest.add_number(lease.count);
            digest.add_number(lease.terms.leased_at);
            digest.add_number(lease.terms.deadline);
        }
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

fn methods<K: Kind + ?Sized>() -> raw::RedisModuleTypeMethods {
    raw::RedisModuleTypeMethods {
        version: 3,
        rdb_load: Some(rdb_load::<K>),
        rdb_save: Some(rdb_save::<K>),
        aof_rewrite: Some(aof_rewrite::<K>),
        mem_usage: Some(mem_usage::<K>),
        digest: Some(digest::<K>),
        free: Some(free::<K>),
        aux_load: None,
        aux_save: None,
        aux_save_triggers: 0,
        free_effort: None,
        unlink: Some(unlink::<K>),
        copy: Some(copy::<K>),
        defrag: None,
        mem_usage2: None,
        free_effort2: None,
        unlink2: None,
        copy2: None,
        aux_save2: None,
    }
}

// SAFETY, for all callbacks below: the server calls them with a stream, a digest, names that are
// valid for the call, and with values that `into_raw` made of a K: methods::<K> is registered
// for the type of K alone. References to values are shared.

unsafe extern "C" fn rdb_load<K: Kind + ?Sized>(
    io: *mut raw::RedisModuleIO,
    encoding: c_int,
) -> *mut c_void {
    guard::run("rdb_load", null_mut(), || {
        if encoding != ENCODING {
            log(Level::Warning, "a value was written by a newer version of the module");
            return null_mut();
        }
        let Some(bytes) = Io::new(io).load() else { return null_mut() };
        let origin =
            if state::with(|state| state.is_loading) { Origin::Server } else { Origin::Anyone };
        let value = match codec::decode(bytes.bytes(), origin) {
            Ok(value) => K::decoded(value),
            Err(bad) => {
                log(Level::Warning, &format!("a value can't be loaded: {}", bad.0));
                None
            }
        };
        value.map_or(null_mut(), K::into_raw)
    })
}

unsafe extern "C" fn rdb_save<K: Kind + ?Sized>(io: *mut raw::RedisModuleIO, value: *mut c_void) {
    guard::run("rdb_save", (), || Io::new(io).save(&K::borrow(value).encode()));
}

unsafe extern "C" fn aof_rewrite<K: Kind + ?Sized>(
    io: *mut raw::RedisModuleIO,
    _key: *mut raw::RedisModuleString,
    value: *mut c_void,
) {
    guard::run("aof_rewrite", (), || {
        // The dead as well: their names are taken, which later commands of the AOF may rest on.
        Io::new(io).emit(crate::commands::apply::NAME, &K::borrow(value).encode());
    });
}

unsafe extern "C" fn mem_usage<K: Kind + ?Sized>(value: *const c_void) -> usize {
    guard::run("mem_usage", 0, || K::borrow(value).bytes())
}

unsafe extern "C" fn digest<K: Kind + ?Sized>(
    digest: *mut raw::RedisModuleDigest,
    value: *mut c_void,
) {
    guard::run("digest", (), || {
        let digest = Digest::new(digest);
        K::borrow(value).digest(digest);
        digest.end();
    });
}

unsafe extern "C" fn free<K: Kind + ?Sized>(value: *mut c_void) {
    guard::run("free", (), || drop(K::from_raw(value)));
}

unsafe extern "C" fn unlink<K: Kind + ?Sized>(
    key: *mut raw::RedisModuleString,
    value: *const c_void,
) {
    guard::run("unlink", (), || K::borrow(value).unlink(Name::new(key).bytes()));
}

unsafe extern "C" fn copy<K: Kind + ?Sized>(
    _from: *mut raw::RedisModuleString,
    _to: *mut raw::RedisModuleString,
    value: *const c_void,
) -> *mut c_void {
    guard::run("copy", null_mut(), || K::borrow(value).copied().into_raw())
}
