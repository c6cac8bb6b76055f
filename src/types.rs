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
use crate::value::{EntryValue, ListValue, RecordValue, ScopesValue, UsageValue};
use apikey_engine::codec::{self, Value};
use apikey_engine::decisions::Decisions;
use apikey_engine::entry::Entry;
use apikey_engine::lease::Leases;
use apikey_engine::list::List;
use apikey_engine::record::Record;
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

fn create_one<K: Kind>(ctx: Ctx, name: &CStr, into: &OnceLock<DataType>) -> Result<(), Refused> {
    let created = DataType::create(ctx, name, ENCODING, &mut methods::<K>())?;
    into.set(created).map_err(|_| Refused)
}

/// What the types do in their own ways.
trait Kind: Sized {
    fn decoded(value: Value) -> Option<Self>;
    fn encode(&self) -> Vec<u8>;
    fn copy(&self) -> Self;
    /// The key of this name has gone.
    fn unlink(&self, name: &[u8]);
    fn digest(&self, digest: Digest);
    fn heap_bytes(&self) -> usize;
}

/// A kind of entry: each has a type of its own.
pub trait EntryKind: Entry + Clone {
    fn data_type() -> DataType;

    /// The value of this kind in a slot.
    fn of<'k>(slot: &Slot<'k>) -> Option<&'k EntryValue<Self>>;

    /// An entry of this kind, and whether it is dead.
    fn decoded(value: Value) -> Option<(Self, bool)>;

    fn encode(&self, dead: bool) -> Vec<u8>;
}

impl EntryKind for Record {
    fn data_type() -> DataType {
        record()
    }

    fn of<'k>(slot: &Slot<'k>) -> Option<&'k RecordValue> {
        match slot {
            Slot::Record(value) => Some(value),
            _ => None,
        }
    }

    fn decoded(value: Value) -> Option<(Self, bool)> {
        match value {
            Value::Record { record, dead } => Some((record, dead)),
            _ => None,
        }
    }

    fn encode(&self, dead: bool) -> Vec<u8> {
        codec::encode_record(self, dead)
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

    fn decoded(value: Value) -> Option<(Self, bool)> {
        match value {
            Value::Scopes { decisions, dead } => Some((decisions, dead)),
            _ => None,
        }
    }

    fn encode(&self, dead: bool) -> Vec<u8> {
        codec::encode_scopes(self, dead)
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

    fn decoded(value: Value) -> Option<(Self, bool)> {
        match value {
            Value::List { list, dead } => Some((list, dead)),
            _ => None,
        }
    }

    fn encode(&self, dead: bool) -> Vec<u8> {
        codec::encode_list(self, dead)
    }
}

impl<E: EntryKind> Kind for EntryValue<E> {
    fn decoded(value: Value) -> Option<Self> {
        E::decoded(value).map(|(entry, dead)| Self::new(entry, dead))
    }

    fn encode(&self) -> Vec<u8> {
        self.entry.encode(state::with(|state| state.is_dead(&self.life)))
    }

    fn copy(&self) -> Self {
        // It lives only where it was stored.
        Self::new(self.entry.clone(), true)
    }

    fn unlink(&self, name: &[u8]) {
        state::with(|state| state.remove_entry(name, self.any()));
    }

    fn digest(&self, digest: Digest) {
        digest.add(&self.encode());
    }

    fn heap_bytes(&self) -> usize {
        self.entry.heap_bytes()
    }
}

impl Kind for UsageValue {
    fn decoded(value: Value) -> Option<Self> {
        match value {
            Value::Usage(counter, leases) => Some(Self::new(counter, leases)),
            _ => None,
        }
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode_usage(&self.counter.get(), &state::with(|state| state.leases(self)))
    }

    fn copy(&self) -> Self {
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

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

fn methods<K: Kind>() -> raw::RedisModuleTypeMethods {
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
// valid for the call, and with values that `into_raw` made of a box of K: methods::<K> is registered
// for the type of K alone. References to values are shared.

unsafe extern "C" fn rdb_load<K: Kind>(
    io: *mut raw::RedisModuleIO,
    encoding: c_int,
) -> *mut c_void {
    guard::run("rdb_load", null_mut(), || {
        if encoding != ENCODING {
            log(Level::Warning, "a value was written by a newer version of the module");
            return null_mut();
        }
        let Some(bytes) = Io::new(io).load() else { return null_mut() };
        let value = match codec::decode(&bytes) {
            Ok(value) => K::decoded(value),
            Err(bad) => {
                log(Level::Warning, &format!("a value can't be loaded: {}", bad.0));
                None
            }
        };
        value.map_or(null_mut(), |value| Box::into_raw(Box::new(value)).cast())
    })
}

unsafe extern "C" fn rdb_save<K: Kind>(io: *mut raw::RedisModuleIO, value: *mut c_void) {
    guard::run("rdb_save", (), || Io::new(io).save(&(*value.cast::<K>()).encode()));
}

unsafe extern "C" fn aof_rewrite<K: Kind>(
    io: *mut raw::RedisModuleIO,
    _key: *mut raw::RedisModuleString,
    value: *mut c_void,
) {
    guard::run("aof_rewrite", (), || {
        // The dead as well: their names are taken, which later commands of the AOF may rest on.
        Io::new(io).emit(crate::commands::apply::NAME, &(*value.cast::<K>()).encode());
    });
}

unsafe extern "C" fn mem_usage<K: Kind>(value: *const c_void) -> usize {
    guard::run("mem_usage", 0, || size_of::<K>() + (*value.cast::<K>()).heap_bytes())
}

unsafe extern "C" fn digest<K: Kind>(digest: *mut raw::RedisModuleDigest, value: *mut c_void) {
    guard::run("digest", (), || {
        let digest = Digest::new(digest);
        (*value.cast::<K>()).digest(digest);
        digest.end();
    });
}

unsafe extern "C" fn free<K: Kind>(value: *mut c_void) {
    guard::run("free", (), || drop(Box::from_raw(value.cast::<K>())));
}

unsafe extern "C" fn unlink<K: Kind>(key: *mut raw::RedisModuleString, value: *const c_void) {
    guard::run("unlink", (), || (*value.cast::<K>()).unlink(Name::new(key).bytes()));
}

unsafe extern "C" fn copy<K: Kind>(
    _from: *mut raw::RedisModuleString,
    _to: *mut raw::RedisModuleString,
    value: *const c_void,
) -> *mut c_void {
    guard::run("copy", null_mut(), || Box::into_raw(Box::new((*value.cast::<K>()).copy())).cast())
}
