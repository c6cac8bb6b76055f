//! A usage counter: what was counted and not yet handed over, and what was counted in all.

/// The counts of one key. Times are epoch milliseconds, 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pending: i64,
    total: i64,
    first_used_at: i64,
    last_used_at: i64,
}

/// The count would pass 2^63 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Counter {
    /// Puts a counter together from stored numbers; `None` where they can't be those of a counter.
    pub fn from_parts(
        pending: i64,
        total: i64,
        first_used_at: i64,
        last_used_at: i64,
    ) -> Option<Self> {
        let counter = Self { pending, total, first_used_at, last_used_at };
        (pending <= total && total >= 0 && first_used_at >= 0 && last_used_at >= 0)
            .then_some(counter)
    }

    /// Less than nothing where more was handed over than was used, as it turned out.
    pub fn pending(&self) -> i64 {
        self.pending
    }

    pub fn total(&self) -> i64 {
        self.total
    }

    pub fn first_used_at(&self) -> i64 {
        self.first_used_at
    }

    pub fn last_used_at(&self) -> i64 {
        self.last_used_at
    }

    /// Counts `by` uses (at least 1) at `now` and returns what is pending. Changes nothing on
    /// overflow.
    pub fn incr(&mut self, by: i64, now: i64) -> Result<i64, Overflow> {
        // What is pending is part of the total, so that the total overflows first.
        self.total = self.total.checked_add(by).ok_or(Overflow)?;
        self.pending = self.pending.saturating_add(by);
        if self.first_used_at == 0 {
            self.first_used_at = now;
        }
        // Also where a clock that was set back says less than it did.
        self.last_used_at = now;
        Ok(self.pending)
    }

    /// What was counted was so many more, or fewer. Where that was handed over already, what is pending becomes less than
    /// nothing, and the next counts make that up. Changes nothing on overflow.
    pub fn correct(&mut self, by: i64) -> Result<(), Overflow> {
        let total = self.total.checked_add(by).filter(|total| *total >= 0).ok_or(Overflow)?;
        self.pending = self.pending.checked_add(by).ok_or(Overflow)?;
        self.total = total;
        Ok(())
    }

    /// Hands over what is pending, where something is.
    pub fn take(&mut self) -> i64 {
        let pending = self.pending.max(0);
        self.pending -= pending;
        pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_pending_until_taken_and_stay_in_the_total() {
        let mut counter = Counter::default();
        assert_eq!(counter.incr(1, 10), Ok(1));
        assert_eq!(counter.incr(4, 30), Ok(5));
        assert_eq!(counter.incr(1, 20), Ok(6), "the clock was set back");
        assert_eq!(counter.last_used_at(), 20);
        assert_eq!(counter.take(), 6);
        assert_eq!(counter.take(), 0);
        assert_eq!(counter.incr(2, 40), Ok(2));
        assert_eq!(Some(counter), Counter::from_parts(2, 8, 10, 40));
    }

    #[test]
    fn overflow_is_an_error_and_changes_nothing() {
        let mut counter = Counter::default();
        assert_eq!(counter.incr(i64::MAX, 1), Ok(i64::MAX));
        let before = counter;
        assert_eq!(counter.incr(1, 2), Err(Overflow));
        assert_eq!(counter, before);
        counter.take();
        assert_eq!(counter.incr(1, 2), Err(Overflow), "the total is full even when all is taken");
    }
}
