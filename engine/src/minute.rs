//! How many lookups of the last minute found something, and how many did not.

const SECONDS: usize = 60;

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: i64,
    hits: u64,
    misses: u64,
}

/// The seconds of the last minute. Times are epoch milliseconds.
#[derive(Debug)]
pub struct Minute {
    seconds: [Second; SECONDS],
}

impl Default for Minute {
    fn default() -> Self {
        Self { seconds: [Second::default(); SECONDS] }
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

impl Minute {
    pub fn count_hit(&mut self, now: i64) {
        if let Some(second) = self.second(now) {
            second.hits += 1;
        }
    }

    pub fn count_miss(&mut self, now: i64) {
        if let Some(second) = self.second(now) {
            second.misses += 1;
        }
    }

    /// What was counted in the minute that ends now.
    pub fn at(&self, now: i64) -> LastMinute {
        let now = now.div_euclid(1000);
        let fresh = |second: &&Second| (now - SECONDS as i64 + 1..=now).contains(&second.at);
        self.seconds.iter().filter(fresh).fold(LastMinute::default(), |sum, second| LastMinute {
            hits: sum.hits + second.hits,
            misses: sum.misses + second.misses,
        })
    }

    fn second(&mut self, now: i64) -> Option<&mut Second> {
        let at = now.div_euclid(1000);
        let place = at.rem_euclid(SECONDS as i64) as usize;
        if self.seconds.get(place)?.at != at {
            // What a clock that was set back has counted is none of the minute that it comes to again.
            self.seconds.iter_mut().filter(|second| second.at > at).for_each(|second| {
                *second = Second::default();
            });
            *self.seconds.get_mut(place)? = Second { at, ..Second::default() };
        }
        self.seconds.get_mut(place)
    }
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
    fn percents_are_whole_and_of_nothing_none() {
        assert_eq!(percent(0, 0), None);
        assert_eq!(percent(0, 1), Some(0));
        assert_eq!(percent(1, 2), Some(33));
        assert_eq!(percent(u64::MAX, 0), Some(100));
    }
}
