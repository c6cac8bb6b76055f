//! An item of the index: a name with its tags, in one allocation; and who has a tag's members.
//!
//! An item has its name and for each of its tags the tag's place and its own position in that tag's list; of
//! a tag that is its own, the fingerprint alone.

use crate::tags::fingerprint::Fingerprint;
use crate::tags::segments::Place;

/// An item's place in a tag's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) tag: Place,
    pub(super) position: u32,
}

const MEMBERSHIP_BYTES: usize = 8;

const FINGERPRINT_BYTES: usize = 16;

/// A name and its tags: `[count][own count][tag, position]..[own fingerprint]..[name]`, numbers with
/// the lower byte first.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) packed: Box<[u8]>,
}

impl Item {
    pub(super) fn new(name: &[u8], tags: &ItemTags) -> Option<Self> {
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

    /// Reads the first and the last byte, for the index to have both in the cache.
    pub(super) fn touch(&self) -> u8 {
        self.packed.first().zip(self.packed.last()).map_or(0, |(first, last)| first ^ last)
    }

    pub(super) fn name(&self) -> &[u8] {
        self.parts().2
    }

    pub(super) fn memberships(&self) -> impl Iterator<Item = Membership> + '_ {
        self.parts().0.iter().map(|&[a, b, c, d, e, f, g, h]| Membership {
            tag: u32::from_le_bytes([a, b, c, d]),
            position: u32::from_le_bytes([e, f, g, h]),
        })
    }

    pub(super) fn own(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.parts().1.iter().map(|bytes| {
            let mut parts = [0; 4];
            for (part, &bytes) in parts.iter_mut().zip(bytes.as_chunks().0) {
                *part = u32::from_le_bytes(bytes);
            }
            Fingerprint(parts)
        })
    }

    pub(super) fn tags(&self) -> ItemTags {
        ItemTags { shared: self.memberships().collect(), own: self.own().collect() }
    }

    pub(super) fn set_position(&mut self, tag: Place, position: u32) {
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
pub(super) struct ItemTags {
    pub(super) shared: Vec<Membership>,
    pub(super) own: Vec<Fingerprint>,
}

impl ItemTags {
    pub(super) fn clear(&mut self) {
        self.shared.clear();
        self.own.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.shared.len() + self.own.len()
    }

    /// Whether the tag that `owner` stands for is among them.
    pub(super) fn has(&self, owner: Owner, fingerprint: Fingerprint) -> bool {
        match owner {
            Owner::Tag(place) => self.shared.iter().any(|membership| membership.tag == place),
            Owner::Item(_) => self.own.contains(&fingerprint),
        }
    }
}

/// Who has the members of a tag: the tag at a place, or the one item whose own it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Tag(Place),
    Item(Place),
}

/// Places of items and of tags are below: in the hash table it tells them apart.
pub(super) const ITEM: Place = 1 << 31;

impl Owner {
    pub(super) fn of(place: Place) -> Self {
        if place & ITEM == 0 {
            Self::Tag(place)
        } else {
            Self::Item(place & !ITEM)
        }
    }

    pub(super) fn to_place(self) -> Place {
        match self {
            Self::Tag(place) => place,
            Self::Item(place) => place | ITEM,
        }
    }
}
