//! A request with an id counts once.

use super::calls::*;
use crate::harness::*;

#[test]
fn an_id_that_was_admitted_is_valid_and_counts_once() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 3)]);
    for _ in 0..5 {
        let reply = admit(&mut c, "ID a");
        assert_eq!((code_of(&reply).as_str(), remaining(&reply)), ("VALID", vec![2]));
    }
    assert_eq!(c.usage("use"), (1, 1));
    assert_eq!((figure(&mut c, "repeated_ids"), figure(&mut c, "admitted")), (4, 1));
    // Another request that has been refused is judged anew.
    assert_eq!(code_of(&admit(&mut c, "COST 3 ID b")), "RATE_LIMITED");
    assert_eq!(code_of(&admit(&mut c, "COST 2 ID b")), "VALID");
    assert_eq!(code_of(&admit(&mut c, "ID a")), "VALID", "though nothing is left");
    assert_eq!(code_of(&admit(&mut c, "ID c")), "RATE_LIMITED");
    // A key that was taken back is not valid for having been so.
    c.must("APIKEY.INVAL k");
    assert_eq!(code_of(&admit(&mut c, "ID a")), "MISS");
    assert_exact(&server);
}

#[test]
fn incr_and_credit_count_an_id_once() {
    let server = Server::start();
    let mut c = server.client();
    for _ in 0..3 {
        assert_eq!(c.must("APIKEY.USAGE.INCR use BY 5 ID a"), int(5));
        assert_eq!(c.must("APIKEY.CREDIT use money BY 5 ID a"), int(5), "ids of credits are apart");
        assert_eq!(c.must("APIKEY.CREDIT use money SET 5 ID b"), int(5));
    }
    assert_eq!(c.must("APIKEY.USAGE.INCR use BY 5 ID b"), int(10));
    limited(&mut c, "k", &[]);
    assert_eq!(code_of(&admit(&mut c, "ID a")), "VALID");
    assert_eq!(c.usage("use"), (10, 10), "INCR has counted it");
    assert_eq!(c.must("APIKEY.SETTLE use a 3"), array([int(5), int(3)]));
    assert_eq!(c.usage("use"), (8, 8));
    assert_exact(&server);
}

#[test]
fn an_id_that_only_took_from_a_counter_is_counted_there_and_credits_are_told_by_their_name() {
    let server = Server::start();
    let mut c = server.client();
    let company = r#"{"name":"company","units":1,"per":31622400000,"burst":9,"counter":2}"#;
    limited(&mut c, "k", &[company.into()]);
    admit_in(&mut c, "2 use all", "COST 3 ID a");
    for _ in 0..2 {
        assert_eq!(c.must("APIKEY.USAGE.INCR all BY 5 ID a"), int(5));
    }
    assert_eq!(c.must("APIKEY.CREDIT use one BY 5 ID a"), int(5));
    assert_eq!(c.must("APIKEY.CREDIT use two BY 5 ID a"), int(5));
    assert_eq!(c.must("APIKEY.CREDIT use two BY 5 ID a"), int(5));
    assert_exact(&server);
}

#[test]
fn an_id_is_forgotten_after_the_window_and_where_there_are_too_many() {
    let builder = Server::builder().setting("request-id-window-ms", "300");
    let server = builder.setting("max-request-ids", "4").start();
    let mut c = server.client();
    limited(&mut c, "k", &[]);
    admit(&mut c, "ID a");
    eventually("the id is counted anew", || {
        admit(&mut c, "ID a");
        c.usage("use").1 == 2
    });
    assert_eq!(c.must("APIKEY.SETTLE use none 1"), nil());
    let (early, count) = (figure(&mut c, "ids_dropped_early"), c.usage("use").1);
    c.must("MULTI");
    (0..6).for_each(|n| drop(admit(&mut c, &format!("ID b{n}"))));
    admit(&mut c, "ID b5");
    admit(&mut c, "ID b0");
    c.must("EXEC");
    assert_eq!(c.usage("use").1 - count, 7, "b0 had to go");
    assert!(figure(&mut c, "ids_dropped_early") >= early + 3);
    assert_exact(&server);
}

#[test]
fn ids_of_which_there_are_too_many_go_by_a_thousand() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    let lines: Vec<String> = (0..2500).map(|n| format!("APIKEY.USAGE.INCR use ID {n}")).collect();
    assert_eq!(c.pipeline(&lines).last(), Some(&int(2500)));
    c.must("CONFIG SET apikey.max-request-ids 2");
    for (n, gone) in [(2500, 1000), (2501, 2000), (2502, 2501), (2503, 2502)] {
        c.must(&format!("APIKEY.USAGE.INCR use ID {n}"));
        assert_eq!(figure(&mut c, "ids_dropped_early"), gone);
    }
    assert_eq!(c.must("APIKEY.SETTLE use 2501 7"), nil());
    assert_eq!(c.must("APIKEY.SETTLE use 2502 7"), array([int(1), int(7)]));
    assert_exact(&server);
}

/// As client libraries do: a call whose reply was lost is repeated.
#[test]
fn what_a_client_repeats_by_itself_counts_once() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 1000)]);
    let port: u16 = c.info("server", "tcp_port").expect("a port").parse().expect("a number");
    const CALLS: usize = 60;
    let mut lost = 0;
    for n in 0..CALLS {
        let call = format!("APIKEY.ADMIT k 1 use DIGEST {DIGEST} ID request-{n}");
        let mut client = Client::connect(port).expect("a connection");
        if n % 3 == 0 {
            // It is sent, and nobody waits for what is said.
            client.send(args(&call)).expect("it is sent");
            drop(client);
            lost += 1;
            client = Client::connect(port).expect("a connection");
        }
        assert_eq!(code_of(&client.run(&call)), "VALID");
    }
    eventually("all have come", || {
        figure(&mut c, "repeated_ids") + c.usage("use").1 >= (CALLS + lost) as i64
    });
    assert_eq!(c.usage("use"), (CALLS as i64, CALLS as i64));
    assert_eq!(levels(&mut c, "use"), [("second".into(), 1000 - CALLS as i64)]);
}
