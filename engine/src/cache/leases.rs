//! Who loads what is missing: of several readers of a key one, and the others wait.
//!
//! A reader that misses is given the *lease* of the key with its token. It ends when something is stored under the key,
//! when its holder gives it back, when the key or its region is invalidated (the fence says so), or by its time. Whoever
//! gives one back for having failed can have the next reader wait a while; that pause ends by the same.
//!
//! **What always holds.** Of one node at most one reader has the lease of a key at a time. Nobody waits for longer than the
//! longest lease or pause: a time that lies too far ahead is one of a clock that was set back, and counts as over.
//!
//! **Cost.** A table of a fixed size, of [`WAYS`] leases for each place that a key can hash to. Where all of them are
//! taken the one that ends the soonest gives way: its key gets one reader more, and nothing else. The table is
//! allocated with the first lease. Nothing of it is stored or replicated: it is gone with a restart.
//!
//! Leases against a stampede of readers are an idea of "Scaling Memcache at Facebook" (Nishtala et al., NSDI 2013).

use crate::invalidation::fence::Token;

/// The longest lease, and the longest pause after a failure, in milliseconds.
pub const MAX_LEASE_MS: i64 = 600_000;

/// Leases for each place that a key can hash to.
const WAYS: usize = 4;

/// What a reader is told to wait at least and at most before it asks again, in milliseconds.
const LEAST_WAIT_MS: i64 = 5;
const MOST_WAIT_MS: i64 = 1_000;

/// A key, as leases know it: a hash under a secret key.
pub type KeyHash = u64;

#[derive(Clone, Copy, Debug)]
struct Lease {
    key: KeyHash,
    /// Its holder's; of a pause, that of who failed.
    token: Token,
    is_pause: bool,
    from: i64,
    until: i64,
}

// As settings.md says.
const _: () = assert!(size_of::<Lease>() == 56);

const NONE: Lease =
    Lease { key: 0, token: Token::REFUSED, is_pause: false, from: 0, until: i64::MIN };

impl Lease {
    fn is_open(&self, now: i64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// What a reader is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The lease is its own.
    Given,
    /// Another has it: to be asked again after so many milliseconds.
    Wait(i64),
}

/// See the top of this file.
#[derive(Debug)]
pub struct Leases {
    /// None until there is one.
    table: Box<[Lease]>,
    size: usize,
}

impl Leases {
    /// A table of so many leases, or a few more.
    pub fn new(size: usize) -> Self {
        Self { table: Box::default(), size: size.max(1).next_multiple_of(WAYS) }
    }

    /// The leases that a key can have.
    fn ways(&mut self, key: KeyHash) -> &mut [Lease] {
        let sets = (self.table.len() / WAYS).max(1) as u64;
        let from = (key % sets) as usize * WAYS;
        self.table.get_mut(from..from + WAYS).unwrap_or_default()
    }

    /// Somebody reads what is missing, or is to be refreshed, and would load it under the token. `is_valid` says of a
    /// token whether a fill under it would be stored.
    pub fn ask(
        &mut self,
        key: KeyHash,
        token: Token,
        now: i64,
        lease_ms: i64,
        is_valid: impl Fn(&Token) -> bool,
    ) -> Asked {
        if self.table.is_empty() {
            self.table = vec![NONE; self.size].into_boxed_slice();
        }
        let ways = self.ways(key);
        let is_held =
            |lease: &Lease| lease.key == key && lease.is_open(now) && is_valid(&lease.token);
        if let Some(held) = ways.iter().find(|lease| is_held(lease)) {
            let waited = now.saturating_sub(held.from).clamp(LEAST_WAIT_MS, MOST_WAIT_MS);
            return Asked::Wait(waited.min(held.until.saturating_sub(now)).max(1));
        }
        let until = now.saturating_add(lease_ms.min(MAX_LEASE_MS));
        let lease = Lease { key, token, is_pause: false, from: now, until };
        let own = ways.iter().position(|lease| lease.key == key);
        let least = || {
            let ends =
                ways.iter().map(|lease| if lease.is_open(now) { lease.until } else { i64::MIN });
            (0..).zip(ends).min_by_key(|(_, end)| *end).map(|(at, _)| at)
        };
        if let Some(way) = own.or_else(least).and_then(|at| ways.get_mut(at)) {
            *way = lease;
        }
        Asked::Given
    }

    /// Something was stored under the key: nobody waits for it any more.
    pub fn end(&mut self, key: KeyHash) {
        self.ways(key).iter_mut().filter(|lease| lease.key == key).for_each(|lease| *lease = NONE);
    }

    /// The holder of the token gives the lease of a key back; others wait for so many milliseconds more. False where the
    /// lease is not its own, or has ended.
    pub fn give_back(&mut self, key: KeyHash, token: &Token, now: i64, pause_ms: i64) -> bool {
        let is_held = |lease: &&mut Lease| {
            lease.key == key && !lease.is_pause && lease.token == *token && lease.is_open(now)
        };
        if *token == Token::REFUSED {
            return false;
        }
        let Some(lease) = self.ways(key).iter_mut().find(is_held) else { return false };
        let until = now.saturating_add(pause_ms.clamp(0, MAX_LEASE_MS));
        *lease = Lease { is_pause: true, from: now, until, ..*lease };
        true
    }

    /// Whether there never was one.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes that the table has allocated.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::fence::Fence;
    use proptest::prelude::*;

    fn token(number: u64) -> Token {
        let mut fence = Fence::new(9, 1);
        (0..number).for_each(|_| fence.raise([]));
        fence.token(5)
    }

    const ALWAYS: fn(&Token) -> bool = |_| true;

    #[test]
    fn one_reader_has_the_lease_and_the_others_wait_until_it_ends() {
        let mut leases = Leases::new(64);
        assert_eq!(leases.bytes(), 0);
        assert_eq!(leases.ask(7, token(1), 100, 1_000, ALWAYS), Asked::Given);
        assert_eq!(leases.ask(7, token(1), 100, 1_000, ALWAYS), Asked::Wait(5));
        assert_eq!(leases.ask(7, token(1), 400, 1_000, ALWAYS), Asked::Wait(300));
        assert_eq!(leases.ask(7, token(1), 1_099, 1_000, ALWAYS), Asked::Wait(1));
        assert_eq!(leases.ask(8, token(1), 1_099, 1_000, ALWAYS), Asked::Given);
        // Its holder died.
        assert_eq!(leases.ask(7, token(2), 1_100, 1_000, ALWAYS), Asked::Given);
        leases.end(7);
        assert_eq!(leases.ask(7, token(3), 1_101, 1_000, ALWAYS), Asked::Given);
        // What was invalidated.
        assert_eq!(leases.ask(7, token(4), 1_102, 1_000, |_| false), Asked::Given);
    }

    #[test]
    fn who_fails_gives_it_back_and_others_may_try_after_a_pause() {
        let mut leases = Leases::new(64);
        leases.ask(7, token(1), 100, 1_000, ALWAYS);
        assert!(!leases.give_back(7, &token(2), 200, 0));
        assert!(!leases.give_back(8, &token(1), 200, 0));
        assert!(!leases.give_back(7, &Token::REFUSED, 200, 0));
        assert!(leases.give_back(7, &token(1), 200, 50));
        assert!(!leases.give_back(7, &token(1), 210, 50));
        assert_eq!(leases.ask(7, token(2), 249, 1_000, ALWAYS), Asked::Wait(1));
        assert_eq!(leases.ask(7, token(2), 250, 1_000, ALWAYS), Asked::Given);
        assert!(leases.give_back(7, &token(2), 300, 0));
        assert_eq!(leases.ask(7, token(3), 300, 1_000, ALWAYS), Asked::Given);
        assert!(!leases.give_back(7, &token(3), 1_300, 0), "it is over");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let mut leases = Leases::new(4);
        leases.ask(7, token(1), 1_000_000, 1_000, ALWAYS);
        assert_eq!(leases.ask(7, token(1), 10, 1_000, ALWAYS), Asked::Given);
        assert_eq!(leases.ask(7, token(1), 11, i64::MAX, ALWAYS), Asked::Wait(5));
        assert_eq!(leases.ask(7, token(1), 10 + 1_000, i64::MAX, ALWAYS), Asked::Given);
        assert_eq!(leases.ask(7, token(1), 1_010 + MAX_LEASE_MS, 1, ALWAYS), Asked::Given);
    }

    proptest! {
        /// Against a table of all keys: two of which share their leases.
        #[test]
        fn a_collision_costs_a_reader_and_never_a_wait_that_nobody_had_made(
            asks in proptest::collection::vec((0u64..9, 0i64..50), 1..200)
        ) {
            let mut leases = Leases::new(4);
            let mut given = std::collections::HashMap::new();
            let mut now = 0;
            for (key, pause) in asks {
                now += pause;
                match leases.ask(key, token(1), now, 100, ALWAYS) {
                    Asked::Given => { given.insert(key, now); }
                    Asked::Wait(ms) => {
                        let from = given[&key];
                        prop_assert!(now < from + 100 && ms >= 1 && now + ms <= from + 100);
                    }
                }
            }
        }
    }
}
