//! What a counter keeps beside its counts: of each limit what was taken, and the requests that were counted under an id.
//!
//! A level is kept by the name and the kind of its limit: so credits that were bought are there whatever else the name
//! stands for meanwhile. One that says nothing (all has come back, the period is over) goes when the
//! counter is saved, and when there are too many.

use crate::defrag::Defrag;
use crate::limits::known::Known;
use crate::limits::level::{Level, Standing};
use crate::limits::limit::{are_one, Limit, Rule, MAX_UNITS};
use crate::limits::requests::{Print, Request, Requests, Take, MAX_REQUESTS};
use std::sync::Arc;

/// The most limits that a counter keeps the levels of.
pub const MAX_LEVELS: usize = 64;

/// The level of a limit.
#[derive(Clone, Debug)]
pub struct Kept {
    pub limit: Arc<Limit>,
    pub level: Level,
}

const _: () = assert!(size_of::<Kept>() == 24);

#[derive(Clone, Debug, Default)]
pub struct Account {
    levels: Vec<Kept>,
    /// None where there are none, as of most.
    requests: Option<Box<Requests>>,
}

/// What a limit says of a request; nothing was taken yet.
#[derive(Clone, Debug)]
pub struct Judged {
    pub limit: Arc<Limit>,
    /// That of now.
    pub level: Level,
    /// How it stands before.
    pub standing: Standing,
    /// Units that the request wants.
    pub asked: i64,
    /// Units that it has taken.
    taken: i64,
    /// Milliseconds by which the clock is behind the level.
    behind: i64,
}

impl Judged {
    pub fn denies(&self) -> bool {
        self.standing.retry_ms != 0 && !self.limit.is_shadow()
    }

    /// Whether requests take from the limit.
    pub fn costs(&self) -> bool {
        self.limit.cost() > 0
    }

    /// Takes what the request wants, as far as there is; returns how many units that is.
    pub fn take(&mut self) -> i64 {
        self.taken = self.level.take(self.limit.rule(), self.asked);
        self.standing = self.level.standing(self.limit.rule(), self.asked).behind(self.behind);
        self.taken
    }

    /// What the request has taken, to be given back; `None` where requests take nothing.
    pub fn taken(&self) -> Option<Take> {
        let (limit, units) = (&self.limit, self.taken);
        self.costs().then(|| Take { limit: Arc::clone(limit), units, after: self.level.amount })
    }
}

impl Account {
    pub const NONE: &'static Self = &Self { levels: Vec::new(), requests: None };

    /// Puts an account together; `None` where it can't be one.
    pub fn from_parts(levels: Vec<Kept>, requests: Vec<Request>) -> Option<Self> {
        let mut account = Self::default();
        for kept in levels {
            if account.position(kept.limit.bytes()).is_some()
                || !kept.level.is_of(kept.limit.rule())
                || account.levels.len() == MAX_LEVELS
            {
                return None;
            }
            account.levels.push(kept);
        }
        for request in requests {
            if !request.is_right() || account.requests().get(&request.print).is_some() {
                return None;
            }
            account.put_request(request);
        }
        (account.requests().len() <= MAX_REQUESTS).then_some(account)
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.requests.is_none()
    }

    pub fn levels(&self) -> &[Kept] {
        &self.levels
    }

    pub fn requests(&self) -> &Requests {
        self.requests.as_deref().unwrap_or(Requests::NONE)
    }

    /// A request that is new, or has changed.
    pub fn put_request(&mut self, request: Request) {
        self.requests.get_or_insert_default().put(request);
    }

    /// The oldest requests go.
    pub fn drop_requests(&mut self, count: usize) {
        if let Some(requests) = &mut self.requests {
            requests.drop_oldest(count);
            if requests.is_empty() {
                self.requests = None;
            }
        }
    }

    /// Has its limits be the ones that others hold, where they are the same.
    pub fn share(&mut self, known: &mut Known) {
        for limit in self.levels.iter_mut().map(|kept| &mut kept.limit) {
            known.share(limit);
        }
        if let Some(requests) = &mut self.requests {
            requests.each_limit(|limit| known.share(limit));
        }
    }

    /// Where the level of a limit stands that has these bytes, or is the [same](are_one).
    fn position(&self, bytes: &[u8]) -> Option<usize> {
        self.levels.iter().position(|kept| are_one(kept.limit.bytes(), bytes))
    }

    /// Its level, as it was noted.
    pub fn kept(&self, bytes: &[u8]) -> Option<&Kept> {
        self.levels.get(self.position(bytes)?)
    }

    /// What the limit that has these bytes says of a request of this cost; `None` where no limit has.
    pub fn judge(&self, bytes: &[u8], known: &mut Known, cost: i64, now: i64) -> Option<Judged> {
        let kept = self.kept(bytes);
        let (limit, level) = match kept {
            Some(Kept { limit, level }) if limit.bytes() == bytes => {
                (Arc::clone(limit), level.at(limit.rule(), now))
            }
            Some(Kept { limit: before, level }) => {
                let limit = known.of(bytes)?;
                let level = level.of_changed(before.rule(), limit.rule(), now);
                (limit, level)
            }
            None => (known.of(bytes)?, Level::full(now)),
        };
        let asked = limit.cost().saturating_mul(cost);
        let behind = level.at.saturating_sub(now);
        let standing = level.standing(limit.rule(), asked).behind(behind);
        Some(Judged { limit, level, standing, asked, taken: 0, behind })
    }

    /// Whether the levels of these limits, by their bytes, find room beside the others that say something at a time.
    pub fn has_room<L: AsRef<[u8]>>(
        &self,
        limits: impl Iterator<Item = L> + Clone,
        now: i64,
    ) -> bool {
        let more = limits.clone().filter(|limit| self.position(limit.as_ref()).is_none()).count();
        more == 0 || self.levels.len() + more <= MAX_LEVELS || {
            // Any of these that says nothing now may go, to come again.
            let others = self.lasting(now).filter(|kept| {
                !limits.clone().any(|limit| are_one(limit.as_ref(), kept.limit.bytes()))
            });
            others.count() + limits.clone().count() <= MAX_LEVELS
        }
    }

    /// The level of a limit from now on. Where nothing was taken before, or it is another limit, or the clock was set back,
    /// earlier requests give nothing back.
    pub fn put(&mut self, limit: Arc<Limit>, level: Level) {
        let at = self.position(limit.bytes());
        let kept = at.and_then(|at| self.levels.get_mut(at));
        let goes_on = kept.as_ref().is_some_and(|kept| {
            limit.rule().measures_as(kept.limit.rule()) && level.at >= kept.level.at
        });
        if let (false, Some(requests)) = (goes_on, &mut self.requests) {
            requests.forget(limit.bytes());
        }
        match kept {
            Some(kept) => *kept = Kept { limit, level },
            None => {
                if self.levels.len() >= MAX_LEVELS {
                    self.levels.retain(|kept| !kept.level.is_idle(&kept.limit, level.at));
                }
                self.levels.reserve_exact(1);
                self.levels.push(Kept { limit, level });
            }
        }
    }

    /// The levels that say something at a time.
    pub fn lasting(&self, now: i64) -> impl Iterator<Item = &Kept> {
        self.levels.iter().filter(move |kept| !kept.level.is_idle(&kept.limit, now))
    }

    /// What becomes of a request, and of the levels of its limits, where it has cost another sum than it was thought to:
    /// the difference is given back, or taken as far as there is. The request as it is then, and the levels.
    pub fn settle(&self, request: &Request, cost: i64, now: i64) -> (Request, Vec<Kept>) {
        let mut settled = Request { cost, is_settled: true, ..request.clone() };
        let mut levels = Vec::new();
        for take in &mut settled.takes {
            let kept = self.kept(take.limit.bytes());
            let limit = kept.map_or(&take.limit, |kept| &kept.limit);
            let rule = limit.rule();
            // One that says nothing may have gone when the counter was saved.
            let mut level = kept.map_or(Level::full(now), |kept| kept.level.at(rule, now));
            let wanted = take.limit.cost().saturating_mul(cost);
            if wanted > take.units {
                take.units += level.take(rule, wanted - take.units);
            } else {
                let parts = level.give_back(rule, take.units - wanted, take.taken(request.at));
                take.after = take.after.saturating_sub(parts);
                take.units = wanted;
            }
            levels.push(Kept { limit: Arc::clone(limit), level });
            let has_room = || self.has_room(levels.iter().map(|kept| kept.limit.bytes()), now);
            if kept.is_none() && (level.amount == 0 || !has_room()) {
                levels.pop();
            }
        }
        (settled, levels)
    }

    /// Bytes that it has allocated.
    pub fn heap_bytes(&self) -> usize {
        let requests = self.requests.as_ref();
        let requests = requests.map_or(0, |all| size_of::<Requests>() + all.heap_bytes());
        self.levels.capacity() * size_of::<Kept>() + requests
    }

    /// Hands them over, but for the limits, which many accounts share.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        to.vec(&mut self.levels);
        if let Some(requests) = &mut self.requests {
            to.boxed(requests);
            requests.defrag(to);
        }
    }
}

/// A balance of credits, raised or lowered by `by`; or what is wrong with that.
pub fn credited(balance: i64, by: i64) -> Result<i64, String> {
    match balance.checked_add(by) {
        Some(sum @ 0..=MAX_UNITS) => Ok(sum),
        Some(..0) | None if by < 0 => Err("BY must not take the balance below 0".into()),
        _ => Err(format!("BY must not take the balance beyond {MAX_UNITS}")),
    }
}

impl Request {
    /// Whether what it says can be so.
    fn is_right(&self) -> bool {
        use crate::limits::limit::{MAX_COST, MAX_LIMITS};
        let is_right = |take: &Take| {
            let level = Level { amount: take.after, at: 0 };
            (0..=MAX_UNITS).contains(&take.units)
                && (!matches!(take.limit.rule(), Rule::Rate { .. })
                    || level.is_of(take.limit.rule()))
        };
        let names = || self.takes.iter().map(|take| take.limit.name());
        let is_once = |(nth, name): (usize, &[u8])| !names().take(nth).any(|other| other == name);
        self.at >= 0
            && names().enumerate().all(is_once)
            && (0..=MAX_COST).contains(&self.cost)
            && self.takes.len() <= MAX_LIMITS
            && self.takes.iter().all(is_right)
    }

    /// A request that takes from no limit.
    pub fn plain(print: Print, at: i64, cost: i64) -> Self {
        Self { print, at, cost, is_counted: true, is_settled: false, takes: Box::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::tests::Counting;
    use crate::limits::limit::tests::{limit, rate};

    const NOW: i64 = 1_796_083_200_000;

    fn full(account: &Account) -> bool {
        let levels = account.levels().to_vec();
        Account::from_parts(levels, Vec::new()).is_some()
    }

    #[test]
    fn a_counter_has_room_where_others_say_nothing_by_now() {
        let of = |name: String| Arc::new(limit(&name, rate(1, 1000, 9)));
        let taken = Level { amount: 1000, at: NOW };
        let mut account = Account::default();
        for nth in 0..MAX_LEVELS {
            account.put(of(format!("l{nth}")), taken);
        }
        let has_room = |account: &Account, names: &[&str], now| {
            let limits: Vec<Arc<Limit>> = names.iter().map(|name| of((*name).into())).collect();
            account.has_room(limits.iter().map(|limit| limit.bytes()), now)
        };
        assert!(has_room(&account, &["l0", "l63"], NOW));
        assert!(!has_room(&account, &["l0", "x"], NOW));
        assert!(has_room(&account, &["l0", "x"], NOW + 1000), "all has come back");
        assert!(!account
            .has_room((0..65).map(|nth| of(format!("x{nth}")).bytes().to_vec()), NOW + 1000));

        // One that says nothing goes for another, and comes again in the same request: there is no room for both.
        account.put(of("l0".into()), Level { amount: 0, at: NOW });
        assert!(has_room(&account, &["x", "l1"], NOW));
        assert!(!has_room(&account, &["x", "l0"], NOW));
        account.put(of("x".into()), taken);
        assert!(account.kept(of("l0".into()).bytes()).is_none() && full(&account));
    }

    #[test]
    fn credits_are_never_below_0_or_beyond_what_there_may_be() {
        assert_eq!(credited(5, -5), Ok(0));
        assert_eq!(credited(0, MAX_UNITS), Ok(MAX_UNITS));
        assert_eq!(credited(5, -6).unwrap_err(), "BY must not take the balance below 0");
        assert_eq!(credited(i64::MIN, -1).unwrap_err(), "BY must not take the balance below 0");
        for (balance, by) in [(1, MAX_UNITS), (i64::MAX, i64::MAX)] {
            let why = format!("BY must not take the balance beyond {MAX_UNITS}");
            assert_eq!(credited(balance, by).unwrap_err(), why);
        }
    }

    #[test]
    fn levels_and_requests_are_handed_over() {
        let level = Level { amount: 1000, at: NOW };
        let mut account = Account::default();
        for name in ["a", "b", "c"] {
            account.put(Arc::new(limit(name, rate(1, 1000, 9))), level);
        }
        account.put_request(Request::plain(Print([1; 16]), NOW, 1));
        let (before, mut to, mut of_requests) =
            (format!("{account:?}"), Counting::default(), Counting::default());
        account.defrag(&mut to);
        assert_eq!(format!("{account:?}"), before);
        account.requests.as_mut().unwrap().defrag(&mut of_requests);
        let own = account.levels.capacity() * size_of::<Kept>() + size_of::<Requests>();
        assert_eq!(to.bytes, own + of_requests.bytes);
    }

    /// The level of credits that are used up says nothing, and is not saved.
    #[test]
    fn credits_are_given_back_where_none_are_left() {
        let credits = Arc::new(limit("c", Rule::Credits));
        let take = Take { limit: credits, units: 7, after: 0 };
        let request = Request { takes: [take].into(), ..Request::plain(Print([1; 16]), NOW, 7) };
        let account = Account::from_parts(Vec::new(), vec![request.clone()]).unwrap();
        let (settled, levels) = account.settle(&request, 2, NOW);
        assert_eq!((settled.cost, settled.takes[0].units), (2, 2));
        assert_eq!(levels.iter().map(|kept| kept.level.amount).collect::<Vec<_>>(), [5]);
    }
}
