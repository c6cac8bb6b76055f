//! Client libraries: what they have in common (clients/conformance), and whether they do it. Of which libraries,
//! `APIKEY_ADAPTERS` says; without it these tests do nothing, but for the cases of verdicts, which the server is given.

mod adapter;
mod counts;
mod disturbed;
mod outage;
mod processes;
mod proxy;
mod race;
mod scenario;
mod sentinel;
mod verdicts;

use adapter::{programs, Adapter, Database};
use processes::Processes;
use scenario::{Scenario, Servers, Stage, Way};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use verdicts::Verdicts;

/// Where examples of the workspace's crates are, built.
fn examples() -> PathBuf {
    std::env::var_os("APIKEY_HOST_EXAMPLES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debug/examples"),
        PathBuf::from,
    )
}

/// A library, its database, and processes of it.
struct Library {
    program: String,
    database: Arc<Database>,
    adapters: Vec<Arc<Adapter>>,
    /// What it says of itself.
    described: Value,
}

impl Library {
    fn start(program: &str, processes: usize) -> Self {
        let database = Arc::default();
        let start = |_| Arc::new(Adapter::start(program, &database));
        let adapters: Vec<_> = (0..processes).map(start).collect();
        let described = adapters[0].must(&json!({"do": "describe"}));
        Self { program: program.into(), database, adapters, described }
    }

    /// Its processes, in each of which this is opened.
    fn open_everywhere(&self, opens: Vec<Value>) -> Processes<'_> {
        Processes::of(&self.program, &self.database, &self.adapters, opens)
    }

    /// Each client that it has, with each protocol.
    fn ways(&self) -> Vec<Way> {
        let list = |name: &str| self.described[name].as_array().cloned().unwrap_or_default();
        let protocols = list("protocols");
        let ways = list("clients").into_iter().flat_map(|client| {
            let client = client.as_str().expect("a name").to_string();
            let own = self.described["protocols_of"][&client].as_array().cloned();
            let protocols = own.unwrap_or(protocols.clone());
            protocols.into_iter().map(move |protocol| Way {
                client: client.clone(),
                protocol: protocol.as_i64().expect("a number"),
            })
        });
        ways.collect()
    }

    /// Each client once, where it matters less which protocol is spoken: with the newest.
    fn way_of_each_client(&self) -> Vec<Way> {
        let ways = self.ways().into_iter();
        let of_clients: BTreeMap<_, _> = ways.map(|way| (way.client.clone(), way)).collect();
        of_clients.into_values().collect()
    }
}

/// Plays the scenarios that are for these servers, in some of the ways of each library.
fn play(
    servers: &mut dyn FnMut() -> Rc<Servers>,
    is_for: &dyn Fn(&Scenario) -> bool,
    ways: &dyn Fn(&Library) -> Vec<Way>,
) {
    let only = std::env::var("APIKEY_SCENARIO").unwrap_or_default();
    let all = Scenario::all();
    assert!(!all.is_empty());
    let mut failed = vec![];
    for program in programs() {
        let mut library = Library::start(&program, 2);
        for way in ways(&library) {
            let servers = servers();
            let has = |what: &&str| library.described[*what] == true;
            let missing: Vec<&str> =
                ["l1", "regions", "limits", "peek"].into_iter().filter(|what| !has(what)).collect();
            let chosen = all.iter().filter(|scenario| {
                scenario.name().contains(&only)
                    && is_for(scenario)
                    && !missing.iter().any(|what| scenario.needs(what))
                    && (way.protocol == 3 || !scenario.needs("RESP3"))
            });
            for scenario in chosen {
                // What fails twice is at fault. What fails once may be the machine's, which answers too late: it is told,
                // past what the test runner keeps of a test that passes.
                let mut reasons = vec![];
                while reasons.len() < 2 {
                    let (adapters, database) = (&library.adapters, &library.database);
                    let stage = Stage { servers: &servers, adapters, database, way: &way };
                    let Err(panic) = catch_unwind(AssertUnwindSafe(|| stage.play(scenario))) else {
                        break;
                    };
                    let said = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
                    let reason = format!("{program} {way:?} {}: {said}", scenario.name());
                    let told = writeln!(std::io::stderr(), "a scenario failed: {reason}");
                    told.expect("stderr");
                    reasons.push(reason);
                    library = Library::start(&program, 2);
                }
                if reasons.len() == 2 {
                    failed.append(&mut reasons);
                }
            }
        }
    }
    assert!(failed.is_empty(), "failed, twice each:\n{}", failed.join("\n"));
}

/// Starts them when they are asked for, once.
fn the_same(start: fn() -> Servers) -> impl FnMut() -> Rc<Servers> {
    let mut started = None;
    move || started.get_or_insert_with(|| Rc::new(start())).clone()
}

#[test]
fn libraries_play_the_scenarios_on_one_server() {
    let is_for = |scenario: &Scenario| !scenario.needs("a cluster") && !scenario.needs("replicas");
    play(&mut the_same(Servers::one), &is_for, &Library::ways);
}

#[test]
fn libraries_play_the_scenarios_on_a_cluster() {
    let is_for = |scenario: &Scenario| !scenario.needs("one server") && !scenario.needs("replicas");
    play(&mut the_same(Servers::cluster), &is_for, &Library::ways);
}

#[test]
fn libraries_play_the_scenarios_of_failovers() {
    let is_for = |scenario: &Scenario| scenario.needs("replicas");
    // A node can't be elected twice within seconds.
    let ways = &Library::way_of_each_client;
    play(&mut || Rc::new(Servers::cluster_with_replicas()), &is_for, ways);
}

#[test]
fn libraries_judge_as_the_server_does() {
    let programs = programs();
    if programs.is_empty() {
        return;
    }
    let verdicts = Verdicts::write();
    for program in programs {
        let adapter = Adapter::start(&program, &Arc::default());
        let judged = adapter.must(&json!({"do": "verdicts", "file": verdicts.path}));
        assert_eq!(judged["wrong"], json!([]), "{program}");
        assert!(judged["cases"].as_u64() > Some(7000), "{program}: {judged}");
    }
}
