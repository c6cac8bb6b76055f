//! The limits that counters hold, each once: a plan's are the same for all of its keys.

use crate::limits::limit::Limit;
use ahash::AHashMap;
use std::sync::{Arc, Weak};

#[derive(Debug, Default)]
pub struct Known {
    limits: AHashMap<Box<[u8]>, Weak<Limit>>,
    /// As many there may be before those are looked for that nobody holds any more.
    room: usize,
}

/// Fewer are not looked through.
const LEAST_ROOM: usize = 64;

impl Known {
    /// The limit that has these bytes; `None` where none has.
    pub fn of(&mut self, bytes: &[u8]) -> Option<Arc<Limit>> {
        if let Some(limit) = self.limits.get(bytes).and_then(Weak::upgrade) {
            return Some(limit);
        }
        Some(self.keep(Limit::read(bytes)?))
    }

    /// Has a limit be the one that others hold, where that is the same.
    pub fn share(&mut self, limit: &mut Arc<Limit>) {
        if let Some(same) = self.of(limit.bytes()) {
            *limit = same;
        }
    }

    /// The same as a limit that may be known.
    pub fn keep(&mut self, limit: Limit) -> Arc<Limit> {
        if let Some(known) = self.limits.get(limit.bytes()).and_then(Weak::upgrade) {
            return known;
        }
        if self.limits.len() >= self.room {
            self.limits.retain(|_, limit| limit.strong_count() > 0);
            self.room = (2 * self.limits.len()).max(LEAST_ROOM);
            self.limits.shrink_to(self.room);
        }
        let limit = Arc::new(limit);
        self.limits.insert(limit.bytes().into(), Arc::downgrade(&limit));
        limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::limit::tests::{limit, rate};

    #[test]
    fn a_limit_is_held_once_and_forgotten_when_nobody_holds_it() {
        let mut known = Known::default();
        let one = known.keep(limit("a", rate(1, 1, 1)));
        assert!(Arc::ptr_eq(&one, &known.of(one.bytes()).unwrap()));
        assert!(Arc::ptr_eq(&one, &known.keep(limit("a", rate(1, 1, 1)))));
        assert!(known.of(b"nonsense").is_none());
        for burst in 2..1000 {
            known.keep(limit("a", rate(1, 1, burst)));
        }
        assert!(known.limits.len() <= LEAST_ROOM);
        assert!(Arc::ptr_eq(&one, &known.of(one.bytes()).unwrap()));
    }
}
