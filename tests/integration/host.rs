//! `host/` serves other modules: its examples, without the module, on a real server. One that works, one that
//! panics in each of its callbacks, one that does in safe Rust what it should not.
//!
//! They are built by `cargo build -p redis-module-host --examples`, and found where `APIKEY_HOST_EXAMPLES` says.

use crate::defrag;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;
use std::path::{Path, PathBuf};

/// An example of `host/`, built.
fn example(name: &str) -> PathBuf {
    let directory = std::env::var_os("APIKEY_HOST_EXAMPLES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debug/examples"),
        PathBuf::from,
    );
    let path = directory.join(format!("lib{name}.so"));
    std::fs::canonicalize(&path).unwrap_or_else(|e| {
        let build = "cargo build -p redis-module-host --examples";
        panic!("no example at {}: {e}; run {build}", path.display())
    })
}

fn with(name: &str) -> Builder {
    Server::builder().without_module().config(&format!("loadmodule {}", example(name).display()))
}

/// How often the log has the text.
fn times(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

#[track_caller]
fn logs(server: &Server, text: &str) {
    eventually(text, || times(server, text) > 0);
}

mod toy {
    use super::*;

    #[test]
    fn counts_and_its_timer_says_so() {
        let server = with("toy").start();
        let mut c = server.client();
        assert_eq!(c.run("TOY.ADD k"), int(1));
        assert_eq!(c.run("TOY.ADD k 41"), int(42));
        assert_eq!(c.run("TYPE k"), simple("toy-count"));
        logs(&server, "toy: counted to 42");
        // A TTL goes with the value that had it, and whoever watches is told, though the key itself stays.
        let mut watching = server.client();
        assert_eq!(c.run("PEXPIRE k 100000"), int(1));
        assert_eq!(watching.run("WATCH k"), ok());
        assert_eq!(c.run("TOY.ADD k 0"), int(42));
        assert_eq!(c.run("PTTL k"), int(-1));
        assert_eq!(watching.run("MULTI"), ok());
        assert_eq!(watching.run("EXEC"), nil());
        assert_eq!(c.run("TOY.ADD k x"), error("ERR syntax error"));
        c.must("SET string v");
        let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(c.run("TOY.ADD string"), error(wrong));
        assert_eq!(c.run("TOY.ADD"), error("ERR wrong number of arguments for 'toy.add' command"));
        assert_eq!(c.run("COMMAND GETKEYS TOY.ADD k 1"), array([bulk("k")]));
    }

    #[test]
    fn keeps_its_values_over_a_restart() {
        let mut server = with("toy").start();
        server.client().must("TOY.ADD k 42");
        server.restart(Stop::Save);
        assert_eq!(server.client().run("TOY.ADD k 0"), int(42));
    }

    #[test]
    fn keeps_its_values_in_an_aof_of_commands() {
        let mut server = with("toy").with_aof(false).start();
        server.client().must("TOY.ADD k 40");
        server.client().must("TOY.ADD k 1");
        server.restart(Stop::Kill);
        assert_eq!(server.client().run("TOY.ADD k 1"), int(42));
        server.rewrite_aof();
        server.restart(Stop::Kill);
        assert_eq!(server.client().run("TOY.ADD k 0"), int(42));
    }

    #[test]
    fn has_its_values_on_a_replica() {
        let primary = with("toy").start();
        primary.client().must("TOY.ADD before 1");
        let replica = with("toy").start();
        replica.replicate(&primary);
        primary.client().must("TOY.ADD after 2");
        replica.in_sync_with(&primary);
        replica.promote();
        let mut c = replica.client();
        assert_eq!(c.run("TOY.ADD before 0"), int(1));
        assert_eq!(c.run("TOY.ADD after 0"), int(2));
    }

    #[test]
    fn its_values_can_be_dumped_and_restored() {
        let server = with("toy").start();
        let mut c = server.client();
        c.must("TOY.ADD k 42");
        let dump = c.must("DUMP k");
        assert_eq!(c.cmd([b"RESTORE".as_slice(), b"other", b"0", dump.bytes()]), ok());
        assert_eq!(c.run("TOY.ADD other 0"), int(42));
        let mut broken = dump.bytes().to_vec();
        broken[3] ^= 1;
        assert!(c.cmd([b"RESTORE".as_slice(), b"third", b"0", &broken]).is_error());
    }
}

mod panics {
    use super::*;

    const INTERNAL: &str = "ERR internal error; the log has its place";

    /// A server with the module, and how many panics its log must have.
    struct Panicking {
        server: Server,
        c: Client,
        panics: usize,
    }

    impl Panicking {
        #[track_caller]
        fn start(builder: Builder) -> Self {
            let server = builder.start();
            let c = server.client();
            Self { server, c, panics: 0 }
        }

        /// Has the callback `place` panic in the line, which replies something; the log has that the
        /// guard of this name has stopped the panic, and nothing else of panics.
        #[track_caller]
        fn panics(&mut self, place: &str, guard: &str, line: &str) -> Reply {
            let stopped = format!("bug: {guard} panicked and was stopped");
            let before = times(&self.server, &stopped);
            assert_eq!(self.c.cmd(["PANICS.ARM", place]), ok());
            let reply = self.c.run(line);
            self.panics += 1;
            eventually(&format!("{place}: {stopped}"), || times(&self.server, &stopped) > before);
            assert_eq!(times(&self.server, &stopped), before + 1, "{place}");
            assert_eq!(times(&self.server, "panicked and was stopped"), self.panics, "{place}");
            assert_eq!(times(&self.server, "bug: panic at host/examples/panics.rs:"), self.panics);
            assert_eq!(self.c.run("PING"), simple("PONG"), "{place}");
            assert_eq!(self.server.client().run("PING"), simple("PONG"), "{place}");
            assert!(self.server.is_alive(), "{place}");
            reply
        }
    }

    #[test]
    fn of_a_message_of_another_node_leave_the_next_one_as_it_is() {
        let cluster = Cluster::of(2, 0, |_, builder| {
            let line = format!("loadmodule {}", example("panics").display());
            builder.without_module().config(&line)
        });
        let [one, other] = [0, 1].map(|number| &cluster.primaries[number]);
        let (mut theirs, mut ours) = (one.client(), other.client());
        let id = theirs.must("CLUSTER MYID").text();
        assert_eq!(ours.run("PANICS.ARM message"), ok());
        assert_eq!(theirs.run("PANICS.TELL first"), int(1));
        logs(other, "bug: cluster message panicked and was stopped");
        assert_eq!(theirs.run("PANICS.TELL second"), int(1));
        logs(other, &format!("{id} says second"));
        assert_eq!(times(other, "says first"), 0);
        assert_eq!(times(other, "panicked and was stopped"), 1);
        assert_eq!(ours.run("PING"), simple("PONG"));
    }

    #[test]
    fn of_a_command_are_its_reply() {
        let mut p = Panicking::start(with("panics"));
        assert_eq!(p.panics("run", "command", "PANICS.RUN"), error(INTERNAL));
        let half = array([int(1), error(INTERNAL), error(INTERNAL)]);
        assert_eq!(p.panics("half a reply", "command", "PANICS.RUN"), half);
        let whole = array([int(1), int(2), int(3)]);
        assert_eq!(p.panics("replied", "command", "PANICS.RUN"), whole);
        // What looks after a command has replied changes nothing of it.
        assert_eq!(p.panics("after_each", "after_each", "PANICS.SET k v"), ok());
        assert_eq!(p.c.run("PANICS.GET k"), bulk("v"));
    }

    #[test]
    fn of_a_timer_are_nobodys() {
        let mut p = Panicking::start(with("panics"));
        assert_eq!(p.panics("timer", "timer", "PANICS.TIMER"), ok());
        assert_eq!(p.c.run("PANICS.TIMER"), ok());
    }

    #[test]
    fn of_what_clients_wait_for_are_their_reply() {
        let mut p = Panicking::start(with("panics"));
        p.c.must("PANICS.SET k v");
        for (place, guard, line) in [
            ("waiting", "command", "PANICS.WAIT"),
            ("answer", "reply", "PANICS.WAIT"),
            ("budget", "count", "PANICS.COUNT"),
            ("slice", "count", "PANICS.COUNT"),
            // Through the server's own walk.
            ("walk", "count", "PANICS.COUNT"),
            ("outcome", "reply", "PANICS.COUNT"),
        ] {
            assert_eq!(p.panics(place, guard, line), error(INTERNAL), "{place}");
            assert_eq!(p.c.run("PANICS.WAIT"), ok());
            assert_eq!(p.c.run("PANICS.COUNT"), int(1));
        }
        // Who asks while another waits is compared with it, which is not the other's business.
        let mut other = p.server.client();
        p.c.must("PANICS.HOLD 1");
        other.send(["PANICS.COUNT"]).expect("sent");
        eventually("it waits", || p.c.info("clients", "blocked_clients").as_deref() == Some("1"));
        assert_eq!(p.panics("is_the_same", "command", "PANICS.COUNT"), error(INTERNAL));
        p.c.must("PANICS.HOLD 0");
        assert_eq!(other.read().expect("a reply"), int(1));
        // The job is done, and who waited has been told.
        assert_eq!(p.panics("job's drop", "timer", "PANICS.COUNT"), int(1));
        assert_eq!(p.c.run("PANICS.COUNT"), int(1));
    }

    #[test]
    fn of_events_keep_nothing_from_happening() {
        let mut p = Panicking::start(with("panics"));
        p.c.must("SET other v");
        assert_eq!(p.panics("key", "keyspace event", "RENAME other k"), ok());
        assert_eq!(p.c.run("GET k"), bulk("v"));
        assert_eq!(p.panics("key", "keyspace event", "DEL k"), int(1));
        p.c.must("SET k v");
        assert_eq!(p.panics("swapdb", "swapdb event", "SWAPDB 0 1"), ok());
        assert_eq!(p.c.run("DBSIZE"), int(0));
        p.c.must("SWAPDB 0 1");
        assert_eq!(p.panics("loading", "loading event", "DEBUG RELOAD"), ok());
        match kind() {
            Kind::Redis62 => {
                assert_eq!(p.panics("a key is loaded", "keyspace event", "DEBUG RELOAD"), ok());
            }
            _ => {
                p.c.must("PANICS.SET p v");
                assert_eq!(p.panics("loaded", "loaded", "DEBUG RELOAD"), ok());
                p.c.must("DEL p");
            }
        }
        assert_eq!(p.panics("loading ended", "loading event", "DEBUG RELOAD"), ok());
        assert_eq!(p.c.run("GET k"), bulk("v"));
        assert_eq!(p.panics("flush", "flush event", "FLUSHALL"), ok());
        assert_eq!(p.c.run("DBSIZE"), int(0));
        assert_eq!(p.panics("demoted", "role event", "REPLICAOF 127.0.0.1 1"), ok());
        assert_eq!(p.panics("promoted", "role event", "REPLICAOF NO ONE"), ok());
        assert_eq!(p.c.run("SET k v"), ok());
        // The hook behind an event has a guard of its own.
        assert_eq!(p.panics("after_each", "after_each", "DEL k"), int(1));
    }

    #[test]
    fn of_a_data_type_are_refusals() {
        let mut p = Panicking::start(with("panics"));
        p.c.must("PANICS.SET k v");
        let dump = p.c.must("DUMP k").bytes().to_vec();
        let restore =
            |c: &mut Client, bytes: &[u8]| c.cmd([b"RESTORE".as_slice(), b"to", b"0", bytes]);

        // Nothing is loaded.
        p.c.must("PANICS.ARM rdb_load");
        assert_eq!(restore(&mut p.c, &dump), error("ERR Bad data format"));
        assert_eq!(times(&p.server, "bug: rdb_load panicked and was stopped"), 1);
        p.panics = 1;
        assert_eq!(p.c.run("EXISTS to"), int(0));
        assert_eq!(restore(&mut p.c, &dump), ok());
        // Nothing is saved that could be loaded.
        let broken = p.panics("rdb_save", "rdb_save", "DUMP k");
        assert_ne!(broken.bytes(), dump);
        p.c.must("DEL to");
        assert_eq!(restore(&mut p.c, broken.bytes()), error("ERR Bad data format"));

        assert!(p.panics("copy", "copy", "COPY k copy").is_error());
        assert_eq!(p.c.run("EXISTS copy"), int(0));
        assert_eq!(p.c.run("COPY k copy"), int(1));
        let digest = p.c.must("DEBUG DIGEST-VALUE k");
        assert_ne!(p.panics("digest", "digest", "DEBUG DIGEST-VALUE k"), digest);
        assert_eq!(p.c.must("DEBUG DIGEST-VALUE k"), digest);
        let bytes = p.c.must("MEMORY USAGE k").int();
        assert_eq!(p.panics("mem_usage", "mem_usage", "MEMORY USAGE k"), int(bytes - 1));

        // The key goes all the same.
        assert_eq!(p.panics("unlink", "unlink", "DEL copy"), int(1));
        assert_eq!(p.c.run("EXISTS copy"), int(0));
        assert_eq!(p.panics("unlink", "unlink", "PANICS.SET k w"), ok());
        assert_eq!(p.c.run("PANICS.GET k"), bulk("w"));
        assert_eq!(p.panics("drop", "free", "PANICS.SET k v"), ok());
        assert_eq!(p.c.run("PANICS.GET k"), bulk("v"));
        assert_eq!(p.panics("drop", "free", "DEL k"), int(1));
        assert_eq!(p.c.run("EXISTS k"), int(0));
    }

    #[test]
    fn of_a_values_drop_may_come_on_a_thread_of_the_servers() {
        let mut p = Panicking::start(with("panics"));
        // By itself a value goes where it stands: the server asks what it costs, and is told 1.
        p.c.must("PANICS.SET k v");
        assert_eq!(p.panics("drop", "free", "UNLINK k"), int(1));
        assert_eq!(times(&p.server, "drop on bio"), 0);
        // With its database it goes in the background.
        p.c.must("PANICS.SET k v");
        assert_eq!(p.panics("drop", "free", "FLUSHALL ASYNC"), ok());
        assert_eq!(times(&p.server, "drop on bio_lazy_free"), 1);
    }

    #[test]
    fn of_defragmentation_leave_what_is_not_moved() {
        let mut p = Panicking::start(defrag::eager(with("panics")));
        if !defrag::is_possible(&mut p.c) {
            return;
        }
        p.c.must("CONFIG SET activedefrag yes");
        p.c.must("PANICS.SET k v");
        for place in ["defrag", "defrag of the rest", "defrag"] {
            p.panics(place, "defrag", "PING");
            assert_eq!(p.c.run("PANICS.GET k"), bulk("v"), "{place}");
        }
        assert_eq!(p.c.run("DEL k"), int(1));
    }

    #[test]
    fn of_a_save_leave_what_was_saved_before() {
        let mut p = Panicking::start(with("panics"));
        p.c.must("PANICS.SET k before");
        p.c.must("SAVE");
        p.c.must("PANICS.SET k after");
        assert!(p.panics("rdb_save", "rdb_save", "SAVE").is_error());
        // In a child as well.
        p.panics("rdb_save", "rdb_save", "BGSAVE");
        eventually("the child has failed", || {
            p.c.info("persistence", "rdb_last_bgsave_status").as_deref() == Some("err")
        });
        p.server.restart(Stop::NoSave);
        assert_eq!(p.server.client().run("PANICS.GET k"), bulk("before"));
    }

    #[test]
    fn of_a_rewrite_leave_the_aof_that_is() {
        let mut p = Panicking::start(with("panics").with_aof(false));
        p.server.aof_is_rewritten();
        p.c.must("PANICS.SET k v");
        p.panics("aof_rewrite", "aof_rewrite", "BGREWRITEAOF");
        eventually("the child has failed", || {
            p.c.info("persistence", "aof_last_bgrewrite_status").as_deref() == Some("err")
        });
        p.server.restart(Stop::Kill);
        assert_eq!(p.server.client().run("PANICS.GET k"), bulk("v"));
        p.server.rewrite_aof();
        p.server.restart(Stop::Kill);
        assert_eq!(p.server.client().run("PANICS.GET k"), bulk("v"));
    }

    #[test]
    fn of_a_full_resync_is_tried_again() {
        let mut p = Panicking::start(with("panics"));
        p.c.must("PANICS.SET k v");
        let replica = with("panics").start();
        p.c.must("PANICS.ARM rdb_save");
        replica.client().must(&format!("REPLICAOF 127.0.0.1 {}", p.server.port));
        logs(&p.server, "bug: rdb_save panicked and was stopped");
        // The children that save have the panic armed; the server itself has not met it.
        p.c.must("PANICS.ARM none");
        replica.in_sync_with(&p.server);
        assert_eq!(replica.client().run("PANICS.GET k"), bulk("v"));
    }

    #[test]
    fn of_settings_and_info_are_no_values() {
        let mut p = Panicking::start(with("panics"));
        let everything = p.panics("info", "info", "INFO everything").text();
        assert!(everything.contains("panics_state"));
        assert!(!everything.contains("panics_loaded"));
        if !kind().has_module_config() {
            return;
        }
        p.c.must("CONFIG SET panics.word before");
        assert!(p.panics("parse", "config", "CONFIG SET panics.word after").is_error());
        let word = |c: &mut Client| c.must("CONFIG GET panics.word").items()[1].clone();
        assert_eq!(word(&mut p.c), bulk("before"));
        let shown = p.panics("show", "config", "CONFIG GET panics.word");
        assert_eq!(shown, array([bulk("panics.word"), bulk("")]));
        assert_eq!(p.panics("show", "config", "CONFIG SET panics.word after"), ok());
        assert_eq!(word(&mut p.c), bulk("after"));
        assert_eq!(p.panics("show", "config", "CONFIG REWRITE"), ok());
        assert_eq!(p.c.run("CONFIG REWRITE"), ok());
    }

    #[test]
    fn of_a_load_refuse_the_module() {
        let path = example("panics");
        let path = path.to_str().expect("UTF-8");
        let mut server = Server::builder().without_module().start();
        let mut c = server.client();
        // At its beginning, in the middle, and when all is registered: nothing of it is left to be called.
        let mut refused = 0;
        for (place, guard, rest) in [
            ("load", "load", ""),
            ("parse", "load", "word w"),
            ("the load's end", "load", ""),
            ("the load's end", "load", ""),
        ] {
            let load = ["MODULE", "LOAD", path, "arm", place];
            let reply = c.cmd(load.into_iter().chain(rest.split_whitespace()));
            let why = "ERR Error loading the extension. Please check the server logs.";
            assert_eq!(reply, error(why), "{place}");
            refused += 1;
            assert_eq!(times(&server, &format!("bug: {guard} panicked and was stopped")), refused);
            assert!(!format!("{:?}", c.run("MODULE LIST")).contains("panics"));
            assert!(c.run("PANICS.RUN").is_error());
            for line in ["SET k v", "RENAME k other", "SWAPDB 0 1", "DEBUG RELOAD", "FLUSHALL"] {
                assert_eq!(c.run(line), ok(), "{place}: {line}");
            }
            c.must("INFO everything");
            c.must("CONFIG GET *");
            assert!(server.is_alive());
        }
        assert_eq!(c.cmd(["MODULE", "LOAD", path]), ok());
        assert_eq!(c.run("PANICS.SET k v"), ok());
        logs(&server, "panics: the load's timer");
        // Those of the refused ones would have come first.
        assert_eq!(times(&server, "panics: the load's timer"), 1);
        assert!(c.run("MODULE UNLOAD panics").is_error());

        let line = format!("loadmodule {path} arm load");
        let failed = Server::builder().without_module().config(&line).try_start();
        assert!(failed.is_err_and(|f| f.log.contains("bug: load panicked and was stopped")));
    }
}

mod misuse {
    use super::*;

    fn start() -> (Server, Client) {
        let server = with("misuse").start();
        let client = server.client();
        (server, client)
    }

    #[test]
    fn only_a_command_can_have_its_caller_wait_and_once() {
        let (server, mut c) = start();
        let refused = r#"Err(Error("ERR nobody is there who could wait"))"#;
        for (n, (what, reply)) in [
            ("block-in-a-timer", ok()),
            ("block-twice", ok()),
            ("ask-in-a-slice", ok()),
            ("ask-twice", ok()),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(c.run(&format!("MISUSE {what}")), reply, "{what}");
            assert_eq!(c.run("PING"), simple("PONG"), "{what}");
            eventually(what, || times(&server, refused) > n);
        }
        // Nor can the hook behind a command that has replied.
        assert_eq!(times(&server, "misuse: blocked"), 0);
        let internal = error("ERR internal error; the log has its place");
        assert_eq!(c.run("MISUSE fail-while-it-waits"), internal);
        assert_eq!(c.run("PING"), simple("PONG"));
    }

    #[test]
    fn a_reply_is_one_whatever_happens() {
        let (_server, mut c) = start();
        let internal = error("ERR internal error; the log has its place");
        let half = |n| {
            let rest = std::iter::repeat_n(internal.clone(), n);
            array([int(1)].into_iter().chain(rest))
        };
        assert_eq!(c.run("MISUSE fail-in-half-a-reply"), half(3));
        assert_eq!(c.run("MISUSE say-less"), half(2));
        assert_eq!(c.run("MISUSE say-nothing"), internal);
        assert_eq!(c.run("MISUSE break-the-line"), error("ERR one  +two three"));
        assert_eq!(c.run("PING"), simple("PONG"));
    }

    #[test]
    fn a_client_stays_in_its_database() {
        let (_server, mut c) = start();
        c.must("SET here v");
        assert_eq!(c.run("MISUSE select"), int(1));
        assert_eq!(c.run("EXISTS here"), int(1));
    }

    #[test]
    fn a_time_that_the_server_can_not_count_is_for_ever_or_now() {
        let (mut server, mut c) = start();
        assert_eq!(c.run("MISUSE wait-for-ever"), ok());
        logs(&server, "misuse: at once");
        assert_eq!(times(&server, "misuse: Ok(())"), 0);
        // What has yet to be called keeps the module here.
        assert!(c.run("MODULE UNLOAD misuse").is_error());
        assert!(server.is_alive());
    }

    #[test]
    fn a_module_without_values_can_go() {
        let (mut server, mut c) = start();
        assert_eq!(c.run("MODULE UNLOAD misuse"), ok());
        assert_eq!(c.run("PING"), simple("PONG"));
        assert!(server.is_alive());
    }

    #[test]
    fn a_timer_replicates_no_command_that_did_not_come() {
        let mut server = with("misuse").with_aof(false).start();
        assert_eq!(server.client().run("MISUSE replicate-nothing"), ok());
        logs(&server, "misuse: replicated nothing");
        server.client().must("SET k v");
        server.restart(Stop::Kill);
        assert_eq!(server.client().run("GET k"), bulk("v"));
    }

    #[test]
    fn nothing_is_published_while_replicas_are_to_be_left_alone() {
        // Without an AOF or a replica there would be nothing to leave alone.
        let mut server = with("misuse").with_aof(false).start();
        let mut c = server.client();
        assert_eq!(c.run("MISUSE publish-in-a-pause"), ok());
        c.must("CLIENT PAUSE 2000 WRITE");
        let refused = "Err(Refused) Err(Refused)";
        eventually(refused, || times(&server, refused) == 1 || !server.is_alive());
        assert!(server.is_alive());
    }

    #[test]
    fn memory_is_aligned_as_it_has_to_be() {
        let (_server, mut c) = start();
        assert_eq!(c.run("MISUSE align"), int(100));
    }
}
