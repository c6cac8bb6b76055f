//! A cluster is told as a whole, whichever primary is asked.

use super::calls::*;
use crate::cluster::assert_cluster_is_exact;
use crate::harness::cluster::slot;
use crate::harness::*;

/// Stores `k0` and so on, each where its slot is.
#[track_caller]
fn fill(clients: &mut [Client], keys: usize, rest: &str) {
    for n in 0..keys {
        let call = format!("CACHE.SET k{n} {rest}");
        let stored =
            clients.iter_mut().map(|c| c.run(&call)).filter(|reply| *reply == ok()).count();
        assert_eq!(stored, 1, "k{n}");
    }
}

/// How many of the keys have this code, wherever they are.
fn how_many(clients: &mut [Client], keys: usize, of: &str, code: &str) -> usize {
    let mut is = |n: usize| clients.iter_mut().any(|c| says(c, &format!("k{n} {of}")) == code);
    (0..keys).filter(|n| is(*n)).count()
}

#[test]
fn clear_taginval_and_patinval_hold_on_all_primaries_whichever_is_told() {
    const KEYS: usize = 60;
    let cluster = Cluster::start(3, 0);
    let mut clients = cluster.clients();
    for asked in 0..3 {
        fill(&mut clients, KEYS, "r v GRACE 600000 TAGS 1 t");
        assert_eq!(clients[asked].must("CACHE.TAGINVAL SOFT t"), int(KEYS as i64));
        assert_eq!(how_many(&mut clients, KEYS, "r", "STALE"), KEYS);
        assert_eq!(clients[asked].must("CACHE.TAGINVAL t"), int(KEYS as i64));
        assert_eq!(how_many(&mut clients, KEYS, "r", "MISS"), KEYS);

        fill(&mut clients, KEYS, "r v GRACE 600000 NS n:");
        assert_eq!(clients[asked].must("CACHE.CLEAR r"), int(0));
        assert_eq!(clients[asked].must("CACHE.CLEAR r NS n:"), int(KEYS as i64));
        assert_eq!(how_many(&mut clients, KEYS, "r NS n:", "MISS"), KEYS);

        fill(&mut clients, KEYS, "r v GRACE 600000 NS n:");
        let tokens: Vec<String> = clients
            .iter_mut()
            .map(|c| {
                // One key of each.
                let key = (0..KEYS)
                    .map(|n| format!("k{n}"))
                    .find(|key| !c.run(&format!("APIKEY.TOKEN {key}")).is_error());
                c.must(&format!("APIKEY.TOKEN {}", key.expect("a key"))).text()
            })
            .collect();
        assert_eq!(clients[asked].must("CACHE.PATINVAL k*[0-4] REGION r"), int(0));
        assert_eq!(
            clients[asked].must("CACHE.PATINVAL k*[0-4] REGION r NS n:"),
            int(KEYS as i64 / 2)
        );
        assert_eq!(how_many(&mut clients, KEYS, "r NS n:", "HIT"), KEYS / 2);
        // Fills that began before are refused on each of them.
        for n in [0, 1, 2, 3, 4, 10, 11] {
            for (c, token) in clients.iter_mut().zip(&tokens) {
                let reply = c.run(&format!("CACHE.SET k{n} r late TOKEN {token} NS n:"));
                assert!(reply == nil() || reply.text().starts_with("MOVED"), "{reply:?}");
            }
        }
        assert_eq!(clients[asked].must("CACHE.PATINVAL *"), int(KEYS as i64 / 2));
    }
    assert_cluster_is_exact(&cluster);
}

#[test]
fn keys_of_one_call_are_of_one_slot() {
    let cluster = Cluster::start(3, 0);
    let mut clients = cluster.clients();
    let owner = |clients: &mut [Client], key: &str| -> usize {
        clients
            .iter_mut()
            .position(|c| !c.run(&format!("EXISTS {key}")).is_error())
            .expect("an owner")
    };
    let at = owner(&mut clients, "{a}1");
    assert_eq!(slot(&mut clients[0], "{a}1"), slot(&mut clients[0], "{a}2"));
    let token = clients[at].must("APIKEY.TOKEN {a}1").text();
    assert_eq!(
        clients[at].must(&format!("CACHE.MSET r 2 {{a}}1 v {{a}}2 w TOKEN {token}")),
        int(2)
    );
    let read = clients[at].must("CACHE.MGET r {a}1 {a}2 {a}3");
    let codes: Vec<String> = read.items().iter().map(code_of).collect();
    assert_eq!(codes, ["HIT", "HIT", "MISS"]);
    for line in [
        "CACHE.MGET r {a}1 {b}1".to_string(),
        format!("CACHE.MSET r 2 {{a}}1 v {{b}}1 w TOKEN {token}"),
    ] {
        let reply = clients[at].run(&line);
        assert!(reply.text().starts_with("CROSSSLOT"), "{line}: {reply:?}");
    }
    let other = (at + 1) % 3;
    for line in [
        "CACHE.GET {a}1 r",
        "CACHE.MGET r {a}1",
        "CACHE.SET {a}1 r v",
        "CACHE.SETABSENT {a}1 r TOKEN 0",
        "CACHE.FAIL {a}1 r TOKEN 0",
        "CACHE.MSET r 1 {a}1 v TOKEN 0",
    ] {
        assert!(clients[other].run(line).text().starts_with("MOVED"), "{line}");
    }
    assert_cluster_is_exact(&cluster);
}
