//! Client libraries on a cluster, as installed from the registries: what docs/protocol.md says of each of them.

mod cut;
mod library;

use crate::cluster::{assert_cluster_is_exact, owner};
use crate::failover::calls;
use crate::harness::cluster::slot;
use crate::harness::*;
use cut::Cut;
pub use library::installed;
use library::*;
use serde_json::{json, Value};
use std::time::Duration;

const RECORD: &str = r#"{"id":1,"user_id":2,"is_active":true}"#;

fn ports(cluster: &Cluster) -> Vec<u16> {
    cluster.primaries.iter().map(|server| server.port).collect()
}

/// Keys with this prefix, so many at each of three primaries.
fn keys(cluster: &Cluster, prefix: &str, count: usize) -> Vec<String> {
    let mut c = cluster.primaries[0].client();
    let mut of = [0; 3];
    let mut is_wanted = |key: &String| {
        let at = owner(&mut c, key, 3);
        of[at] += 1;
        of[at] <= count
    };
    let names = (0..).map(|number| format!("{prefix}:{number}"));
    names.filter(|key| is_wanted(key)).take(3 * count).collect()
}

/// How often nodes have sent a client to another.
fn redirections(cluster: &Cluster) -> u64 {
    let of = |server: &Server| {
        let count = server.client().info("errorstats", "errorstat_MOVED");
        count.map_or(0, |count| count["count=".len()..].parse::<u64>().expect("a number"))
    };
    cluster.nodes().map(of).sum()
}

/// None of the primaries has anything left that carries the tag, as each says of itself.
#[track_caller]
fn assert_dead_everywhere(cluster: &Cluster, tag: &str, keys: &[String]) {
    for (at, c) in cluster.clients().iter_mut().enumerate() {
        assert_eq!(c.must(&format!("APIKEY.TAGINVALNODE {tag}")), int(0), "{tag} at {at}");
    }
    for key in keys {
        let answers = cluster.clients().iter_mut().map(|c| c.code(key)).collect::<Vec<String>>();
        assert_eq!(answers.iter().filter(|code| *code == "MISS").count(), 1, "{key}: {answers:?}");
    }
}

/// A token, from the miss of a reader.
#[track_caller]
fn missed(c: &mut Caller, key: &str) -> String {
    let said = c.must(Way::Key, &format!("APIKEY.VALIDATE {key} SECRET {SECRET}"));
    assert_eq!(said[0], "MISS", "{key}");
    said[1].as_str().expect("a token").to_string()
}

#[track_caller]
fn fill(c: &mut Caller, key: &str, tag: &str, token: &str) -> Value {
    c.must(
        Way::Key,
        &format!("APIKEY.SETVAL {key} {RECORD} SECRET {SECRET} TAGS 1 {tag} TOKEN {token}"),
    )
}

/// Its command of usage by the name that it takes.
fn usage(library: Library, command: &str) -> String {
    let dot = if library.is_redis_py() { "" } else { "." };
    format!("APIKEY.USAGE{dot}{command}")
}

impl Library {
    fn is_redis_py(self) -> bool {
        [RedisPy, RedisPyAsyncio].contains(&self)
    }

    /// It does not ask the server where a command of a module has its keys.
    fn has_to_be_redirected(self) -> bool {
        [Ioredis, RedisCli].contains(&self)
    }

    /// It takes the first argument for a key, of a command that it does not know.
    fn routes_by_the_first_argument(self) -> bool {
        [Glide, RedisRs].contains(&self)
    }
}

#[test]
fn each_library_calls_a_cluster_as_the_guide_says() {
    let cluster = Cluster::start(3, 1);
    for library in LIBRARIES {
        println!("{library:?} {}", library.version());
        let mut c = library.connect("cluster", &ports(&cluster));
        let tag = format!("{library:?}");
        let keys = keys(&cluster, &tag, 4);

        let redirected = redirections(&cluster);
        let late = missed(&mut c, &keys[0]);
        for key in &keys {
            let token = missed(&mut c, key);
            assert_eq!(fill(&mut c, key, &tag, &token), "OK");
            let said = c.must(Way::Key, &format!("APIKEY.VALIDATE {key} SECRET {SECRET}"));
            assert_eq!(said[0], "VALID");
        }
        assert_eq!(redirections(&cluster) > redirected, library.has_to_be_redirected(), "{tag}");

        for _ in 0..6 {
            assert_eq!(c.must(Way::Any, &format!("APIKEY.TAGCARD {tag}")), 12);
        }
        assert_eq!(c.must(Way::Any, &format!("APIKEY.TAGINVAL {tag}")), 12);
        assert_dead_everywhere(&cluster, &tag, &keys);
        assert_eq!(c.must(Way::Any, &format!("APIKEY.TAGINVAL {tag}")), 0);
        assert_eq!(fill(&mut c, &keys[0], &tag, &late), Value::Null);
        if library.is_redis_py() {
            for call in ["APIKEY.TAGINVAL t", "APIKEY.TAGCARD t", "APIKEY.USAGELEASE 1000"] {
                let said = c.call(Way::Key, call).expect_err(call);
                assert!(said.starts_with("No way to dispatch this command"), "{said}");
            }
            let said = c.call(Way::Key, "APIKEY.USAGE.INCR k").expect_err("two dots");
            assert_eq!(said, "Wrong command or module name: apikey.usage.incr");
        }

        let [a, b] = ["a", "b"].map(|name| format!("{{{tag}}}{name}"));
        let token = missed(&mut c, &a);
        let call = format!("APIKEY.MSETVAL 2 {a} {RECORD} {b} {RECORD} TOKEN {token}");
        assert_eq!(c.must(Way::Key, &call), 2);
        assert_eq!(c.must(Way::Key, &format!("APIKEY.INVAL {a}")), 1);
        assert_eq!(c.must(Way::Key, &format!("APIKEY.INVAL {a} {b}")), 1);
        c.call(Way::Key, &format!("APIKEY.INVAL {a} of-another-slot")).expect_err("two slots");

        counts_are_handed_over(&cluster, library, &mut c, &keys);
    }
    assert_cluster_is_exact(&cluster);
}

/// Counted by their keys, leased at each primary, acknowledged at any.
#[track_caller]
fn counts_are_handed_over(cluster: &Cluster, library: Library, c: &mut Caller, keys: &[String]) {
    let [incr, lease, ack] = ["INCR", "LEASE", "ACK"].map(|name| usage(library, name));
    for key in keys {
        assert_eq!(c.must(Way::Key, &format!("{incr} u{key}")), 1);
    }
    let mut leased = Vec::new();
    if library.routes_by_the_first_argument() {
        // The milliseconds are hashed: whichever node they hash to is the one that is asked, ever again.
        for _ in 0..20 {
            leased.extend(c.must(Way::Any, &format!("{lease} {LONG}")).as_array().cloned());
        }
        let left = cluster.clients().iter_mut().map(pending).filter(|count| *count > 0).count();
        assert_eq!(left, 2, "{library:?} leases at one node alone");
    }
    let each = c.must(Way::Each, &format!("{lease} {LONG}"));
    leased.extend(
        each.as_array()
            .expect("what each says")
            .iter()
            .map(|said| said.as_array().expect("batches").clone()),
    );
    assert!(cluster.clients().iter_mut().all(|c| pending(c) == 0));
    let settled: i64 = leased
        .concat()
        .iter()
        .map(|batch| batch[0].as_str().expect("an id"))
        .map(|id| c.must(Way::Any, &format!("{ack} {id}")).as_i64().expect("a number"))
        .sum();
    assert_eq!(settled, keys.len() as i64);
    let leased = |c: &mut Client| c.must("APIKEY.HEALTH").get("usage_leased").int();
    assert!(cluster.clients().iter_mut().all(|c| leased(c) == 0));
}

fn pending(c: &mut Client) -> i64 {
    c.must("APIKEY.HEALTH").get("usage_pending").int()
}

#[test]
fn partial_is_an_error_in_each_library() {
    let cluster = Cluster::of(3, 0, |_, builder| {
        builder.setting("cluster-timeout-ms", "300").config("cluster-node-timeout 60000")
    });
    for library in LIBRARIES {
        let mut c = library.connect("cluster", &ports(&cluster));
        let tag = format!("{library:?}");
        let keys = keys(&cluster, &tag, 2);
        for key in &keys {
            let token = missed(&mut c, key);
            assert_eq!(fill(&mut c, key, &tag, &token), "OK");
        }
        // Where the client picks the one that is frozen it waits, so another is: each twice, since some go round.
        let told = (2..14).find_map(|at| {
            let frozen = &cluster.primaries[at / 2 % 3];
            frozen.freeze();
            c.ask(Way::Any, &format!("APIKEY.TAGINVAL {tag}"));
            let told = c.within(Duration::from_secs(2));
            frozen.wake();
            match told {
                Some(told) => Some(told),
                None => c.outcome().err().map(Err),
            }
        });
        let told = told.unwrap_or_else(|| panic!("{library:?} picks each that is frozen"));
        let told = told.expect_err("one did not answer");
        let expected =
            if library == Glide { "PARTIAL: no answer from " } else { "PARTIAL no answer from " };
        assert!(told.starts_with(expected), "{library:?}: {told}");
        eventually("it is done", || c.call(Way::Any, &format!("APIKEY.TAGINVAL {tag}")).is_ok());
        assert_dead_everywhere(&cluster, &tag, &keys);
    }
    // It does not wait as long as others do, by default.
    let mut c = Glide.connect("hasty", &ports(&cluster));
    cluster.primaries.iter().for_each(Server::freeze);
    let told = c.call(Way::Any, "APIKEY.TAGINVAL t");
    cluster.primaries.iter().for_each(Server::wake);
    assert_eq!(told, Err("timed out".into()));
}

#[test]
fn who_reads_from_replicas_takes_a_token_of_the_primary() {
    let cluster = Cluster::start(3, 1);
    for library in LIBRARIES {
        if library == RedisCli {
            continue; // it reads where it is told to
        }
        let mut c = library.connect("replicas", &ports(&cluster));
        let tag = format!("{library:?}");
        let keys = keys(&cluster, &tag, 10);
        let asked = || -> u64 {
            let replicas = cluster.replicas.iter().flatten();
            replicas.map(|server| calls(&mut server.client(), "apikey.validate")).sum()
        };
        let before = asked();
        let mut refused = 0;
        for key in &keys {
            let token = missed(&mut c, key);
            if token == "0" {
                assert_eq!(fill(&mut c, key, &tag, &token), Value::Null);
                refused += 1;
            }
            let token = c.must(Way::Key, &format!("APIKEY.TOKEN {key}"));
            assert_eq!(fill(&mut c, key, &tag, token.as_str().expect("a token")), "OK");
        }
        // What they do not know they take for a write.
        let reads = library == NodeRedis;
        assert_eq!((asked() > before, refused > 0), (reads, reads), "{library:?}");
        if library == NodeRedis {
            // It may pick a replica for what has no key: that is an error, and another call may do.
            let call = format!("APIKEY.TAGINVAL {tag}");
            let told: Vec<Outcome> = (0..100).map(|_| c.call(Way::Any, &call)).collect();
            let errors: Vec<&String> = told.iter().filter_map(|told| told.as_ref().err()).collect();
            assert!(errors.iter().all(|error| error.starts_with("READONLY ")), "{errors:?}");
            assert!((1..100).contains(&errors.len()), "{}", errors.len());
            assert!(told.contains(&Ok(json!(30))), "{told:?}");
        } else {
            assert_eq!(c.must(Way::Any, &format!("APIKEY.TAGINVAL {tag}")), 30);
        }
        assert_dead_everywhere(&cluster, &tag, &keys);
    }
}

#[test]
fn ioredis_has_to_be_told_where_keys_are() {
    let cluster = Cluster::start(3, 0);
    let stored =
        |key: &str| cluster.clients().iter_mut().any(|c| c.run(&format!("EXISTS {key}")) == int(1));
    for (how, prefixes) in [("prefix", false), ("prefix-taught", true)] {
        let mut c = Ioredis.connect(how, &ports(&cluster));
        let keys = keys(&cluster, how, 4);
        let redirected = redirections(&cluster);
        for key in &keys {
            let token = missed(&mut c, key);
            assert_eq!(fill(&mut c, key, how, &token), "OK");
        }
        assert_eq!(redirections(&cluster) > redirected, !prefixes, "{how}");
        for key in &keys {
            let [with, without] = [format!("p:{key}"), key.clone()].map(|key| stored(&key));
            assert_eq!((with, without), (prefixes, !prefixes), "{how}");
            // What it knows has the prefix: it is another key.
            assert_eq!(c.must(Way::Key, &format!("EXISTS {key}")), i64::from(prefixes));
        }
        // A tag is no key.
        assert_eq!(c.must(Way::Any, &format!("APIKEY.TAGINVAL {how}")), 12);
    }
}

#[test]
fn while_a_slot_moves_each_key_wants_a_call_of_its_own() {
    let cluster = Cluster::start(3, 0);
    for library in LIBRARIES {
        let tag = format!("{library:?}");
        let [moved, stays] = ["moved", "stays"].map(|name| format!("{{{tag}}}{name}"));
        let mut clients = cluster.clients();
        let slot = slot(&mut clients[0], &moved);
        let from = owner(&mut clients[0], &moved, 3);
        let to = (from + 1) % 3;
        let ids: Vec<String> = clients.iter_mut().map(|c| c.must("CLUSTER MYID").text()).collect();
        let fill = |c: &mut Client, key: &str| c.must(&format!("APIKEY.SETVAL {key} {RECORD}"));
        fill(&mut clients[from], &moved);
        fill(&mut clients[from], &stays);
        clients[to].must(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from]));
        clients[from].must(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to]));
        let port = cluster.primaries[to].port;
        clients[from].must(&format!("MIGRATE 127.0.0.1 {port} {moved} 0 5000"));

        // As nodes say it: the one that has the slot, or the one that it sends to.
        let mut told = |call: &str| {
            let told = clients[from].run(call);
            if !matches!(&told, Reply::Error(text) if text.starts_with("ASK ")) {
                return told;
            }
            clients[to].must("ASKING");
            clients[to].run(call)
        };
        let both = format!("APIKEY.INVAL {moved} {stays}");
        let none = format!("{{{tag}}}none");
        for call in [&both, &format!("APIKEY.INVAL {none} {stays}")] {
            let told = told(call).text();
            assert!(told.starts_with("TRYAGAIN "), "{call}: {told}");
        }
        assert_eq!(told(&format!("APIKEY.INVAL {none}")), int(0));

        let mut c = library.connect("cluster", &ports(&cluster));
        c.ask(Way::Key, &both);
        match library {
            // It waits, longer each time, for minutes.
            RedisRs => assert_eq!(c.within(Duration::from_secs(1)), None),
            _ => drop(c.outcome().expect_err("two at once")),
        }
        let mut c = library.connect("cluster", &ports(&cluster));
        // What came with its slot was dead as it came.
        assert_eq!(c.must(Way::Key, &format!("APIKEY.INVAL {moved}")), 0, "{library:?}");
        assert_eq!(c.must(Way::Key, &format!("APIKEY.INVAL {stays}")), 1, "{library:?}");
        for key in [moved, stays] {
            missed(&mut c, &key);
        }
        for at in [to, from] {
            clients[at].must(&format!("CLUSTER SETSLOT {slot} STABLE"));
        }
    }
}

#[test]
fn ioredis_may_be_told_to_wait_without_end() {
    let server = Server::start();
    let cut = Cut::of(1);
    cut.lead_to(vec![server.port]);
    let mut c = Ioredis.connect("single-unanswered", &cut.ports);
    cut.before_the_reply_to("APIKEY.USAGE.INCR");
    c.ask(Way::Key, "APIKEY.USAGE.INCR k");
    eventually("the reply is lost", || cut.was_cut());
    assert_eq!(server.client().usage("k"), (1, 1));
    assert_eq!(c.within(Duration::from_secs(1)), None);
}

/// What a client does by itself when its connection is lost with the reply, in `how` of its program.
fn says_it_again(library: Library, how: &str, way: Way) -> bool {
    match library {
        _ if how.ends_with("once") => false,
        // Not where it is told the node.
        RedisPy | RedisPyAsyncio => how == "single" || way == Way::Key,
        Ioredis | RedisRs => true,
        NodeRedis | Glide | RedisCli => false,
    }
}

#[test]
fn what_a_library_says_again_by_itself_is_done_twice() {
    let of_server = Cut::of(1);
    let server = Server::start();
    of_server.lead_to(vec![server.port]);
    let of_cluster = Cut::of(3);
    let cluster = Cluster::of(3, 0, |number, builder| {
        builder.config(&format!("cluster-announce-port {}", of_cluster.ports[number]))
    });
    of_cluster.lead_to(ports(&cluster));
    for library in LIBRARIES {
        // redis-rs' plain connection does not come back; redis-cli is the same program.
        if ![RedisRs, RedisCli].contains(&library) {
            say_and_lose_the_reply(library, "single", &of_server, &mut [server.client()]);
        }
        say_and_lose_the_reply(library, "cluster", &of_cluster, &mut cluster.clients());
    }
    // Told not to.
    for library in [RedisPy, RedisPyAsyncio, Ioredis, RedisRs] {
        if library != RedisRs {
            say_and_lose_the_reply(library, "single-once", &of_server, &mut [server.client()]);
        }
        say_and_lose_the_reply(library, "cluster-once", &of_cluster, &mut cluster.clients());
    }
}

#[track_caller]
fn say_and_lose_the_reply(library: Library, how: &str, cut: &Cut, clients: &mut [Client]) {
    let key = format!("{library:?}:{how}");
    let mut c = library.connect(how, &cut.ports);
    for (way, call, repeated) in [
        (Way::Key, format!("APIKEY.USAGEINCR {key}"), json!(12)),
        (Way::Key, format!("APIKEY.USAGETAKE {key}"), json!([0])),
        (Way::Any, "APIKEY.USAGEFLUSH".into(), json!([])),
        (Way::Any, format!("APIKEY.USAGELEASE {LONG}"), json!([])),
        (Way::Any, "APIKEY.TAGINVAL t".into(), json!(0)),
        (Way::Key, format!("APIKEY.INVAL {key}r"), json!(0)),
    ] {
        // Each of them has ten uses, or sends to the one that has that key's.
        for c in clients.iter_mut() {
            c.must("FLUSHALL");
            c.must("CONFIG RESETSTAT");
            c.run(&format!("APIKEY.USAGE.INCR {key} BY 10"));
            c.run(&format!("APIKEY.SETVAL {key}r {RECORD} TAGS 1 t"));
        }
        let name = call.split(' ').next().unwrap_or_default();
        // What was lost before may be found out by the next call.
        let said = (0..3).find_map(|_| {
            cut.before_the_reply_to(name);
            let said = c.call(way, &call);
            cut.was_cut().then_some(said)
        });
        let said = said.unwrap_or_else(|| panic!("{key}: {call} is not called"));
        let done: u64 = clients.iter_mut().map(|c| calls(c, &name.to_lowercase())).sum();
        if says_it_again(library, how, way) {
            assert_eq!(done, 2, "{key}: {call}: {said:?}");
            // To another node, maybe, where it has no key.
            let is_elsewhere = how == "cluster" && way == Way::Any;
            assert!(
                is_elsewhere && said.is_ok() || said == Ok(repeated),
                "{key}: {call}: {said:?}"
            );
        } else {
            assert!(said.is_err() && done == 1, "{key}: {call}: {said:?}, {done}");
        }
    }
}

#[test]
fn redis_rs_without_retries_does_not_follow_a_slot() {
    let cluster = Cluster::start(3, 0);
    let mut c = RedisRs.connect("cluster-once", &ports(&cluster));
    let mut plain = cluster.primaries[0].client();
    // It sends MSETVAL where the number of its keys hashes to.
    let wrong = owner(&mut plain, "1", 3);
    let keys = keys(&cluster, "k", 1);
    let key = keys.iter().find(|key| owner(&mut plain, key, 3) != wrong);
    let call = format!("APIKEY.MSETVAL 1 {} {RECORD} TOKEN 0", key.expect("another's"));
    let told = c.call(Way::Key, &call).expect_err("another node's");
    assert!(told.starts_with("MOVED "), "{told}");
}

#[test]
fn the_guide_names_the_versions_that_are_tried() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let guide = std::fs::read_to_string(path).expect("the guide");
    for (library, name) in [
        (RedisPy, "redis-py"),
        (Ioredis, "ioredis"),
        (NodeRedis, "node-redis"),
        (Glide, "GLIDE for Python"),
        (RedisRs, "redis-rs"),
    ] {
        let row = format!("| {name} {}", library.version());
        assert!(guide.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}
