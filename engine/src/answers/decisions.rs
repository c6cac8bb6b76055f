//! Scope decisions of one API key: for each (resource, action) whether the application allows it, and
//! until when that holds.
//!
//! The application decided; nothing is judged here. The decisions stand in one allocation, the oldest
//! first, each as
//!
//! ```text
//! length of resource, of action (a byte each) | 1 to allow, 0 to deny | expires_at (8 bytes) | resource | action
//! ```
//!
//! No two are for the same resource and action. Nothing changes in them: [`Decisions::with`] lays others
//! out, without those that have expired, and without the oldest where they are too many. What that
//! drops depends on the time and the bound that it is given, and on nothing else, so that it drops the
//! same wherever it is replayed. A lookup goes from one to the next: about 3 ns for each.

use crate::defrag::Defrag;
use crate::entry::kind::{Entry, Kind};
use crate::entry::label::Label;
use ahash::AHashSet;

/// The most bytes that a resource or an action may have; the least is 1.
pub const MAX_TEXT_BYTES: usize = 128;

/// The most decisions that any key may hold, whatever `max-decisions` says.
pub const MAX_DECISIONS: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    pub resource: &'a [u8],
    pub action: &'a [u8],
    pub allow: bool,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

impl<'a> Decision<'a> {
    fn is_within_bounds(&self) -> bool {
        [self.resource, self.action].iter().all(|text| (1..=MAX_TEXT_BYTES).contains(&text.len()))
    }

    fn is_for(&self, resource: &[u8], action: &[u8]) -> bool {
        self.resource == resource && self.action == action
    }

    fn len(&self) -> usize {
        HEADER_BYTES + self.resource.len() + self.action.len()
    }

    fn push(&self, bytes: &mut Vec<u8>) -> Option<()> {
        bytes.push(u8::try_from(self.resource.len()).ok()?);
        bytes.push(u8::try_from(self.action.len()).ok()?);
        bytes.push(self.allow.into());
        bytes.extend_from_slice(&self.expires_at.to_ne_bytes());
        bytes.extend_from_slice(self.resource);
        bytes.extend_from_slice(self.action);
        Some(())
    }

    /// The first of `bytes`, and the rest.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[resource, action, allow, ref expires_at @ ..], rest) =
            bytes.split_first_chunk::<HEADER_BYTES>()?;
        let expires_at = i64::from_ne_bytes(*expires_at);
        let (resource, rest) = rest.split_at_checked(resource.into())?;
        let (action, rest) = rest.split_at_checked(action.into())?;
        Some((Self { resource, action, allow: allow == 1, expires_at }, rest))
    }
}

const HEADER_BYTES: usize = 11;

/// See the top of this file.
#[derive(Clone, Debug)]
pub struct Decisions {
    label: Label,
    bytes: Box<[u8]>,
}

impl Decisions {
    /// Decisions, the oldest first. `None` where there is none, or too many, or one twice, or one of
    /// them beyond its bounds.
    pub fn new(label: Label, decisions: &[Decision]) -> Option<Self> {
        let mut requests = AHashSet::with_capacity(decisions.len().min(MAX_DECISIONS));
        let all_right = (1..=MAX_DECISIONS).contains(&decisions.len())
            && decisions.iter().all(|decision| {
                decision.is_within_bounds() && requests.insert((decision.resource, decision.action))
            });
        if !all_right {
            return None;
        }
        Self::lay_out(label, decisions)
    }

    fn lay_out(label: Label, decisions: &[Decision]) -> Option<Self> {
        let mut bytes = Vec::with_capacity(decisions.iter().map(Decision::len).sum());
        for decision in decisions {
            decision.push(&mut bytes)?;
        }
        Some(Self { label, bytes: bytes.into_boxed_slice() })
    }

    /// These decisions and another one, the latest, in place of any for the same resource and action, at
    /// most `max` of them; with the tags of both labels. Where it is not of the same owner, or the tags
    /// would be too many, the other one alone. `None` where it is beyond its bounds.
    pub fn with(&self, label: &Label, decision: &Decision, now: i64, max: usize) -> Option<Self> {
        let Some(both) = self.label.and(Kind::Scopes, label) else {
            return Self::new(label.clone(), &[*decision]);
        };
        if !decision.is_within_bounds() {
            return None;
        }
        let is_kept = |old: &Decision| {
            now < old.expires_at && !old.is_for(decision.resource, decision.action)
        };
        let mut all: Vec<Decision> = self.iter().filter(is_kept).collect();
        all.push(*decision);
        let oldest = all.len().saturating_sub(max.clamp(1, MAX_DECISIONS));
        Self::lay_out(both, all.get(oldest..)?)
    }

    /// Whether the request is allowed; `None` where nothing was decided, or it has expired.
    pub fn check(&self, resource: &[u8], action: &[u8], now: i64) -> Option<bool> {
        let decision = self.iter().find(|decision| decision.is_for(resource, action))?;
        (now < decision.expires_at).then_some(decision.allow)
    }

    /// When the last of them expires.
    pub fn expires_at(&self) -> i64 {
        self.iter().map(|decision| decision.expires_at).max().unwrap_or(0)
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Decision<'_>> {
        let mut bytes = &*self.bytes;
        std::iter::from_fn(move || {
            let (decision, rest) = Decision::read(bytes)?;
            bytes = rest;
            Some(decision)
        })
    }

    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Bytes that it holds beside its own size.
    pub fn heap_bytes(&self) -> usize {
        self.label.heap_bytes() + self.bytes.len()
    }

    /// Hands these bytes over.
    pub fn defrag(&mut self, to: &mut impl Defrag) {
        self.label.defrag(to);
        to.slice(&mut self.bytes);
    }
}

impl Entry for Decisions {
    fn kind(&self) -> Kind {
        Kind::Scopes
    }

    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        self.label.each_tag(Kind::Scopes, each);
    }

    fn tag_count(&self) -> usize {
        self.label.tag_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::tests::Counting;
    use crate::entry::label::Owner;
    use proptest::prelude::*;

    const NOW: i64 = 1000;

    fn label(id: &[u8], tags: &[&[u8]]) -> Label {
        Label::new(Kind::Scopes, &Owner { namespace: b"", id, user_id: b"u" }, tags).unwrap()
    }

    fn decision<'a>(resource: &'a str, action: &'a str, expires_at: i64) -> Decision<'a> {
        let (resource, action) = (resource.as_bytes(), action.as_bytes());
        Decision { resource, action, allow: true, expires_at }
    }

    fn deny(decision: Decision) -> Decision {
        Decision { allow: false, ..decision }
    }

    fn shown(decisions: &Decisions) -> Vec<String> {
        let show =
            |d: Decision| format!("{}:{}", d.resource.escape_ascii(), d.action.escape_ascii());
        decisions.iter().map(show).collect()
    }

    #[test]
    fn a_decision_is_told_until_it_expires() {
        let first = decision("users", "read", NOW + 10);
        let all = Decisions::new(label(b"k", &[]), &[first, deny(decision("users", "x", 5000))]);
        let all = all.unwrap();
        assert_eq!(all.check(b"users", b"read", NOW + 9), Some(true));
        assert_eq!(all.check(b"users", b"read", NOW + 10), None, "it has expired");
        assert_eq!(all.check(b"users", b"x", NOW + 10), Some(false));
        assert_eq!(all.check(b"users", b"re", NOW), None);
        assert_eq!(all.check(b"user", b"sread", NOW), None, "the two are compared apart");
        assert_eq!(all.expires_at(), 5000);
    }

    #[test]
    fn a_later_decision_takes_the_place_of_an_earlier_one_and_is_the_latest() {
        let (a, b) = (decision("a", "x", 5000), decision("b", "x", 2000));
        let both = Decisions::new(label(b"k", &[b"1"]), &[a, b]).unwrap();
        let more =
            both.with(&label(b"k", &[b"2"]), &deny(decision("a", "x", 3000)), NOW, 10).unwrap();
        assert_eq!(shown(&more), ["b:x", "a:x"]);
        assert_eq!(more.check(b"a", b"x", NOW), Some(false));
        assert_eq!(more.expires_at(), 3000);
        assert!(more.label().own_tags().eq([b"1", b"2"]));
    }

    #[test]
    fn all_that_they_hold_is_handed_over() {
        let both = [decision("a", "x", 5000), decision("b", "x", 2000)];
        let mut both = Decisions::new(label(b"k", &[b"1"]), &both).unwrap();
        let mut to = Counting::default();
        both.defrag(&mut to);
        assert_eq!(to.bytes, both.heap_bytes());
        assert_eq!(shown(&both), ["a:x", "b:x"]);
        assert!(both.label().own_tags().eq([b"1"]));
    }

    #[test]
    fn what_has_expired_goes_and_then_the_oldest() {
        let old = [decision("a", "x", NOW), decision("b", "x", 2000), decision("c", "x", 9000)];
        let old = Decisions::new(label(b"k", &[]), &old).unwrap();
        let with =
            |max| shown(&old.with(&label(b"k", &[]), &decision("d", "x", 5000), NOW, max).unwrap());
        assert_eq!(with(10), ["b:x", "c:x", "d:x"]);
        assert_eq!(with(3), ["b:x", "c:x", "d:x"]);
        assert_eq!(with(2), ["c:x", "d:x"]);
        assert_eq!(with(1), ["d:x"]);
        assert_eq!(with(0), ["d:x"]);
    }

    #[test]
    fn another_owner_and_too_many_tags_begin_anew() {
        let tags: Vec<[u8; 1]> = (0..64).map(|n| [n]).collect();
        let tags: Vec<&[u8]> = tags.iter().map(|tag| &tag[..]).collect();
        let old = Decisions::new(label(b"k", &tags), &[decision("a", "x", 9000)]).unwrap();
        for (label, shows) in [
            (label(b"k", &[&[63]]), &["a:x", "b:x"][..]),
            (label(b"k", &[&[64]]), &["b:x"]),
            (label(b"l", &[]), &["b:x"]),
        ] {
            let new = old.with(&label, &decision("b", "x", 5000), NOW, 10).unwrap();
            assert_eq!(shown(&new), shows);
        }
    }

    #[test]
    fn bounds_are_kept() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let good = decision(&long[1..], &long[1..], 1);
        let all = Decisions::new(label(b"k", &[]), &[good]).unwrap();
        assert_eq!(all.check(&long.as_bytes()[1..], &long.as_bytes()[1..], 0), Some(true));
        for bad in [("", "a"), ("a", ""), (&long, "a"), ("a", &long)] {
            let bad = decision(bad.0, bad.1, 1);
            assert!(Decisions::new(label(b"k", &[]), &[bad]).is_none());
            assert!(all.with(&label(b"k", &[]), &bad, 0, 10).is_none());
            assert!(all.with(&label(b"l", &[]), &bad, 0, 10).is_none());
        }
        assert!(Decisions::new(label(b"k", &[]), &[]).is_none());
        assert!(Decisions::new(label(b"k", &[]), &[good, deny(good)]).is_none(), "one twice");
        let names: Vec<String> = (0..=MAX_DECISIONS).map(|n| n.to_string()).collect();
        let many: Vec<Decision> = names.iter().map(|name| decision(name, "x", 1)).collect();
        assert!(Decisions::new(label(b"k", &[]), &many).is_none());
        assert!(Decisions::new(label(b"k", &[]), &many[1..]).is_some());
    }

    proptest! {
        /// Against a list of what was decided.
        #[test]
        fn any_decisions_are_those_of_the_model(
            max in 1usize..6,
            steps in proptest::collection::vec((0u8..8, any::<bool>(), 1i64..8), 1..60),
        ) {
            let mut all: Option<Decisions> = None;
            let mut model: Vec<(u8, bool, i64)> = Vec::new();
            for (now, (name, allow, ttl)) in (0..).zip(steps) {
                let expires_at = now + ttl;
                let text = [b'r', name];
                let new = Decision { resource: &text, action: &text[1..], allow, expires_at };
                let label = label(b"k", &[]);
                all = match &all {
                    Some(old) => old.with(&label, &new, now, max),
                    None => Decisions::new(label, &[new]),
                };
                model.retain(|&(other, _, until)| other != name && now < until);
                model.push((name, allow, expires_at));
                model.drain(..model.len().saturating_sub(max));
                let got = all.as_ref().unwrap().iter();
                prop_assert!(got.map(|d| (d.action[0], d.allow, d.expires_at)).eq(model.iter().copied()));
            }
        }
    }
}
