//! The latest requests that were counted under an id, so that one which is repeated counts once, and what it really
//! cost can be settled.

use crate::limits::level::Taken;
use crate::limits::limit::{Limit, Rule};
use hashbrown::HashTable;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most bytes of an id; the least is 1.
pub const MAX_ID_BYTES: usize = 64;

/// The most ids that any counter may keep, whatever `max-request-ids` says.
pub const MAX_REQUESTS: usize = 16_384;

/// An id: the first half of the SHA-256 of what it is an id of, and its bytes. So it is the same on every node, and nobody
/// finds two ids with the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(pub [u8; 16]);

impl Print {
    /// That of a request that was counted.
    pub fn of_use(id: &[u8]) -> Self {
        Self::of(b"apikey:use:", id)
    }

    /// That of credits that were given.
    pub fn of_credit(id: &[u8]) -> Self {
        Self::of(b"apikey:credit:", id)
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
        let gone = over.max(same).max(many);
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
                if later.limit.name() == old.limit.name() {
                    later.after = later.after.saturating_sub(given).max(0);
                }
            }
        }
    }

    /// What was taken from a limit so far is not to be given back: its level is measured in another way.
    pub(super) fn forget(&mut self, limit: &[u8]) {
        let takes = self.all.iter_mut().flat_map(|request| &mut request.takes);
        takes.filter(|take| take.limit.name() == limit).for_each(|take| take.after = 0);
    }

    /// Lends the limits that they have taken from.
    pub(super) fn each_limit(&mut self, mut each: impl FnMut(&mut Arc<Limit>)) {
        self.all
            .iter_mut()
            .flat_map(|request| &mut request.takes)
            .for_each(|take| each(&mut take.limit));
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
