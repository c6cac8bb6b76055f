//! Whether a value is fresh, and whether it is time to refresh it.
//!
//! A value is fresh until its key's expiry less its grace; from then on it is stale, and at the expiry the server takes
//! it away. A soft invalidation makes it stale at once, where it has a grace; any other invalidation makes it dead, which
//! is not decided here.

/// What is known of a value when it is read. Times are epoch milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    pub stored_at: i64,
    /// Of its key; `None` where it has none.
    pub expires_at: Option<i64>,
    pub grace: i64,
    /// Whether it was invalidated softly.
    pub is_softened: bool,
}

/// How fresh a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// For so many milliseconds more; `None`: it is never stale by itself. Whether one reader should refresh it now.
    Fresh {
        left: Option<i64>,
        is_due: bool,
    },
    Stale,
    /// It has no grace, or the grace is over.
    Over,
}

/// When a value is fresh no more, by its key's expiry and its grace; `None`: never by itself.
pub fn fresh_until(expires_at: Option<i64>, grace: i64) -> Option<i64> {
    Some(expires_at?.saturating_sub(grace))
}

impl Age {
    /// How fresh it is now; in the last `eager` percent of its time it is due to be refreshed.
    pub fn at(&self, now: i64, eager: u8) -> Freshness {
        let until = fresh_until(self.expires_at, self.grace);
        let is_over = self.expires_at.is_some_and(|end| end <= now);
        if self.is_softened || until.is_some_and(|until| until <= now) {
            return if self.grace > 0 && !is_over { Freshness::Stale } else { Freshness::Over };
        }
        let left = until.map(|until| until.saturating_sub(now));
        let is_due = eager > 0
            && until.zip(left).is_some_and(|(until, left)| {
                let all = until.saturating_sub(self.stored_at);
                i128::from(left) * 100 <= i128::from(all) * i128::from(eager)
            });
        Freshness::Fresh { left, is_due }
    }

    /// How old it is, in milliseconds.
    pub fn age(&self, now: i64) -> i64 {
        now.saturating_sub(self.stored_at).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Age =
        Age { stored_at: 1_000, expires_at: Some(2_500), grace: 500, is_softened: false };

    fn fresh(left: i64, is_due: bool) -> Freshness {
        Freshness::Fresh { left: Some(left), is_due }
    }

    #[test]
    fn a_value_is_fresh_then_stale_then_over_to_the_millisecond() {
        for (now, freshness) in [
            (1_000, fresh(1_000, false)),
            (1_999, fresh(1, false)),
            (2_000, Freshness::Stale),
            (2_499, Freshness::Stale),
            (2_500, Freshness::Over),
        ] {
            assert_eq!(AGE.at(now, 0), freshness, "{now}");
        }
        let without = Age { expires_at: Some(2_000), grace: 0, ..AGE };
        assert_eq!(without.at(1_999, 0), fresh(1, false));
        assert_eq!(without.at(2_000, 0), Freshness::Over);
    }

    #[test]
    fn in_the_last_percents_of_its_time_a_value_is_due() {
        for (now, eager, is_due) in
            [(1_899, 10, false), (1_900, 10, true), (1_999, 0, false), (1_500, 50, true)]
        {
            assert_eq!(AGE.at(now, eager), fresh(2_000 - now, is_due), "{now}");
        }
    }

    #[test]
    fn a_soft_invalidation_makes_stale_what_has_a_grace_and_ends_the_rest() {
        let soft = Age { is_softened: true, ..AGE };
        assert_eq!(soft.at(1_000, 0), Freshness::Stale);
        assert_eq!(soft.at(2_500, 0), Freshness::Over);
        assert_eq!(Age { grace: 0, ..soft }.at(1_000, 0), Freshness::Over);
        assert_eq!(Age { expires_at: None, ..soft }.at(i64::MAX, 0), Freshness::Stale);
    }

    #[test]
    fn what_does_not_expire_is_fresh_for_ever_and_clocks_do_no_harm() {
        let for_ever = Age { expires_at: None, ..AGE };
        let fresh = Freshness::Fresh { left: None, is_due: false };
        assert_eq!(for_ever.at(i64::MAX, 50), fresh);
        assert_eq!((AGE.age(900), AGE.age(1_700)), (0, 700));
        let extreme =
            Age { stored_at: i64::MAX, expires_at: Some(i64::MIN), grace: i64::MAX, ..AGE };
        assert_eq!(extreme.at(i64::MIN, 100), Freshness::Over);
    }
}
