//! Requests with ids: each counts once within the window, as long as there are not too many.

use crate::history::limit;
use crate::node::{kept_of, Call, Node, Said};
use apikey_engine::limits::account::Account;
use apikey_engine::limits::calendar::{Calendar, Unit};
use apikey_engine::limits::limit::Rule;
use apikey_engine::limits::requests::{Print, Request, Window};
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_request_counts_once_within_the_window_while_no_more_than_the_bound_came_after_it(
        steps in proptest::collection::vec((0u8..12, 0i64..40, 1i64..5, 0u8..30), 1..150),
        most in 1usize..10,
        ms in 0i64..200,
    ) {
        let calendar = Calendar { unit: Unit::Year, offset: 0 };
        let limits = [(0, limit("year", Rule::Quota { units: 1 << 40, calendar }))];
        let (mut node, mut now) = (Node::new(1), START);
        (node.window.ms, node.window.most) = (ms, most);
        // Ids, the oldest first, with the times that they were counted at.
        let mut known: Vec<(u8, i64)> = Vec::new();
        let (mut counted, mut early) = (0, 0);
        for (id, wait, cost, event) in steps {
            now += wait;
            match event {
                0 => node.restart(now),
                1 => node.window.ms = ms / 2,
                2 => node.window.ms = ms,
                3 => node.window.most = (most / 2).max(1),
                _ => {}
            }
            let window = node.window;
            let call = Call { limits: &limits, cost, id: Some(&[id]), now };
            let is_known = known.iter().any(|&(other, at)| other == id && at >= now - window.ms);
            match node.admit(&call) {
                Said::Repeated => prop_assert!(is_known),
                Said::Admitted(_) => {
                    prop_assert!(!is_known, "{} is counted twice", id);
                    known.retain(|(_, at)| *at >= now - window.ms);
                    known.push((id, now));
                    while known.len() > window.most {
                        known.remove(0);
                        early += 1;
                    }
                    counted += cost;
                }
                other => panic!("{other:?}"),
            }
            let (counter, account) = &node.counters[0];
            prop_assert_eq!(counter.total(), counted);
            prop_assert_eq!(kept_of(account, b"year").map_or(0, |kept| kept.level.amount), counted);
            prop_assert!(account.requests().len() <= known.len().max(window.most));
            prop_assert_eq!(node.early, early);
        }
    }
}

/// By a clock that was set back, one that is over can stand behind one that is not.
#[test]
fn an_id_that_is_noted_anew_is_the_latest() {
    let mut node = Node::new(1);
    for (id, now) in [(b"a", START), (b"b", START - 70_000), (b"b", START)] {
        let call = Call { limits: &[], cost: 1, id: Some(id), now };
        assert!(matches!(node.admit(&call), Said::Admitted(_)));
    }
    let requests = node.counters[0].1.requests();
    let times: Vec<i64> = requests.iter().map(|request| request.at).collect();
    assert_eq!(times, [START]);
    assert_eq!(node.early, 1);
}

/// Nobody waits while all of many go.
#[test]
fn at_most_a_thousand_ids_go_at_once_and_those_up_to_one_that_comes_again() {
    let window = Window { ms: 1000, most: 16_384 };
    let note = |account: &mut Account, id: u32, window, now| {
        let mut change = Change::of(Counter::default());
        let request = Request::plain(Print::of_use(&id.to_le_bytes()), now, 1);
        let early = change.note(request, account, window).early;
        change.put(account);
        early
    };
    let mut account = Account::default();
    let gone: usize = (0..2500).map(|id| note(&mut account, id, window, START)).sum();
    assert_eq!((account.requests().len(), gone), (2500, 0));
    let is_known = |account: &Account, id: u32| {
        account.requests().get(&Print::of_use(&id.to_le_bytes())).is_some()
    };

    // The time of all is over.
    let mut over = account.clone();
    for (id, left) in [(2500, 1501), (2501, 502), (2502, 3), (2503, 4)] {
        assert_eq!(note(&mut over, id, window, START + 1001), 0);
        assert_eq!(over.requests().len(), left);
        // The oldest go.
        assert!(id > 2501 || is_known(&over, 1000 * (id - 2499)));
        assert!(!is_known(&over, 1000 * (id - 2499) - 1) && is_known(&over, id));
    }

    // There may be fewer than there were.
    let (mut fewer, window) = (account.clone(), Window { most: 2, ..window });
    for (id, left, early) in [(2500, 1501, 1000), (2501, 502, 1000), (2502, 2, 501), (2503, 2, 1)] {
        assert_eq!(note(&mut fewer, id, window, START), early);
        assert_eq!(fewer.requests().len(), left);
    }

    // It stands once.
    let window = Window { most: 16_384, ..window };
    assert_eq!(note(&mut account, 2000, window, START + 1001), 0);
    assert_eq!(account.requests().len(), 500);
    assert!(!is_known(&account, 1999) && is_known(&account, 2000) && is_known(&account, 2001));
}
