//! The regions of a database, by their tags.
//!
//! A region comes to be with its first entry, or when somebody reads it while there is room for another: so many of them
//! there are at most, and names that nobody has stored anything under go first.

use crate::cache::region::Region;
use crate::entry::kind::RegionOf;
use crate::entry::region_tag::RegionTag;
use crate::tags::fingerprint::{Fingerprint, Fingerprints};
use ahash::AHashMap;

/// The most regions that a database has.
pub const MAX_REGIONS: usize = 1024;

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Regions {
    by_tag: AHashMap<Box<[u8]>, Box<Region>>,
    /// Of all.
    bytes: u64,
}

impl Regions {
    pub fn len(&self) -> usize {
        self.by_tag.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    /// What all entries take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn get(&self, tag: &[u8]) -> Option<&Region> {
        self.by_tag.get(tag).map(|region| &**region)
    }

    #[inline]
    pub fn get_mut(&mut self, tag: &[u8]) -> Option<&mut Region> {
        self.by_tag.get_mut(tag).map(|region| &mut **region)
    }

    /// In the order of their tags.
    pub fn tags(&self) -> Vec<Box<[u8]>> {
        let mut tags: Vec<_> = self.by_tag.keys().cloned().collect();
        tags.sort_unstable();
        tags
    }

    /// Whether an entry of a region finds room.
    pub fn has_room(&self, tag: &[u8]) -> bool {
        self.by_tag.len() < MAX_REGIONS
            || self.by_tag.contains_key(tag)
            || self.by_tag.values().any(|region| region.is_empty())
    }

    /// The region of this tag, made where there is room.
    pub fn find(&mut self, tag: &RegionTag, of: &Fingerprints) -> Option<&mut Region> {
        if !self.by_tag.contains_key(tag.bytes()) {
            if self.by_tag.len() >= MAX_REGIONS {
                return None;
            }
            self.make(tag, of.of(tag.bytes()));
        }
        self.get_mut(tag.bytes())
    }

    fn make(&mut self, tag: &RegionTag, print: Fingerprint) {
        self.by_tag.insert(tag.bytes().into(), Box::new(Region::new(*tag, print)));
    }

    /// An entry has come, under a name of so many bytes. Where there are so many regions already, one that has none
    /// gives way.
    pub fn came(
        &mut self,
        entry: RegionOf,
        name_len: usize,
        of: &Fingerprints,
    ) -> Option<&mut Region> {
        let tag = RegionTag::new(entry.namespace, entry.name)?;
        if self.by_tag.len() >= MAX_REGIONS && !self.by_tag.contains_key(tag.bytes()) {
            let free = self.by_tag.iter().find(|(_, region)| region.is_empty());
            if let Some(free) = free.map(|(tag, _)| tag.clone()) {
                self.by_tag.remove(&free);
            }
        }
        let bytes = (entry.bytes + name_len) as u64;
        self.bytes += bytes;
        if !self.by_tag.contains_key(tag.bytes()) {
            self.make(&tag, of.of(tag.bytes()));
        }
        let region = self.get_mut(tag.bytes())?;
        region.bytes += bytes;
        Some(region)
    }

    /// An entry of the region of this tag has gone, that took so many bytes with its name.
    pub fn went(&mut self, tag: &[u8], bytes: u64) {
        if let Some(region) = self.get_mut(tag) {
            let bytes = bytes.min(region.bytes);
            region.bytes -= bytes;
            self.bytes -= bytes.min(self.bytes);
        }
    }
}
