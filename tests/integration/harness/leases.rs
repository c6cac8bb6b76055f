//! Batches of usage counts as LEASE gives them out.

use super::client::{Client, Reply};

/// A batch: its id, and its lines in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub id: String,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub id: String,
    pub key: String,
    pub count: i64,
}

impl Batch {
    /// Keys and counts, sorted.
    pub fn counts(&self) -> Vec<(String, i64)> {
        let mut all: Vec<_> = self.lines.iter().map(|l| (l.key.clone(), l.count)).collect();
        all.sort();
        all
    }

    /// Its id and those of its lines.
    pub fn ids(&self) -> Vec<String> {
        let lines = self.lines.iter().map(|line| line.id.clone());
        [self.id.clone()].into_iter().chain(lines).collect()
    }
}

/// The batches that LEASE replied.
#[track_caller]
pub fn batches(reply: &Reply) -> Vec<Batch> {
    let line = |line: &Reply| {
        let [id, key, count, last_used_at] = line.items() else { panic!("no line: {line:?}") };
        assert!(last_used_at.int() > 0, "{line:?}");
        Line { id: id.text(), key: key.text(), count: count.int() }
    };
    let batch = |batch: &Reply| {
        let [id, lines] = batch.items() else { panic!("no batch: {batch:?}") };
        Batch { id: id.text(), lines: lines.items().iter().map(line).collect() }
    };
    reply.items().iter().map(batch).collect()
}

/// A lease that does not run out while a test runs.
pub const LONG: i64 = 80_000_000;

impl Client {
    /// What LEASE with these arguments gives out.
    #[track_caller]
    pub fn leases(&mut self, args: &str) -> Vec<Batch> {
        batches(&self.must(&format!("APIKEY.USAGE.LEASE {args}")))
    }

    /// The one batch that a long LEASE gives out.
    #[track_caller]
    pub fn lease(&mut self) -> Batch {
        let mut all = self.leases(&LONG.to_string());
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The number of lines that ACK settles.
    #[track_caller]
    pub fn ack(&mut self, batch: &Batch) -> i64 {
        self.must(&format!("APIKEY.USAGE.ACK {}", batch.id)).int()
    }

    /// The number of lines that NACK gives back.
    #[track_caller]
    pub fn nack(&mut self, batch: &Batch) -> i64 {
        self.must(&format!("APIKEY.USAGE.NACK {}", batch.id)).int()
    }

    /// What is pending, leased, and counted in all under `key`.
    #[track_caller]
    pub fn counts(&mut self, key: &str) -> (i64, i64, i64) {
        let reply = self.must(&format!("APIKEY.USAGE.GET {key}"));
        (reply.get("pending").int(), reply.get("leased").int(), reply.get("total").int())
    }
}
