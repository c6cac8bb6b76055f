//! What the server is asked that belongs to no call: the time, chance, whether replicas are to be left
//! alone.

use crate::api::api;

/// The wall clock in epoch milliseconds.
pub fn now() -> i64 {
    // SAFETY: no arguments.
    unsafe { api!(RedisModule_Milliseconds()) }
}

/// Random bytes that are hard to guess.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: the buffer has that length.
    unsafe { api!(RedisModule_GetRandomBytes(bytes.as_mut_ptr(), N)) };
    bytes
}

/// Whether replicas have to be left alone, since clients are paused for a failover, a shutdown or by
/// CLIENT PAUSE: to replicate or publish then, unasked, ends the server.
pub fn avoids_replica_traffic() -> bool {
    // SAFETY: no arguments.
    unsafe { api!(RedisModule_AvoidReplicaTraffic()) != 0 }
}
