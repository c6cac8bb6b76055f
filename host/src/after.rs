//! What a module does when a command that writes, or an event, has ended.
//!
//! So that whoever leaves work behind need only say so in the module's state: the end looks.

use crate::context::Ctx;
use crate::guard;
use std::sync::OnceLock;

static HOOK: OnceLock<fn(&mut Ctx)> = OnceLock::new();

/// Has `hook` run at the end of every command that writes and of every event, unless that panicked.
pub(crate) fn set(hook: fn(&mut Ctx)) {
    let _ = HOOK.set(hook);
}

pub(crate) fn run(ctx: &mut Ctx) {
    if let Some(hook) = HOOK.get() {
        // A guard of its own: the command has replied.
        guard::run("after_each", (), || hook(ctx));
    }
}
