//! The ways to verify an API key, or to read what stands for one, that several rows set beside each
//! other. Each has a side that stores what it reads, where [`crate::rows`] has none, and one that
//! reads it, in a scattered order that is the same for all.

mod client;
mod floor;
mod script;
mod string;
mod validate;

pub use client::{grants, now_ms};
pub use floor::{FloorGet, FloorSet};
pub use script::{Script, ScriptStore};
pub use string::{Get, Set};
pub use validate::{record_length, Validate, ValidateAndCount};

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
