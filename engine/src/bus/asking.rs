//! A question on its way: which nodes have still to answer it, and what the others have said.
//!
//! A message can be lost with the link that had it, so a question is sent again until it is answered, or its time is
//! over. A node that gets one twice answers both times the same ([`crate::bus::asked`]); of two answers the first
//! counts.

use crate::usage::id::Id;
use std::time::{Duration, Instant};

/// How long an answer may take before the question is sent again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Questions that one client has asked, in as many messages as they needed.
#[derive(Debug)]
pub struct Asking<N> {
    parts: Vec<Part>,
    /// Who has still to answer which part.
    open: Vec<(N, usize)>,
    sum: u64,
    nodes: usize,
    ends_at: Instant,
    again_at: Instant,
}

#[derive(Debug)]
struct Part {
    id: Id,
    message: Vec<u8>,
}

impl<N: Copy + PartialEq> Asking<N> {
    /// Messages, each with its id, that all of the nodes are to answer until `ends_at`.
    pub fn new(parts: Vec<(Id, Vec<u8>)>, nodes: &[N], now: Instant, ends_at: Instant) -> Self {
        let parts: Vec<Part> =
            parts.into_iter().map(|(id, message)| Part { id, message }).collect();
        let open = nodes.iter().flat_map(|&node| (0..parts.len()).map(move |part| (node, part)));
        let open = open.collect();
        Self { parts, open, sum: 0, nodes: nodes.len(), ends_at, again_at: now + PATIENCE }
    }

    /// What has still to be sent, to whom.
    pub fn open(&self) -> impl Iterator<Item = (N, &[u8])> {
        self.open
            .iter()
            .filter_map(|&(node, part)| Some((node, self.parts.get(part)?.message.as_slice())))
    }

    /// A node has answered; false where it was not asked that, or has answered before.
    pub fn answered(&mut self, by: N, id: Id, count: u64) -> bool {
        let Some(part) = self.parts.iter().position(|part| part.id == id) else { return false };
        let Some(at) = self.open.iter().position(|open| *open == (by, part)) else { return false };
        self.open.swap_remove(at);
        self.sum = self.sum.saturating_add(count);
        true
    }

    /// Whether all have answered.
    pub fn is_answered(&self) -> bool {
        self.open.is_empty()
    }

    /// What they have said, together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many nodes were asked.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Who has not answered all.
    pub fn missing(&self) -> Vec<N> {
        let mut missing = Vec::new();
        for &(node, _) in &self.open {
            if !missing.contains(&node) {
                missing.push(node);
            }
        }
        missing
    }

    /// Whether it is to be given up.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.ends_at
    }

    /// Whether what is [open](Self::open) is to be sent again; it is then, for now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.again_at;
        if is_due {
            self.again_at = now + PATIENCE;
        }
        is_due
    }

    /// When to look at it again.
    pub fn next_look(&self) -> Instant {
        self.again_at.min(self.ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::asked::Asked;
    use proptest::prelude::*;

    fn id(number: u8) -> Id {
        Id::from_bytes([number; 16]).unwrap()
    }

    #[test]
    fn all_nodes_answer_each_part_once() {
        let now = Instant::now();
        let ends_at = now + Duration::from_millis(120);
        let parts = vec![(id(1), b"one".to_vec()), (id(2), b"two".to_vec())];
        let mut asking = Asking::new(parts, &['a', 'b'], now, ends_at);
        assert_eq!(asking.open().count(), 4);
        assert!(asking.answered('a', id(1), 5));
        assert!(!asking.answered('a', id(1), 7), "twice");
        assert!(!asking.answered('c', id(1), 7), "not asked");
        assert!(!asking.answered('a', id(3), 7), "another question");
        assert!(asking.answered('a', id(2), 1) && asking.answered('b', id(2), 0));
        assert_eq!(asking.open().collect::<Vec<_>>(), [('b', &b"one"[..])]);
        assert_eq!((asking.missing(), asking.is_answered()), (vec!['b'], false));
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(asking.next_look(), at(50));
        assert!(!asking.is_due(at(49)) && asking.is_due(at(60)) && !asking.is_due(at(61)));
        assert_eq!(asking.next_look(), at(110));
        assert!(!asking.is_over(at(119)) && asking.is_over(at(120)));
        assert!(asking.answered('b', id(1), 3));
        assert_eq!((asking.is_answered(), asking.sum(), asking.nodes()), (true, 9, 2));
    }

    proptest! {
        /// Whatever is lost, doubled or late: an answer counts what was done, or there is none.
        #[test]
        fn a_sum_is_what_was_done(
            // Which of a node's messages arrive: (node, part, how often, whether the answers do).
            fates in proptest::collection::vec((0u8..3, 0u8..2, 1usize..3, any::<bool>()), 0..40),
            has in proptest::collection::vec(0u64..5, 6),
        ) {
            let now = Instant::now();
            let parts = vec![(id(1), vec![1]), (id(2), vec![2])];
            let mut asking = Asking::new(parts, &[0u8, 1, 2], now, now);
            let mut nodes: Vec<(Asked, Vec<u64>)> =
                (0..3).map(|node| (Asked::default(), has[node * 2..node * 2 + 2].to_vec())).collect();
            for (node, part, times, returns) in fates {
                if !asking.open().any(|(to, message)| to == node && message == [part + 1]) {
                    continue;
                }
                let (asked, left) = &mut nodes[node as usize];
                for _ in 0..times {
                    // What is done once is not there to be done again.
                    let count = asked.once(id(part + 1), || std::mem::take(&mut left[part as usize]));
                    if returns {
                        asking.answered(node, id(part + 1), count);
                    }
                }
            }
            if asking.is_answered() {
                prop_assert_eq!(asking.sum(), has.iter().sum::<u64>());
                prop_assert!(nodes.iter().all(|(_, left)| left.iter().all(|left| *left == 0)));
            }
        }
    }
}
