//! Active defragmentation: the server moves allocations out of pages that are mostly holes, if it is told who
//! points to them.
//!
//! What owns an allocation lends it to a [`Mover`]; when that returns, it owns one with the same in it, perhaps
//! elsewhere. It needs no consent of what is moved: whoever can write to a `Box` can put another one in its
//! place. Of allocations above some 14 KiB each has pages of its own, and stays.

use crate::api::{accepted, api, Refused};
use crate::guard;
use crate::lock::Lock;
use crate::memory::begins_its_block;
use redis_module::raw;
use std::alloc::Layout;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Moves allocations, where the server wants them elsewhere.
pub struct Mover<'a> {
    raw: *mut raw::RedisModuleDefragCtx,
    /// Where the server says no end.
    end: Option<Instant>,
    scope: PhantomData<&'a mut ()>,
}

impl Mover<'_> {
    /// # Safety
    /// `raw` is the server's argument to the running callback.
    pub(crate) unsafe fn new(raw: *mut raw::RedisModuleDefragCtx) -> Self {
        Self { raw, end: None, scope: PhantomData }
    }

    /// Whether the callback is to end, and to go on when it is called again. Worth to be asked now and then.
    pub fn should_stop(&self) -> bool {
        // SAFETY: the context is the running callback's.
        self.end.is_some_and(|end| Instant::now() >= end)
            || unsafe { api!(RedisModule_DefragShouldStop(self.raw)) } != 0
    }

    /// Moves what a vector has.
    pub fn vec<T>(&mut self, values: &mut Vec<T>) {
        let Ok(layout) = Layout::array::<T>(values.capacity()) else { return };
        let (at, len, capacity) = (values.as_mut_ptr(), values.len(), values.capacity());
        // SAFETY: the vector has allocated that, unless it is empty, and its values may be anywhere that is aligned.
        // The old one points to what is gone, and is not dropped.
        unsafe {
            if let Some(now) = self.moved(at.cast(), layout) {
                std::ptr::write(values, Vec::from_raw_parts(now.cast(), len, capacity));
            }
        }
    }

    /// Moves what is in a box.
    pub fn boxed<T>(&mut self, value: &mut Box<T>) {
        let at: *mut T = &mut **value;
        // SAFETY: as in `vec`.
        unsafe {
            if let Some(now) = self.moved(at.cast(), Layout::new::<T>()) {
                std::ptr::write(value, Box::from_raw(now.cast()));
            }
        }
    }

    /// Moves a text.
    pub fn text(&mut self, text: &mut Box<str>) {
        let mut bytes = std::mem::take(text).into_boxed_bytes().into_vec();
        self.vec(&mut bytes);
        // SAFETY: the bytes of a text.
        *text = unsafe { String::from_utf8_unchecked(bytes) }.into_boxed_str();
    }

    /// Moves an allocation; `None` where it stays.
    ///
    /// # Safety
    /// It was made for this layout by the allocator that `entry!` sets, unless there are no bytes in it. Where it
    /// is moved nobody uses the pointer afterwards.
    pub(crate) unsafe fn moved(&mut self, at: *mut u8, layout: Layout) -> Option<*mut u8> {
        if layout.size() == 0 || !begins_its_block(layout) {
            return None;
        }
        // SAFETY: so this is the server's allocation, which goes to one of the same size, that is aligned alike.
        let now = unsafe { api!(RedisModule_DefragAlloc(self.raw, at.cast())) };
        (!now.is_null()).then_some(now.cast())
    }
}

/// What a module has allocated beside its keys' values.
pub trait Globals: 'static {
    /// Hands some of it over, and goes on where it stopped the time before. True where more is left, when it
    /// [should stop](Mover::should_stop): it is called again, on Redis 8 at once, and on others in the next round of
    /// the server's. A panic is the end of a round.
    fn defrag(lock: Lock, mover: &mut Mover) -> bool;
}

/// # Safety
/// `ctx` is OnLoad's.
pub(crate) unsafe fn register<G: Globals>(ctx: *mut raw::RedisModuleCtx) -> Result<(), Refused> {
    // SAFETY: reads the table; the context is OnLoad's, the callbacks are functions of this module.
    accepted(unsafe {
        match raw::RedisModule_RegisterDefragFunc2 {
            Some(register) => register(ctx, Some(step::<G>)),
            None => api!(RedisModule_RegisterDefragFunc(ctx, Some(round::<G>))),
        }
    })
}

unsafe extern "C" fn step<G: Globals>(ctx: *mut raw::RedisModuleDefragCtx) -> c_int {
    // SAFETY: a callback that holds the server's lock, and its argument.
    guard::run("defrag", false, || unsafe { G::defrag(Lock::held(), &mut Mover::new(ctx)) }).into()
}

/// For servers that know one call for all of it, and say no end: as long as Redis 8 has for a step.
const BUDGET: Duration = Duration::from_micros(500);

unsafe extern "C" fn round<G: Globals>(ctx: *mut raw::RedisModuleDefragCtx) {
    guard::run("defrag", (), || {
        // SAFETY: as in `step`.
        let (lock, mover) = unsafe { (Lock::held(), Mover::new(ctx)) };
        G::defrag(lock, &mut Mover { end: Some(Instant::now() + BUDGET), ..mover });
    });
}
