//! What was answered and done, since the start, and answered in the last minute.

use crate::minute::{LastMinute, Minute};
use crate::record::verdict::Verdict;

/// Counts of answers. Times are epoch milliseconds.
#[derive(Debug, Default)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    pub valid: u64,
    pub mismatches: u64,
    pub disabled: u64,
    pub expired: u64,
    pub forbidden: u64,
    pub forbidden_ip: u64,
    /// Answers for which no secret was compared.
    pub unverified: u64,
    /// Answers that there is no such key.
    pub absent: u64,
    /// Entries that were stored.
    pub stored_entries: u64,
    /// Fills that their token refused.
    pub stale_fills_refused: u64,
    /// Absent keys that were refused since there were enough.
    pub absent_refused: u64,
    /// Tags that were invalidated, keys that were, keys that a writer has written, and databases that were emptied, or
    /// all at once.
    pub invalidated_tags: u64,
    pub invalidated_keys: u64,
    pub written_keys: u64,
    /// Patterns of names that were.
    pub invalidated_patterns: u64,
    pub flushes: u64,
    /// Live entries that invalidations of tags and keys have found.
    pub killed_entries: u64,
    /// Entries that the server evicted.
    pub evicted_entries: u64,
    /// Batches of usage counts that were given out again.
    pub redeliveries: u64,
    /// Uses that were counted, acknowledged, and taken without a lease.
    pub counted_uses: u64,
    pub settled_uses: u64,
    pub taken_uses: u64,
    /// Requests that were admitted, and refused by a rate, a quota or credits; those that came again under their id; and
    /// ids that went before their time.
    pub admitted: u64,
    pub rate_limited: u64,
    pub usage_exceeded: u64,
    pub repeated_ids: u64,
    pub ids_dropped_early: u64,
    /// When the server evicted a key last, be it anybody's.
    pub last_eviction: Option<i64>,
    minute: Minute,
}

impl Stats {
    pub fn count_miss(&mut self, now: i64) {
        self.misses += 1;
        self.minute.count_miss(now);
    }

    /// Something else than a record was found.
    pub fn count_found(&mut self, now: i64) {
        self.hits += 1;
        self.minute.count_hit(now);
    }

    /// A record was found, whatever was said of it.
    pub fn count_hit(&mut self, verdict: Verdict, now: i64) {
        self.count_found(now);
        match verdict {
            Verdict::Mismatch => self.mismatches += 1,
            Verdict::Disabled => self.disabled += 1,
            Verdict::Expired => self.expired += 1,
            Verdict::ForbiddenIp => self.forbidden_ip += 1,
            Verdict::Forbidden(_) => self.forbidden += 1,
            Verdict::Absent => self.absent += 1,
            Verdict::Unverified => self.unverified += 1,
            Verdict::Valid => self.valid += 1,
        }
    }

    pub fn last_minute(&self, now: i64) -> LastMinute {
        self.minute.at(now)
    }
}

/// Adds to a sum of uses, which stays at the largest number: one counter alone can hold half of that.
pub fn add_uses(sum: &mut u64, uses: i64) {
    *sum = sum.saturating_add(uses.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_what_is_older_than_a_minute() {
        let mut stats = Stats::default();
        stats.count_hit(Verdict::Valid, 1_000);
        stats.count_hit(Verdict::Mismatch, 30_999);
        stats.count_miss(60_999);
        assert_eq!(stats.last_minute(60_999), LastMinute { hits: 2, misses: 1 });
        assert_eq!(stats.last_minute(61_000), LastMinute { hits: 1, misses: 1 });
        assert_eq!(stats.last_minute(200_000), LastMinute::default());
        stats.count_miss(121_000);
        assert_eq!(stats.last_minute(121_000), LastMinute { hits: 0, misses: 1 });
        assert_eq!((stats.hits, stats.misses), (2, 2));
        assert_eq!((stats.valid, stats.mismatches), (1, 1));
    }

    #[test]
    fn the_window_is_of_this_minute_whichever_way_the_clock_goes() {
        const YEAR: i64 = 365 * 86_400_000;
        let mut stats = Stats::default();
        for now in [5 * YEAR, YEAR, 9 * YEAR, 5 * YEAR + 1000] {
            stats.count_miss(now);
            stats.count_miss(now + 999);
            assert_eq!(stats.last_minute(now), LastMinute { hits: 0, misses: 2 }, "{now}");
        }
    }

    #[test]
    fn sums_of_uses_stay_at_the_largest_number() {
        let mut sum = 0;
        for _ in 0..3 {
            add_uses(&mut sum, i64::MAX);
        }
        assert_eq!(sum, u64::MAX);
    }
}
