//! A command's call: its arguments, keys, replies, what is told of a change. Each is one call of the module API or two, and
//! costs no more than that.

use crate::api::{api, OK};
use crate::value::{all_mut, data_type, free, pack, Value};
use redis_module::raw;
use std::ffi::{c_int, c_longlong, c_void, CStr};

/// What a command replies where it can't do what it is there for: the benchmark ends by it.
pub type Result<T> = std::result::Result<T, &'static CStr>;

/// A command of the floor's.
pub trait Command {
    const NAME: &'static CStr;
    const FLAGS: &'static CStr;
    /// The positions of the first key and of the last, and how far one is from the next.
    const KEYS: (c_int, c_int, c_int) = (1, 1, 1);
    /// The fewest arguments, its name included.
    const LEAST: usize;

    fn run(call: &Call) -> Result<()>;
}

/// Tells the server of a command.
///
/// # Safety
/// `ctx` is OnLoad's.
pub unsafe fn create<C: Command>(ctx: *mut raw::RedisModuleCtx) -> bool {
    let (first, last, step) = C::KEYS;
    let (name, flags) = (C::NAME.as_ptr(), C::FLAGS.as_ptr());
    api!(RedisModule_CreateCommand(ctx, name, Some(run::<C>), flags, first, last, step)) == OK
}

/// # Safety
/// Called by the server, with `argc` strings.
unsafe extern "C" fn run<C: Command>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's arguments, which stay while the command runs.
    let call = Call { ctx, args: std::slice::from_raw_parts(argv, argc as usize) };
    if call.args.len() < C::LEAST {
        return api!(RedisModule_WrongArity(ctx));
    }
    if let Err(text) = C::run(&call) {
        api!(RedisModule_ReplyWithError(ctx, text.as_ptr()));
    }
    OK
}

/// A call of a command's: only the server makes one, by [`run`], so that its context and its arguments are valid as long
/// as it can be looked at.
pub struct Call<'a> {
    ctx: *mut raw::RedisModuleCtx,
    args: &'a [*mut raw::RedisModuleString],
}

// SAFETY, for every call of the server's below: context and arguments are valid, see `Call`; the server copies what is
// replied and replicated.
impl Call<'_> {
    pub fn args(&self) -> usize {
        self.args.len()
    }

    /// The bytes of an argument.
    pub fn bytes(&self, position: usize) -> &[u8] {
        let mut len = 0;
        unsafe {
            let bytes = api!(RedisModule_StringPtrLen(self.args[position], &mut len));
            std::slice::from_raw_parts(bytes.cast(), len)
        }
    }

    pub fn number(&self, position: usize) -> Result<i64> {
        let mut number: c_longlong = 0;
        match unsafe { api!(RedisModule_StringToLongLong(self.args[position], &mut number)) } {
            OK => Ok(number),
            _ => Err(c"ERR seconds must be a number"),
        }
    }

    /// Opens a key for reading.
    pub fn open(&self, position: usize) -> Key<'_> {
        self.open_as(position, raw::REDISMODULE_READ)
    }

    /// Opens a key for reading and writing.
    pub fn open_to_write(&self, position: usize) -> Key<'_> {
        self.open_as(position, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE)
    }

    fn open_as(&self, position: usize, mode: u32) -> Key<'_> {
        let name = self.args[position];
        let raw = unsafe { api!(RedisModule_OpenKey(self.ctx, name, mode as c_int)).cast() };
        Key { raw, name, call: self }
    }

    pub fn array(&self, elements: usize) {
        unsafe { api!(RedisModule_ReplyWithArray(self.ctx, elements as _)) };
    }

    pub fn bulk(&self, bytes: &[u8]) {
        let (bytes, len) = (bytes.as_ptr().cast(), bytes.len());
        unsafe { api!(RedisModule_ReplyWithStringBuffer(self.ctx, bytes, len)) };
    }

    pub fn integer(&self, number: i64) {
        unsafe { api!(RedisModule_ReplyWithLongLong(self.ctx, number)) };
    }

    pub fn nil(&self) {
        unsafe { api!(RedisModule_ReplyWithNull(self.ctx)) };
    }

    pub fn ok(&self) {
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.ctx, c"OK".as_ptr())) };
    }

    /// Tells replicas and the AOF a word of two arguments: a key of the call's, and bytes.
    pub fn replicate(&self, word: &CStr, position: usize, bytes: &[u8]) -> Result<()> {
        let told = unsafe {
            api!(RedisModule_Replicate(
                self.ctx,
                word.as_ptr(),
                c"sb".as_ptr(),
                self.args[position],
                bytes.as_ptr(),
                bytes.len(),
            ))
        };
        match told {
            OK => Ok(()),
            _ => Err(c"ERR not replicated"),
        }
    }

    /// Tells keyspace notifications what became of a key.
    pub fn notify(&self, class: c_int, event: &CStr, position: usize) {
        let (event, name) = (event.as_ptr(), self.args[position]);
        unsafe { api!(RedisModule_NotifyKeyspaceEvent(self.ctx, class, event, name)) };
    }
}

/// An open key, closed when it is dropped. No command has two of them open at once.
pub struct Key<'a> {
    /// Null where there is nothing, and it was opened for reading.
    raw: *mut raw::RedisModuleKey,
    name: *mut raw::RedisModuleString,
    call: &'a Call<'a>,
}

// SAFETY, for every call of the server's below: the key is open, and null is taken for nothing where it may be that; name
// and context are those of the call, which is borrowed. A value of the floor's type was made by `pack`, stays while the
// key is open, and is changed by no other, see `Key`.
impl Key<'_> {
    /// What is stored there; an error where that is not of the floor's.
    pub fn value(&self) -> Result<Value<'_>> {
        self.held().map(|value| unsafe { Value::of(value) })
    }

    /// All bytes of it, to be changed where they are.
    pub fn all_mut(&mut self) -> Result<&mut [u8]> {
        self.held().map(|value| unsafe { all_mut(value) })
    }

    fn held(&self) -> Result<*mut c_void> {
        unsafe {
            // The server gives null for a key that is not there.
            match api!(RedisModule_ModuleTypeGetType(self.raw)) == data_type() {
                true => Ok(api!(RedisModule_ModuleTypeGetValue(self.raw))),
                false => Err(c"WRONGTYPE not a value of the floor's"),
            }
        }
    }

    /// Milliseconds until it expires.
    pub fn left(&self) -> i64 {
        unsafe { api!(RedisModule_GetExpire(self.raw)) }
    }

    /// Puts bytes, behind a frame, in place of what is there.
    pub fn put(&mut self, frame: usize, bytes: &[u8]) -> Result<()> {
        let value = pack(frame, bytes);
        match unsafe { api!(RedisModule_ModuleTypeSetValue(self.raw, data_type(), value)) } {
            OK => Ok(()),
            _ => {
                // SAFETY: it is still ours, and this was its only use.
                unsafe { free(value) };
                Err(c"ERR not stored")
            }
        }
    }

    pub fn expire_in(&mut self, seconds: i64) -> Result<()> {
        match unsafe { api!(RedisModule_SetExpire(self.raw, seconds.saturating_mul(1_000))) } {
            OK => Ok(()),
            _ => Err(c"ERR no expiry set"),
        }
    }

    /// Tells WATCH and CLIENT TRACKING that the value has changed.
    pub fn signal(&mut self) {
        unsafe { api!(RedisModule_SignalModifiedKey(self.call.ctx, self.name)) };
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once; the server takes null.
        unsafe { api!(RedisModule_CloseKey(self.raw)) };
    }
}
