//! What every integration test stands on: real servers with the module in them (`server`), a client
//! that shows replies as they came (`client`), and raw views of a server's streams (`streams`).
//!
//! Environment:
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `APIKEY_MODULE` | the module to load | `target/debug/libapikey.so` of the workspace |
//! | `APIKEY_HOST_EXAMPLES` | where the examples of `host/` and `engine/` are, built | `target/debug/examples` of the workspace |
//! | `APIKEY_OTHER_MODULE` | the module of the release before, or of another revision (`scripts/test --with`) | `target/released/libapikey.so` of the workspace, where `scripts/released` leaves it |
//! | `APIKEY_CTL` | the operator's program | `apikeyctl` beside the module |
//! | `APIKEY_SERVER_BIN` | the server to start | `redis-server` from PATH |
//! | `APIKEY_SERVER` | what that server is: `redis-6.2`, `redis-7.0`, `redis-8.2`, `valkey-9.1` | told from its `--version` |
//! | `APIKEY_PYTHON` | a Python with redis-py, for the examples | `python3` |
//! | `APIKEY_CLIENTS` | where the client libraries of `tests/clients` are installed | `target/clients` of the workspace |
//! | `APIKEY_ADAPTERS` | programs by which client libraries are told what to do, one on each line, its words separated by tabs | those tests do nothing |
//! | `APIKEY_SCENARIO` | of the scenarios for client libraries those whose name has this | all |
//! | `APIKEY_STEPS` | whether each step of a scenario is told | no |
//! | `APIKEY_SEED` | seed of the randomised tests | fixed |
//! | `APIKEY_CLUSTER_SECONDS` | how long readers and writers of a cluster race | 5 |
//! | `APIKEY_CHAOS_SECONDS` | how long a cluster, and Sentinel's servers, are disturbed; the server of client libraries | 6; 2 |
//! | `APIKEY_FUZZ_ROUNDS` | rounds of each fuzz test | 3000 |
//! | `APIKEY_CHAOS_KILLS` | consumers that are killed while they drain into PostgreSQL | 200 |
//! | `APIKEY_PYTHON` | a Python with redis-py and psycopg 3, for the examples | `python3` |
//! | `APIKEY_POSTGRES_BIN` | where PostgreSQL's programs are | the newest in `/usr/lib/postgresql` |
//! | `APIKEY_CHROMIUM` | the browser that shows a page | `chromium` from PATH |
//! | `APIKEY_PROMETHEUS_BIN` | where Prometheus, promtool and redis_exporter are | `/usr/bin` |
//!
//! Tests never sleep for a guess: what takes time is polled by [`eventually`].

// A toolbox: a helper that only one server's tests or a later file uses is not a mistake.
#![allow(dead_code)]

pub mod client;
pub mod cluster;
pub mod entries;
pub mod http;
pub mod leases;
pub mod postgres;
pub mod proxy;
pub mod rng;
pub mod server;
pub mod streams;
pub mod terminal;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use client::{array, bulk, error, int, map, nil, ok, simple, Client, Reply};
pub use cluster::Cluster;
pub use entries::*;
pub use leases::{batches, Batch, Line, LONG};
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use rng::Rng;
pub use server::{Builder, Kind, Server};

/// How long anything that is polled for may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `condition` holds; fails the test, naming `what`, when it does not within 20 s.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// The same, of what takes longer by its nature.
#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    while !condition() {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The value of an environment variable that holds a number.
pub fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Says that the others can stop, also where a client panics.
pub struct StopOthers<'a>(pub &'a AtomicBool);

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
