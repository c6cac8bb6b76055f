//! Walks over the members of a tag, over all condemned items and over all softened ones, some at a time, while
//! items come and go in between.
//!
//! [`TagIndex::walk_step`] goes over the members of a tag that are not condemned. It goes from the list's end to its beginning, and its
//! cursor is how many positions are left. What is in the tag throughout is met, since all that is not
//! yet met stands below the cursor at any time: a member that moves, because another one left, moves
//! down, from the end of the list or of a part of it into the hole or to the end of the part before; who
//! joins stands above; an item that is replaced ([`TagIndex::replace`]) keeps its position in each tag that it
//! keeps; and condemning and softening move nobody. One that was softened, by any of its tags, and is replaced
//! during the walk counts as come during it: it joins anew, and may be met or not. A member that was met already may
//! move down and be met again.
//!
//! [`TagIndex::next_condemned`] goes over the queue of the tags that have condemned members, from its end to
//! its beginning, and over the condemned of each likewise, so that the visited one may be taken away.
//!
//! [`TagIndex::next_softened`] goes over the softened members of each tag that was softened, from the last down.
//! For the same reason as above it meets, once at least, whatever was softened and is neither gone, nor condemned,
//! nor come anew. In which order the tags have their turns is not said.

use crate::tags::fingerprint::Fingerprint;
use crate::tags::index::TagIndex;
use crate::tags::segments::Place;
use std::ops::Range;

/// How far a walk over the condemned has come; see [`TagIndex::next_condemned`].
#[derive(Clone, Copy, Debug)]
pub struct CondemnedWalk {
    /// Tags of the queue, and members of the tag behind them, that are still to be visited.
    tags: usize,
    members: usize,
}

impl CondemnedWalk {
    /// Whether it has come to its end, or stands right before it.
    pub fn is_over(&self) -> bool {
        (self.tags, self.members) == (0, 0)
    }
}

impl TagIndex {
    /// Begins a walk over the condemned.
    pub fn walk_condemned(&self) -> CondemnedWalk {
        CondemnedWalk { tags: self.queue.len(), members: 0 }
    }

    /// The next condemned item of a walk, `None` at its end. Items may leave between two steps, the
    /// visited one above all; what is condemned after the walk began may be left to the next one.
    pub fn next_condemned(&self, walk: &mut CondemnedWalk) -> Option<Place> {
        loop {
            if walk.members == 0 {
                walk.tags = walk.tags.min(self.queue.len()).checked_sub(1)?;
                walk.members = usize::MAX;
            }
            let tag = self.queue.get(walk.tags).and_then(|&place| self.tags.get(place));
            walk.members = walk.members.min(tag.map_or(0, |tag| tag.condemned as usize));
            if let (Some(tag), Some(position)) = (tag, walk.members.checked_sub(1)) {
                walk.members = position;
                return tag.members.get(position).copied();
            }
        }
    }

    /// The next softened item, `None` where no pass is left. Items may leave between two steps, and what is met
    /// may stay: each step makes a pass shorter.
    pub fn next_softened(&mut self) -> Option<Place> {
        let at = self.passes.len().checked_sub(1)?;
        let pass = self.passes.get_mut(at)?;
        let tag = self.tags.get(pass.tag)?;
        let position = pass.left.min(tag.softened).checked_sub(1)?;
        self.to_visit -= (pass.left - position) as usize;
        pass.left = position;
        let member = tag.members.get(position as usize).copied();
        if position <= tag.condemned {
            self.end_pass(at as u32);
        }
        member
    }

    /// Has what is read when the next items of a walk are removed, at most so many, in the processor's cache.
    pub fn touch_condemned(&self, walk: &CondemnedWalk, most: usize) {
        let CondemnedWalk { mut tags, mut members } = *walk;
        if members == 0 {
            (tags, members) = (tags.min(self.queue.len()).wrapping_sub(1), usize::MAX);
        }
        let Some(tag) = self.queue.get(tags).and_then(|&place| self.tags.get(place)) else {
            return;
        };
        let end = members.min(tag.condemned as usize);
        let next = (end.saturating_sub(most)..end).rev();
        self.touch_items(next.filter_map(|position| tag.members.get(position).copied()));
    }

    /// The positions of a tag's list, at most `most`, that a walk visits next, from the last of them to the
    /// first, and the cursor with which it goes on; see the top of this file. 0 begins, and is the end. A
    /// cursor of another index, or of another time, does no harm.
    pub fn walk_step(&self, tag: Fingerprint, cursor: u64, most: usize) -> (Range<usize>, u64) {
        let (condemned, len) = (self.condemned_count(tag), self.member_count(tag));
        let end = match cursor {
            0 => len,
            left => usize::try_from(left).unwrap_or(usize::MAX).min(len),
        };
        let start = end.saturating_sub(most).max(condemned);
        let next = if start > condemned { start as u64 } else { 0 };
        (start.min(end)..end, next)
    }
}

#[cfg(test)]
mod tests {
    use crate::tags::index::tests::{assert_consistent, fingerprints};
    use crate::tags::index::{Standing, TagIndex};
    use crate::tags::segments::Place;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    /// What happens between two steps of a walk over tag 0. Names are few, so that they meet.
    #[derive(Clone, Debug)]
    enum Between {
        /// It comes, or is replaced, with tag 0 and perhaps others.
        Store {
            name: u8,
            tags: Vec<u8>,
        },
        Remove {
            name: u8,
        },
        Condemn {
            tag: u8,
        },
        Soften {
            tag: u8,
        },
        Reclaim {
            count: u8,
        },
        Walk {
            most: usize,
        },
    }

    fn between() -> impl Strategy<Value = Between> {
        prop_oneof![
            8 => (0u8..60, proptest::collection::vec(0u8..4, 0..4))
                .prop_map(|(name, tags)| Between::Store { name, tags }),
            4 => (0u8..60).prop_map(|name| Between::Remove { name }),
            1 => (1u8..8).prop_map(|tag| Between::Condemn { tag: tag % 5 }),
            1 => (0u8..5).prop_map(|tag| Between::Soften { tag }),
            1 => any::<u8>().prop_map(|count| Between::Reclaim { count }),
            4 => (1usize..6).prop_map(|most| Between::Walk { most }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]
        #[test]
        fn a_walk_meets_all_that_is_in_the_tag_throughout(
            first in proptest::collection::vec((0u8..60, any::<bool>()), 0..60),
            steps in proptest::collection::vec(between(), 0..120)
        ) {
            let (mut index, of) = (TagIndex::default(), fingerprints());
            let prints = |tags: &[u8]| tags.iter().map(|&n| of.of(&[n])).collect::<Vec<_>>();
            let walked = of.of(&[0]);
            let mut items: HashMap<u8, Place> = HashMap::new();
            for (name, other) in first {
                items.entry(name).or_insert_with(|| {
                    index.insert(&[name], &prints(if other { &[1, 0] } else { &[0] })).unwrap()
                });
            }
            let live = |index: &TagIndex, items: &HashMap<u8, Place>| -> BTreeSet<u8> {
                let carries = |place: Place| index
                    .find(walked)
                    .is_some_and(|owner| index.items.get(place).unwrap().tags().has(owner, walked));
                items.iter()
                    .filter(|(_, &place)| carries(place) && !index.is_condemned(place))
                    .map(|(&name, _)| name)
                    .collect()
            };
            let (mut throughout, mut met) = (live(&index, &items), BTreeSet::new());
            let (mut cursor, mut began) = (0, false);
            let mut walk = |index: &TagIndex, most, met: &mut BTreeSet<u8>| {
                if !began || cursor != 0 {
                    let (positions, next) = index.walk_step(walked, cursor, most);
                    prop_assert!(positions.len() <= most);
                    for position in positions.rev() {
                        let place = index.member(walked, position).unwrap();
                        met.insert(index.name(place).unwrap()[0]);
                    }
                    (cursor, began) = (next, true);
                }
                Ok(cursor == 0)
            };
            for step in steps {
                match step {
                    Between::Store { name, tags } => {
                        let tags = prints(&tags);
                        let place = match items.get(&name) {
                            Some(&place) => {
                                if index.standing(place) == Standing::Softened {
                                    throughout.remove(&name);
                                }
                                index.replace(place, &tags)
                            }
                            None => index.insert(&[name], &tags),
                        };
                        items.insert(name, place.unwrap());
                    }
                    Between::Remove { name } => {
                        if let Some(place) = items.remove(&name) {
                            index.remove(place);
                        }
                    }
                    Between::Condemn { tag } => {
                        index.condemn(of.of(&[tag]));
                    }
                    Between::Soften { tag } => {
                        index.soften(of.of(&[tag]));
                    }
                    Between::Reclaim { count } => {
                        let mut condemned = index.walk_condemned();
                        for _ in 0..count {
                            let Some(place) = index.next_condemned(&mut condemned) else { break };
                            items.remove(&index.name(place).unwrap()[0]);
                            index.remove(place);
                        }
                    }
                    Between::Walk { most } => {
                        if walk(&index, most, &mut met)? {
                            break;
                        }
                    }
                }
                let now = live(&index, &items);
                throughout.retain(|name| now.contains(name));
            }
            while !walk(&index, 3, &mut met)? {}
            let missed: Vec<_> = throughout.difference(&met).collect();
            prop_assert!(missed.is_empty(), "{missed:?}");
            assert_consistent(&index);
        }
    }

    #[test]
    fn a_cursor_of_another_time_does_no_harm() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let tag = of.of(b"tag");
        assert_eq!(index.walk_step(tag, 7, 10), (0..0, 0));
        let places: Vec<_> = (0..5u8).map(|n| index.insert(&[n], &[tag]).unwrap()).collect();
        assert_eq!(index.walk_step(tag, 0, 2), (3..5, 3));
        assert_eq!(index.walk_step(tag, 3, 2), (1..3, 1));
        assert_eq!(index.walk_step(tag, 1, 2), (0..1, 0));
        assert_eq!(index.walk_step(tag, u64::MAX, 4), (1..5, 1));
        index.condemn(tag);
        assert_eq!(index.walk_step(tag, 3, 2), (3..3, 0));
        index.insert(b"new", &[tag]);
        assert_eq!(index.walk_step(tag, 0, 10), (5..6, 0));
        index.remove(places[0]);
        assert_eq!(index.walk_step(tag, 9, 10), (4..5, 0));
        assert_eq!(index.walk_step(of.of(b"other"), 9, 10), (0..0, 0));
    }
}
