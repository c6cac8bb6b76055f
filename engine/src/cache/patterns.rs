//! Patterns of names that were invalidated: what keeps a reader that began before from storing such a key.
//!
//! The database is no part of it, as it is none of the fence, so that SWAPDB and MOVE need no word here.
//!
//! A pattern is kept as long as there can be a token that is older. With a pattern that goes whoever keeps them refuses
//! every token that is older than it, from then on: tokens may live longer some day, or the clock be set back. Where
//! there are more than [`MAX_PATTERNS`] all of them go before that.

use crate::cache::glob::Pattern;
use crate::invalidation::fence::Number;
use std::collections::VecDeque;

/// The most patterns that are kept.
pub const MAX_PATTERNS: usize = 64;

/// The most steps of comparing a name with one of them.
const STEPS: usize = 4096;

#[derive(Debug)]
struct Invalidated {
    pattern: Pattern,
    /// The tag of the region that it is of; empty where it is of all.
    region: Vec<u8>,
    number: Number,
    /// Epoch milliseconds.
    at: i64,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Patterns {
    /// The oldest first.
    all: VecDeque<Invalidated>,
}

impl Patterns {
    /// A pattern was invalidated, and that took this number. Where some have gone every token of before a number is to be
    /// refused, which is returned.
    #[must_use]
    pub fn invalidated(
        &mut self,
        pattern: Pattern,
        region: &[u8],
        number: Number,
        now: i64,
        token_ttl: i64,
    ) -> Option<Number> {
        let mut gone = None;
        self.all.retain(|other| {
            let is_kept = now.saturating_sub(other.at).unsigned_abs() <= token_ttl.unsigned_abs();
            if !is_kept {
                gone = gone.max(Some(other.number));
            }
            is_kept
        });
        if self.all.len() >= MAX_PATTERNS {
            self.all.clear();
            gone = Some(number);
        }
        self.all.push_back(Invalidated { pattern, region: region.to_vec(), number, at: now });
        gone
    }

    /// Whether a fill of this name may store what its reader found, who began at a number. A name that takes long to
    /// compare counts as one that fits, which costs a miss.
    pub fn accept(&self, began: Number, name: &[u8], region: &[u8]) -> bool {
        let covers = |of: &&Invalidated| {
            of.number > began
                && (of.region.is_empty() || of.region == region)
                && of.pattern.matches(name, &mut STEPS.clone()) != Some(false)
        };
        self.all.iter().find(covers).is_none()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::fence::{Fence, Token};

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn fills_that_began_before_are_refused_where_name_and_region_fit() {
        let mut patterns = Patterns::default();
        assert_eq!(patterns.invalidated(pattern("a:*"), b"", 5, 1_000, 100), None);
        assert_eq!(patterns.invalidated(pattern("b:*"), b"r", 6, 1_000, 100), None);
        for (began, name, region, is_accepted) in [
            (4, "a:1", "r", false),
            (5, "a:1", "r", true),
            (4, "c:1", "r", true),
            (5, "b:1", "r", false),
            (5, "b:1", "s", true),
            (6, "b:1", "r", true),
        ] {
            let accepts = patterns.accept(began, name.as_bytes(), region.as_bytes());
            assert_eq!(accepts, is_accepted, "{began} {name} {region}");
        }
    }

    #[test]
    fn patterns_go_with_the_last_token_that_is_older_or_all_tokens_with_them() {
        let mut patterns = Patterns::default();
        for number in 1..=MAX_PATTERNS as u64 {
            assert_eq!(patterns.invalidated(pattern("a"), b"", number, 1_000, 100), None);
        }
        assert_eq!(patterns.invalidated(pattern("a"), b"", 65, 1_100, 100), Some(65));
        assert_eq!(patterns.all.len(), 1);
        assert_eq!(patterns.invalidated(pattern("b"), b"", 66, 1_201, 100), Some(65));
        assert_eq!(patterns.all.len(), 1);
    }

    /// `token-ttl-ms` was raised, or the clock set back.
    #[test]
    fn what_a_pattern_refused_is_refused_though_it_has_gone_and_tokens_live_longer() {
        let (mut patterns, mut fence) = (Patterns::default(), Fence::new(9, 1));
        let early = fence.token(1_000);
        for (text, now) in [("a", 1_000), ("b", 2_000)] {
            fence.raise([]);
            let number = fence.current();
            if let Some(number) = patterns.invalidated(pattern(text), b"", number, now, 100) {
                fence.refuse_before(number);
            }
        }
        let accepts = |token: &Token, name: &[u8]| {
            fence.accepts(token, [], 2_000, 10_000) && patterns.accept(token.number(), name, b"r")
        };
        assert!(!accepts(&early, b"a") && !accepts(&early, b"b"));
        assert!(accepts(&fence.token(2_000), b"a"));
    }
}
