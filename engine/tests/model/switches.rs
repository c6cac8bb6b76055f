//! What can be switched off: the checks, one for each that section 5 of the design names; the duties that
//! section 4 gives to callers; and the limits within which they are enough.

/// A check of the module's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    // The fence.
    /// A fill is refused when its token is of another run.
    Run,
    /// .. when its token is too old.
    TokenTtl,
    /// A flush raises the floor under all slots.
    Floor,
    /// A fill looks at the slot of its key.
    KeySlot,
    /// A fill looks at the slots of the tags that the new entry would carry.
    TagSlots,
    /// SETVAL without a token fences its key.
    WriterRaises,
    /// INVAL fences its keys.
    InvalRaises,
    /// TAGINVAL fences its tags.
    TagInvalRaises,
    /// The database is no part of the hash.
    OneFenceForAllDatabases,
    /// The run is new at each start.
    NewRunAtStart,
    /// .. and at each promotion.
    NewRunAtPromotion,
    /// The token that a replica gives is one that every fill refuses.
    RefusedTokenOnReplica,
    /// What is replayed fences as it did where it began.
    ReplayRaises,

    // Death.
    /// INVAL removes the entry.
    InvalRemoves,
    /// TAGINVAL condemns what it does not remove at once.
    TagInvalCondemns,
    /// Reads take a condemned entry for nothing.
    JudgeCondemned,
    /// .. and one of before all died at once.
    JudgeEra,
    StampOnRename,
    StampOnCopy,
    StampOnMove,
    StampOnRestore,
    /// What a replica executes is stamped as it is on its primary.
    StampOnReplica,
    /// A save stamps what is dead.
    StampOnSave,
    /// A save does not leave out what is dead: its name is taken.
    SaveKeepsTheDead,
    /// `trust-loaded no`: what a start loads is dead.
    DistrustLoaded,
    /// .. but not what a node loads that starts as a replica.
    TrustAsReplica,
    /// `trust-promoted no`: what a promoted node holds is dead.
    DistrustPromoted,
    /// Replicas and the AOF are told of what was dropped so ..
    DropIsTold,
    /// .. before anything that is stored since.
    ToldBeforeStored,
    /// SETABSENT does not replace a live record.
    AbsentNeverCoversLive,

    // Regions.
    /// TAGINVAL SOFT fences its tags.
    SoftRaises,
    /// Reads take a softened entry that has a grace for stale ..
    JudgeSoftened,
    /// .. and any other for nothing.
    SoftKillsTheRest,
    /// What is softened by one tag and condemned by another is dead.
    HardBeatsSoft,
    /// A save says what is softened.
    SaveSaysSoftened,
    /// TAGINVAL SOFT is replicated.
    SoftIsReplicated,

    /// A fill is refused where its name fits a pattern that was invalidated since.
    PatternRefuses,
    /// PATINVAL takes away what fits ..
    PatternKills,
    /// .. in the database where it began, wherever SWAPDB takes that.
    PatternFollowsDatabase,

    // Leases.
    /// A reader waits while another has the lease.
    LeaseMakesWait,
    /// A lease ends by its time ..
    LeaseEndsByTime,
    /// .. with an invalidation of its key or region ..
    LeaseEndsByInvalidation,
    /// .. when something is stored under its key ..
    LeaseEndsByStoring,
    /// .. and when its holder's fill is refused.
    LeaseEndsByRefusal,

    // Reclaim.
    /// An entry that was stored anew is not touched.
    ReclaimSparesTheLiving,
    /// What reclaim took away is replicated.
    ReclaimReplicates,
    /// Replicas only judge.
    ReplicasOnlyJudge,

    // Keeping the index exact.
    /// A key that goes leaves the index.
    UnlinkLeavesIndex,
    /// A key that comes by itself enters the index.
    ArrivalEntersIndex,
    /// A flush drops the index of the database.
    FlushDropsIndex,
    /// SWAPDB exchanges the indexes.
    SwapMovesIndex,
}

/// A duty of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// A reader gets its token, then reads the row.
    TokenBeforeRow,
    /// A writer commits, then invalidates.
    InvalidateAfterCommit,
    /// A writer who stores the row himself commits before that ..
    StoreAfterCommit,
    /// .. and keeps all other writers from the row until it is stored.
    LockUntilStored,
}

/// A known limit: what the world does not do, or the model not ask for, because it would go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A slot comes back to a node only after `token-ttl-ms`: an INVAL of meanwhile has not fenced that
    /// node, where the message that tells it so is lost.
    SlotStaysAway,
    /// A node that drops what it does not trust stays a primary until it has told: with the next slice of
    /// reclaim, or when something is stored. As a replica it tells nobody. A crash before that loses the drop
    /// as it may lose the end of an AOF.
    TimeToTell,
}

/// What is switched off: at most one of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Switches {
    check: Option<Check>,
    duty: Option<Duty>,
    limit: Option<Limit>,
}

impl Switches {
    pub const ALL_ON: Self = Self { check: None, duty: None, limit: None };

    pub fn without(check: Check) -> Self {
        Self { check: Some(check), ..Self::ALL_ON }
    }

    pub fn neglecting(duty: Duty) -> Self {
        Self { duty: Some(duty), ..Self::ALL_ON }
    }

    pub fn beyond(limit: Limit) -> Self {
        Self { limit: Some(limit), ..Self::ALL_ON }
    }

    pub fn on(&self, check: Check) -> bool {
        self.check != Some(check)
    }

    pub fn observed(&self, duty: Duty) -> bool {
        self.duty != Some(duty)
    }

    pub fn within(&self, limit: Limit) -> bool {
        self.limit != Some(limit)
    }
}
