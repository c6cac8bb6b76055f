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
