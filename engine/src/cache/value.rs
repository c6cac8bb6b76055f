//! A value of a region's: the bytes that an application has stored, or that there are none, with what is told beside
//! them and the tags that they carry, in one run of bytes:
//!
//! ```text
//! stored at, grace (8 bytes each, the lower first) | flags, lengths of region, label and namespace, number of tags (a byte each) | length of the tags (2 bytes) | region | label | namespace | tags | value
//! ```
//!
//! Nothing in it can change: another value replaces it. Until when it is fresh is no part of it: that is the key's
//! expiry, less the grace.

use crate::entry::kind::{Entry, Kind, RegionOf};
use crate::entry::region_tag::{RegionTag, MAX_REGION_BYTES, REGION};
use crate::entry::tag_names::{self, MAX_NAMESPACE_BYTES};
use std::borrow::Cow;

/// The most bytes of a value, whatever `max-value-bytes` says.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// The most bytes of a label.
pub const MAX_LABEL_BYTES: usize = 64;

/// The longest grace, in milliseconds: a year.
pub const MAX_GRACE_MS: i64 = 31_536_000_000;

/// What [`Header::flags`] says: that the source has no such thing; that the value was invalidated softly before it came
/// to where it is.
const ABSENT: u8 = 1;
const SOFTENED: u8 = 2;

const HEADER_BYTES: usize = 23;

/// The most bytes that it has beside the value.
pub const MAX_FRAME_BYTES: usize = HEADER_BYTES
    + MAX_REGION_BYTES
    + MAX_LABEL_BYTES
    + MAX_NAMESPACE_BYTES
    + tag_names::MAX_CALLER_TAGS * (2 + tag_names::MAX_TAG_BYTES);

/// What a value is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `None`: the source has no such thing.
    pub value: Option<&'a [u8]>,
    pub region: &'a [u8],
    /// Empty where there is none.
    pub namespace: &'a [u8],
    pub label: &'a [u8],
    /// Epoch milliseconds.
    pub stored_at: i64,
    /// How long it is stale, in milliseconds, once it is not fresh any more.
    pub grace: i64,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Cached<'a> {
    bytes: Cow<'a, [u8]>,
    /// What they begin with.
    header: Header,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    stored_at: i64,
    grace: i64,
    flags: u8,
    region_len: u8,
    label_len: u8,
    namespace_len: u8,
    tags: u8,
    tags_len: u16,
}

impl Header {
    const NONE: Self = Self {
        stored_at: 0,
        grace: 0,
        flags: ABSENT,
        region_len: 0,
        label_len: 0,
        namespace_len: 0,
        tags: 0,
        tags_len: 0,
    };

    #[inline]
    fn read(bytes: &[u8]) -> Self {
        let Some(&bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Self::NONE };
        let [s0, s1, s2, s3, s4, s5, s6, s7, g0, g1, g2, g3, g4, g5, g6, g7, rest @ ..] = bytes;
        let [flags, region_len, label_len, namespace_len, tags, t0, t1] = rest;
        Self {
            stored_at: i64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            grace: i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]),
            flags,
            region_len,
            label_len,
            namespace_len,
            tags,
            tags_len: u16::from_le_bytes([t0, t1]),
        }
    }

    fn label_at(&self) -> usize {
        HEADER_BYTES + usize::from(self.region_len)
    }

    fn namespace_at(&self) -> usize {
        self.label_at() + usize::from(self.label_len)
    }

    fn tags_at(&self) -> usize {
        self.namespace_at() + usize::from(self.namespace_len)
    }

    fn value_at(&self) -> usize {
        self.tags_at() + usize::from(self.tags_len)
    }

    fn is_absent(&self) -> bool {
        self.flags & ABSENT != 0
    }

    /// Whether what stands in it is within bounds.
    fn is_within_bounds(&self) -> bool {
        self.stored_at >= 0
            && (0..=MAX_GRACE_MS).contains(&self.grace)
            && self.flags & !(ABSENT | SOFTENED) == 0
            && usize::from(self.label_len) <= MAX_LABEL_BYTES
            && usize::from(self.tags) <= tag_names::MAX_CALLER_TAGS
    }
}

impl Cached<'static> {
    /// Tags that occur twice, or that are the region's, are kept once. `None` where something is beyond its bounds.
    pub fn new(parts: &Parts, tags: &[&[u8]]) -> Option<Self> {
        Self::new_in(parts, tags, Vec::new())
    }

    /// The same in memory that was used before; [`Cached::into_memory`] gives it back.
    pub fn new_in(parts: &Parts, tags: &[&[u8]], mut bytes: Vec<u8>) -> Option<Self> {
        let value = parts.value.unwrap_or_default();
        let is_within = value.len() <= MAX_VALUE_BYTES
            && parts.label.len() <= MAX_LABEL_BYTES
            && (0..=MAX_GRACE_MS).contains(&parts.grace)
            && parts.stored_at >= 0;
        if !is_within {
            return None;
        }
        let automatic = RegionTag::new(parts.namespace, parts.region)?;
        let own = tag_names::own(Kind::Cached, tags, &[automatic.bytes()])?;
        let tags_len = tag_names::stored_bytes(&own);
        let named = [parts.region, parts.label, parts.namespace];
        let len = named.iter().map(|part| part.len()).sum::<usize>() + tags_len + value.len();
        bytes.clear();
        bytes.reserve(HEADER_BYTES + len);
        bytes.extend_from_slice(&parts.stored_at.to_le_bytes());
        bytes.extend_from_slice(&parts.grace.to_le_bytes());
        bytes.push(if parts.value.is_none() { ABSENT } else { 0 });
        for part in named {
            bytes.push(u8::try_from(part.len()).ok()?);
        }
        bytes.push(u8::try_from(own.len()).ok()?);
        bytes.extend_from_slice(&u16::try_from(tags_len).ok()?.to_le_bytes());
        named.iter().for_each(|part| bytes.extend_from_slice(part));
        tag_names::push(&own, &mut bytes)?;
        bytes.extend_from_slice(value);
        Some(Self::owned(bytes))
    }

    fn owned(bytes: Vec<u8>) -> Self {
        Self { header: Header::read(&bytes), bytes: Cow::Owned(bytes) }
    }
}

impl<'a> Cached<'a> {
    pub fn into_memory(self) -> Vec<u8> {
        match self.bytes {
            Cow::Owned(memory) => memory,
            Cow::Borrowed(_) => Vec::new(),
        }
    }

    /// A value whose bytes were [checked](Self::read) when they came.
    #[inline]
    pub fn stored(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), header: Header::read(bytes) }
    }

    /// Reads the bytes of a value; `None` where they are not what [`Cached::new`] makes, softened or not.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let cached = Self::stored(bytes);
        let header = cached.header;
        let value_len = bytes.len().checked_sub(header.value_at())?;
        let is_valued =
            if header.is_absent() { value_len == 0 } else { value_len <= MAX_VALUE_BYTES };
        let automatic = RegionTag::new(cached.namespace(), cached.region())?;
        let are_all = {
            let tags: Vec<&[u8]> = cached.own_tags().collect();
            // All that were to be there, each once, and nothing behind them.
            let own = tag_names::own(Kind::Cached, &tags, &[automatic.bytes()])?;
            own.len() == usize::from(header.tags)
                && tag_names::stored_bytes(&own) == usize::from(header.tags_len)
        };
        (header.is_within_bounds() && is_valued && are_all).then_some(cached)
    }

    pub fn into_owned(self) -> Cached<'static> {
        Cached { bytes: Cow::Owned(self.bytes.into_owned()), header: self.header }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of the parts behind the header, one that begins at `from`.
    fn part(&self, from: usize, len: u8) -> &[u8] {
        self.bytes.get(from..from + usize::from(len)).unwrap_or_default()
    }

    pub fn region(&self) -> &[u8] {
        self.part(HEADER_BYTES, self.header.region_len)
    }

    /// Empty where there is none.
    pub fn label(&self) -> &[u8] {
        self.part(self.header.label_at(), self.header.label_len)
    }

    pub fn namespace(&self) -> &[u8] {
        self.part(self.header.namespace_at(), self.header.namespace_len)
    }

    /// The value; `None` where the source has no such thing.
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        let value = || self.bytes.get(self.header.value_at()..).unwrap_or_default();
        (!self.header.is_absent()).then(value)
    }

    /// The tags that it was given.
    pub fn own_tags(&self) -> impl Iterator<Item = &[u8]> {
        let tags = self.header.tags_at()..self.header.value_at();
        let tags = self.bytes.get(tags).unwrap_or_default();
        tag_names::stored(tags, self.header.tags)
    }

    /// Epoch milliseconds.
    pub fn stored_at(&self) -> i64 {
        self.header.stored_at
    }

    /// How long it is stale, in milliseconds, once it is not fresh any more.
    pub fn grace(&self) -> i64 {
        self.header.grace
    }

    /// Whether it was invalidated softly before it came to where it is.
    pub fn was_softened(&self) -> bool {
        self.header.flags & SOFTENED != 0
    }

    /// The same, invalidated softly.
    pub fn softened(&self) -> Cached<'static> {
        let mut bytes = self.bytes.to_vec();
        if let Some(flags) = bytes.get_mut(16) {
            *flags |= SOFTENED;
        }
        Cached::owned(bytes)
    }

    /// Whether it belongs to this region.
    #[inline]
    pub fn is_of(&self, namespace: &[u8], region: &[u8]) -> bool {
        self.region() == region && self.namespace() == namespace
    }
}

impl Entry for Cached<'_> {
    fn kind(&self) -> Kind {
        Kind::Cached
    }

    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        tag_names::each_automatic(self.namespace(), &[(REGION, self.region())], each);
        self.own_tags().for_each(each);
    }

    fn tag_count(&self) -> usize {
        1 + usize::from(self.header.tags)
    }

    fn outlives_soft(&self) -> bool {
        self.grace() > 0 && !self.header.is_absent()
    }

    fn region(&self) -> Option<RegionOf<'_>> {
        let (namespace, name) = (self.namespace(), Cached::region(self));
        Some(RegionOf { namespace, name, bytes: self.bytes.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARTS: Parts = Parts {
        value: Some(b"{}"),
        region: b"products",
        namespace: b"acme:",
        label: b"json",
        stored_at: 1_700_000_000_000,
        grace: 60_000,
    };

    fn tags(cached: &Cached) -> Vec<String> {
        let mut tags = Vec::new();
        cached.each_tag(&mut |tag| tags.push(String::from_utf8_lossy(tag).into_owned()));
        assert_eq!(cached.tag_count(), tags.len());
        tags
    }

    #[test]
    fn a_value_tells_what_it_was_made_of() {
        let given: [&[u8]; 4] = [b"x", b"y", b"x", b"acme:cache:region:products"];
        let cached = Cached::new(&PARTS, &given).unwrap();
        assert_eq!(cached.value(), Some(&b"{}"[..]));
        assert_eq!(
            (cached.region(), cached.namespace(), cached.label()),
            (&b"products"[..], &b"acme:"[..], &b"json"[..])
        );
        assert_eq!((cached.stored_at(), cached.grace()), (PARTS.stored_at, PARTS.grace));
        assert_eq!(tags(&cached), ["acme:cache:region:products", "x", "y"]);
        assert!(cached.is_of(b"acme:", b"products"));
        assert!(!cached.is_of(b"", b"products") && !cached.is_of(b"acme:", b"product"));
    }

    #[test]
    fn what_the_source_does_not_have_is_no_empty_value() {
        let absent = Cached::new(&Parts { value: None, ..PARTS }, &[]).unwrap();
        let empty = Cached::new(&Parts { value: Some(b""), ..PARTS }, &[]).unwrap();
        assert_eq!((absent.value(), empty.value()), (None, Some(&b""[..])));
        assert!(!absent.outlives_soft() && empty.outlives_soft());
        let without_grace = Cached::new(&Parts { grace: 0, ..PARTS }, &[]).unwrap();
        assert!(!without_grace.outlives_soft());
    }

    #[test]
    fn bounds_are_kept() {
        for parts in [
            Parts { region: b"", ..PARTS },
            Parts { region: &[b'r'; 65], ..PARTS },
            Parts { namespace: &[b'n'; 101], ..PARTS },
            Parts { label: &[b'l'; 65], ..PARTS },
            Parts { grace: -1, ..PARTS },
            Parts { grace: MAX_GRACE_MS + 1, ..PARTS },
            Parts { stored_at: -1, ..PARTS },
        ] {
            assert!(Cached::new(&parts, &[]).is_none());
        }
        assert!(Cached::new(&PARTS, &[b""]).is_none());
        assert!(Cached::new(&PARTS, &[&[b't'; 257]]).is_none());
        let many: Vec<[u8; 2]> = (0..65).map(|n: u8| [b't', n]).collect();
        let many: Vec<&[u8]> = many.iter().map(|tag| &tag[..]).collect();
        assert!(Cached::new(&PARTS, &many).is_none());
        assert_eq!(Cached::new(&PARTS, &many[1..]).unwrap().tag_count(), 65);
    }

    /// Whether bytes are what is made of the parts that they name.
    fn is_made(bytes: &[u8]) -> bool {
        let cached = Cached::stored(bytes);
        let parts = Parts {
            value: cached.value(),
            region: cached.region(),
            namespace: cached.namespace(),
            label: cached.label(),
            stored_at: cached.stored_at(),
            grace: cached.grace(),
        };
        let tags: Vec<&[u8]> = cached.own_tags().collect();
        Cached::new(&parts, &tags).is_some_and(|made| {
            let made = if cached.was_softened() { made.softened() } else { made };
            made.bytes() == bytes
        })
    }

    proptest! {
        #[test]
        fn bytes_are_read_as_they_were_made_and_no_others(
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            region in proptest::collection::vec(any::<u8>(), 1..65),
            namespace in proptest::collection::vec(any::<u8>(), 0..101),
            label in proptest::collection::vec(any::<u8>(), 0..65),
            own in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..5),
            grace in 0..=MAX_GRACE_MS,
            damage in (any::<prop::sample::Index>(), any::<u8>()),
            cut in any::<prop::sample::Index>(),
        ) {
            let parts = Parts {
                value: value.as_deref(),
                region: &region,
                namespace: &namespace,
                label: &label,
                stored_at: 7,
                grace,
            };
            let tags: Vec<&[u8]> = own.iter().map(Vec::as_slice).collect();
            let made = Cached::new(&parts, &tags).unwrap();
            let read = Cached::read(made.bytes()).unwrap();
            prop_assert_eq!(read.value(), value.as_deref());
            prop_assert!(!read.was_softened());
            let softened = made.softened();
            prop_assert!(Cached::read(softened.bytes()).unwrap().was_softened());
            prop_assert!(Cached::read(&made.bytes()[..cut.index(made.bytes().len().min(23))]).is_none());
            // Whatever is read is what is made of its parts, but for whether it was softened, and names each of its tags.
            let mut bytes = made.bytes().to_vec();
            let at = damage.0.index(bytes.len());
            bytes[at] = damage.1;
            prop_assert_eq!(Cached::read(&bytes).is_some(), is_made(&bytes));
            if let Some(read) = Cached::read(&bytes) {
                let mut named = 0;
                read.each_tag(&mut |_| named += 1);
                prop_assert_eq!(named, read.tag_count());
                prop_assert!(RegionTag::new(read.namespace(), read.region()).is_some());
            }
        }
    }
}
