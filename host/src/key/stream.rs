//! What a value is written into and read from: an RDB, an AOF, the sum of DEBUG DIGEST.

use crate::api::api;
use crate::strings::Name;
use redis_module::raw;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An RDB, a DUMP or a RESTORE that is read.
pub struct Load<'a> {
    raw: *mut raw::RedisModuleIO,
    scope: PhantomData<&'a mut ()>,
}

impl Load<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleIO) -> Self {
        Self { raw, scope: PhantomData }
    }

    /// The next byte string; `None` where the stream ends or is broken.
    pub fn bytes(&mut self) -> Option<Loaded> {
        let mut len = 0;
        // SAFETY: the stream is valid; the buffer, of that length, is ours to free.
        unsafe {
            let start = api!(RedisModule_LoadStringBuffer(self.raw, &mut len));
            let loaded = Loaded { start: NonNull::new(start)?, len };
            (api!(RedisModule_IsIOError(self.raw)) == 0).then_some(loaded)
        }
    }
}

/// Whether the server says of a value that it has read which key gets it.
pub(crate) fn says_keys() -> bool {
    // SAFETY: a read of the table.
    unsafe { { raw::RedisModule_GetDbIdFromIO }.is_some() }
}

impl<'a> Load<'a> {
    /// The number of the database and the name of the key that gets the value; `None` where there is none, or the
    /// server does not [say](says_keys).
    pub(super) fn key(&self) -> Option<(i32, Name<'a>)> {
        // SAFETY: a read of the table; the stream is valid, and so is the name while the callback runs.
        unsafe {
            let database = { raw::RedisModule_GetDbIdFromIO }?(self.raw);
            let name = Name::new(api!(RedisModule_GetKeyNameFromIO(self.raw)).cast_mut())?;
            (database >= 0).then_some((database, name))
        }
    }
}

/// A byte string of a stream's.
pub struct Loaded {
    start: NonNull<std::ffi::c_char>,
    len: usize,
}

impl std::ops::Deref for Loaded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
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

/// An RDB or a DUMP that is written.
pub struct Save<'a> {
    raw: *mut raw::RedisModuleIO,
    scope: PhantomData<&'a mut ()>,
}

impl Save<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleIO) -> Self {
        Self { raw, scope: PhantomData }
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the stream is valid; the server copies the bytes.
        unsafe { api!(RedisModule_SaveStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len())) };
    }
}

/// An AOF that is written anew.
pub struct Rewrite<'a> {
    raw: *mut raw::RedisModuleIO,
    scope: PhantomData<&'a mut ()>,
}

impl Rewrite<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleIO) -> Self {
        Self { raw, scope: PhantomData }
    }

    /// Writes a command that brings the key back: its arguments are the key's name and the bytes.
    pub fn command(&mut self, command: &CStr, bytes: &[u8]) {
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

/// What DEBUG DIGEST sums up.
pub struct Digest<'a> {
    raw: *mut raw::RedisModuleDigest,
    scope: PhantomData<&'a mut ()>,
}

impl Digest<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleDigest) -> Self {
        Self { raw, scope: PhantomData }
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the digest is valid; the bytes are only read.
        unsafe {
            api!(RedisModule_DigestAddStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len()))
        };
    }

    /// Adds a number.
    pub fn number(&mut self, number: i64) {
        // SAFETY: the digest is valid.
        unsafe { api!(RedisModule_DigestAddLongLong(self.raw, number)) };
    }

    pub(crate) fn end(self) {
        // SAFETY: the digest is valid.
        unsafe { api!(RedisModule_DigestEndSequence(self.raw)) };
    }
}
