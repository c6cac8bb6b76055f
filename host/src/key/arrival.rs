//! The value that was loaded last, until the server has put it under its key or has dropped it.
//!
//! The server says the key before it puts the value there. Instead it can drop it (it has expired; the stream breaks
//! behind it), and then says no more than that its memory is to be freed.

use crate::lock::{Lock, Locked};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::null_mut;

thread_local! {
    /// Null where there is none. It has no place on other threads, which free values of keys alone.
    static VALUE: Cell<*mut c_void> = const { Cell::new(null_mut()) };
}

/// Of its key.
static NAME: Locked<RefCell<Vec<u8>>> = Locked::new(RefCell::new(Vec::new()));

/// This value was loaded last, for the key of this name.
pub(super) fn note(lock: Lock, value: *mut c_void, name: &[u8]) {
    let mut kept = NAME.get(lock).borrow_mut();
    kept.clear();
    kept.extend_from_slice(name);
    VALUE.set(value);
}

/// Whether it is this value, which is one no longer: it has come to its key and leaves it, or it will not come.
pub(super) fn end(value: *const c_void) -> bool {
    let is_it = VALUE.get().cast_const() == value;
    if is_it {
        forget();
    }
    is_it
}

/// The name of the one that [`end`]s.
pub(super) fn name(lock: Lock) -> Vec<u8> {
    NAME.get(lock).take()
}

/// All that was loaded is under its keys, or is going with them.
pub(crate) fn forget() {
    VALUE.set(null_mut());
}
