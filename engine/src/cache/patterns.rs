//! Patterns of names that were invalidated: what keeps a reader that began before from storing such a key.
//!
//! The database is no part of it, as it is none of the fence, so that SWAPDB and MOVE need no word here.
//!
//! A pattern is kept as long as there can be a token that is older. Of more than [`MAX_PATTERNS`] the oldest goes before
//! that: then whoever keeps them has to refuse every token of before.

use crate::cache::glob::Pattern;
use crate::invalidation::fence::Number;
use std::collections::VecDeque;

/// The most patterns that are kept.
pub const MAX_PATTERNS: usize = 64;

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
    /// A pattern was invalidated, and that took this number. True where one had to go before its time, and every token
    /// of before is to be refused.
    #[must_use]
    pub fn invalidated(
        &mut self,
        pattern: Pattern,
        region: &[u8],
        number: Number,
        now: i64,
        token_ttl: i64,
    ) -> bool {
        self.all.retain(|other| {
            now.saturating_sub(other.at).unsigned_abs() <= token_ttl.unsigned_abs()
        });
        let is_full = self.all.len() >= MAX_PATTERNS;
        if is_full {
            self.all.clear();
        }
        self.all.push_back(Invalidated { pattern, region: region.to_vec(), number, at: now });
        is_full
    }

    /// Whether a fill of this name may store what its reader found, who began at a number.
    pub fn accept(&self, began: Number, name: &[u8], region: &[u8]) -> bool {
        let covers = |of: &&Invalidated| {
            of.number > began
                && (of.region.is_empty() || of.region == region)
                && of.pattern.matches(name)
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

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn fills_that_began_before_are_refused_where_name_and_region_fit() {
        let mut patterns = Patterns::default();
        assert!(!patterns.invalidated(pattern("a:*"), b"", 5, 1_000, 100));
        assert!(!patterns.invalidated(pattern("b:*"), b"r", 6, 1_000, 100));
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
            assert!(!patterns.invalidated(pattern("a"), b"", number, 1_000, 100));
        }
        assert!(patterns.invalidated(pattern("a"), b"", 65, 1_100, 100));
        assert_eq!(patterns.all.len(), 1);
        assert!(!patterns.invalidated(pattern("b"), b"", 66, 1_201, 100));
        assert_eq!(patterns.all.len(), 1);
    }
}
