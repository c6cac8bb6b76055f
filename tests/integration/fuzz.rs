//! Survival: nothing that a client can send stops the server or makes its index differ.
//!
//! The generator is deterministic (`APIKEY_SEED`), the length is `APIKEY_FUZZ_ROUNDS`. A short share runs
//! with the other tests; a fuzz run is the same with more rounds.

use crc::{Crc, CRC_64_REDIS};

use crate::harness::server::Stop;
use crate::harness::*;
use apikey_engine::usage::id::Id;

/// The module's commands that a client may call, as the server lists them. Not APIKEY.DEBUG, which breaks
/// things on purpose.
fn commands(c: &mut Client) -> Vec<String> {
    let mut names: Vec<String> = c
        .must("COMMAND")
        .items()
        .iter()
        .map(|command| command.items()[0].text().to_uppercase())
        .filter(|name| name.starts_with("APIKEY.") || name.starts_with("CACHE."))
        .filter(|name| !name.starts_with("APIKEY.DEBUG"))
        .collect();
    names.sort();
    for one in ["APIKEY.SETVAL", "CACHE.SET"] {
        assert!(names.iter().any(|name| name == one), "{names:?}");
    }
    names
}

const KEYS: [&str; 6] = ["k1", "k2", "k3", "counter1", "counter2", "text"];

const WORDS: [&str; 66] = [
    "SOFT",
    "GRACE",
    "LABEL",
    "REGION",
    "BACKOFF",
    "HITS",
    "BYTES",
    "SET",
    "GET",
    "LIST",
    "DEL",
    "TTL",
    "JITTER",
    "EAGER",
    "LEASE",
    "ABSENTTTL",
    "MAXBYTES",
    "MAXENTRIES",
    "EVICT",
    "r1",
    "cache:region:r1",
    "EX",
    "px",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "SECRET",
    "DIGEST",
    "UNTIL",
    "TAGS",
    "NS",
    "NX",
    "XX",
    "SCOPE",
    "BY",
    "COUNT",
    "TOKEN",
    "OFFSET",
    "LIMIT",
    "RESET",
    "ALLOW",
    "DENY",
    "0",
    "1",
    "2",
    "3",
    "17",
    "-1",
    "1000",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "1e3",
    " 1",
    "0x10",
    "",
    "%s%n%d",
    "a:b",
    "*",
    "*:*",
    "apikey:user:u1",
    "apikey:kind:record",
    "[]",
    "null",
    "0000000000000000000000000000000000000000000000000000000000000000",
];

fn json(rng: &mut Rng) -> Vec<u8> {
    let mut text = match rng.below(7) {
        0 => "[".repeat(rng.below(200)),
        1 => format!(
            r#"{{"id":"i","user_id":{},"is_active":true}}"#,
            rng.next() as i64
        ),
        2 => r#"{"id":"i","user_id":"u","is_active":true,"scopes":["a:b",{"resource":"x","actions":["y"]}]}"#.into(),
        3 => r#"{"id":"i","user_id":"u","is_active":false,"expires_at":"2030-02-30T25:61:61Z"}"#.into(),
        4 => format!(
            r#"{{"id":"i","user_id":"u","is_active":true,"expires_at":{},"name":"{}"}}"#,
            rng.next() as i64 >> rng.below(64),
            "\\ud83d\\ude00é".repeat(rng.below(80))
        ),
        5 => format!(
            r#"{{"id":"i","user_id":"u","is_active":true,"org":{},"plan":"{}"}}"#,
            rng.next() as i64 >> rng.below(64),
            "\\u0000é".repeat(rng.below(100))
        ),
        _ => record("i", "u1"),
    }
    .into_bytes();
    if rng.one_in(3) {
        mutate(rng, &mut text, 0);
    }
    text
}

/// One to three small damages to what stands from `from` on.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, from: usize) {
    for _ in 0..1 + rng.below(3) {
        if bytes.len() <= from {
            return;
        }
        let at = from + rng.below(bytes.len() - from);
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.next() as u8,
            2 => {
                bytes[at] = *[0, 0x7f, 0x80, 0x81, 0xc3, 0xfb, 0xfe, 0xff]
                    .get(rng.below(8))
                    .expect("one of eight")
            }
            3 => bytes.truncate(at),
            4 => bytes.insert(at, rng.next() as u8),
            5 => {
                bytes.remove(at);
            }
            6 => {
                // A part of it once more.
                let end = at + rng.below(bytes.len() - at + 1).min(64);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                // A length that is far too large, as the RDB and as varints write it.
                let lengths: [&[u8]; 4] = [
                    &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                    &[0x80, 0x7f, 0xff, 0xff, 0xff],
                    &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                ];
                let end = (at + 1).min(bytes.len());
                bytes.splice(at..end, lengths[rng.below(4)].iter().copied());
            }
        }
    }
}

fn argument(rng: &mut Rng) -> Vec<u8> {
    match rng.below(10) {
        0..=2 => rng.pick(&KEYS).as_bytes().to_vec(),
        3..=6 => rng.pick(&WORDS).as_bytes().to_vec(),
        7 => json(rng),
        8 => rng.bytes(40),
        _ => rng.next().to_string().into_bytes(),
    }
}

/// Arguments that get far: mostly well-formed, for the commands whose shape is known here.
fn plausible(rng: &mut Rng, name: &str, token: &str, batch: &str) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = Vec::new();
    match name {
        "APIKEY.SETVAL" | "APIKEY.MSETVAL" => {
            let number = if name == "APIKEY.MSETVAL" { 1 + rng.below(3) } else { 1 };
            if name == "APIKEY.MSETVAL" {
                // Not always the right one.
                args.push((number + rng.below(10) / 9).to_string().into());
            }
            for _ in 0..number {
                args.extend([rng.pick(&KEYS).into(), json(rng)]);
            }
            if name == "APIKEY.SETVAL" && rng.one_in(2) {
                args.extend([b"SECRET".to_vec(), rng.bytes(20)]);
            }
            if rng.one_in(2) {
                let number = rng.below(5);
                args.extend([b"TAGS".to_vec(), number.to_string().into()]);
                args.extend((0..number).map(|_| match rng.below(3) {
                    0 => rng.bytes(300),
                    _ => format!("t{}", rng.below(5)).into(),
                }));
            }
            if rng.one_in(3) {
                args.extend([b"NS".to_vec(), rng.bytes(4)]);
            }
            if rng.one_in(3) {
                args.extend([b"PX".to_vec(), rng.below(20).to_string().into()]);
            }
            if name == "APIKEY.MSETVAL" || rng.one_in(3) {
                let mut token = token.as_bytes().to_vec();
                if rng.one_in(4) {
                    mutate(rng, &mut token, 0);
                }
                args.extend([b"TOKEN".to_vec(), token]);
            }
        }
        "APIKEY.SETSCOPE" => {
            args.push(rng.pick(&["k3", "decided"]).into());
            args.push(rng.bytes(4));
            args.push(rng.bytes(140));
            args.extend([rng.bytes(3), rng.bytes(3)]);
            args.push(rng.pick(&["ALLOW", "DENY"]).into());
            args.extend([b"TOKEN".to_vec(), token.into()]);
            if rng.one_in(2) {
                args.extend([b"PX".to_vec(), rng.below(20).to_string().into()]);
            }
            if rng.one_in(3) {
                args.extend([b"TAGS".to_vec(), b"1".to_vec(), rng.bytes(300)]);
            }
        }
        "APIKEY.SETLIST" => {
            args.push(rng.pick(&["k3", "listed"]).into());
            args.push(rng.bytes(140));
            let records: Vec<Vec<u8>> = (0..rng.below(4)).map(|_| json(rng)).collect();
            args.push([b"[", &records.join(&b","[..])[..], b"]"].concat());
            args.extend([b"TOKEN".to_vec(), token.into()]);
        }
        "APIKEY.GETLIST" => {
            args.push("listed".into());
            for name in ["OFFSET", "LIMIT"] {
                let number = rng.pick(&["0", "1", "3", "9223372036854775807"]);
                args.extend([name.into(), number.into()]);
            }
        }
        "APIKEY.TAGINVAL" => {
            args.extend((0..1 + rng.below(4)).map(|_| format!("t{}", rng.below(5)).into_bytes()));
        }
        "APIKEY.ADMIT" => {
            let number = 1 + rng.below(3);
            args.extend([rng.pick(&KEYS).into(), (number + rng.below(10) / 9).to_string().into()]);
            args.extend((0..number).map(|n| format!("counter{}", n + rng.below(9) / 8).into()));
            args.extend([b"SECRET".to_vec(), rng.pick(&["s", ""]).into()]);
            for option in ["COST", "ID"] {
                if rng.one_in(2) {
                    args.extend([option.into(), rng.below(30).to_string().into()]);
                }
            }
            for n in 0..rng.below(4) {
                let rule = rng.pick(&[
                    "RATE 3 1000",
                    "RATE 1000000000000000 1 BURST 1000000000000000",
                    "RATE 1 31622400000 BURST 291672107 WEIGHT 1000000",
                    "QUOTA 9 MONTH DAY 31 OFFSET -1440",
                    "QUOTA 1000000000000000 HOUR SHADOW",
                    "CREDITS SHADOW",
                    "CREDITS",
                ]);
                args.extend([b"LIMIT".to_vec(), (1 + rng.below(3)).to_string().into()]);
                args.push(format!("l{}", n + rng.below(3)).into());
                args.extend(rule.split(' ').map(Into::into));
            }
        }
        "APIKEY.CREDIT" => {
            let by = rng.pick(&["1", "-1", "5", "1000000000000000", "-1000000000000000"]);
            let name = format!("l{}", rng.below(6));
            args.extend([b"counter1".to_vec(), name.into(), b"BY".to_vec(), by.into()]);
            if rng.one_in(2) {
                args.extend([b"ID".to_vec(), rng.below(30).to_string().into()]);
            }
        }
        "APIKEY.SETTLE" => {
            let counter = format!("counter{}", rng.below(3));
            let cost = rng.pick(&["0", "1", "7", "1000000000"]);
            args.extend([counter.into(), rng.below(30).to_string().into(), cost.into()]);
        }
        "APIKEY.USAGE.INCR" => {
            args.push(format!("counter{}", rng.below(3)).into());
            if rng.one_in(2) {
                args.extend([b"ID".to_vec(), rng.below(30).to_string().into()]);
            }
        }
        "CACHE.GET" => args.extend([rng.pick(&KEYS).into(), region(rng)]),
        "CACHE.MGET" => {
            args.push(region(rng));
            args.extend((0..1 + rng.below(4)).map(|_| rng.pick(&KEYS).into()));
        }
        "CACHE.SET" => {
            args.extend([rng.pick(&KEYS).into(), region(rng), rng.bytes(80)]);
            if rng.one_in(2) {
                args.extend([b"TOKEN".to_vec(), token.into()]);
            }
            cache_options(rng, &mut args);
        }
        "CACHE.MSET" => {
            let number = 1 + rng.below(3);
            args.extend([region(rng), (number + rng.below(10) / 9).to_string().into()]);
            for _ in 0..number {
                args.extend([rng.pick(&KEYS).into(), rng.bytes(80)]);
            }
            args.extend([b"TOKEN".to_vec(), token.into()]);
            cache_options(rng, &mut args);
        }
        "CACHE.SETABSENT" | "CACHE.FAIL" => {
            args.extend([rng.pick(&KEYS).into(), region(rng), b"TOKEN".to_vec(), token.into()]);
            if name == "CACHE.FAIL" && rng.one_in(2) {
                args.extend([b"BACKOFF".to_vec(), rng.below(20).to_string().into()]);
            }
        }
        "CACHE.TAGINVAL" => {
            if rng.one_in(2) {
                args.push(b"SOFT".to_vec());
            }
            args.extend((0..1 + rng.below(4)).map(|_| format!("t{}", rng.below(5)).into_bytes()));
        }
        "CACHE.CLEAR" | "CACHE.STATS" | "CACHE.TOP" => {
            args.push(region(rng));
            if name == "CACHE.TOP" && rng.one_in(2) {
                args.extend([b"BY".to_vec(), rng.pick(&["HITS", "BYTES"]).into()]);
            }
        }
        "CACHE.PATINVAL" => {
            let pattern = ["k*", "*", "k[1-2]", "[^k]*", "k[", "\\", "*1*2*3*", "[]-a]?"];
            args.push(if rng.one_in(4) { rng.bytes(40) } else { rng.pick(&pattern).into() });
            if rng.one_in(2) {
                args.extend([b"REGION".to_vec(), region(rng)]);
            }
        }
        "CACHE.REGION" => {
            args.push(rng.pick(&["SET", "GET", "DEL", "LIST"]).into());
            args.push(region(rng));
            if args[0] == b"SET" {
                for _ in 0..rng.below(3) {
                    let (name, values) = [
                        ("TTL", ["1", "1000", "9223372036854775807"]),
                        ("GRACE", ["0", "1000", "31536000001"]),
                        ("JITTER", ["0", "50", "101"]),
                        ("EAGER", ["0", "99", "100"]),
                        ("LEASE", ["0", "1", "600000"]),
                        ("ABSENTTTL", ["1", "1000", "-1"]),
                        ("MAXBYTES", ["0", "300", "1gb"]),
                        ("MAXENTRIES", ["0", "1", "3"]),
                        ("EVICT", ["LRU", "LFU", "TTL"]),
                    ][rng.below(9)];
                    args.extend([name.into(), rng.pick(&values).into()]);
                }
            }
        }
        "APIKEY.TAGCARD" => args.push(format!("t{}", rng.below(5)).into()),
        "APIKEY.TAGSCAN" => {
            args.push(format!("t{}", rng.below(5)).into());
            args.push(rng.pick(&["0", "1", "3", "18446744073709551615"]).into());
            if rng.one_in(2) {
                args.extend([b"COUNT".to_vec(), rng.below(4).to_string().into()]);
            }
        }
        "APIKEY.LOG" => args.push(rng.pick(&["RESET", "COUNT"]).into()),
        "APIKEY.INVAL" => {
            args.extend((0..1 + rng.below(4)).map(|_| rng.pick(&KEYS).into()));
        }
        "APIKEY.USAGE.LEASE" | "APIKEY.USAGELEASE" => {
            args.push(rng.pick(&["0", "1", "2", "1000", "86400000", "86400001"]).into());
            if rng.one_in(2) {
                args.extend([b"COUNT".to_vec(), rng.below(4).to_string().into()]);
            }
        }
        "APIKEY.USAGE.ACK" | "APIKEY.USAGEACK" | "APIKEY.USAGE.NACK" | "APIKEY.USAGENACK" => {
            let mut batch = batch.as_bytes().to_vec();
            if rng.one_in(4) {
                mutate(rng, &mut batch, 0);
            }
            args.push(batch);
        }
        _ => args.push(rng.pick(&KEYS).into()),
    }
    if rng.one_in(4) {
        args.push(argument(rng));
    }
    args
}

fn region(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => rng.bytes(70),
        _ => rng.pick(&["r1", "r2"]).into(),
    }
}

/// Options of what stores in a region.
fn cache_options(rng: &mut Rng, args: &mut Vec<Vec<u8>>) {
    if rng.one_in(3) {
        args.extend([b"GRACE".to_vec(), rng.below(2000).to_string().into()]);
    }
    if rng.one_in(3) {
        args.extend([b"PX".to_vec(), rng.below(20).to_string().into()]);
    }
    if rng.one_in(2) {
        args.extend([b"TAGS".to_vec(), b"1".to_vec(), format!("t{}", rng.below(5)).into()]);
    }
    if rng.one_in(4) {
        args.extend([b"NS".to_vec(), rng.bytes(4)]);
    }
    if rng.one_in(4) {
        args.extend([b"LABEL".to_vec(), rng.bytes(70)]);
    }
}

/// It is the same process, it answers, and its index is exact.
#[track_caller]
fn assert_unharmed(server: &mut Server, pid: &str) {
    assert!(server.is_alive());
    let mut c = server.client();
    assert_eq!(c.run("PING"), simple("PONG"));
    assert_eq!(c.info("server", "process_id").as_deref(), Some(pid));
    assert_exact(server);
}

#[test]
fn random_arguments_never_stop_the_server() {
    let mut server =
        Server::builder().setting("tag-fields", "org,plan").setting("trust-loaded", "yes").start();
    let pid = server.pid().to_string();
    let mut c = server.client();
    let names = commands(&mut c);
    let mut rng = Rng::from_env(1);
    let rounds = env_number("APIKEY_FUZZ_ROUNDS", 3000);
    let (mut token, mut batch) = (String::new(), "1".repeat(32));
    for round in 0..rounds {
        if round % 20 == 0 {
            token = c.must("APIKEY.TOKEN k1").text();
            c.run("APIKEY.USAGE.INCR counter1");
            batch = c.leases("1000").first().map_or(batch, |batch| batch.id.clone());
        }
        let name = &names[rng.below(names.len())];
        let mut args = vec![name.clone().into_bytes()];
        if rng.one_in(2) {
            args.extend(plausible(&mut rng, name, &token, &batch));
        } else {
            args.extend((0..rng.below(8)).map(|_| argument(&mut rng)));
        }
        c.cmd(&args);
        match rng.below(40) {
            0 => drop(c.cmd(["SET", "text", "x"])),
            1 => drop(c.cmd(["RENAME", rng.pick(&KEYS), rng.pick(&KEYS)])),
            2 => drop(c.cmd(["MOVE", rng.pick(&KEYS), "1"])),
            3 => drop(c.cmd(["SWAPDB", "0", "1"])),
            _ => {}
        }
        if round % 1000 == 999 {
            assert_unharmed(&mut server, &pid);
        }
    }
    assert_unharmed(&mut server, &pid);
    // What is there now can be saved and loaded. Nothing of it may expire meanwhile, nor be evicted.
    for region in ["r1", "r2"] {
        c.must(&format!("CACHE.REGION DEL {region}"));
    }
    for db in 0..2 {
        c.select(db);
        for key in c.must("KEYS *").items() {
            c.cmd([b"PERSIST".as_slice(), key.bytes()]);
        }
    }
    reclaimed(&mut c);
    let digest = server.digest();
    c.must("DEBUG RELOAD");
    assert_eq!(server.digest(), digest);
    assert_unharmed(&mut server, &pid);
}

/// A payload with the footer that RESTORE wants: the version of the RDB, and a checksum that is right.
pub fn sealed(body: &[u8], version: &[u8]) -> Vec<u8> {
    let mut payload = [body, version].concat();
    let sum = Crc::<u64>::new(&CRC_64_REDIS).checksum(&payload);
    payload.extend(sum.to_le_bytes());
    payload
}

/// Counters that were taken from, and a record with limits.
fn limits(c: &mut Client) {
    let second = r#"{"name":"second","units":1,"per":31622400000,"burst":9}"#;
    let year = r#"{"name":"year","quota":9,"period":"year","counter":2}"#;
    store(c, "limited", &format!(r#""limits":[{second},{year}]"#), &format!("SECRET {SECRET}"));
    c.must("APIKEY.CREDIT taken money SET 5");
    c.must(&format!("APIKEY.ADMIT limited 2 taken taken2 DIGEST {DIGEST} ID id COST 2"));
    c.must("APIKEY.USAGE.INCR taken2 ID other");
    c.must("APIKEY.SETTLE taken id 1");
}

/// DUMPs of every form of entry and counter, also of a dead one, without their footers; and the version.
fn dumps(server: &Server) -> (Vec<Vec<u8>>, Vec<u8>) {
    populate(server);
    let mut c = server.client();
    let held = hold(&mut c);
    c.must("COPY rich dead");
    c.must("CACHE.SET value products {} GRACE 60000 TAGS 2 shared soft NS acme: LABEL json");
    c.must("CACHE.SET plain-value products v PX 3600000");
    let token = c.must("APIKEY.TOKEN none").text();
    c.must(&format!("CACHE.SETABSENT no-value products TOKEN {token} TAGS 1 shared"));
    c.must("COPY value dead-value");
    limits(&mut c);
    c.must("CACHE.SET stale products v GRACE 60000 TAGS 1 soft");
    c.must("CACHE.TAGINVAL SOFT soft");
    let mut bodies = Vec::new();
    let mut version = Vec::new();
    for key in c.must("KEYS *").items() {
        let dump = c.cmd([b"DUMP".as_slice(), key.bytes()]);
        if dump == nil() && !held {
            continue;
        }
        let dump = dump.bytes();
        let (body, footer) = dump.split_at(dump.len() - 10);
        version = footer[..2].to_vec();
        assert_eq!(sealed(body, &version), dump, "the checksum is understood");
        bodies.push(body.to_vec());
    }
    c.must("FLUSHALL");
    if held {
        release(&mut c);
    }
    (bodies, version)
}

/// A value's type (one byte: a module's) and the module type's name and version (nine bytes). The server
/// reads these; damaged, it would be its own types that read the rest.
const HEADER: usize = 10;

/// The one byte string that a value of the module is, out of a payload that is not compressed.
fn inner(body: &[u8]) -> Vec<u8> {
    let frame = &body[HEADER..body.len() - 1];
    assert_eq!(frame[0], 5, "a string comes next");
    match frame[1] >> 6 {
        0 => frame[2..].to_vec(),
        1 => frame[3..].to_vec(),
        _ => panic!("longer than the tests' values: {:?}", &frame[..8]),
    }
}

/// The payload whose byte string is `inner`, with its right length: what the server itself refuses of
/// it is nothing, so that all of it is the module's to judge.
fn framed(header: &[u8], inner: &[u8]) -> Vec<u8> {
    let length = u32::try_from(inner.len()).expect("short");
    [header, &[5, 0x80], &length.to_be_bytes(), inner, &[0]].concat()
}

#[test]
fn damaged_payloads_never_stop_the_server() {
    let builder = Server::builder().setting("tag-fields", "name").setting("trust-loaded", "yes");
    let mut server = builder.config("rdbcompression no").start();
    let pid = server.pid().to_string();
    let (bodies, version) = dumps(&server);
    let mut c = server.client();
    let mut rng = Rng::from_env(2);
    let rounds = env_number("APIKEY_FUZZ_ROUNDS", 3000);
    let mut accepted = 0;
    for round in 0..rounds {
        let mut body = bodies[rng.below(bodies.len())].clone();
        match rng.below(12) {
            8.. => {
                let mut value = inner(&body);
                mutate(&mut rng, &mut value, 0);
                body = framed(&body[..HEADER], &value);
            }
            0 => {
                let len = HEADER + rng.below(body.len() - HEADER);
                body.truncate(len);
            }
            1 => {
                // The head of one and the tail of another.
                let other = &bodies[rng.below(bodies.len())];
                let at = HEADER + rng.below(body.len() - HEADER);
                let from = HEADER + rng.below(other.len() - HEADER);
                body.truncate(at);
                body.extend_from_slice(&other[from..]);
            }
            2 => {
                // Of another version of the module type.
                body[HEADER - 1] ^= 1 << rng.below(8);
            }
            _ => mutate(&mut rng, &mut body, HEADER),
        }
        let payload = sealed(&body, &version);
        let key = rng.pick(&["k1", "k2", "k3"]);
        let key = key.as_bytes();
        let reply = c.cmd([b"RESTORE".as_slice(), key, b"0", &payload, b"REPLACE"]);
        if reply == ok() {
            accepted += 1;
            // Whatever it is now, all that can be done with it works or is an error.
            for command in [
                "APIKEY.VALIDATE",
                "APIKEY.TAGS",
                "APIKEY.DESCRIBE",
                "APIKEY.USAGE.GET",
                "APIKEY.USAGE.INCR",
                "APIKEY.USAGE.TAKE",
                "APIKEY.LIMITS",
                "CACHE.GET",
                "DUMP",
                "TYPE",
            ] {
                let region: &[&[u8]] = if command == "CACHE.GET" { &[b"products"] } else { &[] };
                c.cmd([&[command.as_bytes(), key], region].concat());
            }
            c.cmd([b"MEMORY".as_slice(), b"USAGE", key]);
            c.cmd([b"APIKEY.SETTLE".as_slice(), key, b"id", b"3"]);
            c.cmd([b"APIKEY.CREDIT".as_slice(), key, b"money", b"BY", b"1"]);
            c.cmd([b"DEBUG".as_slice(), b"DIGEST-VALUE", key]);
            c.cmd([b"COPY".as_slice(), key, b"copy", b"REPLACE"]);
            match rng.below(10) {
                0 => drop(c.must("APIKEY.TAGINVAL shared plain rich apikey:user:u1")),
                4 => drop(c.must("CACHE.TAGINVAL SOFT shared cache:region:products")),
                5 => drop(c.must("CACHE.PATINVAL k[1-2]")),
                1 => drop(c.must("APIKEY.USAGE.FLUSH")),
                3 => drop(c.cmd([b"APIKEY.INVAL".as_slice(), key])),
                2 => c.fill("k4", &["shared"]),
                _ => {}
            }
        }
        if round % 500 == 499 {
            assert_unharmed(&mut server, &pid);
            // What was accepted is in order: it can be saved, loaded and has the same digest.
            reclaimed(&mut c);
            let digest = server.digest();
            c.must("DEBUG RELOAD");
            assert_eq!(server.digest(), digest, "round {round}");
            assert_exact(&server);
        }
    }
    assert_unharmed(&mut server, &pid);
    println!("{accepted} of {rounds} payloads were accepted");
    // The test reaches both ways: else it would not test what it says.
    assert!(0 < accepted && accepted < rounds, "{accepted} of {rounds}");
}

#[test]
fn a_payload_cut_anywhere_is_refused() {
    let mut server = Server::start();
    let pid = server.pid().to_string();
    let (bodies, version) = dumps(&server);
    let mut c = server.client();
    for body in &bodies {
        for length in HEADER..body.len() {
            let payload = sealed(&body[..length], &version);
            let reply = c.cmd([b"RESTORE".as_slice(), b"k", b"0", &payload]);
            // The server reads on into the footer, whose ten bytes may pass for the ones that were cut off.
            let may_pass = body.len() - length <= 10;
            if !(may_pass && reply == ok()) {
                assert_eq!(reply, error("ERR Bad data format"), "{length} of {}", body.len());
            }
            c.must("DEL k");
        }
    }
    assert_eq!(c.run("DBSIZE"), int(0));
    assert_unharmed(&mut server, &pid);
}

/// A number as the codec writes lengths.
fn varint(number: usize) -> Vec<u8> {
    match u16::try_from(number) {
        Ok(short) if short < 251 => vec![short as u8],
        Ok(short) => [&[251], &short.to_le_bytes()[..]].concat(),
        Err(_) => {
            let number = u32::try_from(number).expect("32 bits");
            [&[252], &number.to_le_bytes()[..]].concat()
        }
    }
}

/// The value of a live record without digests and namespace, as the first version writes it.
fn record_value(json: &str, tags: &[String]) -> Vec<u8> {
    let mut value = [b"r\x01", &varint(json.len())[..], json.as_bytes(), &[0, 0]].concat();
    value.extend(varint(tags.len()));
    for tag in tags {
        value.extend(varint(tag.len()));
        value.extend(tag.as_bytes());
    }
    value.push(0);
    value
}

#[test]
fn a_payload_of_more_fields_or_tags_than_a_record_can_have_is_refused() {
    let mut server = Server::start();
    let pid = server.pid().to_string();
    let (_, version) = dumps(&server);
    let mut c = server.client();
    c.fill("k", &[]);
    let header = c.must("DUMP k").bytes()[..HEADER].to_vec();
    c.must("DEL k");
    let with_fields = |count: usize| {
        let fields: String = (0..count).map(|n| format!(r#","f{n}":0"#)).collect();
        record_value(&format!(r#"{{"id":"k","user_id":"u","is_active":true{fields}}}"#), &[])
    };
    let with_tags = |tags: &[String]| record_value(&record("k", "u"), tags);
    let different = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let same = |tag: &str, count: usize| vec![tag.to_string(); count];
    let restore = |c: &mut Client, value: &[u8]| {
        let payload = sealed(&framed(&header, value), &version);
        c.cmd([b"RESTORE".as_slice(), b"k", b"0", &payload, b"REPLACE"])
    };
    for (value, what) in [
        (with_fields(60_000), "fields"),
        (with_fields(41), "one field more than there can be"),
        (with_tags(&different(60_000)), "tags"),
        (with_tags(&different(73)), "one tag more than there can be"),
        (with_tags(&same("t", 60_000)), "the same tag"),
        (with_tags(&same("apikey:id:k", 60_000)), "the same automatic tag"),
    ] {
        assert_eq!(restore(&mut c, &value), error("ERR Bad data format"), "{what}");
        assert!(!c.exists("k"), "{what}");
    }
    // As many as there can be: it is their number that was refused.
    for value in [with_fields(40), with_tags(&different(72)), with_tags(&same("t", 72))] {
        assert_eq!(restore(&mut c, &value), ok());
    }
    assert_unharmed(&mut server, &pid);
}

#[test]
fn a_payload_of_a_record_that_says_two_things_is_refused() {
    let mut server = Server::builder().config("rdbcompression no").start();
    let pid = server.pid().to_string();
    let mut c = server.client();
    c.fill("k", &["t"]);
    let dump = c.must("DUMP k").bytes().to_vec();
    let (body, footer) = dump.split_at(dump.len() - 10);
    let value = inner(body);
    let restore = |c: &mut Client, value: &[u8]| {
        let payload = sealed(&framed(&body[..HEADER], value), &footer[..2]);
        c.cmd([b"RESTORE".as_slice(), b"copy", b"0", &payload, b"REPLACE"])
    };
    assert_eq!(restore(&mut c, &value), ok());
    c.must("DEL copy");
    // Kind, version and whether it is dead stand before the record's header.
    for (at, what) in [(3, "its expiry"), (11, "the length of its JSON"), (28, "its state")] {
        let mut value = value.clone();
        value[at] ^= 1;
        assert_eq!(restore(&mut c, &value), error("ERR Bad data format"), "{what}");
        assert!(!c.exists("copy"), "{what}");
    }
    assert_unharmed(&mut server, &pid);
}

#[test]
fn a_payload_of_a_value_of_a_region_that_says_two_things_is_refused() {
    let mut server = Server::builder().config("rdbcompression no").start();
    let pid = server.pid().to_string();
    let mut c = server.client();
    c.must("CACHE.SET k products {} GRACE 60000 TAGS 2 a bc NS acme: LABEL json");
    let dump = c.must("DUMP k").bytes().to_vec();
    let (body, footer) = dump.split_at(dump.len() - 10);
    let value = inner(body);
    let restore = |c: &mut Client, value: &[u8]| {
        let payload = sealed(&framed(&body[..HEADER], value), &footer[..2]);
        c.cmd([b"RESTORE".as_slice(), b"copy", b"0", &payload, b"REPLACE"])
    };
    assert_eq!(restore(&mut c, &value), ok());
    assert_eq!(c.must("TYPE copy"), simple("cache-val"));
    // It did not come by a fill.
    assert_eq!(code_of(&c.must("CACHE.GET copy products NS acme:")), "MISS");
    c.must("DEL copy");
    // Kind, version and whether it is dead stand before its header.
    for (at, byte, what) in [
        (0, b'r', "another kind"),
        (1, 2, "a newer version"),
        (2, 2, "neither dead nor alive"),
        (10, 0x80, "stored before 1970"),
        (18, 0x7f, "a grace for ever"),
        (19, 1, "nothing, and a value"),
        (19, 4, "an unknown flag"),
        (20, 0, "of no region"),
        (20, 200, "a region that takes all of it"),
        (21, 65, "a long label"),
        (22, 101, "a long namespace"),
        (23, 3, "a tag more"),
        (24, 8, "tags that end in the value"),
        (25, 255, "tags that end behind it"),
    ] {
        let mut value = value.clone();
        value[at] = byte;
        assert_eq!(restore(&mut c, &value), error("ERR Bad data format"), "{what}");
        assert!(!c.exists("copy"), "{what}");
    }
    assert_unharmed(&mut server, &pid);
}

/// A signed number as the codec writes it.
fn signed(number: i64) -> Vec<u8> {
    let zigzag = ((number << 1) ^ (number >> 63)) as u64;
    match usize::try_from(zigzag) {
        Ok(short) if short <= u32::MAX as usize => varint(short),
        _ => [&[253], &zigzag.to_le_bytes()[..]].concat(),
    }
}

/// Batch, line, count, leased_at, deadline.
type Leased<'a> = (&'a [u8; 16], &'a [u8; 16], i64, i64, i64);

/// The value of a counter: pending, total, first_used_at, last_used_at; and its leases.
fn counter_value(numbers: [i64; 4], leases: &[Leased]) -> Vec<u8> {
    let mut value = [b'u', if leases.is_empty() { 1 } else { 2 }].to_vec();
    numbers.iter().for_each(|&number| value.extend(signed(number)));
    if !leases.is_empty() {
        value.extend(varint(leases.len()));
    }
    for (batch, line, count, leased_at, deadline) in leases {
        value.extend([&batch[..], &line[..]].concat());
        [count, leased_at, deadline].into_iter().for_each(|&number| value.extend(signed(number)));
    }
    value
}

/// RESTOREs a value under `k`, in place of what is there.
fn restore_counter(c: &mut Client, value: &[u8]) -> Reply {
    c.count("of-its-type", 1);
    let dump = c.must("DUMP of-its-type").bytes().to_vec();
    c.must("DEL of-its-type");
    let (body, footer) = dump.split_at(dump.len() - 10);
    let payload = sealed(&framed(&body[..HEADER], value), &footer[..2]);
    c.cmd([b"RESTORE".as_slice(), b"k", b"0", &payload, b"REPLACE"])
}

#[test]
fn a_payload_of_what_no_counter_is_is_refused_and_any_other_is_one() {
    let mut server = Server::builder().config("rdbcompression no").start();
    let replica = Server::builder().replica_of(&server).start();
    replica.in_sync_with(&server);
    let pid = server.pid().to_string();
    let mut c = server.client();
    const NUMBERS: [i64; 4] = [1, 100, 5, 9];
    let (a, b, x, y) = (&[1; 16], &[2; 16], &[3; 16], &[4; 16]);
    c.count("k", 7);
    let before = c.must("DUMP k");
    for (value, what) in [
        (counter_value([-1, 100, 5, 9], &[]), "a negative count"),
        (counter_value([1, -1, 5, 9], &[]), "a negative total"),
        (counter_value([i64::MIN, i64::MIN, 5, 9], &[]), "both"),
        (counter_value([2, 1, 5, 9], &[]), "more pending than counted"),
        (counter_value([1, 100, -5, 9], &[]), "a first use before 1970"),
        (counter_value([1, 100, 5, -9], &[]), "a last use before 1970"),
        (counter_value(NUMBERS, &[(a, x, -1, 5, 9)]), "a negative line"),
        (counter_value(NUMBERS, &[(a, x, 0, 5, 9)]), "an empty line"),
        (counter_value(NUMBERS, &[(a, x, 100, 5, 9)]), "more leased than counted"),
        (counter_value(NUMBERS, &[(a, x, i64::MAX, 5, 9), (b, y, i64::MAX, 5, 9)]), "an overflow"),
        (counter_value(NUMBERS, &[(a, x, 1, -5, 9)]), "leased before 1970"),
        (counter_value(NUMBERS, &[(a, x, 1, 5, -9)]), "due before 1970"),
        (counter_value(NUMBERS, &[(a, x, 1, 5, 9), (a, y, 1, 5, 9)]), "two lines of a batch"),
        (counter_value(NUMBERS, &[(a, x, 1, 5, 9), (b, x, 1, 5, 9)]), "a line twice"),
        (counter_value(NUMBERS, &[(&[0; 16], x, 1, 5, 9)]), "no batch"),
        (counter_value(NUMBERS, &[(a, &[0; 16], 1, 5, 9)]), "no line"),
    ] {
        assert_eq!(restore_counter(&mut c, &value), error("ERR Bad data format"), "{what}");
        assert_eq!(c.must("DUMP k"), before, "{what}");
    }
    // Lines that are overdue by years, and such as were given out at the end of all time; a use that was
    // counted and has no time.
    for (numbers, leases) in [
        ([1, 100, 1, 1], [(a, x, 40, 0, 0), (b, y, 59, 1, 2)]),
        (
            [i64::MAX - 2, i64::MAX, i64::MAX, i64::MAX],
            [(a, x, 1, i64::MAX, i64::MAX), (b, y, 1, 1, i64::MAX)],
        ),
        ([0, 99, 0, 0], [(a, x, 40, i64::MAX, 1), (b, y, 59, 5, 9)]),
    ] {
        let value = counter_value(numbers, &leases);
        assert_eq!(restore_counter(&mut c, &value), ok());
        let dump = c.must("DUMP k").bytes().to_vec();
        let alone = leases.map(|(_, line, count, leased_at, deadline)| {
            let id = Id::from_bytes(*line).expect("an id");
            (id.batch_of_line().to_bytes(), line, count, leased_at, deadline)
        });
        let alone =
            alone.each_ref().map(|(batch, line, count, at, due)| (batch, *line, *count, *at, *due));
        let expected = counter_value(numbers, &alone);
        let written = inner(&dump[..dump.len() - 10]);
        assert_eq!(written, expected, "as it was read, each line in a batch of its own");
        let leased: i64 = leases.iter().map(|lease| lease.2).sum();
        assert_eq!(c.counts("k"), (numbers[0], leased, numbers[1]));
        assert!(c.must("APIKEY.HEALTH").get("oldest_lease_ms").int() >= 0);
        c.run("APIKEY.USAGE.INCR k");
        let again = c.leases(&format!("{LONG} COUNT 100"));
        let mut counts: Vec<i64> = again.iter().map(|batch| batch.lines[0].count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [leases[0].2, leases[1].2]);
        replica.in_sync_with(&server);
        assert_eq!(replica.digest(), server.digest());
        c.must("DEBUG RELOAD");
        assert_eq!(replica.digest(), server.digest());
        assert_eq!(again.iter().map(|batch| c.ack(batch)).sum::<i64>(), 2);
        assert_unharmed(&mut server, &pid);
    }
    assert_nothing_was_refused(&replica);
}

#[test]
fn an_id_that_a_node_has_still_to_give_is_never_given_by_it() {
    let server = Server::start();
    let mut c = server.client();
    c.count("a", 1);
    let batch = c.lease();
    let last = u128::from_str_radix(&batch.lines[0].id, 16).expect("an id");
    for (ahead, leased) in [(1, 2), (2, 1), ((1 << 48) - 10, 3)] {
        let made_up = (last + ahead).to_be_bytes();
        let line = if leased == 3 { [3; 16] } else { (last + leased).to_be_bytes() };
        let value = counter_value([0, 9, 5, 9], &[(&made_up, &line, 9, 5, i64::MAX / 2)]);
        assert_eq!(restore_counter(&mut c, &value), ok());
        c.must("APIKEY.USAGE.LEASE 80000000"); // what was made up is given out, and stays so
        for n in 0..3 {
            c.count("a", 1);
            c.count("b", 1);
            let next = c.lease();
            assert_eq!(next.lines.len(), 2, "{n}");
            assert_eq!(next.ids().iter().filter(|id| id[..20] == batch.id[..20]).count(), 0);
            c.ack(&next);
        }
        c.must("DEL k");
    }
    assert_exact(&server);
}

#[test]
fn a_payload_of_random_bytes_is_refused_or_harmless() {
    let mut server = Server::start();
    let pid = server.pid().to_string();
    let (bodies, version) = dumps(&server);
    let mut c = server.client();
    let mut rng = Rng::from_env(3);
    for _ in 0..env_number("APIKEY_FUZZ_ROUNDS", 3000) / 3 {
        let mut body = bodies[rng.below(bodies.len())][..HEADER].to_vec();
        if rng.one_in(2) {
            body.extend(rng.bytes(100));
        } else {
            // A string that begins as a value does.
            let kind = [b"r\x01".as_slice(), b"r\x02", b"s\x01", b"l\x01", b"u\x01", b"c\x01", b""]
                [rng.below(7)];
            body = framed(&body, &[kind, &rng.bytes(100)].concat());
        }
        let payload = sealed(&body, &version);
        c.cmd([b"RESTORE".as_slice(), b"k", b"0", &payload, b"REPLACE"]);
    }
    assert_unharmed(&mut server, &pid);
}

#[test]
fn a_panic_is_an_error_and_the_server_lives() {
    let mut server = Server::start();
    let pid = server.pid().to_string();
    let mut c = server.client();
    if !has_debug_command(&mut c) {
        return;
    }
    c.fill("k", &["t"]);
    for _ in 0..3 {
        let reply = c.run("APIKEY.DEBUG PANIC");
        assert!(reply.is_error(), "{reply:?}");
        assert!(reply.text().starts_with("ERR "), "{reply:?}");
    }
    c.must("MULTI");
    c.must("APIKEY.DEBUG PANIC");
    c.must("APIKEY.TAGS k");
    let replies = c.must("EXEC");
    assert!(replies.items()[0].is_error());
    assert!(!replies.items()[1].is_error());
    let script = "return redis.pcall('APIKEY.DEBUG', 'PANIC')";
    assert!(c.cmd(["EVAL", script, "0"]).is_error());
    assert_eq!(c.code("k"), "VALID");
    assert_unharmed(&mut server, &pid);
    server.stop(Stop::NoSave);
}
