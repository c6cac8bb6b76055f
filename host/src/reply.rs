//! Replies: what a command says to its client. Each call writes at once, without allocating.
//!
//! A reply is one value; an array or a map is followed by as many as it has said. What is missing of it when
//! its command has ended, however, is filled with errors, so that the connection stays usable.

use crate::api::api;
use crate::log::c_text;
use redis_module::raw;
use std::cell::Cell;
use std::ffi::{c_long, CStr};

/// Where a command replies to.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    raw: *mut raw::RedisModuleCtx,
    /// How many values are still to come.
    owed: &'a Cell<usize>,
}

// SAFETY, for every call below: the context is valid for 'a (see `new`), and the server copies texts
// and bytes. None of them runs a command, opens a key or calls a module back.
impl Reply<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback, for as long as `owed` is borrowed, and one
    /// that replies.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleCtx, owed: &Cell<usize>) -> Reply<'_> {
        Reply { raw, owed }
    }

    /// Whether nothing has been said yet.
    pub(crate) fn is_untouched(self) -> bool {
        self.owed.get() == 1
    }

    /// Whether all has been said that was to be.
    pub(crate) fn is_whole(self) -> bool {
        self.owed.get() == 0
    }

    /// One value is said, which so many follow.
    fn said(self, following: usize) {
        self.owed.set(self.owed.get().saturating_sub(1).saturating_add(following));
    }

    /// Says errors in place of what is still owed, without allocating.
    pub(crate) fn fill(self) {
        while self.owed.get() > 0 {
            self.said(0);
            let text = c"ERR internal error; the log has its place";
            // SAFETY: see above.
            unsafe { api!(RedisModule_ReplyWithError(self.raw, text.as_ptr())) };
        }
    }

    /// A simple string: `+OK`. A line break in it would break the protocol.
    pub fn simple(self, text: &CStr) {
        self.said(0);
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.raw, text.as_ptr())) };
    }

    /// A bulk string.
    pub fn bulk(self, bytes: &[u8]) {
        self.said(0);
        // SAFETY: see above.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer(self.raw, bytes.as_ptr().cast(), bytes.len()))
        };
    }

    /// An integer.
    pub fn integer(self, number: i64) {
        self.said(0);
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithLongLong(self.raw, number)) };
    }

    /// A count as an integer.
    pub fn count(self, count: usize) {
        self.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Nil.
    pub fn nil(self) {
        self.said(0);
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithNull(self.raw)) };
    }

    /// An array of so many elements, which follow.
    pub fn array(self, elements: usize) {
        self.said(elements);
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithArray(self.raw, length(elements))) };
    }

    /// A map of so many pairs, which follow; a flat array where the protocol or the server (6.2) has no
    /// maps.
    pub fn map(self, pairs: usize) {
        let values = pairs.saturating_mul(2);
        self.said(values);
        // SAFETY: reads the table; see above.
        unsafe {
            match raw::RedisModule_ReplyWithMap {
                Some(reply) => reply(self.raw, length(pairs)),
                None => api!(RedisModule_ReplyWithArray(self.raw, length(values))),
            }
        };
    }

    /// An error; the text begins with its code. The server makes a space of a line break in it.
    pub fn error(self, text: &str) {
        let text = c_text(text);
        self.said(0);
        // SAFETY: see above.
        unsafe { api!(RedisModule_ReplyWithError(self.raw, text.as_ptr().cast())) };
    }
}

/// A length as the server takes it, to which a negative one would mean something else.
fn length(length: usize) -> c_long {
    c_long::try_from(length).unwrap_or(c_long::MAX)
}
