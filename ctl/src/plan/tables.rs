//! What a server's own tables of keys take, and take as they grow: they double, so that a key more may cost megabytes.
//!
//! By the sources of the servers: Redis has an array of pointers, as long as the next power of two of its keys; Valkey,
//! from 8.1 on, buckets of 64 bytes for seven keys each, of which a power of two is there too, filled to 77 % at most. In a cluster,
//! Redis from 7.4 on and Valkey from 8.0 on have a table for each slot. These do not double at once, so that together
//! they grow with the keys.

use crate::reading::Facts;

const POINTER: u64 = 8;
const BUCKET: u64 = 64;
const KEYS_OF_BUCKET: f64 = 7.0 * 0.77;
/// How much longer an array of the next power of two is than what it holds, on average over all numbers.
const AVERAGE: f64 = 1.44;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    has_buckets: bool,
    by_slot: bool,
}

impl Tables {
    pub fn of(facts: &Facts) -> Self {
        let version = version(&facts.server.version);
        let (has_buckets, has_slots) = match facts.server.name {
            "valkey" => (version >= (8, 1), version >= (8, 0)),
            _ => (false, version >= (7, 4)),
        };
        Self { has_buckets, by_slot: facts.is_in_cluster && has_slots }
    }

    /// Bytes of a table of so many keys, once it has settled.
    pub fn bytes(self, keys: f64) -> f64 {
        match (keys < 1.0, self.by_slot, self.has_buckets) {
            (true, _, _) => 0.0,
            (_, true, true) => keys / KEYS_OF_BUCKET * BUCKET as f64 * AVERAGE,
            (_, true, false) => keys * POINTER as f64 * AVERAGE,
            (_, false, true) => power(keys / KEYS_OF_BUCKET) * BUCKET as f64,
            (_, false, false) => power(keys) * POINTER as f64,
        }
    }

    /// What it takes beside that while it grows to this: the half as long one that it had.
    pub fn growing(self, keys: f64) -> f64 {
        match self.by_slot {
            true => 0.0,
            false => self.bytes(keys) / 2.0,
        }
    }
}

/// The next power of two.
fn power(number: f64) -> f64 {
    // A number of keys fits, and a negative one is 0.
    (number.ceil() as u64).checked_next_power_of_two().unwrap_or(u64::MAX) as f64
}

fn version(text: &str) -> (u64, u64) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Info;

    fn tables(info: &str) -> Tables {
        Tables::of(&Facts::of(Info::parse(info)))
    }

    #[test]
    fn a_table_doubles_with_the_key_that_it_has_no_room_for() {
        let redis = tables("redis_version:7.0.15\n");
        assert_eq!(redis.bytes(0.0), 0.0);
        assert_eq!((redis.bytes(65_536.0), redis.bytes(65_537.0)), (524_288.0, 1_048_576.0));
        assert_eq!(redis.growing(65_537.0), 524_288.0);
        let valkey = tables("redis_version:7.2.4\nvalkey_version:9.1.2\n");
        // As MEMORY STATS has it, but for the buckets that hang at others.
        assert_eq!(valkey.bytes(75_000.0), 1_048_576.0);
        assert_eq!(valkey.bytes(60_000.0), 1_048_576.0);
    }

    #[test]
    fn the_tables_of_slots_grow_with_the_keys() {
        let redis = tables("redis_version:8.2.3\ncluster_enabled:1\n");
        assert_eq!(redis.bytes(2_000.0), 2.0 * redis.bytes(1_000.0));
        assert_eq!(redis.growing(2_000.0), 0.0);
        let old = tables("redis_version:7.0.15\ncluster_enabled:1\n");
        assert_eq!(old.growing(65_537.0), 524_288.0);
    }
}
