//! What was answered and done, since the start, and answered in the last minute.

use crate::record::verdict::Verdict;

const SECONDS: usize = 60;

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: i64,
    hits: u64,
    misses: u64,
}

/// Counts of answers. Times are epoch milliseconds.
#[derive(Debug)]
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
    /// When the server evicted a key last, be it anybody's.
    pub last_eviction: Option<i64>,
    window: [Second; SECONDS],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            hits: 0,
            misses: 0,
            valid: 0,
            mismatches: 0,
            disabled: 0,
            expired: 0,
            forbidden: 0,
            forbidden_ip: 0,
            unverified: 0,
            absent: 0,
            stored_entries: 0,
            stale_fills_refused: 0,
            absent_refused: 0,
            invalidated_tags: 0,
            invalidated_keys: 0,
            written_keys: 0,
            flushes: 0,
            killed_entries: 0,
            evicted_entries: 0,
            redeliveries: 0,
            counted_uses: 0,
            settled_uses: 0,
            taken_uses: 0,
            last_eviction: None,
            window: [Second::default(); SECONDS],
        }
    }
}

/// Lookups of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastMinute {
    pub hits: u64,
    pub misses: u64,
}

impl LastMinute {
    pub fn lookups(&self) -> u64 {
        self.hits + self.misses
    }

    /// In whole percents.
    pub fn hit_rate(&self) -> Option<u64> {
        percent(self.hits, self.misses)
    }
}

impl Stats {
    pub fn count_miss(&mut self, now: i64) {
        self.misses += 1;
        if let Some(second) = self.second(now) {
            second.misses += 1;
        }
    }

    /// Something else than a record was found.
    pub fn count_found(&mut self, now: i64) {
        self.hits += 1;
        if let Some(second) = self.second(now) {
            second.hits += 1;
        }
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
        let now = now.div_euclid(1000);
        let fresh = |second: &&Second| (now - SECONDS as i64 + 1..=now).contains(&second.at);
        self.window.iter().filter(fresh).fold(LastMinute::default(), |sum, second| LastMinute {
            hits: sum.hits + second.hits,
            misses: sum.misses + second.misses,
        })
    }

    fn second(&mut self, now: i64) -> Option<&mut Second> {
        let at = now.div_euclid(1000);
        let place = at.rem_euclid(SECONDS as i64) as usize;
        if self.window.get(place)?.at != at {
            // What a clock that was set back has counted is none of the minute that it comes to again.
            self.window.iter_mut().filter(|second| second.at > at).for_each(|second| {
                *second = Second::default();
            });
            *self.window.get_mut(place)? = Second { at, ..Second::default() };
        }
        self.window.get_mut(place)
    }
}

/// Adds to a sum of uses, which stays at the largest number: one counter alone can hold half of that.
pub fn add_uses(sum: &mut u64, uses: i64) {
    *sum = sum.saturating_add(uses.unsigned_abs());
}

/// Whole percents of `part` in both; `None` where there is neither.
pub fn percent(part: u64, rest: u64) -> Option<u64> {
    let all = u128::from(part) + u128::from(rest);
    (u128::from(part) * 100).checked_div(all).map(|percent| percent as u64)
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

    #[test]
    fn percents_are_whole_and_of_nothing_none() {
        assert_eq!(percent(0, 0), None);
        assert_eq!(percent(0, 1), Some(0));
        assert_eq!(percent(1, 2), Some(33));
        assert_eq!(percent(u64::MAX, 0), Some(100));
    }
}
