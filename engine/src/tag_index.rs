//! The tag index: which names carry which tags.
//!
//! It serves one database and knows neither Redis nor API keys. An *item* is a name with the tags it
//! carries; a *tag* is known by its [`Fingerprint`] and has a list of its members.
//!
//! **Representation.** Items and tags stand in slabs and are known by their place. An item holds, in
//! one allocation, its name and for each of its tags the tag's place and its own position in that
//! tag's list; a tag's list holds the places of its items. So an item leaves each list in constant
//! time: the list's last member moves into its position and is told so. A tag with one member, as
//! `apikey:id:..` always has, holds it in itself and has no list. Tags are found by a hash table that
//! grows by one bucket at a time ([`crate::buckets`]).
//!
//! **Fingerprints.** The index does not keep the names of tags: nobody asks it for them, entries
//! know their own. It knows a tag by 128 bits of SipHash under a key that is drawn at each start and
//! never leaves the process. Two tags of one database share a fingerprint with a chance of about
//! n^2 / 2^129; were it ever to happen, invalidating one would invalidate the other as well, which
//! costs a miss and never a stale answer.
//!
//! **What always holds.** For every item and each of its tags: the tag's list has the item's place at
//! the position that the item says. Every list entry belongs to such an item. A tag without members
//! does not exist. [`TagIndex::check_tag`] and [`TagIndex::check_item`] look at it.
//!
//! **Cost.** Every operation on an item is linear in its own tags, of which a tag has no say. No table
//! is ever moved or freed as a whole (dropping the index is the one exception: drop a large one on
//! another thread). For an entry with a 25-byte name and 3 tags of which one is its own: about 120
//! bytes.
//!
//! **What it does not do.** It does not know whether an item's key exists; its owner says when one
//! comes and goes.

use crate::buckets::Buckets;
use crate::segments::{Place, Segments, Slab, NOWHERE};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// A tag, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u32; 4]);

impl Fingerprint {
    /// A fingerprint that stands for something that is no tag; `number` tells them apart.
    pub const fn reserved(number: u32) -> Self {
        Self([number, 0, 0, 0])
    }

    /// A part that is spread evenly.
    pub(crate) fn hash(&self) -> u32 {
        self.0[1]
    }
}

/// Makes fingerprints. All databases of a server share one, since SWAPDB exchanges their indexes.
#[derive(Clone)]
pub struct Fingerprints {
    key: [u8; 16],
}

impl Fingerprints {
    /// `key` has to be random and to stay secret.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    pub fn of(&self, tag: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(tag);
        let hash = hasher.finish128();
        Fingerprint([
            hash.h1 as u32,
            (hash.h1 >> 32) as u32,
            hash.h2 as u32,
            (hash.h2 >> 32) as u32,
        ])
    }
}

/// An item's place in a tag's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    tag: Place,
    position: u32,
}

const MEMBERSHIP_BYTES: usize = 8;

/// A name and its memberships: `[count][tag, position]..[name]`, numbers with the lower byte first.
#[derive(Debug)]
struct Item {
    packed: Box<[u8]>,
}

impl Item {
    fn new(name: &[u8], memberships: &[Membership]) -> Option<Self> {
        let mut packed = Vec::with_capacity(1 + memberships.len() * MEMBERSHIP_BYTES + name.len());
        packed.push(u8::try_from(memberships.len()).ok()?);
        for membership in memberships {
            packed.extend_from_slice(&membership.tag.to_le_bytes());
            packed.extend_from_slice(&membership.position.to_le_bytes());
        }
        packed.extend_from_slice(name);
        Some(Self { packed: packed.into_boxed_slice() })
    }

    fn count(&self) -> usize {
        self.packed.first().copied().map_or(0, usize::from)
    }

    fn name(&self) -> &[u8] {
        self.packed.get(1 + self.count() * MEMBERSHIP_BYTES..).unwrap_or_default()
    }

    fn memberships(&self) -> impl Iterator<Item = Membership> + '_ {
        let bytes = self.packed.get(1..1 + self.count() * MEMBERSHIP_BYTES).unwrap_or_default();
        let (pairs, _) = bytes.as_chunks::<MEMBERSHIP_BYTES>();
        pairs.iter().map(|&[a, b, c, d, e, f, g, h]| Membership {
            tag: u32::from_le_bytes([a, b, c, d]),
            position: u32::from_le_bytes([e, f, g, h]),
        })
    }

    fn set_position(&mut self, tag: Place, position: u32) {
        let Some(nth) = self.memberships().position(|membership| membership.tag == tag) else {
            return;
        };
        let at = 1 + nth * MEMBERSHIP_BYTES + size_of::<Place>();
        if let Some(bytes) = self.packed.get_mut(at..at + size_of::<u32>()) {
            bytes.copy_from_slice(&position.to_le_bytes());
        }
    }
}

#[derive(Debug)]
enum Members {
    One(Place),
    /// The place of the list, which has at least two.
    Many(Place),
}

#[derive(Debug)]
struct Tag {
    fingerprint: Fingerprint,
    /// The next tag of the same bucket.
    next: Place,
    members: Members,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct TagIndex {
    items: Slab<Item>,
    tags: Slab<Tag>,
    lists: Slab<Segments<Place>>,
    buckets: Buckets,
    /// Bytes of all items' allocations and of all lists.
    owned_bytes: usize,
}

/// The most tags that an item can carry.
pub const MAX_ITEM_TAGS: usize = 255;

impl TagIndex {
    /// Items in the index.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Tags that have a member.
    pub fn tag_count(&self) -> usize {
        self.tags.len()
    }

    /// Bytes that the index has allocated.
    pub fn bytes(&self) -> usize {
        self.items.bytes()
            + self.tags.bytes()
            + self.lists.bytes()
            + self.buckets.bytes()
            + self.owned_bytes
    }

    /// Whether another item, with as many tags as one can carry, finds room (there are four thousand
    /// million places).
    pub fn has_room(&self) -> bool {
        self.items.has_room() && self.tags.len() + MAX_ITEM_TAGS + 2048 < NOWHERE as usize
    }

    /// Adds an item; a tag given twice counts once. `None` when there is no room
    /// ([`TagIndex::has_room`]) or it has more than [`MAX_ITEM_TAGS`].
    pub fn insert(&mut self, name: &[u8], tags: &[Fingerprint]) -> Option<Place> {
        if !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            return None;
        }
        let place = self.items.insert(Item { packed: Box::default() })?;
        let mut memberships = Vec::with_capacity(tags.len());
        for (nth, &fingerprint) in tags.iter().enumerate() {
            if tags.iter().take(nth).all(|&other| other != fingerprint) {
                memberships.push(self.join(fingerprint, place)?);
            }
        }
        let item = Item::new(name, &memberships)?;
        self.owned_bytes += item.packed.len();
        *self.items.get_mut(place)? = item;
        Some(place)
    }

    /// Takes an item away and returns whether it was there.
    pub fn remove(&mut self, place: Place) -> bool {
        let Some(item) = self.items.remove(place) else { return false };
        self.owned_bytes -= item.packed.len();
        for membership in item.memberships() {
            self.leave(membership);
        }
        true
    }

    pub fn name(&self, place: Place) -> Option<&[u8]> {
        self.items.get(place).map(Item::name)
    }

    /// How many members a tag has.
    pub fn member_count(&self, tag: Fingerprint) -> usize {
        match self.find(tag).and_then(|place| self.tags.get(place)).map(|tag| &tag.members) {
            None => 0,
            Some(Members::One(_)) => 1,
            Some(Members::Many(list)) => self.lists.get(*list).map_or(0, Segments::len),
        }
    }

    /// The member of a tag that joined it last, unless others have left since.
    pub fn last_member(&self, tag: Fingerprint) -> Option<Place> {
        match self.tags.get(self.find(tag)?)?.members {
            Members::One(place) => Some(place),
            Members::Many(list) => {
                let list = self.lists.get(list)?;
                list.get(list.len().checked_sub(1)?).copied()
            }
        }
    }

    /// The member of a tag at a position of its list.
    pub fn member(&self, tag: Fingerprint, position: usize) -> Option<Place> {
        self.member_at(self.tags.get(self.find(tag)?)?, position)
    }

    fn member_at(&self, tag: &Tag, position: usize) -> Option<Place> {
        match tag.members {
            Members::One(place) => (position == 0).then_some(place),
            Members::Many(list) => self.lists.get(list)?.get(position).copied(),
        }
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<Place> {
        let mut place = self.buckets.head(self.buckets.of(fingerprint.hash()));
        loop {
            let tag = self.tags.get(place)?;
            if tag.fingerprint == fingerprint {
                return Some(place);
            }
            place = tag.next;
        }
    }

    fn join(&mut self, fingerprint: Fingerprint, item: Place) -> Option<Membership> {
        let Some(tag) = self.find(fingerprint) else {
            return Some(Membership { tag: self.add_tag(fingerprint, item)?, position: 0 });
        };
        let members = &mut self.tags.get_mut(tag)?.members;
        let list = match *members {
            Members::Many(list) => list,
            Members::One(only) => {
                let mut segments = Segments::default();
                segments.push(only);
                self.owned_bytes += segments.bytes();
                let list = self.lists.insert(segments)?;
                *members = Members::Many(list);
                list
            }
        };
        let segments = self.lists.get_mut(list)?;
        let before = segments.bytes();
        segments.push(item);
        self.owned_bytes += segments.bytes() - before;
        Some(Membership { tag, position: u32::try_from(segments.len() - 1).ok()? })
    }

    fn leave(&mut self, Membership { tag: place, position }: Membership) {
        let Some(tag) = self.tags.get_mut(place) else { return };
        let Members::Many(list) = tag.members else {
            self.remove_tag(place);
            return;
        };
        let Some(segments) = self.lists.get_mut(list) else { return };
        let before = segments.bytes();
        let last = segments.pop();
        self.owned_bytes -= before - segments.bytes();
        let moved = match (last, segments.get_mut(position as usize)) {
            (Some(last), Some(hole)) => {
                *hole = last;
                Some(last)
            }
            _ => None,
        };
        if segments.len() == 1 {
            if let Some(&only) = segments.get(0) {
                tag.members = Members::One(only);
            }
            self.owned_bytes -= segments.bytes();
            self.lists.remove(list);
        }
        if let Some(item) = moved.and_then(|moved| self.items.get_mut(moved)) {
            item.set_position(place, position);
        }
    }

    fn add_tag(&mut self, fingerprint: Fingerprint, item: Place) -> Option<Place> {
        if self.tags.len() >= self.buckets.count() {
            if let Some(buddy) = self.buckets.grow() {
                let chain = self.buckets.head(buddy);
                self.buckets.set_head(buddy, NOWHERE);
                self.link_chain(chain);
            }
        }
        let place =
            self.tags.insert(Tag { fingerprint, next: NOWHERE, members: Members::One(item) })?;
        self.link(place);
        Some(place)
    }

    /// Puts a tag at the head of its bucket and returns the tag that it was linked to before.
    fn link(&mut self, place: Place) -> Place {
        let Some(tag) = self.tags.get_mut(place) else { return NOWHERE };
        let bucket = self.buckets.of(tag.fingerprint.hash());
        let followed_by = std::mem::replace(&mut tag.next, self.buckets.head(bucket));
        self.buckets.set_head(bucket, place);
        followed_by
    }

    fn link_chain(&mut self, mut place: Place) {
        while place != NOWHERE {
            place = self.link(place);
        }
    }

    fn remove_tag(&mut self, place: Place) {
        let Some(tag) = self.tags.remove(place) else { return };
        let bucket = self.buckets.of(tag.fingerprint.hash());
        let mut before = self.buckets.head(bucket);
        if before == place {
            self.buckets.set_head(bucket, tag.next);
        } else {
            while let Some(other) = self.tags.get_mut(before) {
                if other.next == place {
                    other.next = tag.next;
                    break;
                }
                before = other.next;
            }
        }
        // Two steps a removal catch up with a load that falls by half of a bucket.
        for _ in 0..2 {
            if self.buckets.count() <= 2 * self.tags.len() {
                break;
            }
            match self.buckets.shrink() {
                Some((chain, _)) => self.link_chain(chain),
                None => break,
            }
        }
        if self.tags.is_empty() {
            self.buckets = Buckets::default();
        }
    }

    /// One more than the highest place of an item; for walks.
    pub fn items_end(&self) -> usize {
        self.items.end()
    }

    /// One more than the highest place of a tag; for walks.
    pub fn tags_end(&self) -> usize {
        self.tags.end()
    }

    /// Whether the item at `place` has this name and carries exactly these tags; if not, in what it
    /// differs.
    pub fn check_item(
        &self,
        place: Place,
        name: &[u8],
        tags: &[Fingerprint],
    ) -> Result<(), String> {
        let item = self.items.get(place).ok_or("the index does not have it")?;
        if item.name() != name {
            return Err("the index has it under another name".into());
        }
        for fingerprint in tags {
            let found = self.find(*fingerprint);
            if !item.memberships().any(|membership| Some(membership.tag) == found) {
                return Err("the index misses a tag of it".into());
            }
        }
        for membership in item.memberships() {
            let tag = self.tags.get(membership.tag).ok_or("it is in a tag that is gone")?;
            if !tags.contains(&tag.fingerprint) {
                return Err("the index has a tag of it that it does not carry".into());
            }
            if self.member_at(tag, membership.position as usize) != Some(place) {
                return Err("a tag of it has something else at its position".into());
            }
        }
        Ok(())
    }

    /// Looks at up to `budget` members of the tag at `place` from a position on, for ones that do not
    /// say so themselves. Returns how many it looked at, and the differences.
    pub fn check_tag(&self, place: Place, from: usize, budget: usize) -> (usize, Vec<String>) {
        let mut wrong = Vec::new();
        let Some(tag) = self.tags.get(place) else { return (0, wrong) };
        let mut seen = 0;
        while seen < budget {
            let position = from + seen;
            let Some(member) = self.member_at(tag, position) else { break };
            let says_so = self.items.get(member).is_some_and(|item| {
                item.memberships().any(|m| m.tag == place && m.position as usize == position)
            });
            if !says_so {
                wrong.push(format!("tag {place} has a member at {position} that is not in it"));
            }
            seen += 1;
        }
        if self.find(tag.fingerprint) != Some(place) {
            wrong.push(format!("tag {place} is not found by its fingerprint"));
        }
        (seen, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::SEGMENT;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    fn fingerprints() -> Fingerprints {
        Fingerprints::new([7; 16])
    }

    fn assert_consistent(index: &TagIndex) {
        for place in 0..index.tags_end() as Place {
            let (_, wrong) = index.check_tag(place, 0, usize::MAX);
            assert_eq!(wrong, Vec::<String>::new());
        }
    }

    #[test]
    fn a_tag_of_many_segments_loses_members_from_anywhere() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let (shared, other) = (of.of(b"shared"), of.of(b"other"));
        let places: Vec<_> = (0..3 * SEGMENT)
            .map(|n| {
                let own = of.of(format!("own {n}").as_bytes());
                index.insert(format!("key {n}").as_bytes(), &[own, shared, other]).unwrap()
            })
            .collect();
        assert_eq!(index.member_count(shared), 3 * SEGMENT);
        assert_eq!(index.tag_count(), 3 * SEGMENT + 2);
        for &place in places.iter().step_by(2) {
            assert!(index.remove(place));
            assert!(!index.remove(place));
        }
        assert_eq!(index.member_count(shared), 3 * SEGMENT / 2);
        assert_consistent(&index);
        while let Some(place) = index.last_member(shared) {
            assert!(index.remove(place));
        }
        assert_eq!((index.len(), index.tag_count(), index.member_count(other)), (0, 0, 0));
    }

    #[test]
    fn memory_follows_what_lives() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let before = index.bytes();
        let places: Vec<_> = (0..100_000)
            .map(|n| {
                let own = of.of(format!("own {n}").as_bytes());
                let name = format!("apikey:{{ak_live_{n:08}}}");
                index.insert(name.as_bytes(), &[own, of.of(b"user"), of.of(b"kind")]).unwrap()
            })
            .collect();
        let each = (index.bytes() - before) / places.len();
        assert!(each <= 120, "{each} bytes for an item");
        for &place in places.iter().skip(100) {
            index.remove(place);
        }
        assert!(index.bytes() < 300_000, "{} bytes for 100 items", index.bytes());
        for &place in places.iter().take(100) {
            index.remove(place);
        }
        assert_eq!(index.bytes(), before);
    }

    #[test]
    fn check_finds_what_is_wrong() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let (a, b) = (of.of(b"a"), of.of(b"b"));
        let place = index.insert(b"key", &[a]).unwrap();
        assert_eq!(index.check_item(place, b"key", &[a]), Ok(()));
        assert!(index.check_item(place, b"key", &[a, b]).is_err());
        assert!(index.check_item(place, b"key", &[]).is_err());
        assert!(index.check_item(place, b"other", &[a]).is_err());
        assert!(index.check_item(place + 1, b"key", &[a]).is_err());
        let tag = index.find(a).unwrap();
        index.items.get_mut(place).unwrap().set_position(tag, 9);
        assert!(index.check_item(place, b"key", &[a]).is_err());
        let (seen, wrong) = index.check_tag(index.find(a).unwrap(), 0, 10);
        assert_eq!((seen, wrong.len()), (1, 1));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert { name: u8, tags: Vec<u8> },
        Remove { name: u8 },
        RemoveAll { tag: u8 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<u8>(), proptest::collection::vec(0u8..40, 0..6))
                .prop_map(|(name, tags)| Step::Insert { name, tags }),
            3 => any::<u8>().prop_map(|name| Step::Remove { name }),
            1 => (0u8..40).prop_map(|tag| Step::RemoveAll { tag }),
        ]
    }

    proptest! {
        #[test]
        fn the_index_is_a_relation_between_names_and_tags(
            steps in proptest::collection::vec(step(), 0..400)
        ) {
            let (mut index, of) = (TagIndex::default(), fingerprints());
            let tag = |n: u8| of.of(&[n]);
            let mut model: HashMap<u8, (Place, BTreeSet<u8>)> = HashMap::new();
            for step in steps {
                match step {
                    Step::Insert { name, tags } => {
                        if let Some((place, _)) = model.remove(&name) {
                            prop_assert!(index.remove(place));
                        }
                        let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
                        let place = index.insert(&[name], &prints).unwrap();
                        model.insert(name, (place, tags.into_iter().collect()));
                    }
                    Step::Remove { name } => {
                        if let Some((place, _)) = model.remove(&name) {
                            prop_assert!(index.remove(place));
                        }
                    }
                    Step::RemoveAll { tag: gone } => {
                        while let Some(place) = index.last_member(tag(gone)) {
                            let name = index.name(place).unwrap()[0];
                            prop_assert!(model.remove(&name).unwrap().1.contains(&gone));
                            index.remove(place);
                        }
                        prop_assert!(model.values().all(|(_, tags)| !tags.contains(&gone)));
                    }
                }
            }
            prop_assert_eq!(index.len(), model.len());
            for (&name, (place, tags)) in &model {
                let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
                prop_assert_eq!(index.check_item(*place, &[name], &prints), Ok(()));
            }
            let mut live = BTreeSet::new();
            for n in 0..40 {
                let members: BTreeSet<_> = (0..)
                    .map_while(|at| index.member(tag(n), at))
                    .map(|place| index.name(place).unwrap()[0])
                    .collect();
                let expected: BTreeSet<_> =
                    model.iter().filter(|(_, (_, tags))| tags.contains(&n)).map(|(&k, _)| k).collect();
                prop_assert_eq!(index.member_count(tag(n)), expected.len());
                if !expected.is_empty() {
                    live.insert(n);
                }
                prop_assert_eq!(members, expected);
            }
            prop_assert_eq!(index.tag_count(), live.len());
            assert_consistent(&index);
        }
    }
}
