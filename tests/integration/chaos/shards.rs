//! A cluster of three primaries with a replica each, and a fourth pair that joins and leaves.

use super::clients::Clients;
use super::load::{Load, Service};
use super::{run, Disturbance, World, HEALS_WITHIN};
use crate::harness::cluster::{slot, Seen, NODE_TIMEOUT_MS};
use crate::harness::proxy::Rule;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Each has one replica: node `n` that of `n - 3`, and the last two are the pair that comes and goes.
const SHARDS: usize = 3;
const MEMBERS: usize = 2 * SHARDS;
const NODES: usize = MEMBERS + 2;

/// So many of the slots that move do so while nodes fail.
const RISKED: usize = 2;

/// Clients that are redirected.
struct Redirected;

/// What a node sees.
fn view(clients: &mut Clients, node: usize) -> Option<Vec<Seen>> {
    Some(Seen::all(&clients.ask(node, "CLUSTER NODES")?.text()))
}

impl Service for Redirected {
    fn guess(&self, clients: &mut Clients) -> Option<usize> {
        Some(clients.rng.below(MEMBERS))
    }

    fn witness(&self, clients: &mut Clients) -> usize {
        clients.rng.below(MEMBERS)
    }

    fn primaries_told_by(&self, clients: &mut Clients, node: usize) -> Option<Vec<usize>> {
        self.primaries_seen_by(clients, node)
    }

    fn primaries_seen_by(&self, clients: &mut Clients, witness: usize) -> Option<Vec<usize>> {
        let seen = view(clients, witness)?;
        let has_failed = |node: &Seen| node.is("fail") || node.is("noaddr") || node.is("handshake");
        let primaries: Vec<&Seen> = seen
            .iter()
            .filter(|node| node.is("master") && !(has_failed(node) && node.slots.is_empty()))
            .collect();
        let is_whole = primaries.iter().map(|node| node.slot_count()).sum::<usize>() == 16384
            && !primaries.iter().any(|node| has_failed(node));
        is_whole.then(|| primaries.iter().filter_map(|node| clients.node_of(node.port)).collect())
    }
}

struct Shards {
    nodes: Vec<Server>,
    /// In front of the port of each node's bus. Who connects is told by its id.
    buses: Vec<Proxy>,
    ids: Vec<String>,
    members: usize,
    clients: Clients,
    rng: Rng,
    /// Hash tags of keys whose slots move.
    moving: Vec<(String, u16)>,
    unsure: BTreeSet<String>,
}

/// Whether a primary that has given its last slot away can be kept from becoming a replica of another.
fn has_faithful_primaries() -> bool {
    kind() != Kind::Redis62
}

/// How a message of the bus begins: who sends it stands at its 40th byte.
fn sender(said: &[u8]) -> Option<String> {
    let id = said.get(40..80)?;
    (said.starts_with(b"RCmb") && id.iter().all(u8::is_ascii_hexdigit))
        .then(|| String::from_utf8_lossy(id).into_owned())
}

impl Shards {
    fn start(mut rng: Rng, settings: impl Fn(Builder) -> Builder) -> Self {
        let buses: Vec<Proxy> = (0..NODES).map(|_| Proxy::start(sender)).collect();
        let start = |number: usize| {
            let builder = Cluster::builder()
                .config(&format!("cluster-announce-bus-port {}", buses[number].port))
                // Each has its own replica and no other, so that WAIT for one is for all that may be promoted.
                .config("cluster-migration-barrier 100")
                // A process that is killed loses nothing of what it has written.
                .config("appendonly yes")
                .config("appendfsync no")
                .setting("cluster-timeout-ms", "600");
            let builder = match has_faithful_primaries() {
                true => builder.config("cluster-allow-replica-migration no"),
                false => builder,
            };
            let server = settings(builder).start();
            buses[number].leads_to(server.port + 10_000);
            server
        };
        let cluster = Cluster::of_started(SHARDS, 1, start);
        let Cluster { primaries, replicas } = cluster;
        let mut nodes: Vec<Server> =
            primaries.into_iter().chain(replicas.into_iter().flatten()).collect();
        nodes.extend((MEMBERS..NODES).map(start));
        let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
        let clients = Clients::new(&ports, Duration::from_secs(10), Rng::new(rng.next()));
        let mut c = nodes[0].client();
        let moving =
            (0..14).map(|n| format!("m{n}")).map(|tag| (tag.clone(), slot(&mut c, &tag) as u16));
        let moving = moving.collect();
        drop(c);
        let ids = vec![String::new(); NODES];
        let unsure = BTreeSet::new();
        let mut shards = Self { nodes, buses, ids, members: MEMBERS, clients, rng, moving, unsure };
        shards.learn_ids();
        shards
    }

    fn learn_ids(&mut self) {
        for node in 0..NODES {
            let id = self.clients.ask(node, "CLUSTER MYID").expect("an id");
            self.ids[node] = id.text();
        }
    }

    fn shard_of(node: usize) -> usize {
        match node {
            MEMBERS.. => SHARDS,
            _ => node % SHARDS,
        }
    }

    fn nodes_of(shard: usize) -> [usize; 2] {
        match shard {
            SHARDS => [MEMBERS, MEMBERS + 1],
            _ => [shard, shard + SHARDS],
        }
    }

    /// Whether a node takes itself for a primary.
    fn is_primary(&mut self, node: usize) -> bool {
        view(&mut self.clients, node)
            .is_some_and(|seen| seen.iter().any(|seen| seen.is("myself") && seen.is("master")))
    }

    /// The primary of a shard and its replica, in a cluster that is whole.
    fn pair(&mut self, shard: usize) -> (usize, usize) {
        let [a, b] = Self::nodes_of(shard);
        if self.is_primary(a) {
            (a, b)
        } else {
            (b, a)
        }
    }

    fn shards(&self) -> usize {
        self.members / 2
    }

    fn some_pair(&mut self) -> (usize, usize) {
        let shard = self.rng.below(self.shards());
        self.pair(shard)
    }

    fn pause(&mut self, most_ms: usize) {
        sleep(Duration::from_millis(self.rng.below(most_ms) as u64));
    }

    /// Waits, for a while, until a node is a primary.
    fn await_primary(&mut self, node: usize) {
        let began = Instant::now();
        while !self.is_primary(node) && began.elapsed() < Duration::from_secs(12) {
            sleep(Duration::from_millis(20));
        }
        self.pause(500);
    }

    /// The shard of the primary that owns a slot, as a node sees it.
    fn owner(&mut self, slot: u16) -> usize {
        let mut shard = None;
        eventually_within(HEALS_WITHIN, "a slot has an owner", || {
            let asked = self.rng.below(self.members);
            let seen = view(&mut self.clients, asked).unwrap_or_default();
            let owner = seen.iter().find(|seen| seen.owns(slot));
            shard = owner.and_then(|owner| self.clients.node_of(owner.port)).map(Self::shard_of);
            shard.is_some()
        });
        shard.expect("an owner")
    }

    /// Moves the keys of a slot that begin with none but these, if there are such.
    fn migrate(&mut self, slot: u16, from: usize, to: usize, is_meant: fn(&str) -> bool) -> bool {
        let port = self.nodes[to].port;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            let Some(keys) = self.clients.ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} 100"))
            else {
                return false;
            };
            let keys: Vec<String> = keys.items().iter().map(Reply::text).collect();
            let Some(key) = keys.iter().find(|key| is_meant(key)) else { return true };
            let line = format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 REPLACE");
            match self.clients.say(from, &[&line]) {
                // It is as it was, and may go later.
                Ok(replies) if replies[0].is_error() => {
                    let why = replies[0].text();
                    if !why.contains("NOREPLICAS") {
                        println!("{line}: {why}");
                        return false;
                    }
                    sleep(Duration::from_millis(50));
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Gives a slot to another shard. Where a node of the two fails meanwhile, what was on its way may be lost or there
    /// twice: MIGRATE promises no more.
    fn move_slot(&mut self, tag: &str, slot: u16, to: usize) {
        let from = self.owner(slot);
        if from == to {
            return;
        }
        let ((from, from_replica), (to, to_replica)) = (self.pair(from), self.pair(to));
        let replids = |shards: &mut Self| {
            [from, to].map(|node| shards.clients.replication(node, "master_replid"))
        };
        let before = replids(self);
        let ids = [self.ids[from].clone(), self.ids[to].clone()];
        let mut set = |node: usize, how: &str| {
            self.clients.ask(node, &format!("CLUSTER SETSLOT {slot} {how}")).is_some()
        };
        let mut is_moved = set(to, &format!("IMPORTING {}", ids[0]))
            && set(from, &format!("MIGRATING {}", ids[1]));
        self.pause(60);
        is_moved = is_moved && self.migrate(slot, from, to, |_| true);
        // It is given away in any case: keys that stay behind are still drained where they are.
        let others: Vec<usize> =
            (0..self.members).filter(|node| ![from, to].contains(node)).collect();
        for node in [to, from].into_iter().chain(others) {
            self.clients.ask(node, &format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]));
        }
        is_moved = is_moved && self.all_see(slot, to) && before == replids(self);
        for (node, replica) in [(from, from_replica), (to, to_replica)] {
            is_moved = is_moved && self.is_in_sync(node, replica);
        }
        if !is_moved {
            println!("a move of {tag} from {from} to {to} was disturbed");
            self.unsure.insert(tag.into());
            // Where one was no primary any more, it is still open.
            for node in 0..self.members {
                self.clients.ask(node, &format!("CLUSTER SETSLOT {slot} STABLE"));
            }
        }
    }

    /// Waits, for a while, until all members see who owns a slot.
    fn all_see(&mut self, slot: u16, owner: usize) -> bool {
        let began = Instant::now();
        let mut bumped = Instant::now();
        while began.elapsed() < Duration::from_secs(12) {
            let id = self.ids[owner].clone();
            let members = 0..self.members;
            let is_seen = members.clone().all(|node| {
                let seen = view(&mut self.clients, node).unwrap_or_default();
                let mut owners = seen.iter().filter(|seen| seen.owns(slot));
                owners.next().is_some_and(|seen| seen.id == id)
            });
            if is_seen {
                return true;
            }
            // Two claims of which none is newer: said again, as `redis-cli --cluster fix` does.
            if bumped.elapsed() > Duration::from_secs(4) {
                bumped = Instant::now();
                self.clients.ask(owner, "CLUSTER BUMPEPOCH");
                for node in members {
                    self.clients.ask(node, &format!("CLUSTER SETSLOT {slot} NODE {id}"));
                }
            }
            sleep(Duration::from_millis(20));
        }
        false
    }

    /// Waits, for a while, until a replica has what its primary had.
    fn is_in_sync(&mut self, primary: usize, replica: usize) -> bool {
        let Some(at) = self.clients.replication(primary, "master_repl_offset") else {
            return false;
        };
        let at: i64 = at.parse().expect("an offset");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            let link = self.clients.replication(replica, "master_link_status");
            let has = self.clients.replication(replica, "slave_repl_offset");
            let has = has.and_then(|has| has.parse::<i64>().ok());
            if link.as_deref() == Some("up") && has.is_some_and(|has| has >= at) {
                return true;
            }
            sleep(Duration::from_millis(10));
        }
        false
    }

    /// Everything runs, is connected, and agrees.
    fn is_whole(&mut self) -> bool {
        let mut claims = BTreeSet::new();
        for node in 0..self.members {
            let Some(seen) = view(&mut self.clients, node) else { return false };
            let is_well = |seen: &Seen| {
                let is_bad = ["fail", "fail?", "noaddr", "handshake"].iter().any(|f| seen.is(f));
                !is_bad && (seen.is_linked || seen.is("myself"))
            };
            if seen.len() != self.members || !seen.iter().all(is_well) {
                return false;
            }
            let state = self.clients.ask(node, "CLUSTER INFO");
            if !state.is_some_and(|state| state.text().contains("cluster_state:ok")) {
                return false;
            }
            let claim = |seen: &Seen| {
                (seen.id.clone(), seen.is("master"), seen.follows.clone(), seen.slots.clone())
            };
            let mut all: Vec<_> = seen.iter().map(claim).collect();
            all.sort();
            claims.insert(all);
        }
        if claims.len() != 1 {
            return false;
        }
        (0..self.shards()).all(|shard| {
            let (primary, replica) = self.pair(shard);
            let role = self.clients.replication(replica, "role");
            let link = self.clients.replication(replica, "master_link_status");
            let known = self.clients.replication(primary, "slave0");
            role.as_deref() == Some("slave")
                && link.as_deref() == Some("up")
                && known.is_some_and(|known| known.contains("state=online"))
        })
    }

    /// What an operator does where a cluster does not become whole by itself.
    fn help(&mut self) {
        for node in 0..self.members {
            let nodes = self.clients.ask(node, "CLUSTER NODES").map(|nodes| nodes.text());
            println!("node {node} sees:\n{}", nodes.unwrap_or_default());
        }
        // Two claims on a slot of which none is newer.
        for (_, slot) in self.moving.clone() {
            let owner = self.owner(slot);
            let owner = self.pair(owner).0;
            self.clients.ask(owner, "CLUSTER BUMPEPOCH");
        }
        // One that was replaced while a slot of its moved does not see that it was.
        for node in 0..self.members {
            let [a, b] = Self::nodes_of(Self::shard_of(node));
            let owns = |shards: &mut Self, node: usize| {
                let seen = view(&mut shards.clients, node).unwrap_or_default();
                let own = seen.iter().find(|seen| seen.is("myself") && seen.is("master"));
                own.map(|seen| seen.slot_count() > 0)
            };
            let other = if node == a { b } else { a };
            if owns(self, node) == Some(false) && owns(self, other) == Some(true) {
                let min = self.clients.ask(node, "CONFIG GET min-replicas-to-write");
                self.clients.ask(node, "CONFIG SET min-replicas-to-write 0");
                self.clients.ask(node, "FLUSHALL");
                self.clients.ask(node, &format!("CLUSTER REPLICATE {}", self.ids[other]));
                let min = min.map_or("0".into(), |min| min.items()[1].text());
                self.clients.ask(node, &format!("CONFIG SET min-replicas-to-write {min}"));
            }
        }
    }

    /// One of the slots that move.
    fn some_slot(&mut self) -> (String, u16) {
        let among = RISKED..self.moving.len();
        self.moving[among.start + self.rng.below(among.len())].clone()
    }

    fn some_other(&mut self, shard: usize) -> usize {
        (shard + 1 + self.rng.below(self.shards() - 1)) % self.shards()
    }

    fn slots_move(&mut self) {
        for _ in 0..1 + self.rng.below(2) {
            let (tag, slot) = self.some_slot();
            self.moves_there_and_back(&tag, slot);
        }
    }

    fn moves_there_and_back(&mut self, tag: &str, slot: u16) {
        let from = self.owner(slot);
        let to = self.some_other(from);
        self.move_slot(tag, slot, to);
        self.pause(300);
        if !self.rng.one_in(3) {
            self.move_slot(tag, slot, from);
        }
    }

    /// Counts may be lost or doubled then, by what MIGRATE is: so of few keys.
    fn slots_move_in_a_failover(&mut self) {
        let (_, replica) = self.some_pair();
        let how = if self.rng.one_in(2) { "" } else { " FORCE" };
        self.clients.ask(replica, &format!("CLUSTER FAILOVER{how}"));
        for at in 0..RISKED {
            let (tag, slot) = self.moving[at].clone();
            self.moves_there_and_back(&tag, slot);
        }
    }

    /// Entries go, and what is filled meanwhile is filled there; counters stay where they are.
    fn a_migration_is_cancelled(&mut self) {
        let (tag, slot) = self.some_slot();
        let from = self.owner(slot);
        let to = self.some_other(from);
        let ((from, _), (to, _)) = (self.pair(from), self.pair(to));
        let [source, target] = [from, to].map(|node| self.ids[node].clone());
        self.clients.ask(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {source}"));
        self.clients.ask(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {target}"));
        self.pause(100);
        self.migrate(slot, from, to, |key| !key.ends_with('u'));
        self.pause(600);
        self.clients.ask(from, &format!("CLUSTER SETSLOT {slot} STABLE"));
        let is_tidy = self.rng.one_in(2);
        let left = self.clients.ask(to, &format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        for key in left.iter().flat_map(Reply::items).map(Reply::text).filter(|_| is_tidy) {
            let _ = self.clients.say(to, &["ASKING", &format!("DEL {key}")]);
        }
        self.clients.ask(to, &format!("CLUSTER SETSLOT {slot} STABLE"));
        println!("{tag} stays at {from}");
    }

    /// Some of a shard's slots, by Valkey's CLUSTER MIGRATESLOTS; sometimes they stay after all.
    fn slots_move_as_a_whole(&mut self) {
        if kind() != Kind::Valkey91 {
            return;
        }
        let from = self.owner(self.moving[RISKED].1);
        let to = self.some_other(from);
        let all: Vec<(String, u16)> = self.moving[RISKED..].to_vec();
        let slots: Vec<(String, u16)> =
            all.into_iter().filter(|(_, slot)| self.owner(*slot) == from).collect();
        let ranges: Vec<String> = slots.iter().map(|(_, slot)| format!("{slot} {slot}")).collect();
        let ((from, from_replica), (to, to_replica)) = (self.pair(from), self.pair(to));
        self.clients.ask(from, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        let line =
            format!("CLUSTER MIGRATESLOTS SLOTSRANGE {} NODE {}", ranges.join(" "), self.ids[to]);
        let has_begun = self.clients.ask(from, &line).is_some();
        // Meanwhile their keys are at both.
        self.pause(600);
        match self.rng.below(6) {
            0 => drop(self.clients.ask(from, "CLUSTER CANCELSLOTMIGRATIONS")),
            1 => drop(self.clients.ask(from_replica, "CLUSTER FAILOVER")),
            2 => drop(self.clients.ask(to_replica, "CLUSTER FAILOVER")),
            _ => {}
        }
        self.clients.ask(from, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
        let began = Instant::now();
        let mut state = String::new();
        while has_begun && began.elapsed() < Duration::from_secs(15) {
            let known = self.clients.ask(from, "CLUSTER GETSLOTMIGRATIONS");
            let newest = known.as_ref().and_then(|known| known.items().first());
            state = newest.map(|newest| newest.get("state").text()).unwrap_or_default();
            if ["success", "failed", "cancelled"].contains(&state.as_str()) {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        println!("{} slots from {from} to {to}: {state}", slots.len());
        let has_come = slots.iter().all(|&(_, slot)| state != "success" || self.all_see(slot, to));
        if !has_come || !self.is_in_sync(to, to_replica) {
            self.unsure.extend(slots.into_iter().map(|(tag, _)| tag));
        }
    }

    fn a_primary_is_killed(&mut self) {
        let (primary, replica) = self.some_pair();
        self.nodes[primary].stop(Stop::Kill);
        self.await_primary(replica);
        self.nodes[primary].start_again();
    }

    fn a_node_is_restarted(&mut self) {
        let (primary, replica) = self.some_pair();
        let node = if self.rng.one_in(2) { primary } else { replica };
        self.nodes[node].restart(Stop::Kill);
    }

    fn a_failover(&mut self, how: &str) {
        let (_, replica) = self.some_pair();
        self.clients.ask(replica, &format!("CLUSTER FAILOVER{how}"));
        self.await_primary(replica);
    }

    fn a_primary_is_stopped_shortly(&mut self) {
        let (primary, _) = self.some_pair();
        self.nodes[primary].freeze();
        self.pause(NODE_TIMEOUT_MS as usize);
        self.nodes[primary].wake();
        self.pause(300);
    }

    fn a_primary_is_stopped_for_long(&mut self) {
        let (primary, replica) = self.some_pair();
        self.nodes[primary].freeze();
        self.await_primary(replica);
        self.nodes[primary].wake();
        self.pause(300);
    }

    fn some_rule(&mut self) -> Rule {
        match self.rng.below(3) {
            0 => Rule::Cut,
            1 => Rule::Held,
            _ => Rule::Slow(Duration::from_millis(50 + self.rng.below(300) as u64)),
        }
    }

    /// Both ways, or one.
    fn a_link_is_held(&mut self) {
        let (a, b) = (self.rng.below(self.members), self.rng.below(self.members));
        let rule = self.some_rule();
        self.buses[a].set(Some(&self.ids[b]), Some(rule));
        if self.rng.one_in(2) {
            self.buses[b].set(Some(&self.ids[a]), Some(rule));
        }
        self.pause(2 * NODE_TIMEOUT_MS as usize);
    }

    /// Its clients still reach it, and its replica.
    fn a_primary_is_cut_off(&mut self) {
        let (primary, replica) = self.some_pair();
        let rule = if self.rng.one_in(2) { Rule::Cut } else { Rule::Held };
        self.buses[primary].set(None, Some(rule));
        for other in 0..self.members {
            self.buses[other].set(Some(&self.ids[primary]), Some(rule));
        }
        // Else the others replace it, when they agree that it has failed.
        if self.rng.one_in(2) {
            self.clients.ask(replica, "CLUSTER FAILOVER TAKEOVER");
        }
        self.await_primary(replica);
        self.pause(1500);
    }

    fn a_fourth_joins_and_leaves(&mut self) {
        if !has_faithful_primaries() {
            return;
        }
        let [primary, replica] = Self::nodes_of(SHARDS);
        self.members = NODES;
        let first = self.nodes[0].port;
        let wanted = self.clients.ask(0, "CONFIG GET min-replicas-to-write").expect("a setting");
        let wanted = format!("CONFIG SET min-replicas-to-write {}", wanted.items()[1].text());
        for node in [primary, replica] {
            self.clients.ask(node, &wanted);
            self.clients.ask(node, &format!("CLUSTER MEET 127.0.0.1 {first}"));
        }
        eventually_within(HEALS_WITHIN, "all know the new ones", || {
            (0..NODES).all(|node| {
                let seen = view(&mut self.clients, node).unwrap_or_default();
                seen.len() == NODES
                    && seen.iter().all(|seen| seen.is_linked && !seen.is("handshake"))
            })
        });
        let id = self.ids[primary].clone();
        eventually_within(HEALS_WITHIN, "it has a replica", || {
            self.clients.ask(replica, &format!("CLUSTER REPLICATE {id}")).is_some()
        });
        self.heal();
        let mut given = Vec::new();
        for _ in 0..3 {
            let (tag, slot) = self.some_slot();
            self.move_slot(&tag, slot, SHARDS);
            given.push((tag, slot));
        }
        self.pause(500);
        if self.rng.one_in(2) {
            self.clients.ask(replica, "CLUSTER FAILOVER");
            self.await_primary(replica);
        }
        self.heal();
        for (tag, slot) in given {
            let to = self.rng.below(SHARDS);
            self.move_slot(&tag, slot, to);
        }
        self.heal();
        let (primary, replica) = self.pair(SHARDS);
        for node in [replica, primary] {
            for other in 0..MEMBERS {
                self.clients.ask(other, &format!("CLUSTER FORGET {}", self.ids[node]));
            }
        }
        self.members = MEMBERS;
        self.clients.ask(primary, "CONFIG SET min-replicas-to-write 0");
        for node in [replica, primary] {
            eventually_within(HEALS_WITHIN, "it leaves", || {
                self.clients.ask(node, "FLUSHALL");
                self.clients.ask(node, "CLUSTER RESET HARD").is_some()
            });
        }
        self.learn_ids();
    }
}

impl World for Shards {
    const DISTURBANCES: &'static [Disturbance<Self>] = &[
        ("slots move there and back", Shards::slots_move),
        ("slots move in a failover", Shards::slots_move_in_a_failover),
        ("a migration is cancelled", Shards::a_migration_is_cancelled),
        ("slots move as a whole", Shards::slots_move_as_a_whole),
        ("a primary is killed and replaced", Shards::a_primary_is_killed),
        ("a node is killed and comes back at once", Shards::a_node_is_restarted),
        ("a failover", |shards| shards.a_failover("")),
        ("a failover by force", |shards| shards.a_failover(" FORCE")),
        ("a takeover", |shards| shards.a_failover(" TAKEOVER")),
        ("a primary is stopped for a moment", Shards::a_primary_is_stopped_shortly),
        ("a primary is stopped until it is replaced", Shards::a_primary_is_stopped_for_long),
        ("a link of the bus is held", Shards::a_link_is_held),
        ("a primary is cut off the bus", Shards::a_primary_is_cut_off),
        ("a fourth primary joins and leaves", Shards::a_fourth_joins_and_leaves),
    ];

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn heal(&mut self) {
        self.buses.iter().for_each(Proxy::heal);
        let mut helped = Instant::now();
        eventually_within(HEALS_WITHIN, "the cluster is whole", || {
            if helped.elapsed() > Duration::from_secs(8) {
                helped = Instant::now();
                self.help();
            }
            self.is_whole()
        });
    }

    fn groups(&mut self) -> Vec<(&Server, Vec<&Server>)> {
        let pairs: Vec<(usize, usize)> = (0..SHARDS).map(|shard| self.pair(shard)).collect();
        pairs.iter().map(|(p, r)| (&self.nodes[*p], vec![&self.nodes[*r]])).collect()
    }

    fn unsure(&self) -> &BTreeSet<String> {
        &self.unsure
    }
}

#[test]
fn a_cluster_keeps_what_it_promised_whatever_becomes_of_its_nodes() {
    let mut rng = super::rng();
    let seed = rng.next();
    let (promise, settings) = super::settings(&mut rng, 1);
    let mut world = Shards::start(rng, settings);
    let ports: Vec<u16> = world.nodes.iter().map(|node| node.port).collect();
    let moving: Vec<String> = world.moving.iter().map(|(tag, _)| tag.clone()).collect();
    let still: Vec<String> = (0..4).map(|n| format!("s{n}")).collect();
    let load = Load::new(&Redirected, &ports, promise, &moving, &still, seed);
    run(&load, &mut world);
}
