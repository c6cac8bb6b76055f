//! The latest requests that were counted under an id, so that one which is repeated counts once, and what it really
//! cost can be settled.

use crate::defrag::Defrag;
use crate::limits::level::Taken;
use crate::limits::limit::{are_one, Limit, Rule};
use hashbrown::HashTable;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most bytes of an id; the least is 1.
pub const MAX_ID_BYTES: usize = 64;

/// The most ids that any counter may keep, whatever `max-request-ids` says.
pub const MAX_REQUESTS: usize = 16_384;

/// The most that go for another one, unless that has the id of one of them.
const MOST_AT_ONCE: usize = 1000;

/// An id: the first half of the SHA-256 of what it is an id of, and its bytes. So it is the same on every node, and nobody
/// finds two ids with the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(pub [u8; 16]);

impl Print {
    /// That of a request that was counted.
    pub fn of_use(id: &[u8]) -> Self {
        Self::of(b"apikey:use:", id)
    }

    /// That of credits of a name that were given.
    pub fn of_credit(name: &[u8], id: &[u8]) -> Self {
        // No name has a blank.
        Self::of(&[b"apikey:credit:", name, b" "].concat(), id)
    }

    fn of(what: &[u8], id: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::new().chain_update(what).chain_update(id).finalize().into();
        Self(hash.first_chunk().copied().unwrap_or_default())
    }

    fn hash(&self) -> u64 {
        let bytes = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    }
}

/// What a request has taken from a limit.
#[derive(Clone, Debug)]
pub struct Take {
    pub limit: Arc<Limit>,
    /// Units.
    pub units: i64,
    /// What its level was right behind that; 0 where that says nothing any more.
    pub after: i64,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub print: Print,
    /// When it was counted, in epoch milliseconds.
    pub at: i64,
    pub cost: i64,
    /// Whether this counter has counted it, and does not only have limits that it has taken from.
    pub is_counted: bool,
    /// Whether what it really cost is known.
    pub is_settled: bool,
    pub takes: Box<[Take]>,
}

/// How long requests are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub ms: i64,
    pub most: usize,
}

/// Those of a counter, the oldest first.
#[derive(Debug, Default)]
pub struct Requests {
    all: VecDeque<Request>,
    /// Where each stands, counted from the first that ever was.
    places: HashTable<u32>,
    /// The number of the oldest.
    first: u32,
}

impl Clone for Requests {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        self.all.iter().for_each(|request| clone.put(request.clone()));
        clone
    }
}

impl Requests {
    pub const NONE: &'static Self =
        &Self { all: VecDeque::new(), places: HashTable::new(), first: 0 };

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Request> {
        self.all.iter()
    }

    fn place(&self, print: &Print) -> Option<usize> {
        let at = |number: u32| number.wrapping_sub(self.first) as usize;
        let is_it =
            |&number: &u32| self.all.get(at(number)).is_some_and(|request| request.print == *print);
        self.places.find(print.hash(), is_it).map(|&number| at(number))
    }

    pub fn get(&self, print: &Print) -> Option<&Request> {
        self.all.get(self.place(print)?)
    }

    /// How many of the oldest go when another one comes: those whose time is over, others where there are too many, and
    /// those up to one of the same id; and how many of these go before their time.
    pub fn going(&self, print: &Print, window: Window, now: i64) -> (usize, usize) {
        let is_over = |request: &&Request| request.at < now.saturating_sub(window.ms);
        let over = self.all.iter().take_while(is_over).count();
        // By a clock that was set back, one that is over can stand behind one that is not.
        let same = self.place(print).map_or(0, |place| place + 1);
        let many = (self.all.len() + 1).saturating_sub(window.most.max(1));
        // Not all at once, where the time of many is over, or the setting has become another.
        let gone = over.max(many).min(MOST_AT_ONCE).max(same);
        let going = self.all.iter().take(gone);
        (gone, going.filter(|request| !is_over(request)).count())
    }

    /// The oldest go.
    pub fn drop_oldest(&mut self, count: usize) {
        for _ in 0..count {
            let Some(request) = self.all.pop_front() else { return };
            let first = self.first;
            if let Ok(place) = self.places.find_entry(request.print.hash(), |&n| n == first) {
                place.remove();
            }
            self.first = first.wrapping_add(1);
        }
    }

    /// Another one, the latest; or what one that is there has become. Where a rate got back some of what that one had
    /// taken, its level was lower by as much behind each that came later.
    pub fn put(&mut self, request: Request) {
        let Some(place) = self.place(&request.print) else {
            let number = self.first.wrapping_add(u32::try_from(self.all.len()).unwrap_or(0));
            let (first, all) = (self.first, &self.all);
            let hash = |&number: &u32| {
                let request = all.get(number.wrapping_sub(first) as usize);
                request.map_or(0, |request| request.print.hash())
            };
            self.places.insert_unique(request.print.hash(), number, hash);
            self.all.push_back(request);
            return;
        };
        let before =
            self.all.get_mut(place).map(|before| std::mem::replace(before, request.clone()));
        for (old, new) in before.iter().flat_map(|before| before.takes.iter().zip(&request.takes)) {
            let given = old.after.saturating_sub(new.after);
            if given <= 0 || !matches!(old.limit.rule(), Rule::Rate { .. }) {
                continue;
            }
            for later in self.all.iter_mut().skip(place + 1).flat_map(|later| &mut later.takes) {
                if are_one(later.limit.bytes(), old.limit.bytes()) {
                    later.after = later.after.saturating_sub(given).max(0);
                }
            }
        }
    }

    /// What was taken from a limit so far is not to be given back: its level is measured in another way.
    pub(super) fn forget(&mut self, limit: &[u8]) {
        let takes = self.all.iter_mut().flat_map(|request| &mut request.takes);
        takes.filter(|take| are_one(take.limit.bytes(), limit)).for_each(|take| take.after = 0);
    }

    /// Lends the limits that they have taken from.
    pub(super) fn each_limit(&mut self, mut each: impl FnMut(&mut Arc<Limit>)) {
        self.all
            .iter_mut()
            .flat_map(|request| &mut request.takes)
            .for_each(|take| each(&mut take.limit));
    }

    /// Hands them over, but for the table of where they stand, which has no parts that could be lent.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        // A ring is a vector where its first stands first.
        let mut all = Vec::from(std::mem::take(&mut self.all));
        to.vec(&mut all);
        all.iter_mut().for_each(|request| to.slice(&mut request.takes));
        self.all = all.into();
    }

    /// Bytes that they have allocated.
    pub fn heap_bytes(&self) -> usize {
        let takes: usize = self.all.iter().map(|request| size_of_val(&*request.takes)).sum();
        self.all.capacity() * size_of::<Request>() + self.places.allocation_size() + takes
    }
}

impl Take {
    /// When it was taken.
    pub fn taken(&self, at: i64) -> Taken {
        Taken { at, after: self.after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::tests::Counting;
    use crate::limits::limit::tests::{limit, rate};

    fn request(id: u8, at: i64, after: i64) -> Request {
        let take = Take { limit: Arc::new(limit("a", rate(1, 1, 99))), units: 1, after };
        Request { takes: [take].into(), ..Request::plain(Print([id; 16]), at, 1) }
    }

    fn all(requests: &Requests) -> Vec<(u8, i64, i64)> {
        let told = |request: &Request| (request.print.0[0], request.at, request.takes[0].after);
        let listed: Vec<_> = requests.iter().map(told).collect();
        for (id, at, _) in &listed {
            assert_eq!(requests.get(&Print([*id; 16])).map(|request| request.at), Some(*at));
        }
        listed
    }

    #[test]
    fn the_oldest_go_when_they_are_over_or_too_many() {
        let mut requests = Requests::default();
        (1..=5).for_each(|id| requests.put(request(id, i64::from(id) * 10, 1)));
        let going = |requests: &Requests, id: u8, ms, most, now| {
            requests.going(&Print([id; 16]), Window { ms, most }, now)
        };
        assert_eq!(going(&requests, 9, 100, 9, 100), (0, 0));
        assert_eq!(going(&requests, 9, 80, 9, 100), (1, 0), "as old as the window is not over");
        assert_eq!(going(&requests, 9, 100, 5, 100), (1, 1));
        assert_eq!(going(&requests, 9, 80, 4, 100), (2, 1));
        assert_eq!(going(&requests, 9, 100, 0, 100), (5, 5), "there is always room for one");
        assert_eq!(going(&requests, 3, 80, 9, 100), (3, 2), "one of the same id goes");
        requests.drop_oldest(2);
        requests.put(request(6, 60, 1));
        assert_eq!(all(&requests), [(3, 30, 1), (4, 40, 1), (5, 50, 1), (6, 60, 1)]);
        assert_eq!(all(&requests.clone()), all(&requests));
        requests.drop_oldest(9);
        assert!(requests.is_empty() && requests.get(&Print([6; 16])).is_none());
    }

    #[test]
    fn all_but_the_table_is_handed_over() {
        let mut requests = Requests::default();
        (1..=4).for_each(|id| requests.put(request(id, 10, i64::from(id))));
        // The ring begins in its middle.
        requests.drop_oldest(2);
        (5..=6).for_each(|id| requests.put(request(id, 10, i64::from(id))));
        requests.put(Request::plain(Print([7; 16]), 10, 1));
        requests.drop_oldest(1);
        let (before, mut to) = (format!("{:?}", requests.all), Counting::default());
        requests.defrag(&mut to);
        assert_eq!(to.bytes, requests.heap_bytes() - requests.places.allocation_size());
        assert_eq!(to.allocations, 1 + 3);
        assert_eq!(format!("{:?}", requests.all), before);
        assert!((4..=7).all(|id| requests.get(&Print([id; 16])).is_some()));
    }

    #[test]
    fn what_one_gets_back_was_not_in_the_level_of_those_behind() {
        let mut requests = Requests::default();
        (1..=4).for_each(|id| requests.put(request(id, 10, i64::from(id))));
        let other = Arc::new(limit("b", rate(1, 1, 99)));
        requests.put(Request {
            takes: [Take { limit: other, units: 1, after: 9 }].into(),
            ..request(5, 10, 9)
        });
        requests.put(request(2, 10, 0));
        let now = [(1, 10, 1), (2, 10, 0), (3, 10, 1), (4, 10, 2), (5, 10, 9)];
        assert_eq!(all(&requests), now);
        requests.put(request(3, 10, 7));
        assert_eq!(all(&requests)[3..], now[3..], "more was taken");
        requests.forget(limit("a", rate(1, 1, 1)).bytes());
        assert_eq!(all(&requests).iter().map(|told| told.2).collect::<Vec<_>>(), [0, 0, 0, 0, 9]);
    }
}
