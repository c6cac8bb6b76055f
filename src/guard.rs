//! What keeps a bug of ours from ending the server: every function that the server calls runs here.

use crate::ffi::{log, Level};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs `body`; where it panics, logs it under `name` and returns `otherwise`. A panic that left an
/// `extern "C"` function would abort the server.
pub fn run<T>(name: &str, otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            log(Level::Warning, &format!("bug: {name} panicked and was stopped"));
            otherwise
        }
    }
}

/// Sends the place of a panic to the server's log. Not its message: that may quote a record.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        log(Level::Warning, &format!("bug: panic{place}; please report it"));
    }));
}
