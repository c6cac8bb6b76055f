//! What a node was asked lately, and has answered: one that is asked the same again says the same again, and does
//! nothing.

use crate::usage::id::Id;
use ahash::AHashMap;
use std::collections::VecDeque;

/// The latest answers that are kept: of more questions than the nodes of a cluster ask in the time for which one is
/// repeated.
const MOST: usize = 8192;

#[derive(Debug, Default)]
pub struct Asked {
    answers: AHashMap<[u8; 16], u64>,
    /// The oldest first.
    order: VecDeque<[u8; 16]>,
}

impl Asked {
    /// Does what a question asks for, unless it was done before; returns the answer.
    pub fn once(&mut self, id: Id, act: impl FnOnce() -> u64) -> u64 {
        let id = id.to_bytes();
        if let Some(&count) = self.answers.get(&id) {
            return count;
        }
        let count = act();
        if self.order.len() >= MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
        self.order.push_back(id);
        self.answers.insert(id, count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_not_done_again_for_a_while() {
        let mut asked = Asked::default();
        let id = |number: u64| {
            let mut bytes = [1; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Id::from_bytes(bytes).unwrap()
        };
        assert_eq!(asked.once(id(0), || 5), 5);
        assert_eq!(asked.once(id(0), || panic!("again")), 5);
        for number in 1..MOST as u64 {
            asked.once(id(number), || 0);
        }
        assert_eq!(asked.once(id(0), || panic!("again")), 5);
        asked.once(id(MOST as u64), || 0);
        assert_eq!(asked.once(id(0), || 7), 7);
        assert_eq!((asked.answers.len(), asked.order.len()), (MOST, MOST));
    }
}
