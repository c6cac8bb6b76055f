//! redis-apikey: the server's side of the module.
//!
//! What is decided stands in the crate `apikey-engine`; here keys are opened, replies written and
//! changes replicated.
//!
//! | file | holds |
//! | --- | --- |
//! | [`commands`] | a file for each family of commands |
//! | [`command`], [`options`], [`error`] | what a command is; the grammar they share; errors |
//! | [`keyspace`] | the one file that opens keys |
//! | [`value`], [`types`] | what keys hold; how the server saves and loads it |
//! | [`state`] | the index of each database, the fence, and counts |
//! | [`invalidation`] | what every invalidation does |
//! | [`reclaim`] | takes dead entries away, in slices |
//! | [`events`] | keys that come by themselves, databases emptied or exchanged |
//! | [`config`] | settings |
//! | [`ffi`] | every raw call of the module API |
//! | [`locked`] | what only the holder of the server's lock reaches |
//! | [`guard`] | what keeps a panic from ending the server |

mod command;
mod commands;
mod config;
mod error;
mod events;
mod ffi;
mod guard;
mod invalidation;
mod keyspace;
mod locked;
mod options;
mod reclaim;
mod state;
mod types;
mod value;

use crate::error::{Error, Result};
use crate::ffi::{log, Args, Ctx, Level};
use redis_module::alloc::RedisAlloc;
use redis_module::raw;
use std::ffi::{c_int, CStr};

/// Memory comes from the server, so that `used_memory` and `maxmemory` count it.
#[global_allocator]
static ALLOCATOR: RedisAlloc = RedisAlloc;

const MODULE: &CStr = c"apikey";

/// The module's version as the server wants it: a number.
const MODULE_VERSION: c_int = 100;

/// The server's entry.
///
/// # Safety
/// Called by the server alone, with its context and the module's arguments.
#[no_mangle]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // Until the table of functions is set up nothing may be allocated.
    if ffi::init(ctx, MODULE, MODULE_VERSION).is_err() {
        return raw::REDISMODULE_ERR as c_int;
    }
    guard::log_panics();
    let loaded =
        guard::run("load", Err(Error::err("panic")), || load(Ctx::new(ctx), Args::new(argv, argc)));
    match loaded {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        Err(Error(text)) => {
            log(Level::Warning, &format!("not loaded: {text}"));
            raw::REDISMODULE_ERR as c_int
        }
    }
}

fn load(ctx: Ctx, args: Args) -> Result<()> {
    let missing = ffi::missing_functions();
    if !missing.is_empty() {
        return Err(Error::err(format_args!(
            "the server is too old: it lacks {}",
            missing.join(", ")
        )));
    }
    ffi::declare_options(ctx);
    config::load(ctx, args)?;
    state::create();
    types::create(ctx).map_err(|_| Error::err("the server refused the data types"))?;
    commands::register(ctx)?;
    events::subscribe(ctx).map_err(|_| Error::err("the server refused to tell of events"))?;
    ffi::register_info(ctx, Some(commands::health::info))?;
    log(Level::Notice, concat!("redis-apikey ", env!("CARGO_PKG_VERSION"), " is loaded"));
    Ok(())
}
