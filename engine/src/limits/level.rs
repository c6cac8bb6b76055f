//! What was taken from a limit, in exact integers.
//!
//! A rate is a bucket ("token bucket" of ATM's GCRA and of traffic shaping; Turner 1986): it holds what was taken and has
//! not come back, in parts of which a unit has `per`, so that `units` of them come back in a millisecond and nothing is
//! ever rounded. A level and a time are kept, not a time of arrival to come, so that a rate which changes applies from now
//! on. A quota holds what was taken in the period of its time; credits what is left.
//!
//! **The clock.** Times come from the clock of whoever is the primary. Where it is behind what was noted by up to
//! [`CLOCKS_DIFFER_MS`](crate::clock::CLOCKS_DIFFER_MS), as after a failover, it counts as standing still. Where it was set
//! back by more, what was noted ahead of it has come back, of a quota where it is another period: nothing is noted of who
//! is refused, so that nobody could tell how long ago that was, and who is to wait would wait until the clock is there
//! again. So who can't set the clock gains nothing; each time that it is set ahead by `t` and back, a rate has at most what
//! comes back in `t`, and its burst, once more, and a quota its units.

use crate::clock::not_before;
use crate::limits::limit::{Limit, Rule, MAX_UNITS};

/// What was taken, or what is left, and when that was so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Of a rate what has still to come back, in parts of a unit; of a quota what was taken; of credits what is left.
    pub amount: i64,
    /// In epoch milliseconds.
    pub at: i64,
}

/// How a limit stands for someone who asks for a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The most that there can be: a rate's burst, a quota's units; -1 of credits.
    pub limit: i64,
    pub remaining: i64,
    /// Milliseconds until all is there again; -1 where that does not come by itself.
    pub reset_ms: i64,
    /// Milliseconds until the cost is there; 0 where it is, -1 where that does not come by itself.
    pub retry_ms: i64,
}

impl Standing {
    /// The same by a clock that is behind.
    #[must_use]
    pub fn behind(self, ms: i64) -> Self {
        let later = |wait: i64| if wait > 0 { wait.saturating_add(ms) } else { wait };
        Self { reset_ms: later(self.reset_ms), retry_ms: later(self.retry_ms), ..self }
    }
}

/// The time of what does not come by itself.
pub const NEVER: i64 = -1;

fn narrow(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(i64::MAX)
}

/// How long a rate of so many parts in a millisecond takes for some.
fn wait(parts: i128, units: i64) -> i64 {
    let units = i128::from(units);
    if parts <= 0 {
        0
    } else {
        narrow((parts + units - 1) / units)
    }
}

impl Level {
    /// The level of a limit from which nothing was taken.
    pub fn full(now: i64) -> Self {
        Self { amount: 0, at: now }
    }

    /// Whether it may be that of a limit.
    pub fn is_of(&self, rule: &Rule) -> bool {
        let most = match rule {
            Rule::Rate { per, burst, .. } => burst.saturating_mul(*per),
            // It may have been lowered.
            Rule::Quota { .. } | Rule::Credits => MAX_UNITS,
        };
        self.at >= 0 && (0..=most).contains(&self.amount)
    }

    /// What it is now.
    pub fn at(&self, rule: &Rule, now: i64) -> Self {
        let at = not_before(self.at, now);
        let amount = match rule {
            Rule::Rate { .. } if at < self.at => 0,
            Rule::Rate { units, .. } => {
                let back = i128::from(*units) * (i128::from(at) - i128::from(self.at));
                narrow((i128::from(self.amount) - back).max(0))
            }
            Rule::Quota { calendar, .. } if !calendar.has(at, self.at) => 0,
            Rule::Quota { .. } | Rule::Credits => self.amount,
        };
        Self { amount, at }
    }

    /// What it is now, of a limit that was another before: what was taken stays so, as far as the limit goes.
    ///
    /// Of a rate as much has come back as by the slower of the two would be left: nothing is noted of who is refused, and
    /// who was told to wait by the limit as it is now waits no longer.
    pub fn of_changed(&self, before: &Rule, after: &Rule, now: i64) -> Self {
        let level = self.at(before, now);
        match (before, after) {
            (Rule::Rate { per: old, .. }, Rule::Rate { per, burst, .. }) => {
                let (old, new) = (i128::from(*old), i128::from(*per));
                let most = i128::from(*burst) * new;
                // Up, so that a change never gives more.
                let scaled = |amount: i64| (i128::from(amount) * new + old - 1) / old;
                let of_now = |amount| Self { amount: narrow(scaled(amount).min(most)), ..*self };
                let since = of_now(self.amount).at(after, now).amount;
                Self { amount: of_now(level.amount).amount.min(since), ..level }
            }
            (Rule::Quota { .. }, Rule::Quota { .. }) => {
                Self { amount: level.amount, ..*self }.at(after, now)
            }
            (Rule::Credits, Rule::Credits) => level,
            _ => Self::full(level.at),
        }
    }

    /// What there is to take. The level is that of now.
    fn remaining(&self, rule: &Rule) -> i64 {
        match rule {
            Rule::Rate { per, burst, .. } => {
                burst.saturating_mul(*per).saturating_sub(self.amount) / per
            }
            Rule::Quota { units, .. } => units.saturating_sub(self.amount).max(0),
            Rule::Credits => self.amount,
        }
    }

    /// How the limit stands for someone who asks for so many units. The level is that of now.
    pub fn standing(&self, rule: &Rule, asked: i64) -> Standing {
        let remaining = self.remaining(rule);
        let has = asked <= remaining;
        match rule {
            Rule::Rate { units, per, burst } => {
                let lacks = i128::from(self.amount) + i128::from(asked) * i128::from(*per)
                    - i128::from(*burst) * i128::from(*per);
                let retry_ms = if asked > *burst { NEVER } else { wait(lacks, *units) };
                let reset_ms = wait(self.amount.into(), *units);
                Standing { limit: *burst, remaining, reset_ms, retry_ms }
            }
            Rule::Quota { units, calendar } => {
                let reset_ms = calendar.period(self.at).1.saturating_sub(self.at);
                let retry_ms = match has {
                    true => 0,
                    false if asked > *units => NEVER,
                    false => reset_ms,
                };
                Standing { limit: *units, remaining, reset_ms, retry_ms }
            }
            Rule::Credits => {
                let retry_ms = if has { 0 } else { NEVER };
                Standing { limit: NEVER, remaining, reset_ms: NEVER, retry_ms }
            }
        }
    }

    /// Takes so many units, as far as there are; returns how many that is. The level is that of now.
    pub fn take(&mut self, rule: &Rule, units: i64) -> i64 {
        let taken = units.min(self.remaining(rule));
        match rule {
            Rule::Rate { per, .. } => {
                self.amount = self.amount.saturating_add(taken.saturating_mul(*per))
            }
            Rule::Quota { .. } => self.amount = self.amount.saturating_add(taken),
            Rule::Credits => self.amount = self.amount.saturating_sub(taken),
        }
        taken
    }

    /// Gives back units that were taken at a time; returns how many parts of a rate that is. The level is that of now.
    ///
    /// Of a rate no more than has not come back by itself since: it was `after` right behind the taking. (What others
    /// have taken later is in the level too, and not to be given back for that.) Of a quota nothing, where its period is
    /// over. Of both nothing where `after` is 0: what was taken is not in the level any more.
    pub fn give_back(&mut self, rule: &Rule, units: i64, taken: Taken) -> i64 {
        match rule {
            Rule::Rate { units: back, per, .. } => {
                let elapsed = (i128::from(self.at) - i128::from(taken.at)).max(0);
                let left = i128::from(taken.after) - elapsed * i128::from(*back);
                let parts =
                    (i128::from(units) * i128::from(*per)).min(left).min(self.amount.into());
                let parts = narrow(parts.max(0));
                self.amount = self.amount.saturating_sub(parts);
                parts
            }
            Rule::Quota { calendar, .. } => {
                if taken.after > 0 && calendar.has(self.at, taken.at) {
                    self.amount = self.amount.saturating_sub(units).max(0);
                }
                0
            }
            Rule::Credits => {
                self.amount = self.amount.saturating_add(units).min(MAX_UNITS);
                0
            }
        }
    }

    /// Whether the level says nothing, so that it need not be kept.
    pub fn is_idle(&self, limit: &Limit, now: i64) -> bool {
        self.at(limit.rule(), now).amount == 0
    }
}

/// When units were taken from a limit, and the amount that its level had right behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub at: i64,
    pub after: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CLOCKS_DIFFER_MS;
    use crate::limits::calendar::Unit;
    use crate::limits::limit::tests::{quota, rate};

    const NOW: i64 = 1_796_083_200_000;
    const TEN: Rule = Rule::Rate { units: 10, per: 1000, burst: 20 };

    fn level(amount: i64) -> Level {
        Level { amount, at: NOW }
    }

    #[test]
    fn how_a_limit_stands() {
        let day = 86_400_000;
        // Limit, remaining, reset, retry.
        for (rule, amount, asked, stands) in [
            (TEN, 0, 1, (20, 20, 0, 0)),
            (TEN, 0, 21, (20, 20, 0, NEVER)),
            (TEN, 19_001, 1, (20, 0, 1901, 1)),
            (TEN, 20_000, 0, (20, 0, 2000, 0)),
            (TEN, 20_000, 20, (20, 0, 2000, 2000)),
            (quota(5, Unit::Day), 2, 3, (5, 3, day, 0)),
            (quota(5, Unit::Day), 2, 4, (5, 3, day, day)),
            (quota(5, Unit::Day), 9, 6, (5, 0, day, NEVER)),
            (Rule::Credits, 3, 3, (NEVER, 3, NEVER, 0)),
            (Rule::Credits, 3, 4, (NEVER, 3, NEVER, NEVER)),
        ] {
            let Standing { limit, remaining, reset_ms, retry_ms } =
                level(amount).standing(&rule, asked);
            assert_eq!((limit, remaining, reset_ms, retry_ms), stands, "{rule:?} {amount}");
        }
        let behind = level(20_000).standing(&TEN, 1).behind(7);
        assert_eq!((behind.reset_ms, behind.retry_ms), (2007, 107));
        assert_eq!(level(0).standing(&TEN, 21).behind(7), level(0).standing(&TEN, 21));
    }

    #[test]
    fn what_comes_back_by_the_clock() {
        let far = CLOCKS_DIFFER_MS + 1;
        let day = quota(5, Unit::Day);
        for (rule, later, amount, at) in [
            (TEN, 0, 10_000, 0),
            (TEN, 999, 10, 999),
            (TEN, 1001, 0, 1001),
            (TEN, 1 - far, 10_000, 0),
            (TEN, -far, 0, -far),
            (day, 86_399_999, 10_000, 86_399_999),
            (day, 86_400_000, 0, 86_400_000),
            // Noted in the first moment of its day.
            (day, 1 - far, 10_000, 0),
            (day, -far, 0, -far),
            (Rule::Credits, -far, 10_000, -far),
        ] {
            let is = level(10_000).at(&rule, NOW + later);
            assert_eq!((is.amount, is.at - NOW), (amount, at), "{rule:?} {later}");
        }
    }

    #[test]
    fn what_is_taken_stays_taken_when_the_limit_changes() {
        let hour = quota(3, Unit::Hour);
        for (before, after, amount, is) in [
            (TEN, TEN, 10_001, 10_001),
            (TEN, rate(10, 1, 20), 10_001, 11),
            (TEN, rate(1, 60_000, 20), 10_001, 600_060),
            (TEN, rate(1, 1000, 5), 10_001, 5000),
            (quota(9, Unit::Day), hour, 7, 7),
            (hour, TEN, 3, 0),
            (TEN, Rule::Credits, 10_000, 0),
            (Rule::Credits, Rule::Credits, 3, 3),
        ] {
            assert_eq!(level(amount).of_changed(&before, &after, NOW).amount, is, "{after:?}");
        }
        // As much has come back as by the one by which more has.
        for (before, after, is) in [
            (TEN, rate(100, 1000, 20), 0),
            (rate(100, 1000, 20), TEN, 0),
            (TEN, rate(1, 1000, 20), 10_000),
            (TEN, rate(10, 1000, 2), 0),
        ] {
            assert_eq!(level(20_000).of_changed(&before, &after, NOW + 1000).amount, is);
        }
        // Noted a day ahead: not of this hour.
        let ahead = Level { amount: 3, at: NOW + 86_400_000 };
        assert_eq!(ahead.of_changed(&quota(9, Unit::Year), &hour, NOW).amount, 0);
    }

    #[test]
    fn no_more_is_given_back_than_is_there() {
        let day = quota(50, Unit::Day);
        for (rule, amount, units, at, after, left) in [
            (TEN, 10_000, 3, 0, 10_000, 7000),
            // Of 5000, 4000 have come back since.
            (TEN, 10_000, 3, -400, 5000, 9000),
            (TEN, 10_000, 3, -500, 5000, 10_000),
            (TEN, 10_000, 3, -501, 5000, 10_000),
            (TEN, 1000, 3, 0, 10_000, 0),
            (TEN, 10_000, 3, 0, 0, 10_000),
            (day, 10, 3, 0, 10, 7),
            (day, 10, 3, -1, 10, 10),
            (day, 10, 3, 86_400_000, 10, 10),
            (day, 10, 3, 0, 0, 10),
            (day, 2, 3, 0, 3, 0),
            (Rule::Credits, 2, 3, -1, 0, 5),
            (Rule::Credits, MAX_UNITS, 3, 0, 0, MAX_UNITS),
        ] {
            let mut level = level(amount);
            let parts = level.give_back(&rule, units, Taken { at: NOW + at, after });
            assert_eq!(level.amount, left, "{rule:?} {units} {at} {after}");
            let is_rate = matches!(rule, Rule::Rate { .. });
            assert_eq!(parts, if is_rate { amount - left } else { 0 });
        }
    }
}
