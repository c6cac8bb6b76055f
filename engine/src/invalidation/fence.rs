//! The fence: what keeps a reader that raced with an invalidation from storing what it read.
//!
//! A reader that misses gets a [`Token`]: the run of this node, the number that was current, the time.
//! Every invalidation, every write without a token and every flush takes the next number; what takes
//! it for a tag or a key writes it into the slot of its hash, a flush raises a floor under all slots.
//! A fill names its token, and is refused when the run is another, when the token is too old, or when
//! the floor, or the slot of the key or of a tag of the new entry, is newer than the token.
//!
//! **What always holds.** Numbers never go backwards within a run, and a slot never does either. So
//! a fill that is accepted began after everything that touched its key or one of its tags.
//!
//! **Cost.** A fixed table, nothing to forget, constant time. Two names that share a slot cost one
//! refusal more, and with it a miss; they never accept what is stale. The database is no part of the
//! hash, so that SWAPDB and MOVE need no word here.
//!
//! A token that a late fill must still find valid is the idea of the leases in "Scaling Memcache at
//! Facebook" (Nishtala et al., NSDI 2013), with one table in place of a lease for each key.

use crate::tags::fingerprint::Fingerprint;

/// Counts what happens on this node.
pub type Number = u64;

/// Shows a fill when its reader began. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    run: u64,
    number: Number,
    /// Epoch milliseconds.
    time: i64,
}

/// What a client gave is not the text of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoToken;

impl Token {
    /// The token that every fill refuses, for where there is none to give.
    pub const REFUSED: Self = Self { run: 0, number: 0, time: 0 };

    /// The number that was current when its reader began.
    pub fn number(&self) -> Number {
        self.number
    }

    /// `run-number-time` in hex; 0 for [`Token::REFUSED`].
    pub fn text(&self) -> String {
        if *self == Self::REFUSED {
            return "0".into();
        }
        format!("{:016x}-{:x}-{:x}", self.run, self.number, self.time)
    }

    pub fn parse(text: &[u8]) -> Result<Self, NoToken> {
        if text == b"0" {
            return Ok(Self::REFUSED);
        }
        let text = std::str::from_utf8(text).map_err(|_| NoToken)?;
        let mut parts = text.split('-');
        let (Some(run), Some(number), Some(time), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken);
        };
        let token = Self {
            run: u64::from_str_radix(run, 16).map_err(|_| NoToken)?,
            number: u64::from_str_radix(number, 16).map_err(|_| NoToken)?,
            time: i64::from_str_radix(time, 16).map_err(|_| NoToken)?,
        };
        // One text for each token: no signs, no leading zeros, no capitals.
        if token.text() == text {
            Ok(token)
        } else {
            Err(NoToken)
        }
    }
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Fence {
    run: u64,
    current: Number,
    floor: Number,
    slots: Box<[Number]>,
}

impl Fence {
    /// A fence of so many slots (at least one). `run` has to be random: another one at each start.
    pub fn new(run: u64, slots: usize) -> Self {
        let slots = vec![0; slots.max(1)].into_boxed_slice();
        Self { run: Self::some_run(run), current: 0, floor: 0, slots }
    }

    /// Begins another run: all tokens of the one before are refused.
    pub fn begin_run(&mut self, run: u64) {
        self.run = Self::some_run(run);
    }

    /// 0 is the run of the token that is always refused.
    fn some_run(run: u64) -> u64 {
        run.max(1)
    }

    /// The run as [`Token::text`] writes it.
    pub fn run_text(&self) -> String {
        format!("{:016x}", self.run)
    }

    /// The number that was taken last.
    pub fn current(&self) -> Number {
        self.current
    }

    /// A token for a reader that begins at `now`.
    pub fn token(&self, now: i64) -> Token {
        Token { run: self.run, number: self.current, time: now }
    }

    /// Something happened to these keys and tags: no fill that began before may store one of them.
    pub fn raise(&mut self, names: impl IntoIterator<Item = Fingerprint>) {
        self.current += 1;
        for name in names {
            let slot = self.slot(name);
            if let Some(number) = self.slots.get_mut(slot) {
                *number = self.current;
            }
        }
    }

    /// Refuses every token from before a number that was taken.
    pub fn refuse_before(&mut self, number: Number) {
        self.floor = self.floor.max(number.min(self.current));
    }

    /// Something happened to everything.
    pub fn raise_all(&mut self) {
        self.current += 1;
        self.floor = self.current;
    }

    /// Whether a fill of an entry with this key and these tags may store what its reader found, `now`,
    /// if tokens live for `ttl` milliseconds. A clock that is set back refuses what it gave before.
    pub fn accepts(
        &self,
        token: &Token,
        names: impl IntoIterator<Item = Fingerprint>,
        now: i64,
        ttl: i64,
    ) -> bool {
        let age = now.checked_sub(token.time);
        token.run == self.run
            && token.number <= self.current
            && token.number >= self.floor
            && age.is_some_and(|age| (0..=ttl).contains(&age))
            && names.into_iter().all(|name| {
                self.slots.get(self.slot(name)).is_some_and(|&number| number <= token.number)
            })
    }

    fn slot(&self, name: Fingerprint) -> usize {
        name.hash() as usize % self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::fingerprint::Fingerprints;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const TTL: i64 = 30_000;

    fn name(n: u32) -> Fingerprint {
        Fingerprints::new([3; 16]).of(&n.to_le_bytes())
    }

    #[test]
    fn a_fill_that_began_before_its_key_or_a_tag_was_touched_is_refused() {
        let (key, tag, other) = (name(1), name(2), name(3));
        let mut fence = Fence::new(7, 65_536);
        let before = fence.token(1000);
        assert!(fence.accepts(&before, [key, tag], 1000, TTL));
        fence.raise([tag]);
        assert!(!fence.accepts(&before, [key, tag], 1000, TTL));
        assert!(fence.accepts(&before, [key, other], 1000, TTL), "what was not touched goes on");
        let after = fence.token(1000);
        assert!(fence.accepts(&after, [key, tag], 1000, TTL));
        fence.raise([key]);
        assert!(!fence.accepts(&after, [key, other], 1000, TTL));
    }

    #[test]
    fn tokens_die_with_their_time_a_flush_and_their_run() {
        let mut fence = Fence::new(7, 16);
        let token = fence.token(1000);
        assert!(fence.accepts(&token, [], 1000 + TTL, TTL));
        assert!(!fence.accepts(&token, [], 1001 + TTL, TTL));
        assert!(!fence.accepts(&token, [], 999, TTL), "from the future");
        assert!(!fence.accepts(&Token { time: i64::MIN, ..token }, [], 1000, TTL));
        assert!(!fence.accepts(&Token { number: 1, ..token }, [], 1000, TTL), "never given");
        fence.raise_all();
        assert!(!fence.accepts(&token, [], 1000, TTL));
        let token = fence.token(1000);
        assert!(fence.accepts(&token, [], 1000, TTL));
        fence.begin_run(8);
        assert!(!fence.accepts(&token, [], 1000, TTL));
        assert!(!Fence::new(0, 1).accepts(&Token::REFUSED, [], 0, TTL));
    }

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is() {
        let token = Token { run: u64::MAX, number: 255, time: 1_795_271_886_851 };
        assert_eq!(token.text(), "ffffffffffffffff-ff-1a1fe8b0803");
        assert_eq!(Token::parse(token.text().as_bytes()), Ok(token));
        assert_eq!(Token::parse(b"0"), Ok(Token::REFUSED));
        for text in [
            "",
            "x",
            "1-2-3",
            "00",
            "ffffffffffffffff-ff",
            "ffffffffffffffff-ff-1-1",
            "ffffffffffffffff-0ff-1",
            "ffffffffffffffff-FF-1",
            "ffffffffffffffff-+f-1",
            "fffffffffffffffff-ff-1",
            "ffffffffffffffff-ff--1",
            "0000000000000000-0-0",
        ] {
            assert_eq!(Token::parse(text.as_bytes()), Err(NoToken), "{text}");
        }
    }

    proptest! {
        /// Against a model that remembers for each name when it was last touched.
        #[test]
        fn a_fill_is_never_accepted_where_the_model_refuses_it(
            slots in 1usize..40,
            steps in proptest::collection::vec((0u8..4, 0u32..30, 0u32..30), 0..200),
        ) {
            let mut fence = Fence::new(1, slots);
            let (mut step_of, mut flushed): (HashMap<u32, usize>, Option<usize>) = Default::default();
            let mut tokens = Vec::new();
            for (at, (kind, one, two)) in steps.into_iter().enumerate() {
                match kind {
                    0 => tokens.push((at, fence.token(0))),
                    1 => {
                        fence.raise([name(one), name(two)]);
                        step_of.extend([(one, at), (two, at)]);
                    }
                    2 if one == 0 => {
                        fence.raise_all();
                        flushed = Some(at);
                    }
                    _ => {
                        for &(began, token) in &tokens {
                            let touched = [step_of.get(&one), step_of.get(&two), flushed.as_ref()];
                            let stale = touched.into_iter().flatten().any(|&at| at > began);
                            let accepted = fence.accepts(&token, [name(one), name(two)], 0, TTL);
                            prop_assert!(!(stale && accepted));
                        }
                    }
                }
            }
        }
    }
}
