//! Processes of a library that end and are replaced, while others go on to call them.

use super::adapter::{Adapter, Database};
use crate::harness::eventually_within;
use serde_json::{json, Value};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// How long a call may be repeated.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Processes<'a> {
    program: &'a str,
    database: &'a Arc<Database>,
    /// What each opens as it begins.
    opens: Vec<Value>,
    running: Vec<RwLock<Arc<Adapter>>>,
}

impl<'a> Processes<'a> {
    /// Those that run already; one that has ended is replaced.
    pub fn of(
        program: &'a str,
        database: &'a Arc<Database>,
        running: &[Arc<Adapter>],
        opens: Vec<Value>,
    ) -> Self {
        let mut all = Self { program, database, opens, running: vec![] };
        let open = |adapter: &Arc<Adapter>| match adapter.has_ended() {
            true => all.one(),
            false => all.opened(adapter.clone()),
        };
        all.running = running.iter().map(open).map(RwLock::new).collect();
        all
    }

    fn one(&self) -> Arc<Adapter> {
        self.opened(Arc::new(Adapter::start(self.program, self.database)))
    }

    fn opened(&self, adapter: Arc<Adapter>) -> Arc<Adapter> {
        for open in &self.opens {
            adapter.must(open);
        }
        adapter
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// The one that has this place now.
    pub fn at(&self, place: usize) -> Arc<Adapter> {
        self.running[place % self.running.len()].read().expect("it is there").clone()
    }

    /// Kills the one that has this place and gives it to another.
    pub fn replace(&self, place: usize) {
        self.at(place).kill();
        let next = self.one();
        *self.running[place % self.running.len()].write().expect("it is there") = next;
    }

    /// The one that has this place, once it is there: it may be being replaced.
    pub fn alive(&self, place: usize) -> Arc<Adapter> {
        let mut found = self.at(place);
        eventually_within(PATIENCE, "it is replaced", || {
            found = self.at(place);
            !found.has_ended()
        });
        found
    }

    /// Repeats a call, each time by the next, until it succeeds: by whom it did, and how often it did not.
    pub fn insist(&self, place: usize, call: &Value) -> (Arc<Adapter>, usize) {
        let began = Instant::now();
        let mut failed = 0;
        loop {
            let adapter = self.alive(place + failed);
            match adapter.begin(call).outcome_if_any() {
                Some(Ok(_)) => return (adapter, failed),
                other => {
                    assert!(
                        began.elapsed() < PATIENCE,
                        "not within {PATIENCE:?}: {call}: {other:?}"
                    );
                    failed += 1;
                }
            }
        }
    }

    /// Closes what each has opened.
    pub fn close(&self) {
        for open in &self.opens {
            for place in 0..self.len() {
                self.at(place).must(&json!({"do": "close", "name": open["name"]}));
            }
        }
    }
}
