//! What an entry other than a record carries beside what it holds: whose it is, and the tags that it was given.
//! In one allocation:
//!
//! ```text
//! length of namespace, id and user_id (two bytes each, the lower first), number of tags (a byte) | namespace | id | user_id | tags
//! ```

use crate::defrag::Defrag;
use crate::entry::kind::Kind;
use crate::entry::tag_names::{self, ID, KIND, MAX_ID_BYTES, MAX_NAMESPACE_BYTES, USER};

/// Whose an entry is: what its automatic tags are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    pub namespace: &'a [u8],
    /// The id of the API key; empty where the entry is of no single one, and then no tag.
    pub id: &'a [u8],
    pub user_id: &'a [u8],
}

impl Owner<'_> {
    fn is_within_bounds(&self) -> bool {
        self.namespace.len() <= MAX_NAMESPACE_BYTES
            && self.id.len() <= MAX_ID_BYTES
            && (1..=MAX_ID_BYTES).contains(&self.user_id.len())
    }

    fn each_tag(&self, kind: Kind, each: &mut dyn FnMut(&[u8])) {
        let by = [(ID, self.id), (USER, self.user_id), (KIND, kind.name().as_bytes())];
        let from = usize::from(self.id.is_empty());
        tag_names::each_automatic(self.namespace, by.get(from..).unwrap_or_default(), each);
    }
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Label {
    bytes: Box<[u8]>,
}

const HEADER_BYTES: usize = 7;

impl Label {
    /// Tags that occur twice, or that are automatic, are kept once. `None` where something is beyond its
    /// bounds.
    pub fn new(kind: Kind, owner: &Owner, tags: &[&[u8]]) -> Option<Self> {
        if !owner.is_within_bounds() {
            return None;
        }
        let mut automatic = Vec::new();
        owner.each_tag(kind, &mut |tag| automatic.push(tag.to_vec()));
        let own = tag_names::own(kind, tags, &automatic)?;
        let parts = [owner.namespace, owner.id, owner.user_id];
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + len + tag_names::stored_bytes(&own));
        for part in parts {
            bytes.extend_from_slice(&u16::try_from(part.len()).ok()?.to_le_bytes());
        }
        bytes.push(u8::try_from(own.len()).ok()?);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        tag_names::push(&own, &mut bytes)?;
        Some(Self { bytes: bytes.into_boxed_slice() })
    }

    /// The owner, the number of its own tags, and their bytes.
    fn parts(&self) -> Option<(Owner<'_>, u8, &[u8])> {
        let (&[n0, n1, i0, i1, u0, u1, tags], rest) =
            self.bytes.split_first_chunk::<HEADER_BYTES>()?;
        let len = |bytes| usize::from(u16::from_le_bytes(bytes));
        let (namespace, rest) = rest.split_at_checked(len([n0, n1]))?;
        let (id, rest) = rest.split_at_checked(len([i0, i1]))?;
        let (user_id, rest) = rest.split_at_checked(len([u0, u1]))?;
        Some((Owner { namespace, id, user_id }, tags, rest))
    }

    pub fn owner(&self) -> Owner<'_> {
        let nobody = Owner { namespace: b"", id: b"", user_id: b"" };
        self.parts().map_or(nobody, |(owner, ..)| owner)
    }

    /// The tags that are not of its ids and its kind: of a list those of fields, then the caller's.
    pub fn own_tags(&self) -> impl Iterator<Item = &[u8]> {
        let (count, bytes) = self.parts().map_or((0, &b""[..]), |(_, count, bytes)| (count, bytes));
        tag_names::stored(bytes, count)
    }

    /// Calls `each` with the automatic tags of an entry of this kind, then with its own.
    pub fn each_tag(&self, kind: Kind, each: &mut dyn FnMut(&[u8])) {
        self.owner().each_tag(kind, each);
        self.own_tags().for_each(each);
    }

    /// How many tags [`Label::each_tag`] names.
    pub fn tag_count(&self) -> usize {
        let automatic = if self.owner().id.is_empty() { 2 } else { 3 };
        automatic + self.own_tags().count()
    }

    pub fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn defrag(&mut self, to: &mut impl Defrag) {
        to.slice(&mut self.bytes);
    }

    /// A label with the tags of both; `None` where their owners differ, or the tags are too many.
    pub fn and(&self, kind: Kind, other: &Self) -> Option<Self> {
        if self.owner() != other.owner() {
            return None;
        }
        let mut tags: Vec<&[u8]> = self.own_tags().collect();
        for tag in other.own_tags() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Self::new(kind, &self.owner(), &tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tag_names::MAX_CALLER_TAGS;

    const OWNER: Owner = Owner { namespace: b"acme:", id: b"k1", user_id: b"42" };

    fn tags(label: &Label, kind: Kind) -> Vec<String> {
        let mut tags = Vec::new();
        label.each_tag(kind, &mut |tag| tags.push(String::from_utf8_lossy(tag).into_owned()));
        assert_eq!(label.tag_count(), tags.len());
        tags
    }

    #[test]
    fn a_label_carries_automatic_tags_and_the_callers_once_each() {
        let given: [&[u8]; 4] = [b"x", b"y", b"x", b"acme:apikey:user:42"];
        let label = Label::new(Kind::Scopes, &OWNER, &given).unwrap();
        assert_eq!(label.owner(), OWNER);
        let all = ["acme:apikey:id:k1", "acme:apikey:user:42", "acme:apikey:kind:scopes", "x", "y"];
        assert_eq!(tags(&label, Kind::Scopes), all);
        let owner = Owner { namespace: b"", id: b"", ..OWNER };
        let label = Label::new(Kind::Scopes, &owner, &[]).unwrap();
        assert_eq!(tags(&label, Kind::Scopes), ["apikey:user:42", "apikey:kind:scopes"]);
    }

    #[test]
    fn a_list_carries_more_tags_than_others_and_longer_ones_since_some_are_of_fields() {
        let owner = Owner { id: b"", ..OWNER };
        let all: Vec<[u8; 512]> = (0..129).map(|n| [n; 512]).collect();
        let all: Vec<&[u8]> = all.iter().map(|tag| &tag[..]).collect();
        assert_eq!(Label::new(Kind::List, &owner, &all[..128]).unwrap().tag_count(), 2 + 128);
        assert!(Label::new(Kind::List, &owner, &all).is_none());
        assert!(Label::new(Kind::List, &owner, &[&[b't'; 513]]).is_none());
    }

    #[test]
    fn bounds_are_kept() {
        for owner in [
            Owner { namespace: &[b'n'; 101], ..OWNER },
            Owner { id: &[b'i'; 257], ..OWNER },
            Owner { user_id: &[b'u'; 257], ..OWNER },
            Owner { user_id: b"", ..OWNER },
        ] {
            assert!(Label::new(Kind::Scopes, &owner, &[]).is_none());
        }
        assert!(Label::new(Kind::Scopes, &OWNER, &[&[b't'; 257]]).is_none());
        assert!(Label::new(Kind::Scopes, &OWNER, &[b""]).is_none());
        assert!(Label::new(Kind::Scopes, &OWNER, &vec![&b"t"[..]; MAX_CALLER_TAGS + 1]).is_none());
    }

    #[test]
    fn two_labels_of_one_owner_become_one_while_their_tags_are_few_enough() {
        let label = |owner: &Owner, from: u8, to: u8| {
            let tags: Vec<[u8; 1]> = (from..to).map(|n| [n]).collect();
            let tags: Vec<&[u8]> = tags.iter().map(|tag| &tag[..]).collect();
            Label::new(Kind::Scopes, owner, &tags).unwrap()
        };
        let both = label(&OWNER, 0, 40).and(Kind::Scopes, &label(&OWNER, 20, 64)).unwrap();
        assert!(both.own_tags().eq((0..64).map(|n| [n]).collect::<Vec<_>>().iter()));
        assert!(label(&OWNER, 0, 40).and(Kind::Scopes, &label(&OWNER, 20, 65)).is_none());
        for other in [
            Owner { namespace: b"", ..OWNER },
            Owner { id: b"k2", ..OWNER },
            Owner { user_id: b"43", ..OWNER },
        ] {
            assert!(label(&OWNER, 0, 1).and(Kind::Scopes, &label(&other, 0, 1)).is_none());
        }
    }
}
