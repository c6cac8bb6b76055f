//! `apikeyctl top` in a terminal, as a person sees it on a server under load; and as samples for programs.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;

use super::program::{bare, command, program, url};
use super::Ran;
use crate::harness::server::Stop;
use crate::harness::terminal::Terminal;
use crate::harness::*;

/// Lookups (of which a tenth misses), fills, invalidations and counts, until it is over.
fn load(port: u16, is_over: &AtomicBool) {
    let mut c = None;
    for round in 0u64.. {
        if is_over.load(SeqCst) {
            return;
        }
        if c.is_none() {
            c = Client::connect(port).ok();
        }
        let record = record("id", "u1");
        let number = round % 50;
        let fill = format!("APIKEY.SETVAL apikey:{{k{number}}} {record} SECRET {SECRET}");
        let lookup = format!("APIKEY.VALIDATE apikey:{{k{}}} SECRET {SECRET}", round % 55);
        let lines = [
            fill.as_str(),
            &lookup,
            &lookup,
            &lookup,
            "APIKEY.USAGE.INCR apikey:{k1}:usage BY 2",
            "APIKEY.VALIDATE apikey:{k1} SECRET wrong",
        ];
        if let Some(client) = &mut c {
            if client.try_lines(&lines).is_err() {
                c = None;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn top(terminal: &Terminal, server: &Server, options: &str) {
    let program = program().display().to_string();
    terminal.line(&format!("{program} top --url {} {options}", url(server)));
}

/// The cells of a node's line.
fn cells(screen: &str, server: &Server) -> Vec<String> {
    let node = format!("127.0.0.1:{} ", server.port);
    let line = screen.lines().skip(1).find(|line| line.starts_with(&node));
    line.map(|line| line.split_whitespace().map(str::to_string).collect()).unwrap_or_default()
}

fn status(screen: &str, server: &Server) -> Option<String> {
    cells(screen, server).get(2).cloned()
}

/// The figure behind a word, as far as it is a plain number.
fn figure(screen: &str, name: &str) -> Option<f64> {
    let text = screen.split(name).nth(1)?.split_whitespace().next()?;
    match text.strip_suffix('k') {
        Some(thousands) => Some(thousands.parse::<f64>().ok()? * 1e3),
        None => text.parse().ok(),
    }
}

fn is_before(screen: &str, first: &Server, second: &Server) -> bool {
    let place = |server: &Server| screen.find(&format!("\n127.0.0.1:{} ", server.port));
    matches!((place(first), place(second)), (Some(first), Some(second)) if first < second)
}

#[test]
fn a_person_sees_what_happens_and_who_has_gone() {
    let mut primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let terminal = Terminal::start(120, 30);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = Over(&is_over);
        let (port, is_over) = (primary.port, &is_over);
        scope.spawn(move || load(port, is_over));
        terminal.line("echo here I was");
        top(&terminal, &primary, "--every 0.2");
        let is_whole = |screen: &str| {
            [
                "2 nodes, every 0.2s",
                "Hits[|",
                "Mem [",
                "Answers/s VALID",
                "MISMATCH",
                "2 healthy",
                "SLOWEST COMMANDS",
                "APIKEY.SETVAL",
                "F10Quit",
            ]
            .iter()
            .all(|part| screen.contains(part))
        };
        let screen = terminal.eventually("all of it is there", is_whole);
        assert!(!screen.contains("here I was"), "it has the window for itself:\n{screen}");
        terminal.eventually("rates are those of the load", |screen| {
            let (lookups, counted) = (figure(screen, "Lookups/s"), figure(screen, "Counted/s"));
            // Four lookups for each fill, and two uses.
            let fills = figure(screen, "Fills/s").filter(|&fills| fills > 0.0);
            let Some((fills, lookups, counted)) =
                fills.zip(lookups).zip(counted).map(|((a, b), c)| (a, b, c))
            else {
                return false;
            };
            (3.0..5.0).contains(&(lookups / fills)) && (1.5..2.5).contains(&(counted / fills))
        });
        assert_eq!(cells(&terminal.screen(), &primary)[1..3], ["primary", "healthy"]);
        assert_eq!(cells(&terminal.screen(), &replica)[1..3], ["replica", "healthy"]);

        // By the lookups a second, which the primary alone has; then the other way round; then by names again.
        terminal.keys(&["F6", ">", "."]);
        terminal
            .eventually("the busy one is first", |screen| is_before(screen, &primary, &replica));
        terminal.keys(&["I"]);
        terminal.eventually("the busy one is last", |screen| is_before(screen, &replica, &primary));
        terminal.keys(&["I", "<", ",", ","]);
        let by_name = |screen: &str| {
            let (first, second) = (primary.port.to_string(), replica.port.to_string());
            is_before(screen, &primary, &replica) == (first < second)
        };
        terminal.eventually("they stand by their names", by_name);

        // What is paused stays as it is, and goes on.
        terminal.keys(&["p"]);
        terminal.eventually("it says so", |screen| screen.contains("PAUSED"));
        terminal.keys(&["p", "+"]);
        terminal.eventually("it goes on, at its pace", |screen| {
            !screen.contains("PAUSED") && screen.contains("every 1s")
        });

        // A server that is frozen keeps nobody from pressing keys.
        replica.freeze();
        terminal.eventually("it is away", |screen| {
            status(screen, &replica).as_deref() == Some("away") && screen.contains("1 away")
        });
        for key in ["?", "Escape", "h", "x"] {
            let had_help = terminal.screen().contains("Any key goes back");
            terminal.keys(&[key]);
            terminal.eventually("the key is taken", |screen| {
                screen.contains("Any key goes back") != had_help
            });
        }
        let (first, last) = match primary.port.to_string() < replica.port.to_string() {
            true => ("End", "Home"),
            false => ("Home", "End"),
        };
        terminal.keys(&[first]);
        let why = format!("127.0.0.1:{}: 127.0.0.1:{}", replica.port, replica.port);
        terminal.eventually("it says why", |screen| screen.contains(&why));
        terminal.keys(&[last]);
        terminal.eventually("and not of the other", |screen| !screen.contains(&why));
        replica.wake();
        terminal.eventually("it is back", |screen| {
            status(screen, &replica).as_deref() == Some("healthy") && !screen.contains("away")
        });
        drop(over);
    });

    terminal.eventually("nothing happens any more", |screen| {
        screen.contains("no lookups") && figure(screen, "Lookups/s") == Some(0.0)
    });
    // Who tells of the others goes; the others stay.
    primary.stop(Stop::Kill);
    terminal.eventually("it is away, and not its replica", |screen| {
        let of = |server| status(screen, server);
        of(&primary).as_deref() == Some("away")
            && of(&replica).is_some_and(|status| status != "away")
    });
    primary.start_again();
    terminal
        .eventually("it is back", |screen| status(screen, &primary).as_deref() == Some("healthy"));

    // Any size of window.
    terminal.resize(40, 8);
    terminal.eventually("what is small has the table", |screen| {
        let lines: Vec<&str> = screen.lines().collect();
        lines.len() == 8 && !cells(screen, &primary).is_empty() && screen.contains("STATUS")
    });
    terminal.resize(20, 4);
    terminal.eventually("it says so", |screen| screen.contains("too small"));
    terminal.resize(100, 30);
    terminal
        .eventually("all is back", |screen| screen.contains("Hits[") && screen.contains("F10Quit"));

    terminal.keys(&["q"]);
    terminal.eventually("the window is as it was", |screen| {
        screen.contains("here I was") && !screen.contains("LOOKUP/s")
    });
    terminal.line("echo status=$? ; echo ec''ho");
    terminal.eventually("the shell is seen", |screen| {
        screen.contains("echo status=$?") && screen.contains("\nstatus=0\necho\n")
    });
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    let server = Server::start();
    let terminal = Terminal::start(80, 24);
    let start = || -> libc::pid_t {
        let program = program().display().to_string();
        terminal.line("clear");
        terminal.line(&format!("sh -c 'echo $$ >pid; exec {program} top --url {}'", url(&server)));
        terminal.eventually("it is there", |screen| screen.contains("LOOKUP/s"));
        let pid = std::fs::read_to_string(terminal.path("pid")).expect("its pid");
        pid.trim().parse().expect("a pid")
    };
    for (kill, status) in [("TERM", 130), ("HUP", 130)] {
        let pid = start();
        let signal = if kill == "TERM" { libc::SIGTERM } else { libc::SIGHUP };
        // SAFETY: a signal to a process that a test's own shell waits for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        terminal.eventually("the prompt is back", |screen| {
            !screen.contains("LOOKUP/s") && screen.trim_end().ends_with("\n$")
        });
        terminal.line("echo status=$?");
        let expected = format!("\nstatus={status}\n");
        terminal.eventually(kill, |screen| {
            screen.contains("echo status=$?") && screen.contains(&expected)
        });
    }
    let pid = start();
    terminal.vanish();
    // Of one that has ended, and nobody has waited for, it is empty.
    let words = || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    eventually("it ends with its terminal", || words().is_empty());
}

#[test]
fn samples_are_for_programs() {
    let server = Server::start();
    let is_over = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| load(server.port, &is_over));
        Ran::at(&server, "top", &["--json", "--every", "0.3", "-n", "2"])
    });
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    let samples: Vec<Json> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(samples.len(), 2);
    for sample in &samples {
        let number = |of: &Json| of.as_f64().unwrap_or_else(|| panic!("{sample}"));
        let total = &sample["total"];
        assert!(number(&total["rates"]["lookups"]) > 0.0, "{sample}");
        assert!((0.5..=1.0).contains(&number(&total["hit_rate"])), "{sample}");
        assert!(number(&total["rates"]["answers"]["MISMATCH"]) > 0.0, "{sample}");
        let [node] = sample["nodes"].as_array().expect("nodes").as_slice() else {
            panic!("{sample}")
        };
        assert_eq!((&node["role"], &node["status"]), (&"primary".into(), &"healthy".into()));
        let commands = sample["commands"].as_array().expect("commands");
        let setval = commands.iter().find(|one| one["name"] == "apikey.setval").expect("SETVAL");
        assert!(number(&setval["calls_per_second"]) > 0.0 && number(&setval["mean_us"]) > 0.0);
    }
    assert!(samples[0]["at"].as_u64() < samples[1]["at"].as_u64());

    let ran = Ran::at(&server, "top", &["--batch", "--every", "0.1", "-n", "1"]);
    let told = format!("127.0.0.1:{}  primary  healthy", server.port);
    assert!(ran.status == Some(0) && ran.out.contains(&told), "{}{}", ran.out, ran.err);

    Ran::at(&server, "top", &[]).fails_with(2, "this is no terminal: say --batch or --json");
    Ran::at(&server, "top", &["-n", "1"]).fails_with(2, "--samples is for --batch and --json");
    Ran::at(&server, "top", &["--every", "0"]).fails_with(2, "--every must be");
    let nobody = ["top", "--url", "redis://127.0.0.1:1", "--batch", "--every", "0.1", "-n", "1"];
    let ran = Ran::of(bare(&nobody));
    assert!(
        ran.status == Some(2) && ran.out.contains("could not reach 127.0.0.1:1"),
        "{}",
        ran.out
    );

    // Without an end it goes on until nobody reads any more.
    let mut endless = command(&server, "top", &["--json", "--every", "0.1"]);
    let mut endless = endless.stderr(Stdio::null()).spawn().expect("apikeyctl");
    drop(endless.stdout.take());
    eventually("it ends", || endless.try_wait().expect("wait").is_some());
}

#[test]
fn regions_are_told_of_the_whole_deployment() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    c.must("CACHE.REGION SET products NS acme: MAXENTRIES 10");
    let is_over = AtomicBool::new(false);
    let ran = |options: &[&str]| {
        is_over.store(false, SeqCst);
        thread::scope(|scope| {
            let _over = Over(&is_over);
            scope.spawn(|| {
                let mut c = primary.client();
                for round in 0u64.. {
                    if is_over.load(SeqCst) {
                        return;
                    }
                    c.must(&format!("CACHE.SET k{round} products text NS acme:"));
                    let hit = format!("CACHE.GET k{round} products NS acme:");
                    (0..3).for_each(|_| drop(c.must(&hit)));
                    c.must("CACHE.GET none products NS acme:");
                    thread::sleep(Duration::from_millis(2));
                }
            });
            Ran::at(&primary, "top", options)
        })
    };
    let told = ran(&["--json", "--every", "0.5", "-n", "1"]);
    let told: Json = serde_json::from_str(&told.out).expect("a sample");
    let [region] = told["regions"].as_array().expect("regions").as_slice() else {
        panic!("{told}")
    };
    assert_eq!((&region["region"], &region["namespace"]), (&"products".into(), &"acme:".into()));
    // The replica has the same entries once more.
    assert!((1..=20).contains(&region["entries"].as_u64().expect("a number")), "{region}");
    let rate = region["hit_rate_1m"].as_f64().expect("a rate");
    assert!((0.7..0.8).contains(&rate), "{region}");
    let rates = |name: &str| region["rates"][name].as_f64().expect("a number");
    assert!(rates("lookups") > rates("evicted") && rates("evicted") > 0.0, "{region}");
    assert_eq!(rates("waits"), 0.0, "{region}");
    let batch = ran(&["--batch", "--every", "0.3", "-n", "1"]);
    assert!(batch.out.contains("REFUSED/s\nacme:products "), "{}", batch.out);

    let terminal = Terminal::start(120, 30);
    top(&terminal, &primary, "--every 0.2");
    terminal.eventually("it is told", |screen| {
        screen.contains("REGION ") && screen.contains("\nacme:products")
    });
    terminal.keys(&["q"]);
}
