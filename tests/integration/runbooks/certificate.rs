use std::fs;
use std::path::Path;
use std::process::Command;

use super::page::Page;
use crate::ctl::{bare, Ran};
use crate::harness::*;
use crate::roles::says;
use crate::tls::has_tls;

fn must(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("a program");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The same certificate, but that it ends so many days from now.
fn ends_in(days: i32, made: &str, certificate: &str, key: &str) {
    let request = format!("{made}/request");
    let extensions = ["-copy_extensions", "copy"];
    let asks = ["x509", "-x509toreq", "-in", certificate, "-key", key, "-out", &request];
    must("openssl", &[&asks[..], &extensions].concat());
    let (ca, ca_key) = (format!("{made}/ca/ca.crt"), format!("{made}/ca/ca.key"));
    let days = days.to_string();
    let signs = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-days", &days];
    must("openssl", &[&signs[..], &extensions, &["-out", certificate]].concat());
}

#[test]
fn servers_whose_certificate_has_ended_take_a_new_one_as_they_run() {
    if !has_tls() {
        return;
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (made, etc) = (path("made"), path("etc"));
    must(deploy.join("secrets"), &[&made, "redis-1", "redis-2"]);
    fs::create_dir(&etc).expect("a folder");
    let place = |names: &[&str]| {
        for name in names {
            fs::copy(format!("{made}/nodes/{name}"), format!("{etc}/{name}")).expect("a copy");
        }
    };
    place(&["ca.crt", "node.crt", "node.key", "users.acl"]);
    let (node, key) = (format!("{etc}/node.crt"), format!("{etc}/node.key"));
    ends_in(-1, &made, &node, &key);

    let password = |user: &str| fs::read_to_string(format!("{made}/passwords/{user}")).expect("it");
    let password = |user: &str| password(user).trim().to_string();
    let lines = [
        "port 0".to_string(),
        "tls-port 0".into(),
        format!("tls-cert-file {node}"),
        format!("tls-key-file {key}"),
        format!("tls-ca-cert-file {etc}/ca.crt"),
        "tls-replication yes".into(),
    ];
    let builder = || {
        Server::builder()
            .tls(&lines)
            .login("administrator", &password("administrator"))
            .config(&format!("aclfile {etc}/users.acl"))
            .config("masteruser replica")
            .config(&format!("masterauth {}", password("replica")))
    };
    let primary = builder().start();
    primary.client().fill("apikey:{k}", &[]);
    let replica = builder().replica_of(&primary).start();
    let served = [primary.pid(), replica.pid()];

    let mut page = Page::open("certificate")
        .with("deploy/rotate", format!("{}/rotate --secrets {etc}", deploy.display()))
        .with("deploy/secrets", deploy.join("secrets").display())
        .with("/srv/redis-apikey", &made)
        .with("10.0.0.1 10.0.0.2", format!("127.0.0.1:{} 127.0.0.1:{}", primary.port, replica.port))
        .with("10.0.0.1:6379", format!("127.0.0.1:{}", primary.port));
    let client = |name: &str| format!("{made}/client/{name}");
    let environment = [
        ("APIKEYCTL_URL", format!("rediss://127.0.0.1:{}", primary.port)),
        ("APIKEYCTL_USER", "operator".into()),
        ("REDISCLI_AUTH", password("operator")),
        ("APIKEYCTL_CACERT", client("ca.crt")),
        ("APIKEYCTL_CERT", client("client.crt")),
        ("APIKEYCTL_CERT_KEY", client("client.key")),
    ];
    for (name, value) in &environment {
        page = page.env(name, value);
    }
    let mut page = page.at(&primary);
    page.step(1);
    assert!(says(&replica, "master_link_status:down"), "it believes nobody");
    page.step(2);
    place(&["node.crt", "node.key"]);
    page.step(4);
    eventually("it believes its primary", || says(&replica, "master_link_status:up"));
    replica.in_sync_with(&primary);
    page.step(5);
    page.end();
    assert_eq!(replica.client().code("apikey:{k}"), "VALID");
    assert_eq!(served, [primary.pid(), replica.pid()], "nobody was restarted");

    // The next one is told before it ends.
    let doctor = || {
        let mut doctor = bare(&["doctor", "--read-only", "--role", "operator"]);
        doctor.envs(environment.iter().map(|(name, value)| (name, value)));
        Ran::of(doctor).out
    };
    let told = doctor();
    assert!(told.contains("nodes: 2") && !told.contains("certificate-ends"), "{told}");
    ends_in(10, &made, &node, &key);
    let taken = format!("CONFIG SET tls-cert-file {node} tls-key-file {key}");
    primary.client().must(&taken);
    let told = doctor();
    let at = format!("127.0.0.1:{} certificate-ends: its certificate ends in 9 days", primary.port);
    assert!(told.contains(&at), "{told}");
    assert_eq!(told.matches("certificate-ends").count(), 1, "{told}");

    // The clients' own is told apart from the server's.
    let (cert, key) = (client("client.crt"), client("client.key"));
    ends_in(-1, &made, &cert, &key);
    let tls =
        ["--cacert", &client("ca.crt"), "--cert", &cert, "--cert-key", &key].map(String::from);
    let url = format!("rediss://127.0.0.1:{}", primary.port);
    let mut nodes = bare(&["nodes", "--url", &url, "--user", "operator"]);
    nodes.args(tls).env("REDISCLI_AUTH", password("operator"));
    Ran::of(nodes).fails_with(2, "the certificate of --cert has ended");
}
