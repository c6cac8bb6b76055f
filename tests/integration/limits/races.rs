//! Clients that race: what was taken from each limit is what was admitted.

use super::calls::*;
use crate::harness::*;
use std::thread;

#[test]
fn sixteen_clients_take_from_eight_limits_in_two_counters_all_or_none() {
    const CLIENTS: usize = 16;
    const CALLS: usize = 120;
    let server = Server::start();
    let mut c = server.client();
    let limits: Vec<String> = (0..8)
        .map(|n| {
            let counter = 1 + n / 4;
            match n % 2 {
                0 => format!(r#"{{"name":"rate{n}","units":1,"per":31622400000,"burst":{},"cost":{},"counter":{counter}}}"#, 5000 - 100 * n, 1 + n),
                _ => format!(r#"{{"name":"quota{n}","quota":{},"period":"year","cost":{},"counter":{counter}}}"#, 6000 + 100 * n, 1 + n),
            }
        })
        .collect();
    limited(&mut c, "k", &limits);
    let admitted: i64 = thread::scope(|scope| {
        let all: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let mut c = server.client();
                scope.spawn(move || {
                    let mut rng = Rng::new(client as u64);
                    let mut admitted = 0;
                    for _ in 0..CALLS {
                        let cost = 1 + rng.below(3) as i64;
                        let reply = admit_in(&mut c, "2 use all", &format!("COST {cost}"));
                        if code_of(&reply) == "VALID" {
                            admitted += cost;
                        }
                    }
                    admitted
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().expect("it ends")).sum()
    });
    // The seventh takes seven of each of 4,400.
    assert_eq!(admitted, 4400 / 7, "to the last one");
    assert_eq!(c.usage("use"), (admitted, admitted));
    let taken = |n: i64| match n % 2 {
        0 => (format!("rate{n}"), 5000 - 100 * n - (1 + n) * admitted),
        _ => (format!("quota{n}"), 6000 + 100 * n - (1 + n) * admitted),
    };
    for (counter, from) in [("use", 0), ("all", 4)] {
        let mut expected: Vec<(String, i64)> = (from..from + 4).map(taken).collect();
        expected.sort();
        assert_eq!(levels(&mut c, counter), expected);
    }
    let before = server.digest();
    assert_ne!(code_of(&admit_in(&mut c, "2 use all", "")), "VALID");
    assert_eq!(server.digest(), before);
    assert_exact(&server);
}
