//! A primary with two replicas, which three Sentinels watch.

use super::clients::Clients;
use super::load::{Load, Service};
use super::{run, Disturbance, World, HEALS_WITHIN};
use crate::harness::proxy::Rule;
use crate::harness::server::Stop;
use crate::harness::*;
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const SENTINELS: usize = 3;
const DOWN_AFTER_MS: usize = 1000;

/// Clients that ask a Sentinel. The ports of nodes that it tells are those of their gates.
struct Told {
    gates: Vec<u16>,
}

/// Who is the primary, as a Sentinel says.
fn primary_of(clients: &mut Clients, gates: &[u16], sentinel: usize) -> Option<usize> {
    let address = clients.ask(sentinel, "SENTINEL get-master-addr-by-name m")?;
    let Reply::Array(address) = address else { return None };
    let port: u16 = address[1].text().parse().expect("a port");
    gates.iter().position(|gate| *gate == port)
}

impl Service for Told {
    fn guess(&self, clients: &mut Clients) -> Option<usize> {
        let witness = self.witness(clients);
        primary_of(clients, &self.gates, witness)
    }

    fn witness(&self, clients: &mut Clients) -> usize {
        NODES + clients.rng.below(SENTINELS)
    }

    fn primaries_told_by(&self, _: &mut Clients, node: usize) -> Option<Vec<usize>> {
        Some(vec![node])
    }

    fn primaries_seen_by(&self, clients: &mut Clients, witness: usize) -> Option<Vec<usize>> {
        primary_of(clients, &self.gates, witness).map(|node| vec![node])
    }
}

struct Watched {
    nodes: Vec<Server>,
    /// They live as long as the nodes.
    _sentinels: Vec<Server>,
    /// In front of each node's port, for other nodes and Sentinels. Replicas are told apart by the ports that they say
    /// are theirs, which are those of their gates.
    gates: Vec<Proxy>,
    ports: Vec<u16>,
    clients: Clients,
    rng: Rng,
    unsure: BTreeSet<String>,
}

/// A replica says its port before it asks for data.
fn port_of_replica(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let mut lines = said.split("\r\n").skip_while(|word| *word != "listening-port").skip(2);
    let port = lines.next()?;
    // It has come whole.
    lines.next().map(|_| port.to_string())
}

impl Watched {
    fn start(mut rng: Rng, settings: impl Fn(Builder) -> Builder) -> Self {
        let gates: Vec<Proxy> = (0..NODES).map(|_| Proxy::start(port_of_replica)).collect();
        let start = |gate: &Proxy| {
            let builder = Server::builder()
                .config("replica-announce-ip 127.0.0.1")
                .config(&format!("replica-announce-port {}", gate.port))
                // A process that is killed loses nothing of what it has written.
                .config("appendonly yes")
                .config("appendfsync no");
            let server = settings(builder).start();
            gate.leads_to(server.port);
            server
        };
        let nodes: Vec<Server> = gates.iter().map(start).collect();
        for replica in &nodes[1..] {
            let mut c = replica.client();
            c.must(&format!("REPLICAOF 127.0.0.1 {}", gates[0].port));
            c.must("CONFIG REWRITE");
            replica.in_sync_with(&nodes[0]);
        }
        let sentinel = |_| {
            Server::builder()
                .sentinel()
                .config(&format!("sentinel monitor m 127.0.0.1 {} 2", gates[0].port))
                .config(&format!("sentinel down-after-milliseconds m {DOWN_AFTER_MS}"))
                .config("sentinel failover-timeout m 3000")
                .config("sentinel parallel-syncs m 2")
                .start()
        };
        let sentinels: Vec<Server> = (0..SENTINELS).map(sentinel).collect();
        let ports: Vec<u16> = nodes.iter().chain(&sentinels).map(|node| node.port).collect();
        let clients = Clients::new(&ports, Duration::from_secs(10), Rng::new(rng.next()));
        let unsure = BTreeSet::new();
        let mut watched = Self { nodes, _sentinels: sentinels, gates, ports, clients, rng, unsure };
        watched.heal();
        watched
    }

    fn ports_of_gates(&self) -> Vec<u16> {
        self.gates.iter().map(|gate| gate.port).collect()
    }

    /// The primary that all Sentinels name.
    fn agreed(&mut self) -> Option<usize> {
        let gates = self.ports_of_gates();
        let mut named =
            (NODES..NODES + SENTINELS).map(|n| primary_of(&mut self.clients, &gates, n));
        let first = named.next()??;
        named.all(|other| other == Some(first)).then_some(first)
    }

    /// The primary and one of its replicas.
    fn pair(&mut self) -> (usize, usize) {
        let mut primary = None;
        eventually_within(HEALS_WITHIN, "the Sentinels agree", || {
            primary = self.agreed();
            primary.is_some()
        });
        let primary = primary.expect("a primary");
        let replica = (primary + 1 + self.rng.below(NODES - 1)) % NODES;
        (primary, replica)
    }

    fn pause(&mut self, most_ms: usize) {
        sleep(Duration::from_millis(self.rng.below(most_ms) as u64));
    }

    /// Waits, for a while, until the Sentinels have another primary.
    fn await_other(&mut self, than: usize) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            if self.agreed().is_some_and(|primary| primary != than) {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        self.pause(500);
    }

    fn is_whole(&mut self) -> bool {
        let Some(primary) = self.agreed() else { return false };
        for sentinel in NODES..NODES + SENTINELS {
            let Some(seen) = self.clients.ask(sentinel, "SENTINEL master m") else { return false };
            let is = |name: &str, value: &str| seen.get(name).text() == value;
            if !(is("flags", "master") && is("num-slaves", "2") && is("num-other-sentinels", "2")) {
                return false;
            }
        }
        let port = self.gates[primary].port.to_string();
        let mut is = |node: usize, name: &str, value: &str| {
            self.clients.replication(node, name).is_some_and(|seen| seen.contains(value))
        };
        (0..NODES).all(|node| match node == primary {
            true => {
                is(node, "role", "master")
                    && is(node, "slave0", "state=online")
                    && is(node, "slave1", "state=online")
            }
            false => {
                is(node, "role", "slave")
                    && is(node, "master_port", &port)
                    && is(node, "master_link_status", "up")
            }
        })
    }

    /// Makes a node a replica of the one that the Sentinels name.
    fn follow(&mut self, node: usize) {
        if let Some(primary) = self.agreed().filter(|primary| *primary != node) {
            let port = self.gates[primary].port;
            self.clients.ask(node, &format!("REPLICAOF 127.0.0.1 {port}"));
            self.clients.ask(node, "CONFIG REWRITE");
        }
    }

    fn the_primary_is_killed(&mut self) {
        let (primary, _) = self.pair();
        self.nodes[primary].stop(Stop::Kill);
        self.await_other(primary);
        self.nodes[primary].start_as_rewritten();
        self.pause(1000);
    }

    fn a_node_is_restarted(&mut self) {
        let (primary, replica) = self.pair();
        let node = if self.rng.one_in(2) { primary } else { replica };
        self.nodes[node].stop(Stop::Kill);
        self.nodes[node].start_as_rewritten();
    }

    fn a_failover(&mut self) {
        let (primary, _) = self.pair();
        let sentinel = NODES + self.rng.below(SENTINELS);
        self.clients.ask(sentinel, "SENTINEL FAILOVER m");
        self.await_other(primary);
    }

    fn the_primary_is_stopped_shortly(&mut self) {
        let (primary, _) = self.pair();
        self.nodes[primary].freeze();
        self.pause(2 * DOWN_AFTER_MS);
        self.nodes[primary].wake();
        self.pause(300);
    }

    fn the_primary_is_stopped_for_long(&mut self) {
        let (primary, _) = self.pair();
        self.nodes[primary].freeze();
        self.await_other(primary);
        self.nodes[primary].wake();
        self.pause(500);
    }

    fn a_replica_is_cut_off(&mut self) {
        let (primary, replica) = self.pair();
        let rule = match self.rng.below(3) {
            0 => Rule::Cut,
            1 => Rule::Held,
            _ => Rule::Slow(Duration::from_millis(50 + self.rng.below(300) as u64)),
        };
        let name = self.gates[replica].port.to_string();
        self.gates[primary].set(Some(&name), Some(rule));
        self.pause(3000);
    }

    /// Its clients still reach it.
    fn the_primary_is_cut_off(&mut self) {
        let (primary, _) = self.pair();
        let rule = if self.rng.one_in(2) { Rule::Cut } else { Rule::Held };
        self.gates[primary].set(None, Some(rule));
        self.await_other(primary);
        // Sometimes for longer than it may vouch.
        let most = if self.rng.one_in(3) { 14_000 } else { 2000 };
        self.pause(most);
    }
}

impl World for Watched {
    const DISTURBANCES: &'static [Disturbance<Self>] = &[
        ("the primary is killed and replaced", Watched::the_primary_is_killed),
        ("a node is killed and comes back at once", Watched::a_node_is_restarted),
        ("a failover", Watched::a_failover),
        ("the primary is stopped for a moment", Watched::the_primary_is_stopped_shortly),
        ("the primary is stopped until it is replaced", Watched::the_primary_is_stopped_for_long),
        ("a replica is cut off", Watched::a_replica_is_cut_off),
        ("the primary is cut off", Watched::the_primary_is_cut_off),
    ];

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn heal(&mut self) {
        self.gates.iter().for_each(Proxy::heal);
        // A Sentinel waits ten seconds before it tells one that still takes itself for the primary.
        let primary = self.agreed().filter(|_| !self.rng.one_in(4));
        for node in (0..NODES).filter(|_| primary.is_some()) {
            if primary != Some(node) && self.clients.primary(node).is_some() {
                self.follow(node);
            }
        }
        eventually_within(HEALS_WITHIN, "all nodes are well", || self.is_whole());
    }

    fn groups(&mut self) -> Vec<(&Server, Vec<&Server>)> {
        let (primary, _) = self.pair();
        let replicas = (0..NODES).filter(|node| *node != primary);
        vec![(&self.nodes[primary], replicas.map(|node| &self.nodes[node]).collect())]
    }

    fn unsure(&self) -> &BTreeSet<String> {
        &self.unsure
    }
}

#[test]
fn what_sentinel_watches_keeps_what_it_promised_whatever_becomes_of_its_nodes() {
    let mut rng = super::rng();
    let seed = rng.next();
    let (promise, settings) = super::settings(&mut rng, 2);
    let mut world = Watched::start(rng, settings);
    let service = Told { gates: world.ports_of_gates() };
    let tags: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let (some, others) = tags.split_at(6);
    let ports = world.ports.clone();
    let load = Load::new(&service, &ports, promise, some, others, seed);
    run(&load, &mut world);
}
