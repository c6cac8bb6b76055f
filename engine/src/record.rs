//! A record: what an application knows of an API key, with the digests of its secret and the tags it
//! carries, laid out for VALIDATE in one allocation:
//!
//! ```text
//! header | json | digests | scopes | namespace | tags | id and user_id where the JSON has them escaped
//! ```
//!
//! Nothing in it can change: another record replaces it.

use crate::digest::{Digest, DIGEST_BYTES};
use crate::entry::{Entry, Kind};
use crate::sanitise::{Parts, Text, MAX_STORED_BYTES};
use crate::scope;
use crate::tags::{self, ID, KIND, MAX_NAMESPACE_BYTES, USER};
use std::ops::Range;

/// A record, laid out for VALIDATE.
#[derive(Clone, Debug)]
pub struct Record {
    bytes: Box<[u8]>,
}

/// What stands before everything else in a record: where its parts are, and what is asked first.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// Epoch milliseconds; [`NEVER`] where the key doesn't expire.
    expires_at: i64,
    json_len: u32,
    scopes_len: u32,
    id_from: u32,
    user_id_from: u32,
    id_len: u8,
    user_id_len: u8,
    digests: u8,
    namespace_len: u8,
    tags: u8,
    state: u8,
}

/// What [`Header::state`] says.
const INACTIVE: u8 = 0;
const ACTIVE: u8 = 1;
const ABSENT: u8 = 2;

const HEADER_BYTES: usize = 30;

/// Automatic tags that a record has: by its id, its user, its kind.
const AUTOMATIC_TAGS: usize = 3;

fn each_automatic_tag(namespace: &[u8], id: &[u8], user_id: &[u8], each: &mut dyn FnMut(&[u8])) {
    tags::each_automatic(
        namespace,
        &[(ID, id), (USER, user_id), (KIND, Kind::Record.name().as_bytes())],
        each,
    );
}

const NEVER: i64 = i64::MAX;

impl Header {
    const NONE: Self = Self {
        expires_at: NEVER,
        json_len: 0,
        scopes_len: 0,
        id_from: 0,
        user_id_from: 0,
        id_len: 0,
        user_id_len: 0,
        digests: 0,
        namespace_len: 0,
        tags: 0,
        state: INACTIVE,
    };

    fn read(bytes: &[u8]) -> Self {
        let Some(&bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Self::NONE };
        let [e0, e1, e2, e3, e4, e5, e6, e7, j0, j1, j2, j3, s0, s1, s2, s3, i0, i1, i2, i3, u0, u1, u2, u3, rest @ ..] =
            bytes;
        let [id_len, user_id_len, digests, namespace_len, tags, state] = rest;
        Self {
            expires_at: i64::from_ne_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            json_len: u32::from_ne_bytes([j0, j1, j2, j3]),
            scopes_len: u32::from_ne_bytes([s0, s1, s2, s3]),
            id_from: u32::from_ne_bytes([i0, i1, i2, i3]),
            user_id_from: u32::from_ne_bytes([u0, u1, u2, u3]),
            id_len,
            user_id_len,
            digests,
            namespace_len,
            tags,
            state,
        }
    }

    fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let numbers = [self.json_len, self.scopes_len, self.id_from, self.user_id_from];
        let small = [
            self.id_len,
            self.user_id_len,
            self.digests,
            self.namespace_len,
            self.tags,
            self.state,
        ];
        let parts = self
            .expires_at
            .to_ne_bytes()
            .into_iter()
            .chain(numbers.into_iter().flat_map(u32::to_ne_bytes))
            .chain(small);
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    fn json(&self) -> Range<usize> {
        part(HEADER_BYTES, self.json_len as usize)
    }

    fn digests(&self) -> Range<usize> {
        part(self.json().end, usize::from(self.digests) * DIGEST_BYTES)
    }

    fn scopes(&self) -> Range<usize> {
        part(self.digests().end, self.scopes_len as usize)
    }

    fn namespace(&self) -> Range<usize> {
        part(self.scopes().end, usize::from(self.namespace_len))
    }
}

fn part(from: usize, len: usize) -> Range<usize> {
    from..from + len
}

impl Record {
    /// Lays a record out. Tags that occur twice, or that it carries by itself, are kept once. `None`
    /// where a digest, the namespace or a tag is beyond the bounds that its reader checks.
    pub fn new(
        parts: &Parts,
        digests: &[Digest],
        namespace: &[u8],
        caller_tags: &[&[u8]],
    ) -> Option<Self> {
        let id = parts.text(&parts.id);
        let user_id = parts.text(&parts.user_id);
        if digests.len() > 2
            || namespace.len() > MAX_NAMESPACE_BYTES
            || parts.json.len() > MAX_STORED_BYTES
        {
            return None;
        }
        let mut automatic = Vec::new();
        if !caller_tags.is_empty() {
            each_automatic_tag(namespace, id, user_id, &mut |tag| automatic.push(tag.to_vec()));
        }
        let own = tags::own(caller_tags, &automatic)?;
        let spare = [&parts.id, &parts.user_id]
            .iter()
            .map(|text| if let Text::Own(own) = text { own.len() } else { 0 })
            .sum::<usize>();
        let mut bytes = Vec::with_capacity(
            HEADER_BYTES
                + parts.json.len()
                + digests.len() * DIGEST_BYTES
                + parts.scopes.len()
                + namespace.len()
                + tags::stored_bytes(&own)
                + spare,
        );
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        bytes.extend_from_slice(parts.json.as_bytes());
        for digest in digests {
            bytes.extend_from_slice(digest);
        }
        bytes.extend_from_slice(&parts.scopes);
        bytes.extend_from_slice(namespace);
        tags::push(&own, &mut bytes)?;
        let mut range = |text: &Text| {
            let (from, len) = match text {
                Text::InJson { from, len } => (HEADER_BYTES + *from, *len),
                Text::Own(own) => {
                    bytes.extend_from_slice(own.as_bytes());
                    (bytes.len() - own.len(), own.len())
                }
            };
            Some((u32::try_from(from).ok()?, u8::try_from(len).ok()?))
        };
        let ((id_from, id_len), (user_id_from, user_id_len)) =
            (range(&parts.id)?, range(&parts.user_id)?);
        let header = Header {
            expires_at: parts.expires_at.unwrap_or(NEVER),
            json_len: u32::try_from(parts.json.len()).ok()?,
            scopes_len: u32::try_from(parts.scopes.len()).ok()?,
            id_from,
            user_id_from,
            id_len,
            user_id_len,
            digests: u8::try_from(digests.len()).ok()?,
            namespace_len: u8::try_from(namespace.len()).ok()?,
            tags: u8::try_from(own.len()).ok()?,
            state: if parts.is_active { ACTIVE } else { INACTIVE },
        };
        *bytes.first_chunk_mut()? = header.bytes();
        Some(Self { bytes: bytes.into_boxed_slice() })
    }

    /// Lays out that there is no such key: nothing but the caller's tags. `None` as in
    /// [`Record::new`].
    pub fn absent(caller_tags: &[&[u8]]) -> Option<Self> {
        let own = tags::own(caller_tags, &[])?;
        let header = Header { tags: u8::try_from(own.len()).ok()?, state: ABSENT, ..Header::NONE };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + tags::stored_bytes(&own));
        bytes.extend_from_slice(&header.bytes());
        tags::push(&own, &mut bytes)?;
        Some(Self { bytes: bytes.into_boxed_slice() })
    }

    fn header(&self) -> Header {
        Header::read(&self.bytes)
    }

    /// The sanitised record as JSON.
    pub fn json(&self) -> &[u8] {
        self.slice(self.header().json())
    }

    /// The stored digests, one behind the other.
    pub fn digests(&self) -> &[u8] {
        self.slice(self.header().digests())
    }

    pub fn has_digest(&self) -> bool {
        self.header().digests > 0
    }

    pub fn is_active(&self) -> bool {
        self.header().state == ACTIVE
    }

    /// Whether it says that there is no such key.
    pub fn is_absent(&self) -> bool {
        self.header().state == ABSENT
    }

    /// Epoch milliseconds from which on the key is expired.
    pub fn expires_at(&self) -> Option<i64> {
        let expires_at = self.header().expires_at;
        (expires_at != NEVER).then_some(expires_at)
    }

    /// Whether a scope of the record grants the request.
    pub fn grants(&self, request: &[u8]) -> bool {
        scope::grant(self.slice(self.header().scopes()), request)
    }

    pub fn namespace(&self) -> &[u8] {
        self.slice(self.header().namespace())
    }

    /// The caller's tags, in their order.
    pub fn caller_tags(&self) -> impl Iterator<Item = &[u8]> {
        let header = self.header();
        tags::stored(self.bytes.get(header.namespace().end..).unwrap_or_default(), header.tags)
    }

    fn each_automatic_tag(&self, each: &mut dyn FnMut(&[u8])) {
        if self.is_absent() {
            return;
        }
        let header = self.header();
        let id = self.slice(part(header.id_from as usize, header.id_len.into()));
        let user_id = self.slice(part(header.user_id_from as usize, header.user_id_len.into()));
        each_automatic_tag(self.namespace(), id, user_id, each);
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

impl Entry for Record {
    fn kind(&self) -> Kind {
        if self.is_absent() {
            Kind::Absent
        } else {
            Kind::Record
        }
    }

    /// An absent one has no automatic tags.
    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        self.each_automatic_tag(each);
        self.caller_tags().for_each(each);
    }

    fn tag_count(&self) -> usize {
        let automatic = if self.is_absent() { 0 } else { AUTOMATIC_TAGS };
        automatic + usize::from(self.header().tags)
    }

    fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sanitise::Limits;

    fn tags(record: &Record) -> Vec<String> {
        let mut tags = Vec::new();
        record.each_tag(&mut |tag| tags.push(String::from_utf8_lossy(tag).into_owned()));
        tags
    }

    #[test]
    fn a_record_carries_its_automatic_tags_and_the_callers_once_each() {
        let input = r#"{"id":"k\u002d1","user_id":42,"is_active":true}"#;
        let parts = Parts::sanitise(input.as_bytes(), &Limits::STORED).unwrap();
        let record =
            Record::new(&parts, &[[7; 32]], b"acme:", &[b"x", b"y", b"x", b"acme:apikey:user:42"])
                .unwrap();
        assert_eq!(
            tags(&record),
            ["acme:apikey:id:k-1", "acme:apikey:user:42", "acme:apikey:kind:record", "x", "y"]
        );
        assert_eq!(record.tag_count(), 5);
        assert_eq!(record.json(), input.as_bytes());
        assert_eq!(record.digests(), [7; 32]);
        assert_eq!(record.namespace(), b"acme:");
        assert!(Record::new(&parts, &[], b"", &vec![&b"t"[..]; 65]).is_none());
        assert!(Record::new(&parts, &[], b"", &[b""]).is_none());
        assert!(Record::new(&parts, &[], &[b'n'; 101], &[]).is_none());
        assert!(Record::new(&parts, &[], b"", &[&[b't'; 257]]).is_none());
        assert!(Record::new(&parts, &[[0; 32]; 3], b"", &[]).is_none());
    }

    #[test]
    fn an_absent_one_carries_the_callers_tags_alone() {
        let absent = Record::absent(&[b"x", b"y", b"x"]).unwrap();
        assert!(absent.is_absent() && !absent.is_active() && !absent.has_digest());
        assert_eq!(tags(&absent), ["x", "y"]);
        assert_eq!(absent.tag_count(), 2);
        assert_eq!(absent.json(), b"");
        assert_eq!(tags(&Record::absent(&[]).unwrap()), [""; 0]);
        assert!(Record::absent(&vec![&b"t"[..]; 65]).is_none());
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Record>() <= 16, "{}", size_of::<Record>());
    }
}
