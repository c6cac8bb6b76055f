//! What a node was asked lately, and has answered or is at work at: one that is asked the same again says the same
//! again, and does nothing.

use crate::usage::id::Id;
use ahash::AHashMap;
use std::collections::VecDeque;

/// The latest answers that are kept: of more questions than the nodes of a cluster ask in the time for which one is
/// repeated.
const MOST: usize = 8192;

/// What became of a question before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: it is new, and at work from now on.
    New,
    /// It is at work still.
    AtWork,
    /// It was answered so; `None` where it never will be.
    Done(Option<u64>),
}

#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `None` where it is at work.
    answers: AHashMap<[u8; 16], Option<Option<u64>>>,
    /// The oldest first.
    order: VecDeque<[u8; 16]>,
}

impl Asked {
    /// A question has come. Where it is new, who does it says when it is [done](Self::done).
    pub fn begin(&mut self, id: Id) -> Before {
        let id = id.to_bytes();
        match self.answers.get(&id) {
            Some(Some(answer)) => return Before::Done(*answer),
            Some(None) => return Before::AtWork,
            None => {}
        }
        if self.order.len() >= MOST {
            self.forget_oldest();
        }
        self.order.push_back(id);
        self.answers.insert(id, None);
        Before::New
    }

    /// Forgets the oldest that is not at work.
    fn forget_oldest(&mut self) {
        for _ in 0..self.order.len() {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.answers.get(&oldest) != Some(&None) {
                self.answers.remove(&oldest);
                return;
            }
            self.order.push_back(oldest);
        }
    }

    /// What a question asks for is done; `None` where it could not be, and nothing is to be answered.
    pub fn done(&mut self, id: Id, answer: Option<u64>) {
        if let Some(known) = self.answers.get_mut(&id.to_bytes()) {
            *known = Some(answer);
        }
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
        for number in 0..MOST as u64 {
            assert_eq!(asked.begin(id(number)), Before::New);
            assert_eq!(asked.begin(id(number)), Before::AtWork);
            // Every other is at work for long.
            if number % 2 == 0 {
                asked.done(id(number), Some(number).filter(|number| *number > 0));
            }
        }
        assert_eq!(asked.begin(id(0)), Before::Done(None));
        assert_eq!(asked.begin(id(2)), Before::Done(Some(2)));
        for number in 0..MOST as u64 / 2 {
            assert_eq!(asked.begin(id(MOST as u64 + number)), Before::New);
            asked.done(id(MOST as u64 + number), Some(0));
        }
        // The oldest are forgotten, and what becomes of them.
        assert_eq!(asked.begin(id(1)), Before::AtWork);
        asked.done(id(2), Some(6));
        assert_eq!(asked.begin(id(2)), Before::New);
        assert_eq!((asked.answers.len(), asked.order.len()), (MOST, MOST));
    }
}
