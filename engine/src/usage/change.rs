//! What becomes of a counter by a request that is admitted or settled, or by credits: made where it is decided, and put
//! into the counter there and wherever else the counter is.

use crate::limits::account::{Account, Judged, Kept};
use crate::limits::known::Known;
use crate::limits::requests::{Print, Request, Window};
use crate::usage::counter::{Counter, Overflow};
use smallvec::SmallVec;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Change {
    /// What the counts are.
    pub counter: Counter,
    /// What the levels are of the limits that were taken from.
    pub levels: SmallVec<[Kept; 2]>,
    /// A request that is new, or has changed.
    pub request: Option<Request>,
    /// How many of the oldest requests have gone before.
    pub gone: u32,
}

/// What a change did beside that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Requests that went before their time.
    pub early: usize,
}

impl Change {
    pub fn of(counter: Counter) -> Self {
        Self { counter, levels: SmallVec::new(), request: None, gone: 0 }
    }

    /// A request takes from limits what they have said that it may.
    pub fn take<'j>(&mut self, judged: impl Iterator<Item = &'j mut Judged>) {
        for judged in judged.filter(|judged| judged.costs()) {
            if judged.take() > 0 {
                let (limit, level) = (Arc::clone(&judged.limit), judged.level);
                self.levels.push(Kept { limit, level });
            }
        }
    }

    /// Notes a request under its id.
    pub fn note(&mut self, request: Request, account: &Account, window: Window) -> Gone {
        let (gone, early) = account.requests().going(&request.print, window, request.at);
        self.gone = u32::try_from(gone).unwrap_or(u32::MAX);
        self.request = Some(request);
        Gone { early }
    }

    /// What a request that was counted under an id has really cost; returns what it was thought to, or nothing where
    /// that is not known any more. A request that is settled stays so.
    pub fn settle(
        account: &Account,
        counter: &Counter,
        print: &Print,
        cost: i64,
        window: Window,
        now: i64,
    ) -> Option<Result<(i64, Option<Self>), Overflow>> {
        let since = now.saturating_sub(window.ms);
        let request = account.requests().get(print).filter(|request| request.at >= since)?;
        if request.is_settled {
            return Some(Ok((request.cost, None)));
        }
        let mut counter = *counter;
        if request.is_counted {
            if let Err(overflow) = counter.correct(cost.saturating_sub(request.cost)) {
                return Some(Err(overflow));
            }
        }
        let (settled, levels) = account.settle(request, cost, now);
        let (levels, settled) = (levels.into(), Some(settled));
        Some(Ok((request.cost, Some(Self { counter, levels, request: settled, gone: 0 }))))
    }

    /// Whether there is nothing to change.
    pub fn is_nothing(&self, counter: &Counter) -> bool {
        self.counter == *counter && self.is_of_counts()
    }

    /// Has its limits be the ones that others hold, where they are the same.
    pub fn share(&mut self, known: &mut Known) {
        let takes = self.request.iter_mut().flat_map(|request| &mut request.takes);
        let limits = takes.map(|take| &mut take.limit);
        let levels = self.levels.iter_mut().map(|kept| &mut kept.limit);
        limits.chain(levels).for_each(|limit| known.share(limit));
    }

    /// Whether nothing has changed but the counts.
    pub fn is_of_counts(&self) -> bool {
        self.levels.is_empty() && self.request.is_none()
    }

    /// Puts it into what a counter keeps beside its counts.
    pub fn put(self, account: &mut Account) {
        account.drop_requests(self.gone as usize);
        // Before the request, which has taken from the limits as they are now.
        self.levels.into_iter().for_each(|Kept { limit, level }| account.put(limit, level));
        if let Some(request) = self.request {
            account.put_request(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { ms: 1000, most: 2 };
    const NOW: i64 = 1_796_083_200_000;

    fn counted(account: &mut Account, counter: Counter, id: u8, at: i64) -> Gone {
        let mut change = Change::of(counter);
        let gone = change.note(Request::plain(Print([id; 16]), at, 5), account, WINDOW);
        change.put(account);
        gone
    }

    #[test]
    fn a_request_is_settled_once_while_it_is_known() {
        let (mut account, mut counter) = (Account::default(), Counter::default());
        counter.incr(5, NOW).unwrap();
        counted(&mut account, counter, 1, NOW);
        let settle = |account: &Account, counter: &Counter, cost, now| {
            Change::settle(account, counter, &Print([1; 16]), cost, WINDOW, now)
        };
        assert!(settle(&account, &counter, 2, NOW + 1001).is_none());
        let (before, change) = settle(&account, &counter, 2, NOW + 1000).unwrap().unwrap();
        let change = change.unwrap();
        assert!(!change.is_nothing(&counter));
        assert_eq!((before, change.counter.total(), change.counter.pending()), (5, 2, 2));
        let counter = change.counter;
        change.put(&mut account);
        let (before, change) = settle(&account, &counter, 9, NOW).unwrap().unwrap();
        assert!(before == 2 && change.is_none());
        assert_eq!(account.requests().len(), 1);
    }

    #[test]
    fn a_cost_that_there_is_no_room_for_changes_nothing() {
        let (mut account, mut counter) = (Account::default(), Counter::default());
        counter.incr(i64::MAX, NOW).unwrap();
        counted(&mut account, counter, 1, NOW);
        let settled = Change::settle(&account, &counter, &Print([1; 16]), 6, WINDOW, NOW);
        assert_eq!(settled.unwrap().map(|(before, _)| before), Err(Overflow));
    }

    #[test]
    fn ids_that_go_before_their_time_are_told() {
        let mut account = Account::default();
        let early: Vec<usize> = [(1, 0), (2, 0), (3, 0), (4, 2000)]
            .map(|(id, ms)| counted(&mut account, Counter::default(), id, NOW + ms).early)
            .to_vec();
        assert_eq!(early, [0, 0, 1, 0]);
        assert_eq!(account.requests().len(), 1);
        assert!(Change::of(Counter::default()).is_nothing(&Counter::default()));
    }
}
