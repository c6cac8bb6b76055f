//! Which steps are generated, and how often each: profiles.

use crate::names::{Db, Key};
use crate::node::Settings;
use crate::world::{Change, Shape, Step, Tell};
use proptest::prelude::*;
use proptest::strategy::Union;

/// A kind of step, for weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Reader,
    Writer,
    Stop,
    Walk,
    Evict,
    Remove,
    Rename,
    Copy,
    Move,
    Dump,
    Restore,
    SwapDb,
    Flush,
    Reclaim,
    Replicate,
    FullResync,
    Failover,
    Save,
    Restart,
    MoveSlot,
    Wait,
}

/// What a run of the model begins with.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub shape: Shape,
    pub settings: Settings,
}

/// What is generated.
#[derive(Clone, Debug)]
pub struct Profile {
    pub start: Start,
    pub weights: Vec<(Kind, u32)>,
    pub tells: &'static [Tell],
    pub steps: usize,
}

pub const SETTINGS: Settings = Settings {
    fence_slots: 1024,
    sync_reclaim: 1,
    trust_loaded: false,
    trust_promoted: true,
    regions: false,
};

const TELLS: &[Tell] = &[Tell::Key, Tell::Id, Tell::User, Tell::Team, Tell::Store];

/// What may be told of regions, beside.
const ALL_TELLS: &[Tell] = &[
    Tell::Key,
    Tell::Id,
    Tell::User,
    Tell::Team,
    Tell::Softly,
    Tell::Region,
    Tell::Pattern,
    Tell::PatternOfAll,
    Tell::Store,
];

impl Profile {
    /// Two readers and two writers on a replicated pair, and these steps beside.
    pub fn of(weights: &[(Kind, u32)]) -> Self {
        Self {
            start: Start { shape: Shape::Replicated, settings: SETTINGS },
            weights: [&[(Kind::Reader, 8), (Kind::Writer, 6)], weights].concat(),
            tells: TELLS,
            steps: 40,
        }
    }

    pub fn telling(self, tells: &'static [Tell]) -> Self {
        Self { tells, ..self }
    }

    /// Most rows are values of a region.
    pub fn with_regions(self) -> Self {
        self.with(|settings| settings.regions = true).telling(ALL_TELLS)
    }

    pub fn in_a_cluster(mut self) -> Self {
        self.start.shape = Shape::Cluster;
        self
    }

    pub fn with(mut self, change: impl Fn(&mut Settings)) -> Self {
        change(&mut self.start.settings);
        self
    }

    pub fn steps(&self) -> BoxedStrategy<Vec<Step>> {
        let kinds = self.weights.iter().map(|&(kind, weight)| (weight, step(kind, self.tells)));
        proptest::collection::vec(Union::new_weighted(kinds.collect()), 1..self.steps).boxed()
    }
}

/// Everything there is, and everything that can be configured.
pub fn everything() -> impl Strategy<Value = (Start, Vec<Step>)> {
    let start = (
        prop_oneof![3 => Just(Shape::Replicated), 1 => Just(Shape::Cluster)],
        prop_oneof![1 => 1usize..8, 2 => Just(1024)],
        0usize..3,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(shape, fence_slots, sync_reclaim, trust_loaded, trust_promoted, regions)| {
                let settings =
                    Settings { fence_slots, sync_reclaim, trust_loaded, trust_promoted, regions };
                Start { shape, settings }
            },
        );
    let weights = [
        (Kind::Stop, 1),
        (Kind::Walk, 12),
        (Kind::Evict, 1),
        (Kind::Remove, 1),
        (Kind::Rename, 2),
        (Kind::Copy, 2),
        (Kind::Move, 2),
        (Kind::Dump, 1),
        (Kind::Restore, 1),
        (Kind::SwapDb, 1),
        (Kind::Flush, 1),
        (Kind::Reclaim, 3),
        (Kind::Replicate, 12),
        (Kind::FullResync, 1),
        (Kind::Failover, 1),
        (Kind::Save, 1),
        (Kind::Restart, 1),
        (Kind::MoveSlot, 1),
        (Kind::Wait, 1),
    ];
    let mut profile = Profile::of(&weights);
    profile.weights[0].1 = 16;
    profile.weights[1].1 = 12;
    profile.steps = 120;
    profile.tells = ALL_TELLS;
    (start, profile.steps())
}

fn key() -> impl Strategy<Value = Key> + Clone {
    prop_oneof![4 => Just(0usize), 2 => Just(1), 1 => Just(2)]
}

fn db() -> impl Strategy<Value = Db> + Clone {
    prop_oneof![4 => Just(0usize), 1 => Just(1)]
}

fn step(kind: Kind, tells: &'static [Tell]) -> BoxedStrategy<Step> {
    match kind {
        Kind::Reader => (0usize..2, db(), key(), proptest::bool::weighted(0.1))
            .prop_map(|(who, db, key, at_replica)| Step::Reader { who, db, key, at_replica })
            .boxed(),
        Kind::Writer => {
            let change = prop_oneof![
                6 => (0u8..2).prop_map(|user| Change::GiveTo { user }),
                1 => Just(Change::Delete),
            ];
            (0usize..2, db(), key(), change, proptest::sample::select(tells))
                .prop_map(|(who, db, key, change, tell)| Step::Writer {
                    who,
                    db,
                    key,
                    change,
                    tell,
                })
                .boxed()
        }
        Kind::Stop => {
            (0usize..2, any::<bool>()).prop_map(|(who, says)| Step::Stop { who, says }).boxed()
        }
        Kind::Walk => Just(Step::Walk).boxed(),
        Kind::Evict => db().prop_map(|db| Step::Evict { db }).boxed(),
        Kind::Remove => (db(), key()).prop_map(|(db, key)| Step::Remove { db, key }).boxed(),
        Kind::Rename => {
            (db(), key(), key()).prop_map(|(db, from, to)| Step::Rename { db, from, to }).boxed()
        }
        Kind::Copy => (db(), key(), db(), key())
            .prop_map(|(db, from, to_db, to)| Step::Copy { db, from, to_db, to })
            .boxed(),
        Kind::Move => (0usize..2, key()).prop_map(|(db, key)| Step::Move { db, key }).boxed(),
        Kind::Dump => (db(), key()).prop_map(|(db, key)| Step::Dump { db, key }).boxed(),
        Kind::Restore => (db(), key()).prop_map(|(db, key)| Step::Restore { db, key }).boxed(),
        Kind::SwapDb => Just(Step::SwapDb).boxed(),
        Kind::Flush => {
            prop_oneof![2 => db().prop_map(|db| Step::FlushDb { db }), 1 => Just(Step::FlushAll)]
                .boxed()
        }
        Kind::Reclaim => {
            (0usize..2, db()).prop_map(|(node, db)| Step::Reclaim { node, db }).boxed()
        }
        Kind::Replicate => Just(Step::Replicate).boxed(),
        Kind::FullResync => Just(Step::FullResync).boxed(),
        Kind::Failover => Just(Step::Failover).boxed(),
        Kind::Save => (0usize..2).prop_map(|node| Step::Save { node }).boxed(),
        Kind::Restart => (0usize..2, 0usize..4, any::<bool>())
            .prop_map(|(node, lost, rdb_alone)| Step::Restart { node, lost, rdb_alone })
            .boxed(),
        Kind::MoveSlot => Just(Step::MoveSlot).boxed(),
        Kind::Wait => Just(Step::Wait).boxed(),
    }
}
