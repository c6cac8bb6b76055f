//! The floor's data type: bytes, of which the first may be a frame, what a module keeps beside what it was given.
//!
//! A value is one allocation, the fewest there can be: how many bytes, how many of them are the frame, then the bytes. The
//! type can't be saved: the benchmark's servers have no snapshots.

use crate::api::api;
use redis_module::raw;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What [`register`] made; null before.
static TYPE: AtomicPtr<raw::RedisModuleType> = AtomicPtr::new(std::ptr::null_mut());

pub fn data_type() -> *mut raw::RedisModuleType {
    TYPE.load(Ordering::Relaxed)
}

/// # Safety
/// `ctx` is OnLoad's.
pub unsafe fn register(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: numbers and optional functions, for which zero is none.
    let mut methods: raw::RedisModuleTypeMethods = std::mem::zeroed();
    methods.version = u64::from(raw::REDISMODULE_TYPE_METHOD_VERSION);
    methods.free = Some(free);
    // The server copies the methods and keeps the type as long as the module.
    let made = api!(RedisModule_CreateDataType(ctx, c"keyfloor0".as_ptr(), 0, &mut methods));
    TYPE.store(made, Ordering::Relaxed);
    !made.is_null()
}

/// What a key holds.
pub struct Value<'k> {
    /// All bytes, the frame's first.
    pub all: &'k [u8],
    frame: usize,
}

impl<'k> Value<'k> {
    /// What stands behind the frame.
    pub fn bytes(&self) -> &'k [u8] {
        &self.all[self.frame..]
    }

    /// # Safety
    /// `value` was made by [`pack`], and is neither freed nor changed for `'k`.
    pub unsafe fn of(value: *const c_void) -> Value<'k> {
        let [len, frame] = *value.cast::<[usize; 2]>();
        Value { all: std::slice::from_raw_parts(value.cast::<u8>().add(HEAD), len), frame }
    }
}

/// All bytes of a value, to be changed.
///
/// # Safety
/// `value` was made by [`pack`], is not freed, and nobody else looks at it for `'k`.
pub unsafe fn all_mut<'k>(value: *mut c_void) -> &'k mut [u8] {
    let [len, _] = *value.cast::<[usize; 2]>();
    std::slice::from_raw_parts_mut(value.cast::<u8>().add(HEAD), len)
}

const HEAD: usize = size_of::<[usize; 2]>();

/// A value whose frame is so many bytes of nothing, for [`free`].
pub fn pack(frame: usize, bytes: &[u8]) -> *mut c_void {
    let len = frame + bytes.len();
    // Of numbers, which it begins with and has to be aligned for.
    let mut block = Vec::<usize>::with_capacity(words(len));
    let start = block.as_mut_ptr();
    // SAFETY: the block has room for the head and `len` bytes, none of which is read before it is written here.
    unsafe {
        start.cast::<[usize; 2]>().write([len, frame]);
        let at = start.cast::<u8>().add(HEAD);
        at.write_bytes(0, frame);
        at.add(frame).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
    }
    std::mem::forget(block);
    start.cast()
}

/// The numbers that a block of so many bytes behind its head has room for.
fn words(len: usize) -> usize {
    (HEAD + len).div_ceil(size_of::<usize>())
}

/// # Safety
/// `value` was made by [`pack`], and is not used any more. The server calls it once for each value, perhaps on another
/// thread.
pub unsafe extern "C" fn free(value: *mut c_void) {
    let [len, _] = *value.cast::<[usize; 2]>();
    // SAFETY: the block that `pack` made, with the capacity that it had.
    drop(Vec::<usize>::from_raw_parts(value.cast(), 0, words(len)));
}
