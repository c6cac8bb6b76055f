//! Readers and writers of the same keys, each in several processes.

use super::adapter::{programs, Mode};
use super::scenario::Servers;
use super::Library;
use crate::harness::*;
use serde_json::{json, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: usize = 8;
const READERS: usize = 8;
const WRITERS: usize = 2;

/// How often each writer takes a key back.
const TURNS: usize = 16;

/// How long a row may be on its way.
const LAG_MS: u64 = 12;

/// A key is taken back, and the change is told, in odd turns; it may be anything in even ones.
#[derive(Default)]
struct Turns([AtomicU64; KEYS]);

fn row(key: usize, is_active: bool) -> Value {
    json!({"id": key.to_string(), "user_id": "u", "is_active": is_active, "key_hash": "sha256:s"})
}

fn race(servers: &Servers, program: &str) {
    let library = Library::start(program);
    for way in library.ways() {
        let nodes = servers.addresses();
        let name = format!("race-{}-{}", way.client, way.protocol);
        library.database.clear();
        // Rows grow old on their way, so that fills of them come late.
        library.database.set_mode(Mode::Lags(LAG_MS));
        (0..KEYS).for_each(|key| library.database.set(&format!("{name}-{key}"), &row(key, true)));
        for adapter in &library.adapters {
            adapter.must(&json!({
                "do": "open", "name": name, "client": way.client, "protocol": way.protocol, "nodes": nodes,
                "cluster": matches!(servers, Servers::Cluster(..)),
                "options": {"parse": "plain", "timeout": 10_000, "breaker": {"failures": 1000, "ms": 100}},
            }));
        }
        let (turns, is_over) = (Turns::default(), AtomicBool::new(false));
        let (valid, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let verify = |reader: usize, key: usize| {
            let presented = format!("{name}-{key}.s");
            let call = json!({"do": "verify", "name": name, "presented": presented, "scopes": []});
            let turn = turns.0[key].load(SeqCst);
            let outcome = library.adapters[reader % 2].must(&call);
            match outcome["kind"].as_str() {
                Some("valid") => {
                    let is_revoked = turn % 2 == 1 && turns.0[key].load(SeqCst) == turn;
                    assert!(!is_revoked, "{name}: valid after the change was told: {outcome}");
                    valid.fetch_add(1, SeqCst);
                }
                _ => {
                    assert_eq!(outcome["code"], "DISABLED", "{name}: {outcome}");
                    refused.fetch_add(1, SeqCst);
                }
            }
        };
        let change = |writer: usize, key: usize, is_active: bool| {
            let prefix = format!("{name}-{key}");
            library.database.set(&prefix, &row(key, is_active));
            let changed =
                json!({"do": "changed", "name": name, "key_id": key.to_string(), "prefix": prefix});
            library.adapters[writer % 2].must(&changed);
        };
        let at_end = AtomicU64::new(0);
        thread::scope(|scope| {
            let (verify, change, turns, is_over, at_end) =
                (&verify, &change, &turns, &is_over, &at_end);
            let (database, name) = (&library.database, &name);
            for reader in 0..READERS {
                scope.spawn(move || {
                    let _stop = StopOthers(is_over);
                    let mut rng = Rng::new(reader as u64);
                    while !is_over.load(SeqCst) {
                        verify(reader, rng.below(KEYS));
                    }
                });
            }
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    let _stop = StopOthers(is_over);
                    // Each has keys of its own: of two changes of one row there would be no order.
                    for key in (0..TURNS).map(|turn| turn % (KEYS / WRITERS) * WRITERS + writer) {
                        if is_over.load(SeqCst) {
                            break;
                        }
                        // The key is gone from the cache, and some reader's row of before is on its way.
                        let prefix = format!("{name}-{key}");
                        let loads = database.loads(&prefix);
                        change(writer, key, true);
                        eventually("some reader loads it", || {
                            database.loads(&prefix) > loads || is_over.load(SeqCst)
                        });
                        change(writer, key, false);
                        turns.0[key].fetch_add(1, SeqCst);
                        // For longer than a row is on its way.
                        let told = Instant::now();
                        while told.elapsed() < Duration::from_millis(2 * LAG_MS) {
                            verify(writer, key);
                        }
                        turns.0[key].fetch_add(1, SeqCst);
                        change(writer, key, true);
                    }
                    if at_end.fetch_add(1, SeqCst) + 1 == WRITERS as u64 {
                        is_over.store(true, SeqCst);
                    }
                });
            }
        });
        let (valid, refused) = (valid.into_inner(), refused.into_inner());
        println!("{name}: {valid} valid, {refused} refused");
        assert!(valid > 0 && refused > 0, "{name}: {valid} valid, {refused} refused");
        for adapter in &library.adapters {
            adapter.must(&json!({"do": "close", "name": name}));
        }
    }
}

fn race_all(servers: &dyn Fn() -> Servers) {
    let programs = programs();
    if programs.is_empty() {
        return;
    }
    let servers = servers();
    programs.iter().for_each(|program| race(&servers, program));
}

#[test]
fn no_key_is_valid_after_libraries_told_its_change() {
    race_all(&Servers::one);
}

#[test]
fn no_key_of_a_cluster_is_valid_after_libraries_told_its_change() {
    race_all(&Servers::cluster);
}
