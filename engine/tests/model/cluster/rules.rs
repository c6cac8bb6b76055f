//! What a search of the cluster's model lets happen, and which check it leaves out.

use crate::names::Version;

/// How a change is told to the cache, once it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// INVAL, where the key is routed to.
    Inval,
    /// SETVAL without a token, there too.
    Store,
    /// TAGINVAL, at any primary.
    Tag,
}

/// A check of the module's. Without it something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    // Of keys.
    /// INVAL, and SETVAL without a token, tell the other primaries.
    KeysAreTold,
    /// .. whose fence that raises ..
    KeysRaise,
    /// .. and whose entry goes.
    KeysRemove,
    /// What comes by RESTORE is dead.
    RestoredIsDead,

    // Of tags.
    /// A number is said once all have answered, and not before.
    AnswersAreAwaited,
    /// All primaries are asked, and not those alone that own a slot.
    AllAreAsked,
    /// A node answers when it has done what it was asked.
    DoneBeforeAnswered,
    /// A question that was done is not done again.
    DoneOnce,
    /// An answer counts for the node that gives it, and once.
    AnswerCountsOnce,
    /// .. and for the question that it answers.
    AnswerHasItsId,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// It arrives, once, before anything else happens.
    Prompt,
    /// It arrives at any time from then on, as often as it likes, or never.
    Unreliable,
}

/// What becomes of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// It moves, from node 0 to node 1.
    pub moves: bool,
    /// .. and back.
    pub returns: bool,
    /// A migration is cancelled.
    pub is_cancelled: bool,
}

impl Ways {
    pub const STAYS: Self = Self { moves: false, returns: false, is_cancelled: false };
    pub const MOVES: Self = Self { moves: true, ..Self::STAYS };
    pub const RETURNS: Self = Self { returns: true, ..Self::MOVES };
    pub const CANCELLED: Self = Self { is_cancelled: true, ..Self::MOVES };
    pub const ALL: Self = Self { moves: true, returns: true, is_cancelled: true };
}

/// When INVAL, and SETVAL without a token, wait for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    Never,
    /// While the slot is on its way.
    WhileOpen,
    Always,
}

/// A search: what may happen in it.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub nodes: usize,
    pub readers: usize,
    /// How often the row changes.
    pub changes: Version,
    /// How often TAGINVAL is said, repeated where it was PARTIAL.
    pub asks: usize,
    pub tells: &'static [Tell],
    pub bus: Bus,
    pub ways: Ways,
    /// What a node is asked to do may take it long.
    pub is_slow: bool,
    /// A reader's token is of the node that serves its key when it is given; else of any.
    pub tokens_are_the_servers: bool,
    /// Whoever moves a slot does so only when the tokens of before are too old ..
    pub outlives_tokens: bool,
    /// .. and what a node took of the slot, while it imported it before, has expired.
    pub outlives_leftovers: bool,
    /// What could be: INVAL and SETVAL reply when the others have been told.
    pub awaited: Awaited,
    /// What could be: a node refuses all tokens of before when it is told what becomes of a slot, and drops what it has
    /// of one that it is to import.
    pub slots_fence: bool,
    /// What is left out.
    pub without: Option<Check>,
}

impl Rules {
    /// Two primaries, between which the slot moves as it likes, and one reader; the writer tells by key.
    pub const KEYS: Self = Self {
        nodes: 2,
        readers: 1,
        changes: 2,
        asks: 0,
        tells: &[Tell::Inval, Tell::Store],
        bus: Bus::Unreliable,
        ways: Ways::ALL,
        is_slow: false,
        tokens_are_the_servers: true,
        outlives_tokens: false,
        outlives_leftovers: false,
        awaited: Awaited::Never,
        slots_fence: false,
        without: None,
    };

    /// A third primary; the writer tells by tag, once more where that was PARTIAL, and a token may be any node's.
    pub const TAGS: Self = Self {
        nodes: 3,
        changes: 1,
        asks: 2,
        tells: &[Tell::Tag],
        tokens_are_the_servers: false,
        ..Self::KEYS
    };

    pub fn without(self, check: Check) -> Self {
        Self { without: Some(check), ..self }
    }

    pub fn on(&self, check: Check) -> bool {
        self.without != Some(check)
    }
}
