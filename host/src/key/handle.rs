//! The handle of a data type: how the server is told of its methods, and how its values are told from others.

use super::data_type::DataType;
use super::stream::{Digest, Load, Rewrite, Save};
use super::thin::Thin;
use crate::api::{api, Refused};
use crate::arrival;
use crate::defrag::Mover;
use crate::guard;
use crate::lock::Lock;
use crate::log::{log, Level};
use crate::strings::Name;
use redis_module::raw;
use std::alloc::Layout;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// What the server knows a data type by: a static of the module, registered at its load.
#[derive(Debug)]
pub struct Handle<T> {
    /// Null until it is registered.
    raw: AtomicPtr<raw::RedisModuleType>,
    of: PhantomData<fn() -> T>,
}

impl<T: DataType> Handle<T> {
    /// A handle, to be registered.
    #[allow(clippy::new_without_default)] // For a static.
    pub const fn new() -> Self {
        Self { raw: AtomicPtr::new(null_mut()), of: PhantomData }
    }

    /// Tells the server of the type.
    ///
    /// # Safety
    /// `ctx` is OnLoad's.
    pub(crate) unsafe fn register(&self, ctx: *mut raw::RedisModuleCtx) -> Result<(), Refused> {
        let mut methods = raw::RedisModuleTypeMethods {
            // Which all supported servers know.
            version: 3,
            rdb_load: Some(rdb_load::<T>),
            rdb_save: Some(rdb_save::<T>),
            aof_rewrite: Some(aof_rewrite::<T>),
            mem_usage: Some(mem_usage::<T>),
            digest: Some(digest::<T>),
            free: Some(free::<T>),
            aux_load: None,
            aux_save: None,
            aux_save_triggers: 0,
            free_effort: None,
            unlink: Some(unlink::<T>),
            copy: Some(copy::<T>),
            defrag: Some(defrag::<T>),
            mem_usage2: None,
            free_effort2: None,
            unlink2: None,
            copy2: None,
            aux_save2: None,
        };
        // SAFETY: the context is OnLoad's; the server copies name and methods, and keeps the type as long
        // as the module.
        let made = unsafe {
            api!(RedisModule_CreateDataType(ctx, T::NAME.as_ptr(), T::ENCODING, &mut methods))
        };
        if made.is_null() {
            return Err(Refused);
        }
        self.raw.store(made, Relaxed);
        Ok(())
    }

    /// Null where the type is not registered.
    pub(super) fn raw(&self) -> *mut raw::RedisModuleType {
        self.raw.load(Relaxed)
    }
}

// For all callbacks below: the server calls them with a stream, a digest, and names that are valid for the
// call, under its lock (but for `free`, see there), and with values that `into_raw` made of a T::Value, since the
// methods of T are registered for the handles of T alone, and only such a handle puts a value under a key.
// No reference to a value outlives its callback; while one runs nobody else has any but where the server
// itself reads (save, digest), which it does on the thread that holds the lock, or in a child. An open key that puts one
// value in the place of another calls `unlink` and `free` as the server does.

unsafe extern "C" fn rdb_load<T: DataType>(
    io: *mut raw::RedisModuleIO,
    encoding: c_int,
) -> *mut c_void {
    guard::run("rdb_load", null_mut(), || {
        let (oldest, newest) = (T::OLDEST_ENCODING, T::NEWEST_ENCODING);
        if !(oldest..=newest).contains(&encoding) {
            let order = if encoding < oldest { "older" } else { "newer" };
            let reads =
                if oldest == newest { newest.to_string() } else { format!("{oldest} to {newest}") };
            let name = T::NAME.to_string_lossy();
            let what =
                format!("its version {encoding} is {order} than what this module reads ({reads})");
            log(Level::Warning, &format!("a value of the type {name} can't be loaded: {what}"));
            return null_mut();
        }
        // SAFETY: see above.
        let (lock, mut from) = unsafe { (Lock::held(), Load::new(io)) };
        // The one before stands under its key, since it has not gone.
        arrival::tell(lock);
        let Some(value) = T::load(lock, &mut from) else { return null_mut() };
        let value = value.into_raw();
        if let Some((database, name)) = from.key() {
            // SAFETY: a value of T's; `free`, `unlink` and `defrag` say what becomes of it.
            unsafe { arrival::note(lock, value, (database, name.bytes()), loaded::<T>) };
        }
        value
    })
}

/// See [`arrival::Tell`].
unsafe fn loaded<T: DataType>(lock: Lock, value: *mut c_void, database: i32, name: &[u8]) {
    guard::run("loaded", (), || {
        // SAFETY: as the caller says; see above.
        let value = unsafe { &*T::Value::find(value) };
        T::loaded(lock, value, database, name);
    });
}

unsafe extern "C" fn rdb_save<T: DataType>(io: *mut raw::RedisModuleIO, value: *mut c_void) {
    let is_saved = guard::run("rdb_save", false, || {
        // SAFETY: see above.
        let (lock, value, mut into) =
            unsafe { (Lock::held(), &*T::Value::find(value), Save::new(io)) };
        T::save(lock, value, &mut into);
        true
    });
    if !is_saved {
        // SAFETY: see above.
        unsafe { spoil(io) };
    }
}

unsafe extern "C" fn aof_rewrite<T: DataType>(
    io: *mut raw::RedisModuleIO,
    _key: *mut raw::RedisModuleString,
    value: *mut c_void,
) {
    let is_written = guard::run("aof_rewrite", false, || {
        // SAFETY: see above.
        let (lock, value, mut into) =
            unsafe { (Lock::held(), &*T::Value::find(value), Rewrite::new(io)) };
        T::rewrite(lock, value, &mut into);
        true
    });
    if !is_written {
        // SAFETY: see above.
        unsafe { spoil(io) };
    }
}

/// Has the server give up the file that it writes: without this value, or with a half of it, an RDB could not
/// be loaded, and an AOF would lack the key; while what stood there before is whole. Nothing else in the API
/// says so but an AOF's command that is none, which is written to no file.
///
/// # Safety
/// `io` is the stream of the running callback.
unsafe fn spoil(io: *mut raw::RedisModuleIO) {
    let (command, format) = (c"nothing, since a value could not be saved", c"");
    // SAFETY: as the caller says; the format takes no arguments.
    unsafe { api!(RedisModule_EmitAOF(io, command.as_ptr(), format.as_ptr())) };
}

unsafe extern "C" fn mem_usage<T: DataType>(value: *const c_void) -> usize {
    // SAFETY: see above.
    guard::run("mem_usage", 0, || T::bytes(unsafe { &*T::Value::find(value.cast_mut()) }))
}

unsafe extern "C" fn digest<T: DataType>(digest: *mut raw::RedisModuleDigest, value: *mut c_void) {
    guard::run("digest", (), || {
        // SAFETY: see above.
        let (lock, value, mut into) =
            unsafe { (Lock::held(), &*T::Value::find(value), Digest::new(digest)) };
        T::digest(lock, value, &mut into);
        into.end();
    });
}

unsafe extern "C" fn defrag<T: DataType>(
    ctx: *mut raw::RedisModuleDefragCtx,
    _key: *mut raw::RedisModuleString,
    value: *mut *mut c_void,
) -> c_int {
    guard::run("defrag", (), || {
        // SAFETY: see above. The server has the pointer to the value there, and no other; it calls from its own
        // timers, when no key is open.
        unsafe {
            let (lock, mut mover) = (Lock::held(), Mover::new(ctx));
            let layout = Layout::for_value(&*T::Value::find(*value));
            if let Some(now) = mover.moved((*value).cast(), layout) {
                arrival::moved(*value, now.cast());
                *value = now.cast();
            }
            T::defrag(lock, &mut *T::Value::find(*value), &mut mover);
        }
    });
    // Nothing is left.
    0
}

/// May run on another thread, without the lock; of the value that was loaded last it runs where that was loaded.
pub(super) unsafe extern "C" fn free<T: DataType>(value: *mut c_void) {
    guard::run("free", (), || {
        if arrival::end(value) {
            // SAFETY: see above. No key has the value, which was loaded on this thread, by whoever holds the lock.
            let (lock, value) = unsafe { (Lock::held(), &mut *T::Value::find(value)) };
            T::unlinked(lock, value, &arrival::name(lock));
        }
    });
    // SAFETY: see above; the key that had the value is gone, and a T::Value can be sent.
    guard::run("free", (), || drop(unsafe { T::Value::from_raw(value) }));
}

pub(super) unsafe extern "C" fn unlink<T: DataType>(
    key: *mut raw::RedisModuleString,
    value: *const c_void,
) {
    guard::run("unlink", (), || {
        arrival::left(value);
        // SAFETY: see above. The value is mutable: the key that had it is going, and whoever looked at it
        // had to let go of the context before anything could take the key away.
        let (lock, value, name) =
            unsafe { (Lock::held(), &mut *T::Value::find(value.cast_mut()), Name::new(key)) };
        T::unlinked(lock, value, name.map_or(&[], Name::bytes));
    });
}

unsafe extern "C" fn copy<T: DataType>(
    _from: *mut raw::RedisModuleString,
    _to: *mut raw::RedisModuleString,
    value: *const c_void,
) -> *mut c_void {
    guard::run("copy", null_mut(), || {
        // SAFETY: see above.
        let (lock, value) = unsafe { (Lock::held(), &*T::Value::find(value.cast_mut())) };
        T::copy(lock, value).map_or(null_mut(), Thin::into_raw)
    })
}
