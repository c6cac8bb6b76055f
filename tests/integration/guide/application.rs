//! The application of the guide, with its database: its methods by the names that the guide gives them.

use crate::harness::*;
use serde_json::{json, Value};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};
use Answer::*;

pub const ROTATED: &str = "rotated-s3cr3t";
pub const WRONG: &str = "guess";

/// SHA-256 in hex, as the application computes it.
pub fn digest(secret: &str) -> &'static str {
    match secret {
        SECRET => DIGEST,
        ROTATED => "40ea20f569427d49d70725d7f8adfcb0d1c46da7ba1d6c9bb29fe311e3243737",
        WRONG => "f1abe1b083d12d181ae136cfc75b8d18a8ecb43ac4e9d1a36d6a9c75b6016b61",
        other => panic!("{other}"),
    }
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

// The names of keys. All of one API key are in one cluster slot.

pub fn record_key(prefix: &str) -> String {
    format!("apikey:{{{prefix}}}")
}

pub fn scopes_key(prefix: &str) -> String {
    format!("apikey:{{{prefix}}}:scopes")
}

pub fn usage_key(prefix: &str) -> String {
    format!("apikey:{{{prefix}}}:usage")
}

pub fn list_key(user: &str) -> String {
    format!("apikey:list:{{{user}}}")
}

// The database.

/// What the application answers to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Valid,
    NotFound,
    WrongSecret,
    Disabled,
    Expired,
    Forbidden,
}

/// A row of the table of API keys.
#[derive(Clone)]
pub struct Row {
    pub id: String,
    pub user: String,
    pub prefix: String,
    pub scopes: Vec<&'static str>,
    pub is_active: bool,
    pub expires_at: Option<i64>,
    pub secret: &'static str,
    /// The secret of before a rotation, and until when it is good.
    pub before: Option<(&'static str, i64)>,
}

impl Row {
    pub fn new(number: usize, user: &str) -> Self {
        Self {
            id: format!("k-{number}"),
            user: user.into(),
            prefix: format!("ak_live_{number}"),
            scopes: vec!["users:read"],
            is_active: true,
            expires_at: None,
            secret: SECRET,
            before: None,
        }
    }

    /// The column with the digests, each of which may say until when it is accepted.
    fn digests(&self) -> Vec<Value> {
        let before =
            self.before.map(|(secret, until)| json!({"digest": digest(secret), "until": until}));
        [json!(digest(self.secret))].into_iter().chain(before).collect()
    }

    /// The secrets that are good at this time.
    pub fn secrets(&self, at: i64) -> Vec<&'static str> {
        let before = self.before.filter(|&(_, until)| until > at);
        [self.secret].into_iter().chain(before.map(|(secret, _)| secret)).collect()
    }

    /// What SELECT gives.
    pub fn json(&self) -> String {
        json!({
            "id": self.id, "user_id": self.user, "name": "a key", "key_prefix": self.prefix,
            "key_hash": self.digests(),
            "scopes": self.scopes, "is_active": self.is_active, "expires_at": self.expires_at,
            "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
        })
        .to_string()
    }

    /// What the application finds without a cache.
    pub fn judge(&self, secret: &str, scope: &str) -> Answer {
        match () {
            () if !self.secrets(now()).contains(&secret) => WrongSecret,
            () if !self.is_active => Disabled,
            () if self.expires_at.is_some_and(|at| at <= now()) => Expired,
            () if !self.scopes.contains(&scope) => Forbidden,
            () => Valid,
        }
    }
}

/// What Redis has to be told of a commit.
#[derive(Clone)]
pub enum Change {
    /// A key was created, changed, rotated or revoked.
    Key { prefix: String, id: String, user: String },
    /// A user was deleted or suspended with all their keys.
    User { user: String },
}

#[derive(Default)]
pub struct Database {
    pub rows: RefCell<Vec<Row>>,
    /// What a key may do beyond its row's scopes: id, resource, action.
    pub permissions: RefCell<BTreeSet<(String, String, String)>>,
    /// Changes that were committed, in the same transaction as their rows, and not yet told to Redis.
    pub outbox: RefCell<Vec<Change>>,
    /// Lines of usage by their id, which is unique, and the totals that they have been added to.
    pub lines: RefCell<BTreeSet<String>>,
    pub totals: RefCell<BTreeMap<String, i64>>,
    /// Questions about a key that were answered here.
    pub reads: Cell<usize>,
}

impl Database {
    pub fn with(rows: impl IntoIterator<Item = Row>) -> Self {
        let database = Self::default();
        database.rows.borrow_mut().extend(rows);
        database
    }

    pub fn find_by_prefix(&self, prefix: &str) -> Option<Row> {
        self.reads.set(self.reads.get() + 1);
        self.rows.borrow().iter().find(|row| row.prefix == prefix).cloned()
    }

    pub fn keys_of(&self, user: &str) -> Vec<Row> {
        self.reads.set(self.reads.get() + 1);
        self.rows.borrow().iter().filter(|row| row.user == user).cloned().collect()
    }

    pub fn allows(&self, row: &Row, resource: &str, action: &str) -> bool {
        self.reads.set(self.reads.get() + 1);
        let asked = (row.id.clone(), resource.to_string(), action.to_string());
        self.permissions.borrow().contains(&asked)
    }

    pub fn allow(&self, row: &Row, resource: &str, action: &str) {
        let one = (row.id.clone(), resource.to_string(), action.to_string());
        self.permissions.borrow_mut().insert(one);
    }

    pub fn insert(&self, row: Row) {
        self.outbox.borrow_mut().push(row.change());
        self.rows.borrow_mut().push(row);
    }

    /// Commits a change of a row together with the note of it in the outbox.
    pub fn update(&self, prefix: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.borrow_mut();
        let row = rows.iter_mut().find(|row| row.prefix == prefix).expect("a row");
        change(row);
        self.outbox.borrow_mut().push(row.change());
    }

    pub fn delete_user(&self, user: &str) {
        self.rows.borrow_mut().retain(|row| row.user != user);
        self.outbox.borrow_mut().push(Change::User { user: user.into() });
    }

    /// One transaction: the lines that are new, and what they add to the totals. How many were new.
    pub fn write(&self, batch: &Batch) -> usize {
        let (mut lines, mut totals) = (self.lines.borrow_mut(), self.totals.borrow_mut());
        let new = batch.lines.iter().filter(|line| lines.insert(line.id.clone()));
        new.map(|line| *totals.entry(line.key.clone()).or_default() += line.count).count()
    }

    pub fn total(&self, prefix: &str) -> i64 {
        self.totals.borrow().get(&usage_key(prefix)).copied().unwrap_or_default()
    }
}

impl Row {
    pub fn change(&self) -> Change {
        let (prefix, id, user) = (self.prefix.clone(), self.id.clone(), self.user.clone());
        Change::Key { prefix, id, user }
    }
}

// The application.

/// One process of the application, with one connection.
pub struct App<'a> {
    pub database: &'a Database,
    pub port: u16,
    pub redis: Option<Client>,
}

impl<'a> App<'a> {
    pub fn new(server: &Server, database: &'a Database) -> Self {
        Self { database, port: server.port, redis: None }
    }

    /// Sends a call and gives its reply: none where Redis is away, or can't do it now.
    #[track_caller]
    pub fn call(&mut self, words: &[impl AsRef<[u8]>]) -> Option<Reply> {
        if self.redis.is_none() {
            self.redis = Client::connect(self.port).ok();
        }
        match self.redis.as_mut()?.try_cmd(words) {
            Ok(Reply::Error(e)) if e.starts_with("OOM ") || e.starts_with("READONLY ") => None,
            Ok(Reply::Error(text)) => panic!("{text}"),
            Ok(reply) => Some(reply),
            Err(_) => {
                self.redis = None;
                None
            }
        }
    }

    /// A call whose arguments have no spaces.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> Option<Reply> {
        self.call(&args(line))
    }

    // The methods of the service, under their names.

    #[track_caller]
    pub fn get_cached_validation(
        &mut self,
        prefix: &str,
        secret: &str,
        scope: &str,
    ) -> Option<Reply> {
        let (key, digest) = (record_key(prefix), digest(secret));
        self.say(&format!("APIKEY.VALIDATE {key} DIGEST {digest} SCOPE {scope}"))
    }

    #[track_caller]
    pub fn set_cached_validation(&mut self, row: &Row, token: &str) -> Option<Reply> {
        self.call(&["APIKEY.SETVAL", &record_key(&row.prefix), &row.json(), "TOKEN", token])
    }

    /// The service had nothing for this.
    #[track_caller]
    pub fn set_cached_absence(&mut self, prefix: &str, token: &str) -> Option<Reply> {
        self.say(&format!("APIKEY.SETABSENT {} TOKEN {token}", record_key(prefix)))
    }

    #[track_caller]
    pub fn invalidate_validation(&mut self, prefix: &str) -> Option<Reply> {
        self.say(&format!("APIKEY.INVAL {}", record_key(prefix)))
    }

    #[track_caller]
    pub fn increment_usage(&mut self, prefix: &str) -> Option<Reply> {
        self.say(&format!("APIKEY.USAGE.INCR {}", usage_key(prefix)))
    }

    #[track_caller]
    pub fn get_and_reset_usage(&mut self, prefix: &str) -> Option<Reply> {
        self.say(&format!("APIKEY.USAGE.TAKE {}", usage_key(prefix)))
    }

    /// Of one key: by name, which a cluster routes, and by tag, for whatever else carries it. The number of
    /// entries that each call killed.
    #[track_caller]
    pub fn invalidate_key_data(&mut self, prefix: &str, id: &str, user: &str) -> Option<[i64; 3]> {
        let names = format!("APIKEY.INVAL {} {}", record_key(prefix), scopes_key(prefix));
        let list = format!("APIKEY.INVAL {}", list_key(user));
        let tag = format!("APIKEY.TAGINVAL apikey:id:{id}");
        Some([self.say(&names)?.int(), self.say(&list)?.int(), self.say(&tag)?.int()])
    }

    #[track_caller]
    pub fn invalidate_user_keys(&mut self, user: &str) -> Option<i64> {
        Some(self.say(&format!("APIKEY.TAGINVAL apikey:user:{user}"))?.int())
    }

    /// Any number of keys by one call.
    #[track_caller]
    pub fn batch_invalidate_keys(&mut self, ids: &[&str]) -> Option<i64> {
        let tags: Vec<String> = ids.iter().map(|id| format!("apikey:id:{id}")).collect();
        Some(self.say(&format!("APIKEY.TAGINVAL {}", tags.join(" ")))?.int())
    }

    #[track_caller]
    pub fn get_cache_health(&mut self) -> Option<Reply> {
        self.say("APIKEY.HEALTH")
    }

    #[track_caller]
    pub fn get_cached_scope_validation(
        &mut self,
        prefix: &str,
        resource: &str,
        action: &str,
    ) -> Option<Reply> {
        self.say(&format!("APIKEY.CHECKSCOPE {} {resource} {action}", scopes_key(prefix)))
    }

    #[track_caller]
    pub fn set_cached_scope_validation(
        &mut self,
        row: &Row,
        resource: &str,
        action: &str,
        allowed: bool,
        token: &str,
    ) -> Option<Reply> {
        let (key, Row { id, user, .. }) = (scopes_key(&row.prefix), row);
        let decision = if allowed { "ALLOW" } else { "DENY" };
        self.say(&format!(
            "APIKEY.SETSCOPE {key} {id} {user} {resource} {action} {decision} TOKEN {token}"
        ))
    }

    #[track_caller]
    pub fn get_cached_user_keys(
        &mut self,
        user: &str,
        offset: usize,
        limit: usize,
    ) -> Option<Reply> {
        let key = list_key(user);
        self.say(&format!("APIKEY.GETLIST {key} OFFSET {offset} LIMIT {limit}"))
    }

    #[track_caller]
    pub fn set_cached_user_keys(&mut self, user: &str, rows: &[Row], token: &str) -> Option<Reply> {
        let all = rows.iter().map(|row| row.json()).collect::<Vec<_>>().join(",");
        self.call(&["APIKEY.SETLIST", &list_key(user), user, &format!("[{all}]"), "TOKEN", token])
    }

    /// How many were stored.
    #[track_caller]
    pub fn warm_cache(&mut self, rows: &[Row], token: &str) -> Option<Reply> {
        let mut words = vec!["APIKEY.MSETVAL".to_string(), rows.len().to_string()];
        words.extend(rows.iter().flat_map(|row| [record_key(&row.prefix), row.json()]));
        words.extend(["TOKEN".into(), token.into(), "NX".into()]);
        self.call(&words)
    }

    // What the guide's application makes of them.

    /// Answers a request.
    #[track_caller]
    pub fn validate_api_key(&mut self, prefix: &str, secret: &str, scope: &str) -> Answer {
        let reply = self.get_cached_validation(prefix, secret, scope);
        let token = match reply.as_ref().map(code_of).as_deref() {
            Some("VALID") => return Valid,
            Some("ABSENT") => return NotFound,
            Some("MISMATCH") => return WrongSecret,
            Some("DISABLED") => return Disabled,
            Some("EXPIRED") => return Expired,
            Some("FORBIDDEN") => return Forbidden,
            Some("MISS") => reply.map(|reply| reply.items()[1].text()),
            Some(other) => panic!("{other}"),
            None => None,
        };
        let row = self.database.find_by_prefix(prefix);
        if let Some(token) = token {
            // Whether it was stored is no matter for this answer.
            match &row {
                Some(row) => self.set_cached_validation(row, &token),
                None => self.set_cached_absence(prefix, &token),
            };
        }
        row.map_or(NotFound, |row| row.judge(secret, scope))
    }

    /// Whether a key may do what its row does not say.
    #[track_caller]
    pub fn validate_scope(&mut self, prefix: &str, resource: &str, action: &str) -> bool {
        let reply = self.get_cached_scope_validation(prefix, resource, action);
        let token = match reply.as_ref().map(code_of).as_deref() {
            Some("ALLOW") => return true,
            Some("DENY") => return false,
            Some("MISS") => reply.map(|reply| reply.items()[1].text()),
            Some(other) => panic!("{other}"),
            None => None,
        };
        let Some(row) = self.database.find_by_prefix(prefix) else { return false };
        let allowed = self.database.allows(&row, resource, action);
        if let Some(token) = token {
            self.set_cached_scope_validation(&row, resource, action, allowed, &token);
        }
        allowed
    }

    /// A page of a user's keys: how many there are, and the ids of this page.
    #[track_caller]
    pub fn list_keys(&mut self, user: &str, offset: usize, limit: usize) -> (usize, Vec<String>) {
        let reply = self.get_cached_user_keys(user, offset, limit);
        let token = match reply.as_ref().map(code_of).as_deref() {
            Some("HIT") => {
                let reply = reply.expect("a reply");
                let [total, page] = reply.items()[1].items() else { panic!("{reply:?}") };
                let id = |record: &Reply| {
                    let record: Value = serde_json::from_str(&record.text()).expect("JSON");
                    record["id"].as_str().expect("an id").to_string()
                };
                return (total.int() as usize, page.items().iter().map(id).collect());
            }
            Some("MISS") => reply.map(|reply| reply.items()[1].text()),
            Some(other) => panic!("{other}"),
            None => None,
        };
        let rows = self.database.keys_of(user);
        if let Some(token) = token {
            self.set_cached_user_keys(user, &rows, &token);
        }
        let page = rows.iter().skip(offset).take(limit).map(|row| row.id.clone()).collect();
        (rows.len(), page)
    }

    /// Counts a use, of a key that was valid.
    #[track_caller]
    pub fn record_usage(&mut self, prefix: &str) {
        if self.increment_usage(prefix).is_none() {
            *self.database.totals.borrow_mut().entry(usage_key(prefix)).or_default() += 1;
        }
    }

    /// Hands all counts over to the database. The number of lines that were new there.
    #[track_caller]
    pub fn drain_usage(&mut self, lease_ms: i64) -> usize {
        let mut new = 0;
        loop {
            let reply = self.say(&format!("APIKEY.USAGE.LEASE {lease_ms}")).expect("a reply");
            let all = batches(&reply);
            if all.is_empty() {
                return new;
            }
            for batch in all {
                new += self.database.write(&batch);
                self.say(&format!("APIKEY.USAGE.ACK {}", batch.id));
            }
        }
    }

    /// Tells Redis, and so many replicas, what the outbox has. A change stays there until all of it is
    /// told. How many are left.
    #[track_caller]
    pub fn deliver(&mut self, replicas: i64) -> usize {
        let changes = self.database.outbox.take();
        let left: Vec<Change> =
            changes.into_iter().filter(|change| !self.tell(change, replicas)).collect();
        self.database.outbox.borrow_mut().splice(..0, left);
        self.database.outbox.borrow().len()
    }

    #[track_caller]
    pub fn tell(&mut self, change: &Change, replicas: i64) -> bool {
        let told = match change {
            Change::Key { prefix, id, user } => {
                self.invalidate_key_data(prefix, id, user).is_some()
            }
            Change::User { user } => self.invalidate_user_keys(user).is_some(),
        };
        let wait = format!("WAIT {replicas} 100");
        told && (replicas == 0 || self.say(&wait).is_some_and(|n| n.int() >= replicas))
    }

    /// A request for the scope that every row here has, by the secret that it began with.
    #[track_caller]
    pub fn ask(&mut self, prefix: &str) -> Answer {
        self.validate_api_key(prefix, SECRET, "users:read")
    }

    /// The code that VALIDATE gives, without the application behind it.
    #[track_caller]
    pub fn cached(&mut self, prefix: &str) -> String {
        self.get_cached_validation(prefix, SECRET, "users:read")
            .map_or("none".into(), |r| code_of(&r))
    }

    /// The token of a miss.
    #[track_caller]
    pub fn miss(&mut self, prefix: &str) -> String {
        let reply = self.get_cached_validation(prefix, SECRET, "users:read").expect("a reply");
        assert_eq!(code_of(&reply), "MISS");
        reply.items()[1].text()
    }
}
