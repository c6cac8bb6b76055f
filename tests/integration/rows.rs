//! The tables of real systems (`tests/data/rows`): their databases give their rows, `scripts/ctl warm` stores them with the
//! settings that the page names, and what is stored, and what VALIDATE says of it now and after its end, is what the
//! page says. With other settings a key that is not to be used is not good either: with none, and without any one of
//! those that the page names.

mod page;

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use tempfile::TempDir;

use crate::clock::Clock;
use crate::ctl::{warm, Ran};
use crate::harness::*;
use page::{pages, Asked, Page, Row};

/// Longer than any row is good.
const TTL: &str = "10000000000";

/// 2100, when every end in the pages has come.
const LATER: i64 = 4_102_444_800_000;

#[test]
fn rows_of_postgresql_are_judged_as_their_pages_say() {
    let postgres = Postgres::start();
    let pages = pages("PostgreSQL");
    assert_eq!(pages.len(), 10);
    for page in pages {
        let database = page.name.replace('-', "_");
        postgres.sql(&format!("CREATE DATABASE {database}"));
        postgres.sql(&format!("ALTER DATABASE {database} SET timezone = 'UTC'"));
        lines(&postgres.export(&database, page.block("table")));
        let plain = format!("SELECT row_to_json(t) FROM {} t", page.table());
        let plain = lines(&postgres.export(&database, &plain));
        check(&page, &postgres.export(&database, page.block("query")), &plain);
    }
}

#[test]
fn rows_of_sqlite_are_judged_as_their_pages_say() {
    let pages = pages("SQLite");
    assert_eq!(pages.len(), 4);
    for page in pages {
        let python = std::env::var("APIKEY_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/rows/sqlite.py");
        let export =
            |query: &str| [&python, script, page.block("table"), query].map(String::from).to_vec();
        let plain = lines(&export(&format!("SELECT * FROM {}", page.table())));
        check(&page, &export(page.block("query")), &plain);
    }
}

/// None is started: the rows are as MySQL's documentation has the output of JSON_OBJECT.
#[test]
fn rows_of_mysql_are_judged_as_their_pages_say() {
    check_as_written("MySQL", 2);
}

#[test]
fn rows_of_no_database_are_judged_as_their_pages_say() {
    check_as_written("none", 1);
}

#[track_caller]
fn check_as_written(database: &str, count: usize) {
    let pages = pages(database);
    assert_eq!(pages.len(), count);
    for page in pages {
        let dir = TempDir::new().expect("temporary directory");
        let file = dir.path().join("rows.ndjson").display().to_string();
        let rows: Vec<&str> = page.rows.iter().map(|row| row.block("row")).collect();
        std::fs::write(&file, rows.join("\n")).expect("rows");
        let plain: Vec<String> = page
            .rows
            .iter()
            .map(|row| row.given("plain").unwrap_or(row.block("row")).to_string())
            .collect();
        check(&page, &["cat".into(), file], &plain);
    }
}

/// What a command writes.
#[track_caller]
fn lines(command: &[String]) -> Vec<String> {
    let output = Command::new(&command[0]).args(&command[1..]).output().expect("a program");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_string).collect()
}

/// All that a page says, of the rows that a command gives and of those of a plain SELECT.
#[track_caller]
fn check(page: &Page, export: &[String], plain: &[String]) {
    let name = &page.name;
    let rows: Vec<&str> = page.rows.iter().map(|row| row.block("row")).collect();
    assert_eq!(lines(export), rows, "{name}");
    assert_eq!(plain.len(), rows.len(), "{name}");
    let clock = Clock::new();
    let with = |settings: &[(&str, &str)]| {
        settings.iter().fold(clock.server(), |s, (name, value)| s.setting(name, value)).start()
    };
    let (server, unset) = (with(&page.settings()), with(&[]));
    let (mut c, mut without) = (server.client(), unset.client());

    assert_is_warmed(&server, page, export);
    for (row, plain) in page.rows.iter().zip(plain) {
        assert_is_stored(&mut c, page, row);
        for asked in &row.asked {
            assert_ends(&mut c, name, row, asked);
        }
        assert_eq!(said(&mut without, row, plain), row.block("default"), "{name}: {plain}");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as i64;
    let dead_now = |asked: &&Asked| !is_good(&asked.now);
    for (row, plain) in page.rows.iter().zip(plain) {
        assert_not_good(&mut without, row, plain, dead_now, &format!("{name}, plain"));
        assert_not_good(&mut without, row, row.block("row"), dead_now, &format!("{name}, unset"));
    }

    clock.set(LATER - now, &[&server, &unset]);
    for row in &page.rows {
        for asked in &row.asked {
            let code = code_of(&validate(&mut c, &row.key, &asked.options));
            assert_eq!(code, asked.after, "{name}: {} {:?}, later", row.key, asked.options);
        }
    }
    let dead = |asked: &&Asked| !is_good(&asked.after);
    for (row, plain) in page.rows.iter().zip(plain) {
        assert_not_good(&mut without, row, plain, dead, &format!("{name}, plain, later"));
        assert_not_good(
            &mut without,
            row,
            row.block("row"),
            dead,
            &format!("{name}, unset, later"),
        );
    }
    assert_each_setting_may_be_forgotten(&mut c, page);
    application_verifies_what_has_no_digest(&mut c, page);
    assert_exact(&server);
}

/// `scripts/ctl warm` stores what the page says is stored, and tells of the others why not.
#[track_caller]
fn assert_is_warmed(server: &Server, page: &Page, export: &[String]) {
    let options: Vec<&str> = page
        .block("warm")
        .lines()
        .flat_map(|line| line.split_once(' '))
        .flat_map(|o| [o.0, o.1])
        .collect();
    let export: Vec<&str> = export.iter().map(String::as_str).collect();
    let options = [&options[..], &["--ttl", TTL, "--"], &export].concat();
    let ran = Ran::of(warm::command(server, &options));
    let bad = page.rows.iter().filter(|row| row.given("error").is_some());
    let stored = (page.rows.len() - bad.clone().count()) as u64;
    assert_eq!(
        ran.counts(),
        [stored, 0, 0, bad.clone().count() as u64],
        "{}: {}",
        page.name,
        ran.err
    );
    for row in bad {
        let error = row.block("error");
        assert!(ran.err.contains(error), "{}: {error}: {}", page.name, ran.err);
    }
}

#[track_caller]
fn assert_is_stored(c: &mut Client, page: &Page, row: &Row) {
    let (name, key, json) = (&page.name, &row.key, row.block("row"));
    if let Some(why) = row.given("error") {
        assert!(!c.exists(key), "{name}: {key}");
        assert_eq!(c.cmd(["APIKEY.SETVAL", key, json]), error(why), "{name}: {json}");
        return;
    }
    let tags = c.cmd(["APIKEY.TAGS", key]);
    let tags: Vec<String> = tags.items().iter().map(Reply::text).collect();
    assert_eq!(tags, row.block("tags").lines().collect::<Vec<_>>(), "{name}: {key}");
    // Of a record that is not good GETLIST says what VALIDATE does not.
    let token = c.must("APIKEY.TOKEN list").text();
    let list = format!("[{json}]");
    assert_eq!(
        c.cmd(["APIKEY.SETLIST", "list", "u", &list, "TOKEN", &token]),
        ok(),
        "{name}: {json}"
    );
    let listed = c.must("APIKEY.GETLIST list").items()[1].items()[1].items()[0].text();
    assert_eq!(listed, row.block("stored"), "{name}: {key}");
}

/// What VALIDATE says now, and until when.
#[track_caller]
fn assert_ends(c: &mut Client, name: &str, row: &Row, asked: &Asked) {
    let what = format!("{name}: {} {:?}", row.key, asked.options);
    let reply = validate(c, &row.key, &asked.options);
    assert_eq!(code_of(&reply), asked.now, "{what}");
    let ends = match asked.now.as_str() {
        "VALID" => reply.items()[2].int(),
        "UNVERIFIED" => reply.items()[3].int(),
        _ => return assert_eq!(asked.until, "", "{what}"),
    };
    assert_eq!(reply.items()[1].text(), row.block("stored"), "{what}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as i64;
    if asked.until.is_empty() {
        return assert!(now + ends > LATER, "{what}: it ends at {}", now + ends);
    }
    let until = NaiveDateTime::parse_from_str(&asked.until, "%Y-%m-%d %H:%M:%S").expect("a time");
    let off = now + ends - until.and_utc().timestamp_millis();
    assert!((-2000..2000).contains(&off), "{what}: off by {off} ms");
}

#[track_caller]
fn validate(c: &mut Client, key: &str, options: &[String]) -> Reply {
    c.cmd(["APIKEY.VALIDATE", key].into_iter().chain(options.iter().map(String::as_str)))
}

/// What SETVAL says of a record that comes with a secret, or VALIDATE where that has stored it.
#[track_caller]
fn said(c: &mut Client, row: &Row, record: &str) -> String {
    let secret = row.asked.first().map_or(vec![], Asked::secret);
    let secret = if secret.is_empty() { vec!["SECRET", SECRET] } else { secret };
    let stored = c.cmd([&["APIKEY.SETVAL", &row.key, record, "EX", TTL], &secret[..]].concat());
    match stored {
        stored if stored == ok() => {
            code_of(&c.cmd([&["APIKEY.VALIDATE", row.key.as_str()], &secret[..]].concat()))
        }
        refused => refused.text(),
    }
}

fn is_good(code: &str) -> bool {
    matches!(code, "VALID" | "UNVERIFIED")
}

/// A key that is `dead` to what is asked is not good to that, whatever becomes of this record of it.
#[track_caller]
fn assert_not_good(
    c: &mut Client,
    row: &Row,
    record: &str,
    dead: impl Fn(&&Asked) -> bool,
    what: &str,
) {
    for asked in row.asked.iter().filter(dead) {
        // Any secret is the record's where the caller says so.
        if asked.now == "MISMATCH" {
            continue;
        }
        c.cmd(["DEL", &row.key]);
        let call = ["APIKEY.SETVAL", &row.key, record, "EX", TTL];
        c.cmd([&call[..], &asked.secret()].concat());
        let code = code_of(&validate(c, &row.key, &asked.options));
        assert!(!is_good(&code), "{what}: {code} for {:?} of {record}", asked.options);
    }
}

/// Without one of the names that the page's settings have, or one of its settings, no key is good that is not.
#[track_caller]
fn assert_each_setting_may_be_forgotten(c: &mut Client, page: &Page) {
    if !server::kind().has_module_config() {
        return;
    }
    for (name, value) in page.settings() {
        let setting = format!("apikey.{name}");
        let default = match name {
            "naive-times" => "refuse",
            _ => "",
        };
        let words: Vec<&str> = value.split(',').collect();
        for forgotten in 0..words.len() {
            let mut words = words.clone();
            words.remove(forgotten);
            let left = if words.is_empty() { default.into() } else { words.join(",") };
            assert_eq!(c.cmd(["CONFIG", "SET", &setting, &left]), ok(), "{setting} {left}");
            for row in &page.rows {
                for asked in row.asked.iter().filter(|asked| !is_good(&asked.after)) {
                    c.cmd(["DEL", &row.key]);
                    c.cmd(["APIKEY.SETVAL", &row.key, row.block("row"), "EX", TTL]);
                    let code = code_of(&validate(c, &row.key, &asked.options));
                    let unknown = asked.after == "MISMATCH" && code == "UNVERIFIED";
                    assert!(
                        unknown || !is_good(&code),
                        "{}: {code} for {:?} of {} with {setting} {left:?}",
                        page.name,
                        asked.options,
                        row.key
                    );
                }
            }
            assert_eq!(c.cmd(["CONFIG", "SET", &setting, value]), ok(), "{setting}");
        }
    }
}

/// A hash that is none of 32 bytes is the application's to compare, once: it stores the record with a digest of its own.
#[track_caller]
fn application_verifies_what_has_no_digest(c: &mut Client, page: &Page) {
    for row in &page.rows {
        for asked in row.asked.iter().filter(|asked| asked.after == "UNVERIFIED") {
            let secret = asked.secret();
            if secret.is_empty() {
                continue;
            }
            let token = c.must(&format!("APIKEY.TOKEN {}", row.key)).text();
            let call = ["APIKEY.SETVAL", &row.key, row.block("row"), "TOKEN", &token];
            assert_eq!(c.cmd([&call[..], &secret].concat()), ok(), "{}", page.name);
            let code = code_of(&validate(c, &row.key, &asked.options));
            assert_eq!(code, "VALID", "{}: {}", page.name, row.key);
        }
    }
}
