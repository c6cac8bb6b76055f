//! A question on its way: which nodes have still to answer it, and what the others have said.
//!
//! A message can be lost with the link that had it, so a question is sent again until it is answered, or its time is
//! over. A node that gets one twice answers both times the same ([`crate::bus::asked`]); of two answers the first
//! counts.

use crate::usage::id::Id;
use std::time::{Duration, Instant};

/// How long an answer may take before the question is sent again for the first time; then each time twice as long, since
/// what waits in a link that nobody reads is memory of this node's.
const PATIENCE: Duration = Duration::from_millis(50);

/// Questions that one client has asked, in as many messages as they needed.
#[derive(Clone, Debug)]
pub struct Asking<N> {
    parts: Vec<Part>,
    open: Vec<Open<N>>,
    /// Whether the node that asks has done its own part.
    is_done_here: bool,
    sum: u64,
    timeout: Duration,
    again_at: Instant,
    patience: Duration,
}

#[derive(Clone, Debug)]
struct Part {
    id: Id,
    message: Vec<u8>,
}

/// Who has still to answer which part, and until when.
#[derive(Clone, Debug)]
struct Open<N> {
    node: N,
    part: usize,
    ends_at: Instant,
}

impl<N: Copy + PartialEq> Asking<N> {
    /// Messages, each with its id, that all of the nodes are to answer in time.
    pub fn new(parts: Vec<(Id, Vec<u8>)>, nodes: &[N], now: Instant, timeout: Duration) -> Self {
        let parts: Vec<Part> =
            parts.into_iter().map(|(id, message)| Part { id, message }).collect();
        let ends_at = now + timeout;
        let each = |&node| (0..parts.len()).map(move |part| Open { node, part, ends_at });
        let open = nodes.iter().flat_map(each).collect();
        let (again_at, patience) = (now + PATIENCE, PATIENCE);
        Self { parts, open, is_done_here: false, sum: 0, timeout, again_at, patience }
    }

    /// What has still to be sent, to whom.
    pub fn open(&self) -> impl Iterator<Item = (N, &[u8])> {
        self.open
            .iter()
            .filter_map(|open| Some((open.node, self.parts.get(open.part)?.message.as_slice())))
    }

    fn position(&self, by: N, id: Id) -> Option<usize> {
        let part = self.parts.iter().position(|part| part.id == id)?;
        self.open.iter().position(|open| open.node == by && open.part == part)
    }

    /// A node has answered; false where it was not asked that, or has answered before.
    pub fn answered(&mut self, by: N, id: Id, count: u64) -> bool {
        let Some(at) = self.position(by, id) else { return false };
        self.open.swap_remove(at);
        self.sum = self.sum.saturating_add(count);
        true
    }

    /// A node is at work, and has its time anew.
    pub fn is_at_work(&mut self, by: N, id: Id, now: Instant) {
        let ends_at = now + self.timeout;
        if let Some(open) = self.position(by, id).and_then(|at| self.open.get_mut(at)) {
            open.ends_at = ends_at;
        }
    }

    /// The node that asks has done its own part, for which it has any time.
    pub fn done_here(&mut self, count: u64) {
        self.is_done_here = true;
        self.sum = self.sum.saturating_add(count);
    }

    /// Whether all have answered.
    pub fn is_answered(&self) -> bool {
        self.is_done_here && self.open.is_empty()
    }

    /// What they have said, together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Who has not answered all.
    pub fn missing(&self) -> Vec<N> {
        let mut missing = Vec::new();
        for open in &self.open {
            if !missing.contains(&open.node) {
                missing.push(open.node);
            }
        }
        missing
    }

    /// Whether it is to be given up: somebody's time is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.open.iter().any(|open| now >= open.ends_at)
    }

    /// Whether what is [open](Self::open) is to be sent again; it is then, for now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.again_at;
        if is_due {
            // Who is at work has to be asked again in time to say so.
            let most = (self.timeout / 4).max(PATIENCE);
            self.patience = self.patience.saturating_mul(2).min(most);
            self.again_at = now + self.patience;
        }
        is_due
    }

    /// When to look at it again; `None` where nobody is waited for but the node that asks.
    pub fn next_look(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.ends_at.min(self.again_at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::asked::{Asked, Before};
    use proptest::prelude::*;

    fn id(number: u8) -> Id {
        Id::from_bytes([number; 16]).unwrap()
    }

    #[test]
    fn all_nodes_answer_each_part_once() {
        let now = Instant::now();
        let timeout = Duration::from_millis(120);
        let parts = vec![(id(1), b"one".to_vec()), (id(2), b"two".to_vec())];
        let mut asking = Asking::new(parts, &['a', 'b'], now, timeout);
        assert_eq!(asking.open().count(), 4);
        assert!(asking.answered('a', id(1), 5));
        assert!(!asking.answered('a', id(1), 7), "twice");
        assert!(!asking.answered('c', id(1), 7), "not asked");
        assert!(!asking.answered('a', id(3), 7), "another question");
        assert!(asking.answered('a', id(2), 1) && asking.answered('b', id(2), 0));
        assert_eq!(asking.open().collect::<Vec<_>>(), [('b', &b"one"[..])]);
        assert_eq!((asking.missing(), asking.is_answered()), (vec!['b'], false));
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(asking.next_look(), Some(at(50)));
        assert!(!asking.is_due(at(49)) && asking.is_due(at(60)) && !asking.is_due(at(61)));
        assert_eq!(asking.next_look(), Some(at(110)));
        assert!(!asking.is_over(at(119)) && asking.is_over(at(120)));
        let mut later = Asking::new(vec![(id(1), vec![])], &['a'], now, Duration::from_secs(1));
        let sent: Vec<u64> = (0..1000).filter(|ms| later.is_due(at(*ms))).collect();
        assert_eq!(sent, [50, 150, 350, 600, 850]);
        // Who is at work has its time anew, for what it is at work at.
        for (by, id) in [('b', id(2)), ('a', id(1)), ('c', id(1)), ('b', id(3))] {
            asking.is_at_work(by, id, at(100));
        }
        assert!(asking.is_over(at(120)));
        asking.is_at_work('b', id(1), at(100));
        assert!(!asking.is_over(at(219)) && asking.is_over(at(220)));
        assert!(asking.answered('b', id(1), 3));
        assert_eq!(
            (asking.is_answered(), asking.next_look(), asking.is_over(at(900))),
            (false, None, false)
        );
        asking.done_here(7);
        assert_eq!((asking.is_answered(), asking.sum()), (true, 16));
    }

    proptest! {
        /// Whatever is lost, doubled or late: an answer counts what was done, or there is none.
        #[test]
        fn a_sum_is_what_was_done(
            // Which of a node's messages arrive: (node, part, how often, whether the answers do, and what is at
            // work is done).
            fates in proptest::collection::vec(
                (0u8..3, 0u8..2, 1usize..3, any::<bool>(), any::<bool>()), 0..60
            ),
            has in proptest::collection::vec(0u64..5, 6),
        ) {
            let now = Instant::now();
            let parts = vec![(id(1), vec![1]), (id(2), vec![2])];
            let mut asking = Asking::new(parts, &[0u8, 1, 2], now, Duration::ZERO);
            asking.done_here(0);
            let mut nodes: Vec<(Asked, Vec<u64>)> =
                (0..3).map(|node| (Asked::default(), has[node * 2..node * 2 + 2].to_vec())).collect();
            let mut done = Vec::new();
            for (node, part, times, returns, is_quick) in fates {
                if !asking.open().any(|(to, message)| to == node && message == [part + 1]) {
                    continue;
                }
                for _ in 0..times {
                    let (asked, left) = &mut nodes[node as usize];
                    let id = id(part + 1);
                    match asked.begin(id) {
                        // What is done once is not there to be done again.
                        Before::New => done.push((node, id, std::mem::take(&mut left[part as usize]))),
                        Before::AtWork => asking.is_at_work(node, id, now),
                        Before::Done(count) if returns => {
                            asking.answered(node, id, count.unwrap());
                        }
                        Before::Done(_) => {}
                    }
                    if is_quick {
                        for (node, id, count) in done.drain(..) {
                            nodes[node as usize].0.done(id, Some(count));
                            if returns {
                                asking.answered(node, id, count);
                            }
                        }
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
