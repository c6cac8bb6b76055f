//! Whether what this node holds is to be trusted.
//!
//! What an RDB or AOF brings may have outlived an invalidation that never reached the disk, and what a
//! promoted replica holds one that never reached it. Where the operator does not trust it (`trust-loaded`,
//! `trust-promoted`) all of it is dead: what is loaded as it comes, what is there by a new *era*, in which
//! entries of before are dead. Replicas and the AOF may have it alive, so they are told by one word
//! ([`dropped`](crate::stream::dropped)) before anything else is stored or reclaimed; until then nothing is
//! stored, since those who are told later could not tell it apart.
//!
//! What a replica loads can't have missed an invalidation of its primary's, whose stream goes on from there. But
//! where it can't read that stream it is *lost*: what it has, and what comes, is dead until it is given all anew.

use crate::settings::{TRUST_LOADED, TRUST_PROMOTED};
use crate::values::life::Era;

#[derive(Debug)]
pub struct Trust {
    era: Era,
    /// The load of an RDB or an AOF that is under way.
    loading: Option<Load>,
    /// All entries were dropped, and nobody was told yet.
    must_tell: bool,
    /// Whether the primary says what this module does not read: nothing that comes from it lives.
    is_lost: bool,
}

/// What is loaded.
#[derive(Debug)]
struct Load {
    /// Whether it is dead as it comes.
    is_distrusted: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self { era: 1, loading: None, must_tell: false, is_lost: false }
    }
}

impl Trust {
    /// The era in which an entry comes.
    pub fn era(&self) -> Era {
        self.era
    }

    /// Entries of an earlier era are dead.
    pub fn oldest_alive(&self) -> Era {
        if self.is_lost {
            Era::MAX
        } else {
            self.era
        }
    }

    /// From now on entries of before are dead.
    pub fn begin_era(&mut self) {
        self.era = self.era.saturating_add(1);
    }

    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Whether the primary says what this module does not read.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    pub fn set_lost(&mut self, is_lost: bool) {
        self.is_lost = is_lost;
    }

    /// Whether what comes is loaded, and dead as it comes.
    pub fn distrusts_what_comes(&self) -> bool {
        self.loading.as_ref().is_some_and(|load| load.is_distrusted)
    }

    /// The server begins to load. What it loads is dead as it comes where the operator does not trust it, but
    /// for a node that is a replica, or will be one as soon as it has started.
    pub fn begin_loading(&mut self, is_replica: bool) {
        self.loading = Some(Load { is_distrusted: !TRUST_LOADED.get() && !is_replica });
    }

    /// The server has ended to load; whether what it has loaded was dead.
    pub fn end_loading(&mut self) -> bool {
        self.loading.take().is_some_and(|load| load.is_distrusted)
    }

    /// Whether what a promoted replica holds is dead.
    pub fn distrusts_what_it_had() -> bool {
        !TRUST_PROMOTED.get()
    }

    /// Others have to be told that all entries are dead, if there were any.
    pub fn owe_word(&mut self, had_entries: bool) {
        self.must_tell = had_entries;
    }

    /// Whether others have to be told.
    pub fn owes_word(&self) -> bool {
        self.must_tell
    }

    /// They are told now; whether they had to be.
    pub fn take_word(&mut self) -> bool {
        std::mem::take(&mut self.must_tell)
    }

    /// This node is a replica now: what it dropped is its primary's to say.
    pub fn forget_word(&mut self) {
        self.must_tell = false;
    }
}
