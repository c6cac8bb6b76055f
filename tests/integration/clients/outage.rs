//! A server that is frozen, by the clock: what an answer costs meanwhile with what libraries do unless they are told
//! otherwise, and how soon all is as before.

use super::adapter::{programs, Adapter};
use super::scenario::{Servers, Way};
use super::Library;
use crate::harness::*;
use serde_json::{json, Value};
use std::time::{Duration, Instant};

/// What a call may take by default, and what the clocks of timers may be ahead.
const TIMEOUT: Duration = Duration::from_millis(50);
const AHEAD: Duration = Duration::from_millis(5);

/// What a machine that does other things as well may add.
const NOISE: Duration = Duration::from_millis(500);

/// Within which all is as before.
const BACK: Duration = Duration::from_secs(1);

/// Of a machine that stalls one in so many is enough.
const ROUNDS: usize = 3;

/// How long an L1 keeps an answer.
const MAX_AGE: Duration = Duration::from_secs(2);

/// More than opens the breaker.
const FAILURES: usize = 5;

fn row(is_active: bool) -> Value {
    json!({"id": "1", "user_id": "u", "is_active": is_active, "key_hash": "sha256:s"})
}

struct Outage<'a> {
    library: &'a Library,
    adapter: &'a Adapter,
    server: Server,
    /// Of the library with each policy.
    load: String,
    deny: String,
    /// Where there is an L1.
    stale: Option<String>,
}

impl<'a> Outage<'a> {
    fn new(library: &'a Library, way: &Way) -> Self {
        let server = Servers::settings(Server::builder()).start();
        let adapter = &library.adapters[0];
        let open = |policy: &str| {
            let name = format!("outage-{}-{}-{policy}", way.client, way.protocol);
            let mut open = json!({
                "do": "open", "name": name, "client": way.client, "protocol": way.protocol,
                "nodes": [format!("127.0.0.1:{}", server.port)], "cluster": false,
                "options": {"parse": "plain", "when_down": policy, "change_timeout": 10_000},
            });
            if policy == "stale" {
                let max_age = MAX_AGE.as_millis() as u64;
                open["options"]["l1"] = json!({
                    "max_entries": 10, "max_age": max_age, "follow": "channel", "channel": "told",
                });
            }
            adapter.must(&open);
            name
        };
        library.database.clear();
        let (load, deny) = (open("load"), open("deny"));
        let stale = (library.described["l1"] == true).then(|| open("stale"));
        Self { library, adapter, server, load, deny, stale }
    }

    fn verify(&self, name: &str) -> (Value, Duration) {
        let call = json!({"do": "verify", "name": name, "presented": "k1.s", "scopes": []});
        let began = Instant::now();
        let outcome = self.adapter.must(&call);
        (outcome, began.elapsed())
    }

    /// Until it is answered from there; how long that took.
    #[track_caller]
    fn until(&self, name: &str, source: &str) -> Duration {
        let began = Instant::now();
        eventually(&format!("{name}: {source} answers"), || {
            self.verify(name).0["source"] == source
        });
        began.elapsed()
    }

    fn change(&self, is_active: bool) {
        self.library.database.set("k1", &row(is_active));
        self.adapter
            .must(&json!({"do": "changed", "name": self.load, "key_id": "1", "prefix": "k1"}));
    }

    /// Freezes and wakes the server once. An error is what took too long.
    fn play(&self) -> Result<(), String> {
        self.change(true);
        self.until(&self.load, "cache");
        self.until(&self.deny, "cache");
        // It answers stale what it has, and no more.
        if let Some(name) = &self.stale {
            self.until(name, "l1");
        }
        self.server.freeze();
        let frozen = Instant::now();
        self.library.database.set("k1", &row(false));
        let answers: Vec<(Value, Duration)> =
            (0..FAILURES + 30).map(|_| self.verify(&self.load)).collect();
        for (answer, _) in &answers {
            assert_eq!(answer["code"], "DISABLED", "of before: {answer}");
        }
        let mut times: Vec<Duration> = answers.into_iter().map(|(_, took)| took).collect();
        let mut spared = times.split_off(FAILURES);
        assert!(times[0] > TIMEOUT - AHEAD, "{:?}: nobody was asked", times[0]);
        spared.sort();
        let (first, median) = (times[0], spared[spared.len() / 2]);
        let mut stale = 0;
        if let Some(name) = &self.stale {
            while frozen.elapsed() < MAX_AGE + NOISE {
                assert_eq!(self.verify(&self.load).0["code"], "DISABLED");
                let asked = frozen.elapsed();
                let (answer, _) = self.verify(name);
                if answer["kind"] == "valid" {
                    assert_eq!(answer["source"], "l1", "{answer}");
                    assert!(asked < MAX_AGE, "stale after {asked:?}: {answer}");
                    stale += 1;
                } else {
                    assert_eq!(answer["kind"], "unavailable", "{answer}");
                }
            }
        }
        let loads = self.library.database.loads("k1");
        assert_eq!(self.verify(&self.deny).0["kind"], "unavailable");
        assert_eq!(self.library.database.loads("k1"), loads, "the database was asked all the same");
        // As likely soon after Redis was asked in vain as long after that.
        self.server.wake();
        let back = self.until(&self.load, "cache");
        self.until(&self.deny, "cache");
        // What was not told yet is known to nobody; what is told now is known at once.
        self.change(false);
        assert_eq!(self.verify(&self.load).0["code"], "DISABLED");
        let seen = format!(
            "{}: first {first:?}, then {median:?}, {stale} stale, back within {back:?}",
            self.load
        );
        println!("{seen}");
        let is_good = first < TIMEOUT + NOISE
            && median < TIMEOUT / 2
            && back < BACK
            && (stale > 0 || self.stale.is_none());
        is_good.then_some(()).ok_or(seen)
    }
}

#[test]
fn a_frozen_server_costs_libraries_a_deadline_then_nothing_and_is_asked_again_within_a_second() {
    for program in programs() {
        let library = Library::start(&program, 1);
        for way in library.way_of_each_client() {
            let outage = Outage::new(&library, &way);
            let mut slow = vec![];
            while let Err(seen) = outage.play() {
                slow.push(seen);
                assert!(slow.len() < ROUNDS, "too slow, each time:\n{}", slow.join("\n"));
            }
            for name in [&outage.load, &outage.deny].into_iter().chain(&outage.stale) {
                outage.adapter.must(&json!({"do": "close", "name": name}));
            }
        }
    }
}
