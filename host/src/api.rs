//! The server's table of functions: which of them every supported server has, and how one is called.
//!
//! The table is filled once, before anything else of a module runs, and never written again.
//! [`missing_functions`] is looked at when the module is loaded, so that a function that every supported
//! server has is there. What only newer servers have is an `Option` where it is used.

use redis_module::raw;
use std::ffi::{c_int, CStr};

/// Calls a function that [`missing_functions`] has seen. The call is unsafe: whoever writes it says why it
/// is sound.
macro_rules! api {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // Reading the table is sound since nobody writes it after the load.
        match redis_module::raw::$name {
            Some(function) => function($($argument),*),
            None => panic!(concat!("the server has no ", stringify!($name))),
        }
    }};
}
pub(crate) use api;

macro_rules! required {
    ($($name:ident),* $(,)?) => {
        /// Functions that every supported server has and this one hasn't.
        pub(crate) fn missing_functions() -> Vec<&'static str> {
            let mut missing = Vec::new();
            // SAFETY: reads of the table, as in `api!`.
            unsafe { $(if { raw::$name }.is_none() { missing.push(stringify!($name)); })* }
            missing
        }
    };
}

required!(
    RedisModule_AvoidReplicaTraffic,
    RedisModule_BlockClient,
    RedisModule_Call,
    RedisModule_CallReplyArrayElement,
    RedisModule_CallReplyInteger,
    RedisModule_CallReplyStringPtr,
    RedisModule_CloseKey,
    RedisModule_CreateCommand,
    RedisModule_CreateDataType,
    RedisModule_CreateString,
    RedisModule_CreateTimer,
    RedisModule_DefragAlloc,
    RedisModule_DefragShouldStop,
    RedisModule_DigestAddLongLong,
    RedisModule_DigestAddStringBuffer,
    RedisModule_DigestEndSequence,
    RedisModule_EmitAOF,
    RedisModule_Free,
    RedisModule_FreeCallReply,
    RedisModule_FreeServerInfo,
    RedisModule_FreeString,
    RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetClientId,
    RedisModule_GetContextFlags,
    RedisModule_GetExpire,
    RedisModule_GetKeyNameFromIO,
    RedisModule_GetSelectedDb,
    RedisModule_GetServerInfo,
    RedisModule_GetUsedMemoryRatio,
    RedisModule_InfoAddFieldLongLong,
    RedisModule_InfoAddSection,
    RedisModule_IsIOError,
    RedisModule_KeyType,
    RedisModule_LoadStringBuffer,
    RedisModule_Log,
    RedisModule_Milliseconds,
    RedisModule_ModuleTypeGetType,
    RedisModule_ModuleTypeGetValue,
    RedisModule_ModuleTypeSetValue,
    RedisModule_NotifyKeyspaceEvent,
    RedisModule_OpenKey,
    RedisModule_RegisterDefragFunc,
    RedisModule_RegisterInfoFunc,
    RedisModule_Replicate,
    RedisModule_ReplicateVerbatim,
    RedisModule_ReplyWithArray,
    RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong,
    RedisModule_ReplyWithNull,
    RedisModule_ReplyWithSimpleString,
    RedisModule_ReplyWithStringBuffer,
    RedisModule_SaveStringBuffer,
    RedisModule_Scan,
    RedisModule_ScanCursorCreate,
    RedisModule_ScanCursorDestroy,
    RedisModule_SelectDb,
    RedisModule_ServerInfoGetFieldC,
    RedisModule_SetDisconnectCallback,
    RedisModule_SetExpire,
    RedisModule_SetModuleOptions,
    RedisModule_SignalModifiedKey,
    RedisModule_StopTimer,
    RedisModule_StringPtrLen,
    RedisModule_StringToLongLong,
    RedisModule_SubscribeToKeyspaceEvents,
    RedisModule_SubscribeToServerEvent,
    RedisModule_UnblockClient,
    RedisModule_UnlinkKey,
);

/// The server said no, where no more than that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

pub(crate) const OK: c_int = raw::REDISMODULE_OK as c_int;
pub(crate) const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// A status of the server's as a result.
pub(crate) fn accepted(status: c_int) -> Result<(), Refused> {
    if status == OK {
        Ok(())
    } else {
        Err(Refused)
    }
}

/// Sets the table up and tells the server the module's name.
///
/// # Safety
/// `ctx` is what the server gave to OnLoad.
pub(crate) unsafe fn init(
    ctx: *mut raw::RedisModuleCtx,
    name: &CStr,
    version: c_int,
) -> Result<(), Refused> {
    // SAFETY: the context is OnLoad's; the server copies the name.
    accepted(unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            name.as_ptr(),
            version,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    })
}

/// Whether the server knows module configuration, what a command is, and redaction (7.0).
pub fn is_redis_7() -> bool {
    // SAFETY: reads of the table.
    unsafe {
        { raw::RedisModule_LoadConfigs }.is_some() && { raw::RedisModule_SetCommandInfo }.is_some()
    }
}
