//! Whether the index is what it says to be: each item in the lists of its tags, each member of a list an item
//! that says so.

use crate::tags::fingerprint::Fingerprint;
use crate::tags::index::{Tag, TagIndex};
use crate::tags::item::Owner;
use crate::tags::segments::{Place, NOWHERE};

impl TagIndex {
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
        if let Some(what) = self.check_parts(place, tag) {
            wrong.push(format!("tag {place} {what}"));
        }
        (seen, wrong)
    }

    /// The condemned, the softened, and where they are queued.
    fn check_parts(&self, place: Place, tag: &Tag) -> Option<&'static str> {
        let queued = self.queue.get(tag.queued_at as usize) == Some(&place);
        let pass = self.passes.get(tag.pass_at as usize);
        if tag.members.is_empty() {
            Some("has no member")
        } else if tag.condemned as usize > tag.members.len() {
            Some("has more condemned members than members")
        } else if tag.softened < tag.condemned || tag.softened as usize > tag.members.len() {
            Some("has softened members before the condemned or behind all others")
        } else if tag.condemned > 0 && !queued {
            Some("has condemned members and is not in the queue")
        } else if tag.pass_at != NOWHERE && pass.is_none_or(|pass| pass.tag != place) {
            Some("has a pass that is not its own")
        } else if tag.pass_at != NOWHERE && tag.softened == tag.condemned {
            Some("has a pass and no softened member")
        } else if pass.is_some_and(|pass| pass.left <= tag.condemned) {
            Some("has a pass that is over")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tags::index::tests::fingerprints;
    use crate::tags::index::{Tag, TagIndex};
    use crate::tags::item::Owner;

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
    fn check_finds_parts_of_a_list_that_are_not_in_order() {
        type Change = fn(&mut Tag);
        let cases: [(Change, &str); 7] = [
            (|tag| tag.condemned = 5, "more condemned members than members"),
            (|tag| tag.softened = 0, "before the condemned"),
            (|tag| tag.softened = 5, "behind all others"),
            (|tag| tag.queued_at = 1, "not in the queue"),
            (|tag| tag.pass_at = 1, "not its own"),
            (|tag| tag.softened = tag.condemned, "no softened member"),
            (|tag| (tag.condemned, tag.softened) = (2, 3), "that is over"),
        ];
        for (change, says) in cases {
            let (mut index, of) = (TagIndex::default(), fingerprints());
            let a = of.of(b"a");
            index.insert(b"1", &[a]).unwrap();
            index.condemn(a);
            index.insert(b"2", &[a]).unwrap();
            index.soften(a);
            index.insert(b"3", &[a]).unwrap();
            let Some(Owner::Tag(tag)) = index.find(a) else { panic!("it has a place") };
            assert_eq!(index.check_tag(tag, 0, 10), (3, Vec::new()));
            change(index.tags.get_mut(tag).unwrap());
            let (_, wrong) = index.check_tag(tag, 0, 10);
            assert!(wrong.len() == 1 && wrong[0].contains(says), "{wrong:?} is not {says}");
        }
    }
}
