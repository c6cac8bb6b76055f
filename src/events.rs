//! What the server tells the module unasked: keys that come by themselves, databases that are emptied
//! or exchanged.

use crate::config;
use crate::ffi::{self, Ctx, Name, Refused, Text};
use crate::guard;
use crate::invalidation;
use crate::keyspace;
use crate::reclaim;
use crate::state;
use redis_module::raw;
use std::ffi::{c_char, c_int, c_void, CStr};

pub fn subscribe(ctx: Ctx) -> Result<(), Refused> {
    let classes = raw::REDISMODULE_NOTIFY_GENERIC
        | raw::REDISMODULE_NOTIFY_LOADED
        | raw::REDISMODULE_NOTIFY_EVICTED;
    ffi::subscribe_to_keys(ctx, classes, Some(on_key))?;
    ffi::subscribe_to_server(ctx, raw::REDISMODULE_EVENT_FLUSHDB, Some(on_flush))?;
    ffi::subscribe_to_server(ctx, raw::REDISMODULE_EVENT_SWAPDB, Some(on_swap))?;
    ffi::subscribe_to_server(
        ctx,
        raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
        Some(on_role_change),
    )?;
    ffi::subscribe_to_server(ctx, raw::REDISMODULE_EVENT_LOADING, Some(on_loading))?;
    if !ffi::is_redis_7() {
        // Later servers know the event no more: they load such a resync the plain way.
        ffi::subscribe_to_server(ctx, raw::REDISMODULE_EVENT_REPL_BACKUP, Some(on_repl_backup))?;
    }
    Ok(())
}

/// Whether what comes is loaded, and not to be trusted. What a replica loads can't have missed an
/// invalidation of its primary's, whose stream goes on from there; after any other start the operator
/// says so.
pub fn comes_dead(ctx: Ctx) -> bool {
    state::with(|state| state.is_loading) && distrusts_what_it_loads(ctx)
}

fn distrusts_what_it_loads(ctx: Ctx) -> bool {
    !config::TRUST_LOADED.get() && !ctx.is_any_replica()
}

unsafe extern "C" fn on_key(
    ctx: *mut raw::RedisModuleCtx,
    class: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard::run("keyspace event", (), || {
        // SAFETY: the server's arguments, valid for this call.
        let (ctx, name, event) =
            unsafe { (Ctx::new(ctx), Name::new(key), CStr::from_ptr(event).to_bytes()) };
        match class {
            raw::REDISMODULE_NOTIFY_LOADED => {
                // The server has this name on its stack, where it can't be retained: opening a key by
                // it is an assertion failure.
                let name = Text::new(name.bytes());
                keyspace::arrived(ctx, name.name(), comes_dead(ctx));
            }
            raw::REDISMODULE_NOTIFY_EVICTED => {
                let database = ctx.database();
                state::with(|state| {
                    let region = state.region(database);
                    if region.is_some_and(|r| r.database.was_last_removed(name.bytes())) {
                        state.stats.evicted_entries += 1;
                    }
                });
            }
            _ => {
                if matches!(event, b"rename_to" | b"copy_to" | b"move_to" | b"restore") {
                    keyspace::arrived(ctx, name, true);
                }
            }
        }
    });
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn on_flush(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("flush event", (), || {
        if subevent == raw::REDISMODULE_SUBEVENT_FLUSHDB_START && !data.is_null() {
            // SAFETY: the server's argument, valid for this call, and what it hands over with this event.
            let (ctx, info) =
                unsafe { (Ctx::new(ctx), &*data.cast::<raw::RedisModuleFlushInfo>()) };
            invalidation::of_database(ctx, info.dbnum);
        }
    });
}

unsafe extern "C" fn on_swap(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    data: *mut c_void,
) {
    guard::run("swapdb event", (), || {
        if !data.is_null() {
            // SAFETY: that is what the server hands over with this event.
            let info = unsafe { &*data.cast::<raw::RedisModuleSwapDbInfo>() };
            state::with(|state| state.swap(info.dbnum_first, info.dbnum_second));
        }
    });
}

unsafe extern "C" fn on_role_change(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("role event", (), || {
        let promoted = subevent == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER;
        // SAFETY: the server's argument, valid for this call.
        let ctx = unsafe { Ctx::new(ctx) };
        state::with(|state| state.begin_run());
        if !promoted {
            reclaim::forget_drop();
        } else if !config::TRUST_PROMOTED.get() {
            reclaim::drop_all(ctx);
        }
        reclaim::wake(ctx);
    });
}

/// What was loaded and is not trusted is dead already; replicas that go on from before may have it alive,
/// and so may this node after its next start.
unsafe extern "C" fn on_loading(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("loading event", (), || {
        // SAFETY: the server's argument, valid for this call.
        let ctx = unsafe { Ctx::new(ctx) };
        let has_ended = matches!(
            subevent,
            raw::REDISMODULE_SUBEVENT_LOADING_ENDED | raw::REDISMODULE_SUBEVENT_LOADING_FAILED
        );
        state::with(|state| state.is_loading = !has_ended);
        if subevent == raw::REDISMODULE_SUBEVENT_LOADING_ENDED && distrusts_what_it_loads(ctx) {
            reclaim::all_were_dropped(ctx);
        }
    });
}

/// 6.2 puts all databases aside, loads the primary's, and then drops those aside or, where loading
/// failed, takes them back.
unsafe extern "C" fn on_repl_backup(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("backup event", (), || {
        state::with(|state| match subevent {
            raw::REDISMODULE_SUBEVENT_REPL_BACKUP_CREATE => state.put_aside(),
            raw::REDISMODULE_SUBEVENT_REPL_BACKUP_RESTORE => state.take_back(),
            raw::REDISMODULE_SUBEVENT_REPL_BACKUP_DISCARD => state.drop_aside(),
            _ => {}
        });
    });
}
