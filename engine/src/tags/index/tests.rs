//! The tag index beside a plain relation between names and tags, its bytes, and what its walks and checks
//! are tested with.

use super::*;
use crate::tags::fingerprint::Fingerprints;
use crate::tags::segments::SEGMENT;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

pub(in crate::tags) fn fingerprints() -> Fingerprints {
    Fingerprints::new([7; 16])
}

/// What the index' file says at its top.
pub(in crate::tags) fn assert_consistent(index: &TagIndex) {
    let mut own = 0;
    for place in 0..index.items_end() as Place {
        for fingerprint in index.items.get(place).iter().flat_map(|item| item.own()) {
            assert_eq!(index.find(fingerprint), Some(Owner::Item(place)));
            own += 1;
        }
    }
    assert_eq!(index.tag_count(), own + index.tags.len());
    for place in 0..index.tags_end() as Place {
        let (_, wrong) = index.check_tag(place, 0, usize::MAX);
        assert_eq!(wrong, Vec::<String>::new());
    }
}

#[test]
fn a_tag_of_many_segments_loses_members_from_anywhere() {
    let (mut index, of) = (TagIndex::default(), fingerprints());
    let (shared, other) = (of.of(b"shared"), of.of(b"other"));
    let places: Vec<_> = (0..3 * SEGMENT)
        .map(|n| {
            let own = of.of(format!("own {n}").as_bytes());
            index.insert(format!("key {n}").as_bytes(), &[own, shared, other]).unwrap()
        })
        .collect();
    assert_eq!(index.member_count(shared), 3 * SEGMENT);
    assert_eq!(index.tag_count(), 3 * SEGMENT + 2);
    for &place in places.iter().step_by(2) {
        assert!(index.remove(place));
        assert!(!index.remove(place));
    }
    assert_eq!(index.member_count(shared), 3 * SEGMENT / 2);
    assert_consistent(&index);
    while let Some(place) = index.last_member(shared) {
        assert!(index.remove(place));
    }
    assert_eq!((index.len(), index.tag_count(), index.member_count(other)), (0, 0, 0));
}

#[test]
fn memory_follows_what_lives() {
    let (mut index, of) = (TagIndex::default(), fingerprints());
    let before = index.bytes();
    let places: Vec<_> = (0..100_000)
        .map(|n| {
            let own = of.of(format!("own {n}").as_bytes());
            let name = format!("apikey:{{ak_live_{n:08}}}");
            index.insert(name.as_bytes(), &[own, of.of(b"user"), of.of(b"kind")]).unwrap()
        })
        .collect();
    let each = (index.bytes() - before) / places.len();
    assert!(each <= 95, "{each} bytes for an item");
    for &place in places.iter().skip(100) {
        index.remove(place);
    }
    assert!(index.bytes() < 300_000, "{} bytes for 100 items", index.bytes());
    for &place in places.iter().take(100) {
        index.remove(place);
    }
    assert_eq!(index.bytes(), before);
}

#[test]
fn who_joins_after_a_tag_was_condemned_is_not() {
    let (mut index, of) = (TagIndex::default(), fingerprints());
    let (shared, other) = (of.of(b"shared"), of.of(b"other"));
    let old: Vec<_> = (0..3 * SEGMENT)
        .map(|n| index.insert(format!("old {n}").as_bytes(), &[shared, other]).unwrap())
        .collect();
    assert_eq!(index.condemn(shared), old.len());
    assert_eq!(index.condemn(shared), 0, "once is enough");
    let new = index.insert(b"new", &[shared, other]).unwrap();
    assert!(!index.is_condemned(new));
    assert!(old.iter().all(|&place| index.is_condemned(place)));
    // Wherever the condemned leave from, it stays behind them.
    for place in old.iter().step_by(3).chain(old.iter().skip(1).step_by(3)) {
        index.remove(*place);
    }
    assert!(!index.is_condemned(new));
    assert_eq!(index.condemned(), SEGMENT);
    assert_consistent(&index);
    let mut walk = index.walk_condemned();
    while let Some(place) = index.next_condemned(&mut walk) {
        assert!(index.remove(place));
    }
    assert_eq!((index.len(), index.condemned()), (1, 0));
    assert!(index.next_condemned(&mut index.walk_condemned()).is_none());
    assert_consistent(&index);
}

#[test]
fn what_is_replaced_keeps_its_position_in_the_tags_that_it_keeps() {
    let (mut index, of) = (TagIndex::default(), fingerprints());
    let [a, b, c] = [b"a", b"b", b"c"].map(|tag| of.of(tag));
    let before = index.bytes();
    let places: Vec<_> = (0..5u8).map(|n| index.insert(&[n], &[a, b]).unwrap()).collect();
    assert_eq!(index.replace(places[1], &[c, a, c, a]), Some(places[1]));
    assert_eq!(index.check_item(places[1], &[1], &[a, c]), Ok(()));
    assert_eq!((0..5).map(|at| index.member(a, at).unwrap()).collect::<Vec<_>>(), places);
    assert_eq!((index.member_count(b), index.member_count(c)), (4, 1));
    // Of what was condemned nothing is kept.
    assert_eq!(index.condemn(c), 1);
    let anew = index.replace(places[1], &[a, c]).unwrap();
    assert!(!index.is_condemned(anew));
    assert_eq!((index.condemned(), index.member(a, 4)), (0, Some(anew)));
    assert_eq!(index.replace(anew, &[]), Some(anew));
    assert_eq!((index.tag_count(), index.replace(places[1] + 9, &[a])), (2, None));
    assert_consistent(&index);
    for place in places
        .into_iter()
        .filter(|&place| index.items.get(place).is_some())
        .collect::<BTreeSet<_>>()
    {
        index.remove(place);
    }
    index.remove(anew);
    assert_eq!(index.bytes(), before);
}

proptest! {
    #[test]
    fn items_that_are_entered_together_are_as_those_that_are_not(
        items in proptest::collection::vec(
            (0usize..4, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..5)), 0..600),
        settled_after in 0usize..600,
    ) {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let mut all = Vec::new();
        for (nth, (name_len, later, tags)) in items.into_iter().enumerate() {
            // Some fill the memory for names before others do the batch.
            let name = format!("{nth}").into_bytes().repeat(1 + 200 * name_len);
            let tags: Vec<_> = tags.into_iter().map(|tag| of.of(&[tag])).collect();
            let place = match later {
                true => index.insert_later(&name, &tags),
                false => index.insert(&name, &tags),
            };
            all.push((name, tags, place.unwrap()));
            if nth == settled_after {
                index.settle();
            }
        }
        prop_assert_eq!(index.len(), all.len());
        index.settle();
        assert_consistent(&index);
        for (name, tags, place) in &all {
            prop_assert_eq!(index.check_item(*place, name, tags), Ok(()));
        }
        for (_, _, place) in all {
            prop_assert!(index.remove(place));
        }
        prop_assert_eq!(index.bytes(), 0);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        name: u8,
        tags: Vec<u8>,
    },
    Remove {
        name: u8,
    },
    RemoveAll {
        tag: u8,
    },
    Condemn {
        tag: u8,
    },
    /// Takes so many condemned items away.
    Reclaim {
        count: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), proptest::collection::vec(0u8..40, 0..6))
            .prop_map(|(name, tags)| Step::Insert { name, tags }),
        3 => any::<u8>().prop_map(|name| Step::Remove { name }),
        1 => (0u8..40).prop_map(|tag| Step::RemoveAll { tag }),
        2 => (0u8..40).prop_map(|tag| Step::Condemn { tag }),
        1 => any::<u8>().prop_map(|count| Step::Reclaim { count }),
    ]
}

proptest! {
    #[test]
    fn the_index_is_a_relation_between_names_and_tags(
        steps in proptest::collection::vec(step(), 0..400)
    ) {
        let (mut index, of) = (TagIndex::default(), fingerprints());
        let tag = |n: u8| of.of(&[n]);
        let mut model: HashMap<u8, (Place, BTreeSet<u8>)> = HashMap::new();
        // The memberships, of a name in a tag, that are condemned.
        let mut condemned: BTreeSet<(u8, u8)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Insert { name, tags } => {
                    let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
                    let place = match model.remove(&name) {
                        Some((place, _)) => index.replace(place, &prints),
                        None => index.insert(&[name], &prints),
                    };
                    let place = place.unwrap();
                    condemned.retain(|&(other, _)| other != name);
                    model.insert(name, (place, tags.into_iter().collect()));
                }
                Step::Remove { name } => {
                    if let Some((place, _)) = model.remove(&name) {
                        prop_assert!(index.remove(place));
                        condemned.retain(|&(other, _)| other != name);
                    }
                }
                Step::RemoveAll { tag: gone } => {
                    while let Some(place) = index.last_member(tag(gone)) {
                        let name = index.name(place).unwrap()[0];
                        prop_assert!(model.remove(&name).unwrap().1.contains(&gone));
                        index.remove(place);
                        condemned.retain(|&(other, _)| other != name);
                    }
                    prop_assert!(model.values().all(|(_, tags)| !tags.contains(&gone)));
                }
                Step::Condemn { tag: which } => {
                    let before = condemned.len();
                    let members = model.iter().filter(|(_, (_, tags))| tags.contains(&which));
                    condemned.extend(members.map(|(&name, _)| (name, which)));
                    prop_assert_eq!(index.condemn(tag(which)), condemned.len() - before);
                }
                Step::Reclaim { count } => {
                    let mut walk = index.walk_condemned();
                    for nth in 0..count {
                        let Some(place) = index.next_condemned(&mut walk) else {
                            // Every second one stays, and is met at most once for each tag.
                            prop_assert!(condemned.len() <= usize::from(nth));
                            break;
                        };
                        let name = index.name(place).unwrap()[0];
                        prop_assert!(condemned.iter().any(|&(other, _)| other == name));
                        if nth % 2 == 0 {
                            model.remove(&name);
                            index.remove(place);
                            condemned.retain(|&(other, _)| other != name);
                        }
                    }
                }
            }
        }
        prop_assert_eq!(index.len(), model.len());
        for (&name, (place, tags)) in &model {
            let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
            prop_assert_eq!(index.check_item(*place, &[name], &prints), Ok(()));
            let is = condemned.iter().any(|&(other, _)| other == name);
            prop_assert_eq!(index.is_condemned(*place), is);
        }
        prop_assert_eq!(index.condemned(), condemned.len());
        let mut live = BTreeSet::new();
        for n in 0..40 {
            let members: BTreeSet<_> = (0..)
                .map_while(|at| index.member(tag(n), at))
                .map(|place| index.name(place).unwrap()[0])
                .collect();
            let expected: BTreeSet<_> =
                model.iter().filter(|(_, (_, tags))| tags.contains(&n)).map(|(&k, _)| k).collect();
            prop_assert_eq!(index.member_count(tag(n)), expected.len());
            let dead = condemned.iter().filter(|&&(_, tag)| tag == n).count();
            prop_assert_eq!(index.condemned_count(tag(n)), dead);
            if !expected.is_empty() {
                live.insert(n);
            }
            prop_assert_eq!(members, expected);
        }
        prop_assert_eq!(index.tag_count(), live.len());
        assert_consistent(&index);
    }
}
