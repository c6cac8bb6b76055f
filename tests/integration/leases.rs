//! LEASE, ACK and NACK: counts that are handed over and come again until they are settled, and what
//! becomes of them with their keys, the server and the primary.

use crate::harness::server::{kind, Kind, Stop};
use crate::harness::streams::{find, Tap};
use crate::harness::*;
use apikey_engine::usage::id::Id;
use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

fn started() -> (Server, Client) {
    let server = Server::start();
    let c = server.client();
    (server, c)
}

fn counts<const N: usize>(all: [(&str, i64); N]) -> Vec<(String, i64)> {
    all.map(|(key, count)| (key.to_string(), count)).into()
}

pub const OVERDUE: &str = "a lease of usage counts is overdue";

/// Waits until a batch is past its deadline, by the server's own account.
#[track_caller]
fn wait_until_overdue(c: &mut Client) {
    eventually("a lease is overdue", || {
        c.must("APIKEY.HEALTH").get("reasons").items().contains(&bulk(OVERDUE))
    });
}

/// What HEALTH says of one of its figures.
#[track_caller]
pub fn figure(c: &mut Client, name: &str) -> i64 {
    c.must("APIKEY.HEALTH").get(name).int()
}

/// A batch of these counters alone, leased for a millisecond and overdue.
#[track_caller]
fn overdue<const N: usize>(c: &mut Client, all: [(&str, i64); N]) -> Batch {
    for (key, count) in all {
        c.count(key, count);
    }
    let mut batches = c.leases("1");
    assert_eq!(batches.len(), 1, "{batches:?}");
    wait_until_overdue(c);
    batches.remove(0)
}

/// Waits on the server's clock, without a look at a key.
#[track_caller]
pub fn wait_for_another_second(c: &mut Client) {
    let second = |c: &mut Client| c.must("TIME").items()[0].text();
    let now = second(c);
    eventually("another second", || second(c) != now);
}

// What the commands say.

#[test]
fn a_line_says_when_its_counter_was_used_last() {
    let (server, mut c) = started();
    c.count("k", 5);
    let last_use = |c: &mut Client| c.must("APIKEY.USAGE.GET k").get("last_used_at").int();
    let first = last_use(&mut c);
    let told = |reply: &Reply| reply.items()[0].items()[1].items()[0].items()[3].int();
    assert_eq!(told(&c.must("APIKEY.USAGE.LEASE 1")), first);
    // Used again since, and given out again.
    wait_until_overdue(&mut c);
    c.count("k", 2);
    let second = last_use(&mut c);
    assert!(second > first);
    assert_eq!(told(&c.must("APIKEY.USAGE.LEASE 100000")), second);
    assert_eq!(told(&c.must("APIKEY.USAGE.LEASE 100000")), second, "a new batch");
    assert_exact(&server);
}

#[test]
fn a_lease_gives_out_what_is_pending_and_keeps_it_until_it_is_acknowledged() {
    let (server, mut c) = started();
    assert_eq!(c.must("APIKEY.USAGE.LEASE 1000"), array([]));
    c.count("a", 5);
    c.count("b", 7);
    c.count("idle", 1);
    c.must("APIKEY.USAGE.TAKE idle");
    let batch = c.lease();
    assert_eq!(batch.counts(), counts([("a", 5), ("b", 7)]));
    let ids: BTreeSet<String> = batch.ids().into_iter().collect();
    assert_eq!(ids.len(), 3);
    let is_hex =
        |id: &String| id.len() == 32 && id.bytes().all(|b| b"0123456789abcdef".contains(&b));
    assert!(ids.iter().all(is_hex), "{ids:?}");
    assert_eq!(c.counts("a"), (0, 5, 5));
    assert_eq!(c.counts("b"), (0, 7, 7));
    assert_exact(&server);

    assert_eq!(c.ack(&batch), 2);
    assert_eq!(c.counts("a"), (0, 0, 5));
    assert_eq!(c.must("APIKEY.USAGE.LEASE 1000"), array([]));
    assert_exact(&server);
}

#[test]
fn a_batch_that_is_leased_is_nobody_elses() {
    let (server, mut c) = started();
    c.count("a", 5);
    let batch = c.lease();
    assert_eq!(c.leases("1000"), []);
    assert_eq!(c.flush_usage(), []);
    assert_eq!(c.must("APIKEY.USAGE.TAKE a"), array([int(0)]));
    // What is counted meanwhile is as if there was no lease.
    assert_eq!(c.count("a", 1), 1);
    assert_eq!(c.must("APIKEY.USAGE.TAKE a"), array([int(1)]));
    c.count("a", 2);
    assert_eq!(c.flush_usage(), counts([("a", 2)]));
    c.count("a", 3);
    let next = c.lease();
    assert_eq!(next.counts(), counts([("a", 3)]));
    assert_eq!(c.counts("a"), (0, 8, 11));
    assert_exact(&server);
    assert_eq!((c.ack(&next), c.ack(&batch)), (1, 1));
    assert_eq!(c.counts("a"), (0, 0, 11));
    assert_exact(&server);
}

#[test]
fn an_overdue_batch_comes_again_whole_before_new_counts() {
    let (server, mut c) = started();
    let batch = overdue(&mut c, [("a", 5), ("b", 7)]);
    c.count("a", 100);
    c.count("c", 1);
    // COUNT does not cut it, and what is new waits.
    assert_eq!(c.leases(&format!("{LONG} COUNT 1")), from_ref(&batch));
    assert_eq!(c.counts("a"), (100, 5, 105));
    let next = c.lease();
    assert_eq!(next.counts(), counts([("a", 100), ("c", 1)]));
    assert!(batch.ids().iter().all(|id| !next.ids().contains(id)));
    assert_eq!(c.leases("1000"), []);
    assert_eq!(figure(&mut c, "redeliveries"), 1);
    assert_exact(&server);
}

#[test]
fn overdue_batches_come_as_long_as_the_lines_are_fewer_than_count() {
    let (server, mut c) = started();
    let mut all = Vec::new();
    for n in 0..4 {
        // So that each has a deadline of its own.
        c.count(&format!("a{n}"), 1);
        c.count(&format!("b{n}"), 1);
        all.extend(c.leases(&format!("{}", LONG + n)));
    }
    let line = all.iter().map(|batch| batch.id.as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!(c.must(&format!("APIKEY.USAGE.NACK {line}")), int(8));
    assert_eq!(c.leases(&format!("{LONG} COUNT 3")), all[..2]);
    assert_eq!(c.leases(&format!("{LONG} COUNT 2")), all[2..3]);
    assert_eq!(c.leases(&format!("{LONG} COUNT 1000000")), all[3..]);
    assert_eq!(c.leases(&LONG.to_string()), []);
    assert_exact(&server);
}

#[test]
fn a_new_batch_has_at_most_count_lines() {
    let (server, mut c) = started();
    let lines: Vec<String> = (0..1203).map(|n| format!("APIKEY.USAGE.INCR u{n}")).collect();
    c.pipeline(&lines);
    let mut keys = BTreeSet::new();
    for (args, lines) in [("count 3", 3), ("", 1000), ("COUNT 1000000", 200)] {
        let line = format!("{LONG} {args}");
        let batch = c.leases(line.trim()).remove(0);
        assert_eq!(batch.lines.len(), lines);
        keys.extend(batch.lines.into_iter().map(|line| line.key));
    }
    assert_eq!(keys.len(), 1203);
    assert_exact(&server);
}

#[test]
fn ack_settles_a_batch_once() {
    let (server, mut c) = started();
    let unknown = "0123456789abcdef0123456789ABCDEF";
    assert_eq!(c.must(&format!("APIKEY.USAGE.ACK {unknown}")), int(0));
    c.count("a", 5);
    let batch = c.lease();
    assert_eq!((c.ack(&batch), c.ack(&batch)), (1, 0));
    assert_eq!(c.nack(&batch), 0, "what is settled does not come back");
    assert_eq!(c.leases("1000"), []);

    // Overdue, but nobody has it yet: then who had it may still settle it.
    let batch = overdue(&mut c, [("a", 5)]);
    assert_eq!(c.ack(&batch), 1);
    assert_eq!(c.leases("1000"), []);
    // And so may who has it since.
    let batch = overdue(&mut c, [("a", 5)]);
    assert_eq!(c.lease(), batch);
    assert_eq!((c.ack(&batch), c.ack(&batch)), (1, 0));

    let batches: Vec<Batch> = ["x", "y", "z"]
        .map(|key| {
            c.count(key, 1);
            c.lease()
        })
        .into();
    let [x, y, z] = &batches[..] else { panic!("{batches:?}") };
    let line = format!("APIKEY.USAGE.ACK {} {unknown} {} {}", x.id, x.id.to_uppercase(), z.id);
    assert_eq!(c.must(&line), int(2));
    assert_eq!(c.counts("y"), (0, 1, 1));
    assert_eq!(c.ack(y), 1);
    assert_eq!(c.counts("a"), (0, 0, 15));
    assert_exact(&server);
}

#[test]
fn nack_gives_a_batch_back_whole_to_whoever_leases_next() {
    let (server, mut c) = started();
    c.count("a", 5);
    c.count("b", 7);
    let batch = c.lease();
    let before = server.digest();
    assert_eq!(c.nack(&batch), 2);
    assert_ne!(server.digest(), before, "the digest tells of it");
    assert_eq!(c.nack(&batch), 0, "it was given back");
    // The counts are no pending ones: the lines may have been written.
    assert_eq!(c.counts("a"), (0, 5, 5));
    assert_eq!(c.flush_usage(), []);
    c.count("a", 1);
    assert_eq!(c.lease(), batch);
    assert_eq!(c.lease().counts(), counts([("a", 1)]));
    assert_eq!(c.nack(&batch), 2, "and it can be given back again");
    assert_eq!(c.ack(&batch), 2, "or settled after all");
    assert_eq!((c.nack(&batch), c.ack(&batch)), (0, 0));
    assert_eq!(c.leases("1000"), []);
    // One that is overdue goes behind one that was given back.
    let late = overdue(&mut c, [("c", 1)]);
    c.count("d", 1);
    let line = format!("APIKEY.USAGE.NACK {}", late.id);
    let back = c.leases(&format!("{LONG} COUNT 1"));
    assert_eq!(back, from_ref(&late));
    let next = c.lease();
    assert_eq!(c.must(&line), int(1));
    assert_eq!(c.nack(&next), 1);
    let both = c.leases(&LONG.to_string());
    assert_eq!(both.len(), 2);
    assert!(both.contains(&late) && both.contains(&next));
    assert_exact(&server);
}

#[test]
fn the_names_with_one_dot_are_the_same_commands() {
    let (server, mut c) = started();
    c.count("a", 5);
    let batch = batches(&c.must(&format!("APIKEY.USAGELEASE {LONG} count 5"))).remove(0);
    assert_eq!(c.must(&format!("apikey.usagenack {}", batch.id)), int(1));
    assert_eq!(c.lease(), batch);
    assert_eq!(c.must(&format!("APIKEY.USAGEACK {}", batch.id)), int(1));
    assert_exact(&server);
}

#[test]
fn a_counter_in_8_batches_waits_and_hinders_no_other() {
    let (server, mut c) = started();
    let mut all = Vec::new();
    for _ in 0..8 {
        c.count("busy", 1);
        all.push(c.lease());
    }
    c.count("busy", 5);
    assert_eq!(c.leases("1000"), []);
    c.count("other", 3);
    assert_eq!(c.lease().counts(), counts([("other", 3)]));
    assert_eq!(c.counts("busy"), (5, 8, 13));
    assert_eq!(figure(&mut c, "pending_counters"), 1);
    assert_exact(&server);
    // It can be taken, also by a FLUSH.
    assert_eq!(c.flush_usage(), counts([("busy", 5)]));
    c.count("busy", 2);
    assert_eq!(c.must("APIKEY.USAGE.TAKE busy"), array([int(2)]));
    c.count("busy", 3);
    assert_eq!(c.ack(&all[3]), 1);
    assert_eq!(c.lease().counts(), counts([("busy", 3)]));
    c.must("DEBUG RELOAD");
    assert_eq!(c.counts("busy"), (0, 10, 18));
    c.must("DEL busy");
    assert_eq!(c.ack(&all[0]), 0);
    assert_exact(&server);
}

#[test]
fn leases_work_alike_in_a_transaction_and_in_a_script() {
    let (server, mut c) = started();
    c.count("a", 5);
    c.must("MULTI");
    c.must("APIKEY.USAGE.LEASE 1000");
    c.must("APIKEY.USAGE.INCR a");
    c.must("APIKEY.USAGE.LEASE 1000");
    let replies = c.must("EXEC");
    let (first, next) = (batches(&replies.items()[0]), batches(&replies.items()[2]));
    assert_eq!(first[0].counts(), counts([("a", 5)]));
    assert_eq!(next[0].counts(), counts([("a", 1)]));
    let script =
        "return redis.call('APIKEY.USAGE.NACK', ARGV[1]) + redis.call('APIKEY.USAGE.ACK', ARGV[2])";
    assert_eq!(c.cmd(["EVAL", script, "0", &first[0].id, &next[0].id]), int(2));
    let again = c.cmd(["EVAL", "return redis.call('APIKEY.USAGE.LEASE', 1000)", "0"]);
    assert_eq!(batches(&again), first);
    assert_exact(&server);
}

#[test]
fn what_a_lease_costs_is_what_is_pending() {
    let (server, mut c) = started();
    // Who opens a counter whose time is over removes it: so these tell whether one was opened.
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    let lines: Vec<String> = (0..1000)
        .flat_map(|n| {
            let key = format!("idle{n}");
            [
                format!("APIKEY.USAGE.INCR {key}"),
                format!("APIKEY.USAGE.TAKE {key}"),
                format!("PEXPIRE {key} 1"),
            ]
        })
        .collect();
    c.pipeline(&lines);
    for n in 0..3 {
        c.count(&format!("busy{n}"), 1);
    }
    let open = c.lease();
    c.count("later", 1);
    let batch = c.lease();
    assert_eq!((open.lines.len(), batch.lines.len()), (3, 1));
    assert_eq!((c.nack(&batch), c.lease(), c.ack(&batch)), (1, batch, 1));
    c.count("later", 1);
    assert_eq!(c.flush_usage(), counts([("later", 1)]));
    let left = c.must("DBSIZE").int();
    assert!((1000..=1004).contains(&left), "{left}");
    assert_eq!(figure(&mut c, "usage_counters"), left);
    assert_exact(&server);
}

// What becomes of leased counts with their keys. After each: counted = settled + deleted + leased + pending.

#[test]
fn a_renamed_counter_takes_its_leases_along() {
    let (server, mut c) = started();
    c.count("a", 5);
    c.count("b", 7);
    let batch = c.lease();
    c.count("a", 1);
    c.must("RENAME a new");
    assert_eq!(c.counts("new"), (1, 5, 6));
    assert_eq!(c.counts("a"), (0, 0, 0));
    assert_exact(&server);
    // The same lines, under the name that the counter has now; also where it is the only one.
    assert_eq!(c.nack(&batch), 2);
    assert_eq!(c.lease().counts(), counts([("b", 7), ("new", 5)]));
    c.must("DEL b");
    assert_eq!(c.nack(&batch), 1);
    c.must("RENAME new last");
    let again = c.lease();
    assert_eq!((again.id.clone(), again.counts()), (batch.id.clone(), counts([("last", 5)])));
    assert!(batch.lines.iter().any(|line| line.id == again.lines[0].id));
    c.must("RENAME last more");
    assert_eq!(c.leases("1000").len(), 1, "the pending one");
    assert_eq!(c.leases("1000"), [], "the deadline came along");
    // Over another counter, whose counts are gone.
    c.count("other", 3);
    let gone = c.lease();
    c.must("RENAME more other");
    assert_eq!((c.ack(&gone), c.ack(&batch)), (0, 1));
    assert_eq!(c.counts("other"), (0, 1, 6));
    assert_exact(&server);
}

#[test]
fn a_copy_of_a_counter_has_counted_nothing() {
    let (server, mut c) = started();
    c.count("a", 5);
    let batch = c.lease();
    c.count("a", 1);
    assert_eq!(c.must("COPY a twin"), int(1));
    assert_eq!(c.must("COPY a twin DB 1"), int(1));
    assert_eq!(c.counts("twin"), (0, 0, 0));
    assert_eq!(c.must("APIKEY.USAGE.GET twin").get("first_used_at"), &nil());
    assert_eq!(c.must("TYPE twin"), simple("apikeyuse"));
    assert_exact(&server);
    assert_eq!(c.lease().counts(), counts([("a", 1)]));
    assert_eq!(c.ack(&batch), 1);
    assert_eq!(c.count("twin", 2), 2);
    assert_eq!(c.counts("a"), (0, 1, 6));
    // Over a counter, whose counts are gone.
    assert_eq!(c.must("COPY twin a REPLACE"), int(1));
    assert_eq!(c.counts("a"), (0, 0, 0));
    assert_exact(&server);
}

#[test]
fn the_counts_of_a_removed_counter_are_gone_and_its_batch_with_its_last_line() {
    let (server, mut c) = started();
    for (n, how) in
        ["DEL a", "UNLINK a", "SET a x", "PEXPIREAT a 1", "RENAME other a", "COPY other a REPLACE"]
            .into_iter()
            .enumerate()
    {
        c.count("a", 5);
        c.count("b", 7);
        let batch = c.lease();
        c.must("SET other x");
        c.must(how);
        assert_exact(&server);
        assert_eq!(c.nack(&batch), 1, "{how}");
        let again = c.lease();
        assert_eq!((&again.id, again.counts()), (&batch.id, counts([("b", 7)])), "{how}");
        assert_eq!(c.ack(&batch), 1, "{how}");
        assert_eq!(c.counts("b"), (0, 0, 7 * (n as i64 + 1)));
        c.must("DEL a");
        c.count("a", 5);
        let alone = c.lease();
        c.must("SET other x");
        c.must(how);
        assert_eq!((c.nack(&alone), c.ack(&alone)), (0, 0), "{how}");
        assert_eq!(figure(&mut c, "open_batches"), 0, "{how}");
        assert_eq!(figure(&mut c, "usage_leased"), 0, "{how}");
        c.must("DEL a other");
        assert_exact(&server);
    }
}

#[test]
fn what_expired_is_settled_by_nobody() {
    let (server, mut c) = started();
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    c.count("a", 5);
    c.count("b", 7);
    let batch = c.lease();
    c.must("PEXPIRE a 1");
    eventually("it has expired", || !c.exists("a"));
    assert_eq!(c.nack(&batch), 1);
    assert_eq!(c.lease().counts(), counts([("b", 7)]));
    c.must("PEXPIRE b 1");
    wait_for_another_second(&mut c);
    assert_eq!(c.ack(&batch), 0);
    assert_eq!(figure(&mut c, "open_batches"), 0);
    // And given out to nobody: the next one comes.
    c.count("d", 1);
    let gone = c.leases("1");
    c.must("PEXPIRE d 1");
    wait_for_another_second(&mut c);
    c.count("e", 1);
    let mut stream = Tap::replication(server.port);
    stream.clear();
    let next = c.lease();
    assert_eq!(next.counts(), counts([("e", 1)]));
    c.must("PUBLISH end of-it-all");
    stream.until(b"of-it-all");
    assert_eq!(find(stream.seen(), gone[0].id.as_bytes()), None, "{}", stream.text());
    assert_exact(&server);
}

#[test]
fn an_expired_counter_that_may_not_be_deleted_yet_is_left_out() {
    let (server, mut c) = started();
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    for key in ["a", "alive", "b", "alive2", "c"] {
        c.count(key, 5);
    }
    let batch = c.lease();
    for key in ["p", "alive3", "q"] {
        c.count(key, 1);
    }
    for key in ["a", "b", "c", "p", "q"] {
        c.must(&format!("PEXPIRE {key} 1"));
    }
    wait_for_another_second(&mut c);
    for line in [
        "MULTI",
        "CLIENT PAUSE 60000 WRITE",
        &format!("APIKEY.USAGE.NACK {}", batch.id),
        &format!("APIKEY.USAGE.LEASE {LONG}"),
        &format!("APIKEY.USAGE.LEASE {LONG}"),
        &format!("APIKEY.USAGE.ACK {}", batch.id),
    ] {
        c.must(line);
    }
    let replies = c.must("EXEC");
    c.must("CLIENT UNPAUSE");
    let replies = replies.items();
    // Redis 6.2 shows to who may write what it may not delete.
    let is_62 = kind() == Kind::Redis62;
    assert_eq!(replies[1], int(5));
    let again = batches(&replies[2]).remove(0);
    let next = batches(&replies[3]).remove(0);
    if is_62 {
        assert_eq!((again.lines.len(), next.lines.len(), &replies[4]), (5, 3, &int(5)));
    } else {
        assert_eq!(again.counts(), counts([("alive", 5), ("alive2", 5)]));
        assert_eq!(next.counts(), counts([("alive3", 1)]));
        assert_eq!(replies[4], int(2));
    }
    assert_exact(&server);
    for key in ["a", "b", "c", "p", "q"] {
        assert!(!c.exists(key));
        assert_exact(&server);
    }
    assert_eq!((c.ack(&batch), c.ack(&next)), (0, 1));
    assert_eq!(figure(&mut c, "usage_leased"), 0);
    assert_eq!(figure(&mut c, "open_batches"), 0);
    assert_exact(&server);
}

#[track_caller]
fn restore(c: &mut Client, key: &str, dump: &Reply, replace: bool) {
    let mut args = vec![b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes()];
    if replace {
        args.push(b"REPLACE");
    }
    assert_eq!(c.cmd(args), ok());
}

/// Waits until nothing is leased for longer, and takes all of it again.
#[track_caller]
fn again(c: &mut Client) -> Vec<Batch> {
    wait_until_overdue(c);
    let mut all = Vec::new();
    eventually("it comes again", || {
        all = c.leases(&LONG.to_string());
        !all.is_empty()
    });
    all
}

#[test]
fn a_dumped_counter_comes_back_with_its_lines_in_batches_of_their_own() {
    let (server, mut c) = started();
    c.count("a", 5);
    let batch = c.lease();
    c.count("a", 1);
    c.nack(&batch);
    let dump = c.must("DUMP a");
    c.must("DEL a");
    assert_eq!(c.ack(&batch), 0);
    restore(&mut c, "b", &dump, false);
    assert_eq!(c.counts("b"), (1, 5, 6));
    assert_exact(&server);
    // What was given back is due at once, in whichever batch.
    let alone = c.lease();
    assert_ne!(alone.id, batch.id);
    assert_eq!(
        (alone.lines[0].id.as_str(), alone.counts()),
        (&*batch.lines[0].id, counts([("b", 5)]))
    );
    assert_eq!((c.nack(&batch), c.ack(&batch)), (0, 0));
    // Beside its original: the line is one, and who writes it under its id counts it once.
    restore(&mut c, "c", &dump, false);
    assert_eq!(c.leases("1000").len(), 1, "the pending ones: the later deadline holds");
    c.nack(&alone);
    let twice = c.lease();
    assert_eq!((&twice.id, twice.counts()), (&alone.id, counts([("b", 5), ("c", 5)])));
    assert_eq!(twice.lines[0].id, twice.lines[1].id);
    assert_eq!(figure(&mut c, "usage_leased"), 12);
    // What stays where it is stays in its batch.
    for line in ["RENAME b b2", "MOVE c 1"] {
        c.must(line);
    }
    assert_exact(&server);
    assert_eq!(c.ack(&alone), 1);
    c.select(1);
    assert_eq!(c.ack(&alone), 1);
    assert_exact(&server);
}

#[test]
fn a_counter_that_is_restored_over_itself_leaves_its_batch() {
    let (server, mut c) = started();
    for key in ["a", "b"] {
        c.count(key, 5);
    }
    let batch = c.leases("30").remove(0);
    let dump = c.must("DUMP a");
    for _ in 0..2 {
        restore(&mut c, "a", &dump, true);
        assert_eq!(c.counts("a"), (0, 5, 5));
        assert_eq!(figure(&mut c, "open_batches"), 2);
        assert_eq!(figure(&mut c, "usage_leased"), 10);
        assert_exact(&server);
    }
    assert_eq!(c.ack(&batch), 1, "b");
    let alone = again(&mut c);
    assert_eq!((alone.len(), alone[0].counts()), (1, counts([("a", 5)])));
    assert!(batch.lines.contains(&alone[0].lines[0]));
    // Over itself once more: it is in the batch that it would be put into.
    let dump = c.must("DUMP a");
    restore(&mut c, "a", &dump, true);
    assert_eq!(c.leases("1000"), [], "its deadline has come along");
    assert_eq!(figure(&mut c, "open_batches"), 1);
    assert_exact(&server);
    assert_eq!((c.ack(&alone[0]), c.counts("a")), (1, (0, 0, 5)));
    assert_exact(&server);
}

#[test]
fn a_line_that_has_migrated_is_out_of_reach_of_its_old_batch() {
    let (server, mut c) = started();
    let other = Server::start();
    let replica = Server::builder().with_aof(false).start();
    replica.replicate(&other);
    let mut there = other.client();
    // A consumer's database.
    let mut written: BTreeMap<String, (String, i64)> = BTreeMap::new();
    let mut write = |batch: &Batch| {
        for line in &batch.lines {
            let row = (line.key.clone(), line.count);
            assert_eq!(written.entry(line.id.clone()).or_insert_with(|| row.clone()), &row);
        }
        written.values().map(|(_, count)| count).sum::<i64>()
    };
    for key in ["a", "b", "stays"] {
        c.count(key, 5);
    }
    let batch = c.leases("100").remove(0);
    c.count("a", 1);
    c.must(&format!("MIGRATE 127.0.0.1 {}  0 5000 KEYS a b", other.port));
    assert_eq!(there.counts("a"), (1, 5, 6));
    assert_exact(&server);
    assert_agree(&other, &replica);
    // The batch reaches what has stayed, and nothing there.
    assert_eq!((there.nack(&batch), there.ack(&batch)), (0, 0));
    assert_eq!((write(&batch), c.ack(&batch)), (15, 1));
    assert_eq!(figure(&mut there, "open_batches"), 2);
    assert_agree(&other, &replica);
    let moved = again(&mut there);
    assert_agree(&other, &replica);
    let fresh = there.lease();
    assert_eq!(fresh.counts(), counts([("a", 1)]));
    let mut lines: Vec<Line> = moved.iter().flat_map(|batch| batch.lines.clone()).collect();
    lines.sort_by(|a, b| a.id.cmp(&b.id));
    let expected: Vec<Line> = batch.lines.iter().filter(|l| l.key != "stays").cloned().collect();
    assert_eq!((moved.len(), lines), (2, expected));
    assert_agree(&other, &replica);
    replica.promote();
    let mut theirs = replica.client();
    for batch in &moved {
        assert_eq!(write(batch), 15, "no line of them is new");
        assert_eq!((theirs.nack(batch), theirs.lease(), theirs.ack(batch)), (1, batch.clone(), 1));
        assert_eq!(there.ack(batch), 1);
    }
    assert_eq!((write(&fresh), there.ack(&fresh), theirs.ack(&fresh)), (16, 1, 1));
    for server in [&server, &other, &replica] {
        assert_eq!(figure(&mut server.client(), "usage_leased"), 0);
        assert_exact(server);
    }
}

#[test]
fn a_line_that_comes_back_stays_in_the_batch_that_it_has_for_itself() {
    let (server, mut c) = started();
    let other = Server::start();
    let mut there = other.client();
    c.count("a", 5);
    let batch = c.lease();
    let migrate = |from: &mut Client, to: &Server| {
        from.must(&format!("MIGRATE 127.0.0.1 {} a 0 5000", to.port));
    };
    c.nack(&batch);
    migrate(&mut c, &other);
    let alone = there.lease();
    migrate(&mut there, &server);
    assert_eq!(c.leases("1000"), [], "it is leased still");
    assert_eq!((c.nack(&batch), c.ack(&batch), c.nack(&alone)), (0, 0, 1));
    // The terms that it has now have come along, and the batch is the same everywhere.
    migrate(&mut c, &other);
    assert_eq!(there.lease(), alone);
    migrate(&mut there, &server);
    assert_eq!((c.ack(&alone), c.counts("a")), (1, (0, 0, 5)));
    for server in [&server, &other] {
        assert_eq!(figure(&mut server.client(), "open_batches"), 0);
        assert_exact(server);
    }
}

#[test]
fn a_load_leaves_batches_as_they_are() {
    // By the commands of an AOF, and by what a rewrite makes of them.
    let mut server = Server::builder().with_aof(false).start();
    let mut c = server.client();
    for key in ["a", "b"] {
        c.count(key, 5);
    }
    let batch = c.lease();
    let dump = c.must("DUMP b");
    restore(&mut c, "c", &dump, false);
    c.must("DEL b");
    for rewrites in [false, true, true] {
        if rewrites {
            server.rewrite_aof();
        }
        let digest = server.digest();
        server.restart(Stop::Kill);
        assert_eq!(server.digest(), digest);
        assert_exact(&server);
        let mut c = server.client();
        assert_eq!(figure(&mut c, "open_batches"), 2);
        c.must("DEBUG RELOAD");
        assert_eq!(server.digest(), digest);
        assert_eq!(c.nack(&batch), 1);
        assert_eq!(c.lease().counts(), counts([("a", 5)]));
    }
    let mut c = server.client();
    assert_eq!((c.ack(&batch), figure(&mut c, "usage_leased")), (1, 5));
}

#[test]
fn leases_belong_to_the_database_that_their_counter_is_in() {
    let (server, mut c) = started();
    c.count("a", 5);
    c.count("b", 7);
    let batch = c.lease();
    c.must("MOVE a 1");
    assert_exact(&server);
    c.select(1);
    assert_eq!(c.counts("a"), (0, 5, 5));
    assert_eq!(c.leases("1000"), [], "the deadline came along");
    assert_eq!(c.nack(&batch), 1);
    assert_eq!(c.lease().counts(), counts([("a", 5)]));
    c.select(0);
    assert_eq!(c.leases("1000"), [], "it was given back elsewhere");
    assert_eq!(c.nack(&batch), 1);
    // What is given back goes with its database.
    c.must("SWAPDB 0 2");
    assert_exact(&server);
    assert_eq!((c.leases("1000"), c.ack(&batch)), (vec![], 0));
    c.select(2);
    assert_eq!(c.lease().counts(), counts([("b", 7)]));
    assert_eq!(c.ack(&batch), 1);
    c.select(1);
    assert_eq!(c.ack(&batch), 1);
    assert_exact(&server);
}

#[test]
fn a_flush_of_the_database_ends_its_batches() {
    for how in ["FLUSHDB SYNC", "FLUSHDB ASYNC", "FLUSHALL SYNC", "FLUSHALL ASYNC"] {
        let (server, mut c) = started();
        c.count("a", 5);
        let batch = c.lease();
        c.must(how);
        assert_eq!((c.nack(&batch), c.ack(&batch)), (0, 0), "{how}");
        assert_eq!(figure(&mut c, "open_batches"), 0);
        assert_eq!(figure(&mut c, "usage_leased"), 0);
        c.count("a", 5);
        assert_ne!(c.lease().id, batch.id);
        assert_exact(&server);
    }
}

#[test]
fn what_was_evicted_is_gone_and_all_else_stays() {
    let (server, mut c) = started();
    let lines: Vec<String> = (0..3000).map(|n| format!("APIKEY.USAGE.INCR u{n}")).collect();
    c.pipeline(&lines);
    let batch = c.leases(&format!("{LONG} COUNT 1000000")).remove(0);
    assert_eq!(batch.lines.len(), 3000);
    let used = c.info("memory", "used_memory").expect("used_memory");
    let used: usize = used.parse().expect("a number");
    c.must("CONFIG SET maxmemory-policy allkeys-random");
    c.must(&format!("CONFIG SET maxmemory {}", used - 100_000));
    eventually("some are evicted", || {
        c.must("SET filler x");
        let evicted = c.info("stats", "evicted_keys").expect("evicted_keys");
        evicted.parse::<i64>().expect("a number") > 100
    });
    c.must("CONFIG SET maxmemory 0");
    let reasons = c.must("APIKEY.HEALTH").get("reasons").clone();
    let told = bulk("maxmemory-policy allkeys-random can evict usage counters");
    assert!(reasons.items().contains(&told), "{reasons:?}");
    let left = figure(&mut c, "usage_counters");
    assert!(left < 3000);
    assert_eq!(figure(&mut c, "usage_leased"), left);
    assert_exact(&server);
    assert_eq!(c.nack(&batch), left);
    assert_eq!(c.lease().lines.len() as i64, left);
    assert_eq!(c.ack(&batch), left);
    assert_exact(&server);
}

#[test]
fn check_finds_a_lease_that_the_index_lacks() {
    let (server, mut c) = started();
    if !has_debug_command(&mut c) {
        return;
    }
    c.count("a", 5);
    let batch = c.lease();
    assert_exact(&server);
    c.must("APIKEY.DEBUG FORGET a");
    let found = differences(&server);
    let told = [
        format!("db 0: batch {}: no counter has a line of it", batch.id),
        "db 0: key a: the index does not have it".to_string(),
    ];
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], told[0]);
    assert!(found[1].starts_with("db 0: key a: the index does not have it"), "{found:?}");
}

// Restarts and replicas.

/// Three open batches in two databases: one given back, one with a line of a counter that has more
/// pending, one that was partly settled by DEL.
#[track_caller]
fn lease_some(server: &Server) -> Vec<Batch> {
    let mut c = server.client();
    let mut all = Vec::new();
    for key in ["a", "b", "gone"] {
        c.count(key, 5);
    }
    all.push(c.lease());
    c.must("DEL gone");
    c.count("a", 7);
    all.push(c.lease());
    c.count("settled", 9);
    let settled = c.lease();
    c.ack(&settled);
    c.count("a", 1);
    c.nack(&all[1]);
    c.select(1);
    c.count("elsewhere", 2);
    all.push(c.lease());
    all
}

/// What [`lease_some`] leased is there as it was: the one that was given back comes first, the others when
/// they are given back, the same lines under the same ids, and all can be settled.
#[track_caller]
fn assert_leased(server: &Server, all: &[Batch]) {
    assert_exact(server);
    let mut c = server.client();
    let [first, second, third] = all else { panic!("{all:?}") };
    assert_eq!(c.counts("a"), (1, 12, 13));
    assert_eq!(c.counts("settled"), (0, 0, 9));
    assert_eq!(c.lease(), *second);
    let left: Vec<Line> = first.lines.iter().filter(|line| line.key != "gone").cloned().collect();
    assert_eq!(c.nack(first), 2);
    assert_eq!(c.lease(), Batch { id: first.id.clone(), lines: left });
    let new = c.lease();
    assert_eq!(new.counts(), counts([("a", 1)]));
    let old: BTreeSet<String> = all.iter().flat_map(Batch::ids).collect();
    assert!(new.ids().iter().all(|id| !old.contains(id)), "{new:?} of {old:?}");
    assert_eq!((c.ack(first), c.ack(second), c.ack(&new)), (2, 1, 1));
    c.select(1);
    assert_eq!(c.leases("1000"), []);
    assert_eq!(c.nack(third), 1);
    assert_eq!(c.lease(), *third);
    assert_eq!(c.ack(third), 1);
    assert_eq!(figure(&mut c, "usage_leased"), 0);
    assert_exact(server);
}

#[test]
fn leases_survive_a_restart_from_an_rdb() {
    let mut server = Server::start();
    let all = lease_some(&server);
    let before = server.digest();
    server.restart(Stop::Save);
    assert_eq!(server.digest(), before);
    assert_leased(&server, &all);
}

#[test]
fn leases_survive_a_restart_from_an_aof_however_often_it_was_rewritten() {
    for preamble in [true, false] {
        for rewritten in [false, true] {
            let mut server = Server::builder().with_aof(preamble).start();
            let all = lease_some(&server);
            if rewritten {
                server.rewrite_aof();
            }
            let before = server.digest();
            server.restart(Stop::Kill);
            assert_eq!(server.digest(), before, "preamble {preamble}, rewritten {rewritten}");
            assert_nothing_was_refused(&server);
            assert_leased(&server, &all);
            let before = server.digest();
            server.restart(Stop::Kill);
            assert_eq!(server.digest(), before);
        }
    }
}

#[test]
fn deadlines_and_ages_go_on_over_a_restart() {
    let mut server = Server::builder().with_aof(false).start();
    let mut c = server.client();
    c.count("a", 5);
    let batch = c.leases("1").remove(0);
    wait_until_overdue(&mut c);
    assert_eq!(c.leases("1"), from_ref(&batch));
    wait_until_overdue(&mut c);
    let age = figure(&mut c, "oldest_lease_ms");
    assert!(age >= 2, "{age}");
    for how in [Stop::Kill, Stop::Save] {
        server.restart(how);
        let mut c = server.client();
        wait_until_overdue(&mut c);
        assert!(figure(&mut c, "oldest_lease_ms") >= age);
    }
    server.rewrite_aof();
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert!(figure(&mut c, "oldest_lease_ms") >= age);
    assert_eq!(c.lease(), batch);
    assert_eq!(c.leases("1"), []);
    assert_exact(&server);
}

#[test]
fn ids_never_repeat_over_restarts_and_promotions() {
    let mut server = Server::start();
    let replica = Server::start();
    replica.replicate(&server);
    let mut seen = BTreeSet::new();
    let mut runs = BTreeSet::new();
    let mut draw = |server: &Server| {
        let mut c = server.client();
        for _ in 0..3 {
            c.count("a", 1);
            c.count("b", 1);
            let batch = c.lease();
            for id in batch.ids() {
                runs.insert(id[..20].to_string());
                assert!(seen.insert(id), "{batch:?} after {seen:?}");
            }
            assert_eq!(c.ack(&batch), 2);
        }
        runs.len()
    };
    assert_eq!(draw(&server), 1);
    server.restart(Stop::Save);
    assert_eq!(draw(&server), 2);
    server.restart(Stop::NoSave);
    assert_eq!(draw(&server), 3);
    replica.in_sync_with(&server);
    replica.promote();
    assert_eq!(draw(&replica), 4);
    // It comes back without a restart, and does not go on where it was.
    server.replicate(&replica);
    server.promote();
    assert_eq!(draw(&server), 5);
    server.client().must("DEBUG RELOAD");
    draw(&server);
    assert_exact(&server);
    assert_exact(&replica);
}

/// The replica holds what its primary holds.
#[track_caller]
fn assert_agree(primary: &Server, replica: &Server) {
    replica.in_sync_with(primary);
    assert_eq!(replica.digest(), primary.digest());
    assert_nothing_was_refused(replica);
    let figures = ["usage_pending", "usage_leased", "pending_counters", "open_batches"];
    let of = |server: &Server| figures.map(|name| figure(&mut server.client(), name));
    assert_eq!(of(replica), of(primary));
    assert_exact(replica);
}

#[test]
fn a_promoted_replica_gives_out_what_its_primary_had_leased() {
    for from_start in [true, false] {
        let primary = Server::start();
        let replica = Server::start();
        if from_start {
            replica.replicate(&primary);
        }
        let all = lease_some(&primary);
        if !from_start {
            replica.replicate(&primary);
        }
        assert_agree(&primary, &replica);
        replica.promote();
        assert_leased(&replica, &all);
        primary.replicate(&replica);
        assert_agree(&replica, &primary);
    }
}

#[test]
fn a_replica_follows_every_delivery() {
    let primary = Server::start();
    let replica = Server::builder().with_aof(false).start();
    replica.replicate(&primary);
    let mut c = primary.client();
    let mut ours = replica.client();
    let batch = overdue(&mut c, [("a", 5), ("b", 7)]);
    assert_agree(&primary, &replica);
    wait_until_overdue(&mut ours);
    let refused = error("READONLY You can't write against a read only replica.");
    for command in ["LEASE 1000".into(), format!("ACK {}", batch.id), format!("NACK {}", batch.id)]
    {
        assert_eq!(ours.run(&format!("APIKEY.USAGE.{command}")), refused);
    }
    assert_eq!(c.lease(), batch);
    assert_agree(&primary, &replica);
    assert_eq!(ours.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));
    c.must("RENAME a new");
    c.must("COPY new twin");
    c.must("MOVE b 1");
    assert_agree(&primary, &replica);
    c.nack(&batch);
    assert_agree(&primary, &replica);
    c.ack(&batch);
    assert_agree(&primary, &replica);
    c.count("new", 2);
    let next = c.lease();
    let dump = c.must("DUMP new");
    c.cmd([b"RESTORE".as_slice(), b"restored", b"0", dump.bytes()]);
    assert_agree(&primary, &replica);
    c.must("DEL new");
    assert_agree(&primary, &replica);
    // The first use of a copy happens at one time, and its own TTL stays.
    c.must("PEXPIRE restored 4000000");
    c.must("COPY restored copied");
    let mut stream = Tap::replication(primary.port);
    stream.clear();
    c.count("copied", 1);
    c.must("PUBLISH end of-it-all");
    stream.until(b"of-it-all");
    assert!(find(stream.seen(), b"apikey.apply").is_some(), "{}", stream.text());
    assert_agree(&primary, &replica);
    for c in [&mut c, &mut ours] {
        assert!(c.must("PTTL copied").int() > 3_000_000);
    }
    let line = Id::parse(next.lines[0].id.as_bytes()).expect("an id");
    let alone = line.batch_of_line().to_hex();
    assert_eq!((c.ack(&next), c.must(&format!("APIKEY.USAGE.ACK {alone}"))), (0, int(1)));
    assert_agree(&primary, &replica);
}

/// An AOF says RESTORE as a client did, behind what an RDB has loaded: what is leased of the counter stays apart, with the
/// terms that it had.
#[test]
fn what_was_restored_is_restored_again_from_an_aof() {
    for (preamble, is_given_back) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut server = Server::builder().with_aof(preamble).start();
        let mut c = server.client();
        c.count("a", 3);
        let batch = c.lease();
        let dump = c.must("DUMP a");
        if is_given_back {
            c.nack(&batch);
        }
        server.rewrite_aof();
        restore(&mut c, "b", &dump, false);
        restore(&mut c, "b", &dump, true);
        c.count("c", 1);
        let dump = c.must("DUMP c");
        restore(&mut c, "d", &dump, false);
        let before = (server.digest(), figure(&mut c, "open_batches"));
        assert_eq!(before.1, 2);
        server.restart(Stop::Kill);
        assert_nothing_was_refused(&server);
        let mut c = server.client();
        assert_eq!((server.digest(), figure(&mut c, "open_batches")), before);
        assert_exact(&server);
        // The batch that was given back comes again, as it was, before others.
        let again = c.leases(&LONG.to_string());
        assert_eq!(again.iter().any(|given| given.id == batch.id), is_given_back);
        let others = if is_given_back { 0 } else { 2 };
        assert_eq!((c.ack(&batch), figure(&mut c, "usage_leased")), (1, 3 + others));
        assert_exact(&server);
    }
}

#[test]
fn a_lease_of_many_slots_arrives_at_a_replica_in_a_cluster() {
    let cluster = Cluster::start(1, 1);
    let (primary, replica) = (&cluster.primaries[0], &cluster.replicas[0][0]);
    let mut c = primary.client();
    for n in 0..20 {
        c.count(&format!("u{n}"), n + 1);
    }
    let batch = c.lease();
    assert_eq!(batch.lines.len(), 20);
    let assert_same = |primary: &Server, replica: &Server| {
        replica.in_sync_with(primary);
        assert_eq!(replica.digest(), primary.digest());
        assert_nothing_was_refused(replica);
        for server in [primary, replica] {
            assert_eq!(server.client().must("APIKEY.CHECK").get("found"), &array([]));
        }
    };
    assert_same(primary, replica);
    c.nack(&batch);
    assert_eq!(c.lease(), batch);
    assert_same(primary, replica);
    assert_eq!(c.ack(&batch), 20);
    assert_same(primary, replica);
}

// What is told.

#[test]
fn health_and_info_tell_of_leases() {
    let (server, mut c) = started();
    let told = |c: &mut Client| {
        let names =
            ["usage_pending", "usage_leased", "pending_counters", "open_batches", "redeliveries"];
        let health = c.must("APIKEY.HEALTH");
        let figures = names.map(|name| health.get(name).int());
        let info =
            names.map(|name| c.info("apikey_usage", &format!("apikey_{name}")).expect("a line"));
        assert_eq!(info, figures.map(|figure| figure.to_string()));
        assert_eq!(health.get("tags"), &int(0), "what is pending or leased is no tag");
        figures
    };
    assert_eq!(told(&mut c), [0, 0, 0, 0, 0]);
    assert_eq!(figure(&mut c, "oldest_lease_ms"), 0);
    c.count("a", 5);
    c.count("b", 7);
    assert_eq!(told(&mut c), [12, 0, 2, 0, 0]);
    let batch = c.lease();
    c.count("a", 1);
    c.select(1);
    c.count("c", 2);
    c.lease();
    c.select(0);
    assert_eq!(told(&mut c), [1, 14, 1, 2, 0]);
    eventually("it grows older", || figure(&mut c, "oldest_lease_ms") >= 2);
    let info = c.info("apikey_usage", "apikey_oldest_lease_ms").expect("a line");
    assert!(info.parse::<i64>().expect("a number") >= 2);
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));

    c.nack(&batch);
    let health = c.must("APIKEY.HEALTH");
    assert_eq!(health.get("status"), &bulk("degraded"));
    assert_eq!(health.get("reasons"), &array([bulk(OVERDUE)]));
    assert_eq!(c.lease(), batch);
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));
    assert_eq!(told(&mut c), [1, 14, 1, 2, 1]);
    c.ack(&batch);
    assert_eq!(told(&mut c), [1, 2, 1, 1, 1]);
    c.must("FLUSHALL");
    assert_eq!(told(&mut c), [0, 0, 0, 0, 1]);
    assert_exact(&server);
}

#[test]
fn a_counter_of_which_nothing_is_leased_is_saved_as_before_there_were_leases() {
    let (_server, mut c) = started();
    c.count("a", 5);
    let mut dumped = |version: &[u8]| {
        let dump = c.must("DUMP a");
        let batch = c.lease();
        let leased = c.must("DUMP a");
        assert!(leased.bytes().windows(2).any(|two| two == b"u\x02"));
        c.ack(&batch);
        c.count("a", 5);
        dump.bytes().windows(2).any(|two| two == version)
    };
    assert!(dumped(b"u\x01"));
    assert!(dumped(b"u\x01"), "and again when all is settled");
}
