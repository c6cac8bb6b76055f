//! A reference model of what a client can see, and a generator that drives a server and the model with
//! the same commands: the module's own and generic ones, over few keys, tags and databases, so that
//! they meet often. Every reply is compared at once.
//!
//! The model knows no time: nothing expires while it runs, and no limit gets anything back. A dead entry goes when the server likes: where
//! that shows in a reply, the server is asked in the same transaction whether the key is still there.
//! [`Reclaim`] says what a run does of it. A fill under a token that has just been given
//! must be stored, one that began before something happened to its key or a tag must not; of the others
//! (names may share a slot) the server's answer holds.

mod account;
mod limits;

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::*;
use account::Account;
use apikey_engine::usage::id::Id;
use limits::{Card, Verdict};

const KEYS: [&str; 8] = ["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"];
const TAGS: [&str; 5] = ["t1", "t2", "t3", "t4", "t5"];
const ACTIONS: [&str; 3] = ["a1", "a2", "a3"];
const USERS: [&str; 3] = ["u1", "u2", "u3"];
/// What a field of a record says that makes a tag; null makes none.
const ORGS: [&str; 3] = ["null", "1", "2"];
const DBS: usize = 3;
/// Regions, and what makes each of its namespace.
const REGIONS: [Region; 3] =
    [Region { ns: "", name: "r1" }, Region { ns: "n:", name: "r1" }, Region { ns: "", name: "r2" }];
const PATTERNS: [&str; 5] = ["*", "k[1-4]", "k?", "k2", "x*"];

#[derive(Clone, Copy, Debug, PartialEq)]
struct Region {
    ns: &'static str,
    name: &'static str,
}

impl Region {
    fn tag(self) -> String {
        format!("{}cache:region:{}", self.ns, self.name)
    }

    /// The words that name it in a call, behind all others.
    fn option(self) -> String {
        match self.ns {
            "" => String::new(),
            ns => format!(" NS {ns}"),
        }
    }
}

/// A value of a region's.
#[derive(Clone, Debug, PartialEq)]
struct Cached {
    region: Region,
    /// `None`: the source has no such thing.
    value: Option<String>,
    label: Option<String>,
    has_grace: bool,
    is_stale: bool,
}

/// What CACHE.GET says of a key.
#[derive(Clone, Debug, PartialEq)]
enum Sight {
    Hit(String, Option<String>),
    Stale(String, Option<String>),
    Absent,
    Miss,
    WrongType,
}

impl Sight {
    /// What stands in a reply, whose times are plausible.
    fn of(reply: &Reply) -> Option<Self> {
        if *reply == error(WRONGTYPE) {
            return Some(Self::WrongType);
        }
        let items = reply.items();
        let label = |reply: &Reply| (*reply != nil()).then(|| reply.text());
        let is_time = |reply: &Reply| (0..4_000_000).contains(&reply.int());
        match (items[0].text().as_str(), items) {
            ("HIT", [_, value, of, age, left]) if is_time(age) && is_time(left) => {
                Some(Self::Hit(value.text(), label(of)))
            }
            ("STALE", [_, value, of, age, token])
                if is_time(age) && (*token == nil() || is_token(token)) =>
            {
                Some(Self::Stale(value.text(), label(of)))
            }
            ("ABSENT", [_, value]) if *value == nil() => Some(Self::Absent),
            ("MISS", [_, token]) if is_token(token) => Some(Self::Miss),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text,
    /// An entry with all its tags; dead ones are there and answer MISS.
    Entry {
        what: What,
        tags: BTreeSet<String>,
        live: bool,
    },
    Usage {
        pending: i64,
        total: i64,
        leases: Vec<Lease>,
        account: Account,
    },
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq)]
enum What {
    Record(Card),
    /// By action, what was decided of one resource.
    Scopes(BTreeMap<String, String>),
    /// How many records.
    List(i64),
    Cached(Cached),
}

impl What {
    /// Its kind in DESCRIBE.
    fn name(&self) -> &str {
        match self {
            What::Record(_) => "record",
            What::Scopes(_) => "scopes",
            What::List(_) => "list",
            What::Cached(_) => "cache",
        }
    }

    /// Its data type.
    fn kind(&self) -> &str {
        match self {
            What::Record(_) => "apikeyrec",
            What::Scopes(_) => "apikeyscp",
            What::List(_) => "apikeylst",
            What::Cached(_) => "cache-val",
        }
    }
}

/// What a command finds that stores an entry.
enum Found {
    /// Nothing, or an entry of its kind that is dead.
    Nothing,
    /// A live entry of its kind.
    Live(What, BTreeSet<String>),
    Other,
    /// A dead entry of another kind, which may be gone at any time.
    Open,
}

impl Value {
    fn found(here: Option<Value>, kind: &str) -> Found {
        match here {
            None => Found::Nothing,
            Some(Value::Entry { what, tags, live }) => match (what.kind() == kind, live) {
                (true, false) => Found::Nothing,
                (true, true) => Found::Live(what, tags),
                (false, true) => Found::Other,
                (false, false) => Found::Open,
            },
            Some(Value::Text | Value::Usage { .. }) => Found::Other,
        }
    }

    fn is_dead(&self) -> bool {
        matches!(self, Value::Entry { live: false, .. })
    }

    /// Is invalidated softly: a record is dead by that.
    fn soften(&mut self) {
        match self {
            Value::Entry {
                what: What::Cached(Cached { is_stale, has_grace: true, .. }), ..
            } => {
                *is_stale = true;
            }
            _ => self.die(),
        }
    }

    /// What CACHE.GET finds of a region.
    fn sight(&self, region: Region) -> Sight {
        let Value::Entry { what: What::Cached(cached), live, .. } = self else {
            return Sight::WrongType;
        };
        match &cached.value {
            _ if !live || cached.region != region => Sight::Miss,
            None => Sight::Absent,
            Some(value) if cached.is_stale => Sight::Stale(value.clone(), cached.label.clone()),
            Some(value) => Sight::Hit(value.clone(), cached.label.clone()),
        }
    }

    /// Whether it is of a region, or of any, dead or not.
    fn is_cached(&self, of: Option<Region>) -> bool {
        let Value::Entry { what: What::Cached(cached), .. } = self else { return false };
        of.is_none_or(|region| region == cached.region)
    }

    fn die(&mut self) {
        if let Value::Entry { live, .. } = self {
            *live = false;
        }
    }
}

/// What a counter has in a batch.
#[derive(Clone, Debug, PartialEq)]
struct Lease {
    batch: String,
    line: String,
    count: i64,
    /// Whether the batch was given back. All its lines in one database agree.
    due: bool,
}

/// Whether a name fits one of [`PATTERNS`].
fn fits(pattern: &str, key: &str) -> bool {
    match pattern {
        "*" | "k?" => true,
        "k[1-4]" => ("k1"..="k4").contains(&key),
        exact => exact == key,
    }
}

/// The keys whose entries carry a tag: the living, the dead.
fn carriers(db: &Db, tag: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let carries = |value: &Value| matches!(value, Value::Entry { tags, .. } if tags.contains(tag));
    let (dead, live): (Vec<_>, Vec<_>) =
        db.iter().filter(|(_, v)| carries(v)).partition(|(_, v)| v.is_dead());
    let keys = |some: Vec<(&String, &Value)>| some.into_iter().map(|(k, _)| k.clone()).collect();
    (keys(live), keys(dead))
}

/// A counter that has counted nothing.
fn no_counts() -> Value {
    Value::Usage { pending: 0, total: 0, leases: Vec::new(), account: Account::default() }
}

type Db = BTreeMap<String, Value>;

/// What becomes of dead entries in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reclaim {
    /// Keys that TAGINVAL removes at once.
    sync: usize,
    /// Whether the rest stays until the end of the run. Only debug builds can.
    held: bool,
}

impl Reclaim {
    pub const ALL: [Self; 5] = [
        Self { sync: 256, held: true },
        Self { sync: 0, held: true },
        Self { sync: 0, held: false },
        Self { sync: 2, held: true },
        Self { sync: 256, held: false },
    ];

    /// A server for such a run.
    pub fn builder(self) -> Builder {
        Server::builder()
            .setting("sync-reclaim", &self.sync.to_string())
            .setting("digest-field", "key_hash")
            .setting("tag-fields", "org")
            .setting("request-id-window-ms", "86400000")
            .setting("max-request-ids", &account::MAX_REQUESTS.to_string())
    }
}

/// A record with the field of an organisation.
fn of_org(record: String, org: &str) -> String {
    record.replace('}', &format!(",\"org\":{org}}}"))
}

/// The tag that it makes.
fn org_tag(org: &str) -> Option<String> {
    (org != "null").then(|| format!("apikey:org:{org}"))
}

const WRONGTYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// A live entry, with the tags that the server says it has.
#[track_caller]
fn entry(client: &mut Client, key: &str, what: What) -> Value {
    let tags = client.must(&format!("APIKEY.TAGS {key}"));
    Value::Entry { what, tags: tags.items().iter().map(Reply::text).collect(), live: true }
}

/// Every live entry has tags of its own.
#[track_caller]
fn has_no_tags(client: &mut Client, key: &str) -> bool {
    client.must(&format!("APIKEY.TAGS {key}")) == array([])
}

/// A dead entry: what it holds is not shown, nor its tags, so those that are expected will do.
fn dead_as(expected: Option<&Value>, kind: &str) -> Value {
    match expected {
        Some(Value::Entry { what, tags, .. }) if what.kind() == kind => {
            Value::Entry { what: what.clone(), tags: tags.clone(), live: false }
        }
        _ => {
            let what = What::Record(Card::default());
            Value::Entry { what, tags: BTreeSet::new(), live: false }
        }
    }
}

/// A live value of a region's, as the server tells it; whether it has a grace it does not.
#[track_caller]
fn cached(client: &mut Client, key: &str, expected: Option<&Value>) -> Value {
    let has_grace = matches!(
        expected,
        Some(Value::Entry { what: What::Cached(Cached { has_grace: true, .. }), .. })
    );
    for region in REGIONS {
        let line = format!("CACHE.GET {key} {}{}", region.name, region.option());
        let (value, label, is_stale) = match Sight::of(&client.must(&line)) {
            Some(Sight::Hit(value, label)) => (Some(value), label, false),
            Some(Sight::Stale(value, label)) => (Some(value), label, true),
            Some(Sight::Absent) => (None, None, false),
            _ => continue,
        };
        let what = What::Cached(Cached { region, value, label, has_grace, is_stale });
        return entry(client, key, what);
    }
    panic!("{key} is of no region");
}

/// What CHECKSCOPE says of each action, where it was decided.
#[track_caller]
fn decisions(client: &mut Client, key: &str) -> BTreeMap<String, String> {
    let code = |action: &str| code_of(&client.must(&format!("APIKEY.CHECKSCOPE {key} r {action}")));
    let codes = ACTIONS.map(code);
    let all = ACTIONS.iter().zip(codes).filter(|(_, code)| code != "MISS");
    all.map(|(action, code)| (action.to_string(), code)).collect()
}

/// A server and what it must hold.
pub struct Model {
    client: Client,
    dbs: Vec<Db>,
    db: usize,
    /// Between MULTI and EXEC: the lines that were queued and what they must reply.
    queued: Option<Vec<(String, Expected)>>,
    rng: Rng,
    history: Vec<String>,
    /// What takes a number counts here; when a key or a tag was last touched, in any database, and when
    /// the last flush was.
    now: usize,
    touched: BTreeMap<String, usize>,
    flushed: usize,
    /// Patterns that were invalidated, of which region, and when.
    patterns: Vec<(&'static str, Option<Region>, usize)>,
    /// Tokens, and when they were given.
    tokens: Vec<(String, usize)>,
    /// Batches that were given out, and all ids of batches and lines.
    batches: Vec<String>,
    ids: BTreeSet<String>,
    /// Ids of requests so far.
    requests: usize,
    pub with_reload: bool,
    reclaim: Reclaim,
    /// A line that was sent with the question what is still there, and its reply.
    said: Option<(String, Reply)>,
}

/// What a command must reply.
#[derive(Clone, Debug)]
enum Expected {
    Is(Reply),
    /// A number from here to there.
    Between(usize, usize),
    /// Key and count, in any order.
    Counts(BTreeMap<String, i64>),
    /// All that a scan finds, in one call, in any order.
    Found(BTreeSet<String>),
    Sees(Sight),
    SeesAll(Vec<Sight>),
    Admission(Verdict),
}

impl Model {
    #[track_caller]
    pub fn new(server: &Server, rng: Rng, mut reclaim: Reclaim) -> Self {
        let mut client = server.client();
        reclaim.held = reclaim.held && hold(&mut client);
        Self {
            client,
            dbs: vec![Db::new(); DBS],
            db: 0,
            queued: None,
            rng,
            history: Vec::new(),
            now: 0,
            touched: BTreeMap::new(),
            patterns: Vec::new(),
            flushed: 0,
            tokens: Vec::new(),
            batches: Vec::new(),
            ids: BTreeSet::new(),
            requests: 0,
            with_reload: false,
            reclaim,
            said: None,
        }
    }

    /// Runs this many random commands and compares each reply.
    #[track_caller]
    pub fn steps(&mut self, number: usize) {
        for _ in 0..number {
            self.step();
        }
        self.end_transaction();
    }

    /// Waits until nothing more goes by itself.
    #[track_caller]
    pub fn settle(&mut self) {
        if !self.reclaim.held {
            reclaimed(&mut self.client);
        }
    }

    /// Lets all that is dead go.
    #[track_caller]
    pub fn end(&mut self) {
        if self.reclaim.held {
            release(&mut self.client);
            self.reclaim.held = false;
        }
        self.settle();
        self.dbs.iter_mut().for_each(|db| db.retain(|_, value| !value.is_dead()));
    }

    /// As [`Model::compare`], of a server that may have reclaimed what is dead.
    #[track_caller]
    pub fn compare_the_living(&mut self, client: &mut Client) {
        let held = std::mem::take(&mut self.reclaim.held);
        self.compare(client);
        self.reclaim.held = held;
    }

    /// Asks the server for all that the model knows.
    #[track_caller]
    pub fn compare(&mut self, client: &mut Client) {
        for (db, expected) in self.dbs.iter().enumerate() {
            client.select(db);
            for key in KEYS {
                let may_go = !self.reclaim.held && expected.get(key).is_some_and(Value::is_dead);
                let got = match client.code(key).as_str() {
                    code @ ("VALID" | "DISABLED") => {
                        let card = limits::card(client, key, code, expected.get(key));
                        Some(entry(client, key, What::Record(card)))
                    }
                    "MISS" if !client.exists(key) => None,
                    "MISS" => Some(dead_as(expected.get(key), "apikeyrec")),
                    // By the next question it may be gone.
                    WRONGTYPE if may_go => expected.get(key).cloned(),
                    WRONGTYPE => match client.must(&format!("TYPE {key}")).text().as_str() {
                        "string" => Some(Value::Text),
                        kind @ ("apikeyscp" | "apikeylst" | "cache-val")
                            if has_no_tags(client, key) =>
                        {
                            Some(dead_as(expected.get(key), kind))
                        }
                        "cache-val" => Some(cached(client, key, expected.get(key))),
                        "apikeyscp" => {
                            let decisions = decisions(client, key);
                            Some(entry(client, key, What::Scopes(decisions)))
                        }
                        "apikeylst" => {
                            let page = client.must(&format!("APIKEY.GETLIST {key}"));
                            let number = page.items()[1].items()[0].int();
                            Some(entry(client, key, What::List(number)))
                        }
                        _ => {
                            let (pending, leased, total) = client.counts(key);
                            // Which lines they are is seen when they come again.
                            let (leases, account) = match expected.get(key) {
                                Some(Value::Usage { leases, account, .. })
                                    if leases.iter().map(|l| l.count).sum::<i64>() == leased =>
                                {
                                    (leases.clone(), account.clone())
                                }
                                other => panic!("{key}: {leased} are leased of {other:?}"),
                            };
                            limits::compare(client, key, &account, &self.tail());
                            Some(Value::Usage { pending, total, leases, account })
                        }
                    },
                    other => panic!("{key}: {other}"),
                };
                let expected = expected.get(key);
                let may_be_gone = !self.reclaim.held && expected.is_some_and(Value::is_dead);
                if !(may_be_gone && got.is_none()) {
                    assert_eq!(got.as_ref(), expected, "{key} in db {db}, after {}", self.tail());
                    self.compare_description(client, key, expected);
                }
            }
            let orgs = ORGS.iter().filter_map(|org| org_tag(org));
            let of_regions = REGIONS.into_iter().map(Region::tag);
            let more: Vec<String> = orgs.chain(of_regions).collect();
            for tag in TAGS.into_iter().chain(more.iter().map(String::as_str)) {
                self.compare_tag(client, tag, expected);
            }
        }
    }

    #[track_caller]
    fn compare_description(&self, client: &mut Client, key: &str, expected: Option<&Value>) {
        let got = client.run(&format!("APIKEY.DESCRIBE {key}"));
        match expected {
            None => assert_eq!(got, nil(), "{key}"),
            Some(Value::Text) => assert_eq!(got, error(WRONGTYPE), "{key}"),
            Some(Value::Usage { .. }) => assert_eq!(got.get("kind"), &bulk("usage"), "{key}"),
            Some(Value::Entry { live: false, .. }) if !self.reclaim.held && got == nil() => {}
            Some(Value::Entry { what, tags, live }) => {
                assert_eq!(got.get("kind"), &bulk(what.name()), "{key}");
                assert_eq!(got.get("live"), &int((*live).into()), "{key}");
                let digests = int(matches!(what, What::Record(_)).into());
                assert_eq!(got.get("digests"), &digests, "{key}");
                let got: BTreeSet<String> =
                    got.get("tags").items().iter().map(Reply::text).collect();
                assert_eq!(&got, tags, "{key}");
            }
        }
    }

    /// Scans a tag in small steps.
    #[track_caller]
    fn compare_tag(&self, client: &mut Client, tag: &str, db: &Db) {
        let (live, dead) = carriers(db, tag);
        let card = client.must(&format!("APIKEY.TAGCARD {tag}"));
        self.judge(tag, &card, &Expected::Between(live.len(), live.len() + dead.len()));
        let mut found: Vec<String> = Vec::new();
        let mut cursor = "0".to_string();
        loop {
            let reply = client.must(&format!("APIKEY.TAGSCAN {tag} {cursor} COUNT 2"));
            found.extend(reply.items()[1].items().iter().map(Reply::text));
            cursor = reply.items()[0].text();
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        // Where the dead are going meanwhile, one of the living may be met again.
        if !self.reclaim.held && !dead.is_empty() {
            found.dedup();
        }
        assert_eq!(found, live.into_iter().collect::<Vec<_>>(), "{tag}, after {}", self.tail());
    }

    /// The latest commands, for the message of a failed assertion.
    fn tail(&self) -> String {
        let from = self.history.len().saturating_sub(40);
        format!("..\n{}", self.history[from..].join("\n"))
    }

    fn key(&mut self) -> String {
        self.rng.pick(&KEYS).to_string()
    }

    /// Sends a line and compares its reply, now or, in a transaction, at EXEC.
    #[track_caller]
    fn say(&mut self, line: String, expected: Expected) {
        self.history.push(format!("[{}] {line}", self.db));
        let reply = match self.said.take() {
            Some((said, reply)) if said == line => reply,
            Some((said, _)) => panic!("{said}, and not {line}"),
            None => self.client.run(&line),
        };
        match &mut self.queued {
            Some(queued) => {
                assert_eq!(reply, simple("QUEUED"), "{line}");
                queued.push((line, expected));
            }
            None => self.judge(&line, &reply, &expected),
        }
    }

    #[track_caller]
    fn judge(&self, line: &str, reply: &Reply, expected: &Expected) {
        match expected {
            Expected::Is(value) => {
                assert_eq!(reply, value, "{line}, after {}", self.tail());
            }
            Expected::Between(least, most) => {
                let number = reply.int();
                let between = *least as i64 <= number && number <= *most as i64;
                assert!(between, "{line}: {number}, not {least} to {most}, after {}", self.tail());
            }
            Expected::Found(keys) => {
                let [cursor, got] = reply.items() else { panic!("{line}: {reply:?}") };
                let mut got: Vec<String> = got.items().iter().map(Reply::text).collect();
                got.sort();
                let keys: Vec<String> = keys.iter().cloned().collect();
                assert_eq!((cursor, got), (&bulk("0"), keys), "{line}, after {}", self.tail());
            }
            Expected::Sees(sight) => {
                let got = Sight::of(reply);
                assert_eq!(got.as_ref(), Some(sight), "{line}: {reply:?}, after {}", self.tail());
            }
            Expected::SeesAll(all) => {
                let got: Vec<_> = reply.items().iter().map(Sight::of).collect();
                let all: Vec<_> = all.iter().cloned().map(Some).collect();
                assert_eq!(got, all, "{line}: {reply:?}, after {}", self.tail());
            }
            Expected::Admission(verdict) => {
                verdict.assert_said(reply, &format!("{line}, after {}", self.tail()));
            }
            Expected::Counts(counts) => {
                let pairs = reply.items().chunks_exact(2);
                let got: BTreeMap<String, i64> = pairs.map(|p| (p[0].text(), p[1].int())).collect();
                assert_eq!(&got, counts, "{line}, after {}", self.tail());
            }
        }
    }

    #[track_caller]
    fn end_transaction(&mut self) {
        if let Some(queued) = self.queued.take() {
            self.history.push("EXEC".into());
            let replies = self.client.run("EXEC");
            assert_eq!(replies.items().len(), queued.len(), "{replies:?}");
            for ((line, expected), reply) in queued.iter().zip(replies.items()) {
                self.judge(line, reply, expected);
            }
        }
    }

    /// Whether a line may be said now that tells whether these keys are there. If one of them is dead and
    /// may go at any time, the server is asked in one transaction with the line. Where that cannot be, in
    /// a transaction of the run's own, it may not be said.
    #[track_caller]
    fn meets(&mut self, line: &str, keys: &[(usize, &str)]) -> bool {
        let is_dead =
            |(db, key): &&(usize, &str)| self.dbs[*db].get(*key).is_some_and(Value::is_dead);
        let dead: Vec<(usize, &str)> = keys.iter().filter(is_dead).copied().collect();
        if self.reclaim.held || dead.is_empty() {
            return true;
        }
        if self.queued.is_some() {
            return false;
        }
        let mut lines = vec!["MULTI".to_string()];
        for (db, key) in &dead {
            lines.extend([format!("SELECT {db}"), format!("EXISTS {key}")]);
        }
        lines.extend([format!("SELECT {}", self.db), line.to_string(), "EXEC".to_string()]);
        let replies = self.client.pipeline(&lines).pop().expect("a reply");
        let replies = replies.items();
        for ((db, key), reply) in dead.iter().zip(replies.chunks(2)) {
            if reply[1] == int(0) {
                self.dbs[*db].remove(*key);
            }
        }
        self.said = Some((line.to_string(), replies[replies.len() - 1].clone()));
        true
    }

    /// What began before may store nothing under these names.
    fn touch<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.now += 1;
        self.touched.extend(names.into_iter().map(|name| (name.to_string(), self.now)));
    }

    fn here(&mut self) -> &mut Db {
        &mut self.dbs[self.db]
    }

    #[track_caller]
    fn step(&mut self) {
        let key = self.key();
        let here = self.dbs[self.db].get(&key).cloned();
        match self.rng.below(160) {
            128..=146 => self.admit(),
            147..=150 => self.credit(),
            151..=159 => self.settle_one(),
            100..=108 => self.cache_set(key, here),
            109..=113 => self.cache_get(key),
            114 => self.cache_mget(),
            115..=116 => self.cache_mset(),
            117..=118 => self.cache_setabsent(key, here),
            119..=123 => self.soften(),
            124..=125 => self.cache_clear(),
            126..=127 => self.patinval(),
            0..=13 => self.setval(key, here),
            14..=15 => self.msetval(),
            16..=19 => self.setscope(key, here),
            20..=21 => self.setlist(key, here),
            22 => self.tagcard(),
            23 => self.tagscan(),
            24..=25 => self.usage_lease(),
            26 => self.usage_ack(),
            27 => self.usage_nack(),
            28..=33 => self.invalidate(),
            34..=36 => self.inval(key),
            37..=44 => self.usage_incr(key, here),
            45..=48 => self.usage_take(key, here),
            49 => self.usage_flush(),
            50..=53 => {
                self.here().insert(key.clone(), Value::Text);
                self.say(format!("SET {key} text"), Expected::Is(ok()));
            }
            54..=59 => {
                let line = match self.rng.below(3) {
                    0 => format!("DEL {key}"),
                    1 => format!("UNLINK {key}"),
                    // A time in the past deletes.
                    _ => format!("PEXPIREAT {key} 1"),
                };
                if !self.meets(&line, &[(self.db, &key)]) {
                    return;
                }
                let gone = self.here().remove(&key).is_some();
                self.say(line, Expected::Is(int(gone.into())));
            }
            60..=65 => self.rename(key),
            66..=72 => self.copy(key),
            73..=77 => self.mov(key),
            78..=81 => self.swapdb(),
            82..=83 => self.flush(),
            84..=89 => self.restore(key),
            90..=95 => {
                let db = self.rng.below(DBS);
                self.say(format!("SELECT {db}"), Expected::Is(ok()));
                self.db = db;
            }
            96..=98 => {
                if self.queued.is_some() {
                    self.end_transaction();
                } else {
                    self.say("MULTI".into(), Expected::Is(ok()));
                    self.queued = Some(Vec::new());
                }
            }
            _ if self.with_reload && self.queued.is_none() => {
                self.now += 1;
                self.say("DEBUG RELOAD".into(), Expected::Is(ok()));
            }
            _ => {}
        }
    }

    #[track_caller]
    fn setval(&mut self, key: String, here: Option<Value>) {
        let (user, org) = (self.rng.pick(&USERS), self.rng.pick(&ORGS));
        let card = self.card();
        let record = card.on(of_org(record("id", user), org));
        let mut line = format!("APIKEY.SETVAL {key} {record} SECRET {SECRET}");
        let mut tags: BTreeSet<String> = [
            "apikey:id:id".to_string(),
            format!("apikey:user:{user}"),
            "apikey:kind:record".to_string(),
        ]
        .into();
        tags.extend(org_tag(org));
        let number = self.rng.below(4);
        if number > 0 {
            let own: Vec<&str> = (0..number).map(|_| self.rng.pick(&TAGS)).collect();
            line += &format!(" TAGS {number} {}", own.join(" "));
            tags.extend(own.iter().map(|t| t.to_string()));
        }
        let found = Value::found(here, "apikeyrec");
        if matches!(found, Found::Open) {
            return;
        }
        let live = matches!(found, Found::Live(..));
        let token = self.token();
        if let Some((token, _)) = &token {
            line += &format!(" TOKEN {token}");
        }
        let mut stores = true;
        match self.rng.below(8) {
            0 => {
                line += " NX";
                stores = !live;
            }
            1 => {
                line += " XX";
                stores = live;
            }
            2 => line += " KEEPTTL",
            3 => line += " EX 1000",
            _ => {}
        }
        if matches!(found, Found::Other) {
            self.say(line, Expected::Is(error(WRONGTYPE)));
        } else if stores {
            let what = What::Record(card);
            self.fill(line, key, Value::Entry { what, tags, live: true }, token);
        } else {
            // It may have taken a number all the same.
            self.now += 1;
            self.say(line, Expected::Is(nil()));
        }
    }

    /// A decision under a token.
    #[track_caller]
    fn setscope(&mut self, key: String, here: Option<Value>) {
        let Some((token, given)) = self.token() else { return };
        let user = self.rng.pick(&USERS);
        let (action, word) = (self.rng.pick(&ACTIONS), self.rng.pick(&["ALLOW", "DENY"]));
        let own = self.rng.pick(&TAGS);
        let line =
            format!("APIKEY.SETSCOPE {key} id {user} r {action} {word} TAGS 1 {own} TOKEN {token}");
        let of_user = format!("apikey:user:{user}");
        let (mut decisions, mut tags) = match Value::found(here, "apikeyscp") {
            Found::Open => return,
            Found::Other => {
                self.say(line, Expected::Is(error(WRONGTYPE)));
                return;
            }
            // Of another user, it begins anew.
            Found::Live(What::Scopes(decisions), tags) if tags.contains(&of_user) => {
                (decisions, tags)
            }
            _ => Default::default(),
        };
        decisions.insert(action.to_string(), word.to_string());
        let automatic = ["apikey:id:id".to_string(), of_user, "apikey:kind:scopes".to_string()];
        tags.extend(automatic);
        tags.insert(own.to_string());
        let what = What::Scopes(decisions);
        self.fill(line, key, Value::Entry { what, tags, live: true }, Some((token, given)));
    }

    /// A list under a token.
    #[track_caller]
    fn setlist(&mut self, key: String, here: Option<Value>) {
        let Some((token, given)) = self.token() else { return };
        let user = self.rng.pick(&USERS);
        let own = self.rng.pick(&TAGS);
        let number = self.rng.below(4);
        let orgs: Vec<&str> = (0..number).map(|_| self.rng.pick(&ORGS)).collect();
        let records: Vec<String> = orgs.iter().map(|org| of_org(record("id", user), org)).collect();
        let records = records.join(",");
        let line = format!("APIKEY.SETLIST {key} {user} [{records}] TOKEN {token} TAGS 1 {own}");
        match Value::found(here, "apikeylst") {
            Found::Open => {}
            Found::Other => self.say(line, Expected::Is(error(WRONGTYPE))),
            Found::Nothing | Found::Live(..) => {
                let tags = [own, &format!("apikey:user:{user}"), "apikey:kind:list"];
                let of_orgs = orgs.iter().filter_map(|org| org_tag(org));
                let tags = tags.map(str::to_string).into_iter().chain(of_orgs).collect();
                let what = What::List(number as i64);
                self.fill(line, key, Value::Entry { what, tags, live: true }, Some((token, given)));
            }
        }
    }

    /// A value of a region's, by a reader or by a writer.
    #[track_caller]
    fn cache_set(&mut self, key: String, here: Option<Value>) {
        let region = self.region();
        let value = format!("v{}", self.rng.below(1000));
        let (mut options, label, has_grace, tags) = self.cache_options(region);
        let token = self.token();
        if let Some((token, _)) = &token {
            options += &format!(" TOKEN {token}");
        }
        let found = Value::found(here, "cache-val");
        let exists = match &found {
            Found::Open => return,
            Found::Live(What::Cached(cached), _) => {
                cached.region == region && cached.value.is_some()
            }
            _ => false,
        };
        let mut stores = true;
        match self.rng.below(8) {
            0 => {
                options += " NX";
                stores = !exists;
            }
            1 => {
                options += " XX";
                stores = exists;
            }
            2 => options += " KEEPTTL",
            3 => options += " EX 1000",
            _ => {}
        }
        let line = format!("CACHE.SET {key} {} {value}{options}", region.name);
        if matches!(found, Found::Other) {
            self.say(line, Expected::Is(error(WRONGTYPE)));
        } else if stores {
            let cached = Cached { region, value: Some(value), label, has_grace, is_stale: false };
            let what = What::Cached(cached);
            self.fill(line, key, Value::Entry { what, tags, live: true }, token);
        } else {
            // A writer's word refuses older fills all the same.
            match token {
                None => self.touch([key.as_str()]),
                Some(_) => self.now += 1,
            }
            self.say(line, Expected::Is(nil()));
        }
    }

    fn region(&mut self) -> Region {
        REGIONS[self.rng.below(REGIONS.len())]
    }

    /// LABEL, GRACE, TAGS and NS of a call, what they say, and the tags that an entry has then.
    fn cache_options(
        &mut self,
        region: Region,
    ) -> (String, Option<String>, bool, BTreeSet<String>) {
        let mut tags: BTreeSet<String> = [region.tag()].into();
        let mut options = region.option();
        let label = self.rng.one_in(3).then(|| "label".to_string());
        if label.is_some() {
            options += " LABEL label";
        }
        let has_grace = self.rng.one_in(2);
        if has_grace {
            options += " GRACE 1000000";
        }
        let number = self.rng.below(4);
        if number > 0 {
            let own: Vec<&str> = (0..number).map(|_| self.rng.pick(&TAGS)).collect();
            options += &format!(" TAGS {number} {}", own.join(" "));
            tags.extend(own.iter().map(|t| t.to_string()));
        }
        (options, label, has_grace, tags)
    }

    #[track_caller]
    fn cache_setabsent(&mut self, key: String, here: Option<Value>) {
        let Some((token, given)) = self.token() else { return };
        let (region, own) = (self.region(), self.rng.pick(&TAGS));
        let (name, option) = (region.name, region.option());
        let line =
            format!("CACHE.SETABSENT {key} {name} TOKEN {token} EX 1000 TAGS 1 {own}{option}");
        match Value::found(here, "cache-val") {
            Found::Open => {}
            Found::Other => self.say(line, Expected::Is(error(WRONGTYPE))),
            Found::Nothing | Found::Live(..) => {
                let tags = [region.tag(), own.to_string()].into();
                let (value, label) = (None, None);
                let cached = Cached { region, value, label, has_grace: false, is_stale: false };
                let what = What::Cached(cached);
                self.fill(line, key, Value::Entry { what, tags, live: true }, Some((token, given)));
            }
        }
    }

    #[track_caller]
    fn cache_get(&mut self, key: String) {
        let region = self.region();
        let line = format!("CACHE.GET {key} {}{}", region.name, region.option());
        if self.meets(&line, &[(self.db, &key)]) {
            let sight = self.here().get(&key).map_or(Sight::Miss, |value| value.sight(region));
            self.say(line, Expected::Sees(sight));
        }
    }

    /// What is of another type is not there.
    #[track_caller]
    fn cache_mget(&mut self) {
        let region = if self.rng.one_in(2) { REGIONS[0] } else { REGIONS[2] };
        let keys: Vec<String> = (0..=self.rng.below(4)).map(|_| self.key()).collect();
        let here = self.here();
        let see = |key: &String| match here.get(key).map(|value| value.sight(region)) {
            None | Some(Sight::WrongType) => Sight::Miss,
            Some(sight) => sight,
        };
        let all = keys.iter().map(see).collect();
        let line = format!("CACHE.MGET {} {}", region.name, keys.join(" "));
        self.say(line, Expected::SeesAll(all));
    }

    /// As [`Model::msetval`].
    #[track_caller]
    fn cache_mset(&mut self) {
        if self.queued.is_some() {
            return;
        }
        let keys: BTreeSet<String> = (0..=self.rng.below(4)).map(|_| self.key()).collect();
        let region = self.region();
        let (options, label, has_grace, tags) = self.cache_options(region);
        let if_absent = self.rng.one_in(2);
        let token = self.client.must("APIKEY.TOKEN any").text();
        let pairs: Vec<String> = keys.iter().map(|key| format!("{key} m-{key}")).collect();
        let (name, number, pairs) = (region.name, keys.len(), pairs.join(" "));
        let nx = if if_absent { " NX" } else { "" };
        let line = format!("CACHE.MSET {name} {number} {pairs} TOKEN {token}{options}{nx}");
        let here = self.here();
        let found = |key: &String| Value::found(here.get(key).cloned(), "cache-val");
        let found: Vec<Found> = keys.iter().map(found).collect();
        if found.iter().any(|found| matches!(found, Found::Open)) {
            return;
        }
        if found.iter().any(|found| matches!(found, Found::Other)) {
            self.say(line, Expected::Is(error(WRONGTYPE)));
            return;
        }
        let mut stored = 0;
        for key in keys {
            let sight = here.get(&key).map(|value| value.sight(region));
            let exists = matches!(sight, Some(Sight::Hit(..) | Sight::Stale(..)));
            if !(if_absent && exists) {
                let value = Some(format!("m-{key}"));
                let label = label.clone();
                let cached = Cached { region, value, label, has_grace, is_stale: false };
                let what = What::Cached(cached);
                here.insert(key, Value::Entry { what, tags: tags.clone(), live: true });
                stored += 1;
            }
        }
        self.say(line, Expected::Is(int(stored)));
    }

    /// TAGINVAL SOFT: what has a grace is stale, the rest is dead.
    #[track_caller]
    fn soften(&mut self) {
        let mut tags: BTreeSet<String> = (0..=self.rng.below(2)).map(|_| self.some_tag()).collect();
        if self.rng.one_in(3) {
            tags.insert(self.region().tag());
        }
        let hit = |value: &Value| match value {
            Value::Entry { tags: own, .. } => own.iter().any(|tag| tags.contains(tag)),
            _ => false,
        };
        // By each tag what was not softened by it before counts; of others nobody knows that here.
        let is_new = |value: &&Value| match value {
            Value::Entry { what: What::Cached(Cached { is_stale: true, .. }), .. } => false,
            value => !value.is_dead(),
        };
        let db = &self.dbs[self.db];
        let least = db.values().filter(|value| hit(value)).filter(is_new).count();
        let carry = |tag: &String| {
            let carries = |v: &&Value| matches!(v, Value::Entry { tags, .. } if tags.contains(tag));
            db.values().filter(carries).count()
        };
        let most = tags.iter().map(carry).sum();
        let hits: Vec<String> = db.iter().filter(|(_, v)| hit(v)).map(|(k, _)| k.clone()).collect();
        for key in hits {
            self.here().get_mut(&key).expect("it was there").soften();
        }
        let names: Vec<&str> = tags.iter().map(String::as_str).collect();
        self.touch(names.iter().copied());
        let line = format!("CACHE.TAGINVAL SOFT {}", names.join(" "));
        self.say(line, Expected::Between(least, most));
    }

    #[track_caller]
    fn cache_clear(&mut self) {
        let region = self.region();
        let line = format!("CACHE.CLEAR {}{}", region.name, region.option());
        self.kill(line, &[&region.tag()]);
    }

    /// Kills what is of a region, or of any, and fits a pattern. Not in a transaction, since it waits.
    #[track_caller]
    fn patinval(&mut self) {
        if self.queued.is_some() {
            return;
        }
        let pattern = self.rng.pick(&PATTERNS);
        let of = self.rng.one_in(2).then(|| self.region());
        let region = of
            .map_or(String::new(), |region| format!(" REGION {}{}", region.name, region.option()));
        let here = self.here();
        let is_hit = |key: &str, value: &Value| fits(pattern, key) && value.is_cached(of);
        let killed = here.iter().filter(|(k, v)| is_hit(k, v) && !v.is_dead()).count();
        here.retain(|key, value| !is_hit(key, value));
        self.now += 1;
        self.patterns.push((pattern, of, self.now));
        self.say(format!("CACHE.PATINVAL {pattern}{region}"), Expected::Is(int(killed as i64)));
    }

    /// When a pattern was invalidated last that a fill fits.
    fn last_pattern(&self, key: &str, entry: &Value) -> Option<usize> {
        let fits = |(pattern, of, _): &&(&str, Option<Region>, usize)| {
            fits(pattern, key) && entry.is_cached(*of)
        };
        self.patterns.iter().rev().find(fits).map(|&(.., at)| at)
    }

    /// Says a fill that stores an entry unless its token is too late.
    #[track_caller]
    fn fill(&mut self, line: String, key: String, entry: Value, token: Option<(String, usize)>) {
        let Value::Entry { tags, .. } = &entry else { return };
        match token {
            None => self.touch([key.as_str()]),
            Some((_, given)) => {
                let names = tags.iter().chain([&key]);
                let last = names.filter_map(|name| self.touched.get(name)).max();
                let last = last.copied().max(self.last_pattern(&key, &entry));
                let is_late = given < self.flushed || last.is_some_and(|at| given < at);
                if is_late {
                    self.say(line, Expected::Is(nil()));
                    return;
                }
                if given < self.now {
                    if self.say_either(line) == ok() {
                        self.here().insert(key, entry);
                    }
                    return;
                }
            }
        }
        self.here().insert(key, entry);
        self.say(line, Expected::Is(ok()));
    }

    /// Several keys under a token that has just been given, which all store, or with NX those that are free;
    /// one that is not the cache's refuses all.
    #[track_caller]
    fn msetval(&mut self) {
        if self.queued.is_some() {
            return;
        }
        let keys: BTreeSet<String> = (0..=self.rng.below(4)).map(|_| self.key()).collect();
        let (user, org) = (self.rng.pick(&USERS), self.rng.pick(&ORGS));
        let (own, card) = (self.rng.pick(&TAGS), self.card());
        let if_absent = self.rng.one_in(2);
        let token = self.client.must("APIKEY.TOKEN any").text();
        let mut line = format!("APIKEY.MSETVAL {}", keys.len());
        for key in &keys {
            // The digest stands in the record.
            line += &format!(" {key} {}", card.on(of_org(hashed("id", user), org)));
        }
        line += &format!(" TAGS 1 {own} TOKEN {token}{}", if if_absent { " NX" } else { "" });
        let here = self.here();
        let found = |key: &String| Value::found(here.get(key).cloned(), "apikeyrec");
        let found: Vec<Found> = keys.iter().map(found).collect();
        if found.iter().any(|found| matches!(found, Found::Open)) {
            return;
        }
        if found.iter().any(|found| matches!(found, Found::Other)) {
            self.say(line, Expected::Is(error(WRONGTYPE)));
            return;
        }
        let tags = [
            "apikey:id:id".to_string(),
            format!("apikey:user:{user}"),
            "apikey:kind:record".to_string(),
            own.to_string(),
        ];
        let tags: BTreeSet<String> = tags.into_iter().chain(org_tag(org)).collect();
        let mut stored = 0;
        for key in keys {
            let live = matches!(here.get(&key), Some(Value::Entry { live: true, .. }));
            if !(if_absent && live) {
                let what = What::Record(card.clone());
                here.insert(key, Value::Entry { what, tags: tags.clone(), live: true });
                stored += 1;
            }
        }
        self.say(line, Expected::Is(int(stored)));
    }

    /// For some of the fills outside of a transaction: one that is new, or one that may have become old.
    #[track_caller]
    fn token(&mut self) -> Option<(String, usize)> {
        if self.queued.is_some() || self.rng.one_in(2) {
            return None;
        }
        if self.tokens.is_empty() || self.rng.one_in(2) {
            let key = self.key();
            let token = self.client.must(&format!("APIKEY.TOKEN {key}")).text();
            self.tokens.push((token, self.now));
            return self.tokens.last().cloned();
        }
        let from = self.tokens.len().saturating_sub(8);
        let at = from + self.rng.below(self.tokens.len() - from);
        Some(self.tokens[at].clone())
    }

    /// Sends a fill of which the server's answer holds.
    #[track_caller]
    fn say_either(&mut self, line: String) -> Reply {
        let reply = self.client.run(&line);
        assert!(reply == ok() || reply == nil(), "{line}: {reply:?}, after {}", self.tail());
        self.history.push(format!("[{}] {line}: {reply:?}", self.db));
        reply
    }

    #[track_caller]
    fn inval(&mut self, one: String) {
        let mut keys = vec![one];
        while self.rng.one_in(2) {
            keys.push(self.key());
        }
        let line = format!("APIKEY.INVAL {}", keys.join(" "));
        let here = self.here();
        let is_other =
            |key: &String| matches!(here.get(key), Some(Value::Text | Value::Usage { .. }));
        let expected = if keys.iter().any(is_other) {
            error(WRONGTYPE)
        } else {
            let gone: Vec<Value> = keys.iter().filter_map(|key| here.remove(key)).collect();
            let killed =
                gone.iter().filter(|v| matches!(v, Value::Entry { live: true, .. })).count();
            self.touch(keys.iter().map(String::as_str));
            int(killed as i64)
        };
        self.say(line, Expected::Is(expected));
    }

    #[track_caller]
    fn invalidate(&mut self) {
        let automatic = match self.rng.one_in(2) {
            true => format!("apikey:user:{}", self.rng.pick(&USERS)),
            false => format!("apikey:org:{}", self.rng.pick(&ORGS)),
        };
        let names = [self.rng.pick(&TAGS), self.rng.pick(&TAGS), &automatic];
        let some = &names[..1 + self.rng.below(3)];
        let some = if self.rng.one_in(8) { &names[2..] } else { some };
        let command = self.rng.pick(&["APIKEY", "CACHE"]);
        self.kill(format!("{command}.TAGINVAL {}", some.join(" ")), some);
    }

    /// Says a line that kills what carries one of these tags.
    #[track_caller]
    fn kill(&mut self, line: String, some: &[&str]) {
        let hit = |value: &Value| match value {
            Value::Entry { tags, .. } => some.iter().any(|t| tags.contains(*t)),
            _ => false,
        };
        let db = &self.dbs[self.db];
        let killed = db.values().filter(|v| hit(v) && !v.is_dead()).count();
        let hits: Vec<String> = db.iter().filter(|(_, v)| hit(v)).map(|(k, _)| k.clone()).collect();
        // What is dead by a soft invalidation goes with the others, and what is so by a rename does not.
        let has_dead = hits.iter().any(|key| db[key].is_dead());
        let are_open = 0 < self.reclaim.sync && (self.reclaim.sync < KEYS.len() || has_dead);
        // Which of them go at once is open: that needs an answer now.
        if self.queued.is_some() && are_open {
            return;
        }
        // What shares tags is counted more than once where not all of it goes at once.
        let unique: BTreeSet<&str> = some.iter().copied().collect();
        let carry = |tag: &str| {
            let carries = |v: &&Value| matches!(v, Value::Entry { tags, .. } if tags.contains(tag));
            db.values().filter(carries).count()
        };
        let at_most = match self.reclaim.sync < KEYS.len() {
            true => unique.iter().map(|tag| carry(tag)).sum(),
            false => killed,
        };
        self.touch(some.iter().copied());
        for key in &hits {
            let entry = self.dbs[self.db].get_mut(key).expect("it was there");
            if self.reclaim.sync < KEYS.len() {
                entry.die();
            } else if !entry.is_dead() {
                self.here().remove(key);
            }
        }
        self.say(line, Expected::Between(killed, at_most));
        if are_open && self.reclaim.held {
            for key in hits {
                if !self.client.exists(&key) {
                    self.here().remove(&key);
                }
            }
        }
    }

    fn some_tag(&mut self) -> String {
        match self.rng.below(5) {
            4 => self.region().tag(),
            0 => format!("apikey:user:{}", self.rng.pick(&USERS)),
            1 => format!("apikey:org:{}", self.rng.pick(&ORGS)),
            _ => self.rng.pick(&TAGS).to_string(),
        }
    }

    #[track_caller]
    fn tagcard(&mut self) {
        let tag = self.some_tag();
        let (live, dead) = carriers(&self.dbs[self.db], &tag);
        // What waits for its end may count.
        self.say(
            format!("APIKEY.TAGCARD {tag}"),
            Expected::Between(live.len(), live.len() + dead.len()),
        );
    }

    #[track_caller]
    fn tagscan(&mut self) {
        let tag = self.some_tag();
        let (live, _) = carriers(&self.dbs[self.db], &tag);
        self.say(format!("APIKEY.TAGSCAN {tag} 0 COUNT 1000"), Expected::Found(live));
    }

    #[track_caller]
    fn usage_incr(&mut self, key: String, here: Option<Value>) {
        let by = 1 + self.rng.below(9) as i64;
        let id = self.rng.one_in(2).then(|| self.id(&key));
        let value = here.unwrap_or_else(no_counts);
        let Value::Usage { pending, total, leases, mut account } = value else {
            // A dead entry is still of another kind; the design does not say whether that shows.
            if !value.is_dead() {
                let line = format!("APIKEY.USAGE.INCR {key} BY {by}");
                self.say(line, Expected::Is(error(WRONGTYPE)));
            }
            return;
        };
        let option = id.as_ref().map_or(String::new(), |id| format!(" ID {id}"));
        let counted = if id.as_ref().is_none_or(|id| account.count(id, by)) { by } else { 0 };
        let (pending, total) = (pending + counted, total + counted);
        self.here().insert(key.clone(), Value::Usage { pending, total, leases, account });
        let line = format!("APIKEY.USAGE.INCR {key} BY {by}{option}");
        self.say(line.clone(), Expected::Is(int(pending)));
        if id.is_some() {
            self.say(line, Expected::Is(int(pending)));
        }
    }

    #[track_caller]
    fn usage_take(&mut self, key: String, here: Option<Value>) {
        let expected = match here {
            None => array([int(0)]),
            Some(Value::Usage { pending, total, leases, account }) => {
                // What was settled at less than was taken is still owed.
                let taken = pending.max(0);
                let value = Value::Usage { pending: pending - taken, total, leases, account };
                self.here().insert(key.clone(), value);
                array([int(taken)])
            }
            Some(Value::Entry { live: false, .. }) => return,
            Some(_) => error(WRONGTYPE),
        };
        self.say(format!("APIKEY.USAGE.TAKE {key}"), Expected::Is(expected));
    }

    #[track_caller]
    fn usage_flush(&mut self) {
        let mut counts = BTreeMap::new();
        for (key, value) in self.here() {
            if let Value::Usage { pending, .. } = value {
                if *pending > 0 {
                    counts.insert(key.clone(), std::mem::take(pending));
                }
            }
        }
        self.say("APIKEY.USAGE.FLUSH".into(), Expected::Counts(counts));
    }

    /// The leases of a database, each with the name of its counter.
    fn leases(&mut self) -> impl Iterator<Item = (&String, &mut Lease)> {
        self.here().iter_mut().flat_map(|(key, value)| match value {
            Value::Usage { leases, .. } => leases.iter_mut().map(|l| (key, l)).collect(),
            _ => Vec::new(),
        })
    }

    /// What was given back comes again as it was, or else all that is pending comes as a new batch. Not in
    /// a transaction: the ids are told at its end.
    #[track_caller]
    fn usage_lease(&mut self) {
        if self.queued.is_some() {
            return;
        }
        let mut again: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for (key, lease) in self.leases().filter(|(_, lease)| lease.due) {
            lease.due = false;
            again.entry(lease.batch.clone()).or_default().push(Line {
                id: lease.line.clone(),
                key: key.clone(),
                count: lease.count,
            });
        }
        let line = format!("APIKEY.USAGE.LEASE {LONG}");
        self.history.push(format!("[{}] {line}", self.db));
        let mut got = self.client.leases(&LONG.to_string());
        if !again.is_empty() {
            // A dump that was restored beside its original has lines of the same id.
            let sorted = |mut lines: Vec<Line>| {
                lines.sort_by(|a, b| (&a.id, &a.key).cmp(&(&b.id, &b.key)));
                lines
            };
            let again = again.into_iter().map(|(id, lines)| Batch { id, lines: sorted(lines) });
            got.iter_mut().for_each(|batch| batch.lines = sorted(batch.lines.clone()));
            assert_eq!(got, again.collect::<Vec<_>>(), "after {}", self.tail());
            return;
        }
        let lines = got.iter().flat_map(|batch| batch.lines.clone());
        let lines: BTreeMap<String, Line> = lines.map(|line| (line.key.clone(), line)).collect();
        assert!(got.len() <= 1, "{got:?}, after {}", self.tail());
        for batch in &got {
            for id in batch.ids() {
                assert!(self.ids.insert(id.clone()), "{id} is not new, after {}", self.tail());
            }
            self.batches.push(batch.id.clone());
        }
        let mut counts = BTreeMap::new();
        for (key, value) in self.here() {
            let Value::Usage { pending: 1.., .. } = value else { continue };
            let Value::Usage { pending, leases, .. } = value else { continue };
            let count = std::mem::take(pending);
            counts.insert(key.clone(), count);
            if let (Some(batch), Some(line)) = (got.first(), lines.get(key)) {
                let (batch, line) = (batch.id.clone(), line.id.clone());
                leases.push(Lease { batch, line, count, due: false });
            }
        }
        let got: BTreeMap<_, _> = lines.into_iter().map(|(key, line)| (key, line.count)).collect();
        assert_eq!(got, counts, "after {}", self.tail());
    }

    /// One of the batches that were given out, open or not, here or in another database.
    fn batch(&mut self) -> Option<String> {
        let from = self.batches.len().checked_sub(1)?.saturating_sub(7);
        let at = from + self.rng.below(self.batches.len() - from);
        Some(self.batches[at].clone())
    }

    #[track_caller]
    fn usage_ack(&mut self) {
        let Some(batch) = self.batch() else { return };
        let mut settled = 0;
        for value in self.here().values_mut() {
            if let Value::Usage { leases, .. } = value {
                let before = leases.len();
                leases.retain(|lease| lease.batch != batch);
                settled += before - leases.len();
            }
        }
        self.say(format!("APIKEY.USAGE.ACK {batch}"), Expected::Is(int(settled as i64)));
    }

    #[track_caller]
    fn usage_nack(&mut self) {
        let Some(batch) = self.batch() else { return };
        let mut given_back = 0;
        for (_, lease) in self.leases().filter(|(_, l)| l.batch == batch && !l.due) {
            lease.due = true;
            given_back += 1;
        }
        self.say(format!("APIKEY.USAGE.NACK {batch}"), Expected::Is(int(given_back)));
    }

    /// Puts under a name what did not come by a fill or a count.
    fn arrive(&mut self, db: usize, key: &str, mut value: Value) {
        let here = &mut self.dbs[db];
        here.remove(key);
        value.die();
        // Where a batch has lines already, it is due at the later time of the two.
        if let Value::Usage { leases, .. } = &mut value {
            for new in leases {
                let old = here.values_mut().filter_map(|value| match value {
                    Value::Usage { leases, .. } => leases.iter_mut().find(|l| l.batch == new.batch),
                    _ => None,
                });
                let mut old: Vec<&mut Lease> = old.collect();
                new.due &= old.iter().all(|lease| lease.due);
                old.iter_mut().for_each(|lease| lease.due = new.due);
            }
        }
        here.insert(key.to_string(), value);
    }

    #[track_caller]
    fn rename(&mut self, from: String) {
        let to = self.key();
        let unless_there = self.rng.one_in(3);
        let command = if unless_there { "RENAMENX" } else { "RENAME" };
        let line = format!("{command} {from} {to}");
        if !self.meets(&line, &[(self.db, &from), (self.db, &to)]) {
            return;
        }
        let Some(value) = self.here().get(&from).cloned() else {
            self.say(line, Expected::Is(error("ERR no such key")));
            return;
        };
        let done = !(unless_there && self.here().contains_key(&to));
        // RENAME of a key to itself does nothing.
        if done && from != to {
            self.here().remove(&from);
            self.arrive(self.db, &to, value);
        }
        self.say(line, Expected::Is(if unless_there { int(done.into()) } else { ok() }));
    }

    #[track_caller]
    fn copy(&mut self, from: String) {
        let to = self.key();
        let db = self.rng.below(DBS);
        if db == self.db && from == to {
            return; // an error, and nothing of ours
        }
        let replace = self.rng.one_in(2);
        let option = if replace { " REPLACE" } else { "" };
        let line = format!("COPY {from} {to} DB {db}{option}");
        if !self.meets(&line, &[(self.db, &from), (db, &to)]) {
            return;
        }
        let value = self.here().get(&from).cloned();
        let done = value.is_some() && (replace || !self.dbs[db].contains_key(&to));
        if let (true, Some(value)) = (done, value) {
            let is_counter = matches!(value, Value::Usage { .. });
            self.arrive(db, &to, if is_counter { no_counts() } else { value });
        }
        self.say(line, Expected::Is(int(done.into())));
    }

    #[track_caller]
    fn mov(&mut self, key: String) {
        let db = self.rng.below(DBS);
        if db == self.db {
            return; // an error, and nothing of ours
        }
        let line = format!("MOVE {key} {db}");
        if !self.meets(&line, &[(self.db, &key), (db, &key)]) {
            return;
        }
        let value = self.here().get(&key).cloned();
        let done = value.is_some() && !self.dbs[db].contains_key(&key);
        if let (true, Some(value)) = (done, value) {
            self.here().remove(&key);
            self.arrive(db, &key, value);
        }
        self.say(line, Expected::Is(int(done.into())));
    }

    #[track_caller]
    fn swapdb(&mut self) {
        let (a, b) = (self.rng.below(DBS), self.rng.below(DBS));
        self.dbs.swap(a, b);
        self.say(format!("SWAPDB {a} {b}"), Expected::Is(ok()));
    }

    #[track_caller]
    fn flush(&mut self) {
        let how = self.rng.pick(&["SYNC", "ASYNC"]);
        self.now += 1;
        self.flushed = self.now;
        if self.rng.one_in(4) {
            self.dbs = vec![Db::new(); DBS];
            self.say(format!("FLUSHALL {how}"), Expected::Is(ok()));
        } else {
            self.here().clear();
            self.say(format!("FLUSHDB {how}"), Expected::Is(ok()));
        }
    }

    /// DUMP here, RESTORE there.
    #[track_caller]
    fn restore(&mut self, from: String) {
        let there = self.here().get(&from).cloned();
        let (true, Some(value)) = (self.queued.is_none(), there) else {
            return;
        };
        let dump = self.client.must(&format!("DUMP {from}"));
        if dump == nil() && !self.reclaim.held && value.is_dead() {
            self.here().remove(&from);
            return;
        }
        let to = self.key();
        let is_there = self.here().get(&to).cloned();
        let is_open = !self.reclaim.held && is_there.as_ref().is_some_and(Value::is_dead);
        let replace = is_open || self.rng.one_in(2);
        let mut args = vec![b"RESTORE".as_slice(), to.as_bytes(), b"0", dump.bytes()];
        let expected = if replace || is_there.is_none() {
            let mut value = value;
            if let Value::Usage { leases, .. } = &mut value {
                for lease in leases {
                    let line = Id::parse(lease.line.as_bytes()).expect("an id");
                    lease.batch = line.batch_of_line().to_hex();
                    self.batches.push(lease.batch.clone());
                }
            }
            // What it takes the place of is gone before it comes.
            self.arrive(self.db, &to, value);
            ok()
        } else {
            error("BUSYKEY Target key name already exists.")
        };
        if replace {
            args.push(b"REPLACE");
        }
        let line = format!("RESTORE {to} 0 (the dump of {from}) REPLACE: {replace}");
        let reply = self.client.cmd(args);
        self.history.push(format!("[{}] {line}", self.db));
        self.judge(&line, &reply, &Expected::Is(expected));
    }
}
