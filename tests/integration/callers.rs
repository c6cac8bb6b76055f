//! Who calls: a client over its connection, a script, or another module by RM_Call, with whatever flags it
//! gives, from its command or a thread. The server must outlive them all, and only the first has an address.

use crate::acl::no_tag;
use crate::harness::server::kind;
use crate::harness::*;
use crate::log::address;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A module of `caller/`, built against the header that the module's own SDK has.
pub fn built(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(name).or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/integration/caller/{name}.c"));
    // Another run may be building it too: it comes to its place whole.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.so"));
    let partial = built.with_extension(format!("{}.so", std::process::id()));
    let output = Command::new("cc")
        .args(["-Wall", "-Wextra", "-shared", "-fPIC", "-pthread", "-I"])
        .arg(headers())
        .arg("-o")
        .args([&partial, &source])
        .output()
        .expect("cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&partial, &built).expect("rename");
    built
}

/// The directory of redismodule.h.
fn headers() -> PathBuf {
    // For this platform alone, so that no package is asked for that was not needed to build.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let sdk = packages.iter().find(|package| package["name"] == "redis-module").expect("the SDK");
    let manifest = Path::new(sdk["manifest_path"].as_str().expect("a path"));
    let root = manifest.parent().expect("a directory");
    let headers = root.join("src/include");
    assert!(headers.join("redismodule.h").exists(), "{}", headers.display());
    headers
}

/// A server with the module that calls, and refusals to be had.
struct Called {
    server: Server,
    admin: Client,
    /// Of a user `app` who may do all.
    app: Client,
}

/// Validations that are refused, each with its code.
const REFUSED: [(&str, &str); 3] = [
    ("APIKEY.VALIDATE on SECRET wrong", "MISMATCH"),
    ("APIKEY.VALIDATE off", "DISABLED"),
    ("APIKEY.VALIDATE nobody SECRET wrong", "ABSENT"),
];

impl Called {
    #[track_caller]
    fn start() -> Self {
        let module = format!("loadmodule {}", built("caller").display());
        let server = Server::builder().config(&module).start();
        let mut admin = server.client();
        admin.fill("on", &[]);
        store(&mut admin, "off", r#""is_active":false"#, "");
        let token = admin.must("APIKEY.TOKEN nobody").text();
        admin.must(&format!("APIKEY.SETABSENT nobody TOKEN {token}"));
        admin.must("ACL SETUSER app on nopass ~* +@all");
        let mut app = server.client();
        app.must("AUTH app x");
        Self { server, admin, app }
    }

    /// Asked in this way, each refusal is replied, and told in LOG with this client and user.
    #[track_caller]
    fn tells(
        &mut self,
        mut ask: impl FnMut(&mut Client, &str) -> Reply,
        client: Reply,
        user: Reply,
    ) {
        for (line, code) in REFUSED {
            self.admin.must("APIKEY.LOG RESET");
            assert_eq!(ask(&mut self.app, line), array([bulk(code), nil()]), "{line}");
            let log = self.admin.must("APIKEY.LOG");
            let [entry] = log.items() else { panic!("{line}: {log:?}") };
            assert_eq!(entry.get("code"), &bulk(code));
            assert_eq!(entry.get("client"), &client, "{code}");
            assert_eq!(entry.get("username"), &user, "{code}");
            assert_eq!(self.app.run("PING"), simple("PONG"));
            assert!(self.server.is_alive());
        }
    }
}

/// The line as an argument of the other module's command, with these flags of RM_Call.
fn by(command: &str, flags: &str, line: &str) -> String {
    format!("CALLER.{command} {flags} {line}")
}

/// What the line replies inside MULTI.
#[track_caller]
fn in_multi(c: &mut Client, line: &str) -> Reply {
    c.must("MULTI");
    c.must(line);
    let replies = c.must("EXEC");
    let [reply] = replies.items() else { panic!("{replies:?}") };
    reply.clone()
}

/// The line as a script runs it.
fn scripted(line: &str) -> String {
    format!("EVAL return(redis.call(unpack(ARGV))) 0 {line}")
}

/// Whether RM_Call has a flag there.
fn has_flag(flag: char) -> bool {
    match flag {
        'C' => kind() != Kind::Redis62,
        'K' => matches!(kind(), Kind::Redis82 | Kind::Valkey91),
        _ => true,
    }
}

/// RM_Call refuses what it does not know.
#[track_caller]
fn is_unknown(c: &mut Client, flags: &str) -> bool {
    let reply = c.run(&by("CALL", flags, "APIKEY.VALIDATE on SECRET wrong"));
    reply.text().starts_with("ERR not called: ")
}

fn app() -> Reply {
    bulk("app")
}

#[test]
fn a_client_is_known_by_its_address_also_in_a_transaction() {
    let mut called = Called::start();
    let here = bulk(address(&mut called.app));
    called.tells(|c, line| c.run(line), here.clone(), app());
    called.tells(in_multi, here, app());
}

#[test]
fn a_script_has_no_address_and_its_callers_name() {
    let mut called = Called::start();
    // 6.2 does not tell who runs it.
    let user = if kind() == Kind::Redis62 { nil() } else { app() };
    called.tells(|c, line| c.run(&scripted(line)), nil(), user.clone());
    called.tells(|c, line| in_multi(c, &scripted(line)), nil(), user);
}

#[test]
fn another_module_in_its_own_name_has_neither_address_nor_user() {
    let mut called = Called::start();
    for flags in ["-", "!"] {
        called.tells(|c, line| c.run(&by("CALL", flags, line)), nil(), nil());
    }
}

#[test]
fn another_module_in_a_transaction_has_no_address_either() {
    let mut called = Called::start();
    called.tells(|c, line| in_multi(c, &by("CALL", "-", line)), nil(), nil());
}

#[test]
fn another_module_in_a_script_has_neither_though_the_script_has_a_user() {
    let mut called = Called::start();
    called.tells(|c, line| c.run(&scripted(&by("CALL", "-", line))), nil(), nil());
    called.tells(|c, line| in_multi(c, &scripted(&by("CALL", "-", line))), nil(), nil());
}

#[test]
fn another_modules_thread_has_neither() {
    let mut called = Called::start();
    called.tells(|c, line| c.run(&by("THREAD", "-", line)), nil(), nil());
}

#[test]
fn another_module_that_may_wait_is_no_connection() {
    let mut called = Called::start();
    if !has_flag('K') {
        assert!(is_unknown(&mut called.app, "K"));
        return;
    }
    called.tells(|c, line| c.run(&by("CALL", "K", line)), nil(), nil());
    called.tells(|c, line| c.run(&by("THREAD", "K", line)), nil(), nil());
    called.tells(|c, line| in_multi(c, &by("CALL", "K", line)), nil(), nil());
    called.tells(|c, line| c.run(&scripted(&by("CALL", "K", line))), nil(), nil());
    called.tells(|c, line| c.run(&by("CALL", "KC", line)), nil(), app());
    called.tells(|c, line| in_multi(c, &by("CALL", "KC", line)), nil(), app());
}

#[test]
fn another_module_in_its_users_name_has_that_and_no_address() {
    let mut called = Called::start();
    if !has_flag('C') {
        assert!(is_unknown(&mut called.app, "C"));
        return;
    }
    called.tells(|c, line| c.run(&by("CALL", "C", line)), nil(), app());
    called.tells(|c, line| in_multi(c, &by("CALL", "C", line)), nil(), app());
    called.tells(|c, line| c.run(&scripted(&by("CALL", "C", line))), nil(), app());
}

#[test]
fn a_script_that_another_module_runs_is_that_modules() {
    let mut called = Called::start();
    called.tells(|c, line| c.run(&by("CALL", "-", &scripted(line))), nil(), nil());
    called.tells(|c, line| in_multi(c, &by("CALL", "-", &scripted(line))), nil(), nil());
    called.tells(|c, line| c.run(&by("THREAD", "-", &scripted(line))), nil(), nil());
    if has_flag('C') {
        called.tells(|c, line| c.run(&by("CALL", "C", &scripted(line))), nil(), app());
        called.tells(|c, line| in_multi(c, &by("CALL", "C", &scripted(line))), nil(), app());
    }
    if has_flag('K') {
        called.tells(|c, line| c.run(&by("CALL", "K", &scripted(line))), nil(), nil());
    }
}

/// Calls of another module, each with the user who makes it.
fn module_calls() -> Vec<(&'static str, Reply)> {
    let all = [("-", nil()), ("C", app()), ("K", nil()), ("KC", app())];
    all.into_iter().filter(|(flags, _)| flags.chars().all(has_flag)).collect()
}

// The client of a thread's context is used again for calls, and keeps the id of whom the thread worked for.

#[test]
fn whom_another_modules_thread_has_worked_for_is_not_taken_for_who_calls_next() {
    let mut called = Called::start();
    let mut other = called.server.client();
    let mut after = |c: &mut Client, line: &str| {
        other.must("CALLER.THREAD - PING");
        c.run(line)
    };
    for (flags, user) in module_calls() {
        let by = |line: &str| by("CALL", flags, line);
        called.tells(|c, line| after(c, &by(line)), nil(), user.clone());
        called.tells(|c, line| after(c, &by(&scripted(line))), nil(), user.clone());
        called.tells(|c, line| after(c, &scripted(&by(line))), nil(), user);
    }
    called.tells(|c, line| after(c, &by("THREAD", "-", line)), nil(), nil());
}

#[test]
fn nor_is_it_in_a_transaction() {
    let mut called = Called::start();
    let mut other = called.server.client();
    for (flags, user) in module_calls() {
        let mut after = |c: &mut Client, line: &str| {
            other.must("CALLER.THREAD - PING");
            in_multi(c, &by("CALL", flags, line))
        };
        called.tells(&mut after, nil(), user.clone());
        // The client that calls is the one that the thread has worked for.
        let after = |c: &mut Client, line: &str| {
            c.must("CALLER.THREAD - PING");
            in_multi(c, &by("CALL", flags, line))
        };
        called.tells(after, nil(), user);
    }
}

#[test]
fn whom_another_modules_thread_has_worked_for_lends_its_permissions_to_nobody() {
    let Called { server, mut admin, mut app } = Called::start();
    admin.fill("k", &["theirs"]);
    app.must("ACL SETUSER app resetkeys ~mine:*");
    // The administrator may; the user whose name is given may not.
    if has_flag('C') {
        for _ in 0..2 {
            admin.must("CALLER.THREAD - PING");
            assert_eq!(app.run(&by("CALL", "C", "APIKEY.TAGINVAL theirs")), no_tag(1));
        }
    }
    // The user may not; the module in its own name may.
    app.must("CALLER.THREAD - PING");
    assert_eq!(admin.run(&by("CALL", "-", "APIKEY.TAGINVAL theirs")), int(1));
    assert_exact(&server);
}

#[test]
fn so_is_a_fill_that_carries_one_where_fills_are_checked() {
    if kind() == Kind::Redis62 {
        return;
    }
    let Called { server, mut admin, mut app } = Called::start();
    admin.must("CONFIG SET apikey.check-fill-tags yes");
    app.must("ACL SETUSER app resetkeys ~mine:*");
    let store = format!("APIKEY.SETVAL mine:k {}", record("id", "u"));
    let refused = app.run(&by("CALL", "C", &store)).text();
    assert!(refused.starts_with("NOPERM No permissions to store tag 1: "), "{refused}");
    assert!(!admin.exists("mine:k"));
    assert_eq!(app.run(&by("CALL", "-", &store)), ok());
    assert_eq!(app.run(&scripted(&by("CALL", "-", &store))), ok());
    assert_eq!(app.run(&by("THREAD", "-", &store)), ok());
    assert_exact(&server);
}

#[test]
fn a_tag_is_refused_to_a_module_in_its_users_name_and_not_in_its_own() {
    let mut called = Called::start();
    let Called { admin, app, .. } = &mut called;
    let mut fill = || admin.fill("k", &["theirs", "mine:t"]);
    fill();
    app.must("ACL SETUSER app resetkeys ~mine:*");
    let taginval = "APIKEY.TAGINVAL theirs";
    if has_flag('C') {
        let as_user = by("CALL", "C", taginval);
        assert_eq!(app.run(&as_user), no_tag(1));
        assert_eq!(in_multi(app, &as_user), no_tag(1));
        let in_script = format!("EVAL return(redis.pcall(unpack(ARGV))) 0 {as_user}");
        assert_eq!(app.run(&in_script), no_tag(1));
        assert_eq!(app.run(&by("CALL", "C", "APIKEY.TAGINVAL mine:t")), int(1));
        fill();
    }
    assert_eq!(app.run(&by("CALL", "-", taginval)), int(1));
    fill();
    assert_eq!(in_multi(app, &by("CALL", "-", taginval)), int(1));
    fill();
    assert_eq!(app.run(&scripted(&by("CALL", "-", taginval))), int(1));
    fill();
    assert_eq!(app.run(&by("THREAD", "-", taginval)), int(1));
    assert_exact(&called.server);
}
