//! A module that only the benchmark loads. Its read is the least that any command of a module costs
//! that takes VALIDATE's arguments and gives VALIDATE's reply: it opens the key, takes the value and
//! replies its bytes. It compares nothing, checks nothing and counts nothing.
//!
//! | command | does |
//! | --- | --- |
//! | `FLOOR.SET key bytes seconds` | stores the bytes as a value of a native type, with an expiry, as entries have one; replies OK |
//! | `FLOOR.GET key [argument ...]` | replies `VALID` and the bytes, or an error where the key holds none; looks at no other argument |
//!
//! The type can't be saved: the benchmark's servers have no snapshots.

use redis_module::alloc::RedisAlloc;
use redis_module::raw;
use std::ffi::{c_int, c_longlong, c_void, CStr};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Memory comes from the server, as that of the module that is measured does.
#[global_allocator]
static ALLOCATOR: RedisAlloc = RedisAlloc;

/// What OnLoad registered; null before.
static TYPE: AtomicPtr<raw::RedisModuleType> = AtomicPtr::new(std::ptr::null_mut());

const OK: c_int = raw::REDISMODULE_OK as c_int;
const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// Calls a function of the module API; every supported server has those that are called here.
macro_rules! api {
    ($name:ident($($argument:expr),* $(,)?)) => {
        // The server fills the table before OnLoad continues and never writes it again.
        match raw::$name {
            Some(function) => function($($argument),*),
            None => panic!(concat!("the server has no ", stringify!($name))),
        }
    };
}

/// The server's entry.
///
/// # Safety
/// Called by the server alone, with its context.
#[no_mangle]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    let version = raw::REDISMODULE_APIVER_1 as c_int;
    if raw::Export_RedisModule_Init(ctx, c"apikeyfloor".as_ptr(), 1, version) != OK {
        return ERR;
    }
    // SAFETY: numbers and optional functions, for which zero is none.
    let mut methods: raw::RedisModuleTypeMethods = std::mem::zeroed();
    methods.version = u64::from(raw::REDISMODULE_TYPE_METHOD_VERSION);
    methods.free = Some(free);
    // The server copies the methods and keeps the type as long as the module.
    let made = api!(RedisModule_CreateDataType(ctx, c"keyfloor0".as_ptr(), 0, &mut methods));
    TYPE.store(made, Ordering::Relaxed);
    if made.is_null()
        || create(ctx, c"floor.set", set, c"write deny-oom") != OK
        || create(ctx, c"floor.get", get, c"readonly fast") != OK
    {
        return ERR;
    }
    OK
}

type Command = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut *mut raw::RedisModuleString,
    c_int,
) -> c_int;

/// A command whose key is its first argument.
///
/// # Safety
/// `ctx` is OnLoad's.
unsafe fn create(
    ctx: *mut raw::RedisModuleCtx,
    name: &CStr,
    command: Command,
    flags: &CStr,
) -> c_int {
    api!(RedisModule_CreateCommand(ctx, name.as_ptr(), Some(command), flags.as_ptr(), 1, 1, 1))
}

/// # Safety
/// Called by the server, with `argc` strings.
unsafe extern "C" fn set(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    if argc != 4 {
        return api!(RedisModule_WrongArity(ctx));
    }
    let mut seconds: c_longlong = 0;
    if api!(RedisModule_StringToLongLong(*argv.add(3), &mut seconds)) != OK {
        return api!(RedisModule_ReplyWithError(ctx, c"ERR seconds must be a number".as_ptr()));
    }
    let mut len = 0;
    let bytes = api!(RedisModule_StringPtrLen(*argv.add(2), &mut len));
    // SAFETY: the argument's bytes, which stay while the command runs.
    let value = pack(std::slice::from_raw_parts(bytes.cast(), len));
    let mode = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;
    let key = api!(RedisModule_OpenKey(ctx, *argv.add(1), mode)).cast();
    let stored =
        api!(RedisModule_ModuleTypeSetValue(key, TYPE.load(Ordering::Relaxed), value)) == OK;
    let stored = stored && api!(RedisModule_SetExpire(key, seconds * 1_000)) == OK;
    api!(RedisModule_CloseKey(key));
    if stored {
        api!(RedisModule_ReplyWithSimpleString(ctx, c"OK".as_ptr()))
    } else {
        api!(RedisModule_ReplyWithError(ctx, c"ERR not stored".as_ptr()))
    }
}

/// # Safety
/// Called by the server, with `argc` strings.
unsafe extern "C" fn get(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    if argc < 2 {
        return api!(RedisModule_WrongArity(ctx));
    }
    let mode = raw::REDISMODULE_READ as c_int;
    let key = api!(RedisModule_OpenKey(ctx, *argv.add(1), mode)).cast();
    // The server gives null for a key that is not there, and for null.
    if api!(RedisModule_ModuleTypeGetType(key)) == TYPE.load(Ordering::Relaxed) {
        // SAFETY: a value of our type was made by `pack`, and stays while the key is open.
        let bytes = unpack(api!(RedisModule_ModuleTypeGetValue(key)));
        api!(RedisModule_ReplyWithArray(ctx, 3));
        api!(RedisModule_ReplyWithStringBuffer(ctx, c"VALID".as_ptr(), 5));
        api!(RedisModule_ReplyWithStringBuffer(ctx, bytes.as_ptr().cast(), bytes.len()));
        api!(RedisModule_ReplyWithLongLong(ctx, -1));
    } else {
        api!(RedisModule_ReplyWithError(ctx, c"WRONGTYPE not a value of the floor's".as_ptr()));
    }
    api!(RedisModule_CloseKey(key));
    OK
}

/// A value is one allocation, the fewest there can be: how many bytes, then the bytes.
const HEAD: usize = size_of::<usize>();

fn pack(bytes: &[u8]) -> *mut c_void {
    let block = [&bytes.len().to_ne_bytes(), bytes].concat().into_boxed_slice();
    Box::into_raw(block).cast()
}

/// # Safety
/// `value` was made by [`pack`] and not freed.
unsafe fn unpack<'a>(value: *const c_void) -> &'a [u8] {
    let len = usize::from_ne_bytes(*value.cast::<[u8; HEAD]>());
    std::slice::from_raw_parts(value.cast::<u8>().add(HEAD), len)
}

/// # Safety
/// Called by the server, once for each value, perhaps on another thread.
unsafe extern "C" fn free(value: *mut c_void) {
    let len = HEAD + unpack(value).len();
    // SAFETY: the block that `pack` made, as long as it was then.
    drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(value.cast::<u8>(), len)));
}
