//! The context: what a callback may ask of the server, as long as it runs.
//!
//! What could take a key away (opening another, a command, a notification) wants the context for itself, so
//! that nobody is looking at a value meanwhile; what only asks does not.

use crate::api::{accepted, api};
use crate::arrival;
use crate::lock::Lock;
use redis_module::raw;
use std::borrow::Cow;
use std::ffi::{c_int, CStr};
use std::marker::PhantomData;
use std::sync::OnceLock;

/// What the server knows of the call that is running.
#[derive(Debug)]
pub struct Ctx<'a> {
    raw: *mut raw::RedisModuleCtx,
    of: Of,
    /// The database that a command's client had selected, if the command has selected another.
    home: Option<i32>,
    scope: PhantomData<&'a mut ()>,
}

/// Whose context it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// A command's, whose client can be asked to wait.
    Command,
    /// A command's, whose client has been, or can't be any more.
    Waiting,
    /// Nobody's: that of a timer, an event, the load, an open key.
    Nobody,
}

/// What the server says of a context.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    fn has(self, any: u32) -> bool {
        self.0 & any != 0
    }

    /// See [`Ctx::is_replayed`].
    pub(crate) fn are_of_replayed(self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING)
    }

    /// Whether a script runs, be it the caller or not.
    pub(crate) fn are_in_script(self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_LUA)
    }

    /// Whether EXEC runs, be the caller in it or not.
    pub(crate) fn are_in_multi(self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_MULTI)
    }

    /// Whether the client may not wait: in EXEC, or since it is none that could.
    pub(crate) fn deny_waiting(self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING)
    }
}

impl<'a> Ctx<'a> {
    /// # Safety
    /// `raw` is the server's argument to the running callback, for `'a`, which holds the server's lock; and
    /// the only context that is made of it.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        // SAFETY: as the caller says.
        unsafe { Self::of(raw, Of::Nobody) }
    }

    /// # Safety
    /// As for `new`; and the callback is a command's.
    pub(crate) unsafe fn of_command(raw: *mut raw::RedisModuleCtx) -> Self {
        // SAFETY: as the caller says.
        unsafe { Self::of(raw, Of::Command) }
    }

    /// # Safety
    /// As for `new`.
    unsafe fn of(raw: *mut raw::RedisModuleCtx, of: Of) -> Self {
        let ctx = Self { raw, of, home: None, scope: PhantomData };
        // Before anything of the module's runs.
        arrival::tell(ctx.lock());
        ctx
    }

    /// Whether a command of a client's runs in it.
    pub(crate) fn is_commands(&self) -> bool {
        self.of != Of::Nobody
    }

    /// Whether there is a client that waits, or can't be asked to.
    pub(crate) fn is_waiting(&self) -> bool {
        self.of != Of::Command
    }

    /// The client waits from now on, or can't be asked to any more.
    pub(crate) fn waits(&mut self) {
        if self.of == Of::Command {
            self.of = Of::Waiting;
        }
    }

    /// Selects the client's own database again.
    pub(crate) fn go_home(&mut self) {
        if let Some(home) = self.home.take() {
            self.select(home);
        }
    }

    pub(crate) fn raw(&self) -> *mut raw::RedisModuleCtx {
        self.raw
    }

    /// That the server's lock is held, for as long as the callback runs.
    pub fn lock(&self) -> Lock<'a> {
        // SAFETY: see `new`.
        unsafe { Lock::held() }
    }

    /// What the server says of the context, all at once.
    pub(crate) fn flags(&self) -> Flags {
        // SAFETY: the context is valid.
        Flags(unsafe { api!(RedisModule_GetContextFlags(self.raw)) as u32 })
    }

    /// Whether the command comes from a primary or is replayed from an AOF: the checks of its caller
    /// were made where the caller was.
    pub fn is_replayed(&self) -> bool {
        self.flags().are_of_replayed()
    }

    /// Whether the server uses more than `maxmemory`.
    pub fn is_over_maxmemory(&self) -> bool {
        self.flags().has(raw::REDISMODULE_CTX_FLAGS_OOM)
    }

    /// Whether the server is Valkey.
    pub(crate) fn is_valkey(&self) -> bool {
        static IS_VALKEY: OnceLock<bool> = OnceLock::new();
        *IS_VALKEY.get_or_init(|| {
            self.server_info(c"server", |info| !info.text(c"valkey_version").is_empty())
        })
    }

    /// Whether this node is a replica.
    pub fn is_replica(&self) -> bool {
        self.flags().has(raw::REDISMODULE_CTX_FLAGS_SLAVE)
    }

    /// Whether the caller can't wait: it is in MULTI, in a script or behind another module.
    pub(crate) fn denies_blocking(&self) -> bool {
        let flags = self.flags();
        flags.deny_waiting() || flags.are_in_multi() || flags.are_in_script()
    }

    /// The number of the selected database.
    pub fn database(&self) -> i32 {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_GetSelectedDb(self.raw)) }
    }

    /// Selects a database for the rest of the callback; false where there is none of this number.
    pub fn select(&mut self, database: i32) -> bool {
        // The server would leave the client there.
        if self.is_commands() && self.home.is_none() {
            self.home = Some(self.database());
        }
        // SAFETY: the context is valid; the server checks the number.
        accepted(unsafe { api!(RedisModule_SelectDb(self.raw, database)) }).is_ok()
    }

    /// Whether there is more than one database.
    pub(crate) fn has_databases(&mut self) -> bool {
        let here = self.database();
        let has = self.select(1);
        self.select(here);
        has
    }

    /// Keeps an argument out of MONITOR and SLOWLOG, where the server can (7.0).
    pub(crate) fn redact(&self, position: usize) {
        // SAFETY: reads the table; the context is valid and the server checks the position.
        unsafe {
            if let Some(redact) = raw::RedisModule_RedactClientCommandArgument {
                redact(self.raw, position as c_int);
            }
        }
    }

    /// Whether the server only asks where the keys of a call are (`getkeys-api`).
    pub(crate) fn asks_for_keys(&self) -> bool {
        // SAFETY: reads the table; the context is valid.
        unsafe { raw::RedisModule_IsKeysPositionRequest.is_some_and(|asks| asks(self.raw) != 0) }
    }

    /// Tells where a key is, and, where the server wants to know (7.0), what becomes of it.
    pub(crate) fn key_is_at(&self, position: usize, flags: u32) {
        // SAFETY: reads the table; the context is valid and the server checks the position.
        unsafe {
            match (raw::RedisModule_KeyAtPosWithFlags, raw::RedisModule_KeyAtPos) {
                (Some(tell), _) => tell(self.raw, position as c_int, flags as c_int),
                (None, Some(tell)) => tell(self.raw, position as c_int),
                (None, None) => {}
            }
        }
    }

    /// Fields of one section of INFO.
    pub fn server_info<T>(&self, section: &CStr, read: impl FnOnce(&ServerInfo) -> T) -> T {
        // SAFETY: the context is valid.
        let raw = unsafe { api!(RedisModule_GetServerInfo(self.raw, section.as_ptr())) };
        read(&ServerInfo { raw, ctx: self })
    }
}

/// What INFO says.
pub struct ServerInfo<'c, 'a> {
    raw: *mut raw::RedisModuleServerInfoData,
    ctx: &'c Ctx<'a>,
}

impl ServerInfo<'_, '_> {
    /// A field's value; empty where there is none.
    pub fn text(&self, field: &CStr) -> Cow<'_, str> {
        // SAFETY: the data is valid as long as self; the text as long as the data.
        unsafe {
            let text = api!(RedisModule_ServerInfoGetFieldC(self.raw, field.as_ptr()));
            if text.is_null() {
                return Cow::Borrowed("");
            }
            CStr::from_ptr(text).to_string_lossy()
        }
    }

    /// A field's number; 0 where there is none.
    pub fn number(&self, field: &CStr) -> u64 {
        self.text(field).parse().unwrap_or(0)
    }
}

impl Drop for ServerInfo<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: made with this context, and freed once.
        unsafe { api!(RedisModule_FreeServerInfo(self.ctx.raw, self.raw)) };
    }
}
