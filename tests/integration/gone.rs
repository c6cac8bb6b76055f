//! The word of what was reclaimed, in the stream and in an AOF: any names, in words that stay small; the
//! earlier word, which is still read; and words that are none.

use std::fs;

use crate::harness::client::packed;
use crate::harness::server::Stop;
use crate::harness::streams::{find, Tap};
use crate::harness::*;
use crate::reclaim::dbsize;
use crate::trust::aof;

const GONE: &[u8] = b"\r\napikey.gone\r\n$";

/// The arguments of the words that a stream has.
pub fn words(stream: &[u8]) -> Vec<&[u8]> {
    let (mut left, mut words) = (stream, Vec::new());
    while let Some(at) = find(left, GONE) {
        left = &left[at + GONE.len()..];
        let end = find(left, b"\r\n").expect("a length");
        let digits = std::str::from_utf8(&left[..end]).expect("digits");
        let len: usize = digits.parse().expect("a length");
        words.push(&left[end + 2..end + 2 + len]);
        left = &left[end + 2 + len..];
    }
    words
}

/// The names of a word: what each shares with the one before, how long the rest is, the rest.
pub fn names(mut word: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    while let [shared, lengths @ ..] = word {
        let digits = 1 + lengths.iter().position(|byte| byte & 0x80 == 0).expect("a length");
        let (length, rest) = lengths.split_at(digits);
        let length = length.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let before = names.last().map_or(&[][..], |name| &name[..usize::from(*shared)]);
        let name = [before, &rest[..length]].concat();
        names.push(name);
        word = &rest[length..];
    }
    names
}

/// A word of names that share nothing and are shorter than 128 bytes.
fn word(names: &[&[u8]]) -> Vec<u8> {
    names.iter().flat_map(|name| [&[0, name.len() as u8], *name].concat()).collect()
}

/// Stores an entry with the tag `shared` under any name.
#[track_caller]
fn fill(c: &mut Client, name: &[u8]) {
    let record = record("k", "u1");
    let args: [&[u8]; 6] = [b"APIKEY.SETVAL", name, record.as_bytes(), b"TAGS", b"1", b"shared"];
    assert_eq!(c.cmd(args), ok());
}

/// How long a slice's names may be, all but the last.
const ENOUGH: usize = 64 << 10;

#[test]
fn any_names_arrive_in_words_that_stay_small() {
    let primary = Server::builder().setting("sync-reclaim", "0").start();
    let replica = Server::start();
    let mut c = primary.client();
    let long = |first: u8| [vec![first], vec![b'x'; 40_000]].concat();
    let mut all: Vec<Vec<u8>> = (b'a'..b'm').map(long).collect();
    all.extend([vec![], vec![0], b"\r\n".to_vec(), vec![0xff; 300], [0xff; 301].to_vec()]);
    all.extend((0..100).map(|i| format!("apikey:{{ak_live_{i}}}").into_bytes()));
    all.sort();
    let held = hold(&mut c);
    all.iter().for_each(|name| fill(&mut c, name));
    c.fill("live", &[]);
    replica.replicate(&primary);
    let mut stream = Tap::replication(primary.port);
    stream.clear();
    assert_eq!(c.invalidate("shared"), all.len() as i64);
    if held {
        release(&mut c);
    }
    reclaimed(&mut c);
    replica.in_sync_with(&primary);
    assert_eq!(dbsize(&mut replica.client()), 1);
    assert_eq!(replica.digest(), primary.digest());
    assert_nothing_was_refused(&replica);
    assert_exact(&replica);
    c.must("PUBLISH end of-it-all");
    let stream = stream.until(b"of-it-all");
    let words = words(stream);
    let mut told: Vec<Vec<u8>> = words.iter().flat_map(|word| names(word)).collect();
    told.sort();
    assert!(told == all, "{} of {} names", told.len(), all.len());
    let longest = words.iter().map(|word| word.len()).max();
    assert!(longest < Some(ENOUGH + 40_010), "{longest:?}");
}

/// A replica of nobody whose AOF ends with `tail`, behind entries of these names, all of them dead; `None`
/// where a test can't have them wait.
fn with_tail(dead: &[&[u8]], tail: &[u8]) -> Option<Server> {
    let builder = Server::builder().setting("trust-loaded", "yes").setting("sync-reclaim", "0");
    let mut server = builder.with_aof(false).start();
    let mut c = server.client();
    if !hold(&mut c) {
        return None;
    }
    dead.iter().for_each(|name| fill(&mut c, name));
    c.fill("live", &[]);
    assert_eq!(c.invalidate("shared"), dead.len() as i64);
    let path = aof(&server);
    server.restart_with(Stop::NoSave, |b| {
        let bytes = [&fs::read(&path).expect("an AOF"), tail].concat();
        fs::write(&path, bytes).expect("written");
        // It reclaims nothing itself. Nobody answers at that port.
        b.config("replicaof 127.0.0.1 1")
    });
    Some(server)
}

#[test]
fn an_aof_is_read_that_says_it_by_the_word_of_earlier_versions() {
    let tail = [packed(["APIKEY.RECLAIMED", "a", "", "none"]), packed(["APIKEY.RECLAIMED", "b"])];
    let Some(server) = with_tail(&[b"a", b"", b"b", b"c"], &tail.concat()) else { return };
    let mut c = server.client();
    assert_eq!((dbsize(&mut c), c.exists("c"), c.exists("live")), (2, true, true));
    assert_nothing_was_refused(&server);
    assert_exact(&server);
}

#[test]
fn an_aof_is_read_whose_names_are_in_one_argument() {
    let tail = packed([b"APIKEY.GONE".as_slice(), &word(&[b"a", b"", b"none", b"\0\r\n"])]);
    let Some(server) = with_tail(&[b"a", b"", b"\0\r\n", b"c"], &tail) else { return };
    let mut c = server.client();
    assert_eq!((dbsize(&mut c), c.exists("c"), c.exists("live")), (2, true, true));
    assert_nothing_was_refused(&server);
    assert_exact(&server);
}

#[test]
fn a_word_that_is_none_changes_nothing() {
    let good = word(&[b"a", b"b"]);
    let mut bad: Vec<Vec<u8>> = (1..good.len()).map(|end| good[..end].to_vec()).collect();
    bad.retain(|cut| cut != &word(&[b"a"]));
    for end in ["\x02\0", "\0\x05none", "\0\u{ff}", "\u{ff}", "\0"] {
        bad.push([&good, end.as_bytes()].concat());
    }
    let varint = [0xff; 10];
    bad.push([good.as_slice(), &[0], &varint].concat());
    let tail: Vec<u8> =
        bad.iter().flat_map(|bad| packed([b"APIKEY.GONE".as_slice(), bad])).collect();
    let Some(mut server) = with_tail(&[b"a", b"b", b"c"], &tail) else { return };
    let mut c = server.client();
    assert_eq!(dbsize(&mut c), 4);
    assert_exact(&server);
    assert!(server.is_alive());
}

#[test]
fn any_bytes_for_a_word_leave_a_server_whose_index_is_exact() {
    let mut rng = Rng::from_env(24);
    let all: [&[u8]; 6] = [b"a", b"b", b"ab", b"abc", b"", b"c"];
    let mut tail = Vec::new();
    for _ in 0..500 {
        let mut bytes = word(&[rng.pick(&all), rng.pick(&all), rng.pick(&all)]);
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = if rng.one_in(2) { rng.below(4) as u8 } else { rng.next() as u8 };
        }
        tail.extend(packed([b"APIKEY.GONE".as_slice(), &bytes]));
    }
    let Some(mut server) = with_tail(&all, &tail) else { return };
    assert!(server.client().exists("live"));
    assert_exact(&server);
    assert!(server.is_alive());
}
