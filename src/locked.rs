//! What only the holder of the server's global lock reaches: the main thread, or a thread of another
//! module's that has locked it to run commands. All callbacks hold it but `free`.

use std::ops::Deref;

/// A value that is used under the server's global lock alone, in a static without a lock of its own.
pub struct Locked<T>(T);

impl<T> Locked<T> {
    /// # Safety
    /// Nobody may reach for the value who doesn't hold the server's global lock.
    pub const unsafe fn new(value: T) -> Self {
        Self(value)
    }
}

// SAFETY: whoever made it has promised that no two threads use it at once. A second borrow on the same
// thread is a cell's to refuse.
unsafe impl<T> Sync for Locked<T> {}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
