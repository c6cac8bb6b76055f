//! A primary with two replicas, that pages about the loss of one are played on, and Sentinels for them.

use std::time::Duration;

use super::page::Opened;
use crate::harness::proxy::Rule;
use crate::harness::*;
use crate::roles::says;

/// How long Sentinels may take on a machine that is busy.
const FAILOVER: Duration = Duration::from_secs(60);

/// The primary is behind a gate, by which the others know it.
pub struct Replicated {
    pub former: Server,
    pub gate: Proxy,
    pub replicas: [Server; 2],
}

impl Replicated {
    /// With 300 entries, one that is about to be revoked, and a count.
    pub fn start(line: &str) -> Self {
        let gate = Proxy::start(|_| None);
        let builder = || {
            Server::builder()
                .with_aof(true)
                .config("maxmemory 100mb")
                .config("maxmemory-policy volatile-ttl")
                .config("replica-announce-ip 127.0.0.1")
                .config(line)
        };
        let announced = format!("replica-announce-port {}", gate.port);
        let former = builder().config(&announced).start();
        gate.leads_to(former.port);
        let replicas = [builder().start(), builder().start()];
        for replica in &replicas {
            let mut c = replica.client();
            c.must(&format!("REPLICAOF 127.0.0.1 {}", gate.port));
            c.must("CONFIG REWRITE");
            replica.in_sync_with(&former);
        }
        let mut c = former.client();
        for number in 0..300 {
            c.fill(&format!("k{number}"), &[]);
        }
        c.must(&format!("APIKEY.SETVAL revoked {} SECRET {SECRET}", record("42", "u1")));
        c.count("use", 7);
        assert_eq!(c.must("WAIT 2 10000"), int(2));
        Self { former, gate, replicas }
    }

    /// Three Sentinels that know each other and the replicas. A busy machine may stall for a second, which is no
    /// outage; nor are they needed any longer once they have agreed.
    pub fn sentinels(&self) -> Vec<Server> {
        let sentinel = |_| {
            Server::builder()
                .sentinel()
                .config(&format!("sentinel monitor mymaster 127.0.0.1 {} 2", self.gate.port))
                .config("sentinel down-after-milliseconds mymaster 4000")
                .config("sentinel failover-timeout mymaster 6000")
                .config("sentinel parallel-syncs mymaster 2")
                .start()
        };
        let sentinels: Vec<Server> = (0..3).map(sentinel).collect();
        for sentinel in &sentinels {
            let mut c = sentinel.client();
            eventually_within(FAILOVER, "they know each other and the replicas", || {
                let watched = c.must("SENTINEL MASTER mymaster");
                let is = |name: &str| watched.get(name) == &bulk("2");
                is("num-other-sentinels") && is("num-slaves")
            });
        }
        sentinels
    }

    /// The new primary that all Sentinels name, and the replica that follows it.
    pub fn agreed(&self, sentinels: &[Server]) -> (&Server, &Server) {
        let told = |sentinel: &Server| {
            let told = sentinel.client().must("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
            told.items()[1].text()
        };
        let mut found = None;
        eventually_within(FAILOVER, "they agree on another one", || {
            let port = told(&sentinels[0]);
            found = self.replicas.iter().position(|server| server.port.to_string() == port);
            found.is_some() && sentinels.iter().all(|sentinel| told(sentinel) == port)
        });
        let found = found.expect("a primary");
        let (primary, replica) = (&self.replicas[found], &self.replicas[1 - found]);
        eventually_within(FAILOVER, "the other follows it", || {
            says(replica, "master_link_status:up") && says(primary, "connected_slaves:1")
        });
        (primary, replica)
    }

    /// Others reach it no longer.
    pub fn cut_off(&self) {
        self.gate.set(None, Some(Rule::Cut));
    }

    /// A page in which the new primary is 10.0.0.2. Sentinels are on the same machines.
    pub fn page(
        &self,
        mut page: Opened,
        primary: &Server,
        replica: &Server,
        sentinels: &[Server],
    ) -> Opened {
        for (number, sentinel) in sentinels.iter().enumerate() {
            let host = number + 1;
            page = page
                .with(&format!("-h 10.0.0.{host} -p 26379"), format!("-p {}", sentinel.port))
                .with(&format!("10.0.0.{host}:26379"), format!("127.0.0.1:{}", sentinel.port));
        }
        page.with("-h 10.0.0.1", format!("-p {}", self.former.port))
            .with("-h 10.0.0.2", format!("-p {}", primary.port))
            .with("-h 10.0.0.3", format!("-p {}", replica.port))
            .with("10.0.0.2 6379", format!("127.0.0.1 {}", primary.port))
            .with("10.0.0.1:6379", format!("127.0.0.1:{}", self.former.port))
            .with("10.0.0.2:6379", format!("127.0.0.1:{}", primary.port))
            .with("10.0.0.3:6379", format!("127.0.0.1:{}", replica.port))
    }

    /// Waits until it has its replicas and says that all is well: a machine that stalls for a second is told of.
    pub fn assert_well(&self, primary: &Server, replica: &Server) {
        for node in [&self.former, replica] {
            node.in_sync_with(primary);
        }
        let mut c = primary.client();
        eventually("all is well", || c.must("APIKEY.HEALTH").get("status") == &bulk("healthy"));
    }

    /// All nodes have what the new primary has, and nothing that was revoked came back.
    pub fn assert_whole(&self, primary: &Server, replica: &Server) {
        let mut c = primary.client();
        assert_eq!(c.codes(["k1", "revoked"]), ["VALID", "MISS"]);
        assert_eq!(c.counts("use"), (7, 0, 7));
        c.fill("new", &[]);
        assert_eq!(c.must("WAIT 2 10000"), int(2));
        for node in [&self.former, replica] {
            node.in_sync_with(primary);
            assert_eq!(node.client().codes(["k1", "revoked"]), ["VALID", "MISS"]);
        }
    }
}
