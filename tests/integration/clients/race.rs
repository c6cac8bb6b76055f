//! Readers and writers of the same keys, each in several processes.
//!
//! A library is opened in each process once for each of the ways in which it keeps answers: not at all, and in an L1 that
//! follows the channel, or tracks. What was taken back is valid nowhere after the change was told, but for an L1 that was
//! not told it by itself: there it is for as long as an answer is kept, at most.

use super::adapter::{programs, Adapter, Mode};
use super::disturbed::Disturbed;
use super::processes::Processes;
use super::scenario::{Servers, Way};
use super::Library;
use crate::harness::{self, *};
use serde_json::{json, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: usize = 8;
const READERS: usize = 8;
const WRITERS: usize = 2;

/// How often each writer takes a key back, at least; and where that takes an L1's age.
const TURNS: usize = 8;
const LONG_TURNS: usize = 4;

/// How long a row may be on its way.
const LAG_MS: u64 = 12;

/// How long an L1 keeps an answer.
const MAX_AGE: Duration = Duration::from_millis(200);

/// The channel that servers tell, and one that nobody follows.
const CHANNELS: [&str; 2] = ["told", "elsewhere"];

/// A change that takes a key back and was told, until the key is given again.
#[derive(Clone)]
struct Told {
    number: u64,
    at: Instant,
    /// Who has told it.
    by: Arc<Adapter>,
    name: String,
}

/// What was seen, to show that there was something to see.
#[derive(Default)]
struct Seen {
    valid: AtomicU64,
    refused: AtomicU64,
    /// Answers of an L1.
    kept: AtomicU64,
    /// Of these, by one that had not heard of the change yet.
    late: AtomicU64,
    /// Changes that had to be told again.
    repeated: AtomicU64,
}

struct Race<'a> {
    name: String,
    library: &'a Library,
    processes: Processes<'a>,
    /// Under which names a library was opened in each process.
    opened: Vec<String>,
    told: [Mutex<Option<Told>>; KEYS],
    seen: Seen,
    /// Tells each server which channel is its own, where messages shall be lost.
    divert: Option<&'a (dyn Fn(&str) + Sync)>,
    is_over: AtomicBool,
}

fn row(key: usize, is_active: bool) -> Value {
    json!({"id": key.to_string(), "user_id": "u", "is_active": is_active, "key_hash": "sha256:s"})
}

impl<'a> Race<'a> {
    fn new(library: &'a Library, way: &Way, at: &Value, kept: &[&str]) -> Self {
        let name = format!("race-{}-{}", way.client, way.protocol);
        let opens: Vec<Value> = kept
            .iter()
            .map(|how| {
                let mut open = at.clone();
                open["do"] = "open".into();
                open["name"] = format!("{name}-{how}").into();
                open["client"] = way.client.clone().into();
                open["protocol"] = way.protocol.into();
                if *how != "nowhere" {
                    open["options"]["l1"] = json!({
                        "max_entries": 1000, "max_age": MAX_AGE.as_millis() as u64, "follow": how,
                        "channel": CHANNELS[0],
                    });
                }
                open
            })
            .collect();
        library.database.clear();
        // Rows grow old on their way, so that fills of them come late.
        library.database.set_mode(Mode::Lags(LAG_MS));
        let opened =
            opens.iter().map(|open| open["name"].as_str().expect("a name").into()).collect();
        let processes = library.open_everywhere(opens);
        let race = Self {
            name,
            library,
            processes,
            opened,
            told: Default::default(),
            seen: Seen::default(),
            divert: None,
            is_over: AtomicBool::new(false),
        };
        (0..KEYS).for_each(|key| library.database.set(&race.prefix(key), &row(key, true)));
        race
    }

    fn prefix(&self, key: usize) -> String {
        format!("{}-{key}", self.name)
    }

    fn told(&self, key: usize) -> Option<Told> {
        self.told[key].lock().expect("what was told").clone()
    }

    /// Asks for a key; whether an L1 has answered.
    fn verify(&self, place: usize, name: &str, key: usize) -> bool {
        let presented = format!("{}.s", self.prefix(key));
        let call = json!({"do": "verify", "name": name, "presented": presented, "scopes": []});
        let adapter = self.processes.alive(place);
        let told = self.told(key);
        // Whether it can't be unheard of where this is asked.
        let is_heard = |told: &Told| {
            let is_own = Arc::ptr_eq(&told.by, &adapter) && told.name == name;
            is_own || name.ends_with("-nowhere") || told.at.elapsed() > MAX_AGE
        };
        let was_heard = told.as_ref().is_some_and(is_heard);
        let Some(outcome) = adapter.begin(&call).outcome_if_any() else {
            // It was killed.
            return false;
        };
        let outcome = outcome.unwrap_or_else(|e| panic!("{call}: {e}"));
        if outcome["kind"] != "valid" {
            assert_eq!(outcome["code"], "DISABLED", "{name}: {outcome}");
            self.seen.refused.fetch_add(1, SeqCst);
            return false;
        }
        self.seen.valid.fetch_add(1, SeqCst);
        let is_kept = outcome["source"] == "l1";
        self.seen.kept.fetch_add(is_kept.into(), SeqCst);
        if let Some(told) = told {
            let is_revoked = self.told(key).is_some_and(|now| now.number == told.number);
            assert!(
                !(is_revoked && was_heard),
                "{name}: valid {:?} after the change was told by {}: {outcome}",
                told.at.elapsed(),
                told.name,
            );
            self.seen.late.fetch_add(is_revoked.into(), SeqCst);
        }
        is_kept
    }

    /// Changes a key and tells it until that is done; by whom it was.
    fn change(&self, place: usize, name: &str, key: usize, is_active: bool) -> Arc<Adapter> {
        let prefix = self.prefix(key);
        self.library.database.set(&prefix, &row(key, is_active));
        let changed =
            json!({"do": "changed", "name": name, "key_id": key.to_string(), "prefix": prefix});
        let (by, failed) = self.processes.insist(place, &changed);
        self.seen.repeated.fetch_add(failed as u64, SeqCst);
        by
    }

    /// Everywhere where it may be kept.
    fn everywhere(&self) -> impl Iterator<Item = (usize, &str)> {
        let places = 0..self.processes.len();
        places.flat_map(|place| self.opened.iter().map(move |name| (place, name.as_str())))
    }

    /// A key is given, kept somewhere, taken back, asked for, and given again.
    fn turn(&self, writer: usize, number: usize) {
        // Each has keys of its own: of two changes of one row there would be no order.
        let key = number % (KEYS / WRITERS) * WRITERS + writer;
        let prefix = self.prefix(key);
        let has_l1 = self.opened.len() > 1;
        // Then who tells it can't have it from a message.
        let divert = self.divert.filter(|_| writer == 0 && number % 2 == 1);
        let of_channel = self.opened.iter().find(|name| name.ends_with("-channel"));
        let name = match (divert, of_channel) {
            (Some(_), Some(name)) => name,
            _ => &self.opened[(number + writer) % self.opened.len()],
        };
        // The key is gone from the cache, and some reader's row of before is on its way.
        let loads = self.library.database.loads(&prefix);
        self.change(writer, name, key, true);
        eventually("some reader loads it", || {
            self.library.database.loads(&prefix) > loads || self.is_over.load(SeqCst)
        });
        if has_l1 && number % 2 == 1 {
            for (place, name) in self.everywhere().filter(|(_, name)| !name.ends_with("-nowhere")) {
                // It may not follow yet, after a connection was lost; then there is nothing to be seen there.
                let began = Instant::now();
                while !self.verify(place, name, key) && began.elapsed() < MAX_AGE {}
            }
        }
        if let Some(divert) = divert {
            divert(CHANNELS[1]);
        }
        let by = self.change(writer, name, key, false);
        let told = Told { number: number as u64, at: Instant::now(), by, name: name.clone() };
        let at = told.at;
        *self.told[key].lock().expect("what was told") = Some(told);
        // For longer than a row is on its way, or an answer is kept.
        let lasts =
            if has_l1 { MAX_AGE } else { Duration::ZERO } + Duration::from_millis(2 * LAG_MS);
        while at.elapsed() < lasts {
            for (place, name) in self.everywhere() {
                self.verify(place, name, key);
            }
        }
        *self.told[key].lock().expect("what was told") = None;
        if let Some(divert) = divert {
            divert(CHANNELS[0]);
        }
        self.change(writer, name, key, true);
    }

    /// On a machine that stalls an L1 may have kept nothing as messages were lost: then there are more turns, within reason.
    fn has_more_to_see(&self, number: usize) -> bool {
        self.divert.is_some() && self.seen.late.load(SeqCst) == 0 && number < 10 * LONG_TURNS
    }

    /// Runs until each writer has had its turns, and `disturb` has returned.
    fn run(&self, disturb: impl FnOnce(&Self)) {
        let (at_end, is_calm) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for reader in 0..READERS {
                scope.spawn(move || {
                    let _stop = StopOthers(&self.is_over);
                    let mut rng = Rng::new(reader as u64);
                    while !self.is_over.load(SeqCst) {
                        let name = &self.opened[rng.below(self.opened.len())];
                        self.verify(reader, name, rng.below(KEYS));
                    }
                });
            }
            for writer in 0..WRITERS {
                let (at_end, is_calm) = (&at_end, &is_calm);
                scope.spawn(move || {
                    let _stop = StopOthers(&self.is_over);
                    let turns = if self.opened.len() > 1 { LONG_TURNS } else { TURNS };
                    let mut number = 0;
                    while (number < turns || !is_calm.load(SeqCst) || self.has_more_to_see(number))
                        && !self.is_over.load(SeqCst)
                    {
                        self.turn(writer, number);
                        number += 1;
                    }
                    if at_end.fetch_add(1, SeqCst) + 1 == WRITERS as u64 {
                        self.is_over.store(true, SeqCst);
                    }
                });
            }
            let _stop = StopOthers(&self.is_over);
            disturb(self);
            is_calm.store(true, SeqCst);
        });
        let number = |count: &AtomicU64| count.load(SeqCst);
        let Seen { valid, refused, kept, late, repeated } = &self.seen;
        let seen = format!(
            "{}: {} valid, {} refused, {} of an L1, {} of them late; {} changes told again",
            self.name,
            number(valid),
            number(refused),
            number(kept),
            number(late),
            number(repeated)
        );
        println!("{seen}");
        assert!(number(valid) > 0 && number(refused) > 0, "{seen}");
        assert!(self.opened.len() == 1 || number(kept) > 0, "{seen}");
        // Where messages were lost, answers of before were seen, and the rest shows that they end.
        assert!(self.divert.is_none() || number(late) > 0, "{seen}");
        self.processes.close();
    }
}

/// What there is to open at these servers. A busy machine is no outage.
fn at(servers: &Servers) -> Value {
    json!({
        "nodes": servers.addresses(),
        "cluster": matches!(servers, Servers::Cluster(..)),
        "options": {"parse": "plain", "timeout": 10_000, "breaker": {"failures": 1000, "ms": 100}},
    })
}

fn race_all(servers: fn() -> Servers, ways: fn(&Library) -> Vec<Way>) {
    for_each_library(|library| {
        let servers = servers();
        for way in ways(library) {
            Race::new(library, &way, &at(&servers), &["nowhere"]).run(|_| {});
        }
    });
}

/// Both ways to follow, and none.
const KEPT: [&str; 3] = ["nowhere", "channel", "tracking"];

fn race_with_l1(servers: fn() -> Servers) {
    for_each_library(|library| {
        if library.described["l1"] != true {
            return;
        }
        let servers = servers();
        let divert = |channel: &str| servers.set("apikey.invalidation-channel", channel);
        for way in library.way_of_each_client() {
            let mut race = Race::new(library, &way, &at(&servers), &KEPT);
            // Redis 6.2 has no such setting.
            race.divert = harness::server::kind().has_module_config().then_some(&divert);
            race.run(|_| {});
        }
    });
}

fn for_each_library(mut race: impl FnMut(&Library)) {
    programs().iter().for_each(|program| race(&Library::start(program, 2)));
}

#[test]
fn no_key_is_valid_after_libraries_told_its_change() {
    race_all(Servers::one, Library::ways);
}

#[test]
fn no_key_of_a_cluster_is_valid_after_libraries_told_its_change() {
    race_all(Servers::cluster, Library::way_of_each_client);
}

#[test]
fn an_l1_has_no_key_after_its_change_was_told_here_or_its_age_is_over() {
    race_with_l1(Servers::one);
}

#[test]
fn an_l1_of_a_cluster_has_no_key_after_its_change_was_told_here_or_its_age_is_over() {
    race_with_l1(Servers::cluster);
}

#[test]
fn no_key_is_valid_after_its_change_was_told_while_servers_and_processes_are_killed() {
    let mut rng = Rng::from_env(7);
    for_each_library(|library| {
        for way in library.way_of_each_client() {
            let mut disturbed = Disturbed::start();
            let mut at = disturbed.at();
            // So that some changes can't be told.
            at["options"]["change_timeout"] = 50.into();
            let kept = if library.described["l1"] == true { &KEPT[..] } else { &KEPT[..1] };
            let race = Race::new(library, &way, &at, kept);
            race.run(|race| {
                disturbed.disturb(&mut rng, &race.processes, "APIKEY.INVAL", &race.is_over)
            });
        }
    });
}
