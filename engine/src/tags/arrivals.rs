//! Items that have come to the index and wait to be entered together: where each is, and copies of its name
//! and tags.

use crate::tags::fingerprint::Fingerprint;
use crate::tags::segments::Place;

/// Items that are entered together: what they read of the index has to fit into a processor's cache.
const BATCH: usize = 256;

/// Bytes of names that are kept at most, and the memory for them.
const NAME_BYTES: usize = 16 << 10;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    items: Vec<Arrival>,
    names: Vec<u8>,
    tags: Vec<Fingerprint>,
    /// Of each tag whose it may be, once that was looked up.
    owners: Vec<Place>,
}

/// An item whose name and tags end there, and begin where those of the one before it end.
#[derive(Debug)]
struct Arrival {
    place: Place,
    name_end: usize,
    tags_end: usize,
}

impl Arrivals {
    pub(super) fn push(&mut self, place: Place, name: &[u8], tags: &[Fingerprint]) {
        self.names.extend_from_slice(name);
        self.tags.extend_from_slice(tags);
        self.items.push(Arrival { place, name_end: self.names.len(), tags_end: self.tags.len() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= BATCH || self.names.len() >= NAME_BYTES
    }

    /// Has the tags of all looked up.
    pub(super) fn fetch(&mut self, fetch: impl FnOnce(&[Fingerprint], &mut Vec<Place>)) {
        fetch(&self.tags, &mut self.owners);
    }

    /// The tags of all.
    pub(super) fn tags(&self) -> &[Fingerprint] {
        &self.tags
    }

    /// In the order in which they came: place, name, tags, and whose the tags may be.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &[u8], &[Fingerprint], &[Place])> {
        let (mut name_from, mut tags_from) = (0, 0);
        self.items.iter().map(move |&Arrival { place, name_end, tags_end }| {
            let name = self.names.get(name_from..name_end).unwrap_or_default();
            let tags = self.tags.get(tags_from..tags_end).unwrap_or_default();
            let owners = self.owners.get(tags_from..tags_end).unwrap_or_default();
            (name_from, tags_from) = (name_end, tags_end);
            (place, name, tags, owners)
        })
    }

    /// All are entered; others come.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.names.clear();
        self.names.shrink_to(NAME_BYTES);
        self.tags.clear();
        self.owners.clear();
    }
}
