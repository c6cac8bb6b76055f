//! Invalidation in constant time: what TAGINVAL removes at once, what waits for reclaim, and whatever else
//! happens to keys in the middle of it.

use crate::harness::server::kind;
use crate::harness::*;

/// Entries that [`fill_group`] stores; more than sync-reclaim.
const MANY: usize = 600;

/// What TAGINVAL removes at once, by default.
const AT_ONCE: usize = 256;

/// Stores the entries `<group>0`, `<group>1`, .. in the selected database. All carry the tag that is named
/// like the group, every tenth of them `<group>-tens`, and each one of its own, `<group>-<number>`.
#[track_caller]
pub fn fill_group(c: &mut Client, group: &str, number: usize) {
    fill_some(c, group, 0..number);
}

#[track_caller]
pub fn fill_some(c: &mut Client, group: &str, some: std::ops::Range<usize>) {
    let lines: Vec<String> = some
        .clone()
        .map(|i| {
            let record = record(&format!("{group}-id{i}"), "u1");
            let tags = match i % 10 {
                0 => format!("TAGS 3 {group} {group}-{i} {group}-tens"),
                _ => format!("TAGS 2 {group} {group}-{i}"),
            };
            format!("APIKEY.SETVAL {group}{i} {record} SECRET {SECRET} {tags} EX 5000")
        })
        .collect();
    assert_eq!(c.pipeline(&lines), vec![ok(); some.len()]);
}

/// How many entries of a group answer with each code: (VALID, MISS).
#[track_caller]
pub fn valid_and_missing(c: &mut Client, group: &str, number: usize) -> (usize, usize) {
    let lines: Vec<String> =
        (0..number).map(|i| format!("APIKEY.VALIDATE {group}{i} SECRET {SECRET}")).collect();
    let codes: Vec<String> = c.pipeline(&lines).iter().map(code_of).collect();
    let count = |code: &str| codes.iter().filter(|c| *c == code).count();
    let counts = (count("VALID"), count("MISS"));
    assert_eq!(counts.0 + counts.1, number, "{codes:?}");
    counts
}

#[track_caller]
pub fn dbsize(c: &mut Client) -> usize {
    usize::try_from(c.must("DBSIZE").int()).expect("a number of keys")
}

/// Waits until the server's clock has gone on by some milliseconds: what a timer does, it has done by then.
#[track_caller]
pub fn let_pass(c: &mut Client, ms: i64) {
    let mut now = || {
        let time = c.must("TIME");
        let part = |i: usize| -> i64 { time.items()[i].text().parse().expect("a number") };
        part(0) * 1000 + part(1) / 1000
    };
    let until = now() + ms;
    eventually("the time has come", || now() > until);
}

/// A server that is held in the middle of a reclaim: the group `dead` was invalidated and waits, the group
/// `live` lives. What else is invalidated waits as well if `sync` is 0.
#[track_caller]
fn in_the_middle(sync: usize) -> Option<(Server, Client)> {
    let server = Server::builder()
        .setting("sync-reclaim", &sync.to_string())
        .setting("trust-loaded", "yes")
        .start();
    let mut c = server.client();
    if !hold(&mut c) {
        return None;
    }
    fill_group(&mut c, "dead", MANY);
    fill_group(&mut c, "live", 20);
    assert_eq!(c.invalidate("dead"), MANY as i64);
    assert_eq!(dbsize(&mut c), MANY + 20);
    Some((server, c))
}

/// Ends the reclaim; the group `live` is all that is left of entries, and `others` keys beside it.
#[track_caller]
fn ends_well(server: &Server, c: &mut Client, others: usize) {
    assert_exact(server);
    release(c);
    reclaimed(c);
    assert_exact(server);
    assert_eq!(valid_and_missing(c, "live", 20), (20, 0));
    assert_eq!(dbsize(c), 20 + others);
    assert_eq!(c.invalidate("live"), 20);
    reclaimed(c);
    assert_eq!(dbsize(c), others);
    assert_exact(server);
}

#[test]
fn what_a_small_tag_covers_is_gone_at_once_and_counted_exactly() {
    let server = Server::start();
    let mut c = server.client();
    hold(&mut c); // so that nothing but the command itself removes a key
    fill_group(&mut c, "live", 10);
    for number in [1, 2, 100, AT_ONCE - 1, AT_ONCE] {
        fill_group(&mut c, "small", number);
        assert_eq!(c.invalidate("small"), number as i64);
        assert_eq!(dbsize(&mut c), 10, "{number}");
        assert_eq!(c.run("EXISTS small0"), int(0));
        assert_eq!(backlog(&mut c), 0);
        assert_eq!(c.invalidate("small"), 0);
    }
    // Each entry counts once, whatever number of the tags it carries.
    fill_group(&mut c, "small", 100);
    assert_eq!(c.run("APIKEY.TAGINVAL small-tens small small none small-7"), int(100));
    assert_eq!(dbsize(&mut c), 10);
    // What has expired counts as nothing.
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    fill_group(&mut c, "small", 10);
    for i in 0..4 {
        c.must(&format!("PEXPIRE small{i} 1"));
    }
    let_pass(&mut c, 2);
    assert_eq!(c.invalidate("small"), 6);
    assert_eq!(dbsize(&mut c), 10);
    assert_eq!(valid_and_missing(&mut c, "live", 10), (10, 0));
    assert_exact(&server);
}

#[test]
fn the_entries_of_a_large_tag_are_misses_at_once_and_wait() {
    let Some((server, mut c)) = in_the_middle(AT_ONCE) else { return };
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY));
    assert_eq!(valid_and_missing(&mut c, "live", 20), (20, 0));
    assert_eq!(backlog(&mut c), MANY as i64);
    let line = c.info("apikey_contents", "apikey_reclaim_backlog");
    assert_eq!(line, Some(MANY.to_string()));
    assert_exact(&server);
    // What waits is dead for every command.
    let keys = c.must("KEYS dead*");
    assert_eq!(keys.items().len(), MANY);
    let key = keys.items()[0].text();
    assert_eq!(c.run(&format!("APIKEY.TAGS {key}")), array([]));
    assert_eq!(c.run(&format!("APIKEY.INVAL {key}")), int(0));
    assert!(!c.exists(&key), "INVAL takes it all the same");
    let key = keys.items()[1].text();
    let set = format!("APIKEY.SETVAL {key} {}", record("id", "u"));
    assert_eq!(c.run(&format!("{set} XX")), nil());
    assert_eq!(c.run(&format!("{set} NX")), ok());
    c.must(&format!("DEL {key}"));
    // Invalidated before, it counts no more.
    assert_eq!(c.invalidate("dead"), 0);
    ends_well(&server, &mut c, 0);
}

#[test]
fn where_not_all_goes_at_once_the_count_is_an_upper_bound() {
    let server = Server::builder().setting("sync-reclaim", "0").start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    // Of two tags, entries with both count twice.
    fill_group(&mut c, "a", 100);
    let killed = c.must("APIKEY.TAGINVAL a a-tens a").int();
    assert!((100..=110).contains(&killed), "{killed}");
    // What is dead by one tag counts for another.
    let killed = c.must("APIKEY.TAGINVAL a-3 a-tens").int();
    assert!((0..=11).contains(&killed), "{killed}");
    assert_eq!(c.invalidate("a"), 0);
    // What has expired, but is still there.
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    fill_group(&mut c, "b", 100);
    for i in 0..10 {
        c.must(&format!("PEXPIRE b{i} 1"));
    }
    let_pass(&mut c, 2);
    let killed = c.invalidate("b");
    assert!((90..=100).contains(&killed), "{killed}");
    assert_eq!(valid_and_missing(&mut c, "b", 100), (0, 100));
    assert_exact(&server);
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(dbsize(&mut c), 0);
    assert_exact(&server);
}

#[test]
fn several_tags_are_small_when_they_are_so_together() {
    let server = Server::builder().setting("sync-reclaim", "10").start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    for group in ["a", "b", "c"] {
        fill_group(&mut c, group, 5);
    }
    assert_eq!(c.run("APIKEY.TAGINVAL a b a a"), int(10), "one given twice counts once");
    assert_eq!((dbsize(&mut c), backlog(&mut c)), (5, 0));
    fill_group(&mut c, "a", 6);
    assert_eq!(c.run("APIKEY.TAGINVAL a c"), int(11));
    assert_eq!((dbsize(&mut c), backlog(&mut c)), (11, 11));
    // What waits already makes no tag large.
    fill_some(&mut c, "c", 0..10);
    assert_eq!(c.run("APIKEY.TAGINVAL a c"), int(10));
    for group in ["a", "b", "c"] {
        assert_eq!(valid_and_missing(&mut c, group, 10), (0, 10));
    }
    assert_eq!(dbsize(&mut c), 6);
    assert_exact(&server);
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(dbsize(&mut c), 0);
    assert_exact(&server);
}

#[test]
fn reclaim_ends_by_itself_and_gives_the_memory_back() {
    // So little at a time that it takes many slices.
    let server = Server::builder().setting("reclaim-budget-us", "10").start();
    let mut c = server.client();
    let figures = |c: &mut Client| {
        let health = c.must("APIKEY.HEALTH");
        let figure = |name: &str| health.get(name).int();
        (figure("records"), figure("tags"), figure("reclaim_backlog"), figure("index_bytes"))
    };
    // The index keeps what it needs to be as large again: so it has been that large before.
    let large = |c: &mut Client| {
        fill_group(c, "dead", 4 * MANY);
        assert_eq!(c.invalidate("dead"), 4 * MANY as i64);
        assert!(backlog(c) > 0);
        reclaimed(c);
    };
    c.fill("live", &["live"]);
    let empty = figures(&mut c);
    large(&mut c);
    large(&mut c);
    let after = figures(&mut c);
    let (records, tags, backlog, bytes) = after;
    assert_eq!((records, tags, backlog), (empty.0, empty.1, 0));
    for _ in 0..2 {
        large(&mut c);
        assert_eq!(figures(&mut c), after);
    }
    fill_group(&mut c, "dead", 4 * MANY);
    let full = figures(&mut c).3;
    assert!(bytes - empty.3 < (full - empty.3) / 4, "{} {bytes} {full}", empty.3);
    assert_eq!(c.code("live"), "VALID");
    assert_exact(&server);
}

#[test]
fn what_is_stored_while_others_are_reclaimed_is_not_touched() {
    let server = Server::builder().setting("reclaim-budget-us", "10").start();
    let mut c = server.client();
    for round in 0..3 {
        fill_group(&mut c, "k", 3 * MANY);
        assert_eq!(c.invalidate("k"), 3 * MANY as i64);
        // Under names that wait, under new ones, and with the tag that was invalidated.
        let some = round * 100..round * 100 + 300;
        fill_some(&mut c, "k", some.clone());
        fill_some(&mut c, "new", 0..50);
        assert!(backlog(&mut c) > 0, "the reclaim runs");
        reclaimed(&mut c);
        assert_eq!(dbsize(&mut c), 350);
        let (valid, _) = valid_and_missing(&mut c, "k", 3 * MANY);
        assert_eq!((valid, c.code(&format!("k{}", some.start))), (300, "VALID".into()));
        assert_eq!(valid_and_missing(&mut c, "new", 50), (50, 0));
        assert!(c.must("TTL new0").int() > 4000);
        assert_exact(&server);
        assert_eq!(c.invalidate("k"), 300);
        assert_eq!(c.invalidate("new"), 50);
        reclaimed(&mut c);
        assert_eq!(dbsize(&mut c), 0);
    }
}

#[test]
fn an_entry_stored_anew_lives_while_its_old_tag_waits_and_after() {
    for sync in [0, AT_ONCE] {
        let Some((server, mut c)) = in_the_middle(sync) else { return };
        fill_some(&mut c, "dead", 0..50);
        fill_some(&mut c, "dead", MANY - 50..MANY);
        fill_some(&mut c, "dead", MANY..MANY + 50);
        assert_eq!(valid_and_missing(&mut c, "dead", MANY + 50), (150, MANY - 100));
        assert_exact(&server);
        // Invalidated again, the ones that live count, and die.
        fill_some(&mut c, "again", 0..50);
        assert_eq!(c.run("APIKEY.TAGINVAL dead-1 dead-11 again-3"), int(3));
        assert_eq!(valid_and_missing(&mut c, "dead", MANY + 50), (148, MANY - 98));
        assert_eq!(valid_and_missing(&mut c, "again", 50), (49, 1));
        assert_exact(&server);
        release(&mut c);
        reclaimed(&mut c);
        assert_eq!(valid_and_missing(&mut c, "dead", MANY + 50), (148, MANY - 98));
        assert_eq!(valid_and_missing(&mut c, "again", 50), (49, 1));
        assert_eq!(dbsize(&mut c), 148 + 49 + 20);
        assert_eq!(c.invalidate("dead"), 148);
        assert_eq!(c.invalidate("again"), 49);
        ends_well(&server, &mut c, 0);
    }
}

#[test]
fn invalidations_may_overlap() {
    for sync in ["0", "30"] {
        let server = Server::builder().setting("sync-reclaim", sync).start();
        let mut c = server.client();
        if !hold(&mut c) {
            return;
        }
        let fill = |c: &mut Client, i: usize| {
            // 0..100 carry a, 50..150 carry b, 100..200 carry c.
            let tags = [(0..100, "a"), (50..150, "b"), (100..200, "c")];
            let tags: Vec<&str> =
                tags.iter().filter(|(of, _)| of.contains(&i)).map(|(_, tag)| *tag).collect();
            c.fill(&format!("k{i}"), &tags);
        };
        (0..200).for_each(|i| fill(&mut c, i));
        let killed = c.invalidate("b");
        assert_eq!(killed, 100);
        assert_eq!(valid_and_missing(&mut c, "k", 200), (100, 100));
        // Stored anew with both tags, before the other one is invalidated, and after.
        (60..70).for_each(|i| fill(&mut c, i));
        assert_eq!(valid_and_missing(&mut c, "k", 200), (110, 90));
        let killed = c.invalidate("a");
        assert!((60..=100).contains(&killed), "{killed}");
        assert_eq!(valid_and_missing(&mut c, "k", 200), (50, 150));
        (65..75).for_each(|i| fill(&mut c, i));
        assert_eq!(valid_and_missing(&mut c, "k", 200), (60, 140));
        assert_exact(&server);
        let killed = c.must("APIKEY.TAGINVAL c b").int();
        assert!((60..=150).contains(&killed), "{killed}");
        assert_eq!(valid_and_missing(&mut c, "k", 200), (0, 200));
        (190..200).for_each(|i| fill(&mut c, i));
        assert_exact(&server);
        release(&mut c);
        reclaimed(&mut c);
        assert_eq!(valid_and_missing(&mut c, "k", 200), (10, 190));
        assert_eq!(dbsize(&mut c), 10);
        assert_exact(&server);
        assert_eq!(c.invalidate("c"), 10);
        release(&mut c);
        reclaimed(&mut c);
        assert_eq!(dbsize(&mut c), 0);
    }
}

#[test]
fn a_flush_in_the_middle_ends_the_reclaim() {
    for flush in ["FLUSHDB SYNC", "FLUSHDB ASYNC", "FLUSHALL"] {
        let Some((server, mut c)) = in_the_middle(0) else { return };
        c.select(1);
        fill_group(&mut c, "dead", 300);
        assert_eq!(c.invalidate("dead"), 300);
        c.select(0);
        assert_eq!(backlog(&mut c), MANY as i64 + 300);
        c.must(flush);
        let left = if flush.starts_with("FLUSHDB") { 300 } else { 0 };
        assert_eq!((dbsize(&mut c), backlog(&mut c)), (0, left), "{flush}");
        assert_exact(&server);
        // The same names, with the tag that was invalidated.
        fill_group(&mut c, "dead", 100);
        fill_group(&mut c, "live", 20);
        release(&mut c);
        reclaimed(&mut c);
        assert_eq!(valid_and_missing(&mut c, "dead", 100), (100, 0));
        assert_eq!(c.invalidate("dead"), 100);
        reclaimed(&mut c);
        ends_well(&server, &mut c, 0);
        c.select(1);
        assert_eq!(dbsize(&mut c), 0);
    }
}

#[test]
fn swapdb_in_the_middle_takes_the_queue_along() {
    let Some((server, mut c)) = in_the_middle(0) else { return };
    c.select(1);
    // The same names live in the other database.
    fill_group(&mut c, "dead", 100);
    c.must("SWAPDB 0 1");
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY));
    assert_eq!(valid_and_missing(&mut c, "live", 20), (20, 0));
    assert_eq!(c.invalidate("dead"), 0, "they were invalidated where they came from");
    c.select(0);
    assert_eq!(valid_and_missing(&mut c, "dead", 100), (100, 0));
    assert_exact(&server);
    assert_eq!(backlog(&mut c), MANY as i64);
    // Once more, and into a database that was never used.
    c.must("SWAPDB 1 3");
    c.select(1);
    fill_group(&mut c, "dead", 10);
    c.select(3);
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY));
    fill_some(&mut c, "dead", 5..7);
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(c.invalidate("dead"), 2);
    for (db, left) in [(0, 100), (1, 10), (2, 0)] {
        c.select(db);
        assert_eq!(dbsize(&mut c), left);
        assert_eq!(valid_and_missing(&mut c, "dead", left), (left, 0));
    }
    c.select(3);
    ends_well(&server, &mut c, 0);
}

#[test]
fn keys_that_change_in_the_middle_are_neither_lost_nor_raised() {
    for sync in [0, AT_ONCE] {
        let Some((server, mut c)) = in_the_middle(sync) else { return };
        let keys = c.must("KEYS dead*");
        let mut keys = keys.items().iter().map(Reply::text);
        let mut dead = || keys.next().expect("one more");
        let size = dbsize(&mut c);
        let mut gone = 0;

        let names: Vec<String> = (0..12).map(|_| dead()).collect();
        let [del, unlink, anew, text, renamed, over_live, under_live, copied, moved, expired, kept, dumped] =
            names.as_slice()
        else {
            unreachable!()
        };
        let exact = |c: &mut Client, what: &str, key: &str, code: &str| {
            assert_eq!(c.code(key), code, "{what}");
            assert_exact(&server);
        };
        assert_eq!(c.run(&format!("DEL {del}")), int(1));
        exact(&mut c, "DEL", del, "MISS");
        assert_eq!(c.run(&format!("UNLINK {unlink}")), int(1));
        exact(&mut c, "UNLINK", unlink, "MISS");
        gone += 2;

        c.fill(anew, &["dead", "anew"]);
        exact(&mut c, "SETVAL", anew, "VALID");
        c.must(&format!("SET {text} x"));
        assert_exact(&server);

        c.must(&format!("RENAME {renamed} renamed"));
        exact(&mut c, "RENAME", "renamed", "MISS");
        c.must(&format!("RENAME renamed {renamed}"));
        exact(&mut c, "and back", renamed, "MISS");
        c.must(&format!("RENAME {over_live} live0"));
        exact(&mut c, "RENAME of a dead one over a live one", "live0", "MISS");
        c.must(&format!("RENAME live1 {under_live}"));
        exact(&mut c, "RENAME of a live one over a dead one", under_live, "MISS");
        gone += 2;
        fill_some(&mut c, "live", 0..2);
        gone -= 1; // live0 had been taken, live1 is new
        exact(&mut c, "SETVAL", "live0", "VALID");

        assert_eq!(c.run(&format!("COPY {copied} live2")), int(0));
        assert_eq!(c.run(&format!("COPY {copied} copy")), int(1));
        exact(&mut c, "COPY", "copy", "MISS");
        assert_eq!(c.run(&format!("COPY live2 {copied} REPLACE")), int(1));
        exact(&mut c, "COPY over a dead one", copied, "MISS");
        assert_eq!(c.run(&format!("COPY {copied} {copied} DB 1")), int(1));
        assert_eq!(c.run(&format!("MOVE {moved} 1")), int(1));
        c.select(1);
        exact(&mut c, "COPY DB", copied, "MISS");
        exact(&mut c, "MOVE", moved, "MISS");
        assert_eq!(c.run(&format!("MOVE {moved} 0")), int(1));
        c.select(0);
        exact(&mut c, "and back", moved, "MISS");

        assert_eq!(c.run(&format!("PERSIST {expired}")), int(1));
        assert_eq!(c.run(&format!("PEXPIRE {expired} 1")), int(1));
        eventually("it expires", || !c.exists(expired));
        exact(&mut c, "EXPIRE", expired, "MISS");
        assert_eq!(c.run(&format!("EXPIRE {kept} 1000")), int(1));
        exact(&mut c, "EXPIRE", kept, "MISS");
        gone += 1;

        let dump = c.must(&format!("DUMP {dumped}"));
        for key in ["restored", dumped, "live3"] {
            let args = [b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes(), b"REPLACE"];
            assert_eq!(c.cmd(args), ok());
            exact(&mut c, "RESTORE", key, "MISS");
        }
        fill_some(&mut c, "live", 3..4);

        // The copy and the restored one are more.
        assert_eq!(dbsize(&mut c), size - gone + 2);
        assert_eq!(c.invalidate("anew"), 1);
        c.fill(anew, &["dead", "anew"]);
        release(&mut c);
        reclaimed(&mut c);
        assert_eq!(c.codes([anew, "live3"]), ["VALID", "VALID"]);
        assert_eq!(c.run(&format!("GET {text}")), bulk("x"));
        assert_eq!(c.run(&format!("DEL {anew}")), int(1));
        c.select(1);
        assert_eq!(dbsize(&mut c), 0);
        c.select(0);
        ends_well(&server, &mut c, 1);
    }
}

#[test]
fn a_dead_entry_stays_dead_when_nothing_else_of_its_tag_is_left() {
    let server =
        Server::builder().setting("sync-reclaim", "0").setting("trust-loaded", "yes").start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    for key in ["dead", "a", "b"] {
        c.fill(key, &["t", "u"]);
    }
    assert_eq!(c.invalidate("t"), 3);
    for line in ["DEL a", "RENAME b renamed", "DEL renamed"] {
        c.must(line);
        assert_eq!(c.code("dead"), "MISS");
    }
    // A new member of the tag, before, while and after it is gone.
    c.fill("new", &["t"]);
    assert_eq!(c.codes(["dead", "new"]), ["MISS", "VALID"]);
    c.must("SWAPDB 0 1");
    c.select(1);
    assert_eq!(c.codes(["dead", "new"]), ["MISS", "VALID"]);
    c.must("DEL new");
    assert_eq!(c.code("dead"), "MISS");
    c.must("DEBUG RELOAD");
    assert_eq!(c.code("dead"), "MISS");
    assert!(c.exists("dead"));
    c.fill("new", &["t"]);
    assert_eq!(c.codes(["dead", "new"]), ["MISS", "VALID"]);
    c.must("SWAPDB 0 1");
    c.select(0);
    c.must("DEBUG RELOAD");
    assert_eq!(c.codes(["dead", "new"]), ["MISS", "VALID"]);
    assert_exact(&server);
    release(&mut c);
    reclaimed(&mut c);
    assert!(!c.exists("dead"));
    assert_eq!(c.invalidate("t"), 1);
    reclaimed(&mut c);
    assert_eq!(dbsize(&mut c), 0);
    assert_exact(&server);
}

#[test]
fn a_transaction_and_a_script_may_invalidate_and_fill_what_waits() {
    for sync in [0, AT_ONCE] {
        let Some((server, mut c)) = in_the_middle(sync) else { return };
        let set = |key: &str| {
            format!("APIKEY.SETVAL {key} {} SECRET {SECRET} TAGS 2 dead t", record("id", "u1"))
        };
        c.must("MULTI");
        for line in [
            &*set("dead1"),
            "APIKEY.TAGINVAL t",
            &set("dead2"),
            &set("dead3"),
            "APIKEY.TAGINVAL dead-4 dead-5",
            "RENAME dead3 dead4",
            &set("dead5"),
        ] {
            c.must(line);
        }
        let replies = c.must("EXEC");
        assert!(replies.items().iter().all(|r| !r.is_error()), "{replies:?}");
        assert_eq!(replies.items()[1], int(1));
        let codes = c.codes(["dead1", "dead2", "dead3", "dead4", "dead5"]);
        assert_eq!(codes, ["MISS", "VALID", "MISS", "MISS", "VALID"]);
        assert_exact(&server);
        let script = r#"
            local call = redis.call
            call('APIKEY.SETVAL', 'dead6', ARGV[1], 'SECRET', ARGV[2], 'TAGS', 1, 't')
            local killed = call('APIKEY.TAGINVAL', 't')
            call('APIKEY.SETVAL', 'dead7', ARGV[1], 'SECRET', ARGV[2], 'TAGS', 1, 't')
            return killed
        "#;
        let killed = c.cmd(["EVAL", script, "0", &record("id", "u1"), SECRET]).int();
        assert!((3..=4).contains(&killed), "{killed}");
        assert_eq!(
            c.codes(["dead2", "dead5", "dead6", "dead7"]),
            ["MISS", "MISS", "MISS", "VALID"]
        );
        assert_eq!(c.must("APIKEY.INVAL dead7"), int(1));
        ends_well(&server, &mut c, 0);
    }
}

#[test]
fn eviction_in_the_middle_leaves_an_exact_index() {
    let Some((server, mut c)) = in_the_middle(0) else { return };
    c.must("CONFIG SET maxmemory-policy volatile-random");
    let used: usize = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used - 150_000));
    eventually("some are evicted", || {
        c.must("SET filler x");
        dbsize(&mut c) < MANY - 50
    });
    c.must("CONFIG SET maxmemory 0");
    assert_exact(&server);
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY));
    fill_group(&mut c, "live", 20);
    ends_well(&server, &mut c, 1);
}

#[test]
fn the_settings_of_reclaim_hold_from_the_next_command_on() {
    if !kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    for (sync, left) in [(0, 300), (1, 300), (299, 300), (300, 0), (100_000, 0)] {
        c.must(&format!("CONFIG SET apikey.sync-reclaim {sync}"));
        fill_group(&mut c, "k", 300);
        assert_eq!(c.invalidate("k"), 300);
        assert_eq!(dbsize(&mut c), left, "sync-reclaim {sync}");
        c.must("FLUSHALL");
    }
    c.must("CONFIG SET apikey.sync-reclaim 0");
    release(&mut c);
    for budget in [10, 100_000] {
        c.must(&format!("CONFIG SET apikey.reclaim-budget-us {budget}"));
        fill_group(&mut c, "k", 300);
        assert_eq!(c.invalidate("k"), 300);
        reclaimed(&mut c);
        assert_eq!(dbsize(&mut c), 0);
    }
    assert_exact(&server);
}
