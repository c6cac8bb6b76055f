//! The server's strings: arguments, names of keys, and strings of a module's own making.

use crate::api::{accepted, api};
use redis_module::raw;
use std::ffi::{c_int, c_longlong};
use std::marker::PhantomData;
use std::ptr::{null_mut, NonNull};

/// A string of the server's, borrowed: an argument, a key's name.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    raw: NonNull<raw::RedisModuleString>,
    scope: PhantomData<&'a ()>,
}

impl<'a> Name<'a> {
    /// `None` for null.
    ///
    /// # Safety
    /// `raw` is null or a valid string for `'a`.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleString) -> Option<Self> {
        Some(Self { raw: NonNull::new(raw)?, scope: PhantomData })
    }

    pub(crate) fn as_ptr(self) -> *mut raw::RedisModuleString {
        self.raw.as_ptr()
    }

    /// What it holds.
    pub fn bytes(self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: the string is valid for 'a and is not changed while the module runs; its bytes are as
        // many as the server says.
        unsafe {
            let start = api!(RedisModule_StringPtrLen(self.raw.as_ptr(), &mut len));
            if start.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(start.cast(), len)
        }
    }

    /// The number that the string is, written as the server writes it.
    pub fn integer(self) -> Option<i64> {
        let mut number: c_longlong = 0;
        // SAFETY: the string is valid; the number is ours.
        let status = unsafe { api!(RedisModule_StringToLongLong(self.raw.as_ptr(), &mut number)) };
        accepted(status).ok().map(|()| number)
    }
}

impl std::fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}

/// A string of the server's kind that the module has made. It stays on its thread: the server may share it,
/// and counts who does without a lock.
pub struct Text {
    raw: NonNull<raw::RedisModuleString>,
}

impl Text {
    /// A copy of the bytes.
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

    /// # Safety
    /// `raw` is a string that is the caller's to free.
    pub(crate) unsafe fn from_raw(raw: NonNull<raw::RedisModuleString>) -> Self {
        Self { raw }
    }

    /// The string, borrowed.
    pub fn name(&self) -> Name<'_> {
        Name { raw: self.raw, scope: PhantomData }
    }

    /// Hands the string over to the server.
    pub(crate) fn into_raw(self) -> *mut raw::RedisModuleString {
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

/// The arguments of a command, its name first; those of the module, without.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    strings: &'a [*mut raw::RedisModuleString],
}

impl<'a> Args<'a> {
    /// # Safety
    /// `argv` are `argc` strings, valid for `'a`.
    pub(crate) unsafe fn new(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Self {
        let len = usize::try_from(argc).unwrap_or(0);
        if argv.is_null() || len == 0 {
            return Self { strings: &[] };
        }
        // SAFETY: as the caller says.
        Self { strings: unsafe { std::slice::from_raw_parts(argv, len) } }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.strings.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.strings.is_empty()
    }

    /// The one at a position.
    pub fn get(self, position: usize) -> Option<Name<'a>> {
        // SAFETY: a string of the command, valid for 'a.
        self.strings.get(position).and_then(|&raw| unsafe { Name::new(raw) })
    }

    /// Those from a position on.
    pub fn from(self, position: usize) -> impl Iterator<Item = Name<'a>> {
        // SAFETY: as in `get`.
        self.strings.iter().skip(position).filter_map(|&raw| unsafe { Name::new(raw) })
    }
}
