//! Counts while the server that has them, those who count and those who drain are killed: what was said to be counted is
//! in a batch, once.

use super::adapter::{programs, Mode};
use super::disturbed::Disturbed;
use super::scenario::Way;
use super::Library;
use crate::harness::*;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

const KEYS: usize = 4;
const COUNTERS: usize = 4;
const DRAINERS: usize = 4;

/// How long a batch may take to be written.
const LAG_MS: u64 = 100;

/// How long a batch is leased: one that was lost comes again within the test.
const LEASE_MS: u64 = 400;

/// What became of calls that count one use.
#[derive(Default)]
struct Uses {
    counted: AtomicU64,
    /// The library does not know, or it was killed.
    maybe: AtomicU64,
}

fn count(library: &Library, way: &Way, rng: &mut Rng) {
    let mut disturbed = Disturbed::start();
    let name = format!("counts-{}", way.client);
    let mut open = disturbed.at();
    open["do"] = "open".into();
    open["name"] = name.clone().into();
    open["client"] = way.client.clone().into();
    open["protocol"] = way.protocol.into();
    library.database.clear();
    library.database.set_mode(Mode::Lags(LAG_MS));
    let processes = library.open_everywhere(vec![open]);
    let uses: [Uses; KEYS] = Default::default();
    let counter = |key: usize| format!("apikey:{{{name}-{key}}}:usage");
    let batches = |most: Option<u64>| json!({"do": "batches", "name": name, "lease": LEASE_MS, "count": 2, "most": most, "write": true});
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (processes, uses, is_over, name, batches) =
            (&processes, &uses, &is_over, &name, &batches);
        for one in 0..COUNTERS {
            scope.spawn(move || {
                let _stop = StopOthers(is_over);
                let mut rng = Rng::new(one as u64);
                while !is_over.load(SeqCst) {
                    let key = rng.below(KEYS);
                    let prefix = format!("{name}-{key}");
                    let call = json!({"do": "count", "name": name, "prefix": prefix, "by": 1});
                    match processes.alive(one).begin(&call).outcome_if_any() {
                        Some(Ok(_)) => uses[key].counted.fetch_add(1, SeqCst),
                        Some(Err(error)) if error["maybe_done"] != true => 0,
                        _ => uses[key].maybe.fetch_add(1, SeqCst),
                    };
                }
            });
        }
        for one in 0..DRAINERS {
            scope.spawn(move || {
                let _stop = StopOthers(is_over);
                while !is_over.load(SeqCst) {
                    // What comes of it shows at the end.
                    drop(processes.alive(one).begin(&batches(Some(3))).outcome_if_any());
                }
            });
        }
        let _stop = StopOthers(is_over);
        disturbed.disturb(rng, processes, "APIKEY.USAGE.INCR", is_over);
        is_over.store(true, SeqCst);
    });
    let mut c = disturbed.client();
    eventually("all is handed over", || {
        processes.at(0).must(&batches(None));
        let left = (0..KEYS).map(|key| c.counts(&counter(key)));
        left.into_iter().all(|(pending, leased, _)| (pending, leased) == (0, 0))
    });
    for (key, uses) in uses.iter().enumerate() {
        let (counted, maybe) = (uses.counted.load(SeqCst), uses.maybe.load(SeqCst));
        let written = library.database.written(&counter(key));
        let (_, _, total) = c.counts(&counter(key));
        println!("{name}-{key}: {counted} counted, {maybe} perhaps; {written} handed over");
        assert!(counted > 0, "{name}-{key}");
        assert!(
            (counted..=counted + maybe).contains(&written),
            "{name}-{key}: {counted} counted, {maybe} perhaps, {written} handed over"
        );
        assert_eq!(u64::try_from(total), Ok(written), "{name}-{key}");
    }
    processes.close();
    library.database.set_mode(Mode::Answers);
}

#[test]
fn what_libraries_counted_is_handed_over_once_while_servers_and_processes_are_killed() {
    let mut rng = Rng::from_env(11);
    for program in programs() {
        let library = Library::start(&program, 2);
        library.way_of_each_client().iter().for_each(|way| count(&library, way, &mut rng));
    }
}
