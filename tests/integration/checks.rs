//! Who waits for CHECK: callers of one database share its walk, and a walk that nobody waits for any more
//! is ended. Only debug builds tell how many walks there are; the default module is one.

use crate::harness::*;

/// Entries of a database: so many that their walk lasts longer than it takes to look at it.
const MANY: usize = 15_000;

/// Callers at once.
const CALLERS: usize = 20;

/// A server with this many entries in each of its first databases, and a client that looks at it.
#[track_caller]
fn filled<const N: usize>(entries: [usize; N]) -> Option<(Server, Client)> {
    let server = Server::start();
    let mut c = server.client();
    if !has_debug_command(&mut c) {
        return None;
    }
    for (database, number) in entries.into_iter().enumerate() {
        c.select(database);
        let token = c.must("APIKEY.TOKEN k").text();
        let all: Vec<usize> = (0..number).collect();
        for some in all.chunks(5_000) {
            let mut call = vec!["APIKEY.MSETVAL".to_string(), some.len().to_string()];
            call.extend(some.iter().flat_map(|n| [format!("k{n}"), record("id", "u1")]));
            call.extend(args(&format!("TOKEN {token} TAGS 2 a b EX 5000")));
            assert_eq!(c.cmd(call), int(some.len() as i64));
        }
    }
    c.select(0);
    Some((server, c))
}

/// A client that has asked for a CHECK of a database and not read its reply, and its id.
#[track_caller]
fn asks(server: &Server, database: usize) -> (Client, i64) {
    let mut caller = server.client();
    caller.select(database);
    let id = caller.must("CLIENT ID").int();
    caller.send(["APIKEY.CHECK"]).expect("send");
    (caller, id)
}

/// How many walks are under way or wait to be.
#[track_caller]
fn walks(c: &mut Client) -> i64 {
    c.must("APIKEY.DEBUG JOBS").int()
}

/// Waits until nothing is walked any more.
#[track_caller]
fn none_is_left(c: &mut Client) {
    eventually("nothing is walked any more", || walks(c) == 0);
}

/// Waits until so many clients wait for something.
#[track_caller]
fn all_wait(c: &mut Client, clients: usize) {
    let clients = Some(clients.to_string());
    eventually("all wait", || c.info("clients", "blocked_clients") == clients);
}

/// The processor time that the server has used, in milliseconds.
#[track_caller]
fn used_ms(c: &mut Client) -> f64 {
    let mut used = |name| -> f64 {
        c.info("cpu", name).expect("a line").parse().expect("a number of seconds")
    };
    1000.0 * (used("used_cpu_user") + used("used_cpu_sys"))
}

/// The processor time that one whole CHECK takes, in milliseconds.
#[track_caller]
fn whole_walk_ms(c: &mut Client) -> f64 {
    let before = used_ms(c);
    c.must("APIKEY.CHECK");
    used_ms(c) - before
}

/// What CHECK says of so many records where all is well.
#[track_caller]
fn assert_finds(reply: &Reply, entries: usize) {
    let told = ["keys", "entries", "differences"].map(|name| reply.get(name).int());
    assert_eq!(told, [entries as i64, entries as i64, 0], "{reply:?}");
}

#[test]
fn callers_who_wait_at_once_share_a_walk_and_its_reply() {
    let Some((server, mut c)) = filled([MANY]) else { return };
    let mut callers: Vec<_> = (0..CALLERS).map(|_| asks(&server, 0)).collect();
    all_wait(&mut c, CALLERS);
    assert_eq!(walks(&mut c), 1);
    let replies: Vec<_> =
        callers.iter_mut().map(|(caller, _)| caller.read().expect("a reply")).collect();
    assert_finds(&replies[0], MANY);
    assert_eq!(replies, vec![replies[0].clone(); CALLERS]);
    none_is_left(&mut c);
    // The next one begins anew.
    c.must("DEL k7");
    assert_finds(&c.must("APIKEY.CHECK"), MANY - 1);
}

#[test]
fn a_walk_ends_when_all_who_asked_for_it_have_hung_up() {
    let Some((server, mut c)) = filled([MANY]) else { return };
    let whole = whole_walk_ms(&mut c);
    let number = |c: &mut Client, section: &str, name: &str| -> usize {
        c.info(section, name).expect("a line").parse().expect("a number")
    };
    let received = number(&mut c, "stats", "total_connections_received");
    let before = used_ms(&mut c);
    for _ in 0..CALLERS {
        asks(&server, 0);
    }
    // The server reads what a client has sent before it sees that it has gone.
    eventually("all have come and gone", || {
        number(&mut c, "stats", "total_connections_received") == received + CALLERS
            && number(&mut c, "clients", "connected_clients") == 1
    });
    none_is_left(&mut c);
    let used = used_ms(&mut c) - before;
    assert!(used < whole / 2.0, "{used} ms were used, and a whole walk takes {whole} ms");
    assert_eq!(c.info("clients", "blocked_clients"), Some("0".into()));
    assert_finds(&c.must("APIKEY.CHECK"), MANY);
}

#[test]
fn a_walk_ends_when_the_only_one_who_waits_for_it_is_killed() {
    let Some((server, mut c)) = filled([MANY]) else { return };
    let whole = whole_walk_ms(&mut c);
    let (_caller, id) = asks(&server, 0);
    all_wait(&mut c, 1);
    assert_eq!(walks(&mut c), 1);
    let before = used_ms(&mut c);
    c.must(&format!("CLIENT KILL ID {id}"));
    none_is_left(&mut c);
    let used = used_ms(&mut c) - before;
    assert!(used < whole / 2.0, "{used} ms were used, and a whole walk takes {whole} ms");
    assert_finds(&c.must("APIKEY.CHECK"), MANY);
}

#[test]
fn who_still_waits_when_another_is_killed_gets_the_reply() {
    let Some((server, mut c)) = filled([MANY]) else { return };
    // The one that the walk was begun for, and one that has joined it.
    for killed in [0, 1] {
        let mut callers = Vec::from([0, 1].map(|n| {
            let caller = asks(&server, 0);
            all_wait(&mut c, n + 1);
            caller
        }));
        let (_gone, id) = callers.remove(killed);
        c.must(&format!("CLIENT KILL ID {id}"));
        all_wait(&mut c, 1);
        assert_eq!(walks(&mut c), 1);
        let (mut left, _) = callers.remove(0);
        assert_finds(&left.read().expect("a reply"), MANY);
        none_is_left(&mut c);
    }
}

#[test]
fn each_database_has_a_walk_of_its_own() {
    let Some((server, mut c)) = filled([MANY, MANY / 2]) else { return };
    let databases = [0, 1, 1, 0, 1];
    let mut callers = databases.map(|database| asks(&server, database));
    all_wait(&mut c, databases.len());
    assert_eq!(walks(&mut c), 2);
    for (database, (caller, _)) in databases.into_iter().zip(&mut callers) {
        assert_finds(&caller.read().expect("a reply"), [MANY, MANY / 2][database]);
    }
    none_is_left(&mut c);
}

#[test]
fn who_waits_for_one_database_is_not_touched_by_the_end_of_anothers_walk() {
    let Some((server, mut c)) = filled([MANY, MANY]) else { return };
    let (mut waits, _) = asks(&server, 0);
    all_wait(&mut c, 1);
    let (_gone, id) = asks(&server, 1);
    all_wait(&mut c, 2);
    c.must(&format!("CLIENT KILL ID {id}"));
    // It began second, with as much to do: it has been ended.
    eventually("one walk is left", || walks(&mut c) == 1);
    all_wait(&mut c, 1);
    assert_finds(&waits.read().expect("a reply"), MANY);
    none_is_left(&mut c);
}
