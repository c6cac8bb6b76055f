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
//! grows by one page at a time ([`crate::buckets`]).
//!
//! **Fingerprints.** The index does not keep the names of tags: nobody asks it for them, entries
//! know their own. It knows a tag by 128 bits of SipHash under a key that is drawn at each start and
//! never leaves the process. Two tags of one database share a fingerprint with a chance of about
//! n^2 / 2^129; were it ever to happen, invalidating one would invalidate the other as well, which
//! costs a miss and never a stale answer.
//!
//! **Condemned members.** [`TagIndex::condemn`] condemns all members that a tag has, in constant time:
//! it notes how long the tag's list is. Who joins later stands behind them, so that in each list the
//! condemned come first, and an item is condemned when in one of its tags' lists it stands among
//! them. When one of them leaves, the last of them takes its position, and the list's last member that
//! one's. This is the design's comparison of an entry's number with its tag's, without a number in
//! either: both say who came before the tag was last invalidated. The tags that have condemned members
//! are kept in a queue, which [`TagIndex::next_condemned`] walks for whoever takes them away.
//!
//! **Walks.** [`TagIndex::walk_step`] walks over the members of a tag that it has not condemned, some at a
//! time, while items come and go in between. It goes from the list's end to its beginning, and its
//! cursor is how many positions are left. What is in the tag throughout is met, since all that is not
//! yet met stands below the cursor at any time: a member that moves, because another one left, moves
//! down, from the list's end into the hole or to the end of the condemned; who joins stands above; an
//! item that is replaced ([`TagIndex::replace`]) keeps its position in each tag that it keeps; and
//! condemning moves nobody. A member that was met already may move down and be met again.
//!
//! **What always holds.** For every item and each of its tags: the tag's list has the item's place at
//! the position that the item says. Every list entry belongs to such an item. A tag without members
//! does not exist. A tag is in the queue, once, when it has condemned members.
//! [`TagIndex::check_tag`] and [`TagIndex::check_item`] look at it.
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
use std::ops::Range;

/// A tag, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// One that is not condemned.
    One(Place),
    /// The place of the list.
    Many(Place),
}

/// The members of a tag, the condemned ones first.
#[derive(Debug, Default)]
struct List {
    members: Segments<Place>,
    /// How many are condemned.
    condemned: u32,
    /// The tag's position in the queue, if some are.
    queued_at: u32,
}

/// How far a walk over the condemned has come; see [`TagIndex::next_condemned`].
#[derive(Clone, Copy, Debug)]
pub struct CondemnedWalk {
    /// Tags of the queue, and members of the tag behind them, that are still to be visited.
    tags: usize,
    members: usize,
}

#[derive(Debug)]
struct Tag {
    fingerprint: Fingerprint,
    members: Members,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct TagIndex {
    items: Slab<Item>,
    tags: Slab<Tag>,
    lists: Slab<List>,
    buckets: Buckets,
    /// The tags that have condemned members.
    queue: Segments<Place>,
    /// Condemned members of all tags; an item can be one in several.
    condemned: usize,
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
            + self.queue.bytes()
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

    /// Gives an item other tags. In the list of a tag that it carries before and after it keeps its
    /// position, unless it was condemned: then it leaves and comes anew. Returns its place from now on;
    /// `None`, and it is gone, as [`TagIndex::insert`].
    pub fn replace(&mut self, place: Place, tags: &[Fingerprint]) -> Option<Place> {
        let item = self.items.get(place)?;
        let name = item.name().to_vec();
        if self.is_condemned(place) || !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            self.remove(place);
            return self.insert(&name, tags);
        }
        let before: Vec<Membership> = item.memberships().collect();
        let mut after = Vec::with_capacity(tags.len());
        for (nth, &fingerprint) in tags.iter().enumerate() {
            if tags.iter().take(nth).all(|&other| other != fingerprint) {
                let tag = self.find(fingerprint);
                let kept = before.iter().find(|membership| Some(membership.tag) == tag);
                after.push(match kept {
                    Some(&membership) => membership,
                    None => self.join(fingerprint, place)?,
                });
            }
        }
        for &left in &before {
            if after.iter().all(|membership| membership.tag != left.tag) {
                self.leave(left);
            }
        }
        let new = Item::new(&name, &after)?;
        let item = self.items.get_mut(place)?;
        self.owned_bytes += new.packed.len();
        self.owned_bytes -= item.packed.len();
        *item = new;
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
            Some(Members::Many(list)) => self.lists.get(*list).map_or(0, |list| list.members.len()),
        }
    }

    /// How many members of a tag are condemned.
    pub fn condemned_count(&self, tag: Fingerprint) -> usize {
        let tag = self.find(tag).and_then(|place| self.tags.get(place));
        tag.map_or(0, |tag| self.condemned_of(tag))
    }

    fn condemned_of(&self, tag: &Tag) -> usize {
        match tag.members {
            Members::One(_) => 0,
            Members::Many(list) => self.lists.get(list).map_or(0, |list| list.condemned as usize),
        }
    }

    /// Condemned members of all tags; an item that is one in several counts as often.
    pub fn condemned(&self) -> usize {
        self.condemned
    }

    /// Condemns the members that a tag has, and returns how many were not condemned before.
    pub fn condemn(&mut self, tag: Fingerprint) -> usize {
        let Some(place) = self.find(tag) else { return 0 };
        let Some(list) = self.list_of(place).and_then(|list| self.lists.get_mut(list)) else {
            return 0;
        };
        let Ok(all) = u32::try_from(list.members.len()) else { return 0 };
        let before = std::mem::replace(&mut list.condemned, all);
        if before == 0 {
            list.queued_at = self.queue.len() as u32;
            self.queue.push(place);
        }
        let more = (all - before) as usize;
        self.condemned += more;
        more
    }

    /// Whether an item is condemned by one of its tags.
    pub fn is_condemned(&self, place: Place) -> bool {
        self.condemned > 0
            && self.items.get(place).is_some_and(|item| {
                item.memberships().any(|membership| {
                    self.tags
                        .get(membership.tag)
                        .is_some_and(|tag| (membership.position as usize) < self.condemned_of(tag))
                })
            })
    }

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
            walk.members = walk.members.min(tag.map_or(0, |tag| self.condemned_of(tag)));
            if let (Some(tag), Some(position)) = (tag, walk.members.checked_sub(1)) {
                walk.members = position;
                return self.member_at(tag, position);
            }
        }
    }

    /// The member of a tag that joined it last, unless others have left since.
    pub fn last_member(&self, tag: Fingerprint) -> Option<Place> {
        match self.tags.get(self.find(tag)?)?.members {
            Members::One(place) => Some(place),
            Members::Many(list) => {
                let members = &self.lists.get(list)?.members;
                members.get(members.len().checked_sub(1)?).copied()
            }
        }
    }

    /// The member of a tag at a position of its list.
    pub fn member(&self, tag: Fingerprint, position: usize) -> Option<Place> {
        self.member_at(self.tags.get(self.find(tag)?)?, position)
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

    fn member_at(&self, tag: &Tag, position: usize) -> Option<Place> {
        match tag.members {
            Members::One(place) => (position == 0).then_some(place),
            Members::Many(list) => self.lists.get(list)?.members.get(position).copied(),
        }
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<Place> {
        self.buckets.find(fingerprint.hash(), |place| {
            self.tags.get(place).is_some_and(|tag| tag.fingerprint == fingerprint)
        })
    }

    fn join(&mut self, fingerprint: Fingerprint, item: Place) -> Option<Membership> {
        let Some(tag) = self.find(fingerprint) else {
            return Some(Membership { tag: self.add_tag(fingerprint, item)?, position: 0 });
        };
        let list = self.list_of(tag)?;
        let members = &mut self.lists.get_mut(list)?.members;
        let before = members.bytes();
        members.push(item);
        self.owned_bytes += members.bytes() - before;
        Some(Membership { tag, position: u32::try_from(members.len() - 1).ok()? })
    }

    /// The place of a tag's list, made where there is none.
    fn list_of(&mut self, tag: Place) -> Option<Place> {
        let members = &mut self.tags.get_mut(tag)?.members;
        Some(match *members {
            Members::Many(list) => list,
            Members::One(only) => {
                let mut list = List::default();
                list.members.push(only);
                self.owned_bytes += list.members.bytes();
                let list = self.lists.insert(list)?;
                *members = Members::Many(list);
                list
            }
        })
    }

    fn leave(&mut self, Membership { tag: place, position }: Membership) {
        let Some(tag) = self.tags.get_mut(place) else { return };
        let Members::Many(list_place) = tag.members else {
            self.remove_tag(place);
            return;
        };
        let Some(list) = self.lists.get_mut(list_place) else { return };
        let members = &mut list.members;
        let mut hole = position;
        // Puts a member into the hole.
        let mut fill = |members: &mut Segments<Place>, hole: u32, member: Place| {
            if let Some(to) = members.get_mut(hole as usize) {
                *to = member;
            }
            if let Some(item) = self.items.get_mut(member) {
                item.set_position(place, hole);
            }
        };
        let was_condemned = position < list.condemned;
        if was_condemned {
            self.condemned -= 1;
            list.condemned -= 1;
            match members.get(list.condemned as usize) {
                Some(&last) if hole != list.condemned => fill(members, hole, last),
                _ => {}
            }
            hole = list.condemned;
        }
        let before = members.bytes();
        let last = members.pop();
        self.owned_bytes -= before - members.bytes();
        if let Some(last) = last.filter(|_| (hole as usize) < members.len()) {
            fill(members, hole, last);
        }

        if list.condemned > 0 {
            return;
        }
        let (left, only, queued_at) = (members.len(), members.get(0).copied(), list.queued_at);
        let bytes = members.bytes();
        if was_condemned {
            self.leave_queue(queued_at);
        }
        match only {
            Some(only) if left == 1 => {
                if let Some(tag) = self.tags.get_mut(place) {
                    tag.members = Members::One(only);
                }
            }
            Some(_) => return,
            None => self.remove_tag(place),
        }
        self.owned_bytes -= bytes;
        self.lists.remove(list_place);
    }

    /// The tag at this position of the queue has no condemned member any more.
    fn leave_queue(&mut self, position: u32) {
        let Some(last) = self.queue.pop() else { return };
        let Some(hole) = self.queue.get_mut(position as usize) else { return };
        *hole = last;
        let Some(Tag { members: Members::Many(list), .. }) = self.tags.get(last) else { return };
        if let Some(list) = self.lists.get_mut(*list) {
            list.queued_at = position;
        }
    }

    fn add_tag(&mut self, fingerprint: Fingerprint, item: Place) -> Option<Place> {
        let place = self.tags.insert(Tag { fingerprint, members: Members::One(item) })?;
        self.buckets.insert(fingerprint.hash(), place);
        Some(place)
    }

    fn remove_tag(&mut self, place: Place) {
        if let Some(tag) = self.tags.remove(place) {
            self.buckets.remove(tag.fingerprint.hash(), place);
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
        if let Some(what) = self.check_condemned(place, tag) {
            wrong.push(format!("tag {place} {what}"));
        }
        (seen, wrong)
    }

    fn check_condemned(&self, place: Place, tag: &Tag) -> Option<&'static str> {
        let Members::Many(list) = tag.members else { return None };
        let Some(list) = self.lists.get(list) else { return Some("has lost its list") };
        let queued = self.queue.get(list.queued_at as usize) == Some(&place);
        if list.condemned as usize > list.members.len() {
            Some("has more condemned members than members")
        } else if list.condemned > 0 && !queued {
            Some("has condemned members and is not in the queue")
        } else {
            None
        }
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
    fn who_joins_after_a_tag_was_condemned_is_not() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let (shared, other) = (of.of(b"shared"), of.of(b"other"));
        let old: Vec<_> = (0..3 * SEGMENT)
            .map(|n| index.insert(format!("old {n}").as_bytes(), &[shared, other]).unwrap())
            .collect();
        assert_eq!(index.condemn(shared), old.len());
        assert_eq!(index.condemn(shared), 0, "once is enough");
        let new = index.insert(b"new", &[shared, other]).unwrap();
        assert!(!index.is_condemned(new));
        assert!(old.iter().all(|&place| index.is_condemned(place)));
        // Wherever the condemned leave from, it stays behind them.
        for place in old.iter().step_by(3).chain(old.iter().skip(1).step_by(3)) {
            index.remove(*place);
        }
        assert!(!index.is_condemned(new));
        assert_eq!(index.condemned(), SEGMENT);
        assert_consistent(&index);
        let mut walk = index.walk_condemned();
        while let Some(place) = index.next_condemned(&mut walk) {
            assert!(index.remove(place));
        }
        assert_eq!((index.len(), index.condemned()), (1, 0));
        assert!(index.next_condemned(&mut index.walk_condemned()).is_none());
        assert_consistent(&index);
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

    #[test]
    fn what_is_replaced_keeps_its_position_in_the_tags_that_it_keeps() {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let [a, b, c] = [b"a", b"b", b"c"].map(|tag| of.of(tag));
        let before = index.bytes();
        let places: Vec<_> = (0..5u8).map(|n| index.insert(&[n], &[a, b]).unwrap()).collect();
        assert_eq!(index.replace(places[1], &[c, a, c, a]), Some(places[1]));
        assert_eq!(index.check_item(places[1], &[1], &[a, c]), Ok(()));
        assert_eq!((0..5).map(|at| index.member(a, at).unwrap()).collect::<Vec<_>>(), places);
        assert_eq!((index.member_count(b), index.member_count(c)), (4, 1));
        // Of what was condemned nothing is kept.
        assert_eq!(index.condemn(c), 1);
        let anew = index.replace(places[1], &[a, c]).unwrap();
        assert!(!index.is_condemned(anew));
        assert_eq!((index.condemned(), index.member(a, 4)), (0, Some(anew)));
        assert_eq!(index.replace(anew, &[]), Some(anew));
        assert_eq!((index.tag_count(), index.replace(places[1] + 9, &[a])), (2, None));
        assert_consistent(&index);
        for place in places
            .into_iter()
            .filter(|&place| index.items.get(place).is_some())
            .collect::<BTreeSet<_>>()
        {
            index.remove(place);
        }
        index.remove(anew);
        assert_eq!(index.bytes(), before);
    }

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
                let carries = |place: Place| index.items.get(place).unwrap().memberships()
                    .any(|m| index.tags.get(m.tag).unwrap().fingerprint == walked);
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
                            Some(&place) => index.replace(place, &tags),
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

    #[derive(Clone, Debug)]
    enum Step {
        Insert {
            name: u8,
            tags: Vec<u8>,
        },
        Remove {
            name: u8,
        },
        RemoveAll {
            tag: u8,
        },
        Condemn {
            tag: u8,
        },
        /// Takes so many condemned items away.
        Reclaim {
            count: u8,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<u8>(), proptest::collection::vec(0u8..40, 0..6))
                .prop_map(|(name, tags)| Step::Insert { name, tags }),
            3 => any::<u8>().prop_map(|name| Step::Remove { name }),
            1 => (0u8..40).prop_map(|tag| Step::RemoveAll { tag }),
            2 => (0u8..40).prop_map(|tag| Step::Condemn { tag }),
            1 => any::<u8>().prop_map(|count| Step::Reclaim { count }),
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
            // The memberships, of a name in a tag, that are condemned.
            let mut condemned: BTreeSet<(u8, u8)> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert { name, tags } => {
                        let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
                        let place = match model.remove(&name) {
                            Some((place, _)) => index.replace(place, &prints),
                            None => index.insert(&[name], &prints),
                        };
                        let place = place.unwrap();
                        condemned.retain(|&(other, _)| other != name);
                        model.insert(name, (place, tags.into_iter().collect()));
                    }
                    Step::Remove { name } => {
                        if let Some((place, _)) = model.remove(&name) {
                            prop_assert!(index.remove(place));
                            condemned.retain(|&(other, _)| other != name);
                        }
                    }
                    Step::RemoveAll { tag: gone } => {
                        while let Some(place) = index.last_member(tag(gone)) {
                            let name = index.name(place).unwrap()[0];
                            prop_assert!(model.remove(&name).unwrap().1.contains(&gone));
                            index.remove(place);
                            condemned.retain(|&(other, _)| other != name);
                        }
                        prop_assert!(model.values().all(|(_, tags)| !tags.contains(&gone)));
                    }
                    Step::Condemn { tag: which } => {
                        let before = condemned.len();
                        let members = model.iter().filter(|(_, (_, tags))| tags.contains(&which));
                        condemned.extend(members.map(|(&name, _)| (name, which)));
                        prop_assert_eq!(index.condemn(tag(which)), condemned.len() - before);
                    }
                    Step::Reclaim { count } => {
                        let mut walk = index.walk_condemned();
                        for nth in 0..count {
                            let Some(place) = index.next_condemned(&mut walk) else {
                                // Every second one stays, and is met at most once for each tag.
                                prop_assert!(condemned.len() <= usize::from(nth));
                                break;
                            };
                            let name = index.name(place).unwrap()[0];
                            prop_assert!(condemned.iter().any(|&(other, _)| other == name));
                            if nth % 2 == 0 {
                                model.remove(&name);
                                index.remove(place);
                                condemned.retain(|&(other, _)| other != name);
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(index.len(), model.len());
            for (&name, (place, tags)) in &model {
                let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
                prop_assert_eq!(index.check_item(*place, &[name], &prints), Ok(()));
                let is = condemned.iter().any(|&(other, _)| other == name);
                prop_assert_eq!(index.is_condemned(*place), is);
            }
            prop_assert_eq!(index.condemned(), condemned.len());
            let mut live = BTreeSet::new();
            for n in 0..40 {
                let members: BTreeSet<_> = (0..)
                    .map_while(|at| index.member(tag(n), at))
                    .map(|place| index.name(place).unwrap()[0])
                    .collect();
                let expected: BTreeSet<_> =
                    model.iter().filter(|(_, (_, tags))| tags.contains(&n)).map(|(&k, _)| k).collect();
                prop_assert_eq!(index.member_count(tag(n)), expected.len());
                let dead = condemned.iter().filter(|&&(_, tag)| tag == n).count();
                prop_assert_eq!(index.condemned_count(tag(n)), dead);
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
