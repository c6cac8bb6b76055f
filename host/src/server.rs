//! What the server is asked that belongs to no call: the time, chance, whether replicas are to be left
//! alone.

use crate::api::api;
use crate::lock::Lock;

/// The wall clock in epoch milliseconds: at least 1, since one that stands before 1970 was never set.
pub fn now() -> i64 {
    // SAFETY: no arguments.
    unsafe { api!(RedisModule_Milliseconds()) }.max(1)
}

/// Random bytes that are hard to guess: the system's, since the server counts its own without a lock.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    /// As many as the system gives at once.
    const MOST: usize = 256;
    let mut bytes = [0u8; N];
    for some in bytes.chunks_mut(MOST) {
        // SAFETY: a buffer of that length.
        let status = unsafe { libc::getentropy(some.as_mut_ptr().cast(), some.len()) };
        assert!(status == 0, "the system has no random bytes");
    }
    bytes
}

/// The part of `maxmemory` that is used, more than 1 where it is exceeded; 0 where there is no limit. What the
/// server does not count against the limit, as replicas' buffers, is not in it.
pub fn used_memory_ratio(_: Lock) -> f32 {
    // SAFETY: no arguments; the lock is held.
    unsafe { api!(RedisModule_GetUsedMemoryRatio()) }
}

/// Whether replicas have to be left alone, since clients are paused for a failover, a shutdown or by
/// CLIENT PAUSE: to replicate or publish then, unasked, would end the server, and is refused.
pub fn avoids_replica_traffic(_: Lock) -> bool {
    // SAFETY: no arguments; the lock is held, under which the server looks whether the pause is over.
    unsafe { api!(RedisModule_AvoidReplicaTraffic()) != 0 }
}
