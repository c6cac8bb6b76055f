//! A cluster is told as a whole: what is said to any primary holds on all of them, or whoever said it is told that
//! it does not.

use crate::harness::cluster::Seen;
use crate::harness::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::RwLock;
use std::time::{Duration, Instant};

/// Fills as many entries as there are keys here, each where its slot is; all carry the tag `all`.
#[track_caller]
fn fill(cluster: &Cluster, keys: usize) {
    let mut clients: Vec<Client> = cluster.nodes().map(Server::client).collect();
    for number in 0..keys {
        let key = format!("k{number}");
        let json = record(&key, "u");
        let call = format!("APIKEY.SETVAL {key} {json} SECRET {SECRET} TAGS 1 all");
        let stored =
            clients.iter_mut().map(|c| c.run(&call)).filter(|reply| *reply == ok()).count();
        assert_eq!(stored, 1, "{key}");
    }
}

/// How many of the keys are valid, wherever they are.
fn valid(cluster: &Cluster, keys: usize) -> usize {
    let mut clients: Vec<Client> = cluster.nodes().map(Server::client).collect();
    (0..keys)
        .filter(|number| {
            let call = format!("APIKEY.VALIDATE k{number} SECRET {SECRET}");
            clients.iter_mut().any(|c| match c.run(&call) {
                Reply::Error(_) => false,
                reply => code_of(&reply) == "VALID",
            })
        })
        .count()
}

/// On every node index and keyspace say the same.
#[track_caller]
pub fn assert_cluster_is_exact(cluster: &Cluster) {
    for node in cluster.nodes() {
        assert_eq!(node.client().must("APIKEY.CHECK").get("found"), &array([]));
    }
}

#[test]
fn an_invalidation_that_any_primary_is_told_holds_on_all() {
    let cluster = Cluster::start(3, 1);
    for asked in 0..3 {
        fill(&cluster, 100);
        let mut c = cluster.primaries[asked].client();
        for node in cluster.nodes() {
            assert_eq!(node.client().must("APIKEY.TAGCARD all"), int(100));
        }
        assert_eq!(c.must("APIKEY.TAGINVAL all"), int(100));
        assert_eq!(valid(&cluster, 100), 0);
        assert_eq!(c.must("APIKEY.TAGINVAL all"), int(0));
        assert_eq!(c.must("APIKEY.TAGCARD all"), int(0));
        for (primary, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
            replicas[0].in_sync_with(primary);
            assert_eq!(replicas[0].digest(), primary.digest());
            let mut c = replicas[0].client();
            let told = c.run("APIKEY.TAGINVAL all");
            assert!(told.text().starts_with("READONLY"), "{told:?}");
            assert_nothing_was_refused(&replicas[0]);
        }
    }
    assert_cluster_is_exact(&cluster);
}

#[test]
fn who_can_not_wait_asks_each_node_by_itself() {
    let cluster = Cluster::start(3, 0);
    fill(&cluster, 60);
    let mut c = cluster.primaries[0].client();
    c.must("MULTI");
    c.must("APIKEY.TAGINVAL all");
    c.must("APIKEY.TAGCARD all");
    let replies = c.must("EXEC");
    let of = |name: &str| {
        error(&format!("ERR apikey.{name} can't run in MULTI or in a script: it waits"))
    };
    assert_eq!(replies, array([of("taginval"), of("tagcard")]));
    let script = |name: &str| format!("EVAL return(redis.call('APIKEY.{name}','all')) 0");
    let told = c.run(&script("TAGINVAL"));
    assert!(told.text().contains("can't run in MULTI or in a script"), "{told:?}");
    assert_eq!(valid(&cluster, 60), 60, "nothing was done");

    c.must("MULTI");
    c.must("APIKEY.TAGINVALNODE all");
    let first = c.must("EXEC").items()[0].int();
    let second = cluster.primaries[1].client().must(&script("TAGINVALNODE")).int();
    let third = cluster.primaries[2].client().must("APIKEY.TAGINVALNODE all").int();
    assert!([first, second, third].iter().all(|count| *count > 5), "{first} {second} {third}");
    assert_eq!((first + second + third, valid(&cluster, 60)), (60, 0));
    assert_cluster_is_exact(&cluster);
}

/// What a call says, and how long that took.
#[track_caller]
pub fn timed(c: &mut Client, call: &str) -> (Reply, Duration) {
    let began = Instant::now();
    (c.run(call), began.elapsed())
}

/// Sends a signal to a server.
pub fn signal(server: &Server, signal: i32) {
    let pid = i32::try_from(server.pid()).expect("a process id");
    // SAFETY: a call without memory; the process is the server's, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[test]
fn a_primary_that_is_frozen_makes_it_partial_and_has_it_done_as_it_wakes() {
    let cluster = Cluster::of(3, 0, |_, builder| {
        builder.setting("cluster-timeout-ms", "300").config("cluster-node-timeout 60000")
    });
    fill(&cluster, 60);
    let [asked, frozen, other] = &cluster.primaries[..] else { panic!() };
    let mut c = asked.client();
    signal(frozen, libc::SIGSTOP);
    let (told, took) = timed(&mut c, "APIKEY.TAGINVAL all");
    let expected = format!(
        "PARTIAL no answer from 127.0.0.1:{} (within 300 ms): the other primaries have been told; repeat it",
        frozen.port
    );
    assert_eq!(told, Reply::Error(expected));
    assert!((300..2000).contains(&took.as_millis()), "{took:?}");
    for node in [asked, other] {
        assert_eq!(node.client().must("APIKEY.TAGINVALNODE all"), int(0));
    }
    let (told, _) = timed(&mut c, "APIKEY.TAGCARD all");
    assert!(told.text().starts_with("PARTIAL "), "{told:?}");
    signal(frozen, libc::SIGCONT);
    // What waited in its socket is done before anybody is answered.
    eventually("it has done what it was told", || valid(&cluster, 60) == 0);
    eventually("it answers", || c.run("APIKEY.TAGINVAL all") == int(0));
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_primary_that_is_paused_is_waited_for() {
    let cluster = Cluster::of(2, 0, |_, builder| builder.setting("cluster-timeout-ms", "1000"));
    fill(&cluster, 60);
    let mut c = cluster.primaries[0].client();
    let mut paused = cluster.primaries[1].client();
    paused.must("CLIENT PAUSE 400 WRITE");
    let (told, took) = timed(&mut c, "APIKEY.TAGINVAL all");
    assert_eq!(told, int(60));
    assert!(took >= Duration::from_millis(200), "{took:?}");
    paused.must("CLIENT PAUSE 30000 WRITE");
    let (told, took) = timed(&mut c, "APIKEY.TAGINVAL all");
    assert!(told.text().starts_with("PARTIAL no answer from 127.0.0.1:"), "{told:?}");
    assert!((1000..3000).contains(&took.as_millis()), "{took:?}");
    paused.must("CLIENT UNPAUSE");
    assert_eq!(c.must("APIKEY.TAGINVAL all"), int(0));
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_primary_that_has_failed_makes_it_partial_at_once() {
    let mut cluster = Cluster::of(3, 0, |_, builder| {
        builder.setting("cluster-timeout-ms", "20000").config("cluster-require-full-coverage no")
    });
    fill(&cluster, 60);
    let mut c = cluster.primaries[0].client();
    let port = cluster.primaries[2].port;
    cluster.primaries[2].stop(server::Stop::Kill);
    eventually("the others agree", || {
        c.must("CLUSTER NODES")
            .text()
            .lines()
            .any(|line| line.contains("fail") && !line.contains("fail?"))
    });
    let (told, took) = timed(&mut c, "APIKEY.TAGINVAL all");
    let expected = format!(
        "PARTIAL no answer from 127.0.0.1:{port} (it has failed, or its address is not known): the other primaries have \
         been told; repeat it"
    );
    assert_eq!(told, Reply::Error(expected));
    assert!(took < Duration::from_secs(10), "{took:?}");
    cluster.primaries.pop();
    eventually("the others have done it", || valid(&cluster, 60) == 0);
}

#[test]
fn a_node_without_the_module_is_not_taken_for_one_that_has_done_it() {
    let cluster = Cluster::of(3, 0, |number, builder| match number {
        2 => builder.without_module(),
        _ => builder.setting("cluster-timeout-ms", "200"),
    });
    let mut c = cluster.primaries[0].client();
    for call in ["APIKEY.TAGINVAL all", "APIKEY.TAGCARD all"] {
        let told = c.run(call);
        let port = cluster.primaries[2].port;
        assert!(
            told.text().starts_with(&format!("PARTIAL no answer from 127.0.0.1:{port} ")),
            "{told:?}"
        );
    }
}

/// With the module of the release before at one node, or another's.
#[test]
fn a_node_of_another_version_does_its_part_or_is_named() {
    let cluster = Cluster::of(3, 0, |number, builder| match number {
        // An earlier one may not know all settings.
        2 => Server::builder()
            .module(server::other_module())
            .config("cluster-enabled yes")
            .config("cluster-node-timeout 2000")
            .config("databases 1"),
        _ => builder.setting("cluster-timeout-ms", "1000"),
    });
    let [mut ours, mut theirs] = [0, 2].map(|number| cluster.primaries[number].client());
    let is_told = theirs.run("APIKEY.TAGINVALNODE none") == int(0);
    fill(&cluster, 90);
    let cached = valid(&cluster, 90);
    assert_eq!(cached, 90);
    for call in ["APIKEY.TAGCARD all", "APIKEY.TAGINVAL all"] {
        let told = ours.run(call);
        let named = format!("PARTIAL no answer from 127.0.0.1:{} ", cluster.primaries[2].port);
        assert!(
            if is_told { told == int(90) } else { told.text().starts_with(&named) },
            "{told:?}"
        );
    }
    let left = valid(&cluster, 90);
    assert!(if is_told { left == 0 } else { (20..40).contains(&left) }, "{left}");
    // What it says is read, or is none of ours.
    assert_eq!(theirs.must("APIKEY.TAGINVAL all"), int(left as i64));
    assert_eq!(valid(&cluster, 90), 0);
    for node in &cluster.primaries[..2] {
        assert!(!node.log().contains("is not read"), "{}", node.log());
    }
    assert_cluster_is_exact(&cluster);
}

/// A message as one node sends it to another: magic, version, id, and what it says.
pub fn message(version: u8, id: u8, body: &[u8]) -> Vec<u8> {
    [b"\xa9apikey\n", &[version][..], &[id; 16], body].concat()
}

#[test]
fn what_comes_over_the_bus_does_no_more_than_a_client_could() {
    let cluster = Cluster::start(2, 0);
    let mut c = cluster.primaries[0].client();
    if !has_debug_command(&mut c) {
        return;
    }
    fill(&cluster, 40);
    let mut say = |bytes: &[u8]| {
        assert_eq!(c.cmd([b"APIKEY.DEBUG".as_slice(), b"BUS", bytes]), ok());
    };
    let long = [&b"\x00\x00\x01\xfb\x01\x02"[..], &[b't'; 513]].concat();
    for body in [
        // No tags; an empty one; a long one; a list, a tag and an id that are longer than what is there.
        &b"\x00\x00\x00"[..],
        b"\x00\x00\x01\x00",
        &long,
        b"\x00\x00\xfd\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x00\x00\x01\xfc\xff\xff\xff\x7fall",
        b"\x00\x00\x01\x03al",
        b"\x00\x00\x01\x03all and more",
        // No such kind; no such database.
        b"\x07\x00",
        b"\x00\x02\x01\x03all",
        b"",
    ] {
        say(&message(1, 7, body));
    }
    say(&message(2, 7, b"\x00\x00\x01\x03all"));
    say(&message(1, 0, b"\x00\x00\x01\x03all"));
    say(b"");
    say(b"another module's");
    // Answers that nobody has asked for.
    for id in 0..=255 {
        say(&message(1, id, b"\x02\xfd\xff\xff\xff\xff\xff\xff\xff\xff"));
    }
    assert_eq!(valid(&cluster, 40), 40);
    let read = |server: &Server| server.log().matches("is not read").count();
    eventually("it is told", || read(&cluster.primaries[1]) > 0);
    let log = cluster.primaries[1].log();
    assert_eq!(log.matches("is not read").count(), 1, "once: {log}");
    assert!(log.contains("a message of the cluster's node "), "{log}");

    // The same twice: it is done once.
    let mut other = cluster.primaries[1].client();
    let mut killed = || other.must("APIKEY.HEALTH").get("killed_entries").int();
    say(&message(1, 9, b"\x00\x00\x01\x03all"));
    eventually("it is done", || killed() > 0);
    let first = killed();
    fill(&cluster, 40);
    say(&message(1, 9, b"\x00\x00\x01\x03all"));
    say(&message(1, 10, b"\x00\x00\x01\x04none"));
    let mut other = cluster.primaries[1].client();
    eventually("both have come", || other.must("APIKEY.HEALTH").get("invalidated_tags").int() == 2);
    assert_eq!(other.must("APIKEY.HEALTH").get("killed_entries"), &int(first));
    assert_eq!(valid(&cluster, 40), 40);
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_failover_in_the_middle_leaves_nothing_alive_that_was_told_to_go() {
    let cluster = Cluster::of(3, 1, |_, builder| builder.setting("cluster-timeout-ms", "200"));
    let mut asked = cluster.primaries[0].client();
    let (mut old, mut new) = (&cluster.primaries[1], &cluster.replicas[1][0]);
    for way in ["", " FORCE", " TAKEOVER"] {
        fill(&cluster, 60);
        new.in_sync_with(old);
        let mut c = new.client();
        let mut began: Option<Instant> = None;
        eventually("it takes over", || {
            // Others may not know yet who is whose replica, and then it is not elected.
            if began.is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
                let is_taken = c.run(&format!("CLUSTER FAILOVER{way}")) == ok();
                began = is_taken.then(Instant::now);
            }
            match asked.run("APIKEY.TAGINVAL all") {
                Reply::Error(why) => assert!(why.starts_with("PARTIAL "), "{why}"),
                killed => assert!((0..=60).contains(&killed.int()), "{killed:?}"),
            }
            c.info("replication", "role").as_deref() == Some("master")
        });
        // Before it knows, it may be told a number by the old one, who does not know either.
        eventually("it is known", || {
            let seen = Seen::all(&asked.must("CLUSTER NODES").text());
            seen.iter().any(|node| node.port == new.port && node.slot_count() > 0)
        });
        eventually("all have done it", || !asked.run("APIKEY.TAGINVAL all").is_error());
        assert_eq!(valid(&cluster, 60), 0, "{way}");
        (old, new) = (new, old);
        eventually("the old primary follows", || {
            new.client().info("replication", "master_link_status").as_deref() == Some("up")
        });
        new.in_sync_with(old);
        assert_eq!(new.digest(), old.digest());
        cluster.settled();
    }
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    let cluster = Cluster::of(2, 0, |_, builder| {
        builder.setting("cluster-timeout-ms", "60000").config("cluster-node-timeout 60000")
    });
    fill(&cluster, 20);
    signal(&cluster.primaries[1], libc::SIGSTOP);
    let mut c = cluster.primaries[0].client();
    for _ in 0..50 {
        let mut gone = cluster.primaries[0].client();
        gone.send(["APIKEY.TAGINVAL", "all"]).expect("sent");
    }
    eventually("they are gone", || c.info("clients", "blocked_clients").as_deref() == Some("0"));
    signal(&cluster.primaries[1], libc::SIGCONT);
    eventually("all is done", || c.run("APIKEY.TAGINVAL all") == int(0));
    assert_eq!(valid(&cluster, 20), 0);
}

/// The primary that owns a key's slot, as [`Cluster`] shares them.
pub fn owner(c: &mut Client, key: &str, primaries: usize) -> usize {
    let slot = c.must(&format!("CLUSTER KEYSLOT {key}")).int() as usize;
    (0..primaries).rfind(|number| 16384 * number / primaries <= slot).expect("a primary")
}

/// A row of the application's database: its version, and up to which it was announced.
#[derive(Default)]
struct Row {
    version: RwLock<u64>,
    announced: AtomicU64,
}

/// Readers fill what they miss; writers change rows and tell any primary, until it replies a number; primaries are
/// frozen and paused meanwhile. No read returns a row that was replaced before it was asked for.
#[test]
fn no_read_of_any_primary_returns_what_another_was_told_before() {
    const ROWS: usize = 48;
    let seconds = env_number("APIKEY_CLUSTER_SECONDS", 5);
    let seed = env_number("APIKEY_SEED", 7);
    let cluster = Cluster::of(3, 0, |_, builder| {
        builder
            .setting("cluster-timeout-ms", "200")
            .setting("sync-reclaim", "2")
            .setting("fence-slots", "512")
            .config("cluster-node-timeout 60000")
    });
    let owners: Vec<usize> = {
        let mut c = cluster.primaries[0].client();
        (0..ROWS).map(|row| owner(&mut c, &format!("key{row}"), 3)).collect()
    };
    let rows: Vec<Row> = (0..ROWS).map(|_| Row::default()).collect();
    let [valid, stored, late, killed, partial] = std::array::from_fn(|_| AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(seconds);
    let failed = AtomicBool::new(false);
    let goes_on = || Instant::now() < end && !failed.load(SeqCst);
    let read = |clients: &mut [Client], number: usize, rng: &mut Rng| {
        let (row, key) = (&rows[number], format!("key{number}"));
        let c = &mut clients[owners[number]];
        let announced = row.announced.load(SeqCst);
        let reply = c.must(&format!("APIKEY.VALIDATE {key} DIGEST {DIGEST}"));
        if code_of(&reply) == "VALID" {
            let seen: serde_json::Value =
                serde_json::from_slice(reply.items()[1].bytes()).expect("a record");
            let version = seen["updated_at"].as_u64().expect("a version");
            assert!(version >= announced, "{key}: {seen}, and {announced} was announced before");
            valid.fetch_add(1, SeqCst);
            return;
        }
        let token = reply.items()[1].text();
        let version = *row.version.read().expect("a row");
        if rng.below(4) == 0 {
            std::thread::sleep(Duration::from_millis(rng.below(5) as u64));
        }
        let json = format!(r#"{{"id":"{key}","is_active":true,"updated_at":{version}}}"#);
        let fill = format!(
            "APIKEY.SETVAL {key} {json} DIGEST {DIGEST} TOKEN {token} TAGS 1 of{}",
            number % 8
        );
        let counter = if c.must(&fill) == ok() { &stored } else { &late };
        counter.fetch_add(1, SeqCst);
    };
    let write = |clients: &mut [Client], number: usize, rng: &mut Rng| {
        let row = &rows[number];
        let version = {
            let mut version = row.version.write().expect("a row");
            *version += 1;
            *version
        };
        let tag = if rng.one_in(2) {
            format!("apikey:id:key{number}")
        } else {
            format!("of{}", number % 8)
        };
        let began = Instant::now();
        loop {
            match clients[rng.below(3)].run(&format!("APIKEY.TAGINVAL {tag}")) {
                Reply::Error(why) => {
                    assert!(why.starts_with("PARTIAL no answer from"), "{why}");
                    assert!(began.elapsed() < Duration::from_secs(20), "{why}");
                    partial.fetch_add(1, SeqCst);
                }
                count => {
                    killed.fetch_add(count.int().unsigned_abs(), SeqCst);
                    break;
                }
            }
        }
        row.announced.fetch_max(version, SeqCst);
    };
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (cluster, read, write, goes_on, failed) =
                (&cluster, &read, &write, &goes_on, &failed);
            scope.spawn(move || {
                let _stop = StopOthers(failed);
                let mut rng = Rng::new(seed.wrapping_mul(1000) + number);
                let mut clients = cluster.clients();
                while goes_on() {
                    let row = rng.below(ROWS);
                    match rng.below(8) {
                        0 => write(&mut clients, row, &mut rng),
                        _ => read(&mut clients, row, &mut rng),
                    }
                }
            });
        }
        let (cluster, goes_on, failed) = (&cluster, &goes_on, &failed);
        scope.spawn(move || {
            let _stop = StopOthers(failed);
            let mut rng = Rng::new(seed.wrapping_mul(1000) + 6);
            let mut clients = cluster.clients();
            while goes_on() {
                let node = rng.below(3);
                std::thread::sleep(Duration::from_millis(rng.below(200) as u64));
                let ms = 20 + rng.below(250);
                if rng.one_in(2) {
                    clients[node].must(&format!("CLIENT PAUSE {ms} WRITE"));
                } else {
                    signal(&cluster.primaries[node], libc::SIGSTOP);
                    std::thread::sleep(Duration::from_millis(ms as u64));
                    signal(&cluster.primaries[node], libc::SIGCONT);
                }
            }
        });
    });
    for (name, counter) in [
        ("VALID", &valid),
        ("stored", &stored),
        ("too late", &late),
        ("killed", &killed),
        ("PARTIAL", &partial),
    ] {
        let count = counter.load(SeqCst);
        println!("{name}: {count}");
        assert!(count >= 3, "hardly anything was tried: {name} {count}");
    }
    assert_cluster_is_exact(&cluster);
}

/// What a migration does to a slot at its two nodes.
fn set_slot(from: &mut Client, to: &mut Client, slot: i64, how: [&str; 2]) {
    let id = |c: &mut Client| c.must("CLUSTER MYID").text();
    let (source, target) = (id(from), id(to));
    let of = |how: &str| how.replace("SOURCE", &source).replace("TARGET", &target);
    to.must(&format!("CLUSTER SETSLOT {slot} {}", of(how[1])));
    from.must(&format!("CLUSTER SETSLOT {slot} {}", of(how[0])));
}

/// A slot that comes back, or never left: what its first node gave a token for is too old where the other one was
/// told that the key has changed, and what it has taken by one meanwhile is gone.
#[test]
fn a_node_that_a_slot_comes_back_to_takes_no_fill_of_before() {
    let cluster = Cluster::of(2, 1, |_, builder| builder.config("cluster-node-timeout 60000"));
    let [mut a, mut b] = [0, 1].map(|number| cluster.primaries[number].client());
    let key = (0..).map(|n| format!("k{n}")).find(|key| owner(&mut a, key, 2) == 0).expect("a key");
    let slot = a.must(&format!("CLUSTER KEYSLOT {key}")).int();
    let fill = |c: &mut Client, token: &str| {
        c.must(&format!("APIKEY.SETVAL {key} {} SECRET {SECRET} TOKEN {token}", record("k", "u")))
    };
    // It waits for an answer on the link that has told of the key before.
    let told = |c: &mut Client| assert!(c.must("APIKEY.TAGCARD none") == int(0));
    for by in ["APIKEY.INVAL", "APIKEY.SETVAL"] {
        let change = match by {
            "APIKEY.INVAL" => format!("APIKEY.INVAL {key}"),
            _ => format!("APIKEY.SETVAL {key} {} SECRET {SECRET}", record("k", "u")),
        };
        // Cancelled: the target was asked to import, and told of the change.
        a.must(&format!("DEL {key}"));
        let token = a.must(&format!("APIKEY.VALIDATE {key}")).items()[1].text();
        set_slot(&mut a, &mut b, slot, ["MIGRATING TARGET", "IMPORTING SOURCE"]);
        assert!(a.run(&change).text().starts_with("ASK "), "{by}");
        b.must("ASKING");
        b.must(&change);
        told(&mut b);
        b.must("ASKING");
        b.must(&format!("DEL {key}"));
        set_slot(&mut a, &mut b, slot, ["STABLE", "STABLE"]);
        assert_eq!(fill(&mut a, &token), nil(), "{by}, cancelled");
        let token = a.must(&format!("APIKEY.VALIDATE {key}")).items()[1].text();
        assert_eq!(fill(&mut a, &token), ok());

        // Moved, and back again.
        a.must(&format!("DEL {key}"));
        let token = a.must(&format!("APIKEY.VALIDATE {key}")).items()[1].text();
        set_slot(&mut a, &mut b, slot, ["NODE TARGET", "NODE TARGET"]);
        b.must(&change);
        told(&mut b);
        b.must(&format!("DEL {key}"));
        set_slot(&mut b, &mut a, slot, ["NODE TARGET", "NODE TARGET"]);
        assert_eq!(fill(&mut a, &token), nil(), "{by}, moved");

        // The other way round: taken before it was told.
        let token = a.must(&format!("APIKEY.VALIDATE {key}")).items()[1].text();
        assert_eq!(fill(&mut a, &token), ok());
        let before = a.must("DBSIZE").int();
        set_slot(&mut a, &mut b, slot, ["MIGRATING TARGET", "IMPORTING SOURCE"]);
        b.must("ASKING");
        b.must(&change);
        told(&mut b);
        assert_eq!(a.must("DBSIZE").int(), before - 1, "{by}");
        b.must("ASKING");
        b.must(&format!("DEL {key}"));
        set_slot(&mut a, &mut b, slot, ["STABLE", "STABLE"]);
    }
    for (primary, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
        replicas[0].in_sync_with(primary);
        assert_eq!(replicas[0].digest(), primary.digest());
        assert_nothing_was_refused(&replicas[0]);
    }
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_primary_that_takes_no_writes_is_not_taken_for_one_that_has_done_it() {
    let cluster = Cluster::of(2, 0, |_, builder| builder.setting("cluster-timeout-ms", "300"));
    fill(&cluster, 40);
    let [mut c, mut other] = [0, 1].map(|number| cluster.primaries[number].client());
    other.must("CONFIG SET min-replicas-to-write 1");
    eventually("it refuses", || other.run("APIKEY.TAGINVALNODE none").is_error());
    eventually("it answers nobody", || {
        let told = c.run("APIKEY.TAGINVAL all");
        told.is_error() && told.text().starts_with("PARTIAL no answer from")
    });
    other.must("CONFIG SET min-replicas-to-write 0");
    eventually("it does it", || !c.run("APIKEY.TAGINVAL all").is_error());
    assert_eq!(valid(&cluster, 40), 0);
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_primary_that_is_given_its_first_slot_is_waited_for() {
    let cluster = Cluster::of(3, 0, |_, builder| builder.setting("cluster-timeout-ms", "200"));
    let newcomer = Cluster::builder().start();
    let [mut a, mut asked] = [0, 2].map(|number| cluster.primaries[number].client());
    let mut d = newcomer.client();
    d.must(&format!("CLUSTER MEET 127.0.0.1 {}", cluster.primaries[0].port));
    for c in [&mut a, &mut asked] {
        eventually("it is one of them", || {
            let nodes = c.must("CLUSTER NODES").text();
            nodes.lines().filter(|line| line.contains(" connected")).count() == 4
        });
    }
    eventually("it knows them", || d.must("CLUSTER INFO").text().contains("cluster_state:ok"));
    let key = (0..).map(|n| format!("k{n}")).find(|key| owner(&mut a, key, 3) == 0).expect("a key");
    let slot = a.must(&format!("CLUSTER KEYSLOT {key}")).int();
    set_slot(&mut a, &mut d, slot, ["MIGRATING TARGET", "IMPORTING SOURCE"]);
    let validate = |d: &mut Client| {
        d.must("ASKING");
        code_of(&d.must(&format!("APIKEY.VALIDATE {key} SECRET {SECRET}")))
    };
    let store = format!("APIKEY.SETVAL {key} {} SECRET {SECRET} TAGS 1 t", record("k", "u"));
    d.must("ASKING");
    d.must(&store);
    assert_eq!(validate(&mut d), "VALID");
    d.must("CLIENT PAUSE 30000 WRITE");
    let told = asked.run("APIKEY.TAGINVAL t");
    assert!(told.is_error() && told.text().starts_with("PARTIAL no answer from"), "{told:?}");
    // It has nothing to say by a pause of how many there are.
    assert_eq!(asked.must("APIKEY.TAGCARD t"), int(1));
    d.must("CLIENT UNPAUSE");
    assert!(matches!(asked.must("APIKEY.TAGINVAL t").int(), 0 | 1));
    assert_eq!(validate(&mut d), "MISS");
}

/// It can't replicate that then, and so can't remove it either.
#[test]
fn what_a_node_that_is_paused_has_taken_is_dead_once_its_owner_is_told() {
    let cluster = Cluster::of(2, 1, |_, builder| builder.config("cluster-node-timeout 60000"));
    let [mut a, mut b] = [0, 1].map(|number| cluster.primaries[number].client());
    let key = (0..).map(|n| format!("k{n}")).find(|key| owner(&mut a, key, 2) == 0).expect("a key");
    let slot = a.must(&format!("CLUSTER KEYSLOT {key}")).int();
    for how in ["CLIENT PAUSE 30000 WRITE", "CONFIG SET min-replicas-to-write 5"] {
        set_slot(&mut a, &mut b, slot, ["MIGRATING TARGET", "IMPORTING SOURCE"]);
        b.must("ASKING");
        b.must(&format!("APIKEY.SETVAL {key} {} SECRET {SECRET}", record("k", "u")));
        set_slot(&mut a, &mut b, slot, ["STABLE", "STABLE"]);
        let mut admin = cluster.primaries[1].client();
        admin.must(how);
        if how.starts_with("CONFIG") {
            eventually("it does not vouch", || {
                admin.must("APIKEY.HEALTH").get("vouches") == &int(0)
            });
        }
        let mut killed = || admin.must("APIKEY.HEALTH").get("killed_entries").int();
        let before = killed();
        assert_eq!(a.must(&format!("APIKEY.INVAL {key}")), int(0));
        eventually("it is told", || killed() == before + 1);
        admin.must("CLIENT UNPAUSE");
        admin.must("CONFIG SET min-replicas-to-write 0");
        eventually("it vouches", || admin.must("APIKEY.HEALTH").get("vouches") == &int(1));
        set_slot(&mut a, &mut b, slot, ["NODE TARGET", "NODE TARGET"]);
        eventually("it is gone", || admin.must("DBSIZE") == int(0));
        assert_eq!(b.code(&key), "MISS", "{how}");
        cluster.replicas[1][0].in_sync_with(&cluster.primaries[1]);
        assert_eq!(cluster.replicas[1][0].client().must("DBSIZE"), int(0), "{how}");
        set_slot(&mut b, &mut a, slot, ["NODE TARGET", "NODE TARGET"]);
    }
    assert_cluster_is_exact(&cluster);
}

#[test]
fn a_node_that_sees_no_whole_cluster_says_no_number() {
    let cluster = Cluster::start(3, 0);
    fill(&cluster, 30);
    let mut alone = cluster.primaries[2].client();
    alone.must("FLUSHALL");
    alone.must("CLUSTER RESET SOFT");
    let expected = "PARTIAL this node does not see an owner of each slot: the primaries that it sees have been told; \
                    repeat it";
    eventually("it says so", || alone.run("APIKEY.TAGINVAL all") == error(expected));
    assert_eq!(alone.run("APIKEY.TAGCARD all"), error(expected));
    // One that was never in a cluster neither.
    let fresh = Cluster::builder().start();
    assert_eq!(fresh.client().run("APIKEY.TAGINVAL all"), error(expected));
}
