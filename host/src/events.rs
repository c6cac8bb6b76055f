//! What the server tells a module unasked, about keys and about itself.

use crate::after;
use crate::api::{accepted, api, is_redis_7, Refused, OK};
use crate::arrival;
use crate::context::Ctx;
use crate::guard;
use crate::key::stream::says_keys;
use crate::strings::{Name, Text};
use redis_module::raw;
use std::ffi::{c_char, c_int, c_void, CStr};

/// Something has happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent<'a> {
    /// 6.2: it was brought by an RDB that is loaded. Later servers say it
    /// [with the value](crate::key::data_type::DataType::loaded).
    Loaded,
    /// It was evicted, and is gone.
    Evicted,
    /// It has come by RENAME.
    RenamedTo,
    /// It has come by COPY.
    CopiedTo,
    /// It has come by MOVE.
    MovedTo,
    /// It has come by RESTORE or MIGRATE.
    Restored,
    /// Another event of the class `g`: `del`, `expire`, ..
    Generic(&'a [u8]),
}

/// Something has happened to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A database is going to be emptied; all of them for `None`. No key of it is told of by itself.
    Flush(Option<i32>),
    /// Two databases have exchanged their keys.
    Swapped(i32, i32),
    /// This node is a primary now.
    Promoted,
    /// This node is a replica now.
    Demoted,
    /// A replica of this node has what it missed, and follows the stream from now on.
    ReplicaOnline,
    /// An RDB or an AOF is loaded from now on.
    LoadingBegan,
    /// It is loaded.
    LoadingEnded,
    /// It could not be loaded.
    LoadingFailed,
    /// 6.2, before a full resync is loaded: all databases are put aside.
    PutAside,
    /// 6.2: the resync could not be loaded, and what was put aside is back.
    TakenBack,
    /// 6.2: the resync is loaded, and what was put aside is going.
    AsideDropped,
}

/// Who is told.
pub trait Listener: 'static {
    /// Of a key of the selected database.
    fn key(ctx: &mut Ctx, event: KeyEvent, name: Name);

    /// Of the server.
    fn server(ctx: &mut Ctx, event: ServerEvent);
}

/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn subscribe<L: Listener>(ctx: *mut raw::RedisModuleCtx) -> Result<(), Refused> {
    let to = |id: u64, callback: raw::RedisModuleEventCallback| {
        let event = raw::RedisModuleEvent { id, dataver: 1 };
        // SAFETY: the context is OnLoad's; the callback is a function of this module.
        accepted(unsafe { api!(RedisModule_SubscribeToServerEvent(ctx, event, callback)) })
    };
    let mut events: Vec<(u64, raw::RedisModuleEventCallback)> = vec![
        (raw::REDISMODULE_EVENT_FLUSHDB, Some(on_flush::<L>)),
        (raw::REDISMODULE_EVENT_SWAPDB, Some(on_swap::<L>)),
        (raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, Some(on_role_change::<L>)),
        (raw::REDISMODULE_EVENT_REPLICA_CHANGE, Some(on_replica::<L>)),
        (raw::REDISMODULE_EVENT_LOADING, Some(on_loading::<L>)),
    ];
    if !is_redis_7() {
        // Later servers know the event no more: they load such a resync the plain way.
        events.push((raw::REDISMODULE_EVENT_REPL_BACKUP, Some(on_repl_backup::<L>)));
    }
    let told = events.iter().try_for_each(|&(id, callback)| to(id, callback));
    // A subscription to keys can't be taken back, so that it is the last.
    let mut classes = raw::REDISMODULE_NOTIFY_GENERIC | raw::REDISMODULE_NOTIFY_EVICTED;
    if !says_keys() {
        classes |= raw::REDISMODULE_NOTIFY_LOADED;
    }
    let callback: raw::RedisModuleNotificationFunc = Some(on_key::<L>);
    let all = told.and_then(|()| {
        // SAFETY: as above.
        accepted(unsafe {
            api!(RedisModule_SubscribeToKeyspaceEvents(ctx, classes as c_int, callback))
        })
    });
    if all.is_err() {
        // The module is not going to be there.
        for (id, _) in events {
            let _ = to(id, None);
        }
    }
    all
}

const LOADED: u32 = raw::REDISMODULE_NOTIFY_LOADED.unsigned_abs();
const EVICTED: u32 = raw::REDISMODULE_NOTIFY_EVICTED.unsigned_abs();

unsafe extern "C" fn on_key<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    class: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard::run("keyspace event", (), || {
        // SAFETY: the server's arguments, valid for this call.
        let (name, event) = unsafe { (Name::new(key), CStr::from_ptr(event).to_bytes()) };
        let event = match class.unsigned_abs() {
            LOADED => KeyEvent::Loaded,
            EVICTED => KeyEvent::Evicted,
            _ => match event {
                b"rename_to" => KeyEvent::RenamedTo,
                b"copy_to" => KeyEvent::CopiedTo,
                b"move_to" => KeyEvent::MovedTo,
                b"restore" => KeyEvent::Restored,
                other => KeyEvent::Generic(other),
            },
        };
        if event == KeyEvent::Restored {
            arrival::forget();
        }
        // SAFETY: as above.
        let mut ctx = unsafe { Ctx::new(ctx) };
        match name {
            // The server has this name on its stack, where it can't be retained: opening a key by it is an
            // assertion failure.
            Some(name) if event == KeyEvent::Loaded => {
                L::key(&mut ctx, event, Text::new(name.bytes()).name());
            }
            Some(name) => L::key(&mut ctx, event, name),
            None => {}
        }
        after::run(&mut ctx);
    });
    OK
}

/// Tells the listener of an event of the server's.
///
/// # Safety
/// `ctx` is the server's argument to the running callback.
unsafe fn tell<L: Listener>(ctx: *mut raw::RedisModuleCtx, event: Option<ServerEvent>) {
    if let Some(event) = event {
        // SAFETY: as the caller says.
        let mut ctx = unsafe { Ctx::new(ctx) };
        L::server(&mut ctx, event);
        after::run(&mut ctx);
    }
}

unsafe extern "C" fn on_flush<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("flush event", (), || {
        if subevent == raw::REDISMODULE_SUBEVENT_FLUSHDB_START && !data.is_null() {
            // SAFETY: the server's context, and what it hands over with this event.
            unsafe {
                let number = (*data.cast::<raw::RedisModuleFlushInfo>()).dbnum;
                tell::<L>(ctx, Some(ServerEvent::Flush((number >= 0).then_some(number))));
            }
            arrival::forget();
        }
    });
}

unsafe extern "C" fn on_swap<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    data: *mut c_void,
) {
    guard::run("swapdb event", (), || {
        if !data.is_null() {
            // SAFETY: the server's context, and what it hands over with this event.
            unsafe {
                let info = &*data.cast::<raw::RedisModuleSwapDbInfo>();
                tell::<L>(ctx, Some(ServerEvent::Swapped(info.dbnum_first, info.dbnum_second)));
            }
        }
    });
}

unsafe extern "C" fn on_role_change<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("role event", (), || {
        let event = match subevent {
            raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER => ServerEvent::Promoted,
            _ => ServerEvent::Demoted,
        };
        // SAFETY: the server's context.
        unsafe { tell::<L>(ctx, Some(event)) };
    });
}

unsafe extern "C" fn on_replica<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("replica event", (), || {
        let is_online = subevent == raw::REDISMODULE_SUBEVENT_REPLICA_CHANGE_ONLINE;
        // SAFETY: the server's context.
        unsafe { tell::<L>(ctx, is_online.then_some(ServerEvent::ReplicaOnline)) };
    });
}

unsafe extern "C" fn on_loading<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("loading event", (), || {
        let event = match subevent {
            raw::REDISMODULE_SUBEVENT_LOADING_ENDED => ServerEvent::LoadingEnded,
            raw::REDISMODULE_SUBEVENT_LOADING_FAILED => ServerEvent::LoadingFailed,
            _ => ServerEvent::LoadingBegan,
        };
        arrival::set_loading(event == ServerEvent::LoadingBegan);
        // SAFETY: the server's context.
        unsafe { tell::<L>(ctx, Some(event)) };
        arrival::forget();
    });
}

unsafe extern "C" fn on_repl_backup<L: Listener>(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("backup event", (), || {
        let event = match subevent {
            raw::REDISMODULE_SUBEVENT_REPL_BACKUP_CREATE => Some(ServerEvent::PutAside),
            raw::REDISMODULE_SUBEVENT_REPL_BACKUP_RESTORE => Some(ServerEvent::TakenBack),
            raw::REDISMODULE_SUBEVENT_REPL_BACKUP_DISCARD => Some(ServerEvent::AsideDropped),
            _ => None,
        };
        // SAFETY: the server's context.
        unsafe { tell::<L>(ctx, event) };
    });
}
