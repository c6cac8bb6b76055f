//! A server that is killed and started again, and connections that are lost, while processes are killed too.

use super::processes::Processes;
use super::proxy::Proxy;
use super::scenario::Servers;
use crate::harness::server::Stop;
use crate::harness::*;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What is done, each once before one comes again.
const DISTURBANCES: [&str; 4] = ["kill the server", "kill a process", "cut replies", "reset"];

pub struct Disturbed {
    server: Server,
    proxy: Proxy,
}

impl Disturbed {
    /// What it has replied is on its disk: counts, since records are forgotten by design.
    pub fn start() -> Self {
        let server = Servers::settings(Server::builder()).with_aof(true).start();
        let proxy = Proxy::new();
        proxy.lead_to(server.port);
        Self { server, proxy }
    }

    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// What there is to open. A busy machine is no outage, and one that is killed says so at once.
    pub fn at(&self) -> Value {
        json!({
            "nodes": [format!("127.0.0.1:{}", self.proxy.port)],
            "cluster": false,
            "options": {"parse": "plain", "timeout": 10_000, "breaker": {"failures": 5, "ms": 20}},
        })
    }

    /// For `APIKEY_CHAOS_SECONDS` and until each was done, or until it is over. Of the replies that are lost some are to `command`.
    ///
    /// To be called by the thread that started server and processes, with which those that it starts end.
    pub fn disturb(
        &mut self,
        rng: &mut Rng,
        processes: &Processes,
        command: &str,
        is_over: &AtomicBool,
    ) {
        let end = Instant::now() + Duration::from_secs(env_number("APIKEY_CHAOS_SECONDS", 2));
        let (mut left, mut done) = (vec![], BTreeMap::<_, usize>::new());
        while (Instant::now() < end || done.len() < DISTURBANCES.len()) && !is_over.load(SeqCst) {
            if left.is_empty() {
                left = DISTURBANCES.to_vec();
            }
            let name = left.swap_remove(rng.below(left.len()));
            // How often, and for how long: nothing is waited for.
            let pauses = [0; 2].map(|_| Duration::from_millis(50 + rng.below(100) as u64));
            thread::sleep(pauses[0]);
            let fault = |fault: Value| {
                self.proxy.set_fault(&fault);
                thread::sleep(pauses[1]);
                self.proxy.set_fault(&Value::Null);
            };
            match name {
                "kill the server" => self.server.restart(Stop::Kill),
                "kill a process" => processes.replace(rng.below(processes.len())),
                "cut replies" => fault(json!({"cut": 0, "commands": [command], "times": 3})),
                _ => fault(json!({"reset": true})),
            }
            *done.entry(name).or_default() += 1;
        }
        println!("{done:?}");
    }
}
