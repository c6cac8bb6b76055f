//! The tag index: which names carry which tags.
//!
//! It serves one database and knows neither Redis nor API keys. An *item* is a name with the tags it
//! carries; a *tag* is known by its [`Fingerprint`] and has a list of its members. How both are walked over is in
//! [`crate::tags::walk`].
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
//! **Condemned members.** [`TagIndex::condemn`] condemns all members that a tag has, in constant time:
//! it notes how long the tag's list is. Who joins later stands behind them, so that in each list the
//! condemned come first, and an item is condemned when in one of its tags' lists it stands among
//! them. When one of them leaves, the last of them takes its position, and the list's last member that
//! one's. This is the design's comparison of an entry's number with its tag's, without a number in
//! either: both say who came before the tag was last invalidated. The tags that have condemned members
//! are kept in a queue, which [`TagIndex::next_condemned`] walks for whoever takes them away.
//!
//! **Softened members.** [`TagIndex::soften`] says of the members that a tag has that they are stale, and leaves
//! them there, by a second number: behind the condemned come the softened, then all others. When a member
//! leaves, each of these parts gives its last to fill the hole that the part before it left. What their staleness
//! means is the owner's to say of each. So that it looks at all of them, a tag that is softened begins a *pass*,
//! which [`TagIndex::next_softened`] goes on with, and which ends whether they stay or leave: with the last of
//! them, with the tag, or when it condemns them.
//!
//! **What always holds.** For every item and each of its tags: the tag's list has the item's place at
//! the position that the item says. Every list entry belongs to such an item. A tag without members
//! does not exist. A tag is in the queue, once, when it has condemned members. It has one pass at most, and
//! none where it has no softened member, so that there are no more passes than tags.
//! [`TagIndex::check_tag`] and [`TagIndex::check_item`] look at it.
//!
//! **Arrivals.** Where many items come and nobody looks meanwhile, they wait and are entered together
//! ([`TagIndex::insert_later`]): the lines of memory that they need are then asked for at once, where one
//! item alone would wait for one after the other. An item has its place at once; all else holds again after
//! [`TagIndex::settle`], and until then nothing but an insertion is asked of the index.
//!
//! **Cost.** Every operation on an item is linear in its own tags, of which a tag has no say. No table
//! is ever moved or freed as a whole (dropping the index is the one exception: drop a large one on
//! another thread). For an entry with a 25-byte name and 3 tags of which one is its own: about 100
//! bytes.
//!
//! **What it does not do.** It does not know whether an item's key exists; its owner says when one
//! comes and goes.

use crate::tags::arrivals::Arrivals;
use crate::tags::buckets::Buckets;
use crate::tags::fingerprint::Fingerprint;
use crate::tags::item::{Item, ItemTags, Membership, Owner, ITEM};
use crate::tags::segments::{Place, Segments, Slab, NOWHERE};
use std::hint::black_box;

/// A tag that has a list of its members, the condemned ones first and behind them the softened.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) fingerprint: Fingerprint,
    pub(super) members: Segments<Place>,
    /// How many are condemned.
    pub(super) condemned: u32,
    /// How many are condemned or softened.
    pub(super) softened: u32,
    /// The tag's position in the queue, if some are condemned.
    pub(super) queued_at: u32,
    /// That of its pass among the passes; [`NOWHERE`] where it has none.
    pub(super) pass_at: u32,
}

/// A walk over the softened members of a tag, from the last to the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) tag: Place,
    /// Positions of the list that are still to be visited, at most.
    pub(super) left: u32,
}

/// What an item's tags say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Alive,
    /// It is stale by one of them at least, and condemned by none.
    Softened,
    Condemned,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct TagIndex {
    pub(super) items: Slab<Item>,
    pub(super) tags: Slab<Tag>,
    /// All tags, by the place of their [`Owner`].
    pub(super) buckets: Buckets,
    /// The tags that have condemned members.
    pub(super) queue: Segments<Place>,
    /// Passes that have not ended; the one that stands last goes on.
    pub(super) passes: Segments<Pass>,
    /// Condemned members of all tags; an item can be one in several.
    condemned: usize,
    /// Likewise the softened ones, without those that the same tag condemns.
    softened: usize,
    /// What is left of all passes.
    pub(super) to_visit: usize,
    /// Reserved tags that have a member.
    reserved: usize,
    /// Bytes of all items' allocations and of all lists.
    owned_bytes: usize,
    /// Reused for the tags of an item that comes.
    joined: ItemTags,
    /// Items that have a place and are in no list yet.
    arrivals: Arrivals,
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

    /// Tags that have a member, without the reserved ones.
    pub fn tag_count(&self) -> usize {
        self.buckets.len() - self.reserved
    }

    /// Bytes that the index has allocated.
    pub fn bytes(&self) -> usize {
        self.items.bytes()
            + self.tags.bytes()
            + self.buckets.bytes()
            + self.queue.bytes()
            + self.passes.bytes()
            + self.owned_bytes
    }

    /// Whether another item, with as many tags as one can carry, finds room (there are two thousand
    /// million places).
    pub fn has_room(&self) -> bool {
        let tags = self.tags.end() + self.arrivals.tags().len();
        self.items.end().max(tags) + MAX_ITEM_TAGS + 2048 < ITEM as usize
    }

    /// Adds an item; a tag given twice counts once. `None` when there is no room
    /// ([`TagIndex::has_room`]) or it has more than [`MAX_ITEM_TAGS`].
    pub fn insert(&mut self, name: &[u8], tags: &[Fingerprint]) -> Option<Place> {
        if !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            return None;
        }
        let place = self.items.insert(Item { packed: Box::default() })?;
        self.touch(tags.iter().copied());
        self.enter(place, name, tags, &[])
    }

    /// The same, to be entered together with others that come; see the top of this file.
    pub fn insert_later(&mut self, name: &[u8], tags: &[Fingerprint]) -> Option<Place> {
        if !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            return None;
        }
        let place = self.items.insert(Item { packed: Box::default() })?;
        self.arrivals.push(place, name, tags);
        if self.arrivals.is_full() {
            self.enter_arrivals();
        }
        Some(place)
    }

    /// Enters what has come by [`TagIndex::insert_later`].
    pub fn settle(&mut self) {
        self.enter_arrivals();
        self.arrivals = Arrivals::default();
    }

    fn enter_arrivals(&mut self) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        arrivals.fetch(|tags, owners| self.fetch(tags, owners));
        for (place, name, tags, owners) in arrivals.iter() {
            self.enter(place, name, tags, owners);
        }
        arrivals.clear();
        self.arrivals = arrivals;
    }

    /// Enters an item whose place has none yet. Of its first tags `owners` may have them; [`NOWHERE`] is not
    /// known.
    fn enter(
        &mut self,
        place: Place,
        name: &[u8],
        tags: &[Fingerprint],
        owners: &[Place],
    ) -> Option<Place> {
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        for (nth, fingerprint) in distinct(tags) {
            let known = owners.get(nth).filter(|&&owner| self.is_of(owner, fingerprint));
            match known.map_or_else(|| self.owner(fingerprint), |&owner| Some(Owner::of(owner))) {
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
    /// position, unless it was condemned or softened, by whichever tag: then it leaves and comes anew. Returns
    /// its place from now on; `None`, and it is gone, as [`TagIndex::insert`].
    pub fn replace(&mut self, place: Place, tags: &[Fingerprint]) -> Option<Place> {
        let keeps = self.standing(place) == Standing::Alive;
        if !keeps || !self.has_room() || tags.len() > MAX_ITEM_TAGS {
            let name = self.name(place)?.to_vec();
            self.remove(place);
            return self.insert(&name, tags);
        }
        let before = self.items.get(place)?.tags();
        let mut after = std::mem::take(&mut self.joined);
        after.clear();
        self.touch(tags.iter().copied());
        let mut all_kept = true;
        for (_, fingerprint) in distinct(tags) {
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
            for &left in before.own.iter().filter(|left| !after.own.contains(left)) {
                self.end(left, Owner::Item(place));
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
        self.assert_settled();
        let Some(item) = self.items.remove(place) else { return false };
        self.owned_bytes -= item.packed.len();
        self.touch(item.own());
        for membership in item.memberships() {
            self.leave(membership);
        }
        for fingerprint in item.own() {
            self.end(fingerprint, Owner::Item(place));
        }
        true
    }

    pub fn name(&self, place: Place) -> Option<&[u8]> {
        self.assert_settled();
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
        self.softened -= (std::mem::replace(&mut tag.softened, all) - before) as usize;
        if before == 0 {
            tag.queued_at = self.queue.len() as u32;
            self.queue.push(place);
        }
        let more = (all - before) as usize;
        self.condemned += more;
        let pass_at = tag.pass_at;
        self.end_pass(pass_at);
        more
    }

    /// Softened members of all tags, without those that the same tag condemns; an item that is one in several
    /// counts as often.
    pub fn softened(&self) -> usize {
        self.softened
    }

    /// Softens the members that a tag has and that it does not condemn, and returns how many were not softened
    /// before. Its pass begins, again if it had begun.
    pub fn soften(&mut self, tag: Fingerprint) -> usize {
        let Some(owner) = self.find(tag) else { return 0 };
        let Some(place) = self.list(owner, tag) else { return 0 };
        let Some(tag) = self.tags.get_mut(place) else { return 0 };
        let Ok(all) = u32::try_from(tag.members.len()) else { return 0 };
        let more = (all - std::mem::replace(&mut tag.softened, all)) as usize;
        self.softened += more;
        if all > tag.condemned {
            let pass = Pass { tag: place, left: all };
            self.to_visit += all as usize;
            match self.passes.get_mut(tag.pass_at as usize) {
                Some(begun) => {
                    self.to_visit -= std::mem::replace(begun, pass).left as usize;
                }
                None => {
                    tag.pass_at = self.passes.len() as u32;
                    self.passes.push(pass);
                }
            }
        }
        more
    }

    /// Softened members that the passes have still to visit, at most: what is condemned or has left is counted
    /// until they come there.
    pub fn to_visit(&self) -> usize {
        self.to_visit
    }

    /// What an item's tags say of it.
    pub fn standing(&self, place: Place) -> Standing {
        self.assert_settled();
        if self.condemned | self.softened == 0 {
            return Standing::Alive;
        }
        let Some(item) = self.items.get(place) else { return Standing::Alive };
        let mut standing = Standing::Alive;
        for Membership { tag, position } in item.memberships() {
            match self.tags.get(tag) {
                Some(tag) if position < tag.condemned => return Standing::Condemned,
                Some(tag) if position < tag.softened => standing = Standing::Softened,
                _ => {}
            }
        }
        standing
    }

    /// Whether an item is condemned by one of its tags.
    pub fn is_condemned(&self, place: Place) -> bool {
        self.standing(place) == Standing::Condemned
    }

    /// Whether the item at a place carries a tag.
    pub fn carries(&self, place: Place, tag: Fingerprint) -> bool {
        let Some(item) = self.items.get(place) else { return false };
        match self.find(tag) {
            Some(Owner::Item(owner)) => owner == place,
            Some(Owner::Tag(tag)) => item.memberships().any(|membership| membership.tag == tag),
            None => false,
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

    /// Reads the tags' beginnings in the hash table one right after the other, so that the processor waits
    /// for them together and not for each in its turn.
    fn touch(&self, tags: impl Iterator<Item = Fingerprint>) {
        black_box(tags.fold(0, |seen, tag| seen ^ self.buckets.touch(tag.hash())));
    }

    /// Reads all that entering items with these tags is going to read: what a line of memory leads to is
    /// asked for when the lines that lead there have been, for all tags. Appends whose the tags may be.
    fn fetch(&self, tags: &[Fingerprint], owners: &mut Vec<Place>) {
        self.touch(tags.iter().copied());
        let first = |tag: &Fingerprint| self.buckets.find(tag.hash(), |_| true);
        owners.extend(tags.iter().map(|tag| first(tag).unwrap_or(NOWHERE)));
        let read = |&owner: &Place| match Owner::of(owner) {
            Owner::Tag(place) => {
                let members = &self.tags.get(place)?.members;
                members.get(members.len().checked_sub(1)?).copied()
            }
            Owner::Item(place) => self.items.get(place)?.packed.first().copied().map(Place::from),
        };
        black_box(owners.iter().fold(0, |seen, owner| seen ^ read(owner).unwrap_or(0)));
    }

    /// Reads where the names of these items begin and end, one right after the other, for the same reason.
    pub fn touch_names(&self, places: impl Iterator<Item = Place>) {
        let items = places.filter_map(|place| self.items.get(place));
        black_box(items.fold(0, |seen, item| seen ^ item.touch()));
    }

    /// Reads what [`TagIndex::remove`] of each of these items will, a step of all of them at a time, for the
    /// same reason: the items; what they say of their tags; who takes their places in the lists.
    pub fn touch_items(&self, places: impl Iterator<Item = Place> + Clone) {
        let items = || places.clone().filter_map(|place| self.items.get(place));
        self.touch_names(places.clone());
        self.touch(items().flat_map(Item::own));
        let tags = || items().flat_map(Item::memberships).filter_map(|m| self.tags.get(m.tag));
        black_box(tags().fold(0, |seen, tag| seen ^ tag.members.len()));
        let last = tags().filter_map(|tag| tag.members.get(tag.members.len().checked_sub(1)?));
        let movers = last.filter_map(|&place| self.items.get(place));
        black_box(movers.fold(0, |seen, item| seen ^ item.touch()));
    }

    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<Owner> {
        self.assert_settled();
        self.owner(fingerprint)
    }

    /// See [`TagIndex::insert_later`].
    fn assert_settled(&self) {
        debug_assert!(self.arrivals.is_empty(), "items wait to be entered");
    }

    fn owner(&self, fingerprint: Fingerprint) -> Option<Owner> {
        let is = |owner| self.is_of(owner, fingerprint);
        self.buckets.find(fingerprint.hash(), is).map(Owner::of)
    }

    /// Whether the place is that of the tag's [`Owner`].
    fn is_of(&self, owner: Place, fingerprint: Fingerprint) -> bool {
        match Owner::of(owner) {
            Owner::Tag(place) => {
                self.tags.get(place).is_some_and(|tag| tag.fingerprint == fingerprint)
            }
            Owner::Item(place) => {
                self.items.get(place).is_some_and(|item| item.own().any(|own| own == fingerprint))
            }
        }
    }

    /// Makes a tag that is not there yet an item's own; the item is yet to be told.
    fn own(&mut self, fingerprint: Fingerprint, item: Place, tags: &mut ItemTags) {
        self.buckets.insert(fingerprint.hash(), Owner::Item(item).to_place());
        self.reserved += usize::from(fingerprint.is_reserved());
        tags.own.push(fingerprint);
    }

    /// A tag's last member has left.
    fn end(&mut self, fingerprint: Fingerprint, owner: Owner) {
        if self.buckets.remove(fingerprint.hash(), owner.to_place()) {
            self.reserved -= usize::from(fingerprint.is_reserved());
        }
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
        let place = self.tags.insert(Tag {
            fingerprint,
            members,
            condemned: 0,
            softened: 0,
            queued_at: 0,
            pass_at: NOWHERE,
        })?;
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
        // The last member of a part fills the hole, and leaves one for the part behind.
        let mut end_part = |members: &mut Segments<Place>, end: &mut u32| {
            *end -= 1;
            match members.get(*end as usize) {
                Some(&last) if hole != *end => fill(members, hole, last),
                _ => {}
            }
            hole = *end;
        };
        let was_condemned = position < tag.condemned;
        if was_condemned {
            self.condemned -= 1;
            end_part(members, &mut tag.condemned);
            end_part(members, &mut tag.softened);
        } else if position < tag.softened {
            self.softened -= 1;
            end_part(members, &mut tag.softened);
        }
        let before = members.bytes();
        let last = members.pop();
        self.owned_bytes -= before - members.bytes();
        if let Some(last) = last.filter(|_| (hole as usize) < members.len()) {
            fill(members, hole, last);
        }

        let (is_empty, condemned, queued_at) = (members.is_empty(), tag.condemned, tag.queued_at);
        if tag.softened == condemned {
            let pass_at = tag.pass_at;
            self.end_pass(pass_at);
        }
        if was_condemned && condemned == 0 {
            self.leave_queue(queued_at);
        }
        if is_empty {
            if let Some(tag) = self.tags.remove(place) {
                self.end(tag.fingerprint, Owner::Tag(place));
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

    /// Ends the pass at a position of the passes, if there is one.
    pub(super) fn end_pass(&mut self, position: u32) {
        let Some(&Pass { tag, left }) = self.passes.get(position as usize) else { return };
        self.to_visit -= left as usize;
        if let Some(tag) = self.tags.get_mut(tag) {
            tag.pass_at = NOWHERE;
        }
        let Some(last) = self.passes.pop() else { return };
        let Some(hole) = self.passes.get_mut(position as usize) else { return };
        *hole = last;
        if let Some(tag) = self.tags.get_mut(last.tag) {
            tag.pass_at = position;
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
}

/// The fingerprints without those that were there before, and which of all each is.
fn distinct(tags: &[Fingerprint]) -> impl Iterator<Item = (usize, Fingerprint)> + '_ {
    let is_first = |&(nth, tag): &(usize, &Fingerprint)| !tags.iter().take(nth).any(|t| t == tag);
    tags.iter().enumerate().filter(is_first).map(|(nth, &tag)| (nth, tag))
}

#[cfg(test)]
pub(super) mod tests;
