//! What requests really cost.

use super::calls::*;
use crate::harness::*;

#[test]
fn the_difference_is_given_back_or_taken_and_counted() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("minute", 100), quota("year", 100)]);
    admit(&mut c, "COST 40 ID a");
    assert_eq!(c.must("APIKEY.SETTLE use a 15"), array([int(40), int(15)]));
    assert_eq!(levels(&mut c, "use"), [("minute".into(), 85), ("year".into(), 85)]);
    assert_eq!(c.usage("use"), (15, 15));
    for cost in [0, 15, 99] {
        let settled = c.must(&format!("APIKEY.SETTLE use a {cost}"));
        assert_eq!(settled, array([int(15), int(15)]), "once");
    }
    admit(&mut c, "COST 10 ID b");
    assert_eq!(c.must("APIKEY.SETTLE use b 500"), array([int(10), int(500)]));
    assert_eq!(
        levels(&mut c, "use"),
        [("minute".into(), 0), ("year".into(), 0)],
        "as far as there is"
    );
    assert_eq!(c.usage("use"), (515, 515));
    assert_eq!(c.must("APIKEY.SETTLE use unknown 5"), nil());
    assert_eq!(c.must("APIKEY.SETTLE none unknown 5"), nil());
    assert!(!c.exists("none"));
    assert_exact(&server);
}

#[test]
fn nothing_at_all_is_given_back_whole_and_a_cost_of_nothing_can_be_settled_upwards() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("minute", 100), quota("year", 100)]);
    assert_eq!(remaining(&admit(&mut c, "COST 0 ID later")), [100, 100]);
    assert_eq!(c.must("APIKEY.SETTLE use later 30"), array([int(0), int(30)]));
    assert_eq!(remaining(&admit(&mut c, "PEEK")), [70, 70]);
    assert_eq!(c.usage("use"), (30, 30));
    admit(&mut c, "COST 40 ID failed");
    c.must("APIKEY.SETTLE use failed 0");
    assert_eq!(remaining(&admit(&mut c, "PEEK")), [70, 70]);
    assert_eq!(c.usage("use"), (30, 30));
    assert_exact(&server);
}

#[test]
fn each_counter_is_settled_for_itself() {
    let server = Server::start();
    let mut c = server.client();
    let company = r#"{"name":"company","units":1,"per":31622400000,"burst":50,"counter":2}"#;
    limited(&mut c, "k", &[bucket("own", 50), company.into()]);
    admit_in(&mut c, "2 use all", "COST 20 ID a");
    assert_eq!(c.must("APIKEY.SETTLE use a 5"), array([int(20), int(5)]));
    assert_eq!(levels(&mut c, "all"), [("company".into(), 30)]);
    assert_eq!(c.must("APIKEY.SETTLE all a 5"), array([int(20), int(5)]));
    assert_eq!(levels(&mut c, "all"), [("company".into(), 45)]);
    assert_eq!((c.usage("use"), c.usage("all")), ((5, 5), (0, 0)));
    assert_exact(&server);
}

/// Estimates, then the real costs, while a consumer drains and clients die between.
#[test]
fn the_counts_are_the_sum_of_the_real_costs_to_the_last_one() {
    let server = Server::start();
    let mut c = server.client();
    let mut rng = Rng::from_env(7);
    limited(&mut c, "k", &[quota("tokens", 1_000_000_000)]);
    let (mut real, mut drained) = (0, 0);
    for n in 0..300 {
        let estimate = 500 + rng.below(1000) as i64;
        assert_eq!(code_of(&admit(&mut c, &format!("COST {estimate} ID r{n}"))), "VALID");
        if rng.one_in(5) {
            // Whoever has asked dies: the estimate stays.
            real += estimate;
        } else {
            let cost = rng.below(2500) as i64;
            let before = c.must(&format!("APIKEY.SETTLE use r{n} {cost}")).items()[0].int();
            assert_eq!(before, estimate);
            real += cost;
        }
        if rng.one_in(7) {
            drained += c.must("APIKEY.USAGE.TAKE use").items()[0].int();
        }
        if rng.one_in(7) {
            for batch in c.leases("10000") {
                drained += batch.counts().iter().map(|(_, count)| count).sum::<i64>();
                c.ack(&batch);
            }
        }
    }
    let (pending, total) = c.usage("use");
    assert_eq!(total, real);
    assert_eq!(drained + pending, real);
    assert_eq!(levels(&mut c, "use"), [("tokens".into(), 1_000_000_000 - real)]);
    assert_exact(&server);
}

#[test]
fn what_was_handed_over_is_made_up_by_what_is_counted_next() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[]);
    admit(&mut c, "COST 10 ID a");
    assert_eq!(c.must("APIKEY.USAGE.TAKE use"), array([int(10)]));
    c.must("APIKEY.SETTLE use a 4");
    assert_eq!(c.usage("use"), (-6, 4));
    assert_eq!(figure(&mut c, "usage_pending"), 0);
    assert_eq!(c.must("APIKEY.USAGE.TAKE use"), array([int(0)]));
    assert_eq!(c.leases("1000"), [], "nothing to hand over");
    c.must("DEBUG RELOAD");
    assert_eq!(c.usage("use"), (-6, 4));
    assert_eq!(c.must("APIKEY.USAGE.INCR use BY 8"), int(2));
    assert_eq!(c.must("APIKEY.USAGE.TAKE use"), array([int(2)]));
    assert_eq!(c.usage("use"), (0, 12));
    assert_exact(&server);
}
