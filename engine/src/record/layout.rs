//! A record: what an application knows of an API key, with the digests of its secret and the tags it
//! carries, laid out for VALIDATE in one run of bytes:
//!
//! ```text
//! header | digests | ends | ranges | limits | scopes | fields | namespace | tags | id and user_id where the JSON has them escaped
//! ```
//!
//! The ends are those of the digests, in eight bytes each; a record none of whose digests ends by itself has none of them.
//! The ranges are those of `allowed_ips` ([`crate::record::addresses`]), behind their number in a byte; a record that may be
//! used from everywhere has neither. The limits stand behind their length in two bytes
//! ([`crate::limits::limit::each`]); a record without any has neither.
//!
//! What decides stands in front, within a cache line or two. The fields are packed ([`crate::record::packed`]).
//! Nothing in it can change: another record replaces it. The bytes are a record's own, or borrowed from
//! whoever stores them.

use crate::entry::kind::{Entry, Kind};
use crate::entry::tag_names::{
    self, own_bounds, ID, KIND, MAX_ID_BYTES, MAX_NAMESPACE_BYTES, USER,
};
use crate::limits::limit::{self, MAX_BYTES, MAX_LIMITS};
use crate::record::addresses::{self, Address, MAX_RANGES, RANGE_BYTES};
use crate::record::digest::{self, Accepted, Digest, DIGEST_BYTES, END_BYTES, NEVER};
use crate::record::packed::{self, Id};
use crate::record::sanitise::{Limits, Parts, MAX_STORED_BYTES};
use crate::record::scope;
use crate::record::values::Text;
use std::borrow::Cow;
use std::ops::Range;

/// A record, laid out for VALIDATE.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    bytes: Cow<'a, [u8]>,
    header: Header,
}

/// What stands before everything else in a record: where its parts are, and what is asked first.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// Epoch milliseconds; [`NEVER`] where the key doesn't expire.
    expires_at: i64,
    /// Of the JSON that the fields are.
    json_len: u32,
    fields_len: u32,
    scopes_len: u32,
    /// 0 where the fields have it, or where [`Header::state`] says that it is 256.
    id_len: u8,
    user_id_len: u8,
    digests: u8,
    namespace_len: u8,
    tags: u8,
    state: u8,
    /// How many ranges there are, which stands before them.
    ranges: u8,
    /// How many bytes of limits there are, which stands before them.
    limits_len: u16,
}

/// What [`Header::state`] says, and beside that, a bit each: that there are ranges; that an escaped id, or
/// user_id, has 256 bytes; that there are ends; that there are limits.
const INACTIVE: u8 = 0;
const ACTIVE: u8 = 1;
const ABSENT: u8 = 2;
const STATE: u8 = 0b11;
const HAS_RANGES: u8 = 0b100;
const LONG_ID: u8 = 0b1000;
const LONG_USER_ID: u8 = 0b1_0000;
const HAS_ENDS: u8 = 0b10_0000;
const HAS_LIMITS: u8 = 0b100_0000;

/// Of the length of the limits.
const LIMITS_HEAD: usize = 2;

const LONG: usize = 256;
const _: () = assert!(MAX_ID_BYTES <= LONG);

const HEADER_BYTES: usize = 26;

/// The automatic tags of a record: by its id, its user if it has one, its kind.
fn each_automatic_tag(namespace: &[u8], id: &[u8], user_id: &[u8], each: &mut dyn FnMut(&[u8])) {
    let kind = Kind::Record.name().as_bytes();
    match user_id {
        [] => tag_names::each_automatic(namespace, &[(ID, id), (KIND, kind)], each),
        _ => {
            let tags = [(ID, id), (USER, user_id), (KIND, kind)];
            tag_names::each_automatic(namespace, &tags, each);
        }
    }
}

/// That of an absent one: by its kind alone.
fn each_tag_of_absent(namespace: &[u8], each: &mut dyn FnMut(&[u8])) {
    tag_names::each_automatic(namespace, &[(KIND, Kind::Absent.name().as_bytes())], each);
}

impl Header {
    const NONE: Self = Self {
        expires_at: NEVER,
        json_len: 0,
        fields_len: 0,
        scopes_len: 0,
        id_len: 0,
        user_id_len: 0,
        digests: 0,
        namespace_len: 0,
        tags: 0,
        state: INACTIVE,
        ranges: 0,
        limits_len: 0,
    };

    fn read(bytes: &[u8]) -> Self {
        let Some((&bytes, behind)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Self::NONE;
        };
        let [e0, e1, e2, e3, e4, e5, e6, e7, j0, j1, j2, j3, f0, f1, f2, f3, s0, s1, s2, s3, rest @ ..] =
            bytes;
        let [id_len, user_id_len, digests, namespace_len, tags, state] = rest;
        let ranges = match state & HAS_RANGES {
            0 => 0,
            _ => behind.get(digests_len(digests, state)).copied().unwrap_or(0),
        };
        let header = Self {
            expires_at: i64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            json_len: u32::from_le_bytes([j0, j1, j2, j3]),
            fields_len: u32::from_le_bytes([f0, f1, f2, f3]),
            scopes_len: u32::from_le_bytes([s0, s1, s2, s3]),
            id_len,
            user_id_len,
            digests,
            namespace_len,
            tags,
            state,
            ranges,
            limits_len: 0,
        };
        let limits_len = match header.has_limits() {
            true => behind.get(header.ranges().end - HEADER_BYTES..).and_then(<[u8]>::first_chunk),
            false => None,
        };
        Self { limits_len: limits_len.map_or(0, |len| u16::from_le_bytes(*len)), ..header }
    }

    fn bytes(&self) -> [u8; HEADER_BYTES] {
        let [e0, e1, e2, e3, e4, e5, e6, e7] = self.expires_at.to_le_bytes();
        let [j0, j1, j2, j3] = self.json_len.to_le_bytes();
        let [f0, f1, f2, f3] = self.fields_len.to_le_bytes();
        let [s0, s1, s2, s3] = self.scopes_len.to_le_bytes();
        let Self { id_len, user_id_len, digests, namespace_len, tags, state, .. } = *self;
        [
            e0,
            e1,
            e2,
            e3,
            e4,
            e5,
            e6,
            e7,
            j0,
            j1,
            j2,
            j3,
            f0,
            f1,
            f2,
            f3,
            s0,
            s1,
            s2,
            s3,
            id_len,
            user_id_len,
            digests,
            namespace_len,
            tags,
            state,
        ]
    }

    fn digests(&self) -> Range<usize> {
        part(HEADER_BYTES, usize::from(self.digests) * DIGEST_BYTES)
    }

    fn ends(&self) -> Range<usize> {
        let digests = self.digests().end;
        digests..part(HEADER_BYTES, digests_len(self.digests, self.state)).end
    }

    fn has_ranges(&self) -> bool {
        self.state & HAS_RANGES != 0
    }

    /// Without their number.
    fn ranges(&self) -> Range<usize> {
        let from = self.ends().end + usize::from(self.has_ranges());
        part(from, usize::from(self.ranges) * RANGE_BYTES)
    }

    fn has_limits(&self) -> bool {
        self.state & HAS_LIMITS != 0
    }

    /// Without their length.
    fn limits(&self) -> Range<usize> {
        let from = self.ranges().end + if self.has_limits() { LIMITS_HEAD } else { 0 };
        part(from, self.limits_len.into())
    }

    fn scopes(&self) -> Range<usize> {
        part(self.limits().end, self.scopes_len as usize)
    }

    fn id_len(&self) -> usize {
        if self.state & LONG_ID == 0 {
            self.id_len.into()
        } else {
            LONG
        }
    }

    fn user_id_len(&self) -> usize {
        if self.state & LONG_USER_ID == 0 {
            self.user_id_len.into()
        } else {
            LONG
        }
    }

    fn fields(&self) -> Range<usize> {
        part(self.scopes().end, self.fields_len as usize)
    }

    fn namespace(&self) -> Range<usize> {
        part(self.fields().end, usize::from(self.namespace_len))
    }
}

/// Of so many digests, with their ends where there are some.
fn digests_len(digests: u8, state: u8) -> usize {
    let each = DIGEST_BYTES + if state & HAS_ENDS == 0 { 0 } else { END_BYTES };
    usize::from(digests) * each
}

fn part(from: usize, len: usize) -> Range<usize> {
    from..from.saturating_add(len)
}

impl Record<'static> {
    /// Lays a record out. Tags that occur twice, or that it carries by itself, are kept once. `None`
    /// where a digest, the namespace or a tag is beyond the bounds that its reader checks.
    pub fn new(
        parts: &Parts,
        digests: &[Accepted],
        namespace: &[u8],
        caller_tags: &[&[u8]],
    ) -> Option<Self> {
        Self::new_in(parts, digests, namespace, caller_tags, Vec::new())
    }

    /// The same in memory that was used before; [`Record::into_memory`] gives it back.
    pub fn new_in(
        parts: &Parts,
        digests: &[Accepted],
        namespace: &[u8],
        caller_tags: &[&[u8]],
        memory: Vec<u8>,
    ) -> Option<Self> {
        let json_len = parts.json_len;
        if digests.len() > 2 || namespace.len() > MAX_NAMESPACE_BYTES || json_len > MAX_STORED_BYTES
        {
            return None;
        }
        let mut automatic = Vec::new();
        if !caller_tags.is_empty() {
            let (id, user_id) = (parts.id.bytes(), parts.user_id.bytes());
            each_automatic_tag(namespace, id, user_id, &mut |tag| automatic.push(tag.to_vec()));
        }
        let of_fields;
        let mut own_tags = Cow::Borrowed(caller_tags);
        if !parts.tags.is_empty() {
            of_fields = parts.tags.within(namespace);
            let of_fields = of_fields.iter().map(Vec::as_slice);
            own_tags = of_fields.chain(caller_tags.iter().copied()).collect();
        }
        let own_tags = tag_names::own(Kind::Record, &own_tags, &automatic)?;
        let escaped = |text: &'_ Text| match text {
            Text::Plain(_) => 0,
            Text::Own(own) => own.len(),
        };
        let (id_len, user_id_len) = (escaped(&parts.id), escaped(&parts.user_id));
        let ranges = parts.allowed_ips.as_deref();
        let has_ends = digests.iter().any(|digest| digest.until != NEVER);
        let mut state = if parts.is_active { ACTIVE } else { INACTIVE };
        for (bit, is_so) in [
            (HAS_RANGES, ranges.is_some()),
            (LONG_ID, id_len == LONG),
            (LONG_USER_ID, user_id_len == LONG),
            (HAS_ENDS, has_ends),
            (HAS_LIMITS, !parts.limits.is_empty()),
        ] {
            state |= if is_so { bit } else { 0 };
        }
        let header = Header {
            expires_at: parts.expires_at.unwrap_or(NEVER),
            json_len: u32::try_from(json_len).ok()?,
            fields_len: u32::try_from(parts.packed.len()).ok()?,
            scopes_len: u32::try_from(parts.scopes.len()).ok()?,
            id_len: u8::try_from(id_len % LONG).ok()?,
            user_id_len: u8::try_from(user_id_len % LONG).ok()?,
            digests: u8::try_from(digests.len()).ok()?,
            namespace_len: u8::try_from(namespace.len()).ok()?,
            tags: u8::try_from(own_tags.len()).ok()?,
            state,
            ranges: u8::try_from(ranges.unwrap_or_default().len() / RANGE_BYTES).ok()?,
            limits_len: u16::try_from(parts.limits.len()).ok()?,
        };
        let escaped_ids = id_len + user_id_len;
        let mut bytes = memory;
        bytes.clear();
        bytes.reserve(header.namespace().end + tag_names::stored_bytes(&own_tags) + escaped_ids);
        bytes.extend_from_slice(&header.bytes());
        digests.iter().for_each(|accepted| bytes.extend_from_slice(&accepted.digest));
        if has_ends {
            digests.iter().for_each(|digest| bytes.extend_from_slice(&digest.until.to_le_bytes()));
        }
        if let Some(ranges) = ranges {
            bytes.push(header.ranges);
            bytes.extend_from_slice(ranges);
        }
        if header.has_limits() {
            bytes.extend_from_slice(&header.limits_len.to_le_bytes());
            bytes.extend_from_slice(&parts.limits);
        }
        bytes.extend_from_slice(&parts.scopes);
        bytes.extend_from_slice(&parts.packed);
        bytes.extend_from_slice(namespace);
        tag_names::push(&own_tags, &mut bytes)?;
        for text in [&parts.id, &parts.user_id] {
            if let Text::Own(own) = text {
                bytes.extend_from_slice(own.as_bytes());
            }
        }
        Some(Self { bytes: Cow::Owned(bytes), header })
    }

    /// Lays out that there is no such key: nothing but the namespace and the caller's tags. `None` as in
    /// [`Record::new`].
    pub fn absent(namespace: &[u8], caller_tags: &[&[u8]]) -> Option<Self> {
        if namespace.len() > MAX_NAMESPACE_BYTES {
            return None;
        }
        let mut automatic = Vec::new();
        if !caller_tags.is_empty() {
            each_tag_of_absent(namespace, &mut |tag| automatic.push(tag.to_vec()));
        }
        let own = tag_names::own(Kind::Absent, caller_tags, &automatic)?;
        let header = Header {
            namespace_len: u8::try_from(namespace.len()).ok()?,
            tags: u8::try_from(own.len()).ok()?,
            state: ABSENT,
            ..Header::NONE
        };
        let mut bytes = Vec::with_capacity(header.namespace().end + tag_names::stored_bytes(&own));
        bytes.extend_from_slice(&header.bytes());
        bytes.extend_from_slice(namespace);
        tag_names::push(&own, &mut bytes)?;
        Some(Self { bytes: Cow::Owned(bytes), header })
    }
}

impl<'a> Record<'a> {
    /// The record that has these bytes ([`Record::bytes`]).
    pub fn stored(bytes: &'a [u8]) -> Self {
        Self { header: Header::read(bytes), bytes: Cow::Borrowed(bytes) }
    }

    /// The record that bytes from elsewhere are. `None` where its parts are not of the lengths that it
    /// says, or beyond their bounds, or where it has no ids to make its tags of; what else they say is not
    /// looked at ([`Record::is_sound`]).
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let record = Self::stored(bytes);
        let header = &record.header;
        let mut end = header.namespace().end;
        let tags = (0..header.tags).zip(record.own_tags()).map(|(_, tag)| tag.len());
        let (most_tags, most_tag_bytes) = own_bounds(Kind::Record);
        let (mut count, mut are_bounded) = (0, true);
        for len in tags {
            count += 1;
            are_bounded &= (1..=most_tag_bytes).contains(&len);
            end += 2 + len;
        }
        end += header.id_len() + header.user_id_len();
        let is_bounded = bytes.len() == end
            && bytes.len() >= HEADER_BYTES
            && are_bounded
            && count == header.tags
            && usize::from(count) <= most_tags
            && header.digests <= 2
            && usize::from(header.namespace_len) <= MAX_NAMESPACE_BYTES
            && header.json_len as usize <= MAX_STORED_BYTES
            && header.scopes_len as usize <= MAX_STORED_BYTES
            && header.fields_len as usize <= MAX_STORED_BYTES + packed::MAX_EXCESS
            && usize::from(header.ranges) <= MAX_RANGES
            && header.state <= STATE | HAS_RANGES | LONG_ID | LONG_USER_ID | HAS_ENDS | HAS_LIMITS
            && usize::from(header.limits_len) <= MAX_LIMITS * MAX_BYTES
            && matches!(header.state & STATE, ACTIVE | INACTIVE);
        let has_ids = || {
            let [id, user_id] = record.ids();
            let is_one = |id: &Id| (1..=MAX_ID_BYTES).contains(&id.bytes().len());
            // Of fields that are damaged none may be found.
            let has_no_user = || matches!(user_id, Id::None) && record.has_json_len();
            is_one(&id) && (is_one(&user_id) || has_no_user())
        };
        (is_bounded && has_ids()).then_some(record)
    }

    /// Whether this is what [`Record::new`] makes of its JSON, digests, namespace and tags: then no two
    /// parts of it can say two things.
    pub fn is_sound(&self) -> bool {
        // The JSON of bytes that lie may be many times as long as any record.
        if !self.has_json_len() {
            return false;
        }
        let tags: Vec<&[u8]> = self.own_tags().collect();
        let digests: Vec<Accepted> = self.digests().collect();
        Parts::sanitise(&self.json(), &Limits::STORED)
            .ok()
            .and_then(|parts| Record::new(&parts, &digests, self.namespace(), &tags))
            .is_some_and(|record| record.bytes() == self.bytes())
    }

    /// Whether the fields make as many bytes of JSON as the header says, which is bounded.
    fn has_json_len(&self) -> bool {
        packed::json_len(self.slice(self.header.fields())) == self.header.json_len as usize
    }

    /// Whether a field of a record's own name stands among the others, since it was none when this was laid out: it
    /// is not judged.
    pub fn has_unjudged(&self) -> bool {
        packed::has_unjudged(self.slice(self.header.fields()))
    }

    /// What is to be stored, or sent to where [`Record::read`] reads it; numbers with the lower byte
    /// first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_memory(self) -> Vec<u8> {
        match self.bytes {
            Cow::Owned(memory) => memory,
            Cow::Borrowed(_) => Vec::new(),
        }
    }

    /// With bytes of its own.
    pub fn into_owned(self) -> Record<'static> {
        Record { bytes: Cow::Owned(self.bytes.into_owned()), header: self.header }
    }

    /// The sanitised record as JSON; nothing for an absent one.
    pub fn json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write_json(&mut json);
        json
    }

    /// Appends what [`Record::json`] is.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        if !self.is_absent() {
            out.reserve(self.header.json_len as usize + packed::SPARE);
            packed::write_json(self.slice(self.header.fields()), out);
        }
    }

    /// The digests of its secrets.
    pub fn digests(&self) -> impl Iterator<Item = Accepted> + '_ {
        let digests = self.slice(self.header.digests()).as_chunks::<DIGEST_BYTES>().0;
        let mut ends = self.slice(self.header.ends()).as_chunks::<END_BYTES>().0.iter();
        digests.iter().map(move |&digest| Accepted {
            digest,
            until: ends.next().map_or(NEVER, |end| i64::from_le_bytes(*end)),
        })
    }

    /// Until when a digest is accepted, in epoch milliseconds, or [`NEVER`]; `None` where it is none of this record's.
    pub fn accepts_until(&self, presented: &Digest) -> Option<i64> {
        let stored = self.slice(self.header.digests());
        match self.slice(self.header.ends()) {
            [] => digest::is_one_of(presented, stored).then_some(NEVER),
            ends => digest::end_of(presented, stored, ends),
        }
    }

    pub fn has_digest(&self) -> bool {
        self.header.digests > 0
    }

    /// Whether one of its digests ends by itself.
    pub fn has_digest_ends(&self) -> bool {
        self.header.state & HAS_ENDS != 0
    }

    pub fn is_active(&self) -> bool {
        self.header.state & STATE == ACTIVE
    }

    /// Whether it says that there is no such key.
    pub fn is_absent(&self) -> bool {
        self.header.state & STATE == ABSENT
    }

    /// Epoch milliseconds from which on the key is expired.
    pub fn expires_at(&self) -> Option<i64> {
        let expires_at = self.header.expires_at;
        (expires_at != NEVER).then_some(expires_at)
    }

    /// Whether the key may be used from an address; `None` is one that nobody has told.
    pub fn admits(&self, address: impl FnOnce() -> Option<Address>) -> bool {
        !self.header.has_ranges()
            || address()
                .is_some_and(|from| addresses::cover(self.slice(self.header.ranges()), from))
    }

    /// Whether a scope of the record grants the request.
    pub fn grants(&self, request: &[u8]) -> bool {
        scope::grant(self.slice(self.header.scopes()), request)
    }

    pub fn namespace(&self) -> &[u8] {
        self.slice(self.header.namespace())
    }

    /// Its limits, each with the number of its counter, from 1, and the bytes of the limit.
    pub fn limits(&self) -> impl Iterator<Item = (u8, &[u8])> {
        limit::each(self.slice(self.header.limits()))
    }

    /// The tags that are not of its ids and its kind: those of fields, then the caller's.
    pub fn own_tags(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = self.bytes.get(self.header.namespace().end..).unwrap_or_default();
        tag_names::stored(bytes, self.header.tags)
    }

    /// What an id says; `escaped` is where it stands if the fields have it escaped.
    fn id(&self, name: u8, escaped: Range<usize>) -> Id<'_> {
        match escaped.is_empty() {
            true => packed::id(self.slice(self.header.fields()), name),
            false => Id::Text(self.slice(escaped)),
        }
    }

    /// `id` and `user_id`.
    fn ids(&self) -> [Id<'_>; 2] {
        let (id_len, user_id_len) = (self.header.id_len(), self.header.user_id_len());
        let user_id_from = self.bytes.len().saturating_sub(user_id_len);
        let id_from = user_id_from.saturating_sub(id_len);
        [
            self.id(packed::ID, part(id_from, id_len)),
            self.id(packed::USER_ID, part(user_id_from, user_id_len)),
        ]
    }

    fn each_automatic_tag(&self, each: &mut dyn FnMut(&[u8])) {
        if self.is_absent() {
            return each_tag_of_absent(self.namespace(), each);
        }
        let [id, user_id] = self.ids();
        each_automatic_tag(self.namespace(), id.bytes(), user_id.bytes(), each);
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

impl Entry for Record<'_> {
    fn kind(&self) -> Kind {
        if self.is_absent() {
            Kind::Absent
        } else {
            Kind::Record
        }
    }

    /// An absent one has the automatic tag of its kind alone.
    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        self.each_automatic_tag(each);
        self.own_tags().for_each(each);
    }

    fn tag_count(&self) -> usize {
        let automatic = match self.ids() {
            _ if self.is_absent() => 1,
            [_, Id::None] => 2,
            _ => 3,
        };
        automatic + usize::from(self.header.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sanitise::Limits;

    fn tags(record: &Record) -> Vec<String> {
        let mut tags = Vec::new();
        record.each_tag(&mut |tag| tags.push(String::from_utf8_lossy(tag).into_owned()));
        tags
    }

    #[test]
    fn a_record_carries_its_automatic_tags_and_the_callers_once_each() {
        let input = r#"{"id":"k\u002d1","user_id":42,"is_active":true}"#;
        let parts = Parts::sanitise(input.as_bytes(), &Limits::STORED).unwrap();
        let record = Record::new(
            &parts,
            &[[7; 32].into()],
            b"acme:",
            &[b"x", b"y", b"x", b"acme:apikey:user:42"],
        )
        .unwrap();
        assert_eq!(
            tags(&record),
            ["acme:apikey:id:k-1", "acme:apikey:user:42", "acme:apikey:kind:record", "x", "y"]
        );
        assert_eq!(record.tag_count(), 5);
        assert_eq!(record.json().as_slice(), input.as_bytes());
        assert_eq!(Record::stored(record.bytes()).json(), record.json());
        assert!(record.digests().eq([[7; 32].into()]));
        assert_eq!(record.namespace(), b"acme:");
        assert!(Record::new(&parts, &[], b"", &vec![&b"t"[..]; 73]).is_none());
        assert!(Record::new(&parts, &[], b"", &[b""]).is_none());
        assert!(Record::new(&parts, &[], &[b'n'; 101], &[]).is_none());
        assert!(Record::new(&parts, &[], b"", &[&[b't'; 513]]).is_none());
        assert!(Record::new(&parts, &[[0; 32].into(); 3], b"", &[]).is_none());
    }

    #[test]
    fn only_digests_of_which_one_ends_take_room_for_it() {
        let input = br#"{"id":1,"is_active":true,"allowed_ips":["10.0.0.1"],"scopes":["a"]}"#;
        let parts = Parts::sanitise(input, &Limits::STORED).unwrap();
        let with = |digests: &[Accepted]| Record::new(&parts, digests, b"acme:", &[b"x"]).unwrap();
        let (one, two) = (Accepted::from([1; 32]), Accepted { digest: [2; 32], until: 7 });
        let plain = with(&[one, [2; 32].into()]);
        assert!(!plain.has_digest_ends());
        let ending = with(&[one, two]);
        assert!(ending.has_digest_ends());
        assert_eq!(ending.bytes().len(), plain.bytes().len() + 16);
        for (record, end) in [(plain, NEVER), (ending, 7)] {
            let read = Record::read(record.bytes()).unwrap();
            assert!(read.is_sound());
            assert!(read.digests().eq([one, Accepted { digest: [2; 32], until: end }]));
            let ends = [[1; 32], [2; 32], [3; 32]].map(|digest| read.accepts_until(&digest));
            assert_eq!(ends, [Some(NEVER), Some(end), None]);
            assert!(read.grants(b"a") && read.admits(|| Address::parse(b"10.0.0.1")));
            assert!(!read.admits(|| Address::parse(b"10.0.0.2")));
            assert_eq!(tags(&read), ["acme:apikey:id:1", "acme:apikey:kind:record", "x"]);
        }
    }

    #[test]
    fn the_tags_of_fields_stand_before_the_callers_and_are_read_as_they_were_stored() {
        let fields = ["org", "plan"].map(String::from);
        let limits = Limits { tag_fields: &fields, ..Limits::STORED };
        let input = br#"{"plan":"pro","id":1,"is_active":true,"org":7}"#;
        let parts = Parts::sanitise(input, &limits).unwrap();
        let record = Record::new(&parts, &[], b"a:", &[b"x", b"a:apikey:org:7"]).unwrap();
        let stored = Record::read(record.bytes()).unwrap();
        assert!(stored.is_sound(), "though nothing says any more which fields make tags");
        assert_eq!(
            tags(&stored),
            ["a:apikey:id:1", "a:apikey:kind:record", "a:apikey:org:7", "a:apikey:plan:pro", "x"]
        );
        assert_eq!(stored.tag_count(), 5);
    }

    /// The largest that there can be.
    #[test]
    fn eight_fields_make_tags_beside_64_of_the_callers() {
        let fields: Vec<String> = (0..8).map(|n| n.to_string().repeat(128)).collect();
        let limits = Limits { tag_fields: &fields, ..Limits::STORED };
        let value = "v".repeat(256);
        let made: String = fields.iter().map(|name| format!(r#""{name}":"{value}","#)).collect();
        let input = format!(r#"{{{made}"id":1,"is_active":true}}"#);
        let parts = Parts::sanitise(input.as_bytes(), &limits).unwrap();
        let given: Vec<[u8; 256]> = (0..64).map(|n| [n; 256]).collect();
        let given: Vec<&[u8]> = given.iter().map(|tag| &tag[..]).collect();
        let record = Record::new(&parts, &[], &[b'n'; 100], &given).unwrap();
        let read = Record::read(record.bytes()).unwrap();
        assert!(read.is_sound());
        assert_eq!(read.tag_count(), 2 + 8 + 64);
        assert_eq!(tags(&read)[2].len(), 100 + 7 + 128 + 1 + 256);
    }

    #[test]
    fn an_absent_one_carries_the_tag_of_its_kind_and_the_callers_once_each() {
        let given: [&[u8]; 4] = [b"x", b"y", b"x", b"acme:apikey:kind:absent"];
        let absent = Record::absent(b"acme:", &given).unwrap();
        assert!(absent.is_absent() && !absent.is_active() && !absent.has_digest());
        assert_eq!(tags(&absent), ["acme:apikey:kind:absent", "x", "y"]);
        assert_eq!(absent.tag_count(), 3);
        assert_eq!(absent.namespace(), b"acme:");
        assert_eq!(absent.json().as_slice(), b"");
        assert_eq!(Record::stored(absent.bytes()).kind(), Kind::Absent);
        let plain = Record::absent(b"", &[]).unwrap();
        assert_eq!(tags(&plain), ["apikey:kind:absent"]);
        assert_eq!(plain.tag_count(), 1);
        assert!(Record::absent(b"", &vec![&b"t"[..]; 65]).is_none());
        assert!(Record::absent(&[b'n'; 100], &[]).is_some());
        assert!(Record::absent(&[b'n'; 101], &[]).is_none());
    }
}
