//! Commands of the server's that the module asks something by, and what they reply.

use crate::api::api;
use crate::context::Ctx;
use redis_module::raw;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{null_mut, NonNull};

/// A reply.
pub(crate) struct Called(NonNull<raw::RedisModuleCallReply>);

impl Drop for Called {
    fn drop(&mut self) {
        // SAFETY: it is this one's, and no part of it is left.
        unsafe { api!(RedisModule_FreeCallReply(self.0.as_ptr())) };
    }
}

impl Called {
    /// All of it.
    pub(crate) fn whole(&self) -> Part<'_> {
        Part { raw: self.0.as_ptr(), of: PhantomData }
    }
}

/// A part of a reply, or none.
#[derive(Clone, Copy)]
pub(crate) struct Part<'r> {
    raw: *mut raw::RedisModuleCallReply,
    of: PhantomData<&'r Called>,
}

impl<'r> Part<'r> {
    /// An element of an array; none of what is no array, or has fewer.
    pub(crate) fn element(self, at: usize) -> Self {
        let raw = match self.raw.is_null() {
            true => null_mut(),
            // SAFETY: the reply is there as long as `'r`. The server looks whether it is an array.
            false => unsafe { api!(RedisModule_CallReplyArrayElement(self.raw, at)) },
        };
        Self { raw, ..self }
    }

    /// All elements of an array.
    pub(crate) fn elements(self) -> impl Iterator<Item = Self> {
        (0..).map(move |at| self.element(at)).take_while(|part| !part.raw.is_null())
    }

    /// The bytes of a string.
    pub(crate) fn text(self) -> Option<&'r [u8]> {
        if self.raw.is_null() {
            return None;
        }
        let mut len = 0;
        // SAFETY: the reply is there as long as `'r`. The server looks whether it is a string, and gives null or so
        // many bytes of it.
        unsafe {
            let text = api!(RedisModule_CallReplyStringPtr(self.raw, &mut len));
            (!text.is_null()).then(|| std::slice::from_raw_parts(text.cast(), len))
        }
    }

    /// A number; 0 of what is none.
    pub(crate) fn integer(self) -> i64 {
        match self.raw.is_null() {
            true => 0,
            // SAFETY: the reply is there as long as `'r`. The server looks whether it is a number.
            false => unsafe { api!(RedisModule_CallReplyInteger(self.raw)) },
        }
    }
}

impl Ctx<'_> {
    /// Calls a command with up to three words, in RESP2; `None` where it fails, or can't be called
    /// (`rename-command`).
    pub(crate) fn call(&self, command: &CStr, words: &[&CStr]) -> Option<Called> {
        let (ctx, name) = (self.raw(), command.as_ptr());
        // SAFETY: the context is valid; each "c" takes a C string. The reply is the caller's.
        let reply = unsafe {
            match words {
                [] => api!(RedisModule_Call(ctx, name, c"".as_ptr())),
                [a] => api!(RedisModule_Call(ctx, name, c"c".as_ptr(), a.as_ptr())),
                [a, b] => {
                    api!(RedisModule_Call(ctx, name, c"cc".as_ptr(), a.as_ptr(), b.as_ptr()))
                }
                [a, b, c, ..] => api!(RedisModule_Call(
                    ctx,
                    name,
                    c"ccc".as_ptr(),
                    a.as_ptr(),
                    b.as_ptr(),
                    c.as_ptr()
                )),
            }
        };
        NonNull::new(reply).map(Called)
    }

    /// What CONFIG GET says of a name; `None` where it has none, or can't be called (`rename-command`).
    pub fn config(&self, name: &CStr) -> Option<String> {
        let reply = self.call(c"CONFIG", &[c"GET", name])?;
        let value = reply.whole().element(1).text()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}
