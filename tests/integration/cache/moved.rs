//! Entries whose keys are renamed, copied, moved and restored; databases that are exchanged and emptied; values that
//! defragmentation moves.

use super::calls::*;
use crate::defrag::{eager, is_possible};
use crate::harness::*;
use std::time::Duration;

#[test]
fn an_entry_lives_only_where_it_was_stored() {
    let server = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = server.client();
    let store = |c: &mut Client| {
        c.must("FLUSHALL");
        set(c, "k r v GRACE 600000 TAGS 1 t");
    };
    for (line, key, stays) in [
        ("RENAME k new", "new", false),
        ("RENAMENX k new", "new", false),
        ("COPY k new", "new", true),
        ("MOVE k 1", "k", false),
        ("COPY k new DB 1", "new", true),
    ] {
        store(&mut c);
        c.must(line);
        assert_eq!(says(&mut c, "k r"), if stays { "HIT" } else { "MISS" }, "{line}");
        for db in [0, 1] {
            c.select(db);
            if db == 1 || key != "k" {
                assert_eq!(says(&mut c, &format!("{key} r")), "MISS", "{line}");
            }
        }
        c.select(0);
        assert_exact(&server);
        reclaimed(&mut c);
        let live = i64::from(stays);
        assert_eq!((stat(&mut c, "r", "entries"), c.must("APIKEY.TAGCARD t")), (live, int(live)));
        assert_eq!(c.must("CACHE.CLEAR r"), int(live), "{line}");
    }
    store(&mut c);
    let dump = c.must("DUMP k").bytes().to_vec();
    for (key, more) in [("new", ""), ("k", "REPLACE")] {
        let mut call = vec![b"RESTORE".as_slice(), key.as_bytes(), b"0", &dump];
        call.extend(Some(more.as_bytes()).filter(|more| !more.is_empty()));
        assert_eq!(c.cmd(call), ok());
        assert_eq!(says(&mut c, &format!("{key} r")), "MISS");
    }
    // It takes what is stored there as any name does.
    set(&mut c, "new r w");
    assert_eq!(value(&mut c, "new r"), "w");
    assert_exact(&server);
}

#[test]
fn a_region_goes_with_its_database() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXENTRIES 5");
    store_many(&mut c, "k", 5, "r v");
    says(&mut c, "k1 r");
    let token = miss(&mut c, "new r");
    c.must("SWAPDB 0 1");
    assert_eq!((stat(&mut c, "r", "entries"), says(&mut c, "k1 r").as_str()), (0, "MISS"));
    assert_eq!(
        c.run(&format!("CACHE.SET new r v TOKEN {token}")),
        ok(),
        "SWAPDB invalidates nothing"
    );
    c.select(1);
    assert_eq!((stat(&mut c, "r", "entries"), stat(&mut c, "r", "hits")), (5, 1));
    set(&mut c, "k9 r v");
    assert_eq!((stat(&mut c, "r", "entries"), stat(&mut c, "r", "evicted")), (5, 1));
    let token = miss(&mut c, "new r");
    c.must("FLUSHDB");
    assert_eq!((stat(&mut c, "r", "entries"), stat(&mut c, "r", "bytes")), (0, 0));
    assert_eq!(c.must("CACHE.CLEAR r"), int(0));
    assert_eq!(c.run(&format!("CACHE.SET new r v TOKEN {token}")), nil());
    c.select(0);
    assert_eq!(says(&mut c, "new r"), "HIT");
    c.must("FLUSHALL");
    assert_eq!(stat(&mut c, "r", "entries"), 0);
    assert_exact(&server);
}

#[test]
fn what_defragmentation_moves_answers_as_before() {
    let server = eager(Server::builder()).start();
    let (mut c, mut rng) = (server.client(), Rng::new(3));
    if !is_possible(&mut c) {
        return;
    }
    const KEYS: usize = 10_000;
    let lines: Vec<String> = (0..KEYS)
        .map(|n| {
            format!(
                "CACHE.SET k{n} r{} {n}-{} LABEL l{n} GRACE 5000 TAGS 2 t{} u",
                n % 3,
                "x".repeat(n % 300),
                n % 50
            )
        })
        .collect();
    all(&mut c, &lines);
    let gone: Vec<String> =
        (0..KEYS).filter(|_| rng.below(4) > 0).map(|n| format!("DEL k{n}")).collect();
    all(&mut c, &gone);
    let moved = |c: &mut Client| -> u64 {
        c.info("stats", "active_defrag_hits").expect("a line").parse().expect("a number")
    };
    let counts = [0, 1, 2].map(|n| {
        (stat(&mut c, &format!("r{n}"), "entries"), stat(&mut c, &format!("r{n}"), "bytes"))
    });
    c.must("CONFIG SET activedefrag yes");
    let patience = Duration::from_secs(60);
    eventually_within(patience, "a good part is moved", || moved(&mut c) > 500);
    assert_exact(&server);
    for n in (0..KEYS).filter(|n| n % 7 == 0) {
        if c.exists(&format!("k{n}")) {
            let reply = get(&mut c, &format!("k{n} r{}", n % 3));
            let is = format!("{n}-{}", "x".repeat(n % 300));
            assert_eq!(reply.items()[..3], [bulk("HIT"), bulk(is), bulk(format!("l{n}"))]);
        }
    }
    let after = [0, 1, 2].map(|n| {
        (stat(&mut c, &format!("r{n}"), "entries"), stat(&mut c, &format!("r{n}"), "bytes"))
    });
    assert_eq!(after, counts);
    assert_eq!(c.must("CACHE.CLEAR r0"), int(counts[0].0));
    assert_eq!(c.must("CACHE.PATINVAL k*"), int(counts[1].0 + counts[2].0));
    reclaimed(&mut c);
    assert_exact(&server);
}
