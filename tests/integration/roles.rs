//! The users of `docs/acl.md`: each is loaded from the page, logs in, does its work, and is refused every command that
//! is not on its list here. So what a category or a word of the page gives by accident fails a test.

use crate::channel;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A user of the page.
pub struct Role {
    name: &'static str,
    /// The commands that it may run; `config` stands for its subcommands too.
    may: &'static [&'static str],
}

const APPLICATION: Role = Role {
    name: "application",
    may: &[
        "apikey.setval",
        "apikey.setabsent",
        "apikey.msetval",
        "apikey.validate",
        "apikey.token",
        "apikey.inval",
        "apikey.taginval",
        "apikey.taginvalnode",
        "apikey.setscope",
        "apikey.checkscope",
        "apikey.setlist",
        "apikey.getlist",
        "apikey.tags",
        "apikey.tagcard",
        "apikey.tagscan",
        "apikey.describe",
        "apikey.admit",
        "apikey.credit",
        "apikey.settle",
        "apikey.limits",
        "apikey.usage.incr",
        "apikey.usageincr",
        "apikey.usage.get",
        "apikey.usageget",
        "ping",
        "client|setname",
        "multi",
        "exec",
        "discard",
        "watch",
        "unwatch",
        "wait",
        "subscribe",
        "unsubscribe",
    ],
};

const CACHE: Role = Role {
    name: "cache",
    may: &[
        "cache.get",
        "cache.mget",
        "cache.set",
        "cache.mset",
        "cache.setabsent",
        "cache.fail",
        "cache.taginval",
        "cache.clear",
        "cache.patinval",
        "cache.stats",
        "cache.top",
        "apikey.token",
        "apikey.inval",
        "apikey.tags",
        "apikey.tagcard",
        "apikey.tagscan",
        "apikey.describe",
        "ping",
        "client|setname",
        "wait",
        "subscribe",
        "unsubscribe",
    ],
};

const CONSUMER: Role = Role {
    name: "consumer",
    may: &[
        "apikey.usage.lease",
        "apikey.usagelease",
        "apikey.usage.ack",
        "apikey.usageack",
        "apikey.usage.nack",
        "apikey.usagenack",
        "ping",
        "client|setname",
        "wait",
    ],
};

const OPERATOR: Role = Role {
    name: "operator",
    may: &[
        "select",
        "apikey.health",
        "apikey.log",
        "apikey.check",
        "apikey.describe",
        "apikey.tags",
        "apikey.tagcard",
        "apikey.tagscan",
        "apikey.usage.get",
        "apikey.limits",
        "apikey.usageget",
        "apikey.inval",
        "apikey.taginval",
        "apikey.taginvalnode",
        "cache.taginval",
        "cache.clear",
        "cache.patinval",
        "cache.region",
        "cache.stats",
        "cache.top",
        "ping",
        "info",
        "dbsize",
        "scan",
        "type",
        "role",
        "wait",
        "config|get",
        "config|set",
        "config|rewrite",
        "client|list",
        "client|setname",
        "slowlog|get",
        "slowlog|len",
        "slowlog|reset",
        "latency|latest",
        "latency|histogram",
        "memory|usage",
        "acl|log",
        "bgsave",
        "bgrewriteaof",
        "lastsave",
        "replicaof",
        "failover",
        "cluster|info",
        "cluster|nodes",
        "cluster|failover",
    ],
};

const MONITORING: Role = Role {
    name: "monitoring",
    may: &[
        "apikey.health",
        "cache.stats",
        "ping",
        "select",
        "info",
        "role",
        "client|setname",
        "slowlog|len",
        "latency|latest",
        "latency|histogram",
        "cluster|info",
        "cluster|nodes",
    ],
};

const BACKUP: Role = Role {
    name: "backup",
    may: &["apikey.health", "ping", "info", "psync", "replconf", "client|setname", "cluster|nodes"],
};

const REPLICA: Role = Role { name: "replica", may: &["ping", "replconf", "psync"] };

const SENTINEL: Role = Role {
    name: "sentinel",
    may: &[
        "ping",
        "info",
        "subscribe",
        "publish",
        "multi",
        "exec",
        "slaveof",
        "config|rewrite",
        "client|setname",
        "client|kill",
        "script|kill",
    ],
};

const GATEWAY: Role = Role {
    name: "gateway",
    may: &["apikey.validate", "apikey.checkscope", "apikey.getlist", "ping", "client|setname"],
};

/// What the page gives beside it in a cluster.
const IN_A_CLUSTER: &[&str] = &[
    "cluster|slots",
    "cluster|shards",
    "cluster|nodes",
    "cluster|info",
    "command",
    "asking",
    "readonly",
    "readwrite",
];

const PEER: Role = Role {
    name: "peer",
    may: &["ping", "publish", "client|setname", "sentinel|is-master-down-by-addr"],
};

const OF_SENTINELS: Role = Role {
    name: "application",
    may: &[
        "ping",
        "client|setname",
        "subscribe",
        "unsubscribe",
        "sentinel|get-master-addr-by-name",
        "sentinel|master",
        "sentinel|masters",
        "sentinel|replicas",
        "sentinel|slaves",
        "sentinel|sentinels",
    ],
};

/// What the server asks no permission for.
const ANYBODY: &[&str] = &["auth", "hello", "quit", "reset"];

/// The blocks of code below a heading of the page, each as its lines.
pub fn blocks(heading: &str) -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/acl.md");
    let page = fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let section = page.split("\n## ").find_map(|section| section.strip_prefix(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let mut blocks = vec![Vec::new()];
    for line in section.lines() {
        match (line.strip_prefix("    "), blocks.last_mut()) {
            (Some(code), Some(block)) => block.push(code.to_string()),
            (None, Some(block)) if !block.is_empty() => blocks.push(Vec::new()),
            _ => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// The name of the user that a line is about.
fn name_of(line: &str) -> Option<&str> {
    line.strip_prefix("user ")?.split(' ').next()
}

fn has_key_permissions() -> bool {
    kind() != Kind::Redis62
}

fn has_category() -> bool {
    !matches!(kind(), Kind::Redis62 | Kind::Redis70)
}

/// The users of the page, as they can be written for this server: by name, and by category where it has that.
pub fn lists() -> Vec<Vec<String>> {
    let blocks = blocks("The users");
    let [named, shorter, from_7_0] = &blocks[..] else { panic!("{blocks:?}") };
    let mut named = named.clone();
    if has_key_permissions() {
        named.extend(from_7_0.iter().cloned());
    }
    if !has_category() {
        return vec![named];
    }
    let instead = |line: &String| {
        let same = shorter.iter().find(|other| name_of(other) == name_of(line));
        same.unwrap_or(line).clone()
    };
    let by_category = named.iter().map(instead).collect();
    vec![named, by_category]
}

/// The password that a list gives a user.
#[track_caller]
fn password<'a>(list: &'a [String], user: &str) -> &'a str {
    let line = list.iter().find(|line| name_of(line) == Some(user));
    let word = line.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix('>')));
    word.unwrap_or_else(|| panic!("{user} has no password: {list:?}"))
}

/// A list of users in a file, as servers load it.
pub struct Users {
    list: Vec<String>,
    dir: TempDir,
}

impl Users {
    pub fn new(list: Vec<String>) -> Self {
        let dir = tempfile::Builder::new().prefix("apikey-acl-").tempdir().expect("a directory");
        let users = Self { list, dir };
        fs::write(users.file(), users.list.join("\n") + "\n").expect("the file");
        users
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("users.acl")
    }

    pub fn password(&self, user: &str) -> &str {
        password(&self.list, user)
    }

    /// A server with these users, that replicates as one of them.
    pub fn on(&self, builder: Builder) -> Builder {
        builder
            .config(&format!("aclfile {}", self.file().display()))
            .config(&format!("masteruser {}", REPLICA.name))
            .config(&format!("masterauth {}", self.password(REPLICA.name)))
            .login("administrator", self.password("administrator"))
    }

    #[track_caller]
    fn client(&self, server: &Server, role: &Role) -> Client {
        logged_in(server, role.name, self.password(role.name))
    }
}

/// A connection of a user.
#[track_caller]
fn logged_in(server: &Server, user: &str, password: &str) -> Client {
    let mut c = server.client();
    c.must(&format!("AUTH {user} {password}"));
    c
}

/// Each list of users with a server that has them.
#[track_caller]
fn servers() -> impl Iterator<Item = (Users, Server)> {
    lists().into_iter().map(Users::new).map(|users| {
        let server = users
            .on(Server::builder())
            .setting("invalidation-channel", "apikey-invalidations")
            .config("appendonly yes")
            .start();
        (users, server)
    })
}

/// Each command of a server with the least number of words that it is called by; of those that have subcommands, these.
#[track_caller]
fn commands(admin: &mut Client) -> BTreeMap<String, usize> {
    fn gather(info: &Reply, all: &mut BTreeMap<String, usize>) {
        let info = info.items();
        match info.get(9).map(Reply::items) {
            Some(subcommands) if !subcommands.is_empty() => {
                subcommands.iter().for_each(|info| gather(info, all));
            }
            _ => {
                let words = usize::try_from(info[1].int().abs()).expect("a number of words");
                all.insert(info[0].text().to_lowercase(), words);
            }
        }
    }
    let mut all = BTreeMap::new();
    admin.must("COMMAND").items().iter().for_each(|info| gather(info, &mut all));
    assert!(all.len() > 10, "{all:?}");
    all
}

/// A call of a command, in as few words as it takes.
fn call(command: &str, words: usize) -> Vec<String> {
    let mut call: Vec<String> = command.split('|').map(String::from).collect();
    call.resize(words.max(call.len()), "x".into());
    call
}

/// Whether a list has a command, or the whole that it is a part of.
fn has(list: &[&str], command: &str) -> bool {
    let whole = command.split('|').next().unwrap_or_default();
    list.contains(&command) || list.contains(&whole)
}

/// A user may run what is on the list, so far as the server has it, and no other command of the server.
#[track_caller]
fn assert_may_only(admin: &mut Client, c: &mut Client, user: &str, may: &[&[&str]]) {
    let all = commands(admin);
    let may_run = |command: &str| may.iter().any(|list| has(list, command));
    for command in may.iter().copied().flatten().filter(|name| name.starts_with("apikey.")) {
        assert!(all.contains_key(*command), "{user}: the server has no {command}");
    }
    let mut is_given = BTreeSet::new();
    for (command, words) in &all {
        let call = call(command, *words);
        if has(ANYBODY, command) {
            continue;
        }
        if !may_run(command) {
            // EXEC says so behind its own code.
            let reply = c.cmd(&call);
            assert!(
                matches!(&reply, Reply::Error(why) if why.contains("NOPERM ")),
                "{user}: {call:?}: {reply:?}"
            );
        }
        if kind() != Kind::Redis62 {
            let dry = ["ACL", "DRYRUN", user].map(String::from);
            let reply = admin.cmd(dry.iter().chain(&call));
            assert!(!reply.is_error(), "{user}: {call:?}: {reply:?}");
            // Else it may be a key or a channel that is refused.
            if !reply.text().contains("has no permissions to run the") {
                is_given.insert(command.clone());
            }
        }
    }
    if kind() != Kind::Redis62 {
        let expected = all.into_keys().filter(|command| may_run(command)).collect();
        assert_eq!(is_given, expected, "{user}");
    }
}

/// Nothing was refused to anybody.
#[track_caller]
pub fn assert_no_denial(server: &Server) {
    assert_eq!(ask(server, "ACL LOG"), array([]));
}

/// What a server replies, though a Sentinel that gives it another role closes its connections.
#[track_caller]
pub fn ask(server: &Server, line: &str) -> Reply {
    let mut reply = None;
    eventually("a reply", || {
        reply = server.try_client().and_then(|mut c| c.try_cmd(line.split(' '))).ok();
        reply.is_some()
    });
    reply.expect("a reply")
}

/// Whether a server says this line in INFO replication.
pub fn says(server: &Server, line: &str) -> bool {
    ask(server, "INFO replication").text().lines().any(|said| said == line)
}

fn assert_refused(reply: &Reply) {
    assert!(matches!(reply, Reply::Error(why) if why.starts_with("NOPERM ")), "{reply:?}");
}

#[test]
fn each_user_of_the_page_is_refused_everything_that_is_not_on_its_list() {
    for (users, server) in servers() {
        let mut admin = server.client();
        let mut roles = vec![
            &APPLICATION,
            &CACHE,
            &CONSUMER,
            &OPERATOR,
            &MONITORING,
            &BACKUP,
            &REPLICA,
            &SENTINEL,
        ];
        if has_key_permissions() {
            roles.push(&GATEWAY);
        }
        for role in &roles {
            let mut c = users.client(&server, role);
            let mut may = vec![role.may];
            if has_category() && users.list.iter().any(|line| line.contains("+@apikey")) {
                may.extend([&["client|setinfo"][..]].iter().filter(|_| role.name == "application"));
            }
            assert_may_only(&mut admin, &mut c, role.name, &may);
            // Nor other keys, tags and channels than its own.
            assert!(c.run("APIKEY.VALIDATE other").is_error());
            assert_refused(&c.run("SUBSCRIBE other"));
            // The operator revokes whatever there is.
            if has_key_permissions() && role.name != OPERATOR.name {
                assert_refused(&c.run("APIKEY.TAGINVAL other"));
                assert_refused(&c.run("APIKEY.TAGCARD other"));
            }
        }
        // Who is on the page is on the list.
        let on_page: BTreeSet<&str> = users.list.iter().filter_map(|line| name_of(line)).collect();
        let on_list = roles.iter().map(|role| role.name).chain(["default", "administrator"]);
        assert_eq!(on_page, on_list.collect());
        let mut nobody = Client::connect(server.port).expect("connect");
        assert!(nobody.run("PING").text().starts_with("NOAUTH "));
        assert_never_crashed(&server);
    }
}

#[track_caller]
fn assert_never_crashed(server: &Server) {
    assert!(!server.log().contains("CRASHED"), "{}", server.log());
}

#[test]
fn the_application_verifies_fills_invalidates_and_counts() {
    for (users, mut server) in servers() {
        let mut c = users.client(&server, &APPLICATION);
        let mut listener = users.client(&server, &APPLICATION);
        listener.must("SUBSCRIBE apikey-invalidations");
        c.must("CLIENT SETNAME app");
        use_as_application(&mut c, "k1");
        assert_eq!(channel::next(&mut listener)["keys"][0], "apikey:{k1}");
        assert_eq!(channel::next(&mut listener)["tags"][0], "apikey:id:k1");
        listener.must("UNSUBSCRIBE apikey-invalidations");
        assert_eq!(c.run("WAIT 0 0"), int(0));
        c.must("WATCH apikey:{k1}");
        c.must("UNWATCH");
        c.must("MULTI");
        c.must("DISCARD");
        c.must("MULTI");
        c.must("APIKEY.USAGE.INCR apikey:{k1}:usage");
        c.must("APIKEY.USAGE.INCR apikey:{k2}:usage");
        c.must("EXEC");
        assert_no_denial(&server);
        assert_exact(&server);
        // The AOF is loaded whole, transactions too, though the default user is off.
        server.restart(Stop::NoSave);
        let mut c = users.client(&server, &APPLICATION);
        assert_eq!(c.usage("apikey:{k1}:usage"), (4, 4));
        assert_eq!(c.usage("apikey:{k2}:usage"), (1, 1));
    }
}

/// What an application does with one API key, whatever the server.
#[track_caller]
fn use_as_application(c: &mut Client, id: &str) {
    let key = format!("apikey:{{{id}}}");
    let validate = format!("APIKEY.VALIDATE {key} DIGEST {DIGEST}");
    let json = record(id, "u");
    let miss = c.must(&validate);
    assert_eq!(code_of(&miss), "MISS");
    let token = miss.items()[1].text();
    assert_eq!(c.run(&format!("APIKEY.SETVAL {key} {json} DIGEST {DIGEST} TOKEN {token}")), ok());
    assert_eq!(code_of(&c.must(&validate)), "VALID");
    c.must("MULTI");
    c.must(&validate);
    c.must(&format!("APIKEY.TAGS {key}"));
    assert_eq!(c.must("EXEC").items().len(), 2);
    c.must(&format!("APIKEY.DESCRIBE {key}"));
    let tag = format!("apikey:id:{id}");
    let found = c.must(&format!("APIKEY.TAGSCAN {tag} 0"));
    assert_eq!(found.items()[1], array([bulk(&key)]));

    let scopes = format!("{key}:scopes");
    let token = c.must(&format!("APIKEY.TOKEN {scopes}")).text();
    let decision = format!("APIKEY.SETSCOPE {scopes} {id} u r a ALLOW TOKEN {token}");
    assert_eq!(c.run(&decision), ok());
    let check = format!("APIKEY.CHECKSCOPE {scopes} r a");
    assert_eq!(code_of(&c.must(&check)), "ALLOW");
    let list = format!("apikey:list:{{{id}}}");
    let token = c.must(&format!("APIKEY.TOKEN {list}")).text();
    assert_eq!(c.run(&format!("APIKEY.SETLIST {list} u [{json}] TOKEN {token}")), ok());
    assert_eq!(code_of(&c.must(&format!("APIKEY.GETLIST {list}"))), "HIT");

    let usage = format!("{key}:usage");
    assert_eq!(c.must(&format!("APIKEY.USAGE.INCR {usage} BY 2")), int(2));
    assert_eq!(c.must(&format!("APIKEY.USAGEINCR {usage}")), int(3));
    assert_eq!(c.usage(&usage), (3, 3));
    c.must(&format!("APIKEY.USAGEGET {usage}"));

    assert_eq!(c.must(&format!("APIKEY.INVAL {key}")), int(1));
    let absent = c.must(&validate).items()[1].text();
    assert_eq!(c.run(&format!("APIKEY.SETABSENT {key} TOKEN {absent}")), ok());
    assert_eq!(code_of(&c.must(&validate)), "ABSENT");
    assert_eq!(c.run(&format!("APIKEY.MSETVAL 1 {key} {json} TOKEN {absent}")), int(1));
    assert_eq!(c.must(&format!("APIKEY.TAGCARD {tag}")), int(2));
    assert_eq!(c.must(&format!("APIKEY.TAGINVAL {tag}")), int(2));
    assert_eq!(c.must(&format!("APIKEY.TAGINVALNODE {tag}")), int(0));
    assert_eq!(code_of(&c.must(&validate)), "MISS");
    assert_eq!(code_of(&c.must(&check)), "MISS");
}

#[test]
fn the_caches_user_reads_stores_and_invalidates_what_regions_have() {
    for (users, server) in servers() {
        let mut c = users.client(&server, &CACHE);
        let token = c.must("CACHE.GET cache:p:{1} products").items()[1].text();
        let set =
            format!("CACHE.SET cache:p:{{1}} products a TOKEN {token} TAGS 1 cache:category:7");
        assert_eq!(c.must(&set), ok());
        assert_eq!(c.must("CACHE.GET cache:p:{1} products").items()[1].text(), "a");
        assert_eq!(c.must("CACHE.TAGINVAL SOFT cache:category:7"), int(1));
        assert_eq!(c.must("CACHE.CLEAR products"), int(0));
        assert_eq!(c.must("CACHE.SET cache:p:{1} products b"), ok());
        assert_eq!(c.must("CACHE.PATINVAL cache:p:*"), int(1));
        assert_eq!(c.must("CACHE.STATS products").get("hits"), &int(1));
        assert_eq!(c.must("CACHE.TOP products").items().len(), 1);
        assert_no_denial(&server);
        // The operator sets what they are.
        assert_refused(&c.run("CACHE.REGION LIST"));
        let mut operator = users.client(&server, &OPERATOR);
        assert_eq!(operator.must("CACHE.REGION SET products TTL 1000"), ok());
        assert_eq!(users.client(&server, &MONITORING).must("CACHE.STATS").items().len(), 1);
        if has_key_permissions() {
            assert_refused(&c.run("CACHE.PATINVAL *"));
            assert_refused(&c.run("CACHE.CLEAR products NS acme:"));
        }
    }
}

#[test]
fn the_consumer_leases_and_settles_what_is_counted() {
    for (users, server) in servers() {
        let mut app = users.client(&server, &APPLICATION);
        let mut c = users.client(&server, &CONSUMER);
        let key = "apikey:{k}:usage";
        app.count(key, 41);
        let batch = c.lease();
        assert_eq!(batch.counts(), [(key.to_string(), 41)]);
        assert_eq!(c.run("WAIT 0 0"), int(0));
        assert_eq!(c.nack(&batch), 1);
        assert_eq!(c.lease(), batch);
        assert_eq!(c.ack(&batch), 1);
        app.count(key, 1);
        let again = batches(&c.must("APIKEY.USAGELEASE 1000 COUNT 5"));
        assert_eq!(c.must(&format!("APIKEY.USAGENACK {}", again[0].id)), int(1));
        assert_eq!(c.must(&format!("APIKEY.USAGEACK {}", again[0].id)), int(1));
        assert_eq!(app.counts(key), (0, 0, 42));
        assert_no_denial(&server);
        // The keys that it was told of it may not ask about.
        assert_refused(&c.run(&format!("APIKEY.USAGE.GET {key}")));
    }
}

#[test]
fn the_operator_looks_after_the_server() {
    for (users, server) in servers() {
        let mut app = users.client(&server, &APPLICATION);
        use_as_application(&mut app, "k1");
        app.fill("apikey:{k2}", &["apikey:mine"]);
        let mut c = users.client(&server, &OPERATOR);
        assert_eq!(c.must("APIKEY.HEALTH").get("records"), &int(1));
        c.must("APIKEY.LOG COUNT 5");
        assert_eq!(c.must("APIKEY.LOG RESET"), ok());
        assert_eq!(c.must("APIKEY.CHECK").get("found"), &array([]));
        assert_eq!(c.must("APIKEY.DESCRIBE apikey:{k2}").get("kind"), &bulk("record"));
        assert_eq!(c.must("APIKEY.TAGS apikey:{k2}").items().len(), 4);
        assert_eq!(c.must("APIKEY.TAGCARD apikey:mine"), int(1));
        c.must("APIKEY.TAGSCAN apikey:mine 0");
        assert_eq!(c.usage("apikey:{k1}:usage"), (3, 3));
        if kind().has_module_config() {
            c.must("CONFIG SET apikey.enabled no");
            assert_eq!(app.code("apikey:{k2}"), "MISS");
            c.must("CONFIG SET apikey.enabled yes");
        }
        assert_eq!(app.code("apikey:{k2}"), "VALID");
        c.must("CONFIG SET maxmemory-policy volatile-ttl");
        let got = c.must("CONFIG GET maxmemory-policy");
        assert_eq!(got.items()[1], bulk("volatile-ttl"));
        c.must("CONFIG REWRITE");
        assert_eq!(c.must("APIKEY.INVAL apikey:{k2}"), int(1));
        app.fill("apikey:{k3}", &[]);
        let all = "apikey:kind:record apikey:kind:absent apikey:kind:scopes apikey:kind:list";
        assert!(c.must(&format!("APIKEY.TAGINVAL {all}")).int() >= 1);
        assert_eq!(app.code("apikey:{k3}"), "MISS");
        for line in [
            "PING",
            "INFO apikey_service",
            "INFO commandstats",
            "DBSIZE",
            "ROLE",
            "WAIT 0 0",
            "CLIENT LIST",
            "CLIENT SETNAME me",
            "SLOWLOG GET 5",
            "SLOWLOG LEN",
            "SLOWLOG RESET",
            "LATENCY LATEST",
            "MEMORY USAGE apikey:{k1}:usage",
            "BGREWRITEAOF",
            "LASTSAVE",
            "REPLICAOF NO ONE",
        ] {
            c.must(line);
        }
        if kind() != Kind::Redis62 {
            c.must("LATENCY HISTOGRAM apikey.validate");
        }
        server.aof_is_rewritten();
        c.must("BGSAVE");
        let refused = c.run("FAILOVER");
        assert!(refused.text().contains("replicas"), "no permission is what it lacks: {refused:?}");
        assert_eq!(c.must("ACL LOG"), array([]));
        for line in ["FLUSHALL", "GET apikey:x", "APIKEY.USAGE.FLUSH", "APIKEY.VALIDATE apikey:x"] {
            assert_refused(&c.run(line));
        }
    }
}

#[test]
fn monitoring_reads_figures_and_no_key() {
    for (users, server) in servers() {
        users.client(&server, &APPLICATION).fill("apikey:{k}", &[]);
        let mut c = users.client(&server, &MONITORING);
        c.must("CLIENT SETNAME watch");
        c.must("PING");
        assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));
        assert_eq!(c.info("apikey_contents", "apikey_records").as_deref(), Some("1"));
        c.must("SLOWLOG LEN");
        c.must("LATENCY LATEST");
        c.must("ROLE");
        if kind() != Kind::Redis62 {
            c.must("LATENCY HISTOGRAM");
        }
        assert_no_denial(&server);
    }
}

#[test]
fn a_gateway_asks_and_changes_nothing() {
    if !has_key_permissions() {
        return;
    }
    for (users, server) in servers() {
        let mut app = users.client(&server, &APPLICATION);
        app.fill("apikey:{k}", &[]);
        let mut c = users.client(&server, &GATEWAY);
        assert_eq!(c.code("apikey:{k}"), "VALID");
        assert_eq!(code_of(&c.must("APIKEY.CHECKSCOPE apikey:{k}:scopes r a")), "MISS");
        assert_eq!(code_of(&c.must("APIKEY.GETLIST apikey:list:{u}")), "MISS");
        assert_no_denial(&server);
        assert_refused(&c.run("APIKEY.TAGINVAL apikey:id:id"));
        assert_eq!(app.code("apikey:{k}"), "VALID");
    }
}

#[test]
fn a_replica_follows_as_the_user_of_replicas() {
    for list in lists() {
        let users = Users::new(list);
        let primary = users.on(Server::builder()).start();
        let mut app = users.client(&primary, &APPLICATION);
        app.fill("apikey:{before}", &[]);
        let replica = users.on(Server::builder()).start();
        replica.replicate(&primary);
        // Each word of the stream.
        use_as_application(&mut app, "k1");
        app.fill("apikey:{k2}", &["apikey:t"]);
        app.count("apikey:{k2}:usage", 5);
        let mut consumer = users.client(&primary, &CONSUMER);
        let batch = consumer.lease();
        app.fill("apikey:{k3}", &[]);
        assert_eq!(consumer.ack(&batch), 2);
        assert_eq!(app.invalidate("apikey:t"), 1);
        replica.in_sync_with(&primary);
        assert_eq!(replica.digest(), primary.digest());
        let mut reader = users.client(&replica, &APPLICATION);
        assert_eq!(
            reader.codes(["apikey:{before}", "apikey:{k2}", "apikey:{k3}"]),
            ["VALID", "MISS", "VALID"]
        );
        // And the other way round, a partial resync.
        replica.promote();
        primary.replicate(&replica);
        reader.fill("apikey:{k4}", &[]);
        primary.in_sync_with(&replica);
        assert_eq!(replica.digest(), primary.digest());
        for server in [&primary, &replica] {
            assert_no_denial(server);
            assert_nothing_was_refused(server);
            assert_exact(server);
        }
    }
}

#[test]
fn in_a_cluster_the_other_nodes_need_not_know_the_user() {
    let more = blocks("In a cluster")[0].join(" ");
    for list in lists() {
        let users = Users::new(list.clone());
        let cluster = Cluster::of(3, 1, |_, builder| users.on(builder));
        let admin = &mut cluster.primaries[0].client();
        for role in [&APPLICATION, &CONSUMER] {
            for node in &cluster.primaries {
                node.client().must(&format!("ACL SETUSER {} {more}", role.name));
            }
            let mut c = users.client(&cluster.primaries[0], role);
            let mut may = vec![role.may, IN_A_CLUSTER];
            if list.iter().any(|line| line.contains("+@apikey")) && role.name == "application" {
                may.push(&["client|setinfo"]);
            }
            assert_may_only(admin, &mut c, role.name, &may);
        }
        // As client libraries do.
        let mut c = users.client(&cluster.primaries[0], &APPLICATION);
        let slots = c.must("CLUSTER SLOTS");
        assert_eq!(slots.items().len(), 3);
        for line in ["CLUSTER NODES", "CLUSTER INFO", "COMMAND", "ASKING", "READONLY", "READWRITE"]
        {
            c.must(line);
        }
        if kind() != Kind::Redis62 {
            c.must("CLUSTER SHARDS");
            c.must("COMMAND DOCS apikey.validate");
        }
        // All of what it does, each key where its slot is.
        for number in 0..20 {
            let key = format!("apikey:{{k{number}}}");
            let slot = cluster::slot(admin, &key);
            let of =
                |range: &&Reply| (range.items()[0].int()..=range.items()[1].int()).contains(&slot);
            let range = slots.items().iter().find(of).expect("an owner");
            let port = range.items()[2].items()[1].int();
            let owner = cluster.primaries.iter().find(|node| i64::from(node.port) == port);
            let mut c = users.client(owner.expect("a primary"), &APPLICATION);
            c.fill(&key, &["apikey:all"]);
            assert_eq!(c.code(&key), "VALID");
            c.count(&format!("{key}:usage"), 1);
        }
        let mut consumers: Vec<Client> =
            cluster.primaries.iter().map(|node| users.client(node, &CONSUMER)).collect();
        let batches: Vec<Batch> = consumers.iter_mut().map(Client::lease).collect();
        // The bus knows no users: only the node that is asked has them.
        for node in &cluster.primaries[1..] {
            let mut admin = node.client();
            admin.must("ACL DELUSER application");
            admin.must("ACL DELUSER consumer");
        }
        assert_eq!(c.must("APIKEY.TAGCARD apikey:all"), int(20));
        assert_eq!(c.must("APIKEY.TAGINVAL apikey:all"), int(20));
        assert_eq!(c.must("APIKEY.TAGCARD apikey:all"), int(0));
        let first = &mut consumers[0];
        let given_back: i64 = batches.iter().map(|batch| first.nack(batch)).sum();
        let settled: i64 = batches.iter().map(|batch| first.ack(batch)).sum();
        assert_eq!((given_back, settled), (20, 20));
        for (node, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
            replicas[0].in_sync_with(node);
            assert_eq!(replicas[0].digest(), node.digest());
            let of_replicas = |log: &Reply| log.get("username") == &bulk(REPLICA.name);
            assert!(!node.client().must("ACL LOG").items().iter().any(of_replicas));
        }
    }
}

/// How long a failover by Sentinels may take: where their votes are divided they try again, and one that the machine has
/// kept waiting for two seconds does nothing for half a minute.
const FAILOVER: Duration = Duration::from_secs(150);

/// Three Sentinels that watch a primary, with the users of the page.
pub fn sentinels(users: &Users, primary: u16, change: impl Fn(Builder) -> Builder) -> Vec<Server> {
    let lines = blocks("Sentinels' own users").concat();
    let start = |_| {
        let mut builder = Server::builder()
            .sentinel()
            .login("administrator", password(&lines, "administrator"))
            .config(&format!("sentinel monitor mymaster 127.0.0.1 {primary} 2"));
        for line in [
            "down-after-milliseconds mymaster 4000",
            "failover-timeout mymaster 6000",
            &format!("auth-user mymaster {}", SENTINEL.name),
            &format!("auth-pass mymaster {}", users.password(SENTINEL.name)),
        ] {
            builder = builder.config(&format!("sentinel {line}"));
        }
        change(lines.iter().fold(builder, |builder, line| builder.config(line))).start()
    };
    (0..3).map(start).collect()
}

/// The password of one of the Sentinels' own users.
pub fn sentinels_password(user: &str) -> String {
    password(&blocks("Sentinels' own users").concat(), user).to_string()
}

/// Waits until each Sentinel knows the others and a replica that is up.
#[track_caller]
pub fn know_each_other(sentinels: &[Server]) {
    for sentinel in sentinels {
        let mut c = sentinel.client();
        eventually_within(FAILOVER, "the Sentinels know each other and the replica", || {
            let watched = c.must("SENTINEL MASTER mymaster");
            let replicas = c.must("SENTINEL REPLICAS mymaster");
            let is_up = |replica: &Reply| replica.get("master-link-status") == &bulk("ok");
            watched.get("num-other-sentinels") == &bulk("2")
                && watched.get("flags") == &bulk("master")
                && replicas.items().len() == 1
                && replicas.items().iter().all(is_up)
                && c.run("SENTINEL CKQUORUM mymaster").text().starts_with("OK ")
        });
    }
}

/// Freezes the primary, which so keeps its port, waits until the Sentinels have made its replica the primary, and, it
/// having come back, it the replica of that.
#[track_caller]
pub fn fails_over(primary: &Server, replica: &Server) {
    primary.freeze();
    eventually_within(FAILOVER, "the replica is promoted", || says(replica, "role:master"));
    primary.wake();
    eventually_within(FAILOVER, "the former primary is made a replica", || {
        says(primary, "role:slave") && says(primary, "master_link_status:up")
    });
    eventually("it has what the new one has", || {
        ask(primary, "DEBUG DIGEST") == ask(replica, "DEBUG DIGEST")
    });
}

#[test]
fn sentinels_fail_over_as_the_users_of_the_page() {
    let users = Users::new(lists().pop().expect("a list"));
    let primary = users.on(Server::builder()).start();
    let replica = users.on(Server::builder()).start();
    replica.replicate(&primary);
    let sentinels = sentinels(&users, primary.port, |builder| builder);
    know_each_other(&sentinels);

    let lines = blocks("Sentinels' own users").concat();
    let address = |sentinel: &Server| {
        let mut c = logged_in(sentinel, OF_SENTINELS.name, password(&lines, OF_SENTINELS.name));
        c.must("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").items()[1].text()
    };
    assert_eq!(address(&sentinels[0]), primary.port.to_string());
    let mut listener =
        logged_in(&sentinels[0], OF_SENTINELS.name, password(&lines, OF_SENTINELS.name));
    listener.must("SUBSCRIBE +switch-master");

    users.client(&primary, &APPLICATION).fill("apikey:{k}", &[]);
    replica.in_sync_with(&primary);
    fails_over(&primary, &replica);
    let Reply::Array(told) = listener.read().expect("a message") else { panic!() };
    assert!(told[2].text().starts_with(&format!("mymaster 127.0.0.1 {} ", primary.port)));
    assert_eq!(users.client(&replica, &APPLICATION).code("apikey:{k}"), "VALID");
    for sentinel in &sentinels {
        eventually("all tell of the new one", || address(sentinel) == replica.port.to_string());
    }
    // They were refused nothing, neither at the servers nor among themselves.
    [&primary, &replica].into_iter().chain(&sentinels).for_each(assert_no_denial);

    let mut admin = sentinels[0].client();
    for role in [&PEER, &OF_SENTINELS] {
        let mut c = logged_in(&sentinels[0], role.name, password(&lines, role.name));
        assert_may_only(&mut admin, &mut c, role.name, &[role.may]);
    }
}

/// deploy/secrets makes the users of a deployment from these files.
#[test]
fn the_files_of_deploy_have_the_users_of_the_page() {
    let lines = |file: &str| -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/redis").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        text.lines().map(str::to_string).collect()
    };
    assert_eq!(lines("users.acl.example"), blocks("The users")[0]);
    let sentinels = lines("sentinel-secrets.conf.example");
    assert!(sentinels.ends_with(&blocks("Sentinels' own users").concat()), "{sentinels:?}");
}
