//! LEASE and ACK of more lines than a batch may have: several batches, and slices in which the server is there
//! for others, whatever they do meanwhile.

use crate::harness::server::{kind, Stop};
use crate::harness::streams::Tap;
use crate::harness::*;
use crate::leases::wait_for_another_second;

/// Counts one use of so many counters, `u0` and on.
#[track_caller]
fn count(c: &mut Client, counters: usize) {
    let lines: Vec<String> = (0..counters).map(|n| format!("APIKEY.USAGE.INCR u{n}")).collect();
    assert!(c.pipeline(&lines).iter().all(|reply| *reply == int(1)));
}

#[track_caller]
fn figure(server: &Server, name: &str) -> i64 {
    server.client().must("APIKEY.HEALTH").get(name).int()
}

/// ACK of these batches.
fn ack(batches: &[Batch]) -> String {
    let ids: Vec<&str> = batches.iter().map(|batch| batch.id.as_str()).collect();
    format!("APIKEY.USAGE.ACK {}", ids.join(" "))
}

#[track_caller]
fn assert_agree(primary: &Server, replica: &Server) {
    replica.in_sync_with(primary);
    assert_eq!(replica.digest(), primary.digest());
    assert_nothing_was_refused(replica);
    assert_exact(primary);
    assert_exact(replica);
}

#[test]
fn a_batch_has_at_most_10_000_lines_and_a_lease_of_more_makes_several() {
    let mut primary = Server::builder().with_aof(false).start();
    let replica = Server::builder().replica_of(&primary).start();
    let mut c = primary.client();
    count(&mut c, 20_500);
    let mut all = c.leases(&format!("{LONG} COUNT 10001"));
    all.extend(c.leases(&format!("{LONG} COUNT 1000000")));
    let lines: Vec<usize> = all.iter().map(|batch| batch.lines.len()).collect();
    assert_eq!(lines, [10_000, 1, 10_000, 499]);
    let mut ids: Vec<String> = all.iter().flat_map(Batch::ids).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20_504);
    assert_eq!(c.leases("1000 COUNT 1000000"), []);
    assert_agree(&primary, &replica);
    let before = primary.digest();
    primary.restart(Stop::Kill);
    assert_eq!(primary.digest(), before);
    // One that is given out again comes whole, and none behind it once there are as many as were asked for.
    let mut c = primary.client();
    c.must(&ack(&all).replace("ACK", "NACK"));
    let counts = |batches: &[Batch]| -> Vec<usize> {
        batches.iter().map(|batch| batch.lines.len()).collect()
    };
    let mut again = Vec::new();
    while again.iter().sum::<usize>() < 20_500 {
        let some = counts(&c.leases(&format!("{LONG} COUNT 1")));
        assert_eq!(some.len(), 1, "{some:?}");
        again.extend(some);
    }
    again.sort_unstable();
    assert_eq!(again, [1, 499, 10_000, 10_000]);
    assert_exact(&primary);
}

/// A server, and three batches of 6,000, 5,000 and 1,000 lines.
fn leased(builder: Builder) -> (Server, Vec<Batch>) {
    let server = builder.start();
    let mut c = server.client();
    count(&mut c, 12_000);
    let all = [6000, 5000, 1000].map(|n| c.leases(&format!("{LONG} COUNT {n}")).remove(0));
    (server, all.into())
}

/// Sends ACK, and waits until some of the lines are settled; the rest are when the hold ends.
#[track_caller]
fn begin(server: &Server, line: &str) -> Client {
    let mut acks = server.client();
    acks.send(args(line)).expect("sent");
    eventually("some are settled", || figure(server, "usage_leased") < 12_000);
    assert!(figure(server, "usage_leased") > 0);
    acks
}

#[track_caller]
fn reply(mut acks: Client) -> Reply {
    acks.read().expect("a reply")
}

#[test]
fn an_ack_of_more_is_settled_in_slices_each_replicated_by_itself() {
    let (mut primary, all) = leased(Server::builder().with_aof(false));
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    let mut stream = Tap::replication(primary.port);
    let is_held = hold(&mut c);
    let acks = begin(&primary, &ack(&all));
    if is_held {
        // What the client is not yet told of has happened, here and there.
        assert_agree(&primary, &replica);
        assert_eq!(figure(&replica, "usage_leased"), figure(&primary, "usage_leased"));
        release(&mut c);
    }
    assert_eq!(reply(acks), int(12_000));
    assert_eq!(figure(&primary, "open_batches"), 0);
    assert_agree(&primary, &replica);
    c.must("PUBLISH end of-it-all");
    let seen = stream.until(b"of-it-all").to_vec();
    let times = |word: &[u8]| seen.windows(word.len()).filter(|part| *part == word).count();
    assert!(times(b"apikey.usage.settled") > 1);
    assert_eq!(times(b"APIKEY.USAGE.ACK"), 0);
    // 6.2 makes a transaction of whatever a module replicates.
    assert!(times(b"MULTI") == 0 || kind() == Kind::Redis62);
    let before = primary.digest();
    primary.restart(Stop::Kill);
    assert_eq!(primary.digest(), before);
    assert_nothing_was_refused(&primary);
    assert_exact(&primary);
}

#[test]
fn as_many_lines_as_one_batch_may_have_are_settled_at_once_wherever_it_is_asked() {
    let (server, all) = leased(Server::builder());
    let mut c = server.client();
    let why = "ERR in MULTI or in a script batches must have at most 10000 lines in all: these have 11000";
    for asked in ["MULTI", "EVAL return(redis.pcall(unpack(ARGV))) 0"] {
        let line = ack(&all[..2]);
        let replied = if asked == "MULTI" {
            c.must(asked);
            c.must(&line);
            c.must("EXEC").items()[0].clone()
        } else {
            c.run(&format!("{asked} {line}"))
        };
        assert_eq!(replied, error(why), "{asked}");
        assert_eq!(figure(&server, "usage_leased"), 12_000);
    }
    c.must("MULTI");
    c.must(&ack(&all[1..]));
    assert_eq!(c.must("EXEC"), array([int(6000)]));
    assert_exact(&server);
}

#[test]
fn what_others_do_between_the_slices_is_met_as_it_is() {
    let (server, all) = leased(Server::builder());
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    let acks = begin(&server, &ack(&all));
    // What is counted meanwhile has its item elsewhere, and stays; and so do lines that have moved away.
    let left = |c: &mut Client, batch: &Batch| -> Vec<String> {
        let mut keys: Vec<String> = batch.lines.iter().map(|line| line.key.clone()).collect();
        keys.retain(|key| c.counts(key).1 == 1);
        keys
    };
    let mut first = left(&mut c, &all[0]);
    assert!(first.len() > 10 && first.len() < 6000, "{}", first.len());
    let settled = 6000 - first.len() as i64;
    first.sort();
    let counted = first.split_off(5);
    for key in &counted {
        c.count(key, 1);
    }
    c.must(&format!("DEL {}", first[0]));
    c.must(&format!("RENAME {} renamed", first[1]));
    c.must(&format!("MOVE {} 1", first[2]));
    c.must(&format!("SET {} x", first[3]));
    assert_eq!(c.nack(&all[0]), counted.len() as i64 + 2);
    assert_eq!(c.leases(&format!("{LONG} COUNT 1"))[0].id, all[0].id);
    assert_eq!(c.ack(&all[1]), 5000);
    c.must("SWAPDB 0 3");
    c.fill("k", &["t"]);
    release(&mut c);
    // Counted, renamed, and the fifth.
    assert_eq!(reply(acks), int(settled + counted.len() as i64 + 2 + 1000));
    assert_eq!((figure(&server, "usage_leased"), figure(&server, "open_batches")), (1, 1));
    c.select(3);
    assert_eq!(c.counts(&counted[0]), (1, 0, 2));
    assert_eq!(c.counts("renamed"), (0, 0, 1));
    c.select(1);
    assert_eq!(c.ack(&all[0]), 1, "what was moved is settled where it is");
    assert_exact(&server);
}

#[test]
fn a_client_that_hangs_up_and_a_flush_end_it() {
    let (server, all) = leased(Server::builder());
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    drop(begin(&server, &ack(&all)));
    eventually("it is gone", || !c.must("CLIENT LIST").text().contains("cmd=apikey.usage.ack"));
    release(&mut c);
    // The next of them begins when that one has ended.
    hold(&mut c);
    let before = figure(&server, "usage_leased");
    let mut acks = server.client();
    acks.send(args(&ack(&all))).expect("sent");
    eventually("some more are settled", || figure(&server, "usage_leased") < before);
    let settled = before - figure(&server, "usage_leased");
    c.must("FLUSHDB");
    c.count("u1", 1);
    c.lease();
    release(&mut c);
    assert_eq!(reply(acks), int(settled));
    assert_eq!(c.counts("u1"), (0, 1, 1));
    assert_exact(&server);
}

#[test]
fn it_waits_while_clients_are_paused_and_ends_where_the_node_is_no_primary() {
    let (primary, all) = leased(Server::builder());
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    if !hold(&mut c) {
        return;
    }
    let acks = begin(&primary, &ack(&all));
    let before = figure(&primary, "usage_leased");
    c.must("CLIENT PAUSE 60000 WRITE");
    release(&mut c);
    // Longer than the job waits between two looks.
    wait_for_another_second(&mut c);
    wait_for_another_second(&mut c);
    assert_eq!(figure(&primary, "usage_leased"), before);
    hold(&mut c);
    c.must("CLIENT UNPAUSE");
    replica.in_sync_with(&primary);
    replica.promote();
    primary.replicate(&replica);
    assert!(reply(acks).is_error(), "the server lets go of who waits");
    release(&mut c);
    // What was settled is, and the rest comes again.
    let left = figure(&replica, "usage_leased");
    assert!(left > 0 && left <= before, "{left} of {before}");
    let mut c = replica.client();
    assert_eq!(c.must(&ack(&all)), int(left));
    assert_agree(&replica, &primary);
}
