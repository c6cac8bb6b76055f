//! The module API of the server, as this module uses it: every raw call stands here.
//!
//! Each wrapper takes and returns Rust values and says why its call is sound. What they all rest on:
//! the API's functions are called on the server's main thread or by a thread that holds the server's lock, with the pointers that the server
//! handed to the running callback (types here borrow them, so that they can't outlive it);
//! [`missing_functions`] is checked at load, so that a function that every supported server has is
//! there. What only newer servers have is an `Option` at its place.

use redis_module::raw;
use std::borrow::Cow;
use std::ffi::{c_int, c_longlong, c_void, CStr};
use std::marker::PhantomData;
use std::ptr::{null_mut, NonNull};

/// Calls a function that [`missing_functions`] has seen.
macro_rules! api {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY (of reading the table): the server fills it before OnLoad continues and never
        // writes it again. Of the call itself: said where it is used.
        match raw::$name {
            Some(function) => function($($argument),*),
            None => panic!(concat!("the server has no ", stringify!($name))),
        }
    }};
}

macro_rules! required {
    ($($name:ident),* $(,)?) => {
        /// Functions that every supported server has and this one hasn't.
        pub fn missing_functions() -> Vec<&'static str> {
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
    RedisModule_CloseKey,
    RedisModule_CreateCommand,
    RedisModule_CreateDataType,
    RedisModule_CreateString,
    RedisModule_CreateTimer,
    RedisModule_DigestAddLongLong,
    RedisModule_DigestAddStringBuffer,
    RedisModule_DigestEndSequence,
    RedisModule_EmitAOF,
    RedisModule_Free,
    RedisModule_FreeCallReply,
    RedisModule_FreeServerInfo,
    RedisModule_FreeString,
    RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetContextFlags,
    RedisModule_GetExpire,
    RedisModule_GetKeyNameFromIO,
    RedisModule_GetRandomBytes,
    RedisModule_GetSelectedDb,
    RedisModule_GetServerInfo,
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
    RedisModule_SetExpire,
    RedisModule_SetModuleOptions,
    RedisModule_SignalModifiedKey,
    RedisModule_StringPtrLen,
    RedisModule_StringToLongLong,
    RedisModule_SubscribeToKeyspaceEvents,
    RedisModule_SubscribeToServerEvent,
    RedisModule_UnblockClient,
    RedisModule_UnlinkKey,
);

/// The API said no, where no more than that is known.
#[derive(Debug)]
pub struct Refused;

fn accepted(status: c_int) -> Result<(), Refused> {
    if status == raw::REDISMODULE_OK as c_int {
        Ok(())
    } else {
        Err(Refused)
    }
}

/// Sets the table of functions up and tells the server the module's name.
///
/// # Safety
/// `ctx` is what the server gave to OnLoad.
pub unsafe fn init(
    ctx: *mut raw::RedisModuleCtx,
    name: &CStr,
    version: c_int,
) -> Result<(), Refused> {
    accepted(raw::Export_RedisModule_Init(
        ctx,
        name.as_ptr(),
        version,
        raw::REDISMODULE_APIVER_1 as c_int,
    ))
}

/// What the server knows of the call that is running.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    raw: *mut raw::RedisModuleCtx,
    scope: PhantomData<&'a ()>,
}

impl<'a> Ctx<'a> {
    /// # Safety
    /// `raw` is valid for `'a`: the server's argument to the running callback.
    pub unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Self { raw, scope: PhantomData }
    }

    fn flags(self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_GetContextFlags(self.raw)) as u32 }
    }

    /// Whether the command comes from a primary or is replayed from an AOF: the checks of its caller
    /// were made where the caller was.
    pub fn is_replayed(self) -> bool {
        self.flags() & (raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING)
            != 0
    }

    pub fn is_replica(self) -> bool {
        self.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0
    }

    /// Whether this node is a replica of a cluster: at its start the server has not yet turned it into one
    /// (`is_replica`), but its configuration of the cluster says so.
    pub fn is_cluster_replica(self) -> bool {
        if self.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER == 0 {
            return false;
        }
        const ID_BYTES: usize = raw::REDISMODULE_NODE_ID_LEN as usize;
        let mut named = [0u8; ID_BYTES + 1];
        let mut flags: c_int = 0;
        // SAFETY: reads the table; the context is valid. The id has that length and no end for C, which
        // the other function wants; the server fills the flags, and takes null for what is not wanted.
        unsafe {
            let (Some(id), Some(info)) =
                (raw::RedisModule_GetMyClusterID, raw::RedisModule_GetClusterNodeInfo)
            else {
                return false;
            };
            let id = id();
            if id.is_null() {
                return false;
            }
            std::ptr::copy_nonoverlapping(id.cast(), named.as_mut_ptr(), ID_BYTES);
            let named = named.as_ptr().cast();
            accepted(info(self.raw, named, null_mut(), null_mut(), null_mut(), &mut flags)).is_ok()
                && flags as u32 & raw::REDISMODULE_NODE_SLAVE != 0
        }
    }

    /// Whether this node is a replica, or will be one as soon as it has started.
    pub fn is_any_replica(self) -> bool {
        self.is_replica() || self.is_cluster_replica()
    }

    /// Whether the client can't wait: it is in MULTI, in a script or behind RM_Call.
    pub fn denies_blocking(self) -> bool {
        let deny = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA;
        self.flags() & deny != 0
    }

    /// Whether the server only asks where the keys of a call are (`getkeys-api`).
    pub fn asks_for_keys(self) -> bool {
        // SAFETY: reads the table; the context is valid.
        unsafe { raw::RedisModule_IsKeysPositionRequest.is_some_and(|asks| asks(self.raw) != 0) }
    }

    /// Tells where a key is, and, where the server wants to know (7.0), what becomes of it.
    pub fn key_is_at(self, position: usize, flags: u32) {
        // SAFETY: reads the table; the context is valid and the server checks the position.
        unsafe {
            match (raw::RedisModule_KeyAtPosWithFlags, raw::RedisModule_KeyAtPos) {
                (Some(tell), _) => tell(self.raw, position as c_int, flags as c_int),
                (None, Some(tell)) => tell(self.raw, position as c_int),
                (None, None) => {}
            }
        }
    }

    /// The number of the selected database.
    pub fn database(self) -> i32 {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_GetSelectedDb(self.raw)) }
    }

    /// Selects a database for the rest of the callback; false where there is none of this number.
    pub fn select(self, database: i32) -> bool {
        // SAFETY: the context is valid; the server checks the number.
        accepted(unsafe { api!(RedisModule_SelectDb(self.raw, database)) }).is_ok()
    }

    /// Keeps an argument out of MONITOR and SLOWLOG, where the server can (7.0).
    pub fn redact(self, position: usize) {
        // SAFETY: reads the table; the context is valid and the server checks the position.
        unsafe {
            if let Some(redact) = raw::RedisModule_RedactClientCommandArgument {
                redact(self.raw, position as c_int);
            }
        }
    }

    pub fn reply_simple(self, text: &CStr) {
        // SAFETY: the context is valid; the server copies the text.
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.raw, text.as_ptr())) };
    }

    pub fn reply_bulk(self, bytes: &[u8]) {
        // SAFETY: the context is valid; the server copies the bytes.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len()))
        };
    }

    pub fn reply_integer(self, number: i64) {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_ReplyWithLongLong(self.raw, number)) };
    }

    pub fn reply_nil(self) {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_ReplyWithNull(self.raw)) };
    }

    pub fn reply_array(self, elements: usize) {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_ReplyWithArray(self.raw, elements as _)) };
    }

    /// A map of so many pairs; a flat array where the protocol or the server (6.2) has no maps.
    pub fn reply_map(self, pairs: usize) {
        // SAFETY: reads the table; the context is valid.
        unsafe {
            match raw::RedisModule_ReplyWithMap {
                Some(reply) => reply(self.raw, pairs as _),
                None => api!(RedisModule_ReplyWithArray(self.raw, (pairs * 2) as _)),
            }
        };
    }

    /// An error; the text begins with its code.
    pub fn reply_error(self, text: &str) {
        let text = c_text(text);
        // SAFETY: the context is valid; the server copies the text.
        unsafe { api!(RedisModule_ReplyWithError(self.raw, text.as_ptr().cast())) };
    }

    /// Replicates the command as it came.
    pub fn replicate_verbatim(self) {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_ReplicateVerbatim(self.raw)) };
    }

    /// Replicates a command with these arguments in place of the one that came: first `same`, strings
    /// that the server has already, then `others`.
    pub fn replicate(self, command: &CStr, same: &[Name], others: &[&[u8]]) {
        let strings: Vec<_> = others.iter().map(|bytes| Text::new(bytes)).collect();
        let mut pointers = Vec::with_capacity(same.len() + others.len());
        pointers.extend(same.iter().map(|name| name.raw));
        pointers.extend(strings.iter().map(|string| string.raw.as_ptr()));
        // SAFETY: the context is valid; "v" takes a vector of strings and its length, and the server
        // keeps references of its own.
        unsafe {
            api!(RedisModule_Replicate(
                self.raw,
                command.as_ptr(),
                c"v".as_ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
            ))
        };
    }

    /// Replicates a command with a string that the server has already and bytes as its arguments, in place
    /// of the one that came.
    pub fn replicate_value(self, command: &CStr, same: Name, bytes: &[u8]) {
        // SAFETY: the context is valid; "sb" takes a string, and bytes with their length.
        unsafe {
            api!(RedisModule_Replicate(
                self.raw,
                command.as_ptr(),
                c"sb".as_ptr(),
                same.raw,
                bytes.as_ptr(),
                bytes.len(),
            ))
        };
    }

    /// Publishes a message to all who subscribe to the channel, on this node, its replicas and the other
    /// nodes of a cluster.
    pub fn publish(self, channel: &[u8], message: &[u8]) {
        // SAFETY: the context is valid; "!bb" takes byte strings with their lengths, and replicates
        // the call where the server would; the reply is freed.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw,
                c"PUBLISH".as_ptr(),
                c"!bb".as_ptr(),
                channel.as_ptr(),
                channel.len(),
                message.as_ptr(),
                message.len(),
            ));
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply(reply));
            }
        }
    }

    /// Tells WATCH and CLIENT TRACKING that a key's value has changed.
    pub fn signal_modified(self, key: Name) {
        // SAFETY: context and name are valid.
        unsafe { api!(RedisModule_SignalModifiedKey(self.raw, key.raw)) };
    }

    /// Tells keyspace notifications that something of this module's happened to a key.
    pub fn notify(self, class: Notify, event: &CStr, key: Name) {
        // SAFETY: context and name are valid; the event is a C string.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent(self.raw, class as c_int, event.as_ptr(), key.raw))
        };
    }

    /// Whether the caller may do this to keys of this name; servers before 7.0 can't tell and say yes.
    pub fn caller_may(self, access: Access, name: Name) -> bool {
        // SAFETY: reads the table; the context and the name are valid, the user is freed after use.
        unsafe {
            let (Some(user_of), Some(free_user), Some(check)) = (
                raw::RedisModule_GetModuleUserFromUserName,
                raw::RedisModule_FreeModuleUser,
                raw::RedisModule_ACLCheckKeyPermissions,
            ) else {
                return true;
            };
            let Some(user_name) = self.user_name() else { return true };
            let user = user_of(user_name.raw.as_ptr());
            if user.is_null() {
                return false;
            }
            let verdict = check(user, name.raw, access as c_int);
            free_user(user);
            accepted(verdict).is_ok()
        }
    }

    /// Whether the call comes over a connection: not from a script, another module or an AOF, whose clients
    /// may not block and are in no MULTI of their own.
    fn has_connection(self) -> bool {
        let flags = self.flags();
        let is = |flag: u32| flags & flag != 0;
        !is(raw::REDISMODULE_CTX_FLAGS_LUA)
            && (!is(raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING)
                || is(raw::REDISMODULE_CTX_FLAGS_MULTI))
    }

    /// Where the caller's connection comes from, its host and its port; `None` where there is none.
    pub fn client_address(self) -> Option<(String, u16)> {
        if !self.has_connection() {
            return None;
        }
        // SAFETY: reads the table; the context is valid. A structure of numbers and an array, in the
        // version that it names, which the server fills and ends with a NUL. The client has a connection:
        // Valkey 9 finds a script's client too, and ends at the connection that it has not.
        unsafe {
            let id = raw::RedisModule_GetClientId?(self.raw);
            let mut info: raw::RedisModuleClientInfo = std::mem::zeroed();
            info.version = u64::from(raw::REDISMODULE_CLIENTINFO_VERSION);
            let data: *mut c_void = (&raw mut info).cast();
            accepted(raw::RedisModule_GetClientInfoById?(data, id)).ok()?;
            let host = info.addr.map(|byte| byte as u8);
            let host = CStr::from_bytes_until_nul(&host).ok()?;
            Some((host.to_string_lossy().into_owned(), info.port))
        }
    }

    /// The caller's user; `None` for another module that calls in its own name, and where the server
    /// does not tell (6.2, in a script).
    pub fn user_name(self) -> Option<Text> {
        // SAFETY: reads the table; the context is valid; the string is ours, since the module uses no
        // automatic memory. GetCurrentUserName dereferences the client's user, which is null where a
        // module calls by RM_Call, so a client that is in no list (that one, or a script's) is asked
        // first whether it has one: a call in the user's name ("C") is refused with ENOTSUP if not.
        unsafe {
            let id = raw::RedisModule_GetClientId?(self.raw);
            let listed = NonNull::new(raw::RedisModule_GetClientUserNameById?(self.raw, id));
            if let Some(raw) = listed {
                return Some(Text { raw });
            }
            let reply = api!(RedisModule_Call(self.raw, c"PING".as_ptr(), c"C".as_ptr()));
            if reply.is_null() {
                if std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOTSUP) {
                    return None;
                }
            } else {
                api!(RedisModule_FreeCallReply(reply));
            }
            let raw = NonNull::new(raw::RedisModule_GetCurrentUserName?(self.raw))?;
            Some(Text { raw })
        }
    }

    /// Fields of one section of INFO.
    pub fn server_info<T>(self, section: &CStr, read: impl FnOnce(&ServerInfo) -> T) -> T {
        // SAFETY: the context is valid; the data is freed after its last use.
        unsafe {
            let data = api!(RedisModule_GetServerInfo(self.raw, section.as_ptr()));
            let result = read(&ServerInfo { raw: data });
            api!(RedisModule_FreeServerInfo(self.raw, data));
            result
        }
    }
}

/// What INFO says.
pub struct ServerInfo {
    raw: *mut raw::RedisModuleServerInfoData,
}

impl ServerInfo {
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

    pub fn number(&self, field: &CStr) -> u64 {
        self.text(field).parse().unwrap_or(0)
    }
}

/// What a user may do to keys of a name.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Access {
    Read = raw::REDISMODULE_CMD_KEY_ACCESS,
    Write = raw::REDISMODULE_CMD_KEY_UPDATE | raw::REDISMODULE_CMD_KEY_DELETE,
}

/// Classes of keyspace notifications that this module raises.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Notify {
    Generic = raw::REDISMODULE_NOTIFY_GENERIC,
    Module = raw::REDISMODULE_NOTIFY_MODULE,
}

/// A string of the server's, borrowed: an argument, a key's name.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    raw: *mut raw::RedisModuleString,
    scope: PhantomData<&'a ()>,
}

impl<'a> Name<'a> {
    /// # Safety
    /// `raw` is a valid string for `'a`.
    pub unsafe fn new(raw: *mut raw::RedisModuleString) -> Self {
        Self { raw, scope: PhantomData }
    }

    pub fn as_ptr(self) -> *mut raw::RedisModuleString {
        self.raw
    }

    pub fn bytes(self) -> &'a [u8] {
        // SAFETY: the string is valid for 'a and is not changed while the module runs.
        unsafe { string_bytes(self.raw) }
    }

    /// The number that the string is, written as Redis writes it.
    pub fn integer(self) -> Option<i64> {
        let mut number: c_longlong = 0;
        // SAFETY: the string is valid; the number is ours.
        let status = unsafe { api!(RedisModule_StringToLongLong(self.raw, &mut number)) };
        accepted(status).ok().map(|()| number)
    }
}

unsafe fn string_bytes<'a>(string: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    let start = api!(RedisModule_StringPtrLen(string, &mut len));
    if start.is_null() {
        return &[];
    }
    std::slice::from_raw_parts(start.cast(), len)
}

/// A string of our own making.
pub struct Text {
    raw: NonNull<raw::RedisModuleString>,
}

impl Text {
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: without a context the string is ours to free; the server copies the bytes, and ends
        // the process rather than return null.
        let raw = unsafe {
            api!(RedisModule_CreateString(null_mut(), bytes.as_ptr().cast(), bytes.len()))
        };
        match NonNull::new(raw) {
            Some(raw) => Self { raw },
            None => panic!("the server made no string"),
        }
    }

    pub fn name(&self) -> Name<'_> {
        Name { raw: self.raw.as_ptr(), scope: PhantomData }
    }

    /// Hands the string over to the server.
    pub fn into_raw(self) -> *mut raw::RedisModuleString {
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        raw
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: made without a context and not freed before.
        unsafe { api!(RedisModule_FreeString(null_mut(), self.raw.as_ptr())) };
    }
}

/// The arguments of a command, its name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    strings: &'a [*mut raw::RedisModuleString],
}

impl<'a> Args<'a> {
    /// # Safety
    /// `argv` are `argc` strings, valid for `'a`.
    pub unsafe fn new(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Self {
        let len = usize::try_from(argc).unwrap_or(0);
        if argv.is_null() || len == 0 {
            return Self { strings: &[] };
        }
        Self { strings: std::slice::from_raw_parts(argv, len) }
    }

    pub fn len(self) -> usize {
        self.strings.len()
    }

    pub fn get(self, position: usize) -> Option<Name<'a>> {
        // SAFETY: a string of the command, valid for 'a.
        self.strings.get(position).map(|&raw| unsafe { Name::new(raw) })
    }

    /// Those from a position on.
    pub fn from(self, position: usize) -> impl Iterator<Item = Name<'a>> {
        // SAFETY: as in `get`.
        self.strings.iter().skip(position).map(|&raw| unsafe { Name::new(raw) })
    }
}

/// How a key is opened.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Mode {
    Read = raw::REDISMODULE_READ,
    ReadWrite = raw::REDISMODULE_READ | raw::REDISMODULE_WRITE,
    /// Read, and leave the key's idle time and frequency, by which the server evicts, as they are.
    Look = raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH,
}

/// A native data type of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataType(*mut raw::RedisModuleType);

// SAFETY: the server makes a type at load and keeps it as long as the module; the pointer is only
// handed back to the server, on the main thread.
unsafe impl Send for DataType {}
unsafe impl Sync for DataType {}

impl DataType {
    pub fn create(
        ctx: Ctx,
        name: &CStr,
        version: c_int,
        methods: &mut raw::RedisModuleTypeMethods,
    ) -> Result<Self, Refused> {
        // SAFETY: the context is OnLoad's; the server copies the methods.
        let raw =
            unsafe { api!(RedisModule_CreateDataType(ctx.raw, name.as_ptr(), version, methods)) };
        if raw.is_null() {
            return Err(Refused);
        }
        Ok(Self(raw))
    }
}

/// A key that is open, or an empty name.
pub struct Key<'a> {
    raw: *mut raw::RedisModuleKey,
    owned: bool,
    scope: PhantomData<&'a ()>,
}

/// What a key holds.
pub enum Held {
    Nothing,
    /// A value of a module's data type.
    Value(DataType, *mut c_void),
    /// A value of Redis' own.
    Other,
}

impl<'a> Key<'a> {
    pub fn open(ctx: Ctx<'a>, name: Name, mode: Mode) -> Self {
        // SAFETY: context and name are valid; the key is closed when this is dropped.
        let raw = unsafe { api!(RedisModule_OpenKey(ctx.raw, name.raw, mode as c_int)).cast() };
        Self { raw, owned: true, scope: PhantomData }
    }

    /// # Safety
    /// `raw` is a key that the server has opened, and will close, for the running callback, or null.
    pub unsafe fn borrow(raw: *mut raw::RedisModuleKey) -> Self {
        Self { raw, owned: false, scope: PhantomData }
    }

    pub fn held(&self) -> Held {
        if self.raw.is_null() {
            return Held::Nothing;
        }
        // SAFETY: the key is open. Both functions take any key, and know a type of module values alone.
        unsafe {
            let data_type = api!(RedisModule_ModuleTypeGetType(self.raw));
            if !data_type.is_null() {
                let value = api!(RedisModule_ModuleTypeGetValue(self.raw));
                return Held::Value(DataType(data_type), value);
            }
            match api!(RedisModule_KeyType(self.raw)) as isize {
                raw::REDISMODULE_KEYTYPE_EMPTY => Held::Nothing,
                _ => Held::Other,
            }
        }
    }

    /// Puts a value in place of what the key holds; its TTL goes, and `unlink` is called.
    ///
    /// # Safety
    /// `value` is one of `data_type`'s, and the server's from here on (unless this fails).
    pub unsafe fn set(&mut self, data_type: DataType, value: *mut c_void) -> Result<(), Refused> {
        accepted(api!(RedisModule_ModuleTypeSetValue(self.raw, data_type.0, value)))
    }

    /// Removes the key, its value in the background where that is worth it.
    pub fn unlink(&mut self) -> Result<(), Refused> {
        // SAFETY: the key is open for writing, or the server refuses.
        accepted(unsafe { api!(RedisModule_UnlinkKey(self.raw)) })
    }

    /// The number of the key's database. In the notification of a COPY or MOVE inside MULTI, Valkey 9
    /// opens the key where it has come to, while the context's database is where it came from.
    pub fn database(&self, ctx: Ctx) -> i32 {
        // SAFETY: reads the table; the key is open.
        match unsafe { raw::RedisModule_GetDbIdFromModuleKey } {
            Some(database) if !self.raw.is_null() => unsafe { database(self.raw) },
            _ => ctx.database(),
        }
    }

    /// When the key expires, in epoch milliseconds. Not asked of an empty key: Redis 8 ends there.
    pub fn expires_at(&self) -> Option<i64> {
        if matches!(self.held(), Held::Nothing) {
            return None;
        }
        // SAFETY: reads the table; the key is open.
        unsafe {
            let at = match raw::RedisModule_GetAbsExpire {
                Some(get) => get(self.raw),
                None => within_one_millisecond(|now| {
                    let left = api!(RedisModule_GetExpire(self.raw));
                    if left == NO_EXPIRE {
                        NO_EXPIRE
                    } else {
                        left + now
                    }
                }),
            };
            (at != NO_EXPIRE).then_some(at)
        }
    }

    pub fn set_expires_at(&mut self, at: i64) -> Result<(), Refused> {
        // SAFETY: reads the table; the key is open for writing, or the server refuses.
        accepted(unsafe {
            match raw::RedisModule_SetAbsExpire {
                Some(set) => set(self.raw, at),
                None => within_one_millisecond(|now| {
                    api!(RedisModule_SetExpire(self.raw, (at - now).max(0)))
                }),
            }
        })
    }
}

const NO_EXPIRE: i64 = raw::REDISMODULE_NO_EXPIRE as i64;

/// Servers before 7.0 take and give a key's expiry as the time that is left. Runs `body` until it
/// began and ended in the same millisecond, so that what it makes of `now` is exact.
fn within_one_millisecond<T>(mut body: impl FnMut(i64) -> T) -> T {
    const TRIES: usize = 100;
    for _ in 1..TRIES {
        let before = now();
        let result = body(before);
        if now() == before {
            return result;
        }
    }
    body(now())
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        if self.owned && !self.raw.is_null() {
            // SAFETY: opened by us and closed once.
            unsafe { api!(RedisModule_CloseKey(self.raw)) };
        }
    }
}

/// The stream that an RDB or AOF callback reads or writes.
#[derive(Clone, Copy)]
pub struct Io<'a> {
    raw: *mut raw::RedisModuleIO,
    scope: PhantomData<&'a ()>,
}

impl Io<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub unsafe fn new(raw: *mut raw::RedisModuleIO) -> Self {
        Self { raw, scope: PhantomData }
    }

    pub fn save(self, bytes: &[u8]) {
        // SAFETY: the stream is valid; the server copies the bytes.
        unsafe { api!(RedisModule_SaveStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len())) };
    }

    /// The next byte string; `None` where the stream ends or is broken.
    pub fn load(self) -> Option<Loaded> {
        let mut len = 0;
        // SAFETY: the stream is valid; the buffer, of that length, is ours to free.
        let loaded = unsafe {
            let start = api!(RedisModule_LoadStringBuffer(self.raw, &mut len));
            Loaded { start: NonNull::new(start)?, len }
        };
        // SAFETY: the stream is valid.
        (unsafe { api!(RedisModule_IsIOError(self.raw)) } == 0).then_some(loaded)
    }

    /// Writes a command into the AOF that brings the stream's key back.
    pub fn emit(self, command: &CStr, bytes: &[u8]) {
        // SAFETY: the stream is valid; "sb" takes a string, and bytes with their length.
        unsafe {
            let key = api!(RedisModule_GetKeyNameFromIO(self.raw));
            api!(RedisModule_EmitAOF(
                self.raw,
                command.as_ptr(),
                c"sb".as_ptr(),
                key,
                bytes.as_ptr(),
                bytes.len(),
            ));
        }
    }
}

/// A byte string of a stream's.
pub struct Loaded {
    start: NonNull<std::ffi::c_char>,
    len: usize,
}

impl Loaded {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: a buffer of that length, which nobody else has.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len) }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the server's allocator made it; freed once.
        unsafe { api!(RedisModule_Free(self.start.as_ptr().cast())) };
    }
}

/// What DEBUG DIGEST sums up.
#[derive(Clone, Copy)]
pub struct Digest<'a> {
    raw: *mut raw::RedisModuleDigest,
    scope: PhantomData<&'a ()>,
}

impl Digest<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub unsafe fn new(raw: *mut raw::RedisModuleDigest) -> Self {
        Self { raw, scope: PhantomData }
    }

    pub fn add(self, bytes: &[u8]) {
        // SAFETY: the digest is valid; the bytes are only read.
        unsafe {
            api!(RedisModule_DigestAddStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len()))
        };
    }

    pub fn add_number(self, number: i64) {
        // SAFETY: the digest is valid.
        unsafe { api!(RedisModule_DigestAddLongLong(self.raw, number)) };
    }

    pub fn end(self) {
        // SAFETY: the digest is valid.
        unsafe { api!(RedisModule_DigestEndSequence(self.raw)) };
    }
}

/// How loud a line of the log is.
#[derive(Clone, Copy)]
pub enum Level {
    Notice,
    Warning,
}

/// Writes a line to the server's log.
pub fn log(level: Level, text: &str) {
    let level = match level {
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    let text = c_text(&format!("apikey: {text}"));
    // SAFETY: a log line needs no context; the text is an argument of the format, not the format.
    unsafe { api!(RedisModule_Log(null_mut(), level.as_ptr(), c"%s".as_ptr(), text.as_ptr())) };
}

/// The text with an end for C; what stands behind a NUL would be lost, so that becomes a space.
fn c_text(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().map(|b| if b == 0 { b' ' } else { b }).collect();
    bytes.push(0);
    bytes
}

/// The wall clock in epoch milliseconds.
pub fn now() -> i64 {
    // SAFETY: no arguments.
    unsafe { api!(RedisModule_Milliseconds()) }
}

/// Random bytes that are hard to guess.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: the buffer has that length.
    unsafe { api!(RedisModule_GetRandomBytes(bytes.as_mut_ptr(), N)) };
    bytes
}

/// Whether replicas have to be left alone, since clients are paused for a failover or a shutdown:
/// replicating then ends the server.
pub fn avoids_replica_traffic() -> bool {
    // SAFETY: no arguments.
    unsafe { api!(RedisModule_AvoidReplicaTraffic()) != 0 }
}

/// Whether the server knows module configuration, command info and redaction (7.0).
pub fn is_redis_7() -> bool {
    // SAFETY: reads of the table.
    unsafe {
        { raw::RedisModule_LoadConfigs }.is_some() && { raw::RedisModule_SetCommandInfo }.is_some()
    }
}

/// Tells the server that loads check for errors themselves (a broken RESTORE is then an error, not
/// the end of the server), and that what is opened for writing is not always written.
pub fn declare_options(ctx: Ctx) {
    // SAFETY: the context is OnLoad's.
    unsafe {
        api!(RedisModule_SetModuleOptions(
            ctx.raw,
            (raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
                | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED) as c_int
        ))
    };
}

pub fn subscribe_to_keys(
    ctx: Ctx,
    classes: c_int,
    callback: raw::RedisModuleNotificationFunc,
) -> Result<(), Refused> {
    // SAFETY: the context is OnLoad's; the callback is a function of this module.
    accepted(unsafe { api!(RedisModule_SubscribeToKeyspaceEvents(ctx.raw, classes, callback)) })
}

pub fn subscribe_to_server(
    ctx: Ctx,
    id: u64,
    callback: raw::RedisModuleEventCallback,
) -> Result<(), Refused> {
    let event = raw::RedisModuleEvent { id, dataver: 1 };
    // SAFETY: the context is OnLoad's; the callback is a function of this module.
    accepted(unsafe { api!(RedisModule_SubscribeToServerEvent(ctx.raw, event, callback)) })
}

pub fn register_info(ctx: Ctx, callback: raw::RedisModuleInfoFunc) -> Result<(), Refused> {
    // SAFETY: the context is OnLoad's; the callback is a function of this module.
    accepted(unsafe { api!(RedisModule_RegisterInfoFunc(ctx.raw, callback)) })
}

/// Where INFO's fields go.
#[derive(Clone, Copy)]
pub struct InfoOut<'a> {
    raw: *mut raw::RedisModuleInfoCtx,
    scope: PhantomData<&'a ()>,
}

impl InfoOut<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub unsafe fn new(raw: *mut raw::RedisModuleInfoCtx) -> Self {
        Self { raw, scope: PhantomData }
    }

    /// Begins a section; false when it was not asked for.
    pub fn section(self, name: &CStr) -> bool {
        // SAFETY: the info context is valid; the server copies the name.
        accepted(unsafe { api!(RedisModule_InfoAddSection(self.raw, name.as_ptr())) }).is_ok()
    }

    pub fn field(self, name: &CStr, number: i64) {
        // SAFETY: as in `section`.
        unsafe { api!(RedisModule_InfoAddFieldLongLong(self.raw, name.as_ptr(), number)) };
    }
}

/// Runs `callback` once, `ms` milliseconds from now, on the context's database.
///
/// # Safety
/// `data` is what the callback takes it for.
pub unsafe fn start_timer(
    ctx: Ctx,
    ms: i64,
    callback: raw::RedisModuleTimerProc,
    data: *mut c_void,
) {
    api!(RedisModule_CreateTimer(ctx.raw, ms, callback, data));
}

/// A client that waits for its reply.
pub struct BlockedClient(*mut raw::RedisModuleBlockedClient);

impl BlockedClient {
    /// # Safety
    /// `reply` and `free` take the private data for what [`BlockedClient::unblock`] is given.
    pub unsafe fn block(
        ctx: Ctx,
        reply: raw::RedisModuleCmdFunc,
        free: unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut c_void),
    ) -> Self {
        Self(api!(RedisModule_BlockClient(ctx.raw, reply, None, Some(free), 0)))
    }

    /// # Safety
    /// `data` is what the functions given to [`BlockedClient::block`] take it for.
    pub unsafe fn unblock(self, data: *mut c_void) {
        api!(RedisModule_UnblockClient(self.0, data));
    }
}

/// The private data of the client that is replied to.
pub fn blocked_data(ctx: Ctx) -> *mut c_void {
    // SAFETY: the context is that of a reply callback.
    unsafe { api!(RedisModule_GetBlockedClientPrivateData(ctx.raw)) }
}

/// A walk over the keys of a database, with SCAN's guarantees.
pub struct Scan(NonNull<raw::RedisModuleScanCursor>);

impl Scan {
    pub fn new() -> Option<Self> {
        // SAFETY: no arguments.
        NonNull::new(unsafe { api!(RedisModule_ScanCursorCreate()) }).map(Self)
    }

    /// Calls `each` for a few keys of the context's database; false when there are no more.
    pub fn step(&mut self, ctx: Ctx, mut each: &mut dyn FnMut(Name, Key)) -> bool {
        unsafe extern "C" fn callback(
            _: *mut raw::RedisModuleCtx,
            name: *mut raw::RedisModuleString,
            key: *mut raw::RedisModuleKey,
            each: *mut c_void,
        ) {
            crate::guard::run("scan", (), || {
                // SAFETY: `each` is the pointer of `step`, name and key are the server's.
                unsafe {
                    let each = &mut *each.cast::<&mut dyn FnMut(Name, Key)>();
                    each(Name::new(name), Key::borrow(key));
                }
            });
        }
        let data: *mut c_void = (&raw mut each).cast();
        // SAFETY: the cursor is ours; the callback gets the pointer to `each`, which lives until the
        // call returns.
        unsafe { api!(RedisModule_Scan(ctx.raw, self.0.as_ptr(), Some(callback), data)) != 0 }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // SAFETY: made by us and destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy(self.0.as_ptr())) };
    }
}

/// Registers a command; see [`crate::command`].
pub fn create_command(
    ctx: Ctx,
    name: &CStr,
    function: raw::RedisModuleCmdFunc,
    flags: &CStr,
    (first, last, step): (c_int, c_int, c_int),
) -> Result<(), Refused> {
    // SAFETY: the context is OnLoad's; the server copies the texts.
    accepted(unsafe {
        api!(RedisModule_CreateCommand(
            ctx.raw,
            name.as_ptr(),
            function,
            flags.as_ptr(),
            first,
            last,
            step
        ))
    })
}

/// Tells the server what a command is, where it wants to know (7.0).
///
/// # Safety
/// All pointers in `info` are valid for the call, its arrays end with an empty element.
pub unsafe fn set_command_info(
    ctx: Ctx,
    name: &CStr,
    info: &raw::RedisModuleCommandInfo,
) -> Result<(), Refused> {
    let (Some(get), Some(set)) = (raw::RedisModule_GetCommand, raw::RedisModule_SetCommandInfo)
    else {
        return Ok(());
    };
    let command = get(ctx.raw, name.as_ptr());
    if command.is_null() {
        return Err(Refused);
    }
    accepted(set(command, info))
}

/// Adds an ACL category; false where the server knows no such thing (before 7.4).
pub fn add_category(ctx: Ctx, name: &CStr) -> Result<bool, Refused> {
    // SAFETY: reads the table; the context is OnLoad's.
    unsafe {
        match raw::RedisModule_AddACLCategory {
            Some(add) => accepted(add(ctx.raw, name.as_ptr())).map(|()| true),
            None => Ok(false),
        }
    }
}

/// Puts a command into ACL categories, where a module can (7.2).
pub fn set_command_categories(ctx: Ctx, name: &CStr, categories: &CStr) -> Result<(), Refused> {
    // SAFETY: reads the table; the context is OnLoad's, the texts C strings.
    unsafe {
        let (Some(get), Some(set)) =
            (raw::RedisModule_GetCommand, raw::RedisModule_SetCommandACLCategories)
        else {
            return Ok(());
        };
        let command = get(ctx.raw, name.as_ptr());
        if command.is_null() {
            return Err(Refused);
        }
        accepted(set(command, categories.as_ptr()))
    }
}

/// Where a configuration callback puts its error.
///
/// # Safety
/// `error` is the server's argument to the running callback.
pub unsafe fn set_config_error(error: *mut *mut raw::RedisModuleString, text: &str) {
    if !error.is_null() {
        *error = Text::new(text.as_bytes()).into_raw();
    }
}

/// A setting of the module's: the static that its callbacks get as private data.
pub struct Setting<T: 'static> {
    pub name: &'static CStr,
    pub own: &'static T,
    /// Whether CONFIG SET is refused.
    pub fixed: bool,
}

impl<T> Setting<T> {
    fn own_ptr(&self) -> *mut c_void {
        std::ptr::from_ref(self.own).cast_mut().cast()
    }

    fn flags(&self) -> u32 {
        if self.fixed {
            raw::REDISMODULE_CONFIG_IMMUTABLE
        } else {
            raw::REDISMODULE_CONFIG_DEFAULT
        }
    }
}

pub fn register_number<T>(
    ctx: Ctx,
    setting: Setting<T>,
    default: i64,
    (least, most): (i64, i64),
    (get, set, apply): (
        raw::RedisModuleConfigGetNumericFunc,
        raw::RedisModuleConfigSetNumericFunc,
        raw::RedisModuleConfigApplyFunc,
    ),
) -> Result<(), Refused> {
    let own = setting.own_ptr();
    // SAFETY: OnLoad's context; a static text; the callbacks take the private data for what it is.
    accepted(unsafe {
        api!(RedisModule_RegisterNumericConfig(
            ctx.raw,
            setting.name.as_ptr(),
            default,
            setting.flags(),
            least,
            most,
            get,
            set,
            apply,
            own,
        ))
    })
}

pub fn register_bool<T>(
    ctx: Ctx,
    setting: Setting<T>,
    default: bool,
    get: raw::RedisModuleConfigGetBoolFunc,
    set: raw::RedisModuleConfigSetBoolFunc,
) -> Result<(), Refused> {
    let (default, own) = (c_int::from(default), setting.own_ptr());
    // SAFETY: as in `register_number`.
    accepted(unsafe {
        api!(RedisModule_RegisterBoolConfig(
            ctx.raw,
            setting.name.as_ptr(),
            default,
            setting.flags(),
            get,
            set,
            None,
            own,
        ))
    })
}

pub fn register_string<T>(
    ctx: Ctx,
    setting: Setting<T>,
    default: &CStr,
    get: raw::RedisModuleConfigGetStringFunc,
    set: raw::RedisModuleConfigSetStringFunc,
) -> Result<(), Refused> {
    let own = setting.own_ptr();
    // SAFETY: as in `register_number`; the server copies the default.
    accepted(unsafe {
        api!(RedisModule_RegisterStringConfig(
            ctx.raw,
            setting.name.as_ptr(),
            default.as_ptr(),
            setting.flags(),
            get,
            set,
            None,
            own,
        ))
    })
}

/// Lets the server set what its configuration says of the registered settings.
pub fn load_configs(ctx: Ctx) -> Result<(), Refused> {
    // SAFETY: OnLoad's context.
    accepted(unsafe { api!(RedisModule_LoadConfigs(ctx.raw)) })
}
