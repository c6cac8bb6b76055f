//! The tag index: which names carry which tags.
//!
//! It serves one database and knows neither Redis nor API keys. An *item* is a name with the tags it
//! carries; a *tag* is known by its [`Fingerprint`] and has a list of its members.
//!
//! **Representation.** Items and tags stand in slabs and are known by their place. An item holds, in
//! one allocation, its name and for each of its tags the tag's place and its own position in that
//! tag's list; a tag's list holds the places of its items. So an item leaves each list in constant
//! time: the list's last member moves into its position and is told so. Tags are found by a hash table
//! that grows by one page at a time ([`crate::tags::buckets`]).
//!
//! **Own tags.** Most tags have one member for ever, as `apikey:id:..` does. Such a tag has no place and no
//! list: its item holds its fingerprint, and the hash table has the item in its stead. It gets a place
//! when another item joins it or when it is condemned, and keeps it until its last member leaves.
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
//! another thread). For an entry with a 25-byte name and 3 tags of which one is its own: about 100
//! bytes.
//!
//! **What it does not do.** It does not know whether an item's key exists; its owner says when one
//! comes and goes.

use crate::tags::buckets::Buckets;
use crate::tags::segments::{Place, Segments, Slab};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::hint::black_box;
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

const FINGERPRINT_BYTES: usize = 16;

/// A name and its tags: `[count][own count][tag, position]..[own fingerprint]..[name]`, numbers with
/// the lower byte first.
#[derive(Debug)]
struct Item {
    packed: Box<[u8]>,
}

impl Item {
    fn new(name: &[u8], tags: &ItemTags) -> Option<Self> {
        let tag_bytes = tags.shared.len() * MEMBERSHIP_BYTES + tags.own.len() * FINGERPRINT_BYTES;
        let mut packed = Vec::with_capacity(2 + tag_bytes + name.len());
        packed.push(u8::try_from(tags.shared.len()).ok()?);
        packed.push(u8::try_from(tags.own.len()).ok()?);
        for membership in &tags.shared {
            packed.extend_from_slice(&membership.tag.to_le_bytes());
            packed.extend_from_slice(&membership.position.to_le_bytes());
        }
        for part in tags.own.iter().flat_map(|fingerprint| fingerprint.0) {
            packed.extend_from_slice(&part.to_le_bytes());
        }
        packed.extend_from_slice(name);
        Some(Self { packed: packed.into_boxed_slice() })
    }

    /// The bytes of the memberships, of the own fingerprints, and the name.
    fn parts(&self) -> (&[[u8; MEMBERSHIP_BYTES]], &[[u8; FINGERPRINT_BYTES]], &[u8]) {
        let split = || {
            let (&[shared, own], rest) = self.packed.split_first_chunk()?;
            let (shared, rest) = rest.split_at_checked(usize::from(shared) * MEMBERSHIP_BYTES)?;
            let (own, name) = rest.split_at_checked(usize::from(own) * FINGERPRINT_BYTES)?;
            Some((shared.as_chunks().0, own.as_chunks().0, name))
        };
        split().unwrap_or_default()
    }

    fn name(&self) -> &[u8] {
        self.parts().2
    }

    fn memberships(&self) -> impl Iterator<Item = Membership> + '_ {
        self.parts().0.iter().map(|&[a, b, c, d, e, f, g, h]| Membership {
            tag: u32::from_le_bytes([a, b, c, d]),
            position: u32::from_le_bytes([e, f, g, h]),
        })
    }

    fn own(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.parts().1.iter().map(|bytes| {
            let mut parts = [0; 4];
            for (part, &bytes) in parts.iter_mut().zip(bytes.as_chunks().0) {
                *part = u32::from_le_bytes(bytes);
            }
            Fingerprint(parts)
        })
    }

    fn tags(&self) -> ItemTags {
        ItemTags { shared: self.memberships().collect(), own: self.own().collect() }
    }

    fn set_position(&mut self, tag: Place, position: u32) {
        let Some(nth) = self.memberships().position(|membership| membership.tag == tag) else {
            return;
        };
        let at = 2 + nth * MEMBERSHIP_BYTES + size_of::<Place>();
        if let Some(bytes) = self.packed.get_mut(at..at + size_of::<u32>()) {
            bytes.copy_from_slice(&position.to_le_bytes());
        }
    }
}

/// The tags of an item, each once.
#[derive(Debug, Default)]
struct ItemTags {
    shared: Vec<Membership>,
    own: Vec<Fingerprint>,
}

impl ItemTags {
    fn clear(&mut self) {
        self.shared.clear();
        self.own.clear();
    }

    fn len(&self) -> usize {
        self.shared.len() + self.own.len()
    }

    /// Whether the tag that `owner` stands for is among them.
    fn has(&self, owner: Owner, fingerprint: Fingerprint) -> bool {
        match owner {
            Owner::Tag(place) => self.shared.iter().any(|membership| membership.tag == place),
            Owner::Item(_) => self.own.contains(&fingerprint),
        }
    }
}

/// Who has the members of a tag: the tag at a place, or the one item whose own it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Tag(Place),
    Item(Place),
}

/// Places of items and of tags are below: in the hash table it tells them apart.
const ITEM: Place = 1 << 31;

impl Owner {
    fn of(place: Place) -> Self {
        if place & ITEM == 0 {
            Self::Tag(place)
        } else {
            Self::Item(place & !ITEM)
        }
    }

    fn to_place(self) -> Place {
        match self {
            Self::Tag(place) => place,
            Self::Item(place) => place | ITEM,
        }
    }
}

/// A tag that has a list of its members, the condemned ones first.
#[derive(Debug)]
struct Tag {
    fingerprint: Fingerprint,
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

/// See the top of this file.
#[derive(Debug, Default)]
pub struct TagIndex {
    items: Slab<Item>,
    tags: Slab<Tag>,
    /// All tags, by the place of their [`Owner`].
    buckets: Buckets,
    /// The tags that have condemned members.
    queue: Segments<Place>,
    /// Condemned members of all tags; an item can be one in several.
    condemned: usize,
    /// Bytes of all items' allocations and of all lists.
    owned_bytes: usize,
    /// Reused for the tags of an item that comes.
    joined: ItemTags,
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
        self.buckets.len()
    }

    /// Bytes that the index has allocated.
    pub fn bytes(&self) -> usize {
        self.items.bytes()
            + self.tags.bytes()
            + self.buckets.bytes()
            + self.queue.bytes()
            + self.owned_bytes
    }

    /// Whether another item, with as many tags as one can carry, finds room (there are two thousand
    /// million places).
    pub fn has_room(&self) -> bool {
        self.items.end().max(self.tags.end()) + MAX_ITEM_TAGS + 2048 < ITEM as usize
    }

    /// Adds an item; a tag given twice counts once. `None` when there is no room
    /// ([`TagIndex::has_room`]) or it has more than [`MAX_ITEM_TAGS`].
    pub fn insert(&mut self, name: &[u8], tags: &[Fingerprint]) -> Option<Place> {
        if !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            return None;
        }
        self.touch(tags.iter().copied());
        let place = self.items.insert(Item { packed: Box::default() })?;
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        for fingerprint in distinct(tags) {
            match self.find(fingerprint) {
                None => self.own(fingerprint, place, &mut joined),
                Some(owner) => joined.shared.push(self.join(owner, fingerprint, place)?),
            }
        }
        let item = Item::new(name, &joined)?;
        self.joined = joined;
        self.put(place, item)?;
        Some(place)
    }

    /// Gives an item other tags. In the list of a tag that it carries before and after it keeps its
    /// position, unless it was condemned: then it leaves and comes anew. Returns its place from now on;
    /// `None`, and it is gone, as [`TagIndex::insert`].
    pub fn replace(&mut self, place: Place, tags: &[Fingerprint]) -> Option<Place> {
        if self.is_condemned(place) || !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            let name = self.name(place)?.to_vec();
            self.remove(place);
            return self.insert(&name, tags);
        }
        let before = self.items.get(place)?.tags();
        let mut after = std::mem::take(&mut self.joined);
        after.clear();
        self.touch(tags.iter().copied());
        let mut all_kept = true;
        for fingerprint in distinct(tags) {
            let owner = self.find(fingerprint);
            match owner.filter(|&owner| before.has(owner, fingerprint)) {
                Some(Owner::Item(_)) => after.own.push(fingerprint),
                Some(Owner::Tag(tag)) => {
                    after.shared.extend(before.shared.iter().filter(|kept| kept.tag == tag));
                }
                None => {
                    all_kept = false;
                    match owner {
                        None => self.own(fingerprint, place, &mut after),
                        Some(owner) => after.shared.push(self.join(owner, fingerprint, place)?),
                    }
                }
            }
        }
        if !all_kept || after.len() != before.len() {
            for &left in &before.shared {
                if after.shared.iter().all(|membership| membership.tag != left.tag) {
                    self.leave(left);
                }
            }
            for left in before.own.iter().filter(|left| !after.own.contains(left)) {
                self.buckets.remove(left.hash(), Owner::Item(place).to_place());
            }
            let item = Item::new(self.name(place)?, &after)?;
            self.put(place, item)?;
        }
        self.joined = after;
        Some(place)
    }

    /// Puts an item in the stead of the one at `place`.
    fn put(&mut self, place: Place, item: Item) -> Option<()> {
        let before = self.items.get_mut(place)?;
        self.owned_bytes += item.packed.len();
        self.owned_bytes -= before.packed.len();
        *before = item;
        Some(())
    }

    /// Takes an item away and returns whether it was there.
    pub fn remove(&mut self, place: Place) -> bool {
        let Some(item) = self.items.remove(place) else { return false };
        self.owned_bytes -= item.packed.len();
        self.touch(item.own());
        for membership in item.memberships() {
            self.leave(membership);
        }
        for fingerprint in item.own() {
            self.buckets.remove(fingerprint.hash(), Owner::Item(place).to_place());
        }
        true
    }

    pub fn name(&self, place: Place) -> Option<&[u8]> {
        self.items.get(place).map(Item::name)
    }

    /// How many members a tag has.
    pub fn member_count(&self, tag: Fingerprint) -> usize {
        match self.find(tag) {
            None => 0,
            Some(Owner::Item(_)) => 1,
            Some(Owner::Tag(place)) => self.tags.get(place).map_or(0, |tag| tag.members.len()),
        }
    }

    /// How many members of a tag are condemned.
    pub fn condemned_count(&self, tag: Fingerprint) -> usize {
        match self.find(tag) {
            Some(Owner::Tag(place)) => self.condemned_of(place),
            Some(Owner::Item(_)) | None => 0,
        }
    }

    fn condemned_of(&self, tag: Place) -> usize {
        self.tags.get(tag).map_or(0, |tag| tag.condemned as usize)
    }

    /// Condemned members of all tags; an item that is one in several counts as often.
    pub fn condemned(&self) -> usize {
        self.condemned
    }

    /// Condemns the members that a tag has, and returns how many were not condemned before.
    pub fn condemn(&mut self, tag: Fingerprint) -> usize {
        let Some(owner) = self.find(tag) else { return 0 };
        let Some(place) = self.list(owner, tag) else { return 0 };
        let Some(tag) = self.tags.get_mut(place) else { return 0 };
        let Ok(all) = u32::try_from(tag.members.len()) else { return 0 };
        let before = std::mem::replace(&mut tag.condemned, all);
        if before == 0 {
            tag.queued_at = self.queue.len() as u32;
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
                    (membership.position as usize) < self.condemned_of(membership.tag)
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
            walk.members = walk.members.min(tag.map_or(0, |tag| tag.condemned as usize));
            if let (Some(tag), Some(position)) = (tag, walk.members.checked_sub(1)) {
                walk.members = position;
                return tag.members.get(position).copied();
            }
        }
    }

    /// The member of a tag that joined it last, unless others have left since.
    pub fn last_member(&self, tag: Fingerprint) -> Option<Place> {
        match self.find(tag)? {
            Owner::Item(place) => Some(place),
            Owner::Tag(place) => {
                let members = &self.tags.get(place)?.members;
                members.get(members.len().checked_sub(1)?).copied()
            }
        }
    }

    /// The member of a tag at a position of its list.
    pub fn member(&self, tag: Fingerprint, position: usize) -> Option<Place> {
        match self.find(tag)? {
            Owner::Item(place) => (position == 0).then_some(place),
            Owner::Tag(place) => self.tags.get(place)?.members.get(position).copied(),
        }
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

    /// Reads the tags' beginnings in the hash table one right after the other, so that the processor waits
    /// for them together and not for each in its turn.
    fn touch(&self, tags: impl Iterator<Item = Fingerprint>) {
        black_box(tags.fold(0, |seen, tag| seen ^ self.buckets.touch(tag.hash())));
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<Owner> {
        let is = |place| match Owner::of(place) {
            Owner::Tag(place) => {
                self.tags.get(place).is_some_and(|tag| tag.fingerprint == fingerprint)
            }
            Owner::Item(place) => {
                self.items.get(place).is_some_and(|item| item.own().any(|own| own == fingerprint))
            }
        };
        self.buckets.find(fingerprint.hash(), is).map(Owner::of)
    }

    /// Makes a tag that is not there yet an item's own; the item is yet to be told.
    fn own(&mut self, fingerprint: Fingerprint, item: Place, tags: &mut ItemTags) {
        self.buckets.insert(fingerprint.hash(), Owner::Item(item).to_place());
        tags.own.push(fingerprint);
    }

    fn join(&mut self, owner: Owner, tag: Fingerprint, item: Place) -> Option<Membership> {
        let place = self.list(owner, tag)?;
        let members = &mut self.tags.get_mut(place)?.members;
        let before = members.bytes();
        members.push(item);
        self.owned_bytes += members.bytes() - before;
        Some(Membership { tag: place, position: u32::try_from(members.len() - 1).ok()? })
    }

    /// The place of the tag with its list; an item's own gets them.
    fn list(&mut self, owner: Owner, fingerprint: Fingerprint) -> Option<Place> {
        let item = match owner {
            Owner::Tag(place) => return Some(place),
            Owner::Item(item) => item,
        };
        let mut members = Segments::default();
        members.push(item);
        self.owned_bytes += members.bytes();
        let place = self.tags.insert(Tag { fingerprint, members, condemned: 0, queued_at: 0 })?;
        self.buckets.exchange(fingerprint.hash(), owner.to_place(), Owner::Tag(place).to_place());
        let before = self.items.get(item)?;
        let mut tags = before.tags();
        tags.own.retain(|&own| own != fingerprint);
        tags.shared.push(Membership { tag: place, position: 0 });
        let now = Item::new(before.name(), &tags)?;
        self.put(item, now)?;
        Some(place)
    }

    fn leave(&mut self, Membership { tag: place, position }: Membership) {
        let Some(tag) = self.tags.get_mut(place) else { return };
        let members = &mut tag.members;
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
        let was_condemned = position < tag.condemned;
        if was_condemned {
            self.condemned -= 1;
            tag.condemned -= 1;
            match members.get(tag.condemned as usize) {
                Some(&last) if hole != tag.condemned => fill(members, hole, last),
                _ => {}
            }
            hole = tag.condemned;
        }
        let before = members.bytes();
        let last = members.pop();
        self.owned_bytes -= before - members.bytes();
        if let Some(last) = last.filter(|_| (hole as usize) < members.len()) {
            fill(members, hole, last);
        }

        let (is_empty, condemned, queued_at) = (members.is_empty(), tag.condemned, tag.queued_at);
        if was_condemned && condemned == 0 {
            self.leave_queue(queued_at);
        }
        if is_empty {
            if let Some(tag) = self.tags.remove(place) {
                self.buckets.remove(tag.fingerprint.hash(), Owner::Tag(place).to_place());
            }
        }
    }

    /// The tag at this position of the queue has no condemned member any more.
    fn leave_queue(&mut self, position: u32) {
        let Some(last) = self.queue.pop() else { return };
        let Some(hole) = self.queue.get_mut(position as usize) else { return };
        *hole = last;
        if let Some(tag) = self.tags.get_mut(last) {
            tag.queued_at = position;
        }
    }

    /// One more than the highest place of an item; for walks.
    pub fn items_end(&self) -> usize {
        self.items.end()
    }

    /// One more than the highest place of a tag that has one; for walks.
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
        let item_tags = item.tags();
        for &fingerprint in tags {
            let found = self.find(fingerprint);
            if !found.is_some_and(|owner| item_tags.has(owner, fingerprint)) {
                return Err("the index misses a tag of it".into());
            }
        }
        let mut all = item_tags.own;
        for own in &all {
            if self.find(*own) != Some(Owner::Item(place)) {
                return Err("a tag of its own is not found by its fingerprint".into());
            }
        }
        for membership in item_tags.shared {
            let tag = self.tags.get(membership.tag).ok_or("it is in a tag that is gone")?;
            if tag.members.get(membership.position as usize) != Some(&place) {
                return Err("a tag of it has something else at its position".into());
            }
            all.push(tag.fingerprint);
        }
        if all.iter().any(|fingerprint| !tags.contains(fingerprint)) {
            return Err("the index has a tag of it that it does not carry".into());
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
            let Some(&member) = tag.members.get(position) else { break };
            let says_so = self.items.get(member).is_some_and(|item| {
                item.memberships().any(|m| m.tag == place && m.position as usize == position)
            });
            if !says_so {
                wrong.push(format!("tag {place} has a member at {position} that is not in it"));
            }
            seen += 1;
        }
        if self.find(tag.fingerprint) != Some(Owner::Tag(place)) {
            wrong.push(format!("tag {place} is not found by its fingerprint"));
        }
        if let Some(what) = self.check_condemned(place, tag) {
            wrong.push(format!("tag {place} {what}"));
        }
        (seen, wrong)
    }

    fn check_condemned(&self, place: Place, tag: &Tag) -> Option<&'static str> {
        let queued = self.queue.get(tag.queued_at as usize) == Some(&place);
        if tag.members.is_empty() {
            Some("has no member")
        } else if tag.condemned as usize > tag.members.len() {
            Some("has more condemned members than members")
        } else if tag.condemned > 0 && !queued {
            Some("has condemned members and is not in the queue")
        } else {
            None
        }
    }
}

/// The fingerprints without those that were there before.
fn distinct(tags: &[Fingerprint]) -> impl Iterator<Item = Fingerprint> + '_ {
    let is_first = |&(nth, tag): &(usize, &Fingerprint)| !tags.iter().take(nth).any(|t| t == tag);
    tags.iter().enumerate().filter(is_first).map(|(_, &tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::segments::SEGMENT;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    fn fingerprints() -> Fingerprints {
        Fingerprints::new([7; 16])
    }

    fn assert_consistent(index: &TagIndex) {
        let mut own = 0;
        for place in 0..index.items_end() as Place {
            for fingerprint in index.items.get(place).iter().flat_map(|item| item.own()) {
                assert_eq!(index.find(fingerprint), Some(Owner::Item(place)));
                own += 1;
            }
        }
        assert_eq!(index.tag_count(), own + index.tags.len());
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
        assert!(each <= 95, "{each} bytes for an item");
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
        for own in [true, false] {
            assert_eq!(index.check_item(place, b"key", &[a]), Ok(()));
            assert!(index.check_item(place, b"key", &[a, b]).is_err());
            assert!(index.check_item(place, b"key", &[]).is_err());
            if own {
                let hash = a.hash();
                assert!(index.buckets.remove(hash, Owner::Item(place).to_place()));
                assert!(index.check_item(place, b"key", &[a]).is_err());
                index.buckets.insert(hash, Owner::Item(place).to_place());
                index.insert(b"second", &[a]).unwrap();
            }
        }
        assert!(index.check_item(place, b"other", &[a]).is_err());
        assert!(index.check_item(place + 2, b"key", &[a]).is_err());
        let Some(Owner::Tag(tag)) = index.find(a) else { panic!("it has a place") };
        index.items.get_mut(place).unwrap().set_position(tag, 9);
        assert!(index.check_item(place, b"key", &[a]).is_err());
        let (seen, wrong) = index.check_tag(tag, 0, 10);
        assert_eq!((seen, wrong.len()), (2, 1));
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
