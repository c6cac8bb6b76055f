//! Scenarios of clients/conformance: read, and played.

use super::adapter::{Adapter, Database, Mode, Outcome, Pending};
use super::proxy::Proxy;
use crate::harness::*;
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A scenario as its file has it.
#[derive(Clone)]
pub struct Scenario {
    pub file: String,
    pub value: Value,
}

impl Scenario {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/conformance");
        let mut all = vec![];
        for entry in std::fs::read_dir(&directory).expect("clients/conformance") {
            let path = entry.expect("a file").path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !file.ends_with(".json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("it is read");
            let scenarios: Vec<Value> =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
            all.extend(scenarios.into_iter().map(|value| Self { file: file.clone(), value }));
        }
        all.sort_by_key(|scenario| scenario.name());
        all
    }

    pub fn name(&self) -> String {
        format!("{}: {}", self.file, self.value["name"].as_str().expect("a name"))
    }

    /// What it can't be played without.
    pub fn needs(&self, what: &str) -> bool {
        self.value["needs"].as_array().into_iter().flatten().any(|need| need == what)
    }
}

/// The servers that a scenario is played against, each behind a proxy.
pub enum Servers {
    One(Box<Server>, Proxy),
    Cluster(Box<Cluster>, Vec<Proxy>),
}

impl Servers {
    pub fn one() -> Self {
        let server = Self::settings(Server::builder()).start();
        let proxy = Proxy::new();
        proxy.lead_to(server.port);
        Self::One(Box::new(server), proxy)
    }

    pub fn cluster() -> Self {
        let proxies: Vec<Proxy> = (0..3).map(|_| Proxy::new()).collect();
        let cluster = Cluster::of(3, 0, |number, builder| {
            let port = proxies[number].port;
            Self::settings(builder).config(&format!("cluster-announce-port {port}"))
        });
        for (server, proxy) in cluster.primaries.iter().zip(&proxies) {
            proxy.lead_to(server.port);
        }
        Self::Cluster(Box::new(cluster), proxies)
    }

    /// Each primary has a replica, and there is no proxy: the nodes would have to go through it as well.
    pub fn cluster_with_replicas() -> Self {
        let cluster = Cluster::of(3, 1, |_, builder| Self::settings(builder));
        Self::Cluster(Box::new(cluster), vec![])
    }

    /// Where clients find them.
    pub fn addresses(&self) -> Vec<String> {
        let ports: Vec<u16> = match self.proxies() {
            [] => self.all().into_iter().map(|server| server.port).collect(),
            proxies => proxies.iter().map(|proxy| proxy.port).collect(),
        };
        ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    pub fn settings(builder: Builder) -> Builder {
        // More names than one per cent of nothing.
        builder.setting("max-absent", "1000").setting("invalidation-channel", "told")
    }

    pub fn proxies(&self) -> &[Proxy] {
        match self {
            Self::One(_, proxy) => std::slice::from_ref(proxy),
            Self::Cluster(_, proxies) => proxies,
        }
    }

    fn all(&self) -> Vec<&Server> {
        match self {
            Self::One(server, _) => vec![server],
            Self::Cluster(cluster, _) => cluster.nodes().collect(),
        }
    }

    /// CONFIG SET, at each.
    pub fn set(&self, setting: &str, value: &str) {
        for server in self.all() {
            server.client().must(&format!("CONFIG SET {setting} {value}"));
        }
    }

    /// What the server says that has the key, or the first one.
    fn say(&self, args: &[String]) -> Reply {
        let mut replies = self.all().into_iter().map(|server| server.client().cmd(args));
        let is_there =
            |reply: &Reply| !matches!(reply, Reply::Error(text) if text.starts_with("MOVED"));
        replies.find(is_there).expect("a server that has the key")
    }

    /// The replica of the primary that has a key takes its place, and that follows it.
    fn fail_over(&self, key: &str) {
        let Self::Cluster(cluster, _) = self else { panic!("one server can't fail over") };
        let is = |server: &Server, name: &str, value: &str| {
            server.client().info("replication", name).as_deref() == Some(value)
        };
        let has_key = |server: &&Server| !server.client().cmd(["TYPE", key]).is_error();
        let old = cluster.nodes().find(has_key).expect("a primary that has the key");
        let port = old.port.to_string();
        let is_of_it =
            |server: &&Server| is(server, "role", "slave") && is(server, "master_port", &port);
        let new = cluster.nodes().find(is_of_it).expect("its replica");
        new.in_sync_with(old);
        let mut began: Option<Instant> = None;
        eventually("the replica takes over", || {
            // Others may not know yet who is whose replica, and then it is not elected.
            if began.is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
                let is_taken = new.client().run("CLUSTER FAILOVER") == ok();
                began = is_taken.then(Instant::now);
            }
            is(new, "role", "master")
        });
        eventually("the old primary follows", || is(old, "master_link_status", "up"));
        for server in cluster.nodes() {
            let mut c = server.client();
            eventually("the cluster is up", || {
                c.must("CLUSTER INFO").text().contains("cluster_state:ok")
            });
        }
    }

    fn clear(&self) {
        self.proxies().iter().for_each(|proxy| proxy.set_fault(&Value::Null));
        for server in self.all() {
            server.wake();
            let mut c = server.client();
            if c.info("replication", "role").as_deref() == Some("master") {
                c.must("FLUSHALL");
            }
        }
    }
}

/// How a library is used: by which client, and by which protocol.
#[derive(Clone, Debug)]
pub struct Way {
    pub client: String,
    pub protocol: i64,
}

/// What a scenario is played with.
pub struct Stage<'a> {
    pub servers: &'a Servers,
    /// Processes of one library.
    pub adapters: &'a [Arc<Adapter>],
    pub database: &'a Arc<Database>,
    pub way: &'a Way,
}

impl Stage<'_> {
    /// Plays a scenario; what does not come as expected fails the test.
    pub fn play(&self, scenario: &Scenario) {
        let began = Instant::now();
        self.servers.clear();
        self.database.clear();
        let value = &scenario.value;
        for (prefix, row) in fields(&value["given"]) {
            self.database.set(prefix, row);
        }
        self.adapters.iter().for_each(|adapter| adapter.outbox.lock().expect("it").clear());
        let name = scenario.name();
        for adapter in self.adapters {
            adapter.must(&self.open(&name, value));
        }
        let mut play = Play { stage: self, name: &name, pending: BTreeMap::new() };
        for step in value["steps"].as_array().unwrap_or_else(|| panic!("{name}: no steps")) {
            play.step(step);
        }
        assert!(play.pending.is_empty(), "{name}: calls that nobody waits for");
        self.servers.proxies().iter().for_each(|proxy| proxy.set_fault(&Value::Null));
        self.database.set_mode(Mode::Answers);
        for adapter in self.adapters {
            adapter.must(&json!({"do": "close", "name": name}));
        }
        println!("{:.3} s {:?} {name}", began.elapsed().as_secs_f64(), self.way);
    }

    fn open(&self, name: &str, scenario: &Value) -> Value {
        let nodes = self.servers.addresses();
        let mut open = json!({
            "do": "open",
            "name": name,
            "client": self.way.client,
            "protocol": self.way.protocol,
            "nodes": nodes,
            "cluster": matches!(self.servers, Servers::Cluster(..)),
            // A busy machine is no outage.
            "options": {"parse": "plain", "timeout": 10_000, "breaker": {"failures": 1000, "ms": 100}},
        });
        for (name, value) in fields(&scenario["options"]) {
            open["options"][name] = value.clone();
        }
        open
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

struct Play<'a> {
    stage: &'a Stage<'a>,
    name: &'a str,
    pending: BTreeMap<String, Vec<Pending>>,
}

impl Play<'_> {
    fn step(&mut self, step: &Value) {
        if std::env::var_os("APIKEY_STEPS").is_some() {
            eprintln!("{:?} {}: {step}", self.stage.way, self.name);
        }
        let stage = self.stage;
        let (name, value) = (step
            .as_object()
            .and_then(|fields| fields.iter().find(|(name, _)| VERBS.contains(&name.as_str()))))
        .unwrap_or_else(|| panic!("{}: no step: {step}", self.name));
        let number = || value.as_u64().expect("a number");
        match name.as_str() {
            "call" if step.get("begin").is_some() => {
                let begun = self.begin(step, value);
                let under = step["begin"].as_str().expect("a name").to_string();
                assert!(self.pending.insert(under, begun).is_none());
            }
            "call" if step["eventually"] == true => {
                eventually(&format!("{}: {step}", self.name), || {
                    self.begin(step, value)
                        .into_iter()
                        .all(|call| wrong(step, &call.outcome()).is_none())
                });
            }
            "call" => {
                let began = Instant::now();
                let begun = self.begin(step, value);
                self.end(step, begun);
                if let Some(most) = step["within"].as_u64() {
                    let took = began.elapsed();
                    assert!(took < Duration::from_millis(most), "{}: {took:?} {step}", self.name);
                }
            }
            "end" => {
                let begun = self.pending.remove(value.as_str().expect("a name"));
                self.end(step, begun.expect("it was begun"));
            }
            "rows" => fields(value).for_each(|(prefix, row)| stage.database.set(prefix, row)),
            "database" => stage.database.set_mode(match value.as_str() {
                Some("answers") => Mode::Answers,
                Some("holds") => Mode::Holds,
                Some("fails") => Mode::Fails,
                _ => panic!("{}: {step}", self.name),
            }),
            "held" => stage.database.holds(usize::try_from(number()).expect("a size")),
            "loads" => {
                for (prefix, count) in fields(value) {
                    assert_eq!(
                        stage.database.loads(prefix),
                        count.as_u64().expect("a number"),
                        "{}: {step}",
                        self.name
                    );
                }
            }
            "at once" => {
                for (prefix, most) in fields(value) {
                    let seen = stage.database.most_at_once(prefix);
                    assert_eq!(seen, most.as_u64().expect("a number"), "{}: {step}", self.name);
                }
            }
            "fault" => stage.servers.proxies().iter().for_each(|proxy| proxy.set_fault(value)),
            "happened" => {
                let mut proxies = stage.servers.proxies().iter();
                assert!(proxies.any(Proxy::is_done), "{}: the fault did not happen", self.name);
            }
            "fails over" => stage.servers.fail_over(value.as_str().expect("a key")),
            "server" => self.server(value.as_str().expect("a word")),
            "redis" => {
                let args: Vec<String> = texts(value);
                let said = || reply(&stage.servers.say(&args));
                match step["eventually"] == true {
                    true => eventually(&format!("{}: {step}", self.name), || {
                        is_like(&step["expect"], &said())
                    }),
                    false => {
                        let said = said();
                        assert!(
                            is_like(&step["expect"], &said),
                            "{}: {step}\n got: {said}",
                            self.name
                        );
                    }
                }
            }
            "outbox" => {
                let lines = || -> u64 {
                    let adapters = stage.adapters.iter();
                    adapters.map(|adapter| adapter.outbox.lock().expect("it").len() as u64).sum()
                };
                eventually(&format!("{}: {step}", self.name), || lines() == number());
            }
            other => panic!("{}: no step: {other}", self.name),
        }
    }

    fn server(&self, what: &str) {
        for server in self.stage.servers.all() {
            match what {
                "freezes" => server.freeze(),
                "wakes" => server.wake(),
                "is emptied" => drop(server.client().must("FLUSHALL")),
                other => panic!("{}: a server can't {other}", self.name),
            }
        }
    }

    fn begin(&self, step: &Value, call: &Value) -> Vec<Pending> {
        let process = usize::try_from(step["process"].as_u64().unwrap_or(0)).expect("a number");
        let mut call = call.clone();
        call["name"] = self.name.into();
        let times = step["times"].as_u64().unwrap_or(1);
        (0..times).map(|_| self.stage.adapters[process].begin(&call)).collect()
    }

    fn end(&self, step: &Value, begun: Vec<Pending>) {
        for call in begun {
            let outcome = call.outcome();
            if let Some(wrong) = wrong(step, &outcome) {
                panic!("{} ({:?})\n step: {step}\n {wrong}", self.name, self.stage.way);
            }
        }
    }
}

/// Of a step, what it does.
const VERBS: [&str; 13] = [
    "call",
    "end",
    "rows",
    "database",
    "held",
    "loads",
    "at once",
    "fails over",
    "fault",
    "happened",
    "server",
    "redis",
    "outbox",
];

/// What is wrong with an outcome, if anything is.
fn wrong(step: &Value, outcome: &Outcome) -> Option<String> {
    let is_right = match (outcome, step.get("error")) {
        (Ok(value), None) => is_like(&step["expect"], value),
        (Err(_), Some(Value::Bool(true))) => true,
        (Err(error), Some(class)) => &error["class"] == class,
        _ => false,
    };
    (!is_right).then(|| format!("got: {outcome:?}"))
}

/// Whether a value is as expected: of an object the fields that are named are, and nothing is said of others; a number is
/// within the bounds of an object that names some; where nothing is expected, anything is.
fn is_like(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::Null, _) => true,
        // What a clock says is known within bounds alone.
        (Value::Object(bounds), Value::Number(number)) => bounds.iter().all(|(name, bound)| {
            let (number, bound) = (number.as_f64(), bound.as_f64().expect("a number"));
            match name.as_str() {
                "at least" => number >= Some(bound),
                "at most" => number <= Some(bound),
                _ => false,
            }
        }),
        (Value::Object(fields), value) => fields.iter().all(|(name, expected)| match expected {
            // A field that is to be null, or not to be there.
            Value::Null => value.get(name).is_none_or(Value::is_null),
            expected => value.get(name).is_some_and(|value| is_like(expected, value)),
        }),
        (Value::Array(expected), Value::Array(values)) => {
            let mut both = expected.iter().zip(values);
            expected.len() == values.len() && both.all(|(expected, value)| is_like(expected, value))
        }
        (expected, value) => expected == value,
    }
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().expect("a list").iter();
    all.map(|text| text.as_str().expect("a text").to_string()).collect()
}

/// A reply as JSON.
fn reply(reply: &Reply) -> Value {
    match reply {
        Reply::Int(number) => (*number).into(),
        Reply::Nil => Value::Null,
        Reply::Array(items) => items.iter().map(self::reply).collect(),
        other => other.text().into(),
    }
}
