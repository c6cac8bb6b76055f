//! The tag of a region, by which all of it dies: what tells regions apart, and what their entries carry.

use crate::entry::tag_names::{MAX_ANY_TAG_BYTES, MAX_NAMESPACE_BYTES};

/// What it begins with, behind the namespace; the region's name follows.
pub const REGION: &str = "cache:region:";

/// The most bytes that the name of a region may have; the least is 1.
pub const MAX_REGION_BYTES: usize = 64;

/// Whether a tag can be a region's: what is not of the region must not carry it, since its entries are counted by it.
pub fn is_regions(tag: &[u8]) -> bool {
    tag.windows(REGION.len()).any(|part| part == REGION.as_bytes())
}

const MAX_BYTES: usize = MAX_NAMESPACE_BYTES + REGION.len() + MAX_REGION_BYTES;
const _: () = assert!(MAX_BYTES <= MAX_ANY_TAG_BYTES);

/// The tag of a region, made without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct RegionTag {
    bytes: [u8; MAX_BYTES],
    len: u8,
    namespace_len: u8,
}

impl RegionTag {
    /// That of a region of a namespace, which may be empty; `None` where one of them is beyond its bounds.
    pub fn new(namespace: &[u8], region: &[u8]) -> Option<Self> {
        let is_within = namespace.len() <= MAX_NAMESPACE_BYTES
            && (1..=MAX_REGION_BYTES).contains(&region.len());
        if !is_within {
            return None;
        }
        let mut bytes = [0; MAX_BYTES];
        let mut len = 0;
        for part in [namespace, REGION.as_bytes(), region] {
            bytes.get_mut(len..len + part.len())?.copy_from_slice(part);
            len += part.len();
        }
        let (len, namespace_len) = (u8::try_from(len).ok()?, u8::try_from(namespace.len()).ok()?);
        Some(Self { bytes, len, namespace_len })
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    pub fn namespace(&self) -> &[u8] {
        self.bytes.get(..self.namespace_len.into()).unwrap_or_default()
    }

    pub fn region(&self) -> &[u8] {
        let from = usize::from(self.namespace_len) + REGION.len();
        self.bytes.get(from..self.len.into()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_made_of_namespace_and_region_and_tells_both() {
        for (namespace, region, tag) in [
            (&b""[..], &b"products"[..], &b"cache:region:products"[..]),
            (b"acme:", b"p", b"acme:cache:region:p"),
        ] {
            let made = RegionTag::new(namespace, region).unwrap();
            assert_eq!((made.bytes(), made.namespace(), made.region()), (tag, namespace, region));
        }
        let longest = RegionTag::new(&[b'n'; 100], &[b'r'; 64]).unwrap();
        assert_eq!(longest.bytes().len(), MAX_BYTES);
        for (namespace, region) in [(&b"n"[..], &b""[..]), (b"", &[b'r'; 65]), (&[b'n'; 101], b"r")]
        {
            assert!(RegionTag::new(namespace, region).is_none());
        }
    }
}
