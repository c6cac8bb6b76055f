//! What others hear of values: keyspace notifications, MONITOR, SLOWLOG, the invalidation channel.

use super::calls::*;
use crate::harness::server::{kind, Kind};
use crate::harness::streams::Tap;
use crate::harness::*;

/// The events that came until `end`, each as `event key`.
#[track_caller]
fn events(listener: &mut Client, c: &mut Client) -> Vec<String> {
    c.must("SET end x");
    let mut events = Vec::new();
    loop {
        let message = listener.read().expect("a message");
        let [.., channel, event] = message.items() else { panic!("{message:?}") };
        let (channel, event) = (channel.text(), event.text());
        let key = channel.rsplit("__:").next().unwrap_or_default();
        if key == "end" {
            return events;
        }
        events.push(format!("{event} {key}"));
    }
}

#[test]
fn events_tell_what_was_stored_and_what_has_gone() {
    let server = Server::builder().config("notify-keyspace-events KEA").start();
    let mut c = server.client();
    let mut listener = server.client();
    listener.must("PSUBSCRIBE __keyspace@0__:*");
    let token = c.must("APIKEY.TOKEN x").text();
    region(&mut c, "small MAXENTRIES 1");
    for (line, told) in [
        ("CACHE.SET k r v".to_string(), vec!["cache.set k", "expire k"]),
        ("CACHE.SET k r v NX".into(), vec![]),
        (format!("CACHE.SETABSENT a r TOKEN {token}"), vec!["cache.setabsent a", "expire a"]),
        (
            format!("CACHE.MSET r 2 m1 v m2 v TOKEN {token}"),
            vec!["cache.set m1", "expire m1", "cache.set m2", "expire m2"],
        ),
        ("CACHE.GET k r".into(), vec![]),
        ("CACHE.TAGINVAL SOFT none".into(), vec![]),
        ("APIKEY.INVAL k".into(), vec!["del k"]),
        ("CACHE.PATINVAL m*".into(), vec!["del m1", "del m2"]),
        ("CACHE.SET one small v".into(), vec!["cache.set one", "expire one"]),
        ("CACHE.SET two small v".into(), vec!["cache.set two", "expire two", "del one"]),
        ("CACHE.CLEAR small".into(), vec!["del two"]),
    ] {
        let reply = c.run(&line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        if line.starts_with("CACHE.SET two") {
            // The SET draws a few to evict, and may draw itself alone; then the rest comes behind it.
            eventually("one is evicted", || !c.exists("one"));
        }
        assert_eq!(events(&mut listener, &mut c), told, "{line}");
    }
}

#[test]
fn a_value_is_in_no_monitor_and_no_slowlog() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = Server::builder()
        .config("slowlog-log-slower-than 0")
        .config("slowlog-max-len 100000")
        .config("loglevel debug")
        .start();
    let mut monitor = Tap::monitor(server.port);
    let mut c = server.client();
    let secret = "a-value-that-is-nobodys-business";
    let token = c.must("APIKEY.TOKEN x").text();
    for line in [
        format!("CACHE.SET k r {secret}"),
        format!("CACHE.SET k r {secret} TOKEN {token} TAGS 1 t LABEL l NS n:"),
        format!("cache.set k r {secret} EX 5 XX"),
        format!("CACHE.MSET r 2 a {secret} b {secret} TOKEN {token}"),
        // Wrong calls as well.
        format!("CACHE.SET k r {secret} FOO"),
        format!("CACHE.SET k r v {secret}"),
        format!("CACHE.MSET r 3 a {secret} b {secret} TOKEN {token}"),
        format!("CACHE.MSET r 1 a {secret}"),
        format!("CACHE.SETABSENT k r TOKEN {token} {secret}"),
        format!("CACHE.FAIL k r TOKEN {secret}"),
    ] {
        c.run(&line);
    }
    c.must("MULTI");
    c.run(&format!("CACHE.SET k r {secret}"));
    c.must("EXEC");
    c.must("ECHO the-end-of-it");
    let seen = String::from_utf8_lossy(monitor.until(b"the-end-of-it")).into_owned();
    let lines: Vec<&str> = seen.lines().filter(|line| line.contains(&secret[..20])).collect();
    assert_eq!(lines, Vec::<&str>::new(), "MONITOR");
    let slow = format!("{:?}", c.must("SLOWLOG GET 100000"));
    assert!(slow.to_lowercase().contains("cache.set"), "the search works");
    assert!(!slow.contains(&secret[..20]), "SLOWLOG");
    assert!(!server.log().contains(&secret[..20]), "the log");
}

#[test]
fn invalidations_are_told_on_the_channel() {
    let server = Server::builder().setting("invalidation-channel", "news").start();
    let mut c = server.client();
    let mut listener = server.client();
    listener.must("SUBSCRIBE news");
    set(&mut c, "k r v TAGS 1 t GRACE 5000");
    for line in [
        "APIKEY.INVAL k",
        "CACHE.TAGINVAL t",
        "CACHE.CLEAR r",
        "CACHE.TAGINVAL SOFT t",
        "CACHE.PATINVAL k*",
    ] {
        c.must(line);
        c.must("PUBLISH news end");
        let mut messages = Vec::new();
        loop {
            let message = listener.read().expect("a message").items()[2].text();
            if message == "end" {
                break;
            }
            messages.push(message);
        }
        assert!(!messages.is_empty(), "{line}");
        println!("{line}: {messages:?}");
    }
}
