//! The world around the nodes: the database of rows, two servers, the stream between them, and the readers and
//! writers, each of which takes one small step at a time.

use crate::names::{Covers, Db, Kept, Key, Shown, Tag, Version, DBS, KEYS};
use crate::node::{Command, Dump, Node, Note, Origin, Settings, Snapshot, LEASE_MS, TOKEN_TTL_MS};
use crate::switches::{Check, Duty, Limit, Switches};
use std::rc::Rc;

/// How the two servers belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A primary and its replica.
    Replicated,
    /// Two primaries of a cluster; one of them owns the slot of all keys.
    Cluster,
}

/// What a writer does to a row.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Changes it, or creates it where there is none.
    GiveTo {
        user: u8,
    },
    Delete,
}

/// How a writer tells the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tell {
    /// INVAL of the key.
    Key,
    /// TAGINVAL of the row's id.
    Id,
    /// TAGINVAL of the user whose row it was.
    User,
    /// TAGINVAL of the caller's tag.
    Team,
    /// TAGINVAL SOFT of that.
    Softly,
    /// CLEAR of the region, which is TAGINVAL of its tag.
    Region,
    /// PATINVAL of the key, or of all keys: a slice has still to come for each place of the index.
    Pattern,
    PatternOfAll,
    /// SETVAL without a token, with the row locked.
    Store,
}

/// One step of the world. A step that can't be taken now is skipped.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A reader begins with this key, or goes on with the key that it began with: it gets a token, reads the
    /// row, stores what it has read.
    Reader {
        who: usize,
        db: Db,
        key: Key,
        at_replica: bool,
    },
    /// A writer begins with this row, or goes on: it changes the row and tells the cache.
    Writer {
        who: usize,
        db: Db,
        key: Key,
        change: Change,
        tell: Tell,
    },
    /// A reader dies, or gives up and says so.
    Stop {
        who: usize,
        says: bool,
    },
    /// A slice of PATINVAL.
    Walk,
    /// The region has too many entries.
    Evict {
        db: Db,
    },
    /// DEL, expiry or eviction.
    Remove {
        db: Db,
        key: Key,
    },
    Rename {
        db: Db,
        from: Key,
        to: Key,
    },
    Copy {
        db: Db,
        from: Key,
        to_db: Db,
        to: Key,
    },
    Move {
        db: Db,
        key: Key,
    },
    /// DUMP; the bytes are kept outside.
    Dump {
        db: Db,
        key: Key,
    },
    /// RESTORE of the bytes that were dumped last, from whichever node, under this name.
    Restore {
        db: Db,
        key: Key,
    },
    SwapDb,
    FlushDb {
        db: Db,
    },
    FlushAll,
    /// A slice of reclaim.
    Reclaim {
        node: usize,
        db: Db,
    },
    /// The replica executes the next command of its primary's stream.
    Replicate,
    FullResync,
    /// The replica becomes the primary, and the primary its replica.
    Failover,
    /// An RDB, or a rewrite of the AOF.
    Save {
        node: usize,
    },
    /// A crash and a start, from what was saved last and the AOF since, without the last commands of it, or
    /// without any.
    Restart {
        node: usize,
        lost: usize,
        rdb_alone: bool,
    },
    /// All keys move to the other node of the cluster by MIGRATE, and the slot with them.
    MoveSlot,
    /// More than `token-ttl-ms` passes.
    Wait,
}

/// How a run of the model has gone wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    /// A read returns an entry that an invalidation covered, or returns it as fresh where that was soft.
    Freshness(String),
    /// Two readers have the lease of a key, or one waits for nobody.
    Lease(String),
    /// A read returns an entry as fresh that was stale, or returns one that it did not before.
    Return(String),
    /// The index differs from the keyspace.
    Exactness(String),
    /// An entry has gone that nothing was to take away.
    Loss(String),
    /// A replica that has executed the whole stream, or a server that loaded its whole AOF, answers otherwise
    /// than it should.
    Agreement(String),
}

struct Row {
    version: Version,
    user: Option<u8>,
    locked_by: Option<usize>,
}

#[derive(Clone)]
enum Reader {
    Idle,
    /// It has a token, or has read the row, or both.
    Reading {
        db: Db,
        key: Key,
        at_replica: bool,
        token: Option<String>,
        row: Option<Shown>,
    },
}

/// Who has the lease of a key, as the design has it.
struct Holder {
    who: usize,
    server: usize,
    db: Db,
    key: Key,
    until: i64,
}

impl Holder {
    /// Whether what its server executes ends the lease.
    fn ends_with(&self, command: &Command) -> bool {
        match *command {
            Command::Store { db, key, .. } if (db, key) == (self.db, self.key) => true,
            // The fence knows no databases.
            Command::Store { key, writer: Some(_), .. } | Command::Inval { key, .. } => {
                key == self.key
            }
            Command::TagInval { tag, .. } | Command::Soften { tag, .. } => tag == Tag::Region,
            Command::FlushDb { .. } | Command::FlushAll { .. } => true,
            _ => false,
        }
    }
}

#[derive(Clone)]
enum Writer {
    Idle,
    Writing {
        db: Db,
        key: Key,
        to: Shown,
        /// What is still to be done, the next last.
        todo: Vec<Act>,
        tell: Covers,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Lock,
    Commit,
    Invalidate,
    Store,
    Unlock,
}

struct Server {
    node: Node,
    /// All that it has executed. A replica's is the beginning of its primary's while it is linked.
    log: Vec<Rc<Vec<Command>>>,
    saved: Snapshot,
    /// Whether it can go on with its primary's stream.
    linked: bool,
}

pub struct World {
    switches: Switches,
    settings: Settings,
    shape: Shape,
    rows: [Row; KEYS],
    servers: [Server; 2],
    /// Where clients write: the primary, or the owner of the slot.
    leader: usize,
    readers: [Reader; 2],
    writers: [Writer; 2],
    holders: Vec<Holder>,
    last_note: usize,
    dumped: Option<Dump>,
    /// Every invalidation that has replied, with the databases that it was about.
    notes: Vec<(Note, Covers, Vec<Db>)>,
    now: i64,
    /// When the slot left a node.
    left_at: [Option<i64>; 2],
    last_run: u64,
    /// In words what has happened, where someone is to read it.
    story: Option<Vec<String>>,
}

impl World {
    pub fn new(switches: &Switches, shape: Shape, settings: Settings) -> Self {
        let server = |run| Server {
            node: Node::new(switches, settings, run),
            log: Vec::new(),
            saved: Snapshot::default(),
            linked: true,
        };
        let row = |user| Row { version: 1, user, locked_by: None };
        Self {
            switches: *switches,
            settings,
            shape,
            rows: [row(Some(0)), row(Some(1)), row(None)],
            servers: [server(1), server(2)],
            leader: 0,
            readers: [Reader::Idle, Reader::Idle],
            writers: [Writer::Idle, Writer::Idle],
            holders: Vec::new(),
            last_note: 0,
            dumped: None,
            notes: Vec::new(),
            now: 0,
            left_at: [None, None],
            last_run: 2,
            story: None,
        }
    }

    /// Tells from now on what happens.
    pub fn tell_story(&mut self) {
        self.story = Some(Vec::new());
    }

    pub fn story(&self) -> &[String] {
        self.story.as_deref().unwrap_or_default()
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }

    /// Takes a step and looks whether everything still holds.
    pub fn take(&mut self, step: Step) -> Result<(), Wrong> {
        self.now += 1;
        match step {
            Step::Reader { who, db, key, at_replica } => {
                self.reader_steps(who, db, key, at_replica)?;
            }
            Step::Writer { who, db, key, change, tell } => {
                self.writer_steps(who, db, key, change, tell);
            }
            Step::Stop { who, says } => self.stop_reader(who, says),
            Step::Walk => {
                let server = &mut self.servers[self.leader];
                let (command, replied) = server.node.go_on_with_pattern();
                if let Some(command) = command {
                    server.log.push(Rc::new(vec![command.clone()]));
                    self.say(|| format!("a pattern is invalidated: {command:?}"));
                }
                if let Some((note, covers, db)) = replied {
                    self.notes.push((note, covers, vec![db]));
                }
            }
            Step::Evict { db } => {
                let server = &mut self.servers[self.leader];
                if let Some(command) = server.node.evict(db) {
                    server.log.push(Rc::new(vec![command.clone()]));
                    self.say(|| format!("the region evicts: {command:?}"));
                }
            }
            Step::Remove { db, key } => drop(self.run(Command::Unlink { db, key })),
            Step::Rename { db, from, to } => drop(self.run(Command::Rename { db, from, to })),
            Step::Copy { db, from, to_db, to } => {
                self.run(Command::Copy { db, from, to_db, to });
            }
            Step::Move { db, key } => drop(self.run(Command::Move { db, key })),
            Step::Dump { db, key } => {
                if let Some(dump) = self.leader().node.dump(db, key) {
                    self.say(|| format!("DUMP of k{key} in db {db}"));
                    self.dumped = Some(dump);
                }
            }
            Step::Restore { db, key } => {
                if let Some(dump) = self.dumped.clone() {
                    self.run(Command::Restore { db, key, dump });
                }
            }
            Step::SwapDb => drop(self.run(Command::SwapDb)),
            Step::FlushDb { db } => {
                let note = self.note(Covers::All, vec![db], self.versions());
                self.run(Command::FlushDb { db, note });
            }
            Step::FlushAll => {
                let note = self.note(Covers::All, vec![0, 1], self.versions());
                self.run(Command::FlushAll { note });
            }
            Step::Reclaim { node, db } => self.reclaim(node, db)?,
            Step::Replicate => self.replicate(),
            Step::FullResync => self.full_resync(),
            Step::Failover => self.failover(),
            Step::Save { node } => {
                let server = &mut self.servers[node];
                server.saved = server.node.save(server.log.len());
                self.say(|| format!("server {node} saves"));
            }
            Step::Restart { node, lost, rdb_alone } => self.restart(node, lost, rdb_alone)?,
            Step::MoveSlot => self.move_slot(),
            Step::Wait => {
                self.now += TOKEN_TTL_MS + 1;
                self.say(|| "a long time passes".into());
            }
        }
        self.look()
    }

    /// Everything that must hold after every step.
    fn look(&self) -> Result<(), Wrong> {
        for (number, server) in self.servers.iter().enumerate() {
            let on = |what: String| format!("server {number}: {what}");
            let stale = server.node.stale_entry(self.now);
            stale.map_or(Ok(()), |what| Err(Wrong::Freshness(on(what))))?;
            let returned = server.node.returned_entry(self.now);
            returned.map_or(Ok(()), |what| Err(Wrong::Return(on(what))))?;
            server.node.difference().map_or(Ok(()), |what| Err(Wrong::Exactness(on(what))))?;
            server.node.lost_entry().map_or(Ok(()), |what| Err(Wrong::Loss(on(what))))?;
        }
        let [one, other] = &self.servers;
        if self.shape == Shape::Replicated
            && self.replica().linked
            && !self.leader().node.must_tell()
            && one.log.len() == other.log.len()
        {
            let [one, other] = [one, other].map(|server| answers(&server.node, self.now));
            let what = answers_differ(&one, &other);
            what.map_or(Ok(()), |what| Err(Wrong::Agreement(what)))?;
            let [one, other] = &self.servers;
            if self.leader().node.backlog() == 0 && one.node.names() != other.node.names() {
                return Err(Wrong::Agreement("the primary and its replica hold other keys".into()));
            }
        }
        Ok(())
    }

    // Servers.

    fn leader(&self) -> &Server {
        &self.servers[self.leader]
    }

    fn replica(&self) -> &Server {
        &self.servers[1 - self.leader]
    }

    /// Whether a node has dropped all and not told yet, and is to have the time to.
    fn has_yet_to_tell(&self, number: usize) -> bool {
        self.servers[number].node.must_tell() && self.switches.within(Limit::TimeToTell)
    }

    fn new_run(&mut self) -> u64 {
        self.last_run += 1;
        self.last_run
    }

    /// A client's command, where clients write; whether it did anything.
    fn run(&mut self, command: Command) -> bool {
        self.run_on(self.leader, command)
    }

    /// .. and on every primary.
    fn run_on_all(&mut self, command: Command) {
        if self.shape == Shape::Cluster {
            self.run_on(1 - self.leader, command.clone());
        }
        self.run(command);
    }

    fn run_on(&mut self, number: usize, command: Command) -> bool {
        self.holders.retain(|holder| holder.server != number || !holder.ends_with(&command));
        let server = &mut self.servers[number];
        let Some(commands) = server.node.execute(&command, Origin::Client) else { return false };
        server.log.push(Rc::new(commands));
        self.say(|| format!("server {number}: {command:?}"));
        true
    }

    fn versions(&self) -> [Version; KEYS] {
        std::array::from_fn(|key| self.rows[key].version)
    }

    /// An invalidation is issued: what it covers is to show these versions, or newer ones.
    fn note(&mut self, covers: Covers, dbs: Vec<Db>, versions: [Version; KEYS]) -> Note {
        let note = self.new_note(versions);
        self.notes.push((note, covers, dbs));
        note
    }

    fn new_note(&mut self, versions: [Version; KEYS]) -> Note {
        self.last_note += 1;
        Note { id: self.last_note, versions }
    }

    /// All invalidations that ever replied bind this node.
    fn bind_by_all(&mut self, number: usize, at_all_times: bool) {
        for (note, covers, dbs) in &self.notes {
            for &db in dbs {
                self.servers[number].node.promise_too(*note, *covers, db, at_all_times);
            }
        }
    }

    fn replicate(&mut self) {
        let leader = self.leader;
        let at = self.replica().log.len();
        let Some(commands) = self.servers[leader].log.get(at).map(Rc::clone) else { return };
        if self.shape == Shape::Cluster || !self.replica().linked {
            return;
        }
        self.say(|| format!("the replica executes {commands:?}"));
        let replica = &mut self.servers[1 - leader];
        for command in commands.iter() {
            replica.node.execute(command, Origin::Replication);
        }
        replica.log.push(commands);
    }

    fn full_resync(&mut self) {
        if self.shape == Shape::Cluster {
            return;
        }
        self.say(|| "full resync".into());
        let leader = self.leader();
        let (log, snapshot) = (leader.log.clone(), leader.node.save(leader.log.len()));
        let replica = &mut self.servers[1 - self.leader];
        replica.node.resync(&snapshot);
        (replica.log, replica.saved, replica.linked) = (log, snapshot, true);
    }

    fn failover(&mut self) {
        if self.shape == Shape::Cluster || self.has_yet_to_tell(self.leader) {
            return;
        }
        let run = self.new_run();
        let leader = 1 - self.leader;
        self.leader = leader;
        self.say(|| format!("server {leader} is promoted"));
        let [one, other] = &self.servers;
        let same = self.leader().linked && one.log.len() == other.log.len();
        self.servers[1 - self.leader].linked = same;
        self.servers[1 - self.leader].node.demote();
        self.holders.clear();
        let promoted = &mut self.servers[self.leader];
        promoted.linked = true;
        promoted.node.promote(run);
        // What the failover lost of invalidations is not lost for what comes from now on, and where what
        // was there is not trusted, for nothing.
        self.bind_by_all(self.leader, !self.settings.trust_promoted);
    }

    fn restart(&mut self, number: usize, lost: usize, rdb_alone: bool) -> Result<(), Wrong> {
        let run = self.new_run();
        let is_replica = self.shape == Shape::Replicated && number != self.leader;
        let untold = self.has_yet_to_tell(number);
        let server = &mut self.servers[number];
        let position = match rdb_alone {
            true => server.saved.position,
            false => server.log.len().saturating_sub(lost).max(server.saved.position),
        };
        let all = position == server.log.len() && !untold;
        let run = if self.switches.on(Check::NewRunAtStart) { run } else { server.node.run() };
        let before = answers(&server.node, self.now);
        let bound = server.node.bound_at_all_times();
        server.node = Node::new(&self.switches, self.settings, run);
        self.holders.retain(|holder| holder.server != number);
        server.log.truncate(position);
        let trusts = is_replica && self.switches.on(Check::TrustAsReplica);
        let origin = if trusts { Origin::Replication } else { Origin::Loading };
        server.node.load(&server.saved, origin);
        for command in
            server.log[server.saved.position..].iter().flat_map(|commands| commands.iter())
        {
            server.node.execute(command, origin);
        }
        server.node.end_loading(origin);
        let after = answers(&server.node, self.now);
        let trusted = is_replica || self.settings.trust_loaded;
        if trusted && all {
            for (note, covers, db) in bound {
                server.node.promise_too(note, covers, db, true);
            }
        }
        self.say(|| {
            let role = if is_replica { "replica" } else { "primary" };
            format!("server {number} starts as a {role} with {position} commands of its log")
        });
        if is_replica {
            return Ok(());
        }
        if self.shape == Shape::Cluster && number != self.leader {
            // The server drops keys of slots that are another's.
            for (db, key) in self.servers[number].node.names() {
                self.run_on(number, Command::Unlink { db, key });
            }
            return Ok(());
        }
        self.servers[1 - number].linked &= all;
        self.bind_by_all(number, !self.settings.trust_loaded);
        if self.settings.trust_loaded && all {
            self.look()?;
            answers_differ(&before, &after).map_or(Ok(()), |what| Err(Wrong::Agreement(what)))?;
        }
        Ok(())
    }

    fn move_slot(&mut self) {
        let (from, to) = (self.leader, 1 - self.leader);
        let early = self.left_at[to].is_some_and(|at| self.now <= at + TOKEN_TTL_MS);
        let stays_away = early && self.switches.within(Limit::SlotStaysAway);
        if self.shape == Shape::Replicated || stays_away {
            return;
        }
        self.say(|| format!("the slot moves to server {to}"));
        for (db, key) in self.servers[from].node.names() {
            if let Some(dump) = self.servers[from].node.dump(db, key) {
                self.run_on(to, Command::Restore { db, key, dump });
            }
            self.run_on(from, Command::Unlink { db, key });
        }
        self.left_at[from] = Some(self.now);
        self.leader = to;
        self.bind_by_all(to, true);
    }

    fn reclaim(&mut self, number: usize, db: Db) -> Result<(), Wrong> {
        let is_replica = self.shape == Shape::Replicated && number != self.leader;
        let told = self.servers[number].node.tell_of_drop();
        if let (Some(command), false) = (told, is_replica) {
            self.say(|| format!("server {number} tells: {command:?}"));
            self.servers[number].log.push(Rc::new(vec![command]));
        }
        if is_replica && self.switches.on(Check::ReplicasOnlyJudge) {
            return Ok(());
        }
        let server = &mut self.servers[number];
        let Some((command, shows)) = server.node.reclaim_one(db, self.now) else { return Ok(()) };
        if !is_replica && self.switches.on(Check::ReclaimReplicates) {
            server.log.push(Rc::new(vec![command.clone()]));
        }
        self.say(|| format!("server {number} reclaims: {command:?}"));
        match shows {
            Some(shown) => Err(Wrong::Loss(format!("reclaim took {shown:?} away"))),
            None => Ok(()),
        }
    }

    // Readers and writers.

    fn row(&self, key: Key) -> Shown {
        Shown { row: key, version: self.rows[key].version, user: self.rows[key].user }
    }

    fn reader_steps(
        &mut self,
        who: usize,
        db: Db,
        key: Key,
        at_replica: bool,
    ) -> Result<(), Wrong> {
        let reader = std::mem::replace(&mut self.readers[who], Reader::Idle);
        let (db, key, at_replica, token, row) = match reader {
            Reader::Idle => (db, key, at_replica, None, None),
            Reader::Reading { db, key, at_replica, token, row } => {
                (db, key, at_replica, token, row)
            }
        };
        let token_first = self.switches.observed(Duty::TokenBeforeRow);
        let (token, row) = match (token, row) {
            (Some(token), Some(row)) => return self.fill(who, db, key, &token, row),
            (None, row) if token_first || row.is_some() => {
                let at_replica = at_replica && self.shape == Shape::Replicated;
                let is_cached = Kept::of(key, self.settings.regions) != Kept::Record;
                let fresh = |read: Option<(Shown, bool)>| matches!(read, Some((_, false)));
                let is_fresh = || fresh(self.leader().node.read(db, key, self.now));
                let token = if is_cached && !at_replica && !is_fresh() {
                    match self.ask_to_load(who, db, key)? {
                        Some(token) => token,
                        None => return Ok(()),
                    }
                } else {
                    let server = if at_replica { self.replica() } else { self.leader() };
                    server.node.token(at_replica, self.now)
                };
                self.say(|| format!("reader {who} gets a token for k{key} in db {db}"));
                (Some(token), row)
            }
            (token, _) => {
                let row = self.row(key);
                self.say(|| format!("reader {who} reads {row:?}"));
                (token, Some(row))
            }
        };
        self.readers[who] = Reader::Reading { db, key, at_replica, token, row };
        Ok(())
    }

    /// A token, with the lease of the key; `None` where another reader has that.
    fn ask_to_load(&mut self, who: usize, db: Db, key: Key) -> Result<Option<String>, Wrong> {
        let (leader, now) = (self.leader, self.now);
        let token = self.servers[leader].node.ask_to_load(db, key, now);
        let is_of = |holder: &&Holder| {
            (holder.server, holder.db, holder.key) == (leader, db, key) && now < holder.until
        };
        let holder = self.holders.iter().find(is_of).map(|holder| holder.who);
        // Names that share a slot end each other's leases.
        let is_exact = self.settings.fence_slots >= 1024;
        match (&token, holder) {
            (Some(_), Some(other)) if is_exact => {
                let what = format!("readers {other} and {who} have the lease of k{key} in db {db}");
                return Err(Wrong::Lease(what));
            }
            (None, None) => {
                let what = format!("reader {who} waits for nobody who loads k{key} in db {db}");
                return Err(Wrong::Lease(what));
            }
            (Some(_), _) => {
                let until = now + LEASE_MS;
                self.holders.push(Holder { who, server: leader, db, key, until });
            }
            (None, Some(_)) => self.say(|| format!("reader {who} waits for k{key} in db {db}")),
        }
        Ok(token)
    }

    fn stop_reader(&mut self, who: usize, says: bool) {
        let reader = std::mem::replace(&mut self.readers[who], Reader::Idle);
        let Reader::Reading { db, key, token: Some(token), .. } = reader else { return };
        self.say(|| format!("reader {who} stops"));
        if says {
            let now = self.now;
            self.servers[self.leader].node.give_load_back(db, key, &token, now);
            self.holders.retain(|holder| holder.who != who);
        } else {
            // The lease goes on until its time is over.
            let of_who = self.holders.iter_mut().filter(|holder| holder.who == who);
            of_who.for_each(|holder| holder.who = usize::MAX);
        }
    }

    /// SETVAL or SETABSENT with a token.
    fn fill(
        &mut self,
        who: usize,
        db: Db,
        key: Key,
        token: &str,
        shown: Shown,
    ) -> Result<(), Wrong> {
        self.holders.retain(|holder| holder.who != who);
        let node = &self.leader().node;
        // What is a region's, the source's word replaces.
        let is_record = Kept::of(shown.row, self.settings.regions) == Kept::Record;
        let live = node.read(db, key, self.now).map(|(live, _)| live);
        let live = live.filter(|live| is_record && shown.is_absent() && !live.is_absent());
        let covers = live.is_some() && self.switches.on(Check::AbsentNeverCoversLive);
        if covers || !node.accepts(token, db, key, shown, self.now) {
            self.give_load_back(db, key, token);
            self.say(|| format!("the fill of reader {who} is refused"));
            return Ok(());
        }
        self.say(|| format!("the fill of reader {who} is accepted"));
        let stored = self.run(Command::Store { db, key, shown, at: self.now, writer: None });
        if !stored {
            // A node that has a word to say first stores nothing, whatever the token.
            self.give_load_back(db, key, token);
        }
        match live {
            Some(live) if live.version > shown.version => {
                Err(Wrong::Loss(format!("SETABSENT replaced {live:?}")))
            }
            _ => Ok(()),
        }
    }

    /// A fill was refused.
    fn give_load_back(&mut self, db: Db, key: Key, token: &str) {
        if self.switches.on(Check::LeaseEndsByRefusal) {
            let now = self.now;
            self.servers[self.leader].node.give_load_back(db, key, token, now);
        }
    }

    fn writer_steps(&mut self, who: usize, db: Db, key: Key, change: Change, tell: Tell) {
        if let Writer::Idle = self.writers[who] {
            self.writers[who] = self.begin_to_write(db, key, change, tell);
        }
        let Writer::Writing { db, key, mut to, todo, tell } = self.writers[who].clone() else {
            return;
        };
        let Some((&act, rest)) = todo.split_last() else { return };
        let row = &mut self.rows[key];
        if matches!(act, Act::Lock | Act::Commit) && row.locked_by.is_some_and(|other| other != who)
        {
            return;
        }
        match act {
            Act::Lock => {
                to.version = row.version + 1;
                row.locked_by = Some(who);
            }
            Act::Commit => {
                to.version = row.version + 1;
                (row.version, row.user) = (to.version, to.user);
            }
            Act::Unlock => row.locked_by = None,
            Act::Invalidate => self.invalidate(db, tell, to),
            Act::Store => {
                let mut versions = self.versions();
                versions[key] = to.version;
                let note = self.note(Covers::Key(key), vec![db], versions);
                let at = self.now;
                self.run(Command::Store { db, key, shown: to, at, writer: Some(note) });
            }
        }
        if !matches!(act, Act::Invalidate | Act::Store) {
            self.say(|| format!("writer {who}: {act:?} of {to:?}"));
        }
        self.writers[who] = match rest {
            [] => Writer::Idle,
            rest => Writer::Writing { db, key, to, todo: rest.to_vec(), tell },
        };
    }

    fn begin_to_write(&self, db: Db, key: Key, change: Change, tell: Tell) -> Writer {
        let row = &self.rows[key];
        let user = match change {
            Change::GiveTo { user } => Some(user),
            Change::Delete if row.user.is_none() => return Writer::Idle,
            Change::Delete => None,
        };
        let to = Shown { row: key, version: row.version + 1, user };
        // There is no SETVAL of a row that is gone: its writer invalidates.
        let stores = tell == Tell::Store && user.is_some();
        let after_commit = match stores {
            true => self.switches.observed(Duty::StoreAfterCommit),
            false => self.switches.observed(Duty::InvalidateAfterCommit),
        };
        let told = if stores { Act::Store } else { Act::Invalidate };
        let mut todo = if after_commit { vec![told, Act::Commit] } else { vec![Act::Commit, told] };
        if stores && self.switches.observed(Duty::LockUntilStored) {
            todo.insert(0, Act::Unlock);
            todo.push(Act::Lock);
        }
        let tell = match (tell, row.user.or(user)) {
            (Tell::Id, _) => Covers::Tag(Tag::Id(key)),
            (Tell::User, Some(user)) => Covers::Tag(Tag::User(user)),
            (Tell::Team, _) => Covers::Tag(Tag::team_of(key)),
            (Tell::Softly, _) => Covers::Softly(Tag::team_of(key)),
            (Tell::Region, _) if Kept::of(key, self.settings.regions) != Kept::Record => {
                Covers::Tag(Tag::Region)
            }
            (Tell::Pattern | Tell::PatternOfAll, _)
                if Kept::of(key, self.settings.regions) != Kept::Record
                    && self.shape == Shape::Replicated =>
            {
                Covers::Pattern((tell == Tell::Pattern).then_some(key))
            }
            _ => Covers::Key(key),
        };
        Writer::Writing { db, key, to, todo, tell }
    }

    /// `announces` is the change that its writer tells of, which it has committed, or should have.
    fn invalidate(&mut self, db: Db, covers: Covers, announces: Shown) {
        let mut versions = self.versions();
        versions[announces.row] = versions[announces.row].max(announces.version);
        if let Covers::Pattern(of) = covers {
            // It replies when its walk is over.
            let (note, now) = (self.new_note(versions), self.now);
            self.holders.retain(|holder| of.is_some_and(|key| key != holder.key));
            self.servers[self.leader].node.begin_pattern(db, of, note, now);
            self.say(|| format!("a pattern is to be invalidated: {covers:?} in db {db}"));
            return;
        }
        let note = self.note(covers, vec![db], versions);
        match covers {
            Covers::Tag(tag) => self.run_on_all(Command::TagInval { db, tag, note }),
            Covers::Softly(tag) => self.run_on_all(Command::Soften { db, tag, note }),
            Covers::Key(key) => drop(self.run(Command::Inval { db, key, note })),
            Covers::Pattern(_) | Covers::All => {}
        }
    }
}

/// What is shown, and whether that is stale.
type Answers = Vec<Option<(Shown, bool)>>;

/// What a node answers for every key.
fn answers(node: &Node, now: i64) -> Answers {
    (0..DBS).flat_map(|db| (0..KEYS).map(move |key| node.read(db, key, now))).collect()
}

fn answers_differ(one: &Answers, other: &Answers) -> Option<String> {
    (one != other).then(|| format!("{one:?} here, {other:?} there"))
}
