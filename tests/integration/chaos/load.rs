//! The clients: readers that fill what they miss, writers that change rows and say so, some that count and some that
//! hand the counts over; and what each of them was promised.
//!
//! What a writer is promised depends on how he tells of a change:
//!
//! | he says | a reader who asks after that | |
//! | --- | --- | --- |
//! | TAGINVALNODE to each primary, and WAITs for all of its replicas | sees the change, whatever happens | [`How::Safely`] |
//! | INVAL of the key where it is, and WAITs so; the slot stays | the same | [`How::ByKey`] |
//! | TAGINVAL to any primary, until that is a number | sees it at each primary that this one knew of, until that is replaced; one who was replaced and does not know it yet may go on for as long as `min-replicas-to-write` lets it | [`How::ByTag`] |
//!
//! Counting is promised where WAIT has counted all replicas, and handing over where it did so after LEASE.

use super::clients::{expect_refusal, Clients, Gone, Said};
use crate::harness::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, RwLock};
use std::thread::{sleep, Scope};
use std::time::{Duration, Instant};

/// How clients find their way.
pub trait Service: Sync {
    /// Who may own a key, or knows who does.
    fn guess(&self, clients: &mut Clients) -> Option<usize>;

    /// Any node that can be asked who the primaries are.
    fn witness(&self, clients: &mut Clients) -> usize;

    /// All that are primaries, whether they own anything or not, as this node sees it; nothing where one that owns
    /// something is known to be lost.
    fn primaries_seen_by(&self, clients: &mut Clients, witness: usize) -> Option<Vec<usize>>;

    /// All that this node tells of what it is told.
    fn primaries_told_by(&self, clients: &mut Clients, node: usize) -> Option<Vec<usize>>;

    /// By which one of them alone is told.
    fn inval_of_one(&self) -> &'static str {
        "APIKEY.TAGINVALNODE"
    }

    fn primaries(&self, clients: &mut Clients) -> Option<Vec<usize>> {
        let witness = self.witness(clients);
        self.primaries_seen_by(clients, witness)
    }
}

/// Of so many replicas each primary has to hear that they have it.
#[derive(Clone, Copy)]
pub struct Promise {
    pub replicas: i64,
    /// For how long one may vouch that was replaced, if that has a bound.
    pub bound: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Safely,
    ByKey,
    ByTag,
}

/// A row of the application's database. Its version grows with every change.
struct Row {
    key: String,
    tag: String,
    how: How,
    version: RwLock<u64>,
    /// What writers were promised.
    told: Mutex<Vec<Told>>,
}

#[derive(Clone)]
struct Told {
    version: u64,
    at: Instant,
    /// The replication ids of all primaries, before they were told.
    primaries: BTreeSet<String>,
}

/// What was counted under a key.
struct Counter {
    key: String,
    /// As all replicas have it.
    sure: AtomicI64,
    /// With no reply, or not as all replicas have it.
    maybe: AtomicI64,
}

/// Lines of batches by their ids, each with its key and count.
type Lines = BTreeMap<String, (String, i64)>;

pub struct Load<'a> {
    service: &'a dyn Service,
    ports: Vec<u16>,
    promise: Promise,
    rows: Vec<Row>,
    counters: Vec<Counter>,
    /// What consumers have written.
    table: Mutex<Lines>,
    tried: [(&'static str, AtomicU64); 13],
    seed: u64,
    is_over: AtomicBool,
    pub failed: AtomicBool,
}

/// What a client does over and over; it is told which of its kind it is.
type Act = fn(&Load, &mut Clients, u64);

const READERS: u64 = 3;
const COUNTING: u64 = 2;
const CONSUMERS: u64 = 2;

/// For how long WAIT waits.
const WAIT_MS: u64 = 400;

/// After which a client gives a node up.
const PATIENCE: Duration = Duration::from_secs(2);

impl<'a> Load<'a> {
    /// Of keys with these hash tags; the slots of the first may move.
    pub fn new(
        service: &'a dyn Service,
        ports: &[u16],
        promise: Promise,
        moving: &[String],
        still: &[String],
        seed: u64,
    ) -> Self {
        let rows = moving.iter().map(|tag| (tag, [How::Safely, How::ByTag]));
        let rows = rows.chain(still.iter().map(|tag| (tag, [How::ByKey, How::ByKey])));
        let row = |(number, (tag, how)): (usize, (&String, How))| Row {
            key: format!("{{{tag}}}r{number}"),
            tag: format!("of{}", number % 7),
            how,
            version: RwLock::default(),
            told: Mutex::default(),
        };
        let counter = |tag: &String| Counter {
            key: format!("{{{tag}}}u"),
            sure: AtomicI64::new(0),
            maybe: AtomicI64::new(0),
        };
        Self {
            service,
            ports: ports.to_vec(),
            promise,
            rows: rows
                .flat_map(|(tag, hows)| hows.map(|how| (tag, how)))
                .enumerate()
                .map(row)
                .collect(),
            counters: moving.iter().chain(still).map(counter).collect(),
            table: Mutex::default(),
            tried: [
                "VALID",
                "stored",
                "too late",
                "replaced primaries that answered",
                "told safely",
                "told by key",
                "told by tag",
                "told again",
                "counted",
                "counted, perhaps",
                "batches written",
                "batches acknowledged",
                "batches that came again",
            ]
            .map(|name| (name, AtomicU64::new(0))),
            seed,
            is_over: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    fn clients(&self, number: u64) -> Clients {
        let rng = Rng::new(self.seed.wrapping_mul(1000) + number);
        Clients::new(&self.ports, PATIENCE, rng)
    }

    fn tried(&self, name: &str) -> &AtomicU64 {
        &self.tried.iter().find(|(known, _)| *known == name).expect("a name").1
    }

    fn note(&self, name: &str) {
        self.tried(name).fetch_add(1, SeqCst);
    }

    pub fn goes_on(&self) -> bool {
        !self.is_over.load(SeqCst) && !self.failed.load(SeqCst)
    }

    /// Waits until something was done so many times more.
    pub fn goes_on_with(&self, name: &str, times: u64) {
        let before = self.tried(name).load(SeqCst);
        eventually(name, || !self.goes_on() || self.tried(name).load(SeqCst) >= before + times);
    }

    /// All counters are there from here on.
    pub fn begin(&self) {
        let mut clients = self.clients(0);
        for counter in &self.counters {
            eventually("it is counted", || self.count(&mut clients, counter));
        }
    }

    /// The clients stop, with what they have begun.
    pub fn end(&self) {
        self.is_over.store(true, SeqCst);
    }

    pub fn spawn<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let acts: [(u64, Act); 4] = [
            (3, |load, clients, number| load.write(clients, number)),
            (READERS, |load, clients, _| load.read(clients)),
            (COUNTING, |load, clients, _| load.count_one(clients)),
            (CONSUMERS, |load, clients, _| load.consume(clients)),
        ];
        for (kind, (count, act)) in (1..).zip(acts) {
            for number in 0..count {
                scope.spawn(move || {
                    let _stop = StopOthers(&self.failed);
                    let mut clients = self.clients(10 * kind + number);
                    while self.goes_on() {
                        act(self, &mut clients, number);
                    }
                });
            }
        }
    }

    fn of_key(&self, clients: &mut Clients, key: &str, lines: &[&str]) -> Said {
        clients.of_key(key, lines, |clients| self.service.guess(clients))
    }

    /// Whether a WAIT has counted all.
    fn is_everywhere(&self, waited: &Reply) -> bool {
        matches!(waited, Reply::Int(count) if *count >= self.promise.replicas)
    }

    fn wait(&self) -> String {
        format!("WAIT {} {WAIT_MS}", self.promise.replicas)
    }

    /// Reads a row as an application does, and fills it on a miss.
    fn read(&self, clients: &mut Clients) {
        let row = &self.rows[clients.rng.below(self.rows.len())];
        let key = &row.key;
        if clients.rng.one_in(300) {
            // As one who has just come.
            clients.forget(key);
        }
        let asked_at = Instant::now();
        let said = self.of_key(clients, key, &[&format!("APIKEY.VALIDATE {key} DIGEST {DIGEST}")]);
        sleep(Duration::from_millis(clients.rng.below(2) as u64));
        let Said::Done(node, replies) = said else { return };
        let reply = &replies[0];
        match code_of(reply).as_str() {
            "VALID" => {
                let seen: serde_json::Value =
                    serde_json::from_slice(reply.items()[1].bytes()).expect("a record");
                let version = seen["updated_at"].as_u64().expect("a version");
                self.note("VALID");
                self.judge(clients, row, version, node, asked_at);
            }
            "MISS" => {
                let token = reply.items()[1].text();
                let version = *row.version.read().expect("a row");
                if clients.rng.one_in(4) {
                    sleep(Duration::from_millis(clients.rng.below(8) as u64));
                }
                let json = format!(r#"{{"id":"{key}","is_active":true,"updated_at":{version}}}"#);
                let tag = &row.tag;
                let fill = format!(
                    "APIKEY.SETVAL {key} {json} DIGEST {DIGEST} TOKEN {token} TAGS 1 {tag}"
                );
                if let Said::Done(_, replies) = self.of_key(clients, key, &[&fill]) {
                    self.note(if replies[0] == ok() { "stored" } else { "too late" });
                }
            }
            other => panic!("{key}: {other}"),
        }
    }

    /// Whether it was promised that nobody reads this version any more.
    fn judge(
        &self,
        clients: &mut Clients,
        row: &Row,
        version: u64,
        node: usize,
        asked_at: Instant,
    ) {
        let promised: Vec<Told> = {
            let told = row.told.lock().expect("what was told");
            let is_broken = |told: &&Told| told.version > version && told.at < asked_at;
            told.iter().filter(is_broken).cloned().collect()
        };
        if promised.is_empty() {
            return;
        }
        let what = |told: &Told| {
            format!(
                "{}: node {node} said version {version}, and {:?} had been told {}, {:?} before",
                row.key,
                row.how,
                told.version,
                asked_at - told.at
            )
        };
        assert_eq!(row.how, How::ByTag, "{}", what(&promised[0]));
        let Some((replid, _)) = clients.primary(node) else { return };
        let successors: Vec<String> = (0..self.ports.len())
            .filter_map(|other| clients.primary(other))
            .filter(|(_, before)| *before == replid)
            .map(|(successor, _)| successor)
            .collect();
        for told in &promised {
            let is_meant = |id: &String| told.primaries.contains(id);
            if successors.is_empty() {
                assert!(!is_meant(&replid), "{}; nobody has replaced it", what(told));
            } else if is_meant(&replid) || successors.iter().any(is_meant) {
                self.note("replaced primaries that answered");
                let is_bounded = |bound| asked_at - told.at < bound;
                assert!(self.promise.bound.is_none_or(is_bounded), "{}", what(told));
            }
        }
    }

    /// Changes a row, and tells of it until that is done. Each kind of row has one writer: who has to wait for a replica
    /// holds up nobody who need not.
    fn write(&self, clients: &mut Clients, number: u64) {
        let how = [How::Safely, How::ByKey, How::ByTag][number as usize];
        let own: Vec<&Row> = self.rows.iter().filter(|row| row.how == how).collect();
        let row = own[clients.rng.below(own.len())];
        let version = {
            let mut version = row.version.write().expect("a row");
            *version += 1;
            *version
        };
        let began = Instant::now();
        let primaries = loop {
            if let Some(primaries) = self.tell(clients, row) {
                break primaries;
            }
            self.note("told again");
            if self.failed.load(SeqCst) {
                return;
            }
            assert!(began.elapsed() < 2 * super::HEALS_WITHIN, "{}: nobody can be told", row.key);
            sleep(Duration::from_millis(5 + clients.rng.below(20) as u64));
        };
        let told = Told { version, at: Instant::now(), primaries };
        row.told.lock().expect("what was told").push(told);
        self.note(match row.how {
            How::Safely => "told safely",
            How::ByKey => "told by key",
            How::ByTag => "told by tag",
        });
        sleep(Duration::from_millis(clients.rng.below(10) as u64));
    }

    /// Tells of a change, if that can be done now; with the replication ids of who was to be told.
    fn tell(&self, clients: &mut Clients, row: &Row) -> Option<BTreeSet<String>> {
        let (key, wait) = (&row.key, self.wait());
        let tag = match clients.rng.one_in(2) {
            true => row.tag.clone(),
            false => format!("apikey:id:{key}"),
        };
        let is_told = |line: &str, replies: &[Reply]| match &replies[0] {
            Reply::Error(why) => {
                expect_refusal(line, why);
                false
            }
            reply => {
                reply.int() >= 0 && replies.get(1).is_none_or(|reply| self.is_everywhere(reply))
            }
        };
        match row.how {
            How::ByKey => {
                let line = format!("APIKEY.INVAL {key}");
                let said = self.of_key(clients, key, &[&line, &wait]);
                let Said::Done(_, replies) = said else { return None };
                is_told(&line, &replies).then(BTreeSet::new)
            }
            How::Safely => {
                let line = format!("{} {tag}", self.service.inval_of_one());
                for node in self.service.primaries(clients)? {
                    let replies = clients.say(node, &[&line, &wait]).ok()?;
                    if !is_told(&line, &replies) {
                        return None;
                    }
                }
                Some(BTreeSet::new())
            }
            How::ByTag => {
                let nodes = self.service.primaries(clients)?;
                let node = nodes[clients.rng.below(nodes.len())];
                // Those that it will ask, since it knows of them.
                let asked = self.service.primaries_told_by(clients, node)?;
                let ids: Option<BTreeSet<String>> =
                    asked.iter().map(|node| Some(clients.primary(*node)?.0)).collect();
                let line = format!("APIKEY.TAGINVAL {tag}");
                let replies = clients.say(node, &[&line]).ok()?;
                is_told(&line, &replies).then_some(ids?)
            }
        }
    }

    fn count_one(&self, clients: &mut Clients) {
        let counter = &self.counters[clients.rng.below(self.counters.len())];
        self.count(clients, counter);
        sleep(Duration::from_millis(clients.rng.below(4) as u64));
    }

    /// Counts uses; whether that is safe.
    fn count(&self, clients: &mut Clients, counter: &Counter) -> bool {
        let by = 1 + clients.rng.below(3) as i64;
        let line = format!("APIKEY.USAGE.INCR {} BY {by}", counter.key);
        let is_sure = match self.of_key(clients, &counter.key, &[&line, &self.wait()]) {
            Said::Refused => return false,
            Said::Lost => false,
            Said::Done(_, replies) => self.is_everywhere(&replies[1]),
        };
        let (count, name) = match is_sure {
            true => (&counter.sure, "counted"),
            false => (&counter.maybe, "counted, perhaps"),
        };
        count.fetch_add(by, SeqCst);
        self.note(name);
        is_sure
    }

    /// Hands over what a node has. Some consumers die before they have written it, or before they have said so.
    fn consume(&self, clients: &mut Clients) {
        sleep(Duration::from_millis(2 + clients.rng.below(20) as u64));
        let Some(nodes) = self.service.primaries(clients) else { return };
        let node = nodes[clients.rng.below(nodes.len())];
        let line = format!("APIKEY.USAGE.LEASE 1500 COUNT {}", 1 + clients.rng.below(20));
        let Ok(replies) = clients.say(node, &[&line, &self.wait()]) else { return };
        if let Reply::Error(why) = &replies[0] {
            return expect_refusal(&line, why);
        }
        if !self.is_everywhere(&replies[1]) {
            return;
        }
        for batch in batches(&replies[0]) {
            match clients.rng.below(12) {
                0 => continue,
                1 => {
                    self.settle_batch(clients, "NACK", &batch);
                    continue;
                }
                2 => sleep(Duration::from_millis(clients.rng.below(100) as u64)),
                _ => {}
            }
            self.write_batch(&batch);
            if !clients.rng.one_in(12) {
                self.settle_batch(clients, "ACK", &batch);
            }
        }
    }

    /// Says it to any primary, and a few times again where not all have answered. A consumer need not succeed.
    fn settle_batch(&self, clients: &mut Clients, how: &str, batch: &Batch) {
        let line = format!("APIKEY.USAGE.{how} {}", batch.id);
        for _ in 0..3 {
            let Some(nodes) = self.service.primaries(clients) else { return };
            let node = nodes[clients.rng.below(nodes.len())];
            match clients.say(node, &[&line]).map(|mut replies| replies.remove(0)) {
                Ok(Reply::Error(why)) => expect_refusal(&line, &why),
                Ok(_) => return self.note("batches acknowledged"),
                Err(Gone::Unreachable | Gone::Unanswered) => {}
            }
        }
    }

    /// The database's transaction: a line is written once.
    fn write_batch(&self, batch: &Batch) {
        let mut lines = self.table.lock().expect("the table");
        let is_known = batch.lines.iter().any(|line| lines.contains_key(&line.id));
        self.note(if is_known { "batches that came again" } else { "batches written" });
        for line in &batch.lines {
            let row = (line.key.clone(), line.count);
            let known = lines.entry(line.id.clone()).or_insert_with(|| row.clone());
            assert_eq!(*known, row, "a line comes as it was");
        }
    }

    /// Hands over all that is left, and compares it with what was counted. Of keys with the hash tags `unsure` that can't
    /// be told.
    pub fn settle(&self, unsure: &BTreeSet<String>) {
        let mut clients = self.clients(99);
        eventually_within(super::HEALS_WITHIN, "all is handed over", || {
            let Some(nodes) = self.service.primaries(&mut clients) else { return false };
            nodes.into_iter().all(|node| {
                let Some(leased) = clients.ask(node, "APIKEY.USAGE.LEASE 1000 COUNT 100000") else {
                    return false;
                };
                for batch in batches(&leased) {
                    self.write_batch(&batch);
                    self.settle_batch(&mut clients, "ACK", &batch);
                }
                let Some(health) = clients.ask(node, "APIKEY.HEALTH") else { return false };
                ["usage_pending", "usage_leased"].iter().all(|name| health.get(name).int() == 0)
            })
        });
        let mut written: BTreeMap<&str, i64> = BTreeMap::new();
        let lines = self.table.lock().expect("the table");
        for (key, count) in lines.values() {
            *written.entry(key).or_default() += count;
        }
        let mut compared = 0;
        for counter in &self.counters {
            let (sure, maybe) = (counter.sure.load(SeqCst), counter.maybe.load(SeqCst));
            let written = written.get(counter.key.as_str()).copied().unwrap_or(0);
            let is_unsure = unsure.iter().any(|tag| counter.key.starts_with(&format!("{{{tag}}}")));
            println!(
                "{}: {sure} to {}: {written} {}",
                counter.key,
                sure + maybe,
                if is_unsure { "unsure" } else { "" }
            );
            if !is_unsure {
                compared += 1;
                assert!(
                    (sure..=sure + maybe).contains(&written),
                    "{}: {sure} were counted, {maybe} perhaps, and {written} handed over",
                    counter.key
                );
            }
        }
        assert!(compared > 0, "no counter can be compared");
        for (name, count) in &self.tried {
            println!("{name}: {}", count.load(SeqCst));
        }
        for name in ["VALID", "stored", "counted", "batches written"] {
            assert!(self.tried(name).load(SeqCst) > 0, "nothing was tried: {name}");
        }
    }
}
