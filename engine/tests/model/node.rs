//! One server: a keyspace, and beside it the engine's own index and fence, joined as the module joins
//! them (`src/keyspace.rs`, `state.rs`, `events.rs`, `commands/`).
//!
//! Everything but the promises and the fields that say so is what the module has; the promises are the
//! model's: which invalidations this node has executed, so that a read can be judged.

use crate::names::{
    key_name, region_tag, Content, Covers, Db, Kept, Key, Shown, Tag, Version, DBS, FRESH_MS, KEYS,
};
use crate::switches::{Check, Switches};
use apikey_engine::cache::freshness::{Age, Freshness};
use apikey_engine::cache::glob::Pattern;
use apikey_engine::cache::leases::{Asked, KeyHash, Leases};
use apikey_engine::cache::patterns::Patterns;
use apikey_engine::cache::policy::Evict;
use apikey_engine::codec::value::{self as codec, Value as Decoded};
use apikey_engine::database::catalog::{Counted, Database, Next};
use apikey_engine::database::items::tags_in_index;
use apikey_engine::entry::kind::Entry;
use apikey_engine::invalidation::fence::{Fence, Token};
use apikey_engine::tags::fingerprint::{Fingerprint, Fingerprints};
use apikey_engine::tags::index::Standing;
use apikey_engine::tags::segments::Place;
use std::cell::Cell;
use std::collections::BTreeMap;

pub const TOKEN_TTL_MS: i64 = 1000;

/// How long a lease is; longer than a token lives.
pub const LEASE_MS: i64 = 1500;

/// Counts what a node executes, so that one can say what came after what.
pub type Tick = u64;

/// The number of an index, which it keeps when SWAPDB moves it.
type SiteId = u32;

/// The era of what is stamped dead; see `src/values/life.rs`.
const NEVER: u32 = 0;

/// What the module was configured to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub fence_slots: usize,
    pub sync_reclaim: usize,
    pub trust_loaded: bool,
    pub trust_promoted: bool,
    /// Whether some rows are kept as values of a region ([`Kept::of`]).
    pub regions: bool,
}

/// An invalidation, as the world remembers it.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    pub id: usize,
    /// The versions of all rows that it announced or that were current when it was issued.
    pub versions: [Version; KEYS],
}

/// A command with everything resolved, as it is replicated. Keys go by DEL, expiry, eviction and reclaim
/// alike: all are UNLINK here.
#[derive(Clone, Debug)]
pub enum Command {
    /// SETVAL or SETABSENT. With a note it is a writer's, that is, it came without a token.
    Store {
        db: Db,
        key: Key,
        shown: Shown,
        /// When.
        at: i64,
        writer: Option<Note>,
    },
    Inval {
        db: Db,
        key: Key,
        note: Note,
    },
    TagInval {
        db: Db,
        tag: Tag,
        note: Note,
    },
    /// TAGINVAL SOFT.
    Soften {
        db: Db,
        tag: Tag,
        note: Note,
    },
    /// A PATINVAL has come to its end, and replied. The model's: all that is replicated of it is what it took away.
    Walked {
        db: Db,
        covers: Covers,
        note: Note,
    },
    /// A TAGINVAL that removed all that it killed, as it is replicated.
    Killed {
        db: Db,
        tag: Tag,
        note: Note,
        gone: Vec<Key>,
    },
    /// The primary has dropped all that it had.
    Dropped,
    Unlink {
        db: Db,
        key: Key,
    },
    Rename {
        db: Db,
        from: Key,
        to: Key,
    },
    /// With REPLACE.
    Copy {
        db: Db,
        from: Key,
        to_db: Db,
        to: Key,
    },
    /// To the other database.
    Move {
        db: Db,
        key: Key,
    },
    /// With REPLACE.
    Restore {
        db: Db,
        key: Key,
        dump: Dump,
    },
    SwapDb,
    FlushDb {
        db: Db,
        note: Note,
    },
    FlushAll {
        note: Note,
    },
}

/// The bytes of a value, and for the model what they show.
#[derive(Clone, Debug)]
pub struct Dump {
    bytes: Vec<u8>,
    shown: Shown,
    /// A restart and a replica have it from the RDB. RESTORE is given none, of what is dead then anyway.
    expires_at: Option<i64>,
    /// The model's: what it has been seen as.
    seen: Seen,
}

/// What a read makes of an entry. There is no way back from one of these to one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    Fresh,
    Stale,
    /// It is dead, or its time is over.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    Client,
    /// From this replica's primary.
    Replication,
    /// From the AOF at a start.
    Loading,
}

#[derive(Clone, Debug)]
struct Value {
    content: Content,
    expires_at: Option<i64>,
    era: u32,
    /// Where the index has it.
    link: Option<(SiteId, Option<Place>)>,
    /// The model's: what the record shows; when it came to its name on this node; whether anything that
    /// may kill it has happened since.
    shown: Shown,
    came: Tick,
    touched: bool,
    /// Whether it was softened here.
    softened: bool,
    seen: Cell<Seen>,
}

struct Site {
    id: SiteId,
    database: Database,
}

/// An invalidation that has replied, as it binds this node: what it covers shows these versions, or newer
/// ones. It binds what was in the database's site when it was executed, wherever SWAPDB takes that,
/// and whatever comes into the database afterwards.
#[derive(Clone, Debug)]
struct Promise {
    note: Note,
    covers: Covers,
    db: Db,
    site: Option<SiteId>,
    since: Tick,
}

/// An RDB, the base of an AOF, or what a full resync sends.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub position: usize,
    values: Vec<(Db, Key, Dump, Tick, bool)>,
    /// With the database that a site was in, in place of the site.
    promises: Vec<(Promise, Option<Db>)>,
    tick: Tick,
}

/// A PATINVAL that goes on.
struct Walk {
    site: SiteId,
    /// Where it began.
    db: Db,
    next: Place,
    end: Place,
    pattern: Pattern,
    covers: Covers,
    note: Note,
    since: Tick,
}

pub struct Node {
    switches: Switches,
    settings: Settings,
    of: Fingerprints,
    fence: Fence,
    patterns: Patterns,
    walks: Vec<Walk>,
    loads: Leases,
    run: u64,
    era: u32,
    must_tell: bool,
    keys: [BTreeMap<Key, Value>; DBS],
    sites: [Site; DBS],
    last_site: SiteId,
    tick: Tick,
    promises: Vec<Promise>,
}

impl Node {
    pub fn new(switches: &Switches, settings: Settings, run: u64) -> Self {
        let site = |id| Site { id, database: Database::default() };
        Self {
            switches: *switches,
            settings,
            of: Fingerprints::new([9; 16]),
            fence: Fence::new(run, settings.fence_slots),
            patterns: Patterns::default(),
            walks: Vec::new(),
            loads: Leases::new(64),
            run,
            era: 1,
            must_tell: false,
            keys: Default::default(),
            sites: [site(1), site(2)],
            last_site: 2,
            tick: 0,
            promises: Vec::new(),
        }
    }

    pub fn run(&self) -> u64 {
        self.run
    }

    fn on(&self, check: Check) -> bool {
        self.switches.on(check)
    }

    // What clients ask.

    pub fn token(&self, is_replica: bool, now: i64) -> String {
        if is_replica && self.on(Check::RefusedTokenOnReplica) {
            return Token::REFUSED.text();
        }
        self.fence.token(now).text()
    }

    /// Asks to load what is missing of the region, or stale: a token, or `None` where another has the lease.
    pub fn ask_to_load(&mut self, db: Db, key: Key, now: i64) -> Option<String> {
        let token = self.fence.token(now);
        let name = key_name(key);
        let names = [self.of.of(name.as_bytes()), self.of.of(region_tag().bytes())];
        let ends = self.on(Check::LeaseEndsByInvalidation);
        let (fence, patterns) = (&self.fence, &self.patterns);
        let is_valid = |token: &Token| {
            let is_accepted = fence.accepts(token, names, now, i64::MAX)
                && patterns.accept(token.number(), name.as_bytes(), region_tag().bytes());
            is_accepted || !ends
        };
        let lease_ms = if self.on(Check::LeaseEndsByTime) { LEASE_MS } else { i64::MAX };
        let asked = self.loads.ask(self.of_load(db, key), token, now, lease_ms, is_valid);
        let waits = asked != Asked::Given && self.on(Check::LeaseMakesWait);
        (!waits).then(|| token.text())
    }

    /// A reader gives the lease of a key back.
    pub fn give_load_back(&mut self, db: Db, key: Key, token: &str, now: i64) {
        let token = Token::parse(token.as_bytes()).unwrap();
        self.loads.give_back(self.of_load(db, key), &token, now, 0);
    }

    fn of_load(&self, db: Db, key: Key) -> KeyHash {
        self.of.of(key_name(key).as_bytes()).wide_hash().wrapping_add(db as u64)
    }

    /// What VALIDATE or CACHE.GET finds under a name, and whether it is stale.
    pub fn read(&self, db: Db, key: Key, now: i64) -> Option<(Shown, bool)> {
        let value = self.keys[db].get(&key)?;
        match self.see(value, now) {
            Seen::Nothing => None,
            seen => Some((value.shown, seen == Seen::Stale)),
        }
    }

    fn see(&self, value: &Value, now: i64) -> Seen {
        let standing = self.standing(value);
        if self.reads_as_nothing(value, standing) {
            return Seen::Nothing;
        }
        let Content::Cached(cached) = &value.content else { return Seen::Fresh };
        let is_softened = standing != Standing::Alive || cached.was_softened();
        let age = Age {
            stored_at: cached.stored_at(),
            expires_at: value.expires_at,
            grace: cached.grace(),
            is_softened: is_softened && self.on(Check::JudgeSoftened),
        };
        match age.at(now, 0) {
            Freshness::Fresh { .. } => Seen::Fresh,
            Freshness::Stale => Seen::Stale,
            Freshness::Over => Seen::Nothing,
        }
    }

    fn reads_as_nothing(&self, value: &Value, standing: Standing) -> bool {
        (self.on(Check::JudgeEra) && value.era < self.era)
            || match standing {
                Standing::Alive => false,
                Standing::Softened => {
                    self.on(Check::SoftKillsTheRest) && !value.content.outlives_soft()
                }
                Standing::Condemned => self.on(Check::JudgeCondemned),
            }
    }

    fn is_dead(&self, value: &Value) -> bool {
        value.era < self.era
            || match self.standing(value) {
                Standing::Alive => false,
                Standing::Softened => !value.content.outlives_soft(),
                Standing::Condemned => true,
            }
    }

    /// What its tags say of it. What is stamped dead is condemned by a tag of its own.
    fn standing(&self, value: &Value) -> Standing {
        let Some((site, Some(place))) = value.link else { return Standing::Alive };
        let site = self.sites.iter().find(|other| other.id == site);
        let standing = site.map_or(Standing::Alive, |site| site.database.index().standing(place));
        match standing {
            Standing::Condemned if value.softened && !self.on(Check::HardBeatsSoft) => {
                Standing::Softened
            }
            standing => standing,
        }
    }

    /// How a row is kept here.
    fn kept(&self, row: Key) -> Kept {
        Kept::of(row, self.settings.regions)
    }

    /// Whether a fill under this token may store what it shows.
    pub fn accepts(&self, token: &str, db: Db, key: Key, shown: Shown, now: i64) -> bool {
        let mut token = Token::parse(token.as_bytes()).unwrap();
        if token != Token::REFUSED && !self.on(Check::Run) {
            // The same token, were it of this run.
            let text = token.text();
            let rest = text.split_once('-').unwrap().1;
            token = Token::parse(format!("{}-{rest}", self.fence.run_text()).as_bytes()).unwrap();
        }
        let ttl = if self.on(Check::TokenTtl) { TOKEN_TTL_MS } else { i64::MAX };
        let mut names = Vec::new();
        if self.on(Check::TagSlots) {
            let content = shown.content(self.kept(shown.row), now);
            content.each_tag(&mut |tag| names.push(self.fence_name(db, tag)));
        }
        if self.on(Check::KeySlot) {
            names.push(self.fence_name(db, key_name(key).as_bytes()));
        }
        let of_region = shown.content(self.kept(shown.row), now).region().is_some();
        let name = key_name(key);
        let tag = region_tag();
        let accepts =
            || self.patterns.accept(token.number(), name.as_bytes(), tag.bytes()) || !of_region;
        self.fence.accepts(&token, names, now, ttl) && accepts()
    }

    fn fence_name(&self, db: Db, name: &[u8]) -> Fingerprint {
        if self.on(Check::OneFenceForAllDatabases) {
            self.of.of(name)
        } else {
            self.of.of(&[&[db as u8], name].concat())
        }
    }

    pub fn dump(&self, db: Db, key: Key) -> Option<Dump> {
        self.keys[db].get(&key).map(|value| self.dump_of(value))
    }

    fn dump_of(&self, value: &Value) -> Dump {
        let dead = self.on(Check::StampOnSave) && self.is_dead(value);
        let softened =
            self.on(Check::SaveSaysSoftened) && self.standing(value) == Standing::Softened;
        let bytes = match &value.content {
            Content::Record(record) => codec::encode_record(record, dead),
            Content::Cached(cached) if softened && !dead => {
                codec::encode_cached(&cached.softened(), false)
            }
            Content::Cached(cached) => codec::encode_cached(cached, dead),
        };
        let (shown, expires_at, seen) = (value.shown, value.expires_at, value.seen.get());
        Dump { bytes, shown, expires_at, seen }
    }

    pub fn names(&self) -> Vec<(Db, Key)> {
        (0..DBS).flat_map(|db| self.keys[db].keys().map(move |&key| (db, key))).collect()
    }

    // What is executed, by clients, from a primary, from an AOF.

    /// Executes a command, and returns what is replicated; `None` where it did nothing.
    pub fn execute(&mut self, command: &Command, origin: Origin) -> Option<Vec<Command>> {
        self.tick += 1;
        match *command {
            Command::Store { db, key, shown, at, writer } => {
                if let Some(note) = writer {
                    self.promise(note, Covers::Key(key), db);
                }
                // Replayed, a fill has no token any more.
                let writers = writer.is_some() || origin != Origin::Client;
                if writers && self.on(Check::WriterRaises) {
                    self.raise(db, key_name(key), origin);
                }
                // Until it has told, it stores nothing.
                let waits = self.must_tell && origin == Origin::Client;
                if waits && self.on(Check::ToldBeforeStored) {
                    return None;
                }
                self.store(db, key, shown, at, self.comes_dead(origin));
                if self.on(Check::LeaseEndsByStoring) {
                    self.loads.end(self.of_load(db, key));
                }
            }
            Command::Inval { db, key, note } => {
                self.promise(note, Covers::Key(key), db);
                if self.on(Check::InvalRaises) {
                    self.raise(db, key_name(key), origin);
                }
                if self.on(Check::InvalRemoves) {
                    self.unlink(db, key);
                }
            }
            Command::TagInval { db, tag, note } => {
                let gone = self.kill(db, tag, note, origin);
                if !gone.is_empty() {
                    return Some(vec![Command::Killed { db, tag, note, gone }]);
                }
            }
            Command::Soften { db, tag, note } => {
                self.soften(db, tag, note, origin);
                if !self.on(Check::SoftIsReplicated) {
                    return None;
                }
            }
            Command::Walked { db, covers, note } => self.promise(note, covers, db),
            Command::Killed { db, tag, note, ref gone } => {
                self.kill(db, tag, note, origin);
                gone.iter().for_each(|&key| drop(self.unlink(db, key)));
            }
            Command::Dropped => self.begin_era(),
            Command::Unlink { db, key } => {
                self.unlink(db, key)?;
            }
            Command::Rename { from, to, .. } if from == to => return None,
            Command::Rename { db, from, to } => {
                let value = self.unlink(db, from)?;
                self.unlink(db, to);
                self.arrive(db, to, value, Check::StampOnRename, origin);
            }
            Command::Copy { db, from, to_db, to } if (db, from) == (to_db, to) => return None,
            Command::Copy { db, from, to_db, to } => {
                let copy = Value { link: None, ..self.keys[db].get(&from)?.clone() };
                self.unlink(to_db, to);
                self.arrive(to_db, to, copy, Check::StampOnCopy, origin);
            }
            Command::Move { db, key } if self.keys[1 - db].contains_key(&key) => return None,
            Command::Move { db, key } => {
                let value = self.unlink(db, key)?;
                self.arrive(1 - db, key, value, Check::StampOnMove, origin);
            }
            Command::Restore { db, key, ref dump } => {
                self.unlink(db, key);
                let value = self.decoded(dump);
                self.arrive(db, key, value, Check::StampOnRestore, origin);
            }
            Command::SwapDb => {
                self.keys.swap(0, 1);
                if self.on(Check::SwapMovesIndex) {
                    self.sites.swap(0, 1);
                }
            }
            Command::FlushDb { db, note } => self.flush(&[db], Some(note)),
            Command::FlushAll { note } => self.flush(&[0, 1], Some(note)),
        }
        Some(vec![command.clone()])
    }

    /// TAGINVAL: a client's takes entries away at once where they are few, and returns them; all others are
    /// condemned.
    fn kill(&mut self, db: Db, tag: Tag, note: Note, origin: Origin) -> Vec<Key> {
        self.promise(note, Covers::Tag(tag), db);
        if self.on(Check::TagInvalRaises) {
            self.raise(db, tag.name(), origin);
        }
        self.touch(db, |shown| shown.carries(tag));
        let tag = self.of.of(tag.name().as_bytes());
        let index = self.sites[db].database.index();
        let members = index.condemned_count(tag)..index.member_count(tag);
        let mut gone = Vec::new();
        if origin == Origin::Client && members.len() <= self.settings.sync_reclaim {
            for position in members.rev() {
                let index = self.sites[db].database.index();
                let Some(name) = index.member(tag, position).and_then(|place| index.name(place))
                else {
                    continue;
                };
                let key = key_of(name);
                self.unlink(db, key);
                gone.push(key);
            }
        }
        if self.on(Check::TagInvalCondemns) {
            self.sites[db].database.condemn(tag);
        }
        gone
    }

    /// TAGINVAL SOFT: what carries the tag is stale, or dead where it has no grace.
    fn soften(&mut self, db: Db, tag: Tag, note: Note, origin: Origin) {
        self.promise(note, Covers::Softly(tag), db);
        if self.on(Check::SoftRaises) {
            self.raise(db, tag.name(), origin);
        }
        self.touch(db, |shown| shown.carries(tag));
        let covered = self.keys[db].values_mut().filter(|value| value.shown.carries(tag));
        covered.for_each(|value| value.softened = true);
        let tag = self.of.of(tag.name().as_bytes());
        self.sites[db].database.soften(tag);
    }

    /// PATINVAL of a name, or of all: fills are refused from now on, and a walk begins.
    pub fn begin_pattern(&mut self, db: Db, key: Option<Key>, note: Note, now: i64) {
        self.tick += 1;
        let text = key.map_or_else(|| "apikey:*".into(), |key| format!("*{{k{key}}}"));
        let pattern = Pattern::new(text.as_bytes()).unwrap();
        if self.on(Check::PatternRefuses) {
            self.fence.raise([]);
            let number = self.fence.current();
            let region = region_tag();
            let gone = self.patterns.invalidated(
                pattern.clone(),
                region.bytes(),
                number,
                now,
                TOKEN_TTL_MS,
            );
            if let Some(number) = gone {
                self.fence.refuse_before(number);
            }
        }
        let Site { id, database } = &self.sites[db];
        self.walks.push(Walk {
            site: *id,
            db,
            next: 0,
            end: database.index().items_end() as Place,
            pattern,
            covers: Covers::Pattern(key),
            note,
            since: self.tick,
        });
    }

    /// The walk that began first looks at another item. Returns what is to be replicated, and what has replied.
    pub fn go_on_with_pattern(&mut self) -> (Option<Command>, Option<(Note, Covers, Db)>) {
        let Some(walk) = self.walks.first_mut() else { return (None, None) };
        let site = walk.site;
        let db = match self.switches.on(Check::PatternFollowsDatabase) {
            true => self.sites.iter().position(|other| other.id == site),
            false => Some(walk.db),
        };
        let Some(db) = db else {
            // The database was emptied.
            self.walks.remove(0);
            return (None, None);
        };
        let index = self.sites[db].database.index();
        let Some(place) = (walk.next..walk.end).find(|&place| index.name(place).is_some()) else {
            let Walk { covers, note, since, .. } = self.walks.remove(0);
            self.promises.push(Promise { note, covers, db, site: Some(site), since });
            return (Some(Command::Walked { db, covers, note }), Some((note, covers, db)));
        };
        walk.next = place + 1;
        let fits = |name: &&[u8]| walk.pattern.matches(name, &mut usize::MAX.clone()) == Some(true);
        let Some(key) = index.name(place).filter(fits).map(key_of) else { return (None, None) };
        let is_cached = |value: &Value| matches!(value.content, Content::Cached(_));
        if !self.on(Check::PatternKills) || !self.keys[db].get(&key).is_some_and(is_cached) {
            return (None, None);
        }
        self.unlink(db, key);
        (Some(Command::Unlink { db, key }), None)
    }

    /// This node is a replica from now on: nobody is told how a walk ends.
    pub fn demote(&mut self) {
        self.walks.clear();
    }

    fn flush(&mut self, dbs: &[Db], note: Option<Note>) {
        if self.on(Check::Floor) {
            self.fence.raise_all();
        }
        for &db in dbs {
            self.keys[db].clear();
            if self.on(Check::FlushDropsIndex) {
                self.last_site += 1;
                self.sites[db] = Site { id: self.last_site, database: Database::default() };
            }
            if let Some(note) = note {
                self.promise(note, Covers::All, db);
            }
        }
    }

    fn raise(&mut self, db: Db, name: String, origin: Origin) {
        if origin == Origin::Client || self.on(Check::ReplayRaises) {
            let name = self.fence_name(db, name.as_bytes());
            self.fence.raise([name]);
        }
    }

    /// Looks at the next key that may be dead and takes it away if it is. Returns what is to be
    /// replicated, and what a read of it would have shown: nothing, if all is well.
    pub fn reclaim_one(&mut self, db: Db, now: i64) -> Option<(Command, Option<Shown>)> {
        let database = &mut self.sites[db].database;
        let Next::Item(place) = database.next_to_reclaim() else { return None };
        let key = key_of(database.index().name(place)?);
        let shows = self.read(db, key, now).map(|(shown, _)| shown);
        let dead = self.keys[db].get(&key).is_some_and(|value| self.is_dead(value));
        if !dead && self.on(Check::ReclaimSparesTheLiving) {
            return None;
        }
        self.unlink(db, key)?;
        Some((Command::Unlink { db, key }, shows))
    }

    /// Takes the entry of the region away that is to go first, as one is where there are too many.
    pub fn evict(&mut self, db: Db) -> Option<Command> {
        let tag = region_tag();
        let database = &mut self.sites[db].database;
        let key = key_of(database.victim(tag.bytes(), Evict::Lru, None)?);
        self.unlink(db, key)?;
        Some(Command::Unlink { db, key })
    }

    // The role of the node, its starts and its saves.

    pub fn promote(&mut self, run: u64) {
        if self.on(Check::NewRunAtPromotion) {
            self.run = run;
            self.fence.begin_run(run);
        }
        if !self.settings.trust_promoted && self.on(Check::DistrustPromoted) {
            self.drop_all();
        }
    }

    /// A start has loaded everything.
    pub fn end_loading(&mut self, origin: Origin) {
        if self.comes_dead(origin) {
            self.drop_all();
        }
    }

    /// This node no longer trusts what it has.
    fn drop_all(&mut self) {
        if self.keys.iter().any(|keys| !keys.is_empty()) {
            self.begin_era();
            self.must_tell = self.on(Check::DropIsTold);
        }
    }

    /// All entries that there are die.
    fn begin_era(&mut self) {
        (0..DBS).for_each(|db| self.touch(db, |_| true));
        self.era += 1;
        self.sites.iter_mut().for_each(|site| site.database.sweep());
    }

    /// Whether it has dropped all and not told yet.
    pub fn must_tell(&self) -> bool {
        self.must_tell
    }

    /// What is to be replicated where all was dropped and nobody told yet.
    pub fn tell_of_drop(&mut self) -> Option<Command> {
        std::mem::take(&mut self.must_tell).then_some(Command::Dropped)
    }

    pub fn save(&self, position: usize) -> Snapshot {
        let mut snapshot = Snapshot { position, tick: self.tick, ..Snapshot::default() };
        for (db, keys) in self.keys.iter().enumerate() {
            for (&key, value) in keys {
                if self.on(Check::SaveKeepsTheDead) || !self.is_dead(value) {
                    let dump = self.dump_of(value);
                    snapshot.values.push((db, key, dump, value.came, value.touched));
                }
            }
        }
        let db_of = |promise: &Promise| {
            let is_it = |site: &Site| Some(site.id) == promise.site;
            self.sites.iter().position(is_it)
        };
        snapshot.promises.extend(self.promises.iter().map(|p| (p.clone(), db_of(p))));
        snapshot
    }

    /// A start loads what was saved.
    pub fn load(&mut self, snapshot: &Snapshot, origin: Origin) {
        self.tick = self.tick.max(snapshot.tick) + 1;
        let dead = self.comes_dead(origin);
        for (db, key, dump, came, touched) in &snapshot.values {
            let mut value = self.decoded(dump);
            value.came = *came;
            value.touched = *touched;
            if dead {
                value.era = NEVER;
            }
            self.enter(*db, *key, value);
        }
        self.promises.clear();
        for (promise, db) in &snapshot.promises {
            let site = db.map(|db| self.sites[db].id);
            self.promises.push(Promise { site, ..promise.clone() });
        }
    }

    /// Empties the node and loads what its primary sent.
    pub fn resync(&mut self, snapshot: &Snapshot) {
        self.flush(&[0, 1], None);
        self.load(snapshot, Origin::Replication);
    }

    fn comes_dead(&self, origin: Origin) -> bool {
        origin == Origin::Loading && !self.settings.trust_loaded && self.on(Check::DistrustLoaded)
    }

    // Keys and their index.

    fn store(&mut self, db: Db, key: Key, shown: Shown, at: i64, dead: bool) {
        self.unlink(db, key);
        let era = if dead { NEVER } else { self.era };
        let content = shown.content(self.kept(shown.row), at);
        let expires_at = match &content {
            Content::Record(_) => None,
            Content::Cached(cached) => Some(at + FRESH_MS + cached.grace()),
        };
        let value = Value {
            content,
            expires_at,
            era,
            link: None,
            shown,
            came: self.tick,
            touched: dead,
            softened: false,
            seen: Cell::new(Seen::Fresh),
        };
        self.enter(db, key, value);
    }

    fn decoded(&self, dump: &Dump) -> Value {
        let (content, dead) = match codec::decode(&dump.bytes, codec::Origin::Anyone) {
            Ok(Decoded::Record { record, dead }) => (Content::Record(record.into_owned()), dead),
            Ok(Decoded::Cached { cached, dead }) => (Content::Cached(cached.into_owned()), dead),
            other => panic!("the bytes of an entry are read again: {other:?}"),
        };
        Value {
            content,
            expires_at: dump.expires_at,
            era: if dead { NEVER } else { self.era },
            link: None,
            shown: dump.shown,
            came: self.tick,
            touched: true,
            softened: false,
            seen: Cell::new(dump.seen),
        }
    }

    /// A key has come by RENAME, COPY, MOVE or RESTORE.
    fn arrive(&mut self, db: Db, key: Key, mut value: Value, stamp: Check, origin: Origin) {
        let on_replica = origin == Origin::Replication && !self.on(Check::StampOnReplica);
        if self.on(stamp) && !on_replica {
            value.era = NEVER;
        }
        value.touched = true;
        value.came = self.tick;
        if self.on(Check::ArrivalEntersIndex) {
            self.enter(db, key, value);
        } else {
            self.keys[db].insert(key, value);
        }
    }

    fn enter(&mut self, db: Db, key: Key, mut value: Value) {
        let dead = value.era == NEVER;
        if !dead {
            value.era = self.era;
        }
        let Site { id, database } = &mut self.sites[db];
        let place = database.add_entry(key_name(key).as_bytes(), &value.content, dead, &self.of);
        value.link = Some((*id, place));
        self.keys[db].insert(key, value);
    }

    /// Takes a key away, as the server does whatever the reason.
    fn unlink(&mut self, db: Db, key: Key) -> Option<Value> {
        let mut value = self.keys[db].remove(&key)?;
        if let (Some((id, place)), true) = (value.link.take(), self.on(Check::UnlinkLeavesIndex)) {
            if let Some(site) = self.sites.iter_mut().find(|site| site.id == id) {
                let name = key_name(key);
                let counted = Counted::of(&value.content, value.era == NEVER, name.as_bytes());
                site.database.remove_entry(name.as_bytes(), place, counted);
            }
        }
        Some(value)
    }

    // The model's own: promises, and whether the node keeps them.

    fn promise(&mut self, note: Note, covers: Covers, db: Db) {
        let site = Some(self.sites[db].id);
        self.promises.push(Promise { note, covers, db, site, since: self.tick });
    }

    /// An invalidation that was executed elsewhere binds this node from now on, and if `at_all_times` also
    /// what it holds already.
    pub fn promise_too(&mut self, note: Note, covers: Covers, db: Db, at_all_times: bool) {
        if !self.promises.iter().any(|promise| promise.note.id == note.id && promise.db == db) {
            let since = if at_all_times { 0 } else { self.tick };
            self.promises.push(Promise { note, covers, db, site: None, since });
        }
    }

    /// The invalidations that bind whatever the node holds; for a node that starts with all that it held.
    pub fn bound_at_all_times(&self) -> Vec<(Note, Covers, Db)> {
        let always = self.promises.iter().filter(|promise| promise.since == 0);
        always.map(|promise| (promise.note, promise.covers, promise.db)).collect()
    }

    fn touch(&mut self, db: Db, which: impl Fn(Shown) -> bool) {
        self.keys[db].values_mut().filter(|v| which(v.shown)).for_each(|v| v.touched = true);
    }

    /// Freshness: says which entry a read returns that an invalidation covered, not even as stale; or that a soft one
    /// covered, and not as stale.
    pub fn stale_entry(&self, now: i64) -> Option<String> {
        for (db, key) in self.names() {
            let Some((shown, is_stale)) = self.read(db, key, now) else { continue };
            let came = self.keys[db].get(&key).map_or(0, |value| value.came);
            let site = Some(self.sites[db].id);
            for promise in &self.promises {
                let binds = promise.site == site || (promise.db == db && promise.since < came);
                let needed = promise.note.versions[shown.row];
                let is_told = is_stale && matches!(promise.covers, Covers::Softly(_));
                let covered = promise.covers.covers(key, shown) && shown.version < needed;
                if binds && covered && !is_told {
                    let covers = promise.covers;
                    return Some(format!(
                        "k{key} of db {db} shows {shown:?}, after an invalidation of {covers:?} \
                         at version {needed}"
                    ));
                }
            }
        }
        None
    }

    /// Return: says which entry a read returns as it did before, and had not since.
    pub fn returned_entry(&self, now: i64) -> Option<String> {
        self.names().into_iter().find_map(|(db, key)| {
            let value = self.keys[db].get(&key)?;
            let (before, seen) = (value.seen.get(), self.see(value, now));
            value.seen.set(seen);
            (seen < before).then(|| format!("k{key} of db {db} was {before:?} and is {seen:?}"))
        })
    }

    /// Exactness: says where the index differs from the keyspace.
    pub fn difference(&self) -> Option<String> {
        for db in 0..DBS {
            let database = &self.sites[db].database;
            let (index, totals) = (database.index(), database.totals());
            let count = self.keys[db].len();
            let counted = totals.records + totals.absent + totals.cached;
            if index.len() != count || counted != count as u64 {
                return Some(format!("db {db} has {count} keys, its index {}", index.len()));
            }
            let bytes: usize = self.keys[db].iter().map(|(&key, value)| bytes_of(key, value)).sum();
            if database.regions().bytes() != bytes as u64 {
                let counted = database.regions().bytes();
                return Some(format!("regions of db {db} take {bytes} bytes, and not {counted}"));
            }
            for (&key, value) in &self.keys[db] {
                let Some((_, Some(place))) = value.link else {
                    return Some(format!("k{key} of db {db} has no place in the index"));
                };
                let mut tags = Vec::new();
                tags_in_index(&value.content, value.era == NEVER, &self.of, &mut tags);
                if let Err(what) = index.check_item(place, key_name(key).as_bytes(), &tags) {
                    return Some(format!("k{key} of db {db}: {what}"));
                }
            }
            for place in 0..index.tags_end() as Place {
                if let Some(what) = index.check_tag(place, 0, usize::MAX).1.into_iter().next() {
                    return Some(format!("db {db}: {what}"));
                }
            }
        }
        None
    }

    /// How many entries wait for reclaim, at most.
    pub fn backlog(&self) -> usize {
        self.sites.iter().map(|site| site.database.reclaim_backlog()).sum()
    }

    /// Loss: says which entry counts as dead though nothing has happened to it since it was stored.
    pub fn lost_entry(&self) -> Option<String> {
        self.names().into_iter().find_map(|(db, key)| {
            let value = self.keys[db].get(&key)?;
            let is_alive = !self.is_dead(value) && self.standing(value) == Standing::Alive;
            let lost = !value.touched && !is_alive;
            lost.then(|| format!("k{key} of db {db} is dead or stale, and nothing has done that"))
        })
    }
}

/// What an entry takes of its region; a dead one is of none.
fn bytes_of(key: Key, value: &Value) -> usize {
    let region = value.content.region().filter(|_| value.era != NEVER);
    region.map_or(0, |of| of.bytes + key_name(key).len())
}

fn key_of(name: &[u8]) -> Key {
    (0..KEYS).find(|&key| key_name(key).as_bytes() == name).expect("a name of the model's")
}
