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
    let (mut softened, mut passes, mut to_visit) = (0, 0, 0);
    for place in 0..index.tags_end() as Place {
        let (_, wrong) = index.check_tag(place, 0, usize::MAX);
        assert_eq!(wrong, Vec::<String>::new());
        let Some(tag) = index.tags.get(place) else { continue };
        softened += (tag.softened - tag.condemned) as usize;
        if let Some(pass) = index.passes.get(tag.pass_at as usize) {
            passes += 1;
            to_visit += pass.left as usize;
        }
    }
    assert_eq!(index.softened(), softened);
    assert_eq!((index.passes.len(), index.to_visit()), (passes, to_visit));
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

#[test]
fn a_tag_is_softened_in_front_of_who_joins_later_and_condemned_in_front_of_both() {
    let (mut index, of) = (TagIndex::default(), fingerprints());
    let [a, b] = [b"a", b"b"].map(|tag| of.of(tag));
    let empty = index.bytes();
    let [one, two, three, four, five] =
        [0u8, 1, 2, 3, 4].map(|n| index.insert(&[n], &[a]).unwrap());
    let standings = |index: &TagIndex| [one, two, three, four, five].map(|p| index.standing(p));
    let (alive, softened, condemned) = (Standing::Alive, Standing::Softened, Standing::Condemned);
    assert!(alive < softened && softened < condemned);
    assert_eq!((index.soften(a), index.soften(a), index.soften(b)), (5, 0, 0));
    assert_eq!(standings(&index), [softened; 5]);
    assert_eq!((index.softened(), index.condemned()), (5, 0));
    let [six, seven] = [5u8, 6].map(|n| index.insert(&[n], &[a, b]).unwrap());
    assert_eq!(index.standing(six), alive);
    assert_eq!(index.condemn(a), 7, "the softened with it");
    assert_eq!((index.softened(), index.condemned(), index.to_visit()), (0, 7, 0));
    assert_eq!(standings(&index), [condemned; 5]);
    assert_eq!((index.soften(a), index.soften(b)), (0, 2));
    // The stronger counts.
    assert_eq!([six, seven].map(|place| index.standing(place)), [condemned; 2]);
    let eight = index.insert(&[7], &[a]).unwrap();
    let nine = index.insert(&[8], &[a]).unwrap();
    assert_eq!(index.soften(a), 2);
    let ten = index.insert(&[9], &[a]).unwrap();
    // The last of each part moves: [1 2 3 4 5 6 7] [8 9] [10].
    index.remove(two);
    let members: Vec<_> = (0..9).map(|at| index.member(a, at).unwrap()).collect();
    assert_eq!(members, [one, seven, three, four, five, six, nine, eight, ten]);
    index.remove(nine);
    assert_eq!([6, 7].map(|at| index.member(a, at)), [Some(eight), Some(ten)]);
    assert_consistent(&index);
    // What is stored anew is fresh.
    let anew = index.replace(eight, &[a]).unwrap();
    assert_eq!((index.standing(anew), index.softened()), (alive, 2));
    assert_eq!(index.member(a, 7), Some(anew));
    assert_consistent(&index);
    for place in [one, three, four, five, six, seven, ten, anew] {
        assert!(index.remove(place));
    }
    assert_eq!((index.softened(), index.condemned(), index.to_visit()), (0, 0, 0));
    assert_eq!(index.bytes(), empty);
}

#[test]
fn a_pass_meets_each_softened_member_once_and_ends_though_all_stay() {
    let (mut index, of) = (TagIndex::default(), fingerprints());
    let [a, b] = [b"a", b"b"].map(|tag| of.of(tag));
    let places: Vec<_> =
        (0..SEGMENT * 2).map(|n| index.insert(&n.to_le_bytes(), &[a]).unwrap()).collect();
    index.soften(a);
    let met =
        |index: &mut TagIndex| -> Vec<_> { std::iter::from_fn(|| index.next_softened()).collect() };
    let down: Vec<_> = places.iter().rev().copied().collect();
    assert_eq!(index.to_visit(), places.len());
    assert_eq!(met(&mut index), down);
    assert_eq!((index.to_visit(), index.softened()), (0, places.len()));
    assert!(met(&mut index).is_empty());
    // Softened again it begins again, and has one pass.
    index.insert(b"later", &[b]);
    (0..3).for_each(|_| assert_eq!(index.soften(a), 0));
    assert_eq!(index.next_softened(), Some(down[0]));
    index.soften(a);
    assert_eq!(index.to_visit(), places.len());
    // The tag that is softened last comes first, and one that has nothing softened any more is passed over.
    assert_eq!(index.soften(b), 1);
    assert_eq!(index.passes.len(), 2);
    let later = index.last_member(b).unwrap();
    assert_eq!(index.next_softened(), Some(later));
    index.soften(b);
    index.remove(later);
    assert_eq!(met(&mut index), down);
    index.soften(a);
    assert_eq!((index.condemn(a), index.to_visit()), (places.len(), 0));
    assert!(met(&mut index).is_empty());
    assert_consistent(&index);
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
    Soften {
        tag: u8,
    },
    /// Takes so many condemned items away.
    Reclaim {
        count: u8,
    },
    /// Looks at so many softened items.
    Visit {
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
        2 => (0u8..40).prop_map(|tag| Step::Soften { tag }),
        1 => any::<u8>().prop_map(|count| Step::Reclaim { count }),
        2 => (0u8..20).prop_map(|count| Step::Visit { count }),
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
        // The memberships, of a name in a tag, that are condemned, and that are softened.
        let mut condemned: BTreeSet<(u8, u8)> = BTreeSet::new();
        let mut softened: BTreeSet<(u8, u8)> = BTreeSet::new();
        // The names that nobody has looked at since they were softened.
        let mut unseen: BTreeSet<u8> = BTreeSet::new();
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
                    softened.retain(|&(other, _)| other != name);
                    unseen.remove(&name);
                    model.insert(name, (place, tags.into_iter().collect()));
                }
                Step::Remove { name } => {
                    if let Some((place, _)) = model.remove(&name) {
                        prop_assert!(index.remove(place));
                        condemned.retain(|&(other, _)| other != name);
                        softened.retain(|&(other, _)| other != name);
                        unseen.remove(&name);
                    }
                }
                Step::RemoveAll { tag: gone } => {
                    while let Some(place) = index.last_member(tag(gone)) {
                        let name = index.name(place).unwrap()[0];
                        prop_assert!(model.remove(&name).unwrap().1.contains(&gone));
                        index.remove(place);
                        condemned.retain(|&(other, _)| other != name);
                        softened.retain(|&(other, _)| other != name);
                        unseen.remove(&name);
                    }
                    prop_assert!(model.values().all(|(_, tags)| !tags.contains(&gone)));
                }
                Step::Condemn { tag: which } => {
                    let before = condemned.len();
                    let members = model.iter().filter(|(_, (_, tags))| tags.contains(&which));
                    condemned.extend(members.map(|(&name, _)| (name, which)));
                    softened.retain(|&(_, tag)| tag != which);
                    unseen.retain(|&name| !condemned.contains(&(name, which)));
                    prop_assert_eq!(index.condemn(tag(which)), condemned.len() - before);
                }
                Step::Soften { tag: which } => {
                    let before = softened.len();
                    let members = model
                        .iter()
                        .filter(|(_, (_, tags))| tags.contains(&which))
                        .map(|(&name, _)| name)
                        .filter(|&name| !condemned.contains(&(name, which)));
                    for name in members {
                        softened.insert((name, which));
                        unseen.insert(name);
                    }
                    prop_assert_eq!(index.soften(tag(which)), softened.len() - before);
                }
                Step::Visit { count } => {
                    for nth in 0..count {
                        let left = index.to_visit();
                        let Some(place) = index.next_softened() else {
                            prop_assert!(unseen.is_empty() && index.to_visit() == 0);
                            break;
                        };
                        prop_assert!(index.to_visit() < left);
                        let name = index.name(place).unwrap()[0];
                        prop_assert!(softened.iter().any(|&(other, _)| other == name));
                        unseen.remove(&name);
                        if nth % 2 == 0 {
                            model.remove(&name);
                            index.remove(place);
                            condemned.retain(|&(other, _)| other != name);
                            softened.retain(|&(other, _)| other != name);
                        }
                    }
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
                            softened.retain(|&(other, _)| other != name);
                            unseen.remove(&name);
                        }
                    }
                }
            }
        }
        prop_assert_eq!(index.len(), model.len());
        for (&name, (place, tags)) in &model {
            let prints: Vec<_> = tags.iter().map(|&n| tag(n)).collect();
            prop_assert_eq!(index.check_item(*place, &[name], &prints), Ok(()));
            let is = |of: &BTreeSet<(u8, u8)>| of.iter().any(|&(other, _)| other == name);
            let standing = match (is(&condemned), is(&softened)) {
                (true, _) => Standing::Condemned,
                (false, true) => Standing::Softened,
                (false, false) => Standing::Alive,
            };
            prop_assert_eq!(index.standing(*place), standing);
            prop_assert_eq!(index.is_condemned(*place), is(&condemned));
        }
        prop_assert_eq!(index.condemned(), condemned.len());
        prop_assert_eq!(index.softened(), softened.len());
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
        while let Some(place) = index.next_softened() {
            unseen.remove(&index.name(place).unwrap()[0]);
        }
        prop_assert_eq!((unseen, index.to_visit()), (BTreeSet::new(), 0));
        prop_assert_eq!(index.softened(), softened.len());
        assert_consistent(&index);
    }
}
