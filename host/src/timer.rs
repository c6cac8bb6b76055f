//! Timers: closures that run later, once.

use crate::api::api;
use crate::context::Ctx;
use crate::guard;
use redis_module::raw;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a timer runs.
type Body = Box<dyn FnOnce(&mut Ctx) + Send>;

/// The longest time that the server can count down, and then some: 3,000 years.
const MAX_MS: i64 = 100_000_000_000_000;

/// How many timers have not fired yet.
static SET: AtomicUsize = AtomicUsize::new(0);

/// Whether there is a timer that has not fired: without the module there would be nothing for it to call.
pub(crate) fn is_any_set() -> bool {
    SET.load(Relaxed) > 0
}

impl Ctx<'_> {
    /// Runs `body` once, `ms` milliseconds from now, on the selected database. What it borrows is nothing:
    /// the server may never come to it.
    pub fn after(&mut self, ms: i64, body: impl FnOnce(&mut Ctx) + Send + 'static) {
        let body: Box<Body> = Box::new(Box::new(body));
        SET.fetch_add(1, Relaxed);
        // SAFETY: the context is valid; `fire` takes the pointer for what it is, once.
        unsafe {
            api!(RedisModule_CreateTimer(
                self.raw(),
                ms.clamp(0, MAX_MS),
                Some(fire),
                Box::into_raw(body).cast::<c_void>()
            ))
        };
    }
}

unsafe extern "C" fn fire(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    SET.fetch_sub(1, Relaxed);
    guard::run("timer", (), || {
        // SAFETY: the box that `after` gave to the server, which calls once; the server's context, valid
        // for this call.
        let (body, mut ctx) = unsafe { (Box::from_raw(data.cast::<Body>()), Ctx::new(ctx)) };
        body(&mut ctx);
    });
}
