//! Hands the allocations of the index to who moves them, in steps.

use crate::defrag::Defrag;
use crate::tags::index::TagIndex;
use crate::tags::segments::{Place, BLOCK};

/// How far a walk over the allocations of an index has come. What changes meanwhile may be met twice, or
/// be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefragWalk {
    /// A block of items.
    Items(usize),
    /// A tag, and a segment of its list.
    Tags(Place, usize),
    /// A page of the hash table.
    Pages(usize),
}

impl Default for DefragWalk {
    fn default() -> Self {
        Self::Items(0)
    }
}

impl TagIndex {
    /// Hands over the next allocations, about as many as a block has places. Returns how far the walk has come
    /// then, `None` at its end.
    pub fn defrag_step(&mut self, walk: DefragWalk, to: &mut impl Defrag) -> Option<DefragWalk> {
        Some(match walk {
            DefragWalk::Items(block) if block < self.items.blocks() => {
                self.items.defrag_block(block, to);
                for item in self.items.of_block_mut(block) {
                    to.slice(&mut item.packed);
                }
                DefragWalk::Items(block + 1)
            }
            DefragWalk::Items(_) => DefragWalk::Tags(0, 0),
            DefragWalk::Tags(place, segment) if (place as usize) < self.tags.end() => {
                let (block, nth) = (place as usize / BLOCK, place as usize % BLOCK);
                if (nth, segment) == (0, 0) {
                    self.tags.defrag_block(block, to);
                    self.queue.defrag_segment(block, to);
                    self.passes.defrag_segment(block, to);
                }
                let tag = self.tags.get_mut(place);
                if tag.is_some_and(|tag| tag.members.defrag_segment(segment, to)) {
                    DefragWalk::Tags(place, segment + 1)
                } else {
                    DefragWalk::Tags(place + 1, 0)
                }
            }
            DefragWalk::Tags(..) => DefragWalk::Pages(0),
            DefragWalk::Pages(page) if self.buckets.defrag_page(page, to) => {
                DefragWalk::Pages(page + 1)
            }
            DefragWalk::Pages(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::tests::Counting;
    use crate::tags::index::tests::{assert_consistent, fingerprints};
    use crate::tags::segments::SEGMENT;

    #[test]
    fn each_allocation_is_handed_over_once_in_small_steps() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let (large, condemned) = (of.of(b"large"), of.of(b"condemned"));
        let tag = |n: usize| of.of(n.to_string().as_bytes());
        let items = 3 * SEGMENT;
        let places: Vec<Place> = (0..items)
            .map(|n| {
                let tags = [large, tag(n), tag(items + n / 10), condemned];
                let count = if n % 7 == 0 { 4 } else { 3 };
                index.insert(format!("key {n}").as_bytes(), &tags[..count]).unwrap()
            })
            .collect();
        index.condemn(condemned);
        index.soften(large);
        places.iter().step_by(3).for_each(|&place| assert!(index.remove(place)));

        let (mut walk, mut to) = (DefragWalk::default(), Counting::default());
        while let Some(next) = index.defrag_step(walk, &mut to) {
            assert_ne!(next, walk);
            let most = BLOCK + 8;
            assert!(to.allocations <= most, "{} by {walk:?}", to.allocations);
            (walk, to.allocations) = (next, 0);
        }
        assert_eq!(to.bytes, index.bytes());
        assert_consistent(&index);
        for (n, &place) in places.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
            let tags = [large, tag(n), tag(items + n / 10), condemned];
            let count = if n % 7 == 0 { 4 } else { 3 };
            let name = format!("key {n}");
            assert_eq!(index.check_item(place, name.as_bytes(), &tags[..count]), Ok(()));
        }
    }

    #[test]
    fn a_walk_ends_whatever_changes_meanwhile() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let shared = of.of(b"shared");
        let (mut walk, mut steps) = (DefragWalk::default(), 0);
        for n in 0..1000 {
            index.insert(format!("key {n}").as_bytes(), &[shared, of.of(&[n as u8])]).unwrap();
        }
        while let Some(next) = index.defrag_step(walk, &mut Counting::default()) {
            (walk, steps) = (next, steps + 1);
            if let Some(last) = index.last_member(shared) {
                index.remove(last);
            }
            assert!(steps < 2000);
        }
        assert_consistent(&index);
    }
}
