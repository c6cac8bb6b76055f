//! The value that an RDB has brought last, until it is certain that its key has it.
//!
//! The server says the key as it has a value read, and puts the value there afterwards. Instead it can drop the value (it has
//! expired; the stream breaks behind it), and says no more then than that its memory is to be freed; and a RESTORE of an AOF
//! looks the same until its event. So the module is told of a value when the next one is read, or whenever something of the
//! module's runs that has a context: commands, events, timers. In the midst of a value the server can serve clients;
//! where one has the module told too early, and the value is dropped then, the module is told that it is gone.
//!
//! All of it belongs to the thread that loads, which holds the lock; on others, which free values of keys alone, there is
//! never such a value.

use crate::lock::{Lock, Locked};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::null_mut;

/// Tells the module of a value that has come to a key of a database of this number, and of this name.
///
/// # Safety
/// The value is there, of the type that the function is for.
pub(crate) type Tell = unsafe fn(lock: Lock, value: *mut c_void, database: i32, name: &[u8]);

thread_local! {
    /// Whether an RDB or an AOF is loaded.
    static IS_LOADING: Cell<bool> = const { Cell::new(false) };

    /// Null where there is none.
    static VALUE: Cell<*mut c_void> = const { Cell::new(null_mut()) };

    static DATABASE: Cell<i32> = const { Cell::new(0) };

    /// None once the module was told.
    static TELL: Cell<Option<Tell>> = const { Cell::new(None) };
}

/// Of its key.
static NAME: Locked<RefCell<Vec<u8>>> = Locked::new(RefCell::new(Vec::new()));

/// A load begins, or ends.
pub(crate) fn set_loading(is_loading: bool) {
    IS_LOADING.set(is_loading);
}

/// This value was read for a key. While nothing is loaded it came by RESTORE, which has an event for it.
///
/// # Safety
/// The value is one of `tell`'s type, of which [`moved`], [`left`] or [`end`] say when it moves or goes.
pub(crate) unsafe fn note(
    lock: Lock,
    value: *mut c_void,
    (database, name): (i32, &[u8]),
    tell: Tell,
) {
    if IS_LOADING.get() {
        let mut kept = NAME.get(lock).borrow_mut();
        kept.clear();
        kept.extend_from_slice(name);
        VALUE.set(value);
        DATABASE.set(database);
        TELL.set(Some(tell));
    }
}

/// Tells the module of the value, if it has not been told yet.
pub(crate) fn tell(lock: Lock) {
    if let Some(tell) = TELL.take() {
        let name = NAME.get(lock).take();
        // SAFETY: as `note` says.
        unsafe { tell(lock, VALUE.get(), DATABASE.get(), &name) };
        *NAME.get(lock).borrow_mut() = name;
    }
}

/// The value came by RESTORE, as its event says.
pub(crate) fn forget() {
    TELL.set(None);
    VALUE.set(null_mut());
}

/// The value stands elsewhere from now on.
pub(crate) fn moved(from: *mut c_void, to: *mut c_void) {
    if VALUE.get() == from {
        VALUE.set(to);
    }
}

/// The value leaves its key.
pub(crate) fn left(value: *const c_void) {
    if VALUE.get().cast_const() == value {
        forget();
    }
}

/// The value goes without having left a key; whether it was loaded last, and the module was told that it has come.
pub(crate) fn end(value: *mut c_void) -> bool {
    if VALUE.get() != value {
        return false;
    }
    let was_told = TELL.get().is_none();
    forget();
    was_told
}

/// The name of the key of which the module was told.
pub(crate) fn name(lock: Lock) -> Vec<u8> {
    NAME.get(lock).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::from_mut;

    /// Notes what it is told in the value.
    unsafe fn told(_: Lock, value: *mut c_void, database: i32, name: &[u8]) {
        // SAFETY: the test's own.
        unsafe {
            (*value.cast::<Vec<String>>()).push(format!("{database} {}", name.escape_ascii()))
        };
    }

    #[test]
    fn of_a_value_is_told_once_and_of_its_end_where_that_was_told() {
        // SAFETY: nobody else reaches what it is for.
        let lock = unsafe { Lock::held() };
        let mut values = [const { Vec::<String>::new() }; 2];
        let [one, other] = values.each_mut().map(|value| from_mut(value).cast::<c_void>());
        // SAFETY: both stay until the end.
        let loaded = |value| unsafe { note(lock, value, (3, b"k"), told) };
        let tells = |value: *mut c_void| {
            tell(lock);
            // SAFETY: see above.
            std::mem::take(unsafe { &mut *value.cast::<Vec<String>>() })
        };
        // By RESTORE.
        loaded(one);
        assert_eq!((tells(one), end(one)), (vec![], false));

        set_loading(true);
        loaded(one);
        assert_eq!(tells(one), ["3 k"]);
        assert_eq!(tells(one), [""; 0]);
        // Too early, as it turns out.
        assert!(!end(other) && end(one) && name(lock) == b"k");
        assert!(!end(one));
        // It was dropped before anyone was told.
        loaded(one);
        assert!(!end(one));
        assert_eq!(tells(one), [""; 0]);
        // It has left its key, or was one of RESTORE after all.
        for leaves in [|value| left(value), |_| forget()] {
            loaded(one);
            leaves(one.cast_const());
            assert_eq!((tells(one), end(one)), (vec![], false));
        }
        loaded(one);
        left(other);
        moved(other, one);
        moved(one, other);
        assert_eq!((tells(one), tells(other)), (vec![], vec!["3 k".to_string()]));
        assert!(!end(one) && end(other));
        set_loading(false);
    }
}
