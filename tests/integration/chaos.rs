//! Chaos: clients use a cluster, or a primary with replicas that Sentinel watches, while its nodes are killed, stopped,
//! cut off and replaced, and its slots move. At the end all has to be as it was promised.
//!
//! `load` is the clients and what they were promised; `clients` how each of them finds its node; `shards` and
//! `watched` are the two services, each with a list of what is done to it. `APIKEY_CHAOS_SECONDS` says how long,
//! `APIKEY_SEED` with which choices (`scripts/test --chaos SECONDS --seed N`). How it all interleaves is the machine's,
//! so that a seed repeats a failure only often.

pub mod clients;
pub mod load;
mod shards;
mod watched;

use crate::harness::*;
use load::{Load, Promise};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a service may take to become whole again: elections are tried anew after seconds.
const HEALS_WITHIN: Duration = Duration::from_secs(120);

/// What is done, in words, and how.
type Disturbance<W> = (&'static str, fn(&mut W));

/// What is disturbed, and gets well again.
trait World: Sized + 'static {
    /// All that is done to it, each of which may leave it in whatever state.
    const DISTURBANCES: &'static [Disturbance<Self>];

    fn rng(&mut self) -> &mut Rng;

    /// All runs, is connected and agrees again.
    fn heal(&mut self);

    /// The primaries, each with its replicas.
    fn groups(&mut self) -> Vec<(&Server, Vec<&Server>)>;

    /// The hash tags of keys that Redis itself may have lost, or has twice.
    fn unsure(&self) -> &BTreeSet<String>;
}

/// The choices of a run: each server has others by default, so that together they try most of what there is.
fn rng() -> Rng {
    Rng::from_env(7 + server::kind() as u64)
}

/// What a run promises to clients, and how its nodes are set for it: either way of what can be chosen has its runs.
fn settings(rng: &mut Rng, replicas: i64) -> (Promise, impl Fn(Builder) -> Builder) {
    let is_bounded = !rng.one_in(3);
    let trusts_promoted = if rng.one_in(3) { "no" } else { "yes" };
    let min_replicas = i32::from(is_bounded);
    println!("min-replicas-to-write {min_replicas}, trust-promoted {trusts_promoted}");
    // What the server counts in whole seconds, and what a busy machine adds.
    let bound = is_bounded.then_some(Duration::from_secs(3 + 5));
    let settings = move |builder: Builder| {
        builder
            .setting("trust-promoted", trusts_promoted)
            .setting("sync-reclaim", "2")
            .setting("fence-slots", "512")
            .config(&format!("min-replicas-to-write {min_replicas}"))
            .config("min-replicas-max-lag 1")
    };
    (Promise { replicas, bound }, settings)
}

/// Has the load run while the world is disturbed, and looks at what is left.
fn run<W: World>(load: &Load, world: &mut W) {
    let seconds = env_number("APIKEY_CHAOS_SECONDS", 6);
    load.begin();
    std::thread::scope(|scope| {
        let _stop = StopOthers(&load.failed);
        load.spawn(scope);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut left = Vec::new();
        while Instant::now() < end && load.goes_on() {
            // Each once, before one comes again.
            if left.is_empty() {
                left = W::DISTURBANCES.to_vec();
            }
            let (name, act) = left.swap_remove(world.rng().below(left.len()));
            let began = Instant::now();
            act(world);
            let done = began.elapsed();
            world.heal();
            println!("{name}: {done:?}, and well after {:?}", began.elapsed());
        }
        load.end();
    });
    world.heal();
    let unsure = world.unsure().clone();
    load.settle(&unsure);
    for (primary, replicas) in world.groups() {
        for replica in &replicas {
            let began = Instant::now();
            while !agree(primary, replica) {
                // What expires goes at its own time. Of keys that a slot left behind a primary may tell nobody as it
                // drops them, as 7.0 does.
                if began.elapsed() > Duration::from_secs(10) {
                    let [has, should] = [replica, primary].map(|server| values(server, &unsure));
                    assert_eq!(has, should);
                    break;
                }
            }
        }
        for server in [primary].into_iter().chain(replicas) {
            assert_nothing_was_refused(server);
            let mut c = server.client();
            assert_eq!(c.must("APIKEY.CHECK").get("found"), &array([]));
            let log = server.log();
            for word in ["ASSERTION", "crashed by signal", "BUG REPORT", "panic"] {
                assert_eq!(log.lines().find(|line| line.contains(word)), None);
            }
        }
    }
}

fn agree(primary: &Server, replica: &Server) -> bool {
    replica.in_sync_with(primary);
    replica.digest() == primary.digest()
}

/// All keys but those with these hash tags, each with a digest of what it holds.
fn values(server: &Server, but: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut c = server.client();
    let keys = c.must("KEYS *");
    let is_meant = |key: &String| !but.iter().any(|tag| key.starts_with(&format!("{{{tag}}}")));
    let value = |key: String| {
        let value = c.must(&format!("DEBUG DIGEST-VALUE {key}"));
        (key, format!("{value:?}"))
    };
    keys.items().iter().map(Reply::text).filter(is_meant).map(value).collect()
}
