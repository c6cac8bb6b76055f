//! INFO: a module's own sections.

use crate::api::{accepted, api, Refused};
use crate::guard;
use crate::lock::Lock;
use redis_module::raw;
use std::ffi::{c_int, CStr};
use std::marker::PhantomData;

/// What a module says in INFO. Not asked for a crash report: whatever it would read may be in the middle of
/// a change.
pub trait Info: 'static {
    /// Writes the sections.
    fn write(lock: Lock, out: &mut InfoOut);
}

/// Where INFO's fields go.
pub struct InfoOut<'a> {
    raw: *mut raw::RedisModuleInfoCtx,
    scope: PhantomData<&'a mut ()>,
}

impl InfoOut<'_> {
    /// Begins a section, whose name the server puts behind the module's; false when it was not asked for.
    pub fn section(&mut self, name: &CStr) -> bool {
        // SAFETY: the info context is valid; the server copies the name.
        accepted(unsafe { api!(RedisModule_InfoAddSection(self.raw, name.as_ptr())) }).is_ok()
    }

    /// A field of the section.
    pub fn field(&mut self, name: &CStr, number: i64) {
        // SAFETY: as in `section`.
        unsafe { api!(RedisModule_InfoAddFieldLongLong(self.raw, name.as_ptr(), number)) };
    }
}

/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn register<I: Info>(ctx: *mut raw::RedisModuleCtx) -> Result<(), Refused> {
    // SAFETY: the context is OnLoad's; the callback is a function of this module.
    accepted(unsafe { api!(RedisModule_RegisterInfoFunc(ctx, Some(write::<I>))) })
}

unsafe extern "C" fn write<I: Info>(out: *mut raw::RedisModuleInfoCtx, for_crash_report: c_int) {
    if for_crash_report != 0 {
        return;
    }
    guard::run("info", (), || {
        // SAFETY: a callback that holds the server's lock.
        let lock = unsafe { Lock::held() };
        I::write(lock, &mut InfoOut { raw: out, scope: PhantomData });
    });
}
