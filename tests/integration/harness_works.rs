//! The harness itself, on servers without the module.

use crate::harness::server::Stop;
use crate::harness::streams::{find, Tap};
use crate::harness::*;

fn plain() -> Server {
    Server::builder().without_module().start()
}

#[test]
fn replies_come_as_values() {
    let server = plain();
    let mut c = server.client();
    assert_eq!(c.run("SET k v"), ok());
    assert_eq!(c.run("GET k"), bulk("v"));
    assert_eq!(c.run("GET none"), nil());
    assert_eq!(c.run("INCR n"), int(1));
    assert_eq!(c.run("MGET k none"), array([bulk("v"), nil()]));
    assert_eq!(
        c.run("LPUSH k x"),
        error("WRONGTYPE Operation against a key holding the wrong kind of value")
    );
    assert_eq!(c.run("SET k"), error("ERR wrong number of arguments for 'set' command"));
    c.cmd([b"SET".as_slice(), b"\0\xff\r\n", b""]);
    assert_eq!(c.cmd([b"GET".as_slice(), b"\0\xff\r\n"]), bulk(""));
    c.resp3();
    c.run("HSET h f v");
    assert_eq!(c.run("HGETALL h"), map([("f", "v")]));
}

#[test]
fn a_server_keeps_what_it_saved_over_a_restart() {
    let mut server = Server::builder().without_module().with_aof(false).start();
    server.client().must("SET k v");
    for how in [Stop::Kill, Stop::NoSave, Stop::Save] {
        server.restart(how);
        assert_eq!(server.client().run("GET k"), bulk("v"), "{how:?}");
    }
    server.rewrite_aof();
    let port = server.port;
    let primary = server;
    let replica = plain();
    replica.replicate(&primary);
    assert_eq!(primary.digest(), replica.digest());
    assert_ne!(replica.port, port);
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let failed = Server::builder().without_module().config("loadmodule /nowhere.so").try_start();
    assert!(failed.is_err_and(|f| f.log.contains("/nowhere.so")));
}

#[test]
fn monitor_and_the_replication_stream_are_seen() {
    let server = Server::start();
    let mut monitor = Tap::monitor(server.port);
    let mut stream = Tap::replication(server.port);
    server.client().must("SET watched value");
    monitor.until(b"\"watched\" \"value\"");
    stream.until(b"\r\nwatched\r\n$5\r\nvalue\r\n");
    assert_eq!(find(stream.seen(), b"never"), None);
}
