//! What an operator did not mean, and can't see otherwise: calls by name that the server refuses, and what
//! came from a primary or an AOF and could not be done.
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
    /// Why the primary's stream is not read.
    stream: Option<String>,
    /// Commands of the primary's, or of an AOF, that were errors.
    unreplayed: u64,
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

    /// The primary's stream is read, or is not, and why.
    pub fn follows(&mut self, unread: Option<String>) {
        if let Some(why) = &unread {
            let dead = "all entries of this replica are dead";
            log(Level::Warning, &format!("the primary's stream is not read, {dead}: {why}"));
        } else if self.stream.is_some() {
            log(Level::Warning, "the primary's stream is read again");
        }
        self.stream = unread;
    }

    /// A command of the primary's, or of an AOF, was an error.
    pub fn unreplayed(&mut self, command: &str, why: &str) {
        if self.unreplayed == 0 {
            let dead = "all entries that this node had are dead";
            log(Level::Warning, &format!("{command} can't be replayed, {dead}: {why}"));
        }
        self.unreplayed += 1;
    }

    /// What this node holds is given to it anew, or its own to say.
    pub fn begin_anew(&mut self) {
        self.stream = None;
        self.unreplayed = 0;
    }

    /// Why what this node was told is not what it has.
    pub fn untold(&self) -> Option<String> {
        match (&self.stream, self.unreplayed) {
            (Some(why), _) => Some(format!("the primary's stream is not read: {why}")),
            (None, 0) => None,
            (None, n) => {
                Some(format!("{n} changes of the primary or the AOF could not be replayed"))
            }
        }
    }

    pub fn is_mute(&self) -> bool {
        self.is_mute
    }

    pub fn unreplicated(&self) -> u64 {
        self.unreplicated
    }
}
