//! `apikeyctl doctor`: it finds each fault that is planted, by its name and at its node, and on a good deployment nothing.
//!
//! Faults that no test can plant (a node that is loading, a role that others don't know of) have unit tests beside the
//! checks. What is found of this machine's kernel is not the deployment's, and left out.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::spawn;
use std::time::{Duration, Instant};

use serde_json::{json, Value as Json};

use super::program::{bare, command};
use super::Ran;
use crate::harness::server::kind;
use crate::harness::*;
use crate::roles::{self, Users};

/// Findings of the kernel.
const KERNEL: [&str; 4] = ["thp", "overcommit", "somaxconn", "open-files"];

/// Where each finding stands.
const PAGE: &str = include_str!("../../../docs/operating.md");

/// What is wrong or may be: `wrong disabled 16379`, with the node's port where it is about one.
fn bad(told: &Json) -> BTreeSet<String> {
    let text = |found: &Json, name: &str| found[name].as_str().unwrap_or_default().to_string();
    let findings = told["findings"].as_array().expect("findings").iter();
    findings
        .inspect(|found| {
            let name = format!("`{}`", text(found, "finding"));
            assert!(PAGE.contains(&name), "docs/operating.md has no {name}");
        })
        .filter(|found| found["severity"] != json!("note"))
        .filter(|found| !KERNEL.contains(&found["finding"].as_str().expect("a name")))
        .map(|found| {
            assert!(!text(found, "what").is_empty() && !text(found, "do").is_empty(), "{found}");
            let port = text(found, "node").rsplit(':').next().unwrap_or_default().to_string();
            let line = format!("{} {} {port}", text(found, "severity"), text(found, "finding"));
            line.trim_end().to_string()
        })
        .collect()
}

/// Asks until it finds this and nothing else. Some faults show, and go, a moment after they were planted.
#[track_caller]
fn finds(server: &Server, options: &[&str], expected: &[String]) -> Ran {
    let expected: BTreeSet<String> = expected.iter().cloned().collect();
    let start = Instant::now();
    loop {
        let ran = Ran::at(server, "doctor", &[&["--json"], options].concat());
        let found = bad(&ran.json());
        if found == expected {
            let is_wrong = expected.iter().any(|line| line.starts_with("wrong "));
            assert_eq!(ran.status, Some(i32::from(is_wrong)), "{}{}", ran.out, ran.err);
            return ran;
        }
        let time = start.elapsed();
        assert!(time < Duration::from_secs(20), "{found:?}, and not {expected:?}: {}", ran.out);
    }
}

/// As redis.conf.example has it.
fn good(builder: Builder) -> Builder {
    [
        "maxmemory 256mb",
        "maxmemory-policy volatile-ttl",
        "appendonly yes",
        "appendfsync everysec",
        "repl-diskless-load on-empty-db",
    ]
    .iter()
    .fold(builder, |builder, line| builder.config(line))
    // Its own key is a miss once it is revoked, and it is run very often here.
    .setting("min-hit-rate", "0")
}

/// A good primary with its replica, records and a count.
fn pair() -> (Server, Server, Client) {
    let primary = good(Server::builder()).start();
    let replica = good(Server::builder()).start();
    replica.replicate(&primary);
    let mut c = primary.client();
    c.fill("apikey:{k}", &["apikey:t"]);
    c.count("apikey:{k}:usage", 7);
    replica.in_sync_with(&primary);
    (primary, replica, c)
}

/// The names of the steps that were taken with the key of its own, at the first primary.
fn steps(told: &Json) -> Vec<String> {
    let steps = told["scratch"][0]["steps"].as_array().expect("steps").iter();
    steps
        .map(|step| {
            assert!(step["ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{step}");
            step["step"].as_str().expect("a name").to_string()
        })
        .collect()
}

const ENTRY: [&str; 10] = [
    "TOKEN", "SETVAL", "VALIDATE", "TAGINVAL", "VALIDATE", "TOKEN", "SETVAL", "VALIDATE", "INVAL",
    "VALIDATE",
];

#[test]
fn on_a_good_deployment_nothing_is_found_and_nothing_is_left() {
    let (primary, replica, mut c) = pair();
    let ran = finds(&primary, &[], &[]);
    let told = ran.json();
    assert_eq!((&told["nodes"], &told["away"]), (&json!(2), &json!([])));
    // The application's count is pending, so that LEASE would take it.
    assert_eq!(steps(&told), [&ENTRY[..], &["USAGE.INCR"]].concat());
    assert!(ran.out.contains("lease-not-tried"), "{}", ran.out);
    assert_eq!(c.usage("apikey:{k}:usage").0, 7);
    let batch = c.lease();
    assert_eq!(batch.counts(), [("apikey:{k}:usage".to_string(), 7)]);
    let leased = finds(&primary, &[], &[]).json();
    assert_eq!(steps(&leased), [&ENTRY[..], &["USAGE.INCR"]].concat(), "a batch is open");
    assert_eq!(c.ack(&batch), 1);
    let idle = finds(&primary, &[], &[]).json();
    assert_eq!(steps(&idle), [&ENTRY[..], &["USAGE.INCR", "USAGE.LEASE", "USAGE.ACK"]].concat());

    let person = Ran::at(&primary, "doctor", &[]);
    assert_eq!((person.status, person.err.as_str()), (Some(0), ""));
    let last: Vec<&str> = person.out.lines().rev().take(3).collect();
    assert!(last[0].starts_with("nodes: 2, wrong: 0, warnings: "), "{}", person.out);
    assert!(
        last[2].starts_with("milliseconds ") && last[2].contains("USAGE.ACK"),
        "{}",
        person.out
    );

    let before = c.must("DBSIZE");
    let only = Ran::at(&primary, "doctor", &["--json", "--read-only"]).json();
    assert_eq!((&only["scratch"], bad(&only)), (&json!([]), BTreeSet::new()));
    replica.in_sync_with(&primary);
    for server in [&primary, &replica] {
        let mut c = server.client();
        assert_eq!(c.must("DBSIZE"), before);
        assert!(!format!("{:?}", c.must("KEYS *")).contains("doctor"));
    }
    let health = c.must("APIKEY.HEALTH");
    let number = |name: &str| health.get(name).int();
    assert_eq!(
        number("counted_uses"),
        number("settled_uses") + number("taken_uses") + number("usage_pending"),
        "each count of its own was settled or taken"
    );
    assert_nothing_was_refused(&replica);
    assert_exact(&primary);
}

/// Commands at each node, primary and replica.
struct Fault<'a> {
    plant: [&'a [&'a str]; 2],
    mend: [&'a [&'a str]; 2],
    /// `P` and `R` at its end stand for the nodes.
    expected: &'a [&'a str],
    options: &'a [&'a str],
}

const NO_OPTIONS: &[&str] = &[];

/// At both nodes.
fn both<'a>(plant: &'a [&'a str], mend: &'a [&'a str], expected: &'a [&'a str]) -> Fault<'a> {
    Fault { plant: [plant; 2], mend: [mend; 2], expected, options: NO_OPTIONS }
}

/// At the primary alone.
fn first<'a>(plant: &'a [&'a str], mend: &'a [&'a str], expected: &'a [&'a str]) -> Fault<'a> {
    Fault { plant: [plant, &[]], mend: [mend, &[]], expected, options: NO_OPTIONS }
}

/// At the replica alone.
fn second<'a>(plant: &'a [&'a str], mend: &'a [&'a str], expected: &'a [&'a str]) -> Fault<'a> {
    Fault { plant: [&[], plant], mend: [&[], mend], expected, options: NO_OPTIONS }
}

const APPLICATION: &str = "ACL SETUSER app reset on >pass ~apikey:* -@all +ping +apikey.setval +apikey.setabsent +apikey.msetval +apikey.validate +apikey.token +apikey.inval +apikey.taginval +apikey.taginvalnode +apikey.setscope +apikey.checkscope +apikey.setlist +apikey.getlist +apikey.tags +apikey.tagcard +apikey.tagscan +apikey.describe +apikey.usage.incr +apikey.usage.get";
const AS_APP: &[&str] = &["--role", "app", "--whose", "app"];

#[test]
fn each_planted_setting_and_user_is_found_and_mended() {
    let (primary, replica, mut c) = pair();
    let mut faults = vec![
        both(
            &["CONFIG SET maxmemory-policy allkeys-lru"],
            &["CONFIG SET maxmemory-policy volatile-ttl"],
            &["wrong counts-evictable P", "wrong counts-evictable R"],
        ),
        both(
            &["CONFIG SET maxmemory-policy noeviction"],
            &["CONFIG SET maxmemory-policy volatile-ttl"],
            &["warn policy-evicts-nothing P", "warn policy-evicts-nothing R"],
        ),
        Fault {
            plant: [
                &["CONFIG SET maxmemory-policy noeviction", "CACHE.SET value products text"],
                &["CONFIG SET maxmemory-policy noeviction"],
            ],
            mend: [
                &["CONFIG SET maxmemory-policy volatile-ttl", "APIKEY.INVAL value"],
                &["CONFIG SET maxmemory-policy volatile-ttl"],
            ],
            expected: &[
                "warn policy-evicts-nothing P",
                "warn regions-unbounded P",
                "warn policy-evicts-nothing R",
                "warn regions-unbounded R",
            ],
            options: NO_OPTIONS,
        },
        both(
            &["CONFIG SET maxmemory 0"],
            &["CONFIG SET maxmemory 256mb"],
            &["warn no-maxmemory P", "warn no-maxmemory R"],
        ),
        both(
            &["CONFIG SET maxmemory 100000gb"],
            &["CONFIG SET maxmemory 256mb"],
            &["wrong maxmemory-too-large P", "wrong maxmemory-too-large R"],
        ),
        second(
            &["CONFIG SET maxmemory 128mb"],
            &["CONFIG SET maxmemory 256mb"],
            &["warn settings-differ"],
        ),
        second(
            &["CONFIG SET repl-diskless-load swapdb"],
            &["CONFIG SET repl-diskless-load on-empty-db"],
            &["warn diskless-swapdb R"],
        ),
        second(
            &["CONFIG SET replica-read-only no"],
            &["CONFIG SET replica-read-only yes"],
            &["warn replica-writable R"],
        ),
        both(
            &["CONFIG SET appendfsync no"],
            &["CONFIG SET appendfsync everysec"],
            &["warn appendfsync-no P", "warn appendfsync-no R"],
        ),
        both(
            &["CONFIG SET appendonly no"],
            &[],
            &["wrong counts-not-kept P", "wrong counts-not-kept R"],
        ),
        Fault {
            plant: [&["CONFIG SET appendonly no", "CONFIG SET save 3600\u{a0}1000000"]; 2],
            mend: [&["CONFIG SET save ", "CONFIG SET appendonly yes"]; 2],
            expected: &["warn counts-in-snapshots P", "warn counts-in-snapshots R"],
            options: NO_OPTIONS,
        },
        both(
            &["CONFIG SET min-replicas-to-write 2"],
            &["CONFIG SET min-replicas-to-write 0"],
            &["wrong writes-refused P", "wrong reads-missed P"],
        ),
        // With it read-only the same is found: HEALTH says it.
        Fault {
            options: &["--read-only"],
            ..both(
                &["CONFIG SET min-replicas-to-write 3"],
                &["CONFIG SET min-replicas-to-write 0"],
                &["wrong writes-refused P", "wrong reads-missed P"],
            )
        },
        first(&["APIKEY.USAGE.LEASE 1"], &[], &["warn lease-overdue P", "warn lease-overdue R"]),
        Fault { options: AS_APP, ..both(&[APPLICATION], &[], &[]) },
        Fault {
            options: AS_APP,
            ..both(
                &["ACL SETUSER app -apikey.taginval"],
                &[APPLICATION],
                &["wrong access-too-small P", "wrong access-too-small R"],
            )
        },
        Fault {
            options: AS_APP,
            ..both(
                &["ACL SETUSER app +flushall +apikey.usage.take"],
                &[APPLICATION],
                &["warn access-too-wide P", "warn access-too-wide R"],
            )
        },
        Fault {
            options: AS_APP,
            ..both(
                &["ACL SETUSER app ~*"],
                &[APPLICATION],
                &["warn access-too-wide P", "warn access-too-wide R"],
            )
        },
        Fault {
            options: AS_APP,
            ..both(
                &["ACL SETUSER app resetkeys ~other:*"],
                &[APPLICATION],
                &["wrong access-keys P", "wrong access-keys R"],
            )
        },
        Fault {
            options: AS_APP,
            ..second(&["ACL DELUSER app"], &[APPLICATION], &["wrong no-user R"])
        },
    ];
    if kind().has_module_config() {
        faults.extend([
            second(
                &["CONFIG SET apikey.validation-ttl 301"],
                &["CONFIG SET apikey.validation-ttl 300"],
                &["wrong settings-differ"],
            ),
            second(
                &["CONFIG SET apikey.min-hit-rate 1"],
                &["CONFIG SET apikey.min-hit-rate 0"],
                &[],
            ),
            first(
                &["CONFIG SET apikey.writes-enabled no"],
                &["CONFIG SET apikey.writes-enabled yes"],
                &["warn writes-disabled P"],
            ),
            first(
                &["CONFIG SET apikey.enabled no"],
                &["CONFIG SET apikey.enabled yes"],
                &["wrong disabled P"],
            ),
            both(
                &["CONFIG SET apikey.trust-loaded yes"],
                &["CONFIG SET apikey.trust-loaded no"],
                &["wrong trust-loaded-unsafe P", "wrong trust-loaded-unsafe R"],
            ),
            both(
                &["CONFIG SET apikey.max-memory-percent 1", "CONFIG SET maxmemory 40mb"],
                &["CONFIG SET apikey.max-memory-percent 90", "CONFIG SET maxmemory 256mb"],
                &["warn memory-high P", "warn memory-high R"],
            ),
        ]);
    }
    let nodes = [&primary, &replica];
    let say = |lines: [&[&str]; 2]| {
        for (node, lines) in nodes.iter().zip(lines) {
            let mut c = node.client();
            for line in lines {
                // A value may be empty, or have a space that is none between arguments.
                let words: Vec<String> =
                    line.split(' ').map(|word| word.replace('\u{a0}', " ")).collect();
                let told = c.cmd(&words);
                assert!(!told.is_error(), "{line}: {told:?}");
            }
        }
    };
    for fault in &faults {
        say(fault.plant);
        let port = |line: &&str| {
            let with = |letter: &str, node: &Server| {
                let bare = line.strip_suffix(letter)?.strip_suffix(' ')?;
                Some(format!("{bare} {}", node.port))
            };
            with("P", &primary).or_else(|| with("R", &replica)).unwrap_or_else(|| line.to_string())
        };
        let expected: Vec<String> = fault.expected.iter().map(port).collect();
        finds(&primary, fault.options, &expected);
        say(fault.mend);
        // What is leased comes again, and is then settled.
        for batch in c.leases(&LONG.to_string()) {
            c.ack(&batch);
        }
        c.count("apikey:{k}:usage", 1);
    }
    finds(&primary, AS_APP, &[]);
}

#[test]
fn ids_of_requests_that_went_before_their_time_are_found() {
    let (primary, _replica, mut c) = pair();
    let admit = |id| {
        format!("APIKEY.ADMIT apikey:{{k}} 1 apikey:{{k}}:usage SECRET {SECRET} COST 0 ID {id}")
    };
    // As many as a counter keeps, and one more.
    c.pipeline(&(0..4096).map(admit).collect::<Vec<_>>());
    finds(&primary, &[], &[]);
    c.must(&admit(4096));
    finds(&primary, &[], &[format!("warn ids-dropped-early {}", primary.port)]);
}

#[test]
fn what_the_system_does_to_a_node_is_found() {
    let (primary, replica, mut c) = pair();
    let at = |finding: &str, node: &Server| format!("{finding} {}", node.port);

    // A disk that is full, below the AOF.
    primary.bound_files(Some(0));
    c.must("SET some write");
    let refused = [at("wrong writes-refused", &primary), at("wrong reads-missed", &primary)];
    finds(&primary, &[], &refused);
    primary.bound_files(None);
    finds(&primary, &[], &[]);

    // A snapshot that can't come to its name.
    let name = primary.dir().join("dump.rdb");
    let _ = fs::remove_file(&name);
    fs::create_dir_all(name.join("in the way")).expect("a directory");
    for node in [&primary, &replica] {
        node.client().must("CONFIG SET stop-writes-on-bgsave-error no");
    }
    eventually("a save fails", || {
        c.run("BGSAVE");
        c.info("persistence", "rdb_last_bgsave_status").as_deref() == Some("err")
    });
    finds(&primary, &[], &[at("warn save-failed", &primary)]);
    fs::remove_dir_all(&name).expect("it goes");
    eventually("a save works", || {
        c.run("BGSAVE");
        c.info("persistence", "rdb_last_bgsave_status").as_deref() == Some("ok")
    });
    finds(&primary, &[], &[]);

    // Files that the process may open.
    let limit = libc::rlimit { rlim_cur: 5000, rlim_max: 5000 };
    let pid = i32::try_from(replica.pid()).expect("a process id");
    // SAFETY: the limits are read during the call, and the old ones are not asked for.
    let done = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(done, 0);
    let told = Ran::at(&primary, "doctor", &["--json"]).json();
    let node = json!(format!("127.0.0.1:{}", replica.port));
    let files: Vec<&Json> = told["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|found| found["finding"] == json!("open-files") && found["node"] == node)
        .collect();
    assert_eq!(files.len(), 1, "{told}");
    assert!(files[0]["what"].as_str().is_some_and(|what| what.contains("may open 5000 files")));

    // A replica that says nothing, and one that has lost its primary.
    replica.freeze();
    let silent = finds(&primary, &["--timeout", "1"], &[at("wrong unreachable", &replica)]);
    assert!(silent.out.contains("gave no answer within 1s"), "{}", silent.out);
    replica.wake();
    finds(&primary, &[], &[]);
    replica.client().must("REPLICAOF 127.0.0.1 1");
    finds(&replica, &[], &[at("wrong link-down", &replica), at("warn replica-alone", &replica)]);
}

#[test]
fn renamed_commands_and_a_replica_without_the_module_are_found() {
    let server = ["CONFIG", "DEL", "PUBLISH"]
        .iter()
        .fold(good(Server::builder()), |b, name| b.config(&format!("rename-command {name} \"\"")))
        .start();
    let at = |finding: &str, node: &Server| format!("{finding} {}", node.port);
    // Where settings can't be read a channel may be set.
    finds(
        &server,
        &[],
        &[
            at("wrong renamed-expiry", &server),
            at("warn renamed-config", &server),
            at("warn renamed-publish", &server),
        ],
    );
    assert_eq!(server.client().must("DBSIZE"), int(0), "nothing is left without DEL");

    let primary = good(Server::builder()).start();
    let without = good(Server::builder()).without_module().start();
    without.replicate(&primary);
    finds(&primary, &["--read-only"], &[at("wrong no-module", &without)]);
    finds(
        &without,
        &["--alone"],
        &[at("wrong no-module", &without), at("warn replica-alone", &without)],
    );
}

/// What a server says, with something of it changed, the length excepted.
type Lie = fn(&mut [u8]);

/// A port at which a server's words are changed.
fn liar(to: u16, lie: Lie) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    spawn(move || {
        for from in listener.incoming() {
            let (Ok(from), Ok(to)) = (from, TcpStream::connect(("127.0.0.1", to))) else { return };
            let (Ok(back), Ok(forth)) = (to.try_clone(), from.try_clone()) else { return };
            spawn(move || pass(from, to, |_| {}));
            spawn(move || pass(back, forth, lie));
        }
    });
    port
}

fn pass(mut from: TcpStream, mut to: TcpStream, lie: Lie) {
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        lie(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Where the bytes behind a text begin.
fn behind(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text).map(|at| at + text.len())
}

#[test]
fn a_clock_that_is_90_seconds_behind_is_found() {
    let server = good(Server::builder()).start();
    let port = liar(server.port, |said| {
        let Some(at) = behind(said, b"server_time_usec:") else { return };
        let Some(digits) = said.get_mut(at..at + 16) else { return };
        let time: u64 = std::str::from_utf8(digits).expect("digits").parse().expect("a time");
        digits.copy_from_slice((time - 90_000_000).to_string().as_bytes());
    });
    let with = format!("redis://127.0.0.1:{port}");
    eventually("it is found", || {
        let ran = Ran::of(bare(&["doctor", "--json", "--alone", "--url", &with]));
        bad(&ran.json()) == BTreeSet::from([format!("wrong clock-off {port}")])
            && ran.status == Some(1)
            && ran.out.contains("s behind this machine's")
    });
}

#[test]
fn another_version_of_the_module_on_one_node_is_found() {
    let (primary, _replica, mut c) = pair();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(c.must("APIKEY.HEALTH").get("version"), &bulk(version), "which the lie is about");
    let port = liar(primary.port, |said| {
        let told = concat!("$5\r\n", env!("CARGO_PKG_VERSION"));
        if let Some(at) = behind(said, told.as_bytes()) {
            said[at - 1] = b'7';
        }
    });
    let with = format!("redis://127.0.0.1:{port}");
    eventually("it is found", || {
        let ran = Ran::of(bare(&["doctor", "--json", "--url", &with]));
        let told = ran.json();
        bad(&told) == BTreeSet::from(["wrong module-versions".to_string()])
            && told
                .to_string()
                .contains(&format!("{}7 at 127.0.0.1:{port}", &version[..version.len() - 1]))
    });
}

/// As a user of the page, with its password.
fn as_user(users: &Users, server: &Server, user: &str, options: &[&str]) -> Ran {
    let mut command = command(server, "doctor", &[&["--json", "--user", user], options].concat());
    command.env("REDISCLI_AUTH", users.password(user));
    Ran::of(command)
}

#[test]
fn the_users_of_the_page_are_as_their_roles_want_them() {
    for list in roles::lists() {
        let users = Users::new(list);
        let server = good(users.on(Server::builder())).start();
        for (role, user) in [
            ("app", "application"),
            ("drain", "consumer"),
            ("monitor", "monitoring"),
            ("operator", "operator"),
            ("backup", "backup"),
        ] {
            let whose = ["--role", role, "--whose", user];
            let told = as_user(&users, &server, "administrator", &whose);
            assert_eq!((told.status, bad(&told.json())), (Some(0), BTreeSet::new()), "{user}");
            assert!(!told.out.contains("access-untold"), "{}", told.out);
            let itself = as_user(&users, &server, user, &["--role", role]);
            assert_eq!(
                (itself.status, bad(&itself.json())),
                (Some(0), BTreeSet::new()),
                "{user}: {}",
                itself.out
            );
            // Each as another is refused what that needs, found by trying.
            let other = if role == "app" { "drain" } else { "app" };
            let wrong = as_user(&users, &server, user, &["--role", other]);
            let lacks = format!("wrong access-too-small {}", server.port);
            assert!(bad(&wrong.json()).contains(&lacks), "{user}: {}", wrong.out);
            assert_eq!(wrong.status, Some(1));
        }
        // The application's own key goes as far as it may be taken back.
        let itself = as_user(&users, &server, "application", &["--role", "app"]).json();
        assert_eq!(steps(&itself), ENTRY);
        assert_eq!(server.client().must("DBSIZE"), int(0));
        // Whoever says no role wanted all of it to be looked at.
        let blind = as_user(&users, &server, "monitoring", &[]);
        assert_eq!(blind.status, Some(2), "{}", blind.out);
        assert!(blind.out.contains("the user needs CONFIG GET"), "{}", blind.out);
    }
}

#[test]
fn nothing_is_left_where_it_ends_early() {
    let server = good(Server::builder()).start();
    let mut c = server.client();
    c.must(APPLICATION);
    c.must("ACL SETUSER app -apikey.taginval");
    let with = format!("redis://app:pass@127.0.0.1:{}", server.port);
    let ran = Ran::of(bare(&["doctor", "--json", "--role", "app", "--url", &with]));
    assert_eq!(steps(&ran.json()), ENTRY[..3]);
    assert_eq!(c.must("DBSIZE"), int(0));
    // Nor does it wait for a removal that never comes: what it stores ends by itself.
    assert!(ran.out.contains("scratch-not-allowed"), "{}", ran.out);
}

#[test]
fn a_good_cluster_is_well_and_a_broken_one_is_found() {
    let cluster = Cluster::of(3, 1, |_, builder| good(builder));
    let first = &cluster.primaries[0];
    let told = finds(first, &["--cluster"], &[]).json();
    assert_eq!((&told["nodes"], &told["away"]), (&json!(6), &json!([])));
    assert_eq!(told["scratch"].as_array().map(Vec::len), Some(3), "each primary is tried");
    assert_eq!(steps(&told), [&ENTRY[..], &["USAGE.INCR", "USAGE.LEASE", "USAGE.ACK"]].concat());
    for node in &cluster.primaries {
        assert_eq!(node.client().must("DBSIZE"), int(0));
    }
    Ran::at(first, "doctor", &[]).fails_with(2, "say --cluster");

    // A slot that nobody has, for whom all nodes end. A message that its owner sent before tells others that it has it
    // still, so it is taken from them until none knows of it.
    let slot = 16_383;
    eventually("a slot without an owner", || {
        let mut nodes: Vec<_> = cluster.nodes().map(Server::client).collect();
        nodes.iter_mut().rev().for_each(|c| drop(c.run(&format!("CLUSTER DELSLOTS {slot}"))));
        nodes.iter_mut().all(|c| c.must("CLUSTER INFO").text().contains("slots_assigned:16383"))
    });
    let options = ["--cluster", "--read-only"];
    let down = cluster.nodes().map(|node| format!("wrong cluster-down {}", node.port));
    let lacks = ["wrong slots-without-owner".to_string()];
    finds(first, &options, &down.chain(lacks).collect::<Vec<_>>());
    cluster.primaries[2].client().must(&format!("CLUSTER ADDSLOTS {slot}"));
    cluster.settled();
    finds(first, &options, &[]);

    // A replica that is taken for failed.
    let replica = &cluster.replicas[1][0];
    replica.freeze();
    let failed = ["wrong unreachable", "wrong node-failing"];
    let failed = failed.map(|finding| format!("{finding} {}", replica.port));
    finds(first, &["--cluster", "--read-only", "--timeout", "1"], &failed);
    replica.wake();
}

#[test]
fn a_wrong_call_and_a_server_that_is_away_end_with_2() {
    let mut gone = Server::start();
    gone.stop(server::Stop::Kill);
    Ran::at(&gone, "doctor", &[]).fails_with(2, "is the server running there?");
    Ran::at(&gone, "doctor", &["--role", "nobody"]).fails_with(2, "possible values: app, drain");
    Ran::at(&gone, "doctor", &["--whose", "app"]).fails_with(2, "--role");
}
