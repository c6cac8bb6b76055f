//! Timers: closures that run later, once.
//!
//! The server measures them by the wall clock: one that is set back would keep a timer from firing until it
//! has caught up. So at each turn of the server's cron, which goes by a clock that nobody sets, those that
//! should have fired long ago are set anew.

use crate::api::{accepted, api, Refused};
use crate::context::Ctx;
use crate::guard;
use redis_module::raw;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What a timer runs.
type Body = Box<dyn FnOnce(&mut Ctx) + Send>;

/// The longest time that the server can count down, and then some: 3,000 years.
const MAX_MS: i64 = 100_000_000_000_000;

/// By how much a timer may be late, on a server that is busy, before it is set anew.
const LATE: Duration = Duration::from_secs(1);

/// A timer that has not fired yet.
struct Timer {
    id: raw::RedisModuleTimerID,
    /// The box of its [`Body`].
    body: usize,
    database: i32,
    /// `None` for never.
    due: Option<Instant>,
}

static TIMERS: Mutex<Vec<Timer>> = Mutex::new(Vec::new());

static EACH_CRON: OnceLock<fn(&mut Ctx)> = OnceLock::new();

/// Has `hook` run at each turn of the server's cron.
pub(crate) fn set_each_cron(hook: fn(&mut Ctx)) {
    let _ = EACH_CRON.set(hook);
}

fn timers() -> MutexGuard<'static, Vec<Timer>> {
    TIMERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is a timer that has not fired: without the module there would be nothing for it to call.
pub(crate) fn is_any_set() -> bool {
    !timers().is_empty()
}

impl Ctx<'_> {
    /// Runs `body` once, `ms` milliseconds from now, on the selected database. What it borrows is nothing:
    /// the server may never come to it.
    pub fn after(&mut self, ms: i64, body: impl FnOnce(&mut Ctx) + Send + 'static) {
        let ms = ms.clamp(0, MAX_MS);
        let body: Box<Body> = Box::new(Box::new(body));
        let body = Box::into_raw(body) as usize;
        let due = Instant::now().checked_add(Duration::from_millis(ms.unsigned_abs()));
        let timer = Timer { id: self.set_timer(ms, body), body, database: self.database(), due };
        timers().push(timer);
    }

    /// `body` is that of a timer which is not set.
    fn set_timer(&mut self, ms: i64, body: usize) -> raw::RedisModuleTimerID {
        // SAFETY: the context is valid; `fire` takes the pointer for what it is, once.
        unsafe { api!(RedisModule_CreateTimer(self.raw(), ms, Some(fire), body as *mut c_void)) }
    }
}

unsafe extern "C" fn fire(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    timers().retain(|timer| timer.body != data as usize);
    guard::run("timer", (), || {
        // SAFETY: the box that `after` gave to the server, which calls once; the server's context, valid
        // for this call.
        let (body, mut ctx) = unsafe { (Box::from_raw(data.cast::<Body>()), Ctx::new(ctx)) };
        body(&mut ctx);
    });
}

/// Has late timers looked for, or no longer.
///
/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn watch(ctx: *mut raw::RedisModuleCtx, is_on: bool) -> Result<(), Refused> {
    let event = raw::RedisModuleEvent { id: raw::REDISMODULE_EVENT_CRON_LOOP, dataver: 1 };
    let callback: raw::RedisModuleEventCallback = if is_on { Some(on_cron) } else { None };
    // SAFETY: the context is OnLoad's; the callback is a function of this module.
    accepted(unsafe { api!(RedisModule_SubscribeToServerEvent(ctx, event, callback)) })
}

unsafe extern "C" fn on_cron(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard::run("cron event", (), || {
        // SAFETY: the server's context, valid for this call.
        let mut ctx = unsafe { Ctx::new(ctx) };
        let now = Instant::now();
        for timer in timers().iter_mut() {
            let late = timer.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
            // SAFETY: the context is valid, and the server knows its timers; what this one has is ours.
            let is_stopped = late > LATE
                && accepted(unsafe {
                    api!(RedisModule_StopTimer(ctx.raw(), timer.id, null_mut()))
                })
                .is_ok();
            if is_stopped {
                ctx.select(timer.database);
                timer.id = ctx.set_timer(0, timer.body);
            }
        }
        if let Some(hook) = EACH_CRON.get() {
            hook(&mut ctx);
        }
    });
}
