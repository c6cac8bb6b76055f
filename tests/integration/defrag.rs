//! Active defragmentation: what keys hold and the index is moved, and answers as before.
//!
//! Two of the servers can't: they are not built with the allocator that says what is worth moving.

use crate::harness::server::{kind, Kind};
use crate::harness::*;

/// Defragments whatever the fragmentation is, with much of the processor.
pub fn eager(builder: Builder) -> Builder {
    builder
        .config("active-defrag-ignore-bytes 1")
        .config("active-defrag-threshold-lower 0")
        .config("active-defrag-cycle-min 50")
        .config("active-defrag-cycle-max 75")
}

/// Whether the server can, which it says when it is told to.
#[track_caller]
pub fn is_possible(c: &mut Client) -> bool {
    let reply = c.run("CONFIG SET activedefrag yes");
    let can = matches!(kind(), Kind::Redis62 | Kind::Redis82);
    assert_eq!(!reply.is_error(), can, "{reply:?}");
    if can {
        c.must("CONFIG SET activedefrag no");
    } else {
        println!("skipped: {}", reply.text());
    }
    can
}

#[track_caller]
fn number(c: &mut Client, section: &str, name: &str) -> u64 {
    let text = c.info(section, name).unwrap_or_else(|| panic!("no {name}"));
    text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
}

/// What deletions and moves leave of memory that is not in use.
#[track_caller]
pub fn holes(c: &mut Client) -> u64 {
    number(c, "memory", "allocator_frag_bytes")
}

/// The line that stores the `n`th key; every kind has some.
fn store_line(n: usize, token: &str) -> String {
    let rest = format!("TOKEN {token} EX 5000 TAGS 2 team{} own{n}", n / 50);
    match n % 8 {
        5 => format!("APIKEY.SETSCOPE k{n} id{n} u{} resource{n} read ALLOW {rest}", n % 90),
        6 => {
            let records: Vec<String> =
                (0..n % 5).map(|nth| record(&format!("{n}-{nth}"), "u")).collect();
            format!("APIKEY.SETLIST k{n} u{} [{}] {rest}", n % 90, records.join(","))
        }
        7 => format!("APIKEY.USAGE.INCR k{n} BY {n}"),
        _ => {
            let record = record(&format!("id{n}"), &format!("u{}", n % 90));
            let name = "x".repeat(n % 80);
            let record = record.replace('}', &format!(r#","name":"{name}"}}"#));
            format!("APIKEY.SETVAL k{n} {record} DIGEST {DIGEST} {rest}")
        }
    }
}

#[track_caller]
pub fn all_right(c: &mut Client, lines: &[String]) {
    for (line, reply) in lines.iter().zip(c.pipeline(lines)) {
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
}

#[test]
fn what_is_moved_answers_as_before_and_leaves_few_holes() {
    let server = eager(Server::builder()).start();
    let (mut c, mut rng) = (server.client(), Rng::new(7));
    if !is_possible(&mut c) {
        return;
    }
    populate(&server);
    c.must("SELECT 0");
    const KEYS: usize = 12_000;
    let token = c.must("APIKEY.TOKEN k").text();
    let mut lines: Vec<String> = (0..KEYS).map(|n| store_line(n, &token)).collect();
    let more = |n| format!("APIKEY.SETSCOPE k{n} id{n} u{} more read DENY TOKEN {token}", n % 90);
    lines.extend((5..KEYS).step_by(16).map(more));
    all_right(&mut c, &lines);
    let batch = c.leases(&format!("{LONG} COUNT {}", KEYS / 16)).remove(0);
    let gone: Vec<String> =
        (0..KEYS).filter(|_| rng.below(4) > 0).map(|n| format!("DEL k{n}")).collect();
    all_right(&mut c, &gone);
    let before = answers(&server);
    assert!(before.len() > KEYS);
    let members = c.must("APIKEY.TAGCARD apikey:user:u1");
    assert!(members.int() > 10);

    let holes_before = holes(&mut c);
    c.must("CONFIG SET activedefrag yes");
    // Without the module's part nearly all are.
    eventually("few holes are left", || holes(&mut c) < holes_before / 3 * 2);
    println!("holes: {holes_before} bytes before, {} after", holes(&mut c));
    assert!(number(&mut c, "stats", "active_defrag_key_hits") > 0);
    assert_exact(&server);
    assert_eq!(answers(&server), before);

    // What is found through the index, and changes it.
    c.must("SELECT 0");
    assert_eq!(c.run("APIKEY.TAGCARD apikey:user:u1"), members);
    assert_eq!(int(c.invalidate("apikey:user:u1")), members);
    let kept = batch.lines.iter().filter(|line| c.counts(&line.key).1 > 0).count();
    assert!(kept > 10);
    assert_eq!(c.ack(&batch), kept as i64);
    reclaimed(&mut c);
    assert_exact(&server);
    let first = store_line(0, &c.must("APIKEY.TOKEN k").text());
    assert_eq!(c.run(&first), ok());
    c.must("FLUSHALL");
    assert_exact(&server);
    assert!(!server.log().contains("panicked"));
}

#[test]
fn the_index_is_moved() {
    let server = eager(Server::builder()).start();
    let (mut c, mut rng) = (server.client(), Rng::new(7));
    if !is_possible(&mut c) {
        return;
    }
    // What the index has of a counter with something pending is its name. The server has it as well.
    let key = |n: usize| format!("{}{n:05}", "x".repeat(1000));
    const KEYS: usize = 8000;
    let lines: Vec<String> = (0..KEYS).map(|n| format!("APIKEY.USAGE.INCR {}", key(n))).collect();
    all_right(&mut c, &lines);
    let (gone, kept): (Vec<usize>, Vec<usize>) = (0..KEYS).partition(|_| rng.below(4) > 0);
    let lines: Vec<String> = gone.iter().map(|&n| format!("DEL {}", key(n))).collect();
    all_right(&mut c, &lines);
    let holes_before = holes(&mut c);
    c.must("CONFIG SET activedefrag yes");
    eventually("few holes are left", || holes(&mut c) < holes_before / 4);
    assert_exact(&server);
    let left: Vec<(String, i64)> = kept.into_iter().map(|n| (key(n), 1)).collect();
    assert_eq!(c.flush_usage(), left);
    assert_exact(&server);
}
