//! Replies: what a command says to its client. Each call writes at once, without allocating.
//!
//! A reply is one value; an array or a map is followed by as many as it has said.

use crate::api::api;
use crate::log::c_text;
use redis_module::raw;
use std::ffi::CStr;
use std::marker::PhantomData;

/// Where a command replies to.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    raw: *mut raw::RedisModuleCtx,
    scope: PhantomData<&'a ()>,
}

// SAFETY, for every call below: the context is valid for 'a (see `new`), and the server copies texts
// and bytes. None of them runs a command, opens a key or calls a module back.
impl Reply<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback, for `'a`, and one that replies.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Self { raw, scope: PhantomData }
    }

    /// A simple string: `+OK`.
    pub fn simple(self, text: &CStr) {
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.raw, text.as_ptr())) };
    }

    /// A bulk string.
    pub fn bulk(self, bytes: &[u8]) {
        // SAFETY: see above.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len()))
        };
    }

    /// An integer.
    pub fn integer(self, number: i64) {
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithLongLong(self.raw, number)) };
    }

    /// A count as an integer.
    pub fn count(self, count: usize) {
        self.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Nil.
    pub fn nil(self) {
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithNull(self.raw)) };
    }

    /// An array of so many elements, which follow.
    pub fn array(self, elements: usize) {
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithArray(self.raw, elements as _)) };
    }

    /// A map of so many pairs, which follow; a flat array where the protocol or the server (6.2) has no
    /// maps.
    pub fn map(self, pairs: usize) {
        // SAFETY: reads the table; see above.
        unsafe {
            match raw::RedisModule_ReplyWithMap {
                Some(reply) => reply(self.raw, pairs as _),
                None => api!(RedisModule_ReplyWithArray(self.raw, pairs.saturating_mul(2) as _)),
            }
        };
    }

    /// An error; the text begins with its code.
    pub fn error(self, text: &str) {
        let text = c_text(text);
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithError(self.raw, text.as_ptr().cast())) };
    }

    /// The error of a panic, said without allocating.
    pub(crate) fn internal_error(self) {
        let text = c"ERR internal error; the log has its place";
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithError(self.raw, text.as_ptr())) };
    }
}
