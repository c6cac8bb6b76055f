//! What an operator did not mean, and can't see otherwise: calls by name that the server refuses.
//!
//! `rename-command` takes effect on what a module calls. A refused call is logged once, and HEALTH says it as
//! long as the last one was refused.

use host::{log, Level, Refused};

#[derive(Debug, Default)]
pub struct Trouble {
    /// Whether the last message to the channel could not be published.
    is_mute: bool,
    has_said_mute: bool,
    /// Changes that could not be replicated.
    unreplicated: u64,
}

impl Trouble {
    /// A message was published, or was not.
    pub fn published(&mut self, outcome: Result<(), Refused>) {
        self.is_mute = outcome.is_err();
        if self.is_mute && !std::mem::replace(&mut self.has_said_mute, true) {
            log(
                Level::Warning,
                "PUBLISH can't be called (rename-command?): nobody is told of invalidations by the \
                 channel that invalidation-channel names",
            );
        }
    }

    /// A change was handed to replicas and the AOF as the command of this name, or could not be.
    pub fn replicated(&mut self, name: &str, outcome: Result<(), Refused>) {
        if outcome.is_err() {
            if self.unreplicated == 0 {
                let lost = "replicas and the AOF lack a change";
                log(
                    Level::Warning,
                    &format!("{name} can't be replicated: {lost}; please report it"),
                );
            }
            self.unreplicated += 1;
        }
    }

    pub fn is_mute(&self) -> bool {
        self.is_mute
    }

    pub fn unreplicated(&self) -> u64 {
        self.unreplicated
    }
}
