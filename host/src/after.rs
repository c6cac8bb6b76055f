//! What a module does when a command that writes, or an event, has ended, or one that is replayed has failed.
//!
//! So that whoever leaves work behind need only say so in the module's state: the end looks.

use crate::context::Ctx;
use crate::guard;
use std::ffi::CStr;
use std::sync::OnceLock;

static HOOK: OnceLock<fn(&mut Ctx)> = OnceLock::new();

/// Has `hook` run at the end of every command that writes and of every event, unless that panicked.
pub(crate) fn set(hook: fn(&mut Ctx)) {
    let _ = HOOK.set(hook);
}

static FAILED: OnceLock<fn(&mut Ctx, &str, &str)> = OnceLock::new();

/// Has `hook` run when a command that is replayed ends with an error.
pub(crate) fn set_failed(hook: fn(&mut Ctx, &str, &str)) {
    let _ = FAILED.set(hook);
}

/// A command of this name has ended with an error.
pub(crate) fn failed(ctx: &mut Ctx, name: &CStr, error: &str) {
    if let Some(hook) = FAILED.get().filter(|_| ctx.is_replayed()) {
        guard::run("when_replay_fails", (), || hook(ctx, &name.to_string_lossy(), error));
    }
}

pub(crate) fn run(ctx: &mut Ctx) {
    if let Some(hook) = HOOK.get() {
        // A guard of its own: the command has replied.
        guard::run("after_each", (), || hook(ctx));
    }
}
