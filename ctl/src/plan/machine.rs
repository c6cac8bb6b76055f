//! What a machine needs beside what counts against `maxmemory`: holes of the allocator, the pages that a fork copies,
//! and what waits for replicas.

use serde::Serialize;

use crate::reading::{Config, Facts};

/// Under which a fragmentation ratio says nothing: the program itself is most of it.
const LEAST: f64 = 64.0 * 1024.0 * 1024.0;
/// What is taken where it says nothing.
const USUAL: f64 = 1.1;
/// The server's default of client-output-buffer-limit for a replica.
const REPLICA_BUFFER: f64 = 268_435_456.0;

/// In bytes, for a data set of so many.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub data: f64,
    /// Resident memory by used memory, as it is or as is usual.
    pub fragmentation: f64,
    /// What BGSAVE, an AOF rewrite or a replica's full resync would copy as the latest did; none where none was yet.
    pub copy_on_write: Option<f64>,
    /// Where every page is written meanwhile.
    pub copy_on_write_at_worst: f64,
    /// What may wait for replicas before they are let go.
    pub replica_buffers: f64,
    pub needs: f64,
    pub needs_at_worst: f64,
    pub has: f64,
}

impl Machine {
    pub fn of(facts: &Facts, config: &Config, data: f64) -> Self {
        let number = |name: &str| facts.info.number::<f64>(name).unwrap_or(0.0);
        let used = number("used_memory").max(1.0);
        let ratio = number("mem_fragmentation_ratio");
        let fragmentation = if used >= LEAST && ratio >= 1.0 { ratio } else { USUAL };
        let copied = number("rdb_last_cow_size").max(number("aof_last_cow_size"));
        let copy_on_write = (copied > 0.0).then(|| copied / used * data);
        // `normal 0 0 0 slave 268435456 67108864 60 pubsub ..`; Valkey says replica.
        let limits = config.text("client-output-buffer-limit").unwrap_or_default();
        let mut words = limits.split_whitespace();
        let hard = words
            .find(|word| matches!(*word, "slave" | "replica"))
            .and_then(|_| words.next()?.parse::<f64>().ok())
            .unwrap_or(REPLICA_BUFFER);
        // From 7.0 on replicas share one buffer.
        let shared = facts.info.text("mem_total_replication_buffers").is_some();
        let replicas = facts.replicas.len() as f64;
        let replica_buffers = hard * if shared { replicas.min(1.0) } else { replicas };
        let resident = data * fragmentation;
        Self {
            data,
            fragmentation,
            copy_on_write,
            copy_on_write_at_worst: data,
            replica_buffers,
            needs: resident + copy_on_write.unwrap_or(data) + replica_buffers,
            needs_at_worst: resident + data + replica_buffers,
            has: number("total_system_memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Info;

    #[test]
    fn a_fork_and_replicas_need_memory_beside_the_data() {
        let info = "redis_version:6.2.5\nused_memory:1000000000\nmem_fragmentation_ratio:1.2\nrdb_last_cow_size:100000000\n\
                    aof_last_cow_size:5\ntotal_system_memory:8000000000\nslave0:ip=a,port=1\nslave1:ip=b,port=1\n";
        let config = Config::of([(
            "client-output-buffer-limit".to_string(),
            "normal 0 0 0 slave 1000 500 60 pubsub 1 1 1".to_string(),
        )]);
        let machine = Machine::of(&Facts::of(Info::parse(info)), &config, 2e9);
        assert_eq!((machine.copy_on_write, machine.replica_buffers), (Some(2e8), 2000.0));
        assert_eq!((machine.needs, machine.needs_at_worst), (2.4e9 + 2e8 + 2e3, 4.4e9 + 2e3));
        // Nothing is known of a fork, and little of holes.
        let machine =
            Machine::of(&Facts::of(Info::parse("used_memory:10\n")), &Config::default(), 100.0);
        assert_eq!((machine.needs, machine.copy_on_write), (100.0 * 1.1 + 100.0, None));
    }
}
