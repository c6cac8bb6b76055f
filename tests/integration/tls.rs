//! All that servers say to clients and to each other goes by TLS, with the settings of `docs/operations.md`: clients,
//! replication, Sentinels, and the bus of a cluster.

use crate::cluster::assert_cluster_is_exact;
use crate::harness::server::{kind, Kind};
use crate::harness::*;
use crate::roles::{self, Users};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Whether the server is built with TLS; says so where it is not.
pub fn has_tls() -> bool {
    // Debian's is, the others are built without it.
    let has = kind() == Kind::Redis70;
    if !has {
        println!("skipped: this server is built without TLS");
    }
    has
}

/// A CA, and what it has signed: a certificate for nodes.
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("apikey-tls-").tempdir().expect("a directory");
        let write = |name: &str, text: String| fs::write(dir.path().join(name), text);
        let named = |name: &str, addresses: &[&str]| {
            let addresses: Vec<String> = addresses.iter().map(|one| one.to_string()).collect();
            let mut params = CertificateParams::new(addresses).expect("addresses");
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let key = KeyPair::generate().expect("a key");
        let mut ca = named("a CA of the tests", &[]);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write("ca.crt", ca.self_signed(&key).expect("a certificate").pem()).expect("ca.crt");
        let issuer = Issuer::new(ca, key);

        let key = KeyPair::generate().expect("a key");
        let mut node = named("a node", &["127.0.0.1"]);
        node.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let signed = node.signed_by(&key, &issuer).expect("a certificate");
        write("node.crt", signed.pem()).expect("node.crt");
        write("node.key", key.serialize_pem()).expect("node.key");
        Self { dir }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The lines of the page, with these certificates.
    fn lines(&self) -> Vec<String> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
        let page = fs::read_to_string(page).expect("the page");
        let section = page.split("\n## ").find(|section| section.starts_with("TLS\n"));
        let lines =
            section.expect("a section").lines().filter_map(|line| line.strip_prefix("    "));
        let own = self.dir.path().display().to_string();
        lines.map(|line| line.replace("/etc/redis/tls", &own)).collect()
    }

    pub fn on(&self, builder: Builder) -> Builder {
        builder.tls(&self.lines())
    }

    /// What redis-cli says, as a user of the page, with a certificate or without.
    fn cli(&self, server: &Server, certified: bool, args: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &server.port.to_string(), "--tls", "--cacert", &self.path("ca.crt")]);
        if certified {
            cli.args(["--cert", &self.path("node.crt"), "--key", &self.path("node.key")]);
        }
        let output = cli.args(args).output().expect("redis-cli");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).trim_end().to_string()
    }
}

/// Nobody is answered who does not speak TLS.
#[track_caller]
fn assert_refuses_plain(port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(bytes).expect("send");
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("it goes on listening: {e}"),
        _ => assert!(!said.starts_with(b"+"), "{}", said.escape_ascii()),
    }
}

#[test]
fn clients_replicas_and_sentinels_speak_tls() {
    if !has_tls() {
        return;
    }
    let tls = Certificates::new();
    let users = Users::new(roles::lists().remove(0));
    let primary = tls.on(users.on(Server::builder())).start();
    let replica = tls.on(users.on(Server::builder())).start();
    assert_refuses_plain(primary.port, b"PING\r\n");
    let app =
        ["--no-auth-warning", "--user", "application", "--pass", users.password("application")];
    let say = |server: &Server, args: &[&str]| tls.cli(server, true, &[&app, args].concat());
    let unknown = tls.cli(&primary, false, &[&app[..], &["PING"]].concat());
    assert!(unknown.contains("rror: ") && !unknown.contains("PONG"), "{unknown}");
    assert_eq!(say(&primary, &["PING"]), "PONG");

    replica.replicate(&primary);
    let key = "apikey:{k}";
    let missed = say(&primary, &["APIKEY.VALIDATE", key, "DIGEST", DIGEST]);
    let Some(("MISS", token)) = missed.split_once('\n') else { panic!("{missed}") };
    let json = record("k", "u");
    let fill = ["APIKEY.SETVAL", key, &json, "DIGEST", DIGEST, "TOKEN", token];
    assert_eq!(say(&primary, &fill), "OK");
    let code = |server: &Server| {
        let said = say(server, &["APIKEY.VALIDATE", key, "DIGEST", DIGEST]);
        said.lines().next().unwrap_or_default().to_string()
    };
    assert_eq!(code(&primary), "VALID");
    assert_eq!(say(&primary, &["APIKEY.USAGE.INCR", "apikey:{k}:usage"]), "1");
    replica.in_sync_with(&primary);
    assert_eq!(code(&replica), "VALID");
    assert_eq!(replica.digest(), primary.digest());

    let sentinels = roles::sentinels(&users, primary.port, |builder| tls.on(builder));
    roles::know_each_other(&sentinels);
    assert_refuses_plain(sentinels[0].port, b"PING\r\n");
    roles::fails_over(&primary, &replica);
    assert_eq!(code(&replica), "VALID");
    assert_eq!(say(&replica, &["APIKEY.TAGINVAL", "apikey:user:u"]), "1");
    eventually("the replica has it", || code(&primary) == "MISS");
    [&primary, &replica].into_iter().chain(&sentinels).for_each(roles::assert_no_denial);
}

#[test]
fn a_cluster_is_told_as_a_whole_by_tls() {
    if !has_tls() {
        return;
    }
    let tls = Certificates::new();
    let users = Users::new(roles::lists().remove(0));
    let cluster = Cluster::of(3, 1, |_, builder| tls.on(users.on(builder)));
    for node in &cluster.primaries {
        assert_refuses_plain(node.port, b"PING\r\n");
        // How a message of the bus begins: who spoke so would wait for the rest.
        assert_refuses_plain(node.port + 10_000, b"RCmb\0\0\x40\x00");
    }
    let first = &cluster.primaries[0];
    let say = |args: &[&str]| {
        let login = [
            "-c",
            "--no-auth-warning",
            "--user",
            "administrator",
            "--pass",
            users.password("administrator"),
        ];
        tls.cli(first, true, &[&login, args].concat())
    };
    // Each where its slot is, by TLS too.
    for number in 0..20 {
        let key = format!("apikey:{{k{number}}}");
        let json = record(&key, "u");
        assert_eq!(say(&["APIKEY.SETVAL", &key, &json, "DIGEST", DIGEST]), "OK");
        assert_eq!(say(&["APIKEY.USAGE.INCR", &format!("{key}:usage")]), "1");
    }
    assert_eq!(say(&["APIKEY.TAGCARD", "apikey:user:u"]), "20");
    assert_eq!(say(&["APIKEY.TAGINVAL", "apikey:user:u"]), "20");
    assert_eq!(say(&["APIKEY.TAGCARD", "apikey:user:u"]), "0");
    let mut clients = cluster.clients();
    let batches: Vec<Batch> = clients.iter_mut().map(Client::lease).collect();
    let ids: Vec<&str> = batches.iter().map(|batch| batch.id.as_str()).collect();
    assert_eq!(say(&[&["APIKEY.USAGE.NACK"], &ids[..]].concat()), "20");
    assert_eq!(say(&[&["APIKEY.USAGE.ACK"], &ids[..]].concat()), "20");
    assert_eq!(say(&[&["APIKEY.USAGE.ACK"], &ids[..]].concat()), "0");
    for (primary, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
        replicas[0].in_sync_with(primary);
        assert_eq!(replicas[0].digest(), primary.digest());
    }
    assert_cluster_is_exact(&cluster);
}
