//! A cluster on this machine: primaries, each with as many replicas.

use super::{eventually, ok, Builder, Client, Reply, Server};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub struct Cluster {
    /// The primaries, in the order of their slots.
    pub primaries: Vec<Server>,
    /// Those of each primary.
    pub replicas: Vec<Vec<Server>>,
}

/// How long a node may not be heard of, in milliseconds.
pub const NODE_TIMEOUT_MS: u64 = 2000;

impl Cluster {
    pub fn builder() -> Builder {
        Server::builder()
            .config("cluster-enabled yes")
            .config(&format!("cluster-node-timeout {NODE_TIMEOUT_MS}"))
            .config("databases 1")
            // What is not about who does not answer is not to fail where the machine is busy.
            .setting("cluster-timeout-ms", "5000")
    }

    /// So many primaries, which share the slots, with so many replicas each.
    #[track_caller]
    pub fn start(primaries: usize, replicas: usize) -> Self {
        Self::of(primaries, replicas, |_, builder| builder)
    }

    /// The same, of servers that are each changed by their number, primaries first.
    #[track_caller]
    pub fn of(
        primaries: usize,
        replicas: usize,
        change: impl Fn(usize, Builder) -> Builder,
    ) -> Self {
        Self::of_started(primaries, replicas, |number| change(number, Self::builder()).start())
    }

    /// The same, of servers that are started elsewhere.
    #[track_caller]
    pub fn of_started(primaries: usize, replicas: usize, start: impl Fn(usize) -> Server) -> Self {
        let cluster = Self {
            primaries: (0..primaries).map(&start).collect(),
            replicas: (0..primaries)
                .map(|of| (0..replicas).map(|n| start(primaries + of * replicas + n)).collect())
                .collect(),
        };
        let first = &cluster.primaries[0];
        let mut slots = 0..16384;
        for (number, server) in cluster.primaries.iter().enumerate() {
            let count = 16384 * (number + 1) / primaries - 16384 * number / primaries;
            let share: Vec<String> =
                slots.by_ref().take(count).map(|slot| slot.to_string()).collect();
            let mut c = server.client();
            c.must(&format!("CLUSTER ADDSLOTS {}", share.join(" ")));
            c.must(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
        }
        for server in cluster.nodes().skip(1) {
            server.client().must(&format!("CLUSTER MEET 127.0.0.1 {}", first.port));
        }
        for (server, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
            let id = server.client().must("CLUSTER MYID").text();
            for replica in replicas {
                let mut c = replica.client();
                eventually("it knows its primary", || {
                    c.run(&format!("CLUSTER REPLICATE {id}")) == ok()
                });
            }
        }
        cluster.settled();
        for (server, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
            replicas.iter().for_each(|replica| replica.in_sync_with(server));
        }
        cluster
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.primaries.iter().chain(self.replicas.iter().flatten())
    }

    pub fn clients(&self) -> Vec<Client> {
        self.primaries.iter().map(Server::client).collect()
    }

    /// Waits until every node sees all the others, and has links to them.
    #[track_caller]
    pub fn settled(&self) {
        let count = self.nodes().count();
        for server in self.nodes() {
            let mut c = server.client();
            eventually("the cluster is up", || {
                let info = c.must("CLUSTER INFO").text();
                let nodes = c.must("CLUSTER NODES").text();
                let linked = nodes.lines().filter(|line| line.contains(" connected")).count();
                let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
                info.contains("cluster_state:ok")
                    && linked == count
                    && replicas == count - self.primaries.len()
                    && !nodes.contains("fail")
            });
        }
    }

    /// Gives a slot to another primary, with its keys, while others use them.
    #[track_caller]
    pub fn move_slot(&self, slot: i64, from: usize, to: usize) {
        let mut clients = self.clients();
        let ids: Vec<String> = clients.iter_mut().map(|c| c.must("CLUSTER MYID").text()).collect();
        let port = self.primaries[to].port;
        clients[to].must(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from]));
        clients[from].must(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to]));
        loop {
            let keys = clients[from].must(&format!("CLUSTER GETKEYSINSLOT {slot} 3"));
            let keys: Vec<String> = keys.items().iter().map(Reply::text).collect();
            if keys.is_empty() {
                break;
            }
            let keys = keys.join(" ");
            clients[from].must(&format!("MIGRATE 127.0.0.1 {port}  0 5000 KEYS {keys}"));
        }
        let others = (0..clients.len()).filter(|other| ![from, to].contains(other));
        for node in [to, from].into_iter().chain(others) {
            clients[node].must(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[to]));
        }
        // Who has not heard how new a claim is may give the next one no newer, and both would win. On a machine that is
        // very busy they may have done so: then it is said again, as `redis-cli --cluster fix` does.
        let began = Instant::now();
        eventually("all primaries see the same", || {
            let mut views = clients.iter_mut().map(|c| c.must("CLUSTER NODES").text()).map(claims);
            let first = views.next();
            let is_same = views.all(|view| Some(view) == first);
            if !is_same && began.elapsed() > Duration::from_secs(3) {
                clients[to].run("CLUSTER BUMPEPOCH");
                for c in &mut clients {
                    c.run(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[to]));
                }
            }
            is_same
        });
    }
}

/// A node as another sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: String,
    pub port: u16,
    flags: Vec<String>,
    /// The id of its primary, if it has one.
    pub follows: Option<String>,
    pub is_linked: bool,
    /// First and last of each range.
    pub slots: Vec<(u16, u16)>,
}

impl Seen {
    /// What CLUSTER NODES says.
    pub fn all(nodes: &str) -> Vec<Self> {
        let seen = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let range = |word: &&str| {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                Some((first.parse().ok()?, last.parse().ok()?))
            };
            let port = words[1].split(['@', ',']).next().and_then(|a| a.rsplit(':').next());
            Self {
                id: words[0].into(),
                port: port.and_then(|port| port.parse().ok()).unwrap_or(0),
                flags: words[2].split(',').map(str::to_string).collect(),
                follows: (words[3] != "-").then(|| words[3].to_string()),
                is_linked: words[7] == "connected",
                slots: words[8..].iter().filter_map(range).collect(),
            }
        };
        nodes.lines().map(seen).collect()
    }

    /// As CLUSTER NODES writes it: `master`, `fail?`, `noaddr`.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    pub fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }

    pub fn slot_count(&self) -> usize {
        self.slots.iter().map(|(first, last)| usize::from(last - first) + 1).sum()
    }
}

/// The slot of a key.
pub fn slot(c: &mut Client, key: &str) -> i64 {
    c.must(&format!("CLUSTER KEYSLOT {key}")).int()
}

/// Who claims which slots, and how new the claim is, as CLUSTER NODES says.
fn claims(nodes: String) -> BTreeSet<String> {
    let claim = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {} {}", words[0], words[6], words[8..].join(" "))
    };
    nodes.lines().map(claim).collect()
}
