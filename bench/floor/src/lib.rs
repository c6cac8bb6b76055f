//! A module that only the benchmark loads. Each of its commands is the least that any command of a module costs that takes
//! the arguments of one of redis-apikey's and gives its reply: it makes the calls of the module API that can't be left out,
//! and compares nothing, checks nothing, keeps no index.
//!
//! | command | does |
//! | --- | --- |
//! | `FLOOR.SET key bytes [seconds]` | stores the bytes as a value of a native type; replies OK |
//! | `FLOOR.GET key [argument ...]` | VALIDATE: replies `VALID`, the bytes and a time |
//! | `FLOOR.CACHE.GET key region` | CACHE.GET, a hit: replies what that does of a value that is fresh, and how long it will be |
//! | `FLOOR.CACHE.SET key region value EX seconds TAGS n tag [tag ...]` | CACHE.SET: stores the value with its expiry, and room for what CACHE.SET keeps beside it; replicates as many bytes, and notifies |
//! | `FLOOR.ADMIT key numcounters counter [argument ...]` | ADMIT with one counter, admitted: reads the record and its expiry, counts in eight bytes of the counter, replicates all of them, notifies; replies the record and how one limit stands |
//! | `FLOOR.REFUSE key numcounters counter [argument ...]` | ADMIT, refused by its rate: opens both, replies that and how the limit stands |
//!
//! An error where a key holds no value of the floor's. What is said of a limit is made up, but for what a counter has left.

mod admit;
mod api;
mod cache;
mod call;
mod validate;
mod value;
mod words;

use api::{api, ERR, OK};
use call::create;
use redis_module::alloc::RedisAlloc;
use redis_module::raw;
use std::ffi::c_int;

/// Memory comes from the server, as that of the module that is measured does.
#[global_allocator]
static ALLOCATOR: RedisAlloc = RedisAlloc;

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
    // As redis-apikey: a key that is opened to write has not changed by that alone.
    let options = raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED as c_int;
    api!(RedisModule_SetModuleOptions(ctx, options));
    let is_ready = value::register(ctx)
        && create::<validate::Set>(ctx)
        && create::<validate::Get>(ctx)
        && create::<cache::Get>(ctx)
        && create::<cache::Set>(ctx)
        && create::<admit::Admit>(ctx)
        && create::<admit::Refuse>(ctx)
        && create::<words::Written>(ctx)
        && create::<words::Counted>(ctx);
    if is_ready {
        OK
    } else {
        ERR
    }
}
