//! What only the holder of the server's global lock reaches.
//!
//! The server calls a module on one thread at a time: its main thread, or that of another module that has
//! locked it to run commands. All callbacks hold that lock but one: what drops a value may run on a thread
//! of the server's own (but for a value that was only just [loaded](crate::key::data_type::DataType::loaded)).
//! So a callback that holds the lock is handed a [`Lock`], which can't leave it, and
//! what belongs to the lock's holder ([`Locked`]) is only reached by showing one. What drops a value has
//! none, and so can't reach more than its value.

use std::marker::PhantomData;

/// Proof that whoever has it holds the server's lock, for `'a`. It stays on its thread.
#[derive(Clone, Copy, Debug)]
pub struct Lock<'a> {
    /// A borrow of the callback's time, that neither crosses threads.
    scope: PhantomData<(&'a (), *const ())>,
}

impl Lock<'_> {
    /// # Safety
    /// The server's lock is held for `'a`: this is a callback, other than the dropping of a value, or that of the one
    /// that was loaded last on this thread.
    pub(crate) unsafe fn held() -> Self {
        Self { scope: PhantomData }
    }
}

/// A value that is used under the server's lock alone, in a static without a lock of its own.
///
/// A second borrow by the same callback is a cell's to refuse: `Locked<RefCell<T>>`.
#[derive(Debug)]
pub struct Locked<T>(T);

impl<T> Locked<T> {
    /// The value, to be reached by whoever holds the lock.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, as long as the lock is held.
    pub fn get<'a>(&'a self, _: Lock<'a>) -> &'a T {
        &self.0
    }
}

// SAFETY: only holders of the server's lock reach the value, so that no two threads do at once; several
// may one after the other, which is why the value has to be one that can be sent.
unsafe impl<T: Send> Sync for Locked<T> {}
