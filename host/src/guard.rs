//! What keeps a bug from ending the server: every function that the server calls runs in here.
//!
//! A panic that left an `extern "C"` function would abort the process.

use crate::log::{log, Level};
use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

/// Runs `body`; where it panics, logs it under `name` and returns `otherwise`.
pub(crate) fn run<T>(name: &str, otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            // Its destructor could panic as well.
            std::mem::forget(payload);
            let _ = catch_unwind(|| {
                log(Level::Warning, &format!("bug: {name} panicked and was stopped"));
            });
            otherwise
        }
    }
}

/// A panic on its way through frames of the server's, which it must not unwind.
#[derive(Default)]
pub(crate) struct Carried(Option<Box<dyn Any + Send>>);

impl Carried {
    /// Runs `body`, and keeps its panic; nothing is run once there is one.
    pub(crate) fn run(&mut self, body: impl FnOnce()) {
        if self.0.is_none() {
            self.0 = catch_unwind(AssertUnwindSafe(body)).err();
        }
    }

    /// Behind the server's frames: goes on with a panic that was kept.
    pub(crate) fn resume(self) {
        if let Some(payload) = self.0 {
            resume_unwind(payload);
        }
    }
}

/// Sends the place of a panic to the server's log. Not its message: that may quote what a client sent.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        log(Level::Warning, &format!("bug: panic{place}; please report it"));
    }));
}
