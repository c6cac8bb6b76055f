//! A walk over the keys of a database, a few at a time.

use super::open::Key;
use crate::api::api;
use crate::context::Ctx;
use crate::guard::Carried;
use crate::strings::Name;
use redis_module::raw;
use std::ffi::c_void;
use std::ptr::NonNull;

/// A walk over the keys of a database, with SCAN's guarantees: a key that is there from beginning to end
/// is met, perhaps more than once.
pub struct Walk(NonNull<raw::RedisModuleScanCursor>);

// SAFETY: the cursor is a number of the server's that nobody else has; it is used with a context, and so
// under the server's lock, and freed by the allocator, from any thread.
unsafe impl Send for Walk {}

/// What [`visit`] is handed through the server: whom to call, and a panic of theirs.
struct Visitor<'e> {
    each: &'e mut dyn FnMut(&[u8], &Key),
    panic: Carried,
}

impl Walk {
    /// A walk that begins; `None` where the server has no cursor to give.
    pub fn new() -> Option<Self> {
        // SAFETY: no arguments.
        NonNull::new(unsafe { api!(RedisModule_ScanCursorCreate()) }).map(Self)
    }

    /// Calls `each` for the names of a few keys of the selected database and the keys themselves; false
    /// when there are no more.
    pub fn step(&mut self, ctx: &mut Ctx, each: &mut dyn FnMut(&[u8], &Key)) -> bool {
        let mut visitor = Visitor { each, panic: Carried::default() };
        // SAFETY: the cursor is ours; the callback gets the pointer to `visitor`, which lives until the
        // call returns.
        let more = unsafe {
            let data: *mut c_void = (&raw mut visitor).cast();
            api!(RedisModule_Scan(ctx.raw(), self.0.as_ptr(), Some(visit), data)) != 0
        };
        visitor.panic.resume();
        more
    }
}

unsafe extern "C" fn visit(
    ctx: *mut raw::RedisModuleCtx,
    name: *mut raw::RedisModuleString,
    key: *mut raw::RedisModuleKey,
    data: *mut c_void,
) {
    // SAFETY: `data` is the pointer of `step`; context, name and key are the server's, valid for this call.
    // The context of the step is borrowed until it ends, so that no other key is open.
    let (visitor, name, key) =
        unsafe { (&mut *data.cast::<Visitor>(), Name::new(name), Key::borrow(ctx, key)) };
    let Visitor { each, panic } = visitor;
    panic.run(|| {
        if let Some(name) = name {
            each(name.bytes(), &key);
        }
    });
}

impl Drop for Walk {
    fn drop(&mut self) {
        // SAFETY: made by us and destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy(self.0.as_ptr())) };
    }
}
