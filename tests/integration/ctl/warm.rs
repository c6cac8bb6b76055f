//! `apikeyctl warm`: fills the cache from an export.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use super::program::{bare, url};
use super::Ran;
use crate::harness::server::kind;
use crate::harness::*;

const KEY: [&str; 2] = ["--key", "apikey:{{key_prefix}}"];

/// A run of `warm` for a server.
pub fn command(server: &Server, options: &[&str]) -> Command {
    super::command(server, "warm", options)
}

impl Ran {
    /// The numbers of a summary: stored, there already, refused, bad.
    #[track_caller]
    pub fn counts(&self) -> [u64; 4] {
        ["stored", "there already", "refused", "bad"].map(|name| {
            let line = self.out.lines().find_map(|line| line.trim().strip_prefix(name));
            let line = line.unwrap_or_else(|| panic!("no {name}: {}{}", self.out, self.err));
            line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
        })
    }
}

#[track_caller]
fn warm(server: &Server, options: &[&str]) -> Ran {
    Ran::of(command(server, options))
}

/// The key with this number, as a table's export has it.
fn row(number: usize) -> String {
    format!(
        r#"{{"id":{number},"user_id":"u{}","key_prefix":"ak_{number}","key_hash":"{DIGEST}","is_active":true,"metadata":null}}"#,
        number % 10
    )
}

struct Export {
    dir: TempDir,
}

impl Export {
    fn of(text: &str) -> Self {
        let dir = TempDir::new().expect("temporary directory");
        fs::write(dir.path().join("rows.ndjson"), text).expect("export");
        Self { dir }
    }

    fn rows(number: usize) -> Self {
        Self::of(&(0..number).map(|n| row(n) + "\n").collect::<String>())
    }

    fn path(&self) -> String {
        self.dir.path().join("rows.ndjson").display().to_string()
    }
}

/// A run that reads what the test writes, after it has its token: it says so by storing the first row.
struct Piped {
    child: Child,
    input: ChildStdin,
}

impl Piped {
    #[track_caller]
    fn start(server: &Server, options: &[&str]) -> Self {
        let mut command = command(server, options);
        let mut child = command.arg("-").stdin(Stdio::piped()).spawn().expect("warm");
        let input = child.stdin.take().expect("its input");
        let mut piped = Self { child, input };
        piped.write(&row(0));
        let mut c = server.client();
        eventually("the first row is stored", || c.exists("apikey:{ak_0}"));
        piped
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("warm reads");
    }

    #[track_caller]
    fn end(self) -> Ran {
        drop(self.input);
        self.child.wait_with_output().expect("warm").into()
    }

    #[track_caller]
    fn signal(self, signal: i32) -> Ran {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: a call without memory, of a process that has not been waited for.
        unsafe { libc::kill(pid, signal) };
        // Its input stays open.
        let ran = self.child.wait_with_output().expect("warm").into();
        drop(self.input);
        ran
    }
}

#[test]
fn a_file_is_stored_with_its_digests_tags_namespace_and_ttl() {
    let server = Server::start();
    let export = Export::rows(1000);
    let options = [
        "--digest-field",
        "key_hash",
        "--ns",
        "acme:",
        "--tag",
        "warmed",
        "--tag",
        "of:{user_id}",
        "--ttl",
        "1000",
        &export.path(),
    ];
    let ran = warm(&server, &[&KEY[..], &options].concat());
    assert_eq!((ran.status, ran.counts()), (Some(0), [1000, 0, 0, 0]), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("1000 lines in "), "{}", ran.out);
    assert!(ran.err.contains("was written before the token was taken"), "{}", ran.err);
    let mut c = server.client();
    assert_eq!(c.code("apikey:{ak_7}"), "VALID");
    assert!((990..=1000).contains(&c.must("TTL apikey:{ak_7}").int()));
    let reply = c.must(&format!("APIKEY.VALIDATE apikey:{{ak_7}} SECRET {SECRET}"));
    assert!(!reply.items()[1].text().contains("key_hash"));
    assert_eq!(c.invalidate("acme:apikey:id:8"), 1);
    assert_eq!(c.invalidate("of:u3"), 100);
    assert_eq!(c.invalidate("warmed"), 899);
    assert_exact(&server);
}

#[test]
fn the_servers_digest_field_serves_where_none_is_named_and_one_that_is_named_stands_beside_it() {
    let server = Server::builder().setting("digest-field", "key_hash").start();
    let export = Export::rows(3);
    let mut c = server.client();
    for more in [&[][..], &["--digest-field", "key_hash"]] {
        // The pattern is the default.
        let ran = warm(&server, &[more, &[&export.path()]].concat());
        assert_eq!(ran.counts(), [3, 0, 0, 0], "{}", ran.err);
        assert_eq!(c.code("apikey:{ak_1}"), "VALID");
        c.must("FLUSHALL");
    }
}

#[test]
fn a_digest_that_ends_does_so_after_warming_too() {
    let server = Server::builder().setting("digest-field", "key_hash").start();
    let mut c = server.client();
    let of = |number: usize, until: &str| {
        let hashes = format!(r#"[null,{{"digest":"{DIGEST}","until":{until}}}]"#);
        row(number).replace(&format!("\"{DIGEST}\""), &hashes)
    };
    let twice = row(9).replace(r#""is_active""#, &format!(r#""key_hash":"{DIGEST}","is_active""#));
    let ends = ["4102444800123", "\"2023-11-14T22:13:20Z\"", "null", "\"-infinity\"", "1700000000"];
    let mut lines: Vec<String> = (0..).zip(ends).map(|(number, end)| of(number, end)).collect();
    lines.push(twice);
    let export = Export::of(&lines.join("\n"));
    for more in [&[][..], &["--digest-field", "key_hash"]] {
        let ran = warm(&server, &[more, &[&export.path()]].concat());
        assert_eq!((ran.status, ran.counts()), (Some(1), [4, 0, 0, 2]), "{}", ran.err);
        assert!(ran.err.contains("key_hash is given twice"), "{}", ran.err);
        assert!(ran.err.contains("until of key_hash must be in milliseconds"), "{}", ran.err);
        let codes = c.codes(["apikey:{ak_0}", "apikey:{ak_1}", "apikey:{ak_2}", "apikey:{ak_3}"]);
        assert_eq!(codes, ["VALID", "MISMATCH", "VALID", "MISMATCH"]);
        let told = c.must("APIKEY.DESCRIBE apikey:{ak_0}");
        assert_eq!(told.get("digests_until"), &array([int(4_102_444_800_123)]));
        c.must("FLUSHALL");
    }
}

#[test]
fn bad_lines_are_told_with_their_numbers_and_stop_nothing() {
    let server = Server::start();
    let mut c = server.client();
    c.must("SET apikey:{ak_3} text");
    let lines = [
        row(0),
        String::new(),
        "{\"id\":1".into(),
        row(1),
        r#"{"id":1,"user_id":1,"is_active":true}"#.into(),
        r#"{"key_prefix":"x","key_hash":null,"id":1}"#.into(),
        r#"{"key_prefix":"x","key_hash":"abc"}"#.into(),
        row(3),
        row(2),
    ];
    let export = Export::of(&lines.join("\n"));
    let ran = warm(&server, &[&KEY[..], &["--digest-field", "key_hash", &export.path()]].concat());
    assert_eq!((ran.status, ran.counts()), (Some(1), [3, 0, 0, 5]), "{}", ran.err);
    for told in [
        "line 3: it is not JSON (column 7)",
        "line 5: it has no field key_prefix",
        "line 6: BADRECORD is_active is missing",
        "line 7: key_hash must be 64 hex digits, \\x and those, or base64 of 32 bytes, null, or an array of one or two",
        "line 8: WRONGTYPE ",
    ] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    assert_eq!(c.codes(["apikey:{ak_0}", "apikey:{ak_1}", "apikey:{ak_2}"]), ["VALID"; 3]);

    let many = Export::of(&"bad\n".repeat(50));
    let ran = warm(&server, &[&KEY[..], &[&many.path()]].concat());
    assert_eq!(ran.counts(), [0, 0, 0, 50]);
    assert_eq!(ran.err.matches("apikeyctl: line ").count(), 10, "{}", ran.err);
    assert!(ran.err.contains("more bad lines are counted and not shown"), "{}", ran.err);
}

#[test]
fn with_if_absent_what_is_there_stays() {
    let server = Server::start();
    let mut c = server.client();
    c.must(&format!("APIKEY.SETVAL apikey:{{ak_1}} {}", record("newer", "u")));
    let export = Export::rows(300);
    let file = export.path();
    let options = [&KEY[..], &["--if-absent", &file]].concat();
    let ran = warm(&server, &options);
    assert_eq!((ran.status, ran.counts()), (Some(0), [299, 1, 0, 0]), "{}", ran.err);
    assert_eq!(c.must("APIKEY.TAGS apikey:{ak_1}").items()[0], bulk("apikey:id:newer"));
    assert_eq!(warm(&server, &options).counts(), [0, 300, 0, 0]);
}

#[test]
fn what_was_revoked_since_the_token_is_refused_and_told() {
    for (options, why) in [(&[][..], "revoked"), (&["--if-absent"], "revoked")] {
        let server = Server::start();
        let mut c = server.client();
        let mut run = Piped::start(&server, &[&KEY[..], options].concat());
        c.must("APIKEY.TAGINVAL apikey:id:1");
        c.must("APIKEY.INVAL apikey:{ak_2}");
        (1..5).for_each(|number| run.write(&row(number)));
        let ran = run.end();
        assert_eq!((ran.status, ran.counts()), (Some(0), [3, 0, 2, 0]), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(why), "{}", ran.out);
        assert!(!c.exists("apikey:{ak_1}") && !c.exists("apikey:{ak_2}"));
        assert!(c.exists("apikey:{ak_3}"));
    }
}

#[test]
fn an_unfenced_run_stores_under_tokens_of_its_own_time() {
    let server = Server::builder().setting("token-ttl-ms", "1500").start();
    let mut c = server.client();
    let mut fenced = Piped::start(&server, &KEY);
    let mut unfenced = Piped::start(&server, &[&KEY[..], &["--unfenced"]].concat());
    c.must("APIKEY.TAGINVAL apikey:id:1");
    let taken = std::time::Instant::now();
    eventually("the tokens are old", || taken.elapsed().as_millis() > 1600);
    fenced.write(&row(1));
    let fenced = fenced.end();
    assert_eq!(fenced.counts(), [1, 0, 1, 0], "{}", fenced.err);
    // 6.2 does not tell the module's settings.
    let told = fenced.err.contains("older than apikey.token-ttl-ms");
    assert_eq!(told, kind().has_module_config(), "{}", fenced.err);
    unfenced.write(&row(1));
    let unfenced = unfenced.end();
    assert_eq!(unfenced.counts(), [2, 0, 0, 0], "{}", unfenced.err);
    assert!(c.exists("apikey:{ak_1}"), "which is what --unfenced risks");
}

#[test]
fn an_export_begins_after_the_token_and_its_failure_is_told() {
    let server = Server::start();
    let cli = format!("redis-cli -p {} APIKEY.TAGINVAL apikey:id:1 >&2", server.port);
    let script = format!("{cli}; echo '{}'; echo '{}'", row(1), row(2));
    let ran = warm(&server, &[&KEY[..], &["--", "sh", "-c", &script]].concat());
    assert_eq!(ran.counts(), [1, 0, 1, 0], "{}{}", ran.out, ran.err);
    assert_eq!(ran.status, Some(0));
    let script = format!("echo '{}'; exit 3", row(3));
    let ran = warm(&server, &[&KEY[..], &["--", "sh", "-c", &script]].concat());
    assert_eq!((ran.status, ran.counts()), (Some(1), [1, 0, 0, 0]));
    assert!(ran.err.contains("the export failed (exit status: 3)"), "{}", ran.err);
}

#[test]
fn it_can_be_interrupted_and_started_again() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let server = Server::start();
        let mut c = server.client();
        let mut run = Piped::start(&server, &KEY);
        (1..100).for_each(|number| run.write(&row(number)));
        eventually("they are stored", || c.must("DBSIZE") == int(100));
        let ran = run.signal(signal);
        assert_eq!((ran.status, ran.counts()), (Some(130), [100, 0, 0, 0]), "{}", ran.err);
        assert!(ran.out.contains("interrupted: what was stored stays"), "{}", ran.out);
        let export = Export::rows(200);
        let ran = warm(&server, &[&KEY[..], &["--if-absent", &export.path()]].concat());
        assert_eq!((ran.status, ran.counts()), (Some(0), [100, 100, 0, 0]));
        assert_exact(&server);
    }
}

#[test]
fn in_a_cluster_each_primary_gets_what_is_its_own_under_its_own_token() {
    let cluster = Cluster::start(3, 0);
    let nodes = &cluster.primaries;
    let mut clients = cluster.clients();
    let export = Export::rows(3000);
    let file = export.path();
    let ran =
        warm(&nodes[1], &[&KEY[..], &["--cluster", "--digest-field", "key_hash", &file]].concat());
    assert_eq!((ran.status, ran.counts()), (Some(0), [3000, 0, 0, 0]), "{}", ran.err);
    let sizes: Vec<i64> = clients.iter_mut().map(|c| c.must("DBSIZE").int()).collect();
    assert_eq!(sizes.iter().sum::<i64>(), 3000);
    assert!(sizes.iter().all(|&size| size > 500), "{sizes:?}");
    for c in &mut clients {
        assert_eq!(c.must("APIKEY.HEALTH").get("stale_fills_refused"), &int(0));
    }
    let ran = warm(&nodes[0], &[&KEY[..], &["--cluster", "--if-absent", &file]].concat());
    assert_eq!(ran.counts(), [0, 3000, 0, 0], "{}", ran.err);

    warm(&nodes[0], &[&KEY[..], &[&file]].concat()).fails_with(1, "--cluster");
}

#[test]
fn what_the_server_would_refuse_to_all_ends_the_run_with_what_to_do() {
    let server = Server::start();
    let mut c = server.client();
    let export = Export::rows(100);
    let file = export.path();
    let fails = |server: &Server, told: &str| {
        warm(server, &[&KEY[..], &[&file]].concat()).fails_with(2, told);
    };
    let replica = Server::start();
    replica.replicate(&server);
    fails(&replica, "it is a replica: say the primary's URL");
    fails(&Server::builder().setting("enabled", "no").start(), "apikey.enabled is no");
    fails(
        &Server::builder().setting("writes-enabled", "no").start(),
        "apikey.writes-enabled is no",
    );
    fails(&Server::builder().without_module().start(), "it has no module redis-apikey");
    c.must("CONFIG SET maxmemory 1");
    // It could begin.
    warm(&server, &[&KEY[..], &[&file]].concat()).fails_with(1, "its memory is full");
    c.must("CONFIG SET maxmemory 0");
    c.must("ACL SETUSER someone on >pass ~* +@all");
    c.must("CONFIG SET requirepass secret");
    fails(&server, "REDISCLI_AUTH");
    for (name, password) in [(&[][..], "secret"), (&["--user", "someone"], "pass")] {
        let options = [&KEY[..], name, &[&file]].concat();
        let ran = command(&server, &options).env("REDISCLI_AUTH", password).output().expect("warm");
        assert_eq!(Ran::from(ran).counts(), [100, 0, 0, 0]);
    }
    let two = format!("redis://someone:pass@127.0.0.1:{}/2", server.port);
    let ran = Ran::of(bare(&[&["warm", "--url", &two], &KEY[..], &[&file]].concat()));
    assert_eq!(ran.counts(), [100, 0, 0, 0]);
    c.must("AUTH secret");
    assert_eq!(c.info("keyspace", "db2").map(|line| line.starts_with("keys=100,")), Some(true));
    let gone = url(&server);
    drop((c, server, replica));
    let ran = Ran::of(bare(&[&["warm", "--url", &gone], &KEY[..], &[&file]].concat()));
    ran.fails_with(2, "is the server running there?");
}

#[test]
fn a_connection_that_breaks_is_told_with_what_to_do() {
    let server = Server::start();
    let mut c = server.client();
    let mut run = Piped::start(&server, &KEY);
    c.must("CLIENT KILL TYPE normal SKIPME yes");
    run.write(&row(1));
    let ran = run.end();
    assert_eq!((ran.status, ran.counts()[0]), (Some(1), 1), "{}", ran.err);
    assert!(ran.err.contains("broke") && ran.err.contains("start again"), "{}", ran.err);
}

#[test]
fn a_wrong_call_is_told_and_runs_nothing() {
    let server = Server::start();
    let key = KEY;
    for (options, told) in [
        (&["--key", "fixed", "x"][..], "'--key <PATTERN>': it inserts no field"),
        (&["--key", "a{}", "x"], "names no field"),
        (&[key[0], key[1], key[0], key[1], "x"], "'--key <PATTERN>' cannot be used multiple times"),
        (&[key[0], key[1], "--ttl", "0", "x"], "0 is not in 1..=100000000000"),
        (&[key[0], key[1], "--ttl", "soon", "x"], "'--ttl <SECONDS>'"),
        (&[key[0], key[1], "--foo", "x"], "--foo"),
        (&[key[0], key[1], "x", "y"], "'y'"),
        (&[key[0], key[1], "x", "--", "ls"], "exclude each other"),
    ] {
        let ran = warm(&server, options);
        assert_eq!(ran.status, Some(2), "{options:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{options:?}: {}", ran.err);
    }
    let bad_url = [&["warm", "--url", "nonsense://x"], &key[..], &["x"]].concat();
    Ran::of(bare(&bad_url)).fails_with(2, "--url must be redis[s]://");
    warm(&server, &[&key[..], &["no-such-file"]].concat()).fails_with(2, "no-such-file");
    let help = warm(&server, &["--help"]);
    assert_eq!(help.status, Some(0));
    assert!(help.out.contains("IS CACHED AS IT"), "{}", help.out);
}

/// Products as a table has them.
fn products(number: usize) -> Export {
    let row = |n: usize| {
        let of = n % 10;
        format!(r#"{{"id":{n},"name":"n{n}","page":"<p>{n} é</p>","of":"c{of}"}}"#) + "\n"
    };
    Export::of(&(0..number).map(row).collect::<String>())
}

#[test]
fn a_region_is_filled_with_rows_or_with_a_field_of_them() {
    let server = Server::start();
    let export = products(300);
    let file = export.path();
    let of = ["--region", "products", "--ns", "acme:", "--key", "product:{id}", "--tag", "of:{of}"];
    let more = ["--ttl", "1000", "--grace", "5000", "--label", "json", &file];
    let ran = warm(&server, &[&of[..], &more].concat());
    assert_eq!((ran.status, ran.counts()), (Some(0), [300, 0, 0, 0]), "{}{}", ran.out, ran.err);
    let mut c = server.client();
    let told = c.must("CACHE.GET product:7 products NS acme:");
    let row = r#"{"id":7,"name":"n7","page":"<p>7 é</p>","of":"c7"}"#;
    assert_eq!(told.items()[..3], [bulk("HIT"), bulk(row), bulk("json")]);
    assert!((980_000..=1_000_000).contains(&told.items()[4].int()), "{told:?}");
    assert!((985_000..=1_005_000).contains(&c.must("PTTL product:7").int()));
    assert_eq!(c.invalidate("of:c3"), 30);
    let again = warm(&server, &[&of[..], &["--if-absent", &file]].concat());
    assert_eq!(again.counts(), [30, 270, 0, 0]);

    let pages = |field: &str| {
        warm(&server, &["--region", "pages", "--key", "page:{id}", "--value", field, &file])
    };
    assert_eq!(pages("page").counts(), [300, 0, 0, 0]);
    assert_eq!(c.must("CACHE.GET page:7 pages").items()[1], bulk("<p>7 é</p>"));
    let none = pages("none");
    assert_eq!((none.status, none.counts()), (Some(1), [0, 0, 0, 300]));
    assert!(none.err.contains("line 1: it has no field none"), "{}", none.err);
    assert_exact(&server);
}

#[test]
fn what_is_popular_alone_is_loaded_anew() {
    let server = Server::start();
    let export = products(300);
    let file = export.path();
    let of = ["--region", "products", "--key", "product:{id}", &file];
    let popular = |most: &str| warm(&server, &[&of[..], &["--popular", most]].concat());
    let none = popular("10");
    assert_eq!((none.status, none.counts()), (Some(0), [0, 0, 0, 0]), "{}", none.err);
    assert!(none.err.contains("nothing is popular"), "{}", none.err);
    assert_eq!(warm(&server, &of).counts(), [300, 0, 0, 0]);
    let mut c = server.client();
    for (times, key) in [(5, 4), (9, 17), (20, 203)] {
        (0..times).for_each(|_| drop(c.must(&format!("CACHE.GET product:{key} products"))));
    }
    assert_eq!(c.must("CACHE.CLEAR products"), int(300));
    assert_eq!(popular("2").counts(), [2, 0, 0, 0]);
    let mut is_there =
        |key: i32| c.must(&format!("CACHE.GET product:{key} products")).items()[0] == bulk("HIT");
    assert_eq!([4, 17, 203, 5].map(&mut is_there), [false, true, true, false]);
    Ran::at(&server, "warm", &["--popular", "2", &file]).fails_with(2, "--region");
    Ran::at(&server, "warm", &["--region", "products", &file]).fails_with(2, "--key");
}

#[test]
fn a_region_that_was_cleared_since_the_token_is_refused() {
    let server = Server::start();
    let cli = format!("redis-cli -p {}", server.port);
    let export = products(20);
    let script = format!(
        "{cli} CACHE.CLEAR products >&2; {cli} CACHE.TAGINVAL of:c1 >&2; cat {}",
        export.path()
    );
    let of = |region: &str| {
        let with = ["--region", region, "--key", "{id}", "--tag", "of:{of}"];
        let ran = warm(&server, &[&with[..], &["--", "sh", "-c", &script]].concat());
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
        ran.counts()
    };
    assert_eq!(of("products"), [0, 0, 20, 0]);
    assert_eq!(of("others"), [18, 0, 2, 0]);
}
