//! What is verified.

use crate::workload::{mix, Workload};

/// The API keys that stand in a server.
#[derive(Clone, Copy)]
pub struct Stored {
    pub work: Workload,
    /// Those with the numbers below it.
    pub entries: u64,
    /// Bytes of the record that VALIDATE replies with.
    pub length: usize,
}

impl Stored {
    /// Which key the call number `i` is about.
    pub fn pick(&self, i: u64) -> u64 {
        mix(i) % self.entries
    }
}
