//! What was taken from limits is kept as the count is.

use super::calls::*;
use crate::fuzz::sealed;
use crate::harness::server::{Kind, Stop};
use crate::harness::streams::Tap;
use crate::harness::*;

/// Counters with every kind of limit, and requests by their ids.
#[track_caller]
fn populate(c: &mut Client) {
    let company = r#"{"name":"company","units":1,"per":31622400000,"burst":30,"counter":2}"#;
    let credits = r#"{"name":"credits","credits":true}"#.to_string();
    limited(c, "k", &[bucket("second", 30), quota("year", 50), credits, company.into()]);
    c.must("APIKEY.CREDIT use credits BY 20 ID invoice");
    admit_in(c, "2 use all", "COST 3 ID first");
    admit_in(c, "2 use all", "COST 4 ID second");
    c.must("APIKEY.SETTLE use second 1");
    c.must("APIKEY.USAGE.INCR use BY 2 ID third");
    c.must("APIKEY.CREDIT plain credits BY 5");
    assert_eq!(code_of(&admit_in(c, "2 plain all", "")), "VALID");
}

/// What is told of them.
#[track_caller]
fn told(c: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    for counter in ["use", "all", "plain"] {
        lines.push(format!("{counter} {:?} {:?}", c.usage(counter), levels(c, counter)));
    }
    for (call, is) in [
        ("APIKEY.CREDIT use credits BY 20 ID invoice", int(16)),
        ("APIKEY.USAGE.INCR use BY 2 ID third", int(6)),
        ("APIKEY.SETTLE use second 9", array([int(1), int(1)])),
        ("APIKEY.SETTLE use none 9", nil()),
    ] {
        assert_eq!(c.run(call), is, "{call}");
    }
    let again = admit_in(c, "2 use all", "COST 3 ID first");
    lines.push(format!("{} {:?}", code_of(&again), remaining(&again)));
    lines
}

#[test]
fn it_is_there_after_a_restart_of_either_kind() {
    for preamble in [true, false] {
        let mut server =
            Server::builder().setting("trust-loaded", "yes").with_aof(preamble).start();
        populate(&mut server.client());
        let before = (told(&mut server.client()), server.digest());
        server.restart(Stop::Kill);
        assert_eq!((told(&mut server.client()), server.digest()), before, "as written");
        server.rewrite_aof();
        server.restart(Stop::Kill);
        assert_eq!((told(&mut server.client()), server.digest()), before, "as rewritten");
        assert_exact(&server);
    }
    let mut server = Server::builder().setting("trust-loaded", "yes").start();
    populate(&mut server.client());
    let before = (told(&mut server.client()), server.digest());
    server.restart(Stop::Save);
    assert_eq!((told(&mut server.client()), server.digest()), before);
}

#[test]
fn a_replica_has_the_same_and_goes_on_with_it() {
    let primary = Server::start();
    populate(&mut primary.client());
    // Some come with the RDB, others by the stream.
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest());
    let mut c = primary.client();
    admit_in(&mut c, "2 use all", "COST 2 ID fourth");
    c.must("APIKEY.SETTLE use fourth 7");
    c.must("APIKEY.SETTLE all fourth 1");
    c.must("APIKEY.CREDIT use credits BY -1");
    c.must("APIKEY.CREDIT new credits BY 5");
    assert_eq!(code_of(&admit_in(&mut c, "2 new all", "ID fifth")), "VALID");
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest());
    let mut r = replica.client();
    assert!(r.run(&format!("APIKEY.ADMIT k 1 use DIGEST {DIGEST}")).is_error(), "READONLY");
    assert_eq!(levels(&mut r, "use"), levels(&mut c, "use"));
    assert_nothing_was_refused(&replica);
    assert_exact(&replica);
    let left = levels(&mut c, "use");
    replica.promote();
    assert_eq!(levels(&mut r, "use"), left);
    let again = admit_in(&mut r, "2 use all", "COST 2 ID fourth");
    assert_eq!(code_of(&again), "VALID");
    assert_eq!(levels(&mut r, "use"), left, "the id is known there");
    assert_eq!(figure(&mut r, "repeated_ids"), 1);
}

#[test]
fn a_request_is_one_command_of_the_stream_and_a_refused_one_none() {
    let server = Server::start();
    let mut c = server.client();
    let company = r#"{"name":"company","units":1,"per":31622400000,"burst":2,"counter":2}"#;
    limited(&mut c, "k", &[bucket("own", 9), company.into()]);
    let mut tap =
        Tap::replication(c.info("server", "tcp_port").expect("a port").parse().expect("a number"));
    admit_in(&mut c, "2 use all", "ID a");
    admit_in(&mut c, "2 use all", "ID a");
    admit_in(&mut c, "2 use all", "ID b");
    assert_eq!(code_of(&admit_in(&mut c, "2 use all", "ID c")), "RATE_LIMITED");
    admit_in(&mut c, "2 use all", "PEEK");
    c.must("SET marker 1");
    tap.until(b"marker");
    let text = tap.text().to_lowercase();
    assert_eq!(text.matches("apikey.usage.changed").count(), 2, "{text}");
    assert!(!text.contains("apikey.admit"), "{text}");
    // 6.2 puts each command that a module replicates into a transaction.
    assert!(server::kind() == Kind::Redis62 || !text.contains("multi"), "{text}");
}

#[test]
fn rename_dump_and_restore_take_it_along_and_a_copy_begins_anew() {
    let server = Server::start();
    let mut c = server.client();
    populate(&mut c);
    let before = (c.usage("use"), levels(&mut c, "use"));
    let dump = c.must("DUMP use");
    c.must("COPY use copy");
    assert_eq!((c.usage("copy"), levels(&mut c, "copy")), ((0, 0), vec![]));
    c.must("RENAME use moved");
    assert_eq!((c.usage("moved"), levels(&mut c, "moved")), before);
    assert_eq!(c.cmd([b"RESTORE".as_slice(), b"use", b"0", dump.bytes()]), ok());
    assert_eq!((c.usage("use"), levels(&mut c, "use")), before);
    c.must("DEL moved");
    told(&mut c);
    assert_exact(&server);
}

#[test]
fn no_invalidation_touches_it() {
    let server = Server::start();
    let mut c = server.client();
    populate(&mut c);
    let before = levels(&mut c, "use");
    c.must("APIKEY.INVAL k");
    c.must("APIKEY.TAGINVAL apikey:id:k apikey:kind:record");
    assert_eq!(levels(&mut c, "use"), before);
    assert_eq!(code_of(&admit(&mut c, "")), "MISS");
    assert_exact(&server);
}

#[test]
fn memory_is_told_and_defragmented() {
    let server = Server::start();
    let mut c = server.client();
    let usage = |c: &mut Client, key: &str| c.must(&format!("MEMORY USAGE {key}")).int();
    limited(&mut c, "k", &[bucket("second", 1_000_000)]);
    c.must("APIKEY.USAGE.INCR plain");
    admit(&mut c, "");
    let (plain, one) = (usage(&mut c, "plain"), usage(&mut c, "use"));
    assert!((60..=130).contains(&(one - plain)), "{plain} {one}");
    for n in 0..4096 {
        admit(&mut c, &format!("ID request-{n}"));
    }
    let ids = (usage(&mut c, "use") - one) / 4096;
    assert!((60..=160).contains(&ids), "{ids} bytes each");
    if server::kind() == Kind::Redis82 {
        c.run("CONFIG SET activedefrag yes");
    }
    assert_eq!(levels(&mut c, "use"), [("second".into(), 1_000_000 - 4097)]);
    assert_exact(&server);
}

/// Bytes of anyone's are an error, and never a counter that can't be.
#[test]
fn a_damaged_counter_is_refused() {
    let server = Server::start();
    let mut c = server.client();
    populate(&mut c);
    let dump = c.must("DUMP use").bytes().to_vec();
    let mut refused = 0;
    let (body, footer) = dump.split_at(dump.len() - 10);
    for at in 10..body.len() {
        let mut damaged = body.to_vec();
        damaged[at] ^= 0x55;
        // With a checksum that is right.
        let damaged = sealed(&damaged, &footer[..2]);
        let reply = c.cmd([b"RESTORE".as_slice(), b"bad", b"0", &damaged]);
        refused += usize::from(reply.is_error());
        if !reply.is_error() {
            for limit in c.must("APIKEY.LIMITS bad").items() {
                let [_, kind, most, remaining, reset] = limit.items() else { panic!("{limit:?}") };
                let most =
                    if kind.text() == "credits" { 1_000_000_000_000_000 } else { most.int() };
                assert!((0..=most).contains(&remaining.int()), "{at}: {limit:?}");
                assert!(reset.int() >= -1, "{at}: {limit:?}");
            }
            c.run(&format!("APIKEY.ADMIT k 2 bad all DIGEST {DIGEST} ID first"));
            c.must("DEL bad");
        }
    }
    assert!(refused > dump.len() / 4, "{refused} of {}", dump.len());
    assert_exact(&server);
}

/// A change says by a number which ids have gone: so whoever has loaded the counter has to have them all.
#[test]
fn ids_whose_time_is_over_go_on_all_nodes_alike() {
    let window =
        |server: crate::harness::server::Builder| server.setting("request-id-window-ms", "50");
    let primary = window(Server::builder()).start();
    let mut c = primary.client();
    limited(&mut c, "k", &[]);
    admit(&mut c, "ID a");
    admit(&mut c, "ID b");
    eventually("they are over", || c.must("APIKEY.SETTLE use b 1") == nil());
    let replica = window(Server::builder()).replica_of(&primary).start();
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest(), "those that are over as well");
    c.must("MULTI");
    (0..3).for_each(|n| drop(admit(&mut c, &format!("ID c{n}"))));
    c.must("EXEC");
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest());
    assert_eq!(replica.client().must("DUMP use"), c.must("DUMP use"));
    assert_exact(&replica);
}
