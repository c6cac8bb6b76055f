//! Batches in a cluster: whichever primary is told that one is settled, or given back, the node that has it does it;
//! and what consumers write is what was counted, though slots move meanwhile.

use crate::cluster::{assert_cluster_is_exact, message, owner, signal, timed};
use crate::harness::*;
use apikey_engine::usage::id::Id;
use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Counts 3 uses of so many keys, each where its slot is.
#[track_caller]
fn count(cluster: &Cluster, keys: usize) {
    let mut clients: Vec<Client> = cluster.nodes().map(Server::client).collect();
    for key in 0..keys {
        let call = format!("APIKEY.USAGE.INCR u{key} BY 3");
        let counted =
            clients.iter_mut().map(|c| c.run(&call)).filter(|reply| !reply.is_error()).count();
        assert_eq!(counted, 1, "u{key}");
    }
}

/// Counts, and gives out a batch at each primary.
#[track_caller]
fn leased(cluster: &Cluster, keys: usize) -> Vec<Batch> {
    count(cluster, keys);
    let batches: Vec<Batch> = cluster.clients().iter_mut().map(Client::lease).collect();
    assert_eq!(batches.iter().map(|batch| batch.lines.len()).sum::<usize>(), keys);
    batches
}

fn lines(batch: &Batch) -> i64 {
    batch.lines.len() as i64
}

/// A call with batches.
fn told(command: &str, batches: &[Batch]) -> String {
    let ids: Vec<&str> = batches.iter().map(|batch| batch.id.as_str()).collect();
    format!("APIKEY.USAGE.{command} {}", ids.join(" "))
}

#[track_caller]
fn figure(cluster: &Cluster, name: &str) -> i64 {
    let of = |c: &mut Client| c.must("APIKEY.HEALTH").get(name).int();
    cluster.clients().iter_mut().map(of).sum()
}

#[track_caller]
pub fn assert_replicas_agree(cluster: &Cluster) {
    for (primary, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
        for replica in replicas {
            replica.in_sync_with(primary);
            assert_eq!(replica.digest(), primary.digest());
            assert_nothing_was_refused(replica);
        }
    }
    assert_cluster_is_exact(cluster);
}

#[test]
fn the_primary_that_has_a_batch_settles_it_whichever_is_told() {
    let cluster = Cluster::start(3, 1);
    let mut clients = cluster.clients();
    for asked in 0..3 {
        let batches = leased(&cluster, 60);
        for (has, batch) in batches.iter().enumerate() {
            let c = &mut clients[asked];
            assert_eq!((c.nack(batch), c.nack(batch)), (lines(batch), 0), "{asked} of {has}");
            assert_replicas_agree(&cluster);
            assert_eq!(clients[has].lease(), *batch);
            let c = &mut clients[asked];
            assert_eq!((c.ack(batch), c.ack(batch)), (lines(batch), 0), "{asked} of {has}");
            assert_replicas_agree(&cluster);
        }
        assert_eq!((figure(&cluster, "usage_leased"), figure(&cluster, "open_batches")), (0, 0));
        // All in one call, among them one that nobody has.
        let mut all = leased(&cluster, 60);
        let c = &mut clients[asked];
        all.extend(batches);
        assert_eq!(c.must(&told("NACK", &all)), int(60));
        assert_eq!(c.must(&told("ACK", &all)), int(60));
        assert_eq!(c.must(&told("ACK", &all)), int(0));
        assert_replicas_agree(&cluster);
        for node in cluster.replicas.iter().flatten() {
            let refused = node.client().run(&told("ACK", &all));
            assert!(refused.text().starts_with("READONLY"), "{refused:?}");
        }
    }
    assert_eq!(figure(&cluster, "settled_uses"), 3 * 2 * 60 * 3);
}

#[test]
fn a_batch_of_a_primary_that_has_failed_over_is_settled_at_the_new_one() {
    let cluster = Cluster::start(3, 1);
    let batches = leased(&cluster, 60);
    let new = &cluster.replicas[1][0];
    new.in_sync_with(&cluster.primaries[1]);
    let mut c = new.client();
    eventually("it may take over", || c.run("CLUSTER FAILOVER") == ok());
    let mut asked = cluster.primaries[0].client();
    eventually("it has taken over", || {
        c.info("replication", "role").as_deref() == Some("master")
            && !asked.run("APIKEY.TAGCARD none").is_error()
    });
    // Not all know yet who owns the slots, and the new one may still take the old one for a primary: PARTIAL then, and
    // the rest is told nevertheless.
    let is_told = |c: &mut Client, batch: &Batch| {
        eventually("it is told", || match c.run(&told("ACK", from_ref(batch))) {
            Reply::Error(why) => {
                assert!(why.starts_with("PARTIAL "), "{why}");
                false
            }
            _ => true,
        });
    };
    is_told(&mut asked, &batches[1]);
    let leased = |c: &mut Client| c.must("APIKEY.HEALTH").get("usage_leased").int();
    assert_eq!(leased(&mut c), 0);
    for number in [2, 0] {
        is_told(&mut c, &batches[number]);
        assert_eq!(leased(&mut cluster.primaries[number].client()), 0);
    }
}

#[test]
fn who_can_not_wait_settles_what_the_node_itself_has() {
    let cluster = Cluster::start(2, 0);
    let batches = leased(&cluster, 40);
    let mut c = cluster.primaries[0].client();
    c.must("MULTI");
    c.must(&told("NACK", &batches[..1]));
    c.must(&told("ACK", &batches));
    c.must(&told("NACK", &batches[1..]));
    c.must(&told("ACK", &batches[..1]));
    c.must(&told("ACK", &batches[..1]));
    let waits = |name| {
        error(&format!("ERR apikey.usage.{name} can't run in MULTI or in a script: it waits"))
    };
    let own = int(lines(&batches[0]));
    let expected = array([own.clone(), waits("ack"), waits("nack"), own, waits("ack")]);
    assert_eq!(c.must("EXEC"), expected);
    let script =
        |batch: &Batch| format!("EVAL return(redis.call('APIKEY.USAGE.ACK','{}')) 0", batch.id);
    let refused = c.run(&script(&batches[1]));
    assert!(refused.text().contains("can't run in MULTI or in a script"), "{refused:?}");
    let mut has = cluster.primaries[1].client();
    assert_eq!(has.must("APIKEY.HEALTH").get("usage_leased"), &int(3 * lines(&batches[1])));
    assert_eq!(has.must(&script(&batches[1])), int(lines(&batches[1])));
    assert_eq!(figure(&cluster, "usage_leased"), 0);
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_primary_that_is_frozen_keeps_nobody_from_settling_what_he_was_given_elsewhere() {
    let cluster = Cluster::of(3, 0, |_, builder| {
        builder.setting("cluster-timeout-ms", "300").config("cluster-node-timeout 60000")
    });
    let batches = leased(&cluster, 60);
    let [asked, frozen, other] = &cluster.primaries[..] else { panic!() };
    let mut c = asked.client();
    signal(frozen, libc::SIGSTOP);
    // Its own it settles alone.
    assert_eq!((c.nack(&batches[0]), c.ack(&batches[0])), (lines(&batches[0]), lines(&batches[0])));
    let partial = format!(
        "PARTIAL no answer from 127.0.0.1:{} (within 300 ms): the other primaries have been told; repeat it",
        frozen.port
    );
    for batch in &batches[1..] {
        let (reply, took) = timed(&mut c, &told("ACK", from_ref(batch)));
        assert_eq!(reply, Reply::Error(partial.clone()));
        assert!((300..2000).contains(&took.as_millis()), "{took:?}");
    }
    assert_eq!(other.client().must("APIKEY.HEALTH").get("usage_leased"), &int(0));
    signal(frozen, libc::SIGCONT);
    eventually("it answers", || c.run(&told("ACK", &batches)) == int(0));
    assert_eq!(figure(&cluster, "usage_leased"), 0, "what waited in its socket is done");
    assert_cluster_is_exact(&cluster);
}

/// A cluster, and at its second primary batches of 12,000 lines in all.
fn many(timeout_ms: &str) -> (Cluster, Vec<Batch>) {
    let cluster = Cluster::of(2, 1, |_, builder| builder.setting("cluster-timeout-ms", timeout_ms));
    let mut c = cluster.primaries[1].client();
    // One that is the second's.
    let tag = (0..).find(|n| owner(&mut c, &format!("{{{n}}}"), 2) == 1).expect("a tag");
    let lines: Vec<String> =
        (0..12_000).map(|n| format!("APIKEY.USAGE.INCR {{{tag}}}{n}")).collect();
    assert!(c.pipeline(&lines).iter().all(|reply| *reply == int(1)));
    let batches = c.leases(&format!("{LONG} COUNT 1000000"));
    assert_eq!(batches.len(), 2);
    (cluster, batches)
}

#[test]
fn many_lines_are_settled_in_slices_and_waited_for_as_long_as_that_takes() {
    let (cluster, batches) = many("200");
    let mut c = cluster.primaries[0].client();
    let mut has = cluster.primaries[1].client();
    if has_debug_command(&mut has) {
        // Longer than a node may be silent.
        has.must("APIKEY.DEBUG HOLD yes");
        let call = told("ACK", &batches);
        let words: Vec<&str> = call.split(' ').collect();
        c.send(words).expect("sent");
        eventually("it is at work", || {
            (1..12_000).contains(&has.must("APIKEY.HEALTH").get("usage_leased").int())
        });
        let left = has.must("APIKEY.HEALTH").get("usage_leased").int();
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(has.must("APIKEY.HEALTH").get("usage_leased"), &int(left), "it is held");
        has.must("APIKEY.DEBUG HOLD no");
        assert_eq!(c.read().expect("a reply"), int(12_000));
    } else {
        assert_eq!(c.must(&told("ACK", &batches)), int(12_000));
    }
    assert_eq!(figure(&cluster, "usage_leased"), 0);
    assert_replicas_agree(&cluster);
}

#[test]
fn a_message_that_comes_again_settles_nothing_twice() {
    let (cluster, batches) = many("1000");
    let mut c = cluster.primaries[0].client();
    let mut has = cluster.primaries[1].client();
    if !has_debug_command(&mut c) {
        return;
    }
    let ack = |id: u8, batches: &[Batch]| {
        let ids = batches
            .iter()
            .flat_map(|batch| Id::parse(batch.id.as_bytes()).expect("an id").to_bytes());
        let body = [&[3, 0, batches.len() as u8][..], &ids.collect::<Vec<u8>>()].concat();
        message(1, id, &body)
    };
    let nothing = [&[3, 0, 1][..], &[0; 16]].concat();
    let mut say = |bytes: &[u8]| {
        assert_eq!(c.cmd([b"APIKEY.DEBUG".as_slice(), b"BUS", bytes]), ok());
    };
    // No id; fewer than it says; no such database.
    for body in [
        &nothing[..],
        b"\x03\x00\x00",
        b"\x04\x00\x02aaaaaaaaaaaaaaaa",
        b"\x03\x02\x01aaaaaaaaaaaaaaaa",
    ] {
        say(&message(1, 7, body));
    }
    // One that nobody has asked for is at work.
    say(&message(1, 8, b"\x05"));
    has.must("APIKEY.DEBUG HOLD yes");
    for _ in 0..20 {
        say(&ack(9, &batches));
    }
    let mut figure = |name: &str| has.must("APIKEY.HEALTH").get(name).int();
    eventually("it is at work", || figure("usage_leased") < 12_000);
    for _ in 0..20 {
        say(&ack(9, &batches));
    }
    cluster.primaries[1].client().must("APIKEY.DEBUG HOLD no");
    eventually("it is done", || figure("usage_leased") == 0);
    assert_eq!(figure("settled_uses"), 12_000);
    assert_replicas_agree(&cluster);
}

/// The application's database: lines by their ids, with key and count.
#[derive(Default)]
struct Table(Mutex<BTreeMap<String, (String, i64)>>);

impl Table {
    fn write(&self, batch: &Batch) {
        let mut lines = self.0.lock().expect("the table");
        for line in &batch.lines {
            let row = (line.key.clone(), line.count);
            let known = lines.entry(line.id.clone()).or_insert_with(|| row.clone());
            assert_eq!(*known, row, "a line comes as it was");
        }
    }
}

/// Says a command of one key to the primary that has it, wherever that is by now.
#[track_caller]
fn route(cluster: &Cluster, clients: &mut [Client], at: &mut usize, call: &str) -> Reply {
    let mut asks = false;
    for _ in 0..1000 {
        if std::mem::take(&mut asks) {
            clients[*at].must("ASKING");
        }
        let Reply::Error(why) = clients[*at].run(call) else { return int(1) };
        let words: Vec<&str> = why.split(' ').collect();
        assert!(["MOVED", "ASK"].contains(&words[0]), "{why}");
        let port = words[2].rsplit(':').next().expect("a port");
        let to = cluster.primaries.iter().position(|node| node.port.to_string() == port);
        *at = to.expect("a primary");
        asks = words[0] == "ASK";
    }
    panic!("{call} finds nobody")
}

/// What LEASE gives out; nothing while slots come by a migration as a whole.
#[track_caller]
fn leases(c: &mut Client, args: &str) -> Vec<Batch> {
    match c.run(&format!("APIKEY.USAGE.LEASE {args}")) {
        Reply::Error(why) if why.starts_with("TRYAGAIN") => Vec::new(),
        reply => batches(&reply),
    }
}

#[test]
fn no_count_is_lost_or_doubled_while_slots_move_and_any_primary_is_told() {
    counts_are_whole_while_slots_move(|cluster, _, slot, from, to| {
        cluster.move_slot(slot, from, to);
        true
    });
}

/// Clients count, consumers lease at each primary, some die, and the others tell any primary of what they have written,
/// while `move_slot` moves slots there and back, or says that one has stayed.
#[track_caller]
pub fn counts_are_whole_while_slots_move(
    move_slot: impl Fn(&Cluster, &mut Rng, i64, usize, usize) -> bool + Sync,
) {
    const KEYS: usize = 40;
    let seconds = env_number("APIKEY_CLUSTER_SECONDS", 6);
    let seed = env_number("APIKEY_SEED", 11);
    // However busy the machine is, none is silent for so long.
    let cluster = Cluster::of(3, 0, |_, builder| {
        builder.setting("cluster-timeout-ms", "20000").config("cluster-node-timeout 60000")
    });
    let counted: Vec<AtomicI64> = (0..KEYS).map(|_| AtomicI64::new(0)).collect();
    let table = Table::default();
    let [moved, settled, died, given_back, alone] = std::array::from_fn(|_| AtomicU64::new(0));
    let move_slot = &move_slot;
    let end = Instant::now() + Duration::from_secs(seconds);
    let failed = AtomicBool::new(false);
    let goes_on = || Instant::now() < end && !failed.load(SeqCst);
    let is_alone = |batch: &Batch| {
        let [line] = &batch.lines[..] else { return false };
        let line = Id::parse(line.id.as_bytes()).expect("an id");
        line.batch_of_line().to_hex() == batch.id
    };
    std::thread::scope(|scope| {
        let (cluster, counted, table, goes_on, failed) =
            (&cluster, &counted, &table, &goes_on, &failed);
        let (moved, settled, died, given_back, alone) =
            (&moved, &settled, &died, &given_back, &alone);
        for number in 0..2 {
            scope.spawn(move || {
                let _stop = StopOthers(failed);
                let mut rng = Rng::new(seed.wrapping_mul(1000) + number);
                let mut clients = cluster.clients();
                let mut at = [0; KEYS];
                while goes_on() {
                    let key = rng.below(KEYS);
                    let call = format!("APIKEY.USAGE.INCR c{key}");
                    route(cluster, &mut clients, &mut at[key], &call);
                    counted[key].fetch_add(1, SeqCst);
                }
            });
        }
        for number in 2..5 {
            scope.spawn(move || {
                let _stop = StopOthers(failed);
                let mut rng = Rng::new(seed.wrapping_mul(1000) + number);
                let mut clients = cluster.clients();
                while goes_on() {
                    let at = rng.below(3);
                    let most = 1 + rng.below(20);
                    for batch in leases(&mut clients[at], &format!("60 COUNT {most}")) {
                        alone.fetch_add(is_alone(&batch).into(), SeqCst);
                        if rng.one_in(4) {
                            died.fetch_add(1, SeqCst);
                            continue;
                        }
                        if rng.one_in(6) {
                            given_back.fetch_add(1, SeqCst);
                            clients[rng.below(3)].nack(&batch);
                            continue;
                        }
                        if rng.one_in(3) {
                            std::thread::sleep(Duration::from_millis(rng.below(80) as u64));
                        }
                        table.write(&batch);
                        let lines = clients[rng.below(3)].ack(&batch);
                        settled.fetch_add(lines.unsigned_abs(), SeqCst);
                    }
                    std::thread::sleep(Duration::from_millis(rng.below(8) as u64));
                }
            });
        }
        scope.spawn(move || {
            let _stop = StopOthers(failed);
            let mut rng = Rng::new(seed.wrapping_mul(1000) + 5);
            let mut c = cluster.primaries[0].client();
            let mut owners: BTreeMap<i64, usize> = BTreeMap::new();
            while goes_on() {
                let key = format!("c{}", rng.below(KEYS));
                let slot = c.must(&format!("CLUSTER KEYSLOT {key}")).int();
                let from = owners.get(&slot).copied().unwrap_or_else(|| owner(&mut c, &key, 3));
                let to = (from + 1 + rng.below(2)) % 3;
                if move_slot(cluster, &mut rng, slot, from, to) {
                    owners.insert(slot, to);
                    moved.fetch_add(1, SeqCst);
                }
                std::thread::sleep(Duration::from_millis(rng.below(10) as u64));
            }
        });
    });
    let mut clients = cluster.clients();
    let mut rng = Rng::new(seed);
    eventually("all is handed over", || {
        for at in 0..3 {
            for batch in leases(&mut clients[at], "100") {
                table.write(&batch);
                clients[rng.below(3)].ack(&batch);
            }
        }
        ["usage_pending", "usage_leased"].iter().all(|name| figure(&cluster, name) == 0)
    });
    let mut written: BTreeMap<String, i64> = BTreeMap::new();
    for (key, count) in table.0.into_inner().expect("the table").into_values() {
        *written.entry(key).or_default() += count;
    }
    let counted: BTreeMap<String, i64> = counted
        .iter()
        .enumerate()
        .map(|(key, count)| (format!("c{key}"), count.load(SeqCst)))
        .filter(|(_, count)| *count > 0)
        .collect();
    println!("counts: {}", counted.values().sum::<i64>());
    assert_eq!(written, counted);
    for (name, counter) in [
        ("slots that moved", &moved),
        ("lines that were settled", &settled),
        ("consumers that died", &died),
        ("batches that were given back", &given_back),
        ("lines in batches of their own", &alone),
    ] {
        let count = counter.load(SeqCst);
        println!("{name}: {count}");
        assert!(count >= 5, "hardly anything was tried: {name} {count}");
    }
    assert_cluster_is_exact(&cluster);
}
