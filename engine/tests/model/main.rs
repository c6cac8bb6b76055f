//! A model of the cache and of all who touch it: it shows that a revoked key is never accepted, and that
//! each rule which sees to that is needed.
//!
//! **What is real.** The engine: fence and tokens, tag index with its condemned members, reclaim's queue, the
//! records and values of regions, and their bytes. `node.rs` joins them to a keyspace as the module in `src/` joins them to a server's.
//!
//! **What is simulated.** `world.rs`: a database of three rows, each with a version that counts its changes;
//! two readers, who get a token, read the row and store it; two writers, who change the row and invalidate, or
//! lock it and store it themselves; and whatever else touches keys: DEL, expiry and eviction, RENAME, COPY,
//! MOVE, DUMP and RESTORE, SWAPDB, FLUSHDB, reclaim. In some runs two of the rows are cached as values of a region, one
//! with a grace and one without; then readers ask for leases, writers invalidate softly and by patterns too, and the region evicts. Two servers are a primary and its replica, with a stream
//! that the replica executes as late as it likes, failovers that lose what it had not executed, full resyncs,
//! saves, and restarts from an RDB or from an AOF whose tail may be lost; or they are two nodes of a cluster
//! between which the keys' slot moves, and does not come back within `token-ttl-ms`. Each step is small, and
//! they come in any order.
//!
//! **What must hold** is looked at after every step, on both servers ([`world::Wrong`]):
//!
//! - *Freshness.* An invalidation notes the versions that its rows had when it was issued. Where it has been
//!   executed, no read returns an entry that it covered with an older version: not of what stood in that
//!   database then, wherever SWAPDB has taken it, and not of what came into that database later. After a
//!   failover or a restart an invalidation that was lost binds what comes from then on; it binds what was there
//!   only if `trust-promoted` or `trust-loaded` is `no`: then all that was there is dropped, and stays so over
//!   later starts.
//!   A soft invalidation (TAGINVAL SOFT) binds what is returned as fresh: what has a grace may be returned as stale.
//!   No other one leaves that.
//! - *Leases.* Of a node at most one reader has the lease of a key, and nobody waits where nobody has it. It ends as the
//!   design says: with what is stored under its key, with an invalidation of its key or region, with its holder's fill or
//!   word, or, where its holder has died, by its time.
//! - *Return.* What was stale is not fresh again, and what was not returned any more stays so, until something is stored.
//! - *Exactness.* The index equals the keyspace: same keys, same tags, same counts, and of regions the same bytes.
//! - *Loss.* What was stored, and not touched since, is alive and not softened; reclaim takes nothing away that a read returns;
//!   SETABSENT replaces no newer record.
//! - *Agreement.* A replica that has executed the whole stream answers as its primary does, once that has told
//!   what it dropped, and holds the same keys while nothing waits for reclaim. So does a server that has read its
//!   whole AOF.
//!
//! **Switches.** Every check that section 5 of the design names, every duty that section 4 gives to callers, and
//! each known limit, can be switched off ([`switches`]). A test for each shows that the model then finds what goes
//! wrong, among steps of the same kinds as those among which it finds nothing while all are on. Two are not
//! missed; the tests at the end say why. Each search is the same at every run.
//!
//! **What it leaves out.** MULTI and scripts, patterns in a cluster, more of them than are kept, commands of several keys or tags, NX and KEEPTTL, SETSCOPE's merging,
//! `enabled` and `writes-enabled`, usage counters, tokens that nobody gave and clocks that are set back
//! (`src/fence.rs` has tests of its own), the databases put aside by 6.2, chains of replicas. Expiry, eviction and
//! DEL are one. Two primaries at once, what they say to each other, and a slot's migration that is cancelled or seen
//! half done have a model of their own ([`cluster`]); here a slot moves at once, TAGINVAL reaches all nodes at once, and
//! of an INVAL only the owner is told.
//!
//! **By hand.** `APIKEY_MODEL_CASES=100000 cargo test --release -p apikey-engine --test model nothing` tries more
//! runs. `cargo test -p apikey-engine --test model the_floor -- --nocapture` shows the story of what goes wrong
//! without a check; a failure shows its story too.
//!
//! | file | holds |
//! | --- | --- |
//! | `names.rs` | rows, tags, what an invalidation covers |
//! | `node.rs` | a server: keyspace, index, fence |
//! | `world.rs` | steps; readers and writers; replication, restarts, clusters |
//! | `steps.rs` | how often each step is generated |
//! | `switches.rs` | what can be switched off |
//! | `search.rs` | looks for a run that goes wrong, shortens it, tells it |
//! | `cluster/` | the model of a cluster |

mod cluster;
mod names;
mod node;
mod search;
mod steps;
mod switches;
mod world;

use search::{cases, search, search_in, Wanted};
use steps::{everything, Kind, Profile};
use switches::{Check, Duty, Limit, Switches};
use world::{Tell, Wrong};

/// Runs with everything on, for each profile; runs at most until something goes wrong with a switch off.
const CASES_ON: u32 = 50;
const CASES_OFF: u32 = 5_000;

#[test]
fn nothing_is_ever_wrong() {
    if let Some(story) = search_in(&Switches::ALL_ON, |_| true, cases(700), everything()) {
        panic!("{story}");
    }
}

/// In runs of this profile something goes wrong as is wanted with something switched off, and with all on
/// nothing does.
fn wrong_only_with(switches: Switches, wanted: Wanted, profile: Profile) {
    if let Some(story) = search(&Switches::ALL_ON, |_| true, cases(CASES_ON), &profile) {
        panic!("with everything on: {story}");
    }
    let story = search(&switches, wanted, CASES_OFF, &profile);
    println!("{switches:?}\n{}", story.expect("something that goes wrong"));
}

const STALE: Wanted = |wrong| matches!(wrong, Wrong::Freshness(_));
const INEXACT: Wanted = |wrong| matches!(wrong, Wrong::Exactness(_));
const LOST: Wanted = |wrong| matches!(wrong, Wrong::Loss(_));
const DISAGREEING: Wanted = |wrong| matches!(wrong, Wrong::Agreement(_));

fn stale_without(check: Check, profile: Profile) {
    wrong_only_with(Switches::without(check), STALE, profile);
}

fn inexact_without(check: Check, profile: Profile) {
    wrong_only_with(Switches::without(check), INEXACT, profile);
}

fn lossy_without(check: Check, profile: Profile) {
    wrong_only_with(Switches::without(check), LOST, profile);
}

fn disagreeing_without(check: Check, profile: Profile) {
    wrong_only_with(Switches::without(check), DISAGREEING, profile);
}

fn stale_if_neglected(duty: Duty, profile: Profile) {
    wrong_only_with(Switches::neglecting(duty), STALE, profile);
}

const BY_KEY: &[Tell] = &[Tell::Key];
const BY_TAG: &[Tell] = &[Tell::Id, Tell::User, Tell::Team];
const BY_STORING: &[Tell] = &[Tell::Store];

/// Nobody but readers and writers.
fn alone() -> Profile {
    Profile::of(&[])
}

/// A replica that lags, and failovers.
fn failing_over() -> Profile {
    Profile::of(&[(Kind::Replicate, 6), (Kind::Failover, 1)])
}

fn distrusting_the_promoted(profile: Profile) -> Profile {
    profile.with(|settings| settings.trust_promoted = false)
}

// The fence.

/// A fill from before an invalidation comes after a restart, which has forgotten that.
#[test]
fn the_run_of_a_token_is_needed() {
    stale_without(Check::Run, Profile::of(&[(Kind::Restart, 1)]));
}

/// The slot moves away, a key of it is invalidated there, and it comes back: a token from before knows nothing
/// of that, and nor does the node.
#[test]
fn the_age_of_a_token_is_needed() {
    let moving = Profile::of(&[(Kind::MoveSlot, 2), (Kind::Wait, 2)]).in_a_cluster();
    stale_without(Check::TokenTtl, moving.telling(BY_KEY));
}

/// A writer has everything forgotten by a flush; a reader fills in what it read before.
#[test]
fn the_floor_is_needed() {
    stale_without(Check::Floor, Profile::of(&[(Kind::Flush, 1)]));
}

#[test]
fn the_slot_of_the_key_is_needed() {
    stale_without(Check::KeySlot, alone().telling(BY_KEY));
}

#[test]
fn the_slots_of_the_tags_are_needed() {
    stale_without(Check::TagSlots, alone().telling(BY_TAG));
}

/// A reader's older fill replaces what a writer has stored.
#[test]
fn the_fence_of_a_writer_is_needed() {
    stale_without(Check::WriterRaises, alone().telling(BY_STORING));
}

#[test]
fn the_fence_of_inval_is_needed() {
    stale_without(Check::InvalRaises, alone().telling(BY_KEY));
}

#[test]
fn the_fence_of_taginval_is_needed() {
    stale_without(Check::TagInvalRaises, alone().telling(BY_TAG));
}

/// SWAPDB brings the fill of another database to where the invalidation was.
#[test]
fn one_fence_for_all_databases_is_needed() {
    stale_without(Check::OneFenceForAllDatabases, Profile::of(&[(Kind::SwapDb, 3)]));
}

/// Its numbers begin anew, and soon reach that of an old token.
#[test]
fn a_new_run_at_each_start_is_needed() {
    stale_without(Check::NewRunAtStart, Profile::of(&[(Kind::Restart, 1)]));
}

/// A node gives a token, is primary no more, and is promoted again; the invalidations in between were lost.
#[test]
fn a_new_run_at_each_promotion_is_needed() {
    let back_and_forth = Profile::of(&[(Kind::Replicate, 4), (Kind::Failover, 2)]);
    stale_without(Check::NewRunAtPromotion, back_and_forth);
}

// Death.

#[test]
fn the_removal_by_inval_is_needed() {
    stale_without(Check::InvalRemoves, alone().telling(BY_KEY));
}

#[test]
fn condemning_by_taginval_is_needed() {
    stale_without(Check::TagInvalCondemns, alone().telling(BY_TAG));
}

#[test]
fn judging_the_condemned_is_needed() {
    stale_without(Check::JudgeCondemned, alone().telling(BY_TAG));
}

#[test]
fn judging_the_era_is_needed() {
    stale_without(Check::JudgeEra, distrusting_the_promoted(failing_over()));
}

/// An entry is elsewhere while its key is invalidated, and comes back.
#[test]
fn stamping_on_rename_is_needed() {
    stale_without(Check::StampOnRename, Profile::of(&[(Kind::Rename, 4)]).telling(BY_KEY));
}

#[test]
fn stamping_on_copy_is_needed() {
    stale_without(Check::StampOnCopy, Profile::of(&[(Kind::Copy, 4)]).telling(BY_KEY));
}

#[test]
fn stamping_on_move_is_needed() {
    stale_without(Check::StampOnMove, Profile::of(&[(Kind::Move, 4)]));
}

#[test]
fn stamping_on_restore_is_needed() {
    stale_without(Check::StampOnRestore, Profile::of(&[(Kind::Dump, 2), (Kind::Restore, 2)]));
}

#[test]
fn stamping_on_replicas_is_needed() {
    let restoring = [(Kind::Dump, 2), (Kind::Restore, 2), (Kind::Replicate, 10)];
    disagreeing_without(Check::StampOnReplica, Profile::of(&restoring));
}

/// A condemned entry comes back by a restart; the condemning does not.
#[test]
fn stamping_on_save_is_needed() {
    let profile = Profile::of(&[(Kind::Save, 2), (Kind::Restart, 2)]).telling(BY_TAG);
    let trusting = profile.with(|settings| {
        settings.trust_loaded = true;
        settings.sync_reclaim = 0;
    });
    stale_without(Check::StampOnSave, trusting);
}

/// A RENAME in the stream finds its source on the primary, and none on a replica that was not sent it: there
/// the key that it was to replace lives on.
#[test]
fn saving_the_dead_is_needed() {
    let renaming = [(Kind::Rename, 6), (Kind::FullResync, 2), (Kind::Replicate, 16)];
    disagreeing_without(Check::SaveKeepsTheDead, Profile::of(&renaming));
}

#[test]
fn distrust_of_the_loaded_is_needed() {
    stale_without(Check::DistrustLoaded, Profile::of(&[(Kind::Save, 1), (Kind::Restart, 1)]));
}

/// A replica that starts would answer nothing of what its primary does, and go on with its stream.
#[test]
fn trust_of_what_a_replica_loads_is_needed() {
    let profile = Profile::of(&[(Kind::Replicate, 12), (Kind::Restart, 1)]);
    disagreeing_without(Check::TrustAsReplica, profile);
}

#[test]
fn distrust_of_the_promoted_is_needed() {
    stale_without(Check::DistrustPromoted, distrusting_the_promoted(failing_over()));
}

/// A promoted node has dropped what it had, and starts again from an AOF that has it alive.
#[test]
fn telling_the_aof_of_what_was_dropped_is_needed() {
    let weights =
        [(Kind::Replicate, 6), (Kind::Failover, 1), (Kind::Reclaim, 1), (Kind::Restart, 1)];
    let profile = distrusting_the_promoted(Profile::of(&weights));
    let trusting = profile.with(|settings| settings.trust_loaded = true);
    stale_without(Check::DropIsTold, trusting);
}

/// A replica goes on with its stream, and still answers what its primary has dropped.
#[test]
fn telling_replicas_of_what_was_dropped_is_needed() {
    let profile = Profile::of(&[(Kind::Replicate, 6), (Kind::Restart, 1), (Kind::Reclaim, 1)]);
    disagreeing_without(Check::DropIsTold, profile);
}

/// A replica that is told later drops what was stored since.
#[test]
fn telling_before_anything_is_stored_is_needed() {
    let profile = Profile::of(&[(Kind::Replicate, 12), (Kind::Restart, 1), (Kind::Reclaim, 2)]);
    disagreeing_without(Check::ToldBeforeStored, profile);
}

/// A row is created. One reader found it missing, another has read and stored it, and the writer has not
/// yet invalidated.
#[test]
fn sparing_live_records_from_absence_is_needed() {
    lossy_without(Check::AbsentNeverCoversLive, alone());
}

// Regions.

const SOFTLY: &[Tell] = &[Tell::Softly];

/// A reader's older fill is stored, and is fresh.
#[test]
fn the_fence_of_a_soft_invalidation_is_needed() {
    stale_without(Check::SoftRaises, alone().with_regions().telling(SOFTLY));
}

#[test]
fn judging_the_softened_is_needed() {
    stale_without(Check::JudgeSoftened, alone().with_regions().telling(SOFTLY));
}

/// A record is never stale: softly invalidated, it is dead.
#[test]
fn killing_softly_what_has_no_grace_is_needed() {
    stale_without(Check::SoftKillsTheRest, alone().telling(SOFTLY));
}

/// A tag was invalidated softly, and then another of the same entry.
#[test]
fn that_hard_beats_soft_is_needed() {
    let both = &[Tell::Softly, Tell::Id, Tell::User, Tell::Region];
    let profile = alone().with_regions().telling(both);
    stale_without(Check::HardBeatsSoft, profile.with(|settings| settings.sync_reclaim = 0));
}

/// What was stale is fresh again after a restart.
#[test]
fn saving_what_is_softened_is_needed() {
    let profile = Profile::of(&[(Kind::Save, 2), (Kind::Restart, 2)]).with_regions();
    let trusting = profile.telling(SOFTLY).with(|settings| settings.trust_loaded = true);
    stale_without(Check::SaveSaysSoftened, trusting);
}

#[test]
fn replicating_a_soft_invalidation_is_needed() {
    let profile = Profile::of(&[(Kind::Replicate, 12)]).with_regions();
    disagreeing_without(Check::SoftIsReplicated, profile.telling(SOFTLY));
}

const BY_PATTERN: &[Tell] = &[Tell::Pattern, Tell::PatternOfAll];

/// A walk that comes to its end, in runs with these steps beside.
fn walking(weights: &[(Kind, u32)]) -> Profile {
    let profile = Profile::of(&[&[(Kind::Walk, 20)], weights].concat());
    profile.with_regions().telling(BY_PATTERN)
}

/// A reader's older fill is stored where the walk has been, or after it.
#[test]
fn the_fence_of_a_pattern_is_needed() {
    stale_without(Check::PatternRefuses, walking(&[]));
}

#[test]
fn the_walk_of_a_pattern_is_needed() {
    stale_without(Check::PatternKills, walking(&[]));
}

#[test]
fn a_walk_that_follows_its_database_is_needed() {
    stale_without(Check::PatternFollowsDatabase, walking(&[(Kind::SwapDb, 3)]));
}

// Leases.

const UNLEASED: Wanted = |wrong| matches!(wrong, Wrong::Lease(_));

fn unleased_without(check: Check, weights: &[(Kind, u32)]) {
    wrong_only_with(Switches::without(check), UNLEASED, Profile::of(weights).with_regions());
}

#[test]
fn one_reader_at_a_time_is_needed() {
    unleased_without(Check::LeaseMakesWait, &[]);
}

/// Its holder has died.
#[test]
fn the_end_of_a_lease_by_its_time_is_needed() {
    unleased_without(Check::LeaseEndsByTime, &[(Kind::Stop, 2), (Kind::Wait, 2)]);
}

/// The fill of its holder would be refused, and nobody would load.
#[test]
fn the_end_of_a_lease_with_an_invalidation_is_needed() {
    unleased_without(Check::LeaseEndsByInvalidation, &[]);
}

/// A writer stores, and the entry goes again.
#[test]
fn the_end_of_a_lease_with_what_is_stored_is_needed() {
    unleased_without(Check::LeaseEndsByStoring, &[(Kind::Remove, 6)]);
}

/// One of its tags was invalidated, of which its lease knows nothing.
#[test]
fn the_end_of_a_lease_with_a_refused_fill_is_needed() {
    unleased_without(Check::LeaseEndsByRefusal, &[]);
}

// Reclaim.

#[test]
fn sparing_what_was_stored_anew_is_needed() {
    let profile = Profile::of(&[(Kind::Failover, 1), (Kind::Replicate, 6), (Kind::Reclaim, 6)]);
    lossy_without(Check::ReclaimSparesTheLiving, distrusting_the_promoted(profile));
}

#[test]
fn replicating_reclaim_is_needed() {
    let profile = Profile::of(&[(Kind::Reclaim, 6), (Kind::Replicate, 12)]).telling(BY_TAG);
    disagreeing_without(Check::ReclaimReplicates, profile);
}

/// As with what is saved: a RENAME in the stream finds no source where the replica has reclaimed it.
#[test]
fn replicas_that_only_judge_are_needed() {
    let profile = Profile::of(&[(Kind::Rename, 6), (Kind::Reclaim, 4), (Kind::Replicate, 20)]);
    disagreeing_without(Check::ReplicasOnlyJudge, profile);
}

// Keeping the index exact.

#[test]
fn removal_from_the_index_is_needed() {
    inexact_without(Check::UnlinkLeavesIndex, alone());
}

#[test]
fn entering_the_index_is_needed() {
    inexact_without(Check::ArrivalEntersIndex, Profile::of(&[(Kind::Copy, 2)]));
}

#[test]
fn dropping_the_index_is_needed() {
    inexact_without(Check::FlushDropsIndex, Profile::of(&[(Kind::Flush, 2)]));
}

#[test]
fn exchanging_the_indexes_is_needed() {
    inexact_without(Check::SwapMovesIndex, Profile::of(&[(Kind::SwapDb, 2)]));
}

// The duties of callers.

#[test]
fn a_readers_token_before_its_row_is_needed() {
    stale_if_neglected(Duty::TokenBeforeRow, alone());
}

#[test]
fn a_writers_commit_before_it_invalidates_is_needed() {
    stale_if_neglected(Duty::InvalidateAfterCommit, alone());
}

/// The entry goes by eviction, and a reader who comes then reads what the writer has not committed.
#[test]
fn a_writers_commit_before_it_stores_is_needed() {
    let evicting = Profile::of(&[(Kind::Remove, 3)]);
    stale_if_neglected(Duty::StoreAfterCommit, evicting.telling(BY_STORING));
}

#[test]
fn a_writers_lock_until_it_has_stored_is_needed() {
    stale_if_neglected(Duty::LockUntilStored, alone().telling(BY_STORING));
}

// Known limits.

#[test]
fn a_slot_that_comes_back_at_once_is_a_known_limit() {
    let moving = Profile::of(&[(Kind::MoveSlot, 3)]).in_a_cluster();
    wrong_only_with(Switches::beyond(Limit::SlotStaysAway), STALE, moving.telling(BY_KEY));
}

/// A node starts and drops what it loaded, and its replica is promoted.
#[test]
fn a_drop_that_is_not_told_before_a_demotion_is_a_known_limit() {
    let weights = [(Kind::Replicate, 6), (Kind::Failover, 2), (Kind::Restart, 2)];
    let profile = Profile::of(&weights);
    wrong_only_with(Switches::beyond(Limit::TimeToTell), DISAGREEING, profile);
}

/// A promoted node drops what it had, and starts again from an AOF that has it alive.
#[test]
fn a_drop_that_is_not_told_before_a_crash_is_a_known_limit() {
    let profile = Profile::of(&[(Kind::Replicate, 6), (Kind::Failover, 1), (Kind::Restart, 1)]);
    let trusting = distrusting_the_promoted(profile).with(|settings| settings.trust_loaded = true);
    wrong_only_with(Switches::beyond(Limit::TimeToTell), STALE, trusting);
}

// What nobody misses.

fn nothing_is_wrong_without(check: Check) {
    let weights =
        [(Kind::Replicate, 6), (Kind::Failover, 2), (Kind::FullResync, 1), (Kind::Save, 1)];
    let profile = Profile::of(&weights);
    for profile in [profile.clone(), distrusting_the_promoted(profile)] {
        let found = search(&Switches::without(check), |_| true, cases(CASES_ON), &profile);
        assert!(found.is_none(), "{}", found.unwrap());
    }
}

/// A replica's token bears a run that ends with its promotion.
#[test]
fn the_refused_token_of_a_replica_could_be_any() {
    nothing_is_wrong_without(Check::RefusedTokenOnReplica);
}

/// All tokens that a node accepts it has given since it started or was promoted; what it replayed was before.
#[test]
fn what_is_replayed_need_not_raise_the_fence() {
    nothing_is_wrong_without(Check::ReplayRaises);
}
