//! The server's log.

use crate::api::api;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What an operator wants to have seen.
    Notice,
    /// What an operator has to see.
    Warning,
}

/// What lines begin with: the module's name.
static PREFIX: OnceLock<&'static str> = OnceLock::new();

/// Has all lines begin with the module's name.
pub(crate) fn begin_lines_with(module: &'static CStr) {
    let _ = PREFIX.set(module.to_str().unwrap_or("module"));
}

/// Writes a line to the server's log, behind the module's name. What is in it is shown as it is, `%` too;
/// a NUL becomes a space. From any thread.
pub fn log(level: Level, text: &str) {
    let level = match level {
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    let prefix = PREFIX.get().copied().unwrap_or("module");
    let text = c_text(&format!("{prefix}: {text}"));
    // SAFETY: a log line needs no context; the text is an argument of the format, not the format.
    unsafe { api!(RedisModule_Log(null_mut(), level.as_ptr(), c"%s".as_ptr(), text.as_ptr())) };
}

/// The text with an end for C; what stands behind a NUL would be lost, so that becomes a space.
pub(crate) fn c_text(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().map(|b| if b == 0 { b' ' } else { b }).collect();
    bytes.push(0);
    bytes
}
