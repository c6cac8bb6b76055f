//! The entries and counters that most tests begin with, and what they ask of them.

use super::client::{Client, Reply};
use super::leases::LONG;
use super::server::{Server, DATABASES};

/// The secret of every key that [`Client::fill`] stores.
pub const SECRET: &str = "s3cr3t-0f-the-tests";

/// SHA-256 of [`SECRET`], in hex.
pub const DIGEST: &str = "b7c1f9e1e2c3bd5313bcb6788aa70379084a0113f6cacf465358b863e3fa472b";

/// The smallest record: an active key without scopes.
pub fn record(id: &str, user: &str) -> String {
    format!(r#"{{"id":"{id}","user_id":"{user}","is_active":true}}"#)
}

/// The same with the digest of [`SECRET`] in its field `key_hash`.
pub fn hashed(id: &str, user: &str) -> String {
    format!(r#"{{"id":"{id}","user_id":"{user}","key_hash":"{DIGEST}","is_active":true}}"#)
}

impl Client {
    /// Caches a record under `key`, with [`SECRET`] and these tags, for the default time.
    #[track_caller]
    pub fn fill(&mut self, key: &str, tags: &[&str]) {
        let mut line = format!("APIKEY.SETVAL {key} {} SECRET {SECRET}", record("id", "u1"));
        if !tags.is_empty() {
            line += &format!(" TAGS {} {}", tags.len(), tags.join(" "));
        }
        assert_eq!(self.run(&line), super::ok(), "{line}");
    }

    /// Caches a decision of key `id` of user `u1`, in the words `resource action ALLOW`.
    #[track_caller]
    pub fn decide(&mut self, key: &str, decision: &str, options: &str) {
        let token = self.must(&format!("APIKEY.TOKEN {key}")).text();
        let line = format!("APIKEY.SETSCOPE {key} id u1 {decision} TOKEN {token} {options}");
        assert_eq!(self.cmd(args(&line)), super::ok(), "{line}");
    }

    /// Caches a list of user `u1`.
    #[track_caller]
    pub fn list(&mut self, key: &str, records: &[String], options: &str) {
        let token = self.must(&format!("APIKEY.TOKEN {key}")).text();
        let records = format!("[{}]", records.join(","));
        let mut call = vec!["APIKEY.SETLIST".to_string(), key.into(), "u1".into(), records];
        call.extend(args(&format!("TOKEN {token} {options}")));
        assert_eq!(self.cmd(&call), super::ok(), "{call:?}");
    }

    /// What VALIDATE with [`SECRET`] says of `key`: its code, or the error.
    #[track_caller]
    pub fn code(&mut self, key: &str) -> String {
        code_of(&self.run(&format!("APIKEY.VALIDATE {key} SECRET {SECRET}")))
    }

    /// The codes of several keys.
    #[track_caller]
    pub fn codes<const N: usize>(&mut self, keys: [&str; N]) -> [String; N] {
        keys.map(|key| self.code(key))
    }

    /// How many live entries TAGINVAL says it killed.
    #[track_caller]
    pub fn invalidate(&mut self, tag: &str) -> i64 {
        self.must(&format!("APIKEY.TAGINVAL {tag}")).int()
    }

    /// Counts `by` uses.
    #[track_caller]
    pub fn count(&mut self, key: &str, by: i64) -> i64 {
        self.must(&format!("APIKEY.USAGE.INCR {key} BY {by}")).int()
    }

    /// The pending and the total count of `key`.
    #[track_caller]
    pub fn usage(&mut self, key: &str) -> (i64, i64) {
        let reply = self.must(&format!("APIKEY.USAGE.GET {key}"));
        (reply.get("pending").int(), reply.get("total").int())
    }

    /// Takes all that is pending in this database: keys and counts, sorted.
    #[track_caller]
    pub fn flush_usage(&mut self) -> Vec<(String, i64)> {
        let reply = self.must("APIKEY.USAGE.FLUSH COUNT 1000000");
        let mut all: Vec<(String, i64)> =
            reply.items().chunks_exact(2).map(|pair| (pair[0].text(), pair[1].int())).collect();
        all.sort();
        all
    }

    #[track_caller]
    pub fn select(&mut self, db: usize) {
        self.must(&format!("SELECT {db}"));
    }

    #[track_caller]
    pub fn exists(&mut self, key: &str) -> bool {
        self.must(&format!("EXISTS {key}")).int() == 1
    }
}

/// The code that VALIDATE's reply begins with, or the error that it is.
#[track_caller]
pub fn code_of(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => text.clone(),
        reply => reply.items()[0].text(),
    }
}

/// What APIKEY.CHECK finds wrong in any database.
#[track_caller]
pub fn differences(server: &Server) -> Vec<String> {
    let mut c = server.client();
    let mut all = Vec::new();
    for db in 0..DATABASES {
        c.select(db);
        let check = c.must("APIKEY.CHECK");
        let found = check.get("found").items();
        let number = check.get("differences").int();
        assert_eq!(found.len() as i64, number.min(100), "{check:?}");
        all.extend(found.iter().map(|f| format!("db {db}: {}", f.text())));
    }
    all
}

/// The index equals the keyspace, in every database.
#[track_caller]
pub fn assert_exact(server: &Server) {
    assert_eq!(differences(server), Vec::<String>::new());
}

/// Nothing that arrived by replication, or was loaded from an AOF, got an error as its reply.
#[track_caller]
pub fn assert_nothing_was_refused(server: &Server) {
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("== CRITICAL")).collect();
    assert_eq!(lines, Vec::<&str>::new());
}

/// Fills two databases with every form of entry and counter, all of them alive.
#[track_caller]
pub fn populate(server: &Server) {
    let mut c = server.client();
    let other = "00".repeat(32);
    // 0.1.0 has none.
    let has_ends = c.must("APIKEY.HEALTH").get("version") != &super::bulk("0.1.0");
    let ends = |until: &str| if has_ends { format!("UNTIL {until}") } else { String::new() };
    let (past, coming) = (ends("1000000000000"), ends("4102444800123"));
    c.fill("plain", &["shared", "plain"]);
    for (key, record, options) in [
        (
            "rich",
            r#"{"id":"r","user_id":42,"is_active":true,"name":"Zoë\u0000","key_prefix":"ak_live",
                "scopes":["users:read","orders:*",{"resource":"files","actions":["read"]}],
                "expires_at":"2099-01-01T00:00:00Z","created_at":9007199254740993,"updated_at":null}"#,
            format!("SECRET {SECRET} TAGS 2 shared rich NS acme: EX 5000"),
        ),
        (
            "two",
            &record("two", "u2"),
            format!("DIGEST {other} {past} DIGEST {DIGEST} {coming} PX 4000000"),
        ),
        ("none", &record("none", "u2"), "TAGS 1 shared EXAT 4102444800".into()),
        (
            "off",
            r#"{"id":"off","user_id":"u3","is_active":false}"#,
            format!("DIGEST {DIGEST} PXAT 4102444800123"),
        ),
        (
            "past",
            r#"{"id":"past","user_id":"u3","is_active":true,"expires_at":1000000000000}"#,
            format!("SECRET {SECRET}"),
        ),
    ] {
        // The JSON has spaces of its own.
        let mut args = vec!["APIKEY.SETVAL", key, record];
        args.extend(options.split_whitespace());
        assert_eq!(c.cmd(args), super::ok(), "{key}");
    }
    let record_bytes = record("binary", "u1");
    assert_eq!(
        c.cmd([
            b"APIKEY.SETVAL".as_slice(),
            b"binary\0\xff",
            record_bytes.as_bytes(),
            b"SECRET",
            b"\0\xff\r\n",
            b"TAGS",
            b"2",
            b"\0\r\n\xfe",
            b"shared"
        ]),
        super::ok()
    );
    c.fill("persisted", &["shared"]);
    c.must("PERSIST persisted");
    c.fill("kept", &["gone"]);
    c.must("PERSIST kept");
    c.must(&format!(
        "APIKEY.SETVAL kept {} SECRET {SECRET} TAGS 1 kept KEEPTTL",
        record("kept", "u4")
    ));
    c.decide("decided", "users read ALLOW", "EX 5000 TAGS 1 kinds");
    c.decide("decided", "users write DENY", "PX 4000000 TAGS 1 other");
    c.decide("decided-ns", "files read ALLOW", "EX 5000 TAGS 1 kinds NS acme:");
    let two = [record("a", "u1"), record("b", "u1").replace("true", "false")];
    c.list("listed", &two, "EX 5000 TAGS 1 kinds");
    c.list("no-keys", &[], "EX 5000 TAGS 1 kinds NS acme:");
    c.count("leased", 4);
    // The latest, of all that is pending.
    c.leases(&format!("{LONG} COUNT 1"));
    c.count("pending", 5);
    c.count("settled", 3);
    c.must("APIKEY.USAGE.TAKE settled");
    c.count("both", 7);
    c.must("APIKEY.USAGE.TAKE both");
    c.count("both", i64::MAX - 7);
    c.select(1);
    c.fill("plain", &["shared"]);
    c.count("pending", 1);
}

/// All that a client can learn of what a server holds: one line for each key and question.
///
/// Tokens are left out, since they are a node's own, and so is `last_used_at`.
#[track_caller]
pub fn answers(server: &Server) -> Vec<String> {
    let mut c = server.client();
    let mut lines = Vec::new();
    for db in 0..DATABASES {
        c.select(db);
        let keys = c.must("KEYS *");
        let mut keys: Vec<&[u8]> = keys.items().iter().map(Reply::bytes).collect();
        keys.sort();
        for key in keys {
            let mut say = |what: &str, reply: String| {
                lines.push(format!("{db} {} {what}: {reply}", key.escape_ascii()));
            };
            let kind = c.cmd([b"TYPE".as_slice(), key]).text();
            say("type", kind.clone());
            if super::server::kind() != super::Kind::Redis62 {
                let time = c.cmd([b"PEXPIRETIME".as_slice(), key]);
                say("time", format!("{time:?}"));
            }
            if kind == "apikeyuse" {
                let usage = c.cmd([b"APIKEY.USAGE.GET".as_slice(), key]);
                for name in ["pending", "leased", "total", "first_used_at"] {
                    say(name, format!("{:?}", usage.get(name)));
                }
                continue;
            }
            for request in ["users read", "users write", "files read"] {
                let mut args = vec![b"APIKEY.CHECKSCOPE".as_slice(), key];
                args.extend(request.split(' ').map(str::as_bytes));
                if kind == "apikeyscp" {
                    say(request, code_of(&c.cmd(args)));
                }
            }
            if kind == "apikeylst" {
                let page = c.cmd([b"APIKEY.GETLIST".as_slice(), key]);
                let shown = match code_of(&page).as_str() {
                    "HIT" => format!("{:?}", page.items()[1]),
                    other => other.into(),
                };
                say("list", shown);
            }
            for more in [
                "",
                "SECRET wrong",
                &format!("SECRET {SECRET}"),
                &format!("SECRET {SECRET} SCOPE files:read SCOPE orders:x"),
                &format!("SECRET {SECRET} SCOPE files:write"),
            ] {
                let mut args = vec![b"APIKEY.VALIDATE".as_slice(), key];
                args.extend(more.split(' ').filter(|w| !w.is_empty()).map(str::as_bytes));
                let reply = c.cmd(args);
                let shown = match &reply {
                    Reply::Error(text) => text.clone(),
                    reply if code_of(reply) == "MISS" => "MISS".into(),
                    reply => format!("{:?}", &reply.items()[..2]),
                };
                say(more, shown);
            }
            if let described @ Reply::Map(_) | described @ Reply::Array(_) =
                c.cmd([b"APIKEY.DESCRIBE".as_slice(), key])
            {
                // 0.1.0 has none that ends, and does not tell of it.
                let tells = described.names().iter().any(|name| name == "digests_until");
                let until = tells.then(|| described.get("digests_until"));
                if let Some(until) = until.filter(|until| !until.items().iter().all(is_nil)) {
                    say("digests", format!("{until:?}"));
                }
            }
            let tags = c.cmd([b"APIKEY.TAGS".as_slice(), key]);
            say(
                "tags",
                match tags {
                    Reply::Error(text) => text,
                    tags => {
                        let mut tags: Vec<String> =
                            tags.items().iter().map(|t| format!("{t:?}")).collect();
                        tags.sort();
                        tags.join(" ")
                    }
                },
            );
        }
    }
    lines
}

fn is_nil(reply: &Reply) -> bool {
    matches!(reply, Reply::Nil)
}

/// Whether this build has APIKEY.DEBUG. The default module is a debug build, so there it must.
pub fn has_debug_command(c: &mut Client) -> bool {
    let has = c.must("COMMAND INFO APIKEY.DEBUG") != super::array([super::nil()]);
    assert!(has || std::env::var_os("APIKEY_MODULE").is_some());
    has
}

/// Keeps dead entries from being reclaimed until [`release`], so that a test can stand in the middle.
/// Only debug builds can; the default module is one.
#[track_caller]
pub fn hold(c: &mut Client) -> bool {
    let can = has_debug_command(c);
    if can {
        c.must("APIKEY.DEBUG HOLD yes");
    }
    can
}

/// Ends what [`hold`] began.
#[track_caller]
pub fn release(c: &mut Client) {
    c.must("APIKEY.DEBUG HOLD no");
}

/// How many dead entries wait for reclaim, at most.
#[track_caller]
pub fn backlog(c: &mut Client) -> i64 {
    c.must("APIKEY.HEALTH").get("reclaim_backlog").int()
}

/// Waits until no dead entry is left.
#[track_caller]
pub fn reclaimed(c: &mut Client) {
    super::eventually("all that is dead is reclaimed", || backlog(c) == 0);
}

/// The words of a line, for a call whose other arguments have spaces.
pub fn args(line: &str) -> Vec<String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_string).collect()
}

/// A token that MISS and UNVERIFIED carry: opaque, and never empty.
pub fn is_token(reply: &Reply) -> bool {
    matches!(reply, Reply::Bulk(token) if !token.is_empty())
}

/// Stores a record with these fields beside those that it must have.
#[track_caller]
pub fn store(c: &mut Client, key: &str, fields: &str, options: &str) -> String {
    let record = match fields {
        "" => r#"{"id":"k","user_id":"u","is_active":true}"#.to_string(),
        fields if fields.contains("is_active") => format!(r#"{{"id":"k","user_id":"u",{fields}}}"#),
        fields => format!(r#"{{"id":"k","user_id":"u","is_active":true,{fields}}}"#),
    };
    let mut call = vec!["APIKEY.SETVAL".to_string(), key.into(), record.clone()];
    call.extend(args(options));
    assert_eq!(c.cmd(&call), super::ok(), "{record} {options}");
    record
}
